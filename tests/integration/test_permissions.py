"""Who may do what, held against the database's own catalogue: what is not in the tables below fails the test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Any, LiteralString
from uuid import uuid4

import pytest
from postgrest.exceptions import APIError
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from supabase import AsyncClient

from tests.support.database import Connection, scalar
from tests.support.queue import Query, Row, claim, enqueue, lease, page, search, start_search, user_id
from tests.support.stack import HAS_PGVECTOR, SignIn

# For each relation of `public` what becomes of select, insert, update and delete: "yes", "none" (no error, and no row),
# "denied" (42501) or "no-table" (55000: a view is read alone). "own" and "other" are a user on rows of his own
# and on another user's; "service_role" is the worker's key on a user's rows.
RELATIONS: Mapping[str, Mapping[str, str]] = {
    "search_runs": {
        "anon": "denied denied denied denied",
        "own": "yes yes denied yes",
        "other": "none denied denied none",
        "service_role": "yes yes denied yes",
    },
    "search_run_sites": {
        "anon": "denied denied denied denied",
        "own": "yes denied denied denied",
        "other": "none denied denied denied",
        "service_role": "yes denied denied denied",
    },
    "search_results": {
        "anon": "denied denied denied denied",
        "own": "yes denied denied denied",
        "other": "none denied denied denied",
        "service_role": "yes denied denied denied",
    },
    "run_events": {
        "anon": "denied denied denied denied",
        "own": "yes denied denied denied",
        "other": "none denied denied denied",
        "service_role": "yes denied denied denied",
    },
    "items": {
        "anon": "denied denied denied denied",
        "own": "yes denied denied denied",
        "other": "none denied denied denied",
        "service_role": "yes denied denied denied",
    },
    "item_sources": {
        "anon": "denied denied denied denied",
        "own": "yes denied denied denied",
        "other": "none denied denied denied",
        "service_role": "yes denied denied denied",
    },
    "item_embeddings": {
        "anon": "denied denied denied denied",
        "own": "yes denied denied denied",
        "other": "none denied denied denied",
        "service_role": "yes denied denied denied",
    },
    "organizations": {
        "anon": "denied denied denied denied",
        "own": "yes denied denied denied",
        "other": "none denied denied denied",
        "service_role": "yes denied denied denied",
    },
    "saved_searches": {
        "anon": "denied denied denied denied",
        "own": "yes yes yes yes",
        "other": "none denied none none",
        "service_role": "yes yes yes yes",
    },
    "search_schedules": {
        "anon": "denied denied denied denied",
        "own": "yes yes yes yes",
        "other": "none denied none none",
        "service_role": "yes yes yes yes",
    },
    "saved_search_states": {
        "anon": "denied no-table no-table no-table",
        "own": "yes no-table no-table no-table",
        "other": "none no-table no-table no-table",
        "service_role": "yes no-table no-table no-table",
    },
    "run_items": {
        "anon": "denied no-table no-table no-table",
        "own": "yes no-table no-table no-table",
        "other": "none no-table no-table no-table",
        "service_role": "yes no-table no-table no-table",
    },
    "run_sites": {
        "anon": "denied no-table no-table no-table",
        "own": "yes no-table no-table no-table",
        "other": "none no-table no-table no-table",
        "service_role": "yes no-table no-table no-table",
    },
}

# Who may execute each function of `public`.
FUNCTIONS: Mapping[str, set[str]] = {
    "enqueue_search": {"user"},
    "rerun_search": {"user"},
    "cancel_search": {"user"},
    "search_options": {"user"},
    "delete_search": {"user"},
    "run_saved_search": {"user"},
    "mark_seen": {"user"},
    "last_seen": {"user", "service_role"},
    "new_results": {"user"},
    "page_of_run_items": {"user"},
    "insights_of_run": {"user"},
    "usual_search_seconds": {"user"},
    "worker_claim_runs": {"service_role"},
    "worker_heartbeat": {"service_role"},
    "worker_start_import": {"service_role"},
    "worker_start_sites": {"service_role"},
    "worker_write_progress": {"service_role"},
    "worker_save_pages": {"service_role"},
    "worker_write_alert": {"service_role"},
    "worker_finish_sites": {"service_role"},
    "worker_finish_and_claim": {"service_role"},
    "worker_set_account": {"service_role"},
    "worker_take_permit": {"service_role"},
    "worker_observe_limits": {"service_role"},
    "worker_leave_exit": {"service_role"},
    "worker_count_requests": {"service_role"},
    "worker_exits": {"service_role"},
    "worker_site_health": {"service_role"},
    "worker_release_runs": {"service_role"},
    "worker_status": {"service_role"},
    "worker_activity": {"service_role"},
    "worker_delete_expired": {"service_role"},
    "worker_fire_schedules": {"service_role"},
    "worker_apply_collections": {"service_role"},
    "worker_collections": {"service_role"},
    "worker_claim_webhooks": {"service_role"},
    "worker_save_webhooks": {"service_role"},
    "worker_add_webhook": {"service_role"},
    "worker_remove_webhook": {"service_role"},
    "worker_webhooks": {"service_role"},
    "worker_dead_webhooks": {"service_role"},
    "worker_replay_webhooks": {"service_role"},
    "worker_count_runs": {"service_role"},
    # And for users whose app_metadata.role is admin: test_admin.py.
    "admin_overview": {"service_role"},
    "admin_sites": {"service_role"},
    "admin_runs": {"service_role"},
    "admin_quality": {"service_role"},
    "admin_quotas": {"service_role"},
    "admin_workers": {"service_role"},
    "admin_exits": {"service_role"},
    "admin_incidents": {"service_role"},
    "admin_webhooks": {"service_role"},
    "admin_replay_webhooks": {"service_role"},
    "worker_check_alerts": {"service_role"},
    "worker_claim_notices": {"service_role"},
    "worker_save_notices": {"service_role"},
    "worker_alerts": {"service_role"},
    "worker_set_alert": {"service_role"},
    "worker_health": {"service_role"},
    "search_health": {"anon", "user", "service_role"},
    "worker_reprocess": {"service_role"},
    "worker_claim_pages": {"service_role"},
    "worker_load_page": {"service_role"},
    "worker_merge_items": {"service_role"},
    "worker_split_item": {"service_role"},
    "worker_claim_embeddings": {"service_role"},
    "worker_save_embeddings": {"service_role"},
    "worker_fail_embeddings": {"service_role"},
    "worker_near_duplicates": {"service_role"},
    "worker_finish_near_duplicates": {"service_role"},
    "worker_claim_near_duplicates": {"service_role"},
    "worker_near_duplicate_texts": {"service_role"},
    "worker_merge_near_duplicates": {"service_role"},
    "match_items": {"user"},
    "similar_items": {"user"},
}

# Nobody but their owner reaches these.
WORKER_TABLES = {
    "leases", "raw_collections", "processing_log", "data_quality", "kept_apart", "embedding_queue", "site_health",
    "settings", "housekeeping", "kinds", "parameter_rules", "ended_leaders", "embedding_backfill",
    "near_duplicate_queue", "accounts", "site_buckets", "bucket_limits", "breaker_rules", "site_searches", "site_waits",
    "exit_stats",
    "site_failures", "site_shares", "item_facts", "user_activity", "sites", "messages", "workers", "deleted_runs",
    "webhook_endpoints", "webhook_messages", "run_stats", "run_totals", "site_totals", "page_stats",
    "queue_samples", "counted_runs",
    "alert_rules", "incidents",
}  # fmt: skip

# What is not there without pgvector.
EMBEDDINGS = {
    "item_embeddings", "match_items", "similar_items", "worker_claim_embeddings", "worker_save_embeddings",
    "worker_fail_embeddings", "worker_near_duplicates", "worker_finish_near_duplicates",
    "worker_claim_near_duplicates", "worker_near_duplicate_texts", "worker_merge_near_duplicates",
    "embedding_backfill", "near_duplicate_queue",
}  # fmt: skip
LEFT_OUT = set() if HAS_PGVECTOR else EMBEDDINGS


def each(names: Iterable[str]) -> list[Any]:
    """Test parameters: each name, marked if it needs pgvector."""
    return [pytest.param(name, marks=pytest.mark.pgvector if name in EMBEDDINGS else ()) for name in names]


# What a client may set of a run.
INSERTED_BY_USERS = {
    "user_id", "workspace_id", "kind", "parameters", "client_context", "saved_search_id", "idempotency_key", "fresh",
}  # fmt: skip
INSERTED_BY_SERVICE_ROLE = INSERTED_BY_USERS | {"source", "priority", "max_attempts", "run_after"}
UPDATED_BY_USERS = {"cancel_requested_at"}

ROLES = ("anon", "own", "other", "service_role")


@dataclass(frozen=True, slots=True)
class Side:
    """A user with something in every table.

    Attributes:
        rows: For each relation, what one row of this user's has.
        run: A run of his that is claimed and being searched.
    """

    client: AsyncClient
    user_id: str
    rows: Mapping[str, Row]
    run: Row


@dataclass(frozen=True, slots=True)
class World:
    """Two users who both searched and found, and everybody who might look."""

    ada: Side
    bob: Side
    anon: AsyncClient
    service: AsyncClient
    kind: str

    def actor(self, role: str) -> tuple[AsyncClient, Side]:
        """The client of a role, and whose rows it tries."""
        return {
            "anon": (self.anon, self.bob),
            "own": (self.ada.client, self.ada),
            "other": (self.ada.client, self.bob),
            "service_role": (self.service, self.bob),
        }[role]


@pytest.fixture
async def world(sign_in: SignIn, anon: AsyncClient, service: AsyncClient, database: Connection, kind: str) -> World:
    ada, bob = [await side(await sign_in(), service, database, kind) for _ in range(2)]
    if HAS_PGVECTOR:
        for each_side in (ada, bob):
            await embed(database, each_side)
    return World(ada, bob, anon, service, kind)


async def side(client: AsyncClient, service: AsyncClient, database: Connection, kind: str) -> Side:
    owner = await user_id(client)
    run = await enqueue(client, kind, sites=["indeed"])
    (claimed,) = await claim(service, kind)
    await search(service, claimed, {"indeed": [[uuid4().hex]]})
    saved = {"name": "mine", "kind": kind, "parameters": {"search_term": "engineer"}}
    both = [saved, saved | {"name": "spare"}]
    saved_search, spare = (await client.table("saved_searches").insert(both).execute()).data
    assert isinstance(saved_search, dict)
    assert isinstance(spare, dict)
    await client.table("search_schedules").insert(daily(saved_search["id"])).execute()
    item_id = await private_item(database, kind, owner)
    organization_id = await private_organization(database, owner)

    await enqueue(client, kind, sites=["indeed"])
    (held,) = await claim(service, kind)
    await start_search(service, held, "indeed")
    of_the_run = {"run_id": run["id"], "site": "indeed"}
    rows: dict[str, Row] = {
        "search_runs": {"id": run["id"]},
        "search_run_sites": of_the_run,
        "search_results": of_the_run,
        "run_events": of_the_run,
        "run_items": of_the_run,
        "run_sites": of_the_run,
        "items": {"id": item_id},
        "item_sources": {"item_id": item_id},
        "organizations": {"id": organization_id},
        "item_embeddings": {"item_id": item_id},
        "saved_searches": {"id": saved_search["id"]},
        "saved_search_states": {"id": saved_search["id"]},
        "search_schedules": {"saved_search_id": saved_search["id"]},
        "unscheduled": {"id": spare["id"]},
    }
    return Side(client, owner, rows, held)


def daily(saved_search_id: str) -> Row:
    """A schedule that a user may set."""
    return {"saved_search_id": saved_search_id, "time_zone": "UTC", "times": ["08:00"]}


async def private_item(database: Connection, kind: str, owner: str) -> str:
    """Something that a user found through an account of his own."""
    answer = await database.execute(
        """
        with item as (
            insert into public.items (kind, owner_id, title, url, canonical_key, first_seen_at, last_seen_at)
            values (%s, %s, 'A person', 'https://example.com/person', 'linkedin:person', now(), now())
            returning id, owner_id, url
        )
        insert into public.item_sources (site, external_id, item_id, owner_id, url, first_seen_at, last_seen_at)
        select 'linkedin', 'person', id, owner_id, url, now(), now() from item
        returning item_id
        """,
        [kind, owner],
    )
    row = await answer.fetchone()
    assert row is not None
    return str(row[0])


async def private_organization(database: Connection, owner: str) -> str:
    """An employer that a board told of, which a user named and asked for."""
    return str(
        await scalar(
            database,
            """
            insert into public.organizations (key, owner_id, name, seen_at) values ('acme', %s, 'Acme', '{}')
            returning id
            """,
            [owner],
        )
    )


async def embed(database: Connection, side: Side) -> None:
    """Give a user's private item an embedding."""
    await database.execute(
        "insert into public.item_embeddings (item_id, owner_id, embedding, embedded_at) values (%s, %s, %s, now())",
        [side.rows["items"]["id"], side.user_id, str([1, *[0] * 255])],
    )


