"""Schedules: each slot starts one run, or is skipped with a reason."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta
from typing import Any, LiteralString
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from tests.support.queue import Row
from tests.support.site_limits import NOON, TimedDatabase, connect
from worker.database.queue import open_queue
from worker.engine.chores import Scheduling
from worker.local.supabase.stack import Endpoints
from worker.settings import Settings

# All schedules of a database are fired together.
pytestmark = pytest.mark.own_stack

LONDON = "Europe/London"


def slots_of_zone(
    zone: str, times: Sequence[time], weekdays: Sequence[int], start: datetime, days: int
) -> set[datetime]:
    """The slots of some days, by Python's own time zones: of a time that happens twice, the second one."""
    local = start.astimezone(ZoneInfo(zone)).date()
    return {
        _instant(datetime.combine(local + timedelta(days=day), daily), zone)
        for day in range(-1, days + 2)
        for daily in times
        if (local + timedelta(days=day)).isoweekday() in weekdays
    }


def _instant(naive: datetime, zone: str) -> datetime:
    first, second = (naive.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1))
    # In a gap, the first reading has the offset before it, which moves the time by the length of the gap.
    is_gap = first.astimezone(ZoneInfo(zone)).replace(tzinfo=None) != naive
    return first if is_gap else second


class Schedules:
    """Saved searches and their schedules, in a database whose clock stands still."""

    def __init__(self, timed: TimedDatabase) -> None:
        self.timed = timed
        self.connection = timed.connection

    def rows(self, query: LiteralString, arguments: Any = None) -> list[Row]:
        return self.connection.execute(query, arguments).fetchall()

    def save(self, user: UUID | None = None, term: str | None = None) -> UUID:
        """Save a search, by default of a new user."""
        parameters = {"search_term": term or str(uuid4()), "sites": ["alpha"]}
        (saved,) = self.rows(
            "insert into public.saved_searches (user_id, name, kind, parameters) values (%s, %s, %s, %s) returning id",
            [user or self.timed.new_user(), str(uuid4()), self.timed.kind, Jsonb(parameters)],
        )
        return UUID(str(saved["id"]))

    def schedule(
        self, *times: str, zone: str = "UTC", weekdays: Sequence[int] = range(1, 8), saved: UUID | None = None
    ) -> UUID:
        """Repeat a search, by default a new one."""
        saved = saved or self.save()
        self.rows(
            "insert into public.search_schedules (saved_search_id, time_zone, times, weekdays)"
            " values (%s, %s, %s, %s) returning saved_search_id",
            [saved, zone, [*times], [*weekdays]],
        )
        return saved

    def fire(self, *, on: Any = None) -> Row:
        (answer,) = (on or self.connection).execute("select public.worker_fire_schedules() as fired").fetchall()
        return dict(answer["fired"])

    def state(self, saved: UUID) -> Row:
        (row,) = self.rows("select * from public.search_schedules where saved_search_id = %s", [saved])
        return row

    def runs(self, saved: UUID) -> list[Row]:
        return self.rows("select * from public.search_runs where saved_search_id = %s order by slot_at", [saved])

    def events(self, run: Row) -> dict[str, Row]:
        found = self.rows("select event, data from public.run_events where run_id = %s order by id", [run["id"]])
        return {row["event"]: row["data"] for row in found}

    def end_runs(self, status: str = "success") -> None:
        self.rows(
            "update public.search_runs set status = %s, completed_at = worker.now(), run_after = null"
            " where completed_at is null and slot_at is not null returning id",
            [status],
        )


@pytest.fixture
def schedules(timed: TimedDatabase) -> Schedules:
    timed.configure(schedule_jitter="0", freshness="0")
    timed.connection.execute("delete from public.search_schedules")
    return Schedules(timed)


# Slots --------------------------------------------------------------------------------------------------------------

