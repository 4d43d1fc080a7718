-- Heartbeats, and runs whose worker died. The clock is moved; nothing waits.
begin;
\ir fixture.psql
select pg_temp.share_nothing();
select plan(33);

update worker.settings set max_rescues = 2;

-- Heartbeats -----------------------------------------------------------------------------------------------------

create temporary table held as
    select pg_temp.enqueue(pg_temp.ada(), '{"sites": ["alpha", "beta"]}') as id;
create temporary table lease as select * from pg_temp.claim();

select pg_temp.move_clock(50);
select is(pg_temp.heartbeat(run_id, lease_token), 'held', 'a worker holds its lease') from lease;
select is((select expires_at from worker.leases join lease using (run_id)), worker.now() + interval '60 s',
    'a heartbeat extends it');
select is((select updated_at from public.search_runs join held using (id)), now(),
    'and writes no row that Realtime publishes');
select is(pg_temp.heartbeat(run_id, gen_random_uuid()), 'lost', 'not with another token') from lease;
select is(pg_temp.heartbeat(run_id, lease_token, 'worker-2'), 'lost', 'not as another worker') from lease;
select is(pg_temp.heartbeat(gen_random_uuid(), lease_token), 'lost', 'not of a run that there is not') from lease;
select results_eq(
    $$ select state from lease, public.worker_heartbeat('worker-1', jsonb_build_array(
           jsonb_build_object('run_id', run_id, 'lease_token', lease_token),
           jsonb_build_object('run_id', run_id, 'lease_token', gen_random_uuid()))) order by state $$,
    array['held', 'lost'], 'one call answers for each lease');
select is_empty($$ select from public.worker_heartbeat('worker-1', '[]') $$, 'no leases, no answers');

-- Rescue ---------------------------------------------------------------------------------------------------------

select pg_temp.start_site(run_id, lease_token, 'alpha', 1) from lease;
select pg_temp.save_page(run_id, lease_token, 'alpha', 1, '{a1,a2}') from lease;

select pg_temp.move_clock(110);
select is_empty('select from pg_temp.claim()', 'a lease lasts to its last second');
select pg_temp.move_clock(111);
create temporary table second_lease as select * from pg_temp.claim(worker_id => 'worker-2');
select results_eq(
    'select run_id, attempt, sites from second_lease',
    $$ select run_id, 1, '[{"site": "alpha", "attempt": 2}, {"site": "beta", "attempt": 1}]'::jsonb from lease $$,
    'then another worker gets the run, with the sites that are not finished');
select results_eq(
    'select attempts, rescues from public.search_runs join held using (id)',
    'values (1::smallint, 1::smallint)',
    'a rescue is counted apart from attempts');
select isnt(second.lease_token, first.lease_token, 'with another token')
from lease as first, second_lease as second;
select is(pg_temp.heartbeat(run_id, lease_token), 'lost', 'the first worker learns it from its heartbeat') from lease;
select throws_ok(
    format($$ select pg_temp.save_page('%s', '%s', 'alpha', 2, '{a3}') $$, run_id, lease_token),
    'PT409', 'lease_lost', 'or when it writes')
from lease;

select pg_temp.start_site(run_id, lease_token, 'alpha', 2) from second_lease;
select is(pg_temp.save_page(run_id, lease_token, 'alpha', 1, '{a1,a2,a3}'), 1,
    'the second attempt adds what the first did not find') from second_lease;
select is((select count(*)::integer from public.search_results, held where run_id = held.id), 3, 'and repeats nothing');
select is((select array_agg(page.attempt || '.' || page_number order by page.id)
           from worker.raw_collections as page join held on held.id = run_id),
    array['1.1', '2.1'], 'each attempt''s pages are kept');

-- A run that kills its workers -----------------------------------------------------------------------------------

