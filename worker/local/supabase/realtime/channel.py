"""A channel: one topic, joined on one socket."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from worker.local.supabase.realtime.bindings import Binding
from worker.local.supabase.realtime.broadcasts import Broadcast
from worker.local.supabase.realtime.identity import Identity
from worker.local.supabase.realtime.join import Join
from worker.local.supabase.realtime.json_text import json_object
from worker.local.supabase.realtime.messages import TOPIC_PREFIX


class Transport(Protocol):
    """The socket of a channel."""

    def send_broadcast(self, topic: str, broadcast: Broadcast) -> None:
        """Queue a broadcast."""

    def send(
        self, topic: str, event: str, payload: str, *, ref: str | None = None, join_ref: str | None = None
    ) -> None:
        """Queue a message. The payload is JSON."""

    def shut_down(self, channel: Channel, message: str) -> None:
        """End a channel, and send the reason."""


class Channel:
    """One topic, joined on one socket.

    Args:
        transport: The socket.
        topic: The topic, with its prefix.
        join_ref: Reference of the join, which the client chose.
        join: The parameters of the join.
        items: The subscriptions of the join, each with its id.

    Attributes:
        joined_at: When it began to listen.
        bindings: The items as they were read. Empty until the channel is admitted.
        may_write: Whether the policies allow it to send, if it is private and they were checked.
    """

    def __init__(
        self, transport: Transport, topic: str, join_ref: str | None, join: Join, items: list[dict[str, Any]]
    ) -> None:
        self.topic = topic
        self.join_ref = join_ref
        self.join = join
        self.items = items
        self.joined_at = datetime.now(UTC)
        self.bindings: Sequence[Binding] = ()
        self.may_write: bool | None = None
        self.token: str
        self.identity: Identity
        self._transport = transport
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """The topic, without its prefix."""
        return self.topic.removeprefix(TOPIC_PREFIX)

    @property
    def is_private(self) -> bool:
        """Whether the policies on `realtime.messages` decide who may join."""
        return self.join.is_private

    def authorize(self, token: str, identity: Identity) -> None:
        """Read with `identity` from now on. The channel ends when it expires."""
        self.stop_expiry()
        self.token, self.identity = token, identity
        self.may_write = None
        self._expiry = asyncio.get_running_loop().call_later(
            max(0.0, identity.expires_at - time.time()),
            lambda: self._transport.shut_down(
                self, f"Token has expired {int(time.time()) - identity.expires_at} seconds ago"
            ),
        )

    def stop_expiry(self) -> None:
        """Do nothing when the token expires."""
        if self._expiry is not None:
            self._expiry.cancel()

    def send_system(self, extension: str, status: str, message: str) -> None:
        """Send the status of an extension, or the reason why the channel ends."""
        payload = {"extension": extension, "status": status, "message": message, "channel": self.name}
        self._transport.send(self.topic, "system", json.dumps(payload), join_ref=self.join_ref)

    def send_close(self) -> None:
        """Send that the channel has ended."""
        self._transport.send(self.topic, "phx_close", "{}", ref=self.join_ref, join_ref=self.join_ref)

    def send_broadcast(self, broadcast: Broadcast) -> None:
        """Send a broadcast."""
        self._transport.send_broadcast(self.topic, broadcast)

    def send_change(self, binding_ids: Sequence[int], data: str) -> None:
        """Send a change, which is JSON, to these bindings."""
        payload = json_object({"ids": json.dumps(binding_ids), "data": data})
        self._transport.send(self.topic, "postgres_changes", payload)
