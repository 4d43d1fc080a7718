-- Which pages are saved? Each page of an attempt once, in one transaction with its items and the run's progress. The
-- last page of a site ends the site in the same transaction, and the run with its last site. Small pages of several runs
-- are saved together. Each of them gets its own answer.
-- Calls: kernel/clock, kernel/imports, kernel/lease, sharing/leader_ended, sites/breaker, runs/progress, runs/resume,
--   runs/finish_sites, pages/load.

create type worker.sent_answer as (
    source text, version integer, response_ms integer, calls_used integer, account text, cursor jsonb, is_last boolean,
    transform_ms integer, completeness jsonb
);
comment on type worker.sent_answer is 'An answer of a site as worker_save_pages takes it, without its payload.';

create type worker.sent_page as (
    place integer, run_id uuid, lease_token uuid, site text, attempt integer, page_number integer, raw worker.sent_answer,
    errors jsonb, progress jsonb, ends text
);
comment on type worker.sent_page is
    'A page as worker_save_pages takes it, without what is long: the payload and the items stay in the argument, at this '
    'place.';

create type worker.kept_page as (
    run_id uuid, page_id bigint, status text, account text, results integer, things integer, site_status public.site_status,
    is_current boolean, is_end boolean
);
comment on type worker.kept_page is
    'A page that is stored. is_current: it is of the attempt that searches its site. is_end: its site ends with it.';

create function worker.sent_pages(pages jsonb) returns worker.sent_page[]
language plpgsql stable set search_path = '' as $$
declare
    asked worker.sent_page[];
    wrong text;
