-- Who sees and does what. Ada searched and found; Bob has a run of his own; both are the same role.
begin;
\ir fixture.psql
select pg_temp.share_nothing();
select plan(62);

create temporary table runs (name text primary key, id uuid);
insert into runs values ('ada', pg_temp.enqueue(pg_temp.ada()));
do $$
declare
    lease record;
begin
    select * into strict lease from pg_temp.claim();
    perform pg_temp.start_site(lease.run_id, lease.lease_token, 'alpha', 1);
    perform pg_temp.save_page(lease.run_id, lease.lease_token, 'alpha', 1, '{a1,a2}');
    perform pg_temp.finish_site(lease.run_id, lease.lease_token, 'alpha');
    perform pg_temp.finish_run(lease.run_id, lease.lease_token);
end;
$$;
insert into runs values ('bob', pg_temp.enqueue(pg_temp.bob()));
insert into public.saved_searches (user_id, name, kind, parameters)
values (pg_temp.ada(), 'mine', 'pgtap', '{"search_term": "x"}');

-- A person that Bob found through his own account.
with person as (
    insert into public.items (kind, owner_id, title, url, canonical_key, first_seen_at, last_seen_at)
    values ('pgtap', pg_temp.bob(), 'A person', 'https://example.test/person', 'alpha:p1', now(), now())
    returning id, owner_id
)
insert into public.item_sources (site, external_id, item_id, owner_id, url, first_seen_at, last_seen_at)
select 'alpha', 'p1', id, owner_id, 'https://example.test/person', now(), now() from person;
insert into public.search_results (run_id, item_id, site, page_number, position, created_at)
select runs.id, items.id, 'alpha', 1, 1, now() from runs, public.items where name = 'bob' and owner_id = pg_temp.bob();
grant select on runs to public;

-- How many rows of a relation a user sees, of those that this test made.
create function pg_temp.seen(relation text) returns integer language plpgsql as $$
declare
    seen integer;
begin
    execute format(case
        when relation = 'search_runs' then 'select count(*) from public.%I where kind = ''pgtap'''
        when relation = 'saved_searches' then 'select count(*) from public.%I where kind = ''pgtap'''
        when relation = 'items' then 'select count(*) from public.%I where kind = ''pgtap'''
        when relation = 'item_sources' then 'select count(*) from public.%I where url like ''https://example.test/%%'''
        else 'select count(*) from public.%I where run_id in (select id from pg_temp.runs)' end, relation) into seen;
    return seen;
end;
$$;

-- Everything is there, for the one who made it.
create temporary table expected (relation text, all_rows integer, adas integer, bobs integer);
insert into expected values
    ('search_runs', 2, 1, 1), ('search_run_sites', 2, 1, 1), ('search_results', 3, 2, 1), ('run_items', 3, 2, 1),
    ('run_sites', 2, 1, 1),
    ('run_events', 6, 5, 1), ('saved_searches', 1, 1, 0),
    -- Public items are everybody's, Bob's person is Bob's.
    ('items', 3, 2, 3), ('item_sources', 3, 2, 3);
grant select on expected to public;
select is(pg_temp.seen(relation), all_rows, 'rows of ' || relation) from expected;

select pg_temp.sign_in(pg_temp.ada());
select is(pg_temp.seen(relation), adas, 'Ada''s rows of ' || relation) from expected;
select pg_temp.sign_in(pg_temp.bob());
select is(pg_temp.seen(relation), bobs, 'Bob''s rows of ' || relation) from expected;

-- A follower, and a run that was answered with another's results -------------------------------------------------

reset role;
update public.search_runs set leader_run_id = (select id from runs where name = 'ada')
where id = (select id from runs where name = 'bob');
select pg_temp.sign_in(pg_temp.bob());
select is(pg_temp.seen('search_runs'), 1, 'a follower does not see its leader');
select is(pg_temp.seen('search_run_sites'), 2, 'but its leader''s sites');
select is(pg_temp.seen('search_results'), 3, 'and results');
select results_eq(
    $$ select title from public.run_items join runs on id = run_id where name = 'bob' order by title $$,
    array['Title of a1', 'Title of a2'], 'as if they were its own');
select results_eq(
    $$ select site, status::text, jobs_found from public.run_sites join runs on id = run_id where name = 'bob' $$,
    $$ select site, status::text, jobs_found from public.search_run_sites join runs on runs.id = run_id where name = 'ada' $$,
    'and so are its sites');
