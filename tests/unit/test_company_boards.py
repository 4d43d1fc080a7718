"""A search over several company boards: shares, pages, resuming and failing boards. Uses Greenhouse."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hostile import hostile, json_values
from tests.support.sources import item_of, search_source
from worker.errors import ErrorCode, InvalidItemError, SiteError, SiteWaitingError
from worker.http import HttpSettings, SiteHttp, open_http
from worker.http.exits import OWN_ADDRESS, Exit
from worker.model import Item, Observed, Page, Progress
from worker.sources import Search
from worker.sources.ashby import AshbySource
from worker.sources.company_boards import DEFAULT_LIMITS, CompanyBoards, organization_of
from worker.sources.greenhouse import GreenhouseSource
from worker.sources.job_filter import JobFilter
from worker.sources.lever import LeverSource
from worker.sources.parameters import JobParameters

SOURCES = (GreenhouseSource, AshbySource, LeverSource)
NOW = datetime.now(UTC)


def a_job(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "title": f"Engineer {number}",
        "absolute_url": f"https://job-boards.greenhouse.io/acme/jobs/{number}",
        "first_published": (NOW - timedelta(minutes=number)).isoformat(),
        **fields,
    }


def a_board(*jobs: Any) -> httpx.Response:
    return httpx.Response(200, json={"jobs": jobs, "meta": {"total": len(jobs)}})


def at(router: respx.MockRouter, board: str) -> respx.Route:
    return router.get(url__startswith=f"https://boards-api.greenhouse.io/v1/boards/{board}/jobs")


def parameters(*boards: str, **others: Any) -> dict[str, Any]:
    return {"greenhouse_boards": list(boards), **others}


# Boards, shares and pages ----------------------------------------------------------------------------------------


async def test_boards_are_searched_one_after_another(router: respx.MockRouter) -> None:
    at(router, "acme").respond(json={"jobs": [a_job(1), a_job(2, title="Nurse")]})
    at(router, "bolt").respond(json={"jobs": [a_job(3)]})
    told = await search_source(GreenhouseSource(), parameters("acme", "bolt"))
    assert told.error is None
    assert [page.payload for page in told.pages] == [
        {"board": "acme", "jobs": [a_job(1)]},
        {"board": "bolt", "jobs": [a_job(3)]},
    ]
    assert [(page.number, page.is_last, page.calls_used) for page in told.pages] == [(1, False, 1), (2, True, 1)]
    assert told.titles == ["Engineer 1", "Engineer 3"]
    assert told.progress == [
        Progress("searching", 0, 2, {"board": "acme"}),
        Progress("searching", 1, 2, {"board": "bolt"}),
        Progress("searching", 2, 2),
    ]


async def test_a_board_that_is_named_twice_is_searched_once(router: respx.MockRouter) -> None:
    route = at(router, "acme").respond(json={"jobs": [a_job(1)]})
    assert (await search_source(GreenhouseSource(), parameters("acme", "acme"))).jobs == [("acme", 1)]
    assert route.call_count == 1


async def test_a_board_without_a_matching_job_is_a_page_without_jobs(router: respx.MockRouter) -> None:
    at(router, "acme").respond(json={"jobs": [a_job(1, title="Nurse")]})
    told = await search_source(GreenhouseSource(), parameters("acme"))
    assert (told.jobs, told.items, told.pages[0].is_last) == ([("acme", 0)], [], True)


async def test_a_large_board_is_several_pages_of_one_request(router: respx.MockRouter) -> None:
    route = at(router, "acme").respond(json={"jobs": [a_job(number) for number in range(250)]})
    told = await search_source(GreenhouseSource(), parameters("acme", results_wanted=1000))
    assert told.jobs == [("acme", 100), ("acme", 100), ("acme", 50)]
    assert [page.calls_used for page in told.pages] == [1, 0, 0]
    assert [page.is_last for page in told.pages] == [False, False, True]
    assert route.call_count == 1


async def test_exactly_one_page_full_is_one_page(router: respx.MockRouter) -> None:
    at(router, "acme").respond(json={"jobs": [a_job(number) for number in range(100)]})
    assert (await search_source(GreenhouseSource(), parameters("acme", results_wanted=1000))).jobs == [("acme", 100)]


async def test_each_board_gives_its_share_and_leaves_the_rest_to_those_after_it(router: respx.MockRouter) -> None:
    at(router, "acme").respond(json={"jobs": [a_job(number) for number in range(50)]})
    at(router, "bolt").respond(json={"jobs": [a_job(100)]})
    at(router, "corp").respond(json={"jobs": [a_job(number) for number in range(200, 250)]})
    told = await search_source(GreenhouseSource(), parameters("acme", "bolt", "corp", results_wanted=30))
    assert told.jobs == [("acme", 10), ("bolt", 1), ("corp", 19)]
    assert told.pages[-1].is_last


async def test_boards_are_not_requested_after_enough_jobs_are_found(router: respx.MockRouter) -> None:
    at(router, "acme").respond(json={"jobs": [a_job(1), a_job(2)]})
    told = await search_source(GreenhouseSource(), parameters("acme", "bolt", results_wanted=1))
    assert told.jobs == [("acme", 1)]
    assert told.pages[-1].is_last
    assert told.error is None


async def test_the_best_of_a_board_come_first(router: respx.MockRouter) -> None:
    old, other = a_job(1000), a_job(1, title="Recruiter", content="for engineers")
    at(router, "acme").respond(json={"jobs": [other, old, a_job(2)]})
    assert (await search_source(GreenhouseSource(), parameters("acme"))).titles == [
        "Engineer 2",
        "Engineer 1000",
        "Recruiter",
    ]


async def test_only_newer_jobs_are_requested(router: respx.MockRouter) -> None:
    at(router, "acme").respond(json={"jobs": [a_job(30), a_job(90), a_job(200)]})
    newer_than = NOW - timedelta(minutes=120)
    assert (await search_source(GreenhouseSource(), parameters("acme"), newer_than=newer_than)).titles == [
        "Engineer 30",
        "Engineer 90",
    ]
    assert (await search_source(GreenhouseSource(), parameters("acme", hours_old=1), newer_than=newer_than)).titles == [
        "Engineer 30"
    ]


async def test_a_job_that_cannot_be_read_is_kept_as_an_error(router: respx.MockRouter) -> None:
    at(router, "acme").respond(json={"jobs": [{"id": 7}, "what?", a_job(1)]})
    told = await search_source(GreenhouseSource(), parameters("acme"))
    assert told.titles == ["Engineer 1"]
    assert [(error.index, error.field) for error in told.item_errors] == [(1, "absolute_url"), (2, "job")]


# Going on --------------------------------------------------------------------------------------------------------


async def test_a_search_resumes_after_the_last_saved_board(router: respx.MockRouter) -> None:
    acme = at(router, "acme").respond(json={"jobs": [a_job(1, title="Nurse")]})
    bolt = at(router, "bolt").respond(json={"jobs": [a_job(2)]})
    first = await search_source(GreenhouseSource(), parameters("acme", "bolt"), stop_after=1)
    assert first.jobs == [("acme", 0)]
    second = await search_source(GreenhouseSource(), parameters("acme", "bolt"), after=first.pages[-1])
    assert second.jobs == [("bolt", 1)]
    assert [(page.number, page.is_last) for page in second.pages] == [(2, True)]
    assert second.progress[0] == Progress("searching", 1, 2, {"board": "bolt"})
    assert (acme.call_count, bolt.call_count) == (1, 1)


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4])
async def test_a_search_that_was_stopped_finds_the_rest_once(router: respx.MockRouter, stop_after: int) -> None:
    at(router, "acme").respond(json={"jobs": [a_job(number) for number in range(250)]})
    at(router, "bolt").respond(json={"jobs": [a_job(number) for number in range(300, 450)]})
    wanted = parameters("acme", "bolt", results_wanted=1000)
    whole = await search_source(GreenhouseSource(), wanted)
    first = await search_source(GreenhouseSource(), wanted, stop_after=stop_after)
    second = await search_source(GreenhouseSource(), wanted, after=first.pages[-1])
    assert first.titles + second.titles == whole.titles
    assert len(set(whole.titles)) == 400
    assert [page.number for page in (*first.pages, *second.pages)] == [1, 2, 3, 4, 5]


async def test_jobs_found_before_count_for_a_resumed_search(router: respx.MockRouter) -> None:
    at(router, "acme").respond(json={"jobs": [a_job(number) for number in range(400)]})
    at(router, "bolt").respond(json={"jobs": [a_job(number) for number in range(500, 900)]})
    wanted = parameters("acme", "bolt", results_wanted=300)
    first = await search_source(GreenhouseSource(), wanted, stop_after=1)
    second = await search_source(GreenhouseSource(), wanted, after=first.pages[-1])
    assert first.jobs + second.jobs == [("acme", 100), ("acme", 50), ("bolt", 100), ("bolt", 50)]


async def test_the_greatest_age_counts_from_the_beginning_of_the_search(router: respx.MockRouter) -> None:
    at(router, "acme").respond(json={"jobs": []})
    at(router, "bolt").respond(json={"jobs": [a_job(1)]})
    first = await search_source(GreenhouseSource(), parameters("acme", "bolt", hours_old=1), stop_after=1)
    later = Page(1, None, 0, cursor=json.loads(json.dumps(first.pages[0].cursor)))
    assert isinstance(later.cursor, dict)
    later.cursor["published_since"] = (NOW + timedelta(hours=1)).isoformat()
    assert (await search_source(GreenhouseSource(), parameters("acme", "bolt", hours_old=1), after=later)).jobs == [
        ("bolt", 0)
    ]


async def test_cursors_are_json(router: respx.MockRouter) -> None:
    at(router, "acme").respond(json={"jobs": [a_job(1)]})
    told = await search_source(GreenhouseSource(), parameters("acme", hours_old=1))
    assert json.loads(json.dumps(told.pages[0].cursor)) == told.pages[0].cursor


@pytest.mark.parametrize("cursor", ["page 2", 7, {"positions": []}, {"positions": {"acme": {"start": -1}}}])
async def test_a_cursor_of_another_version_restarts_the_search(router: respx.MockRouter, cursor: Any) -> None:
    at(router, "acme").respond(json={"jobs": [a_job(1)]})
    told = await search_source(GreenhouseSource(), parameters("acme"), after=Page(4, None, 0, cursor=cursor))
    assert [(page.number, page.is_last) for page in told.pages] == [(5, True)]


# Boards that fail ------------------------------------------------------------------------------------------------


async def test_an_unknown_board_keeps_no_other_from_being_searched(router: respx.MockRouter) -> None:
    at(router, "typo").respond(404, json={"status": 404, "error": "Job not found"})
    at(router, "acme").respond(json={"jobs": [a_job(1)]})
    told = await search_source(GreenhouseSource(), parameters("typo", "acme"))
    assert told.titles == ["Engineer 1"]
    assert not told.pages[-1].is_last
    assert (told.failure.code, told.failure.is_final) == (ErrorCode.NOT_FOUND, True)
    assert told.failure.message == "1 of 2 boards failed (no such board: typo)"
    assert told.progress[-1] == Progress("searching", 2, 2)


async def test_boards_that_are_all_unknown(router: respx.MockRouter) -> None:
    router.get(url__startswith="https://boards-api.greenhouse.io/").respond(404)
    told = await search_source(GreenhouseSource(), parameters("typo", "mistake", "error", "slip"))
    assert (told.failure.code, told.pages) == (ErrorCode.NOT_FOUND, [])
    assert told.failure.message == "4 of 4 boards failed (no such board: typo, mistake, error, slip)"


async def test_a_resumed_search_requests_only_failed_boards(router: respx.MockRouter) -> None:
    down = at(router, "down").respond(503)
    acme = at(router, "acme").respond(json={"jobs": [a_job(1)]})
    first = await search_source(GreenhouseSource(), parameters("down", "acme"))
    assert (first.failure.code, first.failure.is_final) == (ErrorCode.UPSTREAM, False)
    assert "503" in first.failure.message
    assert "down" in first.failure.message
    down.respond(json={"jobs": [a_job(2)]})
    second = await search_source(GreenhouseSource(), parameters("down", "acme"), after=first.pages[-1])
    assert (second.titles, second.error) == (["Engineer 2"], None)
    assert [(page.number, page.is_last) for page in second.pages] == [(2, True)]
    assert acme.call_count == 1


async def test_a_retryable_failure_decides_the_error(router: respx.MockRouter) -> None:
    at(router, "typo").respond(404)
    at(router, "down").respond(500)
    told = await search_source(GreenhouseSource(), parameters("typo", "down"))
    assert (told.failure.code, told.failure.is_final) == (ErrorCode.UPSTREAM, False)
    assert "typo" in told.failure.message
    assert "down" in told.failure.message


@pytest.mark.parametrize(
    ("answer", "code", "is_final"),
    [
        (
            httpx.Response(200, text="<html>Sorry</html>", headers={"content-type": "text/html"}),
            ErrorCode.UPSTREAM,
            False,
        ),
        (httpx.Response(200, json={"positions": []}), ErrorCode.UNVERIFIED, False),
        (httpx.Response(200, json=[1]), ErrorCode.UNVERIFIED, False),
        (httpx.Response(200, json={"jobs": "none"}), ErrorCode.UNVERIFIED, False),
        (httpx.Response(200, content=b"\xff\xfe\x00"), ErrorCode.UPSTREAM, False),
        (httpx.Response(200, content=b"[" * 100_000), ErrorCode.UPSTREAM, False),
        (httpx.Response(401), ErrorCode.UNAUTHORIZED, True),
        (httpx.Response(403), ErrorCode.BLOCKED, False),
        (httpx.Response(500), ErrorCode.UPSTREAM, False),
        (httpx.Response(504), ErrorCode.TIMEOUT, False),
    ],
)
async def test_a_broken_board(
    router: respx.MockRouter, answer: httpx.Response, code: ErrorCode, is_final: bool
) -> None:
    at(router, "bad").mock(return_value=answer)
    at(router, "acme").respond(json={"jobs": [a_job(1)]})
    told = await search_source(GreenhouseSource(), parameters("bad", "acme"))
    assert (told.failure.code, told.failure.is_final) == (code, is_final)
    assert "bad" in told.failure.message
    assert told.titles == ["Engineer 1"]


@pytest.mark.parametrize(
    ("error", "code"),
    [(httpx.ConnectError("refused"), ErrorCode.NETWORK), (httpx.ReadTimeout("slow"), ErrorCode.TIMEOUT)],
)
async def test_a_board_that_does_not_answer(router: respx.MockRouter, error: Exception, code: ErrorCode) -> None:
    at(router, "bad").mock(side_effect=error)
    at(router, "acme").respond(json={"jobs": [a_job(1)]})
    told = await search_source(GreenhouseSource(), parameters("bad", "acme"))
    assert (told.failure.code, told.titles) == (code, ["Engineer 1"])


async def test_a_rate_limit_ends_the_search(router: respx.MockRouter) -> None:
    at(router, "acme").respond(json={"jobs": [a_job(1)]})
    at(router, "bolt").respond(429, headers={"retry-after": "120"})
    corp = at(router, "corp").respond(json={"jobs": [a_job(2)]})
    told = await search_source(GreenhouseSource(), parameters("acme", "bolt", "corp"))
    assert (told.failure.code, told.failure.retry_after_seconds) == (ErrorCode.RATE_LIMITED, 120)
    assert (told.titles, corp.called) == (["Engineer 1"], False)


async def test_a_site_that_is_down_ends_the_search(router: respx.MockRouter) -> None:
    router.get(url__regex="/(down|worse|gone)/").respond(502)
    acme = at(router, "acme").respond(json={"jobs": [a_job(1)]})
    told = await search_source(GreenhouseSource(), parameters("down", "worse", "gone", "acme"))
    assert (told.failure.code, told.failure.is_final, acme.called) == (ErrorCode.UPSTREAM, False, False)
    assert all(board in told.failure.message for board in ("down", "worse", "gone"))


async def test_unknown_boards_do_not_count_as_a_site_that_is_down(router: respx.MockRouter) -> None:
    router.get(url__regex="/(typo|drifted|other|slip)/").respond(json={"positions": []})
    at(router, "acme").respond(json={"jobs": [a_job(1)]})
    told = await search_source(GreenhouseSource(), parameters("typo", "drifted", "other", "slip", "acme"))
    assert (told.failure.code, told.titles) == (ErrorCode.UNVERIFIED, ["Engineer 1"])


class WaitingPermits:
    """Permits that are soon given once."""

    def __init__(self) -> None:
        self.taken = 0

    async def take(self, bucket: str | None = None, requests: int = 1) -> Exit:  # noqa: ARG002
        self.taken += 1
        if self.taken > 1:
            raise SiteWaitingError("the site's pace", 60)
        return OWN_ADDRESS

    async def observe(self, observed: Observed, bucket: str | None = None) -> None:
        raise AssertionError(f"{bucket} told {observed}")


async def test_a_search_that_has_to_wait_ends_at_once_and_keeps_its_place(router: respx.MockRouter) -> None:
    at(router, "acme").respond(json={"jobs": [a_job(1)]})
    wanted = {"search_term": "engineer", **parameters("acme", "bolt")}
    reported: list[Progress] = []

    async def report(told: Progress) -> None:
        reported.append(told)

    permits = WaitingPermits()
    async with open_http(HttpSettings(backoff_seconds=0)) as http:
        asked = Search(
            site="greenhouse",
            parameters=wanted,
            http=SiteHttp(http, permits),
            permits=permits,
            report=report,
            timeout_seconds=60,
        )
        pages = GreenhouseSource().fetch(asked)
        saved = await anext(pages)
        with pytest.raises(SiteWaitingError):
            await anext(pages)
    at(router, "bolt").respond(json={"jobs": [a_job(2)]})
    assert (await search_source(GreenhouseSource(), wanted, after=saved)).titles == ["Engineer 2"]


# Parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [source() for source in SOURCES], ids=lambda source: source.name)
@pytest.mark.parametrize(
    "boards",
    [
        None, [], ["x"] * 51, "acme", [""], ["../admin"], ["a/b"], ["a..b"], ["a?x=1"], ["a#b"], ["a%2fb"], [".."],
        ["a\nb"], ["https://jobs.lever.co/acme"], ["a" * 101], [7], ["ä"], ["acme."], [" "],
    ],
    ids=repr,
)  # fmt: skip
def test_invalid_board_names(source: CompanyBoards, boards: Any) -> None:
    with pytest.raises(SiteError, match=source.boards) as raised:
        source.validate(source.name, {"search_term": "x", source.boards: boards})
    assert raised.value.code is ErrorCode.INVALID_PARAMETERS


@pytest.mark.parametrize("source", [source() for source in SOURCES], ids=lambda source: source.name)
def test_valid_board_names(source: CompanyBoards) -> None:
    boards = ["acme", "Acme_2", "acme-robotics", "x.ai", "The Browser Company", "1password", " acme "]
    source.validate(source.name, {"search_term": "x", source.boards: boards, "linkedin_company_ids": [1]})


async def test_a_name_with_a_space_is_one_segment_of_the_path(router: respx.MockRouter) -> None:
    route = at(router, "The%20Company").respond(json={"jobs": []})
    await search_source(GreenhouseSource(), parameters("The Company"))
    assert route.called


def test_names_of_companies() -> None:
    names = {"acme-robotics": "Acme Robotics", "OpenAI": "OpenAI", "the_company": "The Company", "Hex Labs": "Hex Labs"}
    assert {board: organization_of(board) for board in names} == names


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_the_attributes_of_the_sources(source: type[CompanyBoards]) -> None:
    assert (source.kind, source.limits, source.credentials) == ("jobs", {source.name: DEFAULT_LIMITS}, {})


# Anything ----------------------------------------------------------------------------------------------------------

NAMES = (
    "id", "title", "text", "absolute_url", "jobUrl", "hostedUrl", "location", "name", "offices", "departments",
    "metadata", "value", "content", "categories", "commitment", "allLocations", "salaryRange", "interval", "min",
    "max", "currency", "compensation", "summaryComponents", "compensationTiers", "components", "compensationType",
    "minValue", "maxValue", "currencyCode", "pay_input_ranges", "min_cents", "max_cents", "currency_type", "unit",
    "min_value", "max_value", "lists", "additional", "description", "createdAt", "publishedAt", "first_published",
    "updated_at", "country", "address", "postalAddress", "addressCountry", "addressLocality",
    "secondaryLocations", "isRemote", "isListed", "workplaceType", "employmentType",
)  # fmt: skip
LIKELY = st.sampled_from(
    ["7", "Engineer", "https://x.example/1", "1 YEAR", "per-year-salary", "Salary", "USD", "2026-11-20"]
)
JOB = st.recursive(
    json_values | LIKELY | st.just(50_000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)
ADDRESSES = dict.fromkeys(("absolute_url", "jobUrl", "hostedUrl"), "https://x.example/1")
NEEDED = {"id": 7, "title": "Engineer", "text": "Engineer", **ADDRESSES}
READABLE = st.dictionaries(st.sampled_from(NAMES), JOB, max_size=8).map(lambda job: {**job, **NEEDED})


@pytest.mark.parametrize("source", [source() for source in SOURCES], ids=lambda source: source.name)
@hostile(100)
@given(payload=json_values | st.fixed_dictionaries({"board": st.just("acme"), "jobs": json_values}))
def test_any_page_has_records_or_is_invalid(source: CompanyBoards, payload: Any) -> None:
    try:
        records = source.records(source.name, Page(1, payload, 0))
    except InvalidItemError:
        return
    assert all(isinstance(record, dict) and record["board"] == payload["board"] for record in records)


@pytest.mark.parametrize("source", [source() for source in SOURCES], ids=lambda source: source.name)
@hostile(100)
@given(record=JOB | st.fixed_dictionaries({"board": st.just("acme"), "job": JOB | READABLE}))
def test_any_record_is_an_item_or_is_invalid(source: CompanyBoards, record: Any) -> None:
    if item := item_of(source, record):
        assert_sound(item)
        JobFilter(JobParameters.read({"search_term": "engineer", "is_remote": True, "location": "Berlin"})).match(item)


@pytest.mark.parametrize("source", [source() for source in SOURCES], ids=lambda source: source.name)
@hostile(100)
@given(job=READABLE)
def test_optional_fields_may_have_any_value(source: CompanyBoards, job: Any) -> None:
    assert_sound(source.parse(source.name, {"board": "acme", "job": job}))


@pytest.mark.parametrize("source", [source() for source in SOURCES], ids=lambda source: source.name)
@hostile(100)
@given(answer=json_values | st.fixed_dictionaries({"jobs": json_values}))
def test_any_response_has_jobs_or_is_invalid(source: CompanyBoards, answer: Any) -> None:
    try:
        jobs = source.jobs(answer)
    except SiteError:
        return
    assert isinstance(jobs, list)


def assert_sound(item: Item) -> None:
    assert item.external_id
    assert item.url.lower().startswith(("http://", "https://"))
    assert item.data["board"] == "acme"
    for name in (
        "organization",
        "location",
        "city",
        "country",
        "posted_at",
        "salary_interval",
        "currency",
        "description",
    ):
        assert isinstance(getattr(item, name), str | None)
    for name in ("salary_min", "salary_max"):
        assert isinstance(getattr(item, name), float | None)
    assert all(isinstance(job_type, str) for job_type in item.job_types)
    json.dumps(item.data)
