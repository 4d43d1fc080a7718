"""The worker process: settings in, searches done."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from worker.database.client import open_client
from worker.database.queue import Queue
from worker.database.wakeup import Wakeup
from worker.engine.background import Background, Chore
from worker.engine.backup import Backup
from worker.engine.chores import Embedding, NearDuplicateMerging, Retention
from worker.engine.embedding_models import Embedder, open_embedder
from worker.engine.execution import Execution
from worker.engine.loop import EXIT_SECONDS, Limits, Loop
from worker.engine.reprocess import Reprocessed, Reprocessor
from worker.engine.spool import Spool
from worker.http import open_http
from worker.pipeline.duplicates import are_duplicates
from worker.settings import Settings
from worker.sources import Source
from worker.sources.registry import by_site, load_sources

HEARTBEATS_A_LEASE = 3
LAST_ROUND_SECONDS = 60
EMBEDDING, MERGING = "Embedding", "Merging near-duplicates"


class Worker:
    """Claims runs and searches them until it is told to stop. SIGTERM and SIGINT tell it; a second one hurries it.

    Each way of working raises `QueueError` if the database refuses the first claim.

    Args:
        settings: Its settings.
        sources: What it can search; by default all that comes with it, and what other packages add.

    Raises:
        SettingsError: The service key is missing, or a source that was added cannot be used.
    """

    def __init__(self, settings: Settings, sources: Sequence[Source] | None = None) -> None:
        self._settings = settings
        self._key = settings.require("supabase_service_role_key")
        self._sources = load_sources(settings) if sources is None else sources
        self._sources_by_site = by_site(self._sources)

    async def run(self) -> None:
        """Work until told to stop."""
        await self._work(self._limits())

    async def drain(self, max_seconds: float) -> None:
        """Work the queue off, then end; after `max_seconds` release what is left."""
        await self._work(self._limits(until_empty=True, max_seconds=max_seconds))

    async def once(self) -> None:
        """Search the next run of the queue, if there is one, then end."""
        await self._work(self._limits(until_empty=True, max_runs=1))

    async def reprocess(
        self, *, since: datetime | None = None, source: str | None = None, status: str | None = None
    ) -> Reprocessed:
        """Transform and load kept pages anew, with today's version of their sources and no request to any site.

        What other workers process at the same time, and what waits from before, is done with it.

        Args:
            since: Only pages fetched since.
            source: Only pages of this source.
            status: Only pages that ended so: `completed`, `partial` or `failed`.

        Returns:
            What came of the pages that this worker processed.

        Raises:
            ValueError: This worker does not have the source.
            QueueError: The database refused, or was out of reach. Again goes on where it ended.
        """
        names = [known.name for known in self._sources]
        if source is not None and source not in names:
            raise ValueError(f"source must be one of {', '.join(names)}")
        async with self._open_queue() as queue:
            await queue.mark_for_reprocessing(since=since, source=source, status=status)
            reprocessor = Reprocessor(queue, self._sources)
            done = Reprocessed()
            while (batch := await reprocessor.batch()).pages:
                done += batch
            return done

    @asynccontextmanager
    async def _open_queue(self) -> AsyncIterator[Queue]:
        settings = self._settings
        async with open_client(
            settings.supabase_url, self._key, timeout_seconds=settings.request_timeout_seconds
        ) as client:
            yield Queue(
                client,
                worker_id=settings.worker_id,
                lease_seconds=settings.lease_seconds,
                outage_seconds=settings.outage_seconds,
            )

    async def _work(self, limits: Limits) -> None:
        settings = self._settings
        clock = asyncio.get_running_loop().time
        began_at = clock()
        async with open_embedder(settings) as embedder, self._open_queue() as queue, open_http(settings.http) as http:
            execution = Execution(
                queue,
                self._sources_by_site,
                Spool(settings.spool_dir),
                http,
                page_timeout_seconds=settings.site_timeout_seconds,
                backup=Backup(settings.backup_dir) if settings.backup_dir else None,
            )
            wakeup = Wakeup(poll_seconds=settings.poll_seconds, poll_idle_seconds=settings.poll_idle_seconds)
            kinds = frozenset(source.kind for source in self._sources)
            background, on_searched = self._background(queue, embedder)
            loop = Loop(queue, execution, wakeup, kinds, limits, on_searched=on_searched)
            async with _stopped_by_signals(loop, background):
                beside = []
                if limits.max_runs is None:
                    beside.append(asyncio.create_task(background.run()))
                if not limits.until_empty:
                    beside.append(asyncio.create_task(wakeup.listen(settings.supabase_url, self._key)))
                try:
                    await loop.work()
                finally:
                    for task in beside:
                        task.cancel()
                    await asyncio.gather(*beside, return_exceptions=True)
                if limits.max_seconds is not None:
                    await background.work_off(began_at + limits.max_seconds - EXIT_SECONDS - clock())
                elif limits.until_empty:
                    await background.work_off(LAST_ROUND_SECONDS, rounds=1)

    def _background(self, queue: Queue, embedder: Embedder | None) -> tuple[Background, Callable[[], None]]:
        """Return what there is to do beside the searches, and what to call when a search has brought new items."""
        others: dict[str, Chore] = {
            "Reprocessing": Reprocessor(queue, self._sources),
            "Deleting what is old": Retention(queue),
        }
        if embedder is None:
            return Background(others), lambda: None
        embedding = Embedding(queue, embedder, on_saved=lambda: background.ring(MERGING))
        merging = NearDuplicateMerging(queue, are_duplicates)
        background = Background({EMBEDDING: embedding, MERGING: merging, **others})
        return background, lambda: background.ring(EMBEDDING)

    def _limits(
        self, *, until_empty: bool = False, max_runs: int | None = None, max_seconds: float | None = None
    ) -> Limits:
        return Limits(
            concurrency=self._settings.concurrency,
            claim_batch=self._settings.claim_batch,
            heartbeat_seconds=self._settings.lease_seconds / HEARTBEATS_A_LEASE,
            grace_seconds=self._settings.grace_seconds,
            until_empty=until_empty,
            max_runs=max_runs,
            max_seconds=max_seconds,
        )


@asynccontextmanager
async def _stopped_by_signals(loop: Loop, background: Background) -> AsyncIterator[None]:
    def stop() -> None:
        background.stop()
        loop.stop()

    events = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        events.add_signal_handler(signal_number, stop)
    try:
        yield
    finally:
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            events.remove_signal_handler(signal_number)
