"""Reads a file of collections: TOML with the searches of a namespace, and when they are repeated."""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from worker.cli import weekly
from worker.cli.files import explained
from worker.cli.usage import WrongUseError
from worker.engine.record_files import readable
from worker.printable import one_line

DEFAULT_OWNER = "collections@search-worker.invalid"
"""Nobody receives mail there, so nobody can set a password (https://www.rfc-editor.org/rfc/rfc2606)."""
MAX_TEXT_LENGTH = 200

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,49}")
_EMAIL = re.compile(r"[^@\s\0]+@[^@\s\0]+")
_WRITTEN_AS = {"search_term": "terms", "location": "places", "locations": "places", "sites": "sites"}
_FIELD_OF_DATABASE = re.compile(rf"(?<=: )(?:(time_zone)|parameters\.({'|'.join(_WRITTEN_AS)}))(?= )")
_MESSAGES = {
    "missing": "is required",
    "string_type": "must be a text",
    "list_type": "must be a list",
    "dict_type": "must be a table such as { results_wanted = 50 }",
    "model_type": "must be a table",
    "too_short": "must be a list of one or more texts",
}

_Parsed = TypeVar("_Parsed")


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("must be 1 to 50 small letters, digits and hyphens")
    return name


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not have the character U+0000")
    return text


def _checked_email(address: str) -> str:
    if not _EMAIL.fullmatch(address):
        raise ValueError("must be an e-mail address")
    return address


def _checked_text(text: str) -> str:
    if not 1 <= len(text.strip()) <= MAX_TEXT_LENGTH:
        raise ValueError(f"must be a text of 1 to {MAX_TEXT_LENGTH} characters")
    return _storable(text)


def _each_once(texts: list[str]) -> list[str]:
    seen = set()
    for text in texts:
        if (folded := text.strip().casefold()) in seen:
            raise ValueError(f"{text!r} is there twice")
        seen.add(folded)
    return texts


def _checked_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    for name in parameters.keys() & _WRITTEN_AS.keys():
        raise ValueError(f"{name!r} is not allowed here; write it as {_WRITTEN_AS[name]}")
    for name in parameters:
        _storable(name)
    return parameters


def _checked_value(value: Any) -> Any:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError("must be a text, a number, true, false or a list of them") from None
    for text in _texts_in(value):
        _storable(text)
    return value


def _texts_in(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for element in value:
                yield from _texts_in(element)
        case dict():
            for name, element in value.items():
                yield name
                yield from _texts_in(element)


def _written(parse: Callable[[str], _Parsed]) -> BeforeValidator:
    """Validate a text by a parser of arguments."""

    def parsed(value: Any) -> _Parsed:
        if not isinstance(value, str):
            raise ValueError("must be a text")  # noqa: TRY004 (pydantic collects these)
        try:
            return parse(value)
        except argparse.ArgumentTypeError as error:
            raise ValueError(str(error)) from None

    return BeforeValidator(parsed)


_Storable = Annotated[str, AfterValidator(_storable)]
_Name = Annotated[str, AfterValidator(_checked_name)]
_Texts = Annotated[list[Annotated[str, AfterValidator(_checked_text)]], AfterValidator(_each_once)]


class Collection(BaseModel):
    """One `[[collection]]`: each term is searched in each place, at each time of day."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: _Name
    kind: _Storable = "jobs"
    terms: Annotated[_Texts, Field(min_length=1)]
    places: _Texts = []
    sites: _Texts | None = None
    times: Annotated[list[str], _written(weekly.times_of_day)]
    weekdays: Annotated[list[int], _written(weekly.weekdays)] = [*range(1, len(weekly.DAYS) + 1)]
    zone: _Storable = "UTC"
    parameters: Annotated[
        dict[str, Annotated[Any, AfterValidator(_checked_value)]], AfterValidator(_checked_parameters)
    ] = {}


class CollectionFile(BaseModel):
    """A file of collections.

    Attributes:
        namespace: The file has all collections of this namespace.
        user: E-mail address of the user whose searches they are.
        collection: The collections.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    namespace: _Name
    user: Annotated[str, AfterValidator(_checked_email)] = DEFAULT_OWNER
    collection: list[Collection] = []

    def as_rows(self) -> list[dict[str, Any]]:
        """Return the collections as `worker_apply_collections` takes them."""
        return [
            collection.model_dump(exclude={"zone"}) | {"time_zone": collection.zone} for collection in self.collection
        ]


def read_collection_file(path: Path) -> CollectionFile:
    """Read a file of collections.

    Raises:
        WrongUseError: The file is wrong. The message has a line for each problem, with the collection, the field and
            what is allowed.
    """
    with explained(str(path)), readable():
        content = path.read_bytes()
    try:
        values = tomllib.loads(content.decode())
    except ValueError as error:
        raise WrongUseError(f"{path}: is no TOML: {one_line(str(error))}") from None
    try:
        read = CollectionFile.model_validate(values)
        problems = [*_same_names(read)]
    except ValidationError as error:
        problems = [_problem(values, detail) for detail in error.errors(include_url=False)]
    if problems:
        raise WrongUseError("\n".join(f"{path}: {problem}" for problem in problems))
    return read


def in_words_of_the_file(message: str) -> str:
    """Return a message of the database about collections with the names that fields have in a file."""
    return _FIELD_OF_DATABASE.sub(lambda match: "zone" if match[1] else _WRITTEN_AS[match[2]], message, count=1)


def _same_names(file: CollectionFile) -> Iterator[str]:
    first: dict[str, int] = {}
    for number, collection in enumerate(file.collection, start=1):
        if collection.name in first:
            other = first[collection.name]
            yield f"collection {number} ({collection.name}): name: is the name of collection {other} as well"
        first.setdefault(collection.name, number)


def _problem(values: Mapping[str, Any], error: ErrorDetails) -> str:
    """Return a problem as one line, such as `collection 2 (care): times: is required`."""
    match error["loc"]:
        case ("collection",) if error["type"] == "list_type":
            return "collection: must be a list: write [[collection]]"
        case ("collection", int(index), *field):
            name = values["collection"][index].get("name") if isinstance(values["collection"][index], dict) else None
            where = f"collection {index + 1}" + (f" ({one_line(name)})" if isinstance(name, str) else "")
            fields = Collection.model_fields
        case (*field,):
            where, fields = "", CollectionFile.model_fields
    return ": ".join(part for part in (where, _field_in_words(field), _reason(error, fields)) if part)


def _field_in_words(field: list[Any]) -> str:
    match field:
        case [str(name), int(index), *_]:
            return f"{name} {index + 1}"
        case ["parameters", str(name)]:
            return one_line(f"parameters.{name}")
        case [str(name), *_]:
            return one_line(name)
    return ""


def _reason(error: ErrorDetails, fields: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return f"is not known; allowed: {', '.join(fields)}"
    return one_line(_MESSAGES.get(error["type"], error["msg"].removeprefix("Value error, ")))
