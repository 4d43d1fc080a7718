-- The same thing, found twice: groups by key, merged and split by hand, and how a run shows them.
begin;
\ir fixture.psql
select plan(58);

-- Claims what there is, for good.
create function pg_temp.hold() returns void language plpgsql as $$
begin
    perform from public.worker_claim_runs('worker-1', '{pgtap,pgtap private}', 10, 60, gen_random_uuid(), '[]');
    update worker.leases set expires_at = 'infinity' where true;
end;
$$;
create temporary table run as select pg_temp.enqueue(pg_temp.ada(), '{"sites": ["alpha", "beta"]}') as id;
select pg_temp.hold();
select pg_temp.start_site(id, pg_temp.token(id), site, 1) from run, unnest(array['alpha', 'beta']) as site;

-- The next page of the run; a minute later each.
create function pg_temp.see(variadic items jsonb[]) returns void language plpgsql as $$
declare
    page integer := (select count(*) from worker.raw_collections, run where run_id = run.id);
begin
    perform pg_temp.move_clock(60 * page);
    perform pg_temp.save_items(id, 'alpha', page + 1, to_jsonb(items)) from run;
end;
$$;
create function pg_temp.named(external_id text, apply_key text default null, match_key text default null)
returns jsonb language sql as $$
    select jsonb_build_object('external_id', external_id, 'apply_key', apply_key, 'apply_url', apply_key, 'match_key', match_key);
$$;
create function pg_temp.item(external_id text) returns uuid language sql as $$
    select id from public.items where canonical_key = 'alpha:' || external_id and kind = 'pgtap' and owner_id is null;
$$;
-- The groups of the items whose ids begin so, each as the ids of its members, the oldest first.
create function pg_temp.groups(prefix text) returns text language sql as $$
    select string_agg(names, ' ' order by names) from (
        select string_agg(split_part(canonical_key, ':', 2), '+' order by duplicate_of nulls first, split_part(canonical_key, ':', 2)) as names
        from public.items where kind = 'pgtap' and canonical_key like 'alpha:' || prefix || '%'
        group by coalesce(duplicate_of, id)) as grouped;
$$;

-- Keys -----------------------------------------------------------------------------------------------------------

select pg_temp.see(pg_temp.named('a1', 'A'));
select pg_temp.see(pg_temp.named('a2', null, 'M'), pg_temp.named('a3'), pg_temp.named('a4'));
select pg_temp.see(pg_temp.named('a5', 'A'));
select pg_temp.see(pg_temp.named('a6', 'X', 'M'));
select is(pg_temp.groups('a'), 'a1+a5 a2+a6 a3 a4', 'the same key is the same thing, no key is nobody''s');
select is((select duplicate_of from public.items where id = pg_temp.item('a5')), pg_temp.item('a1'), 'which is the oldest');
select pg_temp.see(pg_temp.named('a7', 'A', 'M'));
select is(pg_temp.groups('a'), 'a1+a2+a5+a6+a7 a3 a4', 'an item of two groups makes them one');
select is_empty(
    $$ select from public.items as item join public.items as root on root.id = item.duplicate_of
       where root.duplicate_of is not null $$, 'all point at the oldest directly');

select pg_temp.see(pg_temp.named('b1', null, 'N1'), pg_temp.named('b2', 'B', 'N1'), pg_temp.named('b3', 'B', 'N3'),
                   pg_temp.named('b4', 'B4', 'N3'), pg_temp.named('b5', 'B5', 'N5'));
select is(array_length(string_to_array(pg_temp.groups('b'), ' '), 1), 2, 'within a page, too, also through others');
select is(
    (select count(*)::integer from public.items where duplicate_of = (
        select id from public.items where canonical_key ~ '^alpha:b[1-4]$' order by first_seen_at, id limit 1)), 3,
    'of what is seen at once the one with the least id is the oldest');

select pg_temp.see(pg_temp.named('c1', 'C1'), pg_temp.named('c2', 'C2'));
select pg_temp.see(pg_temp.named('c2', 'C1'));
select is(array_length(string_to_array(pg_temp.groups('c'), ' '), 1), 1, 'an item whose keys change is matched again');
select pg_temp.see(pg_temp.named('c2', 'C3'));
select is(array_length(string_to_array(pg_temp.groups('c'), ' '), 1), 1, 'and stays with those that it was matched with');

