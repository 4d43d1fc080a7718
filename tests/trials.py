"""Searching a source without a database, and all that came of it."""

from __future__ import annotations

from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from worker.errors import InvalidItemError, SiteError
from worker.http import HttpSettings, SiteHttp, open_http
from worker.model import Item, ItemError, Json, Observed, Page, Progress
from worker.sources import Search, Source
from worker.testing import search

json_scalars: st.SearchStrategy[Json] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from((10**400, "1e400", "\ud800"))
)
json_values: st.SearchStrategy[Json] = st.recursive(
    json_scalars,
    lambda value: st.lists(value, max_size=4) | st.dictionaries(st.text(), value, max_size=4),
    max_leaves=12,
)
"""All that `json.loads` makes, with NaN, infinities, integers beyond any float, and half a character."""


@dataclass
class Trial:
    """What a search of one site brought.

    Attributes:
        error: Why it did not come to its end.
    """

    pages: list[Page] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    item_errors: list[ItemError] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    error: SiteError | None = None

    @property
    def failure(self) -> SiteError:
        assert self.error is not None, "the search did not fail"
        return self.error

    @property
    def ids(self) -> list[str]:
        return [item.external_id for item in self.items]

    @property
    def titles(self) -> list[str]:
        return [item.title for item in self.items]

    @property
    def cursor(self) -> Json:
        """That of the last page."""
        return self.pages[-1].cursor


async def run(
    source: Source,
    parameters: dict[str, Any],
    *,
    settings: HttpSettings | None = None,
    newer_than: datetime | None = None,
    cursor: Json = None,
    next_page: int = 1,
    account: str | None = None,
    stop_after: int | None = None,
) -> Trial:
    """Search the source's first site, as fast as it answers: its own pace is the limits' business.

    Args:
        stop_after: Stop after so many pages, as a worker does that dies.

    The other arguments are those of `worker.testing.search`.
    """
    trial = Trial()
    source.limits = {}
    async with open_http(settings or HttpSettings(backoff_seconds=0)) as http:
        pages = search(
            source,
            source.sites[0],
            parameters,
            http,
            newer_than=newer_than,
            cursor=cursor,
            next_page=next_page,
            account=account,
            progress=trial.progress,
        )
        try:
            async with aclosing(pages):
                async for page, transformed in pages:
                    trial.pages.append(page)
                    trial.items += transformed.items
                    trial.item_errors += transformed.errors
                    if len(trial.pages) == stop_after:
                        break
        except SiteError as error:
            trial.error = error
    return trial


def item_of(source: Source, record: Json) -> Item | None:
    """Read a record; what is none is refused, and nothing else is raised."""
    try:
        return source.parse(source.sites[0], record)
    except InvalidItemError:
        return None


def items_of(source: Source, payload: Json) -> list[Item]:
    """Read a page; it, or a record of it, is refused if it is none, and nothing else is raised."""
    with suppress(InvalidItemError):
        records = source.records(source.sites[0], Page(1, payload, 0))
        return [item for record in records if (item := item_of(source, record))]
    return []


class RecordedPermits:
    """Permits for everything at once, which keep what they are told."""

    def __init__(self) -> None:
        self.taken: list[tuple[str | None, int]] = []
        self.observed: list[Observed] = []

    async def take(self, bucket: str | None = None, requests: int = 1) -> None:
        self.taken.append((bucket, requests))

    async def observe(self, observed: Observed, bucket: str | None = None) -> None:  # noqa: ARG002
        self.observed.append(observed)


async def run_with_permits(source: Source, parameters: dict[str, Any]) -> RecordedPermits:
    """Search the source's first site to its end or failure, and return what its permits were asked and told."""
    permits = RecordedPermits()

    async def report(_: Progress) -> None:
        pass

    async with open_http(HttpSettings(backoff_seconds=0)) as http:
        asked = Search(
            site=source.sites[0], parameters=parameters, http=SiteHttp(http, permits), permits=permits, report=report
        )
        try:
            async for _ in source.fetch(asked):
                pass
        except SiteError:
            pass
    return permits
