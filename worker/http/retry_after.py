"""Parses the `Retry-After` header."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_SECONDS = 31 * 24 * 3600
"""Longest wait in seconds: a monthly quota. Longer values are capped."""


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the value of `Retry-After` in seconds, from 0 to `MAX_SECONDS`; None if it is missing or invalid.

    The value is a number of seconds or a date (RFC 9110, 10.2.3). A date is compared with the response's `Date`
    header, because both come from the server's clock.

    Args:
        headers: The response's headers by case-insensitive name.
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        seconds = float(value)
    else:
        until = _time(value)
        if until is None:
            return None
        seconds = (until - (_time(headers.get("date", "")) or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), MAX_SECONDS)


def _time(text: str) -> datetime | None:
    try:
        time = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
