"""The SQL of docs/adding-a-source.md, as an operator runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.database import Connection, scalar

EXAMPLE = Path(__file__).parents[1] / "example_source"


@pytest.fixture(autouse=True)
async def example(database: Connection) -> AsyncIterator[None]:
    """The rules of the example, in a transaction that is rolled back."""
    async with database.transaction(force_rollback=True):
        # Twice: it is idempotent.
        for name in ("rules.sql", "kind.sql") * 2:
            await database.execute((EXAMPLE / name).read_bytes())
        yield


async def check(database: Connection, kind: str, parameters: dict[str, Any]) -> None:
    async with database.transaction():
        await database.execute("select worker.check_parameters(%s, %s)", (kind, Jsonb(parameters)))


async def test_a_site_is_added_once(database: Connection) -> None:
    times = await scalar(
        database,
        "select array_agg(cardinality(array_positions(allowed, 'hireboard'))) from worker.parameter_rules "
        "where kind = 'jobs' and name in ('sites', 'fallback_sites')",
    )
    assert times == [1, 1]


async def test_a_new_site_and_what_it_reads_can_be_asked_for(database: Connection) -> None:
    await check(database, "jobs", {"search_term": "nurse", "sites": ["indeed", "hireboard"], "hireboard_team": "night"})
    with pytest.raises(psycopg.DataError, match=r"parameters\.hireboard_team must be a text of 1 to 50 characters"):
        await check(database, "jobs", {"search_term": "nurse", "hireboard_team": ""})


async def test_a_new_kind_can_be_asked_for(database: Connection) -> None:
    await check(database, "flats", {"search_term": "two rooms", "max_rent": 900})
    with pytest.raises(psycopg.DataError, match=r"parameters\.max_rent must be an integer from 0 to 100000"):
        await check(database, "flats", {"search_term": "two rooms", "max_rent": -1})
    assert await scalar(database, "select worker.results_wanted('flats', '{}')") == 50
