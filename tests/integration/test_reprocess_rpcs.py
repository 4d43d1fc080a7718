"""Pages that are transformed and loaded again from raw, by several workers and beside running searches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, LiteralString

import pytest
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from tests.support.database import Connect, Connection, wait_until_blocked
from tests.support.queue import (
    Refusal,
    Row,
    call,
    claim,
    enqueue,
    finish_run,
    finish_site,
    items,
    lease,
    page,
    refusal,
    save_page,
    start_search,
)
from tests.support.stack import SignIn

LOAD_PAGE: LiteralString = "select public.worker_load_page(%(page_id)s, 2, 5, '{}', %(items)s, '[]')"


@pytest.fixture
async def source(kind: str) -> str:
    """A source that no other test's pages are of."""
    return f"source of {kind}"


@pytest.fixture
async def run(
    sign_in: SignIn, service: AsyncClient, database: Connection, kind: str, source: str
) -> AsyncIterator[Row]:
    """A claimed run, in its last attempt, with four pages: two loaded, and two failed."""
    await enqueue(await sign_in(), kind, sites=["indeed"])
    await database.execute("update public.search_runs set max_attempts = 1 where kind = %s", [kind])
    (run,) = await claim(service, kind)
    await start_search(service, run, "indeed")
    for number in range(1, 5):
        arguments = page("indeed", number, [f"{number}"])
        arguments["raw"]["source"] = source
        if number > 2:
            arguments["items"][0]["title"] = None
        saved = await save_page(service, **lease(run), **arguments)
        assert saved["status"] == ("completed" if number <= 2 else "failed")
    yield run
    # Or a later test's claim would rescue it.
    await service.table("search_runs").delete().eq("kind", kind).execute()


async def end(service: AsyncClient, run: Row) -> Row:
    await finish_site(service, run, site="indeed")
    finished: Row = await finish_run(service, run)
    return finished


async def claim_pages(service: AsyncClient, source: str, batch: int = 10) -> list[Row]:
    rows: list[Row] = await call(service, "worker_claim_pages", sources=[source], batch=batch)
    return rows


async def load(service: AsyncClient, page_id: int, external_ids: list[str]) -> Row:
    arguments = {"version": 2, "transform_ms": 5, "completeness": {"title": 1}, "errors": []}
    row: Row = await call(service, "worker_load_page", page_id=page_id, items=items(external_ids), **arguments)
    return row


async def found(service: AsyncClient, run: Row) -> list[str]:
    query = service.table("run_items").select("title").eq("run_id", run["run_id"]).order("title")
    return [row["title"].removeprefix("Title of ") for row in (await query.execute()).data if isinstance(row, dict)]


async def test_failed_pages_are_loaded_into_a_run_that_has_ended(service: AsyncClient, source: str, run: Row) -> None:
    finished = await end(service, run)
    assert (finished["status"], finished["jobs_found"]) == ("partial", 2)
    assert await call(service, "worker_reprocess", source=source, status="failed") == 2
    claimed = await claim_pages(service, source)
    assert [(row["page_number"], row["payload"], row["site"]) for row in claimed] == [
        (3, {"ids": ["3"]}, "indeed"),
        (4, {"ids": ["4"]}, "indeed"),
    ]
    for row in claimed:
        loaded = await load(service, row["page_id"], row["payload"]["ids"])
        assert loaded == {"status": "completed", "results": 1, "new": 1}
    assert await found(service, run) == ["1", "2", "3", "4"]
    after: Any = (await service.table("search_runs").select("*").eq("id", run["run_id"]).single().execute()).data
    assert (after["status"], after["completed_at"], after["jobs_found"]) == ("partial", finished["completed_at"], 4)
    assert await claim_pages(service, source) == []
    assert await call(service, "worker_reprocess", source=source, status="failed") == 0


async def test_everything_again_changes_nothing(
    service: AsyncClient, database: Connection, kind: str, source: str, run: Row
) -> None:
    async def state() -> Any:
        answer = await database.execute(
            """
            select (select jsonb_agg(to_jsonb(item) order by id) from public.items as item where kind = %(kind)s),
                   (select jsonb_agg(to_jsonb(result) order by item_id) from public.search_results as result
                    where run_id = %(run)s),
                   (select to_jsonb(run) from public.search_runs as run where id = %(run)s),
                   (select jsonb_agg(to_jsonb(happened) order by id) from public.run_events as happened
                    where run_id = %(run)s)
            """,
            {"kind": kind, "run": run["run_id"]},
        )
        return await answer.fetchone()

    await end(service, run)
    before = await state()
    for _ in range(2):
        assert await call(service, "worker_reprocess", source=source) == 4
        for row in await claim_pages(service, source):
            if row["page_number"] <= 2:
                loaded = await load(service, row["page_id"], row["payload"]["ids"])
                assert loaded == {"status": "completed", "results": 0, "new": 1}
            else:
                bad = {"items": items(["3"])[0] | {"title": None, "external_id": row["payload"]["ids"][0]}}
                arguments = {"version": 2, "transform_ms": 5, "completeness": {}, "errors": [], "items": [bad["items"]]}
                failed = await call(service, "worker_load_page", page_id=row["page_id"], **arguments)
                assert failed["status"] == "failed"
    assert await state() == before


