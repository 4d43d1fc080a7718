"""SOCKS proxies as exits, from a user's row to the boards: of JobSpy's two HTTP libraries, and of the worker's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.queue import enqueue_jobs
from tests.support.socks import socks_proxy
from tests.support.stack import signed_in_user
from tests.support.workers import drain
from worker.database.user import User
from worker.local.boards import Boards
from worker.local.supabase.stack import Endpoints

pytestmark = pytest.mark.own_stack

SITES = ("linkedin", "zip_recruiter", "arbeitnow")
"""JobSpy asks the first through requests and the second through curl."""

LEFT: LiteralString = "select site, data from public.run_events where run_id = %s and event = 'exit_left' order by id"


@pytest.fixture
async def boards() -> AsyncIterator[Boards]:
    async with Boards() as running:
        yield running


@pytest.fixture
async def user(stack: Endpoints) -> AsyncIterator[User]:
    async with signed_in_user(stack) as signed_in:
        yield signed_in


@pytest.fixture(autouse=True)
def no_history(stack: Endpoints) -> None:
    with psycopg.connect(stack.db_url, autocommit=True) as database:
        database.execute("update worker.settings set retry_delay = '0', freshness = '0'")
        database.execute("truncate worker.site_health, worker.site_buckets, worker.bucket_limits")
        paces: LiteralString = (
            "insert into worker.bucket_limits (bucket, min_delay_seconds)"
            " select site, 0.01 from unnest(%s::text[]) as site"
        )
        database.execute(paces, [list(SITES)])


async def search(
    stack: Endpoints, boards: Boards, user: User, exits: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Search all sites through these exits; return the run, and the events of the exits that it left."""
    run_id = await enqueue_jobs(user, *SITES, search_term="nurse", results_wanted=10)
    certificates = {"WORKER_HTTP_CA_CERT": str(boards.ca_cert), "JOBSPY_CA_CERT": str(boards.ca_cert)}
    await drain(stack, boards, WORKER_EXITS=exits, WORKER_HTTP_BACKOFF_SECONDS="0.01", **certificates)
    (run,) = await user.runs(1)
    with psycopg.connect(stack.db_url, row_factory=dict_row) as database:
        return run, list(database.execute(LEFT, [run_id]))


async def test_all_sources_search_through_a_socks_proxy(stack: Endpoints, boards: Boards, user: User) -> None:
    async with socks_proxy(boards.exit_url("behind-socks")) as socks:
        run, left = await search(stack, boards, user, f"one={socks.address()}")
    assert (run["status"], run["attempts"], socks.refused, left) == ("success", 1, [], [])
    for site in SITES:
        assert {request.exit for request in boards.requests(site)} == {"behind-socks"}


async def test_a_proxy_with_a_wrong_password_costs_no_attempt(stack: Endpoints, boards: Boards, user: User) -> None:
    async with socks_proxy(boards.exit_url("behind-socks")) as socks:
        run, left = await search(
            stack, boards, user, f"a-wrong={socks.address('secret')},b-dead=socks5://127.0.0.1:9,c={socks.address()}"
        )
    assert (run["status"], run["attempts"]) == ("success", 1)
    assert {(event["site"], event["data"]["left"]) for event in left} >= {(site, "a-wrong") for site in SITES}
    assert {event["data"]["error_code"] for event in left} == {"exit_failed"}
    assert "secret" not in str(left)


async def test_a_site_that_a_proxy_does_not_reach_is_no_failure_of_the_exit(
    stack: Endpoints, boards: Boards, user: User
) -> None:
    refused = 5
    async with socks_proxy(boards.exit_url("one"), refused) as one, socks_proxy(boards.exit_url("two"), refused) as two:
        run, left = await search(stack, boards, user, f"one={one.address()},two={two.address()}")
    assert left == []
    assert [(site["status"], site["error_code"]) for site in run["run_sites"]] == [("failed", "network")] * 3
