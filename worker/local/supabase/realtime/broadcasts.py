"""Broadcasts: the messages that a client or the database sends to all channels of a topic.

The layout of binary frames follows https://github.com/supabase/realtime (2.129, `v2_serializer.ex`).
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from worker.local.supabase.realtime.json_text import json_object
from worker.local.supabase.realtime.messages import Message, UserPayload

logger = logging.getLogger(__name__)

USER_BROADCAST = 4  # the kind of the binary frames that clients receive
MAX_FIELD_BYTES = 255  # its length is one byte


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A message to all channels of a topic.

    Attributes:
        event: What the client calls it.
        payload: JSON, or bytes, which only protocol 2.0.0 can carry.
        metadata: JSON about it, if any.
        whole: The payload of the message as the client sent it, if that was text: it is sent on as it is.
    """

    event: str
    payload: str | bytes
    metadata: str | None = None
    whole: str | None = None

    @classmethod
    def of_message(cls, message: Message) -> Broadcast | None:
        """Return the broadcast that a client sends. `None` if its payload is not JSON."""
        try:
            if message.user is None:
                return cls("broadcast", "", whole=json.dumps(message.payload, allow_nan=False))
            return cls(message.user.event, _decoded(message.user))
        except ValueError:
            return None

    def text(self) -> str | None:
        """Return the payload of a text frame, as JSON. `None` for bytes."""
        if self.whole is not None:
            return self.whole
        if isinstance(self.payload, bytes):
            return None
        members = {"event": json.dumps(self.event), "payload": self.payload, "type": json.dumps("broadcast")}
        return json_object(members if self.metadata is None else {**members, "meta": self.metadata})

    def frame(self, topic: str) -> bytes | None:
        """Return the binary frame for the protocol 2.0.0. `None` if a name is too long for one."""
        is_json = isinstance(self.payload, str)
        payload = self.payload.encode() if isinstance(self.payload, str) else self.payload
        fields = [topic.encode(), self.event.encode(), (self.metadata or "").encode()]
        if max(map(len, fields)) > MAX_FIELD_BYTES:
            return None
        return bytes([USER_BROADCAST, *map(len, fields), is_json]) + b"".join(fields) + payload


def _decoded(user: UserPayload) -> str | bytes:
    if not user.is_json:
        return user.content
    text = user.content.decode()
    json.loads(text, parse_constant=_refuse)  # it becomes a part of other JSON
    return text


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class Member(Protocol):
    """A channel that receives the broadcasts of its topic."""

    @property
    def name(self) -> str:
        """The topic, without its prefix."""

    @property
    def is_private(self) -> bool:
        """Whether the policies on `realtime.messages` decide who may join."""

    @property
    def joined_at(self) -> datetime:
        """When it began to listen."""

    def send_broadcast(self, broadcast: Broadcast) -> None:
        """Send a broadcast to its client."""


class Topics:
    """The joined channels, by topic. A private channel and a public one of the same name are two topics."""

    def __init__(self) -> None:
        # Dictionaries keep the order of the joins.
        self._members: defaultdict[tuple[str, bool], dict[Member, None]] = defaultdict(dict)

    def __bool__(self) -> bool:
        """Return whether any channel is joined."""
        return bool(self._members)

    def join(self, member: Member) -> None:
        """Send the broadcasts of its topic to a channel."""
        self._members[member.name, member.is_private][member] = None

    def leave(self, member: Member) -> None:
        """Send nothing more to a channel."""
        key = (member.name, member.is_private)
        members = self._members.get(key, {})
        members.pop(member, None)
        if not members:
            self._members.pop(key, None)

    def send(
        self,
        name: str,
        broadcast: Broadcast,
        *,
        is_private: bool,
        sender: Member | None = None,
        sent_at: datetime | None = None,
    ) -> None:
        """Send a broadcast to the channels of a topic.

        Args:
            name: The topic, without its prefix.
            broadcast: The broadcast.
            is_private: Whether it is for private channels.
            sender: The channel that does not receive it, if any.
            sent_at: When the database committed it. Channels that joined later do not receive it.
        """
        for member in list(self._members.get((name, is_private), ())):
            if member is not sender and (sent_at is None or sent_at >= member.joined_at):
                member.send_broadcast(broadcast)
