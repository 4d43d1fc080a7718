"""Sources: the code that searches one or more sites. A source knows no database."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

from worker.http import SiteHttp
from worker.http.permits import Permits
from worker.model import Item, Json, Page, Parameters, Progress, SiteLimits
from worker.settings import EnvironmentSettings
from worker.sources.parameters import SearchParameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One search of one site, as a source gets it.

    Attributes:
        site: The site.
        parameters: The run's parameters, as the database stores them; `Source.parameters` reads them.
        newer_than: Ask only for what was published since, as far as the site can; None: for everything.
        cursor: That of the last page that was saved, to go on after it; None: begin with the first page.
        next_page: Number of the first page to yield; above 1 where the search goes on.
        account: The user's or workspace's account at the site, where the source searches through one.
        http: Requests to the site, each with its permit.
        permits: The right to ask the site, for what does not go through `http`.
        report: Tells how far the search is, between its pages; as often as it likes.
        timeout_seconds: Time for one page, after which the search is stopped: for what a source starts that would not
            stop by itself.
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


class Source(Protocol):
    """Searches one or more sites of one kind. A class that derives from it has the defaults below.

    The class can be called without arguments. A source with settings reads them from the environment then; it accepts
    an instance of its settings class as an argument instead.

    Attributes:
        name: The source's name, as kept with each raw page.
        kind: What it searches for, as in `search_runs.kind`.
        sites: The sites that it can search.
        version: Counted up when `records` or `parse` read a page in another way, from 1. Kept with each page.
        parameters: The parameters that it reads. What others of its kind read is ignored.
        settings: The class of its settings; None: it has none.
        limits: What its sites allow, over all workers, by bucket: the site's name, or `SITE:NAME` for what the site
            counts apart. A site without limits is asked as often as its searches need.
        credentials: Environment variables with the credentials that it needs, and whether each one is there.
        needs_account: Whether it searches through an account of the user's.
        ends_without_news: Whether a search for what is newer ends with the first page that brings nothing new. Not
            right where later pages may have news all the same, as those of another company.
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

        Each page carries the cursor to go on after it, or is marked as the last one: once it is saved, it is not
        fetched again, whatever becomes of this worker. A page without a cursor cannot be gone on after: the search
        then begins anew.

        Raises:
            SiteError: The site failed. Pages that came before it are good.
        """
        ...

    @abstractmethod
    def records(self, site: str, page: Page) -> Sequence[Json]:
        """Return the records of a page, each of which `parse` reads.

        Pure, as `parse` is: what they make of a page depends on nothing else.

        Raises:
            InvalidItemError: The page is not what this source takes for one of the site's.
        """
        ...

    @abstractmethod
    def parse(self, site: str, record: Json) -> Item:
        """Turn a record into an item, in the site's own words: `worker.pipeline` brings them to one form.

        Raises:
            InvalidItemError: The record is no item; with the field that is wrong.
        """
        ...


def limits_of(source: Source, site: str) -> dict[str, SiteLimits]:
    """Return the limits of one site of a source, by bucket."""
    return {bucket: limits for bucket, limits in source.limits.items() if bucket.partition(":")[0] == site}
