"""Searches one run, site by site."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from worker.database.answers import FinishedRun, Granted, SavedPage
from worker.database.queue import Queue
from worker.engine.backup import Backup
from worker.engine.exits import LeftExits, Route
from worker.engine.page_timeout import PageTimeout
from worker.engine.permits import DatabasePermits
from worker.engine.progress import ProgressWriter
from worker.engine.read import storable, transform
from worker.engine.saving import PageSaver
from worker.engine.spool import Spool
from worker.errors import DatabaseUnreachableError, ErrorCode, LeaseLostError, SiteError, SiteWaitingError
from worker.http import HttpClient, SiteHttp
from worker.http.permits import Permits
from worker.http.usage import Meter, Usage
from worker.model import Ends, FoundPage, Page, Parameters, Progress, Run, RunSite
from worker.printable import printable
from worker.processes.daemon_thread import in_daemon_thread
from worker.sources import Search, Source, counts_by_exit, limits_of, usable_exits

logger = logging.getLogger(__name__)

ChildPlace: TypeAlias = Callable[[Callable[[], AbstractContextManager[None]]], AbstractAsyncContextManager[None]]


class Execution:
    """Searches a claimed run, site by site, and saves each page as soon as it is fetched.

    Args:
        queue: The queue, which takes the pages and the result.
        sources: The sources by (kind, site).
        spool: Where pages wait while the database cannot be reached.
        http: The HTTP client of the sources.
        page_timeout_seconds: Timeout of one page, without the waits for permits.
        child_place: Makes a context for a child process of a source, from one for the time that it waits.
        usage: Counts what is sent through each exit.
        backup: Where each page is also kept as a file; None: nowhere.
    """

    def __init__(
        self,
        queue: Queue,
        sources: Mapping[tuple[str, str], Source],
        spool: Spool,
        http: HttpClient,
        *,
        page_timeout_seconds: float,
        child_place: ChildPlace,
        usage: Usage,
        backup: Backup | None = None,
    ) -> None:
        self._queue = queue
        self._sources = sources
        self._spool = spool
        self._http = http
        self._page_timeout_seconds = page_timeout_seconds
        self._child_place = child_place
        self._usage = usage
        self._backup = backup
        self._left_exits = LeftExits()

    async def execute(self, run: Run, *, on_searched: Callable[[], None] = lambda: None) -> FinishedRun:
        """Search the unfinished sites of a run, one after another, then end the run or return it to the queue.

        A site that fails or has to wait does not stop the others. Fallback sites are searched once they are needed.

        Args:
            run: The run.
            on_searched: Called when its sites are searched, before the call that ends the run.

        Raises:
            LeaseLostError: The run was cancelled, or its lease expired.
            QueueError: The database could not be reached in time, or refused to end a site or the run.
        """
        async with PageSaver(self._queue, self._spool, run) as saver:
            await saver.settle()
            sites = run.sites
            while True:
                finished = None
                for site in sites:
                    on_last = on_searched if site is sites[-1] else None
                    finished = await self._search_site(run, saver.reached(site), saver, on_last)
                if finished is None:
                    on_searched()
                    finished = await self._queue.finish_run(run.lease)
                if not finished.fallbacks:
                    return finished
                sites = finished.fallbacks

    async def _search_site(
        self, run: Run, site: RunSite, saver: PageSaver, on_last: Callable[[], None] | None
    ) -> FinishedRun | None:
        """Search a site and end it; if it is the last one, call `on_last`, end the run and return it.

        A site that has to wait does not end: the run comes back for it.
        """
        has_to_wait = False
        failure = None
        try:
            failure = await self._failure_of(self._start_and_search(run, site, saver, on_last), run, site)
        except SiteWaitingError as waiting:
            logger.info("Run %s: %s is left for later: %s", run.id, site.site, waiting)
            has_to_wait = True
        if (last_page := saver.end_of(site)) is not None:
            return last_page.run
        # However the search went: its pages are saved before the site ends or waits.
        unsaved = await self._failure_of(saver.settle(), run, site)
        error = failure or unsaved
        if error is not None:
            # Users read another sentence.
            logger.warning("Run %s: %s failed: %s: %s", run.id, site.site, error.code, printable(error.message))
        if has_to_wait and not error:
            return None
        # Not together with a failure, which is recorded first: all runs of the site would wait for the end of this one.
        if on_last is None or error is not None:
            return await self._queue.finish_site(run.lease, site, error)
        on_last()
        return await self._queue.finish_site(run.lease, site, None, ends_run=True)

    async def _failure_of(self, step: Coroutine[Any, Any, None], run: Run, site: RunSite) -> SiteError | None:
        """Return the error with which the site fails; None if the step succeeds. An error of the run is raised."""
        try:
            await step
        except SiteError as error:
            return error
        except (SiteWaitingError, LeaseLostError, DatabaseUnreachableError):
            raise
        except Exception as error:
            # Users read the message of the run, and the text of the error may reveal internals of this worker.
            logger.exception("Search of %s failed unexpectedly", site.site, extra={"run_id": str(run.id)})
            return SiteError(ErrorCode.INTERNAL, f"unexpected {type(error).__name__}; the worker's log has the details")
        return None

    async def _start_and_search(
        self, run: Run, site: RunSite, saver: PageSaver, on_last: Callable[[], None] | None
    ) -> None:
        source = self._source(run.kind, site.site)
        _check(source, site, run.parameters)
        route = Route(
            self._queue,
            run.lease,
            site,
            usable_exits(self._http.exits, source, site.site),
            left=self._left_exits,
            usage=self._usage,
            counts_by_exit=counts_by_exit(source),
        )
        if site.is_started:
            route.use(Granted(0, site.exit))
        else:
            limits = limits_of(source, site.site)
            granted = await self._queue.start_site(run.lease, site, limits, route.offered)
            route.use(granted)
            await asyncio.sleep(granted.wait_seconds)
        if not site.is_fetched:
            await self._save_pages(source, run, route, saver, on_last)

    async def _save_pages(
        self, source: Source, run: Run, route: Route, saver: PageSaver, on_last: Callable[[], None] | None
    ) -> None:
        """Fetch the pages of a site and save each before the next one is fetched; the last one ends the site."""
        site = route.site
        timeout = PageTimeout(self._page_timeout_seconds)
        limits = limits_of(source, site.site)
        permits = DatabasePermits(self._queue, run.lease, site, limits, route=route, waiting=timeout.stopped)
        async with ProgressWriter(self._queue, run.lease, site) as progress:
            search = Search(
                site=site.site,
                parameters=run.parameters,
                http=self._http_of(site.site, permits),
                permits=permits,
                report=progress.report,
                newer_than=run.newer_than,
                cursor=site.cursor,
                next_page=site.next_page,
                account=site.account,
                meter=self._meter_of(site.site),
                child_place=partial(self._child_place, timeout.stopped),
                timeout_seconds=self._page_timeout_seconds,
            )
            async with aclosing(_pages(source, search, timeout, route)) as pages:
                async for fetched in pages:
                    progress.sent()
                    reading = partial(self._read, run, site, source, fetched, progress.latest)
                    found = await in_daemon_thread(reading)
                    saved = await saver.save(found, ends=_ended_by(fetched, on_last))
                    if saver.end_of(site) is not None:
                        return
                    if saved is not None:
                        progress.saved(saved)
                    if run.newer_than is not None and source.ends_without_news and _has_no_news(saved):
                        logger.info("%s: page %d has nothing new, the search ends", site.site, fetched.number)
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

    def _http_of(self, site: str, permits: Permits) -> SiteHttp:
        return SiteHttp(self._http, permits, meter=self._meter_of(site))

    def _meter_of(self, site: str) -> Meter:
        return partial(self._usage.add, site)

    def _source(self, kind: str, site: str) -> Source:
        try:
            return self._sources[kind, site]
        except KeyError:
            raise SiteError(
                ErrorCode.INVALID_PARAMETERS, f"this worker has no source for site {site!r} of kind {kind!r}"
            ) from None


def _ended_by(page: Page, on_last: Callable[[], None] | None) -> Ends | None:
    """Return what ends with a page. Calls `on_last` before the call that ends the run."""
    if not page.is_last:
        return None
    if on_last is None:
        return "site"
    on_last()
    return "run"


async def _pages(source: Source, search: Search, limit: PageTimeout, route: Route) -> AsyncGenerator[Page, None]:
    """Yield the pages of a search. A page that the site refuses is asked again through another exit."""
    while True:
        try:
            async with aclosing(source.fetch(search)) as pages:
                while (fetched := await limit.next_page(pages)) is not None:
                    yield fetched
                    route.note_page()
                    # Without a cursor, the search begins again. Its pages are new ones: those before stay.
                    search = replace(search, cursor=fetched.cursor, next_page=fetched.number + 1)
        except SiteError as error:
            await route.leave(error)
        else:
            return


def _has_no_news(saved: SavedPage | None) -> bool:
    return saved is not None and saved.status != "failed" and saved.new == 0


def _check(source: Source, site: RunSite, parameters: Parameters) -> None:
    """Raise a `SiteError` if a search of the site lacks something that it needs, or its parameters are refused."""
    if missing := [name for name, is_there in source.credentials.items() if not is_there]:
        raise SiteError(
            ErrorCode.UNAUTHORIZED, f"{site.site} needs {' and '.join(missing)} in the worker's environment"
        )
    if source.needs_account and site.account is None:
        raise SiteError(ErrorCode.UNAUTHORIZED, f"{site.site} is searched through an account of yours, and none is set")
    source.validate(site.site, parameters)
