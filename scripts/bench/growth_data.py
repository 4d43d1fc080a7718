"""Fills a database with what a project has after 90 days: finished runs, their sites and events, items, results.

Rows are inserted in sets, without triggers. Ids follow from numbers (`md5('run 7')`), so that tables refer to each
other without a join. Indexes that are no constraint are dropped and built again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, LiteralString

import psycopg
from psycopg import sql

Database = psycopg.Connection[Any]

HEAVY_USER = "00000000-0000-0000-0000-000000000001"
"""The user with 1 % of all runs."""

EXPIRED_RUNS = 1000
"""Runs that are older than 90 days, for retention."""

RESULTS_OF_RUN = 100
"""Results of each 50th run. The others found nothing new."""

_PARAGRAPHS = 4000
"""Texts of 1 kB of random letters: two of them take as much, compressed, as a description of 3 kB of prose."""

_TABLES = (
    "auth.users", "public.search_runs", "public.search_run_sites", "public.run_events", "public.items",
    "public.item_sources", "public.search_results", "public.organizations", "worker.raw_collections",
    "worker.run_stats", "worker.run_totals", "worker.site_totals",
)  # fmt: skip

_PREPARE: LiteralString = """
create schema growth;
create function growth.id(text, bigint) returns uuid language sql immutable
return md5($1 || ' ' || $2)::uuid;
create function growth.share(text, bigint) returns double precision language sql immutable
return (hashtextextended($1, $2) & 1073741823) / 1073741824.0::double precision;
create function growth.user_of(run bigint, users bigint) returns uuid language sql immutable
return case when run % 100 = 1 then '{heavy}'::uuid
            else growth.id('user', floor(users * growth.share('user', run))::bigint) end;
-- A user repeats five searches; the one with many runs repeats each 20 times, too.
create function growth.search_of(run bigint, users bigint) returns text language sql immutable
return case when run % 100 = 1 then md5('heavy ' || run / 2000)
            else md5(floor(users * growth.share('user', run))::text || ' ' || run % 5) end;
-- Some things are in many results, most in few.
create function growth.item_of(search text, place bigint, items bigint) returns bigint language sql immutable
return floor(items * power(growth.share(search, place), 1.5))::bigint;
create table growth.paragraphs (number integer primary key, text text not null);
insert into growth.paragraphs
select number, (
    select string_agg(substr(md5((number * 7919 + place * 31) % 4000 || ''), 1, 2 + (number * place) % 9), ' ')
    from generate_series(1, 150) as place)
from generate_series(0, {paragraphs} - 1) as number;
analyze growth.paragraphs;
"""

_USERS: LiteralString = """
insert into auth.users (id, email)
select growth.id('user', number), number || '@example.com' from generate_series(0, %(users)s - 1) as number
union all select %(heavy)s::uuid, 'heavy@example.com'
"""

# Each fifth run was answered by the run before it.
_RUNS: LiteralString = """
insert into public.search_runs (
    id, user_id, kind, source, parameters, status, error_code, error_message, jobs_found, items_found, new_items,
    progress_current, progress_total, progress, attempts, priority, position, fingerprint, shared_run_id, created_at,
    updated_at, started_at, completed_at)
select growth.id('run', run.number), run.user_id,
       run.kind, run.source, jsonb_build_object(
           'search_term', 'engineer ' || left(run.fingerprint, 6), 'location', 'Austin, TX', 'results_wanted', 100,
           'sites', case run.kind when 'jobs' then '["linkedin", "indeed"]' else '["youtube"]' end::jsonb),
       run.status, run.error_code,
       case when run.error_code is not null then 'LinkedIn is not answering at the moment' end,
       run.results, run.results, run.results / 10, 200, 200, '{"step": "finished"}', 1, 0, run.number, run.fingerprint,
       case when run.is_answered then growth.id('run', run.number - 1) end, run.created_at, run.created_at + '1 minute',
       case when not run.is_answered then run.created_at + '10 seconds'::interval end, run.created_at + '1 minute'
