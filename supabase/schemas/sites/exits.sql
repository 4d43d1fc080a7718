-- Through which exit is a site asked? Through the one that the search has used so far, as long as it works. Otherwise
-- through one that is not paused and is used least for its weight; sometimes through one whose pause has ended.
-- Calls: kernel/clock, sites/queue, sites/waiting, sites/paused.

create type worker.exit as (name text, weight double precision, is_rotating boolean, requests_per_minute integer);
comment on type worker.exit is
    'An exit of a worker, through which it may ask a site: a name without its address.';

create type worker.exit_state as (
    name text, weight double precision, is_rotating boolean, usable_at timestamptz, paused_by text, is_half_open boolean,
    is_probed_by_run boolean, searches bigint, ready_at timestamptz, last_at timestamptz);
comment on type worker.exit_state is
    'An exit at a site, for a run: when it may be used, null for now; how many other searches use it; when its pace allows '
    'the next request; and when the last one was sent.';

create function worker.read_exits(exits jsonb) returns worker.exit[]
language plpgsql immutable set search_path = '' as $$
declare
    offered worker.exit[];
begin
    if exits is null or exits = 'null' then
        return null;
    end if;
    if jsonb_typeof(exits) <> 'array' or jsonb_array_length(exits) not between 1 and 100 then
        raise sqlstate '22023' using message = 'exits must be an array of 1 to 100 objects';
    end if;
    offered := array(
        select row(given.name, coalesce(given.weight, 1), coalesce(given.is_rotating, false), given.requests_per_minute)::worker.exit
        from jsonb_to_recordset(exits) as given (
            name text, weight double precision, is_rotating boolean, requests_per_minute integer));
    if exists (
        select from unnest(offered) as given
        where given.name is null or given.name !~ '^([a-z0-9][a-z0-9-]{0,39})?$' or not given.weight > 0
           or given.requests_per_minute < 1
    ) or (select count(distinct given.name) from unnest(offered) as given) < cardinality(offered) then
        raise sqlstate '22023' using message =
            'exits must be {name, weight, is_rotating, requests_per_minute}, each name once, with a weight above 0';
    end if;
    return offered;
end;
$$;
comment on function worker.read_exits is
    'Returns the exits that a worker offers for a site; null for a worker that offers none. Raises 22023 (HTTP 400) if '
    'they are not valid.';

create function worker.health_now(health worker.site_health) returns worker.site_health
language plpgsql stable set search_path = '' as $$
begin
    health.paused_until := health.paused_until - greatest(worker.clock_set_back_since(health.updated_at), '0');
    return health;
end;
$$;
comment on function worker.health_now is 'Returns the health of a site with its pause moved back as far as the clock was.';

create function worker.exit_states(run_id uuid, site text, account text, exits worker.exit[])
returns setof worker.exit_state
language plpgsql stable set search_path = '' as $$
begin
    return query
    select offered.name, offered.weight, offered.is_rotating,
           greatest(worker.pause_end(present.health, exit_states.run_id),
                    case when bucket.paused_until > worker.now() then bucket.paused_until end, own_pause.until),
           coalesce((present.health).paused_by, own_pause.paused_by, 'rate_limited'),
           (present.health).paused_until is not null,
           coalesce((present.health).prober_run_id = exit_states.run_id, false),
           coalesce(busy.searches, 0), bucket.next_at, bucket.last_at
    from unnest(exit_states.exits) as offered
    left join worker.site_health as known
        on known.site = exit_states.site and known.account = exit_states.account and known.exit = offered.name
    cross join lateral (select worker.health_now(known) as health) as present
    left join worker.site_buckets as bucket
        on bucket.bucket = exit_states.site and bucket.account = exit_states.account and bucket.exit = offered.name
    left join (
        select search.exit, count(*) as searches
        from worker.site_searches as search
        join worker.leases as lease on lease.run_id = search.run_id
        where search.site = exit_states.site and search.run_id <> exit_states.run_id and lease.expires_at > worker.now()
        group by search.exit
    ) as busy on busy.exit = offered.name
    left join (
        select failed.exit, failed.failed_at + failed.pause as until, failed.paused_by
        from worker.site_failures as failed
        join public.search_runs as run on run.user_id = failed.user_id
        where run.id = exit_states.run_id and failed.site = exit_states.site and failed.account = exit_states.account
          and failed.failed_at <= worker.now() and failed.failed_at + failed.pause > worker.now()
    ) as own_pause on own_pause.exit = offered.name;
