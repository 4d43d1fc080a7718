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

GUESSED = "?"
"""Ends a region or a country that no text names: that of the largest city of the name. Alone, it is any of several."""


class PlaceKey(NamedTuple):
    """Where a job is.

    Attributes:
        cities: Its cities, each under one name; else that it is remote; else the words of a location that no gazetteer
            has.
        region: ISO 3166-2 code, if it is known and the same for all cities; see `GUESSED`.
        country: ISO 3166-1 alpha-2 code, if it is known and the same for all cities; see `GUESSED`.
    """

    cities: tuple[str, ...]
    region: str | None = None
    country: str | None = None

    def __str__(self) -> str:
        return f"{'; '.join(self.cities)}|{self.region or ''}|{self.country or ''}"

    @classmethod
    def read(cls, key: str) -> PlaceKey:
        """Return the place of a key; the inverse of `str`."""
        cities, region, country = key.rsplit("|", 2)
        return cls(tuple(cities.split("; ")), region or None, country or None)

    def agrees_with(self, other: PlaceKey) -> bool:
        """Return whether the two have a city in common, and neither another region nor another country."""
        known = ((self.region, other.region), (self.country, other.country))
        return not set(self.cities).isdisjoint(other.cities) and all(
            a == b or GUESSED in a + b for a, b in known if a and b
        )


def place_key(item: Item) -> PlaceKey | None:
    """Return where a job is.

    Args:
        item: A job, preferably normalized.

    Returns:
        None if that is unknown, or only a region or a country: equal titles within one state are rarely the same job.
    """
    places = item.places or (Place(item.city, item.region, item.country),)
    if len(places) == 1 and (city := _city(places[0])):
        return _with_guesses(item, places[0], *city)
    if cities := [city for place in places if (city := _city(place))]:
        names, regions, countries = (sorted({part or "" for part in parts}) for parts in zip(*cities, strict=True))
        return PlaceKey(tuple(names), _only(regions), _only(countries))
    words = folded_words(item.location)
    if item.work_mode == "remote" or item.is_remote:
        country = "".join(folded_words(item.country)).upper() or None
        kept = [] if country else sorted(set(words) - _REMOTE)
        return PlaceKey((" ".join(["remote", *kept]),), None, country)
    return None if item.region or item.country or not words else PlaceKey((" ".join(words),))


def _city(place: Place) -> tuple[str, str | None, str | None] | None:
    """Return the name, region and country of a city."""
    if not folded_words(place.city):
        return None
    name, *rest = (city_key(place) or "").split(", ")
    # The name of a region that the gazetteer does not have may be that of a part of the region or of a larger one.
    codes = [part for part in rest if part.isupper()]
    region = next((code for code in codes if "-" in code), None)
    country = next((code.partition("-")[0] for code in codes), None)
    return (name, region, country) if name else None


def _with_guesses(item: Item, place: Place, name: str, region: str | None, country: str | None) -> PlaceKey:
    """Return a city whose region and country are marked as guessed unless the item names them."""
    if item.region is None:
        namesakes = sum(city.country == country for city in meanings(place.city or "").cities)
        region = f"{region}{GUESSED}" if region else GUESSED if namesakes > 1 else None
    return PlaceKey((name,), region, f"{country}{GUESSED}" if country and item.country is None else country)


def _only(values: list[str]) -> str | None:
    return values[0] or None if len(values) == 1 else None
