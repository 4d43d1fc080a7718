"""Imports a file with records of a site as a finished run of a user. No site is asked, and no worker is needed."""

from __future__ import annotations

import asyncio
import hashlib
import stat
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from pathlib import Path
from uuid import UUID

from worker.database.queue import Queue
from worker.engine.read import imported_page, transform
from worker.engine.record_files import FoundRecord, UnreadableFileError, batches, in_file, readable, records_in
from worker.errors import DatabaseUnreachableError, ErrorCode, LeaseLostError, QueueError, SiteError
from worker.model import FoundPage, ItemError, Lease, Progress, RunSite
from worker.printable import one_line
from worker.processes.daemon_thread import in_daemon_thread
from worker.sources import Source

NAME_LENGTH = 200
FIRST_ATTEMPT = 1


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A file, and how its records are read.

    Attributes:
        path: The file. It is read more than once, so it must not be a pipe.
        source: Reads the records.
        site: See `records_in`.
        board: See `Source.records_in`.
    """

    path: Path
    source: Source
    site: str | None = None
    board: str | None = None

    def records(self) -> Iterator[FoundRecord | ItemError]:
        """Yield the records; see `records_in`."""
        with self._opened() as file:
            yield from records_in(self.source, file, site=self.site, board=self.board)

    def key(self) -> str:
        """Return an idempotency key, equal for the same content that is read in the same way."""
        with self._opened() as file, readable():
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        read_as = [digest, self.source.name, self.site or "", self.board or ""]
        return f"import:{hashlib.sha256(' '.join(read_as).encode()).hexdigest()}"

    def _opened(self) -> BufferedReader:
        with readable():
            mode = self.path.stat().st_mode
            if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
                raise UnreadableFileError("is a pipe or a device, and an import reads a file twice: save it to a file")
            return self.path.open("rb")


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The result of an import.

    Attributes:
        run_id: The run.
        status: Its status; `running` if another process is importing the same file at this moment.
        was_done_before: Whether nothing was done, because the run is there already.
        items: Number of valid records.
        invalid: Number of records that are not valid items.
    """

    run_id: UUID
    status: str
    was_done_before: bool = False
    items: int = 0
    invalid: int = 0


async def import_file(
    queue: Queue, file: RecordFile, user: str, *, heartbeat_seconds: float, on_error: Callable[[ItemError], None]
) -> ImportResult:
    """Import a file as a run of a user, in pages of up to 100 records of one site.

    Idempotent: a file that was imported successfully is not imported again for the same user. An import that failed or
    was interrupted leaves a run that has ended; the next call makes a new one.

    Args:
        queue: Where to.
        file: The file. It is read twice, so a pipe is refused.
        user: Id or e-mail address of the user.
        heartbeat_seconds: Time between two heartbeats; shorter than the lease.
        on_error: Is called with each record that is not a valid item. Its index is that in the file.

    Raises:
        UnreadableFileError: The file cannot be read, or no record of it belongs to a site.
        LeaseLostError: The user cancelled the run.
        QueueError: The database refused a call, or cannot be reached. The run fails, if necessary when its lease ends.
    """
    key, counts = await in_daemon_thread(lambda: (file.key(), _records_by_site(file)))
    if not counts:
        for found in file.records():
            if isinstance(found, ItemError):
                on_error(found)
        raise UnreadableFileError("has no record that can be imported")
    started = await queue.start_import(
        user,
        file.source.kind,
        name=one_line(file.path.name)[:NAME_LENGTH],
        sites=[*counts],
        records=max(counts.values()),
        idempotency_key=key,
    )
    if started.lease is None:
        return ImportResult(started.run_id, started.status, was_done_before=True)
    async with _kept(queue, started.lease, heartbeat_seconds):
        return await _Import(queue, file, started.lease, counts, on_error).run()


def _records_by_site(file: RecordFile) -> Counter[str]:
    return Counter(found.site for found in file.records() if isinstance(found, FoundRecord))


@asynccontextmanager
async def _kept(queue: Queue, lease: Lease, heartbeat_seconds: float) -> AsyncIterator[None]:
    """Extend a lease in the background."""

    async def extend() -> None:
        while True:
            await asyncio.sleep(heartbeat_seconds)
            with suppress(QueueError):  # the next page reports what is wrong
                await queue.heartbeat([lease], patience_seconds=heartbeat_seconds)

    heartbeats = asyncio.create_task(extend())
    try:
        yield
    finally:
        heartbeats.cancel()
        await asyncio.gather(heartbeats, return_exceptions=True)


class _Import:
    """An import that has started.

    Args:
        counts: Number of records by site.
    """

    def __init__(
        self,
        queue: Queue,
        file: RecordFile,
        lease: Lease,
        counts: Mapping[str, int],
        on_error: Callable[[ItemError], None],
    ) -> None:
        self._queue = queue
        self._file = file
        self._lease = lease
        self._counts = counts
        self._on_error = on_error
        self._left = [*counts]

    async def run(self) -> ImportResult:
        try:
            items, invalid = await self._save_pages()
            # The file has other records than at the first reading.
            await self._finish_sites("the file was changed during the import")
        except (LeaseLostError, DatabaseUnreachableError):
            raise
        except BaseException:
            with suppress(QueueError):
                await self._finish_sites("the import was interrupted")
                await self._queue.finish_run(self._lease)
            raise
        finished = await self._queue.finish_run(self._lease)
        return ImportResult(finished.id, finished.status, items=items, invalid=invalid)

    async def _save_pages(self) -> tuple[int, int]:
        """Save all pages, and end each site after its last one; return the numbers of items and of invalid records."""
        items = invalid = 0
        pages = self._pages()
        while (read := await in_daemon_thread(partial(next, pages, None))) is not None:
            page, errors = read
            for error in errors:
                self._on_error(error)
            invalid += len(errors)
            if page is None:
                continue
            items += len(page.transformed.items)
            await self._queue.save_page(self._lease, page)
            if page.page.is_last:
                self._left.remove(page.site)
                await self._queue.finish_site(self._lease, RunSite(page.site, FIRST_ATTEMPT), None)
        return items, invalid

    def _pages(self) -> Iterator[tuple[FoundPage | None, list[ItemError]]]:
        """Yield pages and the errors of the file; None: errors of records that belong to no site."""
        source = self._file.source
        pages: Counter[str] = Counter()
        records: Counter[str] = Counter()
        for batch in batches(self._file.records(), in_order=False):
            if isinstance(batch, ItemError):
                yield None, [batch]
                continue
            site, total = batch.site, self._counts[batch.site]
            pages[site] += 1
            records[site] += len(batch.records)
            page = imported_page(
                pages[site], [record.content for record in batch.records], is_last=records[site] == total
            )
            transformed = transform(source, site, page)
            progress = Progress("importing", records[site], total, {"page": page.number})
            found = FoundPage(site, FIRST_ATTEMPT, None, source.name, page, transformed, progress)
            yield found, in_file(transformed.errors, batch)

    async def _finish_sites(self, reason: str) -> None:
        """End the sites that have not ended, with an error."""
        for site in self._left:
            error = SiteError(ErrorCode.INTERNAL, reason, is_final=True)
            await self._queue.finish_site(self._lease, RunSite(site, FIRST_ATTEMPT), error)
        self._left.clear()
