-- Which notices does a worker send, and what happens after an attempt? A claim is valid for a minute: the notices of a
-- worker that died are then sent by another one. An address that has a notice does not get it again, while others fail.
-- Calls: kernel/clock, webhooks/deliveries.

create function public.worker_claim_notices(batch integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    claimed_until timestamptz := worker.now() + interval '1 minute';
    -- If no worker had addresses until now, old notices are not worth sending.
    oldest timestamptz := worker.now() - interval '2 days';
    notices jsonb;
    next_due_at timestamptz;
begin
    if batch between 1 and 100 is not true then
        raise sqlstate '22023' using message = 'batch must be an integer from 1 to 100';
    end if;
    with due as (
        select waiting.id from worker.incidents as waiting
        where waiting.due_at <= worker.now() and waiting.notice_at > oldest
        order by waiting.due_at
        limit worker_claim_notices.batch
        for update skip locked
    ), claimed as (
        update worker.incidents as incident set due_at = claimed_until
        from due
        where incident.id = due.id
        returning incident.*
    )
    select jsonb_agg(jsonb_build_object(
        'incident_id', claimed.id, 'notice', claimed.notice, 'notice_at', claimed.notice_at, 'rule', claimed.rule,
        'subject', claimed.subject, 'detail', claimed.detail, 'opened_at', claimed.opened_at,
        'openings', claimed.openings, 'resolved_at', claimed.resolved_at, 'delivered_to', claimed.delivered_to)
        order by claimed.notice_at, claimed.rule, claimed.subject)
    into notices
    from claimed;

    select min(incident.due_at) into next_due_at from worker.incidents as incident
    where incident.due_at <> claimed_until and incident.notice_at > oldest;
    return jsonb_build_object(
        'notices', coalesce(notices, '[]'), 'claimed_until', claimed_until,
        -- greatest() ignores null.
        'due_in_seconds', case when next_due_at is not null
                               then greatest(0, extract(epoch from next_due_at - worker.now())) end);
end;
$$;
comment on function public.worker_claim_notices is
    'Claims up to batch notices of incidents that are due, for a minute. Returns {notices: [{incident_id, notice, '
    'notice_at, rule, subject, detail, opened_at, openings, resolved_at, delivered_to}], claimed_until, due_in_seconds}: '
    'the claim''s mark, and the seconds until another notice is due, or null.';

create function public.worker_save_notices(claimed_until timestamptz, results jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    counts jsonb;
begin
    with result as materialized (
        select incident.id, given.error, given.delivered_to
        from jsonb_to_recordset(worker_save_notices.results)
            as given (incident_id uuid, notice_at timestamptz, delivered_to text[], error text)
        join worker.incidents as incident
            -- Another notice may have replaced it meanwhile.
            on incident.id = given.incident_id and incident.notice_at = given.notice_at
        -- A notice that has arrived has arrived. A failure counts if no other worker is sending the notice by now.
        where incident.due_at is not null
          and (given.error is null or incident.due_at = worker_save_notices.claimed_until)
        order by incident.id
        for update of incident
    ), written as (
        update worker.incidents as incident
        set delivered_to = array(
                select address from unnest(incident.delivered_to || result.delivered_to) as address
                group by address order by address),
            attempts = incident.attempts + (result.error is not null)::integer,
            error = left(result.error, 300),
            notified_at = case when result.error is null then worker.now() else incident.notified_at end,
            due_at = case when result.error is not null
                          then worker.next_webhook_attempt(incident.attempts + 1, null) end
        from result
        where incident.id = result.id
        returning incident.due_at, incident.error
    )
    select jsonb_build_object(
        'sent', count(*) filter (where written.error is null),
        'dead', count(*) filter (where written.error is not null and written.due_at is null))
    into counts
    from written;
    return counts;
end;
$$;
comment on function public.worker_save_notices is
    'Saves the results of claimed notices: [{incident_id, notice_at, delivered_to, error}], where error is null if all '
    'addresses have the notice. A failed one is sent again after worker.settings.webhook_delays. Returns {sent, dead}: '
    'dead are those whose attempts have all failed. Idempotent.';
