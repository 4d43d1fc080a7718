-- How much one user may ask for, and how much of it is searched at a time.
begin;
\ir fixture.psql
select pg_temp.share_nothing();
select plan(49);

-- Runs that are there already, whatever the quotas: so old, and in this state.
create function pg_temp.insert_runs(
    user_id uuid, runs integer, source text default 'manual', age interval default '0', status text default 'pending'
) returns void language plpgsql as $$
declare
    inserted uuid[];
begin
    alter table public.search_runs disable trigger check_quotas;
    with run as (
        insert into public.search_runs (user_id, kind, parameters, source)
        select insert_runs.user_id, 'pgtap', '{"search_term": "x"}', insert_runs.source::public.run_source
        from generate_series(1, runs)
        returning id
    )
    select array_agg(id) into inserted from run;
    alter table public.search_runs enable trigger check_quotas;
    update public.search_runs as run
    set created_at = worker.now() - age, status = insert_runs.status::public.run_status,
        completed_at = case when insert_runs.status = 'success' then worker.now() - age end
    where run.id = any (inserted);
end;
$$;

-- What a refused insert of so many runs says: the message, and the detail.
create function pg_temp.refusal(user_id uuid, runs integer default 1, source text default 'manual') returns jsonb
language plpgsql as $$
declare
    message text;
    detail text;
begin
    begin
        insert into public.search_runs (user_id, kind, parameters, source)
        select refusal.user_id, 'pgtap', '{"search_term": "x"}', refusal.source::public.run_source
        from generate_series(1, runs);
        raise exception using errcode = 'P0000', message = 'taken';
    exception when sqlstate 'PT429' then
        get stacked diagnostics message = message_text, detail = pg_exception_detail;
        return detail::jsonb || jsonb_build_object('message', message);
    when sqlstate 'P0000' then
        return null;
    end;
end;
$$;

-- Waiting at a time ----------------------------------------------------------------------------------------------

update worker.settings set max_pending_per_user = 3;
do $$ begin perform pg_temp.enqueue(pg_temp.ada()) from generate_series(1, 2); end $$;
insert into public.search_runs (user_id, kind, parameters, run_after)
values (pg_temp.ada(), 'pgtap', '{"search_term": "x"}', worker.now() + interval '1 hour');
select is(pg_temp.refusal(pg_temp.ada()), '{"message": "at most 3 searches of a user may be waiting: try again in 600 s",
    "quota": "max_pending_per_user", "limit": 3, "retry_after_seconds": 600}', 'the fourth run is refused, and why');
select is((select count(*)::integer from public.search_runs where kind = 'pgtap'), 3, 'and leaves nothing');
select is(pg_temp.refusal(pg_temp.bob(), 3), null, 'another user has a quota of his own');
select is(pg_temp.refusal(pg_temp.bob(), 4) ->> 'limit', '3', 'rows of one insert count together');
select is(pg_temp.refusal(pg_temp.ada(), 5, 'cron'), null, 'what a schedule starts is not refused');
select is(pg_temp.refusal(pg_temp.ada(), 1, 'api') ->> 'limit', '3', 'what a program starts is');
select throws_ok(
    $$ insert into public.search_runs (user_id, kind, parameters)
       values (pg_temp.bob(), 'pgtap', '{"search_term": "x"}'), (pg_temp.ada(), 'pgtap', '{"search_term": "x"}') $$,
    'PT429', null, 'of an insert for several users, one''s quota refuses all');

do $$ begin perform from pg_temp.claim(slots => 1); end $$;
select is(pg_temp.refusal(pg_temp.ada()), null, 'a run that is searched does not wait');
select is(pg_temp.refusal(pg_temp.ada(), 2) ->> 'retry_after_seconds', '600', 'one place was free, not two');
do $$ begin
    perform from pg_temp.claim(slots => 1);
    perform pg_temp.enqueue(pg_temp.ada()) from generate_series(1, 2);
end $$;
select is(pg_temp.refusal(pg_temp.ada()) ->> 'retry_after_seconds', '300',
    'the more of a user''s runs were taken up lately, the shorter the wait');
