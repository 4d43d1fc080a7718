"""A site refuses an exit in the middle of a search: the worker asks again through another one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.exits import EndlessArbeitnow, asked_while_blocked, by_exit, exits_of, keep_pace
from tests.support.queue import enqueue_jobs
from tests.support.stack import signed_in_user
from tests.support.workers import drain, worker_process
from worker.database.user import User
from worker.local.boards import Boards, ExitRule, Failure
from worker.local.supabase.stack import Endpoints

pytestmark = pytest.mark.own_stack
AGES = count(5000)
"""For each search another one: no two of them are equal."""


@pytest.fixture(autouse=True)
def database(stack: Endpoints) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """The database, where a failed site is retried without delay, and no run answers another one."""
    with psycopg.connect(stack.db_url, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("update worker.settings set retry_delay = '0', freshness = '0'")
        connection.execute("delete from worker.bucket_limits")
        connection.execute(
            "insert into worker.bucket_limits (bucket, min_delay_seconds, searches)"
            " values ('arbeitnow', 0.1, 100), ('linkedin', 0.01, 100)"
        )
        yield connection


@pytest.fixture
async def boards() -> AsyncIterator[Boards]:
    async with Boards(instead={"arbeitnow": EndlessArbeitnow}) as running:
        yield running


@pytest.fixture
async def user(stack: Endpoints) -> AsyncIterator[User]:
    async with signed_in_user(stack) as signed_in:
        yield signed_in


def settings(boards: Boards, *exits: str, **others: str) -> dict[str, str]:
    """The settings of a worker with these exits."""
    return {"WORKER_EXITS": exits_of(boards, *exits), "WORKER_HTTP_CA_CERT": str(boards.ca_cert), **others}


def events(database: psycopg.Connection[dict[str, Any]], run_id: str, event: str) -> list[dict[str, Any]]:
    query: LiteralString = "select data from public.run_events where run_id = %s and event = %s order by id"
    return [row["data"] for row in database.execute(query, [run_id, event])]


def paused(database: psycopg.Connection[dict[str, Any]], site: str) -> dict[str, str]:
    """The exits that are paused at a site, and why."""
    query: LiteralString = "select exit, paused_by from worker.site_health where site = %s and paused_until > now()"
    return {row["exit"]: row["paused_by"] for row in database.execute(query, [site])}


def set_pauses(database: psycopg.Connection[dict[str, Any]], pause: str, max_pause: str) -> None:
    """Set for how long a block pauses an exit. A drain does not wait for pauses that have doubled a few times."""
    rule: LiteralString = "update worker.breaker_rules set pause = %s, max_pause = %s where error_code = 'blocked'"
    database.execute(rule, [pause, max_pause])


def history(database: psycopg.Connection[dict[str, Any]]) -> str:
    """What happened to the runs, to tell why one has not succeeded."""
    query: LiteralString = """
        select format('%s %s %s %s %s', created_at, run_id, event, site, data) as line from public.run_events
        where created_at > now() - interval '2 minutes' order by id
    """
    return "\n".join(row["line"] for row in database.execute(query))


async def run_of(user: User) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The user's last run, and its sites by name."""
    (run,) = await user.runs(1)
    return run, {site["site"]: site for site in run["run_sites"]}


@pytest.mark.parametrize("failure", [Failure.BLOCKED, Failure.RATE_LIMITED, Failure.CAPTCHA])
async def test_a_refused_page_is_asked_again_through_another_exit(
    stack: Endpoints, boards: Boards, user: User, database: psycopg.Connection[dict[str, Any]], failure: Failure
) -> None:
    boards.block_exits("arbeitnow", ExitRule(pages=2, failure=failure))
    run_id = await enqueue_jobs(user, "arbeitnow", search_term="nurse", hours_old=next(AGES), results_wanted=50)
    await drain(stack, boards, **settings(boards, "one", "two", "three"))

    run, sites = await run_of(user)
    assert (run["status"], run["jobs_found"], run["attempts"]) == ("success", 50, 1)
    assert sites["arbeitnow"]["attempts"] == 1
    # At the same cursor: each page was answered once.
    answered = [request.page for request in boards.requests("arbeitnow") if request.failure is None]
    assert answered == [1, 2, 3, 4, 5]
    left = events(database, run_id, "exit_left")
    code = "rate_limited" if failure is Failure.RATE_LIMITED else "blocked"
    assert [(event["left"], event["exit"], event["error_code"]) for event in left] == [
        ("one", "three", code), ("three", "two", code),
    ]  # fmt: skip
    assert paused(database, "arbeitnow") == {"one": code, "three": code}
    assert events(database, run_id, "site_started") == [{"attempt": 1, "exit": "one"}]


