"""A Realtime server that dies on demand, in each way that is known.

It speaks protocol 1.0.0 as the platform does (https://github.com/supabase/realtime, 2.129, and for the channels
https://github.com/phoenixframework/phoenix), as far as a client that listens to changes sees it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

COMMITTED_AT = "2026-01-02T03:04:05.678Z"

Message = dict[str, Any]


class JoinAnswer(Enum):
    """How a join is answered."""

    SUBSCRIBED = "subscribed"
    CHANGED_BEFORE_SUBSCRIBED = "changed-before-subscribed"
    REFUSED = "refused"
    NOT_AT_ALL = "not-at-all"
    OTHER_BINDINGS = "other-bindings"
    NOT_SUBSCRIBED = "not-subscribed"
    SUBSCRIBING_FAILED = "subscribing-failed"


@dataclass(eq=False)
class Subscriber:
    """A channel that was joined, on one connection.

    Attributes:
        server: Which it is a channel of.
        access_token: What it joined with.
        bindings: What it listens to, with the ids that the server gave them.
    """

    server: Phoenix
    websocket: ServerConnection
    topic: str
    join_ref: str
    access_token: str | None
    bindings: list[dict[str, Any]]

    async def send(self, event: str, payload: Mapping[str, Any], ref: str | None = None) -> None:
        """Send a message on the channel."""
        message = {"topic": self.topic, "event": event, "payload": payload, "ref": ref}
        await self.websocket.send(json.dumps(message))

    async def insert(self, table: str, record: Mapping[str, Any]) -> None:
        """Tell of a row that was inserted, if a binding asks for it."""
        await self._tell("INSERT", table, record, {})

    async def update(self, table: str, record: Mapping[str, Any]) -> None:
        """Tell of a row that was updated, if a binding asks for it."""
        await self._tell("UPDATE", table, record, {"old_record": {"id": record["id"]}})

    async def _tell(self, event: str, table: str, record: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        ids = [b["id"] for b in self.bindings if b["table"] == table and b["event"] in (event, "*")]
        data = {
            "schema": "public",
            "table": table,
            "type": event,
            "commit_timestamp": COMMITTED_AT,
            "columns": [{"name": name, "type": "text"} for name in record],
            "record": record,
            "errors": None,
            **more,
        }
        if ids and not self.server.drops_changes:
            await self.send("postgres_changes", {"ids": ids, "data": data})

    async def reply(self, status: str, response: Mapping[str, Any]) -> None:
        """Answer the join."""
        await self.send("phx_reply", {"status": status, "response": response}, self.join_ref)

    async def system(self, extension: str, status: str, message: str) -> None:
        """Say how an extension of the channel does."""
        channel = self.topic.removeprefix("realtime:")
        await self.send("system", {"extension": extension, "status": status, "message": message, "channel": channel})

    async def close(self) -> None:
        """End the channel, not the connection."""
        await self.send("phx_close", {}, self.join_ref)

    def hold_the_line(self) -> None:
        """Read nothing more, hence answer nothing, while the connection stays open: as when the network is gone."""
        self.websocket.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self.websocket.transport.resume_reading()

    def abort(self) -> None:
        """End the connection without a word."""
        self.websocket.transport.abort()


@dataclass
class Phoenix:
    """Answers as the platform does, until told otherwise.

    Attributes:
        join_answers: How the next joins are answered; all others are answered with `SUBSCRIBED`.
        refusals: So many of the next handshakes are answered with HTTP 503.
        unanswered: So many of the next handshakes are not answered.
        answers_heartbeats: Whether heartbeats are answered.
        drops_changes: Whether changes are lost, and no channel hears that they are: as when a poll fails on the
            platform, or above 100 deliveries a second.
        joins: The channels that were joined, before the join is answered.
        subscribers: Who was told that changes flow, one after the other.
        heartbeats: Those that were answered.
        tokens: The access tokens of all joins.
        url: Where it listens, once entered; it stays the same after a restart.
    """

    join_answers: deque[JoinAnswer] = field(default_factory=deque)
    refusals: int = 0
    unanswered: int = 0
    answers_heartbeats: bool = True
    drops_changes: bool = False
    joins: asyncio.Queue[Subscriber] = field(default_factory=asyncio.Queue)
    subscribers: asyncio.Queue[Subscriber] = field(default_factory=asyncio.Queue)
    heartbeats: asyncio.Queue[ServerConnection] = field(default_factory=asyncio.Queue)
    tokens: list[str | None] = field(default_factory=list)
    url: str = ""
    _port: int = 0
    _server: Server | None = None
    _binding_ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _channels: dict[ServerConnection, dict[str, Subscriber]] = field(default_factory=dict)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the same port as before."""
        self._stopped.clear()
        self._server = await serve(self._converse, "127.0.0.1", self._port, process_request=self._shake_hands)
        self._port = next(iter(self._server.sockets)).getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        """End all connections, and refuse new ones."""
        if self._server is None:
            return
        self._stopped.set()
        for websocket in self._channels:
            if not websocket.transport.is_reading():
                websocket.transport.abort()  # it would wait for a close that it does not read
        self._server.close()
        await self._server.wait_closed()
        self._server = None

    async def _shake_hands(self, websocket: ServerConnection, _: Request) -> Response | None:
        if self.unanswered:
            self.unanswered -= 1
            await self._stopped.wait()
        elif self.refusals:
            self.refusals -= 1
            return websocket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "no healthy upstream")
        return None

    async def _converse(self, websocket: ServerConnection) -> None:
        self._channels[websocket] = {}
        with suppress(ConnectionClosed):
            async for text in websocket:
                await self._handle(websocket, json.loads(text))
        del self._channels[websocket]

    async def _handle(self, websocket: ServerConnection, message: Message) -> None:
        match message["event"]:
            case "phx_join":
                await self._join(websocket, message)
            case "heartbeat" if self.answers_heartbeats:
                payload = {"status": "ok", "response": {}}
                answer = {"topic": "phoenix", "event": "phx_reply", "payload": payload, "ref": message["ref"]}
                await websocket.send(json.dumps(answer))
                self.heartbeats.put_nowait(websocket)
            case "phx_leave":
                subscriber = self._channels[websocket].pop(message["topic"])
                payload = {"status": "ok", "response": {}}
                await subscriber.send("phx_reply", payload, message["ref"])
                await subscriber.close()

    async def _join(self, websocket: ServerConnection, message: Message) -> None:
        payload, topic = message["payload"], message["topic"]
        bindings = [{**item, "id": next(self._binding_ids)} for item in payload["config"]["postgres_changes"]]
        subscriber = Subscriber(self, websocket, topic, message["ref"], payload.get("access_token"), bindings)
        self.tokens.append(subscriber.access_token)
        replaced = self._channels[websocket].get(topic)
        self._channels[websocket][topic] = subscriber
        self.joins.put_nowait(subscriber)
        await self._answer(subscriber, self.join_answers.popleft() if self.join_answers else JoinAnswer.SUBSCRIBED)
        if replaced:  # Phoenix tells of the old channel's end after the new one's beginning
            await replaced.close()

    async def _answer(self, subscriber: Subscriber, answer: JoinAnswer) -> None:
        joined = {"postgres_changes": subscriber.bindings}
        match answer:
            case JoinAnswer.SUBSCRIBED | JoinAnswer.CHANGED_BEFORE_SUBSCRIBED:
                await subscriber.reply("ok", joined)
                if answer == JoinAnswer.CHANGED_BEFORE_SUBSCRIBED:
                    await subscriber.insert(subscriber.bindings[0]["table"], {"id": "early"})
                await subscriber.system("postgres_changes", "ok", "Subscribed to PostgreSQL")
                self.subscribers.put_nowait(subscriber)
            case JoinAnswer.REFUSED:
                await subscriber.reply("error", {"reason": "ClientJoinRateLimitReached: Too many joins per second"})
            case JoinAnswer.OTHER_BINDINGS:
                await subscriber.reply("ok", {"postgres_changes": []})
            case JoinAnswer.NOT_SUBSCRIBED:
                await subscriber.reply("ok", joined)
            case JoinAnswer.SUBSCRIBING_FAILED:
                await subscriber.reply("ok", joined)
                await subscriber.system("postgres_changes", "error", "Unable to subscribe to changes")
