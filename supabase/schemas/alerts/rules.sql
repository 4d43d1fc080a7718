-- How does the operator see and change the alert rules? With the service key, by the commands `alerts`, or with plain
-- SQL as the owner of the database.
-- Calls: nothing.

create function public.worker_alerts() returns jsonb
language sql stable security definer set search_path = ''
return jsonb_build_object(
    'rules', (
        select jsonb_agg(to_jsonb(known) order by known.rule)
        from worker.alert_rules as known),
    'incidents', (
        select coalesce(jsonb_agg(jsonb_build_object(
            'id', incident.id, 'rule', incident.rule, 'subject', incident.subject, 'value', incident.value,
            'detail', incident.detail, 'opened_at', incident.opened_at, 'openings', incident.openings,
            'notice', incident.notice, 'notified_at', incident.notified_at, 'due_at', incident.due_at,
            'error', incident.error) order by incident.opened_at, incident.rule, incident.subject), '[]')
        from worker.incidents as incident
        where incident.resolved_at is null and incident.opened_at is not null));
comment on function public.worker_alerts is
    'Returns the alert rules and the open incidents: {rules, incidents: [{id, rule, subject, value, detail, opened_at, '
    'openings, notice, notified_at, due_at, error}]}.';

create function public.worker_set_alert(
    rule text, threshold double precision default null, period_seconds double precision default null,
    least_count integer default null, is_enabled boolean default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    changed jsonb;
    violated text;
begin
    update worker.alert_rules as known
    set threshold = coalesce(worker_set_alert.threshold, known.threshold),
        period = coalesce(make_interval(secs => worker_set_alert.period_seconds), known.period),
        least_count = coalesce(worker_set_alert.least_count, known.least_count),
        is_enabled = coalesce(worker_set_alert.is_enabled, known.is_enabled)
    where known.rule = worker_set_alert.rule
    returning to_jsonb(known) into changed;
    if changed is null then
        raise sqlstate '22023' using message = 'rule must be one of '
            || (select string_agg(known.rule, ', ' order by known.rule) from worker.alert_rules as known);
    end if;
    return changed;
exception when check_violation then
    get stacked diagnostics violated = constraint_name;
    raise sqlstate '22023' using message = case violated
        when 'alert_rules_threshold' then
            'threshold must be more than 0; of a share, such as 0.2 for 20 %, at most 1'
        when 'alert_rules_period' then 'period must be from 1 minute to 7 days'
        when 'alert_rules_least_count' then 'least_count must be an integer from 1 to 10000'
    end;
end;
$$;
comment on function public.worker_set_alert is
    'Changes an alert rule: what is null stays. Returns the rule.';
