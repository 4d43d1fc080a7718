"""Writes the generated pages of the documentation, prepares the site and checks it: the steps of `./scripts/docs`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.site.built import broken_links, publish, stage
from tools.site.generated import generated_files
from tools.site.navigation import PROJECT


def main() -> int:
    """Run one step; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.site", description=__doc__)
    parser.add_argument("step", choices=("write", "stage", "publish"), help="what to do")
    parser.add_argument("--folder", type=Path, default=PROJECT / "build" / "site", help="where the site is built")
    parser.add_argument("--site", type=Path, default=PROJECT / "site", help="where the built site is published")
    given = parser.parse_args()
    if given.step == "write":
        for file, text in generated_files().items():
            (PROJECT / file).write_text(text)
    elif given.step == "stage":
        stage(given.folder)
    else:
        publish(given.folder, given.site)
        if broken := broken_links(given.site):
            print("Links that lead nowhere:", *broken, sep="\n", file=sys.stderr)
            return 1
        print(f"The site is in {given.site}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
