-- How does a run end? With success if all sites completed, partial if some did, failed if none did. Or it is deferred
-- while sites wait, or retried while attempts are left.
-- Calls: kernel/clock, kernel/run_sites, kernel/lease, webhooks/messages, runs/retry, runs/defer.

create type worker.run_end as (run_id uuid, status public.run_status, error_code text, event_data jsonb);

create function worker.finish_runs(ends worker.run_end[]) returns void
language plpgsql set search_path = '' as $$
begin
    update public.search_runs as run
    set status = given.status, error_code = given.error_code,
        error_message = (select known.error_message from worker.site_errors(run.id) as known),
        progress = jsonb_build_object('step', 'finished'), completed_at = worker.now()
    from unnest(ends) as given
    where run.id = given.run_id;
    insert into public.run_events (run_id, event, data, created_at)
    select given.run_id, 'finished', given.event_data || jsonb_build_object('status', given.status), worker.now()
    from unnest(ends) as given;
    perform worker.announce_ended_runs(array(select given.run_id from unnest(ends) as given));
end;
$$;
comment on function worker.finish_runs is 'Gives runs their final status, with the sentences of the sites that failed.';

create function worker.site_outcomes(
    run_id uuid, out all_finished boolean, out all_completed boolean, out any_completed boolean,
    out any_retryable boolean
)
language plpgsql stable set search_path = '' as $$
begin
    select bool_and(site.completed_at is not null),
           bool_and(site.all_completed),
           bool_or(site.status in ('completed', 'partial')),
           bool_or(site.retryable and not site.all_completed)
    into all_finished, all_completed, any_completed, any_retryable
    from (
        select known.*, bool_and(known.status = 'completed') filter (where not known.is_fallback) over () as all_completed
        from public.search_run_sites as known
        where known.run_id = site_outcomes.run_id
    ) as site;
end;
$$;
comment on function worker.site_outcomes is
    'Returns how the sites of a run have ended, all together. Fallback sites are not among all_completed. How they ended '
    'does not matter if the others completed.';

create function worker.has_unfinished_sites(run_id uuid) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return exists (
        select from public.search_run_sites as site
        where site.run_id = has_unfinished_sites.run_id and site.completed_at is null and not site.is_fallback
          and not exists (
            select from worker.site_waits as wait where wait.run_id = site.run_id and wait.site = site.site)
    );
end;
$$;
comment on function worker.has_unfinished_sites is
    'Returns whether a run has sites that have neither ended nor wait, without its fallback sites.';

create function worker.end_attempts(run_ids uuid[]) returns void
language plpgsql set search_path = '' as $$
declare
    attempt record;
    finished worker.run_end[] := array[]::worker.run_end[];
begin
    for attempt in
        select run.id, sites.*, sites.any_retryable and run.attempts < run.max_attempts as is_retried,
               jsonb_build_object('worker_id', lease.worker_id, 'attempt', run.attempts,
                                  'lease_digest', worker.lease_digest(lease.token)) as event_data
        from public.search_runs as run
        join worker.leases as lease on lease.run_id = run.id
        cross join lateral worker.site_outcomes(run.id) as sites
        where run.id = any (run_ids)
        order by run.id
    loop
        if not attempt.all_finished then
            perform worker.defer_run(attempt.id, attempt.event_data);
        elsif attempt.is_retried then
            perform worker.retry_run(attempt.id, attempt.event_data);
        else
            finished := finished || row(
                attempt.id,
                case when attempt.all_completed then 'success'
                     when attempt.any_completed then 'partial'
                     else 'failed' end,
                case when not attempt.all_completed then (worker.site_errors(attempt.id)).error_code end,
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

create function worker.ended_run(run_id uuid, fallbacks jsonb) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
    return (
        select jsonb_build_object(
            'id', run.id, 'status', run.status, 'jobs_found', run.jobs_found, 'progress', run.progress,
            'run_after', run.run_after, 'updated_at', run.updated_at, 'fallbacks', fallbacks,
            'sites', (
                select jsonb_agg(jsonb_build_object(
                    'site', searched.site, 'status', searched.status, 'jobs_found', searched.jobs_found,
                    'error_code', searched.error_code, 'error_message', searched.error_message)
                    order by searched.position)
                from public.search_run_sites as searched where searched.run_id = run.id))
        from public.search_runs as run where run.id = ended_run.run_id
    );
end;
$$;
comment on function worker.ended_run is
    'Returns what a worker reads of a run that has ended, has gone back to the queue, or needs its fallback sites.';
