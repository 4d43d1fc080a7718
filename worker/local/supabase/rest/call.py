"""A request, understood as far as that goes without the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from worker.local.supabase.rest.auth import Claims
from worker.local.supabase.rest.body import Body
from worker.local.supabase.rest.errors import RestError, unknown
from worker.local.supabase.rest.media import SINGLE_OBJECT, check_content_type, representation
from worker.local.supabase.rest.preferences import Preferences
from worker.local.supabase.rest.query import Query
from worker.local.supabase.rest.ranges import Range, requested
from worker.local.supabase.rest.sql import SCHEMA

READS = ("GET", "HEAD")
_CHANGES = ("POST", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class Call:
    """A request.

    Attributes:
        name: Of the table or function.
        rows: Which of the rows that match are asked for.
        body: None where PostgREST does not look at it.
        is_profiled: Whether the request names its schema.
        accept: The header: what it says is looked at when the table is known.
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
        """The database role that the request is made with."""
        return str(self.claims["role"])

    @property
    def only_reads(self) -> bool:
        """Whether its method forbids changes."""
        return self.method in READS

    @property
    def is_change(self) -> bool:
        """Whether it changes a table's rows."""
        return not self.is_rpc and not self.only_reads

    @property
    def has_rows(self) -> bool:
        """Whether the answer has rows in its body."""
        return self.method != "HEAD" and (not self.is_change or self.preferences.wants_rows)

    @property
    def media_type(self) -> str:
        """Media type of the answer."""
        return representation(self.accept)

    @property
    def is_single(self) -> bool:
        """Whether the answer is one object."""
        return self.media_type == SINGLE_OBJECT


async def understand(request: Request, claims: Claims) -> Call:
    """Read a request as PostgREST does, in its order: the first thing that is wrong decides the answer.

    Raises:
        RestError: Something is wrong with it, or the local stack does not know what it asks for.
    """
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.raw}
    method, authorized = request.method, claims.of(headers.get("authorization"))
    name, is_rpc = _addressed(request.path_params["path"])
    schema = headers.get("content-profile" if method in (*_CHANGES, "PUT") else "accept-profile")
    if schema not in (None, SCHEMA):
        hint = f"Only the following schemas are exposed: {SCHEMA}"
        raise RestError(406, "PGRST106", f"Invalid schema: {schema}", hint=hint)
    _check_method(method, is_rpc=is_rpc)
    query = Query(request.scope["query_string"].decode("latin-1"), has_arguments=is_rpc and method in READS)
    range_header = headers.get("range") if method == "GET" else None
    rows = requested(query.root.limit, query.root.offset, range_header)
    body = None
    if method in ("POST", "PATCH"):
        check_content_type(headers.get("content-type"), is_rpc=is_rpc)
        body = Body.parse(await request.body(), query.columns, is_rpc=is_rpc)
    headers.pop("cookie", None)
    return Call(
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


def _addressed(path: str) -> tuple[str, bool]:
    segments = path.split("/")
    if segments == [""]:
        raise unknown("the description of the API (OpenAPI)")
    if len(segments) == 1:
        return segments[0], False
    if len(segments) == 2 and segments[0] == "rpc":  # noqa: PLR2004 - /rpc/<name>
        return segments[1], True
    raise RestError(404, "PGRST125", "Invalid path specified in request URL")


def _check_method(method: str, *, is_rpc: bool) -> None:
    if method == "OPTIONS" or (method == "PUT" and not is_rpc):
        raise unknown(f"the method {method}")
    if is_rpc and method not in (*READS, "POST"):
        raise RestError(405, "PGRST101", f"Cannot use the {method} method on RPC")
    if method not in (*READS, *_CHANGES):
        raise RestError(405, "PGRST117", f"Unsupported HTTP method: {method}")
