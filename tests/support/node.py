"""Frontends: Node processes with the real supabase-js."""

from __future__ import annotations

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.queue import NODE_MODULES
from worker.local.supabase.stack import Endpoints
from worker.local.supabase.tokens import Tokens

PATIENCE_SECONDS = 20
SUBSCRIBED = [{"state": "SUBSCRIBED"}, {"system": "ok", "message": "Subscribed to PostgreSQL"}]

needs_node = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(not NODE_MODULES.exists(), reason="needs supabase-js: npm ci --prefix tests/e2e"),
]


class Frontend:
    """A Node process with one channel."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def hears(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            line = await self._process.stdout.readline()
            if not line:
                assert self._process.stderr is not None
                raise AssertionError(f"the frontend has ended: {(await self._process.stderr.read()).decode()}")
        event: dict[str, Any] = json.loads(line)
        return event

    async def hears_until(self, key: str) -> list[dict[str, Any]]:
        """Return what happens up to the first event with this key."""
        heard = [await self.hears()]
        while key not in heard[-1]:
            heard.append(await self.hears())
        return heard

    async def does(self, command: str, argument: object = None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps([command, argument])}\n".encode())
        await self._process.stdin.drain()


@asynccontextmanager
async def frontend(stack: Endpoints, token: str | None, *bindings: dict[str, str]) -> AsyncIterator[Frontend]:
    """One channel of supabase-js, with a user's token or without."""
    async with node("realtime.mjs", stack, token=token, bindings=bindings) as running:
        yield running


@asynccontextmanager
async def node(script: str, stack: Endpoints, **settings: Any) -> AsyncIterator[Frontend]:
    """A script of this folder, with its settings as JSON."""
    settings |= {"url": stack.url, "key": stack.anon_key}
    process = await asyncio.create_subprocess_exec(
        "node", str(Path(__file__).parent / script), json.dumps(settings), stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        yield Frontend(process)
    finally:
        _, errors = await process.communicate(b"")  # ends its standard input
    assert process.returncode == 0, errors.decode()


def token(stack: Endpoints, user: str, *, lifetime_seconds: int = 600) -> str:
    return Tokens(stack.jwt_secret).issue({"role": "authenticated", "sub": user}, lifetime_seconds=lifetime_seconds)
