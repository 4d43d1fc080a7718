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

create function worker.site_progress(former jsonb, told jsonb) returns jsonb
language sql immutable set search_path = ''
return pg_catalog.jsonb_strip_nulls(
    told - 'site' || case
        when former ->> 'step' = told ->> 'step'
            then pg_catalog.jsonb_build_object(
                'current', greatest((former ->> 'current')::numeric, (told ->> 'current')::numeric),
                'total', coalesce(nullif(told -> 'total', 'null'), former -> 'total'))
        else '{}'
    end);
comment on function worker.site_progress is
    'A site''s progress after what its search tells: within a step its current never falls, and its total stays until another '
    'one is told.';

create function worker.run_counts(run_id uuid) returns table (jobs_found bigint, progress_current bigint)
language sql stable set search_path = ''
begin atomic
    select sum(site.jobs_found),
           sum(case when site.completed_at is null then least(site.jobs_found, wanted.results) else wanted.results end)
    from public.search_run_sites as site,
        (select worker.results_wanted(run.kind, run.parameters) as results
         from public.search_runs as run where run.id = run_counts.run_id) as wanted
    where site.run_id = run_counts.run_id;
end;
comment on function worker.run_counts is 'A run''s results, and how far it is, as its sites have them.';

create function worker.write_progress(run_id uuid, progress jsonb) returns void
language sql volatile set search_path = ''
begin atomic
    update public.search_run_sites as site
    set jobs_found = counted.jobs_found, progress = counted.progress
    from (
        select searched.site, coalesce(found.results, 0) as jobs_found,
               -- A site that has ended tells so itself.
               case when searched.site = write_progress.progress ->> 'site' and searched.completed_at is null
                    then worker.site_progress(searched.progress, write_progress.progress)
                    else searched.progress end as progress
        from public.search_run_sites as searched
        left join (
            select result.site, count(*) as results
            from public.search_results as result
            where result.run_id = write_progress.run_id
            group by result.site
        ) as found on found.site = searched.site
        where searched.run_id = write_progress.run_id
    ) as counted
    where site.run_id = write_progress.run_id and site.site = counted.site
      and (site.jobs_found, site.progress) is distinct from (counted.jobs_found, counted.progress);

    update public.search_runs as run
    set jobs_found = counts.jobs_found,
        progress_current = greatest(run.progress_current, counts.progress_current),
        progress = jsonb_strip_nulls(write_progress.progress)
    from worker.run_counts(write_progress.run_id) as counts
    where run.id = write_progress.run_id;
end;
comment on function worker.write_progress is
    'Writes a run''s counts, derived from its results and sites, and the progress {step, site, current, total, details} of the '
    'run and of the site that is searched.';

create function worker.may_write_progress(run_id uuid) returns boolean
language sql stable set search_path = ''
begin atomic
    select run.updated_at <= worker.now() - settings.progress_interval
    from public.search_runs as run, worker.settings as settings
    where run.id = may_write_progress.run_id;
end;
comment on function worker.may_write_progress is 'Whether the last write of a run was not just now.';

create function worker.return_to_queue(run_ids uuid[], event text) returns void
language plpgsql set search_path = '' as $$
begin
    insert into public.run_events (run_id, event, data, created_at)
    select lease.run_id, return_to_queue.event, jsonb_build_object('worker_id', lease.worker_id), worker.now()
    from worker.leases as lease
    where lease.run_id = any (run_ids);

    delete from worker.leases as lease where lease.run_id = any (run_ids);

    update public.search_run_sites as site
    set status = 'pending', progress = worker.with_step(site.progress, 'queued'), started_at = null
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
        progress = worker.with_step(site.progress, 'finished'), completed_at = worker.now(),
        error_code = 'worker_lost', retryable = false,
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
        due.position := worker.next_position(due.user_id, due.priority);
        -- One that has begun never stopped leading.
        if due.started_at is not null then
            due.run_after := null;
        else
            due := worker.share(due, may_wait => false);
        end if;
        continue when due.run_after is not null;

        update public.search_runs as run
        set run_after = null, position = due.position,
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
    failed text[];
    asked_again_at timestamptz;
    next_attempt_at timestamptz;
