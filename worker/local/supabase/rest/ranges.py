"""Which rows of a result are asked for, and how the answer says which they are."""

from __future__ import annotations

import re
from typing import NamedTuple

from worker.local.supabase.rest.errors import RestError, unknown

MAX_ROWS = 1000  # a Supabase project's default

_HEADER = re.compile(r"([0-9]+)-([0-9]*)")
_INTEGER = re.compile(r"-?[0-9]{1,18}")


class Range(NamedTuple):
    """Rows by their place, which begins with 0.

    Attributes:
        upper: The last one. No end if None.
    """

    lower: int = 0
    upper: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is no row in it."""
        return self.upper is not None and self.upper < self.lower

    def capped(self) -> Range:
        """Return that of its rows which one answer may hold."""
        last = self.lower + MAX_ROWS - 1
        return Range(self.lower, last if self.upper is None else min(self.upper, last))


_NO_ROW = Range(0, -1)


def of_parameters(limit: str | None, offset: str | None) -> Range:
    """Return what the parameters `limit` and `offset` say."""
    first = 0 if offset is None else _integer(offset)
    return Range(first, None if limit is None else first + _integer(limit) - 1)


def requested(limit: str | None, offset: str | None, header: str | None) -> Range:
    """Return the rows that are asked for by parameters and by the header `Range`, where both agree.

    Raises:
        RestError: There can be no such row (PGRST103).
    """
    parameters, of_header = of_parameters(limit, offset), _of_header(header)
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
    """Whether the first row that is asked for is beyond one after the last that there is."""
    return total is not None and rows.lower > total


def past_the_end(rows: Range, total: int | None) -> RestError:
    """Return the error that says so."""
    details = f"An offset of {rows.lower} was requested, but there are only {total} rows."
    return _not_satisfiable(details)


def content_range(lower: int, upper: int, total: int | None) -> str:
    """Return the header `Content-Range` of the rows between two places."""
    shown = f"{lower}-{upper}" if total != 0 and lower <= upper else "*"
    return f"{shown}/{'*' if total is None else total}"


def _of_header(header: str | None) -> Range:
    found = _HEADER.fullmatch(header or "")
    if found is None:
        return Range()
    return Range(int(found[1]), int(found[2]) if found[2] else None)


def _integer(value: str) -> int:
    if not _INTEGER.fullmatch(value):
        raise unknown(f"the limit or offset '{value}'")
    return int(value)


def _not_satisfiable(details: str) -> RestError:
    return RestError(416, "PGRST103", "Requested range not satisfiable", details=details)
