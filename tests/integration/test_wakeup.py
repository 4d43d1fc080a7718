"""When a worker looks for work: at once with Realtime, within the poll interval without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from tests.support.phoenix import Phoenix
from worker.database import wakeup as wakeup_module
from worker.database.changes import Change, Recheck, Subscribed, changes
from worker.database.wakeup import Wakeup

FOREVER_SECONDS = 1_000_000

# realtime-py 2.34 reads an attribute that websockets 15 calls deprecated, which would be an error in its listener.
pytestmark = pytest.mark.filterwarnings(r"ignore:ConnectionClosed\.(code|reason) is deprecated:DeprecationWarning")


@pytest.fixture
async def server() -> AsyncIterator[Phoenix]:
    async with Phoenix() as server:
        yield server


@pytest.fixture
async def wakeup(server: Phoenix) -> AsyncIterator[Wakeup]:
    """Listens to the server; nothing but a ring ends its pauses, as long as Realtime lives."""
    wakeup = Wakeup(poll_seconds=FOREVER_SECONDS, poll_idle_seconds=FOREVER_SECONDS)
    listener = asyncio.create_task(wakeup.listen(server.url, "key"))
    yield wakeup
    assert not listener.done()
    listener.cancel()
    await asyncio.wait([listener])


async def test_an_insert_ends_the_pause(server: Phoenix, wakeup: Wakeup) -> None:
    await wakeup.rung()
    subscriber = await server.subscribers.get()
    for _ in range(2):
        pause = asyncio.create_task(wakeup.pause(found_work=False))
        await subscriber.insert("search_runs", {"id": "1"})
        await pause


async def test_a_cancellation_ends_the_pause_between_heartbeats_alone(server: Phoenix, wakeup: Wakeup) -> None:
    await wakeup.rung()
    await wakeup.pause_heartbeats(FOREVER_SECONDS)  # some may have been cancelled before the subscription
    subscriber = await server.subscribers.get()
    looking = asyncio.create_task(wakeup.pause(found_work=False))
    for _ in range(2):
        heartbeat = asyncio.create_task(wakeup.pause_heartbeats(FOREVER_SECONDS))
        await subscriber.update("search_runs", {"id": "1", "status": "cancelled"})
        await heartbeat
    assert not looking.done()
    await subscriber.insert("search_runs", {"id": "1"})
    await looking


async def test_without_realtime_heartbeats_ask_for_cancellations(
    server: Phoenix, wakeup: Wakeup, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wakeup.rung()
    await wakeup.pause_heartbeats(FOREVER_SECONDS)
    monkeypatch.setattr(wakeup_module, "MAX_HEARTBEAT_PAUSE_WITHOUT_REALTIME_SECONDS", 0.01)
    heartbeat = asyncio.create_task(wakeup.pause_heartbeats(FOREVER_SECONDS))
    await server.stop()
    await heartbeat
    for _ in range(3):
        await wakeup.pause_heartbeats(FOREVER_SECONDS)


async def test_a_new_subscription_ends_the_pause(server: Phoenix, wakeup: Wakeup) -> None:
    await wakeup.rung()
    (await server.subscribers.get()).abort()
    await wakeup.rung()  # lost
    await wakeup.rung()  # what came in meanwhile has to be looked for
    await (await server.subscribers.get()).insert("search_runs", {"id": "1"})
    await wakeup.pause(found_work=False)


async def test_without_realtime_pauses_are_short(
    server: Phoenix, wakeup: Wakeup, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wakeup.rung()
    pause = asyncio.create_task(wakeup.pause(found_work=False))
    await server.stop()
    await pause

    monkeypatch.setattr(wakeup_module, "MAX_PAUSE_WITHOUT_REALTIME_SECONDS", 0.01)
    for _ in range(3):  # nobody rings
        await wakeup.pause(found_work=False)

    await server.start()
    await wakeup.rung()
    await server.subscribers.get()  # of the first subscription
    pause = asyncio.create_task(wakeup.pause(found_work=False))
    await (await server.subscribers.get()).insert("search_runs", {"id": "1"})
    await pause


async def test_a_listener_that_fails_tries_again(server: Phoenix, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [LookupError("no attribute of the library is what it was")]

    def fail_once(*arguments: Any, **options: Any) -> AsyncGenerator[Subscribed | Recheck | Change, None]:
        if failures:
            raise failures.pop()
        return changes(*arguments, **options)

    monkeypatch.setattr(wakeup_module, "changes", fail_once)
    wakeup = Wakeup(poll_seconds=0, poll_idle_seconds=0)
    listener = asyncio.create_task(wakeup.listen(server.url, "key"))
    await wakeup.rung()
    assert not failures
    listener.cancel()
    await asyncio.wait([listener])
