"""Chores beside the searches, one after another: a search waits for none of them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

from worker.errors import QueueError

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 5
"""The first claim, which tells whether the database can be worked with at all, comes before."""
SETTLE_SECONDS = 2
"""Pages come one soon after another: what they bring is worked on together."""
FAILURE_PAUSE_SECONDS = 10
LONGEST_FAILURE_PAUSE_SECONDS = 300


class ChoreError(Exception):
    """A chore cannot be done now, for a reason that the message says in full.

    Args:
        message: The reason.
        retry_in_seconds: When to try again; None: soon, and later each time.
    """

    def __init__(self, message: str, *, retry_in_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_in_seconds = retry_in_seconds


Chore: TypeAlias = Callable[[], Awaitable[float]]
"""Does one batch of something, bounded in size and time; cancelled at any moment, what it had taken comes again later.

Returns the seconds until there is something to do again; 0: there is more. Raises `ChoreError` if it cannot be done
now; whatever else it raises is logged with its traceback.
"""


class Background:
    """Does chores whenever they are due. One that fails is tried again later, and later each time.

    Args:
        chores: What to do by its name in the log, one at least; all of it is due at the beginning.
    """

    def __init__(self, chores: Mapping[str, Chore]) -> None:
        self._chores = chores
        self._due_at = dict.fromkeys(chores, 0.0)
        self._failures = dict.fromkeys(chores, 0)
        self._rung = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._is_stopped = False

    def ring(self, chore: str) -> None:
        """Say that a chore has something to do, as soon as what else is coming has settled."""
        if not self._failures[chore]:
            self._due_at[chore] = 0
            self._rung.set()

    def stop(self) -> None:
        """End at once, for good."""
        self._is_stopped = True
        if self._work is not None:
            self._work.cancel()

    async def run(self) -> None:
        """Work until stopped or cancelled."""
        await self._until_stopped(self._work_when_due(), seconds=None)

    async def work_off(self, seconds: float, *, rounds: int | None = None) -> None:
        """Do what is due now, until nothing is or the time is over.

        Args:
            seconds: How long at most.
            rounds: How many batches of each chore at most; None: as many as there are.
        """
        await self._until_stopped(self._work_while_due(rounds), seconds)

    async def _until_stopped(self, work: Coroutine[Any, Any, None], seconds: float | None) -> None:
        self._work = asyncio.create_task(work)
        if self._is_stopped:
            self._work.cancel()
        try:
            await asyncio.wait([self._work], timeout=seconds)
        finally:
            self._work.cancel()
            await asyncio.wait([self._work])

    async def _work_when_due(self) -> None:
        await asyncio.sleep(FIRST_PAUSE_SECONDS)
        while True:
            await self._pause()
            await self._work_on(self._next())

    async def _work_while_due(self, rounds: int | None) -> None:
        done = 0
        while due := [chore for chore in self._chores if self._due_in(chore) <= 0 and done != rounds]:
            for chore in due:
                await self._work_on(chore)
            done += 1

    async def _pause(self) -> None:
        while (seconds := self._due_in(self._next())) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._rung.wait()
            if self._rung.is_set():
                await asyncio.sleep(SETTLE_SECONDS)
            self._rung.clear()

    def _next(self) -> str:
        return min(self._chores, key=self._due_at.__getitem__)

    def _due_in(self, chore: str) -> float:
        return self._due_at[chore] - asyncio.get_running_loop().time()

    async def _work_on(self, chore: str) -> None:
        loop = asyncio.get_running_loop()
        self._due_at[chore] = began_at = loop.time()
        try:
            pause_seconds = await self._chores[chore]()
        except Exception as error:  # noqa: BLE001 (logged)
            self._failures[chore] += 1
            pause_seconds = self._pause_after_failure(chore, error)
            _log_failure(chore, error, pause_seconds)
        else:
            self._failures[chore] = 0
            if self._due_at[chore] != began_at:
                return  # it was rung for meanwhile
        self._due_at[chore] = loop.time() + pause_seconds

    def _pause_after_failure(self, chore: str, error: Exception) -> float:
        if isinstance(error, ChoreError) and error.retry_in_seconds is not None:
            return error.retry_in_seconds
        # 2 ** 10 is beyond the longest pause, whatever the first one.
        doubled = FAILURE_PAUSE_SECONDS * 2.0 ** min(self._failures[chore] - 1, 10)
        return min(doubled, LONGEST_FAILURE_PAUSE_SECONDS) * random.uniform(0.75, 1.25)  # noqa: S311 (jitter)


def _log_failure(chore: str, error: Exception, pause_seconds: float) -> None:
    """Log why a chore failed; what explains itself says it all, anything else needs its traceback."""
    traceback = None if isinstance(error, (ChoreError, QueueError)) else error
    logger.error("%s failed, again in %.0f s: %s", chore, pause_seconds, error, exc_info=traceback)
