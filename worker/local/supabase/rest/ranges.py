"""Ranges of rows: the requested one, and the header `Content-Range` of the response."""

from __future__ import annotations

import re
from typing import NamedTuple

from worker.local.supabase.rest.errors import RestError, unsupported
from worker.local.supabase.rest.scanner import INTEGER

MAX_ROWS = 1000  # the default of a Supabase project

_HEADER = re.compile(r"([0-9]+)-([0-9]*)")


class Range(NamedTuple):
    """A range of rows, by their positions from 0.

    Attributes:
        upper: The last position. `None` for an open range.
    """

    lower: int = 0
    upper: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it has no rows."""
        return self.upper is not None and self.upper < self.lower

    def capped(self) -> Range:
        """Return the range, limited to the rows that one response may have."""
        last = self.lower + MAX_ROWS - 1
        return Range(self.lower, last if self.upper is None else min(self.upper, last))


_NO_ROW = Range(0, -1)


def range_of_parameters(limit: str | None, offset: str | None) -> Range:
    """Return the range of the parameters `limit` and `offset`."""
    first = 0 if offset is None else _integer(offset)
    return Range(first, None if limit is None else first + _integer(limit) - 1)


def requested_range(limit: str | None, offset: str | None, header: str | None) -> Range:
    """Return the intersection of the range of the parameters and that of the header `Range`.

    Raises:
        RestError: It is empty (PGRST103).
    """
    parameters, of_header = range_of_parameters(limit, offset), _of_header(header)
    if parameters.upper == _NO_ROW.upper:  # `limit=0` is allowed, and wins
        return _NO_ROW
    uppers = [upper for upper in (parameters.upper, of_header.upper) if upper is not None]
    both = Range(max(parameters.lower, of_header.lower), min(uppers, default=None))
    if of_header.is_empty:
        details = "The lower boundary must be lower than or equal to the upper boundary in the Range header."
        raise _not_satisfiable(details)
    if parameters.is_empty or both.is_empty:
        raise _not_satisfiable("Limit should be greater than or equal to zero.")
    return both


def is_past_the_end(rows: Range, total: int | None) -> bool:
    """Return whether a range starts more than one row after the last row."""
    return total is not None and rows.lower > total


def past_the_end(rows: Range, total: int | None) -> RestError:
    """Return the error that a range starts after the last row (PGRST103)."""
    details = f"An offset of {rows.lower} was requested, but there are only {total} rows."
    return _not_satisfiable(details)


def content_range(lower: int, upper: int, total: int | None) -> str:
    """Return the header `Content-Range` of the rows between two positions."""
    shown = f"{lower}-{upper}" if total != 0 and lower <= upper else "*"
    return f"{shown}/{'*' if total is None else total}"


def _of_header(header: str | None) -> Range:
    found = _HEADER.fullmatch(header or "")
    if found is None:
        return Range()
    return Range(int(found[1]), int(found[2]) if found[2] else None)


def _integer(value: str) -> int:
    if not INTEGER.fullmatch(value):
        raise unsupported(f"the limit or offset '{value}'")
    return int(value)


def _not_satisfiable(details: str) -> RestError:
    return RestError(416, "PGRST103", "Requested range not satisfiable", details=details)
