"""Runs that ask the database when to search a site, on a clock that stands still until a test moves it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.support.queue import Row

Connection = psycopg.Connection[Row]

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
LEASE_SECONDS = 3600


def connect(dsn: str) -> Connection:
    """A connection as the owner of the migrations; each statement is a transaction, unless one is begun."""
    return psycopg.connect(dsn, autocommit=True, connect_timeout=10, row_factory=dict_row)


Exits = Sequence[str | Row] | None
"""Exits that a worker offers: names, or what else it says of them as well."""


def offered(exits: Exits) -> Jsonb | None:
    """The exits as an argument of a function."""
    return None if exits is None else Jsonb([{"name": each} if isinstance(each, str) else each for each in exits])


@dataclass(frozen=True, slots=True)
class Run:
    """A claimed run."""

    connection: Connection
    id: UUID
    token: UUID

    def admit(
        self,
        site: str,
        limits: Row | None = None,
        *,
        account: str | None = None,
        exits: Exits = None,
        on: Connection | None = None,
    ) -> Row:
        """Ask to search a site whose source declares these limits for it."""
        arguments = [self.id, site, account or "", Jsonb({site: limits or {}}), offered(exits)]
        with self._leased(on) as connection:
            answers: Row = self._answer(
                connection,
                "worker.admit_searches(array[row(%s, null, %s, 1, %s, %s, %s)::worker.search_to_start])",
                arguments,
            )
        answer: Row = answers[str(self.id)]
        return answer

    def take(
        self,
        site: str,
        limits: Row | None = None,
        *,
        requests: int | None = 1,
        bucket: str | None = None,
        account: str | None = None,
        exits: Exits = None,
        on: Connection | None = None,
    ) -> Row:
        """Ask for requests to a bucket with these limits, by default the site's own."""
        arguments = [
            self.id, self.token, site, account, bucket or site, requests, Jsonb(limits or {}), offered(exits)
        ]  # fmt: skip
        answer: Row = self._answer(on, "public.worker_take_permit(%s, %s, %s, %s, %s, %s, %s, %s)", arguments)
        return answer

    def leave(
        self,
        site: str,
        left: str,
        exits: Exits,
        *,
        error_code: str = "blocked",
        retry_after_seconds: float | None = None,
        on: Connection | None = None,
    ) -> Row:
        """Report that a site refused an exit."""
        arguments = [
            self.id, self.token, site, None, left, error_code, "refused", retry_after_seconds, offered(exits)
        ]  # fmt: skip
        answer: Row = self._answer(on, "public.worker_leave_exit(%s, %s, %s, %s, %s, %s, %s, %s, %s)", arguments)
        return answer

    def observe(self, site: str, observed: Row, *, account: str | None = None, exit_name: str = "") -> None:
        """Pass on what a site told of its limits."""
        arguments = [self.id, self.token, site, account, site, Jsonb(observed), exit_name]
        self._answer(None, "public.worker_observe_limits(%s, %s, %s, %s, %s, %s, %s)", arguments)

    def end(
        self,
        site: str,
        error_code: str | None = None,
        *,
        account: str | None = None,
        retry_after_seconds: float | None = None,
        response_ms: float | None = 500,
        on: Connection | None = None,
    ) -> None:
        """End the search of a site, well or with an error."""
        through: LiteralString = (
            "select coalesce(max(exit), '') as exit from worker.site_searches where run_id = %s and site = %s"
        )
        with self._leased(on) as connection:
            row = connection.execute(through, [self.id, site]).fetchone()
            assert row is not None
            arguments = [self.id, site, account, row["exit"], error_code, retry_after_seconds, response_ms]
            self._answer(connection, "worker.record_site_outcome(array[%s], %s, %s, %s, %s, %s, %s)", arguments)

    def note_page(self, site: str) -> None:
        """Note a good page of a site."""
        self._answer(None, "worker.record_good_page(%s, %s, null)", [self.id, site])

    def finish(self, *, on: Connection | None = None) -> None:
        """End the run as a success."""
        self._answer(on, "worker.finish_runs(array[row(%s, 'success', null, '{}')::worker.run_end])", [self.id])

    def cancel(self, *, on: Connection | None = None) -> None:
        """End the run as its owner does."""
        update: LiteralString = "update public.search_runs set cancel_requested_at = worker.now() where id = %s"
        (on or self.connection).execute(update, [self.id])

    def release(self) -> None:
        """Give the run back to the queue."""
        leases = Jsonb([{"run_id": str(self.id), "lease_token": str(self.token)}])
        self._answer(None, "public.worker_release_runs('worker', %s)", [leases])

    def defer(self) -> None:
        """Give the run back to the queue, as its worker does when all of its sites have ended or wait."""
        end = {"run_id": str(self.id), "lease_token": str(self.token), "ends_run": True}
        self._answer(None, "public.worker_finish_sites(%s)", [Jsonb([end])])

    def put_off(self, until: datetime) -> None:
        """Give the run back to the queue until a time, as one all of whose sites wait."""
        with self.connection.transaction():
            self._answer(None, "worker.lock_lease(%s, %s)", [self.id, self.token])
            self.connection.execute("delete from worker.leases where run_id = %s", [self.id])
            update: LiteralString = """
                update public.search_runs set status = 'pending', attempts = attempts - 1, run_after = %s where id = %s
            """
            self.connection.execute(update, [until, self.id])

    def run_after(self) -> datetime | None:
        """When the run is due, of one that was put off."""
        query: LiteralString = "select run_after from public.search_runs where id = %s"
        row = self.connection.execute(query, [self.id]).fetchone()
        assert row is not None
        run_after: datetime | None = row["run_after"]
        return run_after

    def expire(self) -> None:
        """Let the lease expire, as that of a worker which has died."""
        update: LiteralString = (
            "update worker.leases set expires_at = worker.now() - interval '1 second' where run_id = %s"
        )
        self.connection.execute(update, [self.id])

    def wait(self, site: str) -> Row | None:
        """How the run waits for a site."""
        query: LiteralString = "select * from worker.site_waits where run_id = %s and site = %s"
        return self.connection.execute(query, [self.id, site]).fetchone()

    def has_place(self, site: str) -> bool:
        """Whether the run counts among those that search a site."""
        query: LiteralString = "select from worker.site_searches where run_id = %s and site = %s"
        return self.connection.execute(query, [self.id, site]).rowcount == 1

    @contextmanager
    def _leased(self, on: Connection | None) -> Iterator[Connection]:
        """A transaction that holds the lease, as each RPC of a worker does."""
        connection = on or self.connection
        with connection.transaction():
            self._answer(connection, "worker.lock_lease(%s, %s)", [self.id, self.token])
            yield connection

    def _answer(self, on: Connection | None, function: LiteralString, arguments: list[Any]) -> Any:
        row = (on or self.connection).execute(f"select {function} as answer", arguments).fetchone()
        assert row is not None
        return row["answer"]


