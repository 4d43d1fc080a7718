"""The HTTP response of a result: status, headers and body."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from starlette.responses import Response

from worker.local.supabase.rest.api_request import ApiRequest
from worker.local.supabase.rest.errors import RestError, unsupported
from worker.local.supabase.rest.ranges import content_range, is_past_the_end, past_the_end
from worker.local.supabase.rest.sql import SCHEMA

_OK, _CREATED, _NO_CONTENT, _PARTIAL, _NOT_SATISFIABLE = 200, 201, 204, 206, 416


class Result(NamedTuple):
    """What the statement of a request returned.

    Attributes:
        total: Number of matching rows. `None` if they are not counted.
        size: Number of rows in the body.
        inserted: Number of inserted rows. `None` if they are not counted.
        headers: Response headers that the database sets, as JSON.
        status: The HTTP status that the database sets.
    """

    total: int | None
    size: int
    body: str
    inserted: int | None
    headers: str | None
    status: str | None


def check_size(request: ApiRequest, size: int) -> None:
    """Check that the client accepts this number of rows. The transaction can still be rolled back.

    Raises:
        RestError: The client does not accept it.
    """
    if request.is_single and size != 1:
        message = "Cannot coerce the result to a single JSON object"
        raise RestError(406, "PGRST116", message, details=f"The result contains {size} rows")
    limit = request.max_affected
    if limit is not None and size > limit:
        message = "Query result exceeds max-affected preference constraint"
        raise RestError(400, "PGRST124", message, details=f"The query affects {size} rows")


def make_response(request: ApiRequest, result: Result, *, returns_nothing: bool, has_conflict_target: bool) -> Response:
    """Return the HTTP response.

    Args:
        request: The request.
        result: The result of its statement.
        returns_nothing: Whether it called a function that returns `void`.
        has_conflict_target: Whether a row of an insert could conflict with an existing one.
    """
    status, range_ = _status_and_range(request, result)
    headers = {"Content-Range": range_}
    if not (request.is_rpc or request.is_change):
        headers["Content-Location"] = request.path + (f"?{request.query.canonical}" if request.query.canonical else "")
    if applied := _applied_preferences(request, has_conflict_target=has_conflict_target):
        headers["Preference-Applied"] = applied
    body = result.body
    if status == _NOT_SATISFIABLE:
        body = past_the_end(request.rows, result.total).body
    if returns_nothing:
        status, body = _NO_CONTENT, ""
    elif not request.is_change or request.preferences.wants_rows:
        headers["Content-Type"] = f"{request.media_type}; charset=utf-8"
        if request.is_profiled:
            headers["Content-Profile"] = SCHEMA
    if result.status is not None:
        status = _status_of_database(result.status)
    headers = _merge_headers(headers, result.headers)
    answer = Response(None if request.method == "HEAD" else body or None, status, headers)
    if request.method == "HEAD" and "content-length" in answer.headers:
        del answer.headers["content-length"]
    return answer


def _status_and_range(request: ApiRequest, result: Result) -> tuple[int, str]:
    size = result.size
    if not request.is_change:
        lower, total = request.rows.lower, result.total
        range_ = content_range(lower, lower + size - 1, total)
        if is_past_the_end(request.rows, total):
            return _NOT_SATISFIABLE, range_
        return _PARTIAL if total is not None and size < total else _OK, range_
    total = size if request.preferences.counts else None
    if request.method == "POST":
        only_merged = request.preferences.resolution == "merge-duplicates" and not (result.inserted or 0) > 0
        return _OK if only_merged else _CREATED, content_range(1, 0, total)
    range_ = content_range(0, size - 1, total) if request.method == "PATCH" else content_range(1, 0, total)
    return _OK if request.preferences.wants_rows else _NO_CONTENT, range_


def _applied_preferences(request: ApiRequest, *, has_conflict_target: bool) -> str:
    """Return the header `Preference-Applied`. Empty if no preference was applied."""
    values, is_insert = request.preferences.values, request.is_change and request.method == "POST"
    applies = {
        "resolution": is_insert and has_conflict_target,
        "missing": request.is_change and request.method != "DELETE",
        "return": request.is_change,
        "count": True,
        "handling": True,
    }
    parts = [f"{name}={values[name]}" for name, is_applied in applies.items() if is_applied and name in values]
    if request.max_affected is not None:
        parts.append(f"max-affected={request.max_affected}")
    return ", ".join(parts)


def _status_of_database(text: str) -> int:
    if not text.isdecimal():
        raise RestError(500, "PGRST112", "response.status guc must be a valid status code")
    if not _OK <= int(text) < 600:  # noqa: PLR2004 - the end of the last class
        raise unsupported(f"the response status {text}")
    return int(text)


def _merge_headers(headers: dict[str, str], text: str | None) -> dict[str, str]:
    """Return the headers with those that a function set. They replace others of the same name."""
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
        raise unsupported("several response headers of the same name")
    named = {name.lower() for name, _ in given}
    return {name: value for name, value in headers.items() if name.lower() not in named} | dict(given)


def _is_header(item: Any) -> bool:
    return isinstance(item, dict) and len(item) == 1 and all(isinstance(value, str) for value in item.values())
