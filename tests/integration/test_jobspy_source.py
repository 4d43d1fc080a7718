"""The real JobSpy scrapers against played boards. The boards answer on the test's own event loop: a scrape that
blocked it would never get an answer."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jobspy import SCRAPER_MAPPING, scrape_jobs
from jobspy.model import Site

from worker import testing
from worker.errors import ErrorCode, ExitError, SiteError, SiteWaitingError
from worker.http import Exit, HttpSettings, SiteHttp, open_http
from worker.local.boards import Boards, Failure
from worker.local.boards.http import Request, Response
from worker.local.boards.sites.indeed import Indeed
from worker.local.boards.sites.search import Search as SiteSearch
from worker.local.boards.synthetic.jobs import Listing
from worker.model import Json, Observed, Page, Progress, Transformed
from worker.sources import Search
from worker.sources.jobspy import JobSpySettings, JobSpySource
from worker.sources.jobspy_sites import SITES as TRAITS

SITES = tuple(JobSpySource.sites)
TERMS = dict.fromkeys(SITES, "manager") | {"hellowork": "de"}  # it speaks French
SLICED = tuple(site for site, traits in TRAITS.items() if traits.slice_pages is not None)


@pytest.fixture
async def boards() -> AsyncIterator[Boards]:
    async with Boards() as running:
        yield running
        assert running.refused == []


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of so few pages that no board shows all of its jobs in one."""
    for site in SLICED:
        pages = TRAITS[site].slice_pages
        monkeypatch.setitem(TRAITS, site, replace(TRAITS[site], slice_pages=pages and min(2, pages)))


class PlayedSource(JobSpySource):
    """The source, and the exit through which it is tried."""

    def __init__(self, via: str, ca_cert: Path, page_delay_seconds: tuple[float, float] | None = (0.0, 0.0)) -> None:
        super().__init__(JobSpySettings(ca_cert=ca_cert, page_delay_seconds=page_delay_seconds))
        self.via = Exit(name="boards", address=via)


def source_for(boards: Boards) -> PlayedSource:
    return PlayedSource(boards.proxy_url, boards.ca_cert)


def parameters(site: str, **changes: Any) -> dict[str, Any]:
    return {"sites": [site], "search_term": TERMS[site]} | changes


async def pages_of(
    source: PlayedSource,
    site: str,
    *,
    after: Page | None = None,
    newer_than: datetime | None = None,
    progress: list[Progress] | None = None,
    timeout_seconds: float = 60,
    **changes: Any,
) -> AsyncGenerator[tuple[Page, Transformed], None]:
    """Search, from the beginning or after a page, which then has a cursor."""
    assert after is None or after.cursor is not None
    async with open_http(HttpSettings(exits=(source.via,))) as http:
        searched = testing.search(
            source,
            site,
            parameters(site, **changes),
            http,
            newer_than=newer_than,
            # As the database stores it.
            cursor=json.loads(json.dumps(after.cursor, allow_nan=False)) if after else None,
            next_page=after.number + 1 if after else 1,
            timeout_seconds=timeout_seconds,
            progress=progress,
        )
        async with aclosing(searched):
            async for found in searched:
                yield found


async def search(source: PlayedSource, site: str, **options: Any) -> tuple[list[Page], SiteError | None]:
    pages: list[Page] = []
    async with aclosing(pages_of(source, site, **options)) as found:
        try:
            async for page, _ in found:
                pages.append(page)
        except SiteError as error:
            return pages, error
    return pages, None


def search_pages(boards: Boards, site: str) -> list[int]:
    """The search pages that a site was asked for, in order."""
    return [request.page for request in boards.requests(site) if request.page is not None]


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


def ids_of(pages: list[Page]) -> list[str]:
    return [str(row["id"]) for row in rows_of(pages)]


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
    found = [found async for found in pages_of(source_for(boards), site, results_wanted=30)]
    pages = [page for page, _ in found]
    items = [item for _, transformed in found for item in transformed.items]
    listed = {listing.id for listing in boards.listings if listing.site == site}
    assert items
    assert len(items) == len(rows_of(pages)) <= 30
    assert len({item.external_id for item in items}) == len(items)
    assert {item.external_id.partition("-")[2] for item in items} <= listed
    assert [page.number for page in pages] == list(range(1, len(pages) + 1))
    assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
    assert all(page.is_last or (page.cursor is not None) is (site in SLICED) for page in pages)
    assert sum(page.calls_used for page in pages) == len(boards.requests(site))
    json.dumps([page.payload for page in pages], allow_nan=False)


