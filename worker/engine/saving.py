"""Saves the pages of a run during its search: at once, or through the spool while the database cannot be reached."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

from worker.database.answers import SavedPage
from worker.database.queue import Queue
from worker.engine.spool import Spool
from worker.errors import CallRefusedError, DatabaseUnreachableError, LeaseLostError, QueueError
from worker.model import Ends, FoundPage, Json, Run, RunSite
from worker.printable import one_line
from worker.processes.daemon_thread import in_daemon_thread

logger = logging.getLogger(__name__)

UNREACHABLE_AFTER_SECONDS = 5
"""A page is not tried for longer before it is spooled: the time that its site has for the next page is running."""


class PageSaver:
    """Saves the pages of one run.

    While the database can be reached, each page is saved at once. When it cannot, pages are written to the spool, a
    background task saves them in order as soon as the database is back, and the search continues meanwhile.

    Args:
        queue: Where to save the pages.
        spool: Where the pages wait.
        run: The claimed run.
    """

    def __init__(self, queue: Queue, spool: Spool, run: Run) -> None:
        self._queue = queue
        self._spool = spool
        self._run = run
        self._sites = {site.site: site for site in run.sites}
        self._emptying: asyncio.Task[None] | None = None
        self._refusal: CallRefusedError | None = None
        self._last_pages: dict[str, SavedPage] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._emptying is not None:
            self._emptying.cancel()
            await asyncio.gather(self._emptying, return_exceptions=True)

    async def save(self, found: FoundPage, *, ends: Ends | None = None) -> SavedPage | None:
        """Save a page, or spool it while the database cannot be reached.

        Args:
            found: The page.
            ends: What to end with it, if it is saved at once and no page of the site was refused.

        Returns:
            The result; None if the page is not saved yet, or was refused. `settle` raises the refusal.

        Raises:
            LeaseLostError: The run was cancelled, or its lease expired.
            QueueError: The page can be neither saved nor spooled.
        """
        if not await self._is_emptying_spool():
            with suppress(DatabaseUnreachableError):
                return await self._save_or_note_refusal(
                    found, ends=None if self._refusal else ends, patience_seconds=UNREACHABLE_AFTER_SECONDS
                )
        return await self._spool_page(found)

    async def settle(self) -> None:
        """Wait until all pages are saved, including those that an earlier attempt left in this spool.

        Raises:
            LeaseLostError: The run was cancelled, or its lease expired. Spooled pages stay for the next claim here.
            DatabaseUnreachableError: The database could not be reached in time. Spooled pages stay, too.
            CallRefusedError: The database refused a page of this attempt.
        """
        if self._spool.paths(self._run.id):
            self._start_emptying_spool()
        await self._wait_for_spool()
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            raise refusal

    def end_of(self, site: RunSite) -> SavedPage | None:
        """Return the page with which a site was ended; None if it is still to be ended."""
        return self._last_pages.get(site.site)

    def reached(self, site: RunSite) -> RunSite:
        """Return a site of the run with the position at which its search starts, after the saved pages."""
        return self._sites.setdefault(site.site, site)

    # The spool

    async def _spool_page(self, found: FoundPage) -> SavedPage | None:
        try:
            await in_daemon_thread(partial(self._spool.put, self._run.id, found))
        except OSError as error:
            logger.error("Run %s: a page cannot be spooled, so its search waits: %s", self._run.id, error)  # noqa: TRY400
            return await self._save_or_note_refusal(found)
        if self._emptying is None:
            logger.warning("Run %s: pages wait on disk until the database is back", self._run.id)
        self._start_emptying_spool()
        return None

    async def _is_emptying_spool(self) -> bool:
        """Return whether pages still wait in the spool. Raises what has ended the task that saves them."""
        if self._emptying is not None and self._emptying.done():
            await self._wait_for_spool()
        return self._emptying is not None

    def _start_emptying_spool(self) -> None:
        if self._emptying is None:
            self._emptying = asyncio.create_task(self._empty_spool())

    async def _wait_for_spool(self) -> None:
        if self._emptying is not None:
            emptying, self._emptying = self._emptying, None
            await emptying

    async def _empty_spool(self) -> None:
        while paths := self._spool.paths(self._run.id):
            for path in paths:
                found = await in_daemon_thread(partial(self._spool.read, path))
                if found is not None:
                    await self._save_or_note_refusal(found)
                path.unlink(missing_ok=True)
        self._spool.drop(self._run.id)
        logger.info("Run %s: all pages that waited on disk are saved", self._run.id)

    # The database

    async def _save_or_note_refusal(
        self, found: FoundPage, *, ends: Ends | None = None, patience_seconds: float | None = None
    ) -> SavedPage | None:
        try:
            saved = await self._queue.save_page(self._run.lease, found, ends=ends, patience_seconds=patience_seconds)
        except CallRefusedError as error:
            claimed = self._sites.get(found.site)
            if claimed is None or claimed.attempt != found.attempt:
                # An earlier attempt left it in the spool, and the site has been searched again since.
                logger.warning("Run %s: a page of an earlier attempt is dropped: %s", self._run.id, error)
            else:
                self._refusal = error
                await self._report_refusal(found, error)
            return None
        if saved.has_ended:
            self._last_pages[found.site] = saved
        if saved.pending_site is not None:
            self._sites[saved.pending_site.site] = saved.pending_site
        return saved

    async def _report_refusal(self, found: FoundPage, refusal: CallRefusedError) -> None:
        """Keep the page for an operator to look at, and write an alert into the events of the run."""
        alert: dict[str, Json] = {
            "reason": "page_refused",
            "page": found.page.number,
            "message": one_line(str(refusal)),
        }
        try:
            path = await in_daemon_thread(partial(self._spool.put_refused, self._run.id, found))
            logger.error("Run %s: the database refused a page, which is kept as %s: %s", self._run.id, path, refusal)
            alert["file"] = path.name
        except OSError as error:
            logger.error(  # noqa: TRY400 (the message has all)
                "Run %s: the database refused a page, which cannot be kept: %s; %s", self._run.id, refusal, error
            )
        try:
            await self._queue.write_alert(self._run.lease, found.site, alert)
        except LeaseLostError:
            raise
        except QueueError as error:
            logger.error("Run %s: the alert cannot be written: %s", self._run.id, error)  # noqa: TRY400
