"""`worker_finish_and_claim`: the call that ends runs claims others for their places."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from tests.support.database import Connect, Connection, rows, scalar
from tests.support.listings import Listings
from tests.support.queue import Refusal, Row, call, claim, enqueue, lease, refusal, run_of, start_site
from tests.support.stack import SignIn
from tests.support.workers import worker_of
from worker.database.queue import SCHEMA_VERSION, Queue
from worker.local.supabase.stack import Endpoints
from worker.model import Page, SiteLimits
from worker.sources import Search

# What other tests leave in the queue may make a claim due.
pytestmark = pytest.mark.own_stack

SITE = "indeed"
CALL: LiteralString = "select public.worker_finish_and_claim(%s, %s)"


@pytest.fixture
async def runs(sign_in: SignIn, service: AsyncClient, kind: str) -> list[Row]:
    """Two claimed runs that are searched. Three others are ready."""
    user = await sign_in()
    for _ in range(5):
        await enqueue(user, kind, sites=[SITE])
    claimed = await claim(service, kind, slots=2)
    for run in claimed:
        assert (await start_site(service, run, SITE))["granted"]
    return claimed


def end(run: Row) -> Row:
    return {**lease(run), "site": SITE, "ends_run": True}


def next_claim(kind: str, **changed: Any) -> Row:
    """A claim of up to two runs, whose searches may start."""
    asked: Row = {
        "worker_id": "worker-1", "kinds": [kind], "slots": 2, "lease_seconds": 3600, "claim_id": str(uuid4()),
        "limits": {kind: {SITE: {}}}, "exits": {}, "schema_version": SCHEMA_VERSION,
    }  # fmt: skip
    return asked | changed


async def end_and_claim(service: AsyncClient, runs: list[Row], claim: Row) -> Row:
    answer: Row = await call(service, "worker_finish_and_claim", finished=[end(run) for run in runs], claim=claim)
    return answer


async def statuses(database: Connection, kind: str) -> dict[str, int]:
    counted = "select status::text, count(*) from public.search_runs where kind = %s group by status"
    return dict(await rows(database, counted, [kind]))


async def test_the_places_of_ended_runs_go_to_others(
    service: AsyncClient, database: Connection, runs: list[Row], kind: str
) -> None:
    answer = await end_and_claim(service, runs, next_claim(kind))
    assert [ended["run"]["status"] for ended in answer["finished"]] == ["success", "success"]
    assert [[site["is_started"] for site in run["sites"]] for run in answer["claimed"]] == [[True], [True]]
    assert await statuses(database, kind) == {"success": 2, "running": 2, "pending": 1}
    last = await end_and_claim(service, answer["claimed"], next_claim(kind))
    assert len(last["claimed"]) == 1
    assert (await end_and_claim(service, last["claimed"], next_claim(kind)))["claimed"] == []
    assert await statuses(database, kind) == {"success": 5}


async def test_the_same_call_again_answers_the_same(
    service: AsyncClient, database: Connection, runs: list[Row], kind: str
) -> None:
    asked = next_claim(kind)
    first = await end_and_claim(service, runs, asked)
    events = "select count(*) from public.run_events join public.search_runs as run on run.id = run_id where kind = %s"
    written = await scalar(database, events, [kind])
    assert await end_and_claim(service, runs, asked) == first
    assert await scalar(database, events, [kind]) == written
    # The other way to ask what the claim has got.
    arguments = {name: value for name, value in asked.items() if name not in ("limits", "exits")}
    assert await call(service, "worker_claim_runs", **arguments, held=[]) == first["claimed"]


async def test_the_end_of_a_run_makes_room_for_the_next_one_of_its_user(
    database: Connection, runs: list[Row], kind: str
) -> None:
    async with database.transaction(force_rollback=True):
        await database.execute("update worker.settings set max_running_per_user = 2")
        ((answer,),) = await rows(database, CALL, [Jsonb([end(runs[0])]), Jsonb(next_claim(kind))])
        assert len(answer["claimed"]) == 1


async def test_each_run_has_its_own_answer(service: AsyncClient, runs: list[Row], kind: str) -> None:
    good, lost = runs
    answer = await end_and_claim(service, [good, lost | {"lease_token": str(uuid4())}], next_claim(kind))
    assert [ended["state"] for ended in answer["finished"]] == ["done", "lease_lost"]
    assert len(answer["claimed"]) == 2


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({"claim_id": None}, Refusal(400, "22023", "claim must be an object with a claim_id")),
        ({"slots": 0}, Refusal(400, "22023", "slots must be an integer from 1 to 100")),
        ({"slots": None}, Refusal(400, "22023", "slots must be an integer from 1 to 100")),
        ({"lease_seconds": 4}, Refusal(400, "22023", "lease_seconds must be an integer from 5 to 3600")),
    ],
)
async def test_a_wrong_claim_is_refused_and_ends_nothing(
    service: AsyncClient, database: Connection, runs: list[Row], kind: str, *, changed: Row, refused: Refusal
) -> None:
    arguments = {"finished": [end(run) for run in runs], "claim": next_claim(kind, **changed)}
    assert await refusal(service, service.rpc("worker_finish_and_claim", arguments)) == refused
    assert await statuses(database, kind) == {"running": 2, "pending": 3}


async def test_two_workers_that_end_and_claim_at_once_share_what_is_ready(
    connect_database: Connect, database: Connection, runs: list[Row], kind: str
) -> None:
    connections = [await connect_database() for _ in range(2)]
    async with asyncio.timeout(20):
        answers: list[Any] = await asyncio.gather(
            *(
                rows(connection, CALL, [Jsonb([end(run)]), Jsonb(next_claim(kind))])
                for connection, run in zip(connections, runs, strict=True)
            )
        )
    found = [answer for ((answer,),) in answers]
    assert [ended["state"] for answer in found for ended in answer["finished"]] == ["done", "done"]
    claimed = Counter(run["run_id"] for answer in found for run in answer["claimed"])
    assert set(claimed.values()) == {1}
    left = Counter(await statuses(database, kind))
    assert left == Counter(success=2, running=len(claimed), pending=3 - len(claimed))


async def test_the_same_call_from_two_connections_claims_once(
    connect_database: Connect, database: Connection, runs: list[Row], kind: str
) -> None:
    connections = [await connect_database() for _ in range(2)]
    asked = next_claim(kind)
    async with asyncio.timeout(20):
        answers: list[Any] = await asyncio.gather(
            *(rows(connection, CALL, [Jsonb([end(runs[0])]), Jsonb(asked)]) for connection in connections)
        )
    (((first,),), ((second,),)) = answers
    assert first == second
    assert len(first["claimed"]) == 2
    assert await statuses(database, kind) == {"success": 1, "running": 3, "pending": 1}


@pytest.mark.parametrize("what", ["delayed", "expired"])
async def test_the_answer_says_when_a_claim_of_its_own_is_due(
    database: Connection, runs: list[Row], kind: str, what: str
) -> None:
    async with database.transaction(force_rollback=True):
        # What the tests before have left.
        await database.execute("delete from public.search_runs where kind <> %s", [kind])
        await database.execute("delete from worker.ended_leaders")
        ((before,),) = await rows(database, CALL, [Jsonb([end(runs[0])]), Jsonb(next_claim(kind, slots=1))])
        assert before["is_claim_due"] is False
        statement: LiteralString = "update worker.leases set expires_at = now() - interval '1 s' where run_id = %s"
        if what == "delayed":
            statement = "update public.search_runs set run_after = now() where status = 'pending' and id <> %s"
        await database.execute(statement, [before["claimed"][0]["run_id"]])
        ((after,),) = await rows(database, CALL, [Jsonb([end(runs[1])]), Jsonb(next_claim(kind, slots=1))])
        assert after["is_claim_due"] is True


# The worker ------------------------------------------------------------------------------------------------------


def count_calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a worker in this process calls each function."""
    sent: Counter[str] = Counter()

    def attempt(_: Queue, function: str) -> nullcontext[None]:
        sent[function] += 1
        return nullcontext()

    monkeypatch.setattr(Queue, "_attempt", attempt)
    return sent


