"""A local stack, started once as a process of its own, and real clients of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg import sql
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from tests.compare_rest.recorder import Recorder, recording, trust
from tools.postgres import POSTGRES_15
from worker.local.loopback import free_port
from worker.local.supabase.migrations import available_extensions, migrations_folder, read_migrations
from worker.local.supabase.postgres import Postgres, embedded_binaries
from worker.local.supabase.stack import Endpoints

# The server under test: `scripts/test --postgres` names another one than the embedded one.
BINARIES = Path(os.environ.get("WORKER_LOCAL_POSTGRES") or embedded_binaries())

# In an installation of its own, or where Debian has it.
HAS_PGVECTOR = any(
    [*folder.rglob("vector.control")]
    for folder in (BINARIES.parent / "share", Path("/usr/share/postgresql", BINARIES.parent.name))
)

# What starts a server: these tests, and no others, may differ between versions of PostgreSQL.
SERVERS = frozenset({"stack", "fleet_stack", "postgres", "data_folder", "mark"})

SignIn: TypeAlias = Callable[[], Awaitable[AsyncClient]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start a server, for `-m database`, and skip those that lack pgvector."""
    for item in items:
        if item.get_closest_marker("pgvector") and not HAS_PGVECTOR:
            item.add_marker(pytest.mark.skip("this Postgres has no pgvector"))
        if SERVERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("database")


@pytest.fixture(scope="session", autouse=True)
def recorder() -> Iterator[Recorder | None]:
    """Keeps the requests of clients, if that is asked for."""
    if (path := os.environ.get("RECORD_REST")) is None:
        yield None
        return
    with recording(Path(path)) as running:
        yield running


@pytest.fixture(scope="session")
def stack() -> Iterator[Endpoints]:
    """Where the session's stack is. It holds the project's migrations, and no data of its own."""
    with running_stack() as endpoints:
        yield endpoints


@pytest.fixture(autouse=True)
def sites_in_order(request: pytest.FixtureRequest) -> None:
    """Runs search their sites in the order named: one that failed in a test is not held back in the next one."""
    if "stack" not in request.fixturenames:
        return
    endpoints: Endpoints = request.getfixturevalue("stack")
    with psycopg.connect(endpoints.db_url, autocommit=True, connect_timeout=10) as connection:
        for table in ("site_health", "site_buckets", "site_searches", "site_waits", "site_failures", "site_shares"):
            connection.execute(sql.SQL("delete from worker.{} where true").format(sql.Identifier(table)))
        connection.execute("update worker.settings set exploration = 0")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(None, id="default"),
        *([pytest.param(POSTGRES_15, id="15")] if embedded_binaries() == BINARIES and POSTGRES_15.exists() else []),
    ],
)
def postgres(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A server with what the bootstrap makes and nothing else: of the version under test, and of the oldest one."""
    with (
        tempfile.TemporaryDirectory(prefix="supabase-local-") as data,
        Postgres(Path(data), free_port(), password="a-password", bin_folder=request.param) as running,
    ):
        yield running


@pytest.fixture
def migrations_here(postgres: Postgres, tmp_path: Path) -> Path:
    """A folder with the project's migrations, without those that need an extension which this server lacks."""
    with psycopg.connect(postgres.dsn()) as connection:
        available = available_extensions(connection)
    folder = tmp_path / "migrations_here"
    folder.mkdir()
    for migration in read_migrations(migrations_folder()):
        if migration.extensions <= available:
            (folder / migration.file_name).symlink_to(migrations_folder() / migration.file_name)
    return folder


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """An empty folder for a server's data, below no folder of pytest's: those are closed to other system users."""
    with tempfile.TemporaryDirectory(prefix="supabase-local-") as folder:
        yield Path(folder)


@pytest.fixture
async def sign_in(stack: Endpoints) -> AsyncIterator[SignIn]:
    """Makes a new user at each call, and returns a client that is signed in as that user."""
    async with AsyncExitStack() as clients:

        async def as_new_user() -> AsyncClient:
            client = await clients.enter_async_context(connect(stack.url, stack.anon_key))
            await client.auth.sign_up({"email": f"{uuid4()}@example.com", "password": "correct horse"})
            return client

        yield as_new_user


@pytest.fixture
async def service(stack: Endpoints) -> AsyncIterator[AsyncClient]:
    """A client with the key of the service role, as the worker has."""
    async with connect(stack.url, stack.service_role_key) as client:
        yield client


@contextmanager
def running_stack(*options: str) -> Iterator[Endpoints]:
    """A stack with data of its own, as a process, with further options of `local`; it has to end with exit code 0."""
    with tempfile.TemporaryDirectory(prefix="supabase-local-") as data:
        command = [sys.executable, "-m", "worker", "local", "--json", "--port", "0", "--data", data, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                line = process.stdout.readline()
                assert line, "the local stack did not start"
                endpoints = Endpoints(**json.loads(line))
                trust(endpoints.jwt_secret)
                yield endpoints
            finally:
                process.send_signal(signal.SIGTERM)
                exit_code = process.wait()
        assert exit_code == 0


@asynccontextmanager
async def connect(url: str, key: str) -> AsyncIterator[AsyncClient]:
    """A supabase-py client that is closed at the end, with everything that it opened."""
    async with httpx.AsyncClient(timeout=30) as http:
        options = AsyncClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=http)
        client = await acreate_client(url, key, options)
        try:
            yield client
        finally:
            await client.realtime.close()
