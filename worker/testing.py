"""Runs one search of one site without a database, for tests of sources and for the command `try`. Public."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from worker.engine.permits import LocalPermits
from worker.engine.read import storable, transform
from worker.http import HttpClient, SiteHttp, open_http
from worker.model import ItemError, Json, Page, Parameters, Progress, Transformed
from worker.settings import DEFAULT_SITE_TIMEOUT_SECONDS
from worker.sources import Search, Source, usable_exits

__all__ = ["HttpClient", "ItemError", "ProgressLog", "Transformed", "open_http", "search"]


class ProgressLog(Protocol):
    """Receives the progress that a search reports; a list, for example."""

    def append(self, reported: Progress, /) -> None:
        """Receive one report."""
        ...


async def search(
    source: Source,
    site: str,
    parameters: Parameters,
    http: HttpClient,
    *,
    newer_than: datetime | None = None,
    cursor: Json = None,
    next_page: int = 1,
    account: str | None = None,
    timeout_seconds: float = DEFAULT_SITE_TIMEOUT_SECONDS,
    progress: ProgressLog | None = None,
) -> AsyncGenerator[tuple[Page, Transformed], None]:
    """Search one site, page by page, and yield each page with its items.

    Args:
        source: The source.
        site: One of its sites.
        parameters: The parameters of the search.
        http: The client to send requests with, from `open_http`. The search uses the first exit of the site.
        newer_than: Only results published since then, if the site can filter; None: any.
        cursor: Cursor of an earlier page to resume after; None: the first page.
        next_page: Number of the first page to yield.
        account: The account to search through, if the source needs one.
        timeout_seconds: Time limit for one page, as `Search.timeout_seconds`.
        progress: Receives the progress that the search reports.

    Yields:
        Each page as it would be stored, and its items.

    Raises:
        SiteError: The parameters are invalid, or the site failed. Pages yielded before remain valid.
        SettingsError: No exit of the client may be used for the site, or the source cannot use it.
    """

    async def report(reported: Progress) -> None:
        if progress is not None:
            progress.append(reported)

    source.validate(site, parameters)
    permits = LocalPermits(site, source.limits, usable_exits(http.exits, source, site)[0])
    request = Search(
        site=site,
        parameters=parameters,
        http=SiteHttp(http, permits),
        permits=permits,
        report=report,
        newer_than=newer_than,
        cursor=cursor,
        next_page=next_page,
        account=account,
        timeout_seconds=timeout_seconds,
    )
    async with aclosing(source.fetch(request)) as pages:
        async for page in pages:
            stored = replace(page, payload=storable(page.payload))
            yield stored, transform(source, site, stored)
