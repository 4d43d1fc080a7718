"""Equal searches share one, whoever comes first, and nobody sees more than what was found."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, LiteralString
from uuid import uuid4

import pytest
from postgrest.exceptions import APIError
from supabase import AsyncClient

from tests.support.database import Configure, Connect, Connection, answer_after, rows, signed_in, wait_until_blocked
from tests.support.queue import (
    SITES,
    Refusal,
    Row,
    call,
    claim,
    count_items,
    enqueue,
    finish_run,
    finish_site,
    insert_run,
    items,
    lease,
    new_run,
    page,
    refusal,
    run_of,
    save_page,
    search,
    search_next,
    start_search,
    start_site,
    user_id,
)
from tests.support.realtime import PUBLISHED_TABLES, ChangeListener
from tests.support.stack import SignIn
from tests.support.statements import CANCEL, CANCEL_ALL, CLAIM, DELETE_ACCOUNT, FINISH, FINISH_SITE, INSERT, INSERT_MANY
from worker.local.supabase.stack import Endpoints


@pytest.fixture
async def cleo(sign_in: SignIn) -> AsyncClient:
    return await sign_in()


async def rows_of(client: AsyncClient, table: str, run: Row) -> int:
    column = "id" if table == "search_runs" else "run_id"
    return len((await client.table(table).select(column).eq(column, run["id"]).execute()).data)


# As frontends see it --------------------------------------------------------------------------------------------


async def test_who_takes_a_search_over_has_its_sites_in_an_order_of_his_own(
    ada: AsyncClient, bob: AsyncClient, service: AsyncClient, kind: str, term: str
) -> None:
    leader = await enqueue(ada, kind, search_term=term, sites=["linkedin", "indeed"])
    heir = await enqueue(bob, kind, search_term=term, sites=["indeed", "linkedin"])
    assert heir["leader_run_id"] == leader["id"]
    await call(ada, "cancel_search", run_id=leader["id"])
    assert [run["run_id"] for run in await claim(service, kind)] == [heir["id"]]
    query = bob.table("search_run_sites").select("site").eq("run_id", heir["id"]).order("position")
    assert (await query.execute()).data == [{"site": "indeed"}, {"site": "linkedin"}]


async def test_a_follower_learns_it_from_its_insert_and_is_answered_with_its_leader(
    ada: AsyncClient, bob: AsyncClient, service: AsyncClient, kind: str, term: str
) -> None:
    leader = await insert_run(ada, kind, term)
    follower = await insert_run(bob, kind, f" {term.upper()} ")
    assert (leader["leader_run_id"], follower["leader_run_id"]) == (None, leader["id"])
    assert follower["status"] == "pending"

    finished = await search_next(service, kind)
    assert (finished["status"], finished["jobs_found"]) == ("success", 4)
    answered = await run_of(bob, follower["id"])
    assert (answered["status"], answered["shared_run_id"], answered["leader_run_id"]) == ("success", leader["id"], None)
    same = ("jobs_found", "progress", "progress_current", "progress_total", "completed_at")
    assert {name: answered[name] for name in same} == {name: finished[name] for name in same}
    assert await count_items(bob, follower) == await count_items(ada, leader) == 4
    assert await claim(service, kind) == []


@pytest.mark.parametrize("way", ["insert", "rpc"])
async def test_a_young_finished_run_answers_an_insert_at_once(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    kind: str,
    term: str,
    way: str,
) -> None:
    leader = await insert_run(ada, kind, term)
    await search_next(service, kind)
    if way == "insert":
        answered = await insert_run(bob, kind, term)
    else:
        answered = await enqueue(bob, kind, search_term=term, sites=SITES)
    assert (answered["status"], answered["shared_run_id"], answered["jobs_found"]) == ("success", leader["id"], 4)
    assert answered["progress_current"] == answered["progress_total"] == 40
    assert await count_items(bob, answered) == 4


@pytest.mark.parametrize("way", ["insert", "enqueue_search", "rerun_search"])
async def test_who_asks_for_fresh_results_gets_a_search_of_his_own(
    ada: AsyncClient, service: AsyncClient, kind: str, term: str, way: str
) -> None:
    former = await insert_run(ada, kind, term)
    await search_next(service, kind)
    if way == "insert":
        run = await insert_run(ada, kind, term, fresh=True)
    elif way == "enqueue_search":
        run = await call(ada, "enqueue_search", **new_run(kind, term), fresh=True)
    else:
        run = await call(ada, "rerun_search", run_id=former["id"])
    assert (run["status"], run["fresh"], run["shared_run_id"], run["leader_run_id"]) == ("pending", True, None, None)
    assert [claimed["run_id"] for claimed in await claim(service, kind)] == [run["id"]]


async def test_the_freshness_window_is_a_setting(
    ada: AsyncClient, service: AsyncClient, kind: str, term: str, configure: Configure
) -> None:
    await insert_run(ada, kind, term)
    await search_next(service, kind)
    await configure("freshness", "0")
    assert (await insert_run(ada, kind, term))["status"] == "pending"


@pytest.mark.parametrize("quota", ["max_pending_per_user", "max_per_hour_per_user"])
async def test_followers_count_as_any_run(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    kind: str,
    term: str,
    configure: Configure,
    quota: str,
) -> None:
    await configure(quota, 2)
    await insert_run(ada, kind, term)
    for _ in range(2):
        assert (await insert_run(bob, kind, term))["leader_run_id"]
    refused = await refusal(bob, bob.table("search_runs").insert(new_run(kind, term)))
    assert (refused.status, refused.code) == (429, "PT429")


async def test_runs_that_are_answered_at_once_count_within_an_hour(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    kind: str,
    term: str,
    configure: Configure,
) -> None:
    await configure("max_per_hour_per_user", 2)
    await configure("max_pending_per_user", 1)
    await insert_run(ada, kind, term)
    await search_next(service, kind)
    for _ in range(2):
        assert (await insert_run(bob, kind, term))["status"] == "success"
    refused = await refusal(bob, bob.table("search_runs").insert(new_run(kind, term)))
    assert (refused.status, refused.code) == (429, "PT429")


async def test_the_database_says_since_when(
    *,
    ada: AsyncClient,
    service: AsyncClient,
    database: Connection,
    kind: str,
    term: str,
    configure: Configure,
) -> None:
    await configure("freshness", "0")
    owner = await user_id(ada)
    refused = await refusal(service, service.table("search_runs").insert(new_run(kind, term, newer_than="2026-01-01")))
    assert (refused.status, refused.code) == (403, "42501")
    first = await insert_run(service, kind, term, user_id=owner, source="cron")
    assert first["newer_than"] is None
    finished = await search_next(service, kind)
    repeat = await insert_run(service, kind, term, user_id=owner, source="cron")
    ((hour,),) = await (
        await database.execute("select date_trunc('hour', %s::timestamptz, 'UTC')", [finished["started_at"]])
    ).fetchall()
    (claimed,) = await claim(service, kind)
    assert claimed["newer_than"] == repeat["newer_than"] == hour.isoformat()
    # By hand the same user asks for everything.
    assert (await insert_run(ada, kind, term))["leader_run_id"] is None


# Who sees what --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["while it runs", "at its end", "at once"])
async def test_sharers_see_what_was_found_and_strangers_see_nothing(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    cleo: AsyncClient,
    service: AsyncClient,
    kind: str,
    term: str,
    moment: str,
) -> None:
    leader = await insert_run(ada, kind, term)
    if moment == "at once":
        await search_next(service, kind)
    sharer = await insert_run(bob, kind, term)
    await insert_run(cleo, kind, str(uuid4()))
    if moment != "at once":
        claimed = next(run for run in await claim(service, kind, slots=2) if run["run_id"] == leader["id"])
        await start_search(service, claimed, "indeed")
        await save_page(service, **lease(claimed), **page("indeed", 1, [uuid4().hex]))
        if moment == "at its end":
            await finish_site(service, claimed, site="indeed")
            await search(service, claimed, {"linkedin": [[uuid4().hex]]})

    found = await count_items(ada, leader)
    assert found > 0
    assert await count_items(bob, sharer) == found
    for table, of_leader in (("search_runs", 0), ("run_events", 0), ("search_run_sites", 2), ("search_results", found)):
        assert await rows_of(ada, table, leader) > 0
        assert await rows_of(bob, table, leader) == of_leader, table
        assert await rows_of(cleo, table, leader) == await rows_of(cleo, table, sharer) == 0, table
    assert await count_items(cleo, leader) == await count_items(cleo, sharer) == 0
    assert await rows_of(ada, "search_runs", sharer) == 0


async def test_private_searches_are_shared_with_nobody(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    database: Connection,
    kind: str,
    term: str,
) -> None:
    await database.execute("update worker.kinds set is_private = true where kind = %s", [kind])
    leader, own, other = (
        await insert_run(ada, kind, term),
        await insert_run(ada, kind, term),
        await insert_run(bob, kind, term),
    )
    assert (own["leader_run_id"], other["leader_run_id"]) == (leader["id"], None)
    assert other["fingerprint"] != leader["fingerprint"]
    assert {run["run_id"] for run in await claim(service, kind, slots=3)} == {leader["id"], other["id"]}

    await service.table("search_runs").delete().in_("id", [leader["id"], own["id"], other["id"]]).execute()
    leader = await insert_run(ada, kind, term)
    await search_next(service, kind)
    answered, other = await insert_run(ada, kind, term), await insert_run(bob, kind, term)
    assert (answered["shared_run_id"], other["status"]) == (leader["id"], "pending")
    assert (other["shared_run_id"], other["leader_run_id"]) == (None, None)
    for table in (*PUBLISHED_TABLES, "run_events"):
        assert await rows_of(bob, table, leader) == 0, table
    assert await count_items(bob, other) == 0


async def test_users_cannot_make_themselves_followers(
    *, ada: AsyncClient, bob: AsyncClient, kind: str, term: str
) -> None:
    leader = await insert_run(ada, kind, term)
    own = await insert_run(bob, kind, str(uuid4()))
    denied = Refusal(403, "42501", "permission denied for table search_runs")
    for column in ("leader_run_id", "shared_run_id", "fingerprint", "newer_than"):
        value = None if column == "newer_than" else leader["id"]
        row = new_run(kind, str(uuid4()), **{column: value})
        assert await refusal(bob, bob.table("search_runs").insert(row)) == denied
        change = bob.table("search_runs").update({column: value}).eq("id", own["id"])
        assert await refusal(bob, change) == denied


# Realtime -------------------------------------------------------------------------------------------------------


async def test_a_follower_costs_a_row_change_for_its_start_and_one_for_its_end(
    *,
    stack: Endpoints,
    ada: AsyncClient,
    bob: AsyncClient,
    cleo: AsyncClient,
    service: AsyncClient,
    kind: str,
    term: str,
    configure: Configure,
) -> None:
    await configure("progress_interval", "1 hour")  # no page writes progress, however slow this machine is
    leader = await insert_run(ada, kind, term)
    followers = [await insert_run(bob, kind, term) for _ in range(3)]
    own = await insert_run(cleo, kind, str(uuid4()))
    everybody = ChangeListener(stack, None, stack.service_role_key)
    follower, stranger = ChangeListener(stack, bob, stack.anon_key), ChangeListener(stack, cleo, stack.anon_key)
    for listener in (everybody, follower, stranger):
        await listener.subscribe()

    claimed = next(run for run in await claim(service, kind, slots=2) if run["run_id"] == leader["id"])
    await search(service, claimed, {site: [[uuid4().hex, uuid4().hex]] for site in SITES})
    await call(cleo, "cancel_search", run_id=own["id"])

    await everybody.listen_until(own)
    # A claim sees to what other tests have left, too. An insert may arrive after the subscription.
    ours = [run["id"] for run in (leader, own, *followers)]
    counts = Counter(
        event.record["id"] for event in everybody.heard if event.type == "UPDATE" and event.record["id"] in ours
    )
    assert counts == dict.fromkeys(ours, 2)

    await follower.listen_until(followers[-1])
    heard = [
        (event.record["id"], event.record["status"], event.record["started_at"])
        for event in follower.heard
        if event.type == "UPDATE"
    ]
    assert {run_id for run_id, _, _ in heard} == {run["id"] for run in followers}
    started, ended = ((status, at) for run_id, status, at in heard if run_id == followers[-1]["id"])
    assert started[0] == "running"
    assert started[1] is not None
    assert ended == ("success", started[1])

    await stranger.listen_until(own)
    # Deletions are sent to everybody, without the row, and one of an earlier test may arrive late.
    assert {event.record["id"] for event in stranger.heard if event.type != "DELETE"} == {own["id"]}


@pytest.mark.parametrize("most", [1, 2])
async def test_followers_move_with_their_leader_up_to_a_number(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    cleo: AsyncClient,
    service: AsyncClient,
    kind: str,
    term: str,
    configure: Configure,
    most: int,
) -> None:
    await configure("progress_interval", "0")
    await configure("max_live_followers", most)
    leader = await insert_run(ada, kind, term)
    followers = [(client, await insert_run(client, kind, term)) for client in (bob, cleo)]
    (claimed,) = await claim(service, kind)
    await start_site(service, claimed, "indeed")
    await save_page(service, **lease(claimed), **page("indeed", 1, [uuid4().hex, uuid4().hex]))
    for client, run in followers:
        seen = await run_of(client, run["id"])
        assert (seen["status"], seen["leader_run_id"]) == ("running", leader["id"])
        names = ("jobs_found", "items_found", "new_items", "progress_current")
        assert [seen[name] for name in names] == ([2] * 4 if most == 2 else [0] * 4)
        # What is not sent can be read.
        query = client.table("run_sites").select("site, status, jobs_found").eq("run_id", run["id"]).order("position")
        assert (await query.execute()).data == [
            {"site": "indeed", "status": "running", "jobs_found": 2},
            {"site": "linkedin", "status": "pending", "jobs_found": 0},
        ]


async def test_what_a_follower_has_seen_before_is_not_new_to_it(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    cleo: AsyncClient,
    service: AsyncClient,
    kind: str,
    term: str,
) -> None:
    known = uuid4().hex
    await insert_run(bob, kind, term)
    (claimed,) = await claim(service, kind)
    await search(service, claimed, {"indeed": [[known]], "linkedin": [[]]})

    clients = (ada, bob, cleo)
    runs = [await insert_run(client, kind, term, fresh=True) for client in clients]
    (claimed,) = await claim(service, kind)
    await search(service, claimed, {"indeed": [[known]], "linkedin": [[uuid4().hex]]})
    for client, run, new in zip(clients, runs, (2, 1, 2), strict=True):
        ended = await run_of(client, run["id"])
        assert (ended["items_found"], ended["new_items"]) == (2, new)
        items: Any = client.table("run_items").select("is_new").eq("run_id", run["id"])
        assert sum(item["is_new"] for item in (await items.execute()).data) == new


async def test_a_run_that_is_answered_at_once_costs_one_row_change(
    *,
    stack: Endpoints,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    kind: str,
    term: str,
) -> None:
    await insert_run(ada, kind, term)
    await search_next(service, kind)
    everybody = ChangeListener(stack, None, stack.service_role_key)
    await everybody.subscribe()
    answered = await insert_run(bob, kind, term)
    assert await everybody.listen_until(answered) == {"search_runs INSERT": 1}


# At the same moment ---------------------------------------------------------------------------------------------


async def searched(service: AsyncClient, kind: str) -> Row:
    """Claim the run that is ready, and search all of its sites, without ending it."""
    (run,) = await claim(service, kind, slots=10)
    for site in SITES:
        await start_search(service, run, site)
        await finish_site(service, run, site=site)
    return run


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_of_two_inserts_at_once_one_leads(
    *,
    database: Connection,
    as_ada: Connection,
    as_bob: Connection,
    kind: str,
    term: str,
    end: LiteralString,
) -> None:
    asked = {"kind": kind, "term": term}
    await as_ada.execute("begin")
    ((leader, *_),) = await rows(as_ada, INSERT, asked)
    ((_, status, follows, _),) = await answer_after(as_ada, database, as_bob, INSERT, asked, end=end)
    assert (status, follows) == ("pending", leader if end == "commit" else None)


async def test_many_inserts_at_once_make_one_leader(
    sign_in: SignIn, service: AsyncClient, kind: str, term: str
) -> None:
    clients = [await sign_in() for _ in range(4)]
    runs = await asyncio.gather(*(insert_run(client, kind, term) for client in clients * 4))
    (leader,) = (run["id"] for run in runs if run["leader_run_id"] is None)
    assert {run["leader_run_id"] for run in runs} == {None, leader}
    assert [run["run_id"] for run in await claim(service, kind, slots=10)] == [leader]


async def test_an_insert_that_waited_for_the_end_of_its_leader_is_answered(
    *,
    ada: AsyncClient,
    service: AsyncClient,
    database: Connection,
    as_bob: Connection,
    as_worker: Connection,
    kind: str,
    term: str,
) -> None:
    leader = await insert_run(ada, kind, term)
    run = await searched(service, kind)
    await as_worker.execute("begin")
    await as_worker.execute(FINISH, lease(run))
    answer = await answer_after(as_worker, database, as_bob, INSERT, {"kind": kind, "term": term})
    assert [(status, answered_by) for _, status, _, answered_by in answer] == [("success", leader["id"])]


async def test_an_end_waits_for_no_insert_and_the_next_claim_answers_it(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    as_bob: Connection,
    as_worker: Connection,
    kind: str,
    term: str,
) -> None:
    leader = await insert_run(ada, kind, term)
    run = await searched(service, kind)
    await as_bob.execute("begin")
    ((follower, _, follows, _),) = await rows(as_bob, INSERT, {"kind": kind, "term": term})
    assert follows == leader["id"]
    async with asyncio.timeout(10):
        assert await rows(as_worker, FINISH, lease(run)) == [("success",)]
        # Nor does a claim, which cannot see it yet.
        assert await rows(as_worker, CLAIM, {"kind": kind}) == []
    await as_bob.execute("commit")
    assert await rows(as_worker, CLAIM, {"kind": kind}) == []
    answered = await run_of(bob, follower)
    assert (answered["status"], answered["shared_run_id"]) == ("success", leader["id"])


@pytest.mark.parametrize("has_heir", [False, True])
async def test_an_insert_waits_for_no_cancellation_of_its_leader_and_follows_the_heir_or_leads(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    cleo: AsyncClient,
    service: AsyncClient,
    as_ada: Connection,
    as_bob: Connection,
    kind: str,
    term: str,
    has_heir: bool,
) -> None:
    leader = await insert_run(ada, kind, term)
    heir = await insert_run(cleo, kind, term) if has_heir else None
    await as_ada.execute("begin")
    await as_ada.execute(CANCEL, leader)
    async with asyncio.timeout(10):
        ((run_id, _, follows, _),) = await rows(as_bob, INSERT, {"kind": kind, "term": term})
    assert follows == leader["id"]
    await as_ada.execute("commit")
    leads = heir["id"] if heir else run_id
    assert [run["run_id"] for run in await claim(service, kind, slots=10)] == [leads]
    assert (await run_of(bob, run_id))["leader_run_id"] == (leads if has_heir else None)


async def test_a_cancellation_waits_for_no_insert_which_leads_then(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    as_ada: Connection,
    as_bob: Connection,
    kind: str,
    term: str,
) -> None:
    leader = await insert_run(ada, kind, term)
    await as_bob.execute("begin")
    ((follower, *_),) = await rows(as_bob, INSERT, {"kind": kind, "term": term})
    async with asyncio.timeout(10):
        assert await rows(as_ada, CANCEL, leader) == [("cancelled",)]
        assert await claim(service, kind) == []
    await as_bob.execute("commit")
    assert [run["run_id"] for run in await claim(service, kind)] == [follower]
    assert (await run_of(bob, follower))["leader_run_id"] is None


async def test_an_insert_that_waited_for_a_promotion_follows_it(
    *,
    ada: AsyncClient,
    service: AsyncClient,
    database: Connection,
    as_bob: Connection,
    as_worker: Connection,
    kind: str,
    term: str,
) -> None:
    delayed = new_run(kind, term, user_id=await user_id(ada), run_after="2026-01-01T00:00:00Z")
    await service.table("search_runs").insert(delayed).execute()
    await as_worker.execute("begin")
    ((promoted,),) = await rows(as_worker, CLAIM, {"kind": kind})
    answer = await answer_after(as_worker, database, as_bob, INSERT, {"kind": kind, "term": term})
    assert [follows for _, _, follows, _ in answer] == [promoted]


async def test_a_promotion_passes_over_a_search_that_is_being_inserted(
    *,
    ada: AsyncClient,
    service: AsyncClient,
    as_bob: Connection,
    as_worker: Connection,
    kind: str,
    term: str,
) -> None:
    owner_id = await user_id(ada)
    delayed = await insert_run(service, kind, term, user_id=owner_id, run_after="2026-01-01T00:00:00Z")
    await as_bob.execute("begin")
    ((leader, *_),) = await rows(as_bob, INSERT, {"kind": kind, "term": term})
    assert await rows(as_worker, CLAIM, {"kind": kind}) == []
    await as_bob.execute("commit")
    assert await rows(as_worker, CLAIM, {"kind": kind}) == [(leader,)]
    promoted = await run_of(ada, delayed["id"])
    assert (promoted["leader_run_id"], promoted["run_after"]) == (leader, None)
    assert await rows_of(ada, "search_run_sites", delayed) == 0
    assert await rows_of(ada, "search_run_sites", {"id": leader}) == len(SITES)


async def test_a_cancellation_of_a_follower_that_waited_for_its_leaders_end_comes_too_late(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    database: Connection,
    as_bob: Connection,
    as_worker: Connection,
    kind: str,
    term: str,
) -> None:
    await insert_run(ada, kind, term)
    follower = await insert_run(bob, kind, term)
    run = await searched(service, kind)
    await as_worker.execute("begin")
    await as_worker.execute(FINISH, lease(run))
    assert await answer_after(as_worker, database, as_bob, CANCEL, follower) == [("success",)]


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_an_end_waits_for_no_follower_that_is_held_and_the_next_claim_answers_it(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    as_bob: Connection,
    as_worker: Connection,
    kind: str,
    term: str,
    end: LiteralString,
) -> None:
    leader = await insert_run(ada, kind, term)
    follower, other = await insert_run(bob, kind, term), await insert_run(bob, kind, term)
    run = await searched(service, kind)
    await as_bob.execute("begin")
    await as_bob.execute(CANCEL, follower)
    async with asyncio.timeout(10):
        # A page or the end of a site waits for no follower, either.
        await finish_site(service, run, site="linkedin")
        assert await rows(as_worker, FINISH, lease(run)) == [("success",)]
        assert await rows(as_worker, CLAIM, {"kind": kind}) == []
    assert (await run_of(bob, other["id"]))["status"] == "success"
    await as_bob.execute(end)
    assert await rows(as_worker, CLAIM, {"kind": kind}) == []
    left = await run_of(bob, follower["id"])
    if end == "commit":
        assert (left["status"], left["shared_run_id"], left["leader_run_id"]) == ("cancelled", None, None)
    else:
        assert (left["status"], left["shared_run_id"], left["leader_run_id"]) == ("success", leader["id"], None)


async def test_a_site_ends_without_waiting_for_a_follower(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    as_bob: Connection,
    as_worker: Connection,
    kind: str,
    term: str,
    configure: Configure,
) -> None:
    await configure("progress_interval", "0")
    await insert_run(ada, kind, term)
    held, other = await insert_run(bob, kind, term), await insert_run(bob, kind, term)
    (run,) = await claim(service, kind)
    await start_search(service, run, "linkedin")
    await as_bob.execute("begin")
    await as_bob.execute(CANCEL, held)
    async with asyncio.timeout(10):
        await save_page(service, **lease(run), **page("linkedin", 1, [uuid4().hex]))
        await as_worker.execute(FINISH_SITE, lease(run) | {"site": "linkedin"})
    await as_bob.execute("rollback")
    assert [(await run_of(bob, follower["id"]))["jobs_found"] for follower in (held, other)] == [0, 1]


async def test_a_worker_and_a_user_who_cancels_a_follower_and_then_its_leader_never_wait_in_a_circle(
    *,
    ada: AsyncClient,
    service: AsyncClient,
    as_ada: Connection,
    as_worker: Connection,
    kind: str,
    term: str,
) -> None:
    leader, follower = await insert_run(ada, kind, term), await insert_run(ada, kind, term)
    run = await searched(service, kind)
    await as_ada.execute("begin")
    await as_ada.execute(CANCEL, follower)
    async with asyncio.timeout(10):
        assert await rows(as_worker, FINISH, lease(run)) == [("success",)]
        assert await rows(as_ada, CANCEL, leader) == [("success",)]
    await as_ada.execute("commit")
    assert (await run_of(ada, follower["id"]))["status"] == "cancelled"


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_a_deletion_waits_for_no_user_who_cancels_several_of_its_followers(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    database: Connection,
    as_bob: Connection,
    kind: str,
    term: str,
    end: LiteralString,
) -> None:
    leader = await insert_run(ada, kind, term)
    followers = [await insert_run(bob, kind, term) for _ in range(2)]
    run = await searched(service, kind)
    await as_bob.execute("begin")
    await as_bob.execute(CANCEL, followers[1])
    async with asyncio.timeout(10):
        await database.execute("delete from public.search_runs where id = %(id)s", leader)
        assert await rows(as_bob, CANCEL, followers[0]) == [("cancelled",)]
        assert await claim(service, kind) == []
    await as_bob.execute(end)
    claimed = await claim(service, kind)
    if end == "commit":
        assert claimed == []
        assert [(await run_of(bob, run["id"]))["status"] for run in followers] == ["cancelled", "cancelled"]
    else:
        # With what was searched: nothing is asked for again.
        assert [(run["run_id"], run["sites"]) for run in claimed] == [(followers[0]["id"], [])]
        assert (await run_of(bob, followers[1]["id"]))["leader_run_id"] == followers[0]["id"]
        assert (await finish_run(service, claimed[0]))["status"] == "success"
    assert run["run_id"] == leader["id"]


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_two_users_who_each_cancel_a_leader_of_the_other_never_wait_in_a_circle(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    cleo: AsyncClient,
    service: AsyncClient,
    as_ada: Connection,
    as_bob: Connection,
    kind: str,
    end: LiteralString,
) -> None:
    terms = [str(uuid4()), str(uuid4())]
    leaders = [await insert_run(ada, kind, terms[0]), await insert_run(bob, kind, terms[1])]
    follower = await insert_run(bob, kind, terms[0])
    await insert_run(ada, kind, terms[1])
    last = await insert_run(cleo, kind, terms[0])
    await as_bob.execute("begin")
    await as_bob.execute(CANCEL, follower)
    async with asyncio.timeout(10):
        await as_ada.execute(CANCEL_ALL)
        await as_bob.execute(CANCEL_ALL)
    await as_bob.execute(end)
    assert (await run_of(ada, leaders[0]["id"]))["status"] == "cancelled"

    # Whose cancellation was undone is not forgotten: the next claim decides about it.
    runs = {run["run_id"] for run in await claim(service, kind, slots=10)}
    assert (await run_of(cleo, last["id"]))["leader_run_id"] is None
    assert runs == {last["id"]} | (set() if end == "commit" else {leaders[1]["id"]})
    left = await run_of(bob, follower["id"])
    assert (left["status"], left["leader_run_id"]) == (
        ("cancelled", None) if end == "commit" else ("running", last["id"])
    )


async def test_who_was_held_when_its_leader_ended_is_searched_for_though_that_is_deleted(
    *, ada: AsyncClient, bob: AsyncClient, service: AsyncClient, as_bob: Connection, kind: str, term: str
) -> None:
    leader, follower = await insert_run(ada, kind, term), await insert_run(bob, kind, term)
    await as_bob.execute("begin")
    await as_bob.execute(CANCEL, follower)
    await call(ada, "cancel_search", run_id=leader["id"])
    await as_bob.execute("rollback")
    await service.table("search_runs").delete().eq("id", leader["id"]).execute()
    (run,) = await claim(service, kind)
    assert run["run_id"] == follower["id"]
    assert [site["site"] for site in run["sites"]] == SITES


@pytest.mark.parametrize("has_heir", [False, True])
async def test_an_insert_waits_for_no_deletion_of_its_leaders_account(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    cleo: AsyncClient,
    service: AsyncClient,
    database: Connection,
    as_bob: Connection,
    kind: str,
    term: str,
    has_heir: bool,
) -> None:
    await insert_run(ada, kind, term)
    await insert_run(ada, kind, term)  # goes with the same account, and inherits nothing
    heir = await insert_run(cleo, kind, term) if has_heir else None
    await database.execute("begin")
    await database.execute(DELETE_ACCOUNT, {"user_id": await user_id(ada)})
    async with asyncio.timeout(10):
        ((run_id, status, *_),) = await rows(as_bob, INSERT, {"kind": kind, "term": term})
    assert status == "pending"
    await database.execute("commit")
    leads = heir["id"] if heir else run_id
    assert [run["run_id"] for run in await claim(service, kind, slots=10)] == [leads]
    assert (await run_of(bob, run_id))["leader_run_id"] == (leads if has_heir else None)


async def test_a_deletion_waits_for_no_insert_which_leads_then(
    *, ada: AsyncClient, service: AsyncClient, database: Connection, as_bob: Connection, kind: str, term: str
) -> None:
    await insert_run(ada, kind, term)
    await as_bob.execute("begin")
    ((follower, *_),) = await rows(as_bob, INSERT, {"kind": kind, "term": term})
    async with asyncio.timeout(10):
        await database.execute(DELETE_ACCOUNT, {"user_id": await user_id(ada)})
        assert await claim(service, kind) == []
    await as_bob.execute("commit")
    (run,) = await claim(service, kind)
    assert run["run_id"] == follower
    assert [site["site"] for site in run["sites"]] == SITES


async def test_an_insert_that_is_answered_by_a_run_that_is_being_deleted_keeps_the_answer(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    database: Connection,
    as_bob: Connection,
    kind: str,
    term: str,
) -> None:
    leader = await insert_run(ada, kind, term)
    await search_next(service, kind)
    await database.execute("begin")
    await database.execute("delete from public.search_runs where id = %(id)s", leader)
    # Who deletes it decides about the search until it is gone: what comes meanwhile is decided later.
    async with asyncio.timeout(10):
        ((run_id, status, *_),) = await rows(as_bob, INSERT, {"kind": kind, "term": term})
    assert status == "pending"
    await database.execute("rollback")
    assert await claim(service, kind) == []
    await service.table("search_runs").delete().eq("id", leader["id"]).execute()
    assert (await run_of(bob, run_id))["status"] == "success"
    assert await count_items(bob, {"id": run_id}) == 4


async def test_what_was_answered_outlives_the_account_of_the_run_that_answered(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    cleo: AsyncClient,
    service: AsyncClient,
    database: Connection,
    as_bob: Connection,
    kind: str,
    term: str,
) -> None:
    leader = await insert_run(ada, kind, term)
    await insert_run(ada, kind, term)
    answered = [(cleo, await insert_run(cleo, kind, term))]
    finished = await search_next(service, kind)
    await as_bob.execute("begin")
    ((late, _, _, answered_by),) = await rows(as_bob, INSERT, {"kind": kind, "term": term})
    assert answered_by == leader["id"]
    async with asyncio.timeout(10):
        await database.execute(DELETE_ACCOUNT, {"user_id": await user_id(ada)})
    # A run that was answered before gets what it showed, also while another one is being answered.
    assert await count_items(cleo, answered[0][1]) == 4
    await as_bob.execute("commit")
    assert await claim(service, kind) == []
    answered.append((bob, {"id": late}))
    for client, run in answered:
        row = await run_of(client, run["id"])
        assert (row["status"], row["jobs_found"], await count_items(client, run)) == ("success", 4, 4)
    heir = await run_of(cleo, answered[0][1]["id"])
    assert (heir["shared_run_id"], heir["started_at"]) == (None, finished["started_at"])
    assert await rows_of(cleo, "search_run_sites", heir) == len(SITES)
    pages = await database.execute("select from worker.raw_collections where run_id = %s", [heir["id"]])
    assert pages.rowcount == len(SITES)
    # And it answers those that come.
    assert (await insert_run(bob, kind, term))["shared_run_id"] in {heir["id"], late}


async def test_what_an_heir_took_over_is_processed_again_for_the_heir(
    *, ada: AsyncClient, bob: AsyncClient, service: AsyncClient, database: Connection, kind: str, term: str
) -> None:
    leader = await insert_run(ada, kind, term)
    heir = await insert_run(bob, kind, term)
    (claimed,) = await claim(service, kind)
    for site in SITES:
        await start_search(service, claimed, site)
        await save_page(service, **lease(claimed), **page(site, 1, [uuid4().hex]))
    await finish_site(service, claimed, site=SITES[0])
    await call(ada, "cancel_search", run_id=leader["id"])
    assert [run["run_id"] for run in await claim(service, kind)] == [heir["id"]]

    pages = await database.execute(
        "select id, site from worker.raw_collections where run_id = %s order by site", [heir["id"]]
    )
    ((page_id, site), (_, unfinished)) = await pages.fetchall()
    assert [site, unfinished] == SITES
    again = {"version": 2, "transform_ms": 5, "completeness": {}, "items": items([uuid4().hex]), "errors": []}
    await call(service, "worker_load_page", page_id=page_id, **again)
    assert (await run_of(bob, heir["id"]))["jobs_found"] == await count_items(bob, heir) == 3
    assert await count_items(ada, leader) == 2


async def test_runs_that_are_deleted_together_inherit_nothing(
    ada: AsyncClient, bob: AsyncClient, service: AsyncClient, kind: str, term: str
) -> None:
    runs = [await insert_run(client, kind, term) for client in (ada, bob, ada)]
    await service.table("search_runs").delete().in_("id", [runs[0]["id"], runs[2]["id"]]).execute()
    assert [run["run_id"] for run in await claim(service, kind)] == [runs[1]["id"]]
    heir = await run_of(bob, runs[1]["id"])
    assert heir["leader_run_id"] is None
    assert await rows_of(bob, "search_run_sites", heir) == len(SITES)


async def test_retention_spares_a_run_that_answers_another_in_the_meantime(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    database: Connection,
    as_bob: Connection,
    as_worker: Connection,
    kind: str,
    term: str,
    configure: Configure,
) -> None:
    await insert_run(ada, kind, term)
    await search_next(service, kind)
    await database.execute(
        "update public.search_runs set completed_at = completed_at - interval '91 days' where kind = %s", [kind]
    )
    await configure("freshness", "100 days")
    await database.execute("update worker.housekeeping set next_at = '-infinity' where task = 'retention'")
    await as_bob.execute("begin")
    ((answered, status, *_),) = await rows(as_bob, INSERT, {"kind": kind, "term": term})
    assert status == "success"
    await as_worker.execute("select public.worker_delete_expired()")
    await as_bob.execute("commit")
    await claim(service, kind)
    assert await count_items(bob, {"id": answered}) == 4


async def test_bulk_inserts_in_opposite_orders_never_wait_in_a_circle(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    as_ada: Connection,
    as_bob: Connection,
    as_worker: Connection,
    kind: str,
) -> None:
    terms = sorted(str(uuid4()) for _ in range(3))
    await as_ada.execute("begin")
    ((first, *_),) = await rows(as_ada, INSERT_MANY, {"kind": kind, "terms": terms[:1]})
    await as_bob.execute("begin")
    inserted = await rows(as_bob, INSERT_MANY, {"kind": kind, "terms": terms[::-1]})
    # What another is deciding about is decided later, when a worker looks for what is due.
    assert [is_due for _, _, is_due in inserted] == [False, False, True]
    async with asyncio.timeout(10):
        later = await rows(as_ada, INSERT_MANY, {"kind": kind, "terms": terms[1:]})
    assert [is_due for _, _, is_due in later] == [True, True]
    await as_ada.execute("commit")
    await as_bob.execute("commit")

    leaders = {first, inserted[0][0], inserted[1][0]}
    assert {run_id for (run_id,) in await rows(as_worker, CLAIM, {"kind": kind})} == leaders
    assert (await run_of(bob, inserted[2][0]))["leader_run_id"] == first
    assert {(await run_of(ada, run_id))["leader_run_id"] for run_id, *_ in later} == leaders - {first}


async def test_many_bulk_inserts_at_once_make_one_leader_for_each_search(
    sign_in: SignIn, service: AsyncClient, database: Connection, kind: str
) -> None:
    terms = [str(uuid4()) for _ in range(10)]
    shuffled = random.Random(1)
    clients = [await sign_in() for _ in range(4)]
    batches = [[new_run(kind, term) for term in shuffled.sample(terms, len(terms))] for _ in range(12)]
    await asyncio.gather(
        *(
            clients[number % len(clients)].table("search_runs").insert(batch).execute()
            for number, batch in enumerate(batches)
        )
    )
    # A promotion passes over what another claim decides about at the same moment.
    while await rows(database, DUE, {"kind": kind}):
        await claim(service, kind, slots=1)
    answer = await database.execute(
        "select count(*) filter (where leader_run_id is null), count(*) from public.search_runs where kind = %s"
        " group by parameters ->> 'search_term'",
        [kind],
    )
    assert await answer.fetchall() == [(1, len(batches))] * len(terms)


DUE: LiteralString = "select from public.search_runs where kind = %(kind)s and run_after is not null"


# Everything at once ---------------------------------------------------------------------------------------------

BROKEN: LiteralString = """
select 'a follower without an active leader: ' || run.id
from public.search_runs as run left join public.search_runs as leader on leader.id = run.leader_run_id
where run.kind = %(kind)s and run.leader_run_id is not null
  and not exists (select from worker.ended_leaders as ended where ended.run_id = run.leader_run_id)
  and (leader.id is null or run.completed_at is not null or (run.status = 'running' and run.started_at is null)
       or leader.completed_at is not null or leader.leader_run_id is not null)
