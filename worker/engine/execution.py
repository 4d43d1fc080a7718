"""One run, site by site."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from worker.database.answers import FinishedRun
from worker.database.queue import Queue
from worker.engine.backup import Backup
from worker.engine.page_timeout import PageTimeout
from worker.engine.permits import DatabasePermits
from worker.engine.progress import ProgressWriter
from worker.engine.read import storable, transform
from worker.engine.saving import PageSaver
from worker.engine.spool import Spool
from worker.errors import DatabaseUnreachableError, ErrorCode, LeaseLostError, SiteError, SiteWaitingError
from worker.http import HttpClient, SiteHttp
from worker.model import FoundPage, Page, Parameters, Progress, Run, RunSite
from worker.processes.daemon_thread import in_daemon_thread
from worker.sources import Search, Source, limits_of

logger = logging.getLogger(__name__)


class Execution:
    """Searches a claimed run, site by site, and writes down what it finds as it goes.

    Args:
        queue: Where to write.
        sources: The sources by (kind, site).
        spool: Where pages wait that cannot be written.
        http: What sources send their requests with.
        page_timeout_seconds: Time that a site has for a page.
        backup: Where all pages are kept as files, too; None: nowhere.
    """

    def __init__(
        self,
        queue: Queue,
        sources: Mapping[tuple[str, str], Source],
        spool: Spool,
        http: HttpClient,
        *,
        page_timeout_seconds: float,
        backup: Backup | None = None,
    ) -> None:
        self._queue = queue
        self._sources = sources
        self._spool = spool
        self._http = http
        self._page_timeout_seconds = page_timeout_seconds
        self._backup = backup

    async def execute(self, run: Run) -> FinishedRun:
        """Search all sites of `run` that are not finished, one after another, then end the run or put it off.

        A site that fails, or has to wait, never stops the others.

        Raises:
            LeaseLostError: The run is not this worker's any more.
            QueueError: The database was out of reach for too long, or refused to end the site or the run.
        """
        self._spool.drop_old()
        async with PageSaver(self._queue, self._spool, run) as saver:
            await saver.settle()
            for site in run.sites:
                await self._search_site(run, saver.reached(site), saver)
            return await self._queue.finish_run(run.lease)

    async def _search_site(self, run: Run, site: RunSite, saver: PageSaver) -> None:
        """Search a site and end it; one that has to wait is left for later."""
        has_to_wait = False
        failure = None
        try:
            failure = await self._failure_of(self._save_pages(run, site, saver), run, site)
        except SiteWaitingError as waiting:
            logger.info("Run %s: %s is left for later: %s", run.id, site.site, waiting)
            has_to_wait = True
        # Whatever became of the search: what it fetched has to be saved before the site ends, or waits.
        unsaved = await self._failure_of(saver.settle(), run, site)
        if not has_to_wait or unsaved:
            await self._queue.finish_site(run.lease, site, failure or unsaved)

    async def _failure_of(self, step: Coroutine[Any, Any, None], run: Run, site: RunSite) -> SiteError | None:
        try:
            await step
        except SiteError as error:
            return error
        except (SiteWaitingError, LeaseLostError, DatabaseUnreachableError):
            raise
        except Exception as error:
            # Its text may tell of the inside of this worker, which is nobody's business who reads the run.
            logger.exception("Search of %s failed unexpectedly", site.site, extra={"run_id": str(run.id)})
            return SiteError(ErrorCode.INTERNAL, f"unexpected {type(error).__name__}; the worker's log has the details")
        return None

    async def _save_pages(self, run: Run, site: RunSite, saver: PageSaver) -> None:
        """Save the site's pages, each before the next one is fetched."""
        source = self._source(run.kind, site.site)
        _check(source, site, run.parameters)
        limits = limits_of(source, site.site)
        await asyncio.sleep(await self._queue.start_site(run.lease, site, limits))
        if site.is_fetched:
            return
        timeout = PageTimeout(self._page_timeout_seconds)
        permits = DatabasePermits(self._queue, run.lease, site, limits, waiting=timeout.stopped)
        async with ProgressWriter(self._queue, run.lease, site) as progress:
            search = Search(
                site=site.site,
                parameters=run.parameters,
                http=SiteHttp(self._http, permits),
                permits=permits,
                report=progress.report,
                newer_than=run.newer_than,
                cursor=site.cursor,
                next_page=site.next_page,
                account=site.account,
                timeout_seconds=self._page_timeout_seconds,
            )
            async with aclosing(source.fetch(search)) as pages:
                while (fetched := await timeout.next_page(pages)) is not None:
                    progress.shown()
                    reading = partial(self._read, run, site, source, fetched, progress.latest)
                    saved = await saver.save(await in_daemon_thread(reading))
                    if run.newer_than is None or not source.ends_without_news or saved is None:
                        continue
                    if saved.status != "failed" and saved.new == 0:
                        logger.info("%s: page %d brought nothing new, the search ends", site.site, fetched.number)
                        return

    def _read(self, run: Run, site: RunSite, source: Source, fetched: Page, progress: Progress) -> FoundPage:
        if self._backup is not None:
            self._backup.keep(run.id, site, fetched)
        page = replace(fetched, payload=storable(fetched.payload), cursor=storable(fetched.cursor))
        return FoundPage(
            site=site.site,
            attempt=site.attempt,
            account=site.account,
            source=source.name,
            page=page,
            transformed=transform(source, site.site, page),
            progress=replace(progress, details={"page": page.number} | progress.details),
        )

    def _source(self, kind: str, site: str) -> Source:
        try:
            return self._sources[kind, site]
        except KeyError:
            raise SiteError(
                ErrorCode.INVALID_PARAMETERS, f"this worker has no source for site {site!r} of kind {kind!r}"
            ) from None


def _check(source: Source, site: RunSite, parameters: Parameters) -> None:
    """Raise a `SiteError` for what no search of the site could do without."""
    if missing := [name for name, is_there in source.credentials.items() if not is_there]:
        raise SiteError(
            ErrorCode.UNAUTHORIZED, f"{site.site} needs {' and '.join(missing)} in the worker's environment"
        )
    if source.needs_account and site.account is None:
        raise SiteError(ErrorCode.UNAUTHORIZED, f"{site.site} is searched through an account of yours, and none is set")
    source.validate(site.site, parameters)
