"""Runs a blocking generator in a child process that can be killed at any moment.

The children come from a `forkserver` that has imported the heavy modules once; it starts with the first stream,
so that a worker that never scrapes stays lean. A child speaks to its parent through a pipe, one JSON value a
frame: whatever a hostile page makes of the child, the parent unpickles nothing, and the child finds no secret in its
environment, in its memory, in a file or in another process (`confinement.py`). Nobody outlives anybody: a closed
stream kills its child, and a child whose parent is gone ends by itself, and the forkserver with the last of them.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import multiprocessing
import os
import re
import signal
import struct
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache, partial
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar, cast

from worker.errors import ErrorCode, SiteError
from worker.model import Json
from worker.printable import one_line
from worker.processes.bounded_json import JsonError, read_json_aside
from worker.processes.confinement import conceal, needs

logger = logging.getLogger(__name__)

_context = multiprocessing.get_context("forkserver")
_preloaded: list[str] = []
_readable: list[Path] = []
# The last one leaves the forkserver, and all of its children, nothing but their work.
_LAST_PRELOADED = (__name__, "worker.processes.confined")
_NEEDS = "WORKER_CHILD_NEEDS"
# multiprocessing reads a child's exit code once, and from whichever thread starts or joins any child.
_bookkeeping = threading.Lock()
Value = TypeVar("Value")
_frame_length = struct.Struct("!I")

LONGEST_FRAME = 64 * 2**20
"""Bytes of one value that are read from a child at most."""

# What Python, its libraries and TLS need, and nothing that is anybody's key.
_CHILD_ENVIRONMENT = re.compile(
    r"PATH|HOME|LANG|LANGUAGE|LC_\w+|TZ|TZDIR|TMPDIR|TEMP|TMP|PYTHON\w*|LD_LIBRARY_PATH|DYLD_\w+"
    r"|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|(?i:\w+_proxy)"
)


class SandboxError(Exception):
    """The child failed: its function raised, or the process died by itself."""


def preload(*modules: str) -> None:
    """Name modules that the forkserver imports before the first child starts, so that every child has them.

    Args:
        modules: Full module names. Without effect once a stream has run in this process.
    """
    _preloaded.extend(module for module in modules if module not in _preloaded)


def let_read(*files: Path) -> None:
    """Name files, or folders, that the children have to read besides Python and what is installed.

    Args:
        files: Their paths. Without effect once a stream has run in this process.
    """
    _readable.extend(files)


async def stream(
    function: Callable[..., Iterator[Value]], *args: Any, deadline_seconds: float
) -> AsyncGenerator[Value, None]:
    """Run a generator function in a child process and yield what it yields, as it comes.

    Closing the generator, or cancelling the task that reads it, kills the child at once and reaps it. Use
    `contextlib.aclosing`, so that leaving the loop early closes it.

    Args:
        function: A top-level generator function, which the child imports by name. What it yields
            must be JSON: tuples become lists, and keys strings.
        args: Its arguments; they are pickled.
        deadline_seconds: Seconds from now after which the child is killed, whatever it or the reader is doing.

    Yields:
        Each value, in order. What the child sent before a failure or before the deadline is yielded first.

    Raises:
        SiteError: The function raised it; it comes through unchanged.
        SandboxError: The function raised something else, the child died by itself, or a value is longer than
            `LONGEST_FRAME`.
        TimeoutError: The deadline came first.
    """
    loop = asyncio.get_running_loop()
    child = _Child(function, args)
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(partial(asyncio.StreamReaderProtocol, reader), child.receiver)
    # One thread, so that reaping waits its turn behind a start that nobody awaits any more.
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox")
    deadline = loop.call_later(deadline_seconds, child.expire)
    try:
        await loop.run_in_executor(thread, child.start)
        while (frame := await _receive(reader)) is not None:
            match frame:
                case ["left", int(level), str(what)]:
                    _tell_left(level, one_line(what))
                case ["value", value]:
                    yield cast("Value", value)
                case ["end"]:
                    return
                case ["site_error", str(code), str(message)]:
                    raise SiteError(ErrorCode(code), message)
                case ["error", str(message)]:
                    raise SandboxError(message)
    finally:
        deadline.cancel()
        reaped = loop.run_in_executor(thread, child.reap)
        thread.shutdown(wait=False)
        try:
            exit_code = await asyncio.shield(reaped)
        finally:
            transport.close()
    if child.expired:
        raise TimeoutError(f"not finished after {deadline_seconds:g} s")
    raise SandboxError(f"the child process {_describe_exit(exit_code)}")


class _Child:
    """The parent's side of one child process. `start` and `reap` block; `expire` does not."""

    def __init__(self, function: Callable[..., Iterator[Any]], args: tuple[Any, ...]) -> None:
        self.receiver, self._sender = _context.Pipe(duplex=False)
        self._process = _context.Process(
            target=_run, args=(self._sender, function, args), name=function.__name__, daemon=True
        )
        self._started = False
        self.expired = False

    def start(self) -> None:
        with _bookkeeping, self._sender:
            conceal()
            _context.set_forkserver_preload([*_preloaded, *_LAST_PRELOADED])
            with _environment_of_children():
                # The forkserver and its children inherit blocked signals from the thread that starts them: Ctrl-C on
                # the terminal, and a SIGTERM to the process group, are the parent's to handle. The tracker's own
                # start would unblock them again.
                resource_tracker.ensure_running()
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
                forkserver.ensure_running()
            self._process.start()
        # multiprocessing ends what is left at exit with SIGTERM, and waits for it.
        atexit.register(self._kill)
        self._started = True
        if self.expired:
            self._kill()

    def expire(self) -> None:
        self.expired = True
        if self._started:
            self._kill()

    def reap(self) -> int | None:
        if not self._started:
            return None
        self._kill()
        atexit.unregister(self._kill)
        with _bookkeeping:
            self._process.join()
            exit_code = self._process.exitcode
            self._process.close()
        return exit_code

    def _kill(self) -> None:
        # A dead child's number may already be another process's.
        if not wait([self._process.sentinel], timeout=0):
            self._process.kill()