ZONES = [
    "UTC", "Europe/London", "Europe/Berlin", "America/New_York", "America/St_Johns", "Australia/Lord_Howe",
    "Asia/Kolkata", "Asia/Kathmandu", "Pacific/Chatham", "Africa/Casablanca", "America/Sao_Paulo", "Asia/Tehran",
    "Pacific/Apia", "Asia/Pyongyang", "America/Caracas", "Antarctica/Troll",
]  # fmt: skip


# Years on which the time zone data of Python, of Debian and of each Postgres agree: later ones change with releases.
@settings(max_examples=150)
@given(data=st.data())
def test_next_slots_are_those_of_the_zone(stack: Endpoints, data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from(ZONES))
    times = data.draw(st.lists(st.times().map(lambda at: at.replace(second=0, microsecond=0)), min_size=1, max_size=6))
    weekdays = data.draw(st.sets(st.integers(1, 7), min_size=1))
    start = data.draw(st.integers(0, 18 * 365 * 24 * 60)) * timedelta(minutes=1) + datetime(2005, 1, 1, tzinfo=UTC)
    expected = sorted(slot for slot in slots_of_zone(zone, times, [*weekdays], start, 21) if slot > start)[:5]
    with connect(stack.db_url) as connection:
        found, after = [], start
        for _ in expected:
            row = connection.execute(
                "select worker.next_slot(%s, %s, %s, %s) as at", [zone, times, [*weekdays], after]
            ).fetchone()
            assert row is not None
            after = row["at"]
            found.append(after.astimezone(UTC))
    assert found == expected


# Clocks change at night; what cron does then is its own rule.
DAYTIME = st.times(time(5), time(23, 59)).map(lambda at: at.replace(second=0, microsecond=0))
ZONES_THAT_CHANGE_AT_NIGHT = ["UTC", "Europe/London", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]


@settings(max_examples=100)
@given(
    zone=st.sampled_from(ZONES_THAT_CHANGE_AT_NIGHT),
    times=st.lists(DAYTIME, min_size=1, max_size=4),
    weekdays=st.sets(st.integers(1, 7), min_size=1),
    minutes=st.integers(0, 5 * 366 * 24 * 60),
)
def test_next_slots_are_those_of_cron(
    stack: Endpoints, zone: str, times: list[time], weekdays: set[int], minutes: int
) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC) + minutes * timedelta(minutes=1)
    days = ",".join(map(str, weekdays))
    crons = [CronSim(f"{at.minute} {at.hour} * * {days}", start.astimezone(ZoneInfo(zone))) for at in times]
    expected = min(next(cron).astimezone(UTC) for cron in crons)
    with connect(stack.db_url) as connection:
        (row,) = connection.execute(
            "select worker.next_slot(%s, %s, %s, %s) as at", [zone, times, [*weekdays], start]
        ).fetchall()
    assert row["at"].astimezone(UTC) == expected


@pytest.mark.parametrize(
    ("zone", "times", "start", "days"),
    [
        (LONDON, ["00:30", "01:30", "02:30"], datetime(2026, 3, 28, 12, tzinfo=UTC), 2),
        (LONDON, ["00:30", "01:30", "02:30"], datetime(2026, 10, 24, 12, tzinfo=UTC), 2),
        ("Australia/Lord_Howe", ["01:45", "02:15", "02:45"], datetime(2026, 4, 3, 12, tzinfo=UTC), 3),
        ("Australia/Lord_Howe", ["01:45", "02:15", "02:45"], datetime(2026, 10, 2, 12, tzinfo=UTC), 3),
        ("Asia/Pyongyang", ["23:15", "23:45"], datetime(2018, 5, 3, 0, tzinfo=UTC), 3),
    ],
)
def test_each_slot_fires_once_when_clocks_change(
    schedules: Schedules, zone: str, times: list[str], start: datetime, days: int
) -> None:
    schedules.timed.set_clock(start)
    saved = schedules.schedule(*times, zone=zone)
    for _ in range(days * 24 * 4):
        schedules.timed.advance(15 * 60)
        schedules.fire()
        schedules.end_runs()
    fired = [run["slot_at"].astimezone(UTC) for run in schedules.runs(saved)]
    now = schedules.timed.now
    expected = slots_of_zone(
        zone, [time.fromisoformat(at) for at in times], range(1, 8), start.replace(tzinfo=UTC), days
    )
    assert fired == sorted(slot for slot in expected if start < slot <= now)


