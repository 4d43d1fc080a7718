"""A database for a few seconds: a local stack's Postgres in a temporary folder, which goes with it."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.local.loopback import free_port
from worker.local.supabase.postgres import Postgres

# Where Debian and Ubuntu put the oldest version that Supabase still hosts.
POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")


@contextmanager
def throwaway_postgres(*, bin_folder: Path | None = None) -> Iterator[Postgres]:
    """Run an empty project's Postgres, without the migrations. It does not wait for the disk.

    Args:
        bin_folder: Where `postgres` and `initdb` are; see `Postgres`.
    """
    with (
        tempfile.TemporaryDirectory(prefix="supabase-search-worker-") as folder,
        Postgres(
            Path(folder), free_port(), password=secrets.token_hex(16), bin_folder=bin_folder, sync=False
        ) as postgres,
    ):
        yield postgres
