-- Equal searches share one: a young finished run answers, an active one leads, and nobody is left without either.
begin;
\ir fixture.psql
select plan(86);

insert into auth.users (id, email) values ('00000000-0000-4000-8000-00000000000c', 'cleo@pgtap.test');
create function pg_temp.cleo() returns uuid language sql immutable return '00000000-0000-4000-8000-00000000000c'::uuid;

create temporary table runs (name text primary key, id uuid);
create function pg_temp.id_of(name text) returns uuid language sql as $$
    select id from pg_temp.runs where runs.name = id_of.name;
$$;
create function pg_temp.name_of(id uuid) returns text language sql as $$
    select name from pg_temp.runs where runs.id = name_of.id;
$$;

-- A search for `term` at two sites; further columns as JSON.
create function pg_temp.ask(name text, user_id uuid, term text, columns jsonb default '{}') returns text
language plpgsql as $$
declare
    run public.search_runs;
begin
    insert into public.search_runs (user_id, kind, parameters, source, fresh, run_after, max_attempts)
    values (ask.user_id, coalesce(columns ->> 'kind', 'pgtap'),
            jsonb_build_object('search_term', term, 'sites', '["alpha", "beta"]'::jsonb),
            coalesce(columns ->> 'source', 'manual')::public.run_source, coalesce((columns ->> 'fresh')::boolean, false),
            (columns ->> 'run_after')::timestamptz, coalesce((columns ->> 'max_attempts')::integer, 1))
    returning * into run;
    insert into pg_temp.runs values (ask.name, run.id);
    -- What the insert itself returns, as a frontend sees it.
    return concat_ws(' ', run.status, 'follows ' || pg_temp.name_of(run.leader_run_id),
                     'answered by ' || pg_temp.name_of(run.shared_run_id), case when run.run_after is not null then 'delayed' end);
end;
$$;

-- The same words for what is in the table.
create function pg_temp.state(name text) returns text language sql as $$
    select concat_ws(' ', status, 'follows ' || pg_temp.name_of(leader_run_id),
                     'answered by ' || pg_temp.name_of(shared_run_id), case when run_after is not null then 'delayed' end)
    from public.search_runs where id = pg_temp.id_of(state.name);
$$;

create function pg_temp.claimed() returns text language sql as $$
    select coalesce(string_agg(pg_temp.name_of(run_id), ', ' order by pg_temp.name_of(run_id)), 'none') from pg_temp.claim();
$$;

create function pg_temp.sites_of(name text) returns text language sql as $$
    select string_agg(format('%s %s %s', site, status, jobs_found), ', ' order by position)
    from public.search_run_sites where run_id = pg_temp.id_of(sites_of.name);
$$;

-- Searches both sites of a claimed run and ends it.
create function pg_temp.carry_through(name text, alpha text default 'completed', beta text default 'completed') returns text
language plpgsql as $$
declare
    run_id uuid := pg_temp.id_of(name);
begin
    perform pg_temp.search_site(run_id, 'alpha', alpha), pg_temp.search_site(run_id, 'beta', beta);
    return pg_temp.finish_run(run_id, pg_temp.token(run_id)) ->> 'status';
end;
$$;

create function pg_temp.items_of(name text) returns integer language sql as $$
    select count(*)::integer from public.run_items where run_id = pg_temp.id_of(items_of.name);
$$;

create function pg_temp.events_of(name text) returns text language sql as $$
    select string_agg(event, ' ' order by id) from public.run_events where run_id = pg_temp.id_of(events_of.name);
$$;

-- A leader and its followers -------------------------------------------------------------------------------------

