"""Measures the memory of a worker with many searches at once, under a real limit of the kernel.

The worker runs in a control group of its own; the local stack and the played job boards do not. The kernel kills a
process of the group that exceeds the limit, so the figures say how many were killed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from scripts.bench.report import Column, Report, add_json_argument, reporting
from worker.database.user import User, signed_in_as
from worker.local.processes import ready, running

MIB = 2**20
GROUP = f"search-worker-bench-{os.getpid()}"
SAMPLE_SECONDS = 0.05
USERS = 8
SITES = ["indeed", "linkedin", "zip_recruiter", "glassdoor", "bayt"]


class NoGroupError(Exception):
    """This machine lets us make no control group with a limit of memory."""


@dataclass(frozen=True, slots=True)
class Group:
    """A control group.

    Attributes:
        folder: Its folder below `/sys/fs/cgroup`.
        is_unified: Whether it is of version 2 of the kernel's interface.
    """

    folder: Path
    is_unified: bool

    @property
    def used(self) -> int:
        """Memory of its processes in bytes, without the page cache that the kernel can drop at once."""
        name = "memory.current" if self.is_unified else "memory.usage_in_bytes"
        inactive = "inactive_file" if self.is_unified else "total_inactive_file"
        statistics = dict(line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        return int((self.folder / name).read_text()) - int(statistics[inactive])

    @property
    def killed(self) -> int:
        """Number of processes that the kernel has killed for memory."""
        name = "memory.events" if self.is_unified else "memory.oom_control"
        counts = dict(line.split() for line in (self.folder / name).read_text().splitlines())
        return int(counts["oom_kill"])


@contextmanager
def group_of(limit_bytes: int) -> Iterator[Group]:
    """Make a control group with a limit of memory, and remove it at the end.

    Raises:
        NoGroupError: It cannot be made here.
    """
    root = Path("/sys/fs/cgroup")
    is_unified = (root / "cgroup.controllers").exists()
    folder = (root if is_unified else root / "memory") / GROUP
    try:
        folder.mkdir()
        name = "memory.max" if is_unified else "memory.limit_in_bytes"
        (folder / name).write_text(str(limit_bytes))
        for swap in ("memory.swap.max", "memory.swappiness"):
            with suppress(OSError):
                (folder / swap).write_text("0")
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        raise NoGroupError(f"{error.filename}: {error.strerror}") from None
    try:
        yield Group(folder, is_unified)
    finally:
        folder.rmdir()


@dataclass
class Peaks:
    """The greatest values that were sampled.

    Attributes:
        used: Memory of the group in bytes.
        children: Number of scrapers.
        by_children: The greatest memory in bytes by the number of scrapers.
        worker: Resident memory of the main process in bytes.
    """

    used: int = 0
    children: int = 0
    by_children: dict[int, int] = field(default_factory=dict)
    worker: int = 0


async def measure(options: argparse.Namespace, folder: Path, report: Report) -> int:
    """Start a stack, the boards and a worker, let it search, and report the figures. Return the exit code."""
    log = folder / "log"
    async with AsyncExitStack() as resources:
        group = resources.enter_context(group_of(options.limit * MIB))
        stack = await ready(
            await resources.enter_async_context(
                running("worker", "local", "--json", "--port", "0", "--data", str(folder / "data"), log=log)
            )
        )
        # Slow answers, so that many scrapers are at work at once.
        playing = running("worker.local.boards", "--json", "--latency-ms", str(options.latency_ms), log=log)
        boards = await ready(await resources.enter_async_context(playing))
        # A user may have only some running searches at once.
        users = [
            await resources.enter_async_context(
                signed_in_as(stack["url"], stack["anon_key"], f"{name}@example.com", "correct horse", create=True)
            )
            for name in range(USERS)
        ]
        environment = {
            "SUPABASE_URL": stack["url"],
            "SUPABASE_SERVICE_ROLE_KEY": stack["service_role_key"],
            "WORKER_EXITS": f"boards={boards['proxy_url']}",
            "JOBSPY_CA_CERT": boards["ca_cert"],
            "JOBSPY_PAGE_DELAY_SECONDS": "0,0",
            "WORKER_LOG_FORMAT": "json",
            "WORKER_CONCURRENCY": str(options.searches),
            "WORKER_CLAIM_BATCH": str(options.searches),
        }
        worker_log = folder / "worker.log"
        # Enqueued before the worker starts: it claims all of them at once.
        runs = [await enqueue(users[number % USERS], number, options.results) for number in range(options.runs)]
        process = await resources.enter_async_context(
            running("scripts.bench.memory_in_group", str(group.folder), log=worker_log, **environment)
        )
        began_at = time.monotonic()
        async with sampled(group, process.pid) as peaks:
            statuses = Counter[str]()
            for number, user in enumerate(users[: options.runs]):
                statuses += await ended(user, runs[number::USERS])
        seconds = time.monotonic() - began_at
        report.condition(
            f"{options.runs} runs of {len(SITES)} sites and {options.results} results each, WORKER_CONCURRENCY "
            f"{options.searches}, limit {options.limit} MiB (control group v{2 if group.is_unified else 1})."
        )
        ends = ", ".join(f"{count} {status}" for status, count in statuses.items())
        report.table(
            "Greatest memory",
            [
                Column("runs"), Column("until all ended", "s"), Column("in all", "MiB"), Column("main process", "MiB"),
                Column("scrapers at once"), Column("killed for memory"),
            ],
            [(ends, seconds, peaks.used / MIB, peaks.worker / MIB, peaks.children, group.killed)],
        )  # fmt: skip
        report.table(
            "Greatest memory by scrapers at once",
            [Column("scrapers"), Column("in all", "MiB")],
            [(children, used / MIB) for children, used in sorted(peaks.by_children.items())],
        )
        logged = [json.loads(line) for line in worker_log.read_text().splitlines() if line.startswith("{")]
        report.table(
            "What the worker logged about searches at once, and of processes that were killed",
            [Column("line")],
            [(line["message"],) for line in logged if "at once" in line["message"] or "SIGKILL" in line["message"]],
        )
        return 0 if group.killed == 0 and set(statuses) == {"success"} else 1


async def enqueue(user: User, number: int, results: int) -> str:
    """Enqueue a search that no other one equals; return its id."""
    parameters = {"search_term": "engineer", "hours_old": 5000 + number, "sites": SITES, "results_wanted": results}
    run = await user.enqueue("jobs", parameters)
    return str(run["id"])


@asynccontextmanager
async def sampled(group: Group, pid: int) -> AsyncIterator[Peaks]:
    """Sample the memory of a worker and of its group."""
    peaks = Peaks()

    async def sample() -> None:
        worker = psutil.Process(pid)
        while True:
            used = group.used
            peaks.used = max(peaks.used, used)
            with suppress(psutil.Error):
                peaks.worker = max(peaks.worker, worker.memory_info().rss)
                # The forkserver and the resource tracker are children, the scrapers children of the forkserver.
                children = sum(len(child.children()) for child in worker.children())
                peaks.children = max(peaks.children, children)
                peaks.by_children[children] = max(peaks.by_children.get(children, 0), used)
            await asyncio.sleep(SAMPLE_SECONDS)

    task = asyncio.create_task(sample())
    try:
        yield peaks
    finally:
        task.cancel()


async def ended(user: User, runs: list[str]) -> Counter[str]:
    """Wait until all runs have ended; return how many ended with each status."""
    async with aclosing(user.follow(runs)) as states:
        async for state in states:
            last = state
    return Counter(str(last[run].run["status"]) for run in runs)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="scripts/bench/memory", description=__doc__)
    parser.add_argument("--limit", type=int, default=512, help="limit in MiB (default: %(default)s)")
    parser.add_argument("--searches", type=int, default=8, help="searches at once (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=24, help="runs in all (default: %(default)s)")
    parser.add_argument("--results", type=int, default=100, help="results wanted of each site (default: %(default)s)")
    parser.add_argument(
        "--latency-ms", type=int, default=500, help="delay of each answer of a site (default: %(default)s)"
    )
    add_json_argument(parser)
    options = parser.parse_args()
    with reporting(options.json) as report, tempfile.TemporaryDirectory(prefix="search-worker-bench-") as name:
        Path(name).chmod(0o755)
        return asyncio.run(measure(options, Path(name), report))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NoGroupError as reason:
        print(f"This machine allows no control group with a limit: {reason}", file=sys.stderr)
        sys.exit(2)
