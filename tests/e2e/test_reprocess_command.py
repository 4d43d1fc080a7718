"""Kept pages read anew, from the command line."""

from __future__ import annotations

import os

import psycopg
import pytest

from tests.support.commands import run_command
from tests.support.workers import drain
from worker.database.user import LOCAL_USER, signed_in_as
from worker.local.boards import Boards
from worker.local.supabase.stack import Endpoints

pytestmark = pytest.mark.own_stack


@pytest.fixture
def environment(stack: Endpoints) -> dict[str, str]:
    return os.environ | {"SUPABASE_URL": stack.url, "SUPABASE_SERVICE_ROLE_KEY": stack.service_role_key}


async def test_what_could_not_be_read_is_read_once_it_can_be(stack: Endpoints, environment: dict[str, str]) -> None:
    def reprocess(*arguments: str) -> tuple[int, str, str]:
        answer = run_command(environment, "reprocess", *arguments)
        return answer.returncode, answer.stdout, answer.stderr

    async with Boards() as boards, signed_in_as(stack.url, stack.anon_key, *LOCAL_USER, create=True) as user:
        run = await user.enqueue("jobs", {"search_term": "engineer", "sites": ["linkedin"], "results_wanted": 20})
        await drain(stack, boards)
        # The boards are gone from here on: nothing asks them.

    with psycopg.connect(stack.db_url, autocommit=True) as database:
        database.execute("alter table worker.raw_collections add column kept jsonb")
        database.execute("""
            update worker.raw_collections
            set kept = payload,
                payload = case page_number when 1 then '{"rows": 5}'
                                           else jsonb_set(payload, '{rows,0,title}', 'null') end
            where true
        """)
        assert reprocess() == (0, "Pages: 2, failed: 1. Items: 9, invalid: 1\n", "")
        logged = database.execute("select item_index, field, message from worker.processing_log order by item_index")
        assert logged.fetchall() == [
            (0, "title", "is missing or invalid"),
            (None, "rows", "must be a list"),
        ]
        alerts = database.execute(
            "select run_id::text, data ->> 'reason' from public.run_events where event = 'alert'"
        ).fetchall()
        assert alerts == [(run["id"], "invalid_items")]  # one record of ten is not above 10 %

        database.execute("update worker.raw_collections set payload = kept where true")
        assert reprocess("--status", "failed", "--source", "jobspy") == (
            0,
            "Pages: 1, failed: 0. Items: 10, invalid: 0\n",
            "",
        )
        assert reprocess("--status", "partial", "--since", "2999-01-01")[1].startswith("Pages: 0,")
        assert reprocess("--status", "partial")[1].startswith("Pages: 1, failed: 0. Items: 10,")
        assert database.execute("select count(*) from worker.processing_log").fetchone() == (0,)
        assert database.execute("select count(*) from public.search_results").fetchone() == (20,)

    code, _, message = reprocess("--source", "nobody")
    names = "jobspy, jsearch, greenhouse, ashby, lever, arbeitnow, remotive, unipile, youtube"
    assert (code, message) == (2, f"source must be one of {names}\n")