select is(pg_temp.ask('leader', pg_temp.ada(), 'Nurse'), 'pending', 'the first leads');
select is(pg_temp.ask('follower', pg_temp.bob(), ' nurse'), 'pending follows leader', 'an equal search follows it');
select is(pg_temp.ask('own', pg_temp.ada(), 'nurse'), 'pending follows leader', 'of the same user, too');
select is(pg_temp.ask('other', pg_temp.bob(), 'doctor'), 'pending', 'another search does not');
select is(pg_temp.sites_of('follower'), null, 'a follower has no sites of its own');
select is(pg_temp.claimed(), 'leader, other', 'followers are not claimed');
select is(pg_temp.state(name), 'running follows leader', name || ': runs once its leader is claimed')
from unnest(array['follower', 'own']) as name;
select ok(started_at = worker.now() and progress = '{"step": "starting"}' and run_after is null, 'and was started then')
from public.search_runs where id = pg_temp.id_of('follower');
select is((select array_agg(lease.user_id) from worker.leases as lease where run_id = pg_temp.id_of('leader')),
    array[pg_temp.ada()], 'for its leader''s user');
select is(pg_temp.ask('fresh follower', pg_temp.bob(), 'nurse', '{"fresh": true}'), 'running follows leader',
    'one that asks for fresh results follows as well: they will be');

do $$ begin perform pg_temp.search_site(pg_temp.id_of('leader'), 'alpha', 'completed'); end $$;
select is((select array[jobs_found, progress_current, progress_total] from public.search_runs where id = pg_temp.id_of('follower')),
    array[1, 10, 20], 'when a site ends, followers have its counts');
select is((select progress from public.search_runs where id = pg_temp.id_of('follower')),
    '{"step": "site_finished", "site": "alpha"}', 'and its progress');
select is(pg_temp.items_of('follower'), 1, 'and see its results');
select is(pg_temp.ask('late', pg_temp.cleo(), 'nurse'), 'running follows leader', 'a running one is joined as well');
select is((select array[jobs_found, progress_current] from public.search_runs where id = pg_temp.id_of('late')),
    array[1, 10], 'with its counts from the start');

select pg_temp.move_clock(5);
do $$ begin
    perform pg_temp.search_site(pg_temp.id_of('leader'), 'beta', 'completed');
    perform pg_temp.finish_run(pg_temp.id_of('leader'), pg_temp.token(pg_temp.id_of('leader')));
end $$;
select is(pg_temp.state('leader'), 'success', 'the leader is not answered by itself');
select is(pg_temp.state(name), 'success answered by leader', name || ': answered in the same transaction')
from unnest(array['follower', 'own', 'fresh follower', 'late']) as name;
select is(
    (select to_jsonb(run) from (select jobs_found, progress_current, progress, completed_at, error_code
                                from public.search_runs where id = pg_temp.id_of('follower')) as run),
    (select to_jsonb(run) from (select jobs_found, progress_current, progress, completed_at, error_code
                                from public.search_runs where id = pg_temp.id_of('leader')) as run), 'with the same end');
select is(pg_temp.items_of('late'), 2, 'they see its results');
select is(pg_temp.events_of('follower'), 'created finished', 'and it is among their events');
select is_empty($$ select from public.search_run_sites as site join runs on runs.id = site.run_id
                   where name in ('follower', 'own', 'late') $$, 'without rows of their own');

-- Answered at once -----------------------------------------------------------------------------------------------

select is(pg_temp.ask('at once', pg_temp.cleo(), 'NURSE'), 'success answered by leader', 'a young finished run answers');
select ok(bool_and(completed_at = worker.now() and completed_at = created_at and jobs_found = 2 and progress_current = 20
                   and progress = '{"step": "finished"}'), 'with counts and times')
from public.search_runs where id = pg_temp.id_of('at once');
select is(pg_temp.events_of('at once'), 'created finished', 'and events');
select is(pg_temp.items_of('at once'), 2, 'and results');
select is(pg_temp.ask('fresh', pg_temp.cleo(), 'nurse', '{"fresh": true}'), 'pending', 'not a run that is to be fresh');
select is(pg_temp.ask('after fresh', pg_temp.ada(), 'nurse'), 'success answered by leader',
    'an answer comes before a leader');
