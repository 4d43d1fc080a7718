"""The databases of the queue benchmark, all on the Postgres of the local stack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.sql import SQL, Identifier


def dsn_of(dsn: str, database: str) -> str:
    """Return the URL of another database of the same server and role."""
    return f"{dsn.rpartition('/')[0]}/{database}"


def create_database(dsn: str, name: str, *, template: str = "template1") -> None:
    """Create a database owned by the role `postgres`.

    Args:
        dsn: Connection URL of any database of the server.
        name: Its name.
        template: The database to copy, which must have no connections.
    """
    with psycopg.connect(dsn_of(dsn, "template1"), autocommit=True, connect_timeout=10) as server:
        server.execute(
            SQL("create database {} owner postgres template {}").format(Identifier(name), Identifier(template))
        )


@contextmanager
def held_snapshot(dsn: str, is_held: bool) -> Iterator[None]:
    """Hold a snapshot of the database, as a long report does: dead rows cannot be vacuumed in the meantime.

    Args:
        dsn: Connection URL of the database.
        is_held: Whether to hold it.
    """
    if not is_held:
        yield
        return
    with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as report:
        report.execute("begin isolation level repeatable read")
        report.execute("select 1")
        yield
