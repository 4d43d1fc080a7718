"""Waits for what a browser does not show."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_SECONDS = 60
POLLS_PER_SECOND = 10

T = TypeVar("T")


def until(read: Callable[[], T | None]) -> T:
    """Read until there is something; return it.

    Raises:
        AssertionError: There was nothing for a minute.
    """
    for _ in range(PATIENCE_SECONDS * POLLS_PER_SECOND):
        if found := read():
            return found
        time.sleep(1 / POLLS_PER_SECOND)
    raise AssertionError(f"{read} has returned nothing for {PATIENCE_SECONDS} seconds")
