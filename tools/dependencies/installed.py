"""What is installed for the package and for each of its extras, read from the metadata of this environment."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]
WORKER = "worker"
"""Stands for the package without extras, beside the names of its extras."""


def asked_for() -> dict[str, list[Requirement]]:
    """Return what `pyproject.toml` asks for: for the worker, then for each extra that users install."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = {name: listed for name, listed in project["optional-dependencies"].items() if name != "dev"}
    return {
        name: [Requirement(text) for text in listed]
        for name, listed in {WORKER: project["dependencies"], **extras}.items()
    }


def label(requirement: Requirement) -> str:
    """Return the name of a requirement with its extras: `httpx[socks]`."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{canonicalize_name(requirement.name)}{extras}"


def with_all_they_need(requirements: Iterable[Requirement]) -> dict[str, Distribution]:
    """Return the packages that requirements install here, by normalized name.

    Raises:
        PackageNotFoundError: If one of them is not installed.
    """
    found: dict[str, Distribution] = {}
    done: set[tuple[str, str]] = set()
    open_ones = [(requirement, extra) for requirement in requirements for extra in ("", *requirement.extras)]
    while open_ones:
        requirement, extra = open_ones.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) in done:
            continue
        done.add((name, extra))
        found[name] = distribution(name)
        for needed in map(Requirement, found[name].requires or ()):
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                open_ones += [(needed, asked) for asked in ("", *needed.extras)]
    return found


def installed_sets() -> dict[str, Mapping[str, Distribution]]:
    """Return the packages of the worker, and of each extra those that the worker does not bring."""
    asked = asked_for()
    worker = with_all_they_need(asked[WORKER])
    sets: dict[str, Mapping[str, Distribution]] = {WORKER: worker}
    for extra in asked.keys() - {WORKER}:
        found = with_all_they_need(asked[extra])
        sets[extra] = {name: package for name, package in found.items() if name not in worker}
    return {name: sets[name] for name in asked}


def size_of(package: Distribution) -> int:
    """Return the bytes of the files of a package, without bytecode, which Python can make again."""
    paths = [Path(str(package.locate_file(file))) for file in package.files or () if file.suffix != ".pyc"]
    return sum(path.stat().st_size for path in paths if path.is_file())
