"""All rows of all tables, at one instant: what an upgrade must not lose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, LiteralString, TypeAlias

import psycopg
from psycopg import sql

Rows: TypeAlias = dict[str, dict[str, dict[str, Any]]]
"""The rows of each table, by their primary keys as JSON; without such a key, by all that they have."""

WORKED_OFF = {"worker.leases", "worker.site_searches", "worker.site_waits", "worker.ended_leaders"}
"""What is there until a run has ended, and no longer."""

_TABLES: LiteralString = """
select schema.nspname, relation.relname,
       (select array_agg(key.attname::text order by key.attnum)
        from pg_index as index
        join pg_attribute as key on key.attrelid = index.indrelid and key.attnum = any (index.indkey)
        where index.indrelid = relation.oid and index.indisprimary)
from pg_class as relation join pg_namespace as schema on schema.oid = relation.relnamespace
where schema.nspname in ('public', 'worker') and relation.relkind in ('r', 'p')
order by 1, 2
"""


def read_rows(dsn: str) -> Rows:
    """Read all rows of the schemas `public` and `worker`, as of one instant."""
    found: Rows = {}
    with psycopg.connect(dsn, connect_timeout=10) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        for schema, name, key in connection.execute(_TABLES).fetchall():
            query = sql.SQL("select to_jsonb(kept) from {} as kept").format(sql.Identifier(schema, name))
            rows = [row for (row,) in connection.execute(query)]
            found[f"{schema}.{name}"] = {json.dumps([row[column] for column in key or row]): row for row in rows}
    return found


def lost_rows(before: Rows, after: Rows) -> dict[str, list[dict[str, Any]]]:
    """Return the rows that are not there any more, by table; without what is worked off."""
    lost = {
        table: [row for key, row in rows.items() if key not in after[table]]
        for table, rows in before.items()
        if table not in WORKED_OFF
    }
    return {table: rows for table, rows in lost.items() if rows}


def changed_rows_of_ended_runs(before: Rows, after: Rows) -> list[tuple[str, str]]:
    """Return the table and key of each row of a run that had ended which is not as it was; new columns do not count."""
    ended = {row["id"] for row in before["public.search_runs"].values() if row["completed_at"]}
    assert ended
    return [
        (table, key)
        for table, rows in before.items()
        if table not in WORKED_OFF
        for key, row in rows.items()
        if _run_of(table, row) in ended and not _is_kept(row, after[table][key])
    ]


def _run_of(table: str, row: Mapping[str, Any]) -> Any:
    return row["id"] if table == "public.search_runs" else row.get("run_id")


def _is_kept(row: Mapping[str, Any], later: Mapping[str, Any]) -> bool:
    return all(later[column] == value for column, value in row.items())
