"""The requests that the played sites received, for tests to look at and to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from worker.local.boards.failures import Failure


@dataclass(frozen=True, slots=True)
class BoardRequest:
    """A request that a played site received.

    Attributes:
        at: When it arrived, in seconds of the server's monotonic clock.
        page: The number of the search page that it asked for, from 1. `None` for any other request.
        failure: How the site failed. `None` if it answered.
        exit: The exit that it came through; empty if the client named none.
    """

    at: float
    method: str
    host: str
    path: str
    page: int | None
    failure: Failure | None
    exit: str = ""


class RequestLog:
    """The requests of each site, in order, and the hosts that are not played.

    Args:
        sites: Names of the played sites.

    Attributes:
        refused: Requested hosts that are not played, with their port.
    """

    def __init__(self, sites: Iterable[str]) -> None:
        self.refused: list[str] = []
        self._requests: dict[str, list[BoardRequest]] = {site: [] for site in sites}
        self._added = asyncio.Condition()

    async def add(self, site: str, request: BoardRequest) -> None:
        """Add a request, and wake those that wait for it."""
        async with self._added:
            self._requests[site].append(request)
            self._added.notify_all()

    def of(self, site: str) -> list[BoardRequest]:
        """Return the requests of `site`, in order."""
        return list(self._requests[site])

    def by_site(self) -> dict[str, list[BoardRequest]]:
        """Return the requests of every site, in order."""
        return {site: list(requests) for site, requests in self._requests.items()}

    async def wait_for(self, site: str, count: int) -> list[BoardRequest]:
        """Wait until `site` has received `count` requests, and return its requests."""
        async with self._added:
            await self._added.wait_for(lambda: len(self._requests[site]) >= count)
        return self.of(site)

    def clear(self) -> None:
        """Forget all requests and refused hosts."""
        self.refused.clear()
        for requests in self._requests.values():
            requests.clear()
