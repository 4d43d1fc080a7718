"""Transforms and loads stored pages again, with the current version of their sources. No site is asked."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from worker.database.queue import Queue
from worker.engine.read import transform
from worker.errors import CallRefusedError
from worker.processes.daemon_thread import in_daemon_thread
from worker.sources import Source

logger = logging.getLogger(__name__)

BATCH = 5
"""Pages of one claim. A page can have a megabyte."""

PAUSE_SECONDS = 600
"""Pause until the next look for marked pages."""


@dataclass(frozen=True, slots=True)
class Reprocessed:
    """Counts of processed pages.

    Attributes:
        invalid: Records that are not valid items.
        failed: Pages that could not be transformed or loaded.
    """

    pages: int = 0
    items: int = 0
    invalid: int = 0
    failed: int = 0

    def __add__(self, other: Reprocessed) -> Reprocessed:
        return Reprocessed(
            self.pages + other.pages, self.items + other.items, self.invalid + other.invalid, self.failed + other.failed
        )


class Reprocessor:
    """Processes marked pages again. Several workers may do so at the same time.

    Args:
        queue: The queue.
        sources: The sources whose pages are processed.
    """

    def __init__(self, queue: Queue, sources: Iterable[Source]) -> None:
        self._queue = queue
        self._sources = {source.name: source for source in sources}

    async def batch(self) -> Reprocessed:
        """Process the next pages, if there are any.

        Raises:
            QueueError: The database could not be reached in time. Pages that are not loaded are claimed again later.
        """
        done = Reprocessed()
        for kept in await self._queue.claim_pages(self._sources, BATCH):
            source = self._sources[kept.source]
            transformed = await in_daemon_thread(partial(transform, source, kept.site, kept.page))
            try:
                is_loaded = (await self._queue.load_page(kept.id, transformed)).status != "failed"
            except CallRefusedError as error:
                # The page may be deleted by now; otherwise it is claimed again later.
                logger.error("Page %d cannot be loaded: %s", kept.id, error)  # noqa: TRY400 (the message has all)
                is_loaded = False
            invalid = sum(error.index is not None for error in transformed.errors)
            done += Reprocessed(1, len(transformed.items), invalid, int(not is_loaded))
        return done

    async def __call__(self) -> float:
        """Process the next pages; return the seconds until there may be more."""
        return 0 if (await self.batch()).pages else PAUSE_SECONDS
