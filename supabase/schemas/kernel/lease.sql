-- May this worker still write to the run? Only with the token of the current lease. The lock order is: the run, then
-- its lease.
-- Calls: nothing.

create function worker.lock_lease(run_id uuid, lease_token uuid) returns void
language plpgsql set search_path = '' as $$
begin
    -- The run before its lease, as everywhere: two orders could deadlock.
    perform from public.search_runs as run where run.id = lock_lease.run_id for no key update;
    perform from worker.leases as lease
    where lease.run_id = lock_lease.run_id and lease.token = lock_lease.lease_token
    for update;
    if not found then
        raise sqlstate 'PT409' using
            message = coalesce(
                (select 'cancelled' from public.search_runs as run
                 where run.id = lock_lease.run_id and run.status = 'cancelled'),
                'lease_lost'),
            detail = format('The token is not the one that run %s is leased with.', lock_lease.run_id),
            hint = 'Stop working on this run.';
    end if;
end;
$$;
comment on function worker.lock_lease is
    'Locks a run and its lease until the transaction ends. Raises PT409 (HTTP 409), lease_lost or cancelled, '
    'without the lease.';
