-- When does a site's circuit breaker open and close, and how long is the site paused? The breaker opens after some
-- failures in a row, for a pause that doubles each time, and closes after a success. The failures of one user alone
-- pause only that user. A pause that the site asks for always counts.
-- Calls: kernel/clock, kernel/pages, sites/wake, sites/waiting.

create function worker.lock_health(site text, account text, exit text default '') returns worker.site_health
language plpgsql set search_path = '' as $$
declare
    held worker.site_health;
    set_back interval;
begin
    loop
        select * into held from worker.site_health as health
        where health.site = lock_health.site and health.account = lock_health.account and health.exit = lock_health.exit
        for no key update;
        exit when found;
        insert into worker.site_health (site, account, exit)
        values (lock_health.site, lock_health.account, lock_health.exit)
        on conflict do nothing;
    end loop;

    set_back := worker.clock_set_back_since(held.updated_at);
    if set_back > '0' then
        update worker.site_health as health
        set paused_until = health.paused_until - set_back, updated_at = health.updated_at - set_back
        where health.site = held.site and health.account = held.account and health.exit = held.exit
        returning health.* into strict held;
    end if;
    return held;
end;
$$;
comment on function worker.lock_health is
    'Locks the health of a site until the transaction ends. If the clock was set back, moves its pause back with '
    'it.';

create function worker.lock_health_if_paused(site text, account text) returns worker.site_health
language plpgsql set search_path = '' as $$
begin
    perform from worker.site_health as health
    where health.site = lock_health_if_paused.site and health.account = lock_health_if_paused.account
      and health.exit = '' and health.paused_until is not null;
    if found then
        return worker.lock_health(site, account);
    end if;
    return null;
end;
$$;
comment on function worker.lock_health_if_paused is
    'Locks the health of a site without exits whose breaker is open or half open, until the transaction ends; returns null if it is '
    'closed.';

create function worker.is_site_failure(run_id uuid, site text, error_code text) returns boolean
language sql stable set search_path = ''
begin atomic
    -- A search without results looks the same as an answer that is hidden behind a captcha.
    select is_site_failure.error_code <> 'unverified'
        or exists (
            select from public.search_results as result
            where result.run_id = is_site_failure.run_id and result.site = is_site_failure.site)
        or exists (
            select from worker.pages_of_search(is_site_failure.run_id, is_site_failure.site) as page
            where page.status in ('failed', 'partial'));
end;
comment on function worker.is_site_failure is
    'Returns whether the failure of a search counts as a failure of its site. unverified counts only with a page '
    'that shows it: without results and unreadable pages, the search may simply have no results.';

create function worker.count_failure(
    site text, account text, exit text, run_id uuid, rule worker.breaker_rules,
    out counted integer, out is_counted boolean, out may_reopen boolean
)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    now timestamptz := worker.now();
    most integer := case when count_failure.account = '' then rule.failures_per_user else 2147483647 end;
    own worker.site_failures;
begin
    insert into worker.site_failures as known (site, account, exit, user_id, run_ids, failed_at)
    select count_failure.site, count_failure.account, count_failure.exit, run.user_id, array[run.id], now
    from public.search_runs as run where run.id = count_failure.run_id
    on conflict on constraint site_failures_pkey do update set
        run_ids = (excluded.run_ids || known.run_ids)[1:20], failures = known.failures + 1, failed_at = now
    where count_failure.run_id <> all (known.run_ids)
    returning * into own;
    is_counted := found and own.failures <= most;

    select sum(least(known.failures, most)),
           bool_or(known.failures <= most) filter (where count_failure.run_id = any (known.run_ids))
    into counted, may_reopen
    from worker.site_failures as known
    where known.site = count_failure.site and known.account = count_failure.account and known.exit = count_failure.exit;

    -- A user whose failures alone would open the breaker is paused alone.
    if not is_counted and own.failures >= rule.failures then
        update worker.site_failures as known
        set pause = least(rule.pause * 2 ^ least(own.failures - rule.failures, 20), rule.max_pause),
            paused_by = rule.error_code
        where known.site = own.site and known.account = own.account and known.exit = own.exit
          and known.user_id = own.user_id;
    end if;
end;
$$;
comment on function worker.count_failure is
    'Counts a run that failed at a site. Returns how many failures count for the breaker now, and whether this one '
    'does: not the second failure of a run, nor more than failures_per_user runs of a user. may_reopen: whether a '
    'failed probe opens the breaker again, also the second probe of a run. The caller has locked the health of the '
    'site.';

