"""The gateway of a local stack while its Postgres is away, and after it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.stack import served
from worker.local.loopback import free_port
from worker.local.supabase.postgres import Postgres
from worker.local.supabase.stack import Endpoints

ACCOUNT = {"email": "ada@example.com", "password": "correct horse"}
PATIENCE_SECONDS = 30


@pytest.fixture
async def postgres(data_folder: Path) -> AsyncIterator[Postgres]:
    server = Postgres(data_folder, free_port(), password="a-password", sync=False)
    await asyncio.to_thread(server.start)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)


def client(stack: Endpoints) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=stack.url, headers={"apikey": stack.service_role_key}, timeout=30)


def is_lost(answer: httpx.Response) -> bool:
    """Whether a connection to the database had closed without a message."""
    return answer.status_code == 400 and answer.json().get("code") == ""


async def answered(http: httpx.AsyncClient, path: str, body: dict[str, str]) -> httpx.Response:
    """Ask until it is no failure of the server's."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            answer = await http.post(path, json=body)
            if not (answer.is_server_error or is_lost(answer)):
                return answer
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("immediately", [False, True])
async def test_rest_and_auth_outlive_the_database(postgres: Postgres, immediately: bool) -> None:
    async with served(postgres) as stack, client(stack) as http:
        with psycopg.connect(stack.db_url, autocommit=True) as connection:
            connection.execute("create function public.answer() returns int language sql return 42")
            connection.execute("grant execute on function public.answer to service_role")
        assert (await http.post("/auth/v1/signup", json=ACCOUNT)).status_code == 200
        assert (await http.post("/rest/v1/rpc/answer", json={})).json() == 42

        await asyncio.to_thread(postgres.stop, immediately=immediately)
        refused = await http.post("/auth/v1/token?grant_type=password", json=ACCOUNT)
        assert (refused.status_code, refused.json()["code"]) == (500, "unexpected_failure")
        refused = await http.post("/rest/v1/rpc/answer", json={})
        assert is_lost(refused) if immediately else refused.status_code == 503

        await asyncio.to_thread(postgres.start)
        assert (await answered(http, "/rest/v1/rpc/answer", {})).json() == 42
        assert (await answered(http, "/auth/v1/token?grant_type=password", ACCOUNT)).status_code == 200
