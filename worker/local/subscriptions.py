"""Who is told what of a change: the bindings of Realtime's channels, their filters, and the tables that they name.

Values are compared, and written as JSON, by Postgres. Who gets which columns of which change is what Supabase's SQL
function `realtime.apply_rls` decides.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import psycopg
from psycopg import sql

from worker.local import wal

logger = logging.getLogger(__name__)

PUBLICATION = "supabase_realtime"
EVENTS = ("INSERT", "UPDATE", "DELETE")
MAX_RECORD_BYTES = 1024 * 1024  # the platform's `poll_max_record_bytes`
MAX_VALUE_BYTES = 64  # what is kept of a record above it

PATTERNS = {"like": "like", "ilike": "ilike", "match": "~", "imatch": "~*"}
OPERATORS = PATTERNS | {
    "eq": "=", "neq": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">=", "in": "= any",
    "isdistinct": "is distinct from", "is": "is",
}  # fmt: skip
TRUTH_VALUES = ("null", "true", "false", "unknown")
QUOTED = r'"(?:\\.|[^"\\])*"'
FILTER = re.compile(r"(?P<column>[^=]+)=(?P<negation>not\.)?(?P<operator>\w+)\.(?P<value>.*)", re.DOTALL)

Connection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]


class RefusedError(Exception):
    """A token, a join or a subscription is refused, with the platform's message."""


class Identity(NamedTuple):
    """Whom a channel reads as: a role, a token's claims as JSON, and the Unix time at which both end."""

    role: str
    claims: str
    expires_at: int


class Filter(NamedTuple):
    """One condition of a binding, such as `status=not.in.(failed,cancelled)`."""

    column: str
    operator: str
    value: str
    negated: bool

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Read a filter as clients write it.

        Raises:
            RefusedError: It is none.
        """
        if not text.strip():
            raise RefusedError("Error parsing `filter` params: filter must not contain empty segments")
        parts = FILTER.fullmatch(text.strip())
        if parts is None or parts["operator"] not in OPERATORS:
            unknown = parts.group("operator", "value") if parts else [text]
            raise RefusedError(f"Error parsing `filter` params: {json.dumps(unknown)}")
        operator, value = parts["operator"], parts["value"]
        if operator == "is" and value not in TRUTH_VALUES:
            raise RefusedError(f"Error parsing `filter` params: `is` takes one of {', '.join(TRUTH_VALUES)}")
        if operator == "in":
            if not (value.startswith("(") and value.endswith(")")):
                raise RefusedError("Error parsing `filter` params: `in` filter value must be wrapped by parentheses")
            value = f"{{{value[1:-1]}}}"
        elif re.fullmatch(QUOTED, value, re.DOTALL):
            value = re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
        return cls(parts["column"], operator, value, parts["negation"] is not None)

    def test(self, operand: sql.Composable, type_name: str) -> sql.Composable:
        """Return the SQL that applies this filter to `operand`, a value of type `type_name`."""
        value_type = sql.SQL(f"{type_name}[]" if self.operator == "in" else type_name)
        literal = sql.SQL("({}::{})").format(self.value, value_type)
        value = sql.SQL(self.value) if self.operator == "is" else literal
        test = sql.SQL("({} {} {})").format(operand, sql.SQL(OPERATORS[self.operator]), value)
        return sql.SQL("not ") + test if self.negated else test

    async def check(self, connection: Connection, types: Mapping[str, str]) -> None:
        """Have Postgres apply this filter once, so that a bad one fails now and not amid the changes.

        Args:
            connection: Where Postgres is.
            types: Type of each column that may be filtered by.

        Raises:
            RefusedError: It does not fit the columns.
        """
        if self.column not in types:
            raise RefusedError(f"ERROR P0001 (raise_exception) invalid column for filter {self.column}")
        type_name = types[self.column]
        # A null would do for all, but Postgres does not look at a pattern that it compares with a null.
        operand = sql.SQL("{}::{}").format("" if self.operator in PATTERNS else None, sql.SQL(type_name))
        try:
            await connection.execute(sql.SQL("select {}").format(self.test(operand, type_name)))
        except (psycopg.DataError, psycopg.ProgrammingError) as error:
            condition = re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()
            raise RefusedError(f"ERROR {error.sqlstate} ({condition}) {error.diag.message_primary}") from None


class Binding(NamedTuple):
    """One item of a join's `postgres_changes`: what a channel wants to hear of."""

    id: int
    event: str
    schema: str
    table: str
    filters: frozenset[Filter]

    @classmethod
    def parse(cls, item: Mapping[str, Any]) -> Binding:
        """Read an item that has got its id.

        Raises:
            RefusedError: It lacks a part, or its filter is none.
        """
        schema = item.get("schema", "public" if "table" in item else None)
        table, filters, event = item.get("table", "*"), item.get("filter", ""), str(item.get("event")).upper()
        if not (isinstance(schema, str) and isinstance(table, str) and isinstance(filters, str)):
            raise RefusedError(
                "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: "
                + json.dumps(item)
            )
        parsed = frozenset(Filter.parse(text) for text in _split(filters)) if filters.strip() else frozenset()
        return cls(item["id"], event if event in EVENTS else "*", schema, table, parsed)

    def covers(self, schema: str, table: str) -> bool:
        """Whether it is about this table."""
        return self.schema in ("*", schema) and self.table in ("*", table)

    async def check(self, connection: Connection, role: str) -> None:
        """Check that there is something to hear of.

        Raises:
            RefusedError: No published table is meant, or a filter does not fit one.
        """
        cursor = await connection.execute(
            "select schemaname, tablename, format('%%I.%%I', schemaname, tablename)::regclass::oid"
            " from pg_publication_tables where pubname = %s",
            (PUBLICATION,),
        )
        covered = [oid for schema, table, oid in await cursor.fetchall() if self.covers(schema, table)]
        refusal = "Unable to subscribe to changes with given parameters."
        if not covered:
            raise RefusedError(f"{refusal} Please check Realtime is enabled for the given connect parameters: {self}")
        for oid in covered if self.filters else ():
            table = await PublishedTable.read(connection, oid, [role])
            types = {column.name: column.type_name for column in table.columns if role in column.readers}
            try:
                for condition in self.filters:
                    await condition.check(connection, types)
            except RefusedError as error:
                explained = f"An exception happened so please check your connect parameters: {self}"
                raise RefusedError(f"{refusal} {explained}. Exception: {error}") from None

    def __str__(self) -> str:
        """Return the parameters as the platform shows them in its errors."""
        filters = ", ".join(f'{{"{f[0]}", "{f[1]}", "{f[2]}", {str(f[3]).lower()}}}' for f in self.filters)
        return f"[event: {self.event}, schema: {self.schema}, table: {self.table}, filters: [{filters}], select: nil]"


