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
