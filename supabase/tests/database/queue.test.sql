-- From insert to claim: order, fairness, idempotency, delays, release.
begin;
\ir fixture.psql
select pg_temp.share_nothing();
select plan(35);

-- A new run ------------------------------------------------------------------------------------------------------

create temporary table first_run as
select pg_temp.enqueue(pg_temp.ada(), '{"sites": ["beta", "alpha", "beta"], "results_wanted": 7}') as id;

select results_eq(
    $$ select status::text, source::text, attempts, jobs_found, progress_current, progress_total, progress, priority
       from public.search_runs join first_run using (id) $$,
    $$ values ('pending', 'manual', 0::smallint, 0, 0, 14, '{"step": "queued"}'::jsonb, 20::smallint) $$,
    'a new run waits, and wants its results from each site once');
select results_eq(
    $$ select site, status::text from public.search_run_sites, first_run where run_id = first_run.id order by site $$,
    $$ values ('alpha', 'pending'), ('beta', 'pending') $$,
    'a new run has its sites');
select results_eq(
    $$ select event, data from public.run_events, first_run where run_id = first_run.id $$,
    $$ values ('created', '{"source": "manual"}'::jsonb) $$,
    'a new run has its first event');
select results_eq(
    $$ select sites from pg_temp.claim() $$,
    $$ values ('[{"site": "beta", "attempt": 1}, {"site": "alpha", "attempt": 1}]'::jsonb) $$,
    'a claimed run has its sites, whose order is as the user named them');
select results_eq(
    $$ select status::text, attempts, progress, started_at = worker.now(), expires_at = worker.now() + interval '60 s'
       from public.search_runs join first_run using (id) join worker.leases on run_id = id $$,
    $$ values ('running', 1::smallint, '{"step": "starting"}'::jsonb, true, true) $$,
    'a claimed run runs, on a lease');
select is_empty('select from pg_temp.claim()', 'a run is claimed once');

-- Order ----------------------------------------------------------------------------------------------------------

create temporary table runs (name text primary key, id uuid);

-- As `insert` of many rows does: the order of the rows is the order in which the trigger sees them.
with inserted as (
    insert into public.search_runs (user_id, kind, parameters, client_context)
    select owner, 'pgtap', '{"search_term": "x"}', jsonb_build_object('name', name)
    from (values (1, 'ada 1', pg_temp.ada()), (2, 'ada 2', pg_temp.ada()), (3, 'ada 3', pg_temp.ada()),
                 (4, 'bob 1', pg_temp.bob()), (5, 'bob 2', pg_temp.bob())) as wanted (ordinal, name, owner)
    order by ordinal
    returning id, client_context
)
insert into runs select client_context ->> 'name', id from inserted;

select results_eq(
    $$ select string_agg(name, ' ' order by name) from runs join public.search_runs using (id)
       group by position order by position $$,
    array['ada 1 bob 1', 'ada 2 bob 2', 'ada 3'],
    'one user''s many runs interleave with another''s');

insert into runs select 'ada 4', pg_temp.enqueue(pg_temp.ada());
insert into runs select 'bob 3', pg_temp.enqueue(pg_temp.bob());
select results_eq(
    $$ select name from runs join public.search_runs using (id) where name in ('ada 3', 'ada 4', 'bob 3')
       order by position, name $$,
    array['ada 3', 'bob 3', 'ada 4'],
    'a later run goes behind the same user''s own, and not behind everybody else''s');

with inserted as (
    insert into public.search_runs (user_id, kind, parameters, source, client_context)
    values (pg_temp.ada(), 'pgtap', '{"search_term": "x"}', 'cron', '{"name": "cron"}'),
           (pg_temp.ada(), 'pgtap', '{"search_term": "x"}', 'api', '{"name": "api"}'),
           (pg_temp.ada(), 'pgtap', '{"search_term": "x"}', 'manual', '{"name": "ada 5"}')
    returning id, client_context
)
insert into runs select client_context ->> 'name', id from inserted;

create temporary table claims (ordinal integer generated always as identity, run_id uuid);
do $$
begin
    for claim in 1..10 loop
        insert into claims (run_id) select run_id from pg_temp.claim(slots => 1);
    end loop;
end;
$$;
select is((select array_agg(left(name, 3) order by ordinal) from claims join runs on id = run_id where ordinal <= 6)
              operator(pg_catalog.@>) array['ada', 'bob'], true, 'the first claims serve both users');
select is((select array_agg(name order by ordinal) from claims join runs on id = run_id where ordinal > 6),
          array['ada 4', 'ada 5', 'api', 'cron'],
          'a person goes before a program, and a program before a schedule');

delete from public.search_runs where kind = 'pgtap';
do $$ begin
    perform pg_temp.enqueue(pg_temp.ada()) from generate_series(1, 3);
    perform from pg_temp.claim(slots => 2);
end $$;
create temporary table smallest as
    select min(position) as position from public.search_runs
    where status = 'pending' and run_after is null and leader_run_id is null and priority = 20;
create temporary table latecomer as select pg_temp.enqueue(pg_temp.bob()) as id;
select is((select position from public.search_runs join latecomer using (id)), position,
    'who comes late begins where the queue is now') from smallest;
