-- From page to items: what a page leaves behind, what its items tell later, and how it is loaded again.
begin;
\ir fixture.psql
select plan(73);

update worker.settings set freshness = '0';

create function pg_temp.open_run(user_id uuid, parameters jsonb default '{}') returns uuid language plpgsql as $$
declare
    opened uuid := pg_temp.enqueue(user_id, parameters);
begin
    perform from pg_temp.claim();
    update worker.leases set expires_at = 'infinity' where run_id = opened;
    perform pg_temp.start_site(opened, pg_temp.token(opened), site.site, 1)
    from public.search_run_sites as site where site.run_id = opened;
    return opened;
end;
$$;

create function pg_temp.finish_run(run_id uuid) returns text language plpgsql as $$
begin
    perform pg_temp.finish_site(site.run_id, pg_temp.token(site.run_id), site.site)
    from public.search_run_sites as site where site.run_id = finish_run.run_id and site.completed_at is null;
    return pg_temp.finish_run(run_id, pg_temp.token(run_id)) ->> 'status';
end;
$$;

create function pg_temp.item(key text) returns public.items language sql as $$
    select items from public.items where kind = 'pgtap' and canonical_key = key;
$$;

create temporary table run as select pg_temp.open_run(pg_temp.ada()) as id;

-- What comes back ------------------------------------------------------------------------------------------------

select is(pg_temp.save_items(id, 'alpha', 1, '[{"external_id": "a1"}, {"external_id": "a2"}]'),
    '{"status": "completed", "results": 2, "new": 2}', 'a page without errors is completed') from run;
select results_eq(
    $$ select status, strategy, version, item_count, invalid_count, result_count, new_count, completeness, transform_ms,
              transformed_at, claimed_until
       from worker.raw_collections, run where run_id = run.id $$,
    $$ values ('completed', 'manual', 1, 2, 0, 2, 2, '{"title": 1}'::jsonb, 2, worker.now(), null::timestamptz) $$,
    'and reports what was made of it');
select is(pg_temp.save_items(id, 'alpha', 1, '[{"external_id": "a3"}]'), '{"status": "completed", "results": 2, "new": 2}',
    'the same page again answers the same') from run;
select is(pg_temp.item('alpha:a3'), null, 'and loads nothing');

select is(pg_temp.save_items(id, 'alpha', 2, '[{"external_id": "b1"}]', 
        '[{"index": 1, "type": "InvalidItemError", "message": "no title", "field": "title", "raw": {"text": "x"}}]'),
    '{"status": "partial", "results": 1, "new": 1}', 'with invalid items a page is partial') from run;
select results_eq(
    $$ select item_index, error_type, message, field, raw
       from worker.processing_log as log
       join worker.raw_collections as page on page.id = raw_collection_id, run
       where page.run_id = run.id $$,
    $$ values (1, 'InvalidItemError', 'no title', 'title', '{"text": "x"}'::jsonb) $$, 'each is logged');
select is(pg_temp.save_items(id, 'alpha', 3, '[]',
        '[{"index": 0, "type": "InvalidItemError", "message": "no id", "field": null, "raw": {"id": null}}]'),
    '{"status": "failed", "results": 0, "new": 0}', 'with nothing but invalid items it is failed') from run;
select is(pg_temp.save_items(id, 'alpha', 4, '[]', '[{"index": null, "type": "KeyError", "message": "no list"}]'),
    '{"status": "failed", "results": 0, "new": 0}', 'as is one that cannot be read at all') from run;
select is(pg_temp.save_items(id, 'alpha', 5, '[]'), '{"status": "completed", "results": 0, "new": 0}',
    'an empty page is completed') from run;
