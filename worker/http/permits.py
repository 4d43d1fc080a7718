"""Permits: the right to send requests to a site within its rate limits."""

from __future__ import annotations

from typing import Protocol

from worker.http.exits import Exit
from worker.model import Observed


class Permits(Protocol):
    """The rate limits of one site, which all workers share."""

    async def take(self, bucket: str | None = None, requests: int = 1) -> Exit:
        """Wait until the limits allow these requests, if the wait is short.

        Args:
            bucket: A bucket of the source's `limits`; None: the site's own.
            requests: Number of requests.

        Returns:
            The exit to send them through.

        Raises:
            SiteWaitingError: The wait is too long to stay in place; the site is deferred.
            SiteError: The wait is longer than a run may wait.
        """
        ...

    async def observe(self, observed: Observed, bucket: str | None = None) -> None:
        """Report limits that the site sent, so that all workers respect them."""
        ...
