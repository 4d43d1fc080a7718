-- Runs, their sites, their events, and saved searches. Frontends read these tables: the names of the columns are their
-- contract.
-- Calls: nothing.

create type public.run_source as enum ('manual', 'cron', 'api', 'import');

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
    items_found integer not null default 0,
    new_items integer not null default 0,
    progress_current integer not null default 0,
    progress_total integer,
    progress jsonb not null default '{}',
    error_code text,
    error_message text,
    attempts smallint not null default 0,
    max_attempts smallint not null default 3,
    rescues smallint not null default 0,
    -- The trigger prepare_run sets these. With a default, an insert without them fits the generated types; an expression,
    -- because a plain null is no default to PostgreSQL.
    priority smallint not null default nullif(0, 0),
    position bigint not null default 0,
    fingerprint text not null default '',
    fresh boolean not null default false,
    newer_than timestamptz,
    -- Without foreign keys: otherwise the delete of a run would wait for its followers and the runs that it answered,
    -- and these for the delete. worker.ended_leaders keeps what they need until they are settled.
    leader_run_id uuid,
    shared_run_id uuid,
    saved_search_id uuid,
    slot_at timestamptz,
    idempotency_key text,
    run_after timestamptz,
    cancel_requested_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    started_at timestamptz,
    completed_at timestamptz,
    constraint search_runs_idempotency_key unique (user_id, idempotency_key),
    constraint search_runs_max_attempts check (max_attempts between 1 and 20),
    constraint search_runs_attempts check (attempts between 0 and max_attempts),
    -- Objects only: Realtime compares filters with the text of a JSON value, and a plain string in a published table
    -- makes it fail for all subscribers.
    constraint search_runs_objects check (
        jsonb_typeof(parameters) = 'object' and jsonb_typeof(client_context) = 'object' and jsonb_typeof(progress) = 'object'),
    constraint search_runs_completed_at
        check ((status in ('success', 'partial', 'failed', 'cancelled')) = (completed_at is not null)),
    -- A pending run would be searched.
    constraint search_runs_import check (source <> 'import' or status <> 'pending')
);

-- Only claimable runs, so that finished runs, delayed runs and followers do not make a claim slower.
create index search_runs_ready on public.search_runs (priority desc, position)
    where status = 'pending' and run_after is null and leader_run_id is null;
-- The position is negative so that the planner does not read search_runs_ready backwards instead, through the runs of
-- all users.
create index search_runs_ready_of_user on public.search_runs (user_id, priority, (-position))
    where status = 'pending' and run_after is null and leader_run_id is null;
create index search_runs_pending_of_user on public.search_runs (user_id)
    where status = 'pending' and source <> 'cron';
create index search_runs_running on public.search_runs (user_id) where status = 'running';
create index search_runs_delayed on public.search_runs (run_after)
    where status = 'pending' and run_after is not null;
create index search_runs_user_id on public.search_runs (user_id, created_at desc);
create index search_runs_board_organizations on public.search_runs (user_id)
    where parameters @> '{"board_organizations": true}';
-- For operators: the runs of all users.
create index search_runs_created_at on public.search_runs (created_at desc, id desc);
create index search_runs_error_code on public.search_runs (error_code, created_at desc, id desc)
    where error_code is not null;
create index search_runs_completed_at on public.search_runs (completed_at) where completed_at is not null;
-- Of equal searches, one leader is active at a time. A second one is possible only with another newer_than.
create unique index search_runs_leader on public.search_runs (fingerprint, newer_than) nulls not distinct
    where completed_at is null and leader_run_id is null and (run_after is null or started_at is not null);
create index search_runs_saved_search_id on public.search_runs (saved_search_id, created_at desc)
    where saved_search_id is not null;
-- Only runs that searched themselves: otherwise thousands of runs that they answered stand between them.
create index search_runs_fingerprint on public.search_runs (fingerprint, completed_at desc)
    where completed_at is not null and shared_run_id is null;
create index search_runs_fingerprint_of_user on public.search_runs (user_id, fingerprint, completed_at desc)
    where status in ('success', 'partial');
-- With the user, because row level security looks for the caller's own among all runs that share one.
create index search_runs_leader_run_id on public.search_runs (leader_run_id, user_id) where leader_run_id is not null;
create index search_runs_shared_run_id on public.search_runs (shared_run_id, user_id) where shared_run_id is not null;

comment on table public.search_runs is 'One row for each search that a user asked for. Published to Realtime.';
comment on column public.search_runs.user_id is 'Owner; by default the signed-in user.';
comment on column public.search_runs.workspace_id is
    'The frontend''s own grouping, which is not validated. Decides which of the user''s accounts a site is searched '
    'through.';
