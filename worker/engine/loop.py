"""The worker's loop: claim runs, search them, extend their leases, stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from worker.database.queue import Claim, Offer, Queue, WorkerInfo
from worker.database.wakeup import Wakeup
from worker.engine.execution import Execution
from worker.engine.summary import log_summary
from worker.errors import (
    CallRefusedError,
    DatabaseUnreachableError,
    LeaseLostError,
    QueueError,
    VersionMismatchError,
)
from worker.model import Lease, Run

logger = logging.getLogger(__name__)

CLAIM_SECONDS = 2
RELEASE_SECONDS = 5
EXIT_SECONDS = 2
SOON_SECONDS = 10
"""The queue does not count as empty while a deferred run is due within this time: rate limits defer runs, too."""
MIN_HEARTBEAT_PAUSE_SECONDS = 0.5
"""Each cancelled run wakes every worker; heartbeats are not sent more often than this."""


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How much the loop does, and for how long.

    Attributes:
        claim_batch: Maximum number of runs claimed with one request.
        heartbeat_seconds: Longest time between two heartbeats, at most a third of a lease.
        grace_seconds: Time for running searches to end after `stop`.
        max_runs: Total number of runs; None for no limit.
        max_seconds: Total time, after which running searches are released; None for no limit.
        until_empty: Whether to end when the queue is empty.
    """

    claim_batch: int
    heartbeat_seconds: float
    grace_seconds: float
    max_runs: int | None = None
    max_seconds: float | None = None
    until_empty: bool = False


