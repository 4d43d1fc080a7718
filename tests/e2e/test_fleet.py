"""Many workers, real ones, at sites that count: what the sites' own logs tell."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import pytest
from supabase import AsyncClient

from tests.support.boards import PlayedSites, played_sites
from tests.support.database import Connection
from tests.support.queue import call, user_id
from tests.support.stack import SignIn, new_user
from tests.support.workers import worker_processes
from worker.local.boards.synthetic.people import EVERYBODY
from worker.local.supabase.stack import Endpoints

pytestmark = pytest.mark.own_stack

PATIENCE_SECONDS = 120
JITTER_SECONDS = 0.5
"""A permit is for a time, and the request arrives later, on a busy machine even more so: two may come closer than their
permits."""


@pytest.fixture
def sites() -> Iterator[PlayedSites]:
    with played_sites() as played:
        yield played


@pytest.fixture(autouse=True)
async def empty_queue(database: Connection) -> None:
    for table in ("public.search_runs", "worker.site_health", "worker.site_buckets"):
        await database.execute(f"delete from {table} where true".encode())


@pytest.fixture
async def user(sign_in: SignIn) -> AsyncClient:
    return await sign_in()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds in the database."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.05)


async def ended(database: Connection) -> bool:
    answer = await database.execute("select bool_and(completed_at is not null) from public.search_runs")
    row = await answer.fetchone()
    return row is not None and row[0] is True


async def statuses(database: Connection) -> dict[str, int]:
    answer = await database.execute("select status::text, count(*) from public.search_runs group by status")
    return dict(await answer.fetchall())


async def limit(database: Connection, bucket: str, **limits: float) -> None:
    columns = {
        "requests": None,
        "period_seconds": None,
        "burst": None,
        "min_delay_seconds": None,
        "quota": None,
    } | limits
    await database.execute(
        "insert into worker.bucket_limits (bucket, requests, period_seconds, burst, min_delay_seconds, quota)"
        " values (%s, %s, %s, %s, %s, %s) on conflict (bucket) do update set requests = excluded.requests,"
        " period_seconds = excluded.period_seconds, burst = excluded.burst,"
        " min_delay_seconds = excluded.min_delay_seconds, quota = excluded.quota",
        [bucket, *columns.values()],
    )


async def test_eight_workers_keep_to_a_sites_rate_together_and_no_run_starves(
    *, stack: Endpoints, sites: PlayedSites, database: Connection, service: AsyncClient, user: AsyncClient
) -> None:
    requests, period = 8, 2.0
    await limit(
        database, "jsearch", requests=requests, period_seconds=period, burst=3, min_delay_seconds=0.1, quota=10_000
    )
    owner = await user_id(user)
    terms = ["engineer", "manager", "designer", "analyst", "nurse", "developer", "data", "senior"]
    searches = [
        {"user_id": owner, "kind": "jobs", "source": "cron",
         "parameters": {"search_term": term, "sites": ["jsearch"], "results_wanted": wanted}}
        for term in terms for wanted in (20, 30)
    ]  # fmt: skip
    await database.execute("update worker.settings set max_running_per_user = null, max_pending_per_user = null")
    await service.table("search_runs").insert(searches).execute()
    async with worker_processes(stack, sites, 8):
        await until(lambda: ended(database))

    assert await statuses(database) == {"success": len(searches)}
    asked = [at for at, _ in sites.asked("jsearch")]
    assert len(asked) >= 2 * len(searches)
    within = [sum(start <= at < start + period - JITTER_SECONDS for at in asked) for start in asked]
    assert max(within) <= requests
    assert asked[-1] - asked[0] >= (len(asked) - requests) / requests * period - JITTER_SECONDS
    attempts = await database.execute("select max(attempts), max(rescues) from public.search_runs")
    assert await attempts.fetchone() == (1, 0)


async def test_a_blocked_site_is_asked_by_one_prober_alone_and_then_by_everybody(
    *, stack: Endpoints, sites: PlayedSites, database: Connection, service: AsyncClient, user: AsyncClient
) -> None:
    pause, tries = 3.0, 3
    await limit(database, "jsearch", quota=10_000, min_delay_seconds=0)
    await database.execute("update worker.settings set max_running_per_user = null, retry_delay = '0.2 s'")
    await database.execute(
        # All searches are of one user.
        "update worker.breaker_rules set failures = 1, failures_per_user = 1000, pause = %(pause)s,"
        " max_pause = %(pause)s"
        " where error_code = 'upstream'",
        {"pause": f"{pause} s"},
    )
    owner = await user_id(user)
    searches = [
        {"user_id": owner, "kind": "jobs", "source": "cron", "max_attempts": 20,
         "parameters": {"search_term": f"engineer {number}", "sites": ["jsearch"], "results_wanted": 10}}
        for number in range(12)
    ]  # fmt: skip

    async def has_tripped(times: int) -> bool:
        # All come back at once when the pause is over, and not, as they would, one after another.
        await database.execute(
            "update public.search_runs as run set run_after = health.paused_until from worker.site_health as health"
            " where run.status = 'pending' and run.run_after > health.paused_until and health.site = 'jsearch'"
        )
        answer = await database.execute(
            "select from worker.site_health where site = 'jsearch' and trips >= %s", [times]
        )
        return answer.rowcount == 1

    sites.fail("jsearch", "server_error")
    async with worker_processes(stack, sites, 8):
        # One search opens the breaker, and fails: whatever is asked from then on, a prober asks for another one.
        await service.table("search_runs").insert(searches[0] | {"max_attempts": 1}).execute()
        await until(lambda: has_tripped(1))
        await service.table("search_runs").insert(searches[1:]).execute()
        await until(lambda: has_tripped(4))
        asked = sites.asked("jsearch")
        sites.heal("jsearch")
        await until(lambda: ended(database))

    probes: list[list[tuple[float, str]]] = [[asked[0]]]
    for (former_at, former_path), (at, path) in pairwise(asked):
        has_paused = at - former_at >= pause - JITTER_SECONDS
        assert has_paused or path == former_path, "another search asks beside the prober"
        if has_paused:
            probes.append([])
        probes[-1].append((at, path))
    assert len(probes) >= 4
    assert max(map(len, probes)) <= tries
    assert len({path for _, path in asked}) > 1
    assert await statuses(database) == {"failed": 1, "success": len(searches) - 1}


async def test_prospects_are_all_there_once_after_a_kill_in_the_middle(
    *, stack: Endpoints, sites: PlayedSites, database: Connection, service: AsyncClient, user: AsyncClient
) -> None:
    await limit(database, "unipile", min_delay_seconds=0.05)
    await call(service, "worker_set_account", user_id=await user_id(user), site="unipile", account="ada")
    parameters = {"search_term": EVERYBODY, "api": "sales_navigator", "results_wanted": 2500}
    run = await call(user, "enqueue_search", kind="people", parameters=parameters)
    progress: list[int] = []

    async def saved() -> int:
        answer = await database.execute(
            "select progress_current, (select count(*) from worker.raw_collections where run_id = run.id)"
            " from public.search_runs as run where id = %s",
            [run["id"]],
        )
        current, pages = await answer.fetchone()  # type: ignore[misc]  # the run is there
        progress.append(current)
        return int(pages)

    async with worker_processes(stack, sites, 1) as [first]:

        async def half_done() -> bool:
            return await saved() >= 11

        await until(half_done)
        first.process.kill()
        await first.process.wait()
    kept = await saved()
    assert kept < 25
    before = len(sites.asked("unipile"))
    await database.execute("update worker.leases set expires_at = 'epoch' where true")

    async def over() -> bool:
        await saved()
        return await ended(database)

    async with worker_processes(stack, sites, 1):
        await until(over)

    row = (await user.table("search_runs").select("*").eq("id", run["id"]).single().execute()).data
    assert isinstance(row, dict)
    assert (row["status"], row["jobs_found"], row["rescues"]) == ("success", 2500, 1)
    assert (row["progress_current"], row["progress_total"]) == (2500, 2500)
    assert all(former <= later for former, later in pairwise(progress))
    seen = await database.execute(
        "select count(*), count(distinct canonical_key) from public.items where kind = 'people'"
    )
    assert await seen.fetchone() == (2500, 2500)
    pages = await database.execute("select array_agg(page_number order by page_number) from worker.raw_collections")
    assert await pages.fetchone() == ([*range(1, 26)],)
    # Of what was saved nothing was asked again; the page under way at the kill may have been.
    after = len(sites.asked("unipile")) - before
    assert after == 25 - kept


async def test_other_users_see_nothing_of_the_people_of_an_account(
    *, stack: Endpoints, sites: PlayedSites, database: Connection, service: AsyncClient, user: AsyncClient
) -> None:
    await limit(database, "unipile", min_delay_seconds=0)
    parameters = {"search_term": EVERYBODY, "results_wanted": 50}
    async with new_user(stack) as other:
        for client, account in ((user, "ada"), (other, "grace")):
            await call(service, "worker_set_account", user_id=await user_id(client), site="unipile", account=account)
        runs = [await call(client, "enqueue_search", kind="people", parameters=parameters) for client in (user, other)]
        assert [run["leader_run_id"] or run["shared_run_id"] for run in runs] == [None, None]
        async with worker_processes(stack, sites, 1):
            await until(lambda: ended(database))
        accounts = {parse_qs(urlsplit(path).query)["account_id"][0] for _, path in sites.asked("unipile")}
        assert accounts == {"ada", "grace"}
        for client, own, foreign in ((user, *runs), (other, *reversed(runs))):
            for table in ("search_runs", "search_run_sites", "search_results", "run_items"):
                column = "id" if table == "search_runs" else "run_id"
                seen = await client.table(table).select(column).eq(column, own["id"]).execute()
                hidden = await client.table(table).select(column).eq(column, foreign["id"]).execute()
                assert (bool(seen.data), hidden.data) == (True, []), table
            owners = await client.table("items").select("owner_id").eq("kind", "people").execute()
            assert {row["owner_id"] for row in owners.data} == {await user_id(client)}
            sightings = await client.table("item_sources").select("owner_id").eq("site", "unipile").execute()
            assert {row["owner_id"] for row in sightings.data} == {await user_id(client)}


async def test_a_disconnected_account_is_told_and_not_tried_again(
    *, stack: Endpoints, sites: PlayedSites, database: Connection, service: AsyncClient, user: AsyncClient
) -> None:
    await call(service, "worker_set_account", user_id=await user_id(user), site="unipile", account="disconnected")
    parameters = {"search_term": EVERYBODY, "results_wanted": 50}
    run = await call(user, "enqueue_search", kind="people", parameters=parameters)
    async with worker_processes(stack, sites, 1):
        async with asyncio.timeout(60):
            await until(lambda: ended(database))
    row = (await user.table("search_runs").select("*").eq("id", run["id"]).single().execute()).data
    assert isinstance(row, dict)
    assert (row["status"], row["error_code"], row["attempts"]) == ("failed", "unauthorized", 1)
    assert (
        "disconnected" not in row["error_message"].replace("disconnected by", "") or "account" in row["error_message"]
    )
