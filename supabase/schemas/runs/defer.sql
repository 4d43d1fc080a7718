-- What happens to a run whose sites all wait? It goes back into the queue until the first site is due. The attempt does
-- not count.
-- Calls: kernel/clock, kernel/messages, kernel/run_sites, sharing/equal_searches, sharing/follow, sites/wake.

create function worker.defer_run(run_id uuid, event_data jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    waiting jsonb;
    shown jsonb;
    first_due_at timestamptz;
    updates_followers boolean;
begin
    select jsonb_agg(jsonb_build_object('site', wait.site, 'until', wait.due_at, 'reason', wait.reason,
                                        'message', wait.message) order by site.position),
           jsonb_agg(jsonb_build_object(
               'site', wait.site, 'until', wait.due_at, 'reason', wait.reason,
               'message', worker.message_for_user(wait.reason, wait.site, wait.due_at)) order by site.position),
           greatest(min(wait.due_at), worker.now())
    into strict waiting, shown, first_due_at
    from worker.site_waits as wait
    join public.search_run_sites as site on site.run_id = wait.run_id and site.site = wait.site
    where wait.run_id = defer_run.run_id and site.completed_at is null;

    -- Not at each of many short waits: a run with thousands of followers would cause thousands of updates each time.
    updates_followers := first_due_at > worker.now() + interval '1 minute' or not exists (
        select from public.run_events as event
        where event.run_id = defer_run.run_id and event.event = 'deferred'
          and event.created_at > worker.now() - interval '1 minute');

    delete from worker.leases as lease where lease.run_id = defer_run.run_id;

    update public.search_run_sites as site
    set status = 'pending', started_at = null,
        progress = worker.waiting_progress(site.progress, site.site, waiting_site.wait),
        error_message = case when site.error_code is not null then waiting_site.wait ->> 'message' end,
        jobs_found = (select count(*) from public.search_results as result
                      where result.run_id = site.run_id and result.site = site.site)
    from jsonb_array_elements(shown) as waiting_site (wait)
    where site.run_id = defer_run.run_id and site.site = waiting_site.wait ->> 'site';

    update public.search_runs as run
    set status = 'pending', attempts = run.attempts - 1, error_code = errors.error_code,
        error_message = errors.error_message,
        progress = jsonb_build_object('step', 'waiting', 'details', jsonb_build_object('sites', shown)),
        run_after = first_due_at
    from worker.site_errors(defer_run.run_id) as errors
    where run.id = defer_run.run_id;

    insert into public.run_events (run_id, event, data, created_at)
    values (defer_run.run_id, 'deferred',
            event_data || jsonb_build_object('sites', waiting, 'run_after', first_due_at), worker.now());

    -- A slot that became free while the run searched its other sites did not wake it.
    perform worker.wake_at_idle_site(wait.site, wait.account)
    from worker.site_waits as wait
    where wait.run_id = defer_run.run_id and wait.reason = 'searches' and wait.due_at > worker.now();

    if updates_followers then
        perform worker.update_followers(defer_run.run_id);
        -- A follower that is joining now is not visible yet: the next claim updates it.
        insert into worker.ended_leaders (run_id, fingerprint, tried_at)
        select run.id, run.fingerprint, worker.now() from public.search_runs as run
        where run.id = defer_run.run_id and not worker.lock_fingerprint(run.fingerprint, may_wait => false);
    end if;
end;
$$;
comment on function worker.defer_run is
    'Puts a run back whose unfinished sites all wait, until the first of them is due. The attempt does not count. '
    'Followers get the progress if the wait is longer than a minute, and otherwise at most once a minute.';