class Column(NamedTuple):
    """A column of a published table: its type as clients and as SQL know it, and those roles that may select it."""

    name: str
    label: str
    type_name: str
    is_key: bool
    readers: list[str]


class Rendering(NamedTuple):
    """One of a batch of changes, its values as Postgres writes them in JSON, and the filters that its row passes."""

    position: int
    change: wal.Change
    record: dict[str, str]
    old_record: dict[str, str]
    passed: frozenset[Filter]


@dataclass(frozen=True)
class PublishedTable:
    """A published table as it is now: has its changes written as JSON, and tells who may see them."""

    columns: list[Column]
    has_rls: bool

    @classmethod
    async def read(cls, connection: Connection, oid: int, roles: Iterable[str]) -> PublishedTable:
        """Read the catalog, with the privileges of `roles`. A table that is gone has no columns."""
        cursor = await connection.execute(
            "select a.attname, t.typname, format_type(a.atttypid, -1), coalesce(a.attnum = any(k.conkey), false),"
            " array(select r.rolname::text from pg_roles r where r.rolname = any(%s)"
            "  and has_column_privilege(r.oid, c.oid, a.attnum, 'SELECT')), c.relrowsecurity"
            " from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
            " join pg_type t on t.oid = a.atttypid"
            " left join pg_constraint k on k.conrelid = c.oid and k.contype = 'p'"
            " where c.oid = %s order by a.attnum",
            (list(roles), oid),
        )
        rows = await cursor.fetchall()
        return cls([Column(*row[:-1]) for row in rows], has_rls=any(row[-1] for row in rows))

    @property
    def key(self) -> list[Column]:
        """The columns of its primary key."""
        return [column for column in self.columns if column.is_key]

    async def render(
        self, connection: Connection, changes: Mapping[int, wal.Change], filters: Iterable[Filter]
    ) -> list[Rendering]:
        """Have Postgres write all values as JSON, and apply all filters, in one statement."""
        values = {column.name: _value(number, column) for number, column in enumerate(self.columns)}
        types = {column.name: column.type_name for column in self.columns}
        tests = {f: f.test(values[f.column], types[f.column]) for f in filters if f.column in types}
        texts = [sql.SQL("to_jsonb({})::text").format(value) for value in values.values()]
        rows = [row for change in changes.values() for row in (change.record, change.old_record)]
        query = sql.SQL("select {} from {} order by position").format(
            sql.SQL(", ").join([*texts, *tests.values()]), _unnested(rows, self.columns)
        )
        answers = await (await connection.execute(query)).fetchall()
        renderings = []
        for (position, change), *pair in zip(changes.items(), answers[::2], answers[1::2], strict=True):
            record, old_record = (
                {name: text or "null" for name, text in zip(values, answer, strict=False) if name in row}
                for row, answer in zip((change.record, change.old_record), pair, strict=True)
            )
            known, answer = (old_record, pair[1]) if change.type == "DELETE" else (record, pair[0])
            outcomes = zip(tests, answer[len(values) :], strict=True)
            passed = frozenset(f for f, passes in outcomes if passes and f.column in known)
            renderings.append(Rendering(position, change, record, old_record, passed))
        return renderings

    def error(self, change: wal.Change, role: str) -> str | None:
        """Return what the subscribers of `role` are told instead of the change."""
        if change.type == "DELETE" or (self.key and all(role in column.readers for column in self.key)):
            return None
        return "Error 401: Unauthorized" if self.key else "Error 400: Bad Request, no primary key"

    async def hidden(self, connection: Connection, identity: Identity, renderings: list[Rendering]) -> set[int]:
        """Return the positions of those changes whose row, as it is now, `identity` may not select."""
        relation = renderings[0].change.relation
        key = [sql.SQL("t.{} = {}").format(sql.Identifier(c.name), _value(n, c)) for n, c in enumerate(self.key)]
        query = sql.SQL("select position from {} where exists (select from {} as t where {})").format(
            _unnested([rendering.change.record for rendering in renderings], self.key),
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

    def data(self, rendering: Rendering, role: str) -> str:
        """Return the change as JSON: what `role` may read of it."""
        change = rendering.change
        refusal = self.error(change, role)
        columns = [] if refusal else [column for column in self.columns if role in column.readers]
        size = sum(len(text.encode()) for row in (rendering.record, rendering.old_record) for text in row.values())
        is_large = size > MAX_RECORD_BYTES
        limit = MAX_VALUE_BYTES if is_large else size
        error = refusal or ("Error 413: Payload Too Large" if is_large else None)

        def select(row: dict[str, str], names: set[str]) -> str:
            return json_object({n: t for n, t in row.items() if n in names and len(t.encode()) <= limit})

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
        if change.type != "DELETE":
            fields["record"] = select(rendering.record, {column.name for column in columns})
        if change.type != "INSERT":
            # Nobody can tell any more who might have seen a row that is deleted. So only its key is told.
            is_secret = self.has_rls and change.type == "DELETE"
            names = {column.name for column in columns if column.is_key or not is_secret}
            fields["old_record"] = select(rendering.old_record, names)
        return json_object(fields)


def json_object(members: Mapping[str, str]) -> str:
    """Join members that are JSON already."""
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in members.items()) + "}"


def _split(filters: str) -> list[str]:
    """Split at the commas outside of parentheses, and of quotes, which open after `.`, `(` or `,`."""
    parts, depth = [""], 0
    for piece in re.findall(rf"(?<=[.(,]){QUOTED}|.", filters, re.DOTALL):
        depth = max(0, depth + (piece == "(") - (piece == ")"))
        if piece == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def _value(number: int, column: Column) -> sql.Composable:
    return sql.SQL(f"c{number}::{column.type_name}")


def _unnested(rows: Sequence[wal.Row], columns: Sequence[Column]) -> sql.Composable:
    """Return a relation of `rows`: their `columns` as texts `c0`, `c1`, ..., and `position`, from 1."""
    arrays = [sql.SQL("{}::text[]").format([row.get(column.name) for row in rows]) for column in columns]
    names = "".join(f"c{number}, " for number in range(len(columns)))
    return sql.SQL("unnest({}) with ordinality as rows({}position)").format(sql.SQL(", ").join(arrays), sql.SQL(names))