async def test_success_counts_for_the_exit_of_each_site_also_of_the_last_one(
    stack: Endpoints, boards: Boards, user: User, database: psycopg.Connection[dict[str, Any]]
) -> None:
    database.execute("truncate worker.site_health")
    await enqueue_jobs(user, "arbeitnow", "remotive", search_term="cook", hours_old=next(AGES), results_wanted=10)
    await drain(stack, boards, **settings(boards, "one"))
    query: LiteralString = "select site, exit, success_rate from worker.site_health order by site"
    assert [tuple(row.values()) for row in database.execute(query)] == [("arbeitnow", "one", 1), ("remotive", "one", 1)]


async def test_users_read_that_another_way_is_tried(
    stack: Endpoints, boards: Boards, user: User, database: psycopg.Connection[dict[str, Any]]
) -> None:
    database.execute("update worker.settings set progress_interval = '0'")
    boards.block_exits("arbeitnow", ExitRule(pages=1))
    boards.exits.slow_exit("two", 3600)
    run_id = await enqueue_jobs(user, "arbeitnow", search_term="nurse", hours_old=next(AGES), results_wanted=30)
    try:
        async with worker_process(stack, boards, "run", **settings(boards, "one", "two")):
            await boards.wait_for_requests("arbeitnow", 3)
            query = "select progress from public.search_run_sites where run_id = %s"
            (site,) = database.execute(query, [run_id]).fetchall()
    finally:
        database.execute("update worker.settings set progress_interval = '1 second'")
    assert site["progress"]["details"] == {"message": "Arbeitnow is not answering; trying another way."}


async def test_a_dead_exit_is_no_block(
    stack: Endpoints, boards: Boards, user: User, database: psycopg.Connection[dict[str, Any]]
) -> None:
    boards.exits.break_exit("dead")
    for site in ("arbeitnow", "linkedin"):
        await enqueue_jobs(user, site, search_term="nurse", hours_old=next(AGES), results_wanted=20)
    log = await drain(stack, boards, **settings(boards, "dead", "well"))
    assert [run["status"] for run in await user.runs(2)] == ["success", "success"]
    assert paused(database, "arbeitnow") == paused(database, "linkedin") == {"dead": "exit_failed"}
    told = [line["message"] for line in log if "asked through exit well instead of dead" in line["message"]]
    assert len(told) == 2
    assert all("exit_failed: " in message and "407" in message for message in told)
    assert ":played@" not in json.dumps(log)


async def test_a_key_goes_out_through_an_exit_that_works(
    stack: Endpoints, boards: Boards, user: User, database: psycopg.Connection[dict[str, Any]]
) -> None:
    """The site counts by key: the database does not distinguish the exits there."""
    boards.exits.break_exit("dead")
    await enqueue_jobs(user, "jsearch", hours_old=next(AGES), results_wanted=10)
    await drain(stack, boards, **settings(boards, "dead", "well"), **boards.credentials)
    run, _ = await run_of(user)
    assert run["status"] == "success"
    assert set(by_exit(boards, "jsearch")) == {"well"}
    assert [row["exit"] for row in database.execute("select exit from worker.site_health where site = 'jsearch'")] == [
        ""
    ]


async def test_a_site_that_cannot_resume_begins_again(
    stack: Endpoints, boards: Boards, user: User, database: psycopg.Connection[dict[str, Any]]
) -> None:
    boards.fail("indeed", Failure.BLOCKED, from_page=2, requests=1)
    run_id = await enqueue_jobs(user, "indeed", search_term="manager", hours_old=next(AGES), results_wanted=150)
    await drain(stack, boards, **settings(boards, "one", "two"))
    run, sites = await run_of(user)
    assert (run["status"], run["attempts"], sites["indeed"]["attempts"]) == ("success", 1, 1)
    assert [request.page for request in boards.requests("indeed")] == [1, 2, 1, 2]
    assert {request.exit for request in boards.requests("indeed")} == {"one", "two"}
    assert len(events(database, run_id, "exit_left")) == 1
    # What the first one brought stays, and counts once.
    assert sites["indeed"]["jobs_found"] == run["jobs_found"] >= 100


