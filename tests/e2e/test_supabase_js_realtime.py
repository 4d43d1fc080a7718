"""Realtime through supabase-js, which speaks protocol 2.0.0, as a frontend uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.node import SUBSCRIBED, channel, needs_node
from tests.support.realtime import ALICE, BOB, Table, binding, published_table
from tests.support.stack import user_token
from worker.local.supabase.stack import Endpoints

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


@pytest.fixture
async def table(stack: Endpoints) -> AsyncIterator[Table]:
    async with published_table(stack.db_url, SCHEMA) as made:
        yield made


async def test_an_owner_hears_of_every_change_and_nobody_else_does(stack: Endpoints, table: Table) -> None:
    async with (
        channel(stack, user_token(stack, ALICE), binding(table)) as alice,
        channel(stack, user_token(stack, BOB), binding(table)) as bob,
    ):
        for client in (alice, bob):
            assert [await client.next_event() for _ in range(2)] == SUBSCRIBED

        await table.insert(1, ALICE, status="pending")
        await table.execute("update {table} set status = 'running', tags = '{{a,b}}'")
        await table.insert(2, BOB, status="pending")
        inserted, updated = [(await alice.next_event())["change"] for _ in range(2)]
        await table.execute("delete from {table} where id = 1")
        deleted = (await alice.next_event())["change"]

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
        assert (await bob.next_event())["change"]["new"]["id"] == 2
        assert (await bob.next_event())["change"]["old"] == {"id": 1}


async def test_bindings_are_told_apart(stack: Endpoints, table: Table) -> None:
    bindings = [binding(table, "INSERT"), binding(table, "UPDATE"), binding(table, filter="status=in.(failed,done)")]
    async with channel(stack, user_token(stack, ALICE), *bindings) as client:
        assert [await client.next_event() for _ in range(2)] == SUBSCRIBED

        await table.insert(1, ALICE, status="pending")
        await table.execute("update {table} set status = 'done'")

        heard = [await client.next_event() for _ in range(3)]
        assert sorted((event["change"]["eventType"], event["binding"]) for event in heard) == [
            ("INSERT", 0),
            ("UPDATE", 1),
            ("UPDATE", 2),
        ]


async def test_an_expired_token_ends_the_channel(stack: Endpoints, table: Table) -> None:
    async with channel(stack, user_token(stack, ALICE, lifetime_seconds=3), binding(table)) as client:
        assert [await client.next_event() for _ in range(2)] == SUBSCRIBED

        assert await client.next_event() == {"system": "error", "message": "Token has expired 0 seconds ago"}
        assert await client.next_event() == {"state": "CLOSED"}


async def test_a_refreshed_token_keeps_it(stack: Endpoints, table: Table) -> None:
    short = user_token(stack, ALICE, lifetime_seconds=5)
    async with (
        channel(stack, short, binding(table)) as refreshed,
        channel(stack, short, binding(table)) as neglected,
    ):
        for client in (refreshed, neglected):
            assert [await client.next_event() for _ in range(2)] == SUBSCRIBED
        await refreshed.send("refresh", user_token(stack, ALICE))
        assert (await refreshed.next_event())["done"] == "refresh"
        assert await refreshed.next_event() == SUBSCRIBED[1]

        assert [await neglected.next_event() for _ in range(2)][1] == {"state": "CLOSED"}
        await table.insert(1, ALICE, status="pending")
        assert (await refreshed.next_event())["change"]["new"]["id"] == 1


async def test_it_leaves_and_broadcasts_do_no_harm(stack: Endpoints, table: Table) -> None:
    async with channel(stack, user_token(stack, ALICE), binding(table)) as client:
        assert [await client.next_event() for _ in range(2)] == SUBSCRIBED

        await client.send("broadcast", {"hello": "world"})
        assert (await client.next_event())["done"] == "broadcast"
        await table.insert(1, ALICE, status="pending")
        assert (await client.next_event())["change"]["new"]["id"] == 1
        await client.send("unsubscribe")

        assert await client.next_event() == {"state": "CLOSED"}
        assert await client.next_event() == {"done": "unsubscribe", "result": "ok"}