select results_eq(
    $$ select site, data from public.run_events, run where run_id = run.id and event = 'alert' order by run_events.id $$,
    $$ values
        ('alpha', '{"reason": "invalid_items", "source": "pgtap", "page_number": 2, "items": 1, "invalid_items": 1,
                    "message": "no title"}'::jsonb),
        ('alpha', '{"reason": "invalid_items", "source": "pgtap", "page_number": 3, "items": 0, "invalid_items": 1,
                    "message": "no id"}'),
        ('alpha', '{"reason": "invalid_items", "source": "pgtap", "page_number": 4, "items": 0, "invalid_items": 0,
                    "message": "no list"}') $$,
    'too many invalid items are an alert');
select is(pg_temp.save_items(id, 'alpha', 6,
        (select jsonb_agg(jsonb_build_object('external_id', 'c' || n)) from generate_series(1, 9) as n),
        '[{"index": 9, "type": "InvalidItemError", "message": "no title"}]'),
    '{"status": "partial", "results": 9, "new": 9}', 'a tenth of them') from run;
select is((select count(*)::integer from public.run_events, run where run_id = run.id and event = 'alert'), 3, 'is none');

select throws_ok(format('select public.worker_save_pages(%L)', jsonb_build_array(jsonb_build_object(
        'run_id', id, 'lease_token', pg_temp.token(id), 'site', 'alpha', 'attempt', 1, 'page_number', 7) || arguments)),
    '22023', message, message)
from run, (values
    ('{"items": {}, "errors": []}'::jsonb, 'items must be an array'),
    ('{"items": [], "errors": null}', 'errors must be an array')) as bad (arguments, message);

-- A load that is refused -----------------------------------------------------------------------------------------

create temporary table refused (page_number integer, item jsonb, field text, what text);
insert into refused values
    (11, '{"country": "Austria"}', null, 'a broken rule'),
    (12, '{"title": null}', 'title', 'a missing field'),
    (13, '{"experience_years": 70000}', null, 'a number out of range'),
    (14, '{"posted_at": "yesterday-ish"}', null, 'no time'),
    (15, '{"skills": {}}', null, 'no list');
select is(pg_temp.save_items(id, 'alpha', page_number, jsonb_build_array(
        '{"external_id": "good"}'::jsonb, '{"external_id": "bad"}'::jsonb || item)),
    '{"status": "failed", "results": 0, "new": 0}', what || ' fails the page') from refused, run;
select is((pg_temp.item('alpha:good')).id, null, 'nothing of it is loaded');
select is(
    (select array_agg(problem.field order by page.page_number) from worker.processing_log as problem
     join worker.raw_collections as page on page.id = raw_collection_id, run
     where page.run_id = run.id and page.status = 'failed' and error_type = 'load' and item_index is null),
    (select array_agg(field order by page_number) from refused), 'why is logged');
select is(
    (select count(*)::integer from public.run_events, run, refused
     where run_id = run.id and event = 'alert' and data ->> 'reason' = 'load_failed'
       and data -> 'page_number' = to_jsonb(page_number) and data ->> 'message' is not null),
    5, 'and an alert');
select is((select progress ->> 'step' from public.search_runs join run using (id)), 'searching', 'the run continues');

-- What later sightings tell --------------------------------------------------------------------------------------

-- The next page, with one item.
create function pg_temp.see(item jsonb) returns jsonb language sql as $$
    select pg_temp.save_items(
        id, 'alpha',
        (select 1 + coalesce(max(page_number), 0) from worker.raw_collections where run_id = run.id),
        jsonb_build_array('{"external_id": "x"}'::jsonb || item)) from run;
$$;

select pg_temp.see('{"title": "Nurse", "organization": "Acme", "location": "Austin, TX", "city": "Austin", "region": "TX",
    "country": "US", "places": [{"city": "Austin", "region": "TX", "country": "US", "latitude": 30.267, "longitude": -97.743}],
    "is_remote": false, "work_mode": "onsite", "job_types": ["fulltime"],
    "salary_min": 10, "salary_max": 20, "salary_interval": "hourly", "currency": "USD", "salary_yearly_min": 20800,
    "salary_yearly_max": 41600, "apply_url": "https://acme.test/1", "apply_key": "acme.test/1", "description": "SQL",
    "skills": ["sql"], "experience_years": 3, "posted_at": "2026-01-02", "data": {"a": 1, "b": {"c": 1}},
    "match_key": "nurse acme austin", "organization_key": "acme", "place_key": "austin|US-TX|US", "text_signature": "x5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"}');
