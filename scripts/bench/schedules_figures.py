"""Measures what schedules cost: to fire all that are due at one time, to search for them, and to find none due.

On a new local stack, with users who repeat some searches at one time of day. The clock of the database is moved.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from typing import Any, LiteralString
from uuid import uuid4

from psycopg import sql
from psycopg.types.json import Jsonb

from scripts.bench.local_stack import KIND, Connection, connect, on_local_stack
from scripts.bench.report import Column, Report, add_json_argument, reporting

SLOT = datetime(2026, 11, 22, 14, tzinfo=UTC)
IDLE_CALLS = 200
BATCH = 100
"""Runs of one claim."""

_USERS: LiteralString = """
insert into auth.users (id, email, created_at)
select gen_random_uuid(), number || '@example.com', %s from generate_series(1, %s) as number
"""
_SCHEDULES: LiteralString = """
with saved as (
    insert into public.saved_searches (user_id, name, kind, parameters)
    select id, 'mine', %s, jsonb_build_object(
        'search_term', 'engineer ' || row_number() over (order by id) %% %s, 'sites', '["indeed"]'::jsonb)
    from auth.users
    returning id
)
insert into public.search_schedules (saved_search_id, time_zone, times)
select id, 'Europe/London', '{14:00}' from saved
"""
_ROWS: LiteralString = """
select relname, n_tup_ins, n_tup_upd from pg_stat_user_tables
where schemaname in ('public', 'worker') order by relname
"""
_FIRE: LiteralString = "select public.worker_fire_schedules() as fired"
_CLAIM: LiteralString = """
select run_id, lease_token from public.worker_claim_runs('bench', %s, %s, 3600, %s, '[]')
"""


async def bench(stack: dict[str, str], *, users: int, searches: int, report: Report) -> None:
    """Measure on a stack, and report the figures.

    Args:
        stack: The JSON that `local --json` prints.
        users: Number of users, each with one schedule.
        searches: Number of distinct searches.
        report: Where the figures go.
    """
    report.condition(f"{users:,} users with a schedule each, of {searches:,} distinct searches, all at one time.")
    async with await connect(stack) as database:
        await set_clock(database, SLOT - timedelta(hours=6))
        await database.execute(_USERS, [SLOT - timedelta(days=1), users])
        await database.execute(_SCHEDULES, [KIND, searches])
        await database.execute("vacuum analyze")
        idle = await idle_seconds(database)
        await set_clock(database, SLOT)
        await fire(database, users, report)
        await set_clock(database, SLOT + timedelta(minutes=3))
        await search(database, report)
        times = {"while nothing is due": idle, "right after, before a vacuum": await idle_seconds(database)}
    report.table(
        f"A call that fires nothing, of {IDLE_CALLS}",
        [Column("call"), Column("median", "ms", 2), Column("99 %", "ms", 2)],
        [(when, median(took) * 1000, took[int(len(took) * 0.99)] * 1000) for when, took in times.items()],
    )


async def set_clock(database: Connection, now: datetime) -> None:
    """Set the clock of the database."""
    statement = "create or replace function worker.now() returns timestamptz language sql stable set search_path = ''"
    await database.execute(sql.SQL(statement + " return timestamptz {}").format(now.isoformat()))


async def fire(database: Connection, users: int, report: Report) -> None:
    """Fire all schedules that are due, batch by batch, and report the time and the writes."""
    took: list[float] = []
    started, wal, before = 0, await wal_bytes(database), await rows_written(database)
    while started < users:
        since = time.monotonic()
        answer = (await one(database, _FIRE))[0]
        took.append(time.monotonic() - since)
        assert answer["started"], f"{started} of {users} schedules were fired"
        started += answer["started"]
    wal, after = await wal_bytes(database) - wal, await rows_written(database)
    report.table(
        "Firing all schedules",
        [
            Column("schedules"), Column("in all", "s", 2), Column("each", "ms", 2), Column("calls"),
            Column("median", "ms"), Column("longest", "ms"), Column("WAL", "MiB", 1), Column("WAL of each", "KiB", 1),
        ],
        [
            (
                started, sum(took), 1000 * sum(took) / started, len(took), median(took) * 1000, max(took) * 1000,
                wal / 1024**2, wal / started / 1024,
            )
        ],
    )  # fmt: skip
    rows = []
    for name, counts in after.items():
        inserted, updated = (now - then for now, then in zip(counts, before[name], strict=True))
        if inserted + updated:
            rows.append((name, inserted, updated, (inserted + updated) / started))
    columns = [Column("table"), Column("inserted"), Column("updated"), Column("a schedule", digits=2)]
    report.table("Rows written by firing", columns, rows)


async def search(database: Connection, report: Report) -> None:
    """Claim all runs until none is left, end each search at once, and report how many there were."""
    runs = (await one(database, "select count(*) from public.search_runs"))[0]
    started, searched, wal = time.monotonic(), 0, await wal_bytes(database)
    while (await one(database, "select exists (select from public.search_runs where completed_at is null)"))[0]:
        claimed = await (await database.execute(_CLAIM, [[KIND], BATCH, uuid4()])).fetchall()
        for lease in claimed:
            search = {"run_id": str(lease[0]), "lease_token": str(lease[1]), "site": "indeed"}
            await database.execute("select public.worker_start_sites(%s)", [Jsonb([search | {"attempt": 1}])])
            await database.execute("select public.worker_finish_sites(%s)", [Jsonb([search | {"ends_run": True}])])
        searched += len(claimed)
    seconds, wal = time.monotonic() - started, await wal_bytes(database) - wal
    report.table(
        "Searching, without the time of sites",
        [Column("runs"), Column("searched"), Column("until all ended", "s", 2), Column("WAL", "MiB", 1)],
        [(runs, searched, seconds, wal / 1024**2)],
    )


async def idle_seconds(database: Connection) -> list[float]:
    """Return how long calls take while nothing is due, in seconds. The first one looks for users who were seen."""
    await database.execute(_FIRE)
    took = []
    for _ in range(IDLE_CALLS):
        before = time.monotonic()
        await database.execute(_FIRE)
        took.append(time.monotonic() - before)
    return sorted(took)


async def rows_written(database: Connection) -> dict[str, tuple[int, int]]:
    """Return the rows inserted and updated in each table since the database was created."""
    await database.execute("select pg_stat_force_next_flush()")
    return {name: (inserted, updated) for name, inserted, updated in await (await database.execute(_ROWS)).fetchall()}


async def wal_bytes(database: Connection) -> int:
    """Return the position in the write-ahead log, in bytes."""
    return int((await one(database, "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))[0])


async def one(database: Connection, query: LiteralString) -> Sequence[Any]:
    """Return the only row of a query."""
    row = await (await database.execute(query)).fetchone()
    assert row is not None
    return tuple(row)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="scripts/bench/schedules", description=__doc__)
    parser.add_argument("--users", type=int, default=1000, help="users, each with a schedule (default: %(default)s)")
    parser.add_argument("--searches", type=int, default=40, help="distinct searches (default: %(default)s)")
    add_json_argument(parser)
    options = parser.parse_args()
    with reporting(options.json) as report:
        on_local_stack(partial(bench, users=options.users, searches=options.searches, report=report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
