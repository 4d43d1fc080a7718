-- What frontends see lives in `public`; what only the worker's RPCs touch lives in `worker`, which is not exposed.
create schema worker;
comment on schema worker is 'Private state of the search worker: leases, raw pages, settings. Not exposed through the API.';
revoke all on schema worker from public;

-- Tests move time by replacing this function; nothing else in the schema reads the clock. Not the time at which the
-- transaction began: one that waited for a run would write times before those of the one that it waited for. And
-- stable all the same, because an index is not searched with what is volatile.
create function worker.now() returns timestamptz
language sql stable set search_path = ''
return clock_timestamp();
comment on function worker.now() is 'The clock of every time-dependent rule.';

create type public.run_source as enum ('manual', 'cron', 'api');
create type public.run_status as enum ('pending', 'running', 'success', 'partial', 'failed', 'cancelled');
create type public.site_status as enum ('pending', 'running', 'completed', 'partial', 'failed', 'skipped');

create table public.search_runs (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    workspace_id uuid,
    kind text not null,
    source public.run_source not null default 'manual',
    parameters jsonb not null,
    client_context jsonb,
    status public.run_status not null default 'pending',
    jobs_found integer not null default 0,
    progress_current integer not null default 0,
    progress_total integer,
    progress jsonb not null default '{}',
    error_code text,
    error_message text,
    attempts smallint not null default 0,
    max_attempts smallint not null default 3,
    rescues smallint not null default 0,
    priority smallint not null,
    position bigint not null,
    fingerprint text not null,
    leader_run_id uuid references public.search_runs (id) on delete set null,
    shared_run_id uuid references public.search_runs (id) on delete set null,
    idempotency_key text,
    run_after timestamptz,
    cancel_requested_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    started_at timestamptz,
    completed_at timestamptz,
    constraint search_runs_idempotency_key unique (user_id, idempotency_key),
    constraint search_runs_max_attempts check (max_attempts between 1 and 20),
    constraint search_runs_attempts check (attempts between 0 and max_attempts),
    constraint search_runs_completed_at
        check ((status in ('success', 'partial', 'failed', 'cancelled')) = (completed_at is not null))
);

-- Only claimable runs are in these, so that neither history, delayed runs nor followers make a claim slower.
create index search_runs_ready on public.search_runs (priority desc, position)
    where status = 'pending' and run_after is null and leader_run_id is null;
-- The position is negative so that the planner does not read search_runs_ready backwards instead, past everybody's runs.
create index search_runs_ready_of_user on public.search_runs (user_id, priority, (-position))
    where status = 'pending' and run_after is null and leader_run_id is null;
create index search_runs_pending_of_user on public.search_runs (user_id)
    where status = 'pending' and source <> 'cron';
create index search_runs_running on public.search_runs (user_id) where status = 'running';
create index search_runs_delayed on public.search_runs (run_after)
    where status = 'pending' and run_after is not null;
create index search_runs_user_id on public.search_runs (user_id, created_at desc);
create index search_runs_completed_at on public.search_runs (completed_at) where completed_at is not null;
create index search_runs_fingerprint on public.search_runs (fingerprint, completed_at desc)
    where completed_at is not null;
create index search_runs_leader_run_id on public.search_runs (leader_run_id) where leader_run_id is not null;
create index search_runs_shared_run_id on public.search_runs (shared_run_id) where shared_run_id is not null;

comment on table public.search_runs is 'One row for each search that a user asked for. Published to Realtime.';
comment on column public.search_runs.user_id is 'Owner; by default the signed-in user.';
comment on column public.search_runs.workspace_id is 'The frontend''s own grouping; the worker does not read it.';
comment on column public.search_runs.kind is 'What is searched for: a kind of worker.parameter_rules.';
comment on column public.search_runs.source is 'Who asked: a person, a schedule or a program. Decides the priority.';
comment on column public.search_runs.parameters is 'What to search for, checked against worker.parameter_rules.';
comment on column public.search_runs.client_context is 'Anything that the frontend wants back with the run; at most 16 kB.';
comment on column public.search_runs.status is 'pending, running, then success, partial, failed or cancelled, which are final.';
comment on column public.search_runs.jobs_found is 'Results so far: rows of search_results, written at most once a second while running.';
comment on column public.search_runs.progress_current is 'Results found or given up on, of progress_total. Never falls.';
comment on column public.search_runs.progress_total is 'Results wanted: results_wanted times the number of sites.';
comment on column public.search_runs.progress is
    'What happens now: {step, site, details}. step is queued, starting, searching, site_finished, retrying, cancelled or finished.';
