"""Progress that a search reports: the real queue in front of a simulated API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import httpx
import pytest
import respx

from worker.database.answers import SavedPage
from worker.database.client import open_client
from worker.database.queue import Queue
from worker.engine.progress import PAUSE_SECONDS, ProgressWriter
from worker.model import Lease, Progress, RunSite

URL = "http://supabase.test"
LEASE = Lease(UUID(int=1), UUID(int=2))


@pytest.fixture
async def queue() -> AsyncIterator[Queue]:
    async with open_client(URL, "a-key", timeout_seconds=5) as client:
        yield Queue(client, worker_id="w", lease_seconds=60, outage_seconds=60)


class Api:
    """Answers each write with a status; None: not at all.

    Args:
        status: The status.
        seconds: What each write returns, one after the other, then null.
    """

    def __init__(self, status: int | None = 200, seconds: Sequence[float | None] = ()) -> None:
        self.written: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._status = status
        self._seconds = iter(seconds)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.written.put_nowait(json.loads(request.content)["progress"])
        if self._status is None:
            await asyncio.Event().wait()
        error = {
            "code": "PT409" if self._status == 409 else "22023",
            "message": "refused",
            "details": None,
            "hint": None,
        }
        return httpx.Response(self._status or 200, json=next(self._seconds, None) if self._status == 200 else error)


@pytest.mark.parametrize("status", [200, 400, 409])
async def test_the_latest_is_written_whatever_becomes_of_the_writes(queue: Queue, status: int) -> None:
    api = Api(status)
    with respx.mock() as router:
        router.post(f"{URL}/rest/v1/rpc/worker_write_progress").mock(side_effect=api)
        async with ProgressWriter(queue, LEASE, RunSite("board", 1)) as writer:
            for done in range(10):
                await writer.report(Progress("enriching", done, 10, {"channel": "a\0b"}))
            first = await api.written.get()
            for done in range(10, 20):
                await writer.report(Progress("scoring", done))
            second = await api.written.get()
        assert first == {
            "step": "enriching", "site": "board", "current": 9, "total": 10, "details": {"channel": "ab"},
        }  # fmt: skip
        assert (second["step"], second["current"], second["total"]) == ("scoring", 19, None)
        assert api.written.empty()


async def test_a_report_does_not_wait_for_the_write(queue: Queue) -> None:
    api = Api(None)
    with respx.mock(assert_all_called=False) as router:  # a call that was cut off does not count
        router.post(f"{URL}/rest/v1/rpc/worker_write_progress").mock(side_effect=api)
        async with ProgressWriter(queue, LEASE, RunSite("board", 1)) as writer:
            await writer.report(Progress("searching", 1))
            await api.written.get()
            await writer.report(Progress("searching", 2))
        assert writer.latest.current == 2


async def test_what_a_page_shows_is_not_written_once_more(queue: Queue) -> None:
    api = Api()
    with respx.mock() as router:
        router.post(f"{URL}/rest/v1/rpc/worker_write_progress").mock(side_effect=api)
        async with ProgressWriter(queue, LEASE, RunSite("board", 1)) as writer:
            await writer.report(Progress("searching", 1))
            writer.sent()
            await writer.report(Progress("searching", 2))
            assert (await api.written.get())["current"] == 2
        assert api.written.empty()


async def test_the_start_of_a_search_is_written_if_it_finds_nothing_at_once(queue: Queue) -> None:
    api = Api()
    with respx.mock() as router:
        router.post(f"{URL}/rest/v1/rpc/worker_write_progress").mock(side_effect=api)
        async with ProgressWriter(queue, LEASE, RunSite("board", 1)):
            assert (await api.written.get())["step"] == "searching"


@pytest.mark.parametrize("shown_in_seconds", [None, 0.2])
async def test_a_page_whose_progress_was_refused_is_written_later(queue: Queue, shown_in_seconds: float | None) -> None:
    api = Api()
    with respx.mock(assert_all_called=False) as router:
        router.post(f"{URL}/rest/v1/rpc/worker_write_progress").mock(side_effect=api)
        async with ProgressWriter(queue, LEASE, RunSite("board", 1)) as writer:
            writer.sent()
            writer.saved(SavedPage("completed", 1, 1, shown_in_seconds))
            await asyncio.sleep(PAUSE_SECONDS + 0.3)
    assert api.written.qsize() == (shown_in_seconds is not None)


async def test_a_refused_write_is_repeated_when_the_database_says(queue: Queue) -> None:
    api = Api(seconds=[1.5])
    with respx.mock() as router:
        router.post(f"{URL}/rest/v1/rpc/worker_write_progress").mock(side_effect=api)
        async with ProgressWriter(queue, LEASE, RunSite("board", 1)) as writer:
            await writer.report(Progress("searching", 1))
            await api.written.get()
            refused_at = asyncio.get_running_loop().time()
            await writer.report(Progress("searching", 2))
            assert (await api.written.get())["current"] == 2
            assert asyncio.get_running_loop().time() - refused_at >= 1.4
