"""The database behind the stack, and kinds of search that no other test claims."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias
from uuid import uuid4

import psycopg
import pytest

from worker.local.stack import Endpoints

Connection: TypeAlias = psycopg.AsyncConnection[Any]
Connect: TypeAlias = Callable[[], Awaitable[Connection]]


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
async def kind(database: Connection) -> AsyncIterator[str]:
    """A kind with the rules of `jobs`, so that a test claims its own runs alone."""
    name = f"jobs-{uuid4()}"
    await database.execute(
        """
        insert into worker.parameter_rules (kind, name, type, is_required, minimum, maximum, allowed, default_value)
        select %s, name, type, is_required, minimum, maximum, allowed, default_value
        from worker.parameter_rules where kind = 'jobs'
        """,
        [name],
    )
    yield name
    await database.execute("delete from worker.parameter_rules where kind = %s", [name])
