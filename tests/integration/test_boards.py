"""The played job boards, searched by JobSpy's own scrapers over verified HTTPS. Those with an API: test_api_boards."""

from __future__ import annotations

import asyncio
import html
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import jobspy
import pandas as pd
import pytest
import pytest_asyncio
from jobspy.util import RotatingProxySession

from worker.local.boards import SITES as PLAYED
from worker.local.boards import Boards, Failure, FailurePlan, Listing
from worker.local.boards import proxy as boards_proxy
from worker.local.boards.synthetic.jobs import JobType, Workplace
from worker.sources.jobspy import JobSpySource

pytestmark = pytest.mark.asyncio(loop_scope="module")

SITES = tuple(site for site in PLAYED if site in JobSpySource.sites)
REQUESTS_SITES = ("linkedin", "indeed", "bdjobs")
CURL_SITES = tuple(site for site in SITES if site not in REQUESTS_SITES)
PAGE_SIZES = {
    "linkedin": 10,
    "indeed": 100,
    "glassdoor": 100,
    "zip_recruiter": 20,
    "bayt": 30,
    "naukri": 20,
    "bdjobs": 52,  # fifty, and two premium ones on the first page
    "hellowork": 30,
}
ID_PREFIXES = {
    "linkedin": "li-",
    "indeed": "in-",
    "glassdoor": "gd-",
    "zip_recruiter": "zr-",
    "bayt": "bayt-",
    "naukri": "nk-",
    "bdjobs": "bd-",
    "hellowork": "hw-",
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared_boards() -> AsyncIterator[Boards]:
    async with Boards(seed=7) as boards:
        yield boards


@pytest.fixture
def boards(shared_boards: Boards) -> Boards:
    shared_boards.heal()
    shared_boards.forget_requests()
    return shared_boards


@pytest.fixture(autouse=True)
def _no_waits_between_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for scraper in jobspy.SCRAPER_MAPPING.values():
        if hasattr(scraper, "delay"):
            monkeypatch.setattr(scraper, "delay", (0, 0))


async def scrape(boards: Boards, site: str | list[str], **arguments: Any) -> pd.DataFrame:
    defaults: dict[str, Any] = {"proxies": [boards.proxy_url], "ca_cert": boards.ca_cert, "description_format": "html"}
    return await asyncio.to_thread(jobspy.scrape_jobs, site, **defaults | arguments)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def listed(boards: Boards, site: str, matches: Callable[[Listing], bool] = lambda _: True) -> dict[str, Listing]:
    """What JobSpy should find on `site`, by JobSpy's id. Indeed and Glassdoor show one country, the US if not told."""
    return {
        ID_PREFIXES[site] + listing.id: listing
        for listing in boards.listings
        if listing.site == site
        and (site not in ("indeed", "glassdoor") or listing.vacancy.country.code == "US")
        and matches(listing)
    }


def errors(jobs: pd.DataFrame) -> dict[str, str]:
    found: dict[str, str] = jobs.attrs["errors"]
    return found


def pages(boards: Boards, site: str) -> list[int]:
    return [request.page for request in boards.requests(site) if request.page is not None]


# Searching -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("site", SITES)
async def test_a_search_reads_every_page_to_the_end(boards: Boards, site: str) -> None:
    jobs = await scrape(boards, site, results_wanted=1000)
    expected = listed(boards, site)
    assert errors(jobs) == {}
    assert set(jobs["id"]) == set(expected)
    assert jobs["job_url"].is_unique
    for row in jobs.to_dict("records"):
        listing = expected[row["id"]]
        assert row["title"] == listing.title
        assert (row["company"] if isinstance(row["company"], str) else "") == (listing.company or "")
    last = -(-len(expected) // PAGE_SIZES[site])
    assert last >= 2
    assert pages(boards, site)[:last] == list(range(1, last + 1))


@pytest.mark.parametrize("site", SITES)
async def test_an_offset_goes_on_where_a_search_ended(boards: Boards, site: str) -> None:
    first = await scrape(boards, site, results_wanted=25)
    both = await scrape(boards, site, results_wanted=37)
    second = await scrape(boards, site, results_wanted=12, offset=25)
    assert len(second) == 12
    assert set(first["id"]) | set(second["id"]) == set(both["id"])


@pytest.mark.parametrize("site", SITES)
async def test_a_term_finds_listings_that_have_its_words(boards: Boards, site: str) -> None:
    jobs = await scrape(boards, site, search_term="Senior Engineers", results_wanted=500)
    expected = listed(boards, site, lambda listing: {"senior", "engineer"} <= listing.words)
    if site == "hellowork":  # mostly in French
        jobs = await scrape(boards, site, search_term="ingenieur", results_wanted=500)
        expected = listed(boards, site, lambda listing: "ingenieur" in listing.words)
    assert expected
    assert set(jobs["id"]) == set(expected)


@pytest.mark.parametrize("site", SITES)
async def test_a_term_that_nothing_has_finds_nothing(
    boards: Boards, site: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "jobspy"):
        jobs = await scrape(boards, site, search_term='xylophonist "{limit: 3}"')
    assert len(jobs) == 0
    assert jobs.attrs == {"errors": {}, "warnings": {}}
    assert caplog.records == []


LOCATIONS = {
    "linkedin": ("Berlin, Germany", "Berlin"),
    "indeed": ("Austin, TX", "Austin"),
    "glassdoor": ("St. Louis, MO", "St. Louis"),
    "zip_recruiter": ("Montreal", "Montréal"),
    "bayt": ("Dubai, UAE", "Dubai"),
    "naukri": ("Bangalore", "Bengaluru"),
    "bdjobs": ("Chittagong", "Chattogram"),
    "hellowork": ("Saint-Étienne", "Saint-Étienne"),
}


@pytest.mark.parametrize("site", SITES)
async def test_a_location_finds_what_is_there(boards: Boards, site: str) -> None:
    location, city = LOCATIONS[site]
    jobs = await scrape(boards, site, location=location, results_wanted=500)
    expected = listed(boards, site, lambda listing: bool(listing.place and listing.place.city == city))
    assert expected
    assert jobs.attrs == {"errors": {}, "warnings": {}}
    assert set(jobs["id"]) == set(expected)


@pytest.mark.parametrize("site", SITES)
async def test_an_unknown_location(boards: Boards, site: str) -> None:
    jobs = await scrape(boards, site, location="Atlantis", results_wanted=5)
    match site:
        case "glassdoor":
            assert errors(jobs) == {"glassdoor": "location 'Atlantis' not found"}
        case "bayt" | "bdjobs":
            (warning,) = jobs.attrs["warnings"][site]
            assert warning.startswith("location 'Atlantis' not found, searching all")
            assert len(jobs) == 5
        case _:
            assert jobs.attrs == {"errors": {}, "warnings": {}}
            assert len(jobs) == 0


@pytest.mark.parametrize(("country", "code"), [("uk", "GB"), ("germany", "DE"), ("italy", "IT")])
@pytest.mark.parametrize("site", ["indeed", "glassdoor"])
async def test_a_country_has_listings_of_its_own(boards: Boards, site: str, country: str, code: str) -> None:
    jobs = await scrape(boards, site, country_indeed=country, results_wanted=500)
    expected = {
        ID_PREFIXES[site] + listing.id
        for listing in boards.listings
        if listing.site == site and listing.vacancy.country.code == code
    }
    assert errors(jobs) == {}
    assert set(jobs["id"]) == expected


@pytest.mark.parametrize("site", [site for site in SITES if site != "linkedin"])
async def test_remote_jobs_alone(boards: Boards, site: str) -> None:
    jobs = await scrape(boards, site, is_remote=True, results_wanted=500)
    expected = listed(boards, site, lambda listing: listing.vacancy.workplace is Workplace.REMOTE)
    assert expected
    assert set(jobs["id"]) == set(expected)
    assert jobs["is_remote"].all()


@pytest.mark.parametrize("site", [site for site in SITES if site != "linkedin"])
async def test_internships_alone(boards: Boards, site: str) -> None:
    jobs = await scrape(boards, site, job_type="internship", results_wanted=500)
    expected = listed(boards, site, lambda listing: listing.vacancy.job_type is JobType.INTERNSHIP)
    assert jobs.attrs == {"errors": {}, "warnings": {}}
    assert expected
    assert set(jobs["id"]) == set(expected)


@pytest.mark.parametrize("site", ["indeed", "glassdoor", "zip_recruiter"])
@pytest.mark.parametrize("job_type", ["fulltime", "parttime", "contract", "temporary"])
async def test_one_job_type_alone(boards: Boards, site: str, job_type: str) -> None:
    jobs = await scrape(boards, site, job_type=job_type, results_wanted=500)
    expected = listed(boards, site, lambda listing: listing.vacancy.job_type == job_type)
    assert expected
    assert set(jobs["id"]) == set(expected)
    assert set(jobs["job_type"]) == {job_type}


@pytest.mark.parametrize("site", SITES)
async def test_new_jobs_alone(boards: Boards, site: str) -> None:
    jobs = await scrape(boards, site, hours_old=72, results_wanted=1000)
    newest = max(listing.posted for listing in boards.listings)
    young = listed(boards, site, lambda listing: newest - listing.posted < timedelta(hours=71))
    not_old = listed(boards, site, lambda listing: newest - listing.posted < timedelta(hours=73))
    assert young
    assert set(young) <= set(jobs["id"]) <= set(not_old)


@pytest.mark.parametrize("site", ["linkedin", "indeed", "glassdoor", "zip_recruiter", "bayt", "naukri"])
async def test_jobs_with_easy_apply_alone(boards: Boards, site: str) -> None:
    jobs = await scrape(boards, site, easy_apply=True, results_wanted=1000)
    expected = listed(boards, site, lambda listing: listing.vacancy.easy_apply)
    assert expected
    assert set(jobs["id"]) == set(expected)


async def test_jobs_of_some_companies_alone(boards: Boards) -> None:
    companies = [listing.vacancy.company for listing in listed(boards, "linkedin").values()]
    first, second = [company for company in dict.fromkeys(companies) if company][:2]
    jobs = await scrape(boards, "linkedin", linkedin_company_ids=[first.number, second.number], results_wanted=500)
    expected = listed(boards, "linkedin", lambda listing: listing.vacancy.company in (first, second))
    assert set(jobs["id"]) == set(expected)


async def test_all_boards_at_once(boards: Boards) -> None:
    jobs = await scrape(boards, list(SITES), results_wanted=40)
    assert jobs.attrs == {"errors": {}, "warnings": {}}
    assert jobs["site"].value_counts().to_dict() == dict.fromkeys(SITES, 40)


# What a listing tells ------------------------------------------------------------------------------------


def letters(text: str) -> str:
    return "".join(html.unescape(re.sub("<[^>]+>", "", text)).split())


@pytest.mark.parametrize("site", SITES)
async def test_descriptions_are_fetched(boards: Boards, site: str) -> None:
    jobs = await scrape(
        boards, site, fetch_description=True, description_format="plain", results_wanted=PAGE_SIZES[site]
    )
    expected = listed(boards, site)
    assert len(jobs) == PAGE_SIZES[site]
    for row in jobs.to_dict("records"):
        description = expected[row["id"]].description
        if description:
            assert letters(description) in letters(row["description"])
            mails = set(re.findall(r"jobs@[\w.-]+", description))
            assert mails <= set(row["emails"].split(", ") if isinstance(row["emails"], str) else ())
        elif site != "bdjobs":  # its description has sections of its own
            assert pd.isna(row["description"])


@pytest.mark.parametrize("site", [site for site in SITES if site != "indeed"])
async def test_without_being_asked_no_job_page_is_fetched(boards: Boards, site: str) -> None:
    jobs = await scrape(boards, site, results_wanted=10)
    assert jobs["description"].isna().all()
    assert len(pages(boards, site)) == 1


async def test_pay_is_told_in_every_interval_and_many_currencies(boards: Boards) -> None:
    found = [
        await scrape(boards, "indeed", country_indeed=country, results_wanted=300)
        for country in ("usa", "uk", "germany", "canada", "india")
    ]
    jobs = pd.concat(frame.dropna(axis="columns", how="all") for frame in found)
    assert set(jobs["interval"].dropna()) == {"yearly", "monthly", "weekly", "daily", "hourly"}
    assert set(jobs["currency"].dropna()) == {"USD", "GBP", "EUR", "CAD", "INR"}
    assert jobs["min_amount"].isna().any()


PAY_INTERVALS = {
    "linkedin": {"yearly", "monthly", "hourly"},
    "glassdoor": {"yearly", "monthly", "hourly"},
    "zip_recruiter": {"yearly", "monthly", "weekly", "daily", "hourly"},
    "bayt": {"monthly"},
    "naukri": {"yearly", "monthly"},
    "bdjobs": {"monthly"},
    "hellowork": {"yearly", "monthly", "daily", "hourly"},
}


@pytest.mark.parametrize("site", PAY_INTERVALS)
async def test_pay_is_told_as_the_board_tells_it(boards: Boards, site: str) -> None:
    jobs = await scrape(boards, site, results_wanted=250, fetch_description=site == "linkedin")
    assert set(jobs["interval"].dropna()) == PAY_INTERVALS[site]
    expected = listed(boards, site)
    for row in jobs.dropna(subset="min_amount").to_dict("records"):
        pay = expected[row["id"]].vacancy.pay
        assert pay is not None
        assert row["min_amount"] == pay.minimum


async def test_fields_are_missing_here_and_there(boards: Boards) -> None:
    jobs = await scrape(boards, ["indeed", "naukri", "bdjobs"], results_wanted=300, fetch_description=True)
    for column in ("company", "description", "min_amount", "emails", "job_url_direct"):
        assert 0 < jobs[column].isna().sum() < len(jobs)
    indeed = jobs[jobs["site"] == "indeed"]
    assert 0 < (indeed["location"].isna() | (indeed["location"] == "")).sum() < len(indeed)


async def test_one_job_is_found_on_several_boards_under_several_addresses(boards: Boards) -> None:
    sites = ["linkedin", "indeed", "glassdoor", "zip_recruiter"]
    jobs = await scrape(boards, sites, results_wanted=700)
    numbers = {job_id: listing.vacancy.number for site in sites for job_id, listing in listed(boards, site).items()}
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in jobs.to_dict("records"):
        found[numbers[row["id"]]].append(row)
    repeated = [rows for rows in found.values() if len(rows) > 1]
    assert len(repeated) >= 200
    assert all(len({row["job_url"] for row in rows}) == len(rows) for rows in repeated)
    for column in ("title", "company", "location"):
        assert any(len({row[column] for row in rows}) > 1 for rows in repeated)


# Failures ------------------------------------------------------------------------------------------------

STATUS_ERRORS = {
    Failure.RATE_LIMITED: r"^response status code 429 \(blocked: use a proxy\)$",
    Failure.BLOCKED: r"^response status code 403 \(blocked: use a proxy\)$",
    Failure.SERVER_ERROR: r"^response status code 500$",
    Failure.BAD_GATEWAY: r"^response status code 502$",
}
REQUESTS_ERRORS = STATUS_ERRORS | {
    Failure.RESET: r"ProxyError|Connection (reset|aborted)",
    Failure.TRUNCATED: r"IncompleteRead",
    Failure.HANG: r"Read timed out",
    Failure.DRIP: r"ended prematurely",
}
CURL_ERRORS = STATUS_ERRORS | {
    Failure.RESET: r"curl: \(56\) Recv failure",
    Failure.TRUNCATED: r"curl: \(18\)",
    Failure.HANG: r"curl: \(28\) Operation timed out after \d+ milliseconds with 0 bytes",
    Failure.DRIP: r"curl: \(28\) Operation timed out after \d+ milliseconds with [1-9]",
}
CAPTCHA_ERRORS = {
    "linkedin": r"^unexpected page with no jobs \(blocked\?\)$",
    "indeed": r"^Expecting value: line 1 column 1",
    "bdjobs": r"^Expecting value: line 1 column 1",
    "glassdoor": r"^Expecting value: line 1 column 1",
    "zip_recruiter": r"^no jobKeysMap or jobCards or jobCount in the page$",
    "naukri": r"^response status code 406 \(recaptcha required\)",
}


def assert_error(jobs: pd.DataFrame, site: str, failure: Failure) -> None:
    """Assert that JobSpy 1.4.1 reports what it is known to report, be it nothing."""
    by_failure = CURL_ERRORS if site in CURL_SITES else REQUESTS_ERRORS
    pattern = CAPTCHA_ERRORS.get(site) if failure is Failure.CAPTCHA else by_failure.get(failure)
    if pattern is None:
        assert errors(jobs) == {}
    else:
        assert re.search(pattern, errors(jobs)[site])


# JobSpy's boards have no plans whose quota could be exceeded.
IMMEDIATE = [failure for failure in Failure if failure not in (Failure.HANG, Failure.DRIP, Failure.QUOTA_EXCEEDED)]


@pytest.mark.parametrize("failure", IMMEDIATE)
@pytest.mark.parametrize("site", SITES)
async def test_a_failing_board_gives_no_rows(
    boards: Boards, site: str, failure: Failure, caplog: pytest.LogCaptureFixture
) -> None:
    boards.fail(site, failure)
    with caplog.at_level(logging.WARNING, "jobspy"):
        jobs = await scrape(boards, site, results_wanted=30)
    assert len(jobs) == 0
    assert_error(jobs, site, failure)
    skipped = [record for record in caplog.records if record.getMessage().startswith("skipping job: ")]
    assert bool(skipped) is (failure is Failure.SCHEMA_DRIFT)
    assert {request.failure for request in boards.requests(site)} == {failure}


@pytest.mark.parametrize("failure", IMMEDIATE)
@pytest.mark.parametrize("site", SITES)
async def test_a_board_that_fails_later_keeps_its_first_page(
    boards: Boards, site: str, failure: Failure, caplog: pytest.LogCaptureFixture
) -> None:
    boards.fail(site, failure, from_page=2)
    with caplog.at_level(logging.WARNING, "jobspy"):
        jobs = await scrape(boards, site, results_wanted=PAGE_SIZES[site] + 5)
    assert len(jobs) == PAGE_SIZES[site]
    assert_error(jobs, site, failure)
    if site == "linkedin" and failure is Failure.EMPTY:
        assert "empty page at start=10 (the end of the results, or throttled)" in caplog.messages


@pytest.mark.parametrize("site", SITES)
async def test_a_board_heals_after_so_many_requests(boards: Boards, site: str) -> None:
    boards.fail(site, Failure.RATE_LIMITED, requests=2)
    assert [len(await scrape(boards, site, results_wanted=5)) for _ in range(3)] == [0, 0, 5]
    assert boards.current_failures() == {}


async def test_a_healed_board_answers(boards: Boards) -> None:
    for site in SITES:
        boards.fail(site, Failure.BLOCKED)
    boards.heal("indeed")
    jobs = await scrape(boards, ["indeed", "bdjobs"], results_wanted=5)
    assert set(errors(jobs)) == {"bdjobs"}
    boards.heal()
    assert errors(await scrape(boards, list(SITES), results_wanted=5)) == {}


@pytest.mark.parametrize("site", SITES)
async def test_a_board_that_hangs_runs_into_the_timeout(
    boards: Boards, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RotatingProxySession, "request_timeout", 0.5)
    boards.fail(site, Failure.HANG)
    jobs = await scrape(boards, site)
    assert_error(jobs, site, Failure.HANG)


@pytest.mark.parametrize("site", CURL_SITES)
async def test_curl_gives_a_dripping_answer_up(boards: Boards, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RotatingProxySession, "request_timeout", 0.5)
    monkeypatch.setattr(boards_proxy, "DRIP_INTERVAL_SECONDS", 0.05)
    boards.fail(site, Failure.DRIP)
    jobs = await scrape(boards, site)
    assert_error(jobs, site, Failure.DRIP)


@pytest.mark.parametrize("site", REQUESTS_SITES)
async def test_a_dripping_answer_holds_requests_until_it_is_cut(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    timeout = 1.0
    monkeypatch.setattr(RotatingProxySession, "request_timeout", timeout)
    monkeypatch.setattr(boards_proxy, "DRIP_INTERVAL_SECONDS", timeout / 20)
    async with Boards(failures={site: Failure.DRIP}) as boards:
        search = asyncio.create_task(scrape(boards, site))
        await boards.wait_for_requests(site, 1)
        _, pending = await asyncio.wait({search}, timeout=2 * timeout)
        assert pending == {search}
    assert_error(await search, site, Failure.DRIP)


@pytest.mark.parametrize("site", REQUESTS_SITES + CURL_SITES[:1])
async def test_closing_cuts_what_hangs(site: str) -> None:
    async with Boards(failures={site: FailurePlan(failure=Failure.HANG, from_page=2)}) as boards:
        search = asyncio.create_task(scrape(boards, site, results_wanted=PAGE_SIZES[site] + 1))
        asked = await boards.wait_for_requests(site, 3 if site == "glassdoor" else 2)
        assert asked[-1].failure is Failure.HANG
        assert not search.done()
    jobs = await search
    assert len(jobs) == PAGE_SIZES[site]
    assert site in errors(jobs)


async def test_job_pages_answer_while_later_search_pages_fail(boards: Boards) -> None:
    boards.fail("linkedin", Failure.RATE_LIMITED, from_page=2)
    jobs = await scrape(boards, "linkedin", fetch_description=True, results_wanted=20)
    assert len(jobs) == 10
    assert jobs["description"].notna().any()


# Proxy and certificates ----------------------------------------------------------------------------------


@pytest.mark.parametrize("site", SITES)
async def test_certificates_are_verified(boards: Boards, site: str) -> None:
    jobs = await scrape(boards, site, ca_cert=None)
    assert re.search(r"CERTIFICATE_VERIFY_FAILED|curl: \(60\)", errors(jobs)[site])
    assert boards.requests(site) == []


@pytest.mark.parametrize("site", SITES)
async def test_the_certificate_of_another_run_is_not_trusted(boards: Boards, site: str) -> None:
    async with Boards() as others:
        jobs = await scrape(others, site, ca_cert=boards.ca_cert)
    assert re.search(r"CERTIFICATE_VERIFY_FAILED|curl: \(60\)", errors(jobs)[site])


@pytest.mark.parametrize("url", ["https://example.com/", "https://www.linkedin.com:8443/"])
async def test_a_host_that_is_not_played_is_refused(boards: Boards, url: str) -> None:
    async with httpx.AsyncClient(proxy=boards.proxy_url, timeout=10) as client:
        with pytest.raises(httpx.ProxyError, match="502"):
            await client.get(url)
    assert boards.refused == [url.removeprefix("https://").removesuffix("/") + (":443" if ":8" not in url else "")]


async def test_plain_http_is_not_forwarded(boards: Boards) -> None:
    async with httpx.AsyncClient(proxy=boards.proxy_url, timeout=10) as client:
        response = await client.get("http://example.com/control/requests")
    assert response.status_code == 502
    assert boards.refused == ["http://example.com/control/requests"]


async def test_the_server_listens_on_loopback_alone(boards: Boards) -> None:
    assert boards.proxy_url.startswith("http://127.0.0.1:")


async def test_answers_are_held_back() -> None:
    async with Boards(latency_ms=200) as boards:
        started = time.monotonic()
        await scrape(boards, "linkedin", results_wanted=20)
        assert time.monotonic() - started >= 0.4


async def test_the_temporary_certificate_is_removed() -> None:
    async with Boards() as boards:
        certificate = await asyncio.to_thread(boards.ca_cert.read_text)
        assert certificate.startswith("-----BEGIN CERTIFICATE-----")
    assert not await asyncio.to_thread(boards.ca_cert.parent.exists)


async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing(
    boards: Boards, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(OSError, match="address already in use"):
        await Boards(port=int(boards.proxy_url.rpartition(":")[2])).__aenter__()
    assert names_in(tmp_path) == []


async def test_bytes_that_are_no_http_end_the_connection(boards: Boards) -> None:
    port = int(boards.proxy_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x16\x03\x01 not a proxy request\r\n\r\n")
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("site", ["google", "LinkedIn", ""])
async def test_an_unknown_site_is_an_error(boards: Boards, site: str) -> None:
    with pytest.raises(ValueError, match="one of linkedin, indeed"):
        boards.fail(site, Failure.HANG)
    with pytest.raises(ValueError, match="one of linkedin, indeed"):
        boards.requests(site)
    with pytest.raises(ValueError, match="one of linkedin, indeed"):
        boards.heal(site)


# The control endpoint ------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def control(boards: Boards) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=boards.control_url, timeout=10) as client:
        yield client


async def test_failures_are_ordered_over_http(boards: Boards, control: httpx.AsyncClient) -> None:
    order = {"failure": "rate_limited", "from_page": 2, "requests": 3}
    response = await control.put("/failures/linkedin", json=order)
    assert response.json() == {"linkedin": order}
    jobs = await scrape(boards, "linkedin", results_wanted=15)
    assert "429" in errors(jobs)["linkedin"]
    assert (await control.get("/failures")).json() == {"linkedin": order | {"requests": 2}}
    assert (await control.delete("/failures/linkedin")).json() == {}
    assert errors(await scrape(boards, "linkedin", results_wanted=15)) == {}


async def test_rules_for_exits_are_ordered_over_http(control: httpx.AsyncClient) -> None:
    response = await control.put("/exits/linkedin", json={"pages": 3, "block_seconds": 60})
    assert response.status_code == 200
    assert (await control.get("/exits")).json()["linkedin"]["pages"] == 3
    assert (await control.put("/exits/linkedin", json={"pages": 0})).status_code == 400
    assert (await control.put("/exits/nowhere", json={})).status_code == 404
    assert (await control.post("/exits/linkedin")).status_code == 405
    assert (await control.delete("/exits/linkedin")).json() == {}


async def test_all_failures_are_cancelled_at_once(boards: Boards, control: httpx.AsyncClient) -> None:
    for site in PLAYED:
        boards.fail(site, Failure.HANG)
    assert set((await control.get("/failures")).json()) == set(PLAYED)
    assert (await control.delete("/failures")).json() == {}


async def test_requests_are_read_and_cleared_over_http(boards: Boards, control: httpx.AsyncClient) -> None:
    started_at = time.monotonic()
    await scrape(boards, "linkedin", search_term="nurse", results_wanted=5)
    log = (await control.get("/requests")).json()
    assert set(log["sites"]) == set(PLAYED)
    assert log["sites"]["linkedin"]["count"] == 1
    (at,) = log["sites"]["linkedin"]["at"]
    assert started_at <= at <= time.monotonic()
    (path,) = log["sites"]["linkedin"]["paths"]
    assert path.startswith("/jobs-guest/jobs/api/seeMoreJobPostings/search?keywords=nurse")
    cleared = (await control.delete("/requests")).json()
    assert {site["count"] for site in cleared["sites"].values()} == {0}
    assert boards.requests("linkedin") == []


@pytest.mark.parametrize(
    ("request_line", "body", "status", "message"),
    [
        ("PUT /failures/linkedin", {"failure": "sulking"}, 400, "failure: Input should be 'rate_limited'"),
        ("PUT /failures/linkedin", {"failure": "hang", "requests": 0}, 400, "requests: .* greater than"),
        ("PUT /failures/linkedin", {"failure": "hang", "page": 1}, 400, "page: Extra inputs"),
        ("PUT /failures/linkedin", {}, 400, "failure: Field required"),
        ("PUT /failures/linkedin", None, 400, "body: Invalid JSON"),
        ("PUT /failures/google", {"failure": "hang"}, 404, "no site 'google': one of linkedin"),
        ("DELETE /failures/google", None, 404, "no site 'google': one of linkedin"),
        ("POST /failures/linkedin", {"failure": "hang"}, 405, "PUT, DELETE"),
        ("PUT /requests", None, 405, "GET, DELETE"),
        ("GET /nothing", None, 404, "/control/failures"),
    ],
)
async def test_a_bad_request_says_what_is_allowed(
    control: httpx.AsyncClient, request_line: str, body: dict[str, object] | None, status: int, message: str
) -> None:
    method, path = request_line.split()
    response = await control.request(method, path, content=b"" if body is None else json.dumps(body))
    assert response.status_code == status
    (error,) = response.json()["errors"]
    assert re.search(message, error)


# The process ---------------------------------------------------------------------------------------------


@pytest.fixture
def start_process(tmp_path: Path) -> Any:
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "worker.local.boards", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_the_process_says_where_it_is_and_stops_cleanly(
    start_process: Callable[..., subprocess.Popen[str]], tmp_path: Path, stop: signal.Signals
) -> None:
    process = start_process("--json", "--fail", "linkedin=blocked:2", "--fail", "glassdoor=captcha", "--seed", "3")
    assert process.stdout is not None
    facts = json.loads(await asyncio.to_thread(process.stdout.readline))
    assert set(facts) == {"proxy_url", "ca_cert", "control_url", "credentials"}
    assert facts["credentials"] == Boards.credentials
    jobs = await asyncio.to_thread(
        jobspy.scrape_jobs,
        ["linkedin", "glassdoor", "indeed"],
        proxies=[facts["proxy_url"]],
        ca_cert=facts["ca_cert"],
        results_wanted=15,
    )
    assert jobs["site"].value_counts().to_dict() == {"indeed": 15, "linkedin": 10}
    assert set(errors(jobs)) == {"linkedin", "glassdoor"}
    async with httpx.AsyncClient(timeout=10) as client:
        failures = (await client.get(f"{facts['control_url']}/failures")).json()
    assert failures["linkedin"] == {"failure": "blocked", "from_page": 2, "requests": None}
    process.send_signal(stop)
    _, complaints = await asyncio.to_thread(process.communicate, timeout=20)
    assert (process.returncode, complaints) == (0, "")
    assert names_in(tmp_path) == []


async def test_the_process_stops_while_a_client_hangs(
    start_process: Callable[..., subprocess.Popen[str]],
) -> None:
    process = start_process("--json", "--fail", "linkedin=hang", "--fail", "indeed=drip")
    assert process.stdout is not None
    facts = json.loads(await asyncio.to_thread(process.stdout.readline))
    search = asyncio.create_task(
        asyncio.to_thread(
            jobspy.scrape_jobs,
            ["linkedin", "indeed"],
            proxies=[facts["proxy_url"]],
            ca_cert=facts["ca_cert"],
        )
    )
    async with httpx.AsyncClient(timeout=10) as client:
        while True:
            log = (await client.get(f"{facts['control_url']}/requests")).json()
            if log["sites"]["linkedin"]["count"] and log["sites"]["indeed"]["count"]:
                break
    process.send_signal(signal.SIGTERM)
    _, complaints = await asyncio.to_thread(process.communicate, timeout=20)
    assert (process.returncode, complaints) == (0, "")
    assert set(errors(await search)) == {"linkedin", "indeed"}


async def test_the_certificate_is_written_where_it_is_wanted(
    start_process: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    wanted = tmp_path / "authority.pem"
    process = start_process("--ca-cert", str(wanted))
    assert process.stdout is not None
    assert (await asyncio.to_thread(process.stdout.readline)).startswith("proxy_url")
    assert (await asyncio.to_thread(wanted.read_text)).startswith("-----BEGIN CERTIFICATE-----")


async def test_a_file_that_cannot_be_written_is_explained(
    start_process: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start_process("--ca-cert", str(tmp_path / "missing" / "ca.pem"))
    _, complaints = await asyncio.to_thread(process.communicate, timeout=20)
    assert process.returncode == 1
    assert "missing/ca.pem" in complaints
    assert "Traceback" not in complaints


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fail", "google=hang"], "site 'google' is not one of linkedin, indeed"),
        (["--fail", "indeed=sulking"], "failure 'sulking' is not one of rate_limited"),
        (["--fail", "indeed"], "failure '' is not one of rate_limited"),
        (["--fail", "indeed=hang:0"], "from_page '0' is not a page number from 1"),
        (["--fail", "indeed=hang:x"], "from_page 'x' is not a page number from 1"),
        (["--latency-ms", "-5"], "must not be negative"),
    ],
)
async def test_bad_arguments_are_explained(
    start_process: Callable[..., subprocess.Popen[str]], arguments: list[str], message: str
) -> None:
    process = start_process(*arguments)
    _, complaints = await asyncio.to_thread(process.communicate, timeout=20)
    assert process.returncode == 2
    assert message in complaints
