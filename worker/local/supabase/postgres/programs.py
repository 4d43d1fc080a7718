"""Runs the short-lived programs of PostgreSQL."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from worker.local.errors import LocalError

TIMEOUT_SECONDS = 60.0


def run(command: Sequence[str | Path], **arguments: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, and return its output as text.

    Args:
        command: The program and its arguments.
        arguments: Passed to `subprocess.run`.

    Raises:
        LocalError: It did not end within 60 s.
    """
    try:
        return subprocess.run(  # noqa: S603 - our own binaries
            command, check=False, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, **arguments
        )
    except subprocess.TimeoutExpired:
        raise LocalError(f"{command[0]} did not end within {TIMEOUT_SECONDS:.0f} s") from None
