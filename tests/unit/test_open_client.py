"""Requests of the worker and of users to Supabase: retries and errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest
import respx
from postgrest.exceptions import APIError

from worker.database.client import open_client
from worker.database.queue import Queue
from worker.database.user import User
from worker.errors import CallRefusedError

URL = "http://supabase.test"
DIED = httpx.Response(400, json={"code": "", "message": "", "details": None, "hint": None})
REFUSED = httpx.Response(400, json={"code": "22023", "message": "no", "details": None, "hint": None})


@pytest.fixture
async def queue() -> AsyncIterator[Queue]:
    async with open_client(URL, "a-key", timeout_seconds=5) as client:
        yield Queue(client, worker_id="w", lease_seconds=60, outage_seconds=60)


@pytest.fixture
async def user() -> AsyncIterator[User]:
    async with open_client(URL, "a-key", timeout_seconds=5) as client:
        yield User(client, URL, "a-key")


@respx.mock
async def test_a_call_is_sent_again_when_the_databases_connection_has_died(queue: Queue) -> None:
    calls = respx.post(f"{URL}/rest/v1/rpc/worker_delete_expired")
    calls.side_effect = [DIED, DIED, httpx.Response(200, json=7)]
    assert await queue.delete_expired() == 7


@respx.mock
async def test_a_refused_call_is_not_sent_again(queue: Queue) -> None:
    calls = respx.post(f"{URL}/rest/v1/rpc/worker_delete_expired").mock(REFUSED)
    with pytest.raises(CallRefusedError, match="22023 no"):
        await queue.delete_expired()
    assert calls.call_count == 1


@respx.mock
async def test_requests_of_a_user_are_retried(user: User) -> None:
    enqueued = respx.post(f"{URL}/rest/v1/rpc/enqueue_search")
    enqueued.side_effect = [DIED, httpx.Response(503), httpx.ConnectError("no"), httpx.Response(200, json={"id": "1"})]
    assert await user.enqueue("jobs", {"search_term": "engineer"}) == {"id": "1"}
    keys = {httpx.Response(200, content=call.request.content).json()["idempotency_key"] for call in respx.calls}
    assert len(keys) == 1
    assert keys != {None}

    listed = respx.get(f"{URL}/rest/v1/search_runs")
    listed.side_effect = [DIED, httpx.Response(200, json=[{"id": "1"}])]
    site = {"run_id": "1", "site": "indeed"}
    read = respx.get(f"{URL}/rest/v1/run_sites")
    read.side_effect = [httpx.Response(503), httpx.Response(200, json=[site])]
    assert await user.runs(5) == [{"id": "1", "run_sites": [site]}]


@respx.mock
async def test_a_rerun_is_sent_once_because_each_makes_a_run(user: User) -> None:
    calls = respx.post(f"{URL}/rest/v1/rpc/rerun_search").mock(DIED)
    with pytest.raises(APIError):
        await user.rerun("1")
    assert calls.call_count == 1


async def test_an_answer_that_trickles_is_given_up() -> None:
    ended = asyncio.Event()

    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n")
        with suppress(OSError):
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)
            await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(trickle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with open_client(f"http://127.0.0.1:{port}", "a-key", timeout_seconds=0.2) as client:
            with pytest.raises(httpx.ReadTimeout, match=r"not answered within 0\.2 s"):
                await client.table("search_runs").select("*").execute()
        await ended.wait()
