-- Failed sites are searched again, later, and nothing else is. The clock is moved; nothing waits.
begin;
\ir fixture.psql
select pg_temp.share_nothing();
select plan(54);

-- One attempt at a site: it finds these, and fails unless error_code is null.
create function pg_temp.attempt_site(
    run_id uuid, site text, attempt integer, external_ids text[], error_code text default null, retryable boolean default null
) returns void language sql as $$
    select pg_temp.start_site(run_id, pg_temp.token(run_id), site, attempt);
    select pg_temp.save_page(run_id, pg_temp.token(run_id), site, 1, external_ids);
    select pg_temp.finish_site(
        run_id, pg_temp.token(run_id), site, null, error_code, 'said ' || error_code, retryable);
$$;

create function pg_temp.finish(run_id uuid) returns jsonb language sql as $$
    select pg_temp.finish_run(run_id, pg_temp.token(run_id));
$$;

-- Only temporary errors are retried ------------------------------------------------------------------------------

create temporary table run as
    select pg_temp.enqueue(pg_temp.ada(), '{"sites": ["alpha", "beta", "gamma"]}', max_attempts => 3) as id;
create temporary table lease as select * from pg_temp.claim();
select pg_temp.attempt_site(id, 'alpha', 1, '{a1,a2}') from run;
select pg_temp.attempt_site(id, 'beta', 1, '{b1}', 'timeout', true) from run;
select pg_temp.attempt_site(id, 'gamma', 1, '{}', 'not_found', false) from run;
create temporary table answer as select pg_temp.finish(id) as answer from run;

select results_eq(
    $$ select status::text, attempts, error_code, error_message, progress, completed_at, jobs_found, progress_current
       from public.search_runs join run using (id) $$,
    $$ select 'pending', 1::smallint, 'timeout', 'Beta did not answer in time; it will be tried again at '
               || worker.time_for_user(run_after) || '. Gamma does not know what was asked for: said not_found.',
               '{"step": "retrying", "details": {"sites": ["beta"]}}'::jsonb, null::timestamptz, 3, 21 from public.search_runs join run using (id) $$,
    'a run with a temporary failure waits for another attempt, and says why');
select is((select answer ->> 'status' from answer), 'pending', 'the answer to its worker says so');
select results_eq(
    $$ select site, status::text, error_code, completed_at is null from public.search_run_sites, run
       where run_id = run.id order by site $$,
    $$ values ('alpha', 'completed', null, false), ('beta', 'pending', 'timeout', true),
              ('gamma', 'failed', 'not_found', false) $$,
    'only the site with a temporary failure is open again');
select is((select count(*)::integer from public.run_items, run where run_id = id), 3, 'what was found stays to be seen');
select is((select pg_temp.finish_run(run_id, lease_token) from lease), (select answer from answer),
    'the same end again answers the same');
select is((select count(*)::integer from public.run_events, run where run_id = run.id and event = 'retried'), 1,
    'and is no second retry');
select is(pg_temp.heartbeat(run_id, lease_token), 'finished', 'its worker has ended the attempt itself') from lease;
select is(
    public.worker_save_pages(jsonb_build_array(jsonb_build_object(
        'run_id', run_id, 'lease_token', lease_token, 'site', 'beta', 'attempt', 1, 'page_number', 2, 'raw', '{}'::jsonb,
        'items', '[]'::jsonb, 'errors', '[]'::jsonb, 'progress', '{}'::jsonb))),
    '[{"state": "lease_lost"}]', 'and no later write gets in')
from lease;

select pg_temp.move_clock(22);
select is_empty('select from pg_temp.claim()', 'it is not claimed before three quarters of the delay');
select pg_temp.move_clock(38);
select results_eq(
    'select run_id, attempt, sites from pg_temp.claim()',
    $$ select id, 2, '[{"site": "beta", "attempt": 2}]'::jsonb from run $$,
    'after the delay and a quarter it is, for the failed site alone');
select results_eq(
    $$ select status::text, attempts, error_code, error_message, run_after from public.search_runs join run using (id) $$,
    $$ values ('running', 2::smallint, null, null, null::timestamptz) $$,
    'a new attempt has no error yet');
select is((select pg_temp.finish_run(run_id, lease_token) ->> 'status' from lease), 'running',
    'the first end, once more, does not end the second attempt');
select pg_temp.start_site(id, pg_temp.token(id), 'beta', 2) from run;
select results_eq(
    $$ select attempts, error_code, error_message, retryable from public.search_run_sites, run
       where run_id = run.id and site = 'beta' $$,
    'values (2::smallint, null, null, null::boolean)', 'nor has its site, once it is searched');
