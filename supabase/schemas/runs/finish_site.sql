-- How does the search of a site end? completed without an error, partial if it failed after some results, failed
-- otherwise.
-- Calls: kernel/clock, kernel/imports, kernel/messages, kernel/run_sites, kernel/pages, sites/breaker.

create type worker.site_end as (
    run_id uuid, site text, account text, error_code text, error_message text, retryable boolean,
    retry_after_seconds double precision, exit text, was_asked boolean, response_ms real
);

create function worker.judge_sites(ends worker.site_end[]) returns worker.site_end[]
language plpgsql stable set search_path = '' as $$
begin
    return array(
        select row(given.run_id, given.site, coalesce(given.account, ''), judged.error_code,
                   case when judged.is_unreadable
                        then format('%s of %s pages could not be read; they are stored for reprocessing',
                                    saved.unreadable, saved.pages)
                        else given.error_message end,
                   judged.is_unreadable or given.retryable, given.retry_after_seconds, coalesce(search.exit, ''),
                   -- The outcome counts only if the site was asked: not by an import, nor if it was refused, or waited
                   -- for longer than max_site_wait, or if all its pages were saved before.
                   searched.status = 'running' and run.source <> 'import' and not exists (
                       select from worker.site_waits as wait, worker.settings as settings
                       where wait.run_id = given.run_id and wait.site = given.site and wait.waited > settings.max_site_wait
                   ) and (judged.error_code is not null or saved.by_attempt > 0 or not coalesce(saved.has_last, false)),
                   saved.response_ms)::worker.site_end
        from unnest(ends) as given
        join public.search_runs as run on run.id = given.run_id
        join public.search_run_sites as searched on searched.run_id = given.run_id and searched.site = given.site
        -- Before the end of the run, which deletes its searches.
        left join worker.site_searches as search on search.run_id = given.run_id and search.site = given.site
        cross join lateral (
            select count(*) as pages, count(*) filter (where page.status = 'failed') as unreadable,
                   count(*) filter (where page.attempt = searched.attempts) as by_attempt,
                   bool_or(page.is_last) as has_last,
                   avg(page.response_ms) filter (where page.attempt = searched.attempts) as response_ms
            from worker.pages_of_search(given.run_id, given.site) as page
        ) as saved
        cross join lateral (
            select given.error_code is null and saved.unreadable > 0 as is_unreadable,
                   case when given.error_code is null and saved.unreadable > 0 then 'unverified'
                        else given.error_code end as error_code
        ) as judged
    );
end;
$$;
comment on function worker.judge_sites is
    'Returns the ends of sites with what their saved pages say: a page that could not be read is the error unverified; '
    'whether the current attempt has asked the site, so that its outcome counts for the site; and the mean response time '
    'of its pages.';

create function worker.end_sites(ends worker.site_end[]) returns worker.site_end[]
language plpgsql set search_path = '' as $$
declare
    now timestamptz := worker.now();
    judged worker.site_end[] := worker.judge_sites(ends);
    ended worker.site_end[];
begin
    with finished as (
        -- Status and count in one write, because Realtime broadcasts each write.
        update public.search_run_sites as site
        set status = outcome.status, jobs_found = outcome.results, error_code = given.error_code,
            error_message = case when given.error_code is not null then worker.message_for_user(
                case when worker.is_import(site.run_id) then 'import_lost' else given.error_code end, site.site,
                reason => given.error_message) end,
            retryable = case when given.error_code is not null then given.retryable end,
            -- For a completed site, jobs_found is enough, and the last progress may be a second old.
            progress = case outcome.status when 'completed' then '{"step": "finished"}'
                                           else worker.with_step(site.progress, 'finished') end,
            completed_at = now
        from unnest(judged) as given
        cross join lateral (
            select count(*) as results from public.search_results as result
            where result.run_id = given.run_id and result.site = given.site
        ) as found
        cross join lateral (
            select found.results, case when given.error_code is null then 'completed'
                                       when found.results > 0 then 'partial'
                                       else 'failed' end::public.site_status as status
        ) as outcome
        where site.run_id = given.run_id and site.site = given.site and site.completed_at is null
        returning given, site.status
    ), logged as (
        insert into public.run_events (run_id, event, site, data, created_at)
        select (finished.given).run_id, 'site_finished', (finished.given).site, jsonb_strip_nulls(jsonb_build_object(
            'status', finished.status, 'error_code', (finished.given).error_code,
            'message', (finished.given).error_message)), now
        from finished
    )
    select array_agg(finished.given) into ended from finished;

    delete from worker.site_waits as wait
    using unnest(ended) as given
    where wait.run_id = given.run_id and wait.site = given.site;
    return coalesce(ended, '{}');
end;
$$;
comment on function worker.end_sites is
    'Gives sites their final status, derived from their errors and their results. Returns those that had not ended '
    'before, with what counts for worker.record_ends.';

create function worker.record_ends(ended worker.site_end[]) returns void
language plpgsql set search_path = '' as $$
declare
    alike record;
begin
    -- Successes of a site together, failures one by one. Sites in one order, because all runs share their rows.
    for alike in
        select given.site, given.account, given.exit, given.error_code, given.retry_after_seconds,
               array_agg(given.run_id order by given.run_id) as run_ids, avg(given.response_ms)::real as response_ms
        from unnest(ended) as given
        where given.was_asked
        group by given.site, given.account, given.exit, given.error_code, given.retry_after_seconds,
                 case when given.error_code is not null then given.run_id end
        order by given.site, given.account, given.exit
    loop
        perform worker.record_site_outcome(alike.run_ids, alike.site, alike.account, alike.exit, alike.error_code,
                                           alike.retry_after_seconds, alike.response_ms);
    end loop;
end;
$$;
comment on function worker.record_ends is
    'Records how searches ended, for the breakers and the order of sites, and releases their slots. It must come last in '
    'a transaction, because all users share the rows that it locks.';
