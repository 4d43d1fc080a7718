"""The SQL of docs/adding-a-source.md, as an operator runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from worker.local.supabase.stack import Endpoints

EXAMPLE = Path(__file__).parents[1] / "example_source"


@pytest.fixture
def database(stack: Endpoints) -> Iterator[psycopg.Connection[Any]]:
    """A transaction that leaves nothing behind."""
    with psycopg.connect(stack.db_url) as connection:
        # Twice: it is idempotent.
        for name in ("rules.sql", "kind.sql") * 2:
            connection.execute((EXAMPLE / name).read_bytes())
        yield connection
        connection.rollback()


def check(database: psycopg.Connection[Any], kind: str, parameters: dict[str, Any]) -> None:
    with database.transaction():
        database.execute("select worker.check_parameters(%s, %s)", (kind, Jsonb(parameters)))


def test_a_site_is_added_once(database: psycopg.Connection[Any]) -> None:
    row = database.execute(
        "select cardinality(array_positions(allowed, 'hireboard')) from worker.parameter_rules "
        "where kind = 'jobs' and name = 'sites'"
    ).fetchone()
    assert row == (1,)


def test_a_new_site_and_what_it_reads_can_be_asked_for(database: psycopg.Connection[Any]) -> None:
    check(database, "jobs", {"search_term": "nurse", "sites": ["indeed", "hireboard"], "hireboard_team": "night"})
    with pytest.raises(psycopg.DataError, match=r"parameters\.hireboard_team must be a text of 1 to 50 characters"):
        check(database, "jobs", {"search_term": "nurse", "hireboard_team": ""})


def test_a_new_kind_can_be_asked_for(database: psycopg.Connection[Any]) -> None:
    check(database, "flats", {"search_term": "two rooms", "max_rent": 900})
    with pytest.raises(psycopg.DataError, match=r"parameters\.max_rent must be an integer from 0 to 100000"):
        check(database, "flats", {"search_term": "two rooms", "max_rent": -1})
    row = database.execute("select worker.results_wanted('flats', '{}')").fetchone()
    assert row == (50,)
