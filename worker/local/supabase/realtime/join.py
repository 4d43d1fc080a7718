"""The request to join a channel, and what the local stack refuses of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from worker.local.supabase.realtime.errors import RefusedError
from worker.local.supabase.realtime.messages import TOPIC_PREFIX, Message

SECRET_KEY_PREFIX = "sb_"  # noqa: S105 - of API keys that are not a JWT


@dataclass(frozen=True)
class Join:
    """The parameters of a join.

    Attributes:
        items: Its subscriptions: the items of `postgres_changes`.
        token: Its token. `None` if it uses the API key of its socket.
        is_private: Whether the policies on `realtime.messages` decide who may join.
        acknowledges: Whether broadcasts of the client are answered.
        is_echoed: Whether it receives its own broadcasts.
        awaits_replication: Whether it is notified when broadcasts of the database arrive.
    """

    items: list[dict[str, Any]]
    token: str | None
    is_private: bool = False
    acknowledges: bool = False
    is_echoed: bool = False
    awaits_replication: bool = False

    @classmethod
    def parse(cls, message: Message) -> Join:
        """Read the message of a join.

        Raises:
            RefusedError: The channel has no name, or the join is that of realtime-js 1.
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
        broadcast = _section(config, "broadcast")
        return cls(
            items,
            _token(message.payload),
            is_private=_is_true(config.get("private")),
            acknowledges=_is_true(broadcast.get("ack")),
            is_echoed=_is_true(broadcast.get("self")),
            awaits_replication=_is_true(broadcast.get("replication_ready")),
        )


def refuse_unsupported(message: Message) -> None:
    """Refuse what the local stack does not have. To be called after the token is checked.

    Raises:
        RefusedError: With the message of the platform if it refuses the same.
    """
    config = message.payload["config"]
    if "replay" in _section(config, "broadcast"):
        if _is_true(config.get("private")):
            raise RefusedError("NotInTheLocalStack: the replay of broadcasts")
        raise RefusedError("UnableToReplayMessages: Replay is not allowed for public channels")
    if _is_true(_section(config, "presence").get("enabled")):
        raise RefusedError("NotInTheLocalStack: presence")


def _section(config: dict[str, Any], name: str) -> dict[str, Any]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def _token(payload: dict[str, Any]) -> str | None:
    tokens = [payload[name] for name in ("access_token", "user_token") if payload.get(name) not in (None, False)]
    if tokens and str(tokens[0]).startswith(SECRET_KEY_PREFIX):
        return None
    return next((token for token in reversed(tokens) if isinstance(token, str)), None)


def _is_true(value: object) -> bool:
    return str(value).lower() == "true" if isinstance(value, bool | str) else False
