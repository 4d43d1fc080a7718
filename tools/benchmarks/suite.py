"""The benchmarks in their order, with the arguments with which all of them are run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "scripts" / "bench"
LISTINGS = "BENCH_LISTINGS"
"""The environment variable that names the CSV of real listings for `dedupe`, which is not in the repository."""
_DATA = "DATA.csv"
"""What stands for that file in the arguments: its path is no part of the figures."""


@dataclass(frozen=True, slots=True)
class Command:
    """A call of a benchmark.

    Attributes:
        full: Its arguments for figures.
        quick: Its arguments for a try of some seconds, whose figures mean nothing.
        environment: Variables that it is called with.
        needs: What has to be there, beside what the benchmark needs: keys of `_MISSING`.
    """

    full: str = ""
    quick: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: Sequence[str] = ()

    def arguments(self, *, is_quick: bool) -> list[str]:
        """Return the arguments as they are shown."""
        return (self.quick if is_quick else self.full).split()


@dataclass(frozen=True, slots=True)
class Bench:
    """A benchmark.

    Attributes:
        name: The name of its script in `scripts/bench`.
        measures: What it measures, in a sentence.
        commands: Its calls.
        needs: What has to be there for each of them.
    """

    name: str
    measures: str
    commands: Sequence[Command]
    needs: Sequence[str] = ()


_QUICK_QUEUE = "--runs 20 --rounds 1 --samples 5 --claims 5 --history 200"
_FULL_QUEUE = "--runs 1000 --rounds 1 --samples 100 --claims 100 --history 20000"

SUITE = (
    Bench(
        "queue",
        "This worker beside procrastinate, PgQueuer and graphile-worker, on one Postgres: throughput, the time from "
        "insert to start, and claims.",
        (
            Command(_FULL_QUEUE, _QUICK_QUEUE, {"BENCH_CONCURRENCY": "10"}),
            Command(_FULL_QUEUE, f"{_QUICK_QUEUE} --peers procrastinate", {"BENCH_CONCURRENCY": "100"}),
        ),
    ),
    Bench(
        "runs",
        "What a run without pages, and one with a page, costs in SQL, from claim to end: time, CPU, WAL, rows.",
        (
            Command("--runs 1000 --items 0", "--runs 20 --batches 1,10 --items 0"),
            Command(
                "--postgres 15 --runs 1000 --items 0",
                "--postgres 15 --runs 20 --batches 1,10 --items 0",
                needs=("postgresql-15",),
            ),
            Command("--runs 200 --batches 1,10", "--runs 20 --batches 1"),
        ),
    ),
    Bench(
        "ladder",
        "Where the time of a run without pages goes: the same calls in SQL, over a connection, over the local gateway, "
        "and by the worker.",
        (Command("", "--runs 20"),),
    ),
    Bench(
        "worker",
        "A worker: start time, memory, latencies, and the events that one run causes.",
        (Command("", "--starts 1 --samples 5"),),
    ),
    Bench(
        "exits",
        "Searches through ten exits of which a site blocks some, and pages an hour by number of exits.",
        (Command("--searches 20", "--searches 2 --block-seconds 1"),),
    ),
    Bench(
        "memory",
        "Memory with many searches at once, under a real limit of the kernel.",
        (Command("", "--searches 2 --runs 2 --results 10 --latency-ms 10"),),
        needs=("control groups",),
    ),
    Bench(
        "users",
        "What 100 users at once see: latencies of requests and events, and waits for a worker and for a site.",
        (Command("--users 100 --seconds 120", "--users 4 --seconds 8 --pause 2"),),
    ),
    Bench(
        "sharing",
        "The scheduled searches of 1,000 users, where equal ones share one, and those of users who share nothing.",
        (Command("", "--users 10 --searches 2 --users-alone 2"),),
    ),
    Bench(
        "schedules",
        "1,000 schedules that are due at one time: time, writes, searches; and the call while none is due.",
        (Command("", "--users 20 --searches 4"),),
    ),
    Bench(
        "admin",
        "The [admin functions](admin.md) beside many runs of 30 days, and the chore that counts runs.",
        (Command("--runs 200000", "--runs 2000"),),
    ),
    Bench(
        "growth",
        "The hot paths beside 10,000 finished runs and beside more: see [Capacity](capacity.md) for ten million.",
        (Command("--runs 100000", "--runs 20000 --rounds 2"),),
    ),
    Bench(
        "load",
        "Items saved in a second, compared with `COPY` of the same rows into the same tables.",
        (Command("", "--pages 2 --rounds 1 --base 2"),),
    ),
    Bench(
        "run_items",
        "Reading the results of a run: all of them, a page of them, and their number.",
        (Command("", "--results 100 --repeats 2"),),
    ),
    Bench(
        "permits",
        "A permit, compared with its page, and how many permits several workers get for one site.",
        (Command("--calls 100", "--calls 20 --rounds 1"),),
    ),
    Bench(
        "dedupe",
        "Precision and recall of deduplication, on labelled duplicates made from a CSV of real listings.",
        (Command(_DATA, _DATA),),
        needs=("listings",),
    ),
    Bench(
        "web",
        "The pages of the frontend with Lighthouse, as on a phone with a slow connection.",
        (Command("", "--times 1"),),
        needs=("npm", "chromium"),
    ),
    Bench(
        "fresh-clone",
        "From a fresh clone: the time to the first output of the demo, to its first progress bar, and to its end.",
        (Command(),),
    ),
)


def shown(bench: Bench, command: Command, *, is_quick: bool) -> str:
    """Return a call as a person types it."""
    variables = [f"{name}={value}" for name, value in command.environment.items()]
    return " ".join([*variables, f"scripts/bench/{bench.name}", *command.arguments(is_quick=is_quick)])


def call(bench: Bench, command: Command, *, is_quick: bool) -> list[str]:
    """Return the program and its arguments, with the file of listings in its place."""
    listings = Path(os.environ.get(LISTINGS, "")).absolute()
    arguments = [str(listings) if text == _DATA else text for text in command.arguments(is_quick=is_quick)]
    return [str(FOLDER / bench.name), *arguments]


def missing(bench: Bench, command: Command) -> str | None:
    """Return why a call cannot be made on this machine, or `None`."""
    return next((reason for need in (*bench.needs, *command.needs) for reason in _MISSING[need]()), None)


def _without_program(name: str) -> Iterator[str]:
    if shutil.which(name) is None:
        yield f"{name} is not installed"


def _without_chromium() -> Iterator[str]:
    if not os.environ.get("CHROMIUM") and not any(map(shutil.which, ("chromium", "chromium-browser"))):
        yield "Chromium is not installed"


def _without_postgres_15() -> Iterator[str]:
    if not Path("/usr/lib/postgresql/15/bin/postgres").exists():
        yield "Debian's postgresql-15 is not installed"


def _without_groups() -> Iterator[str]:
    root = Path("/sys/fs/cgroup")
    folder = root if (root / "cgroup.controllers").exists() else root / "memory"
    if not os.access(folder, os.W_OK):
        yield "no control group can be made here"


def _without_listings() -> Iterator[str]:
    if not Path(os.environ.get(LISTINGS) or "/nonexistent").is_file():
        yield f"it needs a CSV of real listings, which is not in the repository, and {LISTINGS} names none"


_MISSING = {
    "npm": lambda: _without_program("npm"),
    "chromium": _without_chromium,
    "postgresql-15": _without_postgres_15,
    "control groups": _without_groups,
    "listings": _without_listings,
}
