"""The progress of a search between two pages, for the users who watch it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from types import TracebackType
from typing import Self

from worker.database.queue import Queue
from worker.engine.read import storable
from worker.errors import QueueError
from worker.model import Lease, Progress, RunSite

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 1
"""Minimum time between two writes. Realtime checks the policies of every subscriber for each write."""


class ProgressWriter:
    """Writes the latest progress of a search in the background. The search neither waits for it nor fails with it.

    Args:
        queue: The queue.
        lease: The right to write to the run.
        site: The site.

    Attributes:
        latest: The latest progress.
    """

    def __init__(self, queue: Queue, lease: Lease, site: RunSite) -> None:
        self.latest = Progress("searching")
        self._queue = queue
        self._lease = lease
        self._site = site
        self._reported = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._writing = asyncio.create_task(self._write())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writing.cancel()
        await asyncio.gather(self._writing, return_exceptions=True)

    async def report(self, progress: Progress) -> None:
        """Take the progress of the search. It is written within a second, unless a later one replaces it."""
        details = storable(progress.details)
        assert isinstance(details, dict)
        self.latest = replace(progress, details=details)
        self._reported.set()

    def shown(self) -> None:
        """Note that the latest progress is written with a page."""
        self._reported.clear()

    async def _write(self) -> None:
        while True:
            await self._reported.wait()
            self._reported.clear()
            try:
                await self._queue.write_progress(self._lease, self._site, self.latest)
            except QueueError as error:
                # The heartbeat reports a lost lease, and other failures show when a page is saved.
                logger.debug("The progress of %s cannot be written: %s", self._site.site, error)
            await asyncio.sleep(PAUSE_SECONDS)
