"""Alert rules and incidents: each rule is broken by real rows, opens one incident, and is notified once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from postgrest.exceptions import APIError
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from tests.integration.test_schedules import Schedules
from tests.support.queue import Row, call
from tests.support.site_limits import NOON, Run, TimedDatabase, answer_after, connect
from tools.schema.files import PROJECT

# Each check looks at all rows of the database.
pytestmark = pytest.mark.own_stack

MINUTE = 60
HOUR = 3600
DAY = 24 * HOUR


class Alerts:
    """The alert rules of a database whose clock stands still."""

    def __init__(self, timed: TimedDatabase) -> None:
        self.timed = timed
        self.connection = timed.connection

    def rows(self, query: LiteralString, arguments: Any = None) -> list[Row]:
        return self.connection.execute(query, arguments).fetchall()

    def only(self, rule: str, **changed: Any) -> None:
        """Enable one rule alone, and change it."""
        self.connection.execute("update worker.alert_rules set is_enabled = rule = %s", [rule])
        for name, value in changed.items():
            update = psycopg.sql.SQL("update worker.alert_rules set {} = %s where rule = %s")
            self.connection.execute(update.format(psycopg.sql.Identifier(name)), [value, rule])

    def check(self, *, on: Any = None) -> Row:
        (answer,) = (on or self.connection).execute("select public.worker_check_alerts() as answer").fetchall()
        return dict(answer["answer"])

    def check_for(self, seconds: float, *, every: float = MINUTE) -> tuple[list[str], list[str]]:
        """Check now and again until the time has passed; return the titles of what has opened and ended."""
        opened, resolved = [], []
        end = self.timed.now + timedelta(seconds=seconds)
        while True:
            changed = self.check()
            opened += changed["opened"]
            resolved += changed["resolved"]
            if self.timed.now >= end:
                return opened, resolved
            self.timed.advance(every)

    def claim(self, *, on: Any = None) -> Row:
        (answer,) = (on or self.connection).execute("select public.worker_claim_notices(10) as answer").fetchall()
        return dict(answer["answer"])

    def save(self, claimed: Row, error: str | None = None, delivered_to: list[str] | None = None) -> Row:
        results = [
            {"incident_id": notice["incident_id"], "notice_at": notice["notice_at"], "error": error,
             "delivered_to": delivered_to or []}
            for notice in claimed["notices"]
        ]  # fmt: skip
        (answer,) = self.rows(
            "select public.worker_save_notices(%s, %s) as answer", [claimed["claimed_until"], Jsonb(results)]
        )
        return dict(answer["answer"])

    def send(self) -> list[str]:
        """Send the notices that are due, to addresses that take them; return what they are about."""
        claimed = self.claim()
        self.save(claimed)
        return [f"{notice['notice']} {notice['rule']} {notice['subject']}".strip() for notice in claimed["notices"]]

    def incidents(self) -> list[Row]:
        return self.rows("select * from worker.incidents order by opened_at, rule, subject")

    def events(self) -> list[Row]:
        found = self.rows(
            "select payload from worker.webhook_messages where endpoint = 'crm' order by created_at, event"
        )
        return [row["payload"] for row in found]


@pytest.fixture
def alerts(timed: TimedDatabase) -> Alerts:
    timed.configure(schedule_jitter="0", freshness="0", max_running_per_user="1000")
    for table in ("public.search_schedules", "public.search_runs", "worker.incidents", "worker.workers",
                  "worker.webhook_messages", "worker.webhook_endpoints", "worker.raw_collections"):  # fmt: skip
        timed.connection.execute(f"delete from {table}".encode())
    timed.connection.execute("delete from worker.alert_rules")
    timed.connection.execute("update worker.housekeeping set next_at = '-infinity' where task = 'alerts'")
    timed.connection.execute(DEFAULT_RULES.encode())
    timed.connection.execute(
        "insert into worker.webhook_endpoints (name, url, events, created_at)"
        " values ('crm', 'https://example.com', '{incident.opened,incident.resolved}', now())"
    )
    return Alerts(timed)


def default_rules() -> str:
    """The statement of the schema that inserts the rules."""
    text = (PROJECT / "schemas" / "tables" / "alerts.sql").read_text()
    start = text.index("insert into worker.alert_rules")
    return text[start : text.index(";", start)]


DEFAULT_RULES = default_rules()


# How each rule is broken, and how it is put right -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """What breaks a rule.

    Attributes:
        begin: Breaks it; returns the subject.
        end: Puts it right.
        detail: A part of the sentence.
    """

    begin: Callable[[Alerts], str]
    end: Callable[[Alerts], None]
    detail: str


def hour_passes(alerts: Alerts) -> None:
    alerts.timed.advance(HOUR)


def finish(run: Run, status: str, error_code: str | None = None) -> None:
    run.connection.execute(
        "select worker.finish_runs(array[row(%s, %s, %s, '{}')::worker.run_end])", [run.id, status, error_code]
    )


def runs_fail(alerts: Alerts) -> str:
    for number in range(20):
        finish(alerts.timed.new_run("alpha"), "failed" if number < 8 else "success", "blocked" if number < 8 else None)
    return ""


def enqueue(alerts: Alerts, user: Any = None) -> Row:
    """Enqueue a run that no worker claims."""
    timed = alerts.timed
    (run,) = alerts.rows(
        "insert into public.search_runs (user_id, kind, parameters) values (%s, %s, %s) returning *",
        [user or timed.new_user(), timed.kind, Jsonb({"search_term": str(uuid4()), "sites": ["alpha"]})],
    )
    return run


def run_waits_for_a_worker(alerts: Alerts) -> str:
    enqueue(alerts)
    alerts.timed.advance(10 * MINUTE)
    return ""


def cancel_all(alerts: Alerts) -> None:
    alerts.connection.execute(
        "update public.search_runs set cancel_requested_at = worker.now() where completed_at is null"
    )


def worker_is_seen(alerts: Alerts) -> None:
    about = {"version": "0.1.0", "sites": {}, "concurrency": 5, "started_at": NOON.isoformat()}
    alerts.connection.execute("select worker.describe_worker('w', %s, '{}')", [Jsonb(about)])


def worker_lives(alerts: Alerts) -> None:
    """As if it had sent signs for the next hour."""
    alerts.connection.execute("update worker.workers set seen_at = worker.now() + interval '1 hour'")


def worker_goes_away(alerts: Alerts) -> str:
    worker_is_seen(alerts)
    alerts.timed.advance(5 * MINUTE)
    return ""


def slot_is_not_fired(alerts: Alerts) -> str:
    Schedules(alerts.timed).schedule("13:00")
    alerts.timed.set_clock(NOON + timedelta(hours=1, minutes=10))
    return ""


def slots_are_fired(alerts: Alerts) -> None:
    Schedules(alerts.timed).fire()


def site_blocks(alerts: Alerts) -> str:
    site = alerts.timed.new_site()
    for _ in range(3):
        run = alerts.timed.new_run(site)
        run.admit(site)
        run.end(site, "blocked")
        run.cancel()
    return site


def site_answers(alerts: Alerts) -> None:
    ((site,),) = [row.values() for row in alerts.rows("select site from worker.site_health where trips > 0")]
    alerts.timed.advance(10 * MINUTE)
    run = alerts.timed.new_run(site)
    run.admit(site)
    run.end(site)
    run.cancel()


def quota_is_used(alerts: Alerts) -> str:
    site = alerts.timed.new_site()
    run = alerts.timed.new_run(site)
    limits = {"quota": 10, "quota_period": "day", "quota_timezone": "UTC"}
    run.admit(site, limits)
    for _ in range(8):
        assert run.take(site, limits)["granted"]
    return site


def day_passes(alerts: Alerts) -> None:
    alerts.timed.advance(DAY)


def load_pages(alerts: Alerts, count: int, items: int, errors: list[Row]) -> None:
    """Save pages of a run and load what a source made of them."""
    run = alerts.timed.new_run("alpha")
    for number in range(1, count + 1):
        (page,) = alerts.rows(
            """
            insert into worker.raw_collections (run_id, source, site, attempt, page_number, query, query_hash, payload,
                                                response_ms, calls_used, fetched_at, strategy)
            values (%s, 'board', 'alpha', 1, %s, '{}', '', '{}', 5, 1, worker.now(), 'manual') returning id
            """,
            [run.id, number],
        )
        found = [
            {"external_id": uuid4().hex, "position": position, "title": "Engineer", "url": "https://example.com"}
            for position in range(items)
        ]
        alerts.connection.execute(
            "select worker.load_pages(array[row(1, %s, 1, 1, '{}', %s)::worker.transformed_page], %s)",
            [page["id"], Jsonb(errors), Jsonb([{"items": found}])],
        )
    run.cancel()


def error(index: int | None) -> Row:
    return {"index": index, "type": "InvalidItemError", "message": "no title", "field": "title", "raw": {}}


def pages_cannot_be_processed(alerts: Alerts) -> str:
    load_pages(alerts, 18, 1, [])
    load_pages(alerts, 2, 0, [error(None)])
    return "board"


def items_are_invalid(alerts: Alerts) -> str:
    load_pages(alerts, 5, 9, [error(9)])
    return "alpha"


def database_refuses_pages(alerts: Alerts) -> str:
    run = alerts.timed.new_run("alpha")
    data = {"reason": "page_refused", "page_number": 3, "message": "payload is too large"}
    alerts.connection.execute("select public.worker_write_alert(%s, %s, 'alpha', %s)", [run.id, run.token, Jsonb(data)])
    return "alpha"


def run_is_put_off_again_and_again(alerts: Alerts) -> str:
    run = alerts.timed.new_run("alpha")
    run.put_off(NOON + timedelta(hours=2))
    alerts.timed.advance(HOUR)
    return ""


def worker_dies(alerts: Alerts) -> str:
    run = alerts.timed.new_run("alpha")
    run.expire()
    alerts.timed.rescue()
    return ""


def schedule_fails(alerts: Alerts) -> str:
    schedules = Schedules(alerts.timed)
    alerts.timed.configure(max_failures_in_a_row="1")
    schedules.schedule("13:00")
    alerts.timed.set_clock(NOON + timedelta(hours=1))
    schedules.fire()
    schedules.end_runs("failed")
    alerts.timed.advance(DAY)
    schedules.fire()
    return ""


def user_repeats_it_again(alerts: Alerts) -> None:
    alerts.connection.execute("update public.search_schedules set paused = null")


PROBLEMS: Mapping[str, Problem] = {
    "failure_rate": Problem(runs_fail, hour_passes, "8 of 20 runs failed (40 %), most often with blocked."),
    "oldest_ready_run": Problem(run_waits_for_a_worker, cancel_all, "The oldest ready run has waited 12 min for a"),
    "no_worker": Problem(worker_goes_away, worker_lives, "No worker was seen for 5 min."),
    "late_slot": Problem(slot_is_not_fired, slots_are_fired, "A slot of a schedule has been due for 12 min."),
    "site_paused": Problem(
        site_blocks, site_answers, "is paused until 2026-11-22 12:11:00 UTC because of blocked; pauses in a row: 1."
    ),
    "quota": Problem(quota_is_used, day_passes, "8 of 10 requests of the quota of site-"),
    "processing_errors": Problem(pages_cannot_be_processed, hour_passes, "2 of 20 pages of the source board could"),
    "waiting": Problem(run_is_put_off_again_and_again, cancel_all, "1 runs wait, the oldest for 62 min."),
    "invalid_items": Problem(items_are_invalid, hour_passes, "5 of 50 items of alpha were invalid (10 %)."),
    "refused_pages": Problem(database_refuses_pages, hour_passes, "1 pages of alpha: payload is too large"),
    "worker_lost": Problem(worker_dies, hour_passes, "A worker died with 1 runs; 0 of them failed"),
    "schedules_failing": Problem(schedule_fails, user_repeats_it_again, "1 schedules were paused because"),
}


def test_each_rule_of_the_table_has_its_problem(alerts: Alerts) -> None:
    assert {row["rule"] for row in alerts.rows("select rule from worker.alert_rules")} == set(PROBLEMS)


@pytest.mark.parametrize("rule", PROBLEMS)
def test_an_incident_opens_once_is_notified_once_and_ends_once(alerts: Alerts, rule: str) -> None:
    problem = PROBLEMS[rule]
    alerts.only(rule)
    assert alerts.check()["opened"] == []
    alerts.timed.advance(MINUTE)
    began_at = alerts.timed.now
    subject = problem.begin(alerts)
    opened, resolved = alerts.check_for(3 * MINUTE)
    assert len(opened) == 1
    assert resolved == []
    assert problem.detail in opened[0]
    (incident,) = alerts.incidents()
    assert (incident["rule"], incident["subject"], incident["openings"]) == (rule, subject, 1)
    assert incident["opened_at"] >= began_at
    assert alerts.send() == [f"opened {rule} {subject}".strip()]
    assert alerts.send() == []

    problem.end(alerts)
    opened, resolved = alerts.check_for(40 * MINUTE, every=4 * MINUTE)
    assert opened == []
    assert len(resolved) == 1
    assert alerts.send() == [f"resolved {rule} {subject}".strip()]
    assert alerts.send() == []
    (incident,) = alerts.incidents()
    assert incident["resolved_at"] - incident["broken_at"] >= timedelta(minutes=15)
    events = alerts.events()
    assert [event["type"] for event in events] == ["incident.opened", "incident.resolved"]
    assert {event["data"]["incident_id"] for event in events} == {str(incident["id"])}
    assert events[0]["data"]["resolved_at"] is None
    assert datetime.fromisoformat(events[1]["data"]["resolved_at"]) == incident["resolved_at"]
    assert (events[0]["data"]["rule"], events[0]["data"]["subject"]) == (rule, subject)
    assert events[0]["data"]["value"] >= events[0]["data"]["threshold"]


@pytest.mark.parametrize("rule", PROBLEMS)
def test_a_rule_that_is_not_enabled_opens_nothing(alerts: Alerts, rule: str) -> None:
    alerts.connection.execute("update worker.alert_rules set is_enabled = rule <> %s", [rule])
    alerts.check()
    PROBLEMS[rule].begin(alerts)
    alerts.check_for(3 * MINUTE)
    assert rule not in {incident["rule"] for incident in alerts.incidents()}


# What is not a problem ----------------------------------------------------------------------------------------------


def test_few_runs_are_no_rate(alerts: Alerts) -> None:
    alerts.only("failure_rate")
    for _ in range(19):
        finish(alerts.timed.new_run("alpha"), "failed", "blocked")
    assert alerts.check_for(3 * MINUTE) == ([], [])
    finish(alerts.timed.new_run("alpha"), "success")
    assert len(alerts.check_for(3 * MINUTE)[0]) == 1


def test_a_user_cannot_raise_the_failure_rate_with_wrong_searches(alerts: Alerts) -> None:
    alerts.only("failure_rate")
    for _ in range(20):
        finish(alerts.timed.new_run("alpha"), "success")
        finish(alerts.timed.new_run("alpha"), "failed", "not_found")
        finish(alerts.timed.new_run("alpha"), "cancelled")
    assert alerts.check_for(3 * MINUTE) == ([], [])


@pytest.mark.parametrize("rule", ["oldest_ready_run", "waiting"])
def test_runs_that_wait_for_other_runs_of_their_owner(alerts: Alerts, rule: str) -> None:
    alerts.only(rule)
    alerts.timed.configure(max_running_per_user="1")
    user = alerts.timed.new_user()
    run = alerts.timed.new_run("alpha", owner=user)
    enqueue(alerts, user)
    alerts.timed.advance(2 * HOUR)
    assert alerts.check_for(3 * MINUTE) == ([], [])
    run.finish()
    assert len(alerts.check_for(3 * MINUTE)[0]) == 1


@pytest.mark.parametrize("rule", ["oldest_ready_run", "waiting"])
def test_a_run_that_is_to_start_later_does_not_wait(alerts: Alerts, rule: str) -> None:
    alerts.only(rule)
    run = enqueue(alerts)
    alerts.connection.execute(
        "update public.search_runs set run_after = %s where id = %s", [NOON + timedelta(hours=5), run["id"]]
    )
    alerts.timed.set_clock(NOON + timedelta(hours=5, seconds=60))
    assert alerts.check_for(3 * MINUTE) == ([], [])
    alerts.timed.set_clock(NOON + timedelta(hours=6, seconds=60))
    assert len(alerts.check_for(3 * MINUTE)[0]) == 1


def test_a_site_is_searched_as_long_as_one_account_is_not_paused(alerts: Alerts) -> None:
    alerts.only("site_paused")
    site = alerts.timed.new_site()
    for account in ("first", "second"):
        run = alerts.timed.new_run(site)
        run.admit(site, account=account)
        run.end(site, account=account)
    for account in ("first", "second"):
        assert alerts.check_for(2 * MINUTE) == ([], [])
        for _ in range(3):
            run = alerts.timed.new_run(site)
            run.admit(site, account=account)
            run.end(site, "blocked", account=account)
        alerts.timed.advance(MINUTE)
    assert len(alerts.check()["opened"]) == 1


def test_a_pause_that_no_run_probes_ends(alerts: Alerts) -> None:
    alerts.only("site_paused")
    site_blocks(alerts)
    opened, resolved = alerts.check_for(2 * HOUR, every=5 * MINUTE)
    assert (len(opened), len(resolved)) == (1, 1)


def test_the_quota_of_an_account_belongs_to_its_users(alerts: Alerts) -> None:
    alerts.only("quota")
    site = alerts.timed.new_site()
    run = alerts.timed.new_run(site)
    limits = {"quota": 10, "quota_period": "day", "quota_timezone": "UTC"}
    run.admit(site, limits, account="mine")
    for _ in range(10):
        run.take(site, limits, account="mine")
    assert alerts.check()["opened"] == []


def test_each_subject_has_its_incident(alerts: Alerts) -> None:
    alerts.only("site_paused")
    sites = {site_blocks(alerts), site_blocks(alerts)}
    alerts.check_for(2 * MINUTE)
    assert {incident["subject"] for incident in alerts.incidents()} == sites


# Few notices --------------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(alerts: Alerts) -> Callable[[bool], None]:
    """Breaks the rule `quota` or puts it right, as often as a test likes."""
    alerts.only("quota", opens_after="2 minutes")
    alerts.connection.execute(
        "insert into worker.site_buckets (bucket, quota, quota_resets_at) values ('alpha', 100, %s)",
        [NOON + timedelta(days=30)],
    )

    def change(is_broken: bool) -> None:
        alerts.connection.execute("update worker.site_buckets set quota_used = %s", [90 if is_broken else 10])

    return change


def test_a_short_problem_opens_nothing(alerts: Alerts, broken: Callable[[bool], None]) -> None:
    for _ in range(10):
        broken(True)
        assert alerts.check_for(MINUTE) == ([], [])
        broken(False)
        alerts.timed.advance(MINUTE)
        assert alerts.check() == {"opened": [], "resolved": [], "due_in_seconds": 60}
        alerts.timed.advance(MINUTE)
    assert alerts.incidents() == []


def test_what_comes_and_goes_is_one_incident(alerts: Alerts, broken: Callable[[bool], None]) -> None:
    broken(True)
    assert len(alerts.check_for(3 * MINUTE)[0]) == 1
    for _ in range(5):
        for is_broken in (False, True):
            broken(is_broken)
            assert alerts.check_for(10 * MINUTE, every=2 * MINUTE) == ([], [])
    assert len(alerts.incidents()) == 1
    assert alerts.send() == ["opened quota alpha"]


def test_what_comes_back_continues_the_incident_and_ends_later_each_time(
    alerts: Alerts, broken: Callable[[bool], None]
) -> None:
    holds = []
    for opening in range(1, 10):
        broken(True)
        assert len(alerts.check_for(3 * MINUTE)[0]) == 1
        assert alerts.send() == ["opened quota alpha"]
        (incident,) = alerts.incidents()
        assert incident["openings"] == opening
        assert incident["resolved_at"] is None
        broken(False)
        began_at = alerts.timed.now
        while not alerts.check()["resolved"]:
            alerts.timed.advance(15 * MINUTE)
        # The last check that found it broken was at the same time.
        holds.append((alerts.timed.now - began_at) / timedelta(minutes=1))
        assert alerts.send() == ["resolved quota alpha"]
        alerts.timed.advance(MINUTE)
    assert holds == [15, 30, 60, 120, 240, 480, 960, 1440, 1440]
    assert len(alerts.events()) == 18


def test_after_a_longer_time_it_is_a_new_incident(alerts: Alerts, broken: Callable[[bool], None]) -> None:
    for _ in range(2):
        broken(True)
        alerts.check_for(3 * MINUTE)
        broken(False)
        alerts.check_for(16 * MINUTE)
        alerts.timed.advance(6 * HOUR)
    assert [incident["openings"] for incident in alerts.incidents()] == [1, 1]


def test_one_reminder_a_day(alerts: Alerts, broken: Callable[[bool], None]) -> None:
    broken(True)
    sent = []
    for _ in range(4 * 4):
        alerts.check_for(3 * MINUTE)
        sent += alerts.send()
        alerts.timed.advance(6 * HOUR - 3 * MINUTE)
    assert sent == ["opened quota alpha", *["reminder quota alpha"] * 3]
    assert len(alerts.events()) == 1
    alerts.only("quota", remind_after=None)
    alerts.timed.advance(10 * DAY)
    alerts.check_for(5 * MINUTE)
    assert alerts.send() == []


# Notices ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(alerts: Alerts, broken: Callable[[bool], None]) -> Alerts:
    """With an incident that has just opened."""
    broken(True)
    alerts.check_for(3 * MINUTE)
    return alerts


def test_a_notice_is_claimed_for_a_minute(opened: Alerts) -> None:
    claimed = opened.claim()
    (notice,) = claimed["notices"]
    assert notice["detail"].startswith("90 of 100 requests of the quota of alpha are used (90 %), until ")
    assert opened.claim()["notices"] == []
    opened.timed.advance(MINUTE)
    assert opened.claim()["notices"] == [notice]


def test_a_failed_notice_is_sent_again_to_those_who_do_not_have_it(opened: Alerts) -> None:
    waits = []
    for attempt in range(8):
        claimed = opened.claim()
        (notice,) = claimed["notices"]
        assert notice["delivered_to"] == ([] if attempt == 0 else ["a", "b"] if attempt > 1 else ["a"])
        saved = opened.save(claimed, "address 3 (slack): not accepted", ["a", "b"] if attempt else ["a"])
        assert saved == {"sent": 0, "dead": int(attempt == 7)}
        waits.append(opened.claim()["due_in_seconds"])
        opened.timed.advance(waits[-1] or 0)
    assert waits.pop() is None
    assert timedelta(hours=20) < timedelta(seconds=sum(waits)) < timedelta(hours=36)
    (incident,) = opened.incidents()
    assert (incident["error"], incident["due_at"], incident["notified_at"]) == (
        "address 3 (slack): not accepted", None, None
    )  # fmt: skip
    # A day later, the reminder is sent to all.
    opened.timed.advance(DAY)
    opened.check()
    (notice,) = opened.claim()["notices"]
    assert (notice["notice"], notice["delivered_to"]) == ("reminder", [])


def test_a_result_is_saved_once(opened: Alerts) -> None:
    claimed = opened.claim()
    assert opened.save(claimed) == {"sent": 1, "dead": 0}
    assert opened.save(claimed) == {"sent": 0, "dead": 0}
    assert opened.save(claimed, "failed after all") == {"sent": 0, "dead": 0}
    (incident,) = opened.incidents()
    assert (incident["attempts"], incident["error"], incident["notified_at"]) == (0, None, opened.timed.now)


def test_a_late_result_of_an_expired_claim(opened: Alerts) -> None:
    first = opened.claim()
    opened.timed.advance(MINUTE)
    second = opened.claim()
    assert opened.save(first, "no answer") == {"sent": 0, "dead": 0}
    assert opened.save(first) == {"sent": 1, "dead": 0}
    assert opened.save(second, "no answer") == {"sent": 0, "dead": 0}


def test_the_end_replaces_a_notice_that_was_not_sent(opened: Alerts, broken: Callable[[bool], None]) -> None:
    claimed = opened.claim()
    broken(False)
    opened.check_for(16 * MINUTE)
    # The result of the former notice does not count for this one.
    assert opened.save(claimed, delivered_to=["a"]) == {"sent": 0, "dead": 0}
    (notice,) = opened.claim()["notices"]
    assert (notice["notice"], notice["delivered_to"]) == ("resolved", [])


def test_old_notices_are_not_sent(opened: Alerts, broken: Callable[[bool], None]) -> None:
    broken(False)
    opened.check_for(16 * MINUTE)
    opened.timed.advance(2 * DAY)
    assert opened.claim() == {"notices": [], "claimed_until": opened.claim()["claimed_until"], "due_in_seconds": None}


# Two at once --------------------------------------------------------------------------------------------------------


def test_one_caller_checks_at_a_time(alerts: Alerts, broken: Callable[[bool], None]) -> None:
    alerts.only("quota", opens_after="0")
    broken(True)
    with connect(alerts.timed.dsn) as other:
        other.execute("begin")
        assert len(alerts.check(on=other)["opened"]) == 1
        # It does not wait.
        assert alerts.check() == {"opened": [], "resolved": [], "due_in_seconds": 60}
        other.execute("commit")
    assert alerts.check()["due_in_seconds"] == 60
    assert len(alerts.incidents()) == 1


def test_two_checks_that_overlap_open_one_incident(
    alerts: Alerts, broken: Callable[[bool], None], pool: ThreadPoolExecutor
) -> None:
    alerts.only("quota", opens_after="0")
    broken(True)
    with connect(alerts.timed.dsn) as first, connect(alerts.timed.dsn) as second:
        first.execute("begin")
        first.execute("select worker.check_alerts()")
        waiting = pool.submit(lambda: second.execute("select worker.check_alerts() as answer").fetchall()[0])
        assert answer_after(alerts.timed, first, waiting)["answer"] == {"opened": [], "resolved": []}
    assert [incident["openings"] for incident in alerts.incidents()] == [1]
    with pytest.raises(psycopg.errors.UniqueViolation):
        alerts.connection.execute(
            "insert into worker.incidents (rule, subject, value, detail, broken_since, broken_at)"
            " values ('quota', 'alpha', 1, '', now(), now())"
        )


def test_two_workers_claim_a_notice_once(opened: Alerts) -> None:
    with connect(opened.timed.dsn) as other:
        other.execute("begin")
        assert len(opened.claim(on=other)["notices"]) == 1
        assert opened.claim()["notices"] == []
        other.execute("commit")
    assert opened.claim()["notices"] == []


def test_a_check_that_is_undone_announces_nothing(alerts: Alerts, broken: Callable[[bool], None]) -> None:
    alerts.only("quota", opens_after="0")
    broken(True)
    with alerts.connection.transaction(force_rollback=True):
        assert len(alerts.check()["opened"]) == 1
        assert len(alerts.events()) == 1
    assert (alerts.events(), alerts.incidents()) == ([], [])


def test_a_clock_that_was_set_back_does_not_stop_the_checks(alerts: Alerts, broken: Callable[[bool], None]) -> None:
    alerts.only("quota", opens_after="0")
    alerts.check()
    alerts.timed.set_clock(NOON - timedelta(days=3))
    broken(True)
    assert len(alerts.check()["opened"]) == 1


# The operator -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "allowed"),
    [
        ({"rule": "unknown"}, "rule must be one of failure_rate, invalid_items, late_slot"),
        ({"threshold": 0}, "threshold must be more than 0"),
        ({"threshold": 20}, "threshold must be more than 0; of a share, such as 0.2 for 20 %, at most 1"),
        ({"threshold": "NaN"}, "threshold must be more than 0"),
        ({"period_seconds": 59}, "period must be from 1 minute to 7 days"),
        ({"least_count": 0}, "least_count must be an integer from 1 to 10000"),
    ],
)
@pytest.mark.usefixtures("alerts")
async def test_a_rule_that_is_not_valid(service: AsyncClient, wrong: Row, allowed: str) -> None:
    with pytest.raises(APIError) as raised:
        await call(service, "worker_set_alert", **{"rule": "failure_rate"} | wrong)
    assert raised.value.code == "22023"
    assert str(raised.value.message).startswith(allowed)


@pytest.mark.parametrize(
    ("column", "value", "constraint"),
    [
        ("threshold", "infinity", "alert_rules_threshold"),
        ("opens_after", "-1 minute", "alert_rules_opens_after"),
        ("resolves_after", "2 days", "alert_rules_resolves_after"),
        ("remind_after", "1 hour", "alert_rules_remind_after"),
        ("unit", "percent", "alert_rules_unit"),
    ],
)
def test_wrong_sql_names_the_constraint(alerts: Alerts, column: str, value: str, constraint: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match=constraint):
        alerts.only("no_worker", **{column: value})


@pytest.mark.usefixtures("alerts")
async def test_a_changed_rule(service: AsyncClient) -> None:
    rule = await call(service, "worker_set_alert", rule="quota", threshold=0.95, period_seconds=120, is_enabled=False)
    assert (rule["threshold"], rule["period"], rule["is_enabled"], rule["least_count"]) == (0.95, "00:02:00", False, 1)
    known = await call(service, "worker_alerts")
    assert rule in known["rules"]
    assert known["incidents"] == []


async def test_the_list_has_open_incidents_alone(
    alerts: Alerts, broken: Callable[[bool], None], service: AsyncClient
) -> None:
    broken(True)
    alerts.check()
    assert (await call(service, "worker_alerts"))["incidents"] == []
    alerts.check_for(3 * MINUTE)
    (incident,) = (await call(service, "worker_alerts"))["incidents"]
    assert (incident["rule"], incident["subject"], incident["notified_at"]) == ("quota", "alpha", None)
    broken(False)
    alerts.check_for(16 * MINUTE)
    assert (await call(service, "worker_alerts"))["incidents"] == []


async def test_ended_incidents_are_deleted(
    opened: Alerts, broken: Callable[[bool], None], service: AsyncClient
) -> None:
    broken(False)
    opened.check_for(16 * MINUTE)
    for days, left in ((89, 1), (2, 0)):
        opened.timed.advance(days * DAY)
        opened.connection.execute("update worker.housekeeping set next_at = '-infinity' where task = 'retention'")
        await call(service, "worker_delete_expired")
        assert len(opened.incidents()) == left


# Health -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("alerts")
async def test_health_of_an_idle_project(service: AsyncClient, anon: AsyncClient) -> None:
    assert await call(service, "worker_health") == {
        "workers": [], "last_seen_seconds": None, "oldest_ready_seconds": None, "ready": 0, "delayed": 0, "running": 0,
        "latest_slot_at": None, "oldest_due_slot_seconds": None, "open_incidents": 0,
    }  # fmt: skip
    assert await call(anon, "search_health") == {"is_healthy": False}


async def test_health_of_a_busy_project(alerts: Alerts, service: AsyncClient) -> None:
    schedules = Schedules(alerts.timed)
    schedules.schedule("13:00")
    alerts.timed.set_clock(NOON + timedelta(hours=1))
    schedules.fire()
    schedules.schedule("13:01")
    alerts.timed.new_run("alpha")
    alerts.timed.new_run("alpha").put_off(NOON + timedelta(hours=2))
    enqueue(alerts)
    worker_is_seen(alerts)
    alerts.connection.execute("update worker.workers set seen_at = worker.now() - interval '1 minute'")
    alerts.timed.advance(90)
    health = await call(service, "worker_health")
    (worker,) = health.pop("workers") or [None]
    assert worker is None or set(worker) == {"worker_id", "version", "concurrency", "started_at", "seen_at"}
    assert health == {
        "last_seen_seconds": 150, "oldest_ready_seconds": 90, "ready": 2, "delayed": 1, "running": 1,
        "latest_slot_at": "2026-11-22T13:00:00+00:00", "oldest_due_slot_seconds": 30, "open_incidents": 0,
    }  # fmt: skip


async def test_living_workers_are_listed(alerts: Alerts, service: AsyncClient) -> None:
    worker_is_seen(alerts)
    alerts.timed.advance(MINUTE)
    (worker,) = (await call(service, "worker_health"))["workers"]
    assert (worker["worker_id"], worker["version"], worker["concurrency"]) == ("w", "0.1.0", 5)
    assert set(worker) == {"worker_id", "version", "concurrency", "started_at", "seen_at"}
    alerts.timed.advance(2 * MINUTE)
    assert (await call(service, "worker_health"))["workers"] == []


async def test_what_an_uptime_monitor_sees(alerts: Alerts, anon: AsyncClient) -> None:
    async def is_healthy() -> bool:
        answer = await call(anon, "search_health")
        assert set(answer) == {"is_healthy"}
        return bool(answer["is_healthy"])

    worker_is_seen(alerts)
    assert await is_healthy()
    run_waits_for_a_worker(alerts)
    assert not await is_healthy()
    worker_is_seen(alerts)
    assert await is_healthy()
    alerts.only("oldest_ready_run")
    alerts.check_for(2 * MINUTE)
    assert not await is_healthy()
    cancel_all(alerts)
    alerts.timed.advance(MINUTE)
    alerts.check_for(15 * MINUTE)
    worker_is_seen(alerts)
    assert await is_healthy()
