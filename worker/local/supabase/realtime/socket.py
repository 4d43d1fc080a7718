"""The WebSocket of one client: the channels that are joined on it, and the frames to be sent.

The messages and their order follow https://github.com/supabase/realtime (2.129) and, for the channel protocol,
https://github.com/phoenixframework/phoenix (`lib/phoenix/socket.ex`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
from collections.abc import Mapping
from typing import Any, Protocol

from starlette.status import WS_1013_TRY_AGAIN_LATER
from starlette.websockets import WebSocket, WebSocketDisconnect

from worker.local.supabase.realtime.broadcasts import Broadcast
from worker.local.supabase.realtime.channel import Channel
from worker.local.supabase.realtime.errors import RefusedError, TokenRefusedError
from worker.local.supabase.realtime.identity import Identity
from worker.local.supabase.realtime.join import SECRET_KEY_PREFIX, Join, refuse_unsupported
from worker.local.supabase.realtime.json_text import json_object
from worker.local.supabase.realtime.messages import TOPIC_PREFIX, Message

logger = logging.getLogger(__name__)

MAX_CHANNELS = 100  # for each client, as the platform's `max_channels_per_client`
MAX_BACKLOG_LENGTH = 16 * 1024 * 1024  # characters: a few of the largest records, or tens of thousands of ordinary ones
STALL_SECONDS = 5.0  # with a longer backlog, without one frame sent: then the client does not read
CLOSE_SECONDS = 1.0

BINDING_IDS = itertools.count(1)


def extra_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that policies can read, as on the platform."""
    return {name: value for name, value in headers.items() if name.lower().startswith("x-")}


class Publisher(Protocol):
    """Checks tokens, and sends changes to channels."""

    def identify(self, token: str) -> Identity:
        """Return the identity of a token."""

    def subscribe(self, channel: Channel) -> None:
        """Check the bindings of a channel, send it the result, and then the changes that it may see."""

    def unsubscribe(self, channel: Channel) -> None:
        """Send nothing more to a channel."""

    def join(self, channel: Channel) -> None:
        """Send the broadcasts of its topic to a channel."""

    def broadcast(self, channel: Channel, broadcast: Broadcast) -> None:
        """Send the broadcast of a channel to its topic."""

    async def may_read(self, name: str, identity: Identity, headers: Mapping[str, str]) -> bool:
        """Return whether an identity may read the private channels of a topic."""

    async def may_write(self, name: str, identity: Identity, headers: Mapping[str, str]) -> bool:
        """Return whether an identity may send to the private channels of a topic."""


class _StalledError(Exception):
    """The client does not read a long backlog."""


