"""Reads the text of a location as a list of places.

A text is split into parts at its separators. The parts are then grouped into places: `Austin, TX, Berlin, Germany` are
two. A group is written from the city to the country (`Austin, TX, US`) or in the other direction (`US-TX-Austin`). Of
all ways to group the parts, the one with the highest score wins. Cities that the gazetteer has in the named region or
country count most.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from worker.pipeline.gazetteer import City, Meanings, distance_km, is_in, key, meanings, region_label, region_parent
from worker.pipeline.location_parts import is_code, is_known, lookup, named_without_kind, parts_of
from worker.pipeline.location_words import COUNTY, DIRECTIONS, NO_CITY, NO_PLACES, TIME_ZONES


class Reading(NamedTuple):
    """A place in a text.

    Attributes:
        city: The city as it is written.
        country: ISO 3166-1 alpha-2 code.
        region: Id of the region.
        region_text: A region that is not in the gazetteer, as it is written.
    """

    city: str | None = None
    country: str | None = None
    region: str | None = None
    region_text: str | None = None


class _Group(NamedTuple):
    """Parts that are read as one place, and how likely that is."""

    score: float
    reading: Reading


class _Area(NamedTuple):
    """The region or country in which a city is looked for."""

    country: str | None = None
    region: str | None = None

    def has(self, city: City) -> bool:
        return self.country in (None, city.country) and (self.region is None or is_in(city, self.region))


_NOTHING_READ = Reading()
_MAX_GROUP = 5
_MAX_WORDS = 6

# Scores. Their order matters more than their size: what the gazetteer confirms counts most, and another group costs
# more than an unknown name.
_GROUP = -5.0
_REVERSED = -0.5
_COUNTRY, _COUNTRY_CODE, _CODE_OF_SITE = 4.0, 3.0, 8.0
_REGION, _REGION_CODE, _REGION_OF_SITE, _US_STATE_CODE, _REGION_IS_CITY = 3.0, 2.0, 2.0, 1.5, -10.0
_STATE_IN_COUNTRY = 1.5
_CITY_THERE, _CITY_PERHAPS_THERE, _CITY, _CITY_AFTER_NAME = 5.0, 3.0, 3.0, -2.0
_NAME, _NAME_OF_REGION, _CITY_ELSEWHERE, _LARGE_CITY_ELSEWHERE = 0.0, -1.0, -1.0, -5.0
_SAME, _UNKNOWN_CODE, _UNKNOWN, _PLACE_ELSEWHERE = 0.0, -0.5, -1.0, -6.0
_CERTAIN = _REGION_CODE + _CITY_THERE
"""Least score of a city that the gazetteer has in the named region or country, with nothing left over."""

_CITY_POPULATION, _LARGE_CITY_POPULATION, _METROPOLIS_POPULATION = 100_000, 300_000, 1_000_000
_MANY_TIMES = 20
_DISTRICT_KM = 15

_STATES_BY_CODE = frozenset({"US", "CA", "AU"})
"""Countries whose regions are written as codes everywhere, not only by sites of the country."""

_COUNTRIES_BEFORE_STATES = frozenset({"DE", "IN"})
"""Codes that mean the country if they stand alone. The other codes of US states mean the state."""

_COUNTIES_NOT_LISTED = frozenset({"GB"})
"""Countries whose addresses have counties that ISO 3166-2 does not list."""


def read(text: str, near: str | None, country: str | None) -> tuple[Reading, ...]:
    """Return the places of a text, in its order.

    Args:
        text: A clean line.
        near: Country of the site, if known.
        country: Country of the record, if known. A single place is never in another country.
    """
    found = [reading for parts in parts_of(text) for reading in _grouped(parts, country or near)]
    named = {reading.country for reading in found if reading.country}
    shared = country or (named.pop() if len(named) == 1 else None)
    places = tuple(dict.fromkeys(_with_country(reading, shared, near) for reading in found))
    if len(places) == 1 and country not in (None, places[0].country):
        return (Reading(places[0].city, country),)
    return places


def area_of(text: str) -> frozenset[str]:
    """Return the codes of all countries of the areas that a text names."""
    return frozenset().union(*(lookup(part).area for parts in parts_of(text) for part in parts))


def named_region(text: str | None, country: str | None) -> str | None:
    """Return the id of the region of a country with a name or a code."""
    if text is None or country is None:
        return None
    found = meanings(text)
    named = (*found.coded_regions, *found.regions, *named_without_kind(text).regions)
    regions = [region for region in named if _country_of(region) == country]
    # A province may have the name of the region around it.
    regions.sort(key=lambda region: (region_label(region) != text, region_parent(region) is not None))
    return next(iter(regions), None)


def _with_country(reading: Reading, shared: str | None, near: str | None) -> Reading:
    """Return a reading with the country that the rest of the text or the site names, if the city may be there."""
    if reading.country or not reading.city:
        return reading
    cities = meanings(reading.city).cities
    for home in filter(None, (shared, near)):
        is_there = any(city.country == home for city in cities)
        if is_there or not cities or cities[0].population < _LARGE_CITY_POPULATION:
            return reading._replace(country=home)
    return reading


def _country_of(region: str) -> str:
    return region.partition("-")[0]


# Groups ---------------------------------------------------------------------------------------------------------------


def _grouped(parts: tuple[str, ...], home: str | None) -> list[Reading]:
    """Return the places of parts, by the best way to group them.

    Args:
        parts: The names.
        home: Country of the record or the site, if known.
    """
    if 1 < len(parts) <= _MAX_GROUP:
        whole = _group(parts, home)
        if whole is not None and whole.score >= _CERTAIN:
            return [whole.reading]
    best: list[tuple[float, list[Reading]]] = [(0.0, [])]  # of the last part, of the last two parts ...
    for start in reversed(range(len(parts))):
        choices = []
        for end in range(start + 1, min(start + _MAX_GROUP, len(parts)) + 1):
            group = _group(parts[start:end], home)
            if group is not None:
                later_score, later = best[len(parts) - end]
                choices.append((group.score + _GROUP + later_score, [group.reading, *later]))
        best.append(max(choices, key=lambda choice: choice[0]) if choices else best[-1])
    return [reading for reading in best[-1][1] if reading != _NOTHING_READ]


def _group(parts: tuple[str, ...], home: str | None) -> _Group | None:
    """Return the best reading of parts as one place, in either direction; None: they are not one."""
    if len(parts) == 1:
        return _alone(parts[0], home)
    best = max(_ordered(parts, home), key=lambda group: group.score, default=None)
    if best is not None and best.score >= _CERTAIN:
        return best
    reversed_groups = [group._replace(score=group.score + _REVERSED) for group in _ordered(parts[::-1], home)]
    return max([*([best] if best else []), *reversed_groups], key=lambda group: group.score, default=None)


# One part -------------------------------------------------------------------------------------------------------------


def _alone(part: str, home: str | None) -> _Group:
    found = lookup(part)
    is_time_zone = part in TIME_ZONES and home not in found.coded_countries
    if is_time_zone or key(part) in NO_PLACES or key(part) in DIRECTIONS or _is_area(found):
        return _Group(_REGION, _NOTHING_READ)
    return _code_alone(found, home) or _name_alone(part, found, home)


def _is_area(found: Meanings) -> bool:
    """Return whether a name means an area, also if there is a town with the name, such as Eu in France."""
    return bool(found.area) and not any(city.population >= _CITY_POPULATION for city in found.cities)


def _code_alone(found: Meanings, home: str | None) -> _Group | None:
    country = next(iter(found.coded_countries), None)
    at_home = [region for region in found.coded_regions if _country_of(region) == home]
    if at_home and country != home:
        return _Group(_REGION_CODE, Reading(None, home, at_home[0]))
    states = [region for region in found.coded_regions if _country_of(region) in _STATES_BY_CODE]
    states.sort(key=lambda region: _country_of(region) != "US")
    if states and (country is None or country != home):
        is_before_country = _country_of(states[0]) == "US" and country not in _COUNTRIES_BEFORE_STATES
        if country is None or is_before_country:
            return _Group(_REGION_CODE, Reading(None, _country_of(states[0]), states[0]))
    return _Group(_COUNTRY_CODE, Reading(None, country)) if country else None


def _name_alone(part: str, found: Meanings, home: str | None) -> _Group:
    """Return the reading of a name: nothing if it has several meanings, none of them at home."""
    countries, regions, cities = _at_home(found, home)
    city = next(iter(cities), None)
    largest = [region for region in regions if region_parent(region) is None] or regions
    if countries:
        if any(_country_of(region) != countries[0] for region in largest):
            return _Group(_REGION, _NOTHING_READ)  # Georgia
        is_city = city is not None and city.is_country and city.country == countries[0]
        return _Group(_COUNTRY, Reading(part if is_city else None, countries[0]))
    if city and (not regions or _is_namesake(city, regions)):
        return _Group(_CITY, Reading(part))
    if regions:
        largest = [region for region in largest if _country_of(region) in _STATES_BY_CODE] or largest
        is_clear = len(largest) == 1  # unlike Punjab
        return _Group(_REGION, Reading(None, _country_of(largest[0]), largest[0]) if is_clear else _NOTHING_READ)
    # Company boards write anything here, and the gazetteer has all but villages.
    name = _city_name(part, _Area(home)) if home else None
    return _Group(_NAME, Reading(name) if name else _NOTHING_READ)


def _at_home(found: Meanings, home: str | None) -> tuple[Sequence[str], Sequence[str], Sequence[City]]:
    """Return the countries, regions and cities of a name: those at home, if there are any."""
    there = (
        [country for country in found.countries if country == home],
        [region for region in found.regions if _country_of(region) == home],
        [city for city in found.cities if city.country == home],
    )
    return there if any(there) else (found.countries, found.regions, found.cities)


def _is_namesake(city: City, regions: Sequence[str]) -> bool:
    """Return whether a name means a city rather than a region: a metropolis, or one that the region is named after.

    In countries of states, a state comes before its towns: Quebec.
    """
    if city.population >= _METROPOLIS_POPULATION:
        return True
    around = [region for region in regions if is_in(city, region)]
    if not around:
        # Washington; or Syracuse, a province within a region.
        is_state = any(region_parent(region) is None for region in regions)
        return city.population >= (_LARGE_CITY_POPULATION if is_state else _CITY_POPULATION)
    return city.country not in _STATES_BY_CODE and any(region in meanings(city.name).regions for region in around)


# Several parts, from the city to the country --------------------------------------------------------------------------


def _ordered(parts: tuple[str, ...], home: str | None) -> Iterator[_Group]:
    """Yield the readings of parts whose last one is a country, a region or a city."""
    found = lookup(parts[-1])
    points = {code: _COUNTRY_CODE + _CODE_OF_SITE * (code == home) for code in found.coded_countries}
    points |= {code: max(_COUNTRY + (code == home), points.get(code, 0.0)) for code in found.countries}
    for country, score in points.items():
        yield from _in_region(parts[:-1], country, score, home)
        yield from _with_city(parts[:-1], _Area(country), score)
    if len(parts) > 1:
        yield from _in_region(parts, None, 0.0, home)
        yield from _with_city(parts, _Area(), 0.0)


def _in_region(parts: tuple[str, ...], country: str | None, score: float, home: str | None) -> Iterator[_Group]:
    """Yield the readings of parts whose last one is a region, of a country if that is known."""
    *before, last = parts
    narrower = tuple(before)
    for region, points in _region_options(narrower, last, country, home):
        area = _Area(_country_of(region), region)
        if narrower:
            needed = _CITY_PERHAPS_THERE if points < _REGION_CODE else None
            for group in _with_city(narrower, area, score + points):
                if needed is None or group.score >= score + points + needed:
                    yield group
            if len(narrower) == 1 and (smaller := _smaller_region(narrower[0], region)):
                yield _Group(score + points + _REGION, Reading(None, area.country, smaller))
        elif country is not None:
            yield _Group(score + points, Reading(None, area.country, region))


def _region_options(
    before: tuple[str, ...], name: str, country: str | None, home: str | None
) -> Iterator[tuple[str, float]]:
    """Yield the regions that a name or code means, and their points."""
    found = lookup(name)
    is_repeated = any(key(part) == key(name) for part in before)
    # East is a region of Cameroon, and the area of a sales team.
    named = () if country is None and key(name) in DIRECTIONS else found.regions
    for region in named:
        if country in (None, _country_of(region)):
            is_city = bool(before) and not is_repeated and _is_rather_city(before[-1], found.cities, region)
            is_at_home = country is None and _country_of(region) == home
            # `Spring Valley, Washington, United States`: a village in the state.
            is_state = bool(before) and country in _STATES_BY_CODE
            points = _REGION + _REGION_OF_SITE * is_at_home + _STATE_IN_COUNTRY * is_state
            yield region, points + _REGION_IS_CITY * is_city
    regions_of_cities = {city.region for part in before for city in lookup(part).cities}
    for region in found.coded_regions:
        of_region = _country_of(region)
        if country == of_region:
            yield region, _REGION_CODE + _US_STATE_CODE * (country == "US")
        elif country is None and of_region in (home, *_STATES_BY_CODE):
            yield region, _REGION_CODE + _US_STATE_CODE * (of_region == "US") + _REGION_OF_SITE * (of_region == home)
        elif country is None and regions_of_cities & {region, region_parent(region)}:
            yield region, _REGION_CODE - 1  # only with such a city


def _is_rather_city(before: str, named: Sequence[City], region: str) -> bool:
    """Return whether a name after another one means a city rather than the region around it.

    That is so for Berlin, for Manchester in England, and for New York after Boston: there is one in New York, too, but
    the other one is far larger.

    Args:
        before: The name before it.
        named: Cities that the name may mean.
        region: Region that the name may mean.
    """
    within = [city for city in named if is_in(city, region)]
    if any(city.is_region or (region_parent(region) and city.population >= _CITY_POPULATION) for city in within):
        return True
    if not any(city.population >= _LARGE_CITY_POPULATION for city in within):
        return False
    cities = lookup(before).cities
    there = next((city.population for city in cities if is_in(city, region)), None)
    return there is not None and cities[0].population >= _MANY_TIMES * there


def _smaller_region(part: str, region: str) -> str | None:
    return next((smaller for smaller in lookup(part).regions if region_parent(smaller) == region), None)


def _with_city(parts: tuple[str, ...], area: _Area, score: float) -> Iterator[_Group]:
    """Yield the readings of parts as a city with its surroundings, in a region or country.

    The parts before the city are its districts and streets, those after it its surroundings.
    """
    names = [_city_name(part, area) for part in parts]
    cities = [next(filter(area.has, lookup(part).cities), None) for part in parts]
    is_any_known = any(cities)
    for at, name in enumerate(names):
        # Of unknown names, the last but one is the city, and the last its county.
        if name is None or (not is_any_known and at != max(0, len(parts) - 2)):
            continue
        city = cities[at]
        points = _city_points(name, city, area)
        # `Manlius, New York` is a town in the state, not a district of the city.
        points += _CITY_AFTER_NAME * (
            at > 0 and city is not None and area.region is None and _is_state(name, city.country)
        )
        points += sum(
            _surroundings_points(part, known, city, area)
            for other, (part, known) in enumerate(zip(parts, cities, strict=True))
            if other != at
        )
        county = parts[at + 1 :][-1:] if area.country in _COUNTIES_NOT_LISTED and area.region is None else ()
        county_name = next((part for part in county if not is_code(part)), None)
        yield _Group(score + points, Reading(name, area.country, area.region, county_name))
    if not any(names):
        points = sum(_surroundings_points(part, None, None, area) for part in parts)
        yield _Group(score + points, Reading(None, area.country, area.region))


def _is_state(name: str, country: str) -> bool:
    """Return whether a name is that of a state of a country."""
    return country in _STATES_BY_CODE and any(_country_of(region) == country for region in lookup(name).regions)


def _city_points(name: str, city: City | None, area: _Area) -> float:
    if city is None:
        cities = lookup(name).cities if area.country else ()
        if not cities:
            return _NAME
        return _LARGE_CITY_ELSEWHERE if cities[0].population >= _LARGE_CITY_POPULATION else _CITY_ELSEWHERE
    if area.country is None:
        return _CITY
    if area.region is not None:
        return _CITY_THERE if city.region == area.region else _CITY_PERHAPS_THERE
    regions = [region for region in lookup(name).regions if _country_of(region) == area.country]
    # California is a village in Maryland, too.
    return _CITY_THERE if not regions or _is_namesake(city, regions) else _NAME_OF_REGION


def _surroundings_points(part: str, known: City | None, city: City | None, area: _Area) -> float:
    """Return the points of a part beside a city: few less for a district, many for what is a place of its own."""
    if is_code(part) and not is_known(part):
        return _UNKNOWN_CODE
    if known is not None and city is not None:
        if known == city or key(part) == key(city.name):
            return _SAME
        is_district = known.region == city.region and known.population < city.population
        is_near = is_district and distance_km(known.position, city.position) <= _DISTRICT_KM
        return _UNKNOWN if is_near else _PLACE_ELSEWHERE
    found = lookup(part)
    named = (*found.regions, *found.coded_regions)
    regions = [region for region in named if area.country in (None, _country_of(region))]
    if area.country in found.countries or any(_is_around(region, city, area) for region in regions):
        return _SAME
    is_large = bool(found.cities) and found.cities[0].population >= _LARGE_CITY_POPULATION
    is_state = any(_country_of(region) in _STATES_BY_CODE for region in found.coded_regions)
    is_place = found.countries or found.coded_countries or regions or found.area or is_large or is_state
    return _PLACE_ELSEWHERE if is_place else _UNKNOWN


def _is_around(region: str, city: City | None, area: _Area) -> bool:
    """Return whether a region is the one around a city, or the region that is already known."""
    if city is not None:
        return is_in(city, region)
    return area.region is not None and area.region in (region, region_parent(region))


def _city_name(part: str, area: _Area) -> str | None:
    """Return a part if it may be the name of a city."""
    found = lookup(part)
    if len(part) == 1 or key(part) in DIRECTIONS or _is_area(found):
        return None
    if key(part) in NO_PLACES:  # Mobile
        return part if area.region and any(is_in(city, area.region) for city in found.cities) else None
    least = 0
    if is_code(part) and (found.coded_countries or found.coded_regions):
        least = _LARGE_CITY_POPULATION  # LA
    elif found.countries and not (area.country and any(map(area.has, found.cities))):
        least = _LARGE_CITY_POPULATION
    elif found.countries and area.region is None:
        least = _CITY_POPULATION  # Granada, which is Grenada in Spanish
    if any(city.population >= least or city.country in found.countries for city in found.cities):
        return part
    if is_known(part) or is_code(part) or COUNTY.search(part) or NO_CITY.search(part):
        return None
    is_name = re.search(r"[^\W\d_]{2}", part) and not re.search(r"\d", part) and len(part.split()) <= _MAX_WORDS
    return part if is_name and part[:1] == part[:1].upper() else None
