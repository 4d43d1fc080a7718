-- What happens to the runs of a dead worker? The next claim puts them back into the queue. After max_rescues they fail
-- with worker_lost. So do imports, at once: no worker has their files.
-- Calls: kernel/clock, kernel/messages, kernel/run_sites, runs/release, runs/finish.

create function worker.fail_lost_runs(run_ids uuid[], message_code text, reason text) returns void
language plpgsql set search_path = '' as $$
begin
    update public.search_run_sites as site
    set status = case when found.results > 0 then 'partial' else 'failed' end::public.site_status,
        jobs_found = found.results,
        progress = worker.with_step(site.progress, 'finished'), completed_at = worker.now(),
        error_code = 'worker_lost', retryable = false,
        error_message = worker.message_for_user(fail_lost_runs.message_code, site.site)
    from (
        select unfinished.id, count(result.item_id) as results
        from public.search_run_sites as unfinished
        left join public.search_results as result
            on result.run_id = unfinished.run_id and result.site = unfinished.site
        where unfinished.run_id = any (run_ids) and unfinished.completed_at is null
        group by unfinished.id
    ) as found
    where site.id = found.id;

    perform worker.finish_runs(array(
        select row(run_id, 'failed', 'worker_lost', jsonb_build_object('message', reason))::worker.run_end
        from unnest(run_ids) as run_id));
end;
$$;
comment on function worker.fail_lost_runs is 'Fails locked runs whose workers died with them.';

create function worker.rescue_expired_leases() returns void
language plpgsql set search_path = '' as $$
declare
    settings worker.settings;
    expired uuid[];
    lost uuid[];
begin
    select * into strict settings from worker.settings;

    select array_agg(locked.id) into expired
    from (
        select run.id
        from worker.leases as lease
        join public.search_runs as run on run.id = lease.run_id
        where lease.expires_at < worker.now()
        order by lease.expires_at
        limit settings.rescue_batch
        for no key update of run skip locked
    ) as locked;

    -- Check again: a heartbeat does not lock the run, and may have extended the lease in between.
    select array_agg(locked.run_id) into expired
    from (
        select lease.run_id from worker.leases as lease
        where lease.run_id = any (expired) and lease.expires_at < worker.now()
        for update skip locked
    ) as locked;
    if expired is null then
        return;
    end if;

    perform worker.fail_lost_runs(
        array(select run.id from public.search_runs as run where run.id = any (expired) and run.source = 'import'),
        'import_lost', 'the import was interrupted');
    expired := array(
        select run.id from public.search_runs as run where run.id = any (expired) and run.source <> 'import');

    update public.search_runs as run set rescues = run.rescues + 1 where run.id = any (expired);
    perform worker.requeue_runs(expired, 'rescued');

    select array_agg(run.id) into lost
    from public.search_runs as run
    where run.id = any (expired) and run.rescues > settings.max_rescues;

    perform worker.fail_lost_runs(lost, 'worker_lost', format('%s workers died with this run', settings.max_rescues + 1));
end;
$$;
comment on function worker.rescue_expired_leases is
    'Puts a batch of the runs back whose worker stopped its heartbeats. Imports fail.';
