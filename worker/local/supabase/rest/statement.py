"""The one statement that answers a request: it does what is asked, and makes the body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Composed, Identifier

from worker.local.supabase.rest.body import Body
from worker.local.supabase.rest.call import Call
from worker.local.supabase.rest.errors import RestError, unknown
from worker.local.supabase.rest.query import Logic
from worker.local.supabase.rest.resource import Resource
from worker.local.supabase.rest.schema import Function, Table
from worker.local.supabase.rest.sql import SCHEMA, column, joined, sql, where

_SOURCE = Identifier("pgrst_source")
_BODY = "pgrst_body"
# Both conditions always hold. They count the rows that are tried, and take back those that are there already.
_COUNT_INSERTED, _DISCOUNT_UPDATED = (
    SQL(
        "set_config('pgrst.inserted', "
        f"(coalesce(nullif(current_setting('pgrst.inserted', true), ''), '0')::int {step} 1)::text, true) is not null"
    )
    for step in "+-"
)


@dataclass(frozen=True, slots=True)
class _Shape:
    """How rows become the body.

    Attributes:
        value: What stands for one row.
        is_array: Whether there may be any number of them.
        size: Expression of how many rows there are.
    """

    value: str = "pgrst_row"
    is_array: bool = True
    size: str = "count(*)"


def read(call: Call, table: Table, resource: Resource) -> Composed:
    """Return the statement that reads a table."""
    resource.rows = call.rows.capped()
    source = Identifier(SCHEMA, table.name)
    return _answer(call, resource.select(source), total=resource.count(source))


def change(call: Call, table: Table, resource: Resource) -> Composed:
    """Return the statement that changes a table.

    Raises:
        RestError: The body has a column that the table has not (PGRST204), or every row would be changed.
    """
    # The conditions decide what is changed, not what is shown of it.
    conditions, resource.conditions = resource.conditions, []
    inner = [condition for path, part in call.query.parts.items() if path for condition in part.conditions]
    if call.method != "POST" and any(isinstance(condition, Logic) for condition in inner):
        raise unknown("and/or on what is embedded, when rows are changed")
    if table.is_view and call.preferences.resolution and call.query.unique is None:
        raise unknown("upserts into views without on_conflict")
    names = _columns(call.body, table)
    inserted: Composable = SQL("null::int")
    if call.method == "POST":
        action = _insert(call, table, names)
        if call.preferences.resolution == "merge-duplicates":
            inserted = SQL("nullif(current_setting('pgrst.inserted', true), '')::int")
    elif call.method == "PATCH" and not names:
        action = sql("select {} from {} as {} where false", _returned(call, table, resource), *_target(table))
    elif not conditions:  # on the platform the extension safeupdate says so
        raise RestError(400, "21000", f"{'DELETE' if call.method == 'DELETE' else 'UPDATE'} requires a WHERE clause")
    elif call.method == "DELETE":
        action = sql("delete from {} as {}{}", *_target(table), where(conditions))
    else:
        action = sql("{}{}", _update(call.body, table, names), where(conditions))
    if call.method != "PATCH" or names:
        action = sql("{} returning {}", action, _returned(call, table, resource))
    rows = resource.select(_SOURCE) if call.preferences.wants_rows else SQL("select * from pgrst_source")
    return _answer(call, rows, source=action, inserted=inserted)


def function_call(call: Call, function: Function, resource: Resource) -> Composed:
    """Return the statement that calls a function. Where it may not change anything, the transaction only reads."""
    resource.rows = call.rows.capped()
    types = function.types
    rows: Composable = SQL("")
    values: dict[str, Composable]
    if call.body is None:
        arguments = call.query.arguments
        values = {name: sql("{}::{}", value, SQL(types[name])) for name, value in arguments.items()}
    else:
        values = {name: Identifier(_BODY, name) for name in call.body.names}
        if values:
            rows = sql("(select * from {} limit 1) as pgrst_body, lateral ", call.body.rows(types))
    arguments_ = joined(", ", [sql("{} := {}", Identifier(name), value) for name, value in values.items()])
    called = sql("{}({})", Identifier(SCHEMA, function.name), arguments_)
    if function.returns_composite:
        names = _distinct([*resource.names, *resource.filtered])
        returned = joined(", ", [column("pgrst_call", name) for name in names])
        source = sql("select {} from {}{} as pgrst_call", returned, rows, called)
    else:
        source = sql("select pgrst_call.pgrst_scalar from {}(select {} as pgrst_scalar) as pgrst_call", rows, called)
    # One of several plain values is an object, too.
    is_object = function.returns_composite or (function.returns_set and call.is_single)
    shape = _Shape(
        value="pgrst_row" if is_object else "pgrst_row.pgrst_scalar",
        is_array=function.returns_set,
        size="count(*)" if function.returns_set else "1",
    )
    total = resource.count(_SOURCE)
    statement = _answer(call, resource.select(_SOURCE), source=source, total=total, shape=shape)
    return statement if function.is_volatile else sql("set transaction read only; {}", statement)


def _answer(
    call: Call,
    rows: Composable,
    *,
    source: Composable | None = None,
    total: Composable | None = None,
    inserted: Composable | None = None,
    shape: _Shape | None = None,
) -> Composed:
    """Return the whole statement. Its row has the fields of `Result`.

    Args:
        call: Whether rows are counted, and whether there is a body.
        rows: What is answered.
        source: What is done first: its rows are `pgrst_source`.
        total: Expression of how many rows match.
        inserted: Expression of how many rows are new.
        shape: How rows become the body.
    """
    shape = shape or _Shape()
    body: Composable = SQL("''")
    if call.has_rows:
        array = f"json_agg({shape.value})"
        is_array = shape.is_array and not call.is_single
        body = SQL(f"coalesce({array}, '[]')::text" if is_array else f"coalesce({array}->0, 'null')::text")
    return sql(
        "{}select {}, {}, {}, {}, nullif(current_setting('response.headers', true), ''), "
        "nullif(current_setting('response.status', true), '') from ({}) as pgrst_row",
        sql("with pgrst_source as ({}) ", source) if source else SQL(""),
        total if total and call.preferences.counts else SQL("null::bigint"),
        SQL(shape.size),
        body,
        inserted or SQL("null::int"),
        rows,
    )


def _insert(call: Call, table: Table, names: Sequence[str]) -> Composed:
    assert call.body is not None, "a POST has one"
    columns = joined(", ", map(Identifier, names))
    merges = call.preferences.resolution == "merge-duplicates"
    return sql(
        "insert into {} as {}{} select {} from {}{}{}",
        *_target(table),
        sql(" ({})", columns) if names else columns,
        joined(", ", [Identifier(_BODY, name) for name in names]),
        call.body.rows(table.types),
        sql(" where {}", _COUNT_INSERTED) if merges else SQL(""),
        _on_conflict(call, table, names),
    )


def _on_conflict(call: Call, table: Table, names: Sequence[str]) -> Composable:
    resolution, unique = call.preferences.resolution, conflict_target(call, table)
    if not (resolution and unique):
        return SQL("")
    changes = joined(", ", [sql("{0} = excluded.{0}", Identifier(name)) for name in names])
    is_merged = resolution == "merge-duplicates" and names
    action = sql("update set {} where {}", changes, _DISCOUNT_UPDATED) if is_merged else SQL("nothing")
    return sql(" on conflict ({}) do {}", joined(", ", map(Identifier, unique)), action)


def conflict_target(call: Call, table: Table) -> list[str]:
    """Return the columns by which rows are known to be there already."""
    return table.primary_key if call.query.unique is None else call.query.unique


def _update(body: Body | None, table: Table, names: Sequence[str]) -> Composed:
    assert body is not None, "a PATCH has one"
    changes = [sql("{} = {}", Identifier(name), Identifier(_BODY, name)) for name in names]
    return sql("update {} as {} set {} from {}", *_target(table), joined(", ", changes), body.rows(table.types))


def _columns(body: Body | None, table: Table) -> Sequence[str]:
    names = body.names if body else []
    for name in names:
        if name not in table.types:
            message = f"Could not find the '{name}' column of '{table.name}' in the schema cache"
            raise RestError(400, "PGRST204", message)
    return names


def _returned(call: Call, table: Table, resource: Resource) -> Composable:
    if not call.preferences.wants_rows:
        return SQL("1")
    return joined(", ", [column(table.name, name) for name in _distinct([*resource.names, *table.primary_key])])


def _distinct(names: Sequence[str]) -> list[str]:
    return ["*"] if "*" in names else list(dict.fromkeys(names))


def _target(table: Table) -> tuple[Identifier, Identifier]:
    return Identifier(SCHEMA, table.name), Identifier(table.name)