end;
$$;
comment on function worker.exit_states is 'Returns the state of each exit that a worker offers for a site, for a run.';

create type worker.exit_choice as (via text, health worker.site_health);
comment on type worker.exit_choice is
    'The exit of a search, null if none may be used; and its health at the site if the search probes it, locked.';

create function worker.choose_exit(
    run_id uuid, site text, account text, exits worker.exit[], former text, most_searches integer
) returns worker.exit_choice
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    candidate record;
    health worker.site_health;
    explored double precision := (select settings.exploration from worker.settings as settings);
    -- One time for all: an exit that is looked at first is not free first.
    now timestamptz := worker.now();
begin
    for candidate in
        select state.name, state.is_half_open
        from worker.exit_states(choose_exit.run_id, choose_exit.site, choose_exit.account, choose_exit.exits) as state
        cross join lateral (
            select state.searches >= choose_exit.most_searches and not state.is_rotating is true as is_full,
                   -- The same for a repeated call.
                   (hashtextextended(format('%s %s %s', choose_exit.run_id, choose_exit.site, state.name), 0) & 2147483647)
                       / 2147483648.0 < explored as explores
        ) as chance
        where state.usable_at is null
        order by
            coalesce(chance.is_full, false),
            case when state.name = choose_exit.former and (not state.is_half_open or state.is_probed_by_run) then 0
                 when state.is_half_open and chance.explores then 1
                 when not state.is_half_open then 2
                 else 3 end,
            state.searches / state.weight,
            greatest(state.ready_at, now),
            extract(epoch from now - state.last_at) * state.weight desc nulls first,
            state.name
    loop
        if not candidate.is_half_open then
            return row(candidate.name, null)::worker.exit_choice;
        end if;
        -- One prober for each exit. Without waiting for a lock, so that no two transactions wait for each other.
        select known.* into health from worker.site_health as known
        where known.site = choose_exit.site and known.account = choose_exit.account and known.exit = candidate.name
        for no key update skip locked;
        if found and worker.pause_end(worker.health_now(health), choose_exit.run_id) is null then
            return row(candidate.name, health)::worker.exit_choice;
        end if;
    end loop;
    return row(null, null)::worker.exit_choice;
end;
$$;
comment on function worker.choose_exit is
    'Chooses the exit for a search, of those that a worker offers: the one that it has used so far, unless that is paused '
    'or full; otherwise the healthy one with the fewest searches for its weight, then the one whose pace is free first. A '
    'share of the searches tries an exit whose pause has ended: health is its health then, locked. via is null if none '
    'may be used.';

create function worker.exit_name(exit text) returns text
language plpgsql immutable set search_path = '' as $$
begin
    return coalesce(nullif(exit, ''), 'direct');
end;
$$;
comment on function worker.exit_name is 'Returns the name of an exit for people: the own address is called direct.';

create function worker.former_exit(run_id uuid, site text) returns text
language plpgsql stable set search_path = '' as $$
begin
    return (
        select case event.data ->> 'exit' when 'direct' then '' else event.data ->> 'exit' end
        from public.run_events as event
        where event.run_id = former_exit.run_id and event.site = former_exit.site
          and event.event in ('site_started', 'exit_left')
        order by event.id desc
        limit 1
    );
end;
$$;
comment on function worker.former_exit is
    'Returns the exit that a search of a site used last, also before a retry or a wait; null if it used none.';

create function worker.defer_until_exit(run_id uuid, site text, account text, exits worker.exit[]) returns jsonb
language plpgsql set search_path = '' as $$
declare
    next record;
    ahead record;
