"""Runs commands of this project as child processes: for the demo, the experiments and the benchmarks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

START_SECONDS = 60
STOP_SECONDS = 20
EXIT_INTERRUPTED = 130

T = TypeVar("T")


class ProcessError(Exception):
    """A process did not start, or it ended early."""


@asynccontextmanager
async def running(*command: str, log: Path, **environment: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run `python -P -m COMMAND` in the background. On exit, send SIGTERM, and SIGKILL after 20 s.

    Args:
        command: Module and arguments.
        log: File to which its standard error is appended.
        environment: Environment variables added to those of this process.
    """
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            # Not from the working directory, where a package of the user may have the same name.
            "-P",
            "-m",
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env=os.environ | environment,
            # Ctrl-C in the terminal reaches only the caller, which then stops its child processes in order.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def ready(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Return the line of JSON that `local --json` and `boards --json` print when they are ready.

    Raises:
        ProcessError: The process ended without printing it.
        TimeoutError: It printed nothing within 60 s.
    """
    assert process.stdout is not None
    async with asyncio.timeout(START_SECONDS):
        line = await process.stdout.readline()
    if not line:
        raise ProcessError(f"process {process.pid} did not start")
    answer: dict[str, Any] = json.loads(line)
    return answer


def run_until_signalled(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine until it ends, or until the first SIGINT or SIGTERM. Later signals do not interrupt the cleanup.

    Raises:
        SystemExit: A signal ended it. The exit code is 130.
    """

    async def run() -> T:
        task = asyncio.create_task(work)
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signal_number, lambda: task.cancelling() or task.cancel())
        return await task

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise SystemExit(EXIT_INTERRUPTED) from None
