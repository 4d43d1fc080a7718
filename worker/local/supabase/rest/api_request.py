"""A request, as far as it can be read without the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from worker.local.supabase.rest.body import Body
from worker.local.supabase.rest.claims import Claims
from worker.local.supabase.rest.errors import RestError, unsupported
from worker.local.supabase.rest.media_types import SINGLE_OBJECT, check_content_type, representation
from worker.local.supabase.rest.preferences import Preferences
from worker.local.supabase.rest.query import Query
from worker.local.supabase.rest.ranges import Range, requested_range
from worker.local.supabase.rest.sql import SCHEMA

_READS = ("GET", "HEAD")
_CHANGES = ("POST", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request to the REST API.

    Attributes:
        name: Name of the table or the function.
        rows: The requested range of the matching rows.
        body: `None` if PostgREST ignores it.
        is_profiled: Whether the request names its schema.
        accept: The header. It is checked when the table is known.
    """

    method: str
    name: str
    is_rpc: bool
    query: Query
    rows: Range
    headers: dict[str, str]
    cookies: dict[str, str]
    body: Body | None
    claims: dict[str, Any]
    is_profiled: bool
    accept: str | None
    preferences: Preferences

    @property
    def role(self) -> str:
        """The database role of the request."""
        return str(self.claims["role"])

    @property
    def is_read(self) -> bool:
        """Whether its method is GET or HEAD, which may not change anything."""
        return self.method in _READS

    @property
    def is_change(self) -> bool:
        """Whether it changes rows of a table."""
        return not self.is_rpc and not self.is_read

    @property
    def has_rows(self) -> bool:
        """Whether the body of the response has rows."""
        return self.method != "HEAD" and (not self.is_change or self.preferences.wants_rows)

    @property
    def media_type(self) -> str:
        """The media type of the response.

        Raises:
            RestError: There is none that the client accepts.
        """
        return representation(self.accept)

    @property
    def is_single(self) -> bool:
        """Whether the response is one object."""
        return self.media_type == SINGLE_OBJECT

    @property
    def path(self) -> str:
        """The path below the address of the API."""
        return f"/rpc/{self.name}" if self.is_rpc else f"/{self.name}"

    @property
    def max_affected(self) -> int | None:
        """How many rows the request may affect. `None` without a limit."""
        has_limit = self.preferences.is_strict and (self.is_rpc or self.method in ("PATCH", "DELETE"))
        return self.preferences.max_affected if has_limit else None

    def check(self) -> None:
        """Check what PostgREST checks once it knows the table or the function.

        Raises:
            RestError: Aggregates are used, no accepted media type is available, or a preference is invalid.
        """
        if self.query.select.has_aggregates:
            raise RestError(400, "PGRST123", "Use of aggregate functions is not allowed")
        representation(self.accept)
        self.preferences.check()


async def parse_request(request: Request, claims: Claims) -> ApiRequest:
    """Read a request in the order of PostgREST: the first error decides the response.

    Raises:
        RestError: The request is not valid, or the local stack does not support a part of it.
    """
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.raw}
    method, authorized = request.method, claims.of_header(headers.get("authorization"))
    name, is_rpc = _target(request.path_params["path"])
    schema = headers.get("content-profile" if method in (*_CHANGES, "PUT") else "accept-profile")
    if schema not in (None, SCHEMA):
        hint = f"Only the following schemas are exposed: {SCHEMA}"
        raise RestError(406, "PGRST106", f"Invalid schema: {schema}", hint=hint)
    _check_method(method, is_rpc=is_rpc)
    query = Query(request.scope["query_string"].decode("latin-1"), has_arguments=is_rpc and method in _READS)
    range_header = headers.get("range") if method == "GET" else None
    limits = query.limits.get((), {})
    rows = requested_range(limits.get("limit"), limits.get("offset"), range_header)
    body = None
    if method in ("POST", "PATCH"):
        check_content_type(headers.get("content-type"), is_rpc=is_rpc)
        body = Body.parse(await request.body(), query.columns, is_rpc=is_rpc)
    headers.pop("cookie", None)
    return ApiRequest(
        method=method,
        name=name,
        is_rpc=is_rpc,
        query=query,
        rows=rows,
        headers=headers,
        cookies=request.cookies,
        body=body,
        claims=authorized,
        is_profiled=schema is not None,
        accept=headers.get("accept"),
        preferences=Preferences.parse(request.headers.getlist("prefer")),
    )


def _target(path: str) -> tuple[str, bool]:
    segments = path.split("/")
    if segments == [""]:
        raise unsupported("the description of the API (OpenAPI)")
    if len(segments) == 1:
        return segments[0], False
    if len(segments) == 2 and segments[0] == "rpc":  # noqa: PLR2004 - /rpc/<name>
        return segments[1], True
    raise RestError(404, "PGRST125", "Invalid path specified in request URL")


def _check_method(method: str, *, is_rpc: bool) -> None:
    if method == "OPTIONS" or (method == "PUT" and not is_rpc):
        raise unsupported(f"the method {method}")
    if is_rpc and method not in (*_READS, "POST"):
        raise RestError(405, "PGRST101", f"Cannot use the {method} method on RPC")
    if method not in (*_READS, *_CHANGES):
        raise RestError(405, "PGRST117", f"Unsupported HTTP method: {method}")
