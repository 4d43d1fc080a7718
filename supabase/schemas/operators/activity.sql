-- What happens at this moment? For the command `top`, which asks every few seconds.
-- Calls: kernel/clock.

create function worker.running_now(most integer) returns jsonb
language sql stable set search_path = ''
return (
    select coalesce(jsonb_agg(to_jsonb(shown) order by shown.started_at, shown.run_id), '[]')
    from (
        select run.id as run_id, run.kind, left(run.parameters ->> 'search_term', 100) as search_term, run.source,
               run.attempts as attempt, run.started_at, run.items_found, run.progress_current, run.progress_total,
               lease.worker_id, lease.expires_at < worker.now() as is_expired,
               (
                   select coalesce(jsonb_agg(site.site order by site.position), '[]')
                   from public.search_run_sites as site
                   where site.run_id = run.id and site.status = 'running'
               ) as sites
        from worker.leases as lease
        join public.search_runs as run on run.id = lease.run_id
        order by run.started_at, run.id
        limit most
    ) as shown
);
comment on function worker.running_now is 'Returns the runs that workers search, those that started first.';

create function worker.ended_within(period interval) returns jsonb
language sql stable set search_path = ''
return (
    select jsonb_build_object(
        'seconds', extract(epoch from period),
        'runs', count(*),
        'searched', count(*) filter (where ended.shared_run_id is null),
        'failed', count(*) filter (where ended.status = 'failed'),
        'items', coalesce(sum(ended.items_found) filter (where ended.shared_run_id is null), 0),
        'wait_seconds', percentile_cont(0.5) within group (order by extract(epoch from ended.started_at - ended.created_at)))
    from (
        select run.status, run.items_found, run.shared_run_id, run.started_at, run.created_at
        from public.search_runs as run
        where run.completed_at > worker.now() - period
        order by run.completed_at desc
        limit 10000
    ) as ended
);
comment on function worker.ended_within is
    'Returns what ended lately: {seconds, runs, searched, failed, items, wait_seconds}. searched and items are those of '
    'runs that searched themselves, wait_seconds is the median. At most the last 10,000 runs count.';

create function public.worker_activity(most integer default 20) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
    if most between 1 and 1000 is not true then
        raise sqlstate '22023' using message = 'most must be an integer from 1 to 1000';
    end if;
    return jsonb_build_object(
        'now', worker.now(),
        'workers', (
            select coalesce(jsonb_agg(to_jsonb(living) order by living.worker_id), '[]')
            from (
                select known.worker_id, known.version, known.concurrency, known.started_at, known.seen_at,
                       (select count(*) from worker.leases as lease where lease.worker_id = known.worker_id) as running
                from worker.workers as known
                where known.seen_at > worker.now() - (select settings.worker_timeout from worker.settings as settings)
                order by known.seen_at desc
                limit most
            ) as living),
        'running', worker.running_now(most),
        'ended', jsonb_build_array(worker.ended_within('1 minute'), worker.ended_within('1 hour')));
end;
$$;
comment on function public.worker_activity is
    'What happens at this moment: {now, workers: [{worker_id, version, concurrency, started_at, seen_at, running}], '
    'running: [{run_id, kind, search_term, source, attempt, started_at, items_found, progress_current, progress_total, '
    'worker_id, is_expired, sites}], ended: [{seconds, runs, searched, failed, items, wait_seconds}]}, at most `most` '
    'workers and running runs. ended has the last minute and the last hour.';
