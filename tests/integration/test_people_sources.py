"""People and creators, searched through the worker's own HTTP client in the played APIs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from tests.support.sources import Trial, search_source
from worker.errors import ErrorCode
from worker.http import HttpSettings
from worker.http.exits import exits_in_text
from worker.local.boards import Boards, Failure
from worker.local.boards.sites.youtube import SEARCHES_A_DAY
from worker.local.boards.synthetic.people import EVERYBODY
from worker.model import Page
from worker.sources import Source
from worker.sources.unipile import UnipileSettings, UnipileSource
from worker.sources.youtube import YouTubeSettings, YouTubeSource

ACCOUNT = "acc-of-ada"


@pytest.fixture
async def boards() -> AsyncIterator[Boards]:
    async with Boards(seed=7) as played:
        yield played


@pytest.fixture
def http(boards: Boards) -> HttpSettings:
    return HttpSettings(exits=exits_in_text(f"boards={boards.proxy_url}"), ca_cert=boards.ca_cert, backoff_seconds=0)


def unipile_with(boards: Boards, key: str) -> UnipileSource:
    return UnipileSource(UnipileSettings(dsn=boards.credentials["UNIPILE_DSN"], api_key=SecretStr(key)))


@pytest.fixture
def unipile(boards: Boards) -> UnipileSource:
    return unipile_with(boards, boards.credentials["UNIPILE_API_KEY"])


@pytest.fixture
def youtube(boards: Boards) -> YouTubeSource:
    return YouTubeSource(YouTubeSettings(api_key=SecretStr(boards.credentials["YOUTUBE_API_KEY"])))


async def find(
    source: Source,
    http: HttpSettings,
    *,
    fails: bool = False,
    after: Page | None = None,
    stop_after: int | None = None,
    account: str | None = ACCOUNT,
    **parameters: Any,
) -> Trial:
    """Search; whether it fails has to be as expected."""
    trial = await search_source(
        source,
        parameters,
        settings=http,
        after=after,
        account=account,
        stop_after=stop_after,
    )
    assert (trial.error is not None) is fails, trial.error
    return trial


def asked_pages(boards: Boards, site: str) -> list[int]:
    return [request.page for request in boards.requests(site) if request.page is not None]


async def test_2500_prospects_with_a_kill_in_the_middle(
    boards: Boards, http: HttpSettings, unipile: UnipileSource
) -> None:
    parameters: dict[str, Any] = {"search_term": EVERYBODY, "api": "sales_navigator", "results_wanted": 2500}
    before = await find(unipile, http, stop_after=11, **parameters)
    after = await find(unipile, http, after=before.pages[-1], **parameters)
    pages = before.pages + after.pages
    assert [page.number for page in pages] == list(range(1, 26))
    assert [page.is_last for page in pages] == [False] * 24 + [True]
    assert asked_pages(boards, "unipile") == list(range(1, 26))
    assert before.item_errors + after.item_errors == []
    assert len({*before.ids, *after.ids}) == 2500
    assert boards.refused == []


@pytest.mark.parametrize(("api", "people"), [("classic", 1000), ("recruiter", 2500)])
async def test_each_search_shows_as_many_as_it_has(
    api: str, people: int, http: HttpSettings, unipile: UnipileSource
) -> None:
    items = (await find(unipile, http, search_term=EVERYBODY, api=api, results_wanted=2500)).items
    assert len({item.external_id for item in items}) == len(items) == people
    anonymous = [item for item in items if "is_anonymous" in item.data]
    assert 0 < len(anonymous) < len(items) / 10


@pytest.mark.parametrize("api", ["classic", "sales_navigator", "recruiter"])
async def test_each_filter_reaches_each_search(api: str, http: HttpSettings, unipile: UnipileSource) -> None:
    filters: dict[str, Any] = {"locations": ["Germany", "Paris"], "job_title": "engineer", "network_distance": [2]}
    items = (await find(unipile, http, search_term=EVERYBODY, api=api, results_wanted=1000, **filters)).items
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
    account: str, api: str, told: str, http: HttpSettings, unipile: UnipileSource
) -> None:
    failure = (await find(unipile, http, fails=True, account=account, search_term=EVERYBODY, api=api)).failure
    assert (failure.code, failure.is_final) == (ErrorCode.UNAUTHORIZED, True)
    assert told in failure.message


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure.RATE_LIMITED, ErrorCode.RATE_LIMITED),
        (Failure.SERVER_ERROR, ErrorCode.UPSTREAM),
        (Failure.BLOCKED, ErrorCode.UNAUTHORIZED),
        (Failure.SCHEMA_DRIFT, ErrorCode.UNVERIFIED),
        (Failure.CAPTCHA, ErrorCode.BLOCKED),
        (Failure.RESET, ErrorCode.NETWORK),
        (Failure.TRUNCATED, ErrorCode.NETWORK),
    ],
)
@pytest.mark.parametrize("site", ["unipile", "youtube"])
async def test_a_failing_api(
    *, site: str, failure: Failure, code: ErrorCode, boards: Boards, http: HttpSettings, request: pytest.FixtureRequest
) -> None:
    source: Source = request.getfixturevalue(site)
    boards.fail(site, failure)
    assert (await find(source, http, fails=True, search_term="gardening")).failure.code is code


async def test_creators_with_a_kill_in_the_middle(boards: Boards, http: HttpSettings, youtube: YouTubeSource) -> None:
    parameters: dict[str, Any] = {
        "search_term": "gardening", "language": "en", "active_within_days": 90, "min_subscribers": 500,
    }  # fmt: skip
    first = await find(youtube, http, stop_after=1, **parameters)
    rest = await find(youtube, http, after=first.pages[-1], **parameters)
    assert asked_pages(boards, "youtube") == [1, 2]
    items = first.items + rest.items
    assert 5 < len(items) < 40
    assert len({item.external_id for item in items}) == len(items)
    for item in items:
        assert item.data["language"] == "en"
        subscribers = item.data["subscribers"]
        assert isinstance(subscribers, int)
        assert subscribers >= 500


async def test_a_spent_quota_ends_a_search_with_what_it_found(
    boards: Boards, http: HttpSettings, youtube: YouTubeSource
) -> None:
    for _ in range(SEARCHES_A_DAY - 1):
        await find(youtube, http, stop_after=1, search_term="nothing like this")
    found = await find(youtube, http, fails=True, search_term="chess", results_wanted=500)
    assert found.failure.code is ErrorCode.QUOTA_EXCEEDED
    assert [page.number for page in found.pages] == [1]
    assert boards.refused == []


async def test_another_key_is_refused(boards: Boards, http: HttpSettings) -> None:
    youtube = YouTubeSource(YouTubeSettings(api_key=SecretStr("another")))
    for source in (unipile_with(boards, "another"), youtube):
        failure = (await find(source, http, fails=True, search_term="chess")).failure
        assert (failure.code, failure.is_final) == (ErrorCode.UNAUTHORIZED, True)
        assert "_API_KEY" in failure.message
