"""What is read of tables, by the statuses and bodies that PostgREST 14 documents."""

from __future__ import annotations

from typing import Any

import httpx
import psycopg
import pytest

from tests.support.books import DUNE, SINGLE, error


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("id=eq.1", [DUNE]),
        ("select=*&id=eq.1", [DUNE]),
        ("select=called:title,pages&id=eq.1", [{"called": "Dune", "pages": 412}]),
        ("select=id&order=price.desc.nullslast,id.asc", [{"id": 3}, {"id": 1}, {"id": 2}]),
        ("select=id&order=price.nullsfirst&limit=1", [{"id": 2}]),
        ("select=id&order=id&offset=1&limit=1", [{"id": 2}]),
        ("select=id&limit=0", []),
        ("select=id&offset=9", []),
        ('select="id"&"title"=eq.Emma', [{"id": 2}]),
    ],
)  # fmt: skip
async def test_what_is_selected(http: httpx.AsyncClient, query: str, expected: list[Any]) -> None:
    response = await http.get(f"/books?{query}")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert response.json() == expected


async def test_numbers_keep_all_their_digits(http: httpx.AsyncClient) -> None:
    assert (await http.get("/books?select=price&id=eq.3")).text == '[{"price":123456789012345678.90}]'


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("pages=gt.320", [1, 3]),
        ("pages=gte.320&pages=lt.730", [1, 2]),
        ("pages=lte.320", [2]),
        ("title=neq.Dune", [2, 3]),
        ("title=like.D*", [1]),
        ("title=ilike.%25U%25", [1, 3]),
        ("title=match.^[DE]", [1, 2]),
        ("title=imatch.^u", [3]),
        ("title=in.(Dune,\"Emma\")", [1, 2]),
        ("title=in.()", []),
        ("title=in.( Dune)", [1]),
        ("title=not.in.(Dune)", [2, 3]),
        ("kind=is.null", [2]),
        ("kind=not.is.null", [1, 3]),
        ("kind=is.NOT_NULL", [1, 3]),
        ("kind=isdistinct.novel", [2]),
        ("tags=cs.{sand}", [1]),
        ("tags=cd.{sand,spice,salt}", [1, 3]),
        ("tags=ov.{spice,salt}", [1]),
        ('data=cs.{"by":+{"name":+"Joyce"}}', [3]),
        ("or=(id.eq.1,title.eq.Emma)", [1, 2]),
        ("or=(id.eq.1,and(pages.gt.300,kind.is.null), not.and(id.lt.3,id.gt.0))", [1, 2, 3]),
        ("not.or=(id.eq.1,id.in.(2,7))", [3]),
        ("and=(tags.cs.{sand,spice},title.not.eq.\"Emma, J.\")", [1]),
        ("or=(tags.ov.{spice,salt},title.eq.\"a,b)\")", [1]),
    ],
)  # fmt: skip
async def test_conditions(http: httpx.AsyncClient, condition: str, ids: list[int]) -> None:
    response = await http.get(f"/books?select=id&order=id&{condition}")
    assert response.json() == [{"id": id_} for id_ in ids]