select pg_temp.see(pg_temp.named('long1', repeat('x', 100000))), pg_temp.see(pg_temp.named('long2', repeat('x', 100000)));
select is(pg_temp.groups('long'), 'long1+long2', 'keys have any length');

-- Kinds and owners -----------------------------------------------------------------------------------------------

insert into worker.kinds values ('pgtap private', true);
insert into worker.parameter_rules (kind, name, type, is_required, minimum, maximum, allowed, default_value)
select 'pgtap private', name, type, is_required, minimum, maximum, allowed, default_value
from worker.parameter_rules where kind = 'pgtap';
create temporary table private as
select owner, pg_temp.enqueue(owner, kind => 'pgtap private') as id
from unnest(array[pg_temp.ada(), pg_temp.bob()]) as owner;
select pg_temp.hold();
select pg_temp.start_site(id, pg_temp.token(id), 'alpha', 1) from private;
select pg_temp.save_items(id, 'alpha', 1, jsonb_build_array(pg_temp.named('p1', 'A', 'M'), pg_temp.named('p2', 'A'))) from private;
select results_eq(
    $$ select owner_id, count(distinct coalesce(duplicate_of, id)) from public.items where kind = 'pgtap private' group by 1 order by 1 $$,
    $$ select owner, 1::bigint from private order by 1 $$, 'an owner''s things are the same among themselves alone');
select is((select count(*)::integer from public.items as item join public.items as root on root.id = item.duplicate_of
           where (item.kind, item.owner_id) is distinct from (root.kind, root.owner_id)), 0, 'nor are those of another kind');

-- By hand --------------------------------------------------------------------------------------------------------

create function pg_temp.merge(variadic external_ids text[]) returns integer language sql as $$
    select public.worker_merge_items((
        select jsonb_agg(jsonb_build_object('item_id', pg_temp.item(external_ids[n]), 'other_id', pg_temp.item(external_ids[n + 1])))
        from generate_series(1, cardinality(external_ids) - 1, 2) as n));
$$;
create function pg_temp.split(external_id text) returns void language sql as $$
    select public.worker_split_item(pg_temp.item(external_id));
$$;
do $$ begin for n in 1..8 loop perform pg_temp.see(pg_temp.named('m' || n)); end loop; end $$;

select is(pg_temp.merge('m2', 'm1', 'm3', 'm4'), 2, 'pairs are merged');
select is(pg_temp.merge('m1', 'm2', 'm4', 'm3'), 0, 'once');
select is(pg_temp.groups('m'), 'm1+m2 m3+m4 m5 m6 m7 m8', 'each pair');
select is(pg_temp.merge('m4', 'm2', 'm5', 'm6', 'm6', 'm7'), 3, 'with all that are the same already');
select is(pg_temp.groups('m'), 'm1+m2+m3+m4 m5+m6+m7 m8', 'in one call, too');
select is(pg_temp.merge('m8', 'm8'), 0, 'a thing is itself');
select is(public.worker_merge_items('[]'), 0, 'no pairs');
select is(public.worker_merge_items(jsonb_build_array(jsonb_build_object('item_id', gen_random_uuid(), 'other_id', pg_temp.item('m8')))),
    0, 'an item that is gone');
select throws_ok(
    format($$ select public.worker_merge_items('[{"item_id": "%s", "other_id": "%s"}]') $$, pg_temp.item('m8'), id),
    '22023', 'both items of a pair must have the same kind and owner', 'a pair across kinds')
from public.items where kind = 'pgtap private' limit 1;

select pg_temp.split('m3');
select is(pg_temp.groups('m'), 'm1+m2+m4 m3 m5+m6+m7 m8', 'an item is split from its group');
select is((select count(*)::integer from worker.kept_apart), 3, 'and kept apart from all of it');
select pg_temp.split('m3');
select is((select count(*)::integer from worker.kept_apart), 3, 'split again, nothing changes');
select pg_temp.split('m1');
select is(pg_temp.groups('m'), 'm1 m2+m4 m3 m5+m6+m7 m8', 'the oldest, too');
select is((select duplicate_of from public.items where id = pg_temp.item('m4')), pg_temp.item('m2'), 'whose place the next has');
select throws_ok($$ select public.worker_split_item(gen_random_uuid()) $$, 'PT404', 'item_id must be the id of an item', 'an item that is none');
select pg_temp.split('m8');
select is(pg_temp.groups('m'), 'm1 m2+m4 m3 m5+m6+m7 m8', 'alone it stays');

