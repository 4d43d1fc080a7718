-- Which runs does a worker get? Ready runs of its kinds, by priority and position. Before that, the claim rescues runs
-- of dead workers, settles followers and promotes delayed runs.
-- Calls: kernel/clock, kernel/versions, kernel/run_sites, sharing/follow, sharing/leader_ended, sites/accounts,
--   sites/rank, sites/exits, sites/admission, runs/resume, runs/rescue, runs/promote,
--   runs/heartbeat, runs/running_limit.

create function worker.sites_to_search(run_ids uuid[]) returns table (run_id uuid, sites jsonb)
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
comment on function worker.sites_to_search is
    'Returns the unfinished sites of claimed runs for a worker, in the order of the claim.';

create type worker.claim as (
    worker_id text, kinds text[], slots integer, lease_seconds integer, claim_id uuid, limits jsonb, exits jsonb,
    schema_version integer
);
comment on type worker.claim is 'What a worker asks for, as worker_claim_runs takes it.';

create type worker.first_search as (run_id uuid, site text, account text, exit text);
comment on type worker.first_search is 'The first search of a claimed run; exit is null where a worker offers none.';

create function worker.choose_exits(first worker.first_search[], exits jsonb) returns worker.first_search[]
language plpgsql set search_path = '' as $$
declare
    search worker.first_search;
    chosen worker.first_search[] := array(select known from unnest(first) as known where not exits ? known.site);
begin
    insert into worker.site_searches (run_id, site, account)
    select known.run_id, known.site, known.account from unnest(chosen) as known;
    -- One after another, because each choice depends on those before.
    for search in select known.* from unnest(first) as known where exits ? known.site order by known.site, known.run_id loop
        search.exit := (worker.choose_exit(
            search.run_id, search.site, search.account, worker.read_exits(exits -> search.site), null, null)).via;
        -- Null if all are paused: worker_start_sites says until when.
        if search.exit is not null then
            insert into worker.site_searches (run_id, site, account, exit)
            values (search.run_id, search.site, search.account, search.exit);
            chosen := chosen || search;
        end if;
    end loop;
    insert into worker.site_health (site, account, exit)
    select distinct used.site, used.account, used.exit from unnest(chosen) as used
    where used.exit is not null
    order by 1, 2, 3
    on conflict do nothing;
    return chosen;
end;
$$;
comment on function worker.choose_exits is
    'Gives a slot to each search, through the exit that is chosen for it. Returns those that may start.';

create function worker.admitted_first(first worker.first_search[], limits jsonb) returns worker.first_search[]
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

create function worker.start_first_sites(first worker.first_search[], limits jsonb, exits jsonb) returns void
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
comment on function worker.start_first_sites is
    'Starts the first search of claimed runs, at the sites that admit all runs. All others start with '
    'worker_start_sites. limits are those that the sources of the worker declare: {kind: {site: {bucket: limits}}}; exits '
    'are those that the worker offers, by site.';

create function worker.start_runs(run_ids uuid[], payers uuid[], asked worker.claim) returns void
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
comment on function worker.start_runs is
    'Leases locked ready runs to a worker. Each counts for the max_running_per_user of its payer. Its followers are '
    'running as well, and count for nobody.';

create function worker.lock_ready_runs(kinds text[], full_users uuid[], most integer) returns uuid[]
language plpgsql set search_path = '' as $$
begin
    return (
        select array_agg(locked.id)
        from (
            select run.id from public.search_runs as run
            where run.status = 'pending' and run.run_after is null and run.leader_run_id is null
              and run.kind = any (kinds)
              -- Not `exists`, for which the planner may read the followers of all runs.
              and (run.user_id <> all (full_users)
                   or (select true from public.search_runs as follower
                       where follower.leader_run_id = run.id and follower.user_id <> all (full_users)
                       order by follower.user_id
                       limit 1))
            order by run.priority desc, run.position
            limit most
            for no key update skip locked
        ) as locked
    );
end;
$$;
comment on function worker.lock_ready_runs is
    'Locks the first ready runs of the given kinds, without those whose owner and followers are all among full_users. '
    'Null if there are none.';

create function worker.start_ready_runs(asked worker.claim) returns void
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
comment on function worker.start_ready_runs is 'Leases ready runs to a worker, as it asks for them.';

create function worker.check_claim(asked worker.claim) returns void
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

create function worker.is_claimed_again(asked worker.claim) returns boolean
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

create function worker.is_claim_due() returns boolean
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

create function worker.claimed_runs(claim_id uuid) returns table (
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

-- Plans for any arguments: PostgreSQL would plan the statements again at each call, which takes longer than they do.
-- And with indexes: a connection that has planned for small tables would read the whole tables after they have grown.
-- Before PostgreSQL 18, plans without that choice look so dear that each would be compiled.
create function public.worker_claim_runs(
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
comment on function public.worker_claim_runs is
    'Leases up to slots ready runs of the given kinds, and extends the leases [{run_id, lease_token}] in held. The '
    'same claim_id returns the same runs. about says which sites the worker can search, as in worker.workers: {version, '
    'sites, concurrency, exits, started_at}. limits are those that the sources declare, {kind: {site: {bucket: limits}}}: where '
    'they and the site allow it, the claim starts the first search of a run. exits are those that the worker offers at '
    'sites that know it by its address, {site: exits as for worker_take_permit}. sites are the unfinished ones, the best '
    'first: {site, attempt, is_started, exit, account, cursor, next_page, is_fetched}, where is_fetched means that all pages '
    'are saved. Start those that are not started with worker_start_sites. schema_version is the version of the RPCs that '
    'the worker is made for; with another one than this version and the one before it, it gets no run: PT412 (HTTP 412).';
