-- When does the search of a site start? When the site admits the run. A site whose pages are all saved needs no
-- admission.
-- Calls: kernel/clock, kernel/run_sites, kernel/lease, sites/exits, sites/admission, runs/progress, runs/resume.

create function public.worker_start_site(
    run_id uuid, lease_token uuid, site text, attempt integer, account text default null, limits jsonb default '{}',
    exits jsonb default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    searched public.search_run_sites;
    admission jsonb := jsonb_build_object('granted', true, 'wait_seconds', 0);
begin
    perform worker.lock_lease(worker_start_site.run_id, lease_token);
    perform worker.require_site(worker_start_site.run_id, worker_start_site.site);
    select * into strict searched from public.search_run_sites as asked
    where asked.run_id = worker_start_site.run_id and asked.site = worker_start_site.site;

    -- A site whose pages are all saved needs no admission.
    if searched.completed_at is null and not exists (
        select from worker.resume_point(searched.run_id, searched.site) as point where point.is_fetched
    ) then
        admission := worker.admit_site(searched.run_id, searched.site, coalesce(worker_start_site.account, ''),
                                       coalesce(worker_start_site.limits, '{}'),
                                       worker.read_exits(worker_start_site.exits));
    end if;
    if not (admission ->> 'granted')::boolean then
        update public.search_run_sites as refused
        set progress = worker.waiting_progress(refused.progress, refused.site, admission)
        where refused.run_id = searched.run_id and refused.site = searched.site and admission ? 'until'
          and refused.progress <> worker.waiting_progress(refused.progress, refused.site, admission);
    end if;
    if searched.status <> 'pending' or not (admission ->> 'granted')::boolean then
        return admission;
    end if;

    update public.search_run_sites as started
    set status = 'running', attempts = worker_start_site.attempt, started_at = worker.now(),
        progress = worker.with_step(started.progress, 'searching'),
        error_code = null, error_message = null, retryable = null
    where started.run_id = searched.run_id and started.site = searched.site;
    perform worker.show_progress(searched.run_id, jsonb_build_object('step', 'searching', 'site', searched.site));
    insert into public.run_events (run_id, event, site, data, created_at)
    values (searched.run_id, 'site_started', searched.site,
            jsonb_strip_nulls(jsonb_build_object('attempt', worker_start_site.attempt, 'exit', case
                when admission ? 'exit' then worker.exit_name(admission ->> 'exit') end)), worker.now());
    return admission;
end;
$$;
comment on function public.worker_start_site is
    'Starts the search of a site if it is admitted: within limits ({bucket: limits of worker.model.SiteLimits}) and '
    'not paused. exits are those that the worker offers, as for worker_take_permit. Returns {granted: true, wait_seconds, '
    'exit}; {granted: false, reason, message, retry_in_seconds, until}, '
    'to ask again then; or {granted: false, error_code, message}, to end the site with that error. Idempotent.';
