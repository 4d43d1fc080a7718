"""Permits for requests to a site. The limits of a site hold for all workers together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from worker.http.exits import OWN_ADDRESS, Exit
from worker.model import Lease, Observed, RunSite, SiteLimits

if TYPE_CHECKING:  # sources get permits, and do not depend on the database
    from worker.database.queue import Queue
    from worker.engine.exits import Route

logger = logging.getLogger(__name__)


class LocalPermits:
    """Permits of one process, without a database. They keep the pace of the requests, but do not count quotas.

    Args:
        site: The site.
        limits: The limits of the source, by bucket.
        via: The exit of all requests.
    """

    def __init__(self, site: str, limits: Mapping[str, SiteLimits], via: Exit = OWN_ADDRESS) -> None:
        self._site = site
        self._limits = limits
        self._via = via
        self._next_at: dict[str, float] = {}

    async def take(self, bucket: str | None = None, requests: int = 1) -> Exit:
        """Wait until the pace of the bucket allows the requests; return the exit to send them through."""
        name = bucket or self._site
        pause = self._limits.get(name, SiteLimits()).pause_seconds
        clock = asyncio.get_running_loop().time
        starts_at = max(clock(), self._next_at.get(name, 0.0))
        self._next_at[name] = starts_at + pause * requests
        await asyncio.sleep(starts_at - clock())
        return self._via

    async def observe(self, observed: Observed, bucket: str | None = None) -> None:
        """Send no request until the time that the site asks for has passed."""
        if observed.retry_after_seconds is not None:
            ready_at = asyncio.get_running_loop().time() + observed.retry_after_seconds
            name = bucket or self._site
            self._next_at[name] = max(ready_at, self._next_at.get(name, 0.0))


class DatabasePermits:
    """Permits from the database, which all workers share.

    Args:
        queue: The queue.
        lease: The right to write to the run.
        site: The site of the run.
        limits: The limits of the site, by bucket.
        route: The exits of the search.
        waiting: Makes a context manager that is entered while the search waits for a permit or for the database.
    """

    def __init__(
        self,
        queue: Queue,
        lease: Lease,
        site: RunSite,
        limits: Mapping[str, SiteLimits],
        *,
        route: Route,
        waiting: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._queue = queue
        self._lease = lease
        self._site = site
        self._limits = dict(limits)
        self._route = route
        self._waiting = waiting

    async def take(self, bucket: str | None = None, requests: int = 1) -> Exit:
        """Wait until the requests may be sent, if the wait is short; return the exit to send them through.

        A bucket without limits, of the source or reported by the site during this search, needs no permit.

        Raises:
            SiteWaitingError: The wait is too long for a search in progress.
            SiteError: The run would wait for too long.
            LeaseLostError: The run was cancelled, or its lease expired.
            QueueError: The database could not be reached in time.
        """
        name = bucket or self._site.site
        if (limits := self._limits.get(name)) is None:
            return self._route.current
        clock = asyncio.get_running_loop().time
        with self._waiting():
            while True:
                asked_at = clock()
                granted = await self._queue.take_permit(
                    self._lease, self._site, name, requests, limits, exits=self._route.offered
                )
                self._route.use(granted)
                await asyncio.sleep(granted.wait_seconds)
                if not self._route.was_left_since(asked_at):
                    return self._route.current

    async def observe(self, observed: Observed, bucket: str | None = None) -> None:
        """Store what the site reports of its limits, for all workers.

        Raises:
            LeaseLostError: The run was cancelled, or its lease expired.
            QueueError: The database refused the call, or could not be reached in time.
        """
        name = bucket or self._site.site
        limits = self._limits.setdefault(name, SiteLimits())
        is_of_exit = self._route.offered is not None and limits.per_exit
        via = self._route.current if is_of_exit else OWN_ADDRESS
        with self._waiting():
            await self._queue.observe_limits(self._lease, self._site, name, observed, via)
