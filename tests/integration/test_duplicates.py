"""Groups of items that are the same thing, changed from several sides at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import LiteralString

import pytest
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from tests.support.database import Connect, Connection, wait_until_blocked
from tests.support.queue import (
    SAVE_PAGES,
    Refusal,
    Row,
    call,
    claim,
    enqueue,
    items,
    lease,
    page,
    refusal,
    save_page,
    start_search,
)
from tests.support.stack import SignIn

MERGE: LiteralString = "select public.worker_merge_items(%(pairs)s)"
SPLIT: LiteralString = "select public.worker_split_item(%(item_id)s)"


@pytest.fixture
async def run(sign_in: SignIn, service: AsyncClient, kind: str) -> AsyncIterator[Row]:
    """A claimed run, which is being searched."""
    await enqueue(await sign_in(), kind, sites=["indeed"])
    (run,) = await claim(service, kind)
    await start_search(service, run, "indeed")
    yield run
    # Or a later test's claim would rescue it.
    await service.table("search_runs").delete().eq("kind", kind).execute()


@pytest.fixture
async def ids(service: AsyncClient, kind: str, run: Row) -> list[str]:
    """The ids of five items, the oldest first, no two of them the same thing."""
    for number in range(5):
        await save_page(service, **lease(run), **page("indeed", number + 1, [f"{number}"]))
    query = service.table("items").select("id").eq("kind", kind).order("first_seen_at")
    return [row["id"] for row in (await query.execute()).data if isinstance(row, dict)]


@pytest.fixture
async def connections(connect_database: Connect) -> tuple[Connection, Connection]:
    return await connect_database(), await connect_database()


def pairs(*ids: tuple[str, str]) -> list[Row]:
    return [{"item_id": item_id, "other_id": other_id} for item_id, other_id in ids]


async def groups(database: Connection, ids: list[str]) -> list[str]:
    """The groups of items, each as the numbers of its members."""
    answer = await database.execute(
        "select id::text, coalesce(duplicate_of, id)::text from public.items where id = any (%s::uuid[])", [ids]
    )
    members: dict[str, list[int]] = {}
    async for item_id, root_id in answer:
        members.setdefault(root_id, []).append(ids.index(item_id))
    assert all(ids.index(root_id) == min(numbers) for root_id, numbers in members.items())
    return sorted("".join(map(str, sorted(numbers))) for numbers in members.values())


async def test_a_merge_can_be_undone(service: AsyncClient, database: Connection, ids: list[str]) -> None:
    assert await call(service, "worker_merge_items", pairs=pairs((ids[3], ids[1]), (ids[2], ids[1]))) == 2
    assert await groups(database, ids) == ["0", "123", "4"]
    await call(service, "worker_split_item", item_id=ids[1])
    assert await groups(database, ids) == ["0", "1", "23", "4"]
    assert await call(service, "worker_merge_items", pairs=pairs((ids[3], ids[1]), (ids[2], ids[0]))) == 1
    assert await groups(database, ids) == ["023", "1", "4"]


async def test_an_item_that_is_none_cannot_be_split(service: AsyncClient, run: Row) -> None:
    refused = await refusal(service, service.rpc("worker_split_item", {"item_id": run["run_id"]}))
    assert refused == Refusal(404, "PT404", "item_id must be the id of an item")


async def test_merges_at_once_make_one_group(
    database: Connection, connections: tuple[Connection, Connection], ids: list[str]
) -> None:
    first, second = connections
    await first.execute("begin")
    await first.execute(MERGE, {"pairs": Jsonb(pairs((ids[1], ids[2]), (ids[4], ids[3])))})
    waiting = asyncio.create_task(second.execute(MERGE, {"pairs": Jsonb(pairs((ids[2], ids[3])))}))
    await wait_until_blocked(database, first)
    await first.execute("commit")
    assert await (await waiting).fetchall() == [(1,)]
    assert await groups(database, ids) == ["0", "1234"]


async def test_a_split_and_a_merge_at_once_keep_apart(
    service: AsyncClient, database: Connection, connections: tuple[Connection, Connection], ids: list[str]
) -> None:
    splitting, merging = connections
    await call(service, "worker_merge_items", pairs=pairs((ids[0], ids[1])))
    await splitting.execute("begin")
    await splitting.execute(SPLIT, {"item_id": ids[1]})
    both = Jsonb(pairs((ids[2], ids[0]), (ids[2], ids[1])))
    waiting = asyncio.create_task(merging.execute(MERGE, {"pairs": both}))
    await wait_until_blocked(database, splitting)
    await splitting.execute("commit")
    assert await (await waiting).fetchall() == [(1,)]
    assert await groups(database, ids) == ["02", "1", "3", "4"]


async def test_a_split_waits_for_the_page_that_matches_its_item(
    database: Connection, connections: tuple[Connection, Connection], run: Row, ids: list[str]
) -> None:
    saving, splitting = connections
    found = [item | {"match_key": "the same"} for item in items(["1", "2"])]
    arguments = lease(run) | page("indeed", 6, []) | {"items": found}
    await saving.execute("begin")
    await saving.execute(SAVE_PAGES, [Jsonb([arguments])])
    waiting = asyncio.create_task(splitting.execute(SPLIT, {"item_id": ids[1]}))
    await wait_until_blocked(database, saving)
    await saving.execute("commit")
    await waiting
    assert await groups(database, ids) == ["0", "1", "2", "3", "4"]
    apart = await database.execute(
        "select item_id::text, other_id::text from worker.kept_apart where item_id = any (%s::uuid[])", [ids]
    )
    assert await apart.fetchall() == [tuple(sorted((ids[1], ids[2])))]


async def test_merges_of_several_kinds_never_wait_in_a_circle(
    database: Connection, connections: tuple[Connection, Connection], kind: str
) -> None:
    async def pair(kind: str) -> Row:
        answer = await database.execute(
            """
            insert into public.items (kind, title, url, canonical_key, first_seen_at, last_seen_at)
            select %s, 'A thing', 'https://example.com', gen_random_uuid()::text, now(), now()
            from generate_series(1, 2)
            returning id::text
            """,
            [kind],
        )
        (item_id,), (other_id,) = await answer.fetchall()
        return {"item_id": item_id, "other_id": other_id}

    for _ in range(10):
        both = [await pair(f"{kind} {name}") for name in ("a", "b")]
        merged = await asyncio.gather(
            *(
                connection.execute(MERGE, {"pairs": Jsonb(both[::direction])})
                for connection, direction in zip(connections, (1, -1), strict=True)
            )
        )
        assert sorted([await answer.fetchall() for answer in merged]) == [[(0,)], [(2,)]]
