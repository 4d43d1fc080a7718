"""What sites say about employers, in one form."""

from __future__ import annotations

import math
import time
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.model import Item, Organization
from worker.pipeline.normalize import normalize
from worker.pipeline.organizations import clean_organization, employees


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("51 to 200", "51-200"),
        ("51-200", "51-200"),
        ("51\u2013200 employees", "51-200"),
        ("51\u2011200", "51-200"),
        ("1,001 to 5,000", "1001-5000"),
        ("1.001 bis 5.000 Mitarbeiter", "1001-5000"),
        ("1 000 à 4 999 salariés", "1000-4999"),
        ("1\u202f000 à 4\u202f999 salariés", "1000-4999"),
        ("1'001 - 5'000", "1001-5000"),
        ("1,00,000+", "100000+"),
        ("10,000+", "10000+"),
        ("10001+ employees", "10001+"),
        ("10,000 or more", "10000+"),
        ("more than 10,000", "10000+"),
        ("Über 10.000 Mitarbeiter", "10000+"),
        ("Plus de 10 000 salariés", "10000+"),
        ("más de 500", "500+"),
        ("meer dan 500", "500+"),
        ("500 Employees or more", "500+"),
        ("less than 10", "1-10"),
        ("up to 50", "1-50"),
        ("bis zu 50", "1-50"),
        ("moins de 10 salariés", "1-10"),
        ("1-10,000", "1-10000"),
        ("5K-10K", "5000-10000"),
        ("5-10K", "5000-10000"),
        ("1.5k", "1500"),
        ("2,5 k+", "2500+"),
        ("120", "120"),
        ("120-120", "120"),
        ("200-51", "51-200"),
        ("  <b>12</b> people ", "12"),
        ("Decline to state", None),
        ("Self-employed", None),
        ("Foreign MNC", None),
        ("0", None),
        ("", None),
        ("1, 2, 3", None),
        ("200-300 people since 1999", None),
        ("1999-2004: 51-200", None),
        ("123456789012", None),
        ("999999999", None),
        (None, None),
    ],
)
def test_employees(words: str | None, count: str | None) -> None:
    assert employees(words) == count
    assert employees(count) == count


@pytest.mark.parametrize(
    ("field", "told", "kept"),
    [
        ("url", "HTTP://WWW.Acme.example?utm_source=indeed", "http://www.acme.example/"),
        ("url", "javascript:alert(1)", None),
        ("profile_url", "https://www.indeed.com/cmp/Acme?from=serp", "https://www.indeed.com/cmp/Acme"),
        ("profile_url", "data:text/html,x", None),
        ("logo_url", "//logos.example/x.png", None),
        ("logo_url", "https://logos.example/x.png\n", "https://logos.example/x.png"),
        ("address", "5301 Headquarters Drive,\n Plano, TX 75024\n", "5301 Headquarters Drive, Plano, TX 75024"),
        ("address", "Berlin<script>alert(1)</script>", "Berlin alert(1)"),
        ("address", " \n,\n", None),
        ("industry", "Food &amp; Drink", "Food & Drink"),
        ("industry", "Unknown / Non-Applicable", None),
        ("industry", "N/A", None),
        ("industry", "x" * 600, "x" * 500),
        ("revenue", "more than $10B (USD)", "more than $10B (USD)"),
        ("revenue", "Decline to state", None),
        ("description", "<p>We <b>care</b>.<script>x</script></p>", "We **care**."),
        ("description", "<p> </p>", None),
        ("rating", 3.94999, 3.95),
        ("rating", 0.0, None),
        ("rating", 9.5, None),
        ("rating", math.nan, None),
        ("review_count", 0, None),
        ("review_count", 212, 212),
        ("review_count", 10**12, None),
    ],
)
def test_a_field(field: str, told: Any, kept: Any) -> None:
    cleaned = clean_organization(Organization(**{field: told}))
    assert cleaned == (None if kept is None else Organization(**{field: kept}))


def test_who_says_nothing_tells_nothing() -> None:
    assert clean_organization(None) is None
    assert clean_organization(Organization()) is None


texts = st.none() | st.text(st.characters(exclude_categories=[])) | st.from_regex(r"[\d.,'k+\- ]{0,20}")
organizations = st.builds(
    Organization,
    **{field.name: texts for field in fields(Organization) if field.type == "str | None"},
    rating=st.none() | st.floats(),
    review_count=st.none() | st.integers(),
)


@given(organizations)
def test_an_organization_is_normalized_once(told: Organization) -> None:
    item = Item("1", "Nurse", "https://example.com/1", employer=told)
    once = normalize(item, "jobs")
    assert normalize(once, "jobs") == once
    if once.employer is not None:
        for url in (once.employer.url, once.employer.profile_url, once.employer.logo_url):
            assert url is None or url.startswith(("http://", "https://"))


@pytest.mark.hostile
@pytest.mark.parametrize("part", ["1", "1,", "1,000,", "1 k ", "<", "more ", "\n", "10.000.000 "])
def test_long_texts_take_little_time(part: str) -> None:
    text = part * (10**6 // len(part))
    started = time.process_time()
    clean_organization(Organization(employees=text, address=text, industry=text, revenue=text))
    assert time.process_time() - started < 1
