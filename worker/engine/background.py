"""Background chores, one after another. Searches do not wait for them."""

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
"""The first claim comes before: it shows whether the database can be used at all."""
SETTLE_SECONDS = 2
"""Pages come in quick succession; their items are processed together."""
FAILURE_PAUSE_SECONDS = 10
MAX_FAILURE_PAUSE_SECONDS = 300


class ChoreError(Exception):
    """A chore cannot be done now. The message says why; no traceback is needed.

    Args:
        message: The reason.
        retry_in_seconds: When to retry; None: with exponential backoff.
    """

    def __init__(self, message: str, *, retry_in_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_in_seconds = retry_in_seconds


Chore: TypeAlias = Callable[[], Awaitable[float]]
"""Does one batch of something, bounded in size and time. It may be cancelled at any moment, and is idempotent.

Returns the seconds until the next batch is due; 0: now. Raises `ChoreError` if it cannot be done now; other exceptions
are logged with their traceback.
"""


class Background:
    """Does chores when they are due. A chore that fails is retried with exponential backoff.

    Args:
        chores: The chores by their names in the log, at least one. All are due at the beginning.
    """

    def __init__(self, chores: Mapping[str, Chore]) -> None:
        self._chores = chores
        self._due_at = dict.fromkeys(chores, 0.0)
        self._failures = dict.fromkeys(chores, 0)
        self._rung = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._is_at_work = False
        self._is_finishing = False
        self._is_stopped = False

    def ring(self, chore: str) -> None:
        """Make a chore due, after a short pause for further work to arrive. No effect while it fails."""
        if not self._failures[chore]:
            self._due_at[chore] = 0
            self._rung.set()

    def stop(self) -> None:
        """End at once. It does not start again."""
        self._is_stopped = True
        if self._work is not None:
            self._work.cancel()

    async def run(self) -> None:
        """Work until stopped or cancelled."""
        await self._until_stopped(self._work_when_due(), seconds=None)

    async def finish(self, seconds: float) -> None:
        """End `run`: after the batch in hand, unless that takes longer. What a cancelled batch claimed would wait."""
        self._is_finishing = True
        if self._work is None:
            return
        if self._is_at_work:
            await asyncio.wait([self._work], timeout=seconds)
        self._work.cancel()

    async def work_off(self, seconds: float, *, rounds: int | None = None) -> None:
        """Do what is due, until nothing is due or the time has passed.

        Args:
            seconds: Maximum time.
            rounds: Maximum number of batches of each chore; None: no limit.
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
        while not self._is_finishing:
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
        self._is_at_work = True
        try:
            pause_seconds = await self._chores[chore]()
        except Exception as error:  # noqa: BLE001 (logged)
            self._failures[chore] += 1
            pause_seconds = self._pause_after_failure(chore, error)
            _log_failure(chore, error, pause_seconds)
        else:
            self._failures[chore] = 0
            if self._due_at[chore] != began_at:
                return  # made due by `ring` meanwhile
        finally:
            self._is_at_work = False
        self._due_at[chore] = loop.time() + pause_seconds

    def _pause_after_failure(self, chore: str, error: Exception) -> float:
        if isinstance(error, ChoreError) and error.retry_in_seconds is not None:
            return error.retry_in_seconds
        # 2 ** 10 times the first pause is above the longest one.
        doubled = FAILURE_PAUSE_SECONDS * 2.0 ** min(self._failures[chore] - 1, 10)
        return min(doubled, MAX_FAILURE_PAUSE_SECONDS) * random.uniform(0.75, 1.25)  # noqa: S311 (jitter)


def _log_failure(chore: str, error: Exception, pause_seconds: float) -> None:
    """Log why a chore failed; an error that explains itself needs no traceback."""
    traceback = None if isinstance(error, (ChoreError, QueueError)) else error
    logger.error("%s failed, again in %.0f s: %s", chore, pause_seconds, error, exc_info=traceback)
