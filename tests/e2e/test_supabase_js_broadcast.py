"""Broadcast through supabase-js, as a frontend uses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.node import NodeProcess, needs_node, node
from tests.support.realtime import ALICE, BOB
from tests.support.stack import user_token
from worker.local.supabase.stack import Endpoints

pytestmark = needs_node

POLICIES = """
create policy js_reads on realtime.messages for select to authenticated
    using (realtime.topic() = 'user:' || (select auth.uid())::text);
create policy js_writes on realtime.messages for insert to authenticated
    with check (realtime.topic() = 'user:' || (select auth.uid())::text);
"""


@pytest.fixture
def database(stack: Endpoints) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stack.db_url, autocommit=True) as connection:
        connection.execute(POLICIES.encode())
        yield connection
        connection.execute("drop policy js_reads on realtime.messages; drop policy js_writes on realtime.messages")


async def done(client: NodeProcess, command: str, argument: object) -> Any:
    await client.send(command, argument)
    return (await client.events_until("done"))[-1]["result"]


async def test_public_channels(stack: Endpoints) -> None:
    async with (
        node("broadcast.mjs", stack, channels={"room": {"broadcast": {"ack": True}}}) as alice,
        node("broadcast.mjs", stack, channels={"room": {}}) as bob,
    ):
        for client in (alice, bob):
            assert await done(client, "subscribe", "room") == ["SUBSCRIBED", None]
        assert await done(alice, "send", ["room", "moved", {"x": 1, "name": "Žofia"}]) == "ok"
        message = {"type": "broadcast", "event": "moved", "payload": {"x": 1, "name": "Žofia"}}
        assert await bob.next_event() == {"heard": "room", "message": message}
        assert await done(alice, "bytes", ["room", "raw", [0, 255]]) == "ok"
        assert (await bob.next_event())["message"]["payload"] == [0, 255]
        assert await done(alice, "http", ["room", "by-http", {"y": 2}]) == {"success": True}
        assert (await bob.next_event())["message"]["payload"] == {"y": 2}


async def test_private_channels_and_the_database(stack: Endpoints, database: psycopg.Connection) -> None:
    name = f"user:{ALICE}"
    channels = {name: {"private": True, "broadcast": {"self": True, "ack": True}}}
    async with (
        node("broadcast.mjs", stack, channels=channels, token=user_token(stack, ALICE)) as alice,
        node("broadcast.mjs", stack, channels=channels, token=user_token(stack, BOB)) as bob,
    ):
        assert await done(alice, "subscribe", name) == ["SUBSCRIBED", None]
        state, reason = await done(bob, "subscribe", name)
        assert (state, "You do not have permissions to read" in reason) == ("CHANNEL_ERROR", True)

        database.execute("select realtime.send('{\"n\": 1}', 'progress', %s)", (name,))
        heard = (await alice.next_event())["message"]
        assert heard["payload"].pop("id") == heard.pop("meta")["id"]
        assert heard == {"type": "broadcast", "event": "progress", "payload": {"n": 1}}

        await alice.send("send", [name, "mine", {}])
        events = [await alice.next_event(), await alice.next_event()]
        assert {"done": "send", "result": "ok"} in events
        assert {"heard": name, "message": {"type": "broadcast", "event": "mine", "payload": {}}} in events
        assert await done(bob, "http", [name, "theirs", {}]) == {"error": "Unauthorized"}