@pytest.mark.usefixtures("run")
async def test_workers_at_once_get_different_pages(service: AsyncClient, source: str) -> None:
    assert await call(service, "worker_reprocess", source=source) == 4
    claims = await asyncio.gather(*(claim_pages(service, source, batch=1) for _ in range(4)))
    claimed = [row["page_id"] for rows in claims for row in rows]
    # A claim passes over pages that another one holds, and may find none for the moment.
    while rows := await claim_pages(service, source, batch=1):
        claimed += [row["page_id"] for row in rows]
    assert len(claimed) == len(set(claimed)) == 4


@pytest.mark.usefixtures("run")
async def test_a_claim_passes_over_pages_that_another_is_claiming(
    connect_database: Connect, service: AsyncClient, source: str
) -> None:
    await call(service, "worker_reprocess", source=source)
    first, second = await connect_database(), await connect_database()
    query: LiteralString = "select page_number from public.worker_claim_pages(array[%s], 3)"
    await first.execute("begin")
    claimed = [await (await connection.execute(query, [source])).fetchall() for connection in (first, second)]
    await first.execute("commit")
    assert claimed == [[(1,), (2,), (3,)], [(4,)]]


@pytest.mark.usefixtures("run")
async def test_a_page_whose_worker_died_is_claimed_again(
    service: AsyncClient, database: Connection, source: str
) -> None:
    await call(service, "worker_reprocess", source=source)
    pages = await claim_pages(service, source)
    assert await claim_pages(service, source) == []
    await database.execute(
        "update worker.raw_collections set claimed_until = now() where id = %s", [pages[1]["page_id"]]
    )
    assert [row["page_id"] for row in await claim_pages(service, source)] == [pages[1]["page_id"]]


async def test_a_page_is_loaded_while_its_run_is_searched(
    database: Connection, connect_database: Connect, service: AsyncClient, source: str, run: Row
) -> None:
    await call(service, "worker_reprocess", source=source, status="failed")
    claimed = await claim_pages(service, source)
    loading = await connect_database()
    await loading.execute("begin")
    arguments = {"page_id": claimed[0]["page_id"], "items": Jsonb(items(["3"]))}
    ((loaded,),) = await (await loading.execute(LOAD_PAGE, arguments)).fetchall()
    assert loaded["results"] == 1
    saving = asyncio.create_task(save_page(service, **lease(run), **page("indeed", 5, ["3", "5"])))
    await wait_until_blocked(database, loading)
    await loading.execute("commit")
    assert (await saving).items() >= {"status": "completed", "results": 1, "new": 2}.items()
    await load(service, claimed[1]["page_id"], ["4"])
    finished = await end(service, run)
    assert (finished["jobs_found"], await found(service, run)) == (5, ["1", "2", "3", "4", "5"])


async def test_a_page_that_is_loaded_twice_at_once_counts_once(service: AsyncClient, source: str, run: Row) -> None:
    await end(service, run)
    await call(service, "worker_reprocess", source=source, status="failed")
    (claimed, _) = await claim_pages(service, source)
    loads = await asyncio.gather(*(load(service, claimed["page_id"], ["3"]) for _ in range(4)))
    assert sorted(loaded["results"] for loaded in loads) == [0, 0, 0, 1]
    after: Any = (
        await service.table("search_runs").select("jobs_found").eq("id", run["run_id"]).single().execute()
    ).data
    assert after["jobs_found"] == 3


async def test_a_page_that_is_saved_again_while_it_waits_is_loaded(service: AsyncClient, source: str, run: Row) -> None:
    await call(service, "worker_reprocess", source=source, status="failed")
    # Of a worker whose first call was answered into the void.
    saved = await save_page(service, **lease(run), **page("indeed", 3, ["3"]))
    assert saved.items() >= {"status": "completed", "results": 1, "new": 1}.items()
    assert [row["page_number"] for row in await claim_pages(service, source)] == [4]


async def test_a_page_that_is_gone_is_not_found(service: AsyncClient, source: str, run: Row) -> None:
    await call(service, "worker_reprocess", source=source)
    (claimed, *_) = await claim_pages(service, source)
    await service.table("search_runs").delete().eq("id", run["run_id"]).execute()
    arguments = {"version": 2, "transform_ms": 5, "completeness": {}, "items": [], "errors": []}
    query = service.rpc("worker_load_page", {"page_id": claimed["page_id"], **arguments})
    assert await refusal(service, query) == Refusal(404, "PT404", "page_id must be the id of a stored page")