# What becomes of a slot ---------------------------------------------------------------------------------------------


def test_a_slot_starts_a_run_of_the_saved_search(schedules: Schedules) -> None:
    saved = schedules.schedule("13:00", "20:00")
    assert schedules.fire() == {"started": 0, "skipped": 0, "paused": 0, "next_in_seconds": 3600}
    schedules.timed.advance(3600)
    assert schedules.fire() == {"started": 1, "skipped": 0, "paused": 0, "next_in_seconds": 7 * 3600}
    assert schedules.fire()["started"] == 0
    (run,) = schedules.runs(saved)
    assert (run["source"], run["status"], run["priority"]) == ("cron", "pending", 0)
    assert run["slot_at"] == NOON + timedelta(hours=1)
    state = schedules.state(saved)
    assert (state["last_run_id"], state["last_slot_at"]) == (run["id"], run["slot_at"])
    assert state["next_slot_at"] == NOON + timedelta(hours=8)
    assert schedules.events(run)["created"] == {"source": "cron", "slot_at": "2026-11-22T13:00:00+00:00"}


def test_without_schedules_nothing_is_due(schedules: Schedules) -> None:
    assert schedules.fire() == {"started": 0, "skipped": 0, "paused": 0, "next_in_seconds": None}


def test_eight_callers_start_each_run_once(schedules: Schedules, stack: Endpoints) -> None:
    saved = [schedules.schedule("13:00") for _ in range(60)]
    schedules.timed.advance(3600)
    barrier = threading.Barrier(8)

    def call(_: int) -> int:
        with connect(stack.db_url) as connection:
            barrier.wait()
            started = 0
            while fired := schedules.fire(on=connection)["started"]:
                started += int(fired)
            return started

    with ThreadPoolExecutor(8) as callers:
        assert sum(callers.map(call, range(8))) == 60
    assert [len(schedules.runs(one)) for one in saved] == [1] * 60


def test_a_crash_before_the_commit_leaves_the_slot_to_the_next_caller(schedules: Schedules, stack: Endpoints) -> None:
    saved = schedules.schedule("13:00")
    schedules.timed.advance(3600)
    with psycopg.connect(stack.db_url) as crashed:
        crashed.execute("select public.worker_fire_schedules()")
        # Others do not wait for it.
        assert schedules.fire()["started"] == 0
        crashed.rollback()
    assert schedules.fire()["started"] == 1
    assert len(schedules.runs(saved)) == 1


def test_a_caller_that_hangs_does_not_stop_the_others(schedules: Schedules, stack: Endpoints) -> None:
    schedules.schedule("13:00")
    schedules.timed.advance(3600)
    schedules.connection.execute("update worker.housekeeping set next_at = '-infinity' where task = 'seen_users'")
    with psycopg.connect(stack.db_url) as hanging:
        hanging.execute("select public.worker_fire_schedules(1)")
        saved = schedules.schedule("13:30")
        schedules.timed.advance(1800)
        with connect(stack.db_url) as other:
            other.execute("set statement_timeout = '5s'")
            assert schedules.fire(on=other)["started"] == 1
        hanging.rollback()
    assert len(schedules.runs(saved)) == 1


