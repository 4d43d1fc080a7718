"""The stage: the Postgres of a local stack, used as PostgREST does, with users and a kind of search.

Without the local gateway, because the figures would be those of its one Python process.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString, TypeAlias
from uuid import uuid4

import psycopg

from worker.local.processes import ready, running

KIND = "attack"
SITE = "indeed"

Connection: TypeAlias = psycopg.AsyncConnection[Any]
Row: TypeAlias = dict[str, Any]

# As the platform's roles have it.
TIMEOUTS = "-c statement_timeout=8s -c lock_timeout=8s"


@dataclass(frozen=True, slots=True)
class Stage:
    """A running stack with its users.

    Attributes:
        db_url: Connection URL of the role `postgres`.
        ids: Users' ids by name.
    """

    db_url: str
    ids: dict[str, str]
    url: str = ""
    service_role_key: str = ""

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[Connection]:
        """Connect as the owner of the tables, in autocommit mode."""
        async with await self._connect() as connection:
            yield connection

    @asynccontextmanager
    async def service(self) -> AsyncIterator[Connection]:
        """Connect with the rights of the service key."""
        async with await self._connect() as connection:
            await connection.execute("set role service_role")
            yield connection

    @asynccontextmanager
    async def user(self, name: str) -> AsyncIterator[Connection]:
        """Connect with the rights of a user."""
        async with await self._connect() as connection:
            claims = json.dumps({"sub": self.ids[name], "role": "authenticated"})
            await connection.execute("select set_config('request.jwt.claims', %s, false)", [claims])
            await connection.execute("set role authenticated")
            yield connection

    async def _connect(self) -> Connection:
        return await psycopg.AsyncConnection.connect(
            self.db_url, autocommit=True, connect_timeout=10, options=TIMEOUTS, prepare_threshold=1
        )


async def value(connection: Connection, query: LiteralString, *arguments: Any) -> Any:
    """Return the first column of the first row. `None` without rows."""
    row = await (await connection.execute(query, arguments)).fetchone()
    return None if row is None else row[0]


@asynccontextmanager
async def set_up(folder: Path, *names: str) -> AsyncIterator[Stage]:
    """Start a stack, and create its users.

    Args:
        folder: Folder for the data.
        names: Names of the users.
    """
    command = ("worker", "local", "--json", "--port", "0", "--data", str(folder / "data"))
    async with running(*command, log=folder / "stack.log") as process:
        stack = await ready(process)
        ids = {name: str(uuid4()) for name in names}
        stage = Stage(stack["db_url"], ids, stack["url"], stack["service_role_key"])
        async with stage.owner() as database:
            for name, user_id in stage.ids.items():
                await database.execute("insert into auth.users (id, email) values (%s, %s)", [user_id, name])
            await database.execute("insert into worker.kinds (kind) values (%s)", [KIND])
            await database.execute(
                """
                insert into worker.parameter_rules
                select %s, name, type, is_required, minimum, maximum, allowed, default_value, names_boards_of
                from worker.parameter_rules where kind = 'jobs'
                """,
                [KIND],
            )
            # The honest user enqueues more often than a real user, in order to be measured.
            await database.execute("update worker.settings set max_per_hour_per_user = 100000")
            # A played board needs no delay between requests.
            await database.execute(
                "insert into worker.bucket_limits (bucket, min_delay_seconds) values ('greenhouse', 0)"
            )
        yield stage
