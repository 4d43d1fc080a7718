"""The chaos experiment as a person runs it, in a small size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.plan import make_plan

ROOT = Path(__file__).parents[2]


@pytest.mark.database
def test_a_small_experiment_holds() -> None:
    # A seed of which the faults are soon over; also with followers, a watcher and a cancelled search.
    command = [sys.executable, "-m", "tests.chaos", "--runs", "12", "--workers", "2", "--seed", "182"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "all invariants hold: scripts/chaos --runs 12 --workers 2 --seed 182" in answer.stdout
    for fault in ("SIGKILL", "SIGSTOP", "SIGTERM", "gateway: ", "Postgres: ", "board: ", "exit "):
        assert fault in answer.stdout


def test_equal_seeds_plan_the_same() -> None:
    assert make_plan(seed=7, runs=50, workers=3) == make_plan(seed=7, runs=50, workers=3)
    assert make_plan(seed=7, runs=50, workers=3) != make_plan(seed=8, runs=50, workers=3)


@pytest.mark.parametrize("seed", range(20))
def test_even_a_small_plan_holds_every_kind_of_fault(seed: int) -> None:
    plan = make_plan(seed=seed, runs=12, workers=2)
    assert {type(fault).__name__ for fault in plan.faults} == {
        "WorkerFault",
        "GatewayFault",
        "PostgresFault",
        "BoardFault",
        "ExitFault",
    }
