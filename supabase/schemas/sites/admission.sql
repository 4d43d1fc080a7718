-- May this run start to search a site? Not while the site is paused, and not beyond its limit of concurrent searches.
-- Most sites have no such limit and are not paused: they admit all runs, and no run locks anything.
-- Calls: kernel/clock, sites/queue, sites/wake, sites/waiting, sites/breaker, sites/paused, sites/exits, sites/limits.

create function worker.defer_if_full(
    run_id uuid, site text, account text, allowed worker.bucket_limits, exits text[]
) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    since timestamptz := (worker.wait_state(defer_if_full.run_id, defer_if_full.site)).since;
    gate record;
begin
    for gate in
        select level.account, level.most, ahead.waiters, ahead.is_due, (
            select count(*)
            from worker.site_searches as search
            join worker.leases as lease on lease.run_id = search.run_id
            where search.site = defer_if_full.site and level.account in ('', search.account)
              and (level.is_per_account or search.exit = any (defer_if_full.exits))
              and search.run_id <> defer_if_full.run_id and lease.expires_at > worker.now()
        ) as under_way
        from (values (defer_if_full.account, allowed.searches_per_account, true),
                     ('', allowed.searches * cardinality(defer_if_full.exits), false))
            as level (account, most, is_per_account)
        cross join lateral worker.queue_ahead(
            defer_if_full.site, level.account, '', '{searches}', since, defer_if_full.run_id) as ahead
        where level.most is not null and not exists (
            select from worker.site_searches as search
            where search.run_id = defer_if_full.run_id and search.site = defer_if_full.site)
    loop
        continue when gate.under_way + gate.waiters < gate.most;
        -- A slot is free, but it belongs to a run that is not due yet.
        if gate.under_way < gate.most and not gate.is_due then
            perform worker.wake_next(defer_if_full.site, gate.account);
        end if;
        -- The next run is woken when a slot becomes free. The time is a fallback.
        return worker.defer_site(
            defer_if_full.run_id, defer_if_full.site, gate.account, defer_if_full.site, 1, 'searches',
            format('%s of %s concurrent searches of the site are under way; runs ahead in the queue: %s',
                   gate.under_way, gate.most, gate.waiters),
            'rate_limited',
            worker.now() + least(interval '30 seconds' * (1 + gate.waiters / gate.most), interval '10 minutes'),
            is_guess => true);
    end loop;
    return null;
end;
$$;
comment on function worker.defer_if_full is
    'Lets a run wait for a site that has no free slot for it, within the limits per account, and of these exits over all '
    'accounts; returns null if there is one, or if the run has one.';

create function worker.defer_if_exits_full(
    run_id uuid, site text, account text, allowed worker.bucket_limits, exits worker.exit[], chosen text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    usable text[];
begin
    -- A rotating exit has many addresses, each of which counts alone at the site.
    if (select offered.is_rotating from unnest(exits) as offered where offered.name = chosen) then
        allowed.searches := null;
    else
        usable := array(
            select state.name from worker.exit_states(run_id, site, account, exits) as state
            where state.usable_at is null and not state.is_rotating);
    end if;
    return worker.defer_if_full(run_id, site, account, allowed, usable);
end;
$$;
comment on function worker.defer_if_exits_full is
    'Lets a run wait for a site if each of the exits that may be used has as many searches as the site allows, and none of '
    'them is rotating; otherwise returns null.';

create function worker.take_search_slot(run_id uuid, site text, account text, exit text) returns void
language plpgsql set search_path = '' as $$
declare
    waiting record := worker.wait_state(take_search_slot.run_id, take_search_slot.site);
begin
    -- A wait for a permit ('rate', 'quota') stays until the permit is granted, to keep the run's place in the queue.
    delete from worker.site_waits as wait
    where wait.run_id = take_search_slot.run_id and wait.site = take_search_slot.site
      and wait.reason in ('searches', 'paused');
    insert into worker.site_searches as search (run_id, site, account, exit, waiting_since, waited)
    values (take_search_slot.run_id, take_search_slot.site, take_search_slot.account, take_search_slot.exit, waiting.since, waiting.waited)
    on conflict on constraint site_searches_pkey do update set account = excluded.account, exit = excluded.exit;
end;
$$;
comment on function worker.take_search_slot is 'Gives a run a slot to search a site.';

create function worker.admit_site(
    run_id uuid, site text, account text, limits jsonb, exits worker.exit[] default null
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    via text := coalesce(account, '');
    choice worker.exit_choice;
    chosen text := '';
    allowed worker.bucket_limits;
    health worker.site_health;
    refusal jsonb;
begin
    if jsonb_typeof(limits) <> 'object' then
        raise sqlstate '22023' using message = 'limits must be an object of limits by bucket';
    end if;
    allowed := worker.effective_limits(site, limits -> site);

    -- The limit over all accounts is counted by one transaction at a time.
    if allowed.searches is not null then
        perform pg_advisory_xact_lock(hashtextextended('worker.admit_site ' || site, 0));
    end if;
    if exits is null then
        health := worker.lock_health(site, via);
        refusal := coalesce(
            worker.defer_if_paused(run_id, site, via, health),
            worker.defer_if_user_paused(run_id, site, via),
            worker.defer_if_full(run_id, site, via, allowed, '{""}'));
    else
        choice := worker.choose_exit(run_id, site, via, exits, worker.former_exit(run_id, site), allowed.searches);
        health := choice.health;
        chosen := choice.via;
        refusal := case
            when chosen is null then worker.defer_until_exit(run_id, site, via, exits)
            else worker.defer_if_exits_full(run_id, site, via, allowed, exits, chosen) end;
    end if;
    if refusal is not null then
        return refusal;
    end if;

    perform worker.take_search_slot(run_id, site, via, chosen);
    perform worker.start_probe(health, run_id) where health.site is not null;
    return jsonb_build_object('granted', true, 'wait_seconds', 0)
        || case when exits is null then '{}' else jsonb_build_object('exit', chosen) end;
end;
$$;
comment on function worker.admit_site is
    'Admits a leased run to a site, or returns when to ask again: {granted, wait_seconds, exit}, {granted, reason, '
    'message, retry_in_seconds, until} or, beyond max_site_wait, {granted, error_code, message}. limits are the '
    'limits that the source declares, by bucket. exits are those that the worker offers; null at a site that does not '
    'know workers by their address. The caller notes that the exit is used. Idempotent: a second call takes no second slot.';

create function worker.admits_all(site text, limits jsonb) returns boolean
language plpgsql stable set search_path = '' as $$
declare
    allowed worker.bucket_limits;
begin
    allowed := worker.effective_limits(site, limits);
    return allowed.searches is null and allowed.searches_per_account is null
       and not exists (select from worker.site_health as health
                       where health.site = admits_all.site and health.paused_until is not null)
       and not exists (select from worker.site_failures as failed
                       where failed.site = admits_all.site and failed.pause is not null);
exception when invalid_parameter_value then
    return false;  -- worker.admit_site says why
end;
$$;
comment on function worker.admits_all is
    'Returns whether a site may be searched for all runs, through all accounts: it is not paused, and the number of '
    'concurrent searches has no limit. limits are those that the source declares for the site''s own bucket.';
