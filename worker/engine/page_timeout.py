"""The timeout of a page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from worker.errors import ErrorCode, SiteError
from worker.model import Page


class PageTimeout:
    """Cancels a search that yields no page in time. The clock is stopped while the search waits for a permit.

    Args:
        seconds: Timeout of each page.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout: asyncio.Timeout | None = None
        self._waits = 0
        self._seconds_left = seconds

    async def next_page(self, pages: AsyncGenerator[Page, None]) -> Page | None:
        """Return the next page of a search; None at its end.

        Raises:
            SiteError: `timeout`: the page did not come in time. The search was cancelled and has ended.
        """
        timeout = self._timeout = asyncio.timeout(self._seconds)
        try:
            async with timeout:
                return await anext(pages)
        except StopAsyncIteration:
            return None
        except TimeoutError:
            if not timeout.expired():
                raise
            raise SiteError(ErrorCode.TIMEOUT, f"no page came within {self._seconds:g} s") from None
        finally:
            self._timeout = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the clock. Calls may overlap: a search may wait for several permits at once."""
        timeout, clock = self._timeout, asyncio.get_running_loop().time
        if timeout is None or timeout.expired():
            yield  # the search is cleaning up, or no page is being fetched
            return
        if self._waits == 0 and (ends_at := timeout.when()) is not None:
            self._seconds_left = ends_at - clock()
            timeout.reschedule(None)
        self._waits += 1
        try:
            yield
        finally:
            self._waits -= 1
            if self._waits == 0 and self._timeout is timeout:
                timeout.reschedule(clock() + self._seconds_left)
