"""Commands of the worker, each in a process of its own.

The processes are forked from one that has imported the commands, since that takes most of the time of a short command.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess, TimeoutExpired

from worker.cli.main import main

TIMEOUT_SECONDS = 60

_IMPORTED = ("collections", "doctor", "imports", "saved_searches", "settings", "sources", "top", "users", "webhooks")

_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload([__name__, *(f"worker.cli.{module}" for module in _IMPORTED)])


def run_command(environment: Mapping[str, str], *arguments: str, folder: Path | None = None) -> CompletedProcess[str]:
    """Run a command of the worker, in the current folder or another one."""
    with tempfile.TemporaryDirectory() as outputs:
        output = [str(Path(outputs, name)) for name in ("stdout", "stderr")]
        process = _forking.Process(target=_run, args=(dict(environment), arguments, folder or Path.cwd(), output))
        process.start()
        process.join(TIMEOUT_SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutExpired(arguments, TIMEOUT_SECONDS)
        stdout, stderr = (Path(path).read_text() for path in output)
        return CompletedProcess(arguments, process.exitcode, stdout, stderr)


def _run(environment: Mapping[str, str], arguments: Sequence[str], folder: Path, output: Sequence[str]) -> None:
    os.chdir(folder)
    for descriptor, path in enumerate(output, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["worker/__main__.py", *arguments]
    sys.exit(main(arguments))
