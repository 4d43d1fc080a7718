"""Reading what a site sends, which may be anything."""

from __future__ import annotations

import math
import re
from typing import TypeVar

from worker.errors import InvalidItemError
from worker.model import Json

T = TypeVar("T")

LARGEST_NUMBER = 10**18
"""Larger ones are no count and no id. JSON has integers of any length, and Python writes none of over 4,300 digits."""


def text(value: Json) -> str | None:
    """Return a text without the space around it, an id that came as a number as text; None for everything else."""
    if isinstance(value, str):
        return value.strip() or None
    found = number(value)
    return None if found is None else str(found)


def number(value: Json) -> int | None:
    """Return a count, also one that is written as text; None for everything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < len(str(LARGEST_NUMBER)):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST_NUMBER:
        return value
    return None


def mapping(value: Json) -> dict[str, Json]:
    """Return an object; an empty one in place of everything else."""
    return value if isinstance(value, dict) else {}


def sequence(value: Json) -> list[Json]:
    """Return a list; an empty one in place of everything else."""
    return value if isinstance(value, list) else []


def amount(value: Json) -> float | None:
    """Return a finite number, also one that is written as text; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def link(value: Json) -> str | None:
    """Return a web address; None for everything else: what a frontend makes a link of must not be `javascript:`."""
    found = text(value)
    return found if found and re.match(r"https?://", found, re.IGNORECASE) else None


def flag(value: Json) -> bool | None:
    """Return true or false; None for everything else."""
    return value if isinstance(value, bool) else None


def texts(value: Json) -> tuple[str, ...]:
    """Return the texts of a list, without the others."""
    return tuple(found for element in sequence(value) if isinstance(element, str) and (found := text(element)))


def required(value: T | None, field: str) -> T:
    """Return what must not be missing.

    Raises:
        InvalidItemError: It is missing, or was not what it should be.
    """
    if value is None:
        raise InvalidItemError("is missing, or not what it should be", field)
    return value
