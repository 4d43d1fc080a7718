"""What a search tells of its progress between its pages, for those who watch it."""

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
"""Each write costs a check of rights for every subscriber."""


class ProgressWriter:
    """Writes the latest that a search tells, beside it: the search neither waits for it nor fails with it.

    Args:
        queue: Where to write.
        lease: The right to write to the run.
        site: The site that is searched.

    Attributes:
        latest: The latest that was told.
    """

    def __init__(self, queue: Queue, lease: Lease, site: RunSite) -> None:
        self.latest = Progress("searching")
        self._queue = queue
        self._lease = lease
        self._site = site
        self._told = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._writing = asyncio.create_task(self._write())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writing.cancel()
        await asyncio.gather(self._writing, return_exceptions=True)

    async def report(self, progress: Progress) -> None:
        """Take what a search tells. It is written within a second, unless something later is."""
        details = storable(progress.details)
        assert isinstance(details, dict)
        self.latest = replace(progress, details=details)
        self._told.set()

    def shown(self) -> None:
        """Note that the latest is written, with a page."""
        self._told.clear()

    async def _write(self) -> None:
        while True:
            await self._told.wait()
            self._told.clear()
            try:
                await self._queue.write_progress(self._lease, self._site, self.latest)
            except QueueError as error:
                # The heartbeat tells of a lost lease, and whatever else is wrong concerns the pages, too.
                logger.debug("The progress of %s is not written: %s", self._site.site, error)
            await asyncio.sleep(PAUSE_SECONDS)
