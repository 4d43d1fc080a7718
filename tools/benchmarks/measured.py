"""What `scripts/bench/all` has measured: `measured.json`, from which the page and its plots are made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("measured.json")


@dataclass(frozen=True, slots=True)
class Result:
    """What a call of a benchmark has come to.

    Attributes:
        bench: The name of the benchmark.
        command: The call, as a person types it.
        seconds: How long it took, set-up included. 0 if it was not made.
        not_run: Why there are no figures. `None` if there are.
        has_failed: Whether the call was made and gave no figures.
        conditions: Under which conditions the figures were measured, as sentences.
        tables: The figures: `title`, `columns` (the fields of `scripts.bench.report.Column`) and `rows`.
    """

    bench: str
    command: str
    seconds: float = 0
    not_run: str | None = None
    has_failed: bool = False
    conditions: list[str] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of all benchmarks.

    Attributes:
        day: The day on which it began, as `2026-11-29`.
        seconds: How long it took.
        commit: The commit that was measured.
        is_changed: Whether files differed from that commit.
        machine: CPU, cores, memory, kernel and system, by name.
        versions: Versions of programs and packages, by name.
        load: The load average of the minute before.
        results: The calls, in order.
    """

    day: str
    seconds: float
    commit: str
    is_changed: bool
    machine: dict[str, str]
    versions: dict[str, str]
    load: float
    results: list[Result]


def read(file: Path = FILE) -> Measured:
    """Return a run of all benchmarks: the one that the repository has, if no other file is named."""
    content = json.loads(file.read_text())
    results = [Result(**fields) for fields in content.pop("results")]
    return Measured(results=results, **content)


def write(measured: Measured, file: Path) -> None:
    """Write a run of all benchmarks to a file."""
    file.write_text(json.dumps(asdict(measured), indent=1, ensure_ascii=False) + "\n")
