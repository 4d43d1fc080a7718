"""The functions that a frontend shows results with: pages of them, and a summary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from supabase import AsyncClient

from tests.support.database import Connection
from tests.support.queue import (
    Refusal,
    Row,
    call,
    claim,
    enqueue,
    finish_run,
    finish_site,
    lease,
    page,
    refusal,
    save_page,
    start_site,
)
from tests.support.site_limits import TimedDatabase

Keep: TypeAlias = Callable[[Row], bool]

SKILLS: tuple[list[str], ...] = (["Python", "SQL"], ["Python"], [])
MODES = ("remote", "hybrid", "onsite", None)
CITIES = (("Berlin", "DE"), ("Paris", "FR"), (None, None))


def item(number: int) -> Row:
    city, country = CITIES[number % 3]
    other_city, other_country = CITIES[(number + 1) % 3]
    mode = MODES[number % 4]
    pay = 40_000 + 1_000 * (number % 5) if number % 2 else None
    return {
        "external_id": f"{number}",
        "position": number + 1,
        "title": f"Engineer {number}" if number % 3 else f"Designer {number}",
        "organization": "Acme" if number % 2 else "Globex",
        "location": city,
        "city": city,
        "country": country,
        "places": [{"city": city, "country": country}, {"city": other_city, "country": other_country}],
        "work_mode": mode,
        "is_remote": None if mode is None else mode == "remote",
        "posted_at": f"2026-11-{1 + number % 9:02}T00:00:00+00:00" if number % 5 else None,
        "salary_min": pay,
        "salary_interval": pay and "yearly",
        "salary_yearly_min": pay,
        "salary_yearly_max": pay and pay + 10_000,
        "currency": pay and ("EUR" if number % 3 else "USD"),
        "skills": SKILLS[number % 3],
        "description": f"Description {number}",
        "url": f"https://example.com/{number}",
    }


async def searched(user: AsyncClient, service: AsyncClient, kind: str, term: str, **found: range) -> Row:
    """Have a run find the items of these numbers at each site; return the run."""
    run = await enqueue(user, kind, sites=[*found])
    (claimed,) = await claim(service, kind)
    for site, numbers in found.items():
        await start_site(service, claimed, site)
        items = [
            item(number) | {"external_id": f"{term}-{number}", "apply_key": f"{term}/{number}"} for number in numbers
        ]
        await save_page(service, **lease(claimed), **(page(site, 1, []) | {"items": items}))
        await finish_site(service, claimed, site=site)
    await finish_run(service, claimed)
    return run


async def shown(user: AsyncClient, run: Row) -> list[Row]:
    answer = await user.table("run_items").select("*").eq("run_id", run["id"]).execute()
    return [row for row in answer.data if isinstance(row, dict)]


async def test_pages_have_each_result_once_in_a_total_order(
    ada: AsyncClient, service: AsyncClient, kind: str, term: str
) -> None:
    run = await searched(ada, service, kind, term, indeed=range(17), linkedin=range(10, 25))
    rows = await shown(ada, run)
    assert len(rows) == 25

    def newest(row: Row) -> Any:
        return row["posted_at"] or ""

    def highest(row: Row) -> Any:
        return row["salary_yearly_max"] or 0

    for sort, rank in (("found", lambda _: 0), ("posted", newest), ("pay", highest)):
        found = sorted(rows, key=lambda row: (row["found_at"], row["page_number"], row["position"], row["site"]))
        ids = [row["item_id"] for row in sorted(found, key=rank, reverse=sort != "found")]
        for per_page in (1, 7, 25, 100):
            read: list[str] = []
            for number in range(1, 30):
                answer = await call(
                    ada, "page_of_run_items", run_id=run["id"], page=number, per_page=per_page, sort=sort
                )
                read += [row["item_id"] for row in answer.pop("items")]
                pages = -(-25 // per_page)
                assert answer == {
                    "page": number,
                    "per_page": per_page,
                    "total": 25,
                    "total_pages": pages,
                    "has_more": number < pages,
                }
                if number > pages:
                    break
            assert sorted(read) == sorted(ids)
            if sort == "found":
                assert read == ids
            else:
                by_id = {row["item_id"]: row for row in rows}
                assert [rank(by_id[one]) for one in read] == [rank(by_id[one]) for one in ids]


FILTERS: tuple[tuple[Row, Keep], ...] = (
    ({}, lambda _: True),
    ({"site": "linkedin"}, lambda row: any(seen["site"] == "linkedin" for seen in row["sites"])),
    ({"is_new": False}, lambda row: not row["is_new"]),
    ({"is_remote": True}, lambda row: row["is_remote"] is True),
    ({"work_mode": "hybrid"}, lambda row: row["work_mode"] == "hybrid"),
    ({"pay_from": 52_000.5}, lambda row: (row["salary_yearly_max"] or 0) >= 52_000.5),
    ({"country": "de"}, lambda row: any(place["country"] == "DE" for place in row["places"])),
    ({"city": "PARIS"}, lambda row: any(place["city"] == "Paris" for place in row["places"])),
    ({"skills": ["python", "sql"]}, lambda row: {"Python", "SQL"} <= {*row["skills"]}),
    ({"skills": [], "words": "  ", "site": None}, lambda _: True),
    ({"words": "engineer ACME"}, lambda row: "Engineer" in row["title"] and row["organization"] == "Acme"),
    ({"words": "sql", "country": "DE"}, lambda row: "SQL" in row["skills"] and row["country"] in ("DE", None)),
)


async def test_filters(ada: AsyncClient, service: AsyncClient, kind: str, term: str) -> None:
    run = await searched(ada, service, kind, term, indeed=range(17), linkedin=range(10, 25))
    rows = await shown(ada, run)
    for filters, keep in FILTERS:
        answer = await call(ada, "page_of_run_items", run_id=run["id"], per_page=100, filters=filters)
        expected = {row["item_id"] for row in rows if keep(row)}
        assert {row["item_id"] for row in answer["items"]} == expected, filters
        assert answer["total"] == len(expected)
        assert expected or filters == {"is_new": False}


async def test_items_have_the_columns_of_the_view_without_the_description(
    ada: AsyncClient, service: AsyncClient, kind: str, term: str
) -> None:
    run = await searched(ada, service, kind, term, indeed=range(1))
    (row,) = await shown(ada, run)
    answer = await call(ada, "page_of_run_items", run_id=run["id"])
    del row["description"]
    assert answer["items"] == [row]


REFUSED: tuple[tuple[Row, str], ...] = (
    ({"page": 0}, "page must be from 1 to 1000000"),
    ({"per_page": 101}, "per_page must be from 1 to 100"),
    ({"sort": "title"}, "sort must be found, posted or pay"),
    ({"filters": []}, "filters must be an object"),
    ({"filters": {"is_new": "yes"}}, "filters.is_new must be true or false"),
    ({"filters": {"skills": ["a", 1]}}, "filters.skills must be a list of at most 20 texts"),
    ({"filters": {"skills": "a"}}, "filters.skills must be a list of at most 20 texts"),
    ({"filters": {"pay_from": "1"}}, "filters.pay_from must be a number"),
    ({"filters": {"work_mode": "home"}}, "filters.work_mode must be remote, hybrid or onsite"),
    ({"filters": {"words": "w" * 201}}, "filters.words must be a text of at most 200 characters"),
    ({"filters": {"skills": ["s"] * 21}}, "filters.skills must be a list of at most 20 texts"),
    (
        {"filters": {"town": "Berlin"}},
        "filters.town is unknown; allowed: city, country, is_new, is_remote, pay_from, site, skills, words, work_mode",
    ),
)


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[message for _, message in REFUSED])
async def test_invalid_arguments_are_named(ada: AsyncClient, kind: str, arguments: Row, message: str) -> None:
    run = await enqueue(ada, kind)
    refused = await refusal(ada, ada.rpc("page_of_run_items", {"run_id": run["id"], **arguments}))
    assert refused == Refusal(400, "22023", message)


@pytest.mark.parametrize("function", ["page_of_run_items", "insights_of_run"])
async def test_only_the_owner_reads_a_run(
    *, ada: AsyncClient, bob: AsyncClient, service: AsyncClient, kind: str, term: str, function: str
) -> None:
    run = await searched(ada, service, kind, term, indeed=range(3))
    refused = await refusal(bob, bob.rpc(function, {"run_id": run["id"]}))
    assert refused == Refusal(404, "PT404", "run_id must be the id of one of your runs")


async def test_insights(ada: AsyncClient, service: AsyncClient, kind: str, term: str) -> None:
    run = await searched(ada, service, kind, term, indeed=range(17), linkedin=range(10, 25))
    assert await call(ada, "insights_of_run", run_id=run["id"]) == {
        "found": 25,
        "new": 25,
        "work_modes": {"remote": 7, "hybrid": 6, "onsite": 6},
        "pay": [
            {"currency": "EUR", "items": 8, "low": 46_000, "median": 47_000, "high": 48_000},
            {"currency": "USD", "items": 4, "low": 45_750, "median": 47_000, "high": 48_250},
        ],
        "skills": [{"skill": "Python", "items": 17}, {"skill": "SQL", "items": 9}],
        "organizations": [{"organization": "Globex", "items": 13}, {"organization": "Acme", "items": 12}],
        "sites": [],
    }


async def test_insights_of_a_run_without_results(ada: AsyncClient, database: Connection, kind: str) -> None:
    run = await enqueue(ada, kind, sites=["bayt", "naukri"])
    await database.execute("insert into worker.site_health (site, search_seconds) values ('bayt', 12.5)")
    empty = {"found": 0, "new": 0, "work_modes": {"remote": 0, "hybrid": 0, "onsite": 0}}
    assert await call(ada, "insights_of_run", run_id=run["id"]) == {
        **empty, "pay": [], "skills": [], "organizations": [],
        "sites": [{"site": "bayt", "usual_seconds": 12.5}, {"site": "naukri", "usual_seconds": None}],
    }  # fmt: skip


def test_the_usual_time_of_a_site_follows_its_successful_searches(timed: TimedDatabase) -> None:
    site = timed.new_site()
    for seconds, error_code in ((30, None), (500, "timeout"), (10, None)):
        run = timed.new_run(site)
        timed.connection.execute(
            "update public.search_run_sites set started_at = worker.now() where run_id = %s", [run.id]
        )
        timed.advance(seconds)
        run.end(site, error_code)
    assert timed.health(site)["search_seconds"] == pytest.approx(30 + 0.2 * (10 - 30))
