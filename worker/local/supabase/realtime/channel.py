"""A channel: one topic, joined on one socket."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, Protocol

from worker.local.supabase.realtime.bindings import Binding
from worker.local.supabase.realtime.identity import Identity
from worker.local.supabase.realtime.json_text import json_object
from worker.local.supabase.realtime.messages import TOPIC_PREFIX


class Transport(Protocol):
    """The socket of a channel."""

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
        items: The subscriptions of the join, each with its id.

    Attributes:
        bindings: The items as they were read. Empty until the channel is admitted.
    """

    def __init__(self, transport: Transport, topic: str, join_ref: str | None, items: list[dict[str, Any]]) -> None:
        self.topic = topic
        self.join_ref = join_ref
        self.items = items
        self.bindings: Sequence[Binding] = ()
        self.token: str
        self.identity: Identity
        self._transport = transport
        self._expiry: asyncio.TimerHandle | None = None

    def authorize(self, token: str, identity: Identity) -> None:
        """Read with `identity` from now on. The channel ends when it expires."""
        self.stop_expiry()
        self.token, self.identity = token, identity
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
        name = self.topic.removeprefix(TOPIC_PREFIX)
        payload = {"extension": extension, "status": status, "message": message, "channel": name}
        self._transport.send(self.topic, "system", json.dumps(payload), join_ref=self.join_ref)

    def send_close(self) -> None:
        """Send that the channel has ended."""
        self._transport.send(self.topic, "phx_close", "{}", ref=self.join_ref, join_ref=self.join_ref)

    def send_change(self, binding_ids: Sequence[int], data: str) -> None:
        """Send a change, which is JSON, to these bindings."""
        payload = json_object({"ids": json.dumps(binding_ids), "data": data})
        self._transport.send(self.topic, "postgres_changes", payload)
