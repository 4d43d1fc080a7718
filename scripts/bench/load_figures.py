"""Items saved a second through `worker_save_page`, against COPY of the same rows into the same indexed tables."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
from rich.console import Console

from scripts.bench.load_pages import ITEMS, BenchPage, copied_rows, make_page
from worker.local.processes import ready, running
from worker.queue import open_client

KIND = "jobs"
SAVE_PAGE = """
select public.worker_save_page(%(run_id)s, %(lease_token)s, 'indeed', 1, %(page_number)s, %(raw)s, %(items)s, '[]',
                               '{"step": "searching", "site": "indeed"}')
"""

console = Console(highlight=False, soft_wrap=True, markup=False)
progress = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

Connection = psycopg.AsyncConnection[Any]
Lease = tuple[UUID, UUID]


class Bench:
    """One run of the bench.

    Args:
        stack: What `local --json` prints.
        options: Sizes, as parsed from the command line.
    """

    def __init__(self, stack: dict[str, str], options: argparse.Namespace) -> None:
        self._stack = stack
        self._options = options
        self._seed = 0

    async def run(self) -> None:
        """Fill the tables, measure in turns and print the figures."""
        async with self._connected() as database:
            await self._print_setting(database)
            await self._fill(database)
            # In turns, so that whatever else the machine does befalls all of them.
            ways: dict[str, Callable[[Connection], Awaitable[float]]] = {
                "COPY, a transaction for each page": self._copy_pages,
                "COPY, all pages in one": self._copy_at_once,
                "worker_save_page, new items": self._save_new,
                "worker_save_page, the same items again": self._save_again,
                "worker_save_page, new items, through the local gateway": self._save_through_gateway,
            }
            seconds: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(self._options.rounds):
                for way, measure in ways.items():
                    seconds[way].append(await measure(database))
                    progress.print(
                        f"round {number + 1}, {way}: {self._options.pages * ITEMS / seconds[way][-1]:,.0f}/s"
                    )
        self._print(seconds)

    async def _print_setting(self, database: Connection) -> None:
        answer = await database.execute(
            "select current_setting('server_version'), current_setting('synchronous_commit'), current_setting('fsync')"
        )
        row = await answer.fetchone()
        assert row is not None
        page = make_page(1, 0)
        description = statistics.mean(len(item["description"]) for item in page.items)
        console.print(f"PostgreSQL {row[0]}: synchronous_commit {row[1]}, fsync {row[2]}.")
        console.print(
            f"{self._options.pages} pages of {ITEMS} items, descriptions of {description:,.0f} characters, raw "
            f"payloads of {len(json.dumps(page.raw['payload'])):,} bytes; beside {self._options.base * ITEMS:,} items. "
            f"One connection, median of {self._options.rounds} rounds.\n"
        )

    async def _fill(self, database: Connection) -> None:
        run_id, _ = await self._start_run(database)
        for page in self._make_pages(self._options.base):
            await _copy(database, [copied_rows(page, run_id, KIND)])
        await database.execute("vacuum analyze")

    async def _copy_pages(self, database: Connection) -> float:
        run_id, _ = await self._start_run(database)
        rows = [copied_rows(page, run_id, KIND) for page in self._make_pages(self._options.pages)]
        started = time.perf_counter()
        for page in rows:
            await _copy(database, [page])
        return time.perf_counter() - started

    async def _copy_at_once(self, database: Connection) -> float:
        run_id, _ = await self._start_run(database)
        rows = [copied_rows(page, run_id, KIND) for page in self._make_pages(self._options.pages)]
        started = time.perf_counter()
        await _copy(database, rows)
        return time.perf_counter() - started

    async def _save_new(self, database: Connection) -> float:
        return await _save(database, await self._start_run(database), self._make_pages(self._options.pages))

    async def _save_again(self, database: Connection) -> float:
        seed = self._seed - self._options.pages
        pages = [make_page(number + 1, seed + number) for number in range(self._options.pages)]
        return await _save(database, await self._start_run(database), pages)

    async def _save_through_gateway(self, database: Connection) -> float:
        run_id, lease_token = await self._start_run(database)
        pages = self._make_pages(self._options.pages)
        lease = {"run_id": str(run_id), "lease_token": str(lease_token), "site": "indeed", "attempt": 1}
        async with open_client(self._stack["url"], self._stack["service_role_key"], timeout_seconds=60) as client:
            started = time.perf_counter()
            for page in pages:
                arguments = {"page_number": page.number, "raw": page.raw, "items": page.items, "errors": []}
                progress = {"step": "searching", "site": "indeed"}
                await client.rpc("worker_save_page", lease | arguments | {"progress": progress}).execute()
            return time.perf_counter() - started

    def _make_pages(self, count: int) -> list[BenchPage]:
        pages = [make_page(number + 1, self._seed + number) for number in range(count)]
        self._seed += count
        return pages

    async def _start_run(self, database: Connection) -> Lease:
        """Return a claimed run, and its lease, that is being searched."""
        user_id = uuid4()
        await database.execute(
            "insert into auth.users (id, email) values (%s, %s)", [user_id, f"{user_id}@example.com"]
        )
        await database.execute(
            "insert into public.search_runs (user_id, kind, parameters) values (%s, %s, %s)",
            [user_id, KIND, json.dumps({"search_term": str(user_id), "sites": ["indeed"]})],
        )
        answer = await database.execute(
            "select run_id, lease_token from public.worker_claim_runs('bench', array[%s], 1, 3600, %s, '[]')",
            [KIND, uuid4()],
        )
        row = await answer.fetchone()
        assert row is not None
        await database.execute("select public.worker_start_site(%s, %s, 'indeed', 1)", row)
        return row[0], row[1]

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        dsn = self._stack["db_url"]
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=10) as database:
            yield database

    def _print(self, seconds: dict[str, list[float]]) -> None:
        each_page, at_once = (statistics.median(seconds[way]) for way in list(seconds)[:2])
        console.print("| way | items/s | a page | to COPY of each page | to COPY of all at once |")
        console.print("| --- | ---: | ---: | ---: | ---: |")
        for way, measured in seconds.items():
            median = statistics.median(measured)
            console.print(
                f"| {way} | {self._options.pages * ITEMS / median:,.0f} | {median * 1000 / self._options.pages:.1f} ms "
                f"| {each_page / median:.2f} | {at_once / median:.2f} |"
            )


async def _copy(database: Connection, pages: Sequence[dict[str, bytes]]) -> None:
    async with database.transaction(), database.cursor() as cursor:
        for page in pages:
            for target, rows in page.items():
                async with cursor.copy(f"copy {target} from stdin".encode()) as copy:
                    await copy.write(rows)


async def _save(database: Connection, lease: Lease, pages: Sequence[BenchPage]) -> float:
    calls = [
        {
            "run_id": lease[0],
            "lease_token": lease[1],
            "page_number": page.number,
            "raw": json.dumps(page.raw),
            "items": json.dumps(page.items),
        }
        for page in pages
    ]
    started = time.perf_counter()
    for call in calls:
        answer = await database.execute(SAVE_PAGE, call, prepare=True)
        row = await answer.fetchone()
        assert row is not None
        assert row[0]["results"] == ITEMS, row
    return time.perf_counter() - started


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


async def _bench(folder: Path, options: argparse.Namespace) -> None:
    command = ("worker", "local", "--json", "--port", "0", "--data", str(folder / "data"))
    async with running(*command, log=folder / "log") as process:
        await Bench(await ready(process), options).run()


def main() -> int:
    """Parse the arguments and run the bench."""
    parser = argparse.ArgumentParser(prog="scripts/bench/load", description=__doc__)
    parser.add_argument("--pages", type=_positive, default=50, help="pages in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=_positive, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--base", type=_positive, default=500, help="pages in the tables before (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="search-worker-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        asyncio.run(_bench(folder, options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
