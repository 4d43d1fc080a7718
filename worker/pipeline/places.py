"""Reads the places of a job, and finds them in the gazetteer."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from worker.model import Place
from worker.pipeline.gazetteer import City, distance_km, is_in, key, meanings, region_label
from worker.pipeline.location_reading import Reading, area_of, named_region, read
from worker.pipeline.text import clean_line

MAX_PLACES = 100
"""Most places of a text, and of a job."""

_NOWHERE = Place()

_LARGER_IN_COUNTRY = 5
_LARGER_IN_WORLD = 10
"""How many times as many inhabitants as its namesakes a city needs, to be the one that a name alone means."""

_SAME_TOWN_KM = 30
"""Cities of the same name that are so close are parts of one: Delhi and New Delhi."""

_KM_PER_MILE = 1.609344


def find_place(text: str | None, near: str | None = None, country: str | None = None) -> Place:
    """Return the city, region and country that a location names, such as `Houston, TX, US` or `Remote - Germany`.

    Only what is certain is returned: the city as it is written; its region, if the text names it or the city is a
    region of its own; its country, if the text, the site or the record names it. `Paris` is a city in an unknown
    country. For several places, the result has only the parts that they share.

    Args:
        text: The location as the site writes it.
        near: ISO 3166-1 alpha-2 code of the site's own country. It decides whether `Berlin, DE` is in Germany or in
            Delaware, and is the country of a city without one.
        country: ISO 3166-1 alpha-2 code of the country that the record names. It decides all else.
    """
    return _place(clean_line(text), near, country)


def find_places(text: str | None, near: str | None = None, country: str | None = None) -> tuple[Place, ...]:
    """Return the places that a location names, in their order, completed by the gazetteer.

    A city has its region, country and coordinates if it is certain which city is meant. Areas such as `Europe` are no
    places: see `find_area`. The arguments are those of `find_place`. At most `MAX_PLACES` places are read.
    """
    return _places(clean_line(text), near, country)


def find_area(text: str | None) -> frozenset[str]:
    """Return the ISO 3166-1 alpha-2 codes of all countries of the areas that a text names, such as `Europe`."""
    line = clean_line(text)
    return area_of(line) if line else frozenset()


def complete(place: Place, near: str | None = None) -> Place:
    """Return a place with region, country and coordinates from the gazetteer, where it is certain which city it is."""
    if place.latitude is not None or place.city is None:
        return place
    region = named_region(place.region, place.country)
    reading = Reading(place.city, place.country, region, None if region else place.region)
    return _completed(reading, near)


def shared_place(places: Iterable[Place]) -> Place:
    """Return what places share: nothing if their countries differ."""
    all_places = list(dict.fromkeys(places))
    if len(all_places) <= 1:
        return all_places[0] if all_places else _NOWHERE
    countries = {place.country for place in all_places}
    if len(countries) > 1:
        return _NOWHERE
    regions = {place.region for place in all_places}
    return Place(region=regions.pop() if len(regions) == 1 else None, country=countries.pop())


def country_code(text: str | None) -> str | None:
    """Return the ISO 3166-1 alpha-2 code for a country's code or name, or None if it is unknown."""
    line = clean_line(text)
    if line is None:
        return None
    found = meanings(line)
    return next(iter(found.coded_countries or found.countries), None)


def region_name(text: str | None, country: str | None) -> str | None:
    """Return a region in the form of `Place.region`. Unknown regions are returned as they are."""
    line = clean_line(text)
    region = named_region(line, country) if line else None
    return region_label(region) if region else line


def city_key(place: Place) -> str | None:
    """Return a text that is equal for two places if they are the same city: `Munich` and `München`.

    None: the place has no city. Without a country or region that shows which city is meant, only equal names are equal.
    """
    if place.city is None or not key(place.city):
        return None
    region = named_region(place.region, place.country)
    if city := _city_of(place.city, region, place.country):
        return f"{key(city.name)}, {city.region or city.country}"
    return ", ".join(filter(None, [key(place.city), region or key(place.region or ""), place.country]))


def distance_miles(a: Place, b: Place) -> float | None:
    """Return the distance of two places in miles, as the crow flies; None if a place has no coordinates."""
    if a.latitude is None or a.longitude is None or b.latitude is None or b.longitude is None:
        return None
    return distance_km((a.latitude, a.longitude), (b.latitude, b.longitude)) / _KM_PER_MILE


# Readings ------------------------------------------------------------------------------------------------------------


# Their keys are clean lines, which are short: what a site sends may be as long as it likes.


@lru_cache(4096)
def _place(line: str | None, near: str | None, country: str | None) -> Place:
    return shared_place(_certain(reading) for reading in _readings(line, near, country))


@lru_cache(4096)
def _places(line: str | None, near: str | None, country: str | None) -> tuple[Place, ...]:
    return tuple(dict.fromkeys(_completed(reading, near) for reading in _readings(line, near, country)))


@lru_cache(4096)
def _readings(line: str | None, near: str | None, country: str | None) -> tuple[Reading, ...]:
    readings = read(line, near, country)[:MAX_PLACES] if line else ()
    found = {_same_city(reading, near): reading for reading in reversed(readings)}
    return tuple(reversed(found.values()))


def _same_city(reading: Reading, near: str | None) -> City | Reading:
    """Return what is equal for `Bangalore` and `Bengaluru`."""
    city = _city_of(reading.city, reading.region, reading.country, near) if reading.city else None
    return city or reading


def _certain(reading: Reading) -> Place:
    region = reading.region
    if region is None and reading.country and reading.city:
        city = _city_of(reading.city, None, reading.country)
        region = city.region if city and city.is_region else None
    return Place(reading.city, region_label(region) if region else reading.region_text, reading.country)


@lru_cache(4096)
def _completed(reading: Reading, near: str | None) -> Place:
    city = _city_of(reading.city, reading.region, reading.country, near) if reading.city else None
    if city is None:
        return Place(
            reading.city, region_label(reading.region) if reading.region else reading.region_text, reading.country
        )
    region = reading.region or named_region(reading.region_text, city.country)
    if region is None and reading.region_text is None:
        region = city.region
    label = region_label(region) if region else reading.region_text
    return Place(reading.city, label, city.country, city.latitude, city.longitude)


def _city_of(name: str, region: str | None, country: str | None, near: str | None = None) -> City | None:
    """Return the city that a name means; None if that is not certain."""
    found = meanings(name)
    if country is None and near is not None and any(city.country == near for city in found.cities):
        country = near
    cities = [
        (city, weight)
        for city, weight in zip(found.cities, found.weights, strict=True)
        if (region is None or is_in(city, region)) and (country is None or city.country == country)
    ]
    if not cities:
        return None
    first, weight = cities[0]
    rivals = [other for city, other in cities if distance_km(first.position, city.position) > _SAME_TOWN_KM]
    factor = _LARGER_IN_WORLD if country is None else _LARGER_IN_COUNTRY
    return first if region is not None or weight >= factor * max(rivals, default=0.0) else None