union all
select 'more than one leader: ' || min(run.id::text)
from public.search_runs as run
where run.kind = %(kind)s and run.completed_at is null and run.leader_run_id is null
  and (run.run_after is null or run.started_at is not null)
group by run.fingerprint, run.newer_than having count(*) > 1
union all
select 'answered by a run that did not search: ' || run.id
from public.search_runs as run left join public.search_runs as answer on answer.id = run.shared_run_id
where run.kind = %(kind)s and run.shared_run_id is not null
  and not exists (select from worker.ended_leaders as ended where ended.run_id = run.shared_run_id)
  and (answer.id is null or answer.shared_run_id is not null
       or answer.leader_run_id is not null or answer.status <> run.status)
union all
select 'finished without sites: ' || run.id
from public.search_runs as run
where run.kind = %(kind)s and run.status in ('success', 'partial', 'cancelled') and run.shared_run_id is null
  and (select count(*) from public.search_run_sites as site where site.run_id = run.id) <> 2
  -- One that followed was cancelled with nothing of its own.
  and not (run.status = 'cancelled' and run.jobs_found = 0
           and not exists (select from public.search_run_sites as site where site.run_id = run.id))
union all
select 'sites without a search: ' || run.id
from public.search_runs as run join public.search_run_sites as site on site.run_id = run.id
where run.kind = %(kind)s and (run.leader_run_id is not null or run.shared_run_id is not null)
union all
select 'pages of nobody: ' || count(*)
from worker.raw_collections as page
where not exists (select from public.search_runs as run where run.id = page.run_id)
  and not exists (select from worker.ended_leaders as ended where ended.run_id = page.run_id)
