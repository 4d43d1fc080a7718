"""Realtime through realtime-py, what is sent of a change, and when."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from realtime.types import RealtimePostgresChangesListenEvent, RealtimeSubscribeStates
from supabase import AsyncClient

from tests.support.database import Connection
from tests.support.realtime import (
    ALICE,
    PATIENCE_SECONDS,
    PROTOCOLS,
    SUBSCRIBED,
    Table,
    binding,
    published_table,
    soon,
    wire,
)
from tests.support.stack import SignIn, served, served_with_realtime, supabase_client, user_token
from worker.local.loopback import free_port
from worker.local.supabase.postgres import Postgres
from worker.local.supabase.realtime import published_table as published_tables
from worker.local.supabase.realtime import server as realtime
from worker.local.supabase.stack import Endpoints


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
    async with supabase_client(stack.url, stack.anon_key) as client:
        short = await Subscription.start(client, table, user_token(stack, ALICE, lifetime_seconds=2))

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
            binding(table), binding(table, "INSERT"), binding(table, "UPDATE"), access_token=user_token(stack, ALICE)
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
        "command": "pg_catalog.regclass default 'pg_class'",
        "period": "int4range default '[1,5)'",
        "odd %name": "int default 1",
        "position": "int default 7",
    }
    for name, definition in columns.items():
        await table.connection.execute(f'alter table {table.name} add column "{name}" {definition}')
    await table.execute("grant select on {table} to authenticated")
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=user_token(stack, ALICE))

        await table.insert(1, ALICE, status='quotes " \\ and\nlines')

        cursor = await table.connection.execute(
            sql.SQL("select to_jsonb(t)::text from {} as t").format(sql.Identifier(table.name))
        )
        [(written,)] = await cursor.fetchall()
        assert (await client.change())["data"]["record"] == json.loads(written, parse_float=Decimal)


async def test_values_are_cut_where_the_platform_cuts_them(stack: Endpoints, table: Table) -> None:
    columns = {
        "code": "char(5) default 'abc'",
        "bits": "bit(3) default B'101'",
        "bytes": r"bytea default '\x00ff'",
        "float": "float8 default '-Infinity'",
        "doubled": "int generated always as (id * 2) stored",
        "sentence": "text generated always as (coalesce(status, 'none') || ' {%}') stored",
    }
    for name, definition in columns.items():
        await table.execute(f"alter table {{table}} add column {name} {definition.replace('{%}', '{{%}}')}")
    await table.execute("grant select on {table} to authenticated")
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=user_token(stack, ALICE))

        await table.insert(21, ALICE, amount="NaN", status="running")

        record = (await client.change())["data"]["record"]
        cut = {"code": "a", "bits": "1", "bytes": "00ff", "float": None, "amount": None}
        assert {name: record[name] for name in cut} == cut
        assert (record["doubled"], record["sentence"]) == (42, "running {%}")


async def test_an_unchanged_toasted_value_is_left_out(stack: Endpoints, table: Table) -> None:
    await table.insert(1, ALICE, body="x" * 10_000)
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=user_token(stack, ALICE))

        await table.execute("update {table} set status = 'running'")
        await table.execute("update {table} set body = 'short'")

        record = (await client.change())["data"]["record"]
        assert (record["status"], "body" in record) == ("running", False)
        assert (await client.change())["data"]["record"]["body"] == "short"


async def test_with_replica_identity_full_an_unchanged_toasted_value_is_sent_but_passes_no_filter(
    stack: Endpoints, table: Table
) -> None:
    await table.insert(1, ALICE, body="x" * 10_000)
    await table.execute("alter table {table} replica identity full")
    async with wire(stack) as client:
        conditions = "", "body=not.is.null", "status=eq.running"
        everything, _, by_status = await client.subscribe(
            *(binding(table, filter=condition) for condition in conditions), access_token=user_token(stack, ALICE)
        )

        await table.execute("update {table} set status = 'running'")

        message = await client.change()
        assert message["ids"] == [everything, by_status]
        assert message["data"]["record"]["body"] == "x" * 10_000


async def test_a_record_over_1_mib_comes_without_long_values_and_nulls(stack: Endpoints, table: Table) -> None:
    await table.execute("alter table {table} add document jsonb, add word text, replica identity full")
    await table.execute("grant select on {table} to authenticated")
    async with wire(stack) as client:
        await client.subscribe(binding(table), access_token=user_token(stack, ALICE))

        await table.insert(1, ALICE, status="s" * 62, word="w" * 63, document="null", body="x" * (1024 * 1024))
        await table.execute("update {table} set status = 'short'")

        inserted, updated = [(await client.change())["data"] for _ in range(2)]
        kept = {"id": 1, "owner": ALICE, "is_public": False, "document": None}
        assert inserted["errors"] == updated["errors"] == ["Error 413: Payload Too Large"]
        assert inserted["record"] == updated["old_record"] == kept | {"status": "s" * 62}
        assert updated["record"] == kept | {"status": "short"}
        assert len(inserted["columns"]) == 9


async def test_the_limit_counts_the_text_that_the_platform_logs(stack: Endpoints, table: Table) -> None:
    async with wire(stack, max_size=None) as client:
        await client.subscribe(binding(table), access_token=user_token(stack, ALICE))

        await table.insert(1, ALICE, body="x" * (1024 * 1024 - 1000))
        await table.insert(2, ALICE, body="\n" * (512 * 1024))  # each is two bytes, escaped
        await table.insert(3, ALICE, body="x" * (1024 * 1024 - 300))  # names, types and the key are written, too

        assert [(await client.change())["data"]["errors"] is None for _ in range(3)] == [True, False, False]


async def test_a_transaction_of_several_tables_arrives_in_its_order(stack: Endpoints, table: Table) -> None:
    async with published_table(stack.db_url) as other, wire(stack) as client:
        await client.subscribe(binding(table), binding(other), access_token=user_token(stack, ALICE))

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
        await client.subscribe(binding(table), access_token=user_token(stack, ALICE))

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
        [number] = await client.subscribe(binding(table), access_token=user_token(stack, ALICE))

        await table.insert(1, ALICE)

        message = await client.change()
        assert message["ids"] == [number]
        assert message["data"]["errors"] == [error]
        assert message["data"]["record"] == {}


# The database -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("immediately", [False, True])
async def test_channels_outlive_the_database(data_folder: Path, immediately: bool) -> None:
    postgres = Postgres(data_folder, free_port(), password="a-password", sync=False)
    await asyncio.to_thread(postgres.start)
    try:
        async with served(postgres) as stack, wire(stack) as client:
            table = await Table.publish(stack.db_url)
            ids = await client.subscribe(binding(table), access_token=user_token(stack, ALICE))
            await table.connection.close()
            await asyncio.to_thread(postgres.stop, immediately=immediately)
            await asyncio.to_thread(postgres.start)

            assert (await client.receive()).payload == SUBSCRIBED
            async with await psycopg.AsyncConnection.connect(stack.db_url, autocommit=True) as connection:
                await Table(table.name, connection).insert(1, ALICE)
            assert (await client.change())["ids"] == ids
    finally:
        await asyncio.to_thread(postgres.stop)


async def test_postgres_keeps_no_wal_for_clients_that_have_left(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realtime, "IDLE_SECONDS", 0.05)
    with Postgres(data_folder, free_port(), password="a-password", sync=False) as postgres:
        async with served(postgres) as stack:
            table = await Table.publish(stack.db_url)
            async with table.connection as connection:

                async def slots() -> int:
                    cursor = await connection.execute("select count(*) from pg_replication_slots")
                    [(count,)] = await cursor.fetchall()
                    return int(count)

                assert await slots() == 0
                for _ in range(2):  # clients come back
                    async with wire(stack) as client:
                        await client.subscribe(binding(table), access_token=user_token(stack, ALICE))
                        assert await slots() == 1
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        while await slots() > 0:  # noqa: ASYNC110 (the database has no event)
                            await asyncio.sleep(0.01)


@asynccontextmanager
async def held_commits(postgres: Postgres) -> AsyncIterator[Connection]:
    """Hold the commits of all sessions with `synchronous_commit`: they wait for a standby that does not exist."""
    async with await psycopg.AsyncConnection.connect(postgres.dsn(), autocommit=True) as connection:
        await connection.execute("set synchronous_commit = local")
        await connection.execute("alter system set synchronous_standby_names = 'absent'")
        await connection.execute("select pg_reload_conf()")
        try:
            yield connection
        finally:
            await connection.execute("alter system reset synchronous_standby_names")
            await connection.execute("select pg_reload_conf()")


@asynccontextmanager
async def held_insert(postgres: Postgres, table: Table) -> AsyncIterator[tuple[Connection, list[int]]]:
    """Insert rows until a commit is held: in the WAL, but not visible. Then insert one that is visible.

    Yields:
        A connection whose commits are not held, and the ids of the rows.
    """
    inserted: list[int] = []
    is_held = asyncio.Event()

    async def insert_until_held() -> None:
        while not is_held.is_set():  # the setting reaches each session at a time of its own
            inserted.append(len(inserted) + 1)
            await table.insert(inserted[-1], ALICE)

    async with held_commits(postgres) as administrator:
        inserting = asyncio.create_task(insert_until_held())
        await wait_for_row(administrator, "select from pg_stat_activity where wait_event = 'SyncRep'")
        is_held.set()
        await Table(table.name, administrator).insert(0, ALICE)
        await wait_for_row(
            administrator, "select from pg_stat_replication where sent_lsn >= pg_current_wal_flush_lsn()"
        )
        yield administrator, [*inserted, 0]
    await inserting


async def wait_for_row(connection: Connection, query: LiteralString) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (await connection.execute(query)).rowcount:  # noqa: ASYNC110 (the database has no event)
            await asyncio.sleep(0.01)


async def test_a_commit_that_is_in_the_wal_before_it_is_visible_is_not_lost(data_folder: Path) -> None:
    with Postgres(data_folder, free_port(), password="a-password", sync=False) as postgres:
        async with served(postgres) as stack, wire(stack) as client, published_table(stack.db_url) as table:
            await client.subscribe(binding(table), access_token=user_token(stack, ALICE))

            async with held_insert(postgres, table) as (_, inserted):
                pass

            assert [(await client.change())["data"]["record"]["id"] for _ in inserted] == inserted


async def test_a_commit_that_stays_invisible_is_lost_with_a_message(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_tables, "VISIBLE_SECONDS", 0.05)
    with Postgres(data_folder, free_port(), password="a-password", sync=False) as postgres:
        async with served(postgres) as stack, wire(stack) as client, published_table(stack.db_url) as table:
            await client.subscribe(binding(table), access_token=user_token(stack, ALICE))

            async with held_insert(postgres, table) as (administrator, _):
                await wait_for_row(
                    administrator,
                    "select where not exists (select from pg_replication_slots where confirmed_flush_lsn is not null)",
                )

            while (message := await client.receive()).payload != SUBSCRIBED:
                assert message.payload["data"]["record"]["id"] != 0


async def test_changes_can_be_lost_in_silence(data_folder: Path) -> None:
    with Postgres(data_folder, free_port(), password="a-password", sync=False) as postgres:
        async with served_with_realtime(postgres) as (stack, following), wire(stack) as client:
            table = await Table.publish(stack.db_url)
            async with table.connection:
                await client.subscribe(binding(table), access_token=user_token(stack, ALICE))

                for number in range(250):  # more than one poll reads
                    await table.insert(number, ALICE)
                async with following.losing_changes():
                    await table.insert(250, ALICE)
                await table.insert(251, ALICE)

                heard = [(await client.change())["data"]["record"]["id"] for _ in range(251)]
                assert heard == [*range(250), 251]
