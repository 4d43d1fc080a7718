"""Merges sightings into groups, with the worker and the database."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from scripts.bench.dedupe_source import SightingSource
from scripts.bench.dedupe_variants import Sighting
from worker.engine.worker import Worker
from worker.local.processes import ready, running
from worker.settings import OFFLINE_MODEL, Settings

TIMEOUT_SECONDS = 900
LOOK_SECONDS = 0.2
USER_ID = "00000000-0000-0000-0000-000000000001"

_UNSEARCHED = "select from public.search_runs where completed_at is null limit 1"
_UNCOMPARED = """
select from public.items as item
where not exists (select from public.item_embeddings as embedded where embedded.item_id = item.id)
   or exists (select from worker.near_duplicate_queue)
limit 1
"""
_GROUPS = """
select sighting.site, sighting.external_id, coalesce(item.duplicate_of, item.id)::text
from public.item_sources as sighting join public.items as item on item.id = sighting.item_id
"""

Connection = psycopg.AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Merged:
    """The groups of sightings.

    Attributes:
        groups: The group of each sighting. Sightings of one group are one thing.
        searched_seconds: Time until all pages were transformed, saved and their keys compared.
        seconds: Time until all items were also embedded and compared with similar ones.
    """

    groups: list[str]
    searched_seconds: float
    seconds: float


async def merge(sightings: Sequence[Sighting], folder: Path, *, runs: int = 1) -> Merged:
    """Let a worker find sightings, site by site, on a local stack, until nothing is left to merge.

    Args:
        sightings: The sightings.
        folder: An empty folder for the data of the stack.
        runs: Among how many runs, which are searched at once, the sites are divided.

    Raises:
        SettingsError: The model is not installed.
        RuntimeError: Not all sightings became items.
        TimeoutError: It takes longer than `TIMEOUT_SECONDS`.
        KeyboardInterrupt: Ctrl-C.
    """
    source = SightingSource(sightings)
    command = ("worker", "local", "--json", "--port", "0", "--data", str(folder / "data"))
    async with running(*command, log=folder / "log") as process:
        stack = await ready(process)
        connecting = psycopg.AsyncConnection.connect(stack["db_url"], autocommit=True, connect_timeout=10)
        async with await connecting as database:
            await _enqueue(database, source, runs)
            seconds = await _work_off(Worker(_settings(stack, folder), sources=[source]), database)
            return Merged(await _groups(database, sightings), *seconds)


async def _work_off(worker: Worker, database: Connection) -> tuple[float, float]:
    """Run a worker until nothing is left. Return the seconds until all was searched, and until all was compared."""
    working = asyncio.create_task(worker.run())
    watching = asyncio.create_task(_watch(database))
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await asyncio.wait([working, watching], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
            raise KeyboardInterrupt  # nothing else ends it: the worker received the signal
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)
    return watching.result()


async def _watch(database: Connection) -> tuple[float, float]:
    started = time.monotonic()
    await _until_none(database, _UNSEARCHED)
    searched = time.monotonic()
    await _until_none(database, _UNCOMPARED)
    return searched - started, time.monotonic() - started


def _settings(stack: Mapping[str, str], folder: Path) -> Settings:
    """Return the settings of a worker: the defaults, except for the model and the spool folder."""
    os.environ |= {
        "SUPABASE_URL": stack["url"],
        "SUPABASE_SERVICE_ROLE_KEY": stack["service_role_key"],
        "WORKER_SPOOL_DIR": str(folder / "spool"),
        "WORKER_EMBEDDING_MODEL": OFFLINE_MODEL,
    }
    return Settings()


async def _enqueue(database: Connection, source: SightingSource, runs: int) -> None:
    await database.execute("insert into auth.users (id, email) values (%s, 'ada@example.com')", [USER_ID])
    parts = [source.sites[number::runs] for number in range(runs)]
    searches = [{"search_term": "anything", "sites": sites, "results_wanted": 1000} for sites in parts]
    await database.execute(
        "insert into public.search_runs (user_id, kind, parameters) select %s, %s, jsonb_array_elements(%s)",
        [USER_ID, source.kind, Jsonb(searches)],
    )


async def _until_none(database: Connection, query: str) -> None:
    while (await database.execute(query.encode())).rowcount:  # noqa: ASYNC110 (the database has no event)
        await asyncio.sleep(LOOK_SECONDS)


async def _groups(database: Connection, sightings: Sequence[Sighting]) -> list[str]:
    answer = await database.execute(_GROUPS)
    groups = {(site, external_id): group for site, external_id, group in await answer.fetchall()}
    found = [groups.get((sighting.site, sighting.item.external_id)) for sighting in sightings]
    loaded = [group for group in found if group is not None]
    if len(loaded) < len(sightings):
        raise RuntimeError(f"only {len(loaded)} of {len(sightings)} sightings became items")
    return loaded
