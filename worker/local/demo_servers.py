"""What both demos run on: Supabase on this machine and, unless the real ones are searched, the job boards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from worker.local.processes import ready, running

BLOCKED_BOARD = "glassdoor"
RETRY_DELAY = "1 second"
"""The blocked board stays blocked for all three attempts: this keeps the demo short."""


@dataclass(frozen=True, slots=True)
class Servers:
    """What is running.

    Attributes:
        supabase: The fields of `worker.local.supabase.stack.Endpoints`.
        worker: Environment variables of a worker.
    """

    supabase: dict[str, Any]
    worker: dict[str, str]


@asynccontextmanager
async def servers(folder: Path, log: Path, *, live: bool, latency_ms: int, page_delay: str) -> AsyncIterator[Servers]:
    """Run Supabase and the job boards.

    Args:
        folder: Folder for the data.
        log: Log file of the processes.
        live: Whether to search the real boards.
        latency_ms: Delay of every answer of the boards on this machine.
        page_delay: Pause between two pages of them, for `JOBSPY_PAGE_DELAY_SECONDS`.

    Raises:
        ProcessError: A process did not start.
    """
    async with AsyncExitStack() as resources:

        async def start(*arguments: str) -> asyncio.subprocess.Process:
            return await resources.enter_async_context(running(*arguments, log=log))

        stack = await start("worker", "local", "--json", "--port", "0", "--data", str(folder / "supabase"))
        worker = {"WORKER_LOG_FORMAT": "pretty"}
        if not live:
            options = ["--json", "--latency-ms", str(latency_ms), "--fail", f"{BLOCKED_BOARD}=blocked"]
            boards = await ready(await start("worker.local.boards", *options))
            worker |= boards["credentials"] | {
                "WORKER_EXITS": f"boards={boards['proxy_url']}",
                "JOBSPY_CA_CERT": boards["ca_cert"],
                "JOBSPY_PAGE_DELAY_SECONDS": page_delay,
                "WORKER_HTTP_CA_CERT": boards["ca_cert"],
            }
        supabase = await ready(stack)
        worker |= {"SUPABASE_URL": supabase["url"], "SUPABASE_SERVICE_ROLE_KEY": supabase["service_role_key"]}
        if not live:
            with psycopg.connect(supabase["db_url"], autocommit=True) as database:
                database.execute("update worker.settings set retry_delay = %s", [RETRY_DELAY])
        yield Servers(supabase, worker)
