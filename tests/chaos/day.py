"""A day of schedules on a clock that is moved, while callers, workers and Postgres fail: every slot exactly once."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.support.queue import START_SEARCH
from tools.postgres import throwaway_postgres
from worker.cli.main import at_least
from worker.local.migration_files import migrations_folder
from worker.local.supabase.migrations import apply_migrations
from worker.local.supabase.postgres import Postgres

LONDON = ZoneInfo("Europe/London")
TIMES = ("08:00", "10:00", "14:00", "16:00", "16:45", "22:00")
START = datetime(2026, 10, 24, 12, tzinfo=UTC)
"""The night after it, clocks in London are set back."""

DAY = timedelta(hours=24)
TICK = timedelta(minutes=5)
CALLERS = 4
LEASE_SECONDS = 60
"""Less than a tick, so that the runs of a worker that died are rescued at the next one."""

STEP_FORWARD_AT = START + timedelta(hours=8, minutes=45)
STEP_FORWARD = timedelta(minutes=40)
"""Over the slot at 22:00 in London."""

STEP_BACK_AT = START + timedelta(hours=22, minutes=10)
STEP_BACK = timedelta(minutes=30)
"""To before the slot at 10:00, which has been fired."""

Connection = psycopg.Connection[dict[str, Any]]
Slots = dict[str, list[datetime]]


@dataclass(slots=True)
class Outcome:
    """What happened within the day.

    Attributes:
        expected: The slots of every schedule, in order.
        fired: The slots of the runs of each schedule, in order, by its id.
        searched: For each slot, how many of its runs searched themselves.
        unended: Runs that did not succeed.
        seconds: How long the day took.
    """

    expected: list[datetime]
    fired: Slots = field(default_factory=dict)
    searched: dict[datetime, int] = field(default_factory=dict)
    unended: int = 0
    killed_callers: int = 0
    killed_workers: int = 0
    restarts: int = 0
    rescues: int = 0
    seconds: float = 0

    @property
    def wrong(self) -> list[str]:
        """The schedules of which a slot was lost or fired twice."""
        return [saved for saved, slots in self.fired.items() if slots != self.expected]


def day(users: int, searches: int, tick: timedelta = TICK) -> Outcome:
    """Let the day pass.

    Args:
        users: Number of users, each with one schedule.
        searches: Number of distinct searches.
        tick: How far the clock is moved between two calls.
    """
    outcome = Outcome(expected=sorted(_slots()))
    started = time.monotonic()
    with throwaway_postgres() as postgres:
        apply_migrations(postgres.dsn("postgres"), migrations_folder())
        _Day(postgres, outcome, tick).pass_by(users, searches)
    outcome.seconds = time.monotonic() - started
    return outcome


def _slots() -> Iterator[datetime]:
    for days in range(3):
        date = (START + timedelta(days=days)).astimezone(LONDON).date()
        for at in TIMES:
            slot = datetime.fromisoformat(f"{date}T{at}").replace(tzinfo=LONDON).astimezone(UTC)
            if START < slot <= START + DAY:
                yield slot


class _Day:
    def __init__(self, postgres: Postgres, outcome: Outcome, tick: timedelta) -> None:
        self._postgres = postgres
        self._outcome = outcome
        self._tick = tick
        self._now = START

    def pass_by(self, users: int, searches: int) -> None:
        self._set_clock(START)
        self._save(users, searches)
        faults = iter(("caller", "postgres", "worker", "caller", "worker", "postgres"))
        slots = iter([*self._outcome.expected, START + 2 * DAY])
        slot = next(slots)
        is_stepped_forward = is_stepped_back = False
        while self._now < START + DAY:
            self._set_clock(self._now + self._tick)
            fault = None
            if self._now >= slot:
                slot, fault = next(slots), next(faults)
            self._fire(fault)
            self._work(dies=fault is None and self._is_after_slot() and self._outcome.killed_workers < 2)
            if self._now >= STEP_FORWARD_AT and not is_stepped_forward:
                is_stepped_forward = True
                self._set_clock(self._now + STEP_FORWARD)
            elif self._now >= STEP_BACK_AT and not is_stepped_back:
                is_stepped_back = True
                self._set_clock(self._now - STEP_BACK)
        self._set_clock(self._now + self._tick)
        self._work(dies=False)
        self._look()

    def _is_after_slot(self) -> bool:
        return any(slot < self._now <= slot + self._tick for slot in self._outcome.expected)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        dsn = self._postgres.dsn("postgres")
        with psycopg.connect(dsn, autocommit=True, connect_timeout=10, row_factory=dict_row) as connection:
            yield connection

    def _set_clock(self, now: datetime) -> None:
        self._now = now
        statement = (
            "create or replace function worker.now() returns timestamptz language sql stable set search_path = ''"
        )
        with self._connected() as connection:
            connection.execute(sql.SQL(statement + " return timestamptz {}").format(now.isoformat()))

    def _save(self, users: int, searches: int) -> None:
        with self._connected() as connection:
            connection.execute("insert into worker.kinds (kind) values ('day')")
            connection.execute(
                """
                insert into worker.parameter_rules (kind, name, type, is_required, minimum, maximum, default_value)
                values ('day', 'sites', 'texts', false, 1, 9, '["alpha"]'),
                       ('day', 'search_term', 'text', true, 1, 200, null),
                       ('day', 'results_wanted', 'integer', false, 1, 100, '10')
                """
            )
            connection.execute(
                "insert into auth.users (id, email, created_at)"
                " select gen_random_uuid(), number || '@example.com', %s from generate_series(1, %s) as number",
                [START, users],
            )
            connection.execute(
                """
                with saved as (
                    insert into public.saved_searches (user_id, name, kind, parameters)
                    select id, 'mine', 'day', jsonb_build_object(
                        'search_term', 'engineer ' || row_number() over (order by id) %% %s)
                    from auth.users
                    returning id
                )
                insert into public.search_schedules (saved_search_id, time_zone, times)
                select id, 'Europe/London', %s::time[] from saved
                """,
                [searches, [*TIMES]],
            )

    # The callers

    def _fire(self, fault: str | None) -> None:
        """Let all callers fire at the same time, after a fault: a caller is killed before its commit, or Postgres."""
        if fault in ("caller", "postgres"):
            with suppress(psycopg.OperationalError), self._connected() as victim:
                victim.execute("begin")
                victim.execute("select public.worker_fire_schedules(50)")
                if fault == "caller":
                    # The others meet its locks first.
                    self._call_at_once()
                    self._outcome.killed_callers += 1
                    with self._connected() as killer:
                        killer.execute("select pg_terminate_backend(%s)", [victim.info.backend_pid])
                else:
                    self._outcome.restarts += 1
                    self._postgres.stop(immediately=True)
                    self._postgres.start()
                victim.execute("commit")
        self._call_at_once()

    def _call_at_once(self) -> None:
        with ThreadPoolExecutor(CALLERS) as callers:
            for called in [callers.submit(self._call) for _ in range(CALLERS)]:
                called.result()

    def _call(self) -> None:
        query: LiteralString = "select public.worker_fire_schedules() as fired"
        with self._connected() as connection:
            while connection.execute(query).fetchall()[0]["fired"]["started"]:
                pass

    # The worker

    def _work(self, *, dies: bool) -> None:
        """Claim what is ready and search it. A worker that dies leaves its first runs to the next tick."""
        ready: LiteralString = """
            select from public.search_runs
            where status = 'pending' and leader_run_id is null and coalesce(run_after, worker.now()) <= worker.now()
            limit 1
        """
        claim: LiteralString = """
            select run_id, lease_token from public.worker_claim_runs('worker', '{day}', 100, %s, %s, '[]')
        """
        with self._connected() as connection:
            expired = connection.execute("select from worker.leases limit 1").rowcount
            while expired or connection.execute(ready).rowcount:
                expired = 0
                claimed = connection.execute(claim, [LEASE_SECONDS, uuid4()]).fetchall()
                if claimed and dies:
                    self._outcome.killed_workers += 1
                    return
                for run in claimed:
                    self._search(connection, [run["run_id"], run["lease_token"]])

    def _search(self, connection: Connection, lease: list[Any]) -> None:
        connection.execute(START_SEARCH, [*lease, "alpha", 1])
        raw = {"source": "day", "version": 1, "payload": {}, "response_ms": 5, "calls_used": 1, "transform_ms": 1,
               "completeness": {}, "is_last": True}  # fmt: skip
        connection.execute(
            "select public.worker_save_pages(%s)",
            [Jsonb([{"run_id": str(lease[0]), "lease_token": str(lease[1]), "site": "alpha", "attempt": 1,
                     "page_number": 1, "raw": raw, "items": [], "errors": [],
                     "progress": {"step": "searching", "site": "alpha"}}])],
        )  # fmt: skip
        end = {"run_id": str(lease[0]), "lease_token": str(lease[1]), "site": "alpha", "ends_run": True}
        connection.execute("select public.worker_finish_sites(%s)", [Jsonb([end])])

    def _look(self) -> None:
        fired: LiteralString = """
            select schedule.saved_search_id::text as saved, coalesce(
                array_agg(run.slot_at order by run.slot_at) filter (where run.slot_at is not null), '{}') as slots
            from public.search_schedules as schedule
            left join public.search_runs as run on run.saved_search_id = schedule.saved_search_id
            group by 1
        """
        searched: LiteralString = """
            select slot_at, count(*) filter (where shared_run_id is null) as searches, sum(rescues) as rescues,
                   count(*) filter (where status <> 'success') as unended
            from public.search_runs group by 1
        """
        with self._connected() as connection:
            for row in connection.execute(fired):
                self._outcome.fired[row["saved"]] = [slot.astimezone(UTC) for slot in row["slots"]]
            for row in connection.execute(searched):
                self._outcome.searched[row["slot_at"].astimezone(UTC)] = row["searches"]
                self._outcome.unended += row["unended"]
                self._outcome.rescues += row["rescues"]


def main() -> int:
    """Let a day pass and print what happened. Return 0 if every slot was fired once, otherwise 1."""
    parser = argparse.ArgumentParser(prog="scripts/chaos-day", description=__doc__)
    parser.add_argument("--users", type=at_least(1), default=1000, help="users, each with a schedule (default: 1000)")
    parser.add_argument("--searches", type=at_least(1), default=40, help="distinct searches (default: 40)")
    options = parser.parse_args()
    outcome = day(options.users, options.searches)
    runs = sum(map(len, outcome.fired.values()))
    print(
        f"{options.users} schedules of {len(outcome.expected)} slots: {runs} runs, of which "
        f"{sum(outcome.searched.values())} searched, {outcome.unended} did not succeed; {outcome.killed_callers} "
        f"callers and {outcome.killed_workers} workers were killed ({outcome.rescues} runs rescued), Postgres crashed "
        f"{outcome.restarts} times, the clock was stepped twice; {outcome.seconds:.0f} s"
    )
    print(
        f"{len(outcome.wrong)} schedules lost a slot or fired one twice" if outcome.wrong else "every slot exactly once"
    )
    return 1 if outcome.wrong or outcome.unended else 0


if __name__ == "__main__":
    sys.exit(main())
