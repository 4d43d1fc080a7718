-- How does a run end? With success if all sites completed, partial if some did, failed if none did. Or it is deferred
-- while sites wait, or retried while attempts are left.
-- Calls: kernel/clock, kernel/run_sites, kernel/lease, webhooks/messages, runs/retry, runs/defer.

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
    run_id uuid, out all_finished boolean, out others_wait boolean, out all_completed boolean, out any_completed boolean,
    out any_retryable boolean
)
language sql stable set search_path = ''
begin atomic
    select bool_and(site.completed_at is not null),
           bool_and(site.completed_at is not null or wait.site is not null),
           bool_and(site.status = 'completed'),
           bool_or(site.status in ('completed', 'partial')),
           bool_or(site.retryable)
    from public.search_run_sites as site
    left join worker.site_waits as wait on wait.run_id = site.run_id and wait.site = site.site
    where site.run_id = site_outcomes.run_id;
end;
comment on function worker.site_outcomes is
    'Returns how the sites of a run have ended, all together.';

create function public.worker_finish_run(run_id uuid, lease_token uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    lease_digest text := encode(sha256(convert_to(lease_token::text, 'UTF8')), 'hex');
    event_data jsonb;
    sites record;
begin
    -- The lease is gone after the first call, whose answer may be lost or still under way.
    perform from public.search_runs as run where run.id = worker_finish_run.run_id for no key update;
    if not exists (
        select from public.run_events as event
        where event.run_id = worker_finish_run.run_id and event.event in ('finished', 'retried', 'deferred')
          and event.data ->> 'lease_digest' = lease_digest
    ) then
        perform worker.lock_lease(worker_finish_run.run_id, lease_token);

        sites := worker.site_outcomes(worker_finish_run.run_id);
        if sites.others_wait is not true then
            raise sqlstate '22023' using
                message = 'run_id must be the id of a run whose sites have all finished or wait';
        end if;

        select jsonb_build_object('worker_id', lease.worker_id, 'attempt', run.attempts, 'lease_digest', lease_digest)
        into strict event_data
        from public.search_runs as run join worker.leases as lease on lease.run_id = run.id
        where run.id = worker_finish_run.run_id;

        if not sites.all_finished then
            perform worker.defer_run(worker_finish_run.run_id, event_data);
        elsif sites.any_retryable and exists (
            select from public.search_runs as run
            where run.id = worker_finish_run.run_id and run.attempts < run.max_attempts
        ) then
            perform worker.retry_run(worker_finish_run.run_id, event_data);
        else
            perform worker.finish_run(
                worker_finish_run.run_id,
                case when sites.all_completed then 'success'
                     when sites.any_completed then 'partial'
                     else 'failed' end::public.run_status,
                (worker.site_errors(worker_finish_run.run_id)).error_code, event_data);
        end if;
    end if;

    return (
        select to_jsonb(run) || jsonb_build_object('sites', (
            select jsonb_agg(to_jsonb(searched) order by searched.position)
            from public.search_run_sites as searched where searched.run_id = run.id))
        from public.search_runs as run where run.id = worker_finish_run.run_id
    );
end;
$$;
comment on function public.worker_finish_run is
    'Ends a run: success if all sites completed, partial if some did, failed if none did. Instead, the run is '
    'pending again from run_after on: while unfinished sites wait, which counts no attempt; or to retry sites, with '
    'attempts left. Returns the run with its sites. Idempotent.';
