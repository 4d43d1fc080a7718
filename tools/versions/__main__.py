"""Runs tests and the demo with each Python of this machine, and with the least and the newest packages."""

from __future__ import annotations

import argparse
import sys

from tools.versions.environments import PYTHONS, SETS, Environment, found_here
from tools.versions.tried import note, try_out


def main() -> int:
    """Try the versions; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="scripts/versions", description=__doc__)
    parser.add_argument("--only", nargs=2, metavar=("PYTHON", "PACKAGES"), help="such as `3.12 pinned`; else all")
    given = parser.parse_args()
    if given.only:
        if given.only[0] not in PYTHONS or given.only[1] not in SETS:
            parser.error(f"--only: PYTHON is one of {', '.join(PYTHONS)}, PACKAGES one of {', '.join(SETS)}")
        environments = [Environment(*given.only)]
    else:
        environments = list(found_here())
    is_clean = True
    for environment in environments:
        print(f"Python {environment.python} with the {environment.packages} packages", flush=True)
        environment.install()
        tried = try_out(environment)
        print(f"  tests: {tried.tests}; demo: {tried.demo}", flush=True)
        note(tried)
        is_clean = is_clean and tried.succeeded
    return 0 if is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
