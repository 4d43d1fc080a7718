-- Runs cost less: set-based claims and ends, fewer lookups, and one call that ends runs and claims others.

create type worker.claim as (
    worker_id text, kinds text[], slots integer, lease_seconds integer, claim_id uuid, limits jsonb, exits jsonb,
    schema_version integer
);

create or replace function worker.now() returns timestamptz
language plpgsql stable set search_path = '' as $$
begin
    return clock_timestamp();
end;
$$;

create or replace function worker.clock_set_back_since(at timestamptz) returns interval
language plpgsql stable set search_path = '' as $$
begin
    -- In seconds, because days differ in length.
    return pg_catalog.make_interval(secs => extract(epoch from at - worker.now())::double precision);
end;
$$;

create or replace function worker.schema_version() returns integer
language sql immutable set search_path = ''
return 8;

create or replace function worker.with_step(progress jsonb, step text) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
    return progress - 'details' || pg_catalog.jsonb_build_object('step', step);
end;
$$;

create or replace function worker.run_counts(run public.search_runs, out jobs_found integer, out progress_current integer)
language plpgsql stable set search_path = '' as $$
begin
    if (run_counts.run).status in ('success', 'partial', 'failed') and (run_counts.run).progress_total is not null then
        progress_current := (run_counts.run).progress_total;
        select coalesce(sum(site.jobs_found), 0) into jobs_found
        from public.search_run_sites as site where site.run_id = (run_counts.run).id;
        return;
    end if;
    select counted.jobs_found,
           greatest((run_counts.run).progress_current, least(
               counted.reached + greatest(counted.by_fallbacks, counted.given_up),
               case when (run_counts.run).completed_at is null then (run_counts.run).progress_total - 1 end))
    into jobs_found, progress_current
    from (
        select coalesce(sum(site.jobs_found), 0) as jobs_found,
               sum(case when site.status = 'completed' then coalesce(wanted.results, site.jobs_found) else share.found end)
                   filter (where not site.is_fallback) as reached,
               coalesce(sum(share.found) filter (where site.is_fallback), 0) as by_fallbacks,
               case when coalesce(
                   bool_and(site.completed_at is not null and site.retryable is not true) filter (where site.is_fallback),
                   not worker.has_fallbacks((run_counts.run).kind, (run_counts.run).parameters))
               then sum(wanted.results - share.found) filter (
                   where site.status in ('partial', 'failed') and site.retryable is not true and not site.is_fallback)
               end as given_up
        from (select worker.results_wanted((run_counts.run).kind, (run_counts.run).parameters) as results) as wanted
        left join public.search_run_sites as site on site.run_id = (run_counts.run).id
        cross join lateral (select least(site.jobs_found, wanted.results) as found) as share
    ) as counted;
end;
$$;

create or replace function worker.lease_digest(lease_token uuid) returns text
language plpgsql immutable set search_path = '' as $$
begin
    return encode(sha256(convert_to(lease_token::text, 'UTF8')), 'hex');
end;
$$;

create or replace function worker.has_webhooks() returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return exists (select from worker.webhook_endpoints as endpoint where endpoint.disabled_at is null);
end;
$$;

