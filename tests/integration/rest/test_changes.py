"""Inserts, updates and deletes."""

from __future__ import annotations

from typing import Any

import httpx
import psycopg
import pytest

from tests.support.books import SINGLE, error
from worker.local.supabase.stack import Endpoints


@pytest.mark.parametrize(
    ("query", "body", "prefer", "expected"),
    [
        ("", {"id": 7, "title": "a"}, None, (201, None)),
        ("", {"id": 7, "title": "a"}, "return=minimal", (201, None)),
        ("?select=title,kind", {"title": "a"}, "return=representation", (201, [{"title": "a", "kind": "novel"}])),
        ("?select=title,kind", [{"title": "a", "kind": None}, {"title": "b", "kind": "k"}], "return=representation",
         (201, [{"title": "a", "kind": None}, {"title": "b", "kind": "k"}])),
        ('?columns="title","kind"&select=title,kind', [{"title": "a"}, {"title": "b", "kind": "k", "ignored": 1}],
         "return=representation", (201, [{"title": "a", "kind": None}, {"title": "b", "kind": "k"}])),
        ("?select=title,tags,data", {"title": "a", "tags": ["x,y", '"'], "data": {"k": [1]}}, "return=representation",
         (201, [{"title": "a", "tags": ["x,y", '"'], "data": {"k": [1]}}])),
        ("?select=title,notes(id)", {"title": "a"}, "return=representation", (201, [{"title": "a", "notes": []}])),
        ("", [], "return=representation", (201, [])),
        ("?on_conflict=id&select=id,title", [{"id": 1, "title": "a"}, {"id": 9, "title": "b"}],
         "resolution=merge-duplicates,return=representation",
         (201, [{"id": 1, "title": "a"}, {"id": 9, "title": "b"}])),
        ("?select=id,title", {"id": 1, "title": "a"}, "resolution=merge-duplicates,return=representation",
         (200, [{"id": 1, "title": "a"}])),
        ("?select=id", [{"id": 9, "title": "a"}], "resolution=merge-duplicates", (201, None)),
        ("?select=id", [{"id": 1, "title": "a"}, {"id": 2, "title": "a"}], "resolution=merge-duplicates", (200, None)),
        ("", [], "resolution=merge-duplicates", (200, None)),
        ("", 5, "return=representation", (201, [])),
        ("?select=id", {"id": 1, "title": "a"}, "resolution=ignore-duplicates,return=representation", (201, [])),
        ("?select=id,title", [{"id": 1, "title": "a"}, {"id": 9, "title": "b"}],
         "resolution=ignore-duplicates,return=representation", (201, [{"id": 9, "title": "b"}])),
    ],
)  # fmt: skip
async def test_insert(
    http: httpx.AsyncClient, query: str, body: Any, prefer: str | None, expected: tuple[int, Any]
) -> None:
    response = await http.post(f"/books{query}", json=body, headers={"prefer": prefer} if prefer else {})
    assert (response.status_code, response.json() if response.content else None) == expected
    assert response.headers.get("preference-applied") == (prefer.replace(",", ", ") if prefer else None)
    assert "location" not in response.headers


async def test_types_that_lose_their_length_and_names_that_need_quoting(http: httpx.AsyncClient) -> None:
    row = {"code": "abc", "bits": "10", "amount": 1.25, 'odd %s {}" name': 1}
    representation = {"prefer": "return=representation"}
    assert (await http.post("/badges", json=row, headers=representation)).json() == [row]
    filtered = {r'"odd %s {}\" name"': "eq.1", "select": r'n:"odd %s {}\" name"'}
    assert (await http.get("/badges", params=filtered)).json() == [{"n": 1}]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ('{"id": 1, "title": "a"}', 409, "23505"),
        ('{"title": null}', 400, "23502"),
        ('{"title": "a", "pages": 0}', 400, "23514"),
        ('{"title": "a", "pages": "many"}', 400, "22P02"),
        ('{"title": "a", "colour": 1}', 400, "PGRST204"),
        ('[{"title": "a"}, {"id": 5}]', 400, "PGRST102"),
        ('[{"title": "a"}, 5]', 400, "PGRST102"),
        ('{"title": "a"', 400, "PGRST102"),
        ("", 400, "PGRST102"),
        ("[" * 100_000, 400, "LOCAL"),
        ("NaN", 400, "PGRST102"),
        (b'{"title": "\xff"}', 400, "PGRST102"),
        (b'{"title": "\x00"}', 400, "PGRST102"),
        (r'{"title": "\u0000"}', 400, "22P05"),
        (r'{"title": "\ud800"}', 400, "PGRST102"),
        (r'{"\ud800": 1}', 400, "PGRST102"),
    ],
)  # fmt: skip
async def test_bodies_that_are_refused(http: httpx.AsyncClient, body: str | bytes, status: int, code: str) -> None:
    headers = {"content-type": "application/json"}
    assert error(await http.post("/books", content=body, headers=headers))[:2] == (status, code)


