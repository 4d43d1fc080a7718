-- Fallback sites are searched once a site has failed for good, is paused, or is out of quota, and otherwise never.
begin;
\ir fixture.psql
select pg_temp.share_nothing();
select plan(34);

create function pg_temp.ask(parameters jsonb default '{}', max_attempts integer default 1) returns uuid language sql as $$
    select pg_temp.enqueue(
        pg_temp.ada(), '{"sites": ["alpha", "beta"], "fallback_sites": ["gamma", "delta"]}' || parameters,
        max_attempts => ask.max_attempts);
$$;

create function pg_temp.end_site(
    run_id uuid, site text, results integer, error_code text default null, retryable boolean default null,
    attempt integer default 1
) returns void language sql as $$
    select pg_temp.start_site(run_id, pg_temp.token(run_id), site, attempt);
    select pg_temp.save_page(run_id, pg_temp.token(run_id), site, 1,
                             array(select format('%s %s of %s', site, number, run_id) from generate_series(1, results) as number));
    select pg_temp.finish_site(
        run_id, pg_temp.token(run_id), site, null, error_code, 'said ' || error_code, retryable);
$$;

create function pg_temp.finish(run_id uuid) returns jsonb language sql as $$
    select pg_temp.finish_run(run_id, pg_temp.token(run_id));
$$;

create function pg_temp.wait(run_id uuid, site text, reason text) returns void language sql as $$
    insert into worker.site_waits (run_id, site, account, bucket, waiting_since, due_at, reason, message)
    values (run_id, site, '', site, worker.now(), worker.now() + interval '10 minutes', reason, 'said ' || reason);
$$;

create function pg_temp.sites(run_id uuid) returns text language sql as $$
    select string_agg(concat_ws(' ', site, case when is_fallback then 'instead' end, status), ', ' order by position)
    from public.run_sites where run_sites.run_id = sites.run_id;
$$;

-- Not needed -----------------------------------------------------------------------------------------------------

create temporary table fine as select pg_temp.ask() as id;
select is((select progress_total from public.search_runs join fine using (id)), 20, 'the total counts sites only');
select run_id from pg_temp.claim();
select pg_temp.end_site(id, 'alpha', 1), pg_temp.end_site(id, 'beta', 1) from fine;
select is((select pg_temp.finish(id) ->> 'status' from fine), 'success', 'with all sites, a run ends');
select is((select pg_temp.sites(id) from fine), 'alpha completed, beta completed', 'and its fallback sites stay out of it');
select is_empty($$ select from public.run_events, fine where run_id = fine.id and event = 'fallback' $$, 'without an event');

-- A site has failed for good -------------------------------------------------------------------------------------

create temporary table run as select pg_temp.ask() as id;
create temporary table lease as select * from pg_temp.claim();
select pg_temp.end_site(id, 'alpha', 2), pg_temp.end_site(id, 'beta', 1, 'not_found', false) from run;
select is((select progress_current from public.search_runs join run using (id)), 11,
    'a failed site is not given up on while fallback sites can be searched');
create temporary table answer as select pg_temp.finish(id) as answer from run;
select is((select answer ->> 'status' from answer), 'running', 'the run continues');
select results_eq(
    $$ select fallback ->> 'site', fallback -> 'attempt', fallback -> 'next_page'
       from answer, jsonb_array_elements(answer -> 'fallbacks') as fallback order by 1 desc $$,
    $$ values ('gamma', '1'::jsonb, '1'::jsonb), ('delta', '1'::jsonb, '1'::jsonb) $$,
    'the answer to its worker has the sites to search');
select is((select pg_temp.sites(id) from run),
    'alpha completed, beta partial, gamma instead pending, delta instead pending', 'users see them, as the last ones');
select results_eq(
    $$ select data from public.run_events, run where run_id = run.id and event = 'fallback' $$,
    $$ values ('{"sites": ["gamma", "delta"], "because": [
        {"site": "beta", "reason": "not_found", "message": "Beta does not know what was asked for: said not_found."}]}'::jsonb) $$,
    'an event says why');
select is(pg_temp.finish(id), (select answer from answer), 'the same call again answers the same') from run;
select pg_temp.end_site(id, 'gamma', 3) from run;
select is((select progress_current from public.search_runs join run using (id)), 14, 'what they find counts');
select pg_temp.wait(id, 'delta', 'rate') from run;
select is((select pg_temp.finish(id) ->> 'status' from run), 'pending', 'a fallback site may have to wait, too');
select pg_temp.move_clock(601);
select results_eq(
    'select sites from pg_temp.claim()', $$ values ('[{"site": "delta", "attempt": 1}]'::jsonb) $$, 'and is searched later');
select pg_temp.end_site(id, 'delta', 0, 'network', true) from run;
select is((select pg_temp.finish(id) -> 'fallbacks' from run), '[]', 'they are needed once');
select results_eq(
    $$ select status::text, error_code, error_message, jobs_found, progress_current from public.search_runs join run using (id) $$,
    $$ values ('partial', 'not_found', 'Beta does not know what was asked for: said not_found. Delta could not be reached.', 6, 20) $$,
    'a run whose fallback sites deliver is partial, and says what failed');
select is((select count(*)::integer from public.run_events, run where run_id = run.id and event = 'fallback'), 1,
    'the event is written once');

-- A site may be tried again --------------------------------------------------------------------------------------

