"""Measures a worker on a local stack: start time, memory, latencies, and the events of one run."""

from __future__ import annotations

import argparse
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

from scripts.bench.report import Column, Report, add_json_argument, reporting
from worker.database.changes import Binding, Change, Subscribed, changes
from worker.database.user import User, signed_in_as
from worker.local.processes import ready, running

TABLES = ("search_runs",)


async def measure(folder: Path, report: Report, *, samples: int, starts: int) -> None:
    """Start a stack, the boards and a worker, and report the figures."""
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
        await asyncio.to_thread(measure_start, environment, report, starts)
        async with running("worker", "run", log=log, **environment):
            await measure_pickup(user, report, samples)
            await measure_events(user, stack, report)


def measure_start(environment: dict[str, str], report: Report, starts: int) -> None:
    """Report the time from the start of a worker to its first claim, and its resident memory when idle."""
    seconds, megabytes = [], []
    for _ in range(starts):
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
    report.condition(f"The median of {starts} starts.")
    report.table(
        "A start",
        [Column("a worker"), Column("start to first claim", "s", 2), Column("resident memory, idle", "MiB")],
        [("worker run", statistics.median(seconds), statistics.median(megabytes))],
    )


async def measure_pickup(user: User, report: Report, samples: int) -> None:
    """Report the time from an insert until an idle worker claims the run, and from a commit to the message."""
    pickups, messages = [], []
    for number in range(samples):
        # A site that does not support the country fails before any request: only the queue is measured.
        run = await user.enqueue(
            "jobs", {"search_term": f"{number}", "sites": ["naukri"], "country": "usa", "results_wanted": 1}
        )
        async with aclosing(user.follow([run["id"]])) as states:
            async for state in states:
                last = state[run["id"]].run
        pickups.append(milliseconds(last["created_at"], last["started_at"]))
        messages.append(milliseconds(last["completed_at"], datetime.now(UTC).isoformat()))
    report.condition(f"{samples} runs one after another, for the latencies.")
    report.table(
        "Latencies",
        [Column("from what to what"), Column("p50", "ms"), Column("p95", "ms")],
        [
            ("from insert to running", *percentiles(pickups)),
            ("from commit to the subscriber's message", *percentiles(messages)),
        ],
    )


async def measure_events(user: User, stack: dict[str, str], report: Report) -> None:
    """Report the changes that a subscriber of all published tables receives for one run of 3 sites and 300 results."""
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
                    found = event.record["jobs_found"]
                    break
    rows = [*sorted(counted.items()), ("all", sum(counted.values()))]
    report.table(f"Events of one run of {found} results", [Column("event"), Column("events")], rows)


def milliseconds(start: str, end: str) -> float:
    """Return the time between two ISO timestamps in milliseconds."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() * 1000


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the 50th and the 95th percentile."""
    cuts = statistics.quantiles(values, n=20)
    return statistics.median(values), cuts[18]


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="scripts/bench/worker", description=__doc__)
    parser.add_argument("--starts", type=int, default=5, help="starts of a worker (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=100, help="runs for the latencies (default: %(default)s)")
    add_json_argument(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="search-worker-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, Postgres runs as another user
        with reporting(options.json) as report:
            asyncio.run(measure(folder, report, samples=options.samples, starts=options.starts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
