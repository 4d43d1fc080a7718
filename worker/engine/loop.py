"""The worker's loop: claim, search, keep the leases, stop when told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from worker.database.queue import Queue
from worker.database.wakeup import Wakeup
from worker.engine.execution import Execution
from worker.engine.summary import log_summary
from worker.errors import CallRefusedError, DatabaseUnreachableError, LeaseLostError, QueueError
from worker.model import Lease, Run

logger = logging.getLogger(__name__)

CLAIM_SECONDS = 2
RELEASE_SECONDS = 5
EXIT_SECONDS = 2
SOON_SECONDS = 10
"""A queue is not empty while what was put off comes back within this time: a site's pace alone puts runs off."""
LEAST_HEARTBEAT_PAUSE_SECONDS = 0.5
"""However many runs are cancelled: each tells every worker."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the loop does at a time, and for how long.

    Attributes:
        concurrency: Runs at the same time.
        claim_batch: Runs claimed with one request at most.
        heartbeat_seconds: Longest time between two heartbeats, at most a third of a lease.
        grace_seconds: Time for running searches to finish once `stop` was called.
        max_runs: Runs in all; None for no limit.
        max_seconds: Time in all, after which what still runs is released; None for no limit.
        until_empty: End when the queue is empty, instead of waiting for more.
    """

    concurrency: int
    claim_batch: int
    heartbeat_seconds: float
    grace_seconds: float
    max_runs: int | None = None
    max_seconds: float | None = None
    until_empty: bool = False