create temporary table retried as select pg_temp.ask(max_attempts => 2) as id;
select run_id from pg_temp.claim();
select pg_temp.end_site(id, 'alpha', 1), pg_temp.end_site(id, 'beta', 0, 'network', true) from retried;
select is((select pg_temp.finish(id) -> 'progress' ->> 'step' from retried), 'retrying', 'a site that may succeed is tried again first');
select pg_temp.move_clock(700);
select run_id from pg_temp.claim();
select pg_temp.end_site(id, 'beta', 0, 'network', true, 2) from retried;
select is((select jsonb_array_length(pg_temp.finish(id) -> 'fallbacks') from retried), 2, 'after the last attempt, it has failed for good');
select pg_temp.end_site(id, 'gamma', 1), pg_temp.end_site(id, 'delta', 1) from retried;
select is((select pg_temp.finish(id) ->> 'status' from retried), 'partial', 'then the run ends');

create temporary table spent as select pg_temp.ask(max_attempts => 2) as id;
select run_id from pg_temp.claim();
select pg_temp.end_site(id, 'alpha', 1), pg_temp.end_site(id, 'beta', 0, 'quota_exceeded', true) from spent;
select is((select jsonb_array_length(pg_temp.finish(id) -> 'fallbacks') from spent), 2, 'a quota that is used up is no reason to wait');
select pg_temp.end_site(id, 'gamma', 1), pg_temp.end_site(id, 'delta', 1) from spent;
select is((select pg_temp.finish(id) -> 'progress' ->> 'step' from spent), 'retrying', 'nor a reason to give the site up');
select pg_temp.move_clock(800);
select results_eq('select sites from pg_temp.claim()', $$ values ('[{"site": "beta", "attempt": 2}]'::jsonb) $$,
    'only it is searched again');
select pg_temp.end_site(id, 'beta', 1, attempt => 2) from spent;
create temporary table spent_answer as select id, pg_temp.finish(id) ->> 'status' as status from spent;
select results_eq(
    $$ select answer.status, run.error_code from spent_answer as answer join public.search_runs as run using (id) $$,
    $$ values ('success', null::text) $$, 'and with it the run is complete');

-- Sites wait -----------------------------------------------------------------------------------------------------

create temporary table paced as select pg_temp.ask() as id;
select run_id from pg_temp.claim();
select pg_temp.end_site(id, 'alpha', 1), pg_temp.wait(id, 'beta', 'rate') from paced;
select is((select pg_temp.finish(id) ->> 'status' from paced), 'pending', 'a site that is only paced is waited for');
select is((select pg_temp.sites(id) from paced), 'alpha completed, beta pending', 'without fallback sites');
update public.search_runs set cancel_requested_at = now() where id = (select id from paced);

create temporary table waiting as select pg_temp.ask('{"sites": ["alpha"], "fallback_sites": ["gamma"]}') as id;
select run_id from pg_temp.claim();
select pg_temp.wait(id, 'alpha', 'paused') from waiting;
select is((select pg_temp.finish(id) #>> '{fallbacks,0,site}' from waiting), 'gamma', 'a run does not wait for a paused site alone');
select pg_temp.end_site(id, 'gamma', 12) from waiting;
select is((select pg_temp.finish(id) ->> 'status' from waiting), 'pending', 'but searches it when the pause is over');
select is((select progress_current from public.search_runs join waiting using (id)), 9, 'and is not full before');
select pg_temp.move_clock(1500);
select results_eq('select sites from pg_temp.claim()', $$ values ('[{"site": "alpha", "attempt": 1}]'::jsonb) $$, 'only that site is left');
select pg_temp.end_site(id, 'alpha', 1) from waiting;
select is((select pg_temp.finish(id) ->> 'status' from waiting), 'success', 'then the run is a success');

-- Its results are not counted beside what they make up for.
create temporary table mixed as select pg_temp.ask('{"fallback_sites": ["gamma"]}') as id;
select run_id from pg_temp.claim();
select pg_temp.wait(id, 'alpha', 'paused'), pg_temp.end_site(id, 'beta', 1, 'not_found', false) from mixed;
select pg_temp.finish(id) from mixed;
select pg_temp.start_site(id, pg_temp.token(id), 'gamma', 1) from mixed;
select pg_temp.save_page(id, pg_temp.token(id), 'gamma', 1, array['g1', 'g2', 'g3']) from mixed;
select is((select progress_current from public.search_runs join mixed using (id)), 4, 'while a fallback site is searched, what it finds counts');
select pg_temp.finish_site(id, pg_temp.token(id), 'gamma') from mixed;
select is((select progress_current from public.search_runs join mixed using (id)), 10,
    'after it, the failed site is given up on, and the paused one is not');
update public.search_runs set cancel_requested_at = now() where id = (select id from mixed);

create temporary table skipped as select pg_temp.ask('{"sites": ["alpha"], "fallback_sites": ["gamma"]}') as id;
select run_id from pg_temp.claim();
select pg_temp.wait(id, 'alpha', 'quota') from skipped;
select pg_temp.finish(id) from skipped;
select pg_temp.wait(id, 'gamma', 'rate') from skipped;
select pg_temp.end_site(id, 'alpha', 1) from skipped;
select is((select pg_temp.finish(id) ->> 'status' from skipped), 'success', 'no run waits for a fallback site that it does not need any more');
select is((select pg_temp.sites(id) from skipped), 'alpha completed, gamma instead skipped', 'that site is skipped');

select * from finish();
rollback;
