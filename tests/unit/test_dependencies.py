"""What the package installs: licences are known, requirements have a reason, and the page is about what is pinned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.message import Message
from importlib.metadata import PackageMetadata
from typing import cast

import pytest
from packaging.markers import Marker

from tools.dependencies.installed import PROJECT, WORKER, asked_for, installed_sets, label
from tools.dependencies.licences import EXPLAINED, licence_of, problem
from tools.dependencies.measured import measured
from tools.dependencies.page import reasons

_PIN = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?: ; (?P<marker>.+?))?(?: \\)?$", re.MULTILINE)


def pins(file: str) -> dict[str, str]:
    """The versions that a file of requirements pins for the machine that was measured."""
    found = measured()
    machine = {
        "python_full_version": found.python,
        "python_version": found.python.rpartition(".")[0],
        "sys_platform": found.system.lower(),
        "platform_system": found.system,
        "platform_machine": found.machine,
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "os_name": "posix",
    }
    return {
        pin["name"]: pin["version"]
        for pin in _PIN.finditer((PROJECT / file).read_text())
        if pin["marker"] is None or Marker(pin["marker"]).evaluate(machine)
    }


def versions(*sets: str) -> Mapping[str, str]:
    return {name: package.version for name, package in measured().packages.items() if set(sets) & set(package.sets)}


def metadata(**fields: str | list[str]) -> PackageMetadata:
    message = Message()
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            message[name.replace("_", "-")] = one
    return cast("PackageMetadata", message)


def test_every_installed_package_has_a_licence_that_is_accepted_or_explained() -> None:
    problems = {
        problem(name, licence_of(name, package.metadata))
        for packages in installed_sets().values()
        for name, package in packages.items()
    }
    assert problems == {None}


def test_the_page_is_about_the_versions_that_are_pinned() -> None:
    out_of_date = "run ./scripts/dependencies"
    assert versions(WORKER) == pins("requirements.txt"), out_of_date
    assert versions(WORKER, "local") == pins("requirements-local.txt"), out_of_date
    assert versions(*asked_for()).items() <= pins("requirements-dev.txt").items(), out_of_date


def test_the_page_has_the_licences_that_the_packages_state() -> None:
    stated = {
        (name, package.version): licence_of(name, package.metadata)
        for packages in installed_sets().values()
        for name, package in packages.items()
    }
    listed = {(name, package.version): package.licence for name, package in measured().packages.items()}
    both = stated.keys() & listed.keys()
    assert len(both) > 50
    assert {package: stated[package] for package in both} == {package: listed[package] for package in both}


def test_every_requirement_has_a_reason() -> None:
    wanted = {label(requirement) for listed in asked_for().values() for requirement in listed}
    assert reasons().keys() == wanted
    assert all(reason.keys() == {"reason", "without"} for reason in reasons().values())


def test_explanations_are_of_packages_that_need_one() -> None:
    packages = measured().packages
    assert EXPLAINED.keys() <= packages.keys()
    assert [name for name in EXPLAINED if problem("another", packages[name].licence) is None] == []


@pytest.mark.parametrize(
    ("stated", "licence"),
    [
        (metadata(License_Expression="mit or apache-2.0"), "MIT OR Apache-2.0"),
        (metadata(License="BSD-3-Clause"), "BSD-3-Clause"),
        (metadata(License="MIT License\n\nCopyright (c) 2024"), "MIT"),
        (metadata(License="Apache 2", Classifier=["License :: OSI Approved :: Apache Software License"]), "Apache-2.0"),
        (metadata(Classifier=["License :: OSI Approved :: BSD License"]), None),
        (metadata(License="BSD"), None),
        (metadata(), None),
    ],
    ids=lambda value: str(value) if value is None or isinstance(value, str) else "",
)
def test_a_licence_is_read_from_metadata(stated: PackageMetadata, licence: str | None) -> None:
    assert licence_of("new", stated) == licence


def test_a_licence_that_nothing_explains_is_a_problem() -> None:
    assert problem("new", "MIT AND (Apache-2.0 OR BSD-2-Clause)") is None
    assert problem("certifi", "MPL-2.0") is None
    for licence in (None, "GPL-3.0-only", "MIT AND MPL-2.0", "Apache-2.0 WITH LLVM-exception"):
        assert "new: " in str(problem("new", licence))
