"""The slice of Supabase Realtime that the clients use here: `postgres_changes`.

One task follows the WAL and works out who may see what. `realtime_socket` talks to the clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import NamedTuple

import psycopg
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

from worker.local.supabase.realtime import wal
from worker.local.supabase.realtime.filters import Connection
from worker.local.supabase.realtime.identity import Identity, RefusedError, TokenRefusedError
from worker.local.supabase.realtime.socket import Channel, Socket
from worker.local.supabase.realtime.subscriptions import PUBLICATION, Binding
from worker.local.supabase.realtime.tables import PublishedTable, Rendering
from worker.local.supabase.tokens import Tokens

logger = logging.getLogger(__name__)

PROTOCOLS = ("1.0.0", "2.0.0")

# The platform polls every 100 ms, and 500 ms after an empty poll: it carries many projects. Here one developer watches
# a screen. A change waits half of the interval on average, and empty polls take about 3 % of a core.
POLL_SECONDS = 0.05
IDLE_SECONDS = 10.0  # with nobody listening, the slot only has to let go of old WAL
CHANGES_PER_POLL = 100  # the platform's `poll_max_changes`; Postgres rounds it up to whole transactions
RECONNECT_SECONDS = 0.5
CONNECT_TIMEOUT_SECONDS = 5
# How values are written must not depend on the settings of the database.
SESSION = "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c bytea_output=hex -c statement_timeout=30s"


class _Draft(NamedTuple):
    """A change that a channel's filters let through: by the bindings that select the same of it."""

    rendering: Rendering
    channel: Channel
    identity: Identity
    select: tuple[str, ...] | None
    ids: list[int]


