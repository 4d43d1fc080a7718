-- What the worker may do, all of it: each function is fenced by the lease token and safe to call twice.
-- They run as their owner, so that service_role needs no right of its own on the private tables.

create function worker.hold_lease(run_id uuid, lease_token uuid) returns void
language plpgsql set search_path = '' as $$
begin
    -- The run before its lease, here and everywhere: whoever ends a run locks them in this order.
    perform from public.search_runs as run where run.id = hold_lease.run_id for no key update;
    perform from worker.leases as lease
    where lease.run_id = hold_lease.run_id and lease.token = hold_lease.lease_token
    for update;
    if not found then
        raise sqlstate 'PT409' using
            message = coalesce(
                (select 'cancelled' from public.search_runs as run
                 where run.id = hold_lease.run_id and run.status = 'cancelled'),
                'lease_lost'),
            detail = format('The token is not the one that run %s is leased with.', hold_lease.run_id),
            hint = 'Stop working on this run.';
    end if;
end;
$$;
comment on function worker.hold_lease is
    'Locks a lease until the transaction ends; raises PT409 (HTTP 409) lease_lost or cancelled.';

create function worker.require_site(run_id uuid, site text) returns void
language plpgsql stable set search_path = '' as $$
begin
    if not exists (select from public.search_run_sites as known
                   where known.run_id = require_site.run_id and known.site = require_site.site) then
        raise sqlstate '22023' using message = format('site must be one of the run''s, not %L', site);
    end if;
end;
$$;
comment on function worker.require_site is 'Raises 22023 (HTTP 400) unless the site is one of the run''s.';

create function worker.write_progress(run_id uuid, progress jsonb) returns void
language sql volatile set search_path = ''
begin atomic
    update public.search_run_sites as site
    set jobs_found = counted.jobs_found
    from (
        select result.site, count(*) as jobs_found
        from public.search_results as result
        where result.run_id = write_progress.run_id
        group by result.site
    ) as counted
    where site.run_id = write_progress.run_id and site.site = counted.site
      and site.jobs_found <> counted.jobs_found;

    update public.search_runs as run
    set jobs_found = summed.jobs_found,
        progress_current = greatest(run.progress_current, summed.progress_current),
        progress = write_progress.progress
    from (
        select sum(site.jobs_found) as jobs_found,
               sum(case when site.completed_at is null then least(site.jobs_found, wanted.results)
                        else wanted.results end) as progress_current
        from public.search_run_sites as site,
            (select worker.results_wanted(r.kind, r.parameters) as results
             from public.search_runs as r where r.id = write_progress.run_id) as wanted
        where site.run_id = write_progress.run_id
    ) as summed
    where run.id = write_progress.run_id;
end;
comment on function worker.write_progress is 'Writes a run''s counts and progress, derived from its results and sites.';

create function worker.return_to_queue(run_ids uuid[], event text) returns void
language plpgsql set search_path = '' as $$
begin
    insert into public.run_events (run_id, event, data, created_at)
    select lease.run_id, return_to_queue.event, jsonb_build_object('worker_id', lease.worker_id), worker.now()
    from worker.leases as lease
    where lease.run_id = any (run_ids);

    delete from worker.leases as lease where lease.run_id = any (run_ids);

    update public.search_run_sites as site
    set status = 'pending', started_at = null
    where site.run_id = any (run_ids) and site.status = 'running';

    update public.search_runs as run
    set status = 'pending', attempts = run.attempts - 1, progress = jsonb_build_object('step', 'queued')
    where run.id = any (run_ids);
end;
$$;
comment on function worker.return_to_queue is
    'Puts leased runs back to their old place in the queue; the attempt is not counted.';

create function worker.rescue_expired_leases() returns void
language plpgsql set search_path = '' as $$
declare
    settings worker.settings;
    expired uuid[];
    lost uuid[];