class Loop:
    """Searches the runs of the queue, several at once.

    Args:
        queue: The queue.
        execution: Searches a run.
        wakeup: Decides when to poll.
        offer: What to claim.
        options: How much at a time, and for how long.
        limit: Returns how many runs may be searched at once.
        about: What is stored of this worker; its concurrency is the limit.
        on_searched: Called after the search of a run, successful or not.
    """

    def __init__(
        self,
        queue: Queue,
        execution: Execution,
        wakeup: Wakeup,
        offer: Offer,
        options: LoopOptions,
        *,
        limit: Callable[[], int],
        about: WorkerInfo,
        on_searched: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._execution = execution
        self._wakeup = wakeup
        self._offer = offer
        self._about = about
        self._options = options
        self._limit = limit
        self._on_searched = on_searched
        self._runs_left = options.max_runs
        self._asked = 0
        self._is_claim_due = False
        self._has_claimed = False
        self._soon_back = 0
        self._searches: dict[Lease, tuple[Run, asyncio.Task[None]]] = {}
        self._ending: set[Lease] = set()
        self._stopping = asyncio.Event()
        self._releasing = asyncio.Event()
        self._stopped_at = 0.0
        queue.claim_with_ends(self)

    @property
    def running(self) -> int:
        """Running searches, without those whose runs are only being ended."""
        return len(self._searches) - len(self._ending)

    def stop(self) -> None:
        """Claim nothing more, and end after the running searches. A second call releases them at once."""
        if self._stopping.is_set():
            self._releasing.set()
        else:
            self._stopped_at = asyncio.get_running_loop().time()
        self._stopping.set()
        self._wakeup.ring()

    async def work(self) -> None:
        """Work until `stop` is called, or until `max_runs`, `max_seconds` or `until_empty` ends it.

        Raises:
            QueueError: The first claim was refused (a wrong key, no migrations); or, with `until_empty`, any claim
                failed while no search was running.
            VersionMismatchError: The database has a version that this worker does not support; it may have been
                upgraded meanwhile. The running searches were released.
        """
        timer = None
        if self._options.max_seconds is not None:
            seconds = max(0, self._options.max_seconds - CLAIM_SECONDS - RELEASE_SECONDS - EXIT_SECONDS)
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
            # Computed before the claim: a run that ends meanwhile may be retried, and is not in the answer.
            is_idle = not self._searches and self._asked == 0 and self._soon_back == 0
            claim = asyncio.create_task(self._claim())
            stopped = asyncio.create_task(self._stopping.wait())
            await asyncio.wait([claim, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not claim.done():
                # Its answer may be on the way. Runs claimed by a lost answer are rescued when their leases expire.
                await asyncio.wait([claim], timeout=CLAIM_SECONDS)
                claim.cancel()
                return
            found_work = claim.result()
            is_empty = self._options.until_empty and is_idle and not found_work
            if is_empty or (self._runs_left == 0 and not self._searches):
                return
            await self._wakeup.pause(found_work=found_work or bool(self._searches))

    def next_claim(self) -> Claim | None:
        """Claim for the free places with the next call that ends runs, unless a claim of its own is due."""
        return None if self._is_claim_due or self._stopping.is_set() else self._ask(self._limit())

    def take(self, claim: Claim, runs: Sequence[Run], *, is_claim_due: bool = False) -> None:
        """Search the runs of a claim."""
        self._asked -= claim.slots
        self._is_claim_due |= is_claim_due
        for run in runs:
            self._searches[run.lease] = run, asyncio.create_task(self._search(run))
        if self._runs_left is not None:
            self._runs_left -= len(runs)
        if len(runs) == claim.slots or is_claim_due or self._stopping.is_set():
            self._wakeup.ring()  # there may be more

    def _ask(self, limit: int) -> Claim | None:
        """Return a claim for the places that are free, without those already asked for; None without any."""
        slots = min(self._options.claim_batch, limit - self.running - self._asked)
        if self._runs_left is not None:
            slots = min(slots, self._runs_left - self._asked)
        if slots <= 0:
            return None
        self._asked += slots
        return Claim(self._offer, slots)

    async def _claim(self) -> bool:
        if self._searches and self._queue.has_ends_to_send and not self._is_claim_due:
            return False  # the call that takes them claims
        limit = self._limit()
        claim = self._ask(limit)
        if claim is None:
            return False
        self._is_claim_due = False
        runs: Sequence[Run] = ()
        try:
            runs = await self._queue.claim(
                claim, held=list(self._searches), about=replace(self._about, concurrency=limit)
            )
        except Exception as error:
            is_misconfigured = isinstance(error, CallRefusedError) and not self._has_claimed
            if isinstance(error, VersionMismatchError):
                # What this database makes of the calls of running searches is not known.
                self._stop_at_once()
                raise
            if is_misconfigured or (self._options.until_empty and not self._searches):
                raise
            _log_failure("Cannot claim", error)
            return False
        finally:
            self.take(claim, runs)
        if not self._has_claimed:
            logger.info("Ready: searching %s", ", ".join(sorted(self._offer.kinds)))
            self._has_claimed = True
        if runs:
            self._wakeup.ring()  # more delayed runs may be due than one claim promotes
        return bool(runs)

    async def _end_former(self, claimed: Run) -> None:
        """Wait for the end of an earlier search of a run that this worker has claimed again.

        It is cancelled if its lease expired unnoticed. Otherwise it has given the run back to the queue, and the answer
        to its last call is still under way.
        """
        former = {
            lease: task
            for lease, (run, task) in self._searches.items()
            if run.id == claimed.id and lease != claimed.lease
        }
        if not former:
            return
        states: Mapping[Lease, str] = {}
        with suppress(QueueError):
            states = await self._queue.heartbeat([*former], patience_seconds=self._options.heartbeat_seconds)
        for lease, task in former.items():
            if states.get(lease) != "finished":
                logger.warning("Run %s: the lease had expired, and the run is claimed again", claimed.id)
                task.cancel()
            await asyncio.wait([task])

    async def _search(self, run: Run) -> None:
        has_claimed = False
        try:
            await self._end_former(run)
            logger.info("Run %s: attempt %d of %d", run.id, run.attempt, run.max_attempts)
            finished = await self._execution.execute(run, on_searched=partial(self._free_slot, run))
            has_claimed = finished.has_claimed
            log_summary(finished)
            if finished.retry_in_seconds is not None:
                is_soon = finished.retry_in_seconds <= SOON_SECONDS
                self._soon_back += is_soon
                asyncio.get_running_loop().call_later(finished.retry_in_seconds, self._expect, is_soon)
        except LeaseLostError as error:
            logger.warning("Run %s dropped: %s", run.id, error)
        except QueueError as error:
            # Not released: the lease expires and the rescue is counted, so that a run that always ends here fails.
            logger.error("Run %s given up: %s", run.id, error)  # noqa: TRY400 (as above)
        except Exception:
            logger.exception("Run %s given up", run.id)
        finally:
            del self._searches[run.lease]
            self._ending.discard(run.lease)
            self._on_searched()
            if not has_claimed or self._is_to_end:
                self._wakeup.ring()

    @property
    def _is_to_end(self) -> bool:
        """Whether the loop ends by itself, or was stopped: then each end of a search may be the last one."""
        return self._options.until_empty or self._runs_left is not None or self._stopping.is_set()

    def _free_slot(self, run: Run) -> None:
        """Let the next claim overlap with the call that ends a run, unless the run may continue with fallback sites."""
        if not run.parameters.get("fallback_sites"):
            self._ending.add(run.lease)
            self._wakeup.ring()

    def _expect(self, was_soon: bool) -> None:
        self._soon_back -= was_soon
        self._wakeup.ring()

    async def _send_heartbeats(self) -> None:
        is_reachable = True
        while True:
            await asyncio.sleep(MIN_HEARTBEAT_PAUSE_SECONDS)
            if is_reachable:
                await self._wakeup.pause_heartbeats(self._options.heartbeat_seconds - MIN_HEARTBEAT_PAUSE_SECONDS)
            if not self._searches:
                continue
            is_reachable = True
            try:
                states = await self._queue.heartbeat(
                    list(self._searches), patience_seconds=self._options.heartbeat_seconds
                )
            except Exception as error:  # noqa: BLE001 (logged)
                # The next heartbeat may succeed; without any, all leases expire.
                _log_failure("No heartbeat", error)
                # Its retries have already taken a third of the lease.
                is_reachable = not isinstance(error, DatabaseUnreachableError)
                continue
            for lease, state in states.items():
                if state in ("lost", "cancelled") and lease in self._searches:
                    logger.warning("Run %s dropped: %s", lease.run_id, state)
                    self._searches[lease][1].cancel()

    async def _wind_down(self) -> None:
        if self._searches and not self._releasing.is_set():
            logger.info("Stopping: %d running searches have %.0f s", len(self._searches), self._options.grace_seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._stopped_at + self._options.grace_seconds):
                while self._searches and not self._releasing.is_set():
                    await self._wakeup.rung()
        # The answers to claims may be on the way.
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._stopped_at + CLAIM_SECONDS):
                while self._asked:
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
            logger.error("Not released, the leases will expire: %s", error)  # noqa: TRY400 (as above)
        else:
            logger.info("Released before their end: %s", ", ".join(str(lease.run_id) for lease in unfinished))


def _log_failure(what: str, error: Exception) -> None:
    """Log why something failed; an error of the queue needs no traceback."""
    logger.error("%s: %s", what, error, exc_info=None if isinstance(error, QueueError) else error)
