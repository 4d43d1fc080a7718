"""Measures how long a frontend needs to read the results of a run: all of them, a page of them, and their number."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping
from typing import LiteralString

from psycopg import sql
from psycopg.types.json import Jsonb

from scripts.bench.load_pages import ITEMS, make_page, page_to_save
from scripts.bench.local_stack import Connection, connect, on_local_stack, start_run
from scripts.bench.report import Column, Report, add_json_argument, reporting

SITE = "indeed"

LISTED = "item_id, title, organization, location, posted_at, salary_yearly_min, url, sites, is_new"
READINGS: Mapping[str, tuple[LiteralString, LiteralString]] = {
    "all columns of 1,000": ("*", "order by page_number, position, site limit 1000"),
    "a list's columns of 1,000": (LISTED, "order by page_number, position, site limit 1000"),
    "all columns of the first 50": ("*", "order by page_number, position, site limit 50"),
    "a list's columns of the first 50": (LISTED, "order by page_number, position, site limit 50"),
    "a list's columns of the last 50": (LISTED, "order by page_number, position, site limit 50 offset 850"),
    "one item": ("*", "limit 1"),
    "their number": ("count(*)", ""),
}
"""A query, by its columns and its rows."""

# As PostgREST does: the rows as one JSON text.
READ = """
select coalesce(json_agg(row), '[]')::text from (select {} from public.run_items where run_id = %s {}) as row
"""


async def measure(stack: dict[str, str], options: argparse.Namespace, report: Report) -> None:
    """Report the times of each query on a new connection: the first time, and the median of the others."""
    async with await connect(stack) as database:
        run_id, user_id = await _searched_run(database, options.results)
        await database.execute("analyze")
    report.condition(f"{options.results:,} results of 3 kB each, read under row level security.")
    report.condition(f"A new connection for each query: the first reading, and the median of {options.repeats} others.")
    rows = []
    for name, parts in READINGS.items():
        reading = sql.SQL(READ).format(*map(sql.SQL, parts))
        async with await connect(stack) as database:
            await _become(database, user_id)
            seconds = []
            for _ in range(1 + options.repeats):
                started = time.perf_counter()
                await (await database.execute(reading, [run_id], prepare=True)).fetchall()
                seconds.append(time.perf_counter() - started)
        rows.append((name, seconds[0] * 1000, statistics.median(seconds[1:]) * 1000))
    report.table("Reading results", [Column("what is read"), Column("first", "ms"), Column("then", "ms")], rows)


async def _searched_run(database: Connection, results: int) -> tuple[str, str]:
    run_id, lease_token = await start_run(database, SITE)
    for number in range(results // ITEMS):
        page = make_page(number + 1, number)
        await database.execute(
            "select public.worker_save_pages(%s)", [json.dumps([page_to_save(run_id, lease_token, SITE, page)])]
        )
    end = {"run_id": str(run_id), "lease_token": str(lease_token), "site": SITE, "ends_run": True}
    await database.execute("select public.worker_finish_sites(%s)", [Jsonb([end])])
    row = await (
        await database.execute("select id::text, user_id::text from public.search_runs where id = %s", [run_id])
    ).fetchone()
    assert row is not None
    return row[0], row[1]


async def _become(database: Connection, user_id: str) -> None:
    claims = json.dumps({"sub": user_id, "role": "authenticated"})
    await database.execute("select set_config('request.jwt.claims', %s, false)", [claims])
    await database.execute("set role authenticated")


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="scripts/bench/run_items", description=__doc__)
    parser.add_argument("--results", type=int, default=1000, help="results of the run (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=20, help="readings after the first (default: %(default)s)")
    add_json_argument(parser)
    options = parser.parse_args()
    with reporting(options.json) as report:
        on_local_stack(lambda stack: measure(stack, options, report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
