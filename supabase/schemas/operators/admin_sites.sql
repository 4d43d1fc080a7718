-- How do the sites go, how good is what they send, and how much of their quotas is used?
-- Calls: kernel/clock, operators/site_health, operators/admins.

create function public.admin_sites(since timestamptz) returns table (
    site text, searches bigint, completed bigint, partial bigint, failed bigint, success_rate numeric, errors jsonb,
    attempts bigint, pages bigint, requests bigint, items bigint, new_items bigint, invalid_items bigint,
    invalid_share numeric, duration_p50 double precision, duration_p95 double precision, state text,
    paused_until timestamptz, last_error_code text, response_ms double precision, quotas jsonb, limits jsonb
)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
    first_hour timestamptz := date_trunc('hour', since, 'UTC');
    first_day timestamptz := worker.first_whole_day(date_trunc('hour', since, 'UTC'));
begin
    perform worker.check_admin(), worker.check_since(since);

    return query
    with searched as materialized (
        select total.* from worker.site_totals as total
        where total.span = 'hour' and total.begins_at >= first_hour and total.begins_at < first_day
          and total.outcome <> 'skipped'
        union all
        select total.* from worker.site_totals as total
        where total.span = 'day' and total.begins_at >= first_day and total.outcome <> 'skipped'
    ), time as (
        select summed.site, array_agg(summed.searches order by summed.number) as durations
        from (
            select searched.site, bucket.number, sum(bucket.searches)::bigint as searches
            from searched cross join lateral unnest(searched.durations) with ordinality as bucket (searches, number)
            where searched.outcome = 'completed'
            group by searched.site, bucket.number
        ) as summed
        group by summed.site
    ), error as (
        select failed.site, jsonb_object_agg(failed.error_code, failed.searches) as errors
        from (
            select searched.site, counted.error_code, sum(counted.searches::bigint) as searches
            from searched cross join lateral jsonb_each_text(searched.errors) as counted (error_code, searches)
            group by searched.site, counted.error_code
        ) as failed
        group by failed.site
    ), counted as (
        select searched.site, sum(searched.runs) as searches,
               coalesce(sum(searched.runs) filter (where searched.outcome = 'completed'), 0) as completed,
               coalesce(sum(searched.runs) filter (where searched.outcome = 'partial'), 0) as partial,
               coalesce(sum(searched.runs) filter (where searched.outcome = 'failed'), 0) as failed,
               sum(searched.attempts) as attempts, sum(searched.pages) as pages, sum(searched.requests) as requests,
               sum(searched.items) as items, sum(searched.new_items) as new_items,
               sum(searched.valid_items) as valid_items, sum(searched.invalid_items) as invalid_items
        from searched
        group by searched.site
    )
    select coalesce(counted.site, health.site), coalesce(counted.searches, 0)::bigint, coalesce(counted.completed, 0)::bigint,
           coalesce(counted.partial, 0)::bigint, coalesce(counted.failed, 0)::bigint,
           round(counted.completed / counted.searches, 4), coalesce(error.errors, '{}'),
           coalesce(counted.attempts, 0)::bigint, coalesce(counted.pages, 0)::bigint,
           coalesce(counted.requests, 0)::bigint, coalesce(counted.items, 0)::bigint,
           coalesce(counted.new_items, 0)::bigint, coalesce(counted.invalid_items, 0)::bigint,
           round(counted.invalid_items / nullif(counted.valid_items + counted.invalid_items, 0), 4),
           worker.quantile(time.durations, 0.5), worker.quantile(time.durations, 0.95),
           coalesce(health.state, 'closed'), health.paused_until, health.last_error_code, health.response_ms,
           coalesce(health.buckets, '[]'), coalesce(allowed.limits, '[]')
    from counted
    left join time on time.site = counted.site
    left join error on error.site = counted.site
    full join jsonb_to_recordset(public.worker_site_health()) as health (
        site text, state text, paused_until timestamptz, last_error_code text, response_ms double precision, buckets jsonb)
        on health.site = counted.site
    left join worker.limits_by_site() as allowed on allowed.site = coalesce(counted.site, health.site)
    order by 1;
end;
$$;
comment on function public.admin_sites is
    'For admins: how each site went since the begin of an hour. searches are those that have ended, without skipped ones; '
    'success_rate is the share that completed; errors {error_code: searches}; duration_p50 and duration_p95, in seconds, of '
    'those that completed; invalid_share is the share of items that could not be read. state, paused_until, '
    'last_error_code, response_ms and quotas are of now, as in worker_site_health. limits are those that hold now, '
    '[{bucket, requests, period_seconds, burst, min_delay_seconds, quota, quota_period, quota_timezone, searches, '
    'searches_per_account}]. What is unknown is null.';

create function public.admin_quality(since timestamptz) returns table (
    day date, site text, source text, pages bigint, failed_pages bigint, items bigint, invalid_items bigint,
    invalid_share numeric, completeness jsonb
)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    perform worker.check_admin(), worker.check_since(since);

    return query
    select stats.day, stats.site, stats.source, stats.pages, stats.failed_pages, stats.items, stats.invalid_items,
           round(stats.invalid_items::numeric / nullif(stats.items + stats.invalid_items, 0), 4),
           (select coalesce(jsonb_object_agg(field.key, round(field.value::numeric / nullif(stats.items, 0), 4)), '{}')
            from jsonb_each_text(stats.fields) as field)
    from worker.page_stats as stats
    where stats.day >= (since at time zone 'UTC')::date
    order by stats.day desc, stats.site, stats.source;
end;
$$;
comment on function public.admin_quality is
    'For admins: what sources made of the pages of each site, by the day (UTC) on which the runs ended, the latest first. '
    'invalid_share is the share of items that could not be read, null without items; completeness the share of the others '
    'that have each of the main fields, {field: share}.';

create function public.admin_quotas() returns table (
    site text, bucket text, quota integer, used integer, used_share numeric, resets_at timestamptz, users jsonb
)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    perform worker.check_admin();

    return query
    select health.site, counted.bucket, counted.quota, counted.quota_used,
           round(counted.quota_used::numeric / counted.quota, 4), counted.quota_resets_at, coalesce((
               select jsonb_agg(jsonb_build_object('user_id', taken.user_id, 'email', taken.email, 'used', taken.used)
                                order by taken.used desc, taken.user_id)
               from (
                   select share.user_id, owner.email, share.used
                   from worker.site_shares as share
                   join worker.site_buckets as shared
                       on shared.bucket = share.bucket and shared.account = '' and shared.exit = share.exit
                      and shared.quota_period = share.quota_period
                      and coalesce(shared.quota_resets_at > worker.now(), true)
                   left join auth.users as owner on owner.id = share.user_id
                   where share.bucket = counted.bucket and share.used > 0
                   order by share.used desc, share.user_id
                   limit 10
               ) as taken), '[]')
    from jsonb_to_recordset(public.worker_site_health()) as health (site text, buckets jsonb)
    cross join lateral jsonb_to_recordset(health.buckets) as counted (
        bucket text, quota integer, quota_used integer, quota_resets_at timestamptz)
    order by 5 desc, 1, 2;
end;
$$;
comment on function public.admin_quotas is
    'For admins: how much of the quota of each bucket of requests is used, the fullest first, and the ten users that took '
    'most of it, [{user_id, email, used}]. Of several accounts, the one that used most; resets_at is null if nothing is '
    'used.';
