"""A run searches first what answers well, and now and then something else."""

from __future__ import annotations

from collections import Counter
from math import sqrt
from typing import LiteralString
from uuid import UUID, uuid5

import pytest

from tests.support.site_limits import Run, TimedDatabase

SEEDS = UUID("00000000-0000-4000-8000-000000000000")


def searched(timed: TimedDatabase, site: str, *, failures: int = 0, response_ms: float = 500, account: str = "") -> str:
    """Let the site answer a few searches, the first ones of them badly."""
    run = timed.new_run(site)
    for nth in range(6):
        run.end(site, "timeout" if nth < failures else None, account=account, response_ms=response_ms)
    return site


def order(run: Run, seed: int = 0) -> list[str]:
    query: LiteralString = "select site, rank from worker.rank_sites(%s, %s) order by rank"
    ranked = run.connection.execute(query, [[run.id], [uuid5(SEEDS, str(seed))]]).fetchall()
    assert [row["rank"] for row in ranked] == list(range(1, len(ranked) + 1))
    return [row["site"] for row in ranked]


def test_better_ones_come_first_and_of_equals_the_faster(timed: TimedDatabase) -> None:
    slow = searched(timed, timed.new_site(), response_ms=900)
    failing = searched(timed, timed.new_site(), failures=3, response_ms=10)
    worse = searched(timed, timed.new_site(), failures=4, response_ms=5)
    fast = searched(timed, timed.new_site(), response_ms=100)
    assert order(timed.new_run(worse, slow, failing, fast)) == [fast, slow, failing, worse]


def test_what_is_not_known_yet_is_tried_first_in_the_users_order(timed: TimedDatabase) -> None:
    known = searched(timed, timed.new_site(), response_ms=1)
    unknown = [timed.new_site() for _ in range(3)]
    assert order(timed.new_run(known, *unknown)) == [*unknown, known]


def test_a_failure_long_ago_is_outweighed_by_speed(timed: TimedDatabase) -> None:
    slow = searched(timed, timed.new_site(), response_ms=900)
    recovered = timed.new_site()
    timed.new_run(recovered).end(recovered, "timeout", response_ms=100)
    for _ in range(20):
        timed.new_run(recovered).end(recovered, response_ms=100)
    assert order(timed.new_run(slow, recovered)) == [recovered, slow]


def test_paused_ones_come_last_until_they_may_be_tried(timed: TimedDatabase) -> None:
    good, paused = searched(timed, timed.new_site(), response_ms=900), timed.new_site()
    timed.new_run(paused).end(paused, "quota_exceeded", retry_after_seconds=60)
    run = timed.new_run(paused, good)
    for exploration in (0, 1):
        timed.configure(exploration=exploration)
        assert order(run) == [good, paused]
    timed.configure(exploration=0)
    timed.advance(60)
    assert order(run) == [paused, good]


def test_accounts_count_together(timed: TimedDatabase) -> None:
    mixed = timed.new_site()
    searched(timed, mixed, account="ada", failures=6)
    searched(timed, mixed, account="bob")
    good, bad = searched(timed, timed.new_site()), searched(timed, timed.new_site(), failures=6)
    assert order(timed.new_run(bad, mixed, good)) == [good, mixed, bad]


def test_only_unfinished_sites_are_ranked(timed: TimedDatabase) -> None:
    first, second = timed.new_site(), timed.new_site()
    run = timed.new_run(first, second)
    timed.connection.execute(
        "update public.search_run_sites set status = 'completed', completed_at = worker.now() where site = %s", [first]
    )
    assert order(run) == [second]


def test_the_order_is_the_same_for_the_same_seed(timed: TimedDatabase) -> None:
    timed.configure(exploration=0.5)
    run = timed.new_run(*[searched(timed, timed.new_site()) for _ in range(4)])
    for seed in range(20):
        assert order(run, seed) == order(run, seed)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 1])
def test_some_runs_search_in_any_order(timed: TimedDatabase, share: float) -> None:
    timed.configure(exploration=share)
    best, *others = (searched(timed, timed.new_site(), response_ms=ms) for ms in (100, 200, 300, 400))
    run = timed.new_run(best, *others)
    first = Counter(order(run, seed)[0] for seed in range(1000))
    for site in others:
        # Of those in any order a quarter begins with each. Beyond five standard deviations is one run in a million.
        expected = share / 4
        assert abs(first[site] - 1000 * expected) <= 5 * sqrt(1000 * expected * (1 - expected))


def test_the_averages_follow_what_is_new(timed: TimedDatabase) -> None:
    site = timed.new_site()
    run = timed.new_run(site)
    run.end(site, response_ms=1000)
    assert (timed.health(site)["success_rate"], timed.health(site)["response_ms"]) == (1, 1000)
    run.end(site, "timeout", response_ms=None)
    assert (timed.health(site)["success_rate"], timed.health(site)["response_ms"]) == (pytest.approx(0.8), 1000)
    run.end(site, response_ms=500)
    assert (timed.health(site)["success_rate"], timed.health(site)["response_ms"]) == (pytest.approx(0.84), 900)


def test_what_people_are_shown(timed: TimedDatabase) -> None:
    site = timed.new_site()
    run = timed.new_run(site)
    run.take(site, {"quota": 100}, requests=7)
    run.take(site, {"quota": 5}, bucket=f"{site}:search")
    run.take(site, {"requests": 100}, bucket=f"{site}:details")
    run.end(site, response_ms=250)
    midnight = "2026-11-23T00:00:00+00:00"
    assert timed.shown(site) == {
        "site": site,
        "account_count": 0,
        "state": "closed",
        "paused_until": None,
        "last_error_code": None,
        "success_rate": 1,
        "response_ms": 250,
        "last_success_at": "2026-11-22T12:00:00+00:00",
        "buckets": [
            {"bucket": site, "quota": 100, "quota_used": 7, "quota_resets_at": midnight},
            {"bucket": f"{site}:search", "quota": 5, "quota_used": 1, "quota_resets_at": midnight},
        ],
    }
    timed.advance(86400)
    assert [bucket["quota_used"] for bucket in timed.shown(site)["buckets"]] == [0, 0]
