"""The system user that the server runs as: Postgres refuses to run as root."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from worker.local.errors import LocalError
from worker.local.supabase.postgres.programs import run

_CACHE = Path("/var/cache/supabase-search-worker")


class Account:
    """The system user of the server: that of this process or, for root, an unprivileged one.

    Args:
        cluster: The data folder of the server. If it exists, its owner runs the server.

    Raises:
        LocalError: This process runs as root, and there is no unprivileged user for the server.
    """

    def __init__(self, cluster: Path) -> None:
        self._user = _unprivileged_user(cluster) if os.geteuid() == 0 else None

    @property
    def subprocess_arguments(self) -> dict[str, Any]:
        """Arguments that make `subprocess` run a program as this user."""
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Make this user the owner of a file or a folder."""
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def enter(self, folder: Path) -> None:
        """Ensure that the server may use `folder`, without opening it to other users.

        Raises:
            LocalError: The user may not enter its parent folder.
        """
        if self._user is None:
            return
        if self._can_execute(folder.parent) and not self._can_execute(folder):
            self.own(folder)
        if not self._can_execute(folder):
            raise LocalError(
                f"Postgres does not run as root, and the user {self._user.pw_name} that runs it instead may not "
                f"enter {folder}: choose a data folder elsewhere, such as {Path(tempfile.gettempdir(), 'supabase')}"
            )

    def executable(self, binaries: Path) -> Path:
        """Return `binaries`, or a copy of them in a place where this user may run them."""
        if self._user is None or self._can_execute(binaries / "postgres"):
            return binaries
        installation = binaries.parent
        changed_at = (binaries / "postgres").stat().st_mtime_ns
        copy = _CACHE / hashlib.sha256(f"{installation} {changed_at}".encode()).hexdigest()[:16]
        if not copy.exists():
            _copy_installation(installation, copy)
        return copy / installation.parent.name / installation.name / binaries.name

    def _can_execute(self, path: Path) -> bool:
        # A process of that user asks the kernel: the mode alone ignores access lists and read-only mounts.
        probe = run(["/bin/sh", "-c", 'test -x "$1"', "sh", path], **self.subprocess_arguments)
        return probe.returncode == 0


def _copy_installation(installation: Path, copy: Path) -> None:
    _CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
        # The programs of a wheel look for their libraries beside the package: keep the folders side by side.
        package = installation.parent
        unfinished = Path(scratch, "copy")
        shutil.copytree(installation, unfinished / package.name / installation.name)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, unfinished / libraries.name)
        _make_readable([unfinished, *unfinished.rglob("*")])
        unfinished.rename(copy)
        _make_readable([_CACHE])


def _make_readable(paths: Iterable[Path]) -> None:
    # The umask of root may have closed the files of the wheel, and so their copies.
    for path in paths:
        mode = path.stat().st_mode
        path.chmod(mode | (0o555 if mode & 0o100 else 0o444))


def _unprivileged_user(cluster: Path) -> pwd.struct_passwd:
    candidates = [cluster.owner()] if cluster.exists() else ["postgres", "nobody"]
    for name in candidates:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        if user.pw_uid != 0:
            return user
    raise LocalError(f"Postgres does not run as root, and none of these users can run it: {', '.join(candidates)}")