def new_row(relation: str, of: Side, kind: str) -> Row:
    """A row that the database would take, were there the right."""
    run_id, now = of.rows["search_runs"]["id"], "2026-11-22T00:00:00Z"
    search = {"user_id": of.user_id, "kind": kind, "parameters": {"search_term": "engineer"}}
    rows: dict[str, Row] = {
        "search_runs": search,
        "saved_searches": search | {"name": uuid4().hex},
        "saved_search_states": {"name": "x"},
        "search_schedules": daily(of.rows["unscheduled"]["id"]),
        "search_run_sites": {"run_id": run_id, "site": "glassdoor"},
        "search_results": {
            "run_id": run_id, "item_id": of.rows["items"]["id"], "site": "indeed", "page_number": 1, "position": 1,
            "created_at": now,
        },
        "run_events": {"run_id": run_id, "event": "created", "created_at": now},
        "items": {
            "kind": kind, "title": "x", "url": "x", "canonical_key": uuid4().hex, "first_seen_at": now,
            "last_seen_at": now,
        },
        "item_sources": {
            "site": "indeed", "external_id": uuid4().hex, "item_id": of.rows["items"]["id"], "url": "x",
            "first_seen_at": now, "last_seen_at": now,
        },
        "organizations": {"key": "acme", "name": "Acme", "seen_at": {}},
        "item_embeddings": {"item_id": of.rows["items"]["id"], "embedding": [1, *[0] * 255], "embedded_at": now},
        "run_items": {"run_id": run_id},
        "run_sites": {"run_id": run_id},
    }  # fmt: skip
    return rows[relation]