from (
    select known.*, case when status in ('partial', 'failed') then (
               '{blocked,blocked,timeout,timeout,rate_limited,upstream,network,unverified}'::text[]
           )[1 + floor(8 * growth.share('code', known.number))] end as error_code
    from (
        select number, is_answered, growth.user_of(number, %(users)s) as user_id,
               case when share.status < 0.82 or is_answered or number %% 50 = 1 then 'success'
                    when share.status < 0.90 then 'partial' when share.status < 0.97 then 'failed'
                    else 'cancelled' end::public.run_status as status,
               case when share.source < 0.5 then 'cron' when share.source < 0.9 then 'manual' else 'api'
               end::public.run_source as source,
               case when number %% 50 = 1 then %(results)s else 0 end as results,
               case when number %% 10 in (4, 5) then 'creators' else 'jobs' end as kind,
               growth.search_of(case when is_answered then number - 1 else number end, %(users)s) as fingerprint,
               now() - interval '3 hours' - case
                   when number <= %(expired)s then interval '91 days' - interval '1 day' * number / %(expired)s
                   else interval '89 days' * (%(runs)s - number) / (%(runs)s - %(expired)s) end as created_at
        from generate_series(1, %(runs)s::bigint) as number
        cross join lateral (select number %% 5 = 0 as is_answered) as known
        cross join lateral (
            select growth.share('status', number) as status, growth.share('source', number) as source) as share
    ) as known
) as run
"""
_SITES: LiteralString = """
insert into public.search_run_sites (
    id, run_id, site, position, status, error_code, jobs_found, attempts, progress, started_at, completed_at)
select growth.id(site.name, run.position), run.id, site.name, site.position,
       case when run.status = 'failed' or (run.status = 'partial' and site.position = 1) then 'failed'
            when run.status = 'cancelled' then 'skipped' else 'completed' end::public.site_status,
       case when site.position = 1 then run.error_code end, run.jobs_found / 2, 1, '{"step": "finished"}',
       run.started_at, run.completed_at
from public.search_runs as run
cross join jsonb_array_elements_text(run.parameters -> 'sites') with ordinality as site (name, position)
where run.shared_run_id is null
order by run.position
"""
# As long as they are kept, and 10,000 that have expired.
_EVENTS: LiteralString = """
insert into public.run_events (run_id, event, site, data, created_at)
select run.id, happened.event, happened.site, '{"worker_id": "growth", "status": "completed"}', run.completed_at
from public.search_runs as run
cross join (values ('created', null), ('claimed', null), ('site_started', 'linkedin'), ('site_finished', 'linkedin'),
                   ('site_finished', 'indeed'), ('finished', null)) as happened (event, site)
where run.position > %(runs)s - %(runs)s / 3 - 1700
order by run.position
"""
_PAGES: LiteralString = """
insert into worker.raw_collections (
    run_id, source, site, attempt, page_number, query, query_hash, payload, response_ms, calls_used, fetched_at,
    strategy, status, item_count, invalid_count, result_count, new_count, completeness, transform_ms, transformed_at)
select run.id, 'jobspy', 'linkedin', 1, 1, run.parameters, run.fingerprint,
       jsonb_build_object('jobs', paragraph.text), 300, 2, run.completed_at, 'manual', 'completed', 20, 1, 20, 5,
       '{"title": 1, "url": 1, "salary": 0.25, "location": 0.9}', 40, run.completed_at
from public.search_runs as run
join growth.paragraphs as paragraph on paragraph.number = run.position %% %(paragraphs)s
where run.position > %(runs)s - %(runs)s / 7 - 6000 and run.shared_run_id is null
order by run.position
"""
_ITEMS: LiteralString = """
insert into public.items (
    id, kind, title, organization, location, is_remote, posted_at, salary_min, salary_max, salary_interval, currency,
    url, apply_url, description, city, region, country, work_mode, job_types, salary_yearly_min, salary_yearly_max,
    skills, experience_years, data, canonical_key, apply_key, match_key, organization_key, place_key, text_signature,
    duplicate_of, first_seen_at, last_seen_at)
select growth.id('item', item.number), 'jobs', item.title, item.organization, item.city || ', TX, US', false,
       item.first_seen_at - interval '1 day', 60000, 80000, 'yearly', 'USD',
       'https://www.' || item.site || '.com/viewjob?jk=' || item.number,
       'https://careers.example.com/' || item.organization || '/jobs/' || item.number,
       first.text || ' ' || second.text, item.city, 'TX', 'US', 'onsite', '{fulltime}', 60000, 80000,
       '{python,sql}', 3, '{"emails": []}', item.site || ':' || item.number,
       'careers.example.com/' || item.organization || '/jobs/' || item.number,
       item.title || ' | ' || item.organization || ' | ' || item.city, item.organization, item.city || '|US-TX|US',
       ('x' || repeat(md5('text ' || item.original), 8))::bit(1024),
       case when item.original <> item.number then growth.id('item', item.original) end,
       item.first_seen_at, item.first_seen_at + interval '20 days'
