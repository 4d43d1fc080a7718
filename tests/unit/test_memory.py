"""The memory that a process may use, and how much of it is used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from worker.processes.memory import COPIED_BYTES, PAGE_BYTES, Memory, MemoryUse

MIB = 2**20


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def host(total_mib: int, available_mib: int) -> dict[str, str]:
    lines = f"MemTotal:  {total_mib * 1024} kB\nMemFree:  1 kB\nMemAvailable:  {available_mib * 1024} kB\n"
    return {"proc/meminfo": lines}


def unified(folder: str, limit: str, used: int, inactive: int = 0) -> dict[str, str]:
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{used}\n",
        f"{folder}/memory.stat": f"anon 1\ninactive_file {inactive}\n",
    }


def first(folder: str, limit: int, used: int, inactive: int = 0) -> dict[str, str]:
    return {
        f"{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"{folder}/memory.usage_in_bytes": f"{used}\n",
        f"{folder}/memory.stat": f"inactive_file 1\ntotal_inactive_file {inactive}\n",
    }


def test_without_linux_no_limit_is_known(tmp_path: Path) -> None:
    assert Memory(root=tmp_path).read() is None


def test_the_host_is_a_limit(tmp_path: Path) -> None:
    write(tmp_path, host(1024, 300))
    assert Memory(root=tmp_path).read() == MemoryUse(724 * MIB, 1024 * MIB)


def test_the_control_group_with_the_least_room_counts_up_to_the_root(tmp_path: Path) -> None:
    files = host(8192, 8000) | {"proc/self/cgroup": "0::/app/worker/one\n"}
    files |= unified("sys/fs/cgroup/app/worker/one", "max", 100 * MIB)
    files |= unified("sys/fs/cgroup/app/worker", str(512 * MIB), 200 * MIB, 50 * MIB)
    files |= unified("sys/fs/cgroup/app", str(600 * MIB), 500 * MIB)
    write(tmp_path, files)
    assert Memory(root=tmp_path).read() == MemoryUse(500 * MIB, 600 * MIB)
    (tmp_path / "sys/fs/cgroup/app/memory.max").write_text("max\n")
    assert Memory(root=tmp_path).read() == MemoryUse(150 * MIB, 512 * MIB)


def test_in_a_container_the_group_is_the_root(tmp_path: Path) -> None:
    """The path of a group may be that of the host, which is not there."""
    files = host(8192, 8000) | {"proc/self/cgroup": "0::/system.slice/docker-1.scope\n"}
    write(tmp_path, files | unified("sys/fs/cgroup", str(512 * MIB), 80 * MIB))
    assert Memory(root=tmp_path).read() == MemoryUse(80 * MIB, 512 * MIB)


def test_version_1_of_control_groups_is_read(tmp_path: Path) -> None:
    files = host(8192, 8000) | {"proc/self/cgroup": "5:cpu,cpuacct:/\n4:memory:/box\n0::/\n"}
    files |= first("sys/fs/cgroup/memory", 9223372036854771712, 4096 * MIB)
    write(tmp_path, files | first("sys/fs/cgroup/memory/box", 256 * MIB, 200 * MIB, 10 * MIB))
    assert Memory(root=tmp_path).read() == MemoryUse(190 * MIB, 256 * MIB)


@pytest.mark.parametrize("text", ["", "0::", "nonsense\n", "4:memory:/../../..\n", "0::/missing\n"])
def test_unreadable_groups_are_ignored(tmp_path: Path, text: str) -> None:
    write(tmp_path, host(1024, 300) | {"proc/self/cgroup": text})
    assert Memory(root=tmp_path).read() == MemoryUse(724 * MIB, 1024 * MIB)


def process(pid: int, name: str, parent: int, resident_mib: int, shared_mib: int = 10) -> dict[str, str]:
    pages = [mib * MIB // PAGE_BYTES for mib in (resident_mib + 100, resident_mib, shared_mib)]
    return {
        f"proc/{pid}/stat": f"{pid} ({name}) S {parent} 1 1 0\n",
        f"proc/{pid}/statm": f"{' '.join(map(str, pages))} 1 0 1 0\n",
    }


def test_a_limit_that_is_set_counts_this_process_and_what_its_descendants_do_not_share(tmp_path: Path) -> None:
    me = os.getpid()
    processes = [
        process(me, "python -m worker", 1, 80),
        process(1, "init", 0, 900),
        process(me + 1, "fork) server", me, 106, shared_mib=30),
        process(me + 2, "scraper", me + 1, 100),
        process(me + 3, "scraper", me + 1, 60),
        process(me + 4, "other", 1, 500),
        {"proc/9/stat": "gone"},
    ]
    for files in processes:
        write(tmp_path, files)
    grown = (100 - 10) - (106 - 30)
    used = 80 * MIB + 106 * MIB + 2 * COPIED_BYTES + grown * MIB
    assert Memory(256 * MIB, root=tmp_path).read() == MemoryUse(used, 256 * MIB)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_memory_of_a_real_child_is_counted() -> None:
    before = Memory(1).read()
    child = "import sys; kept = bytearray(64 * 2**20); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        during = Memory(1).read()
        process.communicate()
    assert before is not None
    assert during is not None
    assert during.limit == 1
    assert during.used - before.used > 60 * MIB
