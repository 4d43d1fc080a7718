"""A site that fails is left alone by all workers, until one of them has tried it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from tests.support.queue import Row
from tests.support.site_limits import NOON, Run, TimedDatabase, answer_after, connect

MINUTE = 60
HOUR = 3600


@pytest.fixture
def site(timed: TimedDatabase) -> str:
    # The wait as such is not what these tests are about.
    timed.configure(max_site_wait="1 year")
    return timed.new_site()


def fail(
    timed: TimedDatabase, site: str, *error_codes: str | None, account: str | None = None, owner: UUID | None = None
) -> None:
    """Search the site once for each of the codes, with that end; by default each time another user."""
    for error_code in error_codes:
        run = timed.new_run(site, owner=owner)
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


def trip(timed: TimedDatabase, site: str, account: str | None = None) -> None:
    """Open the site's breaker for ten minutes."""
    fail(timed, site, "blocked", "blocked", "blocked", account=account)


def prober_of(timed: TimedDatabase, site: str) -> Run:
    """Open the site's breaker, wait for its end, and let a run try the site."""
    trip(timed, site)
    timed.advance(10 * MINUTE)
    prober = timed.new_run(site)
    assert prober.admit(site)["granted"]
    assert timed.shown(site)["state"] == "half_open"
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
    timed: TimedDatabase, site: str, error_code: str, failures: int, pause: int
) -> None:
    fail(timed, site, *[error_code] * (failures - 1), None, *[error_code] * (failures - 1))
    assert timed.shown(site)["state"] == "closed"
    assert timed.new_run(site).admit(site)["granted"]
    fail(timed, site, error_code)
    assert timed.shown(site)["state"] == "open"
    refused = timed.new_run(site).admit(site)
    assert (refused["reason"], refused["retry_in_seconds"]) == ("paused", pause)


def test_it_holds_everyone_and_tells_until_when(timed: TimedDatabase, site: str) -> None:
    searching = timed.new_run(site)
    assert searching.admit(site)["granted"]
    trip(timed, site)
    for run in (timed.new_run(site), searching):
        refused = run.admit(site)
        assert refused["message"] == "site paused until 2026-11-22 12:10:00 UTC (blocked)"
        # Not all of them at once.
        assert datetime.fromisoformat(refused["until"]) >= NOON.replace(minute=10)
    timed.advance(9 * MINUTE)
    # Also between two requests.
    assert searching.take(site)["reason"] == "paused"
    assert searching.take(site, bucket=f"{site}:details")["reason"] == "paused"
    assert not searching.has_place(site)
    shown = timed.shown(site)
    assert (shown["state"], datetime.fromisoformat(shown["paused_until"])) == ("open", NOON.replace(minute=10))


@pytest.mark.parametrize(
    "error_code", ["invalid_parameters", "not_found", "unauthorized", "quota_exceeded", "internal", "worker_lost"]
)
def test_what_is_not_the_sites_failure_neither_trips_nor_resets(
    timed: TimedDatabase, site: str, error_code: str
) -> None:
    fail(timed, site, *[error_code] * 20)
    assert timed.shown(site)["state"] == "closed"
    assert (timed.health(site)["consecutive_failures"], timed.health(site)["success_rate"]) == (0, None)
    fail(timed, site, "blocked", "blocked", *[error_code] * 5, "blocked")
    assert timed.shown(site)["state"] == "open"


def test_failures_of_several_kinds_count_together(timed: TimedDatabase, site: str) -> None:
    fail(timed, site, "timeout", "upstream")
    assert timed.shown(site)["state"] == "closed"
    fail(timed, site, "rate_limited")
    assert timed.shown(site)["state"] == "open"


def test_a_rule_may_be_changed(timed: TimedDatabase, site: str) -> None:
    with timed.connection.transaction(force_rollback=True):
        timed.connection.execute("update worker.breaker_rules set failures = 1 where error_code = 'timeout'")
        timed.connection.execute("delete from worker.breaker_rules where error_code = 'blocked'")
        fail(timed, site, *["blocked"] * 10)
        assert timed.shown(site)["state"] == "closed"
        fail(timed, site, "timeout")
        assert timed.shown(site)["state"] == "open"


