"""What requests are answered with when the connections behind the gateway end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette

from tests.support.books import error
from worker.local.loopback import free_port
from worker.local.supabase.postgres import Postgres
from worker.local.supabase.rest.api import configure, rest_routes
from worker.local.supabase.tokens import Tokens

POOLED = 2
PATIENCE_SECONDS = 30
ANSWER = """
create function public.answer() returns int language sql return 42;
grant execute on function public.answer to service_role;
"""


@pytest.fixture
async def postgres(data_folder: Path) -> AsyncIterator[Postgres]:
    server = Postgres(data_folder, free_port(), password="a-password", sync=False)
    await asyncio.to_thread(server.start)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)


@pytest.fixture
async def http(postgres: Postgres) -> AsyncIterator[httpx.AsyncClient]:
    """Requests of the service role, over `POOLED` connections."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(ANSWER)
    tokens = Tokens("x" * 32)
    headers = {"authorization": f"Bearer {tokens.api_key('service_role')}"}
    async with AsyncConnectionPool(
        postgres.dsn("authenticator"), min_size=POOLED, max_size=POOLED, timeout=3, configure=configure, open=False
    ) as pool:
        await pool.wait()
        transport = httpx.ASGITransport(Starlette(routes=rest_routes(pool, tokens)))
        async with httpx.AsyncClient(transport=transport, base_url="http://stack", headers=headers) as client:
            assert (await client.post("/rpc/answer")).json() == 42
            yield client


async def pooled(postgres: Postgres) -> list[int]:
    """Process numbers of the connections of the REST API."""
    query = "select pid from pg_stat_activity where usename = 'authenticator'"
    async with await psycopg.AsyncConnection.connect(postgres.dsn()) as connection:
        return [pid for (pid,) in await (await connection.execute(query)).fetchall()]


async def reachable(postgres: Postgres) -> None:
    """Wait until the server accepts connections."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await (await psycopg.AsyncConnection.connect(postgres.dsn())).close()
            except psycopg.OperationalError:
                await asyncio.sleep(0.05)
            else:
                return


async def dreaming(postgres: Postgres) -> int:
    """Wait for a connection that sleeps, and return its process number."""
    query = "select pid from pg_stat_activity where usename = 'authenticator' and wait_event = 'PgSleep'"
    async with asyncio.timeout(PATIENCE_SECONDS), await psycopg.AsyncConnection.connect(postgres.dsn()) as connection:
        while True:
            await connection.rollback()
            if found := await (await connection.execute(query)).fetchone():
                return int(found[0])


def assert_empty(response: httpx.Response) -> None:
    assert (response.status_code, response.headers["proxy-status"]) == (400, "PostgREST; error=")
    assert response.json() == {"code": "", "message": "", "details": None, "hint": None}


async def assert_each_connection_fails_once(http: httpx.AsyncClient) -> None:
    for _ in range(POOLED):
        assert_empty(await http.post("/rpc/answer"))
    for _ in range(3 * POOLED):
        assert (await http.post("/rpc/answer")).json() == 42


async def test_a_server_that_stopped_at_once(postgres: Postgres, http: httpx.AsyncClient) -> None:
    await asyncio.to_thread(postgres.stop, immediately=True)
    await asyncio.to_thread(postgres.start)
    await assert_each_connection_fails_once(http)


async def test_a_server_that_crashed(postgres: Postgres, http: httpx.AsyncClient) -> None:
    os.kill((await pooled(postgres))[0], signal.SIGKILL)
    await reachable(postgres)
    await assert_each_connection_fails_once(http)


async def test_a_connection_that_ends_amid_a_request(postgres: Postgres, http: httpx.AsyncClient) -> None:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("create function public.dream() returns void language sql as 'select pg_sleep(60)'")
        connection.execute("grant execute on function public.dream to service_role")
    request = asyncio.create_task(http.post("/rpc/dream"))
    os.kill(await dreaming(postgres), signal.SIGKILL)
    assert_empty(await request)
    # A server that restarts does not end before it has.
    await reachable(postgres)


async def test_connections_that_were_ended_politely(postgres: Postgres, http: httpx.AsyncClient) -> None:
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = 'authenticator'"
        )
    for _ in range(POOLED):
        assert error(await http.post("/rpc/answer"))[:2] == (503, "57P01")
    assert (await http.post("/rpc/answer")).json() == 42


async def test_no_connection_at_all(postgres: Postgres, http: httpx.AsyncClient) -> None:
    await asyncio.to_thread(postgres.stop, immediately=True)
    for _ in range(POOLED):
        assert_empty(await http.post("/rpc/answer"))
    message = "Timed out acquiring connection from connection pool."
    assert error(await http.post("/rpc/answer")) == (504, "PGRST003", message)