create or replace function worker.canonical(value jsonb) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
    return case pg_catalog.jsonb_typeof(value)
        when 'string' then pg_catalog.to_jsonb(pg_catalog.lower(pg_catalog.btrim(
            pg_catalog.regexp_replace(value #>> '{}', '\s+', ' ', 'g'))))
        when 'number' then pg_catalog.to_jsonb(pg_catalog.trim_scale((value #>> '{}')::numeric))
        else value
    end;
end;
$$;

create or replace function worker.settle_leader(ended worker.ended_leaders) returns boolean
language plpgsql set search_path = '' as $$
declare
    is_deleted boolean := ended.former is not null;
    is_held boolean := worker.lock_fingerprint(ended.fingerprint, may_wait => false);
    former public.search_runs;
    followers uuid[];
    answered uuid[];
begin
    -- The usual case. A run that is joining it now is not visible yet, but holds the lock on the fingerprint.
    if is_held and not is_deleted and not worker.has_dependents(ended.run_id, by_answered => false) then
        return true;
    end if;

    if is_deleted then
        former := jsonb_populate_record(null::public.search_runs, ended.former);
    else
        select * into former from public.search_runs as known where known.id = ended.run_id;
        if not found then  -- deleted since then: worker.leader_deleted has a row of its own
            return true;
        elsif former.completed_at is null then  -- deferred while a run was joining it
            perform worker.update_followers(former.id);
            return is_held;
        end if;
    end if;

    if worker.has_dependents(ended.run_id, by_answered => is_deleted) then
        followers := array(
            select follower.id from public.search_runs as follower
            where follower.leader_run_id = ended.run_id
            order by follower.priority desc, follower.position, follower.created_at, follower.id
            limit worker.settled_at_once(former.items_found)
            for no key update skip locked);
        if worker.has_answer(former, ended) then
            perform worker.finish_followers(former, followers);
            if is_deleted then
                answered := array(
                    select run.id from public.search_runs as run
                    where run.shared_run_id = ended.run_id
                    order by run.created_at, run.id
                    limit worker.settled_at_once(former.items_found)
                    for no key update skip locked);
                perform worker.transfer_answer(former, answered, ended);
            end if;
        elsif is_held then
            perform worker.promote_follower(former, followers, ended);
        end if;
    end if;

    if not is_held or worker.has_dependents(ended.run_id, by_answered => is_deleted) then
        return false;
    end if;
    if is_deleted then
        delete from worker.raw_collections as page where page.run_id = ended.run_id;
    end if;
    return true;
end;
$$;

create or replace function worker.rank_sites(run_ids uuid[], seeds uuid[]) returns table (run_id uuid, site text, rank integer)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    with unfinished as materialized (
        select asked.run_id, known.site, known.is_fallback, known.position, asked.seed, (
                   hashtextextended(format('%s %s', asked.seed, asked.run_id), 0) & 2147483647) / 2147483648.0 as chance
        from unnest(rank_sites.run_ids, rank_sites.seeds) as asked (run_id, seed)
        join public.search_run_sites as known on known.run_id = asked.run_id
        where known.completed_at is null
    ), known as materialized (
        select health.site, bool_and(coalesce(health.paused_until > worker.now(), false)) as is_paused,
               avg(health.success_rate) as success_rate, avg(health.response_ms) as response_ms
        from worker.site_health as health
        where health.site = any (array(select unfinished.site from unfinished))
        group by health.site
    )
    select unfinished.run_id, unfinished.site, row_number() over (
        partition by unfinished.run_id
        order by
            unfinished.is_fallback,
            coalesce(known.is_paused, false),
            case when unfinished.chance < settings.exploration then
                hashtextextended(format('%s %s %s', unfinished.seed, unfinished.run_id, unfinished.site), 0) end,
            -- Rounded to tenths, so that speed decides between sites with nearly equal success.
            round(coalesce(known.success_rate, 1)::numeric, 1) desc,
            coalesce(known.response_ms, 0),
            unfinished.position
    )::integer
    from unfinished
    left join known on known.site = unfinished.site
    cross join worker.settings as settings;
end;
$$;

create or replace function worker.exit_name(exit text) returns text
language plpgsql immutable set search_path = '' as $$
begin
    return coalesce(nullif(exit, ''), 'direct');
end;
$$;

create or replace function worker.next_quota_reset(period text, timezone text, at timestamptz) returns timestamptz
language plpgsql stable set search_path = '' as $$
begin
    return (date_trunc(period, at at time zone timezone) + ('1 ' || period)::interval) at time zone timezone;
end;
$$;

create or replace function worker.count_things(
    run_id uuid, shown_run_ids uuid[], out items_found integer, out new_items integer
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    with thing as materialized (
        select distinct case when item.duplicate_of is not null then item.duplicate_of else item.id end as id
        from public.search_results as result join public.items as item on item.id = result.item_id
        where result.run_id = count_things.run_id
    )
    select count(*), count(*) filter (where count_things.run_id <> all (shown_run_ids) and (
        shown_run_ids = '{}' or not exists (
            select from (
                select thing.id
                union all
                select duplicate.id from public.items as duplicate where duplicate.duplicate_of = thing.id
            ) as sighting
            join public.search_results as shown on shown.item_id = sighting.id
            -- Not any(), which would search the index once for each run.
            where array_position(shown_run_ids, shown.run_id) is not null)))
    into items_found, new_items
    from thing;
end;
$$;

create or replace function worker.derive_counts() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    select counts.* into new.jobs_found, new.progress_current from worker.run_counts(new) as counts;
    new.items_found := 0;
    new.new_items := 0;
    if exists (select from public.search_results as result where result.run_id = new.id) then
        select things.* into new.items_found, new.new_items
        from worker.count_things(new.id, worker.runs_shown_before(new)) as things;
    end if;
    -- Realtime broadcasts every update: skip those without a change.
    return case when new is distinct from old then new end;
end;
$$;

create or replace function worker.site_to_search(site public.search_run_sites) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
    search worker.site_searches;
    point record;
begin
    if site.status = 'running' then
        select * into search from worker.site_searches as known
        where known.run_id = site_to_search.site.run_id and known.site = site_to_search.site.site;
        return jsonb_build_object(
            'site', site.site, 'attempt', site.attempts, 'is_started', true, 'exit', search.exit,
            'account', nullif(search.account, ''), 'cursor', null, 'next_page', 1, 'is_fetched', false);
    end if;
    -- Only of sites that have been searched before, which few claims have.
    select known.* into point from worker.resume_point(site.run_id, site.site) as known where site.attempts > 0;
    return jsonb_build_object(
        'site', site.site, 'attempt', site.attempts + 1, 'is_started', false, 'exit', null,
        'account', worker.account_of(site.run_id, site.site), 'cursor', point.cursor,
        'next_page', coalesce(point.next_page, 1), 'is_fetched', coalesce(point.is_fetched, false));
end;
$$;

create or replace function worker.fallbacks_to_search(run_id uuid, seed uuid) returns jsonb
language plpgsql set search_path = '' as $$
begin
    if not exists (
        select from public.search_runs as run
        where run.id = fallbacks_to_search.run_id and worker.has_fallbacks(run.kind, run.parameters)
    ) then
        return '[]'::jsonb;
    end if;
    perform worker.add_fallbacks(fallbacks_to_search.run_id), worker.skip_fallbacks(fallbacks_to_search.run_id);
    return (
        select coalesce(jsonb_agg(worker.site_to_search(fallback) order by ranked.rank), '[]')
        from public.search_run_sites as fallback
        join worker.rank_sites(array[fallbacks_to_search.run_id], array[seed]) as ranked on ranked.site = fallback.site
        where fallback.run_id = fallbacks_to_search.run_id and fallback.is_fallback and fallback.completed_at is null
          and not exists (
            select from worker.site_waits as wait where wait.run_id = fallback.run_id and wait.site = fallback.site)
    );
end;
$$;

create or replace function worker.finish_runs(ends worker.run_end[]) returns void
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
        -- In the order of the ids, like a heartbeat, to avoid deadlocks.
        delete from worker.leases as lease
        where lease.run_id in (
            select held.run_id from worker.leases as held
            where held.run_id = any (ended)
            order by held.run_id
            for update);
        delete from worker.site_waits as wait where wait.run_id = any (ended);
    end if;
    return null;
end;
$$;
comment on function worker.release_ended_runs is 'Ends the leases of runs that have ended, and their waits for sites.';

-- For all runs of a statement together: for each run alone, the two deletes took 40 us, about a twentieth of a run.
create trigger release_ended_runs after update on public.search_runs
    referencing new table as new_runs
    for each statement execute function worker.release_ended_runs();

create or replace function worker.unfinished_runs(run_ids uuid[]) returns uuid[]
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

create or replace function worker.attempt_ends(run_ids uuid[]) returns table (
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

create or replace function worker.end_attempts(run_ids uuid[]) returns void
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

create or replace function worker.ended_runs(run_ids uuid[], fallbacks jsonb) returns jsonb
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

create or replace function worker.sites_to_search(run_ids uuid[]) returns table (run_id uuid, sites jsonb)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select asked.id, coalesce(jsonb_agg(worker.site_to_search(unfinished) order by ranked.rank)
                              filter (where unfinished.completed_at is null), '[]')
    from unnest(run_ids) as asked (id)
    cross join lateral (
        -- In the order of its last claim.
        select event.data -> 'sites' as sites from public.run_events as event
        where event.run_id = asked.id and event.event = 'claimed'
        order by event.id desc
        limit 1
    ) as claimed
    cross join lateral jsonb_array_elements_text(claimed.sites) with ordinality as ranked (site, rank)
    join public.search_run_sites as unfinished on unfinished.run_id = asked.id and unfinished.site = ranked.site
    group by asked.id;
end;
$$;

comment on type worker.claim is 'What a worker asks for, as worker_claim_runs takes it.';

create or replace function worker.admitted_first(first worker.first_search[], limits jsonb) returns worker.first_search[]
language plpgsql stable set search_path = '' as $$
begin
    return array(
        with asked as materialized (
            select search.run_id, search.site, run.kind, known.is_private, case
                when exists (select from worker.accounts as account where account.site = search.site)
                    then worker.account_of(search.run_id, search.site) end as account
            from unnest(first) as search
            join public.search_runs as run on run.id = search.run_id
            join worker.kinds as known on known.kind = run.kind
        ), offered as materialized (
            -- Not in a subquery, whose sites the planner would ask once for each run.
            select distinct asked.kind, asked.site, limits -> asked.kind -> asked.site as limits from asked
        ), admitting as materialized (
            select offered.kind, offered.site
            from offered
            where offered.limits is not null and worker.admits_all(offered.site, offered.limits -> offered.site)
        )
        select row(asked.run_id, asked.site, coalesce(asked.account, ''), null)::worker.first_search
        from asked
        join admitting on admitting.kind = asked.kind and admitting.site = asked.site
        -- Without an account, the worker refuses the search.
        where (not asked.is_private or asked.account is not null)
          and exists (select from public.search_run_sites as site
                      where site.run_id = asked.run_id and site.site = asked.site
                        and site.status = 'pending' and site.attempts = 0)
          and not exists (select from worker.site_waits as wait
                          where wait.run_id = asked.run_id and wait.site = asked.site));
end;
$$;

comment on function worker.admitted_first is
    'Returns those of the first searches that may start at once: at sites that admit all runs, and not searched before. '
    'limits are as for worker.start_first_sites.';

create or replace function worker.start_first_sites(first worker.first_search[], limits jsonb, exits jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    now timestamptz := worker.now();
    admitted worker.first_search[] := worker.admitted_first(first, limits);
begin
    if admitted = '{}' then
        return;
    end if;
    with started as (
        update public.search_run_sites as site
        set status = 'running', attempts = 1, started_at = now,
            progress = worker.with_step(site.progress, 'searching')
        from unnest(worker.choose_exits(admitted, exits)) as chosen
        where site.run_id = chosen.run_id and site.site = chosen.site
        returning site.run_id, site.site, chosen.exit
    )
    insert into public.run_events (run_id, event, site, data, created_at)
    select started.run_id, 'site_started', started.site,
           jsonb_strip_nulls(jsonb_build_object('attempt', 1, 'exit', case
               when started.exit is not null then worker.exit_name(started.exit) end)), now
    from started;
end;
$$;

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
    perform worker.update_followers(run_id, with_progress => false) from unnest(start_runs.run_ids) as run_id
    where worker.has_dependents(run_id, by_answered => false);
end;
$$;

create or replace function worker.start_ready_runs(asked worker.claim) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    free_slots integer := asked.slots;
    ready uuid[];
    startable uuid[];
    payers uuid[];
    full_users uuid[];
    passed uuid[] := array[]::uuid[];
begin
    -- Repeat, because runs whose users have reached max_running_per_user leave slots to other runs.
    loop
        full_users := passed || array(
            select lease.user_id from worker.leases as lease
            group by lease.user_id
            having count(*) >= (select max_running_per_user from worker.settings));
        ready := worker.lock_ready_runs(asked.kinds, full_users, free_slots);
        exit when ready is null;

        -- Not within the update, which would call it for each row and count the runs that it just started.
        with room as materialized (
            select known.* from worker.users_with_capacity(ready, full_users, may_wait => passed = '{}') as known
        )
        select array(select room.run_id from room where room.user_id is not null order by room.run_id),
               array(select room.user_id from room where room.user_id is not null order by room.run_id),
               passed || array(select unnest(room.asked) from room where room.user_id is null)
        into startable, payers, passed;

        perform worker.start_runs(startable, payers, asked);
        exit when startable @> ready;
        free_slots := free_slots - cardinality(startable);
    end loop;
end;
$$;

create or replace function worker.check_claim(asked worker.claim) returns void
language plpgsql set search_path = '' as $$
begin
    perform worker.check_version(asked.schema_version);
    if asked.slots between 1 and 100 is not true then
        raise sqlstate '22023' using message = 'slots must be an integer from 1 to 100';
    end if;
    if asked.lease_seconds between 5 and 3600 is not true then
        raise sqlstate '22023' using message = 'lease_seconds must be an integer from 5 to 3600';
    end if;
end;
$$;

comment on function worker.check_claim is
    'Raises 22023 (HTTP 400) if a claim is wrong, and PT412 (HTTP 412) if its worker is of another version.';

create or replace function worker.is_claimed_again(asked worker.claim) returns boolean
language plpgsql set search_path = '' as $$
begin
    -- A retried claim may run at the same time as the first one.
    perform pg_advisory_xact_lock(hashtextextended(asked.claim_id::text, 0));
    update worker.leases as lease set expires_at = worker.now() + lease.duration
    where lease.claim_id = asked.claim_id;
    return found;
end;
$$;

comment on function worker.is_claimed_again is 'Returns whether a claim has runs already, and extends their leases.';

create or replace function worker.is_claim_due() returns boolean
language plpgsql stable set search_path = '' as $$
declare
    now timestamptz := worker.now();
begin
    return exists (select from worker.leases as lease where lease.expires_at < now)
        or exists (select from worker.ended_leaders)
        or exists (select from public.search_runs as run where run.status = 'pending' and run.run_after <= now);
end;
$$;

comment on function worker.is_claim_due is
    'Returns whether worker_claim_runs has more to do than to claim: runs to rescue or to promote, or followers to settle.';

create or replace function worker.claimed_runs(claim_id uuid) returns table (
    run_id uuid, lease_token uuid, kind text, parameters jsonb, newer_than timestamptz, attempt integer,
    max_attempts integer, sites jsonb
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select run.id, lease.token, run.kind, run.parameters, run.newer_than, run.attempts::integer,
           run.max_attempts::integer, coalesce(searched.sites, '[]')
    from worker.leases as lease
    join public.search_runs as run on run.id = lease.run_id
    left join worker.sites_to_search(array(
        select claimed.run_id from worker.leases as claimed where claimed.claim_id = claimed_runs.claim_id
    )) as searched on searched.run_id = run.id
    where lease.claim_id = claimed_runs.claim_id
    order by run.priority desc, run.position;
end;
$$;

comment on function worker.claimed_runs is 'Returns the runs of a claim, as worker_claim_runs does.';

create or replace function public.worker_claim_runs(
    worker_id text, kinds text[], slots integer, lease_seconds integer, claim_id uuid, held jsonb,
    about jsonb default null, limits jsonb default '{}', exits jsonb default '{}', schema_version integer default null
) returns table (
    run_id uuid, lease_token uuid, kind text, parameters jsonb, newer_than timestamptz, attempt integer,
    max_attempts integer, sites jsonb
)
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off as $$
declare
    asked worker.claim := row(
        worker_id, kinds, slots, lease_seconds, claim_id, limits, exits, schema_version)::worker.claim;
begin
    perform worker.check_claim(asked);
    perform worker.describe_worker(asked.worker_id, about, asked.limits) where about is not null;
    if not worker.is_claimed_again(asked) then
        -- Before the rescue: otherwise a worker that is back after an outage would rescue its own runs.
        perform public.worker_heartbeat(asked.worker_id, held) where held <> '[]';
        if worker.is_claim_due() then
            perform worker.rescue_expired_leases();
            perform worker.settle_ended_leaders();
            perform worker.promote_due_runs();
        end if;
        perform worker.start_ready_runs(asked);
    end if;
    return query select claimed.* from worker.claimed_runs(asked.claim_id) as claimed;
end;
$$;

create or replace function worker.judge_sites(ends worker.site_end[]) returns worker.site_end[]
language plpgsql stable set search_path = '' as $$
begin
    return array(
        select row(given.run_id, given.site, coalesce(given.account, ''), judged.error_code,
                   case when judged.is_unreadable
                        then format('%s of %s pages could not be read; they are stored for reprocessing',
                                    saved.unreadable, saved.pages)
                        else given.error_message end,
                   judged.is_unreadable or given.retryable, given.retry_after_seconds, coalesce(search.exit, ''),
                   -- The outcome counts only if the site was asked: not by an import, nor if it was refused, or waited
                   -- for longer than max_site_wait, or if all its pages were saved before.
                   searched.status = 'running' and run.source <> 'import' and not exists (
                       select from worker.site_waits as wait, worker.settings as settings
                       where wait.run_id = given.run_id and wait.site = given.site and wait.waited > settings.max_site_wait
                   ) and (judged.error_code is not null or saved.by_attempt > 0 or not coalesce(saved.has_last, false)),
                   saved.response_ms)::worker.site_end
        from unnest(ends) as given
        join public.search_runs as run on run.id = given.run_id
        join public.search_run_sites as searched on searched.run_id = given.run_id and searched.site = given.site
        -- Before the end of the run, which deletes its searches.
        left join worker.site_searches as search on search.run_id = given.run_id and search.site = given.site
        cross join lateral (
            select count(*) as pages, count(*) filter (where page.status = 'failed') as unreadable,
                   count(*) filter (where page.attempt = searched.attempts) as by_attempt,
                   bool_or(page.is_last) as has_last,
                   avg(page.response_ms) filter (where page.attempt = searched.attempts) as response_ms
            from worker.pages_of_search(given.run_id, given.site) as page
        ) as saved
        cross join lateral (
            select given.error_code is null and saved.unreadable > 0 as is_unreadable,
                   case when given.error_code is null and saved.unreadable > 0 then 'unverified'
                        else given.error_code end as error_code
        ) as judged
    );
end;
$$;

comment on function worker.judge_sites is
    'Returns the ends of sites with what their saved pages say: a page that could not be read is the error unverified; '
    'whether the current attempt has asked the site, so that its outcome counts for the site; and the mean response time '
    'of its pages.';

create or replace function worker.end_sites(ends worker.site_end[]) returns worker.site_end[]
language plpgsql set search_path = '' as $$
declare
    now timestamptz := worker.now();
    judged worker.site_end[] := worker.judge_sites(ends);
    ended worker.site_end[];
begin
    with finished as (
        -- Status and count in one write, because Realtime broadcasts each write.
        update public.search_run_sites as site
        set status = outcome.status, jobs_found = outcome.results, error_code = given.error_code,
            error_message = case when given.error_code is not null then worker.message_for_user(
                case when worker.is_import(site.run_id) then 'import_lost' else given.error_code end, site.site,
                reason => given.error_message) end,
            retryable = case when given.error_code is not null then given.retryable end,
            -- For a completed site, jobs_found is enough, and the last progress may be a second old.
            progress = case outcome.status when 'completed' then '{"step": "finished"}'
                                           else worker.with_step(site.progress, 'finished') end,
            completed_at = now
        from unnest(judged) as given
        cross join lateral (
            select count(*) as results from public.search_results as result
            where result.run_id = given.run_id and result.site = given.site
        ) as found
        cross join lateral (
            select found.results, case when given.error_code is null then 'completed'
                                       when found.results > 0 then 'partial'
                                       else 'failed' end::public.site_status as status
        ) as outcome
        where site.run_id = given.run_id and site.site = given.site and site.completed_at is null
        returning given, site.status
    ), logged as (
        insert into public.run_events (run_id, event, site, data, created_at)
        select (finished.given).run_id, 'site_finished', (finished.given).site, jsonb_strip_nulls(jsonb_build_object(
            'status', finished.status, 'error_code', (finished.given).error_code,
            'message', (finished.given).error_message)), now
        from finished
    )
    select array_agg(finished.given) into ended from finished;

    delete from worker.site_waits as wait
    using unnest(ended) as given
    where wait.run_id = given.run_id and wait.site = given.site;
    return coalesce(ended, '{}');
end;
$$;

create or replace function worker.end_runs(run_ids uuid[], lease_tokens uuid[], out refused uuid[], out fallbacks jsonb)
language plpgsql set search_path = '' as $$
declare
    asked record;
    needed jsonb;
    ended uuid[] := array[]::uuid[];
begin
    refused := worker.unfinished_runs(run_ids);
    fallbacks := '{}';
    for asked in
        select given.run_id, given.lease_token, worker.has_fallbacks(run.kind, run.parameters) as has_fallbacks
        from unnest(run_ids, lease_tokens) as given (run_id, lease_token)
        join public.search_runs as run on run.id = given.run_id
        where given.run_id <> all (refused)
    loop
        needed := case when asked.has_fallbacks then worker.fallbacks_to_search(asked.run_id, asked.lease_token)
                       else '[]' end;
        if needed = '[]' then
            ended := ended || asked.run_id;
        else
            fallbacks := fallbacks || jsonb_build_object(asked.run_id, needed);
        end if;
    end loop;
    perform worker.end_attempts(ended);
end;
$$;

create or replace function worker.finish_searches(finished jsonb, next worker.claim) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    asked worker.finished_site[];
    states jsonb;
    ended worker.site_end[];
    runs record;
    answers jsonb;
begin
    if jsonb_typeof(finished) is distinct from 'array' or jsonb_array_length(finished) not between 1 and 100 then
        raise sqlstate '22023' using message = 'finished must be an array of 1 to 100 objects';
    end if;
    asked := array(select given from jsonb_populate_recordset(null::worker.finished_site, finished) as given);
    if (select count(distinct given.run_id) < count(*) from unnest(asked) as given) then
        raise sqlstate '22023' using message = 'finished must have a run_id in each object, and each run once';
    end if;

    select jsonb_object_agg(lease.run_id, lease.state) into states
    from worker.lock_leases(array(select given.run_id from unnest(asked) as given),
                            array(select given.lease_token from unnest(asked) as given)) as lease;
    -- A second statement, because a run may have ended while the first one waited for its lock.
    select jsonb_object_agg(given.run_id, case
        when state.name = 'lease_lost' and given.ends_run
             and worker.has_ended_attempt(given.run_id, given.lease_token) then 'ended'
        when state.name = 'held' and given.ends_run and given.error_code is not null then 'ends_too_soon'
        when state.name = 'held' and given.site is not null and not exists (
            select from public.search_run_sites as known
            where known.run_id = given.run_id and known.site = given.site) then 'unknown_site'
        else state.name end)
    into states
    from unnest(asked) as given
    cross join lateral (select states ->> given.run_id::text as name) as state;

    ended := worker.end_sites(array(
        select row(given.run_id, given.site, given.account, given.error_code, given.error_message, given.retryable,
                   given.retry_after_seconds, null, null, null)::worker.site_end
        from unnest(asked) as given
        where given.site is not null and states ->> given.run_id::text = 'held'));
    perform worker.show_progress(given.run_id, jsonb_build_object('step', 'site_finished', 'site', given.site))
    from unnest(asked) as given
    where not given.ends_run and (given.run_id, given.site) in (
        select site.run_id, site.site from unnest(ended) as site);

    runs := worker.end_runs(
        array(select given.run_id from unnest(asked) as given
              where given.ends_run and states ->> given.run_id::text = 'held'),
        array(select given.lease_token from unnest(asked) as given
              where given.ends_run and states ->> given.run_id::text = 'held'));
    -- The runs that have ended make room for others of their users.
    if next.claim_id is not null and not worker.is_claimed_again(next) then
        perform worker.start_ready_runs(next);
    end if;
    perform worker.record_ends(ended);
    answers := worker.ended_runs(
        array(select given.run_id from unnest(asked) as given
              where given.ends_run and states ->> given.run_id::text in ('held', 'ended')), runs.fallbacks);

    return (
        select jsonb_agg(case
            when given.run_id = any (runs.refused) then jsonb_build_object(
                'state', 'refused',
                'message', 'run_id must be the id of a run whose sites have all finished or wait')
            when state.name = 'ends_too_soon' then jsonb_build_object(
                'state', 'refused',
                'message', 'ends_run must be false with an error_code: the failure decides how the run ends')
            when state.name = 'unknown_site' then jsonb_build_object(
                'state', 'refused',
                'message', format('site must be one of the sites of the run, not %L', given.site))
            when state.name not in ('held', 'ended') then jsonb_build_object('state', state.name)
            when given.ends_run then jsonb_build_object(
                'state', 'done',
                'run', answers -> given.run_id::text)
            else '{"state": "done"}' end order by given.place)
        from unnest(asked) with ordinality as given (
            run_id, lease_token, site, account, error_code, error_message, retryable, retry_after_seconds, ends_run, place)
        cross join lateral (select states ->> given.run_id::text as name) as state
    );
end;
$$;

comment on function worker.finish_searches is
    'Ends sites and runs, as worker_finish_sites does, and claims others, if next is not null.';

create or replace function public.worker_finish_sites(finished jsonb) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off as $$
begin
    return worker.finish_searches(finished, null);
end;
$$;

create or replace function public.worker_finish_and_claim(finished jsonb, claim jsonb) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off as $$
declare
    next worker.claim := jsonb_populate_record(null::worker.claim, claim);
    answers jsonb;
begin
    if next.claim_id is null then
        raise sqlstate '22023' using message = 'claim must be an object with a claim_id';
    end if;
    perform worker.check_claim(next);
    answers := worker.finish_searches(finished, next);
    return jsonb_build_object(
        'finished', answers, 'is_claim_due', worker.is_claim_due(),
        'claimed', (select coalesce(jsonb_agg(run), '[]') from worker.claimed_runs(next.claim_id) as run));
end;
$$;

comment on function public.worker_finish_and_claim is
    'Ends sites of several runs as worker_finish_sites does, and claims ready runs in the same transaction: claim is '
    '{worker_id, kinds, slots, lease_seconds, claim_id, limits, exits, schema_version}, as worker_claim_runs takes them. '
    'Returns {finished, claimed, is_claim_due}: the first two as these functions do. If is_claim_due, claim next with '
    'worker_claim_runs, which also rescues runs of dead workers, settles followers and promotes delayed runs. Idempotent.';

revoke all on function public.worker_finish_and_claim(jsonb, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.worker_finish_and_claim(jsonb, jsonb) to service_role;

revoke all on all functions in schema worker from public, anon, authenticated, service_role;
