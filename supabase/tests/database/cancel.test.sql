-- A run's owner ends it, whatever it is doing; nobody else does, and nothing that comes later changes it.
begin;
\ir fixture.psql
select pg_temp.share_nothing();
select plan(43);

create temporary table runs (name text primary key, id uuid, lease_token uuid);
grant select on runs to public;

create function pg_temp.id_of(name text) returns uuid language sql as $$
    select id from pg_temp.runs where runs.name = id_of.name;
$$;

-- Ada's runs, one in each state.
insert into runs values ('finished', pg_temp.enqueue(pg_temp.ada()));
do $$ begin
    perform from pg_temp.claim();
    perform pg_temp.search_site(pg_temp.id_of('finished'), 'alpha', 'completed');
    perform pg_temp.finish_run(id, pg_temp.token(id)) from runs;
end $$;

insert into runs values ('waiting to retry', pg_temp.enqueue(pg_temp.ada(), max_attempts => 3));
do $$ begin
    perform from pg_temp.claim();
    perform pg_temp.search_site(pg_temp.id_of('waiting to retry'), 'alpha', 'partial', 'timeout');
    perform pg_temp.finish_run(id, pg_temp.token(id)) from runs where name = 'waiting to retry';
end $$;

update worker.settings set progress_interval = '1 hour';
insert into runs values ('running', pg_temp.enqueue(pg_temp.ada(), '{"sites": ["alpha", "beta", "gamma"]}'));
do $$ begin
    perform from pg_temp.claim();
    perform pg_temp.search_site(pg_temp.id_of('running'), 'alpha', 'completed');
    perform pg_temp.start_site(id, pg_temp.token(id), 'beta', 1),
            pg_temp.save_page(id, pg_temp.token(id), 'beta', 1, '{b1,b2}')
    from runs where name = 'running';
    update runs set lease_token = pg_temp.token(id) where name = 'running';
end $$;

insert into public.search_runs (user_id, kind, parameters, run_after, client_context)
values (pg_temp.ada(), 'pgtap', '{"search_term": "x"}', worker.now() + interval '1 day', '{"name": "delayed"}');
insert into runs select 'delayed', id from public.search_runs where client_context = '{"name": "delayed"}';
insert into runs values ('pending', pg_temp.enqueue(pg_temp.ada())), ('kept', pg_temp.enqueue(pg_temp.ada())),
                        ('by update', pg_temp.enqueue(pg_temp.ada())), ('bob''s', pg_temp.enqueue(pg_temp.bob()));

select is((select jobs_found from public.search_runs where id = pg_temp.id_of('running')), 0,
    'the counts of a running run lag behind');

-- Who may not ----------------------------------------------------------------------------------------------------

create temporary table before_others as select to_jsonb(run) as run from public.search_runs as run where kind = 'pgtap';
select pg_temp.sign_in(pg_temp.bob());
select throws_ok(format($$ select public.cancel_search('%s') $$, id), 'PT404', 'run_id must be the id of one of your runs',
    'not another user''s: ' || name)
from runs where name in ('pending', 'running', 'finished') order by name;
select throws_ok($$ select public.cancel_search(gen_random_uuid()) $$, 'PT404', 'run_id must be the id of one of your runs',
    'not one that there is not');
select throws_ok('select public.cancel_search(null)', 'PT404', 'run_id must be the id of one of your runs', 'nor none');
select is_empty(
    $$ update public.search_runs set cancel_requested_at = now() where id <> pg_temp.id_of('bob''s') returning id $$,
    'nor by an update');
reset role;
set local role anon;
select throws_ok($$ select public.cancel_search(gen_random_uuid()) $$, '42501',
    'permission denied for function cancel_search', 'not without signing in');
select throws_ok('update public.search_runs set cancel_requested_at = now()', '42501',
    'permission denied for table search_runs', 'nor by an update');
reset role;
set local role service_role;
select throws_ok('update public.search_runs set cancel_requested_at = now()', '42501',
    'permission denied for table search_runs', 'not the worker');
reset role;
select set_eq($$ select to_jsonb(run) from public.search_runs as run where kind = 'pgtap' $$, 'select run from before_others',
    'and nothing changed');

-- The owner ------------------------------------------------------------------------------------------------------

select pg_temp.move_clock(5);
select pg_temp.sign_in(pg_temp.ada());
create temporary table answers as
    select name, (public.cancel_search(id)).* from runs
    where name in ('pending', 'delayed', 'waiting to retry', 'running', 'finished');
select results_eq(
    'select name, status::text, progress ->> ''step'' from answers order by name',
    $$ values ('delayed', 'cancelled', 'cancelled'), ('finished', 'success', 'finished'),
              ('pending', 'cancelled', 'cancelled'), ('running', 'cancelled', 'cancelled'),
              ('waiting to retry', 'cancelled', 'cancelled') $$,
    'a run ends at once, and the answer says so; a finished one stays');
select is((select cancel_requested_at from answers where name = 'finished'), null, 'a finished run was not cancelled');
reset role;
select ok(bool_and(completed_at = worker.now() and cancel_requested_at = worker.now() and updated_at = worker.now()
                   and run_after is null), 'the times are the database''s')
