"""Pages through the API: what is loaded, what is kept when it cannot be, and pages that are saved at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from psycopg.errors import LockNotAvailable, QueryCanceled
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from tests.support.database import Connect, Connection, wait_until_blocked
from tests.support.queue import (
    SAVE_PAGES,
    Refusal,
    Row,
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

FULL_ITEM: Row = {
    "external_id": "1",
    "position": 1,
    "title": "Engineer",
    "organization": "Acme",
    "location": "Austin, TX, US",
    "is_remote": False,
    "posted_at": "2026-11-01T00:00:00+00:00",
    "salary_min": 50.5,
    "salary_max": 60,
    "salary_interval": "hourly",
    "currency": "USD",
    "url": "https://example.com/1",
    "apply_url": "https://acme.example/1",
    "description": "Writes SQL and Rust.",
    "city": "Austin",
    "region": "TX",
    "country": "US",
    "places": [{"city": "Austin", "region": "TX", "country": "US", "latitude": 30.267, "longitude": -97.743}],
    "work_mode": "onsite",
    "job_types": ["fulltime", "contract"],
    "salary_yearly_min": 105040,
    "salary_yearly_max": 124800,
    "skills": ["rust", "sql"],
    "experience_years": 3,
    "data": {"benefits": ["lunch"]},
    "apply_key": "acme.example/1",
    "match_key": "engineer|acme|austin",
    "organization_key": "acme",
    "place_key": "austin|US-TX|US",
    "text_signature": "0110" * 256,
}


@pytest.fixture
async def runs(sign_in: SignIn, service: AsyncClient, kind: str) -> AsyncIterator[list[Row]]:
    """Six claimed runs of different users, which are being searched."""
    for number in range(6):
        await enqueue(await sign_in(), kind, sites=["indeed"], search_term=f"engineer {number}")
    runs = await claim(service, kind, slots=6)
    for run in runs:
        await start_search(service, run, "indeed")
    yield runs
    # Or a later test's claim would rescue them.
    await service.table("search_runs").delete().eq("kind", kind).execute()


def sql_arguments(run: Row, page: Row) -> list[Jsonb]:
    return [Jsonb([lease(run) | page])]


async def test_every_field_of_an_item_is_stored(service: AsyncClient, kind: str, runs: list[Row]) -> None:
    saved = await save_page(service, **lease(runs[0]), **page("indeed", 1, []) | {"items": [FULL_ITEM]})
    assert saved.items() >= {"status": "completed", "results": 1, "new": 1}.items()
    stored: list[Any] = (await service.table("items").select("*").eq("kind", kind).execute()).data
    expected = {name: value for name, value in FULL_ITEM.items() if name not in ("external_id", "position")}
    assert [{name: row[name] for name in expected} for row in stored] == [expected]
    shown: list[Any] = (await service.table("run_items").select("*").eq("run_id", runs[0]["run_id"]).execute()).data
    expected = {name: value for name, value in expected.items() if not name.endswith(("_key", "_signature"))}
    assert [{name: row[name] for name in expected} for row in shown] == [expected]
    assert shown[0]["sites"] == [{"site": "indeed", "external_id": "1", "url": "https://example.com/1"}]


async def test_a_page_that_cannot_be_loaded_is_kept_and_the_search_goes_on(
    service: AsyncClient, database: Connection, runs: list[Row]
) -> None:
    run = runs[0]
    # What JSON can hold and a time cannot.
    bad = page("indeed", 1, ["a", "b"]) | {"items": [*items(["a"]), FULL_ITEM | {"posted_at": "2026-02-31"}]}
    failed = await save_page(service, **lease(run), **bad)
    assert failed.items() >= {"status": "failed", "results": 0, "new": 0}.items()
    again = await save_page(service, **lease(run), **bad)
    assert again.items() <= failed.items()
    saved = await save_page(service, **lease(run), **page("indeed", 2, ["c"]))
    assert saved["status"] == "completed"
    answer = await database.execute(
        """
        select page.payload, problem.error_type, problem.item_index, problem.message, alert.data ->> 'reason'
        from worker.raw_collections as page
        join worker.processing_log as problem on problem.raw_collection_id = page.id
        join public.run_events as alert on alert.run_id = page.run_id and alert.event = 'alert'
        where page.run_id = %s
        """,
        [run["run_id"]],
    )
    message = 'date/time field value out of range: "2026-02-31"'
    assert await answer.fetchall() == [({"ids": ["a", "b"]}, "load", None, message, "load_failed")]


async def test_a_page_without_lists_is_refused(service: AsyncClient, runs: list[Row]) -> None:
    for name in ("items", "errors"):
        query = service.rpc("worker_save_pages", {"pages": [lease(runs[0]) | page("indeed", 1, []) | {name: {}}]})
        assert await refusal(service, query) == Refusal(400, "22023", f"{name} must be an array")


# At once --------------------------------------------------------------------------------------------------------


async def test_what_may_pass_is_no_failure_of_the_page(
    database: Connection, connect_database: Connect, kind: str, runs: list[Row]
) -> None:
    holder, saver = await connect_database(), await connect_database()
    arguments = sql_arguments(runs[0], page("indeed", 1, ["a"]))
    await holder.execute("begin")
    await holder.execute("select worker.lock_groups(%s, null)", [kind])

    await saver.execute("set lock_timeout = 1")
    with pytest.raises(LockNotAvailable):
        await saver.execute(SAVE_PAGES, arguments)
    await saver.execute("reset lock_timeout")
    saving = asyncio.create_task(saver.execute(SAVE_PAGES, arguments))
    await wait_until_blocked(database, holder)
    await database.execute("select pg_cancel_backend(%s)", [saver.info.backend_pid])
    with pytest.raises(QueryCanceled):
        await saving
    kept = await database.execute("select from worker.raw_collections where run_id = %s", [runs[0]["run_id"]])
    assert kept.rowcount == 0

    await holder.execute("commit")
    (((saved,),),) = await (await saver.execute(SAVE_PAGES, arguments)).fetchall()
    assert saved["status"] == "completed"


@pytest.mark.parametrize("key", ["apply_key", "match_key"])
async def test_the_same_thing_saved_by_two_at_once_is_one(
    database: Connection, connect_database: Connect, runs: list[Row], kind: str, key: str
) -> None:
    first, second = await connect_database(), await connect_database()
    pages = [page("indeed", 1, []) | {"items": [items([name])[0] | {key: "the same"}]} for name in ("a", "b")]
    await first.execute("begin")
    await first.execute(SAVE_PAGES, sql_arguments(runs[0], pages[0]))
    waiting = asyncio.create_task(second.execute(SAVE_PAGES, sql_arguments(runs[1], pages[1])))
    await wait_until_blocked(database, first)
    await first.execute("commit")
    await waiting
    answer = await database.execute(
        "select count(*), count(distinct coalesce(duplicate_of, id)) from public.items where kind = %s", [kind]
    )
    assert await answer.fetchone() == (2, 1)


async def test_pages_that_share_items_and_keys_never_wait_in_a_circle(
    service: AsyncClient, database: Connection, kind: str, runs: list[Row]
) -> None:
    keys = [uuid4().hex for _ in range(8)]

    def listed(run: int, number: int) -> list[Row]:
        # The same sixty items, each run in an order of its own, with keys that change from page to page.
        found = items([f"{place * (2 * run + 7) % 60}" for place in range(60)])
        return [
            item
            | {
                "apply_url": "https://example.com",
                "apply_key": keys[(int(item["external_id"]) + number) % 8] if int(item["external_id"]) % 3 else None,
                "match_key": f"{int(item['external_id']) // 2} of page {number}",
            }
            for item in found
        ]

    async def save(run: int) -> None:
        for number in range(1, 5):
            arguments = page("indeed", number, []) | {"items": listed(run, number)}
            saved = await save_page(service, **lease(runs[run]), **arguments)
            assert saved["status"] == "completed"

    await asyncio.gather(*(save(run) for run in range(len(runs))))
    answer = await database.execute(
        """
        with item as (
            select *, coalesce(duplicate_of, id) as root_id from public.items where kind = %(kind)s
        )
        select (select count(*) from item),
               (select count(*) from item join item as root on root.id = item.duplicate_of
                where root.duplicate_of is not null
                   or (root.first_seen_at, root.id) > (item.first_seen_at, item.id)),
               (select count(*) from item join item as other using (apply_key) where other.root_id <> item.root_id),
               (select count(*) from item join item as other using (match_key) where other.root_id <> item.root_id)
        """,
        {"kind": kind},
    )
    assert await answer.fetchone() == (60, 0, 0, 0)
