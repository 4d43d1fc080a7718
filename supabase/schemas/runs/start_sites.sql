-- When do the searches of sites start? When each site admits its run. A site whose pages are all saved needs no
-- admission. Each search of a call gets its own answer.
-- Calls: kernel/clock, kernel/run_sites, kernel/lease, sites/exits, sites/limits, sites/admission, runs/progress, runs/resume.

create type worker.search_to_start as (
    run_id uuid, lease_token uuid, site text, attempt integer, account text, limits jsonb, exits jsonb
);
comment on type worker.search_to_start is 'A search as worker_start_sites takes it.';

create function worker.asked_searches(searches jsonb) returns worker.search_to_start[]
language plpgsql stable set search_path = '' as $$
declare
    asked worker.search_to_start[];
begin
    if jsonb_typeof(searches) is distinct from 'array' or jsonb_array_length(searches) not between 1 and 100 then
        raise sqlstate '22023' using message = 'searches must be an array of 1 to 100 objects';
    end if;
    asked := array(
        select row(given.run_id, given.lease_token, given.site, given.attempt, coalesce(given.account, ''),
                   coalesce(nullif(given.limits, 'null'), '{}'), nullif(given.exits, 'null'))::worker.search_to_start
        from jsonb_populate_recordset(null::worker.search_to_start, searches) as given);
    if (select count(distinct given.run_id) < count(*) from unnest(asked) as given) then
        raise sqlstate '22023' using message = 'searches must have a run_id in each object, and each run once';
    end if;
    return asked;
end;
$$;
comment on function worker.asked_searches is
    'Reads the argument of worker_start_sites. Raises 22023 (HTTP 400) if it is wrong.';

create function worker.wrong_offer(site text, limits jsonb, exits jsonb) returns text
language plpgsql stable set search_path = '' as $$
declare
    problem text;
begin
    if jsonb_typeof(limits) <> 'object' then
        return 'limits must be an object of limits by bucket';
    end if;
    perform worker.effective_limits(site, limits -> site), worker.read_exits(exits);
    return null;
exception when data_exception then
    get stacked diagnostics problem = message_text;
    return problem;
end;
$$;
comment on function worker.wrong_offer is 'Returns what is wrong with the limits and exits of a search; null if nothing is.';

create function worker.lock_searches(asked worker.search_to_start[]) returns jsonb
language plpgsql set search_path = '' as $$
declare
    states jsonb;
begin
    select jsonb_object_agg(lease.run_id, jsonb_build_object('state', lease.state)) into states
    from worker.lock_leases(array(select given.run_id from unnest(asked) as given),
                            array(select given.lease_token from unnest(asked) as given)) as lease;
    return (
        select jsonb_object_agg(given.run_id, case
            when states -> given.run_id::text ->> 'state' <> 'held' then states -> given.run_id::text
            when refusal.message is not null then jsonb_build_object('state', 'refused', 'message', refusal.message)
            -- One of its exits may be probed, whose row must not be locked before those of other sites.
            when cardinality(asked) > 1 and given.exits is not null and exists (
                select from worker.site_health as health
                where health.site = given.site and health.paused_until is not null) then '{"state": "busy"}'
            else '{"state": "held"}' end)
        from unnest(asked) as given
        join (
            select offered.*, worker.wrong_offer(offered.site, offered.limits, offered.exits) as problem
            from (select distinct searched.site, searched.limits, searched.exits from unnest(asked) as searched) as offered
        ) as offer on (offer.site, offer.limits, offer.exits) is not distinct from (given.site, given.limits, given.exits)
        cross join lateral (
            select case
                when not exists (select from public.search_run_sites as known
                                 where known.run_id = given.run_id and known.site = given.site)
                    then format('site must be one of the sites of the run, not %L', given.site)
                when given.attempt between 1 and 32767 is not true
                    then format('attempt must be an integer from 1 to 32767, not %s', coalesce(given.attempt::text, 'null'))
                else offer.problem end as message
        ) as refusal
    );
end;
$$;
comment on function worker.lock_searches is
    'Locks the runs of searches. Returns their states by id, as worker.lock_leases does, or refused with a message: '
    '{state, message}.';

create function worker.admit_freely(asked worker.search_to_start[]) returns uuid[]
language plpgsql set search_path = '' as $$
declare
    free uuid[];
begin
    -- No run locks anything at these sites. A run that waits has its waiting time to keep.
    free := array(
        with offered as materialized (
            select distinct given.site, given.limits from unnest(asked) as given where given.exits is null
        ), admitting as materialized (
            select offered.* from offered where worker.admits_all(offered.site, offered.limits -> offered.site)
        )
        select given.run_id
        from unnest(asked) as given
        join admitting on admitting.site = given.site and admitting.limits = given.limits
        where given.exits is null and not exists (
            select from worker.site_waits as wait where wait.run_id = given.run_id and wait.site = given.site));
    insert into worker.site_searches as search (run_id, site, account)
    select given.run_id, given.site, given.account from unnest(asked) as given where given.run_id = any (free)
    on conflict on constraint site_searches_pkey do update set account = excluded.account, exit = excluded.exit;
    return free;
end;
$$;
comment on function worker.admit_freely is
    'Gives slots to the searches of sites that admit all runs. Returns their runs.';

create function worker.admit_searches(asked worker.search_to_start[]) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    saved uuid[];
    free uuid[];
    given worker.search_to_start;
    admission jsonb;
    admissions jsonb;
