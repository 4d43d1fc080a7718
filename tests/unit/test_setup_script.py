"""`scripts/setup` shows one line a step, and names the step that failed with the end of its output."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
NO_HASH = "--hash=sha256:" + 64 * "0"


def set_up(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script with an index that cannot be reached, and without what pip is configured to use here."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    unreachable = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0"}
    return subprocess.run(
        [folder / "scripts" / "setup", "local"],
        env=clean | unreachable | {"PYTHON": sys.executable} | environment,
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the script and an environment that is set up, with no packages."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "scripts").mkdir()
    shutil.copy(PROJECT / "scripts" / "setup", folder / "scripts")
    (folder / "requirements-local.txt").write_text("# nothing\n")
    done = set_up(folder)
    version = re.escape(".".join(map(str, sys.version_info[:3])))
    lines = [
        r"Setting up \.venv from requirements-local\.txt \(once\)",
        rf"  environment of Python {version} \.\.\. \d+ s",
        r"  packages \(0\) \.\.\. \d+ s",
    ]
    assert done.returncode == 0, done.stderr
    assert re.fullmatch("\n".join(lines) + "\n", done.stderr), done.stderr
    return folder


def test_what_is_set_up_stays_quiet(clone: Path) -> None:
    assert set_up(clone).stderr == ""


@pytest.mark.parametrize(
    ("requirements", "said"),
    [
        (f"h11==0.16.0 {NO_HASH}\n", "No matching distribution found for h11==0.16.0"),
        (f"h11=0.16.0 {NO_HASH}\n", "Invalid requirement: 'h11=0.16.0"),
    ],
    ids=["index that cannot be reached", "requirement that cannot be read"],
)
def test_packages_that_cannot_be_installed_are_named_as_the_step(clone: Path, requirements: str, said: str) -> None:
    file = clone / "requirements-local.txt"
    before = file.read_text()
    file.write_text(requirements)
    failed = set_up(clone)
    file.write_text(before)
    assert failed.returncode == 1
    assert "\n  packages (1) ... failed after " in failed.stderr
    assert said in failed.stderr
    assert failed.stderr.endswith("\nSet-up stopped at: packages (1)\n")


def test_pip_is_used_where_uv_fails(clone: Path, tmp_path: Path) -> None:
    uv, called = tmp_path / "uv", tmp_path / "called"
    uv.write_text(f'#!/bin/sh\necho "$@" >> {called}\nexit 1\n')
    uv.chmod(0o755)
    (clone / "requirements-local.txt").write_text("# nothing either\n")
    done = set_up(clone, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    assert (
        called.read_text()
        == "pip install --python .venv/bin/python --require-hashes --no-deps -r requirements-local.txt\n"
    )


def test_an_environment_that_cannot_be_created_is_named_as_the_step(clone: Path, tmp_path: Path) -> None:
    shutil.copytree(clone / "scripts", tmp_path / "scripts")
    (tmp_path / "requirements-local.txt").touch()
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -m ] || exec {sys.executable} "$@"\necho "ensurepip is not available" >&2\nexit 1\n'
    )
    python.chmod(0o755)
    failed = set_up(tmp_path, PYTHON=str(python))
    assert failed.returncode == 1
    assert "\nensurepip is not available\n" in failed.stderr
    assert "\nSet-up stopped at: environment of Python 3." in failed.stderr
