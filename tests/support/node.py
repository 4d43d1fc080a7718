"""Scripts for Node: frontends with the real supabase-js, and renderers of Markdown."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tools.schema.types import CLI
from worker.local.supabase.stack import Endpoints

PATIENCE_SECONDS = 20
RUN_SECONDS = 100
SUBSCRIBED = [{"state": "SUBSCRIBED"}, {"system": "ok", "message": "Subscribed to PostgreSQL"}]

SCRIPTS = Path(__file__).parents[1] / "e2e"
NODE_MODULES = SCRIPTS / "node_modules"

needs_cli = pytest.mark.skipif(CLI is None, reason="needs the Supabase CLI: npm ci --prefix tests/e2e")
needs_node = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(not NODE_MODULES.exists(), reason="needs supabase-js: npm ci --prefix tests/e2e"),
]


class NodeProcess:
    """A Node script that writes events to its standard output: JSON, one object a line.

    Args:
        script: Its file.
        process: Its process.
    """

    def __init__(self, script: Path, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._script = script
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self._output = b""
        self._errors = asyncio.create_task(process.stderr.read())

    async def next_event(self) -> dict[str, Any]:
        """Wait for the next event.

        Raises:
            AssertionError: There is none in time, or the line is no JSON object. The message has the exit code and all
                output.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                line = await self._stdout.readline()
            self._output += line
            return _event(line)
        except (TimeoutError, ValueError) as error:
            raise AssertionError(await self._failure(f"no event: {error!r}")) from None

    async def events_until(self, key: str) -> list[dict[str, Any]]:
        """Return the events up to the first one with this key."""
        events = [await self.next_event()]
        while key not in events[-1]:
            events.append(await self.next_event())
        return events

    async def send(self, command: str, argument: object = None) -> None:
        """Send a command to the script."""
        self._stdin.write(f"{json.dumps([command, argument])}\n".encode())
        await self._stdin.drain()

    async def end(self) -> None:
        """Close the standard input, and wait for the end of the script."""
        self._stdin.close()
        self._output += await self._stdout.read()
        if await self._process.wait() != 0:
            raise AssertionError(await self._failure("failed"))
        await self._errors

    async def _failure(self, reason: str) -> str:
        """Describe a failure. A script that still runs is killed."""
        try:
            async with asyncio.timeout(1):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
        self._output += await self._stdout.read()
        return _failure(self._script, reason, await self._process.wait(), self._output, await self._errors)


@asynccontextmanager
async def channel(stack: Endpoints, token: str | None, *bindings: dict[str, str]) -> AsyncIterator[NodeProcess]:
    """One channel of supabase-js, with a user's token or without."""
    async with node("realtime.mjs", stack, token=token, bindings=bindings) as running:
        yield running


@asynccontextmanager
async def node(script: str, stack: Endpoints, **settings: Any) -> AsyncIterator[NodeProcess]:
    """Run a script of `tests/e2e`, with its settings as JSON; it has to end with exit code 0."""
    settings |= {"url": stack.url, "key": stack.anon_key}
    process = await asyncio.create_subprocess_exec(
        "node", str(SCRIPTS / script), json.dumps(settings), stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    running = NodeProcess(SCRIPTS / script, process)
    try:
        yield running
    except BaseException:
        if process.returncode is None:
            process.kill()
        await process.wait()
        raise
    await running.end()


def run_node(script: str, lines: str) -> list[dict[str, Any]]:
    """Run a script of `tests/e2e` with these lines as its input; return all its events."""
    command = ["node", str(SCRIPTS / script)]
    ended = subprocess.run(command, input=lines.encode(), capture_output=True, timeout=RUN_SECONDS, check=False)
    try:
        events = [_event(line) for line in ended.stdout.splitlines()]
    except ValueError as error:
        reason = f"no event: {error!r}"
    else:
        if ended.returncode == 0:
            return events
        reason = "failed"
    raise AssertionError(_failure(SCRIPTS / script, reason, ended.returncode, ended.stdout, ended.stderr))


def _event(line: bytes) -> dict[str, Any]:
    if not line:
        raise ValueError("the output has ended")
    event = json.loads(line)
    if not isinstance(event, dict):
        raise ValueError("it is no object")  # noqa: TRY004  # as of a line that is no JSON
    return event


def _failure(script: Path, reason: str, exit_code: int, output: bytes, errors: bytes) -> str:
    return (
        f"{script.name}: {reason}; exit code {exit_code}\n"
        f"--- stdout\n{output.decode(errors='replace')}\n--- stderr\n{errors.decode(errors='replace')}"
    )
