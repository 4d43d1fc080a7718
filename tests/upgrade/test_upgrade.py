"""An upgrade of a project that works: first the database, then the workers, and nothing stops.

A project has the migrations of the last release, rows in every table, and a queue in the middle of its work. The worker
of that release works. Then the migrations that follow are pushed, and one more, such as the next release may have: a
new column, another body of a busy function, and the next version of the RPCs. The old worker works before, during and
after that; then the worker of this checkout works beside it, and takes over.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, LiteralString

import pytest
from supabase import AsyncClient

from tests.support.database import Connect, Connection, pause, rows, scalar
from tests.support.queue import Row, call, claim, enqueue
from tests.support.stack import HAS_PGVECTOR, SignIn, running_stack
from tests.support.workers import WorkerProcess, worker_process
from tests.upgrade.filling import fill_history
from tests.upgrade.releases import (
    change_schema,
    complete_migration,
    copy_project,
    copy_released,
    copy_released_worker,
    copy_worker,
)
from tests.upgrade.rows import WORKED_OFF, Rows, changed_rows_of_ended_runs, lost_rows, read_rows
from tools.schema.files import release_migrations
from tools.schema.forward import begin_migration
from worker.database.changes import Binding, Change, Subscribed, changes
from worker.local.boards import Boards
from worker.local.boards.synthetic.jobs import words
from worker.local.supabase.migrations import apply_migrations
from worker.local.supabase.stack import Endpoints

pytestmark = pytest.mark.own_stack

PATIENCE_SECONDS = 60
LONG, QUICK = "manager", "engineer"
MAX_WAITING = 6


@dataclass(frozen=True, slots=True)
class Project:
    """The project that is upgraded.

    Attributes:
        folder: Its migrations and schema files, as of the next release.
        next_migration: The last of the migrations.
        version: The version of the RPCs before the upgrade.
    """

    folder: Path
    next_migration: Path
    version: int


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """A stack with the last release."""
    folder = tmp_path_factory.mktemp("released")
    copy_released(copy_project(folder), folder / "migrations")
    with running_stack("--no-migrate") as endpoints:
        apply_migrations(endpoints.db_url, folder / "migrations")
        yield endpoints


@pytest.fixture
async def project(database: Connection, tmp_path: Path) -> Project:
    version = await scalar(database, "select worker.schema_version()")
    folder = copy_project(tmp_path)
    release_migrations(folder)
    change_schema(folder, version=version + 1)
    next_migration = begin_migration(folder, "next_release")
    complete_migration(next_migration)
    return Project(folder, next_migration, version)


@pytest.fixture
async def boards() -> AsyncIterator[Boards]:
    async with Boards() as running:
        yield running


async def until(condition: Callable[[], Awaitable[Any]]) -> None:
    """Wait until a condition holds in the database."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.05)


async def limit(database: Connection, site: str, *, delay_seconds: float = 0, quota: int = 100_000) -> None:
    """Let requests to a site be sent after a delay."""
    await database.execute(
        "insert into worker.bucket_limits (bucket, min_delay_seconds, requests, period_seconds, burst, quota, searches)"
        " values (%s, %s, 1000, 1, 1000, %s, 100)"
        " on conflict (bucket) do update set min_delay_seconds = excluded.min_delay_seconds",
        [site, delay_seconds, quota],
    )


@asynccontextmanager
async def observed(stack: Endpoints, user: AsyncClient) -> AsyncIterator[dict[str, str]]:
    """What Realtime says of a user's runs: the last status of each."""
    seen: dict[str, str] = {}
    is_subscribed = asyncio.Event()

    async def token() -> str:
        session = await user.auth.get_session()
        assert session is not None
        return session.access_token

    async def listen() -> None:
        live = changes(stack.url, stack.anon_key, [Binding("search_runs")], access_token=token)
        async with aclosing(live) as events:
            async for event in events:
                if isinstance(event, Subscribed):
                    is_subscribed.set()
                elif isinstance(event, Change) and event.type != "DELETE":
                    seen[event.record["id"]] = event.record["status"]

    listening = asyncio.create_task(listen())
    await asyncio.wait_for(is_subscribed.wait(), PATIENCE_SECONDS)
    try:
        yield seen
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


@asynccontextmanager
async def searching(user: AsyncClient) -> AsyncIterator[list[str]]:
    """Let a user enqueue quick searches meanwhile, so that a few always wait; yields their ids."""
    ids: list[str] = []

    async def few_wait() -> bool:
        waiting = user.table("search_runs").select("id").is_("completed_at", "null").in_("id", ids[-MAX_WAITING:])
        return len((await waiting.execute()).data) < MAX_WAITING

    async def enqueue_more() -> None:
        while True:
            run = await search(user, "arbeitnow", f"{QUICK} {'.' * (len(ids) + 1)}")
            ids.append(run["id"])
            await until(few_wait)

    enqueueing = asyncio.create_task(enqueue_more())
    try:
        yield ids
    finally:
        enqueueing.cancel()
        with suppress(asyncio.CancelledError):
            await enqueueing


