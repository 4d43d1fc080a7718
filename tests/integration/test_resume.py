"""A site that is searched again goes on after its last saved page, however its search had ended."""

from __future__ import annotations

import random
from typing import Any
from uuid import uuid4

import pytest
from supabase import AsyncClient

from tests.support.database import Configure, Connection, pause
from tests.support.queue import (
    Row,
    call,
    claim,
    enqueue,
    finish_run,
    finish_site,
    lease,
    page,
    save_page,
    start_site,
    user_id,
)
from tests.support.stack import SignIn

FROM_THE_BEGINNING = {"cursor": None, "next_page": 1, "is_fetched": False}

WAYS_TO_STOP = ["rescue", "release", "retry", "deferral"]


@pytest.fixture
async def run(ada: AsyncClient, service: AsyncClient, kind: str) -> Row:
    """A claimed run of one site, which is being searched."""
    await enqueue(ada, kind, sites=["indeed"])
    (run,) = await claim(service, kind)
    await start_site(service, run, "indeed")
    return run


def given(run: Row, site: str = "indeed") -> Row:
    """A site of a claimed run, as the worker gets it."""
    (found,) = [found for found in run["sites"] if found["site"] == site]
    return dict(found)


def resumption(run: Row, site: str = "indeed") -> Row:
    return {name: given(run, site)[name] for name in FROM_THE_BEGINNING}


async def save(service: AsyncClient, run: Row, number: int, site: str = "indeed", **told: Any) -> Row:
    """Save a page with one result, by default with a cursor; return the answer without its pace."""
    searched = given(run, site)
    fetched = {"attempt": searched["attempt"], "account": searched["account"], "cursor": {"after": number}}
    found = page(site, number, [uuid4().hex], **fetched | told)
    saved: Row = await save_page(service, **lease(run), **found)
    return {name: value for name, value in saved.items() if name != "shown_in_seconds"}


async def stop(service: AsyncClient, database: Connection, run: Row, way: str) -> None:
    """End the search of a run's one site before its time, so that the run can be claimed again."""
    if way == "rescue":
        await database.execute(
            "update worker.leases set expires_at = now() - interval '1 s' where run_id = %s", [run["run_id"]]
        )
    elif way == "release":
        await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(run)])
    else:
        if way == "retry":
            failure = {"error_code": "network", "error_message": "reset", "retryable": True}
            await finish_site(service, run, site="indeed", **failure)
        else:
            await pause(database, "indeed", "10 minutes")
            assert not (await start_site(service, run, "indeed"))["granted"]
            await pause(database, "indeed", None)
        assert (await finish_run(service, run))["status"] == "pending"
        await make_due(database, run)


async def make_due(database: Connection, run: Row) -> None:
    await database.execute("update public.search_runs set run_after = now() where id = %s", [run["run_id"]])


async def pages(database: Connection, run: Row) -> list[Any]:
    answer = await database.execute(
        "select site, attempt, page_number from worker.raw_collections where run_id = %s order by id", [run["run_id"]]
    )
    return await answer.fetchall()


@pytest.mark.parametrize("way", WAYS_TO_STOP)
async def test_a_search_goes_on_after_its_last_saved_page(
    *, ada: AsyncClient, service: AsyncClient, database: Connection, kind: str, run: Row, way: str
) -> None:
    assert given(run) == {
        "site": "indeed", "attempt": 1, "is_started": False, "exit": None, "account": None, **FROM_THE_BEGINNING
    }  # fmt: skip
    for number in (1, 2):
        await save(service, run, number)
    await stop(service, database, run, way)

    (again,) = await claim(service, kind, worker_id="worker-2")
    assert given(again) == {
        "site": "indeed", "attempt": 2, "is_started": False, "exit": None, "account": None,
        "cursor": {"after": 2}, "next_page": 3,
        "is_fetched": False,
    }  # fmt: skip
    await start_site(service, again, "indeed")
    await save(service, again, 3, is_last=True)
    await finish_site(service, again, site="indeed")
    finished = await finish_run(service, again)
    assert (finished["status"], finished["jobs_found"]) == ("success", 3)
    assert await pages(database, run) == [("indeed", 1, 1), ("indeed", 1, 2), ("indeed", 2, 3)]
    shown = ada.table("run_items").select("page_number").eq("run_id", run["run_id"]).order("page_number")
    assert (await shown.execute()).data == [{"page_number": number} for number in (1, 2, 3)]


