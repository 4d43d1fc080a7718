"""A site that fails is left alone by all workers, until one of them has tried it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from tests.helpers import Row
from tests.integration.limits import NOON, Limits, Run, answer_after, connect

MINUTE = 60
HOUR = 3600


@pytest.fixture
def site(limits: Limits) -> str:
    # The wait as such is not what these tests are about.
    limits.configure(max_site_wait="1 year")
    return limits.new_site()


def fail(limits: Limits, site: str, *error_codes: str | None, account: str | None = None) -> None:
    """Search the site once for each of the codes, with that end."""
    for error_code in error_codes:
        limits.new_run(site).end(site, error_code, account=account)


def trip(limits: Limits, site: str, account: str | None = None) -> None:
    """Open the site's breaker for ten minutes."""
    fail(limits, site, "blocked", "blocked", "blocked", account=account)


def prober_of(limits: Limits, site: str) -> Run:
    """Open the site's breaker, wait for its end, and let a run try the site."""
    trip(limits, site)
    limits.advance(10 * MINUTE)
    prober = limits.new_run(site)
    assert prober.admit(site)["granted"]
    assert limits.shown(site)["state"] == "half_open"
    return prober


# Opening --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error_code", "failures", "pause"),
    [
        ("blocked", 3, 10 * MINUTE),
        ("rate_limited", 2, MINUTE),
        ("unverified", 3, 30 * MINUTE),
        ("upstream", 5, 2 * MINUTE),
        ("timeout", 5, 2 * MINUTE),
        ("network", 5, 2 * MINUTE),
    ],
)
def test_it_opens_after_so_many_failures_in_a_row(
    limits: Limits, site: str, error_code: str, failures: int, pause: int
) -> None:
    fail(limits, site, *[error_code] * (failures - 1), None, *[error_code] * (failures - 1))
    assert limits.shown(site)["state"] == "closed"
    assert limits.new_run(site).admit(site)["granted"]
    fail(limits, site, error_code)
    assert limits.shown(site)["state"] == "open"
    refused = limits.new_run(site).admit(site)
    assert (refused["reason"], refused["retry_in_seconds"]) == ("paused", pause)


def test_it_holds_everyone_and_tells_until_when(limits: Limits, site: str) -> None:
    searching = limits.new_run(site)
    assert searching.admit(site)["granted"]
    trip(limits, site)
    for run in (limits.new_run(site), searching):
        refused = run.admit(site)
        assert refused["message"] == "site paused until 2026-11-22 12:10:00 UTC (blocked)"
        # Not all of them at once.
        assert datetime.fromisoformat(refused["until"]) >= NOON.replace(minute=10)
    limits.advance(9 * MINUTE)
    # Also between two requests.
    assert searching.take(site)["reason"] == "paused"
    assert searching.take(site, bucket=f"{site}:details")["reason"] == "paused"
    assert not searching.has_place(site)
    shown = limits.shown(site)
    assert (shown["state"], datetime.fromisoformat(shown["paused_until"])) == ("open", NOON.replace(minute=10))


@pytest.mark.parametrize(
    "error_code", ["invalid_parameters", "not_found", "unauthorized", "quota_exceeded", "internal", "worker_lost"]
)
def test_what_is_not_the_sites_failure_neither_trips_nor_resets(limits: Limits, site: str, error_code: str) -> None:
    fail(limits, site, *[error_code] * 20)
    assert limits.shown(site)["state"] == "closed"
    assert (limits.health(site)["consecutive_failures"], limits.health(site)["success_rate"]) == (0, None)
    fail(limits, site, "blocked", "blocked", *[error_code] * 5, "blocked")
    assert limits.shown(site)["state"] == "open"


def test_failures_of_several_kinds_count_together(limits: Limits, site: str) -> None:
    fail(limits, site, "timeout", "upstream")
    assert limits.shown(site)["state"] == "closed"
    fail(limits, site, "rate_limited")
    assert limits.shown(site)["state"] == "open"


def test_a_rule_may_be_changed(limits: Limits, site: str) -> None:
    with limits.connection.transaction(force_rollback=True):
        limits.connection.execute("update worker.breaker_rules set failures = 1 where error_code = 'timeout'")
        limits.connection.execute("delete from worker.breaker_rules where error_code = 'blocked'")
        fail(limits, site, *["blocked"] * 10)
        assert limits.shown(site)["state"] == "closed"
        fail(limits, site, "timeout")
        assert limits.shown(site)["state"] == "open"


@pytest.mark.parametrize("error_code", ["rate_limited", "upstream", "quota_exceeded"])
def test_a_site_that_asks_to_be_left_alone_is_paused_at_once(limits: Limits, site: str, error_code: str) -> None:
    limits.new_run(site).end(site, error_code, retry_after_seconds=90)
    refused = limits.new_run(site).admit(site)
    assert (refused["reason"], refused["retry_in_seconds"]) == ("paused", 90)
    assert refused["message"] == f"site paused until 2026-11-22 12:01:30 UTC ({error_code})"
    # Longer, if it then asks for longer; never shorter, and not for ever.
    limits.new_run(site).end(site, error_code, retry_after_seconds=10)
    assert limits.health(site)["paused_until"] == NOON.replace(minute=1, second=30)
    limits.new_run(site).end(site, error_code, retry_after_seconds=1e9)
    assert limits.health(site)["paused_until"] == NOON.replace(day=23)


