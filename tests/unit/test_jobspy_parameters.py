from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
from jobspy import SCRAPER_MAPPING
from jobspy.glassdoor.constant import domains
from jobspy.indeed.constant import country_codes
from jobspy.model import Country, JobType, Site, country_aliases

from worker.errors import ErrorCode, SettingsError, SiteError
from worker.model import SiteLimits
from worker.sources.jobspy import JobSpySettings, JobSpySource
from worker.sources.jobspy_parameters import (
    COUNTRIES,
    GLASSDOOR_COUNTRIES,
    SITE_COUNTRIES,
    JobSpyParameters,
    country_names,
)
from worker.sources.jobspy_sites import SITES, job_pages

SOURCE = JobSpySource()
SEARCH: dict[str, Any] = {"sites": ["indeed"], "search_term": "nurse"}


def refusal(site: str, parameters: dict[str, Any]) -> str:
    with pytest.raises(SiteError) as raised:
        SOURCE.validate(site, parameters)
    assert raised.value.code is ErrorCode.INVALID_PARAMETERS
    assert len(raised.value.message) <= 300
    return raised.value.message


@pytest.mark.parametrize("site", SOURCE.sites)
def test_every_site_takes_a_plain_search(site: str) -> None:
    SOURCE.validate(site, {"sites": [site], "search_term": "nurse"})


def test_every_site_takes_every_field() -> None:
    SOURCE.validate(
        "linkedin",
        {
            "sites": ["linkedin", "another_source"],
            "search_term": " nurse ",
            "location": "Berlin",
            "country": "Germany",
            "distance_miles": 25,
            "is_remote": True,
            "job_type": "fulltime",
            "easy_apply": True,
            "results_wanted": 1000,
            "hours_old": 72,
            "fetch_description": True,
            "linkedin_company_ids": [1441],
        },
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"search_term": None}, "search_term: is required (a text of 1 to 200 characters)"),
        ({"search_term": "  "}, "search_term: must be a text of 1 to 200 characters"),
        ({"search_term": "x" * 201}, "search_term: must be a text of 1 to 200 characters"),
        ({"location": ""}, "location: must be a text of 1 to 200 characters"),
        ({"results_wanted": 0}, "results_wanted: must be an integer from 1 to 1000"),
        ({"results_wanted": 1001}, "results_wanted: must be an integer from 1 to 1000"),
        ({"results_wanted": "20"}, "results_wanted: must be an integer from 1 to 1000"),
        ({"results_wanted": True}, "results_wanted: must be an integer from 1 to 1000"),
        ({"hours_old": 0}, "hours_old: must be an integer from 1 to 8760"),
        ({"distance_miles": -1}, "distance_miles: must be an integer from 0 to 500"),
        ({"is_remote": "yes"}, "is_remote: must be true or false"),
        ({"job_type": "full-time"}, "job_type: must be one of fulltime, parttime"),
        ({"linkedin_company_ids": [1, "2"]}, "linkedin_company_ids: must be a list of 1 to 50 integers"),
        ({"sites": []}, "sites: must be a list of 1 to 20 texts"),
        ({"country": "Narnia"}, "country: 'Narnia' is unknown; allowed: English names or codes of countries"),
    ],
)
def test_refusal_names_the_field_and_what_is_allowed(change: dict[str, Any], message: str) -> None:
    assert refusal("indeed", SEARCH | change).startswith(message)


def test_parameters_of_other_sources_are_ignored() -> None:
    SOURCE.validate("indeed", SEARCH | {"greenhouse_boards": ["example"], "whatever": [1]})


def test_google_is_refused() -> None:
    assert refusal("google", SEARCH) == "sites: google is unavailable in JobSpy"


def test_unknown_site_is_refused() -> None:
    assert refusal("monster", SEARCH).startswith("sites: 'monster' is not one of linkedin, indeed")


@pytest.mark.parametrize(
    ("site", "country"),
    [
        ("indeed", "Bangladesh"),
        ("glassdoor", "Poland"),
        ("zip_recruiter", "Germany"),
        ("naukri", "United States"),
        ("bdjobs", "India"),
        ("hellowork", "Belgium"),
    ],
)
def test_country_that_a_site_does_not_cover_is_refused_for_that_site(site: str, country: str) -> None:
    assert refusal(site, SEARCH | {"country": country}).startswith(f"country: {site} does not cover {country}")
    assert refusal(site, SEARCH | {"location": country}).startswith(f"location: {site} does not cover {country}")
    SOURCE.validate("linkedin", SEARCH | {"country": country})
    SOURCE.validate("linkedin", SEARCH | {"location": country})


