-- What a worker writes: the fence, pages, sites, and the status that a run ends with.
begin;
\ir fixture.psql
select pg_temp.share_nothing();
select plan(52);

create temporary table run as
    select pg_temp.enqueue(pg_temp.ada(), '{"sites": ["alpha", "beta"], "results_wanted": 3}') as id;
create temporary table lease as select * from pg_temp.claim();

-- The fence ------------------------------------------------------------------------------------------------------

create function pg_temp.snapshot() returns text language sql as $$
    select md5(concat(
        (select jsonb_agg(to_jsonb(r) order by r.id) from public.search_runs as r),
        (select jsonb_agg(to_jsonb(r) order by r.run_id, r.site) from public.search_run_sites as r),
        (select jsonb_agg(to_jsonb(r) order by r.run_id, r.item_id) from public.search_results as r),
        (select jsonb_agg(to_jsonb(r) order by r.id) from public.items as r),
        (select jsonb_agg(to_jsonb(r) order by r.id) from public.run_events as r),
        (select jsonb_agg(to_jsonb(r) order by r.id) from worker.raw_collections as r),
        (select jsonb_agg(to_jsonb(r) order by r.run_id) from worker.leases as r)));
$$;

create temporary table fenced (call text);
insert into fenced values
    ($$ select pg_temp.start_site('%s', '%s', 'alpha', 1) $$),
    ($$ select pg_temp.save_page('%s', '%s', 'alpha', 1, '{a1}') $$),
    ($$ select pg_temp.finish_site('%s', '%s', 'alpha') $$),
    ($$ select pg_temp.finish_run('%s', '%s') $$);
create temporary table before as select pg_temp.snapshot() as snapshot;

select throws_ok(format(call, run_id, gen_random_uuid()), 'PT409', 'lease_lost', 'a stale token:' || call)
from fenced, lease;
select throws_ok(format(call, gen_random_uuid(), lease_token), 'PT409', 'lease_lost', 'another run''s token:' || call)
from fenced, lease;
select is(pg_temp.snapshot(), (select snapshot from before), 'a call that is fenced off changes nothing');

-- Pages ----------------------------------------------------------------------------------------------------------

select throws_ok(
    format($$ select pg_temp.save_page('%s', '%s', 'alpha', 1, '{a1}') $$, run_id, lease_token),
    '22023', 'site must be one that was started with worker_start_sites, not ''alpha''', 'a page of a site that was not started')
from lease;
select throws_ok(
    format($$ select pg_temp.save_page('%s', '%s', 'omega', 1, '{a1}') $$, run_id, lease_token),
    '22023', 'site must be one that was started with worker_start_sites, not ''omega''', 'a page of a site that the run has not')
from lease;

select pg_temp.start_site(run_id, lease_token, 'alpha', 1) from lease;
select is((select progress from public.search_runs join run using (id)), '{"step": "searching", "site": "alpha"}'::jsonb,
    'a started site is the run''s progress');
select pg_temp.start_site(run_id, lease_token, 'alpha', 1) from lease;
select is((select count(*)::integer from public.run_events, run where run_id = run.id and event = 'site_started'), 1,
    'a site started twice is started once');

select pg_temp.move_clock(2);
select is(pg_temp.save_page(run_id, lease_token, 'alpha', 1, '{a1,a2}'), 2, 'a page reports how many results are new') from lease;
update before set snapshot = pg_temp.snapshot();
select is(pg_temp.save_page(run_id, lease_token, 'alpha', 1, '{a1,a2}'), 2, 'the same page again reports the same') from lease;
select is(pg_temp.snapshot(), (select snapshot from before), 'a page is idempotent');

select results_eq(
    $$ select jobs_found, progress_current, progress_total from public.search_runs join run using (id) $$,
    $$ values (2, 2, 6) $$, 'results are counted');
select results_eq(
    $$ select title, position, page_number, site, is_new from public.run_items, run where run_id = id order by position $$,
    $$ values ('Title of a1', 1, 1, 'alpha', true), ('Title of a2', 2, 1, 'alpha', true) $$,
    'what was found can be read');
select results_eq(
    $$ select source, attempt, page_number, item_count, calls_used from worker.raw_collections, run where run_id = run.id $$,
    $$ values ('pgtap', 1::smallint, 1, 2, 1) $$, 'the page is kept as it came');

update worker.settings set progress_interval = '1 second';
select is(pg_temp.save_page(run_id, lease_token, 'alpha', 2, '{a2,a3,a4,a3}'), 2,
    'only what the run did not have counts') from lease;
select is((select jobs_found from public.search_runs join run using (id)), 2,
    'progress is not written twice within progress_interval');