select pg_temp.move_clock(5 + 15 * 60);
select is(pg_temp.ask('too late', pg_temp.ada(), 'nurse'), 'pending follows fresh', 'not after the freshness window');
do $$ begin perform from pg_temp.claim(); end $$;
select is(pg_temp.carry_through('fresh', beta => 'partial'), 'partial', 'a site fails');
select is(pg_temp.state('too late'), 'partial answered by fresh', 'followers are answered with what there is');
select is((select error_code || ' ' || error_message from public.search_runs where id = pg_temp.id_of('too late')),
    'blocked Beta is not answering at the moment.', 'and why there is not more');
select is(pg_temp.ask('after partial', pg_temp.ada(), 'nurse'), 'pending', 'a partial run answers nobody later');

-- A leader ends without an answer --------------------------------------------------------------------------------

select is(pg_temp.ask('second', pg_temp.bob(), 'nurse'), 'pending follows after partial', 'a follower');
select is(pg_temp.ask('third', pg_temp.cleo(), 'nurse', '{"source": "api"}'), 'pending follows after partial', 'and another');
do $$ begin
    perform from pg_temp.claim();
    perform pg_temp.search_site(pg_temp.id_of('after partial'), 'alpha', 'completed');
    perform pg_temp.start_site(id, pg_temp.token(id), 'beta', 1), pg_temp.save_page(id, pg_temp.token(id), 'beta', 1, '{b1}')
    from runs where name = 'after partial';
    perform pg_temp.sign_in(pg_temp.ada());
    perform public.cancel_search((select id from public.search_runs where completed_at is null and user_id = pg_temp.ada()));
end $$;
reset role;
select is(pg_temp.state('after partial'), 'cancelled', 'the owner cancels the leader');
select is(pg_temp.sites_of('after partial'), 'alpha completed 1, beta skipped 1', 'and keeps what was found');
select is(pg_temp.state('second'), 'running follows after partial', 'which touches no other user''s run');
select is(pg_temp.items_of('third'), 2, 'followers see what was found');
select worker.settle_ended_leaders();  -- as a claim does first
select is(pg_temp.state('second'), 'pending', 'the first follower leads');
select is(pg_temp.state('third'), 'pending follows second', 'the other follows it');
select is(pg_temp.sites_of('second'), 'alpha completed 1, beta pending 1', 'what was completed stays so');
select is((select array[jobs_found, progress_current] from public.search_runs where id = pg_temp.id_of('second')),
    array[2, 11], 'with what was found');
select is(pg_temp.items_of('third'), 2, 'and followers see it');
select is((select sites from pg_temp.claim()), '[{"site": "beta", "attempt": 2}]', 'a worker continues with the rest');
do $$ begin perform pg_temp.search_site(pg_temp.id_of('second'), 'beta', 'failed'); end $$;
select is(pg_temp.finish_run(id, pg_temp.token(id)) ->> 'status', 'partial', 'partial is an answer') from runs where name = 'second';
select is(pg_temp.state('third'), 'partial answered by second', 'for the other follower');

do $$ begin
    perform pg_temp.ask('failing', pg_temp.ada(), 'pilot'), pg_temp.ask('next', pg_temp.bob(), 'pilot'),
            pg_temp.ask('last', pg_temp.cleo(), 'pilot', '{"source": "api"}');
    perform from pg_temp.claim();
end $$;
select is(pg_temp.carry_through('failing', 'failed', 'failed'), 'failed', 'all sites fail, in a way that may pass');
select worker.settle_ended_leaders();
select is(pg_temp.state('next'), 'pending', 'the first follower tries again');
select is(pg_temp.sites_of('next'), 'alpha pending 0, beta pending 0', 'all of them');
select is(pg_temp.state('last'), 'pending follows next', 'for the other');
do $$ begin
    perform from pg_temp.claim();
    perform pg_temp.start_site(id, pg_temp.token(id), site, 1),
            pg_temp.finish_site(id, pg_temp.token(id), site, null, 'not_found', 'HTTP 404', false)
    from runs, unnest('{alpha,beta}'::text[]) as site where name = 'next';
    perform pg_temp.finish_run(id, pg_temp.token(id)) from runs where name = 'next';
