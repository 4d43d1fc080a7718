"""Remotive's API, simulated with respx."""

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

from tests.support.hostile import hostile, json_values
from tests.support.sources import Trial, items_of, permits_of_search, search_source
from worker.errors import ErrorCode, SiteError
from worker.model import Json
from worker.sources.remotive import ADDRESS, RemotiveSource

SOURCE = RemotiveSource()
DEVELOPER = {"search_term": "developer"}
NOW = datetime.now(UTC).replace(microsecond=0)


def job(number: int, **fields: Json) -> dict[str, Json]:
    return {
        "id": number,
        "url": f"https://remotive.com/remote-jobs/software-dev/developer-{number}",
        "title": f"Developer {number}",
        "company_name": "Harrowby",
        "category": "Software Development",
        "tags": ["python"],
        "job_type": "full_time",
        "publication_date": (NOW - timedelta(days=number)).replace(tzinfo=None).isoformat(),
        "candidate_required_location": "Worldwide",
        "salary": "$40,000 - $50,000",
        "description": "<p>Write <b>code</b>.</p>",
        **fields,
    }


def board(listed: Sequence[Json]) -> dict[str, Json]:
    return {"0-legal-notice": "name us, and link to us", "job-count": len(listed), "jobs": [*listed]}


async def answered(respx_mock: respx.MockRouter, answer: Any, parameters: Any = None, **options: Any) -> Trial:
    respx_mock.get(ADDRESS).mock(
        return_value=answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)
    )
    return await search_source(SOURCE, parameters or DEVELOPER, **options)


async def test_one_request_gives_the_board(respx_mock: respx.MockRouter) -> None:
    trial = await answered(respx_mock, board([job(1), job(2, title="Cook"), job(3)]))
    assert trial.error is None
    assert trial.ids == ["1", "3"]
    (page,) = trial.pages
    assert (page.number, page.is_last, page.calls_used) == (1, True, 1)
    assert page.payload == board([job(1), job(2), job(3)]) | {"jobs": [job(1), job(3)]}
    assert [str(call.request.url) for call in respx_mock.calls] == [ADDRESS]
    assert [(step.current, step.total, step.details) for step in trial.progress] == [
        (0, 20, {}),
        (2, 20, {"read": 3}),
    ]


async def test_an_item_names_remotive_and_links_to_it(respx_mock: respx.MockRouter) -> None:
    (item,) = (await answered(respx_mock, board([job(7)]))).items
    assert item.url == "https://remotive.com/remote-jobs/software-dev/developer-7"
    assert item.data["attribution"] == {"name": "Remotive", "url": item.url}
    assert set(item.data) == {"category", "tags", "salary", "attribution"}
    assert (item.organization, item.location, item.work_mode) == ("Harrowby", "Worldwide", "remote")
    assert (item.salary_min, item.salary_max, item.salary_interval, item.currency) == (40_000, 50_000, "yearly", "USD")
    assert (item.description, item.job_types) == ("Write **code**.", ("fulltime",))
    assert item.posted_at == (NOW - timedelta(days=7)).isoformat()


@pytest.mark.parametrize(
    ("salary", "expected"),
    [
        ("$120k - $150k", (120_000, 150_000, "yearly", "USD")),
        ("€50,000 - €60,000", (50_000, 60_000, "yearly", "EUR")),
        ("$60 - $80 per hour", (60, 80, "hourly", "USD")),
        ("Competitive", (None, None, None, None)),
        ("", (None, None, None, None)),
        (None, (None, None, None, None)),
        ([], (None, None, None, None)),
    ],
)
def test_pay_is_read_from_its_text(salary: Json, expected: tuple[Any, ...]) -> None:
    item = SOURCE.parse("remotive", job(1, salary=salary))
    assert (item.salary_min, item.salary_max, item.salary_interval, item.currency) == expected


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"search_term": "cook"}, ["2"]),
        ({"search_term": "developer", "is_remote": True}, ["1", "3"]),
        ({"search_term": "developer", "country": "germany"}, ["1"]),
        ({"search_term": "developer", "job_type": "contract"}, ["3"]),
        ({"search_term": "developer", "hours_old": 48}, ["1"]),
        ({"search_term": "developer", "results_wanted": 1}, ["1"]),
    ],
)
async def test_jobs_are_filtered_by_the_source(
    respx_mock: respx.MockRouter, parameters: dict[str, Any], expected: list[str]
) -> None:
    listed = [job(1), job(2, title="Cook"), job(3, job_type="contract", candidate_required_location="USA")]
    assert (await answered(respx_mock, board(listed), parameters)).ids == expected


