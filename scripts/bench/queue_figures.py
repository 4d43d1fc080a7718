"""Compares this worker with other queues on one Postgres: throughput, latency and claims."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from itertools import product
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console

from scripts.bench.queue_claims import ClaimCost, add_bare_table, claim_costs, history_medians
from scripts.bench.queue_databases import create_database, dsn_of, held_snapshot
from scripts.bench.queue_peers.contender import CONCURRENCY
from scripts.bench.report import Column, Report, add_json_argument, reporting
from worker.local.loopback import free_port
from worker.local.processes import ready, running
from worker.local.supabase.postgres import Postgres

PEERS = Path(".local", "bench", "peers")
NODE = Path(".local", "bench", "node")
LOCAL_DATABASE = "postgres"
EMPTY_DATABASE = "bench_empty"

_INSTALL_SECONDS = 120
_HISTORY_SECONDS = 7200
_MEASURE_SECONDS = 3600

progress = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


@dataclass(frozen=True, slots=True)
class Contender:
    """A queue to measure.

    Attributes:
        command: The program that accepts the commands of `queue_peers/contender.py`.
        database: Its database.
        keeps: What it keeps of a finished job. Empty if nothing.
        settings: A description of its settings.
    """

    name: str
    version: str
    command: tuple[str, ...]
    database: str
    keeps: str
    settings: str


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one queue under one condition.

    Attributes:
        jobs_per_second: Median of the rounds.
        milliseconds: The time from insert to start of each job.
    """

    contender: Contender
    history: int
    is_held: bool
    jobs_per_second: float
    milliseconds: Sequence[float]

    @property
    def p50(self) -> float:
        """Median."""
        return statistics.median(self.milliseconds)

    @property
    def p99(self) -> float:
        """99th percentile."""
        return statistics.quantiles(self.milliseconds, n=100, method="inclusive")[98]


def this_worker() -> Contender:
    """Return this worker, with the database of the local stack."""
    return Contender(
        "this worker",
        "this tree",
        (sys.executable, "-m", "scripts.bench.queue_peers.worker"),
        LOCAL_DATABASE,
        "runs, their sites and their events",
        f"`worker run` over the local gateway, concurrency and claim batch {CONCURRENCY}",
    )


def peers() -> Iterator[Contender]:
    """Yield the peers that are installed."""
    python = str(PEERS / "bin" / "python")
    site_packages = [str(folder) for folder in PEERS.glob("lib/python*/site-packages")]
    for name, keeps, settings in (
        (
            "procrastinate",
            "jobs and their events",
            f"psycopg (binary), concurrency {CONCURRENCY}, a pool of {min(CONCURRENCY + 2, 30)}",
        ),
        ("pgqueuer", "a log of three rows a job", f"asyncpg, uvloop, batch size {CONCURRENCY}, `pgq autovac` applied"),
    ):
        [package] = distributions(name=name, path=site_packages)
        command = (python, "-m", f"scripts.bench.queue_peers.{name}")
        yield Contender(name, package.version, command, f"bench_{name}", keeps, settings)
    node = shutil.which("node")
    if node is None or not (NODE / "node_modules").exists():
        progress.print("graphile-worker is left out: Node.js with npm is not installed")
        return
    package_json = json.loads((NODE / "node_modules" / "graphile-worker" / "package.json").read_text())
    yield Contender(
        "graphile-worker",
        f"{package_json['version']}, Node.js",
        (node, "scripts/bench/queue_peers/graphile_worker.mjs"),
        "bench_graphile_worker",
        "",
        f"concurrentJobs {CONCURRENCY}, localQueue {CONCURRENCY + 1}, completeJobBatchDelay 0",
    )


