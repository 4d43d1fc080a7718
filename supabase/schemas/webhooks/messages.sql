-- Which events are sent to webhook endpoints? Those that an enabled endpoint wants, written in the transaction in which
-- they happen. A payload has ids, statuses and counts: the receiver reads the results with a key of its own.
-- Calls: kernel/clock.

create function worker.has_webhooks() returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return exists (select from worker.webhook_endpoints as endpoint where endpoint.disabled_at is null);
end;
$$;
comment on function worker.has_webhooks is 'Returns whether an endpoint is enabled.';

create function worker.webhook_payload(event text, happened_at timestamptz, data jsonb) returns jsonb
language sql stable set search_path = ''
return jsonb_build_object(
    'type', event, 'timestamp', to_char(happened_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'data', data);
comment on function worker.webhook_payload is 'Returns the payload of an event: {type, timestamp, data}.';

create function worker.announce_ended_runs(run_ids uuid[]) returns void
language plpgsql set search_path = '' as $$
begin
    if run_ids = '{}' or not worker.has_webhooks() then
        return;
    end if;
    insert into worker.webhook_messages (endpoint, event, payload, due_at, created_at)
    select endpoint.name, happened.event,
           worker.webhook_payload(happened.event, run.completed_at, jsonb_build_object(
               'run_id', run.id, 'user_id', run.user_id, 'workspace_id', run.workspace_id, 'kind', run.kind,
               'source', run.source, 'saved_search_id', run.saved_search_id, 'slot_at', run.slot_at,
               'status', run.status, 'error_code', run.error_code, 'items_found', run.items_found,
               'new_items', run.new_items)),
           worker.now(), worker.now()
    from public.search_runs as run
    cross join lateral (
        select case run.status when 'failed' then 'run.failed' else 'run.finished' end as event
        where run.status in ('success', 'partial', 'failed')
        union all
        select 'search.new_items'
        where run.status in ('success', 'partial') and run.slot_at is not null and run.new_items > 0
    ) as happened
    join worker.webhook_endpoints as endpoint
        on endpoint.disabled_at is null and happened.event = any (endpoint.events)
    where run.id = any (run_ids)
    order by run.id, happened.event, endpoint.name;
end;
$$;
comment on function worker.announce_ended_runs is
    'Writes the messages about runs that have ended: run.finished or run.failed, and search.new_items.';

create function worker.announce_pause() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    insert into worker.webhook_messages (endpoint, event, payload, due_at, created_at)
    select endpoint.name, 'schedule.paused',
           worker.webhook_payload('schedule.paused', new.updated_at, jsonb_build_object(
               'saved_search_id', new.saved_search_id, 'user_id', saved.user_id, 'workspace_id', saved.workspace_id,
               'kind', saved.kind, 'paused', new.paused, 'last_run_id', new.last_run_id)),
           worker.now(), worker.now()
    from public.saved_searches as saved
    join worker.webhook_endpoints as endpoint
        on endpoint.disabled_at is null and 'schedule.paused' = any (endpoint.events)
    where saved.id = new.saved_search_id;
    return null;
end;
$$;
comment on function worker.announce_pause is 'Writes the messages about a schedule that its user did not pause.';

create trigger announce_pause after update on public.search_schedules
    for each row
    when (new.paused in ('inactive', 'failing', 'invalid') and old.paused is distinct from new.paused)
    execute function worker.announce_pause();

create function worker.announce_inactivity() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if not worker.has_webhooks() then
        return null;
    end if;
    insert into worker.webhook_messages (endpoint, event, payload, due_at, created_at)
    select endpoint.name, 'schedule.inactive_soon',
           worker.webhook_payload('schedule.inactive_soon', new.created_at, jsonb_build_object(
               'saved_search_id', run.saved_search_id, 'user_id', run.user_id, 'workspace_id', run.workspace_id,
               'kind', run.kind, 'run_id', run.id, 'pauses_at', new.data -> 'pauses_at')),
           worker.now(), worker.now()
    from public.search_runs as run
    join worker.webhook_endpoints as endpoint
        on endpoint.disabled_at is null and 'schedule.inactive_soon' = any (endpoint.events)
    where run.id = new.run_id and not exists (
        -- The run event is written for each run until the schedule pauses; the message once.
        select from public.search_runs as earlier
        join public.run_events as warned on warned.run_id = earlier.id
        where earlier.saved_search_id = run.saved_search_id and earlier.id <> run.id
          and earlier.created_at > run.created_at - (select settings.inactive_warning from worker.settings as settings)
          and warned.event = 'inactive_soon' and warned.data = new.data);
    return null;
end;
$$;
comment on function worker.announce_inactivity is
    'Writes the messages about a schedule that pauses soon because its user is inactive, once for each inactivity.';

create trigger announce_inactivity after insert on public.run_events
    for each row
    when (new.event = 'inactive_soon')
    execute function worker.announce_inactivity();

create function worker.announce_incidents(incident_ids uuid[], event text, happened_at timestamptz) returns void
language sql volatile set search_path = ''
begin atomic
    insert into worker.webhook_messages (endpoint, event, payload, due_at, created_at)
    select endpoint.name, announce_incidents.event,
           worker.webhook_payload(announce_incidents.event, happened_at, jsonb_build_object(
               'incident_id', incident.id, 'rule', incident.rule, 'subject', incident.subject, 'value', incident.value,
               'threshold', known.threshold, 'unit', known.unit, 'detail', incident.detail,
               'opened_at', incident.opened_at, 'openings', incident.openings, 'resolved_at', incident.resolved_at)),
           worker.now(), worker.now()
    from worker.incidents as incident
    join worker.alert_rules as known on known.rule = incident.rule
    join worker.webhook_endpoints as endpoint
        on endpoint.disabled_at is null and announce_incidents.event = any (endpoint.events)
    where incident.id = any (incident_ids)
    order by incident.rule, incident.subject, endpoint.name;
end;
comment on function worker.announce_incidents is
    'Writes the messages about incidents that have opened or ended.';
