"""Broadcasts: from clients of both protocols, by HTTP, and from the database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from supabase import AsyncClient

from tests.support.realtime import ALICE, BOB, PATIENCE_SECONDS, PROTOCOLS, Wire, soon, wire
from tests.support.stack import user_token
from worker.local.supabase.stack import Endpoints

POLICIES = """
create policy broadcast_test_read on realtime.messages for select to authenticated
    using (realtime.topic() = 'room:' || (select auth.uid())::text and extension = 'broadcast');
create policy broadcast_test_write on realtime.messages for insert to authenticated
    with check (realtime.topic() = 'room:' || (select auth.uid())::text);
"""
NO_PERMISSION = "You do not have permissions to read from this Channel topic"


@pytest.fixture
async def database(stack: Endpoints) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(stack.db_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def policies(database: psycopg.AsyncConnection[Any]) -> AsyncIterator[None]:
    """Everyone may use the private channel that is named after him."""
    await database.execute(POLICIES.encode())
    yield
    for name in ("read", "write"):
        await database.execute(f"drop policy broadcast_test_{name} on realtime.messages".encode())


async def join(
    client: Wire, name: str, *, private: bool = False, token: str | None = None, **broadcast: bool
) -> dict[str, Any]:
    """Join a channel, and return the reply."""
    payload: dict[str, Any] = {"config": {"broadcast": broadcast, "postgres_changes": [], "private": private}}
    await client.send(f"realtime:{name}", "phx_join", payload | ({"access_token": token} if token else {}))
    return (await client.receive()).payload


async def join_replicated(client: Wire, name: str, *, private: bool = False, token: str | None = None) -> None:
    """Join a channel, and wait until the database is followed: earlier broadcasts may be lost, as on the platform."""
    await join(client, name, private=private, token=token, replication_ready=True)
    ready = (await client.receive()).payload
    assert (ready["status"], ready["message"]) == ("ok", "Replication connection established")


async def send(client: Wire, name: str, event: str, payload: object) -> None:
    message = {"type": "broadcast", "event": event, "payload": payload}
    await client.send(f"realtime:{name}", "broadcast", message)


async def send_bytes(client: Wire, name: str, event: str, payload: bytes, *, is_json: bool) -> None:
    """Send a broadcast as realtime-js does over the protocol 2.0.0."""
    fields = [b"1", b"9", f"realtime:{name}".encode(), event.encode(), b""]
    await client.connection.send(bytes([3, *map(len, fields), is_json]) + b"".join(fields) + payload)


async def hear(client: Wire, name: str) -> dict[str, Any]:
    """Return the payload of the next broadcast, in the form of text, whichever frame carries it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        frame = await client.connection.recv()
    if isinstance(frame, str):
        parts = json.loads(frame)
        topic, event, payload = (
            (parts["topic"], parts["event"], parts["payload"]) if client.protocol == "1.0.0" else parts[2:]
        )
        assert (topic, event) == (f"realtime:{name}", "broadcast")
        return dict(payload)
    kind, topic_size, event_size, metadata_size, is_json = frame[:5]
    assert (kind, client.protocol) == (4, "2.0.0")
    fields, position = [], 5
    for size in (topic_size, event_size, metadata_size):
        fields.append(frame[position : position + size].decode())
        position += size
    assert fields[0] == f"realtime:{name}"
    payload = json.loads(frame[position:]) if is_json else frame[position:]
    heard = {"type": "broadcast", "event": fields[1], "payload": payload}
    return heard | ({"meta": json.loads(fields[2])} if fields[2] else {})


@pytest.mark.parametrize("sender", PROTOCOLS)
@pytest.mark.parametrize("receiver", PROTOCOLS)
async def test_everyone_on_a_topic_hears_a_broadcast(stack: Endpoints, sender: str, receiver: str) -> None:
    name = f"room-{uuid4()}"
    async with wire(stack, sender) as alice, wire(stack, receiver) as bob, wire(stack, receiver) as carol:
        for client in (alice, bob):
            assert (await join(client, name))["status"] == "ok"
        await join(carol, f"{name}-2")
        payload = {"x": 1.5, "text": "é \u2028 'quoted'", "list": [None, True]}

        await send(alice, name, "moved", payload)
        assert await hear(bob, name) == {"type": "broadcast", "event": "moved", "payload": payload}
        if sender == "2.0.0":
            await send_bytes(alice, name, "moved", json.dumps(payload).encode(), is_json=True)
            assert await hear(bob, name) == {"type": "broadcast", "event": "moved", "payload": payload}

        await send(bob, name, "seen", {})
        assert (await hear(alice, name))["event"] == "seen", "a sender does not hear himself"
        await send(carol, f"{name}-2", "nobody", {})
        await carol.send("phoenix", "heartbeat", {})
        assert (await carol.receive()).topic == "phoenix"


