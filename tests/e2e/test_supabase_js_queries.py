"""The queries of frontends, by supabase-js and under row level security."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.node import needs_node, node
from tests.support.stack import new_email
from worker.local.supabase.stack import Endpoints

pytestmark = [*needs_node, pytest.mark.own_stack]


async def test_what_frontends_ask(stack: Endpoints) -> None:
    answers: dict[str, Any] = {}
    async with node("queries.mjs", stack, email=new_email()) as frontend:
        while "otp" not in answers:
            answer = await frontend.next_event()
            answers[answer.pop("name")] = answer
    errors = {name: answer["error"] for name, answer in answers.items() if answer["error"]}
    data = {name: answer.get("data") for name, answer in answers.items()}
    assert errors == {
        "unknown": {"code": "LOCAL", "message": "the local stack does not know spread embeds (...)"},
        "recovery": {"message": "Error sending recovery email: the local stack sends no mail", "status": 500},
        "otp": {"code": "otp_disabled", "message": "Signups not allowed for otp", "status": 422},
    }
    assert data["jsonFilter"] == [{"status": "pending", "term": "nurse"}]
    assert data["jsonOrder"] == [{"search_term": "engineer"}, {"search_term": "nurse"}]
    assert data["jsonOr"] == [{"sites": "linkedin"}]
    assert data["jsonIndex"] == [{"first": "linkedin"}]
    assert data["embedded"] == [
        {"term": "engineer", "search_run_sites": [{"site": "indeed", "status": "pending"}]},
        {"term": "nurse", "search_run_sites": [{"site": "indeed", "status": "pending"}]},
    ]
    assert data["inner"] == [{"term": "engineer", "search_run_sites": [{"site": "linkedin"}]}]
    assert [(one["site"], one["search_runs"]["search_term"]) for one in data["outer"]][-1] == ("linkedin", "engineer")
    assert data["byColumn"] == [{"site": "indeed", "run": {"kind": "jobs"}}]
    assert [list(run) for run in data["withoutResults"]] == [["id"], ["id"]]
    assert data["nested"] == [{"search_results": []}]
    assert len(data["search"]) == 1
    assert data["anyOf"] == [{"term": "nurse"}]
    assert answers["estimated"]["count"] == 2
    assert isinstance(answers["planned"]["count"], int)
    assert data["csv"] == "status,search_term\npending,engineer\npending,nurse"
