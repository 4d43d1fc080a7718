-- What is old goes, in batches and with pauses; what is young or in use stays. The clock is moved; nothing waits.
begin;
\ir fixture.psql
select pg_temp.share_nothing();
select plan(38);

-- The project's own old rows would share the batches.
delete from public.search_runs;
update worker.settings set keep_runs = '90 days', keep_events = '30 days', keep_raw_pages = '14 days',
    retention_batch = 100, retention_pause = '5 seconds', retention_interval = '1 hour';
update worker.housekeeping set next_at = '-infinity';

create temporary table runs (name text primary key, id uuid);
create function pg_temp.id_of(name text) returns uuid language sql as $$
    select id from pg_temp.runs where runs.name = id_of.name;
$$;
-- A finished run of one site, with a page and as many results.
create function pg_temp.searched(name text, results integer default 1) returns void language plpgsql as $$
declare
    lease record;
begin
    insert into pg_temp.runs values (searched.name, pg_temp.enqueue(pg_temp.ada()));
    select * into strict lease from pg_temp.claim();
    perform pg_temp.start_site(lease.run_id, lease.lease_token, 'alpha', 1),
            pg_temp.save_page(lease.run_id, lease.lease_token, 'alpha', 1,
                array(select searched.name || n from generate_series(1, results) as n)),
            pg_temp.finish_site(lease.run_id, lease.lease_token, 'alpha');
    perform pg_temp.finish_run(lease.run_id, lease.lease_token);
end;
$$;
create function pg_temp.days(days integer) returns void language sql as $$
    select pg_temp.move_clock(86400 * days);
$$;
-- What is left of a run: [itself, its results, events, raw pages].
create function pg_temp.left_of(name text) returns integer[] language sql as $$
    select array[
        (select count(*) from public.search_runs where id = pg_temp.id_of(left_of.name)),
        (select count(*) from public.search_results where run_id = pg_temp.id_of(left_of.name)),
        (select count(*) from public.run_events where run_id = pg_temp.id_of(left_of.name)),
        (select count(*) from worker.raw_collections where run_id = pg_temp.id_of(left_of.name))];
$$;

-- Ages -----------------------------------------------------------------------------------------------------------

select pg_temp.searched('first', results => 3);
select is(pg_temp.left_of('first'), '{1,3,5,1}', 'a finished run has results, events and a page');
select is(public.worker_delete_expired(), 3600, 'where nothing is old, the next look is in an hour');

select pg_temp.days(14);
select public.worker_delete_expired();
select is(pg_temp.left_of('first'), '{1,3,5,1}', 'a page stays to the end of its time');
select pg_temp.move_clock(86400 * 14 + 3600);
select public.worker_delete_expired();
select is(pg_temp.left_of('first'), '{1,3,5,0}', 'and no longer');
select pg_temp.days(30);
select public.worker_delete_expired();
select is(pg_temp.left_of('first'), '{1,3,5,0}', 'so do events');
select pg_temp.move_clock(86400 * 30 + 3600);
select public.worker_delete_expired();
select is(pg_temp.left_of('first'), '{1,3,0,0}', 'and no longer');

insert into runs values ('waiting', pg_temp.enqueue(pg_temp.ada()));
insert into public.search_runs (user_id, kind, parameters, run_after, client_context)
values (pg_temp.ada(), 'pgtap', '{"search_term": "x"}', worker.now() + interval '1 year', '{"name": "delayed"}');
insert into runs select 'delayed', id from public.search_runs where client_context = '{"name": "delayed"}';
insert into runs values ('running', pg_temp.enqueue(pg_temp.bob()));
update public.search_runs set status = 'running' where id = pg_temp.id_of('running');

select pg_temp.days(90);
select public.worker_delete_expired();
select is(pg_temp.left_of('first'), '{1,3,0,0}', 'a run stays to the end of its time, with its results');
select pg_temp.move_clock(86400 * 90 + 3600);
select public.worker_delete_expired();
select is(pg_temp.left_of('first'), '{0,0,0,0}', 'and no longer');
select is((select count(*)::integer from public.items where kind = 'pgtap'), 3, 'the items stay');

select pg_temp.days(1000);
select public.worker_delete_expired();
select is(pg_temp.left_of(name), '{1,0,0,0}', format('a run that is %s is never deleted, however old', name))
from runs where name in ('waiting', 'delayed', 'running') order by name;
select is((select count(*)::integer from public.search_run_sites join runs on runs.id = run_id), 3, 'nor are its sites');
delete from public.search_runs;

-- Null keeps -----------------------------------------------------------------------------------------------------

select pg_temp.move_clock(0);
truncate runs;
update worker.housekeeping set next_at = '-infinity';
select pg_temp.searched('kept');
update worker.settings set keep_runs = null, keep_events = null, keep_raw_pages = null;
select pg_temp.days(5000);
select is(public.worker_delete_expired(), 3600, 'with null nothing is old');
select is(pg_temp.left_of('kept'), '{1,1,5,1}', 'and everything stays');
update worker.settings set keep_runs = '90 days';
update worker.housekeeping set next_at = '-infinity';
select public.worker_delete_expired();
select is(pg_temp.left_of('kept'), '{0,0,0,0}', 'until the run goes, which takes all with it');

-- Runs that answer others ----------------------------------------------------------------------------------------