CHANGED_COLUMN: Mapping[str, Row] = {
    "search_runs": {"client_context": None},
    "search_run_sites": {"jobs_found": 5},
    "search_results": {"position": 5},
    "run_events": {"data": {}},
    "items": {"title": "changed"},
    "item_sources": {"url": "changed"},
    "organizations": {"name": "changed"},
    "item_embeddings": {"embedded_at": "2026-11-22T00:00:00Z"},
    "saved_searches": {"name": "changed"},
    "saved_search_states": {"name": "changed"},
    "search_schedules": {"times": ["09:00"]},
    "run_items": {"title": "changed"},
    "run_sites": {"jobs_found": 5},
}


def request(client: AsyncClient, relation: str, operation: str, of: Side, kind: str) -> Query:
    table, row = client.table(relation), of.rows[relation]
    match operation:
        case "select":
            return table.select("*").match(row)
        case "insert":
            return table.insert(new_row(relation, of, kind))
        case "update":
            return table.update(CHANGED_COLUMN[relation]).match(row)
        case _:
            return table.delete().match(row)


async def outcome(query: Query) -> str:
    try:
        answer = await query.execute()
    except APIError as error:
        return {"42501": "denied", "55000": "no-table"}.get(error.code or "", f"{error.code} {error.message}")
    return "yes" if answer.data else "none"


