-- What is the state of each site, and which limits does it have?
-- Calls: kernel/clock, sites/exits, sites/limits.

create function worker.known_limits(bucket text, declared jsonb) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
    return jsonb_strip_nulls(to_jsonb(worker.effective_limits(bucket, declared)));
exception when invalid_parameter_value then
    return jsonb_build_object('bucket', bucket, 'message', sqlerrm);
end;
$$;
comment on function worker.known_limits is
    'Returns the limits of a bucket, without those that there are not; or bucket and message if what a source declares is '
    'not valid.';

create function worker.limits_by_site() returns table (site text, limits jsonb)
-- As in worker.collected_searches: three objects in each other are planned as a million rows.
language sql stable set search_path = '' set jit = off
begin atomic
    with declared as (
        -- As the worker says that was seen last: an older one may have another version.
        select distinct on (bucket.key) bucket.key as bucket, bucket.value as limits
        from worker.workers as known
        cross join lateral jsonb_each(known.limits) as by_kind
        cross join lateral jsonb_each(by_kind.value) as by_site
        cross join lateral jsonb_each(by_site.value) as bucket
        order by bucket.key, known.seen_at desc
    ), every as (
        select coalesce(declared.bucket, own.bucket) as bucket, declared.limits
        from declared
        full join worker.bucket_limits as own on own.bucket = declared.bucket
    )
    select split_part(every.bucket, ':', 1),
           jsonb_agg(worker.known_limits(every.bucket, every.limits) order by every.bucket)
    from every
    group by split_part(every.bucket, ':', 1);
end;
comment on function worker.limits_by_site is
    'Returns the limits of each site by bucket: those of worker.bucket_limits, otherwise those that the source declares.';

create function public.worker_site_health() returns jsonb
language sql stable security definer set search_path = ''
return (
    select coalesce(jsonb_agg(to_jsonb(known) order by known.site), '[]')
    from (
        select health.site,
               count(distinct health.account) filter (where health.account <> '') as account_count,
               case when state.is_open then 'open' when state.is_half_open then 'half_open' else 'closed' end as state,
               state.paused_until,
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
        from worker.health_in_use() as health
        join (
            select known.site, bool_or(known.is_open) as is_open, bool_or(known.is_half_open) as is_half_open,
                   max(known.paused_until) as paused_until
            from worker.account_health() as known
            group by known.site
        ) as state on state.site = health.site
        group by health.site, state.is_open, state.is_half_open, state.paused_until
    ) as known
);
comment on function public.worker_site_health is
    'State of each site over all workers and accounts: [{site, account_count, state (closed, open or half_open), '
    'paused_until, last_error_code, success_rate, response_ms, last_success_at, buckets}]. Of several accounts, the '
    'worst counts; of several exits, the best. buckets are those with a quota, [{bucket, quota, quota_used, quota_resets_at}], of the account '
    'that used most.';