class Loop:
    """Works the queue off, several runs at a time.

    Args:
        queue: The queue.
        execution: What to do with a run.
        wakeup: When to look for work.
        kinds: Kinds of runs to claim; others are left to other workers.
        limits: How much at a time, and for how long.
        on_searched: Called when the search of a run has ended, however it did.
    """

    def __init__(
        self,
        queue: Queue,
        execution: Execution,
        wakeup: Wakeup,
        kinds: frozenset[str],
        limits: Limits,
        *,
        on_searched: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._execution = execution
        self._wakeup = wakeup
        self._kinds = kinds
        self._limits = limits
        self._on_searched = on_searched
        self._runs_left = limits.max_runs
        self._has_claimed = False
        self._soon_back = 0
        self._searches: dict[Lease, tuple[Run, asyncio.Task[None]]] = {}
        self._stopping = asyncio.Event()
        self._releasing = asyncio.Event()
        self._grace_ends_at = 0.0

    def stop(self) -> None:
        """Claim nothing more, and end once the running searches have; called again, release them at once."""
        if self._stopping.is_set():
            self._releasing.set()
        else:
            self._grace_ends_at = asyncio.get_running_loop().time() + self._limits.grace_seconds
        self._stopping.set()
        self._wakeup.ring()

    async def work(self) -> None:
        """Work until `stop` is called or the limits are reached.

        Raises:
            QueueError: The first claim was refused (a wrong key, no migrations); or, when the queue is only to be
                emptied, a claim did not succeed.
        """
        timer = None
        if self._limits.max_seconds is not None:
            seconds = max(0, self._limits.max_seconds - CLAIM_SECONDS - RELEASE_SECONDS - EXIT_SECONDS)
            timer = asyncio.get_running_loop().call_later(seconds, self._stop_at_once)
        heartbeats = asyncio.create_task(self._send_heartbeats())
        try:
            await self._claim_until_stopped()
        finally:
            if not self._stopping.is_set():
                self.stop()
            await self._wind_down()
            heartbeats.cancel()
            if timer is not None:
                timer.cancel()

    def _stop_at_once(self) -> None:
        self._releasing.set()
        self.stop()

    async def _claim_until_stopped(self) -> None:
        while not self._stopping.is_set():
            # Before it asks: what ends meanwhile may come back, and not be in the answer.
            is_idle = not self._searches and self._soon_back == 0
            claim = asyncio.create_task(self._claim())
            stopped = asyncio.create_task(self._stopping.wait())
            await asyncio.wait([claim, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not claim.done():
                # Its answer may be on the way. What is claimed but never heard of comes back when the lease runs out.
                await asyncio.wait([claim], timeout=CLAIM_SECONDS)
                claim.cancel()
                return
            found_work = claim.result()
            is_empty = self._limits.until_empty and is_idle and not found_work
            if is_empty or (self._runs_left == 0 and not self._searches):
                return
            await self._wakeup.pause(found_work=found_work or bool(self._searches))

    async def _claim(self) -> bool:
        slots = min(self._limits.claim_batch, self._limits.concurrency - len(self._searches))
        if self._runs_left is not None:
            slots = min(slots, self._runs_left)
        if slots <= 0:
            return False
        try:
            runs = await self._queue.claim(self._kinds, slots, held=list(self._searches))
        except Exception as error:
            is_misconfigured = isinstance(error, CallRefusedError) and not self._has_claimed
            if is_misconfigured or (self._limits.until_empty and not self._searches):
                raise
            _log_failure("Cannot claim", error)
            return False
        if not self._has_claimed:
            logger.info("Ready: searching %s", ", ".join(sorted(self._kinds)))
            self._has_claimed = True
        for run in runs:
            await self._drop_former(run)
            self._searches[run.lease] = run, asyncio.create_task(self._search(run))
        if self._runs_left is not None:
            self._runs_left -= len(runs)
        if runs:
            self._wakeup.ring()  # there may be more
        return bool(runs)

    async def _drop_former(self, claimed: Run) -> None:
        """End the search of a run that this worker lost, without noticing, and now has claimed anew."""
        former = [task for run, task in self._searches.values() if run.id == claimed.id]
        for task in former:
            logger.warning("Run %s: the lease had run out, and the run is claimed anew", claimed.id)
            task.cancel()
            await asyncio.wait([task])

    async def _search(self, run: Run) -> None:
        logger.info("Run %s: attempt %d of %d", run.id, run.attempt, run.max_attempts)
        try:
            finished = await self._execution.execute(run)
            log_summary(finished)
            if finished.retry_in_seconds is not None:
                is_soon = finished.retry_in_seconds <= SOON_SECONDS
                self._soon_back += is_soon
                asyncio.get_running_loop().call_later(finished.retry_in_seconds, self._expect, is_soon)
        except LeaseLostError as error:
            logger.warning("Run %s dropped: %s", run.id, error)
        except QueueError as error:
            # Not released: the lease runs out, the rescue is counted, and a run that always ends here fails in the end.
            logger.error("Run %s given up: %s", run.id, error)  # noqa: TRY400 (as above)
        except Exception:
            logger.exception("Run %s given up", run.id)
        finally:
            del self._searches[run.lease]
            self._on_searched()
            self._wakeup.ring()

    def _expect(self, was_soon: bool) -> None:
        self._soon_back -= was_soon
        self._wakeup.ring()

    async def _send_heartbeats(self) -> None:
        is_reachable = True
        while True:
            await asyncio.sleep(LEAST_HEARTBEAT_PAUSE_SECONDS)
            if is_reachable:
                await self._wakeup.pause_heartbeats(self._limits.heartbeat_seconds - LEAST_HEARTBEAT_PAUSE_SECONDS)
            if not self._searches:
                continue
            is_reachable = True
            try:
                states = await self._queue.heartbeat(
                    list(self._searches), patience_seconds=self._limits.heartbeat_seconds
                )
            except Exception as error:  # noqa: BLE001 (logged)
                # Whatever it was, the next one may go through; without any, all leases run out.
                _log_failure("No heartbeat", error)
                # Of those that it takes, a third of the lease has passed already.
                is_reachable = not isinstance(error, DatabaseUnreachableError)
                continue
            for lease, state in states.items():
                if state in ("lost", "cancelled") and lease in self._searches:
                    logger.warning("Run %s dropped: %s", lease.run_id, state)
                    self._searches[lease][1].cancel()

    async def _wind_down(self) -> None:
        if self._searches and not self._releasing.is_set():
            logger.info("Stopping: %d running searches have %.0f s", len(self._searches), self._limits.grace_seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._grace_ends_at):
                while self._searches and not self._releasing.is_set():
                    await self._wakeup.rung()

        unfinished = dict(self._searches)
        if not unfinished:
            return
        for _, task in unfinished.values():
            task.cancel()
        await asyncio.wait([task for _, task in unfinished.values()])
        try:
            await self._queue.release(list(unfinished), patience_seconds=RELEASE_SECONDS)
        except QueueError as error:
            logger.error("Not released, the leases run out: %s", error)  # noqa: TRY400 (as above)
        else:
            logger.info("Released what was not finished: %s", ", ".join(str(lease.run_id) for lease in unfinished))


def _log_failure(what: str, error: Exception) -> None:
    """Log why something failed; what the queue raises says it all, anything else needs its traceback."""
    logger.error("%s: %s", what, error, exc_info=None if isinstance(error, QueueError) else error)
