"""Where a job is, in a form that is equal however a board writes it."""

from __future__ import annotations

from typing import NamedTuple

from worker.model import Item, Place
from worker.pipeline.folding import folded_words
from worker.pipeline.gazetteer import meanings
from worker.pipeline.places import city_key

_REMOTE = frozenset({
    "remote", "remotely", "anywhere", "worldwide", "home", "office", "work", "from", "hybrid",
})  # fmt: skip

AMBIGUOUS = "?"
"""The region of a city that may be one of several."""


class PlaceKey(NamedTuple):
    """Where a job is.

    Attributes:
        cities: Its cities, each under one name; else that it is remote; else the words of a location that no gazetteer
            has.
        region: ISO 3166-2 code, if it is certain and the same for all cities. `AMBIGUOUS` if the country has several
            cities of that name.
        country: ISO 3166-1 alpha-2 code, if it is certain and the same for all cities.
    """

    cities: tuple[str, ...]
    region: str | None = None
    country: str | None = None

    def __str__(self) -> str:
        return f"{'; '.join(self.cities)}|{self.region or ''}|{self.country or ''}"

    def agrees_with(self, other: PlaceKey) -> bool:
        """Return whether the two have a city in common, and neither another region nor another country."""
        regions = {self.region, other.region} - {None, AMBIGUOUS}
        countries = {self.country, other.country} - {None}
        return not set(self.cities).isdisjoint(other.cities) and len(regions) <= 1 and len(countries) <= 1


def place_key(item: Item) -> PlaceKey | None:
    """Return where a job is.

    Args:
        item: A job, preferably normalized.

    Returns:
        None if that is unknown, or only a region or a country: equal titles within one state are rarely the same job.
    """
    places = item.places or (Place(item.city, item.region, item.country),)
    if cities := [key for place in places if (key := _city(place))]:
        names, regions, countries = (sorted({part or "" for part in parts}) for parts in zip(*cities, strict=True))
        return PlaceKey(tuple(names), _only(regions), _only(countries))
    words = folded_words(item.location)
    if item.work_mode == "remote" or item.is_remote:
        kept = [] if item.country else sorted(set(words) - _REMOTE)
        return PlaceKey((" ".join(["remote", *kept]),), None, item.country)
    return None if item.region or item.country or not words else PlaceKey((" ".join(words),))


def _city(place: Place) -> tuple[str, str | None, str | None] | None:
    """Return the name, region and country of a city."""
    name, *rest = (city_key(place) or "").split(", ")
    # The name of a region that the gazetteer does not have may be that of a part of the region or of a larger one.
    codes = [part for part in rest if part.isupper()]
    country = next((code.partition("-")[0] for code in codes), None)
    region = next((code for code in codes if "-" in code), None)
    if region is None and place.city and sum(city.country == country for city in meanings(place.city).cities) > 1:
        region = AMBIGUOUS
    return (name, region, country) if name else None


def _only(values: list[str]) -> str | None:
    return values[0] or None if len(values) == 1 else None
