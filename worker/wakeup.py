"""When to look for work. The poll is the truth; Realtime is only a hint that comes sooner."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress

from realtime import RealtimePostgresChangesListenEvent

from worker.changes import Binding, changes

logger = logging.getLogger(__name__)

BACKOFF_FACTOR = 2
LONGEST_PAUSE_WITHOUT_REALTIME_SECONDS = 5


class Wakeup:
    """Paces the looks into the queue: fast while there is work, backing off when idle, at once when a run comes in.

    Args:
        poll_seconds: Pause while there is work.
        poll_idle_seconds: Longest pause while there is none.
    """

    def __init__(self, *, poll_seconds: float, poll_idle_seconds: float) -> None:
        self._poll_seconds = poll_seconds
        self._poll_idle_seconds = poll_idle_seconds
        self._pause_seconds = poll_seconds
        self._rung = asyncio.Event()
        self._is_live = False

    def ring(self) -> None:
        """End the current pause, or the next one at once."""
        self._rung.set()

    async def rung(self) -> None:
        """Wait for the next ring."""
        await self._rung.wait()
        self._rung.clear()

    async def pause(self, *, found_work: bool) -> None:
        """Wait until it is time to look again.

        Args:
            found_work: Whether the last look found any.
        """
        if found_work:
            self._pause_seconds = self._poll_seconds
        longest = self._poll_idle_seconds
        if not self._is_live:
            longest = min(longest, LONGEST_PAUSE_WITHOUT_REALTIME_SECONDS)
        jittered = min(self._pause_seconds, longest) * random.uniform(0.75, 1.25)  # noqa: S311 (jitter)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.rung(), jittered)
        self._pause_seconds = min(self._pause_seconds * BACKOFF_FACTOR, self._poll_idle_seconds)

    async def listen(self, url: str, key: str) -> None:
        """Ring at every run that is inserted, and whenever the subscription starts: runs may have come in before."""
        inserts = Binding("search_runs", RealtimePostgresChangesListenEvent.Insert)
        while True:
            try:
                async for _ in changes(url, key, [inserts], on_lost=self._mark_dead):
                    self._is_live = True
                    self.ring()
            except Exception:
                self._mark_dead()
                logger.exception("Realtime failed; runs are found by polling, and it is tried again")
                await asyncio.sleep(self._poll_idle_seconds)

    def _mark_dead(self) -> None:
        self._is_live = False
