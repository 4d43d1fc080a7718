"""A source for the dedupe benchmark, which returns prepared sightings."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict
from typing import Any

from scripts.bench.dedupe_variants import Sighting
from worker.model import Item, Json, Page
from worker.sources import Search, Source
from worker.sources.parameters import SearchParameters

PAGE_ITEMS = 100


class SightingSource(Source):
    """Finds all sightings of a site, for any search.

    Args:
        sightings: Sightings of all sites.
    """

    name = "bench"
    kind = "jobs"
    parameters = SearchParameters

    def __init__(self, sightings: Sequence[Sighting]) -> None:
        self.sites: Sequence[str] = sorted({sighting.site for sighting in sightings})
        self._sightings = sightings

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        """Yield the pages of a site."""
        found: list[Json] = [_record(sighting.item) for sighting in self._sightings if sighting.site == search.site]
        for number, start in enumerate(range(0, len(found), PAGE_ITEMS), start=1):
            yield Page(number, found[start : start + PAGE_ITEMS], response_ms=0)

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002 (the protocol's)
        """Return the jobs of a page."""
        assert isinstance(page.payload, list)
        return page.payload

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002 (the protocol's)
        """Turn a job into an item."""
        assert isinstance(record, dict)
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
        }
        return Item(**fields)


def _record(item: Item) -> dict[str, Json]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(item).items()}
