"""A run whose sites must wait goes back to the queue until the first of them may be asked, and holds no slot."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from tests.support.database import (
    Configure,
    Connect,
    Connection,
    answer_after,
    pause,
    rows,
    wait_until_blocked,
    written,
)
from tests.support.queue import (
    SITES,
    Row,
    call,
    claim,
    ends,
    enqueue,
    finish_run,
    finish_site,
    lease,
    page,
    refusal,
    run_of,
    save_page,
    start_site,
    user_id,
)
from tests.support.statements import CANCEL, CLAIM, DELETE_ACCOUNT, FINISH, INSERT

FAILURE = {"error_code": "network", "error_message": "reset", "retryable": True}
HEARTBEAT: LiteralString = "select state from public.worker_heartbeat('worker-1', %(leases)s)"


@pytest.fixture
async def run(ada: AsyncClient, service: AsyncClient, database: Connection, kind: str, term: str) -> Row:
    """A claimed run of Ada's, one of whose sites is searched, and the other one paused for ten minutes."""
    await enqueue(ada, kind, search_term=term, sites=SITES)
    (run,) = await claim(service, kind)
    await pause(database, "linkedin", "10 minutes")
    await complete(service, run, "indeed")
    answer = await start_site(service, run, "linkedin")
    assert not answer["granted"]
    return run


@pytest.fixture
async def deferred(service: AsyncClient, run: Row) -> Row:
    """That run, put off."""
    answer: Row = await finish_run(service, run)
    assert answer["status"] == "pending"
    return answer


async def complete(service: AsyncClient, run: Row, site: str, **error: Any) -> None:
    """Search a site, with one result."""
    assert (await start_site(service, run, site))["granted"]
    (attempt,) = [given["attempt"] for given in run["sites"] if given["site"] == site]
    await save_page(service, **lease(run), **page(site, 1, [uuid4().hex], attempt=attempt))
    await finish_site(service, run, site=site, **error)


async def site_of(client: AsyncClient, run_id: str, site: str) -> Row:
    query = client.table("search_run_sites").select("*").eq("run_id", run_id).eq("site", site)
    row: Any = (await query.single().execute()).data
    return dict(row)


async def events(client: AsyncClient, run_id: str) -> list[str]:
    found: Any = await client.table("run_events").select("event").eq("run_id", run_id).order("id").execute()
    return [row["event"] for row in found.data]


async def let_go_on(database: Connection, run_id: str) -> None:
    """Close the breaker, and let the time of a run come."""
    await pause(database, "linkedin", None)
    await database.execute("update public.search_runs set run_after = now() where id = %s", [run_id])


async def waits(database: Connection, run_id: str) -> int:
    return (await database.execute("select from worker.site_waits where run_id = %s", [run_id])).rowcount


def at(timestamp: str) -> datetime:
    return datetime.fromisoformat(timestamp)


# What becomes of it ---------------------------------------------------------------------------------------------


async def test_it_waits_without_a_lease_and_without_burning_an_attempt(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str, run: Row
) -> None:
    waiting = await site_of(ada, run["run_id"], "linkedin")
    assert waiting["status"] == "pending"
    assert waiting["progress"]["step"] == "waiting"
    until, message = (waiting["progress"]["details"][name] for name in ("until", "message"))
    assert waiting["progress"]["details"] == {"until": until, "reason": "paused", "message": message}
    assert message.startswith("LinkedIn is not answering at the moment; it will be tried again at ")

    answer = await finish_run(service, run)
    assert (answer["status"], answer["attempts"], answer["error_code"]) == ("pending", 0, None)
    assert at(answer["run_after"]) == at(until) > at(answer["updated_at"]) + timedelta(minutes=9)
    (site,) = answer["progress"].pop("details")["sites"]
    assert site == {"site": "linkedin", "until": until, "reason": "paused", "message": message}
    assert answer["progress"] == {"step": "waiting"}
    assert (answer["jobs_found"], answer["progress_current"]) == (1, 20)

    assert await events(ada, run["run_id"]) == [
        "created", "claimed", "site_started", "site_finished", "deferred"
    ]  # fmt: skip
    assert await call(service, "worker_heartbeat", worker_id="worker-1", leases=[lease(run)]) == [
        lease(run) | {"state": "finished"}
    ]
    assert await claim(service, kind) == []

    await let_go_on(database, run["run_id"])
    (again,) = await claim(service, kind)
    assert (again["run_id"], again["attempt"]) == (run["run_id"], 1)
    assert [site["site"] for site in again["sites"]] == ["linkedin"]
    await complete(service, again, "linkedin")
    finished = await finish_run(service, again)
    assert (finished["status"], finished["jobs_found"], finished["attempts"]) == ("success", 2, 1)
    assert await waits(database, run["run_id"]) == 0


