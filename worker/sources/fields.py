"""Reads fields of untrusted JSON. A value of the wrong type counts as missing."""

from __future__ import annotations

import math
import re
from typing import TypeVar

from worker.errors import InvalidItemError
from worker.model import Json

T = TypeVar("T")

MAX_NUMBER = 10**18
"""Upper bound of counts and numeric ids. JSON allows integers of any length, but Python prints at most 4,300 digits."""


def text(value: Json) -> str | None:
    """Return a stripped text; a number (such as an id) as text; None for an empty text or any other value."""
    if isinstance(value, str):
        return value.strip() or None
    found = number(value)
    return None if found is None else str(found)


def number(value: Json) -> int | None:
    """Return an integer from 0 to `MAX_NUMBER`, also if it is written as text or as 12.0; None for any other value."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < len(str(MAX_NUMBER)):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_NUMBER:
        return value
    return None


def mapping(value: Json) -> dict[str, Json]:
    """Return an object; an empty one for any other value."""
    return value if isinstance(value, dict) else {}


def sequence(value: Json) -> list[Json]:
    """Return a list; an empty one for any other value."""
    return value if isinstance(value, list) else []


def amount(value: Json) -> float | None:
    """Return a finite number, also if it is written as text; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def link(value: Json) -> str | None:
    """Return an `http` or `https` URL; None for any other value. Frontends render it as a link: no `javascript:`."""
    found = text(value)
    return found if found and re.match(r"https?://", found, re.IGNORECASE) else None


def flag(value: Json) -> bool | None:
    """Return a boolean; None for any other value."""
    return value if isinstance(value, bool) else None


def texts(value: Json) -> tuple[str, ...]:
    """Return the non-empty texts of a list, stripped; other elements are left out."""
    return tuple(found for element in sequence(value) if isinstance(element, str) and (found := text(element)))


def required(value: T | None, field: str) -> T:
    """Return the value of a required field.

    Raises:
        InvalidItemError: The value is None: the field is missing or has the wrong type.
    """
    if value is None:
        raise InvalidItemError("is missing or invalid", field)
    return value
