"""The real JobSpy scrapers against played boards. The boards answer on the test's own event loop: a scrape that
blocked it would never get an answer."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jobspy import SCRAPER_MAPPING, scrape_jobs
from jobspy.model import Site

from worker.local.boards import Boards, Failure
from worker.model import ErrorCode, Item, Json, Page, SiteError
from worker.sources.jobspy import JobSpySettings, JobSpySource
from worker.sources.jobspy_scrape import CALLS

SITES = tuple(JobSpySource.sites)


@pytest.fixture
async def boards() -> AsyncIterator[Boards]:
    async with Boards() as running:
        yield running
        assert running.refused == []


def source_for(boards: Boards, site_timeout_seconds: float = 60.0) -> JobSpySource:
    return JobSpySource(
        JobSpySettings(
            proxies=(boards.proxy_url,),
            ca_cert=boards.ca_cert,
            site_timeout_seconds=site_timeout_seconds,
            page_delay_seconds=(0.0, 0.0),
        )
    )


def parameters(site: str, **changes: Any) -> dict[str, Any]:
    return {"sites": [site], "search_term": "manager"} | changes


async def collect(pages: AsyncGenerator[Page, None]) -> tuple[list[Page], SiteError | None]:
    collected: list[Page] = []
    while True:
        try:
            collected.append(await anext(pages))
        except StopAsyncIteration:
            return collected, None
        except SiteError as error:
            return collected, error


async def search(source: JobSpySource, site: str, **changes: Any) -> tuple[list[Page], SiteError | None]:
    return await collect(source.fetch(site, parameters(site, **changes), None))


def rows_of(pages: list[Page]) -> list[dict[str, Json]]:
    rows: list[dict[str, Json]] = []
    for page in pages:
        assert isinstance(page.payload, dict)
        assert isinstance(page.payload["rows"], list)
        rows += [row for row in page.payload["rows"] if isinstance(row, dict)]
    return rows


def warnings_of(pages: list[Page]) -> list[Json]:
    warnings: list[Json] = []
    for page in pages:
        assert isinstance(page.payload, dict)
        assert isinstance(page.payload["warnings"], list)
        warnings += page.payload["warnings"]
    return warnings


def items_of(source: JobSpySource, site: str, pages: list[Page]) -> list[Item]:
    return [source.parse(site, record) for page in pages for record in source.records(site, page)]


def child_pids() -> list[int]:
    return [pid for child in multiprocessing.active_children() if (pid := child.pid) is not None]


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("site", SITES)
async def test_every_site_is_searched(boards: Boards, site: str) -> None:
    source = source_for(boards)
    pages, error = await search(source, site, results_wanted=30)
    assert error is None
    items = items_of(source, site, pages)
    listed = {listing.id for listing in boards.listings if listing.site == site}
    assert items
    assert len(items) == len(rows_of(pages)) <= 30
    assert len({item.external_id for item in items}) == len(items)
    assert {item.external_id.partition("-")[2] for item in items} <= listed
    assert [page.number for page in pages] == list(range(1, len(pages) + 1))
    assert sum(page.calls_used for page in pages) >= 1
    json.dumps([page.payload for page in pages], allow_nan=False)


@pytest.mark.parametrize("hours_old", [None, 300])
@pytest.mark.parametrize("site", CALLS)
async def test_several_calls_bring_what_one_would(
    boards: Boards, site: str, hours_old: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SCRAPER_MAPPING[Site(site)], "delay", (0.0, 0.0))
    term = "chef" if site == "hellowork" else "manager"
    at_once = await asyncio.to_thread(
        scrape_jobs,
        site_name=site,
        search_term=term,
        results_wanted=1000,
        hours_old=hours_old,
        proxies=[boards.proxy_url],
        ca_cert=boards.ca_cert,
        country_indeed="usa",
    )
    pages, error = await search(source_for(boards), site, search_term=term, results_wanted=1000, hours_old=hours_old)
    assert error is None
    ids = [row["id"] for row in rows_of(pages)]
    assert sorted(map(str, ids)) == sorted(at_once["id"])
    assert len(ids) > CALLS[site].page or site == "hellowork"
    assert all(0 < len(rows_of([page])) <= 100 for page in pages)


@pytest.mark.parametrize("site", ["linkedin", "indeed", "zip_recruiter"])
async def test_no_more_comes_than_is_wanted(boards: Boards, site: str) -> None:
    pages, error = await search(source_for(boards), site, results_wanted=125)
    assert error is None
    assert len(rows_of(pages)) == 125


async def test_only_the_days_since_are_asked_for(boards: Boards) -> None:
    source, since = source_for(boards), datetime.now(UTC) - timedelta(hours=30)

    async def ages(newer_than: datetime | None, **changes: Any) -> list[timedelta]:
        searched = source.fetch("indeed", parameters("indeed", results_wanted=1000, **changes), newer_than)
        pages, error = await collect(searched)
        assert error is None
        ids = {str(row["id"]).removeprefix("in-") for row in rows_of(pages)}
        posted = [listing.posted for listing in boards.listings if listing.id in ids]
        return sorted(datetime.now(UTC) - time for time in posted)

    of_two_days = await ages(since)
    assert of_two_days
    assert timedelta(hours=30) < of_two_days[-1] < timedelta(hours=49)
    assert len(await ages(since, hours_old=500)) == len(of_two_days)
    assert (await ages(since, hours_old=24))[-1] < timedelta(hours=25)
    assert (await ages(None))[-1] > timedelta(hours=49)


async def test_descriptions_are_fetched_where_the_search_has_none(boards: Boards) -> None:
    source = source_for(boards)
    for site in SITES:
        plain, _ = await search(source, site, results_wanted=10)
        described, error = await search(source, site, results_wanted=10, fetch_description=True)
        assert error is None
        assert any(row["description"] for row in rows_of(described)), site
        assert any(row["description"] for row in rows_of(plain)) is (site == "indeed")


async def test_pages_come_while_the_search_goes_on(boards: Boards) -> None:
    boards.fail("linkedin", Failure.HANG, from_page=3)
    pages = source_for(boards).fetch("linkedin", parameters("linkedin", results_wanted=50), None)
    first, second = await anext(pages), await anext(pages)
    assert [len(rows_of([page])) for page in (first, second)] == [10, 10]
    await boards.wait_for_requests("linkedin", 3)
    (pid,) = child_pids()
    assert running(pid)
    await pages.aclose()
    assert not running(pid)
    assert child_pids() == []


async def test_cancelling_the_task_kills_the_scrape(boards: Boards) -> None:
    boards.fail("indeed", Failure.HANG)
    task = asyncio.create_task(search(source_for(boards), "indeed"))
    await boards.wait_for_requests("indeed", 1)
    (pid,) = child_pids()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not running(pid)


@pytest.mark.parametrize("failure", [Failure.DRIP, Failure.HANG])
async def test_time_limit_kills_the_scrape_and_keeps_what_came_before(boards: Boards, failure: Failure) -> None:
    source = source_for(boards, site_timeout_seconds=4.0)
    await search(source, "bdjobs")  # the first child takes longer to start
    boards.fail("linkedin", failure, from_page=2)
    pages, error = await search(source, "linkedin")
    assert len(rows_of(pages)) == 10
    assert error is not None
    assert (error.code, error.message) == (ErrorCode.TIMEOUT, "not finished after 4 s")
    assert child_pids() == []


CODES = {
    Failure.RATE_LIMITED: dict.fromkeys(SITES, ErrorCode.RATE_LIMITED),
    Failure.BLOCKED: dict.fromkeys(SITES, ErrorCode.BLOCKED),
    Failure.RESET: dict.fromkeys(SITES, ErrorCode.NETWORK),
    Failure.TRUNCATED: dict.fromkeys(SITES, ErrorCode.NETWORK),
    Failure.SERVER_ERROR: dict.fromkeys(SITES, ErrorCode.UPSTREAM),
    Failure.BAD_GATEWAY: dict.fromkeys(SITES, ErrorCode.UPSTREAM),
    Failure.SCHEMA_DRIFT: dict.fromkeys(SITES, ErrorCode.UNVERIFIED),
    # Where JobSpy takes a captcha for a page without jobs, or for JSON that it is not, nothing tells more.
    Failure.CAPTCHA: {
        "linkedin": ErrorCode.BLOCKED,
        "naukri": ErrorCode.BLOCKED,
        "bayt": ErrorCode.UNVERIFIED,
        "hellowork": ErrorCode.UNVERIFIED,
        "indeed": ErrorCode.UPSTREAM,
        "glassdoor": ErrorCode.UPSTREAM,
        "zip_recruiter": ErrorCode.UPSTREAM,
        "bdjobs": ErrorCode.UPSTREAM,
    },
}


@pytest.mark.parametrize("failure", CODES)
async def test_code_of_each_failure(boards: Boards, failure: Failure) -> None:
    source = source_for(boards)
    for site in SITES:
        boards.fail(site, failure)
    outcomes = await asyncio.gather(*(search(source, site) for site in SITES))
    assert {site: (pages, error and error.code) for site, (pages, error) in zip(SITES, outcomes, strict=True)} == {
        site: ([], CODES[failure][site]) for site in SITES
    }
    for _, error in outcomes:
        assert error is not None
        assert 0 < len(error.message) <= 300
        assert "\n" not in error.message


@pytest.mark.parametrize(("site", "rows"), [("linkedin", 10), ("zip_recruiter", 20), ("bayt", 30), ("naukri", 20)])
async def test_rows_before_a_failure_are_kept(boards: Boards, site: str, rows: int) -> None:
    boards.fail(site, Failure.RATE_LIMITED, from_page=2)
    pages, error = await search(source_for(boards), site, results_wanted=40)
    assert len(rows_of(pages)) == rows
    assert error is not None
    assert error.code is ErrorCode.RATE_LIMITED


async def test_search_goes_on_after_jobs_that_cannot_be_read(boards: Boards) -> None:
    boards.fail("linkedin", Failure.SCHEMA_DRIFT, requests=1)
    pages, error = await search(source_for(boards), "linkedin", results_wanted=60)
    ids = [str(row["id"]) for row in rows_of(pages)]
    assert error is None
    assert len(ids) == len(set(ids)) == 60


async def test_a_last_page_of_one_job_that_cannot_be_read_is_noticed(boards: Boards) -> None:
    source = source_for(boards)
    pages, _ = await search(source, "linkedin", search_term="teacher", results_wanted=100)
    assert len(rows_of(pages)) == 11
    boards.fail("linkedin", Failure.SCHEMA_DRIFT, from_page=2)
    pages, error = await search(source, "linkedin", search_term="teacher", results_wanted=100)
    assert len(rows_of(pages)) == 10
    assert error is not None
    assert error.code is ErrorCode.UNVERIFIED


async def test_drift_in_the_middle_of_a_search_is_noticed(boards: Boards) -> None:
    boards.fail("linkedin", Failure.SCHEMA_DRIFT, from_page=3)
    pages, error = await search(source_for(boards), "linkedin", results_wanted=200)
    assert len(rows_of(pages)) == 20
    assert error is not None
    assert error.code is ErrorCode.UNVERIFIED
    assert error.message == "30 of 50 jobs could not be read; the site may have changed: no title"
    # It does not read on through pages that it cannot read.
    assert len(boards.requests("linkedin")) == 5


@pytest.mark.parametrize("site", SITES)
async def test_search_without_jobs(boards: Boards, site: str) -> None:
    boards.fail(site, Failure.EMPTY)
    pages, error = await search(source_for(boards), site)
    if site in ("bayt", "hellowork"):
        assert pages == []
        assert error is not None
        assert error.code is ErrorCode.UNVERIFIED
    else:
        assert error is None
        assert [page.payload for page in pages] == [{"rows": [], "warnings": []}]


async def test_unknown_location(boards: Boards) -> None:
    source = source_for(boards)
    pages, error = await search(source, "glassdoor", location="Xyzzy")
    assert pages == []
    assert error is not None
    assert (error.code, error.code.retryable) == (ErrorCode.NOT_FOUND, False)
    pages, error = await search(source, "bdjobs", location="Xyzzy")
    assert error is None
    assert warnings_of(pages) == ["location 'Xyzzy' not found, searching all of Bangladesh"]


async def test_ignored_filter_is_reported_once_and_applied_where_the_rows_tell(boards: Boards) -> None:
    source = source_for(boards)
    plain, _ = await search(source, "linkedin", results_wanted=40, fetch_description=True)
    pages, error = await search(
        source, "linkedin", results_wanted=40, fetch_description=True, job_type="parttime", is_remote=True
    )
    assert error is None
    assert sorted(map(str, warnings_of(pages))) == [
        "is_remote isn't supported, ignoring it",
        "job_type isn't supported, ignoring it",
    ]

    def fits(row: dict[str, Json]) -> bool:
        job_types = row["job_type"]
        return not isinstance(job_types, list) or "parttime" in job_types

    expected = [row["id"] for row in rows_of(plain) if fits(row)]
    assert [row["id"] for row in rows_of(pages)] == expected
    assert 0 < len(expected) < 40


async def test_job_pages_that_cannot_be_read_make_the_search_incomplete() -> None:
    async with Boards(latency_ms=300) as boards:
        task = asyncio.create_task(search(source_for(boards), "linkedin", results_wanted=10, fetch_description=True))
        await boards.wait_for_requests("linkedin", 1)  # answered after the latency, and the job pages after it
        boards.fail("linkedin", Failure.RATE_LIMITED)
        pages, error = await task
    assert len(rows_of(pages)) == 10
    assert error is not None
    assert error.code is ErrorCode.RATE_LIMITED
    assert error.message.startswith("10 of 10 jobs have no description: response status code 429")


async def test_country_stands_in_for_a_location_where_the_site_knows_no_country(boards: Boards) -> None:
    source = source_for(boards)
    pages, _ = await search(source, "linkedin", country="Canada", results_wanted=10)
    assert {str(row["location"]).rpartition(", ")[2] for row in rows_of(pages)} == {"Canada"}


async def test_dead_proxy_is_a_network_failure(boards: Boards) -> None:
    source = JobSpySource(JobSpySettings(proxies=("http://127.0.0.1:1",), ca_cert=boards.ca_cert))
    outcomes = await asyncio.gather(*(search(source, site) for site in SITES))
    assert [error and error.code for _, error in outcomes] == [ErrorCode.NETWORK] * len(SITES)


@pytest.mark.parametrize("password", ["sekret", "s%40kret"])
async def test_messages_hide_the_password_of_a_proxy(password: str) -> None:
    # curl quotes a proxy that it cannot parse.
    source = JobSpySource(JobSpySettings(proxies=(f"http://user:{password}@no%host:80",)))
    outcomes = await asyncio.gather(*(search(source, site) for site in SITES))
    for _, error in outcomes:
        assert error is not None
        assert error.code is ErrorCode.NETWORK
        assert password not in error.message
    assert any("http://***@no%host:80" in error.message for _, error in outcomes if error)