select is((select progress_current from public.search_runs join run using (id)), 21, 'progress never falls');
select pg_temp.attempt_site(id, 'beta', 2, '{b1,b2}') from run;
select pg_temp.finish(id) from run;
select results_eq(
    $$ select status::text, error_code, error_message, jobs_found, attempts from public.search_runs join run using (id) $$,
    $$ values ('partial', 'not_found', 'Gamma does not know what was asked for: said not_found.', 4, 2::smallint) $$,
    'when the site succeeds only the permanent failure is left, and with attempts left it is final');
select is(
    (select string_agg(event || coalesce(' ' || site, ''), ', ' order by run_events.id)
     from public.run_events join lease using (run_id)),
    'created, claimed, site_started alpha, site_finished alpha, site_started beta, site_finished beta, '
    'site_started gamma, site_finished gamma, retried, claimed, site_started beta, site_finished beta, finished',
    'the events tell the story');

-- Permanent failures ---------------------------------------------------------------------------------------------

create function pg_temp.status_after(retryable boolean, error_code text, max_attempts integer default 3) returns text
language plpgsql as $$
declare
    run_id uuid := pg_temp.enqueue(pg_temp.ada(), max_attempts => status_after.max_attempts);
begin
    perform from pg_temp.claim();
    perform pg_temp.attempt_site(run_id, 'alpha', 1, '{}', status_after.error_code, status_after.retryable);
    return pg_temp.finish(run_id) ->> 'status';
end;
$$;
select is(pg_temp.status_after(false, 'invalid_parameters'), 'failed', 'a permanent failure is final at once');
select is(pg_temp.status_after(null, 'internal'), 'failed', 'so is one of which nobody says that it may pass');
select is(pg_temp.status_after(true, 'blocked', max_attempts => 1), 'failed', 'so is any, with a single attempt');
select is(pg_temp.status_after(true, null), 'success', 'a site that completed is not tried again, whatever is said of it');

-- The last attempt -----------------------------------------------------------------------------------------------

create function pg_temp.status_after_two_attempts(external_ids text[]) returns text language plpgsql as $$
declare
    run_id uuid := pg_temp.enqueue(pg_temp.ada(), max_attempts => 2);
begin
    perform from pg_temp.claim();
    perform pg_temp.attempt_site(run_id, 'alpha', 1, status_after_two_attempts.external_ids, 'blocked', true);
    perform pg_temp.finish(run_id);
    perform from pg_temp.claim();
    perform pg_temp.attempt_site(run_id, 'alpha', 2, '{}', 'blocked', true);
    return pg_temp.finish(run_id) ->> 'status';
end;
$$;
update worker.settings set retry_delay = '0';
select is(pg_temp.status_after_two_attempts('{}'), 'failed', 'the last attempt ends in failed');
select is(pg_temp.status_after_two_attempts('{a1}'), 'partial', 'or in partial, with results of an earlier one');

-- Release and rescue in between ----------------------------------------------------------------------------------

update worker.settings set max_rescues = 3;
create temporary table story (step integer generated always as identity, what text, attempts smallint, status text);
create function pg_temp.tell(what text, run_id uuid) returns void language sql as $$
    insert into pg_temp.story (what, attempts, status)
    select tell.what, run.attempts, run.status from public.search_runs as run where run.id = tell.run_id;
$$;
create function pg_temp.release(run_id uuid) returns void language sql as $$
    select public.worker_release_runs('worker-1', jsonb_build_array(jsonb_build_object(
        'run_id', run_id, 'lease_token', pg_temp.token(run_id))));
$$;
do $$
declare
    run_id uuid;
begin
    perform pg_temp.move_clock(1000);
    run_id := pg_temp.enqueue(pg_temp.ada(), max_attempts => 2);
    perform from pg_temp.claim();
    perform pg_temp.tell('claimed', run_id);
    perform pg_temp.release(run_id);
    perform pg_temp.tell('released', run_id);
    perform from pg_temp.claim();
    perform pg_temp.move_clock(1100);
    perform from pg_temp.claim();
    perform pg_temp.tell('rescued and claimed', run_id);
    perform pg_temp.attempt_site(run_id, 'alpha', 1, '{}', 'blocked', true);
    perform pg_temp.finish(run_id);
    perform pg_temp.tell('retried', run_id);
    perform from pg_temp.claim();
    perform pg_temp.tell('claimed', run_id);
    perform pg_temp.release(run_id);
    perform pg_temp.tell('released', run_id);
    perform from pg_temp.claim();
    perform pg_temp.move_clock(1200);
    perform from pg_temp.claim();
    perform pg_temp.tell('rescued and claimed', run_id);
    perform pg_temp.move_clock(1300);
    perform from pg_temp.claim();
    perform pg_temp.tell('rescued and claimed', run_id);
    perform pg_temp.attempt_site(run_id, 'alpha', 2, '{}', 'blocked', true);
    perform pg_temp.finish(run_id);
    perform pg_temp.tell('finished', run_id);
