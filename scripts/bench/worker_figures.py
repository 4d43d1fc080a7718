"""Measures a worker on a local stack: start time, memory, latencies, and the events of one run."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from worker.database.changes import Binding, Change, Subscribed, changes
from worker.database.user import User, signed_in_as
from worker.local.processes import ready, running

SAMPLES = 100
STARTS = 5
TABLES = ("search_runs",)

console = Console(highlight=False)


async def main(folder: Path) -> None:
    """Start a stack, the boards and a worker, and print the figures."""
    log = folder / "log"
    async with AsyncExitStack() as resources:
        stack = await ready(
            await resources.enter_async_context(
                running("worker", "local", "--json", "--port", "0", "--data", str(folder / "data"), log=log)
            )
        )
        boards = await ready(await resources.enter_async_context(running("worker.local.boards", "--json", log=log)))
        user = await resources.enter_async_context(
            signed_in_as(stack["url"], stack["anon_key"], "ada@example.com", "correct horse battery", create=True)
        )
        environment = {
            "SUPABASE_URL": stack["url"],
            "SUPABASE_SERVICE_ROLE_KEY": stack["service_role_key"],
            "WORKER_EXITS": f"boards={boards['proxy_url']}",
            "JOBSPY_CA_CERT": boards["ca_cert"],
            "JOBSPY_PAGE_DELAY_SECONDS": "0,0",
            "WORKER_LOG_FORMAT": "json",
            "WORKER_ID": "bench",
        }
        await asyncio.to_thread(measure_start, environment)
        async with running("worker", "run", log=log, **environment):
            await measure_pickup(user)
            await measure_events(user, stack)


def measure_start(environment: dict[str, str]) -> None:
    """Print the time from the start of a worker to its first claim, and its resident memory when idle."""
    seconds, megabytes = [], []
    for _ in range(STARTS):
        started = time.monotonic()
        command = [sys.executable, "-m", "worker", "run"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | environment) as process:
            assert process.stderr is not None
            while b"Ready: " not in process.stderr.readline():
                pass
            seconds.append(time.monotonic() - started)
            time.sleep(1)
            resident = subprocess.check_output(["ps", "-o", "rss=", "-p", str(process.pid)])
            megabytes.append(int(resident) / 1024)
            process.terminate()
    console.print(f"start to first claim: median {statistics.median(seconds):.2f} s of {STARTS}")
    console.print(f"resident memory idle: median {statistics.median(megabytes):.0f} MB of {STARTS}")


async def measure_pickup(user: User) -> None:
    """Print the time from an insert until an idle worker claims the run, and from a commit to the message."""
    pickups, messages = [], []
    for number in range(SAMPLES):
        # A site that does not support the country fails before any request: only the queue is measured.
        run = await user.enqueue(
            "jobs", {"search_term": f"{number}", "sites": ["naukri"], "country": "usa", "results_wanted": 1}
        )
        async with aclosing(user.follow([run["id"]])) as states:
            async for state in states:
                last = state[run["id"]].run
        pickups.append(milliseconds(last["created_at"], last["started_at"]))
        messages.append(milliseconds(last["completed_at"], datetime.now(UTC).isoformat()))
    console.print(f"insert to running: {percentiles(pickups)}")
    console.print(f"commit to the subscriber's message: {percentiles(messages)}")


async def measure_events(user: User, stack: dict[str, str]) -> None:
    """Print the changes that a subscriber of all published tables receives for one run of 3 sites and 300 results."""
    counted: Counter[str] = Counter()
    bindings = [Binding(table) for table in TABLES]
    run_id = None
    async with aclosing(changes(stack["url"], stack["service_role_key"], bindings)) as events:
        async for event in events:
            if isinstance(event, Subscribed):
                run = await user.enqueue(
                    "jobs",
                    {"search_term": "a", "sites": ["linkedin", "indeed", "zip_recruiter"], "results_wanted": 100},
                )
                run_id = run["id"]
            elif isinstance(event, Change) and run_id in (event.record.get("run_id"), event.record.get("id")):
                counted[f"{event.table} {event.type}"] += 1
                if event.table == "search_runs" and event.record["completed_at"]:
                    console.print(f"one run, {event.record['jobs_found']} results: {sum(counted.values())} events")
                    break
    for what, count in sorted(counted.items()):
        console.print(f"  {what}: {count}")


def milliseconds(start: str, end: str) -> float:
    """Return the time between two ISO timestamps in milliseconds."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() * 1000


def percentiles(values: Sequence[float]) -> str:
    """Return the 50th and the 95th percentile as text."""
    cuts = statistics.quantiles(values, n=20)
    return f"p50 {statistics.median(values):.0f} ms, p95 {cuts[18]:.0f} ms of {len(values)}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="search-worker-bench-") as name:
        Path(name).chmod(0o755)
        sys.exit(asyncio.run(main(Path(name))))