select pg_temp.insert_runs(pg_temp.ada(), 5, 'cron');
do $$ begin perform from pg_temp.claim(slots => 1); end $$;
select is(pg_temp.refusal(pg_temp.ada()), null, 'runs of schedules take no place of others');

-- In the name of the user ----------------------------------------------------------------------------------------

delete from public.search_runs where kind = 'pgtap';
select pg_temp.sign_in(pg_temp.ada());
create temporary table once as select id from public.enqueue_search('pgtap', '{"search_term": "x"}', null, 'once');
do $$ begin perform public.enqueue_search('pgtap', '{"search_term": "x"}') from generate_series(1, 2); end $$;
select throws_ok(query, 'PT429', 'at most 3 searches of a user may be waiting: try again in 600 s', way)
from (values
    ('enqueue_search', $$ select public.enqueue_search('pgtap', '{"search_term": "x"}') $$),
    ('enqueue_search with a new key', $$ select public.enqueue_search('pgtap', '{"search_term": "x"}', null, 'new') $$),
    ('rerun_search', $$ select public.rerun_search(id) from once $$),
    ('insert', $$ insert into public.search_runs (kind, parameters) values ('pgtap', '{"search_term": "x"}') $$)
) as refused (way, query);
select results_eq($$ select id from public.enqueue_search('pgtap', '{"search_term": "x"}', null, 'once') $$,
    'select id from once', 'the same idempotency key returns its run, also at the limit');
select lives_ok(
    $$ insert into public.search_runs (kind, parameters, idempotency_key) values ('pgtap', '{"search_term": "x"}', 'once')
       on conflict (user_id, idempotency_key) do nothing $$, 'so does an insert that ignores duplicates');
select lives_ok('select public.cancel_search(id) from once', 'who cancels a run');
select lives_ok('select public.rerun_search(id) from once', 'has a place again');
reset role;

update worker.settings set max_pending_per_user = null;
select is(pg_temp.refusal(pg_temp.ada(), 50), null, 'null is no limit');

-- Within an hour -------------------------------------------------------------------------------------------------

delete from public.search_runs where kind = 'pgtap';
update worker.settings set max_per_hour_per_user = 4;
select is(pg_temp.refusal(pg_temp.ada()) ->> 'quota', 'max_per_hour_per_user', 'deleted runs still count');
delete from worker.deleted_runs where true;
select is(pg_temp.refusal(pg_temp.ada()), null, 'for an hour');
select pg_temp.insert_runs(pg_temp.ada(), 2, age => '50 minutes', status => 'success');
select pg_temp.insert_runs(pg_temp.ada(), 2, age => '20 minutes', status => 'success');
select pg_temp.insert_runs(pg_temp.ada(), 9, age => '61 minutes', status => 'success');
select pg_temp.insert_runs(pg_temp.ada(), 9, 'cron', age => '5 minutes');
select is(pg_temp.refusal(pg_temp.ada(), runs) - 'message',
    jsonb_build_object('quota', 'max_per_hour_per_user', 'limit', 4, 'retry_after_seconds', seconds),
    format('%s more: not before there is room for as many', runs))
from (values (1, 600), (2, 600), (3, 2400), (4, 2400)) as asked (runs, seconds);
select is(pg_temp.refusal(pg_temp.ada()) ->> 'message',
    'at most 4 searches of a user may be started in an hour: try again in 600 s', 'the message says the same');
select is(pg_temp.refusal(pg_temp.bob(), 4), null, 'another user has an hour of his own');
select is(pg_temp.refusal(pg_temp.ada(), 20, 'cron'), null, 'schedules are not counted');

select pg_temp.move_clock(599);
select is(pg_temp.refusal(pg_temp.ada()) ->> 'retry_after_seconds', '1', 'a second too early');
select pg_temp.move_clock(600);
select is(pg_temp.refusal(pg_temp.ada(), 2), null, 'after the wait there is room');
select is(pg_temp.refusal(pg_temp.ada(), 3) ->> 'retry_after_seconds', '1800', 'and for no more');
select pg_temp.move_clock(2400);
select is(pg_temp.refusal(pg_temp.ada(), 4), null, 'after the longer wait for all');

