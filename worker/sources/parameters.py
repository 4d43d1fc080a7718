"""Models of a run's parameters. `worker.sources.rules` derives the rules of the database from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from worker.errors import ErrorCode, SiteError
from worker.model import Parameters
from worker.pipeline.places import country_code
from worker.sources.search_location import SearchLocation, contradicts, search_location

# https://docs.pydantic.dev/latest/errors/validation_errors/
_TYPES_AND_BOUNDS = frozenset({
    "bool_type", "float_type", "int_type", "list_type", "string_type", "literal_error", "greater_than_equal",
    "less_than_equal", "string_too_short", "string_too_long", "too_short", "too_long",
})  # fmt: skip

NAMES_BOARDS = "names_boards"
"""Marks, in its JSON schema, a parameter that names boards of the source's only site. The user chooses them."""

SITE_LISTS = ("sites", "fallback_sites")
"""Parameters that name sites. Their sites are those of all sources of a kind."""

SiteName = Annotated[str, Field(min_length=1, max_length=40)]


class SearchParameters(BaseModel):
    """Parameters that all searches have. Sources derive their own models; parameters of other sources are ignored.

    Attributes:
        sites: The sites to search, including those of other sources; None: the database's default.
    """

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, str_strip_whitespace=True)

    sites: list[SiteName] | None = Field(None, min_length=1, max_length=20)

    @classmethod
    def read(cls, parameters: Parameters) -> Self:
        """Read a run's parameters.

        Raises:
            SiteError: `invalid_parameters`: the message names each invalid field and what is allowed.
        """
        given = {name: _as_stored(value) for name, value in parameters.items() if value is not None}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            # Several elements of a list may have the same problem.
            problems = dict.fromkeys(cls._problem(detail) for detail in error.errors(include_url=False))
            raise SiteError(ErrorCode.INVALID_PARAMETERS, "; ".join(problems)) from None

    @classmethod
    def _problem(cls, detail: ErrorDetails) -> str:
        """Return an invalid field and what is allowed, worded like the database's message (`worker.describe_rule`)."""
        field = str(detail["loc"][0])
        allowed = _in_words(cls.model_json_schema()["properties"][field])
        if detail["type"] == "missing":
            return f"{field}: is required" + (f" ({allowed})" if allowed else "")
        # Messages of a source's own validators are more specific.
        if allowed is None or detail["type"] not in _TYPES_AND_BOUNDS:
            return f"{field}: {detail['msg'].removeprefix('Value error, ')}"
        return f"{field}: must be {allowed}"


def _known_country(name: str) -> str:
    if country_code(name) is None:
        raise PydanticCustomError(
            "country",
            "'{name}' is unknown; allowed: English names or codes of countries, such as germany, usa, AE",
            {"name": name},
        )
    return name


