"""What outlives each known death of a Realtime subscription."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

import pytest
from supabase_auth.errors import AuthRetryableError

from tests.support.phoenix import COMMITTED_AT, JoinAnswer, Phoenix, Subscriber
from worker.database.changes import Binding, Change, Recheck, Subscribed, Timing, changes
from worker.database.user import signed_in_as
from worker.local.loopback import free_port
from worker.local.supabase.stack import local_stack

QUICK = Timing(first_pause_seconds=0.01, max_pause_seconds=0.05)
IMPATIENT = replace(QUICK, subscribe_seconds=1)
FAST_HEARTBEATS = replace(QUICK, heartbeat_seconds=0.05, answer_seconds=1)
MORE_THAN_THE_LIBRARY_TRIES = 6
MAX_FRAME_BYTES = 2**20  # that the library's websocket takes

# realtime-py 2.34 reads an attribute that websockets 15 calls deprecated, which would be an error in its listener.
pytestmark = pytest.mark.filterwarnings(r"ignore:ConnectionClosed\.(code|reason) is deprecated:DeprecationWarning")


@pytest.fixture
async def server() -> AsyncIterator[Phoenix]:
    async with Phoenix() as server:
        yield server


class Watch:
    """Watches two tables, with a new access token for each subscription."""

    def __init__(self, server: Phoenix, timing: Timing = QUICK) -> None:
        self.losses = asyncio.Semaphore(0)
        self.tokens: list[str] = []
        self._server = server
        self.events = changes(
            server.url,
            "key",
            [Binding("search_runs"), Binding("search_run_sites", filter="run_id=eq.1")],
            access_token=self._access_token,
            on_lost=self.losses.release,
            timing=timing,
        )

    async def _access_token(self) -> str:
        self.tokens.append(str(uuid4()))
        return self.tokens[-1]

    async def subscribed(self) -> Subscriber:
        """Wait for the next subscription, which is new."""
        assert isinstance(await anext(self.events), Subscribed)
        return await self._server.subscribers.get()

    async def sees_inserts(self, subscriber: Subscriber) -> None:
        for table in ("search_runs", "search_run_sites"):
            record = {"id": str(uuid4())}
            await subscriber.insert(table, record)
            assert await anext(self.events) == Change(table, "INSERT", record, {}, COMMITTED_AT)


async def test_it_says_from_time_to_time_that_changes_may_be_lost(server: Phoenix) -> None:
    watch = Watch(server, replace(QUICK, recheck_seconds=0.05))
    async with aclosing(watch.events):
        subscriber = await watch.subscribed()
        assert [await anext(watch.events) for _ in range(2)] == [Recheck(), Recheck()]
        # And it stays subscribed.
        await subscriber.insert("search_runs", {"id": "1"})
        async for event in watch.events:
            if event == Change("search_runs", "INSERT", {"id": "1"}, {}, COMMITTED_AT):
                break


Death: TypeAlias = Callable[[Phoenix, Subscriber, Watch], Awaitable[None]]


async def connection_closed(_: Phoenix, subscriber: Subscriber, __: Watch, code: int) -> None:
    await subscriber.websocket.close(code)


async def connection_aborted(_: Phoenix, subscriber: Subscriber, __: Watch) -> None:
    subscriber.abort()


async def server_restarted(server: Phoenix, _: Subscriber, __: Watch) -> None:
    await server.stop()
    await server.start()


async def server_down_for_long(server: Phoenix, _: Subscriber, watch: Watch) -> None:
    await server.stop()
    for _attempt in range(MORE_THAN_THE_LIBRARY_TRIES + 1):
        await watch.losses.acquire()
    watch.losses.release()
    await server.start()


async def handshakes_refused(server: Phoenix, subscriber: Subscriber, _: Watch) -> None:
    server.refusals = MORE_THAN_THE_LIBRARY_TRIES
    subscriber.abort()


async def handshake_not_answered(server: Phoenix, subscriber: Subscriber, _: Watch) -> None:
    server.unanswered = 1
    subscriber.abort()


async def heartbeats_not_answered(server: Phoenix, _: Subscriber, watch: Watch) -> None:
    server.answers_heartbeats = False
    await watch.losses.acquire()
    watch.losses.release()
    server.answers_heartbeats = True


async def connection_half_open(_: Phoenix, subscriber: Subscriber, __: Watch) -> None:
    subscriber.hold_the_line()


async def listener_killed(_: Phoenix, subscriber: Subscriber, __: Watch) -> None:
    # The library takes a presence without `phx_ref` for valid, and then stumbles over it.
    await subscriber.send("presence_state", {"somebody": {"metas": [{}]}})


async def frame_too_large(_: Phoenix, subscriber: Subscriber, __: Watch) -> None:
    await subscriber.insert("search_runs", {"id": "x" * MAX_FRAME_BYTES})


async def subscription_failed_later(_: Phoenix, subscriber: Subscriber, __: Watch) -> None:
    await subscriber.system("postgres_changes", "error", "Unable to subscribe to changes")


async def token_expired(_: Phoenix, subscriber: Subscriber, __: Watch) -> None:
    await subscriber.system("system", "error", "Access token has expired")
    await subscriber.close()


async def channel_closed(_: Phoenix, subscriber: Subscriber, __: Watch) -> None:
    await subscriber.close()


async def channel_crashed(_: Phoenix, subscriber: Subscriber, __: Watch) -> None:
    await subscriber.send("phx_error", {}, subscriber.join_ref)


async def join_answered(server: Phoenix, subscriber: Subscriber, _: Watch, answer: JoinAnswer) -> None:
    server.join_answers.append(answer)
    subscriber.abort()


DEATHS = [
    *(pytest.param(partial(connection_closed, code=code), QUICK, id=f"closed-{code}") for code in (1000, 1001, 1011)),
    pytest.param(connection_aborted, QUICK, id="aborted"),
    pytest.param(server_restarted, QUICK, id="restarted"),
    pytest.param(server_down_for_long, QUICK, id="down-for-long"),
    pytest.param(handshakes_refused, QUICK, id="handshakes-refused"),
    pytest.param(handshake_not_answered, IMPATIENT, id="handshake-not-answered"),
    pytest.param(heartbeats_not_answered, FAST_HEARTBEATS, id="heartbeats-not-answered"),
    pytest.param(connection_half_open, FAST_HEARTBEATS, id="half-open"),
    pytest.param(listener_killed, FAST_HEARTBEATS, id="listener-killed"),
    pytest.param(frame_too_large, QUICK, id="frame-too-large"),
    pytest.param(subscription_failed_later, QUICK, id="subscription-failed-later"),
    pytest.param(token_expired, QUICK, id="token-expired"),
    pytest.param(channel_closed, QUICK, id="channel-closed"),
    pytest.param(channel_crashed, QUICK, id="channel-crashed"),
    *(
        pytest.param(partial(join_answered, answer=answer), IMPATIENT, id=f"join-{answer.value}")
        for answer in JoinAnswer
        if answer not in (JoinAnswer.SUBSCRIBED, JoinAnswer.CHANGED_BEFORE_SUBSCRIBED)
    ),
]


@pytest.mark.parametrize(("death", "timing"), DEATHS)
async def test_changes_go_on_after(death: Death, timing: Timing, server: Phoenix) -> None:
    watch = Watch(server, timing)
    async with aclosing(watch.events):
        first = await watch.subscribed()
        await watch.sees_inserts(first)
        assert watch.losses.locked()

        subscribed_again = asyncio.create_task(watch.subscribed())
        await death(server, first, watch)
        second = await subscribed_again

        assert not watch.losses.locked()
        assert second.websocket is not first.websocket
        assert second.topic != first.topic
        assert (first.access_token, second.access_token) == (watch.tokens[0], watch.tokens[-1])
        assert len(set(watch.tokens)) == len(watch.tokens)
        await watch.sees_inserts(second)
    first.resume()
    await first.websocket.wait_closed()
    await second.websocket.wait_closed()
    assert not server.join_answers
    assert (server.refusals, server.unanswered) == (0, 0)


async def test_each_answered_heartbeat_keeps_the_subscription(server: Phoenix) -> None:
    watch = Watch(server, FAST_HEARTBEATS)
    async with aclosing(watch.events):
        subscriber = await watch.subscribed()
        for _ in range(5):
            assert await server.heartbeats.get() is subscriber.websocket
        await watch.sees_inserts(subscriber)
        assert watch.losses.locked()


@pytest.mark.parametrize("frame", ["{", "[]", "{}", b"\x00\xff", '{"event": "system", "payload": {}}'])
async def test_a_frame_that_makes_no_sense_is_no_loss(frame: str | bytes, server: Phoenix) -> None:
    watch = Watch(server)
    async with aclosing(watch.events):
        subscriber = await watch.subscribed()
        await subscriber.websocket.send(frame)
        await watch.sees_inserts(subscriber)
        assert watch.losses.locked()


async def test_what_comes_before_the_subscription_is_left_to_the_snapshot(server: Phoenix) -> None:
    server.join_answers.append(JoinAnswer.CHANGED_BEFORE_SUBSCRIBED)
    watch = Watch(server)
    async with aclosing(watch.events):
        await watch.sees_inserts(await watch.subscribed())


async def test_word_of_another_extension_is_no_subscription(server: Phoenix) -> None:
    watch = Watch(server)
    async with aclosing(watch.events):
        subscriber = await watch.subscribed()
        await subscriber.system("broadcast", "ok", "Subscribed to broadcasts")
        await watch.sees_inserts(subscriber)


async def test_a_subscription_that_the_server_renews_is_told(server: Phoenix) -> None:
    watch = Watch(server)
    async with aclosing(watch.events):
        subscriber = await watch.subscribed()
        await subscriber.system("postgres_changes", "ok", "Subscribed to PostgreSQL")
        assert isinstance(await anext(watch.events), Subscribed)
        await watch.sees_inserts(subscriber)
        assert watch.losses.locked()


async def test_an_access_token_is_asked_for_again_when_it_could_not_be_refreshed(server: Phoenix) -> None:
    answers: list[str | Exception] = [AuthRetryableError("no connection", 0), TimeoutError(), "a-token"]

    async def access_token() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    events = changes(server.url, "key", [Binding("search_runs")], access_token=access_token, timing=QUICK)
    async with aclosing(events):
        assert isinstance(await anext(events), Subscribed)
    assert server.tokens == ["a-token"]


async def test_the_end_of_a_session_is_raised(server: Phoenix) -> None:
    async def access_token() -> str:
        raise LookupError("sign in again")

    events = changes(server.url, "key", [Binding("search_runs")], access_token=access_token, timing=QUICK)
    with pytest.raises(LookupError, match="sign in again"):
        await anext(events)


async def test_pauses_grow_up_to_the_longest() -> None:
    timing = Timing(first_pause_seconds=1, max_pause_seconds=30)
    for failures, longest in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (10_000, 30)]:
        assert longest / 2 <= timing.pause_seconds(failures) <= longest


async def is_subscribed(server: Phoenix, _: Watch) -> None:
    await server.subscribers.get()


async def is_joining(server: Phoenix, _: Watch) -> None:
    server.join_answers.append(JoinAnswer.NOT_AT_ALL)
    await server.joins.get()


async def is_refused_its_bindings(server: Phoenix, watch: Watch) -> None:
    server.join_answers.append(JoinAnswer.OTHER_BINDINGS)
    await watch.losses.acquire()


async def is_half_open(server: Phoenix, _: Watch) -> None:
    (await server.subscribers.get()).hold_the_line()


async def is_told_of_an_error(server: Phoenix, watch: Watch) -> None:
    await (await server.subscribers.get()).system("postgres_changes", "error", "Unable to subscribe to changes")
    await watch.losses.acquire()


@pytest.mark.parametrize(
    "moment", [is_subscribed, is_joining, is_refused_its_bindings, is_half_open, is_told_of_an_error]
)
async def test_a_cancelled_listener_leaves_nothing_behind(moment: Callable[[Phoenix, Watch], Awaitable[None]]) -> None:
    async def listen(watch: Watch) -> None:
        async for _ in watch.events:
            pass

    tasks = asyncio.all_tasks()
    async with Phoenix() as server:
        watch = Watch(server)
        listening = asyncio.create_task(listen(watch))
        await moment(server, watch)
        listening.cancel()
        await asyncio.wait([listening])
        assert listening.cancelled()
    assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize("is_half_open", [False, True], ids=["alive", "half-open"])
async def test_closing_ends_the_connection_and_leaves_nothing_behind(is_half_open: bool) -> None:
    tasks = asyncio.all_tasks()
    async with Phoenix() as server:
        watch = Watch(server)
        subscriber = await watch.subscribed()
        if is_half_open:
            subscriber.hold_the_line()
        await watch.events.aclose()
        subscriber.resume()
        await subscriber.websocket.wait_closed()
    assert asyncio.all_tasks() == tasks


async def test_a_restart_of_the_local_stack(data_folder: Path) -> None:
    stack = partial(local_stack, data_folder, port=free_port())
    async with AsyncExitStack() as first:
        endpoints = await first.enter_async_context(stack())
        events = changes(endpoints.url, endpoints.service_role_key, [Binding("search_runs")])
        async with aclosing(events):
            assert isinstance(await anext(events), Subscribed)
            following = asyncio.create_task(anext(events))
            await first.aclose()
            async with stack() as second:
                assert second == endpoints
                assert isinstance(await following, Subscribed)
                key = endpoints.anon_key
                async with signed_in_as(endpoints.url, key, "ada@example.com", "correct horse", create=True) as user:
                    run = await user.enqueue("jobs", {"search_term": "engineer"})
                change = await anext(events)
                assert isinstance(change, Change)
                assert (change.type, change.record["id"]) == ("INSERT", run["id"])