comment on column public.search_runs.error_code is 'Why sites failed: the first failed site''s code, or worker_lost. Also while waiting to try them again.';
comment on column public.search_runs.error_message is 'One line naming each failed site and its reason.';
comment on column public.search_runs.attempts is 'Attempts started; a released or rescued run gets its attempt back.';
comment on column public.search_runs.max_attempts is 'Attempts allowed.';
comment on column public.search_runs.rescues is 'Times that a worker died with this run.';
comment on column public.search_runs.priority is 'Greater first: manual 20, api 10, cron 0.';
comment on column public.search_runs.position is 'Place in the queue within a priority; smaller first, users interleaved.';
comment on column public.search_runs.fingerprint is 'SHA-256 of the kind and the canonical parameters: equal for equal searches.';
comment on column public.search_runs.leader_run_id is 'The active run that searches for this one.';
comment on column public.search_runs.shared_run_id is 'The finished run whose results answer this one.';
comment on column public.search_runs.idempotency_key is 'Unique for each user: the same key never makes a second run.';
comment on column public.search_runs.run_after is 'Not before this time: of a search for later, or of a failed one''s next attempt. Null when ready.';
comment on column public.search_runs.cancel_requested_at is 'When the owner asked to cancel: setting it, to whatever time, cancels the run.';
comment on column public.search_runs.updated_at is 'Last change of this row.';
comment on column public.search_runs.started_at is 'First claim by a worker.';
comment on column public.search_runs.completed_at is 'When the status became final; null until then.';

create table public.search_run_sites (
    run_id uuid not null references public.search_runs (id) on delete cascade,
    site text not null,
    position smallint not null,
    status public.site_status not null default 'pending',
    jobs_found integer not null default 0,
    attempts smallint not null default 0,
    error_code text,
    error_message text,
    retryable boolean,
    started_at timestamptz,
    completed_at timestamptz,
    primary key (run_id, site),
    constraint search_run_sites_completed_at
        check ((status in ('completed', 'partial', 'failed', 'skipped')) = (completed_at is not null))
);
comment on table public.search_run_sites is 'Each site of a run, with its own status. Published to Realtime.';
comment on column public.search_run_sites.site is 'One of the run''s parameters.sites.';
comment on column public.search_run_sites.status is
    'pending, running, then completed, failed, partial (failed, after some results) or skipped, which are final.';
comment on column public.search_run_sites.position is 'Place in the order in which the sites are searched, from 1.';
comment on column public.search_run_sites.jobs_found is 'Results of this site, written at most once a second while running.';
comment on column public.search_run_sites.attempts is 'Times that this run started to search the site.';
comment on column public.search_run_sites.error_code is
    'invalid_parameters, blocked, rate_limited, timeout, network, not_found, unverified, upstream, internal or worker_lost.';
comment on column public.search_run_sites.error_message is 'The reason, in one line for the person who reads it.';
comment on column public.search_run_sites.retryable is 'Whether the same search may succeed later; null without an error.';
comment on column public.search_run_sites.started_at is 'Start of the last attempt.';
comment on column public.search_run_sites.completed_at is 'When the status became final; null until then.';

