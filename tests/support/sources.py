"""Search a source without a database, and keep all that comes of it."""

from __future__ import annotations

from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from worker.errors import InvalidItemError, SiteError
from worker.http import HttpSettings, SiteHttp, open_http
from worker.http.exits import OWN_ADDRESS, Exit
from worker.model import Item, ItemError, Json, Observed, Page, Progress
from worker.sources import Search, Source
from worker.testing import search


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
        """The cursor of the last page."""
        return self.pages[-1].cursor

    @property
    def jobs(self) -> list[tuple[Any, int]]:
        """Of a source of companies' boards: the board and the number of jobs of each page."""
        payloads: list[Any] = [page.payload for page in self.pages]
        return [(payload["board"], len(payload["jobs"])) for payload in payloads]


async def search_source(
    source: Source,
    parameters: dict[str, Any],
    *,
    settings: HttpSettings | None = None,
    newer_than: datetime | None = None,
    after: Page | None = None,
    cursor: Json = None,
    next_page: int = 1,
    account: str | None = None,
    stop_after: int | None = None,
) -> Trial:
    """Search the source's first site without rate limits.

    Args:
        parameters: Without a search term, it is `engineer`.
        after: Resume after this page; instead of `cursor` and `next_page`.
        stop_after: Stop after this many pages, like a worker that crashes.

    The other arguments are those of `worker.testing.search`.
    """
    if after is not None:
        cursor, next_page = after.cursor, after.number + 1
    trial = Trial()
    source.limits = {}
    async with open_http(settings or HttpSettings(backoff_seconds=0)) as http:
        pages = search(
            source,
            source.sites[0],
            {"search_term": "engineer", **parameters},
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
    """Parse a record; None if it is refused. Any other error is a bug."""
    try:
        return source.parse(source.sites[0], record)
    except InvalidItemError:
        return None


def items_of(source: Source, payload: Json) -> list[Item]:
    """Parse a page; a page or a record may be refused. Any other error is a bug."""
    with suppress(InvalidItemError):
        records = source.records(source.sites[0], Page(1, payload, 0))
        return [item for record in records if (item := item_of(source, record))]
    return []


class RecordedPermits:
    """Grants every permit at once, and records what is taken and observed."""

    def __init__(self) -> None:
        self.taken: list[tuple[str | None, int]] = []
        self.observed: list[Observed] = []

    async def take(self, bucket: str | None = None, requests: int = 1) -> Exit:
        self.taken.append((bucket, requests))
        return OWN_ADDRESS

    async def observe(self, observed: Observed, bucket: str | None = None) -> None:  # noqa: ARG002
        self.observed.append(observed)


async def permits_of_search(source: Source, parameters: dict[str, Any]) -> RecordedPermits:
    """Search the source's first site to its end or failure; return the permits that it took."""
    permits = RecordedPermits()

    async def report(_: Progress) -> None:
        pass

    async with open_http(HttpSettings(backoff_seconds=0)) as http:
        asked = Search(
            site=source.sites[0],
            parameters=parameters,
            http=SiteHttp(http, permits),
            permits=permits,
            report=report,
            timeout_seconds=60,
        )
        try:
            async for _ in source.fetch(asked):
                pass
        except SiteError:
            pass
    return permits
