"""Measures searches through several exits: at a site that blocks each exit after some pages, and without blocks.

Everything is real but the site, which is played on loopback and distinguishes exits: the database, the worker, its
requests. The time of the blocks is shorter than in life, and so are the pauses of the breaker. All of it shares the
processors of this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

from psycopg.types.json import Jsonb

from scripts.bench.local_stack import Connection, connect, on_local_stack
from scripts.bench.report import Column, Report, add_json_argument, reporting
from tests.support.exits import EndlessArbeitnow, asked_while_blocked, by_exit, keep_pace
from worker.local.boards import Boards, ExitRule

SITE = "arbeitnow"
PAGES_BEFORE_BLOCK = 10
USERS = 10
PACE_SECONDS = 0.2
SLOW_SECONDS = 1.0
ANSWER_SECONDS = SLOW_SECONDS + 0.5
"""A request that was sent before the refusal of the slow exit arrived is no violation."""
CONCURRENCY = 20
TIMEOUT_SECONDS = 1800
COUNTS = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round of searches came to.

    Attributes:
        statuses: Runs by status and attempts.
        seconds: Time from the first claim to the end of the last run.
        pages: Pages that the site answered.
    """

    statuses: Counter[tuple[str, int]]
    seconds: float
    pages: int


async def measure(stack: dict[str, str], options: argparse.Namespace, report: Report) -> None:
    """Measure on a stack, and report the figures."""
    database = await connect(stack)
    await _prepare(database, options.block_seconds)
    report.condition(
        f"The site blocks an exit for {options.block_seconds:g} s after {PAGES_BEFORE_BLOCK} pages, and a request "
        f"through an exit may follow another one after {PACE_SECONDS} s. Of ten exits three are blocked at the start "
        f"(seed {options.seed}), one is broken, and one takes {SLOW_SECONDS:g} s."
    )

    names = [f"exit-{number}" for number in range(10)]
    chance = random.Random(options.seed)  # noqa: S311
    blocked = chance.sample(names[:8], 3)
    rule = ExitRule(pages=PAGES_BEFORE_BLOCK, block_seconds=options.block_seconds)
    async with Boards(instead={SITE: EndlessArbeitnow}) as boards:
        boards.block_exits(SITE, rule)
        boards.exits.break_exit(names[8])
        boards.exits.slow_exit(names[9], SLOW_SECONDS)
        for name in blocked:
            boards.exits.block(SITE, name, time.monotonic() + chance.uniform(2, options.block_seconds))
        outcome = await _search(stack, database, boards, names, options.searches, results=100)
        what = f"Ten exits, {options.searches} searches of 100 results"
        _report_blocks(report, what, boards, outcome, options.block_seconds)
        answer = await database.execute(
            "select data ->> 'error_code', count(*) from public.run_events where event = 'exit_left' group by 1"
        )
        report.table("Exits left", [Column("reason"), Column("times")], await answer.fetchall())

    async with Boards(instead={SITE: EndlessArbeitnow}) as boards:
        await _forget(database)
        boards.block_exits(SITE, rule)
        outcome = await _search(stack, database, boards, names[:1], 5, results=30)
        _report_blocks(report, "One exit, 5 searches of 30 results", boards, outcome, options.block_seconds)

    rows = []
    for count in COUNTS:
        async with Boards(instead={SITE: EndlessArbeitnow}) as boards:
            await _forget(database)
            outcome = await _search(stack, database, boards, names[:count], 20, results=50)
            span = boards.requests(SITE)[-1].at - boards.requests(SITE)[0].at
            rows.append((count, outcome.pages, span, outcome.pages / span * 3600))
    report.table(
        "Pages an hour by number of exits, without blocks",
        [Column("exits"), Column("pages"), Column("time", "s", 1), Column("pages an hour")],
        rows,
    )
    await database.close()


