"""The database behind the stack, and kinds of search that no other test claims."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from supabase import AsyncClient

from tests.conftest import SignIn
from tests.support.realtime import Table, published_table
from tests.support.site_limits import TimedDatabase, timed_database
from worker.local.supabase.gateway import gateway, serving
from worker.local.supabase.postgres import Postgres
from worker.local.supabase.realtime.server import Realtime
from worker.local.supabase.stack import Endpoints
from worker.local.supabase.tokens import Tokens

Connection: TypeAlias = psycopg.AsyncConnection[Any]
Connect: TypeAlias = Callable[[], Awaitable[Connection]]
Configure: TypeAlias = Callable[[str, int | str | None], Awaitable[None]]


@pytest.fixture
async def connect_database(stack: Endpoints) -> AsyncIterator[Connect]:
    """Opens connections as the owner of the migrations; each statement is a transaction, unless one is begun."""
    async with AsyncExitStack() as connections:

        async def connect() -> Connection:
            connecting = psycopg.AsyncConnection.connect(stack.db_url, autocommit=True, connect_timeout=10)
            return await connections.enter_async_context(await connecting)

        yield connect


@pytest.fixture
async def database(connect_database: Connect) -> Connection:
    return await connect_database()


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
    """Another one."""
    return await sign_in()


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


@asynccontextmanager
async def served(postgres: Postgres) -> AsyncIterator[Endpoints]:
    """A gateway in this process, in front of a database that the test may stop."""
    async with served_with_realtime(postgres) as (endpoints, _):
        yield endpoints


@asynccontextmanager
async def served_with_realtime(postgres: Postgres) -> AsyncIterator[tuple[Endpoints, Realtime]]:
    """The same, with what follows the WAL."""
    secret = "a secret of at least thirty-two bytes"
    tokens = Tokens(secret)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with gateway(postgres.dsn, tokens) as app, serving(app, listener):
            keys = tokens.api_key("anon"), tokens.api_key("service_role")
            yield Endpoints(url, *keys, db_url=postgres.dsn("postgres"), jwt_secret=secret), app.state.realtime
