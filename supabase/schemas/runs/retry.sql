-- When is a failed run tried again? After a delay that doubles with each attempt, and not before one of its failed
-- sites is no longer paused.
-- Calls: kernel/clock, kernel/run_sites, sharing/follow, sites/accounts.

create function worker.retry_run(run_id uuid, error_code text, error_message text, event_data jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    settings worker.settings;
    failed text[];
    asked_again_at timestamptz;
    next_attempt_at timestamptz;
begin
    select * into strict settings from worker.settings;

    with reopened as (
        update public.search_run_sites as site
        set status = 'pending', progress = worker.with_step(site.progress, 'retrying'), started_at = null,
            completed_at = null
        where site.run_id = retry_run.run_id and site.status in ('partial', 'failed') and site.retryable
        returning site.site, site.position
    )
    -- A pause longer than max_site_wait does not delay the run: the site fails again with its cause.
    select array_agg(reopened.site order by reopened.position),
           min(coalesce(health.paused_until, '-infinity'))
    into failed, asked_again_at
    from reopened
    left join worker.site_health as health
        on health.site = reopened.site
       and health.account = coalesce(worker.account_of(retry_run.run_id, reopened.site), '')
       and health.paused_until <= worker.now() + settings.max_site_wait;

    delete from worker.leases as lease where lease.run_id = retry_run.run_id;

    update public.search_runs as run
    set status = 'pending', error_code = retry_run.error_code, error_message = retry_run.error_message,
        progress = jsonb_build_object('step', 'retrying', 'details', jsonb_build_object('sites', failed)),
        run_after = greatest(asked_again_at, worker.now() + (0.75 + 0.5 * random())
            * least(settings.max_retry_delay, settings.retry_delay * 2 ^ (run.attempts - 1)))
    where run.id = retry_run.run_id
    returning run.run_after into next_attempt_at;
    perform worker.update_followers(retry_run.run_id);

    insert into public.run_events (run_id, event, data, created_at)
    values (retry_run.run_id, 'retried',
            event_data || jsonb_build_object('sites', failed, 'run_after', next_attempt_at), worker.now());
end;
$$;
comment on function worker.retry_run is
    'Puts a run back for another attempt at the sites that failed and are retryable: after a delay, and not before '
    'one of these sites is no longer paused.';