class Socket:
    """The WebSocket of one client."""

    def __init__(self, publisher: Publisher, websocket: WebSocket, protocol: str, key: str, identity: Identity) -> None:
        self._publisher = publisher
        self._websocket = websocket
        self._protocol = protocol
        self._key, self._key_identity = key, identity
        self._channels: dict[str, Channel] = {}
        self._headers = extra_headers(websocket.headers)
        self._frames: asyncio.Queue[str | bytes] = asyncio.Queue()
        self._backlog = 0
        self._overflowed = asyncio.Event()
        self._taken = asyncio.Event()

    async def serve(self) -> None:
        """Read and write until either side closes the WebSocket."""
        await self._websocket.accept()
        try:
            async with asyncio.TaskGroup() as tasks:
                for work in (self._read(), self._write(), self._watch_backlog()):
                    tasks.create_task(work)
        except* WebSocketDisconnect:
            pass
        except* _StalledError:
            logger.warning("closed a WebSocket whose client does not read")
            with contextlib.suppress(TimeoutError, WebSocketDisconnect):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._websocket.close(WS_1013_TRY_AGAIN_LATER)
        finally:
            for channel in list(self._channels.values()):
                self._release(channel)

    def send(
        self, topic: str, event: str, payload: str, *, ref: str | None = None, join_ref: str | None = None
    ) -> None:
        """Queue a message. The payload is JSON."""
        if self._protocol == "1.0.0":
            head = {"topic": topic, "event": event, "ref": ref}
            frame = json_object({name: json.dumps(value) for name, value in head.items()} | {"payload": payload})
        else:
            frame = f"{json.dumps([join_ref, ref, topic, event])[:-1]}, {payload}]"
        self._queue(frame)

    def send_broadcast(self, topic: str, broadcast: Broadcast) -> None:
        """Queue a broadcast. One that the protocol of the client cannot carry is left out, as on the platform."""
        text = broadcast.text()
        if self._protocol != "1.0.0" and broadcast.whole is None:
            frame = broadcast.frame(topic)
            if frame is not None:
                self._queue(frame)
                return
        elif text is not None:
            self.send(topic, "broadcast", text)
            return
        logger.warning("a broadcast on %s does not fit into protocol %s, and was left out", topic, self._protocol)

    def _queue(self, frame: str | bytes) -> None:
        self._frames.put_nowait(frame)
        self._backlog += len(frame)
        if self._backlog > MAX_BACKLOG_LENGTH:
            self._overflowed.set()

    def shut_down(self, channel: Channel, message: str) -> None:
        """End a channel, and send the reason."""
        channel.send_system("system", "error", message)
        self._close(channel)

    async def _write(self) -> None:
        while True:
            frame = await self._frames.get()
            await (self._websocket.send_text(frame) if isinstance(frame, str) else self._websocket.send_bytes(frame))
            self._taken.set()
            self._backlog -= len(frame)
            if self._backlog <= MAX_BACKLOG_LENGTH:
                self._overflowed.clear()

    async def _watch_backlog(self) -> None:
        while True:
            await self._overflowed.wait()
            self._taken.clear()
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await self._taken.wait()
            except TimeoutError:
                raise _StalledError from None

    async def _read(self) -> None:
        while True:
            event = await self._websocket.receive()
            if event["type"] == "websocket.disconnect":
                raise WebSocketDisconnect
            text = event.get("text")
            message = Message.parse(self._protocol, text) if text else Message.parse_bytes(event.get("bytes") or b"")
            if message:
                await self._handle(message)

    async def _handle(self, message: Message) -> None:
        channel = self._channels.get(message.topic)
        if message.topic == "phoenix" and message.event == "heartbeat":
            self._reply(message, "ok", {})
        elif message.event == "phx_join":
            await self._join(message)
        elif channel is None and message.event != "phx_leave":
            self._reply(message, "error", {"reason": "unmatched topic"})
        elif channel and message.join_ref not in (None, channel.join_ref):
            logger.debug("ignored a message for an earlier join of the channel")
        elif message.event == "phx_leave":
            self._reply(message, "ok", {})
            if channel:
                self._close(channel)
        elif channel and message.event == "access_token":
            await self._refresh(channel, message.payload.get("access_token"))
        elif channel and message.event == "broadcast":
            await self._broadcast(channel, message)
        elif message.event == "presence":
            logger.warning("refused a presence on %s: the local stack does not have it", message.topic)
            self._reply(message, "error", {"reason": "presence is not part of the local stack"})

    async def _broadcast(self, channel: Channel, message: Message) -> None:
        broadcast = Broadcast.of_message(message)
        if broadcast is None:
            logger.warning("refused a broadcast on %s: it is not JSON", message.topic)
            self._reply(message, "error", {"reason": "the payload of the broadcast is not JSON"})
            return
        if channel.is_private and channel.may_write is None:
            try:
                channel.may_write = await self._publisher.may_write(channel.name, channel.identity, self._headers)
            except RefusedError as error:
                logger.warning("left out a broadcast on %s: %s", message.topic, error)
                return
        if channel.is_private and not channel.may_write:
            # The platform does not answer either.
            logger.warning("left out a broadcast on %s: no policy on realtime.messages allows it", message.topic)
            return
        self._publisher.broadcast(channel, broadcast)
        if channel.join.acknowledges:
            self._reply(message, "ok", {})

    async def _join(self, message: Message) -> None:
        replaced = self._channels.get(message.topic)
        if replaced:
            self._release(replaced)
        try:
            channel = await self._admit(message)
        except RefusedError as error:
            reason = error.at_join if isinstance(error, TokenRefusedError) else str(error)
            self._reply(message, "error", {"reason": reason})
        else:
            self._channels[channel.topic] = channel
            self._reply(message, "ok", {"postgres_changes": channel.items})
            self._publisher.join(channel)
            if channel.items:
                self._publisher.subscribe(channel)
        if replaced:  # Phoenix ends the old channel after it has joined the new one
            replaced.send_close()

    async def _admit(self, message: Message) -> Channel:
        join = Join.parse(message)
        if len(self._channels) >= MAX_CHANNELS:
            raise RefusedError("ChannelRateLimitReached: Too many channels")
        token = join.token or self._key
        identity = self._publisher.identify(token) if join.token else self._key_identity
        name = message.topic.removeprefix(TOPIC_PREFIX)
        await self._check_reader(name, identity, is_private=join.is_private, code="Unauthorized: ")
        refuse_unsupported(message)
        items = [{**item, "id": next(BINDING_IDS)} for item in join.items]
        channel = Channel(self, message.topic, message.join_ref, join, items)
        channel.authorize(token, identity)
        return channel

    async def _check_reader(self, name: str, identity: Identity, *, is_private: bool, code: str = "") -> None:
        if is_private and not await self._publisher.may_read(name, identity, self._headers):
            raise RefusedError(f"{code}You do not have permissions to read from this Channel topic: {name}")

    async def _refresh(self, channel: Channel, token: object) -> None:
        if not isinstance(token, str) or token == channel.token or token.startswith(SECRET_KEY_PREFIX):
            return
        try:
            identity = self._publisher.identify(token)
            await self._check_reader(channel.name, identity, is_private=channel.is_private)
        except RefusedError as error:
            reason = error.at_refresh if isinstance(error, TokenRefusedError) else str(error)
            if self._channels.get(channel.topic) is channel:  # it may have expired since
                self.shut_down(channel, reason)
            return
        if self._channels.get(channel.topic) is channel:
            channel.authorize(token, identity)
            if channel.items:
                self._publisher.subscribe(channel)

    def _close(self, channel: Channel) -> None:
        self._release(channel)
        channel.send_close()

    def _release(self, channel: Channel) -> None:
        del self._channels[channel.topic]
        channel.stop_expiry()
        self._publisher.unsubscribe(channel)

    def _reply(self, message: Message, status: str, response: dict[str, Any]) -> None:
        payload = json.dumps({"status": status, "response": response})
        self.send(message.topic, "phx_reply", payload, ref=message.ref, join_ref=message.join_ref)
