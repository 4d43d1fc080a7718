"""A source whose pages are lists of ids, for tests of the worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path

from worker.model import Item, Json, Page, Progress
from worker.sources import Search, Source
from worker.sources.parameters import SearchParameters


class Listings(Source):
    """Finds on each site as many pages of things, whose ids begin with the search term. It goes on at any page.

    Args:
        kind: The kind of runs.
        sites: Its sites.
        log: Where to write a line for each page that is fetched, for other processes to see.
        pages: Pages of each site.
        records: Things on each page.

    Attributes:
        before_page: Called before each page with the search and the page's number.
        searches: The searches, in their order.
        closed: The sites whose search was ended, in that order.
    """

    name = "listings"
    parameters = SearchParameters

    def __init__(self, kind: str, sites: Sequence[str], log: Path, *, pages: int = 3, records: int = 4) -> None:
        self.kind = kind
        self.sites = sites
        self.pages = pages
        self.log = log
        self.before_page: Callable[[Search, int], Awaitable[None]] | None = None
        self.searches: list[Search] = []
        self.closed: list[str] = []
        self.records_a_page = records

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        self.searches.append(search)
        try:
            assert search.cursor == (None if search.next_page == 1 else {"after": search.next_page - 1})
            for number in range(search.next_page, self.pages + 1):
                if self.before_page is not None:
                    await self.before_page(search, number)
                with self.log.open("a") as log:
                    log.write(f"{search.site} {number}\n")
                await search.report(
                    Progress("searching", number * self.records_a_page, self.pages * self.records_a_page)
                )
                ids = self.ids(search.parameters["search_term"], search.site, number)
                yield Page(number, [*ids], 5, cursor={"after": number}, is_last=number == self.pages)
        finally:
            self.closed.append(search.site)

    def ids(self, term: str, site: str, page: int) -> list[str]:
        """The ids on a page."""
        return [f"{term}-{site}-{page}-{record}" for record in range(self.records_a_page)]

    def all_ids(self, term: str, *sites: str) -> list[str]:
        """All ids that a search of some sites finds, sorted."""
        pages = range(1, self.pages + 1)
        return sorted(found for site in sites for page in pages for found in self.ids(term, site, page))

    @property
    def fetched(self) -> list[tuple[str, int]]:
        """The pages that were fetched, also by other processes: (site, number)."""
        lines = (line.split() for line in self.log.read_text().splitlines()) if self.log.exists() else ()
        return [(site, int(number)) for site, number in lines]

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002
        assert isinstance(page.payload, list)
        return page.payload

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002
        return Item(str(record), f"Engineer {record}", f"https://example.com/{record}", organization=f"Of {record}")