async def test_a_busy_worker_claims_with_the_calls_that_end_runs(
    stack: Endpoints, ada: AsyncClient, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = count_calls(monkeypatch)
    queued = [await enqueue(ada, kind, sites=[SITE]) for _ in range(12)]
    worker = worker_of(
        stack, Listings(kind, [SITE], tmp_path / "log", pages=0), WORKER_CONCURRENCY=2, WORKER_POLL_SECONDS=60
    )
    await worker.drain(60)
    assert {(await run_of(ada, run["id"]))["status"] for run in queued} == {"success"}
    # Two runs a call, but for the first claim, and the last one, which finds nothing.
    assert sent["worker_claim_runs"] == 2
    assert 6 <= sent["worker_finish_and_claim"] <= 12
    assert sent["worker_start_sites"] == sent["worker_finish_sites"] == 0


async def test_a_stopped_worker_claims_nothing_with_the_end_of_its_last_run(
    stack: Endpoints, ada: AsyncClient, kind: str, tmp_path: Path
) -> None:
    queued = [await enqueue(ada, kind, sites=[SITE]) for _ in range(2)]
    source = Listings(kind, [SITE], tmp_path / "log", pages=1)
    worker = worker_of(stack, source, WORKER_CONCURRENCY=1, WORKER_POLL_SECONDS=60)

    async def stop(*_: object) -> None:
        worker.stop()

    source.before_page = stop
    await worker.run()
    assert [(await run_of(ada, run["id"]))["status"] for run in queued] == ["success", "pending"]


async def test_the_next_run_of_a_site_starts_when_the_one_before_it_ends(
    stack: Endpoints, ada: AsyncClient, database: Connection, kind: str, tmp_path: Path
) -> None:
    """The end of a search wakes the run that waits for its slot, and the worker does not wait for its next poll."""
    for _ in range(2):
        await enqueue(ada, kind, sites=[SITE])
    may_end = asyncio.Event()

    class OneAtATime(Listings):
        limits = {SITE: SiteLimits(searches=1)}  # noqa: RUF012

        async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
            await may_end.wait()
            async for page in super().fetch(search):
                yield page

    source = OneAtATime(kind, [SITE], tmp_path / "log", pages=0)
    worker = worker_of(stack, source, WORKER_CONCURRENCY=2, WORKER_POLL_SECONDS=60, WORKER_POLL_IDLE_SECONDS=60)
    working = asyncio.create_task(worker.run())
    waiting: LiteralString = "select id, run_after from public.search_runs where kind = %s and run_after is not null"
    async with asyncio.timeout(30):
        while not (found := await rows(database, waiting, [kind])):  # noqa: ASYNC110 (the database has no event)
            await asyncio.sleep(0.05)
    ((run_id, run_after),) = found
    may_end.set()
    async with asyncio.timeout(60):
        while await statuses(database, kind) != {"success": 2}:  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.05)
    worker.stop()
    await working
    claimed = "select max(created_at) from public.run_events where run_id = %s and event = 'claimed'"
    assert await scalar(database, claimed, [run_id]) < run_after