@pytest.mark.parametrize("error_code", ["rate_limited", "upstream", "quota_exceeded"])
def test_a_site_that_asks_to_be_left_alone_is_paused_at_once(timed: TimedDatabase, site: str, error_code: str) -> None:
    timed.new_run(site).end(site, error_code, retry_after_seconds=90)
    refused = timed.new_run(site).admit(site)
    assert (refused["reason"], refused["retry_in_seconds"]) == ("paused", 90)
    assert refused["message"] == f"site paused until 2026-11-22 12:01:30 UTC ({error_code})"
    # Longer, if it then asks for longer; never shorter, and not for ever.
    timed.new_run(site).end(site, error_code, retry_after_seconds=10)
    assert timed.health(site)["paused_until"] == NOON.replace(minute=1, second=30)
    timed.new_run(site).end(site, error_code, retry_after_seconds=1e9)
    assert timed.health(site)["paused_until"] == NOON.replace(day=23)


# Whose failures count -------------------------------------------------------------------------------------------

CODES = ["blocked", "rate_limited", "unverified", "upstream", "timeout", "network"]


def may_search(timed: TimedDatabase, site: str, owner: UUID | None = None, account: str | None = None) -> bool:
    """Whether a user, by default one who has never searched, may search the site."""
    run = timed.new_run(site, owner=owner)
    granted: bool = run.admit(site, account=account)["granted"]
    run.end(site, "internal")
    run.finish()
    return granted


def test_a_run_counts_once_however_often_it_tries(timed: TimedDatabase, site: str) -> None:
    run = timed.new_run(site)
    for _ in range(10):
        run.end(site, "blocked")
    assert timed.shown(site)["state"] == "closed"
    assert timed.health(site)["consecutive_failures"] == 1
    assert timed.health(site)["success_rate"] == 0
    assert may_search(timed, site)


@pytest.mark.parametrize("error_code", CODES)
def test_one_user_alone_opens_no_breaker_and_is_paused_alone(timed: TimedDatabase, site: str, error_code: str) -> None:
    mallory = timed.new_user()
    fail(timed, site, *[error_code] * 20, owner=mallory)
    assert timed.shown(site)["state"] == "closed"
    assert may_search(timed, site)
    refused = timed.new_run(site, owner=mallory).admit(site)
    assert refused["reason"] == "paused"
    assert refused["message"].startswith("site paused for your searches until 2026-11-22 ")
    assert refused["message"].endswith(f" ({error_code})")
    assert may_search(timed, site, owner=mallory, account="mallory"), "through an account of his it is another matter"


@pytest.mark.parametrize("error_code", CODES)
def test_a_second_user_is_enough_to_open_it(timed: TimedDatabase, site: str, error_code: str) -> None:
    fail(timed, site, *[error_code] * 20, owner=timed.new_user())
    assert timed.shown(site)["state"] == "closed"
    fail(timed, site, *[error_code] * 3, owner=timed.new_user())
    assert timed.shown(site)["state"] == "open"
    assert not may_search(timed, site)


def test_how_many_of_one_user_count_may_be_changed(timed: TimedDatabase, site: str) -> None:
    with timed.connection.transaction(force_rollback=True):
        timed.connection.execute("update worker.breaker_rules set failures_per_user = 100")
        fail(timed, site, *["blocked"] * 3, owner=timed.new_user())
        assert timed.shown(site)["state"] == "open"


def test_the_pause_of_one_user_doubles_and_ends(timed: TimedDatabase, site: str) -> None:
    mallory = timed.new_user()
    fail(timed, site, *["blocked"] * 3, owner=mallory)
    for pause in (10, 20, 40, 80, 160, 320, 360, 360):
        run = timed.new_run(site, owner=mallory)
        assert run.admit(site)["retry_in_seconds"] == pause * MINUTE
        timed.advance(pause * MINUTE)
        assert run.admit(site)["granted"]
        run.end(site, "blocked")
        run.finish()


@pytest.mark.parametrize("who", ["himself", "somebody else"])
def test_anyones_success_ends_his_pause(timed: TimedDatabase, site: str, who: str) -> None:
    mallory = timed.new_user()
    running = timed.new_run(site, owner=mallory if who == "himself" else None)
    assert running.admit(site)["granted"]
    fail(timed, site, *["blocked"] * 3, owner=mallory)
    waiting = timed.new_run(site, owner=mallory)
    waiting.put_off(datetime.fromisoformat(waiting.admit(site)["until"]))
    running.end(site)
    assert waiting.run_after() == timed.now, "he need not wait for the rest of his pause"
    assert may_search(timed, site, owner=mallory)
    fail(timed, site, "blocked", "blocked", owner=mallory)
    assert may_search(timed, site, owner=mallory), "it counts from the beginning"


