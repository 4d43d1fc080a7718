"""Measures what runs cost in SQL, from claim to end, over one connection without a gateway."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

from scripts.bench.load_pages import make_page, page_to_save
from scripts.bench.queue_peers.worker import ENQUEUE
from scripts.bench.report import Column, Value, add_json_argument, reporting
from worker.local.loopback import free_port
from worker.local.migration_files import migrations_folder
from worker.local.supabase.migrations import apply_migrations, available_extensions, read_migrations
from worker.local.supabase.postgres import Postgres

SITE = "linkedin"
USERS = 100
FREE_SITES: dict[str, dict[str, Any]] = {"jobs": {SITE: {}}}
"""The claim starts the search at once, because the site has no limits."""

CLAIM: LiteralString = """
select run_id, lease_token from public.worker_claim_runs('bench', '{jobs}', %s, 60, %s, '[]', null, %s)
"""
FINISH: LiteralString = "select public.worker_finish_sites(%s)"
FINISH_AND_CLAIM: LiteralString = "select public.worker_finish_and_claim(%s, %s)"

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


COLUMNS = (
    Column("a run"), Column("batch"), Column("runs a second"), Column("CPU of the backend a run", "ms", 2),
    Column("WAL a run", "B"), Column("rows written a run", digits=1), Column("of them not HOT", digits=1),
)  # fmt: skip

Lease = tuple[UUID, UUID]
Search = Callable[["Round", list[Lease]], None]


def process(database: Database, batch: int, figures: Round, search: Search) -> None:
    """Claim, search and end all runs of the queue, `batch` at a time."""
    while True:
        with figures.timed(f"claim of {batch}"):
            claimed = database.execute(CLAIM, [batch, uuid4(), Jsonb(FREE_SITES)], prepare=True).fetchall()
        if not claimed:
            return
        search(figures, claimed)


def ends_of(claimed: Sequence[tuple[Any, Any]]) -> list[dict[str, Any]]:
    """Return what ends runs without pages: the argument of `worker_finish_sites`."""
    return [
        {"run_id": str(run_id), "lease_token": str(token), "site": SITE, "ends_run": True} for run_id, token in claimed
    ]


def claim_of(batch: int) -> dict[str, Any]:
    """Return a claim as `worker_finish_and_claim` takes it."""
    return {
        "worker_id": "bench", "kinds": ["jobs"], "slots": batch, "lease_seconds": 60, "claim_id": str(uuid4()),
        "limits": FREE_SITES, "exits": {},
    }  # fmt: skip


def process_in_turn(database: Database, batch: int, figures: Round) -> None:
    """Process all runs of the queue as a busy worker does, which claims with the calls that end runs."""
    claimed: Any = database.execute(CLAIM, [batch, uuid4(), Jsonb(FREE_SITES)], prepare=True).fetchall()
    while claimed:
        with figures.timed(f"finish_and_claim of {batch}"):
            answer = database.execute(
                FINISH_AND_CLAIM, [Jsonb(ends_of(claimed)), Jsonb(claim_of(batch))], prepare=True
            ).fetchone()
        assert answer is not None
        assert all(ended["state"] == "done" for ended in answer[0]["finished"]), answer
        claimed = [(run["run_id"], run["lease_token"]) for run in answer[0]["claimed"]]


def end_together(database: Database, figures: Round, claimed: list[Lease]) -> None:
    """End runs in one call."""
    ends = ends_of(claimed)
    with figures.timed(f"finish_sites of {len(claimed)}"):
        answer = database.execute(FINISH, [Jsonb(ends)], prepare=True).fetchone()
    assert answer is not None
    assert all(end["state"] == "done" for end in answer[0]), answer


def save(database: Database, figures: Round, claimed: list[Lease], items: int, *, ends: str | None) -> None:
    """Save a page of new items for each run, in one call."""
    pages = [page_to_save(*lease, SITE, make_page(1, random.getrandbits(50), items), ends=ends) for lease in claimed]
    with figures.timed(f"save_pages of {len(pages)}"):
        answer = database.execute("select public.worker_save_pages(%s)", [Jsonb(pages)], prepare=True).fetchone()
    assert answer is not None
    assert all((page["status"], "end" in page) == ("completed", ends is not None) for page in answer[0]), answer


def ways(database: Database, batch: int, items: int) -> dict[str, Callable[[Round], None]]:
    """Return what processes a queue, by name: without pages with one call for a batch, else with one for each step."""
    if items == 0:
        return {"no page": partial(process_in_turn, database, batch)}

    def page_then_end(figures: Round, claimed: list[Lease]) -> None:
        save(database, figures, claimed, items, ends=None)
        end_together(database, figures, claimed)

    searches: dict[str, Search] = {
        "no page": partial(end_together, database),
        f"a page of {items}, then its end": page_then_end,
        f"a page of {items} that ends the run": partial(save, database, items=items, ends="run"),
    }
    return {name: partial(process, database, batch, search=search) for name, search in searches.items()}


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


def row_of(name: str, batch: int, figures: Round) -> tuple[Value, ...]:
    """Return the figures of a round, in the order of `COLUMNS`."""
    sums = figures.cpu_seconds * 1000, figures.wal_bytes, figures.rows, figures.non_hot
    return (name, batch, figures.runs / figures.seconds, *(value / figures.runs for value in sums))


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
    parser.add_argument(
        "--items",
        type=int,
        default=10,
        help="items of a page; 0: no pages, and one call for each batch (default: %(default)s)",
    )
    add_json_argument(parser)
    options = parser.parse_args()
    with reporting(options.json) as report, scratch_database() as database:
        (version,) = database.execute("show server_version").fetchone() or ("",)
        report.condition(f"PostgreSQL {version}, {options.runs:,} runs over one connection.")
        rows, calls = [], []
        for batch in map(int, options.batches.split(",")):
            for name, work in ways(database, batch, options.items).items():
                measure(database, 10 * batch, work)
                figures = measure(database, options.runs, work)
                rows.append(row_of(name, batch, figures))
                calls += [(name, call, cost.seconds / cost.calls * 1000) for call, cost in figures.costs.items()]
        report.table("What a run costs in SQL", COLUMNS, rows)
        report.table("Its calls", [Column("a run"), Column("call"), Column("each", "ms", 2)], calls)
    return 0


if __name__ == "__main__":
    sys.exit(main())
