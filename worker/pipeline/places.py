"""Parses locations into city, region and country, without guessing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from worker.pipeline.text import clean_line


class Place(NamedTuple):
    """A place. Unknown parts are None.

    Attributes:
        city: Name of the city.
        region: Short code in the US, Canada and Australia (`WI`, `ON`, `NSW`), name elsewhere.
        country: ISO 3166-1 alpha-2 code.
    """

    city: str | None = None
    region: str | None = None
    country: str | None = None


class _Region(NamedTuple):
    country: str
    code: str
    label: str


_NOWHERE = Place()

_CITIES_THAT_ARE_REGIONS = frozenset({"berlin", "hamburg", "bremen", "delhi", "chandigarh"})
_CITIES_AND_REGIONS = _CITIES_THAT_ARE_REGIONS | {"new york", "washington", "victoria"}
"""Regions that share their name with a city. Alone, or before a country, the name means the city."""

_CITY_STATES = {"singapore": "SG", "hong kong": "HK", "monaco": "MC"}
_AMBIGUOUS_NAMES = frozenset({"georgia", "punjab"})
"""Names of places in different countries: a country and a US state, two provinces."""

_NO_PLACES = frozenset({
    "africa", "americas", "anywhere", "apac", "asia", "asia pacific", "asia-pacific", "bay area", "dach", "emea",
    "eu", "europe", "european economic area", "european union", "field", "field based", "flexible", "global",
    "home", "latam", "latin america", "mena", "middle east", "multiple locations", "multiple cities", "n/a", "na",
    "nationwide", "nordics", "north america", "not specified", "oceania", "scandinavia", "south america",
    "southeast asia", "statewide", "tri-state area", "unknown", "unspecified", "various", "various locations",
    "world", "worldwide", "virtual", "tbd", "see description", "client site", "home based", "home-based",
    "job location", "location",
})  # fmt: skip

_WORK_MODE = re.compile(
    r"(?i)\b(?:100 ?% |fully |full |temporarily |partially )?"
    r"(?:remote(?:ly)?|hybrid|on-?site|in[- ]office|in[- ]person|(?:work(?:ing)?|based) (?:from|at) home|wfh"
    r"|t[ée]l[ée]travail|home[- ]?office|anywhere)\b"
    r"(?:[- ](?:work|jobs?|positions?|role|only|first|friendly|eligible|possible|ok|option(?:al)?)\b)*"
    r"(?: (?:in|from|within|based in|work in)\b)?"
)
_EDGES = " ,;:-\u2013\u2014/|·•()[]"
_ALTERNATIVES = re.compile(r"\s*(?:[;|•]|\s/\s|\bor\b|\n)\s*|(?<=[a-z])/(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r",| [-\u2013\u2014·] |[()\[\]]")
_POSTCODE = re.compile(
    r"(?<![\w-])(?:\d{4,6}(?:-\d{3,4})?"
    r"|[A-Z]\d[A-Z] ?\d[A-Z]\d|[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}|CEDEX(?: \d+)?)(?![\w-])"
)
_DISTRICT_NUMBER = re.compile(r"(?i) \d{1,2} ?(?:er|e|è|ème|eme|st|nd|rd|th)?$")
_METRO = re.compile(
    r"(?i)^(?:greater |metro )?(?P<city>\S.{0,50}?)(?: city)?(?: (?:metropolitan|metro|bay))?"
    r" (?:area|region|metroplex)$"
    r"|^(?:greater|metro) (?P<greater>\S.{0,50})$"
)
_COUNTY = re.compile(r"(?i)\b(?:county|parish|borough|district|province|co\.)$")
_SHORT_CODE = re.compile(r"[A-Z0-9]{1,3}")
_MAX_PARTS = 8


def find_place(text: str | None, near: str | None = None) -> Place:
    """Parse a location such as `Houston, TX, US`, `London, England, United Kingdom` or `Remote - Germany`.

    Ambiguous names are not resolved: `Paris` is a city in an unknown country, `Georgia` is an unknown place. For
    several locations, the result has only the parts that they share.

    Args:
        text: The location as the site writes it.
        near: ISO 3166-1 alpha-2 code of the site's own country. It decides whether `Berlin, DE` is in Germany or in
            Delaware; without it, a US state takes precedence.
    """
    places = set(find_places(text, near))
    if len(places) <= 1:
        return places.pop() if places else _NOWHERE
    _, regions, countries = (set(names) for names in zip(*places, strict=True))
    if len(countries) > 1:
        return _NOWHERE
    return Place(region=regions.pop() if len(regions) == 1 else None, country=countries.pop())


def find_places(text: str | None, near: str | None = None) -> frozenset[Place]:
    """Parse a list of locations, such as `Berlin, Germany; Remote - Spain`. See `find_place`."""
    line = clean_line(text)
    if line is None:
        return frozenset()
    return frozenset(
        place for part in _ALTERNATIVES.split(line) if part and (place := _one_place(part, near)) != _NOWHERE
    )


def country_code(text: str | None) -> str | None:
    """Return the ISO 3166-1 alpha-2 code for a country's code or name, or None if it is unknown."""
    line = clean_line(text)
    if line is None:
        return None
    return line.upper() if line.upper() in _country_codes() else _countries().get(_key(line))


def region_label(text: str | None, country: str | None) -> str | None:
    """Return a region in the form of `Place.region`. Unknown regions are returned as they are."""
    line = clean_line(text)
    if line is None or country is None:
        return line
    region = _region_of(line, country) or _region_of(line.upper(), country)
    return region.label if region else line