async def names(database: Connection, query: LiteralString, *arguments: str) -> set[str]:
    return {name async for (name,) in await database.execute(query, arguments)}


async def test_every_relation_and_function_is_in_the_tables(database: Connection) -> None:
    relations: LiteralString = """
    select relname from pg_class where relnamespace = %s::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')
    """
    functions = "select proname from pg_proc where pronamespace = 'public'::regnamespace"
    assert await names(database, relations, "public") == set(RELATIONS) - LEFT_OUT
    assert await names(database, relations, "worker") == WORKER_TABLES - LEFT_OUT
    assert await names(database, functions) == set(FUNCTIONS) - LEFT_OUT


@pytest.mark.parametrize("relation", each(RELATIONS))
async def test_relation(world: World, relation: str) -> None:
    outcomes: dict[str, list[str]] = {role: [] for role in ROLES}
    for operation in ("select", "insert", "update", "delete"):
        for role in ROLES:
            client, side = world.actor(role)
            query = request(client, relation, operation, side, world.kind)
            outcomes[role].append(await outcome(query))
    assert {role: " ".join(results) for role, results in outcomes.items()} == RELATIONS[relation]


async def test_public_items_are_for_everybody_who_is_signed_in(world: World) -> None:
    found = world.bob.client.table("search_results").select("item_id").match(world.bob.rows["search_results"])
    (result,) = (await found.execute()).data
    assert isinstance(result, dict)
    for relation, column in (("items", "id"), ("item_sources", "item_id")):
        assert await outcome(world.ada.client.table(relation).select("*").eq(column, result["item_id"])) == "yes"
        assert await outcome(world.anon.table(relation).select("*").eq(column, result["item_id"])) == "denied"


