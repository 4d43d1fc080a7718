"""The time that a site has for a page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from worker.errors import ErrorCode, SiteError
from worker.model import Page


class PageTimeout:
    """Gives up a search that brings no page for too long. While it waits for a permit, the time stands still.

    Args:
        seconds: Time for a page.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout: asyncio.Timeout | None = None
        self._waits = 0
        self._seconds_left = seconds

    async def next_page(self, pages: AsyncGenerator[Page, None]) -> Page | None:
        """Return the next page of a search; None: there is none.

        Raises:
            SiteError: `timeout`, it did not come in time. The search was cancelled, and has ended.
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
        """Let the time stand still. A search may wait for several things at once."""
        timeout, clock = self._timeout, asyncio.get_running_loop().time
        if timeout is None or timeout.expired():
            yield  # the search is cleaning up, or does something beside its pages
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
