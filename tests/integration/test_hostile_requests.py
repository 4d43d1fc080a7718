"""What one user sends costs others nothing: work is bounded before a lock is taken, and nobody waits for his rows."""

from __future__ import annotations

import asyncio
import json
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from tests.support.database import Configure, Connect, Connection, rows, signed_in, wait_until_blocked
from tests.support.queue import (
    SITES,
    Row,
    call,
    claim,
    count_items,
    enqueue,
    finish_site,
    insert_run,
    lease,
    page,
    run_of,
    save_page,
    search,
    search_next,
    start_site,
    user_id,
)

# Values ---------------------------------------------------------------------------------------------------------

INSERT: LiteralString = """
insert into public.search_runs (kind, parameters, client_context) values ('jobs', %(parameters)s, %(client_context)s)
"""
ENQUEUE: LiteralString = "select public.enqueue_search('jobs', %(parameters)s, %(client_context)s)"
SAVE: LiteralString = """
insert into public.saved_searches (name, kind, parameters) values ('saved', 'jobs', %(parameters)s)
"""
CHANGE: LiteralString = "update public.saved_searches set parameters = %(parameters)s"

COUNT = 8_200
HUGE = {
    "great": f'{{"search_term": "x", "linkedin_company_ids": [{", ".join(["1e131071"] * COUNT)}]}}',
    "small": f'{{"search_term": "x", "linkedin_company_ids": [{", ".join(["0e-16383"] * COUNT)}]}}',
    "negative": f'{{"search_term": "x", "linkedin_company_ids": [{", ".join(["-1e131071"] * COUNT)}]}}',
    "keys": json.dumps({"search_term": "x", "hours_old": {str(n): None for n in range(COUNT)}}).replace(
        "null", "1e131071"
    ),
    "one": '{"search_term": "x", "hours_old": 1e131071}',
    "precise": f'{{"search_term": "x", "hours_old": 0.{"1" * 16_000}}}',
}
ORDINARY = '{"search_term": "x"}'


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize(
    ("field", "statement"),
    [
        pytest.param("parameters", INSERT, id="insert"),
        pytest.param("parameters", ENQUEUE, id="enqueue_search"),
        pytest.param("client_context", INSERT, id="insert-context"),
        pytest.param("client_context", ENQUEUE, id="enqueue_search-context"),
        pytest.param("parameters", SAVE, id="saved_searches"),
        pytest.param("parameters", CHANGE, id="saved_searches-update"),
    ],
)
async def test_numbers_whose_text_is_huge_are_refused_before_it_is_made(
    as_ada: Connection, value: str, field: str, statement: LiteralString
) -> None:
    await as_ada.execute(SAVE, {"parameters": ORDINARY})
    await as_ada.execute("set statement_timeout = '1s'")
    sent: dict[str, Any] = {"parameters": ORDINARY, "client_context": "{}"} | {field: HUGE[value]}
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=rf"^{field}[ .]") as refused:
        await as_ada.execute(statement, sent)
    assert len(refused.value.diag.message_primary or "") < 200


def nested(depth: int) -> str:
    return '{"tab": ' + "[" * depth + "]" * depth + "}"


async def test_deep_values_are_kept_or_refused(as_ada: Connection) -> None:
    await as_ada.execute("set statement_timeout = '1s'")
    for depth, is_kept in ((8_000, True), (9_000, False)):
        sent = {"parameters": ORDINARY, "client_context": nested(depth)}
        if is_kept:
            await as_ada.execute(INSERT, sent)
        else:
            with pytest.raises(psycopg.errors.InvalidParameterValue, match=r"^client_context must be at most"):
                await as_ada.execute(INSERT, sent)


