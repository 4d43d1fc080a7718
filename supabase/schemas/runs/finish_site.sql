-- How does the search of a site end? completed without an error, partial if it failed after some results, failed
-- otherwise.
-- Calls: kernel/clock, kernel/imports, kernel/messages, kernel/run_sites, kernel/pages, sites/breaker.

create type worker.site_end as (
    run_id uuid, site text, account text, error_code text, error_message text, retryable boolean,
    retry_after_seconds double precision, exit text, was_asked boolean, response_ms real
);

create function worker.unreadable_pages(run_id uuid, site text) returns text
language plpgsql stable set search_path = '' as $$
begin
    return (
        select format('%s of %s pages could not be read; they are stored for reprocessing',
                      count(*) filter (where page.status = 'failed'), count(*))
        from worker.pages_of_search(unreadable_pages.run_id, unreadable_pages.site) as page
        having bool_or(page.status = 'failed')
    );
end;
$$;
comment on function worker.unreadable_pages is
    'Returns how many pages of a site could not be read, as a sentence; null if all could.';

create function worker.asked_site(
    run_id uuid, site text, error_code text, out was_asked boolean, out response_ms real
)
language plpgsql stable set search_path = '' as $$
begin
    -- The outcome counts only if the site was asked: not by an import, nor if it was refused, or waited for longer than
    -- max_site_wait, or if all its pages were saved before.
    select searched.status = 'running' and not worker.is_import(asked_site.run_id) and not exists (
               select from worker.site_waits as wait, worker.settings as settings
               where wait.run_id = searched.run_id and wait.site = searched.site and wait.waited > settings.max_site_wait
           ) and (
               asked_site.error_code is not null or count(*) filter (where page.attempt = searched.attempts) > 0
               or not coalesce(bool_or(page.is_last), false)),
           avg(page.response_ms) filter (where page.attempt = searched.attempts)
    into was_asked, response_ms
    from public.search_run_sites as searched
    left join worker.pages_of_search(asked_site.run_id, asked_site.site) as page on true
    where searched.run_id = asked_site.run_id and searched.site = asked_site.site
    group by searched.id;
end;
$$;
comment on function worker.asked_site is
    'Returns whether the current attempt asked the site, so that its outcome counts for the site, and the mean response '
    'time of its pages.';

create function worker.judge_sites(ends worker.site_end[]) returns worker.site_end[]
language plpgsql stable set search_path = '' as $$
begin
    return array(
        with judged as materialized (
            select given.*, case when given.error_code is null
                                 then worker.unreadable_pages(given.run_id, given.site) end as unreadable
            from unnest(ends) as given
        )
        select row(judged.run_id, judged.site, coalesce(judged.account, ''), verified.error_code,
                   coalesce(judged.unreadable, judged.error_message), judged.unreadable is not null or judged.retryable,
                   judged.retry_after_seconds, coalesce(search.exit, ''), asked.was_asked,
                   asked.response_ms)::worker.site_end
        from judged
        -- Before the end of the run, which deletes its searches.
        left join worker.site_searches as search on search.run_id = judged.run_id and search.site = judged.site
        cross join lateral (
            select case when judged.unreadable is null then judged.error_code else 'unverified' end as error_code
        ) as verified
        cross join lateral worker.asked_site(judged.run_id, judged.site, verified.error_code) as asked
    );
end;
$$;
comment on function worker.judge_sites is
    'Returns the ends of sites with what the saved pages say: a page that could not be read is the error unverified.';

create function worker.end_sites(ends worker.site_end[]) returns worker.site_end[]
language plpgsql set search_path = '' as $$
declare
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
            completed_at = worker.now()
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
            'message', (finished.given).error_message)), worker.now()
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
