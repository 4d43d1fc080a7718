"""Searching a source without a database, and all that came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from worker.http import HttpSettings, SiteHttp, open_http
from worker.model import Item, ItemError, Json, Observed, Page, Progress, SiteError
from worker.sources import Search, Source
from worker.trial import search

json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda value: st.lists(value, max_size=4) | st.dictionaries(st.text(), value, max_size=4),
    max_leaves=8,
)


@dataclass
class Trial:
    """What a search of one site brought.

    Attributes:
        failure: Why it did not come to its end.
    """

    pages: list[Page] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    errors: list[ItemError] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    failure: SiteError | None = None

    @property
    def ids(self) -> list[str]:
        return [item.external_id for item in self.items]

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
) -> Trial:
    """Search the source's first site, as fast as it answers: its own pace is the limits' business."""
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
            progress=trial.progress,
        )
        try:
            async for page, transformed in pages:
                trial.pages.append(page)
                trial.items += transformed.items
                trial.errors += transformed.errors
        except SiteError as failure:
            trial.failure = failure
    return trial


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
