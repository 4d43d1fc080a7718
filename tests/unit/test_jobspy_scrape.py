from __future__ import annotations

import json
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobspy.model import CompensationInterval, Country, JobPost, JobType, Location

from worker.engine.read import transform
from worker.model import Page
from worker.sources.jobspy import JobSpySource
from worker.sources.jobspy_scrape import to_json, to_rows

COLUMNS = list(JobPost.model_fields)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=[])),
    st.binary(),
    st.dates(),
    st.datetimes(),
    st.times(),
    st.timedeltas(),
    st.decimals(),
    st.complex_numbers(),
    st.uuids(),
    st.sampled_from([pd.NaT, pd.NA, pd.Timestamp("2026-11-22", tz="UTC"), pd.Timedelta(days=1), *JobType]),
    st.sampled_from([np.bool_(True), np.int64(1), np.float32("nan"), np.float64("inf"), np.datetime64("NaT", "ns")]),
    st.sampled_from([np.datetime64("2026-11-22"), np.timedelta64(1, "s"), np.str_("text"), np.array([1, 2])]),
)
values = st.recursive(
    scalars, lambda value: st.lists(value) | st.dictionaries(st.text(), value) | st.tuples(value), max_leaves=5
)
tables = st.lists(st.dictionaries(st.sampled_from(COLUMNS), values), max_size=4)


def is_storable(value: object) -> bool:
    """Tell whether PostgreSQL's jsonb takes it: strict JSON in UTF-8, and no NUL."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    text.encode()
    return "\\u0000" not in text


@given(values)
def test_every_value_becomes_json(value: object) -> None:
    assert is_storable(to_json(value))


@given(tables)
def test_every_table_becomes_json_that_parses(records: list[dict[str, Any]]) -> None:
    rows = to_rows(pd.DataFrame(records))
    assert len(rows) == len(records)
    assert is_storable(rows)
    for site in JobSpySource.sites:
        transformed = transform(JobSpySource(), site, Page(1, {"rows": [*rows], "warnings": []}, 0))
        assert len(transformed.items) + len(transformed.errors) == len(rows)


@given(st.lists(st.builds(
    JobPost,
    id=st.text(),
    title=st.text(),
    job_url=st.text() | st.just("https://jobs.example/1"),
    date_posted=st.none() | st.dates(),
    job_type=st.none() | st.lists(st.sampled_from(JobType), unique=True),
    interval=st.none() | st.sampled_from(CompensationInterval),
    min_amount=st.none() | st.floats(),
    is_remote=st.none() | st.booleans(),
    vacancy_count=st.none() | st.integers(0, 10**6),
    company_rating=st.none() | st.floats(0, 5),
), max_size=5))  # fmt: skip
def test_every_table_of_jobspy_becomes_json_that_parses(posts: list[JobPost]) -> None:
    rows = to_rows(pd.DataFrame([post.model_dump() for post in posts], columns=COLUMNS))
    assert is_storable(rows)
    assert [row["vacancy_count"] for row in rows] == [post.vacancy_count for post in posts]
    assert all(type(row["vacancy_count"]) in (int, type(None)) for row in rows)
    assert [row["job_type"] for row in rows] == [
        [job_type.value for job_type in post.job_type] if post.job_type else None for post in posts
    ]
    transformed = transform(JobSpySource(), "indeed", Page(1, {"rows": [*rows], "warnings": []}, 0))
    assert {error.type for error in transformed.errors} <= {"InvalidItemError"}


def test_row_of_a_job() -> None:
    post = JobPost(
        id="in-1",
        site="indeed",
        title="Nurse\0",
        job_url="https://jobs.example/1",
        location=Location(city="Berlin", country=Country.GERMANY),
        date_posted=date(2026, 11, 22),
        job_type=[JobType.FULL_TIME, JobType.CONTRACT],
        skills=["care", "night shifts"],
        min_amount=100.5,
        vacancy_count=3,
    )
    other = JobPost(title="Cook", job_url="https://jobs.example/2")
    row, other_row = to_rows(pd.DataFrame([post.model_dump(), other.model_dump()], columns=COLUMNS))
    assert {name: value for name, value in row.items() if value is not None} == {
        "id": "in-1",
        "site": "indeed",
        "title": "Nurse",
        "job_url": "https://jobs.example/1",
        "location": "Berlin, Germany",
        "date_posted": "2026-11-22",
        "job_type": ["fulltime", "contract"],
        "skills": ["care", "night shifts"],
        "salary_source": "direct_data",
        "min_amount": 100.5,
        "vacancy_count": 3,
    }
    assert {name for name, value in other_row.items() if value is not None} == {"title", "job_url"}


@pytest.mark.parametrize(
    ("value", "json_value"),
    [
        (float("nan"), None),
        (float("-inf"), None),
        (pd.NaT, None),
        ("half \ud83d of a character", "half ? of a character"),
        (np.float64(2.5), 2.5),
        (pd.Timestamp("2026-11-22T10:00Z"), "2026-11-22T10:00:00+00:00"),
    ],
)
def test_values_that_json_lacks(value: object, json_value: object) -> None:
    assert to_json(value) == json_value
