"""Live changes of tables through Supabase Realtime, under a supervisor that never lets a subscription die silently."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import uuid4

from realtime import (
    AsyncRealtimeChannel,
    AsyncRealtimeClient,
    PostgresChangesPayload,
    RealtimePostgresChangesListenEvent,
    RealtimeSubscribeStates,
)

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECONDS = 10
CHECK_SECONDS = 5
LONGEST_BACKOFF_SECONDS = 30


AccessToken: TypeAlias = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Binding:
    """What to listen to: a table of schema `public`, with an optional filter such as `id=eq.1`."""

    table: str
    event: RealtimePostgresChangesListenEvent = RealtimePostgresChangesListenEvent.All
    filter: str | None = None


@dataclass(frozen=True, slots=True)
class Subscribed:
    """From here on every change arrives. What changed before it has to be read from the database."""


@dataclass(frozen=True, slots=True)
class Change:
    """One row was inserted, updated or deleted.

    Attributes:
        type: `INSERT`, `UPDATE` or `DELETE`.
        record: The row after the change; large columns that did not change may be missing. Empty for `DELETE`.
        old_record: The primary key of the row before the change. Empty for `INSERT`.
        commit_timestamp: When it was committed, in ISO 8601.
    """

    table: str
    type: str
    record: dict[str, Any]
    old_record: dict[str, Any]
    commit_timestamp: str


class SubscriptionLostError(Exception):
    """The subscription ended, for a reason of the network, the server or the client library."""


async def changes(
    url: str,
    key: str,
    bindings: Sequence[Binding],
    *,
    access_token: AccessToken | None = None,
    on_lost: Callable[[], None] = lambda: None,
) -> AsyncGenerator[Subscribed | Change, None]:
    """Yield changes for ever, each time after `Subscribed`; closing the generator ends the subscription.

    The client is thrown away and built anew at the first sign of trouble, because realtime-py 2.34 dies silently in
    three ways: it gives up after five reconnects, an exception in a callback ends its listener while the connection
    looks alive, and a rejoined channel is removed by its predecessor's close.

    Args:
        url: Address of the Supabase project.
        key: API key.
        bindings: What to listen to.
        access_token: Returns a fresh token of the user on whose behalf to listen; without it, the key's role listens.
        on_lost: Called when a subscription has ended and another is about to be tried.
    """
    failures = 0
    while True:
        try:
            async with _subscribed(url, key, bindings, access_token) as next_event:
                while True:
                    event = await next_event()
                    failures = 0
                    yield event
        except SubscriptionLostError as error:
            on_lost()
            failures += 1
            pause = min(LONGEST_BACKOFF_SECONDS, 2 ** (failures - 1)) * random.uniform(0.5, 1)  # noqa: S311 (jitter)
            logger.warning("Realtime subscription lost (%s); again in %.1f s", error, pause)
            await asyncio.sleep(pause)


@asynccontextmanager
async def _subscribed(
    url: str, key: str, bindings: Sequence[Binding], access_token: AccessToken | None
) -> AsyncGenerator[Callable[[], Awaitable[Subscribed | Change]], None]:
    received: asyncio.Queue[Subscribed | SubscriptionLostError | PostgresChangesPayload] = asyncio.Queue()
    client = AsyncRealtimeClient(f"{url}/realtime/v1", token=key, auto_reconnect=False, timeout=CONNECT_TIMEOUT_SECONDS)
    channel = client.channel(f"changes-{uuid4()}")
    # The callbacks only fill the queue: whatever one of them raised would end the listener.
    for binding in bindings:
        channel.on_postgres_changes(
            binding.event, received.put_nowait, table=binding.table, schema="public", filter=binding.filter
        )
    channel.on_system(lambda _: received.put_nowait(Subscribed()))

    def on_state(state: RealtimeSubscribeStates, error: Exception | None) -> None:
        if state != RealtimeSubscribeStates.SUBSCRIBED:
            received.put_nowait(SubscriptionLostError(f"{state.value} {error or ''}".strip()))

    try:
        if access_token is not None:
            await client.set_auth(await access_token())
        try:
            await channel.subscribe(on_state)
        except Exception as error:  # the library raises whatever its websocket raised, and bare Exception
            raise SubscriptionLostError(f"{type(error).__name__}: {error}") from error
        yield lambda: _next_event(received, client, channel)
    finally:
        with suppress(Exception):
            await asyncio.wait_for(client.close(), CONNECT_TIMEOUT_SECONDS)


async def _next_event(
    received: asyncio.Queue[Subscribed | SubscriptionLostError | PostgresChangesPayload],
    client: AsyncRealtimeClient,
    channel: AsyncRealtimeChannel,
) -> Subscribed | Change:
    while True:
        try:
            event = await asyncio.wait_for(received.get(), CHECK_SECONDS)
        except TimeoutError:
            if not (client.is_connected and channel.is_joined):
                raise SubscriptionLostError("the connection ended") from None
            continue
        if isinstance(event, SubscriptionLostError):
            raise event
        return event if isinstance(event, Subscribed) else _change(event)


def _change(payload: PostgresChangesPayload) -> Change:
    data = payload["data"]
    return Change(
        table=data["table"],
        type=data["type"].value,
        record=data.get("record") or {},
        old_record=data.get("old_record") or {},
        commit_timestamp=data["commit_timestamp"],
    )
