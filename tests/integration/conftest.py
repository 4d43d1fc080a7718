"""Users, their database connections, and kinds of search that no other test claims."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from psycopg import sql
from supabase import AsyncClient

from tests.support.database import Configure, Connect, Connection, new_database, signed_in
from tests.support.realtime import Table, published_table
from tests.support.site_limits import TimedDatabase, timed_database
from tests.support.stack import SignIn, supabase_client
from worker.local.supabase.postgres import Postgres
from worker.local.supabase.stack import Endpoints


@pytest.fixture
def database_url(postgres: Postgres) -> str:
    """The URL of a new database of the test's own, for the owner of the migrations."""
    return new_database(postgres)


@pytest.fixture
async def configure(database: Connection) -> AsyncIterator[Configure]:
    """Changes a setting of `worker.settings`, until the end of the test."""
    changed: set[str] = set()

    async def change(name: str, value: int | str | None) -> None:
        changed.add(name)
        update = sql.SQL("update worker.settings set {} = %s").format(sql.Identifier(name))
        await database.execute(update, [value])

    yield change
    for name in changed:
        await database.execute(sql.SQL("update worker.settings set {} = default").format(sql.Identifier(name)))


@pytest.fixture
async def table(stack: Endpoints) -> AsyncIterator[Table]:
    """Published, with row level security."""
    async with published_table(stack.db_url) as made:
        yield made


@pytest.fixture
async def ada(sign_in: SignIn) -> AsyncClient:
    """A signed-in user."""
    return await sign_in()


@pytest.fixture
async def bob(sign_in: SignIn) -> AsyncClient:
    """Another signed-in user."""
    return await sign_in()


@pytest.fixture
async def as_ada(ada: AsyncClient, connect_database: Connect) -> Connection:
    """A database connection with Ada's rights."""
    return await signed_in(ada, connect_database)


@pytest.fixture
async def as_bob(bob: AsyncClient, connect_database: Connect) -> Connection:
    """A database connection with Bob's rights."""
    return await signed_in(bob, connect_database)


@pytest.fixture
async def as_worker(connect_database: Connect) -> Connection:
    """A database connection with a worker's rights."""
    connection = await connect_database()
    await connection.execute("set role service_role")
    return connection


@pytest.fixture
async def anon(stack: Endpoints) -> AsyncIterator[AsyncClient]:
    """A client that is not signed in."""
    async with supabase_client(stack.url, stack.anon_key) as client:
        yield client


@pytest.fixture
def term() -> str:
    """A search term that no other test has."""
    return uuid4().hex


@pytest.fixture
async def kind(database: Connection) -> AsyncIterator[str]:
    """A kind with the rules of `jobs`, so that a test claims its own runs alone."""
    name = f"jobs-{uuid4()}"
    await database.execute("insert into worker.kinds (kind) values (%s)", [name])
    await database.execute(
        """
        insert into worker.parameter_rules (kind, name, type, is_required, minimum, maximum, allowed, default_value)
        select %s, name, type, is_required, minimum, maximum, allowed, default_value
        from worker.parameter_rules where kind = 'jobs'
        """,
        [name],
    )
    yield name
    await database.execute("delete from worker.kinds where kind = %s", [name])


@pytest.fixture
def timed(stack: Endpoints) -> Iterator[TimedDatabase]:
    """Runs that ask when to search a site, on a clock of their own."""
    with timed_database(stack.db_url) as timed:
        yield timed


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Runs calls that wait for each other."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield pool
