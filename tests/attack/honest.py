"""The honest user and the worker that searches for him, with the time of each operation."""

from __future__ import annotations

import asyncio
import json
import math
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
from psycopg.rows import dict_row

from tests.attack.stage import KIND, SITE, Connection, Row, Stage, value

ITEMS = 20
PAUSE_SECONDS = 0.05
TURN_SECONDS = 0.2
SLOTS = 2
GIBBERISH = "gibberish"
MIN_COUNT = 5

_T = TypeVar("_T")


def term(ahead: int = 0) -> str:
    """Return the term that the honest user searches for now, or `ahead` turns later. Others can guess it."""
    return f"turn {int(time.time() / TURN_SECONDS) + ahead}"


@dataclass(slots=True)
class Figures:
    """The times of operations, in seconds, and the errors."""

    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)

    def p95(self, what: str) -> float:
        """Return the 95th percentile of the times of an operation. Infinity if there are too few."""
        if len(self.seconds[what]) < MIN_COUNT:
            return math.inf
        return statistics.quantiles(self.seconds[what], n=20)[18]

    async def timed(self, what: str, doing: Awaitable[_T]) -> _T:
        """Run an operation, and record its time."""
        started = time.perf_counter()
        try:
            return await doing
        finally:
            self.seconds[what].append(time.perf_counter() - started)


async def live(stage: Stage, name: str, figures: Figures, stop: asyncio.Event) -> None:
    """Enqueue searches, and cancel every other one, until stopped."""
    async with stage.user(name) as connection:
        for number in count():
            if stop.is_set():
                return
            parameters = json.dumps({"search_term": term(), "sites": [SITE], "results_wanted": ITEMS})
            try:
                insert = value(connection, "select id from public.enqueue_search(%s, %s)", KIND, parameters)
                run_id = await figures.timed("insert", insert)
                if number % 2:
                    await asyncio.sleep(PAUSE_SECONDS)
                    cancel = value(connection, "select id from public.cancel_search(%s)", run_id)
                    await figures.timed("cancel", cancel)
            except psycopg.Error as error:
                figures.errors[f"{error.sqlstate}: {error}"] += 1
            await asyncio.sleep(PAUSE_SECONDS)


async def work(stage: Stage, honest: str, figures: Figures, stop: asyncio.Event) -> None:
    """Search the runs of all users, one after the other, until stopped."""
    async with stage.service() as connection:
        connection.row_factory = dict_row
        while not stop.is_set():
            claimed = await figures.timed("claim", _claim(connection))
            for run in claimed:
                try:
                    await _search(connection, run, figures, "" if run["user_id"] == honest else " for others")
                except psycopg.Error as error:
                    if error.sqlstate != "PT409":  # cancelled in the meantime
                        figures.errors[f"worker, {error.sqlstate}: {error}"] += 1
            if not claimed:
                await asyncio.sleep(PAUSE_SECONDS)


async def _claim(connection: Connection) -> list[Row]:
    answer = await connection.execute(
        """
        select claimed.*, (select run.user_id::text from public.search_runs as run where run.id = claimed.run_id)
        from public.worker_claim_runs('attack', array[%s], %s, 60, %s, '[]') as claimed
        """,
        [KIND, SLOTS, uuid4()],
    )
    return await answer.fetchall()


async def _search(connection: Connection, run: Row, figures: Figures, whose: str) -> None:
    lease = {"run_id": str(run["run_id"]), "lease_token": str(run["lease_token"])}
    for site in run["sites"]:
        search = {**lease, "site": site["site"], "attempt": site["attempt"]}
        answer = await connection.execute("select public.worker_start_sites(%s) as answers", [json.dumps([search])])
        (row,) = await answer.fetchall()
        (started,) = row["answers"]
        if started["state"] == "cancelled":
            return
        admission = started["admission"]
        if not admission["granted"] and "error_code" not in admission:
            continue
        if run["parameters"]["search_term"].startswith(GIBBERISH):
            failure = {"error_code": "unverified", "error_message": "nothing was found", "retryable": True}
            await _end(connection, run, figures, site=site["site"], ends_run=False, **failure)
            continue
        save = connection.execute("select public.worker_save_pages(%s)", [json.dumps([_page(run, site)], default=str)])
        await figures.timed(f"save{whose}", save)
        await _end(connection, run, figures, site=site["site"], ends_run=False)
    await figures.timed(f"end{whose}", _end(connection, run, figures, ends_run=True))


async def _end(connection: Connection, run: Row, figures: Figures, **ended: Any) -> None:
    end = {"run_id": str(run["run_id"]), "lease_token": str(run["lease_token"]), **ended}
    answer = await connection.execute("select public.worker_finish_sites(%s) as answers", [json.dumps([end])])
    (row,) = await answer.fetchall()
    state = row["answers"][0]["state"]
    if state not in ("done", "cancelled"):
        figures.errors[f"worker, {state}"] += 1


def _page(run: Row, site: Row) -> Row:
    term = run["parameters"]["search_term"]
    items = [
        {
            "external_id": f"{term}-{position}", "position": position, "title": f"{term} {position}",
            "organization": f"Organization of {term}", "url": f"https://example.com/{term}/{position}",
            "description": f"Found for {term}. " * 50, "apply_key": f"example.com/{term}/{position}",
        }
        for position in range(1, ITEMS + 1)
    ]  # fmt: skip
    raw = {
        "source": "attack", "version": 1, "payload": {"jobs": items}, "response_ms": 1, "calls_used": 1,
        "account": None, "cursor": None, "is_last": True, "transform_ms": 1, "completeness": {"title": 1},
    }  # fmt: skip
    return {
        "run_id": run["run_id"], "lease_token": run["lease_token"], "site": site["site"], "attempt": site["attempt"],
        "page_number": 1, "raw": raw, "items": items, "errors": [],
        "progress": {"step": "searching", "site": site["site"]},
    }  # fmt: skip