@pytest.mark.parametrize("hours_old", [None, 300])
@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize("site", SLICED)
async def test_slices_bring_what_one_call_would(
    boards: Boards, site: str, hours_old: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SCRAPER_MAPPING[Site(site)], "delay", (0.0, 0.0))
    at_once = await asyncio.to_thread(
        scrape_jobs,
        site_name=site,
        search_term=TERMS[site],
        results_wanted=1000,
        hours_old=hours_old,
        proxies=[boards.proxy_url],
        ca_cert=boards.ca_cert,
        country_indeed="usa",
    )
    asked_at_once = search_pages(boards, site)
    boards.forget_requests()
    pages, error = await search(source_for(boards), site, results_wanted=1000, hours_old=hours_old)
    assert search_pages(boards, site) == asked_at_once
    assert error is None
    assert sorted(ids_of(pages)) == sorted(at_once["id"])
    assert len(ids_of(pages)) > TRAITS[site].page_jobs
    assert len(pages) > 1 or hours_old
    assert all(0 < len(rows_of([page])) <= 100 for page in pages if not page.is_last)


@pytest.mark.parametrize("site", ["linkedin", "indeed", "zip_recruiter"])
async def test_no_more_comes_than_is_wanted(boards: Boards, site: str) -> None:
    pages, error = await search(source_for(boards), site, results_wanted=125)
    assert error is None
    assert len(rows_of(pages)) == 125


async def test_only_the_days_since_are_asked_for(boards: Boards) -> None:
    source, since = source_for(boards), datetime.now(UTC) - timedelta(hours=30)

    async def ages(newer_than: datetime | None, **changes: Any) -> list[timedelta]:
        pages, error = await search(source, "indeed", results_wanted=1000, newer_than=newer_than, **changes)
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


async def test_closing_the_search_kills_it(boards: Boards) -> None:
    boards.fail("linkedin", Failure.HANG, from_page=3)
    source = source_for(boards)
    pages: list[Page] = []

    async def gather() -> None:
        async with aclosing(pages_of(source, "linkedin", results_wanted=50)) as found:
            async for page, _ in found:
                pages.append(page)

    task = asyncio.create_task(gather())
    await boards.wait_for_requests("linkedin", 3)
    assert [len(rows_of([page])) for page in pages] == [10, 10]
    (pid,) = child_pids()
    assert running(pid)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not running(pid)
    assert child_pids() == []


@pytest.mark.parametrize("failure", [Failure.DRIP, Failure.HANG])
async def test_time_limit_kills_the_scrape_and_keeps_what_came_before(boards: Boards, failure: Failure) -> None:
    source = source_for(boards)
    await search(source, "bdjobs")  # the first child takes longer to start
    boards.fail("linkedin", failure, from_page=2)
    pages, error = await search(source, "linkedin", timeout_seconds=4)
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
    Failure.CAPTCHA: dict.fromkeys(SITES, ErrorCode.BLOCKED),
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


@pytest.mark.parametrize(("site", "rows"), [("zip_recruiter", 20), ("bayt", 30), ("hellowork", 30)])
async def test_rows_before_a_bot_check_are_kept(boards: Boards, site: str, rows: int) -> None:
    boards.fail(site, Failure.CAPTCHA, from_page=2)
    pages, error = await search(source_for(boards), site, results_wanted=40)
    assert len(rows_of(pages)) == rows
    assert error is not None
    assert (error.code, pages[-1].is_last) == (ErrorCode.BLOCKED, False)


class Maintenance(Indeed):
    """Answers with a page that is no bot check."""

    def answer(self, request: Request) -> Response:  # noqa: ARG002
        return Response.html("<!DOCTYPE html><title>Down for maintenance: no proxy, no captcha</title>")


async def test_a_page_instead_of_json_is_no_block() -> None:
    async with Boards(instead={"indeed": Maintenance}) as boards:
        pages, error = await search(source_for(boards), "indeed")
    assert pages == []
    assert error is not None
    assert (error.code, error.message) == (
        ErrorCode.UPSTREAM,
        "the answer is HTML, not JSON: Down for maintenance: no proxy, no captcha",
    )