def test_one_user_does_not_keep_it_open(timed: TimedDatabase, site: str) -> None:
    mallory = timed.new_user()
    fail(timed, site, "blocked", "blocked", owner=mallory)
    fail(timed, site, "blocked")
    assert timed.health(site)["trips"] == 1
    timed.advance(10 * MINUTE)
    for _ in range(5):
        timed.advance(6 * HOUR)
        prober = timed.new_run(site, owner=mallory)
        assert prober.admit(site)["granted"]
        prober.end(site, "blocked")
        prober.finish()
        assert timed.health(site)["trips"] == 1
        # The next one tries at once.
        other = timed.new_run(site)
        assert other.admit(site)["granted"]
        other.release()
        timed.connection.execute("delete from public.search_runs where id = %s", [other.id])


def test_what_the_site_asks_for_itself_holds_for_everybody(timed: TimedDatabase, site: str) -> None:
    run = timed.new_run(site)
    run.end(site, "unverified", retry_after_seconds=90)
    refused = timed.new_run(site).admit(site)
    assert (refused["reason"], refused["retry_in_seconds"]) == ("paused", 90)


def test_a_search_that_finds_nothing_says_nothing(timed: TimedDatabase, site: str) -> None:
    for _ in range(20):
        run = timed.new_run(site)
        run.end(site, "unverified")
        run.finish()
    health = timed.health(site)
    assert (health["paused_until"], health["consecutive_failures"], health["success_rate"]) == (None, 0, None)
    assert timed.connection.execute("select from worker.site_failures where site = %s", [site]).rowcount == 0


def test_a_prober_that_finds_nothing_lets_the_next_one_try(timed: TimedDatabase, site: str) -> None:
    prober = prober_of(timed, site)
    prober.end(site, "unverified")
    assert timed.shown(site)["state"] == "half_open"
    assert timed.new_run(site).admit(site)["granted"]


def test_all_failures_through_an_account_count_as_it_is_its_users_own(timed: TimedDatabase, site: str) -> None:
    ada = timed.new_user()
    run = timed.new_run(site, owner=ada)
    for _ in range(5):
        run.end(site, "blocked", account="ada")
    assert timed.health(site, "ada")["paused_until"] is None
    fail(timed, site, "blocked", "blocked", owner=ada, account="ada")
    assert timed.new_run(site).admit(site, account="ada")["reason"] == "paused"
    assert timed.new_run(site).admit(site, account="bob")["granted"]


def test_what_is_counted_is_bounded_and_goes_with_its_user(timed: TimedDatabase, site: str) -> None:
    mallory = timed.new_user()
    fail(timed, site, *["blocked"] * 30, owner=mallory)
    fail(timed, site, "timeout")
    kept = "select cardinality(run_ids) as runs from worker.site_failures where site = %s order by 1"
    assert [row["runs"] for row in timed.connection.execute(kept, [site])] == [1, 20]
    timed.connection.execute("delete from auth.users where id = %s", [mallory])
    timed.connection.execute("select worker.delete_old_user_state('90 days')")
    assert [row["runs"] for row in timed.connection.execute(kept, [site])] == [1]


# Half open ------------------------------------------------------------------------------------------------------


def test_one_at_a_time_tries_the_site(timed: TimedDatabase, site: str) -> None:
    searching = timed.new_run(site)
    searching.admit(site)
    prober = prober_of(timed, site)
    # Asked again, as after a lost answer, it is still the one.
    assert prober.admit(site)["granted"]
    assert prober.take(site)["granted"]
    assert timed.new_run(site).admit(site)["reason"] == "paused"
    assert searching.take(site)["reason"] == "paused"


@pytest.mark.parametrize("sign", ["page", "end"])
def test_it_closes_when_the_site_answers(timed: TimedDatabase, site: str, sign: str) -> None:
    prober = prober_of(timed, site)
    if sign == "page":
        timed.connection.execute("select worker.record_good_page(%s, %s, null)", [prober.id, site])
    else:
        prober.end(site)
    health = timed.health(site)
    assert (health["paused_until"], health["trips"], health["consecutive_failures"]) == (None, 0, 0)
    assert all(timed.new_run(site).admit(site)["granted"] for _ in range(3))
    # From the beginning: as many failures, as short a pause.
    trip(timed, site)
    assert timed.new_run(site).admit(site)["retry_in_seconds"] == 10 * MINUTE


