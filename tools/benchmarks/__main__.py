"""Runs all benchmarks of `scripts/bench` one after another, and writes what they have measured."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from tools.benchmarks.measured import FILE, write
from tools.benchmarks.run import run_all
from tools.benchmarks.suite import LISTINGS, SUITE


def main() -> int:
    """Run the benchmarks; return 1 if one of them failed."""
    names = [bench.name for bench in SUITE]
    parser = argparse.ArgumentParser(
        prog="scripts/bench/all",
        description=__doc__,
        epilog=f"dedupe needs a CSV of real listings, which {LISTINGS} names.",
    )
    parser.add_argument("--quick", action="store_true", help="only try whether all work; the figures mean nothing")
    parser.add_argument("--only", metavar="NAME,...", help=f"of {', '.join(names)}")
    parser.add_argument(
        "--json", type=Path, metavar="FILE",
        help=f"where the figures go (default: tools/benchmarks/{FILE.name}, of all and not with --quick)",
    )  # fmt: skip
    given = parser.parse_args()
    only = given.only.split(",") if given.only else []
    if unknown := set(only) - set(names):
        parser.error(f"--only: {', '.join(sorted(unknown))}: not one of {', '.join(names)}")
    # SIGTERM also stops the benchmark that runs, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    measured = run_all(only, is_quick=given.quick)
    file = given.json or (None if only or given.quick else FILE)
    if file:
        write(measured, file)
        print(f"The figures are in {file}.")
    failed = [result.command for result in measured.results if result.has_failed]
    if failed:
        print("Failed:", *failed, sep="\n  ")
    print(f"{measured.seconds:.0f} s in all.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