@pytest.mark.parametrize(
    "value",
    [
        {"tab": "x" * 16_300},
        {"tab": [1] * 5_400},
        {"tab": [0.1] * 3_200},
        {"tab": [[]] * 4_000},
        {"tab": [{}] * 4_000},
        {"tab": [""] * 4_000},
        {str(n): 1 for n in range(1_300)},
        {"tab": [1.7976931348623157e308, -1.7976931348623157e308, 5e-324, 2.2250738585072014e-308]},
    ],
    ids=lambda value: str(value)[:20],
)
async def test_what_is_short_as_a_text_is_kept_however_it_is_stored(as_ada: Connection, value: Any) -> None:
    await as_ada.execute(INSERT, {"parameters": ORDINARY, "client_context": Jsonb(value)})


# Rows -----------------------------------------------------------------------------------------------------------

INSERT_MANY: LiteralString = """
insert into public.search_runs (kind, parameters)
select %(kind)s, jsonb_build_object('search_term', case number when 1 then %(term)s else %(term)s || number end)
from generate_series(1, %(count)s) as number
"""
INSERT_KEYS: LiteralString = """
insert into public.search_runs (kind, parameters, idempotency_key)
select %(kind)s, jsonb_build_object('search_term', %(term)s || number), 'once'
from generate_series(1, %(count)s) as number
on conflict do nothing
"""
SAVE_MANY: LiteralString = """
insert into public.saved_searches (name, kind, parameters)
select %(term)s || number, %(kind)s, '{"search_term": "x"}' from generate_series(1, %(count)s) as number
"""
ADVISORY_LOCKS: LiteralString = "select count(*) from pg_locks where locktype = 'advisory' and pid = %(pid)s"
CANCEL: LiteralString = "select public.cancel_search(%(id)s)"


async def advisory_locks(database: Connection, connection: Connection) -> int:
    ((count,),) = await rows(database, ADVISORY_LOCKS, {"pid": connection.info.backend_pid})
    return int(count)


async def until_it_locks(database: Connection, connection: Connection, statement: asyncio.Task[Any]) -> None:
    """Return once a statement has an advisory lock, or has ended."""
    while not statement.done():
        if await advisory_locks(database, connection):
            return


@pytest.mark.parametrize("statement", [INSERT_MANY, INSERT_KEYS, SAVE_MANY], ids=["runs", "keys", "saved"])
async def test_a_request_of_many_rows_is_refused_after_few(
    as_ada: Connection, kind: str, term: str, statement: LiteralString
) -> None:
    sent = {"kind": kind, "term": term, "count": 6_000}
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="at most 25 rows may be sent at a time") as refused:
        await as_ada.execute(statement, sent)
    assert json.loads(refused.value.diag.message_detail or "") == {"limit": 25, "setting": "max_rows_per_request"}


async def test_rows_of_one_transaction_count_together_however_many_statements_send_them(
    as_ada: Connection, kind: str, term: str
) -> None:
    sent = {"kind": kind, "term": term, "count": 15}
    await as_ada.execute("begin")
    await as_ada.execute(SAVE_MANY, sent)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="at most 25 rows"):
        await as_ada.execute(INSERT_MANY, sent)
    await as_ada.execute("rollback")
    # And the next transaction begins to count.
    await as_ada.execute(SAVE_MANY, sent)


async def test_the_service_role_may_send_more_rows(
    *, ada: AsyncClient, connect_database: Connect, kind: str, term: str, configure: Configure
) -> None:
    await configure("max_pending_per_user", None)
    await configure("max_per_hour_per_user", None)
    service = await connect_database()
    await service.execute("set role service_role")
    statement: LiteralString = """
        insert into public.search_runs (user_id, kind, parameters)
        select %(user_id)s, %(kind)s, jsonb_build_object('search_term', %(term)s || number)
        from generate_series(1, %(count)s) as number
    """
    sent = {"kind": kind, "term": term, "user_id": await user_id(ada)}
    await service.execute(statement, sent | {"count": 500})
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="at most 500 rows may be sent at a time"):
        await service.execute(statement, sent | {"count": 501})


