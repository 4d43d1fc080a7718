"""Measures the functions of admins beside many runs of the last days, and the chore that counts runs.

On a new local stack. Runs, sites and events are inserted in sets, with the triggers disabled; the chore counts all of
them, in batches, before the functions are measured.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from scripts.bench.local_stack import Connection, connect, on_local_stack
from scripts.bench.report import Column, Report, add_json_argument, reporting

USERS = 2000
CALLS = 20
CATCH_UP_BATCH = 10000
PAGES_OF = "6 hours"
"""Pages and events are there for the runs of this time only: they would take most of the disk."""
NO_SUCH_USER = "00000000-0000-0000-0000-000000000000"

_USERS: LiteralString = """
insert into auth.users (id, email)
select gen_random_uuid(), number || '@example.com' from generate_series(1, %s) as number
"""
_RUNS: LiteralString = """
insert into public.search_runs (
    user_id, kind, source, parameters, status, error_code, items_found, new_items, attempts, fingerprint, position,
    priority, created_at, started_at, completed_at, updated_at)
select (array(select id from auth.users order by id))[1 + floor(power(random(), 2) * %(users)s)], run.kind, run.source,
       jsonb_build_object('search_term', 'engineer ' || run.number %% 5000, 'sites', '["indeed", "linkedin"]'::jsonb),
       run.status,
       case when run.status in ('partial', 'failed') then (
           '{blocked,blocked,blocked,timeout,timeout,rate_limited,upstream,network,unverified,quota_exceeded}'::text[]
       )[1 + floor(random() * 10)] end,
       30, 12, 1, md5(run.number::text), run.number, 0, run.created_at, run.created_at + run.wait,
       run.created_at + run.wait + run.duration, now()
from (
    select number, now() - interval '1 minute' - random() * make_interval(days => %(days)s) as created_at,
           case when random() < 0.9 then 'jobs' when random() < 0.7 then 'people' else 'creators' end as kind,
           (case when random() < 0.5 then 'cron' when random() < 0.8 then 'manual' else 'api' end)::public.run_source
               as source,
           (case when random() < 0.82 then 'success' when random() < 0.5 then 'partial'
                 when random() < 0.75 then 'failed' else 'cancelled' end)::public.run_status as status,
           -ln(1 - random()) * interval '8 seconds' as wait, -ln(1 - random()) * interval '55 seconds' as duration
    from generate_series(1, %(runs)s) as number
    order by created_at
) as run
where run.created_at + run.wait + run.duration < now()
"""
_SITES: LiteralString = """
insert into public.search_run_sites (
    run_id, site, position, status, error_code, jobs_found, attempts, progress, started_at, completed_at)
select run.id, site.name, site.position,
       case when site.is_failed then 'failed' when run.status = 'cancelled' and site.position = 3 then 'skipped'
            else 'completed' end::public.site_status,
       case when site.is_failed then run.error_code end, 20, 1, '{"step": "finished"}', run.started_at, run.completed_at
from public.search_runs as run
cross join lateral (
    select name, position, run.status in ('partial', 'failed') and (run.status = 'failed' or position = 1) as is_failed
    from unnest(array[(array['indeed', 'glassdoor', 'zip_recruiter'])[1 + run.position % 3], 'linkedin',
                      (array['google', 'lever', 'ashby', 'greenhouse'])[1 + run.position % 4]])
        with ordinality as site (name, position)
) as site
"""
_PAGES: LiteralString = """
insert into worker.raw_collections (
    run_id, source, site, attempt, page_number, query, query_hash, payload, response_ms, calls_used, fetched_at,
    strategy, status, item_count, invalid_count, new_count, completeness)
select site.run_id, 'jobspy', site.site, 1, page_number, '{}', '', '{}', 300, 2, site.completed_at, 'manual',
       'completed', 20, 1, 5, '{"title": 1, "url": 1, "salary": 0.25, "location": 0.9}'
