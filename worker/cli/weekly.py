"""Times of day and weekdays, as people write them on a command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})")
_LAST_HOUR, _LAST_MINUTE = 23, 59


def times_of_day(text: str) -> list[str]:
    """Parse `08:00,16:45` as `["08:00", "16:45"]`.

    Raises:
        argparse.ArgumentTypeError: A part is not a time of day.
    """
    return [_time(part.strip()) for part in text.split(",")]


def weekdays(text: str) -> list[int]:
    """Parse `mon-fri` or `mon,wed,fri` as numbers from 1 (Monday) to 7.

    A range may include the end of the week: `fri-mon`.

    Raises:
        argparse.ArgumentTypeError: A part is not a day or a range of days.
    """
    return sorted({number for part in text.split(",") for number in _days(part.strip())})


def days_in_words(numbers: Sequence[int]) -> str:
    """Return weekdays in the form of `weekdays`: `daily`, `mon-fri` or `mon,wed`."""
    days = sorted(numbers)
    if len(days) == len(DAYS):
        return "daily"
    if len(days) > 2 and days[-1] - days[0] == len(days) - 1:  # noqa: PLR2004 (a range of two days is a list)
        return f"{DAYS[days[0] - 1]}-{DAYS[days[-1] - 1]}"
    return ",".join(DAYS[day - 1] for day in days)


def _time(part: str) -> str:
    match = _TIME.fullmatch(part)
    if match is None or int(match[1]) > _LAST_HOUR or int(match[2]) > _LAST_MINUTE:
        raise argparse.ArgumentTypeError(f"{part!r} is not a time of day; write times as 08:00,16:45")
    return f"{int(match[1]):02}:{match[2]}"


def _days(part: str) -> list[int]:
    first, _, last = part.lower().partition("-")
    if first not in DAYS or (last or first) not in DAYS or part.endswith("-"):
        raise argparse.ArgumentTypeError(f"{part!r} is not a weekday; write days as mon-fri or mon,wed,fri")
    start, end = DAYS.index(first), DAYS.index(last or first)
    length = (end - start) % len(DAYS) + 1
    return [(start + offset) % len(DAYS) + 1 for offset in range(length)]
