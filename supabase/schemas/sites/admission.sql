-- May this run search the site now? Not while it is paused, and not while as many searches as it allows are under way.
-- Calls: kernel/clock, sites/queue, sites/wake, sites/waiting, sites/breaker, sites/paused, sites/limits.

create function worker.admit_site(run_id uuid, site text, account text, limits jsonb) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    via text := coalesce(admit_site.account, '');
    allowed worker.bucket_limits;
    health worker.site_health;
    refusal jsonb;
    waiting record;
    gate record;
begin
    if jsonb_typeof(limits) <> 'object' then
        raise sqlstate '22023' using message = 'limits must be an object of limits by bucket';
    end if;
    allowed := worker.effective_limits(admit_site.site, limits -> admit_site.site);

    -- Whoever counts all searches of the site does so alone, whatever the account.
    if allowed.searches is not null then
        perform pg_advisory_xact_lock(hashtextextended('worker.admit_site ' || admit_site.site, 0));
    end if;
    health := worker.lock_health(admit_site.site, via);
    refusal := coalesce(
        worker.defer_if_paused(admit_site.run_id, admit_site.site, via, health),
        worker.defer_if_user_paused(admit_site.run_id, admit_site.site, via));
    if refusal is not null then
        return refusal;
    end if;

    waiting := worker.wait_state(admit_site.run_id, admit_site.site);
    for gate in
        select level.account, level.most, ahead.waiters, ahead.back_at, ahead.is_due, (
            select count(*)
            from worker.site_searches as search
            join worker.leases as lease on lease.run_id = search.run_id
            where search.site = admit_site.site and level.account in ('', search.account)
              and search.run_id <> admit_site.run_id and lease.expires_at > worker.now()
        ) as under_way
        from (values (via, allowed.searches_per_account), ('', allowed.searches)) as level (account, most)
        cross join lateral worker.queue_ahead(
            admit_site.site, level.account, '{searches}', waiting.since, admit_site.run_id) as ahead
        where level.most is not null and not exists (
            select from worker.site_searches as search
            where search.run_id = admit_site.run_id and search.site = admit_site.site)
    loop
        continue when gate.under_way + gate.waiters < gate.most;
        -- A place is free, but for somebody who was told to come back later.
        if gate.under_way < gate.most and not gate.is_due then
            perform worker.wake_next(admit_site.site, gate.account);
        end if;
        -- Who is next is told when a place is free; the time is for when that gets lost.
        return worker.defer_site(
            admit_site.run_id, admit_site.site, gate.account, admit_site.site, 1, 'searches',
            format('%s of %s searches of the site at a time are under way, %s wait before this one',
                   gate.under_way, gate.most, gate.waiters),
            'rate_limited',
            worker.now() + least(interval '30 seconds' * (1 + gate.waiters / gate.most), interval '10 minutes'),
            is_guess => true);
    end loop;

    -- Who waits for a permit waits on until he has it: nobody else may have it before he asks.
    delete from worker.site_waits as wait
    where wait.run_id = admit_site.run_id and wait.site = admit_site.site and wait.reason in ('searches', 'paused');
    insert into worker.site_searches as search (run_id, site, account, waiting_since, waited)
    values (admit_site.run_id, admit_site.site, via, waiting.since, waiting.waited)
    on conflict on constraint site_searches_pkey do update set account = excluded.account;
    perform worker.start_probe(health, admit_site.run_id);
    return jsonb_build_object('granted', true, 'wait_seconds', 0);
end;
$$;
comment on function worker.admit_site is
    'Lets a leased run search a site, or tells it when to come back: {granted, wait_seconds}, {granted, reason, message, '
    'retry_in_seconds, until} or, beyond max_site_wait, {granted, error_code, message}. limits are those that the source '
    'declares, by bucket. Again it takes no second place.';
