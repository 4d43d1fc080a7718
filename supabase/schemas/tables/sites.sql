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
