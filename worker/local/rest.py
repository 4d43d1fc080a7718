"""The slice of PostgREST 14 that supabase-py and supabase-js use.

Every request is one transaction under the role of its token: Postgres decides what is allowed, and makes the JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import psycopg
import psycopg_pool
from psycopg.rows import class_row
from psycopg.sql import SQL, Composable, Composed, Identifier
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from worker.local.rest_errors import RestError, from_psycopg
from worker.local.rest_query import Query, Resource, joined, sql, where
from worker.local.rest_schema import PREPARE, Function, Relationship, Table, choose_function, choose_table
from worker.local.tokens import TokenError, Tokens

_T = TypeVar("_T")

_SCHEMA = "public"
_READS = ("GET", "HEAD")
_JSON, _SINGLE_OBJECT = "application/json", "application/vnd.pgrst.object+json"
_PREFERENCES = {
    "resolution": ("merge-duplicates", "ignore-duplicates"),
    "return": ("representation", "minimal"),
    "count": ("exact",),
    "handling": ("strict", "lenient"),
}
_SOURCE = Identifier("pgrst_source")
# `alter role ... set` is for the role that connects: PostgREST applies that of the role that it becomes.
_PREPARE_SETTINGS = """
prepare pgrst_settings as select
    set_config('search_path', 'public, extensions', true), set_config('role', $1, true),
    set_config('request.jwt.claims', $2, true), set_config('request.method', $3, true),
    set_config('request.path', $4, true), set_config('request.headers', $5, true),
    set_config('transaction_read_only', $6, true),
    (
        select set_config('statement_timeout', split_part(setting, '=', 2), true)
        from pg_roles, unnest(rolconfig) as setting where rolname = $1 and setting like 'statement_timeout=%'
    );
"""


def rest_routes(pool: psycopg_pool.AsyncConnectionPool, tokens: Tokens) -> list[BaseRoute]:
    """Return the routes of the REST API, to be mounted at `/rest/v1`.

    Args:
        pool: Connections of the role `authenticator`, each of them made ready by `configure`.
        tokens: Verifies the tokens of requests.
    """

    async def answer(request: Request, *, is_rpc: bool) -> Response:
        try:
            call = await _understood(request, tokens, is_rpc=is_rpc)
            try:
                async with pool.connection() as connection:
                    return await _answer(connection, call)
            except psycopg.Error as error:
                raise from_psycopg(error, role=call.role) from None
        except RestError as error:
            return error.response()
        except RecursionError:
            return RestError(400, "PGRST100", "The request is nested too deeply").response()

    return [
        Route("/rpc/{name}", partial(answer, is_rpc=True), methods=["GET", "POST"]),
        Route("/{name}", partial(answer, is_rpc=False), methods=["GET", "POST", "PATCH", "DELETE"]),
    ]


async def configure(connection: psycopg.AsyncConnection[Any]) -> None:
    """Make a new connection ready for requests."""
    # What is known together is sent together: `begin` with what follows it, and `commit` with what it follows.
    await connection.set_autocommit(True)
    connection.cursor_factory = psycopg.AsyncClientCursor
    await connection.execute(_PREPARE_SETTINGS + PREPARE)


@dataclass(frozen=True, slots=True)
class _Content:
    """A request's body: a JSON array of objects, and the names of those members that count."""

    text: str
    names: list[str]

    @classmethod
    def parse(cls, body: bytes, columns: list[str] | None) -> _Content:
        """Check the body as PostgREST does: its values are for Postgres to read."""
        try:
            text = body.decode()
            document = json.loads(text)
        except (ValueError, RecursionError):
            raise RestError(400, "PGRST102", "Empty or invalid json") from None
        objects = document if isinstance(document, list) else [document]
        names = columns
        if names is None:
            if any(not isinstance(item, dict) or item.keys() != objects[0].keys() for item in objects):
                raise RestError(400, "PGRST102", "All object keys must match")
            names = sorted(objects[0]) if objects else []
        return cls(text if objects is document else f"[{text}]", names)

    def rows(self, types: Mapping[str, str]) -> Composable:
        """Return its objects as rows, `pgrst_body`. Without names, they are as many rows of nothing.

        Args:
            types: Type of each member.
        """
        if not self.names:
            return sql("json_array_elements({}::json) as pgrst_body", self.text)
        columns = joined(", ", [sql("{} {}", Identifier(name), SQL(types[name])) for name in self.names])
        return sql("json_to_recordset({}::json) as pgrst_body ({})", self.text, columns)


