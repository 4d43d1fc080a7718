"""Worker processes, as they run in production, that search played APIs through a proxy."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import httpx
import psycopg

from worker.local.supabase.stack import Endpoints

PATIENCE_SECONDS = 120


class PlayedSites:
    """The process that plays the sites.

    Args:
        facts: What it says of itself.
    """

    def __init__(self, facts: dict[str, Any]) -> None:
        self.control_url: str = facts["control_url"]
        self.environment: dict[str, str] = facts["credentials"] | {
            "WORKER_HTTP_PROXIES": facts["proxy_url"],
            "WORKER_HTTP_CA_CERT": facts["ca_cert"],
        }

    def asked(self, site: str) -> list[tuple[float, str]]:
        """Return what a site was asked: when, by the clock of the one that plays it, and the path."""
        log = httpx.get(f"{self.control_url}/requests").raise_for_status().json()["sites"][site]
        return list(zip(log["at"], log["paths"], strict=True))

    def fail(self, site: str, failure: str) -> None:
        """Let a site fail from now on."""
        httpx.put(f"{self.control_url}/failures/{site}", json={"failure": failure}).raise_for_status()

    def heal(self, site: str) -> None:
        """Let it answer again."""
        httpx.delete(f"{self.control_url}/failures/{site}").raise_for_status()


@contextmanager
def played_sites() -> Iterator[PlayedSites]:
    """Play the sites until the end."""
    command = [sys.executable, "-m", "worker.local.boards", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield PlayedSites(json.loads(process.stdout.readline()))
        finally:
            process.terminate()


@contextmanager
def workers(stack: Endpoints, sites: PlayedSites, count: int) -> Iterator[Sequence[subprocess.Popen[bytes]]]:
    """Worker processes, which are killed at the end if they still run."""
    environment = os.environ | sites.environment | {
        "SUPABASE_URL": stack.url,
        "SUPABASE_SERVICE_ROLE_KEY": stack.service_role_key,
        "WORKER_POLL_SECONDS": "0.2",
        "WORKER_POLL_IDLE_SECONDS": "1",
    }  # fmt: skip
    with ExitStack() as running:
        processes = []
        for number in range(count):
            process = subprocess.Popen(
                [sys.executable, "-m", "worker", "run"],
                env=environment | {"WORKER_ID": f"worker-{number}"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            running.enter_context(process)
            running.callback(process.kill)
            processes.append(process)
        yield processes


@asynccontextmanager
async def watching(stack: Endpoints) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A connection as the owner of the tables."""
    async with await psycopg.AsyncConnection.connect(stack.db_url, autocommit=True) as database:
        yield database


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return once a condition of the database holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.05)
