"""The slice of Supabase Realtime that the clients use here: `postgres_changes`, over protocols 1.0.0 and 2.0.0.

One task follows the WAL and works out who may see what; each WebSocket has a task that reads and one that writes.
What is sent, and when, follows https://github.com/supabase/realtime (2.129) and, for the channel protocol,
https://github.com/phoenixframework/phoenix (`lib/phoenix/socket.ex`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psycopg
from starlette.responses import JSONResponse
from starlette.status import WS_1013_TRY_AGAIN_LATER
from starlette.websockets import WebSocket, WebSocketDisconnect

from worker.local import wal
from worker.local.subscriptions import (
    PUBLICATION,
    Binding,
    Connection,
    Identity,
    PublishedTable,
    RefusedError,
    Rendering,
    json_object,
)
from worker.local.tokens import TokenError, Tokens

logger = logging.getLogger(__name__)

PROTOCOLS = ("1.0.0", "2.0.0")
TOPIC_PREFIX = "realtime:"

# The platform polls every 100 ms, and 500 ms after an empty poll: it carries many projects. Here one developer watches
# a screen. A change waits half of the interval on average, and empty polls take about 3 % of a core.
POLL_SECONDS = 0.05
IDLE_SECONDS = 10.0  # with nobody listening, the slot only has to let go of old WAL
CHANGES_PER_POLL = 100  # the platform's `poll_max_changes`; Postgres rounds it up to whole transactions
RECONNECT_SECONDS = 0.5
CONNECT_TIMEOUT_SECONDS = 5
# How values are written must not depend on the settings of the database.
SESSION = "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c bytea_output=hex -c statement_timeout=30s"

MAX_BACKLOG_LENGTH = 16 * 1024 * 1024  # a few of the largest records, tens of thousands of ordinary ones
CLOSE_SECONDS = 1.0

BINDING_IDS = itertools.count(1)


class _Channel:
    """One topic, joined on one socket."""

    def __init__(self, socket: _Socket, topic: str, join_ref: str | None, items: list[dict[str, Any]]) -> None:
        self.topic = topic
        self.join_ref = join_ref
        self.items = items
        self.bindings: list[Binding] = []
        self.token: str
        self.identity: Identity
        self._socket = socket
        self._expiry: asyncio.TimerHandle | None = None

    def authorize(self, token: str, identity: Identity) -> None:
        """Read as `identity` from now on, and until it expires."""
        self.stop_clock()
        self.token, self.identity = token, identity
        self._expiry = asyncio.get_running_loop().call_later(
            max(0.0, identity.expires_at - time.time()),
            lambda: self._socket.shut_down(
                self, f"Token has expired {int(time.time()) - identity.expires_at} seconds ago"
            ),
        )

    def stop_clock(self) -> None:
        """Let the token expire unnoticed."""
        if self._expiry is not None:
            self._expiry.cancel()

    def send_system(self, extension: str, status: str, message: str) -> None:
        name = self.topic.removeprefix(TOPIC_PREFIX)
        payload = {"extension": extension, "status": status, "message": message, "channel": name}
        self._socket.send(self.topic, "system", json.dumps(payload), join_ref=self.join_ref)

    def send_close(self) -> None:
        self._socket.send(self.topic, "phx_close", "{}", ref=self.join_ref, join_ref=self.join_ref)

    def send_change(self, binding_ids: list[int], data: str) -> None:
        payload = json_object({"ids": json.dumps(binding_ids), "data": data})
        self._socket.send(self.topic, "postgres_changes", payload)


class Realtime:
    """Follows the WAL of one database for the subscribers of one gateway.

    Args:
        dsn: Connects as a superuser, who may hold a replication slot and take on any role.
        tokens: Verifies API keys and access tokens.
    """

    def __init__(self, dsn: str, tokens: Tokens) -> None:
        self._dsn = dsn
        self._tokens = tokens
        self._joining: set[_Channel] = set()  # still to be told "Subscribed to PostgreSQL"
        self._listening: set[_Channel] = set()
        self._woken = asyncio.Event()

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
                logger.exception("the WAL is read anew in %s s", RECONNECT_SECONDS)
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
            identity = self.identify(key)
        except RefusedError as error:
            await websocket.send_denial_response(JSONResponse({"error": str(error)}, status_code=401))
            return
        if protocol not in PROTOCOLS:
            await websocket.close()
            return
        await _Socket(self, websocket, protocol, key, identity).serve()

    def identify(self, token: str) -> Identity:
        """Return whom a token speaks for.

        Raises:
            RefusedError: It is malformed, forged or expired.
        """
        try:
            claims = self._tokens.claims(token)
        except TokenError as error:
            is_expired = str(error) == "JWT expired"
            raise RefusedError("Token has expired" if is_expired else "The token provided is not a valid JWT") from None
        if "role" not in claims or "exp" not in claims:
            raise RefusedError("Fields `role` and `exp` are required in JWT")
        return Identity(claims["role"], json.dumps(claims), claims["exp"])

    def subscribe(self, channel: _Channel) -> None:
        """Validate the channel's bindings, tell it, and send it from then on what it may see."""
        self._joining.add(channel)
        self._woken.set()

    def unsubscribe(self, channel: _Channel) -> None:
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
            changes: list[wal.Change] = []
            if self._listening:
                cursor = await holder.cursor(binary=True).execute(
                    "select data from pg_logical_slot_get_binary_changes(%s, null, %s,"
                    " 'proto_version', '1', 'publication_names', %s)",
                    (slot, CHANGES_PER_POLL, PUBLICATION),
                )
                changes += wal.decode(data for (data,) in await cursor.fetchall())
            else:
                await holder.execute("select pg_replication_slot_advance(%s, pg_current_wal_lsn())", (slot,))
            for start in range(0, len(changes), CHANGES_PER_POLL):
                await self._publish(connection, changes[start : start + CHANGES_PER_POLL])
            # After what was committed before they came, and before what is committed once they are told.
            for channel in joining & self._joining:
                await self._admit(connection, channel)
            if not changes:
                await self._wait(POLL_SECONDS if self._listening else IDLE_SECONDS)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    async def _admit(self, connection: Connection, channel: _Channel) -> None:
        self._joining.discard(channel)
        self._listening.add(channel)
        try:
            channel.bindings = [Binding.parse(item) for item in channel.items]
            for binding in channel.bindings:
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
    ) -> list[tuple[int, _Channel, list[int], str]]:
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
        drafts: list[tuple[Rendering, _Channel, Identity, list[int]]] = []
        doubtful: defaultdict[Identity, dict[int, Rendering]] = defaultdict(dict)
        try:
            table = await PublishedTable.read(connection, relation.oid, {identity.role for _, identity, _ in listeners})
            if not table.columns:
                return []
            renderings = await table.render(connection, changes, filters)
            for (channel, identity, bindings), rendering in itertools.product(listeners, renderings):
                error = table.error(rendering.change, identity.role)
                wanting = [b for b in bindings if b.event in ("*", rendering.change.type)]
                if ids := [b.id for b in wanting if error or b.filters <= rendering.passed]:
                    drafts.append((rendering, channel, identity, ids))
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
            (rendering.position, channel, ids, table.data(rendering, identity.role))
            for rendering, channel, identity, ids in drafts
            if rendering.position not in hidden.get(identity, ())
        ]