@dataclass(frozen=True, slots=True)
class _Call:
    """A request, understood as far as that goes without the database."""

    method: str
    name: str
    is_rpc: bool
    query: Query
    headers: dict[str, str]
    content: _Content
    claims: dict[str, Any]
    is_single: bool
    preferences: dict[str, str]

    @property
    def role(self) -> str:
        return str(self.claims["role"])

    @property
    def reads(self) -> bool:
        return self.is_rpc or self.method in _READS

    @property
    def has_representation(self) -> bool:
        return self.method != "HEAD" and (self.reads or self.preferences.get("return") == "representation")


class _Result(NamedTuple):
    total: int | None
    size: int
    body: str


async def _understood(request: Request, tokens: Tokens, *, is_rpc: bool) -> _Call:
    method, headers = request.method, dict(request.headers)
    claims = _claims(headers.get("authorization", ""), tokens)
    schema = headers.get("accept-profile" if method in _READS else "content-profile", _SCHEMA)
    if schema != _SCHEMA:
        hint = f"Only the following schemas are exposed: {_SCHEMA}"
        raise RestError(406, "PGRST106", f"Invalid schema: {schema}", hint=hint)
    accept = headers.get("accept", "*/*")
    accepted = {media_type.partition(";")[0].strip() for media_type in accept.split(",")}
    if accepted.isdisjoint(("*/*", _JSON, _SINGLE_OBJECT)):
        raise RestError(406, "PGRST107", f"None of these media types are available: {accept}")
    query = Query(request.scope["query_string"].decode("utf-8", "replace"))
    body = await request.body() if method in ("POST", "PATCH") else b"[]"
    return _Call(
        method=method,
        name=request.path_params["name"],
        is_rpc=is_rpc,
        query=query,
        headers=headers,
        content=_Content.parse(body or (b"{}" if is_rpc else b""), query.columns),
        claims=claims,
        is_single=_SINGLE_OBJECT in accepted,
        preferences=_preferences(headers.get("prefer", "")),
    )


