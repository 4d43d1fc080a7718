"""Runs the benchmarks one after another, each as its command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path

from tools.benchmarks.machine import commit, machine, versions
from tools.benchmarks.measured import Measured, Result
from tools.benchmarks.suite import PROJECT, SUITE, Bench, Command, call, missing, shown

_TIMEOUT_SECONDS = 1800
_STOP_SECONDS = 60
_LINES = 20


def run_all(only: Collection[str], *, is_quick: bool) -> Measured:
    """Run the benchmarks and return what they have measured. What happens is printed.

    Args:
        only: The names of the benchmarks to run. Empty: all.
        is_quick: Whether they are only tried, with the arguments for it.
    """
    began = time.monotonic()
    day = datetime.now(UTC).date().isoformat()
    (measured_commit, is_changed), load = commit(), os.getloadavg()[0]
    results = [*_results(only, is_quick=is_quick)]
    return Measured(
        day=day,
        seconds=round(time.monotonic() - began),
        commit=measured_commit,
        is_changed=is_changed,
        machine=machine(),
        versions=versions(),
        load=round(load, 2),
        results=results,
    )


def _results(only: Collection[str], *, is_quick: bool) -> Iterator[Result]:
    for bench in SUITE:
        for command in bench.commands:
            typed = shown(bench, command, is_quick=is_quick)
            if only and bench.name not in only:
                yield Result(bench.name, typed, not_run="it was left out of this run")
                continue
            if reason := missing(bench, command):
                print(f"{typed}: not run: {reason}", flush=True)
                yield Result(bench.name, typed, not_run=reason)
                continue
            print(f"{typed} ...", flush=True)
            result = _run(bench, command, typed, is_quick=is_quick)
            print(f"  {result.not_run or 'done'}, {result.seconds:.0f} s", flush=True)
            yield result


def _run(bench: Bench, command: Command, typed: str, *, is_quick: bool) -> Result:
    with tempfile.TemporaryDirectory(prefix="search-worker-bench-") as name:
        report, log = Path(name, "report.json"), Path(name, "log")
        program = [*call(bench, command, is_quick=is_quick), "--json", str(report)]
        began = time.monotonic()
        code = _exit_code(program, os.environ | command.environment, log)
        seconds = round(time.monotonic() - began, 1)
        if code == 0 and report.exists():
            found = json.loads(report.read_text())
            return Result(bench.name, typed, seconds, conditions=found["conditions"], tables=found["tables"])
        print(*log.read_text(errors="replace").splitlines()[-_LINES:], sep="\n")
    how = f"took longer than {_TIMEOUT_SECONDS} s" if code is None else f"failed with exit code {code}"
    return Result(bench.name, typed, seconds, not_run=f"it {how}", has_failed=True)


def _exit_code(program: list[str], environment: dict[str, str], log: Path) -> int | None:
    """Return the exit code of a program, or `None` if it was stopped because it took too long."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            program,
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            return process.wait(_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let a program end what it has started, and kill all of it if it does not."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
