"""How much a worker does at once: as much as there is work and memory for, up to a maximum.

Two decisions depend on each other. How many runs may be searched: looked at again every few seconds, and only claims
follow it; a running search is never stopped for it. Whether a scraper may be started, which is a child process and
takes most of the memory: decided at once, and it waits if there is no room. One may always run, so that every search
ends, whatever the limit.
"""

from __future__ import annotations

import asyncio
import logging
import math
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import dataclass

from worker.errors import ErrorCode, SiteError
from worker.processes.daemon_thread import in_daemon_thread
from worker.processes.memory import UNLIMITED_BYTES, Memory, MemoryUse
from worker.processes.sandbox import ChildDiedError

logger = logging.getLogger(__name__)

MIB = 2**20

SEARCH_BYTES = 32 * MIB
"""What a search may take, most of it in its scraper. Measured: 10 MiB with the answers of scripts/bench/memory, 36 MiB
with one answer of 1,000 jobs, each of 8 KB, which few searches ask for at the same time."""
RESERVE_BYTES = 64 * MIB
"""What stays free: the process that starts the scrapers takes this much with the first of them."""
YOUNG_SECONDS = 20
"""A scraper that is younger may still grow to `SEARCH_BYTES`; what an older one takes is seen in the memory used."""

ROUND_SECONDS = 5
LAG_SECONDS = 1
MAX_LAG_SECONDS = 0.25
"""A worker whose event loop is later than this most of the time does too much: heartbeats are late as well."""
CALM_SECONDS = 30
"""How long nothing must have suffered before there is one search more: the cause may still be there."""
ROOM_POLL_SECONDS = 1
MAX_WAIT_SECONDS = 900
"""Above the time limits of the scrapers that a search waits for. Its run is retried then."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a worker is.

    Attributes:
        running: Running searches.
        waiting: How many of them wait for memory for a scraper.
        lag_seconds: How late the event loop is, usually.
        has_lost_child: Whether a scraper has died since the last reading, as one that the kernel killed for memory.
        memory: The memory in use; None if no limit is known.
        calm_seconds: For how long nothing has suffered before.
    """

    running: int
    waiting: int = 0
    lag_seconds: float = 0
    has_lost_child: bool = False
    memory: MemoryUse | None = None
    calm_seconds: float = math.inf

    @property
    def is_late(self) -> bool:
        """Whether the searches delay the event loop."""
        return self.running > 0 and self.lag_seconds > MAX_LAG_SECONDS

    @property
    def suffers(self) -> bool:
        """Whether the worker does too much."""
        return self.has_lost_child or self.waiting > 0 or self.is_late


def next_limit(limit: int, maximum: int, reading: Reading) -> tuple[int, str]:
    """Decide how many runs may be searched at once.

    Args:
        limit: How many it was.
        maximum: `WORKER_CONCURRENCY`.
        reading: How the worker is.

    Returns:
        How many from now on, from 1 to `maximum`, and why it is not more, or why more than before.
    """
    wanted, reason = limit, "no change"
    if reading.has_lost_child:
        wanted, reason = _one_less(limit, reading), "a scraper has died"
    elif reading.waiting:
        wanted, reason = min(limit, reading.running - reading.waiting), f"{reading.waiting} of them wait for memory"
    elif reading.is_late:
        wanted, reason = _one_less(limit, reading), f"the event loop is late by {reading.lag_seconds:.1f} s"
    elif reading.running >= limit and reading.calm_seconds >= CALM_SECONDS:
        wanted, reason = limit + 1, "there is more work, and room for it"
    if reading.memory is not None:
        fitting = reading.running + (reading.memory.room - RESERVE_BYTES) // SEARCH_BYTES
        if fitting < wanted:
            used, most = reading.memory.used // MIB, reading.memory.limit // MIB
            wanted, reason = fitting, f"{used} of {most} MiB of memory are used"
    return max(1, min(wanted, maximum)), reason


def _one_less(limit: int, reading: Reading) -> int:
    # An earlier decrease has no effect before searches have ended.
    return limit if reading.running > limit else min(limit, reading.running) - 1