@pytest.mark.parametrize("relation", each(RELATIONS))
async def test_nothing_of_another_user_without_a_filter(world: World, relation: str) -> None:
    theirs = world.bob.rows[relation]
    seen: list[Any] = (await world.ada.client.table(relation).select("*").limit(1000).execute()).data
    assert seen
    assert not [row for row in seen if theirs.items() <= row.items()]


@pytest.mark.parametrize("function", each(FUNCTIONS))
async def test_function(world: World, function: str) -> None:
    run = world.ada.run
    site = {"site": "indeed"}
    arguments: dict[str, Row] = {
        "enqueue_search": {"kind": world.kind, "parameters": {"search_term": "engineer"}},
        "rerun_search": {"run_id": run["run_id"]},
        "cancel_search": {"run_id": run["run_id"]},
        "delete_search": {"run_id": world.ada.rows["search_runs"]["id"]},
        "run_saved_search": {"saved_search_id": world.ada.rows["saved_searches"]["id"]},
        "mark_seen": {},
        "last_seen": {},
        "new_results": {},
        "worker_fire_schedules": {},
        "worker_apply_collections": {"namespace": "none", "owner": "nobody", "collections": []},
        "worker_collections": {},
        "worker_claim_webhooks": {"endpoints": ["nobody"], "batch": 1},
        "worker_save_webhooks": {"claimed_until": "2026-11-22T00:00:00Z", "results": []},
        "worker_add_webhook": {"name": uuid4().hex, "url": "https://example.com", "events": ["run.failed"]},
        "worker_remove_webhook": {"name": "nobody"},
        "worker_webhooks": {},
        "worker_dead_webhooks": {},
        "worker_replay_webhooks": {"endpoint": "nobody"},
        "worker_check_alerts": {},
        "worker_claim_notices": {"batch": 1},
        "worker_save_notices": {"claimed_until": "2026-11-22T00:00:00Z", "results": []},
        "worker_alerts": {},
        "worker_set_alert": {"rule": "no_worker"},
        "worker_health": {},
        "search_health": {},
        "page_of_run_items": {"run_id": run["run_id"]},
        "insights_of_run": {"run_id": run["run_id"]},
        "usual_search_seconds": {"site": "indeed"},
        "worker_claim_runs": {
            "worker_id": "w", "kinds": [world.kind], "slots": 1, "lease_seconds": 60, "claim_id": str(uuid4()),
            "held": [],
        },
        "worker_heartbeat": {"worker_id": "worker-1", "leases": [lease(run)]},
        "worker_start_import": {
            "owner": world.ada.user_id,
            "kind": "jobs",
            "name": "listings.csv",
            "sites": ["indeed"],
            "records": 1,
            "idempotency_key": uuid4().hex,
            "worker_id": "worker-1",
            "lease_seconds": 60,
            "claim_id": str(uuid4()),
        },
        "worker_start_sites": {"searches": [lease(run) | site | {"attempt": 1}]},
        "worker_write_progress": lease(run) | {"progress": {"step": "searching"} | site},
        "worker_set_account": {"user_id": world.ada.user_id, "account": uuid4().hex} | site,
        "worker_take_permit": lease(run) | site | {"account": None, "bucket": "indeed", "requests": 1, "limits": {}},
        "worker_observe_limits": lease(run) | site | {"account": None, "bucket": "indeed", "observed": {}},
        "worker_leave_exit": lease(run) | site | {
            "account": None, "exit": "", "error_code": "blocked", "message": "", "retry_after_seconds": None,
            "exits": [{"name": ""}, {"name": "a"}],
        },
        "worker_site_health": {},
        "worker_save_pages": {"pages": [lease(run) | page("indeed", 1, [uuid4().hex])]},
        "worker_write_alert": lease(run) | site | {"data": {"reason": "page_refused"}},
        "worker_finish_sites": {"finished": [lease(run) | site | {"ends_run": False}]},
        "worker_finish_and_claim": {
            "finished": [lease(run) | site | {"ends_run": False}],
            "claim": {
                "worker_id": "worker-1", "kinds": [], "slots": 1, "lease_seconds": 60, "claim_id": str(uuid4()),
                "limits": {}, "exits": {},
            },
        },
        "worker_release_runs": {"worker_id": "worker-1", "leases": [lease(run)]},
        "worker_status": {},
        "worker_activity": {},
        "search_options": {},
        "worker_delete_expired": {},
        "worker_count_runs": {},
        "admin_overview": {"since": datetime.now(UTC).isoformat()},
        "admin_sites": {"since": datetime.now(UTC).isoformat()},
        "admin_runs": {},
        "admin_quality": {"since": datetime.now(UTC).isoformat()},
        "admin_quotas": {},
        "admin_workers": {},
        "admin_exits": {},
        "worker_exits": {},
        "worker_count_requests": {"reporter": str(uuid4()), "counts": []},
        "admin_incidents": {},
        "admin_webhooks": {},
        "admin_replay_webhooks": {"endpoint": "crm"},
        "worker_reprocess": {"source": "nobody"},
        "worker_claim_pages": {"sources": ["nobody"], "batch": 1},
        "worker_load_page": {
            "page_id": -1, "version": 1, "transform_ms": 1, "completeness": {}, "items": [], "errors": []
        },
        "worker_merge_items": {"pairs": []},
        "worker_split_item": {"item_id": str(uuid4())},
        "worker_claim_embeddings": {"model": "", "batch": 1},
        "worker_save_embeddings": {"model": "", "claimed_until": "2026-11-22T00:00:00Z", "embeddings": []},
        "worker_fail_embeddings": {"claimed_until": "2026-11-22T00:00:00Z", "failures": []},
        "worker_near_duplicates": {"batch": 1},
        "worker_finish_near_duplicates": {"claimed_until": "2026-11-22T00:00:00Z", "item_ids": []},
        "worker_claim_near_duplicates": {"batch": 1},
        "worker_near_duplicate_texts": {"item_ids": [], "length": 1},
        "worker_merge_near_duplicates": {"claimed_until": "2026-11-22T00:00:00Z", "item_ids": [], "pairs": []},
        "match_items": {"query_embedding": [1, *[0] * 255]},
        "similar_items": {"item_id": world.ada.rows["items"]["id"]},
    }  # fmt: skip
    executed = set()
    # The service role last: what it does, the others would find done.
    for role, client in (("anon", world.anon), ("user", world.ada.client), ("service_role", world.service)):
        if await outcome(client.rpc(function, arguments[function])) != "denied":
            executed.add(role)
    assert executed == FUNCTIONS[function]