@pytest.mark.parametrize(
    ("request_", "status", "content_range", "size"),
    [
        (("GET", "/books", {}), 200, "0-2/*", 3),
        (("GET", "/books", {"prefer": "count=exact"}), 200, "0-2/3", 3),
        (("GET", "/books?limit=2&offset=1", {"prefer": "count=exact"}), 206, "1-2/3", 2),
        (("GET", "/books?offset=3", {"prefer": "count=exact"}), 206, "*/3", 0),
        (("GET", "/books", {"range": "0-0"}), 200, "0-0/*", 1),
        (("GET", "/books", {"range": "1-", "range-unit": "items"}), 200, "1-2/*", 2),
        (("GET", "/books", {"range": "0-1", "prefer": "count=exact"}), 206, "0-1/3", 2),
        (("GET", "/books?offset=1", {"range": "0-1"}), 200, "1-1/*", 1),
        (("GET", "/books?limit=1", {"range": "1-2"}), 416, None, None),
        (("GET", "/books?limit=0", {"range": "1-2"}), 200, "*/*", 0),
        (("GET", "/books", {"range": "2-1"}), 416, None, None),
        (("GET", "/books", {"range": "items=0-0"}), 200, "0-2/*", 3),
        (("HEAD", "/books", {"range": "0-0"}), 200, "0-2/*", 0),
        (("GET", "/books?offset=-1", {}), 200, "0-2/*", 3),
        (("GET", "/books?limit=0&offset=1", {}), 416, None, None),
        (("GET", "/rpc/all_books", {"range": "1-1"}), 200, "1-1/*", 1),
        (("HEAD", "/rpc/all_books", {"prefer": "count=exact"}), 200, "0-2/3", 0),
        (("GET", "/books?id=eq.0", {"prefer": "count=exact"}), 200, "*/0", 0),
        (("HEAD", "/books", {"prefer": "count=exact"}), 200, "0-2/3", 0),
        (("POST", "/rpc/all_books?limit=1", {"prefer": "count=exact"}), 206, "0-0/3", 1),
    ],
)  # fmt: skip
async def test_ranges_and_counts(
    http: httpx.AsyncClient,
    request_: tuple[str, str, dict[str, str]],
    status: int,
    content_range: str | None,
    size: int | None,
) -> None:
    method, url, headers = request_
    response = await http.request(method, url, headers=headers)
    assert (response.status_code, response.headers.get("content-range")) == (status, content_range)
    if size is None:
        assert error(response) == (416, "PGRST103", "Requested range not satisfiable")
    else:
        assert response.headers.get("preference-applied") == headers.get("prefer")
        assert len(response.json() if response.content else []) == size
    if method == "HEAD":
        assert response.headers["content-type"] == "application/json; charset=utf-8"
        assert "content-length" not in response.headers


async def test_more_rows_than_the_maximum(http: httpx.AsyncClient, tables: psycopg.Connection) -> None:
    tables.execute("insert into public.texts select g, 'x' from generate_series(1, 2500) as g")
    response = await http.get("/texts?limit=2000", headers={"prefer": "count=exact"})
    assert (response.status_code, response.headers["content-range"]) == (206, "0-999/2500")
    assert len(response.json()) == 1000


async def test_an_offset_past_the_end(http: httpx.AsyncClient) -> None:
    response = await http.get("/books?offset=4", headers={"prefer": "count=exact"})
    assert error(response) == (416, "PGRST103", "Requested range not satisfiable")
    assert response.json()["details"] == "An offset of 4 was requested, but there are only 3 rows."
    assert (response.headers["content-range"], response.headers["preference-applied"]) == ("*/3", "count=exact")
    assert "proxy-status" not in response.headers
    response = await http.get("/books", headers={"range": "5-4"})
    assert response.json()["details"] == (
        "The lower boundary must be lower than or equal to the upper boundary in the Range header."
    )
    assert (await http.get("/books?limit=-2")).json()["details"] == "Limit should be greater than or equal to zero."


async def test_formats(http: httpx.AsyncClient) -> None:
    response = await http.get("/books?id=eq.1", headers=SINGLE)
    assert response.json() == DUNE
    assert response.headers["content-type"] == "application/vnd.pgrst.object+json; charset=utf-8"
    response = await http.get("/books?id=eq.1", headers={"accept": "application/json, text/plain;q=0.9, */*"})
    assert response.json() == [DUNE]
    first = {"accept": "application/json, application/vnd.pgrst.object+json;q=0.9"}
    assert (await http.get("/books?id=eq.1", headers=first)).json() == [DUNE]
    better = {"accept": "application/json;q=0.5, application/vnd.pgrst.object+json"}
    assert (await http.get("/books?id=eq.1", headers=better)).json() == DUNE
    array = {"accept": "application/vnd.pgrst.array+json"}
    response = await http.get("/books?id=eq.1", headers=array)
    assert (response.json(), response.headers["content-type"]) == ([DUNE], "application/json; charset=utf-8")
    assert error(await http.get("/books", headers={"accept": "text/xml;q=0.1, image/png, text/plain;a=b"})) == (
        406,
        "PGRST107",
        "None of these media types are available: text/plain, image/png, text/xml",
    )