@contextmanager
def _environment_of_children() -> Iterator[None]:
    """Hide the rest of the environment from processes that are started meanwhile: they show it to each other."""
    hidden = {name: value for name, value in os.environ.items() if not _CHILD_ENVIRONMENT.fullmatch(name)}
    for name in hidden:
        del os.environ[name]
    os.environ[_NEEDS] = json.dumps(asdict(needs(map(str, _readable))))
    try:
        yield
    finally:
        del os.environ[_NEEDS]
        os.environ.update(hidden)


@cache
def _tell_left(level: int, what: str) -> None:
    """Log once what a child could not be deprived of."""
    logger.log(min(level, logging.WARNING), "Should a hostile site take over a child process, %s", what)


async def _receive(reader: asyncio.StreamReader) -> Json:
    """Read one frame; None once the child is gone."""
    try:
        (length,) = _frame_length.unpack(await reader.readexactly(_frame_length.size))
        if length > LONGEST_FRAME:
            raise SandboxError(f"the child sent a value of {length} bytes; at most {LONGEST_FRAME} are read")
        return await read_json_aside(await reader.readexactly(length))
    except asyncio.IncompleteReadError:
        return None
    except JsonError as error:
        raise SandboxError(f"a value that the child sent {error}") from None


def _describe_exit(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"


def _run(sender: Connection, function: Callable[..., Iterator[Any]], args: tuple[Any, ...]) -> None:
    """Run in the child: send what the function yields, then how it ended."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with open(sender.fileno(), "wb", closefd=False) as pipe:

        def send(*frame: Json) -> None:
            data = json.dumps(frame, allow_nan=False).encode()
            try:
                pipe.write(_frame_length.pack(len(data)) + data)
                pipe.flush()
            except BrokenPipeError:  # nobody reads any more
                os._exit(os.EX_UNAVAILABLE)

        # Done by now, unless the forkserver has not found it: that does not look everywhere for modules.
        from worker.processes import confined  # noqa: PLC0415 (it confines whoever imports it)

        for level, what in confined.left:
            send("left", level, what)
        try:
            for value in function(*args):
                send("value", value)
        except SiteError as error:
            send("site_error", error.code, error.message)
        except Exception as error:  # noqa: BLE001 (told to the parent, which raises it)
            send("error", f"{type(error).__name__}: {error}")
        else:
            send("end")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(os.EX_UNAVAILABLE)
