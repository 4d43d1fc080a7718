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