@pytest.mark.parametrize(
    ("role", "may_insert", "may_update"),
    [("own", INSERTED_BY_USERS, UPDATED_BY_USERS), ("service_role", INSERTED_BY_SERVICE_ROLE, set())],
)
async def test_columns_of_a_run(
    world: World, database: Connection, role: str, may_insert: set[str], may_update: set[str]
) -> None:
    client, side = world.actor(role)
    columns = await names(
        database, "select attname from pg_attribute where attrelid = 'public.search_runs'::regclass and attnum > 0"
    )
    values: Row = {
        "workspace_id": str(uuid4()), "client_context": {"tab": 1}, "idempotency_key": "once", "source": "api",
        "priority": 5, "max_attempts": 5, "run_after": "2100-01-01T00:00:00Z",
        "cancel_requested_at": "2100-01-01T00:00:00Z", "fresh": True,
    }  # fmt: skip
    row = new_row("search_runs", side, world.kind)
    own_run = side.rows["search_runs"]
    inserted, updated = set(), set()
    for column in columns:
        if await outcome(client.table("search_runs").insert({column: values.get(column)} | row)) != "denied":
            inserted.add(column)
        if await outcome(client.table("search_runs").update({column: values.get(column)}).match(own_run)) != "denied":
            updated.add(column)
    assert inserted == may_insert
    assert updated == may_update