# Half open ------------------------------------------------------------------------------------------------------


def test_one_at_a_time_tries_the_site(limits: Limits, site: str) -> None:
    searching = limits.new_run(site)
    searching.admit(site)
    prober = prober_of(limits, site)
    # Asked again, as after a lost answer, it is still the one.
    assert prober.admit(site)["granted"]
    assert prober.take(site)["granted"]
    assert limits.new_run(site).admit(site)["reason"] == "paused"
    assert searching.take(site)["reason"] == "paused"


@pytest.mark.parametrize("sign", ["page", "end"])
def test_it_closes_when_the_site_answers(limits: Limits, site: str, sign: str) -> None:
    prober = prober_of(limits, site)
    if sign == "page":
        limits.connection.execute("select worker.note_page(%s, %s, null)", [prober.id, site])
    else:
        prober.end(site)
    health = limits.health(site)
    assert (health["paused_until"], health["trips"], health["consecutive_failures"]) == (None, 0, 0)
    assert all(limits.new_run(site).admit(site)["granted"] for _ in range(3))
    # From the beginning: as many failures, as short a pause.
    trip(limits, site)
    assert limits.new_run(site).admit(site)["retry_in_seconds"] == 10 * MINUTE


@pytest.mark.parametrize("sign", ["page", "end"])
def test_whoever_waits_in_the_queue_comes_back_when_it_closes(limits: Limits, site: str, sign: str) -> None:
    prober = prober_of(limits, site)
    waiting, elsewhere = [limits.new_run(site) for _ in range(3)], limits.new_run(site)
    for run in waiting:
        run.put_off(datetime.fromisoformat(run.admit(site)["until"]))
    assert elsewhere.admit(site)["reason"] == "paused"
    limits.advance(5)
    if sign == "page":
        prober.note_page(site)
    else:
        prober.end(site)
    # All began to wait at once: whose turn is first does not matter.
    back_at = {run.run_after() for run in waiting}
    assert back_at == {limits.now + timedelta(seconds=place) for place in range(3)}
    assert elsewhere.run_after() is None


def test_a_good_page_of_a_search_from_before_does_not_close_it(limits: Limits, site: str) -> None:
    searching = limits.new_run(site)
    searching.admit(site)
    trip(limits, site)
    limits.connection.execute("select worker.note_page(%s, %s, null)", [searching.id, site])
    assert limits.shown(site)["state"] == "open"
    searching.end(site)
    assert limits.shown(site)["state"] == "open"


def test_it_opens_again_for_twice_as_long(limits: Limits, site: str) -> None:
    trip(limits, site)
    pauses = [10 * MINUTE]
    for _ in range(8):
        limits.set_clock(limits.health(site)["paused_until"])
        prober = limits.new_run(site)
        assert prober.admit(site)["granted"]
        prober.end(site, "blocked")
        pauses.append((limits.health(site)["paused_until"] - limits.now).total_seconds())
    doubled = [10 * MINUTE * 2**n for n in range(6)]
    assert pauses == [*doubled, 6 * HOUR, 6 * HOUR, 6 * HOUR]


def test_failures_of_searches_from_before_do_not_double_the_pause(limits: Limits, site: str) -> None:
    searching = [limits.new_run(site) for _ in range(4)]
    for run in searching:
        run.admit(site)
    trip(limits, site)
    searching[0].end(site, "blocked")
    assert limits.new_run(site).admit(site)["retry_in_seconds"] == 10 * MINUTE
    limits.advance(10 * MINUTE)
    prober = limits.new_run(site)
    assert prober.admit(site)["granted"]
    # The prober decides.
    searching[1].end(site, "blocked")
    assert limits.shown(site)["state"] == "half_open"
    prober.end(site)
    assert limits.shown(site)["state"] == "closed"


def test_an_error_that_says_nothing_of_the_site_lets_the_next_one_try(limits: Limits, site: str) -> None:
    prober = prober_of(limits, site)
    prober.end(site, "invalid_parameters")
    assert limits.shown(site)["state"] == "half_open"
    second = limits.new_run(site)
    assert second.admit(site)["granted"]
    assert limits.new_run(site).admit(site)["reason"] == "paused"


@pytest.mark.parametrize("end", ["cancel", "finish", "release", "expire", "rescue"])
def test_a_prober_whose_run_is_over_does_not_leave_it_stuck(limits: Limits, site: str, end: str) -> None:
    second, third = limits.new_run(site), limits.new_run(site)
    prober = prober_of(limits, site)
    if end == "rescue":
        prober.expire()
        limits.rescue()
    else:
        getattr(prober, end)()
    assert second.admit(site)["granted"]
    assert third.admit(site)["reason"] == "paused"
    second.end(site)
    assert limits.shown(site)["state"] == "closed"


