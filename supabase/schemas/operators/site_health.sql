-- What is the state of each site?
-- Calls: kernel/clock.

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
    'State of each site over all workers and accounts: [{site, account_count, state (closed, open or half_open), '
    'paused_until, last_error_code, success_rate, response_ms, last_success_at, buckets}]. Of several accounts, the '
    'worst counts. buckets are those with a quota, [{bucket, quota, quota_used, quota_resets_at}], of the account '
    'that used most.';
