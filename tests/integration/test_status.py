"""What `worker_status` tells of transactions that hold vacuum back, on every version of PostgreSQL that is at hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.database import new_database
from worker.local.supabase.migrations import apply_migrations
from worker.local.supabase.postgres import Postgres


@pytest.fixture
def migrated_url(postgres: Postgres, migrations_here: Path) -> str:
    """The URL of a migrated database of the test's own, for the owner of the migrations."""
    dsn = new_database(postgres)
    apply_migrations(dsn, migrations_here)
    # Who analyzes holds a snapshot as well.
    with psycopg.connect(postgres.dsn(), autocommit=True) as superuser:
        superuser.execute("alter system set autovacuum = off")
        superuser.execute("select pg_reload_conf()")
    return dsn


def status(dsn: str) -> dict[str, Any]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute("select public.worker_status()").fetchone()
    assert row is not None
    answer: dict[str, Any] = row[0]
    return answer


@contextmanager
def transaction(dsn: str, *statements: str) -> Iterator[psycopg.Connection[Any]]:
    """An open transaction that has run these statements."""
    with psycopg.connect(dsn) as connection:
        for statement in statements:
            connection.execute(statement)
        yield connection
        connection.rollback()


def test_a_held_snapshot_has_the_age_of_its_transaction(migrated_url: str) -> None:
    assert status(migrated_url)["oldest_snapshot_seconds"] is None
    snapshot = ("set transaction isolation level repeatable read", "select 1")
    with transaction(migrated_url, *snapshot) as holder:
        age = "select extract(epoch from clock_timestamp() - now())::float8"
        (at_least,) = holder.execute(age).fetchone() or (None,)
        seconds = status(migrated_url)["oldest_snapshot_seconds"]
        (at_most,) = holder.execute(age).fetchone() or (None,)
        assert at_least <= seconds <= at_most
    assert status(migrated_url)["oldest_snapshot_seconds"] is None


def test_what_was_written_and_not_committed_holds_vacuum_back_too(migrated_url: str) -> None:
    with transaction(migrated_url, "create table public.unfinished ()"):
        assert status(migrated_url)["oldest_snapshot_seconds"] is not None


def test_an_idle_transaction_that_holds_nothing_is_none(migrated_url: str) -> None:
    with transaction(migrated_url, "select 1"):
        assert status(migrated_url)["oldest_snapshot_seconds"] is None


def test_another_database_is_not_this_queues_concern(migrated_url: str, postgres: Postgres) -> None:
    elsewhere = new_database(postgres)
    with transaction(elsewhere, "create table public.unfinished ()"):
        assert status(migrated_url)["oldest_snapshot_seconds"] is None


def test_without_the_right_to_see_other_roles_it_says_so(migrated_url: str, postgres: Postgres) -> None:
    superusers = postgres.dsn().rpartition("/")[0] + "/" + migrated_url.rpartition("/")[2]
    with (
        transaction(superusers, "create table public.unfinished ()"),
        psycopg.connect(postgres.dsn(), autocommit=True) as superuser,
    ):
        visible = status(migrated_url)
        assert visible["sees_all_snapshots"]
        assert visible["oldest_snapshot_seconds"] is not None
        superuser.execute("revoke pg_monitor from postgres")
        try:
            hidden = status(migrated_url)
        finally:
            superuser.execute("grant pg_monitor to postgres")
        assert not hidden["sees_all_snapshots"]
        assert hidden["oldest_snapshot_seconds"] is None