def has_room(children: int, young: Sequence[int], room: int) -> bool:
    """Decide whether a scraper may be started.

    Args:
        children: Running scrapers.
        young: Of each that may still grow, the oldest first: the room in bytes before it was started.
        room: The room in bytes.
    """
    if children == 0:
        return True
    left = room - SEARCH_BYTES
    if young:
        # Each of them may take as much, whatever they have taken by now.
        left = min(left, young[0] - (len(young) + 1) * SEARCH_BYTES)
    return left >= RESERVE_BYTES


class Load:
    """Applies these decisions to a worker.

    Args:
        maximum: `WORKER_CONCURRENCY`.
        memory: Reads the memory in use.
        clock: The time in seconds.

    Attributes:
        limit: How many runs may be searched at once.
        maximum: Its greatest value.
    """

    def __init__(self, maximum: int, memory: Memory, clock: Callable[[], float] = time.monotonic) -> None:
        self.maximum = maximum
        self.memory = memory
        self.limit = maximum
        self._asking = 0
        self._is_full = False
        self._clock = clock
        # When each scraper was started, and the room in bytes before.
        self._children: dict[object, tuple[float, int]] = {}
        self._has_lost_child = False
        self._suffered_at = -math.inf
        self._one_at_a_time = asyncio.Lock()
        self._ended = asyncio.Event()

    @property
    def children(self) -> int:
        """Running scrapers."""
        return len(self._children)

    @property
    def waiting(self) -> int:
        """Searches that wait for memory for a scraper."""
        return self._asking if self._is_full else 0

    async def look(self, running: int, lag_seconds: float = 0) -> None:
        """Look at the worker, and decide how many runs may be searched at once.

        Args:
            running: Running searches.
            lag_seconds: How late the event loop is, usually.
        """
        memory = await in_daemon_thread(self.memory.read)
        calm_seconds = self._clock() - self._suffered_at
        reading = Reading(running, self.waiting, lag_seconds, self._has_lost_child, memory, calm_seconds)
        self._has_lost_child = False
        limit, reason = next_limit(self.limit, self.maximum, reading)
        if reading.suffers or limit < self.limit:
            self._suffered_at = self._clock()
        if limit != self.limit:
            logger.info("Searches at once: %d of at most %d: %s", limit, self.maximum, reason)
            self.limit = limit

    async def watch(self, running: Callable[[], int], on_lag: Callable[[float], None]) -> None:
        """Look at the worker every few seconds, until cancelled.

        Args:
            running: Returns the number of running searches.
            on_lag: Called each second with how late the event loop was.
        """
        clock = asyncio.get_running_loop().time
        while True:
            lags = []
            for _ in range(round(ROUND_SECONDS / LAG_SECONDS)):
                due_at = clock() + LAG_SECONDS
                await asyncio.sleep(LAG_SECONDS)
                lags.append(max(0.0, clock() - due_at))
                on_lag(lags[-1])
            await self.look(running(), statistics.median(lags))

    @asynccontextmanager
    async def child_place(self, waiting: Callable[[], AbstractContextManager[None]]) -> AsyncIterator[None]:
        """Run a child process in this context. It is entered once there is memory for another one.

        Args:
            waiting: Makes a context that is entered while it waits.

        Raises:
            SiteError: `internal`: there was no room for too long.
        """
        place = object()
        with waiting():
            await self._take(place)
        try:
            yield
        except SiteError as error:
            self._has_lost_child |= isinstance(error.__cause__, ChildDiedError)
            raise
        finally:
            del self._children[place]
            self._ended.set()

    async def _take(self, place: object) -> None:
        self._asking += 1
        try:
            # In the order in which they ask.
            async with asyncio.timeout(MAX_WAIT_SECONDS), self._one_at_a_time:
                while not has_room(self.children, self._young(), room := await self._room()):
                    self._is_full = True
                    self._ended.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(ROOM_POLL_SECONDS):
                            await self._ended.wait()
                self._is_full = False
                self._children[place] = self._clock(), room
        except TimeoutError:
            raise SiteError(ErrorCode.INTERNAL, f"no memory for a scraper within {MAX_WAIT_SECONDS} s") from None
        finally:
            self._asking -= 1

    async def _room(self) -> int:
        memory = await in_daemon_thread(self.memory.read)
        return UNLIMITED_BYTES if memory is None else memory.room

    def _young(self) -> list[int]:
        grown_before = self._clock() - YOUNG_SECONDS
        return [room for started_at, room in self._children.values() if started_at > grown_before]
