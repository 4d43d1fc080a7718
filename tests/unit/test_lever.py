"""Lever: requests of pages and of both regions, and the items of its postings."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import respx

from tests.support.sources import search_source
from worker.errors import ErrorCode, InvalidItemError
from worker.model import Item, Organization
from worker.pipeline.normalize import JOBS, normalize
from worker.sources.lever import LeverSource

POSTING: dict[str, Any] = {
    "id": "0f1e2d3c-0000-4000-8000-000000000001",
    "text": "Night Engineer",
    "hostedUrl": "https://jobs.lever.co/acme/0f1e2d3c-0000-4000-8000-000000000001",
    "applyUrl": "https://jobs.lever.co/acme/0f1e2d3c-0000-4000-8000-000000000001/apply",
    "createdAt": 1_793_700_000_000,
    "country": "FR",
    "workplaceType": "on-site",
    "categories": {
        "commitment": "Part-time",
        "department": "Works",
        "level": "Senior",
        "location": "Lyon",
        "team": "Nights",
        "allLocations": ["Lyon"],
    },
    "description": "<div>Keep the works running.</div>",
    "lists": [{"text": "What you bring", "content": "<li>A torch</li><li>Patience</li>"}],
    "additional": "<div>Apply soon.</div>",
    "salaryRange": {"min": 30, "max": 45.5, "currency": "EUR", "interval": "per-hour-wage"},
}


def item(**changes: Any) -> Item:
    return LeverSource().parse("lever", {"board": "acme", "job": {**POSTING, **changes}})


def a_posting(number: int, **changes: Any) -> dict[str, Any]:
    return {
        **POSTING,
        "id": str(number),
        "text": f"Engineer {number}",
        "createdAt": 1_793_700_000_000 - number * 1000,
        **changes,
    }


def plays(router: respx.MockRouter, board: str, postings: list[Any], host: str = "api.lever.co") -> respx.Route:
    """Answer as Lever does: with the postings from `skip` on, `limit` of them at most."""

    def answer(request: httpx.Request) -> httpx.Response:
        skip, limit = int(request.url.params["skip"]), int(request.url.params["limit"])
        return httpx.Response(200, json=postings[skip : skip + limit])

    return router.get(url__startswith=f"https://{host}/v0/postings/{board}").mock(side_effect=answer)


def skips(route: respx.Route) -> list[str]:
    return [call.request.url.params["skip"] for call in route.calls]


async def test_the_request(router: respx.MockRouter) -> None:
    route = plays(router, "acme", [POSTING])
    told = await search_source(LeverSource(), {"lever_boards": ["acme"]})
    assert dict(route.calls[0].request.url.params) == {"mode": "json", "skip": "0", "limit": "100"}
    assert told.pages[0].payload == {"board": "acme", "jobs": [POSTING]}
    assert [page.is_last for page in told.pages] == [True]
    [found] = told.items
    assert found.description == "Keep the works running.\n\n### What you bring\n\n- A torch\n- Patience\n\nApply soon."
    assert (found.city, found.country, found.work_mode, found.job_types) == ("Lyon", "FR", "onsite", ("parttime",))
    assert (found.salary_interval, found.currency) == ("hourly", "EUR")
    assert found.posted_at == "2026-11-03T10:00:00+00:00"


async def test_a_large_board_has_several_answers(router: respx.MockRouter) -> None:
    acme = plays(router, "acme", [a_posting(number) for number in range(230)])
    told = await search_source(LeverSource(), {"lever_boards": ["acme"], "results_wanted": 1000})
    assert told.jobs == [("acme", 100), ("acme", 100), ("acme", 30)]
    assert [page.is_last for page in told.pages] == [False, False, True]
    assert skips(acme) == ["0", "100", "200"]
    assert len(set(told.titles)) == 230


async def test_a_board_of_full_answers_ends_with_an_empty_one(router: respx.MockRouter) -> None:
    acme = plays(router, "acme", [a_posting(number) for number in range(100)])
    told = await search_source(LeverSource(), {"lever_boards": ["acme"], "results_wanted": 1000})
    assert (told.jobs, told.pages[-1].is_last) == ([("acme", 100), ("acme", 0)], True)
    assert skips(acme) == ["0", "100"]


async def test_no_more_jobs_are_requested_than_wanted(router: respx.MockRouter) -> None:
    acme = plays(router, "acme", [a_posting(number) for number in range(300)])
    told = await search_source(LeverSource(), {"lever_boards": ["acme"], "results_wanted": 120})
    assert told.jobs == [("acme", 100), ("acme", 20)]
    assert skips(acme) == ["0", "100"]


async def test_answers_without_a_match_are_gone_past(router: respx.MockRouter) -> None:
    others = [a_posting(number, text="Cook") for number in range(150)]
    plays(router, "acme", [*others, a_posting(500)])
    told = await search_source(LeverSource(), {"lever_boards": ["acme"]})
    assert told.jobs == [("acme", 0), ("acme", 1)]


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4])
async def test_a_search_that_was_stopped_repeats_no_request(router: respx.MockRouter, stop_after: int) -> None:
    acme = plays(router, "acme", [a_posting(number) for number in range(230)])
    bolt = plays(router, "bolt", [a_posting(number) for number in range(300, 420)])
    wanted = {"lever_boards": ["acme", "bolt"], "results_wanted": 1000}
    first = await search_source(LeverSource(), wanted, stop_after=stop_after)
    second = await search_source(LeverSource(), wanted, after=first.pages[-1])
    assert first.jobs + second.jobs == [("acme", 100), ("acme", 100), ("acme", 30), ("bolt", 100), ("bolt", 20)]
    assert len(set(first.titles + second.titles)) == 350
    assert (skips(acme), skips(bolt)) == (["0", "100", "200"], ["0", "100"])


async def test_a_board_that_fails_midway_resumes_there(router: respx.MockRouter) -> None:
    postings = [a_posting(number) for number in range(130)]
    acme = plays(router, "acme", postings)
    works = acme.side_effect
    acme.mock(side_effect=[httpx.Response(200, json=postings[:100]), *[httpx.Response(500)] * 10])
    plays(router, "bolt", [a_posting(500)])
    wanted = {"lever_boards": ["acme", "bolt"], "results_wanted": 1000}
    first = await search_source(LeverSource(), wanted)
    assert (first.failure.code, first.jobs) == (ErrorCode.UPSTREAM, [("acme", 100), ("bolt", 1)])
    asked = acme.call_count
    acme.mock(side_effect=works)
    second = await search_source(LeverSource(), wanted, after=first.pages[-1])
    assert (second.jobs, second.error, second.pages[-1].is_last) == ([("acme", 30)], None, True)
    assert skips(acme)[asked:] == ["100"]


async def test_a_board_in_the_eu(router: respx.MockRouter) -> None:
    main = router.get(url__startswith="https://api.lever.co/v0/postings/acme").respond(404, json={"ok": False})
    plays(router, "acme", [a_posting(number) for number in range(110)], host="api.eu.lever.co")
    told = await search_source(LeverSource(), {"lever_boards": ["acme"], "results_wanted": 1000})
    assert (told.jobs, told.error) == ([("acme", 100), ("acme", 10)], None)
    assert main.call_count == 1


async def test_a_board_that_is_in_neither_region(router: respx.MockRouter) -> None:
    router.get(url__regex=r"https://api(\.eu)?\.lever\.co/").respond(
        404, json={"ok": False, "error": "Document not found"}
    )
    told = await search_source(LeverSource(), {"lever_boards": ["typo"]})
    assert (told.failure.code, told.failure.message) == (
        ErrorCode.NOT_FOUND,
        "1 of 1 boards failed (no such board: typo)",
    )


@pytest.mark.parametrize("body", [{"ok": False}, {"jobs": []}, "none", 7])
async def test_an_answer_that_is_no_list(router: respx.MockRouter, body: Any) -> None:
    router.get(url__startswith="https://api.lever.co/v0/postings/acme").respond(json=body)
    told = await search_source(LeverSource(), {"lever_boards": ["acme"]})
    assert told.failure.code is ErrorCode.UNVERIFIED


def test_a_posting() -> None:
    assert item() == Item(
        external_id=f"acme/{POSTING['id']}",
        title="Night Engineer",
        url=POSTING["hostedUrl"],
        apply_url=POSTING["applyUrl"],
        organization="Acme",
        location="Lyon",
        country="FR",
        work_mode="on-site",
        posted_at="1793700000000",
        salary_min=30,
        salary_max=45.5,
        salary_interval="hourly",
        currency="EUR",
        job_types=("Part-time",),
        employer=Organization(profile_url="https://jobs.lever.co/acme"),
        description=(
            "<div>Keep the works running.</div>\n<h3>What you bring</h3>\n<ul><li>A torch</li><li>Patience</li></ul>\n"
            "<div>Apply soon.</div>"
        ),
        data={"board": "acme", "department": "Works", "team": "Nights", "level": "Senior"},
    )


def test_a_posting_with_few_fields() -> None:
    posting = {name: POSTING[name] for name in ("id", "text", "hostedUrl")}
    found = LeverSource().parse(
        "lever", {"board": "acme", "job": {**posting, "descriptionPlain": "Works", "lists": None}}
    )
    assert (found.description, found.location, found.posted_at, found.data) == ("Works", None, None, {"board": "acme"})


@pytest.mark.parametrize("field", ["id", "text", "hostedUrl"])
@pytest.mark.parametrize("value", [None, "", {}, "\n"])
def test_no_posting(field: str, value: Any) -> None:
    with pytest.raises(InvalidItemError) as raised:
        item(**{field: value})
    assert raised.value.field == field


def test_several_locations() -> None:
    found = item(categories={"location": "Lyon", "allLocations": ["Lyon", "Madrid", "Lyon", None]})
    assert (found.location, found.country) == ("Lyon; Madrid", None)
    assert [(place.city, place.country) for place in found.places] == [("Lyon", "FR"), ("Madrid", "ES")]


def test_the_country_is_that_of_the_first_location() -> None:
    found = item(country="CA", categories={"location": "Toronto, CA", "allLocations": ["Toronto, CA", "Austin, TX"]})
    places = normalize(found, JOBS).places
    assert [(place.city, place.region, place.country) for place in places] == [
        ("Toronto", "ON", "CA"), ("Austin", "TX", "US"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "pay", "salary"),
    [
        ("per-year-salary", 50_000, (50_000, "yearly")),
        ("per-month-salary", 4_000, (4_000, "monthly")),
        ("semi-month-salary", 2_000, (4_000, "monthly")),
        ("per-week-salary", 1_000, (1_000, "weekly")),
        ("bi-week-salary", 2_000, (1_000, "weekly")),
        ("per-day-wage", 300, (300, "daily")),
        ("per-hour-wage", 30, (30, "hourly")),
        (None, 50_000, (50_000, "yearly")),
        ("per-hour-wage", 136_000, (136_000, "yearly")),
        (7, 30, (30, "hourly")),
        (None, 3_000, (3_000, None)),
        ("one-time", 50_000, (None, None)),
    ],
)
def test_intervals(told: Any, pay: float, salary: tuple[float | None, str | None]) -> None:
    found = item(salaryRange={"min": pay, "max": None, "currency": "EUR", "interval": told})
    assert (found.salary_min, found.salary_interval) == salary
