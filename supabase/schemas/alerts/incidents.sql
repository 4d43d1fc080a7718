-- When does an incident open, when is there reason for a notice, and when does it end? Checked once a minute, by one
-- caller at a time. A problem that comes and goes causes few notices: it must last before it opens, it must be gone for
-- a while before it ends, and if it comes back it continues the former incident, which then ends later.
-- Calls: kernel/clock, webhooks/messages, alerts/measures.

create function worker.note_broken_rules(checked_at timestamptz) returns void
language plpgsql set search_path = '' as $$
begin
    insert into worker.incidents as incident (rule, subject, value, detail, broken_since, broken_at)
    select broken.rule, broken.subject, broken.value, broken.detail, checked_at, checked_at
    from worker.broken_rules() as broken
    on conflict (rule, subject) where resolved_at is null do update
    set value = excluded.value, detail = excluded.detail, broken_at = excluded.broken_at;

    delete from worker.incidents as incident where incident.opened_at is null and incident.broken_at <> checked_at;
end;
$$;
comment on function worker.note_broken_rules is
    'Notes which rules are broken at this check. What had not opened and is fine now is forgotten.';

create function worker.continue_incidents(checked_at timestamptz) returns uuid[]
language plpgsql set search_path = '' as $$
declare
    again jsonb;
begin
    with former as (
        select distinct on (opening.id) opening.id as opening_id, former.id
        from worker.incidents as opening
        join worker.alert_rules as known on known.rule = opening.rule
        join worker.incidents as former on former.rule = opening.rule and former.subject = opening.subject
        where opening.opened_at is null and checked_at - opening.broken_since >= known.opens_after
          and former.resolved_at > checked_at - known.continues_within
        order by opening.id, former.resolved_at desc
    ), continued as (
        delete from worker.incidents as opening using former
        where opening.id = former.opening_id
        returning former.id, opening.value, opening.detail, opening.broken_since
    )
    select jsonb_agg(to_jsonb(continued)) into again from continued;

    update worker.incidents as incident
    set resolved_at = null, openings = incident.openings + 1, value = continued.value, detail = continued.detail,
        broken_since = continued.broken_since, broken_at = checked_at
    from jsonb_to_recordset(again)
        as continued (id uuid, value double precision, detail text, broken_since timestamptz)
    where incident.id = continued.id;
    return array(select (continued ->> 'id')::uuid from jsonb_array_elements(again) as continued);
end;
$$;
comment on function worker.continue_incidents is
    'Opens the former incidents of those that are to open and had ended a short time ago. Returns their ids.';

create function worker.open_incidents(checked_at timestamptz) returns uuid[]
language plpgsql set search_path = '' as $$
declare
    again uuid[] := worker.continue_incidents(checked_at);
    opened uuid[];
begin
    with opening as (
        update worker.incidents as incident
        set opened_at = checked_at, openings = 1, notice = 'opened', notice_at = checked_at, due_at = checked_at
        from worker.alert_rules as known
        where known.rule = incident.rule and incident.opened_at is null
          and checked_at - incident.broken_since >= known.opens_after
        returning incident.id
    )
    select array_agg(opening.id) into opened from opening;
    return again || opened;
end;
$$;
comment on function worker.open_incidents is
    'Opens the incidents of rules that have been broken for long enough. Returns their ids.';

create function worker.ended_incidents(checked_at timestamptz) returns uuid[]
language sql stable set search_path = ''
return array(
    select incident.id
    from worker.incidents as incident
    join worker.alert_rules as known on known.rule = incident.rule
    where incident.resolved_at is null and incident.opened_at is not null and incident.broken_at <> checked_at
      and checked_at - incident.broken_at
          >= least(known.resolves_after * 2 ^ least(incident.openings - 1, 10), interval '1 day'));
comment on function worker.ended_incidents is
    'Returns the open incidents whose rules have been fine for long enough.';

create function worker.incidents_to_remind_of(checked_at timestamptz) returns uuid[]
language sql stable set search_path = ''
return array(
    select incident.id
    from worker.incidents as incident
    join worker.alert_rules as known on known.rule = incident.rule
    where incident.resolved_at is null and incident.broken_at = checked_at
      and incident.notice_at <= checked_at - known.remind_after);
comment on function worker.incidents_to_remind_of is
    'Returns the incidents whose last notice is older than the time between two reminders.';

create function worker.write_notices(incident_ids uuid[], notice text, checked_at timestamptz) returns void
language sql volatile set search_path = ''
begin atomic
    update worker.incidents as incident
    set notice = write_notices.notice, notice_at = checked_at, due_at = checked_at, attempts = 0, delivered_to = '{}',
        error = null
    where incident.id = any (incident_ids);
end;
comment on function worker.write_notices is 'Has a notice of incidents sent, in place of one that is not sent yet.';

create function worker.incident_titles(incident_ids uuid[]) returns jsonb
language sql stable set search_path = ''
return (select coalesce(jsonb_agg(rtrim(incident.rule || ' ' || incident.subject) || ': ' || incident.detail
                                  order by incident.rule, incident.subject), '[]')
        from worker.incidents as incident where incident.id = any (incident_ids));
comment on function worker.incident_titles is 'Returns a line for the log for each of these incidents.';

create function worker.check_alerts() returns jsonb
language plpgsql set search_path = '' as $$
declare
    checked_at timestamptz := worker.now();
    opened uuid[];
    resolved uuid[];
begin
    perform worker.note_broken_rules(checked_at);
    opened := worker.open_incidents(checked_at);
    resolved := worker.ended_incidents(checked_at);
    update worker.incidents as incident set resolved_at = checked_at where incident.id = any (resolved);
    perform worker.write_notices(opened, 'opened', checked_at);
    perform worker.write_notices(worker.incidents_to_remind_of(checked_at), 'reminder', checked_at);
    perform worker.write_notices(resolved, 'resolved', checked_at);
    perform worker.announce_incidents(opened, 'incident.opened', checked_at);
    perform worker.announce_incidents(resolved, 'incident.resolved', checked_at);
    return jsonb_build_object(
        'opened', worker.incident_titles(opened), 'resolved', worker.incident_titles(resolved));
end;
$$;
comment on function worker.check_alerts is
    'Checks all rules, and writes notices and webhook messages about what has changed. Returns {opened, resolved}.';

create function public.worker_check_alerts() returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    pause constant interval := interval '1 minute';
    due_at timestamptz;
    changed jsonb := jsonb '{"opened": [], "resolved": []}';
begin
    select task.next_at into due_at from worker.housekeeping as task
    where task.task = 'alerts'
    for update skip locked;
    if not found then
        due_at := worker.now() + pause;  -- another caller is checking
    elsif due_at <= worker.now() or due_at > worker.now() + pause then  -- the clock was set back
        changed := worker.check_alerts();
        due_at := worker.now() + pause;
        update worker.housekeeping as task set next_at = due_at where task.task = 'alerts';
    end if;
    return changed || jsonb_build_object(
        'due_in_seconds', greatest(0, extract(epoch from due_at - worker.now())));
end;
$$;
comment on function public.worker_check_alerts is
    'Checks the alert rules, at most once a minute for all callers. Returns {opened, resolved, due_in_seconds}: a line for '
    'each incident that has opened or ended, and the seconds until another call has something to do.';
