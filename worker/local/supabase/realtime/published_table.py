"""A published table: who may see which part of a change, as Supabase's SQL function `realtime.apply_rls` decides.

Postgres compares the values, and writes them as JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import psycopg
from psycopg import sql

from worker.local.supabase.realtime import wal
from worker.local.supabase.realtime.columns import Column, arrays_of, json_value, operand, read_columns, texts_of
from worker.local.supabase.realtime.filters import Connection, Filter
from worker.local.supabase.realtime.identity import Identity
from worker.local.supabase.realtime.json_text import json_object
from worker.local.supabase.realtime.record_size import LoggedColumn, is_too_large, may_be_too_large
from worker.local.supabase.realtime.snapshot import sees_all

logger = logging.getLogger(__name__)

VISIBLE_SECONDS = 5.0  # a change that is not visible by then is lost, and the channels are notified
PAUSE_SECONDS = 0.001
MAX_VALUE_BYTES = 64  # a record above the size limit keeps only values up to this size

Values = dict[str, str | None]
"""JSON by column. `None` for SQL's null."""

Changes: TypeAlias = Mapping[int, wal.Change]
"""Changes of one table, by their position in the batch."""


class Rendering(NamedTuple):
    """A change, with its values as JSON.

    Attributes:
        is_large: Whether the platform sends it without long values.
    """

    change: wal.Change
    record: Values
    old_record: Values
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

    @cached_property
    def _json_texts(self) -> sql.SQL:
        """The SQL of all values as JSON. To write it takes as long as to run it."""
        texts = [sql.SQL("({})::text").format(json_value(column, self.columns)) for column in self.columns]
        return sql.SQL(sql.SQL(", ").join(texts).as_string())

    async def passed(
        self, connection: Connection, changes: Changes, filters: Iterable[Filter]
    ) -> Mapping[int, frozenset[Filter]]:
        """Return which of the filters each change passes, by its position, with one statement."""
        columns = {column.name: column for column in self.columns}
        applied = [f for f in filters if f.column in columns]
        if not applied:
            return dict.fromkeys(changes, frozenset())
        needed = self._with_inputs({f.column for f in applied})
        tests = [f.test(operand(columns[f.column], needed), columns[f.column].type_name) for f in applied]
        rows = [change.old_record if change.type == "DELETE" else change.record for change in changes.values()]
        outcomes = await _ask(connection, tests, rows, needed)
        passed = {}
        for (position, change), row, outcome in zip(changes.items(), rows, outcomes, strict=True):
            is_whole = change.type != "DELETE" or change.relation.has_whole_identity
            known = {c.name for c in needed if _is_logged(c, row, is_whole=is_whole)} - change.unchanged
            passed[position] = frozenset(
                f for f, passes in zip(applied, outcome, strict=True) if passes and f.column in known
            )
        return passed

    async def render(self, connection: Connection, changes: Changes) -> Mapping[int, Rendering]:
        """Write all values of changes as JSON, with one statement."""
        if not changes:
            return {}
        rows = [row for change in changes.values() for row in (change.record, change.old_record)]
        answers = await _ask(connection, [self._json_texts], rows, self.columns)
        renderings = {}
        for (position, change), new, old in zip(changes.items(), answers[::2], answers[1::2], strict=True):
            record = self._values(change.record, new, is_whole=bool(change.record))
            old_record = self._values(change.old_record, old, is_whole=change.relation.has_whole_identity)
            is_large = self._is_large(change, record, old_record)
            renderings[position] = Rendering(change, record, old_record, is_large)
        return renderings

    def error(self, change: wal.Change, role: str) -> str | None:
        """Return the error that subscribers of `role` receive instead of the change. `None` if there is none."""
        if change.type == "DELETE" or (self.key and all(role in column.readers for column in self.key)):
            return None
        return "Error 401: Unauthorized" if self.key else "Error 400: Bad Request, no primary key"

    async def hidden(self, connection: Connection, identity: Identity, changes: Changes) -> set[int]:
        """Return the positions of the changes whose row, as it is now, `identity` may not select.

        Raises:
            TimeoutError: The changes are not visible within `VISIBLE_SECONDS`.
            psycopg.Error: The connection is closed.
        """
        relation = next(iter(changes.values())).relation
        needed = self._with_inputs({column.name for column in self.key})
        key = [sql.SQL("t.{} = {}").format(sql.Identifier(column.name), operand(column, needed)) for column in self.key]
        is_visible = sql.SQL("exists (select from {} as t where {})").format(
            sql.Identifier(relation.schema, relation.table), sql.SQL(" and ").join(key)
        )
        records = [change.record for change in changes.values()]
        try:
            # Committed: after a rollback, psycopg prepares all statements of the connection again, which takes 4 ms.
            async with connection.transaction():
                await _become(connection, identity, {change.xid for change in changes.values()})
                answers = await _ask(connection, [is_visible], records, needed)
        except psycopg.Error as error:
            if connection.closed:
                raise
            logger.warning("no changes of %s for %s: %s", relation.table, identity.role, error)
            return set(changes)
        return {position for position, (visible,) in zip(changes, answers, strict=True) if not visible}

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

    def _with_inputs(self, names: Collection[str]) -> list[Column]:
        """Return columns, and those from which they are generated."""
        needed = {name for c in self.columns if c.name in names for name in (c.name, *c.inputs)}
        return [column for column in self.columns if column.name in needed]

    def _values(self, row: wal.Row, answer: Sequence[str | None], *, is_whole: bool) -> Values:
        """Return the values of `answer` that the WAL of the platform has."""
        return {
            column.name: text
            for column, text in zip(self.columns, answer, strict=True)
            if _is_logged(column, row, is_whole=is_whole)
        }

    def _is_large(self, change: wal.Change, record: Values, old_record: Values) -> bool:
        values = (*change.record.values(), *change.old_record.values(), *record.values(), *old_record.values())
        return may_be_too_large(values) and is_too_large(
            change, self._logged(change, record), self._logged(change, old_record, is_old=True)
        )

    def _logged(self, change: wal.Change, values: Values, *, is_old: bool = False) -> list[LoggedColumn]:
        row = change.old_record if is_old else change.record
        return [
            LoggedColumn(c.name, c.label, c.full_type, c.type_oid, row.get(c.name), values.get(c.name), is_key=c.is_key)
            for c in self.columns
            if c.name in values and (is_old or c.name not in change.unchanged)
        ]


