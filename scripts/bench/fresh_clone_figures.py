"""Runs the demo from a fresh clone on a terminal, and notes when it shows what."""

from __future__ import annotations

import argparse
import os
import pty
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.bench.report import Column, add_json_argument, reporting

PROJECT = Path(__file__).parents[2]
BAR = "━".encode()
"""What progress bars are drawn with."""


def main() -> int:
    """Measure; return the exit code of the demo."""
    parser = argparse.ArgumentParser(prog="scripts/bench/fresh-clone", description=__doc__)
    add_json_argument(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="search-worker-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, Postgres runs as another user
        clone = folder / "clone"
        subprocess.run(["git", "clone", "--quiet", PROJECT, clone], check=True, timeout=60)
        first_output = first_bar = None
        shown = bytearray()
        began_at = time.monotonic()
        with _on_a_terminal(clone / "scripts" / "demo") as (process, output):
            for part in output:
                first_output = first_output or time.monotonic() - began_at
                shown += part
                if first_bar is None and BAR in shown:
                    first_bar = time.monotonic() - began_at
            code = process.wait()
        end = time.monotonic() - began_at
    if code != 0 or first_output is None or first_bar is None:
        print(shown.decode(errors="replace")[-2000:], file=sys.stderr)
        return code or 1
    with reporting(options.json) as report:
        report.condition(
            "A clone of the last commit; its packages are installed from what pip has in its cache, or downloaded."
        )
        report.table(
            "The demo from a fresh clone",
            [Column("what is seen"), Column("after", "s", 1)],
            [("first output", first_output), ("first progress bar", first_bar), ("end", end)],
        )
    return 0


@contextmanager
def _on_a_terminal(command: Path) -> Iterator[tuple[subprocess.Popen[bytes], Iterator[bytes]]]:
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen([command], stdin=theirs, stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            yield process, _read(ours)
    finally:
        os.close(ours)


def _read(descriptor: int) -> Iterator[bytes]:
    """Yield what is written to a terminal until the last program closes it."""
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # the terminal is closed
            return
        if not part:
            return
        yield part


if __name__ == "__main__":
    sys.exit(main())
