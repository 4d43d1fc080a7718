"""Saved searches as their users see them: run now, what is new, and when they are repeated."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from supabase import AsyncClient

from tests.support.database import Connection
from tests.support.queue import (
    Refusal,
    Row,
    call,
    claim,
    finish_run,
    finish_site,
    lease,
    page,
    refusal,
    run_of,
    save_page,
    start_site,
)

NOT_YOURS = Refusal(404, "PT404", "saved_search_id must be the id of one of your saved searches")


async def save(user: AsyncClient, kind: str, term: str) -> Row:
    """Save a search."""
    parameters = {"search_term": term, "sites": ["indeed"], "results_wanted": 2}
    answer = await user.table("saved_searches").insert({"name": term, "kind": kind, "parameters": parameters}).execute()
    (saved,) = answer.data
    assert isinstance(saved, dict)
    return saved


async def found(user: AsyncClient, service: AsyncClient, kind: str, saved: Row, *external_ids: str) -> Row:
    """Run a saved search now, and have a worker find these."""
    run: Row = await call(user, "run_saved_search", saved_search_id=saved["id"])
    (claimed,) = await claim(service, kind)
    await start_site(service, claimed, "indeed")
    await save_page(service, **lease(claimed), **page("indeed", 1, [*external_ids]))
    await finish_site(service, claimed, site="indeed")
    await finish_run(service, claimed)
    return await run_of(user, run["id"])


async def states(user: AsyncClient) -> dict[str, Row]:
    """The states of a user's saved searches, by name."""
    answer = await user.table("saved_search_states").select("*").execute()
    return {row["name"]: row for row in answer.data if isinstance(row, dict)}


async def test_a_saved_search_runs_now_and_keeps_its_runs(
    ada: AsyncClient, bob: AsyncClient, service: AsyncClient, kind: str
) -> None:
    saved = await save(ada, kind, "nurse")
    assert (await states(ada))["nurse"]["last_run_id"] is None
    run = await found(ada, service, kind, saved, "a", "b")
    assert (run["saved_search_id"], run["source"], run["slot_at"]) == (saved["id"], "manual", None)
    state = (await states(ada))["nurse"]
    shown = {
        "last_run_id": run["id"],
        "last_status": "success",
        "last_items_found": 2,
        "last_new_items": 2,
        "new_items": 2,
    }
    assert shown.items() <= state.items()
    assert await states(bob) == {}
    assert await refusal(bob, bob.rpc("run_saved_search", {"saved_search_id": saved["id"]})) == NOT_YOURS

    await ada.table("saved_searches").delete().eq("id", saved["id"]).execute()
    assert (await run_of(ada, run["id"]))["saved_search_id"] == saved["id"]
    assert await refusal(ada, ada.rpc("run_saved_search", {"saved_search_id": saved["id"]})) == NOT_YOURS


async def test_a_run_cannot_name_a_saved_search_of_another_user(ada: AsyncClient, bob: AsyncClient, kind: str) -> None:
    saved = await save(ada, kind, "nurse")
    for name in (saved["id"], str(uuid4())):
        run = {"kind": kind, "parameters": {"search_term": "nurse"}, "saved_search_id": name}
        refused = await refusal(bob, bob.table("search_runs").insert(run))
        assert refused == Refusal(400, "22023", "saved_search_id must be the id of one of the user's saved searches")


async def test_new_results_are_each_thing_once_since_the_user_looked(
    ada: AsyncClient, bob: AsyncClient, service: AsyncClient, kind: str, term: str
) -> None:
    first, second = await save(ada, kind, "nurse"), await save(ada, kind, "carer")
    await found(ada, service, kind, first, f"{term}-a", f"{term}-b")
    await found(ada, service, kind, second, f"{term}-b", f"{term}-c")
    new = await call(ada, "new_results")
    assert (new["since"], new["total"]) == (None, 3)
    # First what both found.
    names = [sorted(saved["name"] for saved in item["saved_searches"]) for item in new["items"]]
    assert names[0] == ["carer", "nurse"]
    assert sorted(names[1:]) == [["carer"], ["nurse"]]
    assert "description" not in new["items"][0]
    assert len((await call(ada, "new_results", max_items=1))["items"]) == 1
    assert (await call(bob, "new_results"))["total"] == 0

    await call(ada, "mark_seen")
    new = await call(ada, "new_results")
    assert (new["total"], new["items"]) == (0, [])
    assert new["since"] == await call(ada, "last_seen")
    assert [state["new_items"] for state in (await states(ada)).values()] == [0, 0]
    await found(ada, service, kind, first, f"{term}-b", f"{term}-d")
    new = await call(ada, "new_results")
    assert [item["sites"][0]["external_id"] for item in new["items"]] == [f"{term}-d"]
    assert (await call(ada, "new_results", since="2026-01-01T00:00:00Z"))["total"] == 4


SCHEDULE: dict[str, Any] = {"time_zone": "Europe/London", "times": ["08:00", "16:45"], "weekdays": [1, 2, 3, 4, 5]}


async def test_a_user_schedules_pauses_and_unschedules(ada: AsyncClient, bob: AsyncClient, kind: str) -> None:
    saved = await save(ada, kind, "nurse")
    row = {"saved_search_id": saved["id"], **SCHEDULE}
    refused = await refusal(bob, bob.table("search_schedules").insert(row))
    assert (refused.status, refused.code) == (403, "42501")
    await ada.table("search_schedules").insert(row).execute()
    state = (await states(ada))["nurse"]
    assert (state["time_zone"], state["times"], state["paused"]) == ("Europe/London", ["08:00:00", "16:45:00"], None)
    assert state["next_slot_at"] is not None

    mine = ada.table("search_schedules").update
    await mine({"paused": "user"}).eq("saved_search_id", saved["id"]).execute()
    state = (await states(ada))["nurse"]
    assert (state["paused"], state["next_slot_at"]) == ("user", None)
    refused = await refusal(ada, mine({"paused": "failing"}).eq("saved_search_id", saved["id"]))
    assert (refused.status, refused.code) == (403, "42501")
    await mine({"paused": None}).eq("saved_search_id", saved["id"]).execute()
    assert (await states(ada))["nurse"]["next_slot_at"] is not None

    # Of another user, nothing can be seen, changed or deleted.
    theirs = bob.table("search_schedules")
    assert (await theirs.select("*").execute()).data == []
    assert (await theirs.update({"paused": "user"}).eq("saved_search_id", saved["id"]).execute()).data == []
    assert (await theirs.delete().eq("saved_search_id", saved["id"]).execute()).data == []
    await ada.table("search_schedules").delete().eq("saved_search_id", saved["id"]).execute()
    assert (await states(ada))["nurse"]["time_zone"] is None


@pytest.mark.own_stack
async def test_a_user_who_is_seen_resumes_inactive_schedules(ada: AsyncClient, database: Connection, kind: str) -> None:
    saved = await save(ada, kind, "nurse")
    await ada.table("search_schedules").insert({"saved_search_id": saved["id"], **SCHEDULE}).execute()
    await database.execute(
        "update public.search_schedules set paused = 'inactive' where saved_search_id = %s", [saved["id"]]
    )
    await call(ada, "mark_seen")
    assert (await states(ada))["nurse"]["paused"] is None
