"""Supabase on one machine: starts the parts in order, says where they are, and stops them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

try:
    from worker.local.supabase.gateway import gateway, serving
    from worker.local.supabase.migrations import apply_migrations, migrations_folder
    from worker.local.supabase.postgres import HOST, LocalError, Postgres, bind, free_port
    from worker.local.supabase.tokens import Tokens
except ModuleNotFoundError as error:
    missing_module: str | None = error.name
else:
    missing_module = None

DEFAULT_DATA = Path(".local", "supabase")

_HIGHEST_PORT = 65535
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a running stack is, and what opens it.

    Attributes:
        url: What clients take as `SUPABASE_URL`.
        db_url: Connection URL of the role `postgres`.
    """

    url: str
    anon_key: str
    service_role_key: str
    db_url: str
    jwt_secret: str


@asynccontextmanager
async def local_stack(
    data: Path, *, port: int, migrate: bool = True, bin_folder: Path | None = None
) -> AsyncIterator[Endpoints]:
    """Run Postgres with the project's migrations, and the gateway in front of it.

    Args:
        data: Folder that holds everything. Made if it is missing.
        port: TCP port of the gateway on 127.0.0.1; Postgres takes the next one. 0 stands for two free ones.
        migrate: Whether to apply the migrations that the database does not have yet.
        bin_folder: Programs of the PostgreSQL to run; see `Postgres`.

    Raises:
        LocalError: A port or the data folder cannot be used, Postgres does not start or a migration fails.
    """
    with bind(port) as listener:
        kept = _kept_secrets(data)
        tokens = Tokens(kept["jwt_secret"])
        postgres = Postgres(
            data, port + 1 if port else free_port(), password=kept["database_password"], bin_folder=bin_folder
        )
        try:
            await _to_its_end(postgres.start)
            if migrate:
                await _to_its_end(partial(apply_migrations, postgres.dsn("postgres"), migrations_folder()))
            async with gateway(postgres.dsn, tokens) as app, serving(app, listener):
                yield Endpoints(
                    url=f"http://{HOST}:{listener.getsockname()[1]}",
                    anon_key=tokens.api_key("anon"),
                    service_role_key=tokens.api_key("service_role"),
                    db_url=postgres.dsn("postgres"),
                    jwt_secret=kept["jwt_secret"],
                )
        finally:
            await _to_its_end(postgres.stop)


def run_local(
    *, port: int, data: Path | None, as_json: bool, migrate: bool = True, bin_folder: Path | None = None
) -> int:
    """Run a stack until SIGINT or SIGTERM.

    Args:
        port: TCP port of the gateway on 127.0.0.1, 0 for any free one. Postgres takes the next one.
        data: Folder that keeps the database and its secrets; `.local/supabase` if None.
        as_json: Print one line of JSON when ready, with the fields of `Endpoints`, instead of words for a person.
        migrate: Whether to apply the project's migrations.
        bin_folder: Programs of the PostgreSQL to run; see `Postgres`.

    Returns:
        The exit code: 0 after a signal, 1 if the stack could not run, 2 if the arguments are wrong.
    """
    if missing_module is not None:
        return _fail(f"{missing_module} is missing: pip install 'supabase-search-worker[local]'", 1)
    if not 0 <= port < _HIGHEST_PORT:
        return _fail(f"--port must be between 0 and {_HIGHEST_PORT - 1}, not {port}", 2)
    stack = partial(local_stack, data or DEFAULT_DATA, port=port, migrate=migrate, bin_folder=bin_folder)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(_until_signalled(stack, data or DEFAULT_DATA, as_json=as_json))
    except (LocalError, OSError) as error:
        return _fail(str(error), 1)
    return 0


async def _until_signalled(
    stack: Callable[[], AbstractAsyncContextManager[Endpoints]], folder: Path, *, as_json: bool
) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        # A second signal changes nothing: stopping is bounded, and is not broken off half-way.
        asyncio.get_running_loop().add_signal_handler(number, lambda: task.cancelling() or task.cancel())
    async with stack() as endpoints:
        text = json.dumps(asdict(endpoints)) if as_json else _FOR_A_PERSON.format(folder=folder, **asdict(endpoints))
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


_FOR_A_PERSON = """\
Local Supabase is running. Ctrl-C stops it; {folder} keeps its data.

         API URL: {url}
          DB URL: {db_url}
        anon key: {anon_key}
service_role key: {service_role_key}

export SUPABASE_URL={url}
export SUPABASE_ANON_KEY={anon_key}
export SUPABASE_SERVICE_ROLE_KEY={service_role_key}
"""


def _fail(message: str, exit_code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return exit_code


async def _to_its_end(step: Callable[[], _Result]) -> _Result:
    """Run a blocking step in a thread. Cancellation waits for its end: nobody else could take back what it starts."""
    thread = asyncio.create_task(asyncio.to_thread(step))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        raise


def _kept_secrets(data: Path) -> dict[str, str]:
    """Return the secrets that the data folder keeps. Makes both if they are missing."""
    data.mkdir(parents=True, exist_ok=True)
    path = data / "secrets.json"
    if not path.exists():
        made = {"jwt_secret": secrets.token_hex(32), "database_password": secrets.token_hex(16)}
        unfinished = path.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(made))
        unfinished.rename(path)
    kept: dict[str, str] = json.loads(path.read_text())
    return kept
