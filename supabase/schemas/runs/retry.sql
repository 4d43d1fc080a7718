-- When is a failed run tried again? After a delay that doubles with each attempt, and not before one of its failed
-- sites is no longer paused.
-- Calls: kernel/clock, kernel/messages, kernel/run_sites, sharing/follow, sites/accounts.

create function worker.next_attempt_at(run_id uuid) returns timestamptz
language sql volatile set search_path = ''
begin atomic
    -- A pause longer than max_site_wait does not delay the run: the site fails again with its cause.
    select greatest(
        min(coalesce(health.paused_until, '-infinity')),
        worker.now() + (0.75 + 0.5 * random())
            * least(settings.max_retry_delay, settings.retry_delay * 2 ^ (run.attempts - 1)))
    from public.search_runs as run
    cross join worker.settings as settings
    join public.search_run_sites as site
        on site.run_id = run.id and site.status in ('partial', 'failed') and site.retryable
    left join worker.site_health as health
        on health.site = site.site and health.account = coalesce(worker.account_of(run.id, site.site), '')
       and health.paused_until <= worker.now() + settings.max_site_wait
    where run.id = next_attempt_at.run_id
    group by run.id, settings.max_retry_delay, settings.retry_delay;
end;
comment on function worker.next_attempt_at is 'Returns when the failed sites of a run are searched again.';

create function worker.retry_run(run_id uuid, event_data jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    next_attempt_at timestamptz := worker.next_attempt_at(retry_run.run_id);
    failed text[];
begin
    with reopened as (
        update public.search_run_sites as site
        set status = 'pending', progress = worker.with_step(site.progress, 'retrying'), started_at = null,
            completed_at = null,
            error_message = worker.message_for_user(site.error_code, site.site, retry_at => next_attempt_at)
        where site.run_id = retry_run.run_id and site.status in ('partial', 'failed') and site.retryable
        returning site.site, site.position
    )
    select array_agg(reopened.site order by reopened.position) into failed from reopened;

    delete from worker.leases as lease where lease.run_id = retry_run.run_id;

    update public.search_runs as run
    set status = 'pending', error_code = errors.error_code, error_message = errors.error_message,
        progress = jsonb_build_object('step', 'retrying', 'details', jsonb_build_object('sites', failed)),
        run_after = next_attempt_at
    from worker.site_errors(retry_run.run_id) as errors
    where run.id = retry_run.run_id;
    perform worker.update_followers(retry_run.run_id);

    insert into public.run_events (run_id, event, data, created_at)
    values (retry_run.run_id, 'retried',
            event_data || jsonb_build_object('sites', failed, 'run_after', next_attempt_at), worker.now());
end;
$$;
comment on function worker.retry_run is
    'Puts a run back for another attempt at the sites that failed and are retryable: after a delay, and not before '
    'one of these sites is no longer paused.';
