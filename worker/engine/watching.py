"""Who watches a worker: the pages of `WORKER_HTTP_PORT`, if it is set."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Any

from worker.database.queue import Queue
from worker.engine.background import Chore
from worker.engine.execution import Execution
from worker.engine.health import Health
from worker.engine.observed import ObservedExecution, ObservedQueue, observed_chore
from worker.engine.observer import Observer
from worker.engine.status_server import Answer, PageMaker, status_server
from worker.settings import Settings

logger = logging.getLogger(__name__)


class Watching:
    """Makes the parts of a worker that report to observers; without observers, the plain parts.

    Args:
        observers: Where they report.
        health: Is stopped with the worker.
    """

    def __init__(self, observers: Sequence[Observer] = (), health: Health | None = None) -> None:
        self.observers = observers
        self._health = health

    def stop(self) -> None:
        """Report that the worker is stopping."""
        if self._health is not None:
            self._health.stop()

    def queue(self, *arguments: Any, **options: Any) -> Queue:
        """Make a queue from the arguments of `Queue`."""
        if not self.observers:
            return Queue(*arguments, **options)
        return ObservedQueue(*arguments, observers=self.observers, **options)

    def execution(self, *arguments: Any, **options: Any) -> Execution:
        """Make an execution from the arguments of `Execution`."""
        if not self.observers:
            return Execution(*arguments, **options)
        return ObservedExecution(*arguments, observers=self.observers, **options)

    def chores(self, chores: Mapping[str, Chore]) -> Mapping[str, Chore]:
        """Return these chores, which then report their failures."""
        if not self.observers:
            return chores
        return {name: observed_chore(name, chore, self.observers) for name, chore in chores.items()}


@asynccontextmanager
async def watching(settings: Settings, *, pause_seconds: float) -> AsyncIterator[Watching]:
    """Serve the pages of a worker until the end of the block, if `WORKER_HTTP_PORT` is set.

    Args:
        settings: Where to listen.
        pause_seconds: Longest pause between two claims, or between two heartbeats.

    Raises:
        SettingsError: It cannot listen there.
    """
    if settings.http_port is None:
        yield Watching()
        return
    health = Health(pause_seconds)
    pages: dict[str, PageMaker] = {"/healthz": _healthz, "/readyz": partial(_readyz, health)}
    async with status_server(settings.http_host, settings.http_port, pages) as url:
        logger.info("Serving %s", ", ".join(url + path for path in pages))
        yield Watching([health], health)


async def _healthz() -> Answer:
    """Answer at all: the event loop works."""
    return Answer(HTTPStatus.OK, b"ok\n")


async def _readyz(health: Health) -> Answer:
    problem = health.problem()
    if problem is None:
        return Answer(HTTPStatus.OK, b"ready\n")
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"not ready: {problem}\n".encode())
