"""No user takes more than his share of what a site allows all of them, and among those who wait they take turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from tests.support.queue import Row
from tests.support.site_limits import NOON, Run, TimedDatabase, answer_after, connect

MONTH = {"quota": 200, "quota_period": "month"}
DAY = 86400


@pytest.fixture
def site(timed: TimedDatabase) -> str:
    # As they are in a new project.
    for name in ("max_quota_share", "manual_quota_reserve", "scheduled_quota_reserve"):
        timed.connection.execute(f"update worker.settings set {name} = default")
    timed.configure(permit_slack="0", max_site_wait="40 days")
    return timed.new_site()


def taken(runs: Sequence[Run], site: str, declared: Row) -> int:
    """Have each of the runs take what it gets; return how much that is."""
    granted = 0
    for run in runs:
        while run.take(site, declared)["granted"]:
            granted += 1
    return granted


# Shares of a quota ----------------------------------------------------------------------------------------------


def test_five_runs_of_one_user_leave_the_rest_of_a_quota_to_others(timed: TimedDatabase, site: str) -> None:
    mallory = timed.new_user()
    timed.connection.execute("update worker.settings set max_running_per_user = null")
    runs = [timed.new_run(site, owner=mallory) for _ in range(5)]
    assert taken(runs, site, MONTH) == 50
    refused = runs[0].take(site, MONTH)
    assert (refused["reason"], refused["until"]) == ("quota", "2026-12-01T00:00:00+00:00")
    assert refused["message"] == ("your share of 50 of 200 requests a month is used up until 2026-12-01 00:00:00 UTC")
    # Who waits for a share of his own holds nobody up.
    assert taken([timed.new_run(site)], site, MONTH) == 50
    timed.configure(max_site_wait="1 hour")
    assert timed.new_run(site, owner=mallory).take(site, MONTH) == {
        "granted": False,
        "error_code": "quota_exceeded",
        "message": refused["message"],
    }


def test_a_share_begins_with_each_quota(timed: TimedDatabase, site: str) -> None:
    run = timed.new_run(site)
    assert taken([run], site, MONTH) == 50
    timed.set_clock(datetime.fromisoformat("2026-12-01T00:00:00+00:00"))
    assert taken([run], site, MONTH) == 50
    run.observe(site, {"quota": 200, "remaining": 0, "resets_in_seconds": 600})
    # The site renews what it gives.
    run.observe(site, {"quota": 200, "remaining": 200, "resets_in_seconds": 30 * DAY})
    assert taken([run], site, MONTH) == 50


@pytest.mark.parametrize(("quota", "share", "most"), [(200, 1, 200), (200, 0.1, 20), (10, 0.7, 7), (3, 0.25, 1)])
def test_the_share_is_a_setting(timed: TimedDatabase, site: str, quota: int, share: float, most: int) -> None:
    timed.configure(max_quota_share=share, scheduled_quota_reserve=0)
    assert taken([timed.new_run(site)], site, {"quota": quota}) == most


def test_more_at_once_than_a_share_is_refused_for_good(timed: TimedDatabase, site: str) -> None:
    refused = timed.new_run(site).take(site, MONTH, requests=51)
    assert (refused["granted"], refused["error_code"]) == (False, "quota_exceeded")
    assert (
        refused["message"] == "51 requests at once are more than your share of 50 of 200 requests a month ever allows"
    )


def test_what_a_site_tells_is_left_is_shared_too(timed: TimedDatabase, site: str) -> None:
    run, other = timed.new_run(site), timed.new_run(site)
    run.observe(site, {"remaining": 40, "resets_in_seconds": DAY})
    assert taken([run], site, {}) == 10
    assert other.take(site)["granted"]


def test_the_bucket_of_an_account_belongs_to_its_user(timed: TimedDatabase, site: str) -> None:
    run = timed.new_run(site)
    for _ in range(200):
        assert run.take(site, MONTH, account="ada")["granted"]
    assert "quota of 200 requests a month" in run.take(site, MONTH, account="ada")["message"]


def test_schedules_and_people_leave_each_other_a_part(timed: TimedDatabase, site: str) -> None:
    timed.configure(max_quota_share=1)
    scheduled, manual = timed.new_run(site, source="cron"), timed.new_run(site)
    assert taken([scheduled], site, MONTH) == 160
    assert scheduled.take(site, MONTH)["message"].startswith("quota of 200 requests a month for scheduled runs")
    assert taken([manual], site, MONTH) == 40

    other_site = timed.new_site()
    scheduled, manual = timed.new_run(other_site, source="cron"), timed.new_run(other_site)
    assert taken([manual], other_site, MONTH) == 180
    assert "without the reserve for scheduled runs" in manual.take(other_site, MONTH)["message"]
    assert taken([scheduled], other_site, MONTH) == 20


def test_what_is_counted_of_a_user_goes_with_him(timed: TimedDatabase, site: str) -> None:
    mallory = timed.new_user()
    timed.new_run(site, owner=mallory).take(site, MONTH)
    timed.connection.execute("delete from auth.users where id = %s", [mallory])
    timed.connection.execute("select worker.delete_old_user_state('90 days')")
    assert timed.connection.execute("select from worker.site_shares where bucket = %s", [site]).rowcount == 0


def test_two_runs_of_a_user_take_the_last_of_his_share_at_once(
    timed: TimedDatabase, site: str, pool: ThreadPoolExecutor
) -> None:
    timed.configure(max_site_wait="1 hour")
    declared, mallory = {"quota": 8}, timed.new_user()
    one, other = (timed.new_run(site, owner=mallory) for _ in range(2))
    assert one.take(site, declared)["granted"]
    with connect(timed.dsn) as first, connect(timed.dsn) as second:
        first.execute("begin")
        assert one.take(site, declared, on=first)["granted"]
        waiting = pool.submit(other.take, site, declared, on=second)
        assert answer_after(timed, first, waiting)["error_code"] == "quota_exceeded"


# Turns ----------------------------------------------------------------------------------------------------------


ONE_A_SECOND = {"requests": 1, "period_seconds": 1}


def order_of_service(timed: TimedDatabase, site: str, runs: Sequence[Run], *, count: int, declared: Row) -> list[Run]:
    """Let runs that were put off come back when they were told to; return which are served, in order."""
    due = {run: run.wait(site)["due_at"] for run in runs}  # type: ignore[index]  # they wait
    served: list[Run] = []
    while due and len(served) < count:
        run = min(due, key=lambda run: due[run])
        timed.set_clock(max(timed.now, due.pop(run)))
        answer = run.take(site, declared)
        if answer["granted"]:
            served.append(run)
        else:
            due[run] = datetime.fromisoformat(answer["until"])
    return served


def queue_up(timed: TimedDatabase, site: str, owners: Sequence[UUID], source: str = "manual") -> list[Run]:
    """Have a run of each of these users wait, one after another."""
    runs = []
    for owner in owners:
        timed.advance(0.001)
        run = timed.new_run(site, owner=owner, source=source)
        assert not run.take(site, ONE_A_SECOND)["granted"]
        runs.append(run)
    return runs


@pytest.fixture
def busy_site(timed: TimedDatabase, site: str) -> str:
    """A site that was asked just now, so that all who come wait."""
    timed.configure(inline_wait="0")
    timed.connection.execute("update worker.settings set max_running_per_user = null")
    assert timed.new_run(site).take(site, ONE_A_SECOND)["granted"]
    return site


def test_users_take_turns(timed: TimedDatabase, busy_site: str) -> None:
    mallory, ada, bob = (timed.new_user() for _ in range(3))
    of_mallory = queue_up(timed, busy_site, [mallory] * 10)
    others = queue_up(timed, busy_site, [ada, bob, ada, bob])
    served = order_of_service(timed, busy_site, of_mallory + others, count=14, declared=ONE_A_SECOND)
    assert len(served) == 14
    # All of the others' are done before the fourth of who has ten; nor do they keep him waiting for good.
    assert {run: served.index(run) for run in others} == pytest.approx(
        {others[0]: 1, others[1]: 2, others[2]: 4, others[3]: 5}, abs=3
    )
    assert max(served.index(run) for run in others) < 9
    assert [run for run in served if run in of_mallory] == of_mallory


def test_who_was_served_longest_ago_is_next(timed: TimedDatabase, busy_site: str) -> None:
    mallory, ada = timed.new_user(), timed.new_user()
    first, second, of_ada = queue_up(timed, busy_site, [mallory, mallory, ada])
    timed.advance(1)
    assert first.take(busy_site, ONE_A_SECOND)["granted"]
    timed.advance(1)
    assert not second.take(busy_site, ONE_A_SECOND)["granted"], "it has waited for longer, and its user was served"
    assert of_ada.take(busy_site, ONE_A_SECOND)["granted"]
    timed.advance(1)
    # Also once a run that has never waited comes.
    assert not timed.new_run(busy_site).take(busy_site, ONE_A_SECOND)["granted"]
    timed.set_clock(second.wait(busy_site)["due_at"])  # type: ignore[index]  # it waits
    assert second.take(busy_site, ONE_A_SECOND)["granted"]


def test_people_come_before_schedules(timed: TimedDatabase, busy_site: str) -> None:
    scheduled = queue_up(timed, busy_site, [timed.new_user() for _ in range(5)], "cron")
    manual = queue_up(timed, busy_site, [timed.new_user() for _ in range(2)])
    served = order_of_service(timed, busy_site, scheduled + manual, count=7, declared=ONE_A_SECOND)
    assert served[:2] == manual
    assert served[2:] == scheduled


def test_schedules_do_not_starve(timed: TimedDatabase, busy_site: str) -> None:
    timed.configure(max_priority_wait="1 minute", wait_grace="1 hour")
    (scheduled,) = queue_up(timed, busy_site, [timed.new_user()], "cron")
    served_at = None
    for second in range(120):
        timed.set_clock(NOON + timedelta(seconds=2 * second))
        # At any time somebody is there who has never been served.
        newcomer = timed.new_run(busy_site)
        newcomer.take(busy_site, ONE_A_SECOND)
        if scheduled.take(busy_site, ONE_A_SECOND)["granted"]:
            served_at = 2 * second
            break
        timed.connection.execute("delete from public.search_runs where id = %s", [newcomer.id])
    assert served_at is not None
    assert served_at <= 70


def test_places_to_search_go_to_users_in_turn(timed: TimedDatabase, site: str) -> None:
    declared, mallory, ada = {"searches": 2}, timed.new_user(), timed.new_user()
    timed.connection.execute("update worker.settings set max_running_per_user = null")
    runs = [timed.new_run(site, owner=mallory) for _ in range(6)]
    assert [run.admit(site, declared)["granted"] for run in runs] == [True, True, False, False, False, False]
    timed.advance(0.1)
    of_ada = timed.new_run(site, owner=ada)
    for run in (*runs[2:], of_ada):
        run.put_off(datetime.fromisoformat(run.admit(site, declared)["until"]))
    runs[0].end(site)
    assert of_ada.run_after() == timed.now
    assert Counter(run.run_after() for run in runs[2:])[timed.now] == 0


def test_a_free_place_wakes_the_run_that_it_belongs_to(timed: TimedDatabase, site: str) -> None:
    declared, ada, bob = {"searches": 1}, timed.new_user(), timed.new_user()
    searching = timed.new_run(site, owner=ada)
    assert searching.admit(site, declared)["granted"]
    of_ada, of_bob = (timed.new_run(site, owner=owner) for owner in (ada, bob))
    for run in (of_ada, of_bob):
        timed.advance(0.001)
        run.put_off(datetime.fromisoformat(run.admit(site, declared)["until"]))
    timed.advance(0.001)
    # Ada was served after Bob began to wait: the next turn is Bob's, although Ada's run has waited for longer.
    assert searching.take(site)["granted"]
    searching.end(site)
    (woken,) = timed.claim()
    assert woken.id == of_bob.id
    assert woken.admit(site, declared)["granted"]