create temporary table sighted as select * from pg_temp.item('alpha:x');

select pg_temp.move_clock(60);
select pg_temp.see('{"title": "Nurse", "url": "https://example.test/x"}');
select is(to_jsonb(pg_temp.item('alpha:x')), to_jsonb(sighted) || jsonb_build_object('last_seen_at', worker.now()),
    'what a sighting does not say stays, and when it was seen moves') from sighted;

select pg_temp.see('{"title": "Nurse", "location": "Paris", "city": "Paris", "salary_max": 50000, "salary_interval": "yearly",
    "description": "Rust", "apply_url": "https://acme.test/2", "job_types": [], "data": {"b": 2}}');
select results_eq(
    $$ select location, city, region, country, places, salary_min, salary_max, salary_interval, currency, salary_yearly_min,
              salary_yearly_max, description, skills, experience_years, work_mode, apply_url, apply_key, match_key, organization_key,
              place_key, text_signature, organization, job_types, is_remote, data
       from pg_temp.item('alpha:x') $$,
    $$ values ('Paris', 'Paris', null::text, null::text, '[]'::jsonb, null::numeric, 50000::numeric, 'yearly', null::text, null::numeric,
               null::numeric, 'Rust', '{}'::text[], null::smallint, null::text, 'https://acme.test/2', null::text, null::text,
               'acme', null::text, null::bit(1024), 'Acme', '{fulltime}'::text[], false, '{"a": 1, "b": 2}'::jsonb) $$,
    'what is derived from a field comes with it, and goes with it');
select pg_temp.see('{"title": "Head nurse", "match_key": "head nurse acme paris", "organization": "Acme Inc", "organization_key": null}');
select results_eq(
    $$ select title, match_key, organization, organization_key from pg_temp.item('alpha:x') $$,
    $$ values ('Head nurse', 'head nurse acme paris', 'Acme Inc', null::text) $$, 'keys come with what they are made of');

truncate sighted;
insert into sighted select * from pg_temp.item('alpha:x');
select pg_temp.move_clock(30);
select pg_temp.see('{"title": "Old nurse", "description": "COBOL", "salary_min": 1, "data": {"z": 1}}');
select is(to_jsonb(pg_temp.item('alpha:x')), to_jsonb(sighted), 'an older sighting adds nothing') from sighted;
select pg_temp.move_clock(-30);
select pg_temp.see('{"title": "Old nurse"}');
select is(to_jsonb(pg_temp.item('alpha:x')), to_jsonb(sighted) || jsonb_build_object('first_seen_at', worker.now()),
    'but when it was seen first') from sighted;
select results_eq(
    $$ select first_seen_at, last_seen_at, url from public.item_sources where item_id = (pg_temp.item('alpha:x')).id $$,
    $$ select first_seen_at, last_seen_at, url from pg_temp.item('alpha:x') $$, 'as its sighting');
select pg_temp.move_clock(60);

-- Embeddings -----------------------------------------------------------------------------------------------------

select is_empty('select from worker.embedding_queue', 'nothing waits for a model while there is none');
update worker.settings set embedding_model = 'a model';
select pg_temp.see('{"external_id": "e1"}'), pg_temp.see('{"title": "Head nurse"}'), pg_temp.see('{"external_id": "e2"}');
select results_eq('select canonical_key from worker.embedding_queue join public.items on id = item_id order by 1',
    array['alpha:e1', 'alpha:e2'], 'with one, what is new waits');
