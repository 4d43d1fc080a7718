"""The commands of the queues in the benchmark, and their timing. Needs only the standard library."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

CONCURRENCY = int(os.environ.get("BENCH_CONCURRENCY", "10"))

_POLL_SECONDS = 0.005
_REST_SECONDS = 0.05
_JOB_SECONDS = 60  # afterwards something is broken
_WARM_UPS = 10


class Contender(Protocol):
    """A queue in its own database. Its jobs only report that they have started."""

    async def install(self) -> None:
        """Create the schema of the queue in an empty database."""
        ...

    async def keep_history(self, jobs: int) -> None:
        """Add finished jobs, as the queue leaves them."""
        ...

    async def enqueue(self) -> None:
        """Enqueue one job with the client of the queue."""
        ...

    async def enqueue_many(self, jobs: int) -> None:
        """Enqueue jobs in the fastest way."""
        ...

    async def is_empty(self) -> bool:
        """Return whether every job is finished, according to the database."""
        ...

    def working(self, on_start: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """Run the worker of the queue in the meantime.

        Args:
            on_start: Called by each job as its first and only statement.
        """
        ...


async def jobs_per_second(contender: Contender, jobs: int) -> float:
    """Return the jobs a second of a worker on a full queue, from the start of the first job to the end of the last.

    There are no other queries until the last job has started.
    """
    await contender.enqueue_many(jobs)
    starts: list[float] = []
    last_started = asyncio.Event()

    def on_start() -> None:
        starts.append(time.perf_counter())
        if len(starts) == jobs:
            last_started.set()

    async with contender.working(on_start):
        await asyncio.wait_for(last_started.wait(), _JOB_SECONDS + jobs)
        await _until_empty(contender)
        seconds = time.perf_counter() - starts[0]
    if len(starts) != jobs:
        raise RuntimeError(f"{len(starts)} jobs were started, not {jobs}: the queue was not empty")
    return jobs / seconds


async def milliseconds_to_start(contender: Contender, samples: int) -> list[float]:
    """Return the times from the call of the client to the first statement of the job, in milliseconds.

    Each job finds an idle worker.
    """
    started: asyncio.Queue[float] = asyncio.Queue()
    milliseconds = []
    async with contender.working(lambda: started.put_nowait(time.perf_counter())):
        for _ in range(_WARM_UPS + samples):
            await asyncio.sleep(_REST_SECONDS)
            inserted = time.perf_counter()
            await contender.enqueue()
            milliseconds.append((await asyncio.wait_for(started.get(), _JOB_SECONDS) - inserted) * 1000)
            await _until_empty(contender)
    return milliseconds[_WARM_UPS:]


async def _until_empty(contender: Contender) -> None:
    async with asyncio.timeout(_JOB_SECONDS):
        while not await contender.is_empty():  # noqa: ASYNC110 (the database has no event)
            await asyncio.sleep(_POLL_SECONDS)


def main(
    connect: Callable[[str], AbstractAsyncContextManager[Contender]],
    run: Callable[[Coroutine[Any, Any, Any]], Any] = asyncio.run,
) -> None:
    """Run the command in the arguments, and print the answer as JSON.

    Args:
        connect: Opens the queue in the database with that URL.
        run: Runs the event loop.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["install", "history", "throughput", "latency"])
    parser.add_argument("dsn")
    parser.add_argument("jobs", type=int, nargs="?", default=0)
    arguments = parser.parse_args()

    async def answer() -> Any:
        async with connect(arguments.dsn) as contender:
            match arguments.command:
                case "install":
                    return await contender.install()
                case "history":
                    return await contender.keep_history(arguments.jobs)
                case "throughput":
                    return await jobs_per_second(contender, arguments.jobs)
                case _:
                    return await milliseconds_to_start(contender, arguments.jobs)

    sys.stdout.write(json.dumps(run(answer())) + "\n")
