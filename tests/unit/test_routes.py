"""Which exit a search uses, and when it asks again through another one."""

# ruff: noqa: ARG002 (a queue that is played)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from uuid import UUID

import pytest

from worker.database.answers import Granted
from worker.database.client import open_client
from worker.database.queue import Queue
from worker.engine.exits import MAX_EXITS_A_PAGE, LeftExits, Route
from worker.engine.permits import DatabasePermits
from worker.errors import ErrorCode, ExitError, SiteError
from worker.http import Exit
from worker.http.exits import OWN_ADDRESS
from worker.http.usage import Usage
from worker.model import Lease, RunSite, SiteLimits

SITE = RunSite("board", 1)
LEASE = Lease(UUID(int=1), UUID(int=2))
ONE, TWO = Exit(name="one", address="h:1"), Exit(name="two", address="h:2")
POOL = Exit(name="pool", address="h:3", rotating=True)
BLOCKED = SiteError(ErrorCode.BLOCKED, "403")


class ChoosingQueue(Queue):
    """Chooses the other one of two exits, and notes the arguments of each call."""

    left: list[tuple[str, str]]
    permits: list[str]

    async def leave_exit(
        self, lease: Lease, site: RunSite, left: Exit, *, code: str, error: SiteError, exits: Sequence[Exit]
    ) -> Granted:
        self.left.append((left.name, code))
        return Granted(0, next((each.name for each in exits if each.name != left.name), left.name))

    async def take_permit(
        self,
        lease: Lease,
        site: RunSite,
        bucket: str,
        requests: int,
        limits: SiteLimits,
        *,
        exits: Sequence[Exit] | None = None,
    ) -> Granted:
        return Granted(0.01, self.permits.pop(0))


@pytest.fixture
async def queue() -> AsyncIterator[ChoosingQueue]:
    async with open_client("http://supabase.test", "a-key", timeout_seconds=5) as client:
        queue = ChoosingQueue(client, worker_id="w", lease_seconds=60, outage_seconds=60)
        queue.left, queue.permits = [], []
        yield queue


def route(queue: Queue, *exits: Exit, left: LeftExits | None = None, counts_by_exit: bool = True) -> Route:
    left = left or LeftExits()
    return Route(queue, LEASE, SITE, exits, left=left, usage=Usage(), counts_by_exit=counts_by_exit)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BLOCKED, "blocked"),
        (SiteError(ErrorCode.RATE_LIMITED, "429"), "rate_limited"),
        (ExitError("407"), "exit_failed"),
    ],
)
async def test_a_refusal_leads_to_another_exit(queue: ChoosingQueue, error: SiteError, code: str) -> None:
    search = route(queue, ONE, TWO)
    await search.leave(error)
    assert (search.current, queue.left) == (TWO, [("one", code)])


@pytest.mark.parametrize(
    "error",
    [
        SiteError(ErrorCode.UPSTREAM, "500"),
        SiteError(ErrorCode.NETWORK, "reset"),
        SiteError(ErrorCode.NOT_FOUND, "404"),
        # Of a permit: the run would have to wait for too long.
        SiteError(ErrorCode.RATE_LIMITED, "pace", is_final=True),
    ],
)
async def test_other_failures_are_those_of_the_search(queue: ChoosingQueue, error: SiteError) -> None:
    with pytest.raises(SiteError) as raised:
        await route(queue, ONE, TWO).leave(error)
    assert (raised.value, queue.left) == (error, [])


@pytest.mark.parametrize("exits", [[ONE], [OWN_ADDRESS]])
async def test_with_one_exit_the_site_fails(queue: ChoosingQueue, exits: list[Exit]) -> None:
    with pytest.raises(SiteError, match="403"):
        await route(queue, *exits).leave(BLOCKED)
    assert queue.left == []


async def test_a_gateway_alone_is_asked_again(queue: ChoosingQueue) -> None:
    search = route(queue, POOL)
    await search.leave(BLOCKED)
    assert (search.current, queue.left) == (POOL, [("pool", "blocked")])


async def test_a_page_is_asked_again_a_few_times(queue: ChoosingQueue) -> None:
    search = route(queue, ONE, TWO)
    for _ in range(MAX_EXITS_A_PAGE):
        await search.leave(BLOCKED)
    with pytest.raises(SiteError, match="403"):
        await search.leave(BLOCKED)
    search.note_page()
    await search.leave(BLOCKED)
    assert len(queue.left) == MAX_EXITS_A_PAGE + 1


async def test_where_a_key_counts_only_a_dead_exit_is_left(queue: ChoosingQueue) -> None:
    search = route(queue, ONE, TWO, counts_by_exit=False)
    assert search.offered is None
    with pytest.raises(SiteError, match="403"):
        await search.leave(BLOCKED)
    await search.leave(ExitError("407"))
    assert (search.current, queue.left) == (TWO, [])
    with pytest.raises(ExitError):
        await search.leave(ExitError("407"))


async def test_the_own_address_alone_is_not_offered(queue: ChoosingQueue) -> None:
    assert route(queue, OWN_ADDRESS).offered is None
    assert route(queue, OWN_ADDRESS, ONE).offered == (OWN_ADDRESS, ONE)
    assert route(queue, ONE).offered == (ONE,)


async def test_a_request_that_waits_does_not_use_an_exit_that_was_left_meanwhile(queue: ChoosingQueue) -> None:
    left = LeftExits()
    waiting, other = route(queue, ONE, TWO, left=left), route(queue, ONE, TWO, left=left)
    permits = DatabasePermits(queue, LEASE, SITE, {"board": SiteLimits()}, route=waiting, waiting=nullcontext)
    queue.permits = ["one", "two"]
    taking = asyncio.create_task(permits.take())
    await asyncio.sleep(0)
    await other.leave(BLOCKED)
    assert await taking == TWO
    assert queue.permits == []
