-- When is a schedule due? At its times of day on its weekdays, in its time zone. PostgreSQL decides what a time of day
-- means when clocks change: a time that is skipped is moved by the length of the gap, and of a time that happens twice
-- the second one counts. So each slot happens once.
-- Calls: kernel/clock.

create function worker.is_time_zone(name text) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    -- Not what PostgreSQL accepts besides: abbreviations, which have no daylight saving time, and POSIX rules.
    if name ~ '^(UTC|[A-Za-z_]{1,32}(/[A-Za-z0-9_+-]{1,32}){1,2})$' is not true then
        return false;
    end if;
    perform now() at time zone name;
    return true;
exception when invalid_parameter_value then
    return false;
end;
$$;
comment on function worker.is_time_zone is 'Returns whether a text is the IANA name of a time zone.';

create function worker.slots(
    time_zone text, times time[], weekdays smallint[], after timestamptz, until timestamptz
) returns setof timestamptz
language sql stable set search_path = ''
begin atomic
    select distinct slot.at
    from generate_series((slots.after at time zone slots.time_zone)::date - 1,
                         (slots.until at time zone slots.time_zone)::date + 1, interval '1 day') as day (starts)
    cross join unnest(slots.times) as daily (time)
    cross join lateral (select (day.starts::date + daily.time) at time zone slots.time_zone as at) as slot
    where extract(isodow from day.starts) = any (slots.weekdays)
      and slot.at > slots.after and slot.at <= slots.until;
end;
comment on function worker.slots is 'Returns the slots after one instant and up to another.';

create function worker.next_slot(
    time_zone text, times time[], weekdays smallint[], after timestamptz
) returns timestamptz
language sql stable set search_path = ''
begin atomic
    -- Nine days, because a zone can skip a whole day.
    select min(slot.at)
    from worker.slots(next_slot.time_zone, next_slot.times, next_slot.weekdays, next_slot.after,
                      next_slot.after + interval '9 days') as slot (at);
end;
comment on function worker.next_slot is 'Returns the first slot after an instant.';

create function worker.jittered_slot(slot_at timestamptz, fingerprint text) returns timestamptz
language sql stable set search_path = ''
return (
    select jittered_slot.slot_at
           + settings.schedule_jitter * (abs(hashtext(jittered_slot.fingerprint)::bigint) % 1000) / 1000
    from worker.settings as settings
);
comment on function worker.jittered_slot is
    'Returns a slot with the delay by which its run starts: up to worker.settings.schedule_jitter, the same for equal '
    'searches.';

create function worker.start_of_slot(slot_at timestamptz, fingerprint text) returns timestamptz
language sql stable set search_path = ''
begin atomic
    select jittered.at
    from (select worker.jittered_slot(start_of_slot.slot_at, start_of_slot.fingerprint) as at) as jittered
    where jittered.at > worker.now();
end;
comment on function worker.start_of_slot is
    'Returns when the run of a slot may start: later for some searches than for others, so that sites are not asked for '
    'all of them at once, but at the same time for equal ones. Null if that has passed.';
