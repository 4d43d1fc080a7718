"""JSearch's API, simulated with respx."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.support.hostile import hostile, json_values
from tests.support.sources import Trial, items_of, permits_of_search, search_source
from worker.errors import ErrorCode, InvalidItemError, SiteError
from worker.model import Json, Observed
from worker.sources.jsearch import JSearchSettings, JSearchSource

KEY = "a1b2c3-secret-key"
RAPIDAPI = "https://jsearch.p.rapidapi.com"
OPENWEB_NINJA = "https://api.openwebninja.com/jsearch"
ENGINEER = {"search_term": "engineer"}


def job(number: int, **fields: Json) -> dict[str, Json]:
    return {
        "job_id": f"id-{number}",
        "job_title": f"Engineer {number}",
        "job_apply_link": f"https://jobs.example/{number}",
        **fields,
    }


def jobs(numbers: Sequence[int]) -> list[Json]:
    return [job(number) for number in numbers]


def v1(listed: list[Json]) -> dict[str, Json]:
    return {"status": "OK", "request_id": "r", "parameters": {"query": "engineer"}, "data": listed}


def v2(listed: list[Json], cursor: str | None) -> dict[str, Json]:
    return {"status": "OK", "request_id": "r", "data": {"jobs": listed, "cursor": cursor}}


def source(**options: Any) -> JSearchSource:
    return JSearchSource(JSearchSettings(api_key=SecretStr(KEY), **options))


def asked(route: respx.Route) -> list[dict[str, str]]:
    return [dict(call.request.url.params) for call in route.calls]


async def answered(respx_mock: respx.MockRouter, *answers: Any, parameters: Any = None, **options: Any) -> Trial:
    """Search a JSearch that gives these answers, one after another."""
    respx_mock.get(f"{RAPIDAPI}/search-v2").mock(
        side_effect=[
            answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer) for answer in answers
        ]
    )
    return await search_source(source(), parameters or ENGINEER, **options)


# Paging --------------------------------------------------------------------------------------------------


async def test_pages_follow_the_cursor(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.get(f"{RAPIDAPI}/search-v2").mock(
        side_effect=[
            httpx.Response(200, json=v2(jobs(range(10)), "c1")),
            httpx.Response(200, json=v2(jobs(range(10, 20)), "c2")),
            httpx.Response(200, json=v2(jobs(range(20, 23)), None)),
        ]
    )
    trial = await search_source(source(), ENGINEER | {"results_wanted": 100})
    assert trial.error is None
    assert trial.ids == [f"id-{number}" for number in range(23)]
    assert [page.number for page in trial.pages] == [1, 2, 3]
    assert [page.is_last for page in trial.pages] == [False, False, True]
    assert [page.calls_used for page in trial.pages] == [1, 1, 1]
    assert [params.get("cursor") for params in asked(route)] == [None, "c1", "c2"]
    headers = route.calls[0].request.headers
    assert (headers["x-rapidapi-key"], headers["x-rapidapi-host"]) == (KEY, "jsearch.p.rapidapi.com")
    assert "x-api-key" not in headers
    assert [(step.current, step.total) for step in trial.progress] == [(0, 100), (10, 100), (20, 100), (23, 100)]


async def test_openweb_ninja_has_an_address_and_a_header_of_its_own(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.get(f"{OPENWEB_NINJA}/search-v2").respond(json=v2(jobs(range(3)), None))
    trial = await search_source(source(host="api.openwebninja.com"), ENGINEER)
    assert len(trial.items) == 3
    headers = route.calls[0].request.headers
    assert headers["x-api-key"] == KEY
    assert not [name for name in headers if name.startswith("x-rapidapi")]


async def test_the_first_version_numbers_its_pages(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.get(f"{RAPIDAPI}/search").mock(
        side_effect=[
            httpx.Response(200, json=v1(jobs(range(10)))),
            httpx.Response(200, json=v1(jobs(range(10, 14)))),
            httpx.Response(200, json=v1([])),
        ]
    )
    trial = await search_source(source(version="v1"), ENGINEER)
    assert len(trial.items) == 14
    assert [params["page"] for params in asked(route)] == ["1", "2", "3"]
    assert trial.pages[-1].is_last


@pytest.mark.parametrize(("version", "path"), [("v1", "search"), ("v2", "search-v2")])
@pytest.mark.parametrize("answer", [v1(jobs(range(4))), v2(jobs(range(4)), None)])
async def test_both_response_formats_are_read(
    respx_mock: respx.MockRouter, version: str, path: str, answer: Any
) -> None:
    respx_mock.get(f"{RAPIDAPI}/{path}").respond(json=answer)
    trial = await search_source(source(version=version), ENGINEER | {"results_wanted": 4})
    assert trial.ids == ["id-0", "id-1", "id-2", "id-3"]
    assert trial.pages[0].payload == answer


async def test_a_search_resumes_after_its_last_page(respx_mock: respx.MockRouter) -> None:
    begun = await answered(
        respx_mock,
        v2(jobs(range(10)), "c1"),
        v2(jobs(range(10, 20)), "c2"),
        httpx.Response(503),
        httpx.Response(503),
        httpx.Response(503),
        parameters=ENGINEER | {"results_wanted": 25},
    )
    assert begun.failure.code is ErrorCode.UPSTREAM
    respx_mock.clear()
    # It repeats jobs of pages before, as JSearch does.
    route = respx_mock.get(f"{RAPIDAPI}/search-v2").respond(json=v2(jobs([3, 19, *range(20, 28)]), "c3"))
    resumed = await search_source(source(), ENGINEER | {"results_wanted": 25}, cursor=begun.cursor, next_page=3)
    assert [params["cursor"] for params in asked(route)] == ["c2"]
    assert [page.number for page in resumed.pages] == [3]
    assert resumed.pages[-1].is_last
    assert begun.ids + resumed.ids == [f"id-{number}" for number in range(25)]
    assert [step.current for step in resumed.progress] == [20, 25]


async def test_a_resumed_search_keeps_its_version(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.get(f"{RAPIDAPI}/search").respond(json=v1([]))
    await search_source(source(version="v2"), ENGINEER, cursor={"page": 4, "found_ids": ["id-1"]}, next_page=4)
    assert [params["page"] for params in asked(route)] == ["4"]


async def test_a_cursor_asks_for_the_same_days_however_late_it_is_followed(respx_mock: respx.MockRouter) -> None:
    begun = await answered(
        respx_mock, v2(jobs(range(10)), "c1"), httpx.Response(401), newer_than=datetime.now(UTC) - timedelta(hours=20)
    )
    respx_mock.clear()
    route = respx_mock.get(f"{RAPIDAPI}/search-v2").respond(json=v2([], None))
    long_ago = datetime.now(UTC) - timedelta(days=2)
    await search_source(source(), ENGINEER, newer_than=long_ago, cursor=begun.cursor, next_page=2)
    assert asked(route)[0]["date_posted"] == "today"


@pytest.mark.parametrize("cursor", ["c1", 7, [], {"found": 3}, {"page": "x"}])
async def test_an_unknown_cursor_restarts_the_search(respx_mock: respx.MockRouter, cursor: Json) -> None:
    route = respx_mock.get(f"{RAPIDAPI}/search-v2").respond(json=v2(jobs(range(2)), None))
    trial = await search_source(source(), ENGINEER, cursor=cursor)
    assert len(trial.items) == 2
    assert "cursor" not in asked(route)[0]


async def test_repeated_jobs_are_taken_once(respx_mock: respx.MockRouter) -> None:
    trial = await answered(
        respx_mock,
        v2(jobs(range(10)), "c1"),
        v2(jobs(range(8, 18)), "c2"),
        v2(jobs(range(16, 18)), "c3"),
        parameters=ENGINEER | {"results_wanted": 50},
    )
    assert trial.ids == [f"id-{number}" for number in range(18)]
    assert trial.error is None


async def test_a_page_without_news_is_the_last(respx_mock: respx.MockRouter) -> None:
    page = v2(jobs(range(10)), "c1")
    trial = await answered(respx_mock, page, page | v2(jobs(range(10)), "c2"), parameters=ENGINEER)
    assert len(trial.pages) == 2
    assert trial.pages[-1].is_last
    assert len(trial.items) == 10


async def test_a_cursor_that_does_not_move_is_the_end(respx_mock: respx.MockRouter) -> None:
    trial = await answered(
        respx_mock,
        v2(jobs(range(10)), "c1"),
        v2(jobs(range(10, 20)), "c1"),
        parameters=ENGINEER | {"results_wanted": 100},
    )
    assert [page.is_last for page in trial.pages] == [False, True]


async def test_no_more_jobs_than_wanted(respx_mock: respx.MockRouter) -> None:
    trial = await answered(
        respx_mock,
        v2(jobs(range(10)), "c1"),
        v2(jobs(range(10, 20)), "c2"),
        parameters=ENGINEER | {"results_wanted": 13},
    )
    assert len(trial.items) == 13
    assert trial.pages[-1].is_last


async def test_a_search_does_not_use_up_the_plan(respx_mock: respx.MockRouter) -> None:
    """All jobs are too old, page after page: the search ends after twice the pages that it would need."""
    pages = [
        v2([job(10 * page + place, job_posted_at_timestamp=1_500_000_000) for place in range(10)], f"c{page}")
        for page in range(20)
    ]
    trial = await answered(respx_mock, *pages, parameters=ENGINEER | {"results_wanted": 20, "hours_old": 24})
    assert len(trial.pages) == 4
    assert trial.pages[-1].is_last
    assert trial.items == []


# What is asked -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, {"query": "nurse", "date_posted": "all", "num_pages": "1"}),
        ({"location": "Austin, TX"}, {"query": "nurse in Austin, TX", "country": "us"}),
        ({"location": "Berlin, Germany"}, {"query": "nurse in Berlin, Germany", "country": "de"}),
        ({"country": "uk"}, {"query": "nurse in United Kingdom", "country": "gb"}),
        ({"location": "Leeds", "country": "UK"}, {"query": "nurse in Leeds", "country": "gb"}),
        ({"location": "Remote"}, {"query": "nurse", "work_from_home": "true"}),
        (
            {"location": "Remote, Germany"},
            {"query": "nurse in Germany", "country": "de", "work_from_home": "true"},
        ),
        ({"is_remote": True}, {"query": "nurse", "work_from_home": "true"}),
        ({"job_type": "internship"}, {"employment_types": "INTERN"}),
        ({"job_type": "contract"}, {"employment_types": "CONTRACTOR"}),
        ({"hours_old": 24}, {"date_posted": "today"}),
        ({"hours_old": 25}, {"date_posted": "3days"}),
        ({"hours_old": 73}, {"date_posted": "week"}),
        ({"hours_old": 200}, {"date_posted": "month"}),
        ({"hours_old": 8000}, {"date_posted": "all"}),
    ],
)
async def test_the_request(respx_mock: respx.MockRouter, parameters: dict[str, Any], expected: dict[str, str]) -> None:
    route = respx_mock.get(f"{RAPIDAPI}/search-v2").respond(json=v2([], None))
    await search_source(source(), {"search_term": "nurse"} | parameters)
    (params,) = asked(route)
    assert expected.items() <= params.items()
    assert {"country", "work_from_home", "employment_types"} & params.keys() <= expected.keys() | {"country"}


async def test_newer_than_narrows_the_days(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.get(f"{RAPIDAPI}/search-v2").respond(json=v2([], None))
    await search_source(source(), ENGINEER | {"hours_old": 500}, newer_than=datetime.now(UTC) - timedelta(hours=30))
    assert asked(route)[0]["date_posted"] == "3days"


async def test_jobs_that_are_too_old_are_left_out(respx_mock: respx.MockRouter) -> None:
    """Of older jobs the day alone is known, as its first second: those of the day in question are kept."""
    least = datetime(2026, 11, 20, 15, tzinfo=UTC)

    def posted(number: int, at: datetime) -> dict[str, Json]:
        return job(number, job_posted_at_timestamp=int(at.timestamp()))

    listed: list[Json] = [
        posted(1, least + timedelta(seconds=1)),
        posted(2, least - timedelta(seconds=1)),
        posted(3, datetime(2026, 11, 20, tzinfo=UTC)),
        posted(4, datetime(2026, 11, 19, tzinfo=UTC)),
        job(5),
        job(6, job_posted_at_datetime_utc="2026-11-19T08:00:00.000Z"),
        job(7, job_posted_at_datetime_utc="yesterday"),
    ]
    trial = await answered(respx_mock, v2(listed, None), newer_than=least)
    assert trial.ids == ["id-1", "id-3", "id-5", "id-7"]
    assert len(source().records("jsearch", trial.pages[0])) == 4
    assert trial.items[1].posted_at == "2026-11-20"


async def test_a_type_that_the_api_lacks_is_filtered_by_the_source(respx_mock: respx.MockRouter) -> None:
    listed: list[Json] = [
        job(1, job_employment_type="Temp work", job_employment_types=["TEMPORARY"]),
        job(2, job_employment_types=["FULLTIME"]),
        job(3),
    ]
    trial = await answered(respx_mock, v2(listed, None), parameters=ENGINEER | {"job_type": "temporary"})
    assert trial.ids == ["id-1", "id-3"]


async def test_jobs_that_are_too_far_away_are_left_out(respx_mock: respx.MockRouter) -> None:
    listed: list[Json] = [
        job(1, job_location="Potsdam, Germany", job_city="Potsdam", job_state=None, job_country="DE"),
        job(2, job_location="Munich, Germany", job_city="Munich", job_state=None, job_country="DE"),
        job(3, job_location="Anywhere", job_city=None, job_state=None, job_country=None),
    ]
    near_berlin = ENGINEER | {"location": "Berlin, Germany"}
    trial = await answered(respx_mock, v2(listed, None), parameters=near_berlin | {"distance_miles": 30})
    assert trial.ids == ["id-1", "id-3"]
    trial = await answered(respx_mock, v2(listed, None), parameters=near_berlin)
    assert trial.ids == ["id-1", "id-2", "id-3"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "search_term: is required"),
        (ENGINEER | {"country": "Atlantis"}, "country: 'Atlantis' is unknown; allowed: English names"),
        (ENGINEER | {"location": "Paris; Madrid"}, r"location: names places in several countries \(France, Spain\)"),
        (ENGINEER | {"location": "Europe"}, "location: jsearch cannot search the area 'Europe'; name a country"),
        (ENGINEER | {"results_wanted": 1001}, "results_wanted: must be an integer from 1 to 1000"),
        (ENGINEER | {"job_type": "full-time"}, "job_type: must be one of fulltime"),
    ],
)
def test_parameters_that_are_wrong(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(SiteError, match=message) as raised:
        source().validate("jsearch", parameters)
    assert raised.value.code is ErrorCode.INVALID_PARAMETERS


# Refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code", "retry_after", "message"),
    [
        (
            httpx.Response(401, json={"message": f"Invalid API key {KEY}."}),
            ErrorCode.UNAUTHORIZED,
            None,
            r"^JSEARCH_API_KEY: jsearch.p.rapidapi.com does not accept the key: Invalid API key \*\*\*\.$",
        ),
        (
            httpx.Response(403, json={"message": "You are not subscribed to this API."}),
            ErrorCode.UNAUTHORIZED,
            None,
            r"^JSEARCH_API_KEY: .* refuses the key; subscribe to JSearch there, or set JSEARCH_HOST .* not subscribed",
        ),
        (
            httpx.Response(404, json={"message": "Endpoint '/search-v2' does not exist"}),
            ErrorCode.NOT_FOUND,
            None,
            "^JSEARCH_VERSION: .* does not offer /search-v2 for the key; set v1",
        ),
        (
            httpx.Response(400, json={"status": "ERROR", "error": {"message": "Bad country", "code": 400}}),
            ErrorCode.INVALID_PARAMETERS,
            None,
            "^JSearch refused the search: Bad country$",
        ),
        (
            httpx.Response(
                429,
                json={"message": "You have exceeded the MONTHLY quota for Requests on your current plan, BASIC."},
                headers={"x-ratelimit-requests-remaining": "0", "x-ratelimit-requests-reset": "86400"},
            ),
            ErrorCode.QUOTA_EXCEEDED,
            86_400,
            "^the plan's requests are used up: .*MONTHLY quota",
        ),
        (
            httpx.Response(403, json={"message": "You have exceeded the MONTHLY quota for Requests"}),
            ErrorCode.QUOTA_EXCEEDED,
            None,
            "used up",
        ),
        (
            httpx.Response(429, json={}, headers={"x-ratelimit-requests-remaining": "0"}),
            ErrorCode.QUOTA_EXCEEDED,
            None,
            "used up: no reason given",
        ),
        (
            httpx.Response(429, json={"message": "Too many requests"}, headers={"retry-after": "7"}),
            ErrorCode.RATE_LIMITED,
            7,
            "^too many requests: Too many requests$",
        ),
        (
            httpx.Response(429, text="slow down", headers={"x-ratelimit-reset": "30"}),
            ErrorCode.RATE_LIMITED,
            30,
            "too many requests",
        ),
        (httpx.Response(418, json={"message": "teapot"}), ErrorCode.UPSTREAM, None, "418: teapot"),
        (
            httpx.Response(200, json={"status": "ERROR", "error": {"message": f"down {KEY}", "code": 500}, "data": []}),
            ErrorCode.UPSTREAM,
            None,
            r"^JSearch failed: down \*\*\*$",
        ),
        (httpx.Response(200, json={"message": "sorry"}), ErrorCode.UPSTREAM, None, "^JSearch failed: sorry$"),
        (
            httpx.Response(200, html="<!DOCTYPE html><title>Moved</title>"),
            ErrorCode.UPSTREAM,
            None,
            "^the answer is HTML, not JSON: Moved$",
        ),
        (httpx.Response(200, text=""), ErrorCode.UPSTREAM, None, "is not JSON"),
        (httpx.Response(200, text="[" * 100_000), ErrorCode.UPSTREAM, None, "is nested deeper"),
    ],
)
async def test_refusals(
    respx_mock: respx.MockRouter, answer: httpx.Response, code: ErrorCode, retry_after: float | None, message: str
) -> None:
    respx_mock.get(f"{RAPIDAPI}/search-v2").mock(return_value=answer)
    trial = await search_source(source(), ENGINEER)
    assert trial.failure.code is code
    assert trial.failure.is_final is (
        code in (ErrorCode.UNAUTHORIZED, ErrorCode.NOT_FOUND, ErrorCode.INVALID_PARAMETERS) or answer.status_code == 418
    )
    assert trial.failure.retry_after_seconds == retry_after
    with pytest.raises(SiteError, match=message):
        raise trial.failure
    assert KEY not in repr(trial.failure.args) + trial.failure.message
    assert trial.pages == []
    assert len(respx_mock.calls) == 1


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_server_that_fails(respx_mock: respx.MockRouter, status: int) -> None:
    respx_mock.get(f"{RAPIDAPI}/search-v2").respond(status, html="<h1>Bad gateway</h1>")
    trial = await search_source(source(), ENGINEER)
    assert (trial.failure.code, trial.failure.is_final) == (ErrorCode.UPSTREAM, False)


async def test_without_a_key_no_request_is_sent(respx_mock: respx.MockRouter) -> None:
    keyless = JSearchSource(JSearchSettings(api_key=None))
    trial = await search_source(keyless, ENGINEER)
    assert trial.failure.code is ErrorCode.UNAUTHORIZED
    assert trial.failure.message.startswith("JSEARCH_API_KEY: is not set")
    assert respx_mock.calls.call_count == 0
    assert (keyless.credentials, source().credentials) == ({"JSEARCH_API_KEY": False}, {"JSEARCH_API_KEY": True})


async def test_a_plan_that_ends_mid_run_keeps_the_pages_before(respx_mock: respx.MockRouter) -> None:
    trial = await answered(
        respx_mock,
        v2(jobs(range(10)), "c1"),
        v2(jobs(range(10, 20)), "c2"),
        httpx.Response(429, json={"message": "You have exceeded the MONTHLY quota"}),
        parameters=ENGINEER | {"results_wanted": 100},
    )
    assert (trial.failure.code, trial.failure.is_final) == (ErrorCode.QUOTA_EXCEEDED, False)
    assert len(trial.items) == 20
    assert [page.is_last for page in trial.pages] == [False, False]


# The plan ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "observed"),
    [
        (200, {}, []),
        (200, {"x-ratelimit-requests-limit": "nonsense", "x-ratelimit-requests-remaining": "-1"}, []),
        (
            200,
            {
                "x-ratelimit-requests-limit": "10000",
                "x-ratelimit-requests-remaining": "9000",
                "x-ratelimit-requests-reset": "2163603",
                "x-ratelimit-limit": "60",
                "x-ratelimit-remaining": "59",
                "x-ratelimit-reset": "12",
            },
            [Observed(remaining=9000, quota=10_000, resets_in_seconds=2_163_603)],
        ),
        (
            200,
            {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "12"},
            [Observed(retry_after_seconds=12)],
        ),
        (429, {}, [Observed(remaining=0)]),
        (429, {"x-ratelimit-requests-reset": "60"}, [Observed(remaining=0, resets_in_seconds=60)]),
    ],
)
async def test_the_quota_in_the_headers_is_reported(
    respx_mock: respx.MockRouter, status: int, headers: dict[str, str], observed: list[Observed]
) -> None:
    body = v2([], None) if status == 200 else {"message": "You have exceeded the MONTHLY quota"}
    respx_mock.get(f"{RAPIDAPI}/search-v2").respond(status, json=body, headers=headers)
    permits = await permits_of_search(source(), ENGINEER)
    assert permits.observed == observed
    assert permits.taken == [(None, 1)]


async def test_a_reset_may_be_a_timestamp(respx_mock: respx.MockRouter) -> None:
    at = int(datetime.now(UTC).timestamp()) + 500
    respx_mock.get(f"{RAPIDAPI}/search-v2").respond(json=v2([], None), headers={"x-ratelimit-requests-reset": str(at)})
    (observed,) = (await permits_of_search(source(), ENGINEER)).observed
    assert observed.resets_in_seconds is not None
    assert 0 <= observed.resets_in_seconds <= 500


def test_the_default_limits_are_those_of_the_free_plan() -> None:
    limits = source().limits["jsearch"]
    assert (limits.quota, limits.quota_period) == (200, "month")


# What is answered ----------------------------------------------------------------------------------------


async def test_an_item_of_a_full_job(respx_mock: respx.MockRouter) -> None:
    listed = job(
        1,
        employer_name="Harrowby Computing, Inc.",
        job_publisher="LinkedIn",
        job_employment_type="Full-time and Contractor",
        job_employment_types=["FULLTIME", "CONTRACTOR"],
        apply_options=[
            {"publisher": "LinkedIn", "apply_link": "https://linkedin.example/1", "is_direct": False},
            {"publisher": "Careers", "apply_link": "https://careers.example/jobs/10007", "is_direct": True},
        ],
        job_description="First line\n\n• Second line",
        job_is_remote=True,
        job_posted_at_timestamp=1_771_142_400,
        job_location="St. Louis, MO",
        job_city="St. Louis",
        job_state="Missouri",
        job_country="US",
        job_benefits=["health_insurance"],
        job_min_salary=91_700,
        job_max_salary=138_000,
        job_salary_currency="USD",
        job_salary_period="YEAR",
        job_latitude=None,
    )
    (item,) = (await answered(respx_mock, v2([listed], None))).items
    assert (item.external_id, item.title, item.url) == ("id-1", "Engineer 1", "https://jobs.example/1")
    assert (item.organization, item.location) == ("Harrowby Computing, Inc.", "St. Louis, MO")
    assert (item.city, item.region, item.country) == ("St. Louis", "MO", "US")
    assert (item.is_remote, item.work_mode) == (True, "remote")
    assert item.posted_at == "2026-02-15T08:00:00+00:00"
    assert (item.salary_yearly_min, item.salary_yearly_max, item.currency) == (91_700, 138_000, "USD")
    assert item.apply_url == "https://careers.example/jobs/10007"
    assert item.description == "First line\n\n• Second line"
    assert item.job_types == ("fulltime", "contract")
    assert set(item.data) == {"job_publisher", "apply_options", "job_benefits"}


def test_a_job_without_a_location_of_its_own_has_its_parts() -> None:
    parts = job(1, job_city="Leeds", job_state=None, job_country="GB", job_employment_type="Internship")
    item = source().parse("jsearch", parts)
    assert (item.location, item.job_types, item.apply_url) == ("Leeds, GB", ("Internship",), item.url)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"job_id": None}, "job_id"),
        ({"job_id": []}, "job_id"),
        ({"job_title": " "}, "job_title"),
        ({"job_apply_link": "javascript:alert(1)"}, "job_apply_link"),
        ({"job_apply_link": None, "job_google_link": "ftp://x"}, "job_apply_link"),
    ],
)
def test_an_invalid_job_is_reported_with_its_field(fields: dict[str, Json], field: str) -> None:
    with pytest.raises(InvalidItemError) as raised:
        source().parse("jsearch", job(1) | fields)
    assert raised.value.field == field


async def test_unreadable_jobs_are_reported_and_the_others_kept(respx_mock: respx.MockRouter) -> None:
    listed: list[Json] = [job(1), None, "job", job(2) | {"job_title": 7.5}, job(3)]
    trial = await answered(respx_mock, v2(listed, None))
    assert trial.ids == ["id-1", "id-3"]
    assert [error.index for error in trial.item_errors] == [1, 2, 3]
    assert trial.error is None


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (v2([{"title": "Engineer", "id": 1}] * 10, "c1"), "none of 10 jobs can be read.* job_id is missing"),
        (v1([None]), "none of 1 jobs"),
        ({"status": "OK", "data": None}, "no list of jobs"),
        ({"status": "OK", "data": {"results": []}}, "no list of jobs"),
        ({"status": "OK", "data": "jobs"}, "no list of jobs"),
        ({}, "no list of jobs"),
        ([], "no list of jobs"),
        (None, "no list of jobs"),
        (7, "no list of jobs"),
    ],
)
async def test_a_page_of_an_unknown_format_is_kept_and_fails_the_search(
    respx_mock: respx.MockRouter, answer: Any, message: str
) -> None:
    """It is neither a last page nor one to go on after: the search begins anew."""
    trial = await answered(respx_mock, httpx.Response(200, content=json.dumps(answer)))
    assert trial.failure.code is ErrorCode.UNVERIFIED
    with pytest.raises(SiteError, match=message):
        raise trial.failure
    (page,) = trial.pages
    assert (page.payload, page.cursor, page.is_last) == (answer, None, False)
    assert trial.items == []
    assert trial.item_errors


FIELDS = (
    "job_id", "job_title", "job_apply_link", "apply_options", "job_posted_at_timestamp", "job_min_salary",
    "job_posted_at_datetime_utc", "job_employment_types", "job_is_remote", "job_city", "job_location",
)  # fmt: skip


@given(json_values)
def test_any_page_is_read_or_refused(payload: Json) -> None:
    assert items_of(source(), payload) == []


@given(st.dictionaries(st.sampled_from(FIELDS), json_values | st.integers(0, 10**20)))
def test_any_job_is_read_or_refused(fields: dict[str, Json]) -> None:
    payload = v2([job(1, **fields)], None)
    assert len(items_of(source(), payload)) <= 1


@hostile(30)
@given(
    st.binary(max_size=50)
    | json_values.map(lambda value: json.dumps(value).encode())
    | json_values.map(lambda value: json.dumps({"status": "OK", "data": value}).encode())
    | st.dictionaries(st.sampled_from(FIELDS), json_values).map(
        lambda fields: json.dumps(v2([job(1), job(2, **fields)], None)).encode()
    ),
    st.sampled_from([200, 204, 400, 401, 403, 404, 429]),
)
async def test_any_response_gives_pages_or_a_site_error(body: bytes, status: int) -> None:
    with respx.mock as router:
        router.get(f"{RAPIDAPI}/search-v2").respond(status, content=body)
        trial = await search_source(source(), ENGINEER | {"hours_old": 48, "results_wanted": 20})
    assert trial.error is not None or trial.pages[-1].is_last