select pg_temp.move_clock(0);
select pg_temp.searched('answering');
select pg_temp.days(80);
select pg_temp.searched('answered');
update public.search_runs set shared_run_id = pg_temp.id_of('answering') where id = pg_temp.id_of('answered');
update worker.housekeeping set next_at = '-infinity';
select pg_temp.days(100);
select public.worker_delete_expired();
select is(pg_temp.left_of('answering'), '{1,1,5,1}', 'a run stays as long as it answers a younger one');
update worker.housekeeping set next_at = '-infinity';
select pg_temp.days(180);
do $$ begin
    perform public.worker_delete_expired();
    update worker.housekeeping set next_at = '-infinity';
    perform public.worker_delete_expired();
end $$;
select is(pg_temp.left_of(name), '{0,0,0,0}', 'then both go: ' || name) from runs where name like 'answer%' order by name;

-- Batches and pauses ---------------------------------------------------------------------------------------------

select pg_temp.move_clock(0);
update worker.settings set keep_runs = null, keep_events = '30 days', retention_batch = 15;
update worker.housekeeping set next_at = '-infinity';
insert into runs values ('eventful', pg_temp.enqueue(pg_temp.ada()));
insert into public.run_events (run_id, event, created_at)
select pg_temp.id_of('eventful'), 'released', worker.now() from generate_series(1, 39);
select pg_temp.days(40);
select is(public.worker_delete_expired(), 5, 'after a full batch a short pause');
select is((pg_temp.left_of('eventful'))[3], 25, 'a batch is no larger than it may be');
select is(public.worker_delete_expired(), 5, 'within the pause the answer to another worker is to wait');
select pg_temp.move_clock(86400 * 40 + 3);
select is(public.worker_delete_expired(), 2, 'for what is left of it');
select is((pg_temp.left_of('eventful'))[3], 25, 'and deletes nothing');
select pg_temp.move_clock(86400 * 40 + 5);
select is(public.worker_delete_expired(), 5, 'then the next batch');
select is((pg_temp.left_of('eventful'))[3], 10, 'as large');
select pg_temp.move_clock(86400 * 40 + 10);
select is(public.worker_delete_expired(), 3600, 'after the last one an hour''s rest');
select is((pg_temp.left_of('eventful'))[3], 0, 'nothing is left');

delete from public.search_runs;
truncate runs;
select pg_temp.move_clock(0);
update worker.settings set keep_runs = '90 days', keep_events = null;
update worker.housekeeping set next_at = '-infinity';
do $$ begin perform pg_temp.searched('run ' || n) from generate_series(1, 3) as n; end $$;
select pg_temp.days(100);
select is(public.worker_delete_expired(), 5, 'a batch of runs is full at a tenth, also of 15');
select is((select count(*)::integer from runs join public.search_runs using (id)), 2, 'each run is broadcast, with its rows');

delete from public.search_runs;
truncate runs;
select pg_temp.move_clock(0);
update worker.housekeeping set next_at = '-infinity';
select pg_temp.searched('large', results => 40);
select pg_temp.days(100);
select is(public.worker_delete_expired(), 5, 'a large run does not go at once');
select is((pg_temp.left_of('large'))[1:2], '{1,25}', 'but its results in batches');
do $$ begin
    for batch in 1..2 loop
        update worker.housekeeping set next_at = '-infinity';
        perform public.worker_delete_expired();
    end loop;
end $$;
select is(pg_temp.left_of('large'), '{0,0,0,0}', 'and it with the last of them');

-- Accounts -------------------------------------------------------------------------------------------------------

delete from public.search_runs;
delete from worker.site_health;
delete from worker.site_buckets;
select pg_temp.move_clock(0);
select public.worker_set_account(pg_temp.ada(), 'alpha', 'kept');
insert into worker.site_health (site, account, updated_at)
select 'alpha', account, worker.now() from unnest('{"",kept,gone}'::text[]) as account;
insert into worker.site_buckets (bucket, account, updated_at)
select bucket, account, worker.now()
from unnest('{"",kept,gone}'::text[]) as account, unnest('{alpha,alpha:search}'::text[]) as bucket;
create function pg_temp.accounts_known() returns text language sql as $$
    select concat_ws('; ',
        (select string_agg(account, ',' order by account) from worker.site_health),
        (select string_agg(account, ',' order by bucket, account) from worker.site_buckets));
$$;
select pg_temp.days(89);
update worker.housekeeping set next_at = '-infinity';
do $$ begin perform public.worker_delete_expired(); end $$;
select is(pg_temp.accounts_known(), ',gone,kept; ,gone,kept,,gone,kept', 'what is known of an account stays as long as runs');
select pg_temp.days(91);
update worker.housekeeping set next_at = '-infinity';
do $$ begin perform public.worker_delete_expired(); end $$;
select is(pg_temp.accounts_known(), ',kept; ,kept,,kept', 'and then goes, where nobody has the account any more');

-- Defaults -------------------------------------------------------------------------------------------------------

select col_default_is('worker', 'settings', 'keep_runs', '90 days', 'runs are kept for 90 days');
select col_default_is('worker', 'settings', 'keep_events', '30 days', 'events for 30');
select col_default_is('worker', 'settings', 'keep_raw_pages', '14 days', 'raw pages for 14');

select * from finish();
rollback;
