"""When to poll for work and for cancellations. Realtime only makes the next poll come sooner."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress

from realtime import RealtimePostgresChangesListenEvent

from worker.database.changes import Binding, Change, changes

logger = logging.getLogger(__name__)

BACKOFF_FACTOR = 2
MAX_PAUSE_WITHOUT_REALTIME_SECONDS = 5
MAX_HEARTBEAT_PAUSE_WITHOUT_REALTIME_SECONDS = 1
"""The search of a cancelled run must end within two seconds."""


class Wakeup:
    """Decides when to poll the queue: often while there is work, with backoff while idle, at once for a new run.

    It also decides when to send heartbeats: their answers report cancellations, which must not wait for long.

    Args:
        poll_seconds: Pause while there is work.
        poll_idle_seconds: Maximum pause while there is none.
    """

    def __init__(self, *, poll_seconds: float, poll_idle_seconds: float) -> None:
        self._poll_seconds = poll_seconds
        self._poll_idle_seconds = poll_idle_seconds
        self._pause_seconds = poll_seconds
        self._rung = asyncio.Event()
        self._cancelled = asyncio.Event()
        self._is_live = False

    def ring(self) -> None:
        """End the current pause; if there is none, the next one ends at once."""
        self._rung.set()

    async def rung(self) -> None:
        """Wait for the next ring."""
        await self._rung.wait()
        self._rung.clear()

    async def pause(self, *, found_work: bool) -> None:
        """Wait until the next poll is due.

        Args:
            found_work: Whether the last poll found work.
        """
        if found_work:
            self._pause_seconds = self._poll_seconds
        longest = self._poll_idle_seconds
        if not self._is_live:
            longest = min(longest, MAX_PAUSE_WITHOUT_REALTIME_SECONDS)
        jittered = min(self._pause_seconds, longest) * random.uniform(0.75, 1.25)  # noqa: S311 (jitter)
        with suppress(TimeoutError):
            # Before Python 3.12, `wait_for` may swallow a cancellation.
            async with asyncio.timeout(jittered):
                await self.rung()
        self._pause_seconds = min(self._pause_seconds * BACKOFF_FACTOR, self._poll_idle_seconds)

    async def pause_heartbeats(self, max_seconds: float) -> None:
        """Wait until the next heartbeat is due: at once after a cancellation, and soon without Realtime."""
        if not self._is_live:
            max_seconds = min(max_seconds, MAX_HEARTBEAT_PAUSE_WITHOUT_REALTIME_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(max_seconds):
                await self._cancelled.wait()
        self._cancelled.clear()

    async def listen(self, url: str, key: str) -> None:
        """Ring for every run that is inserted or cancelled, and when Realtime may have lost such an event."""
        bindings = [
            Binding("search_runs", RealtimePostgresChangesListenEvent.Insert),
            Binding("search_runs", RealtimePostgresChangesListenEvent.Update, filter="status=eq.cancelled"),
        ]
        while True:
            try:
                async for event in changes(url, key, bindings, on_lost=self._mark_dead):
                    self._is_live = True
                    if not (isinstance(event, Change) and event.type == "UPDATE"):
                        self.ring()
                    if not (isinstance(event, Change) and event.type == "INSERT"):
                        self._cancelled.set()
            except Exception:
                self._mark_dead()
                logger.exception("Realtime failed; runs are found by polling until it works again")
                await asyncio.sleep(self._poll_idle_seconds)

    def _mark_dead(self) -> None:
        if self._is_live:
            self._is_live = False
            # A current pause may be too long without Realtime.
            self.ring()
            self._cancelled.set()