async def test_bytes_reach_only_the_protocol_that_carries_them(stack: Endpoints) -> None:
    async with wire(stack) as alice, wire(stack) as bob, wire(stack, "1.0.0") as old:
        for client in (alice, bob, old):
            await join(client, "bytes")
        await send_bytes(alice, "bytes", "raw", b"\x00\xff", is_json=False)
        await send_bytes(alice, "bytes", "json", b"[1]", is_json=True)

        assert (await hear(bob, "bytes"))["payload"] == b"\x00\xff"
        assert (await hear(old, "bytes")) == {"type": "broadcast", "event": "json", "payload": [1]}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_acknowledgement_and_echo(stack: Endpoints, protocol: str) -> None:
    async with wire(stack, protocol) as client:
        await join(client, "echo", ack=True, self=True)
        await send(client, "echo", "ping", {"n": 1})
        assert (await hear(client, "echo"))["event"] == "ping"
        reply = await client.receive()
        assert (reply.event, reply.ref, reply.payload) == ("phx_reply", "9", {"status": "ok", "response": {}})


@pytest.mark.parametrize("content", [b"{", b"1}, 2", b"NaN", b"\xff", b""])
async def test_what_is_not_json_is_refused(stack: Endpoints, content: bytes) -> None:
    """It would become a part of the JSON that others receive."""
    async with wire(stack) as alice, wire(stack, "1.0.0") as bob:
        for client in (alice, bob):
            await join(client, "invalid")
        await send_bytes(alice, "invalid", "x", content, is_json=True)
        reply = await alice.receive()
        assert reply.payload == {
            "status": "error", "response": {"reason": "the payload of the broadcast is not JSON"}
        }  # fmt: skip
        await send_bytes(alice, "invalid", "y", b"{}", is_json=True)
        assert (await hear(bob, "invalid"))["event"] == "y"


async def test_who_has_left_hears_no_more(stack: Endpoints) -> None:
    async with wire(stack) as alice, wire(stack) as bob:
        for client in (alice, bob):
            await join(client, "left")
        await bob.send("realtime:left", "phx_leave", {})
        assert [(await bob.receive()).event for _ in range(2)] == ["phx_reply", "phx_close"]
        await send(alice, "left", "x", {})
        await send(bob, "left", "x", {})
        assert (await bob.receive()).payload["response"] == {"reason": "unmatched topic"}


@pytest.mark.usefixtures("policies")
async def test_policies_decide_who_uses_a_private_channel(stack: Endpoints) -> None:
    name, alice_token, bob_token = f"room:{ALICE}", user_token(stack, ALICE), user_token(stack, BOB)
    async with wire(stack) as alice, wire(stack, "1.0.0") as phone, wire(stack) as bob, wire(stack) as public:
        assert (await join(alice, name, private=True, token=alice_token, ack=True))["status"] == "ok"
        assert (await join(phone, name, private=True, token=alice_token))["status"] == "ok"
        for token in (bob_token, None):
            refused = await join(bob, name, private=True, token=token)
            assert refused == {
                "status": "error", "response": {"reason": f"Unauthorized: {NO_PERMISSION}: {name}"}
            }  # fmt: skip
        await join(public, name, token=bob_token)

        await send(public, name, "from-outside", {})
        await send(alice, name, "private", {"n": 1})
        assert (await alice.receive()).payload == {"status": "ok", "response": {}}
        assert (await hear(phone, name))["event"] == "private", "the public channel of the same name is another one"
        await public.send("phoenix", "heartbeat", {})
        assert (await public.receive()).topic == "phoenix"


async def test_who_may_only_read_sends_nothing(stack: Endpoints, database: psycopg.AsyncConnection[Any]) -> None:
    await database.execute("create policy only_read on realtime.messages for select to authenticated using (true)")
    try:
        async with wire(stack) as alice, wire(stack) as bob, wire(stack) as admin:
            for client, who in ((alice, ALICE), (bob, BOB)):
                await join(client, "news", private=True, token=user_token(stack, who), ack=True)
            await join(admin, "news", private=True, token=stack.service_role_key)
            await send(alice, "news", "forbidden", {})
            await send(admin, "news", "allowed", {})
            assert (await hear(bob, "news"))["event"] == "allowed"
            assert (await hear(alice, "news"))["event"] == "allowed", "no acknowledgement before it, as on the platform"
    finally:
        await database.execute("drop policy only_read on realtime.messages")