async def test_search_goes_on_after_jobs_that_cannot_be_read(boards: Boards) -> None:
    boards.fail("linkedin", Failure.SCHEMA_DRIFT, requests=1)
    pages, error = await search(source_for(boards), "linkedin", results_wanted=60)
    assert error is None
    assert len(ids_of(pages)) == len(set(ids_of(pages))) == 60
    assert search_pages(boards, "linkedin") == [1, 2, 3, 4, 5, 6, 7]


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
        assert [(page.payload, page.is_last) for page in pages] == [({"rows": [], "warnings": []}, True)]


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


@pytest.fixture
def understood(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, frozenset[str] | None]]:
    """The location and the countries of each search that a played board ran."""
    searches: list[tuple[str, frozenset[str] | None]] = []
    run = SiteSearch.run

    def note(self: SiteSearch, listings: Sequence[Listing], now: datetime) -> list[Listing]:
        searches.append((self.location, self.countries))
        return run(self, listings, now)

    monkeypatch.setattr(SiteSearch, "run", note)
    return searches


@pytest.mark.parametrize(
    ("site", "given", "asked"),
    [
        ("linkedin", {"location": "Manchester", "country": "uk"}, ("Manchester, United Kingdom", None)),
        ("linkedin", {"country": "Canada"}, ("Canada", None)),
        ("linkedin", {"location": "Remote, Germany"}, ("Germany", None)),
        ("indeed", {"location": "Berlin, Germany"}, ("Berlin", "DE")),
        ("indeed", {"location": "Germany"}, ("", "DE")),
        ("indeed", {"location": "Austin, TX"}, ("Austin, TX", "US")),
        ("zip_recruiter", {"location": "Montreal", "country": "canada"}, ("Montreal, Canada", None)),
        ("glassdoor", {"location": "Munich, Germany"}, ("Munich, Bavaria, Germany", None)),
        ("bayt", {"location": "Dubai"}, ("Dubai", "AE")),
        ("bayt", {"location": "Riyadh", "country": "SA"}, ("Riyadh", "SA")),
        ("naukri", {"location": "Pune, India"}, ("Pune", None)),
        ("bdjobs", {"location": "Dhaka, Bangladesh"}, ("Dhaka", None)),
        ("hellowork", {"location": "Nantes, France"}, ("Nantes", None)),
    ],
)
async def test_a_site_is_asked_where_the_user_looks(
    boards: Boards,
    understood: list[tuple[str, frozenset[str] | None]],
    site: str,
    given: dict[str, str],
    asked: tuple[str, str | None],
) -> None:
    pages, error = await search(source_for(boards), site, results_wanted=10, **given)
    assert error is None
    assert [warning for warning in warnings_of(pages) if "location" in str(warning)] == []
    assert rows_of(pages)
    location, countries = understood[0]
    assert location == asked[0]
    assert asked[1] is None or countries == frozenset({asked[1]})


@pytest.mark.parametrize("site", ["indeed", "glassdoor", "zip_recruiter", "naukri", "bdjobs"])
async def test_a_location_for_remote_work_is_the_filter_for_remote_work(boards: Boards, site: str) -> None:
    filtered, error = await search(source_for(boards), site, results_wanted=20, is_remote=True)
    assert error is None
    assert rows_of(filtered)
    by_location, error = await search(source_for(boards), site, results_wanted=20, location="Remote")
    assert error is None
    assert ids_of(by_location) == ids_of(filtered)


async def test_dead_proxy_is_a_network_failure(boards: Boards) -> None:
    source = PlayedSource("http://127.0.0.1:1", boards.ca_cert)
    outcomes = await asyncio.gather(*(search(source, site) for site in SITES))
    assert [error and error.code for _, error in outcomes] == [ErrorCode.NETWORK] * len(SITES)
    # The sites are not to blame.
    assert [error and error.message for _, error in outcomes if not isinstance(error, ExitError)] == []


