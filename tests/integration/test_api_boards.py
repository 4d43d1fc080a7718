"""The played boards that have an API, searched by their sources over verified HTTPS, through the server as a proxy."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from tests.support.sources import Trial, search_source
from worker.errors import ErrorCode
from worker.http import HttpSettings
from worker.http.exits import exits_in_text
from worker.local.boards import Boards, Failure, Listing
from worker.local.boards.synthetic.jobs import JobType, Workplace
from worker.sources import Source
from worker.sources.arbeitnow import ArbeitnowSource
from worker.sources.fields import mapping
from worker.sources.jsearch import JSearchSettings, JSearchSource
from worker.sources.remotive import RemotiveSource

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = Boards.credentials["JSEARCH_API_KEY"]


def jsearch(key: str, **options: Any) -> JSearchSource:
    return JSearchSource(JSearchSettings(api_key=SecretStr(key), **options))


SOURCES: dict[str, Callable[[], Source]] = {
    "jsearch": lambda: jsearch(KEY),
    "arbeitnow": ArbeitnowSource,
    "remotive": RemotiveSource,
}
EVERYTHING = {"search_term": "the", "results_wanted": 1000}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared_boards() -> AsyncIterator[Boards]:
    async with Boards(seed=7) as boards:
        yield boards


@pytest.fixture
def boards(shared_boards: Boards) -> Boards:
    shared_boards.heal()
    shared_boards.forget_requests()
    return shared_boards


async def search(
    boards: Boards, source: Source, timeout_seconds: float = 30.0, /, *, cursor: Any = None, **parameters: Any
) -> Trial:
    settings = HttpSettings(
        exits=exits_in_text(f"boards={boards.proxy_url}"),
        ca_cert=boards.ca_cert,
        timeout_seconds=timeout_seconds,
        backoff_seconds=0,
    )
    return await search_source(source, parameters, settings=settings, cursor=cursor)


def listed(boards: Boards, site: str, matches: Callable[[Listing], bool] = lambda _: True) -> set[str]:
    """What a search should find, by the board's id: JSearch shows one country, the US if not told."""
    return {
        listing.id
        for listing in boards.listings
        if listing.site == site and (site != "jsearch" or listing.vacancy.country.code == "US") and matches(listing)
    }


def ids(trial: Trial) -> set[str]:
    """The boards' ids: Arbeitnow's are the ends of its slugs."""
    return {external_id.rpartition("-")[2] if "=" not in external_id else external_id for external_id in trial.ids}


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("host", ["jsearch.p.rapidapi.com", "api.openwebninja.com"])
async def test_jsearch_is_read_to_its_end_at_both_hosts_in_both_versions(
    boards: Boards, host: Any, version: Any
) -> None:
    trial = await search(boards, jsearch(KEY, host=host, version=version), search_term="manager", results_wanted=500)
    assert trial.error is None
    assert ids(trial) == listed(boards, "jsearch", lambda listing: "manager" in listing.words)
    assert len(trial.items) == len(set(trial.ids))
    assert {request.host for request in boards.requests("jsearch")} == {host}
    assert [request.page for request in boards.requests("jsearch")] == list(range(1, len(trial.pages) + 1))


