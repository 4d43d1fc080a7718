"""What a signed-in user does with his runs besides starting them, and how the API says that it is too much."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
from postgrest.exceptions import APIError
from supabase import AsyncClient

from tests.support.database import Configure, Connection, rows
from tests.support.queue import (
    Query,
    Refusal,
    Row,
    call,
    claim,
    enqueue,
    lease,
    new_runs,
    page,
    refusal,
    run_of,
    save_page,
    search,
    start_search,
    user_id,
)
from tests.support.stack import SignIn

NOT_YOURS = Refusal(404, "PT404", "run_id must be the id of one of your runs")
Ask: TypeAlias = Callable[[AsyncClient, str, str], Query]


# Quotas ---------------------------------------------------------------------------------------------------------

WAYS: dict[str, Ask] = {
    "insert": lambda client, kind, _: client.table("search_runs").insert(new_run(kind)),
    "enqueue_search": lambda client, kind, _: client.rpc("enqueue_search", new_run(kind)),
    "rerun_search": lambda client, _, run_id: client.rpc("rerun_search", {"run_id": run_id}),
}


def new_run(kind: str) -> Row:
    (run,) = new_runs(kind, 1)
    return run


@pytest.mark.parametrize("way", WAYS)
async def test_too_many_runs_answer_429_with_the_limit_and_the_time_to_wait(
    ada: AsyncClient, kind: str, configure: Configure, way: str
) -> None:
    await configure("max_pending_per_user", 2)
    run = await enqueue(ada, kind)
    await enqueue(ada, kind)
    message = "at most 2 searches of a user may be waiting: try again in 600 s"
    assert await refusal(ada, WAYS[way](ada, kind, run["id"])) == Refusal(429, "PT429", message)
    with pytest.raises(APIError) as refused:
        await WAYS[way](ada, kind, run["id"]).execute()
    assert json.loads(refused.value.details or "") == {
        "quota": "max_pending_per_user",
        "limit": 2,
        "retry_after_seconds": 600,
    }
    await call(ada, "cancel_search", run_id=run["id"])
    assert (await WAYS[way](ada, kind, run["id"]).execute()).data


async def test_the_quota_of_an_hour_holds_for_runs_that_ended(
    ada: AsyncClient, kind: str, configure: Configure
) -> None:
    await configure("max_per_hour_per_user", 2)
    for _ in range(2):
        await call(ada, "cancel_search", run_id=(await enqueue(ada, kind))["id"])
    refused = await refusal(ada, ada.table("search_runs").insert(new_run(kind)))
    assert (refused.status, refused.code) == (429, "PT429")
    assert (refused.message or "").startswith("at most 2 searches of a user may be started in an hour: try again in ")


async def test_an_insert_beyond_the_quota_leaves_no_row(ada: AsyncClient, kind: str, configure: Configure) -> None:
    await configure("max_pending_per_user", 2)
    refused = await refusal(ada, ada.table("search_runs").insert(new_runs(kind, 3)))
    assert refused.status == 429
    assert (await ada.table("search_runs").select("id").execute()).data == []


async def test_the_same_idempotency_key_returns_its_run_at_the_limit(
    ada: AsyncClient, kind: str, configure: Configure
) -> None:
    await configure("max_pending_per_user", 1)
    once = new_run(kind) | {"idempotency_key": "once"}
    run = await call(ada, "enqueue_search", **once)
    assert await call(ada, "enqueue_search", **once) == run
    assert (await refusal(ada, ada.rpc("enqueue_search", once | {"idempotency_key": "twice"}))).status == 429


async def test_a_schedule_is_no_users_quota(
    ada: AsyncClient, service: AsyncClient, kind: str, configure: Configure
) -> None:
    await configure("max_pending_per_user", 1)
    owner = await user_id(ada)
    scheduled = [run | {"user_id": owner, "source": "cron"} for run in new_runs(kind, 4)]
    await service.table("search_runs").insert(scheduled[:3]).execute()
    assert (await enqueue(ada, kind))["status"] == "pending"
    refused = await refusal(service, service.table("search_runs").insert(scheduled[3] | {"source": "api"}))
    assert refused.status == 429


# Cancel ---------------------------------------------------------------------------------------------------------


async def test_a_user_cancels_a_pending_run(ada: AsyncClient, service: AsyncClient, kind: str) -> None:
    run = await enqueue(ada, kind, sites=["indeed"])
    cancelled = await call(ada, "cancel_search", run_id=run["id"])
    assert (cancelled["id"], cancelled["status"]) == (run["id"], "cancelled")
    assert cancelled == await run_of(ada, run["id"])
    assert await claim(service, kind) == []
    assert await call(ada, "cancel_search", run_id=run["id"]) == cancelled


async def test_a_user_cancels_a_running_run_and_keeps_what_it_found(
    ada: AsyncClient, service: AsyncClient, kind: str
) -> None:
    run = await enqueue(ada, kind, sites=["indeed", "linkedin"])
    (claimed,) = await claim(service, kind)
    await start_search(service, claimed, "indeed")
    await save_page(service, **lease(claimed), **page("indeed", 1, [uuid4().hex, uuid4().hex]))
    cancelled = await call(ada, "cancel_search", run_id=run["id"])
    assert (cancelled["status"], cancelled["jobs_found"]) == ("cancelled", 2)
    sites = ada.table("search_run_sites").select("site, status, jobs_found").eq("run_id", run["id"]).order("site")
    assert (await sites.execute()).data == [
        {"site": "indeed", "status": "skipped", "jobs_found": 2},
        {"site": "linkedin", "status": "skipped", "jobs_found": 0},
    ]
    found = await ada.table("run_items").select("title").eq("run_id", run["id"]).execute()
    assert len(found.data) == 2
    late = lease(claimed) | page("indeed", 2, [uuid4().hex])
    assert await call(service, "worker_save_pages", pages=[late]) == [{"state": "cancelled"}]


async def test_a_finished_run_is_not_cancelled(ada: AsyncClient, service: AsyncClient, kind: str) -> None:
    run = await enqueue(ada, kind, sites=["indeed"])
    (claimed,) = await claim(service, kind)
    await search(service, claimed, {"indeed": [[uuid4().hex]]})
    finished = await run_of(ada, run["id"])
    assert await call(ada, "cancel_search", run_id=run["id"]) == finished
    assert (finished["status"], finished["cancel_requested_at"]) == ("success", None)


@pytest.mark.parametrize("function", ["cancel_search", "rerun_search"])
async def test_another_users_run_is_as_one_that_there_is_not(
    ada: AsyncClient, sign_in: SignIn, anon: AsyncClient, kind: str, function: str
) -> None:
    run = await enqueue(ada, kind)
    other = await sign_in()
    assert await refusal(other, other.rpc(function, {"run_id": run["id"]})) == NOT_YOURS
    assert await refusal(other, other.rpc(function, {"run_id": str(uuid4())})) == NOT_YOURS
    refused = await refusal(anon, anon.rpc(function, {"run_id": run["id"]}))
    assert (refused.status, refused.code) == (401, "42501")
    assert await run_of(ada, run["id"]) == run
    assert (await other.table("search_runs").select("id").execute()).data == []


# Once more ------------------------------------------------------------------------------------------------------


async def test_a_search_is_run_once_more_as_a_new_run(ada: AsyncClient, service: AsyncClient, kind: str) -> None:
    asked = new_run(kind) | {"client_context": {"tab": 1}, "workspace_id": str(uuid4()), "idempotency_key": "once"}
    (former,) = (await ada.table("search_runs").insert(asked).execute()).data
    assert isinstance(former, dict)
    await call(ada, "cancel_search", run_id=former["id"])
    again = await call(ada, "rerun_search", run_id=former["id"])
    assert again["id"] != former["id"]
    assert (again["status"], again["attempts"], again["idempotency_key"]) == ("pending", 0, None)
    same = ("user_id", "workspace_id", "kind", "parameters", "client_context", "fingerprint", "priority", "source")
    assert {name: again[name] for name in same} == {name: former[name] for name in same}
    assert [run["run_id"] for run in await claim(service, kind, slots=2)] == [again["id"]]


async def test_a_user_deletes_a_finished_run_and_not_an_active_one(
    *, ada: AsyncClient, bob: AsyncClient, service: AsyncClient, database: Connection, kind: str
) -> None:
    term = str(uuid4())
    run = await enqueue(ada, kind, search_term=term, sites=["indeed"])
    active = Refusal(409, "PT409", "This search has not ended. Cancel it before you delete it.")
    assert await refusal(ada, ada.rpc("delete_search", {"run_id": run["id"]})) == active
    # A row that the policy keeps is as one that there is not.
    assert (await ada.table("search_runs").delete().eq("id", run["id"]).execute()).data == []
    (claimed,) = await claim(service, kind)
    await search(service, claimed, {"indeed": [[uuid4().hex]]})
    shared = await enqueue(bob, kind, search_term=term, sites=["indeed"])
    assert shared["shared_run_id"] == run["id"]

    assert (await call(ada, "delete_search", run_id=run["id"]))["id"] == run["id"]
    assert await refusal(ada, ada.rpc("delete_search", {"run_id": run["id"]})) == NOT_YOURS
    assert await rows(database, "select from public.search_runs where id = %s", [run["id"]]) == []
    # Who shares it keeps it.
    kept: Any = (await bob.table("run_items").select("item_id").eq("run_id", shared["id"]).execute()).data
    assert len(kept) == 1


async def test_a_deletion_gives_no_more_runs(ada: AsyncClient, kind: str, configure: Configure) -> None:
    await configure("max_per_hour_per_user", 1)
    run = await enqueue(ada, kind)
    await call(ada, "cancel_search", run_id=run["id"])
    await call(ada, "delete_search", run_id=run["id"])
    query = ada.rpc("enqueue_search", {"kind": kind, "parameters": {"search_term": "x"}})
    assert (await refusal(ada, query)).status == 429


async def test_a_run_of_a_saved_search_that_is_run_once_more_stays_one(
    ada: AsyncClient, database: Connection, kind: str
) -> None:
    saved = {"name": "mine", "kind": kind, "parameters": {"search_term": "engineer"}}
    (row,) = (await ada.table("saved_searches").insert(saved).execute()).data
    assert isinstance(row, dict)
    run = await call(ada, "run_saved_search", saved_search_id=row["id"])
    await database.execute("update public.search_runs set source = 'cron', slot_at = now() where id = %s", [run["id"]])
    again = await call(ada, "rerun_search", run_id=run["id"])
    assert (again["saved_search_id"], again["source"], again["slot_at"]) == (row["id"], "manual", None)


async def test_a_second_saved_search_of_a_name_is_refused_with_a_sentence(
    ada: AsyncClient, bob: AsyncClient, kind: str
) -> None:
    saved: Row = {"name": "mine", "kind": kind, "parameters": {"search_term": "engineer"}}
    await ada.table("saved_searches").insert(saved).execute()
    await bob.table("saved_searches").insert(saved).execute()
    sentence = 'There is already a saved search with the name "mine". Choose another name.'
    assert await refusal(ada, ada.table("saved_searches").insert(saved)) == Refusal(409, "23505", sentence)
    (other,) = (await ada.table("saved_searches").insert(saved | {"name": "other"}).execute()).data
    assert isinstance(other, dict)
    renamed = ada.table("saved_searches").update({"name": "mine"}).eq("id", other["id"])
    assert await refusal(ada, renamed) == Refusal(409, "23505", sentence)
    # What another user has, nobody learns.
    stranger = {"user_id": await user_id(bob)}
    assert (await refusal(ada, ada.table("saved_searches").insert(saved | stranger))).code == "42501"
    unchanged = ada.table("saved_searches").update({"name": "other"}).eq("id", other["id"])
    assert len((await unchanged.execute()).data) == 1
