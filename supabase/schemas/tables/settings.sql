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