async def test_a_worker_waits_while_another_caller_holds_what_is_due(schedules: Schedules, stack: Endpoints) -> None:
    schedules.schedule("13:00")
    schedules.timed.advance(3600)
    settings = Settings(supabase_url=stack.url, supabase_service_role_key=SecretStr(stack.service_role_key))
    async with open_queue(settings) as queue:
        chore = Scheduling(queue)
        with psycopg.connect(stack.db_url) as holder:
            holder.execute("select public.worker_fire_schedules()")
            assert await chore() > 0
            holder.rollback()
        await chore()
    assert schedules.fire() == {"started": 0, "skipped": 0, "paused": 0, "next_in_seconds": 24 * 3600}


def test_missed_slots_become_one_run(schedules: Schedules) -> None:
    saved = schedules.schedule("13:00", "14:00", "15:00")
    schedules.timed.advance(4 * 3600)
    assert schedules.fire()["started"] == 1
    (run,) = schedules.runs(saved)
    assert run["slot_at"] == NOON + timedelta(hours=3)
    assert schedules.events(run)["slots_missed"] == {"slots": 2}
    assert [*schedules.events(run)] == ["created", "slots_missed"]


def test_a_slot_that_comes_while_another_one_is_decided_is_the_next_one(schedules: Schedules) -> None:
    saved = schedules.schedule(*(f"13:{minute:02}" for minute in range(20)))
    schedules.connection.execute("create sequence worker.calls_of_clock")
    clock: LiteralString = """
        create or replace function worker.now() returns timestamptz language sql volatile set search_path = ''
        return {}::timestamptz + nextval('worker.calls_of_clock') * interval '5 seconds'
    """
    schedules.connection.execute(sql.SQL(clock).format((NOON + timedelta(hours=1)).isoformat()))
    try:
        assert schedules.fire()["started"] == 1
    finally:
        schedules.timed.advance(0)
        schedules.connection.execute("drop sequence worker.calls_of_clock")
    (run,) = schedules.runs(saved)
    assert schedules.state(saved)["next_slot_at"] == run["slot_at"] + timedelta(minutes=1)


def test_a_slot_that_is_too_late_is_skipped(schedules: Schedules) -> None:
    saved = schedules.schedule("13:00")
    schedules.timed.advance(3600)
    schedules.fire()
    schedules.end_runs()
    schedules.timed.advance(27 * 3600)
    assert schedules.fire()["skipped"] == 1
    (run,) = schedules.runs(saved)
    skipped = schedules.events(run)["slot_skipped"]
    assert (skipped["slot_at"], skipped["reason"]) == ("2026-11-23T13:00:00+00:00", "late")
    assert schedules.state(saved)["next_slot_at"] == NOON + timedelta(hours=49)


def test_a_slot_is_skipped_while_the_run_before_is_active(schedules: Schedules) -> None:
    saved = schedules.schedule("13:00", "14:00", "15:00")
    schedules.timed.advance(3600)
    schedules.fire()
    schedules.timed.advance(3600)
    assert schedules.fire()["skipped"] == 1
    (run,) = schedules.runs(saved)
    assert schedules.events(run)["slot_skipped"]["reason"] == "active"
    schedules.end_runs()
    schedules.timed.advance(3600)
    assert schedules.fire()["started"] == 1


def test_a_search_that_is_not_valid_any_more_pauses_itself_alone(schedules: Schedules) -> None:
    saved = [schedules.schedule("13:00") for _ in range(3)]
    schedules.connection.execute("alter table public.saved_searches disable trigger check_saved_search")
    schedules.connection.execute(
        "update public.saved_searches set parameters = parameters || '{\"results_wanted\": 0}' where id = %s",
        [saved[1]],
    )
    schedules.connection.execute("alter table public.saved_searches enable trigger check_saved_search")
    schedules.timed.advance(3600)
    fired = schedules.fire()
    assert (fired["started"], fired["paused"]) == (2, 1)
    state = schedules.state(saved[1])
    assert (state["paused"], state["next_slot_at"]) == ("invalid", None)
    assert state["paused_reason"] == "parameters.results_wanted must be an integer from 1 to 1000"
    assert [len(schedules.runs(one)) for one in saved] == [1, 0, 1]


