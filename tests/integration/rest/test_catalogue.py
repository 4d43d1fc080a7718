"""The schema may change between two requests, and connections come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import psycopg
import psycopg_pool
import pytest
from psycopg.conninfo import make_conninfo
from starlette.applications import Starlette

from tests.support.books import error
from tests.support.database import new_database
from worker.local.supabase.postgres import Postgres
from worker.local.supabase.rest.api import configure, rest_routes
from worker.local.supabase.tokens import Tokens


@pytest.fixture
async def owner(postgres: Postgres) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """The role that migrations are applied with, in a database that holds nothing but what the bootstrap makes."""
    async with await psycopg.AsyncConnection.connect(new_database(postgres), autocommit=True) as connection:
        yield connection


@pytest.fixture
async def rest(postgres: Postgres, owner: psycopg.AsyncConnection[Any]) -> AsyncIterator[httpx.AsyncClient]:
    """Requests of the service role to that database, over connections that have answered many before."""
    tokens = Tokens("x" * 32)
    dsn = make_conninfo(postgres.dsn("authenticator"), dbname=owner.info.dbname)
    headers = {"authorization": f"Bearer {tokens.api_key('service_role')}"}
    async with psycopg_pool.AsyncConnectionPool(dsn, min_size=2, max_size=2, configure=configure, open=False) as pool:
        transport = httpx.ASGITransport(Starlette(routes=rest_routes(pool, tokens)))
        async with httpx.AsyncClient(transport=transport, base_url="http://stack", headers=headers) as client:
            # At first Postgres plans a prepared statement at each use, and then once for all.
            for path in ["/rpc/none", "/none"] * 20:
                assert (await client.get(path)).status_code == 404
            yield client


async def test_functions_are_as_the_last_commit_left_them(
    rest: httpx.AsyncClient, owner: psycopg.AsyncConnection[Any]
) -> None:
    async def answer(**arguments: int) -> Any:
        response = await rest.post("/rpc/changing", json=arguments)
        return response.json() if response.status_code == 200 else response.json()["code"]

    create = "create function public.changing({}) returns {} language sql as 'select {}'"
    assert await answer(a=1) == "PGRST202"
    await owner.execute(create.format("a int", "int", "a"))
    assert await answer(a=1) == 1
    await owner.execute(create.replace("create", "create or replace").format("a int", "int", "a + 1"))
    assert await answer(a=1) == 2
    await owner.execute("drop function public.changing")
    assert await answer(a=1) == "PGRST202"
    await owner.execute(create.format("b int", "setof int", "b"))
    assert (await answer(a=1), await answer(b=1)) == ("PGRST202", [1])
    await owner.execute(create.format("a int, c int default 3", "int", "a + c"))
    assert (await answer(a=1), await answer(a=1, c=1), await answer(b=1)) == (4, 2, [1])


async def test_tables_are_as_the_last_commit_left_them(
    rest: httpx.AsyncClient, owner: psycopg.AsyncConnection[Any]
) -> None:
    async def insert(path: str, row: dict[str, int]) -> Any:
        response = await rest.post(path, json=row, headers={"prefer": "return=representation"})
        return response.json() if response.status_code == 201 else response.json()["code"]

    async def embedded() -> Any:
        response = await rest.get("/children?select=id,parents(id)")
        return response.json() if response.status_code == 200 else response.json()["code"]

    assert await insert("/parents", {"id": 1}) == "PGRST205"
    await owner.execute("create table public.parents (id int primary key); grant all on public.parents to service_role")
    assert await insert("/parents", {"id": 1}) == [{"id": 1}]
    assert await insert("/parents", {"id": 2, "age": 2}) == "PGRST204"
    await owner.execute("alter table public.parents add age int")
    assert await insert("/parents", {"id": 2, "age": 2}) == [{"id": 2, "age": 2}]
    await owner.execute("alter table public.parents rename age to years")
    assert await insert("/parents", {"id": 3, "age": 2}) == "PGRST204"

    await owner.execute("create table public.children (id int); grant all on public.children to service_role")
    assert await insert("/children", {"id": 1}) == [{"id": 1}]
    assert await embedded() == "PGRST200"
    await owner.execute("alter table public.children add foreign key (id) references public.parents")
    assert await embedded() == [{"id": 1, "parents": {"id": 1}}]
    await owner.execute("alter table public.children drop constraint children_id_fkey")
    assert await embedded() == "PGRST200"
    await owner.execute("drop table public.children")
    assert await embedded() == "PGRST205"


async def test_a_schema_that_was_made_a_second_time(
    rest: httpx.AsyncClient, owner: psycopg.AsyncConnection[Any]
) -> None:
    for _ in range(2):
        await owner.execute("drop schema public cascade; create schema public")
        await owner.execute("grant usage on schema public to service_role")
        await owner.execute("create table public.parents (id int primary key); insert into public.parents values (1)")
        await owner.execute("create table public.children (parent int references public.parents)")
        await owner.execute("insert into public.children values (1)")
        await owner.execute("grant all on all tables in schema public to service_role")
        await owner.execute("create function public.one() returns int language sql as 'select 1'")
        for _ in range(20):
            assert (await rest.post("/rpc/one")).json() == 1
            assert (await rest.get("/children?select=parents(id)")).json() == [{"parents": {"id": 1}}]


@pytest.mark.parametrize(("end", "known", "unknown"), [("commit", "b", "a"), ("rollback", "a", "b")])
async def test_only_what_is_committed_is_known(
    rest: httpx.AsyncClient, owner: psycopg.AsyncConnection[Any], end: str, known: str, unknown: str
) -> None:
    create = "create function public.changing({} int) returns int language sql as 'select 1'"
    await owner.execute(create.format("a"))
    await owner.execute("create function public.other() returns int language sql as 'select 2'")
    await owner.execute(
        f"begin; drop function public.changing; {create.format('b')}; create table public.made (id int)"
    )
    for response in await asyncio.gather(*(rest.post("/rpc/changing", json={"a": 0}) for _ in range(10))):
        assert response.json() == 1
    assert (await rest.get("/made")).status_code == 404
    others = [asyncio.create_task(rest.post("/rpc/other")) for _ in range(20)]
    await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
    await owner.execute(end)
    assert (await rest.post("/rpc/changing", json={known: 0})).json() == 1
    assert error(await rest.post("/rpc/changing", json={unknown: 0}))[:2] == (404, "PGRST202")
    # The owner alone may read the table: it has to be known to be refused.
    assert (await rest.get("/made")).status_code == (403 if end == "commit" else 404)
    assert [(await other).json() for other in others] == [2] * 20


async def test_a_lost_connection(http: httpx.AsyncClient) -> None:
    assert error(await http.post("/rpc/cut_connection"))[:2] == (503, "57P01")
    assert (await http.post("/rpc/add", json={"a": 1})).json() == 3


async def test_a_database_that_is_not_there() -> None:
    tokens = Tokens("x" * 32)
    pool = psycopg_pool.AsyncConnectionPool("host=127.0.0.1 port=1", open=False, timeout=0.1, min_size=0, max_size=1)
    transport = httpx.ASGITransport(Starlette(routes=rest_routes(pool, tokens)))
    headers = {"authorization": f"Bearer {tokens.api_key('anon')}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://stack", headers=headers) as client:
        assert error(await client.get("/books"))[:2] == (503, "PGRST001")
        async with pool:
            message = "Timed out acquiring connection from connection pool."
            assert error(await client.get("/books")) == (504, "PGRST003", message)