begin
    if jsonb_typeof(pages) is distinct from 'array' or jsonb_array_length(pages) not between 1 and 100 then
        raise sqlstate '22023' using message = 'pages must be an array of 1 to 100 objects';
    end if;
    asked := array(
        select row(given.number, given.run_id, given.lease_token, given.site, given.attempt, given.page_number, given.raw,
                   given.errors, given.progress, given.ends)::worker.sent_page
        from jsonb_populate_recordset(null::worker.sent_page, pages) with ordinality as given (
            place, run_id, lease_token, site, attempt, page_number, raw, errors, progress, ends, number));
    if (select count(distinct given.run_id) < count(*) from unnest(asked) as given) then
        raise sqlstate '22023' using message = 'pages must have a run_id in each object, and each run once';
    end if;
    perform worker.require_arrays(pages #> array[(given.place - 1)::text, 'items'], given.errors)
    from unnest(asked) as given;
    wrong := (select min(given.ends) from unnest(asked) as given where given.ends not in ('site', 'run'));
    if wrong is not null then
        raise sqlstate '22023' using message = format('ends must be site, run or null, not %L', wrong);
    end if;
    return asked;
end;
$$;
comment on function worker.sent_pages is 'Reads the argument of worker_save_pages. Raises 22023 (HTTP 400) if it is wrong.';

create function worker.lock_pages(asked worker.sent_page[]) returns jsonb
language plpgsql set search_path = '' as $$
declare
    states jsonb;
begin
    select jsonb_object_agg(lease.run_id, lease.state) into states
    from worker.lock_leases(array(select given.run_id from unnest(asked) as given),
                            array(select given.lease_token from unnest(asked) as given)) as lease;
    -- A second statement, because a run may have ended while the first one waited for its lock.
    return (
        select jsonb_object_agg(given.run_id, case
            when state.name = 'lease_lost' and given.ends = 'run'
                 and worker.has_ended_attempt(given.run_id, given.lease_token) then 'ended'
            -- Its page counts for a breaker, whose row must not be locked before those of other sites.
            when state.name = 'held' and cardinality(asked) > 1 and exists (
                select from worker.site_searches as search
                join worker.site_health as health on health.site = search.site and health.exit = search.exit
                where search.run_id = given.run_id
                  and (health.prober_run_id = search.run_id or health.latest_outcomes <> '')) then 'busy'
            else state.name end)
        from unnest(asked) as given
        cross join lateral (select states ->> given.run_id::text as name) as state
    );
end;
$$;
comment on function worker.lock_pages is
    'Locks the runs of pages. Returns their states by id, as worker.lock_leases does; ended: with this page, before.';

create function worker.insert_pages(asked worker.sent_page[], sent jsonb) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    -- One time for all: of the same item on two of them, the second one counts.
    saved_at timestamptz := worker.now();
begin
    insert into worker.raw_collections (run_id, source, site, attempt, page_number, query, query_hash, payload,
                                        response_ms, calls_used, account, cursor, is_last, fetched_at, strategy)
    select run.id, (given.raw).source, started.site, given.attempt, given.page_number, run.parameters, run.fingerprint,
           sent #> array[(given.place - 1)::text, 'raw', 'payload'], (given.raw).response_ms, (given.raw).calls_used,
           coalesce((given.raw).account, ''), (given.raw).cursor, coalesce((given.raw).is_last, false), saved_at,
           case run.source when 'cron' then 'scheduled' when 'import' then 'import' else 'manual' end
    from unnest(asked) as given
    join public.search_runs as run on run.id = given.run_id
    join public.search_run_sites as started on started.run_id = run.id and started.site = given.site
    where started.completed_at is null
      -- Also pages of an earlier attempt, which may have waited on a worker's disk.
      and given.attempt between 1 and started.attempts
    on conflict on constraint raw_collections_page do nothing;
end;
$$;
comment on function worker.insert_pages is
    'Inserts pages of sites that were started and have not ended, unless they were saved before. sent is the argument of '
    'worker_save_pages, which has their payloads.';

create function worker.kept_pages(asked worker.sent_page[]) returns worker.kept_page[]
language plpgsql stable set search_path = '' as $$
begin
    return array(
        select row(kept.run_id, kept.id, kept.status, kept.account, kept.result_count, kept.new_count, searched.status,
                   searched.status = 'running' and searched.attempts = given.attempt,
                   -- Its followers end with a run, which is too much to do under the locks of a page.
                   given.ends is not null and not worker.has_dependents(given.run_id, by_answered => false)
               )::worker.kept_page
        from unnest(asked) as given
        join worker.raw_collections as kept
            on kept.run_id = given.run_id and kept.site = given.site
           and kept.attempt = given.attempt and kept.page_number = given.page_number
        join public.search_run_sites as searched on searched.run_id = given.run_id and searched.site = given.site);
end;
$$;
comment on function worker.kept_pages is 'Returns the stored pages among those that are to be saved.';

create function worker.record_pages(asked worker.sent_page[], kept worker.kept_page[], loaded worker.page_result[])
returns jsonb
language plpgsql set search_path = '' as $$
declare
    shown jsonb;
begin
    select jsonb_object_agg(given.run_id, worker.show_progress(given.run_id, given.progress)) into shown
    from unnest(asked) as given
    join unnest(kept) as stored on stored.run_id = given.run_id
    join unnest(loaded) as now on now.page_id = stored.page_id
    where not stored.is_end;

    -- A page from a file, or one that waited on a worker's disk, says nothing about the current state of the site.
    perform worker.record_good_page(given.run_id, given.site, stored.account)
    from unnest(asked) as given
    join unnest(kept) as stored on stored.run_id = given.run_id
    join unnest(loaded) as now on now.page_id = stored.page_id
    where not stored.is_end and now.status <> 'failed' and stored.is_current and not worker.is_import(given.run_id);
    return coalesce(shown, '{}');
end;
$$;
comment on function worker.record_pages is
    'Shows the progress of runs whose pages were loaded, and records good pages for their sites. Returns for each run '
    'the seconds until its progress can be shown; null if it was.';

create function worker.end_with_pages(asked worker.sent_page[], kept worker.kept_page[]) returns jsonb
language plpgsql set search_path = '' as $$
declare
    finished jsonb;
    answers jsonb;
begin
    select jsonb_agg(jsonb_build_object(
        'run_id', given.run_id, 'lease_token', given.lease_token, 'site', given.site, 'account', stored.account,
        'ends_run', given.ends = 'run'))
    into finished
    from unnest(asked) as given join unnest(kept) as stored on stored.run_id = given.run_id
    where stored.is_end;
    if finished is not null then
        select jsonb_object_agg(ended.finished ->> 'run_id', ended.answer) into answers
        from rows from (
            jsonb_array_elements(finished), jsonb_array_elements(public.worker_finish_sites(finished))
        ) as ended (finished, answer);
    end if;
    return coalesce(answers, '{}');
end;
$$;
comment on function worker.end_with_pages is
    'Ends the sites whose last pages are saved, and the runs. Returns the answers of worker_finish_sites by run.';

create function public.worker_save_pages(pages jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    asked worker.sent_page[];
    states jsonb;
    held worker.sent_page[];
    kept worker.kept_page[];
    loaded worker.page_result[];
    shown jsonb;
    ended jsonb;
begin
    asked := worker.sent_pages(pages);
    states := worker.lock_pages(asked);
    held := array(select given from unnest(asked) as given where states ->> given.run_id::text in ('held', 'ended'));
    perform worker.insert_pages(held, pages);
    kept := worker.kept_pages(held);
    loaded := worker.load_pages(
        array(
            select row(given.place, stored.page_id, (given.raw).version, (given.raw).transform_ms, (given.raw).completeness,
                       given.errors)::worker.transformed_page
            from unnest(held) as given
            join unnest(kept) as stored on stored.run_id = given.run_id
            where stored.status = 'fetched'
            order by given.place),
        pages);
    shown := worker.record_pages(held, kept, loaded);
    ended := worker.end_with_pages(held, kept);

    return (
        select jsonb_agg(case
            when states ->> given.run_id::text not in ('held', 'ended') then
                jsonb_build_object('state', states -> given.run_id::text)
            when stored.page_id is null then jsonb_build_object(
                'state', 'refused',
                'message', format('site must be one that was started with worker_start_sites, not %L', given.site))
            else jsonb_build_object(
                    'state', 'done', 'status', coalesce(now.status, stored.status),
                    'results', coalesce(now.results, stored.results), 'new', coalesce(now.things, stored.things))
                || jsonb_strip_nulls(jsonb_build_object('shown_in_seconds', shown -> given.run_id::text))
                || case when ended ? given.run_id::text
                        then jsonb_build_object('end', ended -> given.run_id::text) else '{}' end
                -- A running search does not resume: it already has its cursor.
                || case when stored.site_status = 'pending' then jsonb_build_object('pending_site', (
                       select worker.site_to_search(searched) from public.search_run_sites as searched
                       where searched.run_id = given.run_id and searched.site = given.site)) else '{}' end
            end order by given.place)
        from unnest(asked) as given
        left join unnest(kept) as stored on stored.run_id = given.run_id
        left join unnest(loaded) as now on now.page_id = stored.page_id
    );
end;
$$;
comment on function public.worker_save_pages is
    'Saves pages of several runs: [{run_id, lease_token, site, attempt, page_number, raw, items, errors, progress, ends}], '
    'each run once. It loads their items and writes the runs'' progress, in one transaction. raw is {source, version, payload, '
    'response_ms, calls_used, account (that it was fetched through), cursor (where the next page begins), is_last, '
    'transform_ms, completeness}; items are as in worker.sent_item, errors {index, type, message, field, raw}. ends is '
    'site if the site has no more pages, run if the run has no more sites either. Returns for each {state, message, '
    'status, results, new, shown_in_seconds, pending_site, end}. state is done; lease_lost or cancelled; refused, with a message; '
    'busy: another transaction has locked the run, send it alone. status is completed, partial (some items were invalid) or failed (all '
    'were invalid, or they were not loaded). results is the number of results new to the run, new of things that no '
    'earlier run of the same search had. shown_in_seconds is there if the last change of the run is too recent to write '
    'its progress: after that time it can be written. pending_site is there while the site is pending, as it is for a '
    'page of an earlier attempt; it is as in worker.site_to_search. end is there if the site was ended, as worker_finish_sites '
    'returns it; without it, as for a run with followers, the site is still to be ended. Idempotent.';
