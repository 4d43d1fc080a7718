"""`scripts/bench/all` runs a benchmark and writes its figures."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts.bench.run_items_figures import READINGS
from tools.benchmarks.measured import read
from tools.benchmarks.suite import PROJECT

pytestmark = pytest.mark.database


def test_a_benchmark_is_run_and_its_figures_are_written(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = subprocess.run(
        [PROJECT / "scripts" / "bench" / "all", "--quick", "--only", "run_items", "--json", file],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = (result for result in read(file).results if result.not_run is None)
    (table,) = result.tables
    assert [row[0] for row in table["rows"]] == list(READINGS)
    assert all(milliseconds > 0 for row in table["rows"] for milliseconds in row[1:])