create table public.items (
    id uuid primary key default gen_random_uuid(),
    kind text not null,
    owner_id uuid references auth.users (id) on delete cascade,
    title text not null,
    organization text,
    location text,
    is_remote boolean,
    posted_at timestamptz,
    salary_min numeric,
    salary_max numeric,
    salary_interval text
        constraint items_salary_interval check (salary_interval in ('yearly', 'monthly', 'weekly', 'daily', 'hourly')),
    currency text,
    url text not null,
    apply_url text,
    description text,
    data jsonb not null default '{}',
    canonical_key text not null,
    duplicate_of uuid references public.items (id) on delete set null,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    constraint items_canonical_key unique nulls not distinct (kind, owner_id, canonical_key)
);
create index items_owner_id on public.items (owner_id) where owner_id is not null;
create index items_duplicate_of on public.items (duplicate_of) where duplicate_of is not null;
comment on table public.items is 'Canonical things found, shared by every run that found them.';
comment on column public.items.kind is 'As the kind of the runs that found it.';
comment on column public.items.owner_id is 'Null for public things; else the one user who may see it.';
comment on column public.items.organization is 'The employer of a job or a person.';
comment on column public.items.is_remote is 'Null where the site does not tell.';
comment on column public.items.posted_at is 'When the site says that it was published.';
comment on column public.items.salary_min is 'In currency, for each salary_interval.';
comment on column public.items.salary_max is 'In currency, for each salary_interval.';
comment on column public.items.salary_interval is 'yearly, monthly, weekly, daily or hourly.';
comment on column public.items.currency is 'ISO 4217 code of the salary.';
comment on column public.items.url is 'The page of the thing on the site that found it.';
comment on column public.items.apply_url is 'Where to apply, when the site names another place.';
comment on column public.items.data is 'Everything else that the site told.';
comment on column public.items.canonical_key is 'What makes two sightings the same thing.';
comment on column public.items.duplicate_of is 'The older item that this one repeats.';
comment on column public.items.first_seen_at is 'When any run found it first.';
comment on column public.items.last_seen_at is 'When any run found it last.';

create table public.item_sources (
    id bigint generated always as identity primary key,
    site text not null,
    external_id text not null,
    item_id uuid not null references public.items (id) on delete cascade,
    owner_id uuid references auth.users (id) on delete cascade,
    url text not null,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    constraint item_sources_external_id unique nulls not distinct (site, external_id, owner_id)
);
create index item_sources_item_id on public.item_sources (item_id);
create index item_sources_owner_id on public.item_sources (owner_id) where owner_id is not null;
comment on table public.item_sources is 'Where each item was seen: a site''s own id of it.';
comment on column public.item_sources.external_id is 'The site''s own id of the item.';
comment on column public.item_sources.url is 'The page of the item on this site.';
comment on column public.item_sources.owner_id is 'As the item''s: two users may each own a private sighting of the same profile.';

create table public.search_results (
    run_id uuid not null references public.search_runs (id) on delete cascade,
    item_id uuid not null references public.items (id) on delete cascade,
    site text not null,
    page_number integer not null,
    position integer not null,
    created_at timestamptz not null,
    primary key (run_id, item_id)
);
create index search_results_item_id on public.search_results (item_id);
comment on table public.search_results is 'Which run found which item. Thin, because it is published to Realtime.';
comment on column public.search_results.site is 'The site that had it first.';
comment on column public.search_results.page_number is 'The site''s page that it was on, from 1.';
comment on column public.search_results.position is 'Place on its page, from 1.';

create table public.saved_searches (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    workspace_id uuid,
    name text not null constraint saved_searches_name_length check (length(name) between 1 and 200),
    kind text not null,
    parameters jsonb not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint saved_searches_name unique (user_id, name)
);
comment on table public.saved_searches is 'Searches that a user keeps under a name.';
comment on column public.saved_searches.user_id is 'Owner; by default the signed-in user.';
comment on column public.saved_searches.workspace_id is 'The frontend''s own grouping.';
comment on column public.saved_searches.name is 'Unique for each user; 1 to 200 characters.';
comment on column public.saved_searches.parameters is 'As those of a run, and checked like them.';

