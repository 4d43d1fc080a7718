"""Who may read and write private channels: what the policies on `realtime.messages` say.

As on the platform: a channel may be read if a row of its topic is visible, and written if one may be inserted. Both are
tried in a transaction that is rolled back.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from uuid import uuid4

import psycopg
from psycopg.errors import InsufficientPrivilege

from worker.local.supabase.realtime.errors import RefusedError
from worker.local.supabase.realtime.identity import Identity

logger = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 5
_MAX_CONNECTIONS = 4  # however many clients join at once
_SESSION = f"-c statement_timeout={_TIMEOUT_SECONDS}s -c TimeZone=UTC"

_INSERT = "insert into realtime.messages (id, topic, extension) values (%s, %s, 'broadcast')"
_SELECT = "select from realtime.messages where id = %s"
_CONFIGURE = """
select
    set_config('role', %(role)s, true), set_config('realtime.topic', %(topic)s, true),
    set_config('request.jwt.claims', %(claims)s, true), set_config('request.jwt.claim.sub', %(sub)s, true),
    set_config('request.jwt.claim.role', %(role)s, true), set_config('request.headers', %(headers)s, true)
"""


class Policies:
    """Checks the policies of one database.

    Args:
        dsn: Connection URL of a superuser, who may set any role.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._slots = asyncio.Semaphore(_MAX_CONNECTIONS)

    async def may_read(self, name: str, identity: Identity, headers: Mapping[str, str]) -> bool:
        """Return whether an identity may read the private channels of a topic.

        Raises:
            RefusedError: The database cannot be asked.
        """
        return await self._check(name, identity, headers, is_write=False)

    async def may_write(self, name: str, identity: Identity, headers: Mapping[str, str]) -> bool:
        """Return whether an identity may send to the private channels of a topic.

        Raises:
            RefusedError: The database cannot be asked.
        """
        return await self._check(name, identity, headers, is_write=True)

    async def _check(self, name: str, identity: Identity, headers: Mapping[str, str], *, is_write: bool) -> bool:
        try:
            async with (
                self._slots,
                await psycopg.AsyncConnection.connect(
                    self._dsn, connect_timeout=_TIMEOUT_SECONDS, options=_SESSION
                ) as connection,
                connection.transaction(force_rollback=True),
            ):
                return await _try(connection, name, identity, headers, is_write=is_write)
        except InsufficientPrivilege:
            return False
        except psycopg.Error as error:
            if error.diag.sqlstate is None:
                message = "UnableToConnectToProject: Realtime was unable to connect to the project database"
                raise RefusedError(message) from None
            logger.warning("RlsPolicyError: the policies on realtime.messages failed for %s: %s", name, error)
            return False


async def _try(
    connection: psycopg.AsyncConnection[tuple[object, ...]],
    name: str,
    identity: Identity,
    headers: Mapping[str, str],
    *,
    is_write: bool,
) -> bool:
    row = uuid4()
    settings = {
        "role": identity.role,
        "topic": name,
        "claims": identity.claims,
        "sub": str(json.loads(identity.claims).get("sub") or ""),
        "headers": json.dumps(dict(headers)),
    }
    if not is_write:
        await connection.execute(_INSERT, (row, name))
    await connection.execute(_CONFIGURE, settings)
    if is_write:
        await connection.execute(_INSERT, (row, name))
        return True
    return (await connection.execute(_SELECT, (row,))).rowcount == 1
