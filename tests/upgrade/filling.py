"""Rows for every table, in the ways in which users, workers and operators write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from supabase import AsyncClient

from tests.support.database import Connection, rows, scalar
from tests.support.queue import (
    SITES,
    call,
    claim,
    ends,
    finish_run,
    insert_run,
    lease,
    page,
    save_page,
    start_site,
    user_id,
)

MODEL = "a-model"


async def fill_history(database: Connection, service: AsyncClient, ada: AsyncClient, bob: AsyncClient) -> None:
    """Write what a project has after some time. No worker works, and nothing is left to search afterwards.

    Args:
        database: A connection as the owner of the migrations, for what operators change.
        service: A client with the rights of a worker.
        ada: A user.
        bob: Another one.
    """
    await _configure(database, service, await user_id(ada))
    # Two sites with the same things, so that they are merged; one that fails; a cancelled and a deleted one.
    found = await _search(service, ada, {site: ["one", "two"] for site in SITES})
    await _search(service, bob, {"indeed": ["one", "three"]})
    await _search(service, bob, {}, failing="linkedin")
    deleted = await _search(service, bob, {"indeed": ["four"]})
    await call(bob, "delete_search", run_id=deleted["id"])
    cancelled = await insert_run(ada, "jobs", str(uuid4()))
    await call(ada, "cancel_search", run_id=cancelled["id"])

    await _repeat(ada)
    await call(ada, "mark_seen")
    await _split(database, service, found["id"])
    await _embed(database, service)
    await call(service, "worker_count_runs")
    today = datetime.now(UTC).date().isoformat()
    sent = {"day": today, "site": "indeed", "exit": "", "requests": 4, "refused": 1, "bytes": 1000}
    await call(service, "worker_count_requests", reporter=str(uuid4()), counts=[sent])
    assert (await call(service, "worker_check_alerts"))["opened"]


async def _configure(database: Connection, service: AsyncClient, ada: str) -> None:
    # Whatever fails is an incident at once, and stays one.
    await call(service, "worker_set_alert", rule="failure_rate", threshold=0.0001, least_count=1)
    await database.execute("update worker.alert_rules set opens_after = '0'")
    # No second worker tries a site that has failed once.
    await database.execute("update worker.breaker_rules set failures = 1000")
    await call(service, "worker_set_account", user_id=ada, site="unipile", account="ada")
    await call(
        service, "worker_add_webhook", name="crm", url="https://crm.example", events=["run.finished", "run.failed"]
    )


async def _search(
    service: AsyncClient, user: AsyncClient, found: dict[str, list[str]], *, failing: str | None = None
) -> dict[str, Any]:
    """Search as a worker does; return the finished run."""
    sites = [*found, *([failing] if failing else [])]
    run = await insert_run(user, "jobs", str(uuid4()), parameters={"search_term": str(uuid4()), "sites": sites})
    (claimed,) = await claim(service, "jobs", slots=10, worker_id="history")
    assert claimed["run_id"] == run["id"]
    for site, ids in found.items():
        await start_site(service, claimed, site)
        saved = page(site, 1, [f"{site}-{each}" for each in ids], is_last=True)
        things = [item | _facts(name) for item, name in zip(saved["items"], ids, strict=True)]
        invalid = {"index": len(ids), "type": "InvalidItemError", "message": "must be a text", "field": "title"}
        await save_page(service, **lease(claimed), **saved | {"items": things, "errors": [invalid]})
        await ends(service, {**lease(claimed), "site": site, "ends_run": False})
    if failing:
        await start_site(service, claimed, failing)
        error = {"error_code": "blocked", "error_message": "It asks for a captcha.", "retryable": False}
        await ends(service, {**lease(claimed), "site": failing, "ends_run": False, **error})
    return await finish_run(service, claimed)


def _facts(name: str) -> dict[str, Any]:
    return {
        "organization": "Acme",
        "organization_key": "acme",
        "match_key": f"acme {name}",
        "posted_at": "2026-11-01T00:00:00Z",
        "description": f"Thing {name} of Acme.",
    }


async def _repeat(user: AsyncClient) -> None:
    saved: Any = (
        await user.table("saved_searches")
        .insert({"name": "mine", "kind": "jobs", "parameters": {"search_term": "welder"}})
        .execute()
    ).data
    await (
        user.table("search_schedules")
        .insert({"saved_search_id": saved[0]["id"], "time_zone": "UTC", "times": ["08:00"], "weekdays": [1]})
        .execute()
    )


async def _split(database: Connection, service: AsyncClient, run_id: str) -> None:
    """Split an item from the one that it was merged with."""
    merged = await scalar(
        database,
        "select min(item.id::text) from public.items as item join public.search_results as result"
        " on result.item_id = item.id where result.run_id = %s and item.duplicate_of is not null",
        [run_id],
    )
    assert merged is not None
    await call(service, "worker_split_item", item_id=merged)


async def _embed(database: Connection, service: AsyncClient) -> None:
    """Embed some of the items, where there is pgvector."""
    if not await rows(database, "select from pg_extension where extname = 'vector'"):
        return
    claimed = await call(service, "worker_claim_embeddings", model=MODEL, batch=3)
    first, *_ = claimed["items"]
    vectors = [{"item_id": first["item_id"], "embedding": [1.0, *[0.0] * 255]}]
    await call(
        service, "worker_save_embeddings", model=MODEL, claimed_until=claimed["claimed_until"], embeddings=vectors
    )
