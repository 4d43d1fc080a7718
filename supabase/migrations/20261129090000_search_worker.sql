-- Made from supabase/schemas by ./scripts/schema: edit the files there.

-- kernel/clock
-- The schema `worker` and its clock. Every rule that depends on time reads this clock, so that tests can move it. If
-- the clock is set back, stored times are set back with it, so that nobody waits longer than before.
-- Calls: nothing.

-- Frontends see the schema `public`. Only the worker's RPCs use `worker`, which the API does not expose.
create schema worker;
comment on schema worker is
    'Private state of the search worker: leases, raw pages, settings. Not exposed through the API.';
revoke all on schema worker from public;

-- Tests move time by replacing this function. It does not return the start of the transaction: a transaction that
-- waited for a lock would write earlier times than the one that held the lock. It is stable nevertheless, because
-- PostgreSQL uses no index for a condition with a volatile function.
create function worker.now() returns timestamptz
language sql stable set search_path = ''
return clock_timestamp();
comment on function worker.now() is 'The clock of every time-dependent rule.';

create function worker.clock_set_back_since(at timestamptz) returns interval
language sql stable set search_path = ''
-- In seconds, because days differ in length.
return pg_catalog.make_interval(secs => extract(epoch from at - worker.now())::double precision);
comment on function worker.clock_set_back_since is
    'How far the clock was set back since a time, at least; negative if it was not.';

create function worker.format_time(at timestamptz) returns text
language sql stable set search_path = ''
return to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"');
comment on function worker.format_time is 'Formats a time for a message to people, in UTC.';

-- kernel/versions
-- Which version do the RPCs have, and which workers may take a run? Those that were made for this version or for the one
-- before it, because old and new workers run side by side while they are replaced.
-- Calls: nothing.

create function worker.schema_version() returns integer
language sql immutable set search_path = ''
return 7;
comment on function worker.schema_version is
    'Version of the RPCs. A migration that changes their arguments or results increases it, once in a release.';

create function worker.check_version(made_for integer) returns void
language plpgsql stable set search_path = '' as $$
begin
    if made_for > worker.schema_version() then
        raise sqlstate 'PT412' using message = format(
            'the database has version %s, and the worker is made for version %s: push the migrations of its release, '
            'then start it', worker.schema_version(), made_for);
    elsif made_for < worker.schema_version() - 1 then
        raise sqlstate 'PT412' using message = format(
            'the database has version %s, and the worker is made for version %s: replace it by one of the release '
            'whose migrations were pushed', worker.schema_version(), made_for);
    end if;
end;
$$;
comment on function worker.check_version is
    'Raises PT412 (HTTP 412) unless a worker that is made for this version may take runs. Null is not checked.';

-- tables/settings
-- The settings for all workers, and when each chore is due. Numbers that an operator may want to change are here, not
-- in functions.
-- Calls: nothing.

create table worker.settings (
    is_only_row boolean primary key default true check (is_only_row),
    max_rescues smallint not null default 3 check (max_rescues between 0 and 100),
    rescue_batch smallint not null default 100 check (rescue_batch between 1 and 1000),
    progress_interval interval not null default '1 second' check (progress_interval >= '0'),
    max_changes_per_interval integer not null default 50 check (max_changes_per_interval between 1 and 10000),
    max_live_followers smallint not null default 20 check (max_live_followers between 0 and 1000),
    worker_timeout interval not null default '2 minutes' check (worker_timeout >= '10 seconds'),
    retry_delay interval not null default '30 seconds' check (retry_delay >= '0'),
    max_retry_delay interval not null default '15 minutes' check (max_retry_delay >= '0'),
    max_pending_per_user integer default 100 check (max_pending_per_user >= 1),
    max_per_hour_per_user integer default 300 check (max_per_hour_per_user >= 1),
    max_running_per_user integer default 5 check (max_running_per_user >= 1),
    max_saved_searches_per_user integer default 500 check (max_saved_searches_per_user >= 1),
    max_slots_per_week_per_user integer default 500 check (max_slots_per_week_per_user >= 1),
    max_searches_per_namespace integer not null default 2000 check (max_searches_per_namespace between 1 and 10000),
    catch_up interval not null default '2 hours' check (catch_up >= '0'),
    schedule_jitter interval not null default '2 minutes' check (schedule_jitter >= '0'),
    max_failures_in_a_row smallint not null default 5 check (max_failures_in_a_row >= 1),
    inactive_after interval default '30 days' check (inactive_after >= '1 day'),
    inactive_warning interval not null default '3 days' check (inactive_warning >= '0'),
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
    rotating_window smallint not null default 20 check (rotating_window between 2 and 200),
    rotating_failures real not null default 0.5 check (rotating_failures > 0 and rotating_failures <= 1),
    embedding_model text,
    webhook_delays interval[] not null
        default '{5 seconds,5 minutes,30 minutes,2 hours,5 hours,10 hours,10 hours}'
        check (cardinality(webhook_delays) between 1 and 20 and array_position(webhook_delays, null) is null),
    keep_runs interval default '90 days' check (keep_runs >= '1 hour'),
    keep_events interval default '30 days' check (keep_events >= '1 hour'),
    keep_raw_pages interval default '14 days' check (keep_raw_pages >= '1 hour'),
    keep_webhooks interval default '14 days' check (keep_webhooks >= '2 days'),
    keep_run_stats interval default '400 days' check (keep_run_stats >= '1 day'),
    count_interval interval not null default '5 minutes' check (count_interval >= '1 second'),
    count_batch smallint not null default 1000 check (count_batch between 1 and 10000),
    keep_incidents interval default '90 days' check (keep_incidents >= '7 days'),
    retention_batch smallint not null default 100 check (retention_batch between 10 and 10000),
    retention_pause interval not null default '5 seconds' check (retention_pause >= '0'),
    retention_interval interval not null default '1 hour' check (retention_interval > '0')
);
insert into worker.settings default values;
comment on table worker.settings is 'Settings for all workers.';
comment on column worker.settings.max_rescues is
    'How often a run is rescued from a dead worker before it fails with worker_lost.';
comment on column worker.settings.rescue_batch is
    'Maximum number of expired leases that one claim rescues, and of due runs that it promotes.';
comment on column worker.settings.progress_interval is
    'Minimum time between two changes of a run because of its progress: Realtime sends each of them to every subscriber.';
comment on column worker.settings.max_changes_per_interval is
    'Maximum number of changes that the progress of all runs together makes in each progress_interval. The more runs '
    'are searched, the longer is the time between two changes of each.';
comment on column worker.settings.max_live_followers is
    'Maximum number of followers that get each progress of their leader. If a run has more, they are updated only when '
    'it is claimed, waits and ends.';
comment on column worker.settings.worker_timeout is
    'How long after its last claim or heartbeat a worker counts as living. Longer than WORKER_POLL_IDLE_SECONDS.';
comment on column worker.settings.retry_delay is
    'Delay before the second attempt, plus or minus 25 %. Doubles with each further attempt.';
comment on column worker.settings.max_retry_delay is 'Maximum delay before an attempt, without the 25 %.';
comment on column worker.settings.max_pending_per_user is
    'Maximum number of pending runs of a user, without scheduled runs; null for no limit.';
comment on column worker.settings.max_per_hour_per_user is
    'Maximum number of runs that a user starts within any hour, without scheduled runs; null for no limit.';
comment on column worker.settings.max_running_per_user is
    'Maximum number of runs of a user that are searched at the same time, by all workers; further runs wait. Null '
    'for no limit.';
comment on column worker.settings.max_saved_searches_per_user is
    'Maximum number of saved searches of a user, without those of collections; null for no limit.';
comment on column worker.settings.max_slots_per_week_per_user is
    'Maximum number of times a week that the saved searches of a user are repeated, without those of collections; null '
    'for no limit.';
comment on column worker.settings.max_searches_per_namespace is
    'Maximum number of searches in the collections of one namespace.';
comment on column worker.settings.catch_up is
    'A slot that is later than this is skipped: its search starts at the next one.';
comment on column worker.settings.schedule_jitter is
    'A scheduled run starts up to this long after its slot, by its fingerprint, so that equal searches start together.';
comment on column worker.settings.max_failures_in_a_row is
    'After this many failed runs in a row, a schedule is paused as failing.';
comment on column worker.settings.inactive_after is
    'The schedules of users who were not seen for this long are paused; null for never.';
comment on column worker.settings.inactive_warning is
    'How long before that the event inactive_soon warns.';
comment on column worker.settings.max_rows_per_request is
    'Maximum number of runs, saved searches and schedules that a user inserts in one transaction, including rejected and '
    'duplicate ones: each takes about a millisecond, in which other users wait.';
comment on column worker.settings.max_rows_per_service_request is
    'The same with the service key. The owner of the tables has no limit.';
comment on column worker.settings.freshness is 'Maximum age of a finished run that answers an equal search at once.';
comment on column worker.settings.max_invalid_share is
    'Share of invalid items on a page, from 0 to 1, above which an alert is written.';
comment on column worker.settings.inline_wait is
    'How far ahead a request is granted: the worker waits that long without giving the run back. A run in the '
    'middle of a page waits up to a minute.';
comment on column worker.settings.max_site_wait is
    'Maximum time that a run waits for a site. After that, the site fails.';
comment on column worker.settings.wait_grace is
    'How long a place in a site''s queue is kept for a run that is late. After that, the run no longer delays '
    'others.';
comment on column worker.settings.permit_slack is
    'Added to the periods and delays of a site, because requests take different times to arrive.';
comment on column worker.settings.max_quota_share is
    'Maximum share of a quota, from 0 to 1, that one user may take in its period, of buckets that all users share.';
comment on column worker.settings.manual_quota_reserve is
    'Share of a quota, from 0 to 1, that scheduled runs leave to all other runs.';
comment on column worker.settings.scheduled_quota_reserve is
    'Share of a quota, from 0 to 1, that all other runs leave to scheduled runs.';
comment on column worker.settings.max_priority_wait is
    'A run that has waited this long for a site gets the highest priority, so that scheduled runs do not starve.';
comment on column worker.settings.exploration is
    'Share of runs, from 0 to 1, whose sites are searched in random order: otherwise a site that was slow or '
    'failing once stays last. The same share of searches tries an exit whose pause has ended, while others work.';
comment on column worker.settings.rotating_window is
    'Number of the latest outcomes of a rotating exit that decide whether it is paused.';
comment on column worker.settings.rotating_failures is
    'Share of failures among them, above 0 and up to 1, at which a rotating exit is paused at a site.';
comment on column worker.settings.embedding_model is 'The model of the stored embeddings; null until a worker embeds.';
comment on column worker.settings.webhook_delays is
    'Delays before the second and each further attempt to send a webhook message, plus or minus 25 %. After the last '
    'one, the message is dead.';
comment on column worker.settings.keep_runs is
    'Age at which finished runs are deleted with everything that belongs to them, and the state of sites for '
    'accounts that no longer exist; null keeps them.';
comment on column worker.settings.keep_events is
    'Age at which events are deleted; null keeps them as long as their runs.';
comment on column worker.settings.keep_raw_pages is
    'Age at which raw pages are deleted; null keeps them as long as their runs.';
comment on column worker.settings.keep_webhooks is
    'Age at which webhook messages are deleted, whether they were delivered or not; null keeps them.';
comment on column worker.settings.keep_run_stats is
    'Age at which the counts of runs and the samples of the queue are deleted; null keeps them.';
comment on column worker.settings.count_interval is 'Time between two rounds of counting the runs that have ended.';
comment on column worker.settings.count_batch is
    'Maximum number of runs that are counted in one transaction. After an outage, rounds follow each other at once.';
comment on column worker.settings.keep_incidents is
    'Age at which ended incidents are deleted; null keeps them.';
comment on column worker.settings.retention_batch is
    'Maximum number of rows of each table that are deleted at a time (of runs, a tenth: Realtime broadcasts each of '
    'them).';
comment on column worker.settings.retention_pause is 'Minimum time between two batches of deletions.';
comment on column worker.settings.retention_interval is 'Time until the next deletion, once nothing is left to delete.';

create table worker.housekeeping (
    task text primary key,
    after_id uuid not null default '00000000-0000-0000-0000-000000000000',
    after_at timestamptz not null default '-infinity',
    next_at timestamptz not null
);
insert into worker.housekeeping (task, next_at) values ('retention', '-infinity'), ('alerts', '-infinity'),
    ('seen_users', '-infinity');
comment on table worker.housekeeping is 'Chores that one of the workers does from time to time, beside its searches.';
comment on column worker.housekeeping.after_id is
    'Where the chore continues: after the organization, or the schedule, with this id.';
comment on column worker.housekeeping.after_at is
    'Where counting continues: all runs that ended before this time are counted.';
comment on column worker.housekeeping.next_at is 'The chore is not done before this time.';

-- tables/kinds
-- What can be searched for, which parameters each kind has, and how sites are called. A new kind is a few rows and no
-- new code.
-- Calls: nothing.

create table worker.kinds (
    kind text primary key,
    is_private boolean not null default false
);
comment on table worker.kinds is
    'The kinds of search. A new kind is a row here and its rules in worker.parameter_rules.';
comment on column worker.kinds.is_private is
    'Whether items belong to the user who found them, such as people found through an account; otherwise items are '
    'public.';

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
    'What search_runs.parameters may contain, for each kind. A new kind of search is a few rows here.';
comment on column worker.parameter_rules.type is 'texts and integers are lists of them.';
comment on column worker.parameter_rules.minimum is 'Smallest number, shortest text or shortest list.';
comment on column worker.parameter_rules.maximum is 'Largest number, longest text or longest list.';
comment on column worker.parameter_rules.allowed is
    'The only values allowed, for a text or for each element of a list.';
comment on column worker.parameter_rules.default_value is 'The value when a run does not have the parameter.';
comment on column worker.parameter_rules.names_boards_of is
    'The site whose boards the user names with this parameter. The user chooses their content: see '
    'items.from_named_board.';

create table worker.sites (
    site text primary key,
    label text not null
);
comment on table worker.sites is
    'The names of sites for people. A site without a row is called by its key: zip_recruiter would be Zip Recruiter.';

create table worker.messages (
    code text primary key,
    sentence text not null
);
comment on table worker.messages is
    'What users read when a site fails or has to wait: error_message, and progress.details.message. Change a row to '
    'use other words, or another language.';
comment on column worker.messages.code is 'An error code of a site, or a reason of worker.site_waits.';
comment on column worker.messages.sentence is
    'Without its full stop. {site} is replaced by the label of the site.';

-- tables/runs
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

-- tables/leases
-- Which workers live, which worker may write to a running run, and which ended leaders still have runs that depend on them.
-- Calls: nothing.

-- Heartbeats must be HOT updates: no index on the expiry (0 % HOT with one, 96.5 % without), and free space on each
-- page.
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
comment on table worker.leases is 'Which worker may write to a running run, until when. The token proves it.';
comment on column worker.leases.worker_id is 'The worker''s name, for people.';
comment on column worker.leases.token is 'Sent with every write. Each claim creates a new one.';
comment on column worker.leases.claim_id is
    'The claim that created the lease. The same claim again returns the same runs.';
comment on column worker.leases.duration is 'How long a heartbeat extends the lease.';
comment on column worker.leases.user_id is
    'The user for whose max_running_per_user it counts: the run''s owner, or a follower''s owner if the run''s '
    'owner had reached the limit.';
comment on column worker.leases.expires_at is 'After this time, the next claim of any worker rescues the run.';

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
    'Leaders that ended or were deleted while other runs need their results, or that were deferred while another '
    'run joined them. The next claim settles those runs, so that nobody who ends or deletes a run waits for them.';
comment on column worker.ended_leaders.run_id is
    'The leader_run_id of its followers, and the shared_run_id of the runs that it answered.';
comment on column worker.ended_leaders.former is 'The run, if it was deleted; null if it still exists.';
comment on column worker.ended_leaders.sites is 'Its sites, if it was deleted.';
comment on column worker.ended_leaders.results is 'Its results, if it was deleted.';
comment on column worker.ended_leaders.is_handed_over is 'Whether one of its followers has become the new leader.';
comment on column worker.ended_leaders.tried_at is 'When it was settled last: the oldest comes first.';

-- Updated again and again: keep the updates HOT.
create table worker.workers (
    worker_id text primary key,
    version text not null,
    sites jsonb not null,
    limits jsonb not null,
    concurrency integer not null,
    exits text[] not null default '{""}',
    started_at timestamptz not null,
    seen_at timestamptz not null
) with (fillfactor = 50);
comment on table worker.workers is
    'The workers that have claimed or sent a heartbeat within a day. Written at most every 10 seconds for each.';
comment on column worker.workers.worker_id is 'The worker''s name, as in its leases.';
comment on column worker.workers.version is 'Version of the library.';
comment on column worker.workers.sites is
    'The sites that it can search now, by kind: {kind: [site]}. Without those whose credentials are missing.';
comment on column worker.workers.limits is
    'The limits that the sources of these sites declare: {kind: {site: {bucket: limits}}}.';
comment on column worker.workers.concurrency is 'How many runs it searches at the same time at most, with the memory that it has now.';
comment on column worker.workers.exits is
    'The names of its exits, without addresses; empty for its own address.';
comment on column worker.workers.started_at is 'When it was started, by its own clock.';
comment on column worker.workers.seen_at is
    'Its last claim or heartbeat. It lives if this is younger than worker.settings.worker_timeout.';

-- tables/organizations
-- What sites say about employers: one row for each company, by the core of its name.
-- Calls: nothing.

create table public.organizations (
    -- From key and owner, so that items have it without a look at this table (items.organization_id).
    id uuid primary key generated always as (md5(coalesce(owner_id::text, '') || ' ' || key)::uuid) stored,
    key text not null,
    owner_id uuid references auth.users (id) on delete cascade,
    name text not null,
    url text,
    profile_url text,
    logo_url text,
    address text,
    industry text,
    employees text,
    employees_min integer generated always as (substring(employees from '^\d{1,9}')::integer) stored,
    employees_max integer generated always as (substring(employees from '\d{1,9}$')::integer) stored,
    revenue text,
    description text,
    rating numeric,
    review_count integer,
    seen_at jsonb not null
);
-- Not unique: the id follows from the two, and pages insert with one constraint alone as the arbiter of conflicts.
create index organizations_key on public.organizations (key, owner_id);
create index organizations_owner_id on public.organizations (owner_id) where owner_id is not null;
comment on table public.organizations is
    'Employers. Each field is the newest that a site reported. Boards that a user named do not count, because their '
    'content cannot be trusted. A user who sets board_organizations gets rows of his own from them.';
comment on column public.organizations.id is 'Follows from key and owner_id.';
comment on column public.organizations.key is 'Normalized name, without legal forms, as in items.organization_key.';
comment on column public.organizations.owner_id is
    'Null for what all users see; otherwise the user who named the boards that it is from, and the only one who may '
    'see it.';
comment on column public.organizations.name is 'The name, as a site spells it.';
comment on column public.organizations.url is 'Its own website.';
comment on column public.organizations.profile_url is 'The page of a site about it.';
comment on column public.organizations.address is 'Its main address.';
comment on column public.organizations.industry is 'In the words of a site.';
comment on column public.organizations.employees is 'Number of employees, such as 51-200, 10001+ or 120.';
comment on column public.organizations.employees_min is 'The least number of employees.';
comment on column public.organizations.employees_max is 'The greatest number of employees; null if there is none.';
comment on column public.organizations.revenue is 'In the words of a site.';
comment on column public.organizations.description is 'Markdown.';
comment on column public.organizations.rating is 'Average rating on a site, up to 5.';
comment on column public.organizations.review_count is 'Number of reviews on a site.';
comment on column public.organizations.seen_at is
    'For each known field, when its value was first seen: {name, url, ...}.';

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
    places jsonb not null default '[]' constraint items_places check (jsonb_typeof(places) = 'array'),
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
    -- As organizations.id. No foreign key: it would lock the row of a company for each of its items.
    organization_id uuid generated always as (
        case when owner_id is null and not from_named_board then md5(' ' || organization_key)::uuid end) stored,
    place_key text,
    text_signature bit(1024),
    duplicate_of uuid references public.items (id) on delete set null,
    from_named_board boolean not null default false,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    -- The key first, because no index can be used for `owner_id is not distinct from`.
    constraint items_canonical_key unique nulls not distinct (canonical_key, kind, owner_id)
-- Items are found again and again, and those of a page together: with free space, 91 % of the updates are HOT, without
-- it 12 %. Updates do not copy long texts, which are stored elsewhere.
) with (fillfactor = 50);
create index items_owner_id on public.items (owner_id) where owner_id is not null;
create index items_organization_id on public.items (organization_id) where organization_id is not null;
create index items_duplicate_of on public.items (duplicate_of) where duplicate_of is not null;
-- Hash indexes, because keys have any length and a B-tree entry has at most 2,704 bytes.
create index items_apply_key on public.items using hash (apply_key) where apply_key is not null;
create index items_match_key on public.items using hash (match_key) where match_key is not null;
comment on table public.items is 'Canonical items found, shared by all runs that found them.';
comment on column public.items.kind is 'The kind of the runs that found it.';
comment on column public.items.owner_id is 'Null for public items; otherwise the only user who may see it.';
comment on column public.items.organization is 'The employer of a job or a person.';
comment on column public.items.is_remote is 'Null if the site does not say.';
comment on column public.items.posted_at is 'When it was published, as the site says.';
comment on column public.items.salary_min is 'In currency, for each salary_interval.';
comment on column public.items.salary_max is 'In currency, for each salary_interval.';
comment on column public.items.salary_interval is 'yearly, monthly, weekly, daily or hourly.';
comment on column public.items.currency is 'ISO 4217 code of the salary.';
comment on column public.items.url is 'The item''s page on the site that found it.';
comment on column public.items.apply_url is 'Where to apply, if the site names another page.';
comment on column public.items.city is 'The city, if the location names one.';
comment on column public.items.region is 'The state or province, if the location names one.';
comment on column public.items.country is 'ISO 3166-1 alpha-2 code, if the location names a country.';
comment on column public.items.places is
    'All places, as objects with city, region, country, latitude and longitude; unknown parts are null. They are '
    'completed by a gazetteer, while city, region and country have only what the location and the site say, and only '
    'what all places share.';
comment on column public.items.work_mode is 'remote, hybrid or onsite; null if unknown.';
comment on column public.items.job_types is
    'Any of fulltime, parttime, contract, temporary, internship, perdiem, volunteer, other.';
comment on column public.items.salary_yearly_min is 'salary_min for a year of full-time work.';
comment on column public.items.salary_yearly_max is 'salary_max for a year of full-time work.';
comment on column public.items.skills is 'Skills that the description names.';
comment on column public.items.experience_years is 'Minimum years of experience that the description asks for.';
comment on column public.items.data is 'Everything else that the site reported.';
comment on column public.items.canonical_key is 'The site and its own id of the item.';
comment on column public.items.apply_key is 'Canonical form of an apply_url that identifies one job.';
comment on column public.items.match_key is
    'Normalized title, first word of the organization, and cities: items that may be the same thing.';
comment on column public.items.organization_key is 'Normalized organization, without its legal form.';
comment on column public.items.organization_id is
    'The row of organizations. Null for private items and boards that a user named.';
comment on column public.items.place_key is 'Normalized cities, region and country, with | between them.';
comment on column public.items.text_signature is
    'The pairs of neighbouring words of the description, each of which sets one bit. See worker.text_similarity.';
comment on column public.items.duplicate_of is
    'The item that stands for the group of duplicates: the oldest one, if possible not from_named_board. Null for '
    'that item itself.';
comment on column public.items.from_named_board is
    'Whether it is from a board that a user named, whose content cannot be trusted: it is suggested as similar only '
    'to users who found it.';
comment on column public.items.first_seen_at is 'When a run first found it.';
comment on column public.items.last_seen_at is 'When a run last found it.';

create table public.item_sources (
    id bigint generated always as identity primary key,
    site text not null,
    external_id text not null,
    item_id uuid not null references public.items (id) on delete cascade,
    owner_id uuid references auth.users (id) on delete cascade,
    url text not null,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    -- One item for each kind and owner, as in items_canonical_key.
    constraint item_sources_external_id unique (site, external_id, item_id)
) with (fillfactor = 50);
create index item_sources_item_id on public.item_sources (item_id);
create index item_sources_owner_id on public.item_sources (owner_id) where owner_id is not null;
comment on table public.item_sources is 'Where each item was seen: one row for each sighting.';
comment on column public.item_sources.external_id is 'The site''s own id of the item.';
comment on column public.item_sources.url is 'The item''s page on this site.';
comment on column public.item_sources.owner_id is
    'The owner of the item. Two users may each own a private sighting of the same profile.';

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
-- With the run, so that who has seen a thing is read from the index: a popular thing is in the results of many runs.
create index search_results_item_id on public.search_results (item_id, run_id);
comment on table public.search_results is
    'Which run found which item.';
comment on column public.search_results.id is
    'Random: if you publish the table, Realtime sends the key of a deleted row to everybody who listens.';
comment on column public.search_results.site is 'The site that returned it first.';
comment on column public.search_results.page_number is 'The site''s page with the item, from 1.';
comment on column public.search_results.position is 'Position on the page, from 1.';

create table worker.kept_apart (
    item_id uuid not null references public.items (id) on delete cascade,
    other_id uuid not null references public.items (id) on delete cascade,
    primary key (item_id, other_id),
    constraint kept_apart_order check (item_id < other_id)
);
create index kept_apart_other_id on worker.kept_apart (other_id);
comment on table worker.kept_apart is 'Items that an operator has split. They are not merged again.';

create table worker.embedding_queue (
    item_id uuid primary key references public.items (id) on delete cascade,
    attempts smallint not null default 0,
    due_at timestamptz not null,
    error text
);
create index embedding_queue_due_at on worker.embedding_queue (due_at);
comment on table worker.embedding_queue is
    'Items whose text changed since it was embedded. Empty while no worker embeds.';
comment on column worker.embedding_queue.due_at is 'Not before this time; infinity after the last attempt failed.';
comment on column worker.embedding_queue.error is 'Why the last attempt failed.';

-- tables/pages
-- Pages as the sites sent them, and why items of a page are missing.
-- Calls: nothing.

create table worker.raw_collections (
    id bigint generated always as identity primary key,
    -- Without a foreign key: pages of a deleted run stay for the run that takes it over (worker.leader_deleted).
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
    strategy text not null constraint raw_collections_strategy check (strategy in ('scheduled', 'manual', 'import', 'reprocess')),
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
comment on table worker.raw_collections is
    'Every page as the site sent it. Its key prevents a page from being saved twice.';
comment on column worker.raw_collections.source is 'The name of the source that fetched it.';
comment on column worker.raw_collections.attempt is 'The site''s attempt within the run.';
comment on column worker.raw_collections.query is 'The parameters of the search.';
comment on column worker.raw_collections.query_hash is 'The fingerprint of the run.';
comment on column worker.raw_collections.payload is
    'The response, unchanged. Of an import: {imported_records: [...]}, up to 100 records of the file.';
comment on column worker.raw_collections.response_ms is 'Response time of the site, in milliseconds.';
comment on column worker.raw_collections.strategy is
    'Why its items were last loaded: for a scheduled run, for another run, for an import, or to reprocess the page.';
comment on column worker.raw_collections.status is
    'fetched (to be transformed), completed, partial (some items were invalid) or failed (all were invalid, or it '
    'was not loaded).';
comment on column worker.raw_collections.version is 'Version of the source that transformed it.';
comment on column worker.raw_collections.item_count is 'Number of valid items.';
comment on column worker.raw_collections.invalid_count is
    'Number of items that could not be read; see worker.processing_log.';
comment on column worker.raw_collections.result_count is 'Number of results that it added to its run.';
comment on column worker.raw_collections.new_count is
    'Number of items that no earlier run of the same search had found. For an incremental run: no run that started '
    'before newer_than.';
comment on column worker.raw_collections.completeness is
    'Share of its items, from 0 to 1, that have each of the main fields.';
comment on column worker.raw_collections.transform_ms is 'Duration of the transform, in milliseconds.';
comment on column worker.raw_collections.transformed_at is 'When it was last loaded.';
comment on column worker.raw_collections.claimed_until is 'Until then, a worker is reprocessing it.';
comment on column worker.raw_collections.calls_used is 'Number of requests that it cost.';
comment on column worker.raw_collections.account is 'The account that it was fetched through; empty without one.';
comment on column worker.raw_collections.cursor is
    'Where the next page begins, in the source''s own format; null if the search cannot continue from here.';
comment on column worker.raw_collections.is_last is 'Whether it is the last page.';

create index raw_collections_fetched on worker.raw_collections (id) where status = 'fetched';
-- For the alert rules, which look at the last hour once a minute.
create index raw_collections_fetched_at on worker.raw_collections (fetched_at);

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
comment on table worker.processing_log is 'Why items of a page, or the whole page, could not be loaded.';
comment on column worker.processing_log.item_index is
    'Position of the item on the page, from 0; null for the whole page.';
comment on column worker.processing_log.field is 'The invalid field, if known.';
comment on column worker.processing_log.raw is 'The item as the site sent it.';

-- tables/sites
-- The state of sites that all workers share: accounts, health, circuit breakers, limits and their use, and which runs
-- search a site or wait for it.
-- Calls: kernel/clock.

create table worker.accounts (
    user_id uuid not null references auth.users (id) on delete cascade,
    site text not null,
    workspace_id uuid,
    account text not null,
    constraint accounts_account unique nulls not distinct (user_id, site, workspace_id)
);
comment on table worker.accounts is
    'The accounts through which sites are searched for their users. Set with worker_set_account.';
comment on column worker.accounts.workspace_id is
    'Only for runs of this workspace; null for all other runs of the user. Each user of a workspace has a row of '
    'their own, because the workspace that a run names is not validated.';
comment on column worker.accounts.account is 'The account''s id, in the format of the source that searches the site.';

create table worker.site_health (
    site text,
    account text default '',
    exit text default '',
    last_success_at timestamptz,
    last_failure_at timestamptz,
    last_error_code text,
    consecutive_failures integer not null default 0,
    success_rate real constraint site_health_success_rate check (success_rate between 0 and 1),
    response_ms real constraint site_health_response_ms check (response_ms >= 0),
    search_seconds real constraint site_health_search_seconds check (search_seconds >= 0),
    paused_until timestamptz,
    paused_by text,
    trips smallint not null default 0,
    prober_run_id uuid references worker.leases (run_id) on delete set null,
    latest_outcomes text not null default '',
    updated_at timestamptz not null default worker.now(),
    primary key (site, account, exit)
);
create index site_health_prober_run_id on worker.site_health (prober_run_id) where prober_run_id is not null;
comment on table worker.site_health is
    'How each site responds, through each account and exit, to all workers, and its circuit breaker: closed while '
    'paused_until is null, open until paused_until, then half open, when one run at a time probes the site. A site is '
    'paused when all of its exits are.';
comment on column worker.site_health.account is 'The account that the site is searched through; empty without one.';
comment on column worker.site_health.exit is
    'The exit that it is asked through; empty for the worker''s own address, and at sites that know a worker by its key or account.';
comment on column worker.site_health.last_error_code is 'Code of the last failure; stays after a success.';
comment on column worker.site_health.consecutive_failures is
    'Runs that failed since the last success, as the breaker counts them: each run once, and only a few of each '
    'user.';
comment on column worker.site_health.success_rate is
    'Moving average, from 0 to 1: the last search counts for a fifth. Null before the first search.';
comment on column worker.site_health.response_ms is
    'Moving average of the response time, in milliseconds. Null before the first search.';
comment on column worker.site_health.search_seconds is
    'Moving average of the duration of successful searches, in seconds. Null before the first one.';
comment on column worker.site_health.paused_until is
    'The breaker is open until then, and half open after that; null when it is closed.';
comment on column worker.site_health.paused_by is 'Code of the failure that opened the breaker.';
comment on column worker.site_health.trips is
    'How often the breaker opened since it was last closed. Each pause is twice as long as the one before.';
comment on column worker.site_health.prober_run_id is 'The run that probes the site while the breaker is half open.';
comment on column worker.site_health.latest_outcomes is
    'Of a rotating exit: the latest outcomes, at most worker.settings.rotating_window, the last one at the end: s for a '
    'good page, f for a failure. Empty for other exits.';
comment on column worker.site_health.updated_at is
    'The clock at the last change. If it is in the future, the clock was set back, and the other times are set back '
    'with it.';

-- Without a foreign key to the user, to avoid a deadlock of the deletion of a user with a worker.
create table worker.site_failures (
    site text,
    account text,
    exit text default '',
    user_id uuid,
    run_ids uuid[] not null,
    failures integer not null default 1,
    failed_at timestamptz not null,
    pause interval,
    paused_by text,
    primary key (site, account, exit, user_id)
);
comment on table worker.site_failures is
    'Runs of each user that failed at a site since any user''s last success there. The breaker counts them. A user '
    'who alone has enough of them to open the breaker is paused alone.';
comment on column worker.site_failures.account is 'The account that the site was searched through; empty without one.';
comment on column worker.site_failures.exit is
    'The exit that it was searched through; empty for the worker''s own address, and at sites that know a worker by its key or account.';
comment on column worker.site_failures.run_ids is 'The last twenty runs. Each run counts once, however often it fails.';
comment on column worker.site_failures.failures is 'Number of runs.';
comment on column worker.site_failures.failed_at is 'When the last of these runs failed first.';
comment on column worker.site_failures.pause is
    'How long the user''s runs do not search the site from then on; null for no pause.';
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
    ('network', 5, 3, '2 minutes', '30 minutes'),
    ('exit_failed', 1, 1, '2 minutes', '1 hour');
comment on table worker.breaker_rules is
    'Error codes that count as failures of a site, and when they open its breaker. Other codes neither open nor '
    'close it. exit_failed: the exit does not work, whatever the site.';
comment on column worker.breaker_rules.failures is
    'Number of runs that failed in a row, with any code, at which a failure with this code opens the breaker. Where a '
    'site has several exits, the first one that is blocked or rate_limited opens that of its exit.';
comment on column worker.breaker_rules.failures_per_user is
    'Maximum number of runs of one user that count. Lower than failures, so that one user alone does not open the '
    'breaker. Through an account, all runs count, because it belongs to its users.';
comment on column worker.breaker_rules.pause is 'First pause. Each further pause is twice as long.';
comment on column worker.breaker_rules.max_pause is 'Maximum pause, unless the site itself asks for more.';

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
        constraint bucket_limits_searches_per_account check (searches_per_account between 1 and 1000000),
    total_requests integer constraint bucket_limits_total_requests check (total_requests between 1 and 1000000)
);
comment on table worker.bucket_limits is
    'The operator''s own limits, for each exit. A limit that is not null overrides what the source declares and what the '
    'site reports.';
comment on column worker.bucket_limits.bucket is
    'What is counted together: a site, or site:name for requests that are counted separately.';
comment on column worker.bucket_limits.requests is 'Requests within any period_seconds.';
comment on column worker.bucket_limits.period_seconds is 'Period of requests, in seconds.';
comment on column worker.bucket_limits.burst is 'Maximum number of requests that may be sent at once.';
comment on column worker.bucket_limits.min_delay_seconds is 'Minimum time between two requests, in seconds.';
comment on column worker.bucket_limits.quota is 'Requests in each quota_period.';
comment on column worker.bucket_limits.quota_period is 'day or month, by the calendar.';
comment on column worker.bucket_limits.quota_timezone is
    'The time zone (IANA) at whose midnight the quota period begins.';
comment on column worker.bucket_limits.searches is
    'Maximum number of concurrent searches of the site, through all accounts, for each exit. Only for the site''s own '
    'bucket.';
comment on column worker.bucket_limits.searches_per_account is
    'Maximum number of concurrent searches through one account. Only for the site''s own bucket.';
comment on column worker.bucket_limits.total_requests is
    'Requests within any period_seconds through all exits together.';

create table worker.site_buckets (
    bucket text,
    account text default '',
    exit text default '',
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
    primary key (bucket, account, exit)
-- All permits of a site update one row: keep these updates HOT.
) with (fillfactor = 50);
comment on table worker.site_buckets is 'How much of each bucket of requests is used, through each account and exit.';
comment on column worker.site_buckets.bucket is
    'What is counted together: a site, or site:name for requests that are counted separately.';
comment on column worker.site_buckets.account is 'The account that the requests are sent through; empty without one.';
comment on column worker.site_buckets.exit is
    'The exit that the requests are sent through; empty for the worker''s own address, and for what a site counts by key '
    'or account; * for all exits together.';
comment on column worker.site_buckets.next_at is
    'When the bucket is empty again at its rate: the theoretical arrival time of GCRA.';
comment on column worker.site_buckets.last_at is
    'Time of the last granted request; it may be some seconds in the future.';
comment on column worker.site_buckets.paused_until is 'Until then, the site asked for no requests.';
comment on column worker.site_buckets.quota is 'The quota at the last permit; null for none.';
comment on column worker.site_buckets.quota_used is
    'Requests granted since the quota period began, or more if the site reports that others used it too.';
comment on column worker.site_buckets.scheduled_used is 'Requests of quota_used that scheduled runs took.';
comment on column worker.site_buckets.quota_resets_at is 'When the next quota period begins.';
comment on column worker.site_buckets.quota_period is 'Number of the current quota period: increases at each reset.';
comment on column worker.site_buckets.told_quota is 'The quota that the site reported.';
comment on column worker.site_buckets.told_left is
    'The remaining quota that the site reported, minus what was granted since.';
comment on column worker.site_buckets.is_reset_told is
    'Whether the site reported quota_resets_at; otherwise it follows from the calendar.';
comment on column worker.site_buckets.updated_at is
    'The clock at the last change. If it is in the future, the clock was set back, and the other times are set back '
    'with it.';

-- Without a foreign key to the user, as in worker.site_failures.
create table worker.site_shares (
    bucket text,
    user_id uuid,
    exit text default '',
    used integer not null,
    quota_period integer not null,
    last_at timestamptz not null,
    primary key (bucket, user_id, exit)
) with (fillfactor = 50);
comment on table worker.site_shares is
    'What each user took of the buckets without an account, which all users share: for fair shares of a quota, and '
    'for the order in which users take turns.';
comment on column worker.site_shares.exit is 'The exit, as in worker.site_buckets.';
comment on column worker.site_shares.used is 'Requests granted in that quota period.';
comment on column worker.site_shares.quota_period is
    'The quota_period of worker.site_buckets. In a later period, nothing is used yet.';
comment on column worker.site_shares.last_at is
    'When the last request was granted. The user who was served longest ago is next.';

create table worker.site_searches (
    run_id uuid references worker.leases (run_id) on delete cascade,
    site text,
    account text not null,
    exit text not null default '',
    waiting_since timestamptz,
    waited interval not null default '0',
    is_within_page boolean not null default false,
    primary key (run_id, site)
);
create index site_searches_site on worker.site_searches (site);
comment on table worker.site_searches is
    'Searches under way, for the limits of concurrent searches. A search whose lease has expired does not count.';
comment on column worker.site_searches.account is 'The account that the site is searched through; empty without one.';
comment on column worker.site_searches.exit is
    'The exit that it uses; empty for the worker''s own address, and at sites that know a worker by its key or account.';
comment on column worker.site_searches.waiting_since is
    'When it began to wait for its next page, or to request it. It keeps its place in the queue until it has the '
    'page.';
comment on column worker.site_searches.waited is 'How long it has waited since then.';
comment on column worker.site_searches.is_within_page is
    'Whether it got a permit since its last page. If it is deferred now, it has to repeat those requests.';

create table worker.site_waits (
    run_id uuid references public.search_runs (id) on delete cascade,
    site text,
    account text not null,
    exit text not null default '',
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
comment on table worker.site_waits is 'Sites of runs that wait to be searched. worker.site_queue decides who is next.';
comment on column worker.site_waits.account is
    'The account that it waits for; empty without one, or if it waits for a slot among all searches of the site.';
comment on column worker.site_waits.exit is
    'The exit whose pace or quota it waits for, as in worker.site_buckets; empty also if it waits for any exit.';
comment on column worker.site_waits.bucket is
    'The bucket that it waits for, or the site if it waits for the search to begin.';
comment on column worker.site_waits.requests is 'Number of requests that it waits for.';
comment on column worker.site_waits.waiting_since is
    'When it was first refused, or granted a permit, since its last page. Orders the waiting runs of a user.';
comment on column worker.site_waits.due_at is 'When it may ask again.';
comment on column worker.site_waits.waited is 'How long it will have waited by due_at.';
comment on column worker.site_waits.reason is
    'paused (the site failed, or asked for a pause), rate, quota or searches (the maximum number of concurrent '
    'searches).';
comment on column worker.site_waits.message is
    'The reason, in one line for the operator. Users read a sentence of worker.messages.';
comment on column worker.site_waits.lets_pass is
    'Whether other runs are served until it is due: it waits for its user''s share of a quota, or for the reserve '
    'of scheduled runs.';

create table worker.exit_stats (
    day date,
    site text,
    exit text,
    requests bigint not null default 0,
    refused bigint not null default 0,
    bytes bigint not null default 0,
    reporter uuid,
    primary key (day, site, exit, reporter)
);
comment on table worker.exit_stats is
    'What workers sent through each exit to each site, by day (UTC). Workers report it about once a minute.';
comment on column worker.exit_stats.reporter is 'A process of a worker, which reports its own totals of the day.';
comment on column worker.exit_stats.exit is 'The exit; empty for a worker''s own address.';
comment on column worker.exit_stats.requests is 'Requests sent, also those without an answer.';
comment on column worker.exit_stats.refused is 'How often a search left the exit, because the site refused it or it failed.';
comment on column worker.exit_stats.bytes is 'Bytes of the bodies of the answers, decompressed.';

-- tables/schedules
-- When is a saved search repeated, and when was its user last seen?
-- Calls: nothing.

create table public.search_schedules (
    saved_search_id uuid primary key references public.saved_searches (id) on delete cascade,
    time_zone text not null,
    times time[] not null,
    weekdays smallint[] not null default '{1,2,3,4,5,6,7}',
    paused text constraint search_schedules_paused check (paused in ('user', 'inactive', 'failing', 'invalid')),
    paused_reason text,
    active_since timestamptz not null default now(),
    next_slot_at timestamptz,
    last_slot_at timestamptz,
    last_run_id uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint search_schedules_next_slot_at check ((paused is null) = (next_slot_at is not null))
);
create index search_schedules_due on public.search_schedules (next_slot_at) where paused is null;
create index search_schedules_failing on public.search_schedules (updated_at) where paused = 'failing';
create index search_schedules_last_slot_at on public.search_schedules (last_slot_at);
create index search_schedules_inactive on public.search_schedules (saved_search_id) where paused = 'inactive';
comment on table public.search_schedules is 'When saved searches are repeated. A slot is one instant at which one is due.';
comment on column public.search_schedules.time_zone is 'IANA name, such as Europe/London.';
comment on column public.search_schedules.times is 'Times of day in the time zone, in whole minutes: 1 to 24.';
comment on column public.search_schedules.weekdays is 'ISO days of the week: 1 is Monday, 7 is Sunday.';
comment on column public.search_schedules.paused is
    'Null while it repeats. user: its user paused it; inactive: its user was not seen for a long time; failing: its '
    'last runs failed; invalid: its search is not valid any more.';
comment on column public.search_schedules.paused_reason is 'Why it is paused, as a sentence.';
comment on column public.search_schedules.active_since is 'Since when it repeats without a pause.';
comment on column public.search_schedules.next_slot_at is 'The next slot; null while it is paused.';
comment on column public.search_schedules.last_slot_at is 'The last slot that was decided: with a run, or skipped.';
comment on column public.search_schedules.last_run_id is 'The last run that a slot started.';

create table worker.user_activity (
    user_id uuid primary key references auth.users (id) on delete cascade,
    seen_at timestamptz not null
);
comment on table worker.user_activity is 'When users last called mark_seen.';

-- tables/webhooks
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

-- tables/run_stats
-- How many runs have ended, how long they took and what they found: counts by hour and by day, which stay when the runs
-- are deleted. And how long the queue was.
-- Calls: nothing.

create table worker.run_stats (
    span text not null constraint run_stats_span check (span in ('hour', 'day')),
    begins_at timestamptz not null,
    site text not null,
    kind text not null,
    source public.run_source not null,
    outcome text not null,
    error_code text not null,
    runs bigint not null,
    durations bigint[] not null,
    waits bigint[] not null,
    attempts bigint not null,
    pages bigint not null,
    requests bigint not null,
    items bigint not null,
    new_items bigint not null,
    valid_items bigint not null,
    invalid_items bigint not null,
    primary key (span, site, begins_at, kind, source, outcome, error_code)
);
create index run_stats_begins_at on worker.run_stats (span, begins_at);
-- The errors of admin_overview are read from the index alone.
create index run_stats_errors on worker.run_stats (span, begins_at, error_code) include (runs)
    where site = '' and error_code <> '';
comment on table worker.run_stats is
    'Counts of the runs that ended in each hour, and in each day (UTC), of all users. A run counts once, in the rows '
    'without a site; its sites count in rows of their own.';
comment on column worker.run_stats.span is 'hour or day. The rows of days have the sums of their hours, for long periods.';
comment on column worker.run_stats.begins_at is
    'Begin of the hour or day in which the runs ended: search_runs.completed_at decides.';
comment on column worker.run_stats.site is
    'Empty: the row counts runs. Otherwise it counts searches of this site, by the runs that searched it themselves.';
comment on column worker.run_stats.outcome is 'Final status of the runs, or of their sites.';
comment on column worker.run_stats.error_code is 'Error code of the runs, or of their sites; empty without an error.';
comment on column worker.run_stats.runs is 'Number of runs, or of sites of runs.';
comment on column worker.run_stats.durations is
    'How many took how long, from the first claim to the end, in the buckets of worker.time_buckets. Of a site, its last '
    'attempt. Runs that were never claimed are not in it.';
comment on column worker.run_stats.waits is
    'How many waited how long for their first claim, in the same buckets: since they were inserted, or since their slot. '
    'Imports are not in it, nor are sites.';
comment on column worker.run_stats.attempts is 'How often the runs, or the searches of the site, were started.';
comment on column worker.run_stats.pages is 'Pages that they saved, of all attempts.';
comment on column worker.run_stats.requests is 'Requests to sites that these pages cost.';
comment on column worker.run_stats.items is 'Things that the runs found; of a site, its results.';
comment on column worker.run_stats.new_items is
    'Things of items that their users had not seen before; of a site, those that no earlier run of the same search had.';
comment on column worker.run_stats.valid_items is 'Items that were read from the pages of the last search of each site.';
comment on column worker.run_stats.invalid_items is 'Items on these pages that could not be read.';

-- As worker.run_stats, without kinds, sources and error codes: of these, a busy project has a hundred combinations in
-- each hour, and admin_overview reads up to 400 days.
create table worker.run_totals (
    span text not null constraint run_totals_span check (span in ('hour', 'day')),
    begins_at timestamptz not null,
    outcome text not null,
    runs bigint not null,
    durations bigint[] not null,
    waits bigint[] not null,
    pages bigint not null,
    requests bigint not null,
    items bigint not null,
    new_items bigint not null,
    primary key (span, begins_at, outcome)
);
comment on table worker.run_totals is
    'Counts of the runs that ended in each hour, and in each day (UTC), of all users: the sums of the rows of '
    'worker.run_stats without a site. The columns are the same.';

create table worker.page_stats (
    day date not null,
    site text not null,
    source text not null,
    pages bigint not null,
    failed_pages bigint not null,
    items bigint not null,
    invalid_items bigint not null,
    fields jsonb not null,
    primary key (day, site, source)
);
comment on table worker.page_stats is
    'What sources made of the pages of the runs that ended on each day (UTC): worker.data_quality, kept for longer.';
comment on column worker.page_stats.source is 'The source that fetched the pages.';
comment on column worker.page_stats.fields is 'How many of the items have each of the main fields: {name: items}.';

create table worker.queue_samples (
    at timestamptz primary key,
    ready integer not null,
    delayed integer not null,
    running integer not null
);
comment on table worker.queue_samples is 'How many runs were in the queue, at most every five minutes, while a worker lived.';
comment on column worker.queue_samples.ready is 'Runs that could start.';
comment on column worker.queue_samples.delayed is 'Runs that were not due yet.';
comment on column worker.queue_samples.running is 'Runs that were searched.';

create table worker.counted_runs (
    run_id uuid primary key,
    completed_at timestamptz not null
);
create index counted_runs_completed_at on worker.counted_runs (completed_at);
comment on table worker.counted_runs is
    'Runs in worker.run_stats that ended after worker.housekeeping.after_at: they are not counted again.';

insert into worker.housekeeping (task, next_at) values ('run_counts', '-infinity');

-- tables/alerts
-- What does the operator want to be notified of, and which problems are there now? The addresses of the notices are in
-- the environment of the workers: they have passwords and tokens.
-- Calls: nothing.

create table worker.alert_rules (
    rule text primary key constraint alert_rules_rule check (rule in (
        'failure_rate', 'oldest_ready_run', 'no_worker', 'late_slot', 'site_paused', 'quota', 'processing_errors',
        'waiting', 'invalid_items', 'refused_pages', 'worker_lost', 'schedules_failing')),
    unit text not null constraint alert_rules_unit check (unit in ('share', 'seconds', 'count')),
    threshold double precision not null constraint alert_rules_threshold
        check (threshold > 0 and threshold < 'infinity' and (unit <> 'share' or threshold <= 1)),
    period interval not null default '1 hour'
        constraint alert_rules_period check (period between '1 minute' and '7 days'),
    least_count integer not null default 1
        constraint alert_rules_least_count check (least_count between 1 and 10000),
    opens_after interval not null default '2 minutes'
        constraint alert_rules_opens_after check (opens_after between '0' and '1 day'),
    resolves_after interval not null default '15 minutes'
        constraint alert_rules_resolves_after check (resolves_after between '0' and '1 day'),
    continues_within interval not null default '6 hours'
        constraint alert_rules_continues_within check (continues_within between '0' and '7 days'),
    remind_after interval default '1 day' constraint alert_rules_remind_after check (remind_after >= '1 day'),
    is_enabled boolean not null default true
);
insert into worker.alert_rules (rule, unit, threshold, period, least_count, opens_after) values
    ('failure_rate', 'share', 0.2, '1 hour', 20, '2 minutes'),
    ('oldest_ready_run', 'seconds', 600, default, default, '2 minutes'),
    ('no_worker', 'seconds', 300, default, default, '0'),
    ('late_slot', 'seconds', 600, default, default, '2 minutes'),
    ('site_paused', 'count', 1, '1 hour', default, '0'),
    ('quota', 'share', 0.8, default, default, '0'),
    ('processing_errors', 'share', 0.05, '1 hour', 20, '2 minutes'),
    ('waiting', 'seconds', 3600, default, default, '2 minutes'),
    ('invalid_items', 'share', 0.1, '1 hour', 50, '2 minutes'),
    ('refused_pages', 'count', 1, '1 hour', default, '0'),
    ('worker_lost', 'count', 1, '1 hour', default, '0'),
    ('schedules_failing', 'count', 1, '1 day', default, '0');
comment on table worker.alert_rules is
    'What is checked once a minute. A rule is broken while its value reaches the threshold.';
comment on column worker.alert_rules.rule is
    'failure_rate, oldest_ready_run, no_worker, late_slot, site_paused, quota, processing_errors, waiting, '
    'invalid_items, refused_pages, worker_lost or schedules_failing. docs/alerts.md explains each.';
comment on column worker.alert_rules.unit is 'Unit of the threshold: share (from 0 to 1), seconds or count.';
comment on column worker.alert_rules.threshold is 'The rule is broken while the value is at least this.';
comment on column worker.alert_rules.period is
    'What is measured: the last hour, for example. For site_paused: how long after its pause a site counts that no run '
    'has probed. No effect for rules that measure a state: oldest_ready_run, no_worker, late_slot, quota, waiting.';
comment on column worker.alert_rules.least_count is
    'Number of runs, pages or items from which a share means something. With fewer, the rule is not broken.';
comment on column worker.alert_rules.opens_after is
    'How long a rule must be broken, at each check, before an incident opens.';
comment on column worker.alert_rules.resolves_after is
    'How long a rule must be fine before its incident ends; twice as long each time that the incident continues, and '
    'at most a day.';
comment on column worker.alert_rules.continues_within is
    'An incident that is there again within this time after its end continues the former one.';
comment on column worker.alert_rules.remind_after is
    'Time between two reminders of an incident, at least a day; null for none.';

create table worker.incidents (
    id uuid primary key default gen_random_uuid(),
    rule text not null references worker.alert_rules (rule) on delete cascade,
    subject text not null,
    value double precision not null,
    detail text not null,
    broken_since timestamptz not null,
    broken_at timestamptz not null,
    opened_at timestamptz,
    openings smallint not null default 0,
    resolved_at timestamptz,
    notice text constraint incidents_notice check (notice in ('opened', 'reminder', 'resolved')),
    notice_at timestamptz,
    due_at timestamptz,
    attempts smallint not null default 0,
    delivered_to text[] not null default '{}',
    notified_at timestamptz,
    error text,
    constraint incidents_openings check ((opened_at is not null) = (openings > 0)),
    constraint incidents_resolved_at check (resolved_at is null or opened_at is not null),
    constraint incidents_notice_at check ((notice is not null) = (notice_at is not null)
                                          and (notice is not null) = (opened_at is not null)),
    constraint incidents_due_at check (due_at is null or notice is not null)
);
create unique index incidents_open on worker.incidents (rule, subject) where resolved_at is null;
create index incidents_resolved_at on worker.incidents (resolved_at) where resolved_at is not null;
create index incidents_due_at on worker.incidents (due_at) where due_at is not null;
comment on table worker.incidents is
    'Broken alert rules: at most one open incident of each rule and subject. Its notice is sent to the addresses of the '
    'workers.';
comment on column worker.incidents.subject is 'What the rule found, such as a site; empty if it is about the whole.';
comment on column worker.incidents.value is 'The value when the rule was last broken, in the unit of the rule.';
comment on column worker.incidents.detail is 'The same as a sentence.';
comment on column worker.incidents.broken_since is 'The first of the checks that found the rule broken without a gap.';
comment on column worker.incidents.broken_at is 'The last check that found the rule broken.';
comment on column worker.incidents.opened_at is
    'When it opened. Null while it is not certain: it opens after opens_after, and is deleted if the rule is fine before.';
comment on column worker.incidents.openings is 'How often it opened: more than once if it continued after its end.';
comment on column worker.incidents.resolved_at is 'When it ended; null until then.';
comment on column worker.incidents.notice is
    'The last notice: opened, reminder or resolved. A new one replaces one that could not be sent.';
comment on column worker.incidents.notice_at is 'When there was reason for this notice.';
comment on column worker.incidents.due_at is
    'When the next attempt to send the notice may begin; while a worker makes one, until when it has to report the '
    'result. Null once it is sent, or all attempts have failed.';
comment on column worker.incidents.attempts is 'Failed attempts to send the notice.';
comment on column worker.incidents.delivered_to is
    'Addresses that have the notice, each as a hash with the key of the workers: it is not sent to them again.';
comment on column worker.incidents.notified_at is 'When a notice was last sent to all addresses.';
comment on column worker.incidents.error is 'Why the last attempt failed, as a sentence; null after a success.';

-- kernel/parameters
-- What is the value of a run's parameter? What the user sent, otherwise the default of its rule. The run's sites and
-- the number of results that it wants follow from it, and what it does with boards that the user names.
-- Calls: nothing.

create function worker.parameter(kind text, parameters jsonb, name text) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
    return coalesce(
        nullif(parameters -> name, 'null'),
        (select rule.default_value from worker.parameter_rules as rule
         where rule.kind = parameter.kind and rule.name = parameter.name)
    );
end;
$$;
comment on function worker.parameter is 'Returns a parameter of a run, or its default.';

create function worker.sites_of(kind text, parameters jsonb, list text default 'sites')
returns table (site text, ordinal bigint)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select named.site, min(named.ordinal)
    from jsonb_array_elements_text(worker.parameter(kind, parameters, list))
        with ordinality as named (site, ordinal)
    group by named.site;
end;
$$;
comment on function worker.sites_of is
    'Returns the sites of a run, or with fallback_sites those of that list, each once, in the order in which the user '
    'named them.';

create function worker.results_wanted(kind text, parameters jsonb) returns integer
language plpgsql stable set search_path = '' as $$
begin
    return worker.parameter(kind, parameters, 'results_wanted')::integer;
end;
$$;
comment on function worker.results_wanted is 'Returns how many results a run wants from each site.';

create function worker.has_fallbacks(kind text, parameters jsonb) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return worker.parameter(kind, parameters, 'fallback_sites') is not null;
end;
$$;
comment on function worker.has_fallbacks is 'Returns whether a run names fallback sites.';

create function worker.is_named_board(kind text, site text) returns boolean
language sql stable set search_path = ''
return exists (
    select from worker.parameter_rules as rule
    where rule.kind = is_named_board.kind and rule.names_boards_of = is_named_board.site);
comment on function worker.is_named_board is 'Returns whether users name the boards of a site.';

create function worker.keeps_board_organizations(kind text, parameters jsonb) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return coalesce(worker.parameter(kind, parameters, 'board_organizations') = 'true', false);
end;
$$;
comment on function worker.keeps_board_organizations is
    'Returns whether the user of a run gets organizations of his own from the boards that he names.';

-- kernel/imports
-- Is a run an import? The pages of an import come from a file: they say nothing about a site.
-- Calls: nothing.

create function worker.is_import(run_id uuid) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return (
    select exists (
        select from public.search_runs as run where run.id = is_import.run_id and run.source = 'import')
    );
end;
$$;
comment on function worker.is_import is 'Returns whether the results of a run come from a file.';

-- kernel/messages
-- Which sentence does a user read when a site fails or has to wait? One for each code, in worker.messages. What the
-- operator needs is in the log and in the events.
-- Calls: kernel/clock.

insert into worker.messages (code, sentence) values
    ('invalid_parameters', '{site} cannot search for what was asked'),
    ('unauthorized', '{site} cannot be searched: its account or key is missing, or was refused'),
    ('blocked', '{site} is not answering at the moment'),
    ('rate_limited', '{site} takes no more requests for now'),
    ('quota_exceeded', 'The quota of requests to {site} is used up'),
    ('timeout', '{site} did not answer in time'),
    ('network', '{site} could not be reached'),
    ('not_found', '{site} does not know what was asked for'),
    ('unverified', '{site} gave no answer that could be read completely'),
    ('upstream', '{site} answered with an error'),
    ('internal', 'The search of {site} failed because of an error on our side'),
    ('worker_lost', 'The search of {site} was interrupted too often'),
    ('import_lost', 'The import of {site} was interrupted'),
    ('paused', '{site} is not answering at the moment'),
    ('rate', '{site} takes no more requests for now'),
    ('quota', 'The quota of requests to {site} is used up'),
    ('searches', '{site} is busy with other searches'),
    ('another_way', '{site} is not answering; trying another way');

create function worker.site_label(site text) returns text
language sql stable set search_path = ''
return coalesce(
    (select known.label from worker.sites as known where known.site = site_label.site),
    initcap(replace(site, '_', ' ')));
comment on function worker.site_label is 'Returns the name of a site for people.';

create function worker.time_for_user(at timestamptz) returns text
language sql stable set search_path = ''
return to_char(at at time zone 'UTC', case
    when (at at time zone 'UTC')::date = (worker.now() at time zone 'UTC')::date then 'HH24:MI "UTC"'
    else 'YYYY-MM-DD HH24:MI "UTC"' end);
comment on function worker.time_for_user is 'Formats a time for a sentence to a user: of today without the day.';

create function worker.message_for_user(
    code text, site text, retry_at timestamptz default null, reason text default null
) returns text
language sql stable set search_path = ''
return replace(
    coalesce((select known.sentence from worker.messages as known where known.code = message_for_user.code),
             'The search of {site} failed'),
    '{site}', worker.site_label(message_for_user.site))
|| case
    -- What the user can put right, in the words of the source, unless they are for the operator: variables, status codes,
    -- addresses.
    when code in ('invalid_parameters', 'not_found', 'unauthorized') and reason !~ '[A-Z]_[A-Z]|HTTP|[Pp]roxy|[Ss]tatus|://'
        then ': ' || rtrim(reason, '.')
    else '' end
|| coalesce('; it will be tried again at ' || worker.time_for_user(retry_at), '')
|| '.';
comment on function worker.message_for_user is
    'Returns the sentence of worker.messages for a failure or a wait of a site, with the time of the next attempt, and '
    'what the user can put right.';

-- kernel/run_sites
-- How the sites of a run are created, how their progress changes with a new step, and why they failed.
-- Calls: kernel/parameters, kernel/messages.

create function worker.add_sites(run_ids uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    insert into public.search_run_sites (run_id, site, position)
    select run.id, site.site, row_number() over (partition by run.id order by site.ordinal)
    from public.search_runs as run, worker.sites_of(run.kind, run.parameters) as site
    where run.id = any (add_sites.run_ids)
    order by run.id, site.ordinal;
end;
comment on function worker.add_sites is 'Creates the sites of runs, as their parameters name them.';

create function worker.require_site(run_id uuid, site text) returns void
language plpgsql stable set search_path = '' as $$
begin
    if not exists (select from public.search_run_sites as known
                   where known.run_id = require_site.run_id and known.site = require_site.site) then
        raise sqlstate '22023' using message = format('site must be one of the sites of the run, not %L', site);
    end if;
end;
$$;
comment on function worker.require_site is 'Raises 22023 (HTTP 400) unless the site is one of the run''s.';

create function worker.with_step(progress jsonb, step text) returns jsonb
language sql immutable set search_path = ''
return progress - 'details' || pg_catalog.jsonb_build_object('step', step);
comment on function worker.with_step is 'Returns the progress of a site with another step.';

create function worker.waiting_progress(former jsonb, site text, wait jsonb) returns jsonb
language sql stable set search_path = ''
return worker.with_step(former, 'waiting') || jsonb_build_object('details', jsonb_build_object(
    'until', wait -> 'until', 'reason', wait -> 'reason',
    'message', worker.message_for_user(wait ->> 'reason', site, (wait ->> 'until')::timestamptz)));
comment on function worker.waiting_progress is
    'Returns the progress of a site that has to wait, with the reason as a sentence for the user.';

create function worker.site_errors(run_id uuid, out error_code text, out error_message text)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    select (array_agg(site.error_code order by site.position))[1], string_agg(site.error_message, ' ' order by site.position)
    into error_code, error_message
    from public.search_run_sites as site
    where site.run_id = site_errors.run_id and site.error_code is not null and exists (
        select from public.search_run_sites as asked
        where asked.run_id = site_errors.run_id and asked.status <> 'completed' and not asked.is_fallback);
end;
$$;
comment on function worker.site_errors is
    'Returns the code of the first site of a run that failed, and the sentences of all of them. Those of fallback sites '
    'do not count if the others completed.';

-- kernel/counts
-- How far is a run, and what has it found? Progress is what its sites have found, and what they have given up on for
-- good. A site that may be searched again, or in whose place fallback sites are searched, counts with what it has found.
-- The number of things follows from the results.
-- Calls: kernel/parameters.

create function worker.run_counts(run public.search_runs, out jobs_found integer, out progress_current integer)
language plpgsql stable set search_path = '' as $$
begin
    select counted.jobs_found,
           case
               when (run_counts.run).status in ('success', 'partial', 'failed') and (run_counts.run).progress_total is not null
                   then (run_counts.run).progress_total
               else greatest((run_counts.run).progress_current, least(
                   counted.reached + greatest(counted.by_fallbacks, counted.given_up),
                   case when (run_counts.run).completed_at is null then (run_counts.run).progress_total - 1 end))
           end
    into jobs_found, progress_current
    from (
        select coalesce(sum(site.jobs_found), 0) as jobs_found,
               sum(case when site.status = 'completed' then coalesce(wanted.results, site.jobs_found) else share.found end)
                   filter (where not site.is_fallback) as reached,
               coalesce(sum(share.found) filter (where site.is_fallback), 0) as by_fallbacks,
               case when coalesce(
                   bool_and(site.completed_at is not null and site.retryable is not true) filter (where site.is_fallback),
                   not worker.has_fallbacks((run_counts.run).kind, (run_counts.run).parameters))
               then sum(wanted.results - share.found) filter (
                   where site.status in ('partial', 'failed') and site.retryable is not true and not site.is_fallback)
               end as given_up
        from (select worker.results_wanted((run_counts.run).kind, (run_counts.run).parameters) as results) as wanted
        left join public.search_run_sites as site on site.run_id = (run_counts.run).id
        cross join lateral (select least(site.jobs_found, wanted.results) as found) as share
    ) as counted;
end;
$$;
comment on function worker.run_counts is
    'Returns how many results the sites of a run have, and how far the run is: never less than before, and all of '
    'progress_total only once it has ended.';

create function worker.runs_shown_before(run public.search_runs) returns uuid[]
language plpgsql stable set search_path = '' as $$
begin
    return array(
        select distinct case when earlier.shared_run_id is not null then earlier.shared_run_id else earlier.id end
        from public.search_runs as earlier
        where earlier.user_id = (runs_shown_before.run).user_id
          and earlier.fingerprint = (runs_shown_before.run).fingerprint
          and earlier.status in ('success', 'partial')
          and earlier.completed_at <= (runs_shown_before.run).created_at
          and earlier.id <> (runs_shown_before.run).id
        order by 1);
end;
$$;
comment on function worker.runs_shown_before is
    'Returns the runs whose results the user of a run had seen before it: those of finished runs of the same search.';

create function worker.count_things(
    run_id uuid, shown_run_ids uuid[], out items_found integer, out new_items integer
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    select count(distinct case when item.duplicate_of is not null then item.duplicate_of else item.id end) into items_found
    from public.search_results as result join public.items as item on item.id = result.item_id
    where result.run_id = count_things.run_id;

    new_items := case when count_things.run_id = any (shown_run_ids) then 0 else items_found end;
    if shown_run_ids = '{}' or new_items = 0 then
        return;
    end if;
    select count(*) into new_items
    from (
        select distinct case when item.duplicate_of is not null then item.duplicate_of else item.id end as id
        from public.search_results as result join public.items as item on item.id = result.item_id
        where result.run_id = count_things.run_id
    ) as thing
    where not exists (
        select from (
            select thing.id
            union all
            select duplicate.id from public.items as duplicate where duplicate.duplicate_of = thing.id
        ) as sighting
        join public.search_results as shown on shown.item_id = sighting.id
        -- Not any(), which would search the index once for each run.
        where array_position(shown_run_ids, shown.run_id) is not null);
end;
$$;
comment on function worker.count_things is
    'Returns how many things the results of a run are, and how many of them are not among the results of other runs.';

create function worker.things_found(run_ids uuid[]) returns table (run_id uuid, items_found integer, new_items integer)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    -- Followers of one run are counted together if their users have seen the same.
    with asking as materialized (
        select run.id, case when run.shared_run_id is not null then run.shared_run_id
                            when run.leader_run_id is not null then run.leader_run_id
                            else run.id end as searched_run_id,
               worker.runs_shown_before(run) as shown_run_ids
        from public.search_runs as run
        where run.id = any (things_found.run_ids)
    ), counted as materialized (
        select search.searched_run_id, search.shown_run_ids, things.items_found, things.new_items
        from (select distinct asking.searched_run_id, asking.shown_run_ids from asking) as search
        cross join lateral worker.count_things(search.searched_run_id, search.shown_run_ids) as things
    )
    select asking.id, counted.items_found, counted.new_items
    from asking
    join counted on counted.searched_run_id = asking.searched_run_id and counted.shown_run_ids = asking.shown_run_ids;
end;
$$;
comment on function worker.things_found is
    'Returns for each run how many things it or the run that searches for it has found, and how many of them the user '
    'had not seen before: those with run_items.is_new.';

create function worker.settled_at_once(items_found integer) returns integer
language sql immutable set search_path = ''
return greatest(20, least(1000, 50000 / greatest(1, items_found)));
comment on function worker.settled_at_once is
    'Returns for how many runs the things of a run are counted in one transaction. If each user has seen other runs '
    'before, 1,000 things and 50 runs take 0.7 s.';

-- kernel/lease
-- May this worker still write to the run? Only with the token of the current lease. The lock order is: the runs in the
-- order of their ids, then their leases. Without the lease: has the worker itself ended it?
-- Calls: nothing.

create function worker.lock_leases(run_ids uuid[], lease_tokens uuid[]) returns table (run_id uuid, state text)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    free uuid[] := run_ids;
begin
    -- The runs before their leases, as everywhere: two orders could deadlock.
    if cardinality(run_ids) = 1 then
        perform from public.search_runs as run where run.id = run_ids[1] for no key update;
    else
        free := array(
            select run.id from public.search_runs as run where run.id = any (run_ids)
            order by run.id
            for no key update skip locked);
    end if;
    return query
    with asked as materialized (
        select given.* from unnest(run_ids, lease_tokens) as given (run_id, lease_token)
    ), held as materialized (
        select lease.run_id
        from worker.leases as lease
        join asked on asked.run_id = lease.run_id and asked.lease_token = lease.token
        where lease.run_id = any (free)
        order by lease.run_id
        for update of lease
    )
    select asked.run_id, case when held.run_id is not null then 'held'
                              when run.id <> all (free) then 'busy'
                              when run.status = 'cancelled' then 'cancelled'
                              else 'lease_lost' end
    from asked
    left join held on held.run_id = asked.run_id
    left join public.search_runs as run on run.id = asked.run_id;
end;
$$;
comment on function worker.lock_leases is
    'Locks runs and their leases until the transaction ends. Returns the state of each: held, lease_lost, cancelled, or '
    'busy if another transaction has locked it. Waits for a single run alone, so that no run waits for those of others.';

create function worker.lease_digest(lease_token uuid) returns text
language sql immutable set search_path = ''
return encode(sha256(convert_to(lease_token::text, 'UTF8')), 'hex');
comment on function worker.lease_digest is 'Returns what the events of a run keep of the token of a lease.';

create function worker.has_ended_attempt(run_id uuid, lease_token uuid) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return exists (
        select from public.run_events as event
        where event.run_id = has_ended_attempt.run_id and event.event in ('finished', 'retried', 'deferred')
          and event.data ->> 'lease_digest' = worker.lease_digest(lease_token)
    );
end;
$$;
comment on function worker.has_ended_attempt is
    'Returns whether the holder of a lease ended the run, or gave it back to the queue because its sites wait or are '
    'retried.';

create function worker.lock_lease(run_id uuid, lease_token uuid) returns void
language plpgsql set search_path = '' as $$
declare
    state text := (select lease.state from worker.lock_leases(array[run_id], array[lease_token]) as lease);
begin
    if state <> 'held' then
        raise sqlstate 'PT409' using
            message = state,
            detail = format('The token is not the one that run %s is leased with.', run_id),
            hint = 'Stop working on this run.';
    end if;
end;
$$;
comment on function worker.lock_lease is
    'Locks a run and its lease until the transaction ends. Raises PT409 (HTTP 409), lease_lost or cancelled, '
    'without the lease.';

-- kernel/pages
-- Which saved pages belong to the current search of a run's site? Those since the last first page.
-- Calls: nothing.

create function worker.pages_of_search(run_id uuid, site text) returns table (
    attempt smallint, page_number integer, status text, account text, cursor jsonb, is_last boolean, response_ms integer
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select page.attempt, page.page_number, page.status, page.account, page.cursor, page.is_last, page.response_ms
    from worker.raw_collections as page
    where page.run_id = pages_of_search.run_id and page.site = pages_of_search.site
      and page.attempt >= (
        select max(first.attempt) from worker.raw_collections as first
        where first.run_id = pages_of_search.run_id and first.site = pages_of_search.site and first.page_number = 1);
end;
$$;
comment on function worker.pages_of_search is
    'Returns the saved pages of a run''s site since its search last began with the first page.';

-- parameters/kinds
-- The kinds of search that the library has, the parameters of each (types, bounds, allowed values and defaults), and the
-- names of the sites.
-- Calls: nothing.

insert into worker.kinds (kind, is_private) values ('jobs', false), ('people', true), ('creators', false);

insert into worker.parameter_rules (kind, name, type, is_required, minimum, maximum, allowed, default_value) values
    ('jobs', 'sites', 'texts', false, 1, 20,
     '{linkedin,indeed,glassdoor,zip_recruiter,bayt,naukri,bdjobs,hellowork,jsearch,greenhouse,ashby,lever,arbeitnow,remotive}',
     '["linkedin", "indeed"]'),
    ('jobs', 'fallback_sites', 'texts', false, 1, 20,
     '{linkedin,indeed,glassdoor,zip_recruiter,bayt,naukri,bdjobs,hellowork,jsearch,greenhouse,ashby,lever,arbeitnow,remotive}',
     null),
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
    ('jobs', 'board_organizations', 'boolean', false, null, null, null, 'false'),
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

insert into worker.sites (site, label) values
    ('linkedin', 'LinkedIn'), ('indeed', 'Indeed'), ('glassdoor', 'Glassdoor'), ('zip_recruiter', 'ZipRecruiter'),
    ('bayt', 'Bayt'), ('naukri', 'Naukri'), ('bdjobs', 'BDJobs'), ('hellowork', 'HelloWork'), ('jsearch', 'JSearch'),
    ('greenhouse', 'Greenhouse'), ('ashby', 'Ashby'), ('lever', 'Lever'), ('arbeitnow', 'Arbeitnow'),
    ('remotive', 'Remotive'), ('unipile', 'LinkedIn'), ('youtube', 'YouTube');

-- parameters/check
-- Is this search valid? The parameters of every run are checked against worker.parameter_rules. The size of a value is
-- checked first, before anything else reads it.
-- Calls: kernel/parameters.

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
comment on function worker.describe_rule is 'Describes the values that a rule allows.';

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
comment on function worker.obeys_rule is 'Returns whether a rule allows a parameter''s value.';

-- Must run before anything else reads a value from a user. Otherwise a rule or a fingerprint would convert `1e131071`
-- to a text of 131,072 digits.
create function worker.check_json(field text, value jsonb) returns void
language plpgsql immutable set search_path = '' as $$
declare
    problem text;
begin
    if jsonb_typeof(value) <> 'object' then
        raise sqlstate '22023' using message = format('%s must be an object', field);
    end if;
    -- The stored size: 16,384 bytes of text take at most four times as much, plus a header.
    if pg_column_size(value) > 4 * 16384 + 64 then
        raise sqlstate '22023' using message = format('%s must be at most 16384 bytes long', field);
    end if;

    -- All numbers of JavaScript are within these bounds. The check does not convert numbers to text.
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
    'Raises 22023 (HTTP 400) unless a value from a user is an object of at most 16 kB whose numbers fit the range '
    'of JavaScript. Takes little time and memory for any value. Accepts null.';

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

    if problem is null then
        select format('parameters.fallback_sites must not name a site of parameters.sites: %s', min(twice.site))
        into problem
        from worker.sites_of(check_parameters.kind, parameters) as twice
        join worker.sites_of(check_parameters.kind, parameters, 'fallback_sites') as fallback on fallback.site = twice.site
        having count(*) > 0;
    end if;
    if problem is not null then
        raise sqlstate '22023' using message = problem;
    end if;
end;
$$;
comment on function worker.check_parameters is
    'Raises 22023 (HTTP 400) with the first parameter that breaks a rule, and the values that the rule allows.';

-- webhooks/messages
-- Which events are sent to webhook endpoints? Those that an enabled endpoint wants, written in the transaction in which
-- they happen. A payload has ids, statuses and counts: the receiver reads the results with a key of its own.
-- Calls: kernel/clock.

create function worker.has_webhooks() returns boolean
language sql stable set search_path = ''
return exists (select from worker.webhook_endpoints as endpoint where endpoint.disabled_at is null);
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

-- sharing/equal_searches
-- When are two searches equal? If their fingerprints are equal. Decisions about equal searches are made one at a time,
-- under a lock on the fingerprint.
-- Calls: kernel/parameters.

create function worker.canonical(value jsonb) returns jsonb
language sql immutable set search_path = ''
return case pg_catalog.jsonb_typeof(value)
    when 'string' then pg_catalog.to_jsonb(pg_catalog.lower(pg_catalog.btrim(
        pg_catalog.regexp_replace(value #>> '{}', '\s+', ' ', 'g'))))
    when 'number' then pg_catalog.to_jsonb(pg_catalog.trim_scale((value #>> '{}')::numeric))
    else value
end;
comment on function worker.canonical is 'Returns the canonical form of a text or number.';

create function worker.fingerprint(kind text, parameters jsonb, user_id uuid, workspace_id uuid) returns text
language plpgsql stable set search_path = '' as $$
begin
    return pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.concat_ws(' ',
        kind,
        (select pg_catalog.concat_ws(' ', fingerprint.user_id, fingerprint.workspace_id)
         from worker.kinds as known
         where known.kind = fingerprint.kind
           and (known.is_private or worker.keeps_board_organizations(fingerprint.kind, fingerprint.parameters))),
        (
            select pg_catalog.jsonb_object_agg(rule.name, case pg_catalog.jsonb_typeof(given.value)
                when 'array' then (
                    select pg_catalog.jsonb_agg(distinct worker.canonical(element.value))
                    from pg_catalog.jsonb_array_elements(given.value) as element)
                else worker.canonical(given.value)
            end)
            from worker.parameter_rules as rule,
                lateral (select coalesce(nullif(fingerprint.parameters -> rule.name, 'null'), rule.default_value) as value) as given
            where rule.kind = fingerprint.kind and given.value is not null
        )
    ), 'UTF8')), 'hex');
end;
$$;
comment on function worker.fingerprint is
    'Returns equal values for equal searches: order, case, whitespace and omitted defaults do not matter. Searches '
    'of a private kind are equal only for the same owner and workspace, because another account may see other '
    'results. The same holds for searches that keep organizations for their user.';

create function worker.lock_fingerprint(fingerprint text, may_wait boolean) returns boolean
-- Less than deadlock_timeout (1 s), after which PostgreSQL looks for deadlocks.
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
    'Locks the decisions about equal searches until the transaction ends. Returns whether it got the lock, at once '
    'or within half a second. Without the lock, two runs that see no leader would both lead, and a follower could '
    'join a leader that is being settled.';

-- sharing/follow
-- What does a new follower change for its leader, and what does a leader pass on to its followers? A pending leader
-- takes the higher priority and the earlier newer_than of its followers. Followers get the status, the counts and the
-- progress of their leader.
-- Calls: kernel/clock, kernel/counts.

create function worker.must_update_leader(run public.search_runs, leader public.search_runs) returns boolean
language sql immutable set search_path = ''
return leader.status = 'pending' and (
    (run.priority, -run.position) > (leader.priority, -leader.position)
    or coalesce(run.newer_than, '-infinity') < coalesce(leader.newer_than, '-infinity'));
comment on function worker.must_update_leader is
    'Returns whether a pending leader must change for a new follower: a higher place in the queue, or more results.';

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
        -- worker.share has locked these leaders.
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
    'Gives pending leaders the place in the queue of their new followers, if it is higher, and their newer_than, if '
    'it is earlier.';

create function worker.update_followers(run_id uuid, with_progress boolean default true) returns void
language plpgsql set search_path = '' as $$
begin
    -- Skip locked followers, which may stay locked for long: they are updated the next time.
    with unlocked as (
        select follower.id
        from public.search_runs as leader join public.search_runs as follower on follower.leader_run_id = leader.id
        where leader.id = update_followers.run_id and follower.leader_run_id = update_followers.run_id
          and (follower.status <> leader.status
               or (with_progress and (follower.progress, follower.jobs_found)
                                     is distinct from (leader.progress, leader.jobs_found)))
        -- Ordered, so that the planner uses the index even if nearly all runs follow one.
        order by follower.leader_run_id, follower.user_id
        limit (select worker.settled_at_once(known.items_found) from public.search_runs as known
               where known.id = update_followers.run_id)
        for no key update of follower skip locked
    )
    update public.search_runs as follower
    set status = leader.status, error_code = leader.error_code, error_message = leader.error_message,
        started_at = coalesce(follower.started_at, case leader.status when 'running' then worker.now() end),
        progress = leader.progress, progress_current = greatest(follower.progress_current, leader.progress_current),
        jobs_found = leader.jobs_found, items_found = things.items_found, new_items = things.new_items
    from public.search_runs as leader, worker.things_found(array(select unlocked.id from unlocked)) as things
    where follower.id = things.run_id and leader.id = update_followers.run_id;
end;
$$;
comment on function worker.update_followers is
    'Gives a batch of the followers of an active leader its status, its counts and its progress: those whose status is '
    'another one, or whose progress is.';

create function worker.live_followers(run_id uuid) returns integer
language plpgsql stable set search_path = '' as $$
begin
    return (
    select case when counted.followers <= settings.max_live_followers then counted.followers else 0 end
    from worker.settings as settings
    cross join lateral (
        select count(*) as followers
        from (
            -- Ordered, so that the planner uses the index even if nearly all runs follow one.
            select from public.search_runs as follower
            where follower.leader_run_id = live_followers.run_id
            order by follower.leader_run_id, follower.user_id
            limit settings.max_live_followers + 1
        ) as first
    ) as counted
    );
end;
$$;
comment on function worker.live_followers is
    'Returns how many followers get each progress of a run: none if it has more than max_live_followers.';

-- sharing/answer
-- How does a run end that another run answers? With the status, counts and results of the run that answers it.
-- Calls: kernel/counts, webhooks/messages.

create function worker.write_answered_events(run_ids uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    insert into public.run_events (run_id, event, data, created_at)
    select run.id, 'finished', jsonb_build_object('status', run.status, 'shared_run_id', run.shared_run_id),
           run.completed_at
    from public.search_runs as run
    where run.id = any (write_answered_events.run_ids)
    order by run.id;

    select worker.announce_ended_runs(write_answered_events.run_ids);
end;
comment on function worker.write_answered_events is 'Writes the last event of runs that another run answers, and their webhook messages.';

create function worker.finish_followers(leader public.search_runs, followers uuid[]) returns void
language plpgsql set search_path = '' as $$
begin
    update public.search_runs as follower
    set leader_run_id = null, shared_run_id = leader.id, status = leader.status, jobs_found = leader.jobs_found,
        items_found = things.items_found, new_items = things.new_items,
        progress_current = leader.progress_current, progress = leader.progress, error_code = leader.error_code,
        error_message = leader.error_message, completed_at = leader.completed_at
    from worker.things_found(followers) as things
    where follower.id = things.run_id;
    perform worker.write_answered_events(followers);
end;
$$;
comment on function worker.finish_followers is 'Ends locked followers with the status and results of their leader.';

-- sharing/share
-- Which run searches? If an equal run has finished recently, it answers the new run at once. If an equal run is active,
-- the new run follows it. Otherwise the new run searches itself.
-- Calls: kernel/clock, kernel/counts, sharing/equal_searches, sharing/follow.

create function worker.can_serve(other public.search_runs, run public.search_runs) returns boolean
language sql stable set search_path = ''
return case
    when other.completed_at is null then
        other.leader_run_id is null and (other.run_after is null or other.started_at is not null)
        -- Or its newer_than can still change, because no page has been saved that it would continue after.
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
    'Returns whether another run of the same fingerprint answers a run at once, if it has finished, or can lead it, '
    'if it is active.';

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

    -- The conditions that use indexes; worker.can_serve checks the others.
    select * into other from public.search_runs as answer
    where answer.fingerprint = run.fingerprint and answer.completed_at > oldest_answer
      and answer.shared_run_id is null and worker.can_serve(answer, run)
    order by answer.completed_at desc
    limit 1;
    if not found then
        select * into other from public.search_runs as leader
        where leader.fingerprint = run.fingerprint and leader.completed_at is null and leader.leader_run_id is null
          and (leader.run_after is null or leader.started_at is not null) and worker.can_serve(leader, run)
        -- Prefer a leader that covers this run without a change, and of those the one with the least work.
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
    select things.* into run.items_found, run.new_items
    from worker.count_things(other.id, worker.runs_shown_before(run)) as things;
    run.progress_current := greatest(run.progress_current, other.progress_current);
    run.progress := other.progress;
    if other.completed_at is null then
        run.leader_run_id := other.id;
        run.status := other.status;
        run.error_code := other.error_code;
        run.error_message := other.error_message;
        run.started_at := case other.status when 'running' then worker.now() end;
    else
        run.shared_run_id := other.id;
        run.status := other.status;
        run.completed_at := worker.now();
    end if;
    return run;
end;
$$;
comment on function worker.share is
    'Returns a run as it is to be written: answered, following, or ready to be searched. If the fingerprint or the '
    'leader is locked by others, run_after is set, and promote_due_runs decides later.';

-- sharing/hand_over
-- What do dependent runs get from a leader that has ended or was deleted? Its sites, results and pages go to one of
-- them, which becomes the leader of the others or answers them.
-- Calls: kernel/clock, kernel/parameters, kernel/run_sites, kernel/counts.

create function worker.ended_leader_sites(ended worker.ended_leaders) returns setof public.search_run_sites
language sql stable set search_path = ''
begin atomic
    select site.* from public.search_run_sites as site where site.run_id = ended.run_id and ended.former is null
    union all
    select kept.* from jsonb_populate_recordset(null::public.search_run_sites, ended.sites) as kept;
end;
comment on function worker.ended_leader_sites is 'Returns the sites of a leader that has ended or was deleted.';

create function worker.ended_leader_results(ended worker.ended_leaders) returns setof public.search_results
language sql stable set search_path = ''
begin atomic
    select result.* from public.search_results as result where result.run_id = ended.run_id and ended.former is null
    union all
    select kept.* from jsonb_populate_recordset(null::public.search_results, ended.results) as kept
    where exists (select from public.items as item where item.id = kept.item_id);
end;
comment on function worker.ended_leader_results is 'Returns the results of a leader that has ended or was deleted.';

create function worker.transfer_results(run_id uuid, ended worker.ended_leaders) returns void
language sql volatile set search_path = ''
begin atomic
    insert into public.search_results (run_id, item_id, site, page_number, position, created_at)
    select transfer_results.run_id, result.item_id, result.site, result.page_number, result.position, result.created_at
    from worker.ended_leader_results(transfer_results.ended) as result
    order by result.created_at, result.position;

    -- With the pages, the run can be reprocessed and the search can resume.
    update worker.raw_collections as page set run_id = transfer_results.run_id
    where page.run_id = (transfer_results.ended).run_id;
end;
comment on function worker.transfer_results is
    'Copies the results of a leader that has ended or was deleted to a run, and moves its pages there.';

create function worker.transfer_search(run_id uuid, ended worker.ended_leaders) returns void
language sql volatile set search_path = ''
begin atomic
    select worker.transfer_results(transfer_search.run_id, transfer_search.ended);

    insert into public.search_run_sites (
        run_id, site, position, is_fallback, status, error_code, error_message, retryable, jobs_found, attempts, progress, started_at,
        completed_at)
    select transfer_search.run_id, site.site, row_number() over (order by asked.ordinal, site.position),
           site.is_fallback,
           case when searched.is_over then site.status else 'pending' end,
           case when searched.is_over then site.error_code end, case when searched.is_over then site.error_message end,
           case when searched.is_over then site.retryable end,
           (select count(*) from public.search_results as result
            where result.run_id = transfer_search.run_id and result.site = site.site),
           -- The next attempt must have another number than those with saved pages.
           site.attempts,
           case when searched.is_over then site.progress else worker.with_step(site.progress, 'queued') end,
           case when searched.is_over then site.started_at end,
           case when searched.is_over then site.completed_at end
    from worker.ended_leader_sites(transfer_search.ended) as site
    join public.search_runs as run on run.id = transfer_search.run_id
    -- Equal searches may have the sites in another order.
    left join lateral worker.sites_of(run.kind, run.parameters) as asked on asked.site = site.site
    cross join lateral (
        select site.status in ('completed', 'partial', 'failed') and site.retryable is not true as is_over
    ) as searched
    order by asked.ordinal, site.position;
end;
comment on function worker.transfer_search is
    'Gives a follower the sites and results of its ended leader. A site that completed, or failed for good, stays as it '
    'is. The others become pending.';

create function worker.detach_followers(followers uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    update public.search_runs as run
    set status = 'pending', leader_run_id = null, run_after = worker.now(), started_at = null, error_code = null,
        error_message = null, progress = jsonb_build_object('step', 'queued'), jobs_found = 0, items_found = 0, new_items = 0
    where run.id = any (detach_followers.followers);
    select worker.add_sites(detach_followers.followers);
end;
comment on function worker.detach_followers is
    'Makes locked followers due without a leader, so that promote_due_runs decides again.';

create function worker.promote_follower(former public.search_runs, followers uuid[], ended worker.ended_leaders)
returns void
language plpgsql set search_path = '' as $$
declare
    new_leader uuid := followers[1];
begin
    if new_leader is null then
        return;
    end if;
    -- An equal run may have become a leader since then.
    if ended.is_handed_over or exists (
        select from public.search_runs as leader
        where leader.fingerprint = former.fingerprint and leader.newer_than is not distinct from former.newer_than
          and leader.completed_at is null and leader.leader_run_id is null
          and (leader.run_after is null or leader.started_at is not null)
    ) then
        perform worker.detach_followers(followers);
        return;
    end if;

    perform worker.transfer_search(new_leader, ended);
    update public.search_runs as run
    set status = 'pending', leader_run_id = null, error_code = null, error_message = null,
        progress = jsonb_build_object('step', 'queued'),
        -- The saved pages, and all followers, need the same newer_than.
        newer_than = former.newer_than,
        started_at = case
            when exists (select from worker.raw_collections as page where page.run_id = new_leader)
              or exists (select from public.search_run_sites as site
                         where site.run_id = new_leader and site.completed_at is not null)
            then former.started_at
        end,
        jobs_found = counts.jobs_found, progress_current = counts.progress_current,
        items_found = things.items_found, new_items = things.new_items
    from public.search_runs as following
    cross join lateral worker.run_counts(following) as counts
    cross join lateral worker.count_things(new_leader, worker.runs_shown_before(following)) as things
    where run.id = new_leader and following.id = run.id;
    update public.search_runs as follower
    set leader_run_id = new_leader, status = 'pending', error_code = null, error_message = null,
        progress = jsonb_build_object('step', 'queued')
    where follower.id = any (followers) and follower.id <> new_leader;
    update worker.ended_leaders as known set is_handed_over = true where known.id = ended.id;
end;
$$;
comment on function worker.promote_follower is
    'Makes the first of the locked followers the leader of the others. It continues where the former leader '
    'stopped.';

create function worker.transfer_answer(former public.search_runs, runs uuid[], ended worker.ended_leaders) returns void
language plpgsql set search_path = '' as $$
declare
    new_run_id uuid := runs[1];
begin
    if new_run_id is null then
        return;
    end if;
    perform worker.transfer_results(new_run_id, ended);
    insert into public.search_run_sites
    select (jsonb_populate_record(searched, jsonb_build_object('run_id', new_run_id, 'id', gen_random_uuid()))).*
    from worker.ended_leader_sites(ended) as searched;
    update public.search_runs as answered
    set shared_run_id = nullif(new_run_id, answered.id),
        -- Which runs it can answer depends on the search that found the results.
        newer_than = case when answered.id = new_run_id then former.newer_than else answered.newer_than end,
        started_at = case when answered.id = new_run_id then former.started_at else answered.started_at end
    where answered.id = any (runs);

    -- Followers that have just ended with it were counted without its results.
    update public.search_runs as answered
    set items_found = things.items_found, new_items = things.new_items
    from worker.things_found(array(
        select run.id from public.search_runs as run
        where run.id = any (runs) and run.items_found is distinct from former.items_found)) as things
    where answered.id = things.run_id;
end;
$$;
comment on function worker.transfer_answer is
    'Gives the results of a deleted run to the first of the locked runs that it answered, which then answers the '
    'others.';

-- sharing/leader_ended
-- What happens to followers when their leader ends? If it finished, they finish with it. If it was cancelled, or failed
-- with a temporary error, the first follower becomes the leader of the others and continues the search. No
-- transaction waits for locked followers: the next claim settles the rest.
-- Calls: kernel/clock, kernel/counts, sharing/equal_searches, sharing/follow, sharing/answer, sharing/hand_over.

create function worker.has_answer(former public.search_runs, ended worker.ended_leaders) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return former.status in ('success', 'partial') or (former.status = 'failed' and not exists (
        select from worker.ended_leader_sites(ended) as site where site.retryable));
end;
$$;
comment on function worker.has_answer is
    'Returns whether the end of a run is also the end of its followers. A cancelled run, or one that failed and may '
    'succeed later, is no answer for other users.';

create function worker.has_dependents(run_id uuid, by_followers boolean default true, by_answered boolean default true)
returns boolean
language plpgsql stable set search_path = '' as $$
begin
    -- Ordered, so that the planner uses the index even if nearly all runs follow one.
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
end;
$$;
comment on function worker.has_dependents is 'Returns whether runs follow a run, or were answered with it.';

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
        if not found then  -- deleted since then: worker.leader_deleted has a row of its own
            return true;
        elsif former.completed_at is null then  -- deferred while a run was joining it
            perform worker.update_followers(former.id);
            return is_held;
        end if;
    end if;

    if worker.has_dependents(ended.run_id, by_answered => is_deleted) then
        followers := array(
            select follower.id from public.search_runs as follower
            where follower.leader_run_id = ended.run_id
            order by follower.priority desc, follower.position, follower.created_at, follower.id
            limit worker.settled_at_once(former.items_found)
            for no key update skip locked);
        if worker.has_answer(former, ended) then
            perform worker.finish_followers(former, followers);
            if is_deleted then
                answered := array(
                    select run.id from public.search_runs as run
                    where run.shared_run_id = ended.run_id
                    order by run.created_at, run.id
                    limit worker.settled_at_once(former.items_found)
                    for no key update skip locked);
                perform worker.transfer_answer(former, answered, ended);
            end if;
        elsif is_held then
            perform worker.promote_follower(former, followers, ended);
        end if;
    end if;

    -- A run that is joining it now is not visible yet, but holds the lock on the fingerprint.
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
    'Settles a batch of the runs that depend on a leader that has ended or was deleted: ends its followers with it, or '
    'lets them continue without it, and transfers its results. Skips locked runs. Returns whether nothing is left '
    'to do.';

create function worker.settle_ended_leaders() returns void
language plpgsql set search_path = '' as $$
declare
    ended worker.ended_leaders;
    until timestamptz := clock_timestamp() + interval '1 second';
begin
    for ended in
        select known.* from worker.ended_leaders as known
        order by known.tried_at
        limit (select rescue_batch from worker.settings)
        for update skip locked
    loop
        exit when clock_timestamp() > until;
        if worker.settle_leader(ended) then
            delete from worker.ended_leaders as known where known.id = ended.id;
        else
            update worker.ended_leaders as known set tried_at = worker.now() where known.id = ended.id;
        end if;
    end loop;
end;
$$;
comment on function worker.settle_ended_leaders is 'Settles leaders in worker.ended_leaders, for about a second; the next claim continues.';

create function worker.leader_ended() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    ended worker.ended_leaders;
begin
    ended.run_id := new.id;
    ended.fingerprint := new.fingerprint;
    -- Without an answer, a user may have ended it, whose request must not wait for other users' rows. One call may end
    -- many leaders, and has at most eight seconds.
    if not worker.has_answer(new, ended) or clock_timestamp() > statement_timestamp() + interval '1 second'
       or not worker.settle_leader(ended) then
        insert into worker.ended_leaders (run_id, fingerprint, tried_at) values (new.id, new.fingerprint, worker.now());
    end if;
    return null;
end;
$$;
comment on function worker.leader_ended is
    'Ends the followers of a run that has ended. What cannot be done at once (locked followers, no answer, or after a '
    'second) is left to the next claim.';

create trigger leader_ended after update on public.search_runs
    for each row
    when (old.completed_at is null and new.completed_at is not null and old.leader_run_id is null)
    execute function worker.leader_ended();

-- sharing/leader_deleted
-- What happens to followers and answered runs when their leader is deleted? What they need is kept, and the next claim
-- transfers it to them.
-- Calls: kernel/clock, sharing/leader_ended.

create function worker.leader_deleted() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    ended worker.ended_leaders;
begin
    if old.leader_run_id is not null or old.shared_run_id is not null or not (
        old.completed_at is null
        -- A run may be answered with it at this moment, because it is so recent; or one was.
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
    -- Runs that it answers can get the results now. The next claim settles followers that need a new leader.
    if worker.has_answer(old, ended) and worker.settle_leader(ended) then
        delete from worker.ended_leaders as known where known.id = ended.id;
    end if;
    return null;
end;
$$;
comment on function worker.leader_deleted is
    'Keeps what other runs need of a deleted run: its results for the runs that it answered, its search for its '
    'followers. Does not wait for any of them.';

-- After the delete, because runs that the same statement deletes must get nothing. In upper case, because triggers fire
-- in the order of their names, and the triggers of foreign keys (RI_...) delete the sites and results.
create trigger "LEADER_DELETED" after delete on public.search_runs
    for each row execute function worker.leader_deleted();

-- schedules/slots
-- When is a schedule due? At its times of day on its weekdays, in its time zone. PostgreSQL decides what a time of day
-- means when clocks change: a time that is skipped is moved by the length of the gap, and of a time that happens twice
-- the second one counts. So each slot happens once.
-- Calls: kernel/clock.

create function worker.is_time_zone(name text) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    -- Not what PostgreSQL accepts besides: abbreviations, which have no daylight saving time, and POSIX rules.
    if name ~ '^(UTC|[A-Za-z_]{1,32}(/[A-Za-z0-9_+-]{1,32}){1,2})$' is not true then
        return false;
    end if;
    perform now() at time zone name;
    return true;
exception when invalid_parameter_value then
    return false;
end;
$$;
comment on function worker.is_time_zone is 'Returns whether a text is the IANA name of a time zone.';

create function worker.slots(
    time_zone text, times time[], weekdays smallint[], after timestamptz, until timestamptz
) returns setof timestamptz
language sql stable set search_path = ''
begin atomic
    select distinct slot.at
    from generate_series((slots.after at time zone slots.time_zone)::date - 1,
                         (slots.until at time zone slots.time_zone)::date + 1, interval '1 day') as day (starts)
    cross join unnest(slots.times) as daily (time)
    cross join lateral (select (day.starts::date + daily.time) at time zone slots.time_zone as at) as slot
    where extract(isodow from day.starts) = any (slots.weekdays)
      and slot.at > slots.after and slot.at <= slots.until;
end;
comment on function worker.slots is 'Returns the slots after one instant and up to another.';

create function worker.next_slot(
    time_zone text, times time[], weekdays smallint[], after timestamptz
) returns timestamptz
language sql stable set search_path = ''
begin atomic
    -- Nine days, because a zone can skip a whole day.
    select min(slot.at)
    from worker.slots(next_slot.time_zone, next_slot.times, next_slot.weekdays, next_slot.after,
                      next_slot.after + interval '9 days') as slot (at);
end;
comment on function worker.next_slot is 'Returns the first slot after an instant.';

create function worker.jittered_slot(slot_at timestamptz, fingerprint text) returns timestamptz
language sql stable set search_path = ''
return (
    select jittered_slot.slot_at
           + settings.schedule_jitter * (abs(hashtext(jittered_slot.fingerprint)::bigint) % 1000) / 1000
    from worker.settings as settings
);
comment on function worker.jittered_slot is
    'Returns a slot with the delay by which its run starts: up to worker.settings.schedule_jitter, the same for equal '
    'searches.';

create function worker.start_of_slot(slot_at timestamptz, fingerprint text) returns timestamptz
language sql stable set search_path = ''
begin atomic
    select jittered.at
    from (select worker.jittered_slot(start_of_slot.slot_at, start_of_slot.fingerprint) as at) as jittered
    where jittered.at > worker.now();
end;
comment on function worker.start_of_slot is
    'Returns when the run of a slot may start: later for some searches than for others, so that sites are not asked for '
    'all of them at once, but at the same time for equal ones. Null if that has passed.';

-- enqueue/request_size
-- How many rows may one request insert? As many as worker.settings allows, counted before any lock is taken.
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
    'Counts the rows that a transaction inserts, including rejected and duplicate ones, before any lock is taken. '
    'Raises 22023 (HTTP 400) beyond the limits of worker.settings.';

create function worker.lift_request_limit() returns void
language sql volatile set search_path = ''
begin atomic
    select set_config('worker.rows_sent', (-1000000)::text, true);
end;
comment on function worker.lift_request_limit is
    'Lets the rest of the transaction insert a million more rows: for functions that limit their rows themselves.';

-- enqueue/user_quotas
-- May this user start one more run? Not beyond the limits on pending runs and on runs per hour in worker.settings.
-- Scheduled runs and imports do not count.
-- Calls: kernel/clock.

create function worker.runs_of_last_hour(user_id uuid) returns table (at timestamptz)
language sql stable set search_path = ''
begin atomic
    select run.created_at from public.search_runs as run
    where run.user_id = runs_of_last_hour.user_id and run.created_at > worker.now() - interval '1 hour'
      and run.source in ('manual', 'api')
    union all
    select deleted.created_at from worker.deleted_runs as deleted
    where deleted.user_id = runs_of_last_hour.user_id and deleted.created_at > worker.now() - interval '1 hour';
end;
comment on function worker.runs_of_last_hour is
    'Returns when a user started runs within the last hour, also those that were deleted since. Scheduled runs and '
    'imports do not count.';

create function worker.count_deleted_run() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if old.source in ('manual', 'api') and old.created_at > worker.now() - interval '1 hour' then
        insert into worker.deleted_runs (user_id, created_at) values (old.user_id, old.created_at);
    end if;
    return null;
end;
$$;
comment on function worker.count_deleted_run is
    'Notes a run that is deleted within an hour of its start, so that a deletion gives no user more runs.';

create trigger count_deleted_run after delete on public.search_runs
    for each row execute function worker.count_deleted_run();

create function worker.exceeded_quotas(user_id uuid, more integer) returns table (
    quota text, most integer, what text, wait interval
)
language sql stable set search_path = ''
begin atomic
    select 'max_per_hour_per_user', settings.max_per_hour_per_user, 'started in an hour', (
        select started.at + interval '1 hour' - worker.now()
        from worker.runs_of_last_hour(exceeded_quotas.user_id) as started
        order by started.at desc
        offset greatest(0, settings.max_per_hour_per_user - more) limit 1)
    from worker.settings as settings
    where settings.max_per_hour_per_user is not null and settings.max_per_hour_per_user < more + (
        select count(*) from worker.runs_of_last_hour(exceeded_quotas.user_id))
    union all
    -- The estimate follows the rate at which this user's runs started or were answered in the last 10 minutes.
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
    'Returns the quotas of worker.settings that a user exceeds with a number of additional runs, and the time to '
    'wait. Scheduled runs and imports do not count.';

create function worker.will_be_refused(run public.search_runs) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return (
    select exists (
        select from public.search_runs as known
        where known.user_id = will_be_refused.run.user_id and known.idempotency_key = will_be_refused.run.idempotency_key
    ) or (will_be_refused.run.source in ('manual', 'api') and exists (
        select from worker.exceeded_quotas(will_be_refused.run.user_id, 1)))
    );
end;
$$;
comment on function worker.will_be_refused is
    'Returns whether a new run already exists, by its idempotency key, or exceeds a quota, as far as visible '
    'without a lock. worker.check_quotas and the key''s index make the final decision.';

create function worker.check_quotas() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    exceeded record;
begin
    -- Serialize concurrent inserts of a user, so that each one counts the others. In the order of the ids, to avoid
    -- deadlocks.
    perform pg_advisory_xact_lock(hashtextextended('worker.check_quotas ' || asking.user_id, 0))
    from (
        select distinct run.user_id from new_runs as run where run.source in ('manual', 'api') order by run.user_id
    ) as asking;

    select quota.* into exceeded
    from (select distinct run.user_id from new_runs as run where run.source in ('manual', 'api')) as asking
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
    'Rejects runs beyond the quotas of worker.settings with PT429 (HTTP 429), the limit and the time to wait.';

create trigger check_quotas after insert on public.search_runs
    referencing new table as new_runs
    for each statement execute function worker.check_quotas();

-- enqueue/position
-- Where does a new run go in the queue? Users take turns: it goes behind the other runs of its user, not behind those
-- of all users.
-- Calls: nothing.

create function worker.next_position(user_id uuid, priority smallint) returns bigint
language plpgsql set search_path = '' as $$
begin
    return greatest(
        (select min(run.position) from public.search_runs as run
         where run.priority = next_position.priority
           and run.status = 'pending' and run.run_after is null and run.leader_run_id is null),
        (select 1 - min(-run.position) from public.search_runs as run
         where run.user_id = next_position.user_id and run.priority = next_position.priority
           and run.status = 'pending' and run.run_after is null and run.leader_run_id is null),
        0
    );
end;
$$;
comment on function worker.next_position is
    'Returns the position of a user''s next run: behind the user''s own runs, not behind those of all users.';

-- enqueue/newer_than
-- Which results does a scheduled repeat ask for? Those since the last success of the same search.
-- Calls: nothing.

create function worker.last_success(user_id uuid, fingerprint text) returns timestamptz
language plpgsql stable set search_path = '' as $$
begin
    return (
    -- In whole hours, so that runs of different users with the same schedule are equal.
    select date_trunc('hour', searched.started_at, 'UTC')
    from public.search_runs as last
    join public.search_runs as searched on searched.id = coalesce(last.shared_run_id, last.id)
    where last.user_id = last_success.user_id and last.fingerprint = last_success.fingerprint
      and last.status = 'success'
    order by last.completed_at desc
    limit 1
    );
end;
$$;
comment on function worker.last_success is
    'Returns when the search began that last gave a user the results of all sites; null if there was none.';

-- enqueue/insert
-- What happens when a run is inserted? It is counted and checked, gets its place in the queue, and then searches,
-- follows another run, or is answered at once.
-- Calls: kernel/clock, kernel/parameters, kernel/run_sites, parameters/check, sharing/equal_searches, sharing/follow,
--   sharing/answer, sharing/share, schedules/slots, enqueue/request_size, enqueue/user_quotas, enqueue/position, enqueue/newer_than.

create function worker.prepare_run() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    is_first boolean := current_setting('worker.has_enqueued', true) is distinct from 'true';
begin
    -- The policy is checked after the triggers, which already read and count for new.user_id. The setting has the role
    -- of the request, although this function runs with its owner's rights.
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
    if new.source = 'import' then  -- checked by worker_start_import, and equal to no search
        new.fingerprint := encode(sha256(convert_to('import ' || new.id, 'UTF8')), 'hex');
    else
        perform worker.check_parameters(new.kind, new.parameters);
        new.fingerprint := worker.fingerprint(new.kind, new.parameters, new.user_id, new.workspace_id);
    end if;
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
    if new.saved_search_id is not null and not exists (
        select from public.saved_searches as saved where saved.id = new.saved_search_id and saved.user_id = new.user_id
    ) then
        raise sqlstate '22023' using message = 'saved_search_id must be the id of one of the user''s saved searches';
    end if;
    if new.slot_at is not null then
        new.run_after := worker.start_of_slot(new.slot_at, new.fingerprint);
    end if;
    if new.run_after is null and worker.will_be_refused(new) then
        new.run_after := new.created_at;  -- if it is accepted after all, promote_due_runs decides
    elsif new.run_after is null then
        new := worker.share(new, may_wait => is_first);
    end if;
    perform set_config('worker.has_enqueued', 'true', true);
    return new;
end;
$$;
comment on function worker.prepare_run is
    'Counts and checks a new run, sets its queue columns, and decides which run searches for it.';

create trigger prepare_run before insert on public.search_runs
    for each row execute function worker.prepare_run();

create function worker.open_runs() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    perform worker.add_sites(array(
        select run.id from new_runs as run where run.leader_run_id is null and run.shared_run_id is null));

    insert into public.run_events (run_id, event, data, created_at)
    select run.id, 'created', jsonb_strip_nulls(jsonb_build_object('source', run.source, 'slot_at', run.slot_at)),
           run.created_at
    from new_runs as run;

    perform worker.update_leaders(array(select run.id from new_runs as run where run.leader_run_id is not null)),
            worker.write_answered_events(array(select run.id from new_runs as run where run.shared_run_id is not null));
    return null;
end;
$$;
comment on function worker.open_runs is
    'Writes the first event of new runs, and creates the sites of those that search.';

create trigger open_runs after insert on public.search_runs
    referencing new table as new_runs
    for each statement execute function worker.open_runs();

-- enqueue/saved_searches
-- May this search be saved? It must be valid as a run, the user has no other one of its name, and the number of saved
-- searches of a user is limited.
-- Calls: kernel/clock, parameters/check, enqueue/request_size.

create function worker.check_saved_search() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if tg_op = 'INSERT' then
        perform worker.count_request_row();
    end if;
    if coalesce(length(new.name), 0) not between 1 and 200 then
        raise sqlstate '22023' using message = 'name must be a text of 1 to 200 characters';
    end if;
    perform worker.check_parameters(new.kind, new.parameters);
    -- The constraint decides when two requests come at once. Its own message names the constraint alone. The policy is
    -- checked later: a user must not learn the names of another one.
    if (current_setting('role') <> 'authenticated' or new.user_id = (select auth.uid())) and exists (
        select from public.saved_searches as other
        where other.user_id = new.user_id and other.name = new.name and other.id <> new.id
    ) then
        raise unique_violation using
            message = format('There is already a saved search with the name "%s". Choose another name.', new.name),
            constraint = 'saved_searches_name';
    end if;
    new.updated_at := worker.now();
    return new;
end;
$$;
comment on function worker.check_saved_search is 'Checks a saved search like a run.';

create trigger check_saved_search before insert or update on public.saved_searches
    for each row execute function worker.check_saved_search();

create function worker.count_saved_searches() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    most integer := (select settings.max_saved_searches_per_user from worker.settings as settings);
begin
    -- Serialize concurrent inserts of a user, as in worker.check_quotas.
    perform pg_advisory_xact_lock(hashtextextended('worker.count_saved_searches ' || saving.user_id, 0))
    from (select distinct saved.user_id from new_searches as saved order by saved.user_id) as saving;

    if exists (
        select from (select distinct saved.user_id from new_searches as saved where saved.collection is null) as saving
        where most < (select count(*) from public.saved_searches as saved
                      where saved.user_id = saving.user_id and saved.collection is null)
    ) then
        raise sqlstate 'PT429' using
            message = format('at most %s saved searches of a user are kept: delete some', most),
            detail = jsonb_build_object('quota', 'max_saved_searches_per_user', 'limit', most);
    end if;
    return null;
end;
$$;
comment on function worker.count_saved_searches is
    'Rejects saved searches beyond worker.settings.max_saved_searches_per_user with PT429 (HTTP 429).';

create trigger count_saved_searches after insert on public.saved_searches
    referencing new table as new_searches
    for each statement execute function worker.count_saved_searches();

-- schedules/check
-- May a search be repeated like this? The time zone, times and weekdays are checked, and how often a user's searches are
-- repeated in a week is limited. A change decides the next slot.
-- Calls: kernel/clock, schedules/slots, enqueue/request_size.

create function worker.schedule_problem(time_zone text, times time[], weekdays smallint[]) returns text
language sql stable set search_path = ''
return case
    when not worker.is_time_zone(time_zone)
        then 'time_zone must be the IANA name of a time zone, such as Europe/London'
    when cardinality(times) between 1 and 24 is not true or array_position(times, null) is not null
        then 'times must be a list of 1 to 24 times of day'
    when exists (select from unnest(times) as daily (time) where extract(second from daily.time) <> 0)
        then 'times must be in whole minutes'
    when (cardinality(weekdays) between 1 and 7 and weekdays <@ '{1,2,3,4,5,6,7}') is not true
        then 'weekdays must be a list of numbers from 1 (Monday) to 7 (Sunday)'
end;
comment on function worker.schedule_problem is 'Returns what is wrong with a schedule; null if nothing is.';

create function worker.check_schedule() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    problem text;
begin
    if tg_op = 'INSERT' then
        perform worker.count_request_row();
    end if;
    -- A schedule that is not valid any more, because its time zone is gone, can still be paused.
    if tg_op = 'INSERT' or new.paused is null
       or (new.time_zone, new.times, new.weekdays) is distinct from (old.time_zone, old.times, old.weekdays) then
        problem := worker.schedule_problem(new.time_zone, new.times, new.weekdays);
        if problem is not null then
            raise sqlstate '22023' using message = problem;
        end if;
    end if;
    new.times := array(select distinct daily.time from unnest(new.times) as daily (time) order by daily.time);
    new.weekdays := array(select distinct weekly.day from unnest(new.weekdays) as weekly (day) order by weekly.day);
    -- Other times end every pause that the user did not ask for.
    if tg_op = 'UPDATE' and old.paused <> 'user' and new.paused = old.paused
       and (new.time_zone, new.times, new.weekdays) is distinct from (old.time_zone, old.times, old.weekdays) then
        new.paused := null;
    end if;
    if new.paused is not null then
        new.next_slot_at := null;
    elsif tg_op = 'INSERT' or old.paused is not null
          or (new.time_zone, new.times, new.weekdays) is distinct from (old.time_zone, old.times, old.weekdays) then
        new.paused_reason := null;
        new.active_since := case when tg_op = 'INSERT' or old.paused is not null then worker.now() else old.active_since end;
        new.next_slot_at := worker.next_slot(new.time_zone, new.times, new.weekdays, worker.now());
    end if;
    new.updated_at := worker.now();
    return new;
end;
$$;
comment on function worker.check_schedule is 'Checks a schedule and sets its next slot.';

create trigger check_schedule before insert or update on public.search_schedules
    for each row execute function worker.check_schedule();

create function worker.count_slots() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    owner_id uuid := (select saved.user_id from public.saved_searches as saved
                      where saved.id = new.saved_search_id and saved.collection is null);
    most integer := (select settings.max_slots_per_week_per_user from worker.settings as settings);
begin
    if owner_id is null then  -- worker_apply_collections has limits of its own
        return null;
    end if;
    -- Serialize concurrent changes of a user, as in worker.check_quotas.
    perform pg_advisory_xact_lock(hashtextextended('worker.count_slots ' || owner_id, 0));
    if most < (
        select sum(cardinality(schedule.times) * cardinality(schedule.weekdays))
        from public.saved_searches as saved
        join public.search_schedules as schedule on schedule.saved_search_id = saved.id
        where saved.user_id = owner_id and saved.collection is null
    ) then
        raise sqlstate 'PT429' using
            message = format('the searches of a user are repeated at most %s times a week: choose fewer times', most),
            detail = jsonb_build_object('quota', 'max_slots_per_week_per_user', 'limit', most);
    end if;
    return null;
end;
$$;
comment on function worker.count_slots is
    'Rejects schedules beyond worker.settings.max_slots_per_week_per_user with PT429 (HTTP 429).';

create trigger count_slots after insert or update of times, weekdays on public.search_schedules
    for each row execute function worker.count_slots();

-- schedules/activity
-- When was a user last seen? At the last sign-in, refreshed session, manual run or call of mark_seen. Schedules of users
-- who were not seen for a long time pause, and repeat again once they are.
-- Calls: kernel/clock, schedules/slots.

create function worker.seen_at(user_id uuid) returns timestamptz
language sql stable set search_path = ''
begin atomic
    select greatest(
        known.created_at, known.last_sign_in_at,
        (select max(greatest(session.updated_at, session.refreshed_at::timestamptz)) from auth.sessions as session
         where session.user_id = seen_at.user_id),
        (select max(run.created_at) from (
            select run.created_at, run.source from public.search_runs as run
            where run.user_id = seen_at.user_id
            order by run.created_at desc
            limit 100
         ) as run where run.source = 'manual'),
        (select activity.seen_at from worker.user_activity as activity where activity.user_id = seen_at.user_id))
    from auth.users as known
    where known.id = seen_at.user_id;
end;
comment on function worker.seen_at is 'Returns when a user was last seen.';

create function worker.resume_seen_users() returns void
language sql volatile set search_path = ''
begin atomic
    with next as materialized (
        select schedule.saved_search_id, saved.user_id
        from public.search_schedules as schedule
        join public.saved_searches as saved on saved.id = schedule.saved_search_id
        where schedule.paused = 'inactive' and schedule.saved_search_id > (
            select task.after_id from worker.housekeeping as task where task.task = 'seen_users')
        order by schedule.saved_search_id
        limit 500
        for update of schedule skip locked
    ), continued as (
        update worker.housekeeping as task
        set after_id = case when looked_at.is_full then looked_at.last_id
                            else '00000000-0000-0000-0000-000000000000' end,
            next_at = worker.now() + case when looked_at.is_full then interval '5 seconds' else interval '1 hour' end
        from (
            select count(*) = 500 as is_full,
                   (array_agg(next.saved_search_id order by next.saved_search_id desc))[1] as last_id
            from next
        ) as looked_at
        where task.task = 'seen_users'
    )
    update public.search_schedules as schedule
    set paused = null
    from next, worker.settings as settings
    where schedule.saved_search_id = next.saved_search_id and worker.is_time_zone(schedule.time_zone)
      and (settings.inactive_after is null or worker.seen_at(next.user_id) > worker.now() - settings.inactive_after);
end;
comment on function worker.resume_seen_users is
    'Repeats the searches again whose users have been seen. Looks at the next 500 schedules that are paused as inactive; '
    'locked ones are left to the next round.';

create function public.mark_seen() returns void
language plpgsql security definer set search_path = '' as $$
begin
    insert into worker.user_activity as activity (user_id, seen_at) values ((select auth.uid()), worker.now())
    on conflict (user_id) do update set seen_at = excluded.seen_at;
    update public.search_schedules as schedule
    set paused = null
    from public.saved_searches as saved
    where saved.id = schedule.saved_search_id and saved.user_id = (select auth.uid()) and schedule.paused = 'inactive'
      and worker.is_time_zone(schedule.time_zone);
end;
$$;
comment on function public.mark_seen is
    'Remembers that the signed-in user has looked at the results: new_results starts there, and schedules that are '
    'paused as inactive repeat again.';

-- schedules/fire
-- What happens at a slot? Each schedule that is due starts one run, skips the slot with a reason, or is paused. Any number
-- of callers may do this at the same time: each slot is decided once.
-- Calls: kernel/clock, schedules/slots, enqueue/request_size, schedules/activity.

create function worker.failures_in_a_row(schedule public.search_schedules) returns bigint
language sql stable set search_path = ''
begin atomic
    select count(*)
    from (
        select bool_and(run.status = 'failed') over (order by run.created_at desc) as is_failing
        from (
            select known.status, known.created_at from public.search_runs as known
            where known.saved_search_id = (failures_in_a_row.schedule).saved_search_id
              and known.created_at >= (failures_in_a_row.schedule).active_since
              and known.slot_at is not null and known.completed_at is not null
            order by known.created_at desc
            limit (select settings.max_failures_in_a_row from worker.settings as settings)
        ) as run
    ) as last
    where last.is_failing;
end;
comment on function worker.failures_in_a_row is 'Returns how many of the last runs of a schedule failed in a row.';

create function worker.decide_slots(saved_search_ids uuid[]) returns table (
    saved_search_id uuid, slot_at timestamptz, slots bigint, decision text, reason text, pauses_at timestamptz,
    last_run_id uuid
)
language sql stable set search_path = ''
begin atomic
    -- A user may change the times of schedules at any moment, and so repeat searches more often than they say.
    with used as materialized (
        select owner.user_id, (
            select count(*) from (
                select run.slot_at from public.search_runs as run
                where run.user_id = owner.user_id and run.created_at > worker.now() - interval '1 hour'
                order by run.created_at desc
                limit 2000
            ) as recent where recent.slot_at is not null) as runs_of_hour
        from (
            select distinct saved.user_id from public.saved_searches as saved
            where saved.id = any (decide_slots.saved_search_ids)
        ) as owner
    )
    select due.saved_search_id, due.slot_at, due.slots, decided.decision,
           case decided.decision
               when 'inactive' then 'The user was last seen at ' || worker.format_time(due.seen_at) || '.'
               when 'failing' then 'The last ' || settings.max_failures_in_a_row || ' runs failed.'
               when 'late' then 'The slot was missed by more than ' || settings.catch_up || '.'
               when 'active' then 'The run of the slot before had not ended.'
               when 'quota' then 'Too many searches of the user were repeated within an hour.'
           end,
           case when due.seen_at < worker.now() - settings.inactive_after + settings.inactive_warning
                then due.seen_at + settings.inactive_after end,
           due.last_run_id
    from worker.settings as settings
    cross join lateral (
        select schedule.saved_search_id, schedule.last_run_id, saved.collection, passed.slot_at, passed.slots,
               case when saved.collection is null then worker.seen_at(saved.user_id) end as seen_at,
               worker.failures_in_a_row(schedule) as failures, used.runs_of_hour
        from public.search_schedules as schedule
        join public.saved_searches as saved on saved.id = schedule.saved_search_id
        join used on used.user_id = saved.user_id
        cross join lateral (
            select max(slot.at) as slot_at, count(*) as slots
            from worker.slots(
                schedule.time_zone, schedule.times, schedule.weekdays,
                greatest(schedule.next_slot_at - interval '1 microsecond', worker.now() - interval '9 days'),
                worker.now()) as slot (at)
        ) as passed
        where schedule.saved_search_id = any (decide_slots.saved_search_ids)
    ) as due
    cross join lateral (
        select case
            when due.slot_at is null then 'moved'  -- the rules of the time zone have changed
            when due.seen_at < worker.now() - settings.inactive_after then 'inactive'
            when due.failures >= settings.max_failures_in_a_row then 'failing'
            when due.slot_at < worker.now() - settings.catch_up then 'late'
            when exists (select from public.search_runs as run
                         where run.id = due.last_run_id and run.completed_at is null) then 'active'
            when due.collection is null and due.runs_of_hour >= settings.max_slots_per_week_per_user then 'quota'
            else 'run' end as decision
    ) as decided;
end;
comment on function worker.decide_slots is
    'Decides the latest slot of each schedule that is due: run, late, active or quota (skipped), inactive or failing (paused), '
    'or moved (no slot). slots counts those that have passed; pauses_at is given when the user is inactive soon.';

create function worker.start_slots(
    saved_search_ids uuid[], out started bigint, out skipped bigint, out paused bigint
)
language plpgsql set search_path = '' as $$
declare
    notes jsonb;
begin
    with decided as materialized (
        select slot.*, saved.user_id, saved.workspace_id, saved.kind, saved.parameters
        from worker.decide_slots(start_slots.saved_search_ids) as slot
        join public.saved_searches as saved on saved.id = slot.saved_search_id
    ), run as (
        insert into public.search_runs as run (
            user_id, workspace_id, kind, source, parameters, saved_search_id, slot_at, idempotency_key)
        select decided.user_id, decided.workspace_id, decided.kind, 'cron', decided.parameters, decided.saved_search_id,
               decided.slot_at,
               'schedule:' || decided.saved_search_id || ':' || extract(epoch from decided.slot_at)::bigint
        from decided
        where decided.decision = 'run'
        order by decided.user_id, decided.saved_search_id
        on conflict on constraint search_runs_idempotency_key do nothing
        returning run.id, run.saved_search_id
    ), moved as (
        update public.search_schedules as schedule
        -- After the slot that was decided, not after now: another one may have passed since then.
        set next_slot_at = worker.next_slot(schedule.time_zone, schedule.times, schedule.weekdays,
                                            coalesce(decided.slot_at, worker.now())),
            last_slot_at = coalesce(decided.slot_at, schedule.last_slot_at),
            last_run_id = coalesce(run.id, schedule.last_run_id),
            paused = case when decided.decision in ('inactive', 'failing') then decided.decision end,
            paused_reason = case when decided.decision in ('inactive', 'failing') then decided.reason end
        from decided left join run on run.saved_search_id = decided.saved_search_id
        where schedule.saved_search_id = decided.saved_search_id
    ), noted as (
        select run.id as run_id, 'slots_missed' as event, jsonb_build_object('slots', decided.slots - 1) as data
        from decided join run on run.saved_search_id = decided.saved_search_id
        where decided.slots > 1
        union all
        select run.id, 'inactive_soon', jsonb_build_object('pauses_at', decided.pauses_at)
        from decided join run on run.saved_search_id = decided.saved_search_id
        where decided.pauses_at is not null
        union all
        select last.id, 'slot_skipped',
               jsonb_build_object('slot_at', decided.slot_at, 'reason', decided.decision, 'message', decided.reason)
        from decided join public.search_runs as last on last.id = decided.last_run_id
        where decided.decision in ('late', 'active', 'quota', 'inactive', 'failing')
    )
    select count(*) filter (where decided.decision = 'run'),
           count(*) filter (where decided.decision in ('late', 'active', 'quota')),
           count(*) filter (where decided.decision in ('inactive', 'failing')),
           (select jsonb_agg(to_jsonb(noted)) from noted)
    into started, skipped, paused, notes
    from decided;

    -- Not in the same statement, at whose end the runs get their first event.
    insert into public.run_events (run_id, event, data, created_at)
    select noted.run_id, noted.event, noted.data, worker.now()
    from jsonb_to_recordset(notes) as noted (run_id uuid, event text, data jsonb);
end;
$$;
comment on function worker.start_slots is
    'Decides the slots of locked schedules: starts runs, writes events about skipped slots, and sets the next slots. '
    'Returns how many runs started, slots were skipped and schedules were paused.';

create function worker.start_slots_singly(
    saved_search_ids uuid[], out started bigint, out skipped bigint, out paused bigint
)
language plpgsql set search_path = '' as $$
declare
    id uuid;
    one record;
    refusal text;
begin
    started := 0; skipped := 0; paused := 0;
    foreach id in array saved_search_ids loop
        begin
            one := worker.start_slots(array[id]);
            started := started + one.started;
            skipped := skipped + one.skipped;
            paused := paused + one.paused;
        exception when integrity_constraint_violation or data_exception or raise_exception then
            get stacked diagnostics refusal = message_text;
            update public.search_schedules as schedule set paused = 'invalid', paused_reason = refusal
            where schedule.saved_search_id = id;
            paused := paused + 1;
        end;
    end loop;
end;
$$;
comment on function worker.start_slots_singly is
    'Does the same for one schedule after another. A schedule whose search is not valid any more is paused as invalid.';

create function public.worker_fire_schedules(batch integer default 200) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    due uuid[];
    done record;
    next_slot_at timestamptz;
begin
    if batch between 1 and 200 is not true then
        raise sqlstate '22023' using message = 'batch must be from 1 to 200';
    end if;
    -- A caller that is slow or dead must not stop the others.
    perform from worker.housekeeping as task
    where task.task = 'seen_users' and task.next_at <= worker.now()
    for update skip locked;
    if found then
        perform worker.resume_seen_users();
    end if;
    due := array(
        select schedule.saved_search_id
        from public.search_schedules as schedule
        join public.saved_searches as saved on saved.id = schedule.saved_search_id
        join auth.users as owner on owner.id = saved.user_id
        where schedule.paused is null and schedule.next_slot_at <= worker.now()
        order by schedule.next_slot_at, schedule.saved_search_id
        limit batch
        -- The user, too: the new run locks the user, and a deletion of the user locks the schedule after the user.
        for update of schedule skip locked
        for key share of owner skip locked);
    perform worker.lift_request_limit();
    begin
        done := worker.start_slots(due);
    exception when integrity_constraint_violation or data_exception or raise_exception then
        done := worker.start_slots_singly(due);
    end;
    select min(schedule.next_slot_at) into next_slot_at from public.search_schedules as schedule
    where schedule.paused is null;
    return jsonb_build_object(
        'started', done.started, 'skipped', done.skipped, 'paused', done.paused,
        -- greatest() ignores null.
        'next_in_seconds', case when next_slot_at is not null
                                then greatest(0, ceil(extract(epoch from next_slot_at - worker.now()))) end);
end;
$$;
comment on function public.worker_fire_schedules is
    'Decides a batch of the schedules that are due: {started, skipped, paused, next_in_seconds}. Each slot is decided '
    'once, by any number of callers. next_in_seconds is 0 while more are due, and null without schedules.';

-- schedules/cron
-- How does pg_cron fire schedules and check the alert rules? The commands for the owner of the database. Nothing here needs the extension.
-- Calls: nothing.

create function worker.cron_commands() returns setof text
language plpgsql stable set search_path = '' as $$
declare
    jobs text[] := array[]::text[];
    table_of_jobs regclass := to_regclass('cron.job');
begin
    if table_of_jobs is null then
        if not exists (select from pg_available_extensions as extension where extension.name = 'pg_cron') then
            return next '-- This database has no pg_cron. Let a worker or a route of your frontend fire schedules.';
            return;
        end if;
        return next format('create extension %I;', 'pg_cron');
    else
        execute format('select array(select job.jobname from %s as job where job.active)', table_of_jobs) into jobs;
    end if;
    if 'fire-schedules' <> all (jobs) then
        return next 'select cron.schedule(''fire-schedules'', ''* * * * *'', '
            '''select public.worker_fire_schedules() from generate_series(1, 5)'');';
    end if;
    if 'check-alerts' <> all (jobs) then
        return next 'select cron.schedule(''check-alerts'', ''* * * * *'', ''select public.worker_check_alerts()'');';
    end if;
    if 'forget-fired-schedules' <> all (jobs) then
        return next 'select cron.schedule(''forget-fired-schedules'', ''30 3 * * *'', '
            '''delete from cron.job_run_details where end_time < now() - interval ''''7 days'''''');';
    end if;
end;
$$;
comment on function worker.cron_commands is
    'Returns the commands by which pg_cron fires schedules, up to 1,000 a minute, and checks the alert rules, which shows '
    'that no worker lives; without a history of more than a week. No command if it does already.';

-- sites/accounts
-- Through which account is a site searched for a run? The user's account for the run's workspace, otherwise the user's
-- own account.
-- Calls: nothing.

create function worker.account_of(run_id uuid, site text) returns text
language plpgsql stable set search_path = '' as $$
begin
    return (
    select known.account
    from public.search_runs as run
    join worker.accounts as known on known.user_id = run.user_id and known.site = account_of.site
    where run.id = account_of.run_id and (known.workspace_id = run.workspace_id or known.workspace_id is null)
    order by known.workspace_id nulls last
    limit 1
    );
end;
$$;
comment on function worker.account_of is
    'Returns the account through which a run searches a site: the user''s for the run''s workspace, else the '
    'user''s own; or null.';

create function public.worker_set_account(user_id uuid, site text, account text, workspace_id uuid default null)
returns void
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
    raise sqlstate '22023' using message = 'user_id must be the id of a user';
end;
$$;
comment on function public.worker_set_account is
    'Sets the account through which a site is searched for a user''s runs: those of a workspace, or all others '
    '(null). An account of null removes it. It is used for no other user''s runs, and no user can read it.';

-- sites/rank
-- Which site first? Fallback sites last; then sites that are not paused, then by success rate and speed. A share of the runs uses a random order,
-- so that a site that was slow once gets another chance.
-- Calls: kernel/clock.

create function worker.rank_sites(run_id uuid, seed uuid) returns table (site text, rank integer)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select unfinished.site, row_number() over (
        order by
            unfinished.is_fallback,
            known.is_paused,
            case when chance.explores then hashtextextended(format('%s %s %s', seed, run_id, unfinished.site), 0) end,
            -- Rounded to tenths, so that speed decides between sites with nearly equal success.
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
$$;
comment on function worker.rank_sites is
    'Returns the unfinished sites of a run, the best first: no fallbacks, not paused, then by recent success, '
    'then by speed; unknown sites first. A share of the runs gets a random order. The same seed gives the same order.';

-- sites/queue
-- Who is next at a site? Runs wait by priority. Within a priority, users take turns. Of one user, the run that has
-- waited longest is first.
-- Calls: kernel/clock.

create function worker.wait_state(
    run_id uuid, site text, out since timestamptz, out waited interval, out is_within_page boolean
)
language plpgsql stable set search_path = '' as $$
begin
    select least(coalesce(wait.waiting_since, search.waiting_since), worker.now()),
           -- Not coalesce() alone, because greatest() ignores nulls.
           case when wait.run_id is not null
                then greatest(wait.waited - greatest(wait.due_at - worker.now(), '0'), '0')
                else coalesce(search.waited, '0') end,
           coalesce(search.is_within_page, false)
    into since, waited, is_within_page
    from (select) as nothing
    left join worker.site_waits as wait on wait.run_id = wait_state.run_id and wait.site = wait_state.site
    left join worker.site_searches as search on search.run_id = wait_state.run_id and search.site = wait_state.site;
end;
$$;
comment on function worker.wait_state is
    'Returns since when a run waits for a site, how long it has waited, and whether it is in the middle of a page.';

create function worker.site_queue(
    bucket text, accounts text[], reasons text[], asking_run_id uuid default null, asking_since timestamptz default null,
    exit text default ''
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
        -- The lower bound on the time skips runs that are late, and uses the index.
        where wait.bucket = site_queue.bucket
          and wait.due_at > now - settings.wait_grace and wait.due_at <= now + settings.max_site_wait
          and wait.account = any (site_queue.accounts) and wait.exit = site_queue.exit and wait.reason = any (site_queue.reasons)
          and wait.run_id is distinct from site_queue.asking_run_id
          and (not wait.lets_pass or wait.due_at <= now)
          -- No place is kept for a run that searches another site in the meantime.
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
        left join lateral (
            select max(known.last_at) as last_at from worker.site_shares as known
            where known.bucket = site_queue.bucket and known.user_id = ranked.user_id
        ) as share on site_queue.accounts = '{""}'
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
    'Returns the queue of the runs that wait for the same bucket and exit and are not late, and optionally a run that asks. '
    'First runs in the middle of a page; then by priority, which is the highest after max_priority_wait; then users '
    'take turns, each with one run, the one served longest ago first; then the run of a user that has waited '
    'longest.';

create function worker.queue_ahead(
    bucket text, account text, exit text, reasons text[], since timestamptz, run_id uuid,
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
    -- The usual case: nobody waits.
    if not exists (
        select from worker.site_waits as wait
        where wait.bucket = queue_ahead.bucket and wait.due_at > now - grace
          and wait.account = queue_ahead.account and wait.exit = queue_ahead.exit and wait.run_id <> queue_ahead.run_id
    ) then
        return;
    end if;
    with line as materialized (
        select known.* from worker.site_queue(queue_ahead.bucket, array[queue_ahead.account], queue_ahead.reasons,
                                        queue_ahead.run_id, coalesce(queue_ahead.since, now), queue_ahead.exit) as known
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
    'Returns how many runs are ahead of a run in the queue of a bucket and exit, their number of requests, when the last of '
    'them is back or late, and whether any of them is due already.';

-- sites/wake
-- Which waiting runs are due early? The next run when a search slot becomes free, or when a run begins to wait for one
-- that is free already; and the waiting runs when a pause ends.
-- Calls: kernel/clock, sites/queue.

create function worker.wake_next(site text, account text) returns void
language plpgsql set search_path = '' as $$
declare
    woken uuid;
begin
    -- The usual case: nobody waits.
    if not exists (
        select from worker.site_waits as wait
        where wait.bucket = wake_next.site and wait.reason = 'searches'
          and wait.due_at > worker.now() - (select settings.wait_grace from worker.settings as settings)
    ) then
        return;
    end if;
    -- Skip a locked run: it is being promoted, or ends.
    select wait.run_id into woken
    from worker.site_queue(wake_next.site, array[wake_next.account], '{searches}') as line
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
comment on function worker.wake_next is
    'Makes the first run due that waits for a slot to search a site through an account, or without one for a slot of '
    'the site. The order is that of the admission, so that the run which is woken is admitted.';

create function worker.wake_at_idle_site(site text, account text) returns void
language plpgsql set search_path = '' as $$
begin
    -- While a search is under way, its end wakes the next run. A run that is due has been woken for the slot.
    if not exists (
        select from worker.site_searches as search
        where search.site = wake_at_idle_site.site and wake_at_idle_site.account in ('', search.account)
    ) and not exists (
        select from worker.site_waits as wait
        where wait.bucket = wake_at_idle_site.site and wait.account = wake_at_idle_site.account
          and wait.reason = 'searches' and wait.due_at <= worker.now()
          and wait.due_at > worker.now() - (select settings.wait_grace from worker.settings as settings)
    ) then
        perform worker.wake_next(wake_at_idle_site.site, wake_at_idle_site.account);
    end if;
end;
$$;
comment on function worker.wake_at_idle_site is
    'Wakes the next run that waits for a slot to search a site, if there is no search that would wake it at its end.';

create function worker.search_slot_freed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    perform worker.wake_next(old.site, '');
    perform worker.wake_next(old.site, old.account) where old.account <> '';
    return null;
end;
$$;
comment on function worker.search_slot_freed is
    'Wakes the next run that waits for the site, and the next one that waits for the account, when a search ends: '
    'also by a cancellation or a dead worker.';

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
    'Makes the runs due that wait for a site which may be searched again: one run per second.';

create function worker.breaker_closed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    perform worker.wake_paused_runs(new.site, new.account);
    return null;
end;
$$;
comment on function worker.breaker_closed is 'Wakes the runs that wait for a site when its breaker closes.';

create trigger breaker_closed after update of paused_until on worker.site_health
    for each row when (old.paused_until is not null and new.paused_until is null)
    execute function worker.breaker_closed();

-- sites/waiting
-- How long does a run wait for a site? Until it is due, and at most max_site_wait in total. Then the site fails.
-- Calls: kernel/clock, sites/queue.

create function worker.release_search_slots(run_ids uuid[], site text, account text) returns void
language plpgsql set search_path = '' as $$
begin
    update worker.site_health as health set prober_run_id = null
    where health.prober_run_id = any (run_ids)
      and health.site = release_search_slots.site and health.account = release_search_slots.account;

    delete from worker.site_searches as search
    where search.run_id = any (run_ids) and search.site = release_search_slots.site;
end;
$$;
comment on function worker.release_search_slots is 'Releases the slots and the probe of runs at a site.';

create function worker.defer_site(
    run_id uuid, site text, account text, bucket text, requests integer, reason text, message text, error_code text,
    due_at timestamptz, is_guess boolean default false, lets_pass boolean default false, exit text default ''
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    now timestamptz := worker.now();
    waiting record := worker.wait_state(defer_site.run_id, defer_site.site);
    left_to_wait interval := (select max_site_wait from worker.settings) - waiting.waited;
    waited interval;
begin
    -- An estimate may be shortened, so that no run fails before it has waited max_site_wait.
    if is_guess and left_to_wait > '0' then
        due_at := least(due_at, now + left_to_wait);
    end if;
    waited := waiting.waited + greatest(due_at - now, '0');
    perform worker.release_search_slots(array[defer_site.run_id], defer_site.site, defer_site.account);
    insert into worker.site_waits as wait (
        run_id, site, account, exit, bucket, requests, waiting_since, due_at, waited, reason, message, lets_pass)
    values (defer_site.run_id, defer_site.site, defer_site.account, defer_site.exit, defer_site.bucket, defer_site.requests,
            coalesce(waiting.since, now), defer_site.due_at, waited, defer_site.reason, defer_site.message,
            defer_site.lets_pass)
    on conflict on constraint site_waits_pkey do update set
        account = excluded.account, exit = excluded.exit, bucket = excluded.bucket, requests = excluded.requests,
        waiting_since = excluded.waiting_since, due_at = excluded.due_at, waited = excluded.waited,
        reason = excluded.reason, message = excluded.message, lets_pass = excluded.lets_pass;
    -- The waiting time stays stored until the site ends, so that a repeated call gets the same answer.
    if waited > waiting.waited + left_to_wait then
        return jsonb_build_object('granted', false, 'error_code', error_code, 'message', message);
    end if;
    return jsonb_build_object(
        'granted', false, 'reason', reason, 'message', message, 'until', defer_site.due_at,
        'retry_in_seconds', extract(epoch from greatest(defer_site.due_at - now, '0')));
end;
$$;
comment on function worker.defer_site is
    'Lets a run wait for a site until a time, which may be an estimate. Beyond max_site_wait, the site fails with '
    'the error code instead. Returns the answer for the worker.';

-- sites/breaker
-- When does a site's circuit breaker open and close, and how long is the site paused? The breaker opens after some
-- failures in a row, for a pause that doubles each time, and closes after a success. The failures of one user alone
-- pause only that user. A pause that the site asks for always counts.
-- Calls: kernel/clock, kernel/pages, sites/wake, sites/waiting.

create function worker.lock_health(site text, account text, exit text default '') returns worker.site_health
language plpgsql set search_path = '' as $$
declare
    held worker.site_health;
    set_back interval;
begin
    loop
        select * into held from worker.site_health as health
        where health.site = lock_health.site and health.account = lock_health.account and health.exit = lock_health.exit
        for no key update;
        exit when found;
        insert into worker.site_health (site, account, exit)
        values (lock_health.site, lock_health.account, lock_health.exit)
        on conflict do nothing;
    end loop;

    set_back := worker.clock_set_back_since(held.updated_at);
    if set_back > '0' then
        update worker.site_health as health
        set paused_until = health.paused_until - set_back, updated_at = health.updated_at - set_back
        where health.site = held.site and health.account = held.account and health.exit = held.exit
        returning health.* into strict held;
    end if;
    return held;
end;
$$;
comment on function worker.lock_health is
    'Locks the health of a site until the transaction ends. If the clock was set back, moves its pause back with '
    'it.';

create function worker.lock_health_if_paused(site text, account text) returns worker.site_health
language plpgsql set search_path = '' as $$
begin
    perform from worker.site_health as health
    where health.site = lock_health_if_paused.site and health.account = lock_health_if_paused.account
      and health.exit = '' and health.paused_until is not null;
    if found then
        return worker.lock_health(site, account);
    end if;
    return null;
end;
$$;
comment on function worker.lock_health_if_paused is
    'Locks the health of a site without exits whose breaker is open or half open, until the transaction ends; returns null if it is '
    'closed.';

create function worker.is_site_failure(run_id uuid, site text, error_code text) returns boolean
language sql stable set search_path = ''
begin atomic
    -- A search without results looks the same as an answer that is hidden behind a captcha.
    select is_site_failure.error_code <> 'unverified'
        or exists (
            select from public.search_results as result
            where result.run_id = is_site_failure.run_id and result.site = is_site_failure.site)
        or exists (
            select from worker.pages_of_search(is_site_failure.run_id, is_site_failure.site) as page
            where page.status in ('failed', 'partial'));
end;
comment on function worker.is_site_failure is
    'Returns whether the failure of a search counts as a failure of its site. unverified counts only with a page '
    'that shows it: without results and unreadable pages, the search may simply have no results.';

create function worker.count_failure(
    site text, account text, exit text, run_id uuid, rule worker.breaker_rules,
    out counted integer, out is_counted boolean, out may_reopen boolean
)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    now timestamptz := worker.now();
    most integer := case when count_failure.account = '' then rule.failures_per_user else 2147483647 end;
    own worker.site_failures;
begin
    insert into worker.site_failures as known (site, account, exit, user_id, run_ids, failed_at)
    select count_failure.site, count_failure.account, count_failure.exit, run.user_id, array[run.id], now
    from public.search_runs as run where run.id = count_failure.run_id
    on conflict on constraint site_failures_pkey do update set
        run_ids = (excluded.run_ids || known.run_ids)[1:20], failures = known.failures + 1, failed_at = now
    where count_failure.run_id <> all (known.run_ids)
    returning * into own;
    is_counted := found and own.failures <= most;

    select sum(least(known.failures, most)),
           bool_or(known.failures <= most) filter (where count_failure.run_id = any (known.run_ids))
    into counted, may_reopen
    from worker.site_failures as known
    where known.site = count_failure.site and known.account = count_failure.account and known.exit = count_failure.exit;

    -- A user whose failures alone would open the breaker is paused alone.
    if not is_counted and own.failures >= rule.failures then
        update worker.site_failures as known
        set pause = least(rule.pause * 2 ^ least(own.failures - rule.failures, 20), rule.max_pause),
            paused_by = rule.error_code
        where known.site = own.site and known.account = own.account and known.exit = own.exit
          and known.user_id = own.user_id;
    end if;
end;
$$;
comment on function worker.count_failure is
    'Counts a run that failed at a site. Returns how many failures count for the breaker now, and whether this one '
    'does: not the second failure of a run, nor more than failures_per_user runs of a user. may_reopen: whether a '
    'failed probe opens the breaker again, also the second probe of a run. The caller has locked the health of the '
    'site.';

create function worker.reset_failures(health worker.site_health) returns void
language plpgsql set search_path = '' as $$
declare
    had_paused boolean;
begin
    with forgotten as (
        delete from worker.site_failures as known
        where known.site = health.site and known.account = health.account and known.exit = health.exit
        returning known.pause
    )
    select bool_or(forgotten.pause is not null) into had_paused from forgotten;
    -- If the breaker closes, too, its trigger wakes them.
    if had_paused and health.paused_until is null then
        perform worker.wake_paused_runs(health.site, health.account);
    end if;
end;
$$;
comment on function worker.reset_failures is
    'Resets the failures that the breaker of a site counts, and ends the pauses of single users, after a successful '
    'search.';

create function worker.after_success(health worker.site_health) returns worker.site_health
language plpgsql set search_path = '' as $$
begin
    health.last_success_at := worker.now();
    health.consecutive_failures := 0;
    -- A search that started before the pause does not end it.
    if health.paused_until is null or health.paused_until <= worker.now() then
        health.paused_until := null;
        health.paused_by := null;
        health.trips := 0;
        health.prober_run_id := null;
    end if;
    return health;
end;
$$;
comment on function worker.after_success is 'Returns the health of a site after a successful search.';

create function worker.after_failure(
    health worker.site_health, run_id uuid, rule worker.breaker_rules, counted integer, is_counted boolean,
    may_reopen boolean, error_code text, retry_after_seconds double precision
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
    -- While the breaker is half open, only the probe counts, not searches from before it opened.
    if not is_open and (
        (is_counted and health.paused_until is null and counted >= rule.failures)
        or (is_counted and health.paused_until is not null and health.prober_run_id is null)
        -- Otherwise the runs that have failed before would probe the site one after another, without a pause.
        or (may_reopen and health.paused_until is not null and health.prober_run_id = after_failure.run_id)
    ) then
        pause := least(rule.pause * 2 ^ health.trips, rule.max_pause);
    end if;
    -- At most a day, whatever the site says: then it is asked again, and may repeat it.
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
    'Returns the health of a site after a failure: the breaker opens when enough failures count, opens again when '
    'the probe fails, and stays open as long as the site asks for.';

create function worker.note_outcome(health worker.site_health, outcome text) returns worker.site_health
language plpgsql stable set search_path = '' as $$
begin
    health.latest_outcomes := right(
        health.latest_outcomes || note_outcome.outcome, (select settings.rotating_window from worker.settings as settings));
    -- Without a failure there is nothing to watch, and nothing to write at each page.
    if health.latest_outcomes !~ 'f' then
        health.latest_outcomes := '';
    end if;
    return health;
end;
$$;
comment on function worker.note_outcome is 'Returns the health of a rotating exit after a good page (s) or a failure (f).';

create function worker.fails_too_often(health worker.site_health) returns boolean
language sql stable set search_path = ''
return (
    select length(health.latest_outcomes) >= settings.rotating_window
       and length(replace(health.latest_outcomes, 's', '')) >= settings.rotating_failures * length(health.latest_outcomes)
    from worker.settings as settings
);
comment on function worker.fails_too_often is
    'Returns whether so many of the latest outcomes of a rotating exit are failures that it is paused. Failures in a row '
    'say nothing, because each request may leave from another address.';

create function worker.record_site_outcome(
    run_ids uuid[], site text, account text, exit text, error_code text, retry_after_seconds double precision,
    response_ms double precision
) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    health worker.site_health := worker.lock_health(
        record_site_outcome.site, coalesce(record_site_outcome.account, ''), record_site_outcome.exit);
    rule worker.breaker_rules;
    counted integer;
    is_counted boolean := false;
    may_reopen boolean := false;
    -- In a moving average in which the last search counts for a fifth.
    weight double precision := 1 - 0.8 ^ cardinality(run_ids);
begin
    if record_site_outcome.error_code is null then
        health := worker.after_success(health);
        perform worker.reset_failures(health);
    -- A user's mistake is no failure of the site. A pause that the site asked for always counts.
    elsif record_site_outcome.error_code not in ('invalid_parameters', 'not_found') and (
        record_site_outcome.retry_after_seconds > 0
        or worker.is_site_failure(run_ids[1], record_site_outcome.site, record_site_outcome.error_code)
    ) then
        select * into rule from worker.breaker_rules as known where known.error_code = record_site_outcome.error_code;
        if rule.error_code is not null then
            select failure.* into counted, is_counted, may_reopen
            from worker.count_failure(health.site, health.account, health.exit, run_ids[1], rule) as failure;
            if health.latest_outcomes <> '' then
                health := worker.note_outcome(health, 'f');
                is_counted := worker.fails_too_often(health);
                counted := rule.failures;
            end if;
        end if;
        health := worker.after_failure(health, run_ids[1], rule, counted, is_counted, may_reopen,
                                       record_site_outcome.error_code, record_site_outcome.retry_after_seconds);
    end if;

    update worker.site_health as known
    set last_success_at = health.last_success_at, last_failure_at = health.last_failure_at,
        last_error_code = health.last_error_code, consecutive_failures = health.consecutive_failures,
        paused_until = health.paused_until, paused_by = health.paused_by, trips = health.trips,
        prober_run_id = health.prober_run_id, latest_outcomes = health.latest_outcomes, updated_at = worker.now(),
        success_rate = case
            when record_site_outcome.error_code is null
                then coalesce(known.success_rate + weight * (1 - known.success_rate), 1)
            when is_counted then coalesce(known.success_rate * (1 - weight), 0)
            else known.success_rate end,
        response_ms = coalesce(known.response_ms + weight * (record_site_outcome.response_ms - known.response_ms),
                               record_site_outcome.response_ms, known.response_ms),
        search_seconds = coalesce(known.search_seconds + weight * (search.seconds - known.search_seconds),
                                  search.seconds, known.search_seconds)
    from (
        select avg(extract(epoch from worker.now() - searched.started_at)) as seconds
        from public.search_run_sites as searched
        where searched.run_id = any (run_ids) and searched.site = record_site_outcome.site
          and record_site_outcome.error_code is null and searched.started_at <= worker.now()
    ) as search
    where known.site = health.site and known.account = health.account and known.exit = health.exit;

    delete from worker.site_waits as wait
    where wait.run_id = any (record_site_outcome.run_ids) and wait.site = record_site_outcome.site;
    perform worker.release_search_slots(record_site_outcome.run_ids, record_site_outcome.site,
                                        coalesce(record_site_outcome.account, ''));
end;
$$;
comment on function worker.record_site_outcome is
    'Records how a search of a site ended, or that several succeeded, for the breaker and the order of sites, and '
    'releases the slots. It must come last in a transaction, because all users share the rows that it locks.';

create function worker.record_good_page(run_id uuid, site text, account text) returns void
language plpgsql set search_path = '' as $$
declare
    via text := coalesce((
        select search.exit from worker.site_searches as search
        where search.run_id = record_good_page.run_id and search.site = record_good_page.site), '');
begin
    update worker.site_searches as search set waiting_since = null, waited = '0', is_within_page = false
    where search.run_id = record_good_page.run_id and search.site = record_good_page.site
      and (search.waiting_since is not null or search.is_within_page);

    with closed as (
        update worker.site_health as health
        set paused_until = null, paused_by = null, trips = 0, consecutive_failures = 0, prober_run_id = null,
            latest_outcomes = '', updated_at = worker.now()
        where health.site = record_good_page.site and health.account = coalesce(record_good_page.account, '')
          and health.exit = via and health.prober_run_id is not null and health.paused_until <= worker.now()
        returning health.site, health.account, health.exit
    )
    delete from worker.site_failures as failed using closed
    where failed.site = closed.site and failed.account = closed.account and failed.exit = closed.exit;

    if via <> '' then
        update worker.site_health as health
        set latest_outcomes = (worker.note_outcome(health, 's')).latest_outcomes, updated_at = worker.now()
        where health.site = record_good_page.site and health.account = coalesce(record_good_page.account, '')
          and health.exit = via and health.latest_outcomes <> '';
    end if;
end;
$$;
comment on function worker.record_good_page is
    'Records that a run got a good page of a site: its waiting time starts again at zero, and a half-open breaker '
    'closes.';

-- sites/paused
-- Must this run leave the site alone now? Yes while its breaker is open, while another run probes it, and while the
-- user is paused alone.
-- Calls: kernel/clock, sites/queue, sites/waiting.

create function worker.pause_end(health worker.site_health, run_id uuid) returns timestamptz
language sql stable set search_path = ''
return case
    when health.paused_until > worker.now() then health.paused_until
    -- A probe whose worker has died does not count.
    when health.paused_until is not null and health.prober_run_id <> run_id and exists (
        select from worker.leases as lease
        where lease.run_id = health.prober_run_id and lease.expires_at > worker.now()
    ) then worker.now() + interval '30 seconds'
end;
comment on function worker.pause_end is
    'Returns until when a run must not search a site: while its breaker is open, and while another run probes it. '
    'Null if it may.';

create function worker.defer_if_paused(
    run_id uuid, site text, account text, health worker.site_health
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    pause_end timestamptz := worker.pause_end(defer_if_paused.health, defer_if_paused.run_id);
    ahead record;
begin
    if pause_end is null then
        return null;
    end if;
    ahead := worker.queue_ahead(defer_if_paused.site, defer_if_paused.account, '', '{paused}',
                                (worker.wait_state(defer_if_paused.run_id, defer_if_paused.site)).since,
                                defer_if_paused.run_id);
    -- One run per second: the first one probes the site.
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
    -- Failures in the future are from before the clock was set back. They do not count.
    select failed.failed_at + failed.pause as until, failed.paused_by into pause
    from worker.site_failures as failed
    join public.search_runs as run on run.user_id = failed.user_id
    where run.id = defer_if_user_paused.run_id
      and failed.site = defer_if_user_paused.site and failed.account = defer_if_user_paused.account
      and failed.exit = ''
      and failed.failed_at <= worker.now() and failed.failed_at + failed.pause > worker.now();
    if not found then
        return null;
    end if;
    ahead := worker.queue_ahead(defer_if_user_paused.site, defer_if_user_paused.account, '', '{paused}',
                                (worker.wait_state(defer_if_user_paused.run_id, defer_if_user_paused.site)).since,
                                defer_if_user_paused.run_id);
    return worker.defer_site(
        defer_if_user_paused.run_id, defer_if_user_paused.site, defer_if_user_paused.account,
        defer_if_user_paused.site, 1, 'paused',
        format('site paused for your searches until %s (%s)', worker.format_time(pause.until), pause.paused_by),
        pause.paused_by, pause.until + least(ahead.waiters, 60) * interval '1 second');
end;
$$;
comment on function worker.defer_if_user_paused is
    'Lets a run wait for a site that is paused for its user alone; returns null if it is not.';

create function worker.start_probe(health worker.site_health, run_id uuid) returns void
language sql volatile set search_path = ''
begin atomic
    update worker.site_health as tried set prober_run_id = start_probe.run_id, updated_at = worker.now()
    where (start_probe.health).paused_until is not null
      and tried.site = (start_probe.health).site and tried.account = (start_probe.health).account
      and tried.exit = (start_probe.health).exit
      and tried.prober_run_id is distinct from start_probe.run_id;
end;
comment on function worker.start_probe is 'Makes a run the only one that probes a site whose breaker is half open.';

-- sites/exits
-- Through which exit is a site asked? Through the one that the search has used so far, as long as it works. Otherwise
-- through one that is not paused and is used least for its weight; sometimes through one whose pause has ended.
-- Calls: kernel/clock, sites/queue, sites/waiting, sites/paused.

create type worker.exit as (name text, weight double precision, is_rotating boolean, requests_per_minute integer);
comment on type worker.exit is
    'An exit of a worker, through which it may ask a site: a name without its address.';

create type worker.exit_state as (
    name text, weight double precision, is_rotating boolean, usable_at timestamptz, paused_by text, is_half_open boolean,
    is_probed_by_run boolean, searches bigint, ready_at timestamptz, last_at timestamptz);
comment on type worker.exit_state is
    'An exit at a site, for a run: when it may be used, null for now; how many other searches use it; when its pace allows '
    'the next request; and when the last one was sent.';

create function worker.read_exits(exits jsonb) returns worker.exit[]
language plpgsql immutable set search_path = '' as $$
declare
    offered worker.exit[];
begin
    if exits is null or exits = 'null' then
        return null;
    end if;
    if jsonb_typeof(exits) <> 'array' or jsonb_array_length(exits) not between 1 and 100 then
        raise sqlstate '22023' using message = 'exits must be an array of 1 to 100 objects';
    end if;
    offered := array(
        select row(given.name, coalesce(given.weight, 1), coalesce(given.is_rotating, false), given.requests_per_minute)::worker.exit
        from jsonb_to_recordset(exits) as given (
            name text, weight double precision, is_rotating boolean, requests_per_minute integer));
    if exists (
        select from unnest(offered) as given
        where given.name is null or given.name !~ '^([a-z0-9][a-z0-9-]{0,39})?$' or not given.weight > 0
           or given.requests_per_minute < 1
    ) or (select count(distinct given.name) from unnest(offered) as given) < cardinality(offered) then
        raise sqlstate '22023' using message =
            'exits must be {name, weight, is_rotating, requests_per_minute}, each name once, with a weight above 0';
    end if;
    return offered;
end;
$$;
comment on function worker.read_exits is
    'Returns the exits that a worker offers for a site; null for a worker that offers none. Raises 22023 (HTTP 400) if '
    'they are not valid.';

create function worker.health_now(health worker.site_health) returns worker.site_health
language plpgsql stable set search_path = '' as $$
begin
    health.paused_until := health.paused_until - greatest(worker.clock_set_back_since(health.updated_at), '0');
    return health;
end;
$$;
comment on function worker.health_now is 'Returns the health of a site with its pause moved back as far as the clock was.';

create function worker.exit_states(run_id uuid, site text, account text, exits worker.exit[])
returns setof worker.exit_state
language plpgsql stable set search_path = '' as $$
begin
    return query
    select offered.name, offered.weight, offered.is_rotating,
           greatest(worker.pause_end(present.health, exit_states.run_id),
                    case when bucket.paused_until > worker.now() then bucket.paused_until end, own_pause.until),
           coalesce((present.health).paused_by, own_pause.paused_by, 'rate_limited'),
           (present.health).paused_until is not null,
           coalesce((present.health).prober_run_id = exit_states.run_id, false),
           coalesce(busy.searches, 0), bucket.next_at, bucket.last_at
    from unnest(exit_states.exits) as offered
    left join worker.site_health as known
        on known.site = exit_states.site and known.account = exit_states.account and known.exit = offered.name
    cross join lateral (select worker.health_now(known) as health) as present
    left join worker.site_buckets as bucket
        on bucket.bucket = exit_states.site and bucket.account = exit_states.account and bucket.exit = offered.name
    left join (
        select search.exit, count(*) as searches
        from worker.site_searches as search
        join worker.leases as lease on lease.run_id = search.run_id
        where search.site = exit_states.site and search.run_id <> exit_states.run_id and lease.expires_at > worker.now()
        group by search.exit
    ) as busy on busy.exit = offered.name
    left join (
        select failed.exit, failed.failed_at + failed.pause as until, failed.paused_by
        from worker.site_failures as failed
        join public.search_runs as run on run.user_id = failed.user_id
        where run.id = exit_states.run_id and failed.site = exit_states.site and failed.account = exit_states.account
          and failed.failed_at <= worker.now() and failed.failed_at + failed.pause > worker.now()
    ) as own_pause on own_pause.exit = offered.name;
end;
$$;
comment on function worker.exit_states is 'Returns the state of each exit that a worker offers for a site, for a run.';

create type worker.exit_choice as (via text, health worker.site_health);
comment on type worker.exit_choice is
    'The exit of a search, null if none may be used; and its health at the site if the search probes it, locked.';

create function worker.choose_exit(
    run_id uuid, site text, account text, exits worker.exit[], former text, most_searches integer
) returns worker.exit_choice
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    candidate record;
    health worker.site_health;
    explored double precision := (select settings.exploration from worker.settings as settings);
    -- One time for all: an exit that is looked at first is not free first.
    now timestamptz := worker.now();
begin
    for candidate in
        select state.name, state.is_half_open
        from worker.exit_states(choose_exit.run_id, choose_exit.site, choose_exit.account, choose_exit.exits) as state
        cross join lateral (
            select state.searches >= choose_exit.most_searches and not state.is_rotating is true as is_full,
                   -- The same for a repeated call.
                   (hashtextextended(format('%s %s %s', choose_exit.run_id, choose_exit.site, state.name), 0) & 2147483647)
                       / 2147483648.0 < explored as explores
        ) as chance
        where state.usable_at is null
        order by
            coalesce(chance.is_full, false),
            case when state.name = choose_exit.former and (not state.is_half_open or state.is_probed_by_run) then 0
                 when state.is_half_open and chance.explores then 1
                 when not state.is_half_open then 2
                 else 3 end,
            state.searches / state.weight,
            greatest(state.ready_at, now),
            extract(epoch from now - state.last_at) * state.weight desc nulls first,
            state.name
    loop
        if not candidate.is_half_open then
            return row(candidate.name, null)::worker.exit_choice;
        end if;
        -- One prober for each exit. Without waiting for a lock, so that no two transactions wait for each other.
        select known.* into health from worker.site_health as known
        where known.site = choose_exit.site and known.account = choose_exit.account and known.exit = candidate.name
        for no key update skip locked;
        if found and worker.pause_end(worker.health_now(health), choose_exit.run_id) is null then
            return row(candidate.name, health)::worker.exit_choice;
        end if;
    end loop;
    return row(null, null)::worker.exit_choice;
end;
$$;
comment on function worker.choose_exit is
    'Chooses the exit for a search, of those that a worker offers: the one that it has used so far, unless that is paused '
    'or full; otherwise the healthy one with the fewest searches for its weight, then the one whose pace is free first. A '
    'share of the searches tries an exit whose pause has ended: health is its health then, locked. via is null if none '
    'may be used.';

create function worker.exit_name(exit text) returns text
language sql immutable set search_path = ''
return coalesce(nullif(exit, ''), 'direct');
comment on function worker.exit_name is 'Returns the name of an exit for people: the own address is called direct.';

create function worker.former_exit(run_id uuid, site text) returns text
language plpgsql stable set search_path = '' as $$
begin
    return (
        select case event.data ->> 'exit' when 'direct' then '' else event.data ->> 'exit' end
        from public.run_events as event
        where event.run_id = former_exit.run_id and event.site = former_exit.site
          and event.event in ('site_started', 'exit_left')
        order by event.id desc
        limit 1
    );
end;
$$;
comment on function worker.former_exit is
    'Returns the exit that a search of a site used last, also before a retry or a wait; null if it used none.';

create function worker.defer_until_exit(run_id uuid, site text, account text, exits worker.exit[]) returns jsonb
language plpgsql set search_path = '' as $$
declare
    next record;
    ahead record;
begin
    select state.usable_at, state.paused_by, state.is_half_open, state.name into next
    from worker.exit_states(defer_until_exit.run_id, defer_until_exit.site, defer_until_exit.account, defer_until_exit.exits)
        as state
    -- Those that may be used are being tried by others at this moment.
    order by coalesce(state.usable_at, worker.now() + interval '1 second')
    limit 1;
    ahead := worker.queue_ahead(defer_until_exit.site, defer_until_exit.account, '', '{paused}',
                                (worker.wait_state(defer_until_exit.run_id, defer_until_exit.site)).since,
                                defer_until_exit.run_id);
    next.usable_at := coalesce(next.usable_at, worker.now() + interval '1 second');
    return worker.defer_site(
        defer_until_exit.run_id, defer_until_exit.site, defer_until_exit.account, defer_until_exit.site, 1, 'paused',
        format('%s paused until %s (%s)', case when cardinality(exits) > 1 then 'all exits of the site are' else 'site' end,
               worker.format_time(next.usable_at), next.paused_by),
        -- Users and workers know no exits.
        case next.paused_by when 'exit_failed' then 'network' else next.paused_by end,
        next.usable_at + least(ahead.waiters, 60) * interval '1 second', is_guess => next.is_half_open);
end;
$$;
comment on function worker.defer_until_exit is
    'Lets a run wait for a site until the first of the exits that a worker offers may be used again.';

create function worker.begin_health(site text, account text, exit text) returns void
language sql volatile set search_path = ''
begin atomic
    insert into worker.site_health (site, account, exit)
    values (begin_health.site, begin_health.account, begin_health.exit)
    on conflict do nothing;
end;
comment on function worker.begin_health is
    'Notes that an exit is used at a site: a site is not paused while one of its exits is not.';

create function worker.change_exit(
    run_id uuid, site text, former text, exit text, error_code text, message text
) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
begin
    perform worker.begin_health(worker_exit.site, worker_exit.account, worker_exit.exit)
    from (select search.site, search.account, change_exit.exit from worker.site_searches as search
          where search.run_id = change_exit.run_id and search.site = change_exit.site and change_exit.exit is not null)
        as worker_exit;
    -- Others may try the former exit. Without waiting for a lock: the end of the search ends its probe as well.
    update worker.site_health as health set prober_run_id = null
    where (health.site, health.account, health.exit) in (
        select probed.site, probed.account, probed.exit from worker.site_health as probed
        where probed.prober_run_id = change_exit.run_id and probed.site = change_exit.site and probed.exit = change_exit.former
        for no key update skip locked);
    update worker.site_searches as search set exit = change_exit.exit
    where search.run_id = change_exit.run_id and search.site = change_exit.site and change_exit.exit is not null;
    insert into public.run_events (run_id, event, site, data, created_at)
    values (change_exit.run_id, 'exit_left', change_exit.site, jsonb_strip_nulls(jsonb_build_object(
        'left', worker.exit_name(change_exit.former),
        'exit', case when change_exit.exit is not null then worker.exit_name(change_exit.exit) end,
        'error_code', change_exit.error_code, 'message', change_exit.message)), worker.now());
end;
$$;
comment on function worker.change_exit is
    'Lets a search use another exit from now on, and writes the event exit_left; exit is null if there is no other one.';

create function worker.health_in_use() returns setof worker.site_health
language sql stable set search_path = ''
begin atomic
    with known as (
        select health, living.is_used, bool_or(living.is_used) over (partition by health.site, health.account) as has_used
        from worker.site_health as health
        cross join lateral (
            select exists (
                select from worker.workers as living
                where health.exit = any (living.exits)
                  and living.seen_at > worker.now() - (select settings.worker_timeout from worker.settings as settings)
            ) as is_used
        ) as living
    )
    select (known.health).* from known where known.is_used or not known.has_used;
end;
comment on function worker.health_in_use is
    'Returns the health of sites through the exits of living workers; of all exits, where no living worker has one.';

create function worker.account_health()
returns table (site text, account text, is_open boolean, is_half_open boolean, paused_until timestamptz, paused_by text,
               trips smallint)
language sql stable set search_path = ''
begin atomic
    select health.site, health.account,
           bool_and(coalesce(health.paused_until > worker.now(), false)),
           bool_and(health.paused_until is not null) and not bool_and(coalesce(health.paused_until > worker.now(), false)),
           case when bool_and(health.paused_until is not null) then min(health.paused_until) end,
           (array_agg(health.paused_by order by health.paused_until))[1],
           case when bool_and(health.paused_until is not null) then min(health.trips) else 0::smallint end
    from worker.health_in_use() as health
    group by health.site, health.account;
end;
comment on function worker.account_health is
    'Returns the state of the breaker of each site through each account: it is paused when all of its exits are, until the '
    'first of them may be tried.';

-- sites/limits
-- How many requests does a site allow? What the operator sets in worker.bucket_limits, otherwise what the source
-- declares.
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
    select given.name, rule.expected into wrong
    from jsonb_each(case jsonb_typeof(declared) when 'object' then declared end) as given (name, value)
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
         '$ ? (@ >= 1 && @ <= 1000000 && @ == @.floor())'),
        ('per_exit', 'true or false', '$ ? (@.type() == "boolean")')
    ) as rule (name, expected, path) on rule.name = given.name
    where rule.name is null
       or (given.value <> 'null' and (jsonb_typeof(given.value) in ('array', 'object')
                                     or not jsonb_path_exists(given.value, rule.path, silent => true)))
    limit 1;
    if found then
        raise sqlstate '22023' using message = coalesce(
            'limits.' || wrong.name || ' must be ' || wrong.expected, format('limits.%s is not a limit', wrong.name));
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
           coalesce(own.searches_per_account, (declared ->> 'searches_per_account')::numeric::integer),
           own.total_requests
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
    'Returns the limits of a bucket: the operator''s, otherwise those that a source declares. Raises 22023 (HTTP '
    '400) for an invalid limit.';

create function worker.next_quota_reset(period text, timezone text, at timestamptz) returns timestamptz
language sql stable set search_path = ''
return (date_trunc(period, at at time zone timezone) + ('1 ' || period)::interval) at time zone timezone;
comment on function worker.next_quota_reset is
    'Returns the first midnight of the next calendar day or month in a time zone.';

create function worker.request_interval(allowed worker.bucket_limits) returns interval
language sql stable set search_path = ''
-- A burst, then single requests at this interval, make at most `requests` within any period. Rounded up to be safe.
return (
    select make_interval(secs => ceil(
        (allowed.period_seconds + extract(epoch from settings.permit_slack)::double precision)
        / (allowed.requests - allowed.burst + 1) * 1000000) / 1000000)
    from worker.settings as settings
);
comment on function worker.request_interval is
    'Returns the time between two requests at the rate of a bucket; null without a rate limit.';

create function worker.min_delay(allowed worker.bucket_limits) returns interval
language sql stable set search_path = ''
return (
    select coalesce(make_interval(secs => nullif(allowed.min_delay_seconds, 0)) + settings.permit_slack, '0')
    from worker.settings as settings
);
comment on function worker.min_delay is 'Returns the least time between two requests of a bucket.';

create function worker.limits_of_rotating(allowed worker.bucket_limits, requests_per_minute integer)
returns worker.bucket_limits
language plpgsql immutable set search_path = '' as $$
begin
    allowed.requests := requests_per_minute;
    allowed.period_seconds := 60;
    allowed.burst := 1;
    allowed.min_delay_seconds := null;
    allowed.quota := null;
    return allowed;
end;
$$;
comment on function worker.limits_of_rotating is
    'Returns the limits of a bucket through a rotating exit: the pace that the operator has set for it, because each '
    'address behind it counts alone.';

-- sites/admission
-- May this run start to search a site? Not while the site is paused, and not beyond its limit of concurrent searches.
-- Most sites have no such limit and are not paused: they admit all runs, and no run locks anything.
-- Calls: kernel/clock, sites/queue, sites/wake, sites/waiting, sites/breaker, sites/paused, sites/exits, sites/limits.

create function worker.defer_if_full(
    run_id uuid, site text, account text, allowed worker.bucket_limits, exits text[]
) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    since timestamptz := (worker.wait_state(defer_if_full.run_id, defer_if_full.site)).since;
    gate record;
begin
    for gate in
        select level.account, level.most, ahead.waiters, ahead.is_due, (
            select count(*)
            from worker.site_searches as search
            join worker.leases as lease on lease.run_id = search.run_id
            where search.site = defer_if_full.site and level.account in ('', search.account)
              and (level.is_per_account or search.exit = any (defer_if_full.exits))
              and search.run_id <> defer_if_full.run_id and lease.expires_at > worker.now()
        ) as under_way
        from (values (defer_if_full.account, allowed.searches_per_account, true),
                     ('', allowed.searches * cardinality(defer_if_full.exits), false))
            as level (account, most, is_per_account)
        cross join lateral worker.queue_ahead(
            defer_if_full.site, level.account, '', '{searches}', since, defer_if_full.run_id) as ahead
        where level.most is not null and not exists (
            select from worker.site_searches as search
            where search.run_id = defer_if_full.run_id and search.site = defer_if_full.site)
    loop
        continue when gate.under_way + gate.waiters < gate.most;
        -- A slot is free, but it belongs to a run that is not due yet.
        if gate.under_way < gate.most and not gate.is_due then
            perform worker.wake_next(defer_if_full.site, gate.account);
        end if;
        -- The next run is woken when a slot becomes free. The time is a fallback.
        return worker.defer_site(
            defer_if_full.run_id, defer_if_full.site, gate.account, defer_if_full.site, 1, 'searches',
            format('%s of %s concurrent searches of the site are under way; runs ahead in the queue: %s',
                   gate.under_way, gate.most, gate.waiters),
            'rate_limited',
            worker.now() + least(interval '30 seconds' * (1 + gate.waiters / gate.most), interval '10 minutes'),
            is_guess => true);
    end loop;
    return null;
end;
$$;
comment on function worker.defer_if_full is
    'Lets a run wait for a site that has no free slot for it, within the limits per account, and of these exits over all '
    'accounts; returns null if there is one, or if the run has one.';

create function worker.defer_if_exits_full(
    run_id uuid, site text, account text, allowed worker.bucket_limits, exits worker.exit[], chosen text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    usable text[];
begin
    -- A rotating exit has many addresses, each of which counts alone at the site.
    if (select offered.is_rotating from unnest(exits) as offered where offered.name = chosen) then
        allowed.searches := null;
    else
        usable := array(
            select state.name from worker.exit_states(run_id, site, account, exits) as state
            where state.usable_at is null and not state.is_rotating);
    end if;
    return worker.defer_if_full(run_id, site, account, allowed, usable);
end;
$$;
comment on function worker.defer_if_exits_full is
    'Lets a run wait for a site if each of the exits that may be used has as many searches as the site allows, and none of '
    'them is rotating; otherwise returns null.';

create function worker.take_search_slot(run_id uuid, site text, account text, exit text) returns void
language plpgsql set search_path = '' as $$
declare
    waiting record := worker.wait_state(take_search_slot.run_id, take_search_slot.site);
begin
    -- A wait for a permit ('rate', 'quota') stays until the permit is granted, to keep the run's place in the queue.
    delete from worker.site_waits as wait
    where wait.run_id = take_search_slot.run_id and wait.site = take_search_slot.site
      and wait.reason in ('searches', 'paused');
    insert into worker.site_searches as search (run_id, site, account, exit, waiting_since, waited)
    values (take_search_slot.run_id, take_search_slot.site, take_search_slot.account, take_search_slot.exit, waiting.since, waiting.waited)
    on conflict on constraint site_searches_pkey do update set account = excluded.account, exit = excluded.exit;
end;
$$;
comment on function worker.take_search_slot is 'Gives a run a slot to search a site.';

create function worker.admit_site(
    run_id uuid, site text, account text, limits jsonb, exits worker.exit[] default null
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    via text := coalesce(account, '');
    choice worker.exit_choice;
    chosen text := '';
    allowed worker.bucket_limits;
    health worker.site_health;
    refusal jsonb;
begin
    if jsonb_typeof(limits) <> 'object' then
        raise sqlstate '22023' using message = 'limits must be an object of limits by bucket';
    end if;
    allowed := worker.effective_limits(site, limits -> site);

    -- The limit over all accounts is counted by one transaction at a time.
    if allowed.searches is not null then
        perform pg_advisory_xact_lock(hashtextextended('worker.admit_site ' || site, 0));
    end if;
    if exits is null then
        health := worker.lock_health(site, via);
        refusal := coalesce(
            worker.defer_if_paused(run_id, site, via, health),
            worker.defer_if_user_paused(run_id, site, via),
            worker.defer_if_full(run_id, site, via, allowed, '{""}'));
    else
        choice := worker.choose_exit(run_id, site, via, exits, worker.former_exit(run_id, site), allowed.searches);
        health := choice.health;
        chosen := choice.via;
        refusal := case
            when chosen is null then worker.defer_until_exit(run_id, site, via, exits)
            else worker.defer_if_exits_full(run_id, site, via, allowed, exits, chosen) end;
    end if;
    if refusal is not null then
        return refusal;
    end if;

    perform worker.take_search_slot(run_id, site, via, chosen);
    perform worker.start_probe(health, run_id) where health.site is not null;
    return jsonb_build_object('granted', true, 'wait_seconds', 0)
        || case when exits is null then '{}' else jsonb_build_object('exit', chosen) end;
end;
$$;
comment on function worker.admit_site is
    'Admits a leased run to a site, or returns when to ask again: {granted, wait_seconds, exit}, {granted, reason, '
    'message, retry_in_seconds, until} or, beyond max_site_wait, {granted, error_code, message}. limits are the '
    'limits that the source declares, by bucket. exits are those that the worker offers; null at a site that does not '
    'know workers by their address. The caller notes that the exit is used. Idempotent: a second call takes no second slot.';

create function worker.admits_all(site text, limits jsonb) returns boolean
language plpgsql stable set search_path = '' as $$
declare
    allowed worker.bucket_limits;
begin
    allowed := worker.effective_limits(site, limits);
    return allowed.searches is null and allowed.searches_per_account is null
       and not exists (select from worker.site_health as health
                       where health.site = admits_all.site and health.paused_until is not null)
       and not exists (select from worker.site_failures as failed
                       where failed.site = admits_all.site and failed.pause is not null);
exception when invalid_parameter_value then
    return false;  -- worker.admit_site says why
end;
$$;
comment on function worker.admits_all is
    'Returns whether a site may be searched for all runs, through all accounts: it is not paused, and the number of '
    'concurrent searches has no limit. limits are those that the source declares for the site''s own bucket.';

-- sites/buckets
-- How much of a site's requests is used? Each bucket is counted under a lock. Its quota starts again at the reset.
-- Calls: kernel/clock, sites/limits.

create function worker.lock_bucket(bucket text, account text, exit text default '') returns worker.site_buckets
language plpgsql set search_path = '' as $$
declare
    held worker.site_buckets;
    set_back interval;
begin
    loop
        select * into held from worker.site_buckets as known
        where known.bucket = lock_bucket.bucket and known.account = lock_bucket.account and known.exit = lock_bucket.exit
        for no key update;
        exit when found;
        insert into worker.site_buckets (bucket, account, exit)
        values (lock_bucket.bucket, lock_bucket.account, lock_bucket.exit)
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
        where known.bucket = held.bucket and known.account = held.account and known.exit = held.exit
        returning known.* into strict held;
    end if;
    return held;
end;
$$;
comment on function worker.lock_bucket is
    'Locks a bucket until the transaction ends. If the clock was set back, moves its times back with it.';

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
comment on function worker.begin_quota_period is
    'Returns a bucket as it is at a time: with a new quota if the last quota period has ended.';

-- sites/shares
-- How much of a quota may one user take? At most max_quota_share. Scheduled runs and other runs leave a reserve to each
-- other.
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
    -- The quota of an account belongs to its users alone.
    if total is null or held.account <> '' then
        return;
    end if;
    select * into strict settings from worker.settings;
    select coalesce(share.used, 0) as used, run.source = 'cron' and run.priority < 10 as is_scheduled into strict asking
    from public.search_runs as run
    left join worker.site_shares as share
        on share.bucket = held.bucket and share.user_id = run.user_id and share.exit = held.exit and share.quota_period = held.quota_period
    where run.id = quota_left.run_id;

    unreserved := requests - greatest(0, case
        when asking.is_scheduled
            then floor(total * settings.manual_quota_reserve) - (held.quota_used - held.scheduled_used)
        else floor(total * settings.scheduled_quota_reserve) - held.scheduled_used end);
    if unreserved < requests then
        requests := unreserved;
        lets_pass := true;
        name := name || case when asking.is_scheduled then ' for scheduled runs'
                             else ' without the reserve for scheduled runs' end;
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
    'Returns how much of a quota a run may still take, and its maximum in a period; null for no limit. Of a shared '
    'quota, no user takes more than max_quota_share, scheduled runs leave manual_quota_reserve to other runs, and '
    'other runs leave scheduled_quota_reserve to scheduled ones. name describes the limit that applies.';

-- sites/permits
-- When may the next request be sent to a site? When the rate, the delay and the quota allow it, and after the runs that
-- are ahead in the queue.
-- Calls: kernel/clock, kernel/run_sites, kernel/lease, sites/queue, sites/waiting, sites/breaker, sites/paused, sites/exits,
--   sites/limits, sites/buckets, sites/shares.

create type worker.permit_slot as (
    starts_at timestamptz, reason text, error_code text, message text, is_ahead_allowed boolean, lets_pass boolean);
comment on type worker.permit_slot is
    'When requests may be sent at the earliest, and the message for a run that has to wait that long: whether a '
    'worker may wait without giving the run back, and whether other runs are served meanwhile.';

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
comment on function worker.slot_by_pace is
    'Returns when a bucket''s rate, its delay and the site''s own pause allow requests.';

create function worker.slot_by_quota(
    slot worker.permit_slot, held worker.site_buckets, allowed worker.bucket_limits, asked integer, run_id uuid,
    at timestamptz
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
    -- A request after the reset does not use the quota before it.
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
comment on function worker.slot_by_quota is 'Returns when the remaining quota allows the requests, too.';

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
    where known.bucket = held.bucket and known.account = held.account and known.exit = held.exit;

    if held.account = '' then
        insert into worker.site_shares as known (bucket, user_id, exit, used, quota_period, last_at)
        values (held.bucket, run.user_id, held.exit, asked, held.quota_period, at)
        on conflict on constraint site_shares_pkey do update set
            used = excluded.used + case when known.quota_period = excluded.quota_period then known.used else 0 end,
            quota_period = excluded.quota_period, last_at = excluded.last_at;
    end if;
end;
$$;
comment on function worker.spend_requests is 'Takes requests of a locked bucket for a run and its user.';

create function worker.record_permit(run_id uuid, site text, since timestamptz, waited interval) returns void
language plpgsql set search_path = '' as $$
begin
    delete from worker.site_waits as wait where wait.run_id = record_permit.run_id and wait.site = record_permit.site;
    -- The wait ends with a page. If permits bring no page, the site fails after max_site_wait in total.
    update worker.site_searches as search
    set waiting_since = coalesce(record_permit.since, worker.now()), waited = record_permit.waited,
        is_within_page = true
    where search.run_id = record_permit.run_id and search.site = record_permit.site and not search.is_within_page;
end;
$$;
comment on function worker.record_permit is 'Records that a run has a permit, no longer waits, and requests its page.';

create function worker.defer_if_late(
    run_id uuid, site text, account text, exit text, bucket text, asked integer, slot worker.permit_slot, spacing interval,
    since timestamptz, is_within_page boolean, at timestamptz
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    ahead record;
    inline_wait interval := (select settings.inline_wait from worker.settings as settings);
begin
    -- A run in the middle of a page finishes it before other runs begin theirs, and waits without giving the run back
    -- if it can. If it were deferred, it would have to repeat the first requests of the page.
    ahead := worker.queue_ahead(
        bucket, account, exit, '{rate,quota}', case when is_within_page then '-infinity' else since end, run_id);
    if not slot.is_ahead_allowed then
        inline_wait := '0';
    elsif is_within_page then
        inline_wait := greatest(inline_wait, '1 minute');
    end if;
    if ahead.waiters = 0 and slot.starts_at <= at + inline_wait then
        return null;
    end if;
    return worker.defer_site(
        run_id, site, account, bucket, asked, slot.reason,
        coalesce(slot.message, case when ahead.waiters > 0 then
            format('rate limit of the site reached: runs ahead in the queue: %s', ahead.waiters)
            else format('rate limit of the site reached until %s', worker.format_time(slot.starts_at)) end),
        slot.error_code,
        greatest(slot.starts_at + ahead.requests * spacing, ahead.back_at + spacing),
        lets_pass => slot.lets_pass, exit => defer_if_late.exit);
end;
$$;
comment on function worker.defer_if_late is
    'Lets a run wait for a bucket if runs are ahead in the queue, or if its slot is later than a worker waits for without '
    'giving the run back; otherwise returns null. spacing is the time between two requests.';

create function worker.slot_by_total(
    slot worker.permit_slot, total worker.site_buckets, allowed worker.bucket_limits, asked integer, at timestamptz
) returns worker.permit_slot
language plpgsql stable set search_path = '' as $$
declare
    of_all worker.permit_slot;
begin
    allowed.requests := allowed.total_requests;
    allowed.burst := least(allowed.burst, allowed.requests);
    allowed.quota := null;
    of_all := worker.slot_by_pace(total, allowed, asked, worker.request_interval(allowed), '0', at);
    return case when of_all.starts_at > slot.starts_at then of_all else slot end;
end;
$$;
comment on function worker.slot_by_total is 'Returns when the rate of all exits together allows requests, too.';

create function worker.spend_total(
    total worker.site_buckets, allowed worker.bucket_limits, asked integer, starts_at timestamptz, at timestamptz
) returns void
language plpgsql set search_path = '' as $$
begin
    allowed.requests := allowed.total_requests;
    allowed.burst := least(allowed.burst, allowed.requests);
    update worker.site_buckets as known
    set next_at = greatest(spend_total.starts_at, total.next_at) + asked * worker.request_interval(allowed),
        last_at = spend_total.starts_at, updated_at = at
    where known.bucket = total.bucket and known.account = total.account and known.exit = total.exit;
end;
$$;
comment on function worker.spend_total is 'Takes requests of a locked bucket of all exits together.';

create function worker.exit_of_permit(
    run_id uuid, site text, account text, exits worker.exit[]
) returns worker.exit_choice
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    former text := (
        select search.exit from worker.site_searches as search
        where search.run_id = exit_of_permit.run_id and search.site = exit_of_permit.site);
    choice worker.exit_choice;
begin
    -- The usual case.
    if exists (select from unnest(exit_of_permit.exits) as offered where offered.name = former)
       and not exists (
           select from worker.site_health as paused
           where paused.site = exit_of_permit.site and paused.account = exit_of_permit.account and paused.exit = former
             and paused.paused_until is not null)
       and not exists (
           select from worker.site_buckets as paused
           where paused.bucket = exit_of_permit.site and paused.account = exit_of_permit.account and paused.exit = former
             and paused.paused_until > worker.now()) then
        return row(former, null)::worker.exit_choice;
    end if;
    choice := worker.choose_exit(exit_of_permit.run_id, exit_of_permit.site, exit_of_permit.account, exit_of_permit.exits,
                                 former, null);
    if choice.via <> former then
        perform worker.change_exit(exit_of_permit.run_id, exit_of_permit.site, former, choice.via, 'paused', null);
    end if;
    return choice;
end;
$$;
comment on function worker.exit_of_permit is
    'Returns the exit for the next request of a search: the one that it uses, unless that is paused; null if all are.';

create function public.worker_take_permit(
    run_id uuid, lease_token uuid, site text, account text, bucket text, requests integer, limits jsonb,
    exits jsonb default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    via text := coalesce(account, '');
    offered worker.exit[] := worker.read_exits(exits);
    choice worker.exit_choice;
    chosen worker.exit;
    health worker.site_health;
    allowed worker.bucket_limits;
    held worker.site_buckets;
    total worker.site_buckets;
    slot worker.permit_slot;
    waiting record;
    refusal jsonb;
    now timestamptz;
    pace interval;
    delay interval;
begin
    if requests is null or requests not between 1 and 1000000 then
        raise sqlstate '22023' using message = 'requests must be an integer from 1 to 1000000';
    end if;
    perform worker.lock_lease(run_id, lease_token);
    perform worker.require_site(run_id, site);
    perform worker.require_bucket(bucket, site);

    if offered is null then
        health := worker.lock_health_if_paused(site, via);
        refusal := worker.defer_if_paused(run_id, site, via, health) where health.site is not null;
    else
        choice := worker.exit_of_permit(run_id, site, via, offered);
        health := choice.health;
        if choice.via is null then
            refusal := worker.defer_until_exit(run_id, site, via, offered);
        else
            select each.* into chosen from unnest(offered) as each where each.name = choice.via;
        end if;
    end if;
    if refusal is not null then
        return refusal;
    end if;

    held := worker.lock_bucket(
        bucket, via, case when (limits ->> 'per_exit')::boolean is false then '' else coalesce(chosen.name, '') end);
    allowed := worker.effective_limits(
        bucket, coalesce(nullif(limits, 'null'), '{}') || jsonb_strip_nulls(jsonb_build_object('quota', held.told_quota)));
    if chosen.is_rotating and (limits ->> 'per_exit')::boolean is not false then
        allowed := worker.limits_of_rotating(allowed, chosen.requests_per_minute);
        held.told_left := null;
    end if;
    if allowed.total_requests is not null then
        total := worker.lock_bucket(bucket, via, '*');
    end if;
    -- After the locks: otherwise a later transaction could have been granted an earlier time.
    now := worker.now();
    pace := worker.request_interval(allowed);
    delay := worker.min_delay(allowed);
    held := worker.begin_quota_period(held, allowed, now);
    slot := worker.slot_by_pace(held, allowed, requests, pace, delay, now);
    slot := worker.slot_by_quota(slot, held, allowed, requests, run_id, now);
    if allowed.total_requests is not null then
        slot := worker.slot_by_total(slot, total, allowed, requests, now);
    end if;
    waiting := worker.wait_state(run_id, site);
    refusal := worker.defer_if_late(run_id, site, via, held.exit, bucket, requests, slot, greatest(pace, delay),
                                    waiting.since, waiting.is_within_page, now);
    if refusal is not null then
        return refusal;
    end if;

    perform worker.spend_requests(held, allowed, run_id, requests, slot.starts_at, pace, delay, now);
    perform worker.spend_total(total, allowed, requests, slot.starts_at, now) where allowed.total_requests is not null;
    perform worker.record_permit(run_id, site, waiting.since, waiting.waited);
    perform worker.start_probe(health, run_id) where health.site is not null;
    return jsonb_build_object('granted', true, 'wait_seconds', extract(epoch from slot.starts_at - now))
        || case when offered is null then '{}' else jsonb_build_object('exit', chosen.name) end;
end;
$$;
comment on function public.worker_take_permit is
    'Grants requests to a bucket of a site, now or within inline_wait, or returns when to ask again: {granted, '
    'wait_seconds, exit}, {granted, reason, message, retry_in_seconds, until} or, beyond max_site_wait, {granted, '
    'error_code, message}. limits are the limits that the source declares for the bucket. exits are those that the worker '
    'offers, [{name, weight, is_rotating, requests_per_minute}]; the answer names the one to use. Not idempotent: if an '
    'answer is lost, its requests are granted but not sent.';

-- sites/observed_limits
-- What changes when a site reports its limits in a response? Its pause and its remaining quota, for all workers.
-- Calls: kernel/clock, kernel/run_sites, kernel/lease, sites/buckets.

create function worker.read_observed(
    observed jsonb, out retry_after interval, out resets_in interval, out remaining integer, out quota integer
)
language plpgsql immutable set search_path = '' as $$
declare
    wrong text;
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
            wrong);
    end if;
    -- Sites may send any number: limit pauses to a day, and quota periods to 31 days.
    select make_interval(secs => min(bounded.seconds) filter (where bounded.name = 'retry_after_seconds')),
           make_interval(secs => min(bounded.seconds) filter (where bounded.name = 'resets_in_seconds')),
           min(bounded.requests) filter (where bounded.name = 'remaining'),
           min(bounded.requests) filter (where bounded.name = 'quota')
    into retry_after, resets_in, remaining, quota
    from (
        select field.name, least(field.value::text::numeric, 1000000000)::integer as requests,
               least(field.value::text::double precision,
                     case field.name when 'retry_after_seconds' then 86400 else 2678400 end) as seconds
        from jsonb_each(observed) as field (name, value)
        where field.value <> 'null'
    ) as bounded;
end;
$$;
comment on function worker.read_observed is
    'Returns the limits that a site reported, within bounds. Raises 22023 (HTTP 400) if they are not valid.';

create function public.worker_observe_limits(
    run_id uuid, lease_token uuid, site text, account text, bucket text, observed jsonb, exit text default ''
) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    reported record := worker.read_observed(worker_observe_limits.observed);
    held worker.site_buckets;
    now timestamptz;
    resets_at timestamptz;
    is_renewed boolean;
begin
    perform worker.lock_lease(worker_observe_limits.run_id, lease_token);
    perform worker.require_site(worker_observe_limits.run_id, worker_observe_limits.site);
    perform worker.require_bucket(worker_observe_limits.bucket, worker_observe_limits.site);
    held := worker.lock_bucket(worker_observe_limits.bucket, coalesce(worker_observe_limits.account, ''),
                               worker_observe_limits.exit);
    now := worker.now();
    held := worker.begin_quota_period(held, null, now);

    resets_at := now + reported.resets_in;
    is_renewed := held.is_reset_told and resets_at > held.quota_resets_at + interval '1 minute';
    -- The site has not counted requests under way yet. Until its quota resets, only a lower remaining quota is
    -- accepted.
    if reported.remaining is not null then
        held.told_left := case when is_renewed then reported.remaining else least(held.told_left, reported.remaining) end;
    end if;
    held.told_quota := coalesce(nullif(reported.quota, 0), held.told_quota);
    if is_renewed then
        held.quota_used := 0;
        held.scheduled_used := 0;
        held.quota_period := held.quota_period + 1;
    end if;
    held.quota_used := greatest(held.quota_used, held.told_quota - held.told_left);

    update worker.site_buckets as known
    set paused_until = greatest(known.paused_until, now + reported.retry_after), told_quota = held.told_quota,
        told_left = held.told_left, quota_used = held.quota_used, scheduled_used = held.scheduled_used,
        quota_period = held.quota_period,
        quota_resets_at = coalesce(resets_at, held.quota_resets_at),
        is_reset_told = held.is_reset_told or resets_at is not null, updated_at = now
    where known.bucket = held.bucket and known.account = held.account and known.exit = held.exit;
end;
$$;
comment on function public.worker_observe_limits is
    'Stores the limits that a site reported, for all workers: {retry_after_seconds, remaining, quota, '
    'resets_in_seconds}, each of which may be null; of the exit that it answered through. Idempotent, except that times count from the call.';

-- runs/progress
-- How far is a run? Each write of a run that is searched derives its counts. Progress is written at most once per
-- progress_interval, and less often the more runs are searched.
-- Calls: kernel/clock, kernel/run_sites, kernel/counts, kernel/lease, sharing/follow.

create function worker.merge_site_progress(former jsonb, report jsonb) returns jsonb
language sql immutable set search_path = ''
return pg_catalog.jsonb_strip_nulls(
    report - 'site' || case
        when former ->> 'step' = report ->> 'step'
            then pg_catalog.jsonb_build_object(
                'current', greatest((former ->> 'current')::numeric, (report ->> 'current')::numeric),
                'total', coalesce(nullif(report -> 'total', 'null'), former -> 'total'))
        else '{}'
    end);
comment on function worker.merge_site_progress is
    'Returns a site''s progress after a report of its search: within a step, current never decreases, and total '
    'stays until another one is reported.';

create function worker.derive_counts() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    select counts.* into new.jobs_found, new.progress_current from worker.run_counts(new) as counts;
    select things.* into new.items_found, new.new_items
    from worker.count_things(new.id, worker.runs_shown_before(new)) as things;
    -- Realtime broadcasts every update: skip those without a change.
    return case when new is distinct from old then new end;
end;
$$;
comment on function worker.derive_counts is
    'Derives the counts of a run that is searched from its sites and results, at each write. The sites are written '
    'before. Skips a write that changes nothing.';

-- Fires after cancel_run, which ends the sites: triggers fire in the order of their names.
create trigger derive_counts before update on public.search_runs
    for each row when (
        (old.status = 'running' or new.completed_at is not null) and old.completed_at is null
        and old.leader_run_id is null and new.leader_run_id is null and new.shared_run_id is null)
    execute function worker.derive_counts();

create function worker.write_progress(run_id uuid, progress jsonb) returns void
language plpgsql set search_path = '' as $$
begin
    update public.search_run_sites as site
    set jobs_found = counted.jobs_found, progress = counted.progress
    from (
        select searched.site, coalesce(found.results, 0) as jobs_found,
               -- A site that has ended keeps its own progress.
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
    set progress = jsonb_strip_nulls(write_progress.progress)
    where run.id = write_progress.run_id;
end;
$$;
comment on function worker.write_progress is
    'Writes the progress {step, site, current, total, details} of a run and of its site, and the counts of all its '
    'sites.';

create function worker.seconds_until_progress(run_id uuid) returns double precision
language plpgsql stable set search_path = '' as $$
begin
    return (
    select extract(epoch from run.updated_at - worker.now() + settings.progress_interval * greatest(
        1, (select count(*) from worker.leases)::double precision
            * (1 + worker.live_followers(run.id)) / settings.max_changes_per_interval))
    from public.search_runs as run, worker.settings as settings
    where run.id = seconds_until_progress.run_id
    );
end;
$$;
comment on function worker.seconds_until_progress is
    'Returns the seconds until the progress of a run may be written again, so that all runs that are searched, with '
    'the followers of each, make at most max_changes_per_interval.';

create function worker.show_progress(run_id uuid, progress jsonb) returns double precision
language plpgsql set search_path = '' as $$
declare
    seconds double precision := worker.seconds_until_progress(show_progress.run_id);
begin
    if seconds > 0 then
        return seconds;
    end if;
    perform worker.write_progress(show_progress.run_id, show_progress.progress);
    if worker.live_followers(show_progress.run_id) > 0 then
        perform worker.update_followers(show_progress.run_id);
    end if;
    return null;
end;
$$;
comment on function worker.show_progress is
    'Writes the progress of a run and of its live followers, unless the last change is too recent. Returns the '
    'seconds until it can be written; null if it was.';

create function public.worker_write_progress(run_id uuid, lease_token uuid, progress jsonb) returns double precision
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
    return worker.show_progress(worker_write_progress.run_id, worker_write_progress.progress);
end;
$$;
comment on function public.worker_write_progress is
    'Reports the progress of a site between two pages: {step, site, current, total, details}. Returns the seconds '
    'until it can be written, if the last change of the run is too recent; null if it was written.';

-- runs/leave_exit
-- What happens if a site refuses an exit in the middle of a search? The exit is paused for all, and the search asks again
-- through another one: neither the site nor the run fails.
-- Calls: kernel/clock, kernel/messages, kernel/run_sites, kernel/lease, sites/breaker, sites/paused,
--   sites/exits, runs/progress.

create function worker.may_pause_exits(run_id uuid, site text, account text, rule worker.breaker_rules) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return rule.error_code = 'exit_failed'
        or (
            select count(*) <= rule.failures_per_user
            from worker.site_failures as failed
            join public.search_runs as run on run.user_id = failed.user_id
            where run.id = may_pause_exits.run_id and failed.site = may_pause_exits.site
              and failed.account = may_pause_exits.account
        )
        or exists (
            select from (
                select latest.id
                from public.search_runs as run
                join public.search_runs as latest on latest.user_id = run.user_id
                where run.id = may_pause_exits.run_id
                order by latest.created_at desc
                limit 20
            ) as recent
            join worker.raw_collections as page on page.run_id = recent.id
            where page.site = may_pause_exits.site and page.status <> 'failed'
              and page.fetched_at > worker.now() - interval '1 hour'
        );
end;
$$;
comment on function worker.may_pause_exits is
    'Returns whether a refusal says something about the exit: the site refuses the user at few exits, or has answered one '
    'of the user''s latest searches within an hour. Otherwise one user, whose searches are refused everywhere, would pause '
    'all exits.';

create function worker.record_refusal(
    health worker.site_health, via worker.exit, run_id uuid, error_code text, retry_after_seconds double precision
) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    rule worker.breaker_rules;
    is_counted boolean;
    may_reopen boolean;
begin
    select known.* into strict rule from worker.breaker_rules as known where known.error_code = record_refusal.error_code;
    if via.is_rotating then
        health := worker.note_outcome(health, 'f');
        is_counted := worker.fails_too_often(health);
        may_reopen := true;
    else
        select failure.is_counted, failure.may_reopen into is_counted, may_reopen
        from worker.count_failure(health.site, health.account, health.exit, run_id, rule) as failure;
        is_counted := is_counted and worker.may_pause_exits(run_id, health.site, health.account, rule);
    end if;
    -- There are others: nobody waits because of this one.
    rule.failures := 1;
    health := worker.after_failure(health, run_id, rule, health.consecutive_failures + is_counted::integer, is_counted,
                                   may_reopen, record_refusal.error_code, record_refusal.retry_after_seconds);
    update worker.site_health as known
    set last_failure_at = health.last_failure_at, last_error_code = health.last_error_code,
        consecutive_failures = health.consecutive_failures, paused_until = health.paused_until,
        paused_by = health.paused_by, trips = health.trips,
        -- It probes the exit no more, whether its refusal counts or not.
        prober_run_id = nullif(health.prober_run_id, record_refusal.run_id),
        latest_outcomes = health.latest_outcomes,
        success_rate = case when is_counted then coalesce(known.success_rate * 0.8, 0) else known.success_rate end,
        updated_at = worker.now()
    where known.site = health.site and known.account = health.account and known.exit = health.exit;
end;
$$;
comment on function worker.record_refusal is
    'Records that a site refused a locked exit, which has others beside it: the first refusal pauses it.';

create function public.worker_leave_exit(
    run_id uuid, lease_token uuid, site text, account text, exit text, error_code text, message text,
    retry_after_seconds double precision, exits jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    via text := coalesce(account, '');
    offered worker.exit[] := worker.read_exits(exits);
    used worker.exit;
    former text;
    chosen worker.exit_choice;
begin
    select each.* into used from unnest(offered) as each where each.name = worker_leave_exit.exit;
    if used.name is null then
        raise sqlstate '22023' using message = 'exit must be one of exits';
    end if;
    if error_code is null or error_code not in ('blocked', 'rate_limited', 'exit_failed') then
        raise sqlstate '22023' using message = 'error_code must be blocked, rate_limited or exit_failed';
    end if;
    perform worker.lock_lease(run_id, lease_token);
    perform worker.require_site(run_id, worker_leave_exit.site);
    select search.exit into former from worker.site_searches as search
    where search.run_id = worker_leave_exit.run_id and search.site = worker_leave_exit.site;
    -- A repeated call.
    if former is null then
        return worker.defer_until_exit(run_id, worker_leave_exit.site, via, offered);
    elsif former <> used.name then
        return jsonb_build_object('granted', true, 'wait_seconds', 0, 'exit', former);
    end if;

    perform worker.record_refusal(worker.lock_health(worker_leave_exit.site, via, used.name), used, run_id, error_code,
                                  retry_after_seconds);
    chosen := worker.choose_exit(
        run_id, worker_leave_exit.site, via,
        -- A rotating exit has other addresses.
        array(select each from unnest(offered) as each where each.name <> used.name or each.is_rotating), null, null);
    perform worker.change_exit(run_id, worker_leave_exit.site, used.name, chosen.via, error_code,
                               left(worker_leave_exit.message, 1000));
    if chosen.via is null then
        return worker.defer_until_exit(run_id, worker_leave_exit.site, via, offered);
    end if;
    perform worker.start_probe(chosen.health, run_id) where (chosen.health).site is not null;
    perform worker.show_progress(run_id, jsonb_build_object(
        'step', 'searching', 'site', worker_leave_exit.site,
        'details', jsonb_build_object('message', worker.message_for_user('another_way', worker_leave_exit.site))));
    return jsonb_build_object('granted', true, 'wait_seconds', 0, 'exit', chosen.via);
end;
$$;
comment on function public.worker_leave_exit is
    'Reports that a site refused an exit (blocked, rate_limited), or that the exit does not work (exit_failed), and chooses '
    'another one of those that the worker offers. Returns {granted, wait_seconds, exit}, to ask again at the same cursor; or, '
    'if all are paused, {granted, reason, message, retry_in_seconds, until} or {granted, error_code, message} as '
    'worker_take_permit does. Neither counts as an attempt.';

-- runs/resume
-- Where does the search of a site continue? After its last saved page, if that page has a cursor for the same account
-- and no page is missing. Otherwise it begins with the first page.
-- Calls: kernel/pages, sites/accounts.

create function worker.resume_point(run_id uuid, site text)
returns table (cursor jsonb, next_page integer, is_fetched boolean)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select case when last.is_fetched then null else last.cursor end, last.page_number + 1, last.is_fetched
    from (
        select page.page_number, page.cursor, page.is_last as is_fetched,
               page.is_last or (page.cursor is not null
                   and page.account = coalesce(worker.account_of(resume_point.run_id, resume_point.site), '')) as is_resumable
        from worker.pages_of_search(resume_point.run_id, resume_point.site) as page
        order by page.page_number desc, page.attempt desc
        limit 1
    ) as last
    cross join lateral (
        select bool_or(page.status = 'failed') as is_unreadable, count(distinct page.page_number) as pages
        from worker.pages_of_search(resume_point.run_id, resume_point.site) as page
    ) as saved
    -- Not after a gap: a page that could not be read, was refused, or has been deleted by retention.
    where last.is_resumable and not saved.is_unreadable and saved.pages = last.page_number;
end;
$$;
comment on function worker.resume_point is
    'Returns where the search of a site continues: after its last saved page, or that all pages are there. No row: '
    'it begins with the first page. A cursor is valid only for the account that returned it.';

create function worker.site_to_search(site public.search_run_sites) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
    return (
        select jsonb_build_object(
            'site', site.site, 'attempt', site.attempts + case site.status when 'running' then 0 else 1 end,
            'is_started', site.status = 'running',
            'exit', case when site.status = 'running' then (
                select search.exit from worker.site_searches as search
                where search.run_id = site.run_id and search.site = site.site) end,
            'account', worker.account_of(site.run_id, site.site),
            'cursor', point.cursor, 'next_page', coalesce(point.next_page, 1),
            'is_fetched', coalesce(point.is_fetched, false))
        from (select) as nothing
        -- Only for sites that have been searched before, which few claims have. Without `offset 0`, the condition would
        -- belong to the join, which calls the function first.
        left join lateral (
            select known.* from worker.resume_point(site.run_id, site.site) as known
            where site.attempts > 0 and site.status <> 'running'
            offset 0
        ) as point on true
    );
end;
$$;
comment on function worker.site_to_search is
    'Returns how the next search of an unfinished site starts: {site, attempt, is_started, exit, account, '
    'cursor, next_page, is_fetched}. If is_started, the claim has started its first search, through that exit.';

-- runs/release
-- What happens to the runs of a worker that stops? They go back to their old place in the queue. The attempt does not
-- count.
-- Calls: kernel/clock, kernel/run_sites, sharing/follow.

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
    perform worker.update_followers(run_id) from unnest(run_ids) as run_id;
end;
$$;
comment on function worker.requeue_runs is
    'Puts leased runs back to their old place in the queue. The attempt does not count.';

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
    'Gives leased runs [{run_id, lease_token}] back to the queue, for another worker to continue. The attempt does '
    'not count.';

-- runs/cancel
-- What happens to a run that its owner cancels? It ends at once, with the results that it has found itself.
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
        if old.leader_run_id is not null then
            new.jobs_found := 0;
            new.items_found := 0;
            new.new_items := 0;
        end if;
    end if;
    -- Realtime broadcasts every update: skip those without a change.
    return case when new is distinct from old then new end;
end;
$$;
comment on function worker.cancel_run is
    'Ends a run at its owner''s request, with the results that it has found itself: a follower with none. A '
    'finished run stays as it is.';

create trigger cancel_run before update of cancel_requested_at on public.search_runs
    for each row execute function worker.cancel_run();

create function worker.lock_own_runs() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    -- Two statements that change several runs lock them in different orders, and would wait for each other.
    if auth.uid() is not null then
        perform pg_advisory_xact_lock(hashtextextended('worker.lock_own_runs ' || auth.uid(), 0));
    end if;
    return null;
end;
$$;
comment on function worker.lock_own_runs is 'Lets the cancellations and deletions of a user follow each other.';

create trigger lock_own_runs before update of cancel_requested_at or delete on public.search_runs
    for each statement execute function worker.lock_own_runs();

-- runs/final_status
-- What ends with a run? A final status never changes. It ends the lease and all waits for sites.
-- Calls: kernel/clock.

-- Fires after cancel_run: triggers fire in the order of their names.
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
comment on function worker.enforce_final_status is
    'Keeps a final status. A final status ends the lease and all waits for sites.';

create trigger enforce_final_status before update on public.search_runs
    for each row execute function worker.enforce_final_status();

-- runs/retry
-- When is a failed run tried again? After a delay that doubles with each attempt, and not before one of its failed
-- sites is no longer paused.
-- Calls: kernel/clock, kernel/messages, kernel/run_sites, sharing/follow, sites/accounts.

create function worker.next_attempt_at(run_id uuid) returns timestamptz
language sql volatile set search_path = ''
begin atomic
    -- A pause longer than max_site_wait does not delay the run: the site fails again with its cause.
    select greatest(
        min(coalesce(health.paused_until, '-infinity')),
        worker.now() + (0.75 + 0.5 * random())
            * least(settings.max_retry_delay, settings.retry_delay * 2 ^ (run.attempts - 1)))
    from public.search_runs as run
    cross join worker.settings as settings
    join public.search_run_sites as site
        on site.run_id = run.id and site.status in ('partial', 'failed') and site.retryable
    left join worker.site_health as health
        on health.site = site.site and health.account = coalesce(worker.account_of(run.id, site.site), '')
       and health.paused_until <= worker.now() + settings.max_site_wait
    where run.id = next_attempt_at.run_id
    group by run.id, settings.max_retry_delay, settings.retry_delay;
end;
comment on function worker.next_attempt_at is 'Returns when the failed sites of a run are searched again.';

create function worker.retry_run(run_id uuid, event_data jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    next_attempt_at timestamptz := worker.next_attempt_at(retry_run.run_id);
    failed text[];
begin
    with reopened as (
        update public.search_run_sites as site
        set status = 'pending', progress = worker.with_step(site.progress, 'retrying'), started_at = null,
            completed_at = null,
            error_message = worker.message_for_user(site.error_code, site.site, retry_at => next_attempt_at)
        where site.run_id = retry_run.run_id and site.status in ('partial', 'failed') and site.retryable
        returning site.site, site.position
    )
    select array_agg(reopened.site order by reopened.position) into failed from reopened;

    delete from worker.leases as lease where lease.run_id = retry_run.run_id;

    update public.search_runs as run
    set status = 'pending', error_code = errors.error_code, error_message = errors.error_message,
        progress = jsonb_build_object('step', 'retrying', 'details', jsonb_build_object('sites', failed)),
        run_after = next_attempt_at
    from worker.site_errors(retry_run.run_id) as errors
    where run.id = retry_run.run_id;
    perform worker.update_followers(retry_run.run_id);

    insert into public.run_events (run_id, event, data, created_at)
    values (retry_run.run_id, 'retried',
            event_data || jsonb_build_object('sites', failed, 'run_after', next_attempt_at), worker.now());
end;
$$;
comment on function worker.retry_run is
    'Puts a run back for another attempt at the sites that failed and are retryable: after a delay, and not before '
    'one of these sites is no longer paused.';

-- runs/defer
-- What happens to a run whose sites all wait? It goes back into the queue until the first site is due. The attempt does
-- not count.
-- Calls: kernel/clock, kernel/messages, kernel/run_sites, sharing/equal_searches, sharing/follow, sites/wake.

create function worker.defer_run(run_id uuid, event_data jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    waiting jsonb;
    shown jsonb;
    first_due_at timestamptz;
    updates_followers boolean;
begin
    select jsonb_agg(jsonb_build_object('site', wait.site, 'until', wait.due_at, 'reason', wait.reason,
                                        'message', wait.message) order by site.position),
           jsonb_agg(jsonb_build_object(
               'site', wait.site, 'until', wait.due_at, 'reason', wait.reason,
               'message', worker.message_for_user(wait.reason, wait.site, wait.due_at)) order by site.position),
           greatest(min(wait.due_at), worker.now())
    into strict waiting, shown, first_due_at
    from worker.site_waits as wait
    join public.search_run_sites as site on site.run_id = wait.run_id and site.site = wait.site
    where wait.run_id = defer_run.run_id and site.completed_at is null;

    -- Not at each of many short waits: a run with thousands of followers would cause thousands of updates each time.
    updates_followers := first_due_at > worker.now() + interval '1 minute' or not exists (
        select from public.run_events as event
        where event.run_id = defer_run.run_id and event.event = 'deferred'
          and event.created_at > worker.now() - interval '1 minute');

    delete from worker.leases as lease where lease.run_id = defer_run.run_id;

    update public.search_run_sites as site
    set status = 'pending', started_at = null,
        progress = worker.waiting_progress(site.progress, site.site, waiting_site.wait),
        error_message = case when site.error_code is not null then waiting_site.wait ->> 'message' end,
        jobs_found = (select count(*) from public.search_results as result
                      where result.run_id = site.run_id and result.site = site.site)
    from jsonb_array_elements(shown) as waiting_site (wait)
    where site.run_id = defer_run.run_id and site.site = waiting_site.wait ->> 'site';

    update public.search_runs as run
    set status = 'pending', attempts = run.attempts - 1, error_code = errors.error_code,
        error_message = errors.error_message,
        progress = jsonb_build_object('step', 'waiting', 'details', jsonb_build_object('sites', shown)),
        run_after = first_due_at
    from worker.site_errors(defer_run.run_id) as errors
    where run.id = defer_run.run_id;

    insert into public.run_events (run_id, event, data, created_at)
    values (defer_run.run_id, 'deferred',
            event_data || jsonb_build_object('sites', waiting, 'run_after', first_due_at), worker.now());

    -- A slot that became free while the run searched its other sites did not wake it.
    perform worker.wake_at_idle_site(wait.site, wait.account)
    from worker.site_waits as wait
    where wait.run_id = defer_run.run_id and wait.reason = 'searches' and wait.due_at > worker.now();

    if updates_followers then
        perform worker.update_followers(defer_run.run_id);
        -- A follower that is joining now is not visible yet: the next claim updates it.
        insert into worker.ended_leaders (run_id, fingerprint, tried_at)
        select run.id, run.fingerprint, worker.now() from public.search_runs as run
        where run.id = defer_run.run_id and not worker.lock_fingerprint(run.fingerprint, may_wait => false);
    end if;
end;
$$;
comment on function worker.defer_run is
    'Puts a run back whose unfinished sites all wait, until the first of them is due. The attempt does not count. '
    'Followers get the progress if the wait is longer than a minute, and otherwise at most once a minute.';

-- runs/fallback
-- When are the fallback sites of a run searched? Once one of its sites has failed for good, is paused, or is out of quota.
-- Then they belong to the run. They are skipped if the other sites complete before they could be searched.
-- Calls: kernel/clock, kernel/parameters, kernel/messages, kernel/run_sites, sites/accounts, sites/rank,
--   sites/exits, runs/resume.

create function worker.sites_to_replace(run_id uuid) returns table (site text, place smallint, reason text, message text)
language sql stable set search_path = ''
begin atomic
    select site.site, site.position, coalesce(wait.reason, site.error_code),
           case when wait.reason is null then site.error_message
                else worker.message_for_user(wait.reason, site.site, wait.due_at) end
    from public.search_run_sites as site
    join public.search_runs as run on run.id = site.run_id
    left join worker.site_waits as wait
        on wait.run_id = site.run_id and wait.site = site.site and site.completed_at is null
    where site.run_id = sites_to_replace.run_id and not site.is_fallback and case
        when site.completed_at is null then wait.reason in ('paused', 'quota')
        when site.status in ('partial', 'failed') then
            site.retryable is not true or run.attempts >= run.max_attempts or site.error_code = 'quota_exceeded' or exists (
                select from worker.account_health() as health
                where health.site = site.site and health.account = coalesce(worker.account_of(run.id, site.site), '')
                  and health.is_open)
        else false end;
end;
comment on function worker.sites_to_replace is
    'Returns the sites of a run that fallback sites are searched for: those that failed and are not searched again, are '
    'paused, or are out of quota.';

create function worker.add_fallbacks(run_id uuid) returns void
language sql volatile set search_path = ''
begin atomic
    with added as (
        insert into public.search_run_sites (run_id, site, position, is_fallback)
        select run.id, fallback.site, asked.last_position + row_number() over (order by fallback.ordinal), true
        from public.search_runs as run
        cross join lateral worker.sites_of(run.kind, run.parameters, 'fallback_sites') as fallback
        cross join lateral (
            select max(site.position) as last_position, bool_or(site.is_fallback) as has_fallbacks
            from public.search_run_sites as site where site.run_id = run.id
        ) as asked
        where run.id = add_fallbacks.run_id and not asked.has_fallbacks
          and exists (select from worker.sites_to_replace(run.id))
        returning search_run_sites.site, search_run_sites.position
    )
    insert into public.run_events (run_id, event, data, created_at)
    select add_fallbacks.run_id, 'fallback', jsonb_build_object(
        'sites', added.sites,
        'because', (
            select jsonb_agg(jsonb_build_object('site', failed.site, 'reason', failed.reason, 'message', failed.message)
                             order by failed.place)
            from worker.sites_to_replace(add_fallbacks.run_id) as failed)), worker.now()
    from (select jsonb_agg(added.site order by added.position) as sites from added) as added
    where added.sites is not null;
end;
comment on function worker.add_fallbacks is 'Adds the fallback sites of a run, with an event, once they are needed.';

create function worker.skip_fallbacks(run_id uuid) returns void
language sql volatile set search_path = ''
begin atomic
    update public.search_run_sites as site
    set status = 'skipped', progress = worker.with_step(site.progress, 'finished'), completed_at = worker.now(),
        jobs_found = (select count(*) from public.search_results as result
                      where result.run_id = site.run_id and result.site = site.site)
    where site.run_id = skip_fallbacks.run_id and site.is_fallback and site.completed_at is null and not exists (
        select from public.search_run_sites as asked
        where asked.run_id = skip_fallbacks.run_id and not asked.is_fallback and asked.status <> 'completed');
end;
comment on function worker.skip_fallbacks is
    'Skips the fallback sites of a run that have not ended, if all its other sites have completed.';

create function worker.fallbacks_to_search(run_id uuid, seed uuid) returns jsonb
language plpgsql set search_path = '' as $$
begin
    if not exists (
        select from public.search_runs as run
        where run.id = fallbacks_to_search.run_id and worker.has_fallbacks(run.kind, run.parameters)
    ) then
        return '[]'::jsonb;
    end if;
    perform worker.add_fallbacks(fallbacks_to_search.run_id), worker.skip_fallbacks(fallbacks_to_search.run_id);
    return (
        select coalesce(jsonb_agg(worker.site_to_search(fallback) order by ranked.rank), '[]')
        from public.search_run_sites as fallback
        join worker.rank_sites(fallbacks_to_search.run_id, seed) as ranked on ranked.site = fallback.site
        where fallback.run_id = fallbacks_to_search.run_id and fallback.is_fallback and fallback.completed_at is null
          and not exists (
            select from worker.site_waits as wait where wait.run_id = fallback.run_id and wait.site = fallback.site)
    );
end;
$$;
comment on function worker.fallbacks_to_search is
    'Returns the fallback sites that a run needs now and that do not wait, for a worker, the best first. The other sites '
    'of the run have ended or wait.';

-- runs/finish
-- How does a run end? With success if all sites completed, partial if some did, failed if none did. Or it is deferred
-- while sites wait, or retried while attempts are left.
-- Calls: kernel/clock, kernel/run_sites, kernel/lease, webhooks/messages, runs/retry, runs/defer.

create type worker.run_end as (run_id uuid, status public.run_status, error_code text, event_data jsonb);

create function worker.finish_runs(ends worker.run_end[]) returns void
language plpgsql set search_path = '' as $$
begin
    update public.search_runs as run
    set status = given.status, error_code = given.error_code,
        error_message = (select known.error_message from worker.site_errors(run.id) as known),
        progress = jsonb_build_object('step', 'finished'), completed_at = worker.now()
    from unnest(ends) as given
    where run.id = given.run_id;
    insert into public.run_events (run_id, event, data, created_at)
    select given.run_id, 'finished', given.event_data || jsonb_build_object('status', given.status), worker.now()
    from unnest(ends) as given;
    perform worker.announce_ended_runs(array(select given.run_id from unnest(ends) as given));
end;
$$;
comment on function worker.finish_runs is 'Gives runs their final status, with the sentences of the sites that failed.';

create function worker.site_outcomes(
    run_id uuid, out all_finished boolean, out all_completed boolean, out any_completed boolean,
    out any_retryable boolean
)
language plpgsql stable set search_path = '' as $$
begin
    select bool_and(site.completed_at is not null),
           bool_and(site.all_completed),
           bool_or(site.status in ('completed', 'partial')),
           bool_or(site.retryable and not site.all_completed)
    into all_finished, all_completed, any_completed, any_retryable
    from (
        select known.*, bool_and(known.status = 'completed') filter (where not known.is_fallback) over () as all_completed
        from public.search_run_sites as known
        where known.run_id = site_outcomes.run_id
    ) as site;
end;
$$;
comment on function worker.site_outcomes is
    'Returns how the sites of a run have ended, all together. Fallback sites are not among all_completed. How they ended '
    'does not matter if the others completed.';

create function worker.has_unfinished_sites(run_id uuid) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return exists (
        select from public.search_run_sites as site
        where site.run_id = has_unfinished_sites.run_id and site.completed_at is null and not site.is_fallback
          and not exists (
            select from worker.site_waits as wait where wait.run_id = site.run_id and wait.site = site.site)
    );
end;
$$;
comment on function worker.has_unfinished_sites is
    'Returns whether a run has sites that have neither ended nor wait, without its fallback sites.';

create function worker.end_attempts(run_ids uuid[]) returns void
language plpgsql set search_path = '' as $$
declare
    attempt record;
    finished worker.run_end[] := array[]::worker.run_end[];
begin
    for attempt in
        select run.id, sites.*, sites.any_retryable and run.attempts < run.max_attempts as is_retried,
               jsonb_build_object('worker_id', lease.worker_id, 'attempt', run.attempts,
                                  'lease_digest', worker.lease_digest(lease.token)) as event_data
        from public.search_runs as run
        join worker.leases as lease on lease.run_id = run.id
        cross join lateral worker.site_outcomes(run.id) as sites
        where run.id = any (run_ids)
        order by run.id
    loop
        if not attempt.all_finished then
            perform worker.defer_run(attempt.id, attempt.event_data);
        elsif attempt.is_retried then
            perform worker.retry_run(attempt.id, attempt.event_data);
        else
            finished := finished || row(
                attempt.id,
                case when attempt.all_completed then 'success'
                     when attempt.any_completed then 'partial'
                     else 'failed' end,
                case when not attempt.all_completed then (worker.site_errors(attempt.id)).error_code end,
                attempt.event_data)::worker.run_end;
        end if;
    end loop;
    if cardinality(finished) > 0 then
        perform worker.finish_runs(finished);
    end if;
end;
$$;
comment on function worker.end_attempts is
    'Ends leased runs whose sites have all ended or wait, or puts them back into the queue.';

create function worker.ended_run(run_id uuid, fallbacks jsonb) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
    return (
        select jsonb_build_object(
            'id', run.id, 'status', run.status, 'jobs_found', run.jobs_found, 'progress', run.progress,
            'run_after', run.run_after, 'updated_at', run.updated_at, 'fallbacks', fallbacks,
            'sites', (
                select jsonb_agg(jsonb_build_object(
                    'site', searched.site, 'status', searched.status, 'jobs_found', searched.jobs_found,
                    'error_code', searched.error_code, 'error_message', searched.error_message)
                    order by searched.position)
                from public.search_run_sites as searched where searched.run_id = run.id))
        from public.search_runs as run where run.id = ended_run.run_id
    );
end;
$$;
comment on function worker.ended_run is
    'Returns what a worker reads of a run that has ended, has gone back to the queue, or needs its fallback sites.';

-- runs/rescue
-- What happens to the runs of a dead worker? The next claim puts them back into the queue. After max_rescues they fail
-- with worker_lost. So do imports, at once: no worker has their files.
-- Calls: kernel/clock, kernel/messages, kernel/run_sites, runs/release, runs/finish.

create function worker.fail_lost_runs(run_ids uuid[], message_code text, reason text) returns void
language plpgsql set search_path = '' as $$
begin
    update public.search_run_sites as site
    set status = case when found.results > 0 then 'partial' else 'failed' end::public.site_status,
        jobs_found = found.results,
        progress = worker.with_step(site.progress, 'finished'), completed_at = worker.now(),
        error_code = 'worker_lost', retryable = false,
        error_message = worker.message_for_user(fail_lost_runs.message_code, site.site)
    from (
        select unfinished.id, count(result.item_id) as results
        from public.search_run_sites as unfinished
        left join public.search_results as result
            on result.run_id = unfinished.run_id and result.site = unfinished.site
        where unfinished.run_id = any (run_ids) and unfinished.completed_at is null
        group by unfinished.id
    ) as found
    where site.id = found.id;

    perform worker.finish_runs(array(
        select row(run_id, 'failed', 'worker_lost', jsonb_build_object('message', reason))::worker.run_end
        from unnest(run_ids) as run_id));
end;
$$;
comment on function worker.fail_lost_runs is 'Fails locked runs whose workers died with them.';

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

    -- Check again: a heartbeat does not lock the run, and may have extended the lease in between.
    select array_agg(locked.run_id) into expired
    from (
        select lease.run_id from worker.leases as lease
        where lease.run_id = any (expired) and lease.expires_at < worker.now()
        for update skip locked
    ) as locked;
    if expired is null then
        return;
    end if;

    perform worker.fail_lost_runs(
        array(select run.id from public.search_runs as run where run.id = any (expired) and run.source = 'import'),
        'import_lost', 'the import was interrupted');
    expired := array(
        select run.id from public.search_runs as run where run.id = any (expired) and run.source <> 'import');

    update public.search_runs as run set rescues = run.rescues + 1 where run.id = any (expired);
    perform worker.requeue_runs(expired, 'rescued');

    select array_agg(run.id) into lost
    from public.search_runs as run
    where run.id = any (expired) and run.rescues > settings.max_rescues;

    perform worker.fail_lost_runs(lost, 'worker_lost', format('%s workers died with this run', settings.max_rescues + 1));
end;
$$;
comment on function worker.rescue_expired_leases is
    'Puts a batch of the runs back whose worker stopped its heartbeats. Imports fail.';

-- runs/import
-- How does a file become a run? The run is inserted with a lease and with its sites started, in one transaction. It is
-- never pending, so that no worker searches for it. If the import is interrupted, the run fails.
-- Calls: kernel/clock, kernel/versions, kernel/run_sites, parameters/check, runs/rescue.

create function worker.user_named(name text) returns uuid
language plpgsql stable set search_path = '' as $$
declare
    named uuid[] := array(
        select known.id from auth.users as known
        where known.id::text = lower(btrim(name)) or lower(known.email) = lower(btrim(name))
        limit 2);
begin
    if cardinality(named) <> 1 then
        raise sqlstate '22023' using message = case cardinality(named)
            when 0 then format('there is no user %L; a user is named by id or e-mail address', name)
            else format('several users have the e-mail address %L: name one by id', name) end;
    end if;
    return named[1];
end;
$$;
comment on function worker.user_named is
    'Returns the id of a user who is named by id or e-mail address. Raises 22023 (HTTP 400) if there is none.';

create function worker.check_import(kind text, name text, sites text[], records integer, lease_seconds integer)
returns void
language plpgsql stable set search_path = '' as $$
declare
    rule worker.parameter_rules;
begin
    select known.* into rule from worker.parameter_rules as known
    where known.kind = check_import.kind and known.name = 'sites';
    if not found then
        raise sqlstate '22023' using message = format('kind must be a kind of worker.kinds, not %L', kind);
    end if;
    if worker.obeys_rule(rule, to_jsonb(sites)) is not true then
        raise sqlstate '22023' using message = format('sites must be %s', worker.describe_rule(rule));
    end if;
    if coalesce(length(name), 0) not between 1 and 200 then
        raise sqlstate '22023' using message = 'name must be a text of 1 to 200 characters';
    end if;
    if coalesce(records, 0) not between 1 and 10000000 then
        raise sqlstate '22023' using message = 'records must be an integer from 1 to 10000000';
    end if;
    if lease_seconds is null or lease_seconds not between 5 and 3600 then
        raise sqlstate '22023' using message = 'lease_seconds must be an integer from 5 to 3600';
    end if;
end;
$$;
comment on function worker.check_import is 'Raises 22023 (HTTP 400) unless an import can be started so.';

create function worker.insert_import(
    user_id uuid, kind text, parameters jsonb, idempotency_key text, worker_id text, claim_id uuid, duration interval
) returns public.search_runs
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    run public.search_runs;
begin
    insert into public.search_runs (
        user_id, kind, source, parameters, idempotency_key, status, attempts, max_attempts, started_at)
    values (insert_import.user_id, insert_import.kind, 'import', insert_import.parameters,
            insert_import.idempotency_key, 'running', 1, 1, worker.now())
    returning * into run;

    insert into worker.leases (run_id, worker_id, claim_id, duration, expires_at, user_id)
    values (run.id, insert_import.worker_id, insert_import.claim_id, insert_import.duration,
            worker.now() + insert_import.duration, run.user_id);

    update public.search_run_sites as site
    set status = 'running', attempts = 1, started_at = worker.now(),
        progress = worker.with_step(site.progress, 'importing')
    where site.run_id = run.id;

    insert into public.run_events (run_id, event, data, created_at)
    values (run.id, 'claimed', jsonb_build_object('worker_id', insert_import.worker_id, 'attempt', 1,
                                                  'sites', run.parameters -> 'sites'), worker.now());
    insert into public.run_events (run_id, event, site, data, created_at)
    select run.id, 'site_started', site.site, jsonb_build_object('attempt', 1), worker.now()
    from public.search_run_sites as site
    where site.run_id = run.id
    order by site.position;
    return run;
end;
$$;
comment on function worker.insert_import is 'Inserts the run of an import: running, with a lease and started sites.';

create function public.worker_start_import(
    owner text, kind text, name text, sites text[], records integer, idempotency_key text, worker_id text,
    lease_seconds integer, claim_id uuid, schema_version integer default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    owner_id uuid := worker.user_named(worker_start_import.owner);
    run public.search_runs;
begin
    perform worker.check_version(worker_start_import.schema_version);
    perform worker.check_import(worker_start_import.kind, worker_start_import.name, worker_start_import.sites,
                                worker_start_import.records, lease_seconds);
    -- The same import may start twice at the same time.
    perform pg_advisory_xact_lock(hashtextextended(
        format('worker.start_import %s %s', owner_id, worker_start_import.idempotency_key), 0));
    -- An interrupted import of the same file ends first.
    perform worker.rescue_expired_leases();

    select * into run from public.search_runs as known
    where known.user_id = owner_id and known.idempotency_key = worker_start_import.idempotency_key
    for no key update;
    if run.status in ('partial', 'failed', 'cancelled') then
        update public.search_runs as former set idempotency_key = null where former.id = run.id;
        run := null;
    end if;
    if run.id is null then
        run := worker.insert_import(
            owner_id, worker_start_import.kind,
            jsonb_build_object('search_term', worker_start_import.name, 'sites', worker_start_import.sites,
                               'results_wanted', worker_start_import.records),
            worker_start_import.idempotency_key, worker_start_import.worker_id, worker_start_import.claim_id,
            make_interval(secs => lease_seconds));
    end if;
    return jsonb_build_object('run_id', run.id, 'status', run.status, 'lease_token', (
        select lease.token from worker.leases as lease
        where lease.run_id = run.id and lease.claim_id = worker_start_import.claim_id));
end;
$$;
comment on function public.worker_start_import is
    'Starts to import a file as a run of a user, who is named by id or e-mail address. records is the greatest number '
    'of records of one site. Save the pages of its sites as attempt 1, then end the sites and the run. Returns {run_id, '
    'status, lease_token}. Without a lease_token, the run with this idempotency_key has succeeded, or is running. The '
    'same claim_id gets the same lease. schema_version as in worker_claim_runs.';

-- collections/expand
-- Which searches is a collection? Each of its terms in each of its places, with its other parameters.
-- Calls: nothing.

create function worker.collected_name(collection text, term text, place text) returns text
language sql immutable set search_path = ''
begin atomic
    select case
        when length(plain.name) <= 200 and position(' in ' in term) = 0 and coalesce(position(' in ' in place), 0) = 0
            then plain.name
        -- Otherwise two searches could have one name.
        else left(plain.name, 189) || ' #' || left(
            encode(sha256(convert_to(jsonb_build_array(term, place)::text, 'UTF8')), 'hex'), 9)
    end
    from (select collection || ': ' || term || coalesce(' in ' || place, '') as name) as plain;
end;
comment on function worker.collected_name is
    'Returns the name of a search of a collection: namespace/collection: term in place. Unique for its term and place.';

create function worker.collected_searches(namespace text, collections jsonb) returns table (
    collection text, name text, kind text, parameters jsonb, time_zone text, times time[], weekdays smallint[]
)
language sql stable set search_path = ''
begin atomic
    select distinct on (named.collection, named.name)
           named.collection, named.name, given.kind,
           coalesce(given.parameters, '{}') || jsonb_strip_nulls(jsonb_build_object('sites', given.sites))
               || jsonb_build_object('search_term', term.text)
               || case when place.text is null then '{}'
                       when has_places.is_list then jsonb_build_object('locations', jsonb_build_array(place.text))
                       else jsonb_build_object('location', place.text) end,
           given.time_zone,
           array(select distinct daily.time from unnest(given.times) as daily (time) order by daily.time),
           array(select distinct weekly.day from unnest(given.weekdays) as weekly (day) order by weekly.day)
    from jsonb_to_recordset(collected_searches.collections) as given (
        name text, kind text, terms jsonb, places jsonb, sites jsonb, parameters jsonb, time_zone text, times time[],
        weekdays smallint[])
    cross join lateral (
        select coalesce(bool_and(rule.name = 'locations'), false) as is_list
        from worker.parameter_rules as rule
        where rule.kind = given.kind and rule.name in ('location', 'locations')
    ) as has_places
    cross join lateral jsonb_array_elements_text(given.terms) as term (text)
    left join lateral jsonb_array_elements_text(coalesce(given.places, '[]')) as place (text) on true
    cross join lateral (
        select collected_searches.namespace || '/' || given.name as collection,
               worker.collected_name(collected_searches.namespace || '/' || given.name, term.text, place.text) as name
    ) as named
    order by named.collection, named.name;
end;
comment on function worker.collected_searches is
    'Returns the searches of the collections of a namespace, and when they are repeated.';

-- collections/check
-- Are these collections valid? They are checked before anything is written, like what users send: each search as a run,
-- and each schedule. A message names the collection.
-- Calls: parameters/check, schedules/check, collections/expand.

create function worker.collection_problem(namespace text, collections jsonb) returns text
language sql stable set search_path = ''
begin atomic
    with given as (
        select named.name, named.time_zone, named.times, named.weekdays,
               coalesce(jsonb_array_length(named.terms), 0) as terms,
               coalesce(jsonb_array_length(named.places), 0) as places
        from jsonb_to_recordset(collection_problem.collections) as named (
            name text, terms jsonb, places jsonb, time_zone text, times time[], weekdays smallint[])
    ), total as (
        select coalesce(sum(given.terms::bigint * greatest(given.places, 1)), 0) as searches from given
    )
    select case
        when collection_problem.namespace ~ '^[a-z0-9][a-z0-9-]{0,49}$' is not true
            then 'namespace must be 1 to 50 small letters, digits and hyphens'
        when total.searches > settings.max_searches_per_namespace
            then format('at most %s searches may be in the collections of a namespace, not %s: use several namespaces',
                        settings.max_searches_per_namespace, total.searches)
        else (
            select format('collection %s: %s', coalesce(wrong.name, 'without a name'), wrong.problem)
            from (
                select given.name, case
                    when given.name ~ '^[a-z0-9][a-z0-9-]{0,49}$' is not true
                        then 'name must be 1 to 50 small letters, digits and hyphens'
                    when count(*) over (partition by given.name) > 1 then 'name must be unique in its namespace'
                    when given.terms = 0 then 'terms must be a list of at least one text'
                    else worker.schedule_problem(given.time_zone, given.times, given.weekdays)
                end as problem
                from given
            ) as wrong
            where wrong.problem is not null
            limit 1)
    end
    from total cross join worker.settings as settings;
end;
comment on function worker.collection_problem is
    'Returns what is wrong with the names, the size or the schedules of collections; null if nothing is.';

create function worker.check_collections(namespace text, collections jsonb) returns void
language plpgsql stable set search_path = '' as $$
declare
    problem text;
    checked text;
    search record;
begin
    if jsonb_typeof(collections) is distinct from 'array' then
        raise sqlstate '22023' using message = 'collections must be a list';
    end if;
    problem := worker.collection_problem(namespace, collections);
    if problem is not null then
        raise sqlstate '22023' using message = problem;
    end if;
    for search in
        select wanted.* from worker.collected_searches(namespace, collections) as wanted
        where not exists (
            select from public.saved_searches as saved
            where split_part(saved.collection, '/', 1) = check_collections.namespace and saved.name = wanted.name
              and saved.kind = wanted.kind and saved.parameters = wanted.parameters)
    loop
        checked := search.name;
        perform worker.check_parameters(search.kind, search.parameters);
    end loop;
exception when invalid_parameter_value then
    get stacked diagnostics problem = message_text;
    raise sqlstate '22023' using message = case when checked is null then problem
                                                else format('search %L: %s', checked, problem) end;
end;
$$;
comment on function worker.check_collections is
    'Raises 22023 (HTTP 400) with what is wrong with collections. Searches that are saved already are not checked again.';

-- collections/apply
-- How do the collections of an operator become saved searches? What is missing is added, what differs is changed, and
-- what is not among them any more is removed, in one transaction. Other namespaces are left alone.
-- Calls: enqueue/request_size, runs/import, collections/expand, collections/check.

create function worker.write_collected_searches(
    namespace text, owner_id uuid, collections jsonb, out added uuid[], out changed uuid[], out removed bigint
)
language sql volatile set search_path = ''
begin atomic
    with wanted as materialized (
        select * from worker.collected_searches(write_collected_searches.namespace, write_collected_searches.collections)
    ), removed as (
        delete from public.saved_searches as saved
        where split_part(saved.collection, '/', 1) = write_collected_searches.namespace
          and (saved.user_id <> write_collected_searches.owner_id
               or not exists (select from wanted where wanted.name = saved.name))
        returning saved.id
    ), changed as (
        update public.saved_searches as saved
        set kind = wanted.kind, parameters = wanted.parameters
        from wanted
        where split_part(saved.collection, '/', 1) = write_collected_searches.namespace
          and saved.user_id = write_collected_searches.owner_id and saved.name = wanted.name
          and (saved.kind, saved.parameters) is distinct from (wanted.kind, wanted.parameters)
        returning saved.id
    ), added as (
        insert into public.saved_searches as saved (user_id, name, kind, parameters, collection)
        select write_collected_searches.owner_id, wanted.name, wanted.kind, wanted.parameters, wanted.collection
        from wanted
        where not exists (
            select from public.saved_searches as known
            where known.user_id = write_collected_searches.owner_id and known.name = wanted.name)
        order by wanted.name
        returning saved.id
    )
    select array(select added.id from added), array(select changed.id from changed), (select count(*) from removed);
end;
comment on function worker.write_collected_searches is
    'Adds, changes and removes saved searches, so that those of a namespace are those of its collections.';

create function worker.write_collected_schedules(namespace text, owner_id uuid, collections jsonb) returns uuid[]
language sql volatile set search_path = ''
begin atomic
    with written as (
        insert into public.search_schedules as schedule (saved_search_id, time_zone, times, weekdays)
        select saved.id, wanted.time_zone, wanted.times, wanted.weekdays
        from worker.collected_searches(
            write_collected_schedules.namespace, write_collected_schedules.collections) as wanted
        join public.saved_searches as saved
            on saved.user_id = write_collected_schedules.owner_id and saved.name = wanted.name
        left join public.search_schedules as former on former.saved_search_id = saved.id
        where (former.time_zone, former.times, former.weekdays)
              is distinct from (wanted.time_zone, wanted.times, wanted.weekdays)
        order by saved.id
        on conflict (saved_search_id) do update
        set time_zone = excluded.time_zone, times = excluded.times, weekdays = excluded.weekdays
        returning schedule.saved_search_id
    )
    select array(select written.saved_search_id from written);
end;
comment on function worker.write_collected_schedules is
    'Schedules the saved searches of a namespace as its collections say. Returns those whose schedule is new or changed. '
    'A schedule that is paused by its user stays paused.';

create function public.worker_apply_collections(namespace text, owner text, collections jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    owner_id uuid;
    taken text;
    written record;
    scheduled uuid[];
begin
    perform worker.check_collections(namespace, collections);
    if not exists (select from auth.users as known
                   where known.id::text = lower(btrim(owner)) or lower(known.email) = lower(btrim(owner))) then
        raise sqlstate 'PT404' using message = format('there is no user %L', owner);
    end if;
    owner_id := worker.user_named(owner);
    -- One call for a namespace at a time.
    perform pg_advisory_xact_lock(hashtextextended('worker.apply_collections ' || namespace, 0));
    select saved.name into taken
    from worker.collected_searches(namespace, collections) as wanted
    join public.saved_searches as saved on saved.user_id = owner_id and saved.name = wanted.name
    where saved.collection is distinct from wanted.collection
    limit 1;
    if taken is not null then
        raise sqlstate '22023' using message = format('user %L has saved a search of the name %L', owner, taken);
    end if;
    perform worker.lift_request_limit();
    written := worker.write_collected_searches(namespace, owner_id, collections);
    scheduled := worker.write_collected_schedules(namespace, owner_id, collections);
    return jsonb_build_object(
        'added', cardinality(written.added),
        'changed', (
            select count(*) from (
                select unnest(written.changed || scheduled) as id except select unnest(written.added)) as differing),
        'removed', written.removed,
        'searches', (select count(*) from worker.collected_searches(namespace, collections)));
end;
$$;
comment on function public.worker_apply_collections is
    'Makes the saved searches of a namespace those of these collections: [{name, kind, terms, places, sites, parameters, '
    'time_zone, times, weekdays}], as searches of one user, who is named by id or e-mail address. Returns {searches, '
    'added, changed, removed}; what is unchanged is not written. Raises 22023 (HTTP 400) with what is wrong, and PT404 '
    '(HTTP 404) if there is no such user.';

-- runs/promote
-- When does a delayed run become ready? When it is due, unless another run searches for it by then.
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
        -- A run that has started before is still the leader.
        if due.started_at is not null then
            due.run_after := null;
        else
            due := worker.share(due, may_wait => false);
        end if;
        continue when due.run_after is not null;

        update public.search_runs as run
        set run_after = null, position = due.position,
            leader_run_id = due.leader_run_id, shared_run_id = due.shared_run_id, status = due.status,
            error_code = due.error_code, error_message = due.error_message, started_at = due.started_at,
            jobs_found = due.jobs_found, items_found = due.items_found, new_items = due.new_items,
            progress_current = due.progress_current, progress = due.progress, completed_at = due.completed_at
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
    'Makes a batch of delayed runs ready once they are due, unless another run searches for them.';

-- runs/heartbeat
-- How long does a worker keep a run, and when was it last seen? Its heartbeats extend the lease.
-- Calls: kernel/clock, kernel/lease.

create function worker.describe_worker(worker_id text, about jsonb, limits jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    exit_names text[] := array(select jsonb_array_elements_text(coalesce(about -> 'exits', '[""]')));
begin
    if jsonb_typeof(about -> 'sites') is distinct from 'object' then
        raise sqlstate '22023' using message = 'about must be an object with version, sites, concurrency and started_at';
    end if;
    if exists (
        select from worker.workers as known
        where known.worker_id = describe_worker.worker_id and known.seen_at > worker.now() - interval '10 seconds'
          and (known.version, known.sites, known.limits, known.concurrency, known.exits, known.started_at) = (
              about ->> 'version', about -> 'sites', describe_worker.limits, (about ->> 'concurrency')::integer, exit_names,
              (about ->> 'started_at')::timestamptz)
    ) then
        return;
    end if;
    insert into worker.workers as known (worker_id, version, sites, limits, concurrency, exits, started_at, seen_at)
    values (describe_worker.worker_id, about ->> 'version', about -> 'sites', describe_worker.limits,
            (about ->> 'concurrency')::integer, exit_names,
            (about ->> 'started_at')::timestamptz, worker.now())
    on conflict on constraint workers_pkey do update set
        version = excluded.version, sites = excluded.sites, limits = excluded.limits, concurrency = excluded.concurrency,
        exits = excluded.exits, started_at = excluded.started_at, seen_at = excluded.seen_at;
end;
$$;
comment on function worker.describe_worker is
    'Notes that a worker lives, and what it can search: {version, sites, concurrency, exits, started_at}, within which limits: '
    '{kind: {site: {bucket: limits}}}. Writes at most every '
    '10 seconds, unless something has changed.';

create function worker.see_worker(worker_id text) returns void
language sql volatile set search_path = ''
begin atomic
    update worker.workers as known set seen_at = worker.now()
    from (
        select seen.worker_id from worker.workers as seen
        where seen.worker_id = see_worker.worker_id and seen.seen_at < worker.now() - interval '10 seconds'
        -- Its claim may be writing the row, and wait for the leases of this heartbeat.
        for no key update skip locked
    ) as stale
    where known.worker_id = stale.worker_id;
end;
comment on function worker.see_worker is 'Notes that a worker lives, at most every 10 seconds.';

create function public.worker_heartbeat(worker_id text, leases jsonb)
returns table (run_id uuid, lease_token uuid, state text)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
    -- In the order of the ids, like a release, to avoid deadlocks.
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
    perform worker.see_worker(worker_heartbeat.worker_id);

    -- A second statement, because a run may have finished while the first one waited for its lease.
    return query
    select asked.run_id, asked.lease_token, case
        when lease.run_id is not null then 'held'
        when run.status = 'cancelled' then 'cancelled'
        when run.completed_at is not null or worker.has_ended_attempt(asked.run_id, asked.lease_token) then 'finished'
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
    'Extends leases [{run_id, lease_token}]. Returns for each run whether it is held, lost, cancelled or finished: '
    'also if its worker has ended the attempt, and the run is back in the queue.';

-- runs/running_limit
-- For which user may a ready run start? For its owner, otherwise for the owner of a follower, who has fewer than
-- max_running_per_user runs under way.
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
    -- Serialize claims that start runs of the same users, so that each one counts the others. In the order of the ids,
    -- and without waiting once a claim holds such locks, to avoid deadlocks.
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
    'Returns for each ready run, in queue order, a user for whom it may start within max_running_per_user: its '
    'owner, otherwise one of its followers'' owners, up to ten at a time; null if there is none. asked are the '
    'users who were checked. If it may not wait, users whom another claim is counting have no capacity.';

-- runs/claim
-- Which runs does a worker get? Ready runs of its kinds, by priority and position. Before that, the claim rescues runs
-- of dead workers, settles followers and promotes delayed runs.
-- Calls: kernel/clock, kernel/versions, kernel/run_sites, sharing/follow, sharing/leader_ended, sites/accounts,
--   sites/rank, sites/exits, sites/admission, runs/resume, runs/rescue, runs/promote,
--   runs/heartbeat, runs/running_limit.

create function worker.claimed_sites(run_id uuid) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
    return (
        select event.data -> 'sites' from public.run_events as event
        where event.run_id = claimed_sites.run_id and event.event = 'claimed'
        order by event.id desc
        limit 1
    );
end;
$$;
comment on function worker.claimed_sites is
    'Returns the sites of a run in the order in which its last claim has ranked them.';

create function worker.sites_to_search(run_id uuid) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
    return (
        select coalesce(jsonb_agg(worker.site_to_search(unfinished) order by ranked.rank), '[]')
        from jsonb_array_elements_text(worker.claimed_sites(sites_to_search.run_id)) with ordinality as ranked (site, rank)
        join public.search_run_sites as unfinished
            on unfinished.run_id = sites_to_search.run_id and unfinished.site = ranked.site
        where unfinished.completed_at is null
    );
end;
$$;
comment on function worker.sites_to_search is
    'Returns the unfinished sites of a claimed run for a worker, in the order of its claim.';

create type worker.first_search as (run_id uuid, site text, account text, exit text);
comment on type worker.first_search is 'The first search of a claimed run; exit is null where a worker offers none.';

create function worker.choose_exits(first worker.first_search[], exits jsonb) returns worker.first_search[]
language plpgsql set search_path = '' as $$
declare
    search worker.first_search;
    chosen worker.first_search[] := array(select known from unnest(first) as known where not exits ? known.site);
begin
    insert into worker.site_searches (run_id, site, account)
    select known.run_id, known.site, known.account from unnest(chosen) as known;
    -- One after another, because each choice depends on those before.
    for search in select known.* from unnest(first) as known where exits ? known.site order by known.site, known.run_id loop
        search.exit := (worker.choose_exit(
            search.run_id, search.site, search.account, worker.read_exits(exits -> search.site), null, null)).via;
        -- Null if all are paused: worker_start_sites says until when.
        if search.exit is not null then
            insert into worker.site_searches (run_id, site, account, exit)
            values (search.run_id, search.site, search.account, search.exit);
            chosen := chosen || search;
        end if;
    end loop;
    insert into worker.site_health (site, account, exit)
    select distinct used.site, used.account, used.exit from unnest(chosen) as used
    where used.exit is not null
    order by 1, 2, 3
    on conflict do nothing;
    return chosen;
end;
$$;
comment on function worker.choose_exits is
    'Gives a slot to each search, through the exit that is chosen for it. Returns those that may start.';

create function worker.start_first_sites(run_ids uuid[], limits jsonb, exits jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    admitted worker.first_search[];
begin
    with claimed as materialized (
        select run.id, run.kind, known.is_private, worker.claimed_sites(run.id) ->> 0 as first_site
        from public.search_runs as run
        join worker.kinds as known on known.kind = run.kind
        where run.id = any (run_ids)
    ), first as materialized (
        select site.run_id, site.site, claimed.kind
        from claimed
        join public.search_run_sites as site on site.run_id = claimed.id and site.site = claimed.first_site
        where site.status = 'pending' and site.attempts = 0
          -- Without an account, the worker refuses the search.
          and (not claimed.is_private or worker.account_of(site.run_id, site.site) is not null)
          and not exists (select from worker.site_waits as wait where wait.run_id = site.run_id and wait.site = site.site)
    ), asked as materialized (
        -- Not in a subquery, whose sites the planner would ask once for each run.
        select distinct first.kind, first.site, limits -> first.kind -> first.site as limits from first
    ), admitting as materialized (
        select asked.kind, asked.site
        from asked
        where asked.limits is not null and worker.admits_all(asked.site, asked.limits -> asked.site)
    )
    select array_agg(row(first.run_id, first.site, coalesce(worker.account_of(first.run_id, first.site), ''), null)
                     ::worker.first_search)
    into admitted
    from first join admitting on admitting.kind = first.kind and admitting.site = first.site;
    if admitted is null then
        return;
    end if;

    with started as (
        update public.search_run_sites as site
        set status = 'running', attempts = 1, started_at = worker.now(),
            progress = worker.with_step(site.progress, 'searching')
        from unnest(worker.choose_exits(admitted, exits)) as chosen
        where site.run_id = chosen.run_id and site.site = chosen.site
        returning site.run_id, site.site, chosen.exit
    )
    insert into public.run_events (run_id, event, site, data, created_at)
    select started.run_id, 'site_started', started.site,
           jsonb_strip_nulls(jsonb_build_object('attempt', 1, 'exit', case
               when started.exit is not null then worker.exit_name(started.exit) end)), worker.now()
    from started;
end;
$$;
comment on function worker.start_first_sites is
    'Starts the first search of claimed runs, at the sites that admit all runs. All others start with '
    'worker_start_sites. limits are those that the sources of the worker declare: {kind: {site: {bucket: limits}}}; exits '
    'are those that the worker offers, by site.';

create function worker.start_runs(
    run_ids uuid[], payers uuid[], worker_id text, claim_id uuid, duration interval, limits jsonb, exits jsonb
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
               select coalesce(jsonb_agg(ranked.site order by ranked.rank), '[]')
               from worker.rank_sites(leased.run_id, leased.token) as ranked)),
           worker.now()
    from leased join claimed on claimed.id = leased.run_id;

    perform worker.start_first_sites(run_ids, limits, exits);
    perform worker.update_followers(run_id, with_progress => false) from unnest(start_runs.run_ids) as run_id
    where worker.has_dependents(run_id, by_answered => false);
end;
$$;
comment on function worker.start_runs is
    'Leases locked ready runs to a worker. Each counts for the max_running_per_user of its payer. Its followers are '
    'running as well, and count for nobody.';

create function worker.lock_ready_runs(kinds text[], full_users uuid[], most integer) returns uuid[]
language plpgsql set search_path = '' as $$
begin
    return (
        select array_agg(locked.id)
        from (
            select run.id from public.search_runs as run
            where run.status = 'pending' and run.run_after is null and run.leader_run_id is null
              and run.kind = any (kinds)
              -- Not `exists`, for which the planner may read the followers of all runs.
              and (run.user_id <> all (full_users)
                   or (select true from public.search_runs as follower
                       where follower.leader_run_id = run.id and follower.user_id <> all (full_users)
                       order by follower.user_id
                       limit 1))
            order by run.priority desc, run.position
            limit most
            for no key update skip locked
        ) as locked
    );
end;
$$;
comment on function worker.lock_ready_runs is
    'Locks the first ready runs of the given kinds, without those whose owner and followers are all among full_users. '
    'Null if there are none.';

create function worker.start_ready_runs(
    worker_id text, kinds text[], slots integer, lease_seconds integer, claim_id uuid, limits jsonb, exits jsonb
) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    free_slots integer := slots;
    ready uuid[];
    startable uuid[];
    payers uuid[];
    full_users uuid[];
    passed uuid[] := array[]::uuid[];
begin
    -- Repeat, because runs whose users have reached max_running_per_user leave slots to other runs.
    loop
        full_users := passed || array(
            select lease.user_id from worker.leases as lease
            group by lease.user_id
            having count(*) >= (select max_running_per_user from worker.settings));
        ready := worker.lock_ready_runs(start_ready_runs.kinds, full_users, free_slots);
        exit when ready is null;

        -- Not within the update, which would call it for each row and count the runs that it just started.
        with room as materialized (
            select known.* from worker.users_with_capacity(ready, full_users, may_wait => passed = '{}') as known
        )
        select array(select room.run_id from room where room.user_id is not null order by room.run_id),
               array(select room.user_id from room where room.user_id is not null order by room.run_id),
               passed || array(select unnest(room.asked) from room where room.user_id is null)
        into startable, payers, passed;

        perform worker.start_runs(startable, payers, start_ready_runs.worker_id, start_ready_runs.claim_id,
                                  make_interval(secs => lease_seconds), start_ready_runs.limits, start_ready_runs.exits);
        exit when startable @> ready;
        free_slots := free_slots - cardinality(startable);
    end loop;
end;
$$;
comment on function worker.start_ready_runs is 'Leases up to slots ready runs of the given kinds to a worker.';

-- Plans for any arguments: PostgreSQL would plan the statements again at each call, which takes longer than they do.
create function public.worker_claim_runs(
    worker_id text, kinds text[], slots integer, lease_seconds integer, claim_id uuid, held jsonb,
    about jsonb default null, limits jsonb default '{}', exits jsonb default '{}', schema_version integer default null
) returns table (
    run_id uuid, lease_token uuid, kind text, parameters jsonb, newer_than timestamptz, attempt integer,
    max_attempts integer, sites jsonb
)
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
#variable_conflict use_column
begin
    perform worker.check_version(worker_claim_runs.schema_version);
    if slots is null or slots not between 1 and 100 then
        raise sqlstate '22023' using message = 'slots must be an integer from 1 to 100';
    end if;
    if lease_seconds is null or lease_seconds not between 5 and 3600 then
        raise sqlstate '22023' using message = 'lease_seconds must be an integer from 5 to 3600';
    end if;

    perform worker.describe_worker(worker_claim_runs.worker_id, about, limits) where about is not null;

    -- A retried claim may run at the same time as the first one.
    perform pg_advisory_xact_lock(hashtextextended(worker_claim_runs.claim_id::text, 0));

    update worker.leases as lease set expires_at = worker.now() + lease.duration
    where lease.claim_id = worker_claim_runs.claim_id;
    if not found then
        -- Before the rescue: otherwise a worker that is back after an outage would rescue its own runs.
        perform public.worker_heartbeat(worker_claim_runs.worker_id, worker_claim_runs.held);
        perform worker.rescue_expired_leases();
        perform worker.settle_ended_leaders();
        perform worker.promote_due_runs();
        perform worker.start_ready_runs(worker_claim_runs.worker_id, worker_claim_runs.kinds, slots, lease_seconds,
                                        worker_claim_runs.claim_id, worker_claim_runs.limits, worker_claim_runs.exits);
    end if;

    return query
    select run.id, lease.token, run.kind, run.parameters, run.newer_than, run.attempts::integer,
           run.max_attempts::integer, worker.sites_to_search(run.id)
    from worker.leases as lease
    join public.search_runs as run on run.id = lease.run_id
    where lease.claim_id = worker_claim_runs.claim_id
    order by run.priority desc, run.position;
end;
$$;
comment on function public.worker_claim_runs is
    'Leases up to slots ready runs of the given kinds, and extends the leases [{run_id, lease_token}] in held. The '
    'same claim_id returns the same runs. about says which sites the worker can search, as in worker.workers: {version, '
    'sites, concurrency, exits, started_at}. limits are those that the sources declare, {kind: {site: {bucket: limits}}}: where '
    'they and the site allow it, the claim starts the first search of a run. exits are those that the worker offers at '
    'sites that know it by its address, {site: exits as for worker_take_permit}. sites are the unfinished ones, the best '
    'first: {site, attempt, is_started, exit, account, cursor, next_page, is_fetched}, where is_fetched means that all pages '
    'are saved. Start those that are not started with worker_start_sites. schema_version is the version of the RPCs that '
    'the worker is made for; with another one than this version and the one before it, it gets no run: PT412 (HTTP 412).';

-- runs/start_sites
-- When do the searches of sites start? When each site admits its run. A site whose pages are all saved needs no
-- admission. Each search of a call gets its own answer.
-- Calls: kernel/clock, kernel/run_sites, kernel/lease, sites/exits, sites/limits, sites/admission, runs/progress, runs/resume.

create type worker.search_to_start as (
    run_id uuid, lease_token uuid, site text, attempt integer, account text, limits jsonb, exits jsonb
);
comment on type worker.search_to_start is 'A search as worker_start_sites takes it.';

create function worker.asked_searches(searches jsonb) returns worker.search_to_start[]
language plpgsql stable set search_path = '' as $$
declare
    asked worker.search_to_start[];
begin
    if jsonb_typeof(searches) is distinct from 'array' or jsonb_array_length(searches) not between 1 and 100 then
        raise sqlstate '22023' using message = 'searches must be an array of 1 to 100 objects';
    end if;
    asked := array(
        select row(given.run_id, given.lease_token, given.site, given.attempt, coalesce(given.account, ''),
                   coalesce(nullif(given.limits, 'null'), '{}'), nullif(given.exits, 'null'))::worker.search_to_start
        from jsonb_populate_recordset(null::worker.search_to_start, searches) as given);
    if (select count(distinct given.run_id) < count(*) from unnest(asked) as given) then
        raise sqlstate '22023' using message = 'searches must have a run_id in each object, and each run once';
    end if;
    return asked;
end;
$$;
comment on function worker.asked_searches is
    'Reads the argument of worker_start_sites. Raises 22023 (HTTP 400) if it is wrong.';

create function worker.wrong_offer(site text, limits jsonb, exits jsonb) returns text
language plpgsql stable set search_path = '' as $$
declare
    problem text;
begin
    if jsonb_typeof(limits) <> 'object' then
        return 'limits must be an object of limits by bucket';
    end if;
    perform worker.effective_limits(site, limits -> site), worker.read_exits(exits);
    return null;
exception when data_exception then
    get stacked diagnostics problem = message_text;
    return problem;
end;
$$;
comment on function worker.wrong_offer is 'Returns what is wrong with the limits and exits of a search; null if nothing is.';

create function worker.lock_searches(asked worker.search_to_start[]) returns jsonb
language plpgsql set search_path = '' as $$
declare
    states jsonb;
begin
    select jsonb_object_agg(lease.run_id, jsonb_build_object('state', lease.state)) into states
    from worker.lock_leases(array(select given.run_id from unnest(asked) as given),
                            array(select given.lease_token from unnest(asked) as given)) as lease;
    return (
        select jsonb_object_agg(given.run_id, case
            when states -> given.run_id::text ->> 'state' <> 'held' then states -> given.run_id::text
            when refusal.message is not null then jsonb_build_object('state', 'refused', 'message', refusal.message)
            -- One of its exits may be probed, whose row must not be locked before those of other sites.
            when cardinality(asked) > 1 and given.exits is not null and exists (
                select from worker.site_health as health
                where health.site = given.site and health.paused_until is not null) then '{"state": "busy"}'
            else '{"state": "held"}' end)
        from unnest(asked) as given
        join (
            select offered.*, worker.wrong_offer(offered.site, offered.limits, offered.exits) as problem
            from (select distinct searched.site, searched.limits, searched.exits from unnest(asked) as searched) as offered
        ) as offer on (offer.site, offer.limits, offer.exits) is not distinct from (given.site, given.limits, given.exits)
        cross join lateral (
            select case
                when not exists (select from public.search_run_sites as known
                                 where known.run_id = given.run_id and known.site = given.site)
                    then format('site must be one of the sites of the run, not %L', given.site)
                when given.attempt between 1 and 32767 is not true
                    then format('attempt must be an integer from 1 to 32767, not %s', coalesce(given.attempt::text, 'null'))
                else offer.problem end as message
        ) as refusal
    );
end;
$$;
comment on function worker.lock_searches is
    'Locks the runs of searches. Returns their states by id, as worker.lock_leases does, or refused with a message: '
    '{state, message}.';

create function worker.admit_freely(asked worker.search_to_start[]) returns uuid[]
language plpgsql set search_path = '' as $$
declare
    free uuid[];
begin
    -- No run locks anything at these sites. A run that waits has its waiting time to keep.
    free := array(
        with offered as materialized (
            select distinct given.site, given.limits from unnest(asked) as given where given.exits is null
        ), admitting as materialized (
            select offered.* from offered where worker.admits_all(offered.site, offered.limits -> offered.site)
        )
        select given.run_id
        from unnest(asked) as given
        join admitting on admitting.site = given.site and admitting.limits = given.limits
        where given.exits is null and not exists (
            select from worker.site_waits as wait where wait.run_id = given.run_id and wait.site = given.site));
    insert into worker.site_searches as search (run_id, site, account)
    select given.run_id, given.site, given.account from unnest(asked) as given where given.run_id = any (free)
    on conflict on constraint site_searches_pkey do update set account = excluded.account, exit = excluded.exit;
    return free;
end;
$$;
comment on function worker.admit_freely is
    'Gives slots to the searches of sites that admit all runs. Returns their runs.';

create function worker.admit_searches(asked worker.search_to_start[]) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    saved uuid[];
    free uuid[];
    given worker.search_to_start;
    admission jsonb;
    admissions jsonb;
begin
    saved := array(
        select searched.run_id
        from unnest(asked) as searched
        join public.search_run_sites as site on site.run_id = searched.run_id and site.site = searched.site
        where site.completed_at is not null or (site.attempts > 0 and exists (
            select from worker.resume_point(site.run_id, site.site) as point where point.is_fetched)));
    free := worker.admit_freely(array(select searched from unnest(asked) as searched where searched.run_id <> all (saved)));
    select coalesce(jsonb_object_agg(run_id, '{"granted": true, "wait_seconds": 0}'::jsonb), '{}') into admissions
    from unnest(saved || free) as run_id;

    -- Sites and accounts in one order, because all runs share their rows.
    for given in
        select searched.run_id, searched.lease_token, searched.site, searched.attempt, searched.account, searched.limits,
               searched.exits
        from unnest(asked) with ordinality as searched (
            run_id, lease_token, site, attempt, account, limits, exits, place)
        where not admissions ? searched.run_id::text
        order by searched.site, searched.account, searched.place
    loop
        admission := worker.admit_site(given.run_id, given.site, given.account, given.limits, worker.read_exits(given.exits));
        admissions := admissions || jsonb_build_object(given.run_id, admission);
    end loop;

    insert into worker.site_health (site, account, exit)
    select distinct searched.site, searched.account, admissions -> searched.run_id::text ->> 'exit'
    from unnest(asked) as searched
    where admissions -> searched.run_id::text ? 'exit'
    order by 1, 2, 3
    on conflict do nothing;
    return admissions;
end;
$$;
comment on function worker.admit_searches is
    'Admits leased runs to sites, as worker.admit_site does for one. Returns its answers by run. It notes which exits '
    'are used: a site is not paused while one of its exits is not.';

create function worker.begin_searches(asked worker.search_to_start[], admissions jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    started uuid[];
begin
    with begun as (
        update public.search_run_sites as site
        set status = 'running', attempts = given.attempt, started_at = worker.now(),
            progress = worker.with_step(site.progress, 'searching'),
            error_code = null, error_message = null, retryable = null
        from unnest(asked) as given
        where site.run_id = given.run_id and site.site = given.site and site.status = 'pending'
          and (admissions -> given.run_id::text -> 'granted')::boolean
        returning site.run_id, site.site, site.attempts
    ), logged as (
        insert into public.run_events (run_id, event, site, data, created_at)
        select begun.run_id, 'site_started', begun.site, jsonb_strip_nulls(jsonb_build_object(
            'attempt', begun.attempts,
            'exit', case when admissions -> begun.run_id::text ? 'exit'
                         then worker.exit_name(admissions -> begun.run_id::text ->> 'exit') end)), worker.now()
        from begun
    )
    select array_agg(begun.run_id) into started from begun;

    perform worker.show_progress(given.run_id, jsonb_build_object('step', 'searching', 'site', given.site))
    from unnest(asked) as given
    where given.run_id = any (started);
end;
$$;
comment on function worker.begin_searches is 'Starts the searches that are admitted and have not started yet.';

create function worker.show_waits(asked worker.search_to_start[], admissions jsonb) returns void
language sql volatile set search_path = ''
begin atomic
    update public.search_run_sites as site
    set progress = worker.waiting_progress(site.progress, site.site, admissions -> given.run_id::text)
    from unnest(asked) as given
    where site.run_id = given.run_id and site.site = given.site and admissions -> given.run_id::text ? 'until'
      and site.progress <> worker.waiting_progress(site.progress, site.site, admissions -> given.run_id::text);
end;
comment on function worker.show_waits is 'Shows until when the sites that do not admit their runs have to wait.';

create function public.worker_start_sites(searches jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    asked worker.search_to_start[] := worker.asked_searches(searches);
    states jsonb := worker.lock_searches(asked);
    held worker.search_to_start[] := array(
        select given from unnest(asked) as given where states -> given.run_id::text ->> 'state' = 'held');
    admissions jsonb := worker.admit_searches(held);
begin
    perform worker.show_waits(held, admissions);
    perform worker.begin_searches(held, admissions);
    return (
        select jsonb_agg(case
            when admissions ? given.run_id::text then jsonb_build_object(
                'state', case when (admissions -> given.run_id::text -> 'granted')::boolean then 'started' else 'deferred' end,
                'admission', admissions -> given.run_id::text)
            else states -> given.run_id::text end order by given.place)
        from unnest(asked) with ordinality as given (
            run_id, lease_token, site, attempt, account, limits, exits, place)
    );
end;
$$;
comment on function public.worker_start_sites is
    'Starts the searches of several runs: [{run_id, lease_token, site, attempt, account, limits, exits}], each run once. A '
    'site is searched if it admits the run: within limits ({bucket: limits of worker.model.SiteLimits}) and not paused. '
    'exits are those that the worker offers, as for worker_take_permit. Returns for each {state, message, admission}: '
    'started, with {granted: true, wait_seconds, exit}; deferred, with {granted: false, reason, message, '
    'retry_in_seconds, until}, to ask again then, or {granted: false, error_code, message}, to end the site with that '
    'error; lease_lost or cancelled; refused, with a message; busy: another transaction has locked the run, or an exit of '
    'the site is probed, send it alone. The searches of a site are admitted in the order of their accounts, then in that '
    'of the call. Idempotent.';

-- runs/finish_site
-- How does the search of a site end? completed without an error, partial if it failed after some results, failed
-- otherwise.
-- Calls: kernel/clock, kernel/imports, kernel/messages, kernel/run_sites, kernel/pages, sites/breaker.

create type worker.site_end as (
    run_id uuid, site text, account text, error_code text, error_message text, retryable boolean,
    retry_after_seconds double precision, exit text, was_asked boolean, response_ms real
);

create function worker.unreadable_pages(run_id uuid, site text) returns text
language plpgsql stable set search_path = '' as $$
begin
    return (
        select format('%s of %s pages could not be read; they are stored for reprocessing',
                      count(*) filter (where page.status = 'failed'), count(*))
        from worker.pages_of_search(unreadable_pages.run_id, unreadable_pages.site) as page
        having bool_or(page.status = 'failed')
    );
end;
$$;
comment on function worker.unreadable_pages is
    'Returns how many pages of a site could not be read, as a sentence; null if all could.';

create function worker.asked_site(
    run_id uuid, site text, error_code text, out was_asked boolean, out response_ms real
)
language plpgsql stable set search_path = '' as $$
begin
    -- The outcome counts only if the site was asked: not by an import, nor if it was refused, or waited for longer than
    -- max_site_wait, or if all its pages were saved before.
    select searched.status = 'running' and not worker.is_import(asked_site.run_id) and not exists (
               select from worker.site_waits as wait, worker.settings as settings
               where wait.run_id = searched.run_id and wait.site = searched.site and wait.waited > settings.max_site_wait
           ) and (
               asked_site.error_code is not null or count(*) filter (where page.attempt = searched.attempts) > 0
               or not coalesce(bool_or(page.is_last), false)),
           avg(page.response_ms) filter (where page.attempt = searched.attempts)
    into was_asked, response_ms
    from public.search_run_sites as searched
    left join worker.pages_of_search(asked_site.run_id, asked_site.site) as page on true
    where searched.run_id = asked_site.run_id and searched.site = asked_site.site
    group by searched.id;
end;
$$;
comment on function worker.asked_site is
    'Returns whether the current attempt asked the site, so that its outcome counts for the site, and the mean response '
    'time of its pages.';

create function worker.judge_sites(ends worker.site_end[]) returns worker.site_end[]
language plpgsql stable set search_path = '' as $$
begin
    return array(
        with judged as materialized (
            select given.*, case when given.error_code is null
                                 then worker.unreadable_pages(given.run_id, given.site) end as unreadable
            from unnest(ends) as given
        )
        select row(judged.run_id, judged.site, coalesce(judged.account, ''), verified.error_code,
                   coalesce(judged.unreadable, judged.error_message), judged.unreadable is not null or judged.retryable,
                   judged.retry_after_seconds, coalesce(search.exit, ''), asked.was_asked,
                   asked.response_ms)::worker.site_end
        from judged
        -- Before the end of the run, which deletes its searches.
        left join worker.site_searches as search on search.run_id = judged.run_id and search.site = judged.site
        cross join lateral (
            select case when judged.unreadable is null then judged.error_code else 'unverified' end as error_code
        ) as verified
        cross join lateral worker.asked_site(judged.run_id, judged.site, verified.error_code) as asked
    );
end;
$$;
comment on function worker.judge_sites is
    'Returns the ends of sites with what the saved pages say: a page that could not be read is the error unverified.';

create function worker.end_sites(ends worker.site_end[]) returns worker.site_end[]
language plpgsql set search_path = '' as $$
declare
    judged worker.site_end[] := worker.judge_sites(ends);
    ended worker.site_end[];
begin
    with finished as (
        -- Status and count in one write, because Realtime broadcasts each write.
        update public.search_run_sites as site
        set status = outcome.status, jobs_found = outcome.results, error_code = given.error_code,
            error_message = case when given.error_code is not null then worker.message_for_user(
                case when worker.is_import(site.run_id) then 'import_lost' else given.error_code end, site.site,
                reason => given.error_message) end,
            retryable = case when given.error_code is not null then given.retryable end,
            -- For a completed site, jobs_found is enough, and the last progress may be a second old.
            progress = case outcome.status when 'completed' then '{"step": "finished"}'
                                           else worker.with_step(site.progress, 'finished') end,
            completed_at = worker.now()
        from unnest(judged) as given
        cross join lateral (
            select count(*) as results from public.search_results as result
            where result.run_id = given.run_id and result.site = given.site
        ) as found
        cross join lateral (
            select found.results, case when given.error_code is null then 'completed'
                                       when found.results > 0 then 'partial'
                                       else 'failed' end::public.site_status as status
        ) as outcome
        where site.run_id = given.run_id and site.site = given.site and site.completed_at is null
        returning given, site.status
    ), logged as (
        insert into public.run_events (run_id, event, site, data, created_at)
        select (finished.given).run_id, 'site_finished', (finished.given).site, jsonb_strip_nulls(jsonb_build_object(
            'status', finished.status, 'error_code', (finished.given).error_code,
            'message', (finished.given).error_message)), worker.now()
        from finished
    )
    select array_agg(finished.given) into ended from finished;

    delete from worker.site_waits as wait
    using unnest(ended) as given
    where wait.run_id = given.run_id and wait.site = given.site;
    return coalesce(ended, '{}');
end;
$$;
comment on function worker.end_sites is
    'Gives sites their final status, derived from their errors and their results. Returns those that had not ended '
    'before, with what counts for worker.record_ends.';

create function worker.record_ends(ended worker.site_end[]) returns void
language plpgsql set search_path = '' as $$
declare
    alike record;
begin
    -- Successes of a site together, failures one by one. Sites in one order, because all runs share their rows.
    for alike in
        select given.site, given.account, given.exit, given.error_code, given.retry_after_seconds,
               array_agg(given.run_id order by given.run_id) as run_ids, avg(given.response_ms)::real as response_ms
        from unnest(ended) as given
        where given.was_asked
        group by given.site, given.account, given.exit, given.error_code, given.retry_after_seconds,
                 case when given.error_code is not null then given.run_id end
        order by given.site, given.account, given.exit
    loop
        perform worker.record_site_outcome(alike.run_ids, alike.site, alike.account, alike.exit, alike.error_code,
                                           alike.retry_after_seconds, alike.response_ms);
    end loop;
end;
$$;
comment on function worker.record_ends is
    'Records how searches ended, for the breakers and the order of sites, and releases their slots. It must come last in '
    'a transaction, because all users share the rows that it locks.';

-- runs/finish_sites
-- Which sites of several runs has a worker searched, and which of these runs have no more to search? Each run gets its
-- own answer. Fallback sites that are needed are searched before a run ends.
-- Calls: kernel/parameters, kernel/lease, runs/progress, runs/fallback, runs/finish, runs/finish_site.

create type worker.finished_site as (
    run_id uuid, lease_token uuid, site text, account text, error_code text, error_message text, retryable boolean,
    retry_after_seconds double precision, ends_run boolean
);

create function worker.end_runs(run_ids uuid[], lease_tokens uuid[], out refused uuid[], out fallbacks jsonb)
language plpgsql set search_path = '' as $$
declare
    asked record;
    needed jsonb;
    ended uuid[] := array[]::uuid[];
begin
    refused := array(select run_id from unnest(run_ids) as run_id where worker.has_unfinished_sites(run_id));
    fallbacks := '{}';
    for asked in
        select given.run_id, given.lease_token, worker.has_fallbacks(run.kind, run.parameters) as has_fallbacks
        from unnest(run_ids, lease_tokens) as given (run_id, lease_token)
        join public.search_runs as run on run.id = given.run_id
        where given.run_id <> all (refused)
    loop
        needed := case when asked.has_fallbacks then worker.fallbacks_to_search(asked.run_id, asked.lease_token)
                       else '[]' end;
        if needed = '[]' then
            ended := ended || asked.run_id;
        else
            fallbacks := fallbacks || jsonb_build_object(asked.run_id, needed);
        end if;
    end loop;
    perform worker.end_attempts(ended);
end;
$$;
comment on function worker.end_runs is
    'Ends leased runs, or puts them back into the queue. refused are those with sites that have neither ended nor wait; '
    'fallbacks are the fallback sites that are to be searched first, by run.';

-- Plans for any arguments: PostgreSQL would plan the statements again at each call, which takes longer than they do.
create function public.worker_finish_sites(finished jsonb) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
#variable_conflict use_column
declare
    asked worker.finished_site[];
    states jsonb;
    ended worker.site_end[];
    runs record;
begin
    if jsonb_typeof(finished) is distinct from 'array' or jsonb_array_length(finished) not between 1 and 100 then
        raise sqlstate '22023' using message = 'finished must be an array of 1 to 100 objects';
    end if;
    asked := array(select given from jsonb_populate_recordset(null::worker.finished_site, finished) as given);
    if (select count(distinct given.run_id) < count(*) from unnest(asked) as given) then
        raise sqlstate '22023' using message = 'finished must have a run_id in each object, and each run once';
    end if;

    select jsonb_object_agg(lease.run_id, lease.state) into states
    from worker.lock_leases(array(select given.run_id from unnest(asked) as given),
                            array(select given.lease_token from unnest(asked) as given)) as lease;
    -- A second statement, because a run may have ended while the first one waited for its lock.
    select jsonb_object_agg(given.run_id, case
        when state.name = 'lease_lost' and given.ends_run
             and worker.has_ended_attempt(given.run_id, given.lease_token) then 'ended'
        when state.name = 'held' and given.ends_run and given.error_code is not null then 'ends_too_soon'
        when state.name = 'held' and given.site is not null and not exists (
            select from public.search_run_sites as known
            where known.run_id = given.run_id and known.site = given.site) then 'unknown_site'
        else state.name end)
    into states
    from unnest(asked) as given
    cross join lateral (select states ->> given.run_id::text as name) as state;

    ended := worker.end_sites(array(
        select row(given.run_id, given.site, given.account, given.error_code, given.error_message, given.retryable,
                   given.retry_after_seconds, null, null, null)::worker.site_end
        from unnest(asked) as given
        where given.site is not null and states ->> given.run_id::text = 'held'));
    perform worker.show_progress(given.run_id, jsonb_build_object('step', 'site_finished', 'site', given.site))
    from unnest(asked) as given
    where not given.ends_run and (given.run_id, given.site) in (
        select site.run_id, site.site from unnest(ended) as site);

    runs := worker.end_runs(
        array(select given.run_id from unnest(asked) as given
              where given.ends_run and states ->> given.run_id::text = 'held'),
        array(select given.lease_token from unnest(asked) as given
              where given.ends_run and states ->> given.run_id::text = 'held'));
    perform worker.record_ends(ended);

    return (
        select jsonb_agg(case
            when given.run_id = any (runs.refused) then jsonb_build_object(
                'state', 'refused',
                'message', 'run_id must be the id of a run whose sites have all finished or wait')
            when state.name = 'ends_too_soon' then jsonb_build_object(
                'state', 'refused',
                'message', 'ends_run must be false with an error_code: the failure decides how the run ends')
            when state.name = 'unknown_site' then jsonb_build_object(
                'state', 'refused',
                'message', format('site must be one of the sites of the run, not %L', given.site))
            when state.name not in ('held', 'ended') then jsonb_build_object('state', state.name)
            when given.ends_run then jsonb_build_object(
                'state', 'done',
                'run', worker.ended_run(given.run_id, coalesce(runs.fallbacks -> given.run_id::text, '[]')))
            else '{"state": "done"}' end order by given.place)
        from unnest(asked) with ordinality as given (
            run_id, lease_token, site, account, error_code, error_message, retryable, retry_after_seconds, ends_run, place)
        cross join lateral (select states ->> given.run_id::text as name) as state
    );
end;
$$;
comment on function public.worker_finish_sites is
    'Ends sites of several runs: [{run_id, lease_token, site, account, error_code, error_message, retryable, '
    'retry_after_seconds, ends_run}], each run once. A site is completed without an error, partial if it failed after '
    'some results, failed otherwise. A page that could not be read is the error unverified. error_message is for the '
    'operator and goes to the event; users read a sentence of worker.messages. retry_after_seconds is the pause that '
    'the site asked for. ends_run: the run has no more to search; without a site, only the run ends. A site with an error ends '
    'in a call before, because a pause that it causes decides when the run is retried. A run is a success if all sites completed, partial if '
    'some did, failed if none did. Instead, it is pending again from run_after on: while unfinished sites wait, which '
    'counts no attempt; or to retry sites, with attempts left. Returns for each {state, message, run}: done; lease_lost '
    'or cancelled; refused, with a message; busy: another transaction has locked the run, send it alone. run is there if '
    'the run was to end: {id, status, jobs_found, progress, run_after, updated_at, sites, fallbacks}. With fallbacks, '
    'it continues: search these, in the form of worker_claim_runs, and end it again. Idempotent.';

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
comment on function worker.write_alert is 'Writes an alert for a run''s site, once.';

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
    'Reports a problem of a run''s site to the operator: data is {reason, ...}. The same alert is written once.';

-- pages/facts
-- Which facts show that two items are one thing, or two? Two addresses on one employer's site, texts that disagree,
-- disjoint pay or two places are two things. What is unknown shows nothing.
-- Calls: nothing.

create type worker.facts as (
    site text, organization_key text, cities text[], region text, country text, apply_key text,
    text_signature bit(1024), salary_min numeric, salary_max numeric, salary_interval text, currency text,
    posted_at timestamptz, posted_before timestamptz
);
comment on type worker.facts is
    'What shows whether two items are one thing. A region or a country that ends with ? is guessed, and keeps nothing '
    'apart. posted_before is when an item was published or, if that is unknown, last seen.';

create view worker.item_facts with (security_invoker = true) as
select item.id, item.kind, item.owner_id, item.match_key, item.duplicate_of, item.first_seen_at, row(
        split_part(item.canonical_key, ':', 1), item.organization_key,
        string_to_array(split_part(item.place_key, '|', 1), '; '), nullif(split_part(item.place_key, '|', 2), ''),
        nullif(split_part(item.place_key, '|', 3), ''), item.apply_key, item.text_signature, item.salary_min,
        item.salary_max, item.salary_interval, item.currency, item.posted_at,
        coalesce(item.posted_at, item.last_seen_at)
    )::worker.facts as facts
from public.items as item;
comment on view worker.item_facts is 'The facts of each item.';

-- Measured on 344 listings and their variants (scripts/bench/dedupe): the same text in another format has 0.98 to 1,
-- its first 150 to 600 characters 0.84 to 1, a rewording 0.56 to 0.96. Of unrelated texts 99.9 % have less than 0.31.
create function worker.text_similarity(signature bit, other bit) returns double precision
language plpgsql immutable parallel safe set search_path = '' as $$
declare
    pairs double precision := bit_count(signature);
    other_pairs double precision := bit_count(other);
    by_chance double precision := pairs * other_pairs / 1024;
begin
    -- A text of fewer word pairs than this looks similar or different by chance.
    if least(pairs, other_pairs) >= 15 then
        return (bit_count(signature & other) - by_chance) / nullif(least(pairs, other_pairs) - by_chance, 0);
    end if;
    return null;
end;
$$;
comment on function worker.text_similarity is
    'Returns which share of the word pairs of the shorter text is in the other text: about 1 for the same text or an '
    'excerpt, about 0 for an unrelated text, null if one is unknown or too short.';

create function worker.are_two_postings(apply_key text, other_key text) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
begin
    return apply_key <> other_key
       and split_part(apply_key, '/', 1) = split_part(other_key, '/', 1)
       -- A job board may list one job twice.
       and split_part(apply_key, '/', 1) not in ('linkedin.com', 'indeed.com');
end;
$$;
comment on function worker.are_two_postings is
    'Whether two addresses to apply at are two postings on one employer''s site. Null if one is unknown.';

create function worker.is_pay_disjoint(item worker.facts, other worker.facts) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
declare
    -- Boards round pay, such as 17.20 an hour to 17 and 52,300 a year to 52,000.
    unit numeric := case item.salary_interval when 'yearly' then 1000 when 'monthly' then 100 else 1 end;
    lower_most numeric;
    upper_least numeric;
begin
    if (item.currency = other.currency and item.salary_interval = other.salary_interval) is not true then
        return false;
    end if;
    lower_most := least(coalesce(item.salary_max, item.salary_min), coalesce(other.salary_max, other.salary_min));
    upper_least := greatest(coalesce(item.salary_min, item.salary_max), coalesce(other.salary_min, other.salary_max));
    return upper_least > lower_most
       and (upper_least - lower_most >= unit or (lower_most % unit <> 0 and upper_least % unit <> 0));
end;
$$;
comment on function worker.is_pay_disjoint is
    'Whether two ranges of pay in one currency and interval are apart by more than rounding. Null if an amount is '
    'unknown.';

create function worker.are_dates_apart(item worker.facts, other worker.facts) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
begin
    -- A vacancy is open for a month. What a site shows without a date was published before it was last seen.
    return greatest(item.posted_at, other.posted_at)
        > least(item.posted_before, other.posted_before) + interval '30 days';
end;
$$;
comment on function worker.are_dates_apart is
    'Whether two items were published more than 30 days apart. Null if neither has a date.';

create function worker.are_apart(item worker.facts, other worker.facts) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
declare
    similarity double precision;
    is_excerpt boolean;
begin
    if item.apply_key = other.apply_key then
        return false;
    end if;
    if worker.are_two_postings(item.apply_key, other.apply_key) or worker.is_pay_disjoint(item, other)
       or not item.cities && other.cities
       or (item.country <> other.country and item.country || other.country not like '%?%')
       or (item.region <> other.region and item.region || other.region not like '%?%') then
        return true;
    end if;
    similarity := worker.text_similarity(item.text_signature, other.text_signature);
    is_excerpt := 3 * least(bit_count(item.text_signature), bit_count(other.text_signature))
        < greatest(bit_count(item.text_signature), bit_count(other.text_signature));
    return (similarity < 0.5 and not is_excerpt)
        -- A site that lists a job twice does not reword it.
        or (similarity < 0.8 and item.site = other.site)
        or (similarity < 0.6 and worker.are_dates_apart(item, other));
end;
$$;
comment on function worker.are_apart is
    'Whether the facts of two items show that they are two things. With one address to apply at they are one.';

create function worker.are_alike(item worker.facts, other worker.facts) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
declare
    similarity double precision;
    is_named_alike boolean := item.organization_key is not distinct from other.organization_key
        and rtrim(item.country, '?') is not distinct from rtrim(other.country, '?')
        and coalesce(rtrim(item.region, '?') = rtrim(other.region, '?'), true);
begin
    -- A part of a company's name may stand for it: ING, ING Bank.
    if item.organization_key <> other.organization_key
       and not starts_with(item.organization_key, other.organization_key || ' ')
       and not starts_with(other.organization_key, item.organization_key || ' ') then
        return false;
    end if;
    similarity := worker.text_similarity(item.text_signature, other.text_signature);
    return coalesce(similarity >= 0.8, false)
        or (worker.are_dates_apart(item, other) is not true and (is_named_alike or coalesce(similarity >= 0.6, false)));
end;
$$;
comment on function worker.are_alike is
    'Whether two items with one match_key are one thing, unless they are apart. Their texts confirm it if the name of '
    'the company or the place is incomplete, or if they were published more than 30 days apart.';

-- Of a group of thousands, the newest: then the work for each group that may join it is bounded. PL/pgSQL, because it
-- keeps the plan.
create function worker.group_facts(group_id uuid, addresses_only boolean) returns worker.facts[]
language plpgsql stable set search_path = '' as $$
begin
    return (
        select array_agg(
            case when addresses_only then
                row(null, null, null, null, null, (newest.facts).apply_key, null, null, null, null, null, null,
                    null)::worker.facts
            else
                newest.facts
            end)
        from (
            select item.facts from worker.item_facts as item
            where item.id = group_facts.group_id or item.duplicate_of = group_facts.group_id
            order by item.first_seen_at desc, item.id
            limit 30
        ) as newest
    );
end;
$$;
comment on function worker.group_facts is
    'Returns the facts of the up to 30 newest items of a group, or of these the addresses_only.';

create function worker.groups_are_apart(facts worker.facts[], other_facts worker.facts[]) returns boolean
language plpgsql immutable strict parallel safe set search_path = '' as $$
declare
    item worker.facts;
    other worker.facts;
begin
    foreach item in array facts loop
        foreach other in array other_facts loop
            if worker.are_apart(item, other) then
                return true;
            end if;
        end loop;
    end loop;
    return false;
end;
$$;
comment on function worker.groups_are_apart is 'Whether the facts of two groups show that they are two things.';

-- pages/merge
-- Are two items the same thing? Yes if their keys are equal, unless something keeps two items of their groups apart: an
-- operator who has split them, or what they say. The oldest item of a group stands for the group.
-- Calls: pages/facts.

create function worker.lock_groups(kind text, owner_id uuid) returns void
language sql volatile set search_path = ''
return pg_advisory_xact_lock(hashtextextended(
    'worker.lock_groups ' || lock_groups.kind || ' ' || coalesce(lock_groups.owner_id::text, ''), 0));
comment on function worker.lock_groups is
    'Locks the items of a kind and owner until the transaction ends. To avoid deadlocks, no visible item is locked '
    'before.';

create function worker.pair_groups(item_ids uuid[], other_ids uuid[], similarities double precision[])
returns table (younger_id uuid, older_id uuid, similarity double precision, age bigint)
language plpgsql stable rows 20 set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    with pair as (
        select case when item.duplicate_of is null then item.id else item.duplicate_of end as item_id,
               case when other.duplicate_of is null then other.id else other.duplicate_of end as other_id,
               given.similarity
        from unnest(item_ids, other_ids, similarities) as given (item_id, other_id, similarity)
        join public.items as item on item.id = given.item_id
        join public.items as other on other.id = given.other_id
    )
    select younger.id, older.id, max(given.similarity),
           rank() over (order by older.from_named_board, older.first_seen_at, older.id)
    from (table pair union all select pair.other_id, pair.item_id, pair.similarity from pair) as given
    join public.items as younger on younger.id = given.item_id
    join public.items as older on older.id = given.other_id
    where (older.from_named_board, older.first_seen_at, older.id)
        < (younger.from_named_board, younger.first_seen_at, younger.id)
    group by younger.id, older.id;
end;
$$;
comment on function worker.pair_groups is
    'Returns the groups of each item and its other item, as the younger and the older one. age is the rank of the older '
    'one, from 1 for the oldest.';

create function worker.merge_groups(
    item_ids uuid[], other_ids uuid[], similarities double precision[], have_one_address boolean
) returns integer
language plpgsql set search_path = '' as $$
declare
    merged integer := 0;
    merged_now integer;
begin
    -- Each group joins the most similar of the older groups that it may join, else the oldest. A group that others join
    -- is checked again in the next round.
    while cardinality(item_ids) > 0 loop
        with candidate as materialized (
            select * from worker.pair_groups(item_ids, other_ids, similarities)
        ), member as materialized (
            select root.id, root.id as root_id
            from (select younger_id from candidate union select older_id from candidate) as root (id)
            union all
            select item.id, item.duplicate_of
            from (select younger_id from candidate union select older_id from candidate) as root (id)
            join public.items as item on item.duplicate_of = root.id
        ), facts as materialized (
            select member.id as root_id, worker.group_facts(member.id, addresses_only => have_one_address) as of_group
            from member
            where member.id = member.root_id
        ), split as materialized (
            select member.root_id, other.root_id as other_root_id
            from member
            join worker.kept_apart as kept on kept.item_id = member.id
            join member as other on other.id = kept.other_id
        ), apart as materialized (
            select split.root_id, split.other_root_id from split
            union
            select split.other_root_id, split.root_id from split
            union
            select candidate.younger_id, candidate.older_id
            from candidate
            join facts as younger on younger.root_id = candidate.younger_id
            join facts as older on older.root_id = candidate.older_id
            where worker.groups_are_apart(younger.of_group, older.of_group)
        ), choice as materialized (
            select distinct on (candidate.younger_id) candidate.younger_id, candidate.older_id
            from candidate
            where not exists (
                select from apart
                where apart.root_id = candidate.younger_id and apart.other_root_id = candidate.older_id)
            order by candidate.younger_id, candidate.similarity desc nulls last, candidate.age
        ), joining as materialized (
            select choice.younger_id, choice.older_id
            from choice
            join facts as younger on younger.root_id = choice.younger_id
            where not exists (select from choice as moving where moving.younger_id = choice.older_id)
              -- Of two groups that are kept apart, only one may join the same group.
              and not exists (
                  select from choice as rival
                  join facts as others on others.root_id = rival.younger_id
                  left join apart on apart.root_id = rival.younger_id and apart.other_root_id = choice.younger_id
                  where rival.older_id = choice.older_id and rival.younger_id < choice.younger_id
                    and (apart.root_id is not null or worker.groups_are_apart(younger.of_group, others.of_group)))
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
    return merged;
end;
$$;
comment on function worker.merge_groups is
    'Merges the groups of each item and its other item, unless two of their items were split or show that they are two '
    'things (worker.are_apart). If the items of each pair have_one_address to apply at, only other addresses show that. '
    'Returns by how many the groups decreased.';

create function worker.match_items(item_ids uuid[]) returns void
language plpgsql set search_path = '' as $$
declare
    -- Thousands of jobs may share a key. Any of the items of a group leads to it.
    compared_items constant integer := 500;
    compared_groups constant integer := 20;
    matches record;
begin
    select array_agg(matched.item_id) as item_ids, array_agg(matched.other_id) as other_ids into matches
    from (
        -- Pairs with groups, not with each of their items: thousands may share a key, and a page may add a hundred.
        select distinct item.id as item_id,
                        case when other.duplicate_of is null then other.id else other.duplicate_of end as other_id
        from public.items as item
        join public.items as other
            on other.apply_key = item.apply_key and other.kind = item.kind and other.owner_id is not distinct from item.owner_id
        where item.id = any (match_items.item_ids) and other.id <> item.id
    ) as matched;
    perform worker.merge_groups(matches.item_ids, matches.other_ids, null, have_one_address => true);

    select array_agg(matched.item_id) as item_ids, array_agg(matched.other_id) as other_ids,
           array_agg(matched.similarity) as similarities
    into matches
    from (
        select alike.item_id, alike.other_id, max(alike.similarity) as similarity,
               row_number() over (
                   partition by alike.item_id order by max(alike.similarity) desc nulls last, alike.other_id) as rank
        from (
            select item.id as item_id,
                   case when other.duplicate_of is null then other.id else other.duplicate_of end as other_id,
                   worker.text_similarity((item.facts).text_signature, (other.facts).text_signature) as similarity
            from worker.item_facts as item
            cross join lateral (
                select known.* from worker.item_facts as known
                where known.match_key = item.match_key and known.kind = item.kind
                  and known.owner_id is not distinct from item.owner_id and known.id <> item.id
                limit compared_items
            ) as other
            where item.id = any (match_items.item_ids)
              and worker.are_alike(item.facts, other.facts) and worker.are_apart(item.facts, other.facts) is not true
        ) as alike
        group by alike.item_id, alike.other_id
    ) as matched
    where matched.rank <= compared_groups;
    perform worker.merge_groups(matches.item_ids, matches.other_ids, matches.similarities, have_one_address => false);
end;
$$;
comment on function worker.match_items is
    'Merges items into the groups with the same apply_key, then into those with the same match_key that are alike, '
    'within their kind and owner. A group stays together when its keys change.';

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
comment on function worker.order_groups is
    'Makes the oldest item of each item''s group the one that the others point at.';

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
        raise sqlstate '22023' using message = 'both items of a pair must have the same kind and owner';
    end if;

    perform worker.lock_groups(locked.kind, locked.owner_id)
    from (
        select distinct item.kind, item.owner_id from public.items as item
        where item.id = any (given.item_ids)
        order by item.kind, item.owner_id
    ) as locked;
    return worker.merge_groups(given.item_ids, given.other_ids, null, have_one_address => false);
end;
$$;
comment on function public.worker_merge_items is
    'Merges the items of each pair {item_id, other_id} and their groups, unless two of them were split or show that '
    'they are two things (worker.are_apart). Returns by how many the things decreased. Idempotent.';

-- pages/split
-- What happens when an operator splits an item from its group? It stands for itself, and is not merged with the others
-- of the group again.
-- Calls: pages/merge.

create function public.worker_split_item(item_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    item record;
begin
    select known.kind, known.owner_id into item from public.items as known where known.id = worker_split_item.item_id;
    if not found then
        raise sqlstate 'PT404' using message = 'item_id must be the id of an item';
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
    'Splits an item from its group, and keeps it apart from the others of the group. Idempotent.';

-- pages/new_things
-- Which things on a page are new? Those that no earlier successful run of the same search had.
-- Calls: nothing.

create function worker.count_new_things(run_id uuid, fingerprint text, item_ids uuid[]) returns integer
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    -- An incremental run's user has seen the results of runs that began by newer_than. Later runs were other users'.
    known_before timestamptz := coalesce(
        (select run.newer_than + interval '1 hour' from public.search_runs as run where run.id = count_new_things.run_id),
        'infinity');
begin
    return (
        with thing as materialized (
            select distinct case when item.duplicate_of is null then item.id else item.duplicate_of end as id
            from public.items as item
            where item.id = any (item_ids)
        ), earlier as materialized (
            -- By the index of runs that searched themselves: no other has results.
            select run.id from public.search_runs as run
            where run.fingerprint = count_new_things.fingerprint and run.completed_at is not null
              and run.shared_run_id is null and run.id <> count_new_things.run_id
              -- This run may continue one that was cancelled or failed.
              and run.status = 'success' and run.started_at < known_before
        ), found as materialized (
            -- From an index alone. The runs of all searches that have found a popular thing are not read.
            select thing.id, result.run_id
            from thing
            cross join lateral (
                select thing.id
                union all
                select duplicate.id from public.items as duplicate where duplicate.duplicate_of = thing.id
            ) as sighting
            join public.search_results as result on result.item_id = sighting.id
            where exists (select from earlier)
        )
        select count(*) from thing
        where not exists (select from found join earlier on earlier.id = found.run_id where found.id = thing.id)
    );
end;
$$;
comment on function worker.count_new_things is
    'Returns how many of the items'' things no earlier successful run of the same search had.';

-- pages/read
-- What is on a page? An item that is on it twice counts at its first position.
-- Calls: nothing.

create type worker.page_item as (
    external_id text, position integer, title text, organization text, location text, is_remote boolean,
    posted_at timestamptz, salary_min numeric, salary_max numeric, salary_interval text, currency text, url text,
    apply_url text, description text, city text, region text, country text, places jsonb, work_mode text,
    job_types text[], salary_yearly_min numeric, salary_yearly_max numeric, skills text[], experience_years smallint,
    data jsonb, apply_key text, match_key text, organization_key text, place_key text,
    text_signature bit(1024)
);
comment on type worker.page_item is
    'An item of a page, as the worker sends it. position is its position on the page, from 1.';

create type worker.loading_page as (
    page_id bigint, run_id uuid, kind text, owner_id uuid, site text, page_number integer, seen_at timestamptz,
    fingerprint text, reported jsonb, items worker.page_item[]
);
comment on type worker.loading_page is
    'A page whose items are loaded: reported as the worker sends them, and items once worker.read_items has read them.';

create function worker.read_items(items jsonb) returns worker.page_item[]
language sql stable set search_path = ''
return (
    select coalesce(array_agg(first.item order by first.external_id), '{}')
    from (
        select distinct on (item.external_id) item.external_id, item
        from jsonb_populate_recordset(null::worker.page_item, read_items.items) as item
        order by item.external_id, item.position
    ) as first
);
comment on function worker.read_items is
    'Returns the items of a page in the order of their ids. An item that is on the page twice counts at its first '
    'position.';

-- pages/organizations
-- What becomes of what a page says about employers? Each field is written, unless it is known from a newer page. Private
-- items are left out, and so are boards that a user named, except for a user who asks for them.
-- Calls: kernel/parameters.

create function worker.newest_facts(known public.organizations, reported public.organizations) returns public.organizations
language sql stable set search_path = ''
return (
    select jsonb_populate_record(newest_facts.known, coalesce(
        jsonb_object_agg(fact.field, fact.value) || jsonb_build_object(
            'seen_at', (newest_facts.known).seen_at || jsonb_object_agg(fact.field, fact.seen_at)),
        '{}'))
    from (
        select given.key as field, given.value, former.fields -> given.key as known,
               (newest_facts.reported).seen_at -> given.key as seen_at,
               (newest_facts.known).seen_at -> given.key as known_at
        from jsonb_each(to_jsonb(newest_facts.reported)) as given, to_jsonb(newest_facts.known) as former (fields)
    ) as fact
    where fact.value <> fact.known
      and case when fact.known_at is null then fact.seen_at is not null
               else (fact.seen_at #>> '{}')::timestamptz >= (fact.known_at #>> '{}')::timestamptz end
);
comment on function worker.newest_facts is
    'Returns a known organization with the reported fields that differ and are as new. seen_at of reported names its '
    'fields.';

create function worker.write_organizations(pages worker.loading_page[]) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
begin
    with page as materialized (
        select given.reported, given.seen_at,
               case when worker.is_named_board(given.kind, given.site) then run.user_id end as owner_id
        from unnest(write_organizations.pages) as given
        left join public.search_runs as run on run.id = given.run_id
        where given.owner_id is null
          and (not worker.is_named_board(given.kind, given.site)
               or worker.keeps_board_organizations(run.kind, run.parameters))
    ), reported as materialized (
        -- The first item of a company that says anything: the others on the page say the same.
        select distinct on (page.owner_id, found.organization_key) page.owner_id, page.seen_at,
               found.organization_key as key,
               md5(coalesce(page.owner_id::text, '') || ' ' || found.organization_key)::uuid as id,
               jsonb_strip_nulls(coalesce(nullif(found.employer, 'null'), '{}'))
                   || jsonb_build_object('name', found.organization) as facts
        from page
        cross join lateral jsonb_to_recordset(page.reported)
            as found (position integer, organization text, organization_key text, employer jsonb)
        where found.organization_key is not null and found.organization is not null
        order by page.owner_id, found.organization_key, coalesce(found.employer, 'null') = 'null', page.seen_at desc,
                 found.position
    ), changed as (
        select reported.*, former.organization
        from reported
        -- The limit keeps the plan of a small table, which would read all of it, from a table that has grown.
        left join lateral (
            select known from public.organizations as known where known.id = reported.id limit 1
        ) as former (organization) on true
        where former.organization is null or not to_jsonb(former.organization) @> reported.facts
    )
    insert into public.organizations as known (
        key, owner_id, name, url, profile_url, logo_url, address, industry, employees, revenue, description, rating,
        review_count, seen_at)
    select changed.key, changed.owner_id, new.name, new.url, new.profile_url, new.logo_url, new.address, new.industry,
           new.employees, new.revenue, new.description, new.rating, new.review_count, new.seen_at
    from changed
    cross join lateral jsonb_populate_record(null::public.organizations, changed.facts || jsonb_build_object('seen_at', (
        select jsonb_object_agg(fact.field, changed.seen_at)
        from jsonb_object_keys(changed.facts) as fact (field)))) as new
    where changed.organization is null
       or worker.newest_facts(changed.organization, new) is distinct from changed.organization
    -- In one order, so that two calls with the same organizations do not deadlock.
    order by changed.id
    on conflict (id) do update set
        (name, url, profile_url, logo_url, address, industry, employees, revenue, description, rating, review_count,
         seen_at)
        = (select newest.name, newest.url, newest.profile_url, newest.logo_url, newest.address, newest.industry,
                  newest.employees, newest.revenue, newest.description, newest.rating, newest.review_count,
                  newest.seen_at
           from worker.newest_facts(known, excluded) as newest);
end;
$$;
comment on function worker.write_organizations is
    'Writes what the items of pages say about their employers. An organization that does not change is not written.';

-- pages/items
-- What becomes of the items of a page? They are written as items, sightings and results. A field that the site does not
-- report keeps its value.
-- Calls: kernel/clock, kernel/parameters, pages/merge, pages/new_things, pages/read, pages/organizations.

create type worker.load_result as (page_id bigint, results integer, things integer);
comment on type worker.load_result is
    'Number of results that a page added to its run, and of things on it that no earlier run of the same search '
    'had.';

create function worker.insert_items(pages worker.loading_page[], out inserted uuid[], out with_keys uuid[])
language plpgsql set search_path = '' as $$
#variable_conflict use_column
begin
    with listed as (
        select page.place, page.kind, page.owner_id, page.seen_at, page.is_named_board, item.*,
               page.site || ':' || item.external_id as canonical_key
        from (
            select row_number() over () as place, given.*, worker.is_named_board(given.kind, given.site) as is_named_board
            from unnest(insert_items.pages) as given
        ) as page
        cross join lateral unnest(page.items) as item
    ), written as (
        insert into public.items (
            kind, owner_id, title, organization, location, is_remote, posted_at, salary_min, salary_max,
            salary_interval, currency, url, apply_url, description, city, region, country, places, work_mode,
            job_types, salary_yearly_min, salary_yearly_max, skills, experience_years, data, canonical_key, apply_key,
            match_key, organization_key, place_key, text_signature, from_named_board, first_seen_at, last_seen_at)
        select listed.kind, listed.owner_id, listed.title, listed.organization, listed.location,
               listed.is_remote, listed.posted_at, listed.salary_min, listed.salary_max, listed.salary_interval,
               listed.currency, listed.url, listed.apply_url, listed.description, listed.city, listed.region,
               listed.country, coalesce(listed.places, '[]'), listed.work_mode, coalesce(listed.job_types, '{}'),
               listed.salary_yearly_min, listed.salary_yearly_max, coalesce(listed.skills, '{}'),
               listed.experience_years, coalesce(listed.data, '{}'), listed.canonical_key, listed.apply_key,
               listed.match_key, listed.organization_key, listed.place_key, listed.text_signature,
               listed.is_named_board, listed.seen_at, listed.seen_at
        from listed
        where not exists (
            select from public.items as known
            where known.canonical_key = listed.canonical_key and known.kind = listed.kind
              and known.owner_id is not distinct from listed.owner_id)
        -- In one order, so that two calls with the same items do not deadlock. Each item of the first page that has it.
        order by listed.kind, listed.owner_id, listed.canonical_key, listed.place
        on conflict on constraint items_canonical_key do nothing
        returning id, apply_key, match_key
    )
    select coalesce(array_agg(written.id), '{}'),
           array_agg(written.id) filter (where written.apply_key is not null or written.match_key is not null)
    into inserted, with_keys
    from written;
end;
$$;
comment on function worker.insert_items is
    'Inserts the items of pages that are not known yet. Returns the inserted ones, and those of them with a key that '
    'finds duplicates.';

create type worker.page_sightings as (page_id bigint, item_ids uuid[], results integer);
comment on type worker.page_sightings is 'The items of a page, and how many of them are new to its run.';

create function worker.write_sightings(pages worker.loading_page[]) returns worker.page_sightings[]
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    sightings worker.page_sightings[];
begin
    with listed as materialized (
        select page.page_id, page.run_id, page.owner_id, page.site, page.page_number, page.seen_at,
               item.id as item_id, found.external_id, found.position, found.url
        from unnest(write_sightings.pages) as page
        cross join lateral unnest(page.items) as found
        join public.items as item
            on item.canonical_key = page.site || ':' || found.external_id
           and item.kind = page.kind and item.owner_id is not distinct from page.owner_id
    ), sighted as (
        insert into public.item_sources as sighting (
            site, external_id, item_id, owner_id, url, first_seen_at, last_seen_at)
        select distinct on (listed.site, listed.external_id, listed.item_id)
               listed.site, listed.external_id, listed.item_id, listed.owner_id, listed.url,
               min(listed.seen_at) over same_item, max(listed.seen_at) over same_item
        from listed
        window same_item as (partition by listed.site, listed.external_id, listed.item_id)
        -- In one order, so that two calls with the same items do not deadlock.
        order by listed.site, listed.external_id, listed.item_id, listed.seen_at desc
        on conflict on constraint item_sources_external_id do update set
            url = case when excluded.last_seen_at >= sighting.last_seen_at then excluded.url else sighting.url end,
            first_seen_at = least(excluded.first_seen_at, sighting.first_seen_at),
            last_seen_at = greatest(excluded.last_seen_at, sighting.last_seen_at)
    ), written as (
        insert into public.search_results as result (run_id, item_id, site, page_number, position, created_at)
        select listed.run_id, listed.item_id, listed.site, listed.page_number, listed.position, listed.seen_at
        from listed
        order by listed.page_id, listed.position
        on conflict (run_id, item_id) do nothing
        returning result.run_id
    )
    select coalesce(array_agg(
        row(found.page_id, found.item_ids, coalesce(counted.results, 0))::worker.page_sightings), '{}')
    into sightings
    from (
        select listed.page_id, listed.run_id, array_agg(listed.item_id) as item_ids
        from listed
        group by listed.page_id, listed.run_id
    ) as found
    left join (
        select written.run_id, count(*)::integer as results from written group by written.run_id
    ) as counted on counted.run_id = found.run_id;
    return sightings;
end;
$$;
comment on function worker.write_sightings is
    'Writes the items of pages, each of another run, as sightings of their sites and as results of their runs. Returns '
    'the sightings of each page with items.';

create function worker.update_items(
    kind text, owner_id uuid, site text, seen_at timestamptz, items worker.page_item[], inserted uuid[],
    out with_new_keys uuid[], out with_new_text uuid[], out with_earlier_start uuid[]
)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
begin
    if cardinality(inserted) = cardinality(items) then
        return;
    end if;
    with changed as (
        update public.items as item set
            title = coalesce(page.title, item.title),
            organization = coalesce(page.organization, item.organization),
            organization_key =
                case when page.organization is null then item.organization_key else page.organization_key end,
            location = coalesce(page.location, item.location),
            city = case when page.location is null then item.city else page.city end,
            region = case when page.location is null then item.region else page.region end,
            country = case when page.location is null then item.country else page.country end,
            places = case when page.location is null then item.places else coalesce(page.places, '[]') end,
            is_remote = coalesce(page.is_remote, item.is_remote),
            work_mode = case when page.description is null then coalesce(page.work_mode, item.work_mode)
                             else page.work_mode end,
            job_types = case when page.job_types <> '{}' then page.job_types else item.job_types end,
            posted_at = coalesce(page.posted_at, item.posted_at),
            salary_min = case when page.has_salary then page.salary_min else item.salary_min end,
            salary_max = case when page.has_salary then page.salary_max else item.salary_max end,
            salary_interval = case when page.has_salary then page.salary_interval else item.salary_interval end,
            currency = case when page.has_salary then page.currency else item.currency end,
            salary_yearly_min = case when page.has_salary then page.salary_yearly_min else item.salary_yearly_min end,
            salary_yearly_max = case when page.has_salary then page.salary_yearly_max else item.salary_yearly_max end,
            url = coalesce(page.url, item.url),
            apply_url = coalesce(page.apply_url, item.apply_url),
            apply_key = case when page.apply_url is null then item.apply_key else page.apply_key end,
            -- If nothing changes, the stored value itself: then a long text is neither compressed nor written again.
            description = case when page.description <> item.description or item.description is null
                               then page.description else item.description end,
            text_signature = case when page.description is null then item.text_signature else page.text_signature end,
            skills = case when page.description is null then item.skills else coalesce(page.skills, '{}') end,
            experience_years =
                case when page.description is null then item.experience_years else page.experience_years end,
            data = case when item.data || page.data <> item.data then item.data || page.data else item.data end,
            match_key = case
                when page.match_key is not null then page.match_key
                when coalesce(page.title, item.title) = item.title
                 and coalesce(page.organization, item.organization) is not distinct from item.organization
                 and coalesce(page.location, item.location) is not distinct from item.location then item.match_key
            end,
            place_key = case
                when page.place_key is not null then page.place_key
                when coalesce(page.location, item.location) is not distinct from item.location then item.place_key
            end,
            first_seen_at = least(item.first_seen_at, update_items.seen_at),
            last_seen_at = greatest(item.last_seen_at, update_items.seen_at)
        from unnest(update_items.items) as found
        join public.items as former
            on former.canonical_key = update_items.site || ':' || found.external_id and former.kind = update_items.kind
           and former.owner_id is not distinct from update_items.owner_id
        left join lateral (
            select found.*, coalesce(found.salary_min, found.salary_max) is not null as has_salary
            where update_items.seen_at >= former.last_seen_at
        ) as page on true
        where item.id = former.id and former.id <> all (inserted)
          and (update_items.seen_at >= former.last_seen_at or update_items.seen_at < former.first_seen_at)
        returning item.id,
            (item.apply_key, item.match_key, item.text_signature)
                is distinct from (former.apply_key, former.match_key, former.text_signature) as has_new_keys,
            (item.title, item.organization, item.location, item.description)
                is distinct from (former.title, former.organization, former.location, former.description)
                as has_new_text,
            item.first_seen_at < former.first_seen_at as starts_earlier
    )
    select array_agg(changed.id) filter (where changed.has_new_keys),
           array_agg(changed.id) filter (where changed.has_new_text),
           array_agg(changed.id) filter (where changed.starts_earlier)
    into with_new_keys, with_new_text, with_earlier_start
    from changed;
end;
$$;
comment on function worker.update_items is
    'Updates the items that were known before. A field that is not on the page keeps its value. What is derived '
    'from a field changes with it. A page older than the last sighting changes no field. Returns the items whose '
    'duplicate keys changed, whose text changed, and that were first seen earlier than known.';

create function worker.queue_embeddings(item_ids uuid[]) returns void
language plpgsql set search_path = '' as $$
begin
    -- The model is read now: setting one waits for the transactions that have written items, and queues their items.
    if (select embedding_model is not null from worker.settings) then
        insert into worker.embedding_queue as queued (item_id, due_at)
        select unembedded.id, worker.now() from unnest(item_ids) as unembedded (id) order by unembedded.id
        on conflict (item_id) do update set attempts = 0, due_at = excluded.due_at, error = null;
    end if;
end;
$$;
comment on function worker.queue_embeddings is 'Queues items to be embedded, if there is an embedding model.';

create function worker.load_items(pages worker.loading_page[]) returns worker.load_result[]
language plpgsql set search_path = '' as $$
declare
    new_items record;
    sightings worker.page_sightings[];
    page worker.loading_page;
    on_page uuid[];
    on_pages_before uuid[] := array[]::uuid[];
    changed record;
    with_keys uuid[];
begin
    pages := array(
        select row(given.page_id, given.run_id, given.kind, given.owner_id, given.site, given.page_number, given.seen_at,
                   given.fingerprint, given.reported, worker.read_items(given.reported))::worker.loading_page
        from unnest(pages) as given);
    new_items := worker.insert_items(pages);
    sightings := worker.write_sightings(pages);

    -- From here to the commit, one call at a time: a concurrent page would miss what this one writes, or deadlock.
    perform worker.lock_groups(locked.kind, locked.owner_id)
    from (
        select distinct given.kind, given.owner_id from unnest(pages) as given order by given.kind, given.owner_id
    ) as locked;
    with_keys := new_items.with_keys;
    foreach page in array pages loop
        on_page := (select sighted.item_ids from unnest(sightings) as sighted where sighted.page_id = page.page_id);
        changed := worker.update_items(
            page.kind, page.owner_id, page.site, page.seen_at, page.items,
            inserted => array(
                select unnest(on_page) intersect select unnest(new_items.inserted) except select unnest(on_pages_before)));
        on_pages_before := on_pages_before || on_page;
        perform worker.queue_embeddings(changed.with_new_text);
        if changed.with_earlier_start is not null then
            perform worker.order_groups(changed.with_earlier_start);
        end if;
        with_keys := with_keys || changed.with_new_keys;
    end loop;
    perform worker.queue_embeddings(new_items.inserted);
    perform worker.match_items(with_keys);
    perform worker.write_organizations(pages);

    return array(
        select row(given.page_id, coalesce(sighted.results, 0),
                   worker.count_new_things(given.run_id, given.fingerprint, sighted.item_ids))::worker.load_result
        from unnest(pages) as given
        left join unnest(sightings) as sighted on sighted.page_id = given.page_id);
end;
$$;
comment on function worker.load_items is
    'Writes the items of pages, each of another run, as items, sightings and results of their runs. Idempotent.';

-- pages/load
-- Was a page loaded? completed, partial if some items were invalid, failed if all items were invalid or the tables
-- rejected them.
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

create function worker.log_errors(page_id bigint, errors jsonb, out invalid integer, out is_unreadable boolean)
language plpgsql set search_path = '' as $$
begin
    delete from worker.processing_log as problem where problem.raw_collection_id = page_id;
    with problem as (
        insert into worker.processing_log (raw_collection_id, item_index, error_type, message, field, raw, created_at)
        select page_id, problem.index, problem.type, problem.message, problem.field, problem.raw, worker.now()
        from jsonb_to_recordset(errors)
            as problem (index integer, type text, message text, field text, raw jsonb)
        returning item_index
    )
    select count(problem.item_index), coalesce(bool_or(problem.item_index is null), false)
    into invalid, is_unreadable
    from problem;
end;
$$;
comment on function worker.log_errors is
    'Replaces the log of a page by the errors of its transform. Returns how many items were invalid, and whether '
    'the whole page could not be read.';

create type worker.page_to_load as (
    page_id bigint, version integer, transform_ms integer, completeness jsonb, items jsonb, errors jsonb
);
comment on type worker.page_to_load is 'What a version of its source made of a page.';

create type worker.page_result as (page_id bigint, status text, results integer, things integer);
comment on type worker.page_result is
    'Whether a page was loaded: completed, partial or failed; and what it added, as in worker.load_result.';

create function worker.pages_of(asked worker.page_to_load[]) returns worker.loading_page[]
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    pages worker.loading_page[];
begin
    pages := array(
        select row(raw.id, run.id, run.kind, case when kind.is_private then run.user_id end, raw.site, raw.page_number,
                   raw.fetched_at, raw.query_hash, given.items, null)::worker.loading_page
        from unnest(asked) with ordinality as given (page_id, version, transform_ms, completeness, items, errors, place)
        join worker.raw_collections as raw on raw.id = given.page_id
        join public.search_runs as run on run.id = raw.run_id
        join worker.kinds as kind on kind.kind = run.kind
        order by given.place);
    if cardinality(pages) < cardinality(asked) then
        -- Without its kind, it is unknown whether its items are private.
        raise sqlstate '22023' using message = 'page_id must be the id of a page whose kind is in worker.kinds';
    end if;
    return pages;
end;
$$;
comment on function worker.pages_of is 'Returns pages whose items are to be loaded, with the items unread.';

create function worker.load_pages(asked worker.page_to_load[]) returns worker.page_result[]
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    pages worker.loading_page[] := worker.pages_of(asked);
    loaded worker.load_result[];
    refusal text;
    refused_field text;
    results worker.page_result[];
begin
    if cardinality(asked) = 0 then
        return array[]::worker.page_result[];
    end if;
    begin
        loaded := worker.load_items(pages);
    exception when data_exception or integrity_constraint_violation or program_limit_exceeded then
        if cardinality(asked) > 1 then
            raise;  -- each is to be sent alone
        end if;
        get stacked diagnostics refusal = message_text, refused_field = column_name;
    end;

    with given as materialized (
        select page.*, logged.invalid, logged.is_unreadable, jsonb_array_length(page.items) as valid
        from unnest(asked) as page
        cross join lateral worker.log_errors(page.page_id, page.errors) as logged
    ), refused as (
        insert into worker.processing_log (raw_collection_id, error_type, message, field, created_at)
        select given.page_id, 'load', refusal, nullif(refused_field, ''), worker.now()
        from given where refusal is not null
    ), written as (
        update worker.raw_collections as raw
        set status = case when refusal is not null or given.is_unreadable or (given.valid = 0 and given.invalid > 0)
                               then 'failed'
                          when given.invalid > 0 then 'partial'
                          else 'completed' end,
            version = given.version, item_count = given.valid, invalid_count = given.invalid,
            result_count = coalesce(raw.result_count, 0) + coalesce(known.results, 0),
            new_count = coalesce(known.things, 0),
            completeness = given.completeness, transform_ms = given.transform_ms, transformed_at = worker.now(),
            claimed_until = null
        from given left join unnest(loaded) as known on known.page_id = given.page_id
        where raw.id = given.page_id
        returning raw.id, raw.run_id, raw.site, raw.source, raw.page_number, raw.status,
                  coalesce(known.results, 0) as results, raw.new_count, given.valid, given.invalid,
                  given.is_unreadable, given.errors
    ), alerted as (
        select worker.write_alert(written.run_id, written.site, jsonb_build_object(
            'reason', 'load_failed', 'source', written.source, 'page_number', written.page_number, 'message', refusal))
        from written
        where refusal is not null
        union all
        select worker.write_alert(written.run_id, written.site, jsonb_build_object(
            'reason', 'invalid_items', 'source', written.source, 'page_number', written.page_number,
            'items', written.valid, 'invalid_items', written.invalid, 'message', written.errors -> 0 -> 'message'))
        from written, worker.settings as settings
        where written.is_unreadable or written.invalid > (written.invalid + written.valid) * settings.max_invalid_share
    )
    select array_agg(row(written.id, written.status, written.results, written.new_count)::worker.page_result)
    into results
    from written, (select count(*) from alerted) as alerts;
    return results;
end;
$$;
comment on function worker.load_pages is
    'Loads what versions of their sources made of pages, each of another run. Returns what became of each. If the tables '
    'refuse a page, it fails, and the error is logged; refused together with others, the error is raised. Temporary '
    'errors, such as a deadlock or a timeout, are raised.';

-- pages/save
-- Which pages are saved? Each page of an attempt once, in one transaction with its items and the run's progress. The
-- last page of a site ends the site in the same transaction, and the run with its last site. Small pages of several runs
-- are saved together. Each of them gets its own answer.
-- Calls: kernel/clock, kernel/imports, kernel/lease, sharing/leader_ended, sites/breaker, runs/progress, runs/resume,
--   runs/finish_sites, pages/load.

create type worker.found_page as (
    run_id uuid, lease_token uuid, site text, attempt integer, page_number integer, raw jsonb, items jsonb, errors jsonb,
    progress jsonb, ends text
);
comment on type worker.found_page is 'A page as worker_save_pages takes it.';

create type worker.kept_page as (
    run_id uuid, page_id bigint, status text, account text, results integer, things integer, site_status public.site_status,
    is_current boolean, is_end boolean
);
comment on type worker.kept_page is
    'A page that is stored. is_current: it is of the attempt that searches its site. is_end: its site ends with it.';

create function worker.asked_pages(pages jsonb) returns worker.found_page[]
language plpgsql stable set search_path = '' as $$
declare
    asked worker.found_page[];
    wrong text;
begin
    if jsonb_typeof(pages) is distinct from 'array' or jsonb_array_length(pages) not between 1 and 100 then
        raise sqlstate '22023' using message = 'pages must be an array of 1 to 100 objects';
    end if;
    asked := array(select given from jsonb_populate_recordset(null::worker.found_page, pages) as given);
    if (select count(distinct given.run_id) < count(*) from unnest(asked) as given) then
        raise sqlstate '22023' using message = 'pages must have a run_id in each object, and each run once';
    end if;
    perform worker.require_arrays(given.items, given.errors) from unnest(asked) as given;
    wrong := (select min(given.ends) from unnest(asked) as given where given.ends not in ('site', 'run'));
    if wrong is not null then
        raise sqlstate '22023' using message = format('ends must be site, run or null, not %L', wrong);
    end if;
    return asked;
end;
$$;
comment on function worker.asked_pages is 'Reads the argument of worker_save_pages. Raises 22023 (HTTP 400) if it is wrong.';

create function worker.lock_pages(asked worker.found_page[]) returns jsonb
language plpgsql set search_path = '' as $$
declare
    states jsonb;
begin
    select jsonb_object_agg(lease.run_id, lease.state) into states
    from worker.lock_leases(array(select given.run_id from unnest(asked) as given),
                            array(select given.lease_token from unnest(asked) as given)) as lease;
    -- A second statement, because a run may have ended while the first one waited for its lock.
    return (
        select jsonb_object_agg(given.run_id, case
            when state.name = 'lease_lost' and given.ends = 'run'
                 and worker.has_ended_attempt(given.run_id, given.lease_token) then 'ended'
            -- Its page counts for a breaker, whose row must not be locked before those of other sites.
            when state.name = 'held' and cardinality(asked) > 1 and exists (
                select from worker.site_searches as search
                join worker.site_health as health on health.site = search.site and health.exit = search.exit
                where search.run_id = given.run_id
                  and (health.prober_run_id = search.run_id or health.latest_outcomes <> '')) then 'busy'
            else state.name end)
        from unnest(asked) as given
        cross join lateral (select states ->> given.run_id::text as name) as state
    );
end;
$$;
comment on function worker.lock_pages is
    'Locks the runs of pages. Returns their states by id, as worker.lock_leases does; ended: with this page, before.';

create function worker.insert_pages(asked worker.found_page[]) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    -- One time for all: of the same item on two of them, the second one counts.
    saved_at timestamptz := worker.now();
begin
    insert into worker.raw_collections (run_id, source, site, attempt, page_number, query, query_hash, payload,
                                        response_ms, calls_used, account, cursor, is_last, fetched_at, strategy)
    select run.id, given.raw ->> 'source', started.site, given.attempt, given.page_number,
           run.parameters, run.fingerprint, given.raw -> 'payload', (given.raw ->> 'response_ms')::integer,
           (given.raw ->> 'calls_used')::integer,
           coalesce(given.raw ->> 'account', ''), nullif(given.raw -> 'cursor', 'null'),
           coalesce((given.raw ->> 'is_last')::boolean, false), saved_at,
           case run.source when 'cron' then 'scheduled' when 'import' then 'import' else 'manual' end
    from unnest(asked) as given
    join public.search_runs as run on run.id = given.run_id
    join public.search_run_sites as started on started.run_id = run.id and started.site = given.site
    where started.completed_at is null
      -- Also pages of an earlier attempt, which may have waited on a worker's disk.
      and given.attempt between 1 and started.attempts
    on conflict on constraint raw_collections_page do nothing;
end;
$$;
comment on function worker.insert_pages is
    'Inserts pages of sites that were started and have not ended, unless they were saved before.';

create function worker.kept_pages(asked worker.found_page[]) returns worker.kept_page[]
language plpgsql stable set search_path = '' as $$
begin
    return array(
        select row(kept.run_id, kept.id, kept.status, kept.account, kept.result_count, kept.new_count, searched.status,
                   searched.status = 'running' and searched.attempts = given.attempt,
                   -- Its followers end with a run, which is too much to do under the locks of a page.
                   given.ends is not null and not worker.has_dependents(given.run_id, by_answered => false)
               )::worker.kept_page
        from unnest(asked) as given
        join worker.raw_collections as kept
            on kept.run_id = given.run_id and kept.site = given.site
           and kept.attempt = given.attempt and kept.page_number = given.page_number
        join public.search_run_sites as searched on searched.run_id = given.run_id and searched.site = given.site);
end;
$$;
comment on function worker.kept_pages is 'Returns the stored pages among those that are to be saved.';

create function worker.record_pages(asked worker.found_page[], kept worker.kept_page[], loaded worker.page_result[])
returns jsonb
language plpgsql set search_path = '' as $$
declare
    shown jsonb;
begin
    select jsonb_object_agg(given.run_id, worker.show_progress(given.run_id, given.progress)) into shown
    from unnest(asked) as given
    join unnest(kept) as stored on stored.run_id = given.run_id
    join unnest(loaded) as now on now.page_id = stored.page_id
    where not stored.is_end;

    -- A page from a file, or one that waited on a worker's disk, says nothing about the current state of the site.
    perform worker.record_good_page(given.run_id, given.site, stored.account)
    from unnest(asked) as given
    join unnest(kept) as stored on stored.run_id = given.run_id
    join unnest(loaded) as now on now.page_id = stored.page_id
    where not stored.is_end and now.status <> 'failed' and stored.is_current and not worker.is_import(given.run_id);
    return coalesce(shown, '{}');
end;
$$;
comment on function worker.record_pages is
    'Shows the progress of runs whose pages were loaded, and records good pages for their sites. Returns for each run '
    'the seconds until its progress can be shown; null if it was.';

create function worker.end_with_pages(asked worker.found_page[], kept worker.kept_page[]) returns jsonb
language plpgsql set search_path = '' as $$
declare
    finished jsonb;
    answers jsonb;
begin
    select jsonb_agg(jsonb_build_object(
        'run_id', given.run_id, 'lease_token', given.lease_token, 'site', given.site, 'account', stored.account,
        'ends_run', given.ends = 'run'))
    into finished
    from unnest(asked) as given join unnest(kept) as stored on stored.run_id = given.run_id
    where stored.is_end;
    if finished is not null then
        select jsonb_object_agg(ended.finished ->> 'run_id', ended.answer) into answers
        from rows from (
            jsonb_array_elements(finished), jsonb_array_elements(public.worker_finish_sites(finished))
        ) as ended (finished, answer);
    end if;
    return coalesce(answers, '{}');
end;
$$;
comment on function worker.end_with_pages is
    'Ends the sites whose last pages are saved, and the runs. Returns the answers of worker_finish_sites by run.';

create function public.worker_save_pages(pages jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    asked worker.found_page[];
    states jsonb;
    held worker.found_page[];
    kept worker.kept_page[];
    loaded worker.page_result[];
    shown jsonb;
    ended jsonb;
begin
    asked := worker.asked_pages(pages);
    states := worker.lock_pages(asked);
    held := array(select given from unnest(asked) as given where states ->> given.run_id::text in ('held', 'ended'));
    perform worker.insert_pages(held);
    kept := worker.kept_pages(held);
    loaded := worker.load_pages(array(
        select row(stored.page_id, (given.raw ->> 'version')::integer, (given.raw ->> 'transform_ms')::integer,
                   given.raw -> 'completeness', given.items, given.errors)::worker.page_to_load
        from unnest(held) with ordinality as given (
            run_id, lease_token, site, attempt, page_number, raw, items, errors, progress, ends, place)
        join unnest(kept) as stored on stored.run_id = given.run_id
        where stored.status = 'fetched'
        order by given.place));
    shown := worker.record_pages(held, kept, loaded);
    ended := worker.end_with_pages(held, kept);

    return (
        select jsonb_agg(case
            when states ->> given.run_id::text not in ('held', 'ended') then
                jsonb_build_object('state', states -> given.run_id::text)
            when stored.page_id is null then jsonb_build_object(
                'state', 'refused',
                'message', format('site must be one that was started with worker_start_sites, not %L', given.site))
            else jsonb_build_object(
                    'state', 'done', 'status', coalesce(now.status, stored.status),
                    'results', coalesce(now.results, stored.results), 'new', coalesce(now.things, stored.things))
                || jsonb_strip_nulls(jsonb_build_object('shown_in_seconds', shown -> given.run_id::text))
                || case when ended ? given.run_id::text
                        then jsonb_build_object('end', ended -> given.run_id::text) else '{}' end
                -- A running search does not resume: it already has its cursor.
                || case when stored.site_status = 'pending' then jsonb_build_object('pending_site', (
                       select worker.site_to_search(searched) from public.search_run_sites as searched
                       where searched.run_id = given.run_id and searched.site = given.site)) else '{}' end
            end order by given.place)
        from unnest(asked) with ordinality as given (
            run_id, lease_token, site, attempt, page_number, raw, items, errors, progress, ends, place)
        left join unnest(kept) as stored on stored.run_id = given.run_id
        left join unnest(loaded) as now on now.page_id = stored.page_id
    );
end;
$$;
comment on function public.worker_save_pages is
    'Saves pages of several runs: [{run_id, lease_token, site, attempt, page_number, raw, items, errors, progress, ends}], '
    'each run once. It loads their items and writes the runs'' progress, in one transaction. raw is {source, version, payload, '
    'response_ms, calls_used, account (that it was fetched through), cursor (where the next page begins), is_last, '
    'transform_ms, completeness}; items are as in worker.page_item, errors {index, type, message, field, raw}. ends is '
    'site if the site has no more pages, run if the run has no more sites either. Returns for each {state, message, '
    'status, results, new, shown_in_seconds, pending_site, end}. state is done; lease_lost or cancelled; refused, with a message; '
    'busy: another transaction has locked the run, send it alone. status is completed, partial (some items were invalid) or failed (all '
    'were invalid, or they were not loaded). results is the number of results new to the run, new of things that no '
    'earlier run of the same search had. shown_in_seconds is there if the last change of the run is too recent to write '
    'its progress: after that time it can be written. pending_site is there while the site is pending, as it is for a '
    'page of an earlier attempt; it is as in worker.site_to_search. end is there if the site was ended, as worker_finish_sites '
    'returns it; without it, as for a run with followers, the site is still to be ended. Idempotent.';

-- pages/reprocess
-- Which pages are loaded again, without a request to the site? Those that an operator marks.
-- Calls: kernel/clock, kernel/counts, pages/load.

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
    'Marks pages for reprocessing by any worker: those fetched since a time, by a source, with a status (null: '
    'all). Returns how many.';

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
    'Leases up to batch pages of the given sources that are marked for reprocessing, for 5 minutes.';

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

    -- Also of the runs that it answered.
    update public.search_runs as run
    set jobs_found = counted.results, items_found = things.items_found, new_items = things.new_items
    from (
        select count(*) as results from public.search_results as result where result.run_id = recount_results.run_id
    ) as counted,
        worker.things_found(array(
            select known.id from public.search_runs as known
            where known.id = recount_results.run_id or known.shared_run_id = recount_results.run_id)) as things
    where run.id = things.run_id
      and (run.jobs_found, run.items_found, run.new_items)
          is distinct from (counted.results, things.items_found, things.new_items);
end;
comment on function worker.recount_results is 'Counts the results of a run and of one of its sites again.';

create function public.worker_load_page(
    page_id bigint, version integer, transform_ms integer, completeness jsonb, items jsonb, errors jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    page record;
    loaded worker.page_result;
begin
    perform worker.require_arrays(worker_load_page.items, worker_load_page.errors);
    select kept.run_id, kept.site into page
    from worker.raw_collections as kept join public.search_runs as run on run.id = kept.run_id
    where kept.id = worker_load_page.page_id;
    if not found then
        raise sqlstate 'PT404' using message = 'page_id must be the id of a stored page';
    end if;

    -- The run before its page, in the same order as worker_save_pages.
    perform from public.search_runs as run where run.id = page.run_id for no key update;
    perform from worker.raw_collections as kept where kept.id = worker_load_page.page_id for no key update;
    loaded := (worker.load_pages(array[row(
        worker_load_page.page_id, worker_load_page.version, worker_load_page.transform_ms,
        worker_load_page.completeness, worker_load_page.items, worker_load_page.errors)::worker.page_to_load]))[1];
    if loaded.results > 0 then
        perform worker.recount_results(page.run_id, page.site);
    end if;
    return jsonb_build_object('status', loaded.status, 'results', loaded.results, 'new', loaded.things);
end;
$$;
comment on function public.worker_load_page is
    'Loads a claimed page into the results of its run, which may have ended. Returns {status, results, new} like '
    'worker_save_pages. Idempotent.';

-- webhooks/endpoints
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

-- webhooks/deliveries
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

-- alerts/queue
-- How is the queue for those who wait? The runs that a claim finds next are looked at, and no more than 10,000 of each
-- kind, so that the cost is bounded.
-- Calls: kernel/clock.

create function worker.waiting_runs() returns table (is_ready boolean, since timestamptz, waiting_since timestamptz)
language sql stable set search_path = ''
begin atomic
    -- A run whose owner searches as much as is allowed waits for the owner's own runs.
    with busy as materialized (
        select lease.user_id from worker.leases as lease
        group by lease.user_id
        having count(*) >= (select settings.max_running_per_user from worker.settings as settings)
    ), ready as (
        select run.user_id, run.updated_at, run.started_at
        from public.search_runs as run
        where run.status = 'pending' and run.run_after is null and run.leader_run_id is null
        order by run.priority desc, run.position
        limit 10000
    ), delayed as (
        select run.user_id, run.run_after, run.started_at
        from public.search_runs as run
        where run.status = 'pending' and run.run_after is not null
        order by run.run_after
        limit 10000
    )
    select true, ready.updated_at, coalesce(ready.started_at, ready.updated_at)
    from ready
    where ready.user_id not in (select busy.user_id from busy)
    union all
    -- A run that is due becomes ready at the next claim.
    select false, delayed.run_after, coalesce(delayed.started_at, delayed.run_after)
    from delayed
    where delayed.user_id not in (select busy.user_id from busy);
end;
comment on function worker.waiting_runs is
    'Returns runs that wait: since when each could be claimed, and since when it has not ended. Of a run that is to start '
    'later, both are in the future.';

create function worker.oldest_ready_seconds() returns double precision
language sql stable set search_path = ''
return (select extract(epoch from worker.now() - min(waiting.since)) from worker.waiting_runs() as waiting
        where waiting.since <= worker.now());
comment on function worker.oldest_ready_seconds is
    'Returns for how many seconds the oldest ready run waits for a worker; null without one.';

create function worker.oldest_due_slot_seconds() returns double precision
language sql stable set search_path = ''
return (select extract(epoch from worker.now() - min(schedule.next_slot_at)) from public.search_schedules as schedule
        where schedule.paused is null and schedule.next_slot_at <= worker.now());
comment on function worker.oldest_due_slot_seconds is
    'Returns for how many seconds the oldest slot that was not fired is due; null without one.';

-- alerts/measures
-- When is each alert rule broken? Each function measures one rule and returns a row for each subject: the value, and a
-- sentence. The rows of the period are read through an index, and at most 10,000 of them.
-- Calls: kernel/clock, sites/exits, alerts/queue.

create function worker.percent(share double precision) returns text
language sql immutable set search_path = ''
return round((100 * share)::numeric, 1)::float8 || ' %';
comment on function worker.percent is 'Returns a share for people: 0.125 is 12.5 %.';

create function worker.duration(seconds double precision) returns text
language sql immutable set search_path = ''
return case
    when seconds < 120 then floor(seconds) || ' s'
    when seconds < 7200 then floor(seconds / 60) || ' min'
    else round((seconds / 3600)::numeric, 1)::float8 || ' h' end;
comment on function worker.duration is 'Returns a duration for people: 90 s, 15 min or 2.5 h.';

create function worker.measured_failure_rate(period interval, least_count integer)
returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    with ended as materialized (
        select run.status, run.source, run.error_code
        from public.search_runs as run
        where run.completed_at > worker.now() - measured_failure_rate.period
        order by run.completed_at desc
        limit 10000
    ), counted as (
        select ended.status = 'failed' as has_failed, ended.error_code
        from ended
        where ended.status <> 'cancelled' and ended.source <> 'import'
          -- What the user can put right: a user could raise the alarm with a board that does not exist.
          and (ended.status <> 'failed' or ended.error_code not in ('invalid_parameters', 'not_found'))
    )
    select '', avg(counted.has_failed::integer)::double precision,
           format('%s of %s runs failed (%s), most often with %s.', count(*) filter (where counted.has_failed), count(*),
                  worker.percent(avg(counted.has_failed::integer)),
                  coalesce(mode() within group (order by counted.error_code) filter (where counted.has_failed), 'no error'))
    from counted
    having count(*) >= measured_failure_rate.least_count;
end;
comment on function worker.measured_failure_rate is
    'Measures failure_rate: the share of the ended runs that failed. Cancelled runs, imports, and runs that failed with '
    'invalid_parameters or not_found do not count.';

create function worker.measured_oldest_ready_run() returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select '', oldest.seconds, format('The oldest ready run has waited %s for a worker.', worker.duration(oldest.seconds))
    from worker.oldest_ready_seconds() as oldest (seconds);
end;
comment on function worker.measured_oldest_ready_run is
    'Measures oldest_ready_run: for how many seconds a ready run has waited for a worker.';

create function worker.measured_no_worker() returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select '', last.seconds, format('No worker was seen for %s.', worker.duration(last.seconds))
    from (select extract(epoch from worker.now() - max(known.seen_at))::double precision as seconds
          from worker.workers as known) as last
    where last.seconds is not null;
end;
comment on function worker.measured_no_worker is
    'Measures no_worker: the seconds since the last sign of any worker. Nothing if there was none within a day.';

create function worker.measured_late_slot() returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select '', oldest.seconds, format('A slot of a schedule has been due for %s.', worker.duration(oldest.seconds))
    from worker.oldest_due_slot_seconds() as oldest (seconds);
end;
comment on function worker.measured_late_slot is
    'Measures late_slot: for how many seconds the oldest slot that was not fired is due.';

create function worker.measured_site_paused(period interval)
returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    with health as (
        select known.site, known.account = '' as is_shared, known.paused_by, known.paused_until,
               case when known.paused_until > worker.now() - measured_site_paused.period then known.trips else 0 end as trips
        from worker.account_health() as known
        -- Accounts that were not used for a day say nothing about the site.
        where known.account = '' or exists (
            select from worker.site_health as used
            where used.site = known.site and used.account = known.account
              and used.updated_at > worker.now() - interval '1 day')
    )
    select health.site,
           greatest(coalesce(max(health.trips) filter (where health.is_shared), 0),
                    coalesce(min(health.trips) filter (where not health.is_shared), 0))::double precision,
           format('%s is paused until %s because of %s; pauses in a row: %s.', health.site,
                  worker.format_time(max(health.paused_until)), max(health.paused_by), max(health.trips))
    from health
    group by health.site;
end;
comment on function worker.measured_site_paused is
    'Measures site_paused for each site: how often in a row its circuit breaker has opened. Through accounts, a site '
    'counts if all of those are paused that were used within a day.';

create function worker.measured_quota() returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select bucket.bucket, spent.used / bucket.quota::double precision,
           format('%s of %s requests of the quota of %s are used (%s), until %s.', spent.used, bucket.quota, bucket.bucket,
                  worker.percent(spent.used / bucket.quota::double precision),
                  worker.format_time(bucket.quota_resets_at))
    from worker.site_buckets as bucket
    cross join lateral (select greatest(bucket.quota_used, bucket.quota - bucket.told_left) as used) as spent
    where bucket.account = '' and bucket.quota > 0 and bucket.quota_resets_at > worker.now();
end;
comment on function worker.measured_quota is
    'Measures quota for each bucket that all users share: which share is used. Accounts belong to their users.';

create function worker.measured_pages(period interval)
returns table (source text, site text, is_failed boolean, items integer, invalid_items integer)
language sql stable set search_path = ''
begin atomic
    select page.source, page.site, page.status = 'failed', coalesce(page.item_count, 0), coalesce(page.invalid_count, 0)
    from (
        select raw.source, raw.site, raw.status, raw.strategy, raw.item_count, raw.invalid_count
        from worker.raw_collections as raw
        where raw.fetched_at > worker.now() - measured_pages.period
        order by raw.fetched_at desc
        limit 10000
    ) as page
    where page.status <> 'fetched' and page.strategy <> 'import';
end;
comment on function worker.measured_pages is
    'Returns the pages of the period that were processed; not those of imported files.';

create function worker.measured_processing_errors(period interval, least_count integer)
returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select page.source, avg(page.is_failed::integer)::double precision,
           format('%s of %s pages of the source %s could not be processed (%s).', count(*) filter (where page.is_failed),
                  count(*), page.source, worker.percent(avg(page.is_failed::integer)))
    from worker.measured_pages(measured_processing_errors.period) as page
    group by page.source
    having count(*) >= measured_processing_errors.least_count;
end;
comment on function worker.measured_processing_errors is
    'Measures processing_errors for each source: the share of its pages that failed.';

create function worker.measured_waiting() returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select '', extract(epoch from worker.now() - min(waiting.waiting_since))::double precision,
           format('%s runs wait, the oldest for %s.', count(*),
                  worker.duration(extract(epoch from worker.now() - min(waiting.waiting_since))))
    from worker.waiting_runs() as waiting
    where waiting.waiting_since <= worker.now()
    having count(*) > 0;
end;
comment on function worker.measured_waiting is
    'Measures waiting: for how many seconds the oldest run waits in all: for a worker, for a retry or for its sites.';

create function worker.measured_invalid_items(period interval, least_count integer)
returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select page.site, sum(page.invalid_items)::double precision / sum(page.items + page.invalid_items),
           format('%s of %s items of %s were invalid (%s).', sum(page.invalid_items), sum(page.items + page.invalid_items),
                  page.site,
                  worker.percent(sum(page.invalid_items)::double precision / sum(page.items + page.invalid_items)))
    from worker.measured_pages(measured_invalid_items.period) as page
    group by page.site
    having sum(page.items + page.invalid_items) >= measured_invalid_items.least_count;
end;
comment on function worker.measured_invalid_items is
    'Measures invalid_items for each site: the share of the items on its pages that could not be read.';

create function worker.measured_refused_pages(period interval)
returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select refused.site, count(*)::double precision,
           format('The database refused %s pages of %s: %s', count(*), refused.site,
                  -- It may have text of a site, and chat services read <...> as links and mentions.
                  left(translate((array_agg(refused.data ->> 'message' order by refused.created_at desc))[1], '<>', ''), 200))
    from (
        select event.site, event.data, event.created_at from public.run_events as event
        where event.event = 'alert' and event.created_at > worker.now() - measured_refused_pages.period
        order by event.created_at desc
        limit 10000
    ) as refused
    where refused.data ->> 'reason' in ('load_failed', 'page_refused')
    group by refused.site;
end;
comment on function worker.measured_refused_pages is
    'Measures refused_pages for each site: pages whose items the tables rejected, or that could not be saved at all.';

create function worker.measured_worker_lost(period interval)
returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    with rescued as (
        select event.run_id from public.run_events as event
        where event.event = 'rescued' and event.created_at > worker.now() - measured_worker_lost.period
        order by event.created_at desc
        limit 10000
    ), ended as (
        select run.id, run.error_code from public.search_runs as run
        where run.completed_at > worker.now() - measured_worker_lost.period
        order by run.completed_at desc
        limit 10000
    ), lost as (
        select ended.id from ended where ended.error_code = 'worker_lost'
    )
    select '', count(*)::double precision,
           format('A worker died with %s runs; %s of them failed because of it.', count(*),
                  (select count(*) from lost))
    from (select rescued.run_id from rescued union select lost.id from lost) as affected
    having count(*) > 0;
end;
comment on function worker.measured_worker_lost is
    'Measures worker_lost: the runs that were rescued from a dead worker, or failed with it.';

create function worker.measured_schedules_failing(period interval)
returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select '', count(*)::double precision,
           format('%s schedules were paused because their last runs failed.', count(*))
    from (
        select from public.search_schedules as schedule
        where schedule.paused = 'failing' and schedule.updated_at > worker.now() - measured_schedules_failing.period
        limit 10000
    ) as failing
    having count(*) > 0;
end;
comment on function worker.measured_schedules_failing is
    'Measures schedules_failing: the schedules that were paused as failing within the period.';

create function worker.broken_rules()
returns table (rule text, subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select known.rule, measured.subject, measured.value, measured.detail
    from worker.alert_rules as known
    cross join lateral (
        select of_rule.* from worker.measured_failure_rate(known.period, known.least_count) as of_rule
        where known.rule = 'failure_rate'
        union all
        select of_rule.* from worker.measured_oldest_ready_run() as of_rule where known.rule = 'oldest_ready_run'
        union all
        select of_rule.* from worker.measured_no_worker() as of_rule where known.rule = 'no_worker'
        union all
        select of_rule.* from worker.measured_late_slot() as of_rule where known.rule = 'late_slot'
        union all
        select of_rule.* from worker.measured_site_paused(known.period) as of_rule where known.rule = 'site_paused'
        union all
        select of_rule.* from worker.measured_quota() as of_rule where known.rule = 'quota'
        union all
        select of_rule.* from worker.measured_processing_errors(known.period, known.least_count) as of_rule
        where known.rule = 'processing_errors'
        union all
        select of_rule.* from worker.measured_waiting() as of_rule where known.rule = 'waiting'
        union all
        select of_rule.* from worker.measured_invalid_items(known.period, known.least_count) as of_rule
        where known.rule = 'invalid_items'
        union all
        select of_rule.* from worker.measured_refused_pages(known.period) as of_rule where known.rule = 'refused_pages'
        union all
        select of_rule.* from worker.measured_worker_lost(known.period) as of_rule where known.rule = 'worker_lost'
        union all
        select of_rule.* from worker.measured_schedules_failing(known.period) as of_rule
        where known.rule = 'schedules_failing'
    ) as measured
    where known.is_enabled and measured.value >= known.threshold;
end;
comment on function worker.broken_rules is
    'Measures the enabled rules; returns those whose value reaches the threshold, with each subject.';

-- alerts/incidents
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

-- alerts/notices
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

-- alerts/rules
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

-- operators/run_counts
-- Which runs are counted, and as what? Each run once, after it has ended, in the hour and the day of its completed_at.
-- A run may appear late: its transaction commits late, or it ends with a leader that ended before. So the last two hours
-- are always looked at again. A run that is deleted before it is counted does not count, except by retention.
-- Calls: kernel/clock, schedules/slots.

create function worker.time_buckets() returns double precision[]
language sql immutable set search_path = ''
return array[1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21600]::double precision[];
comment on function worker.time_buckets is
    'Upper bounds of the buckets of durations and waits, in seconds. One more bucket has all that is longer.';

create function worker.histogram(seconds double precision[]) returns bigint[]
language sql immutable set search_path = ''
return array(
    select count(given.seconds)
    from generate_series(0, cardinality(worker.time_buckets())) as bucket (number)
    left join unnest(histogram.seconds) as given (seconds)
        on width_bucket(given.seconds, worker.time_buckets()) = bucket.number
    group by bucket.number
    order by bucket.number
);
comment on function worker.histogram is 'Returns how many times are in each bucket of worker.time_buckets. Nulls are in none.';

create function worker.add_histograms(one bigint[], other bigint[]) returns bigint[]
language sql immutable set search_path = ''
return array(
    select pair.one + pair.other
    from unnest(add_histograms.one, add_histograms.other) with ordinality as pair (one, other, number)
    order by pair.number
);
comment on function worker.add_histograms is 'Returns the sum of two histograms, bucket by bucket.';

create function worker.add_fields(one jsonb, other jsonb) returns jsonb
language sql immutable set search_path = ''
begin atomic
    select coalesce(jsonb_object_agg(summed.name, summed.items), '{}')
    from (
        select field.name, sum(field.items::bigint) as items
        from (select * from jsonb_each_text(add_fields.one) union all select * from jsonb_each_text(add_fields.other))
            as field (name, items)
        group by field.name
    ) as summed;
end;
comment on function worker.add_fields is 'Returns the sums of worker.page_stats.fields.';

create function worker.sites_to_count(run_ids uuid[]) returns setof public.search_run_sites
language sql stable set search_path = ''
begin atomic
    select site.*
    from public.search_runs as run
    join public.search_run_sites as site on site.run_id = run.id
    -- A run that was answered at once has the sites of the run that answered it, if that was deleted.
    where run.id = any (sites_to_count.run_ids) and site.completed_at >= run.created_at;
end;
comment on function worker.sites_to_count is 'Returns the sites that runs have searched.';

create function worker.pages_to_count(run_ids uuid[]) returns table (
    run_id uuid, site text, source text, day date, requests integer, is_failed boolean, is_of_last_search boolean,
    items integer, invalid_items integer, new_items integer, completeness jsonb
)
language sql stable set search_path = ''
begin atomic
    select page.run_id, page.site, page.source, (run.completed_at at time zone 'UTC')::date, page.calls_used,
           page.status = 'failed',
           page.attempt >= max(page.attempt) filter (where page.page_number = 1) over (partition by page.run_id, page.site),
           page.item_count, page.invalid_count, page.new_count, page.completeness
    from worker.sites_to_count(pages_to_count.run_ids) as site
    join public.search_runs as run on run.id = site.run_id
    join worker.raw_collections as page on page.run_id = site.run_id and page.site = site.site;
end;
comment on function worker.pages_to_count is
    'Returns the pages of the sites of runs. A search that began with the first page again found its items again.';

create function worker.rows_to_count(run_ids uuid[]) returns table (
    site text, kind text, source public.run_source, outcome text, error_code text, completed_at timestamptz,
    duration double precision, wait double precision, attempts integer, pages bigint, requests bigint, items integer,
    new_items bigint, valid_items bigint, invalid_items bigint
)
language sql stable set search_path = ''
begin atomic
    with page as materialized (
        select found.run_id, found.site, count(*) as pages, sum(found.requests) as requests,
               sum(found.new_items) filter (where found.is_of_last_search) as new_items,
               sum(found.items) filter (where found.is_of_last_search) as valid_items,
               sum(found.invalid_items) filter (where found.is_of_last_search) as invalid_items
        from worker.pages_to_count(rows_to_count.run_ids) as found
        group by found.run_id, found.site
    ), run_page as (
        select page.run_id, sum(page.pages) as pages, sum(page.requests) as requests,
               sum(page.valid_items) as valid_items, sum(page.invalid_items) as invalid_items
        from page
        group by page.run_id
    )
    select '', run.kind, run.source, run.status::text, coalesce(run.error_code, ''), run.completed_at,
           -- A run that was answered with the results of a deleted one has started before it was inserted.
           case when run.started_at >= run.created_at then extract(epoch from run.completed_at - run.started_at) end,
           case when run.started_at >= run.created_at and run.source <> 'import' then extract(epoch from run.started_at
               - least(run.started_at, greatest(run.created_at, worker.jittered_slot(run.slot_at, run.fingerprint)))) end,
           run.attempts, page.pages, page.requests, run.items_found, run.new_items, page.valid_items, page.invalid_items
    from public.search_runs as run
    left join run_page as page on page.run_id = run.id
    where run.id = any (rows_to_count.run_ids)
    union all
    select site.site, run.kind, run.source, site.status::text, coalesce(site.error_code, ''), run.completed_at,
           extract(epoch from site.completed_at - site.started_at), null, site.attempts, page.pages, page.requests,
           site.jobs_found, page.new_items, page.valid_items, page.invalid_items
    from worker.sites_to_count(rows_to_count.run_ids) as site
    join public.search_runs as run on run.id = site.run_id
    left join page on page.run_id = site.run_id and page.site = site.site;
end;
comment on function worker.rows_to_count is
    'Returns what counts of ended runs: a row for each run, with an empty site, and one for each of its sites. Times are in '
    'seconds.';

create function worker.add_to_run_stats(run_ids uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    with counted as materialized (
        select * from worker.rows_to_count(add_to_run_stats.run_ids)
    ), total as (
        insert into worker.run_totals as known (
            span, begins_at, outcome, runs, durations, waits, pages, requests, items, new_items)
        select span.name, date_trunc(span.name, counted.completed_at, 'UTC'), counted.outcome, count(*),
               worker.histogram(array_agg(counted.duration)), worker.histogram(array_agg(counted.wait)),
               coalesce(sum(counted.pages), 0), coalesce(sum(counted.requests), 0), sum(counted.items),
               coalesce(sum(counted.new_items), 0)
        from counted
        cross join (values ('hour'), ('day')) as span (name)
        where counted.site = ''
        group by 1, 2, 3
        on conflict (span, begins_at, outcome) do update
        set runs = known.runs + excluded.runs,
            durations = worker.add_histograms(known.durations, excluded.durations),
            waits = worker.add_histograms(known.waits, excluded.waits),
            pages = known.pages + excluded.pages,
            requests = known.requests + excluded.requests,
            items = known.items + excluded.items,
            new_items = known.new_items + excluded.new_items
    )
    insert into worker.run_stats as known (
        span, begins_at, site, kind, source, outcome, error_code, runs, durations, waits, attempts, pages, requests, items,
        new_items, valid_items, invalid_items)
    select span.name, date_trunc(span.name, counted.completed_at, 'UTC'), counted.site, counted.kind, counted.source,
           counted.outcome, counted.error_code, count(*), worker.histogram(array_agg(counted.duration)),
           worker.histogram(array_agg(counted.wait)), sum(counted.attempts), coalesce(sum(counted.pages), 0),
           coalesce(sum(counted.requests), 0), sum(counted.items), coalesce(sum(counted.new_items), 0),
           coalesce(sum(counted.valid_items), 0), coalesce(sum(counted.invalid_items), 0)
    from counted
    cross join (values ('hour'), ('day')) as span (name)
    group by 1, 2, 3, 4, 5, 6, 7
    on conflict (span, site, begins_at, kind, source, outcome, error_code) do update
    set runs = known.runs + excluded.runs,
        durations = worker.add_histograms(known.durations, excluded.durations),
        waits = worker.add_histograms(known.waits, excluded.waits),
        attempts = known.attempts + excluded.attempts,
        pages = known.pages + excluded.pages,
        requests = known.requests + excluded.requests,
        items = known.items + excluded.items,
        new_items = known.new_items + excluded.new_items,
        valid_items = known.valid_items + excluded.valid_items,
        invalid_items = known.invalid_items + excluded.invalid_items;
end;
comment on function worker.add_to_run_stats is 'Adds ended runs to worker.run_stats and worker.run_totals.';

create function worker.add_to_page_stats(run_ids uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    with page as materialized (
        select found.* from worker.pages_to_count(add_to_page_stats.run_ids) as found
    ), field as (
        select summed.day, summed.site, summed.source, jsonb_object_agg(summed.name, summed.items) as fields
        from (
            select page.day, page.site, page.source, share.key as name,
                   round(sum(share.value::numeric * page.items)) as items
            from page cross join lateral jsonb_each_text(page.completeness) as share
            group by page.day, page.site, page.source, share.key
        ) as summed
        group by summed.day, summed.site, summed.source
    )
    insert into worker.page_stats as known (day, site, source, pages, failed_pages, items, invalid_items, fields)
    select page.day, page.site, page.source, count(*), count(*) filter (where page.is_failed),
           coalesce(sum(page.items), 0), coalesce(sum(page.invalid_items), 0), coalesce((
               select field.fields from field
               where (field.day, field.site, field.source) = (page.day, page.site, page.source)), '{}')
    from page
    group by page.day, page.site, page.source
    on conflict (day, site, source) do update
    set pages = known.pages + excluded.pages,
        failed_pages = known.failed_pages + excluded.failed_pages,
        items = known.items + excluded.items,
        invalid_items = known.invalid_items + excluded.invalid_items,
        fields = worker.add_fields(known.fields, excluded.fields);
end;
comment on function worker.add_to_page_stats is 'Adds the pages of ended runs to worker.page_stats.';

create function worker.count_runs(run_ids uuid[]) returns integer
language plpgsql set search_path = '' as $$
declare
    marked uuid[];
begin
    with mark as (
        insert into worker.counted_runs (run_id, completed_at)
        select run.id, run.completed_at
        from public.search_runs as run
        where run.id = any (run_ids)
          and run.completed_at >= (select task.after_at from worker.housekeeping as task where task.task = 'run_counts')
        on conflict (run_id) do nothing
        returning counted_runs.run_id
    )
    select array_agg(mark.run_id) into marked from mark;
    if marked is null then
        return 0;
    end if;
    perform worker.add_to_run_stats(marked);
    perform worker.add_to_page_stats(marked);
    return cardinality(marked);
end;
$$;
comment on function worker.count_runs is
    'Counts those of the given runs that have ended and are not counted yet, and returns how many. The caller has locked '
    'the task run_counts of worker.housekeeping.';

create function worker.count_before_deletion(run_ids uuid[]) returns uuid[]
language plpgsql set search_path = '' as $$
begin
    perform from worker.housekeeping as task where task.task = 'run_counts' for update skip locked;
    if not found then
        return array[]::uuid[];
    end if;
    perform worker.count_runs(run_ids);
    return run_ids;
end;
$$;
comment on function worker.count_before_deletion is
    'Counts the given runs, if they are not counted yet. Returns those that can be deleted: none while a worker is counting.';

create function worker.count_next_runs(after_at timestamptz, batch integer) returns boolean
language plpgsql set search_path = '' as $$
declare
    next_ids uuid[];
    last_at timestamptz;
begin
    select array_agg(next.id), max(next.completed_at) into next_ids, last_at
    from (
        select run.id, run.completed_at from public.search_runs as run
        where run.completed_at >= count_next_runs.after_at
          and not exists (select from worker.counted_runs as counted where counted.run_id = run.id)
          -- Its pages may be moved to another run, which then counts them.
          and not exists (select from worker.ended_leaders as ended where ended.run_id = run.id)
        order by run.completed_at
        limit batch
    ) as next;
    perform worker.count_runs(next_ids);

    update worker.housekeeping as task
    set after_at = greatest(task.after_at, least(
        worker.now() - interval '2 hours',
        case when cardinality(next_ids) = batch then last_at end,
        -- Its followers will end at the time at which it ended.
        (select min(coalesce(run.completed_at, (ended.former ->> 'completed_at')::timestamptz))
         from worker.ended_leaders as ended left join public.search_runs as run on run.id = ended.run_id)))
    where task.task = 'run_counts';
    delete from worker.counted_runs as counted
    where counted.completed_at < (select task.after_at from worker.housekeeping as task where task.task = 'run_counts');
    return coalesce(cardinality(next_ids) = batch, false);
end;
$$;
comment on function worker.count_next_runs is
    'Counts the next runs that ended since after_at, at most batch, and moves after_at. Returns whether more may be left.';

create function worker.sample_queue() returns void
language sql volatile set search_path = ''
begin atomic
    insert into worker.queue_samples (at, ready, delayed, running)
    select date_bin('5 minutes', worker.now(), '2000-01-01 00:00:00+00'),
           (select count(*) from public.search_runs as run
            where run.status = 'pending' and run.run_after is null and run.leader_run_id is null),
           (select count(*) from public.search_runs as run where run.status = 'pending' and run.run_after is not null),
           (select count(*) from worker.leases)
    on conflict (at) do nothing;
end;
comment on function worker.sample_queue is 'Writes a row of worker.queue_samples, unless the current five minutes have one.';

create function public.worker_count_runs() returns integer
language plpgsql security definer set search_path = '' as $$
declare
    settings worker.settings;
    task worker.housekeeping;
begin
    select * into strict settings from worker.settings;
    select known.* into task from worker.housekeeping as known where known.task = 'run_counts' for update skip locked;
    if not found then  -- another worker is counting
        task.next_at := worker.now() + settings.count_interval;
    elsif task.next_at <= worker.now() then
        if worker.count_next_runs(task.after_at, settings.count_batch) then
            task.next_at := worker.now();
        else
            perform worker.sample_queue();
            task.next_at := worker.now() + settings.count_interval;
        end if;
        update worker.housekeeping as known set next_at = task.next_at where known.task = 'run_counts';
    end if;
    return greatest(0, ceil(extract(epoch from task.next_at - worker.now())));
end;
$$;
comment on function public.worker_count_runs is
    'Counts a batch of the runs that have ended and samples the queue, unless another worker just did. Returns the seconds '
    'until another call is due; 0 while more are left.';

-- retention
-- When is old data deleted? At the ages in worker.settings, in small batches. Organizations go when nothing has them any
-- more.
-- Calls: kernel/clock, pages/merge, operators/run_counts.

create function worker.delete_unused_account_state(age interval) returns void
language sql volatile set search_path = ''
begin atomic
    delete from worker.site_health as health
    where health.account <> '' and health.updated_at < worker.now() - age
      and not exists (
          select from worker.accounts as known where known.site = health.site and known.account = health.account);

    delete from worker.site_health as health
    where health.exit <> '' and health.updated_at < worker.now() - age
      and not exists (select from worker.workers as living where health.exit = any (living.exits));

    delete from worker.site_buckets as bucket
    where bucket.exit not in ('', '*') and bucket.updated_at < worker.now() - age
      and not exists (select from worker.workers as living where bucket.exit = any (living.exits));

    delete from worker.site_buckets as bucket
    where bucket.account <> '' and bucket.updated_at < worker.now() - age
      and not exists (
          select from worker.accounts as known
          where known.site = split_part(bucket.bucket, ':', 1) and known.account = bucket.account);
end;
comment on function worker.delete_unused_account_state is
    'Deletes the state of sites for accounts and exits that no longer exist and were not used for this long.';

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
    'Deletes the failures and shares of users at sites that they did not search for this long, and of deleted '
    'users.';

create function worker.delete_old_stats(age interval, batch integer) returns void
language sql volatile set search_path = ''
begin atomic
    delete from worker.run_stats as known
    where known.ctid = any (array(
        select old.ctid from worker.run_stats as old
        where old.span in ('hour', 'day') and old.begins_at < worker.now() - age
        limit batch));
    delete from worker.run_totals as known
    where known.span in ('hour', 'day') and known.begins_at < worker.now() - age;
    delete from worker.page_stats as known where known.day < ((worker.now() - age) at time zone 'UTC')::date;
    delete from worker.exit_stats as known where known.day < ((worker.now() - age) at time zone 'UTC')::date;
    delete from worker.queue_samples as known where known.at < worker.now() - age;
end;
comment on function worker.delete_old_stats is
    'Deletes what was counted before this age. Of worker.run_stats, at most batch rows.';

create function worker.unused_organizations(ids uuid[]) returns uuid[]
language plpgsql stable set search_path = '' as $$
begin
    return array(
        select organization.id from public.organizations as organization
        where organization.id = any (ids)
          and case
              when organization.owner_id is null then not exists (
                  select from public.items as item where item.organization_id = organization.id)
              else not exists (
                  select from public.search_runs as run
                  where run.user_id = organization.owner_id
                    -- As worker.keeps_board_organizations says, but by an index: this is asked for each organization.
                    and run.parameters @> '{"board_organizations": true}')
          end);
end;
$$;
comment on function worker.unused_organizations is
    'Returns those of the organizations that no item has any more, or whose owner has no run that keeps organizations.';

create function worker.delete_unused_organizations(batch integer) returns void
language plpgsql set search_path = '' as $$
declare
    next_ids uuid[];
    unused uuid[];
begin
    next_ids := array(
        select next.id from public.organizations as next
        where next.id > (select task.after_id from worker.housekeeping as task where task.task = 'retention')
        order by next.id
        limit batch);
    update worker.housekeeping as task
    set after_id = case when cardinality(next_ids) < batch then '00000000-0000-0000-0000-000000000000'
                        else next_ids[batch] end
    where task.task = 'retention';

    unused := worker.unused_organizations(next_ids);
    if unused <> '{}' then
        -- A page that is being saved may have the first item of one of them: after this lock, it is visible.
        perform worker.lock_groups(public_kind.kind, null)
        from (select known.kind from worker.kinds as known where not known.is_private order by known.kind) as public_kind;
        delete from public.organizations as organization
        where organization.id = any (worker.unused_organizations(unused));
    end if;
end;
$$;
comment on function worker.delete_unused_organizations is
    'Looks at the next organizations, at most batch, and deletes those that are not used any more.';

create function worker.delete_old_incidents(age interval, batch integer) returns void
language sql volatile set search_path = ''
begin atomic
    delete from worker.incidents as incident
    where incident.id in (
        select oldest.id from worker.incidents as oldest
        where oldest.resolved_at < worker.now() - age
        order by oldest.resolved_at
        limit batch);
end;
comment on function worker.delete_old_incidents is
    'Deletes the incidents that ended this long ago, at most batch. There are few.';

create function worker.delete_expired_rows() returns boolean
language plpgsql set search_path = '' as $$
declare
    settings worker.settings;
    expired uuid[];
    deleted integer;
    is_full boolean;
begin
    select * into strict settings from worker.settings;

    -- Ids increase with time, so that the oldest rows are found without an index on the time.
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

    with oldest as (
        select message.id, message.created_at from worker.webhook_messages as message
        order by message.created_at
        limit settings.retention_batch
    )
    delete from worker.webhook_messages as message using oldest
    where message.id = oldest.id and oldest.created_at < worker.now() - settings.keep_webhooks;
    get diagnostics deleted = row_count;
    is_full := is_full or deleted >= settings.retention_batch;

    -- Not runs that answer a younger run, or that are recent enough to answer one at this moment.
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
    -- Check again, now that the locks prevent that they get runs to answer from a deleted run.
    expired := worker.count_before_deletion(array(
        select locked.id from unnest(expired) as locked (id)
        where not exists (select from public.search_runs as answered where answered.shared_run_id = locked.id)));

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

    perform worker.delete_old_stats(settings.keep_run_stats, 10 * settings.retention_batch);
    perform worker.delete_unused_account_state(settings.keep_runs);
    perform worker.delete_old_user_state(settings.keep_runs);
    perform worker.delete_old_incidents(settings.keep_incidents, settings.retention_batch);
    delete from worker.deleted_runs as deleted where deleted.created_at < worker.now() - interval '1 hour';
    delete from worker.workers as known where known.seen_at < worker.now() - interval '1 day';
    -- Ten times as many as rows of other tables: most of them are only looked at, and none is broadcast.
    perform worker.delete_unused_organizations(10 * settings.retention_batch);
    return is_full or deleted >= settings.retention_batch / 10;
end;
$$;
comment on function worker.delete_expired_rows is
    'Deletes one batch of rows older than worker.settings allows. Returns whether a part of the batch was full.';

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
        due_at := worker.now() + settings.retention_pause;  -- another worker is deleting
    elsif due_at <= worker.now() then
        due_at := worker.now() + case when worker.delete_expired_rows()
                                      then settings.retention_pause else settings.retention_interval end;
        update worker.housekeeping as task set next_at = due_at where task.task = 'retention';
    end if;
    return ceil(extract(epoch from due_at - worker.now()));
end;
$$;
comment on function public.worker_delete_expired is
    'Deletes a batch of rows older than worker.settings allows, unless another worker just did. Returns the seconds '
    'until another call is due.';

-- operators/status
-- What is the state of the queue, and which version of the RPCs is installed?
-- Calls: kernel/clock, kernel/versions.

create function public.worker_status() returns jsonb
language sql volatile security definer set search_path = ''
return jsonb_build_object(
    'schema_version', worker.schema_version(),
    -- Not worker.now(), which tests move: the caller compares it with its own clock.
    'now', clock_timestamp(),
    -- The conditions of partial indexes, so that millions of finished runs cost nothing.
    'ready', (select count(*) from public.search_runs
              where status = 'pending' and run_after is null and leader_run_id is null),
    'delayed', (select count(*) from public.search_runs where status = 'pending' and run_after is not null),
    'running', (select count(*) from worker.leases),
    'schedules', (select count(*) from public.search_schedules where paused is null),
    'oldest_due_slot_seconds', (
        select extract(epoch from worker.now() - min(next_slot_at)) from public.search_schedules
        where paused is null and next_slot_at <= worker.now()),
    'embedding_model', (select embedding_model from worker.settings),
    'embeddings_waiting', (select count(*) from worker.embedding_queue where due_at < 'infinity'),
    'embeddings_failed', (select count(*) from worker.embedding_queue where due_at = 'infinity'),
    'oldest_snapshot_seconds', (
        select extract(epoch from max(worker.now() - session.xact_start))
        from pg_stat_activity as session
        where (session.backend_xmin is not null or session.backend_xid is not null)
          and session.datname = current_database()
          and session.pid <> pg_backend_pid()
          -- Null for sessions of other roles that the owner may not see.
          and session.xact_start < worker.now()
          -- Vacuum itself does not keep rows from being removed.
          and not exists (select from pg_stat_progress_vacuum as vacuum where vacuum.pid = session.pid)),
    'sees_all_snapshots', pg_has_role('pg_read_all_stats', 'usage'));
comment on function public.worker_status is
    'State of the queue: schema_version, now, runs ready, delayed and running, schedules that are not paused, '
    'oldest_due_slot_seconds (null if no schedule is due), embedding_model, embeddings_waiting '
    'and embeddings_failed (given up), and oldest_snapshot_seconds, the age of the oldest transaction that keeps '
    'vacuum from removing rows; null without one. Unless sees_all_snapshots, only the owner''s transactions are '
    'visible: grant pg_monitor to the owner.';

-- operators/activity
-- What happens at this moment? For the command `top`, which asks every few seconds.
-- Calls: kernel/clock.

create function worker.running_now(most integer) returns jsonb
language sql stable set search_path = ''
return (
    select coalesce(jsonb_agg(to_jsonb(shown) order by shown.started_at, shown.run_id), '[]')
    from (
        select run.id as run_id, run.kind, left(run.parameters ->> 'search_term', 100) as search_term, run.source,
               run.attempts as attempt, run.started_at, run.items_found, run.progress_current, run.progress_total,
               lease.worker_id, lease.expires_at < worker.now() as is_expired,
               (
                   select coalesce(jsonb_agg(site.site order by site.position), '[]')
                   from public.search_run_sites as site
                   where site.run_id = run.id and site.status = 'running'
               ) as sites
        from worker.leases as lease
        join public.search_runs as run on run.id = lease.run_id
        order by run.started_at, run.id
        limit most
    ) as shown
);
comment on function worker.running_now is 'Returns the runs that workers search, those that started first.';

create function worker.ended_within(period interval) returns jsonb
language sql stable set search_path = ''
return (
    select jsonb_build_object(
        'seconds', extract(epoch from period),
        'runs', count(*),
        'searched', count(*) filter (where ended.shared_run_id is null),
        'failed', count(*) filter (where ended.status = 'failed'),
        'items', coalesce(sum(ended.items_found) filter (where ended.shared_run_id is null), 0),
        'wait_seconds', percentile_cont(0.5) within group (order by extract(epoch from ended.started_at - ended.created_at)))
    from (
        select run.status, run.items_found, run.shared_run_id, run.started_at, run.created_at
        from public.search_runs as run
        where run.completed_at > worker.now() - period
        order by run.completed_at desc
        limit 10000
    ) as ended
);
comment on function worker.ended_within is
    'Returns what ended lately: {seconds, runs, searched, failed, items, wait_seconds}. searched and items are those of '
    'runs that searched themselves, wait_seconds is the median. At most the last 10,000 runs count.';

create function public.worker_activity(most integer default 20) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
    if most between 1 and 1000 is not true then
        raise sqlstate '22023' using message = 'most must be an integer from 1 to 1000';
    end if;
    return jsonb_build_object(
        'now', worker.now(),
        'workers', (
            select coalesce(jsonb_agg(to_jsonb(living) order by living.worker_id), '[]')
            from (
                select known.worker_id, known.version, known.concurrency, known.started_at, known.seen_at,
                       (select count(*) from worker.leases as lease where lease.worker_id = known.worker_id) as running
                from worker.workers as known
                where known.seen_at > worker.now() - (select settings.worker_timeout from worker.settings as settings)
                order by known.seen_at desc
                limit most
            ) as living),
        'running', worker.running_now(most),
        'ended', jsonb_build_array(worker.ended_within('1 minute'), worker.ended_within('1 hour')));
end;
$$;
comment on function public.worker_activity is
    'What happens at this moment: {now, workers: [{worker_id, version, concurrency, started_at, seen_at, running}], '
    'running: [{run_id, kind, search_term, source, attempt, started_at, items_found, progress_current, progress_total, '
    'worker_id, is_expired, sites}], ended: [{seconds, runs, searched, failed, items, wait_seconds}]}, at most `most` '
    'workers and running runs. ended has the last minute and the last hour.';

-- operators/health
-- Is somebody working, and do searches get on? One answer for the operator's own monitor, and a short one for monitors
-- without a key of the operator: it says nothing about users, sites and numbers, and reads a few rows.
-- Calls: kernel/clock, alerts/queue.

create function worker.seconds_without_worker() returns double precision
language sql stable set search_path = ''
return (select extract(epoch from worker.now() - max(known.seen_at)) from worker.workers as known);
comment on function worker.seconds_without_worker is
    'Returns the seconds since the last sign of any worker; null if there was none within a day.';

create function public.worker_health() returns jsonb
language sql stable security definer set search_path = ''
return jsonb_build_object(
    'workers', (
        select coalesce(jsonb_agg(to_jsonb(living) order by living.worker_id), '[]')
        from (
            select known.worker_id, known.version, known.concurrency, known.started_at, known.seen_at
            from worker.workers as known
            where known.seen_at > worker.now() - (select settings.worker_timeout from worker.settings as settings)
            order by known.seen_at desc
            limit 1000
        ) as living),
    'last_seen_seconds', worker.seconds_without_worker(),
    'oldest_ready_seconds', worker.oldest_ready_seconds(),
    -- The conditions of partial indexes, and no more rows than are worth counting.
    'ready', (select count(*) from (
        select from public.search_runs as run
        where run.status = 'pending' and run.run_after is null and run.leader_run_id is null
        limit 10000) as counted),
    'delayed', (select count(*) from (
        select from public.search_runs as run
        where run.status = 'pending' and run.run_after is not null
        limit 10000) as counted),
    'running', (select count(*) from worker.leases),
    'latest_slot_at', (select max(schedule.last_slot_at) from public.search_schedules as schedule),
    'oldest_due_slot_seconds', worker.oldest_due_slot_seconds(),
    'open_incidents', (select count(*) from worker.incidents as incident
                       where incident.resolved_at is null and incident.opened_at is not null));
comment on function public.worker_health is
    'Which workers live and how the queue is: {workers: [{worker_id, version, concurrency, started_at, seen_at}], '
    'last_seen_seconds, oldest_ready_seconds, ready, delayed (10,000 stands for more), running, latest_slot_at, '
    'oldest_due_slot_seconds, open_incidents}. Seconds are null if there is nothing to measure.';

create function public.search_health() returns jsonb
language sql stable security definer set search_path = ''
return jsonb_build_object('is_healthy', coalesce(
    worker.seconds_without_worker() < (select known.threshold from worker.alert_rules as known where known.rule = 'no_worker')
    and not exists (
        -- The incidents, and not what they measure, so that a call is cheap: anybody may call.
        select from worker.incidents as incident
        where incident.resolved_at is null and incident.opened_at is not null
          and incident.rule in ('oldest_ready_run', 'late_slot', 'failure_rate')),
    false));
comment on function public.search_health is
    'For uptime monitors, callable with the anon key: {is_healthy}. True if a worker was seen within the threshold of the '
    'rule no_worker, and no incident of oldest_ready_run, late_slot or failure_rate is open.';

-- operators/site_health
-- What is the state of each site, and which limits does it have?
-- Calls: kernel/clock, sites/exits, sites/limits.

create function worker.known_limits(bucket text, declared jsonb) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
    return jsonb_strip_nulls(to_jsonb(worker.effective_limits(bucket, declared)));
exception when invalid_parameter_value then
    return jsonb_build_object('bucket', bucket, 'message', sqlerrm);
end;
$$;
comment on function worker.known_limits is
    'Returns the limits of a bucket, without those that there are not; or bucket and message if what a source declares is '
    'not valid.';

create function worker.limits_by_site() returns table (site text, limits jsonb)
language sql stable set search_path = ''
begin atomic
    with declared as (
        -- As the worker says that was seen last: an older one may have another version.
        select distinct on (bucket.key) bucket.key as bucket, bucket.value as limits
        from worker.workers as known
        cross join lateral jsonb_each(known.limits) as by_kind
        cross join lateral jsonb_each(by_kind.value) as by_site
        cross join lateral jsonb_each(by_site.value) as bucket
        order by bucket.key, known.seen_at desc
    ), every as (
        select coalesce(declared.bucket, own.bucket) as bucket, declared.limits
        from declared
        full join worker.bucket_limits as own on own.bucket = declared.bucket
    )
    select split_part(every.bucket, ':', 1),
           jsonb_agg(worker.known_limits(every.bucket, every.limits) order by every.bucket)
    from every
    group by split_part(every.bucket, ':', 1);
end;
comment on function worker.limits_by_site is
    'Returns the limits of each site by bucket: those of worker.bucket_limits, otherwise those that the source declares.';

create function public.worker_site_health() returns jsonb
language sql stable security definer set search_path = ''
return (
    select coalesce(jsonb_agg(to_jsonb(known) order by known.site), '[]')
    from (
        select health.site,
               count(distinct health.account) filter (where health.account <> '') as account_count,
               case when state.is_open then 'open' when state.is_half_open then 'half_open' else 'closed' end as state,
               state.paused_until,
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
        from worker.health_in_use() as health
        join (
            select known.site, bool_or(known.is_open) as is_open, bool_or(known.is_half_open) as is_half_open,
                   max(known.paused_until) as paused_until
            from worker.account_health() as known
            group by known.site
        ) as state on state.site = health.site
        group by health.site, state.is_open, state.is_half_open, state.paused_until
    ) as known
);
comment on function public.worker_site_health is
    'State of each site over all workers and accounts: [{site, account_count, state (closed, open or half_open), '
    'paused_until, last_error_code, success_rate, response_ms, last_success_at, buckets}]. Of several accounts, the '
    'worst counts; of several exits, the best. buckets are those with a quota, [{bucket, quota, quota_used, quota_resets_at}], of the account '
    'that used most.';

-- operators/data_quality
-- How complete are the items of each source, by day?
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
    'What each source made of each site''s pages, by day (UTC), as long as pages are kept.';
comment on column worker.data_quality.invalid_share is
    'Share of all items on the pages, from 0 to 1; null without items.';
comment on column worker.data_quality.completeness is
    'Share of the valid items, from 0 to 1, that have each of the main fields.';

-- operators/collections
-- How do the collections of operators go?
-- Calls: kernel/parameters.

create function public.worker_collections() returns jsonb
language sql stable security definer set search_path = ''
return (
    select coalesce(jsonb_agg(to_jsonb(known) order by known.collection), '[]')
    from (
        select saved.collection,
               min(owner.email) as owner,
               count(*) as searches,
               count(schedule.paused) as paused,
               min(schedule.next_slot_at) as next_slot_at,
               count(*) filter (where last.completed_at is null and last.id is not null) as active,
               count(*) filter (where last.status = 'success') as succeeded,
               count(*) filter (where last.status = 'partial') as partial,
               count(*) filter (where last.status in ('failed', 'cancelled')) as failed,
               max(last.completed_at) as last_completed_at,
               coalesce(sum(last.items_found), 0) as items_found,
               coalesce(sum(last.new_items), 0) as new_items,
               (
                   select coalesce(jsonb_agg(distinct site.site), '[]')
                   from public.saved_searches as first
                   cross join lateral worker.sites_of(first.kind, first.parameters) as site
                   where first.id = min(saved.id::text)::uuid
               ) as sites
        from public.saved_searches as saved
        join auth.users as owner on owner.id = saved.user_id
        left join public.search_schedules as schedule on schedule.saved_search_id = saved.id
        left join lateral (
            select run.id, run.status, run.completed_at, run.items_found, run.new_items
            from public.search_runs as run
            where run.saved_search_id = saved.id
            order by run.created_at desc
            limit 1
        ) as last on true
        where saved.collection is not null
        group by saved.collection
    ) as known
);
comment on function public.worker_collections is
    'The collections of all namespaces: [{collection, owner, searches, paused, next_slot_at, sites, and of the last run '
    'of each search: active, succeeded, partial, failed, last_completed_at, items_found, new_items}].';

-- operators/admins
-- Who may see the runs of all users? Admins: users whose app_metadata.role is admin. Only the project's owner sets that,
-- unlike user_metadata. And the service role, for the commands.
-- Calls: kernel/clock, operators/run_counts.

create function worker.check_admin() returns void
language plpgsql stable set search_path = '' as $$
begin
    -- The setting has the role of the request, although the caller runs with its owner's rights.
    if current_setting('role') = 'service_role'
       or (current_setting('role') = 'authenticated' and auth.jwt() -> 'app_metadata' ->> 'role' = 'admin') then
        return;
    end if;
    raise sqlstate '42501' using
        message = 'only admins may call this function',
        hint = 'An admin is a user whose app_metadata.role is admin. A change counts once the token is refreshed.';
end;
$$;
comment on function worker.check_admin is
    'Raises 42501 (HTTP 403) unless the caller is an admin: the app_metadata.role of the token is admin; or the service role.';

create function worker.check_since(since timestamptz) returns void
language plpgsql stable set search_path = '' as $$
begin
    if since between worker.now() - interval '400 days' and worker.now() is not true then
        raise sqlstate '22023' using message = 'since must be a time of the last 400 days';
    end if;
end;
$$;
comment on function worker.check_since is 'Raises 22023 (HTTP 400) unless a time is in the past, at most 400 days ago.';

create function worker.first_whole_day(since timestamptz) returns timestamptz
language sql immutable set search_path = ''
-- In hours, because the days of a session's time zone differ in length.
return date_trunc('day', since - interval '1 microsecond' + interval '24 hours', 'UTC');
comment on function worker.first_whole_day is
    'Returns the begin of the first whole day (UTC) since a time. From then on, the days of worker.run_stats are enough.';

create function worker.quantile(histogram bigint[], share double precision) returns double precision
language sql immutable set search_path = ''
begin atomic
    with bucket as (
        select counted.runs, sum(counted.runs) over (order by counted.number) as up_to,
               coalesce((worker.time_buckets())[counted.number - 1], 0) as low,
               (worker.time_buckets())[counted.number] as high
        from unnest(quantile.histogram) with ordinality as counted (runs, number)
    )
    select round((bucket.low + coalesce(
               (bucket.high - bucket.low) * (quantile.share * total.runs - bucket.up_to + bucket.runs) / bucket.runs, 0)
           )::numeric, 1)::double precision
    from bucket cross join (select sum(bucket.runs) as runs from bucket) as total
    where bucket.runs > 0 and bucket.up_to >= quantile.share * total.runs
    order by bucket.up_to
    limit 1;
end;
comment on function worker.quantile is
    'Returns a quantile of a histogram, in seconds, interpolated within its bucket; of the last bucket, its lower bound. '
    'Null without any.';

create function worker.quantiles(histogram bigint[]) returns jsonb
language sql immutable set search_path = ''
return jsonb_build_object('p50', worker.quantile(histogram, 0.5), 'p95', worker.quantile(histogram, 0.95));
comment on function worker.quantiles is 'Returns {p50, p95} of a histogram, in seconds.';

-- operators/admin_overview
-- How do the runs of all users go? Rates, durations, errors and the queue, since a time.
-- Calls: operators/admins.

create function public.admin_overview(since timestamptz) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    first_hour timestamptz := date_trunc('hour', since, 'UTC');
    first_day timestamptz := worker.first_whole_day(date_trunc('hour', since, 'UTC'));
    answer jsonb;
begin
    perform worker.check_admin(), worker.check_since(since);

    with ended as materialized (
        select total.* from worker.run_totals as total
        where total.span = 'hour' and total.begins_at >= first_hour and total.begins_at < first_day
        union all
        select total.* from worker.run_totals as total
        where total.span = 'day' and total.begins_at >= first_day
    ), bucket as (
        select time.number, sum(time.durations) as durations, sum(time.waits) as waits
        from ended cross join lateral unnest(ended.durations, ended.waits) with ordinality as time (durations, waits, number)
        group by time.number
    ), outcome as (
        select final.status, coalesce(sum(ended.runs), 0) as runs,
               round(coalesce(sum(ended.runs), 0) / sum(sum(ended.runs)) over (), 4) as rate
        from unnest('{success,partial,failed,cancelled}'::text[]) as final (status)
        left join ended on ended.outcome = final.status
        group by final.status
    ), error as (
        select failed.error_code, sum(failed.runs) as runs
        from (
            select stats.error_code, stats.runs from worker.run_stats as stats
            where stats.span = 'hour' and stats.site = '' and stats.error_code <> ''
              and stats.begins_at >= first_hour and stats.begins_at < first_day
            union all
            select stats.error_code, stats.runs from worker.run_stats as stats
            where stats.span = 'day' and stats.site = '' and stats.error_code <> '' and stats.begins_at >= first_day
        ) as failed
        group by failed.error_code
    ), hourly as (
        select total.begins_at as hour, sum(total.runs) as runs,
               coalesce(sum(total.runs) filter (where total.outcome = 'success'), 0) as success,
               coalesce(sum(total.runs) filter (where total.outcome = 'partial'), 0) as partial,
               coalesce(sum(total.runs) filter (where total.outcome = 'failed'), 0) as failed,
               coalesce(sum(total.runs) filter (where total.outcome = 'cancelled'), 0) as cancelled
        from worker.run_totals as total
        where total.span = 'hour' and total.begins_at >= first_hour
        group by total.begins_at
    ), queue as (
        select date_trunc('hour', sample.at, 'UTC') as hour, max(sample.ready) as ready, max(sample.delayed) as delayed,
               max(sample.running) as running
        from worker.queue_samples as sample
        where sample.at >= first_hour
        group by 1
    )
    select jsonb_build_object(
        'since', first_hour,
        'runs', coalesce(sum(ended.runs), 0), 'items', coalesce(sum(ended.items), 0),
        'new_items', coalesce(sum(ended.new_items), 0), 'pages', coalesce(sum(ended.pages), 0),
        'requests', coalesce(sum(ended.requests), 0),
        'outcomes', (select jsonb_object_agg(outcome.status, jsonb_build_object('runs', outcome.runs, 'rate', outcome.rate))
                     from outcome),
        'duration', (select worker.quantiles(array_agg(bucket.durations::bigint order by bucket.number)) from bucket),
        'wait', (select worker.quantiles(array_agg(bucket.waits::bigint order by bucket.number)) from bucket),
        'errors', (select coalesce(jsonb_agg(to_jsonb(error) order by error.runs desc, error.error_code), '[]') from error),
        'by_hour', (select coalesce(jsonb_agg(to_jsonb(hourly) order by hourly.hour), '[]') from hourly),
        'queue', (select coalesce(jsonb_agg(to_jsonb(queue) order by queue.hour), '[]') from queue))
    into answer
    from ended;
    return answer;
end;
$$;
comment on function public.admin_overview is
    'For admins: how the runs of all users ended since the begin of an hour: {since, runs, items, new_items, pages, '
    'requests, outcomes {success, partial, failed, cancelled: {runs, rate}}, duration {p50, p95}, wait {p50, p95}, errors '
    '[{error_code, runs}], by_hour [{hour, runs, success, partial, failed, cancelled}], queue [{hour, ready, delayed, '
    'running}]}. Times are in seconds, rates from 0 to 1; null without runs. queue has the highest counts of each hour. Runs count a few '
    'minutes after they ended.';

-- operators/admin_sites
-- How do the sites go, how good is what they send, and how much of their quotas is used?
-- Calls: kernel/clock, operators/site_health, operators/admins.

create function public.admin_sites(since timestamptz) returns table (
    site text, searches bigint, completed bigint, partial bigint, failed bigint, success_rate numeric, errors jsonb,
    attempts bigint, pages bigint, requests bigint, items bigint, new_items bigint, invalid_items bigint,
    invalid_share numeric, duration_p50 double precision, duration_p95 double precision, state text,
    paused_until timestamptz, last_error_code text, response_ms double precision, quotas jsonb, limits jsonb
)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
    first_hour timestamptz := date_trunc('hour', since, 'UTC');
    first_day timestamptz := worker.first_whole_day(date_trunc('hour', since, 'UTC'));
begin
    perform worker.check_admin(), worker.check_since(since);

    return query
    with searched as materialized (
        select stats.* from worker.run_stats as stats
        where stats.span = 'hour' and stats.begins_at >= first_hour and stats.begins_at < first_day
          and stats.site <> '' and stats.outcome <> 'skipped'
        union all
        select stats.* from worker.run_stats as stats
        where stats.span = 'day' and stats.begins_at >= first_day and stats.site <> '' and stats.outcome <> 'skipped'
    ), time as (
        select summed.site, array_agg(summed.searches order by summed.number) as durations
        from (
            select searched.site, bucket.number, sum(bucket.searches)::bigint as searches
            from searched cross join lateral unnest(searched.durations) with ordinality as bucket (searches, number)
            where searched.outcome = 'completed'
            group by searched.site, bucket.number
        ) as summed
        group by summed.site
    ), error as (
        select failed.site, jsonb_object_agg(failed.error_code, failed.searches) as errors
        from (
            select searched.site, searched.error_code, sum(searched.runs) as searches
            from searched where searched.error_code <> '' group by searched.site, searched.error_code
        ) as failed
        group by failed.site
    ), counted as (
        select searched.site, sum(searched.runs) as searches,
               coalesce(sum(searched.runs) filter (where searched.outcome = 'completed'), 0) as completed,
               coalesce(sum(searched.runs) filter (where searched.outcome = 'partial'), 0) as partial,
               coalesce(sum(searched.runs) filter (where searched.outcome = 'failed'), 0) as failed,
               sum(searched.attempts) as attempts, sum(searched.pages) as pages, sum(searched.requests) as requests,
               sum(searched.items) as items, sum(searched.new_items) as new_items,
               sum(searched.valid_items) as valid_items, sum(searched.invalid_items) as invalid_items
        from searched
        group by searched.site
    )
    select coalesce(counted.site, health.site), coalesce(counted.searches, 0)::bigint, coalesce(counted.completed, 0)::bigint,
           coalesce(counted.partial, 0)::bigint, coalesce(counted.failed, 0)::bigint,
           round(counted.completed / counted.searches, 4), coalesce(error.errors, '{}'),
           coalesce(counted.attempts, 0)::bigint, coalesce(counted.pages, 0)::bigint,
           coalesce(counted.requests, 0)::bigint, coalesce(counted.items, 0)::bigint,
           coalesce(counted.new_items, 0)::bigint, coalesce(counted.invalid_items, 0)::bigint,
           round(counted.invalid_items / nullif(counted.valid_items + counted.invalid_items, 0), 4),
           worker.quantile(time.durations, 0.5), worker.quantile(time.durations, 0.95),
           coalesce(health.state, 'closed'), health.paused_until, health.last_error_code, health.response_ms,
           coalesce(health.buckets, '[]'), coalesce(allowed.limits, '[]')
    from counted
    left join time on time.site = counted.site
    left join error on error.site = counted.site
    full join jsonb_to_recordset(public.worker_site_health()) as health (
        site text, state text, paused_until timestamptz, last_error_code text, response_ms double precision, buckets jsonb)
        on health.site = counted.site
    left join worker.limits_by_site() as allowed on allowed.site = coalesce(counted.site, health.site)
    order by 1;
end;
$$;
comment on function public.admin_sites is
    'For admins: how each site went since the begin of an hour. searches are those that have ended, without skipped ones; '
    'success_rate is the share that completed; errors {error_code: searches}; duration_p50 and duration_p95, in seconds, of '
    'those that completed; invalid_share is the share of items that could not be read. state, paused_until, '
    'last_error_code, response_ms and quotas are of now, as in worker_site_health. limits are those that hold now, '
    '[{bucket, requests, period_seconds, burst, min_delay_seconds, quota, quota_period, quota_timezone, searches, '
    'searches_per_account}]. What is unknown is null.';

create function public.admin_quality(since timestamptz) returns table (
    day date, site text, source text, pages bigint, failed_pages bigint, items bigint, invalid_items bigint,
    invalid_share numeric, completeness jsonb
)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    perform worker.check_admin(), worker.check_since(since);

    return query
    select stats.day, stats.site, stats.source, stats.pages, stats.failed_pages, stats.items, stats.invalid_items,
           round(stats.invalid_items::numeric / nullif(stats.items + stats.invalid_items, 0), 4),
           (select coalesce(jsonb_object_agg(field.key, round(field.value::numeric / nullif(stats.items, 0), 4)), '{}')
            from jsonb_each_text(stats.fields) as field)
    from worker.page_stats as stats
    where stats.day >= (since at time zone 'UTC')::date
    order by stats.day desc, stats.site, stats.source;
end;
$$;
comment on function public.admin_quality is
    'For admins: what sources made of the pages of each site, by the day (UTC) on which the runs ended, the latest first. '
    'invalid_share is the share of items that could not be read, null without items; completeness the share of the others '
    'that have each of the main fields, {field: share}.';

create function public.admin_quotas() returns table (
    site text, bucket text, quota integer, used integer, used_share numeric, resets_at timestamptz, users jsonb
)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    perform worker.check_admin();

    return query
    select health.site, counted.bucket, counted.quota, counted.quota_used,
           round(counted.quota_used::numeric / counted.quota, 4), counted.quota_resets_at, coalesce((
               select jsonb_agg(jsonb_build_object('user_id', taken.user_id, 'email', taken.email, 'used', taken.used)
                                order by taken.used desc, taken.user_id)
               from (
                   select share.user_id, owner.email, share.used
                   from worker.site_shares as share
                   join worker.site_buckets as shared
                       on shared.bucket = share.bucket and shared.account = '' and shared.exit = share.exit
                      and shared.quota_period = share.quota_period
                      and coalesce(shared.quota_resets_at > worker.now(), true)
                   left join auth.users as owner on owner.id = share.user_id
                   where share.bucket = counted.bucket and share.used > 0
                   order by share.used desc, share.user_id
                   limit 10
               ) as taken), '[]')
    from jsonb_to_recordset(public.worker_site_health()) as health (site text, buckets jsonb)
    cross join lateral jsonb_to_recordset(health.buckets) as counted (
        bucket text, quota integer, quota_used integer, quota_resets_at timestamptz)
    order by 5 desc, 1, 2;
end;
$$;
comment on function public.admin_quotas is
    'For admins: how much of the quota of each bucket of requests is used, the fullest first, and the ten users that took '
    'most of it, [{user_id, email, used}]. Of several accounts, the one that used most; resets_at is null if nothing is '
    'used.';

-- operators/admin_runs
-- Which runs of all users match, and what happened to them? The newest first, with sites and events. A call looks at a
-- limited number of runs, so that no filter makes it slow; the next call continues.
-- Calls: operators/admins.

create function worker.check_run_filters(
    status text[], kind text, source text, error_code text, site text, before_at timestamptz, before_id uuid, most integer
) returns void
language plpgsql stable set search_path = '' as $$
declare
    problem text := case
        when not coalesce(status <@ enum_range(null::public.run_status)::text[], true) then
            'status must be a list of ' || array_to_string(enum_range(null::public.run_status), ', ')
        when kind is not null and not exists (select from worker.kinds as known where known.kind = check_run_filters.kind) then
            'kind must be one of ' || (select string_agg(known.kind, ', ' order by known.kind) from worker.kinds as known)
        when source <> all (enum_range(null::public.run_source)::text[]) then
            'source must be one of ' || array_to_string(enum_range(null::public.run_source), ', ')
        when length(error_code) not between 1 and 100 then 'error_code must be a text of 1 to 100 characters'
        when length(site) not between 1 and 100 then 'site must be a text of 1 to 100 characters'
        when (before_at is null) <> (before_id is null) then
            'before_at and before_id must be given together, as next of the page before has them'
        when most between 1 and 100 is not true then 'most must be from 1 to 100' end;
begin
    if problem is not null then
        raise sqlstate '22023' using message = problem;
    end if;
end;
$$;
comment on function worker.check_run_filters is 'Raises 22023 (HTTP 400) unless admin_runs can filter so.';

create function worker.run_for_admin(run public.search_runs) returns jsonb
language sql stable set search_path = ''
return to_jsonb(run) - '{fingerprint,position,idempotency_key,client_context,progress}'::text[] || jsonb_build_object(
    'email', (select owner.email from auth.users as owner where owner.id = (run).user_id),
    'sites', (
        select coalesce(jsonb_agg(jsonb_build_object(
            'site', searched.site, 'status', searched.status, 'is_fallback', searched.is_fallback,
            'jobs_found', searched.jobs_found, 'attempts', searched.attempts, 'error_code', searched.error_code,
            'error_message', searched.error_message, 'started_at', searched.started_at,
            'completed_at', searched.completed_at) order by searched.position), '[]')
        from public.search_run_sites as searched where searched.run_id = (run).id),
    'events', (
        select coalesce(jsonb_agg(jsonb_build_object(
            'at', latest.created_at, 'event', latest.event, 'site', latest.site, 'data', latest.data - 'lease_digest')
            order by latest.id), '[]')
        from (
            select happened.* from public.run_events as happened
            where happened.run_id = (run).id
            order by happened.id desc
            limit 200
        ) as latest));
comment on function worker.run_for_admin is
    'Returns a run with its sites and its last 200 events. Not what only its owner''s frontend needs.';

create function public.admin_runs(
    status text[] default null, kind text default null, source text default null, site text default null,
    error_code text default null, user_id uuid default null, since timestamptz default null,
    until timestamptz default null, before_at timestamptz default null, before_id uuid default null, most integer default 50
) returns jsonb
-- Otherwise PostgreSQL may plan without the given filters, and use no index for them.
language plpgsql stable security definer set search_path = '' set plan_cache_mode = force_custom_plan as $$
declare
    looked_at integer := case
        when admin_runs.status is null and coalesce(admin_runs.kind, admin_runs.source, admin_runs.site) is null then most
        else 2000 end;
    answer jsonb;
begin
    perform worker.check_admin(), worker.check_run_filters(
        admin_runs.status, admin_runs.kind, admin_runs.source, admin_runs.error_code, admin_runs.site, before_at, before_id,
        most);

    with candidate as (
        select run.id, run.created_at, run.status, run.kind, run.source
        from public.search_runs as run
        where (admin_runs.user_id is null or run.user_id = admin_runs.user_id)
          and (admin_runs.error_code is null or run.error_code = admin_runs.error_code)
          and (since is null or run.created_at >= since)
          and (until is null or run.created_at < until)
          and (before_at is null or (run.created_at, run.id) < (before_at, before_id))
        order by run.created_at desc, run.id desc
        limit looked_at
    ), numbered as (
        select candidate.*, row_number() over (order by candidate.created_at desc, candidate.id desc) as number
        from candidate
    ), chosen as materialized (
        select numbered.* from numbered
        where (admin_runs.status is null or numbered.status::text = any (admin_runs.status))
          and (admin_runs.kind is null or numbered.kind = admin_runs.kind)
          and (admin_runs.source is null or numbered.source::text = admin_runs.source)
          and (admin_runs.site is null or exists (
              select from public.search_run_sites as searched
              where searched.run_id = numbered.id and searched.site = admin_runs.site))
        order by numbered.number
        limit most
    ), last as (
        -- Where the next call continues: after a full page, or after all that this call has looked at.
        select case when (select count(*) from chosen) = most then (
            select jsonb_build_object('before_at', full_page.created_at, 'before_id', full_page.id)
            from chosen as full_page order by full_page.number desc limit 1)
        else (
            select jsonb_build_object('before_at', seen.created_at, 'before_id', seen.id)
            from numbered as seen where seen.number = looked_at) end as next
    )
    select jsonb_build_object(
        'runs', (select coalesce(jsonb_agg(worker.run_for_admin(run) order by chosen.number), '[]')
                 from chosen join public.search_runs as run on run.id = chosen.id),
        'next', last.next)
    into answer
    from last;
    return answer;
end;
$$;
comment on function public.admin_runs is
    'For admins: the runs of all users, the newest first: {runs, next}. All filters are optional: status is a list; site: '
    'they search it themselves; error_code; created since a time and until before another one. A call returns at most most '
    'runs (1 to 100), and looks at no more than 2,000: a page may be short or empty although more follow. next '
    '{before_at, before_id} has the arguments of the next call, and is null at the end. A run has the columns of '
    'search_runs, without some, and email, sites and events, its timeline: [{at, event, site, data}].';

-- operators/exits
-- How does each exit of the workers do at each site, and how much was sent through it today?
-- Calls: kernel/clock, sites/exits, operators/admins.

create function public.worker_count_requests(reporter uuid, counts jsonb) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
    if jsonb_typeof(counts) is distinct from 'array' or jsonb_array_length(counts) > 10000 then
        raise sqlstate '22023' using message = 'counts must be an array of at most 10000 objects';
    end if;
    insert into worker.exit_stats (day, site, exit, reporter, requests, refused, bytes)
    select given.day, given.site, given.exit, worker_count_requests.reporter, given.requests, given.refused, given.bytes
    from jsonb_to_recordset(counts) as given (
        day date, site text, exit text, requests bigint, refused bigint, bytes bigint)
    on conflict on constraint exit_stats_pkey do update set
        requests = excluded.requests, refused = excluded.refused, bytes = excluded.bytes;
end;
$$;
comment on function public.worker_count_requests is
    'Notes what a process of a worker has sent: [{day, site, exit, requests, refused, bytes}], each with its total of the '
    'day (UTC). Idempotent.';

create function public.worker_exits() returns jsonb
language sql stable security definer set search_path = ''
return (
    with health as (
        select known.site, known.exit,
               case when bool_or(known.paused_until > worker.now()) then 'open'
                    when bool_or(known.paused_until is not null) then 'half_open'
                    else 'closed' end as state,
               max(known.paused_until) as paused_until, max(known.paused_by) as paused_by,
               (array_agg(known.last_error_code order by known.last_failure_at desc nulls last))[1] as last_error_code,
               avg(known.success_rate) as success_rate, avg(known.response_ms) as response_ms,
               max(known.last_success_at) as last_success_at
        from worker.health_in_use() as known
        group by known.site, known.exit
    ), today as (
        select stats.site, stats.exit, sum(stats.requests) as requests, sum(stats.refused) as refused,
               sum(stats.bytes) as bytes
        from worker.exit_stats as stats
        where stats.day = (worker.now() at time zone 'UTC')::date
        group by stats.site, stats.exit
    )
    select coalesce(jsonb_agg(to_jsonb(shown) order by shown.exit, shown.site), '[]')
    from (
        select worker.exit_name(coalesce(health.exit, today.exit)) as exit, coalesce(health.site, today.site) as site,
               coalesce(health.state, 'closed') as state, health.paused_until, health.paused_by, health.last_error_code,
               health.success_rate, health.response_ms, health.last_success_at,
               coalesce(today.requests, 0) as requests, coalesce(today.refused, 0) as refused,
               coalesce(today.bytes, 0) as bytes
        from health full join today on today.site = health.site and today.exit = health.exit
    ) as shown
);
comment on function public.worker_exits is
    'State of each exit at each site: [{exit, site, state (closed, open or half_open), paused_until, paused_by, '
    'last_error_code, success_rate, response_ms, last_success_at, requests, refused, bytes}]. requests, refused and bytes are '
    'those of today (UTC). paused_by is exit_failed if the exit itself does not work.';

create function public.admin_exits() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
    perform worker.check_admin();
    return public.worker_exits();
end;
$$;
comment on function public.admin_exits is 'For admins: the state of each exit at each site, as in worker_exits.';

-- operators/admin_operations
-- What do admins see of the workers, the incidents and the webhooks? And they may send dead messages again.
-- Calls: webhooks/endpoints, alerts/rules, operators/activity, operators/admins.

create function public.admin_workers() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
    perform worker.check_admin();
    return public.worker_activity(most => 100);
end;
$$;
comment on function public.admin_workers is
    'For admins: which workers live, which runs they search at this moment and what ended lately, as in worker_activity.';

create function public.admin_incidents() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
    perform worker.check_admin();
    return public.worker_alerts();
end;
$$;
comment on function public.admin_incidents is 'For admins: the alert rules and the incidents, as in worker_alerts.';

create function public.admin_webhooks() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
    perform worker.check_admin();
    return jsonb_build_object(
        'endpoints', (select coalesce(jsonb_agg(to_jsonb(endpoint) - 'url' order by endpoint.name), '[]')
                      from public.worker_webhooks() as endpoint),
        'dead', (select coalesce(jsonb_agg(to_jsonb(message) - 'data' order by message.created_at desc), '[]')
                 from public.worker_dead_webhooks() as message));
end;
$$;
comment on function public.admin_webhooks is
    'For admins: {endpoints, dead}: the webhook endpoints with the numbers of their messages, and the last 100 messages '
    'whose attempts have all failed. Without addresses, which may have tokens in them.';

create function public.admin_replay_webhooks(endpoint text, message_id uuid default null) returns integer
language plpgsql security definer set search_path = '' as $$
begin
    perform worker.check_admin();
    return public.worker_replay_webhooks(admin_replay_webhooks.endpoint, admin_replay_webhooks.message_id);
end;
$$;
comment on function public.admin_replay_webhooks is
    'For admins: sends dead messages of an endpoint again, or one message, as worker_replay_webhooks does. Returns how many.';

-- frontends/searches
-- How does a user enqueue, repeat, cancel and delete a search? With these functions.
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
    'Adds a search of the signed-in user to the queue, or answers it at once with a recent equal one unless fresh '
    'is true. The same idempotency key returns the same run.';

create function public.rerun_search(run_id uuid) returns public.search_runs
language plpgsql security invoker set search_path = '' as $$
declare
    run public.search_runs;
begin
    if exists (select from public.search_runs as former
               where former.id = rerun_search.run_id and former.source = 'import') then
        raise sqlstate '22023' using message = 'run_id must be the id of a search: an import cannot be searched again';
    end if;
    insert into public.search_runs (workspace_id, kind, parameters, client_context, saved_search_id, fresh)
    select former.workspace_id, former.kind, former.parameters, former.client_context, former.saved_search_id, true
    from public.search_runs as former
    where former.id = rerun_search.run_id
    returning * into run;
    if run.id is null then
        raise sqlstate 'PT404' using message = 'run_id must be the id of one of your runs';
    end if;
    return run;
end;
$$;
comment on function public.rerun_search is
    'Adds the same search to the queue again, as a new run, and returns it. A run of a saved search, such as a scheduled '
    'one, gives its saved_search_id to the new run.';

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
        raise sqlstate 'PT404' using message = 'run_id must be the id of one of your runs';
    end if;
    return run;
end;
$$;
comment on function public.cancel_search is
    'Ends a pending or running run of the signed-in user at once, and returns it. A finished run stays as it is.';

create function public.delete_search(run_id uuid) returns public.search_runs
language plpgsql security invoker set search_path = '' as $$
declare
    run public.search_runs;
begin
    delete from public.search_runs as ended
    where ended.id = delete_search.run_id and ended.completed_at is not null
    returning * into run;
    if run.id is null and exists (select from public.search_runs as active where active.id = delete_search.run_id) then
        raise sqlstate 'PT409' using message = 'This search has not ended. Cancel it before you delete it.';
    elsif run.id is null then
        raise sqlstate 'PT404' using message = 'run_id must be the id of one of your runs';
    end if;
    return run;
end;
$$;
comment on function public.delete_search is
    'Deletes a finished run of the signed-in user with its results, and returns it. An active one raises PT409 (HTTP '
    '409). Other users keep what they share with it.';

-- frontends/search_options
-- What can a user search for, where, and with which parameters? As the rules of the kinds say; a site can be searched if a
-- living worker has it.
-- Calls: kernel/clock, kernel/messages, sites/exits.

create function worker.site_pauses(user_id uuid) returns table (site text, paused_until timestamptz)
language sql stable set search_path = ''
begin atomic
    select pause.site, max(pause.paused_until)
    from (
        select health.site, health.account, health.paused_until from worker.account_health() as health
        union all
        -- Through all exits.
        select bucket.bucket, bucket.account,
               case when bool_and(coalesce(bucket.paused_until > worker.now(), false)) then min(bucket.paused_until) end
        from worker.site_buckets as bucket
        where bucket.exit <> '*'
        group by bucket.bucket, bucket.account
        union all
        select failed.site, failed.account, min(failed.failed_at + failed.pause)
        from worker.site_failures as failed
        where failed.user_id = site_pauses.user_id
          and not exists (
              select from worker.site_health as other
              where other.site = failed.site and other.account = failed.account and other.exit <> failed.exit)
        group by failed.site, failed.account
    ) as pause (site, account, paused_until)
    where pause.paused_until > worker.now()
      and (pause.account = '' or exists (
          select from worker.accounts as own
          where own.user_id = site_pauses.user_id and own.site = pause.site and own.account = pause.account))
    group by pause.site;
end;
comment on function worker.site_pauses is
    'Returns until when sites are paused for a user: for all users, for the user alone, or for an account of the user.';

create function public.search_options() returns jsonb
language sql stable security definer set search_path = ''
begin atomic
    with searchable as materialized (
        select distinct kind.key as kind, site.value as site
        from worker.workers as known
        cross join worker.settings as settings
        cross join lateral jsonb_each(known.sites) as kind
        cross join lateral jsonb_array_elements_text(kind.value) as site
        where known.seen_at > worker.now() - settings.worker_timeout
    ), paused as materialized (
        select pause.site, pause.paused_until from worker.site_pauses(auth.uid()) as pause
    ), offered as (
        select rule.kind, jsonb_agg(jsonb_build_object(
            'site', named.site, 'label', worker.site_label(named.site),
            'is_searchable', searchable.site is not null, 'paused_until', paused.paused_until) order by named.ordinal) as sites
        from worker.parameter_rules as rule
        cross join lateral unnest(rule.allowed) with ordinality as named (site, ordinal)
        left join searchable on searchable.kind = rule.kind and searchable.site = named.site
        left join paused on paused.site = named.site
        where rule.name = 'sites'
        group by rule.kind
    ), ruled as (
        select rule.kind, jsonb_agg(jsonb_build_object(
            'name', rule.name, 'type', rule.type, 'is_required', rule.is_required, 'minimum', rule.minimum,
            'maximum', rule.maximum, 'allowed', rule.allowed, 'default', rule.default_value,
            'names_boards_of', rule.names_boards_of) order by rule.is_required desc, rule.name) as parameters
        from worker.parameter_rules as rule
        group by rule.kind
    )
    select jsonb_build_object('kinds', coalesce(jsonb_agg(jsonb_build_object(
        'kind', known.kind, 'is_private', known.is_private, 'parameters', ruled.parameters,
        'sites', coalesce(offered.sites, '[]')) order by known.kind), '[]'))
    from worker.kinds as known
    join ruled on ruled.kind = known.kind
    left join offered on offered.kind = known.kind;
end;
comment on function public.search_options is
    'Returns what a form needs: {kinds: [{kind, is_private, parameters, sites}]}. parameters are {name, type, is_required, '
    'minimum, maximum, allowed, default, names_boards_of}, as in worker.parameter_rules. sites are {site, label, '
    'is_searchable, paused_until}: whether a living worker can search it, and until when it is paused for the caller.';

-- frontends/run_sites
-- How far is each site of a run? The rows of the run that searches say it: the run itself, its leader, or the run that
-- answered it.
-- Calls: nothing.

create view public.run_sites with (security_invoker = true) as
select
    run.id as run_id,
    searched.site,
    searched.position,
    searched.is_fallback,
    searched.status,
    searched.jobs_found,
    searched.attempts,
    searched.error_code,
    searched.error_message,
    searched.retryable,
    searched.progress,
    searched.started_at,
    searched.completed_at
from public.search_runs as run
join public.search_run_sites as searched
    -- Not coalesce(), as in run_items.
    on searched.run_id = case
        when run.shared_run_id is not null then run.shared_run_id
        when run.leader_run_id is not null then run.leader_run_id
        else run.id
    end;
comment on view public.run_sites is 'The sites of a run, also if another run searches for it.';
comment on column public.run_sites.run_id is 'The run. Always filter by it.';
comment on column public.run_sites.site is 'One of the run''s parameters.sites or fallback_sites.';
comment on column public.run_sites.position is
    'Place in the order in which the user of the run that searches named the sites, from 1.';

-- frontends/saved_searches
-- How does a user repeat a saved search, and see how it goes?
-- Calls: nothing.

create function public.run_saved_search(saved_search_id uuid, fresh boolean default true) returns public.search_runs
language plpgsql security invoker set search_path = '' as $$
declare
    run public.search_runs;
begin
    insert into public.search_runs (workspace_id, kind, parameters, saved_search_id, fresh)
    select saved.workspace_id, saved.kind, saved.parameters, saved.id, run_saved_search.fresh
    from public.saved_searches as saved
    where saved.id = run_saved_search.saved_search_id
    returning * into run;
    if run.id is null then
        raise sqlstate 'PT404' using message = 'saved_search_id must be the id of one of your saved searches';
    end if;
    return run;
end;
$$;
comment on function public.run_saved_search is
    'Adds a saved search to the queue now, and returns the run. With fresh false, a recent equal run answers it.';

create function public.last_seen() returns timestamptz
language sql stable security definer set search_path = ''
begin atomic
    select activity.seen_at from worker.user_activity as activity where activity.user_id = (select auth.uid());
end;
comment on function public.last_seen is 'Returns when the signed-in user last called mark_seen; null for never.';

create function public.new_results(since timestamptz default null, max_items integer default 100) returns jsonb
language plpgsql stable security invoker set search_path = '' as $$
declare
    start timestamptz := coalesce(since, public.last_seen(), '-infinity');
    runs uuid[];
    answer jsonb;
begin
    if max_items between 1 and 500 is not true then
        raise sqlstate '22023' using message = 'max_items must be from 1 to 500';
    end if;
    runs := array(
        select run.id from public.search_runs as run
        where run.user_id = (select auth.uid()) and run.saved_search_id is not null
          and run.status in ('success', 'partial') and run.completed_at > start and run.new_items > 0
        order by run.completed_at desc
        limit 200);

    with shown as (
        select item.*, saved.id as saved_search_id, saved.name as saved_search
        from public.search_runs as run
        join public.run_items as item on item.run_id = run.id
        join public.saved_searches as saved on saved.id = run.saved_search_id
        where run.id = any (runs) and item.is_new
    ), thing as (
        select shown.item_id,
               (array_agg(to_jsonb(shown) - '{description,run_id,saved_search_id,saved_search}'::text[]
                          order by shown.found_at))[1] as item,
               jsonb_agg(distinct jsonb_build_object('id', shown.saved_search_id, 'name', shown.saved_search)) as searches,
               max(shown.posted_at) as posted_at, max(shown.found_at) as found_at
        from shown
        group by shown.item_id
    ), best as (
        select thing.*, row_number() over (
            order by jsonb_array_length(thing.searches) desc, coalesce(thing.posted_at, thing.found_at) desc, thing.item_id
        ) as place
        from thing
    )
    select jsonb_build_object(
        'since', nullif(start, '-infinity'), 'total', count(*),
        'items', coalesce(jsonb_agg(best.item || jsonb_build_object('saved_searches', best.searches) order by best.place)
                          filter (where best.place <= max_items), '[]'))
    into answer
    from best;
    return answer;
end;
$$;
comment on function public.new_results is
    'Returns what the signed-in user''s saved searches have found since an instant, by default since the last call of '
    'mark_seen: {since, total, items}. Each thing once, with saved_searches [{id, name}]: first what several searches '
    'found, then the newest. Looks at the last 200 runs.';

create view public.saved_search_states with (security_invoker = true) as
select
    saved.id,
    saved.name,
    saved.kind,
    saved.parameters,
    saved.workspace_id,
    saved.created_at,
    schedule.time_zone,
    schedule.times,
    schedule.weekdays,
    schedule.paused,
    schedule.paused_reason,
    schedule.next_slot_at,
    last.id as last_run_id,
    last.status as last_status,
    last.completed_at as last_completed_at,
    last.items_found as last_items_found,
    last.new_items as last_new_items,
    recent.new_items as new_items
from public.saved_searches as saved
left join public.search_schedules as schedule on schedule.saved_search_id = saved.id
left join lateral (
    select run.id, run.status, run.completed_at, run.items_found, run.new_items
    from public.search_runs as run
    where run.saved_search_id = saved.id
    order by run.created_at desc
    limit 1
) as last on true
cross join lateral (
    select coalesce(sum(run.new_items), 0)::integer as new_items
    from public.search_runs as run
    where run.saved_search_id = saved.id and run.status in ('success', 'partial')
      and run.completed_at > coalesce((select public.last_seen()), '-infinity')
) as recent;
comment on view public.saved_search_states is
    'The user''s saved searches, each with its schedule, its last run, and how many things it has found that are new '
    'since the user last called mark_seen.';
comment on column public.saved_search_states.new_items is 'New things of all runs since mark_seen was last called.';

-- frontends/run_items
-- What does a user see of a run? Each thing once, with the fields of the run's own sightings.
-- Calls: nothing.

-- Only the run's own sightings are shown. Those of other runs may come from a board that another user named, whose
-- content cannot be trusted: they only decide which sightings are the same thing.
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
            -- Not `= any (...)` alone: before PostgreSQL 17 it would search the index once for each run. And not a function
            -- that is not leakproof, such as array_position(): row level security would come first, and look up the run of
            -- each result of the thing, those of all users.
            where (shown.run_id = any (sighted.earlier_run_ids)) is true
        )
    end as is_new,
    sighted.kind,
    sighted.title,
    sighted.any_organization as organization,
    case when sighted.any_organization_id is null and sighted.from_named_board
         then (select own.id from public.organizations as own
               where own.key = sighted.organization_key and own.owner_id = run.user_id)
         else sighted.any_organization_id end as organization_id,
    coalesce(sighted.location, located.location) as location,
    case when sighted.location is null then located.city else sighted.city end as city,
    case when sighted.location is null then located.region else sighted.region end as region,
    case when sighted.location is null then located.country else sighted.country end as country,
    case when sighted.location is null then coalesce(located.places, '[]') else sighted.places end as places,
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
        -- Columns of the run, too, so that they are computed once, not for each thing.
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
        (array_agg(sighting.organization_id) filter (where sighting.organization_id is not null) over all_sightings)[1]
            as any_organization_id,
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
    -- Not coalesce(): it is not leakproof, so that row level security prevents the use of the index (6 s instead of 16
    -- ms for a run with 1,000 of 160,000 results).
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
    'What a run found, each thing once, even if several sites returned it or another run searched for it.';
comment on column public.run_items.run_id is 'The run. Always filter by it.';
comment on column public.run_items.item_id is
    'The same thing has the same id in every run. All other columns come from the run''s own sightings: from the '
    'first one, and missing fields from the first one that has them.';
comment on column public.run_items.site is 'The site that returned it first.';
comment on column public.run_items.sites is
    'All sightings of it by this run, the first one first: {site, url, external_id}.';
comment on column public.run_items.organization_id is
    'The row of organizations, whose fields may come from other runs. For boards that the user named, his own row if he '
    'has one (board_organizations), otherwise null.';
comment on column public.run_items.page_number is 'The site''s page with the item, from 1.';
comment on column public.run_items.position is 'Position on the page, from 1.';
comment on column public.run_items.found_at is 'When this search found it.';
comment on column public.run_items.is_new is
    'Whether no earlier finished run of the same search showed it to this user. Always true for the first run.';

-- frontends/page_of_run_items
-- Which results of a run belong on a page? Those that pass the filters, in a total order, so that no result is shown
-- twice or missing.
-- Calls: nothing.

-- Planned once for a connection: the plan is the same for each run, and takes longer than the query.
create function public.page_of_run_items(
    run_id uuid, page integer default 1, per_page integer default 50, filters jsonb default '{}', sort text default 'found'
) returns jsonb
language plpgsql stable security invoker set search_path = '' set plan_cache_mode = force_generic_plan as $$
declare
    words text[];
    wanted_skills text[];
    problem text;
    answer jsonb;
begin
    problem := coalesce(
        case when page between 1 and 1000000 is not true then 'page must be from 1 to 1000000'
             when per_page between 1 and 100 is not true then 'per_page must be from 1 to 100'
             when sort in ('found', 'posted', 'pay') is not true then 'sort must be found, posted or pay'
             when jsonb_typeof(filters) is distinct from 'object' then 'filters must be an object' end, (
        select 'filters.' || given.name || coalesce(' must be ' || rule.allowed,
                   ' is unknown; allowed: city, country, is_new, is_remote, pay_from, site, skills, words, work_mode')
        from jsonb_each(filters) as given (name, value)
        left join (values
            ('{city,country,site,words}', '$ like_regex "^.{0,200}$" flag "s"', 'a text of at most 200 characters'),
            ('{work_mode}', '$ == "remote" || $ == "hybrid" || $ == "onsite"', 'remote, hybrid or onsite'),
            ('{pay_from}', '$.type() == "number"', 'a number'),
            ('{is_new,is_remote}', '$.type() == "boolean"', 'true or false'),
            ('{skills}', '$.type() == "array" && $.size() <= 20 && !exists($[*] ? (@.type() != "string"))',
             'a list of at most 20 texts')
        ) as rule (names, is_valid, allowed) on given.name = any (rule.names::text[])
        where rule.names is null or (
            given.value <> 'null' and jsonb_path_match(given.value, rule.is_valid::jsonpath, silent => true) is not true)
        order by given.name
        limit 1));
    if problem is not null then
        raise sqlstate '22023' using message = problem;
    elsif not exists (select from public.search_runs as run where run.id = page_of_run_items.run_id) then
        raise sqlstate 'PT404' using message = 'run_id must be the id of one of your runs';
    end if;
    words := regexp_split_to_array(lower(nullif(btrim(filters ->> 'words'), '')), '\s+');
    wanted_skills := array(select lower(skill) from jsonb_array_elements_text(nullif(filters -> 'skills', 'null')) as skill);

    with chosen as materialized (
        select item.*
        from public.run_items as item
        where item.run_id = page_of_run_items.run_id
          and (filters ->> 'site' is null
               or item.sites @> jsonb_build_array(jsonb_build_object('site', filters ->> 'site')))
          and (filters ->> 'is_new' is null or item.is_new = (filters ->> 'is_new')::boolean)
          and (filters ->> 'is_remote' is null or item.is_remote = (filters ->> 'is_remote')::boolean)
          and (filters ->> 'work_mode' is null or item.work_mode = filters ->> 'work_mode')
          and (filters ->> 'pay_from' is null
               or coalesce(item.salary_yearly_max, item.salary_yearly_min) >= (filters ->> 'pay_from')::numeric)
          and (filters ->> 'country' is null or item.country = upper(filters ->> 'country')
               or item.places @> jsonb_build_array(jsonb_build_object('country', upper(filters ->> 'country'))))
          and (filters ->> 'city' is null or lower(filters ->> 'city') in (
              select lower(named.city) from jsonb_to_recordset(item.places) as named (city text)
              union all select lower(item.city)))
          and (wanted_skills = '{}' or wanted_skills <@ array(select lower(skill) from unnest(item.skills) as skill))
          and (words is null or not exists (
              select from unnest(words) as word
              where strpos(lower(concat_ws(' ', item.title, item.organization, item.location,
                                           array_to_string(item.skills, ' '))), word) = 0))
    ), listed as (
        select chosen.*, row_number() over (
            order by case sort when 'posted' then extract(epoch from chosen.posted_at)
                               when 'pay' then coalesce(chosen.salary_yearly_max, chosen.salary_yearly_min)
                     end desc nulls last,
                     chosen.found_at, chosen.page_number, chosen.position, chosen.site, chosen.item_id) as place
        from chosen
        order by place
        limit per_page offset (page - 1)::bigint * per_page
    )
    select jsonb_build_object(
        'items', (select coalesce(jsonb_agg(to_jsonb(listed) - '{description,place}'::text[] order by listed.place), '[]')
                  from listed),
        'page', page, 'per_page', per_page, 'total', counted.total,
        'total_pages', ceil(counted.total::numeric / per_page)::integer,
        'has_more', page::bigint * per_page < counted.total)
    into answer
    from (select count(*) as total from chosen) as counted;
    return answer;
end;
$$;
comment on function public.page_of_run_items is
    'Returns a page of a run''s results: {items, page, per_page, total, total_pages, has_more}. Items have the columns '
    'of run_items without description. Past the end, items is empty. sort: found (the order in which they were found), '
    'posted (newest first) or pay (by the year, highest first). filters: {site, is_new, is_remote, work_mode, pay_from, '
    'country, city, skills, words}.';

-- frontends/insights_of_run
-- What can a user read about a run while waiting for it? A summary of what it has found so far.
-- Calls: nothing.

create function public.usual_search_seconds(site text) returns real
language sql stable security definer set search_path = ''
begin atomic
    select avg(health.search_seconds)::real from worker.site_health as health
    where health.site = usual_search_seconds.site;
end;
comment on function public.usual_search_seconds is
    'Returns how long a search of a site usually takes, in seconds; null if that is unknown.';

create function public.insights_of_run(run_id uuid) returns jsonb
-- As page_of_run_items.
language plpgsql stable security invoker set search_path = '' set plan_cache_mode = force_generic_plan as $$
declare
    answer jsonb;
begin
    if not exists (select from public.search_runs as run where run.id = insights_of_run.run_id) then
        raise sqlstate 'PT404' using message = 'run_id must be the id of one of your runs';
    end if;

    with item as materialized (
        select found.organization, found.is_new, found.work_mode, found.skills, found.currency,
               -- The middle of the range, or the end that is known.
               (coalesce(found.salary_yearly_min, found.salary_yearly_max)
                + coalesce(found.salary_yearly_max, found.salary_yearly_min)) / 2 as yearly_pay
        from public.run_items as found
        where found.run_id = insights_of_run.run_id
    ), paid as (
        select item.currency, count(*) as items,
               percentile_cont(array[0.25, 0.5, 0.75]) within group (order by item.yearly_pay) as quartiles
        from item
        where item.yearly_pay is not null and item.currency is not null
        group by item.currency
    ), skill as (
        select named.skill, count(*) as items
        from item cross join unnest(item.skills) as named (skill)
        group by named.skill
        order by items desc, named.skill
        limit 10
    ), employer as (
        select item.organization, count(*) as items
        from item
        where item.organization is not null
        group by item.organization
        order by items desc, item.organization
        limit 10
    )
    select jsonb_build_object(
        'found', count(*),
        'new', count(*) filter (where item.is_new),
        'work_modes', jsonb_build_object(
            'remote', count(*) filter (where item.work_mode = 'remote'),
            'hybrid', count(*) filter (where item.work_mode = 'hybrid'),
            'onsite', count(*) filter (where item.work_mode = 'onsite')),
        'pay', (select coalesce(jsonb_agg(jsonb_build_object(
                    'currency', paid.currency, 'items', paid.items, 'low', round(paid.quartiles[1]),
                    'median', round(paid.quartiles[2]), 'high', round(paid.quartiles[3]))
                order by paid.items desc, paid.currency), '[]') from paid),
        'skills', (select coalesce(jsonb_agg(jsonb_build_object('skill', skill.skill, 'items', skill.items)
                                             order by skill.items desc, skill.skill), '[]') from skill),
        'organizations', (select coalesce(jsonb_agg(to_jsonb(employer)
                                                    order by employer.items desc, employer.organization), '[]') from employer),
        'sites', (select coalesce(jsonb_agg(jsonb_build_object(
                      'site', searched.site, 'usual_seconds', public.usual_search_seconds(searched.site))
                  order by searched.position), '[]')
                  from public.run_sites as searched
                  where searched.run_id = insights_of_run.run_id and searched.completed_at is null))
    into answer
    from item;
    return answer;
end;
$$;
comment on function public.insights_of_run is
    'Returns a summary of what a run has found so far: {found, new, work_modes {remote, hybrid, onsite}, pay '
    '[{currency, items, low, median, high}], skills [{skill, items}], organizations [{organization, items}], '
    'sites [{site, usual_seconds}]}. pay has '
    'the quartiles of the yearly pay; skills and organizations are the ten most frequent; sites '
    'are those that are still searched.';

-- access/grants
-- Who may call which function, and write which column? Nothing depends on a project's default privileges, which differ
-- by its age. Only objects of this schema are named, because the project may have others.
-- Calls: nothing.

do $$
declare
    relation text;
begin
    foreach relation in array array['search_runs', 'search_run_sites', 'search_results', 'items', 'item_sources',
                                    'organizations', 'saved_searches', 'run_events', 'run_items', 'run_sites',
                                    'search_schedules', 'saved_search_states'] loop
        execute format('revoke all on public.%I from public, anon, authenticated, service_role', relation);
        execute format('grant select on public.%I to authenticated, service_role', relation);
    end loop;
    foreach relation in array array['search_runs', 'search_run_sites', 'search_results', 'items', 'item_sources',
                                    'organizations', 'saved_searches', 'search_schedules', 'run_events'] loop
        execute format('alter table public.%I enable row level security', relation);
    end loop;
    foreach relation in array array['leases', 'workers', 'deleted_runs', 'ended_leaders', 'accounts', 'raw_collections', 'processing_log', 'site_health',
                                    'settings', 'housekeeping', 'kinds', 'sites', 'messages', 'parameter_rules', 'kept_apart',
                                    'embedding_queue', 'breaker_rules', 'bucket_limits', 'site_buckets', 'site_searches',
                                    'site_waits', 'site_failures', 'site_shares', 'exit_stats', 'user_activity',
                                    'webhook_endpoints', 'webhook_messages', 'run_stats', 'run_totals', 'page_stats',
                                    'queue_samples', 'counted_runs', 'alert_rules', 'incidents'] loop
        execute format('revoke all on worker.%I from public, anon, authenticated, service_role', relation);
        execute format('alter table worker.%I enable row level security', relation);
    end loop;
end;
$$;

revoke all on worker.data_quality, worker.item_facts from public, anon, authenticated, service_role;
revoke all on sequence public.item_sources_id_seq, public.run_events_id_seq
    from public, anon, authenticated, service_role;
revoke all on all sequences in schema worker from public, anon, authenticated, service_role;

grant insert (user_id, workspace_id, kind, parameters, client_context, saved_search_id, idempotency_key, fresh), update (cancel_requested_at), delete
    on public.search_runs to authenticated;
grant insert (user_id, workspace_id, kind, source, parameters, client_context, saved_search_id, idempotency_key, fresh, priority,
              max_attempts, run_after), delete
    on public.search_runs to service_role;
grant insert (user_id, workspace_id, name, kind, parameters), update (workspace_id, name, kind, parameters), delete
    on public.saved_searches to authenticated, service_role;
grant insert (saved_search_id, time_zone, times, weekdays, paused),
      update (saved_search_id, time_zone, times, weekdays, paused), delete
    on public.search_schedules to authenticated, service_role;

revoke all on all functions in schema worker from public, anon, authenticated, service_role;
do $$
declare
    rpc regprocedure;
begin
    for rpc in
        select routine.oid from pg_proc as routine
        where routine.pronamespace = 'public'::regnamespace
          and routine.proname in (
              'enqueue_search', 'rerun_search', 'cancel_search', 'delete_search', 'run_saved_search', 'mark_seen',
              'last_seen', 'new_results',
              'page_of_run_items', 'insights_of_run', 'usual_search_seconds', 'search_options', 'worker_claim_runs', 'worker_heartbeat',
              'worker_start_import', 'worker_start_sites', 'worker_save_pages', 'worker_write_progress', 'worker_write_alert',
              'worker_finish_sites', 'worker_leave_exit', 'worker_set_account',
              'worker_release_runs', 'worker_delete_expired', 'worker_reprocess', 'worker_claim_pages',
              'worker_load_page', 'worker_merge_items', 'worker_split_item', 'worker_take_permit', 'worker_observe_limits',
              'worker_site_health', 'worker_status', 'worker_activity', 'worker_fire_schedules', 'worker_apply_collections',
              'worker_collections', 'worker_claim_webhooks', 'worker_save_webhooks', 'worker_add_webhook',
              'worker_remove_webhook', 'worker_webhooks', 'worker_dead_webhooks', 'worker_replay_webhooks',
              'worker_count_runs', 'admin_overview', 'admin_sites', 'admin_runs', 'admin_quality', 'admin_quotas',
              'admin_workers', 'admin_incidents', 'admin_webhooks', 'admin_replay_webhooks',
              'worker_check_alerts', 'worker_claim_notices', 'worker_save_notices', 'worker_alerts', 'worker_set_alert',
              'worker_health', 'search_health', 'worker_count_requests', 'worker_exits', 'admin_exits')
    loop
        execute format('revoke all on function %s from public, anon, authenticated, service_role', rpc);
        execute format('grant execute on function %s to %s', rpc,
                       case when rpc::text like '%worker\_%' then 'service_role'
                            when rpc::text like '%admin\_%' then 'authenticated, service_role'  -- see worker.check_admin
                            else 'authenticated' end);
    end loop;
end;
$$;
-- The view saved_search_states calls it.
grant execute on function public.last_seen() to service_role;
-- An uptime monitor calls it without a key of the operator.
grant execute on function public.search_health() to anon, service_role;

-- access/policies
-- Which rows may a user see and change? Their own rows, and those of runs that their own runs share.
-- Calls: nothing.

create policy "Owners see their runs" on public.search_runs
    for select to authenticated using (user_id = (select auth.uid()));
create policy "Users start runs of their own" on public.search_runs
    for insert to authenticated with check (user_id = (select auth.uid()));
create policy "Owners cancel their runs" on public.search_runs
    for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy "Owners delete their finished runs" on public.search_runs
    for delete to authenticated using (user_id = (select auth.uid()) and completed_at is not null);

-- Users who see a run see its sites and results, also those of its leader and of the run that answered it. With
-- `offset 0`, PostgreSQL looks each run up by an index. Otherwise it may read all runs of the user first, to look them up
-- in memory: for a user with 10,000 runs, a page of results took 35 ms instead of 6.
create policy "Sites of visible runs" on public.search_run_sites
    for select to authenticated using (
        exists (select from public.search_runs as run where run.id = search_run_sites.run_id offset 0)
        or exists (select from public.search_runs as run where run.leader_run_id = search_run_sites.run_id offset 0)
        or exists (select from public.search_runs as run where run.shared_run_id = search_run_sites.run_id offset 0)
    );
create policy "Results of visible runs" on public.search_results
    for select to authenticated using (
        exists (select from public.search_runs as run where run.id = search_results.run_id offset 0)
        or exists (select from public.search_runs as run where run.leader_run_id = search_results.run_id offset 0)
        or exists (select from public.search_runs as run where run.shared_run_id = search_results.run_id offset 0)
    );
create policy "Events of visible runs" on public.run_events
    for select to authenticated using (
        exists (select from public.search_runs as run where run.id = run_events.run_id offset 0)
    );

create policy "Public items and own items" on public.items
    for select to authenticated using (owner_id is null or owner_id = (select auth.uid()));
create policy "Public sightings and own sightings" on public.item_sources
    for select to authenticated using (owner_id is null or owner_id = (select auth.uid()));
create policy "Public organizations and own organizations" on public.organizations
    for select to authenticated using (owner_id is null or owner_id = (select auth.uid()));

create policy "Owners see their saved searches" on public.saved_searches
    for select to authenticated using (user_id = (select auth.uid()));
create policy "Users save searches of their own" on public.saved_searches
    for insert to authenticated with check (user_id = (select auth.uid()));
create policy "Owners change their saved searches" on public.saved_searches
    for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy "Owners delete their saved searches" on public.saved_searches
    for delete to authenticated using (user_id = (select auth.uid()));

create policy "Owners see their schedules" on public.search_schedules
    for select to authenticated using (
        exists (select from public.saved_searches as saved where saved.id = search_schedules.saved_search_id));
create policy "Owners schedule their saved searches" on public.search_schedules
    for insert to authenticated with check (
        exists (select from public.saved_searches as saved where saved.id = search_schedules.saved_search_id)
        and (paused is null or paused = 'user'));
create policy "Owners change their schedules" on public.search_schedules
    for update to authenticated using (
        exists (select from public.saved_searches as saved where saved.id = search_schedules.saved_search_id))
    with check (
        exists (select from public.saved_searches as saved where saved.id = search_schedules.saved_search_id)
        and (paused is null or paused = 'user'));
create policy "Owners delete their schedules" on public.search_schedules
    for delete to authenticated using (
        exists (select from public.saved_searches as saved where saved.id = search_schedules.saved_search_id));

-- access/realtime
-- Which tables does Realtime publish? Only the runs. When a run changes, its viewers read its sites and its results.
-- Each change costs a policy check for each subscriber, and a run with hundreds of results would make hundreds of them.
-- Calls: nothing.

alter publication supabase_realtime add table public.search_runs;
