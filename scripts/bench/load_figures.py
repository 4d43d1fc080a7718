"""Measures the items saved a second with `worker_save_pages`, and with COPY of the same rows into the same tables."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

from rich.console import Console

from scripts.bench.load_pages import ITEMS, BenchPage, copied_rows, make_page, page_to_save
from scripts.bench.local_stack import KIND, Connection, Lease, connect, on_local_stack, start_run
from scripts.bench.report import Column, Report, add_json_argument, reporting
from worker.database.client import open_client

SAVE_PAGES = "select public.worker_save_pages(%s)"

progress = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


class Bench:
    """One run of the bench.

    Args:
        stack: The JSON that `local --json` prints.
        options: Sizes, as parsed from the command line.
        report: Where the figures go.
    """

    def __init__(self, stack: dict[str, str], options: argparse.Namespace, report: Report) -> None:
        self._stack = stack
        self._options = options
        self._report = report
        self._seed = 0

    async def run(self) -> None:
        """Fill the tables, measure in turns and report the figures."""
        async with await connect(self._stack) as database:
            await self._report_setting(database)
            await self._fill(database)
            # In turns, so that other load on the machine affects all of them.
            ways: dict[str, Callable[[Connection], Awaitable[float]]] = {
                "COPY, a transaction for each page": self._copy_pages,
                "COPY, all pages in one": self._copy_at_once,
                "worker_save_pages, new items": self._save_new,
                "worker_save_pages, the same items again": self._save_again,
                "worker_save_pages, new items, through the local gateway": self._save_through_gateway,
            }
            seconds: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(self._options.rounds):
                for way, measure in ways.items():
                    seconds[way].append(await measure(database))
                    progress.print(
                        f"round {number + 1}, {way}: {self._options.pages * ITEMS / seconds[way][-1]:,.0f}/s"
                    )
        self._report_figures(seconds)

    async def _report_setting(self, database: Connection) -> None:
        answer = await database.execute(
            "select current_setting('server_version'), current_setting('synchronous_commit'), current_setting('fsync')"
        )
        row = await answer.fetchone()
        assert row is not None
        page = make_page(1, 0)
        description = statistics.mean(len(item["description"]) for item in page.items)
        self._report.condition(f"PostgreSQL {row[0]}: synchronous_commit {row[1]}, fsync {row[2]}.")
        self._report.condition(
            f"{self._options.pages} pages of {ITEMS} items, descriptions of {description:,.0f} characters, raw "
            f"payloads of {len(json.dumps(page.raw['payload'])):,} bytes; beside {self._options.base * ITEMS:,} items. "
            f"One connection, median of {self._options.rounds} rounds."
        )

    async def _fill(self, database: Connection) -> None:
        run_id, _ = await start_run(database, "indeed")
        for page in self._make_pages(self._options.base):
            await _copy(database, [copied_rows(page, run_id, KIND)])
        await database.execute("vacuum analyze")

    async def _copy_pages(self, database: Connection) -> float:
        run_id, _ = await start_run(database, "indeed")
        rows = [copied_rows(page, run_id, KIND) for page in self._make_pages(self._options.pages)]
        started = time.perf_counter()
        for page in rows:
            await _copy(database, [page])
        return time.perf_counter() - started

    async def _copy_at_once(self, database: Connection) -> float:
        run_id, _ = await start_run(database, "indeed")
        rows = [copied_rows(page, run_id, KIND) for page in self._make_pages(self._options.pages)]
        started = time.perf_counter()
        await _copy(database, rows)
        return time.perf_counter() - started

    async def _save_new(self, database: Connection) -> float:
        return await _save(database, await start_run(database, "indeed"), self._make_pages(self._options.pages))

    async def _save_again(self, database: Connection) -> float:
        seed = self._seed - self._options.pages
        pages = [make_page(number + 1, seed + number) for number in range(self._options.pages)]
        return await _save(database, await start_run(database, "indeed"), pages)

    async def _save_through_gateway(self, database: Connection) -> float:
        run_id, lease_token = await start_run(database, "indeed")
        pages = self._make_pages(self._options.pages)
        async with open_client(self._stack["url"], self._stack["service_role_key"], timeout_seconds=60) as client:
            started = time.perf_counter()
            for page in pages:
                found = page_to_save(run_id, lease_token, "indeed", page)
                await client.rpc("worker_save_pages", {"pages": [found]}).execute()
            return time.perf_counter() - started

    def _make_pages(self, count: int) -> list[BenchPage]:
        pages = [make_page(number + 1, self._seed + number) for number in range(count)]
        self._seed += count
        return pages

    def _report_figures(self, seconds: dict[str, list[float]]) -> None:
        each_page, at_once = (statistics.median(seconds[way]) for way in list(seconds)[:2])
        pages = self._options.pages
        medians = {way: statistics.median(measured) for way, measured in seconds.items()}
        self._report.table(
            "Items saved a second",
            [
                Column("way"), Column("items a second"), Column("a page", "ms", 1),
                Column("to COPY of each page", digits=2), Column("to COPY of all at once", digits=2),
            ],
            [
                (way, pages * ITEMS / median, median * 1000 / pages, each_page / median, at_once / median)
                for way, median in medians.items()
            ],
        )  # fmt: skip


async def _copy(database: Connection, pages: Sequence[dict[str, bytes]]) -> None:
    async with database.transaction(), database.cursor() as cursor:
        for page in pages:
            for target, rows in page.items():
                async with cursor.copy(f"copy {target} from stdin".encode()) as copy:
                    await copy.write(rows)


async def _save(database: Connection, lease: Lease, pages: Sequence[BenchPage]) -> float:
    calls = [(json.dumps([page_to_save(*lease, "indeed", page)]),) for page in pages]
    started = time.perf_counter()
    for call in calls:
        answer = await database.execute(SAVE_PAGES, call, prepare=True)
        row = await answer.fetchone()
        assert row is not None
        assert row[0][0]["results"] == ITEMS, row
    return time.perf_counter() - started


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="scripts/bench/load", description=__doc__)
    parser.add_argument("--pages", type=_positive, default=50, help="pages in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=_positive, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--base", type=_positive, default=500, help="pages in the tables before (default: %(default)s)")
    add_json_argument(parser)
    options = parser.parse_args()
    with reporting(options.json) as report:
        on_local_stack(lambda stack: Bench(stack, options, report).run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
