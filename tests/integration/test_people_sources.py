"""People and creators, searched through the worker's own HTTP client in the played APIs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from worker.http import HttpClient, HttpSettings, open_http
from worker.local.boards import Boards, Failure
from worker.local.boards.people import EVERYBODY
from worker.local.boards.youtube import SEARCHES_A_DAY
from worker.model import ErrorCode, Json, Page, SiteError, Transformed
from worker.sources import Source
from worker.sources.unipile import UnipileSource
from worker.sources.youtube import YouTubeSource
from worker.trial import search

ACCOUNT = "acc-of-ada"


@pytest.fixture
async def boards() -> AsyncIterator[Boards]:
    async with Boards(seed=7) as played:
        yield played


@pytest.fixture
async def http(boards: Boards) -> AsyncIterator[HttpClient]:
    settings = HttpSettings(proxies=(boards.proxy_url,), ca_cert=boards.ca_cert, backoff_seconds=0)
    async with open_http(settings) as client:
        yield client


@pytest.fixture
def unipile(boards: Boards) -> UnipileSource:
    source = UnipileSource(boards.credentials["UNIPILE_DSN"], boards.credentials["UNIPILE_API_KEY"])
    source.limits = {}  # two seconds a page; the database's limits are tested with them
    return source


@pytest.fixture
def youtube(boards: Boards) -> YouTubeSource:
    return YouTubeSource(boards.credentials["YOUTUBE_API_KEY"])


async def find(
    source: Source,
    http: HttpClient,
    *,
    kept: list[tuple[Page, Transformed]] | None = None,
    most_pages: int = 1000,
    cursor: Json = None,
    next_page: int = 1,
    account: str | None = ACCOUNT,
    **parameters: Any,
) -> list[tuple[Page, Transformed]]:
    """Searches until the end, or until it is killed after so many pages; those before a failure are in `kept`."""
    pages = search(source, source.sites[0], parameters, http, account=account, cursor=cursor, next_page=next_page)
    found = [] if kept is None else kept
    async with aclosing(pages):
        async for page in pages:
            found.append(page)
            if len(found) == most_pages:
                break
    return found


def asked_pages(boards: Boards, site: str) -> list[int]:
    return [request.page for request in boards.requests(site) if request.page is not None]


async def test_2500_prospects_with_a_kill_in_the_middle(
    boards: Boards, http: HttpClient, unipile: UnipileSource
) -> None:
    parameters: dict[str, Any] = {"search_term": EVERYBODY, "api": "sales_navigator", "results_wanted": 2500}
    before = await find(unipile, http, most_pages=11, **parameters)
    last = before[-1][0]
    after = await find(unipile, http, cursor=last.cursor, next_page=last.number + 1, **parameters)
    pages = before + after
    assert [page.number for page, _ in pages] == list(range(1, 26))
    assert [page.is_last for page, _ in pages] == [False] * 24 + [True]
    assert asked_pages(boards, "unipile") == list(range(1, 26))
    assert [error for _, read in pages for error in read.errors] == []
    assert len({item.external_id for _, read in pages for item in read.items}) == 2500
    assert boards.refused == []


@pytest.mark.parametrize(("api", "people"), [("classic", 1000), ("recruiter", 2500)])
async def test_each_search_shows_as_many_as_it_has(
    api: str, people: int, http: HttpClient, unipile: UnipileSource
) -> None:
    pages = await find(unipile, http, search_term=EVERYBODY, api=api, results_wanted=2500)
    items = [item for _, read in pages for item in read.items]
    assert len({item.external_id for item in items}) == len(items) == people
    anonymous = [item for item in items if "is_anonymous" in item.data]
    assert 0 < len(anonymous) < len(items) / 10


@pytest.mark.parametrize("api", ["classic", "sales_navigator", "recruiter"])
async def test_each_filter_reaches_each_search(api: str, http: HttpClient, unipile: UnipileSource) -> None:
    filters: dict[str, Any] = {"locations": ["Germany", "Paris"], "job_title": "engineer", "network_distance": [2]}
    pages = await find(unipile, http, search_term=EVERYBODY, api=api, results_wanted=1000, **filters)
    items = [item for _, read in pages for item in read.items]
    assert {(item.location or "").rpartition(", ")[2] for item in items} == {"Germany", "France"}
    assert all("engineer" in str(item.data["headline"]).casefold() for item in items)
    assert {item.data["network_distance"] for item in items} == {"DISTANCE_2"}


@pytest.mark.parametrize(
    ("account", "api", "told"),
    [
        ("disconnected", "classic", "reconnect it"),
        ("unknown", "classic", "connect it again"),
        ("classic-only", "recruiter", "no subscription for recruiter"),
    ],
)
async def test_what_an_account_lacks_is_told(
    account: str, api: str, told: str, http: HttpClient, unipile: UnipileSource
) -> None:
    with pytest.raises(SiteError, match=told) as raised:
        await find(unipile, http, account=account, search_term=EVERYBODY, api=api)
    assert (raised.value.code, raised.value.is_final) == (ErrorCode.UNAUTHORIZED, True)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure.RATE_LIMITED, ErrorCode.RATE_LIMITED),
        (Failure.SERVER_ERROR, ErrorCode.UPSTREAM),
        (Failure.BLOCKED, ErrorCode.UNAUTHORIZED),
        (Failure.SCHEMA_DRIFT, ErrorCode.UNVERIFIED),
        (Failure.CAPTCHA, ErrorCode.UPSTREAM),
        (Failure.RESET, ErrorCode.NETWORK),
        (Failure.TRUNCATED, ErrorCode.NETWORK),
    ],
)
@pytest.mark.parametrize("site", ["unipile", "youtube"])
async def test_a_failing_api(
    *, site: str, failure: Failure, code: ErrorCode, boards: Boards, http: HttpClient, request: pytest.FixtureRequest
) -> None:
    source: Source = request.getfixturevalue(site)
    boards.fail(site, failure)
    with pytest.raises(SiteError) as raised:
        await find(source, http, search_term="gardening")
    assert raised.value.code is code


async def test_creators_with_a_kill_in_the_middle(boards: Boards, http: HttpClient, youtube: YouTubeSource) -> None:
    parameters: dict[str, Any] = {
        "search_term": "gardening", "language": "en", "active_within_days": 90, "min_subscribers": 500,
    }  # fmt: skip
    [(first, read_first)] = await find(youtube, http, most_pages=1, **parameters)
    rest = await find(youtube, http, cursor=first.cursor, next_page=2, **parameters)
    assert asked_pages(boards, "youtube") == [1, 2]
    items = [item for read in (read_first, *(read for _, read in rest)) for item in read.items]
    assert 5 < len(items) < 40
    assert len({item.external_id for item in items}) == len(items)
    for item in items:
        assert item.data["language"] == "en"
        subscribers = item.data["subscribers"]
        assert isinstance(subscribers, int)
        assert subscribers >= 500


async def test_a_spent_quota_ends_a_search_with_what_it_found(
    boards: Boards, http: HttpClient, youtube: YouTubeSource
) -> None:
    for _ in range(SEARCHES_A_DAY - 1):
        await find(youtube, http, most_pages=1, search_term="nothing like this")
    found: list[tuple[Page, Transformed]] = []
    with pytest.raises(SiteError) as raised:
        await find(youtube, http, kept=found, search_term="chess", results_wanted=500)
    assert raised.value.code is ErrorCode.QUOTA_EXCEEDED
    assert [page.number for page, _ in found] == [1]
    assert boards.refused == []


async def test_another_key_is_refused(boards: Boards, http: HttpClient) -> None:
    for source in (UnipileSource(boards.credentials["UNIPILE_DSN"], "another"), YouTubeSource("another")):
        with pytest.raises(SiteError) as raised:
            await find(source, http, search_term="chess")
        assert (raised.value.code, raised.value.is_final) == (ErrorCode.UNAUTHORIZED, True)
        assert "_API_KEY" in raised.value.message
