"""Arbeitnow's API, simulated with respx."""

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
from worker.sources.arbeitnow import ADDRESS, MAX_PAGES, ArbeitnowSource

SOURCE = ArbeitnowSource()
ENGINEER = {"search_term": "engineer"}
NOW = datetime.now(UTC).replace(microsecond=0)


def job(number: int, **fields: Json) -> dict[str, Json]:
    return {
        "slug": f"engineer-{number}",
        "company_name": "Preiswerk GmbH",
        "title": f"Engineer {number}",
        "description": "<p>We build.</p>",
        "remote": False,
        "url": f"https://www.arbeitnow.com/jobs/companies/preiswerk/engineer-{number}",
        "tags": ["Engineering"],
        "job_types": ["Full-time permanent"],
        "location": "Berlin",
        "created_at": int((NOW - timedelta(hours=number)).timestamp()),
        **fields,
    }


def board(listed: Sequence[Json], page: int = 1, *, has_more: bool = False) -> dict[str, Json]:
    return {
        "data": [*listed],
        "links": {"first": f"{ADDRESS}?page=1", "next": f"{ADDRESS}?page={page + 1}" if has_more else None},
        "meta": {"current_page": page, "terms": "a link back, please"},
    }


async def answered(respx_mock: respx.MockRouter, *answers: Any, parameters: Any = None, **options: Any) -> Trial:
    """Search an Arbeitnow that gives these answers, one after another."""
    respx_mock.get(ADDRESS).mock(
        side_effect=[
            answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer) for answer in answers
        ]
    )
    return await search_source(SOURCE, parameters or ENGINEER, **options)


def asked(respx_mock: respx.MockRouter) -> list[str]:
    return [call.request.url.params["page"] for call in respx_mock.calls]


async def test_pages_are_read_and_picked_from(respx_mock: respx.MockRouter) -> None:
    trial = await answered(
        respx_mock,
        board([job(1), job(2, title="Nurse", tags=[])], has_more=True),
        board([job(3, title="Cook", tags=[])], 2, has_more=True),
        board([job(4)], 3),
    )
    assert trial.error is None
    assert trial.ids == ["engineer-1", "engineer-4"]
    assert asked(respx_mock) == ["1", "2", "3"]
    assert [page.is_last for page in trial.pages] == [False, False, True]
    assert [page.cursor for page in trial.pages] == [
        {"page": 2, "found_ids": ["engineer-1"], "read": 2},
        {"page": 3, "found_ids": ["engineer-1"], "read": 3},
        None,
    ]
    assert trial.pages[0].payload == board([job(1)], has_more=True)
    assert [(step.current, step.total, step.details) for step in trial.progress] == [
        (0, 20, {"read": 0}),
        (1, 20, {"read": 2}),
        (1, 20, {"read": 3}),
        (2, 20, {"read": 4}),
    ]


async def test_enough_is_enough(respx_mock: respx.MockRouter) -> None:
    listed = [job(number) for number in range(30)]
    trial = await answered(respx_mock, board(listed, has_more=True), parameters=ENGINEER | {"results_wanted": 7})
    assert trial.ids == [f"engineer-{number}" for number in range(7)]
    assert trial.pages[0].is_last


async def test_a_search_resumes_after_its_last_page(respx_mock: respx.MockRouter) -> None:
    begun = await answered(
        respx_mock,
        board([job(1), job(2)], has_more=True),
        board([job(3)], 2, has_more=True),
        httpx.Response(429, headers={"retry-after": "60"}),
        parameters=ENGINEER | {"results_wanted": 4},
    )
    assert (begun.failure.code, begun.failure.retry_after_seconds) == (ErrorCode.RATE_LIMITED, 60)
    respx_mock.clear()
    resumed = await answered(
        respx_mock,
        # The board has a new job since, which pushed the others on.
        board([job(3), job(4), job(5)], 3, has_more=True),
        parameters=ENGINEER | {"results_wanted": 4},
        cursor=begun.cursor,
        next_page=3,
    )
    assert [call.request.url.params["page"] for call in respx_mock.calls][-1] == "3"
    assert begun.ids + resumed.ids == [f"engineer-{number}" for number in (1, 2, 3, 4)]
    assert [page.number for page in resumed.pages] == [3]
    assert [(step.current, step.details["read"]) for step in resumed.progress] == [(3, 3), (4, 6)]