def _claims(authorization: str, tokens: Tokens) -> dict[str, Any]:
    try:
        return {"role": "anon", **tokens.claims(authorization.partition(" ")[2].strip())}
    except TokenError as error:
        is_expired = str(error) == "JWT expired"
    code, message = ("PGRST303", "JWT expired") if is_expired else ("PGRST301", "No suitable key or wrong key type")
    challenge = {"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{message}"'}
    raise RestError(401, code, message, headers=challenge)


def _preferences(header: str) -> dict[str, str]:
    preferences: dict[str, str] = {}
    for preference in filter(None, map(str.strip, header.split(","))):
        name, _, value = preference.partition("=")
        # PostgREST passes over what it does not know. Here that may be what the platform does know.
        if value not in _PREFERENCES.get(name, ()) and not (name == "max-affected" and value.isdecimal()):
            details = f"Invalid preferences: {preference}"
            raise RestError(400, "PGRST122", "Preferences that the local stack does not know", details=details)
        preferences[name] = value
    return preferences


async def _answer(connection: psycopg.AsyncConnection[Any], call: _Call) -> Response:
    function: Function | None = None
    if call.is_rpc:
        arguments = call.query.arguments if call.method in _READS else call.content.names
        function = choose_function(await _begin(connection, call, Function), call.name, set(arguments))
        resource = await _resource(connection, call, function.returned_table or function.name)
        statement = _function_call(call, function, resource)
    else:
        table = choose_table(await _begin(connection, call, Table), call.name)
        resource = await _resource(connection, call, table.name)
        if call.reads:
            statement = _statement(call, resource.select(resource.source), total=resource.count(resource.source))
        else:
            statement = _change(call, resource, table)
    if not (call.is_single or resource.offset or "max-affected" in call.preferences):
        statement += SQL("; commit")  # nothing can be wrong with the result
    [row] = await (await connection.execute(statement)).fetchall()
    result = _Result(*row)
    # The client does not take more than it said: then this transaction can still be undone.
    if call.is_single and result.size != 1:
        message = "Cannot coerce the result to a single JSON object"
        raise RestError(406, "PGRST116", message, details=f"The result contains {result.size} rows")
    if result.size > int(call.preferences.get("max-affected", result.size)):
        message = "Query result exceeds max-affected preference constraint"
        raise RestError(400, "PGRST124", message, details=f"The query affects {result.size} rows")
    return _response(call, result, resource.offset, is_void=function is not None and function.returns_void)


async def _begin(connection: psycopg.AsyncConnection[Any], call: _Call, kind: type[_T]) -> list[_T]:
    """Begin the transaction as the request's role, and return what the catalogue has under the request's name."""
    settings = (
        call.role,
        json.dumps(call.claims),
        call.method,
        f"/rpc/{call.name}" if call.is_rpc else f"/{call.name}",
        json.dumps(call.headers),
        "on" if call.method in _READS else "off",
    )
    cursor = connection.cursor(row_factory=class_row(kind))
    begin = f"begin; execute pgrst_settings(%s, %s, %s, %s, %s, %s); execute pgrst_{kind.__name__}(%s)"
    await cursor.execute(begin, (*settings, call.name))
    while cursor.nextset():
        pass
    return await cursor.fetchall()


async def _resource(connection: psycopg.AsyncConnection[Any], call: _Call, name: str) -> Resource:
    relationships: Sequence[Relationship] = ()
    if "(" in call.query.select:  # something is embedded
        cursor = connection.cursor(row_factory=class_row(Relationship))
        relationships = await (await cursor.execute("execute pgrst_Relationship(%s)", (name,))).fetchall()
    return call.query.resource(name, relationships, skip_arguments=call.is_rpc and call.method in _READS)


def _change(call: _Call, resource: Resource, table: Table) -> Composed:
    # The conditions decide what is changed, not what is shown of it.
    conditions, resource.conditions, resource.limit = resource.conditions, [], None
    if call.method == "POST":
        change = _insert(call, table)
    elif not conditions:  # on the platform the extension safeupdate says so
        raise RestError(400, "21000", f"{'DELETE' if call.method == 'DELETE' else 'UPDATE'} requires a WHERE clause")
    elif call.method == "DELETE":
        change = sql("delete from {} as {}{}", resource.source, Identifier(table.name), where(conditions))
    else:
        change = sql("{}{}", _update(call, table), where(conditions))
    if not call.has_representation:
        return _statement(call, SQL("select from pgrst_source"), source=sql("{} returning 1", change))
    names = ["*"] if "*" in resource.columns else dict.fromkeys(resource.columns)
    returning = joined(", ", map(resource.column, names))
    return _statement(call, resource.select(_SOURCE), source=sql("{} returning {}", change, returning))


def _insert(call: _Call, table: Table) -> Composed:
    names = _columns(call, table)
    columns = joined(", ", map(Identifier, names))
    unique = table.primary_key if call.query.unique is None else call.query.unique
    resolution = call.preferences.get("resolution")
    on_conflict: Composable = SQL("")
    if resolution and unique:
        changes = joined(", ", [sql("{0} = excluded.{0}", Identifier(name)) for name in names])
        is_merged = resolution == "merge-duplicates" and names
        action = sql("update set {}", changes) if is_merged else SQL("nothing")
        on_conflict = sql(" on conflict ({}) do {}", joined(", ", map(Identifier, unique)), action)
    return sql(
        "insert into {} as {}{} select {} from {}{}",
        Identifier("public", table.name),
        Identifier(table.name),
        sql(" ({})", columns) if names else columns,
        joined(", ", [Identifier("pgrst_body", name) for name in names]),
        call.content.rows(table.types),
        on_conflict,
    )


def _update(call: _Call, table: Table) -> Composed:
    changes = [sql("{} = {}", Identifier(name), Identifier("pgrst_body", name)) for name in _columns(call, table)]
    return sql(
        "update {} as {} set {} from {}",
        Identifier("public", table.name),
        Identifier(table.name),
        joined(", ", changes),
        call.content.rows(table.types),
    )


def _columns(call: _Call, table: Table) -> Sequence[str]:
    for name in call.content.names:
        if name not in table.types:
            message = f"Could not find the '{name}' column of '{table.name}' in the schema cache"
            raise RestError(400, "PGRST204", message)
    return call.content.names


def _function_call(call: _Call, function: Function, resource: Resource) -> Composed:
    types = function.types
    rows: Composable = SQL("")
    if call.method in _READS:
        values: dict[str, Composable] = {
            name: sql("{}::{}", value, SQL(types[name])) for name, value in call.query.arguments.items()
        }
    else:
        values = {name: Identifier("pgrst_body", name) for name in call.content.names}
        rows = sql("(select * from {} limit 1) as pgrst_body, lateral ", call.content.rows(types))
    arguments = joined(", ", [sql("{} := {}", Identifier(name), value) for name, value in values.items()])
    name = Identifier("public", function.name)
    source = sql("select pgrst_call.* from {}{}({}) as pgrst_call", rows, name, arguments)
    return _statement(call, resource.select(_SOURCE), source=source, total=resource.count(_SOURCE), function=function)


def _statement(
    call: _Call,
    rows: Composable,
    *,
    source: Composable | None = None,
    total: Composable | None = None,
    function: Function | None = None,
) -> Composed:
    """Return the whole statement, which gives how many rows match, how many are answered, and the body.

    Args:
        call: Whether rows are counted, and whether there is a body.
        rows: What is answered.
        source: What is done first: its rows are `pgrst_source`.
        total: Expression of how many rows match.
        function: Whose rows they are.
    """
    body: Composable = SQL("''")
    if call.has_representation:
        is_scalar = function is not None and not function.returns_composite
        is_array = not call.is_single and (function is None or function.returns_set)
        array = f"json_agg({'pgrst_row.pgrst_call' if is_scalar else 'pgrst_row'})"
        body = SQL(f"coalesce({array}, '[]')::text" if is_array else f"coalesce({array}->0, 'null')::text")
    return sql(
        "{}select {}, count(*), {} from ({}) as pgrst_row",
        sql("with pgrst_source as ({}) ", source) if source else SQL(""),
        total if total and "count" in call.preferences else SQL("null::bigint"),
        body,
        rows,
    )


def _response(call: _Call, result: _Result, offset: int, *, is_void: bool) -> Response:
    total, size = result.total, result.size
    if not call.reads and "count" in call.preferences:
        total = size
    is_shown = size > 0 and (call.reads or call.method == "PATCH")
    shown = f"{offset}-{offset + size - 1}" if is_shown else "*"
    headers = {"Content-Range": f"{shown}/{'*' if total is None else total}"}
    if call.preferences:
        headers["Preference-Applied"] = ", ".join(f"{name}={value}" for name, value in call.preferences.items())
    if call.reads and total is not None and offset > total:
        details = f"An offset of {offset} was requested, but there are only {total} rows."
        raise RestError(416, "PGRST103", "Requested range not satisfiable", details=details, headers=headers)
    if is_void:
        return Response(status_code=204, headers=headers)
    if call.reads:
        status = 206 if total is not None and size < total else 200
    elif call.method == "POST":
        status = 201
    else:
        status = 200 if call.has_representation else 204
    if call.has_representation:
        headers["Content-Type"] = f"{_SINGLE_OBJECT if call.is_single else _JSON}; charset=utf-8"
    return Response(result.body or None, status, headers)
