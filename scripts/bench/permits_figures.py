"""Measures the cost of a permit, compared with its page, and how many permits several workers get for one site."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from scripts.bench.load_pages import ITEMS, make_page, page_to_save
from scripts.bench.local_stack import Connection, Lease, connect, on_local_stack, start_run
from scripts.bench.report import Column, Report, add_json_argument, reporting
from worker.database.client import open_client

SITES = ("linkedin", "indeed", "glassdoor", "zip_recruiter", "bayt", "naukri", "bdjobs", "hellowork")
LIMITS = {"requests": 1_000_000, "period_seconds": 1, "burst": 1_000_000}
"""A bucket that is counted, but has no limit."""

TAKE_PERMIT = "select public.worker_take_permit(%s, %s, %s, '', %s, 1, %s)"
SAVE_PAGES = "select public.worker_save_pages(%s)"
TAKE_PERMIT_WITH_EXITS = "select public.worker_take_permit(%s, %s, %s, '', %s, 1, %s, %s)"
EXITS = 10


class Bench:
    """One run of the bench.

    Args:
        stack: The JSON that `local --json` prints.
        options: Sizes, as parsed from the command line.
        report: Where the figures go.
    """

    def __init__(self, stack: dict[str, str], options: argparse.Namespace, report: Report) -> None:
        self._stack = stack
        self._report = report
        self._calls: int = options.calls
        self._rounds: int = options.rounds
        self._seed = 0

    async def run(self) -> None:
        """Measure in turns and report the figures."""
        async with AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(await connect(self._stack)) for _ in SITES]
            # With the default limits for one user, eight searches could not run at the same time.
            await connections[0].execute("update worker.settings set permit_slack = '0', max_running_per_user = null")
            ways: dict[str, Callable[[Sequence[Connection]], Awaitable[float]]] = {
                f"worker_save_pages, one of {ITEMS} items": self._save,
                "worker_take_permit": self._take,
                f"worker_take_permit, with {EXITS} exits": self._take_with_exits,
                "worker_take_permit, through the local gateway": self._take_through_gateway,
                f"{len(SITES)} at once, each for its own site": self._take_apart,
                f"{len(SITES)} at once, all for one site": self._take_together,
            }
            milliseconds: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(self._rounds):
                for way, measure in ways.items():
                    milliseconds[way].append(await measure(connections) * 1000)
        page = statistics.median(next(iter(milliseconds.values())))
        self._report.condition(f"{self._calls} calls, median of {self._rounds} rounds.")
        medians = {way: statistics.median(measured) for way, measured in milliseconds.items()}
        self._report.table(
            "What a permit costs",
            [Column("call"), Column("each", "ms", 2), Column("a second"), Column("to a page", digits=2)],
            [(way, median, 1000 / median, median / page) for way, median in medians.items()],
        )

    async def _save(self, connections: Sequence[Connection]) -> float:
        run = await start_run(connections[0], SITES[0])
        pages = [make_page(number + 1, self._seed + number) for number in range(self._calls)]
        self._seed += len(pages)
        calls = [(json.dumps([page_to_save(*run, SITES[0], page)]),) for page in pages]
        started = time.perf_counter()
        for call in calls:
            await connections[0].execute(SAVE_PAGES, call, prepare=True)
        return (time.perf_counter() - started) / len(calls)

    async def _take(self, connections: Sequence[Connection]) -> float:
        return await self._take_at(connections[:1], SITES[:1])

    async def _take_with_exits(self, connections: Sequence[Connection]) -> float:
        exits = json.dumps([{"name": f"exit-{number}"} for number in range(EXITS)])
        connection = connections[0]
        run = await start_run(connection, SITES[0])
        started = time.perf_counter()
        for _ in range(self._calls):
            answer = await connection.execute(
                TAKE_PERMIT_WITH_EXITS, (*run, SITES[0], SITES[0], json.dumps(LIMITS), exits), prepare=True
            )
            row = await answer.fetchone()
            assert row is not None
            assert row[0]["granted"], row
        return (time.perf_counter() - started) / self._calls

    async def _take_apart(self, connections: Sequence[Connection]) -> float:
        return await self._take_at(connections, SITES)

    async def _take_together(self, connections: Sequence[Connection]) -> float:
        return await self._take_at(connections, SITES[:1] * len(SITES))

    async def _take_at(self, connections: Sequence[Connection], sites: Sequence[str]) -> float:
        runs = [await start_run(connections[0], site) for site in sites]

        async def take(connection: Connection, run: Lease, site: str) -> None:
            for _ in range(self._calls):
                answer = await connection.execute(TAKE_PERMIT, (*run, site, site, json.dumps(LIMITS)), prepare=True)
                row = await answer.fetchone()
                assert row is not None
                assert row[0]["granted"], row

        started = time.perf_counter()
        await asyncio.gather(*map(take, connections, runs, sites))
        return (time.perf_counter() - started) / (self._calls * len(sites))

    async def _take_through_gateway(self, connections: Sequence[Connection]) -> float:
        run_id, lease_token = await start_run(connections[0], SITES[0])
        arguments = {
            "run_id": str(run_id), "lease_token": str(lease_token), "site": SITES[0], "account": "",
            "bucket": SITES[0], "requests": 1, "limits": LIMITS,
        }  # fmt: skip
        async with open_client(self._stack["url"], self._stack["service_role_key"], timeout_seconds=60) as client:
            started = time.perf_counter()
            for _ in range(self._calls):
                await client.rpc("worker_take_permit", arguments).execute()
            return (time.perf_counter() - started) / self._calls


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="scripts/bench/permits", description=__doc__)
    parser.add_argument("--calls", type=int, default=200, help="calls in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: %(default)s)")
    add_json_argument(parser)
    options = parser.parse_args()
    with reporting(options.json) as report:
        on_local_stack(lambda stack: Bench(stack, options, report).run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
