"""Runs the experiment, and prints the results."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos.experiment import Outcome, experiment
from tests.chaos.plan import make_plan
from worker.cli.main import at_least
from worker.local.processes import ProcessError, run_until_signalled

ROWS_SHOWN = 5
MAX_SEED = 999_999
EXIT_FAILURE = 1


def main() -> int:
    """Run the experiment. Return 0 if all invariants hold, 1 if one is broken, 130 after a signal."""
    options = _parser().parse_args()
    command = f"scripts/chaos --runs {options.runs} --workers {options.workers} --seed {options.seed}"
    print(command, flush=True)
    plan = make_plan(seed=options.seed, runs=options.runs, workers=options.workers)
    with tempfile.TemporaryDirectory(prefix="search-worker-chaos-") as name:
        folder = options.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # as root, Postgres runs as another user
        try:
            outcome = run_until_signalled(experiment(plan, folder))
        except ProcessError as error:
            print(error)
            return EXIT_FAILURE
    _report(outcome)
    verdict = f"{len(outcome.broken)} invariants are broken" if outcome.broken else "all invariants hold"
    print(f"\n{verdict}: {command}")
    return EXIT_FAILURE if outcome.broken else 0


def _report(outcome: Outcome) -> None:
    for group, counts in outcome.counts.items():
        print(f"\n{group}")
        for name, count in counts.items():
            print(f"  {count:6}  {name}")
    for name, rows in outcome.broken.items():
        print(f"\nBROKEN: {name}")
        for row in rows[:ROWS_SHOWN]:
            print(f"  {row}")
        if len(rows) > ROWS_SHOWN:
            print(f"  and {len(rows) - ROWS_SHOWN} more")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--runs", type=at_least(1), default=200, help="number of searches (default: 200)")
    parser.add_argument("--workers", type=at_least(1), default=4, help="number of worker processes (default: 4)")
    parser.add_argument(
        "--seed",
        type=at_least(0),
        default=random.randint(0, MAX_SEED),
        help="seed of the plan (default: a random one)",
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="folder in which to keep the data and the logs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
