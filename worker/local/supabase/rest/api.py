"""The endpoint of the REST API: answers each request with one transaction under the role of its token."""

from __future__ import annotations

import psycopg
import psycopg_pool
from psycopg.sql import SQL, Composed
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from worker.local.supabase.rest import catalog
from worker.local.supabase.rest.api_request import ApiRequest, parse_request
from worker.local.supabase.rest.catalog import (
    Connection,
    begin_with_function,
    begin_with_table,
    find_relationships,
    read_types,
)
from worker.local.supabase.rest.claims import Claims
from worker.local.supabase.rest.errors import RestError, from_psycopg, unsupported
from worker.local.supabase.rest.ranges import MAX_ROWS
from worker.local.supabase.rest.read_plan import ReadPlan, Source, plan_read
from worker.local.supabase.rest.response import Result, check_size, make_response
from worker.local.supabase.rest.statement import (
    SOURCE,
    call_statement,
    change_statement,
    explain_statement,
    read_statement,
)
from worker.local.supabase.tokens import Tokens


def rest_routes(pool: psycopg_pool.AsyncConnectionPool, tokens: Tokens) -> list[BaseRoute]:
    """Return the routes of the REST API, to be mounted at `/rest/v1`.

    Args:
        pool: Connections of the role `authenticator`. `configure` has to prepare each of them.
        tokens: Verifies the tokens of requests.
    """
    return [Route("/{path:path}", _Rest(pool, Claims(tokens)))]


async def configure(connection: Connection) -> None:
    """Prepare a new connection for requests."""
    # Autocommit, because statements are sent together: `begin` with what follows it, `commit` with what precedes it.
    await connection.set_autocommit(True)
    connection.cursor_factory = psycopg.AsyncClientCursor
    await connection.execute(catalog.PREPARE)


class _Rest:
    """Answers requests of any method."""

    def __init__(self, pool: psycopg_pool.AsyncConnectionPool, claims: Claims) -> None:
        self._pool = pool
        self._claims = claims

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, http_request: Request) -> Response:
        try:
            request = await parse_request(http_request, self._claims)
            try:
                async with self._pool.connection() as connection:
                    return await _answer(connection, request)
            except psycopg.Error as error:
                raise from_psycopg(error, role=request.role) from None
        except RestError as error:
            return error.response()
        except RecursionError:
            return unsupported("requests that are nested so deeply").response()


async def _answer(connection: Connection, request: ApiRequest) -> Response:
    returns_nothing = has_conflict_target = False
    explain: Composed | None = None
    if request.is_rpc:
        statement, returns_nothing = await _call(connection, request)
    elif request.is_change:
        statement, has_conflict_target = await _change(connection, request)
    else:
        statement, explain = await _read(connection, request)
    if not request.is_single and request.max_affected is None and explain is None:
        statement += SQL("; commit")  # the result cannot be refused any more
    result = await _result(connection, statement)
    check_size(request, result.size)
    if explain is not None and (request.preferences.plans or (result.total or 0) > MAX_ROWS):
        result = result._replace(total=max(result.total or 0, await _planned(connection, explain)))
    return make_response(request, result, returns_nothing=returns_nothing, has_conflict_target=has_conflict_target)


async def _call(connection: Connection, request: ApiRequest) -> tuple[Composed, bool]:
    """Return the statement, and whether the function returns `void`."""
    function = await begin_with_function(connection, request)
    plan = await _plan(connection, request, Source.aliased(SOURCE, alias=function.label))
    request.check()
    if request.max_affected is not None and not function.returns_set:
        message = "Function must return SETOF or TABLE when max-affected preference is used with handling=strict"
        raise RestError(400, "PGRST128", message)
    return call_statement(request, function, plan), function.returns_void


async def _change(connection: Connection, request: ApiRequest) -> tuple[Composed, bool]:
    """Return the statement, and whether a row of an insert could conflict with an existing one."""
    table = await begin_with_table(connection, request)
    plan = await _plan(connection, request, Source.aliased(SOURCE, alias=table.name))
    statement = change_statement(request, table, plan)
    request.check()
    return statement, bool(table.primary_key) or request.query.unique is not None


async def _read(connection: Connection, request: ApiRequest) -> tuple[Composed, Composed | None]:
    """Return the statement, and the one that shows how many rows the planner expects, if that may be needed."""
    table = await begin_with_table(connection, request)
    plan = await _plan(connection, request, Source.table(table.name))
    request.check()
    is_planned = request.preferences.plans or request.preferences.estimates
    return read_statement(request, plan), explain_statement(plan) if is_planned else None


async def _plan(connection: Connection, request: ApiRequest, source: Source) -> ReadPlan:
    root, name = request.query.resources(is_change=request.is_change), source.label[-1]
    await find_relationships(connection, root, name)
    return plan_read(root, source, await read_types(connection, root, name), is_change=request.is_change)


async def _planned(connection: Connection, explain: Composed) -> int:
    [[[top]]] = await (await connection.execute(explain)).fetchall()
    return int(top["Plan"]["Plan Rows"])


async def _result(connection: Connection, statement: Composed) -> Result:
    cursor = await connection.execute(statement)
    while cursor.description is None:  # statements before the one with the result
        cursor.nextset()
    [row] = await cursor.fetchall()
    return Result(*row)
