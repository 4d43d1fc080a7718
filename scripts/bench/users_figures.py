"""Measures what many users at once see: each enqueues, watches, pages, cancels and re-runs searches.

Everything is real but the job boards, which are on loopback: the database, the users' clients and subscriptions, and
the workers. All of it shares the processors of this machine.

A user waits for a run as the client of examples/nextjs/lib/search does: an event is a hint to read the run, and it is
read from time to time without one. Between two searches a user reads; with the default, the workers are in use for a
part of the time, which is printed. Waiting for a worker or for a site that others search is no error, and is printed as
what it is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString, TypeVar

import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from supabase import AsyncClient

from scripts.bench.local_stack import connect
from scripts.bench.processor_time import cpu_seconds
from scripts.bench.report import Column, Report, add_json_argument, reporting
from worker.database.changes import Binding, Change, Subscribed, changes
from worker.database.client import open_client
from worker.database.user import FINAL_STATUSES
from worker.local.loopback import free_port
from worker.local.processes import ready, run_until_signalled, running

TERMS = [f"{level} {job}" for level in ("junior", "senior", "lead", "staff") for job in (
    "engineer", "designer", "manager", "nurse", "teacher", "driver", "analyst", "writer", "cook", "welder",
)]  # fmt: skip
PLACES = (
    "Atlanta, GA", "Austin, TX", "Boston, MA", "Chicago, IL", "Dallas, TX", "Denver, CO", "New York, NY",
    "Phoenix, AZ", "San Francisco, CA", "Seattle, WA",
)  # fmt: skip
"""With the terms and the sites there are 1,600 searches: few are equal."""
SITES = ("linkedin", "indeed", "zip_recruiter", "glassdoor")
RESULTS_WANTED = 40
LATENCY_MS = 250
"""Delay of each answer of the job boards."""

SIGN_INS_AT_ONCE = 4
"""Each computes a slow hash of a password."""
CANCELLED, RE_RUN = 0.1, 0.2
"""Shares of the searches that are cancelled, and run again."""
CANCELLED_AFTER_SECONDS = (0.5, 4)
PAGES = 3
REQUEST_SECONDS = 30
SHORT_PAUSE, LONG_PAUSE, PAUSE_FACTOR = 3, 30, 1.5
"""When a run is read without a hint, in seconds, as in examples/nextjs/lib/search/changes.ts."""
END_SECONDS = 60
"""For how long runs are awaited after the last one has been started."""
EVENT_SECONDS = 3
"""An event that has not come by then, after the last run, is lost."""
CONCURRENCY = 5

# Each claim with what ended it; and each wait for a site with the claim after it.
_SPANS: LiteralString = """
select event.run_id, event.event, extract(epoch from event.next_at - event.created_at)::float as seconds
from (
    select run_id, event, created_at,
           lead(created_at) over (partition by run_id order by created_at, event = 'claimed') as next_at
    from public.run_events
    where event in ('claimed', 'deferred', 'retried', 'released', 'rescued', 'finished', 'cancelled')
) as event
where event.event in ('claimed', 'deferred', 'rescued') and event.next_at is not null
"""
_SITE_SECONDS: LiteralString = """
select site.site, count(*), sum(extract(epoch from site.completed_at - site.started_at))::float
from public.search_run_sites as site
where site.started_at is not null and site.completed_at is not null
group by site.site order by site.site
"""

progress = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

Row = dict[str, Any]
T = TypeVar("T")


@dataclass(slots=True)
class Measured:
    """What the users saw.

    Attributes:
        seconds: Durations by what they are of.
        requests: Number of requests by kind.
        statuses: Number of runs by their final status.
        errors: Number of errors by kind.
        calls: Number of calls of the workers by function.
        ended: Ids of the runs whose end was read.
        announced: Ids of the runs whose end came as an event.
        is_answered: Number of runs that another run has answered.
        leases_lost: How often a run was taken back from a worker that was not heard of.
        searches: Searches of each site, and how long they took in seconds, in all.
    """

    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    ended: set[str] = field(default_factory=set)
    announced: set[str] = field(default_factory=set)
    is_answered: int = 0
    leases_lost: int = 0
    searches: dict[str, tuple[int, float]] = field(default_factory=dict)

    async def timed(self, kind: str, request: Awaitable[T]) -> T | None:
        """Await a request and note its duration. Return None if it failed."""
        self.requests[kind] += 1
        started = time.monotonic()
        try:
            answer = await request
        except Exception as error:  # noqa: BLE001 (every error is counted and shown)
            self.errors[f"{kind}: {type(error).__name__}: {error}"[:150]] += 1
            return None
        self.seconds[kind].append(time.monotonic() - started)
        return answer


class BusyUser:
    """A signed-in user with one subscription to the runs of the account, as a frontend has.

    Args:
        client: The client of the user.
        measured: Where figures are noted.
        chance: What the user does.
    """

    def __init__(self, client: AsyncClient, measured: Measured, chance: random.Random) -> None:
        self._client = client
        self._measured = measured
        self._chance = chance
        self._hinted = asyncio.Event()

    async def watch(self, url: str, key: str, user_id: str, is_subscribed: asyncio.Event) -> None:
        """Follow the runs of the user, and note how long each change was under way."""

        async def token() -> str:
            session = await self._client.auth.get_session()
            assert session is not None
            return session.access_token

        bindings = [Binding("search_runs", filter=f"user_id=eq.{user_id}")]
        async with aclosing(changes(url, key, bindings, access_token=token)) as events:
            async for event in events:
                if isinstance(event, Subscribed):
                    is_subscribed.set()
                elif isinstance(event, Change):
                    sent_at = datetime.fromisoformat(event.commit_timestamp)
                    self._measured.seconds["commit to event"].append((datetime.now(UTC) - sent_at).total_seconds())
                    if event.record.get("status") in FINAL_STATUSES:
                        self._measured.announced.add(event.record["id"])
                self._hinted.set()

    async def search_until(self, deadline: float, pause_seconds: float) -> None:
        """Search, read and search again.

        Args:
            deadline: When the last search starts, on the clock of the event loop. Runs are awaited for longer.
            pause_seconds: Mean time that the user reads before the next search.
        """
        clock = asyncio.get_running_loop().time
        # At the start, as in the middle of a day: some have just read, others search soon.
        pause = self._chance.uniform(0, pause_seconds)
        while pause < deadline - clock():
            await asyncio.sleep(pause)
            pause = self._chance.uniform(0.5 * pause_seconds, 1.5 * pause_seconds)
            run = await self._enqueue()
            if run is None:
                continue
            if self._chance.random() < CANCELLED:
                await asyncio.sleep(self._chance.uniform(*CANCELLED_AFTER_SECONDS))
                await self._rpc("cancel", "cancel_search", {"run_id": run["id"]})
            await self._read(run, deadline)
            if self._chance.random() < RE_RUN and clock() < deadline:
                again = await self._rpc("insert", "rerun_search", {"run_id": run["id"]})
                if again is not None:
                    await self._read(again, deadline)

    async def _enqueue(self) -> Row | None:
        sites = self._chance.sample(SITES, 3)
        parameters = {
            "search_term": self._chance.choice(TERMS),
            "location": self._chance.choice(PLACES),
            "sites": sites,
            "country": "usa",
            "results_wanted": RESULTS_WANTED,
        }
        run: Row | None = await self._rpc("insert", "enqueue_search", {"kind": "jobs", "parameters": parameters})
        return run

    async def _read(self, run: Row, deadline: float) -> None:
        """Wait for the end of a run, then read its first pages."""
        measured = self._measured
        last = run if run["status"] in FINAL_STATUSES else await self._followed(run, deadline + END_SECONDS)
        if last["completed_at"] is None:
            measured.statuses[f"still {last['status']}"] += 1
            return
        measured.statuses[f"{last['status']} ({last['error_code']})" if last["error_code"] else last["status"]] += 1
        measured.ended.add(last["id"])
        created_at, started_at, completed_at = (
            last[name] and datetime.fromisoformat(last[name]) for name in ("created_at", "started_at", "completed_at")
        )
        if last["shared_run_id"] is not None or last["leader_run_id"] is not None:
            measured.is_answered += 1
        elif started_at is not None:
            measured.seconds["wait for a worker"].append((started_at - created_at).total_seconds())
        measured.seconds["insert to end"].append((completed_at - created_at).total_seconds())
        for page in range(1, PAGES + 1):
            await self._rpc("page of items", "page_of_run_items", {"run_id": run["id"], "page": page})

    async def _followed(self, run: Row, latest: float) -> Row:
        """Return a run once it has ended, or as it is at the latest time."""
        clock = asyncio.get_running_loop().time
        last: tuple[Row, Any] = run, None
        pause: float = SHORT_PAUSE
        is_hinted = False
        while True:
            self._hinted.clear()
            state = await self._state(run["id"])
            if state is not None:
                is_changed, last = state != last, state
                pause = (
                    min(pause * PAUSE_FACTOR, LONG_PAUSE)
                    if not is_changed
                    else LONG_PAUSE
                    if is_hinted
                    else SHORT_PAUSE
                )
            left = latest - clock()
            if last[0]["completed_at"] is not None or left <= 0:
                return last[0]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(pause, left)):
                    await self._hinted.wait()
            is_hinted = self._hinted.is_set()

    async def _state(self, run_id: str) -> tuple[Row, Any] | None:
        """Return a run and its sites; None if a request failed."""
        runs = self._client.table("search_runs").select("*").eq("id", run_id)
        run = await self._measured.timed("read of a run", runs.execute())
        sites_of_run = self._client.table("run_sites").select("*").eq("run_id", run_id).order("position")
        sites = await self._measured.timed("read of its sites", sites_of_run.execute())
        return None if run is None or sites is None else (run.data[0], sites.data)  # type: ignore[return-value]

    async def _rpc(self, kind: str, function: str, arguments: Row) -> Any:
        answer = await self._measured.timed(kind, self._client.rpc(function, arguments).execute())
        return None if answer is None else answer.data


async def measure(folder: Path, options: argparse.Namespace, report: Report) -> None:
    """Start everything, let the users search, and report the figures."""
    log = folder / "log"
    measured = Measured()
    async with AsyncExitStack() as resources:

        async def start(*command: str, **environment: str) -> asyncio.subprocess.Process:
            return await resources.enter_async_context(running(*command, log=log, **environment))

        stack_process = await start("worker", "local", "--json", "--port", "0", "--data", str(folder / "data"))
        boards_process = await start("worker.local.boards", "--json", "--latency-ms", str(LATENCY_MS))
        stack, boards = await ready(stack_process), await ready(boards_process)
        environment = {
            "SUPABASE_URL": stack["url"],
            "SUPABASE_SERVICE_ROLE_KEY": stack["service_role_key"],
            "WORKER_EXITS": f"boards={boards['proxy_url']}",
            "JOBSPY_CA_CERT": boards["ca_cert"],
            "JOBSPY_PAGE_DELAY_SECONDS": "0.2,0.5",
            "WORKER_LOG_FORMAT": "json",
            "WORKER_LOG_LEVEL": "WARNING",
            "WORKER_CONCURRENCY": str(CONCURRENCY),
            "WORKER_GRACE_SECONDS": "5",
        }
        progress.print(f"Signing in {options.users} users.")
        busy = await resources.enter_async_context(signed_in(stack, options.users, measured))
        ports = [free_port() for _ in range(options.workers)]
        processes = [
            await start("worker", "run", WORKER_ID=f"worker-{port}", WORKER_HTTP_PORT=str(port), **environment)
            for port in ports
        ]

        report.condition(
            f"{options.users} users search for {options.seconds:g} s, each after {options.pause:g} s; "
            f"{options.workers} workers with {CONCURRENCY} places each."
        )
        roots = {"local stack": [stack_process.pid], "boards": [boards_process.pid], "users": [os.getpid()]}
        roots["workers"] = [process.pid for process in processes]
        before = cpu_seconds(roots)
        started = time.monotonic()
        deadline = asyncio.get_running_loop().time() + options.seconds
        await asyncio.gather(*(user.search_until(deadline, options.pause) for user in busy))
        elapsed = time.monotonic() - started
        after = cpu_seconds(roots)
        measured.calls = await calls_of_workers(ports)
        await asyncio.sleep(EVENT_SECONDS)
        in_use = await note_spans(measured, stack) / (options.workers * CONCURRENCY * elapsed)
    used = {part: after[part] - before[part] for part in after}
    report_figures(measured, report, elapsed=elapsed, in_use=in_use, cpu=used)


@asynccontextmanager
async def signed_in(stack: dict[str, str], count: int, measured: Measured) -> AsyncIterator[Sequence[BusyUser]]:
    """Sign users up, and subscribe each to the runs of the account."""
    at_once = asyncio.Semaphore(SIGN_INS_AT_ONCE)
    watching: list[asyncio.Task[None]] = []

    async def opened(resources: AsyncExitStack, number: int) -> BusyUser:
        async with at_once:
            client = await resources.enter_async_context(
                open_client(stack["url"], stack["anon_key"], timeout_seconds=REQUEST_SECONDS)
            )
            await client.auth.sign_up({"email": f"user-{number}@example.com", "password": "correct horse battery"})
            session = await client.auth.get_session()
            assert session is not None
            user = BusyUser(client, measured, random.Random(number))  # noqa: S311 (repeatable, not secret)
            is_subscribed = asyncio.Event()
            watch = user.watch(stack["url"], stack["anon_key"], session.user.id, is_subscribed)
            watching.append(asyncio.create_task(watch))
            async with asyncio.timeout(REQUEST_SECONDS):
                await is_subscribed.wait()
            return user

    async with AsyncExitStack() as resources:
        try:
            yield await asyncio.gather(*(opened(resources, number) for number in range(count)))
            failed = [task for task in watching if task.done()]
            measured.errors["subscription ended"] += len(failed)
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)


async def calls_of_workers(ports: Sequence[int]) -> Counter[str]:
    """Return how often the workers have called each function, from their metrics."""
    calls: Counter[str] = Counter()
    async with httpx.AsyncClient(timeout=REQUEST_SECONDS) as http:
        for port in ports:
            metrics = (await http.get(f"http://127.0.0.1:{port}/metrics")).raise_for_status().text
            for family in text_string_to_metric_families(metrics):
                for sample in family.samples:
                    if sample.name == "search_worker_rpc_duration_seconds_count":
                        calls[sample.labels["function"]] += int(sample.value)
    return calls


async def note_spans(measured: Measured, stack: dict[str, str]) -> float:
    """Note how long runs waited for sites, and how long sites were searched. Return how long runs were leased."""
    leased = 0.0
    waits: defaultdict[str, float] = defaultdict(float)
    async with await connect(stack) as database:
        for run_id, event, seconds in await (await database.execute(_SPANS)).fetchall():
            if event == "claimed":
                leased += seconds
            elif event == "deferred":
                waits[run_id] += seconds
            else:
                measured.leases_lost += 1
        for site, count, seconds in await (await database.execute(_SITE_SECONDS)).fetchall():
            measured.searches[site] = count, seconds
    measured.seconds["wait for a site"].extend(waits.values())
    return leased


def report_figures(
    measured: Measured, report: Report, *, elapsed: float, in_use: float, cpu: Mapping[str, float]
) -> None:
    """Report the figures.

    Args:
        measured: What the users saw.
        report: Where the figures go.
        elapsed: How long they searched, in seconds.
        in_use: Part of the places of the workers that was in use, from 0 to 1.
        cpu: Processor time of each part, in seconds.
    """
    report.table(
        "What users waited for",
        [Column("what"), *(Column(name, "s", 3) for name in ("p50", "p95", "longest")), Column("number")],
        [
            (kind, statistics.median(values), percentile_95(values), max(values), len(values))
            for kind, values in measured.seconds.items()
            if values
        ],
    )
    report.table("Requests of users", [Column("request"), Column("number")], list(measured.requests.items()))
    report.table("Calls of workers", [Column("function"), Column("calls")], measured.calls.most_common())
    report.table("How the runs ended", [Column("status"), Column("runs")], measured.statuses.most_common())
    report.table(
        "Runs and events",
        [Column("what"), Column("number")],
        [
            ("runs answered by the search of another run", measured.is_answered),
            ("ends that were read", len(measured.ended)),
            ("of them without an event", len(measured.ended - measured.announced)),
            ("leases lost", measured.leases_lost),
            ("errors", measured.errors.total()),
        ],
    )
    report.table(
        "Searches of each site",
        [Column("site"), Column("searches"), Column("at once", digits=1)],
        [(site, count, seconds / elapsed) for site, (count, seconds) in measured.searches.items()],
    )
    report.table(
        f"In use, for {elapsed:.0f} s",
        [Column("what"), Column("share", "%")],
        [
            ("places of the workers", in_use * 100),
            *((f"one core, by the {part}", seconds / elapsed * 100) for part, seconds in cpu.items()),
        ],
    )
    errors = [(error, count) for error, count in measured.errors.most_common() if count]
    report.table("Errors", [Column("error"), Column("number")], errors)


def percentile_95(values: Sequence[float]) -> float:
    """Return what 95 % of the values do not exceed."""
    return statistics.quantiles([*values, *values], n=20)[18]


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="scripts/bench/users", description=__doc__)
    parser.add_argument("--users", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=600, help="how long they search (default: %(default)s)")
    parser.add_argument(
        "--pause", type=float, default=60, help="mean seconds between two searches of a user (default: %(default)s)"
    )
    add_json_argument(parser)
    options = parser.parse_args()
    with reporting(options.json) as report, tempfile.TemporaryDirectory(prefix="search-worker-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, Postgres runs as another user
        run_until_signalled(measure(folder, options, report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