async def _become(connection: Connection, identity: Identity, xids: Collection[int]) -> None:
    """Read as `identity` for the rest of a transaction, once its statements see other transactions."""
    query = (
        "select pg_current_snapshot()::text, set_config('role', %s, true), set_config('request.jwt.claims', %s, true)"
    )
    async with asyncio.timeout(VISIBLE_SECONDS):
        while True:
            snapshot, *_ = await anext(await connection.execute(query, identity[:2]))
            if sees_all(snapshot, xids):
                return
            await asyncio.sleep(PAUSE_SECONDS)


def _is_logged(column: Column, row: wal.Row, *, is_whole: bool) -> bool:
    """Return whether the WAL of the platform has a value: a generated one only for a whole row."""
    return column.name in row or (column.expression is not None and is_whole and row.keys() >= set(column.inputs))


async def _ask(
    connection: Connection, expressions: Sequence[sql.Composable], rows: Sequence[wal.Row], columns: Sequence[Column]
) -> list[tuple[Any, ...]]:
    """Compute expressions of `columns` for each row. Return the values in the order of the rows."""
    # Parameters are in the relation alone.
    listed = sql.SQL(sql.SQL(", ").join(expressions).as_string(connection).replace("%", "%%"))
    query = sql.SQL("select {} from {} order by position").format(listed, texts_of(columns))
    return await (await connection.execute(query, arrays_of(rows, columns))).fetchall()


def _selected(values: Values, names: set[str], *, is_large: bool) -> str:
    """Write a record, in the order of `jsonb`. A large one has neither long values nor nulls."""
    kept = {
        name: text or "null"
        for name, text in values.items()
        if name in names and (not is_large or (text is not None and len(text.encode()) <= MAX_VALUE_BYTES))
    }
    return json_object({name: kept[name] for name in sorted(kept, key=lambda n: (len(n.encode()), n.encode()))})
