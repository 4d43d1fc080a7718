"""The databases of the bench, all on the local stack's own Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.sql import SQL, Identifier


def dsn_of(dsn: str, database: str) -> str:
    """Return the URL of another database of the same server and role."""
    return f"{dsn.rpartition('/')[0]}/{database}"


def create_database(dsn: str, name: str, *, template: str = "template1") -> None:
    """Make a database that the role `postgres` owns.

    Args:
        dsn: Where and as whom, in whichever database.
        name: Its name.
        template: What it is a copy of; nobody may be connected to that.
    """
    with psycopg.connect(dsn_of(dsn, "template1"), autocommit=True, connect_timeout=10) as server:
        server.execute(
            SQL("create database {} owner postgres template {}").format(Identifier(name), Identifier(template))
        )


@contextmanager
def held_snapshot(dsn: str, is_held: bool) -> Iterator[None]:
    """Hold a snapshot of the database, as a long report does: what dies meanwhile cannot be vacuumed.

    Args:
        dsn: The database.
        is_held: Whether to, at all.
    """
    if not is_held:
        yield
        return
    with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as report:
        report.execute("begin isolation level repeatable read")
        report.execute("select 1")
        yield
