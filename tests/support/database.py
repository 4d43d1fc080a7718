"""Connections to the database behind a stack, and how two of them wait for each other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, LiteralString, TypeAlias
from uuid import uuid4

import psycopg
from supabase import AsyncClient

from tests.support.queue import user_id
from worker.local.supabase.postgres import Postgres

Connection: TypeAlias = psycopg.AsyncConnection[Any]
Connect: TypeAlias = Callable[[], Awaitable[Connection]]
Arguments: TypeAlias = Sequence[Any] | Mapping[str, Any] | None
Configure: TypeAlias = Callable[[str, int | str | None], Awaitable[None]]


async def rows(database: Connection, query: LiteralString, arguments: Arguments = None) -> list[Any]:
    """Run a query; return its rows."""
    return await (await database.execute(query, arguments)).fetchall()


async def scalar(database: Connection, query: LiteralString, arguments: Arguments = None) -> Any:
    """Run a query that returns one row of one column; return the value."""
    ((answer,),) = await rows(database, query, arguments)
    return answer


async def signed_in(client: AsyncClient, connect_database: Connect) -> Connection:
    """A connection with the rights of a user."""
    connection = await connect_database()
    await _become(connection, client, is_local=False)
    return connection


async def sign_in_for_transaction(database: Connection, client: AsyncClient) -> None:
    """Give a connection the rights of a user until its transaction ends."""
    await _become(database, client, is_local=True)


async def _become(database: Connection, client: AsyncClient, *, is_local: bool) -> None:
    claims = json.dumps({"sub": await user_id(client), "role": "authenticated"})
    await database.execute(
        "select set_config('request.jwt.claims', %(claims)s, %(is_local)s),"
        " set_config('role', 'authenticated', %(is_local)s)",
        {"claims": claims, "is_local": is_local},
    )


async def pause(database: Connection, site: str, time: str | None, *, account: str = "", exit_name: str = "") -> None:
    """Pause a site for an interval; None ends the pause."""
    await database.execute(
        """
        insert into worker.site_health (site, account, exit, paused_until) values (%s, %s, %s, now() + %s::interval)
        on conflict (site, account, exit) do update set paused_until = excluded.paused_until
        """,
        [site, account, exit_name, time],
    )


async def wait_until_blocked(database: Connection, holder: Connection) -> None:
    """Wait until another connection waits for a lock that the transaction of `holder` has."""
    async with asyncio.timeout(10):
        while True:
            answer = await database.execute(
                "select from pg_stat_activity where %s = any (pg_blocking_pids(pid))", [holder.info.backend_pid]
            )
            if answer.rowcount:
                return
            await asyncio.sleep(0.01)


async def answer_after(
    first: Connection,
    database: Connection,
    second: Connection,
    query: LiteralString,
    arguments: Any,
    *,
    end: LiteralString = "commit",
) -> list[Any]:
    """Send a query on `second` that waits for the open transaction of `first`; end that; return the answer."""
    waiting = asyncio.create_task(second.execute(query, arguments))
    await wait_until_blocked(database, first)
    await first.execute(end)
    return await (await waiting).fetchall()


async def written(database: Connection, run_id: str) -> list[Any]:
    """Everything that a worker may write about a run."""
    answer = await database.execute(
        """
        select (select jsonb_agg(to_jsonb(run)) from public.search_runs as run where id = %(run)s),
               (select jsonb_agg(to_jsonb(searched)) from public.search_run_sites as searched where run_id = %(run)s),
               (select jsonb_agg(to_jsonb(result)) from public.search_results as result where run_id = %(run)s),
               (select jsonb_agg(to_jsonb(happened)) from public.run_events as happened where run_id = %(run)s),
               (select jsonb_agg(to_jsonb(page)) from worker.raw_collections as page where run_id = %(run)s),
               (select jsonb_agg(to_jsonb(lease)) from worker.leases as lease where run_id = %(run)s),
               (select count(*) from public.items)
        """,
        {"run": run_id},
    )
    row = await answer.fetchone()
    assert row is not None
    return list(row)


def new_database(postgres: Postgres) -> str:
    """Create a database with what the bootstrap makes; return its URL, for the owner of the migrations."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f"create database {name} template postgres owner postgres")
    return postgres.dsn("postgres").removesuffix("postgres") + name
