"""The worker process: settings in, searches done."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from worker.execution import Execution
from worker.loop import Limits, Loop
from worker.queue import Queue, open_client
from worker.settings import Settings
from worker.sources import Source
from worker.sources.jobspy import JobSpySettings, JobSpySource
from worker.spool import Spool
from worker.wakeup import Wakeup

HEARTBEATS_A_LEASE = 3


class Worker:
    """Claims runs and searches them until it is told to stop. SIGTERM and SIGINT tell it; a second one hurries it.

    Each way of working raises `QueueError` if the database refuses the first claim.

    Args:
        settings: Its settings.
        sources: What it can search; by default the job boards of JobSpy.

    Raises:
        SettingsError: The service key is missing.
    """

    def __init__(self, settings: Settings, sources: Sequence[Source] | None = None) -> None:
        self._settings = settings
        self._key = settings.require("supabase_service_role_key")
        self._sources = [_jobspy(settings)] if sources is None else sources

    async def run(self) -> None:
        """Work until told to stop."""
        await self._work(self._limits())

    async def drain(self, max_seconds: float) -> None:
        """Work the queue off, then end; after `max_seconds` release what is left."""
        await self._work(self._limits(until_empty=True, max_seconds=max_seconds))

    async def once(self) -> None:
        """Search the next run of the queue, if there is one, then end."""
        await self._work(self._limits(until_empty=True, max_runs=1))

    async def _work(self, limits: Limits) -> None:
        settings = self._settings
        async with open_client(
            settings.supabase_url, self._key, timeout_seconds=settings.request_timeout_seconds
        ) as client:
            queue = Queue(
                client,
                worker_id=settings.worker_id,
                lease_seconds=settings.lease_seconds,
                outage_seconds=settings.outage_seconds,
            )
            spool = Spool(settings.spool_dir)
            sources = {(source.kind, site): source for source in self._sources for site in source.sites}
            wakeup = Wakeup(poll_seconds=settings.poll_seconds, poll_idle_seconds=settings.poll_idle_seconds)
            kinds = frozenset(source.kind for source in self._sources)
            loop = Loop(queue, Execution(queue, sources, spool), wakeup, kinds, limits)
            async with _stopped_by_signals(loop):
                listener = None
                if not limits.until_empty:
                    listener = asyncio.create_task(wakeup.listen(settings.supabase_url, self._key))
                try:
                    await loop.work()
                finally:
                    if listener is not None:
                        listener.cancel()
                        await asyncio.wait([listener])

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
async def _stopped_by_signals(loop: Loop) -> AsyncIterator[None]:
    events = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        events.add_signal_handler(signal_number, loop.stop)
    try:
        yield
    finally:
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            events.remove_signal_handler(signal_number)


def _jobspy(settings: Settings) -> Source:
    return JobSpySource(
        JobSpySettings(
            proxies=settings.jobspy_proxies,
            ca_cert=settings.jobspy_ca_cert,
            page_delay_seconds=settings.jobspy_page_delay_seconds,
            site_timeout_seconds=settings.site_timeout_seconds,
        )
    )