comment on column public.search_runs.kind is 'What is searched for: a kind of worker.parameter_rules.';
comment on column public.search_runs.source is
    'Who asked: a person, a schedule or a program, which decides the priority; or import: the results come from a file, '
    'and no worker searches.';
comment on column public.search_runs.parameters is
    'What to search for, validated against worker.parameter_rules. Of an import: {search_term: the name of the file, '
    'sites, results_wanted: the greatest number of records of one site}.';
comment on column public.search_runs.client_context is
    'Any object that the frontend wants back with the run; at most 16 kB.';
comment on column public.search_runs.status is
    'pending, running, then one of the final statuses success, partial, failed or cancelled.';
comment on column public.search_runs.jobs_found is
    'Results so far: rows of search_results, updated at most once a second while running.';
comment on column public.search_runs.items_found is
    'Things found so far, each once: rows of run_items. Written with jobs_found.';
comment on column public.search_runs.new_items is
    'Things of items_found that the user had not seen before: with run_items.is_new. Written with jobs_found.';
comment on column public.search_runs.progress_current is
    'Of progress_total: results found, and those that ended sites have given up on for good. A site that failed and '
    'may be searched again, or waits, or in whose place fallback sites are searched, counts with what it has found. '
    'Never decreases. Full only once the run has ended; less than full if it was cancelled.';
comment on column public.search_runs.progress_total is
    'Results wanted: results_wanted times the number of sites. Fallback sites do not count: they make up for others.';
comment on column public.search_runs.progress is
    'What happens now: {step, site, current, total, details}. step is queued, starting, searching, or the source''s '
    'own word for its work at the site; site_finished, waiting (details.sites: [{site, until, reason, message}]), '
    'retrying, cancelled or finished.';
comment on column public.search_runs.error_code is
    'Why sites failed: the code of the first failed site, or worker_lost. Also set while the run waits for a retry.';
comment on column public.search_runs.error_message is
    'A sentence for the user for each site that failed, from worker.messages.';
comment on column public.search_runs.attempts is
    'Attempts started. A run that was released, rescued or deferred gets its attempt back.';
comment on column public.search_runs.max_attempts is 'Maximum number of attempts.';
comment on column public.search_runs.rescues is 'How often a worker died with this run.';
comment on column public.search_runs.priority is 'Higher first: manual 20, api 10, cron 0.';
comment on column public.search_runs.position is
    'Place in the queue within a priority. Smaller first; users take turns.';
comment on column public.search_runs.fingerprint is
    'SHA-256 of the kind, the canonical parameters and, if the kind is private, the owner and the workspace. Equal '
    'searches have equal fingerprints. An import has one of its own.';
comment on column public.search_runs.fresh is 'Whether to search even if a recent equal run has finished.';
comment on column public.search_runs.newer_than is
    'Sites that support it return only results newer than this. For scheduled repeats: since the last success. '
    'Null: all results.';
comment on column public.search_runs.leader_run_id is 'The active run that searches for this one.';
comment on column public.search_runs.shared_run_id is 'The finished run whose results answer this one.';
comment on column public.search_runs.saved_search_id is
    'The saved search that it repeats. It may have been deleted since then.';
comment on column public.search_runs.slot_at is 'The slot of the schedule that started it.';
comment on column public.search_runs.idempotency_key is
    'Unique for each user: the same key never creates a second run.';
comment on column public.search_runs.run_after is
    'The run does not start before this time: a search for later, the next attempt of a failed run, or a run that '
    'waits for its sites. Null when ready.';
comment on column public.search_runs.cancel_requested_at is
    'When the owner asked to cancel. Setting it to any time cancels the run.';
comment on column public.search_runs.updated_at is 'Last change of this row.';
comment on column public.search_runs.started_at is 'First claim by a worker.';
comment on column public.search_runs.completed_at is 'When the status became final; null until then.';

-- Without a foreign key to the user, to avoid a deadlock of the deletion of a user with a run.
create table worker.deleted_runs (
    id bigint generated always as identity primary key,
    user_id uuid not null,
    created_at timestamptz not null
);
create index deleted_runs_user_id on worker.deleted_runs (user_id, created_at);
comment on table worker.deleted_runs is
    'Runs that were deleted within an hour of their start: they still count for max_per_hour_per_user.';
comment on column worker.deleted_runs.created_at is 'When the run was created.';

