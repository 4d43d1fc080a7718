-- How long does a worker keep a run? As long as its heartbeats extend the lease.
-- Calls: kernel/clock.

create function public.worker_heartbeat(worker_id text, leases jsonb)
returns table (run_id uuid, lease_token uuid, state text)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
    -- In the order of the ids, like a release, to avoid deadlocks.
    with held as materialized (
        select lease.run_id
        from worker.leases as lease
        join jsonb_to_recordset(worker_heartbeat.leases) as asked (run_id uuid, lease_token uuid)
            on asked.run_id = lease.run_id and asked.lease_token = lease.token
        where lease.worker_id = worker_heartbeat.worker_id
        order by lease.run_id
        for no key update of lease
    )
    update worker.leases as lease
    set expires_at = worker.now() + lease.duration
    from held
    where lease.run_id = held.run_id;

    -- A second statement, because a run may have finished while the first one waited for its lease.
    return query
    select asked.run_id, asked.lease_token, case
        when lease.run_id is not null then 'held'
        when run.status = 'cancelled' then 'cancelled'
        when run.completed_at is not null then 'finished'
        else 'lost'
    end
    from jsonb_to_recordset(worker_heartbeat.leases) as asked (run_id uuid, lease_token uuid)
    left join worker.leases as lease
        on lease.run_id = asked.run_id and lease.token = asked.lease_token
       and lease.worker_id = worker_heartbeat.worker_id
    left join public.search_runs as run on run.id = asked.run_id;
end;
$$;
comment on function public.worker_heartbeat is
    'Extends leases [{run_id, lease_token}]. Returns for each run whether it is held, lost, cancelled or finished.';
