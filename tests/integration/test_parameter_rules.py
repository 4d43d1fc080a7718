"""The database's rules for parameters are those that follow from the sources' models, and mean the same."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from tests.support.database import Connection
from worker.errors import SiteError
from worker.sources import Source
from worker.sources.parameters import SITE_LISTS
from worker.sources.registry import BUILTIN_SOURCES, instances
from worker.sources.rules import ParameterRule, parameter_rules

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


async def database_accepts(database: Connection, kind: str, parameters: dict[str, Any]) -> bool:
    try:
        await database.execute("select worker.check_parameters(%s, %s)", [kind, Jsonb(parameters)])
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


async def test_the_rules_of_the_database_follow_from_the_models(database: Connection) -> None:
    async with database.cursor(row_factory=class_row(ParameterRule)) as cursor:
        names = sql.SQL(", ").join(sql.Identifier(field.name) for field in fields(ParameterRule))
        await cursor.execute(sql.SQL("select {} from worker.parameter_rules").format(names))
        kept = {(rule.kind, rule.name): as_a_set(rule) async for rule in cursor if rule.kind in KINDS}
    defaults = {kind: kept[kind, "sites"].default_value for kind in KINDS}
    for rule in map(as_a_set, parameter_rules(instances(BUILTIN_SOURCES))):
        found = kept.pop((rule.kind, rule.name), None)
        if found is not None and rule.name == "sites":
            # Which of the sites are searched by default is decided in the database.
            assert isinstance(found.default_value, list)
            assert set(found.default_value) <= set(found.allowed or ())
            found = replace(found, default_value=None)
        assert found == rule, f"supabase/schemas/parameters/kinds.sql has {found}, the model says {rule}"
    assert not kept, f"supabase/schemas/parameters/kinds.sql has what no source reads: {', '.join(map(str, kept))}"
    assert all(defaults.values())


def as_a_set(rule: ParameterRule) -> ParameterRule:
    """The order of what is allowed says nothing."""
    return rule if rule.allowed is None else replace(rule, allowed=tuple(sorted(rule.allowed)))


@pytest.mark.parametrize("source", instances(BUILTIN_SOURCES), ids=lambda source: source.name)
async def test_the_database_and_the_source_accept_the_same_values(database: Connection, source: Source) -> None:
    for name in source.parameters.model_fields:
        for value in VALUES:
            parameters = SEARCH | {name: value}
            in_database = await database_accepts(database, source.kind, parameters)
            in_source = source_accepts(source, parameters)
            told = (name, value, in_database, in_source)
            if name in KNOWN_BY_THE_SOURCE_ALONE and isinstance(value, str | list):
                assert in_database or not in_source, told
            elif name in SITE_LISTS and isinstance(value, list):
                assert in_source or not in_database, told  # which sites there are the database knows alone
            elif name.endswith("_boards") and value is None:
                assert in_database, told
            else:
                assert in_database == in_source, told
