"""What a user follows, on a local stack."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from uuid import uuid4

import pytest

from tests.integration.conftest import Connection
from worker.client import User, signed_in_as
from worker.local.stack import Endpoints

PATIENCE = 30


@pytest.fixture
async def users(stack: Endpoints) -> AsyncIterator[tuple[User, User]]:
    async with AsyncExitStack() as exits:

        async def a_user() -> User:
            email = f"{uuid4()}@example.com"
            signing_in = signed_in_as(stack.url, stack.anon_key, email, "correct horse", create=True)
            return await exits.enter_async_context(signing_in)

        yield await a_user(), await a_user()


async def enqueue(user: User, kind: str) -> str:
    run = await user.enqueue(kind, {"search_term": str(uuid4()), "sites": ["indeed", "bayt"]})
    return str(run["id"])


async def delete(database: Connection, table: str, condition: str, run_id: str) -> None:
    await database.execute(f"delete from public.{table} where {condition}".encode(), [run_id])


async def test_a_deleted_run_is_dropped_and_the_rest_followed(
    users: tuple[User, User], kind: str, database: Connection
) -> None:
    user, stranger = users
    followed, deleted = await enqueue(user, kind), await enqueue(user, kind)
    of_stranger, unwatched = await enqueue(stranger, kind), await enqueue(user, kind)
    async with asyncio.timeout(PATIENCE), aclosing(user.follow([followed, deleted])) as states:
        assert set(await anext(states)) == {followed, deleted}

        # Everybody hears of every deletion.
        await delete(database, "search_runs", "id = %s", of_stranger)
        await delete(database, "search_runs", "id = %s", unwatched)
        await delete(database, "search_runs", "id = %s", deleted)
        async for state in states:
            if set(state) == {followed}:
                break
            assert set(state) == {followed, deleted}

        await delete(database, "search_run_sites", "run_id = %s and site = 'bayt'", followed)
        assert list((await anext(states))[followed].sites) == ["indeed"]

        await database.execute(
            "update public.search_runs set status = 'cancelled', completed_at = now() where id = %s", [followed]
        )
        assert [state[followed].run["status"] async for state in states][-1] == "cancelled"


async def test_following_ends_with_the_last_run(users: tuple[User, User], kind: str, database: Connection) -> None:
    user, _ = users
    run_id = await enqueue(user, kind)
    async with asyncio.timeout(PATIENCE), aclosing(user.follow([run_id])) as states:
        assert set(await anext(states)) == {run_id}
        await delete(database, "search_runs", "id = %s", run_id)
        assert [set(state) async for state in states][-1] == set()
