"""Fallback sites, from a user's row to a worker and the boards: searched when they are needed, and shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, LiteralString

import psycopg
import pytest

from tests.support.queue import enqueue_jobs
from tests.support.stack import signed_in_user
from tests.support.workers import drain
from worker.database.user import User
from worker.local.boards import Boards
from worker.local.supabase.stack import Endpoints

pytestmark = pytest.mark.own_stack

FALLBACK_EVENTS: LiteralString = """
select data from public.run_events where run_id = %s and event = 'fallback' order by id
"""


@pytest.fixture(autouse=True)
def no_history(stack: Endpoints) -> None:
    """Failed sites are retried without delay, and no site is known or paused."""
    change(stack, "update worker.settings set retry_delay = '0', freshness = '0'")
    change(stack, "update worker.breaker_rules set failures = 1000")
    change(stack, "truncate worker.site_health, worker.site_buckets, worker.bucket_limits, worker.site_shares")


@pytest.fixture
async def boards() -> AsyncIterator[Boards]:
    async with Boards() as running:
        yield running


@pytest.fixture
async def user(stack: Endpoints) -> AsyncIterator[User]:
    async with signed_in_user(stack) as signed_in:
        yield signed_in


def change(stack: Endpoints, statement: LiteralString, *arguments: object) -> None:
    with psycopg.connect(stack.db_url, autocommit=True) as connection:
        connection.execute(statement, arguments)


def reasons(stack: Endpoints, run_id: str) -> list[tuple[str, str]]:
    """Why fallback sites were needed: sites and reasons. Their event is written once at most."""
    with psycopg.connect(stack.db_url) as connection:
        events = [row[0] for row in connection.execute(FALLBACK_EVENTS, [run_id])]
    assert len(events) <= 1
    return [(reason["site"], reason["reason"]) for event in events for reason in event["because"]]


async def run_of(user: User, run_id: str) -> tuple[dict[str, Any], list[tuple[str, str, bool]]]:
    """A run of the user, and its sites as they are shown."""
    (run,) = [run for run in await user.runs(10) if run["id"] == run_id]
    return run, [(site["site"], site["status"], site["is_fallback"]) for site in run["run_sites"]]


async def test_a_search_without_a_failure_asks_no_fallback_site(stack: Endpoints, boards: Boards, user: User) -> None:
    run_id = await enqueue_jobs(user, "indeed", fallback_sites=["linkedin"])
    await drain(stack, boards)
    run, sites = await run_of(user, run_id)
    assert (run["status"], sites) == ("success", [("indeed", "completed", False)])
    assert not boards.requests("linkedin")
    assert reasons(stack, run_id) == []


async def test_a_site_that_fails_for_good_is_made_up_for(stack: Endpoints, boards: Boards, user: User) -> None:
    boards.fail("glassdoor", "blocked")
    run_id = await enqueue_jobs(user, "indeed", "glassdoor", fallback_sites=["linkedin"])
    log = await drain(stack, boards)
    run, sites = await run_of(user, run_id)
    assert (run["status"], run["error_code"], run["jobs_found"]) == ("partial", "blocked", 50)
    assert run["progress_current"] == run["progress_total"] == 50
    assert sites == [
        ("indeed", "completed", False), ("glassdoor", "failed", False), ("linkedin", "completed", True),
    ]  # fmt: skip
    assert run["attempts"] == run["max_attempts"]
    assert reasons(stack, run_id) == [("glassdoor", "blocked")]
    *_, summary = [line for line in log if line.get("sites") and line["run_id"] == run_id]
    assert [site["site"] for site in summary["sites"]] == ["indeed", "glassdoor", "linkedin"]


async def test_a_run_does_not_wait_for_a_paused_site_alone(stack: Endpoints, boards: Boards, user: User) -> None:
    change(
        stack,
        "insert into worker.site_health (site, exit, paused_until, paused_by)"
        " values ('indeed', 'boards', now() + '10 min', 'blocked')",
    )
    run_id = await enqueue_jobs(user, "indeed", fallback_sites=["linkedin"])
    await drain(stack, boards)
    run, sites = await run_of(user, run_id)
    assert (run["status"], run["jobs_found"]) == ("pending", 25)
    assert sites == [("indeed", "pending", False), ("linkedin", "completed", True)]
    assert run["progress_current"] == 24  # its site is searched later
    assert reasons(stack, run_id) == [("indeed", "paused")]

    change(stack, "update worker.site_health set paused_until = null where site = 'indeed'")
    await drain(stack, boards)
    run, sites = await run_of(user, run_id)
    assert (run["status"], run["jobs_found"]) == ("success", 50)
    assert sites == [("indeed", "completed", False), ("linkedin", "completed", True)]


async def test_a_quota_that_is_used_up_is_made_up_for(stack: Endpoints, boards: Boards, user: User) -> None:
    change(stack, "insert into worker.bucket_limits (bucket, quota) values ('glassdoor', 1)")
    change(stack, "insert into worker.site_buckets (bucket, exit, quota_used, quota_resets_at, is_reset_told)"
                  " values ('glassdoor', 'boards', 1, now() + '20 hours', true)")  # fmt: skip
    run_id = await enqueue_jobs(user, "glassdoor", fallback_sites=["linkedin"])
    await drain(stack, boards)
    run, sites = await run_of(user, run_id)
    assert (run["status"], run["error_code"], run["jobs_found"]) == ("partial", "quota_exceeded", 25)
    assert sites == [("glassdoor", "failed", False), ("linkedin", "completed", True)]
    assert reasons(stack, run_id) == [("glassdoor", "quota_exceeded")]


async def test_equal_searches_share_the_fallback_sites_and_a_rerun_begins_without(
    stack: Endpoints, boards: Boards, user: User
) -> None:
    boards.fail("indeed", "blocked")
    parameters = {
        "search_term": "engineer " + "." * 77, "results_wanted": 25,
        "sites": ["indeed"], "fallback_sites": ["linkedin"],
    }  # fmt: skip
    async with signed_in_user(stack) as other:
        ids = [(await asking.enqueue("jobs", parameters))["id"] for asking in (user, other)]
        await drain(stack, boards)
        for asking, run_id in zip((user, other), ids, strict=True):
            run, sites = await run_of(asking, run_id)
            assert (run["status"], run["jobs_found"]) == ("partial", 25)
            assert sites == [("indeed", "failed", False), ("linkedin", "completed", True)]
            assert len(await asking.items(run_id, limit=100)) == 25
    boards.heal("indeed")
    again = (await user.rerun(ids[0]))["id"]
    await drain(stack, boards)
    run, sites = await run_of(user, again)
    assert (run["status"], sites) == ("success", [("indeed", "completed", False)])
