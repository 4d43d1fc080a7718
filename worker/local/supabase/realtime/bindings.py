"""The bindings of a channel: the subscriptions of its join, read and checked as the platform does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from worker.local.supabase.realtime.errors import RefusedError
from worker.local.supabase.realtime.filters import Connection, Filter, raised
from worker.local.supabase.realtime.published_table import PublishedTable

PUBLICATION = "supabase_realtime"
EVENTS = ("INSERT", "UPDATE", "DELETE")
REFUSAL = "Unable to subscribe to changes with given parameters."


class Binding(NamedTuple):
    """A subscription: one item of `postgres_changes` in a join.

    Attributes:
        schema: A name, or a pattern of SQL's `like`. `*` for all.
        table: As `schema`.
        select: The columns to be sent in addition to the primary key. `None` for all.
    """

    id: int
    event: str
    schema: str
    table: str
    filters: tuple[Filter, ...]
    select: tuple[str, ...] | None

    @classmethod
    def parse(cls, item: Mapping[str, Any]) -> Binding:
        """Read an item, with its id.

        Raises:
            RefusedError: A part is missing, or its filter or its selection is not valid.
        """
        select = _selection(item.get("select"))
        schema, table, filters = item.get("schema", "public"), item.get("table", "*"), item.get("filter", "")
        is_addressed = item.keys() & {"schema", "table"} and (
            "filter" not in item or item.keys() >= {"schema", "table"}
        )
        if not (is_addressed and all(isinstance(part, str) for part in (schema, table, filters))):
            is_secret = item.keys() & {"user_token", "auth_token"}
            shown = "<redacted>" if is_secret else inspect({k: v for k, v in item.items() if k != "id"})
            wanted = "Please provide at least a `schema` or `table` to subscribe to"
            raise RefusedError(f"No subscription params provided. {wanted}: {shown}")
        parsed = Filter.parse_all(filters)
        if select and "*" in (schema, table):
            raise RefusedError(
                "Column selection is not supported for wildcard subscriptions."
                " Provide an explicit schema and table name."
            )
        event = str(item.get("event")).upper()
        return cls(item["id"], event if event in EVENTS else "*", schema, table, parsed, select)

    def covers(self, schema: str, table: str) -> bool:
        """Return whether it covers a table."""
        return bool(_like(self.schema).fullmatch(schema) and _like(self.table).fullmatch(table))

    async def check(self, connection: Connection, role: str) -> None:
        """Check that it covers a published table, and that its filters and its selection fit.

        Raises:
            RefusedError: It does not.
        """
        cursor = await connection.execute(
            "select schemaname, tablename, format('%%I.%%I', schemaname, tablename)::regclass::oid"
            " from pg_publication_tables where pubname = %s",
            (PUBLICATION,),
        )
        covered = [oid for schema, table, oid in await cursor.fetchall() if self.covers(schema, table)]
        if not covered:
            raise RefusedError(f"{REFUSAL} Please check Realtime is enabled for the given connect parameters: {self}")
        try:
            await _check_role(connection, role)
            for oid in covered if self.filters or self.select else ():
                await self._check_table(connection, await PublishedTable.read(connection, oid, [role]), role)
        except RefusedError as error:
            explained = f"An exception happened so please check your connect parameters: {self}"
            raise RefusedError(f"{REFUSAL} {explained}. Exception: {error}") from None

    async def _check_table(self, connection: Connection, table: PublishedTable, role: str) -> None:
        types = {column.name: column.type_name for column in table.columns if role in column.readers}
        for condition in self.filters:
            await condition.check(connection, types)
        for name in self.select or ():
            if name not in types:
                raise raised(f"invalid column for select {name}")

    def __str__(self) -> str:
        """Return the parameters as the platform shows them in its errors."""
        filters = ", ".join("{" + ", ".join(map(inspect, f)) + "}" for f in self.filters)
        select = inspect(self.select and list(self.select))
        return (
            f"[event: {self.event}, schema: {self.schema}, table: {self.table}, filters: [{filters}], select: {select}]"
        )


async def _check_role(connection: Connection, role: str) -> None:
    if not (await connection.execute("select from pg_roles where rolname = %s", (role,))).rowcount:
        raise RefusedError(f'ERROR 42704 (undefined_object) role "{role}" does not exist')


def inspect(value: Any) -> str:
    """Write JSON as Elixir, the language of the platform's server, shows it in messages."""
    if value is None:
        return "nil"
    if isinstance(value, dict):
        return "%{" + ", ".join(f"{inspect(key)} => {inspect(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inspect, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _selection(select: Any) -> tuple[str, ...] | None:
    if isinstance(select, str):
        example = 'select: ["col1", "col2"]'
        raise RefusedError(f"Error parsing `select` params: expected a list of column name strings, e.g. {example}")
    names = [name for name in select if isinstance(name, str)] if isinstance(select, list) else []
    return tuple(names) or None


@lru_cache
def _like(pattern: str) -> re.Pattern[str]:
    signs = {"%": ".*", "_": "."}
    text = "%" if pattern == "*" else pattern
    return re.compile("".join(signs.get(sign) or re.escape(sign) for sign in text), re.DOTALL)
