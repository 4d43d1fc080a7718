"""Pages that could not be saved because the database was out of reach, kept on disk until they can be."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from worker.bounded_json import MOST_VALUES, JsonError, read_json
from worker.daemon_thread import in_daemon_thread
from worker.files import page_name, write_whole
from worker.model import FoundPage, Item, ItemError, Json, Page, Progress, Run, RunSite, Transformed, one_line
from worker.queue import CallRefusedError, DatabaseUnreachableError, Queue, QueueError, SavedPage

logger = logging.getLogger(__name__)

UNREACHABLE_AFTER_SECONDS = 5
"""Longer, and the site's own deadline would run out while a page waits."""

KEPT_SECONDS = 24 * 60 * 60
"""Who has not claimed a run again by then never will: other workers have searched it."""

REFUSED_KEPT_SECONDS = 14 * 24 * 60 * 60
"""As long as the database keeps raw pages, by default."""

LARGEST_FILE = 512 * 2**20
MOST_VALUES_KEPT = 4 * MOST_VALUES
"""A file has a page twice: as it came, in pure ASCII, and what was made of it."""


class Spool:
    """A folder of pages, one file each, by run.

    Workers on one machine may share it: what one left, another saves that claims the run.

    Args:
        folder: Where to keep them; made when the first page comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, run_id: UUID, found: FoundPage) -> None:
        """Keep a page until the database is back.

        Raises:
            OSError: It cannot be written.
        """
        _write(self._folder_of(run_id), found)

    def put_refused(self, run_id: UUID, found: FoundPage) -> Path:
        """Keep a page that the database refused for a person to look at; return its file.

        Raises:
            OSError: It cannot be written.
        """
        return _write(self._refused_folder / str(run_id), found)

    def paths(self, run_id: UUID) -> list[Path]:
        """Return the files of a run's pages, site by site in the order of their numbers."""
        return sorted(self._folder_of(run_id).glob("*.json"))

    def read(self, path: Path) -> FoundPage | None:
        """Return a kept page; None if another version of this program wrote it in another form."""
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise JsonError(f"is larger than {LARGEST_FILE // 2**20} MiB")
            kept: Any = read_json(path.read_bytes(), most_values=MOST_VALUES_KEPT)
            transformed = kept["transformed"]
            transformed["items"] = tuple(_item(item) for item in transformed["items"])
            transformed["errors"] = tuple(ItemError(**error) for error in transformed["errors"])
            # A page that an older version left has no progress, and nothing to go on after it with.
            progress = Progress(**kept.get("progress", {"step": "searching"}))
            site, page = RunSite(**kept["site"]), Page(**kept["page"])
            return FoundPage(site, kept["source"], page, Transformed(**transformed), progress)
        except (OSError, ValueError, TypeError, KeyError) as error:
            logger.error("%s cannot be read, and is dropped: %s", path, error)  # noqa: TRY400 (it tells all)
            return None

    def drop(self, run_id: UUID) -> None:
        """Forget a run's pages, if there are any."""
        shutil.rmtree(self._folder_of(run_id), ignore_errors=True)

    def drop_old(self) -> None:
        """Forget the pages of runs that nobody claimed again, or looked at, in time."""
        for parent, seconds in ((self._folder, KEPT_SECONDS), (self._refused_folder, REFUSED_KEPT_SECONDS)):
            for folder in parent.glob("*"):
                # The folder may hold what is not ours, and another worker may have saved the pages just now.
                with suppress(ValueError, FileNotFoundError):
                    run_id = UUID(folder.name)
                    if time.time() - folder.stat().st_mtime > seconds:
                        logger.warning("Pages of run %s were kept for too long, and are dropped", run_id)
                        shutil.rmtree(folder, ignore_errors=True)

    @property
    def _refused_folder(self) -> Path:
        return self._folder / "refused"

    def _folder_of(self, run_id: UUID) -> Path:
        return self._folder / str(run_id)


def _item(kept: dict[str, Any]) -> Item:
    return Item(**kept | {"job_types": tuple(kept["job_types"]), "skills": tuple(kept["skills"])})


def _write(folder: Path, found: FoundPage) -> Path:
    path = folder / page_name(found.site, found.page)
    write_whole(path, json.dumps(asdict(found), allow_nan=False))
    return path


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
            claimed = self._sites.get(found.site.site)
            if claimed is None or claimed.attempt != found.site.attempt:
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
        site, page = self._sites.get(found.site.site), found.page
        if site is None or page.number < site.next_page:
            return
        has_cursor = page.cursor is not None and found.site.account == site.account
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
            await self._queue.write_alert(self._run.lease, found.site.site, alert)
        except QueueError as error:
            logger.error("Run %s: the alert is not written: %s", self._run.id, error)  # noqa: TRY400