@pytest.mark.parametrize("site", SITE_COUNTRIES)
def test_every_country_of_a_site_is_taken(site: str) -> None:
    for country in SITE_COUNTRIES[site]:
        SOURCE.validate(site, SEARCH | {"country": country.title()})


@pytest.mark.parametrize(
    ("country", "in_jobspys_words"),
    [("United States", "usa"), ("us", "usa"), ("united kingdom", "uk"), ("DE", "germany"), ("Deutschland", "germany")],
)
def test_a_country_has_several_names(country: str, in_jobspys_words: str) -> None:
    code = JobSpyParameters.for_site("glassdoor", SEARCH | {"country": country}).place.country
    assert country_names()[code] == in_jobspys_words


class TestTablesAreJobSpys:
    def test_sites(self) -> None:
        assert set(SOURCE.sites) == {site.value for site in Site} - {"google"}

    def test_countries(self) -> None:
        assert {country.value for country in Country} == COUNTRIES
        for alias, name in country_aliases.items():
            assert country_names()[JobSpyParameters.read(SEARCH | {"country": alias}).place.country] == name
        assert {country.value for country in country_codes} == SITE_COUNTRIES["indeed"]
        assert {country.value for country in domains} == GLASSDOOR_COUNTRIES

    def test_job_types(self) -> None:
        annotation = JobSpyParameters.model_fields["job_type"].annotation
        assert set(get_args(get_args(annotation)[0])) == {job_type.value for job_type in JobType}

    @pytest.mark.parametrize("site", SITES)
    def test_page_sizes(self, site: str) -> None:
        constant = import_module(f"{SCRAPER_MAPPING[Site(site)].__module__}.constant")
        assert constant.jobs_per_page == SITES[site].page_jobs
        assert getattr(constant, "details_per_request", 1) == (SITES[site].described_jobs or 1)

    @pytest.mark.parametrize("site", SITES)
    def test_pauses(self, site: str) -> None:
        assert getattr(SCRAPER_MAPPING[Site(site)], "delay", None) == SITES[site].delay_seconds

    def test_linkedin_ends_where_the_parameters_do(self) -> None:
        results_wanted = JobSpyParameters.model_fields["results_wanted"]
        constant = import_module("jobspy.linkedin.constant")
        assert constant.max_results in [getattr(limit, "le", None) for limit in results_wanted.metadata]


class TestLimits:
    def test_the_least_pause_is_that_of_all_searches_together(self) -> None:
        limits = JobSpySource().limits
        assert {site: limits[site].min_delay_seconds for site in SITES} == {
            "linkedin": 3,
            "indeed": None,
            "zip_recruiter": 3,
            "glassdoor": None,
            "bayt": 2,
            "naukri": 3,
            "bdjobs": 2,
            "hellowork": 2,
        }

    def test_one_search_at_a_time_if_jobspy_pauses_within_a_call(self) -> None:
        limits = JobSpySource().limits
        assert {site for site in SITES if limits[site].searches == 1} == {
            "zip_recruiter",
            "bayt",
            "naukri",
            "bdjobs",
            "hellowork",
        }

    def test_pauses_that_are_set_take_the_place_of_jobspys(self) -> None:
        limits = JobSpySource(JobSpySettings(page_delay_seconds=(0.5, 20))).limits
        assert {limits[site].min_delay_seconds for site in SITES} == {None, 0.5}
        assert limits["indeed"] == SiteLimits()

    def test_without_pauses_there_is_no_limit_but_the_operators(self) -> None:
        source = JobSpySource(JobSpySettings(page_delay_seconds=(0, 0)))
        assert set(source.limits.values()) == {SiteLimits()}
        assert set(source.limits) == {*SITES, *(job_pages(site) for site in SITES if site != "indeed")}


class TestSettings:
    def test_missing_certificate_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"^ca_cert: there is no file .*none\.pem"):
            JobSpySettings(ca_cert=tmp_path / "none.pem")

    @pytest.mark.parametrize("delay", [(3.0, 1.0), (-1.0, 1.0)])
    def test_page_delay_is_a_range(self, delay: tuple[float, float]) -> None:
        with pytest.raises(SettingsError, match=r"^page_delay_seconds: must be"):
            JobSpySettings(page_delay_seconds=delay)
