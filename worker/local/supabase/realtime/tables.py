"""The published tables: who gets what of a change, as Supabase's SQL function `realtime.apply_rls` decides.

Values are compared, and written as JSON, by Postgres. On the platform they come through the plugin `wal2json` and are
cast to a type without its modifier: so `char(5)` is cut to one character, and `bytea` has no prefix.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import psycopg
from psycopg import sql

from worker.local.supabase.realtime import wal
from worker.local.supabase.realtime.filters import Connection, Filter
from worker.local.supabase.realtime.identity import Identity
from worker.local.supabase.realtime.size import LoggedColumn, is_too_large

logger = logging.getLogger(__name__)

MAX_VALUE_BYTES = 64  # what is kept of a record above the limit
NOT_IN_JSON = ("NaN", "Infinity", "-Infinity")  # of a number: `wal2json` has a null instead
NUMBERS = ("float4", "float8", "numeric")

Values = dict[str, str | None]
"""JSON by column, None for SQL's null."""

COLUMNS = """
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
    """A column of a published table, and those roles that may select it.

    Attributes:
        label: Its type as clients know it.
        type_name: Its type as SQL knows it, without a modifier such as `(5)`.
        full_type: With it.
        expression: What it is generated from, in SQL, with the names of `inputs`.
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


class Rendering(NamedTuple):
    """One of a batch of changes, its values as Postgres writes them in JSON, and the filters that its row passes."""

    position: int
    change: wal.Change
    record: Values
    old_record: Values
    passed: frozenset[Filter]
    is_large: bool


