"""What a client sends on a WebSocket of Realtime, and what of a join the local stack refuses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from worker.local.supabase.realtime.identity import RefusedError

TOPIC_PREFIX = "realtime:"
BROADCAST_FRAMES = (0, 3)  # kinds of binary frames that clients send
SECRET_KEY_PREFIX = "sb_"  # noqa: S105 - of keys that are no JWT


class Message(NamedTuple):
    """A message of a client."""

    join_ref: str | None
    ref: str | None
    topic: str
    event: str
    payload: dict[str, Any]

    @classmethod
    def parse(cls, protocol: str, text: str) -> Message | None:
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

    @classmethod
    def parse_bytes(cls, frame: bytes) -> Message | None:
        """Return whose broadcast it is, without what it says. Protocol 2.0.0 sends nothing else in bytes."""
        lengths, kind_and_lengths = frame[1:4], 5 if frame[:1] == b"\x00" else 7
        if not frame or frame[0] not in BROADCAST_FRAMES or len(frame) < kind_and_lengths + sum(lengths):
            return None
        parts, position = [], kind_and_lengths
        for length in lengths:
            parts.append(frame[position : position + length].decode(errors="replace"))
            position += length
        join_ref, ref, topic = parts
        return cls(join_ref or None, ref or None, topic, "broadcast", {})


@dataclass(frozen=True)
class Join:
    """What a client asks of a channel that it joins.

    Attributes:
        items: What of `postgres_changes` it wants to hear of.
        token: What it reads with. None for the API key of its socket.
    """

    items: list[dict[str, Any]]
    token: str | None

    @classmethod
    def of(cls, message: Message) -> Join:
        """Read a join.

        Raises:
            RefusedError: The channel has no name, or the join is one of the first protocol.
        """
        if not message.topic.startswith(TOPIC_PREFIX):
            raise RefusedError("unmatched topic")
        if message.topic == TOPIC_PREFIX:
            raise RefusedError("TopicNameRequired: You must provide a topic name")
        config = message.payload.get("config")
        if not isinstance(config, dict):
            raise RefusedError("NotInTheLocalStack: a join without `config`, as realtime-js 1 sends it")
        items = config.get("postgres_changes")
        items = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
        return cls(items, _token(message.payload))


def refuse_what_is_missing(message: Message) -> None:
    """Refuse what needs tables or services that the local stack does not have, once the token is found good.

    Raises:
        RefusedError: With the platform's message where a new project of it refuses the same.
    """
    config = message.payload["config"]
    name = message.topic.removeprefix(TOPIC_PREFIX)
    broadcast = config.get("broadcast") if isinstance(config.get("broadcast"), dict) else {}
    presence = config.get("presence") if isinstance(config.get("presence"), dict) else {}
    if _is_true(config.get("private")):  # there are no policies on `realtime.messages`, as in a new project
        raise RefusedError(f"Unauthorized: You do not have permissions to read from this Channel topic: {name}")
    if "replay" in broadcast:
        raise RefusedError("UnableToReplayMessages: Replay is not allowed for public channels")
    if _is_true(broadcast.get("replication_ready")):
        raise RefusedError("NotInTheLocalStack: broadcasts from the database")
    if _is_true(presence.get("enabled")):
        raise RefusedError("NotInTheLocalStack: presence")


def _token(payload: dict[str, Any]) -> str | None:
    tokens = [payload[name] for name in ("access_token", "user_token") if payload.get(name) not in (None, False)]
    if tokens and str(tokens[0]).startswith(SECRET_KEY_PREFIX):
        return None
    return next((token for token in reversed(tokens) if isinstance(token, str)), None)


def _is_true(value: object) -> bool:
    return str(value).lower() == "true" if isinstance(value, bool | str) else False
