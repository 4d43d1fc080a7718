"""Makes the lines of the gazetteer: one for each meaning of a name."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import cos, hypot, radians

from tools.gazetteer import sources
from tools.gazetteer.names import (
    AREAS,
    CITY_NAMES,
    CITY_REGIONS,
    COUNTRIES,
    COUNTRY_CODES,
    LANGUAGES,
    NO_NAMES,
    OTHER_AREAS,
)
from tools.gazetteer.regions import Region, Regions
from tools.gazetteer.sources import City, Packages
from worker.pipeline.gazetteer import (
    ALIAS,
    AREA,
    CITY,
    COUNTRY,
    COUNTRY_CODE,
    COUNTRY_LABEL,
    LABEL,
    REGION,
    REGION_CODE,
    key,
)

Line = tuple[str, ...]

_MIN_POPULATION_FOR_ALIASES = 30_000
_MIN_SHARE_OF_OWN_REGION = 0.95
_DISTRICTS_WITHIN_KM = 20
_MAX_DISTRICTS = 1.8
"""Inhabitants of districts for each inhabitant of a city. They count twice where GeoNames has two levels of them."""
_SCRIPTS = {
    "CJK": "CN HK JP MO SG TW",
    "HIRAGANA": "JP",
    "KATAKANA": "JP",
    "HANGUL": "KR",
    "CYRILLIC": "BG BY KG KZ MD ME MK MN RS RU UA",
    "GREEK": "CY GR",
    "HEBREW": "IL",
    "ARABIC": "AE BH DZ EG IQ JO KW LB LY MA OM QA SA SY TN YE",
    "THAI": "TH",
}
"""Scripts other than Latin, and where names in them are kept."""


def lines(packages: Packages) -> list[str]:
    """Return the sorted lines of the gazetteer."""
    cities = sources.cities()
    regions = Regions(packages, sources.subdivisions(), cities)
    found: set[Line] = set()
    found.update(_country_lines(packages))
    found.update(_country_label_lines(packages))
    found.update(_area_lines(packages))
    for region in regions.by_id.values():
        found.update(_region_lines(region))
    found.update(_city_lines(cities, regions))
    return sorted(("\t".join(line) for line in found), key=lambda line: line.encode())


def _country_lines(packages: Packages) -> Iterator[Line]:
    names = {code: [*known] for code, known in sources.countries().items()}
    for code, more in COUNTRIES.items():
        names[code] += more
    for language in LANGUAGES:
        for territory, name in _territories(packages, language).items():
            if (code := territory.partition("-alt-")[0]) in names:
                names[code].append(name)
    names["XK"] = [name for territory, name in _territories(packages, "en").items() if territory == "XK"]
    for code, all_names in names.items():
        for name in all_names:
            if (folded := key(name)) and folded not in NO_NAMES and len(folded) > 1:
                yield folded, COUNTRY, code
    alpha_3 = sources.alpha_3_codes()
    for code in names:
        for written in [code, *COUNTRY_CODES.get(code, []), *([alpha_3[code]] if code in alpha_3 else [])]:
            yield key(written), COUNTRY_CODE, code


def _country_label_lines(packages: Packages) -> Iterator[Line]:
    for territory, name in _territories(packages, "en").items():
        if territory in sources.countries() or territory == "XK":
            # `Hong Kong SAR China`, `Myanmar (Burma)`
            yield territory, COUNTRY_LABEL, re.sub(r" SAR .*| \(.*\)$", "", name)


def _area_lines(packages: Packages) -> Iterator[Line]:
    containment = packages.json("cldr-core", "supplemental/territoryContainment.json")
    contained = containment["supplemental"]["territoryContainment"]

    def countries(codes: Iterable[str]) -> Iterator[str]:
        for code in codes:
            if code in contained:
                yield from countries(contained[code]["_contains"])
            else:
                yield code

    names: dict[str, list[str]] = {code: [*more] for code, more in AREAS.items()}
    for language in LANGUAGES:
        territories = _territories(packages, language)
        for code in AREAS:
            names[code] += [territories[code]] if code in territories else []
    named = [(name, code) for code, all_names in names.items() for name in all_names]
    taken: set[str] = set()
    for name, codes in [*OTHER_AREAS.items(), *named]:
        folded = key(name)
        if folded not in taken and (folded not in NO_NAMES or folded == "eu"):
            taken.add(folded)
            yield folded, AREA, " ".join(sorted(set(countries(codes.split()))))


def _territories(packages: Packages, language: str) -> dict[str, str]:
    found = packages.json("cldr-localenames-full", f"main/{language}/territories.json")
    names: dict[str, str] = found["main"][language]["localeDisplayNames"]["territories"]
    return names


def _region_lines(region: Region) -> Iterator[Line]:
    yield region.id, LABEL, region.label, region.parent or ""
    for name in {*region.names, region.label} - region.codes:
        if folded := key(name):
            yield folded, REGION, region.id
    for code in region.codes:
        yield key(code), REGION_CODE, region.id


# Cities ---------------------------------------------------------------------------------------------------------------


def _city_lines(cities: list[City], regions: Regions) -> Iterator[Line]:
    own = _own_regions(cities, regions)
    taken: dict[tuple[str, str], City] = {}
    for city in sorted(cities, key=lambda city: -city.population):
        region = regions.of_city(city)
        place = region or city.country
        # Of equal names in a region, only the largest city is meant.
        if (folded := key(city.name)) and taken.setdefault((folded, place), city) is city:
            yield (
                folded, CITY, place, f"{city.latitude:.3f}", f"{city.longitude:.3f}", str(city.population), city.name,
                own.get((city.name, place), ""),
            )  # fmt: skip
            for name in {*_aliases(city), *map(key, CITY_NAMES.get(place, {}).get(city.name, []))} - {folded, ""}:
                yield name, ALIAS, place, folded


def _aliases(city: City) -> Iterator[str]:
    """Yield the keys of other names: in Latin letters, or in letters of the country. Airport codes are no names."""
    if city.population < _MIN_POPULATION_FOR_ALIASES:
        return
    for name in city.alternates:
        # GeoNames writes names that are transcribed from other scripts without capitals.
        is_name = name[:1].isupper() or re.match(r"'[st][ -]", name)
        if _is_local(name, city.country) or (_is_latin(name) and is_name and not re.fullmatch(r"[A-Z]{2,3}", name)):
            yield key(name)


def _is_latin(name: str) -> bool:
    return all(not letter.isalpha() or unicodedata.name(letter, "").startswith("LATIN") for letter in name)


def _is_local(name: str, country: str) -> bool:
    scripts = {unicodedata.name(letter, "?").split()[0] for letter in name if letter.isalpha()}
    return bool(scripts) and all(country in _SCRIPTS.get(script, "").split() for script in scripts)


def _own_regions(cities: list[City], regions: Regions) -> dict[tuple[str, str], str]:
    """Return the cities that are regions or countries of their own.

    These have the name of the region or country, and with their districts nearly all of its inhabitants.
    """
    names_of_countries = {
        code: {key(name) for name in [*names, *COUNTRIES.get(code, [])]} for code, names in sources.countries().items()
    }
    within: dict[str, list[City]] = defaultdict(list)
    for city in cities:
        region = regions.of_city(city)
        within[city.country].append(city)
        if region:
            within[region].append(city)
    found: dict[tuple[str, str], str] = {}
    for place, all_cities in within.items():
        largest = max(all_cities, key=lambda city: city.population)
        is_country = place == largest.country
        names = names_of_countries.get(place, set()) if is_country else map(key, regions.by_id[place].names)
        if key(largest.name) in names and (place in CITY_REGIONS or _is_one_city(largest, all_cities)):
            region = regions.of_city(largest) or largest.country
            found[largest.name, region] = "country" if is_country else found.get((largest.name, region), "region")
    return found


def _is_one_city(largest: City, cities: list[City]) -> bool:
    """Return whether cities are one city and its districts, which GeoNames lists as cities, too."""
    near = sum(city.population for city in cities if _distance_km(city, largest) <= _DISTRICTS_WITHIN_KM)
    is_all = near >= _MIN_SHARE_OF_OWN_REGION * sum(city.population for city in cities)
    return is_all and near - largest.population <= _MAX_DISTRICTS * largest.population


def _distance_km(a: City, b: City) -> float:
    east = (a.longitude - b.longitude) * cos(radians(b.latitude))
    return 111.2 * hypot(a.latitude - b.latitude, east)
