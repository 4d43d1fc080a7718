-- The contract with frontends: names, types, keys, row level security and what Realtime publishes.
begin;
select plan(56);

select enum_has_labels('public', 'run_source', array['manual', 'cron', 'api', 'import']);
select enum_has_labels('public', 'run_status',
    array['pending', 'running', 'success', 'partial', 'failed', 'cancelled']);
select enum_has_labels('public', 'site_status',
    array['pending', 'running', 'completed', 'partial', 'failed', 'skipped']);

create function pg_temp.columns_of(relation regclass) returns text language sql as $$
    select string_agg(attname || ' ' || format_type(atttypid, atttypmod) || case when attnotnull then '' else '?' end,
                      ', ' order by attname)
    from pg_attribute where attrelid = relation and attnum > 0 and not attisdropped;
$$;

select is(pg_temp.columns_of('public.search_runs'),
    'attempts smallint, cancel_requested_at timestamp with time zone?, client_context jsonb?, '
    'completed_at timestamp with time zone?, created_at timestamp with time zone, error_code text?, '
    'error_message text?, fingerprint text, fresh boolean, id uuid, idempotency_key text?, items_found integer, jobs_found integer, kind text, '
    'leader_run_id uuid?, max_attempts smallint, new_items integer, newer_than timestamp with time zone?, parameters jsonb, position bigint, priority smallint, '
    'progress jsonb, progress_current integer, progress_total integer?, rescues smallint, '
    'run_after timestamp with time zone?, saved_search_id uuid?, shared_run_id uuid?, slot_at timestamp with time zone?, source run_source, '
    'started_at timestamp with time zone?, status run_status, updated_at timestamp with time zone, user_id uuid, '
    'workspace_id uuid?', 'columns of search_runs');
select is(pg_temp.columns_of('public.search_run_sites'),
    'attempts smallint, completed_at timestamp with time zone?, error_code text?, error_message text?, '
    'id uuid, is_fallback boolean, jobs_found integer, position smallint, progress jsonb, retryable boolean?, run_id uuid, site text, '
    'started_at timestamp with time zone?, '
    'status site_status', 'columns of search_run_sites');
select is(pg_temp.columns_of('public.search_results'),
    'created_at timestamp with time zone, id uuid, item_id uuid, page_number integer, position integer, run_id uuid, site text',
    'columns of search_results');
select is(pg_temp.columns_of('public.items'),
    'apply_key text?, apply_url text?, canonical_key text, city text?, country text?, currency text?, data jsonb, '
    'description text?, duplicate_of uuid?, experience_years smallint?, first_seen_at timestamp with time zone, from_named_board boolean, id uuid, '
    'is_remote boolean?, job_types text[], kind text, last_seen_at timestamp with time zone, location text?, '
    'match_key text?, organization text?, organization_id uuid?, organization_key text?, owner_id uuid?, place_key text?, '
    'places jsonb, posted_at timestamp with time zone?, '
    'region text?, salary_interval text?, salary_max numeric?, salary_min numeric?, salary_yearly_max numeric?, '
    'salary_yearly_min numeric?, skills text[], text_signature bit(1024)?, title text, url text, work_mode text?', 'columns of items');
select is(pg_temp.columns_of('public.item_sources'),
    'external_id text, first_seen_at timestamp with time zone, id bigint, item_id uuid, '
    'last_seen_at timestamp with time zone, owner_id uuid?, site text, url text', 'columns of item_sources');
select is(pg_temp.columns_of('public.organizations'),
    'address text?, description text?, employees text?, employees_max integer?, employees_min integer?, id uuid, '
    'industry text?, key text, logo_url text?, name text, owner_id uuid?, profile_url text?, rating numeric?, '
    'revenue text?, review_count integer?, seen_at jsonb, url text?', 'columns of organizations');
select is(pg_temp.columns_of('public.saved_searches'),
    'collection text?, created_at timestamp with time zone, id uuid, kind text, name text, parameters jsonb, '
    'updated_at timestamp with time zone, user_id uuid, workspace_id uuid?', 'columns of saved_searches');
select is(pg_temp.columns_of('public.run_events'),
    'created_at timestamp with time zone, data jsonb, event text, id bigint, run_id uuid, site text?',
    'columns of run_events');
select columns_are('public', 'run_items', array[
    'run_id', 'item_id', 'site', 'sites', 'page_number', 'position', 'found_at', 'is_new', 'kind', 'title',
    'organization', 'organization_id', 'location', 'city', 'region', 'country', 'places', 'is_remote', 'work_mode', 'job_types',
    'posted_at',
    'salary_min', 'salary_max', 'salary_interval', 'currency', 'salary_yearly_min', 'salary_yearly_max', 'url',
    'apply_url', 'description', 'skills', 'experience_years', 'data', 'first_seen_at', 'last_seen_at']);

select col_is_pk('public', 'search_runs', 'id', 'search_runs: primary key');
select col_is_pk('public', 'search_run_sites', 'id', 'search_run_sites: a primary key that says nothing');
select col_is_pk('public', 'search_results', 'id', 'search_results: a primary key that says nothing');
select col_is_unique('public', 'search_run_sites', array['run_id', 'site'], 'a run has a site once');
select col_is_unique('public', 'search_results', array['run_id', 'item_id'], 'a run has an item once');
select col_is_unique('public', 'search_runs', array['user_id', 'idempotency_key'],
    'an idempotency key is unique for each user');
