-- May this worker still write to the run? Only with the token of the current lease. The lock order is: the runs in the
-- order of their ids, then their leases. Without the lease: has the worker itself ended it?
-- Calls: nothing.

create function worker.lock_leases(run_ids uuid[], lease_tokens uuid[]) returns table (run_id uuid, state text)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    free uuid[] := run_ids;
begin
    -- The runs before their leases, as everywhere: two orders could deadlock.
    if cardinality(run_ids) = 1 then
        perform from public.search_runs as run where run.id = run_ids[1] for no key update;
    else
        free := array(
            select run.id from public.search_runs as run where run.id = any (run_ids)
            order by run.id
            for no key update skip locked);
    end if;
    return query
    with asked as materialized (
        select given.* from unnest(run_ids, lease_tokens) as given (run_id, lease_token)
    ), held as materialized (
        select lease.run_id
        from worker.leases as lease
        join asked on asked.run_id = lease.run_id and asked.lease_token = lease.token
        where lease.run_id = any (free)
        order by lease.run_id
        for update of lease
    )
    select asked.run_id, case when held.run_id is not null then 'held'
                              when run.id <> all (free) then 'busy'
                              when run.status = 'cancelled' then 'cancelled'
                              else 'lease_lost' end
    from asked
    left join held on held.run_id = asked.run_id
    left join public.search_runs as run on run.id = asked.run_id;
end;
$$;
comment on function worker.lock_leases is
    'Locks runs and their leases until the transaction ends. Returns the state of each: held, lease_lost, cancelled, or '
    'busy if another transaction has locked it. Waits for a single run alone, so that no run waits for those of others.';

create function worker.lease_digest(lease_token uuid) returns text
language plpgsql immutable set search_path = '' as $$
begin
    return encode(sha256(convert_to(lease_token::text, 'UTF8')), 'hex');
end;
$$;
comment on function worker.lease_digest is 'Returns what the events of a run keep of the token of a lease.';

create function worker.has_ended_attempt(run_id uuid, lease_token uuid) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return exists (
        select from public.run_events as event
        where event.run_id = has_ended_attempt.run_id and event.event in ('finished', 'retried', 'deferred')
          and event.data ->> 'lease_digest' = worker.lease_digest(lease_token)
    );
end;
$$;
comment on function worker.has_ended_attempt is
    'Returns whether the holder of a lease ended the run, or gave it back to the queue because its sites wait or are '
    'retried.';

create function worker.lock_lease(run_id uuid, lease_token uuid) returns void
language plpgsql set search_path = '' as $$
declare
    state text := (select lease.state from worker.lock_leases(array[run_id], array[lease_token]) as lease);
begin
    if state <> 'held' then
        raise sqlstate 'PT409' using
            message = state,
            detail = format('The token is not the one that run %s is leased with.', run_id),
            hint = 'Stop working on this run.';
    end if;
end;
$$;
comment on function worker.lock_lease is
    'Locks a run and its lease until the transaction ends. Raises PT409 (HTTP 409), lease_lost or cancelled, '
    'without the lease.';
