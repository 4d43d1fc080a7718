"""Permits from the database: the real queue in front of a simulated API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
import respx

from worker.database.client import open_client
from worker.database.queue import Queue
from worker.engine.exits import LeftExits, Route
from worker.engine.permits import DatabasePermits, LocalPermits
from worker.errors import ErrorCode, LeaseLostError, SiteError, SiteWaitingError
from worker.http.exits import OWN_ADDRESS, Exit
from worker.http.usage import Usage
from worker.model import Lease, Observed, RunSite, SiteLimits

URL = "http://supabase.test"
LEASE = Lease(UUID(int=1), UUID(int=2))
SITE = RunSite("board", 2, account="account-1")
LIMITS = {"board": SiteLimits(requests=10, min_delay_seconds=2), "board:details": SiteLimits(quota=100)}
GRANTED = {"granted": True, "wait_seconds": 0}


@pytest.fixture
async def queue() -> AsyncIterator[Queue]:
    async with open_client(URL, "a-key", timeout_seconds=5) as client:
        yield Queue(client, worker_id="w", lease_seconds=60, outage_seconds=60)


@pytest.fixture
def api() -> Iterator[respx.MockRouter]:
    with respx.mock(base_url=f"{URL}/rest/v1/rpc/") as router:
        yield router


class Waiting:
    """Tells whether somebody waits."""

    def __init__(self) -> None:
        self.is_over = False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.is_over = True


def permits(queue: Queue, waiting: Waiting | None = None, exits: Sequence[Exit] = (OWN_ADDRESS,)) -> DatabasePermits:
    route = Route(queue, LEASE, SITE, exits, left=LeftExits(), usage=Usage(), counts_by_exit=True)
    return DatabasePermits(queue, LEASE, SITE, LIMITS, route=route, waiting=waiting or Waiting())


def sent(route: respx.Route) -> dict[str, Any]:
    arguments: dict[str, Any] = json.loads(route.calls.last.request.content)
    return arguments


async def test_a_permit_is_taken_for_the_bucket_with_its_limits(queue: Queue, api: respx.MockRouter) -> None:
    route = api.post("worker_take_permit").respond(json=GRANTED)
    await permits(queue).take("board:details", 3)
    assert sent(route) == {
        "run_id": str(LEASE.run_id),
        "lease_token": str(LEASE.token),
        "site": "board",
        "account": "account-1",
        "bucket": "board:details",
        "requests": 3,
        "limits": {
            "requests": None,
            "period_seconds": 60,
            "burst": 1,
            "min_delay_seconds": None,
            "quota": 100,
            "quota_period": "day",
            "quota_timezone": "UTC",
            "searches": None,
            "searches_per_account": None,
            "per_exit": True,
        },
        "exits": None,
    }
    await permits(queue).take()
    assert (sent(route)["bucket"], sent(route)["requests"]) == ("board", 1)


async def test_a_permit_for_later_is_waited_for(queue: Queue, api: respx.MockRouter) -> None:
    answered = asyncio.Event()

    def answer(_: httpx.Request) -> httpx.Response:
        answered.set()
        return httpx.Response(200, json={"granted": True, "wait_seconds": 600})

    api.post("worker_take_permit").mock(side_effect=answer)
    waiting = Waiting()
    taking = asyncio.create_task(permits(queue, waiting).take())
    await answered.wait()
    assert not taking.done()
    assert not waiting.is_over
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert waiting.is_over


async def test_a_site_that_must_not_be_asked_soon_has_to_wait(queue: Queue, api: respx.MockRouter) -> None:
    message = "site paused until 2026-11-22 10:15 UTC (blocked)"
    refused = {"granted": False, "reason": "paused", "message": message, "retry_in_seconds": 42.5, "until": "..."}
    api.post("worker_take_permit").respond(json=refused)
    with pytest.raises(SiteWaitingError, match="site paused until") as waiting:
        await permits(queue).take()
    assert (waiting.value.reason, waiting.value.retry_in_seconds) == (message, 42.5)


async def test_a_site_that_a_run_cannot_wait_for_has_failed_for_good(queue: Queue, api: respx.MockRouter) -> None:
    refused = {"granted": False, "error_code": "quota_exceeded", "message": "the quota begins anew in 6 h"}
    api.post("worker_take_permit").respond(json=refused)
    with pytest.raises(SiteError) as error:
        await permits(queue).take()
    assert (error.value.code, error.value.message) == (ErrorCode.QUOTA_EXCEEDED, "the quota begins anew in 6 h")
    assert error.value.is_final


async def test_a_lost_lease_gets_no_permit(queue: Queue, api: respx.MockRouter) -> None:
    lost = {"code": "PT409", "message": "lease_lost", "details": None, "hint": None}
    api.post("worker_take_permit").mock(return_value=httpx.Response(409, json=lost))
    with pytest.raises(LeaseLostError):
        await permits(queue).take()


async def test_a_bucket_without_limits_needs_no_permit_until_the_site_tells_of_one(
    queue: Queue, api: respx.MockRouter
) -> None:
    taking = api.post("worker_take_permit").respond(json=GRANTED)
    observing = api.post("worker_observe_limits").respond(json=None)
    taker = permits(queue)
    await taker.take("board:free")
    assert not taking.called
    await taker.observe(Observed(retry_after_seconds=30, remaining=5), "board:free")
    assert sent(observing) | {"run_id": None, "lease_token": None} == {
        "run_id": None,
        "lease_token": None,
        "site": "board",
        "account": "account-1",
        "bucket": "board:free",
        "observed": {"retry_after_seconds": 30, "remaining": 5, "quota": None, "resets_in_seconds": None},
        "exit": "",
    }
    await taker.take("board:free")
    assert sent(taking)["bucket"] == "board:free"


async def test_a_process_of_its_own_keeps_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [100.0], list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
    local = LocalPermits("board", LIMITS)
    await local.take()
    await local.take()
    await local.observe(Observed(retry_after_seconds=30))
    await local.take()
    await local.take("board:details")
    assert slept == [0, 6, 30, 0]
