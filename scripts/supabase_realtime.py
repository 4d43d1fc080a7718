"""Supabase's own SQL of Realtime, in a database that has it: that of a project, or of the CLI's stack."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Self
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.types.json import set_json_loads

from worker.local.supabase.realtime.bindings import Binding
from worker.local.supabase.realtime.errors import RefusedError

NO_TABLE = ""  # the server adds the parameters
SLOT = "comparison"
MAX_CHANGES = 10_000
MAX_RECORD_BYTES = 1024 * 1024

Change = dict[str, Any]


class SupabaseRealtime:
    """The functions, the table of subscriptions and a slot of `wal2json`, as the server of the platform uses them.

    Args:
        dsn: Connection URL of a superuser, for a database with the schema `realtime` that no server uses.
    """

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True, connect_timeout=10)
        # Postgres drops a temporary slot at the first error in its session. Refusals are raised in the other one.
        self._slot = psycopg.connect(dsn, autocommit=True, connect_timeout=10)
        set_json_loads(partial(json.loads, parse_float=Decimal), self._slot)
        # Since 2026, Postgres uses only the output plugins that this setting lists.
        self._slot.execute(
            "select set_config(name, 'wal2json', false) from pg_settings where name = 'output_plugin_libraries'"
        )
        self._slot.execute("select pg_create_logical_replication_slot(%s, 'wal2json', temporary => true)", [SLOT])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._slot.close()
        self._connection.close()

    def subscribe(self, claims: Mapping[str, Any], item: Mapping[str, Any]) -> str:
        """Subscribe as the server does, with a filter that is read already. Return the id of the subscription.

        Raises:
            RefusedError: With the message of the database.
        """
        subscription = str(uuid4())
        binding = Binding.parse({"id": 0, **item})
        filters = sql.SQL(", ").join(
            sql.SQL("row({}, {}, {}, {})::realtime.user_defined_filter").format(*f) for f in binding.filters
        )
        insert = sql.SQL(
            "insert into realtime.subscription"
            " (subscription_id, entity, filters, claims, action_filter, selected_columns)"
            " select {}, format('%I.%I', schemaname, tablename)::regclass,"
            " array[{}]::realtime.user_defined_filter[], {}, {}, {}::text[]"
            " from pg_publication_tables where pubname = 'supabase_realtime'"
            " and schemaname like {} escape '' and tablename like {} escape ''"
        ).format(
            subscription, filters, json.dumps(claims), binding.event, item.get("select"),
            binding.schema.replace("*", "%"), binding.table.replace("*", "%"),
        )  # fmt: skip
        try:
            count = self._connection.execute(insert).rowcount
        except psycopg.Error as error:
            raise RefusedError(error.diag.message_primary or str(error)) from None
        if not count:
            raise RefusedError(NO_TABLE)
        return subscription

    def forget(self) -> None:
        """End all subscriptions."""
        self._connection.execute("delete from realtime.subscription")

    def changes(self) -> Iterator[tuple[Sequence[str], Change]]:
        """Yield the changes committed since the last call: the ids of the subscriptions, and their message."""
        rows = self._slot.execute(
            "select wal, subscription_ids::text[], errors from realtime.list_changes('supabase_realtime', %s, %s, %s)",
            [SLOT, MAX_CHANGES, MAX_RECORD_BYTES],
        )
        for wal, ids, errors in rows.fetchall():
            if wal is None:  # a row that only counts
                continue
            change = {name: wal.get(name) for name in ("schema", "table", "type", "commit_timestamp")}
            change |= {"columns": wal.get("columns") or [], "errors": errors or None}
            if wal["type"] != "DELETE":
                change["record"] = wal.get("record") or {}
            if wal["type"] != "INSERT":
                change["old_record"] = wal.get("old_record") or {}
            yield ids, change
