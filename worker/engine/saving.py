"""What a run keeps of its pages while it is searched: saved at once, or on disk while the database is away."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self

from worker.database.answers import SavedPage
from worker.database.queue import Queue
from worker.engine.spool import Spool
from worker.errors import CallRefusedError, DatabaseUnreachableError, LeaseLostError, QueueError
from worker.model import FoundPage, Json, Run, RunSite
from worker.printable import one_line
from worker.processes.daemon_thread import in_daemon_thread

logger = logging.getLogger(__name__)

UNREACHABLE_AFTER_SECONDS = 5
"""Longer, and the site's own deadline would run out while a page waits."""


class PageSaver:
    """Saves the pages of one run: at once, or from the spool when the database is back.

    The search goes on meanwhile: what is fetched waits on disk, and the site does not wait for the database.

    Args:
        queue: Where to save.
        spool: Where pages wait.
        run: The claimed run.
    """

    def __init__(self, queue: Queue, spool: Spool, run: Run) -> None:
        self._queue = queue
        self._spool = spool
        self._run = run
        self._sites = {site.site: site for site in run.sites}
        self._catching_up: asyncio.Task[None] | None = None
        self._refusal: CallRefusedError | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._catching_up is not None:
            self._catching_up.cancel()
            await asyncio.gather(self._catching_up, return_exceptions=True)

    async def save(self, found: FoundPage) -> SavedPage | None:
        """Save a page, or keep it on disk while the database cannot be reached.

        Returns:
            What became of it; None if it is not saved yet, or was refused, which `settle` tells.

        Raises:
            LeaseLostError: The run is not this worker's any more.
            QueueError: The page can neither be saved nor kept on disk.
        """
        if self._catching_up is not None and self._catching_up.done():
            await self._catch_up()
        if self._catching_up is None:
            try:
                return await self._save(found, patience_seconds=UNREACHABLE_AFTER_SECONDS)
            except DatabaseUnreachableError:
                pass
        try:
            await in_daemon_thread(partial(self._spool.put, self._run.id, found))
        except OSError as error:
            logger.error("Run %s: a page cannot be kept on disk, the site waits: %s", self._run.id, error)  # noqa: TRY400
            return await self._save(found)
        if self._catching_up is None:
            logger.warning("Run %s: pages wait on disk until the database is back", self._run.id)
            self._catching_up = asyncio.create_task(self._save_spooled())
        return None

    async def settle(self) -> None:
        """Wait until all pages are saved, also those that an earlier attempt left on this disk.

        Raises:
            LeaseLostError: The run is not this worker's any more. What is on disk stays for whoever claims it here.
            DatabaseUnreachableError: The database was away for too long. What is on disk stays, too.
            CallRefusedError: A page of this attempt was refused.
        """
        if self._catching_up is None and self._spool.paths(self._run.id):
            self._catching_up = asyncio.create_task(self._save_spooled())
        await self._catch_up()
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            raise refusal

    def reached(self, site: RunSite) -> RunSite:
        """Return a site of the run as its search goes on, after the pages of it that are saved by now."""
        return self._sites[site.site]

    async def _catch_up(self) -> None:
        if self._catching_up is not None:
            catching_up, self._catching_up = self._catching_up, None
            await catching_up

    async def _save_spooled(self) -> None:
        while paths := self._spool.paths(self._run.id):
            for path in paths:
                found = await in_daemon_thread(partial(self._spool.read, path))
                if found is not None:
                    await self._save(found)
                path.unlink(missing_ok=True)
        self._spool.drop(self._run.id)
        logger.info("Run %s: all pages that waited on disk are saved", self._run.id)

    async def _save(self, found: FoundPage, *, patience_seconds: float | None = None) -> SavedPage | None:
        try:
            saved = await self._queue.save_page(self._run.lease, found, patience_seconds=patience_seconds)
        except CallRefusedError as error:
            claimed = self._sites.get(found.site)
            if claimed is None or claimed.attempt != found.attempt:
                # Whoever lost the run left it here, and the site was searched again since.
                logger.warning("Run %s: a page of an earlier search is dropped: %s", self._run.id, error)
            else:
                self._refusal = error
                await self._tell_refused(found, error)
            return None
        self._note(found, saved)
        return saved

    def _note(self, found: FoundPage, saved: SavedPage) -> None:
        """Keep where the search of a page's site goes on, by the rules of `worker.resume_point`."""
        site, page = self._sites.get(found.site), found.page
        if site is None or page.number < site.next_page:
            return
        has_cursor = page.cursor is not None and found.account == site.account
        if page.number == site.next_page and saved.status != "failed" and (has_cursor or page.is_last):
            reached = replace(site, cursor=page.cursor, next_page=page.number + 1, is_fetched=page.is_last)
        else:
            reached = replace(site, cursor=None, next_page=1, is_fetched=False)
        self._sites[site.site] = reached

    async def _tell_refused(self, found: FoundPage, refusal: CallRefusedError) -> None:
        alert: dict[str, Json] = {
            "reason": "page_refused",
            "page": found.page.number,
            "message": one_line(str(refusal)),
        }
        try:
            path = await in_daemon_thread(partial(self._spool.put_refused, self._run.id, found))
            logger.error("Run %s: a page was refused, and is kept as %s: %s", self._run.id, path, refusal)
            alert["file"] = path.name
        except OSError as error:
            logger.error("Run %s: a page was refused, and cannot be kept: %s; %s", self._run.id, refusal, error)  # noqa: TRY400
        try:
            await self._queue.write_alert(self._run.lease, found.site, alert)
        except LeaseLostError:
            raise
        except QueueError as error:
            logger.error("Run %s: the alert is not written: %s", self._run.id, error)  # noqa: TRY400
