-- How does the search of a site end? completed without an error, partial if it failed after some results, failed
-- otherwise.
-- Calls: kernel/clock, kernel/imports, kernel/messages, kernel/run_sites, kernel/lease, kernel/pages, sites/breaker,
--   runs/progress.

create function worker.unreadable_pages(run_id uuid, site text) returns text
language sql stable set search_path = ''
begin atomic
    select format('%s of %s pages could not be read; they are stored for reprocessing',
                  count(*) filter (where page.status = 'failed'), count(*))
    from worker.pages_of_search(unreadable_pages.run_id, unreadable_pages.site) as page
    having bool_or(page.status = 'failed');
end;
comment on function worker.unreadable_pages is
    'Returns how many pages of a site could not be read, as a sentence; null if all could.';

create function worker.asked_site(
    run_id uuid, site text, error_code text, out was_asked boolean, out response_ms real
)
language sql stable set search_path = ''
begin atomic
    -- The outcome counts only if the site was asked: not by an import, nor if it was refused, or waited for longer than
    -- max_site_wait, or if all its pages were saved before.
    select searched.status = 'running' and not worker.is_import(asked_site.run_id) and not exists (
               select from worker.site_waits as wait, worker.settings as settings
               where wait.run_id = searched.run_id and wait.site = searched.site and wait.waited > settings.max_site_wait
           ) and (
               asked_site.error_code is not null or count(*) filter (where page.attempt = searched.attempts) > 0
               or not coalesce(bool_or(page.is_last), false)),
           avg(page.response_ms) filter (where page.attempt = searched.attempts)
    from public.search_run_sites as searched
    left join worker.pages_of_search(asked_site.run_id, asked_site.site) as page on true
    where searched.run_id = asked_site.run_id and searched.site = asked_site.site
    group by searched.id;
end;
comment on function worker.asked_site is
    'Returns whether the current attempt asked the site, so that its outcome counts for the site, and the mean response '
    'time of its pages.';

create function worker.end_site(
    run_id uuid, site text, error_code text, reason text, retryable boolean
) returns public.site_status
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    found_here integer;
    outcome public.site_status;
begin
    select count(*) into found_here from public.search_results as result
    where result.run_id = end_site.run_id and result.site = end_site.site;
    outcome := case when end_site.error_code is null then 'completed'
                    when found_here > 0 then 'partial'
                    else 'failed' end::public.site_status;

    -- Status and count in one write, because Realtime broadcasts each write.
    update public.search_run_sites as finished
    set status = outcome, jobs_found = found_here, error_code = end_site.error_code,
        error_message = case when end_site.error_code is not null then worker.message_for_user(
            case when worker.is_import(end_site.run_id) then 'import_lost' else end_site.error_code end, end_site.site,
            reason => end_site.reason) end,
        retryable = case when end_site.error_code is not null then end_site.retryable end,
        -- For a completed site, jobs_found is enough, and the last progress may be a second old.
        progress = case outcome when 'completed' then '{"step": "finished"}'
                                else worker.with_step(finished.progress, 'finished') end,
        completed_at = worker.now()
    where finished.run_id = end_site.run_id and finished.site = end_site.site
      and finished.completed_at is null;
    return case when found then outcome end;
end;
$$;
comment on function worker.end_site is
    'Gives a site its final status, derived from its error and its results, and returns it; null if the site ended '
    'before.';

create function public.worker_finish_site(
    run_id uuid, lease_token uuid, site text, account text default null,
    error_code text default null, error_message text default null, retryable boolean default null,
    retry_after_seconds double precision default null
) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    asked record;
    outcome public.site_status;
begin
    perform worker.lock_lease(worker_finish_site.run_id, lease_token);
    perform worker.require_site(worker_finish_site.run_id, worker_finish_site.site);

    if worker_finish_site.error_code is null then
        error_message := worker.unreadable_pages(worker_finish_site.run_id, worker_finish_site.site);
        if worker_finish_site.error_message is not null then
            error_code := 'unverified';
            retryable := true;
        end if;
    end if;
    asked := worker.asked_site(worker_finish_site.run_id, worker_finish_site.site, worker_finish_site.error_code);
    outcome := worker.end_site(worker_finish_site.run_id, worker_finish_site.site, worker_finish_site.error_code,
                               worker_finish_site.error_message, worker_finish_site.retryable);
    if outcome is null then
        return;
    end if;

    perform worker.show_progress(worker_finish_site.run_id,
        jsonb_build_object('step', 'site_finished', 'site', worker_finish_site.site));

    insert into public.run_events (run_id, event, site, data, created_at)
    values (worker_finish_site.run_id, 'site_finished', worker_finish_site.site, jsonb_strip_nulls(jsonb_build_object(
        'status', outcome, 'error_code', worker_finish_site.error_code, 'message', worker_finish_site.error_message)),
        worker.now());

    delete from worker.site_waits as wait
    where wait.run_id = worker_finish_site.run_id and wait.site = worker_finish_site.site;
    if asked.was_asked then
        perform worker.record_site_outcome(worker_finish_site.run_id, worker_finish_site.site,
                                           coalesce(worker_finish_site.account, ''), worker_finish_site.error_code,
                                           worker_finish_site.retry_after_seconds, asked.response_ms);
    end if;
end;
$$;
comment on function public.worker_finish_site is
    'Ends a site: completed without an error, partial if it failed after some results, failed otherwise. A page '
    'that could not be read is the error unverified. error_message is for the operator and goes to the event; users '
    'read a sentence of worker.messages. retry_after_seconds is the pause that the site asked for. Idempotent.';
