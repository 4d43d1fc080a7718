"""Saved searches of two requests at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import LiteralString, TypeVar

import psycopg

from worker.local.supabase.stack import Endpoints

T = TypeVar("T")

SAVE: LiteralString = """
insert into public.saved_searches (user_id, name, kind, parameters)
select id, %s, 'jobs', '{"search_term": "nurse"}' from auth.users where email = %s
"""
WAITING: LiteralString = "select from pg_locks where not granted"


def while_the_name_is_saved(stack: Endpoints, email: str, name: str, request: Callable[[], T]) -> T:
    """Make a request while another one saves a search, which ends when the first one waits for it."""
    with (
        psycopg.connect(stack.db_url) as saving,
        psycopg.connect(stack.db_url, autocommit=True) as looking,
        ThreadPoolExecutor() as pool,
    ):
        saving.execute(SAVE, [name, email])
        answer = pool.submit(request)
        while not answer.done() and not looking.execute(WAITING).rowcount:
            time.sleep(0.01)
        saving.commit()
        return answer.result()