begin
    select * into strict settings from worker.settings;

    select array_agg(locked.id) into expired
    from (
        select run.id
        from worker.leases as lease
        join public.search_runs as run on run.id = lease.run_id
        where lease.expires_at < worker.now()
        order by lease.expires_at
        limit settings.rescue_batch
        for no key update of run skip locked
    ) as locked;

    -- Once more: a heartbeat needs no lock on the run, and may have come in between, or be at it.
    select array_agg(locked.run_id) into expired
    from (
        select lease.run_id from worker.leases as lease
        where lease.run_id = any (expired) and lease.expires_at < worker.now()
        for update skip locked
    ) as locked;
    if expired is null then
        return;
    end if;

    update public.search_runs as run set rescues = run.rescues + 1 where run.id = any (expired);
    perform worker.return_to_queue(expired, 'rescued');

    select array_agg(run.id) into lost
    from public.search_runs as run
    where run.id = any (expired) and run.rescues > settings.max_rescues;

    update public.search_run_sites as site
    set status = case when exists (select from public.search_results as result
                                   where result.run_id = site.run_id and result.site = site.site)
                      then 'partial' else 'failed' end::public.site_status,
        completed_at = worker.now(), error_code = 'worker_lost', retryable = false,
        error_message = format('%s workers died with this run', settings.max_rescues + 1)
    where site.run_id = any (lost) and site.completed_at is null;

    perform worker.write_progress(run_id, '{}'),
            worker.finish(run_id, 'failed', 'worker_lost',
                          format('%s workers died with this run', settings.max_rescues + 1), '{}')
    from unnest(lost) as run_id;
end;
$$;
comment on function worker.rescue_expired_leases is
    'Takes runs back from workers that stopped their heartbeats, a bounded number at a time.';

create function worker.promote_due_runs() returns void
language plpgsql set search_path = '' as $$
declare
    due public.search_runs;
begin
    for due in
        select run.* from public.search_runs as run
        where run.status = 'pending' and run.run_after <= worker.now()
        order by run.run_after
        limit (select rescue_batch from worker.settings)
        for no key update skip locked
    loop
        -- One that is tried again never stopped leading.
        if due.attempts > 0 then
            due.run_after := null;
        else
            due := worker.share(due, may_wait => false);
        end if;
        continue when due.run_after is not null;

        update public.search_runs as run
        set run_after = null, position = worker.next_position(due.user_id, due.priority),
            leader_run_id = due.leader_run_id, shared_run_id = due.shared_run_id, status = due.status,
            jobs_found = due.jobs_found, progress_current = due.progress_current, progress = due.progress,
            completed_at = due.completed_at
        where run.id = due.id;
        if due.leader_run_id is not null or due.shared_run_id is not null then
            delete from public.search_run_sites as site where site.run_id = due.id;
        end if;
        if due.leader_run_id is not null then
            perform worker.follow(array[due.id]);
        elsif due.shared_run_id is not null then
            perform worker.tell_answered(array[due.id]);
        end if;
    end loop;
end;
$$;
comment on function worker.promote_due_runs is
    'Makes delayed runs claimable once they are due, a bounded number at a time, unless another run searches for them.';

create function worker.finish(
    run_id uuid, status public.run_status, error_code text, error_message text, event_data jsonb
) returns void
language plpgsql set search_path = '' as $$
begin
    perform worker.hold_followers(finish.run_id);
    update public.search_runs as run
    set status = finish.status, error_code = finish.error_code, error_message = finish.error_message,
        progress = jsonb_build_object('step', 'finished'), completed_at = worker.now()
    where run.id = finish.run_id;
    insert into public.run_events (run_id, event, data, created_at)
    values (finish.run_id, 'finished', event_data || jsonb_build_object('status', finish.status), worker.now());
end;
$$;
comment on function worker.finish is 'Gives a run its final status, and its followers theirs.';

