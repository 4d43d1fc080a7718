-- How is the queue for those who wait? The runs that a claim finds next are looked at, and no more than 10,000 of each
-- kind, so that the cost is bounded.
-- Calls: kernel/clock.

create function worker.waiting_runs() returns table (is_ready boolean, since timestamptz, waiting_since timestamptz)
language sql stable set search_path = ''
begin atomic
    -- A run whose owner searches as much as is allowed waits for the owner's own runs.
    with busy as materialized (
        select lease.user_id from worker.leases as lease
        group by lease.user_id
        having count(*) >= (select settings.max_running_per_user from worker.settings as settings)
    ), ready as (
        select run.user_id, run.updated_at, run.started_at
        from public.search_runs as run
        where run.status = 'pending' and run.run_after is null and run.leader_run_id is null
        order by run.priority desc, run.position
        limit 10000
    ), delayed as (
        select run.user_id, run.run_after, run.started_at
        from public.search_runs as run
        where run.status = 'pending' and run.run_after is not null
        order by run.run_after
        limit 10000
    )
    select true, ready.updated_at, coalesce(ready.started_at, ready.updated_at)
    from ready
    where ready.user_id not in (select busy.user_id from busy)
    union all
    -- A run that is due becomes ready at the next claim.
    select false, delayed.run_after, coalesce(delayed.started_at, delayed.run_after)
    from delayed
    where delayed.user_id not in (select busy.user_id from busy);
end;
comment on function worker.waiting_runs is
    'Returns runs that wait: since when each could be claimed, and since when it has not ended. Of a run that is to start '
    'later, both are in the future.';

create function worker.oldest_ready_seconds() returns double precision
language sql stable set search_path = ''
return (select extract(epoch from worker.now() - min(waiting.since)) from worker.waiting_runs() as waiting
        where waiting.since <= worker.now());
comment on function worker.oldest_ready_seconds is
    'Returns for how many seconds the oldest ready run waits for a worker; null without one.';

create function worker.oldest_due_slot_seconds() returns double precision
language sql stable set search_path = ''
return (select extract(epoch from worker.now() - min(schedule.next_slot_at)) from public.search_schedules as schedule
        where schedule.paused is null and schedule.next_slot_at <= worker.now());
comment on function worker.oldest_due_slot_seconds is
    'Returns for how many seconds the oldest slot that was not fired is due; null without one.';
