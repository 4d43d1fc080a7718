"""The messages of clients, in the protocols 1.0.0 and 2.0.0."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

TOPIC_PREFIX = "realtime:"
BROADCAST_FRAMES = (0, 3)  # the kinds of binary frames that clients send


class Message(NamedTuple):
    """A message of a client."""

    join_ref: str | None
    ref: str | None
    topic: str
    event: str
    payload: dict[str, Any]

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
        """Read the head of a binary frame, in which clients send broadcasts only. Return `None` if it is not one."""
        lengths, kind_and_lengths = frame[1:4], 5 if frame[:1] == b"\x00" else 7
        if not frame or frame[0] not in BROADCAST_FRAMES or len(frame) < kind_and_lengths + sum(lengths):
            return None
        parts, position = [], kind_and_lengths
        for length in lengths:
            parts.append(frame[position : position + length].decode(errors="replace"))
            position += length
        join_ref, ref, topic = parts
        return cls(join_ref or None, ref or None, topic, "broadcast", {})