@pytest.mark.parametrize(("query", "size"), [("", 3), ("?id=eq.0", 0)])
async def test_a_single_object_that_is_not_single(http: httpx.AsyncClient, query: str, size: int) -> None:
    response = await http.get(f"/books{query}", headers=SINGLE)
    assert error(response) == (406, "PGRST116", "Cannot coerce the result to a single JSON object")
    assert response.json()["details"] == f"The result contains {size} rows"


@pytest.mark.parametrize(
    ("method", "url", "headers", "expected"),
    [
        ("GET", "/boks", {}, (404, "PGRST205", "Could not find the table 'public.boks' in the schema cache")),
        ("GET", "/books?colour=eq.1", {}, (400, "42703", "column books.colour does not exist")),
        ("GET", "/books?select=colour", {}, (400, "42703", "column books.colour does not exist")),
        ("GET", "/books?id=eq.x", {}, (400, "22P02", 'invalid input syntax for type integer: "x"')),
        ("GET", "/books?id=1", {}, (400, "PGRST100", '"failed to parse filter (1)" (line 1, column 1)')),
        ("GET", "/books?id=is.5", {}, (400, "PGRST100", '"failed to parse filter (is.5)" (line 1, column 4)')),
        ("GET", f"/books?or={'(and' * 5000}", {},
         (400, "LOCAL", "the local stack does not know requests that are nested so deeply")),
        ("GET", "/books?id=in.5", {}, (400, "PGRST100", '"failed to parse filter (in.5)" (line 1, column 4)')),
        ("GET", "/books?or=()", {}, (400, "PGRST100", '"failed to parse logic tree (())" (line 1, column 4)')),
        ("GET", "/books?order=id.up", {}, (400, "PGRST100", '"failed to parse order (id.up)" (line 1, column 3)')),
        ("GET", "/books?select=a b!", {},
         (400, "PGRST100", '"failed to parse select parameter (a b!)" (line 1, column 4)')),
        ("GET", "/books?limit=-1", {}, (416, "PGRST103", "Requested range not satisfiable")),
        ("GET", "/books?title=eq.%00", {}, (400, "22021", 'invalid byte sequence for encoding "UTF8": 0x00')),
        ("GET", "/none?id=1", {}, (400, "PGRST100", '"failed to parse filter (1)" (line 1, column 1)')),
        ("GET", "/books/1", {}, (404, "PGRST125", "Invalid path specified in request URL")),
        ("GET", "/books?select=pages.sum()", {}, (400, "PGRST123", "Use of aggregate functions is not allowed")),
        ("TRACE", "/books", {}, (405, "PGRST117", "Unsupported HTTP method: TRACE")),
        ("PUT", "/rpc/add", {}, (405, "PGRST101", "Cannot use the PUT method on RPC")),
        ("GET", "/books", {"prefer": "handling=strict, sort=up"},
         (400, "PGRST122", "Invalid preferences given with handling=strict")),
        ("GET", "/books", {"accept-profile": "auth"}, (406, "PGRST106", "Invalid schema: auth")),
        ("POST", "/books", {"content-profile": "auth"}, (406, "PGRST106", "Invalid schema: auth")),
    ],
)  # fmt: skip
async def test_requests_that_cannot_be_answered(
    http: httpx.AsyncClient, method: str, url: str, headers: dict[str, str], expected: tuple[int, str, str]
) -> None:
    response = await http.request(method, url, headers=headers)
    assert error(response) == expected
    assert response.headers["proxy-status"] == f"PostgREST; error={expected[1]}"


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ("", "/books"),
        ("?select=id&id=eq.1", "/books?id=eq.1&select=id"),
        ("?select=*&id=gt.0&id=lt.9&a", "/books?a=&id=gt.0,lt.9&select=%2A"),
        ("?title=eq.%C3%BC+", "/books?title=eq.%C3%83%C2%BC%20"),
    ],
)  # fmt: skip
async def test_the_location_of_what_is_read(http: httpx.AsyncClient, query: str, location: str) -> None:
    for method in ("GET", "HEAD"):
        response = await http.request(method, f"/books{query}")
        assert response.headers["content-location"] == location
    assert "content-location" not in (await http.get("/rpc/all_books")).headers


