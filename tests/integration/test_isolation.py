"""Serialization failures: PostgREST repeats a request that ends with 40001 for ever, so each has to end by itself.

https://docs.postgrest.org/en/v14/references/transactions.html: the isolation level is what a role or function sets.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import SerializationFailure
from supabase import AsyncClient

from tests.support.database import Connect, Connection
from tests.support.queue import claim, enqueue, lease, page, start_site, user_id

REPEATS = 2


async def test_no_function_raises_it_or_asks_for_an_isolation_level(database: Connection) -> None:
    found = await database.execute(
        r"""
        select oid::regprocedure::text from pg_proc
        where pronamespace in ('public'::regnamespace, 'worker'::regnamespace)
          and (prosrc ~ '\m40(000|001|002|003)\M'
               or prosrc ~ '\m(serialization_failure|transaction_rollback)\M'
               or exists (select from unnest(proconfig) as setting where setting like '%transaction_isolation%'))
        """
    )
    assert await found.fetchall() == []


CLAIM: LiteralString = "select public.worker_claim_runs('w', array[%(kind)s], 1, 3600, gen_random_uuid(), '[]')"
INSERT: LiteralString = """
insert into public.search_runs (user_id, kind, parameters) values (%(user_id)s, %(kind)s, %(parameters)s)
"""
CANCEL: LiteralString = "update public.search_runs set cancel_requested_at = now() where id = %(run_id)s"
DELETE: LiteralString = "delete from public.search_runs where id = %(run_id)s"
HEARTBEAT: LiteralString = """
select public.worker_heartbeat('worker-1', jsonb_build_array(
    jsonb_build_object('run_id', %(run_id)s::text, 'lease_token', %(lease_token)s::text)))
"""
SAVE: LiteralString = """
select public.worker_save_pages(jsonb_build_array(jsonb_build_object(
    'run_id', %(run_id)s::text, 'lease_token', %(lease_token)s::text, 'site', 'indeed', 'attempt', 1, 'page_number', 1,
    'raw', %(raw)s::jsonb, 'items', %(items)s::jsonb, 'errors', '[]'::jsonb, 'progress', %(progress)s::jsonb)))
"""
FINISH: LiteralString = """
select public.worker_finish_sites(jsonb_build_array(jsonb_build_object(
    'run_id', %(run_id)s::text, 'lease_token', %(lease_token)s::text, 'site', 'indeed', 'ends_run', true)))
"""
PERMIT: LiteralString = """
select public.worker_take_permit(
    %(run_id)s, %(lease_token)s, 'indeed', null, 'indeed', 1, '{"requests": 100, "period_seconds": 1}')
"""

STATEMENTS: Mapping[str, LiteralString] = {
    "claim": CLAIM, "insert": INSERT, "cancel": CANCEL, "delete": DELETE, "heartbeat": HEARTBEAT, "save": SAVE,
    "finish": FINISH, "permit": PERMIT,
}  # fmt: skip


async def is_serialized(connection: Connection, statement: LiteralString, arguments: Mapping[str, Any]) -> bool:
    """Execute a statement as a serializable transaction. What it refuses for another reason has ended as well."""
    try:
        async with connection.transaction():
            await connection.execute("set transaction isolation level serializable")
            await connection.execute(statement, arguments)
    except psycopg.Error as error:
        return not isinstance(error, SerializationFailure)
    return True


async def commits(connection: Connection) -> bool:
    """End the open transaction; return whether it was serialized."""
    try:
        await connection.execute("commit")
    except SerializationFailure:
        return False
    return True


async def waits_or_has_ended(database: Connection, holder: Connection, task: asyncio.Task[bool]) -> None:
    """Return once a statement has ended, or waits for a lock of another transaction."""
    while not task.done():
        blocked = await database.execute(
            "select from pg_stat_activity where %s = any (pg_blocking_pids(pid))", [holder.info.backend_pid]
        )
        if blocked.rowcount:
            return
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("first", ["claim", "insert", "cancel", "save"])
@pytest.mark.parametrize("second", STATEMENTS)
async def test_under_serializable_a_repeat_ends(
    *,
    connect_database: Connect,
    database: Connection,
    ada: AsyncClient,
    service: AsyncClient,
    kind: str,
    first: str,
    second: str,
) -> None:
    run = await enqueue(ada, kind, sites=["indeed"])
    (claimed,) = await claim(service, kind)
    await start_site(service, claimed, "indeed")
    await enqueue(ada, kind, sites=["indeed"])
    saved = page("indeed", 1, [uuid4().hex])
    arguments = lease(claimed) | {
        "kind": kind,
        "user_id": await user_id(ada),
        "parameters": json.dumps(run["parameters"]),
        **{name: json.dumps(saved[name]) for name in ("raw", "items", "progress")},
    }
    one, other = await connect_database(), await connect_database()
    async with asyncio.timeout(30):
        await one.execute("begin isolation level serializable")
        await one.execute(STATEMENTS[first], arguments)
        attempt = asyncio.create_task(is_serialized(other, STATEMENTS[second], arguments))
        await waits_or_has_ended(database, one, attempt)
        refused = set() if await commits(one) else {first}
        if not await attempt:
            refused.add(second)
        for _ in range(REPEATS):
            refused = {name for name in refused if not await is_serialized(other, STATEMENTS[name], arguments)}
    assert not refused