create function worker.retry(run_id uuid, error_code text, error_message text, event_data jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    settings worker.settings;
    next_attempt_at timestamptz;
    failed text[];
begin
    select * into strict settings from worker.settings;

    with reopened as (
        update public.search_run_sites as site
        set status = 'pending', started_at = null, completed_at = null
        where site.run_id = retry.run_id and site.status in ('partial', 'failed') and site.retryable
        returning site.site, site.position
    )
    select array_agg(reopened.site order by reopened.position) into failed from reopened;

    delete from worker.leases as lease where lease.run_id = retry.run_id;

    update public.search_runs as run
    set status = 'pending', error_code = retry.error_code, error_message = retry.error_message,
        progress = jsonb_build_object('step', 'retrying', 'details', jsonb_build_object('sites', failed)),
        run_after = worker.now() + (0.75 + 0.5 * random())
            * least(settings.max_retry_delay, settings.retry_delay * 2 ^ (run.attempts - 1))
    where run.id = retry.run_id
    returning run.run_after into next_attempt_at;

    insert into public.run_events (run_id, event, data, created_at)
    values (retry.run_id, 'retried',
            event_data || jsonb_build_object('sites', failed, 'run_after', next_attempt_at), worker.now());
end;
$$;
comment on function worker.retry is
    'Puts a run back for another attempt, later, at the sites that failed in a way that may pass.';

create function worker.within_running_limit(run_ids uuid[], may_wait boolean) returns uuid[]
language plpgsql set search_path = '' as $$
declare
    most integer := (select max_running_per_user from worker.settings);
    countable uuid[];
begin
    if most is null then
        return run_ids;
    end if;
    -- Counting is safe only while no other claim starts runs of the same users: one after another, in the order of the
    -- ids. Who holds such locks already must not wait for more: two claims would wait for each other in a circle.
    with ready as materialized (
        select distinct run.user_id, hashtextextended('worker.within_running_limit ' || run.user_id, 0) as key
        from public.search_runs as run
        where run.id = any (run_ids)
        order by run.user_id
    )
    select array_agg(ready.user_id) into countable from ready
    where case when may_wait then pg_advisory_xact_lock(ready.key) is not null
               else pg_try_advisory_xact_lock(ready.key) end;

    return array(
        select ready.id
        from (
            select run.id, run.user_id,
                   row_number() over (partition by run.user_id order by run.priority desc, run.position) as nth
            from public.search_runs as run
            where run.id = any (run_ids) and run.user_id = any (countable)
        ) as ready
        where ready.nth + (
            select count(*) from public.search_runs as run
            where run.user_id = ready.user_id and run.status = 'running'
        ) <= most
    );
end;
$$;
comment on function worker.within_running_limit is
    'Returns those of the ready runs that may start without exceeding max_running_per_user, first come first served. '
    'Unless it may wait, runs of users whom another claim is counting are not among them.';

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
    limited_users uuid[] := array[]::uuid[];
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
        perform worker.free_followers();
        perform worker.promote_due_runs();

        -- A user who reaches max_running_per_user leaves the other slots to the next ones.
        loop
            select array_agg(locked.id) into ready
            from (
                select run.id from public.search_runs as run
                where run.status = 'pending' and run.run_after is null and run.leader_run_id is null
                  and run.kind = any (worker_claim_runs.kinds)
                  and run.user_id <> all (limited_users)
                  and run.user_id not in (
                      select running.user_id from public.search_runs as running
                      where running.status = 'running'
                      group by running.user_id
                      having count(*) >= (select max_running_per_user from worker.settings))
                order by run.priority desc, run.position
                limit free_slots
                for update skip locked
            ) as locked;
            exit when ready is null;

            -- Not within the update: there it would be called for each run of the table, and count what it just started.
            startable := worker.within_running_limit(ready, may_wait => limited_users = '{}');

            with claimed as (
                update public.search_runs as run
                set status = 'running', attempts = run.attempts + 1, error_code = null, error_message = null,
                    started_at = coalesce(run.started_at, worker.now()),
                    progress = jsonb_build_object('step', 'starting')
                where run.id = any (startable)
                returning run.id, run.attempts
            ), leased as (
                insert into worker.leases (run_id, worker_id, claim_id, duration, expires_at)
                select claimed.id, worker_claim_runs.worker_id, worker_claim_runs.claim_id,
                       make_interval(secs => lease_seconds), worker.now() + make_interval(secs => lease_seconds)
                from claimed
            )
            insert into public.run_events (run_id, event, data, created_at)
            select claimed.id, 'claimed',
                   jsonb_build_object('worker_id', worker_claim_runs.worker_id, 'attempt', claimed.attempts),
                   worker.now()
            from claimed;

            exit when startable @> ready;
            free_slots := free_slots - cardinality(startable);
            limited_users := limited_users || array(
                select distinct run.user_id from public.search_runs as run
                where run.id = any (ready) and run.id <> all (startable));
        end loop;
    end if;

    return query
    select run.id, lease.token, run.kind, run.parameters, run.newer_than, run.attempts::integer,
           run.max_attempts::integer, (
        select coalesce(jsonb_agg(jsonb_build_object('site', site.site, 'attempt', site.attempts + 1)
                                  order by site.position), '[]')
        from public.search_run_sites as site
        where site.run_id = run.id and site.completed_at is null
    )
    from worker.leases as lease
    join public.search_runs as run on run.id = lease.run_id
    where lease.claim_id = worker_claim_runs.claim_id
    order by run.priority desc, run.position;
end;
$$;
comment on function public.worker_claim_runs is
    'Leases up to `slots` ready runs of the given kinds, and extends the leases [{run_id, lease_token}] that are held. '
    'The same claim_id again returns the same runs.';

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

create function public.worker_start_site(run_id uuid, lease_token uuid, site text, attempt integer) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
    perform worker.hold_lease(worker_start_site.run_id, lease_token);
    perform worker.require_site(worker_start_site.run_id, worker_start_site.site);

    update public.search_run_sites as started
    set status = 'running', attempts = worker_start_site.attempt, started_at = worker.now(),
        error_code = null, error_message = null, retryable = null
    where started.run_id = worker_start_site.run_id and started.site = worker_start_site.site
      and started.status = 'pending';
    if found then
        perform worker.write_progress(worker_start_site.run_id,
            jsonb_build_object('step', 'searching', 'site', worker_start_site.site));
        insert into public.run_events (run_id, event, site, data, created_at)
        values (worker_start_site.run_id, 'site_started', worker_start_site.site,
                jsonb_build_object('attempt', worker_start_site.attempt), worker.now());
    end if;
end;
$$;
comment on function public.worker_start_site is 'Marks a site of a run as being searched.';

create function public.worker_finish_site(
    run_id uuid, lease_token uuid, site text,
    error_code text default null, error_message text default null, retryable boolean default null
) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    found_here integer;
    outcome public.site_status;
begin
    perform worker.hold_lease(worker_finish_site.run_id, lease_token);
    perform worker.require_site(worker_finish_site.run_id, worker_finish_site.site);

    if worker_finish_site.error_code is null then
        select 'unverified', true, format('%s of %s pages could not be read; they are kept, to be read anew',
                                          count(*) filter (where page.status = 'failed'), count(*))
        into worker_finish_site.error_code, worker_finish_site.retryable, worker_finish_site.error_message
        from worker.raw_collections as page
        join public.search_run_sites as searched
            on searched.run_id = page.run_id and searched.site = page.site and searched.attempts = page.attempt
        where page.run_id = worker_finish_site.run_id and page.site = worker_finish_site.site
        having bool_or(page.status = 'failed');
    end if;

    select count(*) into found_here from public.search_results as result
    where result.run_id = worker_finish_site.run_id and result.site = worker_finish_site.site;
    outcome := case when worker_finish_site.error_code is null then 'completed'
                    when found_here > 0 then 'partial'
                    else 'failed' end::public.site_status;

    -- Status and count in one write: each one is an event to every subscriber.
    update public.search_run_sites as finished
    set status = outcome, jobs_found = found_here, error_code = worker_finish_site.error_code,
        error_message = worker_finish_site.error_message,
        retryable = case when worker_finish_site.error_code is not null then worker_finish_site.retryable end,
        completed_at = worker.now()
    where finished.run_id = worker_finish_site.run_id and finished.site = worker_finish_site.site
      and finished.completed_at is null;
    if not found then
        return;
    end if;

    perform worker.write_progress(worker_finish_site.run_id,
        jsonb_build_object('step', 'site_finished', 'site', worker_finish_site.site));
    perform worker.tell_followers(worker_finish_site.run_id);

    insert into public.run_events (run_id, event, site, data, created_at)
    values (worker_finish_site.run_id, 'site_finished', worker_finish_site.site, jsonb_strip_nulls(jsonb_build_object(
        'status', outcome, 'error_code', worker_finish_site.error_code)), worker.now());

    -- What a user got wrong says nothing about the site.
    insert into worker.site_health as health (site, last_success_at, last_failure_at, last_error_code, consecutive_failures)
    select worker_finish_site.site,
           case when worker_finish_site.error_code is null then worker.now() end,
           case when worker_finish_site.error_code is not null then worker.now() end,
           worker_finish_site.error_code,
           case when worker_finish_site.error_code is null then 0 else 1 end
    where worker_finish_site.error_code is distinct from 'invalid_parameters'
    on conflict (site) do update set
        last_success_at = coalesce(excluded.last_success_at, health.last_success_at),
        last_failure_at = coalesce(excluded.last_failure_at, health.last_failure_at),
        last_error_code = coalesce(excluded.last_error_code, health.last_error_code),
        consecutive_failures = case when excluded.consecutive_failures = 0 then 0
                                    else health.consecutive_failures + 1 end;
end;
$$;
comment on function public.worker_finish_site is
    'Ends a site: completed without an error, partial if results came before it, failed if none did. A page that could '
    'not be read is an error, too: unverified. Again changes nothing.';

create function public.worker_finish_run(run_id uuid, lease_token uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    lease_digest text := encode(sha256(convert_to(lease_token::text, 'UTF8')), 'hex');
    event_data jsonb;
    sites record;
begin
    -- The answer to the first call may have got lost, or be under way; by then the lease is gone.
    perform from public.search_runs as run where run.id = worker_finish_run.run_id for no key update;
    if not exists (
        select from public.run_events as event
        where event.run_id = worker_finish_run.run_id and event.event in ('finished', 'retried')
          and event.data ->> 'lease_digest' = lease_digest
    ) then
        perform worker.hold_lease(worker_finish_run.run_id, lease_token);

        select bool_and(site.completed_at is not null) as all_finished,
               bool_and(site.status = 'completed') as all_completed,
               bool_or(site.status in ('completed', 'partial')) as any_completed,
               bool_or(site.retryable) as any_retryable,
               (array_agg(site.error_code order by site.position)
                    filter (where site.error_code is not null))[1] as error_code,
               string_agg(format('%s: %s', site.site, site.error_message), '; ' order by site.position)
                    filter (where site.error_code is not null) as error_message
        into strict sites
        from public.search_run_sites as site
        where site.run_id = worker_finish_run.run_id;

        if sites.all_finished is not true then
            raise sqlstate '22023' using message = 'run_id must be of a run whose sites are all finished';
        end if;

        select jsonb_build_object('worker_id', lease.worker_id, 'attempt', run.attempts, 'lease_digest', lease_digest)
        into strict event_data
        from public.search_runs as run join worker.leases as lease on lease.run_id = run.id
        where run.id = worker_finish_run.run_id;

        if sites.any_retryable and exists (
            select from public.search_runs as run
            where run.id = worker_finish_run.run_id and run.attempts < run.max_attempts
        ) then
            perform worker.retry(worker_finish_run.run_id, sites.error_code, sites.error_message, event_data);
        else
            perform worker.finish(
                worker_finish_run.run_id,
                case when sites.all_completed then 'success'
                     when sites.any_completed then 'partial'
                     else 'failed' end::public.run_status,
                sites.error_code, sites.error_message, event_data);
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
    'Ends a run: success if all sites completed, partial if some did, failed if none. With attempts left, and a site whose '
    'failure may pass, it is pending again instead, from run_after on. Returns it with its sites; again changes nothing.';

create function public.worker_release_runs(worker_id text, leases jsonb) returns void
language plpgsql security definer set search_path = '' as $$
declare
    held uuid[];
begin
    perform from public.search_runs as run
    join jsonb_to_recordset(worker_release_runs.leases) as asked (run_id uuid) on asked.run_id = run.id
    order by run.id
    for no key update of run;

    select array_agg(locked.run_id) into held
    from (
        select lease.run_id
        from worker.leases as lease
        join jsonb_to_recordset(worker_release_runs.leases) as asked (run_id uuid, lease_token uuid)
            on asked.run_id = lease.run_id and asked.lease_token = lease.token
        where lease.worker_id = worker_release_runs.worker_id
        order by lease.run_id
        for update of lease
    ) as locked;
    perform worker.return_to_queue(held, 'released');
end;
$$;
comment on function public.worker_release_runs is
    'Gives leased runs [{run_id, lease_token}] back to the queue, for another worker to go on; the attempt is not counted.';
