-- How does each exit of the workers do at each site, and how much was sent through it today?
-- Calls: kernel/clock, sites/exits, operators/admins.

create function public.worker_count_requests(reporter uuid, counts jsonb) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
    if jsonb_typeof(counts) is distinct from 'array' or jsonb_array_length(counts) > 10000 then
        raise sqlstate '22023' using message = 'counts must be an array of at most 10000 objects';
    end if;
    insert into worker.exit_stats (day, site, exit, reporter, requests, refused, bytes)
    select given.day, given.site, given.exit, worker_count_requests.reporter, given.requests, given.refused, given.bytes
    from jsonb_to_recordset(counts) as given (
        day date, site text, exit text, requests bigint, refused bigint, bytes bigint)
    on conflict on constraint exit_stats_pkey do update set
        requests = excluded.requests, refused = excluded.refused, bytes = excluded.bytes;
end;
$$;
comment on function public.worker_count_requests is
    'Notes what a process of a worker has sent: [{day, site, exit, requests, refused, bytes}], each with its total of the '
    'day (UTC). Idempotent.';

create function public.worker_exits() returns jsonb
language sql stable security definer set search_path = ''
return (
    with health as (
        select known.site, known.exit,
               case when bool_or(known.paused_until > worker.now()) then 'open'
                    when bool_or(known.paused_until is not null) then 'half_open'
                    else 'closed' end as state,
               max(known.paused_until) as paused_until, max(known.paused_by) as paused_by,
               (array_agg(known.last_error_code order by known.last_failure_at desc nulls last))[1] as last_error_code,
               avg(known.success_rate) as success_rate, avg(known.response_ms) as response_ms,
               max(known.last_success_at) as last_success_at
        from worker.health_in_use() as known
        group by known.site, known.exit
    ), today as (
        select stats.site, stats.exit, sum(stats.requests) as requests, sum(stats.refused) as refused,
               sum(stats.bytes) as bytes
        from worker.exit_stats as stats
        where stats.day = (worker.now() at time zone 'UTC')::date
        group by stats.site, stats.exit
    )
    select coalesce(jsonb_agg(to_jsonb(shown) order by shown.exit, shown.site), '[]')
    from (
        select worker.exit_name(coalesce(health.exit, today.exit)) as exit, coalesce(health.site, today.site) as site,
               coalesce(health.state, 'closed') as state, health.paused_until, health.paused_by, health.last_error_code,
               health.success_rate, health.response_ms, health.last_success_at,
               coalesce(today.requests, 0) as requests, coalesce(today.refused, 0) as refused,
               coalesce(today.bytes, 0) as bytes
        from health full join today on today.site = health.site and today.exit = health.exit
    ) as shown
);
comment on function public.worker_exits is
    'State of each exit at each site: [{exit, site, state (closed, open or half_open), paused_until, paused_by, '
    'last_error_code, success_rate, response_ms, last_success_at, requests, refused, bytes}]. requests, refused and bytes are '
    'those of today (UTC). paused_by is exit_failed if the exit itself does not work.';

create function public.admin_exits() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
    perform worker.check_admin();
    return public.worker_exits();
end;
$$;
comment on function public.admin_exits is 'For admins: the state of each exit at each site, as in worker_exits.';