@pytest.mark.parametrize("cursor", ["x", 7, {"page": 0}, {"page": "x"}, {"found": 3}])
async def test_an_unknown_cursor_restarts_the_search(respx_mock: respx.MockRouter, cursor: Json) -> None:
    trial = await answered(respx_mock, board([job(1)]), cursor=cursor)
    assert asked(respx_mock) == ["1"]
    assert trial.ids == ["engineer-1"]


async def test_requests_go_only_to_arbeitnow(respx_mock: respx.MockRouter) -> None:
    first = board([job(1)]) | {"links": {"next": "https://evil.example/api/job-board-api?page=2"}}
    trial = await answered(respx_mock, first, board([job(2)], 2))
    assert trial.error is None
    assert {call.request.url.host for call in respx_mock.calls} == {"www.arbeitnow.com"}
    assert asked(respx_mock) == ["1", "2"]


async def test_a_redirect_to_another_host_is_refused(respx_mock: respx.MockRouter) -> None:
    trial = await answered(respx_mock, httpx.Response(302, headers={"location": "https://evil.example/"}))
    assert "another host" in trial.failure.message


async def test_pages_that_repeat_end_the_search(respx_mock: respx.MockRouter) -> None:
    """New jobs push others to the next page; a page with no others than those is the end."""
    trial = await answered(
        respx_mock,
        board([job(1), job(2)], has_more=True),
        board([job(2), job(3)], 2, has_more=True),
        board([job(2), job(3)], 3, has_more=True),
    )
    assert trial.ids == ["engineer-1", "engineer-2", "engineer-3"]
    assert len(trial.pages) == 3


async def test_a_board_without_end_is_read_so_far(respx_mock: respx.MockRouter) -> None:
    pages = [board([job(number, title="Cook", tags=[])], has_more=True) for number in range(MAX_PAGES + 5)]
    trial = await answered(respx_mock, *pages)
    assert len(trial.pages) == MAX_PAGES
    assert trial.pages[-1].is_last


async def test_jobs_that_are_too_old_end_the_search(respx_mock: respx.MockRouter) -> None:
    """The newest come first: after a page of old jobs there are none but older ones."""
    trial = await answered(
        respx_mock,
        board([job(1), job(5)], has_more=True),
        board([job(30), job(31)], 2, has_more=True),
        parameters=ENGINEER | {"hours_old": 4},
    )
    assert trial.ids == ["engineer-1"]
    assert asked(respx_mock) == ["1", "2"]
    assert trial.pages[-1].is_last


async def test_only_newer_jobs(respx_mock: respx.MockRouter) -> None:
    trial = await answered(respx_mock, board([job(1), job(5)]), newer_than=NOW - timedelta(hours=3))
    assert trial.ids == ["engineer-1"]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"search_term": "nurse"}, ["engineer-2"]),
        ({"search_term": "engineer", "location": "Munich, Germany"}, []),
        ({"search_term": "engineer", "location": "Berlin"}, ["engineer-1", "engineer-3"]),
        ({"search_term": "engineer", "is_remote": True}, ["engineer-3"]),
        ({"search_term": "engineer", "job_type": "internship"}, ["engineer-3"]),
    ],
)
async def test_jobs_are_filtered_by_the_source(
    respx_mock: respx.MockRouter, parameters: dict[str, Any], expected: list[str]
) -> None:
    listed = [job(1), job(2, title="Nurse", tags=[]), job(3, remote=True, job_types=["Internship"])]
    assert (await answered(respx_mock, board(listed), parameters=parameters)).ids == expected


async def test_an_item_links_back_to_arbeitnow(respx_mock: respx.MockRouter) -> None:
    (item,) = (await answered(respx_mock, board([job(1)]))).items
    assert item.url == "https://www.arbeitnow.com/jobs/companies/preiswerk/engineer-1"
    assert item.data == {
        "tags": ["Engineering"],
        "attribution": {"name": "Arbeitnow", "url": "https://www.arbeitnow.com/"},
    }
    assert (item.organization, item.location, item.city) == ("Preiswerk GmbH", "Berlin", "Berlin")
    assert (item.description, item.job_types) == ("We build.", ("fulltime",))
    assert item.posted_at == (NOW - timedelta(hours=1)).isoformat()


