"""Counts of what happened."""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

from tests.chaos.plan import BoardFault, ExitFault, Fault, GatewayFault, Plan, PostgresFault, WorkerFault
from tests.chaos.stage import Stage

Counts: TypeAlias = dict[str, dict[str, int]]
"""Counts by name, in groups."""

_QUERIES = {
    "runs": "select status::text, count(*) from public.search_runs group by 1 order by 1",
    "runs answered by another's search": """
        select status::text, count(*) from public.search_runs where shared_run_id is not null group by 1 order by 1
    """,
    "sites": "select status::text, count(*) from public.search_run_sites group by 1 order by 1",
    "failures of sites": """
        select error_code, count(*) from public.search_run_sites where error_code is not null group by 1 order by 1
    """,
    "events": "select event, count(*) from public.run_events group by 1 order by 1",
    "writes": """
        with found as (
            select exists (
                select from worker.raw_collections as page
                where (page.run_id, page.site, page.page_number) = (result.run_id, result.site, result.page_number)
            ) as is_own
            from public.search_results as result
        )
        select 'pages saved', count(*) from worker.raw_collections
        union all select 'items on them', sum(item_count) from worker.raw_collections
        union all select 'results', count(*) from found where is_own
        union all select 'results taken over from a leader', count(*) from found where not is_own
        union all select 'duplicates refused',
            (select sum(item_count) from worker.raw_collections) - (select count(*) from found where is_own)
    """,
}


async def count(stage: Stage, plan: Plan) -> Counts:
    """Return the counts of the plan's faults, and of the rows in the database."""
    counts = {"faults": dict(sorted(Counter(_name(fault) for fault in plan.faults).items()))}
    async with stage.database() as database:
        for group, query in _QUERIES.items():
            counts[group] = dict(await (await database.execute(query.encode())).fetchall())
    return counts


def _name(fault: Fault) -> str:
    match fault:
        case WorkerFault():
            return f"worker: {fault.blow}"
        case GatewayFault():
            return f"gateway: {fault.outage}"
        case PostgresFault():
            return f"Postgres: {fault.shutdown} shutdown"
        case BoardFault():
            return f"board: {fault.failure}"
        case ExitFault():
            return f"exit: {fault.exit}"