create table public.search_run_sites (
    id uuid primary key default gen_random_uuid(),
    run_id uuid not null references public.search_runs (id) on delete cascade,
    site text not null,
    position smallint not null,
    is_fallback boolean not null default false,
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
comment on table public.search_run_sites is 'Each site of a run that searches itself, with its own status. Frontends read run_sites.';
comment on column public.search_run_sites.id is
    'Random: if you publish the table, Realtime sends the key of a deleted row to everybody who listens.';
comment on column public.search_run_sites.site is 'One of the run''s parameters.sites or fallback_sites.';
comment on column public.search_run_sites.is_fallback is
    'Whether it is one of parameters.fallback_sites: it is here once it is needed.';
comment on column public.search_run_sites.status is
    'pending, running, then one of the final statuses completed, failed, partial (failed after some results) or '
    'skipped: the run was cancelled, or this is a fallback site that was not needed any more.';
comment on column public.search_run_sites.position is
    'Place in the order in which the user named the sites, from 1. Fallback sites come last.';
comment on column public.search_run_sites.jobs_found is
    'Results of this site, updated at most once a second while running.';
comment on column public.search_run_sites.attempts is
    'How often the search of the site was started, by this run or by the leader that it took over from.';
comment on column public.search_run_sites.error_code is
    'invalid_parameters, unauthorized, blocked, rate_limited, quota_exceeded, timeout, network, not_found, '
    'unverified, upstream, internal or worker_lost.';
comment on column public.search_run_sites.error_message is
    'The reason, in a sentence for the user, from worker.messages. What the operator needs is in the event '
    'site_finished.';
comment on column public.search_run_sites.retryable is
    'Whether the same search may succeed later; null without an error.';
comment on column public.search_run_sites.progress is
    'How far it is: {step, current, total, details}, updated at most once a second. step is queued, searching or '
    'the source''s own word, waiting (details: {until, reason, message}), retrying, cancelled or finished. Within a '
    'step, current never decreases.';
comment on column public.search_run_sites.started_at is 'Start of the last attempt.';
comment on column public.search_run_sites.completed_at is 'When the status became final; null until then.';

create table public.run_events (
    id bigint generated always as identity primary key,
    run_id uuid not null references public.search_runs (id) on delete cascade,
    event text not null constraint run_events_event check (
        event in ('created', 'claimed', 'site_started', 'site_finished', 'rescued', 'released', 'retried', 'deferred',
                  'fallback', 'cancelled', 'finished', 'alert', 'slots_missed', 'slot_skipped', 'inactive_soon', 'exit_left')
    ),
    site text,
    data jsonb not null default '{}',
    created_at timestamptz not null
);
create index run_events_run_id on public.run_events (run_id, id);
-- What the alert rules count: few of all events.
create index run_events_for_alerts on public.run_events (event, created_at) where event in ('alert', 'rescued');
comment on table public.run_events is 'What happened to a run, in order. Append-only.';
comment on column public.run_events.id is 'Increases with time: the order of a run''s events.';
comment on column public.run_events.event is
    'created, claimed, site_started, site_finished, rescued (its worker died), released (its worker stopped), '
    'retried (sites failed and are searched again later), deferred (its sites must wait and are searched later), '
    'fallback (data.sites are searched, too, because of data.because: [{site, reason, message}]), cancelled, finished, alert (for the operator: data.reason is invalid_items, load_failed or page_refused), '
    'slots_missed (this run stands for more slots: data.slots), slot_skipped (a later slot of its schedule started no '
    'run: data.reason is late, active, quota, inactive or failing), inactive_soon (its schedule pauses at data.pauses_at '
    'unless the user is seen) or exit_left (a site refused the exit data.left, and is asked through data.exit).';
comment on column public.run_events.site is 'The site, for events of a site.';
comment on column public.run_events.data is
    'Details: worker_id, attempt, status, error_code, message (for the operator); for claimed, sites in the order in '
    'which they are searched.';

create table public.saved_searches (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    workspace_id uuid,
    name text not null constraint saved_searches_name_length check (length(name) between 1 and 200),
    kind text not null,
    parameters jsonb not null,
    collection text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint saved_searches_name unique (user_id, name)
);
create index saved_searches_namespace on public.saved_searches (split_part(collection, '/', 1))
    where collection is not null;
comment on table public.saved_searches is 'Searches that a user has saved under a name.';
comment on column public.saved_searches.user_id is 'Owner; by default the signed-in user.';
comment on column public.saved_searches.workspace_id is 'The frontend''s own grouping.';
comment on column public.saved_searches.name is 'Unique for each user; 1 to 200 characters.';
comment on column public.saved_searches.parameters is 'The same as for a run, with the same validation.';
comment on column public.saved_searches.collection is
    'The collection of an operator that it belongs to, as namespace/name; null if a user has saved it. Set by '
    'worker_apply_collections alone.';
