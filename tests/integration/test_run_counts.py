"""Runs are counted once each, as their rows say, however late they appear and however many workers count them."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.support.database import new_database
from worker.local.supabase.migrations import apply_migrations
from worker.local.supabase.postgres import Postgres

Connection = psycopg.Connection[dict[str, Any]]

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SUMS_OF_PAGES = ("pages", "requests", "valid_items", "invalid_items")
SUMS = ("attempts", "items", "new_items", *SUMS_OF_PAGES)
BUCKETS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21600]

RUN: LiteralString = """
insert into public.search_runs (
    id, user_id, kind, source, parameters, status, error_code, items_found, new_items, attempts, priority, fingerprint,
    created_at, started_at, completed_at)
values (%(id)s, %(user_id)s, %(kind)s, %(source)s, '{}', %(status)s, %(error_code)s, %(items)s, %(new_items)s,
        %(attempts)s, 0, %(id)s, %(created_at)s, %(started_at)s, %(completed_at)s)
"""
SITE: LiteralString = """
insert into public.search_run_sites (
    run_id, site, position, status, error_code, jobs_found, attempts, started_at, completed_at)
values (%(run_id)s, %(site)s, 1, %(status)s, %(error_code)s, %(items)s, %(attempts)s, %(started_at)s, %(completed_at)s)
"""
PAGE: LiteralString = """
insert into worker.raw_collections (
    run_id, source, site, attempt, page_number, query, query_hash, payload, response_ms, calls_used, fetched_at,
    strategy, status, item_count, invalid_count, new_count, completeness)
values (%(run_id)s, 'test', %(site)s, %(attempt)s, %(page_number)s, '{}', '', '{}', 5, %(requests)s, %(completed_at)s,
        'manual', %(status)s, %(items)s, %(invalid_items)s, %(new_items)s, %(completeness)s)
"""
OTHER_PAGES: LiteralString = """
with other as (
    insert into public.search_runs (user_id, kind, source, parameters, status, priority, fingerprint, created_at)
    select %s, 'jobs', 'manual', '{}', 'pending', 0, n, worker.now()
    from generate_series(1, 20000) as n
    returning id
)
insert into worker.raw_collections (
    run_id, source, site, attempt, page_number, query, query_hash, payload, response_ms, calls_used, fetched_at,
    strategy)
select other.id, 'test', 'indeed', 1, 1, '{}', '', '{}', 5, 1, worker.now(), 'manual' from other
"""
PAGES_READ: LiteralString = """
select seq_tup_read + coalesce(idx_tup_fetch, 0) as value from pg_stat_xact_user_tables
where relid = 'worker.raw_collections'::regclass
"""
DUE: LiteralString = """
update worker.housekeeping set next_at = '-infinity' where task in (
    select task from worker.housekeeping for update skip locked)
"""


class Database:
    """A database of the test's own, with one user, whose clock stands still."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = self.connect()
        self.set_clock(NOON)
        # The rows are written as they are.
        self.connection.execute("alter table public.search_runs disable trigger user")
        self.user_id = uuid4()
        self.connection.execute("insert into auth.users (id) values (%s)", [self.user_id])

    def connect(self) -> Connection:
        """Connect as the owner of the migrations."""
        # A call that waits for another transaction would never end.
        options = "-c lock_timeout=20s"
        return psycopg.connect(self.url, autocommit=True, connect_timeout=10, row_factory=dict_row, options=options)

    def set_clock(self, now: datetime) -> None:
        """Set the clock of the database."""
        statement = (
            "create or replace function worker.now() returns timestamptz language sql stable set search_path = ''"
        )
        self.connection.execute(sql.SQL(statement + " return timestamptz {}").format(now.isoformat()))

    def configure(self, name: str, value: int | str | None) -> None:
        """Change a setting."""
        self.connection.execute(sql.SQL("update worker.settings set {} = %s").format(sql.Identifier(name)), [value])

    def run(self, completed_at: datetime, *, on: Connection | None = None, **columns: Any) -> dict[str, Any]:
        """Insert a run that has ended, by default with success after a minute."""
        run = {
            "id": uuid4(), "user_id": self.user_id, "kind": "jobs", "source": "manual", "status": "success",
            "error_code": None, "items": 3, "new_items": 2, "attempts": 1,
            "created_at": completed_at - timedelta(seconds=70), "started_at": completed_at - timedelta(seconds=60),
            "completed_at": completed_at,
        } | columns  # fmt: skip
        (on or self.connection).execute(RUN, run)
        return run

    def count(self, on: Connection | None = None) -> int:
        """Let the chore do one round now; return the seconds until the next one."""
        connection = on or self.connection
        connection.execute(DUE)
        return int(self.value("select public.worker_count_runs() as value", on=connection))

    def count_all(self) -> int:
        """Let the chore count until nothing is left; return the number of rounds."""
        rounds = 1
        while self.count() == 0:
            rounds += 1
        return rounds

    def value(self, query: LiteralString, *arguments: Any, on: Connection | None = None) -> Any:
        """The only value of a query, as `value`."""
        row = (on or self.connection).execute(query, arguments).fetchone()
        assert row is not None
        return row["value"]

    def counted(self) -> int:
        """How many runs are counted."""
        return int(
            self.value("select coalesce(sum(runs), 0) as value from worker.run_stats where site = '' and span = 'hour'")
        )

    def stats(self) -> list[dict[str, Any]]:
        """All counts."""
        return self.connection.execute("select * from worker.run_stats").fetchall()


