"""procrastinate with psycopg. It fetches and finishes each job with a call of its own; it has no batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import procrastinate
import psycopg

from scripts.bench.queue_peers.contender import CONCURRENCY, main

# One connection for each job, one to fetch and one to listen. With the default of 4, jobs wait for a connection.
_CONNECTIONS = min(CONCURRENCY + 2, 30)  # PostgreSQL allows a hundred, by default


class Procrastinate:
    """Keeps finished jobs and their events, which is the default.

    Args:
        app: An open application.
        database: A connection of the benchmark.
    """

    def __init__(self, app: procrastinate.App, database: psycopg.AsyncConnection[Any]) -> None:
        self._app = app
        self._database = database
        self._task = app.task(name="nothing")(self._do_nothing)
        self._on_start: Callable[[], None]

    async def _do_nothing(self) -> None:
        self._on_start()

    async def install(self) -> None:
        """Apply its schema."""
        await self._app.schema_manager.apply_schema_async()

    async def keep_history(self, jobs: int) -> None:
        """Add jobs that succeeded, each with its three events."""
        # The triggers would write the events row by row, with the current time.
        await self._database.execute("set session_replication_role = replica")
        await self._database.execute(
            """
            with job as (
                insert into procrastinate_jobs (queue_name, task_name, args, status, attempts)
                select 'default', 'nothing', '{}', 'succeeded', 1 from generate_series(1, %(jobs)s)
                returning id
            )
            insert into procrastinate_events (job_id, type, at)
            select job.id, event.type, now() - interval '89 days' * random()
            from job, unnest('{deferred,started,succeeded}'::procrastinate_job_event_type[]) as event (type)
            """,
            {"jobs": jobs},
        )
        await self._database.execute("vacuum analyze procrastinate_jobs, procrastinate_events")

    async def enqueue(self) -> None:
        """Defer one job."""
        await self._task.defer_async()

    async def enqueue_many(self, jobs: int) -> None:
        """Defer jobs in a batch."""
        await self._task.batch_defer_async(*[{} for _ in range(jobs)])

    async def is_empty(self) -> bool:
        """Return whether no job waits or runs."""
        query = "select not exists (select from procrastinate_jobs where status in ('todo', 'doing'))"
        row = await (await self._database.execute(query)).fetchone()
        return row == (True,)

    @asynccontextmanager
    async def working(self, on_start: Callable[[], None]) -> AsyncIterator[None]:
        """Run its worker in this event loop."""
        self._on_start = on_start
        async with asyncio.TaskGroup() as tasks:
            worker = tasks.create_task(
                self._app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False)
            )
            yield
            worker.cancel()


@asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[Procrastinate]:
    """Open procrastinate in the database with that URL."""
    connector = procrastinate.PsycopgConnector(conninfo=dsn, min_size=_CONNECTIONS, max_size=_CONNECTIONS)
    app = procrastinate.App(connector=connector)
    async with (
        app.open_async(),
        await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=10) as database,
    ):
        yield Procrastinate(app, database)


if __name__ == "__main__":
    main(connect)
