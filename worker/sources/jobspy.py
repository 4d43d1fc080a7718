"""Searches job boards with JobSpy's scrapers, each call in a separate child process.

Only `jobspy_scrape`, which runs in the child, imports JobSpy and pandas.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from worker.errors import ErrorCode, InvalidItemError, SiteError
from worker.http import Exit
from worker.http.masking import mask
from worker.http.proxies import REQUESTS_SOCKS
from worker.model import Item, Json, Page, Parameters, Progress
from worker.printable import one_line
from worker.processes import sandbox
from worker.settings import EnvironmentSettings, ExistingFile
from worker.sources import Search, Source
from worker.sources.jobspy_parameters import JobSpyParameters, country_names
from worker.sources.jobspy_rows import to_item, typed
from worker.sources.jobspy_sites import SITES, job_pages, shared_limits
from worker.sources.jobspy_tally import Answer, Tally
from worker.sources.parameters import SITE_LISTS
from worker.sources.search_location import jobspy_location

logger = logging.getLogger(__name__)


def _split_range(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = value.split(",")
    if len(parts) != 2:  # noqa: PLR2004
        raise ValueError("must be MIN,MAX, such as 3,7")
    return parts


def _check_range(seconds: tuple[float, float] | None) -> tuple[float, float] | None:
    if seconds is None:
        return None
    least, greatest = seconds
    if not 0 <= least <= greatest < math.inf:
        raise ValueError("must be MIN,MAX: the shortest and the longest pause, from 0 on")
    return seconds


class JobSpySettings(EnvironmentSettings):
    """How this worker runs JobSpy.

    Attributes:
        ca_cert: PEM file of the certificates to trust instead of the usual ones, for proxies that open TLS.
        page_delay_seconds: Shortest and longest pause between two pages; None: JobSpy's own for each site.
    """

    ca_cert: ExistingFile | None = Field(
        default=None,
        validation_alias="JOBSPY_CA_CERT",
        description="File with the certificates to trust, for a proxy that opens TLS.",
    )
    page_delay_seconds: Annotated[
        tuple[float, float] | None, NoDecode, BeforeValidator(_split_range), AfterValidator(_check_range)
    ] = Field(
        default=None,
        validation_alias="JOBSPY_PAGE_DELAY_SECONDS",
        description="Pause between two pages of a board in seconds, as MIN,MAX. Default: JobSpy's own, mostly 3 to 7.",
    )


class JobSpySource(Source):
    """Searches eight job boards with JobSpy.

    If JobSpy can start at any page of a site, a search consists of slices, each one call of JobSpy, and can be resumed
    after each of them. On the other sites it is one call.

    Args:
        settings: Certificates and pauses; by default from the environment.
    """

    name = "jobspy"
    kind = "jobs"
    version = 1
    ends_without_news = True
    sites: Sequence[str] = tuple(SITES)
    parameters = JobSpyParameters
    settings = JobSpySettings
    hosts: Mapping[str, str] = {name: site.host for name, site in SITES.items()}
    socks = REQUESTS_SOCKS

    def __init__(self, settings: JobSpySettings | None = None) -> None:
        self._settings = settings or JobSpySettings()
        self.limits = shared_limits(self._settings.page_delay_seconds)
        sandbox.preload(__name__, f"{__name__}_scrape")
        if self._settings.ca_cert:
            sandbox.allow_read(self._settings.ca_cert)

    def validate(self, site: str, parameters: Parameters) -> None:
        """Check a run's parameters for `site` before anything is fetched.

        Raises:
            SiteError: `invalid_parameters`: a parameter is invalid. The message names the field and what is allowed.
        """
        self._read(site, parameters)

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        """Search a site page by page. Closing the generator kills the child process.

        A page's payload is `{"rows": [...], "warnings": [...]}`, with at most 100 rows; the last page may have none.
        Sites filter by age in whole days, if at all: the search includes the whole day of `newer_than`.

        Raises:
            SiteError: The site failed, or too many jobs could not be read. Pages yielded before remain valid.
            SiteWaitingError: The site's limits do not allow a request now.
        """
        parameters = self._read(search.site, search.parameters)
        tally = Tally(search.site, parameters, search.cursor)
        number = search.next_page
        while True:
            async with aclosing(self._call(search, parameters, tally)) as answers:
                async for answer in answers:
                    rows, warnings = tally.add(answer)
                    for warning in warnings:
                        logger.warning("%s: %s", search.site, warning)
                    is_last = tally.has_ended and tally.failure() is None
                    if rows or is_last:
                        await search.report(Progress("searching", tally.found, parameters.results_wanted))
                        yield Page(
                            number,
                            {"rows": [*rows], "warnings": [*warnings]},
                            answer["response_ms"],
                            answer["requests"],
                            cursor=None if is_last else tally.cursor,
                            is_last=is_last,
                        )
                        number += 1
            if tally.has_ended:
                break
            await self._pause(search.site)
        if failure := tally.failure():
            raise failure

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002
        """Return the rows of a page."""
        rows = page.payload.get("rows") if isinstance(page.payload, dict) else None
        if not isinstance(rows, list):
            raise InvalidItemError("must be a list", "rows")
        return rows

    def parse(self, site: str, record: Json) -> Item:
        """Turn a row into an item.

        Raises:
            InvalidItemError: The row has no id, no title or no URL.
        """
        if not isinstance(record, dict):
            raise InvalidItemError("a row must be an object")
        return to_item(site, record)

    def records_in(self, site: str, content: Json, board: str | None = None) -> Sequence[Json]:
        """Return the rows of content that JobSpy has written, such as a CSV file, in the types of a page's rows."""
        rows = super().records_in(site, content, board)
        return [typed(row) if isinstance(row, dict) else row for row in rows]

    def _read(self, site: str, parameters: Parameters) -> JobSpyParameters:
        if site == "google":
            raise SiteError(ErrorCode.INVALID_PARAMETERS, "sites: google is unavailable in JobSpy")
        if site not in self.sites:
            raise SiteError(ErrorCode.INVALID_PARAMETERS, f"sites: {site!r} is not one of {', '.join(self.sites)}")
        return JobSpyParameters.for_site(site, parameters)

    async def _call(self, search: Search, parameters: JobSpyParameters, tally: Tally) -> AsyncGenerator[Answer, None]:
        """Call JobSpy for the next slice of a search in a child process, and report its pages as it requests them."""
        async with search.child_place(), aclosing(self._call_in_child(search, parameters, tally)) as answers:
            async for answer in answers:
                yield answer

    async def _call_in_child(
        self, search: Search, parameters: JobSpyParameters, tally: Tally
    ) -> AsyncGenerator[Answer, None]:
        # A permit is for a time: it is taken once the child can start.
        site = SITES[search.site]
        rows = tally.rows_to_ask_for
        pages = math.ceil(rows / site.page_jobs)
        via = await search.permits.take(requests=pages)
        if parameters.fetch_description and site.described_jobs is not None:
            via = await search.permits.take(job_pages(search.site), math.ceil(rows / site.described_jobs))
        tally.via = via
        events = sandbox.stream(
            _scrape,
            search.site,
            {
                **self._arguments(search, parameters),
                "proxies": via.proxy and [via.proxy],
                "results_wanted": rows,
                "offset": tally.offset,
            },
            pages if site.slice_pages is not None else None,
            self._settings.page_delay_seconds,
            deadline_seconds=search.timeout_seconds,
        )
        first_page = tally.offset // site.page_jobs
        try:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, int):
                        details: dict[str, Json] = {"page": first_page + event}
                        await search.report(Progress("searching", tally.found, parameters.results_wanted, details))
                    else:
                        search.meter(via, event["requests"], event["size"])
                        yield _without_secrets(event, via)
        except TimeoutError as error:
            raise SiteError(ErrorCode.TIMEOUT, str(error)) from None
        except sandbox.SandboxError as error:
            raise SiteError(ErrorCode.INTERNAL, _masked(str(error), via)) from error

    def _arguments(self, search: Search, parameters: JobSpyParameters) -> dict[str, Any]:
        """Return JobSpy's arguments that are the same for all slices of a search."""
        hours_old = parameters.hours_old
        if search.newer_than is not None:
            hours = 24 * max(1, math.ceil((datetime.now(UTC) - search.newer_than) / timedelta(days=1)))
            hours_old = min(hours, hours_old or hours)
        return {
            **parameters.model_dump(exclude={*SITE_LISTS, "country", "distance_miles", "results_wanted"}),
            "description_format": "html",
            "hours_old": hours_old,
            "location": jobspy_location(search.site, parameters.place),
            "country_indeed": country_names().get(parameters.place.country),
            "is_remote": parameters.wants_remote,
            "distance": parameters.distance_miles,
            "ca_cert": str(self._settings.ca_cert) if self._settings.ca_cert else None,
        }

    async def _pause(self, site: str) -> None:
        """Pause between two slices for a random time, as JobSpy does between two pages."""
        delay_seconds = self._settings.page_delay_seconds or SITES[site].delay_seconds or (0.0, 0.0)
        await asyncio.sleep(random.uniform(*delay_seconds))  # noqa: S311 (a pause, not a secret)


def _without_secrets(answer: Answer, via: Exit) -> Answer:
    """Return an answer whose messages are safe to store and to log."""
    return {
        **answer,
        # Not truncated yet: the part that determines the error code may be at its end.
        "error": answer["error"] and _masked(answer["error"], via),
        "warnings": [one_line(_masked(warning, via)) for warning in answer["warnings"]],
        "skip_reason": answer["skip_reason"] and one_line(_masked(answer["skip_reason"], via)),
        "unread_page": answer["unread_page"] and one_line(_masked(answer["unread_page"], via)),
    }


def _masked(text: str, via: Exit) -> str:
    """Return a message without the password of an exit and without links to documentation of libraries."""
    text = mask(text, via.secrets)
    return re.sub(r"\s+(For further information|See) (visit )?https://\S+( first for more details.)?", "", text)


def _scrape(
    site: str, arguments: dict[str, Any], pages: int | None, page_delay_seconds: tuple[float, float] | None
) -> Iterator[int | Answer]:
    from worker.sources.jobspy_scrape import scrape  # noqa: PLC0415 (only the child imports JobSpy and pandas)

    return scrape(site, arguments, pages, page_delay_seconds)