create table public.run_events (
    id bigint generated always as identity primary key,
    run_id uuid not null references public.search_runs (id) on delete cascade,
    event text not null constraint run_events_event check (
        event in ('created', 'claimed', 'site_started', 'site_finished', 'rescued', 'released', 'retried', 'cancelled',
                  'finished')
    ),
    site text,
    data jsonb not null default '{}',
    created_at timestamptz not null
);
create index run_events_run_id on public.run_events (run_id, id);
comment on table public.run_events is 'What happened to a run, in order. Append-only.';
comment on column public.run_events.id is 'Grows with time: the order of a run''s events.';
comment on column public.run_events.event is
    'created, claimed, site_started, site_finished, rescued (its worker died), released (its worker stopped), '
    'retried (sites failed, and are searched again later), cancelled or finished.';
comment on column public.run_events.site is 'The site of a site''s event.';
comment on column public.run_events.data is 'What else is known: worker_id, attempt, status, error_code ...';

-- Heartbeats must stay HOT: no index on the expiry (0 % HOT with one, 96.5 % without), and room on each page.
create table worker.leases (
    run_id uuid primary key references public.search_runs (id) on delete cascade,
    worker_id text not null,
    token uuid not null default gen_random_uuid(),
    claim_id uuid not null,
    duration interval not null,
    expires_at timestamptz not null
) with (fillfactor = 50);
comment on table worker.leases is 'Who may write to a running run, proved by the token, until when.';
comment on column worker.leases.worker_id is 'The worker''s name, for people.';
comment on column worker.leases.token is 'Carried by every write; another one at every claim.';
comment on column worker.leases.claim_id is 'The claim that made the lease; the same claim again gets the same runs.';
comment on column worker.leases.duration is 'How far ahead of the clock a heartbeat sets expires_at.';
comment on column worker.leases.expires_at is 'After this time the run is rescued, by the next claim of any worker.';

create table worker.raw_collections (
    id bigint generated always as identity primary key,
    run_id uuid not null references public.search_runs (id) on delete cascade,
    source text not null,
    site text not null,
    attempt smallint not null,
    page_number integer not null constraint raw_collections_page_number check (page_number >= 1),
    query jsonb not null,
    query_hash text not null,
    payload jsonb not null,
    response_ms integer not null,
    item_count integer not null,
    calls_used integer not null,
    fetched_at timestamptz not null,
    constraint raw_collections_page unique (run_id, site, attempt, page_number)
);
comment on table worker.raw_collections is 'Every page as the site sent it. Its key makes a page that is saved twice count once.';
comment on column worker.raw_collections.source is 'The code that fetched it: a source''s name.';
comment on column worker.raw_collections.attempt is 'The site''s attempt within the run.';
comment on column worker.raw_collections.query is 'The parameters that were searched for.';
comment on column worker.raw_collections.query_hash is 'The fingerprint of the run.';
comment on column worker.raw_collections.payload is 'The answer, unchanged.';
comment on column worker.raw_collections.response_ms is 'Time that the site took to answer, in milliseconds.';
comment on column worker.raw_collections.item_count is 'Items that were parsed from it.';
comment on column worker.raw_collections.calls_used is 'Requests that it cost.';

create table worker.processing_log (
    id bigint generated always as identity primary key,
    raw_collection_id bigint not null references worker.raw_collections (id) on delete cascade,
    item_index integer not null,
    error_type text not null,
    message text not null,
    field text,
    raw jsonb,
    created_at timestamptz not null
);
create index processing_log_raw_collection_id on worker.processing_log (raw_collection_id);
comment on table worker.processing_log is 'Items of a page that could not be parsed.';
comment on column worker.processing_log.item_index is 'Place of the item in the page, from 0.';
comment on column worker.processing_log.field is 'The field that was wrong, where one was.';
comment on column worker.processing_log.raw is 'The item as the site sent it.';

create table worker.site_health (
    site text primary key,
    last_success_at timestamptz,
    last_failure_at timestamptz,
    last_error_code text,
    consecutive_failures integer not null default 0
);
comment on table worker.site_health is 'How each site answered last, over all workers.';
comment on column worker.site_health.last_error_code is 'Code of the last failure; stays after a success.';
comment on column worker.site_health.consecutive_failures is 'Failures since the last success.';

