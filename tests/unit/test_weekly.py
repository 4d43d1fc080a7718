"""Times of day and weekdays on a command line."""

from __future__ import annotations

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.cli.weekly import days_in_words, times_of_day, weekdays


@pytest.mark.parametrize(
    ("text", "numbers", "words"),
    [
        ("mon-fri", [1, 2, 3, 4, 5], "mon-fri"),
        ("MON, wed", [1, 3], "mon,wed"),
        ("fri-mon", [1, 5, 6, 7], "mon,fri,sat,sun"),
        ("sat,sun", [6, 7], "sat,sun"),
        ("sun", [7], "sun"),
        ("mon-sun", [1, 2, 3, 4, 5, 6, 7], "daily"),
        ("tue-tue", [2], "tue"),
    ],
)
def test_weekdays(text: str, numbers: list[int], words: str) -> None:
    assert weekdays(text) == numbers
    assert days_in_words(numbers) == words


@given(st.sets(st.integers(1, 7), min_size=1))
def test_days_in_words_are_read_back(numbers: set[int]) -> None:
    words = days_in_words([*numbers])
    assert weekdays("mon-sun" if words == "daily" else words) == sorted(numbers)


def test_times_of_day() -> None:
    assert times_of_day("8:00, 16:45,00:05") == ["08:00", "16:45", "00:05"]


@pytest.mark.parametrize(
    "text", ["", "8", "24:00", "12:60", "08:00;09:00", "08:00,", "-1:00", "8:0", "\u0660\u0668:00"]
)
def test_wrong_times(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a time of day; write times as 08:00,16:45"):
        times_of_day(text)


@pytest.mark.parametrize("text", ["", "monday", "mon-", "-fri", "mon-fri-sun", "1-5", "mon;tue"])
def test_wrong_days(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a weekday; write days as mon-fri or mon,wed,fri"):
        weekdays(text)
