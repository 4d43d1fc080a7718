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
