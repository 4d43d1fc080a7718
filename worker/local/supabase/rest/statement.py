"""The statement that answers a request: it reads or changes rows, and makes the body of the response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Composed, Identifier

from worker.local.supabase.rest.api_request import ApiRequest
from worker.local.supabase.rest.body import Body
from worker.local.supabase.rest.errors import RestError, unsupported
from worker.local.supabase.rest.media_types import CSV
from worker.local.supabase.rest.ranges import MAX_ROWS
from worker.local.supabase.rest.read_plan import ReadPlan
from worker.local.supabase.rest.schema import Function, Table
from worker.local.supabase.rest.sql import SCHEMA, column, joined, sql, where

SOURCE = "pgrst_source"
"""Name of the query before the main one: its rows are those of a change, or of a function."""

_BODY = "pgrst_body"
# Both conditions are always true. The first one counts the rows, the second one subtracts those that exist already.
_COUNT_INSERTED, _DISCOUNT_UPDATED = (
    SQL(
        "set_config('pgrst.inserted', "
        f"(coalesce(nullif(current_setting('pgrst.inserted', true), ''), '0')::int {step} 1)::text, true) is not null"
    )
    for step in "+-"
)


# The names of columns are those of the first row, as in PostgREST: without rows, there are none.
_CSV = SQL("""
    coalesce((
        select string_agg(name, ',')
        from json_object_keys((select row_to_json(pgrst_first) from pgrst_source as pgrst_first limit 1)) as name
    ), '') || E'\\n' || coalesce(string_agg(substr(pgrst_row::text, 2, length(pgrst_row::text) - 2), E'\\n'), '')
