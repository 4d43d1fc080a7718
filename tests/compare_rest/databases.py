"""Two equal databases, one for each compared server."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

import psycopg

from tests.compare_rest import records
from worker.local.migration_files import migrations_folder
from worker.local.supabase.migrations import apply_migrations
from worker.local.supabase.postgres import Postgres

LOCAL, REAL = "rest_local", "rest_real"

_USER = """
insert into auth.users (id, aud, role, email, created_at, updated_at)
values (%s, 'authenticated', 'authenticated', %s, now(), now())
"""


def make(postgres: Postgres, users: Iterable[str]) -> None:
    """Create both databases, with the project's migrations, the tables of the tests, and these users."""
    apply_migrations(postgres.dsn("postgres"), migrations_folder())
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(records.SCHEMA.read_bytes())
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        for number, user in enumerate(sorted(users)):
            connection.execute(_USER, (user, f"user-{number}@example.com"))
        # A claim explores the sites of a run by its random id, which differs between the databases.
        connection.execute("update worker.settings set exploration = 0")
        for name in (LOCAL, REAL):
            connection.execute(f"create database {name} template postgres owner postgres".encode())


def dsn(postgres: Postgres, database: str, role: str) -> str:
    """Return the connection URL of a role in one of the databases."""
    return urlsplit(postgres.dsn(role))._replace(path=f"/{database}").geturl()


def reset(postgres: Postgres) -> None:
    """Fill the tables of the tests in both databases."""
    for database in (LOCAL, REAL):
        with psycopg.connect(dsn(postgres, database, "postgres"), autocommit=True) as connection:
            connection.execute(records.ROWS.read_bytes())
