"""The companies' boards, searched at the played APIs: over TLS, with every listing that should be found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from worker.errors import ErrorCode, SiteError
from worker.http import HttpClient, HttpSettings, open_http
from worker.http.exits import exits_in_text
from worker.local.boards import Boards, Failure, Listing
from worker.model import Item
from worker.sources.ashby import AshbySource
from worker.sources.company_boards import CompanyBoards
from worker.sources.greenhouse import GreenhouseSource
from worker.sources.lever import LeverSource
from worker.testing import search

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOURCES = (GreenhouseSource, AshbySource, LeverSource)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def played() -> AsyncIterator[Boards]:
    async with Boards() as boards:
        yield boards


@pytest_asyncio.fixture(loop_scope="module")
async def boards(played: Boards) -> AsyncIterator[Boards]:
    yield played
    played.heal()
    played.forget_requests()


@pytest_asyncio.fixture(loop_scope="module")
async def http(boards: Boards) -> AsyncIterator[HttpClient]:
    async with open_http(
        HttpSettings(exits=exits_in_text(f"boards={boards.proxy_url}"), ca_cert=boards.ca_cert, backoff_seconds=0)
    ) as http:
        yield http


async def found(source: CompanyBoards, http: HttpClient, companies: list[str], **parameters: Any) -> dict[str, Item]:
    source.limits = {}  # the played site has no need of a pause
    wanted = {"results_wanted": 1000, source.boards: companies, **parameters}
    pages = search(source, source.name, wanted, http)
    items = [item async for _, transformed in pages for item in transformed.items]
    return {item.external_id.rpartition("/")[2]: item for item in items}


def listed(boards: Boards, site: str) -> dict[str, list[Listing]]:
    """Return what each company lists at a site, by the name of its board."""
    companies: dict[str, list[Listing]] = {}
    for listing in boards.listings:
        if listing.site == site and listing.vacancy.company:
            companies.setdefault(listing.vacancy.company.slug, []).append(listing)
    return companies


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
async def test_every_job_with_the_word_is_found(source: type[CompanyBoards], boards: Boards, http: HttpClient) -> None:
    companies = dict(list(listed(boards, source.name).items())[:15])
    # Every twelfth job at Ashby is for those alone who have its link.
    shown = [
        listing
        for listings in companies.values()
        for listing in listings
        if source is not AshbySource or listing.vacancy.number % 12
    ]
    wanted = {listing.id for listing in shown if "engineer" in listing.title_words}
    items = await found(source(), http, list(companies), search_term="engineer")
    assert wanted
    assert wanted <= items.keys()
    assert items.keys() <= {listing.id for listing in shown}
    assert not boards.refused


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
async def test_a_job_is_told_as_it_is_listed(source: type[CompanyBoards], boards: Boards, http: HttpClient) -> None:
    listing = next(
        listing
        for listings in listed(boards, source.name).values()
        for listing in listings
        if listing.pay and listing.pay.maximum and listing.city and listing.description and listing.vacancy.number % 12
    )
    company, pay, place = listing.vacancy.company, listing.pay, listing.place
    assert company
    assert pay
    assert place
    item = (await found(source(), http, [company.slug], search_term=f'"{listing.title}"'))[listing.id]
    assert item.title == listing.title
    assert (item.organization or "").lower().split()[0] in company.name.lower()
    assert (item.city, item.country) == (listing.city, place.country.code)
    assert (item.salary_min, item.salary_max, item.currency) == (pay.minimum, pay.maximum, pay.currency)
    assert (
        item.salary_interval
        == {"hour": "hourly", "day": "daily", "week": "weekly", "month": "monthly", "year": "yearly"}[pay.interval]
    )
    assert item.description
    assert item.apply_url


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure.RATE_LIMITED, ErrorCode.RATE_LIMITED),
        (Failure.BLOCKED, ErrorCode.BLOCKED),
        (Failure.CAPTCHA, ErrorCode.BLOCKED),
        (Failure.SERVER_ERROR, ErrorCode.UPSTREAM),
        (Failure.TRUNCATED, ErrorCode.NETWORK),
        (Failure.RESET, ErrorCode.NETWORK),
    ],
)
async def test_a_board_that_fails(
    source: type[CompanyBoards], boards: Boards, http: HttpClient, failure: Failure, code: ErrorCode
) -> None:
    company = next(iter(listed(boards, source.name)))
    boards.fail(source.name, failure)
    with pytest.raises(SiteError) as raised:
        await found(source(), http, [company], search_term="engineer")
    assert raised.value.code is code


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
async def test_a_company_that_has_no_board(source: type[CompanyBoards], http: HttpClient) -> None:
    with pytest.raises(SiteError, match="no such board: nobody") as raised:
        await found(source(), http, ["nobody"], search_term="engineer")
    assert raised.value.code is ErrorCode.NOT_FOUND


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
async def test_a_board_that_lists_nothing(source: type[CompanyBoards], boards: Boards, http: HttpClient) -> None:
    company = next(iter(listed(boards, source.name)))
    boards.fail(source.name, Failure.EMPTY)
    assert await found(source(), http, [company], search_term="engineer") == {}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
async def test_a_board_whose_fields_have_new_names(
    source: type[CompanyBoards], boards: Boards, http: HttpClient
) -> None:
    company, listings = next(iter(listed(boards, source.name).items()))
    boards.fail(source.name, Failure.SCHEMA_DRIFT)
    searching, unreadable = source(), 0
    searching.limits = {}
    wanted = {"search_term": "engineer", "results_wanted": 1000, searching.boards: [company]}
    async for _, transformed in search(searching, searching.name, wanted, http):
        assert not transformed.items
        unreadable += len(transformed.errors)
    assert 0 < unreadable <= len(listings)
