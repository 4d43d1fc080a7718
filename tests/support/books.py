"""What the tests of the REST gateway share."""

from __future__ import annotations

from typing import Any

import httpx

SINGLE = {"accept": "application/vnd.pgrst.object+json"}

DUNE = {
    "id": 1,
    "title": "Dune",
    "pages": 412,
    "price": 9.5,
    "tags": ["sand", "spice"],
    "data": {"by": {"name": "Herbert"}, "isbn": [5, 6]},
    "kind": "novel",
    "printed_at": "2026-01-02T03:04:05.678+00:00",
    "owner": None,
}


def error(response: httpx.Response) -> tuple[int, str, str]:
    body = response.json()
    assert body.keys() == {"code", "details", "hint", "message"}
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    return response.status_code, body["code"], body["message"]


async def data(query: Any) -> Any:
    """What a query of supabase-py gives."""
    return (await query.execute()).data
