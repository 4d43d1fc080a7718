"""Tests of a source: the API is simulated, everything else is real."""

from __future__ import annotations

from contextlib import aclosing

import httpx
import pytest
import respx
from pydantic import SecretStr

from tests.example_source.hireboard import API, HireboardSettings, HireboardSource
from worker import ErrorCode, HttpSettings, Item, Json, Page, SiteError
from worker.testing import open_http, search

SOURCE = HireboardSource(HireboardSettings(api_key=SecretStr("k")))
NURSE = {"sites": ["hireboard"], "search_term": "nurse", "results_wanted": 120}


def jobs(first: int, count: int) -> list[dict[str, Json]]:
    return [
        {"id": f"h{number}", "title": "Nurse", "url": f"https://hireboard.example/{number}", "company": "Mercy"}
        for number in range(first, first + count)
    ]


def simulate(request: httpx.Request) -> httpx.Response:
    """Answer as the API does, which has 70 jobs."""
    offset, limit = (int(request.url.params[name]) for name in ("offset", "limit"))
    return httpx.Response(200, json={"jobs": jobs(offset, min(limit, 70 - offset))}, headers={"X-Quota-Left": "9"})


async def fetch(cursor: Json = None, next_page: int = 1) -> tuple[list[Page], list[Item]]:
    async with open_http(HttpSettings(backoff_seconds=0)) as http:
        pages = search(SOURCE, "hireboard", NURSE, http, cursor=cursor, next_page=next_page)
        async with aclosing(pages):
            found = [page async for page in pages]
    return [page for page, _ in found], [item for _, transformed in found for item in transformed.items]


@respx.mock
async def test_all_pages_are_fetched() -> None:
    route = respx.get(API).mock(side_effect=simulate)
    pages, items = await fetch()
    assert [(page.number, page.cursor, page.is_last) for page in pages] == [(1, 50, False), (2, 70, True)]
    assert [item.external_id for item in items] == [f"h{number}" for number in range(70)]
    assert all(call.request.headers["x-api-key"] == "k" for call in route.calls)


@respx.mock
async def test_a_search_continues_after_its_last_page() -> None:
    respx.get(API).mock(side_effect=simulate)
    pages, items = await fetch(cursor=50, next_page=2)
    assert [page.number for page in pages] == [2]
    assert [item.external_id for item in items] == [f"h{number}" for number in range(50, 70)]


@respx.mock
async def test_a_wrong_key_fails_the_site() -> None:
    respx.get(API).respond(401)
    with pytest.raises(SiteError) as raised:
        await fetch()
    assert (raised.value.code, raised.value.is_final) == (ErrorCode.UNAUTHORIZED, True)
