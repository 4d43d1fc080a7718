"""Realtime through supabase-js, which speaks protocol 2.0.0, as a frontend uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tests.support.node import SUBSCRIBED, frontend, needs_node, token
from worker.local.supabase.stack import Endpoints

ALICE, BOB = str(uuid4()), str(uuid4())

SCHEMA = """
create table public.{table} (
    id int primary key, owner uuid, status text, at timestamptz default '2026-01-02 03:04:05.678Z', tags text[]
);
alter table public.{table} enable row level security;
create policy owner on public.{table} for select to authenticated using (owner = (select auth.uid()));
grant select on public.{table} to authenticated;
alter publication supabase_realtime add table public.{table};
"""

pytestmark = needs_node


class Table:
    """A published table with row level security, written to as `postgres`."""

    def __init__(self, connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
        self.name = f"realtime_{uuid4().hex}"
        self._connection = connection

    async def execute(self, query: str, *parameters: object) -> None:
        await self._connection.execute(sql.SQL(query).format(table=sql.Identifier(self.name)), parameters or None)

    async def insert(self, number: int, owner: str, status: str) -> None:
        await self.execute("insert into {table} (id, owner, status) values (%s, %s, %s)", number, owner, status)


@pytest.fixture
async def table(stack: Endpoints) -> AsyncIterator[Table]:
    async with await psycopg.AsyncConnection.connect(stack.db_url, autocommit=True) as connection:
        made = Table(connection)
        await made.execute(SCHEMA)
        yield made
        await made.execute("drop table {table}")


def binding(table: Table, event: str = "*", **more: str) -> dict[str, str]:
    return {"event": event, "schema": "public", "table": table.name, **more}


async def test_an_owner_hears_of_every_change_and_nobody_else_does(stack: Endpoints, table: Table) -> None:
    async with (
        frontend(stack, token(stack, ALICE), binding(table)) as alice,
        frontend(stack, token(stack, BOB), binding(table)) as bob,
    ):
        for client in (alice, bob):
            assert [await client.hears() for _ in range(2)] == SUBSCRIBED

        await table.insert(1, ALICE, "pending")
        await table.execute("update {table} set status = 'running', tags = '{{a,b}}'")
        await table.insert(2, BOB, "pending")
        inserted, updated = [(await alice.hears())["change"] for _ in range(2)]
        await table.execute("delete from {table} where id = 1")
        deleted = (await alice.hears())["change"]

        assert inserted.pop("commit_timestamp").endswith("Z")
        assert inserted == {
            "schema": "public",
            "table": table.name,
            "eventType": "INSERT",
            "new": {"id": 1, "owner": ALICE, "status": "pending", "at": "2026-01-02T03:04:05.678+00:00", "tags": None},
            "old": {},
            "errors": None,
        }
        assert (updated["eventType"], updated["new"]["status"], updated["new"]["tags"]) == (
            "UPDATE",
            "running",
            ["a", "b"],
        )
        assert updated["old"] == {"id": 1}
        assert (deleted["eventType"], deleted["old"]) == ("DELETE", {"id": 1})
        assert (await bob.hears())["change"]["new"]["id"] == 2
        assert (await bob.hears())["change"]["old"] == {"id": 1}


async def test_bindings_are_told_apart(stack: Endpoints, table: Table) -> None:
    bindings = [binding(table, "INSERT"), binding(table, "UPDATE"), binding(table, filter="status=in.(failed,done)")]
    async with frontend(stack, token(stack, ALICE), *bindings) as client:
        assert [await client.hears() for _ in range(2)] == SUBSCRIBED

        await table.insert(1, ALICE, "pending")
        await table.execute("update {table} set status = 'done'")

        heard = [await client.hears() for _ in range(3)]
        assert sorted((event["change"]["eventType"], event["binding"]) for event in heard) == [
            ("INSERT", 0),
            ("UPDATE", 1),
            ("UPDATE", 2),
        ]


async def test_an_expired_token_ends_the_channel(stack: Endpoints, table: Table) -> None:
    async with frontend(stack, token(stack, ALICE, lifetime_seconds=3), binding(table)) as client:
        assert [await client.hears() for _ in range(2)] == SUBSCRIBED

        assert await client.hears() == {"system": "error", "message": "Token has expired 0 seconds ago"}
        assert await client.hears() == {"state": "CLOSED"}


async def test_a_refreshed_token_keeps_it(stack: Endpoints, table: Table) -> None:
    short = token(stack, ALICE, lifetime_seconds=5)
    async with (
        frontend(stack, short, binding(table)) as refreshed,
        frontend(stack, short, binding(table)) as neglected,
    ):
        for client in (refreshed, neglected):
            assert [await client.hears() for _ in range(2)] == SUBSCRIBED
        await refreshed.does("refresh", token(stack, ALICE))
        assert (await refreshed.hears())["done"] == "refresh"
        assert await refreshed.hears() == SUBSCRIBED[1]

        assert [await neglected.hears() for _ in range(2)][1] == {"state": "CLOSED"}
        await table.insert(1, ALICE, "pending")
        assert (await refreshed.hears())["change"]["new"]["id"] == 1


async def test_it_leaves_and_broadcasts_do_no_harm(stack: Endpoints, table: Table) -> None:
    async with frontend(stack, token(stack, ALICE), binding(table)) as client:
        assert [await client.hears() for _ in range(2)] == SUBSCRIBED

        await client.does("broadcast", {"hello": "world"})
        assert (await client.hears())["done"] == "broadcast"
        await table.insert(1, ALICE, "pending")
        assert (await client.hears())["change"]["new"]["id"] == 1
        await client.does("unsubscribe")

        assert await client.hears() == {"state": "CLOSED"}
        assert await client.hears() == {"done": "unsubscribe", "result": "ok"}