begin
    select * into strict settings from worker.settings;

    with reopened as (
        update public.search_run_sites as site
        set status = 'pending', progress = worker.with_step(site.progress, 'retrying'), started_at = null,
            completed_at = null
        where site.run_id = retry.run_id and site.status in ('partial', 'failed') and site.retryable
        returning site.site, site.position
    )
    -- A pause that is longer than a run waits is not waited for: the site then ends with its cause.
    select array_agg(reopened.site order by reopened.position),
           min(coalesce(health.paused_until, '-infinity'))
    into failed, asked_again_at
    from reopened
    left join worker.site_health as health
        on health.site = reopened.site and health.account = coalesce(worker.account_of(retry.run_id, reopened.site), '')
       and health.paused_until <= worker.now() + settings.max_site_wait;

    delete from worker.leases as lease where lease.run_id = retry.run_id;

    update public.search_runs as run
    set status = 'pending', error_code = retry.error_code, error_message = retry.error_message,
        progress = jsonb_build_object('step', 'retrying', 'details', jsonb_build_object('sites', failed)),
        run_after = greatest(asked_again_at, worker.now() + (0.75 + 0.5 * random())
            * least(settings.max_retry_delay, settings.retry_delay * 2 ^ (run.attempts - 1)))
    where run.id = retry.run_id
    returning run.run_after into next_attempt_at;

    insert into public.run_events (run_id, event, data, created_at)
    values (retry.run_id, 'retried',
            event_data || jsonb_build_object('sites', failed, 'run_after', next_attempt_at), worker.now());
end;
$$;
comment on function worker.retry is
    'Puts a run back for another attempt, later, at the sites that failed in a way that may pass: not before one of them is '
    'out of its pause.';

create function worker.waiting_progress(former jsonb, wait jsonb) returns jsonb
language sql immutable set search_path = ''
return worker.with_step(former, 'waiting') || pg_catalog.jsonb_build_object('details', pg_catalog.jsonb_build_object(
    'until', wait -> 'until', 'reason', wait -> 'reason', 'message', wait -> 'message'));
comment on function worker.waiting_progress is 'How far a site was that has to wait, and what for.';

