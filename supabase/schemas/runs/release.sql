-- What happens to the runs of a worker that stops? They go back to their old place in the queue. The attempt does not
-- count.
-- Calls: kernel/clock, kernel/run_sites, sharing/follow.

create function worker.requeue_runs(run_ids uuid[], event text) returns void
language plpgsql set search_path = '' as $$
begin
    insert into public.run_events (run_id, event, data, created_at)
    select lease.run_id, requeue_runs.event, jsonb_build_object('worker_id', lease.worker_id), worker.now()
    from worker.leases as lease
    where lease.run_id = any (run_ids);

    delete from worker.leases as lease where lease.run_id = any (run_ids);

    update public.search_run_sites as site
    set status = 'pending', progress = worker.with_step(site.progress, 'queued'), started_at = null
    where site.run_id = any (run_ids) and site.status = 'running';

    update public.search_runs as run
    set status = 'pending', attempts = run.attempts - 1, progress = jsonb_build_object('step', 'queued')
    where run.id = any (run_ids);
    perform worker.update_followers(run_id) from unnest(run_ids) as run_id;
end;
$$;
comment on function worker.requeue_runs is
    'Puts leased runs back to their old place in the queue. The attempt does not count.';

create function public.worker_release_runs(worker_id text, leases jsonb) returns void
language plpgsql security definer set search_path = '' as $$
declare
    held uuid[];
begin
    perform from public.search_runs as run
    join jsonb_to_recordset(worker_release_runs.leases) as asked (run_id uuid) on asked.run_id = run.id
    order by run.id
    for no key update of run;

    select array_agg(locked.run_id) into held
    from (
        select lease.run_id
        from worker.leases as lease
        join jsonb_to_recordset(worker_release_runs.leases) as asked (run_id uuid, lease_token uuid)
            on asked.run_id = lease.run_id and asked.lease_token = lease.token
        where lease.worker_id = worker_release_runs.worker_id
        order by lease.run_id
        for update of lease
    ) as locked;
    perform worker.requeue_runs(held, 'released');
end;
$$;
comment on function public.worker_release_runs is
    'Gives leased runs [{run_id, lease_token}] back to the queue, for another worker to continue. The attempt does '
    'not count.';
