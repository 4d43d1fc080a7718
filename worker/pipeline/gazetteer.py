"""Looks up names of countries, regions, cities and larger areas in `gazetteer.tsv`.

`scripts/gazetteer` makes the file. It has a line for each meaning of a name, sorted by `key`, and is mapped into memory
instead of being loaded: a lookup reads some 20 lines, by binary search.
"""

from __future__ import annotations

import mmap
import re
from functools import cache, lru_cache
from math import asin, cos, radians, sin, sqrt
from pathlib import Path
from typing import NamedTuple

from worker.pipeline.folding import folded

FILE = Path(__file__).with_name("gazetteer.tsv")

COUNTRY, COUNTRY_CODE, REGION, REGION_CODE = "country", "country_code", "region", "region_code"
CITY, ALIAS, AREA, LABEL, COUNTRY_LABEL = "city", "alias", "area", "label", "country_label"
"""What a line says of its key. Fields that follow:

- `country`, `country_code`: ISO 3166-1 alpha-2 code
- `region`, `region_code`: id of the region
- `label`, whose key is the id of a region: English name, id of the region that it belongs to or nothing
- `country_label`, whose key is the code of a country: English name
- `city`: id of the region or code of the country, latitude, longitude, inhabitants, name, and `region` or `country` if
  the city is a region or country of its own
- `alias`, another name of a city: id of its region, key of its name
- `area`: codes of its countries, with spaces
"""


class City(NamedTuple):
    """A city.

    Attributes:
        name: Its usual English name.
        country: ISO 3166-1 alpha-2 code.
        region: Id of the region; None: unknown.
        latitude: In degrees.
        longitude: In degrees.
        population: Number of inhabitants.
        is_region: Whether the city is a region of its own, such as Berlin.
        is_country: Whether the city is a country of its own, such as Singapore.
    """

    name: str
    country: str
    region: str | None
    latitude: float
    longitude: float
    population: int
    is_region: bool
    is_country: bool

    @property
    def position(self) -> tuple[float, float]:
        """Latitude and longitude in degrees."""
        return self.latitude, self.longitude


class Meanings(NamedTuple):
    """What a name may mean. The likeliest city comes first.

    Attributes:
        countries: ISO 3166-1 alpha-2 codes.
        regions: Ids of regions: the country's code, a hyphen, and the region's own code.
        cities: Cities.
        weights: How likely each of them is meant: its inhabitants, less if the name is not its usual one.
        area: Codes of the countries of an area such as `Europe`.
        coded_countries: As `countries`, where the name is a code of the country.
        coded_regions: As `regions`, where the name is a code of the region.
    """

    countries: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    cities: tuple[City, ...] = ()
    weights: tuple[float, ...] = ()
    area: frozenset[str] = frozenset()
    coded_countries: tuple[str, ...] = ()
    coded_regions: tuple[str, ...] = ()


NOTHING = Meanings()

_EARTH_RADIUS_KM = 6371
_MAX_KEY_LENGTH = 100
_MAX_MEANINGS = 200
_WEIGHT_OF_ALIAS = 0.1
"""Many other names are of other languages and times: Amman was called Philadelphia."""

_SIGNS = str.maketrans({"&": " and "} | dict.fromkeys("'`\N{ACUTE ACCENT}\u2018\u2019\u02bb\u02bc", ""))

_INITIALS = re.compile(r"(?<![^\W_])([^\W_])\. ?(?=[^\W_](?![^\W_]))")
_WORD = re.compile(r"[^\W_]+")
_ADDITION = re.compile(r"(?: [a-z]\. ?){1,2}\w{0,6}\.?$|(?: [a-z]\.){1,2}[a-zA-Z]{1,3}\.?$| bei \S.*$")
"""An addition that distinguishes a city from its namesakes: Frankfurt a.M., Garching bei München."""

_SPELLINGS = {"saint": "st", "sainte": "ste", "fort": "ft", "mount": "mt"}


def key(name: str) -> str:
    """Return a name without case, accents and punctuation: `St. John's` and `saint johns` have the same key."""
    return _key(name[:_MAX_KEY_LENGTH])


@lru_cache(4096)
def _key(name: str) -> str:
    words = _WORD.findall(_INITIALS.sub(r"\1", folded(name).translate(_SIGNS)))
    return " ".join(_SPELLINGS.get(word, word) for word in words)


