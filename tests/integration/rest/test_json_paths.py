"""JSON paths in what is selected, filtered and ordered."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from supabase import AsyncClient

from tests.support.books import data, error


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/books?select=data->by&id=eq.1", [{"by": {"name": "Herbert"}}]),
        ("/books?select=author:data->by->>name&id=eq.1", [{"author": "Herbert"}]),
        ("/books?select=id,data->isbn->0,last:data->isbn->>-1&id=eq.1", [{"id": 1, "isbn": 5, "last": "6"}]),
        ("/books?select=data->0&id=eq.1", [{"data": None}]),
        ("/books?select=data->isbn&id=in.(2,3)&order=id", [{"isbn": None}, {"isbn": None}]),
        ('/books?select=data->"by"->> name &id=eq.1', [{"name": "Herbert"}]),
        # What is not JSON is read as if it were.
        ("/books?select=tags->>1&id=eq.1", [{"tags": "spice"}]),
        ("/letters?select=content->to&id=eq.1", [{"to": {"a": 1}}]),
        ("/books?select=id&data->by->>name=eq.Joyce", [{"id": 3}]),
        ("/books?select=id&data->>by=is.null", [{"id": 2}]),
        ("/books?select=id&data->isbn=cs.[6]", [{"id": 1}]),
        ("/books?select=id&data->isbn->0=eq.5", [{"id": 1}]),
        ("/books?select=id&data->by->>name=not.in.(Joyce)", [{"id": 1}]),
        ("/books?select=id&or=(data->by->>name.eq.Joyce,data->isbn->>0.eq.5)&order=id", [{"id": 1}, {"id": 3}]),
        ("/books?select=id&order=data->by->>name.desc.nullslast", [{"id": 3}, {"id": 1}, {"id": 2}]),
        ("/books?select=id&order=data->isbn->0.nullsfirst,id", [{"id": 2}, {"id": 3}, {"id": 1}]),
        ("/rpc/all_books?select=id&data->by->>name=eq.Joyce", [{"id": 3}]),
        ("/rpc/pairs?n=2&select=i,j->>k&order=j->k.desc", [{"i": 2, "k": "2"}, {"i": 1, "k": "1"}]),
        ("/notes?select=id,books(data->by->>name)&id=eq.1", [{"id": 1, "books": {"name": "Herbert"}}]),
        ("/notes?select=id,books(first:data->isbn->0,id)&id=eq.1", [{"id": 1, "books": {"first": 5, "id": 1}}]),
        # Before a closing bracket, PostgREST reads a number as the key of an object.
        ("/notes?select=id,books(data->isbn->0)&id=eq.1", [{"id": 1, "books": {"0": None}}]),
        ("/notes?select=id,books!inner(id)&books.data->by->>name=eq.Herbert&order=id", [
            {"id": 1, "books": {"id": 1}}, {"id": 2, "books": {"id": 1}}]),
    ],
)  # fmt: skip
async def test_json_paths(http: httpx.AsyncClient, url: str, expected: list[Any]) -> None:
    response = await http.get(url)
    assert (response.status_code, response.json()) == (200, expected)


async def test_json_is_returned_as_it_is_stored(http: httpx.AsyncClient) -> None:
    """A column of the type `json` keeps its text. It would not, if it were converted to `jsonb`."""
    assert (await http.get("/letters?select=content->from&id=eq.1")).text == '[{"from":{"b":  2, "a": 1}}]'


async def test_changes_by_json_paths(http: httpx.AsyncClient) -> None:
    kept = {"prefer": "return=representation"}
    url = "/books?data->by->>name=eq.Joyce&select=id,data->>by"
    changed = await http.patch(url, json={"kind": "epic"}, headers=kept)
    assert changed.json() == [{"id": 3, "by": '{"name": "Joyce"}'}]
    deleted = await http.delete("/books?data->by->>name=eq.Joyce&select=kind", headers=kept)
    assert deleted.status_code == 409, "a row of another table refers to it"


@pytest.mark.parametrize(
    ("url", "code", "status"),
    [
        ("/books?select=data->>by->name", "42883", 404),  # text has no members
        ("/books?order=data->", "PGRST100", 400),
        ("/books?select=data->(x", "PGRST100", 400),
        ("/books?select=data->-x", "PGRST100", 400),
        ('/books?select=data->"x', "PGRST100", 400),
        ("/books?select=nothing->x", "42703", 400),
        ("/books?select=data->99999999999", "22003", 400),
    ],
)
async def test_invalid_paths(http: httpx.AsyncClient, url: str, code: str, status: int) -> None:
    assert error(await http.get(url))[:2] == (status, code)


@pytest.mark.parametrize("key", ["it's", "a\\b", "%s {}", "a-b", "é", "; drop table books"])
async def test_keys_are_values(service: AsyncClient, http: httpx.AsyncClient, key: str) -> None:
    await http.patch("/books?id=eq.2", json={"data": {key: "here"}})
    path = 'data->>"{}"'.format(key.replace("\\", "\\\\"))
    assert await data(service.table("books").select(f"found:{path}").eq("id", 2)) == [{"found": "here"}]
    assert (await http.get("/books", params={"select": "id", path: "eq.here"})).json() == [{"id": 2}]
