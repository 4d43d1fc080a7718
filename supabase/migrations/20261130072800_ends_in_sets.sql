-- The end of runs releases their leases in one statement for all runs, and a claim looks for followers in one.

create or replace function worker.enforce_final_status() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if old.completed_at is not null and new.status <> old.status then
        raise sqlstate 'PT409' using
            message = 'run_finished',
            detail = format('Run %s is %s, which is final.', old.id, old.status);
    end if;
    new.updated_at := worker.now();
    return new;
end;
$$;

comment on function worker.enforce_final_status is 'Keeps a final status.';

create function worker.release_ended_runs() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    ended uuid[] := array(select run.id from new_runs as run where run.completed_at is not null);
begin
    if ended <> '{}' then
        delete from worker.leases as lease where lease.run_id = any (ended);
        delete from worker.site_waits as wait where wait.run_id = any (ended);
    end if;
    return null;
end;
$$;

revoke all on function worker.release_ended_runs() from public, anon, authenticated, service_role;
comment on function worker.release_ended_runs is 'Ends the leases of runs that have ended, and their waits for sites.';

create trigger release_ended_runs after update on public.search_runs
    referencing new table as new_runs
    for each statement execute function worker.release_ended_runs();

create or replace function worker.start_runs(run_ids uuid[], payers uuid[], asked worker.claim) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    now timestamptz := worker.now();
    tokens uuid[] := array(select gen_random_uuid() from unnest(start_runs.run_ids));
    duration interval := make_interval(secs => asked.lease_seconds);
    first worker.first_search[];
begin
    with ranked as materialized (
        select rank.run_id, jsonb_agg(rank.site order by rank.rank) as sites
        from worker.rank_sites(start_runs.run_ids, tokens) as rank
        group by rank.run_id
    ), claimed as (
        update public.search_runs as run
        set status = 'running', attempts = run.attempts + 1, error_code = null, error_message = null,
            started_at = coalesce(run.started_at, now),
            progress = jsonb_build_object('step', 'starting')
        where run.id = any (start_runs.run_ids)
        returning run.id, run.attempts
    ), leased as (
        insert into worker.leases (run_id, worker_id, token, claim_id, duration, expires_at, user_id)
        select claimed.id, asked.worker_id, paying.token, asked.claim_id, duration,
               now + duration, paying.user_id
        from claimed
        join unnest(start_runs.run_ids, start_runs.payers, tokens) as paying (run_id, user_id, token)
            on paying.run_id = claimed.id
    ), logged as (
        insert into public.run_events (run_id, event, data, created_at)
        select claimed.id, 'claimed',
               jsonb_build_object('worker_id', asked.worker_id, 'attempt', claimed.attempts,
                                  'sites', coalesce(ranked.sites, '[]')),
               now
        from claimed left join ranked on ranked.run_id = claimed.id
    )
    select array_agg(row(ranked.run_id, ranked.sites ->> 0, null, null)::worker.first_search) into first from ranked;

    perform worker.start_first_sites(first, asked.limits, asked.exits);
    perform worker.update_followers(leader.id, with_progress => false)
    from unnest(start_runs.run_ids) as leader (id)
    where (
        -- Ordered, so that the planner uses the index even if nearly all runs follow one.
        select true from public.search_runs as follower
        where follower.leader_run_id = leader.id
        order by follower.leader_run_id, follower.user_id
        limit 1);
end;
$$;