class Bench:
    """One run of the bench in a folder of its own.

    Args:
        folder: Folder for the data of the stack and the log.
        contenders: The queues to measure, this worker first.
        options: Sizes, as parsed from the command line.
        report: Where the figures go.
    """

    def __init__(
        self, folder: Path, contenders: Sequence[Contender], options: argparse.Namespace, report: Report
    ) -> None:
        self._data = folder / "data"
        self._log = folder / "log"
        self._contenders = contenders
        self._options = options
        self._report = report

    async def run(self) -> None:
        """Measure and report all figures."""
        figures: list[Figures] = []
        async with self._stack() as stack:
            self._report_setting(stack["db_url"])
            for contender in self._contenders:
                if contender.database != LOCAL_DATABASE:
                    create_database(stack["db_url"], contender.database)
                await self._ask(contender, "install", stack["db_url"], seconds=_INSTALL_SECONDS)
            figures += [row async for row in self._measure(stack, history=0)]
        await self._add_history()
        async with self._stack() as stack:
            figures += [row async for row in self._measure(stack, history=self._options.history)]
            report_figures(self._report, figures)
            empty, full = dsn_of(stack["db_url"], EMPTY_DATABASE), stack["db_url"]
            dsns = {0: empty, self._options.history: full}
            costs = await asyncio.to_thread(lambda: [*claim_costs(dsns, self._options.runs, self._options.rounds)])
            report_claim_costs(self._report, costs)
            medians = await asyncio.to_thread(history_medians, empty, full, self._options.claims)
            report_history_medians(self._report, medians)

    @asynccontextmanager
    async def _stack(self) -> AsyncIterator[dict[str, str]]:
        command = ("worker", "local", "--json", "--port", "0", "--data", str(self._data))
        async with running(*command, log=self._log) as process:
            yield await ready(process)

    async def _measure(self, stack: dict[str, str], *, history: int) -> AsyncIterator[Figures]:
        # The queues take turns, so that other load on the machine affects all of them.
        for is_held in (False, True):
            rates: dict[Contender, list[float]] = {contender: [] for contender in self._contenders}
            for number, contender in product(range(self._options.rounds), self._contenders):
                with held_snapshot(dsn_of(stack["db_url"], contender.database), is_held):
                    # Once before with a held snapshot: its dead rows cannot be vacuumed.
                    for _ in range(2 if is_held else 1):
                        rate = await self._ask(
                            contender, "throughput", stack["db_url"], self._options.runs, stack=stack
                        )
                rates[contender].append(rate)
                self._tell(contender, history, is_held, f"round {number + 1}: {rate:,.0f} jobs/s")
            for contender in self._contenders:
                with held_snapshot(dsn_of(stack["db_url"], contender.database), is_held):
                    samples = await self._ask(contender, "latency", stack["db_url"], self._options.samples, stack=stack)
                yield Figures(contender, history, is_held, statistics.median(rates[contender]), samples)
                self._tell(contender, history, is_held, f"start after {statistics.median(samples):.1f} ms")

    async def _add_history(self) -> None:
        """Fill the tables while no gateway reads the WAL. Keep an empty copy of the worker's database."""
        password = json.loads((self._data / "secrets.json").read_text())["database_password"]
        with Postgres(self._data, free_port(), password=password) as postgres:
            superuser = postgres.dsn()
            create_database(superuser, EMPTY_DATABASE, template=LOCAL_DATABASE)
            with psycopg.connect(dsn_of(superuser, EMPTY_DATABASE), autocommit=True, connect_timeout=10) as empty:
                empty.execute("truncate public.search_runs cascade")
            for contender in self._contenders:
                if contender.keeps:
                    progress.print(f"{contender.name}: adding {self._options.history:,} finished jobs")
                    await self._ask(contender, "history", superuser, self._options.history, seconds=_HISTORY_SECONDS)
            for database in (EMPTY_DATABASE, LOCAL_DATABASE):
                add_bare_table(dsn_of(postgres.dsn("postgres"), database))

    async def _ask(
        self,
        contender: Contender,
        command: str,
        dsn: str,
        jobs: int = 0,
        *,
        stack: dict[str, str] | None = None,
        seconds: float = _MEASURE_SECONDS,
    ) -> Any:
        """Return the answer of a queue, or stop it if it takes too long."""
        environment = {
            "SUPABASE_URL": stack["url"] if stack else "http://127.0.0.1",
            "SUPABASE_SERVICE_ROLE_KEY": stack["service_role_key"] if stack else "unused",
            "WORKER_CONCURRENCY": str(CONCURRENCY),
            "WORKER_CLAIM_BATCH": str(CONCURRENCY),
        }
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *contender.command,
                command,
                dsn_of(dsn, contender.database),
                str(jobs),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=os.environ | environment,
            )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), seconds)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            last_lines = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
            raise SystemExit(f"{contender.name} did not do {command}:\n{last_lines}")
        return json.loads(output)

    def _report_setting(self, dsn: str) -> None:
        with psycopg.connect(dsn, connect_timeout=10) as database:
            row = database.execute(
                "select current_setting('server_version'), current_setting('synchronous_commit'),"
                " current_setting('fsync'), current_setting('shared_buffers')"
            ).fetchone()
        assert row is not None
        self._report.condition(
            f"PostgreSQL {row[0]}: synchronous_commit {row[1]}, fsync {row[2]}, shared_buffers {row[3]}."
        )
        self._report.condition(f"One worker process each, {os.cpu_count()} CPUs for all.")
        self._report.condition(
            f"{self._options.runs:,} jobs that do nothing, median of {self._options.rounds} rounds; "
            f"{self._options.samples} latencies."
        )
        for contender in self._contenders:
            self._report.condition(
                f"{contender.name} ({contender.version}): {contender.settings}. "
                f"Keeps {contender.keeps or 'nothing of a finished job'}."
            )

    def _tell(self, contender: Contender, history: int, is_held: bool, what: str) -> None:
        progress.print(f"{contender.name}, {_condition(history, is_held)}: {what}")


