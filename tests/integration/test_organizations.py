"""What sites tell of employers: one row for each company, the newest word of each field."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from supabase import AsyncClient

from tests.support.database import Connect, Connection, answer_after, rows, scalar
from tests.support.queue import (
    SAVE_PAGES,
    Row,
    call,
    claim,
    enqueue,
    finish_run,
    finish_site,
    lease,
    page,
    save_page,
    start_site,
    user_id,
)

SITE = "indeed"
WRITE = """
select worker.write_organizations(given.pages, found.page_ids, found.items)
from (
    select array[row(1, 1, sent.run_id, sent.kind, null, sent.site, 1, sent.seen_at, null,
                     worker.is_named_board(sent.kind, sent.site))::worker.loaded_page] as pages, sent.items
    from (values (%s::uuid, %s, %s, %s::timestamptz, %s::jsonb)) as sent (run_id, kind, site, seen_at, items)
) as given
cross join lateral worker.read_items(given.pages, jsonb_build_array(jsonb_build_object('items', given.items))) as found
"""
EARLY, LATE, LATEST = "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z"


@pytest.fixture
def key(term: str) -> str:
    """The key of a company that no other test has."""
    return f"acme {term}"


def job(key: str, external_id: str = "1", position: int = 1, **employer: Any) -> Row:
    return {
        "external_id": f"{external_id} {key}",
        "position": position,
        "title": "Nurse",
        "url": "https://example.com/1",
        "organization": key.title(),
        "organization_key": key,
        "employer": employer or None,
    }


async def started(user: AsyncClient, service: AsyncClient, kind: str, **parameters: Any) -> Row:
    """Return a claimed run of a user that has started to search the site."""
    await enqueue(user, kind, sites=[SITE], **parameters)
    (claimed,) = await claim(service, kind)
    await start_site(service, claimed, SITE)
    return claimed


async def save(service: AsyncClient, run: Row, *jobs: Row, number: int = 1) -> None:
    saved = await save_page(service, **lease(run), **(page(SITE, number, []) | {"items": [*jobs]}))
    assert saved["status"] == "completed"


async def found(user: AsyncClient, service: AsyncClient, kind: str, *jobs: Row, **parameters: Any) -> str:
    """Have a run of a user find jobs; return its id."""
    run = await started(user, service, kind, **parameters)
    await save(service, run, *jobs)
    await finish_site(service, run, site=SITE)
    await finish_run(service, run)
    return str(run["run_id"])


async def shown(user: AsyncClient, run_id: str) -> Any:
    """Return the organization that a user sees of the only job of his run."""
    (item,) = (await user.table("run_items").select("organization_id").eq("run_id", run_id).execute()).data
    assert isinstance(item, dict)
    if item["organization_id"] is None:
        return None
    (seen,) = (await user.table("organizations").select("*").eq("id", item["organization_id"]).execute()).data
    return seen


async def known(database: Connection, key: str) -> Any:
    answer = await rows(
        database, "select to_jsonb(known) from public.organizations as known where key = %s order by owner_id", [key]
    )
    return [row for (row,) in answer]


async def named_board(database: Connection, kind: str) -> None:
    await database.execute(
        "update worker.parameter_rules set names_boards_of = %s where kind = %s and name = 'greenhouse_boards'",
        [SITE, kind],
    )


async def test_a_user_reads_of_an_employer_what_sites_tell(
    ada: AsyncClient, service: AsyncClient, kind: str, key: str
) -> None:
    told: dict[str, Any] = {
        "url": "https://acme.example/", "profile_url": "https://www.indeed.com/cmp/Acme",
        "logo_url": "https://logos.example/acme.png", "address": "Berlin", "industry": "Retail",
        "employees": "51-200", "revenue": "$1B", "description": "**Shops**", "rating": 3.9, "review_count": 12,
    }  # fmt: skip
    seen = await shown(ada, await found(ada, service, kind, job(key, **told)))
    assert {name: seen[name] for name in told} == told
    assert (seen["name"], seen["key"], seen["owner_id"]) == (key.title(), key, None)
    assert (seen["employees_min"], seen["employees_max"]) == (51, 200)
    assert set(seen["seen_at"]) == {"name", *told}


@pytest.mark.parametrize(
    ("employees", "least", "most"), [("10001+", 10001, None), ("120", 120, 120), (None, None, None)]
)
async def test_employees_are_also_numbers(
    *,
    ada: AsyncClient,
    service: AsyncClient,
    database: Connection,
    kind: str,
    key: str,
    employees: Any,
    least: Any,
    most: Any,
) -> None:
    await found(ada, service, kind, job(key, employees=employees))
    (row,) = await known(database, key)
    assert (row["employees_min"], row["employees_max"]) == (least, most)


async def test_the_newest_word_counts_for_each_field(database: Connection, kind: str, key: str) -> None:
    async def write(seen_at: str, *jobs: Row) -> Any:
        await database.execute(WRITE, [None, kind, SITE, seen_at, json.dumps(jobs)])
        (row,) = await known(database, key)
        return row

    await write(LATE, job(key, "silent"), job(key, "2", 2, industry="Retail", rating=4.0, address="Berlin"))
    row = await write(EARLY, job(key, industry="Old", address="Old", revenue="$1M"))
    # An older page tells only what nobody else told.
    assert (row["industry"], row["address"], row["revenue"]) == ("Retail", "Berlin", "$1M")
    row = await write(LATEST, job(key, industry=None, address="Munich"))
    # Null tells nothing.
    assert (row["industry"], row["address"], row["rating"]) == ("Retail", "Munich", 4)
    times = {field: time.replace("+00:00", "Z") for field, time in row["seen_at"].items()}
    assert times == {"name": LATE, "industry": LATE, "rating": LATE, "address": LATEST, "revenue": EARLY}
    row = await write(LATEST, job(key, address="Hamburg"))
    # A better version of the source reads the same page again.
    assert row["address"] == "Hamburg"


async def test_what_is_known_is_not_written_again(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str, key: str
) -> None:
    async def version() -> Any:
        return await rows(database, "select xmin, xmax, ctid from public.organizations where key = %s", [key])

    run = await started(ada, service, kind)
    await save(service, run, job(key, industry="Retail", rating=3.90), job(key, "2", 2))
    before = await version()
    await save(service, run, job(key, "3", industry="Retail", rating=3.9), number=2)
    await database.execute(WRITE, [None, kind, SITE, EARLY, json.dumps([job(key, industry="Old")])])
    assert await version() == before
    await save(service, run, job(key, "4", industry="Shops"), number=3)
    assert await version() != before


async def test_a_named_board_tells_nobody_anything(
    *, ada: AsyncClient, bob: AsyncClient, service: AsyncClient, database: Connection, kind: str, key: str
) -> None:
    public = await found(ada, service, kind, job(key, "public", industry="Retail"))
    await named_board(database, kind)
    board = await found(bob, service, kind, job(key, "board", industry="Lies", url="https://evil.example/"))
    (row,) = await known(database, key)
    assert (row["industry"], row["url"], row["owner_id"]) == ("Retail", None, None)
    assert (await shown(ada, public))["industry"] == "Retail"
    assert await shown(bob, board) is None


async def test_who_asks_for_it_has_what_his_boards_tell_for_himself(
    *, ada: AsyncClient, bob: AsyncClient, service: AsyncClient, database: Connection, kind: str, key: str
) -> None:
    public = await found(ada, service, kind, job(key, "public", industry="Retail"))
    await named_board(database, kind)
    told = job(key, "board", industry="Lies")
    asked = {"search_term": key, "board_organizations": True}
    of_bob = await found(bob, service, kind, told, **asked)
    assert (await shown(bob, of_bob))["industry"] == "Lies"
    assert (await shown(bob, of_bob))["owner_id"] == await user_id(bob)
    assert (await shown(ada, public))["industry"] == "Retail"
    # Nobody is answered with the run of another user, who alone may see its organizations.
    of_ada = await found(ada, service, kind, told, **asked)
    assert (await shown(ada, of_ada))["owner_id"] == await user_id(ada)
    for user in (ada, bob):
        seen: Any = (await user.table("organizations").select("owner_id").eq("key", key).execute()).data
        assert {row["owner_id"] for row in seen} == {None, await user_id(user)}
    assert len(await known(database, key)) == 3


async def test_a_private_item_tells_nobody_anything(
    *, ada: AsyncClient, service: AsyncClient, database: Connection, kind: str, key: str
) -> None:
    await database.execute("update worker.kinds set is_private = true where kind = %s", [kind])
    run = await found(ada, service, kind, job(key, industry="Retail"))
    assert await shown(ada, run) is None
    assert await known(database, key) == []


async def test_a_page_that_is_loaded_again_tells_the_same(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str, key: str
) -> None:
    run = await found(ada, service, kind, job(key, industry="Retial", rating=4))
    before = await shown(ada, run)
    page_id = await scalar(database, "select id from worker.raw_collections where run_id = %s", [run])
    again = {"version": 2, "transform_ms": 1, "completeness": {}, "errors": []}
    await call(service, "worker_load_page", page_id=page_id, items=[job(key, industry="Retail", rating=4)], **again)
    assert await shown(ada, run) == before | {"industry": "Retail"}


async def test_two_pages_tell_of_the_same_companies_in_opposite_order(
    database: Connection, connect_database: Connect, kind: str, term: str
) -> None:
    keys = [f"company {number} of {term}" for number in range(50)]
    # Of two kinds: pages of one kind wait for each other before they write of companies.
    other = f"{kind}-other"
    await database.execute("insert into worker.kinds (kind) values (%s)", [other])
    try:
        for round_number in range(5):
            told = f"round {round_number}"
            jobs = [job(key, f"{number}", number, industry=told) for number, key in enumerate(keys, 1)]
            reverse = [one | {"position": 51 - one["position"]} for one in reversed(jobs)]
            connections = [await connect_database() for _ in range(2)]
            calls = [
                connection.execute(WRITE, [None, of_kind, SITE, LATE, json.dumps(told_jobs)])
                for connection, of_kind, told_jobs in zip(connections, (kind, other), (jobs, reverse), strict=True)
            ]
            await asyncio.gather(*calls)
            seen = await rows(database, "select industry from public.organizations where key = any (%s)", [keys])
            assert seen == [(told,)] * 50
    finally:
        await database.execute("delete from worker.kinds where kind = %s", [other])


async def test_a_page_waits_for_another_and_keeps_its_newer_word(
    database: Connection, connect_database: Connect, kind: str, key: str
) -> None:
    first, second = [await connect_database() for _ in range(2)]
    await database.execute(WRITE, [None, kind, SITE, EARLY, json.dumps([job(key, industry="first")])])
    await first.execute("begin")
    await first.execute(WRITE, [None, kind, SITE, LATEST, json.dumps([job(key, industry="newest", address="Berlin")])])
    older = [None, kind, SITE, LATE, json.dumps([job(key, industry="older", revenue="$1M")])]
    await answer_after(first, database, second, WRITE, older)
    (row,) = await known(database, key)
    assert (row["industry"], row["address"], row["revenue"]) == ("newest", "Berlin", "$1M")


async def test_an_organization_goes_with_its_last_item(
    *, ada: AsyncClient, service: AsyncClient, database: Connection, kind: str, key: str
) -> None:
    run = await started(ada, service, kind)
    await save(service, run, job(key, industry="Retail"), job(f"{key} other", "2", 2))
    await save(service, run, job(key) | {"organization": "Else", "organization_key": f"{key} else"}, number=2)
    await database.execute("select worker.delete_unused_organizations(1000000)")
    assert await known(database, key) == []
    assert len(await known(database, f"{key} other")) == len(await known(database, f"{key} else")) == 1


async def test_an_organization_of_a_user_goes_with_his_last_run_that_asked(
    *, ada: AsyncClient, service: AsyncClient, database: Connection, kind: str, key: str
) -> None:
    await named_board(database, kind)
    run = await found(ada, service, kind, job(key, industry="Retail"), board_organizations=True)
    await database.execute("select worker.delete_unused_organizations(1000000)")
    assert len(await known(database, key)) == 1
    await database.execute("delete from public.search_runs where id = %s", [run])
    await database.execute("select worker.delete_unused_organizations(1000000)")
    assert await known(database, key) == []


async def test_an_organization_stays_for_a_page_that_is_being_saved(
    *, ada: AsyncClient, service: AsyncClient, database: Connection, connect_database: Connect, kind: str, key: str
) -> None:
    first, second = [await connect_database() for _ in range(2)]
    await database.execute(WRITE, [None, kind, SITE, EARLY, json.dumps([job(key, industry="Retail")])])
    run = await started(ada, service, kind)
    await first.execute("begin")
    arguments = page(SITE, 1, []) | lease(run) | {"items": [job(key, industry="Retail")]}
    await first.execute(SAVE_PAGES, [json.dumps([arguments])])
    await answer_after(first, database, second, "select worker.delete_unused_organizations(%s)", [1_000_000])
    assert len(await known(database, key)) == 1


async def test_all_organizations_are_looked_at_in_turn(database: Connection, kind: str, term: str) -> None:
    keys = [f"{term} {number}" for number in range(7)]
    jobs = [job(key, f"{number}", number) for number, key in enumerate(keys, 1)]
    await database.execute(WRITE, [None, kind, SITE, EARLY, json.dumps(jobs)])
    batches = -(-(await scalar(database, "select count(*) from public.organizations")) // 3) + 1
    for _ in range(batches):
        await database.execute("select worker.delete_unused_organizations(3)")
    assert await rows(database, "select key from public.organizations where key = any (%s)", [keys]) == []
