"""Equal searches as frontends see them through supabase-js: followed while they run, answered at once afterwards."""

from __future__ import annotations

import pytest

from tests.support.node import needs_node, node
from tests.support.queue import enqueue
from tests.support.stack import new_email, new_user
from tests.support.workers import drain
from worker.local.boards import Boards
from worker.local.supabase.stack import Endpoints

pytestmark = [*needs_node, pytest.mark.pgvector, pytest.mark.own_stack]

SEARCH = {"search_term": "engineer", "sites": ["linkedin", "indeed"], "results_wanted": 30}
EQUAL_SEARCH = {"sites": ["indeed", "linkedin"], "results_wanted": 30, "search_term": "  ENGINEER "}


async def test_an_equal_search_follows_the_first_and_then_answers_at_once(stack: Endpoints) -> None:
    async with Boards() as boards, new_user(stack) as ada:
        first = await enqueue(ada, "jobs", **SEARCH)

        async with node("follower.mjs", stack, email=new_email(), parameters=EQUAL_SEARCH) as grace:
            inserted, _ = await grace.events_until("system")
            assert (inserted["status"], inserted["leader"]) == ("pending", first["id"])
            await drain(stack, boards, WORKER_EMBEDDING_MODEL="wordllama")
            *watched, seen = await grace.events_until("items")

        # Her own run is searched as soon as the first one is.
        states = [event for event in watched if "step" in event]
        assert states[0] == {"status": "running", "found": 0, "step": "starting", "shared": None}
        assert states[-1] == {"status": "success", "found": 60, "step": "finished", "shared": first["id"]}
        sites = [(event["site"], event["status"]) for event in watched if "site" in event]
        assert sites == [("linkedin", "completed"), ("indeed", "completed")]
        assert seen["leaders"] == 0  # whose search it is is nobody's business

        async with node("answered.mjs", stack, email=new_email(), parameters=EQUAL_SEARCH) as carol:
            answered, listed, like_it, nearest, fresh = [await carol.next_event() for _ in range(5)]

    assert answered["completed"] is not None
    assert (answered["status"], answered["found"], answered["shared"]) == ("success", 60, first["id"])
    items = listed["items"]
    assert len(items) == seen["items"]
    assert sum(len(item["sites"]) for item in items) == 60
    assert {tuple(sorted({seen["site"] for seen in item["sites"]})) for item in items} >= {("indeed", "linkedin")}
    assert all(item["is_new"] for item in items)

    assert nearest["matches"][0]["item_id"] == items[0]["item_id"]
    assert [item["item_id"] for item in like_it["similar"]] == [item["item_id"] for item in nearest["matches"][1:]]
    assert 0 < like_it["similar"][0]["similarity"] < nearest["matches"][0]["similarity"]
    assert fresh == {"status": "pending", "shared": None}
