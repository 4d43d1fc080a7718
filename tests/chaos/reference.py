"""What has to be found: searches that nothing disturbs, and what the boards list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from tests.chaos.plan import SITES, Search
from tests.chaos.stage import Stage
from tests.chaos.users import Users
from tests.chaos.workers import worker_environment
from tests.support.processes import ProcessError, running
from worker.local.boards.synthetic.jobs import words

SECONDS = 90

Findings: TypeAlias = list[tuple[str, str, str]]
"""(search term, site, id of what was found)"""


async def search_undisturbed(stage: Stage, users: Users, searches: Sequence[Search], log: Path) -> Findings:
    """Let a worker search while all is well; return what it found, by the source's ids.

    Raises:
        ProcessError: A search did not succeed, or a board has nothing for a term, so that nothing could get lost.
    """
    for search in searches:
        await users.search(search)
    environment = worker_environment(stage) | {"WORKER_LEASE_SECONDS": str(SECONDS)}
    # Not `drain`: the last of the searches may wait for its place at a site for longer than that waits for a run.
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
        raise ProcessError(f"Undisturbed searches found nothing: {sorted(missing)}. Their log ends with:\n{_end(log)}")
    return found


def listed(stage: Stage, searches: Sequence[Search]) -> Findings:
    """Return all that the boards have for the terms of some searches, by the boards' own ids."""
    return [
        (term, listing.site, listing.id)
        for term in {search.parameters["search_term"] for search in searches}
        for listing in stage.boards.listings
        if words(term) <= listing.words
    ]


def _end(log: Path) -> str:
    return log.read_text()[-3000:]