@pytest.mark.parametrize("way", ["rescue", "release", "retry"])
async def test_a_site_whose_last_page_is_there_is_not_asked_again(
    service: AsyncClient, database: Connection, kind: str, run: Row, way: str
) -> None:
    for number in (1, 2):
        await save(service, run, number, is_last=number == 2)
    await stop(service, database, run, way)
    (again,) = await claim(service, kind)
    assert resumption(again) == {"cursor": None, "next_page": 3, "is_fetched": True}

    # Not even if it were paused: and what ends then tells nothing of the site.
    await pause(database, "indeed", "10 minutes")
    assert (await start_site(service, again, "indeed"))["granted"]
    await finish_site(service, again, site="indeed")
    finished = await finish_run(service, again)
    assert (finished["status"], finished["jobs_found"]) == ("success", 2)
    paused = await database.execute("select from worker.site_health where site = 'indeed' and paused_until > now()")
    assert paused.rowcount == 1


async def test_the_same_claim_again_tells_the_same(service: AsyncClient, kind: str, run: Row) -> None:
    await save(service, run, 1)
    await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(run)])
    claim_id = str(uuid4())
    first = await claim(service, kind, claim_id=claim_id)
    assert await claim(service, kind, claim_id=claim_id) == first
    assert resumption(first[0])["next_page"] == 2


# From the beginning ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", ["no cursor", "unreadable", "gap", "other account"])
async def test_it_begins_anew_where_it_cannot_go_on(
    *, ada: AsyncClient, service: AsyncClient, kind: str, run: Row, problem: str
) -> None:
    await save(service, run, 1)
    if problem == "unreadable":
        error = {"index": None, "type": "InvalidItemError", "message": "no listing", "field": None, "raw": None}
        bad = page("indeed", 2, [], cursor={"after": 2}) | {"errors": [error]}
        assert (await save_page(service, **lease(run), **bad))["status"] == "failed"
    if problem != "gap":
        await save(
            service, run, 3 if problem == "unreadable" else 2, cursor=None if problem == "no cursor" else {"a": 1}
        )
    else:
        # The page between was refused, say.
        await save(service, run, 3)
    await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(run)])
    if problem == "other account":
        owner = await user_id(ada)
        await call(service, "worker_set_account", user_id=owner, site="indeed", account="another")
    (again,) = await claim(service, kind)
    assert resumption(again) == FROM_THE_BEGINNING
    assert given(again)["attempt"] == 2

    # And from there on it goes on again: what was wrong with the first search is not wrong with this one.
    await start_site(service, again, "indeed")
    assert (await save(service, again, 1))["results"] == 1
    await save(service, again, 2)
    await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(again)])
    (third,) = await claim(service, kind)
    assert resumption(third) == {"cursor": {"after": 2}, "next_page": 3, "is_fetched": False}
    await start_site(service, third, "indeed")
    await save(service, third, 3, is_last=True)
    await finish_site(service, third, site="indeed")
    assert (await finish_run(service, third))["status"] == "success"


async def test_an_unreadable_page_makes_the_site_unverified_whichever_attempt_fetched_it(
    service: AsyncClient, database: Connection, kind: str, run: Row
) -> None:
    await save(service, run, 1)
    await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(run)])
    (again,) = await claim(service, kind)
    await start_site(service, again, "indeed")
    await save(service, again, 2, is_last=True)
    # Read anew in the meantime, by a version that cannot.
    await database.execute(
        "update worker.raw_collections set status = 'failed' where run_id = %s and page_number = 1", [run["run_id"]]
    )
    await finish_site(service, again, site="indeed")
    site = (await finish_run(service, again))["sites"][0]
    assert (site["error_code"], site["status"]) == ("unverified", "pending")
    assert site["error_message"].startswith("Indeed gave no answer that could be read completely; ")
    await make_due(database, run)
    (third,) = await claim(service, kind)
    assert resumption(third) == FROM_THE_BEGINNING


async def test_a_page_that_is_being_read_anew_is_not_fetched_again(service: AsyncClient, kind: str, run: Row) -> None:
    await save(service, run, 1)
    await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(run)])
    await call(service, "worker_reprocess", source="test")
    (again,) = await claim(service, kind)
    assert resumption(again)["next_page"] == 2


