"""PgQueuer with asyncpg and uvloop, as its command runs it. It claims and finishes ten jobs at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.queries import Queries

from scripts.bench.queue_peers.contender import CONCURRENCY, main

_HISTORY_SECONDS = 3600


class Pgqueuer:
    """Deletes finished jobs from the queue, and keeps their events in a log.

    Args:
        worker: Connection of the worker: one, as its documentation advises.
        producer: Connection of the client.
        database: A connection of the benchmark.
    """

    def __init__(self, worker: asyncpg.Connection, producer: asyncpg.Connection, database: asyncpg.Connection) -> None:
        self._pgqueuer = PgQueuer.from_asyncpg_connection(worker)
        self._queries = Queries.from_asyncpg_connection(producer)
        self._database = database
        self._pgqueuer.entrypoint("nothing")(self._do_nothing)
        self._on_start: Callable[[], None]

    async def _do_nothing(self, _job: object) -> None:
        self._on_start()

    async def install(self) -> None:
        """Create its tables, with the autovacuum settings that its manual recommends."""
        await self._queries.install()
        await self._queries.optimize_autovacuum()

    async def keep_history(self, jobs: int) -> None:
        """Log jobs that succeeded: queued, picked and successful."""
        await self._database.execute(
            """
            insert into pgqueuer_log (created, job_id, status, priority, entrypoint, aggregated)
            select now() - interval '89 days' * number / $1::integer, number, status, 0, 'nothing', true
            from generate_series(1, $1::integer) as number,
                 unnest('{queued,picked,successful}'::pgqueuer_status[]) as status
            """,
            jobs,
            timeout=_HISTORY_SECONDS,
        )
        await self._database.execute("vacuum analyze pgqueuer_log", timeout=_HISTORY_SECONDS)

    async def enqueue(self) -> None:
        """Enqueue one job."""
        await self._queries.enqueue("nothing", None)

    async def enqueue_many(self, jobs: int) -> None:
        """Enqueue jobs in a batch."""
        await self._queries.enqueue(["nothing"] * jobs, [None] * jobs, [0] * jobs)

    async def is_empty(self) -> bool:
        """Return whether no job waits or runs. Finished jobs are deleted."""
        return bool(await self._database.fetchval("select not exists (select from pgqueuer)"))

    @asynccontextmanager
    async def working(self, on_start: Callable[[], None]) -> AsyncIterator[None]:
        """Run its queue manager in this event loop."""
        self._on_start = on_start
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pgqueuer.run(batch_size=CONCURRENCY))
            yield
            self._pgqueuer.shutdown.set()


@asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[Pgqueuer]:
    """Open PgQueuer in the database with that URL."""
    connections = [await asyncpg.connect(dsn, timeout=10) for _ in range(3)]
    try:
        yield Pgqueuer(*connections)
    finally:
        for connection in connections:
            await connection.close(timeout=10)


if __name__ == "__main__":
    main(connect, uvloop.run)