def test_a_deleted_user_stops_nobody(schedules: Schedules) -> None:
    gone, stays = schedules.timed.new_user(), schedules.schedule("13:00")
    schedules.schedule("13:00", saved=schedules.save(gone))
    schedules.connection.execute("delete from auth.users where id = %s", [gone])
    schedules.timed.advance(3600)
    assert schedules.fire()["started"] == 1
    assert len(schedules.runs(stays)) == 1


def test_a_search_that_fails_again_and_again_pauses_itself(schedules: Schedules) -> None:
    schedules.timed.configure(max_failures_in_a_row=3)
    saved = schedules.schedule("13:00")
    for day in range(4):
        schedules.timed.set_clock(NOON + timedelta(days=day, hours=1))
        fired = schedules.fire()
        assert (fired["started"], fired["paused"]) == ((1, 0) if day < 3 else (0, 1))
        schedules.end_runs("failed")
    state = schedules.state(saved)
    assert (state["paused"], state["paused_reason"]) == ("failing", "The last 3 runs failed.")
    # The user resumes it: what failed before does not count.
    schedules.rows(
        "update public.search_schedules set paused = null where saved_search_id = %s returning paused", [saved]
    )
    schedules.timed.set_clock(NOON + timedelta(days=4, hours=1))
    assert schedules.fire()["started"] == 1


def test_equal_searches_start_together_and_share_the_search(schedules: Schedules) -> None:
    schedules.timed.configure(schedule_jitter="10 minutes", freshness="15 minutes")
    terms = [str(uuid4()) for _ in range(4)]
    for number in range(40):
        schedules.schedule("13:00", saved=schedules.save(term=terms[number % 4]))
    schedules.timed.advance(3600)
    assert schedules.fire()["started"] == 40
    starts = schedules.rows(
        "select parameters ->> 'search_term' as term, run_after from public.search_runs"
        " where kind = %s group by 1, 2", [schedules.timed.kind],
    )  # fmt: skip
    assert sorted(start["term"] for start in starts) == sorted(terms)
    assert len({start["run_after"] for start in starts}) > 1
    schedules.timed.advance(600)
    schedules.connection.execute("select worker.promote_due_runs()")
    leaders = schedules.rows(
        "select count(*) filter (where leader_run_id is null) as leaders, count(*) as runs from public.search_runs"
        " where kind = %s", [schedules.timed.kind],
    )  # fmt: skip
    assert leaders == [{"leaders": 4, "runs": 40}]


def test_manual_runs_are_searched_before_all_scheduled_runs(schedules: Schedules) -> None:
    saved = [schedules.schedule("13:00") for _ in range(20)]
    schedules.timed.advance(3600)
    assert schedules.fire()["started"] == 20
    (last,) = schedules.runs(saved[-1])
    insert: LiteralString = """
        insert into public.search_runs (user_id, kind, parameters) values (%s, %s, %s) returning id
    """
    asking = [
        {"search_term": "asked now", "sites": ["alpha"]},
        last["parameters"],  # a scheduled run searches for it, which takes its place in the queue
    ]
    manual = [
        schedules.rows(insert, [schedules.timed.new_user(), schedules.timed.kind, Jsonb(parameters)])[0]["id"]
        for parameters in asking
    ]
    claim: LiteralString = "select run_id from public.worker_claim_runs('w', %s, 1, 60, gen_random_uuid(), '[]')"
    first = [schedules.rows(claim, [[schedules.timed.kind]])[0]["run_id"] for _ in range(3)]
    assert first[:2] == [manual[0], last["id"]]
    assert first[2] not in (*manual, last["id"])


# Users who are away -------------------------------------------------------------------------------------------------


