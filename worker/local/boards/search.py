"""What all played boards share in searching: words, places, filters and order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.local.boards.listings import JobType, Listing, Workplace, words
from worker.local.boards.vocabulary import CITIES, REGIONS, WHOLE_COUNTRIES, Place

PLACES = (*CITIES, *REGIONS, *WHOLE_COUNTRIES.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a board was asked for. A field left alone filters nothing.

    Attributes:
        term: Every word of it occurs in the title, the company, the skills or the description.
        location: `City`, `City, Region`, `Region`, `Country` and so on, or `Remote`. Distances are not played.
        countries: ISO codes of the countries whose jobs the board shows.
        max_age: How long ago a listing may have been posted.
        newest_first: Order by date alone; else listings whose title has the words come first.
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


def is_in(place: Place, location: str) -> bool:
    """Tell whether every comma-separated part of `location` names the place's city, region or country."""
    own = (place.city, *place.spellings)
    return all(part in _folded(*own, *_around(place)) for part in _parts(location))


def find_places(location: str) -> list[Place]:
    """Return the cities, then the regions, then the countries that a location may mean."""
    first, *rest = _parts(location) or [""]

    def is_meant(place: Place) -> bool:
        country = (place.country.name, *place.country.aliases)
        region = (place.region, place.region_code)
        own = (place.city, *place.spellings) if place.city else region if place.region else country
        return first in _folded(*own) and all(part in _folded(*_around(place)) for part in rest)

    return [place for place in PLACES if is_meant(place)]


def _parts(location: str) -> list[str]:
    return [part.strip().casefold() for part in location.split(",") if part.strip()]


def _around(place: Place) -> tuple[str | None, ...]:
    return (place.region, place.region_code, place.country.name, *place.country.aliases)


def _folded(*names: str | None) -> frozenset[str]:
    return frozenset(name.casefold() for name in names if name)
