"""What a user follows, on a local stack."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from uuid import uuid4

import pytest

from tests.support.database import Connection
from worker.database.changes import DEFAULT_TIMING
from worker.database.user import FollowedRun, User, signed_in_as
from worker.errors import SettingsError
from worker.local.supabase.stack import Endpoints

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


async def test_who_signs_up_at_the_same_time_signs_in(stack: Endpoints) -> None:
    email = f"{uuid4()}@example.com"
    at_the_door = asyncio.Barrier(5)

    async def enqueue_as_user() -> str:
        await at_the_door.wait()
        async with signed_in_as(stack.url, stack.anon_key, email, "correct horse", create=True) as user:
            run = await user.enqueue("jobs", {"search_term": "a", "sites": ["indeed"]})
            return str(run["user_id"])

    assert len({*await asyncio.gather(*(enqueue_as_user() for _ in range(5)))}) == 1
    with pytest.raises(SettingsError, match="Invalid login credentials"):
        async with signed_in_as(stack.url, stack.anon_key, email, "another horse", create=True):
            pass


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

        await database.execute(
            "update public.search_runs set status = 'cancelled', completed_at = now() where id = %s", [followed]
        )
        assert [state[followed].run["status"] async for state in states][-1] == "cancelled"


async def test_a_run_that_begins_to_follow_another_one_shows_its_sites(
    users: tuple[User, User], kind: str, database: Connection
) -> None:
    user, stranger = users
    run_id, leader = await enqueue(user, kind), await enqueue(stranger, kind)
    await database.execute("update public.search_run_sites set jobs_found = 7 where run_id = %s", [leader])
    async with asyncio.timeout(PATIENCE), aclosing(user.follow([run_id])) as states:
        sites = (await anext(states))[run_id].sites
        assert {name: site["jobs_found"] for name, site in sites.items()} == {"indeed": 0, "bayt": 0}
        # As when a run is due while an equal one is searched for.
        async with database.transaction():
            await database.execute("update public.search_runs set leader_run_id = %s where id = %s", [leader, run_id])
            await delete(database, "search_run_sites", "run_id = %s", run_id)
        sites = (await anext(states))[run_id].sites
        assert {name: site["jobs_found"] for name, site in sites.items()} == {"indeed": 7, "bayt": 7}


async def test_following_ends_with_the_last_run(users: tuple[User, User], kind: str, database: Connection) -> None:
    user, _ = users
    run_id = await enqueue(user, kind)
    async with asyncio.timeout(PATIENCE), aclosing(user.follow([run_id])) as states:
        assert set(await anext(states)) == {run_id}
        await delete(database, "search_runs", "id = %s", run_id)
        assert [set(state) async for state in states][-1] == set()


TERSE = replace(DEFAULT_TIMING, recheck_seconds=0.3)
"""For a test of what Realtime loses; all others are over before the runs are read again."""

LOSE_RUNS = "alter publication supabase_realtime {} table public.search_runs"


async def until(
    states: AsyncGenerator[dict[str, FollowedRun], None], holds: Callable[[dict[str, FollowedRun]], bool]
) -> dict[str, FollowedRun]:
    async for state in states:
        if holds(state):
            return state
    raise AssertionError("it ended before")


async def test_what_realtime_loses_in_silence_is_read(
    users: tuple[User, User], kind: str, database: Connection
) -> None:
    user, _ = users
    run_id = await enqueue(user, kind)
    async with asyncio.timeout(PATIENCE), aclosing(user.follow([run_id], timing=TERSE)) as states:
        await anext(states)
        await database.execute(LOSE_RUNS.format("drop").encode())
        try:
            await database.execute(
                "update public.search_runs set status = 'cancelled', completed_at = now() where id = %s", [run_id]
            )
        finally:
            await database.execute(LOSE_RUNS.format("add").encode())
        assert [state[run_id].run["status"] async for state in states][-1] == "cancelled"


async def test_sites_are_read_when_their_run_changes(users: tuple[User, User], kind: str, database: Connection) -> None:
    user, _ = users
    run_id, other = await enqueue(user, kind), await enqueue(user, kind)
    async with asyncio.timeout(PATIENCE), aclosing(user.follow([run_id, other])) as states:
        await anext(states)
        await database.execute("update public.search_run_sites set jobs_found = 5 where run_id = %s", [run_id])
        await database.execute("update public.search_runs set jobs_found = 10 where id = %s", [run_id])
        state = await until(states, lambda state: state[run_id].run["jobs_found"] == 10)
        assert [site["jobs_found"] for site in state[run_id].sites.values()] == [5, 5]
        assert list(state) == [run_id, other]


async def test_a_run_that_is_too_large_for_realtime_is_read(
    users: tuple[User, User], kind: str, database: Connection
) -> None:
    user, _ = users
    run_id = await enqueue(user, kind)
    await database.execute("update public.search_runs set error_code = 'blocked' where id = %s", [run_id])
    async with asyncio.timeout(PATIENCE), aclosing(user.follow([run_id])) as states:
        await anext(states)
        huge = "x" * 1_200_000
        await database.execute(
            "update public.search_runs set error_code = null, error_message = %s where id = %s", [huge, run_id]
        )
        state = await until(states, lambda state: state[run_id].run["error_code"] is None)
        assert state[run_id].run["error_message"] == huge


async def test_more_runs_than_one_filter_takes_are_followed(
    users: tuple[User, User], kind: str, database: Connection
) -> None:
    user, _ = users
    run_ids = [await enqueue(user, kind)]
    await database.execute("update worker.settings set max_pending_per_user = 200")
    try:
        run_ids += [await enqueue(user, kind) for _ in range(100)]
    finally:
        await database.execute("update worker.settings set max_pending_per_user = default")
    async with asyncio.timeout(PATIENCE), aclosing(user.follow(run_ids)) as states:
        assert list(await anext(states)) == run_ids
        for run_id in (run_ids[0], run_ids[-1]):
            await database.execute("update public.search_runs set jobs_found = 5 where id = %s", [run_id])
            await until(states, lambda state: any(run.run["jobs_found"] == 5 for run in state.values()))
            await database.execute("update public.search_runs set jobs_found = 0 where id = %s", [run_id])
            await until(states, lambda state: all(run.run["jobs_found"] == 0 for run in state.values()))