update worker.embedding_queue set attempts = 5, due_at = 'infinity', error = 'said no';
select pg_temp.see('{"external_id": "e1", "description": "new"}'), pg_temp.see('{"external_id": "e2", "apply_url": "https://e2.test"}');
select results_eq(
    $$ select canonical_key, attempts, due_at, error from worker.embedding_queue join public.items on id = item_id order by 1 $$,
    $$ values ('alpha:e1', 0::smallint, worker.now(), null::text), ('alpha:e2', 5::smallint, 'infinity', 'said no') $$,
    'and what has another text');
update worker.settings set embedding_model = null;

-- New things -----------------------------------------------------------------------------------------------------

select pg_temp.finish_run(id) from run;
create temporary table earlier as select pg_temp.open_run(pg_temp.ada(), '{"search_term": "cook"}') as id;
select pg_temp.save_items(id, 'alpha', 1, '[{"external_id": "a1"}]') from earlier;
select is(pg_temp.finish_run(id), 'success', 'an earlier run') from earlier;
create temporary table again as select pg_temp.open_run(pg_temp.bob(), '{"search_term": "Cook", "sites": ["alpha"]}') as id;
select is(pg_temp.save_items(id, 'alpha', 1, '[{"external_id": "a1"}, {"external_id": "a9"}]'),
    '{"status": "completed", "results": 2, "new": 1}', 'what an earlier run of the same search had is not new') from again;
create temporary table other as select pg_temp.open_run(pg_temp.bob(), '{"search_term": "nurse"}') as id;
select is(pg_temp.save_items(id, 'alpha', 1, '[{"external_id": "a1"}]'),
    '{"status": "completed", "results": 1, "new": 1}', 'to another search it is') from other;
select pg_temp.finish_run(id) from (table again union all table other) as ended;

-- Private kinds --------------------------------------------------------------------------------------------------

update worker.kinds set is_private = true where kind = 'pgtap';
create temporary table private (owner_id uuid, id uuid);
insert into private select owner_id, pg_temp.open_run(owner_id, '{"search_term": "people"}')
from unnest(array[pg_temp.ada(), pg_temp.bob()]) as owner_id;
select is(pg_temp.save_items(id, 'alpha', 1, '[{"external_id": "p1"}]') -> 'results', '1', 'each owner finds') from private;
select results_eq(
    $$ select item.owner_id, sighting.owner_id, result.run_id from public.items as item
       join public.item_sources as sighting on sighting.item_id = item.id
       join public.search_results as result on result.item_id = item.id
       where canonical_key = 'alpha:p1' order by 1 $$,
    $$ select owner_id, owner_id, id from private order by 1 $$, 'what is his alone');
select pg_temp.finish_run(id) from private;
update worker.kinds set is_private = false where kind = 'pgtap';

-- Again from raw -------------------------------------------------------------------------------------------------

select throws_ok($$ select public.worker_reprocess(status => 'fetched') $$, '22023',
    'status must be completed, partial or failed, not ''fetched''', 'a status that is none');
select is(public.worker_reprocess(source => 'nobody'), 0, 'pages of a source');
select is(public.worker_reprocess(since => worker.now() + interval '1 second'), 0, 'pages since a time');
select is(public.worker_reprocess(status => 'failed'), 7, 'pages with a status');
select is(public.worker_reprocess(status => 'failed'), 0, 'are marked once');
select results_eq($$ select distinct strategy from worker.raw_collections where status = 'fetched' $$, array['reprocess'],
    'to be processed again');

select throws_ok(format('select public.worker_claim_pages(''{pgtap}'', %s)', coalesce(batch::text, 'null')), '22023',
    'batch must be an integer from 1 to 100', format('a batch of %s', batch)) from unnest(array[0, 101, null]) as batch;
select is_empty($$ select from public.worker_claim_pages('{nobody}', 10) $$, 'a worker gets pages of its sources alone');
create temporary table claimed as select * from public.worker_claim_pages('{pgtap}', 5);
select results_eq('select page_number, kind, source, site, payload, response_ms, calls_used from claimed',
    $$ select page_number, 'pgtap', 'pgtap', 'alpha', '{}'::jsonb, 5, 1 from unnest(array[3, 4, 11, 12, 13]) as page_number $$,
    'the oldest first, as they came');