async def test_a_search_waits_while_all_exits_are_blocked(
    stack: Endpoints, boards: Boards, user: User, database: psycopg.Connection[dict[str, Any]]
) -> None:
    set_pauses(database, "2 seconds", "2 seconds")
    boards.block_exits("arbeitnow", ExitRule(pages=1, block_seconds=2))
    run_id = await enqueue_jobs(user, "arbeitnow", search_term="nurse", hours_old=next(AGES), results_wanted=30)
    try:
        await drain(stack, boards, **settings(boards, "one", "two"))
    finally:
        set_pauses(database, "10 minutes", "6 hours")
    run, _ = await run_of(user)
    assert (run["status"], run["attempts"], run["jobs_found"]) == ("success", 1, 30)
    (deferred,) = events(database, run_id, "deferred")
    assert deferred["sites"][0]["message"].startswith("all exits of the site are paused until")


async def test_no_blocked_exit_is_asked_and_none_exceeds_its_pace(
    stack: Endpoints, boards: Boards, user: User, database: psycopg.Connection[dict[str, Any]]
) -> None:
    """Of five exits, one is dead and one is slow; the site blocks each after four pages."""
    set_pauses(database, "5 seconds", "5 seconds")
    database.execute("update worker.settings set max_running_per_user = 10")
    boards.block_exits("arbeitnow", ExitRule(pages=4, block_seconds=5))
    boards.exits.break_exit("dead")
    boards.exits.slow_exit("slow", 0.2)
    for _ in range(8):
        await enqueue_jobs(user, "arbeitnow", search_term="nurse", hours_old=next(AGES), results_wanted=30)
    exits = settings(boards, "a", "b", "c", "dead", "slow")
    runs = await user.runs(8)
    try:
        # Runs that wait for the end of a pause come back a second apart. A drain waits for ten seconds, not for more.
        async with asyncio.timeout(90):
            while any(run["status"] == "pending" for run in runs):
                await drain(stack, boards, **exits, WORKER_CONCURRENCY="8", WORKER_CLAIM_BATCH="8")
                runs = await user.runs(8)
    finally:
        set_pauses(database, "10 minutes", "6 hours")
    assert {run["status"] for run in runs} == {"success"}, history(database)
    assert {run["attempts"] for run in runs} == {1}
    assert asked_while_blocked(boards, "arbeitnow", block_seconds=5, answer_seconds=4) == []
    assert set(by_exit(boards, "arbeitnow")) == {"a", "b", "c", "slow"}
    assert keep_pace(boards, "arbeitnow", 0.1)


async def test_a_worker_that_is_killed_while_it_probes_an_exit(
    stack: Endpoints, boards: Boards, user: User, database: psycopg.Connection[dict[str, Any]], tmp_path: Path
) -> None:
    database.execute(
        "insert into worker.site_health (site, exit, paused_until, paused_by, trips)"
        " values ('arbeitnow', 'one', now(), 'blocked', 1)"
    )
    boards.fail("arbeitnow", Failure.HANG)
    run_id = await enqueue_jobs(user, "arbeitnow", search_term="nurse", hours_old=next(AGES), results_wanted=20)
    async with worker_process(stack, boards, "run", **settings(boards, "one"), WORKER_LEASE_SECONDS="5") as worker:
        await boards.wait_for_requests("arbeitnow", 1)
        health: LiteralString = "select prober_run_id::text, paused_until from worker.site_health where exit = 'one'"
        assert database.execute(health).fetchone()["prober_run_id"] == run_id  # type: ignore[index]
        worker.process.kill()
        await worker.process.wait()
    boards.heal("arbeitnow")
    database.execute("update worker.leases set expires_at = now() - interval '1 second'")
    # Another worker, with another spool.
    await drain(stack, boards, **settings(boards, "one"), WORKER_SPOOL_DIR=str(tmp_path))
    run, _ = await run_of(user)
    assert (run["status"], run["rescues"]) == ("success", 1)
    assert database.execute(health).fetchone() == {"prober_run_id": None, "paused_until": None}


async def test_workers_with_different_exits_share_what_they_know(
    stack: Endpoints, boards: Boards, user: User, database: psycopg.Connection[dict[str, Any]]
) -> None:
    boards.block_exits("arbeitnow", ExitRule(pages=1))
    for _ in range(2):
        await enqueue_jobs(user, "arbeitnow", search_term="nurse", hours_old=next(AGES), results_wanted=10)
    async with asyncio.TaskGroup() as workers:
        for name in ("one", "two"):
            workers.create_task(drain(stack, boards, **settings(boards, name, "spare"), WORKER_CLAIM_BATCH="1"))
    assert {run["status"] for run in await user.runs(2)} == {"success"}, history(database)
    known = database.execute("select exits from worker.workers where seen_at > now() - interval '1 minute'").fetchall()
    assert {tuple(row["exits"]) for row in known} >= {("one", "spare"), ("two", "spare")}
