"""Rows as CSV."""

from __future__ import annotations

import httpx
import pytest
from supabase import AsyncClient

from tests.support.books import data, error

CSV = {"accept": "text/csv"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/books?select=id,title,pages&order=id", "id,title,pages\n1,Dune,412\n2,Emma,320\n3,Ulysses,730"),
        ("/books?select=id,kind,called:title&id=eq.2", "id,kind,called\n2,,Emma"),
        ("/books?select=tags,data->>by&id=eq.1", 'tags,by\n"{sand,spice}","{""name"": ""Herbert""}"'),
        ("/notes?select=id,books(title)&order=id&limit=1", 'id,books\n1,"{""title"": ""Dune""}"'),
        ("/books?select=id&id=eq.0", "\n"),
        ("/rpc/pairs?n=2", 'i,j\n1,"{""k"": 1}"\n2,"{""k"": 2}"'),
        ("/rpc/first_book?select=id,title", "id,title\n1,Dune"),
        ("/rpc/numbers", "pgrst_scalar\n1\n2\n3"),
        ("/rpc/add?a=1", "pgrst_scalar\n3"),
    ],
)
async def test_csv(http: httpx.AsyncClient, url: str, expected: str) -> None:
    response = await http.get(url, headers=CSV)
    assert (response.status_code, response.text) == (200, expected)
    assert response.headers["content-type"] == "text/csv; charset=utf-8"


async def test_what_belongs_to_a_response_in_csv(http: httpx.AsyncClient) -> None:
    response = await http.get("/books?select=id&limit=2", headers=CSV | {"prefer": "count=exact"})
    assert (response.status_code, response.headers["content-range"], response.text) == (206, "0-1/3", "id\n1\n2")
    head = await http.head("/books?select=id", headers=CSV)
    assert (head.status_code, head.text, head.headers["content-type"]) == (200, "", "text/csv; charset=utf-8")
    assert error(await http.get("/books?select=nothing", headers=CSV))[:2] == (400, "42703")
    first = await http.get("/books?select=id&id=eq.1", headers={"accept": "application/xml, text/csv, */*"})
    assert first.text == "id\n1"


async def test_changed_rows_as_csv(http: httpx.AsyncClient) -> None:
    kept = CSV | {"prefer": "return=representation"}
    added = await http.post("/texts", json=[{"id": 1, "value": "a,b"}, {"id": 2, "value": None}], headers=kept)
    assert (added.status_code, added.text) == (201, 'id,value\n1,"a,b"\n2,')
    # The names are those of the columns that the change returns, with the key. PostgREST does so.
    changed = await http.patch("/texts?id=eq.2&select=value", json={"value": "c"}, headers=kept)
    assert changed.text == "id,value\nc"


@pytest.mark.usefixtures("http")
async def test_csv_by_supabase_py(service: AsyncClient) -> None:
    assert await data(service.table("books").select("id, title").eq("id", 1).csv()) == "id,title\n1,Dune"
