"""Live changes of tables through Supabase Realtime. A subscription that is lost, even silently, is replaced."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import uuid4

from realtime import (
    PHOENIX_CHANNEL,
    AsyncRealtimeChannel,
    AsyncRealtimeClient,
    ChannelEvents,
    PostgresChangesPayload,
    RealtimeAcknowledgementStatus,
    RealtimePostgresChangesListenEvent,
    RealtimeSubscribeStates,
    SuccessSystemPayload,
)
from realtime._async.push import AsyncPush  # what a channel's `push` returns; heartbeats belong to no joined channel
from supabase_auth.errors import AuthRetryableError

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 1


AccessToken: TypeAlias = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Binding:
    """A subscription to a table of schema `public`, with an optional filter such as `id=eq.1`."""

    table: str
    event: RealtimePostgresChangesListenEvent = RealtimePostgresChangesListenEvent.All
    filter: str | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """Timeouts and pauses of a subscription, in seconds.

    Attributes:
        subscribe_seconds: Timeout from the request for an access token until the server confirms the subscription.
            Supabase takes several seconds when it has to start the replication of a project.
        heartbeat_seconds: Time between the answer to a heartbeat and the next heartbeat.
        answer_seconds: Timeout of the answer to a heartbeat.
        first_pause_seconds: Pause after the first loss; it doubles with each further loss.
        max_pause_seconds: Maximum of this pause.
        recheck_seconds: Mean time between two `Recheck` events; the jitter is a third of it.
    """

    subscribe_seconds: float = 30
    heartbeat_seconds: float = 15
    answer_seconds: float = 10
    first_pause_seconds: float = 1
    max_pause_seconds: float = 30
    recheck_seconds: float = 45

    def pause_seconds(self, failures: int) -> float:
        """Return the pause after that many consecutive failures. With jitter: all clients lose a server at once."""
        doublings = min(failures - 1, 32)  # after a long outage the power would overflow
        pause = min(self.max_pause_seconds, math.ldexp(self.first_pause_seconds, doublings))
        return pause * random.uniform(0.5, 1)  # noqa: S311 (jitter)

    def next_recheck_at(self) -> float:
        """Return the time of the next `Recheck` on the clock of the event loop, with jitter as above."""
        return asyncio.get_running_loop().time() + self.recheck_seconds * random.uniform(2 / 3, 4 / 3)  # noqa: S311


DEFAULT_TIMING = Timing()


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The subscription has started: later changes arrive as events. Read earlier ones from the database."""


@dataclass(frozen=True, slots=True)
class Recheck:
    """Changes may have been lost: read from the database what must not be missed.

    Supabase drops the changes of a failed poll, and those above a tenant's rate, without a message to the channel.
    """


@dataclass(frozen=True, slots=True)
class Change:
    """One row was inserted, updated or deleted.

    Attributes:
        type: `INSERT`, `UPDATE` or `DELETE`.
        record: The row after the change. Large columns that did not change are missing. Empty for `DELETE`.
        old_record: The primary key of the row before the change. Empty for `INSERT`.
        commit_timestamp: When it was committed, in ISO 8601.
        is_cut: Whether the row exceeded the size limit of the server: then its nulls and long columns are missing, too.
    """

    table: str
    type: str
    record: dict[str, Any]
    old_record: dict[str, Any]
    commit_timestamp: str
    is_cut: bool = False


class SubscriptionLostError(Exception):
    """The network, the server or the client library ended the subscription."""


async def changes(
    url: str,
    key: str,
    bindings: Sequence[Binding],
    *,
    access_token: AccessToken | None = None,
    on_lost: Callable[[], None] = lambda: None,
    timing: Timing = DEFAULT_TIMING,
) -> AsyncGenerator[Subscribed | Recheck | Change, None]:
    """Yield `Subscribed`, then changes and, from time to time, `Recheck`. Closing the generator ends the subscription.

    After a loss it subscribes again and yields `Subscribed` again. It never ends by itself.

    Each subscription has a new client, because realtime-py 2.34 can stop silently in three ways: it gives up after five
    reconnects, an exception ends its listener while the connection looks alive, and the close of an old channel removes
    the rejoined one. It also ignores a missing answer to a heartbeat.

    Args:
        url: Address of the Supabase project.
        key: API key.
        bindings: The tables to listen to.
        access_token: Returns a fresh access token of the user; default: listen with the role of the key. It is called
            before each subscription. `AuthRetryableError` counts as a loss; the generator raises other errors.
        on_lost: Called after a subscription was lost or failed, before the next attempt.
        timing: Timeouts and pauses.
    """
    failures = 0
    while True:
        subscription = _Subscription(url, key, bindings)
        try:
            await subscription.start(access_token, timing)
            failures = 0
            yield Subscribed()
            recheck_at = timing.next_recheck_at()
            while True:
                try:
                    async with asyncio.timeout_at(recheck_at):
                        event: Subscribed | Recheck | Change = await subscription.next_event()
                except TimeoutError:
                    event = Recheck()
                    recheck_at = timing.next_recheck_at()
                yield event
        except SubscriptionLostError as error:
            on_lost()
            failures += 1
            pause = timing.pause_seconds(failures)
            logger.warning("Realtime subscription lost (%s); retry in %.1f s", error, pause)
        finally:
            await subscription.close()
        await asyncio.sleep(pause)