@pytest.mark.usefixtures("policies")
async def test_a_new_token_is_checked_against_the_policies(stack: Endpoints) -> None:
    name = f"room:{ALICE}"
    async with wire(stack) as client:
        await join(client, name, private=True, token=user_token(stack, ALICE))
        await client.send(f"realtime:{name}", "access_token", {"access_token": user_token(stack, BOB)})
        told, closed = await client.receive(), await client.receive()
        assert (told.payload["message"], closed.event) == (f"{NO_PERMISSION}: {name}", "phx_close")


@pytest.mark.usefixtures("policies")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_database_broadcasts(stack: Endpoints, database: psycopg.AsyncConnection[Any], protocol: str) -> None:
    name = f"room:{ALICE}"
    async with wire(stack, protocol) as private, wire(stack, protocol) as public:
        await database.execute("select realtime.send('{}', 'before', %s)", (name,))
        await join_replicated(private, name, private=True, token=user_token(stack, ALICE))
        await join(public, name)

        await database.execute("select realtime.send('{\"n\": 1}', 'told', %s)", (name,))
        await database.execute("select realtime.send('{\"id\": \"mine\"}', 'open', %s, false)", (name,))
        await database.execute("begin; select realtime.send('{}', 'undone', 'x'); rollback")

        heard = await hear(private, name)
        number = heard["payload"].pop("id")
        assert heard == {"type": "broadcast", "event": "told", "payload": {"n": 1}, "meta": {"id": number}}
        heard = await hear(public, name)
        assert heard.pop("meta")["id"]
        assert heard == {"type": "broadcast", "event": "open", "payload": {"id": "mine"}}


async def test_a_trigger_broadcasts_the_changes_of_a_table(
    stack: Endpoints, database: psycopg.AsyncConnection[Any]
) -> None:
    await database.execute(
        """
        create table public.broadcasting (id int primary key, status text);
        create function public.tell() returns trigger language plpgsql security definer set search_path = '' as $$
        begin
            perform realtime.broadcast_changes(
                'changes:' || coalesce(new.id, old.id), tg_op, tg_op, tg_table_name, tg_table_schema, new, old
            );
            return null;
        end $$;
        create trigger tell after insert or update or delete on public.broadcasting
        for each row execute function public.tell();
        """
    )
    try:
        async with wire(stack) as client:
            await join_replicated(client, "changes:1", private=True, token=stack.service_role_key)
            await database.execute("insert into public.broadcasting values (1, 'new'), (2, 'other')")
            await database.execute("update public.broadcasting set status = 'done' where id = 1")
            await database.execute("delete from public.broadcasting where id = 1")
            heard = [await hear(client, "changes:1") for _ in range(3)]
        rows = [(one["event"], one["payload"]["old_record"], one["payload"]["record"]) for one in heard]
        new, done = {"id": 1, "status": "new"}, {"id": 1, "status": "done"}
        assert rows == [("INSERT", None, new), ("UPDATE", new, done), ("DELETE", done, None)]
        assert {one["payload"]["table"] for one in heard} == {"broadcasting"}
    finally:
        await database.execute("drop table public.broadcasting; drop function public.tell()")


async def test_bytes_of_the_database(stack: Endpoints, database: psycopg.AsyncConnection[Any]) -> None:
    async with wire(stack) as client:
        await join_replicated(client, "binary")
        await database.execute("select realtime.send_binary('\\x00ff', 'raw', 'binary', false)")
        assert (await hear(client, "binary"))["payload"] == b"\x00\xff"


async def test_a_message_that_cannot_be_sent_fails_no_transaction(
    stack: Endpoints, database: psycopg.AsyncConnection[Any]
) -> None:
    notices: list[str] = []
    database.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    await database.execute("select realtime.send('[1]', 'event', 'topic')")
    await database.execute("select realtime.send('{}', 'event', null)")
    assert [notice.partition(":")[0] for notice in notices] == ["WarnSendingBroadcastMessage"] * 2
    for key, expected in ((stack.anon_key, 0), (stack.service_role_key, 1)):
        topic = f"topic-{uuid4()}"
        async with database.transaction():
            role = "anon" if key == stack.anon_key else "service_role"
            await database.execute(f"set local role {role}".encode())
            await database.execute("select realtime.send('{}', 'event', %s)", (topic,))
            await database.execute("reset role")
            found = await database.execute("select from realtime.messages where topic = %s", (topic,))
            assert found.rowcount == expected, "the policies hold for who sends"


async def test_subscribers_of_all_tables_hear_no_messages(
    stack: Endpoints, database: psycopg.AsyncConnection[Any]
) -> None:
    async with wire(stack) as client:
        await client.subscribe({"event": "*", "schema": "*", "table": "*"}, access_token=stack.service_role_key)
        await database.execute("select realtime.send('{}', 'event', 'runs', false)")
        assert (await hear(client, "runs"))["event"] == "event"