@pytest.fixture(scope="module")
def migrated() -> dict[str, str]:
    """The migrated database of each server, which those of the tests are copies of."""
    return {}


@pytest.fixture
def database(postgres: Postgres, migrations_here: Path, migrated: dict[str, str]) -> Iterator[Database]:
    server = postgres.dsn()
    if server not in migrated:
        migrated[server] = new_database(postgres)
        apply_migrations(migrated[server], migrations_here)
    name = f"test_{uuid4().hex}"
    source = migrated[server].rpartition("/")[2]
    with psycopg.connect(server, autocommit=True) as superuser:
        superuser.execute(
            sql.SQL("create database {} template {} owner postgres").format(
                sql.Identifier(name), sql.Identifier(source)
            )
        )
    made = Database(migrated[server].removesuffix(source) + name)
    yield made
    made.connection.close()


def histogram(times: list[float | None]) -> list[int]:
    found = Counter(bisect_right(BUCKETS, seconds) for seconds in times if seconds is not None)
    return [found[number] for number in range(len(BUCKETS) + 1)]


def fill(database: Database, dice: random.Random, count: int) -> list[dict[str, Any]]:
    """Insert runs of five days with all that they may have; return a row for each run and each site."""
    rows: list[dict[str, Any]] = []
    for _ in range(count):
        completed_at = NOON - timedelta(seconds=dice.uniform(0, 5 * 86400))
        duration = dice.choice([None, dice.uniform(0, 3), dice.uniform(1, 300), dice.uniform(60, 50000)])
        wait = dice.uniform(0, 400)
        started_at = None if duration is None else completed_at - timedelta(seconds=duration)
        status = dice.choice(["success", "success", "partial", "failed", "cancelled"])
        run = database.run(
            completed_at,
            kind=dice.choice(["jobs", "people"]),
            source=dice.choice(["manual", "cron", "api", "import"]),
            status=status,
            error_code=dice.choice(["blocked", "timeout"]) if status in ("partial", "failed") else None,
            items=dice.randint(0, 50),
            new_items=dice.randint(0, 20),
            attempts=dice.randint(0, 3),
            started_at=started_at,
            created_at=(started_at or completed_at) - timedelta(seconds=wait),
        )
        sites = [
            site_of(database, run, site, dice)
            for site in dice.sample(["indeed", "linkedin", "lever"], dice.randint(0, 3))
        ]
        rows.append(
            {"site": "", "run": run, "outcome": status, "error_code": run["error_code"] or "", "duration": duration,
             "wait": None if duration is None or run["source"] == "import" else wait, "attempts": run["attempts"],
             "items": run["items"], "new_items": run["new_items"]}
            | {name: sum(site[name] for site in sites) for name in SUMS_OF_PAGES}
        )  # fmt: skip
        rows += sites
    return rows


