from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.http.retry_after import MAX_SECONDS, retry_after_seconds

TIMES = st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2100, 1, 1)).map(  # noqa: DTZ001 (made aware)
    lambda time: time.replace(microsecond=0, tzinfo=UTC)
)


def asked(**headers: str) -> float | None:
    return retry_after_seconds(httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()}))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("9" * 500, MAX_SECONDS),
        ("-1", None),
        ("+1", None),
        ("1e3", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("soon", None),
        ("Mon, 99 Xyz 2026 00:00:00 GMT", None),
    ],
)
def test_seconds(value: str, seconds: float | None) -> None:
    assert asked(retry_after=value) == seconds


def test_without_the_header_there_is_no_wait() -> None:
    assert asked(date="Sun, 22 Nov 2026 10:00:00 GMT") is None


@given(now=TIMES, seconds=st.integers(-(10**6), 10**6), hours=st.integers(-12, 14))
def test_a_date_counts_from_the_answers_own(now: datetime, seconds: int, hours: int) -> None:
    until = (now + timedelta(seconds=seconds)).astimezone(timezone(timedelta(hours=hours)))
    answer = asked(retry_after=format_datetime(until), date=format_datetime(now, usegmt=True))
    assert answer == max(0, seconds)


@given(seconds=st.integers(0, 10**5))
def test_without_a_date_of_its_own_it_counts_from_now(seconds: int) -> None:
    before = datetime.now(UTC)
    until = (before + timedelta(seconds=seconds)).replace(microsecond=0)
    answer = asked(retry_after=format_datetime(until, usegmt=True))
    after = datetime.now(UTC)
    assert answer is not None
    assert max(0.0, (until - after).total_seconds()) <= answer <= max(0.0, (until - before).total_seconds())


PARTS = st.sampled_from(
    ["Sun,", "22", "Nov", "2026", "0001", "9999", "23:59:60", "10:00:00", "-0000", "+9999", "GMT", ""]
)


@given(
    value=st.text(max_size=40) | st.lists(PARTS, max_size=7).map(" ".join),
    date=st.lists(PARTS, max_size=7).map(" ".join),
)
def test_any_header_is_a_bounded_time_or_none(value: str, date: str) -> None:
    answer = retry_after_seconds({"retry-after": value, "date": date})
    assert answer is None or (math.isfinite(answer) and 0 <= answer <= MAX_SECONDS)
