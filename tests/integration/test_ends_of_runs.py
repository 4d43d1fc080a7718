"""`worker_finish_sites` ends many runs in one call, and each of them has its own answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from tests.support.database import Connect, Connection, pause, rows, scalar, wait_until_blocked
from tests.support.listings import Listings
from tests.support.queue import (
    SAVE_PAGES,
    Refusal,
    Row,
    call,
    claim,
    ends,
    enqueue,
    lease,
    page,
    refusal,
    run_of,
    save_page,
    start_site,
)
from tests.support.stack import SignIn
from tests.support.workers import worker_of
from worker.database.queue import Queue
from worker.local.supabase.stack import Endpoints

SITE = "indeed"
END: LiteralString = "select public.worker_finish_sites(%s)"


@pytest.fixture
async def runs(ada: AsyncClient, service: AsyncClient, kind: str) -> list[Row]:
    """Four claimed runs of one site, which are searched."""
    for _ in range(4):
        await enqueue(ada, kind, sites=[SITE])
    claimed = await claim(service, kind, slots=4)
    for run in claimed:
        assert (await start_site(service, run, SITE))["granted"]
    return claimed


def end(run: Row, site: str = SITE, *, ends_run: bool = True, **ended: Any) -> Row:
    return {**lease(run), "site": site, "ends_run": ends_run, **ended}


async def statuses(client: AsyncClient, runs: list[Row]) -> list[str]:
    return [(await run_of(client, run["run_id"]))["status"] for run in runs]


async def test_each_run_has_its_own_answer(service: AsyncClient, ada: AsyncClient, runs: list[Row]) -> None:
    good, failed, cancelled, lost = runs
    await save_page(service, **lease(good), **page(SITE, 1, [uuid4().hex]))
    await call(ada, "cancel_search", run_id=cancelled["run_id"])
    failure: Row = {"error_code": "blocked", "error_message": "HTTP 403", "retryable": False, "ends_run": False}
    answers = await ends(
        service, end(good), end(failed, **failure), end(cancelled), end(lost | {"lease_token": str(uuid4())})
    )
    assert [answer["state"] for answer in answers] == ["done", "done", "cancelled", "lease_lost"]
    assert (answers[0]["run"]["status"], answers[0]["run"]["jobs_found"]) == ("success", 1)
    (answer,) = await ends(service, {**lease(failed), "ends_run": True})
    assert answer["run"]["status"] == "failed"
    assert await statuses(ada, runs) == ["success", "failed", "cancelled", "running"]


async def test_a_refused_element_fails_alone(service: AsyncClient, ada: AsyncClient, runs: list[Row]) -> None:
    good, wrong, *_ = runs
    answers = await ends(service, end(wrong, site="bayt"), end(good))
    assert answers[0] == {"state": "refused", "message": "site must be one of the sites of the run, not 'bayt'"}
    assert answers[1]["run"]["status"] == "success"
    assert (await run_of(ada, wrong["run_id"]))["status"] == "running"


async def test_the_same_ends_again_answer_the_same(service: AsyncClient, database: Connection, runs: list[Row]) -> None:
    first = await ends(service, *map(end, runs))
    counted = "select count(*) from public.run_events where run_id = any (%s)"
    ids = [[run["run_id"] for run in runs]]
    events = await scalar(database, counted, ids)
    assert await ends(service, *map(end, runs)) == first
    assert await scalar(database, counted, ids) == events


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: [], "finished must be an array of 1 to 100 objects"),
        (lambda _: {}, "finished must be an array of 1 to 100 objects"),
        (lambda runs: [end(runs[0])] * 101, "finished must be an array of 1 to 100 objects"),
        (lambda runs: [end(runs[0])] * 2, "finished must have a run_id in each object, and each run once"),
        (lambda _: [{"site": SITE}], "finished must have a run_id in each object, and each run once"),
    ],
)
async def test_wrong_arguments_are_refused(service: AsyncClient, runs: list[Row], change: Any, message: str) -> None:
    refused = await refusal(service, service.rpc("worker_finish_sites", {"finished": change(runs)}))
    assert refused == Refusal(400, "22023", message)


async def test_a_run_that_a_user_has_locked_delays_no_other(
    service: AsyncClient, ada: AsyncClient, connect_database: Connect, runs: list[Row]
) -> None:
    locked, *others = runs
    holder = await connect_database()
    await holder.execute("begin")
    await holder.execute("select from public.search_runs where id = %s for no key update", [locked["run_id"]])
    async with asyncio.timeout(10):
        answers = await ends(service, *map(end, runs))
    assert [answer["state"] for answer in answers] == ["busy", "done", "done", "done"]
    await holder.execute("rollback")
    ((answer),) = await ends(service, end(locked))
    assert answer["run"]["status"] == "success"
    assert await statuses(ada, others) == ["success"] * 3


async def test_a_run_that_is_sent_alone_waits_for_its_lock(
    service: AsyncClient, database: Connection, connect_database: Connect, runs: list[Row]
) -> None:
    holder = await connect_database()
    await holder.execute("begin")
    await holder.execute("select from public.search_runs where id = %s for no key update", [runs[0]["run_id"]])
    ending = asyncio.create_task(ends(service, end(runs[0])))
    await wait_until_blocked(database, holder)
    await holder.execute("rollback")
    ((answer),) = await ending
    assert answer["state"] == "done"


async def test_two_calls_with_the_same_runs_in_another_order_do_not_deadlock(
    connect_database: Connect, runs: list[Row]
) -> None:
    connections = [await connect_database() for _ in range(2)]
    orders = ([end(run) for run in runs], [end(run) for run in reversed(runs)])
    async with asyncio.timeout(20):
        answers = await asyncio.gather(
            *(rows(each, END, [Jsonb(order)]) for each, order in zip(connections, orders, strict=True))
        )
    states = sorted(answer["state"] for ((found,),) in answers for answer in found)
    # What one of them has locked, the other one finds busy or ended.
    assert set(states) <= {"done", "busy"}
    assert states.count("done") >= len(runs)


async def test_successes_of_one_call_count_for_the_site_each(
    service: AsyncClient, database: Connection, runs: list[Row]
) -> None:
    await database.execute(
        "insert into worker.site_health (site, success_rate) values (%s, 0)"
        " on conflict (site, account, exit) do update set success_rate = 0",
        [SITE],
    )
    await ends(service, *map(end, runs))
    rate = await scalar(
        database, "select success_rate from worker.site_health where site = %s and account = ''", [SITE]
    )
    assert rate == pytest.approx(1 - 0.8**4)


async def test_a_failure_decides_when_its_run_is_retried(
    service: AsyncClient, database: Connection, runs: list[Row]
) -> None:
    failure: Row = {
        "error_code": "rate_limited",
        "error_message": "HTTP 429",
        "retryable": True,
        "retry_after_seconds": 900,
    }
    (refused,) = await ends(service, end(runs[0], **failure))
    assert refused == {
        "state": "refused",
        "message": "ends_run must be false with an error_code: the failure decides how the run ends",
    }
    assert await ends(service, end(runs[0], **failure, ends_run=False)) == [{"state": "done"}]
    (answer,) = await ends(service, {**lease(runs[0]), "ends_run": True})
    assert answer["run"]["status"] == "pending"
    wait = "select run_after - worker.now() > interval '14 minutes' from public.search_runs where id = %s"
    assert await scalar(database, wait, [runs[0]["run_id"]])
    await pause(database, SITE, None)


async def test_sites_are_locked_in_one_order_however_their_searches_ended(
    sign_in: SignIn, service: AsyncClient, database: Connection, connect_database: Connect, kind: str
) -> None:
    user = await sign_in()
    for site in (SITE, "linkedin"):
        await enqueue(user, kind, sites=[site])
    runs = {run["sites"][0]["site"]: run for run in await claim(service, kind, slots=2)}
    for site, run in runs.items():
        assert (await start_site(service, run, site))["granted"]
        await pause(database, site, None)
    lock: LiteralString = "select from worker.site_health where site = %s and account = '' for no key update"
    holder = await connect_database()
    await holder.execute("begin")
    await holder.execute(lock, [SITE])
    failure: Row = {"error_code": "not_found", "error_message": "HTTP 404", "retryable": False, "ends_run": False}
    ending = asyncio.create_task(ends(service, end(runs["linkedin"], "linkedin", **failure), end(runs[SITE])))
    await wait_until_blocked(database, holder)
    # It waits for the first site, and has not locked the second one.
    assert await rows(database, f"{lock} nowait", ["linkedin"]) == [()]
    await holder.execute("rollback")
    assert [answer["state"] for answer in await ending] == ["done", "done"]


# What the claim starts -----------------------------------------------------------------------------------------


async def claim_with(service: AsyncClient, kind: str, limits: Row, claim_id: str | None = None) -> list[Row]:
    claimed: list[Row] = await call(
        service, "worker_claim_runs", worker_id="worker-1", kinds=[kind], slots=10, lease_seconds=3600,
        claim_id=claim_id or str(uuid4()), held=[], limits={kind: {SITE: limits}},
    )  # fmt: skip
    return claimed


async def test_a_claim_starts_the_first_search_once(
    sign_in: SignIn, service: AsyncClient, database: Connection, kind: str
) -> None:
    user = await sign_in()
    await enqueue(user, kind, sites=[SITE])
    claim_id = str(uuid4())
    (run,) = await claim_with(service, kind, {}, claim_id)
    assert [(site["is_started"], site["attempt"]) for site in run["sites"]] == [(True, 1)]
    assert await claim_with(service, kind, {}, claim_id) == [run]
    events = "select event from public.run_events where run_id = %s order by id"
    assert await rows(database, events, [run["run_id"]]) == [("created",), ("claimed",), ("site_started",)]
    # A worker that asks all the same changes nothing.
    assert (await start_site(service, run, SITE))["granted"]
    assert await rows(database, events, [run["run_id"]]) == [("created",), ("claimed",), ("site_started",)]
    (answer,) = await ends(service, end(run))
    assert answer["run"]["status"] == "success"


@pytest.mark.parametrize("why", ["paused", "limited", "limited by the operator", "paused for a user", "wrong limits"])
async def test_a_claim_starts_nothing_at_a_site_that_may_refuse(
    sign_in: SignIn, service: AsyncClient, database: Connection, kind: str, why: str
) -> None:
    user = await sign_in()
    await enqueue(user, kind, sites=[SITE])
    limits = {"limited": {"searches": 1}, "wrong limits": {"searches": "many"}}.get(why, {})
    failed = (
        "insert into worker.site_failures (site, account, user_id, run_ids, failed_at, pause)"
        " values (%s, '', gen_random_uuid(), '{}', now(), '1 hour')"
    )
    if why == "paused":
        await pause(database, SITE, "1 hour")
    elif why == "limited by the operator":
        await database.execute("insert into worker.bucket_limits (bucket, searches) values (%s, 1)", [SITE])
    elif why == "paused for a user":
        await database.execute(failed, [SITE])
    try:
        (run,) = await claim_with(service, kind, {SITE: limits})
        assert [site["is_started"] for site in run["sites"]] == [False]
        assert (
            await scalar(database, "select count(*) from worker.site_searches where run_id = %s", [run["run_id"]]) == 0
        )
    finally:
        await pause(database, SITE, None)
        await database.execute("delete from worker.bucket_limits where bucket = %s", [SITE])
        await database.execute("delete from worker.site_failures where run_ids = '{}'")


async def test_a_claim_does_not_start_a_search_that_has_begun_before(
    sign_in: SignIn, service: AsyncClient, kind: str
) -> None:
    user = await sign_in()
    await enqueue(user, kind, sites=[SITE])
    (run,) = await claim_with(service, kind, {})
    await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(run)])
    (again,) = await claim_with(service, kind, {})
    assert [(site["is_started"], site["attempt"]) for site in again["sites"]] == [(False, 2)]


# A page that ends its site and its run ---------------------------------------------------------------------------


def last_page(run: Row, ends: str | None = "run", **changed: Any) -> Row:
    return {**lease(run), **page(SITE, 1, ["a", "b"], is_last=True), "ends": ends, **changed}


async def test_the_last_page_ends_its_site_and_the_run_once(
    service: AsyncClient, ada: AsyncClient, database: Connection, runs: list[Row]
) -> None:
    run = runs[0]
    saved = await save_page(service, **last_page(run))
    assert (saved["status"], saved["results"], saved["end"]["state"]) == ("completed", 2, "done")
    assert saved["end"]["run"]["status"] == "success"
    row = await run_of(ada, run["run_id"])
    assert (row["status"], row["jobs_found"], row["items_found"]) == ("success", 2, 2)
    events = "select event from public.run_events where run_id = %s order by id"
    told = await rows(database, events, [run["run_id"]])
    assert told == [("created",), ("claimed",), ("site_started",), ("site_finished",), ("finished",)]
    # The answer was lost.
    assert await save_page(service, **last_page(run)) == saved
    assert await rows(database, events, [run["run_id"]]) == told


async def test_the_last_page_of_a_site_ends_the_site_alone(
    service: AsyncClient, ada: AsyncClient, database: Connection, kind: str
) -> None:
    await enqueue(ada, kind, sites=[SITE, "linkedin"])
    (run,) = await claim(service, kind)
    assert (await start_site(service, run, SITE))["granted"]
    for _ in range(2):
        saved = await save_page(service, **last_page(run, ends="site"))
        assert saved["end"] == {"state": "done"}
    of_run = "select site, status::text from public.search_run_sites where run_id = %s order by site"
    assert await rows(database, of_run, [run["run_id"]]) == [(SITE, "completed"), ("linkedin", "pending")]
    refused = await save_page(service, **last_page(run))
    assert refused["end"]["state"] == "refused"
    assert (await run_of(ada, run["run_id"]))["status"] == "running"


async def test_a_last_page_that_cannot_be_read_fails_its_site(
    service: AsyncClient, ada: AsyncClient, runs: list[Row]
) -> None:
    unreadable: Row = {"items": [], "errors": [{"index": None, "type": "KeyError", "message": "jobs"}]}
    saved = await save_page(service, **last_page(runs[0], **unreadable))
    assert (saved["status"], saved["end"]["run"]["status"]) == ("failed", "pending")
    (site,) = saved["end"]["run"]["sites"]
    assert site["error_code"] == "unverified"
    assert (await run_of(ada, runs[0]["run_id"]))["status"] == "pending"


async def test_a_run_that_others_follow_is_ended_apart_from_its_last_page(
    service: AsyncClient, ada: AsyncClient, bob: AsyncClient, kind: str
) -> None:
    term = uuid4().hex
    leader = await enqueue(ada, kind, search_term=term, sites=[SITE])
    (run,) = await claim(service, kind)
    follower = await enqueue(bob, kind, search_term=term, sites=[SITE])
    assert (await start_site(service, run, SITE))["granted"]
    saved = await save_page(service, **last_page(run))
    assert "end" not in saved
    assert (await run_of(ada, leader["id"]))["status"] == "running"
    assert [answer["state"] for answer in await ends(service, end(run))] == ["done"]
    assert (await run_of(bob, follower["id"]))["status"] == "success"


async def test_a_last_page_without_the_lease_changes_nothing(
    service: AsyncClient, ada: AsyncClient, runs: list[Row]
) -> None:
    cancelled, lost, _, wrong = runs
    await call(ada, "cancel_search", run_id=cancelled["run_id"])
    for run, state in ((cancelled, "cancelled"), (lost | {"lease_token": str(uuid4())}, "lease_lost")):
        assert await call(service, "worker_save_pages", pages=[last_page(run)]) == [{"state": state}]
    refused = await refusal(service, service.rpc("worker_save_pages", {"pages": [last_page(wrong, ends="all")]}))
    assert refused == Refusal(400, "22023", "ends must be site, run or null, not 'all'")
    assert await statuses(ada, runs) == ["cancelled", *["running"] * 3]


async def test_the_same_last_page_from_two_connections_ends_the_run_once(
    connect_database: Connect, database: Connection, runs: list[Row]
) -> None:
    connections = [await connect_database() for _ in range(2)]
    given = [Jsonb([last_page(runs[0])])]
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*(rows(each, SAVE_PAGES, given) for each in connections))
    assert [answer[0]["end"]["run"]["status"] for ((answer,),) in answers] == ["success"] * 2
    counted = (
        "select event, count(*) from public.run_events where run_id = %s and event like '%%finished' group by event"
    )
    assert dict(await rows(database, counted, [runs[0]["run_id"]])) == {"site_finished": 1, "finished": 1}


# What a run costs ------------------------------------------------------------------------------------------------


async def test_how_many_rows_a_run_writes(sign_in: SignIn, database: Connection, kind: str) -> None:
    """Of a run without pages: three to claim it, three to start its site, and six to end both."""
    user = await sign_in()
    for _ in range(2):
        await enqueue(user, kind, sites=[SITE])
    written: LiteralString = """
        select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::int from pg_stat_xact_user_tables
        where schemaname in ('public', 'worker') and relname <> 'site_health'
    """
    await database.execute("begin")
    before = await scalar(database, written)
    claimed: Any = await rows(
        database,
        "select run_id::text, lease_token::text from public.worker_claim_runs("
        "'w', array[%s], 10, 60, gen_random_uuid(), '[]', null, %s)",
        [kind, Jsonb({kind: {SITE: {}}})],
    )
    assert await scalar(database, written) - before == 6 * 2
    finished = [end({"run_id": run_id, "lease_token": token}) for run_id, token in claimed]
    ((answers,),) = await rows(database, END, [Jsonb(finished)])
    assert {answer["run"]["status"] for answer in answers} == {"success"}
    assert await scalar(database, written) - before == 12 * 2
    await database.execute("commit")


async def test_how_many_calls_a_run_makes(
    stack: Endpoints, ada: AsyncClient, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim starts the first search, each page is a call, and the last one ends its site, and the run."""
    sent: Counter[str] = Counter()

    def attempt(_: Queue, function: str) -> nullcontext[None]:
        sent[function] += 1
        return nullcontext()

    monkeypatch.setattr(Queue, "_attempt", attempt)
    for pages, sites in ((1, [SITE]), (3, [SITE]), (1, [SITE, "linkedin"])):
        sent.clear()
        run = await enqueue(ada, kind, sites=sites)
        listings = Listings(kind, sites, tmp_path / "log", pages=pages)
        await worker_of(stack, listings, WORKER_CONCURRENCY=1).once()
        row = await run_of(ada, run["id"])
        assert (row["status"], row["jobs_found"]) == ("success", len(sites) * pages * listings.records_a_page)
        of_run = {name: sent[name] for name in ("worker_start_sites", "worker_save_pages", "worker_finish_sites")}
        assert of_run == {
            "worker_start_sites": len(sites) - 1,
            "worker_save_pages": len(sites) * pages,
            "worker_finish_sites": 0,
        }