select results_eq($$ select page_number from public.worker_claim_pages('{pgtap}', 5) $$, array[14, 15],
    'what is claimed is not claimed twice');
select pg_temp.move_clock(361);
select is((select count(*)::integer from public.worker_claim_pages('{pgtap}', 10)), 7, 'for 5 minutes');

create function pg_temp.load(page_number integer, items jsonb, errors jsonb default '[]') returns jsonb language sql as $$
    select public.worker_load_page(
        page_id, 2, 3, '{"title": 0.5}',
        (select coalesce(jsonb_agg(jsonb_build_object('position', position, 'title', 'A title', 'url', 'https://x.test')
                                   || item), '[]')
         from jsonb_array_elements(items) with ordinality as listed (item, position)), errors)
    from claimed where claimed.page_number = load.page_number;
$$;
create temporary table answered as select id from pg_temp.enqueue(pg_temp.bob()) as id;
update public.search_runs set status = 'success', completed_at = worker.now(), jobs_found = 13, shared_run_id = run.id
from run, answered where search_runs.id = answered.id;
create temporary table before as
    select pg_temp.item('alpha:a1') as item, (select to_jsonb(search_runs) from public.search_runs join run using (id)) as run;

select is(pg_temp.load(3, '[{"external_id": "n1"}, {"external_id": "a1", "title": "Later"}]'),
    '{"status": "completed", "results": 1, "new": 2}', 'a page is loaded into its run');
select results_eq(
    $$ select status, version, item_count, invalid_count, result_count, completeness, transform_ms, transformed_at, claimed_until
       from worker.raw_collections join claimed on id = page_id where claimed.page_number = 3 $$,
    $$ values ('completed', 2, 2, 0, 1, '{"title": 0.5}'::jsonb, 3, worker.now(), null::timestamptz) $$,
    'and reports what was made of it');
select is_empty($$ select from worker.processing_log join claimed on raw_collection_id = page_id where claimed.page_number = 3 $$,
    'its former problems are gone');
select is((pg_temp.item('alpha:n1')).first_seen_at, (select fetched_at from worker.raw_collections join claimed on id = page_id
    where claimed.page_number = 3), 'its items were seen when it was fetched');
select is((pg_temp.item('alpha:a1')).title, (before.item).title, 'what was seen later stays') from before;
select results_eq(
    $$ select jobs_found, (select sum(jobs_found)::integer from public.search_run_sites where run_id = run.id), status::text,
              to_jsonb(search_runs) - counts = before.run - counts
       from public.search_runs join run using (id), before,
            (values ('{jobs_found,items_found,new_items,updated_at}'::text[])) as changed (counts) $$,
    $$ select count(*)::integer, count(*)::integer, 'partial', true from public.search_results, run where run_id = run.id $$,
    'the run counts it, and is otherwise as it was');
select is((select jobs_found from public.search_runs join answered using (id)),
    (select jobs_found from public.search_runs join run using (id)), 'as does the run that it answered');

update before set run = (select to_jsonb(search_runs) from public.search_runs join run using (id));
select is(pg_temp.load(3, '[{"external_id": "n1"}, {"external_id": "a1"}]'),
    '{"status": "completed", "results": 0, "new": 2}', 'loaded again, it brings no more');
select is((select to_jsonb(search_runs) from public.search_runs join run using (id)), before.run, 'and writes no count') from before;
select is(pg_temp.load(4, '[]', '[{"index": null, "type": "KeyError", "message": "no list"}]') ->> 'status', 'failed',
    'a page may fail again');
select is((select count(*)::integer from public.run_events, run where run_id = run.id and event = 'alert'), 8,
    'which is reported once');
