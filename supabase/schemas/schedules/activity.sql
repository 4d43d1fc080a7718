-- When was a user last seen? At the last sign-in, refreshed session, manual run or call of mark_seen. Schedules of users
-- who were not seen for a long time pause, and repeat again once they are.
-- Calls: kernel/clock.

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
    update public.search_schedules as schedule
    set paused = null
    from public.saved_searches as saved, worker.settings as settings
    where schedule.paused = 'inactive' and saved.id = schedule.saved_search_id
      and (settings.inactive_after is null or worker.seen_at(saved.user_id) > worker.now() - settings.inactive_after);
end;
comment on function worker.resume_seen_users is 'Repeats the searches again whose users have been seen.';

create function public.mark_seen() returns void
language plpgsql security definer set search_path = '' as $$
begin
    insert into worker.user_activity as activity (user_id, seen_at) values ((select auth.uid()), worker.now())
    on conflict (user_id) do update set seen_at = excluded.seen_at;
    update public.search_schedules as schedule
    set paused = null
    from public.saved_searches as saved
    where saved.id = schedule.saved_search_id and saved.user_id = (select auth.uid()) and schedule.paused = 'inactive';
end;
$$;
comment on function public.mark_seen is
    'Remembers that the signed-in user has looked at the results: new_results starts there, and schedules that are '
    'paused as inactive repeat again.';