create function worker.reset_failures(health worker.site_health) returns void
language plpgsql set search_path = '' as $$
declare
    had_paused boolean;
begin
    with forgotten as (
        delete from worker.site_failures as known
        where known.site = health.site and known.account = health.account and known.exit = health.exit
        returning known.pause
    )
    select bool_or(forgotten.pause is not null) into had_paused from forgotten;
    -- If the breaker closes, too, its trigger wakes them.
    if had_paused and health.paused_until is null then
        perform worker.wake_paused_runs(health.site, health.account);
    end if;
end;
$$;
comment on function worker.reset_failures is
    'Resets the failures that the breaker of a site counts, and ends the pauses of single users, after a successful '
    'search.';

create function worker.after_success(health worker.site_health) returns worker.site_health
language plpgsql set search_path = '' as $$
begin
    health.last_success_at := worker.now();
    health.consecutive_failures := 0;
    -- A search that started before the pause does not end it.
    if health.paused_until is null or health.paused_until <= worker.now() then
        health.paused_until := null;
        health.paused_by := null;
        health.trips := 0;
        health.prober_run_id := null;
    end if;
    return health;
end;
$$;
comment on function worker.after_success is 'Returns the health of a site after a successful search.';

create function worker.after_failure(
    health worker.site_health, run_id uuid, rule worker.breaker_rules, counted integer, is_counted boolean,
    may_reopen boolean, error_code text, retry_after_seconds double precision
) returns worker.site_health
language plpgsql set search_path = '' as $$
declare
    now timestamptz := worker.now();
    is_open boolean := coalesce(health.paused_until > now, false);
    pause interval;
begin
    health.last_failure_at := now;
    health.last_error_code := after_failure.error_code;
    health.consecutive_failures := coalesce(after_failure.counted, health.consecutive_failures);
    -- While the breaker is half open, only the probe counts, not searches from before it opened.
    if not is_open and (
        (is_counted and health.paused_until is null and counted >= rule.failures)
        or (is_counted and health.paused_until is not null and health.prober_run_id is null)
        -- Otherwise the runs that have failed before would probe the site one after another, without a pause.
        or (may_reopen and health.paused_until is not null and health.prober_run_id = after_failure.run_id)
    ) then
        pause := least(rule.pause * 2 ^ health.trips, rule.max_pause);
    end if;
    -- At most a day, whatever the site says: then it is asked again, and may repeat it.
    if after_failure.retry_after_seconds > 0 then
        pause := greatest(pause, make_interval(secs => least(after_failure.retry_after_seconds, 86400)));
    end if;
    if pause is not null then
        health.paused_until := greatest(health.paused_until, now + pause);
        health.paused_by := after_failure.error_code;
        health.trips := least(health.trips + case when is_open then 0 else 1 end, 20);
        health.prober_run_id := null;
    end if;
    return health;
end;
$$;
comment on function worker.after_failure is
    'Returns the health of a site after a failure: the breaker opens when enough failures count, opens again when '
    'the probe fails, and stays open as long as the site asks for.';

create function worker.note_outcome(health worker.site_health, outcome text) returns worker.site_health
language plpgsql stable set search_path = '' as $$
begin
    health.latest_outcomes := right(
        health.latest_outcomes || note_outcome.outcome, (select settings.rotating_window from worker.settings as settings));
    -- Without a failure there is nothing to watch, and nothing to write at each page.
    if health.latest_outcomes !~ 'f' then
        health.latest_outcomes := '';
    end if;
    return health;
end;
$$;
comment on function worker.note_outcome is 'Returns the health of a rotating exit after a good page (s) or a failure (f).';

create function worker.fails_too_often(health worker.site_health) returns boolean
language sql stable set search_path = ''
return (
    select length(health.latest_outcomes) >= settings.rotating_window
       and length(replace(health.latest_outcomes, 's', '')) >= settings.rotating_failures * length(health.latest_outcomes)
    from worker.settings as settings
);
comment on function worker.fails_too_often is
    'Returns whether so many of the latest outcomes of a rotating exit are failures that it is paused. Failures in a row '
    'say nothing, because each request may leave from another address.';

create function worker.record_site_outcome(
    run_ids uuid[], site text, account text, exit text, error_code text, retry_after_seconds double precision,
    response_ms double precision
) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    health worker.site_health := worker.lock_health(
        record_site_outcome.site, coalesce(record_site_outcome.account, ''), record_site_outcome.exit);
    rule worker.breaker_rules;
    counted integer;
    is_counted boolean := false;
    may_reopen boolean := false;
    -- In a moving average in which the last search counts for a fifth.
    weight double precision := 1 - 0.8 ^ cardinality(run_ids);
