from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, Field, field_validator
from pydantic_core import PydanticCustomError

from worker.errors import ErrorCode, SiteError
from worker.sources.jobspy_parameters import COUNTRIES, SITE_COUNTRIES
from worker.sources.parameters import JobParameters, SearchParameters, from_text

SEARCH = {"search_term": "nurse"}


def _is_short(name: str) -> str:
    if len(name) > 3:
        raise PydanticCustomError(
            "board", "'{name}' is not the name of a board; allowed: 1 to 3 letters", {"name": name}
        )
    return name


class Parameters(SearchParameters):
    boards: list[Annotated[str, AfterValidator(_is_short)]] = Field(default_factory=list, max_length=2)
    distances: list[Literal[1, 2, 3]] | None = Field(None, min_length=1, max_length=3)
    ids: list[Annotated[int, Field(ge=1)]] | None = None
    share: float | None = Field(None, ge=0, le=1)
    most: int | None = Field(None, le=9)
    language: str | None = None

    @field_validator("language")
    @classmethod
    def _is_tag(cls, value: str | None) -> str | None:
        if value == "??":
            raise ValueError("must be a language code, such as en")
        return value


def refusal(model: type[SearchParameters], parameters: dict[str, Any]) -> str:
    with pytest.raises(SiteError) as raised:
        model.read(parameters)
    assert raised.value.code is ErrorCode.INVALID_PARAMETERS
    return raised.value.message


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"search_term": None}, "search_term: is required (a text of 1 to 200 characters)"),
        ({"search_term": "  "}, "search_term: must be a text of 1 to 200 characters"),
        ({"search_term": "x" * 201}, "search_term: must be a text of 1 to 200 characters"),
        ({"search_term": 2026}, "search_term: must be a text of 1 to 200 characters"),
        ({"results_wanted": 0}, "results_wanted: must be an integer from 1 to 1000"),
        ({"results_wanted": "20"}, "results_wanted: must be an integer from 1 to 1000"),
        ({"results_wanted": True}, "results_wanted: must be an integer from 1 to 1000"),
        ({"is_remote": "yes"}, "is_remote: must be true or false"),
        (
            {"job_type": "full-time"},
            "job_type: must be one of fulltime, parttime, contract, temporary, internship, perdiem, other, volunteer",
        ),
        (
            {"country": "Atlantis"},
            "country: 'Atlantis' is unknown; allowed: English names or codes of countries, such as germany, usa, AE",
        ),
        ({"sites": []}, "sites: must be a list of 1 to 20 texts of 1 to 40 characters"),
        ({"sites": ["indeed", 1, 2]}, "sites: must be a list of 1 to 20 texts of 1 to 40 characters"),
        (
            {"hours_old": 0, "location": ""},
            "location: must be a text of 1 to 200 characters; hours_old: must be an integer from 1 to 8760",
        ),
    ],
)
def test_an_error_names_the_field_and_what_is_allowed(parameters: dict[str, Any], message: str) -> None:
    assert refusal(JobParameters, SEARCH | parameters) == message


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"boards": ["a", "abcd"]}, "boards: 'abcd' is not the name of a board; allowed: 1 to 3 letters"),
        ({"boards": ["a", "b", "c"]}, "boards: must be a list of at most 2 texts"),
        ({"distances": [4]}, "distances: must be a list of 1 to 3 of 1, 2, 3"),
        ({"ids": [0]}, "ids: must be a list of integers of at least 1"),
        ({"share": 1.5}, "share: must be a number from 0 to 1"),
        ({"most": 10}, "most: must be an integer of at most 9"),
        ({"language": "??"}, "language: must be a language code, such as en"),
        ({"language": 3}, "language: must be a text"),
    ],
)
def test_a_sources_own_rules(parameters: dict[str, Any], message: str) -> None:
    assert refusal(Parameters, parameters) == message


@pytest.mark.parametrize("country", sorted(COUNTRIES.union(*SITE_COUNTRIES.values())))
def test_every_source_takes_the_countries_that_jobspy_knows(country: str) -> None:
    assert JobParameters.read(SEARCH | {"country": country}).country == country


def test_parameters_of_other_sources_are_ignored_and_null_is_missing() -> None:
    read = JobParameters.read({**SEARCH, "location": None, "linkedin_company_ids": [1], "results_wanted": 20.0})
    assert (read.location, read.results_wanted) == (None, 20)


def test_values_of_text_parameters_are_text_and_others_json() -> None:
    written = {
        "search_term": "2026", "location": '"New York"', "job_type": "null", "results_wanted": "5", "is_remote": "true",
        "distances": "[1, 2]", "language": "true", "most": "many", "colour": "7", "share": "NaN",
    }  # fmt: skip
    assert from_text([JobParameters, Parameters], written) == {
        "search_term": "2026", "location": '"New York"', "job_type": "null", "results_wanted": 5, "is_remote": True,
        "distances": [1, 2], "language": "true", "most": "many", "colour": 7, "share": "NaN",
    }  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from([*JobParameters.model_fields, "colour"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text() | st.integers()),
    )
)
def test_any_parameters_are_read_or_refused_in_one_line(parameters: dict[str, Any]) -> None:
    try:
        JobParameters.read(parameters)
    except SiteError as error:
        refused = error
    else:
        return
    assert refused.code is ErrorCode.INVALID_PARAMETERS
    assert "\n" not in refused.message
    assert any(refused.message.startswith(f"{name}: ") for name in JobParameters.model_fields)
