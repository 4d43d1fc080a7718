"""A worker that stops dead at one point of its work, so that a test can kill it there. Run as a process.

Its arguments: a kind, and a point: `transform`, or a method of the queue with `before` or `after`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import worker.execution
from worker.model import Item, Json, Page, Parameters
from worker.queue import Queue
from worker.settings import load_settings
from worker.worker import Worker

PAGES, RECORDS = 3, 4


class Listings:
    """A source of two sites with three pages each, of four things whose ids begin with the search term."""

    name = "listings"
    sites: Sequence[str] = ("indeed", "linkedin")
    version = 1

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def validate(self, site: str, parameters: Parameters) -> None:
        pass

    async def fetch(
        self,
        site: str,
        parameters: Parameters,
        newer_than: datetime | None,  # noqa: ARG002
    ) -> AsyncGenerator[Page, None]:
        for page in range(PAGES):
            ids = [f"{parameters['search_term']}-{site}-{page}-{record}" for record in range(RECORDS)]
            yield Page(page + 1, [*ids], 5)

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002
        assert isinstance(page.payload, list)
        return page.payload

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002
        return Item(str(record), f"Engineer {record}", f"https://example.com/{record}", organization=f"Of {record}")


def main(kind: str, *point: str) -> None:
    """Work until the point is reached, say so, and do nothing any more."""
    if point == ("transform",):
        setattr(worker.execution, "transform", _stop)  # noqa: B010 (a name that it imports, not one that it exports)
    else:
        method, when = point
        setattr(Queue, method, _stopping(getattr(Queue, method), when))
    working = Worker(load_settings(), [Listings(kind)])
    asyncio.run(working.reprocess() if "load_page" in point else working.once())


def _stopping(call: Callable[..., Awaitable[Any]], when: str) -> Callable[..., Awaitable[None]]:
    async def stopping(*arguments: Any, **named: Any) -> None:
        if when == "after":
            await call(*arguments, **named)
        _stop()

    return stopping


def _stop(*_: object) -> None:
    sys.stdout.write("stopped\n")
    sys.stdout.flush()
    while True:
        signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
