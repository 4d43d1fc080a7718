"""Compares the database that the migrations create with the one that the schema files declare."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
from psycopg import sql

from tools.schema.document import describe_schema
from tools.schema.files import schema_files, write_migrations
from worker.local.supabase.migrations import apply_migrations
from worker.local.supabase.postgres import Postgres

# What the document leaves out.
_DEFINITIONS: LiteralString = """
select p.oid::regprocedure::text, pg_get_functiondef(p.oid)
from pg_proc as p
where p.pronamespace in ('public'::regnamespace, 'worker'::regnamespace)
  and not exists (select from pg_depend as d where d.objid = p.oid and d.deptype = 'e')
union all
select c.oid::regclass::text, concat_ws(' ', array_to_string(c.reloptions, ', '), pg_get_viewdef(c.oid))
from pg_class as c
where c.relnamespace in ('public'::regnamespace, 'worker'::regnamespace) and c.relkind in ('r', 'v')
union all
select n.nspname, concat_ws(' ', obj_description(n.oid, 'pg_namespace'), n.nspacl::text)
from pg_namespace as n
where n.nspname = 'worker'
"""
_TABLES: LiteralString = """
select c.oid::regclass::text from pg_class as c
where c.relnamespace in ('public'::regnamespace, 'worker'::regnamespace) and c.relkind in ('r', 'p')
"""


def declared_database(postgres: Postgres, project: Path) -> list[str]:
    """Describe the database that the schema files of a project declare, for `difference`."""
    with tempfile.TemporaryDirectory(prefix="supabase-schemas-") as folder:
        write_migrations(schema_files(project), Path(folder))
        return _described(postgres, Path(folder))


def difference(postgres: Postgres, project: Path, *, declared: Sequence[str] | None = None) -> str:
    """Return what the migrations of a project lack or have beyond its schema files, as a unified diff.

    Args:
        postgres: A server with what the bootstrap makes in its database `postgres`, and nothing else.
        project: Folder with `config.toml`, `schemas/` and `migrations/`.
        declared: The `declared_database`, if it is known.

    Returns:
        The diff; empty if both create the same database.
    """
    declared = declared or declared_database(postgres, project)
    migrated = _described(postgres, project / "migrations")
    return "\n".join(unified_diff(declared, migrated, "schemas", "migrations", lineterm=""))


def _described(postgres: Postgres, migrations: Path) -> list[str]:
    name = f"schema_{uuid4().hex}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f"create database {name} template postgres owner postgres")
    dsn = postgres.dsn("postgres").removesuffix("postgres") + name
    apply_migrations(dsn, migrations)
    with psycopg.connect(dsn, connect_timeout=10) as connection:
        connection.execute("set search_path = ''")
        return [*describe_schema(dsn).splitlines(), *_definitions(connection)]


def _definitions(connection: psycopg.Connection[Any]) -> Iterator[str]:
    rows = [
        (table, row)
        for (table,) in connection.execute(_TABLES).fetchall()
        # The rows that come with the schema: nothing else has been written.
        for (row,) in connection.execute(
            sql.SQL("select to_jsonb(given)::text from {} as given").format(sql.Identifier(*table.split(".")))
        )
    ]
    for name, definition in [*sorted(connection.execute(_DEFINITIONS).fetchall()), *sorted(rows)]:
        yield from (f"{name}: {line}" for line in definition.splitlines())
