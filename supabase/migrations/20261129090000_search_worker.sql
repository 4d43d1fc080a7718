-- Made from supabase/schemas by ./scripts/schema: edit the files there.

-- kernel/clock
-- The schema `worker`, and its clock. Every rule that depends on the time reads it here, so that tests can move it.
-- The clock may be set back: then stored times move with it, and nobody waits longer than before.
-- Calls: nothing.

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

create function worker.clock_set_back_since(at timestamptz) returns interval
language sql stable set search_path = ''
-- In seconds: days are not always of the same length.
return pg_catalog.make_interval(secs => extract(epoch from at - worker.now())::double precision);
comment on function worker.clock_set_back_since is 'How far the clock was set back since then, at least; below zero if it was not.';

create function worker.format_time(at timestamptz) returns text
language sql stable set search_path = ''
return to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"');
comment on function worker.format_time is 'A time for people.';

-- tables/settings
-- The settings that hold for all workers, and when each chore is due next. Numbers that an operator may want to change
-- are here, not in functions.
-- Calls: nothing.

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
    max_saved_searches_per_user integer default 500 check (max_saved_searches_per_user >= 1),
    max_rows_per_request integer not null default 25 check (max_rows_per_request >= 1),
    max_rows_per_service_request integer not null default 500 check (max_rows_per_service_request >= 1),
    freshness interval not null default '15 minutes' check (freshness >= '0'),
    max_invalid_share real not null default 0.1 check (max_invalid_share between 0 and 1),
    inline_wait interval not null default '5 seconds' check (inline_wait between '0' and '1 minute'),
    max_site_wait interval not null default '1 hour' check (max_site_wait >= '0'),
    wait_grace interval not null default '10 seconds' check (wait_grace >= '0'),
    permit_slack interval not null default '100 milliseconds' check (permit_slack >= '0'),
    max_quota_share numeric not null default 0.25 check (max_quota_share > 0 and max_quota_share <= 1),
    manual_quota_reserve numeric not null default 0.2 check (manual_quota_reserve between 0 and 1),
    scheduled_quota_reserve numeric not null default 0.1 check (scheduled_quota_reserve between 0 and 1),
    max_priority_wait interval not null default '15 minutes' check (max_priority_wait >= '0'),
    exploration real not null default 0.1 check (exploration between 0 and 1),
    embedding_model text,
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
comment on column worker.settings.max_saved_searches_per_user is 'Searches that a user keeps; null for no limit.';
comment on column worker.settings.max_rows_per_request is
    'Searches and saved searches that a user inserts in one transaction, with those that are refused or there already: others '
    'wait while they are looked at, a millisecond each.';
comment on column worker.settings.max_rows_per_service_request is
    'The same with the service key. Who owns the tables has no such limit.';
comment on column worker.settings.freshness is 'Age up to which a finished run answers an equal search at once.';
comment on column worker.settings.max_invalid_share is 'Share of invalid items on a page above which an alert is written.';
comment on column worker.settings.inline_wait is
    'How far ahead a request is granted: a worker waits so long in place; or a minute, with a page half asked for.';
comment on column worker.settings.max_site_wait is 'A run waits no longer than that for a site: the site fails instead.';
comment on column worker.settings.wait_grace is
    'Who waits and is so late to come back keeps nobody else waiting.';
comment on column worker.settings.permit_slack is
    'Requests take longer or shorter on their way: a site''s periods and delays are kept longer by so much.';
comment on column worker.settings.max_quota_share is
    'Share of a quota, from 0 to 1, that one user may take in its period, of buckets that all share: others may come.';
comment on column worker.settings.manual_quota_reserve is
    'Share of a quota that scheduled runs leave to all other runs.';
comment on column worker.settings.scheduled_quota_reserve is
    'Share of a quota that all other runs leave to scheduled ones.';
comment on column worker.settings.max_priority_wait is
    'Who has waited for a site so long waits as if it were of the highest priority: schedules do not starve.';
comment on column worker.settings.exploration is
    'Share of runs, from 0 to 1, whose sites are searched in any order: else what was slow or failing once stays last.';
comment on column worker.settings.embedding_model is 'The model whose vectors are kept; null until a worker embeds.';
comment on column worker.settings.keep_runs is
    'Finished runs are deleted at this age, with all that belongs to them, and what is known of sites through accounts '
    'that nobody has; null keeps them.';
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
comment on table worker.housekeeping is 'What one of the workers does from time to time, beside its searches.';
comment on column worker.housekeeping.next_at is 'Not before this time.';

-- tables/kinds
-- What can be searched for, and what the parameters of each kind may hold. A new kind is a few rows, no new code.
-- Calls: nothing.

create table worker.kinds (
    kind text primary key,
    is_private boolean not null default false
);
comment on table worker.kinds is 'What may be searched for. A new kind is a row here, and its rules in worker.parameter_rules.';
comment on column worker.kinds.is_private is
    'Whether what is found is its owner''s alone, as people found through an account of his; else it is everybody''s.';

create table worker.parameter_rules (
    kind text not null references worker.kinds (kind) on delete cascade,
    name text not null,
    type text not null check (type in ('text', 'integer', 'boolean', 'texts', 'integers')),
    is_required boolean not null default false,
    minimum integer,
    maximum integer,
    allowed text[],
    default_value jsonb,
    names_boards_of text,
    primary key (kind, name)
);
comment on table worker.parameter_rules is
    'What search_runs.parameters may hold, for each kind. A new kind of search is a few rows here.';
comment on column worker.parameter_rules.type is 'texts and integers are lists of them.';
comment on column worker.parameter_rules.minimum is 'Least value of a number, length of a text, or length of a list.';
comment on column worker.parameter_rules.maximum is 'Greatest value of a number, length of a text, or length of a list.';
comment on column worker.parameter_rules.allowed is 'The only values allowed, for a text or for each element of a list.';
comment on column worker.parameter_rules.default_value is 'What holds when a run does not name the parameter.';
comment on column worker.parameter_rules.names_boards_of is
    'The site whose boards the user names with it. What they say is of that user''s choice: see items.from_named_board.';

-- tables/runs
-- Runs, the sites of each run, what happened to it, and saved searches. Frontends read these tables; the names of their
-- columns are a contract.
-- Calls: nothing.

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
    fresh boolean not null default false,
    newer_than timestamptz,
    -- Without foreign keys: who deletes a run would wait for everybody who follows it, or was answered with it, and who
    -- follows it for him. worker.ended_leaders has what they need until they are dealt with.
    leader_run_id uuid,
    shared_run_id uuid,
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
    -- Realtime compares a filter with the text of a value, as JSON: with a bare text in a published table, the filter of
    -- one subscriber makes it fail for all.
    constraint search_runs_objects check (
        jsonb_typeof(parameters) = 'object' and jsonb_typeof(client_context) = 'object' and jsonb_typeof(progress) = 'object'),
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
-- Of equal searches one is active at a time; a second one only to ask for more than the first was told to.
create unique index search_runs_leader on public.search_runs (fingerprint, newer_than) nulls not distinct
    where completed_at is null and leader_run_id is null and (run_after is null or started_at is not null);
-- Only those that searched: thousands that they answered stand between them otherwise.
create index search_runs_fingerprint on public.search_runs (fingerprint, completed_at desc)
    where completed_at is not null and shared_run_id is null;
create index search_runs_fingerprint_of_user on public.search_runs (user_id, fingerprint, completed_at desc)
    where status in ('success', 'partial');
-- With the user: row level security looks for one's own among all that share a run.
create index search_runs_leader_run_id on public.search_runs (leader_run_id, user_id) where leader_run_id is not null;
create index search_runs_shared_run_id on public.search_runs (shared_run_id, user_id) where shared_run_id is not null;

comment on table public.search_runs is 'One row for each search that a user asked for. Published to Realtime.';
comment on column public.search_runs.user_id is 'Owner; by default the signed-in user.';
comment on column public.search_runs.workspace_id is
    'The frontend''s own grouping, which nobody checks. Decides which of the user''s accounts a site is searched through.';
comment on column public.search_runs.kind is 'What is searched for: a kind of worker.parameter_rules.';
comment on column public.search_runs.source is 'Who asked: a person, a schedule or a program. Decides the priority.';
comment on column public.search_runs.parameters is 'What to search for, checked against worker.parameter_rules.';
comment on column public.search_runs.client_context is 'An object with whatever the frontend wants back with the run; at most 16 kB.';
comment on column public.search_runs.status is 'pending, running, then success, partial, failed or cancelled, which are final.';
comment on column public.search_runs.jobs_found is 'Results so far: rows of search_results, written at most once a second while running.';
comment on column public.search_runs.progress_current is 'Results found or given up on, of progress_total. Never falls.';
comment on column public.search_runs.progress_total is 'Results wanted: results_wanted times the number of sites.';
comment on column public.search_runs.progress is
    'What happens now: {step, site, current, total, details}. step is queued, starting, searching, or the source''s own word '
    'for what it does at the site; site_finished, waiting (details.sites: [{site, until, reason, message}]), retrying, '
    'cancelled or finished.';
comment on column public.search_runs.error_code is 'Why sites failed: the first failed site''s code, or worker_lost. Also while waiting to try them again.';
comment on column public.search_runs.error_message is 'One line naming each failed site and its reason.';
comment on column public.search_runs.attempts is 'Attempts started; a released, rescued or deferred run gets its attempt back.';
comment on column public.search_runs.max_attempts is 'Attempts allowed.';
comment on column public.search_runs.rescues is 'Times that a worker died with this run.';
comment on column public.search_runs.priority is 'Greater first: manual 20, api 10, cron 0.';
comment on column public.search_runs.position is 'Place in the queue within a priority; smaller first, users interleaved.';
comment on column public.search_runs.fingerprint is
    'SHA-256 of the kind, the canonical parameters and, where the kind is private, the owner and the workspace: equal for '
    'equal searches.';
comment on column public.search_runs.fresh is 'Whether a finished run must not answer this one, however young.';
comment on column public.search_runs.newer_than is
    'Sites are asked only for what is newer, where they can: of a scheduled repeat, since its last success. Null: everything.';
comment on column public.search_runs.leader_run_id is 'The active run that searches for this one.';
comment on column public.search_runs.shared_run_id is 'The finished run whose results answer this one.';
comment on column public.search_runs.idempotency_key is 'Unique for each user: the same key never makes a second run.';
comment on column public.search_runs.run_after is
    'Not before this time: of a search for later, of a failed one''s next attempt, or of one whose sites must wait. Null when '
    'ready.';
comment on column public.search_runs.cancel_requested_at is 'When the owner asked to cancel: setting it, to whatever time, cancels the run.';
comment on column public.search_runs.updated_at is 'Last change of this row.';
comment on column public.search_runs.started_at is 'First claim by a worker.';
comment on column public.search_runs.completed_at is 'When the status became final; null until then.';

create table public.search_run_sites (
    -- Realtime sends the primary key of a deleted row to everybody: it must say nothing.
    id uuid primary key default gen_random_uuid(),
    run_id uuid not null references public.search_runs (id) on delete cascade,
    site text not null,
    position smallint not null,
    status public.site_status not null default 'pending',
    jobs_found integer not null default 0,
    attempts smallint not null default 0,
    error_code text,
    error_message text,
    retryable boolean,
    progress jsonb not null default '{"step": "queued"}',
    started_at timestamptz,
    completed_at timestamptz,
    constraint search_run_sites_site unique (run_id, site),
    constraint search_run_sites_objects check (jsonb_typeof(progress) = 'object'),
    constraint search_run_sites_completed_at
        check ((status in ('completed', 'partial', 'failed', 'skipped')) = (completed_at is not null))
);
comment on table public.search_run_sites is 'Each site of a run, with its own status. Published to Realtime.';
comment on column public.search_run_sites.id is
    'Random: all that everybody who listens to Realtime hears of a deleted row.';
comment on column public.search_run_sites.site is 'One of the run''s parameters.sites.';
comment on column public.search_run_sites.status is
    'pending, running, then completed, failed, partial (failed, after some results) or skipped, which are final.';
comment on column public.search_run_sites.position is 'Place in the order in which the sites are searched, from 1.';
comment on column public.search_run_sites.jobs_found is 'Results of this site, written at most once a second while running.';
comment on column public.search_run_sites.attempts is
    'Times that the search of the site was started: by this run, or by the one that it took over from.';
comment on column public.search_run_sites.error_code is
    'invalid_parameters, unauthorized, blocked, rate_limited, quota_exceeded, timeout, network, not_found, unverified, '
    'upstream, internal or worker_lost.';
comment on column public.search_run_sites.error_message is 'The reason, in one line for the person who reads it.';
comment on column public.search_run_sites.retryable is 'Whether the same search may succeed later; null without an error.';
comment on column public.search_run_sites.progress is
    'How far it is: {step, current, total, details}, written at most once a second. step is queued, searching or the source''s '
    'own word, waiting (details: {until, reason, message}), retrying, cancelled or finished. Within a step current never falls.';
comment on column public.search_run_sites.started_at is 'Start of the last attempt.';
comment on column public.search_run_sites.completed_at is 'When the status became final; null until then.';

create table public.run_events (
    id bigint generated always as identity primary key,
    run_id uuid not null references public.search_runs (id) on delete cascade,
    event text not null constraint run_events_event check (
        event in ('created', 'claimed', 'site_started', 'site_finished', 'rescued', 'released', 'retried', 'deferred',
                  'cancelled', 'finished', 'alert')
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
    'retried (sites failed, and are searched again later), deferred (its sites must wait, and are searched later), '
    'cancelled, finished or alert (somebody should look: '
    'data.reason is invalid_items, load_failed or page_refused).';
comment on column public.run_events.site is 'The site of a site''s event.';
comment on column public.run_events.data is
    'What else is known: worker_id, attempt, status, error_code; of claimed, sites in the order in which they are searched ...';

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

-- tables/leases
-- Which worker may write to a running run, and which leaders have left followers behind.
-- Calls: nothing.

-- Heartbeats must stay HOT: no index on the expiry (0 % HOT with one, 96.5 % without), and room on each page.
create table worker.leases (
    run_id uuid primary key references public.search_runs (id) on delete cascade,
    worker_id text not null,
    token uuid not null default gen_random_uuid(),
    claim_id uuid not null,
    duration interval not null,
    expires_at timestamptz not null,
    user_id uuid not null
) with (fillfactor = 50);
create index leases_user_id on worker.leases (user_id);
comment on table worker.leases is 'Who may write to a running run, proved by the token, until when.';
comment on column worker.leases.worker_id is 'The worker''s name, for people.';
comment on column worker.leases.token is 'Carried by every write; another one at every claim.';
comment on column worker.leases.claim_id is 'The claim that made the lease; the same claim again gets the same runs.';
comment on column worker.leases.duration is 'How far ahead of the clock a heartbeat sets expires_at.';
comment on column worker.leases.user_id is
    'For whose max_running_per_user it counts: the run''s owner, or one who follows it, and had room when its owner had not.';
comment on column worker.leases.expires_at is 'After this time the run is rescued, by the next claim of any worker.';

create table worker.ended_leaders (
    id bigint generated always as identity primary key,
    run_id uuid not null,
    fingerprint text not null,
    former jsonb,
    sites jsonb,
    results jsonb,
    is_handed_over boolean not null default false,
    tried_at timestamptz not null
);
create index ended_leaders_tried_at on worker.ended_leaders (tried_at);
comment on table worker.ended_leaders is
    'Leaders that ended or were deleted, while others may need what they have found, or were put off while somebody was joining them: '
    'the next claim sees to these others. Nobody who ends or deletes a run waits for them.';
comment on column worker.ended_leaders.run_id is 'What followers have as leader_run_id, and others as shared_run_id.';
comment on column worker.ended_leaders.former is 'The run, where it was deleted; null where it is still there.';
comment on column worker.ended_leaders.sites is 'Its sites, where it was deleted.';
comment on column worker.ended_leaders.results is 'Its results, where it was deleted.';
comment on column worker.ended_leaders.is_handed_over is 'Whether one of its followers has taken it over.';
comment on column worker.ended_leaders.tried_at is 'When it was last seen to: who waits longest comes first.';

-- tables/items
-- What was found: items, where each was seen, which run found it, and which items are kept apart.
-- Calls: nothing.

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
    city text,
    region text,
    country text constraint items_country check (country ~ '^[A-Z]{2}$'),
    work_mode text constraint items_work_mode check (work_mode in ('remote', 'hybrid', 'onsite')),
    job_types text[] not null default '{}' constraint items_job_types check (
        job_types <@ '{fulltime,parttime,contract,temporary,internship,perdiem,volunteer,other}'
    ),
    salary_yearly_min numeric,
    salary_yearly_max numeric,
    skills text[] not null default '{}',
    experience_years smallint,
    data jsonb not null default '{}',
    canonical_key text not null,
    apply_key text,
    match_key text,
    organization_key text,
    duplicate_of uuid references public.items (id) on delete set null,
    from_named_board boolean not null default false,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    -- The key first: no index is searched with `owner_id is not distinct from`.
    constraint items_canonical_key unique nulls not distinct (canonical_key, kind, owner_id)
-- Things are found again and again, those of a page together: with room for all of them 91 % of the updates are HOT,
-- without 12 %. Long texts are stored elsewhere, and copied by none.
) with (fillfactor = 50);
create index items_owner_id on public.items (owner_id) where owner_id is not null;
create index items_duplicate_of on public.items (duplicate_of) where duplicate_of is not null;
-- Hashes are small and take keys of any length: an entry of a B-tree has at most 2,704 bytes.
create index items_apply_key on public.items using hash (apply_key) where apply_key is not null;
create index items_match_key on public.items using hash (match_key) where match_key is not null;
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
comment on column public.items.city is 'Where the location names one.';
comment on column public.items.region is 'State or province, where the location names one.';
comment on column public.items.country is 'ISO 3166-1 alpha-2 code, where the location names one.';
comment on column public.items.work_mode is 'remote, hybrid or onsite; null where nothing tells.';
comment on column public.items.job_types is
    'Of fulltime, parttime, contract, temporary, internship, perdiem, volunteer, other.';
comment on column public.items.salary_yearly_min is 'salary_min in a year of full work.';
comment on column public.items.salary_yearly_max is 'salary_max in a year of full work.';
comment on column public.items.skills is 'Skills that the description names.';
comment on column public.items.experience_years is 'Least years of experience that the description asks for.';
comment on column public.items.data is 'Everything else that the site told.';
comment on column public.items.canonical_key is 'The site and its own id of the thing.';
comment on column public.items.apply_key is 'Canonical form of an apply_url that names one job.';
comment on column public.items.match_key is 'Normalised title, organization and location.';
comment on column public.items.organization_key is 'Normalised organization.';
comment on column public.items.duplicate_of is
    'The oldest item of those that are the same thing, or the oldest that is not from_named_board: its id is the thing''s. '
    'Null for that one itself.';
comment on column public.items.from_named_board is
    'Whether it is from a board that a user named, which can say anything: nobody but who found it gets it as similar.';
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
    -- Of one item for each kind and owner, as items_canonical_key says.
    constraint item_sources_external_id unique (site, external_id, item_id)
) with (fillfactor = 50);
create index item_sources_item_id on public.item_sources (item_id);
create index item_sources_owner_id on public.item_sources (owner_id) where owner_id is not null;
comment on table public.item_sources is 'Where each item was seen: a site''s own id of it.';
comment on column public.item_sources.external_id is 'The site''s own id of the item.';
comment on column public.item_sources.url is 'The page of the item on this site.';
comment on column public.item_sources.owner_id is 'As the item''s: two users may each own a private sighting of the same profile.';

create table public.search_results (
    id uuid primary key default gen_random_uuid(),
    run_id uuid not null references public.search_runs (id) on delete cascade,
    item_id uuid not null references public.items (id) on delete cascade,
    site text not null,
    page_number integer not null,
    position integer not null,
    created_at timestamptz not null,
    constraint search_results_item unique (run_id, item_id)
);
create index search_results_item_id on public.search_results (item_id);
comment on table public.search_results is 'Which run found which item. Thin, because it is published to Realtime.';
comment on column public.search_results.id is
    'Random: all that everybody who listens to Realtime hears of a deleted row.';
comment on column public.search_results.site is 'The site that had it first.';
comment on column public.search_results.page_number is 'The site''s page that it was on, from 1.';
comment on column public.search_results.position is 'Place on its page, from 1.';

create table worker.kept_apart (
    item_id uuid not null references public.items (id) on delete cascade,
    other_id uuid not null references public.items (id) on delete cascade,
    primary key (item_id, other_id),
    constraint kept_apart_order check (item_id < other_id)
);
create index kept_apart_other_id on worker.kept_apart (other_id);
comment on table worker.kept_apart is 'Items that somebody has split: they are not taken for the same thing again.';

create table worker.embedding_queue (
    item_id uuid primary key references public.items (id) on delete cascade,
    attempts smallint not null default 0,
    due_at timestamptz not null,
    error text
);
create index embedding_queue_due_at on worker.embedding_queue (due_at);
comment on table worker.embedding_queue is 'Items whose text changed since it was embedded. Empty while nothing embeds.';
comment on column worker.embedding_queue.due_at is 'Not before this time; infinity for those that were given up.';
comment on column worker.embedding_queue.error is 'Why the last attempt failed.';

-- tables/pages
-- Pages as the sites sent them, and why items of a page are missing.
-- Calls: nothing.

create table worker.raw_collections (
    id bigint generated always as identity primary key,
    -- Without a foreign key: pages of a deleted run wait here for who takes it over (worker.leader_deleted).
    run_id uuid not null,
    source text not null,
    site text not null,
    attempt smallint not null,
    page_number integer not null constraint raw_collections_page_number check (page_number >= 1),
    query jsonb not null,
    query_hash text not null,
    payload jsonb not null,
    response_ms integer not null,
    calls_used integer not null,
    account text not null default '',
    cursor jsonb,
    is_last boolean not null default false,
    fetched_at timestamptz not null,
    strategy text not null constraint raw_collections_strategy check (strategy in ('scheduled', 'manual', 'reprocess')),
    status text not null default 'fetched'
        constraint raw_collections_status check (status in ('fetched', 'completed', 'partial', 'failed')),
    version integer,
    item_count integer,
    invalid_count integer,
    result_count integer,
    new_count integer,
    completeness jsonb,
    transform_ms integer,
    transformed_at timestamptz,
    claimed_until timestamptz,
    constraint raw_collections_page unique (run_id, site, attempt, page_number)
);
comment on table worker.raw_collections is 'Every page as the site sent it. Its key makes a page that is saved twice count once.';
comment on column worker.raw_collections.source is 'The code that fetched it: a source''s name.';
comment on column worker.raw_collections.attempt is 'The site''s attempt within the run.';
comment on column worker.raw_collections.query is 'The parameters that were searched for.';
comment on column worker.raw_collections.query_hash is 'The fingerprint of the run.';
comment on column worker.raw_collections.payload is 'The answer, unchanged.';
comment on column worker.raw_collections.response_ms is 'Time that the site took to answer, in milliseconds.';
comment on column worker.raw_collections.strategy is
    'What its items were last loaded for: a scheduled run, another run, or to process it again.';
comment on column worker.raw_collections.status is
    'fetched (to be transformed), completed, partial (some items were invalid) or failed (all were, or it was not loaded).';
comment on column worker.raw_collections.version is 'Version of the source that transformed it.';
comment on column worker.raw_collections.item_count is 'Valid items on it.';
comment on column worker.raw_collections.invalid_count is 'Items on it that could not be read; see worker.processing_log.';
comment on column worker.raw_collections.result_count is 'Results that it brought to its run.';
comment on column worker.raw_collections.new_count is
    'Things on it that no earlier run of the same search had found: of an incremental run, none that began by newer_than.';
comment on column worker.raw_collections.completeness is 'Share of its items, from 0 to 1, that have each of the main fields.';
comment on column worker.raw_collections.transform_ms is 'Time that the transform took, in milliseconds.';
comment on column worker.raw_collections.transformed_at is 'When it was loaded last.';
comment on column worker.raw_collections.claimed_until is 'Until then a worker is processing it again.';
comment on column worker.raw_collections.calls_used is 'Requests that it cost.';
comment on column worker.raw_collections.account is 'The account that it was fetched through; empty without one.';
comment on column worker.raw_collections.cursor is
    'Where the next page begins, in the source''s own words; null where the search cannot be gone on with.';
comment on column worker.raw_collections.is_last is 'Whether the site had no more.';

create index raw_collections_fetched on worker.raw_collections (id) where status = 'fetched';

create table worker.processing_log (
    id bigint generated always as identity primary key,
    raw_collection_id bigint not null references worker.raw_collections (id) on delete cascade,
    item_index integer,
    error_type text not null,
    message text not null,
    field text,
    raw jsonb,
    created_at timestamptz not null
);
create index processing_log_raw_collection_id on worker.processing_log (raw_collection_id);
comment on table worker.processing_log is 'Why items of a page, or all of it, are not there.';
comment on column worker.processing_log.item_index is 'Place of the item on the page, from 0; null for the page as a whole.';
comment on column worker.processing_log.field is 'The field that was wrong, where one was.';
comment on column worker.processing_log.raw is 'The item as the site sent it.';

-- tables/sites
-- What is known of sites, shared by all workers: accounts, health and circuit breaker, limits, what was used of them, and
-- which runs search a site or wait for it.
-- Calls: kernel/clock.

create table worker.accounts (
    user_id uuid not null references auth.users (id) on delete cascade,
    site text not null,
    workspace_id uuid,
    account text not null,
    constraint accounts_account unique nulls not distinct (user_id, site, workspace_id)
);
comment on table worker.accounts is 'The accounts through which sites are searched for their users; set with worker_set_account.';
comment on column worker.accounts.workspace_id is
    'Only for runs of this workspace; null: for all others of the user. Each user of a workspace has a row of his own, '
    'because nobody checks which workspace a run names.';
comment on column worker.accounts.account is 'The account''s id, in the words of the source that searches the site.';

create table worker.site_health (
    site text,
    account text default '',
    last_success_at timestamptz,
    last_failure_at timestamptz,
    last_error_code text,
    consecutive_failures integer not null default 0,
    success_rate real constraint site_health_success_rate check (success_rate between 0 and 1),
    response_ms real constraint site_health_response_ms check (response_ms >= 0),
    paused_until timestamptz,
    paused_by text,
    trips smallint not null default 0,
    prober_run_id uuid references worker.leases (run_id) on delete set null,
    updated_at timestamptz not null default worker.now(),
    primary key (site, account)
);
create index site_health_prober_run_id on worker.site_health (prober_run_id) where prober_run_id is not null;
comment on table worker.site_health is
    'How each site answers, through each account, over all workers; and its circuit breaker: closed without paused_until, '
    'open until then, and then half open: one run at a time tries the site.';
comment on column worker.site_health.account is 'The account that it is searched through; empty where there is none.';
comment on column worker.site_health.last_error_code is 'Code of the last failure; stays after a success.';
comment on column worker.site_health.consecutive_failures is
    'Runs that failed since the last success, as the breaker counts them: each once, and a few of each user.';
comment on column worker.site_health.success_rate is
    'Moving average, from 0 to 1: a fifth is the last search. Null before the first.';
comment on column worker.site_health.response_ms is
    'Moving average of the time that the site takes to answer, in milliseconds. Null before the first.';
comment on column worker.site_health.paused_until is
    'The breaker is open until then, and half open from then on; null when it is closed.';
comment on column worker.site_health.paused_by is 'Code of the failure that opened the breaker.';
comment on column worker.site_health.trips is 'Times that the breaker opened since it was closed: each pause doubles the last.';
comment on column worker.site_health.prober_run_id is 'The run that tries the site while the breaker is half open.';
comment on column worker.site_health.updated_at is
    'The clock at the last change. When it is ahead, the clock was set back, and the other times are set back with it.';

-- Without a reference to the user: the deletion of an account would wait for a worker that waits for it.
create table worker.site_failures (
    site text,
    account text,
    user_id uuid,
    run_ids uuid[] not null,
    failures integer not null default 1,
    failed_at timestamptz not null,
    pause interval,
    paused_by text,
    primary key (site, account, user_id)
);
comment on table worker.site_failures is
    'Runs of each user that failed at a site since anyone''s last success there: what its breaker counts. A user who alone '
    'has as many as would open it is paused alone.';
comment on column worker.site_failures.account is 'The account that it was searched through; empty where there is none.';
comment on column worker.site_failures.run_ids is 'The last twenty of them: each counts once, however often it tries.';
comment on column worker.site_failures.failures is 'How many runs in all.';
comment on column worker.site_failures.failed_at is 'When the last one of them failed first.';
comment on column worker.site_failures.pause is 'The user''s runs leave the site alone for so long from then on; null: not at all.';
comment on column worker.site_failures.paused_by is 'Code of the failure that paused the user.';

create table worker.breaker_rules (
    error_code text primary key,
    failures smallint not null constraint breaker_rules_failures check (failures >= 1),
    failures_per_user smallint not null constraint breaker_rules_failures_per_user check (failures_per_user >= 1),
    pause interval not null constraint breaker_rules_pause check (pause > '0'),
    max_pause interval not null,
    constraint breaker_rules_max_pause check (max_pause >= pause)
);
insert into worker.breaker_rules (error_code, failures, failures_per_user, pause, max_pause) values
    ('blocked', 3, 2, '10 minutes', '6 hours'),
    ('rate_limited', 2, 1, '1 minute', '1 hour'),
    ('unverified', 3, 2, '30 minutes', '6 hours'),
    ('upstream', 5, 3, '2 minutes', '30 minutes'),
    ('timeout', 5, 3, '2 minutes', '30 minutes'),
    ('network', 5, 3, '2 minutes', '30 minutes');