select pg_temp.move_clock(4);
select is(pg_temp.save_page(run_id, lease_token, 'alpha', 3, '{}'), 0, 'an empty page') from lease;
select results_eq(
    $$ select jobs_found, progress_current from public.search_runs join run using (id) $$,
    $$ values (4, 3) $$, 'after it, it is; a site counts no more than the results wanted');

-- Sites ----------------------------------------------------------------------------------------------------------

select throws_ok(
    format($$ select pg_temp.finish_run('%s', '%s') $$, run_id, lease_token),
    '22023', 'run_id must be the id of a run whose sites have all finished or wait', 'a run does not end before its sites')
from lease;

select pg_temp.finish_site(run_id, lease_token, 'alpha') from lease;
select results_eq(
    $$ select status::text, jobs_found, completed_at = worker.now() from public.search_run_sites, run
       where run_id = run.id and site = 'alpha' $$,
    $$ values ('completed', 4, true) $$, 'a finished site');
update before set snapshot = pg_temp.snapshot();
select pg_temp.finish_site(run_id, lease_token, 'alpha', null, 'blocked', 'again', true) from lease;
select is(pg_temp.snapshot(), (select snapshot from before), 'a site that is finished stays as it is');
select is(pg_temp.save_page(run_id, lease_token, 'alpha', 3, '{}'), 0, 'a page that was saved may come again after it') from lease;
select throws_ok(
    format($$ select pg_temp.save_page('%s', '%s', 'alpha', 4, '{a9}') $$, run_id, lease_token),
    '22023', 'site must be one that was started with worker_start_sites, not ''alpha''', 'a new page may not')
from lease;

select pg_temp.search_site(run_id, 'beta', 'failed', 'blocked') from lease;
select results_eq(
    $$ select site, consecutive_failures, last_error_code from worker.site_health where site in ('alpha', 'beta') order by site $$,
    $$ values ('alpha', 0, null), ('beta', 1, 'blocked') $$, 'the health of sites is kept');

-- The end --------------------------------------------------------------------------------------------------------

select is((select pg_temp.finish_run(run_id, lease_token) ->> 'status'), 'partial', 'some sites completed') from lease;
update before set snapshot = pg_temp.snapshot();
select is((select pg_temp.finish_run(run_id, lease_token) ->> 'status'), 'partial', 'finished again, it answers the same')
from lease;
select is(pg_temp.snapshot(), (select snapshot from before), 'and changes nothing');
select results_eq(
    $$ select jobs_found, progress_current, progress_total, progress, error_code, error_message, completed_at = worker.now()
       from public.search_runs join run using (id) $$,
    $$ values (4, 6, 6, '{"step": "finished"}'::jsonb, 'blocked', 'Beta is not answering at the moment.', true) $$,
    'a finished run counts up, and says why sites failed');
select is_empty('select from worker.leases join run on run_id = id', 'a finished run has no lease');
select throws_ok(format(call, run_id, lease_token), 'PT409', 'lease_lost', 'after the end:' || call)
from (select call from fenced limit 3) as fenced, lease;

-- Each way to end: {status of alpha, status of beta, status of the run}.
create temporary table endings as
select pg_temp.enqueue(pg_temp.ada(), '{"sites": ["alpha", "beta"]}') as run_id, alpha, beta, expected
from (values
    ('completed', 'completed', 'success'), ('completed', 'partial', 'partial'), ('partial', 'failed', 'partial'),
    ('failed', 'completed', 'partial'), ('failed', 'failed', 'failed'))
    as ending (alpha, beta, expected);
do $$ begin perform from pg_temp.claim(); end $$;
select pg_temp.search_site(run_id, 'alpha', alpha, 'timeout'), pg_temp.search_site(run_id, 'beta', beta) from endings;
select is((select string_agg(status::text, ' ' order by position) from public.search_run_sites as site
           where site.run_id = endings.run_id), format('%s %s', alpha, beta), 'a site''s status comes from its results and its error')
from endings;
select is((select pg_temp.finish_run(run_id, pg_temp.token(run_id)) ->> 'status'), expected,
          format('alpha %s, beta %s', alpha, beta))
from endings;
select is((select error_code || ' ' || error_message from public.search_runs where id = run_id),
          'timeout Alpha did not answer in time. Beta is not answering at the moment.', 'the first site''s code and every site''s reason')
from endings where alpha = 'failed' and beta = 'failed';

-- Final ----------------------------------------------------------------------------------------------------------

select throws_ok(
    format($$ update public.search_runs set status = '%s', completed_at = %s where id = '%s' $$,
           status, case when status in ('pending', 'running') then 'null' else 'now()' end, id),
    'PT409', 'run_finished', format('partial does not become %s', status))
from run, unnest(array['pending', 'running', 'success', 'cancelled']) as status;

select * from finish();
rollback;
