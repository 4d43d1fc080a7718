"""Broadcasts of the database: the rows that `realtime.send` and triggers insert into `realtime.messages`."""

from __future__ import annotations

import json
import logging

from worker.local.supabase.realtime.bindings import PUBLICATION
from worker.local.supabase.realtime.broadcasts import Broadcast, Topics
from worker.local.supabase.realtime.filters import Connection
from worker.local.supabase.realtime.wal import Change

logger = logging.getLogger(__name__)

MESSAGES_PUBLICATION = "supabase_realtime_messages_publication"

_SELECT_PUBLICATION = "select from pg_publication where pubname = %s"
# The platform drops the partitions of messages that are older than three days.
_DELETE_OLD = "delete from realtime.messages where inserted_at < timezone('utc', now()) - interval '72 hours'"


async def prepare(connection: Connection) -> str:
    """Delete old messages, and return the names of the publications to follow, with commas between them.

    The data folder of an earlier version has no `realtime.messages`. There, only changes of tables are followed.
    """
    if not (await connection.execute(_SELECT_PUBLICATION, (MESSAGES_PUBLICATION,))).rowcount:
        logger.warning("this data folder has no realtime.messages: broadcasts of the database need a new one")
        return PUBLICATION
    await connection.execute(_DELETE_OLD)
    return f"{PUBLICATION},{MESSAGES_PUBLICATION}"


def is_message(change: Change) -> bool:
    """Return whether a change is a new message."""
    return (change.relation.schema, change.relation.table) == ("realtime", "messages")


def send(message: Change, topics: Topics) -> None:
    """Send a message to the channels of its topic. One that is not complete is left out, as on the platform."""
    row = message.record
    payload: str | bytes | None = row.get("payload")
    if row.get("binary_payload") is not None:
        payload = bytes.fromhex((row["binary_payload"] or "").removeprefix("\\x"))
    topic, event, private = row.get("topic"), row.get("event"), row.get("private")
    if topic is None or event is None or private is None or payload is None:
        logger.warning("UnableToBroadcastChanges: a message without topic, event, private or payload")
        return
    broadcast = Broadcast(event, payload, metadata=json.dumps({"id": row["id"]}))
    topics.send(topic, broadcast, is_private=private == "t", sent_at=message.committed_at)
