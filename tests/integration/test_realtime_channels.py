"""The channels of Realtime, their tokens, and the WebSockets that carry them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.support.realtime import ALICE, BOB, PROTOCOLS, SUBSCRIBED, Table, binding, socket_url, soon, wire
from tests.support.stack import served, user_token
from worker.local.loopback import free_port
from worker.local.supabase.gateway import MAX_FRAME_BYTES
from worker.local.supabase.postgres import Postgres
from worker.local.supabase.realtime import socket as realtime_socket
from worker.local.supabase.stack import Endpoints
from worker.local.supabase.tokens import Tokens


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_expired_token_is_told_before_the_channel_is_closed(
    stack: Endpoints, table: Table, protocol: str
) -> None:
    async with wire(stack, protocol) as client:
        await client.subscribe(binding(table), access_token=user_token(stack, ALICE, lifetime_seconds=2))

        told, closed = await client.receive(), await client.receive()

        assert told.event == "system"
        assert told.payload == {
            "extension": "system",
            "status": "error",
            "message": "Token has expired 0 seconds ago",
            "channel": "runs",
        }
        assert (closed.event, closed.topic, closed.ref) == ("phx_close", "realtime:runs", "1")
        await client.send("realtime:runs", "access_token", {"access_token": user_token(stack, ALICE)})
        assert (await client.receive()).payload == {"status": "error", "response": {"reason": "unmatched topic"}}


async def test_a_refreshed_token_keeps_the_channel_open(stack: Endpoints, table: Table) -> None:
    short = user_token(stack, ALICE, lifetime_seconds=3)
    async with wire(stack) as refreshed, wire(stack) as neglected:
        await refreshed.subscribe(binding(table), access_token=short)
        await neglected.subscribe(binding(table), access_token=short)

        await refreshed.send("realtime:runs", "access_token", {"access_token": user_token(stack, ALICE)})

        assert (await refreshed.receive()).payload == SUBSCRIBED
        assert [(await neglected.receive()).event for _ in range(2)] == ["system", "phx_close"]
        await table.insert(1, ALICE)
        assert (await refreshed.change())["data"]["record"]["id"] == 1


async def test_a_refreshed_token_may_speak_for_somebody_else(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=user_token(stack, ALICE))
        await client.send("realtime:runs", "access_token", {"access_token": user_token(stack, BOB)})
        assert (await client.receive()).payload == SUBSCRIBED

        await table.insert(1, ALICE)
        await table.insert(2, BOB)

        assert (await client.change())["data"]["record"]["id"] == 2


async def test_a_refresh_without_a_token_changes_nothing(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=user_token(stack, ALICE))
        await client.send("realtime:runs", "access_token", {"access_token": None})

        await table.insert(1, ALICE)

        assert (await client.change())["data"]["record"]["id"] == 1


async def test_a_refresh_with_a_bad_token_ends_the_channel(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=user_token(stack, ALICE))

        await client.send("realtime:runs", "access_token", {"access_token": "forged"})

        assert (await client.receive()).payload["message"] == "The token provided is not a valid JWT"
        assert (await client.receive()).event == "phx_close"


async def test_a_join_with_an_expired_token_is_refused(stack: Endpoints) -> None:
    async with wire(stack) as client:
        expired = user_token(stack, ALICE, lifetime_seconds=-60)

        await client.send("realtime:runs", "phx_join", {"config": {}, "access_token": expired})

        reply = await client.receive()
        assert reply.payload["status"] == "error"
        assert re.fullmatch("InvalidJWTToken: Token has expired 6\\d seconds ago", reply.payload["response"]["reason"])


async def test_a_second_join_replaces_the_channel(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=user_token(stack, ALICE))

        [number] = await client.join(binding(table), access_token=user_token(stack, ALICE), join_ref="2")

        closed = await client.receive()
        assert (closed.event, closed.join_ref) == ("phx_close", "1")
        assert (await client.receive()).payload == SUBSCRIBED
        await client.send("realtime:runs", "phx_leave", {}, join_ref="1")  # too late: not for the new channel
        await table.insert(1, ALICE)
        assert (await client.change())["ids"] == [number]


async def test_the_channel_that_left_hears_no_more(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=user_token(stack, ALICE))
        await client.send("realtime:runs", "phx_leave", {})
        assert [(await client.receive()).event for _ in range(2)] == ["phx_reply", "phx_close"]
        await table.insert(1, ALICE)

        await client.subscribe(binding(table), access_token=user_token(stack, ALICE))
        await table.insert(2, ALICE)

        assert (await client.change())["data"]["record"]["id"] == 2


async def test_without_a_token_the_api_key_speaks(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        await client.subscribe(binding(table))

        await table.insert(1, ALICE)
        await table.insert(2, ALICE, is_public=True)

        assert (await client.change())["data"]["record"]["id"] == 2


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"private": True}, "Unauthorized: You do not have permissions to read from this Channel topic: runs"),
        ({"private": "True"}, "Unauthorized: You do not have permissions to read from this Channel topic: runs"),
        ({"broadcast": {"replay": {"since": 1}}}, "UnableToReplayMessages: Replay is not allowed for public channels"),
        ({"presence": {"enabled": True}}, "NotInTheLocalStack: presence"),
        ({"presence": {"key": "", "enabled": True}}, "NotInTheLocalStack: presence"),
        (None, "NotInTheLocalStack: a join without `config`, as realtime-js 1 sends it"),
    ],
)
async def test_a_join_that_needs_what_is_not_here_is_refused(
    stack: Endpoints, table: Table, config: dict[str, Any] | None, reason: str
) -> None:
    async with wire(stack) as client:
        payload = {} if config is None else {"config": {"postgres_changes": [binding(table)], **config}}
        await client.send("realtime:runs", "phx_join", payload)

        reply = await client.receive()

        assert (reply.event, reply.payload) == ("phx_reply", {"status": "error", "response": {"reason": reason}})
        await client.send("realtime:runs", "access_token", {"access_token": user_token(stack, ALICE)})
        assert (await client.receive()).payload["response"] == {"reason": "unmatched topic"}


async def test_a_key_that_is_no_jwt_says_nothing_about_the_user(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token="sb_publishable_key")
        await client.send("realtime:runs", "access_token", {"access_token": "sb_secret_key"})

        await table.insert(1, ALICE)
        await table.insert(2, ALICE, is_public=True)

        assert (await client.change())["data"]["record"]["id"] == 2


async def test_a_user_token_comes_before_an_access_token(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=user_token(stack, BOB), user_token=user_token(stack, ALICE))

        await table.insert(1, BOB)
        await table.insert(2, ALICE)

        assert (await client.change())["data"]["record"]["id"] == 2


ANOTHER_SECRET = "another secret of thirty-two bytes"
TOKENS: dict[str, Callable[[str], str]] = {
    "JwtSignatureError: Failed to validate JWT signature": lambda _: Tokens(ANOTHER_SECRET).issue({"role": "anon"}),
    "InvalidJWTToken: Fields `role` and `exp` are required in JWT": lambda secret: Tokens(secret).issue({}),
    "MalformedJWT: The token provided is not a valid JWT": lambda _: "no token",
}


@pytest.mark.parametrize("reason", TOKENS)
async def test_a_join_says_what_is_wrong_with_its_token(stack: Endpoints, reason: str) -> None:
    async with wire(stack) as client:
        issued = TOKENS[reason](stack.jwt_secret)
        await client.send("realtime:runs", "phx_join", {"config": {}, "access_token": issued})

        assert (await client.receive()).payload["response"] == {"reason": reason}


async def test_a_client_joins_up_to_100_channels(stack: Endpoints) -> None:
    async with wire(stack) as client:
        for number in range(101):
            await client.send(f"realtime:runs-{number}", "phx_join", {"config": {}})
        replies = [(await client.receive()).payload for _ in range(101)]

        assert [reply["status"] for reply in replies] == ["ok"] * 100 + ["error"]
        assert replies[-1]["response"] == {"reason": "ChannelRateLimitReached: Too many channels"}


@pytest.mark.parametrize(
    ("query", "status"),
    [("vsn=1.0.0", 401), ("vsn=1.0.0&apikey=forged", 401), ("vsn=3.0.0&apikey={anon_key}", 403)],
)
async def test_a_handshake_is_refused(stack: Endpoints, query: str, status: int) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(socket_url(stack, query.format(anon_key=stack.anon_key)))
    assert refused.value.response.status_code == status


async def test_what_is_no_message_is_ignored(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        for frame in ("", "no json", "{}", "[1]", "[" * 100_000, '["1","1",5,"phx_join",{}]', b"\x03binary broadcast"):
            await client.connection.send(frame)
        await client.send("realtime:", "phx_join", {})
        assert (await client.receive()).payload["response"]["reason"].startswith("TopicNameRequired")
        await client.send("room", "phx_join", {})
        assert (await client.receive()).payload["response"] == {"reason": "unmatched topic"}
        await client.subscribe(binding(table))
        await client.send("realtime:runs", "presence", {"type": "presence", "event": "track", "payload": {}})
        assert (await client.receive()).payload["response"] == {"reason": "presence is not part of the local stack"}


async def test_a_message_that_is_too_big_closes_the_socket(stack: Endpoints) -> None:
    async with wire(stack) as client:
        await client.send("realtime:runs", "phx_join", {"config": "x" * MAX_FRAME_BYTES})

        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await client.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_a_client_that_does_not_read_is_closed_and_holds_up_nobody(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realtime_socket, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(realtime_socket, "CLOSE_SECONDS", 0.1)
    huge: dict[str, Any] = {"max_size": None, "compression": None}
    with (
        Postgres(data_folder, free_port(), password="a-password", sync=False) as postgres,
        log_of(realtime_socket.logger) as log,
    ):
        async with (
            served(postgres) as stack,
            wire(stack, max_queue=1, **huge) as idle,
            wire(stack, **huge) as reading,
        ):
            table = await Table.publish(stack.db_url)
            async with table.connection:
                await idle.subscribe(binding(table), access_token=user_token(stack, ALICE))
                await reading.subscribe(binding(table), access_token=user_token(stack, ALICE))

                for number in range(60):
                    await table.insert(number, ALICE, body="x" * 900_000)
                    assert (await reading.change())["data"]["record"]["id"] == number
            assert await soon(log) == "closed a WebSocket whose client does not read"

            received = 0
            with contextlib.suppress(websockets.ConnectionClosedError):
                async for _ in idle.connection:
                    received += 1
            assert idle.connection.close_code in (1006, 1013)
            assert received < 60


async def test_a_client_that_reads_may_get_much_at_once(stack: Endpoints, table: Table) -> None:
    async with wire(stack, max_size=None, compression=None) as client:
        await client.subscribe(binding(table), access_token=user_token(stack, ALICE))

        await table.execute(
            "insert into {table} (id, owner, body) select n, %s, repeat('x', 900000) from generate_series(1, 60) n",
            ALICE,
        )

        assert [(await client.change())["data"]["record"]["id"] for _ in range(60)] == list(range(1, 61))


@contextlib.contextmanager
def log_of(logger: logging.Logger) -> Iterator[asyncio.Queue[str]]:
    """What a logger says."""
    messages: asyncio.Queue[str] = asyncio.Queue()
    handler = logging.Handler()
    handler.emit = lambda record: messages.put_nowait(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
