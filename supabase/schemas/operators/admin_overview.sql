-- How do the runs of all users go? Rates, durations, errors and the queue, since a time.
-- Calls: operators/admins.

create function public.admin_overview(since timestamptz) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    first_hour timestamptz := date_trunc('hour', since, 'UTC');
    first_day timestamptz := worker.first_whole_day(date_trunc('hour', since, 'UTC'));
    answer jsonb;
begin
    perform worker.check_admin(), worker.check_since(since);

    with ended as materialized (
        select total.* from worker.run_totals as total
        where total.span = 'hour' and total.begins_at >= first_hour and total.begins_at < first_day
        union all
        select total.* from worker.run_totals as total
        where total.span = 'day' and total.begins_at >= first_day
    ), bucket as (
        select time.number, sum(time.durations) as durations, sum(time.waits) as waits
        from ended cross join lateral unnest(ended.durations, ended.waits) with ordinality as time (durations, waits, number)
        group by time.number
    ), outcome as (
        select final.status, coalesce(sum(ended.runs), 0) as runs,
               round(coalesce(sum(ended.runs), 0) / sum(sum(ended.runs)) over (), 4) as rate
        from unnest('{success,partial,failed,cancelled}'::text[]) as final (status)
        left join ended on ended.outcome = final.status
        group by final.status
    ), error as (
        select failed.error_code, sum(failed.runs) as runs
        from (
            select stats.error_code, stats.runs from worker.run_stats as stats
            where stats.span = 'hour' and stats.site = '' and stats.error_code <> ''
              and stats.begins_at >= first_hour and stats.begins_at < first_day
            union all
            select stats.error_code, stats.runs from worker.run_stats as stats
            where stats.span = 'day' and stats.site = '' and stats.error_code <> '' and stats.begins_at >= first_day
        ) as failed
        group by failed.error_code
    ), hourly as (
        select total.begins_at as hour, sum(total.runs) as runs,
               coalesce(sum(total.runs) filter (where total.outcome = 'success'), 0) as success,
               coalesce(sum(total.runs) filter (where total.outcome = 'partial'), 0) as partial,
               coalesce(sum(total.runs) filter (where total.outcome = 'failed'), 0) as failed,
               coalesce(sum(total.runs) filter (where total.outcome = 'cancelled'), 0) as cancelled
        from worker.run_totals as total
        where total.span = 'hour' and total.begins_at >= first_hour
        group by total.begins_at
    ), queue as (
        select date_trunc('hour', sample.at, 'UTC') as hour, max(sample.ready) as ready, max(sample.delayed) as delayed,
               max(sample.running) as running
        from worker.queue_samples as sample
        where sample.at >= first_hour
        group by 1
    )
    select jsonb_build_object(
        'since', first_hour,
        'runs', coalesce(sum(ended.runs), 0), 'items', coalesce(sum(ended.items), 0),
        'new_items', coalesce(sum(ended.new_items), 0), 'pages', coalesce(sum(ended.pages), 0),
        'requests', coalesce(sum(ended.requests), 0),
        'outcomes', (select jsonb_object_agg(outcome.status, jsonb_build_object('runs', outcome.runs, 'rate', outcome.rate))
                     from outcome),
        'duration', (select worker.quantiles(array_agg(bucket.durations::bigint order by bucket.number)) from bucket),
        'wait', (select worker.quantiles(array_agg(bucket.waits::bigint order by bucket.number)) from bucket),
        'errors', (select coalesce(jsonb_agg(to_jsonb(error) order by error.runs desc, error.error_code), '[]') from error),
        'by_hour', (select coalesce(jsonb_agg(to_jsonb(hourly) order by hourly.hour), '[]') from hourly),
        'queue', (select coalesce(jsonb_agg(to_jsonb(queue) order by queue.hour), '[]') from queue))
    into answer
    from ended;
    return answer;
end;
$$;
comment on function public.admin_overview is
    'For admins: how the runs of all users ended since the begin of an hour: {since, runs, items, new_items, pages, '
    'requests, outcomes {success, partial, failed, cancelled: {runs, rate}}, duration {p50, p95}, wait {p50, p95}, errors '
    '[{error_code, runs}], by_hour [{hour, runs, success, partial, failed, cancelled}], queue [{hour, ready, delayed, '
    'running}]}. Times are in seconds, rates from 0 to 1; null without runs. queue has the highest counts of each hour. Runs count a few '
    'minutes after they ended.';