async def test_how_many_rows_is_a_setting(as_ada: Connection, kind: str, term: str, configure: Configure) -> None:
    await configure("max_rows_per_request", 2)
    sent = {"kind": kind, "term": term}
    await as_ada.execute(INSERT_MANY, sent | {"count": 2})
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="at most 2 rows"):
        await as_ada.execute(INSERT_MANY, sent | {"count": 3})


async def test_what_conflicts_locks_nothing(as_ada: Connection, database: Connection, kind: str, term: str) -> None:
    sent = {"kind": kind, "term": term}
    await as_ada.execute(INSERT_KEYS, sent | {"count": 1})
    await as_ada.execute("begin")
    await as_ada.execute(INSERT_KEYS, sent | {"count": 25})
    assert await advisory_locks(database, as_ada) == 0
    await as_ada.execute("rollback")


@pytest.mark.parametrize("quota", ["max_pending_per_user", "max_per_hour_per_user"])
async def test_who_is_beyond_a_quota_locks_nothing_of_others(
    *, as_ada: Connection, as_bob: Connection, kind: str, term: str, configure: Configure, quota: str
) -> None:
    await configure(quota, 1)
    await as_bob.execute(INSERT_MANY, {"kind": kind, "term": term, "count": 1})
    # Bob's next one would wait for Ada's, which is equal, if it did more than count.
    await as_ada.execute("begin")
    await as_ada.execute(INSERT_MANY, {"kind": kind, "term": f"{term} of both", "count": 1})
    async with asyncio.timeout(5):
        with pytest.raises(psycopg.Error, match=r"at most 1 searches of a user") as refused:
            await as_bob.execute(INSERT_MANY, {"kind": kind, "term": f"{term} of both", "count": 1})
    assert refused.value.diag.sqlstate == "PT429"
    await as_ada.execute("commit")


async def test_a_victim_waits_for_few_rows_of_a_hostile_insert(
    *,
    ada: AsyncClient,
    as_ada: Connection,
    as_bob: Connection,
    database: Connection,
    kind: str,
    term: str,
) -> None:
    leader = await enqueue(ada, kind, search_term=term, sites=["linkedin", "indeed"])
    hostile = asyncio.create_task(as_bob.execute(INSERT_MANY, {"kind": kind, "term": term, "count": 6_000}))
    await until_it_locks(database, as_bob, hostile)
    await asyncio.sleep(0.05)  # Bob has Ada's row, if anything locks it
    async with asyncio.timeout(5):
        await as_ada.execute(CANCEL, leader)
    with pytest.raises(psycopg.Error):
        await hostile


# Saved searches -------------------------------------------------------------------------------------------------


async def test_a_user_keeps_so_many_saved_searches_and_no_more(
    *, as_ada: Connection, as_bob: Connection, kind: str, term: str, configure: Configure
) -> None:
    await configure("max_saved_searches_per_user", 3)
    sent = {"kind": kind, "count": 2}
    await as_ada.execute(SAVE_MANY, sent | {"term": term})
    with pytest.raises(psycopg.Error, match="at most 3 saved searches") as refused:
        await as_ada.execute(SAVE_MANY, sent | {"term": f"{term} more"})
    assert refused.value.diag.sqlstate == "PT429"
    assert json.loads(refused.value.diag.message_detail or "") == {"quota": "max_saved_searches_per_user", "limit": 3}
    await as_bob.execute(SAVE_MANY, sent | {"term": term})
    await as_ada.execute("delete from public.saved_searches")
    await as_ada.execute(SAVE_MANY, sent | {"term": f"{term} more"})


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_two_requests_at_once_do_not_save_more_than_that(
    *,
    ada: AsyncClient,
    as_ada: Connection,
    connect_database: Connect,
    database: Connection,
    kind: str,
    term: str,
    configure: Configure,
    end: LiteralString,
) -> None:
    await configure("max_saved_searches_per_user", 3)
    other = await signed_in(ada, connect_database)
    sent = {"kind": kind, "count": 2}
    await as_ada.execute("begin")
    await as_ada.execute(SAVE_MANY, sent | {"term": term})
    waiting = asyncio.create_task(other.execute(SAVE_MANY, sent | {"term": f"{term} more"}))
    await wait_until_blocked(database, as_ada)
    await as_ada.execute(end)
    if end == "rollback":
        await waiting
    else:
        with pytest.raises(psycopg.Error, match="at most 3 saved searches"):
            await waiting