@pytest.mark.parametrize("password", ["sekret", "s%40kret"])
async def test_messages_hide_the_password_of_a_proxy(boards: Boards, password: str) -> None:
    # curl quotes a proxy that it cannot parse.
    source = PlayedSource(f"http://user:{password}@no%host:80", boards.ca_cert)
    outcomes = await asyncio.gather(*(search(source, site) for site in SITES))
    for _, error in outcomes:
        assert error is not None
        assert error.code is ErrorCode.NETWORK
        assert password not in error.message
    assert any("http://***@no%host:80" in error.message for _, error in outcomes if error)


# Going on within a search ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize(
    ("site", "wanted"), [("linkedin", 40), ("zip_recruiter", 130), ("naukri", 70), ("hellowork", 65)]
)
async def test_a_search_that_was_killed_goes_on_after_its_last_page(boards: Boards, site: str, wanted: int) -> None:
    source = source_for(boards)
    whole, _ = await search(source, site, results_wanted=wanted)
    assert len(whole) > 1
    asked = search_pages(boards, site)
    for saved in range(1, len(whole)):
        boards.forget_requests()
        async with aclosing(pages_of(source, site, results_wanted=wanted)) as found:
            before = [(await anext(found))[0] for _ in range(saved)]
        assert child_pids() == []
        after, error = await search(source_for(boards), site, after=before[-1], results_wanted=wanted)
        assert error is None
        assert ids_of(before + after) == ids_of(whole)
        assert [page.number for page in before + after] == list(range(1, len(whole) + 1))
        assert search_pages(boards, site) == asked


async def test_a_search_that_goes_on_ends_where_it_would_have(boards: Boards) -> None:
    source = source_for(boards)
    (first, *_), _ = await search(source, "linkedin", results_wanted=13)
    boards.forget_requests()
    rest, error = await search(source, "linkedin", after=first, results_wanted=13)
    assert error is None
    assert [(len(rows_of([page])), page.is_last) for page in rest] == [(3, True)]
    assert search_pages(boards, "linkedin") == [2]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure.RATE_LIMITED, ErrorCode.RATE_LIMITED),
        (Failure.BLOCKED, ErrorCode.BLOCKED),
        (Failure.CAPTCHA, ErrorCode.BLOCKED),
        (Failure.RESET, ErrorCode.NETWORK),
    ],
)
async def test_a_failure_between_slices_keeps_the_place(boards: Boards, failure: Failure, code: ErrorCode) -> None:
    source = source_for(boards)
    whole, _ = await search(source, "linkedin", results_wanted=50)
    boards.forget_requests()
    boards.fail("linkedin", failure, from_page=4)
    before, error = await search(source, "linkedin", results_wanted=50)
    assert error is not None
    assert (error.code, error.is_final, error.retry_after_seconds) == (code, False, None)
    assert len(ids_of(before)) == 30
    boards.heal()
    after, error = await search(source, "linkedin", after=before[-1], results_wanted=50)
    assert error is None
    assert ids_of(before + after) == ids_of(whole)
    assert search_pages(boards, "linkedin") == [1, 2, 3, 4, 4, 5]


async def test_a_failure_within_a_slice_keeps_the_place(boards: Boards) -> None:
    source = source_for(boards)
    whole, _ = await search(source, "zip_recruiter", results_wanted=200)
    boards.forget_requests()
    boards.fail("zip_recruiter", Failure.RATE_LIMITED, from_page=3)
    before, error = await search(source, "zip_recruiter", results_wanted=200)
    assert error is not None
    assert error.code is ErrorCode.RATE_LIMITED
    assert [len(rows_of([page])) for page in before] == [40]
    boards.heal()
    after, error = await search(source, "zip_recruiter", after=before[-1], results_wanted=200)
    assert error is None
    assert sorted(ids_of(before + after)) == sorted(ids_of(whole))
    assert len(set(search_pages(boards, "zip_recruiter"))) + 1 == len(search_pages(boards, "zip_recruiter"))


async def test_time_limit_is_that_of_a_slice(boards: Boards) -> None:
    source = source_for(boards)
    await search(source, "bdjobs")  # the first child takes longer to start
    boards.fail("linkedin", Failure.HANG, from_page=3)
    before, error = await search(source, "linkedin", timeout_seconds=4, results_wanted=40)
    assert error is not None
    assert (error.code, error.message) == (ErrorCode.TIMEOUT, "not finished after 4 s")
    boards.heal()
    after, error = await search(source, "linkedin", after=before[-1], results_wanted=40)
    assert error is None
    assert [len(rows_of([page])) for page in before + after] == [10, 10, 10, 10]


