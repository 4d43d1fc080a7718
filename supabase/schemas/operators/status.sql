-- What is the state of the queue, and which version of the RPCs is installed?
-- Calls: kernel/clock.

create function worker.schema_version() returns integer
language sql immutable set search_path = ''
return 7;
comment on function worker.schema_version is
    'Version of the RPCs. A migration that changes their arguments or results increases it.';

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
