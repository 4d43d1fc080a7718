"""Transform and load kept pages anew, with today's version of their sources and no request to any site."""

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
"""Pages in one answer: a page may be a megabyte."""

PAUSE_SECONDS = 600
"""Until a worker looks again for pages that somebody else has marked."""


@dataclass(frozen=True, slots=True)
class Reprocessed:
    """What came of some pages.

    Attributes:
        invalid: Items that could not be read.
        failed: Pages of which nothing could be read or loaded.
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
    """Works off the pages that are marked to be processed anew, alone or beside others.

    Args:
        queue: Where the pages are.
        sources: The sources whose pages to take.
    """

    def __init__(self, queue: Queue, sources: Iterable[Source]) -> None:
        self._queue = queue
        self._sources = {source.name: source for source in sources}

    async def batch(self) -> Reprocessed:
        """Process the next few pages; none if there are none.

        Raises:
            QueueError: The database was out of reach. What is not loaded comes again.
        """
        done = Reprocessed()
        for kept in await self._queue.claim_pages(self._sources, BATCH):
            source = self._sources[kept.source]
            transformed = await in_daemon_thread(partial(transform, source, kept.site, kept.page))
            try:
                is_loaded = (await self._queue.load_page(kept.id, transformed)).status != "failed"
            except CallRefusedError as error:
                # The others go on. It may have been deleted meanwhile; else it comes again.
                logger.error("Page %d is not loaded: %s", kept.id, error)  # noqa: TRY400 (it tells all)
                is_loaded = False
            invalid = sum(error.index is not None for error in transformed.errors)
            done += Reprocessed(1, len(transformed.items), invalid, int(not is_loaded))
        return done

    async def __call__(self) -> float:
        """Process the next few pages; return the seconds until there may be more."""
        return 0 if (await self.batch()).pages else PAUSE_SECONDS
