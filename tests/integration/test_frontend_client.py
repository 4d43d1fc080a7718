"""The client that frontends copy, `examples/nextjs/lib/search`, with the real supabase-js."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from supabase import AsyncClient

from tests.support.database import Configure, Connection
from tests.support.node import NODE_MODULES, NodeProcess, needs_node, node
from tests.support.proxy import proxied
from tests.support.queue import (
    Row,
    call,
    claim,
    enqueue,
    finish_run,
    finish_site,
    lease,
    page,
    save_page,
    start_site,
    user_id,
)
from tests.support.stack import user_token
from worker.local.supabase.stack import Endpoints

pytestmark = needs_node

CLIENT = Path(__file__).parents[2] / "examples" / "nextjs" / "lib" / "search"
Frontend: TypeAlias = Callable[..., AbstractAsyncContextManager[NodeProcess]]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The client as one file that Node can import."""
    file = tmp_path_factory.mktemp("client") / "search.mjs"
    command = [
        str(NODE_MODULES / ".bin" / "esbuild"),
        str(CLIENT / "index.ts"),
        "--bundle",
        "--format=esm",
        f"--outfile={file}",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return str(file)


@pytest.fixture(autouse=True)
async def each_change_is_published(configure: Configure) -> None:
    """Workers repeat what was too soon after the last change; the tests do not."""
    await configure("progress_interval", "0")


@pytest.fixture
async def ada_id(ada: AsyncClient) -> str:
    return await user_id(ada)


@pytest.fixture
def frontend(stack: Endpoints, bundle: str, ada_id: str) -> Frontend:
    """Start a frontend of Ada, or of another user."""

    def start(
        user: str = ada_id, *, at: Endpoints = stack, lifetime_seconds: int = 600, haste: int = 1
    ) -> AbstractAsyncContextManager[NodeProcess]:
        token = user_token(stack, user, lifetime_seconds=lifetime_seconds)
        return node("client.mjs", at, token=token, bundle=bundle, haste=haste)

    return start


async def told(frontend: NodeProcess, **expected: Any) -> Row:
    """Wait for an event with these values."""
    while True:
        event = await frontend.next_event()
        if expected.items() <= event.items():
            return event


async def asked(frontend: NodeProcess, command: str, argument: object = None) -> Any:
    """Send a command, and wait for its result."""
    await frontend.send(command, argument)
    event = await told(frontend, done=command)
    return event.get("failed", event.get("result"))


async def found(service: AsyncClient, run: Row, site: str, *external_ids: str) -> None:
    """Have the worker find these at a site, which it then ends."""
    await start_site(service, run, site)
    await save_page(service, **lease(run), **page(site, 1, [*external_ids]))
    await finish_site(service, run, site=site)


async def test_a_run_is_watched_to_its_end(
    frontend: Frontend, ada: AsyncClient, service: AsyncClient, kind: str
) -> None:
    run = await enqueue(ada, kind, sites=["indeed", "linkedin"], results_wanted=2)
    async with frontend() as phone, frontend() as laptop:
        assert (await asked(phone, "active"))["id"] == run["id"]
        for device in (phone, laptop):
            await device.send("watch", run["id"])
            assert (await told(device, state="pending"))["sites"] == {"indeed": "pending", "linkedin": "pending"}
        (claimed,) = await claim(service, kind)
        await found(service, claimed, "indeed", "a")
        for device in (phone, laptop):
            await told(device, state="running", sites={"indeed": "completed", "linkedin": "pending"})
        await found(service, claimed, "linkedin", "b")
        await finish_run(service, claimed)
        for device in (phone, laptop):
            ended = await told(device, state="success")
            assert ended == {
                "state": "success",
                "progress": 4,
                "sites": {"indeed": "completed", "linkedin": "completed"},
            }
        shown = await asked(phone, "page", [run["id"], {"perPage": 1, "sort": "posted"}])
        assert (shown["total"], shown["has_more"], len(shown["items"])) == (2, True, 1)
        assert (await asked(phone, "insights", run["id"]))["found"] == 2
        assert await asked(phone, "active") is None


async def test_a_follower_is_watched_also_when_its_leader_is_cancelled(
    frontend: Frontend, ada: AsyncClient, bob: AsyncClient, service: AsyncClient, kind: str
) -> None:
    leader = await enqueue(ada, kind, sites=["indeed"], results_wanted=1)
    follower = await call(bob, "enqueue_search", kind=kind, parameters=leader["parameters"])
    assert follower["leader_run_id"] == leader["id"]
    async with frontend(await user_id(bob)) as client:
        await client.send("watch", follower["id"])
        await told(client, state="pending", sites={"indeed": "pending"})
        (claimed,) = await claim(service, kind)
        await told(client, state="running")
        await start_site(service, claimed, "indeed")
        await told(client, state="running", sites={"indeed": "running"})
        await call(ada, "cancel_search", run_id=leader["id"])
        # The next claim makes it the leader.
        (claimed,) = await claim(service, kind)
        assert claimed["run_id"] == follower["id"]
        await found(service, claimed, "indeed", "a")
        await finish_run(service, claimed)
        await told(client, state="success", progress=1, sites={"indeed": "completed"})


async def test_another_user_sees_nothing(frontend: Frontend, ada: AsyncClient, bob: AsyncClient, kind: str) -> None:
    run = await enqueue(ada, kind)
    async with frontend(await user_id(bob)) as other:
        await other.send("watch", run["id"])
        await told(other, error="There is no such run.")
        assert await asked(other, "cancel", run["id"]) == "run_id must be the id of one of your runs"
        assert await asked(other, "runs") == []
        await other.send("watchRuns", await user_id(ada))
        await told(other, runs=[])


async def test_the_runs_of_a_user_are_watched(frontend: Frontend, ada: AsyncClient, ada_id: str, kind: str) -> None:
    async with frontend() as client:
        await client.send("watchRuns", ada_id)
        await told(client, runs=[])
        run = await enqueue(ada, kind)
        await told(client, runs=[[run["id"], "pending"]])
        await asked(client, "cancel", run["id"])
        await told(client, runs=[[run["id"], "cancelled"]])
        again = await asked(client, "rerun", run["id"])
        await told(client, runs=[[again["id"], "pending"], [run["id"], "cancelled"]])


async def test_an_expired_token_does_not_end_the_watch(
    *, frontend: Frontend, stack: Endpoints, ada: AsyncClient, ada_id: str, service: AsyncClient, kind: str
) -> None:
    run = await enqueue(ada, kind, sites=["indeed"])
    async with proxied(stack) as (at, proxy), frontend(at=at, lifetime_seconds=3) as client:
        await client.send("watch", run["id"])
        await told(client, state="pending")
        await proxy.has_sent("system")
        await client.send("token", user_token(stack, ada_id))
        # Realtime closes the channel when the token of its join has expired.
        await proxy.has_sent("phx_close")
        joined = proxy.events.count("system")
        await proxy.has_sent("system", times=joined + 1)
        (claimed,) = await claim(service, kind)
        await proxy.has_sent("postgres_changes")
        await told(client, state="running")
        await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(claimed)])