def running(
    stack: Endpoints, boards: Boards, name: str, release: dict[str, str]
) -> AbstractAsyncContextManager[WorkerProcess]:
    """A worker of a release, as a process."""
    settings = {
        "WORKER_ID": name,
        "WORKER_HTTP_CA_CERT": str(boards.ca_cert),
        "WORKER_LOG_LEVEL": "WARNING",
        "WORKER_CONCURRENCY": "4",
        "WORKER_POLL_IDLE_SECONDS": "0.2",
        "WORKER_GRACE_SECONDS": "0",
    }
    return worker_process(stack, boards, "run", **settings, **boards.credentials, **release)


async def stop(worker: WorkerProcess) -> None:
    """Stop a worker; it has had nothing to complain of."""
    worker.process.terminate()
    code, log = await worker.ended()
    assert (code, [line for line in log if line["level"] in ("ERROR", "CRITICAL")]) == (0, []), log


async def search(user: AsyncClient, site: str, term: str) -> Row:
    """Enqueue a search of one site. Dots in the term make searches differ, and the boards ignore them."""
    return await enqueue(user, "jobs", search_term=term, sites=[site], results_wanted=90)


async def claimed_by(database: Connection, worker: str) -> bool:
    """Whether a worker has claimed a run with the function of the next release."""
    return bool(await rows(database, "select from public.search_runs where first_worker = %s limit 1", [worker]))


async def rows_amid(stack: Endpoints, database: Connection, locking: Connection, ada: AsyncClient, run: Row) -> Rows:
    """Read all rows, at a moment at which a cancelled run of Ada still has a follower.

    The next claim would settle it, but the follower is locked.
    """
    async with locking.transaction():
        await locking.execute("select from public.search_runs where leader_run_id = %s for update", [run["id"]])
        await call(ada, "cancel_search", run_id=run["id"])
        assert await rows(database, "select from worker.ended_leaders where run_id = %s", [run["id"]])
        return await asyncio.to_thread(read_rows, stack.db_url)


async def all_ended(database: Connection) -> bool:
    return not await rows(database, "select from public.search_runs where completed_at is null limit 1")


async def has_seen(seen: Mapping[str, str], database: Connection, runs: Sequence[Row]) -> bool:
    """Whether Realtime has shown the ends of these runs."""
    ids = [run["id"] for run in runs]
    ends = await rows(database, "select id::text, status::text from public.search_runs where id = any (%s)", [ids])
    return {run_id: seen.get(run_id) for run_id in ids} == dict(ends)


async def claims(database: Connection, run_id: str) -> list[str]:
    """The workers that have claimed a run, in their order."""
    query: LiteralString = (
        "select data ->> 'worker_id' from public.run_events where run_id = %s and event = 'claimed' order by id"
    )
    return [worker for (worker,) in await rows(database, query, [run_id])]


def listed(boards: Boards, site: str, term: str) -> list[str]:
    """The ids of all that a board lists for a term."""
    return sorted(listing.id for listing in boards.listings if listing.site == site and words(term) <= listing.words)


async def found(database: Connection, run_id: str) -> list[str]:
    """The ids of all that a run has found, as often as it has them."""
    query: LiteralString = (
        "select source.external_id from public.search_results as result join public.item_sources as source"
        " on source.item_id = result.item_id and source.site = result.site where result.run_id = %s order by 1"
    )
    return sorted(external_id for (external_id,) in await rows(database, query, [run_id]))


async def things(user: AsyncClient, run_id: str) -> list[str]:
    """What a user sees of a run."""
    answer: Any = (await user.table("run_items").select("item_id").eq("run_id", run_id).execute()).data
    return sorted(row["item_id"] for row in answer)


def pages_of(kept: Rows, run_id: str) -> list[dict[str, Any]]:
    pages = [page for page in kept["worker.raw_collections"].values() if page["run_id"] == run_id]
    return sorted(pages, key=itemgetter("page_number"))


def check_that_nothing_is_lost(before: Rows, after: Rows) -> None:
    """Compare all rows amid the work with those after it."""
    assert {table for table, kept in before.items() if not kept} == (
        set() if HAS_PGVECTOR else {"worker.embedding_queue"}
    ), "fill these tables as well: see fill_history"
    assert lost_rows(before, after) == {}
    assert changed_rows_of_ended_runs(before, after) == []
    assert {table: after[table] for table in WORKED_OFF} == {table: {} for table in WORKED_OFF}
    # One message for the end of each run.
    told = Counter(message["payload"]["data"]["run_id"] for message in after["worker.webhook_messages"].values())
    runs = after["public.search_runs"].values()
    assert {run["id"]: told[run["id"]] for run in runs} == {
        run["id"]: int(run["status"] != "cancelled") for run in runs
    }


