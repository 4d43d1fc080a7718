-- Who is sent events by HTTP, and which messages are to be sent? No secret is here: a worker has the secrets in its
-- environment, by the name of the endpoint.
-- Calls: nothing.

create table worker.webhook_endpoints (
    name text primary key constraint webhook_endpoints_name check (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    -- Without a user and a password, which are secrets.
    url text not null constraint webhook_endpoints_url
        check (length(url) <= 2000 and url ~ '^https?://[^/?#@[:space:]]+([/?][^#[:space:]]*)?$'),
    events text[] not null constraint webhook_endpoints_events check (
        cardinality(events) > 0
        and events <@ '{run.finished,run.failed,search.new_items,schedule.paused,schedule.inactive_soon,incident.opened,'
                      'incident.resolved}'::text[]),
    description text constraint webhook_endpoints_description check (length(description) <= 500),
    disabled_at timestamptz,
    disabled_reason text,
    created_at timestamptz not null
);
comment on table worker.webhook_endpoints is 'Where the operator wants events to be sent.';
comment on column worker.webhook_endpoints.name is
    'Unique name. A worker finds the secrets of the endpoint under it, in WORKER_WEBHOOK_SECRETS.';
comment on column worker.webhook_endpoints.url is 'Where messages are sent: https, or http for a private address.';
comment on column worker.webhook_endpoints.events is
    'Events that are sent: run.finished (success or partial), run.failed, search.new_items (a scheduled run has found '
    'new things), schedule.paused (inactive, failing or invalid), schedule.inactive_soon (it pauses soon), incident.opened and '
    'incident.resolved (an alert rule).';
comment on column worker.webhook_endpoints.disabled_at is
    'Since when nothing is sent, and no event is recorded; null while it is enabled.';
comment on column worker.webhook_endpoints.disabled_reason is 'Why, as a sentence.';

create table worker.webhook_messages (
    id uuid primary key default gen_random_uuid(),
    -- Without a foreign key: otherwise the end of a run would wait for the removal of an endpoint.
    endpoint text not null,
    event text not null,
    payload jsonb not null,
    attempts smallint not null default 0,
    due_at timestamptz,
    delivered_at timestamptz,
    error text,
    created_at timestamptz not null,
    constraint webhook_messages_delivered check (due_at is null or delivered_at is null)
);
create index webhook_messages_due on worker.webhook_messages (endpoint, due_at) where due_at is not null;
create index webhook_messages_dead on worker.webhook_messages (endpoint, created_at)
    where due_at is null and delivered_at is null;
create index webhook_messages_created_at on worker.webhook_messages (created_at);
comment on table worker.webhook_messages is
    'Events that are sent to an endpoint. Written in the transaction in which the event happens, so that none is lost.';
comment on column worker.webhook_messages.id is 'The header webhook-id is msg_ and this id, in each attempt.';
comment on column worker.webhook_messages.endpoint is 'Name of the endpoint.';
comment on column worker.webhook_messages.payload is 'What is sent: {type, timestamp, data}.';
comment on column worker.webhook_messages.attempts is 'Failed attempts since the message was written or replayed.';
comment on column worker.webhook_messages.due_at is
    'When the next attempt may begin; while a worker makes one, until when it has to report the result. Null once the '
    'message is delivered, or dead: all attempts have failed.';
comment on column worker.webhook_messages.delivered_at is 'When the endpoint accepted it, with a status of 200 to 299.';
comment on column worker.webhook_messages.error is 'Why the last attempt failed, as a sentence.';
