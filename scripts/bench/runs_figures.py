"""Measures what runs cost in SQL, from claim to end, over one connection without a gateway."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.types.json import Jsonb
from rich.console import Console

from scripts.bench.queue_peers.worker import ENQUEUE
from worker.local.loopback import free_port
from worker.local.migration_files import migrations_folder
from worker.local.supabase.migrations import apply_migrations, available_extensions, read_migrations
from worker.local.supabase.postgres import Postgres

SITE = "linkedin"
USERS = 100

console = Console(highlight=False, soft_wrap=True, markup=False)

Database = psycopg.Connection[Any]

_TICKS = os.sysconf("SC_CLK_TCK")
_ROWS = """
select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0), coalesce(sum(n_tup_upd - n_tup_hot_upd), 0)
from pg_stat_user_tables
"""


@dataclass(slots=True)
class Cost:
    """Sums over the calls of one kind."""

    calls: int = 0
    seconds: float = 0


@dataclass(slots=True)
class Round:
    """A queue that was processed."""

    runs: int
    seconds: float = 0
    cpu_seconds: float = 0
    wal_bytes: int = 0
    rows: int = 0
    non_hot: int = 0
    costs: dict[str, Cost] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time of the block to a kind of call."""
        cost = self.costs.setdefault(name, Cost())
        began = time.perf_counter()
        yield
        cost.calls += 1
        cost.seconds += time.perf_counter() - began


def process(database: Database, batch: int, figures: Round) -> None:
    """Claim and end all runs of the queue, `batch` at a time."""
    while True:
        with figures.timed(f"claim of {batch}"):
            claimed = database.execute(
                "select run_id, lease_token"
                " from public.worker_claim_runs('bench', '{jobs}', %s, 60, %s, '[]', null, %s)",
                [batch, uuid4(), Jsonb({"jobs": {SITE: {}}})],
                prepare=True,
            ).fetchall()
        if not claimed:
            return
        ends = [
            {"run_id": str(run_id), "lease_token": str(token), "site": SITE, "ends_run": True}
            for run_id, token in claimed
        ]
        with figures.timed(f"finish_sites of {batch}"):
            answer = database.execute("select public.worker_finish_sites(%s)", [Jsonb(ends)], prepare=True).fetchone()
        assert answer is not None
        assert all(end["state"] == "done" for end in answer[0]), answer


def measure(database: Database, runs: int, work: Callable[[Round], None]) -> Round:
    """Fill the queue with runs, and measure what processes it."""
    database.execute(ENQUEUE, {"runs": runs})
    database.execute("vacuum analyze")
    figures = Round(runs)
    pid = database.info.backend_pid
    before = _counters(database)
    cpu, began = cpu_seconds(pid), time.perf_counter()
    work(figures)
    figures.seconds, figures.cpu_seconds = time.perf_counter() - began, cpu_seconds(pid) - cpu
    after = _counters(database)
    figures.wal_bytes, figures.rows, figures.non_hot = (int(b - a) for a, b in zip(before, after, strict=True))
    return figures


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _counters(database: Database) -> tuple[Any, ...]:
    database.execute("select pg_stat_force_next_flush()")
    (wal,) = database.execute("select pg_current_wal_insert_lsn() - '0/0'").fetchone() or (0,)
    return (wal, *(database.execute(_ROWS).fetchone() or ()))


@contextmanager
def scratch_database() -> Iterator[Database]:
    """A database with the migrations, users and no limit of running searches."""
    with (
        tempfile.TemporaryDirectory(prefix="search-worker-bench-") as data,
        tempfile.TemporaryDirectory() as migrations,
    ):
        Path(data).chmod(0o755)
        with Postgres(Path(data), free_port(), password=token_hex()) as server:
            dsn = server.dsn("postgres")
            with psycopg.connect(dsn, autocommit=True) as database:
                available = available_extensions(database)
                for migration in read_migrations(migrations_folder()):
                    if migration.extensions <= available:
                        Path(migrations, migration.file_name).symlink_to(migrations_folder() / migration.file_name)
                apply_migrations(dsn, Path(migrations))
                database.execute(
                    "insert into auth.users (id, email)"
                    " select lpad(number::text, 32, '0')::uuid, number || '@example.com'"
                    " from generate_series(1, %s) as number",
                    [USERS],
                )
                database.execute("update worker.settings set max_running_per_user = null")
                yield database


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="scripts/bench/runs", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="runs in a full queue (default: %(default)s)")
    parser.add_argument("--batches", default="1,10,100", help="runs of one claim (default: %(default)s)")
    options = parser.parse_args()
    with scratch_database() as database:
        (version,) = database.execute("show server_version").fetchone() or ("",)
        console.print(f"PostgreSQL {version}, {options.runs:,} no-op runs over one connection.\n")
        console.print(
            "| batch | runs/s | backend CPU a run | WAL a run | rows written a run | of them not HOT | calls |"
        )
        console.print("| ---: | ---: | ---: | ---: | ---: | ---: | --- |")
        for batch in map(int, options.batches.split(",")):
            measure(database, 10 * batch, lambda figures, batch=batch: process(database, batch, figures))  # type: ignore[misc]
            figures = measure(
                database,
                options.runs,
                lambda figures, batch=batch: process(database, batch, figures),  # type: ignore[misc]
            )
            calls = ", ".join(
                f"{name} {cost.seconds / cost.calls * 1000:.2f} ms" for name, cost in figures.costs.items()
            )
            console.print(
                f"| {batch} | {figures.runs / figures.seconds:,.0f} "
                f"| {figures.cpu_seconds / figures.runs * 1000:.2f} ms | {figures.wal_bytes / figures.runs:,.0f} B "
                f"| {figures.rows / figures.runs:.1f} | {figures.non_hot / figures.runs:.1f} | {calls} |"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