async def test_a_request_takes_a_permit(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(ADDRESS).respond(json=board([job(1)]))
    assert (await permits_of_search(ArbeitnowSource(), ENGINEER)).taken == [(None, 1)]
    assert ArbeitnowSource().limits["arbeitnow"].pause_seconds > 0
    assert ArbeitnowSource().credentials == {}


@pytest.mark.parametrize(
    ("answer", "code", "is_final"),
    [
        (httpx.Response(403, html="<h1>Forbidden</h1>"), ErrorCode.BLOCKED, False),
        (httpx.Response(404), ErrorCode.NOT_FOUND, True),
        (httpx.Response(429), ErrorCode.RATE_LIMITED, False),
        (httpx.Response(200, html="<h1>Just a moment</h1>"), ErrorCode.UPSTREAM, False),
        (httpx.Response(200, text='{"data": ['), ErrorCode.UPSTREAM, False),
        (httpx.Response(200, text="[" * 100_000), ErrorCode.UPSTREAM, False),
    ],
)
async def test_refusals_keep_the_pages_before(
    respx_mock: respx.MockRouter, answer: httpx.Response, code: ErrorCode, is_final: bool
) -> None:
    trial = await answered(respx_mock, board([job(1)], has_more=True), answer)
    assert (trial.failure.code, trial.failure.is_final) == (code, is_final)
    assert trial.ids == ["engineer-1"]


@pytest.mark.parametrize(
    "answer",
    [
        board([{"id": 7, "name": "Engineer"}] * 3, has_more=True),
        board([None, 7, "job"]),
        {"data": {"jobs": []}},
        {"message": "hello"},
        [],
        None,
    ],
)
async def test_a_page_of_an_unknown_format_is_kept_and_fails_the_search(
    respx_mock: respx.MockRouter, answer: Any
) -> None:
    trial = await answered(respx_mock, httpx.Response(200, content=json.dumps(answer)))
    assert trial.failure.code is ErrorCode.UNVERIFIED
    (page,) = trial.pages
    assert (page.payload, page.cursor, page.is_last) == (answer, None, False)
    assert trial.item_errors


async def test_unreadable_jobs_are_reported_and_the_others_kept(respx_mock: respx.MockRouter) -> None:
    trial = await answered(respx_mock, board([job(1), job(2, url="javascript:alert(1)"), 7]))
    assert trial.ids == ["engineer-1"]
    assert [(error.index, error.field) for error in trial.item_errors] == [(1, "url"), (2, None)]


async def test_a_job_of_lists_in_lists_harms_nothing(respx_mock: respx.MockRouter) -> None:
    deep = json.dumps(board([job(1), job(2)])).replace('["Engineering"]', "[" * 150 + "]" * 150)
    trial = await answered(respx_mock, httpx.Response(200, content=deep))
    assert trial.ids == ["engineer-1", "engineer-2"]


def test_parameters_that_are_wrong() -> None:
    with pytest.raises(SiteError, match="search_term: is required"):
        SOURCE.validate("arbeitnow", {})


@given(json_values | json_values.map(lambda value: {"data": value}))
def test_any_page_is_read_or_refused(payload: Json) -> None:
    items_of(SOURCE, payload)


FIELDS = ("slug", "title", "url", "created_at", "tags", "job_types", "location", "remote", "description")


@hostile(30)
@given(
    st.binary(max_size=50)
    | json_values.map(lambda value: json.dumps(value).encode())
    | json_values.map(lambda value: json.dumps({"data": [job(1)], "links": value}).encode())
    | st.dictionaries(st.sampled_from(FIELDS), json_values | st.integers(0, 10**20)).map(
        lambda fields: json.dumps(board([job(1), job(2, **fields)])).encode()
    )
)
async def test_any_response_gives_pages_or_a_site_error(body: bytes) -> None:
    with respx.mock as router:
        router.get(ADDRESS).respond(200, content=body)
        trial = await search_source(ArbeitnowSource(), ENGINEER | {"location": "Berlin", "hours_old": 48})
    assert trial.error is not None or trial.pages[-1].is_last