from public.search_run_sites as site cross join generate_series(1, 2) as page_number
where site.completed_at > now() - %s::interval
"""
_EVENTS: LiteralString = """
insert into public.run_events (run_id, event, data, created_at)
select run.id, event, '{"worker_id": "bench"}', run.completed_at
from public.search_runs as run
cross join unnest('{created,claimed,site_started,site_finished,site_started,site_finished,finished}'::text[]) as event
where run.completed_at > now() - %s::interval
"""
_CALL: LiteralString = "select * from public."
_COUNT: LiteralString = "select public.worker_count_runs()"
_MIB_OF_COUNTS: LiteralString = "select pg_total_relation_size('worker.run_stats') / 1024.0 ^ 2"

MEDIAN_AND_LONGEST = (Column("median", "ms", 1), Column("longest", "ms", 1))


async def bench(stack: dict[str, str], *, runs: int, days: int, report: Report) -> None:
    """Measure on a stack, and report the figures.

    Args:
        stack: The JSON that `local --json` prints.
        runs: Number of runs.
        days: In how many days they ended.
        report: Where the figures go.
    """
    async with await connect(stack) as database:
        await fill(database, runs, days, report)
        await catch_up(database, report)
        await functions(database, days, report)
        await rounds(database, runs // (days * 24 * 12), report)


async def fill(database: Connection, runs: int, days: int, report: Report) -> None:
    """Insert users, runs, and what belongs to them."""
    began = time.monotonic()
    await database.execute("alter table public.search_runs disable trigger user")
    await database.execute(_USERS, [USERS])
    await database.execute(_RUNS, {"runs": runs, "days": days, "users": USERS})
    await database.execute(_SITES)
    await database.execute(_PAGES, [PAGES_OF])
    await database.execute(_EVENTS, [PAGES_OF])
    await database.execute("alter table public.search_runs enable trigger user")
    await database.execute("vacuum analyze")
    inserted = await one(database, "select count(*) from public.search_runs")
    report.condition(
        f"{inserted:,} runs of {USERS:,} users in {days} days, inserted in {time.monotonic() - began:.0f} s. "
        f"{CALLS} calls of each function and rounds of the chore."
    )


async def catch_up(database: Connection, report: Report) -> None:
    """Count all runs, and report how long it took."""
    await database.execute("update worker.settings set count_batch = %s", [CATCH_UP_BATCH])
    took = []
    left = 0
    while left == 0:
        since = time.monotonic()
        left = await one(database, _COUNT)
        took.append(time.monotonic() - since)
    await database.execute("update worker.settings set count_batch = default")
    await database.execute("vacuum analyze")
    rows = await one(database, "select count(*) from worker.run_stats")
    size = float(await one(database, _MIB_OF_COUNTS))
    report.table(
        f"Counting all runs, {CATCH_UP_BATCH:,} in a round",
        [
            Column("rounds"), Column("in all", "s"), *MEDIAN_AND_LONGEST,
            Column("rows of counts"), Column("their size", "MiB", 1),
        ],
        [(len(took), sum(took), *median_and_longest(took), rows, size)],
    )  # fmt: skip


async def functions(database: Connection, days: int, report: Report) -> None:
    """Report how long each function of admins takes, as an admin calls it."""
    claims = Jsonb({"role": "authenticated", "app_metadata": {"role": "admin"}})
    await database.execute("select set_config('request.jwt.claims', %s::text, false)", [claims])
    user = await one(database, "select user_id from public.search_runs limit 1")
    await database.execute("set role authenticated")
    since: LiteralString = "now() - make_interval(days => %s)"
    calls: dict[str, tuple[LiteralString, list[Any]]] = {
        f"admin_overview, {days} days": (f"admin_overview({since})", [days]),
        "admin_overview, 1 day": (f"admin_overview({since})", [1]),
        f"admin_sites, {days} days": (f"admin_sites({since})", [days]),
        "admin_sites, 1 day": (f"admin_sites({since})", [1]),
        f"admin_quality, {days} days": (f"admin_quality({since})", [days]),
        "admin_quotas": ("admin_quotas()", []),
        "admin_runs": ("admin_runs()", []),
        "admin_runs, failed": ("admin_runs(status => '{failed}')", []),
        "admin_runs, of a user": ("admin_runs(user_id => %s)", [user]),
        "admin_runs, of no user": ("admin_runs(user_id => %s)", [NO_SUCH_USER]),
        "admin_runs, error code": ("admin_runs(error_code => 'quota_exceeded')", []),
        "admin_runs, no such error code": ("admin_runs(error_code => 'internal')", []),
        "admin_runs, site": ("admin_runs(site => 'ashby')", []),
        "admin_runs, no run of the site": ("admin_runs(site => 'youtube')", []),
        "admin_runs, no import": ("admin_runs(source => 'import')", []),
        "admin_runs, no import of a user": ("admin_runs(source => 'import', user_id => %s)", [user]),
        "admin_runs, oldest": (f"admin_runs(until => {since})", [days - 1]),
    }
    rows = []
    for name, (call, arguments) in calls.items():
        took = []
        for _ in range(CALLS):
            before = time.monotonic()
            await (await database.execute(_CALL + call, arguments)).fetchall()
            took.append(time.monotonic() - before)
        rows.append((name, *median_and_longest(took)))
    await database.execute("reset role")
    report.table("Functions, as an admin calls them", [Column("function"), *MEDIAN_AND_LONGEST], rows)


async def rounds(database: Connection, usual: int, report: Report) -> None:
    """Report how long one round of the chore takes: with the runs of five minutes, and with a full batch."""
    batch = await one(database, "select count_batch from worker.settings")
    rows = []
    for title, runs in (("no run", 0), ("the runs of five minutes", usual), ("a full batch", batch)):
        took = []
        for _ in range(CALLS):
            await database.execute("begin")
            await database.execute(
                "delete from worker.counted_runs where run_id in ("
                "select run_id from worker.counted_runs order by completed_at desc limit %s)",
                [runs],
            )
            await database.execute("update worker.housekeeping set next_at = '-infinity' where task = 'run_counts'")
            before = time.monotonic()
            await database.execute(_COUNT)
            took.append(time.monotonic() - before)
            await database.execute("rollback")
        rows.append((title, runs, *median_and_longest(took)))
    report.table("A round of the chore", [Column("to be counted"), Column("runs"), *MEDIAN_AND_LONGEST], rows)


def median_and_longest(seconds: Sequence[float]) -> tuple[float, float]:
    """Return the median and the longest of some times, in milliseconds."""
    return median(seconds) * 1000, max(seconds) * 1000


async def one(database: Connection, query: LiteralString) -> Any:
    """Return the only value of a query."""
    row = await (await database.execute(query)).fetchone()
    assert row is not None
    return row[0]


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="scripts/bench/admin", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000, help="runs that have ended (default: %(default)s)")
    parser.add_argument("--days", type=int, default=30, help="in how many days they ended (default: %(default)s)")
    add_json_argument(parser)
    options = parser.parse_args()
    with reporting(options.json) as report:
        on_local_stack(partial(bench, runs=options.runs, days=options.days, report=report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
