"""People are found through a user's own account: what one user finds nobody else sees, in whatever way he looks."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from supabase import AsyncClient

from tests.support.database import Connection
from tests.support.queue import (
    Row,
    call,
    claim,
    finish_run,
    finish_site,
    lease,
    page,
    refusal,
    save_page,
    start_site,
    user_id,
)
from tests.support.realtime import ChangeListener
from worker.local.supabase.stack import Endpoints

EVERYTHING = (
    "search_runs", "search_run_sites", "search_results", "run_events", "run_items", "items", "item_sources",
    "item_embeddings",
)  # fmt: skip
EMBEDDING = [1.0, *[0.0] * 255]


async def ask(user: AsyncClient, term: str, **columns: Any) -> Row:
    """Search for people, as frontends do."""
    row = {"kind": "people", "parameters": {"search_term": term}, **columns}
    (run,) = (await user.table("search_runs").insert(row).execute()).data
    assert isinstance(run, dict)
    return dict(run)


async def find(service: AsyncClient, run: Row, external_ids: list[str]) -> Row:
    """Claim a run of people, of all that are ready, and search it; return the finished run."""
    (claimed,) = [found for found in await claim(service, "people", slots=100) if found["run_id"] == run["id"]]
    await start_site(service, claimed, "unipile")
    account = claimed["sites"][0]["account"]
    found = page("unipile", 1, external_ids, account=account, is_last=True)
    await save_page(service, **lease(claimed), **found)
    await finish_site(service, claimed, site="unipile", account=account)
    finished: Row = await finish_run(service, claimed)
    return finished


async def embed(database: Connection, owner: str) -> None:
    """Give everything that a user has found an embedding, as the worker does."""
    await database.execute(
        """
        insert into public.item_embeddings (item_id, owner_id, embedding, embedded_at)
        select id, owner_id, %s, now() from public.items where owner_id = %s
        """,
        [str(EMBEDDING), owner],
    )


async def titles(client: AsyncClient, run: Row) -> set[str]:
    rows: Any = (await client.table("run_items").select("title").eq("run_id", run["id"]).execute()).data
    return {row["title"] for row in rows}


async def test_two_users_with_the_same_search_do_not_share_it(
    ada: AsyncClient, bob: AsyncClient, service: AsyncClient, term: str
) -> None:
    first = await ask(ada, term)
    at_the_same_time = await ask(bob, term)
    assert (at_the_same_time["leader_run_id"], at_the_same_time["shared_run_id"]) == (None, None)
    assert at_the_same_time["fingerprint"] != first["fingerprint"]
    await find(service, first, ["ada's"])
    afterwards = await ask(bob, term)
    assert afterwards["shared_run_id"] is None
    assert afterwards["leader_run_id"] in (None, at_the_same_time["id"])
    # The same user's is answered.
    assert (await ask(ada, term))["shared_run_id"] == first["id"]


async def test_the_same_person_is_an_item_of_each_user_who_found_him(
    ada: AsyncClient, bob: AsyncClient, service: AsyncClient, term: str
) -> None:
    person = uuid4().hex
    seen = []
    for user in (ada, bob):
        run = await ask(user, term)
        assert (await find(service, run, [person]))["jobs_found"] == 1
        (item,) = (await user.table("items").select("id, owner_id").eq("kind", "people").execute()).data
        assert isinstance(item, dict)
        assert item["owner_id"] == await user_id(user)
        seen.append(item["id"])
        assert await titles(user, run) == {f"Title of {person}"}
    assert seen[0] != seen[1]


@pytest.mark.pgvector
async def test_nobody_else_sees_anything_of_it(
    ada: AsyncClient, bob: AsyncClient, service: AsyncClient, database: Connection, term: str
) -> None:
    run = await ask(ada, term)
    await find(service, run, [uuid4().hex, uuid4().hex])
    await embed(database, await user_id(ada))
    for table in EVERYTHING:
        column = "user_id" if table == "search_runs" else "*"
        assert (await ada.table(table).select(column).execute()).data, table
        mine: Any = (await bob.table(table).select("*").execute()).data
        assert [row for row in mine if row.get("kind") == "people" or row.get("owner_id")] == [], table
        assert [row for row in mine if run["id"] in (row.get("run_id"), row.get("id"))] == [], table
    (item, _) = (await ada.table("items").select("id").eq("kind", "people").execute()).data
    assert isinstance(item, dict)
    for table, name in (
        ("items", "id"),
        ("item_sources", "item_id"),
        ("search_results", "item_id"),
        ("run_items", "item_id"),
    ):
        assert (await ada.table(table).select("*").eq(name, item["id"]).execute()).data
        assert (await bob.table(table).select("*").eq(name, item["id"]).execute()).data == []


@pytest.mark.pgvector
async def test_nor_by_what_is_similar(
    ada: AsyncClient, bob: AsyncClient, service: AsyncClient, database: Connection, term: str
) -> None:
    run = await ask(ada, term)
    await find(service, run, [uuid4().hex, uuid4().hex])
    await embed(database, await user_id(ada))
    (one, other) = (await ada.table("items").select("id").eq("kind", "people").execute()).data
    assert isinstance(one, dict)
    assert isinstance(other, dict)

    def ids(rows: Any) -> set[str]:
        return {row["item_id"] for row in rows}

    assert ids(await call(ada, "similar_items", item_id=one["id"])) == {other["id"]}
    refused = await refusal(bob, bob.rpc("similar_items", {"item_id": one["id"]}))
    assert (refused.status, refused.message) == (404, "item_id must be the id of an item that you may see")
    assert {one["id"], other["id"]} <= ids(await call(ada, "match_items", query_embedding=EMBEDDING))
    assert not {one["id"], other["id"]} & ids(await call(bob, "match_items", query_embedding=EMBEDDING))


def read_by(listener: ChangeListener) -> set[str]:
    """The runs whose rows a user was sent. Deletions have no row, and everybody gets those of other tests, too."""
    return {change.record["id"] for change in listener.heard if change.type != "DELETE"}


async def test_nor_by_realtime(
    stack: Endpoints, ada: AsyncClient, bob: AsyncClient, service: AsyncClient, term: str
) -> None:
    listener, own = ChangeListener(stack, bob, stack.anon_key), ChangeListener(stack, ada, stack.anon_key)
    for somebody in (listener, own):
        await somebody.subscribe()
    run = await ask(ada, term)
    await find(service, run, [uuid4().hex])
    his = await ask(bob, term)
    await find(service, his, [uuid4().hex])
    await own.listen_until(run)
    assert read_by(own) == {run["id"]}
    await listener.listen_until(his)
    assert read_by(listener) == {his["id"]}


async def test_what_one_user_found_is_gone_with_his_account(
    ada: AsyncClient, service: AsyncClient, database: Connection, term: str
) -> None:
    owner = await user_id(ada)
    await call(service, "worker_set_account", user_id=owner, site="unipile", account="hers")
    run = await ask(ada, term)
    await find(service, run, [uuid4().hex])
    assert (await ask(ada, term))["shared_run_id"] == run["id"]
    pages = await database.execute("select account from worker.raw_collections where run_id = %s", [run["id"]])
    assert await pages.fetchall() == [("hers",)]
    await database.execute("delete from auth.users where id = %s", [owner])
    for query in (
        "select from public.items where owner_id = %(owner)s",
        "select from public.item_sources where owner_id = %(owner)s",
        "select from worker.accounts where user_id = %(owner)s",
        "select from worker.raw_collections where run_id = %(run)s",
    ):
        assert (await database.execute(query, {"owner": owner, "run": run["id"]})).rowcount == 0, query


async def test_an_heir_has_the_same_owner(ada: AsyncClient, service: AsyncClient, term: str) -> None:
    leader, follower = await ask(ada, term), await ask(ada, term)
    assert follower["leader_run_id"] == leader["id"]
    (claimed,) = [run for run in await claim(service, "people", slots=100) if run["run_id"] == leader["id"]]
    await start_site(service, claimed, "unipile")
    await save_page(service, **lease(claimed), **page("unipile", 1, [uuid4().hex], cursor="2"))
    await call(ada, "cancel_search", run_id=leader["id"])
    finished = await find(service, follower, [uuid4().hex])
    assert finished["user_id"] == await user_id(ada)
