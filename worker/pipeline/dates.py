"""Converts dates in the formats of different sites to ISO 8601."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FIRST_YEAR, _LAST_YEAR = 1970, 2100
_MAX_LENGTH = 64

_NUMBER = re.compile(r"(\d{10})(?:\d{3})?(?:\.\d{1,9})?", re.ASCII)
_FLAGS = re.ASCII | re.IGNORECASE
_FORMATS = (
    re.compile(r"(?P<month>[a-z]{3})[a-z]{0,6}\.? (?P<day>\d{1,2})(?:st|nd|rd|th)?,? (?P<year>\d{4})", _FLAGS),
    re.compile(r"(?P<day>\d{1,2})(?:st|nd|rd|th)?\.? (?P<month>[a-z]{3})[a-z]{0,6}\.?,? (?P<year>\d{4})", _FLAGS),
    re.compile(r"(?P<year>\d{4})/(?P<month>\d{1,2})/(?P<day>\d{1,2})", re.ASCII),
    re.compile(r"(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})", re.ASCII),
)
_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})", re.ASCII)


def to_iso(text: str | None) -> str | None:
    """Return a date or a time as ISO 8601, or None if `text` is not a date from 1970 to 2100.

    A date stays a date. A time is converted to UTC; without a zone it is assumed to be in UTC. Supported are ISO 8601,
    seconds or milliseconds since 1970, the dates of e-mail and HTTP (RFC 5322), `September 11, 2024`, `11 Sep 2024`,
    `2024/09/11`, `11.09.2024`, and `12/16/2024` if only one order of day and month is possible. Relative dates
    (`3 days ago`) are not supported.
    """
    if text is None or len(text) > _MAX_LENGTH:
        return None
    text = re.sub(r" ?(?:UTC|GMT)$", " +0000", " ".join(text.split()))
    try:
        found = _epoch(text) or _iso(text) or _formatted(text) or _slashed(text) or _rfc5322(text)
        if isinstance(found, datetime):
            found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return found.isoformat() if found and _FIRST_YEAR <= found.year <= _LAST_YEAR else None


def _epoch(text: str) -> datetime | None:
    if not (number := _NUMBER.fullmatch(text)):
        return None
    return datetime.fromtimestamp(int(number[1]), UTC)


def _iso(text: str) -> date | datetime | None:
    if not re.match(r"\d{4}-\d", text, re.ASCII):
        return None
    for read in (date.fromisoformat, datetime.fromisoformat):
        try:
            return read(text)
        except ValueError:
            continue
    return None


def _formatted(text: str) -> date | None:
    for pattern in _FORMATS:
        if match := pattern.fullmatch(text):
            month = match["month"]
            number = int(month) if month.isdecimal() else _MONTHS.index(month.lower()) + 1
            return date(int(match["year"]), number, int(match["day"]))
    return None


def _slashed(text: str) -> date | None:
    if not (match := _SLASHED.fullmatch(text)):
        return None
    first, second, year = map(int, match.groups())
    if first == second or second > 12 >= first:  # noqa: PLR2004 (months of a year)
        return date(year, first, second)
    return date(year, second, first) if first > 12 >= second else None  # noqa: PLR2004


def _rfc5322(text: str) -> datetime | None:
    return parsedate_to_datetime(text) if re.search(r"\d \w{3} \d{4} \d\d:", text, re.ASCII) else None
