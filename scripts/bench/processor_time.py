"""The processor time that the parts of a stack use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import psutil


def cpu_seconds(roots: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Return the processor time that each part has used; that of the database apart from the stack that started it.

    Args:
        roots: The processes of each part. The descendants of a process are parts of it, except those of this process.
            The part with the database is called `local stack`.
    """
    used = dict.fromkeys(["database", *roots], 0.0)
    for part, pids in roots.items():
        for process in chain.from_iterable(_tree(pid) for pid in pids):
            with contextlib.suppress(psutil.NoSuchProcess):
                is_database = part == "local stack" and process.name() == "postgres"
                # With that of its children that have ended.
                used["database" if is_database else part] += sum(process.cpu_times()[:4])
    return used


def _tree(pid: int) -> Iterator[psutil.Process]:
    """Yield a process and its descendants; of this process, itself alone."""
    process = psutil.Process(pid)
    yield process
    if pid != os.getpid():
        yield from process.children(recursive=True)
