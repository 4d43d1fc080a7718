-- May a search be repeated like this? The time zone, times and weekdays are checked, and how often a user's searches are
-- repeated in a week is limited. A change decides the next slot.
-- Calls: kernel/clock, schedules/slots, enqueue/request_size.

create function worker.schedule_problem(time_zone text, times time[], weekdays smallint[]) returns text
language sql stable set search_path = ''
return case
    when not worker.is_time_zone(time_zone)
        then 'time_zone must be the IANA name of a time zone, such as Europe/London'
    when cardinality(times) between 1 and 24 is not true or array_position(times, null) is not null
        then 'times must be a list of 1 to 24 times of day'
    when exists (select from unnest(times) as daily (time) where extract(second from daily.time) <> 0)
        then 'times must be in whole minutes'
    when (cardinality(weekdays) between 1 and 7 and weekdays <@ '{1,2,3,4,5,6,7}') is not true
        then 'weekdays must be a list of numbers from 1 (Monday) to 7 (Sunday)'
end;
comment on function worker.schedule_problem is 'Returns what is wrong with a schedule; null if nothing is.';

create function worker.check_schedule() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    problem text;
begin
    if tg_op = 'INSERT' then
        perform worker.count_request_row();
    end if;
    -- A schedule that is not valid any more, because its time zone is gone, can still be paused.
    if tg_op = 'INSERT' or new.paused is null
       or (new.time_zone, new.times, new.weekdays) is distinct from (old.time_zone, old.times, old.weekdays) then
        problem := worker.schedule_problem(new.time_zone, new.times, new.weekdays);
        if problem is not null then
            raise sqlstate '22023' using message = problem;
        end if;
    end if;
    new.times := array(select distinct daily.time from unnest(new.times) as daily (time) order by daily.time);
    new.weekdays := array(select distinct weekly.day from unnest(new.weekdays) as weekly (day) order by weekly.day);
    -- Other times end every pause that the user did not ask for.
    if tg_op = 'UPDATE' and old.paused <> 'user' and new.paused = old.paused
       and (new.time_zone, new.times, new.weekdays) is distinct from (old.time_zone, old.times, old.weekdays) then
        new.paused := null;
    end if;
    if new.paused is not null then
        new.next_slot_at := null;
    elsif tg_op = 'INSERT' or old.paused is not null
          or (new.time_zone, new.times, new.weekdays) is distinct from (old.time_zone, old.times, old.weekdays) then
        new.paused_reason := null;
        new.active_since := case when tg_op = 'INSERT' or old.paused is not null then worker.now() else old.active_since end;
        new.next_slot_at := worker.next_slot(new.time_zone, new.times, new.weekdays, worker.now());
    end if;
    new.updated_at := worker.now();
    return new;
end;
$$;
comment on function worker.check_schedule is 'Checks a schedule and sets its next slot.';

create trigger check_schedule before insert or update on public.search_schedules
    for each row execute function worker.check_schedule();

create function worker.count_slots() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    owner_id uuid := (select saved.user_id from public.saved_searches as saved
                      where saved.id = new.saved_search_id and saved.collection is null);
    most integer := (select settings.max_slots_per_week_per_user from worker.settings as settings);
begin
    if owner_id is null then  -- worker_apply_collections has limits of its own
        return null;
    end if;
    -- Serialize concurrent changes of a user, as in worker.check_quotas.
    perform pg_advisory_xact_lock(hashtextextended('worker.count_slots ' || owner_id, 0));
    if most < (
        select sum(cardinality(schedule.times) * cardinality(schedule.weekdays))
        from public.saved_searches as saved
        join public.search_schedules as schedule on schedule.saved_search_id = saved.id
        where saved.user_id = owner_id and saved.collection is null
    ) then
        raise sqlstate 'PT429' using
            message = format('the searches of a user are repeated at most %s times a week: choose fewer times', most),
            detail = jsonb_build_object('quota', 'max_slots_per_week_per_user', 'limit', most);
    end if;
    return null;
end;
$$;
comment on function worker.count_slots is
    'Rejects schedules beyond worker.settings.max_slots_per_week_per_user with PT429 (HTTP 429).';

create trigger count_slots after insert or update of times, weekdays on public.search_schedules
    for each row execute function worker.count_slots();