select pg_temp.finish_site(run_id, lease_token, 'alpha') from second_lease;
select pg_temp.move_clock(200);
create temporary table third_lease as select * from pg_temp.claim(worker_id => 'worker-3');
select results_eq('select sites from third_lease', $$ values ('[{"site": "beta", "attempt": 1}]'::jsonb) $$,
    'max_rescues allows another try');
select pg_temp.move_clock(300);
select is_empty('select from pg_temp.claim()', 'and no more');
select results_eq(
    $$ select status::text, error_code, error_message, rescues, completed_at = worker.now(), jobs_found
       from public.search_runs join held using (id) $$,
    $$ values ('failed', 'worker_lost', 'The search of Beta was interrupted too often.', 3::smallint, true, 3) $$,
    'a run that kills its workers fails');
select results_eq(
    $$ select site, status::text, error_code, retryable from public.search_run_sites, held where run_id = held.id order by site $$,
    $$ values ('alpha', 'completed', null, null), ('beta', 'failed', 'worker_lost', false) $$,
    'its unfinished sites fail, the finished ones stay');
select is((select string_agg(event, ', ' order by run_events.id) from public.run_events join lease using (run_id)
           where site is null),
    'created, claimed, rescued, claimed, rescued, claimed, rescued, finished', 'the events tell the story');
select is(pg_temp.heartbeat(run_id, lease_token, 'worker-3'), 'finished', 'its last worker learns that it is over')
from third_lease;

-- A bounded batch ------------------------------------------------------------------------------------------------

update worker.settings set rescue_batch = 2;
do $$ begin perform pg_temp.enqueue(pg_temp.ada()) from generate_series(1, 5); perform from pg_temp.claim(); end $$;
select pg_temp.move_clock(400);
select is((select count(*)::integer from pg_temp.claim(slots => 100)), 2, 'a claim rescues rescue_batch runs at most');
select is((select count(*)::integer from worker.leases join public.search_runs on id = run_id
           where kind = 'pgtap' and expires_at < worker.now()), 3, 'the others wait for the next');

insert into public.search_runs (user_id, kind, parameters, run_after)
select pg_temp.ada(), 'pgtap', '{"search_term": "x"}', worker.now() from generate_series(1, 3);
delete from worker.leases using public.search_runs where run_id = id and kind = 'pgtap' and expires_at < worker.now();
select is((select count(*)::integer from pg_temp.claim(slots => 100)), 2, 'and promotes as many');

-- A run that was ended by hand -----------------------------------------------------------------------------------

delete from public.search_runs where kind = 'pgtap';
create temporary table ended as select pg_temp.enqueue(pg_temp.ada()) as id;
create temporary table ended_lease as select * from pg_temp.claim();
update public.search_runs set status = 'cancelled', completed_at = worker.now() where id in (select id from ended);
select is(pg_temp.heartbeat(run_id, lease_token), 'cancelled', 'its worker learns it from its heartbeat') from ended_lease;
select throws_ok(
    format($$ select pg_temp.start_site('%s', '%s', 'alpha', 1) $$, run_id, lease_token),
    'PT409', 'cancelled', 'or when it writes')
from ended_lease;
select throws_ok(
    format($$ select pg_temp.finish_run('%s', '%s') $$, run_id, lease_token),
    'PT409', 'cancelled', 'it cannot finish it')
from ended_lease;
select lives_ok(
    format($$ select public.worker_release_runs('worker-1', '[{"run_id": "%s", "lease_token": "%s"}]') $$,
           run_id, lease_token), 'to release it is no error')
from ended_lease;
create temporary table waiting as select pg_temp.enqueue(pg_temp.bob()) as id;
select pg_temp.move_clock(600);
select results_eq('select run_id from pg_temp.claim()', 'select id from waiting', 'the queue continues');
select pg_temp.move_clock(700);
select results_eq('select run_id from pg_temp.claim()', 'select id from waiting', 'when its lease would have expired, too');
select is(pg_temp.status(id), 'cancelled', 'it stays cancelled') from ended;

select * from finish();
rollback;