def meanings(name: str) -> Meanings:
    """Return what a name may mean."""
    found = _meanings(key(name))
    if found is NOTHING and (core := _ADDITION.sub("", name)) != name:
        return _meanings(key(core))
    return found


def region_label(region: str) -> str:
    """Return the English name of a region."""
    return _labels(region)[0]


def country_name(code: str) -> str:
    """Return the English name of a country.

    Args:
        code: ISO 3166-1 alpha-2 code.
    """
    return next((fields[0] for kind, *fields in _lines(code) if kind == COUNTRY_LABEL), code)


def region_parent(region: str) -> str | None:
    """Return the region to which a region belongs, such as England for Kent, if any."""
    return _labels(region)[1]


def is_in(city: City, region: str) -> bool:
    """Return whether a city is in a region, or may be: of a smaller region, only the larger one around it is known."""
    return city.region is not None and city.region in (region, region_parent(region))


def distance_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the distance of two positions (latitude and longitude in degrees) in kilometres, as the crow flies."""
    of_a, of_b = radians(a[0]), radians(b[0])
    chord = sin((of_a - of_b) / 2) ** 2 + cos(of_a) * cos(of_b) * sin(radians(a[1] - b[1]) / 2) ** 2
    return 2 * _EARTH_RADIUS_KM * asin(sqrt(min(1.0, chord)))


@lru_cache(2048)
def _meanings(wanted: str) -> Meanings:
    found: dict[str, list[str]] = {}
    cities: list[tuple[bool, City]] = []
    for kind, *fields in _lines(wanted):
        if kind == CITY:
            cities.append((False, _city(fields)))
        elif kind == ALIAS:
            place, name = fields
            cities += [(True, city) for city in _named(name, place)]
        elif kind != LABEL:
            found.setdefault(kind, []).append(fields[0])
    if not (found or cities):
        return NOTHING
    weights: dict[City, float] = {}
    for is_alias, city in cities:
        weights[city] = max(weights.get(city, 0.0), city.population * (_WEIGHT_OF_ALIAS if is_alias else 1))
    ranked = sorted(weights, key=lambda city: -weights[city])
    return Meanings(
        tuple(found.get(COUNTRY, ())),
        tuple(found.get(REGION, ())),
        tuple(ranked),
        tuple(weights[city] for city in ranked),
        frozenset(found.get(AREA, [""])[0].split()),
        tuple(found.get(COUNTRY_CODE, ())),
        tuple(found.get(REGION_CODE, ())),
    )


def _named(name: str, place: str) -> list[City]:
    """Return the largest city with a key in a region or country."""
    cities = [_city(fields) for kind, *fields in _lines(name) if kind == CITY and fields[0] == place]
    return sorted(cities, key=lambda city: -city.population)[:1]


def _city(fields: list[str]) -> City:
    place, latitude, longitude, population, name, own = fields
    country, _, region = place.partition("-")
    return City(
        name,
        country,
        place if region else None,
        float(latitude),
        float(longitude),
        int(population),
        own == "region",
        own == "country",
    )


@lru_cache(512)
def _labels(region: str) -> tuple[str, str | None]:
    for kind, *fields in _lines(region):
        if kind == LABEL:
            return fields[0], fields[1] or None
    return region, None


def _lines(wanted: str) -> list[list[str]]:
    """Return the fields of the lines with a key, without the key."""
    data, start = _data()
    prefix = f"{wanted}\t".encode()
    low, high = start, len(data)
    while low < high:
        line = data.rfind(b"\n", 0, (low + high) // 2) + 1
        line = max(line, low)
        end = data.find(b"\n", line)
        if data[line:end] < prefix:
            low = end + 1
        else:
            high = line
    found: list[list[str]] = []
    while len(found) < _MAX_MEANINGS and data[low : low + len(prefix)] == prefix:
        end = data.find(b"\n", low)
        found.append(data[low + len(prefix) : end].decode().split("\t"))
        low = end + 1
    return found


@cache
def _data() -> tuple[mmap.mmap, int]:
    """Return the file and where its lines begin, after those of the header."""
    with FILE.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start = 0
    while data[start : start + 1] == b"#":
        start = data.find(b"\n", start) + 1
    return data, start
