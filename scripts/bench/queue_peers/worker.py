"""This worker, over the gateway. A run has one site without pages.

A run takes a part of two requests: the claim, which also starts its search, and the end of its site and of the run.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
from supabase import AsyncClient

from scripts.bench.queue_peers.contender import main
from worker.database.client import open_client
from worker.engine.worker import Worker
from worker.model import Item, Json, Page
from worker.settings import Settings
from worker.sources import Search, Source
from worker.sources.parameters import SearchParameters

_USERS = 100
_OWNER = "00000000-0000-0000-0000-000000000001"
_KIND, _SITE = "jobs", "linkedin"


class Nothing(Source):
    """A source that finds nothing, without delay.

    Args:
        on_start: Called at the start of a search.
    """

    name = "nothing"
    kind = _KIND
    sites: Sequence[str] = (_SITE,)
    parameters = SearchParameters

    def __init__(self, on_start: Callable[[], None]) -> None:
        self._on_start = on_start

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:  # noqa: ARG002 (the protocol's)
        """Yield no page."""
        self._on_start()
        pages: Sequence[Page] = ()
        for page in pages:
            yield page

    def records(self, site: str, page: Page) -> Sequence[Json]:
        """Never called, because there are no pages."""
        raise NotImplementedError

    def parse(self, site: str, record: Json) -> Item:
        """Never called, because there are no records."""
        raise NotImplementedError


class ThisWorker:
    """Keeps finished runs for 90 days and their events for 30 days, which is the default.

    Args:
        client: A client with the service key.
        database: A connection of the benchmark.
        settings: Settings of the worker.
    """

    def __init__(self, client: AsyncClient, database: psycopg.AsyncConnection[Any], settings: Settings) -> None:
        self._client = client
        self._database = database
        self._settings = settings

    async def install(self) -> None:
        """Add users, without a limit of running searches."""
        await self._database.execute(
            """
            insert into auth.users (id, email)
            select lpad(number::text, 32, '0')::uuid, number || '@example.com' from generate_series(1, %s) as number
            """,
            [_USERS],
        )
        await self._database.execute("update worker.settings set max_running_per_user = null")

    async def keep_history(self, jobs: int) -> None:
        """Add finished runs with their site and their events, up to the maximum age."""
        # Without triggers and without checks of foreign keys.
        await self._database.execute("set session_replication_role = replica")
        await self._database.execute(_HISTORY, {"runs": jobs})
        await self._database.execute("vacuum analyze public.search_runs, public.search_run_sites, public.run_events")

    async def enqueue(self) -> None:
        """Insert one run, as a schedule with the service key does."""
        parameters = {"search_term": str(uuid4()), "sites": [_SITE]}
        run = {"user_id": _OWNER, "kind": _KIND, "source": "cron", "parameters": parameters}
        await self._client.table("search_runs").insert(run).execute()

    async def enqueue_many(self, jobs: int) -> None:
        """Insert runs of many users."""
        await self._database.execute(ENQUEUE, {"runs": jobs})

    async def is_empty(self) -> bool:
        """Return whether no run waits or runs."""
        row = await (await self._database.execute(_IS_EMPTY)).fetchone()
        return row == (True,)

    @asynccontextmanager
    async def working(self, on_start: Callable[[], None]) -> AsyncIterator[None]:
        """Run the worker in this event loop."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(Worker(self._settings, sources=[Nothing(on_start)]).run())
            yield
            os.kill(os.getpid(), signal.SIGTERM)


# Many users, as in a full queue, and scheduled runs, which have no quota.
ENQUEUE: LiteralString = """
insert into public.search_runs (user_id, kind, source, parameters)
select owners.ids[1 + number %% cardinality(owners.ids)], 'jobs', 'cron',
       jsonb_build_object('search_term', gen_random_uuid()::text, 'sites', jsonb_build_array('linkedin'))
from generate_series(1, %(runs)s) as number, (select array_agg(id) as ids from auth.users) as owners
"""

# Only partial indexes: a history must not slow down the benchmark itself.
_IS_EMPTY: LiteralString = """
select not exists (select from worker.leases)
   and not exists (select from public.search_runs
                   where status = 'pending' and run_after is null and leader_run_id is null)
"""

# The rows of searches without results: runs are kept for 90 days, events for 30 days.
_HISTORY: LiteralString = """
with run as (
    insert into public.search_runs (
        user_id, kind, source, parameters, status, progress_current, progress_total, progress, attempts, priority,
        position, fingerprint, created_at, updated_at, started_at, completed_at)
    select owners.ids[1 + number %% cardinality(owners.ids)], 'jobs', 'cron',
           jsonb_build_object('search_term', 'engineer ' || number, 'sites', jsonb_build_array('linkedin'),
                              'location', 'Berlin', 'results_wanted', 20),
           'success', 20, 20, '{"step": "finished"}', 1, 0,
           number, encode(sha256(number::text::bytea), 'hex'), day, day, day, day + interval '1 minute'
    from generate_series(1, %(runs)s) as number,
         (select array_agg(id) as ids from auth.users) as owners,
         lateral (select now() - interval '89 days' * (1 - number / %(runs)s::float) - interval '1 hour' as day) as days
    returning id, created_at, started_at, completed_at
), site as (
    insert into public.search_run_sites (run_id, site, position, status, attempts, started_at, completed_at)
    select run.id, 'linkedin', 1, 'completed', 1, run.started_at, run.completed_at from run
)
insert into public.run_events (run_id, event, site, data, created_at)
select run.id, event.event, event.site, event.data, run.created_at
from run,
     (values ('created', null, '{"source": "cron"}'::jsonb),
             ('claimed', null, '{"worker_id": "bench", "attempt": 1}'),
             ('site_started', 'linkedin', '{"attempt": 1}'),
             ('site_finished', 'linkedin', '{"status": "completed"}'),
             ('finished', null, '{"worker_id": "bench", "status": "success"}')) as event (event, site, data)
where run.completed_at > now() - interval '29 days'
"""


@asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[ThisWorker]:
    """Open the worker's queue in the database with that URL; the gateway and its key are in the environment."""
    settings = Settings()
    key = settings.require("supabase_service_role_key")
    async with (
        open_client(settings.supabase_url, key, timeout_seconds=settings.request_timeout_seconds) as client,
        await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=10) as database,
    ):
        yield ThisWorker(client, database, settings)


if __name__ == "__main__":
    main(connect)
