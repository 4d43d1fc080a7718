-- How much of a site's requests is used? Each bucket is counted under a lock. Its quota starts again at the reset.
-- Calls: kernel/clock, sites/limits.

create function worker.lock_bucket(bucket text, account text, exit text default '') returns worker.site_buckets
language plpgsql set search_path = '' as $$
declare
    held worker.site_buckets;
    set_back interval;
begin
    loop
        select * into held from worker.site_buckets as known
        where known.bucket = lock_bucket.bucket and known.account = lock_bucket.account and known.exit = lock_bucket.exit
        for no key update;
        exit when found;
        insert into worker.site_buckets (bucket, account, exit)
        values (lock_bucket.bucket, lock_bucket.account, lock_bucket.exit)
        on conflict do nothing;
    end loop;

    set_back := worker.clock_set_back_since(held.updated_at);
    if set_back > '0' then
        update worker.site_buckets as known
        set next_at = known.next_at - set_back, last_at = known.last_at - set_back,
            paused_until = known.paused_until - set_back,
            quota_resets_at = case when known.is_reset_told then known.quota_resets_at - set_back
                                   else known.quota_resets_at end,
            updated_at = known.updated_at - set_back
        where known.bucket = held.bucket and known.account = held.account and known.exit = held.exit
        returning known.* into strict held;
    end if;
    return held;
end;
$$;
comment on function worker.lock_bucket is
    'Locks a bucket until the transaction ends. If the clock was set back, moves its times back with it.';

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

create function worker.begin_quota_period(held worker.site_buckets, allowed worker.bucket_limits, at timestamptz)
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
            held.quota_resets_at, worker.next_quota_reset(allowed.quota_period, allowed.quota_timezone, at));
    end if;
    return held;
end;
$$;
comment on function worker.begin_quota_period is
    'Returns a bucket as it is at a time: with a new quota if the last quota period has ended.';