# Rows of others -------------------------------------------------------------------------------------------------

# As a slow PATCH does, which changes nothing: its owner keeps the row.
HOLD: LiteralString = "update public.search_runs set cancel_requested_at = null where id = %(id)s"
DELETE_ACCOUNT: LiteralString = "delete from auth.users where id = %(user_id)s"


@pytest.mark.parametrize("priority", [0, 100])
async def test_an_insert_waits_for_no_leader_that_its_owner_holds(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    as_ada: Connection,
    as_bob: Connection,
    kind: str,
    term: str,
    priority: int,
) -> None:
    leader = await insert_run(service, kind, term, user_id=await user_id(ada), priority=priority)
    await as_ada.execute("begin")
    await as_ada.execute(HOLD, leader)
    async with asyncio.timeout(5):
        run = await insert_run(bob, kind, term)
        assert await claim(service, kind) == []
    # A leader that would have to come earlier is joined later; nothing else depends on its row.
    assert (run["leader_run_id"], run["run_after"] is None) == (None, False) if priority == 0 else (leader["id"], True)
    await as_ada.execute("commit")
    assert [run["run_id"] for run in await claim(service, kind)] == [leader["id"]]
    assert (await run_of(bob, run["id"]))["leader_run_id"] == leader["id"]
    await as_bob.execute(HOLD, run)


async def test_an_account_is_deleted_whoever_holds_what_it_shared_and_nothing_is_lost(
    *,
    ada: AsyncClient,
    bob: AsyncClient,
    service: AsyncClient,
    database: Connection,
    as_bob: Connection,
    kind: str,
) -> None:
    done, led, ended = uuid4().hex, uuid4().hex, uuid4().hex
    await insert_run(ada, kind, done)
    await search_next(service, kind)
    answered = await insert_run(bob, kind, done)
    await insert_run(ada, kind, ended)
    waiting = await insert_run(bob, kind, ended)
    (claimed,) = await claim(service, kind)
    await insert_run(ada, kind, led)
    follower = await insert_run(bob, kind, led)
    (begun,) = await claim(service, kind)
    await search_one(service, begun, "indeed")

    await as_bob.execute("begin")
    for run in (answered, waiting, follower):
        await as_bob.execute(HOLD, run)
    async with asyncio.timeout(5):
        ended_as = await search(service, claimed, {site: [[uuid4().hex, uuid4().hex]] for site in SITES})
        assert ended_as["status"] == "success"
        await database.execute(DELETE_ACCOUNT, {"user_id": await user_id(ada)})
        assert await claim(service, kind) == []
    await as_bob.execute("commit")

    (heir,) = await claim(service, kind)
    assert heir["run_id"] == follower["id"]
    # It continues where the former stopped.
    assert [site["site"] for site in heir["sites"]] == ["linkedin"]
    assert (await run_of(bob, follower["id"]))["jobs_found"] == 2
    for run in (answered, waiting):
        row = await run_of(bob, run["id"])
        assert (row["status"], row["leader_run_id"], row["jobs_found"]) == ("success", None, 4)
        assert await count_items(bob, run) == 4
    assert await rows(database, "select from worker.ended_leaders where fingerprint = %(fingerprint)s", follower) == []


async def search_one(service: AsyncClient, run: Row, site: str) -> None:
    await start_site(service, run, site)
    saved = page(site, 1, [uuid4().hex, uuid4().hex], is_last=True)
    await save_page(service, **lease(run), **saved)
    await finish_site(service, run, site=site)