create table worker.settings (
    is_only_row boolean primary key default true check (is_only_row),
    max_rescues smallint not null default 3 check (max_rescues between 0 and 100),
    rescue_batch smallint not null default 100 check (rescue_batch between 1 and 1000),
    progress_interval interval not null default '1 second' check (progress_interval >= '0'),
    retry_delay interval not null default '30 seconds' check (retry_delay >= '0'),
    max_retry_delay interval not null default '15 minutes' check (max_retry_delay >= '0'),
    max_pending_per_user integer default 100 check (max_pending_per_user >= 1),
    max_per_hour_per_user integer default 300 check (max_per_hour_per_user >= 1),
    max_running_per_user integer default 5 check (max_running_per_user >= 1),
    keep_runs interval default '90 days' check (keep_runs >= '1 hour'),
    keep_events interval default '30 days' check (keep_events >= '1 hour'),
    keep_raw_pages interval default '14 days' check (keep_raw_pages >= '1 hour'),
    retention_batch smallint not null default 100 check (retention_batch between 10 and 10000),
    retention_pause interval not null default '5 seconds' check (retention_pause >= '0'),
    retention_interval interval not null default '1 hour' check (retention_interval > '0')
);
insert into worker.settings default values;
comment on table worker.settings is 'Settings that hold for all workers.';
comment on column worker.settings.max_rescues is 'Workers that may die with a run before it fails as worker_lost.';
comment on column worker.settings.rescue_batch is 'Expired leases rescued, and due runs promoted, in one claim at most.';
comment on column worker.settings.progress_interval is
    'Least time between two progress writes of a run: each costs an RLS check for every subscriber.';
comment on column worker.settings.retry_delay is
    'Delay before the second attempt; doubled for each further one, give or take a quarter.';
comment on column worker.settings.max_retry_delay is 'Longest delay before an attempt, before the quarter.';
comment on column worker.settings.max_pending_per_user is
    'Runs of a user that wait at a time, those of schedules apart; null for no limit.';
comment on column worker.settings.max_per_hour_per_user is
    'Runs that a user starts within any hour, those of schedules apart; null for no limit.';
comment on column worker.settings.max_running_per_user is
    'Runs of a user that are searched at a time, by all workers; the others wait. Null for no limit.';
comment on column worker.settings.keep_runs is 'Finished runs are deleted at this age, with all that belongs to them; null keeps them.';
comment on column worker.settings.keep_events is 'Events are deleted at this age; null keeps them as long as their runs.';
comment on column worker.settings.keep_raw_pages is 'Raw pages are deleted at this age; null keeps them as long as their runs.';
comment on column worker.settings.retention_batch is
    'Rows of each table deleted at a time (of runs, a tenth): on a published table each delete is broadcast.';
comment on column worker.settings.retention_pause is 'Least time between two batches.';
comment on column worker.settings.retention_interval is 'Time until the next look once nothing is left to delete.';

create table worker.housekeeping (
    task text primary key,
    next_at timestamptz not null
);
insert into worker.housekeeping (task, next_at) values ('retention', '-infinity');
comment on table worker.housekeeping is 'What some idle worker does from time to time, and not each of them.';
comment on column worker.housekeeping.next_at is 'Not before this time.';

create table worker.parameter_rules (
    kind text not null,
    name text not null,
    type text not null check (type in ('text', 'integer', 'boolean', 'texts', 'integers')),
    is_required boolean not null default false,
    minimum integer,
    maximum integer,
    allowed text[],
    default_value jsonb,
    primary key (kind, name)
);
comment on table worker.parameter_rules is
    'What search_runs.parameters may hold, for each kind. A new kind of search is a few rows here.';
comment on column worker.parameter_rules.type is 'texts and integers are lists of them.';
comment on column worker.parameter_rules.minimum is 'Least value of a number, length of a text, or length of a list.';
comment on column worker.parameter_rules.maximum is 'Greatest value of a number, length of a text, or length of a list.';
comment on column worker.parameter_rules.allowed is 'The only values allowed, for a text or for each text of a list.';
comment on column worker.parameter_rules.default_value is 'What holds when a run does not name the parameter.';