from (
    select number, original, case when number %% 2 = 0 then 'linkedin' else 'indeed' end as site,
           -- One in twenty is from ten large companies.
           case when original %% 20 = 3 then 'title ' || original / 20 %% 50
                else 'title ' || (hashtextextended('title', original) & 2047) end as title,
           case when original %% 20 = 3 then 'large ' || original / 1000 %% 10
                else 'company ' || original / 20 end as organization,
           'city ' || original / 7 %% 50 as city,
           now() - interval '3 hours' - interval '89 days' * (1 - number / %(items)s::float) as first_seen_at
    from generate_series(0, %(items)s::bigint - 1) as number
    -- One in ten is a duplicate of the one before it.
    cross join lateral (select case when number %% 10 = 9 then number - 1 else number end as original) as known
) as item
join growth.paragraphs as first on first.number = item.original %% %(paragraphs)s
join growth.paragraphs as second on second.number = item.original * 7 %% %(paragraphs)s
order by item.number
"""
_SIGHTINGS: LiteralString = """
insert into public.item_sources (site, external_id, item_id, url, first_seen_at, last_seen_at)
select split_part(item.canonical_key, ':', 1), split_part(item.canonical_key, ':', 2), item.id, item.url,
       item.first_seen_at, item.last_seen_at
from public.items as item
"""
_ORGANIZATIONS: LiteralString = """
insert into public.organizations (key, name, url, description, seen_at)
select distinct item.organization_key, item.organization, 'https://example.com/' || item.organization,
       'A company', '{}'::jsonb
from public.items as item
"""
# Nine of ten things are the same in each run of a search.
_RESULTS: LiteralString = """
insert into public.search_results (run_id, item_id, site, page_number, position, created_at)
select run.id, growth.id('item', found.item), case when found.item %% 2 = 0 then 'linkedin' else 'indeed' end,
       1, min(found.place), run.completed_at
from public.search_runs as run
cross join lateral (
    select place, growth.item_of(run.fingerprint, case when place > 90 then run.position * 100 + place else place end,
                                 %(items)s) as item
    from generate_series(1, %(results)s) as place
) as found
where run.position %% 50 = 1
group by run.id, run.position, run.completed_at, found.item
order by run.position
"""
_STATS: LiteralString = """
insert into worker.run_stats (
    span, begins_at, site, kind, source, outcome, error_code, runs, durations, waits, attempts, pages, requests, items,
    new_items, valid_items, invalid_items)
select span, date_trunc(span, run.completed_at, 'UTC'), site, run.kind, run.source,
       case when site = '' or run.status in ('partial', 'failed') then run.status::text
            when run.status = 'cancelled' then 'skipped' else 'completed' end, coalesce(run.error_code, ''), count(*),
       array_fill(0::bigint, '{5}') || count(*) || array_fill(0::bigint, '{10}'),
       array_fill(0::bigint, '{3}') || count(*) || array_fill(0::bigint, '{12}'), count(*), count(*), 2 * count(*),
       sum(run.items_found), sum(run.new_items), sum(run.items_found), 0
from public.search_runs as run
cross join unnest('{hour,day}'::text[]) as span
cross join unnest('{""}' || array(select jsonb_array_elements_text(run.parameters -> 'sites'))) as site
group by 1, 2, 3, 4, 5, 6, 7
"""
_TOTALS: LiteralString = """
insert into worker.run_totals (
    span, begins_at, outcome, runs, durations, waits, pages, requests, items, new_items)
select span, begins_at, outcome, sum(runs),
       array_fill(0::bigint, '{5}') || sum(runs)::bigint || array_fill(0::bigint, '{10}'),
       array_fill(0::bigint, '{3}') || sum(runs)::bigint || array_fill(0::bigint, '{12}'),
       sum(pages), sum(requests), sum(items), sum(new_items)
