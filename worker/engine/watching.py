"""Who watches a worker: the pages of `WORKER_HTTP_PORT`, if it is set."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from worker.database.queue import Queue
from worker.engine.background import Chore
from worker.engine.execution import Execution
from worker.engine.health import Health
from worker.engine.load import Load
from worker.engine.observed import ObservedExecution, ObservedQueue, observed_chore
from worker.engine.observer import Observer
from worker.engine.spool import Spool
from worker.engine.status_server import Answer, PageMaker, status_server
from worker.processes.daemon_thread import in_daemon_thread
from worker.settings import Settings
from worker.version import DISTRIBUTION

if TYPE_CHECKING:  # imports the extra
    from worker.engine.metrics import Metrics

logger = logging.getLogger(__name__)


class Watching:
    """Makes the parts of a worker that report to observers; without observers, the plain parts.

    Args:
        observers: Where they report.
        health: Is stopped with the worker.
        metrics: Is one of the observers, if the extra is installed.
    """

    def __init__(
        self, observers: Sequence[Observer] = (), health: Health | None = None, metrics: Metrics | None = None
    ) -> None:
        self.observers = observers
        self._health = health
        self._metrics = metrics

    def stop(self) -> None:
        """Report that the worker is stopping."""
        if self._health is not None:
            self._health.stop()

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a metric, as `Metrics.gauge` does."""
        if self._metrics is not None:
            self._metrics.gauge(name, text, value)

    def on_lag(self, seconds: float) -> None:
        """Report how late the event loop was."""
        for each in self.observers:
            each.loop_lagged(seconds)

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
async def watching(
    settings: Settings, sites: Iterable[tuple[str, str]], load: Load, spool: Spool, *, pause_seconds: float
) -> AsyncIterator[Watching]:
    """Serve the pages of a worker until the end of the block, if `WORKER_HTTP_PORT` is set.

    Args:
        settings: Where to listen.
        sites: The sites that the worker can search: (kind, site).
        load: How much it does at once.
        spool: Its spool.
        pause_seconds: Longest pause between two claims, or between two heartbeats.

    Raises:
        SettingsError: It cannot listen there.
    """
    if settings.http_port is None:
        yield Watching()
        return
    health = Health(pause_seconds)
    metrics = _metrics_of(sites, load, spool)
    page = _without_extra if metrics is None else partial(_metrics_page, metrics)
    pages: dict[str, PageMaker] = {"/healthz": _healthz, "/readyz": partial(_readyz, health), "/metrics": page}
    async with status_server(settings.http_host, settings.http_port, pages) as url:
        logger.info("Serving %s", ", ".join(url + path for path in pages))
        yield Watching([health] if metrics is None else [health, metrics], health, metrics)


def _metrics_of(sites: Iterable[tuple[str, str]], load: Load, spool: Spool) -> Metrics | None:
    """Return the metrics of a worker; None if the extra is not installed."""
    if find_spec("prometheus_client") is None:
        return None
    from worker.engine.metrics import Metrics  # noqa: PLC0415 (imports the extra)

    kinds, names = zip(*sites, strict=True)
    metrics = Metrics(kinds, names, spool)
    metrics.gauge("search_limit", "How many runs this worker searches at once, at present.", lambda: load.limit)
    metrics.gauge("search_limit_max", "WORKER_CONCURRENCY.", lambda: load.maximum)
    metrics.gauge("child_processes", "Running scrapers.", lambda: load.children)
    metrics.gauge("waiting_searches", "Searches that wait for memory for a scraper.", lambda: load.waiting)

    def used() -> float:
        use = load.memory.read()
        return math.nan if use is None else use.used

    def limit() -> float:
        use = load.memory.read()
        return math.nan if use is None else use.limit

    metrics.gauge("memory_used_bytes", "Memory that is used of the limit, with child processes.", used)
    metrics.gauge("memory_limit_bytes", "The limit of memory that has the least room.", limit)
    return metrics


async def _healthz() -> Answer:
    """Answer at all: the event loop works."""
    return Answer(HTTPStatus.OK, b"ok\n")


async def _metrics_page(metrics: Metrics) -> Answer:
    return Answer(HTTPStatus.OK, await in_daemon_thread(metrics.page), metrics.content_type)


async def _without_extra() -> Answer:
    advice = f"/metrics needs the extra metrics: pip install '{DISTRIBUTION}[metrics]'\n"
    return Answer(HTTPStatus.NOT_IMPLEMENTED, advice.encode())


async def _readyz(health: Health) -> Answer:
    problem = health.problem()
    if problem is None:
        return Answer(HTTPStatus.OK, b"ready\n")
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"not ready: {problem}\n".encode())
