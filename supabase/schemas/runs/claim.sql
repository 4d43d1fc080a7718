-- Which runs does a worker get? The ready ones of its kinds, by priority and position. Before that it takes back the runs
-- of dead workers, settles followers, and promotes runs that are due.
-- Calls: kernel/clock, sharing/leader_ended, sites/accounts, sites/rank, runs/resume, runs/rescue, runs/promote,
--   runs/heartbeat, runs/running_limit.

create function worker.sites_to_search(run_id uuid, seed uuid) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
    return (
        select coalesce(jsonb_agg(jsonb_build_object(
            'site', site.site, 'attempt', site.attempts + 1,
            'account', worker.account_of(site.run_id, site.site),
            'cursor', point.cursor, 'next_page', coalesce(point.next_page, 1),
            'is_fetched', coalesce(point.is_fetched, false)
        ) order by ranked.rank), '[]')
        from public.search_run_sites as site
        join worker.rank_sites(sites_to_search.run_id, seed) as ranked on ranked.site = site.site
        -- Not looked for where nothing was asked yet, as on most sites of most claims.
        left join lateral (
            select known.* from worker.resume_point(site.run_id, site.site) as known where site.attempts > 0
        ) as point on true
        where site.run_id = sites_to_search.run_id and site.completed_at is null
    );
end;
$$;
comment on function worker.sites_to_search is
    'The unfinished sites of a run as a worker gets them, in the order of worker.rank_sites; the same for the same seed.';

create function worker.start_runs(
    run_ids uuid[], payers uuid[], worker_id text, claim_id uuid, duration interval
) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
begin
    with claimed as (
        update public.search_runs as run
        set status = 'running', attempts = run.attempts + 1, error_code = null, error_message = null,
            started_at = coalesce(run.started_at, worker.now()),
            progress = jsonb_build_object('step', 'starting')
        where run.id = any (start_runs.run_ids)
        returning run.id, run.attempts
    ), leased as (
        insert into worker.leases (run_id, worker_id, claim_id, duration, expires_at, user_id)
        select claimed.id, start_runs.worker_id, start_runs.claim_id, start_runs.duration,
               worker.now() + start_runs.duration, paying.user_id
        from claimed
        join unnest(start_runs.run_ids, start_runs.payers) as paying (run_id, user_id) on paying.run_id = claimed.id
        returning leases.run_id, leases.token
    )
    insert into public.run_events (run_id, event, data, created_at)
    select leased.run_id, 'claimed',
           jsonb_build_object('worker_id', start_runs.worker_id, 'attempt', claimed.attempts, 'sites', (
               select jsonb_agg(ranked.site order by ranked.rank)
               from worker.rank_sites(leased.run_id, leased.token) as ranked)),
           worker.now()
    from leased join claimed on claimed.id = leased.run_id;
end;
$$;
comment on function worker.start_runs is
    'Leases ready runs, which are locked, to a worker. Each counts for the max_running_per_user of its payer.';

create function public.worker_claim_runs(
    worker_id text, kinds text[], slots integer, lease_seconds integer, claim_id uuid, held jsonb
) returns table (
    run_id uuid, lease_token uuid, kind text, parameters jsonb, newer_than timestamptz, attempt integer,
    max_attempts integer, sites jsonb
)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    free_slots integer := slots;
    ready uuid[];
    startable uuid[];
    payers uuid[];
    full_users uuid[];
    passed uuid[] := array[]::uuid[];
begin
    if slots is null or slots not between 1 and 100 then
        raise sqlstate '22023' using message = 'slots must be an integer from 1 to 100';
    end if;
    if lease_seconds is null or lease_seconds not between 5 and 3600 then
        raise sqlstate '22023' using message = 'lease_seconds must be an integer from 5 to 3600';
    end if;

    -- A retried claim may overtake the first, whose answer got lost on the way.
    perform pg_advisory_xact_lock(hashtextextended(worker_claim_runs.claim_id::text, 0));

    update worker.leases as lease set expires_at = worker.now() + lease.duration
    where lease.claim_id = worker_claim_runs.claim_id;
    if not found then
        -- Before the rescue: after an outage, the first to come back would take its own runs for a dead worker's.
        perform public.worker_heartbeat(worker_claim_runs.worker_id, worker_claim_runs.held);
        perform worker.rescue_expired_leases();
        perform worker.settle_ended_leaders();
        perform worker.promote_due_runs();

        -- A user who reaches max_running_per_user leaves the other slots to the next ones; and to those who follow him.
        loop
            full_users := passed || array(
                select lease.user_id from worker.leases as lease
                group by lease.user_id
                having count(*) >= (select max_running_per_user from worker.settings));
            select array_agg(locked.id) into ready
            from (
                select run.id from public.search_runs as run
                where run.status = 'pending' and run.run_after is null and run.leader_run_id is null
                  and run.kind = any (worker_claim_runs.kinds)
                  -- Not exists: that may be planned to read everybody's followers.
                  and (run.user_id <> all (full_users)
                       or (select true from public.search_runs as follower
                           where follower.leader_run_id = run.id and follower.user_id <> all (full_users)
                           order by follower.user_id
                           limit 1))
                order by run.priority desc, run.position
                limit free_slots
                for no key update skip locked
            ) as locked;
            exit when ready is null;

            -- Not within the update: there it would be called for each run of the table, and count what it just started.
            with room as materialized (
                select known.* from worker.users_with_capacity(ready, full_users, may_wait => passed = '{}') as known
            )
            select array(select room.run_id from room where room.user_id is not null order by room.run_id),
                   array(select room.user_id from room where room.user_id is not null order by room.run_id),
                   passed || array(select unnest(room.asked) from room where room.user_id is null)
            into startable, payers, passed;

            perform worker.start_runs(startable, payers, worker_claim_runs.worker_id, worker_claim_runs.claim_id,
                                      make_interval(secs => lease_seconds));
            exit when startable @> ready;
            free_slots := free_slots - cardinality(startable);
        end loop;
    end if;

    return query
    select run.id, lease.token, run.kind, run.parameters, run.newer_than, run.attempts::integer,
           run.max_attempts::integer, worker.sites_to_search(run.id, lease.token)
    from worker.leases as lease
    join public.search_runs as run on run.id = lease.run_id
    where lease.claim_id = worker_claim_runs.claim_id
    order by run.priority desc, run.position;
end;
$$;
comment on function public.worker_claim_runs is
    'Leases up to `slots` ready runs of the given kinds, and extends the leases [{run_id, lease_token}] that are held. '
    'The same claim_id again returns the same runs. sites are those that are not finished, the best first: {site, attempt, '
    'account, cursor, next_page, is_fetched}: where a search that has saved pages goes on, or that nothing is left to fetch.';
