"""A source for the sharing benchmark: it returns realistic pages at once, and counts its searches."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta

from worker.model import Item, Json, Page
from worker.sources import Search, Source
from worker.sources.parameters import SearchParameters

SITES = ("linkedin", "indeed")
PAGES = 2
ITEMS = 20
"""Items on a page. Two pages have the 40 results that each run wants of each site."""

_NEWEST = datetime(2026, 11, 22, tzinfo=UTC)
_WORDS = (
    "team", "product", "data", "customers", "design", "build", "support", "deliver", "quality", "safety", "patients",
    "systems", "cloud", "platform", "reports", "planning", "budget", "training", "clients", "hours", "benefits",
    "experience", "years", "degree", "skills", "python", "sql", "excel", "communication", "growth", "remote", "office",
)  # fmt: skip
_CITIES = ("Austin, TX", "Berlin, Germany", "London, UK", "Toronto, ON", "Remote")


class CountingSource(Source):
    """Finds the same items for equal searches, independent of the user and the notation.

    Attributes:
        scrapes: Number of site searches so far.
    """

    name = "bench"
    kind = "jobs"
    sites: Sequence[str] = SITES
    parameters = SearchParameters

    def __init__(self) -> None:
        self.scrapes = 0

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        """Yield the pages of a site."""
        self.scrapes += 1
        term = " ".join(str(search.parameters["search_term"]).lower().split())
        for number in range(1, PAGES + 1):
            records: list[Json] = [_record(f"{term} {search.site} {number} {place}", term) for place in range(ITEMS)]
            yield Page(number, {"jobs": records}, response_ms=0)

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002 (the protocol's)
        """Return the jobs of a page."""
        assert isinstance(page.payload, dict)
        jobs = page.payload["jobs"]
        assert isinstance(jobs, list)
        return jobs

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002 (the protocol's)
        """Turn a job into an item."""
        assert isinstance(record, dict)
        job = {name: str(value) for name, value in record.items()}
        return Item(
            external_id=job["id"],
            title=job["title"],
            url=job["url"],
            organization=job["company"],
            location=job["location"],
            posted_at=job["posted_at"],
            description=job["description"],
        )


def _record(seed: str, term: str) -> dict[str, Json]:
    chance = random.Random(seed)  # noqa: S311 (repeatable, not secret)
    number = f"{chance.getrandbits(48):012x}"
    paragraphs = (" ".join(chance.choices(_WORDS, k=90)) for _ in range(4))
    return {
        "id": number,
        "title": f"{term.title()} {chance.choice(('I', 'II', 'III', 'Lead', 'Senior'))} {number[:4]}",
        "company": f"Company {chance.randrange(2000)}",
        "location": chance.choice(_CITIES),
        "posted_at": (_NEWEST - timedelta(minutes=chance.randrange(20_000))).isoformat(),
        "url": f"https://jobs.example.com/{number}?utm_source=feed",
        "description": "".join(f"<p>{text}</p>" for text in paragraphs),
    }