async def test_only_newer_jobs(respx_mock: respx.MockRouter) -> None:
    assert (await answered(respx_mock, board([job(1), job(5)]), newer_than=NOW - timedelta(days=3))).ids == ["1"]


async def test_the_limits_are_those_of_the_documentation(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(ADDRESS).respond(json=board([job(1)]))
    assert (await permits_of_search(RemotiveSource(), DEVELOPER)).taken == [(None, 1)]
    limits = RemotiveSource().limits["remotive"]
    assert (limits.quota, limits.quota_period) == (4, "day")
    assert (limits.requests, limits.period_seconds) == (2, 60)
    assert RemotiveSource().credentials == {}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (httpx.Response(403, html="<h1>Forbidden</h1>"), ErrorCode.BLOCKED),
        (httpx.Response(429, text="slow down"), ErrorCode.RATE_LIMITED),
        (httpx.Response(502, html="<h1>Bad gateway</h1>"), ErrorCode.UPSTREAM),
        (httpx.Response(200, html="<h1>Just a moment</h1>"), ErrorCode.UPSTREAM),
        (httpx.Response(302, headers={"location": "https://evil.example/"}), ErrorCode.UPSTREAM),
    ],
)
async def test_refusals(respx_mock: respx.MockRouter, answer: httpx.Response, code: ErrorCode) -> None:
    trial = await answered(respx_mock, answer)
    assert trial.failure.code is code
    assert trial.pages == []


@pytest.mark.parametrize("answer", [board([{"name": "x"}] * 3), board([None]), {"jobs": {}}, {"error": "x"}, [], None])
async def test_a_page_of_an_unknown_format_is_kept_and_fails_the_search(
    respx_mock: respx.MockRouter, answer: Any
) -> None:
    trial = await answered(respx_mock, httpx.Response(200, content=json.dumps(answer)))
    assert trial.failure.code is ErrorCode.UNVERIFIED
    (page,) = trial.pages
    assert (page.payload, page.cursor, page.is_last) == (answer, None, False)
    assert trial.item_errors


async def test_an_empty_board_is_no_failure(respx_mock: respx.MockRouter) -> None:
    trial = await answered(respx_mock, board([]))
    assert (trial.error, trial.items, trial.pages[0].is_last) == (None, [], True)


async def test_unreadable_jobs_are_reported_and_the_others_kept(respx_mock: respx.MockRouter) -> None:
    trial = await answered(respx_mock, board([job(1), job(2, url=None), job(3, title=[]), job(4, id=True)]))
    assert trial.ids == ["1"]
    assert [error.field for error in trial.item_errors] == ["url", "title", "id"]


def test_parameters_that_are_wrong() -> None:
    with pytest.raises(SiteError, match="search_term: is required"):
        SOURCE.validate("remotive", {})


@given(json_values | json_values.map(lambda value: {"jobs": value}))
def test_any_page_is_read_or_refused(payload: Json) -> None:
    items_of(SOURCE, payload)


FIELDS = ("id", "title", "url", "publication_date", "tags", "job_type", "candidate_required_location", "salary")


@hostile(30)
@given(
    st.binary(max_size=50)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(FIELDS), json_values | st.integers(0, 10**20)).map(
        lambda fields: json.dumps(board([job(1), job(2, **fields)])).encode()
    )
)
async def test_any_response_gives_a_page_or_a_site_error(body: bytes) -> None:
    with respx.mock as router:
        router.get(ADDRESS).respond(200, content=body)
        trial = await search_source(RemotiveSource(), DEVELOPER | {"country": "germany", "hours_old": 48})
    assert trial.error is not None or trial.pages[-1].is_last
