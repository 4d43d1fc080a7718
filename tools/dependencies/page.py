"""Makes `docs/dependencies.md` from `measured.json`, `reasons.toml` and `pyproject.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.dependencies.installed import WORKER, asked_for, label
from tools.dependencies.licences import EXPLAINED, PERMISSIVE
from tools.dependencies.measured import Measured, measured

_REASONS = Path(__file__).with_name("reasons.toml")

_BEFORE = """\
# Dependencies

What is installed beside this package, why, how large it is, and under which licence. `./scripts/dependencies` measures
it and writes this page. The sizes are those on {machine}. `pyproject.toml` says which versions are
allowed, `requirements.txt` pins those that are tested, with hashes.

- **MB**: the files of the package, without bytecode. 1 MB is 1,000,000 bytes.
- **Frees**: what would not be installed without it: itself, unless another package needs it, and what only it needs.
- **Released**: the day of the version that is pinned, as the package index has it.
"""
_EXTRAS = """
## Extras

*Frees* counts what the worker does not bring. With all extras, {size} MB are installed.
"""
_LICENCES = """
## Licences

These licences are accepted: {permissive}.
Each other licence has a reason:

| package | licence | accepted because |
|---|---|---|
{explained}

`tests/unit/test_dependencies.py` fails for a package whose metadata names no licence, and for one whose licence is
neither accepted nor explained. The list says what the packages declare. A wheel with compiled parts may contain other
libraries, whose licences are in its folder `.dist-info`.

## Everything that is installed

| package | version | licence | released | MB | for |
|---|---|---|---|---:|---|
"""


def dependencies_page() -> str:
    """Return the page."""
    found = measured()
    asked = asked_for()
    worker = [name for name, package in found.packages.items() if WORKER in package.sets]
    lines = [
        _BEFORE.format(machine=f"{found.system} ({found.machine}) with Python {found.python}"),
        f"## The worker\n\n{_megabytes(found, worker)} MB in {len(worker)} packages.\n",
        *_table(found, asked.pop(WORKER)),
        _EXTRAS.format(size=_megabytes(found, found.packages)),
    ]
    for extra, requirements in asked.items():
        lines += [f"### {extra}", "", *_table(found, requirements), ""]
    permissive = ", ".join(sorted(PERMISSIVE))
    explained = "\n".join(
        f"| {name} | {found.packages[name].licence} | {reason} |" for name, reason in sorted(EXPLAINED.items())
    )
    lines.append(_LICENCES.format(permissive=permissive, explained=explained).strip("\n"))
    lines += _installed(found)
    return "\n".join(lines) + "\n"


def reasons() -> dict[str, dict[str, str]]:
    """Return `reason` and `without` of each requirement, by its label."""
    return tomllib.loads(_REASONS.read_text())


def _table(found: Measured, requirements: Iterable[Requirement]) -> Iterator[str]:
    given = reasons()
    yield "| requirement | version | released | MB | frees | reason | without it |"
    yield "|---|---|---|---:|---:|---|---|"
    for requirement in requirements:
        package = found.packages[canonicalize_name(requirement.name)]
        name = label(requirement)
        cells = (
            f"`{name}`", package.version, package.released, _megabytes(found, [canonicalize_name(requirement.name)]),
            _megabytes(found, found.brings[name]), given[name]["reason"], given[name]["without"],
        )  # fmt: skip
        yield f"| {' | '.join(cells)} |"


def _installed(found: Measured) -> Iterator[str]:
    for name, package in found.packages.items():
        size, sets = _megabytes(found, [name]), ", ".join(package.sets)
        yield f"| {name} | {package.version} | {package.licence} | {package.released} | {size} | {sets} |"


def _megabytes(found: Measured, names: Iterable[str]) -> str:
    size = sum(found.packages[name].size for name in names) / 1_000_000
    if size == 0:
        return "0"
    return f"{size:.0f}" if size >= 10 else "< 0.1" if size < 0.05 else f"{size:.1f}"  # noqa: PLR2004