async def test_a_cut_socket_does_not_end_the_watch(
    frontend: Frontend, stack: Endpoints, ada: AsyncClient, service: AsyncClient, kind: str
) -> None:
    run = await enqueue(ada, kind, sites=["indeed"])
    async with proxied(stack) as (at, proxy), frontend(at=at) as client:
        await client.send("watch", run["id"])
        await proxy.has_sent("system")
        proxy.cut()
        await proxy.has_sent("system", times=2)
        await claim(service, kind)
        await proxy.has_sent("postgres_changes")
        await told(client, state="running")


async def test_polling_takes_over_from_a_silent_realtime_and_gives_way_again(
    frontend: Frontend, stack: Endpoints, ada: AsyncClient, service: AsyncClient, kind: str
) -> None:
    run = await enqueue(ada, kind, sites=["indeed"])
    async with proxied(stack) as (at, proxy), frontend(at=at) as client:
        await client.send("watch", run["id"])
        await proxy.has_sent("system")
        proxy.is_silent = True
        (claimed,) = await claim(service, kind)
        await told(client, state="running")
        await told(client, pause=3000)
        assert "postgres_changes" not in proxy.events
        proxy.is_silent = False
        await found(service, claimed, "indeed", "a")
        await proxy.has_sent("postgres_changes")
        await told(client, pause=30000)
        await finish_run(service, claimed)
        await told(client, state="success")


async def test_pauses_between_readings_that_fail_grow(frontend: Frontend, ada: AsyncClient, kind: str) -> None:
    run = await enqueue(ada, kind, sites=["indeed"])
    async with frontend(haste=1000) as client:
        await client.send("watch", run["id"])
        await told(client, state="pending")
        await asked(client, "down")
        await told(client, error="down")
        pauses = [await told(client) for _ in range(11)]
        assert [event["pause"] for event in pauses if "pause" in event] == [3000, 6000, 12000, 24000, 30000, 30000]
        await asked(client, "up")
        await call(ada, "cancel_search", run_id=run["id"])
        await told(client, state="cancelled")


async def test_hints_do_not_shorten_the_pause_after_a_failure(
    *, frontend: Frontend, stack: Endpoints, ada: AsyncClient, database: Connection, kind: str
) -> None:
    run = await enqueue(ada, kind, sites=["indeed"])
    async with proxied(stack) as (at, proxy), frontend(at=at) as client:
        await client.send("watch", run["id"])
        await told(client, state="pending")
        await proxy.has_sent("system")
        await asked(client, "down")
        for number in range(1, 6):
            await database.execute(
                "update public.search_runs set progress_current = %s where id = %s", [number, run["id"]]
            )
            await proxy.has_sent("postgres_changes", times=number)
        await client.send("up")
        failures = 0
        while (event := await client.next_event()).get("progress") != 5:
            failures += "error" in event
        assert failures <= 1


async def test_a_reading_under_way_shows_nothing_after_the_watch_is_stopped(
    frontend: Frontend, ada: AsyncClient, kind: str
) -> None:
    run = await enqueue(ada, kind, sites=["indeed"])
    async with frontend(haste=1000) as client:
        await client.send("watch", run["id"])
        await told(client, state="pending")
        await asked(client, "hold")
        await told(client, held=True)
        await asked(client, "stop")
        await asked(client, "release")
        await call(ada, "cancel_search", run_id=run["id"])
        await client.send("active")
        assert [
            event for event in await client.events_until("done") if event.keys() & {"state", "error", "pause"}
        ] == []
