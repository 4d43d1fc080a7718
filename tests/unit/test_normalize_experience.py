"""Years of experience."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline.experience import MAX_YEARS, experience_years

JUDGED: list[dict[str, Any]] = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "required-years.jsonl").read_text("utf-8").splitlines()
]
"""Texts as postings in many languages write them, each with the years that it requires; null: none."""


@pytest.mark.parametrize("judged", JUDGED, ids=lambda judged: str(judged["text"]))
def test_judged_text(judged: dict[str, Any]) -> None:
    assert experience_years(judged["text"]) == judged["years"]


@pytest.mark.parametrize(
    "part", ["10 years ", "year ", "one ", "5-5 ", "experience ", "or 5 years experience ", "2 years\n"]
)
def test_time_is_linear(part: str) -> None:
    experience_years(part * (200_000 // len(part)))


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("5+ years of experience", 5),
        ("minimum of 3 years", 3),
        ("2-4 years' experience", 2),
        ("5\u20137 years\u2019 experience", 5),
        ("3 to 5 yrs experience", 3),
        ("At least two years of experience in Java", 2),
        ("One (1) year of experience", 1),
        ("Minimum of two (2) years in a security role", 2),
        ("0-2 years of related experience", 0),
        ("Caregiving: 2 years (Required)", 2),
        ("Forklift: 1 year (Preferred)", None),
        ("5 years of experience\n2 years of experience with Go", 5),
        ("5 years of experience, including 2 years of experience with Go", 5),
        ("3 years with a degree or 5 years of experience", 3),
        ("3 years of experience in retail OR 5 years of experience in sales", 3),
        ("High school diploma, or 5 years of experience", None),
        ("3 years of experience preferred", None),
        ("3 years of experience required, 5 preferred", 3),
        ("2 years of experience in nursing, preferably in hospice", 2),
        ("Nice to have:\n5 years of experience\nRequired:\n2 years of experience", 2),
        ("Must have 10+ years of experience", 10),
        ("We have 10 years of experience", None),
        ("With over 15 years of experience, we lead", None),
        ("40 years of experience", None),
        ("we are 25 years old", None),
        ("Must be 18 years of age with experience", None),
        ("18 years or older, experience not needed", None),
        ("a 4 year degree and experience", None),
        ("No accidents within the last 3 years of experience", None),
        ("a 12-year-old with experience", None),
        ("401k after 1 year of experience", None),
        ("", None),
    ],
)
def test_years_asked_for(text: str, years: int | None) -> None:
    assert experience_years(text) == years


@given(
    st.lists(
        st.sampled_from(
            ["5", "two", "+", " years", " of experience", " or ", "-", "\n", "at least ", " preferred", ".", ":"]
        )
        | st.text(max_size=4)
    ).map("".join)
)
def test_years_are_possible(text: str) -> None:
    years = experience_years(text)
    assert years is None or 0 <= years <= MAX_YEARS