def site_of(database: Database, run: dict[str, Any], site: str, dice: random.Random) -> dict[str, Any]:
    status = dice.choice(["completed", "partial", "failed", "skipped"])
    duration = None if status == "skipped" or run["started_at"] is None else dice.uniform(0, 100)
    row: dict[str, Any] = {
        "run_id": run["id"], "site": site, "status": status, "items": dice.randint(0, 40),
        "attempts": dice.randint(0, 2),
        "error_code": dice.choice(["blocked", "network"]) if status in ("partial", "failed") else None,
        "started_at": None if duration is None else run["completed_at"] - timedelta(seconds=duration),
        "completed_at": run["completed_at"],
    }  # fmt: skip
    database.connection.execute(SITE, row)
    counted = {
        "site": site, "run": run, "outcome": status, "error_code": row["error_code"] or "", "duration": duration,
        "wait": None, "attempts": row["attempts"], "items": row["items"], "new_items": 0, "pages": 0, "requests": 0,
        "valid_items": 0, "invalid_items": 0, "of_pages": [],
    }  # fmt: skip
    for attempt in range(1, row["attempts"] + 1):
        for number in range(1, dice.randint(1, 3)):
            page = {
                "run_id": run["id"], "site": site, "attempt": attempt, "page_number": number,
                "requests": dice.randint(1, 4), "completed_at": run["completed_at"], "items": dice.randint(0, 9),
                "status": dice.choice(["completed", "partial", "failed"]), "invalid_items": dice.randint(0, 2),
                "new_items": dice.randint(0, 5), "completeness": Jsonb({"title": 1, "salary": 0.5}),
            }  # fmt: skip
            database.connection.execute(PAGE, page)
            counted["of_pages"].append(page)
            counted["pages"] += 1
            counted["requests"] += page["requests"]
    # Each attempt began with the first page again: only the last one that did found something.
    last = max((page["attempt"] for page in counted["of_pages"]), default=0)
    for page in counted["of_pages"]:
        if page["attempt"] == last:
            for name, of_page in (
                ("valid_items", "items"),
                ("invalid_items", "invalid_items"),
                ("new_items", "new_items"),
            ):
                counted[name] += page[of_page]
    return counted


def begin(span: str, at: datetime) -> datetime:
    hour = at.replace(minute=0, second=0, microsecond=0)
    return hour if span == "hour" else hour.replace(hour=0)


def expected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    groups: defaultdict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        for span in ("hour", "day"):
            run = row["run"]
            key = (span, begin(span, run["completed_at"]), row["site"], run["kind"], run["source"], row["outcome"],
                   row["error_code"])  # fmt: skip
            groups[key].append(row)
    names = ("span", "begins_at", "site", "kind", "source", "outcome", "error_code")
    return [
        dict(zip(names, key, strict=True))
        | {"runs": len(group)}
        | {f"{name}s": histogram([row[name] for row in group]) for name in ("duration", "wait")}
        | {name: sum(row[name] for row in group) for name in SUMS}
        for key, group in groups.items()
    ]


