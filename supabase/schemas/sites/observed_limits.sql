-- What changes when a site reports its limits in a response? Its pause and its remaining quota, for all workers.
-- Calls: kernel/clock, kernel/run_sites, kernel/lease, sites/buckets.

create function worker.read_observed(
    observed jsonb, out retry_after interval, out resets_in interval, out remaining integer, out quota integer
)
language plpgsql immutable set search_path = '' as $$
declare
    wrong text;
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
            wrong);
    end if;
    -- Sites may send any number: limit pauses to a day, and quota periods to 31 days.
    select make_interval(secs => min(bounded.seconds) filter (where bounded.name = 'retry_after_seconds')),
           make_interval(secs => min(bounded.seconds) filter (where bounded.name = 'resets_in_seconds')),
           min(bounded.requests) filter (where bounded.name = 'remaining'),
           min(bounded.requests) filter (where bounded.name = 'quota')
    into retry_after, resets_in, remaining, quota
    from (
        select field.name, least(field.value::text::numeric, 1000000000)::integer as requests,
               least(field.value::text::double precision,
                     case field.name when 'retry_after_seconds' then 86400 else 2678400 end) as seconds
        from jsonb_each(observed) as field (name, value)
        where field.value <> 'null'
    ) as bounded;
end;
$$;
comment on function worker.read_observed is
    'Returns the limits that a site reported, within bounds. Raises 22023 (HTTP 400) if they are not valid.';

create function public.worker_observe_limits(
    run_id uuid, lease_token uuid, site text, account text, bucket text, observed jsonb, exit text default ''
) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    reported record := worker.read_observed(worker_observe_limits.observed);
    held worker.site_buckets;
    now timestamptz;
    resets_at timestamptz;
    is_renewed boolean;
begin
    perform worker.lock_lease(worker_observe_limits.run_id, lease_token);
    perform worker.require_site(worker_observe_limits.run_id, worker_observe_limits.site);
    perform worker.require_bucket(worker_observe_limits.bucket, worker_observe_limits.site);
    held := worker.lock_bucket(worker_observe_limits.bucket, coalesce(worker_observe_limits.account, ''),
                               worker_observe_limits.exit);
    now := worker.now();
    held := worker.begin_quota_period(held, null, now);

    resets_at := now + reported.resets_in;
    is_renewed := held.is_reset_told and resets_at > held.quota_resets_at + interval '1 minute';
    -- The site has not counted requests under way yet. Until its quota resets, only a lower remaining quota is
    -- accepted.
    if reported.remaining is not null then
        held.told_left := case when is_renewed then reported.remaining else least(held.told_left, reported.remaining) end;
    end if;
    held.told_quota := coalesce(nullif(reported.quota, 0), held.told_quota);
    if is_renewed then
        held.quota_used := 0;
        held.scheduled_used := 0;
        held.quota_period := held.quota_period + 1;
    end if;
    held.quota_used := greatest(held.quota_used, held.told_quota - held.told_left);

    update worker.site_buckets as known
    set paused_until = greatest(known.paused_until, now + reported.retry_after), told_quota = held.told_quota,
        told_left = held.told_left, quota_used = held.quota_used, scheduled_used = held.scheduled_used,
        quota_period = held.quota_period,
        quota_resets_at = coalesce(resets_at, held.quota_resets_at),
        is_reset_told = held.is_reset_told or resets_at is not null, updated_at = now
    where known.bucket = held.bucket and known.account = held.account and known.exit = held.exit;
end;
$$;
comment on function public.worker_observe_limits is
    'Stores the limits that a site reported, for all workers: {retry_after_seconds, remaining, quota, '
    'resets_in_seconds}, each of which may be null; of the exit that it answered through. Idempotent, except that times count from the call.';