end $$;
select is(pg_temp.state('last'), 'failed answered by next', 'a failure that does not pass is everybody''s');

update worker.settings set max_rescues = 0;
do $$ begin
    perform pg_temp.ask('killer', pg_temp.ada(), 'welder'), pg_temp.ask('spared', pg_temp.bob(), 'welder');
    perform from pg_temp.claim();
    update worker.leases set expires_at = '-infinity' where true;
    perform from pg_temp.claim();
end $$;
select is(pg_temp.state('spared'), 'failed answered by killer', 'what killed its workers kills no more of them');
update worker.settings set max_rescues = default;

-- Back in the queue ----------------------------------------------------------------------------------------------

do $$ begin
    perform pg_temp.ask('retried', pg_temp.ada(), 'baker', '{"max_attempts": 3}'), pg_temp.ask('patient', pg_temp.bob(), 'baker');
    perform from pg_temp.claim();
end $$;
select is(pg_temp.carry_through('retried', beta => 'failed'), 'pending', 'a leader with attempts left is tried again');
select is(pg_temp.state('patient'), 'pending follows retried', 'its followers wait with it');
select is(pg_temp.ask('joins', pg_temp.cleo(), 'baker'), 'pending follows retried', 'and more join it');
select pg_temp.move_clock(2000);
do $$ begin
    perform from pg_temp.claim();
    perform public.worker_release_runs('worker-1', jsonb_build_array(jsonb_build_object(
        'run_id', pg_temp.id_of('retried'), 'lease_token', pg_temp.token(pg_temp.id_of('retried')))));
end $$;
select is(pg_temp.state('patient'), 'pending follows retried', 'of one that is released, too');
do $$ begin perform from pg_temp.claim(); end $$;

-- A follower's own end -------------------------------------------------------------------------------------------

do $$ begin
    perform pg_temp.sign_in(pg_temp.bob());
    perform public.cancel_search((select id from public.search_runs where completed_at is null and parameters @> '{"search_term": "baker"}'));
end $$;
reset role;
select is(pg_temp.state('patient'), 'cancelled', 'a follower is cancelled alone');
select is(pg_temp.state('retried') || ', ' || pg_temp.state('joins'), 'running, running follows retried', 'the others continue');
select is(pg_temp.sites_of('patient'), null, 'nothing is copied for it');
select is((select array[jobs_found, progress_current] from public.search_runs where id = pg_temp.id_of('patient')), array[0, 10],
    'it has no results of its own, and its progress does not fall');
select is(pg_temp.items_of('patient'), 0, 'to be seen');
select is(pg_temp.events_of('patient'), 'created cancelled', 'and its event');

-- Priority -------------------------------------------------------------------------------------------------------

do $$ begin
    perform pg_temp.ask('scheduled ' || n, pg_temp.ada(), 'cook ' || n, '{"source": "cron"}') from generate_series(1, 3) as n;
    perform pg_temp.ask('manual', pg_temp.bob(), 'cook 3');
end $$;
select is(pg_temp.name_of(run_id), 'scheduled 3', 'a leader waits no longer than its most urgent follower would')
from pg_temp.claim(1);

-- Later ----------------------------------------------------------------------------------------------------------

select is(pg_temp.ask('tomorrow', pg_temp.ada(), 'singer', jsonb_build_object('run_after', worker.now() + interval '1 day')),
    'pending delayed', 'a search for later is on its own');
