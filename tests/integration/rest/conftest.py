"""Tables of books, and requests to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext

import httpx
import psycopg
import pytest

from tests.compare_rest.recorder import Recorder
from tests.compare_rest.records import ROWS, SCHEMA
from worker.local.supabase.stack import Endpoints

_EVERYTHING = """
select 'drop ' || case c.relkind when 'v' then 'view' else 'table' end || ' if exists ' || c.oid::regclass || ' cascade'
from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v')
union all
select 'drop function if exists ' || p.oid::regprocedure || ' cascade'
from pg_proc p where p.pronamespace = 'public'::regnamespace
"""


@pytest.fixture(scope="module")
def tables(stack: Endpoints) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stack.db_url, autocommit=True) as connection:
        before = {statement for (statement,) in connection.execute(_EVERYTHING)}
        connection.execute(SCHEMA.read_bytes())
        made = [statement for (statement,) in connection.execute(_EVERYTHING) if statement not in before]
        try:
            yield connection
        finally:
            for statement in made:
                connection.execute(statement)
            connection.execute("drop domain public.colour, public.words cascade")


@pytest.fixture
async def http(
    stack: Endpoints, tables: psycopg.Connection, recorder: Recorder | None
) -> AsyncIterator[httpx.AsyncClient]:
    """Requests of the service role, to tables that hold `ROWS`."""
    tables.execute(ROWS.read_bytes())
    headers = {"apikey": stack.service_role_key}
    with recorder.probing() if recorder else nullcontext():
        async with httpx.AsyncClient(base_url=f"{stack.url}/rest/v1", headers=headers) as client:
            yield client