having count(*) > 0
union all
select format('page %%s of %%s was fetched %%s times: %%s', page.page_number, page.site, count(*), page.run_id)
from worker.raw_collections as page join public.search_runs as run on run.id = page.run_id
where run.kind = %(kind)s
group by page.run_id, page.site, page.page_number having count(*) > 1
union all
select format('%%s of 3 pages of %%s: %%s', count(page.id), site.site, site.run_id)
from public.search_run_sites as site
join public.search_runs as run on run.id = site.run_id
left join worker.raw_collections as page on page.run_id = site.run_id and page.site = site.site
where run.kind = %(kind)s and run.status <> 'cancelled' and site.status = 'completed'
group by site.run_id, site.site having count(page.id) <> 3
union all
select 'waits for nothing: ' || wait.run_id
from worker.site_waits as wait join public.search_runs as run on run.id = wait.run_id
where run.kind = %(kind)s and run.completed_at is not null
union all
select format('%%s results, not %%s: %%s', count(item.item_id), run.jobs_found, run.id)
from public.search_runs as run left join public.run_items as item on item.run_id = run.id
where run.kind = %(kind)s and run.completed_at is not null
  and not exists (select from worker.ended_leaders as ended where ended.run_id = run.shared_run_id)
group by run.id, run.jobs_found having count(item.item_id) <> run.jobs_found
"""


class Crowd:
    """Users who ask, cancel and delete at random, and workers that succeed, fail, wait and release at random."""

    def __init__(self, service: AsyncClient, database: Connection, kind: str, terms: Sequence[str]) -> None:
        self._service = service
        self._database = database
        self._kind = kind
        self._terms = terms

    async def use(self, client: AsyncClient, chance: random.Random) -> None:
        """Do as a user does, for a while."""
        runs: Any = client.table("search_runs")
        for _ in range(20):
            terms = chance.choices(self._terms, k=4)
            action = chance.choice(["insert", "insert", "insert many", "cancel", "cancel all", "delete"])
            if action == "insert":
                await insert_run(client, self._kind, terms[0], fresh=chance.random() < 0.3)
            elif action == "insert many":
                await runs.insert([new_run(self._kind, term) for term in terms]).execute()
            elif action == "cancel all":
                await runs.update({"cancel_requested_at": "now"}).is_("completed_at", "null").execute()
            else:
                unfinished = (await runs.select("id").is_("completed_at", "null").limit(1).execute()).data
                ids = [run["id"] for run in unfinished]
                if action == "cancel":
                    await runs.update({"cancel_requested_at": "now"}).in_("id", ids).execute()
                else:
                    await self._delete(ids)

    async def _delete(self, ids: Sequence[str]) -> None:
        await self._service.table("search_runs").delete().in_("id", ids).execute()

    async def work(self, chance: random.Random, slots: int) -> int:
        """Claim and search as a worker does; return how many runs."""
        runs = await claim(self._service, self._kind, slots=slots)
        for run in runs:
            try:
                await self._search(run, chance)
            except APIError as error:
                if error.code != "PT409":  # cancelled or deleted
                    raise
        return len(runs)

    async def _search(self, run: Row, chance: random.Random) -> None:
        for site in run["sites"]:
            await start_site(self._service, run, site["site"])
            end = await self._fetch(run, site, chance)
            if end == "release":
                await call(self._service, "worker_release_runs", worker_id="worker-1", leases=[lease(run)])
                return
            # One that opens a breaker would stop the others, too.
            failure = {"error_code": "internal", "error_message": "x", "retryable": chance.random() < 0.5}
            if end == "wait":
                await self._database.execute(WAIT, lease(run) | {"site": site["site"]})
            else:
                error = failure if end == "fail" else {}
                await finish_site(self._service, run, site=site["site"], **error)
        await finish_run(self._service, run)

    async def _fetch(self, run: Row, site: Row, chance: random.Random) -> str:
        """Save what pages are left, each of which may be the last for now; return how it ends."""
        for number in () if site["is_fetched"] else range(site["next_page"], 4):
            end = chance.choices(["", "fail", "wait", "release"], [8, 1, 1, 1])[0]
            if end:
                return end
            saved = page(
                site["site"], number, [uuid4().hex], attempt=site["attempt"], cursor=number, is_last=number == 3
            )
            await save_page(self._service, **lease(run), **saved)
        return "complete"


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_breaks_whatever_happens_at_once(
    *, sign_in: SignIn, service: AsyncClient, database: Connection, kind: str, configure: Configure, seed: int
) -> None:
    await configure("freshness", "100 milliseconds")
    await configure("retry_delay", "0")
    crowd = Crowd(service, database, kind, [str(uuid4()) for _ in range(3)])
    clients = [await sign_in() for _ in range(3)]
    is_over = asyncio.Event()

    async def work(number: int) -> None:
        chance = random.Random(f"worker {seed} {number}")
        while not is_over.is_set():
            await crowd.work(chance, slots=2)

    async with asyncio.TaskGroup() as everybody:
        users = [
            everybody.create_task(crowd.use(client, random.Random(f"user {seed} {number}")))
            for number, client in enumerate(clients * 2)
        ]
        for number in range(3):
            everybody.create_task(work(number))
        await asyncio.wait(users)
        is_over.set()
    assert await rows(database, BROKEN, {"kind": kind}) == []

    # And what is left is searched to its end.
    await database.execute("update worker.leases set expires_at = '-infinity' where true")
    chance = random.Random(f"rest {seed}")
    while await rows(database, UNFINISHED, {"kind": kind}):
        await crowd.work(chance, slots=5)
    assert await rows(database, BROKEN, {"kind": kind}) == []


async def test_two_cancellations_of_several_runs_in_another_order_follow_each_other(
    ada: AsyncClient, database: Connection, connect_database: Connect, kind: str
) -> None:
    one, other = [(await insert_run(ada, kind, term))["id"] for term in ("one", "other")]
    first, second = [await signed_in(ada, connect_database) for _ in range(2)]
    async with first.transaction():
        await first.execute(CANCELLATION, [one])

        async def cancel_both() -> None:
            async with second.transaction():
                for run in (other, one):
                    await second.execute(CANCELLATION, [run])

        cancelling = asyncio.create_task(cancel_both())
        await wait_until_blocked(database, first)
        await first.execute(CANCELLATION, [other])
    await cancelling
    assert set(await rows(database, RUNS_OF, {"kind": kind})) == {("cancelled",)}


CANCELLATION: LiteralString = "update public.search_runs set cancel_requested_at = now() where id = %s"
RUNS_OF: LiteralString = "select status::text from public.search_runs where kind = %(kind)s"
UNFINISHED: LiteralString = "select from public.search_runs where kind = %(kind)s and completed_at is null"
# As a site that may not be asked at once: nobody else waits for this bucket.
WAIT: LiteralString = """
insert into worker.site_waits (run_id, site, account, bucket, waiting_since, due_at, reason, message)
select run.id, %(site)s, '', run.id::text, now(), now(), 'rate', 'not at once'
from public.search_runs as run join worker.leases as lease on lease.run_id = run.id
where run.id = %(run_id)s and lease.token = %(lease_token)s
for no key update
on conflict (run_id, site) do nothing
"""