end;
$$;
select results_eq('select what, attempts, status from story order by step', $$ values
    ('claimed', 1::smallint, 'running'),
    ('released', 0::smallint, 'pending'),
    ('rescued and claimed', 1::smallint, 'running'),
    ('retried', 1::smallint, 'pending'),
    ('claimed', 2::smallint, 'running'),
    ('released', 1::smallint, 'pending'),
    ('rescued and claimed', 2::smallint, 'running'),
    ('rescued and claimed', 2::smallint, 'running'),
    ('finished', 2::smallint, 'failed') $$,
    'neither release nor rescue costs an attempt, nor do they add one');

-- The delay ------------------------------------------------------------------------------------------------------

update worker.settings set retry_delay = '100 seconds', max_retry_delay = '250 seconds';
do $$ begin perform pg_temp.enqueue(pg_temp.ada(), max_attempts => 20) from generate_series(1, 60); end $$;
create temporary table delays (attempt integer, seconds numeric);
do $$
declare
    lease record;
begin
    for round in 1..5 loop
        perform pg_temp.move_clock(2000 + round * 400);
        for lease in select * from pg_temp.claim(slots => 100) loop
            perform pg_temp.start_site(lease.run_id, lease.lease_token, 'alpha', round);
            perform pg_temp.finish_site(lease.run_id, lease.lease_token, 'alpha', null, 'blocked', 'HTTP 403', true);
            perform pg_temp.finish_run(lease.run_id, lease.lease_token);
            insert into delays
            select lease.attempt, extract(epoch from run.run_after - worker.now()) from public.search_runs as run
            where run.id = lease.run_id;
        end loop;
    end loop;
end;
$$;
create temporary table expected (attempt integer, seconds numeric);
insert into expected values (1, 100), (2, 200), (3, 250), (4, 250), (5, 250);
select is((select count(*)::integer from delays where delays.attempt = expected.attempt), 60,
    format('attempt %s: every run is delayed', attempt)) from expected order by attempt;
select ok(
    (select min(delays.seconds) >= 0.75 * expected.seconds and max(delays.seconds) <= 1.25 * expected.seconds
     from delays where delays.attempt = expected.attempt),
    format('attempt %s: by %s s, give or take a quarter', attempt, seconds)) from expected order by attempt;
-- 60 draws fall into one half of the range about once in 10^16 times.
select ok(
    (select max(delays.seconds) - min(delays.seconds) > 0.25 * expected.seconds
     from delays where delays.attempt = expected.attempt),
    format('attempt %s: spread', attempt)) from expected order by attempt;

-- Defaults -------------------------------------------------------------------------------------------------------

insert into public.search_runs (user_id, kind, parameters, client_context)
values (pg_temp.ada(), 'pgtap', '{"search_term": "x"}', '{"name": "default"}');
select is((select max_attempts from public.search_runs where client_context = '{"name": "default"}'), 3::smallint,
    'three attempts by default');
select col_default_is('worker', 'settings', 'retry_delay', '00:00:30', 'the first delay is 30 seconds');
select col_default_is('worker', 'settings', 'max_retry_delay', '00:15:00', 'the longest 15 minutes');

-- What the user reads, and what the operator -----------------------------------------------------------------------

select is(worker.message_for_user('network', 'zip_recruiter'), 'ZipRecruiter could not be reached.', 'a site has a name');
select is(worker.message_for_user('blocked', 'some_board'), 'Some Board is not answering at the moment.', 'or is called by its key');
select is(worker.message_for_user('new', 'indeed'), 'The search of Indeed failed.', 'a code without a sentence');
select is(worker.message_for_user('quota', 'indeed', worker.now()),
    'The quota of requests to Indeed is used up; it will be tried again at '
        || to_char(worker.now() at time zone 'UTC', 'HH24:MI "UTC."'), 'a wait of today');
select is(worker.message_for_user('quota', 'indeed', '2099-11-23 00:00:30+00'),
    'The quota of requests to Indeed is used up; it will be tried again at 2099-11-23 00:00 UTC.', 'a wait of another day');
select is(worker.message_for_user('invalid_parameters', 'naukri', reason => 'country: naukri does not cover de.'),
    'Naukri cannot search for what was asked: country: naukri does not cover de.', 'what is wrong with the search');
select is(worker.message_for_user('blocked', 'indeed', reason => 'HTTP 403'), 'Indeed is not answering at the moment.',
    'what is wrong with the site is for the operator');
select is(worker.message_for_user('not_found', 'indeed', reason => reason), 'Indeed does not know what was asked for.', reason)
from unnest(array['HTTP 404', 'JSEARCH_VERSION: no such endpoint', 'the proxy knows nothing', 'https://a.test is gone',
                  'response status code 404']) as reason;
select is((select data ->> 'message' from public.run_events, run
           where run_id = run.id and event = 'site_finished' and site = 'gamma'), 'said not_found', 'who reads it in the event');

select * from finish();
rollback;
