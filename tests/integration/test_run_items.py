"""The view that frontends page through."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from supabase import AsyncClient

from tests.support.database import Connection, sign_in_for_transaction
from tests.support.queue import (
    Row,
    call,
    claim,
    enqueue,
    finish_run,
    finish_site,
    lease,
    page,
    save_page,
    search,
    start_site,
)
from tests.support.stack import SignIn


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "Relation Name" in plan:
        yield plan
    for part in plan.get("Plans", []):
        yield from scans(part)


async def test_a_run_is_read_through_indexes_under_row_level_security(
    sign_in: SignIn, service: AsyncClient, database: Connection, kind: str
) -> None:
    user = await sign_in()
    run = await enqueue(user, kind, sites=["indeed"])
    (claimed,) = await claim(service, kind)
    await search(service, claimed, {"indeed": [["a", "b", "c"]]})
    async with database.transaction(force_rollback=True):
        # It is as cheap as an index by user while PostgreSQL believes that hardly any run has ended.
        await database.execute("drop index public.search_runs_completed_at")
        await sign_in_for_transaction(database, user)
        # Few rows make any plan cheap; what matters is whether these can be index conditions at all.
        await database.execute("set local enable_seqscan = off")
        answer = await database.execute(
            "explain (format json) select * from public.run_items where run_id = %s", [run["id"]]
        )
        ((explained,),) = await answer.fetchall()
    conditions = {
        scan["Alias"]: scan.get("Index Cond", scan.get("Recheck Cond", "")) for scan in scans(explained[0]["Plan"])
    }
    # The names of the view: what the run found, the things that it shows, and where they were shown before.
    assert "run_id =" in conditions["result"], conditions
    for thing in ("oldest", "located", "typed", "described", "paid"):
        assert "id =" in conditions[thing], conditions
    assert "item_id =" in conditions["shown"], conditions
    # Of the user's runs, by one index or another: few are like many.
    assert "user_id =" in conditions["earlier"], conditions


def sighting(external_id: str, who: str, **changes: Any) -> Row:
    """An item with all fields, whose every text names who says it."""
    return {
        "external_id": external_id,
        "position": 1,
        "title": f"{who}'s title",
        "organization": f"{who}'s organization",
        "location": f"{who}'s location",
        "city": f"{who}'s city",
        "region": f"{who}'s region",
        "country": "DE" if who == "ada" else "FR",
        "places": [{"city": f"{who}'s city", "region": None, "country": "DE", "latitude": 52.5, "longitude": 13.4}],
        "is_remote": who == "ada",
        "work_mode": "remote" if who == "ada" else "onsite",
        "job_types": ["fulltime" if who == "ada" else "contract"],
        "posted_at": "2026-11-01T00:00:00+00:00" if who == "ada" else "2026-10-01T00:00:00+00:00",
        "salary_min": 1 if who == "ada" else 2,
        "salary_max": 1 if who == "ada" else 2,
        "salary_interval": "yearly" if who == "ada" else "hourly",
        "currency": "EUR" if who == "ada" else "USD",
        "salary_yearly_min": 1 if who == "ada" else 2,
        "salary_yearly_max": 1 if who == "ada" else 2,
        "url": f"https://{who}.example.com/job",
        "apply_url": f"https://{who}.example.com/apply",
        "description": f"{who}'s description",
        "skills": [f"{who}'s skill"],
        "experience_years": 1 if who == "ada" else 2,
        "data": {"says": who},
        **changes,
    }


async def found(user: AsyncClient, service: AsyncClient, kind: str, *sightings: Row) -> Row:
    """Have a run find these; return the run."""
    run = await enqueue(user, kind, sites=["indeed"])
    (claimed,) = await claim(service, kind)
    await start_site(service, claimed, "indeed")
    saved = page("indeed", 1, []) | {"items": [*sightings]}
    await save_page(service, **lease(claimed), **saved)
    await finish_site(service, claimed, site="indeed")
    await finish_run(service, claimed)
    return run


async def named_boards_of(database: Connection, kind: str, site: str) -> None:
    """Let the boards of a site be those that users name."""
    await database.execute(
        "update worker.parameter_rules set names_boards_of = %s where kind = %s and name = 'greenhouse_boards'",
        [site, kind],
    )


SHARED_COLUMNS = {"run_id", "item_id", "organization_id", "site", "sites", "page_number", "position", "found_at",
                  "is_new", "kind", "first_seen_at", "last_seen_at"}  # fmt: skip


async def test_a_run_shows_what_its_own_sightings_say_alone(
    ada: AsyncClient, bob: AsyncClient, service: AsyncClient, kind: str, term: str
) -> None:
    key = {"apply_key": f"example.com/{term}"}
    of_bob = await found(bob, service, kind, sighting(f"bob-{term}", "bob", **key))
    # All that Ada's own board does not tell, Bob's does.
    silent: dict[str, Any] = dict.fromkeys(sighting("", "ada").keys() - {"external_id", "position", "title", "url"})
    silent |= {"job_types": [], "skills": [], "data": {}, "places": []}
    for own in (sighting(f"ada-{term}", "ada", **key), sighting(f"silent-{term}", "ada", **silent, **key)):
        run = await found(ada, service, kind, own)
        (shown,) = (await ada.table("run_items").select("*").eq("run_id", run["id"]).execute()).data
        assert isinstance(shown, dict)
        assert {name: shown[name] for name in shown.keys() - SHARED_COLUMNS} == {
            name: value for name, value in own.items() if name in shown.keys() - SHARED_COLUMNS
        }
        assert [seen["external_id"] for seen in shown["sites"]] == [own["external_id"]]
        # It is the same thing, and has the same id.
        (elsewhere,) = (await bob.table("run_items").select("item_id").eq("run_id", of_bob["id"]).execute()).data
        assert isinstance(elsewhere, dict)
        assert shown["item_id"] == elsewhere["item_id"]


async def test_what_the_first_sighting_lacks_the_runs_others_tell(
    ada: AsyncClient, service: AsyncClient, kind: str, term: str
) -> None:
    key = {"apply_key": f"example.com/{term}"}
    silent: dict[str, Any] = dict.fromkeys(sighting("", "ada").keys() - {"external_id", "position", "title", "url"})
    silent |= {"job_types": [], "skills": [], "data": {}, "places": []}
    first = sighting(f"first-{term}", "ada", **silent, **key)
    second = sighting(f"second-{term}", "bob", position=2, **key)
    run = await found(ada, service, kind, first, second)
    (shown,) = (await ada.table("run_items").select("*").eq("run_id", run["id"]).execute()).data
    assert isinstance(shown, dict)
    told = {name: shown[name] for name in shown.keys() - SHARED_COLUMNS - {"title", "url", "data"}}
    assert told == {name: second[name] for name in told}
    assert (shown["title"], shown["url"], shown["data"]) == (first["title"], first["url"], first["data"])
    assert len(shown["sites"]) == 2


async def test_a_named_board_gives_a_thing_its_id_only_among_its_like(
    *, ada: AsyncClient, bob: AsyncClient, service: AsyncClient, database: Connection, kind: str, term: str
) -> None:
    key = {"apply_key": f"example.com/{term}"}
    await named_boards_of(database, kind, "indeed")
    of_board = await found(bob, service, kind, sighting(f"bob-{term}", "bob", **key))
    await named_boards_of(database, kind, "another")
    public = await found(ada, service, kind, sighting(f"ada-{term}", "ada", **key))
    (own,) = (await ada.table("items").select("*").eq("canonical_key", f"indeed:ada-{term}").execute()).data
    assert isinstance(own, dict)
    assert (own["duplicate_of"], own["from_named_board"]) == (None, False)
    for user, run in ((ada, public), (bob, of_board)):
        (shown,) = (await user.table("run_items").select("item_id").eq("run_id", run["id"]).execute()).data
        assert isinstance(shown, dict)
        assert shown["item_id"] == own["id"]


@pytest.mark.pgvector
async def test_a_named_board_is_like_nothing_for_others(
    *, ada: AsyncClient, bob: AsyncClient, service: AsyncClient, database: Connection, kind: str, term: str
) -> None:
    await named_boards_of(database, kind, "indeed")
    await found(bob, service, kind, sighting(f"bob-{term}", "bob"))
    await database.execute(
        """
        insert into public.item_embeddings (item_id, from_named_board, embedding, embedded_at)
        select id, from_named_board, %s, now() from public.items where canonical_key = %s
        """,
        [json.dumps([1, *[0] * 255]), f"indeed:bob-{term}"],
    )
    for user, seen in ((ada, []), (bob, ["bob's title"])):
        like_it = await call(user, "match_items", query_embedding=[1, *[0] * 255], kind=kind)
        assert [item["title"] for item in like_it] == seen
