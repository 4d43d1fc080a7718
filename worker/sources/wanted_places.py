"""Decides whether a job is where a search looks for jobs."""

from __future__ import annotations

from dataclasses import replace

from worker.model import Item, Place
from worker.pipeline.gazetteer import key, region_parent
from worker.pipeline.item_places import item_places
from worker.pipeline.location_reading import named_region
from worker.pipeline.places import city_key, country_code, distance_miles, find_area, find_places
from worker.pipeline.urls import clean_url


class WantedPlaces:
    """The places or the area that a search names.

    Args:
        location: Cities, regions, countries or an area, as a user writes them.
        country: Name or ISO 3166-1 alpha-2 code of a country. A country in `location` comes before it.
        distance: Radius in miles around the cities of `location`; None: only these cities.
    """

    def __init__(self, location: str | None, country: str | None, distance: int | None) -> None:
        code = country_code(country)
        places = [replace(place, country=place.country or code) for place in find_places(location, code)]
        self._area = find_area(location) if not places else frozenset()
        if code and not (places or self._area):
            places = [Place(country=code)]
        self._places = places
        self._distance = distance

    def __bool__(self) -> bool:
        return bool(self._places or self._area)

    def include(self, item: Item) -> bool | None:
        """Return whether a job is there: if one of its places is, or an area in which it may be done.

        None: its place is unknown or not specific enough, or the search names no place.

        Args:
            item: The job as `Source.parse` returns it.
        """
        if not self:
            return None
        _, places = item_places(item, clean_url(item.url) or "")
        area = find_area(item.location)
        answers = [self._include_place(place) for place in places]
        if area:
            answers.append(self._include_area(area))
        if True in answers:
            return True
        return False if answers and None not in answers else None

    def _include_place(self, place: Place) -> bool | None:
        if self._area:
            return None if place.country is None else place.country in self._area
        answers = {_is_within(place, wanted, self._distance) for wanted in self._places}
        return True if True in answers else None if None in answers else False

    def _include_area(self, area: frozenset[str]) -> bool | None:
        if self._area:
            return not area.isdisjoint(self._area)
        countries = {wanted.country for wanted in self._places}
        if None in countries:
            return None
        if area.isdisjoint(countries):
            return False
        return True if any(wanted.city is None and wanted.region is None for wanted in self._places) else None


def _is_within(place: Place, wanted: Place, distance: int | None) -> bool | None:
    """Return whether a place is the wanted one or lies within it; None if it is not specific enough."""
    if distance is not None and wanted.latitude is not None:
        return _is_near(place, wanted, distance)
    if place.country and wanted.country and place.country != wanted.country:
        return False
    in_region = _is_in_region(place, wanted) if wanted.region else None
    if in_region is False:
        return False
    if wanted.city:
        return _is_same_city(place, wanted) if place.city else None
    if wanted.region:
        return in_region
    return True if place.country else None


def _is_near(place: Place, wanted: Place, distance: int) -> bool | None:
    """Return whether a place is within a distance; None if it has no coordinates, and may be."""
    miles = distance_miles(place, wanted)
    if miles is not None:
        return miles <= distance
    if place.country and place.country != wanted.country:
        return False
    return True if place.city and _is_same_city(place, wanted) else None


def _is_in_region(place: Place, wanted: Place) -> bool | None:
    if place.region is None:
        return None
    of_place = named_region(place.region, place.country or wanted.country)
    of_wanted = named_region(wanted.region, wanted.country or place.country)
    if of_place is None or of_wanted is None:
        return key(place.region) == key(wanted.region or "") or None
    if of_wanted in (of_place, region_parent(of_place)):
        return True
    # Of a city in England, the gazetteer does not know the county.
    return None if of_place == region_parent(of_wanted) else False


def _is_same_city(place: Place, wanted: Place) -> bool:
    if city_key(place) == city_key(wanted):
        return True
    name, wanted_name = key(place.city or ""), key(wanted.city or "")
    return name == wanted_name or name.startswith(f"{wanted_name} ") or wanted_name.startswith(f"{name} ")