def _report_blocks(report: Report, what: str, boards: Boards, outcome: Outcome, block_seconds: float) -> None:
    rows = []
    for name, requests in sorted(by_exit(boards, SITE).items()):
        pauses = [later.at - earlier.at for earlier, later in pairwise(requests)]
        refused = sum(request.failure is not None for request in requests)
        shortest = min(pauses) * 1000 if pauses else None
        rows.append((name, len(requests), len(requests) - refused, refused, shortest))
    counts = [Column("requests"), Column("answered"), Column("refused"), Column("shortest pause", "ms")]
    report.table(f"{what}: requests", [Column("exit"), *counts], rows)
    ends = [(f"{status}, attempt {attempt}", count) for (status, attempt), count in outcome.statuses.items()]
    report.table(f"{what}: how they ended", [Column("status"), Column("runs")], ends)
    early = asked_while_blocked(boards, SITE, block_seconds, ANSWER_SECONDS)
    report.table(
        f"{what}: in all",
        [Column("pages"), Column("time", "s"), Column("requests through a blocked exit"), Column("exits keep pace")],
        [(outcome.pages, outcome.seconds, len(early), "yes" if keep_pace(boards, SITE, PACE_SECONDS) else "no")],
    )


async def _prepare(database: Connection, block_seconds: float) -> None:
    """Make pauses as short as the blocks, and let users search as much as they like."""
    await database.execute(
        "update worker.breaker_rules set pause = make_interval(secs => %s), max_pause = '1 hour'"
        " where error_code = 'blocked'",
        [block_seconds],
    )
    await database.execute(
        "update worker.settings set max_running_per_user = 100, max_pending_per_user = 1000, freshness = '0',"
        " permit_slack = '50 ms'"
    )
    await database.execute(
        "insert into worker.bucket_limits (bucket, min_delay_seconds, searches) values (%s, %s, 1000)",
        [SITE, PACE_SECONDS],
    )


async def _forget(database: Connection) -> None:
    for table in ("site_health", "site_buckets", "site_failures", "site_shares", "site_waits"):
        await database.execute(f"delete from worker.{table}")  # noqa: S608


async def _search(
    stack: dict[str, str], database: Connection, boards: Boards, names: list[str], searches: int, *, results: int
) -> Outcome:
    """Let a worker search until all runs have ended."""
    batch = str(uuid4())
    users = [uuid4() for _ in range(USERS)]
    for user in users:
        await database.execute("insert into auth.users (id, email) values (%s, %s)", [user, f"{user}@example.com"])
    for number in range(searches):
        parameters = {"search_term": "nurse", "sites": [SITE], "results_wanted": results, "hours_old": 5000 + number}
        await database.execute(
            "insert into public.search_runs (user_id, kind, parameters, client_context) values (%s, 'jobs', %s, %s)",
            [users[number % USERS], json.dumps(parameters), Jsonb({"batch": batch})],
        )
    with tempfile.TemporaryDirectory(prefix="search-worker-bench-") as spool:
        environment = {
            "SUPABASE_URL": stack["url"],
            "SUPABASE_SERVICE_ROLE_KEY": stack["service_role_key"],
            "WORKER_EXITS": ",".join(f"{name}={boards.exit_url(name)}" for name in names),
            "WORKER_HTTP_CA_CERT": str(boards.ca_cert),
            "WORKER_CONCURRENCY": str(CONCURRENCY),
            "WORKER_CLAIM_BATCH": str(CONCURRENCY),
            "WORKER_POLL_SECONDS": "0.2",
            "WORKER_SPOOL_DIR": str(Path(spool)),
            "WORKER_LOG_FORMAT": "json",
        }
        began_at = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "worker", "run", env=os.environ | environment, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while rows := await _unfinished(database, batch):
                    del rows
                    await asyncio.sleep(0.5)
        finally:
            seconds = time.monotonic() - began_at
            process.kill()
            await process.wait()
    query: LiteralString = """
        select status::text, attempts, count(*) from public.search_runs
        where client_context ->> 'batch' = %s group by 1, 2
    """
    answer = await database.execute(query, [batch])
    statuses = Counter({(status, attempts): count for status, attempts, count in await answer.fetchall()})
    answered = sum(request.failure is None for request in boards.requests(SITE))
    return Outcome(statuses, seconds, answered)


async def _unfinished(database: Connection, batch: str) -> list[Any]:
    answer = await database.execute(
        "select id from public.search_runs where client_context ->> 'batch' = %s and completed_at is null limit 1",
        [batch],
    )
    return await answer.fetchall()


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="scripts/bench/exits", description=__doc__)
    parser.add_argument("--searches", type=int, default=50, help="searches of 100 results through ten exits (50)")
    parser.add_argument("--block-seconds", type=float, default=20, help="how long the site blocks an exit (20)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the exits that are blocked at random (1)")
    add_json_argument(parser)
    options = parser.parse_args()
    with reporting(options.json) as report:
        on_local_stack(lambda stack: measure(stack, options, report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
