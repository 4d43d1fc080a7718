-- How long does a worker keep a run, and when was it last seen? Its heartbeats extend the lease.
-- Calls: kernel/clock, kernel/lease.

create function worker.describe_worker(worker_id text, about jsonb, limits jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    exit_names text[] := array(select jsonb_array_elements_text(coalesce(about -> 'exits', '[""]')));
begin
    if jsonb_typeof(about -> 'sites') is distinct from 'object' then
        raise sqlstate '22023' using message = 'about must be an object with version, sites, concurrency and started_at';
    end if;
    if exists (
        select from worker.workers as known
        where known.worker_id = describe_worker.worker_id and known.seen_at > worker.now() - interval '10 seconds'
          and (known.version, known.sites, known.limits, known.concurrency, known.exits, known.started_at) = (
              about ->> 'version', about -> 'sites', describe_worker.limits, (about ->> 'concurrency')::integer, exit_names,
              (about ->> 'started_at')::timestamptz)
    ) then
        return;
    end if;
    insert into worker.workers as known (worker_id, version, sites, limits, concurrency, exits, started_at, seen_at)
    values (describe_worker.worker_id, about ->> 'version', about -> 'sites', describe_worker.limits,
            (about ->> 'concurrency')::integer, exit_names,
            (about ->> 'started_at')::timestamptz, worker.now())
    on conflict on constraint workers_pkey do update set
        version = excluded.version, sites = excluded.sites, limits = excluded.limits, concurrency = excluded.concurrency,
        exits = excluded.exits, started_at = excluded.started_at, seen_at = excluded.seen_at;
end;
$$;
comment on function worker.describe_worker is
    'Notes that a worker lives, and what it can search: {version, sites, concurrency, exits, started_at}, within which limits: '
    '{kind: {site: {bucket: limits}}}. Writes at most every '
    '10 seconds, unless something has changed.';

create function worker.see_worker(worker_id text) returns void
language sql volatile set search_path = ''
begin atomic
    update worker.workers as known set seen_at = worker.now()
    from (
        select seen.worker_id from worker.workers as seen
        where seen.worker_id = see_worker.worker_id and seen.seen_at < worker.now() - interval '10 seconds'
        -- Its claim may be writing the row, and wait for the leases of this heartbeat.
        for no key update skip locked
    ) as stale
    where known.worker_id = stale.worker_id;
end;
comment on function worker.see_worker is 'Notes that a worker lives, at most every 10 seconds.';

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
    perform worker.see_worker(worker_heartbeat.worker_id);

    -- A second statement, because a run may have finished while the first one waited for its lease.
    return query
    select asked.run_id, asked.lease_token, case
        when lease.run_id is not null then 'held'
        when run.status = 'cancelled' then 'cancelled'
        when run.completed_at is not null or worker.has_ended_attempt(asked.run_id, asked.lease_token) then 'finished'
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
    'Extends leases [{run_id, lease_token}]. Returns for each run whether it is held, lost, cancelled or finished: '
    'also if its worker has ended the attempt, and the run is back in the queue.';
