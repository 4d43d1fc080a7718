-- Which messages does a worker send, and what happens after an attempt? A claim is valid for a minute: the messages of a
-- worker that died are then sent by another one. After a failure, the next attempt waits longer each time; after the
-- last one, the message is dead. A receiver that is gone is disabled.
-- Calls: kernel/clock.

create function worker.next_webhook_attempt(attempts integer, retry_after_seconds double precision)
returns timestamptz
language sql stable set search_path = ''
return (select worker.now() + greatest((0.75 + 0.5 * random()) * delays.delay,
                                       make_interval(secs => least(coalesce(retry_after_seconds, 0), 86400)))
        from (select settings.webhook_delays[next_webhook_attempt.attempts] as delay from worker.settings as settings)
            as delays
        where delays.delay is not null);
comment on function worker.next_webhook_attempt is
    'Returns when a message is sent again that has failed this many times: after the delay in worker.settings, plus or '
    'minus 25 %, or what the receiver asked for, at most a day. Null if that was the last attempt.';

create function public.worker_claim_webhooks(endpoints text[], batch integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    claimed_until timestamptz := worker.now() + interval '1 minute';
    messages jsonb;
    next_due_at timestamptz;
begin
    if batch between 1 and 100 is not true then
        raise sqlstate '22023' using message = 'batch must be an integer from 1 to 100';
    end if;
    with due as (
        select message.id, endpoint.url
        from worker.webhook_endpoints as endpoint
        cross join lateral (
            select waiting.id from worker.webhook_messages as waiting
            where waiting.endpoint = endpoint.name and waiting.due_at <= worker.now()
            order by waiting.due_at
            limit worker_claim_webhooks.batch
            for update skip locked
        ) as message
        where endpoint.name = any (worker_claim_webhooks.endpoints) and endpoint.disabled_at is null
    ), claimed as (
        update worker.webhook_messages as message set due_at = claimed_until
        from due
        where message.id = due.id
        returning message.id, message.endpoint, due.url, message.payload
    )
    select jsonb_agg(jsonb_build_object(
        'id', claimed.id, 'endpoint', claimed.endpoint, 'url', claimed.url, 'payload', claimed.payload))
    into messages
    from claimed;

    select min(next.due_at) into next_due_at
    from worker.webhook_endpoints as endpoint
    cross join lateral (
        select message.due_at from worker.webhook_messages as message
        where message.endpoint = endpoint.name and message.due_at <> claimed_until
        order by message.due_at
        limit 1
    ) as next
    where endpoint.name = any (worker_claim_webhooks.endpoints) and endpoint.disabled_at is null;
    return jsonb_build_object(
        'messages', coalesce(messages, '[]'), 'claimed_until', claimed_until,
        -- greatest() ignores null.
        'due_in_seconds', case when next_due_at is not null
                               then greatest(0, extract(epoch from next_due_at - worker.now())) end);
end;
$$;
comment on function public.worker_claim_webhooks is
    'Claims messages that are due, for a minute: up to batch of each of these endpoints. Returns {messages: [{id, '
    'endpoint, url, payload}], claimed_until, due_in_seconds}: the claim''s mark, and the seconds until another message '
    'is due, or null.';

create function public.worker_save_webhooks(claimed_until timestamptz, results jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    counts jsonb;
begin
    with result as materialized (
        select message.id, message.endpoint, given.error, coalesce(given.is_gone, false) as is_gone,
               given.retry_after_seconds
        from jsonb_to_recordset(worker_save_webhooks.results)
            as given (id uuid, error text, is_gone boolean, retry_after_seconds double precision)
        join worker.webhook_messages as message on message.id = given.id
        -- A message that has arrived has arrived. A failure counts if no other worker is sending the message by now.
        where message.delivered_at is null
          and (given.error is null or message.due_at = worker_save_webhooks.claimed_until)
        order by message.id
        for update of message
    ), disabled as (
        update worker.webhook_endpoints as endpoint
        set disabled_at = worker.now(), disabled_reason = 'The receiver answered 410 Gone.'
        where endpoint.disabled_at is null
          and endpoint.name in (select result.endpoint from result where result.is_gone)
        returning endpoint.name
    ), written as (
        update worker.webhook_messages as message
        set attempts = message.attempts + (result.error is not null and not result.is_gone)::integer,
            error = left(result.error, 300),
            delivered_at = case when result.error is null then worker.now() end,
            due_at = case when result.is_gone then worker.now()  -- when the endpoint is enabled again
                          when result.error is not null
                              then worker.next_webhook_attempt(message.attempts + 1, result.retry_after_seconds)
                     end
        from result
        where message.id = result.id
        returning message.due_at, message.delivered_at
    )
    select jsonb_build_object(
        'delivered', count(*) filter (where written.delivered_at is not null),
        'dead', count(*) filter (where written.due_at is null and written.delivered_at is null),
        'disabled', (select coalesce(jsonb_agg(disabled.name), '[]') from disabled))
    into counts
    from written;
    return counts;
end;
$$;
comment on function public.worker_save_webhooks is
    'Saves the results of claimed messages: [{id, error, is_gone, retry_after_seconds}], where error is null if the '
    'receiver accepted the message. is_gone disables the endpoint. Returns {delivered, dead, disabled: the names of the '
    'endpoints}. Idempotent.';
