"""What a claim reads: runs that it may claim, and nothing else, however many others there are."""

from __future__ import annotations

from typing import Any, LiteralString
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from tests.support.database import Connect, Connection, rows, scalar
from tests.support.queue import Row, claim, enqueue, new_runs, user_id
from tests.support.stack import SignIn

# ANALYZE leaves sizes of tables behind, even if it is rolled back.
pytestmark = pytest.mark.own_stack

# Copies of a run for other things, behind it in the queue. The triggers would be slow, and check nothing here.
COPIES: LiteralString = """
insert into public.search_runs (
    user_id, kind, parameters, status, priority, position, fingerprint, created_at, updated_at, completed_at, run_after,
    leader_run_id)
select coalesce(%(owner)s, former.user_id), former.kind, former.parameters, %(status)s, former.priority, 10 + n,
       former.fingerprint || ' ' || n, now() - interval '1 day', now(), %(completed_at)s, %(run_after)s,
       case when %(are_followers)s then former.id end
from public.search_runs as former, generate_series(1, 5000) as n
where former.id = %(run_id)s
"""
READY: Row = {"owner": None, "status": "pending", "completed_at": None, "run_after": None, "are_followers": False}

CLAIM: LiteralString = """
select run_id from public.worker_claim_runs('w', array[%(kind)s], 4, 60, %(claim_id)s, '[]')
"""


async def rows_read(database: Connection) -> int:
    """Rows of search_runs that this transaction has read, in whatever way."""
    answer = await database.execute(
        "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relid = 'public.search_runs'::regclass"
    )
    ((rows,),) = await answer.fetchall()
    return int(rows)


@pytest.mark.parametrize("queue", ["short", "long"])
@pytest.mark.parametrize(
    "others",
    [
        pytest.param({"status": "success", "completed_at": "2026-01-01"}, id="history"),
        pytest.param({"run_after": "2100-01-01"}, id="delayed"),
        pytest.param({"are_followers": True}, id="followers"),
    ],
)
async def test_a_claim_reads_no_runs_but_those_that_it_may_claim(
    sign_in: SignIn, service: AsyncClient, database: Connection, kind: str, *, others: dict[str, Any], queue: str
) -> None:
    user, another = await sign_in(), await user_id(await sign_in())
    run = await enqueue(user, kind)
    await claim(service, kind)
    for _ in range(3):
        await enqueue(user, kind)
    (due,) = new_runs(kind, 1)
    row = due | {"run_after": "2026-01-01T00:00:00Z", "user_id": await user_id(user)}
    await service.table("search_runs").insert(row).execute()

    async with database.transaction(force_rollback=True):
        # A claim reads past ready runs of kinds that it does not ask for, as other tests leave them.
        await database.execute("delete from public.search_runs where kind <> %s", [kind])
        await database.execute("alter table public.search_runs disable trigger user")
        await database.execute(COPIES, READY | {"run_id": run["id"]} | others)
        if queue == "long":
            await database.execute(COPIES, READY | {"run_id": run["id"], "owner": another})
        await database.execute("alter table public.search_runs enable trigger user")
        await database.execute("analyze public.search_runs")
        before = await rows_read(database)
        claimed = await database.execute(CLAIM, {"kind": kind, "claim_id": uuid4()})
        assert claimed.rowcount == 4
        # Each of the four several times: to promote it, to count it, to start it, to answer with it.
        assert await rows_read(database) - before < 100


FINISH: LiteralString = "select public.worker_finish_sites(%s)"
SITES: LiteralString = """
insert into public.search_run_sites (run_id, site, position, status, completed_at)
select run.id, 'indeed', 1, 'completed', now() from public.search_runs as run where run.completed_at = '2026-01-01'
"""


async def test_a_connection_that_has_planned_for_small_tables_reads_no_table_whole(
    sign_in: SignIn, connect_database: Connect, kind: str
) -> None:
    """Its plans stay until the tables are analyzed, which takes about a minute after they have grown."""
    user = await sign_in()
    run = await enqueue(user, kind, sites=["indeed"])
    database = await connect_database()
    await database.execute("begin")

    async def claim_and_end() -> None:
        claimed: Any = await rows(
            database,
            "select run_id::text, lease_token::text from public.worker_claim_runs('w', array[%s], 4, 60, %s, '[]')",
            [kind, uuid4()],
        )
        finished = [{"run_id": run, "lease_token": token, "site": "indeed", "ends_run": True} for run, token in claimed]
        ((answers,),) = await rows(database, FINISH, [Jsonb(finished)])
        assert [answer["run"]["status"] for answer in answers] == ["success"]

    await claim_and_end()
    await database.execute("alter table public.search_runs disable trigger user")
    await database.execute(COPIES, READY | {"run_id": run["id"], "status": "success", "completed_at": "2026-01-01"})
    await database.execute(SITES)
    await database.execute("alter table public.search_runs enable trigger user")
    await database.execute(
        "insert into public.search_runs (user_id, kind, parameters) values (%s, %s, %s)",
        [await user_id(user), kind, Jsonb({"search_term": str(uuid4()), "sites": ["indeed"]})],
    )
    read: LiteralString = "select sum(seq_tup_read)::int from pg_stat_xact_user_tables where schemaname = 'public'"
    before = await scalar(database, read)
    await claim_and_end()
    assert await scalar(database, read) - before < 100
    await database.execute("rollback")
