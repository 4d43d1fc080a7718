"""Follows the WAL, admits channels and publishes changes to them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence

import psycopg
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

from worker.local.supabase.realtime import database_messages, wal
from worker.local.supabase.realtime.bindings import PUBLICATION, Binding
from worker.local.supabase.realtime.broadcasts import Broadcast, Topics
from worker.local.supabase.realtime.channel import Channel
from worker.local.supabase.realtime.delivery import Deliveries
from worker.local.supabase.realtime.errors import RefusedError, TokenRefusedError
from worker.local.supabase.realtime.filters import Connection
from worker.local.supabase.realtime.identity import Identity
from worker.local.supabase.realtime.policies import Policies
from worker.local.supabase.realtime.socket import Socket
from worker.local.supabase.realtime.stream import CHANGES_PER_READ, Stream
from worker.local.supabase.tokens import Tokens

logger = logging.getLogger(__name__)

PROTOCOLS = ("1.0.0", "2.0.0")

# The platform polls every 100 ms, and 500 ms after an empty poll, because it serves many projects. Here one developer
# watches a screen: a change is sent at once. In busy times changes go together, so that publishing takes a fifth of the
# time at most: its pauses are so many times as long as what they follow.
PAUSE = 4
MAX_PAUSE_SECONDS = 0.05
IDLE_SECONDS = 10.0  # clients that load their page again find the stream they left
RECONNECT_SECONDS = 0.5
CONNECT_TIMEOUT_SECONDS = 5
# The format of values must not depend on the settings of the database.
SESSION = "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c bytea_output=hex -c statement_timeout=30s"


class Realtime:
    """Follows the WAL of one database for the subscribers of one gateway.

    Args:
        dsn: Connection URL of a superuser, who may use a replication slot and set any role.
        tokens: Verifies API keys and access tokens.
    """

    def __init__(self, dsn: str, tokens: Tokens) -> None:
        self._dsn = dsn
        self._tokens = tokens
        self._policies = Policies(dsn)
        self.topics = Topics()
        self._awaiting_replication: set[Channel] = set()
        self._is_following = False
        self._joining: set[Channel] = set()  # "Subscribed to PostgreSQL" is still to be sent
        self._listening: set[Channel] = set()
        self._woken = asyncio.Event()
        self._is_losing = False
        self._switches: list[tuple[bool, asyncio.Future[None]]] = []

    async def run(self) -> None:
        """Follow the WAL until cancelled.

        After an error of the database, or any other one, it connects again. Channels stay joined. They then receive
        "Subscribed to PostgreSQL" again, so that clients can read what they may have missed.
        """
        while True:
            while not self._is_needed:
                await self._wait(None)
            try:
                async with await self._connect() as connection:
                    await self._follow(connection)
            except psycopg.Error as error:
                logger.warning("cannot read the WAL, retrying in %s s: %s", RECONNECT_SECONDS, error)
            except Exception:
                logger.exception("failed to publish changes, retrying in %s s", RECONNECT_SECONDS)
            self._is_following = False
            self._joining |= self._listening
            self._listening.clear()
            if self._is_needed:
                await asyncio.sleep(RECONNECT_SECONDS)

    @property
    def _is_needed(self) -> bool:
        return bool(self._joining or self._listening or self.topics or self._switches)

    async def websocket(self, websocket: WebSocket) -> None:
        """Serve one client, from its handshake until the WebSocket closes.

        Args:
            websocket: A WebSocket that is not accepted yet. It is refused with HTTP 401 without a valid `apikey`, and
                with 403 for a `vsn` other than 1.0.0 and 2.0.0.
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
        """Return the identity of a token.

        Raises:
            TokenRefusedError: It is malformed, forged or expired, or lacks a claim.
        """
        return Identity.of_token(token, self._tokens)

    @contextlib.asynccontextmanager
    async def losing_changes(self) -> AsyncIterator[None]:
        """For tests: lose the changes committed in the meantime, without a message to any channel.

        The platform does so when an error in a poll drops its slot, or above 100 deliveries a second.
        """
        await self._switch(loses=True)
        try:
            yield
        finally:
            await self._switch(loses=False)

    def subscribe(self, channel: Channel) -> None:
        """Check the bindings of a channel, send it the result, and then the changes that it may see."""
        self._joining.add(channel)
        self._woken.set()

    def unsubscribe(self, channel: Channel) -> None:
        """Send nothing more to a channel."""
        self._joining.discard(channel)
        self._listening.discard(channel)
        self._awaiting_replication.discard(channel)
        self.topics.leave(channel)
        self._woken.set()

    def join(self, channel: Channel) -> None:
        """Send the broadcasts of its topic to a channel."""
        self.topics.join(channel)
        self._woken.set()
        if channel.join.awaits_replication:
            self._awaiting_replication.add(channel)
            self._announce_replication()

    def broadcast(self, channel: Channel, broadcast: Broadcast) -> None:
        """Send the broadcast of a channel to its topic."""
        sender = None if channel.join.is_echoed else channel
        self.topics.send(channel.name, broadcast, is_private=channel.is_private, sender=sender)

    async def may_read(self, name: str, identity: Identity, headers: Mapping[str, str]) -> bool:
        """Return whether an identity may read the private channels of a topic."""
        return await self._policies.may_read(name, identity, headers)

    async def may_write(self, name: str, identity: Identity, headers: Mapping[str, str]) -> bool:
        """Return whether an identity may send to the private channels of a topic."""
        return await self._policies.may_write(name, identity, headers)

    def _announce_replication(self) -> None:
        if self._is_following:
            for channel in self._awaiting_replication:
                channel.send_system("system", "ok", "Replication connection established")
            self._awaiting_replication.clear()

    async def _connect(self) -> Connection:
        return await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS, options=SESSION
        )

    async def _follow(self, connection: Connection) -> None:
        """Follow the WAL until nobody has listened for a while: Postgres neither decodes nor keeps it for nobody."""
        publications = await database_messages.prepare(connection)
        async with Stream.of(
            self._dsn, publications, slot=PUBLICATION, options=SESSION, connect_timeout=CONNECT_TIMEOUT_SECONDS
        ) as stream:
            self._is_following = True
            self._announce_replication()
            deliveries = Deliveries(connection)
            clock = asyncio.get_running_loop().time
            while self._is_needed or await self._is_needed_within(IDLE_SECONDS):
                began_at = clock()
                published = await self._publish_arrived(stream, connection, deliveries)
                if published == 0:
                    with stream.signalling(self._woken):
                        await self._wait(None)
                elif published < CHANGES_PER_READ:
                    await self._wait(min(MAX_PAUSE_SECONDS, PAUSE * (clock() - began_at)))

    async def _is_needed_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._is_needed:
                    await self._wait(None)
        return self._is_needed

    async def _publish_arrived(self, stream: Stream, connection: Connection, deliveries: Deliveries) -> int:
        """Publish what has arrived, and admit the channels that join. Return the number of changes."""
        joining = set(self._joining)
        switches, self._switches = self._switches, []
        changes = await stream.take_all(connection) if joining or switches else stream.take()
        if not self._is_losing:
            for start in range(0, len(changes), CHANGES_PER_READ):
                await self._publish(deliveries, changes[start : start + CHANGES_PER_READ])
        # After the changes committed before they joined, and before those committed after the confirmation.
        for channel in joining & self._joining:
            await self._admit(connection, channel)
        for self._is_losing, done in switches:
            done.set_result(None)
        return len(changes)

    async def _switch(self, *, loses: bool) -> None:
        """Switch the mode, and return when everything committed before has been read in the earlier mode."""
        done = asyncio.get_running_loop().create_future()
        self._switches.append((loses, done))
        self._woken.set()
        await done

    async def _wait(self, seconds: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    async def _admit(self, connection: Connection, channel: Channel) -> None:
        self._joining.discard(channel)
        self._listening.add(channel)
        try:
            channel.bindings = [Binding.parse(item) for item in channel.items]
            for binding in reversed(channel.bindings):  # as the platform does, which reports the last invalid one
                await binding.check(connection, channel.identity.role)
        except RefusedError as error:
            self._listening.discard(channel)
            channel.send_system("postgres_changes", "error", str(error))
        else:
            channel.send_system("postgres_changes", "ok", "Subscribed to PostgreSQL")

    async def _publish(self, deliveries: Deliveries, changes: Sequence[wal.Change]) -> None:
        for message in filter(database_messages.is_message, changes):
            database_messages.send(message, self.topics)
        changes = [change for change in changes if not database_messages.is_message(change)]
        found, losing = await deliveries.of(changes, frozenset(self._listening))
        self._joining |= self._listening & losing
        for delivery in found:
            if delivery.channel in self._listening:  # it may have left since
                delivery.channel.send_change(delivery.binding_ids, delivery.data)