@pytest.mark.parametrize("site", ["arbeitnow", "remotive"])
async def test_boards_are_read_whole(boards: Boards, site: str) -> None:
    trial = await search(boards, SOURCES[site](), **EVERYTHING)
    assert trial.error is None
    assert ids(trial) == listed(boards, site, lambda listing: "the" in listing.words)
    assert len(trial.items) > 100
    assert trial.progress[-1].details["read"] == len(listed(boards, site))
    assert len(trial.pages) == (1 if site == "remotive" else -(-len(listed(boards, site)) // 50))


@pytest.mark.parametrize("site", SOURCES)
async def test_a_term_finds_jobs_that_have_its_words_in_their_title(boards: Boards, site: str) -> None:
    trial = await search(boards, SOURCES[site](), search_term="Engineers", results_wanted=500)
    in_title = listed(boards, site, lambda listing: "engineer" in listing.title_words)
    assert in_title
    assert in_title <= ids(trial) <= listed(boards, site, lambda listing: "engineer" in listing.words)


async def test_places_types_and_ages_at_jsearch(boards: Boards) -> None:
    source = jsearch(KEY)
    found = await search(boards, source, search_term="manager", location="Austin, TX", results_wanted=300)
    assert ids(found) == listed(
        boards,
        "jsearch",
        lambda listing: "manager" in listing.words and bool(listing.place and listing.place.city == "Austin"),
    )
    found = await search(boards, source, search_term="manager", is_remote=True, results_wanted=300)
    assert {item.work_mode for item in found.items} == {"remote"}
    found = await search(boards, source, search_term="manager", job_type="internship", results_wanted=300)
    assert ids(found) == listed(
        boards,
        "jsearch",
        lambda listing: "manager" in listing.words and listing.vacancy.job_type is JobType.INTERNSHIP,
    )
    found = await search(boards, source, search_term="manager", hours_old=48, results_wanted=300)
    newest = max(listing.posted for listing in boards.listings)

    def is_within(hours: int) -> set[str]:
        return listed(
            boards,
            "jsearch",
            lambda listing: "manager" in listing.words and newest - listing.posted < timedelta(hours=hours),
        )

    assert is_within(47) <= ids(found) <= is_within(73)


@pytest.mark.parametrize(
    ("place", "country"), [({"country": "germany"}, "DE"), ({"location": "London, United Kingdom"}, "GB")]
)
async def test_a_country_has_jobs_of_its_own_at_jsearch(boards: Boards, place: dict[str, str], country: str) -> None:
    trial = await search(boards, jsearch(KEY), search_term="manager", results_wanted=100, **place)
    assert trial.items
    assert {item.country for item in trial.items} == {country}
    assert ids(trial) == {
        listing.id
        for listing in boards.listings
        if listing.site == "jsearch"
        and "manager" in listing.words
        and listing.place
        and listing.place.country.code == country
        and ("location" not in place or listing.place.city == "London")
    }


async def test_remotive_has_remote_jobs_alone(boards: Boards) -> None:
    trial = await search(boards, RemotiveSource(), **EVERYTHING)
    workplaces = {listing.vacancy.workplace for listing in boards.listings if listing.site == "remotive"}
    assert workplaces == {Workplace.REMOTE}
    assert any(item.salary_min for item in trial.items)
    assert {mapping(item.data["attribution"])["url"] for item in trial.items} == {item.url for item in trial.items}


@pytest.mark.parametrize("site", ["jsearch", "arbeitnow"])
async def test_no_page_is_fetched_twice(boards: Boards, site: str) -> None:
    whole = await search(boards, SOURCES[site](), **EVERYTHING)
    boards.forget_requests()
    boards.fail(site, Failure.BLOCKED, from_page=3)
    begun = await search(boards, SOURCES[site](), **EVERYTHING)
    assert begun.error is not None
    boards.heal()
    settings = HttpSettings(exits=exits_in_text(f"boards={boards.proxy_url}"), ca_cert=boards.ca_cert)
    resumed = await search_source(SOURCES[site](), EVERYTHING, settings=settings, cursor=begun.cursor, next_page=3)
    assert resumed.error is None
    answered = [request.page for request in boards.requests(site) if request.failure is None]
    assert answered == list(range(1, len(whole.pages) + 1))
    assert set(begun.ids) | set(resumed.ids) == set(whole.ids)


FAILURES = {
    Failure.RATE_LIMITED: ErrorCode.RATE_LIMITED,
    Failure.BLOCKED: ErrorCode.BLOCKED,
    Failure.CAPTCHA: ErrorCode.BLOCKED,
    Failure.RESET: ErrorCode.NETWORK,
    Failure.SERVER_ERROR: ErrorCode.UPSTREAM,
    Failure.BAD_GATEWAY: ErrorCode.UPSTREAM,
    Failure.SCHEMA_DRIFT: ErrorCode.UNVERIFIED,
    Failure.TRUNCATED: ErrorCode.NETWORK,
    Failure.HANG: ErrorCode.TIMEOUT,
    Failure.DRIP: ErrorCode.TIMEOUT,
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("site", SOURCES)
async def test_code_of_each_failure(boards: Boards, site: str, failure: Failure) -> None:
    boards.fail(site, failure)
    is_slow = failure in (Failure.HANG, Failure.DRIP)
    trial = await search(boards, SOURCES[site](), 0.3 if is_slow else 30.0, search_term="engineer")
    refused = site == "jsearch" and failure is Failure.BLOCKED
    assert trial.failure.code is (ErrorCode.UNAUTHORIZED if refused else FAILURES[failure])
    assert trial.items == []


async def test_a_plan_that_ends_mid_run(boards: Boards) -> None:
    boards.fail("jsearch", Failure.QUOTA_EXCEEDED, from_page=3)
    trial = await search(boards, jsearch(KEY), **EVERYTHING)
    assert trial.failure.code is ErrorCode.QUOTA_EXCEEDED
    assert trial.failure.retry_after_seconds is not None
    assert len(trial.pages) == 2


@pytest.mark.parametrize("site", SOURCES)
async def test_a_board_without_jobs(boards: Boards, site: str) -> None:
    boards.fail(site, Failure.EMPTY)
    trial = await search(boards, SOURCES[site](), search_term="engineer")
    assert (trial.error, trial.items, trial.pages[-1].is_last) == (None, [], True)


@pytest.mark.parametrize("host", ["jsearch.p.rapidapi.com", "api.openwebninja.com"])
async def test_a_wrong_key(boards: Boards, host: Any) -> None:
    trial = await search(boards, jsearch("another-key", host=host), search_term="engineer")
    assert (trial.failure.code, trial.failure.is_final) == (ErrorCode.UNAUTHORIZED, True)
    assert trial.failure.message.startswith(f"JSEARCH_API_KEY: {host} ")
    assert "another-key" not in trial.failure.message
    assert len(boards.requests("jsearch")) == 1


async def test_requests_are_kept_with_their_time(boards: Boards) -> None:
    began_at = time.monotonic()
    await search(boards, ArbeitnowSource(), **EVERYTHING)
    times = [request.at for request in boards.requests("arbeitnow")]
    assert len(times) >= 2
    seen = [began_at, *times, time.monotonic()]
    assert seen == sorted(seen)
