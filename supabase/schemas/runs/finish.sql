-- How does a run end? With success if all sites completed, partial if some did, failed if none did. Or it is deferred
-- while sites wait, or retried while attempts are left.
-- Calls: kernel/clock, kernel/run_sites, kernel/lease, webhooks/messages, runs/retry, runs/defer.

create type worker.run_end as (run_id uuid, status public.run_status, error_code text, event_data jsonb);

create function worker.finish_runs(ends worker.run_end[]) returns void
language plpgsql set search_path = '' as $$
declare
    now timestamptz := worker.now();
begin
    update public.search_runs as run
    set status = given.status, error_code = given.error_code,
        error_message = case when given.error_code is not null
                             then (select known.error_message from worker.site_errors(run.id) as known) end,
        progress = jsonb_build_object('step', 'finished'), completed_at = now
    from unnest(ends) as given
    where run.id = given.run_id;
    insert into public.run_events (run_id, event, data, created_at)
    select given.run_id, 'finished', given.event_data || jsonb_build_object('status', given.status), now
    from unnest(ends) as given;
    perform worker.announce_ended_runs(array(select given.run_id from unnest(ends) as given));
end;
$$;
comment on function worker.finish_runs is 'Gives runs their final status, with the sentences of the sites that failed.';

create function worker.unfinished_runs(run_ids uuid[]) returns uuid[]
language plpgsql stable set search_path = '' as $$
begin
    return array(
        select distinct site.run_id from public.search_run_sites as site
        where site.run_id = any (unfinished_runs.run_ids) and site.completed_at is null and not site.is_fallback
          and not exists (
            select from worker.site_waits as wait where wait.run_id = site.run_id and wait.site = site.site));
end;
$$;
comment on function worker.unfinished_runs is
    'Returns the runs that have sites which have neither ended nor wait, without their fallback sites.';

create function worker.attempt_ends(run_ids uuid[]) returns table (
    run_id uuid, outcome text, status public.run_status, event_data jsonb
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select run.id,
           case when not sites.all_finished then 'deferred'
                when sites.any_retryable and not sites.all_completed and run.attempts < run.max_attempts then 'retried'
                else 'finished' end,
           case when sites.all_completed then 'success'
                when sites.any_completed then 'partial'
                else 'failed' end::public.run_status,
           jsonb_build_object('worker_id', lease.worker_id, 'attempt', run.attempts,
                              'lease_digest', worker.lease_digest(lease.token))
    from public.search_runs as run
    join worker.leases as lease on lease.run_id = run.id
    cross join lateral (
        -- If all others completed, it does not matter how the fallback sites ended.
        select bool_and(site.completed_at is not null) as all_finished,
               bool_and(site.status = 'completed') filter (where not site.is_fallback) as all_completed,
               bool_or(site.status in ('completed', 'partial')) as any_completed,
               bool_or(site.retryable) as any_retryable
        from public.search_run_sites as site
        where site.run_id = run.id
    ) as sites
    where run.id = any (attempt_ends.run_ids)
    order by run.id;
end;
$$;
comment on function worker.attempt_ends is
    'Returns how the attempts of leased runs end: deferred, retried, or finished with a status.';

create function worker.end_attempts(run_ids uuid[]) returns void
language plpgsql set search_path = '' as $$
declare
    attempt record;
    finished worker.run_end[] := array[]::worker.run_end[];
begin
    for attempt in select ended.* from worker.attempt_ends(run_ids) as ended loop
        if attempt.outcome = 'deferred' then
            perform worker.defer_run(attempt.run_id, attempt.event_data);
        elsif attempt.outcome = 'retried' then
            perform worker.retry_run(attempt.run_id, attempt.event_data);
        else
            finished := finished || row(
                attempt.run_id, attempt.status,
                case when attempt.status <> 'success' then (worker.site_errors(attempt.run_id)).error_code end,
                attempt.event_data)::worker.run_end;
        end if;
    end loop;
    if cardinality(finished) > 0 then
        perform worker.finish_runs(finished);
    end if;
end;
$$;
comment on function worker.end_attempts is
    'Ends leased runs whose sites have all ended or wait, or puts them back into the queue.';

create function worker.ended_runs(run_ids uuid[], fallbacks jsonb) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
    return (
        select jsonb_object_agg(run.id, jsonb_build_object(
            'id', run.id, 'status', run.status, 'jobs_found', run.jobs_found, 'progress', run.progress,
            'run_after', run.run_after, 'updated_at', run.updated_at,
            'fallbacks', coalesce(fallbacks -> run.id::text, '[]'), 'sites', searched.sites))
        from public.search_runs as run
        cross join lateral (
            select jsonb_agg(jsonb_build_object(
                'site', site.site, 'status', site.status, 'jobs_found', site.jobs_found,
                'error_code', site.error_code, 'error_message', site.error_message)
                order by site.position) as sites
            from public.search_run_sites as site where site.run_id = run.id
        ) as searched
        where run.id = any (ended_runs.run_ids)
    );
end;
$$;
comment on function worker.ended_runs is
    'Returns what a worker reads of runs that have ended, have gone back to the queue, or need their fallback sites, by '
    'id. fallbacks are these sites by run.';