@pytest.mark.usefixtures("policies")
async def test_broadcasts_by_http(stack: Endpoints) -> None:
    name = f"room:{ALICE}"
    headers = {"apikey": stack.anon_key}
    mine = headers | {"authorization": f"Bearer {user_token(stack, ALICE)}"}
    async with (
        httpx.AsyncClient(base_url=f"{stack.url}/realtime/v1/api", headers=headers) as http,
        wire(stack) as public, wire(stack, "1.0.0") as private,
    ):  # fmt: skip
        await join(public, name)
        await join(private, name, private=True, token=user_token(stack, ALICE))
        message = {"topic": name, "event": "batch", "payload": {"n": 1}}
        batch = [message, message | {"private": True, "event": "forbidden"}]
        assert (await http.post("/broadcast", json={"messages": batch})).status_code == 202
        assert (await hear(public, name)) == {"type": "broadcast", "event": "batch", "payload": {"n": 1}}
        assert (await http.post("/broadcast", json={"messages": batch[1:]}, headers=mine)).status_code == 202
        assert (await hear(private, name))["event"] == "forbidden"

        path = f"/broadcast/{name}/events/one"
        assert (await http.post(path, json={"n": 2})).status_code == 202
        assert (await hear(public, name)) == {"type": "broadcast", "event": "one", "payload": {"n": 2}}
        refused = await http.post(f"{path}?private=true", json={})
        assert (refused.status_code, refused.json()) == (403, {"message": "Unauthorized"})
        assert (await http.post(f"{path}?private=true", json=[3], headers=mine)).status_code == 202
        assert (await hear(private, name))["payload"] == {"_json": [3]}
        octets = {"content-type": "application/octet-stream"}
        assert (await http.post(path, content=b"\xff", headers=octets)).status_code == 202
        assert (await hear(public, name))["payload"] == b"\xff"


@pytest.mark.parametrize(
    ("path", "content", "headers", "expected"),
    [
        ("", "{", {}, (400, {"message": "Bad Request"})),
        ("", "[NaN]", {}, (400, {"message": "Bad Request"})),
        ("", "{}", {}, (422, {"errors": {"messages": ["can't be blank"]}})),
        ("", '{"messages": 1}', {}, (422, {"errors": {"messages": ["is invalid"]}})),
        ("", '{"messages": [{"topic": "a", "event": "b", "payload": 5}]}', {},
         (422, {"errors": {"messages": [{"payload": ["is invalid"]}]}})),
        ("", '{"messages": [{"topic": "a", "payload": {}}]}', {},
         (422, {"errors": {"messages": [{"event": ["can't be blank"]}]}})),
        ("/a/events/b", "<a/>", {"content-type": "text/xml"},
         (415, {"error": "Unsupported Media Type. Use application/json or application/octet-stream"})),
        ("/a/events/b?persist=true", "{}", {},
         (422, {"message": "the local stack does not know the parameter persist"})),
        ("", "{}", {"authorization": "Bearer forged"}, (401, {"message": "Unauthorized"})),
    ],
)  # fmt: skip
async def test_what_is_refused_by_http(
    stack: Endpoints, path: str, content: str, headers: dict[str, str], expected: tuple[int, dict[str, Any]]
) -> None:
    given = {"apikey": stack.anon_key, "content-type": "application/json"} | headers
    async with httpx.AsyncClient(headers=given) as http:
        response = await http.post(f"{stack.url}/realtime/v1/api/broadcast{path}", content=content)
    assert (response.status_code, response.json()) == expected


@pytest.mark.usefixtures("policies")
async def test_supabase_py_sends_and_hears(ada: AsyncClient, bob: AsyncClient) -> None:
    session = await ada.auth.get_session()
    assert session is not None
    name = f"room:{session.user.id}"
    heard: asyncio.Queue[Any] = asyncio.Queue()
    states: asyncio.Queue[str] = asyncio.Queue()
    await ada.realtime.set_auth(session.access_token)
    mine = ada.channel(name, {"config": {"private": True, "broadcast": {"self": True, "ack": False}, "presence": None}})
    await mine.on_broadcast("moved", heard.put_nowait).subscribe(lambda state, _: states.put_nowait(state.value))
    assert await soon(states) == "SUBSCRIBED"
    await mine.send_broadcast("moved", {"x": 1})
    assert (await soon(heard))["payload"] == {"x": 1}

    other = await bob.auth.get_session()
    assert other is not None
    await bob.realtime.set_auth(other.access_token)
    theirs = bob.channel(name, {"config": {"private": True, "broadcast": None, "presence": None}})
    await theirs.subscribe(lambda state, _: states.put_nowait(state.value))
    assert await soon(states) == "CHANNEL_ERROR"
