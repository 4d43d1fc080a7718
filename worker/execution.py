"""One run, site by site."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from worker.backup import Backup
from worker.daemon_thread import in_daemon_thread
from worker.model import ErrorCode, FoundPage, Page, Run, RunSite, SiteError
from worker.pipeline.transform import storable, transform
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
        backup: Where all pages are kept as files, too; None: nowhere.
    """

    def __init__(
        self, queue: Queue, sources: Mapping[tuple[str, str], Source], spool: Spool, backup: Backup | None = None
    ) -> None:
        self._queue = queue
        self._sources = sources
        self._spool = spool
        self._backup = backup

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
        failure = await self._failure_of(self._fetch_pages(run, site, saver), run, site)
        # Whatever became of the search: what it fetched has to be saved before the site ends.
        unsaved = await self._failure_of(saver.settle(), run, site)
        return failure or unsaved

    async def _failure_of(self, step: Coroutine[Any, Any, None], run: Run, site: RunSite) -> SiteError | None:
        try:
            await step
        except SiteError as error:
            return error
        except (LeaseLostError, DatabaseUnreachableError):
            raise
        except Exception as error:
            # Its text may tell of the inside of this worker, which is nobody's business who reads the run.
            logger.exception("Search of %s failed unexpectedly", site.site, extra={"run_id": str(run.id)})
            return SiteError(ErrorCode.INTERNAL, f"unexpected {type(error).__name__}; the worker's log has the details")
        return None

    async def _fetch_pages(self, run: Run, site: RunSite, saver: PageSaver) -> None:
        source = self._source(run.kind, site.site)
        source.validate(site.site, run.parameters)
        async with aclosing(source.fetch(site.site, run.parameters, run.newer_than)) as pages:
            async for fetched in pages:
                saved = await saver.save(await in_daemon_thread(partial(self._read, run, site, source, fetched)))
                if run.newer_than is not None and saved is not None and saved.status != "failed" and saved.new == 0:
                    logger.info("%s: page %d brought nothing new, the search ends", site.site, fetched.number)
                    return

    def _read(self, run: Run, site: RunSite, source: Source, fetched: Page) -> FoundPage:
        if self._backup is not None:
            self._backup.keep(run.id, site, fetched)
        page = replace(fetched, payload=storable(fetched.payload))
        return FoundPage(site, source.name, page, transform(source, site.site, page))

    def _source(self, kind: str, site: str) -> Source:
        try:
            return self._sources[kind, site]
        except KeyError:
            raise SiteError(
                ErrorCode.INVALID_PARAMETERS, f"this worker has no source for site {site!r} of kind {kind!r}"
            ) from None
