"""Dates."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline.dates import to_iso

DAYS = st.dates(date(1970, 1, 2), date(2100, 12, 30))
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=-7))])


@pytest.mark.parametrize(
    ("raw", "iso"),
    [
        ("2024-09-11", "2024-09-11"),
        ("2024-09-11T10:00:00Z", "2024-09-11T10:00:00+00:00"),
        ("2024-09-11T10:00:00.123456+02:00", "2024-09-11T08:00:00.123456+00:00"),
        ("2024-09-11 10:00:00", "2024-09-11T10:00:00+00:00"),
        ("2024-09-11 10:00:00 UTC", "2024-09-11T10:00:00+00:00"),
        ("Wed, 11 Sep 2024 10:00:00 GMT", "2024-09-11T10:00:00+00:00"),
        ("Wed, 11 Sep 2024 10:00:00 -0700", "2024-09-11T17:00:00+00:00"),
        ("1726048800", "2024-09-11T10:00:00+00:00"),
        ("1726048800000", "2024-09-11T10:00:00+00:00"),
        ("1726048800.5", "2024-09-11T10:00:00+00:00"),
        ("September 11, 2024", "2024-09-11"),
        ("Sep 11 2024", "2024-09-11"),
        ("11 Sept. 2024", "2024-09-11"),
        ("11th September 2024", "2024-09-11"),
        ("2024/09/11", "2024-09-11"),
        ("11.09.2024", "2024-09-11"),
        ("12/16/2024", "2024-12-16"),
        ("16/12/2024", "2024-12-16"),
        ("  2024-09-11\n", "2024-09-11"),
    ],
)
def test_dates_become_iso(raw: str, iso: str) -> None:
    assert to_iso(raw) == iso


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "",
        "3 days ago",
        "yesterday",
        "today",
        "just now",
        "09/10/2024",
        "2024-13-01",
        "2024-02-30",
        "1850-01-01",
        "9999-12-31",
        "0001-01-01T00:00:00+14:00",
        "17260",
        "Foo 11, 2024",
        "31.02.2024",
        "Septober",
        "\u0662\u0660\u0662\u0664-\u0660\u0669-\u0661\u0661",
        "1" * 500,
    ],
)
def test_nothing_is_guessed(raw: str | None) -> None:
    assert to_iso(raw) is None


@given(st.text(st.sampled_from("0123456789-/.:+ ,TZGMTUCSepWd")) | st.text())
def test_any_text_gives_a_stable_date_or_none(raw: str) -> None:
    iso = to_iso(raw)
    assert to_iso(iso) == iso
    if iso is not None:
        assert 1970 <= datetime.fromisoformat(iso).year <= 2100


@given(DAYS)
def test_days_in_all_forms(day: date) -> None:
    forms = (day.isoformat(), f"{day:%Y/%m/%d}", f"{day:%d.%m.%Y}", f"{day:%B %d, %Y}", f"{day:%d %b %Y}")
    assert {to_iso(form) for form in forms} == {day.isoformat()}


@given(DAYS, st.times(), ZONES)
def test_times_in_all_forms(day: date, clock: time, zone: timezone) -> None:
    moment = datetime.combine(day, clock, zone)
    expected = moment.astimezone(UTC)
    assert to_iso(moment.isoformat()) == expected.isoformat()
    assert to_iso(format_datetime(moment)) == expected.replace(microsecond=0).isoformat()