async def test_what_was_unreadable_before_counts_for_a_search_that_goes_on(boards: Boards) -> None:
    source = source_for(boards)
    boards.fail("linkedin", Failure.SCHEMA_DRIFT, requests=1)
    before: list[Page] = []
    async with aclosing(pages_of(source, "linkedin", results_wanted=60)) as found:
        async for page, _ in found:
            before.append(page)
            if page.cursor is not None:
                break
    # Ten of less than fifty jobs were lost: another look at the first page may still find them.
    assert [page.cursor is None for page in before] == [True] * (len(before) - 1) + [False]
    assert len(rows_of(before)) == 50
    boards.fail("linkedin", Failure.SCHEMA_DRIFT, from_page=7, requests=1)
    after, error = await search(source, "linkedin", after=before[-1], results_wanted=60)
    assert len(rows_of(before + after)) == 60
    assert error is not None
    assert (error.code, error.message) == (
        ErrorCode.UNVERIFIED,
        "20 of 80 jobs could not be read; the site may have changed: no title",
    )


async def test_nobody_goes_on_after_pages_that_make_a_search_incomplete(boards: Boards) -> None:
    boards.fail("linkedin", Failure.SCHEMA_DRIFT, requests=2)
    pages, error = await search(source_for(boards), "linkedin", results_wanted=20)
    assert len(rows_of(pages)) == 20
    assert error is not None
    assert error.code is ErrorCode.UNVERIFIED
    assert [(page.cursor, page.is_last) for page in pages] == [(None, False)] * 2


@pytest.mark.parametrize("site", [site for site in SITES if site not in SLICED])
async def test_a_search_that_cannot_be_sliced_has_a_last_page_and_no_cursor(boards: Boards, site: str) -> None:
    pages, error = await search(source_for(boards), site, results_wanted=250)
    assert error is None
    assert [page.cursor for page in pages] == [None] * len(pages)
    assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
    boards.forget_requests()
    boards.fail(site, Failure.RATE_LIMITED, from_page=2)
    failed, error = await search(source_for(boards), site, results_wanted=250)
    assert error is not None
    assert [(page.cursor, page.is_last) for page in failed] == [(None, False)] * len(failed)


# Progress, permits, proxies -------------------------------------------------------------------------------


class CountedPermits:
    """Permits that are all granted, until there are no more of them."""

    via: Exit

    def __init__(self, granted: int = 1000) -> None:
        self.taken: list[tuple[str | None, int]] = []
        self._granted = granted

    async def take(self, bucket: str | None = None, requests: int = 1) -> Exit:
        if len(self.taken) == self._granted:
            raise SiteWaitingError("linkedin allows no more", 60)
        self.taken.append((bucket, requests))
        return self.via

    async def observe(self, observed: Observed, bucket: str | None = None) -> None:
        raise AssertionError(f"JobSpy tells nothing of limits, but {observed} of {bucket}")


async def ignore(progress: Progress) -> None:
    assert progress.step == "searching"


async def search_with(
    permits: CountedPermits,
    source: PlayedSource,
    site: str,
    report: Callable[[Progress], Awaitable[None]] = ignore,
    **changes: Any,
) -> tuple[list[Page], SiteWaitingError | None]:
    pages: list[Page] = []
    permits.via = source.via
    async with open_http() as http:
        asked = Search(
            site=site,
            parameters=parameters(site, **changes),
            http=SiteHttp(http, permits),
            permits=permits,
            report=report,
            timeout_seconds=60,
        )
        async with aclosing(source.fetch(asked)) as found:
            try:
                async for page in found:
                    pages.append(page)  # noqa: PERF401 (those before the end are wanted, too)
            except SiteWaitingError as waiting:
                return pages, waiting
    return pages, None


