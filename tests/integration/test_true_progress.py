"""Progress and counts are true after whatever happens to a search: random courses of runs, sites and followers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, LiteralString, TypeAlias
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.support.queue import SAVE_PAGES, START_SEARCH, Row, page
from worker.local.supabase.stack import Endpoints

SITES = ("indeed", "linkedin", "naukri")
FALLBACKS = ("bayt", "glassdoor")
WANTED = 3
TOTAL = WANTED * len(SITES)
USERS = 3
STEPS = 40

Actions: TypeAlias = dict[str, Callable[[], Any]]

FAILURES: Mapping[str, Row] = {
    "completes": {},
    "fails": {"error_code": "network", "error_message": "reset", "retryable": True},
    "fails for good": {"error_code": "not_found", "error_message": "no such board", "retryable": False},
}

RUNS: LiteralString = "select * from public.search_runs where kind = %s order by created_at, id"
SITES_OF: LiteralString = "select * from public.search_run_sites where run_id = %s order by position"
SEEN: LiteralString = """
select (select count(*) from public.search_results where run_id = coalesce(%(shared)s, %(run)s)) as jobs_found,
       count(*) as items_found, count(*) filter (where is_new) as new_items
from public.run_items where run_id = %(run)s
"""
WAIT: LiteralString = """
insert into worker.site_waits (run_id, site, account, bucket, waiting_since, due_at, reason, message)
values (%s, %s, '', 'nobody else waits here', worker.now(), worker.now(), %s, 'not at once')
on conflict (run_id, site) do nothing
"""
DUE: LiteralString = "update public.search_runs set run_after = worker.now() where kind = %s and run_after is not null"
CANCEL: LiteralString = "update public.search_runs set cancel_requested_at = worker.now() where id = %s"
DELETE: LiteralString = "delete from public.search_runs where id = %s"
LEADER: LiteralString = "select * from public.search_runs where id = %s and completed_at is null"
CLAIM: LiteralString = "select * from public.worker_claim_runs('w', array[%s], 10, 60, gen_random_uuid(), '[]')"


class Course:
    """One course of equal searches, whose runs are checked after each step.

    Args:
        connection: As the owner of the tables, in a transaction that is rolled back.
        has_fallbacks: Whether the searches name fallback sites.
    """

    def __init__(self, connection: psycopg.Connection[Row], *, has_fallbacks: bool) -> None:
        self._connection = connection
        self._has_fallbacks = has_fallbacks
        self._kind = f"jobs-{uuid4()}"
        self._users = [uuid4() for _ in range(USERS)]
        self._leases: dict[UUID, Row] = {}
        self._pages = 0
        self._former: dict[UUID, int] = {}
        self._restarted: set[UUID] = set()
        for name, value in (("progress_interval", "0"), ("freshness", "0"), ("retry_delay", "0")):
            self._run(f"update worker.settings set {name} = %s where true", value)
        self._run("insert into worker.kinds (kind) values (%s)", self._kind)
        self._run(
            """
            insert into worker.parameter_rules (kind, name, type, is_required, minimum, maximum, allowed, default_value)
            select %s, name, type, is_required, minimum, maximum, allowed, default_value
            from worker.parameter_rules where kind = 'jobs'
            """,
            self._kind,
        )
        for user in self._users:
            self._run("insert into auth.users (id, email) values (%s, %s)", user, f"{user}@example.com")

    def actions_of_users(self) -> Actions:
        """What users can do now, by name."""
        found: Actions = {f"user {number} asks": partial(self.ask, number) for number in range(USERS)}
        for number, run in enumerate(self.runs()):
            if run["completed_at"] is None:
                found[f"{number} is cancelled"] = partial(self._run, CANCEL, run["id"])
            found[f"{number} is deleted"] = partial(self._run, DELETE, run["id"])
        return found

    def actions_of_workers(self) -> Actions:
        """What can happen to runs that are searched, by name."""
        found: Actions = {"claim": self.claim, "time passes": partial(self._run, DUE, self._kind)}
        for number, run in enumerate(self.runs()):
            if run["id"] in self._leases:
                found |= self._actions_of_worker(number, run["id"])
        return found

    def _actions_of_worker(self, number: int, run_id: UUID) -> Actions:
        found: Actions = {
            f"{number} is released": partial(self.release, run_id),
            f"{number} loses its worker": partial(self.die, run_id),
        }
        sites = self._run(SITES_OF, run_id)
        if all(site["completed_at"] or site["site"] in self._waiting(run_id) for site in sites):
            return {f"{number} ends": partial(self.finish, run_id)}
        for site in sites:
            name = f"{number} {site['site']}"
            if site["status"] == "pending":
                found[f"{name} starts"] = partial(self.start, run_id, site)
            if site["status"] == "running":
                for reason in ("rate", "paused"):
                    found[f"{name} waits, {reason}"] = partial(self._run, WAIT, run_id, site["site"], reason)
                for count in (0, 1, 2, WANTED + 1):
                    found[f"{name} finds {count}"] = partial(self.save, run_id, site, count)
                for end, failure in FAILURES.items():
                    found[f"{name} {end}"] = partial(self.end, run_id, site, failure)
        return found

    def ask(self, user: int) -> None:
        """Ask as one of the users."""
        parameters: Row = {"search_term": "engineer", "sites": SITES, "results_wanted": WANTED}
        if self._has_fallbacks:
            parameters["fallback_sites"] = FALLBACKS
        self._run(
            "insert into public.search_runs (user_id, kind, parameters, max_attempts) values (%s, %s, %s, 2)",
            self._users[user], self._kind, Jsonb(parameters),
        )  # fmt: skip

    def claim(self) -> None:
        for run in self._run(CLAIM, self._kind):
            self._leases[run["run_id"]] = run

    def start(self, run_id: UUID, site: Row) -> None:
        held = self._leases[run_id]
        self._run(START_SEARCH, run_id, held["lease_token"], site["site"], site["attempts"] + 1)

    def save(self, run_id: UUID, site: Row, count: int) -> None:
        """Save a page of so many listings. Each is also on the other sites, under another id."""
        self._pages += 1
        found = page(site["site"], self._pages, [f"{site['site']}-{site['jobs_found'] + n}" for n in range(count)])
        for n, item in enumerate(found["items"]):
            item["match_key"] = f"{self._kind} {site['jobs_found'] + n}"
        held = self._leases[run_id]
        saved = {"run_id": run_id, "lease_token": held["lease_token"], **found, "attempt": site["attempts"]}
        self._run(SAVE_PAGES, Jsonb([saved], dumps=partial(json.dumps, default=str)))

    def end(self, run_id: UUID, site: Row, failure: Row) -> None:
        self._finish(run_id, site=site["site"], ends_run=False, **failure)

    def finish(self, run_id: UUID) -> None:
        self._finish(run_id, ends_run=True)

    def release(self, run_id: UUID) -> None:
        self._run("select public.worker_release_runs('w', %s)", Jsonb([self._lease(run_id)]))

    def die(self, run_id: UUID) -> None:
        self._run("update worker.leases set expires_at = '-infinity' where run_id = %s", run_id)
        self.claim()

    def runs(self) -> list[Row]:
        """All runs. Those whose lease is gone are searched by nobody any more."""
        leased = {row["run_id"] for row in self._run("select run_id from worker.leases")}
        self._leases = {run_id: lease for run_id, lease in self._leases.items() if run_id in leased}
        return self._run(RUNS, self._kind)

    def check(self) -> None:
        """Compare each run with its rows, and with what it was before."""
        for run in self.runs():
            former = self._former.get(run["id"], 0)
            assert run["progress_total"] == TOTAL
            assert former <= run["progress_current"] <= TOTAL
            assert run["completed_at"] is not None or run["progress_current"] < TOTAL
            if run["leader_run_id"] is None and run["shared_run_id"] is None:
                self._check_search(run, former)
            elif run["shared_run_id"] is not None:
                self._check_things(run)
                assert run["progress_current"] == TOTAL
            else:
                self._check_follower(run, former)
            self._former[run["id"]] = run["progress_current"]

    def _check_search(self, run: Row, former: int) -> None:
        sites = self._run(SITES_OF, run["id"])
        if not sites:  # it followed, and was cancelled
            assert run["status"] == "cancelled"
            assert run["jobs_found"] == run["items_found"] == run["new_items"] == 0
            return
        self._check_things(run)
        assert run["jobs_found"] == sum(site["jobs_found"] for site in sites)
        if run["status"] in ("success", "partial", "failed"):
            assert run["progress_current"] == TOTAL
            return
        told = self._told(sites)
        if run["completed_at"] is None:
            told = min(told, TOTAL - 1)
        assert told >= former or run["id"] in self._restarted
        assert run["progress_current"] == max(former, told)

    def _told(self, sites: list[Row]) -> int:
        """What was found, and what was given up on: sites that failed are not, while fallback sites may deliver."""
        found: dict[str, int] = {site["site"]: min(WANTED, site["jobs_found"]) for site in sites}
        fallbacks = [site for site in sites if site["is_fallback"]]
        asked = [site for site in sites if not site["is_fallback"]]
        reached: int = sum(WANTED if site["status"] == "completed" else found[site["site"]] for site in asked)
        instead: int = sum(found[site["site"]] for site in fallbacks)
        if any(not site["completed_at"] or site["retryable"] for site in fallbacks):
            return reached + instead
        if self._has_fallbacks and not fallbacks:
            return reached
        ended = [site for site in asked if site["status"] in ("partial", "failed") and not site["retryable"]]
        given_up: int = sum(WANTED - found[site["site"]] for site in ended)
        return reached + max(instead, given_up)

    def _check_follower(self, run: Row, former: int) -> None:
        for leader in self._run(LEADER, run["leader_run_id"]):
            assert run["progress_current"] <= max(former, leader["progress_current"])
            # Its leader ended, and it follows another one, which began in between.
            if leader["progress_current"] < former:
                self._restarted.add(run["id"])
            elif run["status"] == leader["status"]:
                names = ("jobs_found", "items_found", "progress_current")
                assert {name: run[name] for name in names} == {name: leader[name] for name in names}
                assert (run["started_at"] is not None) or leader["status"] == "pending"

    def _check_things(self, run: Row) -> None:
        if self._run("select from worker.ended_leaders where run_id = %s", run["shared_run_id"]):
            return  # its results are on their way from a deleted run
        (seen,) = self._run(SEEN, {"run": run["id"], "shared": run["shared_run_id"]})
        assert {name: run[name] for name in seen} == seen

    def _waiting(self, run_id: UUID) -> set[str]:
        return {row["site"] for row in self._run("select site from worker.site_waits where run_id = %s", run_id)}

    def _call(self, function: str, run_id: UUID, *arguments: Any) -> None:
        values = [run_id, self._leases[run_id]["lease_token"], *arguments]
        self._run(f"select public.{function}({', '.join(['%s'] * len(values))})", *values)

    def _lease(self, run_id: UUID) -> Row:
        return {"run_id": str(run_id), "lease_token": str(self._leases[run_id]["lease_token"])}

    def _finish(self, run_id: UUID, **ended: Any) -> None:
        self._run("select public.worker_finish_sites(%s)", Jsonb([self._lease(run_id) | ended]))

    def _run(self, query: str, *arguments: Any) -> list[Row]:
        values: Any = arguments[0] if arguments and isinstance(arguments[0], dict) else arguments
        answer = self._connection.execute(query, values)
        return answer.fetchall() if answer.description else []


@pytest.fixture
def connection(stack: Endpoints) -> Iterator[psycopg.Connection[Row]]:
    """A connection as the owner of the tables."""
    with psycopg.connect(stack.db_url, connect_timeout=10, row_factory=dict_row) as connection:
        yield connection


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), has_fallbacks=st.booleans())
def test_it_never_falls_is_full_only_at_the_end_and_equals_the_rows(
    connection: psycopg.Connection[Row], data: st.DataObject, has_fallbacks: bool
) -> None:
    with connection.transaction(force_rollback=True):
        course = Course(connection, has_fallbacks=has_fallbacks)
        course.ask(0)
        for _ in range(data.draw(st.integers(5, STEPS), label="steps")):
            is_user = data.draw(st.integers(1, 6), label="users act") == 1
            actions = course.actions_of_users() if is_user else course.actions_of_workers()
            actions[data.draw(st.sampled_from(sorted(actions)), label="then")]()
            course.check()
