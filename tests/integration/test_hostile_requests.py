"""What one user sends costs others nothing: work is bounded before a lock is taken, and nobody waits for his rows."""

from __future__ import annotations

import json
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from tests.integration.conftest import Connect, Connection
from tests.integration.test_sharing import signed_in


@pytest.fixture
async def as_ada(ada: AsyncClient, connect_database: Connect) -> Connection:
    return await signed_in(ada, connect_database)


@pytest.fixture
async def as_bob(bob: AsyncClient, connect_database: Connect) -> Connection:
    return await signed_in(bob, connect_database)


# Values ---------------------------------------------------------------------------------------------------------

INSERT: LiteralString = """
insert into public.search_runs (kind, parameters, client_context) values ('jobs', %(parameters)s, %(client_context)s)
"""
ENQUEUE: LiteralString = "select public.enqueue_search('jobs', %(parameters)s, %(client_context)s)"
SAVE: LiteralString = """
insert into public.saved_searches (name, kind, parameters) values ('saved', 'jobs', %(parameters)s)
"""
CHANGE: LiteralString = "update public.saved_searches set parameters = %(parameters)s"

COUNT = 8_200
HUGE = {
    "great": f'{{"search_term": "x", "linkedin_company_ids": [{", ".join(["1e131071"] * COUNT)}]}}',
    "small": f'{{"search_term": "x", "linkedin_company_ids": [{", ".join(["0e-16383"] * COUNT)}]}}',
    "negative": f'{{"search_term": "x", "linkedin_company_ids": [{", ".join(["-1e131071"] * COUNT)}]}}',
    "keys": json.dumps({"search_term": "x", "hours_old": {str(n): None for n in range(COUNT)}}).replace(
        "null", "1e131071"
    ),
    "one": '{"search_term": "x", "hours_old": 1e131071}',
    "precise": f'{{"search_term": "x", "hours_old": 0.{"1" * 16_000}}}',
}
ORDINARY = '{"search_term": "x"}'


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize(
    ("field", "statement"),
    [
        pytest.param("parameters", INSERT, id="insert"),
        pytest.param("parameters", ENQUEUE, id="enqueue_search"),
        pytest.param("client_context", INSERT, id="insert-context"),
        pytest.param("client_context", ENQUEUE, id="enqueue_search-context"),
        pytest.param("parameters", SAVE, id="saved_searches"),
        pytest.param("parameters", CHANGE, id="saved_searches-update"),
    ],
)
async def test_numbers_whose_text_is_huge_are_refused_before_it_is_made(
    as_ada: Connection, value: str, field: str, statement: LiteralString
) -> None:
    await as_ada.execute(SAVE, {"parameters": ORDINARY})
    await as_ada.execute("set statement_timeout = '1s'")
    sent: dict[str, Any] = {"parameters": ORDINARY, "client_context": "{}"} | {field: HUGE[value]}
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=rf"^{field}[ .]") as refused:
        await as_ada.execute(statement, sent)
    assert len(refused.value.diag.message_primary or "") < 200


def nested(depth: int) -> str:
    return '{"tab": ' + "[" * depth + "]" * depth + "}"


async def test_deep_values_are_kept_or_refused(as_ada: Connection) -> None:
    await as_ada.execute("set statement_timeout = '1s'")
    for depth, is_kept in ((8_000, True), (9_000, False)):
        sent = {"parameters": ORDINARY, "client_context": nested(depth)}
        if is_kept:
            await as_ada.execute(INSERT, sent)
        else:
            with pytest.raises(psycopg.errors.InvalidParameterValue, match=r"^client_context must be at most"):
                await as_ada.execute(INSERT, sent)


@pytest.mark.parametrize(
    "value",
    [
        {"tab": "x" * 16_300},
        {"tab": [1] * 5_400},
        {"tab": [0.1] * 3_200},
        {"tab": [[]] * 4_000},
        {"tab": [{}] * 4_000},
        {"tab": [""] * 4_000},
        {str(n): 1 for n in range(1_300)},
        {"tab": [1.7976931348623157e308, -1.7976931348623157e308, 5e-324, 2.2250738585072014e-308]},
    ],
    ids=lambda value: str(value)[:20],
)
async def test_what_is_short_as_a_text_is_kept_however_it_is_stored(as_ada: Connection, value: Any) -> None:
    await as_ada.execute(INSERT, {"parameters": ORDINARY, "client_context": Jsonb(value)})