create function worker.defer(run_id uuid, error_code text, error_message text, event_data jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    waiting jsonb;
    first_due_at timestamptz;
    is_telling boolean;
begin
    select jsonb_agg(jsonb_build_object('site', wait.site, 'until', wait.due_at, 'reason', wait.reason,
                                        'message', wait.message) order by site.position),
           greatest(min(wait.due_at), worker.now())
    into strict waiting, first_due_at
    from worker.site_waits as wait
    join public.search_run_sites as site on site.run_id = wait.run_id and site.site = wait.site
    where wait.run_id = defer.run_id and site.completed_at is null;

    -- Of many short waits, not each: what thousands follow would be thousands of changes every time.
    is_telling := first_due_at > worker.now() + interval '1 minute' or not exists (
        select from public.run_events as event
        where event.run_id = defer.run_id and event.event = 'deferred'
          and event.created_at > worker.now() - interval '1 minute');

    delete from worker.leases as lease where lease.run_id = defer.run_id;

    update public.search_run_sites as site
    set status = 'pending', started_at = null, progress = worker.waiting_progress(site.progress, told.wait),
        jobs_found = (select count(*) from public.search_results as result
                      where result.run_id = site.run_id and result.site = site.site)
    from jsonb_array_elements(waiting) as told (wait)
    where site.run_id = defer.run_id and site.site = told.wait ->> 'site'
      and (site.status = 'running' or site.progress <> worker.waiting_progress(site.progress, told.wait));

    update public.search_runs as run
    set status = 'pending', attempts = run.attempts - 1, error_code = defer.error_code, error_message = defer.error_message,
        jobs_found = counts.jobs_found, progress_current = greatest(run.progress_current, counts.progress_current),
        progress = jsonb_build_object('step', 'waiting', 'details', jsonb_build_object('sites', waiting)),
        run_after = first_due_at
    from worker.run_counts(defer.run_id) as counts
    where run.id = defer.run_id;

    insert into public.run_events (run_id, event, data, created_at)
    values (defer.run_id, 'deferred',
            event_data || jsonb_build_object('sites', waiting, 'run_after', first_due_at), worker.now());

    if is_telling then
        perform worker.tell_followers(defer.run_id);
        -- A run that is joining it now is not seen: the next claim updates it.
        insert into worker.ended_leaders (run_id, fingerprint, tried_at)
        select run.id, run.fingerprint, worker.now() from public.search_runs as run
        where run.id = defer.run_id and not worker.hold_search(run.fingerprint, may_wait => false);
    end if;
end;
$$;
comment on function worker.defer is
    'Puts a run back whose unfinished sites all wait, until the first of them may be asked; the attempt is not counted. Its '
    'followers are told of a wait of more than a minute, and at most once a minute of others.';

create function worker.who_has_room(run_ids uuid[], full_users uuid[], may_wait boolean)
returns table (run_id uuid, user_id uuid, asked uuid[])
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    most integer := (select max_running_per_user from worker.settings);
    countable uuid[];
    charged uuid[] := array[]::uuid[];
    ready record;
    asking uuid;
begin
    if most is null then
        return query
        select run.id, run.user_id, array[run.user_id] from public.search_runs as run where run.id = any (run_ids);
        return;
    end if;
    -- Counting is safe only while no other claim starts runs of the same users: one after another, in the order of the
    -- ids. Who holds such locks already must not wait for more: two claims would wait for each other in a circle.
    with ready as materialized (
        select distinct run.user_id, hashtextextended('worker.who_has_room ' || run.user_id, 0) as key
        from public.search_runs as run
        where run.id = any (run_ids)
        order by run.user_id
    )
    select coalesce(array_agg(ready.user_id), '{}') into countable from ready
    where case when may_wait then pg_advisory_xact_lock(ready.key) is not null
               else pg_try_advisory_xact_lock(ready.key) end;

    for ready in
        select run.id, run.user_id from public.search_runs as run
        where run.id = any (run_ids)
        order by run.priority desc, run.position
    loop
        run_id := ready.id;
        user_id := null;
        asked := array[ready.user_id];
        loop
            foreach asking in array asked loop
                if asking <> all (countable) and asking <> ready.user_id
                   and pg_try_advisory_xact_lock(hashtextextended('worker.who_has_room ' || asking, 0)) then
                    countable := countable || asking;
                end if;
                if asking = any (countable) and cardinality(array_positions(charged, asking)) + (
                    select count(*) from worker.leases as lease where lease.user_id = asking
                ) < most then
                    user_id := asking;
                    charged := charged || asking;
                    exit;
                end if;
            end loop;
            exit when user_id is not null or cardinality(asked) > 1;
            asked := asked || array(
                select distinct follower.user_id from public.search_runs as follower
                where follower.leader_run_id = ready.id and follower.user_id <> all (full_users || ready.user_id)
                order by follower.user_id
                limit 10);
            exit when cardinality(asked) = 1;
        end loop;
        return next;
    end loop;
end;
$$;
comment on function worker.who_has_room is
    'For each of the ready runs, first come first served, a user for whom it may start without exceeding max_running_per_user: its '
    'owner, else one of those who follow it, up to ten at a time; null if none may. asked are those who were looked at. Unless it may '
    'wait, users whom another claim is counting have no room.';

create function worker.account_of(run_id uuid, site text) returns text
language sql stable set search_path = ''
begin atomic
    select known.account
    from public.search_runs as run
    join worker.accounts as known on known.user_id = run.user_id and known.site = account_of.site
    where run.id = account_of.run_id and (known.workspace_id = run.workspace_id or known.workspace_id is null)
    order by known.workspace_id nulls last
    limit 1;
end;
comment on function worker.account_of is
    'The account through which a run searches a site: its user''s for the run''s workspace, else the user''s own; or null.';

create function worker.pages_of_search(run_id uuid, site text) returns table (
    attempt smallint, page_number integer, status text, account text, cursor jsonb, is_last boolean, response_ms integer
)
language sql stable set search_path = ''
begin atomic
    select page.attempt, page.page_number, page.status, page.account, page.cursor, page.is_last, page.response_ms
    from worker.raw_collections as page
    where page.run_id = pages_of_search.run_id and page.site = pages_of_search.site
      and page.attempt >= (
        select max(first.attempt) from worker.raw_collections as first
        where first.run_id = pages_of_search.run_id and first.site = pages_of_search.site and first.page_number = 1);
end;
comment on function worker.pages_of_search is
    'The saved pages of a run''s site since its search last began with the first page.';

create function worker.resume_point(run_id uuid, site text)
returns table (cursor jsonb, next_page integer, is_fetched boolean)
language sql stable set search_path = ''
begin atomic
    select case when last.is_fetched then null else last.cursor end, last.page_number + 1, last.is_fetched
    from (
        select page.page_number, page.cursor, page.is_last as is_fetched,
               page.is_last or (page.cursor is not null
                   and page.account = coalesce(worker.account_of(resume_point.run_id, resume_point.site), '')) as goes_on
        from worker.pages_of_search(resume_point.run_id, resume_point.site) as page
        order by page.page_number desc, page.attempt desc
        limit 1
    ) as last
    cross join lateral (
        select bool_or(page.status = 'failed') as is_unreadable, count(distinct page.page_number) as pages
        from worker.pages_of_search(resume_point.run_id, resume_point.site) as page
    ) as saved
    -- Not past a page that could not be read, that was refused, or that is too old to be kept.
    where last.goes_on and not saved.is_unreadable and saved.pages = last.page_number;
end;
comment on function worker.resume_point is
    'After which page the search of a site goes on, or that all of them are there; no row: it begins with the first page. A '
    'cursor is good only for the account that it came through.';

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
        perform worker.settle_followers();
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
                select known.* from worker.who_has_room(ready, full_users, may_wait => passed = '{}') as known
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

create function public.worker_start_site(
    run_id uuid, lease_token uuid, site text, attempt integer, account text default null, limits jsonb default '{}'
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    searched public.search_run_sites;
    admission jsonb := jsonb_build_object('granted', true, 'wait_seconds', 0);
begin
    perform worker.hold_lease(worker_start_site.run_id, lease_token);
    perform worker.require_site(worker_start_site.run_id, worker_start_site.site);
    select * into strict searched from public.search_run_sites as asked
    where asked.run_id = worker_start_site.run_id and asked.site = worker_start_site.site;

    -- What is there already has to wait for nobody.
    if searched.completed_at is null and not exists (
        select from worker.resume_point(searched.run_id, searched.site) as point where point.is_fetched
    ) then
        admission := worker.admit_site(searched.run_id, searched.site, coalesce(worker_start_site.account, ''),
                                       coalesce(worker_start_site.limits, '{}'));
    end if;
    if not (admission ->> 'granted')::boolean then
        update public.search_run_sites as refused
        set progress = worker.waiting_progress(refused.progress, admission)
        where refused.run_id = searched.run_id and refused.site = searched.site and admission ? 'until'
          and refused.progress <> worker.waiting_progress(refused.progress, admission);
    end if;
    if searched.status <> 'pending' or not (admission ->> 'granted')::boolean then
        return admission;
    end if;

    update public.search_run_sites as started
    set status = 'running', attempts = worker_start_site.attempt, started_at = worker.now(),
        progress = worker.with_step(started.progress, 'searching'),
        error_code = null, error_message = null, retryable = null
    where started.run_id = searched.run_id and started.site = searched.site;
    perform worker.write_progress(searched.run_id, jsonb_build_object('step', 'searching', 'site', searched.site));
    insert into public.run_events (run_id, event, site, data, created_at)
    values (searched.run_id, 'site_started', searched.site,
            jsonb_build_object('attempt', worker_start_site.attempt), worker.now());
    return admission;
end;
$$;
comment on function public.worker_start_site is
    'Marks a site of a run as being searched, if it may be: within `limits` ({bucket: limits of worker.model.SiteLimits}) and '
    'unless it is paused. Returns {granted: true, wait_seconds}; {granted: false, reason, message, retry_in_seconds, until}, '
    'when to ask again; or {granted: false, error_code, message}, which the site has to end with. Again changes nothing.';

create function public.worker_write_progress(run_id uuid, lease_token uuid, progress jsonb) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
    if jsonb_typeof(worker_write_progress.progress -> 'step') is distinct from 'string' then
        raise sqlstate '22023' using message = 'progress must be an object with a step, which is a text';
    end if;
    if jsonb_typeof(worker_write_progress.progress -> 'current') not in ('number', 'null') then
        raise sqlstate '22023' using message = 'progress.current must be a number';
    end if;
    perform worker.hold_lease(worker_write_progress.run_id, lease_token);
    perform worker.require_site(worker_write_progress.run_id, worker_write_progress.progress ->> 'site');
    if worker.may_write_progress(worker_write_progress.run_id) then
        perform worker.write_progress(worker_write_progress.run_id, worker_write_progress.progress);
    end if;
end;
$$;
comment on function public.worker_write_progress is
    'Tells how far a site of a run is, where no page does: progress is {step, site, current, total, details}. Dropped where '
    'progress was written just now (worker.settings.progress_interval).';

create function public.worker_finish_site(
    run_id uuid, lease_token uuid, site text, account text default null,
    error_code text default null, error_message text default null, retryable boolean default null,
    retry_after_seconds double precision default null
) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    found_here integer;
    was_asked boolean;
    response_ms real;
    outcome public.site_status;
begin
    perform worker.hold_lease(worker_finish_site.run_id, lease_token);
    perform worker.require_site(worker_finish_site.run_id, worker_finish_site.site);

    if worker_finish_site.error_code is null then
        select 'unverified', true, format('%s of %s pages could not be read; they are kept, to be read anew',
                                          count(*) filter (where page.status = 'failed'), count(*))
        into worker_finish_site.error_code, worker_finish_site.retryable, worker_finish_site.error_message
        from worker.pages_of_search(worker_finish_site.run_id, worker_finish_site.site) as page
        having bool_or(page.status = 'failed');
    end if;

    -- One that was refused was not asked, and says nothing of itself; nor does one that was waited for in vain, nor one
    -- whose last page was there before.
    select searched.status = 'running' and not exists (
               select from worker.site_waits as wait, worker.settings as settings
               where wait.run_id = searched.run_id and wait.site = searched.site and wait.waited > settings.max_site_wait
           ) and (
               worker_finish_site.error_code is not null or count(*) filter (where page.attempt = searched.attempts) > 0
               or not coalesce(bool_or(page.is_last), false)),
           avg(page.response_ms) filter (where page.attempt = searched.attempts)
    into was_asked, response_ms
    from public.search_run_sites as searched
    left join worker.pages_of_search(worker_finish_site.run_id, worker_finish_site.site) as page on true
    where searched.run_id = worker_finish_site.run_id and searched.site = worker_finish_site.site
    group by searched.id;

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
        -- Of a completed site jobs_found tells it all; the last progress may be a second old.
        progress = case outcome when 'completed' then '{"step": "finished"}'
                                else worker.with_step(finished.progress, 'finished') end,
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

    delete from worker.site_waits as wait
    where wait.run_id = worker_finish_site.run_id and wait.site = worker_finish_site.site;
    if was_asked then
        perform worker.note_site_end(worker_finish_site.run_id, worker_finish_site.site,
                                     coalesce(worker_finish_site.account, ''), worker_finish_site.error_code,
                                     worker_finish_site.retry_after_seconds, response_ms);
    end if;
end;
$$;
comment on function public.worker_finish_site is
    'Ends a site: completed without an error, partial if results came before it, failed if none did. A page that could '
    'not be read is an error, too: unverified. retry_after_seconds is how long the site asked to be left alone. Again changes '
    'nothing.';

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
        where event.run_id = worker_finish_run.run_id and event.event in ('finished', 'retried', 'deferred')
          and event.data ->> 'lease_digest' = lease_digest
    ) then
        perform worker.hold_lease(worker_finish_run.run_id, lease_token);

        select bool_and(site.completed_at is not null) as all_finished,
               bool_and(site.completed_at is not null or wait.site is not null) as others_wait,
               bool_and(site.status = 'completed') as all_completed,
               bool_or(site.status in ('completed', 'partial')) as any_completed,
               bool_or(site.retryable) as any_retryable,
               (array_agg(site.error_code order by site.position)
                    filter (where site.error_code is not null))[1] as error_code,
               string_agg(format('%s: %s', site.site, site.error_message), '; ' order by site.position)
                    filter (where site.error_code is not null) as error_message
        into strict sites
        from public.search_run_sites as site
        left join worker.site_waits as wait on wait.run_id = site.run_id and wait.site = site.site
        where site.run_id = worker_finish_run.run_id;

        if sites.others_wait is not true then
            raise sqlstate '22023' using message = 'run_id must be of a run whose sites are all finished, or wait';
        end if;

        select jsonb_build_object('worker_id', lease.worker_id, 'attempt', run.attempts, 'lease_digest', lease_digest)
        into strict event_data
        from public.search_runs as run join worker.leases as lease on lease.run_id = run.id
        where run.id = worker_finish_run.run_id;

        if not sites.all_finished then
            perform worker.defer(worker_finish_run.run_id, sites.error_code, sites.error_message, event_data);
        elsif sites.any_retryable and exists (
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
    'Ends a run: success if all sites completed, partial if some did, failed if none. It is pending again instead, from '
    'run_after on, while unfinished sites wait for their time, which counts no attempt; or with attempts left, and a site whose '
    'failure may pass. Returns it with its sites; again changes nothing.';

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

create function public.worker_set_account(user_id uuid, site text, account text, workspace_id uuid default null) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
    if not exists (
        select from worker.parameter_rules as rule
        where rule.name = 'sites' and (rule.allowed is null or worker_set_account.site = any (rule.allowed))
    ) then
        raise sqlstate '22023' using message = format('site must be one of %s, not %L', (
            select string_agg(distinct known.site, ', ' order by known.site)
            from worker.parameter_rules as rule, unnest(rule.allowed) as known (site) where rule.name = 'sites'), site);
    end if;
    if length(trim(worker_set_account.account)) not between 1 and 200 then
        raise sqlstate '22023' using message = 'account must be 1 to 200 characters long, or null to remove it';
    end if;

    if worker_set_account.account is null then
        delete from worker.accounts as former
        where former.user_id = worker_set_account.user_id and former.site = worker_set_account.site
          and former.workspace_id is not distinct from worker_set_account.workspace_id;
        return;
    end if;
    insert into worker.accounts (user_id, site, workspace_id, account)
    values (worker_set_account.user_id, worker_set_account.site, worker_set_account.workspace_id,
            trim(worker_set_account.account))
    on conflict on constraint accounts_account do update set account = excluded.account;
exception when foreign_key_violation or not_null_violation then
    raise sqlstate '22023' using message = 'user_id must be of a user';
end;
$$;
comment on function public.worker_set_account is
    'Has a site searched through this account for a user''s runs: for those of a workspace, or (null) for all others. An account '
    'of null removes it. Nobody else''s runs are searched through it, and no user gets to read it.';
