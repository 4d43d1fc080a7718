"""One run, site by site."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing

from worker.model import ErrorCode, FoundPage, Run, RunSite, SiteError
from worker.queue import DatabaseUnreachableError, FinishedRun, LeaseLostError, Queue
from worker.sources import Source
from worker.spool import PageSaver, Spool

logger = logging.getLogger(__name__)


class Execution:
    """Searches a claimed run, site by site, and writes down what it finds as it goes.

    Args:
        queue: Where to write.
        sources: The sources by (kind, site).
        spool: Where pages wait that cannot be written.
    """

    def __init__(self, queue: Queue, sources: Mapping[tuple[str, str], Source], spool: Spool) -> None:
        self._queue = queue
        self._sources = sources
        self._spool = spool

    async def execute(self, run: Run) -> FinishedRun:
        """Search all sites of `run` that are not finished, one after another, then end the run.

        A failing site never stops the others.

        Raises:
            LeaseLostError: The run is not this worker's any more.
            QueueError: The database was out of reach for too long, or refused to end the site or the run.
        """
        self._spool.drop_old()
        async with PageSaver(self._queue, self._spool, run) as saver:
            await saver.settle()
            for site in run.sites:
                await self._queue.start_site(run.lease, site)
                error = await self._search_site(run, site, saver)
                await self._queue.finish_site(run.lease, site.site, error)
            return await self._queue.finish_run(run.lease)

    async def _search_site(self, run: Run, site: RunSite, saver: PageSaver) -> SiteError | None:
        """Save the site's pages; return why there are not more, if the search did not complete."""
        try:
            error = await self._fetch_pages(run, site, saver)
            await saver.settle()
        except (LeaseLostError, DatabaseUnreachableError):
            raise
        except Exception as error:
            # Its text may tell of the inside of this worker, which is nobody's business who reads the run.
            logger.exception("Search of %s failed unexpectedly", site.site, extra={"run_id": str(run.id)})
            return SiteError(ErrorCode.INTERNAL, f"unexpected {type(error).__name__}; the worker's log has the details")
        return error

    async def _fetch_pages(self, run: Run, site: RunSite, saver: PageSaver) -> SiteError | None:
        try:
            source = self._source(run.kind, site.site)
            source.validate(site.site, run.parameters)
            async with aclosing(source.fetch(site.site, run.parameters)) as pages:
                async for page in pages:
                    # In a thread, so that a slow parse delays no heartbeat.
                    items = await asyncio.to_thread(source.parse, site.site, page)
                    await saver.save(FoundPage(site, source.name, page, tuple(items)))
        except SiteError as error:
            return error
        return None

    def _source(self, kind: str, site: str) -> Source:
        try:
            return self._sources[kind, site]
        except KeyError:
            raise SiteError(
                ErrorCode.INVALID_PARAMETERS, f"this worker has no source for site {site!r} of kind {kind!r}"
            ) from None
