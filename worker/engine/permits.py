"""The right to ask a site: how often, how much and how many at a time is decided for all workers together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from worker.model import Lease, Observed, RunSite, SiteLimits

if TYPE_CHECKING:  # a source, which gets permits, knows no database
    from worker.database.queue import Queue

logger = logging.getLogger(__name__)


class LocalPermits:
    """Permits of one process, where there is no database to ask: the pace is kept, quotas are left to the site.

    Args:
        site: The site.
        limits: The source's limits.
    """

    def __init__(self, site: str, limits: Mapping[str, SiteLimits]) -> None:
        self._site = site
        self._limits = limits
        self._next_at: dict[str, float] = {}

    async def take(self, bucket: str | None = None, requests: int = 1) -> None:
        """Wait until the pace of the bucket allows so many requests."""
        name = bucket or self._site
        pause = self._limits.get(name, SiteLimits()).pause_seconds
        clock = asyncio.get_running_loop().time
        starts_at = max(clock(), self._next_at.get(name, 0.0))
        self._next_at[name] = starts_at + pause * requests
        await asyncio.sleep(starts_at - clock())

    async def observe(self, observed: Observed, bucket: str | None = None) -> None:
        """Keep away for as long as the site asks to."""
        if observed.retry_after_seconds is not None:
            ready_at = asyncio.get_running_loop().time() + observed.retry_after_seconds
            name = bucket or self._site
            self._next_at[name] = max(ready_at, self._next_at.get(name, 0.0))


class DatabasePermits:
    """Permits that all workers share.

    Args:
        queue: Where to ask.
        lease: The right to write to the run.
        site: The site of the run that is being searched.
        limits: What the site allows, by bucket.
        waiting: Surrounds the time in which the search waits for a permit, or for the database.
    """

    def __init__(
        self,
        queue: Queue,
        lease: Lease,
        site: RunSite,
        limits: Mapping[str, SiteLimits],
        waiting: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._queue = queue
        self._lease = lease
        self._site = site
        self._limits = dict(limits)
        self._waiting = waiting

    async def take(self, bucket: str | None = None, requests: int = 1) -> None:
        """Wait until so many requests may be sent, if that is soon.

        A bucket of which neither the source nor, during this search, the site has told anything needs no permit.

        Raises:
            SiteWaitingError: It is not soon.
            SiteError: It is later than a run waits.
            LeaseLostError: The run is not this worker's any more.
            QueueError: The database was out of reach for too long.
        """
        name = bucket or self._site.site
        if (limits := self._limits.get(name)) is None:
            return
        with self._waiting():
            await asyncio.sleep(await self._queue.take_permit(self._lease, self._site, name, requests, limits))

    async def observe(self, observed: Observed, bucket: str | None = None) -> None:
        """Pass on what the site tells of its limits, for all workers to keep to.

        Raises:
            LeaseLostError: The run is not this worker's any more.
            QueueError: The database refused it, or was out of reach.
        """
        name = bucket or self._site.site
        self._limits.setdefault(name, SiteLimits())
        with self._waiting():
            await self._queue.observe_limits(self._lease, self._site, name, observed)