select col_is_unique('public', 'item_sources', array['site', 'external_id', 'item_id'],
    'a site''s id is of an item once');
select fk_ok('public', 'search_runs', 'user_id', 'auth', 'users', 'id');

select ok(relrowsecurity, format('row level security is on: %s', oid::regclass))
from pg_class where oid = any (array[
    'public.search_runs', 'public.search_run_sites', 'public.search_results', 'public.items', 'public.item_sources',
    'public.organizations', 'public.saved_searches', 'public.run_events', 'worker.leases', 'worker.raw_collections', 'worker.processing_log',
    'worker.site_health', 'worker.settings', 'worker.housekeeping', 'worker.parameter_rules', 'worker.kinds',
    'worker.kept_apart', 'worker.embedding_queue', 'worker.accounts']::regclass[])
order by oid::regclass::text;

select policies_are('public', 'search_runs', array[
    'Owners see their runs', 'Users start runs of their own', 'Owners cancel their runs',
    'Owners delete their finished runs']);
select policies_are('public', 'search_run_sites', array['Sites of visible runs']);
select policies_are('public', 'search_results', array['Results of visible runs']);
select policies_are('public', 'items', array['Public items and own items']);
select policies_are('public', 'item_sources', array['Public sightings and own sightings']);
select policies_are('public', 'organizations', array['Public organizations and own organizations']);
select policies_are('public', 'run_events', array['Events of visible runs']);
select policies_are('public', 'saved_searches', array[
    'Owners see their saved searches', 'Users save searches of their own', 'Owners change their saved searches',
    'Owners delete their saved searches']);

select is_empty(
    $$ select schemaname, tablename, policyname from pg_policies
       where schemaname in ('public', 'worker') and tablename in (
                 'search_runs', 'search_run_sites', 'search_results', 'items', 'item_sources', 'organizations',
                 'saved_searches', 'run_events')
         and roles <> '{authenticated}' $$,
    'every policy is for signed-in users');

select is(
    (select string_agg(format('%s.%s', schemaname, tablename), ', ' order by tablename) from pg_publication_tables
     where pubname = 'supabase_realtime'
       and (schemaname = 'worker' or tablename in (
           'search_runs', 'search_run_sites', 'search_results', 'items', 'item_sources', 'saved_searches',
           'run_events'))),
    'public.search_runs',
    'Realtime publishes runs, and nothing else of ours');

select is((select reloptions from pg_class where oid = 'public.run_items'::regclass), array['security_invoker=true'],
    'run_items shows what its reader may see');
select is((select reloptions from pg_class where oid = 'worker.leases'::regclass), array['fillfactor=50'],
    'a heartbeat has room on its page');
select is_empty(
    $$ select indexrelid::regclass from pg_index, pg_attribute
       where indrelid = 'worker.leases'::regclass and attrelid = indrelid and attname = 'expires_at'
         and attnum = any (indkey::smallint[]) $$,
    'no index on the expiry of leases: heartbeats stay HOT');

select is_empty(
    $$ select conrelid::regclass, conname from pg_constraint
       where contype = 'f' and connamespace in ('public'::regnamespace, 'worker'::regnamespace)
         and conrelid = any (array['public.search_runs', 'public.search_run_sites', 'public.search_results',
                                   'public.items', 'public.item_sources', 'public.saved_searches', 'public.run_events',
                                   'worker.leases', 'worker.raw_collections', 'worker.processing_log',
                                   'worker.kept_apart', 'worker.embedding_queue', 'worker.accounts']::regclass[])
         and not exists (
             select from pg_index where indrelid = conrelid and indkey[0] = conkey[1]) $$,
    'every foreign key has an index');
select is_empty(
    $$ select oid::regprocedure from pg_proc
       where (pronamespace = 'worker'::regnamespace or proname like 'worker\_%'
              or proname in ('enqueue_search', 'rerun_search', 'cancel_search'))
         and pronamespace in ('public'::regnamespace, 'worker'::regnamespace)
         and (proconfig @> array['search_path=""']) is not true $$,
    'every function has an empty search path');
select is_empty(
    $$ select relation from unnest(array[
           'public.search_runs', 'public.search_run_sites', 'public.search_results', 'public.items',
           'public.item_sources', 'public.saved_searches', 'public.run_events', 'public.run_items', 'worker.leases',
           'worker.raw_collections', 'worker.processing_log', 'worker.site_health', 'worker.settings',
           'worker.housekeeping', 'worker.parameter_rules', 'worker.kinds', 'worker.kept_apart',
           'worker.embedding_queue', 'worker.accounts', 'worker.data_quality']::regclass[]) as relation
       where obj_description(relation, 'pg_class') is null $$,
    'every table has a comment');
select is_empty(
    $$ select format('%I.%I.%I', schemaname, tablename, attname)
       from pg_publication_tables join pg_attribute on attrelid = format('%I.%I', schemaname, tablename)::regclass
       where pubname = 'supabase_realtime' and atttypid = 'jsonb'::regtype
         and not exists (
             select from pg_constraint
             where contype = 'c' and conrelid = attrelid and attnum = any (conkey)
               and pg_get_constraintdef(oid) like format('%%(jsonb_typeof(%I) = ''object''::text)%%', attname)) $$,
    'a JSON column that is published to Realtime holds objects alone');

select * from finish();
rollback;
