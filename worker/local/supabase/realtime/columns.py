"""The columns of a published table, and the SQL that reads their values from the text of the WAL.

On the platform, values come through the plugin `wal2json` and are cast to a type without its modifier: so `char(5)` is
cut to one character, and `bytea` has no prefix.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from psycopg import sql

from worker.local.supabase.realtime import wal
from worker.local.supabase.realtime.filters import Connection

FLOATING_TYPES = ("float4", "float8", "numeric")
NOT_IN_JSON = ("NaN", "Infinity", "-Infinity")  # values of these types that `wal2json` writes as null

_SELECT_COLUMNS = """
select a.attname, t.typname, format_type(a.atttypid, null), format_type(a.atttypid, a.atttypmod), a.atttypid,
    coalesce(a.attnum = any(k.conkey), false),
    case a.attgenerated when 's' then pg_get_expr(d.adbin, d.adrelid) end,
    array(
        select i.attname::text from pg_depend p join pg_attribute i on i.attrelid = c.oid and i.attnum = p.refobjsubid
        where p.classid = 'pg_attrdef'::regclass and p.objid = d.oid and p.refobjid = c.oid and i.attnum <> a.attnum
    ),
    array(
        select r.rolname::text from pg_roles r
        where r.rolname = any(%s) and has_column_privilege(r.oid, c.oid, a.attnum, 'SELECT')
    ),
    c.relrowsecurity
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
join pg_type t on t.oid = a.atttypid
left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
left join pg_constraint k on k.conrelid = c.oid and k.contype = 'p'
where c.oid = %s order by a.attnum
"""


class Column(NamedTuple):
    """A column of a published table.

    Attributes:
        label: The name of its type, as clients see it.
        type_name: The SQL of its type, without a modifier such as `(5)`.
        full_type: The SQL of its type, with the modifier.
        expression: The SQL expression of a generated column. It uses the columns `inputs`.
        readers: The roles that may select it.
    """

    name: str
    label: str
    type_name: str
    full_type: str
    type_oid: int
    is_key: bool
    expression: str | None
    inputs: list[str]
    readers: list[str]


async def read_columns(connection: Connection, oid: int, roles: Iterable[str]) -> tuple[list[Column], bool]:
    """Return the columns of a table, and whether it has row level security. A table that was dropped has no columns.

    Args:
        connection: Connection to the database.
        oid: OID of the table.
        roles: The roles whose privileges are needed.
    """
    rows = await (await connection.execute(_SELECT_COLUMNS, (list(roles), oid))).fetchall()
    return [Column(*row[:-1]) for row in rows], any(row[-1] for row in rows)


def json_value(column: Column, columns: Sequence[Column]) -> sql.Composable:
    """Return the SQL of a value as `jsonb`, in a relation of `texts_of`."""
    text = _logged_text(column, columns)
    if column.label == "bytea":
        return sql.SQL("to_jsonb({})").format(text)
    return sql.SQL("to_jsonb({}::{})").format(text, sql.SQL(column.type_name))


def operand(column: Column, columns: Sequence[Column]) -> sql.Composable:
    """Return the SQL of a value to be compared: that of its JSON as text, cast to the column's type."""
    return sql.SQL("({} #>> '{{}}')::{}").format(json_value(column, columns), sql.SQL(column.type_name))


def texts_of(columns: Sequence[Column]) -> sql.Composable:
    """Return a relation with the `columns` as texts `c0`, `c1`, ..., and `position`, from 1.

    Its parameters are those of `arrays_of`, so that a connection prepares the statement once.
    """
    arrays = ", ".join(["%s::text[]"] * len(columns))
    names = "".join(f"c{number}, " for number in range(len(columns)))
    return sql.SQL(f"unnest({arrays}) with ordinality as rows({names}position)")


def arrays_of(rows: Sequence[wal.Row], columns: Sequence[Column]) -> list[list[str | None]]:
    """Return the values of `rows`, an array for each column."""
    return [[row.get(column.name) for row in rows] for column in columns]


def _logged_text(column: Column, columns: Sequence[Column]) -> sql.Composable:
    """Return the SQL of a value as `wal2json` writes it. Computes generated values, which Postgres does not publish."""
    text: sql.Composable = sql.SQL(f"c{columns.index(column)}")
    if column.expression:
        inputs = [
            sql.SQL(f"c{number}::{{}} as {{}}").format(sql.SQL(other.full_type), sql.Identifier(other.name))
            for number, other in enumerate(columns)
            if other.name in column.inputs
        ]
        text = sql.SQL("(select ({})::text from (select {}) as generating)").format(
            sql.SQL(column.expression), sql.SQL(", ").join(inputs)
        )
    if column.label == "bytea":
        return sql.SQL("substr({}, 3)").format(text)
    if column.label in FLOATING_TYPES:
        return sql.SQL("case when {text} <> all({names}) then {text} end").format(text=text, names=list(NOT_IN_JSON))
    return text
