"""The database's rules for parameters, and the source's own model, are two places: they have to agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from worker.local.stack import Endpoints
from worker.model import SiteError
from worker.sources.jobspy import JobSpySource
from worker.sources.jobspy_parameters import JobSearchParameters

SEARCH = {"search_term": "nurse"}
VALUES: list[Any] = [
    None, True, False, -1, 0, 1, 1.0, 1.5, 20, 500, 501, 1000, 1001, 8760, 8761, 2**60,
    "", " ", "\t", "x" * 200, "x" * 201, "fulltime", "full-time", "html", "text", "linkedin",
    [], [1], [1.5], ["1"], [None], [1] * 50, [1] * 51, [1.0], [0], [-1], [2**53], [2**53 + 1],
    ["linkedin"], ["linkedin", "indeed"], {}, {"a": 1},
]  # fmt: skip


@pytest.fixture
def database(stack: Endpoints) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stack.db_url, autocommit=True) as connection:
        yield connection


def database_accepts(database: psycopg.Connection, parameters: dict[str, Any]) -> bool:
    try:
        database.execute("select worker.check_parameters('jobs', %s)", [Jsonb(parameters)])
    except psycopg.errors.InvalidParameterValue:
        return False
    return True


def source_accepts(parameters: dict[str, Any]) -> bool:
    try:
        JobSpySource().validate("linkedin", parameters)
    except SiteError:
        return False
    return True


def test_both_know_the_same_parameters_with_the_same_defaults(database: psycopg.Connection) -> None:
    rules = database.execute("select name, is_required, default_value from worker.parameter_rules where kind = 'jobs'")
    known = {
        name: (field.is_required(), None if field.is_required() else field.default)
        for name, field in JobSearchParameters.model_fields.items()
    }
    assert {name: (required, default) for name, required, default in rules if name != "sites"} == {
        name: rule for name, rule in known.items() if name != "sites"
    }


def test_the_database_knows_the_sources_sites(database: psycopg.Connection) -> None:
    row = database.execute(
        "select allowed from worker.parameter_rules where (kind, name) = ('jobs', 'sites')"
    ).fetchone()
    assert row is not None
    assert set(row[0]) == set(JobSpySource.sites)


@pytest.mark.parametrize("name", JobSearchParameters.model_fields)
def test_both_accept_the_same_values(database: psycopg.Connection, name: str) -> None:
    for value in VALUES:
        parameters = SEARCH | {name: value}
        in_database, in_source = database_accepts(database, parameters), source_accepts(parameters)
        if name == "country" and isinstance(value, str):
            assert in_database or not in_source, value  # what a country is called the source knows alone
        elif name == "sites" and isinstance(value, list):
            assert in_source or not in_database, value  # which sites there are the database knows alone
        else:
            assert in_database == in_source, value
