-- When may the next request be sent to a site? When the rate, the delay and the quota allow it, and after the runs that
-- are ahead in the queue.
-- Calls: kernel/clock, kernel/run_sites, kernel/lease, sites/queue, sites/waiting, sites/breaker, sites/paused, sites/exits,
--   sites/limits, sites/buckets, sites/shares.

create type worker.permit_slot as (
    starts_at timestamptz, reason text, error_code text, message text, is_ahead_allowed boolean, lets_pass boolean);
comment on type worker.permit_slot is
    'When requests may be sent at the earliest, and the message for a run that has to wait that long: whether a '
    'worker may wait without giving the run back, and whether other runs are served meanwhile.';

create function worker.slot_by_pace(
    held worker.site_buckets, allowed worker.bucket_limits, asked integer, pace interval, delay interval, at timestamptz
) returns worker.permit_slot
language plpgsql stable set search_path = '' as $$
declare
    slot worker.permit_slot;
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
        slot.message := format('site paused until %s (rate_limited)', worker.format_time(slot.starts_at));
    end if;
    return slot;
end;
$$;
comment on function worker.slot_by_pace is
    'Returns when a bucket''s rate, its delay and the site''s own pause allow requests.';

create function worker.slot_by_quota(
    slot worker.permit_slot, held worker.site_buckets, allowed worker.bucket_limits, asked integer, run_id uuid,
    at timestamptz
) returns worker.permit_slot
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
    -- A request after the reset does not use the quota before it.
    if quota.requests < asked or slot.starts_at >= held.quota_resets_at then
        if held.quota_resets_at >= slot.starts_at then
            slot.starts_at := held.quota_resets_at;
            slot.reason := 'quota';
            slot.error_code := 'quota_exceeded';
            slot.message := format('%s is used up until %s', quota.name, worker.format_time(slot.starts_at));
            slot.lets_pass := quota.lets_pass;
        end if;
        slot.is_ahead_allowed := false;
    end if;
    return slot;
end;
$$;
comment on function worker.slot_by_quota is 'Returns when the remaining quota allows the requests, too.';

create function worker.spend_requests(
    held worker.site_buckets, allowed worker.bucket_limits, run_id uuid, asked integer, starts_at timestamptz,
    pace interval, delay interval, at timestamptz
) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    run record;
begin
    select asking.user_id, asking.source = 'cron' and asking.priority < 10 as is_scheduled into strict run
    from public.search_runs as asking where asking.id = spend_requests.run_id;

    update worker.site_buckets as known
    set next_at = greatest(spend_requests.starts_at, held.next_at) + asked * pace,
        last_at = spend_requests.starts_at + (asked - 1) * delay,
        quota = allowed.quota, quota_used = held.quota_used + asked, quota_resets_at = held.quota_resets_at,
        scheduled_used = held.scheduled_used + case when run.is_scheduled then asked else 0 end,
        quota_period = held.quota_period,
        told_left = held.told_left - asked, is_reset_told = held.is_reset_told, updated_at = at
    where known.bucket = held.bucket and known.account = held.account and known.exit = held.exit;

    if held.account = '' then
        insert into worker.site_shares as known (bucket, user_id, exit, used, quota_period, last_at)
        values (held.bucket, run.user_id, held.exit, asked, held.quota_period, at)
        on conflict on constraint site_shares_pkey do update set
            used = excluded.used + case when known.quota_period = excluded.quota_period then known.used else 0 end,
            quota_period = excluded.quota_period, last_at = excluded.last_at;
    end if;
end;
$$;
comment on function worker.spend_requests is 'Takes requests of a locked bucket for a run and its user.';

create function worker.record_permit(run_id uuid, site text, since timestamptz, waited interval) returns void
language plpgsql set search_path = '' as $$
begin
    delete from worker.site_waits as wait where wait.run_id = record_permit.run_id and wait.site = record_permit.site;
    -- The wait ends with a page. If permits bring no page, the site fails after max_site_wait in total.
    update worker.site_searches as search
    set waiting_since = coalesce(record_permit.since, worker.now()), waited = record_permit.waited,
        is_within_page = true
    where search.run_id = record_permit.run_id and search.site = record_permit.site and not search.is_within_page;