select pg_temp.move_clock(0);
update worker.settings set max_pending_per_user = 1;
select is(pg_temp.refusal(pg_temp.ada(), 3) ->> 'quota', 'max_per_hour_per_user', 'of two quotas, the longer wait');
update worker.settings set max_pending_per_user = null, max_per_hour_per_user = null;
select is(pg_temp.refusal(pg_temp.ada(), 50), null, 'null is no limit here, too');

-- Searched at a time ---------------------------------------------------------------------------------------------

-- How many runs of each user a claim got: [Ada, Bob].
create function pg_temp.claimed(slots integer) returns integer[] language plpgsql as $$
declare
    claimed uuid[] := array(select run_id from pg_temp.claim(slots => claimed.slots));
begin
    return (select array[count(*) filter (where user_id = pg_temp.ada()), count(*) filter (where user_id = pg_temp.bob())]
            from public.search_runs where id = any (claimed));
end;
$$;
create function pg_temp.end_one(user_id uuid) returns void language sql as $$
    update public.search_runs set status = 'success', completed_at = worker.now()
    where id = (select id from public.search_runs as run
                where run.user_id = end_one.user_id and run.kind = 'pgtap' and run.status = 'running' limit 1);
$$;

delete from public.search_runs where kind = 'pgtap';
update worker.settings set max_running_per_user = 3;
do $$ begin perform pg_temp.enqueue(pg_temp.ada()) from generate_series(1, 10); end $$;
select is(pg_temp.claimed(2), '{2,0}', 'a claim gets what its slots allow');
select is(pg_temp.claimed(10), '{1,0}', 'the next what the user''s limit leaves');
select is(pg_temp.claimed(10), '{0,0}', 'at the limit his other runs wait');
do $$ begin perform pg_temp.enqueue(pg_temp.bob()) from generate_series(1, 5); end $$;
select is(pg_temp.claimed(2), '{0,2}', 'and another user''s do not');
select pg_temp.end_one(pg_temp.ada());
select is(pg_temp.claimed(10), '{1,1}', 'one that ends makes room');
do $$ begin
    perform public.worker_release_runs('worker-1', jsonb_build_array(jsonb_build_object(
        'run_id', run_id, 'lease_token', token)))
    from worker.leases as lease join public.search_runs on id = run_id where lease.user_id = pg_temp.ada() and kind = 'pgtap' limit 1;
end $$;
select is(pg_temp.claimed(10), '{1,0}', 'as does one that is released');

delete from public.search_runs where kind = 'pgtap';
do $$ begin perform pg_temp.enqueue(pg_temp.ada()) from generate_series(1, 10);
            perform pg_temp.enqueue(pg_temp.bob()) from generate_series(1, 10); end $$;
select is(pg_temp.claimed(10), '{3,3}', 'each user in a claim has his own limit');
delete from public.search_runs where kind = 'pgtap';
do $$ begin perform pg_temp.enqueue(pg_temp.ada()) from generate_series(1, 10); end $$;
select pg_temp.insert_runs(pg_temp.bob(), 2, 'cron');
select is(pg_temp.claimed(5), '{3,2}',
    'slots that one user''s limit leaves go to others, though that user''s other runs would come first');
do $$ begin perform pg_temp.end_one(pg_temp.ada()); end $$;
select pg_temp.insert_runs(pg_temp.bob(), 2, 'cron');
select is(pg_temp.claimed(5), '{1,1}', 'also when the limit is reached in the middle of a claim');

delete from public.search_runs where kind = 'pgtap';
do $$ begin perform pg_temp.enqueue(pg_temp.ada()) from generate_series(1, 5); end $$;
create temporary table first_come as
    select id from public.search_runs where kind = 'pgtap' order by position limit 3;
select set_eq('select run_id from pg_temp.claim(slots => 5)', 'select id from first_come', 'first come, first served');
update worker.settings set max_running_per_user = null;
select is(pg_temp.claimed(100), '{2,0}', 'null is no limit');

-- Defaults -------------------------------------------------------------------------------------------------------

select col_default_is('worker', 'settings', 'max_pending_per_user', '100', 'by default 100 wait');
select col_default_is('worker', 'settings', 'max_per_hour_per_user', '300', '300 start in an hour');
select col_default_is('worker', 'settings', 'max_running_per_user', '5', '5 are searched at a time');

select * from finish();
rollback;
