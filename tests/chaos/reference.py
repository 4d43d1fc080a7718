"""The expected results: those of searches without faults, and the listings of the boards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from tests.chaos.plan import SITES, Search
from tests.chaos.stage import Stage
from tests.chaos.users import Users
from tests.chaos.workers import worker_environment
from worker.local.boards.synthetic.jobs import words
from worker.local.processes import ProcessError, running

SECONDS = 90

Findings: TypeAlias = list[tuple[str, str, str]]
"""(search term, site, id of the result)"""


async def search_undisturbed(stage: Stage, users: Users, searches: Sequence[Search], log: Path) -> Findings:
    """Let a worker search without faults. Return its results, with the ids of the source.

    Raises:
        ProcessError: A search did not succeed, or a board has no results for a term.
    """
    for search in searches:
        await users.search(search)
    environment = worker_environment(stage) | {"WORKER_LEASE_SECONDS": str(SECONDS)}
    # Not `drain`: the last search may wait for a site for longer than `drain` waits for a run.
    async with running("worker", "run", log=log, **environment):
        await stage.unended(SECONDS)
    async with stage.database() as database:
        cursor = await database.execute(
            """
            select run.parameters ->> 'search_term', result.site, source.external_id
            from public.search_runs as run
            join public.search_results as result on result.run_id = run.id
            join public.item_sources as source on source.item_id = result.item_id and source.site = result.site
            where run.status = 'success'
            """
        )
        found: Findings = await cursor.fetchall()
    asked = {(search.parameters["search_term"], site) for search in searches for site in SITES}
    if missing := asked - {(term, site) for term, site, _ in found}:
        raise ProcessError(f"no results without faults: {sorted(missing)}. The log ends with:\n{_end(log)}")
    return found


def listed(stage: Stage, searches: Sequence[Search]) -> Findings:
    """Return all listings of the boards for the terms of some searches, with the ids of the boards."""
    return [
        (term, listing.site, listing.id)
        for term in {search.parameters["search_term"] for search in searches}
        for listing in stage.boards.listings
        if words(term) <= listing.words
    ]


def _end(log: Path) -> str:
    return log.read_text()[-3000:]
