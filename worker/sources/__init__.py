"""Sources: the code that searches one or more sites. A source knows no database."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from worker.model import Item, Page, Parameters


class Source(Protocol):
    """Searches one or more sites of one kind.

    Attributes:
        name: The source's name, as kept with each raw page.
        kind: What it searches for, as in `search_runs.kind`.
        sites: The sites that it can search.
    """

    name: str
    kind: str
    sites: Sequence[str]

    def validate(self, site: str, parameters: Parameters) -> None:
        """Check a run's parameters against what `site` can do, before anything is fetched.

        Raises:
            SiteError: `invalid_parameters`, with the field and what is allowed.
        """
        ...

    def fetch(self, site: str, parameters: Parameters) -> AsyncGenerator[Page, None]:
        """Search `site`, page by page. Closing the generator stops the search at once.

        Raises:
            SiteError: The site failed. Pages that came before it are good.
        """
        ...

    def parse(self, site: str, page: Page) -> list[Item]:
        """Turn a page into items. Pure: the same page always gives the same items."""
        ...
