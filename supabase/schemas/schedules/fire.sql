-- What happens at a slot? Each schedule that is due starts one run, skips the slot with a reason, or is paused. Any number
-- of callers may do this at the same time: each slot is decided once.
-- Calls: kernel/clock, schedules/slots, enqueue/request_size, schedules/activity.

create function worker.failures_in_a_row(schedule public.search_schedules) returns bigint
language sql stable set search_path = ''
begin atomic
    select count(*)
    from (
        select bool_and(run.status = 'failed') over (order by run.created_at desc) as is_failing
        from (
            select known.status, known.created_at from public.search_runs as known
            where known.saved_search_id = (failures_in_a_row.schedule).saved_search_id
              and known.created_at >= (failures_in_a_row.schedule).active_since
              and known.slot_at is not null and known.completed_at is not null
            order by known.created_at desc
            limit (select settings.max_failures_in_a_row from worker.settings as settings)
        ) as run
    ) as last
    where last.is_failing;
end;
comment on function worker.failures_in_a_row is 'Returns how many of the last runs of a schedule failed in a row.';

create function worker.decide_slots(saved_search_ids uuid[]) returns table (
    saved_search_id uuid, slot_at timestamptz, slots bigint, decision text, reason text, pauses_at timestamptz,
    last_run_id uuid
)
language sql stable set search_path = ''
begin atomic
    -- A user may change the times of schedules at any moment, and so repeat searches more often than they say.
    with used as materialized (
        select owner.user_id, (
            select count(*) from (
                select run.slot_at from public.search_runs as run
                where run.user_id = owner.user_id and run.created_at > worker.now() - interval '1 hour'
                order by run.created_at desc
                limit 2000
            ) as recent where recent.slot_at is not null) as runs_of_hour
        from (
            select distinct saved.user_id from public.saved_searches as saved
            where saved.id = any (decide_slots.saved_search_ids)
        ) as owner
    )
    select due.saved_search_id, due.slot_at, due.slots, decided.decision,
           case decided.decision
               when 'inactive' then 'The user was last seen at ' || worker.format_time(due.seen_at) || '.'
               when 'failing' then 'The last ' || settings.max_failures_in_a_row || ' runs failed.'
               when 'late' then 'The slot was missed by more than ' || settings.catch_up || '.'
               when 'active' then 'The run of the slot before had not ended.'
               when 'quota' then 'Too many searches of the user were repeated within an hour.'
           end,
           case when due.seen_at < worker.now() - settings.inactive_after + settings.inactive_warning
                then due.seen_at + settings.inactive_after end,
           due.last_run_id
    from worker.settings as settings
    cross join lateral (
        select schedule.saved_search_id, schedule.last_run_id, saved.collection, passed.slot_at, passed.slots,
               case when saved.collection is null then worker.seen_at(saved.user_id) end as seen_at,
               worker.failures_in_a_row(schedule) as failures, used.runs_of_hour
        from public.search_schedules as schedule
        join public.saved_searches as saved on saved.id = schedule.saved_search_id
        join used on used.user_id = saved.user_id
        cross join lateral (
            select max(slot.at) as slot_at, count(*) as slots
            from worker.slots(
                schedule.time_zone, schedule.times, schedule.weekdays,
                greatest(schedule.next_slot_at - interval '1 microsecond', worker.now() - interval '9 days'),
                worker.now()) as slot (at)
        ) as passed
        where schedule.saved_search_id = any (decide_slots.saved_search_ids)
    ) as due
    cross join lateral (
        select case
            when due.slot_at is null then 'moved'  -- the rules of the time zone have changed
            when due.seen_at < worker.now() - settings.inactive_after then 'inactive'
            when due.failures >= settings.max_failures_in_a_row then 'failing'
            when due.slot_at < worker.now() - settings.catch_up then 'late'
            when exists (select from public.search_runs as run
                         where run.id = due.last_run_id and run.completed_at is null) then 'active'
            when due.collection is null and due.runs_of_hour >= settings.max_slots_per_week_per_user then 'quota'
            else 'run' end as decision
    ) as decided;
end;
comment on function worker.decide_slots is
    'Decides the latest slot of each schedule that is due: run, late, active or quota (skipped), inactive or failing (paused), '
    'or moved (no slot). slots counts those that have passed; pauses_at is given when the user is inactive soon.';

create function worker.start_slots(
    saved_search_ids uuid[], out started bigint, out skipped bigint, out paused bigint
)
language plpgsql set search_path = '' as $$
declare
    notes jsonb;
