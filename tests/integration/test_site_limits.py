"""No site is asked more often than it allows, by however many workers, and nobody waits for ever."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from typing import LiteralString
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.support.queue import Row
from tests.support.site_limits import NOON, Run, TimedDatabase, answer_after, connect

DAY = 86400

# Each example has a site of its own: what one leaves behind is nothing to the next.
EXAMPLES = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def site(timed: TimedDatabase) -> str:
    return timed.new_site()


@pytest.fixture
def runs(timed: TimedDatabase) -> list[Run]:
    """Three runs; `site_of` gives them sites to search."""
    return [timed.new_run(timed.new_site()) for _ in range(3)]


def site_of(runs: Sequence[Run], timed: TimedDatabase) -> str:
    """A new site that each of the runs searches."""
    site = timed.new_site()
    for run in runs:
        timed.connection.execute(
            "insert into public.search_run_sites (run_id, site, position) values (%s, %s, 2)", [run.id, site]
        )
    return site


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


# Pace and delay -------------------------------------------------------------------------------------------------


@EXAMPLES
@given(data=st.data())
def test_no_sequence_of_takes_exceeds_the_rate(timed: TimedDatabase, runs: list[Run], data: st.DataObject) -> None:
    most = data.draw(st.integers(1, 6), "requests within the period")
    period = data.draw(st.sampled_from([0.7, 3, 60]), "period")
    burst = data.draw(st.integers(1, most), "burst")
    delay = data.draw(st.sampled_from([0, 0.3, 5]), "delay")
    timed.configure(permit_slack=data.draw(st.sampled_from(["0", "100 milliseconds"]), "slack"))
    step = st.tuples(
        st.sampled_from(range(len(runs))),
        st.integers(1, min(most, 3)),
        st.sampled_from([0, 0.05, 0.4, round(period / most, 6), period, 3 * period]),
        st.sampled_from([0, 0, 0, -0.2, -period, -DAY]),
    )
    steps = data.draw(st.lists(step, min_size=5, max_size=40), "run, requests, seconds that pass, steps of the clock")

    timed.set_clock(NOON)
    site = site_of(runs, timed)
    declared = {"requests": most, "period_seconds": period, "burst": burst, "min_delay_seconds": delay}
    elapsed = timedelta()
    sent: list[timedelta] = []
    for nth, asked, passing, clock_step in steps:
        elapsed += seconds(passing)
        timed.advance(passing + clock_step)
        answer = runs[nth].take(site, declared, requests=asked)
        if answer["granted"]:
            assert 0 <= answer["wait_seconds"] <= 5
            sent += [elapsed + seconds(answer["wait_seconds"]) + nth * seconds(delay) for nth in range(asked)]

    assert sent, "the first one is granted"
    assert sent == sorted(sent)
    assert all(after - before >= seconds(delay) for before, after in pairwise(sent))
    for start in sent:
        assert sum(start <= other < start + seconds(period) for other in sent) <= most


@pytest.mark.parametrize("burst", [1, 4])
def test_the_rate_is_used_up(timed: TimedDatabase, site: str, burst: int) -> None:
    timed.configure(permit_slack="0")
    run = timed.new_run(site)
    started = timed.now
    for _ in range(40):
        answer = run.take(site, {"requests": 10, "period_seconds": 21, "burst": burst})
        assert answer["granted"]
        timed.advance(answer["wait_seconds"])
    # Ten at once would make twenty within some periods: a burst costs as much of the pace between.
    assert timed.now - started == seconds((40 - burst) * 21 / (11 - burst))


def test_a_burst_is_granted_at_once(timed: TimedDatabase, site: str) -> None:
    timed.configure(permit_slack="0")
    run = timed.new_run(site)
    declared = {"requests": 12, "period_seconds": 60, "burst": 3}
    assert [run.take(site, declared)["wait_seconds"] for _ in range(3)] == [0, 0, 0]
    refused = run.take(site, declared)
    assert (refused["reason"], refused["retry_in_seconds"]) == ("rate", 6)


def test_several_requests_cost_as_much_as_one_after_another(timed: TimedDatabase, site: str) -> None:
    timed.configure(permit_slack="0")
    run = timed.new_run(site)
    declared = {"requests": 60, "period_seconds": 60, "min_delay_seconds": 2}
    assert run.take(site, declared, requests=5)["wait_seconds"] == 0
    timed.advance(5)
    # The fifth of them is sent after eight seconds, and the next one two later.
    assert run.take(site, declared)["wait_seconds"] == 5


def test_requests_that_are_granted_ahead_are_waited_for_in_place(timed: TimedDatabase, site: str) -> None:
    timed.configure(permit_slack="100 milliseconds")
    declared = {"min_delay_seconds": 1.9}
    answers = [timed.new_run(site).take(site, declared) for _ in range(4)]
    assert [answer["granted"] for answer in answers] == [True, True, True, False]
    # They differ in how long they are on their way: a little is added.
    assert [answer["wait_seconds"] for answer in answers[:3]] == [0, 2, 4]
    refused = answers[3]
    assert (refused["reason"], refused["retry_in_seconds"]) == ("rate", 6)
    assert datetime.fromisoformat(refused["until"]) == NOON + seconds(6)
    assert refused["message"] == "rate limit of the site reached until 2026-11-22 12:00:06 UTC"


def test_no_limits_are_no_limits(timed: TimedDatabase, site: str) -> None:
    run = timed.new_run(site)
    assert [run.take(site) for _ in range(50)] == [{"granted": True, "wait_seconds": 0}] * 50


def test_a_site_counts_some_requests_apart(timed: TimedDatabase, site: str) -> None:
    run = timed.new_run(site)
    once = {"requests": 1, "period_seconds": 60}
    assert run.take(site, once)["granted"]
    assert not run.take(site, once)["granted"]
    assert run.take(site, once, bucket=f"{site}:search")["granted"]


def test_the_operators_limits_win(timed: TimedDatabase, site: str) -> None:
    timed.configure(permit_slack="0")
    timed.override(site, requests=2, period_seconds=10, burst=2, searches=1)
    run, other = timed.new_run(site), timed.new_run(site)
    generous = {"requests": 1000, "period_seconds": 1, "searches": 50, "min_delay_seconds": 3}
    assert run.admit(site, generous)["granted"]
    assert other.admit(site, generous)["reason"] == "searches"
    # What the operator leaves open is the source's.
    assert [run.take(site, generous)["wait_seconds"] for _ in range(2)] == [0, 3]
    assert run.take(site, generous)["wait_seconds"] == 10


def test_more_than_is_ever_allowed_at_once_is_refused_for_good(timed: TimedDatabase, site: str) -> None:
    run = timed.new_run(site)
    refused = run.take(site, {"requests": 5}, requests=6)
    assert (refused["granted"], refused["error_code"]) == (False, "rate_limited")
    refused = run.take(site, {"quota": 5}, requests=6)
    assert (refused["granted"], refused["error_code"]) == (False, "quota_exceeded")
    assert run.take(site, {"requests": 5, "quota": 5}, requests=5)["granted"]


# First come, first served ---------------------------------------------------------------------------------------


def test_everybody_is_served_in_the_order_of_waiting(timed: TimedDatabase, site: str) -> None:
    declared = {"requests": 1, "period_seconds": 1}
    timed.configure(inline_wait="0")
    timed.new_run(site).take(site, declared)
    waiting = [timed.new_run(site) for _ in range(12)]
    due: dict[Run, datetime] = {}
    for run in waiting:
        timed.advance(0.001)
        due[run] = datetime.fromisoformat(run.take(site, declared)["until"])
    assert sorted(due, key=lambda run: due[run]) == waiting

    served = []
    while due:
        # Of those that are due at the same time the last one comes first.
        now = min(due.values())
        timed.set_clock(now)
        run = next(run for run in reversed(waiting) if due.get(run) == now)
        # Meanwhile new ones come all the time.
        assert not timed.new_run(site).take(site, declared)["granted"]
        answer = run.take(site, declared)
        if answer["granted"]:
            served.append(run)
            del due[run]
        else:
            due[run] = datetime.fromisoformat(answer["until"])
    assert served == waiting
    assert timed.now - NOON < seconds(40)


def test_nobody_overtakes_who_comes_back_in_time_and_a_dead_one_holds_nobody_up(
    timed: TimedDatabase, site: str
) -> None:
    declared = {"requests": 1, "period_seconds": 10}
    first, second, third = (timed.new_run(site) for _ in range(3))
    first.take(site, declared)
    timed.advance(1)
    due_at = datetime.fromisoformat(second.take(site, declared)["until"])

    timed.set_clock(due_at + seconds(9))
    refused = third.take(site, declared)
    assert (refused["reason"], refused["message"]) == (
        "rate",
        "rate limit of the site reached: runs ahead in the queue: 1",
    )
    # Told to come back when the other one has lost its turn, if it does not come.
    timed.set_clock(datetime.fromisoformat(refused["until"]))
    assert timed.now < due_at + seconds(25)
    assert third.take(site, declared)["granted"]
    # It has not lost its place in the order.
    fourth = timed.new_run(site)
    assert not fourth.take(site, declared)["granted"]
    assert not second.take(site, declared)["granted"]
    timed.advance(11)
    assert not fourth.take(site, declared)["granted"]
    assert second.take(site, declared)["granted"]


@pytest.mark.parametrize("end", ["cancel", "finish"])
def test_a_run_that_ended_waits_no_more(timed: TimedDatabase, site: str, end: str) -> None:
    declared = {"requests": 1, "period_seconds": 10}
    first, second, third = (timed.new_run(site) for _ in range(3))
    first.take(site, declared)
    second.take(site, declared)
    getattr(second, end)()
    timed.advance(30)
    assert third.take(site, declared)["granted"]
    with pytest.raises(psycopg.ProgrammingError, match=r"lease_lost|cancelled"):
        second.take(site, declared)


def test_who_gives_up_his_place_while_he_waits_keeps_his_turn(timed: TimedDatabase, site: str) -> None:
    declared = {"requests": 1, "period_seconds": 10, "searches": 3}
    timed.configure(permit_slack="0")
    first, second, third = (timed.new_run(site) for _ in range(3))
    assert first.admit(site, declared)["granted"]
    assert second.admit(site, declared)["granted"]
    assert first.take(site, declared)["granted"]
    assert not second.take(site, declared)["granted"]
    assert not second.has_place(site)

    timed.advance(1)
    assert third.admit(site, declared)["granted"]
    assert not third.take(site, declared)["granted"]
    # Let in again he is still before the third, who came later.
    timed.advance(8.5)
    assert second.admit(site, declared)["granted"]
    timed.advance(0.5)
    assert not third.take(site, declared)["granted"]
    assert second.take(site, declared)["granted"]
    assert second.wait(site) is None
    # And behind him once he has his page.
    second.note_page(site)
    assert not second.take(site, declared)["granted"]
    timed.advance(10)
    assert not second.take(site, declared)["granted"]
    assert third.take(site, declared)["granted"]


def test_a_wait_beyond_max_site_wait_fails_the_site(timed: TimedDatabase, site: str) -> None:
    timed.configure(max_site_wait="1 minute", permit_slack="0")
    first, second = timed.new_run(site), timed.new_run(site)
    declared = {"requests": 1, "period_seconds": 50}
    assert first.take(site, declared)["granted"]
    assert second.take(site, declared)["retry_in_seconds"] == 50
    timed.advance(30)
    # All waits count, not this one alone; and the same question has the same answer.
    first.observe(site, {"retry_after_seconds": 31})
    failed = {
        "granted": False,
        "error_code": "rate_limited",
        "message": "site paused until 2026-11-22 12:01:01 UTC (rate_limited)",
    }
    assert [second.take(site, declared) for _ in range(2)] == [failed, failed]
    # Who has not waited yet may.
    second.end(site, "rate_limited")
    assert first.take(site, declared)["reason"] == "paused"


@pytest.mark.parametrize("pages_come", [False, True])
def test_waiting_counts_until_a_page_comes_of_it(timed: TimedDatabase, site: str, *, pages_come: bool) -> None:
    timed.configure(max_site_wait="4 minutes", permit_slack="0")
    run, declared = timed.new_run(site), {"requests": 1, "period_seconds": 100}
    answers = []
    for _ in range(3):
        assert run.admit(site)["granted"]
        assert run.take(site, declared)["granted"]
        if pages_come:
            run.note_page(site)
        answers.append(run.take(site, declared))
        timed.advance(100)
    waiting = [answer.get("retry_in_seconds") for answer in answers]
    assert waiting == ([100, 100, 100] if pages_come else [100, 100, None])


def pages_of_each(
    timed: TimedDatabase, runs: list[Run], site: str, page: Sequence[str], declared: Row
) -> dict[Run, int]:
    """Let runs search side by side as workers do; return how many pages each has after ten minutes.

    A page takes a permit of each of its buckets. Who is put off begins it anew when it is due.
    """
    pages = dict.fromkeys(runs, 0)
    permits = dict.fromkeys(runs, -1)  # of the page so far; below 0: to be admitted
    next_at = dict.fromkeys(runs, timed.now)
    while (now := min(next_at.values())) < NOON + timedelta(minutes=10):
        timed.set_clock(now)
        run = min(runs, key=lambda run: next_at[run])
        if permits[run] == len(page):
            run.note_page(site)
            pages[run] += 1
            permits[run] = 0
        nth = permits[run]
        answer = run.admit(site, declared) if nth < 0 else run.take(site, declared, bucket=site + page[nth])
        if answer["granted"]:
            permits[run] += 1
            next_at[run] = now + seconds(answer["wait_seconds"] + 0.1)
        else:
            permits[run] = -1
            next_at[run] = now + seconds(answer["retry_in_seconds"] + 0.1)
    return pages


@pytest.mark.parametrize(
    ("page", "delay"),
    [(("", ""), 8), (("", "", "", ""), 3), (("", ":other"), 8), ((":other", "", ":other"), 7)],
    ids=["two", "four", "two buckets", "two buckets and back"],
)
def test_a_page_that_takes_several_permits_comes_all_the_same(
    timed: TimedDatabase, site: str, page: Sequence[str], delay: float
) -> None:
    runs = [timed.new_run(site) for _ in range(6)]
    pages = pages_of_each(timed, runs, site, page, {"min_delay_seconds": delay})
    at_most = 10 * 60 / delay / max(page.count(bucket) for bucket in page)
    assert sum(pages.values()) > 0.75 * at_most
    assert min(pages.values()) > 0.6 * at_most / len(runs)


# The clock ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-DAY, DAY])
def test_a_jump_of_the_clock_does_no_lasting_harm(timed: TimedDatabase, site: str, jump: int) -> None:
    declared = {"requests": 2, "period_seconds": 60, "searches": 1, "quota": 1000}
    first, *waiting = (timed.new_run(site) for _ in range(4))
    assert first.admit(site, declared)["granted"]
    assert first.take(site, declared)["granted"]
    for run in waiting:
        timed.advance(0.001)
        assert not run.take(site, declared)["granted"]
    assert waiting[-1].admit(site, declared)["reason"] == "searches"
    timed.advance(jump)

    for run in waiting:
        # Once more as long as before the jump, at most.
        answer = run.take(site, declared)
        if not answer["granted"]:
            assert answer["retry_in_seconds"] < 60.2
            timed.advance(answer["retry_in_seconds"])
            answer = run.take(site, declared)
        assert answer["granted"]
        timed.advance(answer["wait_seconds"])
    first.end(site)
    assert waiting[-1].admit(site, declared)["granted"]


def test_a_pause_that_a_site_asked_for_is_no_longer_after_the_clock_was_set_back(
    timed: TimedDatabase, site: str
) -> None:
    run = timed.new_run(site)
    run.observe(site, {"retry_after_seconds": 600})
    timed.advance(-DAY)
    assert run.take(site)["retry_in_seconds"] == 600
    timed.advance(600)
    assert run.take(site)["granted"]


# Quotas ---------------------------------------------------------------------------------------------------------


@EXAMPLES
@given(data=st.data())
def test_no_sequence_of_takes_exceeds_the_quota(timed: TimedDatabase, runs: list[Run], data: st.DataObject) -> None:
    zone = ZoneInfo(data.draw(st.sampled_from(["UTC", "America/Los_Angeles", "Asia/Kolkata"]), "zone"))
    period = data.draw(st.sampled_from(["day", "month"]), "period")
    quota = data.draw(st.integers(1, 5), "quota")
    delay = data.draw(st.sampled_from([0, 3]), "delay")
    timed.configure(max_site_wait="40 days")
    step = st.tuples(
        st.sampled_from(range(len(runs))),
        st.integers(1, min(quota, 2)),
        st.sampled_from([0, 1, 2, 3600, 5 * 3600, DAY, 8 * DAY]),
    )
    steps = data.draw(st.lists(step, min_size=5, max_size=40), "run, requests, seconds that pass")

    # Seconds before a midnight at which a month ends, and clocks are changed in the days after.
    timed.set_clock(datetime(2026, 10, 31, 23, 59, 55, tzinfo=zone))
    site = site_of(runs, timed)
    declared = {"quota": quota, "quota_period": period, "quota_timezone": zone.key, "min_delay_seconds": delay}
    used: dict[str, int] = {}
    for nth, asked, passing in steps:
        timed.advance(passing)
        answer = runs[nth].take(site, declared, requests=asked)
        if answer["granted"]:
            day = (timed.now + seconds(answer["wait_seconds"])).astimezone(zone).date().isoformat()
            counted = day if period == "day" else day[:7]
            used[counted] = used.get(counted, 0) + asked
    assert max(used.values()) <= quota


def test_nothing_is_granted_ahead_for_after_the_reset(timed: TimedDatabase, site: str) -> None:
    declared = {"quota": 2, "min_delay_seconds": 3}
    timed.set_clock(NOON.replace(hour=23, minute=59, second=58))
    run = timed.new_run(site)
    assert run.take(site, declared)["wait_seconds"] == 0
    # It would be taken from the quota of one day and sent on the next.
    refused = run.take(site, declared)
    assert (refused["reason"], refused["retry_in_seconds"]) == ("rate", 3.1)
    timed.advance(3.1)
    assert run.take(site, declared)["wait_seconds"] == 0


@pytest.mark.parametrize(
    ("period", "zone", "now", "reset"),
    [
        ("day", "UTC", "2026-11-22T00:00:00", "2026-11-23T00:00:00"),
        ("day", "America/Los_Angeles", "2026-11-22T23:59:59", "2026-11-23T00:00:00"),
        # 25 and 23 hours long.
        ("day", "America/Los_Angeles", "2026-11-01T00:00:00", "2026-11-02T00:00:00"),
        ("day", "America/Los_Angeles", "2026-03-08T00:00:00", "2026-03-09T00:00:00"),
        # No midnight on that day: it begins at one.
        ("day", "Africa/Cairo", "2026-04-23T12:00:00", "2026-04-24T01:00:00"),
        ("month", "UTC", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
        ("month", "Asia/Kolkata", "2026-12-31T23:00:00", "2027-01-01T00:00:00"),
    ],
)
def test_a_quota_begins_anew_at_midnight_in_its_zone(
    timed: TimedDatabase, site: str, *, period: str, zone: str, now: str, reset: str
) -> None:
    timed.configure(max_site_wait="40 days")
    timed.set_clock(datetime.fromisoformat(now).replace(tzinfo=ZoneInfo(zone)))
    run = timed.new_run(site)
    declared = {"quota": 2, "quota_period": period, "quota_timezone": zone}
    assert [run.take(site, declared)["granted"] for _ in range(3)] == [True, True, False]
    reset_at = datetime.fromisoformat(reset).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    refused = run.take(site, declared)
    assert (refused["reason"], datetime.fromisoformat(refused["until"])) == ("quota", reset_at)

    timed.set_clock(reset_at - timedelta(microseconds=1))
    assert not run.take(site, declared)["granted"]
    timed.set_clock(reset_at)
    assert [run.take(site, declared)["granted"] for _ in range(3)] == [True, True, False]


def test_a_quota_that_is_used_up_for_longer_than_a_run_waits_fails_the_site(timed: TimedDatabase, site: str) -> None:
    run = timed.new_run(site)
    assert run.take(site, {"quota": 1})["granted"]
    assert run.take(site, {"quota": 1}) == {
        "granted": False,
        "error_code": "quota_exceeded",
        "message": "quota of 1 requests a day is used up until 2026-11-23 00:00:00 UTC",
    }
    run.end(site, "quota_exceeded")
    assert run.wait(site) is None


@pytest.mark.parametrize("declared", [{}, {"quota": 100}])
def test_what_a_site_tells_is_left_moves_the_quota(timed: TimedDatabase, site: str, declared: Row) -> None:
    run = timed.new_run(site)
    run.take(site, declared)
    run.observe(site, {"remaining": 2, "resets_in_seconds": 1800})
    assert [run.take(site, declared)["granted"] for _ in range(2)] == [True, True]
    # Sent before these two were: it does not know of them.
    run.observe(site, {"remaining": 2, "resets_in_seconds": 1800})
    refused = run.take(site, declared)
    assert (refused["reason"], refused["retry_in_seconds"]) == ("quota", 1800)
    timed.advance(1800)
    assert run.take(site, declared)["granted"]


def test_a_quota_that_a_site_tells_holds_instead_of_the_declared_one_but_not_of_the_operators(
    timed: TimedDatabase, site: str
) -> None:
    run = timed.new_run(site)
    declared = {"quota": 1}
    run.observe(site, {"quota": 3, "remaining": 3})
    assert [run.take(site, declared)["granted"] for _ in range(4)] == [True, True, True, False]
    # The next day it holds, too, while what was left is forgotten.
    timed.advance(DAY)
    assert [run.take(site, declared)["granted"] for _ in range(4)] == [True, True, True, False]
    timed.override(site, quota=2)
    timed.advance(DAY)
    assert [run.take(site, declared)["granted"] for _ in range(3)] == [True, True, False]


def test_a_quota_is_renewed_when_the_site_says_so(timed: TimedDatabase, site: str) -> None:
    run = timed.new_run(site)
    run.observe(site, {"quota": 10, "remaining": 0, "resets_in_seconds": 1000})
    assert not run.take(site)["granted"]
    run.observe(site, {"quota": 10, "remaining": 9, "resets_in_seconds": 999.5})
    assert not run.take(site)["granted"]
    run.observe(site, {"quota": 10, "remaining": 2, "resets_in_seconds": 30 * DAY})
    assert [run.take(site)["granted"] for _ in range(3)] == [True, True, False]
    (shown,) = timed.connection.execute("select * from worker.site_buckets where bucket = %s", [site]).fetchall()
    assert (shown["quota_used"], shown["told_quota"]) == (10, 10)


def test_a_site_that_asks_to_be_left_alone_is_left_alone(timed: TimedDatabase, site: str) -> None:
    run, other = timed.new_run(site), timed.new_run(site)
    run.observe(site, {"retry_after_seconds": 3})
    assert other.take(site)["wait_seconds"] == 3
    run.observe(site, {"retry_after_seconds": 120})
    refused = other.take(site)
    assert (refused["reason"], refused["retry_in_seconds"]) == ("paused", 120)
    assert refused["message"] == "site paused until 2026-11-22 12:02:00 UTC (rate_limited)"
    # A shorter pause does not end a longer one.
    run.observe(site, {"retry_after_seconds": 1})
    assert other.take(site)["retry_in_seconds"] == 120
    # What it says is bounded.
    run.observe(site, {"retry_after_seconds": 1e12})
    assert other.take(site)["error_code"] == "rate_limited"
    timed.advance(DAY)
    assert other.take(site)["granted"]


# Searches at a time ---------------------------------------------------------------------------------------------


def test_so_many_searches_at_a_time(timed: TimedDatabase, site: str) -> None:
    declared = {"searches": 2}
    first, second, third = (timed.new_run(site) for _ in range(3))
    # Asked again, as after a lost answer, a run has one place.
    for _ in range(3):
        assert first.admit(site, declared) == {"granted": True, "wait_seconds": 0}
    assert second.admit(site, declared)["granted"]
    refused = third.admit(site, declared)
    assert refused["reason"] == "searches"
    assert refused["message"] == "2 of 2 concurrent searches of the site are under way; runs ahead in the queue: 0"
    assert (third.wait(site) or {})["reason"] == "searches"
    first.end(site)
    assert third.admit(site, declared)["granted"]
    assert third.wait(site) is None


@pytest.mark.parametrize("end", ["cancel", "finish", "release", "expire"])
def test_a_search_whose_run_is_over_leaves_its_place(timed: TimedDatabase, site: str, end: str) -> None:
    first, second = timed.new_run(site), timed.new_run(site)
    assert first.admit(site, {"searches": 1})["granted"]
    getattr(first, end)()
    assert second.admit(site, {"searches": 1})["granted"]


def test_a_place_is_given_in_the_order_of_waiting_and_wakes_who_waits_in_the_queue(
    timed: TimedDatabase, site: str
) -> None:
    declared = {"searches": 1}
    first, second, third = (timed.new_run(site) for _ in range(3))
    first.admit(site, declared)
    for run in (second, third):
        timed.advance(0.001)
        run.put_off(datetime.fromisoformat(run.admit(site, declared)["until"]))
    assert second.run_after() == NOON + seconds(30.001)
    first.end(site)
    assert second.run_after() == timed.now
    assert third.run_after() == NOON + seconds(60.002)

    timed.advance(0.001)
    newcomer = timed.new_run(site)
    refused = newcomer.admit(site, declared)
    assert refused["reason"] == "searches"
    # The second does not come back: the third is woken by whoever asks, and has the place.
    timed.advance(11)
    assert not newcomer.admit(site, declared)["granted"]
    assert third.run_after() == timed.now


def test_a_run_is_due_at_once_if_the_place_became_free_while_it_searched_other_sites(
    timed: TimedDatabase, site: str
) -> None:
    declared = {"searches": 1}
    first, second, third = (timed.new_run(site) for _ in range(3))
    assert first.admit(site, declared)["granted"]
    for run in (second, third):
        timed.advance(0.001)
        assert run.admit(site, declared)["reason"] == "searches"
    timed.advance(1)
    first.end(site)
    second.defer()
    assert second.run_after() == timed.now
    # The place belongs to the second run now, until it comes or is late.
    third.defer()
    assert third.run_after() == NOON + seconds(30.002)


@pytest.mark.parametrize("end", ["finish", "cancel", "release", "rescue"])
def test_a_place_that_its_run_left_behind_wakes_the_next(timed: TimedDatabase, site: str, end: str) -> None:
    first, second = timed.new_run(site), timed.new_run(site)
    assert first.admit(site, {"searches": 1})["granted"]
    second.put_off(datetime.fromisoformat(second.admit(site, {"searches": 1})["until"]))
    timed.advance(1)
    if end == "rescue":
        first.expire()
        timed.rescue()
    else:
        getattr(first, end)()
    assert second.run_after() == timed.now


def test_a_place_that_may_be_free_any_time_is_waited_for_as_long_as_allowed(timed: TimedDatabase, site: str) -> None:
    timed.configure(max_site_wait="20 seconds")
    first, second = timed.new_run(site), timed.new_run(site)
    assert first.admit(site, {"searches": 1})["granted"]
    assert second.admit(site, {"searches": 1})["retry_in_seconds"] == 20
    timed.advance(15)
    assert second.admit(site, {"searches": 1})["retry_in_seconds"] == 5
    timed.advance(5)
    assert second.admit(site, {"searches": 1})["error_code"] == "rate_limited"


def test_no_place_is_kept_for_who_searches_another_site_meanwhile(timed: TimedDatabase, site: str) -> None:
    declared = {"searches": 1}
    first, busy, other = (timed.new_run(site) for _ in range(3))
    assert first.admit(site, declared)["granted"]
    assert not busy.admit(site, declared)["granted"]
    first.end(site)
    timed.advance(1)
    assert other.admit(site, declared)["granted"]
    # It has not lost its place in the order: back in time, it comes before those who came later.
    other.end(site)
    timed.advance(29)
    assert not timed.new_run(site).admit(site, declared)["granted"]
    assert busy.admit(site, declared)["granted"]


def test_searches_through_an_account_hold_up_no_other_account(timed: TimedDatabase, site: str) -> None:
    declared = {"searches_per_account": 1, "searches": 2}
    ada, ada_again, bob, cleo = (timed.new_run(site) for _ in range(4))
    assert ada.admit(site, declared, account="ada")["granted"]
    assert ada_again.admit(site, declared, account="ada")["reason"] == "searches"
    assert bob.admit(site, declared, account="bob")["granted"]
    # The limit of the site as a whole is over all accounts.
    assert cleo.admit(site, declared, account="cleo")["reason"] == "searches"
    ada.end(site, account="ada")
    assert cleo.admit(site, declared, account="cleo")["granted"]


def test_a_free_place_of_an_account_wakes_a_run_that_waits_for_the_account_and_one_that_waits_for_the_site(
    timed: TimedDatabase, site: str
) -> None:
    declared = {"searches_per_account": 1, "searches": 2}
    ada, bob, cleo, ada_again = (timed.new_run(site) for _ in range(4))
    assert ada.admit(site, declared, account="ada")["granted"]
    assert bob.admit(site, declared, account="bob")["granted"]
    for run, account in ((cleo, "cleo"), (ada_again, "ada")):
        timed.advance(0.001)
        run.put_off(datetime.fromisoformat(run.admit(site, declared, account=account)["until"]))
    ada.end(site, account="ada")
    woken = {run.id: run for run in timed.claim()}
    assert woken[cleo.id].admit(site, declared, account="cleo")["granted"]
    # The site is full again. From now on this run waits for the site, not for its account.
    refused = woken[ada_again.id].admit(site, declared, account="ada")
    woken[ada_again.id].put_off(datetime.fromisoformat(refused["until"]))
    timed.advance(1)
    bob.end(site, account="bob")
    assert ada_again.run_after() == timed.now


def test_requests_through_an_account_hold_up_no_other_account(timed: TimedDatabase, site: str) -> None:
    declared = {"requests": 1, "quota": 1}
    run = timed.new_run(site)
    assert run.take(site, declared, account="ada")["granted"]
    assert not run.take(site, declared, account="ada")["granted"]
    assert run.take(site, declared, account="bob")["granted"]
    assert run.take(site, declared)["granted"]


# What is no question --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("requests", {"requests": 0}),
        ("requests", {"requests": None}),
        ("requests", {"requests": 1_000_001}),
        ("bucket", {"bucket": "another"}),
        ("bucket", {"bucket": ""}),
        ("site", {"site": "unknown", "bucket": "unknown"}),
        ("limits", {"limits": []}),
        ("limits", {"limits": "fast"}),
        *[
            (f"limits.{name}", {"limits": {name: value}})
            for name, value in [
                *product(["requests", "searches", "searches_per_account"], [0, -1, 1.5, "10", True, [5], 1e7]),
                *product(["period_seconds"], [0, -1, "60", {}, 1e9]),
                *product(["burst"], [0, 0.5, [1]]),
                *product(["min_delay_seconds"], [-1, "1", 1e9]),
                *product(["quota"], [0, 1.5, 1e10]),
                *product(["quota_period"], ["week", 1, ["day"]]),
                *product(["quota_timezone"], ["Mars/Olympus", "", 1]),
                *product(["speed"], [1, None]),
            ]
        ],
    ],
)
def test_a_take_names_the_field_that_is_wrong(timed: TimedDatabase, site: str, field: str, arguments: Row) -> None:
    run = timed.new_run(site)
    asked: Row = {"site": site, "account": None, "bucket": site, "requests": 1, "limits": {}} | arguments
    asked["limits"] = Jsonb(asked["limits"])
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=rf"^{field} "):
        timed.connection.execute(
            """
            select public.worker_take_permit(%(run_id)s, %(lease_token)s, %(site)s, %(account)s, %(bucket)s,
                                             %(requests)s, %(limits)s)
            """,
            asked | {"run_id": run.id, "lease_token": run.token},
        )


@pytest.mark.parametrize("nothing", [None, Jsonb(None), Jsonb({}), Jsonb({"requests": None, "quota_timezone": None})])
def test_limits_may_be_left_out(timed: TimedDatabase, site: str, nothing: Jsonb | None) -> None:
    run = timed.new_run(site)
    take: LiteralString = "select public.worker_take_permit(%s, %s, %s, null, %s, 1, %s) as answer"
    (taken,) = timed.connection.execute(take, [run.id, run.token, site, site, nothing]).fetchall()
    assert taken["answer"]["granted"]
    declared = nothing and Jsonb({site: nothing.obj})
    admit: LiteralString = "select worker.admit_site(%s, %s, null, %s) as answer"
    (admitted,) = timed.connection.execute(admit, [run.id, site, declared]).fetchall()
    assert admitted["answer"]["granted"]


@pytest.mark.parametrize(
    ("field", "observed"),
    [
        ("observed", [1]),
        ("observed", None),
        ("observed.speed", {"speed": 1}),
        *[
            (f"observed.{name}", {name: value})
            for name in ("retry_after_seconds", "remaining", "quota", "resets_in_seconds")
            for value in (-1, "soon", True, [1], 1e13)
        ],
    ],
)
def test_an_observation_names_the_field_that_is_wrong(
    timed: TimedDatabase, site: str, field: str, observed: Row
) -> None:
    run = timed.new_run(site)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=rf"^{field} "):
        run.observe(site, observed)


def test_who_has_lost_the_lease_takes_nothing(timed: TimedDatabase, site: str) -> None:
    run = timed.new_run(site)
    stale = Run(run.connection, run.id, uuid4())
    with pytest.raises(psycopg.ProgrammingError, match="lease_lost"):
        stale.take(site)
    with pytest.raises(psycopg.ProgrammingError, match="lease_lost"):
        stale.observe(site, {"remaining": 0})
    assert run.take(site)["granted"]


# Two at once ----------------------------------------------------------------------------------------------------


def test_two_take_the_last_permit_at_once(timed: TimedDatabase, site: str, pool: ThreadPoolExecutor) -> None:
    declared = {"quota": 2}
    one, other = timed.new_run(site), timed.new_run(site)
    assert one.take(site, declared)["granted"]
    with connect(timed.dsn) as first, connect(timed.dsn) as second:
        first.execute("begin")
        assert one.take(site, declared, on=first)["granted"]
        waiting = pool.submit(other.take, site, declared, on=second)
        assert answer_after(timed, first, waiting)["error_code"] == "quota_exceeded"


def test_two_take_the_last_place_at_once(timed: TimedDatabase, site: str, pool: ThreadPoolExecutor) -> None:
    declared = {"searches": 1}
    one, other = timed.new_run(site), timed.new_run(site)
    with connect(timed.dsn) as first, connect(timed.dsn) as second:
        first.execute("begin")
        assert one.admit(site, declared, account="ada", on=first)["granted"]
        waiting = pool.submit(other.admit, site, declared, account="bob", on=second)
        assert answer_after(timed, first, waiting)["reason"] == "searches"


@pytest.mark.parametrize("end", ["finish", "cancel"])
def test_a_take_that_meets_the_end_of_its_run(
    timed: TimedDatabase, site: str, pool: ThreadPoolExecutor, end: str
) -> None:
    run = timed.new_run(site)
    with connect(timed.dsn) as first, connect(timed.dsn) as second:
        first.execute("begin")
        assert run.take(site, {"quota": 5}, on=first)["granted"]
        answer_after(timed, first, pool.submit(getattr(run, end), on=second))
        assert not run.has_place(site)

    run = timed.new_run(site)
    with connect(timed.dsn) as first, connect(timed.dsn) as second:
        first.execute("begin")
        getattr(run, end)(on=first)
        waiting = pool.submit(run.take, site, {"quota": 5}, on=second)
        with pytest.raises(psycopg.ProgrammingError, match=r"lease_lost|cancelled"):
            answer_after(timed, first, waiting)


def test_a_rescue_passes_by_a_run_that_takes(timed: TimedDatabase, site: str) -> None:
    run = timed.new_run(site)
    run.expire()
    with connect(timed.dsn) as first:
        first.execute("begin")
        assert run.take(site, on=first)["granted"]
        timed.rescue()
        first.execute("commit")
    assert run.take(site)["granted"]
    timed.rescue()
    with pytest.raises(psycopg.ProgrammingError, match="lease_lost"):
        run.take(site)


ALL_AT_ONCE = {"requests": 1000, "period_seconds": 1, "searches": 3, "searches_per_account": 2}


def search_somehow(run: Run, sites: Sequence[str], chance: random.Random) -> int:
    """Ask for whatever a search asks for, in any order; return how much was granted."""
    granted = 0
    for _ in range(12):
        site, account = chance.choice(sites), chance.choice([None, "ada", "bob"])
        match chance.choice(["admit", "admit", "take", "take", "take", "page", "end"]):
            case "admit":
                granted += run.admit(site, ALL_AT_ONCE, account=account)["granted"]
            case "take":
                granted += run.take(site, ALL_AT_ONCE, account=account)["granted"]
            case "page":
                run.connection.execute("select worker.record_good_page(%s, %s, %s)", [run.id, site, account])
            case "end":
                run.end(site, chance.choice([None, "blocked", "rate_limited"]), account=account)
                # As if the pause were over.
                run.connection.execute(
                    "update worker.site_health set paused_until = worker.now() "
                    "where site = %s and account = %s and trips > 0",
                    [site, account or ""],
                )
    return granted


def test_all_of_it_at_once_without_a_deadlock(timed: TimedDatabase) -> None:
    sites = [timed.new_site() for _ in range(2)]
    timed.let_time_pass()
    timed.configure(inline_wait="0", permit_slack="0")

    def work(seed: int) -> int:
        chance = random.Random(seed)
        granted = 0
        with connect(timed.dsn) as connection:
            for _ in range(6):
                run = timed.new_run(*sites, on=connection)
                granted += search_somehow(run, sites, chance)
                match chance.choice(["cancel", "finish", "release", "expire", "put off"]):
                    case "put off":
                        run.put_off(datetime.now(UTC) + seconds(chance.choice([0, 60])))
                    case end:
                        getattr(run, end)()
        return granted

    with ThreadPoolExecutor(max_workers=12) as threads:
        assert sum(threads.map(work, range(12))) > 100


# Cost -----------------------------------------------------------------------------------------------------------


def test_a_take_reads_a_few_rows_however_many_there_are(timed: TimedDatabase, site: str) -> None:
    run = timed.new_run(site)
    declared = {"requests": 1000, "quota": 1000, "searches": 10, "searches_per_account": 5}
    with timed.connection.transaction(force_rollback=True):
        timed.connection.execute(
            "insert into worker.site_health (site, account) select %s, n::text from generate_series(1, 5000) as n",
            [site],
        )
        timed.connection.execute(
            "insert into worker.site_buckets (bucket, account) select %s, n::text from generate_series(1, 5000) as n",
            [site],
        )
        # Who waits elsewhere, through another account, or was due long ago.
        timed.connection.execute("alter table public.search_runs disable trigger user")
        timed.connection.execute(
            """
            insert into public.search_runs (user_id, kind, parameters, status, priority, position, fingerprint,
                                            created_at, updated_at, completed_at)
            select user_id, kind, parameters, 'success', 0, n, 'copy ' || n, created_at, updated_at, created_at
            from public.search_runs, generate_series(1, 3000) as n where id = %s
            """,
            [run.id],
        )
        timed.connection.execute(
            """
            insert into worker.site_waits (run_id, site, account, bucket, waiting_since, due_at, reason, message)
            select run.id, other.site, 'nobody', other.bucket, worker.now() - interval '1 day', other.due_at, 'rate', ''
            from public.search_runs as run,
                 (values ('one', 'elsewhere', worker.now()), (%(site)s, %(site)s, worker.now() - interval '1 hour'))
                     as other (site, bucket, due_at)
            where run.fingerprint like 'copy %%'
            """,
            {"site": site},
        )
        timed.connection.execute("analyze worker.site_health, worker.site_buckets, worker.site_waits")
        read: LiteralString = """
            select relname, (seq_tup_read + idx_tup_fetch)::integer as rows from pg_stat_xact_user_tables
            where relname in ('site_health', 'site_buckets', 'site_waits', 'site_searches', 'leases', 'bucket_limits',
                              'search_run_sites')
        """
        for ask in (
            lambda: run.admit(site, declared, account="17"),
            lambda: run.take(site, declared, account="17"),
            lambda: run.end(site, account="17"),
        ):
            before = Counter({row["relname"]: row["rows"] for row in timed.connection.execute(read)})
            ask()
            after = Counter({row["relname"]: row["rows"] for row in timed.connection.execute(read)})
            assert max((after - before).values()) < 20, after - before
