"""Commands of the worker, each in a process of its own.

The processes are forked from a server that has imported the commands, since that takes most of the time of a short
command. The server of `multiprocessing` is not used: a process has one, and it is confined once a test has used the
sandbox.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess, TimeoutExpired

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 60

_IMPORTED = (
    "collections",
    "doctor",
    "exits",
    "imports",
    "main",
    "saved_searches",
    "settings",
    "sources",
    "top",
    "users",
)


def run_command(environment: Mapping[str, str], *arguments: str, folder: Path | None = None) -> CompletedProcess[str]:
    """Run a command of the worker, in the current folder or another one."""
    with (
        tempfile.TemporaryDirectory() as outputs,
        socket.socket(socket.AF_UNIX) as connection,
        connection.makefile("r") as answers,
    ):
        output = [str(Path(outputs, name)) for name in ("stdout", "stderr")]
        request = {
            "environment": dict(environment),
            "arguments": arguments,
            "folder": str(folder or Path.cwd()),
            "output": output,
        }
        connection.connect(_address())
        connection.settimeout(TIMEOUT_SECONDS)
        connection.sendall(json.dumps(request).encode() + b"\n")
        process = int(answers.readline())
        try:
            code = answers.readline()
        except TimeoutError:
            os.kill(process, signal.SIGKILL)
            raise TimeoutExpired(arguments, TIMEOUT_SECONDS) from None
        stdout, stderr = (Path(path).read_text() for path in output)
        assert code, f"the command ended without an exit code; stderr: {stderr}"
        return CompletedProcess(arguments, int(code), stdout, stderr)


@functools.cache
def _address() -> str:
    """Start the server that forks the commands; return the path of its socket."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    address = str(Path(folder, "commands"))
    process = subprocess.Popen([sys.executable, "-m", __name__, address], cwd=ROOT, stdout=subprocess.PIPE)
    atexit.register(process.wait)
    atexit.register(process.kill)
    assert process.stdout is not None
    with process.stdout as started:
        assert started.readline(), "the server that forks the commands did not start"
    return address


class _Command(socketserver.StreamRequestHandler):
    """Runs one command in the process that was forked for it."""

    def handle(self) -> None:
        request = json.loads(self.rfile.readline())
        self.wfile.write(b"%d\n" % os.getpid())
        os.chdir(request["folder"])
        for descriptor, path in enumerate(request["output"], start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = ["worker/__main__.py", *request["arguments"]]
        code = _exit_code(request["arguments"])
        sys.stdout.flush()
        sys.stderr.flush()
        self.wfile.write(b"%d\n" % code)


def _exit_code(arguments: list[str]) -> int:
    try:
        return importlib.import_module("worker.cli.main").main(arguments) or 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
    except Exception as error:  # noqa: BLE001 (as the interpreter does)
        sys.excepthook(type(error), error, error.__traceback__)
    return 1


class _Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """Ends with the process that has started it."""

    request_queue_size = 64
    started_by = os.getppid()

    def service_actions(self) -> None:
        super().service_actions()
        if os.getppid() != self.started_by:
            os._exit(0)


if __name__ == "__main__":
    for module in _IMPORTED:
        importlib.import_module(f"worker.cli.{module}")
    with _Server(sys.argv[1], _Command) as server:
        sys.stdout.write("started\n")
        sys.stdout.flush()
        server.serve_forever()
