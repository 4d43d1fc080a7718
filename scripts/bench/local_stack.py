"""The local stack of the RPC benchmarks, and runs that are being searched on it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

from worker.local.processes import ready, run_until_signalled, running

KIND = "jobs"

Connection: TypeAlias = psycopg.AsyncConnection[Any]
Lease: TypeAlias = tuple[UUID, UUID]
"""A run's id, and the token of its lease."""


def on_local_stack(bench: Callable[[dict[str, str]], Awaitable[None]]) -> None:
    """Run a benchmark on a new stack.

    Args:
        bench: The benchmark. It receives the JSON that `local --json` prints.
    """

    async def run(folder: Path) -> None:
        command = ("worker", "local", "--json", "--port", "0", "--data", str(folder / "data"))
        async with running(*command, log=folder / "log") as process:
            await bench(await ready(process))

    with tempfile.TemporaryDirectory(prefix="search-worker-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        run_until_signalled(run(folder))


async def connect(stack: dict[str, str]) -> Connection:
    """Connect to the database, as the owner of the tables."""
    return await psycopg.AsyncConnection.connect(stack["db_url"], autocommit=True, connect_timeout=10)


async def start_run(database: Connection, site: str) -> Lease:
    """Return the lease of a new run of a new user, which searches a site."""
    user_id = uuid4()
    await database.execute("insert into auth.users (id, email) values (%s, %s)", [user_id, f"{user_id}@example.com"])
    await database.execute(
        "insert into public.search_runs (user_id, kind, parameters) values (%s, %s, %s)",
        [user_id, KIND, json.dumps({"search_term": str(user_id), "sites": [site]})],
    )
    answer = await database.execute(
        "select run_id, lease_token from public.worker_claim_runs('bench', array[%s], 1, 3600, %s, '[]')",
        [KIND, uuid4()],
    )
    row = await answer.fetchone()
    assert row is not None
    search = {"run_id": str(row[0]), "lease_token": str(row[1]), "site": site, "attempt": 1}
    await database.execute("select public.worker_start_sites(%s)", [Jsonb([search])])
    return row[0], row[1]
