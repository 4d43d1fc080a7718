"""The time limit for a page, which does not include waiting for permits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from worker.engine.page_timeout import PageTimeout
from worker.errors import ErrorCode, SiteError
from worker.model import Page

PAGE = Page(1, {}, 5)
SOON, LATE = 0.01, 3600


async def test_pages_come_one_by_one_until_there_is_none() -> None:
    async def pages() -> AsyncGenerator[Page, None]:
        yield PAGE

    timeout, searching = PageTimeout(LATE), pages()
    assert await timeout.next_page(searching) == PAGE
    assert await timeout.next_page(searching) is None


async def test_a_page_that_does_not_come_fails_the_site_after_the_search_has_cleaned_up() -> None:
    cleaned = []

    async def pages() -> AsyncGenerator[Page, None]:
        try:
            await asyncio.Event().wait()
            yield PAGE
        finally:
            await asyncio.sleep(SOON)  # longer than nothing: closing a connection, killing a child
            cleaned.append(True)

    with pytest.raises(SiteError, match=r"no page came within 0\.01 s") as error:
        await PageTimeout(SOON).next_page(pages())
    assert error.value.code is ErrorCode.TIMEOUT
    assert cleaned == [True]


async def test_a_timeout_of_the_search_itself_is_not_taken_for_one_of_the_page() -> None:
    async def pages() -> AsyncGenerator[Page, None]:
        yield PAGE
        raise TimeoutError("its own")

    timeout, searching = PageTimeout(LATE), pages()
    await timeout.next_page(searching)
    with pytest.raises(TimeoutError, match="its own"):
        await timeout.next_page(searching)


async def test_waiting_does_not_count() -> None:
    seconds = 0.5  # what a busy machine may take for the rest
    timeout = PageTimeout(seconds)

    async def pages() -> AsyncGenerator[Page, None]:
        async def wait(times: float) -> None:
            with timeout.stopped():
                await asyncio.sleep(times * seconds)

        await asyncio.gather(wait(0.2), wait(1.2))
        yield PAGE
        await asyncio.Event().wait()

    searching = pages()
    assert await timeout.next_page(searching) == PAGE
    with pytest.raises(SiteError, match="no page came"):
        await timeout.next_page(searching)


async def test_who_waits_while_the_search_ends_is_not_disturbed() -> None:
    timeout = PageTimeout(SOON)
    waited = []

    async def pages() -> AsyncGenerator[Page, None]:
        try:
            await asyncio.Event().wait()
            yield PAGE
        finally:
            with timeout.stopped():
                await asyncio.sleep(0)
            waited.append(True)

    with pytest.raises(SiteError):
        await timeout.next_page(pages())
    with timeout.stopped():
        pass
    assert waited == [True]


async def test_a_cancellation_is_not_a_timeout() -> None:
    began = asyncio.Event()

    async def pages() -> AsyncGenerator[Page, None]:
        began.set()
        await asyncio.Event().wait()
        yield PAGE

    task = asyncio.create_task(PageTimeout(LATE).next_page(pages()))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
