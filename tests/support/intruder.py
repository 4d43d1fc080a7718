"""A child that has been taken over, and looks for a secret wherever a process may look. Run as a program, its parent.

The parent has a secret in its environment, in its memory and in a file `.env`, and prints what its child has found.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing, suppress
from pathlib import Path

from worker.model import Json
from worker.processes.sandbox import allow_read, stream
from worker.settings import Settings, forget_environment

# The secret itself is not in this file: only what it looks like.
SECRET = re.compile(rb"needle-[0-9a-f]{32}")
PTRACE_ATTACH, PTRACE_DETACH = 16, 17


class _Piece(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def look(hidden_file: str, shown_file: str) -> Iterator[Json]:
    """Yield each place in which the secret is, and each thing done that should not be; then who this process is."""
    family = {os.getpid(): "itself", os.getppid(): "its parent", _grandparent(): "the worker"}
    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        if _finds(_environ, pid):
            yield f"environ of {family.get(int(pid), pid)}"
    for number, who in family.items():
        if _finds(_memory, str(number)):
            yield f"memory of {who}"
        if _finds(_vm_readv, str(number)):
            yield f"memory of {who}, by process_vm_readv"
    yield from (f"descriptor {number}" for number in range(1024) if _finds(_descriptor, str(number)))
    yield from (f"file {path}" for path in (hidden_file, ".env") if _finds(_file, path))
    attempts: dict[str, Callable[[], object]] = {
        "traces the worker": lambda: _trace(_grandparent()),
        "traces its parent": lambda: _trace(os.getppid()),
        "runs a program": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "signals the worker": lambda: os.kill(_grandparent(), 0),
        "writes a file": lambda: Path(shown_file).write_bytes(b"changed"),
    }
    for name, attempt in attempts.items():
        with suppress(OSError):
            attempt()
            yield name
    # The work of a child: it reads what it was let read, imports, and has temporary files.
    import tempfile  # noqa: PLC0415
    import wave  # noqa: PLC0415

    with tempfile.TemporaryFile() as file:
        file.write(Path(shown_file).read_bytes())
    yield {"user": os.getuid(), "groups": [*os.getgroups()], "module": wave.__name__}


def _trace(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(PTRACE_ATTACH, pid, 0, 0) != 0:
        raise PermissionError
    libc.ptrace(PTRACE_DETACH, pid, 0, 0)


def _grandparent() -> int:
    """The worker: a child's parent is the forkserver."""
    status = Path(f"/proc/{os.getppid()}/status").read_text()
    return int(status.partition("PPid:")[2].split()[0])


def _finds(read: Callable[[str], Iterator[bytes]], where: str) -> bool:
    with suppress(OSError, ValueError, OverflowError):
        return any(SECRET.search(piece) for piece in read(where))
    return False


def _environ(pid: str) -> Iterator[bytes]:
    yield Path(f"/proc/{pid}/environ").read_bytes()


def _file(path: str) -> Iterator[bytes]:
    yield Path(path).read_bytes()


def _descriptor(number: str) -> Iterator[bytes]:
    path = f"/proc/self/fd/{number}"
    if Path(path).is_file():
        yield Path(path).read_bytes()


def _regions(pid: str) -> Iterator[tuple[int, int]]:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, rights, *_ = line.split()
        start, _, end = span.partition("-")
        if rights.startswith("rw") and int(end, 16) < 2**63:
            yield int(start, 16), int(end, 16)


def _memory(pid: str) -> Iterator[bytes]:
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end in _regions(pid):
            with suppress(OSError):
                memory.seek(start)
                yield memory.read(end - start)


def _vm_readv(pid: str) -> Iterator[bytes]:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.process_vm_readv.restype = ctypes.c_ssize_t
    for start, end in _regions(pid):
        buffer = ctypes.create_string_buffer(min(end - start, 2**24))
        here = _Piece(ctypes.addressof(buffer), len(buffer))
        there = _Piece(start, len(buffer))
        if libc.process_vm_readv(int(pid), ctypes.byref(here), 1, ctypes.byref(there), 1, 0) > 0:
            yield buffer.raw


async def main(hidden_file: str, shown_file: str) -> None:
    """Look, with the settings read as a worker does."""
    settings = Settings()
    forget_environment([Settings])
    allow_read(Path(shown_file))
    async with aclosing(stream(look, hidden_file, shown_file, deadline_seconds=100)) as values:
        found = [value async for value in values]
    assert settings.require("supabase_service_role_key").startswith("needle-")
    print(json.dumps({"found": found[:-1], "child": found[-1], "environment": [*os.environ]}))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