comment on table worker.breaker_rules is
    'Failures that say something of a site, and when they open its breaker. Other codes neither open nor close it.';
comment on column worker.breaker_rules.failures is
    'Runs that failed in a row, with whatever code, at which one with this code opens it.';
comment on column worker.breaker_rules.failures_per_user is
    'How many of one user count for that. Less than failures: one user alone opens no breaker. Through an account all count: '
    'it is its users'' own.';
comment on column worker.breaker_rules.pause is 'First pause; each further one is twice as long.';
comment on column worker.breaker_rules.max_pause is 'Longest pause, unless the site itself asks for more.';

create table worker.bucket_limits (
    bucket text primary key,
    requests integer constraint bucket_limits_requests check (requests between 1 and 1000000),
    period_seconds double precision
        constraint bucket_limits_period_seconds check (period_seconds > 0 and period_seconds <= 2678400),
    burst integer constraint bucket_limits_burst check (burst between 1 and 1000000),
    min_delay_seconds double precision
        constraint bucket_limits_min_delay_seconds check (min_delay_seconds between 0 and 2678400),
    quota integer constraint bucket_limits_quota check (quota between 1 and 1000000000),
    quota_period text constraint bucket_limits_quota_period check (quota_period in ('day', 'month')),
    quota_timezone text,
    searches integer constraint bucket_limits_searches check (searches between 1 and 1000000),
    searches_per_account integer
        constraint bucket_limits_searches_per_account check (searches_per_account between 1 and 1000000)
);
comment on table worker.bucket_limits is
    'The operator''s own limits. Each one that is not null holds instead of what the source declares and the site tells.';
comment on column worker.bucket_limits.bucket is 'What is counted together: a site, or site:name for what it counts apart.';
comment on column worker.bucket_limits.requests is 'Requests within any period_seconds.';
comment on column worker.bucket_limits.period_seconds is 'That time, in seconds.';
comment on column worker.bucket_limits.burst is 'How many of them may be sent at once.';
comment on column worker.bucket_limits.min_delay_seconds is 'Least time between two requests, in seconds.';
comment on column worker.bucket_limits.quota is 'Requests in each quota_period.';
comment on column worker.bucket_limits.quota_period is 'A calendar day or month.';
comment on column worker.bucket_limits.quota_timezone is 'The time zone (IANA) by whose midnight it begins.';
comment on column worker.bucket_limits.searches is 'Searches of the site at a time, through all accounts; of a site''s own bucket.';
comment on column worker.bucket_limits.searches_per_account is 'Searches at a time through one account; of a site''s own bucket.';

create table worker.site_buckets (
    bucket text,
    account text default '',
    next_at timestamptz,
    last_at timestamptz,
    paused_until timestamptz,
    quota integer,
    quota_used integer not null default 0,
    scheduled_used integer not null default 0,
    quota_resets_at timestamptz,
    quota_period integer not null default 0,
    told_quota integer,
    told_left integer,
    is_reset_told boolean not null default false,
    updated_at timestamptz not null default worker.now(),
    primary key (bucket, account)
-- One row takes all of a site's permits: updates stay HOT.
) with (fillfactor = 50);
comment on table worker.site_buckets is 'What was taken of each bucket of requests, through each account.';
comment on column worker.site_buckets.bucket is 'What is counted together: a site, or site:name for what it counts apart.';
comment on column worker.site_buckets.account is 'The account that is asked through; empty where there is none.';
comment on column worker.site_buckets.next_at is
    'When the requests granted so far are paid off at the bucket''s pace: the theoretical arrival time of GCRA.';
comment on column worker.site_buckets.last_at is 'Time of the last request that was granted; it may be some seconds ahead.';
comment on column worker.site_buckets.paused_until is 'Until then the site asked to be left alone.';
comment on column worker.site_buckets.quota is 'The quota that held at the last permit; null: none.';
comment on column worker.site_buckets.quota_used is 'Requests granted, or used by others as the site tells, since the quota began.';
comment on column worker.site_buckets.scheduled_used is 'Those of them that scheduled runs took.';
comment on column worker.site_buckets.quota_resets_at is 'When the next quota begins.';
comment on column worker.site_buckets.quota_period is 'Number of the quota that is used now: one more at each reset.';
comment on column worker.site_buckets.told_quota is 'The quota that the site told.';
comment on column worker.site_buckets.told_left is 'What is left of the quota as the site told, less what was granted since.';
comment on column worker.site_buckets.is_reset_told is 'Whether quota_resets_at is what the site told; else it is the calendar''s.';
comment on column worker.site_buckets.updated_at is
    'The clock at the last change. When it is ahead, the clock was set back, and the other times are set back with it.';

-- Without a reference to the user, as worker.site_failures.
create table worker.site_shares (
    bucket text,
    user_id uuid,
    used integer not null,
    quota_period integer not null,
    last_at timestamptz not null,
    primary key (bucket, user_id)
) with (fillfactor = 50);
comment on table worker.site_shares is
    'What each user took of the buckets that all share, those without an account: for a quota''s fair use, and for whose turn it is.';
comment on column worker.site_shares.used is 'Requests granted in that period of the quota.';
comment on column worker.site_shares.quota_period is 'As that of worker.site_buckets; in another one nothing is used yet.';
comment on column worker.site_shares.last_at is 'When one was granted last: who was served longest ago is next.';

create table worker.site_searches (
    run_id uuid references worker.leases (run_id) on delete cascade,
    site text,
    account text not null,
    waiting_since timestamptz,
    waited interval not null default '0',
    is_within_page boolean not null default false,
    primary key (run_id, site)
);
create index site_searches_site on worker.site_searches (site);
comment on table worker.site_searches is
    'Searches under way, for the limits of searches at a time. One whose lease has expired does not count.';
comment on column worker.site_searches.account is 'The account that it is searched through; empty where there is none.';
comment on column worker.site_searches.waiting_since is
    'When it began to wait for its next page, or to ask for it: it keeps its place among those that wait until it has it.';
comment on column worker.site_searches.waited is 'How long it has waited since then.';
comment on column worker.site_searches.is_within_page is
    'Whether it had a permit since its last page: put off now, it would ask the same again.';

create table worker.site_waits (
    run_id uuid references public.search_runs (id) on delete cascade,
    site text,
    account text not null,
    bucket text not null,
    requests integer not null default 1,
    waiting_since timestamptz not null,
    due_at timestamptz not null,
    waited interval not null default '0',
    reason text not null constraint site_waits_reason check (reason in ('paused', 'rate', 'quota', 'searches')),
    message text not null,
    lets_pass boolean not null default false,
    primary key (run_id, site)
);
create index site_waits_due_at on worker.site_waits (bucket, due_at);
comment on table worker.site_waits is
    'Sites of runs that wait to be searched. worker.site_queue says who is next, among those that come back when they are due.';
comment on column worker.site_waits.account is
    'The account that it waits for; empty where there is none, or for a place among all searches of the site.';
comment on column worker.site_waits.bucket is 'The bucket that it waits for; the site itself when it waits to be searched at all.';
comment on column worker.site_waits.requests is 'Requests that it waits for.';
comment on column worker.site_waits.waiting_since is
    'When it was refused, or granted a permit, first since its last page: the order of a user''s runs that wait.';
comment on column worker.site_waits.due_at is 'When it was told to come back.';
comment on column worker.site_waits.waited is 'How long it will have waited by then.';
comment on column worker.site_waits.reason is
    'paused (the site failed, or asked to be left alone), rate, quota or searches (as many as may search it at a time).';
comment on column worker.site_waits.message is 'The reason, in one line for the person who reads the run.';
comment on column worker.site_waits.lets_pass is
    'Whether others are served until it is due: it waits for its user''s share of a quota, or for the part of schedules.';

-- kernel/parameters
-- The value of a run's parameter: what the user sent, or the default of its rule. From it follow the sites of a run and
-- how many results it wants.
-- Calls: nothing.

create function worker.parameter(kind text, parameters jsonb, name text) returns jsonb
language sql stable set search_path = ''
return coalesce(
    nullif(parameters -> name, 'null'),
    (select rule.default_value from worker.parameter_rules as rule
     where rule.kind = parameter.kind and rule.name = parameter.name)
);
comment on function worker.parameter is 'A parameter of a run, or its default.';

create function worker.sites_of(kind text, parameters jsonb) returns table (site text, ordinal bigint)
language sql stable set search_path = ''
begin atomic
    select named.site, min(named.ordinal)
    from jsonb_array_elements_text(worker.parameter(kind, parameters, 'sites'))
        with ordinality as named (site, ordinal)
    group by named.site;
end;
comment on function worker.sites_of is 'The sites of a run, each once, in the order in which the user named them.';

create function worker.results_wanted(kind text, parameters jsonb) returns integer
language sql stable set search_path = ''
return worker.parameter(kind, parameters, 'results_wanted')::integer;
comment on function worker.results_wanted is 'How many results a run wants from each site.';

-- kernel/run_sites
-- The sites of a run: how they are created, and how their progress changes when the step changes.
-- Calls: kernel/parameters.

