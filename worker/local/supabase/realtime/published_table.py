"""A published table: who may see which part of a change, as Supabase's SQL function `realtime.apply_rls` decides.

Postgres compares the values, and writes them as JSON.
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
from worker.local.supabase.realtime.columns import Column, arrays_of, json_value, operand, read_columns, texts_of
from worker.local.supabase.realtime.filters import Connection, Filter
from worker.local.supabase.realtime.identity import Identity
from worker.local.supabase.realtime.json_text import json_object
from worker.local.supabase.realtime.record_size import LoggedColumn, is_too_large

logger = logging.getLogger(__name__)

MAX_VALUE_BYTES = 64  # a record above the size limit keeps only values up to this size

Values = dict[str, str | None]
"""JSON by column. `None` for SQL's null."""


class Rendering(NamedTuple):
    """A change of a batch, with its values as JSON.

    Attributes:
        position: Its position in the batch.
        passed: The filters that its row passes.
        is_large: Whether the platform sends it without long values.
    """

    position: int
    change: wal.Change
    record: Values
    old_record: Values
    passed: frozenset[Filter]
    is_large: bool


@dataclass(frozen=True)
class PublishedTable:
    """A published table, as it is now."""

    columns: list[Column]
    has_rls: bool

    @classmethod
    async def read(cls, connection: Connection, oid: int, roles: Iterable[str]) -> PublishedTable:
        """Read the catalog, with the privileges of `roles`. A table that was dropped has no columns."""
        columns, has_rls = await read_columns(connection, oid, roles)
        return cls(columns, has_rls)

    @property
    def key(self) -> list[Column]:
        """The columns of its primary key."""
        return [column for column in self.columns if column.is_key]

    async def render(
        self, connection: Connection, changes: Mapping[int, wal.Change], filters: Iterable[Filter]
    ) -> list[Rendering]:
        """Write all values as JSON and apply all filters, with one statement."""
        columns = {column.name: column for column in self.columns}
        tests = {
            f: f.test(operand(columns[f.column], self.columns), columns[f.column].type_name)
            for f in filters
            if f.column in columns
        }
        texts = [sql.SQL("({})::text").format(json_value(column, self.columns)) for column in self.columns]
        rows = [row for change in changes.values() for row in (change.record, change.old_record)]
        query = sql.SQL("select {} from {} order by position").format(
            _escaped(sql.SQL(", ").join([*texts, *tests.values()]), connection), texts_of(self.columns)
        )
        answers = await (await connection.execute(query, arrays_of(rows, self.columns))).fetchall()
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
        """Return the error that subscribers of `role` receive instead of the change. `None` if there is none."""
        if change.type == "DELETE" or (self.key and all(role in column.readers for column in self.key)):
            return None
        return "Error 401: Unauthorized" if self.key else "Error 400: Bad Request, no primary key"

    async def hidden(self, connection: Connection, identity: Identity, renderings: list[Rendering]) -> set[int]:
        """Return the positions of the changes whose row, as it is now, `identity` may not select."""
        relation = renderings[0].change.relation
        key = [
            sql.SQL("t.{} = {}").format(sql.Identifier(column.name), operand(column, self.columns))
            for column in self.key
        ]
        needed = {name for column in self.key for name in (column.name, *column.inputs)}
        records = [{n: v for n, v in rendering.change.record.items() if n in needed} for rendering in renderings]
        query = sql.SQL("select position from {} where exists ({})").format(
            texts_of(self.columns),
            _escaped(
                sql.SQL("select from {} as t where {}").format(
                    sql.Identifier(relation.schema, relation.table), sql.SQL(" and ").join(key)
                ),
                connection,
            ),
        )
        visible = set()
        try:
            async with connection.transaction(force_rollback=True):
                await connection.execute(
                    "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)", identity[:2]
                )
                answer = await connection.execute(query, arrays_of(records, self.columns))
                visible = {row for (row,) in await answer.fetchall()}
        except psycopg.Error as error:
            if connection.closed:
                raise
            logger.warning("no changes of %s for %s: %s", relation.table, identity.role, error)
        return {rendering.position for row, rendering in enumerate(renderings, start=1) if row not in visible}

    def data(self, rendering: Rendering, role: str, select: Sequence[str] | None) -> str:
        """Return the change as JSON, with the key and the selected columns, as far as `role` may read them."""
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
            # Policies cannot be applied to a deleted row. So only its key is sent.
            if self.has_rls and change.type == "DELETE":
                names = {column.name for column in columns if column.is_key}
            fields["old_record"] = _selected(rendering.old_record, names, is_large=rendering.is_large)
        return json_object(fields)

    def _values(self, row: wal.Row, answer: Sequence[str | None], *, is_whole: bool) -> Values:
        """Return the values of `answer` that the WAL of the platform has: generated ones only for a whole row."""
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


def _escaped(part: sql.Composable, connection: Connection) -> sql.Composable:
    """Return a part of a statement that has parameters elsewhere."""
    return sql.SQL(part.as_string(connection).replace("%", "%%"))


def _selected(values: Values, names: set[str], *, is_large: bool) -> str:
    """Write a record, in the order of `jsonb`. A large one has neither long values nor nulls."""
    kept = {
        name: text or "null"
        for name, text in values.items()
        if name in names and (not is_large or (text is not None and len(text.encode()) <= MAX_VALUE_BYTES))
    }
    return json_object({name: kept[name] for name in sorted(kept, key=lambda n: (len(n.encode()), n.encode()))})