async def test_progress_is_told_while_jobspy_still_searches(boards: Boards) -> None:
    boards.fail("indeed", Failure.HANG, from_page=2)
    progress: asyncio.Queue[Progress] = asyncio.Queue()
    searched = search_with(CountedPermits(), source_for(boards), "indeed", results_wanted=300, report=progress.put)
    task = asyncio.create_task(searched)
    # Indeed's jobs come when all of its pages are read, and the second one never is.
    assert await progress.get() == Progress("searching", 0, 300, {"page": 1})
    assert await progress.get() == Progress("searching", 0, 300, {"page": 2})
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize("site", SLICED)
async def test_progress_names_the_page_of_the_site_and_counts_the_jobs(boards: Boards, site: str) -> None:
    source, progress = source_for(boards), list[Progress]()
    async with aclosing(pages_of(source, site, results_wanted=65, progress=progress)) as found:
        first, _ = await anext(found)
    await search(source, site, after=first, results_wanted=65, progress=progress)
    assert [told.details["page"] for told in progress if told.details] == search_pages(boards, site)
    counts = [told.current for told in progress if told.current is not None]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 65)
    assert {(told.step, told.total) for told in progress} == {("searching", 65)}


@pytest.mark.parametrize(
    ("site", "wanted", "taken"),
    [
        ("linkedin", 25, [1, 1, 1]),
        ("zip_recruiter", 130, [5, 2]),
        ("indeed", 250, [3]),
        ("bayt", 60, [2]),
    ],
)
async def test_each_call_has_a_permit_for_its_pages(boards: Boards, site: str, wanted: int, taken: list[int]) -> None:
    permits = CountedPermits()
    pages, _ = await search_with(permits, source_for(boards), site, results_wanted=wanted)
    assert permits.taken == [(None, requests) for requests in taken]
    assert len(boards.requests(site)) <= sum(taken)
    assert pages[-1].is_last


@pytest.mark.parametrize(
    ("site", "taken"),
    [
        ("linkedin", [(None, 1), ("linkedin:job_pages", 10), (None, 1), ("linkedin:job_pages", 2)]),
        ("glassdoor", [(None, 1), ("glassdoor:job_pages", 1)]),
        ("indeed", [(None, 1)]),
    ],
)
async def test_the_jobs_own_pages_have_permits_of_their_own(
    boards: Boards, site: str, taken: list[tuple[str | None, int]]
) -> None:
    permits, source = CountedPermits(), source_for(boards)
    pages, _ = await search_with(permits, source, site, results_wanted=12, fetch_description=True)
    assert permits.taken == taken
    assert all(bucket is None or bucket in source.limits for bucket, _ in taken)
    assert sum(page.calls_used for page in pages) == len(boards.requests(site))


async def test_a_search_without_a_permit_asks_for_nothing_and_keeps_its_place(boards: Boards) -> None:
    source = source_for(boards)
    before, waiting = await search_with(CountedPermits(granted=2), source, "linkedin", results_wanted=40)
    assert waiting is not None
    assert search_pages(boards, "linkedin") == [1, 2]
    assert child_pids() == []
    after, error = await search(source, "linkedin", after=before[-1], results_wanted=40)
    assert error is None
    assert search_pages(boards, "linkedin") == [1, 2, 3, 4]
    assert len(set(ids_of(before + after))) == 40


async def test_a_child_leaves_through_the_exit_of_its_permit(tmp_path: Path) -> None:
    async with Boards() as one, Boards() as another:
        both = tmp_path / "ca.pem"
        both.write_bytes(one.ca_cert.read_bytes() + another.ca_cert.read_bytes())
        source, permits = PlayedSource(one.proxy_url, both), CountedPermits()

        async def go_elsewhere(progress: Progress) -> None:
            permits.via = Exit(name="another", address=another.proxy_url if progress.current else one.proxy_url)

        await search_with(permits, source, "linkedin", go_elsewhere, results_wanted=40)
        assert (search_pages(one, "linkedin"), search_pages(another, "linkedin")) == ([1], [2, 3, 4])


@pytest.mark.parametrize(("given", "kept"), [(None, (3, 7)), ((0.5, 1.5), (0.5, 1.5))])
async def test_a_search_pauses_between_its_slices(
    boards: Boards,
    given: tuple[float, float] | None,
    kept: tuple[float, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = PlayedSource(boards.proxy_url, boards.ca_cert, given)
    pauses: list[tuple[float, float]] = []

    def no_pause(least: float, greatest: float) -> float:
        pauses.append((least, greatest))
        return 0.0

    monkeypatch.setattr(random, "uniform", no_pause)
    pages, _ = await search_with(CountedPermits(), source, "linkedin", results_wanted=30)
    assert len(pages) == 3
    assert pauses == [kept, kept]