select is(pg_temp.ask('now', pg_temp.bob(), 'singer'), 'pending', 'and nobody waits for it');
select pg_temp.move_clock(2000 + 86400 + 1);
select matches(pg_temp.claimed(), 'now', 'a day passes');
select is(pg_temp.state('tomorrow'), 'running follows now', 'then it is due, and follows');
select is(pg_temp.sites_of('tomorrow'), null, 'like any other');
do $$ begin perform pg_temp.ask('soon', pg_temp.cleo(), 'singer', jsonb_build_object('run_after', worker.now() + interval '1 s')); end $$;
do $$ begin perform pg_temp.carry_through('now'); end $$;
select pg_temp.move_clock(2000 + 86400 + 3);
do $$ begin perform from pg_temp.claim(); end $$;
select is(pg_temp.state('soon'), 'success answered by now', 'or is answered');
select is(pg_temp.events_of('soon'), 'created finished', 'like any other');

-- Only what is newer ---------------------------------------------------------------------------------------------

create function pg_temp.newer_than(name text) returns timestamptz language sql as $$
    select newer_than from public.search_runs where id = pg_temp.id_of(newer_than.name);
$$;
select pg_temp.move_clock(5 * 86400);
do $$ begin perform pg_temp.ask('repeat', pg_temp.bob(), 'singer', '{"source": "cron"}'); end $$;
select is(pg_temp.newer_than('repeat'),
    (select date_trunc('hour', started_at, 'UTC') from public.search_runs where id = pg_temp.id_of('now')),
    'a scheduled repeat asks for what is newer than its last success');
do $$ begin perform pg_temp.ask('repeat of an answer', pg_temp.ada(), 'singer', '{"source": "cron"}'); end $$;
select is(pg_temp.newer_than('repeat of an answer'), pg_temp.newer_than('repeat'), 'also where another run searched for it');
select is(pg_temp.state('repeat of an answer'), 'pending follows repeat', 'and is the same search again');
select is((select newer_than from public.worker_claim_runs('w', '{pgtap}', 10, 60, gen_random_uuid(), '[]')
           where run_id = pg_temp.id_of('repeat')), pg_temp.newer_than('repeat'), 'the worker gets the time');
select is(pg_temp.ask('everything', pg_temp.cleo(), 'singer'), 'pending', 'a run that wants more than that leads');
select is(pg_temp.ask('more', pg_temp.ada(), 'singer', '{"source": "cron"}'), 'running follows repeat', 'for itself');
do $$ begin perform pg_temp.carry_through('repeat'); end $$;
select is(pg_temp.ask('everything, too', pg_temp.ada(), 'singer'), 'pending follows everything',
    'what asked for less answers no run that wants more');

do $$ begin
    perform from pg_temp.claim();
    perform pg_temp.carry_through('everything');
end $$;
select pg_temp.move_clock(6 * 86400);
do $$ begin
    perform pg_temp.ask('narrow', pg_temp.ada(), 'singer', '{"source": "cron"}'),
            pg_temp.ask('wide', pg_temp.bob(), 'singer');
end $$;
select is(pg_temp.state('wide'), 'pending follows narrow', 'a leader that has not begun');
select is(pg_temp.newer_than('narrow'), null, 'has to ask for more');

-- Deleted --------------------------------------------------------------------------------------------------------

do $$ begin
    perform from pg_temp.claim();
    perform pg_temp.search_site(pg_temp.id_of('narrow'), 'alpha', 'completed');
end $$;
delete from auth.users where id = pg_temp.ada();
select worker.settle_ended_leaders();
select is(pg_temp.state('wide') || ': ' || pg_temp.sites_of('wide'), 'pending: alpha completed 1, beta pending 0',
    'when a leader''s account goes, its follower leads');
select is_empty(
    $$ select from public.search_runs as run where kind = 'pgtap' and shared_run_id is null and leader_run_id is null
       and status in ('success', 'partial') and jobs_found <> (select count(*) from public.search_results where run_id = run.id) $$,
    'and what was answered by such a run keeps its results');
select is(pg_temp.items_of('at once'), 2, 'to be seen');

select * from finish();
rollback;
