"""The progress of a search between two pages, for the users who watch it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from types import TracebackType
from typing import Self

from worker.database.answers import SavedPage
from worker.database.queue import Queue
from worker.engine.read import storable
from worker.errors import QueueError
from worker.model import Lease, Progress, RunSite

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 1
"""Minimum time between two writes, unless the database asks for more."""


class ProgressWriter:
    """Writes the latest progress of a search in the background. The search neither waits for it nor fails with it.

    The database decides how often: it refuses a write too soon after the last change of the run. Then the latest
    progress is written later, also when it belongs to the start of the search or to a page.

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
        self._unwritten = asyncio.Event()
        # The start of the search, if the run changed shortly before.
        self._unwritten.set()

    async def __aenter__(self) -> Self:
        self._writing = asyncio.create_task(self._write())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writing.cancel()
        await asyncio.gather(self._writing, return_exceptions=True)

    async def report(self, progress: Progress) -> None:
        """Take the progress of the search. It is written soon, unless a later one replaces it."""
        details = storable(progress.details)
        assert isinstance(details, dict)
        self.latest = replace(progress, details=details)
        self._unwritten.set()

    def sent(self) -> None:
        """Note that the latest progress is sent with a page."""
        self._unwritten.clear()

    def saved(self, page: SavedPage) -> None:
        """Note whether the progress that was sent with a page was written."""
        if page.shown_in_seconds is not None:
            self._unwritten.set()

    async def _write(self) -> None:
        pause: float = PAUSE_SECONDS
        while True:
            await asyncio.sleep(pause)
            await self._unwritten.wait()
            self._unwritten.clear()
            refused_for_seconds = None
            try:
                refused_for_seconds = await self._queue.write_progress(self._lease, self._site, self.latest)
            except QueueError as error:
                # The heartbeat reports a lost lease, and other failures show when a page is saved.
                logger.debug("The progress of %s cannot be written: %s", self._site.site, error)
            if refused_for_seconds is not None:
                self._unwritten.set()
            pause = max(PAUSE_SECONDS, refused_for_seconds or 0)