def ordered(stats: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(
        stats,
        key=lambda row: [
            str(row[name]) for name in ("span", "begins_at", "site", "kind", "source", "outcome", "error_code")
        ],
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_counts_are_what_the_rows_say(database: Database, seed: int) -> None:
    rows = fill(database, random.Random(seed), 60)
    database.configure("count_batch", 17)
    assert database.count_all() == 4
    assert ordered(database.stats()) == ordered(expected(rows))

    days: defaultdict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        for page in row.get("of_pages", ()):
            days[row["run"]["completed_at"].date(), page["site"]].append(page)
    quality: LiteralString = """
        select day, site, pages, failed_pages, items, invalid_items, (fields ->> 'title')::integer as titles
        from worker.page_stats order by day, site
    """
    assert database.connection.execute(quality).fetchall() == [
        {
            "day": day,
            "site": site,
            "pages": len(pages),
            "failed_pages": sum(page["status"] == "failed" for page in pages),
            "items": sum(page["items"] for page in pages),
            "invalid_items": sum(page["invalid_items"] for page in pages),
            "titles": sum(page["items"] for page in pages),
        }
        for (day, site), pages in sorted(days.items())
    ]


def test_counting_again_changes_nothing(database: Database) -> None:
    fill(database, random.Random(1), 30)
    database.count_all()
    stats = ordered(database.stats())
    for hours in (0, 1, 3, 60):
        database.set_clock(NOON + timedelta(hours=hours))
        database.count_all()
        assert ordered(database.stats()) == stats


def test_a_second_worker_neither_waits_nor_counts(database: Database) -> None:
    database.run(NOON)
    with database.connect() as first, database.connect() as second:
        first.execute(DUE)
        with first.transaction():
            assert database.value("select public.worker_count_runs() as value", on=first) == 300
            assert database.value("select public.worker_count_runs() as value", on=second) == 300
        assert database.value("select public.worker_count_runs() as value", on=second) == 300
        assert database.counted() == 1


def test_workers_at_once_count_each_run_once(database: Database) -> None:
    rows = fill(database, random.Random(7), 80)
    database.configure("count_batch", 5)
    database.configure("keep_runs", "1 day")

    def work(_: int) -> None:
        with database.connect() as connection:
            for _ in range(40):
                connection.execute(DUE)
                connection.execute("select public.worker_count_runs()")
                connection.execute("select public.worker_delete_expired()")

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    database.count_all()
    assert ordered(database.stats()) == ordered(expected(rows))
    assert database.value("select count(*) as value from public.search_runs") < 80


def test_a_transaction_that_commits_late_is_counted(database: Database) -> None:
    with database.connect() as late:
        with late.transaction():
            database.run(NOON - timedelta(minutes=90), on=late)
            for minutes in range(0, 30, 5):
                database.set_clock(NOON + timedelta(minutes=minutes))
                database.run(NOON + timedelta(minutes=minutes))
                database.count()
            assert database.counted() == 6
        database.count()
    assert database.counted() == 7


def test_followers_that_end_with_a_leader_of_long_ago_are_counted(database: Database) -> None:
    ended_at = NOON - timedelta(hours=10)
    leader = database.run(ended_at)
    database.connection.execute(
        "insert into worker.ended_leaders (run_id, fingerprint, tried_at) values (%s, 'x', %s)",
        [leader["id"], ended_at],
    )
    database.run(NOON)
    database.count()
    assert database.counted() == 1  # the leader's pages may still be moved
    database.run(ended_at)
    database.connection.execute("delete from worker.ended_leaders")
    database.count()
    assert database.counted() == 3
    # From then on, what ended long ago is left.
    database.run(ended_at)
    database.count()
    assert database.counted() == 3


def test_a_deleted_run_counts_if_it_was_counted_before(database: Database) -> None:
    delete: LiteralString = "delete from public.search_runs where id = %s"
    counted = database.run(NOON)
    database.count()
    not_counted = database.run(NOON)
    for run in (counted, not_counted):
        database.connection.execute(delete, [run["id"]])
    database.count()
    assert database.counted() == 1


def test_retention_counts_no_run_twice_that_the_next_round_would_look_at_again(database: Database) -> None:
    database.run(NOON - timedelta(minutes=100))
    database.configure("keep_runs", "1 hour")
    database.count()
    database.connection.execute("select worker.delete_expired_rows()")
    assert database.value("select count(*) as value from public.search_runs") == 0
    assert database.counted() == 1


@pytest.mark.parametrize("is_counted", [False, True])
def test_retention_counts_what_it_deletes(database: Database, is_counted: bool) -> None:
    rows = fill(database, random.Random(3), 20)
    database.configure("keep_runs", "4 hours")
    database.configure("retention_batch", 1000)
    old = sum(row["site"] == "" and row["run"]["completed_at"] < NOON - timedelta(hours=4) for row in rows)
    if is_counted:
        database.count_all()
    with database.connect() as counting, counting.transaction():
        counting.execute("select from worker.housekeeping where task = 'run_counts' for update")
        database.connection.execute("select worker.delete_expired_rows()")
        assert database.value("select count(*) as value from public.search_runs") == 20
    database.connection.execute("select worker.delete_expired_rows()")
    assert database.value("select count(*) as value from public.search_runs") == 20 - old
    database.count_all()
    assert ordered(database.stats()) == ordered(expected(rows))


def test_after_an_outage_it_catches_up_in_batches(database: Database) -> None:
    for hours in range(120):
        database.run(NOON - timedelta(hours=hours))
    database.configure("count_batch", 25)
    marks: LiteralString = "select count(*) as value from worker.counted_runs"
    for counted in (25, 50, 75, 100):
        assert database.count() == 0
        assert database.counted() == counted
        # Only those marks are kept that the next round needs.
        assert database.value(marks) == 1
    assert database.count() > 0
    assert database.counted() == 120
    assert database.value(marks) == 3  # of the last two hours, and their begin


def test_runs_that_end_at_one_time_do_not_stop_it(database: Database) -> None:
    for _ in range(30):
        database.run(NOON - timedelta(days=1))
    database.configure("count_batch", 10)
    assert database.count_all() == 4
    assert database.counted() == 30


def test_counting_a_run_reads_no_other_pages(database: Database) -> None:
    run = database.run(NOON)
    site_of(database, run, "indeed", random.Random(1))
    pages: LiteralString = "select count(*) as value from worker.raw_collections where run_id = %s"
    assert database.value(pages, run["id"]) > 0
    database.connection.execute(OTHER_PAGES, [database.user_id])
    database.connection.execute("analyze worker.raw_collections, public.search_runs, public.search_run_sites")
    with database.connection.transaction():
        before = database.value(PAGES_READ)
        database.count()
        assert database.counted() == 1
        assert database.value(PAGES_READ) - before < 50


def test_old_counts_are_deleted(database: Database) -> None:
    database.run(NOON)
    database.count()
    database.connection.execute(
        "insert into worker.page_stats values ('2026-11-22', 'indeed', 'test', 1, 0, 1, 0, '{}')"
    )
    database.connection.execute(
        "insert into worker.site_totals"
        " values ('day', '2026-11-22T00:00:00Z', 'indeed', 'completed', 1, '{}', '{}', 1, 1, 1, 1, 1, 1, 0)"
    )
    counts: LiteralString = """
        select (select count(*) from worker.run_stats) + (select count(*) from worker.page_stats)
               + (select count(*) from worker.queue_samples) + (select count(*) from worker.run_totals)
               + (select count(*) from worker.site_totals) as value
    """
    assert database.value(counts) == 7
    database.set_clock(NOON + timedelta(days=399))
    database.connection.execute("select worker.delete_expired_rows()")
    assert database.value(counts) == 7
    database.set_clock(NOON + timedelta(days=402))
    database.connection.execute("select worker.delete_expired_rows()")
    assert database.value(counts) == 0
    database.configure("keep_run_stats", None)
    database.connection.execute("select worker.delete_expired_rows()")


def test_the_queue_is_sampled_every_five_minutes_at_most(database: Database) -> None:
    for after in (None, None, NOON + timedelta(hours=1)):
        run = database.run(NOON)
        database.connection.execute(
            "update public.search_runs set status = 'pending', completed_at = null, run_after = %s where id = %s",
            [after, run["id"]],
        )
    for minutes in (0, 1, 4, 5, 11):
        database.set_clock(NOON + timedelta(minutes=minutes))
        database.count()
    samples = database.connection.execute("select * from worker.queue_samples order by at").fetchall()
    assert [(row["at"] - NOON).total_seconds() / 60 for row in samples] == [0, 5, 10]
    assert [(row["ready"], row["delayed"], row["running"]) for row in samples] == [(2, 1, 0)] * 3


def test_quantiles_are_in_the_right_bucket(database: Database) -> None:
    dice = random.Random(11)
    for _ in range(40):
        times = sorted(
            dice.choice([dice.uniform(0, 50), dice.expovariate(0.01), 1.0, 60.0]) for _ in range(dice.randint(1, 80))
        )
        for share in (0.5, 0.95):
            value = database.value("select worker.quantile(worker.histogram(%s::float8[]), %s) as value", times, share)
            # The first time that is not below the share of all.
            bucket = bisect_right(BUCKETS, times[ceil(share * len(times)) - 1])
            assert [0, *BUCKETS][bucket] <= value <= [*BUCKETS, BUCKETS[-1]][bucket]


def test_quantiles_are_interpolated(database: Database) -> None:
    value: LiteralString = "select worker.quantiles(worker.histogram(%s::float8[])) as value"
    assert database.value(value, [61.0] * 10) == {"p50": 90, "p95": 117}
    assert database.value(value, [0.5, 1e6]) == {"p50": 1, "p95": 21600}
    assert database.value(value, []) == {"p50": None, "p95": None}


def test_totals_are_the_sums_of_the_counts(database: Database) -> None:
    dice = random.Random(7)
    for counted, minutes in ((1, 5), (2, 50), (3, 65)):
        for kind, status, error_code in (
            ("jobs", "success", None),
            ("creators", "success", None),
            ("jobs", "failed", "blocked"),
            ("jobs", "failed", "timeout"),
        ):
            ended = NOON - timedelta(minutes=minutes)
            started = ended - timedelta(seconds=minutes)
            run = database.run(ended, kind=kind, status=status, error_code=error_code, started_at=started)
            for site in ("indeed", "linkedin"):
                site_of(database, run, site, dice)
        database.count()
        assert database.counted() == 4 * counted
    differing: LiteralString = """
        with summed as (
            select bucket.span, bucket.begins_at, bucket.outcome,
                   array_agg(bucket.durations order by bucket.number) as durations,
                   array_agg(bucket.waits order by bucket.number) as waits
            from (
                select stats.span, stats.begins_at, stats.outcome, time.number,
                       sum(time.durations)::bigint as durations, sum(time.waits)::bigint as waits
                from worker.run_stats as stats
                cross join unnest(stats.durations, stats.waits) with ordinality as time (durations, waits, number)
                where stats.site = ''
                group by 1, 2, 3, 4
            ) as bucket
            group by 1, 2, 3
        ), expected as (
            select stats.span, stats.begins_at, stats.outcome, sum(stats.runs), summed.durations, summed.waits,
                   sum(stats.pages), sum(stats.requests), sum(stats.items), sum(stats.new_items)
            from worker.run_stats as stats join summed using (span, begins_at, outcome)
            where stats.site = ''
            group by 1, 2, 3, 5, 6
        )
        select count(*) as value from (
            (select * from expected except select * from worker.run_totals)
            union all (select * from worker.run_totals except select * from expected)
        ) as differing
    """
    assert database.value(differing) == 0
    # Two hours and a day, each with two outcomes.
    assert database.value("select count(*) as value from worker.run_totals") == 6
    differing_of_sites: LiteralString = """
        with by_code as (
            select stats.span, stats.begins_at, stats.site, stats.outcome, stats.error_code, sum(stats.runs) as runs,
                   sum(stats.attempts) as attempts, sum(stats.pages) as pages, sum(stats.requests) as requests,
                   sum(stats.items) as items, sum(stats.new_items) as new_items, sum(stats.valid_items) as valid_items,
                   sum(stats.invalid_items) as invalid_items
            from worker.run_stats as stats
            where stats.site <> ''
            group by 1, 2, 3, 4, 5
        ), expected as (
            select by_code.span, by_code.begins_at, by_code.site, by_code.outcome, sum(by_code.runs),
                   coalesce(
                       jsonb_object_agg(by_code.error_code, by_code.runs) filter (where by_code.error_code <> ''),
                       '{}'),
                   (select array_agg(bucket.durations order by bucket.number)
                    from (
                        select time.number, sum(time.durations)::bigint as durations
                        from worker.run_stats as stats
                        cross join unnest(stats.durations) with ordinality as time (durations, number)
                        where (stats.span, stats.begins_at, stats.site, stats.outcome)
                            = (by_code.span, by_code.begins_at, by_code.site, by_code.outcome)
                        group by 1
                    ) as bucket),
                   sum(by_code.attempts), sum(by_code.pages), sum(by_code.requests), sum(by_code.items),
                   sum(by_code.new_items), sum(by_code.valid_items), sum(by_code.invalid_items)
            from by_code
            group by 1, 2, 3, 4
        )
        select count(*) as value from (
            (select * from expected except select * from worker.site_totals)
            union all (select * from worker.site_totals except select * from expected)
        ) as differing
    """
    assert database.value(differing_of_sites) == 0
    assert database.value("select count(distinct site) as value from worker.site_totals where errors <> '{}'") == 2