async def test_update(http: httpx.AsyncClient) -> None:
    response = await http.patch("/books?id=eq.1", json={"title": "a"})
    assert (response.status_code, response.content, response.headers["content-range"]) == (204, b"", "0-0/*")
    headers = {"prefer": "return=representation,count=exact"}
    response = await http.patch("/books?pages=lt.700&select=id&order=id", json={"kind": None}, headers=headers)
    assert (response.status_code, response.json()) == (200, [{"id": 1}, {"id": 2}])
    assert response.headers["content-range"] == "0-1/2"
    response = await http.patch("/books?id=eq.1&select=id", json={"id": 1}, headers=headers | SINGLE)
    assert response.json() == {"id": 1}
    assert (await http.get("/books?select=kind&kind=is.null")).json() == [{"kind": None}, {"kind": None}]


async def test_delete(http: httpx.AsyncClient) -> None:
    response = await http.request("DELETE", "/notes?id=eq.1", json={})
    assert (response.status_code, response.content, response.headers["content-range"]) == (204, b"", "*/*")
    headers = {"prefer": "return=representation,count=exact"}
    response = await http.request("DELETE", "/notes?id=gt.0&select=id", json={}, headers=headers)
    assert (response.status_code, response.json()) == (200, [{"id": 2}, {"id": 3}])
    assert response.headers["content-range"] == "*/2"


async def test_changes_of_everything_are_refused(http: httpx.AsyncClient) -> None:
    response = await http.patch("/books?select=id", json={"title": "a"})
    assert error(response) == (400, "21000", "UPDATE requires a WHERE clause")
    assert error(await http.delete("/books")) == (400, "21000", "DELETE requires a WHERE clause")


async def test_changes_that_the_client_does_not_take_are_undone(http: httpx.AsyncClient) -> None:
    strict = {"prefer": "handling=strict,max-affected=1"}
    message = "Query result exceeds max-affected preference constraint"
    for response in (
        await http.patch("/books?id=gt.0", json={"title": "a"}, headers=strict),
        await http.delete("/notes?id=gt.0", headers=strict),
        await http.post("/rpc/rename", json={"title": "a"}, headers=strict),
    ):
        assert error(response) == (400, "PGRST124", message)
    response = await http.patch("/books?id=gt.0", json={"title": "a"}, headers=SINGLE)
    assert error(response)[:2] == (406, "PGRST116")
    assert len((await http.get("/books?title=neq.a")).json()) == 3
    response = await http.patch("/books?id=eq.1", json={"title": "a"}, headers=strict)
    assert (response.status_code, response.headers["preference-applied"]) == (204, "handling=strict, max-affected=1")


async def test_what_is_applied_of_preferences(http: httpx.AsyncClient) -> None:
    async def applied(method: str, path: str, preferences: str, body: Any = None) -> str | None:
        response = await http.request(method, path, json=body, headers={"prefer": preferences})
        assert response.is_success, response.text
        found: str | None = response.headers.get("preference-applied")
        return found

    everything = "max-affected=9, count=exact, resolution=merge-duplicates, return=minimal, missing=null, sort=up"
    reading = "count=exact"
    assert await applied("GET", "/books", everything) == reading
    assert await applied("POST", "/rpc/add", everything, {"a": 1}) == reading
    changing = "missing=null, return=minimal, count=exact"
    assert await applied("POST", "/books", everything, {"title": "a"}) == f"resolution=merge-duplicates, {changing}"
    assert await applied("POST", "/logs", everything, {"text": "a"}) == changing
    assert await applied("PATCH", "/books?id=eq.1", everything, {"title": "a"}) == changing
    assert await applied("DELETE", "/books?id=eq.9", everything) == "return=minimal, count=exact"
    strict = "handling=strict, max-affected=9"
    assert await applied("DELETE", "/books?id=eq.9", strict) == strict
    assert await applied("POST", "/rpc/numbers", strict) == strict
    assert await applied("GET", "/books", strict) == "handling=strict"
    assert await applied("GET", "/books", "tx=rollback, sort=up") is None
    assert await applied("GET", "/books", "handling=lenient, handling=strict") == "handling=lenient"


