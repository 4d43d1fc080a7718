"""Filtering and ranking the jobs of boards without a search of their own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.model import Item, Json
from worker.sources.job_filter import JobFilter, Match, published_since
from worker.sources.parameters import JobParameters

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def job(title: str = "Software Engineer", **fields: Any) -> Item:
    return Item(external_id="1", title=title, url="https://example.com/1", **fields)


def match(item: Item, oldest: datetime | None = None, **parameters: Any) -> Match | None:
    wanted = JobParameters.read({"search_term": "engineer", **parameters})
    return JobFilter(wanted, oldest).match(item)


@pytest.mark.parametrize(
    ("search_term", "text", "is_match"),
    [
        ("software engineer", "Engineer, Software", True),
        ("Software ENGINEER", "software engineers wanted", True),
        ("engineers", "One engineer", True),
        ("engineer", "Engineering Manager", False),
        ("java", "JavaScript", False),
        ("c", "C++ and C#", False),
        ("c++", "modern C++, please", True),
        (".net", "ASP.NET or .NET", True),
        ("node.js", "Node.js", True),
        ("business", "Business", True),
        ("full-stack", "Full Stack Developer", True),
        ("full stack", "full-stack", True),
        ("développeur", "Developpeur H/F", True),
        ("developpeur", "DÉVELOPPEUR", True),
        ('"data engineer"', "Data Platform Engineer", False),
        ('"data engineer"', "Senior Data-Engineers", True),
        ("engineer -senior", "Senior Engineer", False),
        ("engineer NOT senior", "Senior Engineer", False),
        ('engineer -"team lead"', "Engineer and Team Lead", False),
        ('engineer -"team lead"', "Engineer in a team", True),
        ("e-commerce", "E-Commerce Manager", True),
        ("(java OR python OR c++) developer", "Python Developer", True),
        ("(java OR python OR c++) developer", "Ruby Developer", False),
        ("java | python", "Python", True),
        ("nurse AND night", "Night nurse", True),
        ("OR", "anything", True),
        ("-senior", "Junior", True),
        ('""', "anything", True),
        ("データ", "データ エンジニア", True),
    ],
)
def test_words(search_term: str, text: str, is_match: bool) -> None:
    assert (match(job(text), search_term=search_term) is not None) is is_match
    assert (match(job("Job", description=text), search_term=search_term) is not None) is is_match


@pytest.mark.parametrize(
    "fields",
    [
        {"description": "<p>You are a&nbsp;<b>nurse</b></p>"},
        {"description": "&lt;p&gt;nurse&lt;/p&gt;"},
        {"organization": "Nurse & Co"},
        {"skills": ("nurse",)},
        {"data": {"departments": [{"name": "Nurses"}], "tags": None}},
    ],
)
def test_words_are_looked_up_in_all_that_describes_a_job(fields: dict[str, Any]) -> None:
    assert match(job("Job", **fields), search_term="nurse") is not None


def test_words_are_not_looked_up_in_tags_and_addresses() -> None:
    item = job("Job", description='<p class="nurse">Cook</p>', data={"page": "https://example.com/nurse"})
    assert match(item, search_term="nurse") is None


@pytest.mark.parametrize(
    ("wanted", "location", "is_match"),
    [
        ({"location": "Berlin"}, "Berlin, Germany", True),
        ({"location": "Berlin"}, "Munich", False),
        ({"location": "Berlin"}, None, True),
        ({"location": "Berlin, Germany"}, "Remote - Germany", True),
        ({"location": "Berlin, Germany"}, "Remote - Spain", False),
        ({"location": "Berlin"}, "Madrid, Spain; Berlin, Germany", True),
        ({"location": "Berlin"}, "Madrid, Spain; Paris, France", False),
        ({"location": "San Francisco, CA"}, "San Francisco, California, United States", True),
        ({"location": "San Francisco, CA"}, "San Francisco", True),
        ({"location": "San Francisco, CA"}, "Los Angeles, CA", False),
        ({"location": "California"}, "Los Angeles, CA", True),
        ({"location": "California"}, "Austin, TX", False),
        ({"location": "New York"}, "New York City, NY", True),
        ({"location": "Texas", "country": "usa"}, "Remote, US", True),
        ({"country": "germany"}, "Berlin, Germany", True),
        ({"country": "germany"}, "London, United Kingdom", False),
        ({"country": "germany"}, "Berlin", True),
        ({"country": "usa", "location": "London, United Kingdom"}, "London, England, United Kingdom", True),
        ({"location": "Europe"}, "Remote - Europe", True),
        ({"location": "Europe"}, "Lisbon", True),
    ],
)
def test_places(wanted: dict[str, Any], location: str | None, is_match: bool) -> None:
    assert (match(job(location=location), **wanted) is not None) is is_match


def test_places_in_fields_of_their_own() -> None:
    item = job(location="HQ", city="Berlin", country="Germany")
    assert match(item, location="Berlin, Germany") is not None
    assert match(item, country="france") is None


@pytest.mark.parametrize(
    ("fields", "is_match"),
    [
        ({"is_remote": True}, True),
        ({"work_mode": "Remote"}, True),
        ({"location": "Remote - US"}, True),
        ({"title": "Engineer (Remote)"}, True),
        ({"location": "Berlin", "description": "<p>This is a fully remote position.</p>"}, True),
        ({"is_remote": True, "work_mode": "Hybrid"}, False),
        ({"work_mode": "OnSite"}, False),
        ({"location": "Berlin, Germany"}, False),
        ({"location": "Germany"}, True),
        ({}, True),
    ],
)
def test_remote(fields: dict[str, Any], is_match: bool) -> None:
    item = job(fields.pop("title", "Engineer"), **fields)
    assert (match(item, is_remote=True) is not None) is is_match


def test_remote_as_a_location() -> None:
    assert match(job(location="Berlin, Germany"), location="Remote") is None
    assert match(job(location="Remote"), location="Remote") is not None
    assert match(job(location="Remote, Spain"), location="Remote, Germany") is None


@pytest.mark.parametrize(
    ("job_types", "is_match"),
    [(("Full-time",), False), (("Part-time",), True), (("FullTime", "Part time"), True), ((), True), (("Crew",), True)],
)
def test_job_type(job_types: tuple[str, ...], is_match: bool) -> None:
    assert (match(job(job_types=job_types), job_type="parttime") is not None) is is_match


@pytest.mark.parametrize(
    ("posted_at", "is_match"),
    [
        ("2026-11-20T11:59:00+00:00", False),
        ("2026-11-20T13:30:00+01:00", True),
        ("2026-11-20", True),
        ("2026-11-19", False),
        ("1795176000000", True),
        ("soon", True),
        (None, True),
    ],
)
def test_age(posted_at: str | None, is_match: bool) -> None:
    assert (match(job(posted_at=posted_at), NOW) is not None) is is_match


def test_published_since() -> None:
    two_hours = JobParameters.read({"search_term": "x", "hours_old": 2})
    any_age = JobParameters.read({"search_term": "x"})
    assert published_since(any_age, None, NOW) is None
    assert published_since(any_age, NOW, NOW) == NOW
    assert published_since(two_hours, None, NOW) == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert published_since(two_hours, datetime(2026, 11, 20, 11, tzinfo=UTC), NOW) == datetime(
        2026, 11, 20, 11, tzinfo=UTC
    )
    assert published_since(two_hours, datetime(2026, 11, 1, tzinfo=UTC), NOW) == datetime(2026, 11, 20, 10, tzinfo=UTC)


def test_the_best_come_first() -> None:
    jobs = [
        job("Recruiter", description="hires engineers", location="Berlin", posted_at="2026-11-20"),
        job("Engineer, undated", location="Berlin"),
        job("Engineer, somewhere", posted_at="2026-11-20"),
        job("Engineer, old", location="Berlin", posted_at="2026-11-01"),
        job("Engineer, new", location="Berlin", posted_at="2026-11-19"),
    ]
    answers = {item.title: match(item, location="Berlin") for item in jobs}
    assert sorted(answers, key=lambda title: answers[title] or pytest.fail(title)) == [
        "Engineer, new", "Engineer, old", "Engineer, undated", "Engineer, somewhere", "Recruiter",
    ]  # fmt: skip


def test_texts_within_texts_are_read_down_to_some_level() -> None:
    deep: Json = ["plumber"]
    for _ in range(5000):
        deep = [deep]
    data = {"tags": [{"name": "nurse"}], "deep": deep}
    assert match(job(data=data), search_term="nurse")
    assert match(job(data=data), search_term="plumber") is None


@settings(deadline=None)
@given(st.text(min_size=1, max_size=200).filter(str.strip), st.text(), st.text(), st.text(), st.text())
def test_any_text_will_do(search_term: str, title: str, location: str, description: str, word: str) -> None:
    item = job(title, location=location, description=description, work_mode=word, job_types=(word,), posted_at=word)
    wanted = {"search_term": search_term, "location": word.strip() or None, "is_remote": True, "job_type": "contract"}
    match(item, NOW, **wanted)
