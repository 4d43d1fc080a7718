"""Sources: the code that searches one or more sites. A source knows no database."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Protocol

from worker.model import Item, Json, Page, Parameters


class Source(Protocol):
    """Searches one or more sites of one kind.

    Attributes:
        name: The source's name, as kept with each raw page.
        kind: What it searches for, as in `search_runs.kind`.
        sites: The sites that it can search.
        version: Counted up when `records` or `parse` read a page in another way, from 1. Kept with each page.
    """

    name: str
    kind: str
    sites: Sequence[str]
    version: int

    def validate(self, site: str, parameters: Parameters) -> None:
        """Check a run's parameters against what `site` can do, before anything is fetched.

        Raises:
            SiteError: `invalid_parameters`, with the field and what is allowed.
        """
        ...

    def fetch(self, site: str, parameters: Parameters, newer_than: datetime | None) -> AsyncGenerator[Page, None]:
        """Search `site`, page by page. Closing the generator stops the search at once.

        Args:
            site: The site.
            parameters: What to search for.
            newer_than: Ask only for what was published since, as far as the site can; None: for everything.

        Raises:
            SiteError: The site failed. Pages that came before it are good.
        """
        ...

    def records(self, site: str, page: Page) -> Sequence[Json]:
        """Return the records of a page, each of which `parse` reads.

        Pure, as `parse` is: what they make of a page depends on nothing else.

        Raises:
            InvalidItemError: The page is not what this source takes for one of the site's.
        """
        ...

    def parse(self, site: str, record: Json) -> Item:
        """Turn a record into an item, in the site's own words: `worker.pipeline` brings them to one form.

        Raises:
            InvalidItemError: The record is no item; with the field that is wrong.
        """
        ...
