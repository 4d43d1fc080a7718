"""What the tests of the companies' boards share: one search, with all that it told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import respx

from worker.http import HttpSettings, open_http
from worker.model import Item, ItemError, Json, Page, Progress, SiteError
from worker.sources.company_boards import CompanyBoards
from worker.trial import search

AT_ONCE = HttpSettings(backoff_seconds=0)


@dataclass
class Told:
    """What a search told.

    Attributes:
        error: Why it ended early, if it did.
    """

    pages: list[Page] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    item_errors: list[ItemError] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    error: SiteError | None = None

    @property
    def titles(self) -> list[str]:
        return [item.title for item in self.items]

    @property
    def jobs(self) -> list[tuple[Any, int]]:
        """The board and the number of jobs of each page."""
        payloads: list[Any] = [page.payload for page in self.pages]
        return [(payload["board"], len(payload["jobs"])) for payload in payloads]

    @property
    def failure(self) -> SiteError:
        assert self.error is not None, "the search did not fail"
        return self.error


async def run(
    source: CompanyBoards,
    parameters: dict[str, Any],
    *,
    newer_than: datetime | None = None,
    after: Page | None = None,
    stop_after: int | None = None,
) -> Told:
    """Search, without the pauses between requests.

    Args:
        source: The source.
        parameters: Of the run, but for `search_term`, which is `engineer` by default.
        newer_than: As in `worker.sources.Search`.
        after: The last page that was saved: go on after it.
        stop_after: Stop after so many pages, as a worker does that dies.
    """
    told = Told()
    source.limits = {}
    cursor: Json = after.cursor if after else None
    async with open_http(AT_ONCE) as http:
        pages = search(
            source,
            source.name,
            {"search_term": "engineer", **parameters},
            http,
            newer_than=newer_than,
            cursor=cursor,
            next_page=after.number + 1 if after else 1,
            progress=told.progress,
        )
        async with aclosing(pages):
            try:
                async for page, transformed in pages:
                    told.pages.append(page)
                    told.items += transformed.items
                    told.item_errors += transformed.errors
                    if len(told.pages) == stop_after:
                        break
            except SiteError as error:
                told.error = error
    return told


@contextmanager
def played() -> Iterator[respx.MockRouter]:
    """Play hosts. A request that nothing is played for fails the test."""
    with respx.mock(assert_all_called=False) as router:
        yield router