select is_empty($$ select from public.run_sites join runs on id = run_id where name = 'ada' $$,
    'which are not to be found under the leader''s name');

reset role;
update public.search_runs set leader_run_id = null, shared_run_id = (select id from runs where name = 'ada')
where id = (select id from runs where name = 'bob');
select pg_temp.sign_in(pg_temp.bob());
select is(pg_temp.seen('search_run_sites'), 2, 'a run that was answered with another''s results sees its sites');
select is(pg_temp.seen('search_results'), 3, 'and results');
select is((select count(*)::integer from public.run_items join runs on id = run_id where name = 'bob'), 2,
    'as if they were its own');
select is((select count(*)::integer from public.run_sites join runs on id = run_id where name = 'bob'), 1,
    'and so are its sites');
select is(pg_temp.seen('run_events'), 1, 'and not its events');

-- What a user may set --------------------------------------------------------------------------------------------

select pg_temp.sign_in(pg_temp.ada());
select is((select user_id from public.enqueue_search('pgtap', '{"search_term": "x"}')), pg_temp.ada(),
    'a search is the signed-in user''s');
select is((select id from public.enqueue_search('pgtap', '{"search_term": "x"}', null, 'once')),
          (select id from public.enqueue_search('pgtap', '{"search_term": "other"}', null, 'once')),
    'the same idempotency key makes no second run');
select throws_ok(
    $$ insert into public.search_runs (user_id, kind, parameters)
       values (pg_temp.bob(), 'pgtap', '{"search_term": "x"}') $$,
    '42501', 'new row violates row-level security policy for table "search_runs"', 'not for another user');
select throws_ok(
    format('insert into public.search_runs (kind, parameters, %I) values (''pgtap'', ''{"search_term": "x"}'', null)',
           attname),
    '42501', 'permission denied for table search_runs', 'not with ' || attname)
from pg_attribute
where attrelid = 'public.search_runs'::regclass and attname in ('status', 'priority', 'source', 'run_after', 'jobs_found')
order by attname;
select throws_ok('update public.search_runs set client_context = null', '42501', 'permission denied for table search_runs',
    'a run is not changed');
select throws_ok(
    format('select public.delete_search(%L)', id), 'PT409', 'This search has not ended. Cancel it before you delete it.',
    'nor deleted while it is active')
from (select id from public.search_runs where completed_at is null limit 1) as active;
select throws_ok(
    format('select public.delete_search(%L)', id), 'PT404', 'run_id must be the id of one of your runs', 'nor another user''s')
from runs where name = 'bob';
select throws_ok($$ insert into public.run_events (run_id, event, created_at) select id, 'created', now() from runs $$,
    '42501', 'permission denied for table run_events', 'events are written by the database alone');
select throws_ok('select from worker.leases', '42501', 'permission denied for schema worker', 'tokens are not read');
select throws_ok(
    $$ select public.worker_claim_runs('w', '{pgtap}', 1, 60, gen_random_uuid(), '[]') $$,
    '42501', 'permission denied for function worker_claim_runs', 'a user is no worker');

select results_eq(
    $$ update public.saved_searches set name = 'renamed' where name = 'mine' returning user_id $$,
    array[pg_temp.ada()], 'a saved search is its owner''s to change');
select pg_temp.sign_in(pg_temp.bob());
select is_empty($$ update public.saved_searches set name = 'Bob''s' returning id $$, 'and nobody else''s');
select is_empty('delete from public.saved_searches returning id', 'nor to delete');

-- Without signing in, and as the worker --------------------------------------------------------------------------

set local role anon;
select throws_ok('select from public.' || relation, '42501', format('permission denied for %s %s', kind, relation),
    'anon: ' || relation)
from (values ('table', 'search_runs'), ('table', 'items'), ('view', 'run_items')) as refused (kind, relation);
select throws_ok($$ select public.enqueue_search('pgtap', '{"search_term": "x"}') $$, '42501',
    'permission denied for function enqueue_search', 'anon: enqueue_search');

set local role service_role;
select is((select count(*)::integer from public.worker_claim_runs('w', '{pgtap}', 10, 60, gen_random_uuid(), '[]')), 3,
    'service_role claims everybody''s');
select throws_ok('select from worker.leases', '42501', 'permission denied for schema worker',
    'service_role: the RPCs are the only way');
select throws_ok($$ update public.search_runs set status = 'success' where true $$, '42501',
    'permission denied for table search_runs', 'service_role: no status by hand');

reset role;
select * from finish();
rollback;
