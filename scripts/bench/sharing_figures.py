"""Compares the cost of the scheduled searches of 1,000 users with and without sharing of equal searches.

Both run on a new local stack, with a real worker and a source that answers at once. The time of a scrape at a real site
is to be added for each of them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from supabase import AsyncClient

from scripts.bench.report import Column, Report, add_json_argument, reporting
from scripts.bench.sharing_source import ITEMS, PAGES, SITES, CountingSource
from worker.database.client import open_client
from worker.engine.worker import Worker
from worker.local.processes import ready, running
from worker.settings import Settings

SEARCHES_A_USER = 6
BATCH = 500
"""Rows of one insert request."""

TIMEOUT_SECONDS = 60
LOOK_SECONDS = 0.2
STATISTICS_SECONDS = 11
"""Idle sessions report what they wrote after 10 s (PGSTAT_IDLE_INTERVAL in PostgreSQL's pgstat.c)."""

SHARED, ALONE = "shared", "one scrape a run"

_WITHOUT_SHARING = """
create or replace function worker.fingerprint(kind text, parameters jsonb, user_id uuid, workspace_id uuid) returns text
language sql volatile set search_path = '' return pg_catalog.gen_random_uuid()::text
"""
_ROWS_WRITTEN = """
select schemaname || '.' || relname, n_tup_ins, n_tup_upd, n_tup_del from pg_stat_user_tables
where schemaname in ('public', 'worker') and n_tup_ins + n_tup_upd + n_tup_del > 0
order by schemaname, relname
"""
_UNFINISHED = "select from public.search_runs where completed_at is null limit 1"

progress = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """Rows of a table that were inserted, updated and deleted."""

    inserted: int
    updated: int
    deleted: int

    @property
    def rows(self) -> int:
        """All of them."""
        return self.inserted + self.updated + self.deleted


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a number of runs.

    Attributes:
        scrapes: Searches of a site.
        enqueued_seconds: Time until all runs were inserted.
        seconds: Time until all of them had ended.
        statuses: Number of runs by `searched` or `shared`, and status.
        written: Rows written, by table.
    """

    runs: int
    scrapes: int
    enqueued_seconds: float
    seconds: float
    statuses: Mapping[str, int]
    written: Mapping[str, Written]


async def measure(folder: Path, *, users: int, searches: int, is_shared: bool) -> Figures:
    """Insert all scheduled searches of the users, and let a worker finish them.

    Args:
        folder: An empty folder for the data.
        users: Number of users.
        searches: Number of distinct searches.
        is_shared: Whether equal searches are shared. Otherwise each run has another fingerprint.
    """
    log = folder / "log"
    source = CountingSource()
    async with running("worker", "local", "--json", "--port", "0", "--data", str(folder / "data"), log=log) as process:
        stack = await ready(process)
        connecting = psycopg.AsyncConnection.connect(stack["db_url"], autocommit=True, connect_timeout=10)
        async with (
            await connecting as database,
            open_client(stack["url"], stack["service_role_key"], timeout_seconds=TIMEOUT_SECONDS) as schedule,
        ):
            await database.execute(
                "insert into auth.users (id, email)"
                " select lpad(number::text, 32, '0')::uuid, number || '@example.com'"
                " from generate_series(1, %s) as number",
                [users],
            )
            if not is_shared:
                await database.execute(_WITHOUT_SHARING)
            before = await rows_written(database)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(Worker(worker_settings(stack, folder), sources=[source]).run())
                started = time.monotonic()
                runs = await enqueue(schedule, users, searches)
                enqueued = time.monotonic()
                await all_ended(database)
                ended = time.monotonic()
                os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(STATISTICS_SECONDS)
            after = await rows_written(database)
            statuses = await database.execute(
                "select case when shared_run_id is null then 'searched, ' else 'shared, ' end || status, count(*)"
                " from public.search_runs group by 1 order by 1"
            )
            nothing = Written(0, 0, 0)
            written = {table: difference(rows, before.get(table, nothing)) for table, rows in after.items()}
            return Figures(
                runs=runs,
                scrapes=source.scrapes,
                enqueued_seconds=enqueued - started,
                seconds=ended - started,
                statuses=dict(await statuses.fetchall()),
                written={table: rows for table, rows in written.items() if rows.rows},
            )


def worker_settings(stack: Mapping[str, str], folder: Path) -> Settings:
    """Return the settings of a worker: the defaults, except for the spool folder."""
    os.environ |= {
        "SUPABASE_URL": stack["url"],
        "SUPABASE_SERVICE_ROLE_KEY": stack["service_role_key"],
        "WORKER_SPOOL_DIR": str(folder / "spool"),
    }
    return Settings()


async def enqueue(schedule: AsyncClient, users: int, searches: int) -> int:
    """Insert all searches of all users in batches, as a schedule with the service key does. Return their number."""
    runs = list(asked(users, searches))
    for start in range(0, len(runs), BATCH):
        await schedule.table("search_runs").insert(runs[start : start + BATCH]).execute()
    return len(runs)


def asked(users: int, searches: int) -> Iterator[Row]:
    """Yield users' searches. Their parameters vary as users write them: in case, whitespace and order of the sites."""
    chance = random.Random(users)  # noqa: S311 (repeatable, not secret)
    for user in range(1, users + 1):
        for number in chance.sample(range(searches), min(SEARCHES_A_USER, searches)):
            term = f"engineer {number}"
            yield {
                "user_id": f"{user:08d}".rjust(32, "0"),
                "kind": CountingSource.kind,
                "source": "cron",
                "parameters": {
                    "search_term": chance.choice([term, term.upper(), f" {term.title()} "]),
                    "sites": chance.sample(SITES, len(SITES)),
                    "results_wanted": PAGES * ITEMS,
                },
            }


async def all_ended(database: psycopg.AsyncConnection[Any]) -> None:
    """Wait until every run has ended."""
    while (await database.execute(_UNFINISHED)).rowcount:  # noqa: ASYNC110 (the database has no event)
        await asyncio.sleep(LOOK_SECONDS)


async def rows_written(database: psycopg.AsyncConnection[Any]) -> dict[str, Written]:
    """Return the rows written to each table since the database was created."""
    answer = await database.execute(_ROWS_WRITTEN.encode())
    return {table: Written(*counts) for table, *counts in await answer.fetchall()}


def difference(after: Written, before: Written) -> Written:
    """Return the rows written in between."""
    return Written(after.inserted - before.inserted, after.updated - before.updated, after.deleted - before.deleted)


def compare(shared: Figures, alone: Figures, report: Report) -> None:
    """Report both side by side. The figures of fewer runs are also scaled to the same number of runs."""
    factor = shared.runs / alone.runs
    ways = ((SHARED, shared, 1.0), (ALONE, alone, factor))
    report.table(
        "Runs",
        [
            Column("way"), Column("runs"), Column("scrapes"), Column("all inserted", "s", 1),
            Column("all ended", "s", 1), Column(f"for {shared.runs:,} runs", "s", 1), Column("ratio", digits=1),
        ],
        [
            (
                way, figures.runs, figures.scrapes, figures.enqueued_seconds, figures.seconds,
                figures.seconds * scale, figures.seconds * scale / shared.seconds,
            )
            for way, figures, scale in ways
        ],
    )  # fmt: skip
    report.table(
        "How the runs ended",
        [Column("way"), Column("status"), Column("runs")],
        [(way, status, count) for way, figures, _ in ways for status, count in figures.statuses.items()],
    )
    nothing = Written(0, 0, 0)
    for way, figures, scale in ways:
        scaled = "" if scale == 1 else f", {scale:g} times those of {figures.runs:,} runs"
        written = [(name, rows, shared.written.get(name, nothing)) for name, rows in figures.written.items()]
        report.table(
            f"Rows written, {way}, for {shared.runs:,} runs{scaled}",
            [Column("table"), *map(Column, ("inserted", "updated", "deleted")), Column("to shared", digits=1)],
            [
                (
                    name, rows.inserted * scale, rows.updated * scale, rows.deleted * scale,
                    rows.rows * scale / others.rows if others.rows else None,
                )
                for name, rows, others in [*written, ("all", total(figures), total(shared))]
            ],
        )  # fmt: skip


def total(figures: Figures) -> Written:
    """Return the rows written to all tables."""
    counts = [(written.inserted, written.updated, written.deleted) for written in figures.written.values()]
    return Written(*map(sum, zip(*counts, strict=True)))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="scripts/bench/sharing", description=__doc__)
    parser.add_argument("--users", type=_positive, default=1000, help="users who share (default: %(default)s)")
    parser.add_argument("--searches", type=_positive, default=40, help="distinct searches (default: %(default)s)")
    parser.add_argument(
        "--users-alone", type=_positive, default=100, help="users whose runs share nothing (default: %(default)s)"
    )
    add_json_argument(parser)
    options = parser.parse_args()
    with reporting(options.json) as report, tempfile.TemporaryDirectory(prefix="search-worker-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        figures = []
        for way, users in ((SHARED, options.users), (ALONE, options.users_alone)):
            progress.print(f"{way}: {users:,} users, {options.searches} searches")
            place = folder / way
            place.mkdir(mode=0o755)
            measuring = measure(place, users=users, searches=options.searches, is_shared=way == SHARED)
            figures.append(asyncio.run(measuring))
        report.condition(
            f"{SEARCHES_A_USER} of {options.searches} searches of each of {options.users:,} users who share, and of "
            f"{options.users_alone:,} whose runs share nothing; a site answers at once."
        )
        shared, alone = figures
        compare(shared, alone, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