-- Kept apart -----------------------------------------------------------------------------------------------------

select is(pg_temp.merge('m1', 'm2'), 0, 'what was split is not merged');
select is(pg_temp.merge('m3', 'm4'), 0, 'nor with the others of its group');
select is(pg_temp.merge('m8', 'm1', 'm8', 'm2'), 1, 'nor through a third');
select is(pg_temp.groups('m'), 'm1+m8 m2+m4 m3 m5+m6+m7', 'which joins the older');
select is(pg_temp.merge('m5', 'm3', 'm5', 'm4'), 1, 'nor through a third that has a group of its own');
select is(pg_temp.groups('m'), 'm1+m8 m2+m4+m5+m6+m7 m3', 'as a whole');

do $$ begin for n in 1..3 loop perform pg_temp.see(pg_temp.named('k' || n, 'K')); end loop; end $$;
select pg_temp.split('k2');
select pg_temp.see(pg_temp.named('k2', 'K2'));
select pg_temp.see(pg_temp.named('k2', 'K'));
select is(pg_temp.groups('k'), 'k1+k3 k2', 'nor by their keys');
select pg_temp.see(pg_temp.named('k4', 'K')), pg_temp.see(pg_temp.named('k5', 'K'));
select is(pg_temp.groups('k'), 'k1+k3+k4+k5 k2', 'others still are');

-- Two that are kept apart both match a third, older one that comes between them.
do $$ begin for n in 1..3 loop perform pg_temp.see(pg_temp.named('t' || n)); end loop; end $$;
select pg_temp.merge('t2', 't3');
select pg_temp.split('t3');
select is(pg_temp.merge('t1', 't2', 't1', 't3'), 1, 'of two that are kept apart one joins');
select is(array_length(string_to_array(pg_temp.groups('t'), ' '), 1), 2, 'the other does not');

-- The keys in their order: by the apply_key first.
do $$ begin perform pg_temp.see(pg_temp.named('o1', null, 'O')); perform pg_temp.see(pg_temp.named('o2', 'O')); end $$;
select pg_temp.merge('o1', 'o2');
select pg_temp.split('o2');
select pg_temp.see(pg_temp.named('o3', 'O', 'O'));
select is(pg_temp.groups('o'), 'o1 o2+o3', 'an apply_key says more than a match_key');

-- Age ------------------------------------------------------------------------------------------------------------

do $$ begin perform pg_temp.see(pg_temp.named('z1', 'Z')); perform pg_temp.see(pg_temp.named('z2', 'Z')); end $$;
select pg_temp.see(pg_temp.named('z3', 'Z'));
select is((select count(*)::integer from public.items where duplicate_of = pg_temp.item('z1')), 2, 'the oldest of three');
create temporary table late as
    select page.id from worker.raw_collections as page, run where run_id = run.id and page_number = 1;
select public.worker_load_page(id, 1, 1, '{}', jsonb_build_array(pg_temp.named('z3') || '{"position": 1, "title": "x", "url": "x"}'), '[]')
from late;
select results_eq(
    $$ select canonical_key, duplicate_of = pg_temp.item('z3') from public.items where canonical_key like 'alpha:z%' order by 1 $$,
    $$ values ('alpha:z1', true), ('alpha:z2', true), ('alpha:z3', null) $$,
    'is another once an older page says so');

-- What a run shows -----------------------------------------------------------------------------------------------

create temporary table shown as select pg_temp.enqueue(pg_temp.ada(), '{"sites": ["alpha", "beta"], "search_term": "shown"}') as id;
select pg_temp.hold();
select pg_temp.start_site(id, pg_temp.token(id), site, 1) from shown, unnest(array['alpha', 'beta']) as site;
select pg_temp.save_items(id, 'alpha', 1, jsonb_build_array(
    pg_temp.named('s1', 'S') || '{"title": "Root", "salary_min": 5, "salary_interval": "hourly", "location": "Wien", "city": "Wien"}',
    pg_temp.named('s2'))) from shown;
