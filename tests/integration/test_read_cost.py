"""What reading results and deleting old runs reads: a bounded number of runs, however many others there are."""

from __future__ import annotations

from typing import LiteralString

import pytest
from supabase import AsyncClient

from tests.support.database import Connection, rows, scalar, sign_in_for_transaction
from tests.support.queue import Row, claim, insert_run, search
from tests.support.stack import SignIn

# ANALYZE leaves sizes of tables behind, even if it is rolled back.
pytestmark = pytest.mark.own_stack

OTHER_USERS: LiteralString = """
insert into auth.users (id, email)
select md5('user ' || n)::uuid, n || '@read-cost.example.com' from generate_series(0, 600) as n
"""
# Most users have few runs. Every fifth run was answered by another one.
OTHER_RUNS: LiteralString = """
insert into public.search_runs (
    id, user_id, kind, parameters, status, priority, position, fingerprint, shared_run_id, created_at, completed_at)
select md5('other ' || n)::uuid,
       case when n <= %(own)s then %(user_id)s::uuid else md5('user ' || n / 10)::uuid end, former.kind,
       former.parameters, 'success', 0, n, md5(n::text),
       case when n %% 5 = 0 and n > 10 then md5('other ' || n - 1)::uuid end, now() - interval '1 day',
       now() - interval '1 day'
from public.search_runs as former, generate_series(1, 6000) as n
where former.id = %(run_id)s
"""
OTHER_RESULTS: LiteralString = """
insert into public.search_results (run_id, item_id, site, page_number, position, created_at)
select md5('other ' || n)::uuid, result.item_id, result.site, 1, 1, now()
from public.search_results as result, generate_series(3001, 6000) as n
where result.run_id = %(run_id)s
"""

COMPLETE_ITEMS: LiteralString = """
update public.items set location = 'Berlin', job_types = '{fulltime}', description = 'A job', salary_min = 1
where kind = %s
"""
OTHER_ITEMS: LiteralString = """
insert into public.items (kind, title, url, canonical_key, first_seen_at, last_seen_at)
select %s, 'Engineer', 'https://example.com/' || n, 'indeed:other ' || n, now(), now()
from generate_series(1, 3000) as n
"""


async def searched(service: AsyncClient, user: AsyncClient, kind: str, term: str) -> Row:
    """A run that has found what an earlier run of the same search has found."""
    run: Row = {}
    for _ in range(2):
        run = await insert_run(user, kind, term, fresh=True)
        (claimed,) = await claim(service, kind)
        await search(service, claimed, {"indeed": [["a", "b"], ["c"]], "linkedin": []})
    return run


async def runs_read(database: Connection) -> int:
    """Rows of search_runs that this transaction has read, in whatever way."""
    return await rows_read(database, "public.search_runs")


async def rows_read(database: Connection, table: str) -> int:
    """Rows of a table that this transaction has read, in whatever way."""
    read = "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relid = %(table)s::regclass"
    return int(await scalar(database, read, {"table": table}))


async def add_others(database: Connection, run: Row, *, own: int) -> None:
    """Insert 6,000 finished runs, as many of them `own` as said; and give half of them the results of a run."""
    about = {"run_id": run["id"], "user_id": run["user_id"], "own": own}
    await database.execute(OTHER_USERS)
    # The triggers would be slow, and check nothing here.
    await database.execute("alter table public.search_runs disable trigger user")
    await database.execute(OTHER_RUNS, about)
    await database.execute("alter table public.search_runs enable trigger user")
    await database.execute(OTHER_RESULTS, about)
    await database.execute("analyze public.search_runs, public.search_results, public.items")


async def test_a_page_of_results_reads_few_runs(
    sign_in: SignIn, service: AsyncClient, database: Connection, kind: str, term: str
) -> None:
    user = await sign_in()
    run = await searched(service, user, kind, term)
    async with database.transaction(force_rollback=True):
        await add_others(database, run, own=3000)
        await sign_in_for_transaction(database, user)
        before = await runs_read(database)
        page = await scalar(database, "select public.page_of_run_items(%s)", [run["id"]])
        # Neither the user's 3,000 runs, nor the 3,000 of others that have found the same.
        assert await runs_read(database) - before < 100
    assert [item["is_new"] for item in page["items"]] == [False, False, False]


async def test_reading_results_reads_each_sighting_once(
    sign_in: SignIn, service: AsyncClient, database: Connection, kind: str, term: str
) -> None:
    user = await sign_in()
    run = await searched(service, user, kind, term)
    async with database.transaction(force_rollback=True):
        # Nothing is missing that another sighting might have.
        await database.execute(COMPLETE_ITEMS, [kind])
        await database.execute(OTHER_ITEMS, [kind])
        await database.execute("analyze public.items")
        # As for a large table.
        await database.execute("set local enable_seqscan = off; set local enable_bitmapscan = off")
        await sign_in_for_transaction(database, user)
        before = await rows_read(database, "public.items")
        found = await rows(database, "select * from public.run_items where run_id = %(id)s", run)
        assert await rows_read(database, "public.items") - before == len(found) == 3


async def test_counting_the_new_things_of_a_page_reads_few_runs(
    sign_in: SignIn, service: AsyncClient, database: Connection, kind: str, term: str
) -> None:
    run = await searched(service, await sign_in(), kind, term)
    async with database.transaction(force_rollback=True):
        await add_others(database, run, own=10)
        before = await runs_read(database)
        new = await scalar(
            database,
            "select worker.count_new_things(%(id)s, %(fingerprint)s, array("
            "select result.item_id from public.search_results as result where result.run_id = %(id)s))",
            run,
        )
        # Not the 3,000 of other searches that have found the same.
        assert await runs_read(database) - before < 100
    assert new == 0


async def test_retention_reads_few_runs_beside_those_that_it_deletes(
    sign_in: SignIn, service: AsyncClient, database: Connection, kind: str, term: str
) -> None:
    run = await searched(service, await sign_in(), kind, term)
    async with database.transaction(force_rollback=True):
        await add_others(database, run, own=10)
        await database.execute(
            "update public.search_runs set completed_at = now() - interval '1 year'"
            " where fingerprint in (select md5(n::text) from generate_series(1, 5) as n)"
        )
        await database.execute("analyze public.search_runs")
        before = await runs_read(database)
        await database.execute("select worker.delete_expired_rows()")
        assert await runs_read(database) - before < 200
        left = "select count(*) from public.search_runs where completed_at < now() - interval '100 days'"
        assert await scalar(database, left) == 0
