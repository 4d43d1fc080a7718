"""The search of the played boards: words, places, filters and order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.local.boards.synthetic.jobs import JobType, Listing, Workplace, words
from worker.local.boards.synthetic.places import is_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search. A field with its default does not filter.

    Attributes:
        term: Words that all occur in the title, the company, the skills or the description.
        location: `City`, `City, Region`, `Region`, `Country` and so on, or `Remote`. Distances are ignored.
        countries: ISO codes of the countries whose jobs the board shows.
        max_age: Maximum age of a listing.
        newest_first: Order by date only. Otherwise, listings with more of the words in their title come first.
    """

    term: str = ""
    location: str = ""
    countries: frozenset[str] | None = None
    max_age: timedelta | None = None
    job_types: frozenset[JobType] | None = None
    workplaces: frozenset[Workplace] | None = None
    easy_apply: bool = False
    company_numbers: frozenset[int] | None = None
    newest_first: bool = False

    def run(self, listings: Sequence[Listing], now: datetime) -> list[Listing]:
        """Return the listings that match, best first."""
        wanted = words(self.term)
        found = [listing for listing in listings if wanted <= listing.words and self._admits(listing, now)]
        found.sort(
            key=lambda listing: (
                0 if self.newest_first else -len(wanted & listing.title_words),
                now - listing.posted,
                listing.id,
            )
        )
        return found

    def _admits(self, listing: Listing, now: datetime) -> bool:
        vacancy = listing.vacancy
        return (
            (self.countries is None or vacancy.country.code in self.countries)
            and (self.max_age is None or now - listing.posted <= self.max_age)
            and (self.job_types is None or vacancy.job_type in self.job_types)
            and (self.workplaces is None or vacancy.workplace in self.workplaces)
            and (not self.easy_apply or vacancy.easy_apply)
            and (self.company_numbers is None or self._is_of_company(listing))
            and self._is_near(listing)
        )

    def _is_of_company(self, listing: Listing) -> bool:
        company = listing.vacancy.company
        return company is not None and company.number in (self.company_numbers or ())

    def _is_near(self, listing: Listing) -> bool:
        asked = self.location.strip().casefold()
        if not asked:
            return True
        if asked == "remote":
            return listing.vacancy.workplace is Workplace.REMOTE
        return listing.place is not None and is_in(listing.place, self.location)
