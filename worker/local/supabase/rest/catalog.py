"""Begins the transaction of a request, and looks up what its name means in the catalog.

The catalog is read for each request, so that it is never out of date. To be fast, the queries are prepared on each
connection, and sent together with what begins the transaction.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, TypeVar

import psycopg
from psycopg.rows import class_row, scalar_row

from worker.local.supabase.rest import foreign_keys, not_found, schema
from worker.local.supabase.rest.api_request import ApiRequest
from worker.local.supabase.rest.errors import unsupported
from worker.local.supabase.rest.foreign_keys import Constraint, ForeignKeys, Relation
from worker.local.supabase.rest.relationships import Relationship, choose_relationship, in_order
from worker.local.supabase.rest.resources import Resource
from worker.local.supabase.rest.schema import ColumnTypes, Function, Table, choose_function
from worker.local.supabase.rest.view_columns import view_columns

Connection = psycopg.AsyncConnection[Any]
_T = TypeVar("_T")

# `alter role ... set` applies to the role that connects. PostgREST applies the setting of the role that it switches to.
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
_MAX_CACHED_STATES = 8
_FOREIGN_KEYS: dict[tuple[str, str], ForeignKeys] = {}

PREPARE = _PREPARE_SETTINGS + schema.PREPARE + foreign_keys.PREPARE
"""Statements that prepare the queries of this module on a connection."""


async def begin_with_table(connection: Connection, request: ApiRequest) -> Table:
    """Begin the transaction, and return the table of the request.

    Raises:
        RestError: There is no such table (PGRST205).
    """
    found = await _begin(connection, request, Table)
    if not found:
        raise not_found.no_table(request.name, await _names(connection, not_found.TABLES))
    if found[0].has_representations:
        raise unsupported("columns whose domain is cast to JSON or text")
    if found[0].is_view and request.is_change:
        keys = await _foreign_keys(connection)
        return replace(found[0], primary_key=sorted(keys.primary_key(found[0].name)))
    return found[0]


async def begin_with_function(connection: Connection, request: ApiRequest) -> Function:
    """Begin the transaction, and return the function that takes the arguments of the request.

    Raises:
        RestError: There is no such function (PGRST202), or more than one (PGRST203).
    """
    names = request.query.arguments if request.body is None else request.body.names
    is_post = not request.is_read
    found = await _begin(connection, request, Function)
    function = choose_function(found, set(names), is_post=is_post)
    if function is None:
        functions = await _names(connection, not_found.FUNCTIONS)
        raise not_found.no_function(request.name, names, found, functions, is_post=is_post)
    return function


async def find_relationships(connection: Connection, resource: Resource, origin: str) -> None:
    """Find the relationship of each resource that is embedded in another, at any depth.

    Args:
        connection: In the transaction of the request.
        resource: The outermost resource.
        origin: Name of its table.

    Raises:
        RestError: There is no such relationship (PGRST200), or more than one (PGRST201).
    """
    if not resource.embedded:
        return
    await _relate(connection, await _foreign_keys(connection), resource, origin)
    targets = [inner.relationship.target for inner in resource.all() if inner.relationship]
    if any(await _names(connection, "execute pgrst_represented(%s)", targets)):
        raise unsupported("columns whose domain is cast to JSON or text")


async def _relate(connection: Connection, keys: ForeignKeys, resource: Resource, origin: str) -> None:
    computed = await _names(connection, "execute pgrst_computed(%s)", origin)
    found = [one for one in keys.relationships(origin) if one.target not in computed]
    found = in_order([*found, *(Relationship.computed(origin, function) for function in computed)])
    for inner in resource.embedded:
        assert inner.embed is not None, "only the root is not embedded"
        inner.relationship = choose_relationship(found, origin, inner.embed)
        if inner.relationship is None:
            raise not_found.no_relationship(origin, inner.embed.target, inner.embed.hint, keys.related())
        if inner.embedded:
            await _relate(connection, keys, inner, inner.relationship.target)


async def read_types(connection: Connection, root: Resource, name: str) -> ColumnTypes:
    """Return the types of the columns of the resources of a request.

    Args:
        connection: In the transaction of the request.
        root: The resources.
        name: Name of the table, or of the type of the function's rows.
    """
    resources = [*root.all()]
    if not any(resource.needs_types for resource in resources):
        return ColumnTypes()
    # As in PostgREST, by the name that the request gives: an embed by the name of a column has no known types.
    names = [name, *(resource.embed.target for resource in resources if resource.embed)]
    cursor = await connection.execute("execute pgrst_types(%s)", (names,))
    return ColumnTypes({(table, column): kind for table, column, kind in await cursor.fetchall()})


async def _begin(connection: Connection, request: ApiRequest, kind: type[_T]) -> list[_T]:
    """Begin the transaction with the role of the request, and return what has its name."""
    settings = (
        request.role,
        json.dumps(request.claims),
        request.method,
        request.path,
        json.dumps(request.headers),
        json.dumps(request.cookies),
        "on" if request.is_read else "off",
    )
    cursor = connection.cursor(row_factory=class_row(kind))
    begin = f"begin; execute pgrst_settings(%s, %s, %s, %s, %s, %s, %s); execute pgrst_{kind.__name__}(%s)"
    await cursor.execute(begin, (*settings, request.name))
    while cursor.nextset():
        pass
    return await cursor.fetchall()


async def _foreign_keys(connection: Connection) -> ForeignKeys:
    """Return the foreign keys. They are derived once for each state of the schema."""
    [state] = await (await connection.execute("execute pgrst_foreign_keys")).fetchall()
    if state not in _FOREIGN_KEYS:
        relations = [Relation(**relation) for relation in json.loads(state[0] or "[]")]
        views = [relation.oid for relation in relations if relation.definition]
        definitions = await (await connection.execute("execute pgrst_definitions(%s)", (views,))).fetchall()
        constraints = [Constraint(**constraint) for constraint in json.loads(state[1] or "[]")]
        keys = ForeignKeys(relations, constraints, {oid: view_columns(text) for oid, text in definitions})
        if len(_FOREIGN_KEYS) >= _MAX_CACHED_STATES:
            _FOREIGN_KEYS.clear()
        _FOREIGN_KEYS[state] = keys
    return _FOREIGN_KEYS[state]


async def _names(connection: Connection, query: str, *parameters: Any) -> list[str]:
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(query, parameters)
    return await cursor.fetchall()
