"""The invariants. Each of them is a query that returns the rows that break it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg
from psycopg import sql

Broken: TypeAlias = dict[str, list[str]]
"""The rows that break an invariant, by the name of the invariant."""

_EXPECTATION = """
create temporary table asked (user_id uuid, key text);
create temporary table wanted (search_term text, site text, external_id text);
create temporary table listed (search_term text, site text, id text);
create temporary table possible_errors (site text, error_code text);
create temporary table unheard (worker_id text);
create temporary view runs as
    select *, parameters ->> 'search_term' as search_term, completed_at is not null as is_final from public.search_runs;
-- Without what happens to its schedule later.
create temporary view life_events as
    select * from public.run_events where event not in ('slots_missed', 'slot_skipped', 'inactive_soon');
create temporary view found as
    select result.*, source.external_id
    from public.search_results as result
    left join public.items as item on item.id = result.item_id
    left join public.item_sources as source on source.item_id = item.id and source.site = result.site;
"""

AT_ALL_TIMES: dict[str, str] = {
    "a run has a lease while it is searched itself, and only then": """
        select format('%s: %s', run.id, run.status)
        from public.search_runs as run left join worker.leases as lease on lease.run_id = run.id
        where (run.status = 'running' and run.leader_run_id is null) <> (lease.run_id is not null)
    """,
    "no user has more running runs than allowed": """
        select format('%s: %s', user_id, count(*)) from worker.leases
        group by user_id
        having count(*) > (select max_running_per_user from worker.settings)
    """,
    "no run is final with a site that is not": """
        select format('%s %s: %s, %s', run.id, site.site, run.status, site.status)
        from public.search_runs as run join public.search_run_sites as site on site.run_id = run.id
        where run.completed_at is not null and site.completed_at is null
    """,
    "of equal searches, one runs at a time": """
        select format('%s, newer than %s: %s', fingerprint, newer_than, string_agg(id::text, ', '))
        from public.search_runs
        where completed_at is null and leader_run_id is null and (run_after is null or started_at is not null)
        group by fingerprint, newer_than
        having count(*) > 1
    """,
    "a follower waits for an active run that searches as far back as it needs": """
        select format('%s: %s, follows %s: %s', run.id, run.status, leader.id, leader.status)
        from public.search_runs as run left join public.search_runs as leader on leader.id = run.leader_run_id
        where run.leader_run_id is not null and (
            run.completed_at is not null or (run.status = 'running' and run.started_at is null)
            or run.fingerprint <> leader.fingerprint or leader.leader_run_id is not null
            or coalesce(leader.newer_than, '-infinity') > coalesce(run.newer_than, '-infinity')
            or ((leader.id is null or leader.completed_at is not null)
                and run.leader_run_id not in (select run_id from worker.ended_leaders)))
    """,
    "a run is answered by a run that searched for the same and ended in the same way": """
        select format('%s: %s, answered by %s: %s', run.id, run.status, answer.id, answer.status)
        from public.search_runs as run join public.search_runs as answer on answer.id = run.shared_run_id
        where run.fingerprint <> answer.fingerprint or answer.shared_run_id is not null
           or (run.status, run.jobs_found, run.error_code, run.error_message)
              is distinct from (answer.status, answer.jobs_found, answer.error_code, answer.error_message)
    """,
    "a run has sites if it searches itself, and only then": """
        select format('%s: %s', run.id, string_agg(site.site, ', '))
        from public.search_runs as run left join public.search_run_sites as site on site.run_id = run.id
        -- A cancelled follower never had any, also if it has started with its leader.
        where run.status <> 'cancelled' or site.run_id is not null or exists (
            select from public.run_events as event where event.run_id = run.id and event.event = 'claimed')
        group by run.id
        having array_remove(array_agg(site.site order by site.position), null) <> case
            when run.leader_run_id is not null or run.shared_run_id is not null then '{}'
            else array(
                select asked.site
                from unnest(array['sites', 'fallback_sites']) with ordinality as list (list, ordinal)
                cross join lateral worker.sites_of(run.kind, run.parameters, list.list) as asked
                where list.list = 'sites' or bool_or(site.is_fallback)
                order by list.ordinal, asked.ordinal)
            end
    """,
    "only an active run waits, and not beyond the maximum wait": """
        select format('%s %s: %s, waited %s, until %s', run.id, wait.site, run.status, wait.waited, wait.due_at)
        from worker.site_waits as wait
        join public.search_runs as run on run.id = wait.run_id
        cross join worker.settings as settings
        where run.completed_at is not null
           -- A site may be refused finally, but not have ended yet: while it is searched, or after its worker died.
           or (run.status = 'pending' and (wait.waited > settings.max_site_wait
                                           or wait.due_at > worker.now() + settings.max_site_wait)
               and (select event.event not in ('rescued', 'released') from public.run_events as event
                    where event.run_id = run.id order by event.id desc limit 1))
    """,
    "the run that probes a site after a pause is searching it": """
        select format('%s: %s', health.site, health.prober_run_id)
        from worker.site_health as health
        where health.prober_run_id is not null and not exists (
            select from worker.site_searches as search
            where search.run_id = health.prober_run_id and search.site = health.site and search.exit = health.exit)
    """,
}

AT_THE_END: dict[str, str] = {
    # Runs
    "every requested search is one run, and there are no other runs": """
        select format('%s of %s: %s runs', coalesce(asked.key, run.idempotency_key),
                      coalesce(asked.user_id, run.user_id), count(run.id))
        from asked full join (select * from runs where slot_at is null) as run
            on (run.user_id, run.idempotency_key) = (asked.user_id, asked.key)
        group by coalesce(asked.key, run.idempotency_key), coalesce(asked.user_id, run.user_id)
        having count(run.id) <> 1 or count(asked.key) <> 1
    """,
    "a slot of a schedule starts one run at most": """
        select format('%s at %s: %s runs', saved_search_id, slot_at, count(*)) from runs
        where slot_at is not null
        group by saved_search_id, slot_at
        having count(*) > 1
    """,
    # Of slots that were missed together, the latest one is decided: with a run that says so, or skipped.
    "no slot of a schedule is lost": """
        with decided as (
            select run.saved_search_id, run.slot_at, 1 + coalesce(sum((missed.data ->> 'slots')::integer), 0) as slots
            from runs as run
            left join public.run_events as missed on missed.run_id = run.id and missed.event = 'slots_missed'
            where run.slot_at is not null
            group by run.id, run.saved_search_id, run.slot_at
            union all
            select run.saved_search_id, (skipped.data ->> 'slot_at')::timestamptz, null
            from public.run_events as skipped join runs as run on run.id = skipped.run_id
            where skipped.event = 'slot_skipped'
        ), ordered as (
            select *, lag(slot_at) over (partition by saved_search_id order by slot_at) as former from decided
        )
        select format('%s: %s slots until %s, %s decided', schedule.saved_search_id, passed.slots, ordered.slot_at,
                      ordered.slots)
        from public.search_schedules as schedule
        join ordered on ordered.saved_search_id = schedule.saved_search_id
        cross join lateral (
            select count(*) as slots
            from worker.slots(schedule.time_zone, schedule.times, schedule.weekdays,
                              greatest(ordered.former, schedule.active_since), ordered.slot_at)
        ) as passed
        where passed.slots <> ordered.slots
        union all
        select format('%s: due at %s', saved_search_id, next_slot_at)
        from public.search_schedules as schedule
        where next_slot_at <= worker.now() or last_slot_at is distinct from (
            select max(slot_at) from decided where decided.saved_search_id = schedule.saved_search_id)
    """,
    "every run is final": """
        select format('%s: %s', id, status) from runs
        where status in ('pending', 'running') or completed_at is null or run_after is not null
    """,
    "only a cancelled run has skipped sites, besides fallback sites": """
        select format('%s %s: %s', run.id, site.site, run.status)
        from runs as run join public.search_run_sites as site on site.run_id = run.id
        where site.status = 'skipped' and run.status <> 'cancelled' and not site.is_fallback
    """,
    "no lease is left": """
        select format('%s: %s', run_id, worker_id) from worker.leases
    """,
    "no run waits for a site, and no site is being searched": """
        select format('%s %s: waits for %s', run_id, site, reason) from worker.site_waits
        union all
        select format('%s %s: is searched', run_id, site) from worker.site_searches
    """,
    "a run's status follows from its sites": """
        select format('%s: %s, but its sites %s', run.id, run.status, string_agg(site.status::text, ', '))
        from runs as run join public.search_run_sites as site on site.run_id = run.id
        where run.is_final
        group by run.id, run.status, run.error_code, run.cancel_requested_at
        having run.status <> case
            when run.cancel_requested_at is not null then 'cancelled'
            when run.error_code = 'worker_lost' then 'failed'
            when bool_and(site.status = 'completed' or site.is_fallback) then 'success'
            when bool_or(site.status in ('completed', 'partial')) then 'partial'
            else 'failed' end::public.run_status
    """,
    "a retryable failure is retried while attempts are left": """
        select format('%s: %s after %s of %s attempts', run.id, run.status, run.attempts, run.max_attempts)
        from runs as run
        where run.status in ('partial', 'failed') and run.attempts < run.max_attempts
          -- A run that crashes its workers fails whatever its sites say.
          and run.error_code is distinct from 'worker_lost' and exists (
            select from public.search_run_sites as site
            where site.run_id = run.id and site.status in ('partial', 'failed') and site.retryable)
    """,
    "a run fails with worker_lost only after too many rescues": """
        select format('%s: %s, %s rescues', run.id, coalesce(run.error_code, 'no error'), run.rescues)
        from runs as run, worker.settings as settings
        where run.rescues > settings.max_rescues + 1
           or (run.status <> 'cancelled' and run.shared_run_id is null
               and (run.rescues > settings.max_rescues) <> (run.error_code is not distinct from 'worker_lost'))
    """,
    "attempts and rescues are within their limits, and match the events": """
        select format('%s: %s attempts, %s rescues, but %s claimed, %s released, %s deferred, %s rescued', run.id,
                      run.attempts, run.rescues, counted.claimed, counted.released, counted.deferred, counted.rescued)
        from runs as run
        join lateral (
            select count(*) filter (where event = 'claimed') as claimed,
                   count(*) filter (where event = 'released') as released,
                   count(*) filter (where event = 'deferred') as deferred,
                   count(*) filter (where event = 'rescued') as rescued
            from public.run_events as event where event.run_id = run.id
        ) as counted on true
        where run.attempts <> counted.claimed - counted.released - counted.deferred - counted.rescued
           or run.attempts > run.max_attempts or run.rescues <> counted.rescued
    """,
    # Counts
    "a run's jobs_found is the number of its results": """
        select format('%s: %s, but %s results', run.id, run.jobs_found, count(result.run_id))
        from runs as run
        left join public.search_results as result on result.run_id = coalesce(run.shared_run_id, run.id)
        group by run.id, run.jobs_found
        having run.jobs_found <> count(result.run_id)
    """,
    "a site's jobs_found is the number of its results": """
        select format('%s %s: %s, but %s results', site.run_id, site.site, site.jobs_found, count(result.run_id))
        from public.search_run_sites as site left join public.search_results as result using (run_id, site)
        group by site.run_id, site.site, site.jobs_found
        having site.jobs_found <> count(result.run_id)
    """,
    "the progress of a run that was not cancelled ends at its total": """
        select format('%s: %s of %s', id, progress_current, progress_total) from runs
        where is_final and status <> 'cancelled' and progress_current is distinct from progress_total
    """,
    # Results
    # While the pages of a site have changed, a search is complete without less than a fifth, which it cannot read.
    "a completed site has each expected result once": """
        select format('%s %s: %s %s times', run_id, site, external_id, times)
        from (
            select run.id as run_id, site.site, wanted.external_id, count(found.external_id) as times,
                   avg((count(found.external_id) = 0)::integer) over (partition by run.id, site.site) as lost
            from runs as run
            join public.search_run_sites as site on site.run_id = run.id and site.status = 'completed'
            join wanted on (wanted.search_term, wanted.site) = (run.search_term, site.site)
            left join found on (found.run_id, found.site, found.external_id) = (run.id, site.site, wanted.external_id)
            where run.newer_than is null
            group by run.id, site.site, wanted.external_id
        ) as result
        where times > 1 or (times = 0 and (lost >= 0.2 or (site, 'unverified') not in (table possible_errors)))
    """,
    # There may be more results than expected: JobSpy continues after jobs that it cannot read.
    "no site has a result that its board does not list": """
        select format('%s %s: %s', run.id, found.site, coalesce(found.external_id, 'an item of no known source'))
        from found join runs as run on run.id = found.run_id
        left join listed
            on (listed.search_term, listed.site) = (run.search_term, found.site)
           and listed.id = substr(found.external_id, strpos(found.external_id, '-') + 1)
        where listed.id is null
    """,
    # Saved by this run, or by the leader that it followed until the leader ended.
    "a result is on a saved page": """
        select format('%s %s: page %s', run.id, result.site, result.page_number)
        from public.search_results as result join runs as run on run.id = result.run_id
        where not exists (
            select from worker.raw_collections as page
            where (page.query_hash, page.site, page.page_number) = (run.fingerprint, result.site, result.page_number))
    """,
    # Only pages that were saved before the attempt started: pages of an earlier attempt may come later, from the spool.
    "an attempt continues after the last saved page, and saves each page once, without gaps": """
        select format('%s %s, attempt %s after page %s: %s', run_id, site, attempt, former_page, pages)
        from (
            select *, lag(last_page) over life as former_page,
                   lag(continues and not is_unreadable) over life as may_continue
            from (
                select run_id, site, attempt, array_agg(page_number order by id) as pages,
                       min(page_number) as first_page, max(page_number) as last_page,
                       bool_or(status = 'failed') as is_unreadable,
                       (array_agg(is_last or cursor is not null order by page_number desc))[1] as continues
                from worker.raw_collections as page
                where not exists (
                    select from public.run_events as event
                    where event.run_id = page.run_id and event.site = page.site and event.event = 'site_started'
                      and (event.data ->> 'attempt')::integer > page.attempt and event.created_at < page.fetched_at)
                group by run_id, site, attempt
            ) as searched
            window life as (partition by run_id, site order by attempt)
        ) as searched
        where pages <> array(select generate_series(first_page, last_page))
           or first_page <> case when may_continue then former_page + 1 else 1 end
    """,
    "users see each item of a run once": """
        select format('%s: %s of %s things, %s results', run.id, seen.items, found.things, run.jobs_found)
        from runs as run
        join lateral (
            select count(*) as items, count(distinct item_id) as distinct_items
            from public.run_items as item where item.run_id = run.id
        ) as seen on true
        join lateral (
            select count(distinct coalesce(item.duplicate_of, item.id)) as things
            from public.search_results as result join public.items as item on item.id = result.item_id
            where result.run_id = coalesce(run.shared_run_id, run.id)
        ) as found on true
        where seen.items <> found.things or seen.items <> seen.distinct_items
           or (seen.items = 0) <> (run.jobs_found = 0)
    """,
    # Failures
    "a site fails only with an error that its board caused": """
        select format('%s %s: %s, %s: %s', site.run_id, site.site, site.status, coalesce(site.error_code, 'no error'),
                      site.error_message)
        from public.search_run_sites as site
        left join possible_errors as possible using (site, error_code)
        where case when site.status in ('partial', 'failed') then possible.error_code is null
                   when site.status = 'completed' then site.error_code is not null end
    """,
    "a partial site has results, a failed site has none": """
        select format('%s %s: %s with %s results', run_id, site, status, jobs_found)
        from public.search_run_sites
        where (status = 'partial' and jobs_found = 0) or (status = 'failed' and jobs_found > 0)
    """,
    # Events
    "events follow the life cycle of a run": """
        select format('%s: %s', run.id, string_agg(event.event, ' ' order by event.id))
        from runs as run join life_events as event on event.run_id = run.id
        group by run.id, run.shared_run_id
        having string_agg(event.event, ' ' order by event.id) !~ case when run.shared_run_id is null then concat(
            '^created',
            '( claimed( site_started( exit_left)*| site_finished| fallback)* (released|rescued|deferred|retried))*',
            '( claimed( site_started( exit_left)*| site_finished| fallback)*( rescued)? finished|',
            '( claimed( site_started( exit_left)*| site_finished| fallback)*)? cancelled)$')
            else '^created finished$' end
    """,
    "the last event matches the status of the run": """
        select format('%s: %s, but the last event is %s %s', run.id, run.status, last.event, last.data)
        from runs as run
        join lateral (
            select event, data from life_events as event where event.run_id = run.id order by id desc limit 1
        ) as last on true
        where run.is_final and case
            when run.status = 'cancelled' then last.event <> 'cancelled'
            else last.event <> 'finished' or last.data ->> 'status' <> run.status::text end
    """,
    "the times of events are in order": """
        select format('%s: %s at %s, %s at %s', run_id, former, former_at, event, created_at)
        from (
            select *, lag(event) over life as former, lag(created_at) over life as former_at
            from public.run_events
            where event <> 'slot_skipped'  -- written while the run is searched
            window life as (partition by run_id order by id)
        ) as event
        where created_at < former_at
    """,
    "a finished site was started right before, unless it exceeded the maximum wait": """
        select format('%s: %s finished after %s %s', run_id, site, former, former_site)
        from (
            select *, lag(event) over life as former, lag(site) over life as former_site
            from life_events where event <> 'exit_left'
            window life as (partition by run_id order by id)
        ) as event
        where event = 'site_finished' and (former, former_site) is distinct from ('site_started', site)
          and data ->> 'error_code' is null
    """,
    "the attempts of a site are counted without gaps": """
        select format('%s %s: %s attempts, but started as %s', site.run_id, site.site, site.attempts,
                      array_agg((started.data ->> 'attempt')::integer order by started.id))
        from public.search_run_sites as site
        left join public.run_events as started
            on (started.run_id, started.site) = (site.run_id, site.site) and started.event = 'site_started'
        group by site.run_id, site.site, site.attempts
        having array_remove(array_agg((started.data ->> 'attempt')::integer order by started.id), null)
            -- A new leader continues the count.
            <> array(select generate_series(site.attempts - count(started.id)::integer + 1, site.attempts))
    """,
    "nothing is written after a run has ended": """
        select format('%s ended at %s: %s at %s', run.id, run.completed_at, later.what, later.at)
        from runs as run
        join lateral (
            select 'a result', result.created_at from public.search_results as result where result.run_id = run.id
            union all
            select 'a page', page.fetched_at from worker.raw_collections as page where page.run_id = run.id
            union all
            select 'a site', site.completed_at from public.search_run_sites as site where site.run_id = run.id
        ) as later (what, at) on later.at > run.completed_at
    """,
    "a worker that never listened never claimed": """
        select format('%s: %s', event.data ->> 'worker_id', event.run_id)
        from public.run_events as event join unheard on unheard.worker_id = event.data ->> 'worker_id'
        where event.event = 'claimed'
    """,
}


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the database does not contain.

    Attributes:
        asked: The requested searches: (user id, idempotency key).
        wanted: The results of a search without faults: (search term, site, external id).
        listed: The listings that the boards have for a search: (search term, site, the board's id).
        possible_errors: The possible errors: (site, error code).
        unheard: Workers that ended before they could have claimed anything: (worker id,).
    """

    asked: Collection[tuple[str, str]]
    wanted: Collection[tuple[str, str, str]]
    listed: Collection[tuple[str, str, str]]
    possible_errors: Collection[tuple[str, str]]
    unheard: Collection[tuple[str]] = ()


