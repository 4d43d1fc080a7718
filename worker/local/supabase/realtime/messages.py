"""The messages of clients, in the protocols 1.0.0 and 2.0.0."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

TOPIC_PREFIX = "realtime:"
USER_BROADCAST_PUSH = 3  # the kind of the binary frames that clients send
_LENGTHS = slice(1, 6)
_HEAD_BYTES = 7


class UserPayload(NamedTuple):
    """What a binary frame carries.

    Attributes:
        event: What the client calls it.
        is_json: Whether `content` is JSON.
    """

    event: str
    is_json: bool
    content: bytes


class Message(NamedTuple):
    """A message of a client.

    Attributes:
        user: The payload, if it came in a binary frame.
    """

    join_ref: str | None
    ref: str | None
    topic: str
    event: str
    payload: dict[str, Any]
    user: UserPayload | None = None

    @classmethod
    def parse(cls, protocol: str, text: str) -> Message | None:
        """Read a text frame. Return `None` if it is not a message."""
        try:
            parts = json.loads(text)
            if protocol == "1.0.0":
                parts = [parts.get("join_ref"), *(parts[name] for name in ("ref", "topic", "event", "payload"))]
            join_ref, ref, topic, event, payload = parts[:5]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        is_message = isinstance(topic, str) and isinstance(event, str) and isinstance(payload, dict)
        return cls(join_ref, ref, topic, event, payload) if is_message else None

    @classmethod
    def parse_bytes(cls, frame: bytes) -> Message | None:
        """Read a binary frame, in which clients send broadcasts only. Return `None` if it is not one."""
        lengths = frame[_LENGTHS]
        if frame[:1] != bytes([USER_BROADCAST_PUSH]) or len(frame) < _HEAD_BYTES + sum(lengths):
            return None
        parts, position = [], _HEAD_BYTES
        for length in lengths:
            parts.append(frame[position : position + length].decode(errors="replace"))
            position += length
        join_ref, ref, topic, event, _metadata = parts
        user = UserPayload(event, frame[_HEAD_BYTES - 1] != 0, frame[position:])
        return cls(join_ref or None, ref or None, topic, "broadcast", {}, user)
