"""How the played Indeed reads the query that JobSpy writes."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobspy.indeed import Indeed as Scraper
from jobspy.model import ScraperInput

from worker.local.boards.http import Request, Response
from worker.local.boards.sites.indeed import Indeed
from worker.local.boards.sites.search import Search
from worker.local.boards.synthetic.listings import generate_listings

NOW = datetime(2026, 11, 22, tzinfo=UTC)
LISTINGS = [listing for listing in generate_listings(1, NOW) if listing.site == "indeed"]


def ask(query: str) -> Response:
    body = json.dumps({"query": query}).encode()
    return Indeed(LISTINGS, NOW).answer(Request("POST", "apis.indeed.com", "/graphql", {}, body))


def keys(response: Response) -> list[str]:
    results = json.loads(response.body)["data"]["jobSearch"]["results"]
    return [result["job"]["key"] for result in results]


@given(term=st.text(), location=st.sampled_from(["", "Austin, TX", 'limit: 3 cursor: "x" filters: [', "Chicago"]))
def test_any_term_is_read_as_it_was_meant(term: str, location: str) -> None:
    scraper = Scraper()
    scraper.scraper_input = ScraperInput.model_validate({"search_term": term, "location": location})
    query = scraper._build_query(scraper._build_filters(), None)  # noqa: SLF001 - its only way to a query
    expected = Search(term=term, location=location, countries=frozenset({"US"})).run(LISTINGS, NOW)
    assert keys(ask(query)) == [listing.id for listing in expected[:100]]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"query": "{ me { id } }"}', b'{"query": 3}', b"\xff"])
def test_a_body_without_a_search_is_a_bad_request(body: bytes) -> None:
    board = Indeed(LISTINGS, NOW)
    request = Request("POST", "apis.indeed.com", "/graphql", {}, body)
    assert board.page(request) is None
    assert board.answer(request).status == 400
