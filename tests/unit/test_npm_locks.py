"""What npm installs: exact versions, from whichever registry a machine uses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
LOCKS = sorted(
    path
    for room in ("examples", "scripts", "tests")
    for path in (PROJECT / room).rglob("package-lock.json")
    if "node_modules" not in path.parts
)

every_lock = pytest.mark.parametrize("lock", LOCKS, ids=lambda path: str(path.parent.relative_to(PROJECT)))


@every_lock
def test_a_lock_file_has_no_download_addresses(lock: Path) -> None:
    packages = json.loads(lock.read_text())["packages"]
    assert len(packages) > 1
    assert [name for name, package in packages.items() if "resolved" in package] == []
    # npm checks what it downloads; npm writes no hash of optional packages for other systems that it has not seen.
    needed = [name for name, package in packages.items() if name and not package.get("optional")]
    assert [name for name in needed if "integrity" not in packages[name]] == []


@every_lock
def test_exact_versions_are_asked_for(lock: Path) -> None:
    package = json.loads(lock.with_name("package.json").read_text())
    asked = package.get("dependencies", {}) | package.get("devDependencies", {})
    assert asked
    assert [name for name, version in asked.items() if not re.fullmatch(r"\d+\.\d+\.\d+(-[\w.]+)?", version)] == []
    locked = json.loads(lock.read_text())["packages"][""]
    assert asked == locked.get("dependencies", {}) | locked.get("devDependencies", {})


def test_the_frontend_is_among_them() -> None:
    assert PROJECT / "examples" / "nextjs" / "package-lock.json" in LOCKS