end;
$$;
comment on function worker.record_permit is 'Records that a run has a permit, no longer waits, and requests its page.';

create function worker.defer_if_late(
    run_id uuid, site text, account text, exit text, bucket text, asked integer, slot worker.permit_slot, spacing interval,
    since timestamptz, is_within_page boolean, at timestamptz
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    ahead record;
    inline_wait interval := (select settings.inline_wait from worker.settings as settings);
begin
    -- A run in the middle of a page finishes it before other runs begin theirs, and waits without giving the run back
    -- if it can. If it were deferred, it would have to repeat the first requests of the page.
    ahead := worker.queue_ahead(
        bucket, account, exit, '{rate,quota}', case when is_within_page then '-infinity' else since end, run_id);
    if not slot.is_ahead_allowed then
        inline_wait := '0';
    elsif is_within_page then
        inline_wait := greatest(inline_wait, '1 minute');
    end if;
    if ahead.waiters = 0 and slot.starts_at <= at + inline_wait then
        return null;
    end if;
    return worker.defer_site(
        run_id, site, account, bucket, asked, slot.reason,
        coalesce(slot.message, case when ahead.waiters > 0 then
            format('rate limit of the site reached: runs ahead in the queue: %s', ahead.waiters)
            else format('rate limit of the site reached until %s', worker.format_time(slot.starts_at)) end),
        slot.error_code,
        greatest(slot.starts_at + ahead.requests * spacing, ahead.back_at + spacing),
        lets_pass => slot.lets_pass, exit => defer_if_late.exit);
end;
$$;
comment on function worker.defer_if_late is
    'Lets a run wait for a bucket if runs are ahead in the queue, or if its slot is later than a worker waits for without '
    'giving the run back; otherwise returns null. spacing is the time between two requests.';

create function worker.slot_by_total(
    slot worker.permit_slot, total worker.site_buckets, allowed worker.bucket_limits, asked integer, at timestamptz
) returns worker.permit_slot
language plpgsql stable set search_path = '' as $$
declare
    of_all worker.permit_slot;
begin
    allowed.requests := allowed.total_requests;
    allowed.burst := least(allowed.burst, allowed.requests);
    allowed.quota := null;
    of_all := worker.slot_by_pace(total, allowed, asked, worker.request_interval(allowed), '0', at);
    return case when of_all.starts_at > slot.starts_at then of_all else slot end;
end;
$$;
comment on function worker.slot_by_total is 'Returns when the rate of all exits together allows requests, too.';

create function worker.spend_total(
    total worker.site_buckets, allowed worker.bucket_limits, asked integer, starts_at timestamptz, at timestamptz
) returns void
language plpgsql set search_path = '' as $$
begin
    allowed.requests := allowed.total_requests;
    allowed.burst := least(allowed.burst, allowed.requests);
    update worker.site_buckets as known
    set next_at = greatest(spend_total.starts_at, total.next_at) + asked * worker.request_interval(allowed),
        last_at = spend_total.starts_at, updated_at = at
    where known.bucket = total.bucket and known.account = total.account and known.exit = total.exit;
end;
$$;
comment on function worker.spend_total is 'Takes requests of a locked bucket of all exits together.';

create function worker.exit_of_permit(
    run_id uuid, site text, account text, exits worker.exit[]
) returns worker.exit_choice
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    former text := (
        select search.exit from worker.site_searches as search
        where search.run_id = exit_of_permit.run_id and search.site = exit_of_permit.site);
    choice worker.exit_choice;
begin
    -- The usual case.
    if exists (select from unnest(exit_of_permit.exits) as offered where offered.name = former)
       and not exists (
           select from worker.site_health as paused
           where paused.site = exit_of_permit.site and paused.account = exit_of_permit.account and paused.exit = former
             and paused.paused_until is not null)
       and not exists (
           select from worker.site_buckets as paused
           where paused.bucket = exit_of_permit.site and paused.account = exit_of_permit.account and paused.exit = former
             and paused.paused_until > worker.now()) then
        return row(former, null)::worker.exit_choice;
    end if;
    choice := worker.choose_exit(exit_of_permit.run_id, exit_of_permit.site, exit_of_permit.account, exit_of_permit.exits,
                                 former, null);
    if choice.via <> former then
        perform worker.change_exit(exit_of_permit.run_id, exit_of_permit.site, former, choice.via, 'paused', null);
    end if;
    return choice;
end;
$$;
comment on function worker.exit_of_permit is
    'Returns the exit for the next request of a search: the one that it uses, unless that is paused; null if all are.';

create function public.worker_take_permit(
    run_id uuid, lease_token uuid, site text, account text, bucket text, requests integer, limits jsonb,
    exits jsonb default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    via text := coalesce(account, '');
    offered worker.exit[] := worker.read_exits(exits);
    choice worker.exit_choice;
    chosen worker.exit;
    health worker.site_health;
    allowed worker.bucket_limits;
    held worker.site_buckets;
    total worker.site_buckets;
    slot worker.permit_slot;
    waiting record;
    refusal jsonb;
    now timestamptz;
    pace interval;
    delay interval;
begin
    if requests is null or requests not between 1 and 1000000 then
        raise sqlstate '22023' using message = 'requests must be an integer from 1 to 1000000';
    end if;
    perform worker.lock_lease(run_id, lease_token);
    perform worker.require_site(run_id, site);
    perform worker.require_bucket(bucket, site);

    if offered is null then
        health := worker.lock_health_if_paused(site, via);
        refusal := worker.defer_if_paused(run_id, site, via, health) where health.site is not null;
    else
        choice := worker.exit_of_permit(run_id, site, via, offered);
        health := choice.health;
        if choice.via is null then
            refusal := worker.defer_until_exit(run_id, site, via, offered);
        else
            select each.* into chosen from unnest(offered) as each where each.name = choice.via;
        end if;
    end if;
    if refusal is not null then
        return refusal;
    end if;

    held := worker.lock_bucket(
        bucket, via, case when (limits ->> 'per_exit')::boolean is false then '' else coalesce(chosen.name, '') end);
    allowed := worker.effective_limits(
        bucket, coalesce(nullif(limits, 'null'), '{}') || jsonb_strip_nulls(jsonb_build_object('quota', held.told_quota)));
    if chosen.is_rotating and (limits ->> 'per_exit')::boolean is not false then
        allowed := worker.limits_of_rotating(allowed, chosen.requests_per_minute);
        held.told_left := null;
    end if;
    if allowed.total_requests is not null then
        total := worker.lock_bucket(bucket, via, '*');
    end if;
    -- After the locks: otherwise a later transaction could have been granted an earlier time.
    now := worker.now();
    pace := worker.request_interval(allowed);
    delay := worker.min_delay(allowed);
    held := worker.begin_quota_period(held, allowed, now);
    slot := worker.slot_by_pace(held, allowed, requests, pace, delay, now);
    slot := worker.slot_by_quota(slot, held, allowed, requests, run_id, now);
    if allowed.total_requests is not null then
        slot := worker.slot_by_total(slot, total, allowed, requests, now);
    end if;
    waiting := worker.wait_state(run_id, site);
    refusal := worker.defer_if_late(run_id, site, via, held.exit, bucket, requests, slot, greatest(pace, delay),
                                    waiting.since, waiting.is_within_page, now);
    if refusal is not null then
        return refusal;
    end if;

    perform worker.spend_requests(held, allowed, run_id, requests, slot.starts_at, pace, delay, now);
    perform worker.spend_total(total, allowed, requests, slot.starts_at, now) where allowed.total_requests is not null;
    perform worker.record_permit(run_id, site, waiting.since, waiting.waited);
    perform worker.start_probe(health, run_id) where health.site is not null;
    return jsonb_build_object('granted', true, 'wait_seconds', extract(epoch from slot.starts_at - now))
        || case when offered is null then '{}' else jsonb_build_object('exit', chosen.name) end;
end;
$$;
comment on function public.worker_take_permit is
    'Grants requests to a bucket of a site, now or within inline_wait, or returns when to ask again: {granted, '
    'wait_seconds, exit}, {granted, reason, message, retry_in_seconds, until} or, beyond max_site_wait, {granted, '
    'error_code, message}. limits are the limits that the source declares for the bucket. exits are those that the worker '
    'offers, [{name, weight, is_rotating, requests_per_minute}]; the answer names the one to use. Not idempotent: if an '
    'answer is lost, its requests are granted but not sent.';
