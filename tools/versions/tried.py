"""What was tried with which versions: `tried.json`, from which the page is made."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tools.versions.environments import PROJECT, Environment

FILE = Path(__file__).with_name("tried.json")
SHOWN = ("supabase", "realtime", "python-jobspy", "httpx", "pydantic", "pandas", "lxml", "psycopg", "starlette")
"""Packages whose versions are noted."""
TESTS = (
    "codec", "duplicates", "embedding_models", "exits", "http", "jobspy_parameters", "jobspy_scrape", "jobspy_source",
    "log", "metrics", "model", "normalize_markdown", "open_client", "parameters", "settings", "status_server",
    "terminal", "webhooks",
)  # fmt: skip
"""Unit tests of the code that calls packages. Between versions of packages, the rest of the code stays the same."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One environment that was tried.

    Attributes:
        packages: The set of packages: `least`, `pinned` or `newest`.
        day: The day, as `2026-11-29`.
        system: The operating system and architecture.
        versions: Versions of Python (`python`) and of packages by name.
        tests: What `TESTS` ended with, as `1500 passed`.
        demo: `passed`, or the exit code.
    """

    packages: str
    day: str
    system: str
    versions: dict[str, str]
    tests: str
    demo: str

    @property
    def succeeded(self) -> bool:
        """Whether everything passed."""
        return self.demo == "passed" and "passed" in self.tests and not re.search("fail|error", self.tests)


def tried_before() -> list[Tried]:
    """Return what the repository says."""
    return [Tried(**entry) for entry in json.loads(FILE.read_text())] if FILE.exists() else []


def note(tried: Tried) -> None:
    """Add an entry to the file, in the place of one with the same Python and set of packages."""
    kept = {_key(entry): entry for entry in [*tried_before(), tried]}
    FILE.write_text(json.dumps([asdict(kept[key]) for key in sorted(kept)], indent=1) + "\n")


def try_out(environment: Environment) -> Tried:
    """Run `TESTS` and the demo in an installed environment.

    The demo searches with a worker and JobSpy, and reads through Supabase's clients: what it shows and how its runs
    end decides its exit code.
    """
    log = environment.folder.with_suffix(f"{environment.folder.suffix}.log")
    files = [f"tests/unit/test_{name}.py" for name in TESTS]
    tests = _run(environment, "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", *files)
    demo = _run(environment, "worker", "demo")
    log.write_text(tests.stdout + tests.stderr + demo.stdout + demo.stderr)
    print(f"The output is in {log}.")
    return Tried(
        packages=environment.packages,
        day=datetime.now(UTC).date().isoformat(),
        system=f"{platform.system()}, {platform.machine()}",
        versions=environment.versions(SHOWN),
        tests=counts(tests.stdout),
        demo="passed" if demo.returncode == 0 else f"failed with exit code {demo.returncode}",
    )


def _run(environment: Environment, *module: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [environment.program, "-m", *module],
        cwd=PROJECT, env=os.environ | {"PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, timeout=1800,
        check=False,
    )  # fmt: skip


def counts(output: str) -> str:
    """Return the counts of pytest's last line."""
    counted = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", output.strip().rpartition("\n")[2])
    return ", ".join(counted) or "failed to start"


def _key(tried: Tried) -> tuple[int, ...]:
    version = (int(part) for part in tried.versions["python"].split(".")[:2])
    return (*version, ("least", "pinned", "newest").index(tried.packages))
