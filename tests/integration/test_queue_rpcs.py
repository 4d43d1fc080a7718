"""The worker's RPCs through the API: fenced, safe to call twice, and safe to call at once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from tests.support.database import Configure, Connect, Connection, answer_after, rows, wait_until_blocked, written
from tests.support.queue import (
    SAVE_PAGES,
    Refusal,
    Row,
    call,
    claim,
    ends,
    enqueue,
    finish_run,
    finish_site,
    lease,
    new_runs,
    page,
    refusal,
    save_page,
    search,
    search_to_start,
    start_search,
    user_id,
)
from tests.support.stack import SignIn
from tests.support.statements import FINISH

SITES = ("linkedin", "indeed", "glassdoor")
LEASE_LOST = Refusal(409, "PT409", "lease_lost")


@pytest.fixture
async def run(ada: AsyncClient, service: AsyncClient, kind: str) -> Row:
    """A claimed run of one site, which is being searched."""
    await enqueue(ada, kind, sites=["indeed"])
    (run,) = await claim(service, kind)
    await start_search(service, run, "indeed")
    return run


def ids(count: int) -> list[str]:
    """External ids that no other test has."""
    prefix = uuid4().hex
    return [f"{prefix}-{number}" for number in range(count)]


def fenced_calls() -> list[tuple[str, Row]]:
    return [("worker_write_progress", {"progress": {"step": "enriching", "site": "indeed"}})]


async def fence(service: AsyncClient, given: Row, state: str) -> None:
    """Check that a lease lets its worker write nothing."""
    for function, arguments in fenced_calls():
        refused = await refusal(service, service.rpc(function, lease(given) | arguments))
        assert refused == Refusal(409, "PT409", state), function
    saved = await call(service, "worker_save_pages", pages=[lease(given) | page("indeed", 1, ids(2))])
    assert saved == [{"state": state}]
    assert await call(service, "worker_start_sites", searches=[search_to_start(given, "indeed")]) == [{"state": state}]
    for end in ({"site": "indeed", "ends_run": False}, {"ends_run": True}):
        assert await ends(service, lease(given) | end) == [{"state": state}]


# The fence ------------------------------------------------------------------------------------------------------


async def test_a_stale_token_changes_nothing(service: AsyncClient, database: Connection, run: Row) -> None:
    before = await written(database, run["run_id"])
    stale = {"run_id": run["run_id"], "lease_token": str(uuid4())}
    await fence(service, stale, "lease_lost")
    assert await written(database, run["run_id"]) == before


async def test_the_token_of_a_rescued_run_is_stale(
    service: AsyncClient, database: Connection, kind: str, run: Row
) -> None:
    await expire(database, run)
    (rescued,) = await claim(service, kind, worker_id="worker-2")
    assert (rescued["run_id"], rescued["attempt"]) == (run["run_id"], 1)
    assert [(site["site"], site["attempt"]) for site in rescued["sites"]] == [("indeed", 2)]
    await fence(service, run, "lease_lost")
    states = await call(service, "worker_heartbeat", worker_id="worker-1", leases=[lease(run)])
    assert states == [lease(run) | {"state": "lost"}]


async def test_a_cancelled_run_takes_no_more_writes(service: AsyncClient, database: Connection, run: Row) -> None:
    await database.execute(
        "update public.search_runs set status = 'cancelled', completed_at = now() where id = %s", [run["run_id"]]
    )
    before = await written(database, run["run_id"])
    await fence(service, run, "cancelled")
    states = await call(service, "worker_heartbeat", worker_id="worker-1", leases=[lease(run)])
    assert states == [lease(run) | {"state": "cancelled"}]
    assert await written(database, run["run_id"]) == before


async def test_a_deleted_run_is_lost(service: AsyncClient, run: Row) -> None:
    await service.table("search_runs").delete().eq("id", run["run_id"]).execute()
    await fence(service, run, "lease_lost")
    states = await call(service, "worker_heartbeat", worker_id="worker-1", leases=[lease(run)])
    assert states == [lease(run) | {"state": "lost"}]


# Twice ----------------------------------------------------------------------------------------------------------


async def test_a_page_that_is_saved_twice_counts_once(
    service: AsyncClient, ada: AsyncClient, database: Connection, run: Row
) -> None:
    first_page = page("indeed", 1, ids(3))
    saved = await save_page(service, **lease(run), **first_page)
    assert saved.pop("shown_in_seconds") > 0  # the claim was a moment ago
    assert saved == {"status": "completed", "results": 3, "new": 3}
    before = await written(database, run["run_id"])
    assert await save_page(service, **lease(run), **first_page) == saved
    assert await written(database, run["run_id"]) == before

    await finish_site(service, run, site="indeed")
    finished = await finish_run(service, run)
    assert (finished["status"], finished["jobs_found"]) == ("success", 3)
    found: list[Any] = (await ada.table("run_items").select("title").eq("run_id", run["run_id"]).execute()).data
    assert len(found) == 3


async def test_a_page_that_is_saved_twice_at_once_counts_once(service: AsyncClient, run: Row) -> None:
    first_page = page("indeed", 1, ids(3))
    saved = await asyncio.gather(*(save_page(service, **lease(run), **first_page) for _ in range(6)))
    assert sum("shown_in_seconds" in answer for answer in saved) == 1
    counts = [{name: answer[name] for name in ("status", "results", "new")} for answer in saved]
    assert counts == [{"status": "completed", "results": 3, "new": 3}] * 6
    await finish_site(service, run, site="indeed")
    assert (await finish_run(service, run))["jobs_found"] == 3


async def test_a_run_that_is_finished_twice_answers_the_same(
    service: AsyncClient, database: Connection, run: Row
) -> None:
    await finish_site(service, run, site="indeed",
        error_code="blocked", error_message="HTTP 403", retryable=False,
    )  # fmt: skip
    finished = await finish_run(service, run)
    assert (finished["status"], finished["error_code"]) == ("failed", "blocked")
    assert finished["error_message"] == "Indeed is not answering at the moment."
    before = await written(database, run["run_id"])
    assert await finish_run(service, run) == finished
    assert await written(database, run["run_id"]) == before
    stale = {"run_id": run["run_id"], "lease_token": str(uuid4())}
    assert await ends(service, stale | {"ends_run": True}) == [{"state": "lease_lost"}]


async def test_runs_share_the_items_that_both_found(sign_in: SignIn, service: AsyncClient, kind: str) -> None:
    clients = [await sign_in(), await sign_in()]
    shared, pages = ids(1), []
    for client in clients:
        run = await enqueue(client, kind, sites=["indeed"])
        (claimed,) = await claim(service, kind)
        await search(service, claimed, {"indeed": [[*shared, *ids(1)]]})
        query = client.table("run_items").select("item_id, title").eq("run_id", run["id"]).order("position")
        pages.append((await query.execute()).data)
    assert pages[0][0] == pages[1][0]
    assert pages[0][1] != pages[1][1]


# At once --------------------------------------------------------------------------------------------------------


async def test_claims_at_once_get_different_runs(
    ada: AsyncClient, service: AsyncClient, kind: str, configure: Configure
) -> None:
    await configure("max_running_per_user", None)
    await ada.table("search_runs").insert(new_runs(kind, 12)).execute()
    claims = await asyncio.gather(*(claim(service, kind, slots=3, worker_id=f"worker-{n}") for n in range(8)))
    claimed = [run["run_id"] for runs in claims for run in runs]
    assert len(claimed) == len(set(claimed))
    # A claim passes over runs that another one holds, and may find none for the moment.
    while more := await claim(service, kind, slots=12):
        claimed += [run["run_id"] for run in more]
    assert len(claimed) == len(set(claimed)) == 12


async def test_the_same_claim_at_once_gets_the_same_runs(ada: AsyncClient, service: AsyncClient, kind: str) -> None:
    await ada.table("search_runs").insert(new_runs(kind, 4)).execute()
    claim_id = str(uuid4())
    claims = await asyncio.gather(*(claim(service, kind, slots=2, claim_id=claim_id) for _ in range(6)))
    assert len(claims[0]) == 2
    assert claims == [claims[0]] * 6
    assert len(await claim(service, kind, slots=4)) == 2


CLAIM: LiteralString = """
select run_id from public.worker_claim_runs(%(worker)s, array[%(kind)s], %(slots)s, 60, %(claim)s, '[]')
"""


@pytest.fixture
async def workers(connect_database: Connect) -> tuple[Connection, Connection]:
    """Two connections with the rights of a worker, for transactions that overlap as a test says."""
    first, second = await connect_database(), await connect_database()
    for connection in (first, second):
        await connection.execute("set role service_role")
    return first, second


async def test_a_claim_passes_over_runs_that_another_is_claiming(
    ada: AsyncClient, kind: str, workers: tuple[Connection, Connection], configure: Configure
) -> None:
    await configure("max_running_per_user", None)
    first, second = workers
    await ada.table("search_runs").insert(new_runs(kind, 3)).execute()
    await first.execute("begin")
    claimed = []
    for connection in (first, second, second):
        arguments = {"worker": "w", "kind": kind, "slots": 2, "claim": uuid4()}
        claimed.append(await (await connection.execute(CLAIM, arguments)).fetchall())
    await first.execute("commit")
    assert [len(runs) for runs in claimed] == [2, 1, 0]
    assert not set(claimed[0]) & set(claimed[1])


async def test_a_retried_claim_waits_for_the_first(
    ada: AsyncClient, database: Connection, kind: str, workers: tuple[Connection, Connection]
) -> None:
    first, second = workers
    await ada.table("search_runs").insert(new_runs(kind, 3)).execute()
    arguments = {"worker": "w", "kind": kind, "slots": 2, "claim": uuid4()}
    await first.execute("begin")
    claimed = await (await first.execute(CLAIM, arguments)).fetchall()
    assert await answer_after(first, database, second, CLAIM, arguments) == claimed


async def expire(database: Connection, run: Row) -> None:
    await database.execute(
        "update worker.leases set expires_at = now() - interval '1 s' where run_id = %s", [run["run_id"]]
    )


async def test_a_rescue_passes_over_a_run_whose_page_is_being_saved(
    database: Connection, kind: str, run: Row, workers: tuple[Connection, Connection]
) -> None:
    saving, rescuing = workers
    await expire(database, run)
    await saving.execute("begin")
    ((answer,),) = await rows(saving, SAVE_PAGES, [Jsonb([lease(run) | page("indeed", 1, ids(2))])])
    assert answer[0]["results"] == 2
    rescue = {"worker": "w", "kind": kind, "slots": 1, "claim": uuid4()}
    assert await (await rescuing.execute(CLAIM, rescue)).fetchall() == []
    await saving.execute("commit")
    assert (await written(database, run["run_id"]))[0][0]["rescues"] == 0


async def test_a_page_is_refused_that_waited_for_the_rescue_of_its_run(
    service: AsyncClient, database: Connection, kind: str, run: Row, workers: tuple[Connection, Connection]
) -> None:
    rescuing, _ = workers
    await expire(database, run)
    await rescuing.execute("begin")
    rescue = {"worker": "w", "kind": kind, "slots": 1, "claim": uuid4()}
    assert len(await (await rescuing.execute(CLAIM, rescue)).fetchall()) == 1
    late = lease(run) | page("indeed", 1, ids(2))
    saving = asyncio.create_task(call(service, "worker_save_pages", pages=[late]))
    await wait_until_blocked(database, rescuing)
    await rescuing.execute("commit")
    assert await saving == [{"state": "lease_lost"}]
    state = await written(database, run["run_id"])
    assert (state[0][0]["rescues"], state[2], state[4]) == (1, None, None)


HEARTBEAT: LiteralString = "select state from public.worker_heartbeat('worker-1', %(leases)s)"


async def test_a_heartbeat_that_waited_for_the_end_of_its_run_says_so(
    service: AsyncClient, database: Connection, run: Row, workers: tuple[Connection, Connection]
) -> None:
    finishing, beating = workers
    await finish_site(service, run, site="indeed")
    await finishing.execute("begin")
    await finishing.execute(FINISH, lease(run))
    leases = {"leases": Jsonb([lease(run)])}
    assert await answer_after(finishing, database, beating, HEARTBEAT, leases) == [("finished",)]


async def test_a_run_that_its_worker_gave_back_to_the_queue_is_not_lost(service: AsyncClient, run: Row) -> None:
    failed: Row = {"site": "indeed", "error_code": "upstream", "error_message": "503", "retryable": True}
    await finish_site(service, run, **failed)
    assert (await finish_run(service, run))["status"] == "pending"
    states = await call(service, "worker_heartbeat", worker_id="worker-1", leases=[lease(run)])
    assert [state["state"] for state in states] == ["finished"]


async def test_a_run_finishes_that_waited_for_its_heartbeat(
    service: AsyncClient, database: Connection, run: Row, workers: tuple[Connection, Connection]
) -> None:
    beating, finishing = workers
    await finish_site(service, run, site="indeed")
    await beating.execute("begin")
    answer = await beating.execute(HEARTBEAT, {"leases": Jsonb([lease(run)])})
    assert await answer.fetchall() == [("held",)]
    assert await answer_after(beating, database, finishing, FINISH, lease(run)) == [("success",)]


async def test_workers_that_find_the_same_things_at_once_never_wait_in_a_circle(
    sign_in: SignIn, service: AsyncClient, kind: str
) -> None:
    clients = [await sign_in() for _ in range(4)]
    for client in clients:
        await enqueue(client, kind, sites=["indeed"])
    runs = await claim(service, kind, slots=4)
    external_ids = ids(40)
    for run in runs:
        await start_search(service, run, "indeed")
    saved = await asyncio.gather(
        *(
            save_page(service, **lease(run), **page("indeed", 1, external_ids[::direction]))
            for run, direction in zip(runs, (1, -1, 1, -1), strict=True)
        )
    )
    assert [page["results"] for page in saved] == [40, 40, 40, 40]


async def test_the_same_end_twice_at_once_answers_the_same(
    service: AsyncClient, database: Connection, run: Row, workers: tuple[Connection, Connection]
) -> None:
    first, second = workers
    await finish_site(service, run, site="indeed")
    await first.execute("begin")
    assert await (await first.execute(FINISH, lease(run))).fetchall() == [("success",)]
    assert await answer_after(first, database, second, FINISH, lease(run)) == [("success",)]


# Several leases at once -----------------------------------------------------------------------------------------


@pytest.fixture
async def runs(ada: AsyncClient, service: AsyncClient, kind: str) -> list[Row]:
    """Three claimed runs, in the order of their ids."""
    for _ in range(3):
        await enqueue(ada, kind, sites=["indeed"])
    return sorted(await claim(service, kind, slots=3), key=lambda run: str(run["run_id"]))


def of(runs: Iterable[Row]) -> Row:
    """The leases of runs, as heartbeats and releases send them."""
    return {"leases": Jsonb([lease(run) for run in runs])}


RELEASE: LiteralString = "select public.worker_release_runs('worker-1', %(leases)s)"


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("query", [HEARTBEAT, RELEASE], ids=["heartbeat", "release"])
async def test_leases_are_locked_in_the_order_of_their_runs(
    *,
    database: Connection,
    connect_database: Connect,
    runs: list[Row],
    workers: tuple[Connection, Connection],
    query: LiteralString,
    direction: int,
) -> None:
    holder, (asking, _) = await connect_database(), workers
    first, *others = [run["run_id"] for run in runs]
    await holder.execute("begin")
    await holder.execute("select from worker.leases where run_id = %s for update", [first])
    waiting = asyncio.create_task(asking.execute(query, of(runs[::direction])))
    await wait_until_blocked(database, holder)
    # Whoever waits for the first has none of the others: so nobody waits in a circle.
    free = await database.execute("select from worker.leases where run_id = any (%s) for update skip locked", [others])
    await holder.execute("commit")
    await waiting
    assert free.rowcount == 2


async def test_a_heartbeat_and_a_rescue_of_several_runs_never_wait_in_a_circle(
    database: Connection, kind: str, runs: list[Row], workers: tuple[Connection, Connection]
) -> None:
    beating, rescuing = workers
    held, lost, late = runs
    for run in (held, lost):
        await expire(database, run)
    await beating.execute("begin")
    assert await (await beating.execute(HEARTBEAT, of([held]))).fetchall() == [("held",)]
    await rescuing.execute("begin")
    rescue = {"worker": "w", "kind": kind, "slots": 3, "claim": uuid4()}
    rescued = await (await rescuing.execute(CLAIM, rescue)).fetchall()
    assert [str(run_id) for (run_id,) in rescued] == [lost["run_id"]]
    # One has the lease that the other wants, and wants one that the other has.
    states = await answer_after(rescuing, database, beating, HEARTBEAT, of([held, lost, late]))
    await beating.execute("commit")
    assert sorted(states) == [("held",), ("held",), ("lost",)]


async def test_a_heartbeat_that_waited_for_a_release_says_that_the_run_is_lost(
    database: Connection, run: Row, workers: tuple[Connection, Connection]
) -> None:
    releasing, beating = workers
    await releasing.execute("begin")
    await releasing.execute(RELEASE, of([run]))
    assert await answer_after(releasing, database, beating, HEARTBEAT, of([run])) == [("lost",)]


async def test_a_run_is_released_that_waited_for_its_heartbeat(
    database: Connection, run: Row, workers: tuple[Connection, Connection]
) -> None:
    beating, releasing = workers
    await beating.execute("begin")
    assert await (await beating.execute(HEARTBEAT, of([run]))).fetchall() == [("held",)]
    await answer_after(beating, database, releasing, RELEASE, of([run]))
    state = await written(database, run["run_id"])
    assert (state[0][0]["status"], state[0][0]["attempts"], state[5]) == ("pending", 0, None)


# Cancel against everything --------------------------------------------------------------------------------------

CANCEL: LiteralString = "select status::text, jobs_found from public.cancel_search(%(run_id)s)"


@pytest.fixture
async def owners(ada: AsyncClient, connect_database: Connect) -> tuple[Connection, Connection]:
    """Two connections with the rights of the signed-in user."""
    first, second = await connect_database(), await connect_database()
    claims = json.dumps({"sub": await user_id(ada), "role": "authenticated"})
    for connection in (first, second):
        await connection.execute("select set_config('request.jwt.claims', %s, false)", [claims])
        await connection.execute("set role authenticated")
    return first, second


async def refused_after(
    first: Connection, database: Connection, second: Connection, query: LiteralString, arguments: Any
) -> tuple[str | None, str | None]:
    """As `answer_after`, of a query that is refused: the code and the message."""
    with pytest.raises(psycopg.Error) as refused:
        await answer_after(first, database, second, query, arguments)
    return refused.value.sqlstate, refused.value.diag.message_primary


async def test_a_run_does_not_finish_that_waited_for_its_cancellation(
    service: AsyncClient,
    database: Connection,
    run: Row,
    owners: tuple[Connection, Connection],
    workers: tuple[Connection, Connection],
) -> None:
    (cancelling, _), (finishing, _) = owners, workers
    await finish_site(service, run, site="indeed")
    await cancelling.execute("begin")
    assert await (await cancelling.execute(CANCEL, run)).fetchall() == [("cancelled", 0)]
    assert await answer_after(cancelling, database, finishing, FINISH, lease(run)) == [("cancelled",)]
    assert (await written(database, run["run_id"]))[0][0]["status"] == "cancelled"


@pytest.mark.parametrize(("error_code", "status"), [(None, "success"), ("timeout", "cancelled")])
async def test_a_cancellation_that_waited_for_the_end_of_an_attempt_finds_what_it_left(
    *,
    service: AsyncClient,
    database: Connection,
    run: Row,
    owners: tuple[Connection, Connection],
    workers: tuple[Connection, Connection],
    error_code: str | None,
    status: str,
) -> None:
    (cancelling, _), (finishing, _) = owners, workers
    failure = {"error_code": error_code, "error_message": error_code, "retryable": None if error_code is None else True}
    await finish_site(service, run, site="indeed", **failure)
    await finishing.execute("begin")
    await finishing.execute(FINISH, lease(run))
    assert await answer_after(finishing, database, cancelling, CANCEL, run) == [(status, 0)]
    ended = (await written(database, run["run_id"]))[0][0]
    assert (ended["status"], ended["run_after"]) == (status, None)


async def test_a_page_that_waited_for_the_cancellation_is_refused(
    database: Connection, run: Row, owners: tuple[Connection, Connection], workers: tuple[Connection, Connection]
) -> None:
    (cancelling, _), (saving, _) = owners, workers
    await cancelling.execute("begin")
    await cancelling.execute(CANCEL, run)
    arguments = [Jsonb([lease(run) | page("indeed", 1, ids(2))])]
    assert await answer_after(cancelling, database, saving, SAVE_PAGES, arguments) == [([{"state": "cancelled"}],)]
    state = await written(database, run["run_id"])
    assert (state[0][0]["jobs_found"], state[2], state[4]) == (0, None, None)


async def test_a_cancellation_that_waited_for_a_page_counts_it(
    database: Connection, run: Row, owners: tuple[Connection, Connection], workers: tuple[Connection, Connection]
) -> None:
    (cancelling, _), (saving, _) = owners, workers
    await saving.execute("begin")
    await saving.execute(SAVE_PAGES, [Jsonb([lease(run) | page("indeed", 1, ids(2))])])
    assert await answer_after(saving, database, cancelling, CANCEL, run) == [("cancelled", 2)]
    assert (await written(database, run["run_id"]))[1][0]["jobs_found"] == 2


PLAIN_CANCEL: LiteralString = """
update public.search_runs set cancel_requested_at = now() where id = %(run_id)s returning status::text, jobs_found
"""


@pytest.mark.parametrize(
    ("query", "answer"),
    [(CANCEL, [("cancelled", 0)]), (PLAIN_CANCEL, [])],  # an update that changes nothing returns no row
    ids=["rpc", "update"],
)
async def test_a_run_is_cancelled_once(
    database: Connection,
    run: Row,
    owners: tuple[Connection, Connection],
    query: LiteralString,
    answer: list[tuple[str, int]],
) -> None:
    first, second = owners
    await first.execute("begin")
    await first.execute(query, run)
    assert await answer_after(first, database, second, query, run) == answer
    events = (await written(database, run["run_id"]))[3]
    assert [event["event"] for event in events].count("cancelled") == 1


async def test_a_claim_passes_over_a_run_that_is_being_cancelled(
    ada: AsyncClient,
    database: Connection,
    kind: str,
    owners: tuple[Connection, Connection],
    workers: tuple[Connection, Connection],
) -> None:
    (cancelling, _), (claiming, _) = owners, workers
    run = await enqueue(ada, kind)
    await cancelling.execute("begin")
    await cancelling.execute(CANCEL, {"run_id": run["id"]})
    for end in ("commit", "select"):
        arguments = {"worker": "w", "kind": kind, "slots": 1, "claim": uuid4()}
        assert await (await claiming.execute(CLAIM, arguments)).fetchall() == []
        await cancelling.execute(end)
    assert (await written(database, run["id"]))[0][0]["status"] == "cancelled"


async def test_a_cancellation_that_waited_for_a_claim_ends_its_lease(
    ada: AsyncClient,
    database: Connection,
    kind: str,
    owners: tuple[Connection, Connection],
    workers: tuple[Connection, Connection],
) -> None:
    (cancelling, _), (claiming, _) = owners, workers
    run = await enqueue(ada, kind)
    await claiming.execute("begin")
    await claiming.execute(CLAIM, {"worker": "w", "kind": kind, "slots": 1, "claim": uuid4()})
    answer = await answer_after(claiming, database, cancelling, CANCEL, {"run_id": run["id"]})
    assert answer == [("cancelled", 0)]
    assert (await written(database, run["id"]))[5] is None


# Limits ---------------------------------------------------------------------------------------------------------

INSERT: LiteralString = """
insert into public.search_runs (kind, parameters)
values (%s, jsonb_build_object('search_term', gen_random_uuid())) returning status::text
"""


@pytest.mark.parametrize("quota", ["max_pending_per_user", "max_per_hour_per_user"])
async def test_of_two_inserts_for_the_last_place_one_passes(
    *,
    ada: AsyncClient,
    database: Connection,
    kind: str,
    owners: tuple[Connection, Connection],
    configure: Configure,
    quota: str,
) -> None:
    first, second = owners
    await configure(quota, 2)
    await enqueue(ada, kind)
    await first.execute("begin")
    await first.execute(INSERT, [kind])
    code, _ = await refused_after(first, database, second, INSERT, [kind])
    assert code == "PT429"
    count = await database.execute("select from public.search_runs where kind = %s", [kind])
    assert count.rowcount == 2


async def test_an_insert_that_is_undone_leaves_its_place_to_the_next(
    ada: AsyncClient, database: Connection, kind: str, owners: tuple[Connection, Connection], configure: Configure
) -> None:
    first, second = owners
    await configure("max_pending_per_user", 2)
    await enqueue(ada, kind)
    await first.execute("begin")
    await first.execute(INSERT, [kind])
    waiting = asyncio.create_task(second.execute(INSERT, [kind]))
    await wait_until_blocked(database, first)
    await first.execute("rollback")
    assert await (await waiting).fetchall() == [("pending",)]


async def test_two_claims_at_once_keep_to_the_running_limit_together(
    ada: AsyncClient, database: Connection, kind: str, workers: tuple[Connection, Connection], configure: Configure
) -> None:
    first, second = workers
    await configure("max_running_per_user", 5)
    await ada.table("search_runs").insert(new_runs(kind, 9)).execute()
    await first.execute("begin")
    claimed = await (await first.execute(CLAIM, {"worker": "w", "kind": kind, "slots": 3, "claim": uuid4()})).fetchall()
    arguments = {"worker": "w", "kind": kind, "slots": 4, "claim": uuid4()}
    claimed += await answer_after(first, database, second, CLAIM, arguments)
    assert len(set(claimed)) == 5


async def test_many_claims_at_once_keep_to_the_running_limit(
    sign_in: SignIn, service: AsyncClient, database: Connection, kind: str, configure: Configure
) -> None:
    await configure("max_running_per_user", 2)
    for _ in range(3):
        await (await sign_in()).table("search_runs").insert(new_runs(kind, 5)).execute()
    await asyncio.gather(*(claim(service, kind, slots=4) for _ in range(8)))
    while await claim(service, kind, slots=4):
        pass
    answer = await database.execute(
        "select count(*) from public.search_runs where kind = %s and status = 'running' group by user_id", [kind]
    )
    assert await answer.fetchall() == [(2,), (2,), (2,)]


async def test_claims_never_wait_for_each_others_users_in_a_circle(
    sign_in: SignIn, service: AsyncClient, kind: str, workers: tuple[Connection, Connection], configure: Configure
) -> None:
    first, second = workers
    await configure("max_running_per_user", 1)
    ada, bob = await sign_in(), await sign_in()
    await ada.table("search_runs").insert(new_runs(kind, 1)).execute()
    await first.execute("begin")
    assert await (await first.execute(CLAIM, {"worker": "w", "kind": kind, "slots": 1, "claim": uuid4()})).fetchall()
    await bob.table("search_runs").insert(new_runs(kind, 2)).execute()
    (later,) = new_runs(kind, 1)
    await service.table("search_runs").insert(later | {"user_id": await user_id(ada), "source": "cron"}).execute()
    # Of Bob's two runs one may start; for the other slot Ada's is next, whose runs the first claim is counting.
    async with asyncio.timeout(10):
        answer = await second.execute(CLAIM, {"worker": "w", "kind": kind, "slots": 2, "claim": uuid4()})
    claimed = await answer.fetchall()
    await first.execute("commit")
    owner: list[Any] = (await bob.table("search_runs").select("id").eq("status", "running").execute()).data
    assert [str(run_id) for (run_id,) in claimed] == [run["id"] for run in owner]


# Retention ------------------------------------------------------------------------------------------------------

DELETE_EXPIRED: LiteralString = "select public.worker_delete_expired()"


@pytest.fixture
async def old_run(service: AsyncClient, database: Connection, run: Row) -> str:
    """A finished run that is due to be deleted."""
    await finish_site(service, run, site="indeed")
    await finish_run(service, run)
    await database.execute(
        "update public.search_runs set completed_at = now() - interval '91 days' where id = %(run_id)s", run
    )
    await database.execute("update worker.housekeeping set next_at = '-infinity' where task = 'retention'")
    return str(run["run_id"])


@pytest.mark.parametrize("claims_first", [True, False])
async def test_retention_and_a_claim_do_not_wait_for_each_other(
    *,
    ada: AsyncClient,
    database: Connection,
    kind: str,
    old_run: str,
    workers: tuple[Connection, Connection],
    claims_first: bool,
) -> None:
    waiting_run = await enqueue(ada, kind)
    claim_it: tuple[LiteralString, Row] = (CLAIM, {"worker": "w", "kind": kind, "slots": 1, "claim": uuid4()})
    delete: tuple[LiteralString, Row] = (DELETE_EXPIRED, {})
    for connection, statement in zip(workers, (claim_it, delete) if claims_first else (delete, claim_it), strict=True):
        await connection.execute("begin")
        await connection.execute(*statement)
    for connection in workers:
        await connection.execute("commit")
    left = await database.execute("select id::text, status::text from public.search_runs where kind = %s", [kind])
    assert await left.fetchall() == [(waiting_run["id"], "running")]
    assert (await written(database, old_run))[:6] == [None] * 6


async def test_a_second_worker_does_not_delete_as_well(
    database: Connection, old_run: str, workers: tuple[Connection, Connection]
) -> None:
    first, second = workers
    await first.execute("begin")
    await first.execute(DELETE_EXPIRED)
    assert await (await second.execute(DELETE_EXPIRED)).fetchall() == [(5,)]
    await first.execute("rollback")
    assert (await written(database, old_run))[0] is not None
    assert await (await second.execute(DELETE_EXPIRED)).fetchall() == [(3600,)]
    assert (await written(database, old_run))[0] is None


# Realtime -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["1 hour", "0"])
async def progress_interval(request: pytest.FixtureRequest, database: Connection) -> AsyncIterator[str]:
    """The least time between two progress writes, so long or so short that the clock does not matter."""
    await database.execute("update worker.settings set progress_interval = %s", [request.param])
    yield request.param
    await database.execute("update worker.settings set progress_interval = default")


async def test_how_many_changes_realtime_sends_of_a_run(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str, progress_interval: str
) -> None:
    await claim(service, kind)  # sees to what other tests have left
    slot = f"test_{uuid4().hex}"
    await database.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
    try:
        await enqueue(ada, kind, sites=list(SITES), results_wanted=100)
        (run,) = await claim(service, kind)
        await call(service, "worker_heartbeat", worker_id="worker-1", leases=[lease(run)])
        finished = await search(service, run, {site: [ids(25) for _ in range(4)] for site in SITES})
        changes = await published_changes(database, slot)
    finally:
        await database.execute("select pg_drop_replication_slot(%s)", [slot])
    assert (finished["jobs_found"], finished["progress_current"]) == (300, 300)

    # Each site started and finished; each page.
    progress = 3 * 2 + 12 if progress_interval == "0" else 0
    # Neither the sites nor the results: viewers read them when the run changes.
    assert changes == {("search_runs", "insert"): 1, ("search_runs", "update"): len(["claimed", "ended"]) + progress}


async def published_changes(database: Connection, slot: str) -> Counter[tuple[str, str]]:
    """Count the changes in the write-ahead log since a slot was made, as the publication has them."""
    answer = await database.execute(
        "select data from pg_logical_slot_get_binary_changes(%s, null, null,"
        " 'proto_version', '1', 'publication_names', 'supabase_realtime')",
        [slot],
    )
    tables: dict[bytes, str] = {}
    changes: Counter[tuple[str, str]] = Counter()
    async for (message,) in answer:
        # PostgreSQL manual, "Logical Replication Message Formats": a relation has its id, schema and name.
        if message[:1] == b"R":
            tables[message[1:5]] = message[5:].split(b"\0")[1].decode()
        elif operation := {b"I": "insert", b"U": "update", b"D": "delete"}.get(message[:1]):
            changes[tables[message[1:5]], operation] += 1
    return changes


async def test_a_site_that_the_run_does_not_have_is_refused(ada: AsyncClient, service: AsyncClient, kind: str) -> None:
    await enqueue(ada, kind, sites=["indeed"])
    (run,) = await claim(service, kind)
    message = "site must be one of the sites of the run, not 'bayt'"
    (started,) = await call(service, "worker_start_sites", searches=[search_to_start(run, "bayt")])
    assert started == {"state": "refused", "message": message}
    for ends_run in (False, True):
        (ended,) = await ends(service, lease(run) | {"site": "bayt", "ends_run": ends_run})
        assert ended == {"state": "refused", "message": message}


async def test_a_run_that_is_ended_while_a_page_is_saved_does_not_deadlock(
    service: AsyncClient, database: Connection, connect_database: Connect, run: Row
) -> None:
    saving, ending = await connect_database(), await connect_database()
    await saving.execute("begin")
    await saving.execute("select worker.lock_lease(%(run_id)s, %(lease_token)s)", lease(run))
    cancel = "update public.search_runs set status = 'cancelled', completed_at = now() where id = %(run_id)s"
    waiting = asyncio.create_task(ending.execute(cancel, lease(run)))
    await wait_until_blocked(database, saving)
    await saving.execute("select worker.write_progress(%(run_id)s, '{}')", lease(run))
    await saving.execute("commit")
    await waiting
    late = lease(run) | page("indeed", 1, ids(1))
    assert await call(service, "worker_save_pages", pages=[late]) == [{"state": "cancelled"}]


async def test_several_runs_that_are_ended_during_a_heartbeat_do_not_deadlock(
    ada: AsyncClient, service: AsyncClient, database: Connection, connect_database: Connect, kind: str
) -> None:
    for _ in range(2):
        await enqueue(ada, kind)
    low, high = sorted(await claim(service, kind, slots=2), key=lambda claimed: claimed["run_id"])
    # In the order of the table, the lease of the other run comes first.
    move = (
        "with moved as (delete from worker.leases where run_id = %s returning *) insert into worker.leases table moved"
    )
    await database.execute(move, [low["run_id"]])
    holding, beating, ending = await connect_database(), await connect_database(), await connect_database()
    await holding.execute("begin")
    await holding.execute("select from worker.leases where run_id = %s for update", [low["run_id"]])
    heartbeat = "select state from public.worker_heartbeat('worker-1', %s)"
    extended = asyncio.create_task(beating.execute(heartbeat, [Jsonb([lease(low), lease(high)])]))
    await wait_until_blocked(database, holding)
    await ending.execute("set enable_indexscan = off")
    await ending.execute("set enable_bitmapscan = off")
    cancel = "update public.search_runs set status = 'cancelled', completed_at = now() where id = any (%s::uuid[])"
    ended = asyncio.create_task(ending.execute(cancel, [[low["run_id"], high["run_id"]]]))
    await wait_until_blocked(database, beating)
    await holding.execute("commit")
    assert await (await extended).fetchall() == [("held",), ("held",)]
    assert (await ended).rowcount == 2


@pytest.fixture
async def taken_over(service: AsyncClient, kind: str, run: Row) -> Row:
    """A run that another worker searches again, after two results of the first."""
    await save_page(service, **lease(run), **page("indeed", 1, ids(2)))
    await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(run)])
    (second,) = await claim(service, kind)
    await start_search(service, second, "indeed", 2)
    return second


async def test_a_page_of_an_earlier_attempt_does_not_swallow_a_new_one(service: AsyncClient, taken_over: Row) -> None:
    saved = await save_page(service, **lease(taken_over), **page("indeed", 1, ids(3), attempt=2))
    assert saved["results"] == 3


async def test_results_before_a_failure_make_a_site_partial_whichever_attempt_brought_them(
    service: AsyncClient, taken_over: Row
) -> None:
    blocked = {"error_code": "blocked", "error_message": "403", "retryable": False}
    await finish_site(service, taken_over, site="indeed", **blocked)
    finished = await finish_run(service, taken_over)
    assert (finished["status"], finished["jobs_found"], finished["sites"][0]["status"]) == ("partial", 2, "partial")


async def test_a_new_default_of_sites_leaves_waiting_runs_as_they_are(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    await enqueue(ada, kind)
    await database.execute(
        "update worker.parameter_rules set default_value = '[\"bayt\"]' where (kind, name) = (%s, 'sites')", [kind]
    )
    (run,) = await claim(service, kind)
    assert {site["site"] for site in run["sites"]} == {"linkedin", "indeed"}
    finished = await search(service, run, {site["site"]: [ids(1)] for site in run["sites"]})
    assert (finished["status"], finished["jobs_found"]) == ("success", 2)
