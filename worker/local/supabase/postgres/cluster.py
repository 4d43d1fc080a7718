"""The data folder of a server: how it is made, and whether a server runs on it."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path

from worker.local.errors import LocalError
from worker.local.loopback import HOST
from worker.local.supabase.postgres.account import Account
from worker.local.supabase.postgres.programs import run

_FIRST_VERSION_WITH_BUILTIN_LOCALES = 17


def make_cluster(
    cluster: Path, binaries: Path, version: int, account: Account, *, administrator: str, password: str
) -> None:
    """Make a data folder with `initdb`.

    Args:
        cluster: The data folder.
        binaries: Folder of the programs.
        version: Their major version.
        account: The user that will own the data folder.
        administrator: Name of the superuser.
        password: Password of the superuser.

    Raises:
        LocalError: `initdb` failed.
    """
    # Under another name until it is complete: the folder of an interrupted initdb is not a cluster.
    unfinished = cluster.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    account.own(unfinished)
    locale = ["--locale=C.UTF-8"]
    if version >= _FIRST_VERSION_WITH_BUILTIN_LOCALES:
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    with tempfile.NamedTemporaryFile("w", dir=cluster.parent) as password_file:
        password_file.write(password)
        password_file.flush()
        account.own(Path(password_file.name))
        # Syncing takes half of the time. Without it, a crash of the machine can only cost an empty database.
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions", "--no-sync", *locale]
        paths = [f"--pgdata={unfinished}", f"--pwfile={password_file.name}"]
        initdb = run(
            [binaries / "initdb", f"--username={administrator}", *paths, *options],
            cwd=cluster.parent,
            start_new_session=True,
            **account.subprocess_arguments,
        )
    if initdb.returncode != 0:
        raise LocalError(f"initdb failed in {cluster.parent}: {initdb.stderr.strip()}")
    unfinished.rename(cluster)


def check_version(cluster: Path, version: int) -> None:
    """Check that the data folder was made by the same major version.

    Raises:
        LocalError: It was made by another one.
    """
    found = (cluster / "PG_VERSION").read_text().strip()
    if found != str(version):
        raise LocalError(
            f"{cluster} was made by PostgreSQL {found}, but this is PostgreSQL {version}: "
            "choose another data folder, or delete this one"
        )


def is_ready(cluster: Path, process: int) -> bool:
    """Return whether the server with this process id accepts connections."""
    match _pid_file(cluster):
        case [first, _, _, _, _, _, _, status, *_]:
            return int(first) == process and status.strip() == "ready"
    return False


def running_server(cluster: Path) -> int | None:
    """Return the process id of the server that runs on the data folder. `None` if there is none."""
    match _pid_file(cluster):
        case [process, _, _, port, *_]:
            with socket.socket() as probe:
                # The process id may belong to another program by now, above all in a container: check the port, too.
                return int(process) if probe.connect_ex((HOST, int(port))) == 0 else None
    return None


def remove_pid_file(cluster: Path) -> None:
    """Remove the file that a killed server left behind.

    Postgres does so itself, but not if another program has its process id by now.
    """
    (cluster / "postmaster.pid").unlink(missing_ok=True)


def _pid_file(cluster: Path) -> list[str]:
    """Return the lines of `postmaster.pid`: process, data folder, start, port, socket, address, memory, status."""
    try:
        return (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []
