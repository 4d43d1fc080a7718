"""Normalizing whole items."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hostile import hostile
from tests.unit.test_normalize_markdown import HOSTILE
from tests.unit.test_normalize_places import CERTAIN
from worker.model import Item, Place
from worker.pipeline.item_places import site_country
from worker.pipeline.normalize import JOBS, normalize

RAW = Item(
    external_id="in-1",
    title="<b>Senior</b> C++ Engineer (Remote)&nbsp;",
    url="https://www.indeed.com/viewjob?jk=1&utm_source=feed",
    organization=" R&amp;D\u200b Inc. ",
    location="Austin, TX, US",
    is_remote=False,
    posted_at="Wed, 11 Sep 2024 10:00:00 GMT",
    apply_url="HTTPS://Jobs.Example.com:443/apply?gclid=1&id=2#form",
    description="<p>Pay: $120,000 - $150,000 a year</p><ul><li>5+ years of experience with C++ and Docker</li></ul>",
    data={"emails": ["jobs@example.com"]},
    job_types=("FULL_TIME", "Contract"),
    apply_key="kept",
)
CLEAN = replace(
    RAW,
    title="Senior C++ Engineer (Remote)",
    url="https://www.indeed.com/viewjob?jk=1",
    organization="R&D Inc.",
    city="Austin",
    region="TX",
    country="US",
    is_remote=True,
    work_mode="remote",
    posted_at="2024-09-11T10:00:00+00:00",
    apply_url="https://jobs.example.com/apply?id=2",
    description="Pay: $120,000 - $150,000 a year\n\n- 5+ years of experience with C++ and Docker",
    job_types=("fulltime", "contract"),
    salary_min=120_000,
    salary_max=150_000,
    salary_interval="yearly",
    currency="USD",
    salary_yearly_min=120_000,
    salary_yearly_max=150_000,
    skills=("C++", "Docker"),
    experience_years=5,
    places=(Place("Austin", "TX", "US", 30.267, -97.743),),
)


def test_item_in_one_vocabulary() -> None:
    assert normalize(RAW, JOBS) == CLEAN
    assert normalize(CLEAN, JOBS) == CLEAN


def test_fields_of_the_source_are_kept() -> None:
    item = normalize(
        replace(
            RAW,
            city="Round Rock",
            region="Texas",
            country="United States",
            work_mode="ON_SITE",
            salary_min=70,
            salary_max=60,
            salary_interval="per hour",
            currency="$",
            skills=("golang",),
            experience_years=2,
        ),
        JOBS,
    )
    assert (item.city, item.region, item.country) == ("Round Rock", "TX", "US")
    assert (item.work_mode, item.is_remote) == ("onsite", False)
    assert (item.salary_min, item.salary_max, item.salary_interval, item.currency) == (60, 70, "hourly", "USD")
    assert (item.salary_yearly_min, item.salary_yearly_max) == (60 * 2080, 70 * 2080)
    assert item.skills == ("Go", "C++", "Docker")
    assert item.experience_years == 2


@pytest.mark.parametrize(
    ("description", "interval", "yearly"),
    [
        ("Pay: $3,500 - $4,200 per month", "monthly", 42_000),
        ("Pay: $2,000 - $2,500 per month", None, None),
        ("A bonus of $3,500 per month", None, None),
        (None, None, None),
    ],
)
def test_interval_of_given_pay_from_the_description(
    description: str | None, interval: str | None, yearly: float | None
) -> None:
    given = replace(RAW, description=description, salary_min=3_500, salary_max=4_200, currency="USD")
    item = normalize(given, JOBS)
    assert (item.salary_min, item.salary_interval, item.salary_yearly_min) == (3_500, interval, yearly)
    assert normalize(item, JOBS) == item


def test_nothing_is_made_up() -> None:
    item = Item("1", "Engineer", "https://example.com/")
    assert normalize(item, JOBS) == item


def test_an_invalid_url_becomes_empty() -> None:
    item = normalize(Item("1", "<br>", "javascript:alert(1)", apply_url="javascript:alert(1)"), JOBS)
    assert (item.title, item.url, item.apply_url) == ("", "", None)


@pytest.mark.parametrize(
    ("url", "country"),
    [
        ("https://de.indeed.com/viewjob?jk=1", "DE"),
        ("https://uk.linkedin.com/jobs/view/1", "GB"),
        ("https://www.indeed.com/viewjob?jk=1", None),
        ("https://www.glassdoor.com/job-listing/j?jl=1", None),
        ("https://www.glassdoor.ca/job-listing/j?jl=1", "CA"),
        ("https://www.glassdoor.co.uk/job-listing/j?jl=1", "GB"),
        ("https://www.glassdoor.com.au/job-listing/j?jl=1", "AU"),
        ("https://fr.glassdoor.ch/job-listing/j?jl=1", "CH"),
        ("https://www.naukri.com/job-listings-1", "IN"),
        ("https://jobs.bdjobs.com/jobdetails/?id=1", "BD"),
        ("https://www.hellowork.com/fr-fr/emplois/1.html", "FR"),
        ("https://www.arbeitnow.com/jobs/1", "DE"),
        ("https://glassdoor.ca.example.com/", None),
        ("https://de.example.com/", None),
        ("", None),
    ],
)
def test_country_of_a_site(url: str, country: str | None) -> None:
    assert site_country(url) == country


def test_site_decides_between_two_readings_of_a_location() -> None:
    item = normalize(Item("1", "Engineer", "https://de.indeed.com/viewjob?jk=1", location="Berlin, DE"), JOBS)
    assert (item.city, item.region, item.country) == ("Berlin", "Berlin", "DE")


TEXTS = (
    st.none() | HOSTILE | st.sampled_from([*CERTAIN, "$", "EUR", "hour", "remote", "2024-09-11", "https://a.b/?ref=x"])
)
NUMBERS = st.none() | st.floats() | st.integers() | st.sampled_from([20.0, 120_000.0])
ITEMS = st.builds(
    Item,
    external_id=st.text(),
    title=TEXTS.map(str),
    url=TEXTS.map(str),
    organization=TEXTS,
    location=TEXTS,
    is_remote=st.none() | st.booleans(),
    posted_at=TEXTS,
    salary_min=NUMBERS,
    salary_max=NUMBERS,
    salary_interval=TEXTS,
    currency=TEXTS,
    apply_url=TEXTS,
    description=TEXTS,
    data=st.just({}),
    city=TEXTS,
    region=TEXTS,
    country=TEXTS,
    work_mode=TEXTS,
    job_types=st.lists(TEXTS.map(str), max_size=3).map(tuple),
    salary_yearly_min=NUMBERS,
    salary_yearly_max=NUMBERS,
    skills=st.lists(TEXTS.map(str), max_size=3).map(tuple),
    experience_years=st.none() | st.integers(),
)


def test_other_kinds_are_cleaned_but_not_searched_for_fields() -> None:
    person = normalize(replace(RAW, title="Ada <b>Lovelace</b> (Remote)", is_remote=None), "people")
    assert (person.title, person.organization) == ("Ada Lovelace (Remote)", "R&D Inc.")
    assert (person.url, person.posted_at, person.description) == (CLEAN.url, CLEAN.posted_at, CLEAN.description)
    assert person.location == "Austin, TX, US"
    assert (person.city, person.region, person.country, person.is_remote, person.work_mode) == (None,) * 5
    assert (person.salary_min, person.salary_yearly_min, person.skills, person.experience_years) == (
        None,
        None,
        (),
        None,
    )


def test_fields_of_other_kinds_are_normalized() -> None:
    given = replace(RAW, city=" Austin ", region="Texas", country="United States", skills=("golang",))
    person = normalize(given, "people")
    assert (person.city, person.region, person.country, person.skills) == ("Austin", "TX", "US", ("Go",))


@given(ITEMS, st.sampled_from([JOBS, "people"]))
@hostile(300)
def test_any_item_is_normalized_once_and_for_all(item: Item, kind: str) -> None:
    once = normalize(item, kind)
    assert normalize(once, kind) == once
    assert once.work_mode is None or once.is_remote == (once.work_mode == "remote")
    assert (once.external_id, once.data) == (item.external_id, item.data)