class _Subscription:
    """A client with one channel. It is not used again after the first error."""

    def __init__(self, url: str, key: str, bindings: Sequence[Binding]) -> None:
        self._received: asyncio.Queue[Subscribed | PostgresChangesPayload | SubscriptionLostError] = asyncio.Queue()
        self._heartbeats: asyncio.Task[None] | None = None
        self._client = AsyncRealtimeClient(f"{url}/realtime/v1", token=key, auto_reconnect=False)
        self._channel = self._client.channel(f"changes-{uuid4()}")
        # The callbacks only fill the queue: an exception in a callback would end the listener of the library.
        for binding in bindings:
            self._channel.on_postgres_changes(
                binding.event, self._received.put_nowait, table=binding.table, schema="public", filter=binding.filter
            )
        self._channel.on_system(self._on_system)
        # Without a channel of this topic, the library drops the answers to heartbeats.
        self._phoenix = AsyncRealtimeChannel(self._client, PHOENIX_CHANNEL)
        self._client.channels[PHOENIX_CHANNEL] = self._phoenix

    async def start(self, access_token: AccessToken | None, timing: Timing) -> None:
        """Return when the server has confirmed the subscription."""
        try:
            async with asyncio.timeout(timing.subscribe_seconds):
                if access_token is not None:
                    await self._client.set_auth(await access_token())
                await self._join()
                # The library reports SUBSCRIBED at the answer to the join; changes before the confirmation of the
                # server are lost.
                while not isinstance(await self.next_event(), Subscribed):
                    pass
        except TimeoutError:
            raise SubscriptionLostError(f"not subscribed within {timing.subscribe_seconds} s") from None
        except AuthRetryableError as error:
            raise SubscriptionLostError(f"no access token: {error}") from error
        self._heartbeats = asyncio.create_task(self._send_heartbeats(timing))

    async def next_event(self) -> Subscribed | Change:
        """Wait for the next event. Raises `SubscriptionLostError`."""
        received = await self._received.get()
        if isinstance(received, SubscriptionLostError):
            raise received
        return received if isinstance(received, Subscribed) else _change(received)

    async def close(self) -> None:
        """Close the connection and end all tasks of the library, even if this call is cancelled."""
        closing = asyncio.create_task(self._close())
        try:
            await asyncio.shield(closing)
        finally:
            await closing

    async def _close(self) -> None:
        if self._heartbeats is not None:
            self._heartbeats.cancel()
        websocket = self._client._ws_connection  # noqa: SLF001 (the library has no option for what follows)
        if websocket is not None:
            websocket.close_timeout = CLOSE_SECONDS  # the default waits 10 s for a silent server
        with suppress(Exception):  # the client is discarded in any case
            await self._client.close()
        # The client does not stop the timers of its channels.
        for channel in (self._channel, self._phoenix):
            channel.rejoin_timer.reset()
            for push in channel.messages_waiting_for_ack.values():
                push.destroy()
        await asyncio.sleep(0)  # cancelled tasks end

    async def _join(self) -> None:
        try:
            await self._channel.subscribe(self._on_state)
        except Exception as error:  # the library raises errors of its websocket, and bare Exception
            raise SubscriptionLostError(f"{type(error).__name__}: {error}") from error

    async def _send_heartbeats(self, timing: Timing) -> None:
        """Send heartbeats until one is not answered.

        An answer shows that the connection and the server work. It comes through the listener of the library, so it is
        also the only sign that the listener works.
        """
        while True:
            await asyncio.sleep(timing.heartbeat_seconds)
            heartbeat = AsyncPush(self._phoenix, ChannelEvents.heartbeat)
            try:
                async with asyncio.timeout(timing.answer_seconds):
                    await _answer(heartbeat)
            except Exception as error:  # noqa: BLE001 (without heartbeats, no further loss would be noticed)
                self._lose(f"no answer to a heartbeat: {error!r}")
                return
            finally:
                heartbeat.destroy()

    def _on_system(self, payload: SuccessSystemPayload) -> None:
        if payload.extension == "postgres_changes":
            self._received.put_nowait(Subscribed())

    def _on_state(self, state: RealtimeSubscribeStates, error: Exception | None) -> None:
        if state != RealtimeSubscribeStates.SUBSCRIBED:
            self._lose(f"{state.value} {error or ''}".strip())

    def _lose(self, reason: str) -> None:
        self._received.put_nowait(SubscriptionLostError(reason))


async def _answer(push: AsyncPush) -> None:
    answered = asyncio.Event()
    push.receive(RealtimeAcknowledgementStatus.Ok, lambda _: answered.set())
    await push.send()
    await answered.wait()


def _change(payload: PostgresChangesPayload) -> Change:
    data = payload["data"]
    return Change(
        table=data["table"],
        type=data["type"].value,
        record=data.get("record") or {},
        old_record=data.get("old_record") or {},
        commit_timestamp=data["commit_timestamp"],
        is_cut=bool(data.get("errors")),
    )