def _condition(history: int, is_held: bool) -> str:
    return f"{history:,} finished{', snapshot held' if is_held else ''}"


def report_figures(report: Report, figures: Sequence[Figures]) -> None:
    """Report throughput and latency. Ratios are relative to this worker under the same condition."""
    ours = {(row.history, row.is_held): row for row in figures if row.contender.database == LOCAL_DATABASE}
    rows = []
    for row in figures:
        own = ours[row.history, row.is_held]
        condition = row.contender.name, row.history if row.contender.keeps else 0, "held" if row.is_held else ""
        ratios = row.jobs_per_second / own.jobs_per_second, row.p50 / own.p50
        rows.append((*condition, row.jobs_per_second, ratios[0], row.p50, row.p99, ratios[1]))
    report.table(
        "Jobs a second, and the time from insert to start",
        [
            Column("queue"), Column("finished jobs"), Column("snapshot"), Column("jobs a second"),
            Column("to ours", digits=2), Column("p50", "ms", 1), Column("p99", "ms", 1),
            Column("p50 to ours", digits=2),
        ],
        rows,
    )  # fmt: skip


def report_claim_costs(report: Report, costs: Iterable[ClaimCost]) -> None:
    """Report the cost of a claim in SQL. The ratio is relative to the bare statement."""
    report.table(
        "A claim in SQL, and the bare statement that every queue needs",
        [
            Column("runs of a claim"), Column("finished runs"), Column("snapshot"), Column("RPC", "ms", 2),
            Column("runs a second"), Column("bare", "ms", 2), Column("bare, runs a second"),
            Column("RPC to bare", digits=2),
        ],
        [
            (
                cost.slots, cost.history, "held" if cost.is_held else "", cost.rpc, cost.slots * 1000 / cost.rpc,
                cost.bare, cost.slots * 1000 / cost.bare, cost.rpc / cost.bare,
            )
            for cost in costs
        ],
    )  # fmt: skip


def report_history_medians(report: Report, medians: dict[int, tuple[float, float]]) -> None:
    """Report the times of a claim with a history and without."""
    report.table(
        "A claim with an empty table and with the history, in turns",
        [
            Column("runs of a claim"), Column("empty", "ms", 2), Column("with history", "ms", 2),
            Column("ratio", digits=2),
        ],
        [(slots, empty, full, full / empty) for slots, (empty, full) in medians.items()],
    )  # fmt: skip


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="scripts/bench/queue", description=__doc__)
    parser.add_argument("--runs", type=_positive, default=2000, help="jobs in a full queue (default: %(default)s)")
    parser.add_argument("--rounds", type=_positive, default=3, help="full queues each (default: %(default)s)")
    parser.add_argument("--samples", type=_positive, default=200, help="latencies each (default: %(default)s)")
    parser.add_argument("--claims", type=_positive, default=300, help="claims timed in turns (default: %(default)s)")
    parser.add_argument("--history", type=_positive, default=2_000_000, help="finished jobs (default: %(default)s)")
    parser.add_argument("--peers", help="names, separated by commas (default: all)")
    add_json_argument(parser)
    options = parser.parse_args()
    found = list(peers())
    if options.peers is not None:
        names = options.peers.split(",")
        if unknown := set(names) - {peer.name for peer in found}:
            parser.error(f"--peers: {', '.join(sorted(unknown))}: not one of {', '.join(peer.name for peer in found)}")
        found = [peer for peer in found if peer.name in names]
    # SIGTERM also stops the child processes, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="search-worker-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with reporting(options.json) as report:
            asyncio.run(Bench(folder, [this_worker(), *found], options, report).run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