async def test_the_limit_of_what_is_affected(http: httpx.AsyncClient) -> None:
    everything = "/books?id=gt.0"
    for headers in ({"prefer": "max-affected=1"}, {"prefer": "handling=lenient, max-affected=1"}):
        assert (await http.patch(everything, json={"title": "a"}, headers=headers)).status_code == 204
    strict = {"prefer": "handling=strict, max-affected=1"}
    assert len((await http.get(everything, headers=strict)).json()) == 3
    assert (await http.post("/texts", json=[{"id": 1}, {"id": 2}], headers=strict)).status_code == 201
    assert error(await http.get("/rpc/numbers", headers=strict))[:2] == (400, "PGRST124")
    message = "Function must return SETOF or TABLE when max-affected preference is used with handling=strict"
    assert error(await http.post("/rpc/add", json={"a": 1}, headers=strict)) == (400, "PGRST128", message)
    assert (await http.get("/books", headers={"prefer": "handling=strict, max-affected=x"})).status_code == 200


async def test_an_update_of_nothing(http: httpx.AsyncClient) -> None:
    for path in ("/books?id=eq.1", "/books"):
        response = await http.patch(path, json={})
        assert (response.status_code, response.content, response.headers["content-range"]) == (204, b"", "*/*")
    headers = {"prefer": "return=representation, count=exact"}
    bodies: list[Any] = [{}, [], [{}]]
    for body in bodies:
        response = await http.patch("/books?id=eq.1&select=id,title", json=body, headers=headers)
        assert (response.status_code, response.json(), response.headers["content-range"]) == (200, [], "*/0")
    assert error(await http.patch("/books?id=eq.1", json={}, headers=SINGLE))[:2] == (406, "PGRST116")


async def test_what_is_embedded_in_changed_rows(http: httpx.AsyncClient) -> None:
    headers = {"prefer": "return=representation"}
    path = "/books?id=eq.1&select=id,notes(id)&notes.id=eq.2&notes.limit=0&authors.limit=1"
    response = await http.patch(path, json={"pages": 9}, headers=headers)
    assert response.json() == [{"id": 1, "notes": [{"id": 2}]}]


async def test_limits_are_for_what_is_read(http: httpx.AsyncClient) -> None:
    headers = {"prefer": "return=representation"}
    response = await http.patch("/books?id=gt.0&limit=1&select=id&order=id.desc", json={"pages": 9}, headers=headers)
    assert response.json() == [{"id": 3}, {"id": 2}, {"id": 1}]


@pytest.mark.parametrize(
    ("media_type", "shown"),
    [
        ("text/plain; charset=utf-8", "text/plain"),
        ("Text/XML", "text/xml"),
        ("application/octet-stream", "application/octet-stream"),
        ("image/png; charset=utf-8", "image/png; charset=utf-8"),
        ("nonsense", "nonsense"),
    ],
)
async def test_bodies_of_other_types(http: httpx.AsyncClient, media_type: str, shown: str) -> None:
    headers = {"content-type": media_type}
    response = await http.post("/books", content='{"title": "a"}', headers=headers)
    assert error(response) == (400, "PGRST102", f"Content-Type not acceptable: {shown}")
    assert (await http.request("DELETE", "/notes?id=eq.1", content="x", headers=headers)).status_code == 204
    for written in ("Application/JSON; charset=utf-8", "application/vnd.pgrst.array+json"):
        json_ = {"content-type": written}
        assert (await http.post("/books", content='{"title": "a"}', headers=json_)).status_code == 201


async def test_columns_that_only_postgres_looks_at(http: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json"}
    response = await http.post("/books?columns=title", content="{", headers=headers)
    assert error(response)[:2] == (400, "22P02")
    response = await http.post("/books?columns=title", content="5", headers=headers)
    assert error(response)[:2] == (400, "22023")


async def test_the_key_has_to_be_readable_where_rows_are_answered(
    http: httpx.AsyncClient, tables: psycopg.Connection, stack: Endpoints
) -> None:
    tables.execute("grant insert, select (value) on public.texts to anon")
    headers = {"apikey": stack.anon_key, "prefer": "return=representation"}
    response = await http.post("/texts?select=value", json={"id": 1, "value": "a"}, headers=headers)
    assert error(response)[:2] == (401, "42501")