begin
    if record_site_outcome.error_code is null then
        health := worker.after_success(health);
        perform worker.reset_failures(health);
    -- A user's mistake is no failure of the site. A pause that the site asked for always counts.
    elsif record_site_outcome.error_code not in ('invalid_parameters', 'not_found') and (
        record_site_outcome.retry_after_seconds > 0
        or worker.is_site_failure(run_ids[1], record_site_outcome.site, record_site_outcome.error_code)
    ) then
        select * into rule from worker.breaker_rules as known where known.error_code = record_site_outcome.error_code;
        if rule.error_code is not null then
            select failure.* into counted, is_counted, may_reopen
            from worker.count_failure(health.site, health.account, health.exit, run_ids[1], rule) as failure;
            if health.latest_outcomes <> '' then
                health := worker.note_outcome(health, 'f');
                is_counted := worker.fails_too_often(health);
                counted := rule.failures;
            end if;
        end if;
        health := worker.after_failure(health, run_ids[1], rule, counted, is_counted, may_reopen,
                                       record_site_outcome.error_code, record_site_outcome.retry_after_seconds);
    end if;

    update worker.site_health as known
    set last_success_at = health.last_success_at, last_failure_at = health.last_failure_at,
        last_error_code = health.last_error_code, consecutive_failures = health.consecutive_failures,
        paused_until = health.paused_until, paused_by = health.paused_by, trips = health.trips,
        prober_run_id = health.prober_run_id, latest_outcomes = health.latest_outcomes, updated_at = worker.now(),
        success_rate = case
            when record_site_outcome.error_code is null
                then coalesce(known.success_rate + weight * (1 - known.success_rate), 1)
            when is_counted then coalesce(known.success_rate * (1 - weight), 0)
            else known.success_rate end,
        response_ms = coalesce(known.response_ms + weight * (record_site_outcome.response_ms - known.response_ms),
                               record_site_outcome.response_ms, known.response_ms),
        search_seconds = coalesce(known.search_seconds + weight * (search.seconds - known.search_seconds),
                                  search.seconds, known.search_seconds)
    from (
        select avg(extract(epoch from worker.now() - searched.started_at)) as seconds
        from public.search_run_sites as searched
        where searched.run_id = any (run_ids) and searched.site = record_site_outcome.site
          and record_site_outcome.error_code is null and searched.started_at <= worker.now()
    ) as search
    where known.site = health.site and known.account = health.account and known.exit = health.exit;

    delete from worker.site_waits as wait
    where wait.run_id = any (record_site_outcome.run_ids) and wait.site = record_site_outcome.site;
    perform worker.release_search_slots(record_site_outcome.run_ids, record_site_outcome.site,
                                        coalesce(record_site_outcome.account, ''));
end;
$$;
comment on function worker.record_site_outcome is
    'Records how a search of a site ended, or that several succeeded, for the breaker and the order of sites, and '
    'releases the slots. It must come last in a transaction, because all users share the rows that it locks.';

create function worker.record_good_page(run_id uuid, site text, account text) returns void
language plpgsql set search_path = '' as $$
declare
    via text := coalesce((
        select search.exit from worker.site_searches as search
        where search.run_id = record_good_page.run_id and search.site = record_good_page.site), '');
begin
    update worker.site_searches as search set waiting_since = null, waited = '0', is_within_page = false
    where search.run_id = record_good_page.run_id and search.site = record_good_page.site
      and (search.waiting_since is not null or search.is_within_page);

    with closed as (
        update worker.site_health as health
        set paused_until = null, paused_by = null, trips = 0, consecutive_failures = 0, prober_run_id = null,
            latest_outcomes = '', updated_at = worker.now()
        where health.site = record_good_page.site and health.account = coalesce(record_good_page.account, '')
          and health.exit = via and health.prober_run_id is not null and health.paused_until <= worker.now()
        returning health.site, health.account, health.exit
    )
    delete from worker.site_failures as failed using closed
    where failed.site = closed.site and failed.account = closed.account and failed.exit = closed.exit;

    if via <> '' then
        update worker.site_health as health
        set latest_outcomes = (worker.note_outcome(health, 's')).latest_outcomes, updated_at = worker.now()
        where health.site = record_good_page.site and health.account = coalesce(record_good_page.account, '')
          and health.exit = via and health.latest_outcomes <> '';
    end if;
end;
$$;
comment on function worker.record_good_page is
    'Records that a run got a good page of a site: its waiting time starts again at zero, and a half-open breaker '
    'closes.';
