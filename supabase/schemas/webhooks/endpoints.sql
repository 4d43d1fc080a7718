-- How does the operator change and see the webhook endpoints? With the service key, by the commands `webhooks`.
-- Calls: kernel/clock.

create function public.worker_add_webhook(name text, url text, events text[], description text default null)
returns void
language plpgsql security definer set search_path = '' as $$
declare
    max_endpoints constant integer := 20;
    violated text;
    missing text;
    reason text;
begin
    insert into worker.webhook_endpoints as endpoint (name, url, events, description, created_at)
    values (worker_add_webhook.name, worker_add_webhook.url, worker_add_webhook.events,
            worker_add_webhook.description, worker.now())
    on conflict on constraint webhook_endpoints_pkey do update
    set url = excluded.url, events = excluded.events, description = excluded.description, disabled_at = null,
        disabled_reason = null;
    if (select count(*) from worker.webhook_endpoints) > max_endpoints then
        raise sqlstate '22023' using message = format('at most %s endpoints are possible: remove one', max_endpoints);
    end if;
exception when check_violation or not_null_violation then
    get stacked diagnostics violated = constraint_name, missing = column_name;
    reason := case coalesce(nullif(missing, ''), substr(violated, length('webhook_endpoints_') + 1))
        when 'name' then
            'name must be 1 to 63 small letters, digits, hyphens and underscores, beginning with a letter or a digit'
        when 'url' then
            'url must be an address such as https://example.com/hooks, without a user, a password and a #fragment, of at '
            'most 2000 characters'
        when 'events' then
            'events must be one or more of run.finished, run.failed, search.new_items, schedule.paused, '
            'schedule.inactive_soon, incident.opened, incident.resolved'
        when 'description' then 'description must be a text of at most 500 characters'
    end;
    if reason is null then
        raise;
    end if;
    raise sqlstate '22023' using message = reason;
end;
$$;
comment on function public.worker_add_webhook is
    'Adds a webhook endpoint, or changes the one of that name and enables it. Its secrets are in the environment of the '
    'workers.';

create function public.worker_remove_webhook(name text) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
    is_known boolean;
begin
    delete from worker.webhook_endpoints as endpoint where endpoint.name = worker_remove_webhook.name;
    is_known := found;
    delete from worker.webhook_messages as message where message.endpoint = worker_remove_webhook.name;
    return is_known;
end;
$$;
comment on function public.worker_remove_webhook is
    'Removes a webhook endpoint and its messages. Returns whether there was one.';

create function public.worker_webhooks() returns table (
    name text, url text, events text[], description text, disabled_at timestamptz, disabled_reason text,
    waiting bigint, oldest_waiting_at timestamptz, dead bigint, last_delivered_at timestamptz, last_error text
)
language sql stable security definer set search_path = ''
begin atomic
    select endpoint.name, endpoint.url, endpoint.events, endpoint.description, endpoint.disabled_at,
           endpoint.disabled_reason, known.waiting, known.oldest_waiting_at, known.dead, known.last_delivered_at,
           known.last_error
    from worker.webhook_endpoints as endpoint
    cross join lateral (
        select count(*) filter (where message.due_at is not null) as waiting,
               min(message.created_at) filter (where message.due_at is not null) as oldest_waiting_at,
               count(*) filter (where message.due_at is null and message.delivered_at is null) as dead,
               max(message.delivered_at) as last_delivered_at,
               (array_agg(message.error order by message.created_at desc)
                   filter (where message.error is not null and message.delivered_at is null))[1] as last_error
        from worker.webhook_messages as message
        where message.endpoint = endpoint.name
    ) as known
    order by endpoint.name;
end;
comment on function public.worker_webhooks is
    'Returns the webhook endpoints with the numbers of their messages: waiting for an attempt, and dead, whose attempts '
    'have all failed.';

create function public.worker_dead_webhooks(endpoint text default null, most integer default 100) returns table (
    id text, endpoint text, event text, data jsonb, attempts smallint, error text, created_at timestamptz
)
language sql stable security definer set search_path = ''
begin atomic
    select 'msg_' || message.id, message.endpoint, message.event, message.payload -> 'data', message.attempts,
           message.error, message.created_at
    from worker.webhook_messages as message
    where message.due_at is null and message.delivered_at is null
      and (worker_dead_webhooks.endpoint is null or message.endpoint = worker_dead_webhooks.endpoint)
    order by message.created_at desc
    limit least(greatest(worker_dead_webhooks.most, 1), 1000);
end;
comment on function public.worker_dead_webhooks is
    'Returns the messages whose attempts have all failed, the newest first: at most `most`, and never more than 1,000.';

create function public.worker_replay_webhooks(endpoint text, message_id uuid default null) returns integer
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    batch constant integer := 1000;
    replayed integer;
begin
    if not exists (select from worker.webhook_endpoints as known where known.name = worker_replay_webhooks.endpoint) then
        raise sqlstate '22023' using message = 'endpoint must be the name of a webhook endpoint';
    end if;
    with chosen as (
        select message.id from worker.webhook_messages as message
        where message.endpoint = worker_replay_webhooks.endpoint and message.due_at is null
          and case when worker_replay_webhooks.message_id is null then message.delivered_at is null
                   else message.id = worker_replay_webhooks.message_id end
        order by message.created_at
        limit batch
        for update skip locked
    )
    update worker.webhook_messages as message
    set due_at = worker.now(), delivered_at = null, attempts = 0
    from chosen
    where message.id = chosen.id;
    get diagnostics replayed = row_count;
    return replayed;
end;
$$;
comment on function public.worker_replay_webhooks is
    'Sends dead messages of an endpoint again, or one message that is dead or was delivered. The webhook-id stays. '
    'Returns how many: at most 1,000.';