async def test_the_schema_is_named_in_answers_to_requests_that_name_it(http: httpx.AsyncClient) -> None:
    reads, writes = {"accept-profile": "public"}, {"content-profile": "public"}
    assert (await http.get("/books", headers=reads)).headers["content-profile"] == "public"
    assert "content-profile" not in (await http.get("/books", headers=writes)).headers
    rows = {"prefer": "return=representation"}
    update = await http.patch("/books?id=eq.1", json={"pages": 1}, headers=writes | rows)
    assert update.headers["content-profile"] == "public"
    assert "content-profile" not in (await http.patch("/books?id=eq.1", json={"pages": 1}, headers=writes)).headers


async def test_a_parameter_that_is_given_twice(http: httpx.AsyncClient) -> None:
    assert (await http.get("/books?select=id&select=title&order=title&order=id.desc&limit=1&limit=2")).json() == [
        {"id": 1},
        {"id": 2},
    ]
    assert (await http.get("/books?select=id&id&title=eq.Emma")).json() == [{"id": 2}]
    assert (await http.get("/books?id=eq.2&select=")).json()[0].keys() == DUNE.keys()


async def test_a_table_that_is_almost_named(http: httpx.AsyncClient) -> None:
    assert (await http.get("/boks")).json()["hint"] == "Perhaps you meant the table 'public.books'"
    assert (await http.get("/xyz")).json()["hint"] is None


@pytest.fixture
def many_texts(tables: psycopg.Connection) -> int:
    """How many rows the planner expects in a table of 1,500."""
    tables.execute("insert into public.texts select n, n % 2 from generate_series(1, 1500) as n")
    tables.execute("vacuum analyze public.texts")
    return 1500


@pytest.mark.parametrize(
    ("query", "count", "status", "content_range"),
    [
        ("", "planned", 206, "0-999/1500"),
        ("", "estimated", 206, "0-999/1500"),
        ("limit=10", "estimated", 206, "0-9/1500"),
        ("id=lt.11", "estimated", 200, "0-9/10"),
        ("id=lt.1000", "estimated", 200, "0-998/999"),
        ("value=eq.1&limit=1", "planned", 206, "0-0/750"),
        ("value=eq.1&limit=1", "estimated", 206, "0-0/750"),
        ("offset=1600", "planned", 416, "*/1500"),
        ("offset=1600", "estimated", 416, "*/1500"),
    ],
)
async def test_estimated_counts(
    *, http: httpx.AsyncClient, many_texts: int, query: str, count: str, status: int, content_range: str
) -> None:
    assert many_texts == 1500
    for method in ("GET", "HEAD"):
        response = await http.request(method, f"/texts?{query}", headers={"prefer": f"count={count}"})
        assert (response.status_code, response.headers["content-range"]) == (status, content_range)
        assert response.headers["preference-applied"] == f"count={count}"


async def test_estimated_counts_of_what_is_not_a_plain_read(http: httpx.AsyncClient) -> None:
    ranges = []
    for count in ("planned", "estimated"):
        prefer = {"prefer": f"count={count}"}
        ranges += [
            (await http.get("/rpc/all_books?limit=1", headers=prefer)).headers["content-range"],
            (await http.patch("/books?id=eq.1", json={"kind": "x"}, headers=prefer)).headers["content-range"],
        ]
    assert ranges == ["0-0/*", "0-0/*", "0-0/3", "0-0/1"]
    single = {"prefer": "count=planned"} | SINGLE
    assert error(await http.get("/books", headers=single))[:2] == (406, "PGRST116")
    assert (await http.get("/books?id=eq.1&select=id", headers=single)).json() == {"id": 1}
