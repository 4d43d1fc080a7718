"""The demo as a person runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

COMMAND = [sys.executable, "-m", "worker", "demo"]


@pytest.fixture
def mark() -> Iterator[dict[str, str]]:
    """An environment by which every process of the demo is known; none may be left at the end."""
    name = f"PYTHON_DEMO_{uuid4().hex}"  # the scrapers' processes inherit nothing but such names
    yield os.environ | {name: "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "80"}
    left = [process for process in psutil.process_iter() if name in environment_of(process)]
    assert left == []


def environment_of(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def test_it_ends_by_itself_with_a_partial_run_and_tables_of_jobs(mark: dict[str, str]) -> None:
    answer = subprocess.run(COMMAND, env=mark, capture_output=True, text=True, timeout=100, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "✗ glassdoor" in answer.stdout
    assert "✓ jsearch" in answer.stdout
    assert "Sites completed: 2 of 3, failed: 1" in answer.stdout
    # Also for the follower, which shows the sites of its leader.
    assert answer.stdout.count("Sites completed: 3 of 3, failed: 0") == 3
    assert answer.stdout.count(": success  shared search") == 1
    assert "Found for ada: engineer" in answer.stdout
    assert "Next steps" in answer.stdout


def test_the_frontend_is_not_shown_without_npm(mark: dict[str, str], tmp_path: Path) -> None:
    environment = mark | {"PATH": str(tmp_path)}
    answer = subprocess.run(
        [sys.executable, "-m", "scripts.demo_web", "--web"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert answer.returncode == 1
    assert " ".join(answer.stdout.split()) == ("The frontend needs npm and Node.js 22 or newer, and npm was not found.")
    assert answer.stderr == ""


@pytest.mark.parametrize("moment", ["Starting Supabase", "Supabase is at", "Signed in", "completed"])
def test_ctrl_c_leaves_no_process_behind(mark: dict[str, str], moment: str) -> None:
    terminal, demo_side = os.openpty()
    with subprocess.Popen(COMMAND, env=mark, stdout=demo_side, stderr=demo_side, stdin=demo_side) as demo:
        os.close(demo_side)
        output = b""
        while moment.encode() not in output:
            output += os.read(terminal, 65536)
        demo.send_signal(signal.SIGINT)
        demo.send_signal(signal.SIGINT)
        while True:
            try:
                output += os.read(terminal, 65536)
            except OSError:  # how a terminal says that its last writer is gone
                break
        assert demo.wait() == 130, output.decode(errors="replace")
    os.close(terminal)
    # What is killed while it writes may leave half a character.
    assert "Traceback" not in output.decode(errors="replace")