def test_schedules_of_inactive_users_pause_after_a_warning_and_resume(schedules: Schedules) -> None:
    schedules.timed.configure(inactive_after="30 days", inactive_warning="3 days")
    user = schedules.timed.new_user()
    schedules.connection.execute("update auth.users set created_at = %s where id = %s", [NOON, user])
    saved = schedules.schedule("13:00", saved=schedules.save(user))
    outcomes: Counter[str] = Counter()
    for day in range(40):
        schedules.timed.set_clock(NOON + timedelta(days=day, hours=1))
        fired = schedules.fire()
        outcomes.update({name: fired[name] for name in ("started", "paused")})
        schedules.end_runs()
    assert outcomes == {"started": 30, "paused": 1}
    state = schedules.state(saved)
    assert state["paused"] == "inactive"
    warned = [run for run in schedules.runs(saved) if "inactive_soon" in schedules.events(run)]
    assert [run["slot_at"] for run in warned] == [NOON + timedelta(days=day, hours=1) for day in (27, 28, 29)]

    schedules.connection.execute(
        "update auth.users set last_sign_in_at = %s where id = %s", [schedules.timed.now, user]
    )
    schedules.timed.advance(3600)
    schedules.fire()
    assert schedules.state(saved)["paused"] is None
    schedules.timed.set_clock(NOON + timedelta(days=40, hours=1))
    assert schedules.fire()["started"] == 1


# What is allowed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"zone": "GMT+1"}, "time_zone must be the IANA name of a time zone, such as Europe/London"),
        ({"zone": "Mars/Olympus"}, "time_zone must be the IANA name of a time zone, such as Europe/London"),
        ({"zone": "EST5EDT"}, "time_zone must be the IANA name of a time zone, such as Europe/London"),
        ({"times": []}, "times must be a list of 1 to 24 times of day"),
        ({"times": ["08:00:30"]}, "times must be in whole minutes"),
        ({"weekdays": []}, "weekdays must be a list of numbers from 1 (Monday) to 7 (Sunday)"),
        ({"weekdays": [0]}, "weekdays must be a list of numbers from 1 (Monday) to 7 (Sunday)"),
    ],
)
def test_invalid_schedules_are_refused(schedules: Schedules, change: dict[str, Any], message: str) -> None:
    times = change.pop("times", ["08:00"])
    with pytest.raises(psycopg.Error) as refused:
        schedules.schedule(*times, **change)
    assert refused.value.diag.message_primary == message


def test_the_slots_of_a_user_are_limited(schedules: Schedules) -> None:
    schedules.timed.configure(max_slots_per_week_per_user=20)
    user = schedules.timed.new_user()
    schedules.schedule("08:00", "09:00", saved=schedules.save(user))
    with pytest.raises(psycopg.Error) as refused:
        schedules.schedule("08:00", saved=schedules.save(user))
    assert refused.value.sqlstate == "PT429"
    schedules.schedule("08:00", weekdays=range(1, 6), saved=schedules.save(user))


def test_moved_times_do_not_repeat_searches_more_often(schedules: Schedules) -> None:
    schedules.timed.configure(max_slots_per_week_per_user=14)
    user = schedules.timed.new_user()
    saved = [schedules.schedule("12:30", saved=schedules.save(user)) for _ in range(2)]
    outcomes: Counter[str] = Counter()
    for moves in range(1, 11):
        at = schedules.timed.now + timedelta(minutes=1)
        schedules.rows(
            "update public.search_schedules set times = %s where saved_search_id = any (%s) returning times",
            [[at.time()], saved],
        )
        schedules.timed.set_clock(at)
        fired = schedules.fire()
        assert fired["started"] + fired["skipped"] == 2, moves
        outcomes.update({name: fired[name] for name in ("started", "skipped")})
        schedules.end_runs()
    assert outcomes == {"started": 14, "skipped": 6}
    skipped = schedules.events(schedules.runs(saved[0])[-1])["slot_skipped"]
    assert (skipped["reason"], skipped["message"]) == (
        "quota", "Too many searches of the user were repeated within an hour.",
    )  # fmt: skip