def test_a_prober_that_has_to_wait_lets_the_next_one_try(limits: Limits, site: str) -> None:
    once = {"requests": 1, "period_seconds": 61}
    prober = prober_of(limits, site)
    assert prober.take(site, once)["granted"]
    assert prober.take(site, once)["reason"] == "rate"
    assert limits.new_run(site).admit(site)["granted"]


def test_the_clock_may_jump(limits: Limits, site: str) -> None:
    trip(limits, site)
    limits.advance(-24 * HOUR)
    assert limits.new_run(site).admit(site)["retry_in_seconds"] == 10 * MINUTE
    limits.advance(10 * MINUTE)
    prober = limits.new_run(site)
    assert prober.admit(site)["granted"]
    limits.advance(24 * HOUR)
    assert limits.new_run(site).admit(site)["granted"], "a prober of yesterday tries nothing any more"


# Accounts -------------------------------------------------------------------------------------------------------


def test_one_accounts_pause_holds_up_no_other(limits: Limits, site: str) -> None:
    trip(limits, site, account="ada")
    assert limits.new_run(site).admit(site, account="ada")["reason"] == "paused"
    assert limits.new_run(site).admit(site, account="bob")["granted"]
    assert limits.new_run(site).take(site, account="bob")["granted"]
    shown = limits.shown(site)
    # The worst of them counts; whose they are is nobody's business.
    assert (shown["state"], shown["account_count"]) == ("open", 2)
    assert "ada" not in str(shown)

    limits.advance(10 * MINUTE)
    prober = limits.new_run(site)
    assert prober.admit(site, account="ada")["granted"]
    limits.connection.execute("select worker.note_page(%s, %s, 'bob')", [prober.id, site])
    assert limits.shown(site)["state"] == "half_open"
    limits.connection.execute("select worker.note_page(%s, %s, 'ada')", [prober.id, site])
    assert limits.shown(site)["state"] == "closed"


# Waiting --------------------------------------------------------------------------------------------------------


def test_a_run_waits_for_a_site_so_long_and_no_longer(limits: Limits, site: str) -> None:
    limits.configure(max_site_wait="1 hour")
    run = limits.new_run(site)
    trip(limits, site)
    for pause in (10, 20):
        assert run.admit(site)["retry_in_seconds"] == pause * MINUTE
        limits.advance(pause * MINUTE)
        prober = limits.new_run(site)
        assert prober.admit(site)["granted"]
        prober.end(site, "blocked")
    failed = {
        "granted": False,
        "error_code": "blocked",
        "message": "site paused until 2026-11-22 13:10:00 UTC (blocked)",
    }
    assert [run.admit(site) for _ in range(2)] == [failed, failed]
    # Who begins to wait now may.
    assert limits.new_run(site).admit(site)["reason"] == "paused"


def test_who_comes_back_early_has_not_waited_for_the_rest(limits: Limits, site: str) -> None:
    limits.configure(max_site_wait="15 minutes")
    run = limits.new_run(site)
    trip(limits, site)
    # As after lost answers.
    assert [run.admit(site)["retry_in_seconds"] for _ in range(5)] == [10 * MINUTE] * 5
    limits.advance(MINUTE)
    assert run.admit(site)["retry_in_seconds"] == 9 * MINUTE


def test_those_that_wait_do_not_all_come_back_at_once(limits: Limits, site: str) -> None:
    trip(limits, site)
    answers: list[Row] = []
    for _ in range(3):
        answers.append(limits.new_run(site).admit(site))
        limits.advance(0.001)
    assert [round(answer["retry_in_seconds"]) for answer in answers] == [600, 601, 602]


# Two at once ----------------------------------------------------------------------------------------------------


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield pool


@pytest.mark.parametrize("way", ["admit", "take"])
def test_two_try_the_site_at_once(limits: Limits, site: str, pool: ThreadPoolExecutor, way: str) -> None:
    trip(limits, site)
    limits.advance(10 * MINUTE)
    one, other = limits.new_run(site), limits.new_run(site)
    with connect(limits.dsn) as first, connect(limits.dsn) as second:
        first.execute("begin")
        assert getattr(one, way)(site, on=first)["granted"]
        waiting = pool.submit(getattr(other, way), site, on=second)
        assert answer_after(limits, first, waiting)["reason"] == "paused"


def test_a_prober_that_ends_as_another_asks(limits: Limits, site: str, pool: ThreadPoolExecutor) -> None:
    prober, other = prober_of(limits, site), limits.new_run(site)
    with connect(limits.dsn) as first, connect(limits.dsn) as second:
        first.execute("begin")
        prober.end(site, on=first)
        assert answer_after(limits, first, pool.submit(other.admit, site, on=second))["granted"]


def test_a_prober_that_is_cancelled_as_another_asks(limits: Limits, site: str, pool: ThreadPoolExecutor) -> None:
    prober, other = prober_of(limits, site), limits.new_run(site)
    with connect(limits.dsn) as first, connect(limits.dsn) as second:
        first.execute("begin")
        prober.cancel(on=first)
        assert answer_after(limits, first, pool.submit(other.admit, site, on=second))["granted"]
