"""Measures where the time of a run without pages goes: in SQL, a connection, the local gateway, and the worker.

Each step makes the same call for a batch of runs, which ends them and claims others. Each is made through one layer
more than the step before.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, LiteralString, TypeAlias
from uuid import uuid4

import psycopg
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from scripts.bench.local_stack import connect
from scripts.bench.processor_time import cpu_seconds
from scripts.bench.queue_peers.worker import ThisWorker
from scripts.bench.report import Column, Report, Value, add_json_argument, reporting
from scripts.bench.runs_figures import CLAIM, FINISH_AND_CLAIM, FREE_SITES, SITE, claim_of, ends_of
from worker.database.client import open_client
from worker.local.processes import ready, run_until_signalled, running
from worker.settings import Settings

PARTS = ("database", "local stack", "caller")
COLUMNS = (
    Column("the same calls"), Column("batch"), Column("runs a second"), Column("a run", "ms", 2),
    *(Column(f"CPU of the {part} a run", "ms", 2) for part in PARTS),
)  # fmt: skip
WARM_UP_BATCHES = 10
MAX_SECONDS = 300
POLL_SECONDS = 0.005

_IN_SQL: LiteralString = """
create procedure pg_temp.process(claim jsonb, site text) language plpgsql as $$
declare
    claimed jsonb;
begin
    select jsonb_agg(run) into claimed
    from public.worker_claim_runs(
        'bench', '{jobs}', (claim -> 'slots')::integer, 60, gen_random_uuid(), '[]', null, claim -> 'limits') as run;
    commit;
    while jsonb_array_length(claimed) > 0 loop
        select public.worker_finish_and_claim(
            jsonb_agg(jsonb_build_object('run_id', run -> 'run_id', 'lease_token', run -> 'lease_token',
                                         'site', process.site, 'ends_run', true)),
            claim || jsonb_build_object('claim_id', gen_random_uuid())) -> 'claimed'
        into claimed
        from jsonb_array_elements(claimed) as run;
        commit;
    end loop;
end;
$$
"""

Step: TypeAlias = Callable[[int], Awaitable[None]]
"""Processes all runs of the queue, so many at a time."""


class Ladder:
    """The steps on one stack.

    Args:
        database: A connection as the owner of the tables.
        client: A client of the local gateway with the service key.
        runs: How many runs each step processes.
    """

    def __init__(self, database: psycopg.AsyncConnection[Any], client: AsyncClient, runs: int) -> None:
        self._database = database
        self._client = client
        self._runs = runs
        self._queue = ThisWorker(client, database, Settings())
        self.steps: Mapping[str, Step] = {
            "in SQL": self._in_sql,
            "over a connection": self._over_connection,
            "over the local gateway": self._over_gateway,
            "by the worker": self._by_worker,
        }

    async def prepare(self) -> None:
        """Add the users and the procedure."""
        await self._queue.install()
        await self._database.execute(_IN_SQL)

    async def measure(self, name: str, batch: int, roots: Mapping[str, Sequence[int]]) -> tuple[Value, ...]:
        """Fill the queue, and process it by a step. Return the figures in the order of `COLUMNS`."""
        # A connection plans its first calls.
        await self._queue.enqueue_many(WARM_UP_BATCHES * batch)
        await self.steps[name](batch)
        await self._queue.enqueue_many(self._runs)
        await self._database.execute("vacuum analyze")
        before, began = cpu_seconds(roots), time.perf_counter()
        async with asyncio.timeout(MAX_SECONDS):
            await self.steps[name](batch)
        seconds, after = time.perf_counter() - began, cpu_seconds(roots)
        if not await self._queue.is_empty():
            raise RuntimeError(f"{name}: not all runs were processed")
        used = [(after[part] - before[part]) * 1000 / self._runs for part in PARTS]
        return (name, batch, self._runs / seconds, seconds * 1000 / self._runs, *used)

    async def _in_sql(self, batch: int) -> None:
        await self._database.execute("call pg_temp.process(%s, %s)", [Jsonb(claim_of(batch)), SITE])

    async def _over_connection(self, batch: int) -> None:
        answer = await self._database.execute(CLAIM, [batch, uuid4(), Jsonb(FREE_SITES)], prepare=True)
        claimed = await answer.fetchall()
        while claimed:
            arguments = [Jsonb(ends_of(claimed)), Jsonb(claim_of(batch))]
            row: Any = await (await self._database.execute(FINISH_AND_CLAIM, arguments, prepare=True)).fetchone()
            claimed = [(run["run_id"], run["lease_token"]) for run in row[0]["claimed"]]

    async def _over_gateway(self, batch: int) -> None:
        first = claim_of(batch) | {"held": [], "about": None}
        claimed: Any = (await self._client.rpc("worker_claim_runs", first).execute()).data
        while claimed:
            finished = ends_of([(run["run_id"], run["lease_token"]) for run in claimed])
            arguments = {"finished": finished, "claim": claim_of(batch)}
            answer: Any = (await self._client.rpc("worker_finish_and_claim", arguments).execute()).data
            claimed = answer["claimed"]

    async def _by_worker(self, batch: int) -> None:
        os.environ |= {"WORKER_CONCURRENCY": str(batch), "WORKER_CLAIM_BATCH": str(batch)}
        worker = ThisWorker(self._client, self._database, Settings())
        async with worker.working(lambda: None):
            while not await worker.is_empty():  # noqa: ASYNC110 (the database has no event)
                await asyncio.sleep(POLL_SECONDS)


async def measure(folder: Path, options: argparse.Namespace, report: Report) -> None:
    """Measure all steps with all batches on a new stack, and report the figures."""
    command = ("worker", "local", "--json", "--port", "0", "--data", str(folder / "data"))
    async with AsyncExitStack() as resources:
        process = await resources.enter_async_context(running(*command, log=folder / "log"))
        stack = await ready(process)
        os.environ |= {"SUPABASE_URL": stack["url"], "SUPABASE_SERVICE_ROLE_KEY": stack["service_role_key"]}
        database = await resources.enter_async_context(await connect(stack))
        client = await resources.enter_async_context(
            open_client(stack["url"], stack["service_role_key"], timeout_seconds=60)
        )
        ladder = Ladder(database, client, options.runs)
        await ladder.prepare()
        roots = {"local stack": [process.pid], "caller": [os.getpid()]}
        batches = map(int, options.batches.split(","))
        rows = [await ladder.measure(name, batch, roots) for batch in batches for name in ladder.steps]
        report.condition(
            f"{options.runs:,} runs without pages. The local stack is one process, with the gateway and Realtime; the "
            "caller is another. The figures of the worker include its start and stop, and what Realtime does for it."
        )
        report.table("What each layer adds", COLUMNS, rows)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="scripts/bench/ladder", description=__doc__)
    parser.add_argument("--runs", type=int, default=2000, help="runs in a full queue (default: %(default)s)")
    parser.add_argument("--batches", default="10,100", help="runs of one claim (default: %(default)s)")
    add_json_argument(parser)
    options = parser.parse_args()
    with reporting(options.json) as report, tempfile.TemporaryDirectory(prefix="search-worker-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        run_until_signalled(measure(folder, options, report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
