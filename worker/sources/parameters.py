"""What a run asks for, as a source reads it.

The database has checked the same before, by rules that follow from these models (`worker.sources.rules`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from worker.errors import ErrorCode, SiteError
from worker.model import Parameters
from worker.pipeline.places import country_code

# https://docs.pydantic.dev/latest/errors/validation_errors/
_TYPES_AND_BOUNDS = frozenset({
    "bool_type", "float_type", "int_type", "list_type", "string_type", "literal_error", "greater_than_equal",
    "less_than_equal", "string_too_short", "string_too_long", "too_short", "too_long",
})  # fmt: skip

NAMES_BOARDS = "names_boards"
"""Marks, in its JSON schema, a parameter that names boards of the source's only site. The user chooses them."""

SiteName = Annotated[str, Field(min_length=1, max_length=40)]


class SearchParameters(BaseModel):
    """What every search has. A source derives its own from it; it reads these, and ignores what others read.

    Attributes:
        sites: The sites to search, also those of other sources; None: the database's default.
    """

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, str_strip_whitespace=True)

    sites: list[SiteName] | None = Field(None, min_length=1, max_length=20)

    @classmethod
    def read(cls, parameters: Parameters) -> Self:
        """Read a run's parameters.

        Raises:
            SiteError: `invalid_parameters`, with each field that is wrong and what is allowed.
        """
        given = {name: _as_stored(value) for name, value in parameters.items() if value is not None}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            # Several elements of one list may be wrong, for one reason.
            problems = dict.fromkeys(cls._problem(detail) for detail in error.errors(include_url=False))
            raise SiteError(ErrorCode.INVALID_PARAMETERS, "; ".join(problems)) from None

    @classmethod
    def _problem(cls, detail: ErrorDetails) -> str:
        """Return a field that is wrong, and what is allowed, in the words of the database (`worker.describe_rule`)."""
        field = str(detail["loc"][0])
        allowed = _in_words(cls.model_json_schema()["properties"][field])
        if detail["type"] == "missing":
            return f"{field}: is required" + (f" ({allowed})" if allowed else "")
        # A validator of the source's own knows better what is wrong.
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
    """What every source of kind `jobs` reads.

    Attributes:
        search_term: What to search for, in the site's own query language.
        location: City, region or country, as one would type it on the site.
        country: English name or ISO 3166-1 alpha-2 code, in any case; None: each site's own default.
        is_remote: Ask for remote jobs only.
        job_type: Ask for one type only.
        results_wanted: Jobs per site.
        hours_old: Greatest age of a posting in hours; None: any.
    """

    search_term: str = Field(min_length=1, max_length=200)
    location: str | None = Field(None, min_length=1, max_length=200)
    country: Annotated[str, AfterValidator(_known_country)] | None = Field(None, min_length=2, max_length=40)
    is_remote: bool = False
    job_type: (
        Literal["fulltime", "parttime", "contract", "temporary", "internship", "perdiem", "other", "volunteer"] | None
    ) = None
    results_wanted: int = Field(20, ge=1, le=1000)
    hours_old: int | None = Field(None, ge=1, le=8760)


def from_text(models: Iterable[type[SearchParameters]], written: Mapping[str, str]) -> dict[str, Any]:
    """Return parameters that somebody wrote on a command line.

    What the models take for a text is the text as it stands: `2026`, `"with quotes"`. All else is JSON, and a text
    where it is none: whoever checks it says what is allowed.
    """
    schemas = [field for model in models for field in model.model_json_schema()["properties"].items()]
    texts = {name for name, schema in schemas if all(choice.get("type") == "string" for choice in _choices(schema))}
    return {name: value if name in texts else _json_or_text(value) for name, value in written.items()}


def _json_or_text(written: str) -> Any:
    try:
        return json.loads(written, parse_constant=str)  # NaN and Infinity are no JSON
    except (ValueError, RecursionError):
        return written


def _as_stored(value: Any) -> Any:
    """JSON has one type of number: what the database takes for the integer 20 may be written 20.0."""
    if isinstance(value, list):
        return [_as_stored(element) for element in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _choices(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [choice for choice in schema.get("anyOf", [schema]) if choice.get("type") != "null"]


def _in_words(schema: Mapping[str, Any]) -> str | None:
    """Return what a JSON schema allows, in words; None where there are none for it."""
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
