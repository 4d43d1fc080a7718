"""A published table, and a client of Realtime that speaks on the wire of both protocols."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import psycopg
import websockets
from psycopg import sql
from supabase import AsyncClient

from tests.support.queue import Row
from worker.database.changes import Binding, Change, Subscribed, changes
from worker.local.supabase.stack import Endpoints

PATIENCE_SECONDS = 20
PROTOCOLS = ("1.0.0", "2.0.0")
SUBSCRIBED = {"extension": "postgres_changes", "status": "ok", "message": "Subscribed to PostgreSQL", "channel": "runs"}
ALICE, BOB = str(uuid4()), str(uuid4())

PUBLISHED_TABLES = ("search_runs",)

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
    async def publish(cls, db_url: str, schema: str = SCHEMA) -> Table:
        connection = await psycopg.AsyncConnection.connect(db_url, autocommit=True)
        table = cls(f"realtime_{uuid4().hex}", connection)
        await table.execute(schema)
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
async def published_table(db_url: str, schema: str = SCHEMA) -> AsyncIterator[Table]:
    """Create a table of a schema, and drop it at the end."""
    table = await Table.publish(db_url, schema)
    async with table.connection:
        yield table
        await table.execute("drop table {table}")


async def soon(queue: asyncio.Queue[T]) -> T:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await queue.get()


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


def binding(table: Table, event: str = "*", **more: Any) -> dict[str, Any]:
    return {"event": event, "schema": "public", "table": table.name, **more}


class ChangeListener:
    """Counts the changes of all published tables that a client hears of; without a client, with a key alone."""

    def __init__(self, stack: Endpoints, client: AsyncClient | None, key: str) -> None:
        async def access_token() -> str:
            session = await client.auth.get_session() if client else None
            assert session is not None
            return session.access_token

        self.heard: list[Change] = []
        self._events = changes(
            stack.url,
            key,
            [Binding(table) for table in PUBLISHED_TABLES],
            access_token=access_token if client else None,
        )

    async def subscribe(self) -> None:
        assert isinstance(await anext(self._events), Subscribed)

    async def listen_until(self, run: Row) -> Counter[str]:
        """Hear everything up to the end of a run; return how many changes there were of each kind."""
        async with asyncio.timeout(20), aclosing(self._events):
            async for event in self._events:
                assert isinstance(event, Change)
                self.heard.append(event)
                if (
                    event.table == "search_runs"
                    and event.record.get("id") == run["id"]
                    and event.record["completed_at"]
                ):
                    break
        return Counter(f"{event.table} {event.type}" for event in self.heard)
