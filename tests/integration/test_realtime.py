"""Realtime through realtime-py, and on the wire of both protocols."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import psycopg
import pytest
import websockets
from psycopg import sql
from realtime.types import RealtimePostgresChangesListenEvent, RealtimeSubscribeStates
from supabase import AsyncClient

from tests.conftest import SignIn, connect
from tests.integration.conftest import served
from worker.local import realtime
from worker.local.gateway import MAX_FRAME_BYTES
from worker.local.postgres import Postgres, free_port
from worker.local.stack import Endpoints
from worker.local.tokens import Tokens

PATIENCE_SECONDS = 20
PROTOCOLS = ("1.0.0", "2.0.0")
SUBSCRIBED = {"extension": "postgres_changes", "status": "ok", "message": "Subscribed to PostgreSQL", "channel": "runs"}
ALICE, BOB = str(uuid4()), str(uuid4())

T = TypeVar("T")

SCHEMA = """
create table public.{table} (
    id int primary key, owner uuid, is_public boolean not null default false, status text, amount numeric, body text,
    secret text
);
alter table public.{table} alter column body set storage external;
alter table public.{table} enable row level security;
create policy owner on public.{table} for select to authenticated using (owner = (select auth.uid()));
create policy everyone on public.{table} for select to anon, authenticated using (is_public);
grant select (id, owner, is_public, status, amount, body) on public.{table} to anon, authenticated;
alter publication supabase_realtime add table public.{table};
"""


@dataclass
class Table:
    """A published table with row level security, written to as `postgres`."""

    name: str
    connection: psycopg.AsyncConnection[tuple[Any, ...]]

    @classmethod
    async def publish(cls, db_url: str) -> Table:
        connection = await psycopg.AsyncConnection.connect(db_url, autocommit=True)
        table = cls(f"realtime_{uuid4().hex}", connection)
        await table.execute(SCHEMA)
        return table

    async def execute(self, query: str, *parameters: object) -> None:
        await self.connection.execute(sql.SQL(query).format(table=sql.Identifier(self.name)), parameters or None)

    async def insert(self, number: int, owner: str | None, **columns: object) -> None:
        row = {"id": number, "owner": owner, **columns}
        await self.connection.execute(
            sql.SQL("insert into {} ({}) values ({})").format(
                sql.Identifier(self.name),
                sql.SQL(", ").join(map(sql.Identifier, row)),
                sql.SQL(", ").join(map(sql.Literal, row.values())),
            )
        )


@asynccontextmanager
async def published_table(db_url: str) -> AsyncIterator[Table]:
    table = await Table.publish(db_url)
    async with table.connection:
        yield table
        await table.execute("drop table {table}")


@pytest.fixture
async def table(stack: Endpoints) -> AsyncIterator[Table]:
    async with published_table(stack.db_url) as made:
        yield made


def token(stack: Endpoints, user: str, *, lifetime_seconds: int = 600) -> str:
    claims = {"role": "authenticated", "sub": user, "aud": "authenticated"}
    return Tokens(stack.jwt_secret).issue(claims, lifetime_seconds=lifetime_seconds)


async def soon(queue: asyncio.Queue[T]) -> T:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await queue.get()


@dataclass
class Subscription:
    """A channel of realtime-py, and what it was told."""

    changes: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    states: asyncio.Queue[RealtimeSubscribeStates] = field(default_factory=asyncio.Queue)
    messages: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    @classmethod
    async def start(cls, client: AsyncClient, table: Table, access_token: str | None = None) -> Subscription:
        """Return when every later change is sure to arrive."""
        self = cls()
        if access_token:
            await client.realtime.set_auth(access_token)
        channel = client.channel(f"runs-{uuid4()}")
        channel.on_system(lambda payload: self.messages.put_nowait(payload.message))
        channel.on_postgres_changes(
            RealtimePostgresChangesListenEvent.All,
            callback=lambda payload: self.changes.put_nowait(dict(payload["data"])),
            table=table.name,
            schema="public",
        )
        await channel.subscribe(lambda state, _error: self.states.put_nowait(state))
        assert await soon(self.states) == RealtimeSubscribeStates.SUBSCRIBED
        assert await soon(self.messages) == "Subscribed to PostgreSQL"
        return self


async def user_of(client: AsyncClient) -> tuple[str, str]:
    session = await client.auth.get_session()
    assert session is not None
    return session.user.id, session.access_token


class Message(NamedTuple):
    join_ref: str | None
    ref: str | None
    topic: str
    event: str
    payload: dict[str, Any]


@dataclass
class Wire:
    """A WebSocket of one of the two protocols."""

    connection: websockets.ClientConnection
    protocol: str

    async def send(self, topic: str, event: str, payload: dict[str, Any], *, join_ref: str = "1") -> None:
        names = ("join_ref", "ref", "topic", "event", "payload")
        parts = (join_ref, "9", topic, event, payload)
        is_object = self.protocol == "1.0.0"
        await self.connection.send(json.dumps(dict(zip(names, parts, strict=True)) if is_object else parts))

    async def receive(self) -> Message:
        async with asyncio.timeout(PATIENCE_SECONDS):
            parts = json.loads(await self.connection.recv(), parse_float=Decimal)
        if self.protocol == "2.0.0":
            return Message(*parts)
        assert parts.keys() == {"topic", "event", "payload", "ref"}
        return Message(None, **parts)

    async def join(self, *items: dict[str, Any], join_ref: str = "1", **payload: Any) -> list[int]:
        """Join `runs`; return the ids of `items`."""
        payload = {"config": {"broadcast": {}, "presence": {}, "postgres_changes": list(items)}, **payload}
        await self.send("realtime:runs", "phx_join", payload, join_ref=join_ref)
        reply = await self.receive()
        assert (reply.event, reply.payload["status"]) == ("phx_reply", "ok")
        echoed = reply.payload["response"]["postgres_changes"]
        ids = [item.pop("id") for item in echoed]
        assert echoed == list(items)
        return ids

    async def subscribe(self, *items: dict[str, Any], **payload: Any) -> list[int]:
        """Join `runs`, and wait until later changes are sure to arrive."""
        ids = await self.join(*items, **payload)
        assert (await self.receive()).payload == SUBSCRIBED
        return ids

    async def change(self) -> dict[str, Any]:
        message = await self.receive()
        assert (message.topic, message.event, message.ref) == ("realtime:runs", "postgres_changes", None)
        return message.payload


@asynccontextmanager
async def wire(stack: Endpoints, protocol: str = "2.0.0", **options: Any) -> AsyncIterator[Wire]:
    async with websockets.connect(
        socket_url(stack, f"apikey={stack.anon_key}&vsn={protocol}"), **options
    ) as connection:
        yield Wire(connection, protocol)


def socket_url(stack: Endpoints, query: str) -> str:
    return f"{stack.url.replace('http', 'ws', 1)}/realtime/v1/websocket?{query}"


def binding(table: Table, event: str = "*", **more: str) -> dict[str, Any]:
    return {"event": event, "schema": "public", "table": table.name, **more}


# realtime-py -----------------------------------------------------------------------------------------------------


async def test_an_owner_hears_of_every_change_in_commit_order(sign_in: SignIn, table: Table) -> None:
    client = await sign_in()
    user, access_token = await user_of(client)
    mine = await Subscription.start(client, table, access_token)

    for number in range(20):
        await table.insert(number, user, status="pending")
        await table.execute("update {table} set status = 'running' where id = %s", number)

    heard = [await soon(mine.changes) for _ in range(40)]
    assert [(change["type"], change["record"]["id"], change["record"]["status"]) for change in heard] == [
        expected for number in range(20) for expected in (("INSERT", number, "pending"), ("UPDATE", number, "running"))
    ]
    assert [change["commit_timestamp"] for change in heard] == sorted(change["commit_timestamp"] for change in heard)
    assert heard[1]["old_record"] == {"id": 0}


async def test_nobody_else_hears_of_it(stack: Endpoints, sign_in: SignIn, table: Table) -> None:
    owner, other, visitor = await sign_in(), await sign_in(), await sign_in()
    user, access_token = await user_of(owner)
    mine = await Subscription.start(owner, table, access_token)
    theirs = await Subscription.start(other, table, (await user_of(other))[1])
    anonymous = await Subscription.start(visitor, table, stack.anon_key)

    await table.insert(1, user)
    await table.execute("update {table} set status = 'running'")
    await table.insert(2, None, is_public=True)

    assert [(await soon(mine.changes))["record"]["id"] for _ in range(3)] == [1, 1, 2]
    # Changes arrive in commit order, so what comes before the public row would be here by now.
    assert (await soon(theirs.changes))["record"]["id"] == 2
    assert (await soon(anonymous.changes))["record"]["id"] == 2


async def test_an_expired_token_ends_the_channel(stack: Endpoints, table: Table) -> None:
    async with connect(stack.url, stack.anon_key) as client:
        short = await Subscription.start(client, table, token(stack, ALICE, lifetime_seconds=2))

        assert await soon(short.states) == RealtimeSubscribeStates.CHANNEL_ERROR
        assert await soon(short.states) == RealtimeSubscribeStates.CLOSED


async def test_everybody_hears_of_a_delete_but_only_the_key(sign_in: SignIn, table: Table) -> None:
    owner, other = await sign_in(), await sign_in()
    user, access_token = await user_of(owner)
    await table.insert(1, user, status="pending")
    await table.insert(2, user, status="pending")
    await table.execute("alter table {table} replica identity full")
    subscriptions = [
        await Subscription.start(owner, table, access_token),
        await Subscription.start(other, table, (await user_of(other))[1]),
    ]

    await table.execute("delete from {table} where id = 1")
    await table.execute("alter table {table} replica identity default")
    await table.execute("delete from {table} where id = 2")

    for subscription in subscriptions:
        for number in (1, 2):
            change = await soon(subscription.changes)
            assert (change["type"], change["old_record"]) == ("DELETE", {"id": number})
            assert "record" not in change


# What is sent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_protocol_from_join_to_leave(stack: Endpoints, table: Table, protocol: str) -> None:
    async with wire(stack, protocol) as client:
        await client.send("phoenix", "heartbeat", {})
        heartbeat = await client.receive()
        assert (heartbeat.topic, heartbeat.event, heartbeat.ref) == ("phoenix", "phx_reply", "9")
        assert heartbeat.payload == {"status": "ok", "response": {}}
        first, second, _ = await client.subscribe(
            binding(table), binding(table, "INSERT"), binding(table, "UPDATE"), access_token=token(stack, ALICE)
        )

        await table.insert(1, ALICE, status="pending", amount="1.50", secret="not granted")

        change = await client.change()
        assert change["ids"] == [first, second]
        data = change["data"]
        assert data.pop("commit_timestamp").endswith("Z")
        assert data == {
            "schema": "public",
            "table": table.name,
            "type": "INSERT",
            "columns": [
                {"name": "id", "type": "int4"},
                {"name": "owner", "type": "uuid"},
                {"name": "is_public", "type": "bool"},
                {"name": "status", "type": "text"},
                {"name": "amount", "type": "numeric"},
                {"name": "body", "type": "text"},
            ],
            "record": {
                "id": 1,
                "owner": ALICE,
                "is_public": False,
                "status": "pending",
                "amount": Decimal("1.50"),
                "body": None,
            },
            "errors": None,
        }
        await client.send("realtime:runs", "phx_leave", {})
        left, closed = await client.receive(), await client.receive()
        assert (left.event, left.payload) == ("phx_reply", {"status": "ok", "response": {}})
        assert (closed.event, closed.ref) == ("phx_close", "1")


async def test_values_are_what_postgres_writes_as_json(stack: Endpoints, table: Table) -> None:
    columns = {
        "big": "bigint default 9007199254740993",
        "precise": "numeric default 0.10000000000000000001",
        "float": "float8 default 0.1",
        "flags": "boolean[] default '{t,f,null}'",
        "words": """text[] default '{a,"b c, d"}'""",
        "document": """jsonb default '{"a": [1, 2.50, null]}'""",
        "text_json": """json default '{"b": 1e2}'""",
        "at": "timestamptz default '2026-01-02 03:04:05.678+00'",
        "local": "timestamp default '2026-01-02 03:04:05'",
        "day": "date default '2026-01-02'",
        "span": "interval default '1 day 02:00'",
        "bytes": r"bytea default '\x00ff'",
        "command": "pg_catalog.regclass default 'pg_class'",
        "code": "char(5) default 'a'",
        "period": "int4range default '[1,5)'",
        "odd %name": "int default 1",
        "position": "int default 7",
    }
    for name, definition in columns.items():
        await table.connection.execute(f'alter table {table.name} add column "{name}" {definition}')
    await table.execute("grant select on {table} to authenticated")
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=token(stack, ALICE))

        await table.insert(1, ALICE, status='quotes " \\ and\nlines', amount="NaN")

        cursor = await table.connection.execute(
            sql.SQL("select to_jsonb(t)::text from {} as t").format(sql.Identifier(table.name))
        )
        [(written,)] = await cursor.fetchall()
        assert (await client.change())["data"]["record"] == json.loads(written, parse_float=Decimal)


async def test_an_unchanged_toasted_value_is_left_out(stack: Endpoints, table: Table) -> None:
    await table.insert(1, ALICE, body="x" * 10_000)
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=token(stack, ALICE))

        await table.execute("update {table} set status = 'running'")
        await table.execute("update {table} set body = 'short'")

        record = (await client.change())["data"]["record"]
        assert (record["status"], "body" in record) == ("running", False)
        assert (await client.change())["data"]["record"]["body"] == "short"


async def test_a_record_over_1_mib_comes_without_its_long_values(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=token(stack, ALICE))

        await table.insert(1, ALICE, status="short", body="x" * (1024 * 1024))

        data = (await client.change())["data"]
        assert data["errors"] == ["Error 413: Payload Too Large"]
        assert (data["record"]["status"], "body" in data["record"]) == ("short", False)


async def test_a_transaction_of_several_tables_arrives_in_its_order(stack: Endpoints, table: Table) -> None:
    async with published_table(stack.db_url) as other, wire(stack) as client:
        await client.subscribe(binding(table), binding(other), access_token=token(stack, ALICE))

        async with table.connection.transaction():
            for number in range(150):
                await table.insert(number, ALICE)
                await Table(other.name, table.connection).insert(number, ALICE)

        heard = [(await client.change())["data"] for _ in range(300)]
        assert [(data["table"], data["record"]["id"]) for data in heard] == [
            (name, number) for number in range(150) for name in (table.name, other.name)
        ]


async def test_a_row_that_is_gone_when_it_is_looked_up_is_not_told_of(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=token(stack, ALICE))

        async with table.connection.transaction():
            await table.insert(1, ALICE)
            await table.execute("delete from {table}")

        assert (await client.change())["data"]["type"] == "DELETE"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("alter table {table} drop constraint {table}_pkey", "Error 400: Bad Request, no primary key"),
        ("revoke select (id) on {table} from authenticated", "Error 401: Unauthorized"),
    ],
)
async def test_errors_instead_of_rows(stack: Endpoints, table: Table, change: str, error: str) -> None:
    await table.execute(change.replace("{table}_pkey", f"{table.name}_pkey"))
    async with wire(stack) as client:
        [number] = await client.subscribe(binding(table), access_token=token(stack, ALICE))

        await table.insert(1, ALICE)

        message = await client.change()
        assert message["ids"] == [number]
        assert message["data"]["errors"] == [error]
        assert message["data"]["record"] == {}


# Bindings ---------------------------------------------------------------------------------------------------------

ROWS: dict[int, dict[str, Any]] = {
    1: {"status": "running", "amount": "9", "is_public": False},
    2: {"status": 'a,b "c" (d)', "amount": "10.5", "is_public": True},
    3: {"status": None, "amount": None, "is_public": True},
}


async def test_filters_compare_as_the_columns_type_does(stack: Endpoints, table: Table) -> None:
    expected = {
        "id=eq.2": {2},
        "id=neq.2": {1, 3},
        "id=not.eq.2": {1, 3},
        "amount=lt.10": {1},
        "amount=lte.9.0": {1},
        "amount=gt.9": {2},
        "amount=gte.9": {1, 2},
        "amount=eq.10.50": {2},
        "id=in.(1,3)": {1, 3},
        "id=not.in.(1,3)": {2},
        'status=in.("a,b \\"c\\" (d)",x)': {2},
        'status=eq."a,b \\"c\\" (d)"': {2},
        "status=like.run%": {1},
        "status=ilike.RUN%": {1},
        "status=match.^r.*g$": {1},
        "status=imatch.^RUN": {1},
        "status=is.null": {3},
        "status=not.is.null": {1, 2},
        "is_public=is.true": {2, 3},
        "status=isdistinct.running": {2, 3},
        "status=not.isdistinct.running": {1},
        "id=gt.1,amount=is.null": {3},
        "status=neq.f(x,(y),z),id=lt.3": {1, 2},
        f"owner=eq.{ALICE.upper()}": {1, 2, 3},
        "": {1, 2, 3},
    }
    async with wire(stack) as client:
        ids = await client.subscribe(
            *(binding(table, filter=condition) for condition in expected), access_token=token(stack, ALICE)
        )

        for number, row in ROWS.items():
            await table.insert(number, ALICE, **row)

        passed: dict[str, set[int]] = {condition: set() for condition in expected}
        for _ in ROWS:
            message = await client.change()
            for condition, binding_id in zip(expected, ids, strict=True):
                if binding_id in message["ids"]:
                    passed[condition].add(message["data"]["record"]["id"])
        assert passed == expected


async def test_a_filter_on_a_delete_sees_the_key_alone(stack: Endpoints, table: Table) -> None:
    await table.insert(1, ALICE, status="running")
    async with wire(stack) as client:
        conditions = "status=eq.running", "status=is.null", "id=eq.1"
        *_, by_key = await client.subscribe(*(binding(table, filter=condition) for condition in conditions))

        await table.execute("delete from {table}")

        assert (await client.change())["ids"] == [by_key]


async def test_wildcards_hear_of_every_table(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        ids = await client.subscribe(
            {"event": "*", "schema": "*"},
            {"event": "*", "schema": "public"},
            {"event": "*", "schema": "public", "table": "*"},
            {"event": "DELETE", "table": table.name},
            access_token=token(stack, ALICE),
        )

        await table.insert(1, ALICE)

        assert (await client.change())["ids"] == ids[:3]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"filter": "status"}, 'Error parsing `filter` params: ["status"]'),
        ({"filter": "status=like_a.x"}, 'Error parsing `filter` params: ["like_a", "x"]'),
        ({"filter": "id=eq.1,"}, "Error parsing `filter` params: filter must not contain empty segments"),
        ({"filter": "id=in.1"}, "Error parsing `filter` params: `in` filter value must be wrapped by parentheses"),
        ({"filter": "status=is.maybe"}, "Error parsing `filter` params: `is` takes one of"),
        ({"filter": "nope=eq.1"}, "Exception: ERROR P0001 (raise_exception) invalid column for filter nope"),
        ({"filter": "secret=eq.1"}, "Exception: ERROR P0001 (raise_exception) invalid column for filter secret"),
        (
            {"filter": "id=eq.abc"},
            'filters: [{"id", "eq", "abc", false}], select: nil]. Exception: ERROR 22P02 (invalid_text_representation)',
        ),
        ({"filter": "status=match.("}, "ERROR 2201B (invalid_regular_expression)"),
        ({"filter": "amount=is.true"}, "ERROR 42804 (datatype_mismatch)"),
        ({"table": "no_such_table"}, "Please check Realtime is enabled for the given connect parameters: [event: *,"),
        ({"schema": None}, "No subscription params provided. Please provide at least a `schema` or `table`"),
    ],
)
async def test_a_bad_binding_is_told_in_a_system_message(
    stack: Endpoints, table: Table, more: dict[str, Any], message: str
) -> None:
    async with wire(stack) as client:
        await client.join({**binding(table), **more}, access_token=token(stack, ALICE))

        answer = await client.receive()

        assert (answer.event, answer.payload["status"]) == ("system", "error")
        assert answer.payload["extension"] == "postgres_changes"
        assert message in answer.payload["message"]


async def test_a_filter_that_fits_no_more_harms_no_other_subscriber(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as careful, wire(stack) as careless:
        await careful.subscribe(binding(table), access_token=token(stack, ALICE))
        await careless.subscribe(binding(table, filter="amount=gt.1.5"), access_token=token(stack, ALICE))

        await table.execute("alter table {table} alter column amount type int")
        await table.insert(1, ALICE)

        assert (await careful.receive()).payload == SUBSCRIBED  # read again: a change was lost
        assert (await careless.receive()).payload["status"] == "error"
        await table.insert(2, ALICE)
        assert (await careful.change())["data"]["record"]["id"] == 2


async def test_a_policy_that_fails_hides_the_rows_from_its_role_alone(stack: Endpoints, table: Table) -> None:
    await table.execute(
        "create policy broken on {table} as restrictive for select to authenticated using (1 / (id - id) > 0)"
    )
    async with wire(stack) as authenticated, wire(stack) as visitor:
        await authenticated.subscribe(binding(table), access_token=token(stack, ALICE))
        await visitor.subscribe(binding(table))

        await table.insert(1, ALICE, is_public=True)
        assert (await visitor.change())["data"]["record"]["id"] == 1
        await table.execute("drop policy broken on {table}")
        await table.insert(2, ALICE, is_public=True)

        assert (await visitor.change())["data"]["record"]["id"] == 2
        assert (await authenticated.change())["data"]["record"]["id"] == 2


# Channels and tokens ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_expired_token_is_told_before_the_channel_is_closed(
    stack: Endpoints, table: Table, protocol: str
) -> None:
    async with wire(stack, protocol) as client:
        await client.subscribe(binding(table), access_token=token(stack, ALICE, lifetime_seconds=2))

        told, closed = await client.receive(), await client.receive()

        assert told.event == "system"
        assert told.payload == {
            "extension": "system",
            "status": "error",
            "message": "Token has expired 0 seconds ago",
            "channel": "runs",
        }
        assert (closed.event, closed.topic, closed.ref) == ("phx_close", "realtime:runs", "1")
        await client.send("realtime:runs", "access_token", {"access_token": token(stack, ALICE)})
        assert (await client.receive()).payload == {"status": "error", "response": {"reason": "unmatched topic"}}


async def test_a_refreshed_token_keeps_the_channel_open(stack: Endpoints, table: Table) -> None:
    short = token(stack, ALICE, lifetime_seconds=3)
    async with wire(stack) as refreshed, wire(stack) as neglected:
        await refreshed.subscribe(binding(table), access_token=short)
        await neglected.subscribe(binding(table), access_token=short)

        await refreshed.send("realtime:runs", "access_token", {"access_token": token(stack, ALICE)})

        assert (await refreshed.receive()).payload == SUBSCRIBED
        assert [(await neglected.receive()).event for _ in range(2)] == ["system", "phx_close"]
        await table.insert(1, ALICE)
        assert (await refreshed.change())["data"]["record"]["id"] == 1


async def test_a_refreshed_token_may_speak_for_somebody_else(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=token(stack, ALICE))
        await client.send("realtime:runs", "access_token", {"access_token": token(stack, BOB)})
        assert (await client.receive()).payload == SUBSCRIBED

        await table.insert(1, ALICE)
        await table.insert(2, BOB)

        assert (await client.change())["data"]["record"]["id"] == 2


async def test_a_refresh_without_a_token_changes_nothing(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=token(stack, ALICE))
        await client.send("realtime:runs", "access_token", {"access_token": None})

        await table.insert(1, ALICE)

        assert (await client.change())["data"]["record"]["id"] == 1


async def test_a_refresh_with_a_bad_token_ends_the_channel(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=token(stack, ALICE))

        await client.send("realtime:runs", "access_token", {"access_token": "forged"})

        assert (await client.receive()).payload["message"] == "The token provided is not a valid JWT"
        assert (await client.receive()).event == "phx_close"


async def test_a_join_with_an_expired_token_is_refused(stack: Endpoints) -> None:
    async with wire(stack) as client:
        expired = token(stack, ALICE, lifetime_seconds=-60)

        await client.send("realtime:runs", "phx_join", {"config": {}, "access_token": expired})

        reply = await client.receive()
        assert reply.payload["status"] == "error"
        assert reply.payload["response"]["reason"].startswith("InvalidJWTToken: Token has expired")


async def test_a_second_join_replaces_the_channel(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=token(stack, ALICE))

        [number] = await client.join(binding(table), access_token=token(stack, ALICE), join_ref="2")

        closed = await client.receive()
        assert (closed.event, closed.join_ref) == ("phx_close", "1")
        assert (await client.receive()).payload == SUBSCRIBED
        await client.send("realtime:runs", "phx_leave", {}, join_ref="1")  # too late: not for the new channel
        await table.insert(1, ALICE)
        assert (await client.change())["ids"] == [number]


async def test_the_channel_that_left_hears_no_more(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=token(stack, ALICE))
        await client.send("realtime:runs", "phx_leave", {})
        assert [(await client.receive()).event for _ in range(2)] == ["phx_reply", "phx_close"]
        await table.insert(1, ALICE)

        await client.subscribe(binding(table), access_token=token(stack, ALICE))
        await table.insert(2, ALICE)

        assert (await client.change())["data"]["record"]["id"] == 2


async def test_without_a_token_the_api_key_speaks(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        await client.subscribe(binding(table))

        await table.insert(1, ALICE)
        await table.insert(2, ALICE, is_public=True)

        assert (await client.change())["data"]["record"]["id"] == 2


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
        await client.send("realtime:runs", "broadcast", {"type": "broadcast", "event": "x", "payload": {}})
        assert (await client.receive()).payload["status"] == "error"


async def test_a_message_that_is_too_big_closes_the_socket(stack: Endpoints) -> None:
    async with wire(stack) as client:
        await client.send("realtime:runs", "phx_join", {"config": "x" * MAX_FRAME_BYTES})

        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await client.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_a_client_that_does_not_read_is_closed_and_holds_up_nobody(stack: Endpoints, table: Table) -> None:
    huge: dict[str, Any] = {"max_size": None, "compression": None}
    async with wire(stack, max_queue=1, **huge) as idle, wire(stack, **huge) as reading:
        await idle.subscribe(binding(table), access_token=token(stack, ALICE))
        await reading.subscribe(binding(table), access_token=token(stack, ALICE))

        for number in range(60):
            await table.insert(number, ALICE, body="x" * 900_000)
            assert (await reading.change())["data"]["record"]["id"] == number

        received = 0
        with contextlib.suppress(websockets.ConnectionClosedError):
            async for _ in idle.connection:
                received += 1
        assert idle.connection.close_code in (1006, 1013)
        assert received < 60


# The database -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("immediately", [False, True])
async def test_channels_outlive_the_database(data_folder: Path, immediately: bool) -> None:
    postgres = Postgres(data_folder, free_port(), password="a-password")
    await asyncio.to_thread(postgres.start)
    try:
        async with served(postgres) as stack, wire(stack) as client:
            table = await Table.publish(stack.db_url)
            ids = await client.subscribe(binding(table), access_token=token(stack, ALICE))
            await table.connection.close()
            await asyncio.to_thread(postgres.stop, immediately=immediately)
            await asyncio.to_thread(postgres.start)

            assert (await client.receive()).payload == SUBSCRIBED
            async with await psycopg.AsyncConnection.connect(stack.db_url, autocommit=True) as connection:
                await Table(table.name, connection).insert(1, ALICE)
            assert (await client.change())["ids"] == ids
    finally:
        await asyncio.to_thread(postgres.stop)


async def test_wal_is_let_go_of_while_nobody_listens(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime, "IDLE_SECONDS", 0.05)
    with Postgres(data_folder, free_port(), password="a-password") as postgres:
        async with served(postgres) as stack:
            table = await Table.publish(stack.db_url)
            async with table.connection as connection:
                await table.insert(1, ALICE, body="x" * 100_000)
                cursor = await connection.execute("select pg_current_wal_lsn()")
                written = await cursor.fetchone()

                async with asyncio.timeout(PATIENCE_SECONDS):
                    held = True
                    while held:
                        cursor = await connection.execute(
                            "select coalesce(bool_or(confirmed_flush_lsn < %s), true) from pg_replication_slots",
                            written,
                        )
                        [(held,)] = await cursor.fetchall()