create function worker.add_sites(run_ids uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    insert into public.search_run_sites (run_id, site, position)
    select run.id, site.site, row_number() over (partition by run.id order by site.ordinal)
    from public.search_runs as run, worker.sites_of(run.kind, run.parameters) as site
    where run.id = any (add_sites.run_ids)
    order by run.id, site.ordinal;
end;
comment on function worker.add_sites is 'Gives runs their sites, as their parameters name them.';

create function worker.require_site(run_id uuid, site text) returns void
language plpgsql stable set search_path = '' as $$
begin
    if not exists (select from public.search_run_sites as known
                   where known.run_id = require_site.run_id and known.site = require_site.site) then
        raise sqlstate '22023' using message = format('site must be one of the run''s, not %L', site);
    end if;
end;
$$;
comment on function worker.require_site is 'Raises 22023 (HTTP 400) unless the site is one of the run''s.';

create function worker.with_step(progress jsonb, step text) returns jsonb
language sql immutable set search_path = ''
return progress - 'details' || pg_catalog.jsonb_build_object('step', step);
comment on function worker.with_step is 'How far a site was, at another step.';

create function worker.waiting_progress(former jsonb, wait jsonb) returns jsonb
language sql immutable set search_path = ''
return worker.with_step(former, 'waiting') || pg_catalog.jsonb_build_object('details', pg_catalog.jsonb_build_object(
    'until', wait -> 'until', 'reason', wait -> 'reason', 'message', wait -> 'message'));
comment on function worker.waiting_progress is 'How far a site was that has to wait, and what for.';

-- kernel/lease
-- May this worker still write to the run? Only with the token of the current lease. The lock order is: the run, then its
-- lease.
-- Calls: nothing.

create function worker.lock_lease(run_id uuid, lease_token uuid) returns void
language plpgsql set search_path = '' as $$
begin
    -- The run before its lease, here and everywhere: whoever ends a run locks them in this order.
    perform from public.search_runs as run where run.id = lock_lease.run_id for no key update;
    perform from worker.leases as lease
    where lease.run_id = lock_lease.run_id and lease.token = lock_lease.lease_token
    for update;
    if not found then
        raise sqlstate 'PT409' using
            message = coalesce(
                (select 'cancelled' from public.search_runs as run
                 where run.id = lock_lease.run_id and run.status = 'cancelled'),
                'lease_lost'),
            detail = format('The token is not the one that run %s is leased with.', lock_lease.run_id),
            hint = 'Stop working on this run.';
    end if;
end;
$$;
comment on function worker.lock_lease is
    'Locks a lease until the transaction ends; raises PT409 (HTTP 409) lease_lost or cancelled.';

-- kernel/pages
-- Which saved pages belong to the current search of a run's site.
-- Calls: nothing.

create function worker.pages_of_search(run_id uuid, site text) returns table (
    attempt smallint, page_number integer, status text, account text, cursor jsonb, is_last boolean, response_ms integer
)
language sql stable set search_path = ''
begin atomic
    select page.attempt, page.page_number, page.status, page.account, page.cursor, page.is_last, page.response_ms
    from worker.raw_collections as page
    where page.run_id = pages_of_search.run_id and page.site = pages_of_search.site
      and page.attempt >= (
        select max(first.attempt) from worker.raw_collections as first
        where first.run_id = pages_of_search.run_id and first.site = pages_of_search.site and first.page_number = 1);
end;
comment on function worker.pages_of_search is
    'The saved pages of a run''s site since its search last began with the first page.';

-- parameters/kinds
-- The kinds of search that come with the library, and the parameters of each: types, bounds, allowed values and defaults.
-- Calls: nothing.

insert into worker.kinds (kind, is_private) values ('jobs', false), ('people', true), ('creators', false);

insert into worker.parameter_rules (kind, name, type, is_required, minimum, maximum, allowed, default_value) values
    ('jobs', 'sites', 'texts', false, 1, 20,
     '{linkedin,indeed,glassdoor,zip_recruiter,bayt,naukri,bdjobs,hellowork,jsearch,greenhouse,ashby,lever,arbeitnow,remotive}',
     '["linkedin", "indeed"]'),
    ('jobs', 'search_term', 'text', true, 1, 200, null, null),
    ('jobs', 'location', 'text', false, 1, 200, null, null),
    ('jobs', 'country', 'text', false, 2, 40, null, null),
    ('jobs', 'distance_miles', 'integer', false, 0, 500, null, null),
    ('jobs', 'is_remote', 'boolean', false, null, null, null, 'false'),
    ('jobs', 'job_type', 'text', false, null, null,
     '{fulltime,parttime,contract,temporary,internship,perdiem,other,volunteer}', null),
    ('jobs', 'easy_apply', 'boolean', false, null, null, null, 'false'),
    ('jobs', 'hours_old', 'integer', false, 1, 8760, null, null),
    ('jobs', 'results_wanted', 'integer', false, 1, 1000, null, '20'),
    ('jobs', 'fetch_description', 'boolean', false, null, null, null, 'false'),
    ('jobs', 'linkedin_company_ids', 'integers', false, 1, 50, null, null),
    ('jobs', 'greenhouse_boards', 'texts', false, 1, 50, null, null),
    ('jobs', 'ashby_boards', 'texts', false, 1, 50, null, null),
    ('jobs', 'lever_boards', 'texts', false, 1, 50, null, null),
    ('people', 'sites', 'texts', false, 1, 20, '{unipile}', '["unipile"]'),
    ('people', 'search_term', 'text', true, 1, 200, null, null),
    ('people', 'api', 'text', false, null, null, '{classic,sales_navigator,recruiter}', '"classic"'),
    ('people', 'job_title', 'text', false, 1, 200, null, null),
    ('people', 'locations', 'texts', false, 1, 10, null, null),
    ('people', 'network_distance', 'integers', false, 1, 3, '{1,2,3}', null),
    ('people', 'results_wanted', 'integer', false, 50, 2500, null, '100'),
    ('creators', 'sites', 'texts', false, 1, 20, '{youtube}', '["youtube"]'),
    ('creators', 'search_term', 'text', true, 1, 200, null, null),
    ('creators', 'keywords', 'texts', false, 1, 20, null, null),
    ('creators', 'min_subscribers', 'integer', false, 0, 1000000000, null, null),
    ('creators', 'max_subscribers', 'integer', false, 0, 1000000000, null, null),
    ('creators', 'language', 'text', false, 2, 10, null, null),
    ('creators', 'active_within_days', 'integer', false, 1, 3650, null, null),
    ('creators', 'results_wanted', 'integer', false, 1, 500, null, '50');

update worker.parameter_rules set names_boards_of = left(name, -length('_boards'))
where name in ('greenhouse_boards', 'ashby_boards', 'lever_boards');

-- parameters/check
-- Is this search allowed? A run's parameters are checked against worker.parameter_rules, whoever inserts it. What a user
-- sends is checked for its size first, before anything else reads it.
-- Calls: nothing.

create function worker.describe_rule(rule worker.parameter_rules) returns text
language sql immutable set search_path = ''
return case rule.type
    when 'boolean' then 'true or false'
    when 'integer' then pg_catalog.format('an integer from %s to %s', rule.minimum, rule.maximum)
    when 'integers' then
        pg_catalog.format('a list of %s to %s ', rule.minimum, rule.maximum)
            || coalesce('of ' || pg_catalog.array_to_string(rule.allowed, ', '), 'positive integers')
    when 'texts' then
        pg_catalog.format('a list of %s to %s ', rule.minimum, rule.maximum)
            || coalesce('of ' || pg_catalog.array_to_string(rule.allowed, ', '), 'texts of 1 to 100 characters')
    when 'text' then
        coalesce('one of ' || pg_catalog.array_to_string(rule.allowed, ', '),
                 pg_catalog.format('a text of %s to %s characters', rule.minimum, rule.maximum))
end;
comment on function worker.describe_rule is 'What a rule allows, in words.';

create function worker.obeys_rule(rule worker.parameter_rules, value jsonb) returns boolean
language plpgsql immutable set search_path = '' as $$
begin
    case rule.type
        when 'boolean' then
            return jsonb_typeof(value) = 'boolean';
        when 'integer' then
            return jsonb_typeof(value) = 'number'
                and (value #>> '{}')::numeric % 1 = 0
                and (value #>> '{}')::numeric between rule.minimum and rule.maximum;
        when 'text' then
            return jsonb_typeof(value) = 'string'
                and case when rule.allowed is null
                    then length(regexp_replace(value #>> '{}', '^\s+|\s+$', '', 'g'))
                        between rule.minimum and rule.maximum
                    else (value #>> '{}') = any (rule.allowed)
                end;
        else
            return jsonb_typeof(value) = 'array'
                and jsonb_array_length(value) between rule.minimum and rule.maximum
                and not exists (
                    select from jsonb_array_elements(value) as element
                    where case rule.type
                        when 'texts' then
                            jsonb_typeof(element) <> 'string'
                            or case when rule.allowed is null
                                then length(regexp_replace(element #>> '{}', '^\s+|\s+$', '', 'g')) not between 1 and 100
                                else (element #>> '{}') <> all (rule.allowed)
                            end
                        else
                            jsonb_typeof(element) <> 'number'
                            or case when rule.allowed is null
                                then (element #>> '{}')::numeric % 1 <> 0
                                     or (element #>> '{}')::numeric not between 1 and 9007199254740992
                                else trim_scale((element #>> '{}')::numeric)::text <> all (rule.allowed)
                            end
                    end
                );
    end case;
end;
$$;
comment on function worker.obeys_rule is 'Whether a parameter''s value is what its rule allows.';

-- Nothing else looks at what a user sends before this has: neither the text of `1e131071`, with its 131,072 digits, nor a
-- rule or a fingerprint, which are made of texts, is ever made of what it refuses.
create function worker.check_json(field text, value jsonb) returns void
language plpgsql immutable set search_path = '' as $$
declare
    problem text;
begin
    if jsonb_typeof(value) <> 'object' then
        raise sqlstate '22023' using message = format('%s must be an object', field);
    end if;
    -- As it is stored: of 16,384 bytes of text no more than four times as much, and some bytes.
    if pg_column_size(value) > 4 * 16384 + 64 then
        raise sqlstate '22023' using message = format('%s must be at most 16384 bytes long', field);
    end if;

    -- Every number of JavaScript is within these bounds. To look at them makes no text.
    select format('%s.%s: numbers must be less than 1e309, with at most 340 decimals', field, left(entry.key, 100))
    into problem
    from jsonb_each(value) as entry,
        jsonb_path_query(entry.value, 'strict $.** ? (@.type() == "number")') as node (number)
    where abs(node.number::numeric) >= 1e309 or scale(node.number::numeric) > 340
    limit 1;
    if problem is not null then
        raise sqlstate '22023' using message = problem;
    end if;

    if octet_length(value::text) > 16384 then
        raise sqlstate '22023' using message = format('%s must be at most 16384 bytes long', field);
    end if;
end;
$$;
comment on function worker.check_json is
    'Raises 22023 (HTTP 400) unless a value that a user sent is an object of at most 16 kB, whose numbers are of a size that '
    'JavaScript knows. Takes little time and memory whatever the value is. Null passes.';

create function worker.check_parameters(kind text, parameters jsonb) returns void
language plpgsql stable set search_path = '' as $$
declare
    problem text;
begin
    if not exists (select from worker.parameter_rules as rule where rule.kind = check_parameters.kind) then
        raise sqlstate '22023' using
            message = format('kind must be one of %s', (
                select string_agg(distinct rule.kind, ', ') from worker.parameter_rules as rule)),
            detail = format('kind is %L', kind);
    end if;
    perform worker.check_json('parameters', coalesce(parameters, 'null'));

    select case
        when rule.name is null then
            format('parameters.%s is not known; kind %s knows %s', given.key, check_parameters.kind, (
                select string_agg(known.name, ', ' order by known.name)
                from worker.parameter_rules as known where known.kind = check_parameters.kind))
        when given.value is null then
            format('parameters.%s is required: %s', rule.name, worker.describe_rule(rule.row))
        else
            format('parameters.%s must be %s', rule.name, worker.describe_rule(rule.row))
        end
    into problem
    from (select r as row, r.name, r.is_required
          from worker.parameter_rules as r where r.kind = check_parameters.kind) as rule
    full join (select key, nullif(value, 'null') as value from jsonb_each(parameters)) as given
        on given.key = rule.name
    where case
        when rule.name is null then true
        when given.value is null then rule.is_required
        else not worker.obeys_rule(rule.row, given.value)
    end
    order by coalesce(rule.name, given.key)
    limit 1;

    if problem is not null then
        raise sqlstate '22023' using message = problem;
    end if;
end;
$$;
comment on function worker.check_parameters is
    'Raises 22023 (HTTP 400) with the first field that breaks a rule, and what is allowed.';

-- sharing/equal_searches
-- When are two searches equal? If their fingerprints are. Whoever decides which run searches for a fingerprint locks it
-- first.
-- Calls: kernel/parameters.

create function worker.canonical(value jsonb) returns jsonb
language sql immutable set search_path = ''
return case pg_catalog.jsonb_typeof(value)
    when 'string' then pg_catalog.to_jsonb(pg_catalog.lower(pg_catalog.btrim(
        pg_catalog.regexp_replace(value #>> '{}', '\s+', ' ', 'g'))))
    when 'number' then pg_catalog.to_jsonb(pg_catalog.trim_scale((value #>> '{}')::numeric))
    else value
end;
comment on function worker.canonical is 'One form of a text or number that may be written in several.';

create function worker.fingerprint(kind text, parameters jsonb, user_id uuid, workspace_id uuid) returns text
language sql stable set search_path = ''
return pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.concat_ws(' ',
    kind,
    (select pg_catalog.concat_ws(' ', fingerprint.user_id, fingerprint.workspace_id)
     from worker.kinds as known where known.kind = fingerprint.kind and known.is_private),
    (
        select pg_catalog.jsonb_object_agg(rule.name, case pg_catalog.jsonb_typeof(given.value)
            when 'array' then (
                select pg_catalog.jsonb_agg(distinct worker.canonical(element.value))
                from pg_catalog.jsonb_array_elements(given.value) as element)
            else worker.canonical(given.value)
        end)
        from worker.parameter_rules as rule,
            lateral (select worker.parameter(fingerprint.kind, fingerprint.parameters, rule.name) as value) as given
        where rule.kind = fingerprint.kind and given.value is not null
    )
), 'UTF8')), 'hex');
comment on function worker.fingerprint is
    'Equal for equal searches: order, case, blanks and defaults do not matter. Those of a private kind are equal only to '
    'their owner''s in the same workspace, which may be searched through another account.';

create function worker.lock_fingerprint(fingerprint text, may_wait boolean) returns boolean
-- Less than the 1 s after which Postgres looks for deadlocks (deadlock_timeout).
language plpgsql set search_path = '' set lock_timeout = '500ms' as $$
declare
    lock_key bigint := hashtextextended('worker.lock_fingerprint ' || fingerprint, 0);
begin
    if pg_try_advisory_xact_lock(lock_key) then
        return true;
    elsif may_wait then
        perform pg_advisory_xact_lock(lock_key);
    end if;
    return may_wait;
exception when lock_not_available then
    return false;
end;
$$;
comment on function worker.lock_fingerprint is
    'Locks what is decided about equal searches until the transaction ends; returns whether it could, at once or within half a second. Two '
    'that see no leader would both lead; and who leaves a leader alone has to know that nobody is joining it.';

-- sharing/follow
-- What changes for a leader that gets a follower, and for the followers when their leader moves on. A pending leader
-- takes the higher priority and the wider question of its followers. Followers get the counts and the progress of their
-- leader.
-- Calls: nothing.

create function worker.must_update_leader(run public.search_runs, leader public.search_runs) returns boolean
language sql immutable set search_path = ''
return leader.status = 'pending' and (
    (run.priority, -run.position) > (leader.priority, -leader.position)
    or coalesce(run.newer_than, '-infinity') < coalesce(leader.newer_than, '-infinity'));
comment on function worker.must_update_leader is
    'Whether a pending leader has to be told of a new follower: to come earlier, or to ask for more.';

create function worker.update_leaders(run_ids uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    with hurrying as materialized (
        select run.leader_run_id as id, max(run.priority) as priority,
               (array_agg(run.position order by run.priority desc, run.position))[1] as position,
               min(coalesce(run.newer_than, '-infinity')) as newer_than
        from public.search_runs as run
        join public.search_runs as leader on leader.id = run.leader_run_id
        where run.id = any (update_leaders.run_ids) and worker.must_update_leader(run, leader)
        group by run.leader_run_id
    ), held as materialized (
        -- worker.share has locked them.
        select leader.id from public.search_runs as leader
        where leader.id = any (array(select hurrying.id from hurrying))
        for no key update skip locked
    )
    update public.search_runs as leader
    set priority = greatest(leader.priority, hurrying.priority),
        position = case when (hurrying.priority, -hurrying.position) > (leader.priority, -leader.position)
                        then hurrying.position else leader.position end,
        newer_than = nullif(least(coalesce(leader.newer_than, '-infinity'), hurrying.newer_than), '-infinity')
    from hurrying join held on held.id = hurrying.id
    where leader.id = held.id and leader.status = 'pending';
end;
comment on function worker.update_leaders is
    'Lets pending leaders wait no longer than their new followers would, and ask for as much as these do.';

create function worker.copy_progress_to_followers(run_id uuid) returns void
language sql volatile set search_path = ''
begin atomic
    -- Not those that somebody holds, who may keep them for long: they are told at the next site.
    with told as (
        select follower.id from public.search_runs as follower
        where follower.leader_run_id = copy_progress_to_followers.run_id
        for no key update skip locked
    )
    update public.search_runs as follower
    set jobs_found = leader.jobs_found, progress = leader.progress,
        progress_current = greatest(follower.progress_current, leader.progress_current)
    from told, public.search_runs as leader
    where follower.id = told.id and leader.id = copy_progress_to_followers.run_id;
end;
comment on function worker.copy_progress_to_followers is 'Gives followers the counts and the progress of their leader.';

-- sharing/answer
-- How a run ends that another run answers.
-- Calls: nothing.

create function worker.write_answered_events(run_ids uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    insert into public.run_events (run_id, event, data, created_at)
    select run.id, 'finished', jsonb_build_object('status', run.status, 'shared_run_id', run.shared_run_id), run.completed_at
    from public.search_runs as run
    where run.id = any (write_answered_events.run_ids)
    order by run.id;
end;
comment on function worker.write_answered_events is 'Writes the last event of runs that another one answers.';

create function worker.finish_followers(leader public.search_runs, followers uuid[]) returns void
language plpgsql set search_path = '' as $$
begin
    update public.search_runs as follower
    set leader_run_id = null, shared_run_id = leader.id, status = leader.status, jobs_found = leader.jobs_found,
        progress_current = leader.progress_current, progress = leader.progress, error_code = leader.error_code,
        error_message = leader.error_message, completed_at = leader.completed_at
    where follower.id = any (followers);
    perform worker.write_answered_events(followers);
end;
$$;
comment on function worker.finish_followers is 'Ends followers of a run, which are locked, as it has ended.';

-- sharing/share
-- Who searches for a new run? If an equal run finished a short while ago, it answers the new one at once. If an equal run
-- is active, the new one follows it. Otherwise the new run searches itself.
-- Calls: kernel/clock, sharing/equal_searches, sharing/follow.

create function worker.can_serve(other public.search_runs, run public.search_runs) returns boolean
language sql stable set search_path = ''
return case
    when other.completed_at is null then
        other.leader_run_id is null and (other.run_after is null or other.started_at is not null)
        -- Or it can be told to ask for more, as long as there is no answer that it would go on after.
        and (coalesce(other.newer_than, '-infinity') <= coalesce(run.newer_than, '-infinity')
             or (other.status = 'pending'
                 and not exists (
                    select from public.search_run_sites as site
                    where site.run_id = other.id and site.completed_at is not null)
                 and not exists (select from worker.raw_collections as page where page.run_id = other.id)))
    else
        other.status = 'success' and other.shared_run_id is null and not run.fresh
        and other.completed_at > worker.now() - (select settings.freshness from worker.settings as settings)
        and coalesce(other.newer_than, '-infinity') <= coalesce(run.newer_than, '-infinity')
end;
comment on function worker.can_serve is
    'Whether another run of the same fingerprint answers a run at once, if it has finished, or can lead it.';

create function worker.share(run public.search_runs, may_wait boolean) returns public.search_runs
language plpgsql set search_path = '' as $$
declare
    oldest_answer timestamptz := worker.now() - (select settings.freshness from worker.settings as settings);
    other public.search_runs;
begin
    if not worker.lock_fingerprint(run.fingerprint, may_wait) then
        run.run_after := coalesce(run.run_after, worker.now());
        return run;
    end if;

    -- The conditions that indexes are for; worker.can_serve knows the others.
    select * into other from public.search_runs as answer
    where answer.fingerprint = run.fingerprint and answer.completed_at > oldest_answer
      and answer.shared_run_id is null and worker.can_serve(answer, run)
    order by answer.completed_at desc
    limit 1;
    if not found then
        select * into other from public.search_runs as leader
        where leader.fingerprint = run.fingerprint and leader.completed_at is null and leader.leader_run_id is null
          and (leader.run_after is null or leader.started_at is not null) and worker.can_serve(leader, run)
        -- Rather one that covers this run as it is, and of those the one with the least to do.
        order by coalesce(leader.newer_than, '-infinity') <= coalesce(run.newer_than, '-infinity') desc,
                 leader.newer_than desc nulls last
        limit 1;
    end if;
    if not found then
        run.run_after := null;
        return run;
    end if;

    if other.completed_at is null and worker.must_update_leader(run, other) then
        select * into other from public.search_runs as held where held.id = other.id for no key update skip locked;
        if not found or not worker.can_serve(other, run) then
            run.run_after := coalesce(run.run_after, worker.now());
            return run;
        end if;
    end if;

    run.run_after := null;
    run.jobs_found := other.jobs_found;
    run.progress_current := other.progress_current;
    run.progress := other.progress;
    if other.completed_at is null then
        run.leader_run_id := other.id;
    else
        run.shared_run_id := other.id;
        run.status := other.status;
        run.completed_at := worker.now();
    end if;
    return run;
end;
$$;
comment on function worker.share is
    'Returns a run as it is to be written: answered, following, or ready to be searched. While others decide the same, or hold a '
    'leader that would have to be told, it is due for promote_due_runs instead, which asks again.';

-- sharing/hand_over
-- What the runs that are left get from a leader that has ended or was deleted: its sites, results and pages.
-- Calls: kernel/clock, kernel/parameters, kernel/run_sites.

create function worker.ended_leader_sites(ended worker.ended_leaders) returns setof public.search_run_sites
language sql stable set search_path = ''
begin atomic
    select site.* from public.search_run_sites as site where site.run_id = ended.run_id and ended.former is null
    union all
    select kept.* from jsonb_populate_recordset(null::public.search_run_sites, ended.sites) as kept;
end;
comment on function worker.ended_leader_sites is 'The sites of a leader that has ended, or was deleted.';

create function worker.ended_leader_results(ended worker.ended_leaders) returns setof public.search_results
language sql stable set search_path = ''
begin atomic
    select result.* from public.search_results as result where result.run_id = ended.run_id and ended.former is null
    union all
    select kept.* from jsonb_populate_recordset(null::public.search_results, ended.results) as kept
    where exists (select from public.items as item where item.id = kept.item_id);
end;
comment on function worker.ended_leader_results is 'The results of a leader that has ended, or was deleted.';

create function worker.transfer_results(heir uuid, ended worker.ended_leaders) returns void
language sql volatile set search_path = ''
begin atomic
    insert into public.search_results (run_id, item_id, site, page_number, position, created_at)
    select transfer_results.heir, result.item_id, result.site, result.page_number, result.position, result.created_at
    from worker.ended_leader_results(transfer_results.ended) as result
    order by result.created_at, result.position;

    -- With what it was made of, so that it can be read again, and the search resumed.
    update worker.raw_collections as page set run_id = transfer_results.heir where page.run_id = (transfer_results.ended).run_id;
end;
comment on function worker.transfer_results is 'Gives a run the results and the pages of a leader that has ended, or was deleted.';

create function worker.transfer_search(run_id uuid, ended worker.ended_leaders) returns void
language sql volatile set search_path = ''
begin atomic
    select worker.transfer_results(transfer_search.run_id, transfer_search.ended);

    insert into public.search_run_sites (
        run_id, site, position, status, jobs_found, attempts, progress, started_at, completed_at)
    select transfer_search.run_id, site.site, row_number() over (order by asked.ordinal, site.position),
           case when searched.is_completed then 'completed' else 'pending' end::public.site_status,
           (select count(*) from public.search_results as result
            where result.run_id = transfer_search.run_id and result.site = site.site),
           -- The next one has to be told from those whose pages are there.
           site.attempts,
           case when searched.is_completed then site.progress else worker.with_step(site.progress, 'queued') end,
           case when searched.is_completed then site.started_at end,
           case when searched.is_completed then site.completed_at end
    from worker.ended_leader_sites(transfer_search.ended) as site
    join public.search_runs as run on run.id = transfer_search.run_id
    -- Equal searches may name the sites in another order.
    left join lateral worker.sites_of(run.kind, run.parameters) as asked on asked.site = site.site
    cross join lateral (select site.status = 'completed' as is_completed) as searched
    order by asked.ordinal, site.position;
end;
comment on function worker.transfer_search is
    'Gives a follower the sites and results of its leader, which has ended: what is not completed is pending.';

create function worker.detach_followers(followers uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    update public.search_runs as run set leader_run_id = null, run_after = worker.now() where run.id = any (detach_followers.followers);
    select worker.add_sites(detach_followers.followers);
end;
comment on function worker.detach_followers is 'Lets promote_due_runs decide again about followers, which are locked.';

create function worker.promote_follower(former public.search_runs, followers uuid[], ended worker.ended_leaders) returns void
language plpgsql set search_path = '' as $$
declare
    heir uuid := followers[1];
begin
    if heir is null then
        return;
    end if;
    -- Somebody may have begun to search for the same since then.
    if ended.is_handed_over or exists (
        select from public.search_runs as leader
        where leader.fingerprint = former.fingerprint and leader.newer_than is not distinct from former.newer_than
          and leader.completed_at is null and leader.leader_run_id is null
          and (leader.run_after is null or leader.started_at is not null)
    ) then
        perform worker.detach_followers(followers);
        return;
    end if;

    perform worker.transfer_search(heir, ended);
    update public.search_runs as run
    set leader_run_id = null, progress = jsonb_build_object('step', 'queued'),
        -- As the sites were asked, and as all followers need it.
        newer_than = former.newer_than,
        started_at = case
            when exists (select from worker.raw_collections as page where page.run_id = heir)
              or exists (select from public.search_run_sites as site where site.run_id = heir and site.status = 'completed')
            then former.started_at
        end,
        jobs_found = (select count(*) from public.search_results as result where result.run_id = heir)
    where run.id = heir;
    update public.search_runs as follower set leader_run_id = heir where follower.id = any (followers) and follower.id <> heir;
    update worker.ended_leaders as known set is_handed_over = true where known.id = ended.id;
end;
$$;
comment on function worker.promote_follower is
    'Makes the first of a run''s followers, which are locked, the leader of the others; it continues where the former stopped.';

create function worker.transfer_answer(former public.search_runs, runs uuid[], ended worker.ended_leaders) returns void
language plpgsql set search_path = '' as $$
declare
    heir uuid := runs[1];
begin
    if heir is null then
        return;
    end if;
    perform worker.transfer_results(heir, ended);
    insert into public.search_run_sites
    select (jsonb_populate_record(searched, jsonb_build_object('run_id', heir, 'id', gen_random_uuid()))).*
    from worker.ended_leader_sites(ended) as searched;
    update public.search_runs as answered
    set shared_run_id = nullif(heir, answered.id),
        -- What it answers to others, and how far back, depends on how it was searched for.
        newer_than = case when answered.id = heir then former.newer_than else answered.newer_than end,
        started_at = case when answered.id = heir then former.started_at else answered.started_at end
    where answered.id = any (runs);
end;
$$;
comment on function worker.transfer_answer is
    'Gives the results of a deleted run to the first of those runs that were answered with it, which are locked.';

-- sharing/leader_ended
-- What happens to followers when their leader ends? If it has an answer, they end with it. If it was cancelled, or failed
-- in a way that may succeed later, the first follower becomes the leader of the others and continues the search. Nobody
-- waits for rows that somebody else holds: the next claim does the rest.
-- Calls: kernel/clock, sharing/equal_searches, sharing/follow, sharing/answer, sharing/hand_over.

create function worker.has_answer(former public.search_runs, ended worker.ended_leaders) returns boolean
language sql stable set search_path = ''
return former.status in ('success', 'partial') or (former.status = 'failed' and not exists (
    select from worker.ended_leader_sites(ended) as site where site.retryable));
comment on function worker.has_answer is
    'Whether a run has ended in a way that is its followers'' end as well: what was cancelled, or failed in a way that may '
    'pass, says nothing to others.';

create function worker.has_dependents(run_id uuid, by_followers boolean default true, by_answered boolean default true)
returns boolean
language sql stable set search_path = ''
-- In an order, so that the index is searched, also where nearly all runs follow one.
return (by_followers and coalesce((
    select true from public.search_runs as run
    where run.leader_run_id = has_dependents.run_id
    order by run.leader_run_id, run.user_id
    limit 1), false))
or (by_answered and coalesce((
    select true from public.search_runs as run
    where run.shared_run_id = has_dependents.run_id
    order by run.shared_run_id, run.user_id
    limit 1), false));
comment on function worker.has_dependents is 'Whether runs follow a run, or were answered with it.';

create function worker.settle_leader(ended worker.ended_leaders) returns boolean
language plpgsql set search_path = '' as $$
declare
    is_deleted boolean := ended.former is not null;
    is_held boolean := worker.lock_fingerprint(ended.fingerprint, may_wait => false);
    former public.search_runs;
    followers uuid[];
    answered uuid[];
begin
    if is_deleted then
        former := jsonb_populate_record(null::public.search_runs, ended.former);
    else
        select * into former from public.search_runs as known where known.id = ended.run_id;
        if not found then  -- deleted since then, and noted as such
            return true;
        elsif former.completed_at is null then  -- put off, while somebody was joining it
            perform worker.copy_progress_to_followers(former.id);
            return is_held;
        end if;
    end if;

    if worker.has_dependents(ended.run_id, by_answered => is_deleted) then
        followers := array(
            select follower.id from public.search_runs as follower
            where follower.leader_run_id = ended.run_id
            order by follower.priority desc, follower.position, follower.created_at, follower.id
            limit 1000
            for no key update skip locked);
        if worker.has_answer(former, ended) then
            perform worker.finish_followers(former, followers);
            if is_deleted then
                answered := array(
                    select run.id from public.search_runs as run
                    where run.shared_run_id = ended.run_id
                    order by run.created_at, run.id
                    limit 1000
                    for no key update skip locked);
                perform worker.transfer_answer(former, answered, ended);
            end if;
        elsif is_held then
            perform worker.promote_follower(former, followers, ended);
        end if;
    end if;

    -- Who is joining it now is not seen, but holds the search.
    if not is_held or worker.has_dependents(ended.run_id, by_answered => is_deleted) then
        return false;
    end if;
    if is_deleted then
        delete from worker.raw_collections as page where page.run_id = ended.run_id;
    end if;
    return true;
end;
$$;
comment on function worker.settle_leader is
    'Sees to those who need what a leader has found that ended or was deleted, a bounded number of them: ends its followers as it has '
    'ended, or lets them continue without it; and passes its results on. Passes over those that somebody holds; returns '
    'whether nothing is left to do.';

create function worker.settle_ended_leaders() returns void
language plpgsql set search_path = '' as $$
declare
    ended worker.ended_leaders;
begin
    for ended in
        select known.* from worker.ended_leaders as known
        order by known.tried_at
        limit (select rescue_batch from worker.settings)
        for update skip locked
    loop
        if worker.settle_leader(ended) then
            delete from worker.ended_leaders as known where known.id = ended.id;
        else
            update worker.ended_leaders as known set tried_at = worker.now() where known.id = ended.id;
        end if;
    end loop;
end;
$$;
comment on function worker.settle_ended_leaders is
    'Sees to what leaders that ended or were deleted have left, a bounded number at a time.';

create function worker.leader_ended() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    ended worker.ended_leaders;
begin
    ended.run_id := new.id;
    ended.fingerprint := new.fingerprint;
    -- A worker ends a run with an answer; without one, a user may, whom others are not to wait for.
    if not worker.has_answer(new, ended) or not worker.settle_leader(ended) then
        insert into worker.ended_leaders (run_id, fingerprint, tried_at) values (new.id, new.fingerprint, worker.now());
    end if;
    return null;
end;
$$;
comment on function worker.leader_ended is
    'Answers the followers of a run that has ended, but for those that somebody holds; these, and all of them where there is no '
    'answer, are left to the next claim.';

create trigger leader_ended after update on public.search_runs
    for each row
    when (old.completed_at is null and new.completed_at is not null and old.leader_run_id is null)
    execute function worker.leader_ended();

-- sharing/leader_deleted
-- What happens to followers and answered runs when the run is deleted that searched for them? What they need is kept, and
-- the next claim gives it to them.
-- Calls: kernel/clock, sharing/leader_ended.

create function worker.leader_deleted() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    ended worker.ended_leaders;
begin
    if old.leader_run_id is not null or old.shared_run_id is not null or not (
        old.completed_at is null
        -- So young that somebody may be answered with it at this moment; or somebody was.
        or old.completed_at > worker.now() - interval '1 hour' - (select freshness from worker.settings)
        or worker.has_dependents(old.id)
    ) then
        delete from worker.raw_collections as page where page.run_id = old.id;
        return null;
    end if;

    insert into worker.ended_leaders (run_id, fingerprint, former, sites, results, tried_at)
    values (
        old.id, old.fingerprint, to_jsonb(old),
        (select jsonb_agg(to_jsonb(searched)) from public.search_run_sites as searched where searched.run_id = old.id),
        (select jsonb_agg(to_jsonb(result)) from public.search_results as result where result.run_id = old.id),
        worker.now())
    returning * into ended;
    -- Whose search has ended can be given its results now; who waits for it is seen to by the next claim.
    if worker.has_answer(old, ended) and worker.settle_leader(ended) then
        delete from worker.ended_leaders as known where known.id = ended.id;
    end if;
    return null;
end;
$$;
comment on function worker.leader_deleted is
    'Keeps what others need of a deleted run: its results for those who were answered with them, its search for its followers. '
    'Waits for none of them.';

-- After the delete, because runs that the same statement deletes inherit nothing. In upper case, because triggers fire in
-- the order of their names: those of the foreign keys (RI_...) delete what there is to inherit.
create trigger "LEADER_DELETED" after delete on public.search_runs
    for each row execute function worker.leader_deleted();

-- enqueue/request_size
-- How many rows may one request insert?
-- Calls: nothing.

create function worker.count_request_row() returns void
language plpgsql set search_path = '' as $$
declare
    invoker text := coalesce(nullif(current_setting('role'), 'none'), session_user);
    rows_sent integer := coalesce(nullif(current_setting('worker.rows_sent', true), ''), '0')::integer + 1;
    setting text := case invoker when 'service_role' then 'max_rows_per_service_request' else 'max_rows_per_request' end;
    most integer;
begin
    if invoker = current_user then  -- the owner
        return;
    end if;
    select case invoker when 'service_role' then settings.max_rows_per_service_request else settings.max_rows_per_request end
    into strict most from worker.settings as settings;
    if rows_sent > most then
        raise sqlstate '22023' using
            message = format('at most %s rows may be sent at a time', most),
            detail = jsonb_build_object('setting', setting, 'limit', most);
    end if;
    perform set_config('worker.rows_sent', rows_sent::text, true);
end;
$$;
comment on function worker.count_request_row is
    'Counts the rows that a transaction inserts, before anything is done for them or locked, also for those that will be refused or '
    'are there already; raises 22023 (HTTP 400) beyond the limits of worker.settings.';

-- enqueue/user_quotas
-- May this user start one more run? Not with more pending runs, or more runs within an hour, than worker.settings allows.
-- Runs of schedules do not count.
-- Calls: kernel/clock.

create function worker.exceeded_quotas(user_id uuid, more integer) returns table (
    quota text, most integer, what text, wait interval
)
language sql stable set search_path = ''
begin atomic
    select 'max_per_hour_per_user', settings.max_per_hour_per_user, 'started in an hour', (
        select run.created_at + interval '1 hour' - worker.now() from public.search_runs as run
        where run.user_id = exceeded_quotas.user_id and run.source <> 'cron'
        order by run.created_at desc
        offset greatest(0, settings.max_per_hour_per_user - more) limit 1)
    from worker.settings as settings
    where settings.max_per_hour_per_user is not null and settings.max_per_hour_per_user < more + (
        select count(*) from public.search_runs as run
        where run.user_id = exceeded_quotas.user_id and run.created_at > worker.now() - interval '1 hour'
          and run.source <> 'cron')
    union all
    -- As fast as runs of this user were taken up or answered lately, one place is free after:
    select 'max_pending_per_user', settings.max_pending_per_user, 'waiting', (
        select interval '10 minutes' / greatest(1, count(*)) from public.search_runs as run
        where run.user_id = exceeded_quotas.user_id and run.created_at > worker.now() - interval '1 hour'
          and (run.started_at > worker.now() - interval '10 minutes'
               or (run.shared_run_id is not null and run.completed_at > worker.now() - interval '10 minutes')))
    from worker.settings as settings
    where settings.max_pending_per_user is not null and settings.max_pending_per_user < more + (
        select count(*) from public.search_runs as run
        where run.user_id = exceeded_quotas.user_id and run.status = 'pending' and run.source <> 'cron');
end;
comment on function worker.exceeded_quotas is
    'The quotas of worker.settings that a user exceeds with so many runs more than there are, and the time to wait. Those of '
    'source cron do not count.';

create function worker.will_be_refused(run public.search_runs) returns boolean
language sql stable set search_path = ''
begin atomic
    select exists (
        select from public.search_runs as known
        where known.user_id = will_be_refused.run.user_id and known.idempotency_key = will_be_refused.run.idempotency_key
    ) or (will_be_refused.run.source <> 'cron' and exists (
        select from worker.exceeded_quotas(will_be_refused.run.user_id, 1)));
end;
comment on function worker.will_be_refused is
    'Whether a new run is there already, by its idempotency key, or exceeds a quota, as far as can be seen without a lock: '
    'then none is taken for it. worker.check_quotas and the key''s index have the last word.';

create function worker.check_quotas() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    exceeded record;
begin
    -- Counting is safe only while no other insert of the same user counts: one after another, in the order of the ids.
    perform pg_advisory_xact_lock(hashtextextended('worker.check_quotas ' || asking.user_id, 0))
    from (select distinct run.user_id from new_runs as run where run.source <> 'cron' order by run.user_id) as asking;

    select quota.* into exceeded
    from (select distinct run.user_id from new_runs as run where run.source <> 'cron') as asking
    cross join lateral worker.exceeded_quotas(asking.user_id, 0) as quota
    order by quota.wait desc
    limit 1;

    if exceeded.quota is not null then
        raise sqlstate 'PT429' using
            message = format('at most %s searches of a user may be %s: try again in %s s',
                             exceeded.most, exceeded.what, ceil(extract(epoch from exceeded.wait))),
            detail = jsonb_build_object('quota', exceeded.quota, 'limit', exceeded.most,
                                        'retry_after_seconds', ceil(extract(epoch from exceeded.wait)));
    end if;
    return null;
end;
$$;
comment on function worker.check_quotas is
    'Refuses runs beyond the quotas of worker.settings with PT429 (HTTP 429): the limit, and the time to wait.';

create trigger check_quotas after insert on public.search_runs
    referencing new table as new_runs
    for each statement execute function worker.check_quotas();

-- enqueue/position
-- Where in the queue does a new run go? Users take turns: the next run of a user goes behind his own, not behind those of
-- everybody else.
-- Calls: nothing.

create function worker.next_position(user_id uuid, priority smallint) returns bigint
language sql volatile set search_path = ''
return greatest(
    (select min(run.position) from public.search_runs as run
     where run.priority = next_position.priority
       and run.status = 'pending' and run.run_after is null and run.leader_run_id is null),
    (select 1 - min(-run.position) from public.search_runs as run
     where run.user_id = next_position.user_id and run.priority = next_position.priority
       and run.status = 'pending' and run.run_after is null and run.leader_run_id is null),
    0
);
comment on function worker.next_position is
    'Fair by construction: a user''s next run goes behind his own, not behind everybody else''s.';

-- enqueue/newer_than
-- From when on does a scheduled repeat ask for results? Since the last success of the same search.
-- Calls: nothing.

create function worker.last_success(user_id uuid, fingerprint text) returns timestamptz
language sql stable set search_path = ''
begin atomic
    -- In whole hours, so that users of one schedule still ask for the same.
    select date_trunc('hour', searched.started_at, 'UTC')
    from public.search_runs as last
    join public.search_runs as searched on searched.id = coalesce(last.shared_run_id, last.id)
    where last.user_id = last_success.user_id and last.fingerprint = last_success.fingerprint
      and last.status = 'success'
    order by last.completed_at desc
    limit 1;
end;
comment on function worker.last_success is
    'When the search began that gave a user all of the sites the last time; null if none did.';

-- enqueue/insert
-- What happens when a run is inserted: it is checked and counted, gets its place in the queue, and either searches,
-- follows another run, or is answered at once.
-- Calls: kernel/clock, kernel/parameters, kernel/run_sites, parameters/check, sharing/equal_searches, sharing/follow,
--   sharing/answer, sharing/share, enqueue/request_size, enqueue/user_quotas, enqueue/position, enqueue/newer_than.

create function worker.prepare_run() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    is_first boolean := current_setting('worker.has_enqueued', true) is distinct from 'true';
begin
    -- As the policy will, which is asked after the triggers: these count and look up for the user that is named. In the
    -- setting is the role that the policy applies to, though this function has its owner's rights.
    if current_setting('role') = 'authenticated' and new.user_id is distinct from (select auth.uid())
       and new.user_id is not null then
        raise sqlstate '42501' using message = 'new row violates row-level security policy for table "search_runs"';
    end if;
    perform worker.count_request_row();
    if new.user_id is null then
        raise sqlstate '22023' using
            message = 'user_id is required',
            hint = 'It is the signed-in user by default; a service role has to name it.';
    end if;
    perform worker.check_json('client_context', new.client_context);
    if length(new.idempotency_key) not between 1 and 200 then
        raise sqlstate '22023' using message = 'idempotency_key must be 1 to 200 characters long';
    end if;
    perform worker.check_parameters(new.kind, new.parameters);
    new.fingerprint := worker.fingerprint(new.kind, new.parameters, new.user_id, new.workspace_id);
    new.priority := coalesce(new.priority, case new.source when 'manual' then 20 when 'api' then 10 else 0 end);
    new.position := worker.next_position(new.user_id, new.priority);
    new.progress_total := worker.results_wanted(new.kind, new.parameters)
        * (select count(*) from worker.sites_of(new.kind, new.parameters));
    new.progress := jsonb_build_object('step', 'queued');
    new.created_at := worker.now();
    new.updated_at := new.created_at;
    if new.source = 'cron' then
        new.newer_than := worker.last_success(new.user_id, new.fingerprint);
    end if;
    if new.run_after is null and worker.will_be_refused(new) then
        new.run_after := new.created_at;  -- if not refused after all, promote_due_runs decides
    elsif new.run_after is null then
        new := worker.share(new, may_wait => is_first);
    end if;
    perform set_config('worker.has_enqueued', 'true', true);
    return new;
end;
$$;
comment on function worker.prepare_run is 'Counts and checks a new run, sets what the queue needs, and decides who searches for it.';

create trigger prepare_run before insert on public.search_runs
    for each row execute function worker.prepare_run();

create function worker.open_runs() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    perform worker.add_sites(array(
        select run.id from new_runs as run where run.leader_run_id is null and run.shared_run_id is null));

    insert into public.run_events (run_id, event, data, created_at)
    select run.id, 'created', jsonb_build_object('source', run.source), run.created_at
    from new_runs as run;

    perform worker.update_leaders(array(select run.id from new_runs as run where run.leader_run_id is not null)),
            worker.write_answered_events(array(select run.id from new_runs as run where run.shared_run_id is not null));
    return null;
end;
$$;
comment on function worker.open_runs is 'Gives new runs their first event, and their sites to those that search.';

create trigger open_runs after insert on public.search_runs
    referencing new table as new_runs
    for each statement execute function worker.open_runs();

-- enqueue/saved_searches
-- May this search be saved? It must be one that could run, and a user may keep only so many.
-- Calls: kernel/clock, parameters/check, enqueue/request_size.

create function worker.check_saved_search() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if tg_op = 'INSERT' then
        perform worker.count_request_row();
    end if;
    perform worker.check_parameters(new.kind, new.parameters);
    new.updated_at := worker.now();
    return new;
end;
$$;
comment on function worker.check_saved_search is 'A saved search must be one that could run.';

create trigger check_saved_search before insert or update on public.saved_searches
    for each row execute function worker.check_saved_search();

create function worker.count_saved_searches() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    most integer := (select settings.max_saved_searches_per_user from worker.settings as settings);
begin
    -- As in worker.check_quotas: one after another, in the order of the ids.
    perform pg_advisory_xact_lock(hashtextextended('worker.count_saved_searches ' || saving.user_id, 0))
    from (select distinct saved.user_id from new_searches as saved order by saved.user_id) as saving;

    if exists (
        select from (select distinct saved.user_id from new_searches as saved) as saving
        where most < (select count(*) from public.saved_searches as saved where saved.user_id = saving.user_id)
    ) then
        raise sqlstate 'PT429' using
            message = format('at most %s saved searches of a user are kept: delete some', most),
            detail = jsonb_build_object('quota', 'max_saved_searches_per_user', 'limit', most);
    end if;
    return null;
end;
$$;
comment on function worker.count_saved_searches is
    'Refuses saved searches beyond worker.settings.max_saved_searches_per_user with PT429 (HTTP 429).';

create trigger count_saved_searches after insert on public.saved_searches
    referencing new table as new_searches
    for each statement execute function worker.count_saved_searches();

-- sites/accounts
-- Through which account is a site searched for a run?
-- Calls: nothing.

create function worker.account_of(run_id uuid, site text) returns text
language sql stable set search_path = ''
begin atomic
    select known.account
    from public.search_runs as run
    join worker.accounts as known on known.user_id = run.user_id and known.site = account_of.site
    where run.id = account_of.run_id and (known.workspace_id = run.workspace_id or known.workspace_id is null)
    order by known.workspace_id nulls last
    limit 1;
end;
comment on function worker.account_of is
    'The account through which a run searches a site: its user''s for the run''s workspace, else the user''s own; or null.';

create function public.worker_set_account(user_id uuid, site text, account text, workspace_id uuid default null) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
    if not exists (
        select from worker.parameter_rules as rule
        where rule.name = 'sites' and (rule.allowed is null or worker_set_account.site = any (rule.allowed))
    ) then
        raise sqlstate '22023' using message = format('site must be one of %s, not %L', (
            select string_agg(distinct known.site, ', ' order by known.site)
            from worker.parameter_rules as rule, unnest(rule.allowed) as known (site) where rule.name = 'sites'), site);
    end if;
    if length(trim(worker_set_account.account)) not between 1 and 200 then
        raise sqlstate '22023' using message = 'account must be 1 to 200 characters long, or null to remove it';
    end if;

    if worker_set_account.account is null then
        delete from worker.accounts as former
        where former.user_id = worker_set_account.user_id and former.site = worker_set_account.site
          and former.workspace_id is not distinct from worker_set_account.workspace_id;
        return;
    end if;
    insert into worker.accounts (user_id, site, workspace_id, account)
    values (worker_set_account.user_id, worker_set_account.site, worker_set_account.workspace_id,
            trim(worker_set_account.account))
    on conflict on constraint accounts_account do update set account = excluded.account;
exception when foreign_key_violation or not_null_violation then
    raise sqlstate '22023' using message = 'user_id must be of a user';
end;
$$;
comment on function public.worker_set_account is
    'Has a site searched through this account for a user''s runs: for those of a workspace, or (null) for all others. An account '
    'of null removes it. Nobody else''s runs are searched through it, and no user gets to read it.';

-- sites/rank
-- Which site first? Those that are not paused, then by success rate and speed. A share of the runs takes any order, so
-- that a site that was slow once gets another chance.
-- Calls: kernel/clock.

create function worker.rank_sites(run_id uuid, seed uuid) returns table (site text, rank integer)
language sql stable set search_path = ''
begin atomic
    select unfinished.site, row_number() over (
        order by
            known.is_paused,
            case when chance.explores then hashtextextended(format('%s %s %s', seed, run_id, unfinished.site), 0) end,
            -- To a tenth: a site that failed once, long ago, may still be the faster one.
            round(coalesce(known.success_rate, 1)::numeric, 1) desc,
            coalesce(known.response_ms, 0),
            unfinished.position
    )::integer
    from public.search_run_sites as unfinished
    cross join lateral (
        select coalesce(bool_and(coalesce(health.paused_until > worker.now(), false)), false) as is_paused,
               avg(health.success_rate) as success_rate, avg(health.response_ms) as response_ms
        from worker.site_health as health
        where health.site = unfinished.site
    ) as known
    cross join (
        select (hashtextextended(format('%s %s', seed, run_id), 0) & 2147483647) / 2147483648.0
               < settings.exploration as explores
        from worker.settings as settings
    ) as chance
    where unfinished.run_id = rank_sites.run_id and unfinished.completed_at is null;
end;
comment on function worker.rank_sites is
    'Unfinished sites of a run, the best one first: not paused, then by success lately, then by speed; those that are '
    'not known yet before. Of some runs in any order. The same for the same seed, as long as the sites are.';

-- sites/queue
-- Who is next at a site, of the runs that wait for it? By priority, then users in turn, then by the time that they have
-- waited.
-- Calls: kernel/clock.

create function worker.wait_state(
    run_id uuid, site text, out since timestamptz, out waited interval, out is_within_page boolean
)
language sql stable set search_path = ''
begin atomic
    select least(coalesce(wait.waiting_since, search.waiting_since), worker.now()),
           -- Not coalesce() alone: greatest() passes over what is null.
           case when wait.run_id is not null
                then greatest(wait.waited - greatest(wait.due_at - worker.now(), '0'), '0')
                else coalesce(search.waited, '0') end,
           coalesce(search.is_within_page, false)
    from (select) as nothing
    left join worker.site_waits as wait on wait.run_id = wait_state.run_id and wait.site = wait_state.site
    left join worker.site_searches as search on search.run_id = wait_state.run_id and search.site = wait_state.site;
end;
comment on function worker.wait_state is
    'Since when a run waits for a site, which is its place in the order; for how long so far; and whether it has asked for a '
    'part of a page.';

create function worker.site_queue(
    bucket text, accounts text[], reasons text[], asking_run_id uuid default null, asking_since timestamptz default null
) returns table (run_id uuid, place bigint, requests integer, due_at timestamptz)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    now timestamptz := worker.now();
    settings worker.settings;
begin
    select * into strict settings from worker.settings;
    return query
    with waiting as (
        select wait.run_id, wait.waiting_since as since, wait.requests, wait.due_at
        from worker.site_waits as wait
        -- By the time, too: past those who were due long ago.
        where wait.bucket = site_queue.bucket
          and wait.due_at > now - settings.wait_grace and wait.due_at <= now + settings.max_site_wait
          and wait.account = any (site_queue.accounts) and wait.reason = any (site_queue.reasons)
          and wait.run_id is distinct from site_queue.asking_run_id
          and (not wait.lets_pass or wait.due_at <= now)
          -- No place is kept for a run that searches another site meanwhile.
          and (wait.reason <> 'searches' or wait.due_at <= now or exists (
              select from public.search_runs as run where run.id = wait.run_id and run.status = 'pending'))
        union all
        select site_queue.asking_run_id, site_queue.asking_since, 0, null where site_queue.asking_run_id is not null
    ), ranked as (
        select waiting.*, run.user_id,
               case when waiting.since <= now - settings.max_priority_wait then max(run.priority) over ()
                    else run.priority end as priority
        from waiting join public.search_runs as run on run.id = waiting.run_id
    ), numbered as (
        select ranked.*, case when share.last_at <= now then share.last_at else ranked.since end as turn,
               coalesce(under_way.searches, 0) + row_number() over (
                   partition by ranked.user_id, ranked.priority order by ranked.since, ranked.run_id) as nth
        from ranked
        left join worker.site_shares as share
            on share.bucket = site_queue.bucket and share.user_id = ranked.user_id and site_queue.accounts = '{""}'
        left join lateral (
            select count(*) as searches
            from worker.site_searches as search join public.search_runs as run on run.id = search.run_id
            where search.site = site_queue.bucket and run.user_id = ranked.user_id
        ) as under_way on site_queue.reasons = '{searches}'
    )
    select numbered.run_id,
           row_number() over (order by numbered.since = '-infinity' desc, numbered.priority desc, numbered.nth,
                                       numbered.turn, numbered.since, numbered.run_id),
           numbered.requests, numbered.due_at
    from numbered;
end;
$$;
comment on function worker.site_queue is
    'Who is next of those that wait for the same, as far as they come back in time, and of a run that asks: a page that '
    'is half asked for; then by priority, which grows to the highest after max_priority_wait; then users in turn, each '
    'with one run, who was served longest ago first; of a user the run that has waited longest.';

create function worker.queue_ahead(
    bucket text, account text, reasons text[], since timestamptz, run_id uuid,
    out waiters integer, out requests integer, out back_at timestamptz, out is_due boolean
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    now timestamptz := worker.now();
    grace interval := (select settings.wait_grace from worker.settings as settings);
begin
    waiters := 0;
    requests := 0;
    is_due := false;
    -- Most often there is nobody.
    if not exists (
        select from worker.site_waits as wait
        where wait.bucket = queue_ahead.bucket and wait.due_at > now - grace
          and wait.account = queue_ahead.account and wait.run_id <> queue_ahead.run_id
    ) then
        return;
    end if;
    with line as materialized (
        select known.* from worker.site_queue(queue_ahead.bucket, array[queue_ahead.account], queue_ahead.reasons,
                                        queue_ahead.run_id, coalesce(queue_ahead.since, now)) as known
    )
    select count(*), coalesce(sum(line.requests), 0),
           max(line.due_at + case when line.due_at <= now then grace else '0' end),
           coalesce(bool_or(line.due_at <= now), false)
    into waiters, requests, back_at, is_due
    from line
    where line.place < (select own.place from line as own where own.run_id = queue_ahead.run_id);
end;
$$;
comment on function worker.queue_ahead is
    'Who waits for the same before a run: how many, for how many requests in all, when the last of them is back or given '
    'up, and whether any is due already.';

-- sites/wake
-- Which runs are woken early, when a place at a site is free or its pause is over?
-- Calls: kernel/clock, sites/queue.

create function worker.wake_next(site text, account text) returns void
language plpgsql set search_path = '' as $$
declare
    woken uuid;
begin
    -- Locked by another: it is on its way by itself, or ends.
    select wait.run_id into woken
    from worker.site_queue(wake_next.site, array['', wake_next.account], '{searches}') as line
    join worker.site_waits as wait on wait.run_id = line.run_id and wait.site = wake_next.site
    join public.search_runs as run on run.id = wait.run_id
    where run.status = 'pending' and run.run_after > worker.now()
    order by line.place
    limit 1
    for no key update of run, wait skip locked;

    update public.search_runs as run set run_after = worker.now() where run.id = woken;
    update worker.site_waits as wait
    set waited = greatest(wait.waited - greatest(wait.due_at - worker.now(), '0'), '0'), due_at = worker.now()
    where wait.run_id = woken and wait.site = wake_next.site;
end;
$$;
comment on function worker.wake_next is 'Makes the first run due that waits in the queue for a place to search a site.';

create function worker.search_slot_freed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    perform worker.wake_next(old.site, old.account);
    return null;
end;
$$;
comment on function worker.search_slot_freed is
    'Lets the next run know of a place to search a site, however it got free: also by a cancellation, or a worker''s death.';

create trigger search_slot_freed after delete on worker.site_searches
    for each row execute function worker.search_slot_freed();

create function worker.wake_paused_runs(site text, account text) returns void
language sql volatile set search_path = ''
begin atomic
    with woken as (
        select locked.run_id,
               worker.now() + least(row_number() over (order by locked.place) - 1, 60) * interval '1 second' as due_at
        from (
            select wait.run_id, line.place
            from worker.site_queue(wake_paused_runs.site, array[wake_paused_runs.account], '{paused}') as line
            join worker.site_waits as wait on wait.run_id = line.run_id and wait.site = wake_paused_runs.site
            join public.search_runs as run on run.id = wait.run_id
            where run.status = 'pending' and run.run_after > worker.now()
            for no key update of run, wait skip locked
        ) as locked
    ), waiting as (
        update worker.site_waits as wait
        set waited = greatest(wait.waited - (wait.due_at - woken.due_at), '0'), due_at = woken.due_at
        from woken
        where wait.run_id = woken.run_id and wait.site = wake_paused_runs.site and wait.due_at > woken.due_at
    )
    update public.search_runs as run
    set run_after = woken.due_at
    from woken
    where run.id = woken.run_id and run.run_after > woken.due_at;
end;
comment on function worker.wake_paused_runs is
    'Makes the runs due that wait in the queue for a site which may be searched again: one a second.';

create function worker.breaker_closed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    perform worker.wake_paused_runs(new.site, new.account);
    return null;
end;
$$;
comment on function worker.breaker_closed is 'Makes the runs due that wait for a site whose breaker has closed.';

create trigger breaker_closed after update of paused_until on worker.site_health
    for each row when (old.paused_until is not null and new.paused_until is null)
    execute function worker.breaker_closed();

-- sites/waiting
-- How long does a run wait for a site? Until its turn, and no longer than max_site_wait in all: then the site fails.
-- Calls: kernel/clock, sites/queue.

create function worker.release_search_slot(run_id uuid, site text, account text) returns void
language sql volatile set search_path = ''
begin atomic
    update worker.site_health as health set prober_run_id = null
    where health.prober_run_id = release_search_slot.run_id
      and health.site = release_search_slot.site and health.account = release_search_slot.account;

    delete from worker.site_searches as search
    where search.run_id = release_search_slot.run_id and search.site = release_search_slot.site;
end;
comment on function worker.release_search_slot is 'Frees a run''s place and probe at a site, for the next one.';

create function worker.defer_site(
    run_id uuid, site text, account text, bucket text, requests integer, reason text, message text, error_code text,
    due_at timestamptz, is_guess boolean default false, lets_pass boolean default false
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    now timestamptz := worker.now();
    waiting record := worker.wait_state(defer_site.run_id, defer_site.site);
    left_to_wait interval := (select max_site_wait from worker.settings) - waiting.waited;
    waited interval;
begin
    -- It may be earlier: then nobody fails before having waited.
    if is_guess and left_to_wait > '0' then
        due_at := least(due_at, now + left_to_wait);
    end if;
    waited := waiting.waited + greatest(due_at - now, '0');
    perform worker.release_search_slot(defer_site.run_id, defer_site.site, defer_site.account);
    insert into worker.site_waits as wait (
        run_id, site, account, bucket, requests, waiting_since, due_at, waited, reason, message, lets_pass)
    values (defer_site.run_id, defer_site.site, defer_site.account, defer_site.bucket, defer_site.requests,
            coalesce(waiting.since, now), defer_site.due_at, waited, defer_site.reason, defer_site.message, defer_site.lets_pass)
    on conflict on constraint site_waits_pkey do update set
        account = excluded.account, bucket = excluded.bucket, requests = excluded.requests,
        waiting_since = excluded.waiting_since, due_at = excluded.due_at, waited = excluded.waited,
        reason = excluded.reason, message = excluded.message, lets_pass = excluded.lets_pass;
    -- What was waited stays known until the site ends: asked again, the answer is the same.
    if waited > waiting.waited + left_to_wait then
        return jsonb_build_object('granted', false, 'error_code', error_code, 'message', message);
    end if;
    return jsonb_build_object(
        'granted', false, 'reason', reason, 'message', message, 'until', defer_site.due_at,
        'retry_in_seconds', extract(epoch from greatest(defer_site.due_at - now, '0')));
end;
$$;
comment on function worker.defer_site is
    'Lets a run wait for a site until a time, which may be a guess; or, if that makes it longer than max_site_wait, tells that the site fails '
    'with the code. Returns the answer for the worker.';

-- sites/breaker
-- How long is a site paused? Its circuit breaker opens after some failures in a row, for a time that doubles each time,
-- and closes after a success. A user who fails alone is paused alone. What a site asks for itself is kept.
-- Calls: kernel/clock, kernel/pages, sites/wake, sites/waiting.

create function worker.lock_health(site text, account text) returns worker.site_health
language plpgsql set search_path = '' as $$
declare
    held worker.site_health;
    set_back interval;
begin
    loop
        select * into held from worker.site_health as health
        where health.site = lock_health.site and health.account = lock_health.account
        for no key update;
        exit when found;
        insert into worker.site_health (site, account) values (lock_health.site, lock_health.account)
        on conflict do nothing;
    end loop;

    set_back := worker.clock_set_back_since(held.updated_at);
    if set_back > '0' then
        update worker.site_health as health
        set paused_until = health.paused_until - set_back, updated_at = health.updated_at - set_back
        where health.site = held.site and health.account = held.account
        returning health.* into strict held;
    end if;
    return held;
end;
$$;
comment on function worker.lock_health is
    'Locks the health of a site until the transaction ends. After the clock was set back, what is left of a pause is no '
    'more than it was.';

create function worker.is_site_failure(run_id uuid, site text, error_code text) returns boolean
language sql stable set search_path = ''
begin atomic
    -- A search for what is not there ends as an answer that is hidden behind a captcha does.
    select is_site_failure.error_code <> 'unverified'
        or exists (
            select from public.search_results as result
            where result.run_id = is_site_failure.run_id and result.site = is_site_failure.site)
        or exists (
            select from worker.pages_of_search(is_site_failure.run_id, is_site_failure.site) as page
            where page.status in ('failed', 'partial'));
end;
comment on function worker.is_site_failure is
    'Whether the failure of a search says something of its site. An unverified end does only with a page that says so: with '
    'nothing found and nothing unreadable, it may be what was searched for.';

create function worker.count_failure(
    site text, account text, run_id uuid, rule worker.breaker_rules, out counted integer, out is_counted boolean
)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    now timestamptz := worker.now();
    most integer := case when count_failure.account = '' then rule.failures_per_user else 2147483647 end;
    own worker.site_failures;
begin
    insert into worker.site_failures as known (site, account, user_id, run_ids, failed_at)
    select count_failure.site, count_failure.account, run.user_id, array[run.id], now
    from public.search_runs as run where run.id = count_failure.run_id
    on conflict on constraint site_failures_pkey do update set
        run_ids = (excluded.run_ids || known.run_ids)[1:20], failures = known.failures + 1, failed_at = now
    where count_failure.run_id <> all (known.run_ids)
    returning * into own;
    is_counted := found and own.failures <= most;

    select sum(least(known.failures, most)) into counted
    from worker.site_failures as known
    where known.site = count_failure.site and known.account = count_failure.account;

    -- Who has as many alone as would open the breaker leaves the site alone, and nobody else has to.
    if not is_counted and own.failures >= rule.failures then
        update worker.site_failures as known
        set pause = least(rule.pause * 2 ^ least(own.failures - rule.failures, 20), rule.max_pause),
            paused_by = rule.error_code
        where known.site = own.site and known.account = own.account and known.user_id = own.user_id;
    end if;
end;
$$;
comment on function worker.count_failure is
    'Notes a run that failed at a site: how many count for the breaker now, and whether this one does: not the second '
    'failure of a run, nor another run of a user with failures_per_user. Its caller holds the health of the site.';

create function worker.reset_failures(health worker.site_health) returns void
language plpgsql set search_path = '' as $$
declare
    had_paused boolean;
begin
    with forgotten as (
        delete from worker.site_failures as known
        where known.site = health.site and known.account = health.account
        returning known.pause
    )
    select bool_or(forgotten.pause is not null) into had_paused from forgotten;
    -- Where the breaker closes with it, its trigger wakes them.
    if had_paused and health.paused_until is null then
        perform worker.wake_paused_runs(health.site, health.account);
    end if;
end;
$$;
comment on function worker.reset_failures is
    'Lets the breaker of a site count from the beginning, and ends the pauses of single users: a search of somebody '
    'succeeded.';

create function worker.after_success(health worker.site_health) returns worker.site_health
language plpgsql set search_path = '' as $$
begin
    health.last_success_at := worker.now();
    health.consecutive_failures := 0;
    -- A search that was under way already does not end the pause.
    if health.paused_until is null or health.paused_until <= worker.now() then
        health.paused_until := null;
        health.paused_by := null;
        health.trips := 0;
        health.prober_run_id := null;
    end if;
    return health;
end;
$$;
comment on function worker.after_success is 'The health of a site after a search that succeeded.';

create function worker.after_failure(
    health worker.site_health, run_id uuid, rule worker.breaker_rules, counted integer, is_counted boolean,
    error_code text, retry_after_seconds double precision
) returns worker.site_health
language plpgsql set search_path = '' as $$
declare
    now timestamptz := worker.now();
    is_open boolean := coalesce(health.paused_until > now, false);
    pause interval;
begin
    health.last_failure_at := now;
    health.last_error_code := after_failure.error_code;
    health.consecutive_failures := coalesce(after_failure.counted, health.consecutive_failures);
    -- Of a search that was under way when the breaker opened, the prober decides.
    if is_counted and not is_open and (
        (health.paused_until is null and counted >= rule.failures)
        or (health.paused_until is not null and coalesce(health.prober_run_id = after_failure.run_id, true))
    ) then
        pause := least(rule.pause * 2 ^ health.trips, rule.max_pause);
    end if;
    -- Not for ever, whatever a site says: it is asked again, and may say so again.
    if after_failure.retry_after_seconds > 0 then
        pause := greatest(pause, make_interval(secs => least(after_failure.retry_after_seconds, 86400)));
    end if;
    if pause is not null then
        health.paused_until := greatest(health.paused_until, now + pause);
        health.paused_by := after_failure.error_code;
        health.trips := least(health.trips + case when is_open then 0 else 1 end, 20);
        health.prober_run_id := null;
    end if;
    return health;
end;
$$;
comment on function worker.after_failure is
    'The health of a site after a failure that says something of it: the breaker opens when enough count, again when the '
    'prober''s does, and for as long as the site asks for.';

create function worker.record_site_outcome(
    run_id uuid, site text, account text, error_code text, retry_after_seconds double precision,
    response_ms double precision
) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    health worker.site_health := worker.lock_health(record_site_outcome.site, coalesce(record_site_outcome.account, ''));
    rule worker.breaker_rules;
    counted integer;
    is_counted boolean := false;
begin
    if record_site_outcome.error_code is null then
        health := worker.after_success(health);
        perform worker.reset_failures(health);
    -- What a user got wrong says nothing about the site; what it asked for itself says it all.
    elsif record_site_outcome.error_code not in ('invalid_parameters', 'not_found') and (
        record_site_outcome.retry_after_seconds > 0
        or worker.is_site_failure(record_site_outcome.run_id, record_site_outcome.site, record_site_outcome.error_code)
    ) then
        select * into rule from worker.breaker_rules as known where known.error_code = record_site_outcome.error_code;
        if rule.error_code is not null then
            select failure.* into counted, is_counted
            from worker.count_failure(health.site, health.account, record_site_outcome.run_id, rule) as failure;
        end if;
        health := worker.after_failure(health, record_site_outcome.run_id, rule, counted, is_counted,
                                       record_site_outcome.error_code, record_site_outcome.retry_after_seconds);
    end if;

    update worker.site_health as known
    set last_success_at = health.last_success_at, last_failure_at = health.last_failure_at,
        last_error_code = health.last_error_code, consecutive_failures = health.consecutive_failures,
        paused_until = health.paused_until, paused_by = health.paused_by, trips = health.trips,
        prober_run_id = health.prober_run_id, updated_at = worker.now(),
        success_rate = case
            when record_site_outcome.error_code is null then coalesce(known.success_rate + 0.2 * (1 - known.success_rate), 1)
            when is_counted then coalesce(known.success_rate * 0.8, 0)
            else known.success_rate end,
        response_ms = coalesce(known.response_ms + 0.2 * (record_site_outcome.response_ms - known.response_ms),
                               record_site_outcome.response_ms, known.response_ms)
    where known.site = health.site and known.account = health.account;

    delete from worker.site_waits as wait where wait.run_id = record_site_outcome.run_id and wait.site = record_site_outcome.site;
    perform worker.release_search_slot(record_site_outcome.run_id, record_site_outcome.site, health.account);
end;
$$;
comment on function worker.record_site_outcome is
    'Notes how a search of a site ended, for the breaker and the order of sites, and frees its place. The last thing that '
    'a transaction does: what it locks is everybody''s.';

create function worker.record_good_page(run_id uuid, site text, account text) returns void
language sql volatile set search_path = ''
begin atomic
    update worker.site_searches as search set waiting_since = null, waited = '0', is_within_page = false
    where search.run_id = record_good_page.run_id and search.site = record_good_page.site
      and (search.waiting_since is not null or search.is_within_page);

    with closed as (
        update worker.site_health as health
        set paused_until = null, paused_by = null, trips = 0, consecutive_failures = 0, prober_run_id = null,
            updated_at = worker.now()
        where health.site = record_good_page.site and health.account = coalesce(record_good_page.account, '')
          and health.prober_run_id is not null and health.paused_until <= worker.now()
        returning health.site, health.account
    )
    delete from worker.site_failures as failed using closed
    where failed.site = closed.site and failed.account = closed.account;
end;
comment on function worker.record_good_page is
    'Notes that a run got a good page of a site: its turn is over, its waiting counts anew, and the breaker of a site that '
    'is tried closes.';

-- sites/paused
-- Must a run leave a site alone now? While the breaker is open, and while another run tries a site whose breaker is half
-- open.
-- Calls: kernel/clock, sites/queue, sites/waiting.

create function worker.pause_end(health worker.site_health, run_id uuid) returns timestamptz
language sql stable set search_path = ''
return case
    when health.paused_until > worker.now() then health.paused_until
    -- A prober whose worker has died does not try anything.
    when health.paused_until is not null and health.prober_run_id <> run_id and exists (
        select from worker.leases as lease
        where lease.run_id = health.prober_run_id and lease.expires_at > worker.now()
    ) then worker.now() + interval '30 seconds'
end;
comment on function worker.pause_end is
    'Until when a run must leave a site alone: while its breaker is open, and while another run tries it. Null: it need '
    'not.';

create function worker.defer_if_paused(
    run_id uuid, site text, account text, health worker.site_health
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    pause_end timestamptz := worker.pause_end(defer_if_paused.health, defer_if_paused.run_id);
    waiting record := worker.wait_state(defer_if_paused.run_id, defer_if_paused.site);
    ahead record := worker.queue_ahead(defer_if_paused.site, defer_if_paused.account, '{paused}', waiting.since,
                                          defer_if_paused.run_id);
begin
    if pause_end is null then
        return null;
    end if;
    -- Not all at once: the first to come back tries the site.
    return worker.defer_site(
        defer_if_paused.run_id, defer_if_paused.site, defer_if_paused.account, defer_if_paused.site, 1, 'paused',
        format('site paused until %s (%s)', worker.format_time(pause_end), health.paused_by), health.paused_by,
        pause_end + least(ahead.waiters, 60) * interval '1 second', is_guess => health.paused_until <= worker.now());
end;
$$;
comment on function worker.defer_if_paused is
    'Lets a run wait for a paused site; returns null if it is not paused for this run.';

create function worker.defer_if_user_paused(run_id uuid, site text, account text) returns jsonb
language plpgsql set search_path = '' as $$
declare
    pause record;
    ahead record;
begin
    -- Failures of the future are those from before the clock was set back: they pause nobody.
    select failed.failed_at + failed.pause as until, failed.paused_by into pause
    from worker.site_failures as failed
    join public.search_runs as run on run.user_id = failed.user_id
    where run.id = defer_if_user_paused.run_id and failed.site = defer_if_user_paused.site and failed.account = defer_if_user_paused.account
      and failed.failed_at <= worker.now() and failed.failed_at + failed.pause > worker.now();
    if not found then
        return null;
    end if;
    ahead := worker.queue_ahead(defer_if_user_paused.site, defer_if_user_paused.account, '{paused}',
                                   (worker.wait_state(defer_if_user_paused.run_id, defer_if_user_paused.site)).since, defer_if_user_paused.run_id);
    return worker.defer_site(
        defer_if_user_paused.run_id, defer_if_user_paused.site, defer_if_user_paused.account, defer_if_user_paused.site, 1, 'paused',
        format('site paused for your searches until %s (%s)', worker.format_time(pause.until), pause.paused_by),
        pause.paused_by, pause.until + least(ahead.waiters, 60) * interval '1 second');
end;
$$;
comment on function worker.defer_if_user_paused is
    'Lets a run wait for a site where its user''s searches alone keep failing; returns null if they do not.';

create function worker.start_probe(health worker.site_health, run_id uuid) returns void
language sql volatile set search_path = ''
begin atomic
    update worker.site_health as tried set prober_run_id = start_probe.run_id, updated_at = worker.now()
    where (start_probe.health).paused_until is not null
      and tried.site = (start_probe.health).site and tried.account = (start_probe.health).account
      and tried.prober_run_id is distinct from start_probe.run_id;
end;
comment on function worker.start_probe is 'Lets a run try a site whose breaker is half open, alone.';

-- sites/limits
-- How many requests does a site allow? What the source declares and the site reports, unless the operator has set a limit
-- in worker.bucket_limits.
-- Calls: kernel/clock.

create function worker.effective_limits(bucket text, declared jsonb) returns worker.bucket_limits
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    wrong record;
    allowed worker.bucket_limits;
begin
    if jsonb_typeof(declared) not in ('object', 'null') then
        raise sqlstate '22023' using message = 'limits must be an object';
    end if;
    select told.name, rule.expected into wrong
    from jsonb_each(case jsonb_typeof(declared) when 'object' then declared end) as told (name, value)
    left join (values
        ('requests', 'an integer from 1 to 1000000', '$ ? (@ >= 1 && @ <= 1000000 && @ == @.floor())'::jsonpath),
        ('period_seconds', 'a number above 0, of 2678400 at most', '$ ? (@ > 0 && @ <= 2678400)'),
        ('burst', 'an integer from 1 to 1000000', '$ ? (@ >= 1 && @ <= 1000000 && @ == @.floor())'),
        ('min_delay_seconds', 'a number from 0 to 2678400', '$ ? (@ >= 0 && @ <= 2678400)'),
        ('quota', 'an integer from 1 to 1000000000', '$ ? (@ >= 1 && @ <= 1000000000 && @ == @.floor())'),
        ('quota_period', 'day or month', '$ ? (@ == "day" || @ == "month")'),
        ('quota_timezone', 'the name of a time zone', '$ ? (@.type() == "string")'),
        ('searches', 'an integer from 1 to 1000000', '$ ? (@ >= 1 && @ <= 1000000 && @ == @.floor())'),
        ('searches_per_account', 'an integer from 1 to 1000000',
         '$ ? (@ >= 1 && @ <= 1000000 && @ == @.floor())')
    ) as rule (name, expected, path) on rule.name = told.name
    where rule.name is null
       or (told.value <> 'null' and (jsonb_typeof(told.value) in ('array', 'object')
                                     or not jsonb_path_exists(told.value, rule.path, silent => true)))
    limit 1;
    if found then
        raise sqlstate '22023' using message = coalesce(
            format('limits.%s must be %s', wrong.name, wrong.expected), format('limits.%s is no limit', wrong.name));
    end if;

    select effective_limits.bucket,
           coalesce(own.requests, (declared ->> 'requests')::numeric::integer),
           coalesce(own.period_seconds, (declared ->> 'period_seconds')::double precision, 60),
           coalesce(own.burst, (declared ->> 'burst')::numeric::integer, 1),
           coalesce(own.min_delay_seconds, (declared ->> 'min_delay_seconds')::double precision),
           coalesce(own.quota, (declared ->> 'quota')::numeric::integer),
           coalesce(own.quota_period, declared ->> 'quota_period', 'day'),
           coalesce(own.quota_timezone, declared ->> 'quota_timezone', 'UTC'),
           coalesce(own.searches, (declared ->> 'searches')::numeric::integer),
           coalesce(own.searches_per_account, (declared ->> 'searches_per_account')::numeric::integer)
    into allowed
    from (select) as nothing
    left join worker.bucket_limits as own on own.bucket = effective_limits.bucket;

    allowed.burst := least(allowed.burst, allowed.requests);
    begin
        perform worker.next_quota_reset(allowed.quota_period, allowed.quota_timezone, worker.now());
    exception when invalid_parameter_value then
        raise sqlstate '22023' using
            message = format('limits.quota_timezone must be the name of a time zone, not %L', allowed.quota_timezone);
    end;
    return allowed;
end;
$$;
comment on function worker.effective_limits is
    'What a bucket allows: the operator''s own limits, and else those that a source declares. Raises 22023 (HTTP 400) '
    'for what is none.';

create function worker.next_quota_reset(period text, timezone text, at timestamptz) returns timestamptz
language sql stable set search_path = ''
return (date_trunc(period, at at time zone timezone) + ('1 ' || period)::interval) at time zone timezone;
comment on function worker.next_quota_reset is 'The first midnight of the next calendar day or month in a time zone.';

create function worker.request_interval(allowed worker.bucket_limits) returns interval
language sql stable set search_path = ''
-- At most `burst` at once, and then one at a time, make `requests` within any period. Rounded up: not one too many.
return (
    select make_interval(secs => ceil(
        (allowed.period_seconds + extract(epoch from settings.permit_slack)::double precision)
        / (allowed.requests - allowed.burst + 1) * 1000000) / 1000000)
    from worker.settings as settings
);
comment on function worker.request_interval is 'Time that each request of a bucket takes up; null if there may be any number.';

-- sites/admission
-- May this run search the site now? Not while it is paused, and not while as many searches as it allows are under way.
-- Calls: kernel/clock, sites/queue, sites/wake, sites/waiting, sites/breaker, sites/paused, sites/limits.

create function worker.admit_site(run_id uuid, site text, account text, limits jsonb) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    via text := coalesce(admit_site.account, '');
    allowed worker.bucket_limits;
    health worker.site_health;
    refusal jsonb;
    waiting record;
    gate record;
begin
    if jsonb_typeof(limits) <> 'object' then
        raise sqlstate '22023' using message = 'limits must be an object of limits by bucket';
    end if;
    allowed := worker.effective_limits(admit_site.site, limits -> admit_site.site);

    -- Whoever counts all searches of the site does so alone, whatever the account.
    if allowed.searches is not null then
        perform pg_advisory_xact_lock(hashtextextended('worker.admit_site ' || admit_site.site, 0));
    end if;
    health := worker.lock_health(admit_site.site, via);
    refusal := coalesce(
        worker.defer_if_paused(admit_site.run_id, admit_site.site, via, health),
        worker.defer_if_user_paused(admit_site.run_id, admit_site.site, via));
    if refusal is not null then
        return refusal;
    end if;

    waiting := worker.wait_state(admit_site.run_id, admit_site.site);
    for gate in
        select level.account, level.most, ahead.waiters, ahead.back_at, ahead.is_due, (
            select count(*)
            from worker.site_searches as search
            join worker.leases as lease on lease.run_id = search.run_id
            where search.site = admit_site.site and level.account in ('', search.account)
              and search.run_id <> admit_site.run_id and lease.expires_at > worker.now()
        ) as under_way
        from (values (via, allowed.searches_per_account), ('', allowed.searches)) as level (account, most)
        cross join lateral worker.queue_ahead(
            admit_site.site, level.account, '{searches}', waiting.since, admit_site.run_id) as ahead
        where level.most is not null and not exists (
            select from worker.site_searches as search
            where search.run_id = admit_site.run_id and search.site = admit_site.site)
    loop
        continue when gate.under_way + gate.waiters < gate.most;
        -- A place is free, but for somebody who was told to come back later.
        if gate.under_way < gate.most and not gate.is_due then
            perform worker.wake_next(admit_site.site, gate.account);
        end if;
        -- Who is next is told when a place is free; the time is for when that gets lost.
        return worker.defer_site(
            admit_site.run_id, admit_site.site, gate.account, admit_site.site, 1, 'searches',
            format('%s of %s searches of the site at a time are under way, %s wait before this one',
                   gate.under_way, gate.most, gate.waiters),
            'rate_limited',
            worker.now() + least(interval '30 seconds' * (1 + gate.waiters / gate.most), interval '10 minutes'),
            is_guess => true);
    end loop;

    -- Who waits for a permit waits on until he has it: nobody else may have it before he asks.
    delete from worker.site_waits as wait
    where wait.run_id = admit_site.run_id and wait.site = admit_site.site and wait.reason in ('searches', 'paused');
    insert into worker.site_searches as search (run_id, site, account, waiting_since, waited)
    values (admit_site.run_id, admit_site.site, via, waiting.since, waiting.waited)
    on conflict on constraint site_searches_pkey do update set account = excluded.account;
    perform worker.start_probe(health, admit_site.run_id);
    return jsonb_build_object('granted', true, 'wait_seconds', 0);
end;
$$;
comment on function worker.admit_site is
    'Lets a leased run search a site, or tells it when to come back: {granted, wait_seconds}, {granted, reason, message, '
    'retry_in_seconds, until} or, beyond max_site_wait, {granted, error_code, message}. limits are those that the source '
    'declares, by bucket. Again it takes no second place.';

-- sites/buckets
-- What was taken of a bucket of requests, and when its quota begins again.
-- Calls: kernel/clock, sites/limits.

create function worker.lock_bucket(bucket text, account text) returns worker.site_buckets
language plpgsql set search_path = '' as $$
declare
    held worker.site_buckets;
    set_back interval;
begin
    loop
        select * into held from worker.site_buckets as known
        where known.bucket = lock_bucket.bucket and known.account = lock_bucket.account
        for no key update;
        exit when found;
        insert into worker.site_buckets (bucket, account) values (lock_bucket.bucket, lock_bucket.account)
        on conflict do nothing;
    end loop;

    set_back := worker.clock_set_back_since(held.updated_at);
    if set_back > '0' then
        update worker.site_buckets as known
        set next_at = known.next_at - set_back, last_at = known.last_at - set_back,
            paused_until = known.paused_until - set_back,
            quota_resets_at = case when known.is_reset_told then known.quota_resets_at - set_back
                                   else known.quota_resets_at end,
            updated_at = known.updated_at - set_back
        where known.bucket = held.bucket and known.account = held.account
        returning known.* into strict held;
    end if;
    return held;
end;
$$;
comment on function worker.lock_bucket is
    'Locks a bucket until the transaction ends. After the clock was set back, what is left to wait is no more than it '
    'was.';

create function worker.require_bucket(bucket text, site text) returns void
language plpgsql immutable set search_path = '' as $$
begin
    if bucket is null or (bucket <> site and not starts_with(bucket, site || ':')) then
        raise sqlstate '22023' using
            message = format('bucket must be %L or begin with %L, not %L', site, site || ':', bucket);
    end if;
end;
$$;
comment on function worker.require_bucket is 'Raises 22023 (HTTP 400) unless the bucket is one of the site''s.';

create function worker.begin_quota_period(held worker.site_buckets, allowed worker.bucket_limits, at timestamptz)
returns worker.site_buckets
language plpgsql stable set search_path = '' as $$
begin
    if held.quota_resets_at <= at then
        held.quota_used := 0;
        held.scheduled_used := 0;
        held.quota_period := held.quota_period + 1;
        held.told_left := null;
        held.is_reset_told := false;
        held.quota_resets_at := null;
    end if;
    if allowed.bucket is not null and not held.is_reset_told then
        held.quota_resets_at := least(
            held.quota_resets_at, worker.next_quota_reset(allowed.quota_period, allowed.quota_timezone, at));
    end if;
    return held;
end;
$$;
comment on function worker.begin_quota_period is 'A bucket as it is at a time: with a new quota once the last one is over.';

-- sites/shares
-- How much of a quota may one user take? No more than max_quota_share, and what is reserved for schedules, or from them,
-- is left.
-- Calls: nothing.

create function worker.quota_left(
    held worker.site_buckets, allowed worker.bucket_limits, run_id uuid,
    out requests integer, out most integer, out name text, out lets_pass boolean
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    total integer := coalesce(allowed.quota, held.quota_used + held.told_left);
    settings worker.settings;
    asking record;
    unreserved integer;
begin
    requests := least(allowed.quota - held.quota_used, held.told_left);
    most := allowed.quota;
    name := 'quota of ' || coalesce(format('%s requests a %s', allowed.quota, allowed.quota_period), 'the site');
    lets_pass := false;
    -- What is used through an account is its users' own.
    if total is null or held.account <> '' then
        return;
    end if;
    select * into strict settings from worker.settings;
    select coalesce(share.used, 0) as used, run.source = 'cron' and run.priority < 10 as is_scheduled into strict asking
    from public.search_runs as run
    left join worker.site_shares as share
        on share.bucket = held.bucket and share.user_id = run.user_id and share.quota_period = held.quota_period
    where run.id = quota_left.run_id;

    unreserved := requests - greatest(0, case
        when asking.is_scheduled
            then floor(total * settings.manual_quota_reserve) - (held.quota_used - held.scheduled_used)
        else floor(total * settings.scheduled_quota_reserve) - held.scheduled_used end);
    if unreserved < requests then
        requests := unreserved;
        lets_pass := true;
        name := case when asking.is_scheduled then 'what schedules may take of the '
                     else 'what is not kept for schedules of the ' end || name;
    end if;

    most := greatest(1, floor(total * settings.max_quota_share));
    if most - asking.used < requests then
        requests := most - asking.used;
        lets_pass := most < total;
        name := case when most < total then format('your share of %s of %s requests%s', most, total,
                                                   coalesce(' a ' || allowed.quota_period, ''))
                     else name end;
    end if;
end;
$$;
comment on function worker.quota_left is
    'How much of a quota a run may still take, and at most in a period; null: as much as it likes. Of what all share no '
    'user takes more than max_quota_share, scheduled runs leave manual_quota_reserve to the others, and these leave '
    'scheduled_quota_reserve to them. The name is that of the limit that holds.';

-- sites/permits
-- When may the next request be sent to a site? Within its pace, its delay and its quota, and after those that wait
-- already.
-- Calls: kernel/clock, kernel/run_sites, kernel/lease, sites/queue, sites/waiting, sites/breaker, sites/paused,
--   sites/limits, sites/buckets, sites/shares.

create type worker.permit_slot as (
    starts_at timestamptz, reason text, error_code text, message text, is_ahead_allowed boolean, lets_pass boolean);
comment on type worker.permit_slot is
    'When requests may be sent at the earliest, and what a run that has to wait so long hears: whether a worker may wait '
    'in place, and whether others are served meanwhile.';

create function worker.slot_by_pace(
    held worker.site_buckets, allowed worker.bucket_limits, asked integer, pace interval, delay interval, at timestamptz
) returns worker.permit_slot
language plpgsql stable set search_path = '' as $$
declare
    slot worker.permit_slot;
begin
    slot.starts_at := greatest(at, held.next_at + (asked - allowed.burst) * pace, held.last_at + delay);
    slot.reason := 'rate';
    slot.error_code := 'rate_limited';
    slot.is_ahead_allowed := true;
    slot.lets_pass := false;
    if asked > least(allowed.requests, allowed.quota) then
        slot.starts_at := at + (select settings.max_site_wait from worker.settings as settings) + interval '1 second';
        slot.error_code := case when asked > allowed.requests then 'rate_limited' else 'quota_exceeded' end;
        slot.message := format('%s requests at once are more than %L ever allows', asked, allowed.bucket);
        slot.lets_pass := true;
    elsif held.paused_until > slot.starts_at then
        slot.starts_at := held.paused_until;
        slot.reason := 'paused';
        slot.message := format('site paused until %s (rate_limited)', worker.format_time(slot.starts_at));
    end if;
    return slot;
end;
$$;
comment on function worker.slot_by_pace is 'When a bucket''s pace, its delay and the site''s own pause let requests through.';

create function worker.slot_by_quota(
    slot worker.permit_slot, held worker.site_buckets, allowed worker.bucket_limits, asked integer, run_id uuid, at timestamptz
) returns worker.permit_slot
language plpgsql stable set search_path = '' as $$
declare
    quota record;
begin
    if (allowed.quota is null and held.told_left is null) or asked > least(allowed.requests, allowed.quota) then
        return slot;
    end if;
    quota := worker.quota_left(held, allowed, slot_by_quota.run_id);
    if asked > quota.most then
        slot.starts_at := at + (select settings.max_site_wait from worker.settings as settings) + interval '1 second';
        slot.error_code := 'quota_exceeded';
        slot.message := format('%s requests at once are more than %s ever allows', asked, quota.name);
        slot.lets_pass := true;
        return slot;
    end if;
    -- What would be asked after the reset is not taken from the quota before it.
    if quota.requests < asked or slot.starts_at >= held.quota_resets_at then
        if held.quota_resets_at >= slot.starts_at then
            slot.starts_at := held.quota_resets_at;
            slot.reason := 'quota';
            slot.error_code := 'quota_exceeded';
            slot.message := format('%s is used up until %s', quota.name, worker.format_time(slot.starts_at));
            slot.lets_pass := quota.lets_pass;
        end if;
        slot.is_ahead_allowed := false;
    end if;
    return slot;
end;
$$;
comment on function worker.slot_by_quota is 'When what a run may still take of a bucket''s quota lets its requests through, too.';

create function worker.spend_requests(
    held worker.site_buckets, allowed worker.bucket_limits, run_id uuid, asked integer, starts_at timestamptz,
    pace interval, delay interval, at timestamptz
) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    run record;
begin
    select asking.user_id, asking.source = 'cron' and asking.priority < 10 as is_scheduled into strict run
    from public.search_runs as asking where asking.id = spend_requests.run_id;

    update worker.site_buckets as known
    set next_at = greatest(spend_requests.starts_at, held.next_at) + asked * pace,
        last_at = spend_requests.starts_at + (asked - 1) * delay,
        quota = allowed.quota, quota_used = held.quota_used + asked, quota_resets_at = held.quota_resets_at,
        scheduled_used = held.scheduled_used + case when run.is_scheduled then asked else 0 end,
        quota_period = held.quota_period,
        told_left = held.told_left - asked, is_reset_told = held.is_reset_told, updated_at = at
    where known.bucket = held.bucket and known.account = held.account;

    if held.account = '' then
        insert into worker.site_shares as known (bucket, user_id, used, quota_period, last_at)
        values (held.bucket, run.user_id, asked, held.quota_period, at)
        on conflict on constraint site_shares_pkey do update set
            used = excluded.used + case when known.quota_period = excluded.quota_period then known.used else 0 end,
            quota_period = excluded.quota_period, last_at = excluded.last_at;
    end if;
end;
$$;
comment on function worker.spend_requests is 'Takes requests of a bucket, which its caller holds, for a run and its user.';

create function worker.record_permit(run_id uuid, site text, since timestamptz, waited interval) returns void
language plpgsql set search_path = '' as $$
begin
    delete from worker.site_waits as wait where wait.run_id = record_permit.run_id and wait.site = record_permit.site;
    -- The turn lasts until a page comes of it. In vain, page after page, a site fails.
    update worker.site_searches as search
    set waiting_since = coalesce(record_permit.since, worker.now()), waited = record_permit.waited, is_within_page = true
    where search.run_id = record_permit.run_id and search.site = record_permit.site and not search.is_within_page;
end;
$$;
comment on function worker.record_permit is 'Notes that a run waits no more: it has a permit, and asks for its page.';

create function public.worker_take_permit(
    run_id uuid, lease_token uuid, site text, account text, bucket text, requests integer, limits jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    via text := coalesce(worker_take_permit.account, '');
    asked integer := worker_take_permit.requests;
    settings worker.settings;
    health worker.site_health;
    allowed worker.bucket_limits;
    held worker.site_buckets;
    waiting record;
    ahead record;
    refusal jsonb;
    now timestamptz;
    pace interval;
    delay interval;
    slot worker.permit_slot;
begin
    if asked is null or asked not between 1 and 1000000 then
        raise sqlstate '22023' using message = 'requests must be an integer from 1 to 1000000';
    end if;
    perform worker.lock_lease(worker_take_permit.run_id, lease_token);
    perform worker.require_site(worker_take_permit.run_id, worker_take_permit.site);
    perform worker.require_bucket(worker_take_permit.bucket, worker_take_permit.site);
    waiting := worker.wait_state(worker_take_permit.run_id, worker_take_permit.site);

    select * into health from worker.site_health as known
    where known.site = worker_take_permit.site and known.account = via and known.paused_until is not null;
    if found then
        health := worker.lock_health(worker_take_permit.site, via);
        refusal := worker.defer_if_paused(worker_take_permit.run_id, worker_take_permit.site, via, health);
        if refusal is not null then
            return refusal;
        end if;
    end if;

    held := worker.lock_bucket(worker_take_permit.bucket, via);
    allowed := worker.effective_limits(
        worker_take_permit.bucket,
        coalesce(nullif(limits, 'null'), '{}') || jsonb_strip_nulls(jsonb_build_object('quota', held.told_quota)));
    -- Now that nobody else takes: before, the time could have been that of somebody who came later.
    now := worker.now();
    select * into strict settings from worker.settings;
    pace := worker.request_interval(allowed);
    delay := coalesce(make_interval(secs => nullif(allowed.min_delay_seconds, 0)) + settings.permit_slack, '0');
    held := worker.begin_quota_period(held, allowed, now);
    slot := worker.slot_by_pace(held, allowed, asked, pace, delay, now);
    slot := worker.slot_by_quota(slot, held, allowed, asked, worker_take_permit.run_id, now);

    -- A run that has asked for half a page finishes it before others begin theirs, and waits in place where it can: put off,
    -- each would ask for its first half again and again, in the way of all others.
    ahead := worker.queue_ahead(
        worker_take_permit.bucket, via, '{rate,quota}',
        case when waiting.is_within_page then '-infinity' else waiting.since end, worker_take_permit.run_id);
    if not slot.is_ahead_allowed then
        settings.inline_wait := '0';
    elsif waiting.is_within_page then
        settings.inline_wait := greatest(settings.inline_wait, '1 minute');
    end if;
    if ahead.waiters > 0 or slot.starts_at > now + settings.inline_wait then
        return worker.defer_site(
            worker_take_permit.run_id, worker_take_permit.site, via, worker_take_permit.bucket, asked, slot.reason,
            coalesce(slot.message, case when ahead.waiters > 0 then
                format('asked as often as the site allows: %s wait before this one', ahead.waiters)
                else format('asked as often as the site allows until %s', worker.format_time(slot.starts_at)) end),
            slot.error_code,
            greatest(slot.starts_at + ahead.requests * greatest(pace, delay), ahead.back_at + greatest(pace, delay)),
            lets_pass => slot.lets_pass);
    end if;

    perform worker.spend_requests(held, allowed, worker_take_permit.run_id, asked, slot.starts_at, pace, delay, now);
    perform worker.record_permit(worker_take_permit.run_id, worker_take_permit.site, waiting.since, waiting.waited);
    perform worker.start_probe(health, worker_take_permit.run_id) where health.site is not null;
    return jsonb_build_object('granted', true, 'wait_seconds', extract(epoch from slot.starts_at - now));
end;
$$;
comment on function public.worker_take_permit is
    'Grants requests to a bucket of a site, now or within inline_wait, or tells when to come back: {granted, '
    'wait_seconds}, {granted, reason, message, retry_in_seconds, until} or, beyond max_site_wait, {granted, error_code, '
    'message}. limits are those that the source declares for the bucket. Again it grants once more: what a lost answer '
    'had granted is not asked.';

-- sites/observed_limits
-- What changes when a site reports its limits in an answer?
-- Calls: kernel/clock, kernel/run_sites, kernel/lease, sites/buckets.

create function public.worker_observe_limits(
    run_id uuid, lease_token uuid, site text, account text, bucket text, observed jsonb
) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    wrong record;
    told record;
    held worker.site_buckets;
    now timestamptz;
    resets_at timestamptz;
    is_renewed boolean;
begin
    if jsonb_typeof(observed) is distinct from 'object' then
        raise sqlstate '22023' using message = 'observed must be an object';
    end if;
    select field.name into wrong
    from jsonb_each(observed) as field (name, value)
    where field.name not in ('retry_after_seconds', 'remaining', 'quota', 'resets_in_seconds')
       or case jsonb_typeof(field.value)
              when 'null' then false
              when 'number' then field.value::text::numeric not between 0 and 1e12
              else true end
    limit 1;
    if found then
        raise sqlstate '22023' using message = format(
            'observed.%s must be retry_after_seconds, remaining, quota or resets_in_seconds, and a number from 0 to 1e12',
            wrong.name);
    end if;
    -- A site may say anything: whatever it is, it is asked again after a day, or a month.
    select make_interval(secs => min(bounded.seconds) filter (where bounded.name = 'retry_after_seconds')) as retry_after,
           make_interval(secs => min(bounded.seconds) filter (where bounded.name = 'resets_in_seconds')) as resets_in,
           min(bounded.requests) filter (where bounded.name = 'remaining') as remaining,
           min(bounded.requests) filter (where bounded.name = 'quota') as quota
    into told
    from (
        select field.name, least(field.value::text::numeric, 1000000000)::integer as requests,
               least(field.value::text::double precision,
                     case field.name when 'retry_after_seconds' then 86400 else 2678400 end) as seconds
        from jsonb_each(observed) as field (name, value)
        where field.value <> 'null'
    ) as bounded;

    perform worker.lock_lease(worker_observe_limits.run_id, lease_token);
    perform worker.require_site(worker_observe_limits.run_id, worker_observe_limits.site);
    perform worker.require_bucket(worker_observe_limits.bucket, worker_observe_limits.site);
    held := worker.lock_bucket(worker_observe_limits.bucket, coalesce(worker_observe_limits.account, ''));
    now := worker.now();
    held := worker.begin_quota_period(held, null, now);

    resets_at := now + told.resets_in;
    is_renewed := held.is_reset_told and resets_at > held.quota_resets_at + interval '1 minute';
    -- The site does not know yet of requests that are under way: until it renews its quota, it is believed only what is
    -- less.
    if told.remaining is not null then
        held.told_left := case when is_renewed then told.remaining else least(held.told_left, told.remaining) end;
    end if;
    held.told_quota := coalesce(nullif(told.quota, 0), held.told_quota);
    if is_renewed then
        held.quota_used := 0;
        held.scheduled_used := 0;
        held.quota_period := held.quota_period + 1;
    end if;
    held.quota_used := greatest(held.quota_used, held.told_quota - held.told_left);

    update worker.site_buckets as known
    set paused_until = greatest(known.paused_until, now + told.retry_after), told_quota = held.told_quota,
        told_left = held.told_left, quota_used = held.quota_used, scheduled_used = held.scheduled_used,
        quota_period = held.quota_period,
        quota_resets_at = coalesce(resets_at, held.quota_resets_at),
        is_reset_told = held.is_reset_told or resets_at is not null, updated_at = now
    where known.bucket = held.bucket and known.account = held.account;
end;
$$;
comment on function public.worker_observe_limits is
    'Keeps what a site told of its limits, for all workers: {retry_after_seconds, remaining, quota, resets_in_seconds}, '
    'each of which may be null. Again it changes nothing but by the time that has passed.';

-- runs/progress
-- How far is a run? Counts come from its results and sites, progress never falls, and is written at most once in
-- progress_interval.
-- Calls: kernel/clock, kernel/parameters, kernel/run_sites, kernel/lease.

create function worker.merge_site_progress(former jsonb, told jsonb) returns jsonb
language sql immutable set search_path = ''
return pg_catalog.jsonb_strip_nulls(
    told - 'site' || case
        when former ->> 'step' = told ->> 'step'
            then pg_catalog.jsonb_build_object(
                'current', greatest((former ->> 'current')::numeric, (told ->> 'current')::numeric),
                'total', coalesce(nullif(told -> 'total', 'null'), former -> 'total'))
        else '{}'
    end);
comment on function worker.merge_site_progress is
    'A site''s progress after what its search tells: within a step its current never falls, and its total stays until another '
    'one is told.';

create function worker.run_counts(run_id uuid) returns table (jobs_found bigint, progress_current bigint)
language sql stable set search_path = ''
begin atomic
    select sum(site.jobs_found),
           sum(case when site.completed_at is null then least(site.jobs_found, wanted.results) else wanted.results end)
    from public.search_run_sites as site,
        (select worker.results_wanted(run.kind, run.parameters) as results
         from public.search_runs as run where run.id = run_counts.run_id) as wanted
    where site.run_id = run_counts.run_id;
end;
comment on function worker.run_counts is 'A run''s results, and how far it is, as its sites have them.';

create function worker.write_progress(run_id uuid, progress jsonb) returns void
language sql volatile set search_path = ''
begin atomic
    update public.search_run_sites as site
    set jobs_found = counted.jobs_found, progress = counted.progress
    from (
        select searched.site, coalesce(found.results, 0) as jobs_found,
               -- A site that has ended tells so itself.
               case when searched.site = write_progress.progress ->> 'site' and searched.completed_at is null
                    then worker.merge_site_progress(searched.progress, write_progress.progress)
                    else searched.progress end as progress
        from public.search_run_sites as searched
        left join (
            select result.site, count(*) as results
            from public.search_results as result
            where result.run_id = write_progress.run_id
            group by result.site
        ) as found on found.site = searched.site
        where searched.run_id = write_progress.run_id
    ) as counted
    where site.run_id = write_progress.run_id and site.site = counted.site
      and (site.jobs_found, site.progress) is distinct from (counted.jobs_found, counted.progress);

    update public.search_runs as run
    set jobs_found = counts.jobs_found,
        progress_current = greatest(run.progress_current, counts.progress_current),
        progress = jsonb_strip_nulls(write_progress.progress)
    from worker.run_counts(write_progress.run_id) as counts
    where run.id = write_progress.run_id;
end;
comment on function worker.write_progress is
    'Writes a run''s counts, derived from its results and sites, and the progress {step, site, current, total, details} of the '
    'run and of the site that is searched.';

create function worker.may_write_progress(run_id uuid) returns boolean
language sql stable set search_path = ''
begin atomic
    select run.updated_at <= worker.now() - settings.progress_interval
    from public.search_runs as run, worker.settings as settings
    where run.id = may_write_progress.run_id;
end;
comment on function worker.may_write_progress is 'Whether the last write of a run was not just now.';

create function public.worker_write_progress(run_id uuid, lease_token uuid, progress jsonb) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
    if jsonb_typeof(worker_write_progress.progress -> 'step') is distinct from 'string' then
        raise sqlstate '22023' using message = 'progress must be an object with a step, which is a text';
    end if;
    if jsonb_typeof(worker_write_progress.progress -> 'current') not in ('number', 'null') then
        raise sqlstate '22023' using message = 'progress.current must be a number';
    end if;
    perform worker.lock_lease(worker_write_progress.run_id, lease_token);
    perform worker.require_site(worker_write_progress.run_id, worker_write_progress.progress ->> 'site');
    if worker.may_write_progress(worker_write_progress.run_id) then
        perform worker.write_progress(worker_write_progress.run_id, worker_write_progress.progress);
    end if;
end;
$$;
comment on function public.worker_write_progress is
    'Tells how far a site of a run is, where no page does: progress is {step, site, current, total, details}. Dropped where '
    'progress was written just now (worker.settings.progress_interval).';

-- runs/resume
-- Where does the search of a site continue after an interruption? After the last saved page, if it has a cursor for the
-- same account and no page is missing. Otherwise with the first page.
-- Calls: kernel/pages, sites/accounts.

create function worker.resume_point(run_id uuid, site text)
returns table (cursor jsonb, next_page integer, is_fetched boolean)
language sql stable set search_path = ''
begin atomic
    select case when last.is_fetched then null else last.cursor end, last.page_number + 1, last.is_fetched
    from (
        select page.page_number, page.cursor, page.is_last as is_fetched,
               page.is_last or (page.cursor is not null
                   and page.account = coalesce(worker.account_of(resume_point.run_id, resume_point.site), '')) as goes_on
        from worker.pages_of_search(resume_point.run_id, resume_point.site) as page
        order by page.page_number desc, page.attempt desc
        limit 1
    ) as last
    cross join lateral (
        select bool_or(page.status = 'failed') as is_unreadable, count(distinct page.page_number) as pages
        from worker.pages_of_search(resume_point.run_id, resume_point.site) as page
    ) as saved
    -- Not past a page that could not be read, that was refused, or that is too old to be kept.
    where last.goes_on and not saved.is_unreadable and saved.pages = last.page_number;
end;
comment on function worker.resume_point is
    'After which page the search of a site goes on, or that all of them are there; no row: it begins with the first page. A '
    'cursor is good only for the account that it came through.';

-- runs/release
-- How does a run get back into the queue when its worker stops? At its old place; the attempt is not counted.
-- Calls: kernel/clock, kernel/run_sites.

create function worker.requeue_runs(run_ids uuid[], event text) returns void
language plpgsql set search_path = '' as $$
begin
    insert into public.run_events (run_id, event, data, created_at)
    select lease.run_id, requeue_runs.event, jsonb_build_object('worker_id', lease.worker_id), worker.now()
    from worker.leases as lease
    where lease.run_id = any (run_ids);

    delete from worker.leases as lease where lease.run_id = any (run_ids);

    update public.search_run_sites as site
    set status = 'pending', progress = worker.with_step(site.progress, 'queued'), started_at = null
    where site.run_id = any (run_ids) and site.status = 'running';

    update public.search_runs as run
    set status = 'pending', attempts = run.attempts - 1, progress = jsonb_build_object('step', 'queued')
    where run.id = any (run_ids);
end;
$$;
comment on function worker.requeue_runs is
    'Puts leased runs back to their old place in the queue; the attempt is not counted.';

create function public.worker_release_runs(worker_id text, leases jsonb) returns void
language plpgsql security definer set search_path = '' as $$
declare
    held uuid[];
begin
    perform from public.search_runs as run
    join jsonb_to_recordset(worker_release_runs.leases) as asked (run_id uuid) on asked.run_id = run.id
    order by run.id
    for no key update of run;

    select array_agg(locked.run_id) into held
    from (
        select lease.run_id
        from worker.leases as lease
        join jsonb_to_recordset(worker_release_runs.leases) as asked (run_id uuid, lease_token uuid)
            on asked.run_id = lease.run_id and asked.lease_token = lease.token
        where lease.worker_id = worker_release_runs.worker_id
        order by lease.run_id
        for update of lease
    ) as locked;
    perform worker.requeue_runs(held, 'released');
end;
$$;
comment on function public.worker_release_runs is
    'Gives leased runs [{run_id, lease_token}] back to the queue, for another worker to go on; the attempt is not counted.';

-- runs/cancel
-- What happens to a run that its owner cancels? It ends at once, with what it has found itself until then.
-- Calls: kernel/clock, kernel/run_sites.

create function worker.cancel_run() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if old.completed_at is not null then
        new.cancel_requested_at := old.cancel_requested_at;
    elsif new.cancel_requested_at is not null then
        new.leader_run_id := null;

        update public.search_run_sites as site
        set status = 'skipped', progress = worker.with_step(site.progress, 'cancelled'), completed_at = worker.now(),
            jobs_found = (select count(*) from public.search_results as result
                          where result.run_id = site.run_id and result.site = site.site)
        where site.run_id = old.id and site.completed_at is null;

        insert into public.run_events (run_id, event, data, created_at)
        values (old.id, 'cancelled', jsonb_build_object('status', old.status), worker.now());

        new.cancel_requested_at := worker.now();
        new.status := 'cancelled';
        new.completed_at := worker.now();
        new.run_after := null;
        new.progress := jsonb_build_object('step', 'cancelled');
        new.jobs_found := (select count(*) from public.search_results as result where result.run_id = old.id);
    end if;
    -- Every update is told to all who watch, and to every worker: not what changes nothing.
    return case when new is distinct from old then new end;
end;
$$;
comment on function worker.cancel_run is
    'Ends a run whose owner asks for it, with what it has found itself until then: a follower with nothing. A finished one '
    'stays as it is.';

create trigger cancel_run before update of cancel_requested_at on public.search_runs
    for each row execute function worker.cancel_run();

-- runs/final_status
-- What ends with a run? A final status stays. It ends the lease and all waiting for sites, whoever sets it.
-- Calls: kernel/clock.

-- After cancel_run: triggers fire in the order of their names.
create function worker.enforce_final_status() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if old.completed_at is not null and new.status <> old.status then
        raise sqlstate 'PT409' using
            message = 'run_finished',
            detail = format('Run %s is %s, which is final.', old.id, old.status);
    end if;
    if new.completed_at is not null then
        delete from worker.leases as lease where lease.run_id = new.id;
        delete from worker.site_waits as wait where wait.run_id = new.id;
    end if;
    new.updated_at := worker.now();
    return new;
end;
$$;
comment on function worker.enforce_final_status is 'A final status stays, and ends the lease and all waiting for sites, whoever sets it.';

create trigger enforce_final_status before update on public.search_runs
    for each row execute function worker.enforce_final_status();

-- runs/retry
-- When is a failed run tried again? After a delay that doubles with each attempt, and not before one of its sites is out
-- of its pause.
-- Calls: kernel/clock, kernel/run_sites, sites/accounts.

create function worker.retry_run(run_id uuid, error_code text, error_message text, event_data jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    settings worker.settings;
    failed text[];
    asked_again_at timestamptz;
    next_attempt_at timestamptz;
begin
    select * into strict settings from worker.settings;

    with reopened as (
        update public.search_run_sites as site
        set status = 'pending', progress = worker.with_step(site.progress, 'retrying'), started_at = null,
            completed_at = null
        where site.run_id = retry_run.run_id and site.status in ('partial', 'failed') and site.retryable
        returning site.site, site.position
    )
    -- A pause that is longer than a run waits is not waited for: the site then ends with its cause.
    select array_agg(reopened.site order by reopened.position),
           min(coalesce(health.paused_until, '-infinity'))
    into failed, asked_again_at
    from reopened
    left join worker.site_health as health
        on health.site = reopened.site and health.account = coalesce(worker.account_of(retry_run.run_id, reopened.site), '')
       and health.paused_until <= worker.now() + settings.max_site_wait;

    delete from worker.leases as lease where lease.run_id = retry_run.run_id;

    update public.search_runs as run
    set status = 'pending', error_code = retry_run.error_code, error_message = retry_run.error_message,
        progress = jsonb_build_object('step', 'retrying', 'details', jsonb_build_object('sites', failed)),
        run_after = greatest(asked_again_at, worker.now() + (0.75 + 0.5 * random())
            * least(settings.max_retry_delay, settings.retry_delay * 2 ^ (run.attempts - 1)))
    where run.id = retry_run.run_id
    returning run.run_after into next_attempt_at;

    insert into public.run_events (run_id, event, data, created_at)
    values (retry_run.run_id, 'retried',
            event_data || jsonb_build_object('sites', failed, 'run_after', next_attempt_at), worker.now());
end;
$$;
comment on function worker.retry_run is
    'Puts a run back for another attempt, later, at the sites that failed in a way that may pass: not before one of them is '
    'out of its pause.';

-- runs/defer
-- What happens to a run whose sites all have to wait? It goes back into the queue until the first of them may be asked;
-- the attempt is not counted.
-- Calls: kernel/clock, kernel/run_sites, sharing/equal_searches, sharing/follow, runs/progress.

create function worker.defer_run(run_id uuid, error_code text, error_message text, event_data jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    waiting jsonb;
    first_due_at timestamptz;
    is_telling boolean;
begin
    select jsonb_agg(jsonb_build_object('site', wait.site, 'until', wait.due_at, 'reason', wait.reason,
                                        'message', wait.message) order by site.position),
           greatest(min(wait.due_at), worker.now())
    into strict waiting, first_due_at
    from worker.site_waits as wait
    join public.search_run_sites as site on site.run_id = wait.run_id and site.site = wait.site
    where wait.run_id = defer_run.run_id and site.completed_at is null;

    -- Of many short waits, not each: what thousands follow would be thousands of changes every time.
    is_telling := first_due_at > worker.now() + interval '1 minute' or not exists (
        select from public.run_events as event
        where event.run_id = defer_run.run_id and event.event = 'deferred'
          and event.created_at > worker.now() - interval '1 minute');

    delete from worker.leases as lease where lease.run_id = defer_run.run_id;

    update public.search_run_sites as site
    set status = 'pending', started_at = null, progress = worker.waiting_progress(site.progress, told.wait),
        jobs_found = (select count(*) from public.search_results as result
                      where result.run_id = site.run_id and result.site = site.site)
    from jsonb_array_elements(waiting) as told (wait)
    where site.run_id = defer_run.run_id and site.site = told.wait ->> 'site'
      and (site.status = 'running' or site.progress <> worker.waiting_progress(site.progress, told.wait));

    update public.search_runs as run
    set status = 'pending', attempts = run.attempts - 1, error_code = defer_run.error_code, error_message = defer_run.error_message,
        jobs_found = counts.jobs_found, progress_current = greatest(run.progress_current, counts.progress_current),
        progress = jsonb_build_object('step', 'waiting', 'details', jsonb_build_object('sites', waiting)),
        run_after = first_due_at
    from worker.run_counts(defer_run.run_id) as counts
    where run.id = defer_run.run_id;

    insert into public.run_events (run_id, event, data, created_at)
    values (defer_run.run_id, 'deferred',
            event_data || jsonb_build_object('sites', waiting, 'run_after', first_due_at), worker.now());

    if is_telling then
        perform worker.copy_progress_to_followers(defer_run.run_id);
        -- A run that is joining it now is not seen: the next claim updates it.
        insert into worker.ended_leaders (run_id, fingerprint, tried_at)
        select run.id, run.fingerprint, worker.now() from public.search_runs as run
        where run.id = defer_run.run_id and not worker.lock_fingerprint(run.fingerprint, may_wait => false);
    end if;
end;
$$;
comment on function worker.defer_run is
    'Puts a run back whose unfinished sites all wait, until the first of them may be asked; the attempt is not counted. Its '
    'followers are told of a wait of more than a minute, and at most once a minute of others.';

-- runs/finish
-- How does a run end? success if all sites completed, partial if some did, failed if none did. It is retried or deferred
-- instead, if that may help.
-- Calls: kernel/clock, kernel/lease, runs/retry, runs/defer.

create function worker.finish_run(
    run_id uuid, status public.run_status, error_code text, error_message text, event_data jsonb
) returns void
language plpgsql set search_path = '' as $$
begin
    update public.search_runs as run
    set status = finish_run.status, error_code = finish_run.error_code, error_message = finish_run.error_message,
        progress = jsonb_build_object('step', 'finished'), completed_at = worker.now()
    where run.id = finish_run.run_id;
    insert into public.run_events (run_id, event, data, created_at)
    values (finish_run.run_id, 'finished', event_data || jsonb_build_object('status', finish_run.status), worker.now());
end;
$$;
comment on function worker.finish_run is 'Gives a run its final status, and its followers theirs.';

create function public.worker_finish_run(run_id uuid, lease_token uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    lease_digest text := encode(sha256(convert_to(lease_token::text, 'UTF8')), 'hex');
    event_data jsonb;
    sites record;
begin
    -- The answer to the first call may have got lost, or be under way; by then the lease is gone.
    perform from public.search_runs as run where run.id = worker_finish_run.run_id for no key update;
    if not exists (
        select from public.run_events as event
        where event.run_id = worker_finish_run.run_id and event.event in ('finished', 'retried', 'deferred')
          and event.data ->> 'lease_digest' = lease_digest
    ) then
        perform worker.lock_lease(worker_finish_run.run_id, lease_token);

        select bool_and(site.completed_at is not null) as all_finished,
               bool_and(site.completed_at is not null or wait.site is not null) as others_wait,
               bool_and(site.status = 'completed') as all_completed,
               bool_or(site.status in ('completed', 'partial')) as any_completed,
               bool_or(site.retryable) as any_retryable,
               (array_agg(site.error_code order by site.position)
                    filter (where site.error_code is not null))[1] as error_code,
               string_agg(format('%s: %s', site.site, site.error_message), '; ' order by site.position)
                    filter (where site.error_code is not null) as error_message
        into strict sites
        from public.search_run_sites as site
        left join worker.site_waits as wait on wait.run_id = site.run_id and wait.site = site.site
        where site.run_id = worker_finish_run.run_id;

        if sites.others_wait is not true then
            raise sqlstate '22023' using message = 'run_id must be of a run whose sites are all finished, or wait';
        end if;

        select jsonb_build_object('worker_id', lease.worker_id, 'attempt', run.attempts, 'lease_digest', lease_digest)
        into strict event_data
        from public.search_runs as run join worker.leases as lease on lease.run_id = run.id
        where run.id = worker_finish_run.run_id;

        if not sites.all_finished then
            perform worker.defer_run(worker_finish_run.run_id, sites.error_code, sites.error_message, event_data);
        elsif sites.any_retryable and exists (
            select from public.search_runs as run
            where run.id = worker_finish_run.run_id and run.attempts < run.max_attempts
        ) then
            perform worker.retry_run(worker_finish_run.run_id, sites.error_code, sites.error_message, event_data);
        else
            perform worker.finish_run(
                worker_finish_run.run_id,
                case when sites.all_completed then 'success'
                     when sites.any_completed then 'partial'
                     else 'failed' end::public.run_status,
                sites.error_code, sites.error_message, event_data);
        end if;
    end if;

    return (
        select to_jsonb(run) || jsonb_build_object('sites', (
            select jsonb_agg(to_jsonb(searched) order by searched.position)
            from public.search_run_sites as searched where searched.run_id = run.id))
        from public.search_runs as run where run.id = worker_finish_run.run_id
    );
end;
$$;
comment on function public.worker_finish_run is
    'Ends a run: success if all sites completed, partial if some did, failed if none. It is pending again instead, from '
    'run_after on, while unfinished sites wait for their time, which counts no attempt; or with attempts left, and a site whose '
    'failure may pass. Returns it with its sites; again changes nothing.';

-- runs/rescue
-- What happens to the runs of a worker that died? The next claim puts them back into the queue. After max_rescues they
-- fail as worker_lost.
-- Calls: kernel/clock, kernel/run_sites, runs/progress, runs/release, runs/finish.

create function worker.rescue_expired_leases() returns void
language plpgsql set search_path = '' as $$
declare
    settings worker.settings;
    expired uuid[];
    lost uuid[];
begin
    select * into strict settings from worker.settings;

    select array_agg(locked.id) into expired
    from (
        select run.id
        from worker.leases as lease
        join public.search_runs as run on run.id = lease.run_id
        where lease.expires_at < worker.now()
        order by lease.expires_at
        limit settings.rescue_batch
        for no key update of run skip locked
    ) as locked;

    -- Once more: a heartbeat needs no lock on the run, and may have come in between, or be at it.
    select array_agg(locked.run_id) into expired
    from (
        select lease.run_id from worker.leases as lease
        where lease.run_id = any (expired) and lease.expires_at < worker.now()
        for update skip locked
    ) as locked;
    if expired is null then
        return;
    end if;

    update public.search_runs as run set rescues = run.rescues + 1 where run.id = any (expired);
    perform worker.requeue_runs(expired, 'rescued');

    select array_agg(run.id) into lost
    from public.search_runs as run
    where run.id = any (expired) and run.rescues > settings.max_rescues;

    update public.search_run_sites as site
    set status = case when exists (select from public.search_results as result
                                   where result.run_id = site.run_id and result.site = site.site)
                      then 'partial' else 'failed' end::public.site_status,
        progress = worker.with_step(site.progress, 'finished'), completed_at = worker.now(),
        error_code = 'worker_lost', retryable = false,
        error_message = format('%s workers died with this run', settings.max_rescues + 1)
    where site.run_id = any (lost) and site.completed_at is null;

    perform worker.write_progress(run_id, '{}'),
            worker.finish_run(run_id, 'failed', 'worker_lost',
                          format('%s workers died with this run', settings.max_rescues + 1), '{}')
    from unnest(lost) as run_id;
end;
$$;
comment on function worker.rescue_expired_leases is
    'Takes runs back from workers that stopped their heartbeats, a bounded number at a time.';

-- runs/promote
-- When does a delayed run become ready? Once it is due, unless another run searches for it by then.
-- Calls: kernel/clock, sharing/follow, sharing/answer, sharing/share, enqueue/position.

create function worker.promote_due_runs() returns void
language plpgsql set search_path = '' as $$
declare
    due public.search_runs;
begin
    for due in
        select run.* from public.search_runs as run
        where run.status = 'pending' and run.run_after <= worker.now()
        order by run.run_after
        limit (select rescue_batch from worker.settings)
        for no key update skip locked
    loop
        due.position := worker.next_position(due.user_id, due.priority);
        -- One that has begun never stopped leading.
        if due.started_at is not null then
            due.run_after := null;
        else
            due := worker.share(due, may_wait => false);
        end if;
        continue when due.run_after is not null;

        update public.search_runs as run
        set run_after = null, position = due.position,
            leader_run_id = due.leader_run_id, shared_run_id = due.shared_run_id, status = due.status,
            jobs_found = due.jobs_found, progress_current = due.progress_current, progress = due.progress,
            completed_at = due.completed_at
        where run.id = due.id;
        if due.leader_run_id is not null or due.shared_run_id is not null then
            delete from public.search_run_sites as site where site.run_id = due.id;
        end if;
        if due.leader_run_id is not null then
            perform worker.update_leaders(array[due.id]);
        elsif due.shared_run_id is not null then
            perform worker.write_answered_events(array[due.id]);
        end if;
    end loop;
end;
$$;
comment on function worker.promote_due_runs is
    'Makes delayed runs claimable once they are due, a bounded number at a time, unless another run searches for them.';

-- runs/heartbeat
-- How long does a worker hold a run? As long as it sends heartbeats, each of which extends the lease.
-- Calls: kernel/clock.

create function public.worker_heartbeat(worker_id text, leases jsonb)
returns table (run_id uuid, lease_token uuid, state text)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
    -- In the order of the ids, as a release locks them: the two would wait for each other in a circle.
    with held as materialized (
        select lease.run_id
        from worker.leases as lease
        join jsonb_to_recordset(worker_heartbeat.leases) as asked (run_id uuid, lease_token uuid)
            on asked.run_id = lease.run_id and asked.lease_token = lease.token
        where lease.worker_id = worker_heartbeat.worker_id
        order by lease.run_id
        for no key update of lease
    )
    update worker.leases as lease
    set expires_at = worker.now() + lease.duration
    from held
    where lease.run_id = held.run_id;

    -- A statement of its own: while the first waited for a lease, its run may have finished.
    return query
    select asked.run_id, asked.lease_token, case
        when lease.run_id is not null then 'held'
        when run.status = 'cancelled' then 'cancelled'
        when run.completed_at is not null then 'finished'
        else 'lost'
    end
    from jsonb_to_recordset(worker_heartbeat.leases) as asked (run_id uuid, lease_token uuid)
    left join worker.leases as lease
        on lease.run_id = asked.run_id and lease.token = asked.lease_token
       and lease.worker_id = worker_heartbeat.worker_id
    left join public.search_runs as run on run.id = asked.run_id;
end;
$$;
comment on function public.worker_heartbeat is
    'Extends leases [{run_id, lease_token}] and says of each run whether it is held, lost, cancelled or finished.';

-- runs/running_limit
-- For whom may a ready run start? For its owner, or for a follower, who has less than max_running_per_user runs under way.
-- Calls: nothing.

create function worker.users_with_capacity(run_ids uuid[], full_users uuid[], may_wait boolean)
returns table (run_id uuid, user_id uuid, asked uuid[])
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    most integer := (select max_running_per_user from worker.settings);
    countable uuid[];
    charged uuid[] := array[]::uuid[];
    ready record;
    asking uuid;
begin
    if most is null then
        return query
        select run.id, run.user_id, array[run.user_id] from public.search_runs as run where run.id = any (run_ids);
        return;
    end if;
    -- Counting is safe only while no other claim starts runs of the same users: one after another, in the order of the
    -- ids. Who holds such locks already must not wait for more: two claims would wait for each other in a circle.
    with ready as materialized (
        select distinct run.user_id, hashtextextended('worker.users_with_capacity ' || run.user_id, 0) as key
        from public.search_runs as run
        where run.id = any (run_ids)
        order by run.user_id
    )
    select coalesce(array_agg(ready.user_id), '{}') into countable from ready
    where case when may_wait then pg_advisory_xact_lock(ready.key) is not null
               else pg_try_advisory_xact_lock(ready.key) end;

    for ready in
        select run.id, run.user_id from public.search_runs as run
        where run.id = any (run_ids)
        order by run.priority desc, run.position
    loop
        run_id := ready.id;
        user_id := null;
        asked := array[ready.user_id];
        loop
            foreach asking in array asked loop
                if asking <> all (countable) and asking <> ready.user_id
                   and pg_try_advisory_xact_lock(hashtextextended('worker.users_with_capacity ' || asking, 0)) then
                    countable := countable || asking;
                end if;
                if asking = any (countable) and cardinality(array_positions(charged, asking)) + (
                    select count(*) from worker.leases as lease where lease.user_id = asking
                ) < most then
                    user_id := asking;
                    charged := charged || asking;
                    exit;
                end if;
            end loop;
            exit when user_id is not null or cardinality(asked) > 1;
            asked := asked || array(
                select distinct follower.user_id from public.search_runs as follower
                where follower.leader_run_id = ready.id and follower.user_id <> all (full_users || ready.user_id)
                order by follower.user_id
                limit 10);
            exit when cardinality(asked) = 1;
        end loop;
        return next;
    end loop;
end;
$$;
comment on function worker.users_with_capacity is
    'For each of the ready runs, first come first served, a user for whom it may start without exceeding max_running_per_user: its '
    'owner, else one of those who follow it, up to ten at a time; null if none may. asked are those who were looked at. Unless it may '
    'wait, users whom another claim is counting have no room.';

-- runs/claim
-- Which runs does a worker get? The ready ones of its kinds, by priority and position. Before that it takes back the runs
-- of dead workers, settles followers, and promotes runs that are due.
-- Calls: kernel/clock, sharing/leader_ended, sites/accounts, sites/rank, runs/resume, runs/rescue, runs/promote,
--   runs/heartbeat, runs/running_limit.

create function worker.sites_to_search(run_id uuid, seed uuid) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
    return (
        select coalesce(jsonb_agg(jsonb_build_object(
            'site', site.site, 'attempt', site.attempts + 1,
            'account', worker.account_of(site.run_id, site.site),
            'cursor', point.cursor, 'next_page', coalesce(point.next_page, 1),
            'is_fetched', coalesce(point.is_fetched, false)
        ) order by ranked.rank), '[]')
        from public.search_run_sites as site
        join worker.rank_sites(sites_to_search.run_id, seed) as ranked on ranked.site = site.site
        -- Not looked for where nothing was asked yet, as on most sites of most claims.
        left join lateral (
            select known.* from worker.resume_point(site.run_id, site.site) as known where site.attempts > 0
        ) as point on true
        where site.run_id = sites_to_search.run_id and site.completed_at is null
    );
end;
$$;
comment on function worker.sites_to_search is
    'The unfinished sites of a run as a worker gets them, in the order of worker.rank_sites; the same for the same seed.';

create function worker.start_runs(
    run_ids uuid[], payers uuid[], worker_id text, claim_id uuid, duration interval
) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
begin
    with claimed as (
        update public.search_runs as run
        set status = 'running', attempts = run.attempts + 1, error_code = null, error_message = null,
            started_at = coalesce(run.started_at, worker.now()),
            progress = jsonb_build_object('step', 'starting')
        where run.id = any (start_runs.run_ids)
        returning run.id, run.attempts
    ), leased as (
        insert into worker.leases (run_id, worker_id, claim_id, duration, expires_at, user_id)
        select claimed.id, start_runs.worker_id, start_runs.claim_id, start_runs.duration,
               worker.now() + start_runs.duration, paying.user_id
        from claimed
        join unnest(start_runs.run_ids, start_runs.payers) as paying (run_id, user_id) on paying.run_id = claimed.id
        returning leases.run_id, leases.token
    )
    insert into public.run_events (run_id, event, data, created_at)
    select leased.run_id, 'claimed',
           jsonb_build_object('worker_id', start_runs.worker_id, 'attempt', claimed.attempts, 'sites', (
               select jsonb_agg(ranked.site order by ranked.rank)
               from worker.rank_sites(leased.run_id, leased.token) as ranked)),
           worker.now()
    from leased join claimed on claimed.id = leased.run_id;
end;
$$;
comment on function worker.start_runs is
    'Leases ready runs, which are locked, to a worker. Each counts for the max_running_per_user of its payer.';

create function public.worker_claim_runs(
    worker_id text, kinds text[], slots integer, lease_seconds integer, claim_id uuid, held jsonb
) returns table (
    run_id uuid, lease_token uuid, kind text, parameters jsonb, newer_than timestamptz, attempt integer,
    max_attempts integer, sites jsonb
)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    free_slots integer := slots;
    ready uuid[];
    startable uuid[];
    payers uuid[];
    full_users uuid[];
    passed uuid[] := array[]::uuid[];
begin
    if slots is null or slots not between 1 and 100 then
        raise sqlstate '22023' using message = 'slots must be an integer from 1 to 100';
    end if;
    if lease_seconds is null or lease_seconds not between 5 and 3600 then
        raise sqlstate '22023' using message = 'lease_seconds must be an integer from 5 to 3600';
    end if;

    -- A retried claim may overtake the first, whose answer got lost on the way.
    perform pg_advisory_xact_lock(hashtextextended(worker_claim_runs.claim_id::text, 0));

    update worker.leases as lease set expires_at = worker.now() + lease.duration
    where lease.claim_id = worker_claim_runs.claim_id;
    if not found then
        -- Before the rescue: after an outage, the first to come back would take its own runs for a dead worker's.
        perform public.worker_heartbeat(worker_claim_runs.worker_id, worker_claim_runs.held);
        perform worker.rescue_expired_leases();
        perform worker.settle_ended_leaders();
        perform worker.promote_due_runs();

        -- A user who reaches max_running_per_user leaves the other slots to the next ones; and to those who follow him.
        loop
            full_users := passed || array(
                select lease.user_id from worker.leases as lease
                group by lease.user_id
                having count(*) >= (select max_running_per_user from worker.settings));
            select array_agg(locked.id) into ready
            from (
                select run.id from public.search_runs as run
                where run.status = 'pending' and run.run_after is null and run.leader_run_id is null
                  and run.kind = any (worker_claim_runs.kinds)
                  -- Not exists: that may be planned to read everybody's followers.
                  and (run.user_id <> all (full_users)
                       or (select true from public.search_runs as follower
                           where follower.leader_run_id = run.id and follower.user_id <> all (full_users)
                           order by follower.user_id
                           limit 1))
                order by run.priority desc, run.position
                limit free_slots
                for no key update skip locked
            ) as locked;
            exit when ready is null;

            -- Not within the update: there it would be called for each run of the table, and count what it just started.
            with room as materialized (
                select known.* from worker.users_with_capacity(ready, full_users, may_wait => passed = '{}') as known
            )
            select array(select room.run_id from room where room.user_id is not null order by room.run_id),
                   array(select room.user_id from room where room.user_id is not null order by room.run_id),
                   passed || array(select unnest(room.asked) from room where room.user_id is null)
            into startable, payers, passed;

            perform worker.start_runs(startable, payers, worker_claim_runs.worker_id, worker_claim_runs.claim_id,
                                      make_interval(secs => lease_seconds));
            exit when startable @> ready;
            free_slots := free_slots - cardinality(startable);
        end loop;
    end if;

    return query
    select run.id, lease.token, run.kind, run.parameters, run.newer_than, run.attempts::integer,
           run.max_attempts::integer, worker.sites_to_search(run.id, lease.token)
    from worker.leases as lease
    join public.search_runs as run on run.id = lease.run_id
    where lease.claim_id = worker_claim_runs.claim_id
    order by run.priority desc, run.position;
end;
$$;
comment on function public.worker_claim_runs is
    'Leases up to `slots` ready runs of the given kinds, and extends the leases [{run_id, lease_token}] that are held. '
    'The same claim_id again returns the same runs. sites are those that are not finished, the best first: {site, attempt, '
    'account, cursor, next_page, is_fetched}: where a search that has saved pages goes on, or that nothing is left to fetch.';

-- runs/start_site
-- When does the search of a site begin? When the site is admitted; a site whose pages are all there needs no admission.
-- Calls: kernel/clock, kernel/run_sites, kernel/lease, sites/admission, runs/progress, runs/resume.

create function public.worker_start_site(
    run_id uuid, lease_token uuid, site text, attempt integer, account text default null, limits jsonb default '{}'
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    searched public.search_run_sites;
    admission jsonb := jsonb_build_object('granted', true, 'wait_seconds', 0);
begin
    perform worker.lock_lease(worker_start_site.run_id, lease_token);
    perform worker.require_site(worker_start_site.run_id, worker_start_site.site);
    select * into strict searched from public.search_run_sites as asked
    where asked.run_id = worker_start_site.run_id and asked.site = worker_start_site.site;

    -- What is there already has to wait for nobody.
    if searched.completed_at is null and not exists (
        select from worker.resume_point(searched.run_id, searched.site) as point where point.is_fetched
    ) then
        admission := worker.admit_site(searched.run_id, searched.site, coalesce(worker_start_site.account, ''),
                                       coalesce(worker_start_site.limits, '{}'));
    end if;
    if not (admission ->> 'granted')::boolean then
        update public.search_run_sites as refused
        set progress = worker.waiting_progress(refused.progress, admission)
        where refused.run_id = searched.run_id and refused.site = searched.site and admission ? 'until'
          and refused.progress <> worker.waiting_progress(refused.progress, admission);
    end if;
    if searched.status <> 'pending' or not (admission ->> 'granted')::boolean then
        return admission;
    end if;

    update public.search_run_sites as started
    set status = 'running', attempts = worker_start_site.attempt, started_at = worker.now(),
        progress = worker.with_step(started.progress, 'searching'),
        error_code = null, error_message = null, retryable = null
    where started.run_id = searched.run_id and started.site = searched.site;
    perform worker.write_progress(searched.run_id, jsonb_build_object('step', 'searching', 'site', searched.site));
    insert into public.run_events (run_id, event, site, data, created_at)
    values (searched.run_id, 'site_started', searched.site,
            jsonb_build_object('attempt', worker_start_site.attempt), worker.now());
    return admission;
end;
$$;
comment on function public.worker_start_site is
    'Marks a site of a run as being searched, if it may be: within `limits` ({bucket: limits of worker.model.SiteLimits}) and '
    'unless it is paused. Returns {granted: true, wait_seconds}; {granted: false, reason, message, retry_in_seconds, until}, '
    'when to ask again; or {granted: false, error_code, message}, which the site has to end with. Again changes nothing.';

-- runs/finish_site
-- How does the search of a site end? completed without an error, partial if results came before it, failed if none did.
-- Calls: kernel/clock, kernel/run_sites, kernel/lease, kernel/pages, sharing/follow, sites/breaker, runs/progress.

create function public.worker_finish_site(
    run_id uuid, lease_token uuid, site text, account text default null,
    error_code text default null, error_message text default null, retryable boolean default null,
    retry_after_seconds double precision default null
) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    found_here integer;
    was_asked boolean;
    response_ms real;
    outcome public.site_status;
begin
    perform worker.lock_lease(worker_finish_site.run_id, lease_token);
    perform worker.require_site(worker_finish_site.run_id, worker_finish_site.site);

    if worker_finish_site.error_code is null then
        select 'unverified', true, format('%s of %s pages could not be read; they are kept, to be read anew',
                                          count(*) filter (where page.status = 'failed'), count(*))
        into worker_finish_site.error_code, worker_finish_site.retryable, worker_finish_site.error_message
        from worker.pages_of_search(worker_finish_site.run_id, worker_finish_site.site) as page
        having bool_or(page.status = 'failed');
    end if;

    -- One that was refused was not asked, and says nothing of itself; nor does one that was waited for in vain, nor one
    -- whose last page was there before.
    select searched.status = 'running' and not exists (
               select from worker.site_waits as wait, worker.settings as settings
               where wait.run_id = searched.run_id and wait.site = searched.site and wait.waited > settings.max_site_wait
           ) and (
               worker_finish_site.error_code is not null or count(*) filter (where page.attempt = searched.attempts) > 0
               or not coalesce(bool_or(page.is_last), false)),
           avg(page.response_ms) filter (where page.attempt = searched.attempts)
    into was_asked, response_ms
    from public.search_run_sites as searched
    left join worker.pages_of_search(worker_finish_site.run_id, worker_finish_site.site) as page on true
    where searched.run_id = worker_finish_site.run_id and searched.site = worker_finish_site.site
    group by searched.id;

    select count(*) into found_here from public.search_results as result
    where result.run_id = worker_finish_site.run_id and result.site = worker_finish_site.site;
    outcome := case when worker_finish_site.error_code is null then 'completed'
                    when found_here > 0 then 'partial'
                    else 'failed' end::public.site_status;

    -- Status and count in one write: each one is an event to every subscriber.
    update public.search_run_sites as finished
    set status = outcome, jobs_found = found_here, error_code = worker_finish_site.error_code,
        error_message = worker_finish_site.error_message,
        retryable = case when worker_finish_site.error_code is not null then worker_finish_site.retryable end,
        -- Of a completed site jobs_found tells it all; the last progress may be a second old.
        progress = case outcome when 'completed' then '{"step": "finished"}'
                                else worker.with_step(finished.progress, 'finished') end,
        completed_at = worker.now()
    where finished.run_id = worker_finish_site.run_id and finished.site = worker_finish_site.site
      and finished.completed_at is null;
    if not found then
        return;
    end if;

    perform worker.write_progress(worker_finish_site.run_id,
        jsonb_build_object('step', 'site_finished', 'site', worker_finish_site.site));
    perform worker.copy_progress_to_followers(worker_finish_site.run_id);

    insert into public.run_events (run_id, event, site, data, created_at)
    values (worker_finish_site.run_id, 'site_finished', worker_finish_site.site, jsonb_strip_nulls(jsonb_build_object(
        'status', outcome, 'error_code', worker_finish_site.error_code)), worker.now());

    delete from worker.site_waits as wait
    where wait.run_id = worker_finish_site.run_id and wait.site = worker_finish_site.site;
    if was_asked then
        perform worker.record_site_outcome(worker_finish_site.run_id, worker_finish_site.site,
                                     coalesce(worker_finish_site.account, ''), worker_finish_site.error_code,
                                     worker_finish_site.retry_after_seconds, response_ms);
    end if;
end;
$$;
comment on function public.worker_finish_site is
    'Ends a site: completed without an error, partial if results came before it, failed if none did. A page that could '
    'not be read is an error, too: unverified. retry_after_seconds is how long the site asked to be left alone. Again changes '
    'nothing.';

-- pages/alerts
-- When does the operator get an alert about a run's site? Once for each problem.
-- Calls: kernel/clock, kernel/run_sites, kernel/lease.

create function worker.write_alert(run_id uuid, site text, data jsonb) returns void
language sql volatile set search_path = ''
begin atomic
    insert into public.run_events (run_id, event, site, data, created_at)
    select write_alert.run_id, 'alert', write_alert.site, write_alert.data, worker.now()
    where not exists (
        select from public.run_events as written
        where written.run_id = write_alert.run_id and written.event = 'alert' and written.site = write_alert.site
          and written.data = write_alert.data);
end;
comment on function worker.write_alert is 'Writes an alert of a run''s site, once.';

create function public.worker_write_alert(run_id uuid, lease_token uuid, site text, data jsonb) returns void
language plpgsql security definer set search_path = '' as $$
begin
    if jsonb_typeof(data -> 'reason') is distinct from 'string' then
        raise sqlstate '22023' using message = 'data must be an object with a reason';
    end if;
    perform worker.lock_lease(worker_write_alert.run_id, lease_token);
    perform worker.require_site(worker_write_alert.run_id, worker_write_alert.site);
    perform worker.write_alert(worker_write_alert.run_id, worker_write_alert.site, data);
end;
$$;
comment on function public.worker_write_alert is
    'Tells whoever looks after the worker what happened to a site of a run: data is {reason, ...}. The same again is '
    'written once.';

-- pages/merge
-- Are two items the same thing? With equal keys they are, unless somebody has split them. The oldest item of a group
-- stands for it.
-- Calls: nothing.

create function worker.lock_groups(kind text, owner_id uuid) returns void
language sql volatile set search_path = ''
return pg_advisory_xact_lock(hashtextextended(
    'worker.lock_groups ' || lock_groups.kind || ' ' || coalesce(lock_groups.owner_id::text, ''), 0));
comment on function worker.lock_groups is
    'Locks the items of a kind and owner until the transaction ends. Before it nobody locks an item that others can see, '
    'so that nobody waits in a circle.';

create function worker.merge_groups(item_ids uuid[], other_ids uuid[]) returns integer
language plpgsql set search_path = '' as $$
declare
    merged integer := 0;
    merged_now integer;
begin
    if cardinality(item_ids) > 0 then
        -- Each group joins the oldest that it may. One that is joined meanwhile is looked at again in the next round.
        loop
            with pair as (
                select distinct case when item.duplicate_of is null then item.id else item.duplicate_of end as item_id,
                                case when other.duplicate_of is null then other.id else other.duplicate_of end as other_id
                from unnest(merge_groups.item_ids, merge_groups.other_ids) as given (item_id, other_id)
                join public.items as item on item.id = given.item_id
                join public.items as other on other.id = given.other_id
            ), candidate as materialized (
                select younger.id as younger_id, older.id as older_id, older.from_named_board, older.first_seen_at
                from (select item_id, other_id from pair union select other_id, item_id from pair) as given
                join public.items as younger on younger.id = given.item_id
                join public.items as older on older.id = given.other_id
                where (older.from_named_board, older.first_seen_at, older.id)
                    < (younger.from_named_board, younger.first_seen_at, younger.id)
            ), member as materialized (
                select root.id, root.id as root_id
                from (select younger_id from candidate union select older_id from candidate) as root (id)
                union all
                select item.id, item.duplicate_of
                from (select younger_id from candidate union select older_id from candidate) as root (id)
                join public.items as item on item.duplicate_of = root.id
            ), apart as materialized (
                select member.root_id, other.root_id as other_root_id
                from member
                join worker.kept_apart as kept on kept.item_id = member.id
                join member as other on other.id = kept.other_id
                union
                select other.root_id, member.root_id
                from member
                join worker.kept_apart as kept on kept.item_id = member.id
                join member as other on other.id = kept.other_id
            ), choice as materialized (
                select distinct on (candidate.younger_id) candidate.younger_id, candidate.older_id
                from candidate
                where not exists (
                    select from apart
                    where apart.root_id = candidate.younger_id and apart.other_root_id = candidate.older_id)
                order by candidate.younger_id, candidate.from_named_board, candidate.first_seen_at, candidate.older_id
            ), joining as materialized (
                select choice.younger_id, choice.older_id
                from choice
                where not exists (select from choice as moving where moving.younger_id = choice.older_id)
                  -- Of two that are kept apart from each other, one.
                  and not exists (
                      select from choice as rival
                      join apart on apart.root_id = rival.younger_id
                      where rival.older_id = choice.older_id and rival.younger_id < choice.younger_id
                        and apart.other_root_id = choice.younger_id)
            ), moved as (
                update public.items as item
                set duplicate_of = joining.older_id
                from joining join member on member.root_id = joining.younger_id
                where item.id = member.id
            )
            select count(*) into merged_now from joining;
            exit when merged_now = 0;
            merged := merged + merged_now;
        end loop;
    end if;
    return merged;
end;
$$;
comment on function worker.merge_groups is
    'Makes one group of those of each item and its other, unless any two of their items are kept apart. Returns how many '
    'groups there are less.';

create function worker.match_items(item_ids uuid[]) returns void
language plpgsql set search_path = '' as $$
declare
    matches record;
begin
    select array_agg(matched.item_id) as item_ids, array_agg(matched.other_id) as other_ids into matches
    from (
        -- Its group, and not each of that: thousands may have one key, and a page a hundred more.
        select distinct item.id as item_id,
                        case when other.duplicate_of is null then other.id else other.duplicate_of end as other_id
        from public.items as item
        join public.items as other
            on other.apply_key = item.apply_key and other.kind = item.kind and other.owner_id is not distinct from item.owner_id
        where item.id = any (match_items.item_ids) and other.id <> item.id
    ) as matched;
    perform worker.merge_groups(matches.item_ids, matches.other_ids);

    select array_agg(matched.item_id) as item_ids, array_agg(matched.other_id) as other_ids into matches
    from (
        select distinct item.id as item_id,
                        case when other.duplicate_of is null then other.id else other.duplicate_of end as other_id
        from public.items as item
        join public.items as other
            on other.match_key = item.match_key and other.kind = item.kind and other.owner_id is not distinct from item.owner_id
        where item.id = any (match_items.item_ids) and other.id <> item.id
          -- Two postings on one employer's site are two jobs; on a job board one may be posted twice (name_two_postings).
          and not coalesce(
              item.apply_key <> other.apply_key
              and split_part(item.apply_key, '/', 1) = split_part(other.apply_key, '/', 1)
              and split_part(item.apply_key, '/', 1) not in ('linkedin.com', 'indeed.com'), false)
    ) as matched;
    perform worker.merge_groups(matches.item_ids, matches.other_ids);
end;
$$;
comment on function worker.match_items is
    'Puts items into the groups of those with the same apply_key, then of those with the same match_key, within their kind '
    'and owner. A group stays one when its keys change.';

create function worker.order_groups(item_ids uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    with root as (
        select distinct case when item.duplicate_of is null then item.id else item.duplicate_of end as id
        from public.items as item
        where item.id = any (order_groups.item_ids)
    ), member as (
        select item.id, root.id as root_id, item.from_named_board, item.first_seen_at
        from root join public.items as item on item.id = root.id
        union all
        select item.id, root.id, item.from_named_board, item.first_seen_at
        from root join public.items as item on item.duplicate_of = root.id
    ), oldest as (
        select distinct on (member.root_id) member.root_id, member.id
        from member
        order by member.root_id, member.from_named_board, member.first_seen_at, member.id
    )
    update public.items as item
    set duplicate_of = nullif(oldest.id, item.id)
    from oldest join member on member.root_id = oldest.root_id
    where item.id = member.id and oldest.id <> oldest.root_id;
end;
comment on function worker.order_groups is 'Makes the oldest of each item''s group the one that the others point at.';

create function public.worker_merge_items(pairs jsonb) returns integer
language plpgsql security definer set search_path = '' as $$
declare
    given record;
begin
    select array_agg(item.id) as item_ids, array_agg(other.id) as other_ids,
           bool_and(item.kind = other.kind and item.owner_id is not distinct from other.owner_id) as are_comparable
    into given
    from jsonb_to_recordset(worker_merge_items.pairs) as pair (item_id uuid, other_id uuid)
    join public.items as item on item.id = pair.item_id
    join public.items as other on other.id = pair.other_id;
    if not given.are_comparable then
        raise sqlstate '22023' using message = 'pairs must each be of items of one kind and owner';
    end if;

    perform worker.lock_groups(locked.kind, locked.owner_id)
    from (
        select distinct item.kind, item.owner_id from public.items as item
        where item.id = any (given.item_ids)
        order by item.kind, item.owner_id
    ) as locked;
    return worker.merge_groups(given.item_ids, given.other_ids);
end;
$$;
comment on function public.worker_merge_items is
    'Takes the items of each pair {item_id, other_id} for the same thing, with all that are so already, unless any two of '
    'them were split. Returns how many things there are less; again merges nothing.';

-- pages/split
-- What happens when somebody splits an item from its group? It is a thing of its own, and is never merged with the others
-- again.
-- Calls: pages/merge.

create function public.worker_split_item(item_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    item record;
begin
    select known.kind, known.owner_id into item from public.items as known where known.id = worker_split_item.item_id;
    if not found then
        raise sqlstate 'PT404' using message = 'item_id must be of an item';
    end if;
    perform worker.lock_groups(item.kind, item.owner_id);

    insert into worker.kept_apart (item_id, other_id)
    select least(other.id, worker_split_item.item_id), greatest(other.id, worker_split_item.item_id)
    from public.items as split
    join public.items as other on other.id = split.duplicate_of or other.duplicate_of in (split.id, split.duplicate_of)
    where split.id = worker_split_item.item_id and other.id <> split.id
    on conflict do nothing;

    update public.items as other
    set duplicate_of = nullif(oldest.id, other.id)
    from (
        select follower.id from public.items as follower
        where follower.duplicate_of = worker_split_item.item_id
        order by follower.from_named_board, follower.first_seen_at, follower.id
        limit 1
    ) as oldest
    where other.duplicate_of = worker_split_item.item_id;
    update public.items as split set duplicate_of = null
    where split.id = worker_split_item.item_id and split.duplicate_of is not null;
end;
$$;
comment on function public.worker_split_item is
    'Takes an item for a thing of its own again, and remembers that it is none of the others of its group. Again changes '
    'nothing.';

-- pages/items
-- What becomes of the items of a page? They are written as items, sightings and results. A field that the site does not
-- report keeps its value.
-- Calls: kernel/clock, pages/merge.

create type worker.page_item as (
    external_id text, position integer, title text, organization text, location text, is_remote boolean,
    posted_at timestamptz, salary_min numeric, salary_max numeric, salary_interval text, currency text, url text,
    apply_url text, description text, city text, region text, country text, work_mode text, job_types text[],
    salary_yearly_min numeric, salary_yearly_max numeric, skills text[], experience_years smallint, data jsonb,
    apply_key text, match_key text, organization_key text
);
comment on type worker.page_item is
    'An item of a page, as the worker sends it: position is its place on the page, from 1.';

create type worker.load_result as (results integer, things integer);
comment on type worker.load_result is
    'Results that a page brought to its run; and things on it that no earlier run of the same search had.';

create function worker.load_items(
    run_id uuid, kind text, owner_id uuid, site text, page_number integer, seen_at timestamptz,
    fingerprint text, items jsonb
) returns worker.load_result
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    inserted uuid[];
    shown uuid[];
    results integer;
    unmatched uuid[];
    reworded uuid[];
    older uuid[];
    -- Whoever asks only for what is newer was shown what earlier runs had. Those since then were others'.
    known_before timestamptz := coalesce(
        (select run.newer_than + interval '1 hour' from public.search_runs as run where run.id = load_items.run_id),
        'infinity');
begin
    -- In key order, so that two pages with the same things never wait for each other in a circle.
    with found as (
        select distinct on (found.external_id) found.*, load_items.site || ':' || found.external_id as canonical_key
        from jsonb_populate_recordset(null::worker.page_item, load_items.items) as found
        order by found.external_id, found.position
    ), written as (
        insert into public.items (
            kind, owner_id, title, organization, location, is_remote, posted_at, salary_min, salary_max,
            salary_interval, currency, url, apply_url, description, city, region, country, work_mode, job_types,
            salary_yearly_min, salary_yearly_max, skills, experience_years, data, canonical_key, apply_key, match_key,
            organization_key, from_named_board, first_seen_at, last_seen_at)
        select load_items.kind, load_items.owner_id, found.title, found.organization, found.location, found.is_remote,
               found.posted_at, found.salary_min, found.salary_max, found.salary_interval, found.currency, found.url,
               found.apply_url, found.description, found.city, found.region, found.country, found.work_mode,
               coalesce(found.job_types, '{}'), found.salary_yearly_min, found.salary_yearly_max,
               coalesce(found.skills, '{}'), found.experience_years, coalesce(found.data, '{}'), found.canonical_key,
               found.apply_key, found.match_key, found.organization_key,
               exists (select from worker.parameter_rules as rule
                       where rule.kind = load_items.kind and rule.names_boards_of = load_items.site),
               load_items.seen_at, load_items.seen_at
        from found
        where not exists (
            select from public.items as known
            where known.canonical_key = found.canonical_key and known.kind = load_items.kind
              and known.owner_id is not distinct from load_items.owner_id)
        order by found.canonical_key
        on conflict on constraint items_canonical_key do nothing
        returning id, apply_key, match_key
    )
    select coalesce(array_agg(written.id), '{}'),
           array_agg(written.id) filter (where written.apply_key is not null or written.match_key is not null)
    into inserted, unmatched
    from written;

    with found as (
        select distinct on (found.external_id) item.id as item_id, found.*
        from jsonb_to_recordset(load_items.items) as found (external_id text, position integer, url text)
        join public.items as item
            on item.canonical_key = load_items.site || ':' || found.external_id and item.kind = load_items.kind
           and item.owner_id is not distinct from load_items.owner_id
        order by found.external_id, found.position
    ), sighted as (
        insert into public.item_sources as sighting (
            site, external_id, item_id, owner_id, url, first_seen_at, last_seen_at)
        select load_items.site, found.external_id, found.item_id, load_items.owner_id, found.url, load_items.seen_at,
               load_items.seen_at
        from found
        order by found.external_id
        on conflict on constraint item_sources_external_id do update set
            url = case when excluded.last_seen_at >= sighting.last_seen_at then excluded.url else sighting.url end,
            first_seen_at = least(excluded.first_seen_at, sighting.first_seen_at),
            last_seen_at = greatest(excluded.last_seen_at, sighting.last_seen_at)
    ), written as (
        insert into public.search_results (run_id, item_id, site, page_number, position, created_at)
        select load_items.run_id, found.item_id, load_items.site, load_items.page_number, found.position,
               load_items.seen_at
        from found
        order by found.position
        on conflict (run_id, item_id) do nothing
        returning item_id
    )
    select array_agg(found.item_id), (select count(*) from written) into shown, results from found;

    -- From here to the commit one page at a time: another would miss what this one writes, or wait for it in a circle.
    perform worker.lock_groups(load_items.kind, load_items.owner_id);

    -- A field that is not told keeps its value; what is derived from a field comes with it, or goes with it. An older
    -- sighting tells nothing that is not known better.
    if cardinality(inserted) < jsonb_array_length(load_items.items) then
        with found as (
            select distinct on (found.external_id) found.*, load_items.site || ':' || found.external_id as canonical_key
            from jsonb_populate_recordset(null::worker.page_item, load_items.items) as found
            order by found.external_id, found.position
        ), changed as (
            update public.items as item set
                title = coalesce(told.title, item.title),
                organization = coalesce(told.organization, item.organization),
                organization_key =
                    case when told.organization is null then item.organization_key else told.organization_key end,
                location = coalesce(told.location, item.location),
                city = case when told.location is null then item.city else told.city end,
                region = case when told.location is null then item.region else told.region end,
                country = case when told.location is null then item.country else told.country end,
                is_remote = coalesce(told.is_remote, item.is_remote),
                work_mode = case when told.description is null then coalesce(told.work_mode, item.work_mode)
                                 else told.work_mode end,
                job_types = case when told.job_types <> '{}' then told.job_types else item.job_types end,
                posted_at = coalesce(told.posted_at, item.posted_at),
                salary_min = case when told.has_salary then told.salary_min else item.salary_min end,
                salary_max = case when told.has_salary then told.salary_max else item.salary_max end,
                salary_interval = case when told.has_salary then told.salary_interval else item.salary_interval end,
                currency = case when told.has_salary then told.currency else item.currency end,
                salary_yearly_min =
                    case when told.has_salary then told.salary_yearly_min else item.salary_yearly_min end,
                salary_yearly_max =
                    case when told.has_salary then told.salary_yearly_max else item.salary_yearly_max end,
                url = coalesce(told.url, item.url),
                apply_url = coalesce(told.apply_url, item.apply_url),
                apply_key = case when told.apply_url is null then item.apply_key else told.apply_key end,
                -- Where nothing changes the stored value itself: a long one is neither compressed nor written again.
                description = case when told.description <> item.description or item.description is null
                                   then told.description else item.description end,
                skills = case when told.description is null then item.skills else coalesce(told.skills, '{}') end,
                experience_years =
                    case when told.description is null then item.experience_years else told.experience_years end,
                data = case when item.data || told.data <> item.data then item.data || told.data else item.data end,
                match_key = case
                    when told.match_key is not null then told.match_key
                    when coalesce(told.title, item.title) = item.title
                     and coalesce(told.organization, item.organization) is not distinct from item.organization
                     and coalesce(told.location, item.location) is not distinct from item.location then item.match_key
                end,
                first_seen_at = least(item.first_seen_at, load_items.seen_at),
                last_seen_at = greatest(item.last_seen_at, load_items.seen_at)
            from found
            join public.items as former
                on former.canonical_key = found.canonical_key and former.kind = load_items.kind
               and former.owner_id is not distinct from load_items.owner_id
            left join lateral (
                select found.*, coalesce(found.salary_min, found.salary_max) is not null as has_salary
                where load_items.seen_at >= former.last_seen_at
            ) as told on true
            where item.id = former.id and former.id <> all (inserted)
              and (load_items.seen_at >= former.last_seen_at or load_items.seen_at < former.first_seen_at)
            returning item.id,
                (item.apply_key, item.match_key) is distinct from (former.apply_key, former.match_key) as has_new_keys,
                (item.title, item.organization, item.location, item.description)
                    is distinct from (former.title, former.organization, former.location, former.description)
                    as has_new_text,
                item.first_seen_at < former.first_seen_at as is_older
        )
        select unmatched || array_agg(changed.id) filter (where changed.has_new_keys),
               array_agg(changed.id) filter (where changed.has_new_text),
               array_agg(changed.id) filter (where changed.is_older)
        into unmatched, reworded, older
        from changed;
    end if;

    -- Read now: whoever sets a model waits for those who have written items by then, and finds them.
    if (select embedding_model is not null from worker.settings) then
        insert into worker.embedding_queue as queued (item_id, due_at)
        select unembedded.id, worker.now() from unnest(inserted || reworded) as unembedded (id) order by unembedded.id
        on conflict (item_id) do update set attempts = 0, due_at = excluded.due_at, error = null;
    end if;

    perform worker.order_groups(older);
    perform worker.match_items(unmatched);

    return (results, (
        select count(*)
        from (
            select distinct case when item.duplicate_of is null then item.id else item.duplicate_of end as id
            from public.items as item
            where item.id = any (shown)
        ) as thing
        where not exists (
            select from public.items as item
            join public.search_results as result on result.item_id = item.id
            join public.search_runs as run on run.id = result.run_id
            where (item.id = thing.id or item.duplicate_of = thing.id)
              and run.id <> load_items.run_id and run.fingerprint = load_items.fingerprint
              -- One that was cancelled or failed may be gone on with by this one.
              and run.status = 'success' and run.started_at < known_before)
    ))::worker.load_result;
end;
$$;
comment on function worker.load_items is
    'Writes the items of a page, which its run saw at a time, as items, sightings and results. Again changes nothing.';

-- pages/load
-- Was a page loaded? completed, partial if some items were invalid, failed if all were or if the tables refuse them.
-- Calls: kernel/clock, pages/alerts, pages/items.

create function worker.require_arrays(items jsonb, errors jsonb) returns void
language plpgsql immutable set search_path = '' as $$
begin
    if jsonb_typeof(items) is distinct from 'array' then
        raise sqlstate '22023' using message = 'items must be an array';
    end if;
    if jsonb_typeof(errors) is distinct from 'array' then
        raise sqlstate '22023' using message = 'errors must be an array';
    end if;
end;
$$;
comment on function worker.require_arrays is 'Raises 22023 (HTTP 400) unless both are arrays.';

create function worker.load_page(
    page_id bigint, version integer, transform_ms integer, completeness jsonb, items jsonb, errors jsonb
) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    page record;
    loaded worker.load_result := (0, 0);
    valid integer := jsonb_array_length(load_page.items);
    invalid integer;
    is_unreadable boolean;
    refusal text;
    refused_field text;
    outcome text;
begin
    select raw.id, raw.source, raw.site, raw.page_number, raw.fetched_at, raw.query_hash, run.id as run_id, run.kind,
           case when kind.is_private then run.user_id end as owner_id
    into page
    from worker.raw_collections as raw
    join public.search_runs as run on run.id = raw.run_id
    join worker.kinds as kind on kind.kind = run.kind
    where raw.id = load_page.page_id;
    if not found then
        -- Whether its items are private is not known any more.
        raise sqlstate '22023' using message = 'page_id must be of a page whose kind is in worker.kinds';
    end if;

    delete from worker.processing_log as problem where problem.raw_collection_id = page.id;
    with problem as (
        insert into worker.processing_log (raw_collection_id, item_index, error_type, message, field, raw, created_at)
        select page.id, problem.index, problem.type, problem.message, problem.field, problem.raw, worker.now()
        from jsonb_to_recordset(load_page.errors)
            as problem (index integer, type text, message text, field text, raw jsonb)
        returning item_index
    )
    select count(problem.item_index), coalesce(bool_or(problem.item_index is null), false)
    into invalid, is_unreadable
    from problem;

    begin
        loaded := worker.load_items(page.run_id, page.kind, page.owner_id, page.site, page.page_number, page.fetched_at,
                                    page.query_hash, load_page.items);
    exception when data_exception or integrity_constraint_violation or program_limit_exceeded then
        get stacked diagnostics refusal = message_text, refused_field = column_name;
        insert into worker.processing_log (raw_collection_id, error_type, message, field, created_at)
        values (page.id, 'load', refusal, nullif(refused_field, ''), worker.now());
    end;

    outcome := case when refusal is not null or is_unreadable or (valid = 0 and invalid > 0) then 'failed'
                    when invalid > 0 then 'partial'
                    else 'completed' end;
    update worker.raw_collections as raw
    set status = outcome, version = load_page.version, item_count = valid, invalid_count = invalid,
        result_count = coalesce(raw.result_count, 0) + loaded.results,
        new_count = loaded.things,
        completeness = load_page.completeness, transform_ms = load_page.transform_ms, transformed_at = worker.now(),
        claimed_until = null
    where raw.id = page.id;

    if refusal is not null then
        perform worker.write_alert(page.run_id, page.site, jsonb_build_object(
            'reason', 'load_failed', 'source', page.source, 'page_number', page.page_number, 'message', refusal));
    end if;
    if is_unreadable or invalid > (invalid + valid) * (select max_invalid_share from worker.settings) then
        perform worker.write_alert(page.run_id, page.site, jsonb_build_object(
            'reason', 'invalid_items', 'source', page.source, 'page_number', page.page_number,
            'items', valid, 'invalid_items', invalid, 'message', load_page.errors -> 0 -> 'message'));
    end if;
    return jsonb_build_object('status', outcome, 'results', loaded.results, 'new', loaded.things);
end;
$$;
comment on function worker.load_page is
    'Loads what a version of its source made of a page; returns {status, results, new}. What the tables refuse is logged, '
    'and leaves the page failed; what may pass, as a deadlock or a timeout, is raised.';

-- pages/save
-- Which pages are kept? Every page as it came, once for each attempt, in one transaction with its items and the progress.
-- Calls: kernel/clock, kernel/lease, sites/breaker, runs/progress, pages/load.

create function public.worker_save_page(
    run_id uuid, lease_token uuid, site text, attempt integer, page_number integer, raw jsonb, items jsonb, errors jsonb,
    progress jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    run record;
    page record;
    saved jsonb;
begin
    perform worker.require_arrays(worker_save_page.items, worker_save_page.errors);
    perform worker.lock_lease(worker_save_page.run_id, lease_token);
    select leased.id, leased.source, leased.parameters, leased.fingerprint into strict run
    from public.search_runs as leased where leased.id = worker_save_page.run_id;

    insert into worker.raw_collections (run_id, source, site, attempt, page_number, query, query_hash, payload,
                                        response_ms, calls_used, account, cursor, is_last, fetched_at, strategy)
    select run.id, raw ->> 'source', started.site, worker_save_page.attempt, worker_save_page.page_number,
           run.parameters, run.fingerprint, raw -> 'payload', (raw ->> 'response_ms')::integer,
           (raw ->> 'calls_used')::integer,
           coalesce(raw ->> 'account', ''), nullif(raw -> 'cursor', 'null'),
           coalesce((raw ->> 'is_last')::boolean, false), worker.now(), case run.source when 'cron' then 'scheduled' else 'manual' end
    from public.search_run_sites as started
    where started.run_id = run.id and started.site = worker_save_page.site and started.completed_at is null
      -- Of a former attempt, too: a page may have waited on a worker's disk.
      and worker_save_page.attempt between 1 and started.attempts
    on conflict on constraint raw_collections_page do nothing;

    select kept.id, kept.status, kept.account, kept.result_count, kept.new_count into page
    from worker.raw_collections as kept
    where kept.run_id = run.id and kept.site = worker_save_page.site and kept.attempt = worker_save_page.attempt
      and kept.page_number = worker_save_page.page_number
    for no key update;
    if not found then
        raise sqlstate '22023' using
            message = format('site must be one that was started with worker_start_site, not %L', site);
    end if;
    if page.status <> 'fetched' then
        return jsonb_build_object('status', page.status, 'results', page.result_count, 'new', page.new_count);
    end if;

    saved := worker.load_page(page.id, (raw ->> 'version')::integer, (raw ->> 'transform_ms')::integer,
                              raw -> 'completeness', worker_save_page.items, worker_save_page.errors);
    if worker.may_write_progress(run.id) then
        perform worker.write_progress(run.id, worker_save_page.progress);
    end if;
    -- One that waited on a worker's disk tells nothing of the site as it is now.
    if saved ->> 'status' <> 'failed' and exists (
        select from public.search_run_sites as searched
        where searched.run_id = run.id and searched.site = worker_save_page.site and searched.status = 'running'
          and searched.attempts = worker_save_page.attempt
    ) then
        perform worker.record_good_page(run.id, worker_save_page.site, page.account);
    end if;
    return saved;
end;
$$;
comment on function public.worker_save_page is
    'Keeps a page, loads its items and writes the run''s progress, in one transaction. raw is {source, version, payload, '
    'response_ms, calls_used, account (that it was fetched through), cursor (where the next page begins), is_last (there is none), transform_ms, completeness}; '
    'items are as worker.page_item, errors {index, type, message, field, raw}. Returns {status, results, new}: completed, partial (some items were invalid) or failed (all were, or '
    'they were not loaded); results new to the run; and things on it that no earlier run of the same search had. '
    'The same page again changes nothing and returns the same.';

-- pages/reprocess
-- Which pages are processed again, without asking the site?
-- Calls: kernel/clock, pages/load.

create function public.worker_reprocess(
    since timestamptz default null, source text default null, status text default null
) returns integer
language plpgsql security definer set search_path = '' as $$
declare
    marked integer;
begin
    if worker_reprocess.status not in ('completed', 'partial', 'failed') then
        raise sqlstate '22023' using
            message = format('status must be completed, partial or failed, not %L', worker_reprocess.status);
    end if;
    update worker.raw_collections as page
    set status = 'fetched', strategy = 'reprocess', claimed_until = null
    where page.status <> 'fetched'
      and (worker_reprocess.since is null or page.fetched_at >= worker_reprocess.since)
      and (worker_reprocess.source is null or page.source = worker_reprocess.source)
      and (worker_reprocess.status is null or page.status = worker_reprocess.status);
    get diagnostics marked = row_count;
    return marked;
end;
$$;
comment on function public.worker_reprocess is
    'Marks pages to be transformed and loaded again, by any worker: those fetched since a time, by a source, with a status '
    '(null: all). Returns how many.';

create function public.worker_claim_pages(sources text[], batch integer) returns table (
    page_id bigint, kind text, source text, site text, page_number integer, payload jsonb, response_ms integer,
    calls_used integer
)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
    if batch is null or batch not between 1 and 100 then
        raise sqlstate '22023' using message = 'batch must be an integer from 1 to 100';
    end if;
    return query
    with claimable as (
        select page.id
        from worker.raw_collections as page
        join public.search_runs as run on run.id = page.run_id
        join worker.kinds as kind on kind.kind = run.kind
        where page.status = 'fetched' and page.source = any (worker_claim_pages.sources)
          and (page.claimed_until is null or page.claimed_until < worker.now())
        order by page.id
        limit batch
        for update of page skip locked
    ), claimed as (
        update worker.raw_collections as page
        set claimed_until = worker.now() + interval '5 minutes'
        from claimable
        where page.id = claimable.id
        returning page.*
    )
    select claimed.id, run.kind, claimed.source, claimed.site, claimed.page_number, claimed.payload, claimed.response_ms,
           claimed.calls_used
    from claimed join public.search_runs as run on run.id = claimed.run_id
    order by claimed.id;
end;
$$;
comment on function public.worker_claim_pages is
    'Leases up to `batch` pages of the given sources that are to be transformed and loaded again, for 5 minutes.';

create function worker.recount_results(run_id uuid, site text) returns void
language sql volatile set search_path = ''
begin atomic
    update public.search_run_sites as searched
    set jobs_found = counted.results
    from (
        select count(*) as results from public.search_results as result
        where result.run_id = recount_results.run_id and result.site = recount_results.site
    ) as counted
    where searched.run_id = recount_results.run_id and searched.site = recount_results.site
      and searched.jobs_found <> counted.results;

    -- Of those, too, that it answered.
    update public.search_runs as run
    set jobs_found = counted.results
    from (
        select count(*) as results from public.search_results as result where result.run_id = recount_results.run_id
    ) as counted
    where (run.id = recount_results.run_id or run.shared_run_id = recount_results.run_id)
      and run.jobs_found <> counted.results;
end;
comment on function worker.recount_results is 'Counts the results of a run and of one of its sites again.';

create function public.worker_load_page(
    page_id bigint, version integer, transform_ms integer, completeness jsonb, items jsonb, errors jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    page record;
    loaded jsonb;
begin
    perform worker.require_arrays(worker_load_page.items, worker_load_page.errors);
    select kept.run_id, kept.site into page
    from worker.raw_collections as kept join public.search_runs as run on run.id = kept.run_id
    where kept.id = worker_load_page.page_id;
    if not found then
        raise sqlstate 'PT404' using message = 'page_id must be of a page that is kept';
    end if;

    -- The run before its page, as a page is saved.
    perform from public.search_runs as run where run.id = page.run_id for no key update;
    perform from worker.raw_collections as kept where kept.id = worker_load_page.page_id for no key update;
    loaded := worker.load_page(worker_load_page.page_id, worker_load_page.version, worker_load_page.transform_ms,
                               worker_load_page.completeness, worker_load_page.items, worker_load_page.errors);
    if loaded -> 'results' <> '0' then
        perform worker.recount_results(page.run_id, page.site);
    end if;
    return loaded;
end;
$$;
comment on function public.worker_load_page is
    'Loads a claimed page into its run''s results, which may have ended. Returns {status, results, new}, as '
    'worker_save_page. Again changes nothing.';

-- retention
-- When is old data deleted? In small batches, at the ages of worker.settings.
-- Calls: kernel/clock.

create function worker.delete_unused_account_state(age interval) returns void
language sql volatile set search_path = ''
begin atomic
    delete from worker.site_health as health
    where health.account <> '' and health.updated_at < worker.now() - age
      and not exists (
          select from worker.accounts as known where known.site = health.site and known.account = health.account);

    delete from worker.site_buckets as bucket
    where bucket.account <> '' and bucket.updated_at < worker.now() - age
      and not exists (
          select from worker.accounts as known
          where known.site = split_part(bucket.bucket, ':', 1) and known.account = bucket.account);
end;
comment on function worker.delete_unused_account_state is
    'Deletes what is known of sites through accounts that nobody has any more, and that were not used for this long.';

create function worker.delete_old_user_state(age interval) returns void
language sql volatile set search_path = ''
begin atomic
    delete from worker.site_failures as failed
    where failed.failed_at < worker.now() - age
       or not exists (select from auth.users as known where known.id = failed.user_id);

    delete from worker.site_shares as share
    where share.last_at < worker.now() - age
       or not exists (select from auth.users as known where known.id = share.user_id);
end;
comment on function worker.delete_old_user_state is
    'Deletes what is counted of users at sites where they did not search for this long, or who are gone.';

create function worker.delete_expired_rows() returns boolean
language plpgsql set search_path = '' as $$
declare
    settings worker.settings;
    expired uuid[];
    deleted integer;
    is_full boolean;
begin
    select * into strict settings from worker.settings;

    -- Ids grow with time: no index on the time, and nothing is read but what is deleted.
    with oldest as (
        select page.id, page.fetched_at from worker.raw_collections as page order by page.id limit settings.retention_batch
    )
    delete from worker.raw_collections as page using oldest
    where page.id = oldest.id and oldest.fetched_at < worker.now() - settings.keep_raw_pages;
    get diagnostics deleted = row_count;
    is_full := deleted >= settings.retention_batch;

    with oldest as (
        select event.id, event.created_at from public.run_events as event order by event.id limit settings.retention_batch
    )
    delete from public.run_events as event using oldest
    where event.id = oldest.id and oldest.created_at < worker.now() - settings.keep_events;
    get diagnostics deleted = row_count;
    is_full := is_full or deleted >= settings.retention_batch;

    -- Not what still answers a younger run, nor what may at this moment be about to.
    select array_agg(locked.id) into expired
    from (
        select run.id from public.search_runs as run
        where run.completed_at < worker.now() - settings.keep_runs
          and run.completed_at < worker.now() - settings.freshness - interval '1 hour'
          and not exists (select from public.search_runs as answered where answered.shared_run_id = run.id)
        order by run.completed_at
        limit settings.retention_batch / 10
        for update skip locked
    ) as locked;
    -- Once more, now that nobody can give them what a deleted run has answered.
    expired := array(
        select id from unnest(expired) as id
        where not exists (select from public.search_runs as answered where answered.shared_run_id = id));

    with results as (
        select result.run_id, result.item_id from public.search_results as result
        where result.run_id = any (expired)
        limit settings.retention_batch
    )
    delete from public.search_results as result using results
    where result.run_id = results.run_id and result.item_id = results.item_id;
    get diagnostics deleted = row_count;
    is_full := is_full or deleted >= settings.retention_batch;

    delete from public.search_runs as run
    where run.id = any (expired)
      and not exists (select from public.search_results as result where result.run_id = run.id);
    get diagnostics deleted = row_count;

    perform worker.delete_unused_account_state(settings.keep_runs);
    perform worker.delete_old_user_state(settings.keep_runs);
    return is_full or deleted >= settings.retention_batch / 10;
end;
$$;
comment on function worker.delete_expired_rows is
    'Deletes one batch of what is older than worker.settings allows; returns whether any part of it was full.';

create function public.worker_delete_expired() returns integer
language plpgsql security definer set search_path = '' as $$
declare
    settings worker.settings;
    due_at timestamptz;
begin
    select * into strict settings from worker.settings;

    select task.next_at into due_at from worker.housekeeping as task
    where task.task = 'retention'
    for update skip locked;
    if not found then
        due_at := worker.now() + settings.retention_pause;  -- another worker is at it
    elsif due_at <= worker.now() then
        due_at := worker.now() + case when worker.delete_expired_rows()
                                      then settings.retention_pause else settings.retention_interval end;
        update worker.housekeeping as task set next_at = due_at where task.task = 'retention';
    end if;
    return ceil(extract(epoch from due_at - worker.now()));
end;
$$;
comment on function public.worker_delete_expired is
    'Deletes a batch of what is older than worker.settings allows, unless another worker just did; '
    'returns the seconds until another call has something to do.';

-- operators/status
-- How is the queue doing, and which version of the RPCs is this?
-- Calls: kernel/clock.

create function worker.schema_version() returns integer
language sql immutable set search_path = ''
return 3;
comment on function worker.schema_version is
    'Version of the RPCs. A migration that changes what they take or return counts it up.';

create function public.worker_status() returns jsonb
language sql volatile security definer set search_path = ''
return jsonb_build_object(
    'schema_version', worker.schema_version(),
    -- Not worker.now(), which tests move: it is compared with the caller's clock.
    'now', clock_timestamp(),
    -- As in the partial indexes, so that millions of finished runs cost nothing.
    'ready', (select count(*) from public.search_runs
              where status = 'pending' and run_after is null and leader_run_id is null),
    'delayed', (select count(*) from public.search_runs where status = 'pending' and run_after is not null),
    'running', (select count(*) from worker.leases),
    'embedding_model', (select embedding_model from worker.settings),
    'embeddings_waiting', (select count(*) from worker.embedding_queue where due_at < 'infinity'),
    'embeddings_failed', (select count(*) from worker.embedding_queue where due_at = 'infinity'),
    'oldest_snapshot_seconds', (
        select extract(epoch from max(worker.now() - session.xact_start))
        from pg_stat_activity as session
        where (session.backend_xmin is not null or session.backend_xid is not null)
          and session.datname = current_database()
          and session.pid <> pg_backend_pid()
          -- Unknown of other roles' sessions, unless the owner may see them.
          and session.xact_start < worker.now()
          -- Vacuum itself is passed over when it is decided what may be removed.
          and not exists (select from pg_stat_progress_vacuum as vacuum where vacuum.pid = session.pid)),
    'sees_all_snapshots', pg_has_role('pg_read_all_stats', 'usage'));
comment on function public.worker_status is
    'State of the queue: schema_version, now, runs ready, delayed and running, embedding_model, embeddings_waiting and '
    'embeddings_failed (given up), and oldest_snapshot_seconds, the age of the oldest transaction that keeps vacuum from '
    'removing rows; null when there is none. Without sees_all_snapshots only the owner''s own transactions are known: '
    'grant pg_monitor to the owner.';

-- operators/site_health
-- How is each site doing?
-- Calls: kernel/clock.

create function public.worker_site_health() returns jsonb
language sql stable security definer set search_path = ''
return (
    select coalesce(jsonb_agg(to_jsonb(known) order by known.site), '[]')
    from (
        select health.site,
               count(*) filter (where health.account <> '') as account_count,
               case when bool_or(health.paused_until > worker.now()) then 'open'
                    when bool_or(health.paused_until is not null) then 'half_open'
                    else 'closed' end as state,
               max(health.paused_until) as paused_until,
               (array_agg(health.last_error_code order by health.last_failure_at desc nulls last))[1] as last_error_code,
               avg(health.success_rate) as success_rate,
               avg(health.response_ms) as response_ms,
               max(health.last_success_at) as last_success_at,
               (
                   select coalesce(jsonb_agg(to_jsonb(fullest) order by fullest.bucket), '[]')
                   from (
                       select distinct on (counted.bucket) counted.bucket, counted.quota,
                              spent.quota_used, spent.quota_resets_at
                       from worker.site_buckets as counted
                       cross join lateral (
                           select case when is_over then 0 else greatest(
                                      counted.quota_used, counted.quota - counted.told_left) end as quota_used,
                                  case when not is_over then counted.quota_resets_at end as quota_resets_at
                           from (select coalesce(counted.quota_resets_at <= worker.now(), false) as is_over) as period
                       ) as spent
                       where split_part(counted.bucket, ':', 1) = health.site and counted.quota is not null
                       order by counted.bucket, spent.quota_used::double precision / counted.quota desc
                   ) as fullest
               ) as buckets
        from worker.site_health as health
        group by health.site
    ) as known
);
comment on function public.worker_site_health is
    'How each site does, over all workers and accounts: [{site, account_count, state (closed, open or half_open), '
    'paused_until, last_error_code, success_rate, response_ms, last_success_at, buckets}]. Of several accounts the worst '
    'counts; buckets are those with a quota, [{bucket, quota, quota_used, quota_resets_at}], of the account that used '
    'most.';

-- operators/data_quality
-- How good are the pages of each source, day by day?
-- Calls: nothing.

create view worker.data_quality with (security_invoker = true) as
with page as (
    select raw.id, raw.source, raw.site, (raw.fetched_at at time zone 'UTC')::date as day, raw.status, raw.item_count,
           raw.invalid_count, raw.completeness
    from worker.raw_collections as raw
), field as (
    select page.source, page.site, page.day, field.key as name,
           sum(field.value::numeric * page.item_count) / sum(page.item_count) as share
    from page, jsonb_each(page.completeness) as field
    where page.item_count > 0
    group by page.source, page.site, page.day, field.key
)
select
    page.source,
    page.site,
    page.day,
    count(*) as pages,
    count(*) filter (where page.status = 'failed') as failed_pages,
    coalesce(sum(page.item_count), 0) as items,
    coalesce(sum(page.invalid_count), 0) as invalid_items,
    round(sum(page.invalid_count)::numeric / nullif(sum(page.item_count + page.invalid_count), 0), 4) as invalid_share,
    (select jsonb_object_agg(field.name, round(field.share, 4)) from field
     where (field.source, field.site, field.day) = (page.source, page.site, page.day)) as completeness
from page
group by page.source, page.site, page.day;
comment on view worker.data_quality is
    'What each source made of each site''s pages, day by day (UTC), for as long as pages are kept.';
comment on column worker.data_quality.invalid_share is 'Of all items on the pages; null without any.';
comment on column worker.data_quality.completeness is
    'Share of the valid items, from 0 to 1, that have each of the main fields.';

-- frontends/searches
-- The functions that signed-in users call: enqueue, repeat and cancel a search.
-- Calls: nothing.

create function public.enqueue_search(
    kind text,
    parameters jsonb,
    client_context jsonb default null,
    idempotency_key text default null,
    fresh boolean default false
) returns public.search_runs
language plpgsql security invoker set search_path = '' as $$
#variable_conflict use_column
declare
    run public.search_runs;
begin
    insert into public.search_runs (kind, parameters, client_context, idempotency_key, fresh)
    values (enqueue_search.kind, enqueue_search.parameters, enqueue_search.client_context,
            enqueue_search.idempotency_key, enqueue_search.fresh)
    on conflict (user_id, idempotency_key) do nothing
    returning * into run;

    if run.id is null then
        select * into strict run from public.search_runs as existing
        where existing.user_id = (select auth.uid())
          and existing.idempotency_key = enqueue_search.idempotency_key;
    end if;
    return run;
end;
$$;
comment on function public.enqueue_search is
    'Puts a search of the signed-in user into the queue, or answers it at once with a recent equal one unless it has to be '
    'fresh. The same idempotency key again returns the same run.';

create function public.rerun_search(run_id uuid) returns public.search_runs
language plpgsql security invoker set search_path = '' as $$
declare
    run public.search_runs;
begin
    insert into public.search_runs (workspace_id, kind, parameters, client_context, fresh)
    select former.workspace_id, former.kind, former.parameters, former.client_context, true
    from public.search_runs as former
    where former.id = rerun_search.run_id
    returning * into run;
    if run.id is null then
        raise sqlstate 'PT404' using message = 'run_id must be of a run of yours';
    end if;
    return run;
end;
$$;
comment on function public.rerun_search is 'Puts the same search into the queue once more, as a new run; returns it.';

create function public.cancel_search(run_id uuid) returns public.search_runs
language plpgsql security invoker set search_path = '' as $$
declare
    run public.search_runs;
begin
    update public.search_runs as asked
    set cancel_requested_at = now()
    where asked.id = cancel_search.run_id and asked.completed_at is null;

    select * into run from public.search_runs as ended where ended.id = cancel_search.run_id;
    if run.id is null then
        raise sqlstate 'PT404' using message = 'run_id must be of a run of yours';
    end if;
    return run;
end;
$$;
comment on function public.cancel_search is
    'Ends a run of the signed-in user at once, pending or running; returns it. One that has ended stays as it is.';

-- frontends/run_items
-- What does a user see of a run? Each thing once, with the fields that the run's own sightings have.
-- Calls: nothing.

-- Only what the run's own sightings say is shown. What other runs found may be of a board that another user named, which
-- can say anything: it decides which sightings are one thing, and nothing else.
create view public.run_items with (security_invoker = true) as
select
    run.id as run_id,
    sighted.item_id,
    sighted.site,
    sighted.sites,
    sighted.page_number,
    sighted.position,
    sighted.found_at,
    case
        when sighted.last_completed_at is null or oldest.first_seen_at > sighted.last_completed_at then true
        else not exists (
            select from (
                select sighted.item_id as id
                union all
                select duplicate.id from public.items as duplicate where duplicate.duplicate_of = sighted.item_id
            ) as sighting
            join public.search_results as shown on shown.item_id = sighting.id
            -- Not any(): an index would be searched for each of the runs.
            where array_position(sighted.earlier_run_ids, shown.run_id) is not null
        )
    end as is_new,
    sighted.kind,
    sighted.title,
    sighted.any_organization as organization,
    coalesce(sighted.location, located.location) as location,
    case when sighted.location is null then located.city else sighted.city end as city,
    case when sighted.location is null then located.region else sighted.region end as region,
    case when sighted.location is null then located.country else sighted.country end as country,
    sighted.any_is_remote as is_remote,
    sighted.any_work_mode as work_mode,
    case when sighted.job_types = '{}' then coalesce(typed.job_types, '{}') else sighted.job_types end as job_types,
    sighted.any_posted_at as posted_at,
    case when own.has_salary then sighted.salary_min else paid.salary_min end as salary_min,
    case when own.has_salary then sighted.salary_max else paid.salary_max end as salary_max,
    case when own.has_salary then sighted.salary_interval else paid.salary_interval end as salary_interval,
    case when own.has_salary then sighted.currency else paid.currency end as currency,
    case when own.has_salary then sighted.salary_yearly_min else paid.salary_yearly_min end as salary_yearly_min,
    case when own.has_salary then sighted.salary_yearly_max else paid.salary_yearly_max end as salary_yearly_max,
    sighted.url,
    sighted.any_apply_url as apply_url,
    coalesce(sighted.description, described.description) as description,
    case when sighted.description is null then coalesce(described.skills, '{}') else sighted.skills end as skills,
    case when sighted.description is null then described.experience_years else sighted.experience_years end
        as experience_years,
    sighted.data,
    sighted.any_first_seen_at as first_seen_at,
    sighted.any_last_seen_at as last_seen_at
from public.search_runs as run
cross join lateral (
    select max(earlier.completed_at) as last_completed_at,
           array_agg(case when earlier.shared_run_id is not null then earlier.shared_run_id else earlier.id end
                     order by earlier.completed_at desc) as earlier_run_ids
    from public.search_runs as earlier
    where earlier.user_id = run.user_id
      and earlier.fingerprint = run.fingerprint
      and earlier.status in ('success', 'partial')
      and earlier.completed_at <= run.created_at
      and earlier.id <> run.id
) as previous
cross join lateral (
    select
        -- Also what belongs to the run: so it is looked up once, and not for each thing.
        previous.*,
        case when sighting.duplicate_of is not null then sighting.duplicate_of else sighting.id end as item_id,
        sighting.*,
        result.site,
        result.page_number,
        result.position,
        result.created_at as found_at,
        jsonb_agg(jsonb_build_object(
            'site', result.site, 'url', sighting.url,
            'external_id', substr(sighting.canonical_key, length(result.site) + 2)
        )) over all_sightings as sites,
        (array_agg(sighting.organization) filter (where sighting.organization is not null) over all_sightings)[1]
            as any_organization,
        (array_agg(sighting.is_remote) filter (where sighting.is_remote is not null) over all_sightings)[1]
            as any_is_remote,
        (array_agg(sighting.work_mode) filter (where sighting.work_mode is not null) over all_sightings)[1]
            as any_work_mode,
        (array_agg(sighting.posted_at) filter (where sighting.posted_at is not null) over all_sightings)[1]
            as any_posted_at,
        (array_agg(sighting.apply_url) filter (where sighting.apply_url is not null) over all_sightings)[1]
            as any_apply_url,
        min(sighting.first_seen_at) over all_sightings as any_first_seen_at,
        max(sighting.last_seen_at) over all_sightings as any_last_seen_at,
        (array_agg(sighting.id) filter (where sighting.location is not null) over all_sightings)[1] as located_id,
        (array_agg(sighting.id) filter (where sighting.job_types <> '{}') over all_sightings)[1] as typed_id,
        (array_agg(sighting.id) filter (where sighting.description is not null) over all_sightings)[1] as described_id,
        (array_agg(sighting.id) filter (where coalesce(sighting.salary_min, sighting.salary_max) is not null)
            over all_sightings)[1] as paid_id,
        row_number() over sightings as place
    from public.search_results as result
    join public.items as sighting on sighting.id = result.item_id
    -- Not coalesce(): it is not leakproof, so that row level security would keep it out of the index (6 s against 16 ms
    -- for a run of 1,000 results among 160,000).
    where result.run_id = case
        when run.shared_run_id is not null then run.shared_run_id
        when run.leader_run_id is not null then run.leader_run_id
        else run.id
    end
    window sightings as (
        partition by case when sighting.duplicate_of is not null then sighting.duplicate_of else sighting.id end
        order by result.created_at, result.position, result.item_id),
    all_sightings as (sightings rows between unbounded preceding and unbounded following)
) as sighted
join public.items as oldest on oldest.id = sighted.item_id
cross join lateral (select coalesce(sighted.salary_min, sighted.salary_max) is not null as has_salary) as own
left join public.items as located on located.id = sighted.located_id and sighted.location is null
left join public.items as typed on typed.id = sighted.typed_id and sighted.job_types = '{}'
left join public.items as described on described.id = sighted.described_id and sighted.description is null
left join public.items as paid on paid.id = sighted.paid_id and not own.has_salary
where sighted.place = 1;
comment on view public.run_items is
    'What a run found, each thing once, also when several sites had it or another run searched for it.';
comment on column public.run_items.run_id is 'The run that asked: filter by it.';
comment on column public.run_items.item_id is
    'The same thing has the same id in every run. All else is from the run''s own sightings: from its first one, and what '
    'that lacks from the first that has it.';
comment on column public.run_items.site is 'The site that had it first.';
comment on column public.run_items.sites is 'All sightings of it by this run, the first one first: {site, url, external_id}.';
comment on column public.run_items.page_number is 'The site''s page that it was on, from 1.';
comment on column public.run_items.position is 'Place on its page, from 1.';
comment on column public.run_items.found_at is 'When this search found it.';
comment on column public.run_items.is_new is
    'Whether no earlier finished run of the same search showed it to this user; true for everything on the first.';

-- access/grants
-- Who may call what, and write to which columns? Nothing is left to a project's default privileges, which differ with its
-- age. Only our own objects are named: the project may have others.
-- Calls: nothing.

do $$
declare
    relation text;
begin
    foreach relation in array array['search_runs', 'search_run_sites', 'search_results', 'items', 'item_sources',
                                    'saved_searches', 'run_events', 'run_items'] loop
        execute format('revoke all on public.%I from public, anon, authenticated, service_role', relation);
        execute format('grant select on public.%I to authenticated, service_role', relation);
    end loop;
    foreach relation in array array['search_runs', 'search_run_sites', 'search_results', 'items', 'item_sources',
                                    'saved_searches', 'run_events'] loop
        execute format('alter table public.%I enable row level security', relation);
    end loop;
    foreach relation in array array['leases', 'ended_leaders', 'accounts', 'raw_collections', 'processing_log', 'site_health',
                                    'settings', 'housekeeping', 'kinds', 'parameter_rules', 'kept_apart',
                                    'embedding_queue', 'breaker_rules', 'bucket_limits', 'site_buckets', 'site_searches',
                                    'site_waits', 'site_failures', 'site_shares'] loop
        execute format('revoke all on worker.%I from public, anon, authenticated, service_role', relation);
        execute format('alter table worker.%I enable row level security', relation);
    end loop;
end;
$$;

revoke all on worker.data_quality from public, anon, authenticated, service_role;
revoke all on sequence public.item_sources_id_seq, public.run_events_id_seq
    from public, anon, authenticated, service_role;
revoke all on all sequences in schema worker from public, anon, authenticated, service_role;

grant insert (user_id, workspace_id, kind, parameters, client_context, idempotency_key, fresh), update (cancel_requested_at)
    on public.search_runs to authenticated;
grant insert (user_id, workspace_id, kind, source, parameters, client_context, idempotency_key, fresh, priority,
              max_attempts, run_after), delete
    on public.search_runs to service_role;
grant insert (user_id, workspace_id, name, kind, parameters), update (workspace_id, name, kind, parameters), delete
    on public.saved_searches to authenticated, service_role;

revoke all on all functions in schema worker from public, anon, authenticated, service_role;
do $$
declare
    rpc regprocedure;
begin
    for rpc in
        select routine.oid from pg_proc as routine
        where routine.pronamespace = 'public'::regnamespace
          and routine.proname in (
              'enqueue_search', 'rerun_search', 'cancel_search', 'worker_claim_runs', 'worker_heartbeat',
              'worker_start_site', 'worker_save_page', 'worker_write_progress', 'worker_write_alert',
              'worker_finish_site', 'worker_finish_run', 'worker_set_account',
              'worker_release_runs', 'worker_delete_expired', 'worker_reprocess', 'worker_claim_pages',
              'worker_load_page', 'worker_merge_items', 'worker_split_item', 'worker_take_permit', 'worker_observe_limits',
              'worker_site_health', 'worker_status')
    loop
        execute format('revoke all on function %s from public, anon, authenticated, service_role', rpc);
        execute format('grant execute on function %s to %s', rpc,
                       case when rpc::text like '%worker\_%' then 'service_role' else 'authenticated' end);
    end loop;
end;
$$;

-- access/policies
-- Which rows may a user see and change? His own, and what a run of his shares.
-- Calls: nothing.

create policy "Owners see their runs" on public.search_runs
    for select to authenticated using (user_id = (select auth.uid()));
create policy "Users start runs of their own" on public.search_runs
    for insert to authenticated with check (user_id = (select auth.uid()));
create policy "Owners cancel their runs" on public.search_runs
    for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));

-- Whoever sees a run sees its sites and results, also through a follower or a run that was answered with it.
create policy "Sites of visible runs" on public.search_run_sites
    for select to authenticated using (
        exists (select from public.search_runs as run where run.id = search_run_sites.run_id)
        or exists (select from public.search_runs as run where run.leader_run_id = search_run_sites.run_id)
        or exists (select from public.search_runs as run where run.shared_run_id = search_run_sites.run_id)
    );
create policy "Results of visible runs" on public.search_results
    for select to authenticated using (
        exists (select from public.search_runs as run where run.id = search_results.run_id)
        or exists (select from public.search_runs as run where run.leader_run_id = search_results.run_id)
        or exists (select from public.search_runs as run where run.shared_run_id = search_results.run_id)
    );
create policy "Events of visible runs" on public.run_events
    for select to authenticated using (
        exists (select from public.search_runs as run where run.id = run_events.run_id)
    );

create policy "Public items and own items" on public.items
    for select to authenticated using (owner_id is null or owner_id = (select auth.uid()));
create policy "Public sightings and own sightings" on public.item_sources
    for select to authenticated using (owner_id is null or owner_id = (select auth.uid()));

create policy "Owners see their saved searches" on public.saved_searches
    for select to authenticated using (user_id = (select auth.uid()));
create policy "Users save searches of their own" on public.saved_searches
    for insert to authenticated with check (user_id = (select auth.uid()));
create policy "Owners change their saved searches" on public.saved_searches
    for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy "Owners delete their saved searches" on public.saved_searches
    for delete to authenticated using (user_id = (select auth.uid()));

-- access/realtime
-- Which tables does Realtime publish?
-- Calls: nothing.

alter publication supabase_realtime add table public.search_runs, public.search_run_sites, public.search_results;