select is(pg_temp.load(3, '[]') ->> 'results', '0', 'what a page does not have any more');
select is((select count(*)::integer from public.search_results, run where run_id = run.id and item_id = (pg_temp.item('alpha:n1')).id),
    1, 'its run keeps');
select throws_ok($$ select public.worker_load_page(-1, 1, 1, '{}', '[]', '[]') $$, 'PT404', 'page_id must be the id of a stored page',
    'a page that is gone');

-- Alerts ---------------------------------------------------------------------------------------------------------

create temporary table alerted as select pg_temp.open_run(pg_temp.ada(), '{"search_term": "alerted"}') as id;
create function pg_temp.alert(data jsonb, lease_token uuid default null) returns void language sql as $$
    select public.worker_write_alert(id, coalesce(lease_token, pg_temp.token(id)), 'alpha', data) from alerted;
$$;
do $$ begin for n in 1..2 loop perform pg_temp.alert('{"reason": "page_refused", "page_number": 1}'); end loop; end $$;
select results_eq($$ select site, data from public.run_events, alerted where run_id = alerted.id and event = 'alert' $$,
    $$ values ('alpha', '{"reason": "page_refused", "page_number": 1}'::jsonb) $$, 'a worker''s alert is written once');
select throws_ok($$ select pg_temp.alert('[]') $$, '22023', 'data must be an object with a reason', 'it has a reason');
select throws_ok($$ select pg_temp.alert('{"reason": "page_refused"}', gen_random_uuid()) $$, 'PT409', 'lease_lost',
    'and a lease');

-- Quality --------------------------------------------------------------------------------------------------------

delete from worker.raw_collections;
insert into worker.raw_collections (run_id, source, site, attempt, page_number, query, query_hash, payload, response_ms,
                                    calls_used, fetched_at, strategy, status, item_count, invalid_count, completeness)
select run.id, 'one', 'alpha', 1, page.*
from run, (values
    (1, '{}'::jsonb, 'h', '{}'::jsonb, 1, 1, '2026-05-01 23:00+00'::timestamptz, 'manual', 'partial', 30, 10, '{"title": 1, "city": 0.5}'::jsonb),
    (2, '{}', 'h', '{}', 1, 1, '2026-05-01 00:00+00', 'manual', 'completed', 10, 0, '{"title": 0.2}'),
    (3, '{}', 'h', '{}', 1, 1, '2026-05-01 12:00+00', 'manual', 'failed', 0, 0, '{}'),
    (4, '{}', 'h', '{}', 1, 1, '2026-05-02 00:00+00', 'manual', 'completed', 0, 0, '{}')) as page;
select results_eq(
    'select source, site, day, pages, failed_pages, items, invalid_items, invalid_share, completeness from worker.data_quality order by day',
    $$ values ('one', 'alpha', date '2026-05-01', 3::bigint, 1::bigint, 40::bigint, 10::bigint, 0.2, '{"title": 0.8, "city": 0.5}'::jsonb),
              ('one', 'alpha', date '2026-05-02', 1, 0, 0, 0, null, null) $$,
    'the quality of each day''s pages');

-- Pages that cannot be read ----------------------------------------------------------------------------------------

create temporary table unread as select pg_temp.open_run(pg_temp.bob(), '{"search_term": "changed"}') as id;
select is(pg_temp.save_items(id, 'alpha', 1, '[{"external_id": "u1"}]') ->> 'status', 'completed', 'one page is read')
from unread;
select is(pg_temp.save_items(id, 'alpha', 2, '[]', '[{"index": null, "type": "KeyError", "message": "rows"}]') ->> 'status',
    'failed', 'the next is not') from unread;
select is(pg_temp.finish_run(id), 'partial', 'so the run is not complete') from unread;
select results_eq(
    'select error_code, error_message, retryable from public.search_run_sites join unread on unread.id = run_id',
    $$ values ('unverified', 'Alpha gave no answer that could be read completely.', true) $$, 'and says why');

select * from finish();
rollback;