begin
    saved := array(
        select searched.run_id
        from unnest(asked) as searched
        join public.search_run_sites as site on site.run_id = searched.run_id and site.site = searched.site
        where site.completed_at is not null or (site.attempts > 0 and exists (
            select from worker.resume_point(site.run_id, site.site) as point where point.is_fetched)));
    free := worker.admit_freely(array(select searched from unnest(asked) as searched where searched.run_id <> all (saved)));
    select coalesce(jsonb_object_agg(run_id, '{"granted": true, "wait_seconds": 0}'::jsonb), '{}') into admissions
    from unnest(saved || free) as run_id;

    -- Sites and accounts in one order, because all runs share their rows.
    for given in
        select searched.run_id, searched.lease_token, searched.site, searched.attempt, searched.account, searched.limits,
               searched.exits
        from unnest(asked) with ordinality as searched (
            run_id, lease_token, site, attempt, account, limits, exits, place)
        where not admissions ? searched.run_id::text
        order by searched.site, searched.account, searched.place
    loop
        admission := worker.admit_site(given.run_id, given.site, given.account, given.limits, worker.read_exits(given.exits));
        admissions := admissions || jsonb_build_object(given.run_id, admission);
    end loop;

    insert into worker.site_health (site, account, exit)
    select distinct searched.site, searched.account, admissions -> searched.run_id::text ->> 'exit'
    from unnest(asked) as searched
    where admissions -> searched.run_id::text ? 'exit'
    order by 1, 2, 3
    on conflict do nothing;
    return admissions;
end;
$$;
comment on function worker.admit_searches is
    'Admits leased runs to sites, as worker.admit_site does for one. Returns its answers by run. It notes which exits '
    'are used: a site is not paused while one of its exits is not.';

create function worker.begin_searches(asked worker.search_to_start[], admissions jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    started uuid[];
begin
    with begun as (
        update public.search_run_sites as site
        set status = 'running', attempts = given.attempt, started_at = worker.now(),
            progress = worker.with_step(site.progress, 'searching'),
            error_code = null, error_message = null, retryable = null
        from unnest(asked) as given
        where site.run_id = given.run_id and site.site = given.site and site.status = 'pending'
          and (admissions -> given.run_id::text -> 'granted')::boolean
        returning site.run_id, site.site, site.attempts
    ), logged as (
        insert into public.run_events (run_id, event, site, data, created_at)
        select begun.run_id, 'site_started', begun.site, jsonb_strip_nulls(jsonb_build_object(
            'attempt', begun.attempts,
            'exit', case when admissions -> begun.run_id::text ? 'exit'
                         then worker.exit_name(admissions -> begun.run_id::text ->> 'exit') end)), worker.now()
        from begun
    )
    select array_agg(begun.run_id) into started from begun;

    perform worker.show_progress(given.run_id, jsonb_build_object('step', 'searching', 'site', given.site))
    from unnest(asked) as given
    where given.run_id = any (started);
end;
$$;
comment on function worker.begin_searches is 'Starts the searches that are admitted and have not started yet.';

create function worker.show_waits(asked worker.search_to_start[], admissions jsonb) returns void
language sql volatile set search_path = ''
begin atomic
    update public.search_run_sites as site
    set progress = worker.waiting_progress(site.progress, site.site, admissions -> given.run_id::text)
    from unnest(asked) as given
    where site.run_id = given.run_id and site.site = given.site and admissions -> given.run_id::text ? 'until'
      and site.progress <> worker.waiting_progress(site.progress, site.site, admissions -> given.run_id::text);
end;
comment on function worker.show_waits is 'Shows until when the sites that do not admit their runs have to wait.';

create function public.worker_start_sites(searches jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    asked worker.search_to_start[] := worker.asked_searches(searches);
    states jsonb := worker.lock_searches(asked);
    held worker.search_to_start[] := array(
        select given from unnest(asked) as given where states -> given.run_id::text ->> 'state' = 'held');
    admissions jsonb := worker.admit_searches(held);
begin
    perform worker.show_waits(held, admissions);
    perform worker.begin_searches(held, admissions);
    return (
        select jsonb_agg(case
            when admissions ? given.run_id::text then jsonb_build_object(
                'state', case when (admissions -> given.run_id::text -> 'granted')::boolean then 'started' else 'deferred' end,
                'admission', admissions -> given.run_id::text)
            else states -> given.run_id::text end order by given.place)
        from unnest(asked) with ordinality as given (
            run_id, lease_token, site, attempt, account, limits, exits, place)
    );
end;
$$;
comment on function public.worker_start_sites is
    'Starts the searches of several runs: [{run_id, lease_token, site, attempt, account, limits, exits}], each run once. A '
    'site is searched if it admits the run: within limits ({bucket: limits of worker.model.SiteLimits}) and not paused. '
    'exits are those that the worker offers, as for worker_take_permit. Returns for each {state, message, admission}: '
    'started, with {granted: true, wait_seconds, exit}; deferred, with {granted: false, reason, message, '
    'retry_in_seconds, until}, to ask again then, or {granted: false, error_code, message}, to end the site with that '
    'error; lease_lost or cancelled; refused, with a message; busy: another transaction has locked the run, or an exit of '
    'the site is probed, send it alone. The searches of a site are admitted in the order of their accounts, then in that '
    'of the call. Idempotent.';
