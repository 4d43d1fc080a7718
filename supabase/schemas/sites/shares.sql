-- How much of a quota may one user take? At most max_quota_share. Scheduled runs and other runs leave a reserve to each
-- other.
-- Calls: nothing.

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
    -- The quota of an account belongs to its users alone.
    if total is null or held.account <> '' then
        return;
    end if;
    select * into strict settings from worker.settings;
    select coalesce(share.used, 0) as used, run.source = 'cron' and run.priority < 10 as is_scheduled into strict asking
    from public.search_runs as run
    left join worker.site_shares as share
        on share.bucket = held.bucket and share.user_id = run.user_id and share.exit = held.exit and share.quota_period = held.quota_period
    where run.id = quota_left.run_id;

    unreserved := requests - greatest(0, case
        when asking.is_scheduled
            then floor(total * settings.manual_quota_reserve) - (held.quota_used - held.scheduled_used)
        else floor(total * settings.scheduled_quota_reserve) - held.scheduled_used end);
    if unreserved < requests then
        requests := unreserved;
        lets_pass := true;
        name := name || case when asking.is_scheduled then ' for scheduled runs'
                             else ' without the reserve for scheduled runs' end;
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
    'Returns how much of a quota a run may still take, and its maximum in a period; null for no limit. Of a shared '
    'quota, no user takes more than max_quota_share, scheduled runs leave manual_quota_reserve to other runs, and '
    'other runs leave scheduled_quota_reserve to scheduled ones. name describes the limit that applies.';
