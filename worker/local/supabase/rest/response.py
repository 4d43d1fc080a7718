"""From a result to the HTTP response: its status and its headers."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from starlette.responses import Response

from worker.local.supabase.rest.call import Call
from worker.local.supabase.rest.errors import RestError, unknown
from worker.local.supabase.rest.ranges import content_range, is_past_the_end, past_the_end
from worker.local.supabase.rest.sql import SCHEMA

_OK, _CREATED, _NO_CONTENT, _PARTIAL, _NOT_SATISFIABLE = 200, 201, 204, 206, 416


class Result(NamedTuple):
    """What the statement of a request returned.

    Attributes:
        total: How many rows match, if they are counted.
        size: How many rows are answered.
        inserted: How many rows are new, where that is counted.
        headers: Response headers that the database sets, as JSON.
        status: The HTTP status that the database sets.
    """

    total: int | None
    size: int
    body: str
    inserted: int | None
    headers: str | None
    status: str | None


def check_size(call: Call, size: int) -> None:
    """Check that the client takes so many rows. Until then the transaction can be undone.

    Raises:
        RestError: It does not.
    """
    if call.is_single and size != 1:
        message = "Cannot coerce the result to a single JSON object"
        raise RestError(406, "PGRST116", message, details=f"The result contains {size} rows")
    limit = max_affected(call)
    if limit is not None and size > limit:
        message = "Query result exceeds max-affected preference constraint"
        raise RestError(400, "PGRST124", message, details=f"The query affects {size} rows")


def max_affected(call: Call) -> int | None:
    """Return how many rows the request may affect. No limit if None."""
    has_limit = call.preferences.is_strict and (call.is_rpc or call.method in ("PATCH", "DELETE"))
    return call.preferences.max_affected if has_limit else None


def response(call: Call, result: Result, *, returns_nothing: bool, has_conflict_target: bool) -> Response:
    """Return the HTTP response.

    Args:
        call: The request.
        result: What it came to.
        returns_nothing: Whether it called a function that returns `void`.
        has_conflict_target: Whether rows of an insert could be known to be there already.
    """
    status, range_ = _status_and_range(call, result)
    headers = {"Content-Range": range_}
    if not (call.is_rpc or call.is_change):
        headers["Content-Location"] = f"/{call.name}" + (f"?{call.query.canonical}" if call.query.canonical else "")
    applied = call.preferences.applied(method=call.method, is_rpc=call.is_rpc, has_conflict_target=has_conflict_target)
    if applied:
        headers["Preference-Applied"] = applied
    body = result.body
    if status == _NOT_SATISFIABLE:
        body = past_the_end(call.rows, result.total).body
    if returns_nothing:
        status, body = _NO_CONTENT, ""
    elif not call.is_change or call.preferences.wants_rows:
        headers["Content-Type"] = f"{call.media_type}; charset=utf-8"
        if call.is_profiled:
            headers["Content-Profile"] = SCHEMA
    if result.status is not None:
        status = _status_of_the_database(result.status)
    headers = _with_those_of_the_database(headers, result.headers)
    answer = Response(None if call.method == "HEAD" else body or None, status, headers)
    if call.method == "HEAD" and "content-length" in answer.headers:
        del answer.headers["content-length"]
    return answer


def _status_and_range(call: Call, result: Result) -> tuple[int, str]:
    size = result.size
    if not call.is_change:
        lower, total = call.rows.lower, result.total
        range_ = content_range(lower, lower + size - 1, total)
        if is_past_the_end(call.rows, total):
            return _NOT_SATISFIABLE, range_
        return _PARTIAL if total is not None and size < total else _OK, range_
    total = size if call.preferences.counts else None
    if call.method == "POST":
        only_merged = call.preferences.resolution == "merge-duplicates" and not (result.inserted or 0) > 0
        return _OK if only_merged else _CREATED, content_range(1, 0, total)
    range_ = content_range(0, size - 1, total) if call.method == "PATCH" else content_range(1, 0, total)
    return _OK if call.preferences.wants_rows else _NO_CONTENT, range_


def _status_of_the_database(text: str) -> int:
    if not text.isdecimal():
        raise RestError(500, "PGRST112", "response.status guc must be a valid status code")
    if not _OK <= int(text) < 600:  # noqa: PLR2004 - the last class of them ends there
        raise unknown(f"the response status {text}")
    return int(text)


def _with_those_of_the_database(headers: dict[str, str], text: str | None) -> dict[str, str]:
    """Return the headers with those that a function set: its own replace others."""
    if text is None:
        return headers
    try:
        items = json.loads(text)
    except ValueError:
        items = None
    if not isinstance(items, list) or not all(map(_is_header, items)):
        message = "response.headers guc must be a JSON array composed of objects with a single key and a string value"
        raise RestError(500, "PGRST111", message)
    given = [pair for item in items for pair in item.items()]
    if len({name.lower() for name, _ in given}) < len(given):
        raise unknown("several response headers of the same name")
    named = {name.lower() for name, _ in given}
    return {name: value for name, value in headers.items() if name.lower() not in named} | dict(given)


def _is_header(item: Any) -> bool:
    return isinstance(item, dict) and len(item) == 1 and all(isinstance(value, str) for value in item.values())