@dataclass(frozen=True)
class PublishedTable:
    """A published table as it is now: has its changes written as JSON, and tells who may see them."""

    columns: list[Column]
    has_rls: bool

    @classmethod
    async def read(cls, connection: Connection, oid: int, roles: Iterable[str]) -> PublishedTable:
        """Read the catalog, with the privileges of `roles`. A table that is gone has no columns."""
        rows = await (await connection.execute(COLUMNS, (list(roles), oid))).fetchall()
        return cls([Column(*row[:-1]) for row in rows], has_rls=any(row[-1] for row in rows))

    @property
    def key(self) -> list[Column]:
        """The columns of its primary key."""
        return [column for column in self.columns if column.is_key]

    async def render(
        self, connection: Connection, changes: Mapping[int, wal.Change], filters: Iterable[Filter]
    ) -> list[Rendering]:
        """Have Postgres write all values as JSON, and apply all filters, in one statement."""
        columns = {column.name: column for column in self.columns}
        tests = {
            f: f.test(self._operand(columns[f.column]), columns[f.column].type_name)
            for f in filters
            if f.column in columns
        }
        texts = [sql.SQL("({})::text").format(self._json(column)) for column in self.columns]
        rows = [row for change in changes.values() for row in (change.record, change.old_record)]
        query = sql.SQL("select {} from {} order by position").format(
            sql.SQL(", ").join([*texts, *tests.values()]), _unnested(rows, self.columns)
        )
        answers = await (await connection.execute(query)).fetchall()
        renderings = []
        for (position, change), new, old in zip(changes.items(), answers[::2], answers[1::2], strict=True):
            record = self._values(change.record, new, is_whole=bool(change.record))
            old_record = self._values(change.old_record, old, is_whole=change.relation.has_whole_identity)
            known, outcomes = (old_record, old) if change.type == "DELETE" else (record, new)
            passed = frozenset(
                condition
                for condition, passes in zip(tests, outcomes[len(columns) :], strict=True)
                if passes and condition.column in known and condition.column not in change.unchanged
            )
            is_large = is_too_large(change, self._logged(change, record), self._logged(change, old_record, is_old=True))
            renderings.append(Rendering(position, change, record, old_record, passed, is_large))
        return renderings

    def error(self, change: wal.Change, role: str) -> str | None:
        """Return what the subscribers of `role` are told instead of the change."""
        if change.type == "DELETE" or (self.key and all(role in column.readers for column in self.key)):
            return None
        return "Error 401: Unauthorized" if self.key else "Error 400: Bad Request, no primary key"

    async def hidden(self, connection: Connection, identity: Identity, renderings: list[Rendering]) -> set[int]:
        """Return the positions of those changes whose row, as it is now, `identity` may not select."""
        relation = renderings[0].change.relation
        key = [sql.SQL("t.{} = {}").format(sql.Identifier(column.name), self._operand(column)) for column in self.key]
        needed = {name for column in self.key for name in (column.name, *column.inputs)}
        records = ({n: v for n, v in rendering.change.record.items() if n in needed} for rendering in renderings)
        query = sql.SQL("select position from {} where exists (select from {} as t where {})").format(
            _unnested(list(records), self.columns),
            sql.Identifier(relation.schema, relation.table),
            sql.SQL(" and ").join(key),
        )
        visible = set()
        try:
            async with connection.transaction(force_rollback=True):
                await connection.execute(
                    "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)", identity[:2]
                )
                visible = {row for (row,) in await (await connection.execute(query)).fetchall()}
        except psycopg.Error as error:
            if connection.closed:
                raise
            logger.warning("%s may see no changes of %s: %s", identity.role, relation.table, error)
        return {rendering.position for row, rendering in enumerate(renderings, start=1) if row not in visible}

    def data(self, rendering: Rendering, role: str, select: Sequence[str] | None) -> str:
        """Return the change as JSON: what `role` may read of it, and has selected beside the key."""
        change = rendering.change
        refusal = self.error(change, role)
        columns = [
            column
            for column in self.columns
            if not refusal and role in column.readers and (column.is_key or select is None or column.name in select)
        ]
        error = refusal or ("Error 413: Payload Too Large" if rendering.is_large else None)
        committed_at = change.committed_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        data = {
            "schema": change.relation.schema,
            "table": change.relation.table,
            "type": change.type,
            "commit_timestamp": None if refusal else committed_at,
            "columns": [{"name": column.name, "type": column.label} for column in columns],
            "errors": error and [error],
        }
        fields = {name: json.dumps(value) for name, value in data.items()}
        names = {column.name for column in columns}
        if change.type != "DELETE":
            short = names - change.unchanged if rendering.is_large else names
            fields["record"] = _selected(rendering.record, short, is_large=rendering.is_large)
        if change.type != "INSERT":
            # Nobody can tell any more who might have seen a row that is deleted. So only its key is sent.
            if self.has_rls and change.type == "DELETE":
                names = {column.name for column in columns if column.is_key}
            fields["old_record"] = _selected(rendering.old_record, names, is_large=rendering.is_large)
        return json_object(fields)

    def _values(self, row: wal.Row, answer: Sequence[str | None], *, is_whole: bool) -> Values:
        """Return those values of `answer` that the platform's WAL has; a generated one comes with a whole row."""
        return {
            column.name: text
            for column, text in zip(self.columns, answer, strict=False)
            if column.name in row or (column.expression and is_whole and row.keys() >= set(column.inputs))
        }

    def _logged(self, change: wal.Change, values: Values, *, is_old: bool = False) -> list[LoggedColumn]:
        row = change.old_record if is_old else change.record
        return [
            LoggedColumn(c.name, c.label, c.full_type, c.type_oid, row.get(c.name), values.get(c.name), is_key=c.is_key)
            for c in self.columns
            if c.name in values and (is_old or c.name not in change.unchanged)
        ]

    def _text(self, column: Column) -> sql.Composable:
        """Return the SQL of a value as `wal2json` writes it; Postgres does not publish what is generated."""
        text: sql.Composable = sql.SQL(f"c{self.columns.index(column)}")
        if column.expression:
            inputs = [
                sql.SQL(f"c{number}::{{}} as {{}}").format(sql.SQL(other.full_type), sql.Identifier(other.name))
                for number, other in enumerate(self.columns)
                if other.name in column.inputs
            ]
            text = sql.SQL("(select ({})::text from (select {}) as generating)").format(
                sql.SQL(column.expression), sql.SQL(", ").join(inputs)
            )
        if column.label == "bytea":
            return sql.SQL("substr({}, 3)").format(text)
        if column.label in NUMBERS:
            return sql.SQL("case when {text} <> all({names}) then {text} end").format(
                text=text, names=list(NOT_IN_JSON)
            )
        return text

    def _json(self, column: Column) -> sql.Composable:
        if column.label == "bytea":
            return sql.SQL("to_jsonb({})").format(self._text(column))
        return sql.SQL("to_jsonb({}::{})").format(self._text(column), sql.SQL(column.type_name))

    def _operand(self, column: Column) -> sql.Composable:
        """Return the SQL of a value that is compared: of its JSON, as text."""
        return sql.SQL("({} #>> '{{}}')::{}").format(self._json(column), sql.SQL(column.type_name))


def json_object(members: Mapping[str, str]) -> str:
    """Join members that are JSON already."""
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in members.items()) + "}"


def _selected(values: Values, names: set[str], *, is_large: bool) -> str:
    """Write a record, in the order of `jsonb`. One over the limit has neither long values nor nulls."""
    kept = {
        name: text or "null"
        for name, text in values.items()
        if name in names and (not is_large or (text is not None and len(text.encode()) <= MAX_VALUE_BYTES))
    }
    return json_object({name: kept[name] for name in sorted(kept, key=lambda n: (len(n.encode()), n.encode()))})


def _unnested(rows: Sequence[wal.Row], columns: Sequence[Column]) -> sql.Composable:
    """Return a relation of `rows`: their `columns` as texts `c0`, `c1`, ..., and `position`, from 1."""
    arrays = [sql.SQL("{}::text[]").format([row.get(column.name) for row in rows]) for column in columns]
    names = "".join(f"c{number}, " for number in range(len(columns)))
    return sql.SQL("unnest({}) with ordinality as rows({}position)").format(sql.SQL(", ").join(arrays), sql.SQL(names))
