"""A local stack, its database, and clients that are signed in."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from supabase import AsyncClient

from tests.compare_rest.recorder import Recorder, recording
from tests.support.database import Connect, Connection
from tests.support.stack import BINARIES, HAS_PGVECTOR, SignIn, new_user, running_stack, supabase_client
from tools.postgres import POSTGRES_15
from worker.local.loopback import free_port
from worker.local.migration_files import migrations_folder
from worker.local.supabase import migrations
from worker.local.supabase.migrations import available_extensions, read_migrations
from worker.local.supabase.postgres import Postgres, embedded_binaries
from worker.local.supabase.stack import Endpoints

# Nothing is asserted about time: the machine may be busy.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

# The tests start hundreds of processes. If Python may keep no compiled modules, as in most containers, each of them
# compiles all that it imports, and that takes longer than its work.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# What starts a server: these tests, and no others, may differ between versions of PostgreSQL.
SERVERS = frozenset({"stack", "postgres", "data_folder", "mark"})


FORGET_SITES = """
delete from worker.site_health where true;
delete from worker.site_buckets where true;
delete from worker.site_searches where true;
delete from worker.site_waits where true;
delete from worker.site_failures where true;
delete from worker.site_shares where true;
update worker.settings set exploration = 0 where exploration <> 0;
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start a server, for `-m database`, and skip those that lack pgvector."""
    for item in items:
        if item.get_closest_marker("pgvector") and not HAS_PGVECTOR:
            item.add_marker(pytest.mark.skip("this Postgres has no pgvector"))
        if SERVERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("database")


def pytest_collection_finish() -> None:
    """Exclude what was imported and collected from garbage collection, which took an eighth of the unit tests' time."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def recorder() -> Iterator[Recorder | None]:
    """Keeps the requests of clients, if that is asked for."""
    if (path := os.environ.get("RECORD_REST")) is None:
        yield None
        return
    with recording(Path(path)) as running:
        yield running


@pytest.fixture(scope="session", autouse=True)
def certificates_read_once() -> Iterator[None]:
    """Reading them for each client takes longer than most clients of tests live."""
    read = cache(httpx.create_ssl_context)
    with pytest.MonkeyPatch.context() as patch:
        # The second name is that by which the clients of httpx themselves call it.
        patch.setattr(httpx, "create_ssl_context", read)
        patch.setattr("httpx._transports.default.create_ssl_context", read)
        yield


@pytest.fixture(scope="session", autouse=True)
def migrations_split_once() -> Iterator[None]:
    """Splitting them again for each database takes a quarter of the time of applying them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "split_statements", cache(migrations.split_statements))
        yield


@pytest.fixture(scope="session")
def shared_stack() -> Iterator[Endpoints]:
    """A stack with the project's migrations, for all modules."""
    with running_stack() as endpoints:
        yield endpoints


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[Endpoints]:
    """The shared stack, or one that is the module's own: see the marker `own_stack`."""
    if not request.node.get_closest_marker("own_stack"):
        yield request.getfixturevalue("shared_stack")
        return
    with running_stack() as endpoints:
        yield endpoints


@pytest.fixture(scope="module")
def owners_connection(stack: Endpoints) -> Iterator[psycopg.Connection]:
    """A connection as the owner of the migrations. One for a module: to connect takes longer than `forget_sites`."""
    with psycopg.connect(stack.db_url, autocommit=True, connect_timeout=10) as connection:
        yield connection


@pytest.fixture(autouse=True)
def forget_sites(request: pytest.FixtureRequest) -> None:
    """A site that failed in one test is not held back in the next one, and runs search sites in the order they name."""
    if "stack" in request.fixturenames:
        request.getfixturevalue("owners_connection").execute(FORGET_SITES)


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
        Postgres(Path(data), free_port(), password="a-password", bin_folder=request.param, sync=False) as running,
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
            return await clients.enter_async_context(new_user(stack))

        yield as_new_user


@pytest.fixture
async def service(stack: Endpoints) -> AsyncIterator[AsyncClient]:
    """A client with the key of the service role, as the worker has."""
    async with supabase_client(stack.url, stack.service_role_key) as client:
        yield client


@pytest.fixture
async def connect_database(stack: Endpoints) -> AsyncIterator[Connect]:
    """Opens connections as the owner of the migrations, in autocommit mode."""
    async with AsyncExitStack() as connections:

        async def connect() -> Connection:
            connecting = psycopg.AsyncConnection.connect(stack.db_url, autocommit=True, connect_timeout=10)
            return await connections.enter_async_context(await connecting)

        yield connect


@pytest.fixture
async def database(connect_database: Connect) -> Connection:
    """A connection to the stack's database, as the owner of the migrations."""
    return await connect_database()
