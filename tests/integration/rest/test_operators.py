"""Full text search, the operators of ranges, and comparisons with any or all of an array."""

from __future__ import annotations

import httpx
import pytest
from postgrest.types import Filters
from supabase import AsyncClient

from tests.support.books import data, error


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("words=fts.spice", [1]),
        ("words=fts.spice|sand", [1, 2]),
        ("words=fts(english).flows", [1]),
        ("words=fts(simple).flows", []),
        ("words=not.fts.spice", [2]),
        ("words=plfts(english).The spice flowing", [1]),
        ("words=phfts(english).more sand", [2]),
        ("words=phfts(english).sand sand", []),
        ("words=wfts(english).spice or -flow", [1, 2]),
        ("domain_words=fts(english).sand", [2]),
        # What is no tsvector is made one.
        ("line=fts(english).cat", [1, 2]),
        ("line=fts( english ).cat", [1, 2]),
        ("line=fts(french).chat", [3]),
        ("line=not.plfts(english).cats", [3]),
        ("line=fts(simple).cat", [2]),
        ("data=fts(english).maker", [1]),
        ("data->>says=wfts(english).water", [2]),
        ("or=(words.fts.spice,line.wfts(french).chat)", [1, 3]),
        ('or=(line.plfts(english)."mouse, cats",words.not.fts.sand)', [1, 2]),
        ("years=sl.[1970,1972)", [1]),
        ("years=sr.[1960,1971)", [3]),
        ("years=nxr.[1900,1980)", [1, 2]),
        ("years=nxl.[1970,2000)", [2, 3]),
        ("years=adj.[1980,1985)", [2, 3]),
        ("years=not.adj.[1970,1971)", [2, 3]),
        ('or=(years.sl."[1970,1972)",id.eq.3)', [1, 3]),
        ("id=eq(any).{1,3}", [1, 3]),
        ("id=gte(all).{1,2}", [2, 3]),
        ("id=not.lt(any).{2}", [2, 3]),
        ("line=like(all).{*cat*,A*}", [2]),
        ("line=ilike(any).{*CHAT*,*mouse}", [2, 3]),
        ("line=match(any).{^A,^L}", [2, 3]),
        ("line=imatch(all).{cat,^the}", [1]),
        ("or=(id.eq(any).{1,2},line.like(all).{L*})", [1, 2, 3]),
    ],
)
async def test_operators(http: httpx.AsyncClient, condition: str, ids: list[int]) -> None:
    response = await http.get(f"/ranged?select=id&order=id&{condition}")
    assert (response.status_code, response.json()) == (200, [{"id": n} for n in ids])


async def test_text_search_of_what_is_embedded(http: httpx.AsyncClient) -> None:
    response = await http.get("/notes?select=id,books!inner(title)&books.title=fts(english).dunes&order=id")
    assert [note["id"] for note in response.json()] == [1, 2]


async def test_text_search_of_the_rows_of_a_function(http: httpx.AsyncClient) -> None:
    assert (await http.get("/rpc/all_books?select=id&title=plfts(english).Emmas")).json() == [{"id": 2}]
    # The columns of what is no table are searched as they are.
    assert (await http.get("/rpc/vectors?vector=plfts(simple).spice&select=id")).json() == [{"id": 1}]
    assert (await http.get("/rpc/vectors?line=plfts(simple).sleep&select=id")).json() == [{"id": 1}]
    assert (await http.get("/ranged?select=id&computed=plfts(simple).sleep")).json() == [{"id": 1}]


@pytest.mark.parametrize(
    ("condition", "code", "status"),
    [
        ("line=fts().cat", "PGRST100", 400),
        ("line=fts(no'config).cat", "PGRST100", 400),
        ("line=fts(klingon).cat", "42704", 400),
        ("line=fts.cat dog", "42601", 400),
        ("id=fts.1", "42883", 404),
        ("id=neq(any).{1}", "PGRST100", 400),
        ("id=eq(some).{1}", "PGRST100", 400),
        ("id=eq(any).1", "22P02", 400),
        ("line=sl.a", "42883", 404),
    ],
)
async def test_invalid_operators(http: httpx.AsyncClient, condition: str, code: str, status: int) -> None:
    assert error(await http.get(f"/ranged?{condition}"))[:2] == (status, code)


@pytest.mark.usefixtures("http")
async def test_text_search_by_supabase_py(service: AsyncClient) -> None:
    ranged = service.table("ranged")
    assert await data(ranged.select("id").text_search("words", "spice & flow", {"config": "english"})) == [{"id": 1}]
    websearch = {"type": "web_search", "config": "english"}
    assert await data(ranged.select("id").text_search("line", '"a mouse" -dog', websearch)) == [{"id": 2}]
    assert await data(ranged.select("id").range_adjacent("years", (1980, 1985))) == [{"id": 3}]
    assert await data(ranged.select("id").like_any_of("line", "%mouse,%chats%").order("id")) == [{"id": 2}, {"id": 3}]
    assert await data(ranged.select("id").filter("line", Filters.PLFTS, "cats")) == [{"id": 1}, {"id": 2}]