async def violations(database: psycopg.AsyncConnection[Any], expectation: Expectation) -> Broken:
    """Return the rows that break an invariant, by its name.

    Args:
        database: An idle connection of the owner of the tables. Everything created in it is rolled back.
        expectation: What the database does not contain.
    """
    async with database.transaction(force_rollback=True):
        await database.execute(_EXPECTATION)
        await _fill(database, "asked", expectation.asked)
        await _fill(database, "wanted", expectation.wanted)
        await _fill(database, "listed", expectation.listed)
        await _fill(database, "possible_errors", expectation.possible_errors)
        await _fill(database, "unheard", expectation.unheard)
        return await _broken(database, AT_ALL_TIMES | AT_THE_END)


async def violations_so_far(database: psycopg.AsyncConnection[Any]) -> Broken:
    """Return the rows that break an invariant that holds at all times, by its name.

    Args:
        database: A connection of the owner of the tables.
    """
    return await _broken(database, AT_ALL_TIMES)


async def _broken(database: psycopg.AsyncConnection[Any], invariants: Mapping[str, str]) -> Broken:
    broken: Broken = {}
    for name, query in invariants.items():
        cursor = await database.execute(query.encode())
        if rows := [str(row[0]) for row in await cursor.fetchall()]:
            broken[name] = rows
    return broken


async def _fill(database: psycopg.AsyncConnection[Any], table: str, rows: Collection[tuple[str, ...]]) -> None:
    async with (
        database.cursor() as cursor,
        cursor.copy(sql.SQL("copy {} from stdin").format(sql.Identifier(table))) as copy,
    ):
        for row in rows:
            await copy.write_row(row)
