"""The slice of PostgREST 14 that supabase-py and supabase-js use.

Every request is one transaction under the role of its token: Postgres decides what is allowed, and makes the JSON.
What PostgREST answers and this slice does not, is refused: `docs/local-supabase.md` lists it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

import psycopg
import psycopg_pool
from psycopg.rows import class_row, scalar_row
from psycopg.sql import SQL, Composed
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from worker.local.supabase.rest import hints as rest_hints
from worker.local.supabase.rest import relationships as rest_relationships
from worker.local.supabase.rest import schema as rest_schema
from worker.local.supabase.rest import statement as rest_statement
from worker.local.supabase.rest.auth import Claims
from worker.local.supabase.rest.call import READS, Call, understand
from worker.local.supabase.rest.errors import RestError, from_psycopg, unknown
from worker.local.supabase.rest.query import Embed
from worker.local.supabase.rest.relationships import Relationship
from worker.local.supabase.rest.resource import resource
from worker.local.supabase.rest.response import Result, check_size, max_affected, response
from worker.local.supabase.rest.schema import Function, Table
from worker.local.supabase.tokens import Tokens

_Connection = psycopg.AsyncConnection[Any]
_T = TypeVar("_T")

# `alter role ... set` is for the role that connects: PostgREST applies that of the role that it becomes.
_PREPARE_SETTINGS = """
prepare pgrst_settings as select
    set_config('search_path', 'public, extensions', true), set_config('role', $1, true),
    set_config('request.jwt.claims', $2, true), set_config('request.method', $3, true),
    set_config('request.path', $4, true), set_config('request.headers', $5, true),
    set_config('request.cookies', $6, true), set_config('transaction_read_only', $7, true),
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
    return [Route("/{path:path}", _Rest(pool, Claims(tokens)))]


async def configure(connection: _Connection) -> None:
    """Make a new connection ready for requests."""
    # What is known together is sent together: `begin` with what follows it, and `commit` with what it follows.
    await connection.set_autocommit(True)
    connection.cursor_factory = psycopg.AsyncClientCursor
    await connection.execute(_PREPARE_SETTINGS + rest_schema.PREPARE + rest_relationships.PREPARE)


class _Rest:
    """Answers requests, of whatever method."""

    def __init__(self, pool: psycopg_pool.AsyncConnectionPool, claims: Claims) -> None:
        self._pool = pool
        self._claims = claims

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._answer(Request(scope, receive))
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            call = await understand(request, self._claims)
            try:
                async with self._pool.connection() as connection:
                    return await _answer(connection, call)
            except psycopg.Error as error:
                raise from_psycopg(error, role=call.role) from None
        except RestError as error:
            return error.response()
        except RecursionError:
            return unknown("requests that are nested so deeply").response()


async def _answer(connection: _Connection, call: Call) -> Response:
    returns_nothing = has_conflict_target = False
    if call.is_rpc:
        function = await _function(connection, call)
        asked = resource(function.label, call.query, await _related(connection, call, function.label))
        returns_nothing = function.returns_void
        _check(call)
        if max_affected(call) is not None and not function.returns_set:
            message = "Function must return SETOF or TABLE when max-affected preference is used with handling=strict"
            raise RestError(400, "PGRST128", message)
        statement = rest_statement.function_call(call, function, asked)
    else:
        table = await _table(connection, call)
        related = await _related(connection, call, table.name)
        asked = resource(table.name, call.query, related, is_changed=call.is_change)
        if call.is_change:
            statement = rest_statement.change(call, table, asked)
            has_conflict_target = bool(table.primary_key) or call.query.unique is not None
        else:
            statement = rest_statement.read(call, table, asked)
        _check(call)
    if not call.is_single and max_affected(call) is None:
        statement += SQL("; commit")  # nothing can be wrong with the result
    result = await _result(connection, statement)
    check_size(call, result.size)
    return response(call, result, returns_nothing=returns_nothing, has_conflict_target=has_conflict_target)


def _check(call: Call) -> None:
    """Check what PostgREST looks at when it knows the table or the function."""
    if call.query.has_aggregates:
        raise RestError(400, "PGRST123", "Use of aggregate functions is not allowed")
    assert call.media_type, "or else it is refused here"
    call.preferences.check()


async def _result(connection: _Connection, statement: Composed) -> Result:
    cursor = await connection.execute(statement)
    while cursor.description is None:  # of what comes before the statement itself
        cursor.nextset()
    [row] = await cursor.fetchall()
    return Result(*row)


async def _begin(connection: _Connection, call: Call, kind: type[_T]) -> list[_T]:
    """Begin the transaction as the request's role, and return what the catalogue has under the request's name."""
    settings = (
        call.role,
        json.dumps(call.claims),
        call.method,
        f"/rpc/{call.name}" if call.is_rpc else f"/{call.name}",
        json.dumps(call.headers),
        json.dumps(call.cookies),
        "on" if call.only_reads else "off",
    )
    cursor = connection.cursor(row_factory=class_row(kind))
    begin = f"begin; execute pgrst_settings(%s, %s, %s, %s, %s, %s, %s); execute pgrst_{kind.__name__}(%s)"
    await cursor.execute(begin, (*settings, call.name))
    while cursor.nextset():
        pass
    return await cursor.fetchall()


async def _table(connection: _Connection, call: Call) -> Table:
    found = await _begin(connection, call, Table)
    if not found:
        raise rest_hints.no_table(call.name, await _names(connection, rest_hints.TABLES))
    if found[0].has_representations:
        raise unknown("columns whose domain is cast to JSON or text")
    return found[0]


async def _function(connection: _Connection, call: Call) -> Function:
    names = call.query.arguments if call.body is None else call.body.names
    is_post = call.method not in READS
    found = await _begin(connection, call, Function)
    function = rest_schema.chosen(found, set(names), is_post=is_post)
    if function is None:
        functions = await _names(connection, rest_hints.FUNCTIONS)
        raise rest_hints.no_function(call.name, names, found, functions, is_post=is_post)
    return function


async def _related(connection: _Connection, call: Call, origin: str) -> Sequence[tuple[Embed, Relationship]]:
    if not call.query.embeds:
        return ()
    cursor = connection.cursor(row_factory=class_row(Relationship))
    await cursor.execute("execute pgrst_relationship(%s)", (origin,))
    found = rest_relationships.in_order(await cursor.fetchall())
    related = []
    for embed in call.query.embeds:
        relationship = rest_relationships.choose(found, origin, embed)
        if relationship is None:
            raise await _no_relationship(connection, origin, embed)
        related.append((embed, relationship))
    return related


async def _no_relationship(connection: _Connection, origin: str, embed: Embed) -> RestError:
    if any(await _names(connection, rest_hints.IS_VIEW, [origin, embed.target])):
        return unknown("relationships of views")
    related = await (await connection.execute(rest_hints.RELATED)).fetchall()
    return rest_hints.no_relationship(origin, embed.target, embed.hint, related)


async def _names(connection: _Connection, query: str, *parameters: Any) -> list[str]:
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(query, parameters)
    return await cursor.fetchall()
