"""What PostgREST answers and the local stack does not: it is refused, and the message says so."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.support.books import error
from worker.local.supabase import rest

DOCUMENT = Path(__file__).parents[3] / "docs" / "local-supabase.md"

REFUSED = [
    ("GET", "/", {}, "the description of the API (OpenAPI)"),
    ("OPTIONS", "/books", {}, "the method OPTIONS"),
    ("PUT", "/books?id=eq.1", {}, "the method PUT"),
    ("POST", "/books", {"prefer": "missing=default"}, "the preference missing=default"),
    ("POST", "/books", {"prefer": "return=headers-only"}, "the preference return=headers-only"),
    ("GET", "/books", {"prefer": "timezone=UTC"}, "the preference timezone=UTC"),
    ("GET", "/books", {"accept": "application/geo+json"}, "the media type application/geo+json"),
    ("GET", "/books", {"accept": "application/vnd.pgrst.plan+json"}, "the media type application/vnd.pgrst.plan+json"),
    ("GET", "/books", {"accept": "application/vnd.pgrst.array+json;nulls=stripped"}, "nulls=stripped"),
    ("GET", "/books", {"accept": 'application/vnd.pgrst.object+json; nulls="stripped"'}, "nulls=stripped"),
    ("POST", "/books", {"content-type": "text/csv"}, "bodies of the type text/csv"),
    ("POST", "/rpc/add", {"content-type": "application/x-www-form-urlencoded"},
     "bodies of the type application/x-www-form-urlencoded"),
    ("POST", "/rpc/add", {"content-type": "text/plain"}, "bodies of the type text/plain"),
    ("GET", "/notes?select=...books(title)", {}, "spread embeds (...)"),
    ("GET", "/books?select=best_note(id)", {}, "computed relationships"),
    ("GET", "/books?select=id,notes(id)&notes.limit=-1", {}, "negative limits and offsets of what is embedded"),
    ("GET", "/books?select=pages::text", {}, "casts (::)"),
    ("GET", "/books?limit=many", {}, "the limit or offset 'many'"),
    ("GET", "/books?id=in.(1)x", {}, "what 'x' says at the end of filter (in.(1)x)"),
    ("GET", "/books?title=eq.%FF", {}, "query strings that are not UTF-8"),
    ("PATCH", "/books?id=eq.1&select=id,notes(id)&notes.or=(id.eq.1)", {},
     "and/or on what is embedded, when rows are changed"),
    ("GET", "/coloured", {}, "columns whose domain is cast to JSON or text"),
    ("POST", "/rpc/takes_json", {}, "functions with a single unnamed parameter"),
    ("GET", "/rpc/total?numbers=1", {}, "variadic functions"),
    ("GET", "/rpc/hasty", {}, "functions that set statement_timeout or default_transaction_isolation"),
    ("GET", "/rpc/add?x.a=1", {}, "the argument name 'x.a'"),
    ("GET", "/rpc/fail?code=PT999", {}, "the status of sqlstate 'PT999'"),
    ("GET", "/rpc/fail?code=PGRST", {}, "answers that are raised with sqlstate 'PGRST'"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "url", "headers", "what"), REFUSED)
async def test_what_is_refused(
    http: httpx.AsyncClient, method: str, url: str, headers: dict[str, str], what: str
) -> None:
    headers = {"content-type": "application/json", **headers}
    response = await http.request(method, url, headers=headers, content='{"title": "a"}' if method != "GET" else None)
    assert error(response) == (400, "LOCAL", f"the local stack does not know {what}")
    assert response.json()["hint"] == "docs/local-supabase.md lists what the local stack refuses."
    assert response.headers["proxy-status"] == "PostgREST; error=LOCAL"


def rows_of_the_table() -> list[str]:
    _, _, after = DOCUMENT.read_text().partition("| the local stack does not know … | requested by |\n|---|---|\n")
    return [line.split(" | ")[0].removeprefix("| ") for line in after.partition("\n\n")[0].splitlines()]


def test_the_table_of_what_is_refused_is_complete() -> None:
    patterns = [re.escape(row).replace("…", ".*") for row in rows_of_the_table()]
    for *_, what in REFUSED:
        assert any(re.fullmatch(pattern, what) for pattern in patterns), what
    sources = "".join(path.read_text() for path in Path(rest.__file__).parent.glob("*.py"))
    raised = re.findall(r"unsupported\(\s*f?\"(.*?)\"\s*\)", sources)
    assert len(raised) > 20
    for message in raised:
        what = re.sub(r"'?\{[^}]*\}'?", "…", message)
        assert any(re.fullmatch(pattern, what) for pattern in patterns), message


@pytest.mark.parametrize(
    "query",
    [
        "select=" + "notes(id,authors(id," * 100 + "id" + "))" * 100,
        "select=data" + "->a" * 3000,
        "data" + "->a" * 2000 + "->>b=eq.1",
        "or=" + "(and" * 300 + "(id.eq.1)" + ")" * 300,
    ],
)
async def test_what_is_nested_without_end_is_refused(http: httpx.AsyncClient, query: str) -> None:
    response = await http.get(f"/books?{query}")
    assert error(response) == (400, "LOCAL", "the local stack does not know requests that are nested so deeply")