class _Message(NamedTuple):
    """A message of a client."""

    join_ref: str | None
    ref: str | None
    topic: str
    event: str
    payload: dict[str, Any]

    @classmethod
    def parse(cls, protocol: str, text: str) -> _Message | None:
        """Return None for what is no message."""
        try:
            parts = json.loads(text)
            if protocol == "1.0.0":
                parts = [parts.get("join_ref"), *(parts[name] for name in ("ref", "topic", "event", "payload"))]
            join_ref, ref, topic, event, payload = parts[:5]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        is_message = isinstance(topic, str) and isinstance(event, str) and isinstance(payload, dict)
        return cls(join_ref, ref, topic, event, payload) if is_message else None


class _Socket:
    """One client's WebSocket: the channels that it joined, and the frames that it is still to be sent."""

    def __init__(self, realtime: Realtime, websocket: WebSocket, protocol: str, key: str, identity: Identity) -> None:
        self._realtime = realtime
        self._websocket = websocket
        self._protocol = protocol
        self._key, self._key_identity = key, identity
        self._channels: dict[str, _Channel] = {}
        self._frames: asyncio.Queue[str] = asyncio.Queue()
        self._backlog = 0
        self._overflowed = asyncio.Event()

    async def serve(self) -> None:
        """Read and write until either side ends it."""
        await self._websocket.accept()
        try:
            async with asyncio.TaskGroup() as tasks:
                for work in (self._read(), self._write(), self._watch_backlog()):
                    tasks.create_task(work)
        except* WebSocketDisconnect:
            if self._overflowed.is_set():
                logger.warning("a WebSocket is closed: its client reads too slowly")
                with contextlib.suppress(TimeoutError, WebSocketDisconnect):
                    async with asyncio.timeout(CLOSE_SECONDS):
                        await self._websocket.close(WS_1013_TRY_AGAIN_LATER)
        finally:
            for channel in list(self._channels.values()):
                self._release(channel)

    def send(
        self, topic: str, event: str, payload: str, *, ref: str | None = None, join_ref: str | None = None
    ) -> None:
        """Queue a message, whose payload is JSON."""
        if self._protocol == "1.0.0":
            head = {"topic": topic, "event": event, "ref": ref}
            frame = json_object({name: json.dumps(value) for name, value in head.items()} | {"payload": payload})
        else:
            frame = f"{json.dumps([join_ref, ref, topic, event])[:-1]}, {payload}]"
        self._backlog += len(frame)
        if self._backlog > MAX_BACKLOG_LENGTH:
            self._overflowed.set()
        else:
            self._frames.put_nowait(frame)

    def shut_down(self, channel: _Channel, message: str) -> None:
        """End a channel, and tell why."""
        channel.send_system("system", "error", message)
        self._close(channel)

    async def _write(self) -> None:
        while True:
            frame = await self._frames.get()
            await self._websocket.send_text(frame)
            self._backlog -= len(frame)

    async def _watch_backlog(self) -> None:
        await self._overflowed.wait()
        raise WebSocketDisconnect

    async def _read(self) -> None:
        while True:
            event = await self._websocket.receive()
            if event["type"] == "websocket.disconnect":
                raise WebSocketDisconnect
            # In protocol 2.0.0, clients broadcast in bytes.
            message = _Message.parse(self._protocol, event.get("text") or "")
            if message:
                self._handle(message)

    def _handle(self, message: _Message) -> None:
        channel = self._channels.get(message.topic)
        if message.topic == "phoenix" and message.event == "heartbeat":
            self._reply(message, "ok", {})
        elif message.event == "phx_join":
            self._join(message)
        elif channel is None and message.event != "phx_leave":
            self._reply(message, "error", {"reason": "unmatched topic"})
        elif channel and message.join_ref not in (None, channel.join_ref):
            logger.debug("ignored: a message to a channel that has been joined again since")
        elif message.event == "phx_leave":
            self._reply(message, "ok", {})
            if channel:
                self._close(channel)
        elif channel and message.event == "access_token":
            self._refresh(channel, message.payload.get("access_token"))
        elif message.event in ("broadcast", "presence"):
            self._reply(message, "error", {"reason": f"{message.event} is not part of the local stack"})

    def _join(self, message: _Message) -> None:
        replaced = self._channels.get(message.topic)
        if replaced:
            self._release(replaced)
        try:
            channel = self._channel(message)
        except RefusedError as error:
            self._reply(message, "error", {"reason": str(error)})
        else:
            self._channels[channel.topic] = channel
            self._reply(message, "ok", {"postgres_changes": channel.items})
            if channel.items:
                self._realtime.subscribe(channel)
        if replaced:  # Phoenix tells of the old channel's end after the new one's beginning
            replaced.send_close()

    def _channel(self, message: _Message) -> _Channel:
        if not message.topic.startswith(TOPIC_PREFIX):
            raise RefusedError("unmatched topic")
        if message.topic == TOPIC_PREFIX:
            raise RefusedError("TopicNameRequired: You must provide a topic name")
        config = message.payload.get("config")
        items = config.get("postgres_changes") if isinstance(config, dict) else None
        items = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
        channel = _Channel(self, message.topic, message.join_ref, [{**item, "id": next(BINDING_IDS)} for item in items])
        token = message.payload.get("access_token")
        try:
            if isinstance(token, str):
                channel.authorize(token, self._realtime.identify(token))
            else:
                channel.authorize(self._key, self._key_identity)
        except RefusedError as error:
            raise RefusedError(f"InvalidJWTToken: {error}") from None
        return channel

    def _refresh(self, channel: _Channel, token: object) -> None:
        if not isinstance(token, str) or token == channel.token:
            return
        try:
            channel.authorize(token, self._realtime.identify(token))
        except RefusedError as error:
            self.shut_down(channel, str(error))
        else:
            if channel.items:
                self._realtime.subscribe(channel)

    def _close(self, channel: _Channel) -> None:
        self._release(channel)
        channel.send_close()

    def _release(self, channel: _Channel) -> None:
        del self._channels[channel.topic]
        channel.stop_clock()
        self._realtime.unsubscribe(channel)

    def _reply(self, message: _Message, status: str, response: dict[str, Any]) -> None:
        payload = json.dumps({"status": status, "response": response})
        self.send(message.topic, "phx_reply", payload, ref=message.ref, join_ref=message.join_ref)
