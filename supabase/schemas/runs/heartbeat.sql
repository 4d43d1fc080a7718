-- How long does a worker hold a run? As long as it sends heartbeats, each of which extends the lease.
-- Calls: kernel/clock.

create function public.worker_heartbeat(worker_id text, leases jsonb)
returns table (run_id uuid, lease_token uuid, state text)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
    -- In the order of the ids, as a release locks them: the two would wait for each other in a circle.
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

    -- A statement of its own: while the first waited for a lease, its run may have finished.
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
    'Extends leases [{run_id, lease_token}] and says of each run whether it is held, lost, cancelled or finished.';