async def test_pages_that_waited_on_a_disk_count_when_they_come(service: AsyncClient, kind: str, run: Row) -> None:
    await save(service, run, 1)
    await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(run)])
    (again,) = await claim(service, kind)
    assert resumption(again)["next_page"] == 2
    await start_site(service, again, "indeed")
    for number in (2, 3):
        await save(service, again, number, attempt=1)
    await save(service, again, 2, attempt=2)
    await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(again)])
    (third,) = await claim(service, kind)
    assert resumption(third) == {"cursor": {"after": 3}, "next_page": 4, "is_fetched": False}


async def test_a_page_of_an_earlier_attempt_answers_where_the_next_search_starts(
    service: AsyncClient, kind: str, run: Row
) -> None:
    assert "pending_site" not in await save(service, run, 1), "the search is under way"
    await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(run)])
    (again,) = await claim(service, kind)
    following = given(again)
    assert following["next_page"] == 2

    # Saved in any order: after a gap the search begins with the first page, and without the gap after the last one.
    assert (await save(service, again, 3, attempt=1))["pending_site"] == following | FROM_THE_BEGINNING
    second = await save(service, again, 2, attempt=1)
    assert second["pending_site"] == following | {"cursor": {"after": 3}, "next_page": 4}
    assert await save(service, again, 2, attempt=1) == second
    last = await save(service, again, 4, attempt=1, is_last=True)
    assert last["pending_site"] == following | {"cursor": None, "next_page": 5, "is_fetched": True}

    await start_site(service, again, "indeed")
    assert "pending_site" not in await save(service, again, 2, attempt=1)
    await finish_site(service, again, site="indeed")
    assert "pending_site" not in await save(service, again, 2, attempt=1)


async def test_an_account_that_changes_after_the_claim_is_in_the_answer_with_its_cursor(
    ada: AsyncClient, service: AsyncClient, kind: str
) -> None:
    await enqueue(ada, kind, sites=["indeed"])
    (run,) = await claim(service, kind)
    await start_site(service, run, "indeed")
    await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(run)])
    (again,) = await claim(service, kind)
    await call(service, "worker_set_account", user_id=await user_id(ada), site="indeed", account="latter")
    without = await save(service, again, 1, attempt=1)
    assert without["pending_site"] == given(again) | FROM_THE_BEGINNING | {"account": "latter"}
    with_it = await save(service, again, 2, attempt=1, account="latter")
    assert with_it["pending_site"] == given(again) | {"account": "latter", "cursor": {"after": 2}, "next_page": 3}


async def test_pages_that_waited_on_a_disk_are_of_the_account_that_they_came_through(
    ada: AsyncClient, service: AsyncClient, kind: str
) -> None:
    await call(service, "worker_set_account", user_id=await user_id(ada), site="indeed", account="former")
    await enqueue(ada, kind, sites=["indeed"])
    (run,) = await claim(service, kind)
    await start_site(service, run, "indeed")
    await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(run)])
    await call(service, "worker_set_account", user_id=await user_id(ada), site="indeed", account="latter")
    (again,) = await claim(service, kind)
    await save(service, again, 1, attempt=1, account="former")
    await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(again)])
    (third,) = await claim(service, kind)
    assert resumption(third) == FROM_THE_BEGINNING


@pytest.mark.parametrize("seed", range(5))
async def test_however_often_it_is_stopped_each_page_is_fetched_once_and_progress_never_goes_back(
    *, ada: AsyncClient, service: AsyncClient, database: Connection, kind: str, configure: Configure, seed: int
) -> None:
    chance = random.Random(seed)
    await configure("max_rescues", 100)
    await configure("progress_interval", "0")
    await database.execute(
        "update worker.parameter_rules set maximum = 2500 where (kind, name) = (%s, 'results_wanted')", [kind]
    )
    row = await enqueue(ada, kind, sites=["indeed"], results_wanted=2500)
    progress, finished = [0], None
    while finished is None:
        (run,) = await claim(service, kind)
        await start_site(service, run, "indeed")
        site = given(run)
        assert site["cursor"] == (None if site["next_page"] == 1 else {"after": site["next_page"] - 1})
        for number in range(site["next_page"], 26):
            if chance.random() < 0.3:
                await stop(service, database, run, chance.choice(["rescue", "release", "deferral"]))
                break
            found = page("indeed", number, [uuid4().hex for _ in range(4)], attempt=site["attempt"],
                         cursor={"after": number}, is_last=number == 25)  # fmt: skip
            await save_page(service, **lease(run), **found)
        else:
            await finish_site(service, run, site="indeed")
            finished = await finish_run(service, run)
        seen: Any = (await ada.table("search_runs").select("progress_current").eq("id", row["id"]).execute()).data
        progress.append(seen[0]["progress_current"])
    assert (finished["status"], finished["jobs_found"], finished["attempts"]) == ("success", 100, 1)
    assert [number for _, _, number in await pages(database, run)] == list(range(1, 26))
    assert progress == sorted(progress)
    assert len(progress) > 2, "it was stopped at least once"


