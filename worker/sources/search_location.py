"""Decides where a site is asked for jobs, from the location and the country of a search."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from worker.errors import ErrorCode, SiteError
from worker.pipeline.gazetteer import country_name
from worker.pipeline.places import country_code, find_area, find_place, find_places
from worker.pipeline.text import clean_line
from worker.pipeline.work_mode import work_mode

_FEW_COUNTRIES = 2
"""A site that covers no more countries than this is not asked for a city that is elsewhere."""

_SITES_WITH_AREAS = frozenset({"linkedin"})
"""Sites that know areas such as Europe."""

_COUNTRY_WITHIN_LOCATION = frozenset({"linkedin", "zip_recruiter"})
"""Sites of JobSpy without a parameter for the country."""

_BAYT_COUNTRIES = {"AE": "UAE", "GB": "UK", "US": "USA"}
"""Countries whose name on Bayt is not their English name."""

_BAYT_EVERYWHERE = "international"

_CODE = re.compile("[A-Z]{2}")
_PARTS = re.compile(r"[,;/|()]| - ")
_MAX_NAMED_COUNTRIES = 30
"""Most countries that a message names."""


@dataclass(frozen=True, slots=True)
class SearchLocation:
    """Where a search looks for jobs.

    Attributes:
        text: The location as the user wrote it, without words for a work mode; None: everywhere.
        within: The same without the country; None: everywhere in the country.
        country: ISO 3166-1 alpha-2 code of the country that `location` or `country` names; None: neither does. A city
            alone names no country.
        countries: Codes of the countries in which its places are, if they are several; empty if an area is named.
        is_area: Whether the location is an area of several countries, such as Europe.
        is_remote: Whether the location asks for remote work.
        names_country: Whether `text` names the country itself, or a region of it.
        field: The parameter that names the country.
    """

    text: str | None = None
    within: str | None = None
    country: str | None = None
    countries: frozenset[str] = frozenset()
    is_area: bool = False
    is_remote: bool = False
    names_country: bool = False
    field: str = "location"

    @property
    def with_country(self) -> str | None:
        """The location with its country, for sites without a parameter for the country; None: everywhere."""
        if self.country is None or (self.text and self.names_country):
            return self.text
        return ", ".join(filter(None, (self.text, country_name(self.country))))


@lru_cache(1024)
def search_location(location: str | None, country: str | None) -> SearchLocation:
    """Return where a search looks for jobs.

    Args:
        location: City, region, country or area, and words for remote work.
        country: Name or code of a country.
    """
    given = country_code(country)
    field = "location" if given is None else "country"
    line = clean_line(location)
    if line is None:
        return SearchLocation(country=given, field=field)
    mode = _mode(line)
    named = _named_country(line)
    place = find_place(line, given or named)
    area = _area(line)
    text: str | None = line
    if area is not None:
        text = None if given else area
    elif mode is not None:
        text = ", ".join(part for part in (place.city, place.region) if part and _mode(part) is None) or None
    code = given or named
    is_country = len(find_places(line)) == 1 and place.city is None and place.region is None
    return SearchLocation(
        text=text,
        within=None if text is None or is_country else _within(text, code),
        country=code,
        countries=frozenset() if given else _countries(line),
        is_area=area is not None and given is None,
        is_remote=mode == "remote",
        names_country=mode is None and named is not None and named == code,
        field=field,
    )


def contradicts(location: str | None, country: str | None) -> bool:
    """Return whether a location is in another country than `country`.

    A city alone contradicts no country: there may be one of this name.
    """
    given, line = country_code(country), clean_line(location)
    if given is None or line is None:
        return False
    named, of_places = _named_country(line), _countries(line)
    if named is not None:
        return given not in (named, find_place(line, given).country)
    if len(of_places) > 1:
        return given not in of_places
    return _area(line) is not None and given not in find_area(line)


def _mode(text: str) -> str | None:
    return work_mode(None, None, "", text, "")


def _named_country(line: str) -> str | None:
    """Return the country that a location names, itself or by a region; None for a city alone."""
    places = find_places(line)
    if len(places) > 1:
        countries = {place.country for place in places}
        return countries.pop() if len(countries) == 1 else None
    code = line.rpartition(",")[2].strip()
    # After a town that the gazetteer does not know, `CA` is California, as on the sites of the US.
    is_unknown_town = any(place.city and place.latitude is None for place in places)
    if is_unknown_town and _CODE.fullmatch(code) and find_place(f"Town, {code}", None, "US").region:
        return "US"
    return find_place(line).country


def _countries(line: str) -> frozenset[str]:
    """Return the countries of the places in a location, as far as they are certain."""
    return frozenset(place.country for place in find_places(line) if place.country)


def _area(line: str) -> str | None:
    """Return the name of the area in a location that names no place, such as `Europe`."""
    if find_places(line) or not find_area(line):
        return None
    return next((part.strip() for part in _PARTS.split(line) if find_area(part)), line)


def check_covered(site: str, where: SearchLocation, covered: Collection[str] | None) -> None:
    """Check that a site can search a location.

    Args:
        site: The site.
        where: The location.
        covered: ISO 3166-1 alpha-2 codes of the countries that the site covers; None: all.

    Raises:
        SiteError: `invalid_parameters`: the message names the field and what the site covers.
    """
    if where.country is None and len(where.countries) > 1:
        names = ", ".join(sorted(map(country_name, where.countries)))
        _refuse("location", f"names places in several countries ({names}); {site} searches one country at a time")
    if where.is_area and site not in _SITES_WITH_AREAS:
        _refuse("location", f"{site} cannot search the area {where.text!r}; name a country")
    if covered is None:
        return
    elsewhere = where.country if where.country not in covered else None
    if where.country is None and len(covered) <= _FEW_COUNTRIES:
        elsewhere = _country_elsewhere(where.text, covered)
    if elsewhere is not None:
        allowed = f"; allowed: {', '.join(sorted(map(country_name, covered)))}"
        suffix = allowed if len(covered) <= _MAX_NAMED_COUNTRIES else ""
        _refuse(where.field, f"{site} does not cover {country_name(elsewhere)}{suffix}")


def jobspy_location(site: str, where: SearchLocation) -> str | None:
    """Return the location that JobSpy is given for a site; None: everywhere, or everywhere in the country."""
    if site in _COUNTRY_WITHIN_LOCATION:
        return where.with_country
    return _bayt_location(where) if site == "bayt" else where.within


def _bayt_location(where: SearchLocation) -> str | None:
    """Return `CITY, COUNTRY` or `COUNTRY`. JobSpy takes a city alone for a country."""
    city = where.within and where.within.partition(",")[0].strip()
    code = where.country or (_certain_country(where.text) if city else None)
    if code is None:
        return f"{city}, {_BAYT_EVERYWHERE}" if city else None
    return ", ".join(filter(None, (city, _BAYT_COUNTRIES.get(code, country_name(code)))))


def _refuse(field: str, problem: str) -> None:
    raise SiteError(ErrorCode.INVALID_PARAMETERS, f"{field}: {problem}")


def _within(text: str, country: str | None) -> str | None:
    """Return a location without the name of its country."""
    parts = [part.strip() for part in text.split(",")]
    if country is not None:
        if country_code(parts[-1]) == country:
            parts.pop()
        elif country_code(parts[0]) == country:
            del parts[0]
    return ", ".join(filter(None, parts)) or None


def _certain_country(text: str | None, near: str | None = None) -> str | None:
    countries = {place.country for place in find_places(text, near)}
    return countries.pop() if len(countries) == 1 else None


def _country_elsewhere(text: str | None, covered: Collection[str]) -> str | None:
    """Return the country of a city alone, if it is certain and the site covers no city of this name."""
    elsewhere = _certain_country(text)
    is_elsewhere = elsewhere not in covered and all(_certain_country(text, code) != code for code in covered)
    return elsewhere if is_elsewhere else None