@dataclass(slots=True)
class TimedDatabase:
    """The database, its clock and its runs."""

    dsn: str
    connection: Connection
    kind: str = field(default_factory=lambda: f"searches-{uuid4()}")
    now: datetime = NOON

    def set_clock(self, now: datetime) -> None:
        """Set the database's clock, for all who are connected."""
        self.now = now
        statement = """
            create or replace function worker.now() returns timestamptz language sql stable set search_path = ''
            return timestamptz {}
        """
        self.connection.execute(sql.SQL(statement).format(now.isoformat()))

    def let_time_pass(self) -> None:
        """Give the database its own clock back."""
        self.connection.execute(
            """
            create or replace function worker.now() returns timestamptz language sql stable set search_path = ''
            return clock_timestamp()
            """
        )

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.set_clock(self.now + timedelta(seconds=seconds))

    def new_site(self) -> str:
        """A site that no other test knows."""
        return f"site-{uuid4()}"

    def new_user(self, *, on: Connection | None = None) -> UUID:
        """A user who has searched nothing yet."""
        user = uuid4()
        (on or self.connection).execute(
            "insert into auth.users (id, email, aud, raw_app_meta_data, raw_user_meta_data, created_at)"
            " values (%s, %s, 'authenticated', '{}', '{}', now())",
            [user, f"{user}@example.com"],
        )
        return user

    def new_run(
        self, *sites: str, owner: UUID | None = None, source: str = "manual", on: Connection | None = None
    ) -> Run:
        """Claim a new run, by default of a user of its own, to search sites."""
        connection = on or self.connection
        (run,) = connection.execute(
            "insert into public.search_runs (user_id, kind, source, parameters) values (%s, %s, %s, %s)"
            " returning id, priority",
            [owner or self.new_user(on=on), self.kind, source,
             Jsonb({"search_term": str(uuid4()), "sites": list(sites)})],
        ).fetchall()  # fmt: skip
        # Before those that are due again.
        set_priority: LiteralString = "update public.search_runs set priority = %s where id = %s"
        connection.execute(set_priority, [100, run["id"]])
        (claimed,) = self.claim(1, on=connection)
        connection.execute(set_priority, [run["priority"], run["id"]])
        return claimed

    def claim(self, most: int = 100, *, on: Connection | None = None) -> list[Run]:
        """Claim the runs that are due."""
        claim: LiteralString = """
            select run_id, lease_token from public.worker_claim_runs('worker', %s, %s, %s, %s, '[]')
        """
        connection = on or self.connection
        claimed = connection.execute(claim, [[self.kind], most, LEASE_SECONDS, uuid4()]).fetchall()
        return [Run(connection, run["run_id"], run["lease_token"]) for run in claimed]

    def rescue(self) -> None:
        """Take the runs back whose leases have expired, as each claim does."""
        self.connection.execute("select worker.rescue_expired_leases()")

    def health(self, site: str, account: str = "", exit_name: str = "") -> Row:
        """How a site does."""
        query: LiteralString = "select * from worker.site_health where site = %s and account = %s and exit = %s"
        row = self.connection.execute(query, [site, account, exit_name]).fetchone()
        assert row is not None
        return row

    def shown(self, site: str) -> Row:
        """What people are shown of a site."""
        row = self.connection.execute("select public.worker_site_health() as sites").fetchone()
        assert row is not None
        (shown,) = (known for known in row["sites"] if known["site"] == site)
        return dict(shown)

    def configure(self, **settings: float | str) -> None:
        """Change settings, until the end of the test."""
        for name, value in settings.items():
            update = sql.SQL("update worker.settings set {} = %s").format(sql.Identifier(name))
            self.connection.execute(update, [value])

    def override(self, bucket: str, **limits: float | str) -> None:
        """Set the operator's own limits of a bucket."""
        names = sql.SQL(", ").join(map(sql.Identifier, ["bucket", *limits]))
        values = sql.SQL(", ").join(map(sql.Literal, [bucket, *limits.values()]))
        self.connection.execute(sql.SQL("insert into worker.bucket_limits ({}) values ({})").format(names, values))


