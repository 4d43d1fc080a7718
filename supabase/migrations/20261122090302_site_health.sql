-- When a site may be asked, decided once for all workers. A site is admitted before it is searched: its breaker must let
-- it through, and one more search must be allowed. Then each request takes a permit: pace, delay and quota.
--
-- Nobody waits in a circle. Everywhere the order is: the run, its lease, the searches of a site, its health, the bucket;
-- one of each. Other runs are never waited for, and who ends several lets go of the health of each in any order, but
-- holds nothing that somebody who has one of them waits for.
--
-- Whoever is refused is told when to come back, and has lost its place and its probe by then: it is not searching.

-- What is allowed ----------------------------------------------------------------------------------------------------

create function worker.read_limits(bucket text, declared jsonb) returns worker.bucket_limits
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    wrong record;
    allowed worker.bucket_limits;
begin
    if jsonb_typeof(declared) not in ('object', 'null') then
        raise sqlstate '22023' using message = 'limits must be an object';
    end if;
    select told.name, rule.expected into wrong
    from jsonb_each(case jsonb_typeof(declared) when 'object' then declared end) as told (name, value)
    left join (values
        ('requests', 'an integer from 1 to 1000000', '$ ? (@ >= 1 && @ <= 1000000 && @ == @.floor())'::jsonpath),
        ('period_seconds', 'a number above 0, of 2678400 at most', '$ ? (@ > 0 && @ <= 2678400)'),
        ('burst', 'an integer from 1 to 1000000', '$ ? (@ >= 1 && @ <= 1000000 && @ == @.floor())'),
        ('min_delay_seconds', 'a number from 0 to 2678400', '$ ? (@ >= 0 && @ <= 2678400)'),
        ('quota', 'an integer from 1 to 1000000000', '$ ? (@ >= 1 && @ <= 1000000000 && @ == @.floor())'),
        ('quota_period', 'day or month', '$ ? (@ == "day" || @ == "month")'),
        ('quota_timezone', 'the name of a time zone', '$ ? (@.type() == "string")'),
        ('searches', 'an integer from 1 to 1000000', '$ ? (@ >= 1 && @ <= 1000000 && @ == @.floor())'),
        ('searches_per_account', 'an integer from 1 to 1000000',
         '$ ? (@ >= 1 && @ <= 1000000 && @ == @.floor())')
    ) as rule (name, expected, path) on rule.name = told.name
    where rule.name is null
       or (told.value <> 'null' and (jsonb_typeof(told.value) in ('array', 'object')
                                     or not jsonb_path_exists(told.value, rule.path, silent => true)))
    limit 1;
    if found then
        raise sqlstate '22023' using message = coalesce(
            format('limits.%s must be %s', wrong.name, wrong.expected), format('limits.%s is no limit', wrong.name));
    end if;

    select read_limits.bucket,
           coalesce(own.requests, (declared ->> 'requests')::numeric::integer),
           coalesce(own.period_seconds, (declared ->> 'period_seconds')::double precision, 60),
           coalesce(own.burst, (declared ->> 'burst')::numeric::integer, 1),
           coalesce(own.min_delay_seconds, (declared ->> 'min_delay_seconds')::double precision),
           coalesce(own.quota, (declared ->> 'quota')::numeric::integer),
           coalesce(own.quota_period, declared ->> 'quota_period', 'day'),
           coalesce(own.quota_timezone, declared ->> 'quota_timezone', 'UTC'),
           coalesce(own.searches, (declared ->> 'searches')::numeric::integer),
           coalesce(own.searches_per_account, (declared ->> 'searches_per_account')::numeric::integer)
    into allowed
    from (select) as nothing
    left join worker.bucket_limits as own on own.bucket = read_limits.bucket;

    allowed.burst := least(allowed.burst, allowed.requests);
    begin
        perform worker.next_reset(allowed.quota_period, allowed.quota_timezone, worker.now());
    exception when invalid_parameter_value then
        raise sqlstate '22023' using
            message = format('limits.quota_timezone must be the name of a time zone, not %L', allowed.quota_timezone);
    end;
    return allowed;
end;
$$;
comment on function worker.read_limits is
    'What a bucket allows: the operator''s own limits, and else those that a source declares. Raises 22023 (HTTP 400) '
    'for what is none.';

create function worker.next_reset(period text, timezone text, at timestamptz) returns timestamptz
language sql stable set search_path = ''
return (date_trunc(period, at at time zone timezone) + ('1 ' || period)::interval) at time zone timezone;
comment on function worker.next_reset is 'The first midnight of the next calendar day or month in a time zone.';

create function worker.pace(allowed worker.bucket_limits) returns interval
language sql stable set search_path = ''
-- At most `burst` at once, and then one at a time, make `requests` within any period. Rounded up: not one too many.
return (
    select make_interval(secs => ceil(
        (allowed.period_seconds + extract(epoch from settings.permit_slack)::double precision)
        / (allowed.requests - allowed.burst + 1) * 1000000) / 1000000)
    from worker.settings as settings
);
comment on function worker.pace is 'Time that each request of a bucket takes up; null if there may be any number.';

create function worker.in_words(at timestamptz) returns text
language sql stable set search_path = ''
return to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"');
comment on function worker.in_words is 'A time for people.';

-- Rows that all workers share ----------------------------------------------------------------------------------------

create function worker.set_back_since(at timestamptz) returns interval
language sql stable set search_path = ''
-- In seconds: days are not always of the same length.
return pg_catalog.make_interval(secs => extract(epoch from at - worker.now())::double precision);
comment on function worker.set_back_since is 'How far the clock was set back since then, at least; below zero if it was not.';

create function worker.hold_health(site text, account text) returns worker.site_health
language plpgsql set search_path = '' as $$
declare
    held worker.site_health;
    set_back interval;
begin
    loop
        select * into held from worker.site_health as health
        where health.site = hold_health.site and health.account = hold_health.account
        for no key update;
        exit when found;
        insert into worker.site_health (site, account) values (hold_health.site, hold_health.account)
        on conflict do nothing;
    end loop;

    set_back := worker.set_back_since(held.updated_at);
    if set_back > '0' then
        update worker.site_health as health
        set paused_until = health.paused_until - set_back, updated_at = health.updated_at - set_back
        where health.site = held.site and health.account = held.account
        returning health.* into strict held;
    end if;
    return held;
