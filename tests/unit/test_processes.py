"""Commands that run in the background end with the process that runs them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

PROJECT = Path(__file__).parents[2]

SCRIPT = """
import asyncio, sys
from pathlib import Path
from worker.local.processes import run_until_signalled, running

async def work():
    async with running("http.server", "0", "--bind", "127.0.0.1", log=Path(sys.argv[1])) as process:
        print(process.pid, flush=True)
        await asyncio.Event().wait()

run_until_signalled(work())
"""


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_was_started(signal_number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as process:
        assert process.stdout is not None
        started = psutil.Process(int(process.stdout.readline()))
        process.send_signal(signal_number)
        assert process.wait(timeout=30) == 130
    assert not started.is_running()
