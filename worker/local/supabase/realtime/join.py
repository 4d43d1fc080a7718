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
    """

    items: list[dict[str, Any]]
    token: str | None

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
        return cls(items, _token(message.payload))


def refuse_unsupported(message: Message) -> None:
    """Refuse what needs tables or services that the local stack does not have. To be called after the token is checked.

    Raises:
        RefusedError: With the message of the platform if a new project there refuses the same.
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