# What stops no other schedule ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("paused", [None, "inactive"])
def test_a_time_zone_that_is_gone_stops_no_other_schedule(schedules: Schedules, paused: str | None) -> None:
    gone, other = schedules.schedule("13:00"), schedules.schedule("13:00")
    with schedules.connection.transaction():
        schedules.connection.execute("alter table public.search_schedules disable trigger check_schedule")
        schedules.connection.execute(
            "update public.search_schedules set time_zone = 'Mars/Olympus', paused = %(paused)s,"
            " next_slot_at = case when %(paused)s::text is null then next_slot_at end where saved_search_id = %(gone)s",
            {"paused": paused, "gone": gone},
        )
        schedules.connection.execute("alter table public.search_schedules enable trigger check_schedule")
    schedules.connection.execute("update worker.housekeeping set next_at = '-infinity' where task = 'seen_users'")
    schedules.timed.advance(3600)
    assert schedules.fire()["started"] == 1
    assert len(schedules.runs(other)) == 1
    assert schedules.state(gone)["paused"] == (paused or "invalid")


def test_a_locked_inactive_schedule_stops_no_other_one(schedules: Schedules) -> None:
    locked, inactive, due = (schedules.schedule("13:00") for _ in range(3))
    schedules.rows(
        "update public.search_schedules set paused = 'inactive' where saved_search_id = any (%s) returning paused",
        [[locked, inactive]],
    )
    schedules.connection.execute("update worker.housekeeping set next_at = '-infinity' where task = 'seen_users'")
    schedules.timed.advance(3600)
    with connect(schedules.timed.dsn) as other, connect(schedules.timed.dsn) as caller, other.transaction():
        other.execute("select from public.search_schedules where saved_search_id = %s for update", [locked])
        caller.execute("set lock_timeout = '10s'")
        assert schedules.fire(on=caller)["started"] == 1
    assert [schedules.state(saved)["paused"] for saved in (locked, inactive, due)] == ["inactive", None, None]


def test_a_user_who_is_being_deleted_is_not_waited_for(schedules: Schedules) -> None:
    user = schedules.timed.new_user()
    schedules.schedule("13:00", saved=schedules.save(user))
    schedules.schedule("13:00")
    schedules.timed.advance(3600)
    with connect(schedules.timed.dsn) as other, connect(schedules.timed.dsn) as caller, other.transaction():
        # What the deletion locks first; the schedules follow.
        other.execute("select from auth.users where id = %s for update", [user])
        caller.execute("set lock_timeout = '10s'")
        assert schedules.fire(on=caller)["started"] == 1
        other.execute("delete from auth.users where id = %s", [user])
    assert schedules.fire() == {"started": 0, "skipped": 0, "paused": 0, "next_in_seconds": 86400}


def test_a_limit_on_the_rows_of_a_request_pauses_no_schedule(schedules: Schedules) -> None:
    schedules.timed.configure(max_rows_per_service_request=1)
    for _ in range(3):
        schedules.schedule("13:00")
    schedules.timed.advance(3600)
    with connect(schedules.timed.dsn) as service:
        service.execute("set role service_role")
        assert schedules.fire(on=service) == {"started": 3, "skipped": 0, "paused": 0, "next_in_seconds": 86400}


def test_a_user_cannot_pause_a_schedule_for_a_reason_of_the_system(schedules: Schedules) -> None:
    user = schedules.timed.new_user()
    saved = schedules.save(user)
    with connect(schedules.timed.dsn) as client:
        client.execute("set role authenticated")
        client.execute("select set_config('request.jwt.claims', %s, false)", [f'{{"sub": "{user}"}}'])
        insert: LiteralString = "insert into public.search_schedules (saved_search_id, time_zone, times, paused)"
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.execute(insert + " values (%s, 'UTC', '{08:00}', 'invalid')", [saved])
        client.execute(insert + " values (%s, 'UTC', '{08:00}', 'user')", [saved])
    assert schedules.state(saved)["paused"] == "user"