""")


@dataclass(frozen=True, slots=True)
class _Shape:
    """How rows become the body.

    Attributes:
        value: Expression of one row.
        is_array: Whether there may be any number of rows.
        size: Expression of the number of rows.
    """

    value: str = "pgrst_row"
    is_array: bool = True
    size: str = "count(*)"


def read_statement(request: ApiRequest, plan: ReadPlan) -> Composed:
    """Return the statement that reads a table."""
    plan.rows = request.rows.capped()
    # One more than a response may have is enough to know that there are too many to count.
    limit = SQL(f" limit {MAX_ROWS + 1}" if request.preferences.estimates else "")
    total = _count(plan, limit)
    if request.media_type == CSV:
        return _answer(request, sql("select * from {}", Identifier(SOURCE)), source=plan.select(), total=total)
    return _answer(request, plan.select(), total=total)


def explain_statement(plan: ReadPlan) -> Composed:
    """Return the statement that shows the plan of the query of the matching rows, as JSON."""
    return sql("explain (format json) {}", plan.matching())


def change_statement(request: ApiRequest, table: Table, plan: ReadPlan) -> Composed:
    """Return the statement that changes a table.

    Raises:
        RestError: The table does not have a column of the body (PGRST204), or every row would be changed.
    """
    conditions = plan.restrict()
    if request.method != "POST" and request.query.has_logic_within:
        raise unsupported("and/or on what is embedded, when rows are changed")
    names = _columns(request.body, table)
    inserted: Composable = SQL("null::int")
    if request.method == "POST":
        action = _insert(request, table, names)
        if request.preferences.resolution == "merge-duplicates":
            inserted = SQL("nullif(current_setting('pgrst.inserted', true), '')::int")
    elif request.method == "PATCH" and not names:
        action = sql("select {} from {} as {} where false", _returned(request, table, plan), *_target(table))
    elif not conditions:  # as the extension safeupdate of the platform does
        raise RestError(400, "21000", f"{'DELETE' if request.method == 'DELETE' else 'UPDATE'} requires a WHERE clause")
    elif request.method == "DELETE":
        action = sql("delete from {} as {}{}", *_target(table), where(conditions))
    else:
        action = sql("{}{}", _update(request.body, table, names), where(conditions))
    if request.method != "PATCH" or names:
        action = sql("{} returning {}", action, _returned(request, table, plan))
    rows = plan.select() if request.preferences.wants_rows else SQL("select * from pgrst_source")
    return _answer(request, rows, source=action, inserted=inserted)


def call_statement(request: ApiRequest, function: Function, plan: ReadPlan) -> Composed:
    """Return the statement that calls a function. The transaction is read-only unless the function is volatile."""
    plan.rows = request.rows.capped()
    types = function.types
    rows: Composable = SQL("")
    values: dict[str, Composable]
    if request.body is None:
        arguments = request.query.arguments
        values = {name: sql("{}::{}", value, SQL(types[name])) for name, value in arguments.items()}
    else:
        values = {name: Identifier(_BODY, name) for name in request.body.names}
        if values:
            rows = sql("(select * from {} limit 1) as pgrst_body, lateral ", request.body.rows(types))
    arguments_ = joined(", ", [sql("{} := {}", Identifier(name), value) for name, value in values.items()])
    called = sql("{}({})", Identifier(SCHEMA, function.name), arguments_)
    if function.returns_composite:
        names = _distinct([*plan.names, *plan.filtered]) if plan.names else ["*"]
        returned = joined(", ", [column(("pgrst_call",), name) for name in names])
        source = sql("select {} from {}{} as pgrst_call", returned, rows, called)
    else:
        source = sql("select pgrst_call.pgrst_scalar from {}(select {} as pgrst_scalar) as pgrst_call", rows, called)
    # A single one of several plain values is an object, too.
    is_object = function.returns_composite or (function.returns_set and request.is_single)
    shape = _Shape(
        value="pgrst_row" if is_object else "pgrst_row.pgrst_scalar",
        is_array=function.returns_set,
        size="count(*)" if function.returns_set else "1",
    )
    statement = _answer(request, plan.select(), source=source, total=_count(plan), shape=shape)
    return statement if function.is_volatile else sql("set transaction read only; {}", statement)


def _answer(
    request: ApiRequest,
    rows: Composable,
    *,
    source: Composable | None = None,
    total: Composable | None = None,
    inserted: Composable | None = None,
    shape: _Shape | None = None,
) -> Composed:
    """Return the whole statement. Its only row has the fields of `Result`.

    Args:
        request: The request.
        rows: Query of the rows to return.
        source: Statement to run first. Its rows are `pgrst_source`.
        total: Expression of the number of matching rows.
        inserted: Expression of the number of inserted rows.
        shape: How rows become the body.
    """
    shape = shape or _Shape()
    body: Composable = SQL("''")
    if request.has_rows and request.media_type == CSV:
        body = _CSV
    elif request.has_rows:
        array = f"json_agg({shape.value})"
        is_array = shape.is_array and not request.is_single
        body = SQL(f"coalesce({array}, '[]')::text" if is_array else f"coalesce({array}->0, 'null')::text")
    return sql(
        "{}select {}, {}, {}, {}, nullif(current_setting('response.headers', true), ''), "
        "nullif(current_setting('response.status', true), '') from ({}) as pgrst_row",
        sql("with pgrst_source as ({}) ", source) if source else SQL(""),
        total if total and request.preferences.counts else SQL("null::bigint"),
        SQL(shape.size),
        body,
        inserted or SQL("null::int"),
        rows,
    )


def _insert(request: ApiRequest, table: Table, names: Sequence[str]) -> Composed:
    assert request.body is not None, "a POST has one"
    columns = joined(", ", map(Identifier, names))
    merges = request.preferences.resolution == "merge-duplicates"
    return sql(
        "insert into {} as {}{} select {} from {}{}{}",
        *_target(table),
        sql(" ({})", columns) if names else columns,
        joined(", ", [Identifier(_BODY, name) for name in names]),
        request.body.rows(table.types),
        sql(" where {}", _COUNT_INSERTED) if merges else SQL(""),
        _on_conflict(request, table, names),
    )


def _on_conflict(request: ApiRequest, table: Table, names: Sequence[str]) -> Composable:
    resolution, unique = request.preferences.resolution, _conflict_target(request, table)
    if not (resolution and unique):
        return SQL("")
    changes = joined(", ", [sql("{0} = excluded.{0}", Identifier(name)) for name in names])
    is_merged = resolution == "merge-duplicates" and names
    action = sql("update set {} where {}", changes, _DISCOUNT_UPDATED) if is_merged else SQL("nothing")
    return sql(" on conflict ({}) do {}", joined(", ", map(Identifier, unique)), action)


def _conflict_target(request: ApiRequest, table: Table) -> list[str]:
    """Return the columns by which an inserted row conflicts with an existing one."""
    return table.primary_key if request.query.unique is None else request.query.unique


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


def _returned(request: ApiRequest, table: Table, plan: ReadPlan) -> Composable:
    if not request.preferences.wants_rows:
        return SQL("1")
    names = _distinct([*plan.names, *table.primary_key])
    return joined(", ", [column((table.name,), name) for name in names]) if names else SQL("1")


def _count(plan: ReadPlan, limit: Composable | None = None) -> Composable:
    return sql("(select count(*) from ({}{}) as pgrst_source_count)", plan.matching(), limit or SQL(""))


def _distinct(names: Sequence[str]) -> list[str]:
    return ["*"] if "*" in names else sorted(set(names))


def _target(table: Table) -> tuple[Identifier, Identifier]:
    return Identifier(SCHEMA, table.name), Identifier(table.name)