class JobParameters(SearchParameters):
    """Parameters that all sources of kind `jobs` have.

    Attributes:
        fallback_sites: Sites to search if one of `sites` fails for good, is paused or is out of quota.
        search_term: The search term in the site's query syntax.
        location: City, region or country, as a user would type it on the site.
        country: English name or ISO 3166-1 alpha-2 code, in any case; None: the site's default.
        distance_miles: Radius around the city of `location` in miles; None: the site's default.
        is_remote: Only remote jobs.
        job_type: Only jobs of this type; None: any.
        results_wanted: Number of jobs per site.
        hours_old: Greatest age of a posting, in hours; None: any.
    """

    fallback_sites: list[SiteName] | None = Field(None, min_length=1, max_length=20)
    search_term: str = Field(min_length=1, max_length=200)
    location: str | None = Field(None, min_length=1, max_length=200)
    country: Annotated[str, AfterValidator(_known_country)] | None = Field(None, min_length=2, max_length=40)
    distance_miles: int | None = Field(None, ge=0, le=500)
    is_remote: bool = False
    job_type: (
        Literal["fulltime", "parttime", "contract", "temporary", "internship", "perdiem", "other", "volunteer"] | None
    ) = None
    results_wanted: int = Field(20, ge=1, le=1000)
    hours_old: int | None = Field(None, ge=1, le=8760)

    @field_validator("fallback_sites")
    @classmethod
    def _check_fallbacks(cls, fallbacks: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if twice := sorted({*(fallbacks or ())} & {*(info.data.get("sites") or ())}):
            raise PydanticCustomError("fallbacks", "must not name a site of sites: {twice}", {"twice": twice[0]})
        return fallbacks

    @field_validator("country")
    @classmethod
    def _check_location(cls, country: str | None, info: ValidationInfo) -> str | None:
        if contradicts(info.data.get("location"), country):
            raise PydanticCustomError(
                "contradiction",
                "'{country}' contradicts the location '{location}'; leave one of them out",
                {"country": country, "location": info.data["location"]},
            )
        return country

    @property
    def place(self) -> SearchLocation:
        """Where the search looks for jobs, from `location` and `country`."""
        return search_location(self.location, self.country)

    @property
    def wants_remote(self) -> bool:
        """Whether only remote jobs are wanted, by `is_remote` or by words in `location`."""
        return self.is_remote or self.place.is_remote


def from_text(models: Iterable[type[SearchParameters]], written: Mapping[str, str]) -> dict[str, Any]:
    """Parse parameters from a command line.

    The value of a text parameter is used unchanged, even if it is `2026` or `"in quotes"`. Other values are parsed as
    JSON; a value that is not JSON stays a text, which the validation then rejects with a message.

    Args:
        models: The models that define the parameters.
        written: Values by name.
    """
    schemas = [field for model in models for field in model.model_json_schema()["properties"].items()]
    texts = {name for name, schema in schemas if all(choice.get("type") == "string" for choice in _choices(schema))}
    return {name: value if name in texts else _json_or_text(value) for name, value in written.items()}


def _json_or_text(written: str) -> Any:
    try:
        return json.loads(written, parse_constant=str)  # NaN and Infinity are not JSON
    except (ValueError, RecursionError):
        return written


def _as_stored(value: Any) -> Any:
    """Convert whole floats to integers: JSON has one type of number, and the database accepts 20.0 as an integer."""
    if isinstance(value, list):
        return [_as_stored(element) for element in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _choices(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [choice for choice in schema.get("anyOf", [schema]) if choice.get("type") != "null"]


def _in_words(schema: Mapping[str, Any]) -> str | None:
    """Return a description of what a JSON schema allows; None if the schema is not supported."""
    schema, *others = _choices(schema)
    if others:
        return None
    if schema.get("type") == "array":
        length, elements = _range(schema, "Items", "of"), _several_in_words(schema["items"])
        return f"a list{length} {elements}" if length else f"a list of {elements.removeprefix('of ')}"
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    words = {
        "boolean": "true or false",
        "integer": f"an integer{_range(schema, 'imum', 'from')}",
        "number": f"a number{_range(schema, 'imum', 'from')}",
        "string": f"a text{_length(schema)}",
    }
    return words.get(schema.get("type", ""))


def _several_in_words(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return f"of {', '.join(map(str, schema['enum']))}"
    words = {"integer": f"integers{_range(schema, 'imum', 'from')}", "string": f"texts{_length(schema)}"}
    return words.get(schema.get("type", ""), "values")


def _length(schema: Mapping[str, Any]) -> str:
    length = _range(schema, "Length", "of")
    return f"{length} characters" if length else ""


def _range(schema: Mapping[str, Any], bound: str, preposition: str) -> str:
    match schema.get(f"min{bound}"), schema.get(f"max{bound}"):
        case None, None:
            return ""
        case None, greatest:
            return f" of at most {greatest}"
        case least, None:
            return f" of at least {least}"
        case least, greatest:
            return f" {preposition} {least} to {greatest}"
    raise AssertionError("unreachable: all pairs are matched")
