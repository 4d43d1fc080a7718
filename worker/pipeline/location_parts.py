"""Splits the text of a location into the names in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from worker.pipeline.gazetteer import NOTHING, Meanings, country_name, is_in, key, meanings
from worker.pipeline.location_words import (
    AFTER_CITY,
    BEFORE_CITY,
    BRACKETS,
    CODE_FIRST,
    CONJUNCTION_WORDS,
    CONJUNCTIONS,
    COUNTY,
    DANISH_DISTRICT,
    DISTRICT_NUMBER,
    DUTCH_OR,
    EDGES,
    EDGES_OF_NAMES,
    KIND_OF_REGION,
    LISTS,
    NEAR,
    NEEDLESS,
    NO_PLACES,
    NOT_AVAILABLE,
    OFFICE_IN,
    PART_OF,
    PARTS,
    POSTCODE,
    REGION_NUMBER,
    SURROUNDINGS,
    TIME_ZONE,
    WORK_MODE,
)

_MAX_PARTS = 40
_MAX_CODE_LENGTH = 4
_WITH_DOTS = frozenset({"US", "GB", "AE"})
"""Countries whose codes, and those of their regions, are written with dots."""

_COUNTRIES_WITH_PARTS = ("US-", "CA-", "AU-", "GB-")
"""Countries in which postings name parts of regions, such as Southern California."""


def parts_of(text: str) -> Iterator[tuple[str, ...]]:
    """Yield the names of each place, or of each list of places, such as `Berlin, Germany` in `Berlin, Germany; Rome`.

    Args:
        text: A clean line.
    """
    if text.casefold() in NOT_AVAILABLE:
        return
    for listed in LISTS.split(text):
        parts: list[str] = []
        for part in _split(listed):
            if part is not None:
                parts.append(part)
            elif parts:
                yield tuple(parts[:_MAX_PARTS])
                parts = []
        if parts:
            yield tuple(parts[:_MAX_PARTS])


@lru_cache(2048)
def lookup(part: str) -> Meanings:
    """Return what a part may mean. Codes are written in capitals."""
    if not part:
        return NOTHING
    found = meanings(part)
    is_written_as_code = (part.isupper() and len(part) <= _MAX_CODE_LENGTH) or part.isdigit()
    if not is_written_as_code and (found.coded_countries or found.coded_regions):
        found = found._replace(coded_countries=(), coded_regions=())
    elif "." in part:  # D.C. and U.K., but not N.L., which is Nuevo León
        found = found._replace(
            coded_countries=tuple(code for code in found.coded_countries if code in _WITH_DOTS),
            coded_regions=tuple(region for region in found.coded_regions if region.partition("-")[0] in _WITH_DOTS),
        )
    if not found.regions and not found.cities and KIND_OF_REGION.search(part):
        found = found._replace(regions=named_without_kind(part).regions)
    return found if any(found) else NOTHING


def is_known(part: str) -> bool:
    """Return whether the gazetteer has a part."""
    return lookup(part) is not NOTHING


def is_code(part: str) -> bool:
    """Return whether a part looks like a code of a region or country, known or not."""
    return (part.isupper() and len(part) < _MAX_CODE_LENGTH) or part.isdigit()


def named_without_kind(region: str) -> Meanings:
    """Return what the name of a region means without the word for its kind: `Zug` of `Canton of Zug`."""
    core = KIND_OF_REGION.sub("", region).strip()
    return meanings(core) if core and core != region else NOTHING


def _split(text: str) -> Iterator[str | None]:
    """Yield the names in a text; None separates places."""
    for piece in PARTS.split(text):
        whole = piece.strip(EDGES_OF_NAMES)
        if whole.count("(") != whole.count(")"):
            whole = whole.strip(EDGES)
        if is_known(whole) and not DISTRICT_NUMBER.search(whole):
            if _is_place(whole):
                yield whole
            continue
        before: list[str | None] = []
        for bare in BRACKETS.split(WORK_MODE.sub(" , ", TIME_ZONE.sub(_without_time_zone, piece))):
            for part in bare.split(","):
                names = list(_names_in(part))
                if not (_is_city(before) and _is_city(names)):  # Walldorf (Baden)
                    yield from names
                before += names


def _names_in(text: str) -> Iterator[str | None]:
    """Yield the names in a part, such as `Berlin & Munich`, `US-CA-San Francisco` or `Austin TX 78701`."""
    text = " ".join(NEEDLESS.sub("", NEAR.sub("", text.strip(EDGES))).split()).strip(EDGES)
    text = re.sub(r"(?<=\w{3})\.$", "", text)
    without_number = DISTRICT_NUMBER.sub("", text)
    if without_number != text and lookup(without_number).cities:
        yield without_number
    elif REGION_NUMBER.fullmatch(text) or (_is_place(text) and is_known(text)):
        yield text
    else:
        bare = " ".join(POSTCODE.sub(" ", text).split()).strip(EDGES)
        bare = re.sub(r"(?i)^the ", "", bare)
        if bare and _is_place(bare):
            yield from (
                (is_known(bare) and [bare])
                or _by_conjunctions(bare)
                or _by_code(bare)
                or _by_last_words(bare)
                or _core(bare)
                or _without_district(bare)
                or [bare]
            )


def _without_time_zone(zone: re.Match[str]) -> str:
    """Return nothing in place of a time zone, except for what may be the code of a country or region."""
    is_bare = zone["zone"] and not zone["offset"] and not zone["after"]
    return zone[0] if is_bare and is_known(zone["zone"]) else " , "


def _without_district(text: str) -> list[str]:
    """Return the city of `København K`."""
    city = DANISH_DISTRICT.sub("", text)
    return [city] if city != text and any(known.country == "DK" for known in lookup(city).cities) else []


def _is_city(names: list[str | None]) -> bool:
    """Return whether names are that of a city alone."""
    found = lookup(names[0] or "") if len(names) == 1 else NOTHING
    return bool(found.cities) and not found.countries and not found.coded_regions


def _is_place(text: str) -> bool:
    """Return whether a text may name a place. Mobile is a city, but only in its region."""
    is_name = key(text) not in NO_PLACES or any(key(city.name) == key(text) for city in lookup(text).cities)
    return is_name and text not in CONJUNCTION_WORDS


def _by_conjunctions(text: str) -> list[str | None]:
    """Split `Berlin & Munich`, if the gazetteer has both."""
    pieces = [piece.strip(EDGES) for piece in CONJUNCTIONS.split(text)]
    pieces = [piece for piece in pieces if piece and key(piece) not in NO_PLACES]
    if len(pieces) == 1:
        pieces = text.split(DUTCH_OR)
        if not all(lookup(piece).cities for piece in pieces):
            return []
    names: list[str | None] = []
    for before, piece in pairwise(["", *pieces]):
        split: list[str] = _by_last_words(piece) or [piece]
        if not all(map(is_known, split)):
            return []
        is_region = is_code(piece) and _by_last_words(f"{before} {piece}")  # Porto Alegre/RS
        names += [None, *split] if names and not is_region else [*split]
    return names if len(names) > 1 else []


def _by_code(text: str) -> list[str]:
    """Split `US-CA-San Francisco`, `USA.VA.Reston` and `DE-Berlin`."""
    codes = []
    while match := CODE_FIRST.match(text):
        codes.append(match[1])
        text = text[match.end() :]
    name = text.replace("_", " ").strip(EDGES)
    if not codes or not name or not (lookup(codes[0]).coded_countries or lookup(codes[0]).coded_regions):
        return []
    return [*codes, name] if len(codes) > 1 or is_known(name) else []


def _by_last_words(text: str) -> list[str]:
    """Split `Austin TX` and `Dublin Ireland` where the gazetteer has the city in the region or country."""
    words = text.split()
    for count in (1, 2):
        if len(words) > count:
            name, wider = " ".join(words[:-count]), " ".join(words[-count:])
            found = lookup(wider)
            countries = {*found.countries, *found.coded_countries}
            regions = {*found.regions, *found.coded_regions}
            if key(name) in NO_PLACES and (countries or found.regions):  # Pan India
                return [wider]
            for city in lookup(name).cities:
                if city.country in countries or any(is_in(city, region) for region in regions):
                    return [name, wider]
    return []


def _core(text: str) -> list[str]:
    """Return the city of `Greater Boston`, `Dallas-Fort Worth Metroplex` and `Berlin und Umgebung`."""
    if COUNTY.search(text):
        return []
    if match := PART_OF.match(text):
        found = lookup(match["core"])
        is_region = any(region.startswith(_COUNTRIES_WITH_PARTS) for region in found.regions)
        # Not North Chili, a town: Chili is Chile in other languages.
        is_country = any(key(country_name(code)) == key(match["core"]) for code in found.countries)
        return [match["core"]] if is_country or found.coded_countries or is_region else []
    match = SURROUNDINGS.match(text) or BEFORE_CITY.match(text) or OFFICE_IN.match(text) or AFTER_CITY.match(text)
    if match is None:
        return []
    core = match["core"].strip(EDGES)
    if not is_known(core):
        # Dallas-Fort Worth, Cologne Bonn
        words = re.split("[ -]", core)
        starts = (core[: len(" ".join(words[:count]))] for count in range(len(words) - 1, 0, -1))
        core = next((start for start in starts if lookup(start).cities), core)
    if key(core) in NO_PLACES:
        return []
    return _by_last_words(core) or ([core] if is_known(core) or match.re not in (OFFICE_IN, AFTER_CITY) else [])
