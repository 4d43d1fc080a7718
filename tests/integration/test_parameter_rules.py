"""The database's rules for parameters, and the sources' own models, are two places: they have to agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from pydantic.fields import FieldInfo

from worker.errors import SiteError
from worker.local.supabase.stack import Endpoints
from worker.sources import Source
from worker.sources.registry import BUILTIN_SOURCES, instances

KINDS = ("jobs", "people", "creators")
SEARCH = {"search_term": "nurse"}
KNOWN_BY_THE_SOURCE_ALONE = ("country", "language", "greenhouse_boards", "ashby_boards", "lever_boards")
"""What a country, a language or a board is called."""

VALUES: list[Any] = [
    None, True, False, -1, 0, 1, 1.0, 1.5, 20, 500, 501, 1000, 1001, 8760, 8761, 2**60,
    "", " ", "\t", "x" * 200, "x" * 201, "fulltime", "full-time", "html", "text", "linkedin",
    [], [1], [1.5], ["1"], [None], [1] * 50, [1] * 51, [1.0], [0], [-1], [2**53], [2**53 + 1],
    ["linkedin"], ["linkedin", "indeed"], {}, {"a": 1}, ["x" * 100], ["x" * 101], [3, 1], [4], [1, 4], [2.0],
    ["a"] * 11, [1, 2, 3, 1], ["a"] * 21, "classic", "recruiter", 49, 50, 2500, 2501, 1_000_000_000, 1_000_000_001,
    3650, 3651, "x" * 40, "x" * 41,
]  # fmt: skip


@pytest.fixture
def database(stack: Endpoints) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stack.db_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def sources() -> list[Source]:
    """The sources that come with the worker."""
    return instances(BUILTIN_SOURCES)


def database_accepts(database: psycopg.Connection, kind: str, parameters: dict[str, Any]) -> bool:
    try:
        database.execute("select worker.check_parameters(%s, %s)", [kind, Jsonb(parameters)])
    except psycopg.errors.InvalidParameterValue:
        return False
    return True


def source_accepts(source: Source, parameters: dict[str, Any]) -> bool:
    # What the database does not ask for, because other sources do without it.
    boards = {name: ["acme"] for name in source.parameters.model_fields if name.endswith("_boards")}
    try:
        source.validate(source.sites[0], boards | parameters)
    except SiteError:
        return False
    return True


def default_of(field: FieldInfo) -> Any:
    """A source may need a list that others of its kind do without: it is empty where it is not given, and refused."""
    default = None if field.is_required() else field.get_default(call_default_factory=True, validated_data={})
    return None if default == [] else default


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_database_knows_some_source_reads_and_all_with_the_same_default(
    database: psycopg.Connection, sources: list[Source], kind: str
) -> None:
    rules = {
        name: (required, default)
        for name, required, default in database.execute(
            "select name, is_required, default_value from worker.parameter_rules where kind = %s and name <> 'sites'",
            [kind],
        )
    }
    read = {
        (source.name, name): (field.is_required(), default_of(field))
        for source in sources
        if source.kind == kind
        for name, field in source.parameters.model_fields.items()
        if name != "sites"
    }
    assert {name for _, name in read} == set(rules)
    assert read == {(source, name): rules[name] for source, name in read}


@pytest.mark.parametrize("kind", KINDS)
def test_the_database_knows_the_sources_sites(database: psycopg.Connection, sources: list[Source], kind: str) -> None:
    row = database.execute(
        "select allowed from worker.parameter_rules where (kind, name) = (%s, 'sites')", [kind]
    ).fetchone()
    assert row is not None
    assert set(row[0]) == {site for source in sources if source.kind == kind for site in source.sites}


@pytest.mark.parametrize("source", instances(BUILTIN_SOURCES), ids=lambda source: source.name)
def test_the_database_and_the_source_accept_the_same_values(database: psycopg.Connection, source: Source) -> None:
    for name in source.parameters.model_fields:
        for value in VALUES:
            parameters = SEARCH | {name: value}
            in_database = database_accepts(database, source.kind, parameters)
            in_source = source_accepts(source, parameters)
            told = (name, value, in_database, in_source)
            if name in KNOWN_BY_THE_SOURCE_ALONE and isinstance(value, str | list):
                assert in_database or not in_source, told
            elif name == "sites" and isinstance(value, list):
                assert in_source or not in_database, told  # which sites there are the database knows alone
            elif name.endswith("_boards") and value is None:
                assert in_database, told
            else:
                assert in_database == in_source, told
