"""Webhooks: which events are written, and that each of them arrives, whatever the receiver and the workers do."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid4

import pytest
from postgrest.exceptions import APIError
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from tests.integration.test_schedules import Schedules
from tests.support.commands import run_command
from tests.support.database import Connection, rows, scalar
from tests.support.listings import Listings
from tests.support.queue import Row, call, claim, enqueue, finish_run, finish_site, search, start_site, user_id
from tests.support.receiver import OTHER_SECRET, SECRET, Receiver, running_receiver
from tests.support.site_limits import NOON, TimedDatabase
from tests.support.stack import SignIn, worker_environment
from tests.support.stopping_worker import stopped
from tests.support.workers import worker_of
from worker.database.queue import open_queue
from worker.engine.webhooks import Delivering, open_delivering
from worker.errors import CallRefusedError
from worker.http import HttpSettings
from worker.local.supabase.stack import Endpoints
from worker.model import WEBHOOK_EVENTS as EVENTS
from worker.settings import Settings

# Every worker with a secret sends the messages of all tests.
pytestmark = pytest.mark.own_stack

MESSAGES: LiteralString = "select endpoint, payload from worker.webhook_messages order by created_at, event, id"
WAITING: LiteralString = "select count(*) from worker.webhook_messages where due_at is not null"
DEAD: LiteralString = "select count(*) from worker.webhook_messages where due_at is null and delivered_at is null"
DELIVERED: LiteralString = "select count(*) from worker.webhook_messages where delivered_at is not null"
SENDING = {"WORKER_WEBHOOK_SECRETS": f"crm={SECRET}", "WORKER_WEBHOOKS_ALLOW_PRIVATE": "true"}
EXPIRE: LiteralString = "update worker.webhook_messages set due_at = now() where due_at is not null"


@pytest.fixture(autouse=True)
async def no_endpoints(database: Connection) -> None:
    await database.execute("truncate worker.webhook_endpoints, worker.webhook_messages")
    # A worker that a test kills would be an incident.
    await database.execute("update worker.alert_rules set is_enabled = false")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


def add_statement() -> LiteralString:
    return "insert into worker.webhook_endpoints (name, url, events, created_at) values (%s, %s, %s, now())"


async def add(
    database: Connection, url: str = "https://example.com", *, name: str = "crm", events: Sequence[str] = EVENTS
) -> None:
    await database.execute(add_statement(), [name, url, [*events]])


async def write(database: Connection, count: int = 1, *, name: str = "crm") -> None:
    """Write messages that are due."""
    await database.execute(
        """
        insert into worker.webhook_messages (endpoint, event, payload, due_at, created_at)
        select %s, 'run.finished', jsonb_build_object('type', 'run.finished', 'n', n, 'text', 'é.' || n), now(), now()
        from generate_series(1, %s) as n
        """,
        [name, count],
    )


@asynccontextmanager
async def sender(stack: Endpoints, secrets: str = f"crm={SECRET}", **settings: str) -> AsyncIterator[Delivering]:
    """The chore of a worker, which may send to loopback."""
    values = {"WORKER_WEBHOOK_SECRETS": secrets, "WORKER_WEBHOOKS_ALLOW_PRIVATE": "true"} | settings
    read = Settings.model_validate(worker_environment(stack) | values)
    async with open_queue(read) as queue, open_delivering(read, HttpSettings(), queue) as delivering:
        assert delivering is not None
        yield delivering


async def send_due(delivering: Delivering) -> None:
    """Send until nothing is due."""
    async with asyncio.timeout(60):
        while await delivering() == 0:
            pass


# Which events are written -------------------------------------------------------------------------------------------


async def test_the_end_of_a_run_writes_a_message_for_each_endpoint_that_wants_it(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    await add(database, name="all")
    await add(database, name="failures", events=["run.failed"])
    await add(database, name="off")
    await database.execute("update worker.webhook_endpoints set disabled_at = now() where name = 'off'")
    run = await enqueue(ada, kind, sites=["indeed"])
    (claimed,) = await claim(service, kind)
    finished = await search(service, claimed, {"indeed": [[uuid4().hex, uuid4().hex]]})
    await finish_run(service, claimed)  # a lost answer
    ((endpoint, payload),) = await rows(database, MESSAGES)
    assert endpoint == "all"
    assert payload.pop("timestamp").endswith("Z")
    assert payload == {
        "type": "run.finished",
        "data": {
            "run_id": run["id"], "user_id": await user_id(ada), "workspace_id": None, "kind": kind,
            "source": "manual", "saved_search_id": None, "slot_at": None, "status": "success", "error_code": None,
            "items_found": 2, "new_items": 2,
        },
    }  # fmt: skip
    assert finished["status"] == "success"


async def test_a_failed_run(ada: AsyncClient, service: AsyncClient, database: Connection, kind: str) -> None:
    await add(database)
    await enqueue(ada, kind, sites=["indeed"])
    (claimed,) = await claim(service, kind)
    await start_site(service, claimed, "indeed")
    await finish_site(service, claimed, site="indeed", error_code="not_found", error_message="none",
        retryable=False,
    )  # fmt: skip
    await finish_run(service, claimed)
    ((_, payload),) = await rows(database, MESSAGES)
    assert payload["type"] == "run.failed"
    assert (payload["data"]["status"], payload["data"]["error_code"]) == ("failed", "not_found")


async def test_a_retry_and_a_cancelled_run_write_nothing(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    await add(database)
    run = await enqueue(ada, kind, sites=["indeed"])
    (claimed,) = await claim(service, kind)
    await start_site(service, claimed, "indeed")
    await finish_site(service, claimed, site="indeed", error_code="network", error_message="away",
        retryable=True,
    )  # fmt: skip
    assert (await finish_run(service, claimed))["status"] == "pending"
    await call(ada, "cancel_search", run_id=run["id"])
    assert await rows(database, MESSAGES) == []


async def test_followers_and_answered_runs_write_messages_too(
    ada: AsyncClient, sign_in: SignIn, service: AsyncClient, database: Connection, *, kind: str, term: str
) -> None:
    await add(database)
    users = [ada, await sign_in(), await sign_in()]
    runs = [await enqueue(user, kind, search_term=term, sites=["indeed"]) for user in users]
    (claimed,) = await claim(service, kind, slots=5)
    await search(service, claimed, {"indeed": [[uuid4().hex]]})
    late = await enqueue(await sign_in(), kind, search_term=term, sites=["indeed"])
    assert late["status"] == "success"
    messages = [payload["data"] for _, payload in await rows(database, MESSAGES)]
    assert Counter(data["run_id"] for data in messages) == Counter(run["id"] for run in [*runs, late])
    assert {data["items_found"] for data in messages} == {1}


async def test_without_an_endpoint_nothing_is_written(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    await enqueue(ada, kind, sites=["indeed"])
    (claimed,) = await claim(service, kind)
    await search(service, claimed, {"indeed": [[uuid4().hex]]})
    assert await rows(database, MESSAGES) == []


async def test_a_message_is_undone_with_its_transaction(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    await add(database)
    run = await enqueue(ada, kind, sites=["indeed"])
    await claim(service, kind)
    async with database.transaction(force_rollback=True):
        await database.execute(
            "select worker.finish_runs(array[row(%s, 'failed', 'worker_lost', '{}')::worker.run_end])", [run["id"]]
        )
        assert len(await rows(database, MESSAGES)) == 1
    assert await rows(database, MESSAGES) == []


@pytest.fixture
def schedules(timed: TimedDatabase) -> Schedules:
    timed.configure(schedule_jitter="0", freshness="0")
    timed.connection.execute("delete from public.search_schedules")
    timed.connection.execute(add_statement(), ["crm", "https://example.com", [*EVENTS]])
    return Schedules(timed)


def events_of(schedules: Schedules, event: str) -> list[Row]:
    query: LiteralString = "select payload from worker.webhook_messages where event = %s order by created_at"
    return [row["payload"]["data"] for row in schedules.rows(query, [event])]


def test_new_items_of_a_scheduled_run(schedules: Schedules) -> None:
    saved = schedules.schedule("13:00", "14:00")
    schedules.timed.advance(3600)
    schedules.fire()
    (run,) = schedules.runs(saved)
    finish: LiteralString = "select worker.finish_runs(array[row(%s, 'success', null, '{}')::worker.run_end])"
    schedules.connection.execute(finish, [run["id"]])
    assert events_of(schedules, "search.new_items") == []
    schedules.timed.advance(3600)
    schedules.fire()
    _, run = schedules.runs(saved)
    add_item(schedules, run)
    schedules.connection.execute(finish, [run["id"]])
    (data,) = events_of(schedules, "search.new_items")
    assert UUID(data["run_id"]) == run["id"]
    assert UUID(data["saved_search_id"]) == saved
    assert (data["new_items"], data["items_found"]) == (1, 1)
    assert len(events_of(schedules, "run.finished")) == 2


def add_item(schedules: Schedules, run: Row) -> None:
    """Let a run find something."""
    schedules.connection.execute(
        """
        with item as (
            insert into public.items (kind, title, url, canonical_key, first_seen_at, last_seen_at)
            values (%(kind)s, 'Engineer', 'https://example.com', %(key)s, now(), now()) returning id
        )
        insert into public.search_results (run_id, item_id, site, page_number, position, created_at)
        select %(run)s, item.id, 'alpha', 1, 1, now() from item
        """,
        {"kind": run["kind"], "key": f"alpha:{uuid4()}", "run": run["id"]},
    )


def test_pauses_that_the_user_did_not_ask_for(schedules: Schedules) -> None:
    schedules.timed.configure(max_failures_in_a_row="1")
    failing, invalid, own = [schedules.schedule("13:00") for _ in range(3)]
    schedules.rows("update public.search_schedules set paused = 'user' where saved_search_id = %s returning 1", [own])
    schedules.timed.advance(3600)
    schedules.fire()
    (run,) = schedules.runs(invalid)
    schedules.connection.execute(
        "select worker.finish_runs(array[row(%s, 'success', null, '{}')::worker.run_end])", [run["id"]]
    )
    schedules.end_runs("failed")
    schedules.connection.execute("alter table public.saved_searches disable trigger user")
    schedules.connection.execute(
        "update public.saved_searches set parameters = %s where id = %s", [Jsonb({"unknown": 1}), invalid]
    )
    schedules.connection.execute("alter table public.saved_searches enable trigger user")
    schedules.timed.advance(24 * 3600)
    schedules.fire()
    schedules.fire()
    paused = {UUID(data["saved_search_id"]): data["paused"] for data in events_of(schedules, "schedule.paused")}
    assert paused == {failing: "failing", invalid: "invalid"}
    assert len(events_of(schedules, "schedule.paused")) == 2


def test_inactivity_is_announced_once_and_then_paused(schedules: Schedules) -> None:
    schedules.timed.configure(inactive_after="30 days", inactive_warning="3 days")
    user = schedules.timed.new_user()
    schedules.connection.execute("update auth.users set created_at = %s where id = %s", [NOON, user])
    saved = schedules.schedule("13:00", saved=schedules.save(user))
    for day in range(32):
        schedules.timed.set_clock(NOON + timedelta(days=day, hours=1))
        schedules.fire()
        schedules.end_runs()
    warnings = schedules.rows("select count(*) as n from public.run_events where event = 'inactive_soon'")
    assert warnings[0]["n"] > 1
    (warning,) = events_of(schedules, "schedule.inactive_soon")
    assert UUID(warning["saved_search_id"]) == saved
    assert warning["pauses_at"]
    (pause,) = events_of(schedules, "schedule.paused")
    assert pause["paused"] == "inactive"


# Delivery -----------------------------------------------------------------------------------------------------------


async def test_messages_arrive_with_a_valid_signature(
    stack: Endpoints, database: Connection, receiver: Receiver
) -> None:
    await add(database, receiver.url)
    await write(database, 9)
    async with sender(stack) as delivering:
        await send_due(delivering)
        await send_due(delivering)
    assert sorted(payload["n"] for payload in receiver.payloads) == [*range(1, 10)]
    assert len(set(receiver.ids)) == 9
    assert receiver.refused == 0
    assert await scalar(database, DELIVERED) == 9
    ids = await rows(database, "select 'msg_' || id from worker.webhook_messages")
    assert {row[0] for row in ids} == set(receiver.ids)


@pytest.mark.parametrize("known", [SECRET, OTHER_SECRET])
async def test_while_secrets_are_rotated_both_verify(
    stack: Endpoints, database: Connection, receiver: Receiver, known: str
) -> None:
    receiver.secret = known
    await add(database, receiver.url)
    await write(database)
    async with sender(stack, f"crm={OTHER_SECRET},crm={SECRET}") as delivering:
        await send_due(delivering)
    assert (len(receiver.received), receiver.refused) == (1, 0)


async def test_a_wrong_secret_is_refused(stack: Endpoints, database: Connection, receiver: Receiver) -> None:
    await add(database, receiver.url)
    await write(database)
    async with sender(stack, f"crm={OTHER_SECRET}") as delivering:
        await send_due(delivering)
    assert (len(receiver.received), receiver.refused) == (0, 1)
    assert await scalar(database, WAITING) == 1


async def test_a_worker_leaves_the_messages_whose_secret_it_does_not_have(
    stack: Endpoints, database: Connection, receiver: Receiver
) -> None:
    await add(database, receiver.url)
    await add(database, receiver.url, name="other")
    await write(database, name="other")
    async with sender(stack) as delivering:
        await send_due(delivering)
    assert receiver.received == []
    assert await scalar(database, "select attempts from worker.webhook_messages") == 0


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (500, {}, "the receiver answered 500"),
        (404, {}, "the receiver answered 404"),
        (302, {"location": "/elsewhere"}, "the receiver answered 302"),
    ],
)
async def test_a_failed_attempt_is_repeated_with_the_same_id(
    stack: Endpoints, database: Connection, receiver: Receiver, *, status: int, headers: dict[str, str], error: str
) -> None:
    receiver.status, receiver.headers = status, headers
    await add(database, receiver.url)
    await write(database)
    async with sender(stack) as delivering:
        pause = await delivering() or await delivering()
        assert len(receiver.received) == 1
        assert 0 < pause <= 5 * 1.25
        ((attempts, written, wait),) = await rows(
            database,
            "select attempts, error, extract(epoch from due_at - now())::float from worker.webhook_messages",
        )
        assert (attempts, written) == (1, error)
        assert 2 < wait <= 5 * 1.25
        receiver.status = 204
        receiver.body = b""
        await database.execute(EXPIRE)
        await send_due(delivering)
    assert receiver.ids[0] == receiver.ids[1]
    assert await scalar(database, DELIVERED) == 1


async def test_the_receiver_may_ask_for_a_longer_pause(
    stack: Endpoints, database: Connection, receiver: Receiver
) -> None:
    receiver.status, receiver.headers = 503, {"retry-after": "7200"}
    await add(database, receiver.url)
    await write(database)
    async with sender(stack) as delivering:
        await send_due(delivering)
    assert (
        await scalar(database, "select extract(epoch from due_at - now())::float from worker.webhook_messages") > 7000
    )


async def test_attempts_take_a_day_and_then_the_message_is_dead(
    stack: Endpoints, database: Connection, receiver: Receiver
) -> None:
    receiver.status = 500
    await add(database, receiver.url)
    await write(database)
    waits = []
    async with sender(stack) as delivering:
        while await scalar(database, WAITING):
            await database.execute(EXPIRE)
            await send_due(delivering)
            waits.append(await scalar(database, "select due_at - now() from worker.webhook_messages"))
    assert len(receiver.received) == 8
    assert len(set(receiver.ids)) == 1
    assert waits.pop() is None
    assert timedelta(hours=20) < sum(waits, timedelta()) < timedelta(hours=36)
    assert await scalar(database, DEAD) == 1


async def test_gone_disables_the_endpoint_and_loses_nothing(
    stack: Endpoints, database: Connection, receiver: Receiver, service: AsyncClient
) -> None:
    receiver.status = 410
    await add(database, receiver.url)
    await write(database, 6)
    async with sender(stack) as delivering:
        await send_due(delivering)
        assert len(receiver.received) <= 4
        (endpoint,) = await call(service, "worker_webhooks")
        assert endpoint["disabled_reason"] == "The receiver answered 410 Gone."
        assert endpoint["waiting"] == 6
        receiver.status = 200
        receiver.received.clear()
        await call(service, "worker_add_webhook", name="crm", url=receiver.url, events=["run.failed"])
        await send_due(delivering)
    assert len(set(receiver.ids)) == 6
    assert await scalar(database, DELIVERED) == 6


async def test_a_slow_endpoint_delays_no_other(stack: Endpoints, database: Connection, receiver: Receiver) -> None:
    with running_receiver() as slow:
        slow.may_answer.clear()
        await add(database, receiver.url)
        await add(database, slow.url, name="slow")
        await write(database, 40)
        await write(database, 40, name="slow")
        async with sender(stack, f"crm={SECRET},slow={SECRET}") as delivering:
            began_at = time.monotonic()
            async with asyncio.timeout(10):
                while await scalar(database, DELIVERED) < 40:
                    await delivering()
                # What is written meanwhile does not wait either.
                await write(database)
                while await scalar(database, DELIVERED) < 41:
                    await delivering()
            assert time.monotonic() - began_at < 10
            assert len(receiver.received) == 41
            assert len(slow.received) == 4


async def test_a_receiver_that_does_not_answer_in_time(
    stack: Endpoints, database: Connection, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.http.webhooks.TIMEOUT_SECONDS", 1)
    receiver.may_answer.clear()
    await add(database, receiver.url)
    await write(database)
    async with sender(stack) as delivering:
        await send_due(delivering)
    assert await scalar(database, "select error from worker.webhook_messages") == "no answer within 1 s"


async def test_an_endless_answer_is_not_read(stack: Endpoints, database: Connection, receiver: Receiver) -> None:
    receiver.body = b"x" * 50_000_000
    await add(database, receiver.url)
    await write(database)
    async with sender(stack) as delivering:
        began_at = time.monotonic()
        await send_due(delivering)
        assert time.monotonic() - began_at < 5
    assert await scalar(database, DELIVERED) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254"])
async def test_no_private_address(stack: Endpoints, database: Connection, receiver: Receiver, host: str) -> None:
    await add(database, receiver.url.replace("http://127.0.0.1", f"https://{host}"))
    await write(database)
    async with sender(stack, WORKER_WEBHOOKS_ALLOW_PRIVATE="false") as delivering:
        await send_due(delivering)
    assert "is not a public host" in await scalar(database, "select error from worker.webhook_messages")
    assert receiver.received == []


async def test_no_http_without_leave(stack: Endpoints, database: Connection, receiver: Receiver) -> None:
    await add(database, receiver.url)
    await write(database)
    async with sender(stack, WORKER_WEBHOOKS_ALLOW_PRIVATE="false") as delivering:
        await send_due(delivering)
    assert await scalar(database, "select error from worker.webhook_messages") == "the address must begin with https"


async def test_two_workers_send_each_message_once(stack: Endpoints, database: Connection, receiver: Receiver) -> None:
    await add(database, receiver.url)
    await write(database, 200)
    async with sender(stack) as first, sender(stack) as second, asyncio.timeout(60):
        while await scalar(database, WAITING):
            await asyncio.gather(first(), second())
    assert len(receiver.received) == len(set(receiver.ids)) == 200


# Nothing is lost ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "when", "times"),
    [
        ("save_page", "before", 1),
        ("save_page", "after", 1),
        ("claim_webhooks", "before", 1),
        ("claim_webhooks", "after", 1),
        ("save_webhooks", "before", 2),  # the receiver has the message, and the database does not know it
        ("save_webhooks", "after", 1),
    ],
)
async def test_a_worker_that_dies_loses_no_message(
    stack: Endpoints, ada: AsyncClient, database: Connection, receiver: Receiver, *, kind: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, method: str, when: str, times: int,
) -> None:  # fmt: skip
    await add(database, receiver.url)
    for name, value in SENDING.items():
        monkeypatch.setenv(name, value)
    source = Listings(kind, ["indeed"], tmp_path / "log", pages=1, records=2)
    run = await enqueue(ada, kind, sites=["indeed"])
    with stopped(stack, source, method, when):
        pass
    # A minute later.
    await database.execute("update worker.leases set expires_at = now() - interval '1 second' where true")
    await database.execute(EXPIRE)
    await worker_of(stack, source, **SENDING).once()
    assert len(receiver.received) == times
    assert len(set(receiver.ids)) == 1
    assert receiver.payloads[0]["data"]["run_id"] == run["id"]
    assert (await scalar(database, DELIVERED), await scalar(database, WAITING)) == (1, 0)


async def test_a_late_result_of_an_expired_claim(database: Connection, service: AsyncClient) -> None:
    await add(database)
    await write(database, 2)
    first = await call(service, "worker_claim_webhooks", endpoints=["crm"], batch=2)
    await database.execute(EXPIRE)
    second = await call(service, "worker_claim_webhooks", endpoints=["crm"], batch=2)
    assert len(first["messages"]) == len(second["messages"]) == 2
    ids = [message["id"] for message in first["messages"]]
    # A success counts, a failure does not.
    results = [{"id": ids[0]}, {"id": ids[1], "error": "the receiver answered 500"}]
    saved = await call(service, "worker_save_webhooks", claimed_until=first["claimed_until"], results=results)
    assert saved == {"delivered": 1, "dead": 0, "disabled": []}
    assert await rows(database, "select attempts, error from worker.webhook_messages where due_at is not null") == [
        (0, None)
    ]
    # What has arrived does not fail any more; a repeated call changes nothing.
    results = [{"id": ids[0], "error": "the receiver answered 500"}, {"id": ids[1]}]
    for delivered in (1, 0):
        saved = await call(service, "worker_save_webhooks", claimed_until=second["claimed_until"], results=results)
        assert saved == {"delivered": delivered, "dead": 0, "disabled": []}


async def test_a_waiting_worker_sends_what_it_has_finished(
    stack: Endpoints, ada: AsyncClient, database: Connection, receiver: Receiver, *, kind: str, tmp_path: Path
) -> None:
    await add(database, receiver.url)
    source = Listings(kind, ["indeed"], tmp_path / "log", pages=1, records=2)
    async with worker_of(stack, source, **SENDING) as worker:
        working = asyncio.create_task(worker.run())
        await enqueue(ada, kind, sites=["indeed"])
        assert await asyncio.to_thread(receiver.has_received.wait, 30)
        worker.stop()
        await working
    assert len(receiver.received) == 1
    assert await scalar(database, DELIVERED) == 1


async def test_endpoints_whose_results_cannot_be_saved_are_all_taken_note_of(
    stack: Endpoints, database: Connection, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = asyncio.Barrier(2)

    async def refuse(*_: object) -> None:
        await together.wait()
        raise CallRefusedError("not saved", status=400, code=None)

    monkeypatch.setattr("worker.database.queue.Queue.save_webhooks", refuse)
    unnoticed: list[Row] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unnoticed.append(context))
    for name in ("crm", "other"):
        await add(database, receiver.url, name=name)
        await write(database, name=name)
    async with sender(stack, f"crm={SECRET},other={SECRET}") as delivering:
        with pytest.raises(CallRefusedError, match="not saved"):
            await send_due(delivering)
    gc.collect()
    assert unnoticed == []


async def test_once_waits_for_the_requests_that_it_has_begun(
    stack: Endpoints, database: Connection, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.engine.webhooks.BUSY_SECONDS", 0)
    monkeypatch.setattr("worker.engine.webhooks.CLOSE_SECONDS", 0)
    receiver.may_answer.clear()
    await add(database, receiver.url)
    await write(database)
    working = asyncio.create_task(worker_of(stack, **SENDING).once())
    assert await asyncio.to_thread(receiver.has_received.wait, 30)
    # The receiver is slow, by a second here. Nothing else is there to wait for.
    await asyncio.wait([working], timeout=1)
    receiver.may_answer.set()
    await working
    assert await scalar(database, DELIVERED) == len(receiver.received) == 1


async def test_a_stop_ends_that_wait(
    stack: Endpoints, database: Connection, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.engine.worker.FINISH_SECONDS", 1000)
    monkeypatch.setattr("worker.http.webhooks.TIMEOUT_SECONDS", 1000)
    receiver.may_answer.clear()
    await add(database, receiver.url)
    await write(database)
    worker = worker_of(stack, **SENDING)
    async with asyncio.timeout(60):
        working = asyncio.create_task(worker.once())
        assert await asyncio.to_thread(receiver.has_received.wait, 30)
        worker.stop()
        await working
    assert await scalar(database, WAITING) == 1


# The operator -------------------------------------------------------------------------------------------------------


A_NAME = "name must be 1 to 63 small letters, digits, hyphens and underscores"
A_URL = "url must be an address such as https://example.com/hooks, without a user, a password and a #fragment"
AN_EVENT = f"events must be one or more of {', '.join(EVENTS)}"


@pytest.mark.parametrize(
    ("wrong", "allowed"),
    [
        ({"name": "Not A Name"}, A_NAME),
        ({"name": None}, A_NAME),
        ({"url": "ftp://example.com"}, A_URL),
        ({"url": "https://user:password@example.com"}, A_URL),
        ({"url": "https://example.com/#x"}, A_URL),
        ({"url": "https://"}, A_URL),
        ({"url": f"https://example.com/{'x' * 2000}"}, A_URL),
        ({"url": None}, A_URL),
        ({"events": []}, AN_EVENT),
        ({"events": ["run.started"]}, AN_EVENT),
        ({"events": None}, AN_EVENT),
        ({"description": "x" * 501}, "description must be a text of at most 500 characters"),
    ],
)
async def test_an_endpoint_that_is_not_valid(service: AsyncClient, wrong: Row, allowed: str) -> None:
    valid = {"name": "crm", "url": "https://example.com/hooks?a=1", "events": ["run.finished"], "description": "x"}
    await call(service, "worker_add_webhook", **valid)
    with pytest.raises(APIError) as raised:
        await call(service, "worker_add_webhook", **valid | wrong)
    assert raised.value.code == "22023"
    assert str(raised.value.message).startswith(allowed)


async def test_at_most_twenty_endpoints(stack: Endpoints) -> None:
    settings = Settings.model_validate(worker_environment(stack))
    async with open_queue(settings) as queue:
        for number in range(20):
            await queue.add_webhook(f"crm{number}", "https://example.com", EVENTS, None)
        with pytest.raises(CallRefusedError, match="at most 20"):
            await queue.add_webhook("crm20", "https://example.com", EVENTS, None)
        await queue.add_webhook("crm19", "https://example.com/b", EVENTS, None)


async def test_old_messages_are_deleted(database: Connection, service: AsyncClient) -> None:
    await add(database)
    await write(database, 3)
    await database.execute("update worker.webhook_messages set created_at = now() - interval '15 days'")
    await write(database)
    await database.execute("update worker.housekeeping set next_at = '-infinity' where task = 'retention'")
    await call(service, "worker_delete_expired")
    assert await scalar(database, "select count(*) from worker.webhook_messages") == 1


async def test_the_commands(stack: Endpoints, database: Connection, receiver: Receiver) -> None:
    environment = {**os.environ, **worker_environment(stack), "WORKER_WEBHOOKS_ALLOW_PRIVATE": "true"}

    async def command(*arguments: str) -> tuple[int, str, str]:
        done = await asyncio.to_thread(run_command, environment, "webhooks", *arguments)
        return done.returncode, done.stdout, done.stderr

    code, entry, _ = await command("add", "crm", receiver.url, "--events", "run.finished,run.failed")
    assert code == 0
    assert entry.startswith("crm=whsec_")
    stored = await rows(database, "select to_jsonb(e)::text from worker.webhook_endpoints as e")
    assert entry.strip().removeprefix("crm=whsec_") not in stored[0][0]
    assert (await command("test", "crm"))[0] == 2
    environment["WORKER_WEBHOOK_SECRETS"] = entry.strip()
    receiver.secret = entry.strip().removeprefix("crm=")
    assert await command("test", "crm") == (0, "crm: accepted\n", "")
    assert [payload["type"] for payload in receiver.payloads] == ["webhook.test"]
    receiver.status = 500
    assert await command("test", "crm") == (1, "", "crm: the receiver answered 500\n")

    await write(database)
    await database.execute("update worker.webhook_messages set due_at = null, attempts = 8, error = 'no'")
    code, dead, _ = await command("list", "--dead", "--json")
    message = json.loads(dead)
    assert (message["endpoint"], message["attempts"], message["error"]) == ("crm", 8, "no")
    assert message["id"] in (await command("list", "--dead", "crm"))[1]
    assert await command("replay", "crm") == (0, "Messages that a worker sends again: 1\n", "")
    assert await scalar(database, WAITING) == 1
    await database.execute("update worker.webhook_messages set due_at = null, delivered_at = now()")
    assert (await command("replay", "crm"))[1] == "Messages that a worker sends again: 0\n"
    assert (await command("replay", "crm", "--message", message["id"]))[0] == 0
    assert await scalar(database, WAITING) == 1

    code, rotated, _ = await command("rotate", "crm")
    assert rotated.startswith("crm=whsec_")
    assert rotated != entry
    environment["WORKER_WEBHOOK_SECRETS"] += f",{rotated.strip()}"
    assert (await command("rotate", "crm"))[0] == 2
    listed = json.loads((await command("list", "--json"))[1])
    assert (listed["name"], listed["waiting"], listed["secrets"]) == ("crm", 1, 2)
    assert receiver.secret not in json.dumps(listed)
    assert "crm" in (await command("list"))[1]
    assert await command("add", "crm", receiver.url, "--events", "run.start") == (2, "", f"Refused: {AN_EVENT}\n")
    told = (await command("add", "--help"))[1]
    assert [event for event in EVENTS if event not in told] == []
    assert (await command("remove", "crm"))[0] == 0
    assert await scalar(database, "select count(*) from worker.webhook_messages") == 0
    assert (await command("remove", "crm"))[0] == 2
    assert (await command("replay", "crm"))[0] == 2
    for option in ("--json", "--dead"):
        assert await command("list", "crm", option) == (2, "", "there is no webhook endpoint 'crm'\n")


async def test_secrets_are_in_no_table_and_no_log(
    stack: Endpoints, database: Connection, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 500
    await add(database, receiver.url)
    await write(database)
    async with sender(stack) as delivering:
        await send_due(delivering)
    text: Any = await rows(
        database,
        "select to_jsonb(m)::text from worker.webhook_messages m"
        " union all select to_jsonb(e)::text from worker.webhook_endpoints e",
    )
    key = SECRET.removeprefix("whsec_")
    assert "the receiver answered 500" in caplog.text
    assert key not in caplog.text
    assert key not in str(text)