from answers where status = 'cancelled';
select is((select jobs_found from answers where name = 'running'), 3, 'right after it the count is right');
select results_eq(
    $$ select site, status::text, jobs_found, completed_at = worker.now() from public.search_run_sites
       where run_id = pg_temp.id_of('running') order by site $$,
    $$ values ('alpha', 'completed', 1, false), ('beta', 'skipped', 2, true), ('gamma', 'skipped', 0, true) $$,
    'and those of the sites: what was finished stays, the others are skipped');
select is((select count(*)::integer from public.run_items where run_id = pg_temp.id_of('running')), 3,
    'what was found stays to be seen');
select results_eq(
    $$ select status::text, jobs_found, error_code from public.search_run_sites
       where run_id = pg_temp.id_of('waiting to retry') $$,
    $$ values ('skipped', 1, 'timeout') $$, 'a site that waited for its next attempt is skipped, too');
select results_eq(
    $$ select name, data from public.run_events join runs on run_id = runs.id where event = 'cancelled' order by name $$,
    $$ values ('delayed', '{"status": "pending"}'::jsonb), ('pending', '{"status": "pending"}'),
              ('running', '{"status": "running"}'), ('waiting to retry', '{"status": "pending"}') $$,
    'each has one event');

create temporary table ended as select to_jsonb(run) as run from public.search_runs as run
    where completed_at is not null and kind = 'pgtap';
select pg_temp.move_clock(10);
select pg_temp.sign_in(pg_temp.ada());
do $$ begin perform public.cancel_search(id) from runs
            where name in ('pending', 'delayed', 'waiting to retry', 'running', 'finished'); end $$;
reset role;
select set_eq($$ select to_jsonb(run) from public.search_runs as run where completed_at is not null and kind = 'pgtap' $$,
    'select run from ended', 'to cancel again is idempotent');

-- By an update ---------------------------------------------------------------------------------------------------

select pg_temp.sign_in(pg_temp.ada());
select results_eq(
    $$ update public.search_runs set cancel_requested_at = '2000-01-01' where id = pg_temp.id_of('by update')
       returning status::text, cancel_requested_at > '2001-01-01' $$,
    $$ values ('cancelled', true) $$, 'a plain update cancels as well, and the time is not the client''s');
-- No row is written, or everyone who watches would be notified of it.
select is_empty(
    $$ update public.search_runs set cancel_requested_at = null where id = pg_temp.id_of('by update')
       returning status $$, 'there is no taking back');
select is_empty(
    $$ update public.search_runs set cancel_requested_at = null where id = pg_temp.id_of('kept') returning status $$,
    'null cancels nothing');
select is_empty(
    $$ update public.search_runs set cancel_requested_at = now() where id = pg_temp.id_of('finished')
       returning status $$, 'a finished run stays as it is');
select throws_ok(
    format('update public.search_runs set cancel_requested_at = now(), %I = %I where id = %L', attname, attname,
           pg_temp.id_of('kept')),
    '42501', 'permission denied for table search_runs', 'not together with ' || attname)
from pg_attribute
where attrelid = 'public.search_runs'::regclass
  and attname in ('status', 'completed_at', 'user_id', 'priority', 'position', 'run_after', 'max_attempts', 'jobs_found')
order by attname;
reset role;
select is(pg_temp.status(pg_temp.id_of('kept')), 'pending', 'and then not at all');

-- A worker that comes late ---------------------------------------------------------------------------------------------

select is(pg_temp.heartbeat(id, lease_token), 'cancelled', 'the worker learns it from its heartbeat')
from runs where name = 'running';
select throws_ok(format(query, id, lease_token), 'PT409', 'cancelled', 'or when it writes: ' || split_part(query, '(', 1))
from runs, unnest(array[
    'select pg_temp.start_site(''%s'', ''%s'', ''gamma'', 1)',
    'select pg_temp.save_page(''%s'', ''%s'', ''beta'', 2, ''{}'')',
    'select pg_temp.finish_site(''%s'', ''%s'', ''beta'')',
    'select pg_temp.finish_run(''%s'', ''%s'')']) as query
where name = 'running';
select lives_ok(
    format($$ select public.worker_release_runs('worker-1', '[{"run_id": "%s", "lease_token": "%s"}]') $$, id, lease_token),
    'to release it is no error')
from runs where name = 'running';
select pg_temp.move_clock(86400);
select set_eq('select run_id from pg_temp.claim()', $$ select id from runs where name in ('kept', 'bob''s') $$,
    'no worker gets it, whenever it was due or its lease would have expired');
select is(pg_temp.status(pg_temp.id_of('running')), 'cancelled', 'it stays cancelled');
select throws_ok(
    format($$ update public.search_runs set status = 'pending', completed_at = null where id = '%s' $$,
           pg_temp.id_of('running')),
    'PT409', 'run_finished', 'even for the owner of the table');
select throws_ok(
    format($$ update public.search_runs set status = 'success' where id = '%s' $$, pg_temp.id_of('pending')),
    'PT409', 'run_finished', 'the status is final');

select * from finish();
rollback;
