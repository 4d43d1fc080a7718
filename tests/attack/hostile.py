"""The attacks of hostile users. Each attack is repeated until the end."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import LiteralString, TypeAlias

import psycopg

from tests.attack.honest import GIBBERISH, ITEMS, Figures, term
from tests.attack.stage import KIND, SITE, Connection, Stage, value

PAUSE_SECONDS = 1.0
"""Pause between two requests of one kind. Each user sends some nine requests a second."""
HELD_SECONDS = 1.0
BATCH, BATCHES = 20, 4

HUGE = "1e131071"
"""74 kB of such numbers are a gigabyte of text."""

# As PostgREST writes them.
INSERT: LiteralString = """
insert into public.search_runs (kind, parameters)
select kind, parameters from json_to_recordset(%s) as body (kind text, parameters jsonb)
"""
INSERT_OR_IGNORE: LiteralString = """
insert into public.search_runs (kind, parameters, idempotency_key)
select kind, parameters, idempotency_key
from json_to_recordset(%s) as body (kind text, parameters jsonb, idempotency_key text)
on conflict (user_id, idempotency_key) do nothing
"""
SAVE: LiteralString = """
insert into public.saved_searches (name, kind, parameters)
select name, kind, parameters from json_to_recordset(%s) as body (name text, kind text, parameters jsonb)
"""

Attack: TypeAlias = Callable[[Connection], Awaitable[None]]


async def repeat(stage: Stage, name: str, attack: Attack, figures: Figures, stop: asyncio.Event) -> None:
    """Repeat an attack as a user until stopped. Its requests may be refused."""
    async with stage.user(name) as connection:
        while not stop.is_set():
            try:
                await figures.timed(attack.__name__, attack(connection))
            except psycopg.Error as error:
                figures.errors[f"{attack.__name__}, {error.sqlstate}: {str(error).splitlines()[0][:80]}"] += 1
            await asyncio.sleep(PAUSE_SECONDS)


def _searches(terms: Sequence[str]) -> str:
    return json.dumps(
        [
            {
                "kind": KIND,
                "parameters": {"search_term": asked, "sites": [SITE], "results_wanted": ITEMS},
                "idempotency_key": f"{asked} {number}",
            }
            for number, asked in enumerate(terms)
        ]
    )


async def huge_numbers(connection: Connection) -> None:
    """Numbers whose text is a thousand times as long as they are."""
    parameters = f'{{"search_term": "a", "linkedin_company_ids": [{",".join([HUGE] * 8200)}]}}'
    await value(connection, "select id from public.enqueue_search(%s, %s)", KIND, parameters)


async def huge_context(connection: Connection) -> None:
    """The same in a field that is not validated."""
    context = f'{{"numbers": [{",".join([HUGE] * 8200)}]}}'
    parameters = json.dumps({"search_term": "a"})
    await value(connection, "select id from public.enqueue_search(%s, %s, %s)", KIND, parameters, context)


async def bulk(connection: Connection) -> None:
    """One search that follows that of the honest user, and thousands more that hold its lock until they are refused."""
    await connection.execute(INSERT, [_searches([term(-1), *(f"bulk {n}" for n in range(6000))])])


async def ignored_duplicates(connection: Connection) -> None:
    """Thousands of rows that exist already."""
    await connection.execute(INSERT_OR_IGNORE, [_searches([term(-1)] * 3000)])


async def saved_searches(connection: Connection) -> None:
    """Thousands of saved searches."""
    rows = [{"name": f"{n}", "kind": KIND, "parameters": {"search_term": "a"}} for n in range(10_000)]
    await connection.execute(SAVE, [json.dumps(rows)])


async def popular(connection: Connection) -> None:
    """The next searches of the honest user, before he enqueues them: every third turn."""
    for ahead in range(0, 6, 3):
        await connection.execute(INSERT, [_searches([term(ahead)])])


async def held_rows(connection: Connection) -> None:
    """Rows that follow the runs of the honest user, locked as by a slow update."""
    await connection.execute(INSERT, [_searches([term(-1), term(0)])])
    async with connection.transaction():
        await connection.execute("update public.search_runs set cancel_requested_at = null where completed_at is null")
        await asyncio.sleep(HELD_SECONDS)


async def gibberish(connection: Connection) -> None:
    """Searches that find nothing, so that the site seems to block."""
    await connection.execute(INSERT, [_searches([f"{GIBBERISH} {n}" for n in range(3)])])


async def cancelled_followers(connection: Connection) -> None:
    """Many runs that follow one, all cancelled at once."""
    for _ in range(BATCHES):
        await connection.execute(INSERT, [_searches([term(-1)] * BATCH)])
    await connection.execute(
        "update public.search_runs set cancel_requested_at = now() where leader_run_id is not null"
    )


ATTACKS: Sequence[Attack] = (
    huge_numbers, huge_context, bulk, ignored_duplicates, saved_searches, popular, held_rows, gibberish,
    cancelled_followers,
)  # fmt: skip


async def attack(db_url: str, ids: dict[str, str], names: Sequence[str], seconds: float) -> Figures:
    """Run all attacks as several users for a while."""
    stage, figures, stop = Stage(db_url, ids), Figures(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for name in names:
            for each in ATTACKS:
                tasks.create_task(repeat(stage, name, each, figures, stop))
        await asyncio.sleep(seconds)
        stop.set()
    return figures


if __name__ == "__main__":
    # A process of its own, so that it does not delay the measured user.
    asked = json.load(sys.stdin)
    done = asyncio.run(attack(**asked))
    json.dump({"times": {name: len(times) for name, times in done.seconds.items()}, "errors": done.errors}, sys.stdout)
