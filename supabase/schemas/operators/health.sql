-- Is somebody working, and do searches get on? One answer for the operator's own monitor, and a short one for monitors
-- without a key of the operator: it says nothing about users, sites and numbers, and reads a few rows.
-- Calls: kernel/clock, alerts/queue.

create function worker.seconds_without_worker() returns double precision
language sql stable set search_path = ''
return (select extract(epoch from worker.now() - max(known.seen_at)) from worker.workers as known);
comment on function worker.seconds_without_worker is
    'Returns the seconds since the last sign of any worker; null if there was none within a day.';

create function public.worker_health() returns jsonb
language sql stable security definer set search_path = ''
return jsonb_build_object(
    'workers', (
        select coalesce(jsonb_agg(to_jsonb(living) order by living.worker_id), '[]')
        from (
            select known.worker_id, known.version, known.concurrency, known.started_at, known.seen_at
            from worker.workers as known
            where known.seen_at > worker.now() - (select settings.worker_timeout from worker.settings as settings)
            order by known.seen_at desc
            limit 1000
        ) as living),
    'last_seen_seconds', worker.seconds_without_worker(),
    'oldest_ready_seconds', worker.oldest_ready_seconds(),
    -- The conditions of partial indexes, and no more rows than are worth counting.
    'ready', (select count(*) from (
        select from public.search_runs as run
        where run.status = 'pending' and run.run_after is null and run.leader_run_id is null
        limit 10000) as counted),
    'delayed', (select count(*) from (
        select from public.search_runs as run
        where run.status = 'pending' and run.run_after is not null
        limit 10000) as counted),
    'running', (select count(*) from worker.leases),
    'latest_slot_at', (select max(schedule.last_slot_at) from public.search_schedules as schedule),
    'oldest_due_slot_seconds', worker.oldest_due_slot_seconds(),
    'open_incidents', (select count(*) from worker.incidents as incident
                       where incident.resolved_at is null and incident.opened_at is not null));
comment on function public.worker_health is
    'Which workers live and how the queue is: {workers: [{worker_id, version, concurrency, started_at, seen_at}], '
    'last_seen_seconds, oldest_ready_seconds, ready, delayed (10,000 stands for more), running, latest_slot_at, '
    'oldest_due_slot_seconds, open_incidents}. Seconds are null if there is nothing to measure.';

create function public.search_health() returns jsonb
language sql stable security definer set search_path = ''
return jsonb_build_object('is_healthy', coalesce(
    worker.seconds_without_worker() < (select known.threshold from worker.alert_rules as known where known.rule = 'no_worker')
    and not exists (
        -- The incidents, and not what they measure, so that a call is cheap: anybody may call.
        select from worker.incidents as incident
        where incident.resolved_at is null and incident.opened_at is not null
          and incident.rule in ('oldest_ready_run', 'late_slot', 'failure_rate')),
    false));
comment on function public.search_health is
    'For uptime monitors, callable with the anon key: {is_healthy}. True if a worker was seen within the threshold of the '
    'rule no_worker, and no incident of oldest_ready_run, late_slot or failure_rate is open.';