class Realtime:
    """Follows the WAL of one database for the subscribers of one gateway.

    Args:
        dsn: Connects as a superuser, who may hold a replication slot and take on any role.
        tokens: Verifies API keys and access tokens.
    """

    def __init__(self, dsn: str, tokens: Tokens) -> None:
        self._dsn = dsn
        self._tokens = tokens
        self._joining: set[Channel] = set()  # still to be told "Subscribed to PostgreSQL"
        self._listening: set[Channel] = set()
        self._woken = asyncio.Event()
        self._loses = False
        self._switches: list[tuple[bool, asyncio.Future[None]]] = []

    async def run(self) -> None:
        """Follow the WAL until cancelled.

        Outlives the database, and any failure. Channels stay joined meanwhile. When it is back they are told again
        that they are subscribed, which is the moment to read what they may have missed.
        """
        while True:
            self._joining |= self._listening
            self._listening.clear()
            try:
                # Postgres drops a temporary slot at the first error of its session. So nothing else is done in it.
                async with await self._connect() as holder, await self._connect() as connection:
                    await self._follow(holder, connection)
            except psycopg.Error as error:
                logger.warning("the WAL is out of reach, next try in %s s: %s", RECONNECT_SECONDS, error)
            except Exception:
                logger.exception("the WAL is read again in %s s", RECONNECT_SECONDS)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def websocket(self, websocket: WebSocket) -> None:
        """Serve one client, from its handshake to its end.

        Args:
            websocket: Not accepted yet. A missing or invalid `apikey` is answered with HTTP 401, a `vsn` other than
                1.0.0 and 2.0.0 with 403.
        """
        protocol = websocket.query_params.get("vsn", PROTOCOLS[0])
        key = websocket.query_params.get("apikey", "")
        try:
            identity = self.identify(key) if key else None
        except TokenRefusedError as error:
            await websocket.send_denial_response(JSONResponse({"error": error.at_handshake}, status_code=401))
            return
        if identity is None:
            await websocket.send_denial_response(JSONResponse({"error": "API key is missing"}, status_code=401))
            return
        if protocol not in PROTOCOLS:
            await websocket.close()
            return
        await Socket(self, websocket, protocol, key, identity).serve()

    def identify(self, token: str) -> Identity:
        """Return whom a token speaks for.

        Raises:
            TokenRefusedError: It is malformed, forged or expired, or lacks a claim.
        """
        return Identity.of(token, self._tokens)

    @contextlib.asynccontextmanager
    async def losing_changes(self) -> AsyncIterator[None]:
        """Lose what is committed meanwhile, and tell no channel.

        So does the platform when an error amid a poll drops its slot, or above 100 deliveries a second.
        """
        await self._switch(loses=True)
        try:
            yield
        finally:
            await self._switch(loses=False)

    def subscribe(self, channel: Channel) -> None:
        """Validate the channel's bindings, tell it, and send it from then on what it may see."""
        self._joining.add(channel)
        self._woken.set()

    def unsubscribe(self, channel: Channel) -> None:
        """Send the channel nothing more."""
        self._joining.discard(channel)
        self._listening.discard(channel)

    async def _connect(self) -> Connection:
        return await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS, options=SESSION
        )

    async def _follow(self, holder: Connection, connection: Connection) -> None:
        slot = f"{PUBLICATION}_{holder.info.backend_pid}"
        await holder.execute("select pg_create_logical_replication_slot(%s, 'pgoutput', temporary => true)", (slot,))
        while True:
            joining = set(self._joining)
            switches, self._switches = self._switches, []
            changes = await self._read(holder, slot)
            for start in range(0, len(changes), CHANGES_PER_POLL):
                await self._publish(connection, changes[start : start + CHANGES_PER_POLL])
            # After what was committed before they came, and before what is committed once they are told.
            for channel in joining & self._joining:
                await self._admit(connection, channel)
            if changes:
                self._switches[:0] = switches  # there may be more that was committed before
                continue
            for self._loses, done in switches:
                done.set_result(None)
            await self._wait(POLL_SECONDS if self._listening else IDLE_SECONDS)

    async def _read(self, holder: Connection, slot: str) -> list[wal.Change]:
        """Return what was committed, and let go of the WAL. With nobody to tell, that is all."""
        if self._loses or not self._listening:
            await holder.execute("select pg_replication_slot_advance(%s, pg_current_wal_lsn())", (slot,))
            return []
        cursor = await holder.cursor(binary=True).execute(
            "select data from pg_logical_slot_get_binary_changes(%s, null, %s,"
            " 'proto_version', '1', 'publication_names', %s)",
            (slot, CHANGES_PER_POLL, PUBLICATION),
        )
        return list(wal.decode(data for (data,) in await cursor.fetchall()))

    async def _switch(self, *, loses: bool) -> None:
        """Return once what was committed before has been read in the former way."""
        done = asyncio.get_running_loop().create_future()
        self._switches.append((loses, done))
        self._woken.set()
        await done

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    async def _admit(self, connection: Connection, channel: Channel) -> None:
        self._joining.discard(channel)
        self._listening.add(channel)
        try:
            channel.bindings = [Binding.parse(item) for item in channel.items]
            for binding in reversed(channel.bindings):  # as the platform does, which names the last bad one
                await binding.check(connection, channel.identity.role)
        except RefusedError as error:
            self._listening.discard(channel)
            channel.send_system("postgres_changes", "error", str(error))
        else:
            channel.send_system("postgres_changes", "ok", "Subscribed to PostgreSQL")

    async def _publish(self, connection: Connection, changes: Sequence[wal.Change]) -> None:
        by_table: defaultdict[int, dict[int, wal.Change]] = defaultdict(dict)
        for position, change in enumerate(changes):
            by_table[change.relation.oid][position] = change
        outbox = [message for part in by_table.values() for message in await self._address(connection, part)]
        for _, channel, binding_ids, data in sorted(outbox, key=lambda message: message[0]):
            if channel in self._listening:  # it may have left meanwhile
                channel.send_change(binding_ids, data)

    async def _address(
        self, connection: Connection, changes: Mapping[int, wal.Change]
    ) -> list[tuple[int, Channel, list[int], str]]:
        """Work out whom to send one table's changes: position, channel, ids of its bindings, and the JSON."""
        relation = next(iter(changes.values())).relation
        listeners = [
            (channel, channel.identity, bindings)
            for channel in self._listening
            if (bindings := [b for b in channel.bindings if b.covers(relation.schema, relation.table)])
        ]
        bindings_of_all = [binding for _, _, bindings in listeners for binding in bindings]
        events = {binding.event for binding in bindings_of_all}
        changes = {position: change for position, change in changes.items() if events & {"*", change.type}}
        if not changes:
            return []
        filters = {f for binding in bindings_of_all for f in binding.filters}
        drafts: list[_Draft] = []
        doubtful: defaultdict[Identity, dict[int, Rendering]] = defaultdict(dict)
        try:
            table = await PublishedTable.read(connection, relation.oid, {identity.role for _, identity, _ in listeners})
            if not table.columns:
                return []
            renderings = await table.render(connection, changes, filters)
            for (channel, identity, bindings), rendering in itertools.product(listeners, renderings):
                error = table.error(rendering.change, identity.role)
                for select, ids in _wanting(bindings, rendering, ignore_filters=error is not None):
                    drafts.append(_Draft(rendering, channel, identity, select, ids))
                    if table.has_rls and not error and rendering.change.type != "DELETE":
                        doubtful[identity][rendering.position] = rendering
            hidden = {who: await table.hidden(connection, who, [*asked.values()]) for who, asked in doubtful.items()}
        except psycopg.Error:
            if connection.closed:
                raise
            # A filter does not fit the table any more, or the table was altered after the change.
            logger.exception("changes of %s.%s are lost", relation.schema, relation.table)
            self._joining |= self._listening.intersection(channel for channel, _, _ in listeners)
            return []
        return [
            (draft.rendering.position, draft.channel, draft.ids, table.data(draft.rendering, role, draft.select))
            for draft in drafts
            if draft.rendering.position not in hidden.get(draft.identity, ())
            for role in (draft.identity.role,)
        ]


def _wanting(
    bindings: Sequence[Binding], rendering: Rendering, *, ignore_filters: bool
) -> Iterator[tuple[tuple[str, ...] | None, list[int]]]:
    """Yield the ids of those bindings that want a change, by what they select of it: each is a message of its own."""
    ids: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for binding in bindings:
        is_wanted = ignore_filters or rendering.passed.issuperset(binding.filters)
        if is_wanted and binding.event in ("*", rendering.change.type):
            ids[tuple(sorted(binding.select or ()))].append(binding.id)
    for select in sorted(ids, key=",".join):
        yield select or None, ids[select]
