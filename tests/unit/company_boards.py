"""What the tests of the companies' boards share: one search, with all that it told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import respx

from tests import trials
from worker.model import Page
from worker.sources.company_boards import CompanyBoards


class Told(trials.Trial):
    """What a search told."""

    @property
    def jobs(self) -> list[tuple[Any, int]]:
        """The board and the number of jobs of each page."""
        payloads: list[Any] = [page.payload for page in self.pages]
        return [(payload["board"], len(payload["jobs"])) for payload in payloads]


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
    trial = await trials.run(
        source,
        {"search_term": "engineer", **parameters},
        newer_than=newer_than,
        cursor=after.cursor if after else None,
        next_page=after.number + 1 if after else 1,
        stop_after=stop_after,
    )
    return Told(**vars(trial))


@contextmanager
def played() -> Iterator[respx.MockRouter]:
    """Play hosts. A request that nothing is played for fails the test."""
    with respx.mock(assert_all_called=False) as router:
        yield router