async def test_only_its_owner_cancels_a_run(world: World) -> None:
    run = {"id": world.bob.run["run_id"]}
    cancelled = {"cancel_requested_at": "2100-01-01T00:00:00Z"}
    clients = {"anon": world.anon, "other": world.ada.client, "service_role": world.service, "own": world.bob.client}
    outcomes = {
        role: await outcome(client.table("search_runs").update(cancelled).match(run))
        for role, client in clients.items()
    }
    assert outcomes == {"anon": "denied", "other": "none", "service_role": "denied", "own": "yes"}


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
async def test_the_private_schema_is_closed(world: World, database: Connection, role: str) -> None:
    await database.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
    statements = ("select from {}", "insert into {} default values", "delete from {}", "truncate {}")
    for table, statement in product(sorted(WORKER_TABLES - LEFT_OUT), statements):
        with pytest.raises(InsufficientPrivilege, match="permission denied for schema worker"):
            await database.execute(sql.SQL(statement).format(sql.Identifier("worker", table)))
    await database.execute("reset role")

    # Were the schema opened by mistake, its tables and functions would still be closed.
    reachable = await database.execute(
        """
        select c.oid::regclass::text from pg_class as c
        where c.relnamespace = 'worker'::regnamespace and c.relkind in ('r', 'v', 'S')
          and (case when c.relkind = 'S' then has_sequence_privilege(%(role)s, c.oid, 'usage, select, update')
               else has_any_column_privilege(%(role)s, c.oid, 'select, insert, update, references')
                    or has_table_privilege(%(role)s, c.oid, 'delete, truncate, trigger') end)
        union all
        select p.oid::regprocedure::text from pg_proc as p
        where p.pronamespace = 'worker'::regnamespace and has_function_privilege(%(role)s, p.oid, 'execute')
        """,
        {"role": role},
    )
    assert await reachable.fetchall() == []
    client = {"anon": world.anon, "authenticated": world.ada.client, "service_role": world.service}[role]
    with pytest.raises(APIError) as refused:
        await client.schema("worker").table("leases").select("*").execute()
    assert refused.value.code == "PGRST106"


async def test_nothing_is_looked_up_for_another_user(sign_in: SignIn, service: AsyncClient) -> None:
    """What the triggers say of another user's queue, and count for him, is refused before it is known."""
    ada, bob = await sign_in(), await user_id(await sign_in())
    for kind, parameters in (("jobs", {"search_term": "a"}), ("nothing", {})):
        row = {"user_id": bob, "kind": kind, "parameters": parameters}
        with pytest.raises(APIError) as refused:
            await ada.table("search_runs").insert(row).execute()
        assert refused.value.code == "42501"
        assert refused.value.message == 'new row violates row-level security policy for table "search_runs"'
    # Who may insert for others, does.
    row = {"user_id": bob, "kind": "jobs", "parameters": {"search_term": "a"}}
    await service.table("search_runs").insert(row).execute()