select pg_temp.move_clock(100000);
select pg_temp.save_items(id, 'beta', 1, jsonb_build_array(
    pg_temp.named('s:9'), pg_temp.named('s8', 'S')
    || '{"title": "Copy", "description": "text", "skills": ["sql"], "salary_max": 9, "location": "Graz", "region": "Steiermark"}'))
from shown;
select results_eq(
    $$ select item_id, title, site, page_number, position, sites from public.run_items, shown where run_id = shown.id
       order by found_at, position $$,
    $$ values
        (pg_temp.item('s1'), 'Root', 'alpha', 1, 1,
         '[{"site": "alpha", "external_id": "s1", "url": "https://example.test/s1"},
           {"site": "beta", "external_id": "s8", "url": "https://example.test/s8"}]'::jsonb),
        (pg_temp.item('s2'), 'Title of s2', 'alpha', 1, 2, '[{"site": "alpha", "external_id": "s2", "url": "https://example.test/s2"}]'),
        ((select id from public.items where canonical_key = 'beta:s:9'), 'Title of s:9', 'beta', 1, 1,
         '[{"site": "beta", "external_id": "s:9", "url": "https://example.test/s:9"}]') $$,
    'a thing is shown once, with all its sites');
select is((select jobs_found from public.search_runs join shown using (id)), 4, 'the run counts the sightings');

create temporary table beta as select pg_temp.enqueue(pg_temp.bob(), '{"sites": ["beta"], "search_term": "beta"}') as id;
select pg_temp.hold();
select pg_temp.start_site(id, pg_temp.token(id), 'beta', 1) from beta;
select pg_temp.save_items(id, 'beta', 1, jsonb_build_array(pg_temp.named('s8') || '{"title": "Copy"}')) from beta;
select results_eq(
    $$ select item_id, title, site, description, skills, salary_min, salary_max, salary_interval, location, city, region,
              url, jsonb_array_length(sites) from public.run_items, beta where run_id = beta.id $$,
    $$ values (pg_temp.item('s1'), 'Copy', 'beta', 'text', '{sql}'::text[], null::numeric, 9::numeric, null::text, 'Graz',
               null::text, 'Steiermark', 'https://example.test/s8', 1) $$,
    'as the run''s own site reports it, under the id that the thing has in every run');

create temporary table gaps as select pg_temp.enqueue(pg_temp.ada(), '{"sites": ["alpha", "beta"], "search_term": "gaps"}') as id;
select pg_temp.hold();
select pg_temp.start_site(id, pg_temp.token(id), site, 1) from gaps, unnest(array['alpha', 'beta']) as site;
select pg_temp.save_items(id, 'alpha', 1, jsonb_build_array(pg_temp.named('g1', null, 'G'))) from gaps;
select pg_temp.move_clock(100060);
select pg_temp.save_items(id, 'beta', 1, jsonb_build_array(
    pg_temp.named('g2', null, 'G') || '{"description": "text", "skills": ["sql"], "experience_years": 3}',
    pg_temp.named('g3', null, 'G') || '{"description": "again", "skills": ["c"], "salary_max": 9, "salary_interval": "daily"}',
    pg_temp.named('g4', null, 'G') || '{"salary_max": 8, "apply_url": "https://example.test/apply"}')) from gaps;
select results_eq(
    $$ select item_id, jsonb_array_length(sites), description, skills, experience_years::integer, salary_max, salary_interval,
              apply_url from public.run_items, gaps where run_id = gaps.id $$,
    $$ values (pg_temp.item('g1'), 4, 'text', '{sql}'::text[], 3, 9::numeric, 'daily', 'https://example.test/apply') $$,
    'a description, a salary and an address are the first that any of the run''s sightings has');

-- What is new to a user ------------------------------------------------------------------------------------------

create function pg_temp.finish(run_id uuid) returns void language plpgsql as $$
begin
    perform pg_temp.finish_site(site.run_id, pg_temp.token(site.run_id), site.site)
    from public.search_run_sites as site where site.run_id = finish.run_id and site.completed_at is null;
    perform pg_temp.finish_run(run_id, pg_temp.token(run_id));
