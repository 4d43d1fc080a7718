-- What the worker learns of the queue before anything else, and who may ask.
begin;
\ir fixture.psql
select pg_temp.share_nothing();
select plan(11);

create temporary table before as select public.worker_status() as status;

select results_eq(
    'select key, jsonb_typeof(value) from before, jsonb_each(status - ''oldest_snapshot_seconds'' - ''embedding_model'') order by key',
    $$ values ('delayed', 'number'), ('embeddings_failed', 'number'), ('embeddings_waiting', 'number'), ('now', 'string'),
              ('oldest_due_slot_seconds', 'null'), ('ready', 'number'), ('running', 'number'),
              ('schedules', 'number'), ('schema_version', 'number'),
              ('sees_all_snapshots', 'boolean') $$,
    'names and types');
select ok(jsonb_typeof(status -> 'oldest_snapshot_seconds') in ('number', 'null'),
    'the age of the oldest snapshot, if there is one') from before;
select is((status ->> 'schema_version')::integer, worker.schema_version(), 'the version of the RPCs') from before;
select cmp_ok((status ->> 'now')::timestamptz, '>', now(), 'the real time, not the transaction''s') from before;

-- Counts: three ready, one of them claimed, one delayed, one of each that is finished or follows.
select pg_temp.enqueue(pg_temp.ada()) from generate_series(1, 3);
create temporary table claimed as select * from pg_temp.claim(1);
create temporary table others as
    select row_number() over () as number, pg_temp.enqueue(pg_temp.ada()) as id from generate_series(1, 3);
update public.search_runs set run_after = now() + interval '1 hour' from others where search_runs.id = others.id and number = 1;
update public.search_runs set status = 'success', completed_at = now() from others where search_runs.id = others.id and number = 2;
update public.search_runs set leader_run_id = run_id from others, claimed where search_runs.id = others.id and number = 3;

create temporary table difference as
    select key, value::integer - (before.status ->> key)::integer as more
    from before, jsonb_each_text(public.worker_status()) where key in ('ready', 'delayed', 'running');
select is(more, 2, 'ready runs, without those that follow another') from difference where key = 'ready';
select is(more, 1, 'delayed runs') from difference where key = 'delayed';
select is(more, 1, 'leased runs') from difference where key = 'running';

-- Who may ask ----------------------------------------------------------------------------------------------------

select pg_temp.sign_in(pg_temp.ada());
select throws_ok('select public.worker_status()', '42501', 'permission denied for function worker_status', 'no user');
set local role anon;
select throws_ok('select public.worker_status()', '42501', 'permission denied for function worker_status', 'nor anon');
set local role service_role;
select lives_ok('select public.worker_status()', 'the worker');
select throws_ok('select worker.schema_version()', '42501', 'permission denied for schema worker',
    'who has no other way to the version');

reset role;
select * from finish();
rollback;
