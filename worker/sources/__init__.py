"""Sources: the code that searches one or more sites. A source knows no database."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

from worker.errors import SettingsError
from worker.http import Exit, SiteHttp
from worker.http.exits import exits_of
from worker.http.permits import Permits
from worker.http.proxies import HTTPX_SOCKS, SocksSupport, problem_of_support
from worker.http.usage import Meter, ignore
from worker.model import Item, Json, Page, Parameters, Progress, SiteLimits
from worker.settings import EnvironmentSettings
from worker.sources.parameters import SearchParameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One search of one site, as a source gets it.

    Attributes:
        site: The site.
        parameters: The run's parameters, as the database stores them; `Source.parameters` reads them.
        newer_than: Ask only for what was published later, as far as the site supports it; None: for everything.
        cursor: Cursor of the last saved page, after which the search resumes; None: start with the first page.
        next_page: Number of the first page to yield; above 1 if the search resumes.
        account: The user's or workspace's account at the site, where the source searches through one.
        http: Requests to the site, each with its permit.
        permits: The right to ask the site, for what does not go through `http`.
        report: Reports progress between two pages. It may be called at any rate.
        meter: Counts requests that do not go through `http`, and the bytes of their answers.
        child_place: Makes a context for a child process that the source starts. It is entered once the worker has
            memory for the child. The time of the wait does not count for `timeout_seconds`.
        timeout_seconds: Time limit of one page, after which the search is stopped. A source applies it to what it
            starts outside the event loop, such as a child process.
    """

    site: str
    parameters: Parameters
    http: SiteHttp
    permits: Permits
    report: Callable[[Progress], Awaitable[None]]
    timeout_seconds: float
    newer_than: datetime | None = None
    cursor: Json = None
    next_page: int = 1
    account: str | None = None
    meter: Meter = ignore
    child_place: Callable[[], AbstractAsyncContextManager[None]] = nullcontext


class Source(Protocol):
    """Searches one or more sites of one kind. A subclass has the defaults below.

    The class can be called without arguments. A source with settings reads them from the environment then; it accepts
    an instance of its settings class as an argument instead.

    Attributes:
        name: The source's name, as kept with each raw page.
        kind: What it searches for, as in `search_runs.kind`.
        sites: The sites that it can search.
        version: Starts at 1, and increases when `records` or `parse` read a page differently. Kept with each page.
        parameters: The parameters that it reads. It ignores the parameters of other sources of its kind.
        settings: The class of its settings; None: it has none.
        limits: What its sites allow, over all workers, by bucket: the site's name, or `SITE:NAME` for what the site
            counts separately. Requests to a site without limits need no permit.
        credentials: Environment variables with the credentials that it needs, and whether each one is there.
        needs_account: Whether it searches through an account of the user's.
        hosts: The host of each site that requests are sent to first, for tests of exits.
        socks: Which SOCKS proxies its HTTP client can use.
        ends_without_news: Whether a search with `newer_than` ends at the first page without a new item. False where
            a later page can still have new items, such as the page of another company.
    """

    name: str
    kind: str
    sites: Sequence[str]
    version: int = 1
    parameters: type[SearchParameters]
    settings: type[EnvironmentSettings] | None = None
    limits: Mapping[str, SiteLimits] = MappingProxyType({})
    credentials: Mapping[str, bool] = MappingProxyType({})
    needs_account: bool = False
    hosts: Mapping[str, str] = MappingProxyType({})
    socks: SocksSupport = HTTPX_SOCKS
    ends_without_news: bool = False

    def validate(self, site: str, parameters: Parameters) -> None:  # noqa: ARG002
        """Check a run's parameters against what `site` can do, before anything is fetched.

        Raises:
            SiteError: `invalid_parameters`, with the field and what is allowed.
        """
        self.parameters.read(parameters)

    @abstractmethod
    def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        """Search a site, page by page. Closing the generator stops the search at once.

        Each page has a cursor, after which the search resumes, or is marked as the last page. A saved page is not
        fetched again, even if this worker dies. A search cannot resume after a page without a cursor: it then starts
        again with the first page.

        Raises:
            SiteError: The site failed. The pages before the error are valid.
        """
        ...

    @abstractmethod
    def records(self, site: str, page: Page) -> Sequence[Json]:
        """Return the records of a page, each of which `parse` reads.

        Pure, as `parse` is: the result depends on the page alone.

        Raises:
            InvalidItemError: The page does not have the form of this site's pages.
        """
        ...

    @abstractmethod
    def parse(self, site: str, record: Json) -> Item:
        """Convert a record to an item, with the site's own values; `worker.pipeline` normalises them.

        Raises:
            InvalidItemError: The record is not a valid item. The error names the field.
        """
        ...

    def records_in(self, site: str, content: Json, board: str | None = None) -> Sequence[Json]:
        """Return the records of content that `fetch` has not fetched, such as a file.

        Args:
            site: The site that the content comes from.
            content: An answer of the site, the payload of a page, one record, or a list of these.
            board: The board that an answer belongs to, for sources whose sites host boards.

        Raises:
            UnknownBoardError: The source needs the board, and neither `board` nor the content names it.
        """
        try:
            return self.records(site, Page(1, content, 0))
        except Exception:  # noqa: BLE001 (an added source may fail in its own way on what is not its page)
            parts = content if isinstance(content, list) else None
        if parts is None:
            return [content]
        return [record for part in parts for record in self.records_in(site, part, board)]


def usable_exits(exits: Sequence[Exit], source: Source, site: str) -> tuple[Exit, ...]:
    """Return the exits through which a source may search a site; at least one.

    Raises:
        SettingsError: There is none, or the HTTP client of the source cannot use one of them.
    """
    usable = exits_of(exits, site)
    if not usable:
        raise SettingsError(f"exits: {site} has none; let one of {', '.join(each.name for each in exits)} search it")
    for each in usable:
        if each.address is not None and (problem := problem_of_support(each.address, source.socks)):
            raise SettingsError(f"exits: {each.name} cannot be used for {site}: it {problem}; see not_sites")
    return usable


def counts_by_exit(source: Source) -> bool:
    """Return whether the sites of a source know a worker by its address, and not by a key or an account."""
    return not source.credentials and not source.needs_account


def limits_of(source: Source, site: str) -> dict[str, SiteLimits]:
    """Return the limits of one site of a source, by bucket."""
    return {bucket: limits for bucket, limits in source.limits.items() if bucket.partition(":")[0] == site}