# Heirs ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def heir(sign_in: SignIn, ada: AsyncClient, service: AsyncClient, kind: str) -> tuple[Row, Row, AsyncClient]:
    """A claimed run of two sites with pages, the run that follows it, and the follower's owner."""
    bob, term = await sign_in(), str(uuid4())
    await enqueue(ada, kind, search_term=term, sites=["indeed", "linkedin"])
    follower = await enqueue(bob, kind, search_term=term, sites=["indeed", "linkedin"])
    (run,) = await claim(service, kind)
    for site in ("indeed", "linkedin"):
        await start_site(service, run, site)
        for number in (1, 2):
            await save(service, run, number, site)
    await finish_site(service, run, site="linkedin")
    return run, follower, bob


@pytest.mark.parametrize("end", ["cancel", "delete", "delete the account"])
async def test_an_heir_goes_on_within_a_site(
    *,
    ada: AsyncClient,
    service: AsyncClient,
    database: Connection,
    kind: str,
    heir: tuple[Row, Row, AsyncClient],
    end: str,
) -> None:
    former, follower, bob = heir
    if end == "cancel":
        await call(ada, "cancel_search", run_id=former["run_id"])
    elif end == "delete":
        await service.table("search_runs").delete().eq("id", former["run_id"]).execute()
    else:
        await database.execute("delete from auth.users where id = %s", [await user_id(ada)])

    (run,) = await claim(service, kind)
    assert run["run_id"] == follower["id"]
    assert given(run) == {
        "site": "indeed", "attempt": 2, "is_started": False, "exit": None, "account": None,
        "cursor": {"after": 2}, "next_page": 3,
        "is_fetched": False,
    }  # fmt: skip
    await start_site(service, run, "indeed")
    await save(service, run, 3, is_last=True)
    await finish_site(service, run, site="indeed")
    finished = await finish_run(service, run)
    assert (finished["status"], finished["jobs_found"]) == ("success", 5)
    assert len((await bob.table("run_items").select("item_id").eq("run_id", run["run_id"]).execute()).data) == 5
    assert sorted(await pages(database, run)) == [
        ("indeed", 1, 1), ("indeed", 1, 2), ("indeed", 2, 3), ("linkedin", 1, 1), ("linkedin", 1, 2)
    ]  # fmt: skip


async def test_an_heir_that_begins_anew_has_its_own_pages(
    ada: AsyncClient, service: AsyncClient, kind: str, heir: tuple[Row, Row, AsyncClient]
) -> None:
    former, follower, _ = heir
    await save(service, former, 3, cursor=None)
    await call(ada, "cancel_search", run_id=former["run_id"])
    (run,) = await claim(service, kind)
    assert (run["run_id"], resumption(run)) == (follower["id"], FROM_THE_BEGINNING)
    await start_site(service, run, "indeed")
    # The former run's page 1 does not swallow it.
    assert (await save(service, run, 1))["results"] == 1


async def test_who_wants_more_than_a_search_with_pages_asks_for_has_one_of_his_own(
    ada: AsyncClient, service: AsyncClient, database: Connection, kind: str, run: Row
) -> None:
    await save(service, run, 1)
    await call(service, "worker_release_runs", worker_id="worker-1", leases=[lease(run)])
    await database.execute("update public.search_runs set newer_than = now() where id = %s", [run["run_id"]])
    term = run["parameters"]["search_term"]
    assert (await enqueue(ada, kind, search_term=term, sites=["indeed"]))["leader_run_id"] is None