@pytest.mark.parametrize("sign", ["page", "end"])
def test_whoever_waits_in_the_queue_comes_back_when_it_closes(timed: TimedDatabase, site: str, sign: str) -> None:
    prober = prober_of(timed, site)
    waiting, elsewhere = [timed.new_run(site) for _ in range(3)], timed.new_run(site)
    for run in waiting:
        run.put_off(datetime.fromisoformat(run.admit(site)["until"]))
    assert elsewhere.admit(site)["reason"] == "paused"
    timed.advance(5)
    if sign == "page":
        prober.note_page(site)
    else:
        prober.end(site)
    # All began to wait at once: whose turn is first does not matter.
    back_at = {run.run_after() for run in waiting}
    assert back_at == {timed.now + timedelta(seconds=place) for place in range(3)}
    assert elsewhere.run_after() is None


def test_a_good_page_of_a_search_from_before_does_not_close_it(timed: TimedDatabase, site: str) -> None:
    searching = timed.new_run(site)
    searching.admit(site)
    trip(timed, site)
    timed.connection.execute("select worker.record_good_page(%s, %s, null)", [searching.id, site])
    assert timed.shown(site)["state"] == "open"
    searching.end(site)
    assert timed.shown(site)["state"] == "open"


def test_it_opens_again_for_twice_as_long(timed: TimedDatabase, site: str) -> None:
    trip(timed, site)
    pauses = [10 * MINUTE]
    for _ in range(8):
        timed.set_clock(timed.health(site)["paused_until"])
        prober = timed.new_run(site)
        assert prober.admit(site)["granted"]
        prober.end(site, "blocked")
        pauses.append((timed.health(site)["paused_until"] - timed.now).total_seconds())
    doubled = [10 * MINUTE * 2**n for n in range(6)]
    assert pauses == [*doubled, 6 * HOUR, 6 * HOUR, 6 * HOUR]


def test_it_opens_again_when_the_same_run_fails_to_probe_it_twice(timed: TimedDatabase, site: str) -> None:
    prober = prober_of(timed, site)
    prober.end(site, "blocked")
    timed.set_clock(timed.health(site)["paused_until"])
    assert prober.admit(site)["granted"]
    prober.end(site, "blocked")
    assert timed.new_run(site).admit(site)["reason"] == "paused"


def test_failures_of_searches_from_before_do_not_double_the_pause(timed: TimedDatabase, site: str) -> None:
    searching = [timed.new_run(site) for _ in range(4)]
    for run in searching:
        run.admit(site)
    trip(timed, site)
    searching[0].end(site, "blocked")
    assert timed.new_run(site).admit(site)["retry_in_seconds"] == 10 * MINUTE
    timed.advance(10 * MINUTE)
    prober = timed.new_run(site)
    assert prober.admit(site)["granted"]
    # The prober decides.
    searching[1].end(site, "blocked")
    assert timed.shown(site)["state"] == "half_open"
    prober.end(site)
    assert timed.shown(site)["state"] == "closed"


def test_an_error_that_says_nothing_of_the_site_lets_the_next_one_try(timed: TimedDatabase, site: str) -> None:
    prober = prober_of(timed, site)
    prober.end(site, "invalid_parameters")
    assert timed.shown(site)["state"] == "half_open"
    second = timed.new_run(site)
    assert second.admit(site)["granted"]
    assert timed.new_run(site).admit(site)["reason"] == "paused"


@pytest.mark.parametrize("end", ["cancel", "finish", "release", "expire", "rescue"])
def test_a_prober_whose_run_is_over_does_not_leave_it_stuck(timed: TimedDatabase, site: str, end: str) -> None:
    second, third = timed.new_run(site), timed.new_run(site)
    prober = prober_of(timed, site)
    if end == "rescue":
        prober.expire()
        timed.rescue()
    else:
        getattr(prober, end)()
    assert second.admit(site)["granted"]
    assert third.admit(site)["reason"] == "paused"
    second.end(site)
    assert timed.shown(site)["state"] == "closed"


def test_a_prober_that_has_to_wait_lets_the_next_one_try(timed: TimedDatabase, site: str) -> None:
    once = {"requests": 1, "period_seconds": 61}
    prober = prober_of(timed, site)
    assert prober.take(site, once)["granted"]
    assert prober.take(site, once)["reason"] == "rate"
    assert timed.new_run(site).admit(site)["granted"]


def test_the_clock_may_jump(timed: TimedDatabase, site: str) -> None:
    trip(timed, site)
    timed.advance(-24 * HOUR)
    assert timed.new_run(site).admit(site)["retry_in_seconds"] == 10 * MINUTE
    timed.advance(10 * MINUTE)
    prober = timed.new_run(site)
    assert prober.admit(site)["granted"]
    timed.advance(24 * HOUR)
    assert timed.new_run(site).admit(site)["granted"], "a prober of yesterday tries nothing any more"


