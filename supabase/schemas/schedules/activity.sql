-- When was a user last seen? At the last sign-in, refreshed session, manual run or call of mark_seen. Schedules of users
-- who were not seen for a long time pause, and repeat again once they are.
-- Calls: kernel/clock, schedules/slots.

create function worker.seen_at(user_id uuid) returns timestamptz
language sql stable set search_path = ''
begin atomic
    select greatest(
        known.created_at, known.last_sign_in_at,
        (select max(greatest(session.updated_at, session.refreshed_at::timestamptz)) from auth.sessions as session
         where session.user_id = seen_at.user_id),
        (select max(run.created_at) from (
            select run.created_at, run.source from public.search_runs as run
            where run.user_id = seen_at.user_id
            order by run.created_at desc
            limit 100
         ) as run where run.source = 'manual'),
        (select activity.seen_at from worker.user_activity as activity where activity.user_id = seen_at.user_id))
    from auth.users as known
    where known.id = seen_at.user_id;
end;
comment on function worker.seen_at is 'Returns when a user was last seen.';

create function worker.resume_seen_users() returns void
language sql volatile set search_path = ''
begin atomic
    with next as materialized (
        select schedule.saved_search_id, saved.user_id
        from public.search_schedules as schedule
        join public.saved_searches as saved on saved.id = schedule.saved_search_id
        where schedule.paused = 'inactive' and schedule.saved_search_id > (
            select task.after_id from worker.housekeeping as task where task.task = 'seen_users')
        order by schedule.saved_search_id
        limit 500
        for update of schedule skip locked
    ), continued as (
        update worker.housekeeping as task
        set after_id = case when looked_at.is_full then looked_at.last_id
                            else '00000000-0000-0000-0000-000000000000' end,
            next_at = worker.now() + case when looked_at.is_full then interval '5 seconds' else interval '1 hour' end
        from (
            select count(*) = 500 as is_full,
                   (array_agg(next.saved_search_id order by next.saved_search_id desc))[1] as last_id
            from next
        ) as looked_at
        where task.task = 'seen_users'
    )
    update public.search_schedules as schedule
    set paused = null
    from next, worker.settings as settings
    where schedule.saved_search_id = next.saved_search_id and worker.is_time_zone(schedule.time_zone)
      and (settings.inactive_after is null or worker.seen_at(next.user_id) > worker.now() - settings.inactive_after);
end;
comment on function worker.resume_seen_users is
    'Repeats the searches again whose users have been seen. Looks at the next 500 schedules that are paused as inactive; '
    'locked ones are left to the next round.';

create function public.mark_seen() returns void
language plpgsql security definer set search_path = '' as $$
begin
    insert into worker.user_activity as activity (user_id, seen_at) values ((select auth.uid()), worker.now())
    on conflict (user_id) do update set seen_at = excluded.seen_at;
    update public.search_schedules as schedule
    set paused = null
    from public.saved_searches as saved
    where saved.id = schedule.saved_search_id and saved.user_id = (select auth.uid()) and schedule.paused = 'inactive'
      and worker.is_time_zone(schedule.time_zone);
end;
$$;
comment on function public.mark_seen is
    'Remembers that the signed-in user has looked at the results: new_results starts there, and schedules that are '
    'paused as inactive repeat again.';