do $$ begin perform from pg_temp.claim(); end $$;

-- Idempotent claims ----------------------------------------------------------------------------------------------

insert into runs select 'again ' || n, pg_temp.enqueue(pg_temp.ada()) from generate_series(1, 3) as n;
create temporary table claimed as
    select * from pg_temp.claim(slots => 2, claim_id => '00000000-0000-4000-8000-0000000000c1');
select is((select count(*)::integer from claimed), 2, 'a claim gets no more runs than it has slots');
select set_eq(
    $$ select run_id, lease_token, attempt, sites
       from pg_temp.claim(slots => 2, claim_id => '00000000-0000-4000-8000-0000000000c1') $$,
    'select run_id, lease_token, attempt, sites from claimed',
    'the same claim again returns the same runs with the same tokens');
select is((select count(*)::integer from public.run_events where event = 'claimed' and run_id in (select run_id from claimed)), 2,
    'the same claim again is no second attempt');
select is((select count(*)::integer from pg_temp.claim(slots => 2)), 1, 'another claim gets what is left');

-- Kinds ----------------------------------------------------------------------------------------------------------

insert into runs select 'other kind', pg_temp.enqueue(pg_temp.ada(), kind => 'jobs');
select is_empty('select from pg_temp.claim()', 'a kind that the worker does not know is left alone');
select is(pg_temp.status((select id from runs where name = 'other kind')), 'pending', 'and waits for one that does');

-- Limits of a claim ----------------------------------------------------------------------------------------------

select throws_ok(
    format($$ select public.worker_claim_runs('w', '{pgtap}', %s, 60, gen_random_uuid(), '[]') $$, slots),
    '22023', 'slots must be an integer from 1 to 100', 'slots: ' || slots)
from unnest(array['0', '101', 'null']) as slots;
select throws_ok(
    format($$ select public.worker_claim_runs('w', '{pgtap}', 1, %s, gen_random_uuid(), '[]') $$, seconds),
    '22023', 'lease_seconds must be an integer from 5 to 3600', 'lease_seconds: ' || seconds)
from unnest(array['4', '3601', 'null']) as seconds;

-- Delayed runs ---------------------------------------------------------------------------------------------------

-- Their leases would expire on the way.
delete from public.search_runs where kind = 'pgtap';

insert into public.search_runs (user_id, kind, parameters, run_after, client_context)
values (pg_temp.ada(), 'pgtap', '{"search_term": "x"}', worker.now() + interval '5 minutes', '{"name": "delayed"}');
insert into runs select 'delayed', id from public.search_runs where client_context = '{"name": "delayed"}';
select is_empty('select from pg_temp.claim()', 'a delayed run is not claimed before its time');
select pg_temp.move_clock(299);
select is_empty('select from pg_temp.claim()', 'not a second before');
select pg_temp.move_clock(300);
select results_eq('select run_id from pg_temp.claim()', $$ select id from runs where name = 'delayed' $$,
    'a due run is promoted and claimed');
select is((select run_after from public.search_runs join runs using (id) where name = 'delayed'), null,
    'a promoted run is not delayed any more');

-- Release --------------------------------------------------------------------------------------------------------

select pg_temp.move_clock(0);
insert into runs select 'released', pg_temp.enqueue(pg_temp.ada(), '{"sites": ["alpha", "beta"]}');
create temporary table before_claim as select * from public.search_runs join runs using (id) where name = 'released';
create temporary table lease as select * from pg_temp.claim();
select pg_temp.search_site(run_id, 'alpha', 'completed') from lease;
select pg_temp.start_site(run_id, lease_token, 'beta', 1) from lease;
select lives_ok(
    $$ select public.worker_release_runs('worker-1', jsonb_agg(jsonb_build_object(
           'run_id', run_id, 'lease_token', gen_random_uuid()))) from lease $$,
    'a release with a stale token is no error');
select is(pg_temp.status(run_id), 'running', 'and changes nothing') from lease;
select public.worker_release_runs('worker-2', jsonb_build_array(to_jsonb(lease))) from lease;
select is(pg_temp.status(run_id), 'running', 'nor does another worker''s') from lease;
select lives_ok(
    format($$ select public.worker_release_runs('worker-1', '[{"run_id": "%s", "lease_token": "%s"}]') $$,
           run_id, lease_token),
    'release, time ' || time) from lease, generate_series(1, 2) as time;
select results_eq(
    $$ select status::text, attempts, rescues, position from public.search_runs join lease on id = run_id $$,
    $$ select 'pending', 0::smallint, 0::smallint, position from before_claim $$,
    'a released run is back at its place, and the attempt is not counted');
select results_eq(
    $$ select attempt, sites from pg_temp.claim() $$,
    $$ values (1, '[{"site": "beta", "attempt": 2}]'::jsonb) $$,
    'the next worker gets the sites that are not finished');
select is((select string_agg(event || coalesce(' ' || site, ''), ', ' order by run_events.id)
           from public.run_events join lease using (run_id)),
    'created, claimed, site_started alpha, site_finished alpha, site_started beta, released, claimed',
    'the events tell the story');

select * from finish();
rollback;
