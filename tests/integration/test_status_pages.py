"""The pages of a worker: that it lives, and that it is ready."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.commands import run_command
from tests.support.listings import Listings
from tests.support.queue import enqueue_jobs
from tests.support.stack import signed_in_user, worker_environment
from tests.support.workers import worker_of, worker_process
from worker.database.user import User
from worker.engine import health, watching
from worker.local.boards import Boards
from worker.local.supabase.faulty_gateway import FaultyGateway, Outage
from worker.local.supabase.stack import Endpoints
from worker.sources import Search

pytestmark = pytest.mark.own_stack

PATIENCE_SECONDS = 30


@pytest.fixture
async def user(stack: Endpoints) -> AsyncIterator[User]:
    async with signed_in_user(stack) as signed_in:
        yield signed_in


@asynccontextmanager
async def status_pages(caplog: pytest.LogCaptureFixture) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the pages of the worker in this process."""

    async def address() -> str | None:
        found = re.search(r"Serving (http://\S+?)/healthz", caplog.text)
        return found and found[1]

    async with httpx.AsyncClient(base_url=await until(address)) as client:
        yield client


async def until(value: Callable[[], Awaitable[str | None]]) -> str:
    """Wait until there is a value."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if (found := await value()) is not None:
                return found
            await asyncio.sleep(0.02)


async def readiness(client: httpx.AsyncClient, status: int) -> str:
    """Wait until the worker is ready, or is not, and return what it says."""

    async def text() -> str | None:
        answer = await client.get("/readyz")
        return answer.text if answer.status_code == status else None

    return await until(text)


async def test_a_worker_is_ready_except_in_an_outage_and_while_it_stops(
    stack: Endpoints, user: User, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(health, "FAILING_SECONDS", 0)
    source = Listings("jobs", ["indeed"], tmp_path / "log")
    searching, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_: Search, number: int) -> None:
        if number == 1:
            searching.set()
            await go_on.wait()

    source.before_page = wait
    async with FaultyGateway(stack.url) as gateway:
        gateway.fail(Outage.UNAVAILABLE)
        settings = {"SUPABASE_URL": gateway.url, "WORKER_SPOOL_DIR": tmp_path, "WORKER_POLL_SECONDS": 0.1}
        async with worker_of(stack, source, WORKER_HTTP_PORT=0, **settings) as worker:
            working = asyncio.create_task(worker.run())
            async with status_pages(caplog) as client:
                assert await readiness(client, 503) == "not ready: no claim has succeeded yet\n"
                gateway.heal()
                assert await readiness(client, 200) == "ready\n"

                gateway.fail(Outage.HANG_UP)
                assert "Supabase has not answered, or has refused calls, for " in await readiness(client, 503)
                assert (await client.get("/healthz")).text == "ok\n"
                gateway.heal()
                await readiness(client, 200)

                await enqueue_jobs(user, "indeed")
                await searching.wait()
                worker.stop()
                assert await readiness(client, 503) == "not ready: the worker is stopping\n"
                assert (await client.get("/healthz")).status_code == 200
                go_on.set()
                await working
                with pytest.raises(httpx.ConnectError):
                    await client.get("/healthz")


async def test_a_worker_process_serves_its_pages_and_others_open_no_port(stack: Endpoints, tmp_path: Path) -> None:
    async with Boards() as boards:
        spool = {"WORKER_SPOOL_DIR": str(tmp_path)}
        async with worker_process(stack, boards, "run", WORKER_HTTP_PORT="0", **spool) as worker:
            line = await worker.logged("Serving ")
            url = line["message"].split()[1].rstrip(",")
            await worker.logged("Ready: ")
            async with httpx.AsyncClient() as client:
                assert (await client.get(url)).text == "ok\n"
            worker.process.send_signal(signal.SIGTERM)
            assert (await worker.ended())[0] == 0
        async with worker_process(
            stack, boards, "drain", "--max-seconds", "60", WORKER_HTTP_PORT="0", **spool
        ) as drain:
            code, log = await drain.ended()
        assert code == 0
        assert not [line for line in log if "Serving" in line["message"]]


async def test_without_the_extra_the_metrics_name_it(
    stack: Endpoints, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(watching, "find_spec", lambda _: None)
    source = Listings("jobs", ["indeed"], tmp_path / "log")
    async with worker_of(stack, source, WORKER_HTTP_PORT=0, WORKER_SPOOL_DIR=tmp_path) as worker:
        working = asyncio.create_task(worker.run())
        async with status_pages(caplog) as client:
            answer = await client.get("/metrics")
            await readiness(client, 200)
        worker.stop()
        await working
    assert answer.status_code == 501
    assert answer.text == "/metrics needs the extra metrics: pip install 'supabase-search-worker[metrics]'\n"


def test_a_port_in_use_ends_the_worker_with_a_sentence(stack: Endpoints) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        answer = run_command(worker_environment(stack) | {"WORKER_HTTP_PORT": port}, "run")
    assert answer.returncode == 2
    assert answer.stderr.endswith(
        f"WORKER_HTTP_PORT: another program listens on port {port} of 127.0.0.1; choose another port\n"
    )
