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