end;
$$;
comment on function worker.hold_health is
    'Locks the health of a site until the transaction ends. After the clock was set back, what is left of a pause is no '
    'more than it was.';

create function worker.hold_bucket(bucket text, account text) returns worker.site_buckets
language plpgsql set search_path = '' as $$
declare
    held worker.site_buckets;
    set_back interval;
begin
    loop
        select * into held from worker.site_buckets as known
        where known.bucket = hold_bucket.bucket and known.account = hold_bucket.account
        for no key update;
        exit when found;
        insert into worker.site_buckets (bucket, account) values (hold_bucket.bucket, hold_bucket.account)
        on conflict do nothing;
    end loop;

    set_back := worker.set_back_since(held.updated_at);
    if set_back > '0' then
        update worker.site_buckets as known
        set next_at = known.next_at - set_back, last_at = known.last_at - set_back,
            paused_until = known.paused_until - set_back,
            quota_resets_at = case when known.is_reset_told then known.quota_resets_at - set_back
                                   else known.quota_resets_at end,
            updated_at = known.updated_at - set_back
        where known.bucket = held.bucket and known.account = held.account
        returning known.* into strict held;
    end if;
    return held;
end;
$$;
comment on function worker.hold_bucket is
    'Locks a bucket until the transaction ends. After the clock was set back, what is left to wait is no more than it '
    'was.';

-- Waiting ------------------------------------------------------------------------------------------------------------

create function worker.waiting_of(
    run_id uuid, site text, out since timestamptz, out waited interval, out is_within_page boolean
)
language sql stable set search_path = ''
begin atomic
    select least(coalesce(wait.waiting_since, search.waiting_since), worker.now()),
           -- Not coalesce() alone: greatest() passes over what is null.
           case when wait.run_id is not null
                then greatest(wait.waited - greatest(wait.due_at - worker.now(), '0'), '0')
                else coalesce(search.waited, '0') end,
           coalesce(search.is_within_page, false)
    from (select) as nothing
    left join worker.site_waits as wait on wait.run_id = waiting_of.run_id and wait.site = waiting_of.site
    left join worker.site_searches as search on search.run_id = waiting_of.run_id and search.site = waiting_of.site;
end;
comment on function worker.waiting_of is
    'Since when a run waits for a site, which is its place in the order; for how long so far; and whether it has asked for a '
    'part of a page.';

create function worker.line(
    bucket text, accounts text[], reasons text[], asking_run_id uuid default null, asking_since timestamptz default null
) returns table (run_id uuid, place bigint, requests integer, due_at timestamptz)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    now timestamptz := worker.now();
    settings worker.settings;
begin
    select * into strict settings from worker.settings;
    return query
    with waiting as (
        select wait.run_id, wait.waiting_since as since, wait.requests, wait.due_at
        from worker.site_waits as wait
        -- By the time, too: past those who were due long ago.
        where wait.bucket = line.bucket
          and wait.due_at > now - settings.wait_grace and wait.due_at <= now + settings.max_site_wait
          and wait.account = any (line.accounts) and wait.reason = any (line.reasons)
          and wait.run_id is distinct from line.asking_run_id
          and (not wait.lets_pass or wait.due_at <= now)
          -- No place is kept for a run that searches another site meanwhile.
          and (wait.reason <> 'searches' or wait.due_at <= now or exists (
              select from public.search_runs as run where run.id = wait.run_id and run.status = 'pending'))
        union all
        select line.asking_run_id, line.asking_since, 0, null where line.asking_run_id is not null
    ), ranked as (
        select waiting.*, run.user_id,
               case when waiting.since <= now - settings.max_priority_wait then max(run.priority) over ()
                    else run.priority end as priority
        from waiting join public.search_runs as run on run.id = waiting.run_id
    ), numbered as (
        select ranked.*, case when share.last_at <= now then share.last_at else ranked.since end as turn,
               coalesce(under_way.searches, 0) + row_number() over (
                   partition by ranked.user_id, ranked.priority order by ranked.since, ranked.run_id) as nth
        from ranked
        left join worker.site_shares as share
            on share.bucket = line.bucket and share.user_id = ranked.user_id and line.accounts = '{""}'
        left join lateral (
            select count(*) as searches
            from worker.site_searches as search join public.search_runs as run on run.id = search.run_id
            where search.site = line.bucket and run.user_id = ranked.user_id
        ) as under_way on line.reasons = '{searches}'
    )
    select numbered.run_id,
           row_number() over (order by numbered.since = '-infinity' desc, numbered.priority desc, numbered.nth,
                                       numbered.turn, numbered.since, numbered.run_id),
           numbered.requests, numbered.due_at
    from numbered;
end;
$$;
comment on function worker.line is
    'Who is next of those that wait for the same, as far as they come back in time, and of a run that asks: a page that '
    'is half asked for; then by priority, which grows to the highest after max_priority_wait; then users in turn, each '
    'with one run, who was served longest ago first; of a user the run that has waited longest.';

