"""A site that fails is left alone by all workers, until one of them has tried it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from tests.support.queue import Row
from tests.support.site_limits import NOON, Limits, Run, answer_after, connect

MINUTE = 60
HOUR = 3600


@pytest.fixture
def site(limits: Limits) -> str:
    # The wait as such is not what these tests are about.
    limits.configure(max_site_wait="1 year")
    return limits.new_site()


def fail(
    limits: Limits, site: str, *error_codes: str | None, account: str | None = None, owner: UUID | None = None
) -> None:
    """Search the site once for each of the codes, with that end; by default each time another user."""
    for error_code in error_codes:
        run = limits.new_run(site, owner=owner)
        if error_code == "unverified":
            save_unreadable_page(run, site)
        run.end(site, error_code, account=account)
        run.finish()


def save_unreadable_page(run: Run, site: str) -> None:
    """Save a page of which nothing can be read."""
    run.connection.execute(
        """
        insert into worker.raw_collections (run_id, source, site, attempt, page_number, query, query_hash, payload,
                                            response_ms, calls_used, fetched_at, strategy, status)
        values (%s, 'test', %s, 1, 1, '{}', '', '{}', 1, 1, worker.now(), 'manual', 'failed')
        """,
        [run.id, site],
    )


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


# Whose failures count -------------------------------------------------------------------------------------------

CODES = ["blocked", "rate_limited", "unverified", "upstream", "timeout", "network"]


def may_search(limits: Limits, site: str, owner: UUID | None = None, account: str | None = None) -> bool:
    """Whether a user, by default one who has never searched, may search the site."""
    run = limits.new_run(site, owner=owner)
    granted: bool = run.admit(site, account=account)["granted"]
    run.end(site, "internal")
    run.finish()
    return granted


def test_a_run_counts_once_however_often_it_tries(limits: Limits, site: str) -> None:
    run = limits.new_run(site)
    for _ in range(10):
        run.end(site, "blocked")
    assert limits.shown(site)["state"] == "closed"
    assert limits.health(site)["consecutive_failures"] == 1
    assert limits.health(site)["success_rate"] == 0
    assert may_search(limits, site)


@pytest.mark.parametrize("error_code", CODES)
def test_one_user_alone_opens_no_breaker_and_is_paused_alone(limits: Limits, site: str, error_code: str) -> None:
    mallory = limits.new_user()
    fail(limits, site, *[error_code] * 20, owner=mallory)
    assert limits.shown(site)["state"] == "closed"
    assert may_search(limits, site)
    refused = limits.new_run(site, owner=mallory).admit(site)
    assert refused["reason"] == "paused"
    assert refused["message"].startswith("site paused for your searches until 2026-11-22 ")
    assert refused["message"].endswith(f" ({error_code})")
    assert may_search(limits, site, owner=mallory, account="mallory"), "through an account of his it is another matter"


@pytest.mark.parametrize("error_code", CODES)
def test_a_second_user_is_enough_to_open_it(limits: Limits, site: str, error_code: str) -> None:
    fail(limits, site, *[error_code] * 20, owner=limits.new_user())
    assert limits.shown(site)["state"] == "closed"
    fail(limits, site, *[error_code] * 3, owner=limits.new_user())
    assert limits.shown(site)["state"] == "open"
    assert not may_search(limits, site)


def test_how_many_of_one_user_count_may_be_changed(limits: Limits, site: str) -> None:
    with limits.connection.transaction(force_rollback=True):
        limits.connection.execute("update worker.breaker_rules set failures_per_user = 100")
        fail(limits, site, *["blocked"] * 3, owner=limits.new_user())
        assert limits.shown(site)["state"] == "open"


def test_the_pause_of_one_user_doubles_and_ends(limits: Limits, site: str) -> None:
    mallory = limits.new_user()
    fail(limits, site, *["blocked"] * 3, owner=mallory)
    for pause in (10, 20, 40, 80, 160, 320, 360, 360):
        run = limits.new_run(site, owner=mallory)
        assert run.admit(site)["retry_in_seconds"] == pause * MINUTE
        limits.advance(pause * MINUTE)
        assert run.admit(site)["granted"]
        run.end(site, "blocked")
        run.finish()


@pytest.mark.parametrize("who", ["himself", "somebody else"])
def test_anyones_success_ends_his_pause(limits: Limits, site: str, who: str) -> None:
    mallory = limits.new_user()
    running = limits.new_run(site, owner=mallory if who == "himself" else None)
    assert running.admit(site)["granted"]
    fail(limits, site, *["blocked"] * 3, owner=mallory)
    waiting = limits.new_run(site, owner=mallory)
    waiting.put_off(datetime.fromisoformat(waiting.admit(site)["until"]))
    running.end(site)
    assert waiting.run_after() == limits.now, "he need not wait for the rest of his pause"
    assert may_search(limits, site, owner=mallory)
    fail(limits, site, "blocked", "blocked", owner=mallory)
    assert may_search(limits, site, owner=mallory), "it counts from the beginning"


def test_one_user_does_not_keep_it_open(limits: Limits, site: str) -> None:
    mallory = limits.new_user()
    fail(limits, site, "blocked", "blocked", owner=mallory)
    fail(limits, site, "blocked")
    assert limits.health(site)["trips"] == 1
    limits.advance(10 * MINUTE)
    for _ in range(5):
        limits.advance(6 * HOUR)
        prober = limits.new_run(site, owner=mallory)
        assert prober.admit(site)["granted"]
        prober.end(site, "blocked")
        prober.finish()
        assert limits.health(site)["trips"] == 1
        # The next one tries at once.
        other = limits.new_run(site)
        assert other.admit(site)["granted"]
        other.release()
        limits.connection.execute("delete from public.search_runs where id = %s", [other.id])


def test_what_the_site_asks_for_itself_holds_for_everybody(limits: Limits, site: str) -> None:
    run = limits.new_run(site)
    run.end(site, "unverified", retry_after_seconds=90)
    refused = limits.new_run(site).admit(site)
    assert (refused["reason"], refused["retry_in_seconds"]) == ("paused", 90)


def test_a_search_that_finds_nothing_says_nothing(limits: Limits, site: str) -> None:
    for _ in range(20):
        run = limits.new_run(site)
        run.end(site, "unverified")
        run.finish()
    health = limits.health(site)
    assert (health["paused_until"], health["consecutive_failures"], health["success_rate"]) == (None, 0, None)
    assert limits.connection.execute("select from worker.site_failures where site = %s", [site]).rowcount == 0


def test_a_prober_that_finds_nothing_lets_the_next_one_try(limits: Limits, site: str) -> None:
    prober = prober_of(limits, site)
    prober.end(site, "unverified")
    assert limits.shown(site)["state"] == "half_open"
    assert limits.new_run(site).admit(site)["granted"]


def test_all_failures_through_an_account_count_as_it_is_its_users_own(limits: Limits, site: str) -> None:
    ada = limits.new_user()
    run = limits.new_run(site, owner=ada)
    for _ in range(5):
        run.end(site, "blocked", account="ada")
    assert limits.health(site, "ada")["paused_until"] is None
    fail(limits, site, "blocked", "blocked", owner=ada, account="ada")
    assert limits.new_run(site).admit(site, account="ada")["reason"] == "paused"
    assert limits.new_run(site).admit(site, account="bob")["granted"]


def test_what_is_counted_is_bounded_and_goes_with_its_user(limits: Limits, site: str) -> None:
    mallory = limits.new_user()
    fail(limits, site, *["blocked"] * 30, owner=mallory)
    fail(limits, site, "timeout")
    kept = "select cardinality(run_ids) as runs from worker.site_failures where site = %s order by 1"
    assert [row["runs"] for row in limits.connection.execute(kept, [site])] == [1, 20]
    limits.connection.execute("delete from auth.users where id = %s", [mallory])
    limits.connection.execute("select worker.delete_old_user_state('90 days')")
    assert [row["runs"] for row in limits.connection.execute(kept, [site])] == [1]


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
        limits.connection.execute("select worker.record_good_page(%s, %s, null)", [prober.id, site])
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
    limits.connection.execute("select worker.record_good_page(%s, %s, null)", [searching.id, site])
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
    limits.connection.execute("select worker.record_good_page(%s, %s, 'bob')", [prober.id, site])
    assert limits.shown(site)["state"] == "half_open"
    limits.connection.execute("select worker.record_good_page(%s, %s, 'ada')", [prober.id, site])
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