# Accounts -------------------------------------------------------------------------------------------------------


def test_one_accounts_pause_holds_up_no_other(timed: TimedDatabase, site: str) -> None:
    trip(timed, site, account="ada@example")
    assert timed.new_run(site).admit(site, account="ada@example")["reason"] == "paused"
    assert timed.new_run(site).admit(site, account="bob")["granted"]
    assert timed.new_run(site).take(site, account="bob")["granted"]
    shown = timed.shown(site)
    # The worst of them counts; whose they are is nobody's business.
    assert (shown["state"], shown["account_count"]) == ("open", 2)
    assert "ada@example" not in str(shown)

    timed.advance(10 * MINUTE)
    prober = timed.new_run(site)
    assert prober.admit(site, account="ada@example")["granted"]
    timed.connection.execute("select worker.record_good_page(%s, %s, 'bob')", [prober.id, site])
    assert timed.shown(site)["state"] == "half_open"
    timed.connection.execute("select worker.record_good_page(%s, %s, 'ada@example')", [prober.id, site])
    assert timed.shown(site)["state"] == "closed"


# Waiting --------------------------------------------------------------------------------------------------------


def test_a_run_waits_for_a_site_so_long_and_no_longer(timed: TimedDatabase, site: str) -> None:
    timed.configure(max_site_wait="1 hour")
    run = timed.new_run(site)
    trip(timed, site)
    for pause in (10, 20):
        assert run.admit(site)["retry_in_seconds"] == pause * MINUTE
        timed.advance(pause * MINUTE)
        prober = timed.new_run(site)
        assert prober.admit(site)["granted"]
        prober.end(site, "blocked")
    failed = {
        "granted": False,
        "error_code": "blocked",
        "message": "site paused until 2026-11-22 13:10:00 UTC (blocked)",
    }
    assert [run.admit(site) for _ in range(2)] == [failed, failed]
    # Who begins to wait now may.
    assert timed.new_run(site).admit(site)["reason"] == "paused"


def test_who_comes_back_early_has_not_waited_for_the_rest(timed: TimedDatabase, site: str) -> None:
    timed.configure(max_site_wait="15 minutes")
    run = timed.new_run(site)
    trip(timed, site)
    # As after lost answers.
    assert [run.admit(site)["retry_in_seconds"] for _ in range(5)] == [10 * MINUTE] * 5
    timed.advance(MINUTE)
    assert run.admit(site)["retry_in_seconds"] == 9 * MINUTE


def test_those_that_wait_do_not_all_come_back_at_once(timed: TimedDatabase, site: str) -> None:
    trip(timed, site)
    answers: list[Row] = []
    for _ in range(3):
        answers.append(timed.new_run(site).admit(site))
        timed.advance(0.001)
    assert [round(answer["retry_in_seconds"]) for answer in answers] == [600, 601, 602]


# Two at once ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["admit", "take"])
def test_two_try_the_site_at_once(timed: TimedDatabase, site: str, pool: ThreadPoolExecutor, way: str) -> None:
    trip(timed, site)
    timed.advance(10 * MINUTE)
    one, other = timed.new_run(site), timed.new_run(site)
    with connect(timed.dsn) as first, connect(timed.dsn) as second:
        first.execute("begin")
        assert getattr(one, way)(site, on=first)["granted"]
        waiting = pool.submit(getattr(other, way), site, on=second)
        assert answer_after(timed, first, waiting)["reason"] == "paused"


def test_a_prober_that_ends_as_another_asks(timed: TimedDatabase, site: str, pool: ThreadPoolExecutor) -> None:
    prober, other = prober_of(timed, site), timed.new_run(site)
    with connect(timed.dsn) as first, connect(timed.dsn) as second:
        first.execute("begin")
        prober.end(site, on=first)
        assert answer_after(timed, first, pool.submit(other.admit, site, on=second))["granted"]


def test_a_prober_that_is_cancelled_as_another_asks(timed: TimedDatabase, site: str, pool: ThreadPoolExecutor) -> None:
    prober, other = prober_of(timed, site), timed.new_run(site)
    with connect(timed.dsn) as first, connect(timed.dsn) as second:
        first.execute("begin")
        prober.cancel(on=first)
        assert answer_after(timed, first, pool.submit(other.admit, site, on=second))["granted"]
