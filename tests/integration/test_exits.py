"""Through which exit a site is asked: the choice, its pace, its breaker, and what happens after a block."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import LiteralString

import psycopg
import pytest

from tests.support.queue import Row
from tests.support.site_limits import Run, TimedDatabase, answer_after, connect

MINUTE = 60
PACE: Row = {"min_delay_seconds": 2}
EXITS = ("a", "b", "c")
GATEWAY: Row = {"name": "pool", "is_rotating": True, "requests_per_minute": 60}


@pytest.fixture
def site(timed: TimedDatabase) -> str:
    timed.configure(max_site_wait="1 year", exploration=0)
    return timed.new_site()


def begun(timed: TimedDatabase, site: str, *exits: str | Row, limits: Row | None = None) -> tuple[Run, str]:
    """A run that searches the site, and the exit that it uses."""
    run = timed.new_run(site)
    answer = run.admit(site, limits, exits=exits)
    assert answer["granted"], answer
    return run, answer["exit"]


def pause(timed: TimedDatabase, site: str, *exits: str, seconds: float = 10 * MINUTE) -> None:
    """Pause the exits at the site."""
    for name in exits:
        timed.connection.execute(
            "insert into worker.site_health (site, exit, paused_until, paused_by, updated_at)"
            " values (%s, %s, worker.now() + make_interval(secs => %s), 'blocked', worker.now())"
            " on conflict (site, account, exit) do update set paused_until = excluded.paused_until,"
            " paused_by = 'blocked', prober_run_id = null",
            [site, name, seconds],
        )


def save_page(run: Run, site: str) -> None:
    """Save a page of the site, so that its search has been answered."""
    run.connection.execute(
        """
        insert into worker.raw_collections (run_id, source, site, attempt, page_number, query, query_hash, payload,
                                            response_ms, calls_used, fetched_at, strategy, status)
        values (%s, 'test', %s, 1, 1, '{}', '', '{}', 1, 1, worker.now(), 'manual', 'completed')
        """,
        [run.id, site],
    )
    run.note_page(site)


def events(run: Run) -> list[Row]:
    """What the run says of the exits that it has left."""
    query: LiteralString = "select data from public.run_events where run_id = %s and event = 'exit_left' order by id"
    return [row["data"] for row in run.connection.execute(query, [run.id])]


# The choice ---------------------------------------------------------------------------------------------------------


def test_searches_are_spread_over_the_exits(timed: TimedDatabase, site: str) -> None:
    used = Counter(begun(timed, site, *EXITS)[1] for _ in range(6))
    assert used == {"a": 2, "b": 2, "c": 2}


def test_a_heavier_exit_gets_more(timed: TimedDatabase, site: str) -> None:
    used = Counter(begun(timed, site, {"name": "a", "weight": 3}, "b")[1] for _ in range(8))
    assert used == {"a": 6, "b": 2}


def test_searches_one_after_another_take_turns(timed: TimedDatabase, site: str) -> None:
    used = []
    for _ in range(6):
        run, via = begun(timed, site, *EXITS)
        run.take(site, PACE, exits=EXITS)
        run.end(site)
        run.finish()
        timed.advance(3)
        used.append(via)
    assert Counter(used) == {"a": 2, "b": 2, "c": 2}


def test_a_search_keeps_its_exit_while_that_works(timed: TimedDatabase, site: str) -> None:
    run, via = begun(timed, site, *EXITS)
    for _ in range(3):
        answer = run.take(site, PACE, exits=EXITS)
        assert (answer["granted"], answer["exit"]) == (True, via)
        timed.advance(2)


def test_it_keeps_it_across_a_wait_where_the_worker_has_it(timed: TimedDatabase, site: str) -> None:
    begun(timed, site, *EXITS)
    run, via = begun(timed, site, *EXITS)
    assert via == "b"
    run.release()
    (again,) = timed.claim(1)
    assert again.id == run.id
    assert again.admit(site, exits=EXITS)["exit"] == "b"
    again.release()
    (again,) = timed.claim(1)
    assert again.admit(site, exits=("a", "c"))["exit"] == "c"


def test_a_paused_exit_is_left_between_two_requests(timed: TimedDatabase, site: str) -> None:
    run, via = begun(timed, site, *EXITS)
    assert via == "a"
    pause(timed, site, "a")
    assert run.take(site, PACE, exits=EXITS)["exit"] == "b"
    assert run.take(site, PACE, exits=EXITS)["exit"] == "b"
    assert events(run) == [{"left": "a", "exit": "b", "error_code": "paused"}]


def test_a_site_is_paused_when_all_of_its_exits_are(timed: TimedDatabase, site: str) -> None:
    run, _ = begun(timed, site, *EXITS)
    pause(timed, site, "a", "b")
    assert timed.shown(site)["state"] == "open"  # c was never used
    run.end(site)
    run.finish()
    run, via = begun(timed, site, *EXITS)
    assert via == "c"
    assert timed.shown(site)["state"] == "closed"
    pause(timed, site, "c", seconds=5 * MINUTE)
    refused = timed.new_run(site).admit(site, exits=EXITS)
    assert (refused["granted"], refused["reason"], refused["retry_in_seconds"]) == (False, "paused", 5 * MINUTE)
    assert run.take(site, PACE, exits=EXITS)["reason"] == "paused"
    assert timed.shown(site)["state"] == "open"
    timed.advance(5 * MINUTE)
    assert begun(timed, site, *EXITS)[1] == "c"


def test_an_exit_of_no_living_worker_does_not_count(timed: TimedDatabase, site: str) -> None:
    """Its row says that it is not paused, and nobody can use it."""
    begun(timed, site, "gone")[0].end(site)
    pause(timed, site, "a")
    assert timed.shown(site)["state"] == "closed"
    timed.connection.execute(
        "insert into worker.workers (worker_id, version, sites, limits, concurrency, exits, started_at, seen_at)"
        " values (%s, '1', '{}', '{}', 1, '{a}', worker.now(), worker.now())",
        [site],
    )
    try:
        assert timed.shown(site)["state"] == "open"
    finally:
        timed.connection.execute("delete from worker.workers where worker_id = %s", [site])


def test_workers_with_other_exits_go_on(timed: TimedDatabase, site: str) -> None:
    pause(timed, site, "a")
    assert not timed.new_run(site).admit(site, exits=["a"])["granted"]
    assert timed.new_run(site).admit(site, exits=["b"])["granted"]
    assert timed.new_run(site).admit(site)["granted"]


@pytest.mark.parametrize(
    "exits",
    [[], {}, "a", [{"name": "A"}], [{"name": "a"}, {"name": "a"}], [{"weight": 1}], [{"name": "a", "weight": 0}],
     [{"name": str(n)} for n in range(101)]],
)  # fmt: skip
def test_wrong_exits_are_refused(timed: TimedDatabase, site: str, exits: list[Row]) -> None:
    run = timed.new_run(site)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="exits must be"):
        timed.connection.execute("select worker.read_exits(%s)", [psycopg.types.json.Jsonb(exits)])
    run.finish()


# Pace ---------------------------------------------------------------------------------------------------------------


def test_each_exit_has_the_pace_of_the_site(timed: TimedDatabase, site: str) -> None:
    for name in EXITS:
        run, via = begun(timed, site, *EXITS)
        assert via == name
        assert run.take(site, PACE, exits=EXITS)["wait_seconds"] == 0
    run, via = begun(timed, site, *EXITS)
    assert (via, run.take(site, PACE, exits=EXITS)["wait_seconds"]) == ("a", pytest.approx(2.1))


def test_what_is_not_counted_by_exit_has_one_pace(timed: TimedDatabase, site: str) -> None:
    limits = PACE | {"per_exit": False}
    for n in range(3):
        run, _ = begun(timed, site, *EXITS)
        assert run.take(site, limits, exits=EXITS)["wait_seconds"] == pytest.approx(2.1 * n)


def test_the_operator_caps_all_exits_together(timed: TimedDatabase, site: str) -> None:
    timed.override(site, total_requests=60, period_seconds=60)
    waits = []
    for _ in range(3):
        run, _ = begun(timed, site, *EXITS)
        waits.append(run.take(site, {}, exits=EXITS)["wait_seconds"])
    assert waits == pytest.approx([0, 1, 2], abs=0.05)


def test_searches_at_once_are_limited_for_each_exit(timed: TimedDatabase, site: str) -> None:
    limits: Row = {"searches": 1}
    assert {begun(timed, site, *EXITS, limits=limits)[1] for _ in range(3)} == set(EXITS)
    refused = timed.new_run(site).admit(site, limits, exits=EXITS)
    assert refused["reason"] == "searches"
    assert refused["message"].startswith("3 of 3 concurrent searches")


def test_a_pause_that_the_site_asks_of_one_exit(timed: TimedDatabase, site: str) -> None:
    run, via = begun(timed, site, *EXITS)
    run.observe(site, {"retry_after_seconds": 600}, exit_name=via)
    assert run.take(site, PACE, exits=EXITS)["exit"] == "b"
    assert begun(timed, site, *EXITS)[1] == "c"


def test_a_run_waits_for_the_pace_of_its_own_exit(timed: TimedDatabase, site: str) -> None:
    """Those that wait for another exit are not ahead of it."""
    slow: Row = {"min_delay_seconds": 60}
    first, _ = begun(timed, site, "a")
    first.take(site, slow, exits=["a"])
    second, _ = begun(timed, site, "a")
    assert second.take(site, slow, exits=["a"])["reason"] == "rate"
    other, _ = begun(timed, site, "b")
    assert other.take(site, slow, exits=["b"])["wait_seconds"] == 0


# After a refusal ----------------------------------------------------------------------------------------------------


def test_a_refusal_pauses_the_exit_and_not_the_site(timed: TimedDatabase, site: str) -> None:
    run, via = begun(timed, site, *EXITS)
    answer = run.leave(site, via, EXITS)
    assert (answer["granted"], answer["exit"]) == (True, "b")
    assert run.take(site, PACE, exits=EXITS)["exit"] == "b"
    assert timed.health(site, exit_name="a")["paused_by"] == "blocked"
    assert timed.shown(site)["state"] == "closed"
    assert events(run) == [{"left": "a", "exit": "b", "error_code": "blocked", "message": "refused"}]
    assert {begun(timed, site, *EXITS)[1] for _ in range(4)} == {"b", "c"}


def test_a_repeated_report_counts_once(timed: TimedDatabase, site: str) -> None:
    run, via = begun(timed, site, *EXITS)
    assert run.leave(site, via, EXITS) == run.leave(site, via, EXITS)
    assert len(events(run)) == 1
    assert timed.health(site, exit_name="a")["trips"] == 1


def test_a_search_that_all_exits_have_refused_waits(timed: TimedDatabase, site: str) -> None:
    run, via = begun(timed, site, "a", "b")
    assert run.leave(site, via, ["a", "b"])["exit"] == "b"
    save_page(run, site)
    timed.advance(MINUTE)
    waiting = run.leave(site, "b", ["a", "b"])
    assert (waiting["granted"], waiting["reason"], waiting["retry_in_seconds"]) == (False, "paused", 9 * MINUTE)
    assert waiting == run.leave(site, "b", ["a", "b"]) | {"until": waiting["until"]}
    assert "exit" not in events(run)[-1]
    assert not run.has_place(site)


def test_a_dead_exit_is_told_apart_from_a_block(timed: TimedDatabase, site: str) -> None:
    run, via = begun(timed, site, *EXITS)
    assert run.leave(site, via, EXITS, error_code="exit_failed")["exit"] == "b"
    health = timed.health(site, exit_name="a")
    assert (health["paused_by"], health["last_error_code"]) == ("exit_failed", "exit_failed")


def test_a_site_that_asks_for_a_longer_pause_gets_it(timed: TimedDatabase, site: str) -> None:
    run, via = begun(timed, site, *EXITS)
    run.leave(site, via, EXITS, error_code="rate_limited", retry_after_seconds=3600)
    timed.advance(3599)
    pause(timed, site, "b", "c")
    assert timed.new_run(site).admit(site, exits=EXITS)["retry_in_seconds"] == 1


def test_one_user_alone_cannot_pause_all_exits(timed: TimedDatabase, site: str) -> None:
    """A search that no exit gets an answer for says nothing about the exits."""
    exits = [f"e{n}" for n in range(8)]
    hostile = timed.new_user()
    for _ in range(3):
        run = timed.new_run(site, owner=hostile)
        via = run.admit(site, exits=exits)["exit"]
        for _ in range(5):
            via = run.leave(site, via, exits)["exit"]
        run.end(site, "blocked")
        run.finish()
    query: LiteralString = "select count(*) as n from worker.site_health where site = %s and paused_until is not null"
    (paused,) = timed.connection.execute(query, [site]).fetchall()
    assert paused["n"] == 2  # failures_per_user
    assert timed.new_run(site).admit(site, exits=exits)["granted"]


def test_a_user_whose_searches_are_answered_elsewhere_is_believed(timed: TimedDatabase, site: str) -> None:
    exits, user = [f"e{n}" for n in range(8)], timed.new_user()
    run = timed.new_run(site, owner=user)
    via = run.admit(site, exits=exits)["exit"]
    save_page(run, site)
    for n in range(5):
        via = run.leave(site, via, exits)["exit"]
        query: LiteralString = (
            "select count(*) as n from worker.site_health where site = %s and paused_until is not null"
        )
        (paused,) = timed.connection.execute(query, [site]).fetchall()
        assert paused["n"] == n + 1


@pytest.mark.parametrize("error_code", ["upstream", "timeout", "not_found", None])
def test_other_failures_are_no_reason_to_leave(timed: TimedDatabase, site: str, error_code: str) -> None:
    run, via = begun(timed, site, *EXITS)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="error_code must be blocked"):
        run.leave(site, via, EXITS, error_code=error_code)


# Probing ------------------------------------------------------------------------------------------------------------


def test_one_prober_tries_an_exit_whose_pause_has_ended(timed: TimedDatabase, site: str) -> None:
    timed.configure(exploration=1)
    pause(timed, site, "a", "b", seconds=1)
    timed.advance(1)
    used = [begun(timed, site, *EXITS) for _ in range(4)]
    assert [via for _, via in used] == ["a", "b", "c", "c"]
    assert timed.health(site, exit_name="a")["prober_run_id"] == used[0][0].id
    used[0][0].note_page(site)
    assert timed.health(site, exit_name="a")["paused_until"] is None
    assert begun(timed, site, *EXITS)[1] == "a"


def test_without_exploration_healthy_exits_are_used(timed: TimedDatabase, site: str) -> None:
    pause(timed, site, "a", seconds=1)
    timed.advance(1)
    assert {begun(timed, site, *EXITS)[1] for _ in range(6)} == {"b", "c"}


def test_a_share_of_the_searches_explores(timed: TimedDatabase, site: str) -> None:
    timed.configure(exploration=0.3)
    explored = 0
    for _ in range(60):
        pause(timed, site, "a", seconds=-1)
        run, via = begun(timed, site, "a", "b")
        explored += via == "a"
        run.finish()
    assert 6 <= explored <= 32


def test_a_probe_that_is_refused_pauses_its_exit_for_longer(timed: TimedDatabase, site: str) -> None:
    run, via = begun(timed, site, "a")
    run.leave(site, via, ["a", "b"])
    timed.advance(10 * MINUTE)
    prober, via = begun(timed, site, "a")
    assert via == "a"
    assert prober.leave(site, "a", ["a", "b"])["exit"] == "b"
    assert timed.new_run(site).admit(site, exits=["a"])["retry_in_seconds"] == 20 * MINUTE


def test_a_prober_that_dies_is_replaced(timed: TimedDatabase, site: str) -> None:
    pause(timed, site, "a", seconds=1)
    timed.advance(1)
    prober, _ = begun(timed, site, "a")
    assert not timed.new_run(site).admit(site, exits=["a"])["granted"]
    prober.expire()
    assert begun(timed, site, "a")[1] == "a"


# Rotating gateways --------------------------------------------------------------------------------------------------


def test_a_gateway_keeps_the_pace_of_the_operator(timed: TimedDatabase, site: str) -> None:
    slow: Row = {"min_delay_seconds": 60, "quota": 1, "searches": 1}
    waits = []
    for _ in range(3):
        run, _ = begun(timed, site, GATEWAY, limits=slow)
        waits.append(run.take(site, slow, exits=[GATEWAY])["wait_seconds"])
    assert waits == pytest.approx([0, 1.002, 2.004], abs=0.15)


def test_a_gateway_is_asked_again_after_a_refusal(timed: TimedDatabase, site: str) -> None:
    run, _ = begun(timed, site, GATEWAY)
    assert run.leave(site, "pool", [GATEWAY])["exit"] == "pool"
    assert timed.health(site, exit_name="pool")["paused_until"] is None


def test_a_gateway_is_paused_by_its_share_of_failures(timed: TimedDatabase, site: str) -> None:
    timed.configure(rotating_window=10, rotating_failures=0.5)
    run, _ = begun(timed, site, GATEWAY)
    for n in range(12):  # a third fails, however many
        if n % 3 == 0:
            run.leave(site, "pool", [GATEWAY])
        else:
            run.note_page(site)
    assert timed.health(site, exit_name="pool")["paused_until"] is None
    for _ in range(3):
        run.leave(site, "pool", [GATEWAY])
    assert timed.health(site, exit_name="pool")["paused_by"] == "blocked"


# Properties and races -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_any_course_of_events_keeps_the_rules(timed: TimedDatabase, site: str, seed: int) -> None:
    """No exit is asked while it is paused, unless by its prober; no exit exceeds its pace; each exit has one prober."""
    timed.configure(exploration=0.5)
    chance = random.Random(seed)
    names = [f"e{n}" for n in range(chance.randint(2, 6))]
    running: list[tuple[Run, str]] = []
    sent: dict[str, float] = {}
    clock = 0.0
    for _ in range(60):
        match chance.choice(["begin", "ask", "ask", "refuse", "page", "end", "wait"]):
            case "begin":
                run = timed.new_run(site)
                answer = run.admit(site, exits=names)
                if answer["granted"]:
                    running.append((run, answer["exit"]))
                else:
                    assert answer["reason"] == "paused"
                    assert all(not usable(timed, site, name, run) for name in names)
            case "wait":
                seconds = chance.choice([1, 30, 700])
                timed.advance(seconds)
                clock += seconds
            case event if running:
                place = chance.randrange(len(running))
                run, via = running[place]
                if event == "end":
                    run.end(site)
                    run.finish()
                    del running[place]
                    continue
                if event == "page":
                    run.note_page(site)
                    continue
                answer = run.take(site, PACE, exits=names) if event == "ask" else run.leave(site, via, names)
                if not answer["granted"]:
                    del running[place]
                    continue
                via = answer["exit"]
                running[place] = (run, via)
                assert usable(timed, site, via, run), (via, timed.health(site, exit_name=via))
                if event == "ask":
                    at = clock + answer["wait_seconds"]
                    assert at - sent.get(via, -10) >= 2
                    sent[via] = at
        probers = timed.connection.execute(
            "select count(*) as n from worker.site_health where site = %s and prober_run_id is not null"
            " and paused_until > worker.now()",
            [site],
        ).fetchall()
        assert probers == [{"n": 0}]


def usable(timed: TimedDatabase, site: str, name: str, run: Run) -> bool:
    """Whether a run may ask the site through an exit, by its health alone."""
    query: LiteralString = """
        select health.paused_until is null
            or (health.paused_until <= worker.now()
                and (health.prober_run_id is null or health.prober_run_id = %s or not exists (
                    select from worker.leases as lease
                    where lease.run_id = health.prober_run_id and lease.expires_at > worker.now()))) as answer
        from worker.site_health as health where site = %s and exit = %s
    """
    row = timed.connection.execute(query, [run.id, site, name]).fetchone()
    return row is None or bool(row["answer"])


def test_two_at_once_do_not_probe_the_same_exit(timed: TimedDatabase, site: str) -> None:
    pause(timed, site, "a", "b", seconds=1)
    timed.advance(1)
    one, two = timed.new_run(site), timed.new_run(site)
    with connect(timed.dsn) as first, connect(timed.dsn) as second:
        first.execute("begin")
        assert one.admit(site, exits=["a", "b"], on=first)["exit"] == "a"
        # It does not wait for the first one.
        assert two.admit(site, exits=["a", "b"], on=second)["exit"] == "b"
        first.execute("commit")
    assert timed.health(site, exit_name="a")["prober_run_id"] == one.id
    assert timed.health(site, exit_name="b")["prober_run_id"] == two.id


def test_two_that_are_refused_at_once_pause_the_exit_once(timed: TimedDatabase, site: str) -> None:
    one, two = begun(timed, site, "a")[0], begun(timed, site, "a")[0]
    with connect(timed.dsn) as first, connect(timed.dsn) as second, ThreadPoolExecutor(1) as thread:
        first.execute("begin")
        one.leave(site, "a", ["a", "b"], on=first)
        waiting = thread.submit(two.leave, site, "a", ["a", "b"], on=second)
        assert answer_after(timed, first, waiting)["exit"] == "b"
    assert timed.health(site, exit_name="a")["trips"] == 1


def test_an_answer_of_one_exit_does_not_wait_for_another(timed: TimedDatabase, site: str) -> None:
    one, two = begun(timed, site, *EXITS)[0], begun(timed, site, *EXITS)[0]
    with connect(timed.dsn) as first, connect(timed.dsn) as second:
        first.execute("begin")
        one.take(site, PACE, exits=EXITS, on=first)
        second.execute("set lock_timeout = '1s'")
        assert two.take(site, PACE, exits=EXITS, on=second)["exit"] == "b"
        first.execute("commit")