end;
$$;
create temporary table runs (name text, id uuid);
-- A run at a time, in hours, with what it finds.
create function pg_temp.searched(name text, user_id uuid, hours integer, error_code text, variadic items jsonb[]) returns void
language plpgsql as $$
declare
    searched uuid;
begin
    perform pg_temp.move_clock(1000000 + hours * 3600);
    searched := pg_temp.enqueue(user_id, '{"search_term": "is it new"}');
    insert into runs values (name, searched);
    perform pg_temp.hold();
    perform pg_temp.start_site(searched, pg_temp.token(searched), 'alpha', 1);
    perform pg_temp.save_items(searched, 'alpha', 1, to_jsonb(items));
    perform pg_temp.finish_site(searched, pg_temp.token(searched), 'alpha', null, error_code, error_code, false);
    perform pg_temp.finish_run(searched, pg_temp.token(searched));
end;
$$;
create function pg_temp.new_things(name text) returns text language sql as $$
    select string_agg(split_part(item.canonical_key, ':', 2) || case when is_new then '!' else '' end, ' '
                      order by split_part(item.canonical_key, ':', 2))
    from runs join public.run_items as listed on listed.run_id = runs.id join public.items as item on item.id = listed.item_id
    where runs.name = new_things.name;
$$;
select pg_temp.finish(id) from (table run union all table shown union all table beta union all table gaps) as ended;
select pg_temp.searched('first', pg_temp.ada(), 1, null, pg_temp.named('n1', 'N-1'), pg_temp.named('n2'), pg_temp.named('s2'));
select is(pg_temp.new_things('first'), 'n1! n2! s2!', 'on the first run everything is new, even what another user had');
select pg_temp.searched('bobs', pg_temp.bob(), 2, null, pg_temp.named('n1'), pg_temp.named('n3'));
select is(pg_temp.new_things('bobs'), 'n1! n3!', 'to each user');
select pg_temp.searched('second', pg_temp.ada(), 3, null, pg_temp.named('n2'), pg_temp.named('n3'), pg_temp.named('n4'),
                        pg_temp.named('n5', 'N-1'));
select is(pg_temp.new_things('second'), 'n1 n2 n3! n4!', 'later what no run of his had, also as another sighting');
select pg_temp.searched('third', pg_temp.ada(), 4, null, pg_temp.named('n1'));
select is(pg_temp.new_things('third'), 'n1', 'what was not there the last time is not new');
select is(pg_temp.new_things('second'), 'n1 n2 n3! n4!', 'what was new to a run stays so');
select is(pg_temp.new_things('first'), 'n1! n2! s2!', 'also on the first');
select pg_temp.searched('nothing', pg_temp.bob(), 5, 'blocked', variadic '{}');
select pg_temp.searched('part', pg_temp.bob(), 6, 'blocked', pg_temp.named('n2'));
select is(pg_temp.new_things('part'), 'n2!', 'a failed run has shown nothing');
select pg_temp.searched('after', pg_temp.bob(), 7, null, pg_temp.named('n2'), pg_temp.named('n4'));
select is(pg_temp.new_things('after'), 'n2 n4!', 'a partial one has');

-- Answered with another's results, from both sides.
select pg_temp.move_clock(1000000 + 8 * 3600);
insert into runs select 'answered', pg_temp.enqueue(pg_temp.bob(), '{"search_term": "is it new"}');
update public.search_runs set status = 'success', completed_at = worker.now(),
    shared_run_id = (select id from runs where name = 'second')
where id = (select id from runs where name = 'answered');
select is(pg_temp.new_things('answered'), 'n1 n2 n3 n4', 'what is shared was shown or not as if he had searched');
select pg_temp.searched('last', pg_temp.bob(), 9, null, pg_temp.named('n5'), pg_temp.named('s2'));
select is(pg_temp.new_things('last'), 'n1 s2!', 'and counts as shown');

grant select on runs to public;
select pg_temp.sign_in(pg_temp.bob());
select is(pg_temp.new_things(name), expected, 'as the user himself sees it: ' || name)
from (values ('bobs', 'n1! n3!'), ('answered', 'n1 n2 n3 n4'), ('last', 'n1 s2!'), ('second', null)) as own (name, expected);
reset role;

select * from finish();
rollback;
