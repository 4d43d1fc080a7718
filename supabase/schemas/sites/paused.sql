-- Must this run leave the site alone now? Yes while its breaker is open, while another run probes it, and while the
-- user is paused alone.
-- Calls: kernel/clock, sites/queue, sites/waiting.

create function worker.pause_end(health worker.site_health, run_id uuid) returns timestamptz
language sql stable set search_path = ''
return case
    when health.paused_until > worker.now() then health.paused_until
    -- A probe whose worker has died does not count.
    when health.paused_until is not null and health.prober_run_id <> run_id and exists (
        select from worker.leases as lease
        where lease.run_id = health.prober_run_id and lease.expires_at > worker.now()
    ) then worker.now() + interval '30 seconds'
end;
comment on function worker.pause_end is
    'Returns until when a run must not search a site: while its breaker is open, and while another run probes it. '
    'Null if it may.';

create function worker.defer_if_paused(
    run_id uuid, site text, account text, health worker.site_health
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    pause_end timestamptz := worker.pause_end(defer_if_paused.health, defer_if_paused.run_id);
    ahead record;
begin
    if pause_end is null then
        return null;
    end if;
    ahead := worker.queue_ahead(defer_if_paused.site, defer_if_paused.account, '', '{paused}',
                                (worker.wait_state(defer_if_paused.run_id, defer_if_paused.site)).since,
                                defer_if_paused.run_id);
    -- One run per second: the first one probes the site.
    return worker.defer_site(
        defer_if_paused.run_id, defer_if_paused.site, defer_if_paused.account, defer_if_paused.site, 1, 'paused',
        format('site paused until %s (%s)', worker.format_time(pause_end), health.paused_by), health.paused_by,
        pause_end + least(ahead.waiters, 60) * interval '1 second', is_guess => health.paused_until <= worker.now());
end;
$$;
comment on function worker.defer_if_paused is
    'Lets a run wait for a paused site; returns null if it is not paused for this run.';

create function worker.defer_if_user_paused(run_id uuid, site text, account text) returns jsonb
language plpgsql set search_path = '' as $$
declare
    pause record;
    ahead record;
begin
    -- Failures in the future are from before the clock was set back. They do not count.
    select failed.failed_at + failed.pause as until, failed.paused_by into pause
    from worker.site_failures as failed
    join public.search_runs as run on run.user_id = failed.user_id
    where run.id = defer_if_user_paused.run_id
      and failed.site = defer_if_user_paused.site and failed.account = defer_if_user_paused.account
      and failed.exit = ''
      and failed.failed_at <= worker.now() and failed.failed_at + failed.pause > worker.now();
    if not found then
        return null;
    end if;
    ahead := worker.queue_ahead(defer_if_user_paused.site, defer_if_user_paused.account, '', '{paused}',
                                (worker.wait_state(defer_if_user_paused.run_id, defer_if_user_paused.site)).since,
                                defer_if_user_paused.run_id);
    return worker.defer_site(
        defer_if_user_paused.run_id, defer_if_user_paused.site, defer_if_user_paused.account,
        defer_if_user_paused.site, 1, 'paused',
        format('site paused for your searches until %s (%s)', worker.format_time(pause.until), pause.paused_by),
        pause.paused_by, pause.until + least(ahead.waiters, 60) * interval '1 second');
end;
$$;
comment on function worker.defer_if_user_paused is
    'Lets a run wait for a site that is paused for its user alone; returns null if it is not.';

create function worker.start_probe(health worker.site_health, run_id uuid) returns void
language sql volatile set search_path = ''
begin atomic
    update worker.site_health as tried set prober_run_id = start_probe.run_id, updated_at = worker.now()
    where (start_probe.health).paused_until is not null
      and tried.site = (start_probe.health).site and tried.account = (start_probe.health).account
      and tried.exit = (start_probe.health).exit
      and tried.prober_run_id is distinct from start_probe.run_id;
end;
comment on function worker.start_probe is 'Makes a run the only one that probes a site whose breaker is half open.';
