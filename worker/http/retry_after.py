"""How long a server asks to be left alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_SECONDS = 31 * 24 * 3600
"""A quota of a month is the longest that a server may mean; what is above it is a mistake."""


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return what `Retry-After` asks for, in seconds; None if it asks for nothing that makes sense.

    It is a number of seconds or a date (RFC 9110, 10.2.3), which counts from the answer's own `Date`: by the clock that
    both are from, right or wrong.

    Args:
        headers: The answer's, by name in any case.
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        seconds = float(value)
    else:
        until = _time(value)
        if until is None:
            return None
        seconds = (until - (_time(headers.get("date", "")) or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), LONGEST_SECONDS)


def _time(text: str) -> datetime | None:
    try:
        time = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
