"""A search as a Next.js frontend makes it: supabase-js inserts, watches and reads; a worker searches."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.support.node import SUBSCRIBED, channel, needs_node, node
from tests.support.stack import new_email, supabase_client, user_token
from tests.support.workers import worker_process
from worker.local.boards import Boards
from worker.local.supabase.stack import Endpoints

pytestmark = [*needs_node, pytest.mark.own_stack]

EVERYTHING = [{"event": "*", "schema": "public", "table": "search_runs"}]


async def test_the_owner_sees_it_all_live_and_nobody_else_anything(stack: Endpoints) -> None:
    other_user = str(uuid4())
    parameters = {"search_term": "engineer", "sites": ["linkedin", "indeed"], "results_wanted": 30}
    async with (
        Boards() as boards,
        channel(stack, user_token(stack, other_user), *EVERYTHING) as other,
        channel(stack, None, *EVERYTHING) as anonymous,
        node("search.mjs", stack, email=new_email(), parameters=parameters) as owner,
        worker_process(stack, boards, "run"),
    ):
        for client in (other, anonymous):
            assert [await client.next_event() for _ in range(2)] == SUBSCRIBED

        refused, enqueued, *watched, items = await owner.events_until("items")
        assert refused == {
            "refused": 400,
            "code": "22023",
            "message": "parameters.search_term must be a text of 1 to 200 characters",
        }
        assert enqueued["status"] == "pending"

        states = [event for event in watched if "progress" in event]
        assert list(dict.fromkeys(state["status"] for state in states))[-2:] == ["running", "success"]
        progress = [state["progress"] for state in states]
        assert progress == sorted(progress)
        assert progress[-1] == 60
        assert all(state["progress"] < 60 for state in states if state["status"] != "success")
        assert states[-1]["found"] == items["items"]
        sites = {event["site"]: event["status"] for event in watched if "site" in event}
        assert sites == {"linkedin": "completed", "indeed": "completed"}
        assert {event["system"] for event in watched if "system" in event} == {"ok"}
        assert 30 <= items["items"] < 60  # what both boards have is one
        assert len(items["first"]) == 5
        assert all(item["is_new"] for item in items["first"])

        # The deletion that ends it all is the first that the other user hears of: everybody gets the key, and no more.
        async with supabase_client(stack.url, stack.service_role_key) as service:
            await service.table("search_runs").delete().eq("id", enqueued["enqueued"]).execute()
        change = (await other.next_event())["change"]
        assert (change["eventType"], change["new"]) == ("DELETE", {})

        # A role without any right to a table is told that there was a change, and nothing of it.
        last = None
        while last != "DELETE":
            change = (await anonymous.next_event())["change"]
            assert (change["new"], change["old"]) == ({}, {})
            last = change["eventType"]
