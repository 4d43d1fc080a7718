"""What `./scripts/dependencies` has measured: `measured.json`, from which the page is made."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import Distribution
from pathlib import Path

from tools.dependencies.installed import (
    PROJECT,
    WORKER,
    asked_for,
    installed_sets,
    label,
    size_of,
    with_all_they_need,
)
from tools.dependencies.licences import licence_of

FILE = Path(__file__).with_name("measured.json")


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package.

    Attributes:
        version: The pinned version.
        released: The day on which that version was released, as `2026-11-29`.
        licence: An SPDX expression.
        size: Bytes on disk, without bytecode.
        sets: What brings it: `worker`, or extras.
    """

    version: str
    released: str
    licence: str
    size: int
    sets: list[str]


@dataclass(frozen=True, slots=True)
class Measured:
    """A measurement.

    Attributes:
        python: The version of Python that it was made with.
        system: The operating system, as `platform.system()` names it.
        machine: The architecture.
        packages: What is installed, by normalized name.
        brings: For each requirement of `pyproject.toml`, what would not be installed without it. This includes the
            package itself, unless another one needs it.
    """

    python: str
    system: str
    machine: str
    packages: dict[str, Package]
    brings: dict[str, list[str]]


def measured() -> Measured:
    """Return the measurement that the repository has."""
    content = json.loads(FILE.read_text())
    packages = {name: Package(**fields) for name, fields in content.pop("packages").items()}
    return Measured(packages=packages, **content)


def measure() -> Measured:
    """Measure this environment.

    Raises:
        PackageNotFoundError: If a package of an extra is not installed.
        ValueError: If a package does not say what its licence is, or the index does not say when it was released.
    """
    sets = installed_sets()
    found: dict[str, Distribution] = {}
    for packages in sets.values():
        found |= packages
    released = _release_dates({name: package.version for name, package in found.items()})
    measured_ones = {
        name: Package(
            version=package.version,
            released=released[name].isoformat(),
            licence=_known_licence(name, package),
            size=size_of(package),
            sets=[name_of_set for name_of_set, packages in sets.items() if name in packages],
        )
        for name, package in sorted(found.items())
    }
    return Measured(
        platform.python_version(), platform.system(), platform.machine(), measured_ones, _brought_by_one_alone()
    )


def save(measurement: Measured) -> None:
    """Write a measurement to the repository."""
    FILE.write_text(json.dumps(asdict(measurement), indent=1) + "\n")


def _known_licence(name: str, package: Distribution) -> str:
    licence = licence_of(name, package.metadata)
    if licence is None:
        raise ValueError(f"{name}: its metadata names no licence")
    return licence


def _brought_by_one_alone() -> dict[str, list[str]]:
    """Return the packages that would not be installed without a requirement, by its label."""
    asked = asked_for()
    brought = {}
    for name, listed in asked.items():
        context = listed if name == WORKER else [*asked[WORKER], *listed]
        whole = with_all_they_need(context)
        for removed in listed:
            others = with_all_they_need(requirement for requirement in context if requirement is not removed)
            brought[label(removed)] = sorted(whole.keys() - others.keys())
    return brought


def _release_dates(versions: Mapping[str, str]) -> dict[str, date]:
    """Ask the package index when versions were released.

    Args:
        versions: Versions by name.

    Returns:
        The day of the first file of each version, by name.
    """
    with tempfile.TemporaryDirectory() as folder:
        pins, lock = Path(folder) / "pins.txt", Path(folder) / "pylock.toml"
        pins.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()))
        # Only this form has the dates. It has addresses, too, so it is not kept.
        subprocess.run(
            [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-deps", "--format", "pylock.toml",
             "--output-file", lock, pins],
            check=True, cwd=PROJECT, timeout=300,
        )  # fmt: skip
        locked = tomllib.loads(lock.read_text())["packages"]
    dates = {}
    for package in locked:
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        times = [file["upload-time"].date() for file in files if "upload-time" in file]
        if not times:
            raise ValueError(
                f"{package['name']}: the package index does not say when {package['version']} was released"
            )
        dates[package["name"]] = min(times)
    return dates
