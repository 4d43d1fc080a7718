"""Calls of functions."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.books import DUNE, SINGLE, data, error
from tests.support.stack import SignIn
from worker.local.supabase.stack import Endpoints


@pytest.mark.parametrize(
    ("method", "url", "body", "expected"),
    [
        ("POST", "/rpc/add", {"a": 1}, 3),
        ("POST", "/rpc/add", {"a": 1, "b": None}, None),
        ("GET", "/rpc/add?a=1&b=5", None, 6),
        ("POST", "/rpc/overloaded", {"b": 1, "a": 1}, "a and b"),
        ("POST", "/rpc/overloaded", {"a": 1}, "a"),
        ("POST", "/rpc/numbers", {}, [1, 2, 3]),
        ("POST", "/rpc/first_book", None, DUNE),
        ("POST", "/rpc/first_book?select=title", {}, {"title": "Dune"}),
        ("GET", "/rpc/all_books?select=id&id=lt.3&order=id.desc&limit=1", None, [{"id": 2}]),
        ("POST", "/rpc/pairs?i=eq.2", {"n": 3}, [{"i": 2, "j": {"k": 2}}]),
        ("GET", "/rpc/collected?a={1,2}", None, {"a": [1, 2], "j": {}}),
        ("POST", "/rpc/one_default", [], 7),
        ("POST", "/rpc/one_default", 5, 7),
        ("POST", "/rpc/one_default", [{"a": 1}, {"a": 2}], 1),
        ("POST", "/rpc/numbers", [], [1, 2, 3]),
        ("POST", "/rpc/first_book?id=eq.0", {}, None),
        ("POST", "/rpc/numbers?pgrst_scalar=gt.1", {}, [2, 3]),
        ("GET", '/rpc/collected?a={1}&j={"x": [1]}', None, {"a": [1], "j": {"x": [1]}}),
        ("POST", "/rpc/collected", {"a": [1, 2], "j": [3]}, {"a": [1, 2], "j": [3]}),
    ],
)  # fmt: skip
async def test_functions(http: httpx.AsyncClient, method: str, url: str, body: Any, expected: Any) -> None:
    response = await http.request(method, url, json=body)
    assert (response.status_code, response.json()) == (200, expected)


async def test_functions_that_return_nothing(http: httpx.AsyncClient) -> None:
    response = await http.post("/rpc/nothing", json={})
    assert (response.status_code, response.content) == (204, b"")
    assert (await http.post("/rpc/add_text", json={"id": 1})).status_code == 204
    assert (await http.get("/texts")).json() == [{"id": 1, "value": "added"}]


async def test_a_read_changes_nothing(http: httpx.AsyncClient) -> None:
    message = "cannot execute INSERT in a read-only transaction"
    assert error(await http.get("/rpc/add_text?id=1")) == (405, "25006", message)
    assert error(await http.post("/rpc/pretends_to_read", json={})) == (405, "25006", message)


async def test_functions_that_do_not_exist(http: httpx.AsyncClient) -> None:
    response = await http.post("/rpc/ad", json={"b": 1, "a": 2})
    message = "Could not find the function public.ad(a, b) in the schema cache"
    assert error(response) == (404, "PGRST202", message)
    assert response.json()["details"] == (
        "Searched for the function public.ad with parameters a, b or with a single unnamed json/jsonb parameter, "
        "but no matches were found in the schema cache."
    )
    assert response.json()["hint"] is None
    response = await http.post("/rpc/first_boook", json={})
    assert response.json()["hint"] == "Perhaps you meant to call the function public.first_book"
    response = await http.get("/rpc/add?a=1&c=1")
    assert response.json()["hint"] == "Perhaps you meant to call the function public.add(a, b)"
    response = await http.get("/rpc/add")
    message = "Could not find the function public.add without parameters in the schema cache"
    assert error(response) == (404, "PGRST202", message)
    assert response.json()["details"] == (
        "Searched for the function public.add without parameters, but no matches were found in the schema cache."
    )
    assert error(await http.post("/rpc/fires", json={}))[:2] == (404, "PGRST202")
    response = await http.post("/rpc/ambiguous", json={})
    message = (
        "Could not choose the best candidate function between: public.ambiguous(a => integer), "
        "public.ambiguous(a => integer, b => integer)"
    )
    assert error(response) == (300, "PGRST203", message)
    assert response.json()["hint"].startswith("Try renaming the parameters or the function itself in the database")


@pytest.mark.parametrize(
    ("sqlstate", "status"),
    [
        ("08006", 503), ("0L000", 403), ("0P000", 403), ("21000", 500), ("22023", 400), ("23503", 409), ("25006", 405),
        ("25P02", 500), ("28000", 403), ("40001", 500), ("42501", 403), ("42883", 404), ("42P01", 404),
        ("42P17", 500), ("53300", 503), ("53400", 500), ("54001", 500), ("55P03", 500), ("57014", 500),
        ("57P01", 503), ("58000", 500), ("P0001", 400), ("P0002", 500), ("XX000", 500), ("ZZ123", 400),
        ("PT409", 409), ("PT429", 429), ("PTXYZ", 500),
    ],
)  # fmt: skip
async def test_the_status_of_a_sqlstate(http: httpx.AsyncClient, sqlstate: str, status: int) -> None:
    response = await http.post("/rpc/fail", json={"code": sqlstate})
    assert error(response) == (status, sqlstate, "the message")
    assert (response.json()["details"], response.json()["hint"]) == ("the detail", "the hint")


async def test_what_the_database_knows_of_a_request(http: httpx.AsyncClient, stack: Endpoints, sign_in: SignIn) -> None:
    known = (await http.post("/rpc/request", headers={"user-agent": "a client"})).json()
    claims = known.pop("claims")
    assert (claims["role"], claims["iss"]) == ("service_role", "supabase-local")
    assert known == {
        "role": "service_role",
        "method": "POST",
        "path": "/rpc/request",
        "agent": "a client",
        "search_path": "public, extensions",
        "statement_timeout": "8s",
    }
    known = (await http.get("/rpc/request", headers={"apikey": stack.anon_key})).json()
    assert (known["role"], known["method"], known["statement_timeout"]) == ("anon", "GET", "3s")
    client = await sign_in()
    user = await client.auth.get_user()
    known = await data(client.rpc("request", {}))
    assert user is not None
    assert (known["role"], known["claims"]["sub"]) == ("authenticated", user.user.id)


async def test_one_row_is_one_object(http: httpx.AsyncClient) -> None:
    for path in ("/rpc/first_book?id=eq.0", "/rpc/add?a=1"):
        response = await http.get(path, headers=SINGLE | {"prefer": "count=exact"})
        assert response.status_code == 200
    assert error(await http.get("/rpc/numbers", headers=SINGLE))[:2] == (406, "PGRST116")
    assert (await http.get("/rpc/numbers?limit=1", headers=SINGLE)).json() == {"pgrst_scalar": 1}
    assert (await http.get("/rpc/add?a=1", headers=SINGLE)).json() == 3


async def test_a_column_that_is_not_selected_is_not_there_to_order_by(http: httpx.AsyncClient) -> None:
    response = await http.get("/rpc/all_books?select=id&order=title")
    assert error(response) == (400, "42703", "column books.title does not exist")
    response = await http.get("/rpc/all_books?select=colour")
    assert error(response) == (400, "42703", "column pgrst_call.colour does not exist")


async def test_the_answer_that_a_function_decides(http: httpx.AsyncClient) -> None:
    headers = '[{"X-A": "1"}, {"Content-Range": "none"}]'
    response = await http.post("/rpc/sets_headers", json={"status": "418", "headers": headers})
    assert (response.status_code, response.json()) == (418, 1)
    assert (response.headers["x-a"], response.headers["content-range"]) == ("1", "none")
    response = await http.post("/rpc/sets_headers", json={"status": "200", "headers": "{}"})
    assert error(response)[:2] == (500, "PGRST111")
    response = await http.post("/rpc/sets_headers", json={"status": "fine", "headers": "[]"})
    assert error(response)[:2] == (500, "PGRST112")


async def test_cookies_are_not_among_the_headers(http: httpx.AsyncClient) -> None:
    response = await http.post("/rpc/cookies", headers={"cookie": "a=1; b=2"})
    assert response.json() == {"a": "1", "b": "2"}
