"""Pages that could not be saved because the database was out of reach, kept on disk until they can be."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote
from uuid import UUID

from worker.model import FoundPage, Item, Page, Run, RunSite
from worker.queue import CallRefusedError, DatabaseUnreachableError, Queue

logger = logging.getLogger(__name__)

UNREACHABLE_AFTER_SECONDS = 5
"""Longer, and the site's own deadline would run out while a page waits."""

KEPT_SECONDS = 24 * 60 * 60
"""Who has not claimed a run again by then never will: other workers have searched it."""


class Spool:
    """A folder of pages, one file each, by run.

    Workers on one machine may share it: what one left, another saves that claims the run.

    Args:
        folder: Where to keep them; made when the first page comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, run_id: UUID, found: FoundPage) -> None:
        """Keep a page.

        Raises:
            OSError: It cannot be written.
        """
        folder = self._folder_of(run_id)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{quote(found.site.site, safe='')}.{found.site.attempt}.{found.page.number:06}.json"
        # Whoever reads it sees the whole page, or none.
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(asdict(found), allow_nan=False))
        unfinished.replace(path)

    def paths(self, run_id: UUID) -> list[Path]:
        """Return the files of a run's pages, site by site in the order of their numbers."""
        return sorted(self._folder_of(run_id).glob("*.json"))

    def read(self, path: Path) -> FoundPage | None:
        """Return a kept page; None if another version of this program wrote it in another form."""
        try:
            kept = json.loads(path.read_text())
            items = tuple(Item(**item) for item in kept["items"])
            return FoundPage(RunSite(**kept["site"]), kept["source"], Page(**kept["page"]), items)
        except (OSError, ValueError, TypeError, KeyError) as error:
            logger.error("%s cannot be read, and is dropped: %s", path, error)  # noqa: TRY400 (it tells all)
            return None

    def drop(self, run_id: UUID) -> None:
        """Forget a run's pages, if there are any."""
        shutil.rmtree(self._folder_of(run_id), ignore_errors=True)

    def drop_old(self) -> None:
        """Forget the pages of runs that nobody claimed again within `KEPT_SECONDS`."""
        for folder in self._folder.glob("*"):
            # The folder may hold what is not ours, and another worker may have saved the pages just now.
            with suppress(ValueError, FileNotFoundError):
                run_id = UUID(folder.name)
                if time.time() - folder.stat().st_mtime > KEPT_SECONDS:
                    logger.warning("Pages of run %s were kept for a day, and are dropped", run_id)
                    self.drop(run_id)

    def _folder_of(self, run_id: UUID) -> Path:
        return self._folder / str(run_id)


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
        self._catching_up: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._catching_up is not None:
            self._catching_up.cancel()
            await asyncio.gather(self._catching_up, return_exceptions=True)

    async def save(self, found: FoundPage) -> None:
        """Save a page, or keep it on disk while the database cannot be reached.

        Raises:
            LeaseLostError: The run is not this worker's any more.
            QueueError: A page was refused, or can neither be saved nor kept on disk.
        """
        if self._catching_up is not None and self._catching_up.done():
            await self.settle()
        if self._catching_up is None:
            try:
                await self._queue.save_page(self._run.lease, found, patience_seconds=UNREACHABLE_AFTER_SECONDS)
            except DatabaseUnreachableError:
                pass
            else:
                return
        try:
            self._spool.put(self._run.id, found)
        except OSError as error:
            logger.error("Run %s: a page cannot be kept on disk, the site waits: %s", self._run.id, error)  # noqa: TRY400
            await self._queue.save_page(self._run.lease, found)
            return
        if self._catching_up is None:
            logger.warning("Run %s: pages wait on disk until the database is back", self._run.id)
            self._catching_up = asyncio.create_task(self._save_spooled())

    async def settle(self) -> None:
        """Wait until all pages are saved, also those that an earlier attempt left on this disk.

        Raises:
            LeaseLostError: The run is not this worker's any more. What is on disk stays for whoever claims it here.
            DatabaseUnreachableError: The database was away for too long. What is on disk stays, too.
            CallRefusedError: A page of this attempt was refused, and is lost.
        """
        if self._catching_up is None and self._spool.paths(self._run.id):
            self._catching_up = asyncio.create_task(self._save_spooled())
        if self._catching_up is not None:
            catching_up, self._catching_up = self._catching_up, None
            await catching_up

    async def _save_spooled(self) -> None:
        refusal: CallRefusedError | None = None
        while paths := self._spool.paths(self._run.id):
            for path in paths:
                found = self._spool.read(path)
                try:
                    if found is not None:
                        await self._queue.save_page(self._run.lease, found)
                except CallRefusedError as error:
                    if found is not None and found.site in self._run.sites:
                        refusal = error
                    else:
                        # Whoever lost the run left it here, and the site was searched again since.
                        logger.warning("Run %s: a page of an earlier search is dropped: %s", self._run.id, error)
                path.unlink(missing_ok=True)
        self._spool.drop(self._run.id)
        if refusal is not None:
            raise refusal
        logger.info("Run %s: all pages that waited on disk are saved", self._run.id)
