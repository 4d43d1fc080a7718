"""Workers: in this process, and as processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests.support.boards import PlayedSites
from tests.support.stack import worker_environment
from worker.engine.worker import Worker
from worker.local.boards import Boards
from worker.local.supabase.stack import Endpoints
from worker.settings import Settings
from worker.sources import Source


def worker_of(stack: Endpoints, *sources: Source, **settings: object) -> Worker:
    """A worker in this process; settings by their environment variables."""
    return Worker(Settings.model_validate(worker_environment(stack) | settings), sources=sources)


class WorkerProcess:
    """A worker as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def logged(self, text: str) -> dict[str, Any]:
        """Wait for a line of the log that holds `text`."""
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            if text in line.decode():
                return json.loads(line)  # type: ignore[no-any-return]
        raise AssertionError(f"the worker ended without logging {text!r}")

    async def ended(self) -> tuple[int, list[dict[str, Any]]]:
        """Wait for the end; return the exit code and the rest of the log."""
        _, stderr = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, [json.loads(line) for line in stderr.decode().splitlines() if line[0] == "{"]


@asynccontextmanager
async def worker_process(
    stack: Endpoints, boards: Boards, *command: str, **environment: str
) -> AsyncIterator[WorkerProcess]:
    """Start a worker that searches the job boards; kill it at the end if it still runs."""
    searching = {
        "WORKER_LOG_FORMAT": "json",
        "WORKER_POLL_SECONDS": "0.1",
        "WORKER_EXITS": f"boards={boards.proxy_url}",
        "JOBSPY_CA_CERT": str(boards.ca_cert),
        "JOBSPY_PAGE_DELAY_SECONDS": "0,0",
    }
    async with _started(stack, command, searching | environment, stderr=PIPE) as process:
        yield process


async def drain(stack: Endpoints, boards: Boards, **environment: str) -> list[dict[str, Any]]:
    """Let a worker empty the queue; return its log."""
    async with worker_process(stack, boards, "drain", "--max-seconds", "60", **environment) as worker:
        code, log = await worker.ended()
    assert code == 0, log
    return log


@asynccontextmanager
async def worker_processes(stack: Endpoints, sites: PlayedSites, count: int) -> AsyncIterator[list[WorkerProcess]]:
    """Start workers that search the played sites; kill those that still run at the end."""
    polling = {"WORKER_POLL_SECONDS": "0.2", "WORKER_POLL_IDLE_SECONDS": "1", "WORKER_LOG_LEVEL": "WARNING"}
    async with AsyncExitStack() as running:
        yield [
            await running.enter_async_context(
                _started(stack, ["run"], sites.environment | polling | {"WORKER_ID": f"worker-{number}"})
            )
            for number in range(count)
        ]


@asynccontextmanager
async def _started(
    stack: Endpoints, command: Sequence[str], environment: Mapping[str, str], *, stderr: int | None = None
) -> AsyncIterator[WorkerProcess]:
    environment = {**os.environ, **worker_environment(stack), **environment}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "worker", *command, stderr=stderr, env=environment
    )
    try:
        yield WorkerProcess(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
