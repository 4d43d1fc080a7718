"""The command `supabase-search-worker local`: runs a stack until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from functools import partial
from pathlib import Path

try:
    from worker.local.errors import LocalError
    from worker.local.supabase.stack import Endpoints, local_stack
except ModuleNotFoundError as error:
    missing_module: str | None = error.name
else:
    missing_module = None

DEFAULT_DATA = Path(".local", "supabase")

_MAX_PORT = 65534
"""Postgres takes the port after that of the gateway."""

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


def run_local(
    *,
    port: int,
    data: Path | None,
    as_json: bool,
    migrate: bool = True,
    bin_folder: Path | None = None,
    sync: bool = True,
) -> int:
    """Run a stack until SIGINT or SIGTERM.

    Args:
        port: TCP port of the gateway on 127.0.0.1, 0 for any free one. Postgres takes the next port.
        data: Folder for the database and its secrets. `None` for `.local/supabase`.
        as_json: When ready, print the fields of `Endpoints` as one line of JSON, instead of text.
        migrate: Whether to apply the project's migrations.
        bin_folder: Folder of the programs of PostgreSQL; see `Postgres`.
        sync: Whether Postgres waits for the disk; see `Postgres`.

    Returns:
        The exit code: 0 after a signal, 1 if the stack could not run, 2 if the arguments are wrong.
    """
    if missing_module is not None:
        return _fail(f"{missing_module} is missing: pip install 'supabase-search-worker[local]'", 1)
    if not 0 <= port <= _MAX_PORT:
        return _fail(f"--port must be between 0 and {_MAX_PORT}, not {port}", 2)
    stack = partial(local_stack, data or DEFAULT_DATA, port=port, migrate=migrate, bin_folder=bin_folder, sync=sync)
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
        # A second signal has no effect: stopping takes a limited time, and must not be interrupted.
        asyncio.get_running_loop().add_signal_handler(number, lambda: task.cancelling() or task.cancel())
    async with stack() as endpoints:
        text = json.dumps(asdict(endpoints)) if as_json else _FOR_A_PERSON.format(folder=folder, **asdict(endpoints))
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def _fail(message: str, exit_code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return exit_code