create function worker.waiting_before(
    bucket text, account text, reasons text[], since timestamptz, run_id uuid,
    out waiters integer, out requests integer, out back_at timestamptz, out is_due boolean
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    now timestamptz := worker.now();
    grace interval := (select settings.wait_grace from worker.settings as settings);
begin
    waiters := 0;
    requests := 0;
    is_due := false;
    -- Most often there is nobody.
    if not exists (
        select from worker.site_waits as wait
        where wait.bucket = waiting_before.bucket and wait.due_at > now - grace
          and wait.account = waiting_before.account and wait.run_id <> waiting_before.run_id
    ) then
        return;
    end if;
    with line as materialized (
        select known.* from worker.line(waiting_before.bucket, array[waiting_before.account], waiting_before.reasons,
                                        waiting_before.run_id, coalesce(waiting_before.since, now)) as known
    )
    select count(*), coalesce(sum(line.requests), 0),
           max(line.due_at + case when line.due_at <= now then grace else '0' end),
           coalesce(bool_or(line.due_at <= now), false)
    into waiters, requests, back_at, is_due
    from line
    where line.place < (select own.place from line as own where own.run_id = waiting_before.run_id);
end;
$$;
comment on function worker.waiting_before is
    'Who waits for the same before a run: how many, for how many requests in all, when the last of them is back or given '
    'up, and whether any is due already.';

create function worker.wake_next(site text, account text) returns void
language plpgsql set search_path = '' as $$
declare
    woken uuid;
begin
    -- Locked by another: it is on its way by itself, or ends.
    select wait.run_id into woken
    from worker.line(wake_next.site, array['', wake_next.account], '{searches}') as line
    join worker.site_waits as wait on wait.run_id = line.run_id and wait.site = wake_next.site
    join public.search_runs as run on run.id = wait.run_id
    where run.status = 'pending' and run.run_after > worker.now()
    order by line.place
    limit 1
    for no key update of run, wait skip locked;

    update public.search_runs as run set run_after = worker.now() where run.id = woken;
    update worker.site_waits as wait
    set waited = greatest(wait.waited - greatest(wait.due_at - worker.now(), '0'), '0'), due_at = worker.now()
    where wait.run_id = woken and wait.site = wake_next.site;
end;
$$;
comment on function worker.wake_next is 'Makes the first run due that waits in the queue for a place to search a site.';

create function worker.pass_place_on() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    perform worker.wake_next(old.site, old.account);
    return null;
end;
$$;
comment on function worker.pass_place_on is
    'Lets the next run know of a place to search a site, however it got free: also by a cancellation, or a worker''s death.';

create trigger pass_place_on after delete on worker.site_searches
    for each row execute function worker.pass_place_on();

create function worker.end_search(run_id uuid, site text, account text) returns void
language sql volatile set search_path = ''
begin atomic
    update worker.site_health as health set prober_run_id = null
    where health.prober_run_id = end_search.run_id
      and health.site = end_search.site and health.account = end_search.account;

    delete from worker.site_searches as search
    where search.run_id = end_search.run_id and search.site = end_search.site;
end;
comment on function worker.end_search is 'Frees a run''s place and probe at a site, for the next one.';

create function worker.put_off(
    run_id uuid, site text, account text, bucket text, requests integer, reason text, message text, error_code text,
    due_at timestamptz, is_guess boolean default false, lets_pass boolean default false
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    now timestamptz := worker.now();
    waiting record := worker.waiting_of(put_off.run_id, put_off.site);
    left_to_wait interval := (select max_site_wait from worker.settings) - waiting.waited;
    waited interval;
begin
    -- It may be earlier: then nobody fails before having waited.
    if is_guess and left_to_wait > '0' then
        due_at := least(due_at, now + left_to_wait);
    end if;
    waited := waiting.waited + greatest(due_at - now, '0');
    perform worker.end_search(put_off.run_id, put_off.site, put_off.account);
    insert into worker.site_waits as wait (
        run_id, site, account, bucket, requests, waiting_since, due_at, waited, reason, message, lets_pass)
    values (put_off.run_id, put_off.site, put_off.account, put_off.bucket, put_off.requests,
            coalesce(waiting.since, now), put_off.due_at, waited, put_off.reason, put_off.message, put_off.lets_pass)
    on conflict on constraint site_waits_pkey do update set
        account = excluded.account, bucket = excluded.bucket, requests = excluded.requests,
        waiting_since = excluded.waiting_since, due_at = excluded.due_at, waited = excluded.waited,
        reason = excluded.reason, message = excluded.message, lets_pass = excluded.lets_pass;
    -- What was waited stays known until the site ends: asked again, the answer is the same.
    if waited > waiting.waited + left_to_wait then
        return jsonb_build_object('granted', false, 'error_code', error_code, 'message', message);
    end if;
    return jsonb_build_object(
        'granted', false, 'reason', reason, 'message', message, 'until', put_off.due_at,
        'retry_in_seconds', extract(epoch from greatest(put_off.due_at - now, '0')));
end;
$$;
comment on function worker.put_off is
    'Lets a run wait for a site until a time, which may be a guess; or, if that makes it longer than max_site_wait, tells that the site fails '
    'with the code. Returns the answer for the worker.';

-- The breaker --------------------------------------------------------------------------------------------------------

create function worker.pause_end(health worker.site_health, run_id uuid) returns timestamptz
language sql stable set search_path = ''
return case
    when health.paused_until > worker.now() then health.paused_until
    -- A prober whose worker has died does not try anything.
    when health.paused_until is not null and health.prober_run_id <> run_id and exists (
        select from worker.leases as lease
        where lease.run_id = health.prober_run_id and lease.expires_at > worker.now()
    ) then worker.now() + interval '30 seconds'
end;
comment on function worker.pause_end is
    'Until when a run must leave a site alone: while its breaker is open, and while another run tries it. Null: it need '
    'not.';

create function worker.put_off_paused(
    run_id uuid, site text, account text, health worker.site_health
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    pause_end timestamptz := worker.pause_end(put_off_paused.health, put_off_paused.run_id);
    waiting record := worker.waiting_of(put_off_paused.run_id, put_off_paused.site);
    ahead record := worker.waiting_before(put_off_paused.site, put_off_paused.account, '{paused}', waiting.since,
                                          put_off_paused.run_id);
begin
    if pause_end is null then
        return null;
    end if;
    -- Not all at once: the first to come back tries the site.
    return worker.put_off(
        put_off_paused.run_id, put_off_paused.site, put_off_paused.account, put_off_paused.site, 1, 'paused',
        format('site paused until %s (%s)', worker.in_words(pause_end), health.paused_by), health.paused_by,
        pause_end + least(ahead.waiters, 60) * interval '1 second', is_guess => health.paused_until <= worker.now());
end;
$$;
comment on function worker.put_off_paused is
    'Lets a run wait for a paused site; returns null if it is not paused for this run.';

create function worker.put_off_own(run_id uuid, site text, account text) returns jsonb
language plpgsql set search_path = '' as $$
declare
    pause record;
    ahead record;
begin
    -- Failures of the future are those from before the clock was set back: they pause nobody.
    select failed.failed_at + failed.pause as until, failed.paused_by into pause
    from worker.site_failures as failed
    join public.search_runs as run on run.user_id = failed.user_id
    where run.id = put_off_own.run_id and failed.site = put_off_own.site and failed.account = put_off_own.account
      and failed.failed_at <= worker.now() and failed.failed_at + failed.pause > worker.now();
    if not found then
        return null;
    end if;
    ahead := worker.waiting_before(put_off_own.site, put_off_own.account, '{paused}',
                                   (worker.waiting_of(put_off_own.run_id, put_off_own.site)).since, put_off_own.run_id);
    return worker.put_off(
        put_off_own.run_id, put_off_own.site, put_off_own.account, put_off_own.site, 1, 'paused',
        format('site paused for your searches until %s (%s)', worker.in_words(pause.until), pause.paused_by),
        pause.paused_by, pause.until + least(ahead.waiters, 60) * interval '1 second');
end;
$$;
comment on function worker.put_off_own is
    'Lets a run wait for a site where its user''s searches alone keep failing; returns null if they do not.';

create function worker.probe(health worker.site_health, run_id uuid) returns void
language sql volatile set search_path = ''
begin atomic
    update worker.site_health as tried set prober_run_id = probe.run_id, updated_at = worker.now()
    where (probe.health).paused_until is not null
      and tried.site = (probe.health).site and tried.account = (probe.health).account
      and tried.prober_run_id is distinct from probe.run_id;
end;
comment on function worker.probe is 'Lets a run try a site whose breaker is half open, alone.';

create function worker.note_page(run_id uuid, site text, account text) returns void
language sql volatile set search_path = ''
begin atomic
    update worker.site_searches as search set waiting_since = null, waited = '0', is_within_page = false
    where search.run_id = note_page.run_id and search.site = note_page.site
      and (search.waiting_since is not null or search.is_within_page);

    with closed as (
        update worker.site_health as health
        set paused_until = null, paused_by = null, trips = 0, consecutive_failures = 0, prober_run_id = null,
            updated_at = worker.now()
        where health.site = note_page.site and health.account = coalesce(note_page.account, '')
          and health.prober_run_id is not null and health.paused_until <= worker.now()
        returning health.site, health.account
    )
    delete from worker.site_failures as failed using closed
    where failed.site = closed.site and failed.account = closed.account;
end;
comment on function worker.note_page is
    'Notes that a run got a good page of a site: its turn is over, its waiting counts anew, and the breaker of a site that '
    'is tried closes.';

create function worker.wake_paused_runs(site text, account text) returns void
language sql volatile set search_path = ''
begin atomic
    with woken as (
        select locked.run_id,
               worker.now() + least(row_number() over (order by locked.place) - 1, 60) * interval '1 second' as due_at
        from (
            select wait.run_id, line.place
            from worker.line(wake_paused_runs.site, array[wake_paused_runs.account], '{paused}') as line
            join worker.site_waits as wait on wait.run_id = line.run_id and wait.site = wake_paused_runs.site
            join public.search_runs as run on run.id = wait.run_id
            where run.status = 'pending' and run.run_after > worker.now()
            for no key update of run, wait skip locked
        ) as locked
    ), waiting as (
        update worker.site_waits as wait
        set waited = greatest(wait.waited - (wait.due_at - woken.due_at), '0'), due_at = woken.due_at
        from woken
        where wait.run_id = woken.run_id and wait.site = wake_paused_runs.site and wait.due_at > woken.due_at
    )
    update public.search_runs as run
    set run_after = woken.due_at
    from woken
    where run.id = woken.run_id and run.run_after > woken.due_at;
end;
comment on function worker.wake_paused_runs is
    'Makes the runs due that wait in the queue for a site which may be searched again: one a second.';

create function worker.wake_paused() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    perform worker.wake_paused_runs(new.site, new.account);
    return null;
end;
$$;
comment on function worker.wake_paused is 'Makes the runs due that wait for a site whose breaker has closed.';

create trigger wake_paused after update of paused_until on worker.site_health
    for each row when (old.paused_until is not null and new.paused_until is null)
    execute function worker.wake_paused();

create function worker.is_evidence(run_id uuid, site text, error_code text) returns boolean
language sql stable set search_path = ''
begin atomic
    -- A search for what is not there ends as an answer that is hidden behind a captcha does.
    select is_evidence.error_code <> 'unverified'
        or exists (
            select from public.search_results as result
            where result.run_id = is_evidence.run_id and result.site = is_evidence.site)
        or exists (
            select from worker.pages_of_search(is_evidence.run_id, is_evidence.site) as page
            where page.status in ('failed', 'partial'));
end;
comment on function worker.is_evidence is
    'Whether the failure of a search says something of its site. An unverified end does only with a page that says so: with '
    'nothing found and nothing unreadable, it may be what was searched for.';

create function worker.count_failure(
    site text, account text, run_id uuid, rule worker.breaker_rules, out counted integer, out is_counted boolean
)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    now timestamptz := worker.now();
    most integer := case when count_failure.account = '' then rule.failures_per_user else 2147483647 end;
    own worker.site_failures;
begin
    insert into worker.site_failures as known (site, account, user_id, run_ids, failed_at)
    select count_failure.site, count_failure.account, run.user_id, array[run.id], now
    from public.search_runs as run where run.id = count_failure.run_id
    on conflict on constraint site_failures_pkey do update set
        run_ids = (excluded.run_ids || known.run_ids)[1:20], failures = known.failures + 1, failed_at = now
    where count_failure.run_id <> all (known.run_ids)
    returning * into own;
    is_counted := found and own.failures <= most;

    select sum(least(known.failures, most)) into counted
    from worker.site_failures as known
    where known.site = count_failure.site and known.account = count_failure.account;

    -- Who has as many alone as would open the breaker leaves the site alone, and nobody else has to.
    if not is_counted and own.failures >= rule.failures then
        update worker.site_failures as known
        set pause = least(rule.pause * 2 ^ least(own.failures - rule.failures, 20), rule.max_pause),
            paused_by = rule.error_code
        where known.site = own.site and known.account = own.account and known.user_id = own.user_id;
    end if;
end;
$$;
comment on function worker.count_failure is
    'Notes a run that failed at a site: how many count for the breaker now, and whether this one does: not the second '
    'failure of a run, nor another run of a user with failures_per_user. Its caller holds the health of the site.';

create function worker.forget_failures(health worker.site_health) returns void
language plpgsql set search_path = '' as $$
declare
    had_paused boolean;
begin
    with forgotten as (
        delete from worker.site_failures as known
        where known.site = health.site and known.account = health.account
        returning known.pause
    )
    select bool_or(forgotten.pause is not null) into had_paused from forgotten;
    -- Where the breaker closes with it, its trigger wakes them.
    if had_paused and health.paused_until is null then
        perform worker.wake_paused_runs(health.site, health.account);
    end if;
end;
$$;
comment on function worker.forget_failures is
    'Lets the breaker of a site count from the beginning, and ends the pauses of single users: a search of somebody '
    'succeeded.';

create function worker.after_success(health worker.site_health) returns worker.site_health
language plpgsql set search_path = '' as $$
begin
    health.last_success_at := worker.now();
    health.consecutive_failures := 0;
    -- A search that was under way already does not end the pause.
    if health.paused_until is null or health.paused_until <= worker.now() then
        health.paused_until := null;
        health.paused_by := null;
        health.trips := 0;
        health.prober_run_id := null;
    end if;
    return health;
end;
$$;
comment on function worker.after_success is 'The health of a site after a search that succeeded.';

create function worker.after_failure(
    health worker.site_health, run_id uuid, rule worker.breaker_rules, counted integer, is_counted boolean,
    error_code text, retry_after_seconds double precision
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
    -- Of a search that was under way when the breaker opened, the prober decides.
    if is_counted and not is_open and (
        (health.paused_until is null and counted >= rule.failures)
        or (health.paused_until is not null and coalesce(health.prober_run_id = after_failure.run_id, true))
    ) then
        pause := least(rule.pause * 2 ^ health.trips, rule.max_pause);
    end if;
    -- Not for ever, whatever a site says: it is asked again, and may say so again.
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
    'The health of a site after a failure that says something of it: the breaker opens when enough count, again when the '
    'prober''s does, and for as long as the site asks for.';

create function worker.note_site_end(
    run_id uuid, site text, account text, error_code text, retry_after_seconds double precision,
    response_ms double precision
) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    health worker.site_health := worker.hold_health(note_site_end.site, coalesce(note_site_end.account, ''));
    rule worker.breaker_rules;
    counted integer;
    is_counted boolean := false;
begin
    if note_site_end.error_code is null then
        health := worker.after_success(health);
        perform worker.forget_failures(health);
    -- What a user got wrong says nothing about the site; what it asked for itself says it all.
    elsif note_site_end.error_code not in ('invalid_parameters', 'not_found') and (
        note_site_end.retry_after_seconds > 0
        or worker.is_evidence(note_site_end.run_id, note_site_end.site, note_site_end.error_code)
    ) then
        select * into rule from worker.breaker_rules as known where known.error_code = note_site_end.error_code;
        if rule.error_code is not null then
            select failure.* into counted, is_counted
            from worker.count_failure(health.site, health.account, note_site_end.run_id, rule) as failure;
        end if;
        health := worker.after_failure(health, note_site_end.run_id, rule, counted, is_counted,
                                       note_site_end.error_code, note_site_end.retry_after_seconds);
    end if;

    update worker.site_health as known
    set last_success_at = health.last_success_at, last_failure_at = health.last_failure_at,
        last_error_code = health.last_error_code, consecutive_failures = health.consecutive_failures,
        paused_until = health.paused_until, paused_by = health.paused_by, trips = health.trips,
        prober_run_id = health.prober_run_id, updated_at = worker.now(),
        success_rate = case
            when note_site_end.error_code is null then coalesce(known.success_rate + 0.2 * (1 - known.success_rate), 1)
            when is_counted then coalesce(known.success_rate * 0.8, 0)
            else known.success_rate end,
        response_ms = coalesce(known.response_ms + 0.2 * (note_site_end.response_ms - known.response_ms),
                               note_site_end.response_ms, known.response_ms)
    where known.site = health.site and known.account = health.account;

    delete from worker.site_waits as wait where wait.run_id = note_site_end.run_id and wait.site = note_site_end.site;
    perform worker.end_search(note_site_end.run_id, note_site_end.site, health.account);
end;
$$;
comment on function worker.note_site_end is
    'Notes how a search of a site ended, for the breaker and the order of sites, and frees its place. The last thing that '
    'a transaction does: what it locks is everybody''s.';

-- Admission ----------------------------------------------------------------------------------------------------------

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
    allowed := worker.read_limits(admit_site.site, limits -> admit_site.site);

    -- Whoever counts all searches of the site does so alone, whatever the account.
    if allowed.searches is not null then
        perform pg_advisory_xact_lock(hashtextextended('worker.admit_site ' || admit_site.site, 0));
    end if;
    health := worker.hold_health(admit_site.site, via);
    refusal := coalesce(
        worker.put_off_paused(admit_site.run_id, admit_site.site, via, health),
        worker.put_off_own(admit_site.run_id, admit_site.site, via));
    if refusal is not null then
        return refusal;
    end if;

    waiting := worker.waiting_of(admit_site.run_id, admit_site.site);
    for gate in
        select level.account, level.most, ahead.waiters, ahead.back_at, ahead.is_due, (
            select count(*)
            from worker.site_searches as search
            join worker.leases as lease on lease.run_id = search.run_id
            where search.site = admit_site.site and level.account in ('', search.account)
              and search.run_id <> admit_site.run_id and lease.expires_at > worker.now()
        ) as under_way
        from (values (via, allowed.searches_per_account), ('', allowed.searches)) as level (account, most)
        cross join lateral worker.waiting_before(
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
        return worker.put_off(
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
    perform worker.probe(health, admit_site.run_id);
    return jsonb_build_object('granted', true, 'wait_seconds', 0);
end;
$$;
comment on function worker.admit_site is
    'Lets a leased run search a site, or tells it when to come back: {granted, wait_seconds}, {granted, reason, message, '
    'retry_in_seconds, until} or, beyond max_site_wait, {granted, error_code, message}. limits are those that the source '
    'declares, by bucket. Again it takes no second place.';

-- Permits ------------------------------------------------------------------------------------------------------------

create function worker.require_bucket(bucket text, site text) returns void
language plpgsql immutable set search_path = '' as $$
begin
    if bucket is null or (bucket <> site and not starts_with(bucket, site || ':')) then
        raise sqlstate '22023' using
            message = format('bucket must be %L or begin with %L, not %L', site, site || ':', bucket);
    end if;
end;
$$;
comment on function worker.require_bucket is 'Raises 22023 (HTTP 400) unless the bucket is one of the site''s.';

create type worker.slot as (
    starts_at timestamptz, reason text, error_code text, message text, is_ahead_allowed boolean, lets_pass boolean);
comment on type worker.slot is
    'When requests may be sent at the earliest, and what a run that has to wait so long hears: whether a worker may wait '
    'in place, and whether others are served meanwhile.';

create function worker.begin_period(held worker.site_buckets, allowed worker.bucket_limits, at timestamptz)
returns worker.site_buckets
language plpgsql stable set search_path = '' as $$
begin
    if held.quota_resets_at <= at then
        held.quota_used := 0;
        held.scheduled_used := 0;
        held.quota_period := held.quota_period + 1;
        held.told_left := null;
        held.is_reset_told := false;
        held.quota_resets_at := null;
    end if;
    if allowed.bucket is not null and not held.is_reset_told then
        held.quota_resets_at := least(
            held.quota_resets_at, worker.next_reset(allowed.quota_period, allowed.quota_timezone, at));
    end if;
    return held;
end;
$$;
comment on function worker.begin_period is 'A bucket as it is at a time: with a new quota once the last one is over.';

create function worker.quota_left(
    held worker.site_buckets, allowed worker.bucket_limits, run_id uuid,
    out requests integer, out most integer, out name text, out lets_pass boolean
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    total integer := coalesce(allowed.quota, held.quota_used + held.told_left);
    settings worker.settings;
    asking record;
    unreserved integer;
begin
    requests := least(allowed.quota - held.quota_used, held.told_left);
    most := allowed.quota;
    name := 'quota of ' || coalesce(format('%s requests a %s', allowed.quota, allowed.quota_period), 'the site');
    lets_pass := false;
    -- What is used through an account is its users' own.
    if total is null or held.account <> '' then
        return;
    end if;
    select * into strict settings from worker.settings;
    select coalesce(share.used, 0) as used, run.source = 'cron' and run.priority < 10 as is_scheduled into strict asking
    from public.search_runs as run
    left join worker.site_shares as share
        on share.bucket = held.bucket and share.user_id = run.user_id and share.quota_period = held.quota_period
    where run.id = quota_left.run_id;

    unreserved := requests - greatest(0, case
        when asking.is_scheduled
            then floor(total * settings.manual_quota_reserve) - (held.quota_used - held.scheduled_used)
        else floor(total * settings.scheduled_quota_reserve) - held.scheduled_used end);
    if unreserved < requests then
        requests := unreserved;
        lets_pass := true;
        name := case when asking.is_scheduled then 'what schedules may take of the '
                     else 'what is not kept for schedules of the ' end || name;
    end if;

    most := greatest(1, floor(total * settings.max_quota_share));
    if most - asking.used < requests then
        requests := most - asking.used;
        lets_pass := most < total;
        name := case when most < total then format('your share of %s of %s requests%s', most, total,
                                                   coalesce(' a ' || allowed.quota_period, ''))
                     else name end;
    end if;
end;
$$;
comment on function worker.quota_left is
    'How much of a quota a run may still take, and at most in a period; null: as much as it likes. Of what all share no '
    'user takes more than max_quota_share, scheduled runs leave manual_quota_reserve to the others, and these leave '
    'scheduled_quota_reserve to them. The name is that of the limit that holds.';

create function worker.slot_by_pace(
    held worker.site_buckets, allowed worker.bucket_limits, asked integer, pace interval, delay interval, at timestamptz
) returns worker.slot
language plpgsql stable set search_path = '' as $$
declare
    slot worker.slot;
begin
    slot.starts_at := greatest(at, held.next_at + (asked - allowed.burst) * pace, held.last_at + delay);
    slot.reason := 'rate';
    slot.error_code := 'rate_limited';
    slot.is_ahead_allowed := true;
    slot.lets_pass := false;
    if asked > least(allowed.requests, allowed.quota) then
        slot.starts_at := at + (select settings.max_site_wait from worker.settings as settings) + interval '1 second';
        slot.error_code := case when asked > allowed.requests then 'rate_limited' else 'quota_exceeded' end;
        slot.message := format('%s requests at once are more than %L ever allows', asked, allowed.bucket);
        slot.lets_pass := true;
    elsif held.paused_until > slot.starts_at then
        slot.starts_at := held.paused_until;
        slot.reason := 'paused';
        slot.message := format('site paused until %s (rate_limited)', worker.in_words(slot.starts_at));
    end if;
    return slot;
end;
$$;
comment on function worker.slot_by_pace is 'When a bucket''s pace, its delay and the site''s own pause let requests through.';

create function worker.slot_by_quota(
    slot worker.slot, held worker.site_buckets, allowed worker.bucket_limits, asked integer, run_id uuid, at timestamptz
) returns worker.slot
language plpgsql stable set search_path = '' as $$
declare
    quota record;
begin
    if (allowed.quota is null and held.told_left is null) or asked > least(allowed.requests, allowed.quota) then
        return slot;
    end if;
    quota := worker.quota_left(held, allowed, slot_by_quota.run_id);
    if asked > quota.most then
        slot.starts_at := at + (select settings.max_site_wait from worker.settings as settings) + interval '1 second';
        slot.error_code := 'quota_exceeded';
        slot.message := format('%s requests at once are more than %s ever allows', asked, quota.name);
        slot.lets_pass := true;
        return slot;
    end if;
    -- What would be asked after the reset is not taken from the quota before it.
    if quota.requests < asked or slot.starts_at >= held.quota_resets_at then
        if held.quota_resets_at >= slot.starts_at then
            slot.starts_at := held.quota_resets_at;
            slot.reason := 'quota';
            slot.error_code := 'quota_exceeded';
            slot.message := format('%s is used up until %s', quota.name, worker.in_words(slot.starts_at));
            slot.lets_pass := quota.lets_pass;
        end if;
        slot.is_ahead_allowed := false;
    end if;
    return slot;
end;
$$;
comment on function worker.slot_by_quota is 'When what a run may still take of a bucket''s quota lets its requests through, too.';

create function worker.spend(
    held worker.site_buckets, allowed worker.bucket_limits, run_id uuid, asked integer, starts_at timestamptz,
    pace interval, delay interval, at timestamptz
) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    run record;
begin
    select asking.user_id, asking.source = 'cron' and asking.priority < 10 as is_scheduled into strict run
    from public.search_runs as asking where asking.id = spend.run_id;

    update worker.site_buckets as known
    set next_at = greatest(spend.starts_at, held.next_at) + asked * pace,
        last_at = spend.starts_at + (asked - 1) * delay,
        quota = allowed.quota, quota_used = held.quota_used + asked, quota_resets_at = held.quota_resets_at,
        scheduled_used = held.scheduled_used + case when run.is_scheduled then asked else 0 end,
        quota_period = held.quota_period,
        told_left = held.told_left - asked, is_reset_told = held.is_reset_told, updated_at = at
    where known.bucket = held.bucket and known.account = held.account;

    if held.account = '' then
        insert into worker.site_shares as known (bucket, user_id, used, quota_period, last_at)
        values (held.bucket, run.user_id, asked, held.quota_period, at)
        on conflict on constraint site_shares_pkey do update set
            used = excluded.used + case when known.quota_period = excluded.quota_period then known.used else 0 end,
            quota_period = excluded.quota_period, last_at = excluded.last_at;
    end if;
end;
$$;
comment on function worker.spend is 'Takes requests of a bucket, which its caller holds, for a run and its user.';

create function worker.begin_turn(run_id uuid, site text, since timestamptz, waited interval) returns void
language plpgsql set search_path = '' as $$
begin
    delete from worker.site_waits as wait where wait.run_id = begin_turn.run_id and wait.site = begin_turn.site;
    -- The turn lasts until a page comes of it. In vain, page after page, a site fails.
    update worker.site_searches as search
    set waiting_since = coalesce(begin_turn.since, worker.now()), waited = begin_turn.waited, is_within_page = true
    where search.run_id = begin_turn.run_id and search.site = begin_turn.site and not search.is_within_page;
end;
$$;
comment on function worker.begin_turn is 'Notes that a run waits no more: it has a permit, and asks for its page.';

create function public.worker_take_permit(
    run_id uuid, lease_token uuid, site text, account text, bucket text, requests integer, limits jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    via text := coalesce(worker_take_permit.account, '');
    asked integer := worker_take_permit.requests;
    settings worker.settings;
    health worker.site_health;
    allowed worker.bucket_limits;
    held worker.site_buckets;
    waiting record;
    ahead record;
    refusal jsonb;
    now timestamptz;
    pace interval;
    delay interval;
    slot worker.slot;
begin
    if asked is null or asked not between 1 and 1000000 then
        raise sqlstate '22023' using message = 'requests must be an integer from 1 to 1000000';
    end if;
    perform worker.hold_lease(worker_take_permit.run_id, lease_token);
    perform worker.require_site(worker_take_permit.run_id, worker_take_permit.site);
    perform worker.require_bucket(worker_take_permit.bucket, worker_take_permit.site);
    waiting := worker.waiting_of(worker_take_permit.run_id, worker_take_permit.site);

    select * into health from worker.site_health as known
    where known.site = worker_take_permit.site and known.account = via and known.paused_until is not null;
    if found then
        health := worker.hold_health(worker_take_permit.site, via);
        refusal := worker.put_off_paused(worker_take_permit.run_id, worker_take_permit.site, via, health);
        if refusal is not null then
            return refusal;
        end if;
    end if;

    held := worker.hold_bucket(worker_take_permit.bucket, via);
    allowed := worker.read_limits(
        worker_take_permit.bucket,
        coalesce(nullif(limits, 'null'), '{}') || jsonb_strip_nulls(jsonb_build_object('quota', held.told_quota)));
    -- Now that nobody else takes: before, the time could have been that of somebody who came later.
    now := worker.now();
    select * into strict settings from worker.settings;
    pace := worker.pace(allowed);
    delay := coalesce(make_interval(secs => nullif(allowed.min_delay_seconds, 0)) + settings.permit_slack, '0');
    held := worker.begin_period(held, allowed, now);
    slot := worker.slot_by_pace(held, allowed, asked, pace, delay, now);
    slot := worker.slot_by_quota(slot, held, allowed, asked, worker_take_permit.run_id, now);

    -- A run that has asked for half a page finishes it before others begin theirs, and waits in place where it can: put off,
    -- each would ask for its first half again and again, in the way of all others.
    ahead := worker.waiting_before(
        worker_take_permit.bucket, via, '{rate,quota}',
        case when waiting.is_within_page then '-infinity' else waiting.since end, worker_take_permit.run_id);
    if not slot.is_ahead_allowed then
        settings.inline_wait := '0';
    elsif waiting.is_within_page then
        settings.inline_wait := greatest(settings.inline_wait, '1 minute');
    end if;
    if ahead.waiters > 0 or slot.starts_at > now + settings.inline_wait then
        return worker.put_off(
            worker_take_permit.run_id, worker_take_permit.site, via, worker_take_permit.bucket, asked, slot.reason,
            coalesce(slot.message, case when ahead.waiters > 0 then
                format('asked as often as the site allows: %s wait before this one', ahead.waiters)
                else format('asked as often as the site allows until %s', worker.in_words(slot.starts_at)) end),
            slot.error_code,
            greatest(slot.starts_at + ahead.requests * greatest(pace, delay), ahead.back_at + greatest(pace, delay)),
            lets_pass => slot.lets_pass);
    end if;

    perform worker.spend(held, allowed, worker_take_permit.run_id, asked, slot.starts_at, pace, delay, now);
    perform worker.begin_turn(worker_take_permit.run_id, worker_take_permit.site, waiting.since, waiting.waited);
    perform worker.probe(health, worker_take_permit.run_id) where health.site is not null;
    return jsonb_build_object('granted', true, 'wait_seconds', extract(epoch from slot.starts_at - now));
end;
$$;
comment on function public.worker_take_permit is
    'Grants requests to a bucket of a site, now or within inline_wait, or tells when to come back: {granted, '
    'wait_seconds}, {granted, reason, message, retry_in_seconds, until} or, beyond max_site_wait, {granted, error_code, '
    'message}. limits are those that the source declares for the bucket. Again it grants once more: what a lost answer '
    'had granted is not asked.';

create function public.worker_observe_limits(
    run_id uuid, lease_token uuid, site text, account text, bucket text, observed jsonb
) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    wrong record;
    told record;
    held worker.site_buckets;
    now timestamptz;
    resets_at timestamptz;
    is_renewed boolean;
begin
    if jsonb_typeof(observed) is distinct from 'object' then
        raise sqlstate '22023' using message = 'observed must be an object';
    end if;
    select field.name into wrong
    from jsonb_each(observed) as field (name, value)
    where field.name not in ('retry_after_seconds', 'remaining', 'quota', 'resets_in_seconds')
       or case jsonb_typeof(field.value)
              when 'null' then false
              when 'number' then field.value::text::numeric not between 0 and 1e12
              else true end
    limit 1;
    if found then
        raise sqlstate '22023' using message = format(
            'observed.%s must be retry_after_seconds, remaining, quota or resets_in_seconds, and a number from 0 to 1e12',
            wrong.name);
    end if;
    -- A site may say anything: whatever it is, it is asked again after a day, or a month.
    select make_interval(secs => min(bounded.seconds) filter (where bounded.name = 'retry_after_seconds')) as retry_after,
           make_interval(secs => min(bounded.seconds) filter (where bounded.name = 'resets_in_seconds')) as resets_in,
           min(bounded.requests) filter (where bounded.name = 'remaining') as remaining,
           min(bounded.requests) filter (where bounded.name = 'quota') as quota
    into told
    from (
        select field.name, least(field.value::text::numeric, 1000000000)::integer as requests,
               least(field.value::text::double precision,
                     case field.name when 'retry_after_seconds' then 86400 else 2678400 end) as seconds
        from jsonb_each(observed) as field (name, value)
        where field.value <> 'null'
    ) as bounded;

    perform worker.hold_lease(worker_observe_limits.run_id, lease_token);
    perform worker.require_site(worker_observe_limits.run_id, worker_observe_limits.site);
    perform worker.require_bucket(worker_observe_limits.bucket, worker_observe_limits.site);
    held := worker.hold_bucket(worker_observe_limits.bucket, coalesce(worker_observe_limits.account, ''));
    now := worker.now();
    held := worker.begin_period(held, null, now);

    resets_at := now + told.resets_in;
    is_renewed := held.is_reset_told and resets_at > held.quota_resets_at + interval '1 minute';
    -- The site does not know yet of requests that are under way: until it renews its quota, it is believed only what is
    -- less.
    if told.remaining is not null then
        held.told_left := case when is_renewed then told.remaining else least(held.told_left, told.remaining) end;
    end if;
    held.told_quota := coalesce(nullif(told.quota, 0), held.told_quota);
    if is_renewed then
        held.quota_used := 0;
        held.scheduled_used := 0;
        held.quota_period := held.quota_period + 1;
    end if;
    held.quota_used := greatest(held.quota_used, held.told_quota - held.told_left);

    update worker.site_buckets as known
    set paused_until = greatest(known.paused_until, now + told.retry_after), told_quota = held.told_quota,
        told_left = held.told_left, quota_used = held.quota_used, scheduled_used = held.scheduled_used,
        quota_period = held.quota_period,
        quota_resets_at = coalesce(resets_at, held.quota_resets_at),
        is_reset_told = held.is_reset_told or resets_at is not null, updated_at = now
    where known.bucket = held.bucket and known.account = held.account;
end;
$$;
comment on function public.worker_observe_limits is
    'Keeps what a site told of its limits, for all workers: {retry_after_seconds, remaining, quota, resets_in_seconds}, '
    'each of which may be null. Again it changes nothing but by the time that has passed.';

-- The order of sites -------------------------------------------------------------------------------------------------

create function worker.rank_sites(run_id uuid, seed uuid) returns table (site text, rank integer)
language sql stable set search_path = ''
begin atomic
    select unfinished.site, row_number() over (
        order by
            known.is_paused,
            case when chance.explores then hashtextextended(format('%s %s %s', seed, run_id, unfinished.site), 0) end,
            -- To a tenth: a site that failed once, long ago, may still be the faster one.
            round(coalesce(known.success_rate, 1)::numeric, 1) desc,
            coalesce(known.response_ms, 0),
            unfinished.position
    )::integer
    from public.search_run_sites as unfinished
    cross join lateral (
        select coalesce(bool_and(coalesce(health.paused_until > worker.now(), false)), false) as is_paused,
               avg(health.success_rate) as success_rate, avg(health.response_ms) as response_ms
        from worker.site_health as health
        where health.site = unfinished.site
    ) as known
    cross join (
        select (hashtextextended(format('%s %s', seed, run_id), 0) & 2147483647) / 2147483648.0
               < settings.exploration as explores
        from worker.settings as settings
    ) as chance
    where unfinished.run_id = rank_sites.run_id and unfinished.completed_at is null;
end;
comment on function worker.rank_sites is
    'Unfinished sites of a run, the best one first: not paused, then by success lately, then by speed; those that are '
    'not known yet before. Of some runs in any order. The same for the same seed, as long as the sites are.';

-- For people ---------------------------------------------------------------------------------------------------------

create function public.worker_site_health() returns jsonb
language sql stable security definer set search_path = ''
return (
    select coalesce(jsonb_agg(to_jsonb(known) order by known.site), '[]')
    from (
        select health.site,
               count(*) filter (where health.account <> '') as account_count,
               case when bool_or(health.paused_until > worker.now()) then 'open'
                    when bool_or(health.paused_until is not null) then 'half_open'
                    else 'closed' end as state,
               max(health.paused_until) as paused_until,
               (array_agg(health.last_error_code order by health.last_failure_at desc nulls last))[1] as last_error_code,
               avg(health.success_rate) as success_rate,
               avg(health.response_ms) as response_ms,
               max(health.last_success_at) as last_success_at,
               (
                   select coalesce(jsonb_agg(to_jsonb(fullest) order by fullest.bucket), '[]')
                   from (
                       select distinct on (counted.bucket) counted.bucket, counted.quota,
                              spent.quota_used, spent.quota_resets_at
                       from worker.site_buckets as counted
                       cross join lateral (
                           select case when is_over then 0 else greatest(
                                      counted.quota_used, counted.quota - counted.told_left) end as quota_used,
                                  case when not is_over then counted.quota_resets_at end as quota_resets_at
                           from (select coalesce(counted.quota_resets_at <= worker.now(), false) as is_over) as period
                       ) as spent
                       where split_part(counted.bucket, ':', 1) = health.site and counted.quota is not null
                       order by counted.bucket, spent.quota_used::double precision / counted.quota desc
                   ) as fullest
               ) as buckets
        from worker.site_health as health
        group by health.site
    ) as known
);
comment on function public.worker_site_health is
    'How each site does, over all workers and accounts: [{site, account_count, state (closed, open or half_open), '
    'paused_until, last_error_code, success_rate, response_ms, last_success_at, buckets}]. Of several accounts the worst '
    'counts; buckets are those with a quota, [{bucket, quota, quota_used, quota_resets_at}], of the account that used '
    'most.';