async def test_a_cancellation_of_a_leader_keeps_no_row_of_those_who_follow(
    *, ada: AsyncClient, bob: AsyncClient, as_ada: Connection, as_bob: Connection, kind: str, term: str
) -> None:
    leader, follower = await insert_run(ada, kind, term), await insert_run(bob, kind, term)
    await as_ada.execute("begin")
    await as_ada.execute(CANCEL, leader)
    async with asyncio.timeout(5):
        await as_bob.execute(CANCEL, follower)
    await as_ada.execute("commit")


async def test_a_cancelled_follower_writes_one_row_however_much_was_found(
    *, ada: AsyncClient, bob: AsyncClient, service: AsyncClient, database: Connection, kind: str, term: str
) -> None:
    await insert_run(ada, kind, term)
    followers = [await insert_run(bob, kind, term) for _ in range(5)]
    (claimed,) = await claim(service, kind)
    await start_site(service, claimed, "indeed")
    await save_page(service, **lease(claimed), **page("indeed", 1, [uuid4().hex for _ in range(100)]))
    for follower in followers:
        assert await count_items(bob, follower) == 100
        await call(bob, "cancel_search", run_id=follower["id"])
        ended = await run_of(bob, follower["id"])
        assert (ended["status"], ended["jobs_found"], await count_items(bob, ended)) == ("cancelled", 0, 0)
    ((results, sites),) = await rows(
        database,
        """
        select (select count(*) from public.search_results where run_id = any (%(ids)s)),
               (select count(*) from public.search_run_sites where run_id = any (%(ids)s))
        """,
        {"ids": [follower["id"] for follower in followers]},
    )
    assert (results, sites) == (0, 0)


# Places ---------------------------------------------------------------------------------------------------------


async def test_who_follows_starves_behind_nobody(
    *, ada: AsyncClient, bob: AsyncClient, service: AsyncClient, database: Connection, kind: str, configure: Configure
) -> None:
    await configure("max_running_per_user", 2)
    popular = [uuid4().hex for _ in range(6)]
    own = [await insert_run(ada, kind, uuid4().hex) for _ in range(2)]
    assert {run["run_id"] for run in await claim(service, kind, slots=10)} == {run["id"] for run in own}
    leaders = [await insert_run(ada, kind, term) for term in popular]
    assert await claim(service, kind, slots=10) == []
    followers = [await insert_run(bob, kind, term, fresh=True) for term in popular]
    assert [run["leader_run_id"] for run in followers] == [run["id"] for run in leaders]

    # As many as Bob has room for; they take Bob's places, not Ada's.
    begun = await claim(service, kind, slots=10)
    assert len({run["run_id"] for run in begun} & {run["id"] for run in leaders}) == len(begun) == 2
    counted = await rows(
        database,
        "select leases.user_id::text, count(*) from worker.leases join public.search_runs on id = run_id"
        " where kind = %(kind)s group by leases.user_id",
        {"kind": kind},
    )
    assert dict(counted) == {await user_id(ada): 2, await user_id(bob): 2}
    assert await claim(service, kind, slots=10) == []
    await search(service, begun[0], {site: [] for site in SITES})
    assert len(await claim(service, kind, slots=10)) == 1
    ended = [run for run in followers if (await run_of(bob, run["id"]))["status"] == "success"]
    assert [run["leader_run_id"] for run in ended] == [begun[0]["run_id"]]


async def test_two_claims_at_once_do_not_give_a_follower_more_places_than_he_has(
    *, ada: AsyncClient, bob: AsyncClient, service: AsyncClient, database: Connection, kind: str, configure: Configure
) -> None:
    await configure("max_running_per_user", 1)
    await insert_run(ada, kind, uuid4().hex)
    await claim(service, kind)
    for term in [uuid4().hex for _ in range(6)]:
        await insert_run(ada, kind, term)
        await insert_run(bob, kind, term)
    await asyncio.gather(*(claim(service, kind, slots=3) for _ in range(6)))
    counted = await rows(
        database,
        "select count(*) from worker.leases join public.search_runs on id = run_id"
        " where kind = %(kind)s group by leases.user_id",
        {"kind": kind},
    )
    assert counted == [(1,), (1,)]
