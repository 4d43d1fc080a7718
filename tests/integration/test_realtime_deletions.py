"""What everybody who listens hears of rows that are deleted: that there was one, and nothing that it said."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import pytest
from supabase import AsyncClient

from tests.support.database import Configure, Connection
from tests.support.queue import SITES, Row, call, claim, enqueue, search, user_id
from tests.support.realtime import PUBLISHED_TABLES
from tools.schema.document import describe_schema
from worker.database.changes import Binding, Change, Subscribed, changes
from worker.local.supabase.stack import Endpoints


@pytest.fixture
async def run(ada: AsyncClient, service: AsyncClient, kind: str) -> Row:
    """A run of Ada's, which has ended: two sites, five results."""
    run = await enqueue(ada, kind, sites=SITES)
    (claimed,) = await claim(service, kind)
    await search(service, claimed, {"indeed": [[uuid4().hex for _ in range(3)]], "linkedin": [[uuid4().hex] * 2]})
    return run


async def heard_by(stack: Endpoints, listener: AsyncClient, until: str, deletion: Any) -> list[Change]:
    """Have rows deleted; return what a user hears of all tables who listens for everything, up to a run's deletion."""

    async def access_token() -> str:
        session = await listener.auth.get_session()
        assert session is not None
        return session.access_token

    bindings = [Binding(table) for table in PUBLISHED_TABLES]
    events = changes(stack.url, stack.anon_key, bindings, access_token=access_token)
    heard: list[Change] = []
    async with asyncio.timeout(20), aclosing(events):
        assert isinstance(await anext(events), Subscribed)
        await deletion()
        async for event in events:
            assert isinstance(event, Change)
            heard.append(event)
            if event.table == "search_runs" and event.old_record == {"id": until}:
                break
    return heard


@pytest.mark.parametrize("way", ["retention", "service key", "account"])
async def test_a_stranger_hears_of_deletions_but_not_of_what(
    *,
    stack: Endpoints,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    database: Connection,
    configure: Configure,
    run: Row,
    way: str,
) -> None:
    end_of_search = await enqueue(bob, run["kind"])

    async def delete() -> None:
        match way:
            case "retention":
                await database.execute(
                    "update public.search_runs set completed_at = now() - interval '1 year' where id = %s", [run["id"]]
                )
                await configure("keep_runs", "300 days")
                await database.execute("update worker.housekeeping set next_at = '-infinity'")
                await call(service, "worker_delete_expired")
            case "service key":
                await service.table("search_runs").delete().eq("id", run["id"]).execute()
            case _:
                await database.execute("delete from auth.users where id = %s", [await user_id(ada)])
        # Whatever comes after the run's own deletion is heard, too.
        await service.table("search_runs").delete().eq("id", end_of_search["id"]).execute()

    heard = await heard_by(stack, bob, end_of_search["id"], delete)
    assert [(change.type, change.old_record) for change in heard] == [
        ("DELETE", {"id": run["id"]}), ("DELETE", {"id": end_of_search["id"]})
    ]  # fmt: skip


async def test_the_schema_document_says_what_a_deletion_shows(stack: Endpoints) -> None:
    (_, realtime) = describe_schema(stack.db_url).split("\n## Realtime\n")
    for table in PUBLISHED_TABLES:
        assert f"| `public.{table}` | insert, update, delete | `id uuid` |" in realtime
