"""One run, site by site."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import aclosing

from worker.model import ErrorCode, Run, RunSite, SiteError
from worker.queue import DatabaseUnreachableError, FinishedRun, LeaseLostError, Queue
from worker.sources import Source

logger = logging.getLogger(__name__)


class Execution:
    """Searches a claimed run, site by site, and writes down what it finds as it goes.

    Args:
        queue: Where to write.
        sources: The sources by (kind, site).
    """

    def __init__(self, queue: Queue, sources: Mapping[tuple[str, str], Source]) -> None:
        self._queue = queue
        self._sources = sources

    async def execute(self, run: Run) -> FinishedRun:
        """Search all sites of `run` that are not finished, one after another, then end the run.

        A failing site never stops the others.

        Raises:
            LeaseLostError: The run is not this worker's any more.
            QueueError: The database cannot be reached, or refused to end the site or the run.
        """
        for site in run.sites:
            await self._queue.start_site(run.lease, site)
            await self._queue.finish_site(run.lease, site.site, await self._search_site(run, site))
        return await self._queue.finish_run(run.lease)

    async def _search_site(self, run: Run, site: RunSite) -> SiteError | None:
        """Save the site's pages; return why there are not more, if the search did not complete."""
        try:
            source = self._source(run.kind, site.site)
            source.validate(site.site, run.parameters)
            async with aclosing(source.fetch(site.site, run.parameters)) as pages:
                async for page in pages:
                    items = source.parse(site.site, page)
                    await self._queue.save_page(run.lease, site.site, source.name, page, items)
        except SiteError as error:
            return error
        except (LeaseLostError, DatabaseUnreachableError):
            raise
        except Exception as error:
            # Its text may tell of the inside of this worker, which is nobody's business who reads the run.
            logger.exception("Search of %s failed unexpectedly", site.site, extra={"run_id": str(run.id)})
            return SiteError(ErrorCode.INTERNAL, f"unexpected {type(error).__name__}; the worker's log has the details")
        return None

    def _source(self, kind: str, site: str) -> Source:
        try:
            return self._sources[kind, site]
        except KeyError:
            raise SiteError(
                ErrorCode.INVALID_PARAMETERS, f"this worker has no source for site {site!r} of kind {kind!r}"
            ) from None
