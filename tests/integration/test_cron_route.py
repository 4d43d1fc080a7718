"""The route `examples/nextjs/app/api/cron`, which Vercel calls, in Node; and all who fire schedules, at once."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from tests.support.node import NODE_MODULES, NodeProcess, needs_node, node
from tests.support.queue import Row
from tests.support.site_limits import TimedDatabase, connect
from tests.support.stack import worker_environment
from worker.database.queue import open_queue
from worker.engine.chores import Scheduling
from worker.local.supabase.stack import Endpoints
from worker.settings import Settings

# All schedules of a database are fired together.
pytestmark = [*needs_node, pytest.mark.own_stack]

EXAMPLE = Path(__file__).parents[2] / "examples" / "nextjs"
SECRET = "a-secret-of-the-cron-job"
RIGHT = {"authorization": f"Bearer {SECRET}"}
CALLS_PER_MINUTE = 6

Host: TypeAlias = Callable[..., AbstractAsyncContextManager[NodeProcess]]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The route with supabase-js, as one file that Node can import."""
    file = tmp_path_factory.mktemp("route") / "route.mjs"
    command = [
        str(NODE_MODULES / ".bin" / "esbuild"),
        str(EXAMPLE / "app" / "api" / "cron" / "route.ts"),
        "--bundle",
        "--format=esm",
        "--platform=node",
        f"--outfile={file}",
    ]
    environment = os.environ | {"NODE_PATH": str(NODE_MODULES)}
    subprocess.run(command, check=True, capture_output=True, timeout=60, env=environment)
    return str(file)


@pytest.fixture
def host(stack: Endpoints, bundle: str) -> Host:
    """Start a process that has the route."""

    def start(**changes: str) -> AbstractAsyncContextManager[NodeProcess]:
        env = worker_environment(stack) | {"CRON_SECRET": SECRET} | changes
        return node("route.mjs", stack, bundle=bundle, env=env)

    return start


@pytest.fixture
def due(timed: TimedDatabase) -> Callable[[int], list[UUID]]:
    """Schedules searches that are due now; returns the searches."""
    timed.configure(schedule_jitter="0", freshness="0", max_saved_searches_per_user=10000)
    timed.configure(max_slots_per_week_per_user=10000)
    timed.connection.execute("delete from public.search_schedules")
    user = timed.new_user()

    def schedule(count: int) -> list[UUID]:
        timed.set_clock(timed.now)
        rows = timed.connection.execute(
            "with saved as (insert into public.saved_searches (user_id, name, kind, parameters)"
            " select %s, gen_random_uuid()::text, %s, %s || jsonb_build_object('search_term', 'term ' || number)"
            " from generate_series(1, %s) as number returning id)"
            " insert into public.search_schedules (saved_search_id, time_zone, times)"
            " select id, 'UTC', '{13:00}' from saved returning saved_search_id",
            [user, timed.kind, Jsonb({"sites": ["alpha"]}), count],
        ).fetchall()
        timed.advance(3600)
        return [row["saved_search_id"] for row in rows]

    return schedule


async def called(process: NodeProcess, command: str, argument: object = None) -> Any:
    """Send a command, and wait for its result."""
    await process.send(command, argument)
    (*_, event) = await process.events_until("done")
    return event["result"]


def runs_of(timed: TimedDatabase, saved: list[UUID]) -> list[int]:
    """How many runs each saved search has."""
    rows = timed.connection.execute(
        "select saved.id, count(run.id) as runs from unnest(%s::uuid[]) as saved (id)"
        " left join public.search_runs as run on run.saved_search_id = saved.id group by saved.id",
        [saved],
    ).fetchall()
    return [row["runs"] for row in rows]


async def test_the_right_secret_fires_all_that_is_due(
    host: Host, timed: TimedDatabase, due: Callable[[int], list[UUID]]
) -> None:
    saved = due(450)  # three batches
    async with host() as process:
        fired = await called(process, "call", RIGHT)
        again = await called(process, "call", RIGHT)
    assert (fired["status"], fired["cache"]) == (200, "no-store")
    assert fired["body"] == {"started": 450, "skipped": 0, "paused": 0, "next_in_seconds": 24 * 3600}
    assert again["body"]["started"] == 0
    assert runs_of(timed, saved) == [1] * 450


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": SECRET},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {SECRET[:-1]}"},
        {"authorization": f"Bearer {SECRET}x"},
        {"authorization": f"Bearer {SECRET.upper()}"},
        {"authorization": "Bearer undefined"},
        {"x-vercel-cron": "1", "user-agent": "vercel-cron/1.0"},
    ],
)
async def test_any_other_secret_is_refused(
    host: Host, timed: TimedDatabase, due: Callable[[int], list[UUID]], headers: Row
) -> None:
    saved = due(1)
    async with host() as process:
        refused = await called(process, "call", headers)
    assert (refused["status"], refused["body"]) == (401, {"error": "The header Authorization is wrong."})
    assert refused["cache"] == "no-store"
    assert runs_of(timed, saved) == [0]


