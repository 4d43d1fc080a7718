"""Environments with a version of Python and a set of packages, in `build/versions`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "build" / "versions"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SETS = ("least", "pinned", "newest")
"""The least versions that `pyproject.toml` allows, those of the requirements files, the newest that it allows."""

_CHECKS = ("import-linter", "ruff", "twine")
"""Tools that no test runs. They ask for newer packages than the least ones."""
_UV = (sys.executable, "-m", "uv", "--quiet")


@dataclass(frozen=True, slots=True)
class Environment:
    """A version of Python with a set of packages.

    Attributes:
        python: The version, as `3.11`.
        packages: One of `SETS`.
    """

    python: str
    packages: str

    @property
    def folder(self) -> Path:
        """Where it is installed."""
        return FOLDER / f"{self.python}-{self.packages}"

    @property
    def program(self) -> Path:
        """Its Python."""
        return self.folder / "bin" / "python"

    def install(self) -> None:
        """Create it, or replace it.

        Raises:
            CalledProcessError: If the packages cannot be installed together.
        """
        FOLDER.mkdir(parents=True, exist_ok=True)
        _run(*_UV, "venv", "--clear", "--python", f"python{self.python}", self.folder)
        if self.packages == "pinned":
            _run(*_UV, "pip", "install", "--python", self.program, "--require-hashes", "-r", "requirements-dev.txt")
            return
        listed = FOLDER / f"{self.folder.name}.txt"
        compiled = (*_UV, "pip", "compile", "--no-header", "--no-annotate", "--python", self.program)
        resolution = "lowest-direct" if self.packages == "least" else "highest"
        extras = [argument for extra in _extras() for argument in ("--extra", extra)]
        listed.unlink(missing_ok=True)  # its versions would be kept
        _run(*compiled, "pyproject.toml", *extras, "--resolution", resolution, "--output-file", listed)
        _run(*_UV, "pip", "install", "--python", self.program, "-r", listed, *_tools())

    def versions(self, names: Sequence[str]) -> dict[str, str]:
        """Return the versions of installed packages, and that of Python."""
        program = (
            "import json, platform, sys; from importlib.metadata import version;"
            " print(json.dumps({'python': platform.python_version()} | {name: version(name) for name in sys.argv[1:]}))"
        )
        shown = subprocess.run(
            [self.program, "-c", program, *names], check=True, capture_output=True, text=True, timeout=60
        )
        return dict(json.loads(shown.stdout))


def found_here() -> Iterator[Environment]:
    """Yield each Python that is here with pinned packages, the oldest with the least, the last with the newest."""
    pythons = [version for version in PYTHONS if _runs(f"python{version}")]
    for version in pythons:
        yield Environment(version, "pinned")
    if pythons:
        yield Environment(pythons[0], "least")
        yield Environment(pythons[-1], "newest")


def _runs(name: str) -> bool:
    # The name alone is not enough: a manager of versions may have it for a Python that is not active.
    path = shutil.which(name)
    return (
        path is not None and subprocess.run([path, "-V"], capture_output=True, timeout=60, check=False).returncode == 0
    )


def _extras() -> list[str]:
    return [name for name in _optional() if name != "dev"]


def _tools() -> list[str]:
    """Return what the tests need beside the package: what the extra `dev` has beside the package and checks of text."""
    return [text for text in _optional()["dev"] if Requirement(text).name not in {"supabase-search-worker", *_CHECKS}]


def _optional() -> dict[str, list[str]]:
    return dict(tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, cwd=PROJECT, timeout=900)
