"""The versions that were tried are those that the package says it supports."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest
from packaging.requirements import Requirement

from tools.dependencies.installed import asked_for, label
from tools.versions.environments import PROJECT, PYTHONS, SETS
from tools.versions.tried import TESTS, Tried, counts, tried_before

TRIED = tried_before()
ALLOWED = {label(one): one for listed in asked_for().values() for one in listed}


def test_every_python_that_is_named_was_tried() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    named = {
        text.rpartition(" ")[2]
        for text in project["classifiers"]
        if text.startswith("Programming Language :: Python :: 3.")
    }
    succeeded = {entry.versions["python"].rpartition(".")[0] for entry in TRIED if entry.succeeded}
    assert named == succeeded == set(PYTHONS)
    assert project["requires-python"] == f">={PYTHONS[0]}"


def test_every_set_of_packages_was_tried_and_passed() -> None:
    assert {entry.packages for entry in TRIED} == set(SETS)
    assert [entry for entry in TRIED if not entry.succeeded] == []


@pytest.mark.parametrize("packages", SETS)
def test_tried_versions_are_allowed(packages: str) -> None:
    for entry in TRIED:
        if entry.packages == packages:
            refused = {
                name: version
                for name, version in entry.versions.items()
                if name in ALLOWED and not ALLOWED[name].specifier.contains(version)
            }
            assert refused == {}, "run ./scripts/versions"


def test_the_least_versions_that_are_allowed_are_those_that_were_tried() -> None:
    (least,) = (entry for entry in TRIED if entry.packages == "least")
    bounds = {name: _least(ALLOWED[name]) for name in least.versions.keys() & ALLOWED.keys()}
    tried = {name: least.versions[name] for name in bounds}
    shown = {name: version for name, version in tried.items() if not version.startswith(bounds[name])}
    assert shown == {}, "run ./scripts/versions"


def test_the_tests_that_are_run_exist() -> None:
    assert [name for name in TESTS if not (PROJECT / "tests" / "unit" / f"test_{name}.py").is_file()] == []


def test_what_failed_is_seen() -> None:
    passed = Tried(
        "pinned", "2026-11-29", "Linux", {"python": "3.11.7"}, counts("...\n12 passed, 1 skipped in 3.1s"), "passed"
    )
    assert passed.tests == "12 passed, 1 skipped"
    assert passed.succeeded
    for ending in ("1 failed, 11 passed in 3.1s", "3 passed, 1 error in 2s", "ImportError", ""):
        assert not replace(passed, tests=counts(ending)).succeeded
    assert not replace(passed, demo="failed with exit code 1").succeeded


def _least(requirement: Requirement) -> str:
    (least,) = (one.version for one in requirement.specifier if one.operator == ">=")
    return least