begin
    with decided as materialized (
        select slot.*, saved.user_id, saved.workspace_id, saved.kind, saved.parameters
        from worker.decide_slots(start_slots.saved_search_ids) as slot
        join public.saved_searches as saved on saved.id = slot.saved_search_id
    ), run as (
        insert into public.search_runs as run (
            user_id, workspace_id, kind, source, parameters, saved_search_id, slot_at, idempotency_key)
        select decided.user_id, decided.workspace_id, decided.kind, 'cron', decided.parameters, decided.saved_search_id,
               decided.slot_at,
               'schedule:' || decided.saved_search_id || ':' || extract(epoch from decided.slot_at)::bigint
        from decided
        where decided.decision = 'run'
        order by decided.user_id, decided.saved_search_id
        on conflict on constraint search_runs_idempotency_key do nothing
        returning run.id, run.saved_search_id
    ), moved as (
        update public.search_schedules as schedule
        -- After the slot that was decided, not after now: another one may have passed since then.
        set next_slot_at = worker.next_slot(schedule.time_zone, schedule.times, schedule.weekdays,
                                            coalesce(decided.slot_at, worker.now())),
            last_slot_at = coalesce(decided.slot_at, schedule.last_slot_at),
            last_run_id = coalesce(run.id, schedule.last_run_id),
            paused = case when decided.decision in ('inactive', 'failing') then decided.decision end,
            paused_reason = case when decided.decision in ('inactive', 'failing') then decided.reason end
        from decided left join run on run.saved_search_id = decided.saved_search_id
        where schedule.saved_search_id = decided.saved_search_id
    ), noted as (
        select run.id as run_id, 'slots_missed' as event, jsonb_build_object('slots', decided.slots - 1) as data
        from decided join run on run.saved_search_id = decided.saved_search_id
        where decided.slots > 1
        union all
        select run.id, 'inactive_soon', jsonb_build_object('pauses_at', decided.pauses_at)
        from decided join run on run.saved_search_id = decided.saved_search_id
        where decided.pauses_at is not null
        union all
        select last.id, 'slot_skipped',
               jsonb_build_object('slot_at', decided.slot_at, 'reason', decided.decision, 'message', decided.reason)
        from decided join public.search_runs as last on last.id = decided.last_run_id
        where decided.decision in ('late', 'active', 'quota', 'inactive', 'failing')
    )
    select count(*) filter (where decided.decision = 'run'),
           count(*) filter (where decided.decision in ('late', 'active', 'quota')),
           count(*) filter (where decided.decision in ('inactive', 'failing')),
           (select jsonb_agg(to_jsonb(noted)) from noted)
    into started, skipped, paused, notes
    from decided;

    -- Not in the same statement, at whose end the runs get their first event.
    insert into public.run_events (run_id, event, data, created_at)
    select noted.run_id, noted.event, noted.data, worker.now()
    from jsonb_to_recordset(notes) as noted (run_id uuid, event text, data jsonb);
end;
$$;
comment on function worker.start_slots is
    'Decides the slots of locked schedules: starts runs, writes events about skipped slots, and sets the next slots. '
    'Returns how many runs started, slots were skipped and schedules were paused.';

create function worker.start_slots_singly(
    saved_search_ids uuid[], out started bigint, out skipped bigint, out paused bigint
)
language plpgsql set search_path = '' as $$
declare
    id uuid;
    one record;
    refusal text;
begin
    started := 0; skipped := 0; paused := 0;
    foreach id in array saved_search_ids loop
        begin
            one := worker.start_slots(array[id]);
            started := started + one.started;
            skipped := skipped + one.skipped;
            paused := paused + one.paused;
        exception when integrity_constraint_violation or data_exception or raise_exception then
            get stacked diagnostics refusal = message_text;
            update public.search_schedules as schedule set paused = 'invalid', paused_reason = refusal
            where schedule.saved_search_id = id;
            paused := paused + 1;
        end;
    end loop;
end;
$$;
comment on function worker.start_slots_singly is
    'Does the same for one schedule after another. A schedule whose search is not valid any more is paused as invalid.';

create function public.worker_fire_schedules(batch integer default 200) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    due uuid[];
    done record;
    next_slot_at timestamptz;
begin
    if batch between 1 and 200 is not true then
        raise sqlstate '22023' using message = 'batch must be from 1 to 200';
    end if;
    -- A caller that is slow or dead must not stop the others.
    perform from worker.housekeeping as task
    where task.task = 'seen_users' and task.next_at <= worker.now()
    for update skip locked;
    if found then
        perform worker.resume_seen_users();
    end if;
    due := array(
        select schedule.saved_search_id
        from public.search_schedules as schedule
        join public.saved_searches as saved on saved.id = schedule.saved_search_id
        join auth.users as owner on owner.id = saved.user_id
        where schedule.paused is null and schedule.next_slot_at <= worker.now()
        order by schedule.next_slot_at, schedule.saved_search_id
        limit batch
        -- The user, too: the new run locks the user, and a deletion of the user locks the schedule after the user.
        for update of schedule skip locked
        for key share of owner skip locked);
    perform worker.lift_request_limit();
    begin
        done := worker.start_slots(due);
    exception when integrity_constraint_violation or data_exception or raise_exception then
        done := worker.start_slots_singly(due);
    end;
    select min(schedule.next_slot_at) into next_slot_at from public.search_schedules as schedule
    where schedule.paused is null;
    return jsonb_build_object(
        'started', done.started, 'skipped', done.skipped, 'paused', done.paused,
        -- greatest() ignores null.
        'next_in_seconds', case when next_slot_at is not null
                                then greatest(0, ceil(extract(epoch from next_slot_at - worker.now()))) end);
end;
$$;
comment on function public.worker_fire_schedules is
    'Decides a batch of the schedules that are due: {started, skipped, paused, next_in_seconds}. Each slot is decided '
    'once, by any number of callers. next_in_seconds is 0 while more are due, and null without schedules.';