async def test_the_same_end_again_changes_nothing(service: AsyncClient, database: Connection, run: Row) -> None:
    answer = await finish_run(service, run)
    before = await written(database, run["run_id"])
    assert await finish_run(service, run) == answer
    assert await written(database, run["run_id"]) == before


async def test_the_same_refusal_again_is_told_once(service: AsyncClient, database: Connection, run: Row) -> None:
    before = await written(database, run["run_id"])
    assert not (await start_site(service, run, "linkedin"))["granted"]
    assert await written(database, run["run_id"]) == before


async def test_it_is_not_put_off_while_a_site_may_be_searched(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    await enqueue(ada, kind, sites=SITES)
    (run,) = await claim(service, kind)
    await pause(database, "linkedin", "10 minutes")
    await start_site(service, run, "linkedin")
    (refused,) = await ends(service, lease(run) | {"ends_run": True})
    assert refused == {
        "state": "refused", "message": "run_id must be the id of a run whose sites have all finished or wait"
    }  # fmt: skip


async def test_it_comes_back_when_the_first_of_its_sites_is_due(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    await enqueue(ada, kind, sites=SITES)
    (run,) = await claim(service, kind)
    for site, time in (("indeed", "20 minutes"), ("linkedin", "5 minutes")):
        await pause(database, site, time)
    until = {site: (await start_site(service, run, site))["until"] for site in SITES}
    answer = await finish_run(service, run)
    assert at(answer["run_after"]) == at(until["linkedin"])
    # In the order in which the user named them.
    assert [site["site"] for site in answer["progress"]["details"]["sites"]] == SITES


async def test_a_site_that_was_refused_half_way_is_pending_again(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    await enqueue(ada, kind, sites=["indeed"])
    (run,) = await claim(service, kind)
    await start_site(service, run, "indeed")
    # Counts that progress_interval kept back are told now.
    await save_page(service, **lease(run), **page("indeed", 1, [uuid4().hex for _ in range(3)], cursor=1))
    await pause(database, "indeed", "10 minutes")
    assert not (await start_site(service, run, "indeed"))["granted"]
    answer = await finish_run(service, run)
    assert (answer["jobs_found"], answer["progress_current"]) == (3, 3)
    (site,) = answer["sites"]
    assert (site["status"], site["jobs_found"], site["attempts"], site["started_at"]) == ("pending", 3, 1, None)


async def test_what_failed_is_tried_again_after_what_waited(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    await enqueue(ada, kind, sites=SITES)
    (run,) = await claim(service, kind)
    await pause(database, "linkedin", "10 minutes")
    await complete(service, run, "indeed", **FAILURE)
    await start_site(service, run, "linkedin")
    answer = await finish_run(service, run)
    assert (answer["progress"]["step"], answer["error_code"], answer["attempts"]) == ("waiting", "network", 0)
    await let_go_on(database, run["run_id"])
    (run,) = await claim(service, kind)
    assert [site["site"] for site in run["sites"]] == ["linkedin"]
    await complete(service, run, "linkedin")
    answer = await finish_run(service, run)
    assert (answer["progress"]["step"], answer["attempts"]) == ("retrying", 1)
    assert answer["progress"]["details"] == {"sites": ["indeed"]}
    assert await events(ada, run["run_id"]) == [
        "created", "claimed", "site_started", "site_finished", "deferred", "claimed", "site_started", "site_finished",
        "retried",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("paused_for", "is_waited_for"),
    [("10 minutes", True), ("2 hours", False)],
    ids=["short", "longer than a run waits"],
)
async def test_another_attempt_waits_for_the_end_of_a_pause(
    *,
    ada: AsyncClient,
    service: AsyncClient,
    database: Connection,
    kind: str,
    configure: Configure,
    paused_for: str,
    is_waited_for: bool,
) -> None:
    await configure("retry_delay", "0")
    await enqueue(ada, kind, sites=["indeed"])
    (run,) = await claim(service, kind)
    await complete(service, run, "indeed", **FAILURE)
    await pause(database, "indeed", paused_for)
    answer = await finish_run(service, run)
    assert answer["progress"]["step"] == "retrying"
    assert (at(answer["run_after"]) > at(answer["updated_at"]) + timedelta(minutes=9)) == is_waited_for


async def test_a_site_that_is_not_waited_for_ends(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    await enqueue(ada, kind, sites=["indeed"])
    (run,) = await claim(service, kind)
    await database.execute("insert into worker.site_health (site) values ('indeed')")
    await pause(database, "indeed", "2 hours")
    answer = await start_site(service, run, "indeed")
    assert not answer["granted"]
    assert "until" not in answer
    error = {"error_code": "blocked", "error_message": answer["message"], "retryable": False}
    await finish_site(service, run, site="indeed", **error)
    assert (await finish_run(service, run))["status"] == "failed"
    # It was not asked, and says nothing of itself.
    health = await rows(database, "select last_failure_at, consecutive_failures from worker.site_health", {})
    assert health == [(None, 0)]


async def test_a_site_that_was_waited_for_in_vain_says_nothing_of_itself(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str, configure: Configure
) -> None:
    await configure("max_site_wait", "1 minute")
    await database.execute("delete from worker.site_health where site = 'indeed'")
    for limits, asked in (({"requests": 1, "period_seconds": 3600}, 1), ({"requests": 2}, 3)):
        for _ in range(3):
            await enqueue(ada, kind, search_term=str(uuid4()), sites=["indeed"])
            (run,) = await claim(service, kind)
            assert (await start_site(service, run, "indeed"))["granted"]
            take = lease(run) | {"site": "indeed", "account": None, "bucket": "indeed:slow", "limits": limits}
            refused = await call(service, "worker_take_permit", **take, requests=asked)
            if refused["granted"]:
                refused = await call(service, "worker_take_permit", **take, requests=asked)
            assert refused["error_code"] == "rate_limited"
            failure = {"error_code": "rate_limited", "error_message": refused["message"], "retryable": False}
            await finish_site(service, run, site="indeed", **failure)
            await finish_run(service, run)
    health = "select consecutive_failures, last_error_code from worker.site_health where site = 'indeed'"
    assert await (await database.execute(health)).fetchall() == []


@pytest.mark.parametrize("are_all_empty", [True, False], ids=["empty", "unreadable"])
async def test_a_search_for_what_is_not_there_leaves_its_sites_to_everybody(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    database: Connection,
    kind: str,
    configure: Configure,
    are_all_empty: bool,
) -> None:
    await configure("retry_delay", "0")
    sites = ["bayt", "hellowork"]
    empty = {"error_code": "unverified", "error_message": "no jobs", "retryable": True}
    run = await enqueue(ada, kind, search_term="sdfkjhsdkfjh", sites=sites)
    for attempt in (1, 2, 3):
        await database.execute("update public.search_runs set run_after = now() where id = %s", [run["id"]])
        (claimed,) = await claim(service, kind)
        assert (claimed["run_id"], claimed["attempt"]) == (run["id"], attempt)
        for site in sites:
            assert (await start_site(service, claimed, site))["granted"]
            saved = page(site, 1, [], attempt=attempt)
            if not are_all_empty:
                saved["errors"] = [{"index": None, "type": "transform", "message": "it is no list"}]
            await save_page(service, **lease(claimed), **saved)
            await finish_site(service, claimed, site=site, **empty)
        await finish_run(service, claimed)

    counted = await rows(database, "select consecutive_failures from worker.site_health order by site", {})
    assert counted == [(0 if are_all_empty else 1,)] * 2
    await enqueue(bob, kind, sites=sites)
    (claimed,) = await claim(service, kind)
    assert all([(await start_site(service, claimed, site))["granted"] for site in sites])


async def test_it_leaves_its_users_place_among_the_running_to_others(
    ada: AsyncClient, service: AsyncClient, kind: str, configure: Configure, deferred: Row
) -> None:
    await configure("max_running_per_user", 1)
    other = await enqueue(ada, kind, sites=["indeed"])
    assert [run["run_id"] for run in await claim(service, kind, slots=2)] == [other["id"]]
    assert deferred["run_after"]


async def test_it_counts_as_waiting(ada: AsyncClient, kind: str, configure: Configure, deferred: Row) -> None:
    await configure("max_pending_per_user", 1)
    refused = await refusal(ada, ada.rpc("enqueue_search", {"kind": kind, "parameters": {"search_term": "another"}}))
    assert (refused.status, refused.code) == (429, "PT429")
    assert deferred["status"] == "pending"


@pytest.mark.parametrize("way", ["release", "rescue"])
async def test_a_run_that_was_to_be_put_off_may_be_given_back(
    *, service: AsyncClient, database: Connection, kind: str, run: Row, way: str
) -> None:
    if way == "release":
        await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(run)])
    else:
        await database.execute("update worker.leases set expires_at = '-infinity' where run_id = %s", [run["run_id"]])
    (again,) = await claim(service, kind)
    assert (again["run_id"], again["attempt"]) == (run["run_id"], 1)
    assert await waits(database, run["run_id"]) == 1, "it keeps its place among those that wait"


# Shared ---------------------------------------------------------------------------------------------------------


async def test_followers_see_what_their_leader_waits_for(
    *, ada: AsyncClient, bob: AsyncClient, service: AsyncClient, database: Connection, kind: str, term: str, run: Row
) -> None:
    follower = await enqueue(bob, kind, search_term=term, sites=SITES)
    assert follower["leader_run_id"] == run["run_id"]
    answer = await finish_run(service, run)
    late = await enqueue(bob, kind, search_term=term, sites=SITES)
    assert late["leader_run_id"] == run["run_id"]
    for waiting in (await run_of(bob, follower["id"]), await run_of(bob, late["id"])):
        assert (waiting["status"], waiting["leader_run_id"]) == ("pending", run["run_id"])
        same = ("progress", "progress_current", "jobs_found")
        assert {name: waiting[name] for name in same} == {name: answer[name] for name in same}
    assert (await site_of(bob, run["run_id"], "linkedin"))["progress"]["step"] == "waiting"

    await let_go_on(database, run["run_id"])
    (again,) = await claim(service, kind, slots=5)
    assert again["run_id"] == run["run_id"]
    await complete(service, again, "linkedin")
    await finish_run(service, again)
    for answered in (await run_of(bob, follower["id"]), await run_of(bob, late["id"])):
        assert (answered["status"], answered["shared_run_id"], answered["jobs_found"]) == ("success", run["run_id"], 2)
    assert (await run_of(ada, run["run_id"]))["progress"] == {"step": "finished"}


async def test_of_short_waits_followers_are_told_once_a_minute(
    *, bob: AsyncClient, service: AsyncClient, database: Connection, kind: str, term: str, run: Row
) -> None:
    follower = await enqueue(bob, kind, search_term=term, sites=SITES)

    async def told_after(wait: str) -> bool:
        """Put the run off for so long; return whether the follower was told until when."""
        nonlocal run
        await pause(database, "linkedin", wait)
        answer = await start_site(service, run, "linkedin")
        await finish_run(service, run)
        told = await run_of(bob, follower["id"])
        await let_go_on(database, run["run_id"])
        (run,) = await claim(service, kind)
        assert (await run_of(bob, follower["id"]))["status"] == "running"
        if told["status"] == "running":
            return False
        (site,) = told["progress"]["details"]["sites"]
        assert (told["status"], site["until"]) == ("pending", answer["until"])
        return True

    assert [await told_after(wait) for wait in ("30 seconds", "31 seconds", "2 minutes")] == [True, False, True]
    await database.execute(
        "update public.run_events set created_at = created_at - interval '1 minute' where run_id = %s", [run["run_id"]]
    )
    assert await told_after("32 seconds")


async def test_a_cancelled_one_waits_for_nothing_and_its_follower_goes_on(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    database: Connection,
    kind: str,
    term: str,
    deferred: Row,
) -> None:
    follower = await enqueue(bob, kind, search_term=term, sites=SITES)
    assert follower["leader_run_id"] == deferred["id"]
    cancelled = await call(ada, "cancel_search", run_id=deferred["id"])
    assert (cancelled["status"], cancelled["run_after"], cancelled["progress"]) == (
        "cancelled", None, {"step": "cancelled"}
    )  # fmt: skip
    skipped = await site_of(ada, deferred["id"], "linkedin")
    assert (skipped["status"], skipped["progress"]) == ("skipped", {"step": "cancelled"})
    assert await waits(database, deferred["id"]) == 0
    (claimed,) = await claim(service, kind)
    heir = await run_of(bob, follower["id"])
    assert (heir["leader_run_id"], heir["run_after"]) == (None, None)
    assert (claimed["run_id"], [site["site"] for site in claimed["sites"]]) == (follower["id"], ["linkedin"])
    assert not (await start_site(service, claimed, "linkedin"))["granted"]
    assert (await finish_run(service, claimed))["progress"]["step"] == "waiting"


async def test_the_followers_go_on_when_the_account_of_its_owner_is_deleted(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    database: Connection,
    kind: str,
    term: str,
    deferred: Row,
) -> None:
    follower = await enqueue(bob, kind, search_term=term, sites=SITES)
    await database.execute(DELETE_ACCOUNT, {"user_id": await user_id(ada)})
    assert await waits(database, deferred["id"]) == 0
    await pause(database, "linkedin", None)
    (claimed,) = await claim(service, kind)
    assert (claimed["run_id"], [site["site"] for site in claimed["sites"]]) == (follower["id"], ["linkedin"])
    await complete(service, claimed, "linkedin")
    finished = await finish_run(service, claimed)
    assert (finished["status"], finished["jobs_found"]) == ("success", 2)


async def test_one_that_was_asked_for_at_a_time_to_come_leads_nobody_before(
    ada: AsyncClient, bob: AsyncClient, service: AsyncClient, kind: str, term: str
) -> None:
    row = {"kind": kind, "parameters": {"search_term": term}, "user_id": await user_id(ada), "run_after": "2100-01-01"}
    await service.table("search_runs").insert(row).execute()
    assert (await enqueue(bob, kind, search_term=term))["leader_run_id"] is None


# At the same moment ---------------------------------------------------------------------------------------------


async def test_a_cancellation_that_waited_for_a_deferral_ends_the_run(
    *, ada: AsyncClient, database: Connection, as_ada: Connection, as_worker: Connection, run: Row
) -> None:
    await as_worker.execute("begin")
    assert await rows(as_worker, FINISH, lease(run)) == [("pending",)]
    assert await answer_after(as_worker, database, as_ada, CANCEL, {"id": run["run_id"]}) == [("cancelled",)]
    assert await waits(database, run["run_id"]) == 0
    assert (await run_of(ada, run["run_id"]))["run_after"] is None


async def test_a_deferral_that_waited_for_a_cancellation_is_refused(
    *, ada: AsyncClient, database: Connection, as_ada: Connection, as_worker: Connection, run: Row
) -> None:
    await as_ada.execute("begin")
    assert await rows(as_ada, CANCEL, {"id": run["run_id"]}) == [("cancelled",)]
    assert await answer_after(as_ada, database, as_worker, FINISH, lease(run)) == [("cancelled",)]
    assert (await run_of(ada, run["run_id"]))["status"] == "cancelled"


async def test_an_insert_that_waited_for_a_deferral_follows_the_run(
    *, database: Connection, as_bob: Connection, as_worker: Connection, bob: AsyncClient, kind: str, term: str, run: Row
) -> None:
    await as_worker.execute("begin")
    await as_worker.execute(FINISH, lease(run))
    ((follower, status, leader, _),) = await answer_after(
        as_worker, database, as_bob, INSERT, {"kind": kind, "term": term}
    )
    assert (status, leader) == ("pending", run["run_id"])
    assert (await run_of(bob, follower))["progress"]["step"] == "waiting"


async def test_a_deferral_waits_for_no_insert_and_the_next_claim_tells_the_follower(
    *, as_bob: Connection, as_worker: Connection, bob: AsyncClient, kind: str, term: str, run: Row
) -> None:
    await as_bob.execute("begin")
    ((follower, _, leader, _),) = await rows(as_bob, INSERT, {"kind": kind, "term": term})
    assert leader == run["run_id"]
    async with asyncio.timeout(10):
        assert await rows(as_worker, FINISH, lease(run)) == [("pending",)]
    await as_bob.execute("commit")
    assert await rows(as_worker, CLAIM, {"kind": kind}) == []
    assert (await run_of(bob, follower))["progress"]["step"] == "waiting"


async def test_a_deferral_passes_over_a_follower_that_is_being_cancelled(
    *, as_bob: Connection, as_worker: Connection, bob: AsyncClient, kind: str, term: str, run: Row
) -> None:
    follower = await enqueue(bob, kind, search_term=term, sites=SITES)
    await as_bob.execute("begin")
    await as_bob.execute(CANCEL, {"id": follower["id"]})
    async with asyncio.timeout(10):
        assert await rows(as_worker, FINISH, lease(run)) == [("pending",)]
    await as_bob.execute("commit")
    assert (await run_of(bob, follower["id"]))["status"] == "cancelled"


async def test_a_heartbeat_that_waited_for_a_deferral_says_that_the_attempt_has_ended(
    database: Connection, connect_database: Connect, as_worker: Connection, run: Row
) -> None:
    beating = await connect_database()
    await as_worker.execute("begin")
    await as_worker.execute(FINISH, lease(run))
    leases = {"leases": Jsonb([lease(run)])}
    assert await answer_after(as_worker, database, beating, HEARTBEAT, leases) == [("finished",)]


async def test_a_run_is_put_off_that_waited_for_its_heartbeat(
    database: Connection, connect_database: Connect, as_worker: Connection, run: Row
) -> None:
    beating = await connect_database()
    await beating.execute("begin")
    assert await rows(beating, HEARTBEAT, {"leases": Jsonb([lease(run)])}) == [("held",)]
    assert await answer_after(beating, database, as_worker, FINISH, lease(run)) == [("pending",)]


async def test_a_rescue_passes_over_a_run_that_is_being_put_off(
    *, ada: AsyncClient, database: Connection, connect_database: Connect, as_worker: Connection, kind: str, run: Row
) -> None:
    await database.execute("update worker.leases set expires_at = '-infinity' where run_id = %s", [run["run_id"]])
    rescuing = await connect_database()
    await as_worker.execute("begin")
    await as_worker.execute(FINISH, lease(run))
    assert await rows(rescuing, CLAIM, {"kind": kind}) == []
    await as_worker.execute("commit")
    assert ((await run_of(ada, run["run_id"]))["rescues"], await events(ada, run["run_id"])) == (
        0, ["created", "claimed", "site_started", "site_finished", "deferred"]
    )  # fmt: skip


async def test_a_deferral_that_waited_for_the_rescue_of_its_run_is_refused(
    database: Connection, connect_database: Connect, as_worker: Connection, kind: str, run: Row
) -> None:
    await database.execute("update worker.leases set expires_at = '-infinity' where run_id = %s", [run["run_id"]])
    rescuing = await connect_database()
    await rescuing.execute("begin")
    assert len(await rows(rescuing, CLAIM, {"kind": kind})) == 1
    assert await answer_after(rescuing, database, as_worker, FINISH, lease(run)) == [("lease_lost",)]


async def test_the_same_deferral_twice_at_once_answers_the_same(
    ada: AsyncClient, database: Connection, connect_database: Connect, as_worker: Connection, run: Row
) -> None:
    second = await connect_database()
    await as_worker.execute("begin")
    assert await rows(as_worker, FINISH, lease(run)) == [("pending",)]
    assert await answer_after(as_worker, database, second, FINISH, lease(run)) == [("pending",)]
    assert (await events(ada, run["run_id"])).count("deferred") == 1


async def test_a_promotion_passes_over_a_deferred_run_that_is_being_cancelled(
    *, ada: AsyncClient, database: Connection, as_ada: Connection, as_worker: Connection, kind: str, deferred: Row
) -> None:
    await let_go_on(database, deferred["id"])
    await as_ada.execute("begin")
    await as_ada.execute(CANCEL, {"id": deferred["id"]})
    async with asyncio.timeout(10):
        assert await rows(as_worker, CLAIM, {"kind": kind}) == []
    await as_ada.execute("commit")
    assert (await run_of(ada, deferred["id"]))["status"] == "cancelled"


async def test_a_cancellation_that_waited_for_the_promotion_of_a_deferred_run_ends_it(
    *, database: Connection, as_ada: Connection, as_worker: Connection, kind: str, deferred: Row
) -> None:
    await let_go_on(database, deferred["id"])
    await as_worker.execute("begin")
    assert len(await rows(as_worker, CLAIM, {"kind": kind})) == 1
    cancelling = asyncio.create_task(as_ada.execute(CANCEL, {"id": deferred["id"]}))
    await wait_until_blocked(database, as_worker)
    await as_worker.execute("commit")
    assert await (await cancelling).fetchall() == [("cancelled",)]
    leases = await database.execute("select from worker.leases where run_id = %s", [deferred["id"]])
    assert leases.rowcount == 0