def check_that_all_have_ended(after: Rows, succeeded: Sequence[str], *, cancelled: str, rescued: str) -> None:
    """Check that runs have ended as without an upgrade, and that no worker but the dead one lost its lease."""
    runs = {run["id"]: run for run in after["public.search_runs"].values()}
    assert {runs[each]["status"] for each in succeeded} == {"success"}
    assert runs[cancelled]["status"] == "cancelled"
    assert {each: run["rescues"] for each, run in runs.items() if run["rescues"]} == {rescued: 1}
    for each in succeeded:
        assert [page["page_number"] for page in pages_of(after, each)] == [*range(1, len(pages_of(after, each)) + 1)]


async def test_an_upgrade_under_load_loses_nothing(
    *, stack: Endpoints, project: Project, boards: Boards, database: Connection, connect_database: Connect,
    service: AsyncClient, sign_in: SignIn, tmp_path: Path
) -> None:  # fmt: skip
    ada, bob = await sign_in(), await sign_in()
    await fill_history(database, service, ada, bob)
    await database.execute(
        "update worker.settings set max_quota_share = 1, manual_quota_reserve = 0, scheduled_quota_reserve = 0"
    )
    # The long search has ten pages, so that it is not at its end before the old worker is.
    await limit(database, "jsearch", delay_seconds=4, quota=200)
    for site in ("arbeitnow", "remotive"):
        await limit(database, site)
    await pause(database, "remotive", "1 hour", exit_name="boards")
    old = copy_released_worker(tmp_path / "old")
    new = copy_worker(tmp_path / "new", schema_version=project.version + 1, version="0.2.0")

    abandoned = await search(bob, "arbeitnow", QUICK)
    assert len(await claim(service, "jobs", worker_id="dead")) == 1
    async with observed(stack, ada) as seen:
        long, follower = [await search(user, "jsearch", LONG) for user in (ada, bob)]
        waiting = await search(ada, "remotive", QUICK)
        left, continued = [await search(user, "remotive", LONG) for user in (ada, bob)]
        assert (follower["leader_run_id"], continued["leader_run_id"]) == (long["id"], left["id"])

        async def is_amid() -> bool:
            (amid,) = await rows(
                database,
                """
                select exists (select from worker.raw_collections where run_id = %(long)s)
                   and exists (select from worker.site_waits where run_id = %(waiting)s)
                   and exists (select from public.search_runs where status = 'success' and id = any (%(quick)s))
                """,
                {"long": long["id"], "waiting": waiting["id"], "quick": quick},
            )
            return bool(amid[0])

        async with AsyncExitStack() as workers:
            async with searching(bob) as quick:
                old_worker = await workers.enter_async_context(running(stack, boards, "old", old))
                await until(is_amid)
                before = await rows_amid(stack, database, await connect_database(), ada, left)
                pushed = await asyncio.to_thread(apply_migrations, stack.db_url, project.folder / "migrations")
                assert pushed[-1].file_name == project.next_migration.name
                await until(partial(claimed_by, database, "old"))
                new_worker = await workers.enter_async_context(running(stack, boards, "new", new))
                await until(partial(claimed_by, database, "new"))
                await stop(old_worker)
            # What the old worker had not finished is released, and the new one continues it.
            await database.execute("update worker.leases set expires_at = 'epoch' where worker_id = 'dead'")
            await limit(database, "jsearch", quota=200)
            await pause(database, "remotive", None, exit_name="boards")
            await until(partial(all_ended, database))
            undisturbed = await search(ada, "jsearch", f"{LONG} .")
            await until(partial(all_ended, database))
            await stop(new_worker)
        await until(partial(has_seen, seen, database, [long, waiting, left, undisturbed]))
    after = await asyncio.to_thread(read_rows, stack.db_url)

    check_that_nothing_is_lost(before, after)
    short = [abandoned["id"], *quick]
    searched = [*short, *(run["id"] for run in (long, follower, waiting, continued, undisturbed))]
    check_that_all_have_ended(after, searched, cancelled=left["id"], rescued=abandoned["id"])

    # Each thing once: also of the search that the old worker began and the new one ended.
    runs = {run["id"]: run for run in after["public.search_runs"].values()}
    assert {runs[each]["jobs_found"] for each in short} == {len(listed(boards, "arbeitnow", QUICK))}
    whole = await found(database, undisturbed["id"])
    assert len(whole) > 60
    assert await found(database, long["id"]) == whole
    assert await things(bob, follower["id"]) == await things(ada, long["id"])
    claimed = await claims(database, long["id"])
    assert (claimed[0], claimed[-1], {*claimed}) == ("old", "new", {"old", "new"})
    assert 0 < len(pages_of(before, long["id"])) < len(pages_of(after, long["id"]))