@pytest.mark.parametrize("secret", [None, "", "short"])
async def test_without_a_secret_nobody_may_call(
    host: Host, timed: TimedDatabase, due: Callable[[int], list[UUID]], secret: str | None
) -> None:
    saved = due(1)
    async with host() as process:
        await called(process, "set", {"CRON_SECRET": secret})
        for given in ("", "undefined", secret or ""):
            refused = await called(process, "call", {"authorization": f"Bearer {given}"})
            assert refused["status"] == 500
            assert refused["body"] == {"error": "CRON_SECRET must be set, with at least 16 characters."}
    assert runs_of(timed, saved) == [0]


async def test_too_many_calls_are_refused_but_strangers_keep_nobody_out(host: Host) -> None:
    async with host() as process:
        for stranger in await called(process, "calls", [{"authorization": "Bearer wrong"}] * 50):
            assert stranger["status"] == 401
        answers = await called(process, "calls", [RIGHT] * (CALLS_PER_MINUTE + 2))
    assert sorted(answer["status"] for answer in answers) == [200] * CALLS_PER_MINUTE + [429] * 2
    (refused, _) = (answer for answer in answers if answer["status"] == 429)
    assert refused["body"] == {"error": f"At most {CALLS_PER_MINUTE} calls a minute."}
    assert 50 < int(refused["retryAfter"]) <= 60


async def test_two_calls_at_once_start_each_run_once(
    host: Host, timed: TimedDatabase, due: Callable[[int], list[UUID]]
) -> None:
    saved = due(450)
    async with host() as process:
        answers = await called(process, "calls", [RIGHT, RIGHT])
    assert [answer["status"] for answer in answers] == [200, 200]
    assert sum(answer["body"]["started"] for answer in answers) == 450
    assert runs_of(timed, saved) == [1] * 450


async def test_a_call_ends_while_schedules_are_held_by_another_caller(
    host: Host, due: Callable[[int], list[UUID]], stack: Endpoints
) -> None:
    due(10)
    with connect(stack.db_url) as holder, holder.transaction():
        holder.execute("select public.worker_fire_schedules()")
        async with host() as process:
            answered = await called(process, "call", RIGHT)
    assert answered["body"] == {"started": 0, "skipped": 0, "paused": 0, "next_in_seconds": 0}
    assert answered["ms"] < 3000


async def test_a_database_that_cannot_be_used_is_said_without_details(host: Host, stack: Endpoints) -> None:
    async with host(SUPABASE_SERVICE_ROLE_KEY=stack.anon_key) as process:
        await process.send("call", RIGHT)
        logged, event = await process.events_until("done")
    assert event["result"]["status"] == 502
    assert event["result"]["body"] == {"error": "Schedules could not be fired. The log has the reason."}
    assert "permission denied" in logged["logged"]


async def test_only_get_is_there(host: Host) -> None:
    async with host() as process:
        assert sorted(await called(process, "exports")) == ["GET", "maxDuration"]
    (cron,) = json.loads((EXAMPLE / "vercel.json").read_text())["crons"]
    assert (EXAMPLE / "app" / cron["path"].removeprefix("/") / "route.ts").exists()
    assert cron["schedule"] == "* * * * *"


async def test_a_worker_sql_and_the_route_fire_at_once(
    host: Host, timed: TimedDatabase, due: Callable[[int], list[UUID]], stack: Endpoints
) -> None:
    saved = due(900)
    start = threading.Barrier(2)

    def by_sql() -> int:
        with connect(stack.db_url) as connection:
            start.wait()
            # As the job of pg_cron: five batches in one transaction.
            rows = connection.execute(
                "select public.worker_fire_schedules(50) as fired from generate_series(1, 5)"
            ).fetchall()
            return sum(row["fired"]["started"] for row in rows)

    async def by_worker() -> None:
        settings = Settings(supabase_url=stack.url, supabase_service_role_key=SecretStr(stack.service_role_key))
        async with open_queue(settings) as queue:
            chore = Scheduling(queue)
            while 0 in runs_of(timed, saved):
                await chore()

    async with host() as process:
        sql = asyncio.create_task(asyncio.to_thread(by_sql))
        await asyncio.to_thread(start.wait)
        route, started_by_sql, _ = await asyncio.gather(called(process, "calls", [RIGHT, RIGHT]), sql, by_worker())
    assert started_by_sql > 0
    assert [answer["status"] for answer in route] == [200, 200]
    assert runs_of(timed, saved) == [1] * 900