def _one_place(text: str, near: str | None) -> Place:
    text = _POSTCODE.sub("", _WORK_MODE.sub(" , ", text))
    pieces = (re.sub(r"(?i)^the ", "", " ".join(piece.split()).strip(_EDGES)) for piece in _SEPARATORS.split(text))
    parts = [piece for piece in pieces if piece]
    parts = [part for part in parts if _key(part) not in _NO_PLACES]
    if not parts or len(parts) > _MAX_PARTS:
        return _NOWHERE
    country, region = _country_or_region(parts, near)
    first = _countries().get(_key(parts[0])) if len(parts) > 1 and country is None else None
    if first is not None and (region is None or region.country == first):
        return _within(parts[:0:-1], first)
    if region is not None:
        return Place(_city(parts[:-1]), region.label, region.country)
    if country is not None:
        return _within(parts[:-1], country) if len(parts) > 1 else _country_alone(parts[0], country)
    if len(parts) == 1:
        return _NOWHERE if _key(parts[0]) in _AMBIGUOUS_NAMES else Place(city=_city(parts))
    return Place(city=_city(parts[:1])) if len(parts) == 2 else _NOWHERE  # noqa: PLR2004 (a city and its surroundings)


def _country_or_region(parts: list[str], near: str | None) -> tuple[str | None, _Region | None]:
    """Parse the last part as a country, or as a region of a known country."""
    last = parts[-1]
    if _key(last) in _AMBIGUOUS_NAMES:
        return None, None
    if re.fullmatch(r"[A-Z]{2,3}", last) and _key(last) not in _countries():
        return _read_code(parts, near)
    if country := _countries().get(_key(last)):
        return country, None
    if _key(last) in (_CITIES_AND_REGIONS if len(parts) == 1 else _CITIES_THAT_ARE_REGIONS):
        return None, None
    regions = {region for country in _regions() if (region := _regions()[country].get(_key(last)))}
    return None, regions.pop() if len(regions) == 1 else None


def _read_code(parts: list[str], near: str | None) -> tuple[str | None, _Region | None]:
    """Parse a code as a country or a region, using the parts before it and the site's country."""
    code = parts[-1]
    regions = [region for country in ("US", "CA", "AU") if (region := _regions()[country].get(code))]
    is_country = code in _country_codes()
    follows_region = len(parts) > 2 and _SHORT_CODE.fullmatch(parts[-2])  # noqa: PLR2004 (city, region, country)
    if is_country and (follows_region or not regions or near == code):
        return code, None
    if near is not None and (region := _regions().get(near, {}).get(code)):
        return None, region
    if regions and regions[0].country == "US" and (len(parts) > 1 or not is_country):
        return None, regions[0]
    return None, regions[0] if len(regions) == 1 and not is_country else None


def _country_alone(name: str, country: str) -> Place:
    return Place(city=name if _key(name) in _CITY_STATES else None, country=country)


def _within(parts: list[str], country: str) -> Place:
    """Parse the parts before a country: a city, a region, or both."""
    last = parts[-1]
    region = _region_of(last, country)
    if region is not None and not (len(parts) == 1 and _key(last) in _CITIES_AND_REGIONS):
        return Place(_city(parts[:-1]), region.label, country)
    if len(parts) == 1 or _key(last) == _key(parts[-2]):
        return Place(city=_city(parts), country=country)
    # In a country with listed regions, any other name is a county or a district. British locations name counties.
    is_region = country not in _regions() or country == "GB"
    label = last if is_region and not _SHORT_CODE.fullmatch(last) else None
    return Place(_city(parts[:-1]), label, country)


def _city(parts: list[str]) -> str | None:
    parts = [part for part in parts if not _COUNTY.search(part)]
    if not parts:
        return None
    name = _DISTRICT_NUMBER.sub("", parts[-1]).strip(_EDGES)
    if metro := _METRO.match(name):
        name = metro["city"] or metro["greater"]
    name = re.sub(r"(?i)^city of ", "", name)
    is_name = re.search(r"[^\W\d_]{2}", name) and not re.search(r"\d", name)
    return name if is_name and _key(name) not in _NO_PLACES else None


def _region_of(text: str, country: str) -> _Region | None:
    regions = _regions().get(country, {})
    return regions.get(text) or regions.get(_key(text))


def _key(name: str) -> str:
    return name.casefold()


@cache
def _countries() -> dict[str, str]:
    """Country codes by lower-case names."""
    return {_key(name): code for code, names in _lines("countries.txt") for name in names}


@cache
def _country_codes() -> frozenset[str]:
    return frozenset(code for code, _ in _lines("countries.txt"))


@cache
def _regions() -> dict[str, dict[str, _Region]]:
    """The regions of each listed country by upper-case code and by lower-case name."""
    regions: dict[str, dict[str, _Region]] = {}
    country = written = ""
    for code, names in _lines("regions.txt"):
        if not names:
            country, written = code.split()
            regions[country] = {}
            continue
        region = _Region(country, code, code if written == "code" else names[0])
        regions[country] |= {code: region} | {_key(name): region for name in names}
    return regions


def _lines(file: str) -> Iterator[tuple[str, list[str]]]:
    for line in files(__package__).joinpath(file).read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            head, _, names = line.partition(": ")
            yield head, names.split(", ") if names else []
