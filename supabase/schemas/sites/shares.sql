-- How much of a quota may one user take? No more than max_quota_share, and what is reserved for schedules, or from them,
-- is left.
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