@contextmanager
def timed_database(dsn: str) -> Iterator[TimedDatabase]:
    """A database with a clock that stands at noon, with a kind whose runs may name any site."""
    with connect(dsn) as connection:
        timed = TimedDatabase(dsn, connection)
        connection.execute("insert into worker.kinds (kind) values (%s)", [timed.kind])
        connection.execute(
            """
            insert into worker.parameter_rules (kind, name, type, is_required, minimum, maximum, default_value)
            values (%(kind)s, 'sites', 'texts', true, 1, 100, null),
                   (%(kind)s, 'search_term', 'text', true, 1, 200, null),
                   (%(kind)s, 'results_wanted', 'integer', false, 1, 1000, '10')
            """,
            {"kind": timed.kind},
        )
        (before,) = connection.execute("select to_jsonb(settings) as settings from worker.settings").fetchall()
        timed.set_clock(NOON)
        # All of a quota for each user, but in the tests of its shares.
        timed.configure(max_quota_share=1, manual_quota_reserve=0, scheduled_quota_reserve=0)
        try:
            yield timed
        finally:
            timed.let_time_pass()
            connection.execute("delete from worker.bucket_limits where bucket like 'site-%'")
            # With their runs: users that did not sign up are not what the tests of Auth expect.
            connection.execute(
                "delete from auth.users where id in (select user_id from public.search_runs where kind = %s)",
                [timed.kind],
            )
            connection.execute("delete from worker.kinds where kind = %s", [timed.kind])
            for name in before["settings"].keys() - {"is_only_row"}:
                restore = sql.SQL("update worker.settings set {} = %s").format(sql.Identifier(name))
                connection.execute(restore, [before["settings"][name]])


def wait_until_blocked(connection: Connection, holder: Connection) -> None:
    """Return once another connection waits for a lock that the transaction of `holder` has."""
    deadline = time.monotonic() + 10
    query: LiteralString = "select from pg_stat_activity where %s = any (pg_blocking_pids(pid))"
    while not connection.execute(query, [holder.info.backend_pid]).rowcount:
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.01)


def answer_after(timed: TimedDatabase, holder: Connection, waiting: Future[Row]) -> Row:
    """End the transaction that a call waits for; return the call's answer."""
    wait_until_blocked(timed.connection, holder)
    holder.execute("commit")
    return waiting.result(timeout=10)
