"""Runs a blocking generator in a child process that can be killed at any time.

A `forkserver` imports the heavy modules once and forks the children. It starts with the first stream, so that a worker
that never scrapes uses no memory for it. A child sends JSON frames through a pipe: the parent unpickles nothing. The
child is confined (`confinement.py`), so that a hostile page that takes control of it finds no secrets. Closing a stream
kills its child. A child exits when its parent is gone, and the forkserver when all children are gone.
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
from worker.processes.bounded_json import JsonError, read_json_in_thread
from worker.processes.confinement import needs, protect_memory

logger = logging.getLogger(__name__)

_context = multiprocessing.get_context("forkserver")
_preloaded: list[str] = []
_readable: list[Path] = []
# `confined` comes last: it confines the forkserver and with it all children.
_LAST_PRELOADED = (__name__, "worker.processes.confined")
_NEEDS = "WORKER_CHILD_NEEDS"
# Starting or joining any child makes multiprocessing reap all of them, and an exit code can be read only once.
_reap_lock = threading.Lock()
Value = TypeVar("Value")
_frame_length = struct.Struct("!I")

MAX_FRAME_BYTES = 64 * 2**20
"""Longest value in bytes that the parent reads from a child."""

# Variables that Python, its libraries and TLS need. None of them holds a secret. No proxy of the environment: a child
# uses the exit of its call and no other way.
_CHILD_ENVIRONMENT = re.compile(
    r"PATH|HOME|LANG|LANGUAGE|LC_\w+|TZ|TZDIR|TMPDIR|TEMP|TMP|PYTHON\w*|LD_LIBRARY_PATH|DYLD_\w+"
    r"|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
)


class SandboxError(Exception):
    """The child failed: its function raised an exception, or its process died."""


class ChildDiedError(SandboxError):
    """The process of the child died, although nobody closed its stream."""


def preload(*modules: str) -> None:
    """Add modules that the forkserver imports before it starts the first child.

    Args:
        modules: Full module names. They have no effect once a stream has run in this process.
    """
    _preloaded.extend(module for module in modules if module not in _preloaded)


def allow_read(*files: Path) -> None:
    """Add files that the children may read besides Python and the installed packages.

    Args:
        files: Files or folders. They have no effect once a stream has run in this process.
    """
    _readable.extend(files)


async def stream(
    function: Callable[..., Iterator[Value]], *args: Any, deadline_seconds: float
) -> AsyncGenerator[Value, None]:
    """Run a generator function in a child process and yield its values as they arrive.

    Closing the generator, or cancelling the task that reads it, kills and reaps the child. Use `contextlib.aclosing`,
    so that leaving the loop early closes it.

    Args:
        function: A top-level generator function, which the child imports by name. It must yield JSON values; tuples
            become lists and keys become strings.
        args: The function's arguments; they are pickled.
        deadline_seconds: Seconds from now after which the child is killed.

    Yields:
        Each value, in order. Values that the child sent before a failure or the deadline are yielded first.

    Raises:
        SiteError: The function raised it.
        SandboxError: The function raised another exception, the child died, or a value exceeds `MAX_FRAME_BYTES`.
        TimeoutError: The deadline passed.
    """
    loop = asyncio.get_running_loop()
    child = _Child(function, args)
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(partial(asyncio.StreamReaderProtocol, reader), child.receiver)
    # One thread, so that `reap` runs after a `start` whose caller was cancelled.
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox")
    deadline = loop.call_later(deadline_seconds, child.expire)
    try:
        await loop.run_in_executor(thread, child.start)
        while (frame := await _receive(reader)) is not None:
            match frame:
                case ["gap", int(level), str(gap)]:
                    _log_gap(level, one_line(gap))
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
    raise ChildDiedError(f"the child process {_describe_exit(exit_code)}")


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
        with _reap_lock, self._sender:
            protect_memory()
            _context.set_forkserver_preload([*_preloaded, *_LAST_PRELOADED])
            with _environment_of_children():
                # The forkserver and its children inherit the blocked signals of this thread: only the parent handles
                # Ctrl-C and a SIGTERM to the process group. The resource tracker starts first, because its start would
                # unblock them.
                resource_tracker.ensure_running()
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
                forkserver.ensure_running()
            self._process.start()
        # At exit, multiprocessing sends SIGTERM, which the child blocks, and waits for the child.
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
        with _reap_lock:
            self._process.join()
            exit_code = self._process.exitcode
            self._process.close()
        return exit_code

    def _kill(self) -> None:
        # Another process may already have the PID of a dead child.
        if not wait([self._process.sentinel], timeout=0):
            self._process.kill()


@contextmanager
def _environment_of_children() -> Iterator[None]:
    """Reduce the environment to what children need: a child can read the environment of its siblings."""
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
def _log_gap(level: int, gap: str) -> None:
    """Log, once per process, a restriction that could not be applied to child processes."""
    logger.log(min(level, logging.WARNING), "Child processes are not fully confined: %s", gap)


async def _receive(reader: asyncio.StreamReader) -> Json:
    """Read one frame; return None at the end of the pipe."""
    try:
        (length,) = _frame_length.unpack(await reader.readexactly(_frame_length.size))
        if length > MAX_FRAME_BYTES:
            raise SandboxError(f"the child sent a value of {length} bytes; the limit is {MAX_FRAME_BYTES}")
        return await read_json_in_thread(await reader.readexactly(length))
    except asyncio.IncompleteReadError:
        return None
    except JsonError as error:
        raise SandboxError(f"a value that the child sent {error}") from None


def _describe_exit(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"


def _run(sender: Connection, function: Callable[..., Iterator[Any]], args: tuple[Any, ...]) -> None:
    """Run in the child: send the values of the function, then its outcome."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with open(sender.fileno(), "wb", closefd=False) as pipe:

        def send(*frame: Json) -> None:
            data = json.dumps(frame, allow_nan=False).encode()
            try:
                pipe.write(_frame_length.pack(len(data)) + data)
                pipe.flush()
            except BrokenPipeError:  # the parent closed the stream
                os._exit(os.EX_UNAVAILABLE)

        # Usually imported by the forkserver, which searches fewer folders for modules than a child.
        from worker.processes import confined  # noqa: PLC0415 (importing it confines the process)

        for level, gap in confined.gaps:
            send("gap", level, gap)
        try:
            for value in function(*args):
                send("value", value)
        except SiteError as error:
            send("site_error", error.code, error.message)
        except Exception as error:  # noqa: BLE001 (the parent raises it)
            send("error", f"{type(error).__name__}: {error}")
        else:
            send("end")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(os.EX_UNAVAILABLE)
