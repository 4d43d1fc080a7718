-- How does a run end? With success if all sites completed, partial if some did, failed if none did. Or it is deferred
-- while sites wait, or retried while attempts are left. Fallback sites that are needed are searched first.
-- Calls: kernel/clock, kernel/run_sites, kernel/lease, webhooks/messages, runs/retry, runs/defer, runs/fallback.

create function worker.finish_run(run_id uuid, status public.run_status, error_code text, event_data jsonb) returns void
language plpgsql set search_path = '' as $$
begin
    update public.search_runs as run
    set status = finish_run.status, error_code = finish_run.error_code,
        error_message = (select known.error_message from worker.site_errors(run.id) as known),
        progress = jsonb_build_object('step', 'finished'), completed_at = worker.now()
    where run.id = finish_run.run_id;
    insert into public.run_events (run_id, event, data, created_at)
    values (finish_run.run_id, 'finished', event_data || jsonb_build_object('status', finish_run.status), worker.now());
    perform worker.announce_ended_runs(array[finish_run.run_id]);
end;
$$;
comment on function worker.finish_run is 'Gives a run its final status, with the sentences of the sites that failed.';

create function worker.site_outcomes(
    run_id uuid, out all_finished boolean, out all_completed boolean, out any_completed boolean,
    out any_retryable boolean
)
language sql stable set search_path = ''
begin atomic
    select bool_and(site.completed_at is not null),
           bool_and(site.all_completed),
           bool_or(site.status in ('completed', 'partial')),
           bool_or(site.retryable and not site.all_completed)
    from (
        select known.*, bool_and(known.status = 'completed') filter (where not known.is_fallback) over () as all_completed
        from public.search_run_sites as known
        where known.run_id = site_outcomes.run_id
    ) as site;
end;
comment on function worker.site_outcomes is
    'Returns how the sites of a run have ended, all together. Fallback sites are not among all_completed. How they ended '
    'does not matter if the others completed.';

create function worker.end_attempt(run_id uuid, lease_digest text) returns void
language plpgsql set search_path = '' as $$
declare
    sites record := worker.site_outcomes(end_attempt.run_id);
    event_data jsonb;
begin
    select jsonb_build_object('worker_id', lease.worker_id, 'attempt', run.attempts, 'lease_digest', lease_digest)
    into strict event_data
    from public.search_runs as run join worker.leases as lease on lease.run_id = run.id
    where run.id = end_attempt.run_id;

    if not sites.all_finished then
        perform worker.defer_run(end_attempt.run_id, event_data);
    elsif sites.any_retryable and exists (
        select from public.search_runs as run where run.id = end_attempt.run_id and run.attempts < run.max_attempts
    ) then
        perform worker.retry_run(end_attempt.run_id, event_data);
    else
        perform worker.finish_run(
            end_attempt.run_id,
            case when sites.all_completed then 'success'
                 when sites.any_completed then 'partial'
                 else 'failed' end::public.run_status,
            (worker.site_errors(end_attempt.run_id)).error_code, event_data);
    end if;
end;
$$;
comment on function worker.end_attempt is
    'Ends a leased run whose sites have all ended or wait, or puts it back into the queue.';

create function public.worker_finish_run(run_id uuid, lease_token uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    lease_digest text := encode(sha256(convert_to(lease_token::text, 'UTF8')), 'hex');
    fallbacks jsonb := '[]'::jsonb;
begin
    -- The lease is gone after the first call, whose answer may be lost or still under way.
    perform from public.search_runs as run where run.id = worker_finish_run.run_id for no key update;
    if not exists (
        select from public.run_events as event
        where event.run_id = worker_finish_run.run_id and event.event in ('finished', 'retried', 'deferred')
          and event.data ->> 'lease_digest' = lease_digest
    ) then
        perform worker.lock_lease(worker_finish_run.run_id, lease_token);
        if exists (
            select from public.search_run_sites as site
            where site.run_id = worker_finish_run.run_id and site.completed_at is null and not site.is_fallback
              and not exists (
                select from worker.site_waits as wait where wait.run_id = site.run_id and wait.site = site.site)
        ) then
            raise sqlstate '22023' using
                message = 'run_id must be the id of a run whose sites have all finished or wait';
        end if;
        fallbacks := worker.fallbacks_to_search(worker_finish_run.run_id, lease_token);
        if fallbacks = '[]' then
            perform worker.end_attempt(worker_finish_run.run_id, lease_digest);
        end if;
    end if;

    return (
        select to_jsonb(run) || jsonb_build_object('fallbacks', fallbacks, 'sites', (
            select jsonb_agg(to_jsonb(searched) order by searched.position)
            from public.search_run_sites as searched where searched.run_id = run.id))
        from public.search_runs as run where run.id = worker_finish_run.run_id
    );
end;
$$;
comment on function public.worker_finish_run is
    'Ends a run: success if all sites completed, partial if some did, failed if none did. Instead, the run is '
    'pending again from run_after on: while unfinished sites wait, which counts no attempt; or to retry sites, with '
    'attempts left. Returns the run with its sites. If fallbacks are needed, the run continues: search these, in the form '
    'of worker_claim_runs, and call it again. Idempotent.';