from worker.run_stats
where site = ''
group by 1, 2, 3
"""
_SITE_TOTALS: LiteralString = """
insert into worker.site_totals (
    span, begins_at, site, outcome, runs, errors, durations, attempts, pages, requests, items, new_items, valid_items,
    invalid_items)
select span, begins_at, site, outcome, sum(runs),
       coalesce(jsonb_object_agg(error_code, runs) filter (where error_code <> ''), '{}'),
       array_fill(0::bigint, '{5}') || sum(runs)::bigint || array_fill(0::bigint, '{10}'),
       sum(attempts), sum(pages), sum(requests), sum(items), sum(new_items), sum(valid_items), sum(invalid_items)
from (
    select span, begins_at, site, outcome, error_code, sum(runs) as runs, sum(attempts) as attempts,
           sum(pages) as pages, sum(requests) as requests, sum(items) as items, sum(new_items) as new_items,
           sum(valid_items) as valid_items, sum(invalid_items) as invalid_items
    from worker.run_stats
    where site <> ''
    group by 1, 2, 3, 4, 5
) as by_code
group by 1, 2, 3, 4
"""
_SAMPLES: LiteralString = """
insert into worker.queue_samples (at, ready, delayed, running)
select date_bin('5 minutes', at, '2000-01-01 00:00:00+00'), 3, 1, 5
from generate_series(now() - interval '90 days', now() - interval '3 hours', '5 minutes') as at
"""
_COUNTED: LiteralString = """
update worker.housekeeping set after_at = now() - interval '2 hours' where task = 'run_counts'
"""

_STAGES: tuple[tuple[tuple[LiteralString, ...], ...], ...] = (
    ((_USERS, _ITEMS, _SIGHTINGS, _ORGANIZATIONS), (_RUNS,)),
    ((_SITES, _EVENTS, _PAGES), (_RESULTS,), (_STATS, _TOTALS, _SITE_TOTALS, _SAMPLES, _COUNTED)),
)
"""What is inserted one after another: rows of statements, which are executed at the same time."""

_SETTINGS: LiteralString = """
set session_replication_role = replica; set work_mem = '256MB'; set maintenance_work_mem = '1GB'
"""
_BUILDERS = 3
"""Indexes that are built at the same time."""

_INDEXES: LiteralString = """
select index.indexrelid::regclass::text, pg_get_indexdef(index.indexrelid)
from pg_index as index
where index.indrelid = any (%s::regclass[])
  and not exists (select from pg_constraint as known where known.conindid = index.indexrelid)
"""


async def fill(connect: Callable[[], Awaitable[psycopg.AsyncConnection[Any]]], runs: int, items: int) -> None:
    """Insert the data, over several connections.

    Args:
        connect: Opens a connection of a superuser, in autocommit mode, to a database with the migrations and without
            data.
        runs: Number of finished runs, at least 10 times `EXPIRED_RUNS`.
        items: Number of items.
    """
    parameters = {
        "runs": runs,
        "items": items,
        "users": max(1, runs // 50),
        "expired": EXPIRED_RUNS,
        "results": RESULTS_OF_RUN,
        "paragraphs": _PARAGRAPHS,
        "heavy": HEAVY_USER,
    }

    async def execute(statements: Iterable[LiteralString], arguments: dict[str, Any] | None = None) -> None:
        async with await connect() as database:
            await database.execute(_SETTINGS)
            for statement in statements:
                await database.execute(statement, arguments)

    async with await connect() as database:
        prepare = _PREPARE.replace("{heavy}", HEAVY_USER).replace("{paragraphs}", str(_PARAGRAPHS))
        await database.execute(prepare.encode())
        indexes = await (await database.execute(_INDEXES, [list(_TABLES)])).fetchall()
        for name, _ in indexes:
            await database.execute(sql.SQL("drop index {}").format(sql.Identifier(*name.split("."))))
        for stage in _STAGES:
            async with asyncio.TaskGroup() as tasks:
                for statements in stage:
                    tasks.create_task(execute(statements, parameters))
        unbuilt = iter([definition for _, definition in indexes])  # each connection takes the next one
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_BUILDERS):
                tasks.create_task(execute(unbuilt))
        await database.execute("drop schema growth cascade")
        await database.execute("vacuum analyze")