begin
    select state.usable_at, state.paused_by, state.is_half_open, state.name into next
    from worker.exit_states(defer_until_exit.run_id, defer_until_exit.site, defer_until_exit.account, defer_until_exit.exits)
        as state
    -- Those that may be used are being tried by others at this moment.
    order by coalesce(state.usable_at, worker.now() + interval '1 second')
    limit 1;
    ahead := worker.queue_ahead(defer_until_exit.site, defer_until_exit.account, '', '{paused}',
                                (worker.wait_state(defer_until_exit.run_id, defer_until_exit.site)).since,
                                defer_until_exit.run_id);
    next.usable_at := coalesce(next.usable_at, worker.now() + interval '1 second');
    return worker.defer_site(
        defer_until_exit.run_id, defer_until_exit.site, defer_until_exit.account, defer_until_exit.site, 1, 'paused',
        format('%s paused until %s (%s)', case when cardinality(exits) > 1 then 'all exits of the site are' else 'site' end,
               worker.format_time(next.usable_at), next.paused_by),
        -- Users and workers know no exits.
        case next.paused_by when 'exit_failed' then 'network' else next.paused_by end,
        next.usable_at + least(ahead.waiters, 60) * interval '1 second', is_guess => next.is_half_open);
end;
$$;
comment on function worker.defer_until_exit is
    'Lets a run wait for a site until the first of the exits that a worker offers may be used again.';

create function worker.begin_health(site text, account text, exit text) returns void
language sql volatile set search_path = ''
begin atomic
    insert into worker.site_health (site, account, exit)
    values (begin_health.site, begin_health.account, begin_health.exit)
    on conflict do nothing;
end;
comment on function worker.begin_health is
    'Notes that an exit is used at a site: a site is not paused while one of its exits is not.';

create function worker.change_exit(
    run_id uuid, site text, former text, exit text, error_code text, message text
) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
begin
    perform worker.begin_health(worker_exit.site, worker_exit.account, worker_exit.exit)
    from (select search.site, search.account, change_exit.exit from worker.site_searches as search
          where search.run_id = change_exit.run_id and search.site = change_exit.site and change_exit.exit is not null)
        as worker_exit;
    -- Others may try the former exit. Without waiting for a lock: the end of the search ends its probe as well.
    update worker.site_health as health set prober_run_id = null
    where (health.site, health.account, health.exit) in (
        select probed.site, probed.account, probed.exit from worker.site_health as probed
        where probed.prober_run_id = change_exit.run_id and probed.site = change_exit.site and probed.exit = change_exit.former
        for no key update skip locked);
    update worker.site_searches as search set exit = change_exit.exit
    where search.run_id = change_exit.run_id and search.site = change_exit.site and change_exit.exit is not null;
    insert into public.run_events (run_id, event, site, data, created_at)
    values (change_exit.run_id, 'exit_left', change_exit.site, jsonb_strip_nulls(jsonb_build_object(
        'left', worker.exit_name(change_exit.former),
        'exit', case when change_exit.exit is not null then worker.exit_name(change_exit.exit) end,
        'error_code', change_exit.error_code, 'message', change_exit.message)), worker.now());
end;
$$;
comment on function worker.change_exit is
    'Lets a search use another exit from now on, and writes the event exit_left; exit is null if there is no other one.';

create function worker.health_in_use() returns setof worker.site_health
language sql stable set search_path = ''
begin atomic
    with known as (
        select health, living.is_used, bool_or(living.is_used) over (partition by health.site, health.account) as has_used
        from worker.site_health as health
        cross join lateral (
            select exists (
                select from worker.workers as living
                where health.exit = any (living.exits)
                  and living.seen_at > worker.now() - (select settings.worker_timeout from worker.settings as settings)
            ) as is_used
        ) as living
    )
    select (known.health).* from known where known.is_used or not known.has_used;
end;
comment on function worker.health_in_use is
    'Returns the health of sites through the exits of living workers; of all exits, where no living worker has one.';

create function worker.account_health()
returns table (site text, account text, is_open boolean, is_half_open boolean, paused_until timestamptz, paused_by text,
               trips smallint)
language sql stable set search_path = ''
begin atomic
    select health.site, health.account,
           bool_and(coalesce(health.paused_until > worker.now(), false)),
           bool_and(health.paused_until is not null) and not bool_and(coalesce(health.paused_until > worker.now(), false)),
           case when bool_and(health.paused_until is not null) then min(health.paused_until) end,
           (array_agg(health.paused_by order by health.paused_until))[1],
           case when bool_and(health.paused_until is not null) then min(health.trips) else 0::smallint end
    from worker.health_in_use() as health
    group by health.site, health.account;
end;
comment on function worker.account_health is
    'Returns the state of the breaker of each site through each account: it is paused when all of its exits are, until the '
    'first of them may be tried.';
