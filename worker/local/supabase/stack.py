"""Supabase on one machine: starts Postgres, applies the migrations, starts the gateway, and stops them in reverse."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from worker.local.loopback import HOST, bind, free_port
from worker.local.migration_files import migrations_folder
from worker.local.supabase.gateway import gateway, serving
from worker.local.supabase.migrations import apply_migrations
from worker.local.supabase.postgres import Postgres
from worker.local.supabase.tokens import ANON, SERVICE_ROLE, Tokens

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses and keys of a running stack.

    Attributes:
        url: Value for `SUPABASE_URL`.
        db_url: Connection URL of the role `postgres`.
    """

    url: str
    anon_key: str
    service_role_key: str
    db_url: str
    jwt_secret: str


@asynccontextmanager
async def local_stack(
    data: Path, *, port: int, migrate: bool = True, bin_folder: Path | None = None, sync: bool = True
) -> AsyncIterator[Endpoints]:
    """Run Postgres with the project's migrations, and the gateway in front of it.

    Args:
        data: Folder for everything that the stack keeps. Created if it is missing.
        port: TCP port of the gateway on 127.0.0.1. Postgres takes the next port. 0 stands for two free ports.
        migrate: Whether to apply the migrations that the database does not have yet.
        bin_folder: Folder of the programs of PostgreSQL; see `Postgres`.
        sync: Whether Postgres waits for the disk; see `Postgres`.

    Raises:
        LocalError: A port or the data folder cannot be used, Postgres does not start, or a migration fails.
    """
    with bind(port) as listener:
        kept = _kept_secrets(data)
        tokens = Tokens(kept["jwt_secret"])
        postgres = Postgres(
            data,
            port + 1 if port else free_port(),
            password=kept["database_password"],
            bin_folder=bin_folder,
            sync=sync,
        )
        try:
            await _uninterrupted(postgres.start)
            if migrate:
                await _uninterrupted(partial(apply_migrations, postgres.dsn("postgres"), migrations_folder()))
            async with gateway(postgres.dsn, tokens) as app, serving(app, listener):
                yield Endpoints(
                    url=f"http://{HOST}:{listener.getsockname()[1]}",
                    anon_key=tokens.api_key(ANON),
                    service_role_key=tokens.api_key(SERVICE_ROLE),
                    db_url=postgres.dsn("postgres"),
                    jwt_secret=kept["jwt_secret"],
                )
        finally:
            await _uninterrupted(postgres.stop)


async def _uninterrupted(step: Callable[[], _Result]) -> _Result:
    """Run a blocking step in a thread. A cancellation waits until it has ended: what it starts has to be stopped."""
    thread = asyncio.create_task(asyncio.to_thread(step))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        raise


def _kept_secrets(data: Path) -> dict[str, str]:
    """Return the secrets in the data folder. Creates them if they are missing."""
    data.mkdir(parents=True, exist_ok=True)
    path = data / "secrets.json"
    if not path.exists():
        created = {"jwt_secret": secrets.token_hex(32), "database_password": secrets.token_hex(16)}
        unfinished = path.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(created))
        unfinished.rename(path)
    kept: dict[str, str] = json.loads(path.read_text())
    return kept
