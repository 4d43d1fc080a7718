"""How much memory this process may use with its children, and how much of it is used.

There may be several limits: of the control groups that the process is in, of the host, and one that is set. The one
with the least room counts. Outside Linux no limit is known.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

UNLIMITED_BYTES = 2**60
"""Version 1 of control groups writes a number of about this size where there is no limit."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
KIB = 2**10
COPIED_BYTES = 4 * 2**20
"""What a child of the forkserver copies of its pages, by counting references to objects. Measured."""


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What is used of a limit, in bytes."""

    used: int
    limit: int

    @property
    def room(self) -> int:
        """What is left, in bytes; negative above the limit."""
        return self.limit - self.used


Reader = Callable[[], MemoryUse | None]


class Memory:
    """Reads the memory that this process uses with its children.

    Args:
        limit_bytes: A limit of the operator; None: only those of the system.
        root: The root of the file system.
    """

    def __init__(self, limit_bytes: int | None = None, root: Path = Path("/")) -> None:
        self._readers: list[Reader] = [*_groups(root), partial(_read_host, root)]
        if limit_bytes is not None:
            self._readers.append(partial(_read_processes, root, limit_bytes))

    def read(self) -> MemoryUse | None:
        """Return the use of the limit that has the least room; None if no limit is known. Reads files."""
        known = [use for reader in self._readers if (use := reader()) is not None]
        return min(known, key=lambda use: use.room, default=None)


def _groups(root: Path) -> Iterator[Reader]:
    """Yield a reader for each control group from that of this process up to the root."""
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                names = ("memory.max", "memory.current", "inactive_file")
                mounts = ["sys/fs/cgroup", "sys/fs/cgroup/unified"]
            elif "memory" in controllers.split(","):
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                mounts = ["sys/fs/cgroup/memory"]
            else:
                continue
            # In a container the path may be that of the host: only the root is there then.
            group = PurePosixPath(path.lstrip("/"))
            for mount in mounts:
                for folder in (group, *group.parents):
                    if (root / mount / folder / names[0]).is_file():
                        yield partial(_read_group, root / mount / folder, *names)


def _read_group(folder: Path, limit_name: str, used_name: str, inactive_name: str) -> MemoryUse | None:
    try:
        limit = int((folder / limit_name).read_text())
        used = int((folder / used_name).read_text())
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        # The kernel drops these pages of files before it kills a process.
        used -= int(statistics[inactive_name])
    except (OSError, ValueError, KeyError):  # `max`, or the group has no memory controller
        return None
    return None if limit >= UNLIMITED_BYTES else MemoryUse(used, limit)


def _read_host(root: Path) -> MemoryUse | None:
    try:
        lines = (line.split() for line in (root / "proc/meminfo").read_text().splitlines())
        values = {line[0]: int(line[1]) * KIB for line in lines}
        return MemoryUse(values["MemTotal:"] - values["MemAvailable:"], values["MemTotal:"])
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _read_processes(root: Path, limit_bytes: int) -> MemoryUse | None:
    """Return what this process and its descendants use.

    The children of the forkserver share its pages. Of each, only what it has more than the forkserver is counted, and
    what it has copied: the kernel says neither to a process without privileges.
    """
    resident: dict[int, int] = {}
    anonymous: dict[int, int] = {}
    parents: dict[int, int] = {}
    for folder in (root / "proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            # The name of the program, in brackets, may have spaces.
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            _, pages, shared, *_ = map(int, (folder / "statm").read_text().split())
            pid = int(folder.name)
            parents[pid] = parent
            resident[pid], anonymous[pid] = pages * PAGE_BYTES, (pages - shared) * PAGE_BYTES
    me = os.getpid()
    if me not in resident:
        return None
    used = resident[me]
    for pid, parent in parents.items():
        if parent == me:
            used += resident[pid]
        elif parents.get(parent) == me:
            used += COPIED_BYTES + max(0, anonymous[pid] - anonymous[parent])
    return MemoryUse(used, limit_bytes)
