"""Where each site is asked, by the location and the country of a search; and what is refused instead."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hostile import hostile
from worker.errors import ErrorCode, SiteError
from worker.pipeline.gazetteer import COUNTRY_LABEL, FILE, country_name
from worker.pipeline.places import country_code
from worker.sources import Source
from worker.sources.greenhouse import GreenhouseSource
from worker.sources.jobspy import JobSpySource
from worker.sources.jobspy_parameters import JobSpyParameters, country_names
from worker.sources.jsearch import JSearchSettings, JSearchSource
from worker.sources.parameters import JobParameters
from worker.sources.remotive import RemotiveSource
from worker.sources.search_location import contradicts, jobspy_location, search_location

SITES = tuple(JobSpySource.sites)
SEARCH: dict[str, Any] = {"search_term": "nurse"}


def parameters(location: str | None = None, country: str | None = None) -> dict[str, Any]:
    given = {"location": location, "country": country}
    return SEARCH | {name: value for name, value in given.items() if value is not None}


def sent(site: str, location: str | None = None, country: str | None = None) -> tuple[str | None, str | None]:
    """The location that JobSpy is given for a site, and the country."""
    search = JobSpyParameters.for_site(site, parameters(location, country))
    return jobspy_location(site, search.place), country_names().get(search.place.country)


def refusal(source: Source, site: str, location: str | None, country: str | None = None) -> str | None:
    try:
        source.validate(site, parameters(location, country))
    except SiteError as error:
        return f"{error.code}: {error.message}"
    return None


# What is sent ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "country", "within", "in_jobspys_words"),
    [
        ("Berlin, Germany", None, "Berlin", "germany"),
        ("Germany, Berlin", None, "Berlin", "germany"),
        ("Munich, Bavaria, Germany", "germany", "Munich, Bavaria", "germany"),
        ("Deutschland", None, None, "germany"),
        ("Bavaria", None, "Bavaria", "germany"),
        ("Cambridge", "uk", "Cambridge", "uk"),
        ("Cambridge", None, "Cambridge", None),
        ("Berlin", None, "Berlin", None),
        ("Naples", "usa", "Naples", "usa"),
        ("Austin, TX", None, "Austin, TX", "usa"),
        ("Nosuchtown, CA", None, "Nosuchtown, CA", "usa"),
        ("Nosuchtown, IN", None, "Nosuchtown, IN", "usa"),
        ("Nosuchtown, FR", None, "Nosuchtown", "france"),
        ("Indianapolis, IN", None, "Indianapolis, IN", "usa"),
        ("Bengaluru, IN", None, "Bengaluru", "india"),
        ("Toronto, CA", "canada", "Toronto", "canada"),
        ("Toronto, ON, Canada", None, "Toronto, ON", "canada"),
        ("New York, US", None, "New York", "usa"),
        ("Hong Kong", None, None, "hong kong"),
        ("Hamburg; Munich", None, "Hamburg; Munich", "germany"),
        ("Europe", "germany", None, "germany"),
        (None, "DE", None, "germany"),
        (None, None, None, None),
    ],
)
@pytest.mark.parametrize("site", ["indeed", "glassdoor"])
def test_sites_with_a_country_of_their_own(
    site: str, location: str | None, country: str | None, within: str | None, in_jobspys_words: str | None
) -> None:
    assert sent(site, location, country) == (within, in_jobspys_words)


@pytest.mark.parametrize(
    ("site", "location", "country", "text"),
    [
        ("linkedin", "Cambridge", "uk", "Cambridge, United Kingdom"),
        ("linkedin", "Cambridge", None, "Cambridge"),
        ("linkedin", "Berlin, Germany", "DE", "Berlin, Germany"),
        ("linkedin", "Austin, TX", "usa", "Austin, TX"),
        ("linkedin", None, "uae", "United Arab Emirates"),
        ("linkedin", "Reykjavik, Iceland", None, "Reykjavik, Iceland"),
        ("linkedin", "Europe", None, "Europe"),
        ("linkedin", "Remote (Europe)", None, "Europe"),
        ("zip_recruiter", "Cambridge", "canada", "Cambridge, Canada"),
        ("zip_recruiter", "Austin, TX", None, "Austin, TX"),
        ("zip_recruiter", "Naples", None, "Naples"),
        ("zip_recruiter", None, "us", "United States"),
        ("bayt", "Dubai, UAE", None, "Dubai, UAE"),
        ("bayt", "Dubai", "United Arab Emirates", "Dubai, UAE"),
        ("bayt", "Dubai", None, "Dubai, UAE"),
        ("bayt", "Cambridge", "uk", "Cambridge, UK"),
        ("bayt", "Cambridge", None, "Cambridge, international"),
        ("bayt", "Jeddah, Saudi Arabia", None, "Jeddah, Saudi Arabia"),
        ("bayt", None, "usa", "USA"),
        ("bayt", None, None, None),
        ("naukri", "Bengaluru, India", None, "Bengaluru"),
        ("naukri", "India", None, None),
        ("bdjobs", "Dhaka, Bangladesh", None, "Dhaka"),
        ("hellowork", "Lyon, France", None, "Lyon"),
        ("hellowork", "Lyon", "fr", "Lyon"),
    ],
)
def test_sites_that_take_the_country_with_the_location_or_not_at_all(
    site: str, location: str | None, country: str | None, text: str | None
) -> None:
    assert sent(site, location, country)[0] == text


@pytest.mark.parametrize(
    ("location", "text", "country"),
    [
        ("remote", None, None),
        ("Remote", None, None),
        ("Fully remote", None, None),
        ("Home office", None, None),
        ("Télétravail", None, None),
        ("Thuiswerken", None, None),
        ("Teletrabajo, España", "Spain", "spain"),
        ("Praca zdalna, Polska", "Poland", "poland"),
        ("Distans, Sverige", "Sweden", "sweden"),
        ("remote, germany", "Germany", "germany"),
        ("Remote Germany", "Germany", "germany"),
        ("Remote - Austin, TX", "Austin, TX, United States", "usa"),
    ],
)
def test_words_for_remote_work_become_the_filter(location: str, text: str | None, country: str | None) -> None:
    assert JobParameters.read(parameters(location)).wants_remote
    assert sent("linkedin", location) == (text, country)


@pytest.mark.parametrize("location", ["Hybrid, Berlin", "Berlin (on-site)"])
def test_words_for_other_work_modes_are_no_part_of_the_place(location: str) -> None:
    assert sent("indeed", location) == ("Berlin", None)


@pytest.mark.parametrize("location", [None, "Berlin", "Hybrid, Berlin", "Remoteville, Germany"])
def test_other_locations_ask_for_no_remote_work(location: str | None) -> None:
    assert not JobParameters.read(parameters(location)).wants_remote
    assert JobParameters.read(parameters(location) | {"is_remote": True}).wants_remote


# What is refused ------------------------------------------------------------------------------------------------------

SOURCES = [
    (JobSpySource(), "indeed"),
    (JobSpySource(), "linkedin"),
    (JSearchSource(JSearchSettings()), "jsearch"),
    (RemotiveSource(), "remotive"),
]


@pytest.mark.parametrize(
    ("location", "country"),
    [
        ("Berlin, Germany", "usa"),
        ("Germany", "austria"),
        ("Remote, Germany", "usa"),
        ("Paris, TX", "france"),
        ("Toronto, ON", "uk"),
        ("Bavaria", "austria"),
        ("Berlin; Madrid", "usa"),
        ("Europe", "usa"),
    ],
)
@pytest.mark.parametrize(("source", "site"), SOURCES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_contradiction_is_refused_with_both_fields(source: Source, site: str, location: str, country: str) -> None:
    message = f"country: '{country}' contradicts the location '{location}'; leave one of them out"
    assert refusal(source, site, location, country) == f"{ErrorCode.INVALID_PARAMETERS}: {message}"


def test_company_boards_refuse_it_too() -> None:
    with pytest.raises(SiteError, match=r"^country: 'usa' contradicts the location 'Berlin, Germany'"):
        GreenhouseSource.parameters.read(parameters("Berlin, Germany", "usa") | {"greenhouse_boards": ["acme"]})


@pytest.mark.parametrize(
    ("location", "country"),
    [
        ("Berlin", "usa"),
        ("Mumbai", "uk"),
        ("Nosuchtown", "uk"),
        ("Georgia", "usa"),
        ("Georgia", "GE"),
        ("Toronto, CA", "canada"),
        ("Nosuchtown, DE", "usa"),
        ("Nosuchtown, DE", "germany"),
        ("Europe", "germany"),
        ("Berlin; Madrid", "spain"),
        ("Remote", "germany"),
    ],
)
def test_what_may_be_meant_contradicts_nothing(location: str, country: str) -> None:
    assert not contradicts(location, country)


@pytest.mark.parametrize(
    ("site", "location", "message"),
    [
        ("naukri", "Berlin", "location: naukri does not cover Germany; allowed: India"),
        ("naukri", "Berlin, Germany", "location: naukri does not cover Germany; allowed: India"),
        ("zip_recruiter", "Leeds, UK", "location: zip_recruiter does not cover United Kingdom; allowed: Canada, Uni"),
        ("hellowork", "Remote, Germany", "location: hellowork does not cover Germany; allowed: France"),
        ("glassdoor", "Warsaw, Poland", "location: glassdoor does not cover Poland; allowed: Argentina, Australia, "),
        ("indeed", "Reykjavik, Iceland", "location: indeed does not cover Iceland"),
        ("indeed", "Europe", "location: indeed cannot search the area 'Europe'; name a country"),
        ("bayt", "Remote (LATAM)", "location: bayt cannot search the area 'LATAM'; name a country"),
        ("indeed", "Paris; Madrid", "location: names places in several countries (France, Spain); indeed searches one"),
        ("linkedin", "Paris; Madrid", "location: names places in several countries (France, Spain); linkedin searc"),
    ],
)
def test_a_location_that_a_site_cannot_search_is_refused(site: str, location: str, message: str) -> None:
    told = refusal(JobSpySource(), site, location)
    assert told is not None
    assert told.startswith(f"{ErrorCode.INVALID_PARAMETERS}: {message}")


@pytest.mark.parametrize("site", SITES)
def test_a_city_that_no_gazetteer_knows_is_left_to_the_site(site: str) -> None:
    assert refusal(JobSpySource(), site, "Nosuchtown") is None


# Whatever is written --------------------------------------------------------------------------------------------------

WORDS = st.sampled_from((
    "Remote", "Berlin", "Germany", "DE", "CA", "TX", "Europe", "Georgia", "Singapore", "Home office", "Springfield",
    ",", ", ", "; ", " - ", " (", ")", "/", "\0", "\u202e", "<br>", "10115",
))  # fmt: skip


@hostile(300)
@given(
    location=st.none() | st.text(max_size=200) | st.lists(WORDS, max_size=12).map("".join),
    country=st.none() | st.sampled_from(("usa", "GE", "uk", "singapore", "\ud800")),
)
def test_any_location_is_sent_or_refused(location: str | None, country: str | None) -> None:
    where = search_location(location, country)
    assert where == search_location(location, country)
    for site in SITES:
        text = jobspy_location(site, where)
        assert text is None or text.strip() == text != ""
    contradicts(location, country)
    refusal(JobSpySource(), "indeed", location, country)


def test_the_english_name_of_a_country_names_it() -> None:
    lines = (line.split("\t") for line in FILE.read_text("utf-8").splitlines())
    names = {fields[0]: fields[2] for fields in lines if fields[1:2] == [COUNTRY_LABEL]}
    assert len(names) > 240
    assert {code: country_code(name) for code, name in names.items()} == {code: code for code in names}
    assert country_name("HK") == "Hong Kong"
