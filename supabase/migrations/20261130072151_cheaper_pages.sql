-- The functions that save a page passed its payload and its items from one to the next: each copied them, several times.
-- What replaces a function or a type has another name or other arguments, so that calls in progress find the former ones.

create type worker.sent_item as (
    external_id text, position integer, title text, organization text, location text, is_remote boolean,
    posted_at timestamptz, salary_min numeric, salary_max numeric, salary_interval text, currency text, url text,
    apply_url text, description text, city text, region text, country text, places jsonb, work_mode text,
    job_types text[], salary_yearly_min numeric, salary_yearly_max numeric, skills text[], experience_years smallint,
    data jsonb, apply_key text, match_key text, organization_key text, place_key text,
    text_signature bit(1024), employer jsonb
);
comment on type worker.sent_item is
    'An item of a page, as the worker sends it. position is its position on the page, from 1.';

create type worker.loaded_page as (
    place integer, page_id bigint, run_id uuid, kind text, owner_id uuid, site text, page_number integer,
    seen_at timestamptz, fingerprint text, is_named_board boolean
);
comment on type worker.loaded_page is 'A page whose items are loaded. place is that of its items in what the worker sent.';

-- Pages and items apart: descriptions are long, and a function that looks at pages alone should not copy them.
create function worker.read_items(
    pages worker.loaded_page[], sent jsonb, out page_ids bigint[], out items worker.sent_item[]
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    select coalesce(array_agg(first.page_id), '{}'), coalesce(array_agg(first.item), '{}')
    into page_ids, items
    from (
        select distinct on (page.page_id, item.external_id) page.page_id, item
        from unnest(read_items.pages) as page
        cross join lateral jsonb_populate_recordset(
            null::worker.sent_item, sent #> array[(page.place - 1)::text, 'items']) as item
        order by page.page_id, item.external_id, item.position
    ) as first;
end;
$$;
create function worker.write_organizations(pages worker.loaded_page[], page_ids bigint[], items worker.sent_item[])
returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
begin
    with page as materialized (
        select given.page_id, given.seen_at,
               case when given.is_named_board then run.user_id end as owner_id
        from unnest(write_organizations.pages) as given
        left join public.search_runs as run on run.id = given.run_id
        where given.owner_id is null
          and (not given.is_named_board or worker.keeps_board_organizations(run.kind, run.parameters))
    ), reported as materialized (
        -- The first item of a company that says anything: the others on the page say the same.
        select distinct on (page.owner_id, found.organization_key) page.owner_id, page.seen_at,
               found.organization_key as key,
               md5(coalesce(page.owner_id::text, '') || ' ' || found.organization_key)::uuid as id,
               jsonb_strip_nulls(coalesce(found.employer, '{}'))
                   || jsonb_build_object('name', found.organization) as facts
        from page
        join unnest(write_organizations.page_ids, write_organizations.items) as found (page_id)
            on found.page_id = page.page_id
        where found.organization_key is not null and found.organization is not null
        order by page.owner_id, found.organization_key, found.employer is null, page.seen_at desc,
                 found.position
    ), changed as (
        select reported.*, former.organization
        from reported
        -- The limit keeps the plan of a small table, which would read all of it, from a table that has grown.
        left join lateral (
            select known from public.organizations as known where known.id = reported.id limit 1
        ) as former (organization) on true
        where former.organization is null or not to_jsonb(former.organization) @> reported.facts
    )
    insert into public.organizations as known (
        key, owner_id, name, url, profile_url, logo_url, address, industry, employees, revenue, description, rating,
        review_count, seen_at)
    select changed.key, changed.owner_id, new.name, new.url, new.profile_url, new.logo_url, new.address, new.industry,
           new.employees, new.revenue, new.description, new.rating, new.review_count, new.seen_at
    from changed
    cross join lateral jsonb_populate_record(null::public.organizations, changed.facts || jsonb_build_object('seen_at', (
        select jsonb_object_agg(fact.field, changed.seen_at)
        from jsonb_object_keys(changed.facts) as fact (field)))) as new
    where changed.organization is null
       or worker.newest_facts(changed.organization, new) is distinct from changed.organization
    -- In one order, so that two calls with the same organizations do not deadlock.
    order by changed.id
    on conflict (id) do update set
        (name, url, profile_url, logo_url, address, industry, employees, revenue, description, rating, review_count,
         seen_at)
        = (select newest.name, newest.url, newest.profile_url, newest.logo_url, newest.address, newest.industry,
                  newest.employees, newest.revenue, newest.description, newest.rating, newest.review_count,
                  newest.seen_at
           from worker.newest_facts(known, excluded) as newest);
end;
$$;
create function worker.insert_items(
    pages worker.loaded_page[], page_ids bigint[], items worker.sent_item[], out inserted uuid[], out with_keys uuid[]
)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
begin
    with listed as (
        select page.place, page.kind, page.owner_id, page.seen_at, page.is_named_board, item.*,
               page.site || ':' || item.external_id as canonical_key
        from unnest(insert_items.pages) as page
        join unnest(insert_items.page_ids, insert_items.items) as item (page_id) on item.page_id = page.page_id
    ), written as (
        insert into public.items (
            kind, owner_id, title, organization, location, is_remote, posted_at, salary_min, salary_max,
            salary_interval, currency, url, apply_url, description, city, region, country, places, work_mode,
            job_types, salary_yearly_min, salary_yearly_max, skills, experience_years, data, canonical_key, apply_key,
            match_key, organization_key, place_key, text_signature, from_named_board, first_seen_at, last_seen_at)
        select listed.kind, listed.owner_id, listed.title, listed.organization, listed.location,
               listed.is_remote, listed.posted_at, listed.salary_min, listed.salary_max, listed.salary_interval,
               listed.currency, listed.url, listed.apply_url, listed.description, listed.city, listed.region,
               listed.country, coalesce(listed.places, '[]'), listed.work_mode, coalesce(listed.job_types, '{}'),
               listed.salary_yearly_min, listed.salary_yearly_max, coalesce(listed.skills, '{}'),
               listed.experience_years, coalesce(listed.data, '{}'), listed.canonical_key, listed.apply_key,
               listed.match_key, listed.organization_key, listed.place_key, listed.text_signature,
               listed.is_named_board, listed.seen_at, listed.seen_at
        from listed
        where not exists (
            select from public.items as known
            where known.canonical_key = listed.canonical_key and known.kind = listed.kind
              and known.owner_id is not distinct from listed.owner_id)
        -- In one order, so that two calls with the same items do not deadlock. Each item of the first page that has it.
        order by listed.kind, listed.owner_id, listed.canonical_key, listed.place
        on conflict on constraint items_canonical_key do nothing
        returning id, apply_key, match_key
    )
    select coalesce(array_agg(written.id), '{}'),
           array_agg(written.id) filter (where written.apply_key is not null or written.match_key is not null)
    into inserted, with_keys
    from written;
end;
$$;
create function worker.write_sightings(pages worker.loaded_page[], page_ids bigint[], items worker.sent_item[])
returns worker.page_sightings[]
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    sightings worker.page_sightings[];
begin
    with listed as materialized (
        select page.page_id, page.run_id, page.owner_id, page.site, page.page_number, page.seen_at,
               item.id as item_id, found.external_id, found.position, found.url
        from unnest(write_sightings.pages) as page
        join unnest(write_sightings.page_ids, write_sightings.items) as found (page_id) on found.page_id = page.page_id
        join public.items as item
            on item.canonical_key = page.site || ':' || found.external_id
           and item.kind = page.kind and item.owner_id is not distinct from page.owner_id
    ), sighted as (
        insert into public.item_sources as sighting (
            site, external_id, item_id, owner_id, url, first_seen_at, last_seen_at)
        select distinct on (listed.site, listed.external_id, listed.item_id)
               listed.site, listed.external_id, listed.item_id, listed.owner_id, listed.url,
               min(listed.seen_at) over same_item, max(listed.seen_at) over same_item
        from listed
        window same_item as (partition by listed.site, listed.external_id, listed.item_id)
        -- In one order, so that two calls with the same items do not deadlock.
        order by listed.site, listed.external_id, listed.item_id, listed.seen_at desc
        on conflict on constraint item_sources_external_id do update set
            url = case when excluded.last_seen_at >= sighting.last_seen_at then excluded.url else sighting.url end,
            first_seen_at = least(excluded.first_seen_at, sighting.first_seen_at),
            last_seen_at = greatest(excluded.last_seen_at, sighting.last_seen_at)
    ), written as (
        insert into public.search_results as result (run_id, item_id, site, page_number, position, created_at)
        select listed.run_id, listed.item_id, listed.site, listed.page_number, listed.position, listed.seen_at
        from listed
        order by listed.page_id, listed.position
        on conflict (run_id, item_id) do nothing
        returning result.run_id
    )
    select coalesce(array_agg(
        row(found.page_id, found.item_ids, coalesce(counted.results, 0))::worker.page_sightings), '{}')
    into sightings
    from (
        select listed.page_id, listed.run_id, array_agg(listed.item_id) as item_ids
        from listed
        group by listed.page_id, listed.run_id
    ) as found
    left join (
        select written.run_id, count(*)::integer as results from written group by written.run_id
    ) as counted on counted.run_id = found.run_id;
    return sightings;
end;
$$;
create function worker.update_items(
    page worker.loaded_page, page_ids bigint[], items worker.sent_item[], inserted uuid[],
    out with_new_keys uuid[], out with_new_text uuid[], out with_earlier_start uuid[]
)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
begin
    with changed as (
        update public.items as item set
            title = coalesce(page.title, item.title),
            organization = coalesce(page.organization, item.organization),
            organization_key =
                case when page.organization is null then item.organization_key else page.organization_key end,
            location = coalesce(page.location, item.location),
            city = case when page.location is null then item.city else page.city end,
            region = case when page.location is null then item.region else page.region end,
            country = case when page.location is null then item.country else page.country end,
            places = case when page.location is null then item.places else coalesce(page.places, '[]') end,
            is_remote = coalesce(page.is_remote, item.is_remote),
            work_mode = case when page.description is null then coalesce(page.work_mode, item.work_mode)
                             else page.work_mode end,
            job_types = case when page.job_types <> '{}' then page.job_types else item.job_types end,
            posted_at = coalesce(page.posted_at, item.posted_at),
            salary_min = case when page.has_salary then page.salary_min else item.salary_min end,
            salary_max = case when page.has_salary then page.salary_max else item.salary_max end,
            salary_interval = case when page.has_salary then page.salary_interval else item.salary_interval end,
            currency = case when page.has_salary then page.currency else item.currency end,
            salary_yearly_min = case when page.has_salary then page.salary_yearly_min else item.salary_yearly_min end,
            salary_yearly_max = case when page.has_salary then page.salary_yearly_max else item.salary_yearly_max end,
            url = coalesce(page.url, item.url),
            apply_url = coalesce(page.apply_url, item.apply_url),
            apply_key = case when page.apply_url is null then item.apply_key else page.apply_key end,
            -- If nothing changes, the stored value itself: then a long text is neither compressed nor written again.
            description = case when page.description <> item.description or item.description is null
                               then page.description else item.description end,
            text_signature = case when page.description is null then item.text_signature else page.text_signature end,
            skills = case when page.description is null then item.skills else coalesce(page.skills, '{}') end,
            experience_years =
                case when page.description is null then item.experience_years else page.experience_years end,
            data = case when item.data || page.data <> item.data then item.data || page.data else item.data end,
            match_key = case
                when page.match_key is not null then page.match_key
                when coalesce(page.title, item.title) = item.title
                 and coalesce(page.organization, item.organization) is not distinct from item.organization
                 and coalesce(page.location, item.location) is not distinct from item.location then item.match_key
            end,
            place_key = case
                when page.place_key is not null then page.place_key
                when coalesce(page.location, item.location) is not distinct from item.location then item.place_key
            end,
            first_seen_at = least(item.first_seen_at, (update_items.page).seen_at),
            last_seen_at = greatest(item.last_seen_at, (update_items.page).seen_at)
        from unnest(update_items.page_ids, update_items.items) as found (page_id)
        join public.items as former
            on former.canonical_key = (update_items.page).site || ':' || found.external_id
           and former.kind = (update_items.page).kind
           and former.owner_id is not distinct from (update_items.page).owner_id
        left join lateral (
            select found.*, coalesce(found.salary_min, found.salary_max) is not null as has_salary
            where (update_items.page).seen_at >= former.last_seen_at
        ) as page on true
        where item.id = former.id and found.page_id = (update_items.page).page_id and former.id <> all (inserted)
          and ((update_items.page).seen_at >= former.last_seen_at or (update_items.page).seen_at < former.first_seen_at)
        returning item.id,
            (item.apply_key, item.match_key, item.text_signature)
                is distinct from (former.apply_key, former.match_key, former.text_signature) as has_new_keys,
            (item.title, item.organization, item.location, item.description)
                is distinct from (former.title, former.organization, former.location, former.description)
                as has_new_text,
            item.first_seen_at < former.first_seen_at as starts_earlier
    )
    select array_agg(changed.id) filter (where changed.has_new_keys),
           array_agg(changed.id) filter (where changed.has_new_text),
           array_agg(changed.id) filter (where changed.starts_earlier)
    into with_new_keys, with_new_text, with_earlier_start
    from changed;
end;
$$;
create function worker.load_items(pages worker.loaded_page[], sent jsonb) returns worker.load_result[]
language plpgsql set search_path = '' as $$
declare
    found record;
    new_items record;
    sightings worker.page_sightings[];
    page worker.loaded_page;
    on_page uuid[];
    inserted_on_page uuid[];
    on_pages_before uuid[] := array[]::uuid[];
    changed record;
    with_keys uuid[];
begin
    found := worker.read_items(pages, sent);
    new_items := worker.insert_items(pages, found.page_ids, found.items);
    sightings := worker.write_sightings(pages, found.page_ids, found.items);

    -- From here to the commit, one call at a time: a concurrent page would miss what this one writes, or deadlock.
    perform worker.lock_groups(locked.kind, locked.owner_id)
    from (
        select distinct given.kind, given.owner_id from unnest(pages) as given order by given.kind, given.owner_id
    ) as locked;
    with_keys := new_items.with_keys;
    foreach page in array pages loop
        on_page := (select sighted.item_ids from unnest(sightings) as sighted where sighted.page_id = page.page_id);
        inserted_on_page := array(
            select unnest(on_page) intersect select unnest(new_items.inserted) except select unnest(on_pages_before));
        on_pages_before := on_pages_before || on_page;
        if cardinality(inserted_on_page) < cardinality(on_page) then
            changed := worker.update_items(page, found.page_ids, found.items, inserted_on_page);
            perform worker.queue_embeddings(changed.with_new_text);
            if changed.with_earlier_start is not null then
                perform worker.order_groups(changed.with_earlier_start);
            end if;
            with_keys := with_keys || changed.with_new_keys;
        end if;
    end loop;
    perform worker.queue_embeddings(new_items.inserted);
    perform worker.match_items(with_keys);
    perform worker.write_organizations(pages, found.page_ids, found.items);

    return array(
        select row(given.page_id, coalesce(sighted.results, 0),
                   worker.count_new_things(given.run_id, given.fingerprint, sighted.item_ids))::worker.load_result
        from unnest(pages) as given
        left join unnest(sightings) as sighted on sighted.page_id = given.page_id);
end;
$$;
create type worker.transformed_page as (
    place integer, page_id bigint, version integer, transform_ms integer, completeness jsonb, errors jsonb
);
comment on type worker.transformed_page is
    'What a version of its source made of a page. place is that of its items in what the worker sent.';

create function worker.pages_of(asked worker.transformed_page[]) returns worker.loaded_page[]
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    pages worker.loaded_page[];
begin
    pages := array(
        select row(given.place, raw.id, run.id, run.kind, case when kind.is_private then run.user_id end, raw.site,
                   raw.page_number, raw.fetched_at, raw.query_hash,
                   worker.is_named_board(run.kind, raw.site))::worker.loaded_page
        from unnest(asked) as given
        join worker.raw_collections as raw on raw.id = given.page_id
        join public.search_runs as run on run.id = raw.run_id
        join worker.kinds as kind on kind.kind = run.kind
        order by given.place);
    if cardinality(pages) < cardinality(asked) then
        -- Without its kind, it is unknown whether its items are private.
        raise sqlstate '22023' using message = 'page_id must be the id of a page whose kind is in worker.kinds';
    end if;
    return pages;
end;
$$;
create function worker.load_pages(asked worker.transformed_page[], sent jsonb) returns worker.page_result[]
-- A page has few items, the tables have many: so one plan is right for all calls, and it reads by indexes. Without this, a
-- third of the time of a small page is planning, and a plan from when the tables were empty reads all of them later. Before
-- PostgreSQL 18, a scan that is left costs so much that it would be compiled.
language plpgsql set search_path = '' set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
#variable_conflict use_column
declare
    pages worker.loaded_page[] := worker.pages_of(asked);
    loaded worker.load_result[];
    refusal text;
    refused_field text;
    results worker.page_result[];
begin
    if cardinality(asked) = 0 then
        return array[]::worker.page_result[];
    end if;
    begin
        loaded := worker.load_items(pages, sent);
    exception when data_exception or integrity_constraint_violation or program_limit_exceeded then
        if cardinality(asked) > 1 then
            raise;  -- each is to be sent alone
        end if;
        get stacked diagnostics refusal = message_text, refused_field = column_name;
    end;

    with given as materialized (
        select page.*, logged.invalid, logged.is_unreadable,
               jsonb_array_length(sent #> array[(page.place - 1)::text, 'items']) as valid
        from unnest(asked) as page
        cross join lateral worker.log_errors(page.page_id, page.errors) as logged
    ), refused as (
        insert into worker.processing_log (raw_collection_id, error_type, message, field, created_at)
        select given.page_id, 'load', refusal, nullif(refused_field, ''), worker.now()
        from given where refusal is not null
    ), written as (
        update worker.raw_collections as raw
        set status = case when refusal is not null or given.is_unreadable or (given.valid = 0 and given.invalid > 0)
                               then 'failed'
                          when given.invalid > 0 then 'partial'
                          else 'completed' end,
            version = given.version, item_count = given.valid, invalid_count = given.invalid,
            result_count = coalesce(raw.result_count, 0) + coalesce(known.results, 0),
            new_count = coalesce(known.things, 0),
            completeness = given.completeness, transform_ms = given.transform_ms, transformed_at = worker.now(),
            claimed_until = null
        from given left join unnest(loaded) as known on known.page_id = given.page_id
        where raw.id = given.page_id
        returning raw.id, raw.run_id, raw.site, raw.source, raw.page_number, raw.status,
                  coalesce(known.results, 0) as results, raw.new_count, given.valid, given.invalid,
                  given.is_unreadable, given.errors
    ), alerted as (
        select worker.write_alert(written.run_id, written.site, jsonb_build_object(
            'reason', 'load_failed', 'source', written.source, 'page_number', written.page_number, 'message', refusal))
        from written
        where refusal is not null
        union all
        select worker.write_alert(written.run_id, written.site, jsonb_build_object(
            'reason', 'invalid_items', 'source', written.source, 'page_number', written.page_number,
            'items', written.valid, 'invalid_items', written.invalid, 'message', written.errors -> 0 -> 'message'))
        from written, worker.settings as settings
        where written.is_unreadable or written.invalid > (written.invalid + written.valid) * settings.max_invalid_share
    )
    select array_agg(row(written.id, written.status, written.results, written.new_count)::worker.page_result)
    into results
    from written, (select count(*) from alerted) as alerts;
    return results;
end;
$$;
create type worker.sent_answer as (
    source text, version integer, response_ms integer, calls_used integer, account text, cursor jsonb, is_last boolean,
    transform_ms integer, completeness jsonb
);
comment on type worker.sent_answer is 'An answer of a site as worker_save_pages takes it, without its payload.';

create type worker.sent_page as (
    place integer, run_id uuid, lease_token uuid, site text, attempt integer, page_number integer, raw worker.sent_answer,
    errors jsonb, progress jsonb, ends text
);
comment on type worker.sent_page is
    'A page as worker_save_pages takes it, without what is long: the payload and the items stay in the argument, at this '
    'place.';

create function worker.sent_pages(pages jsonb) returns worker.sent_page[]
language plpgsql stable set search_path = '' as $$
declare
    asked worker.sent_page[];
    wrong text;
begin
    if jsonb_typeof(pages) is distinct from 'array' or jsonb_array_length(pages) not between 1 and 100 then
        raise sqlstate '22023' using message = 'pages must be an array of 1 to 100 objects';
    end if;
    asked := array(
        select row(given.number, given.run_id, given.lease_token, given.site, given.attempt, given.page_number, given.raw,
                   given.errors, given.progress, given.ends)::worker.sent_page
        from jsonb_populate_recordset(null::worker.sent_page, pages) with ordinality as given (
            place, run_id, lease_token, site, attempt, page_number, raw, errors, progress, ends, number));
    if (select count(distinct given.run_id) < count(*) from unnest(asked) as given) then
        raise sqlstate '22023' using message = 'pages must have a run_id in each object, and each run once';
    end if;
    perform worker.require_arrays(pages #> array[(given.place - 1)::text, 'items'], given.errors)
    from unnest(asked) as given;
    wrong := (select min(given.ends) from unnest(asked) as given where given.ends not in ('site', 'run'));
    if wrong is not null then
        raise sqlstate '22023' using message = format('ends must be site, run or null, not %L', wrong);
    end if;
    return asked;
end;
$$;
comment on function worker.sent_pages is 'Reads the argument of worker_save_pages. Raises 22023 (HTTP 400) if it is wrong.';

create function worker.lock_pages(asked worker.sent_page[]) returns jsonb
language plpgsql set search_path = '' as $$
declare
    states jsonb;
begin
    select jsonb_object_agg(lease.run_id, lease.state) into states
    from worker.lock_leases(array(select given.run_id from unnest(asked) as given),
                            array(select given.lease_token from unnest(asked) as given)) as lease;
    -- A second statement, because a run may have ended while the first one waited for its lock.
    return (
        select jsonb_object_agg(given.run_id, case
            when state.name = 'lease_lost' and given.ends = 'run'
                 and worker.has_ended_attempt(given.run_id, given.lease_token) then 'ended'
            -- Its page counts for a breaker, whose row must not be locked before those of other sites.
            when state.name = 'held' and cardinality(asked) > 1 and exists (
                select from worker.site_searches as search
                join worker.site_health as health on health.site = search.site and health.exit = search.exit
                where search.run_id = given.run_id
                  and (health.prober_run_id = search.run_id or health.latest_outcomes <> '')) then 'busy'
            else state.name end)
        from unnest(asked) as given
        cross join lateral (select states ->> given.run_id::text as name) as state
    );
end;
$$;
create function worker.insert_pages(asked worker.sent_page[], sent jsonb) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    -- One time for all: of the same item on two of them, the second one counts.
    saved_at timestamptz := worker.now();
begin
    insert into worker.raw_collections (run_id, source, site, attempt, page_number, query, query_hash, payload,
                                        response_ms, calls_used, account, cursor, is_last, fetched_at, strategy)
    select run.id, (given.raw).source, started.site, given.attempt, given.page_number, run.parameters, run.fingerprint,
           sent #> array[(given.place - 1)::text, 'raw', 'payload'], (given.raw).response_ms, (given.raw).calls_used,
           coalesce((given.raw).account, ''), (given.raw).cursor, coalesce((given.raw).is_last, false), saved_at,
           case run.source when 'cron' then 'scheduled' when 'import' then 'import' else 'manual' end
    from unnest(asked) as given
    join public.search_runs as run on run.id = given.run_id
    join public.search_run_sites as started on started.run_id = run.id and started.site = given.site
    where started.completed_at is null
      -- Also pages of an earlier attempt, which may have waited on a worker's disk.
      and given.attempt between 1 and started.attempts
    on conflict on constraint raw_collections_page do nothing;
end;
$$;
create function worker.kept_pages(asked worker.sent_page[]) returns worker.kept_page[]
language plpgsql stable set search_path = '' as $$
begin
    return array(
        select row(kept.run_id, kept.id, kept.status, kept.account, kept.result_count, kept.new_count, searched.status,
                   searched.status = 'running' and searched.attempts = given.attempt,
                   -- Its followers end with a run, which is too much to do under the locks of a page.
                   given.ends is not null and not worker.has_dependents(given.run_id, by_answered => false)
               )::worker.kept_page
        from unnest(asked) as given
        join worker.raw_collections as kept
            on kept.run_id = given.run_id and kept.site = given.site
           and kept.attempt = given.attempt and kept.page_number = given.page_number
        join public.search_run_sites as searched on searched.run_id = given.run_id and searched.site = given.site);
end;
$$;
create function worker.record_pages(asked worker.sent_page[], kept worker.kept_page[], loaded worker.page_result[])
returns jsonb
language plpgsql set search_path = '' as $$
declare
    shown jsonb;
begin
    select jsonb_object_agg(given.run_id, worker.show_progress(given.run_id, given.progress)) into shown
    from unnest(asked) as given
    join unnest(kept) as stored on stored.run_id = given.run_id
    join unnest(loaded) as now on now.page_id = stored.page_id
    where not stored.is_end;

    -- A page from a file, or one that waited on a worker's disk, says nothing about the current state of the site.
    perform worker.record_good_page(given.run_id, given.site, stored.account)
    from unnest(asked) as given
    join unnest(kept) as stored on stored.run_id = given.run_id
    join unnest(loaded) as now on now.page_id = stored.page_id
    where not stored.is_end and now.status <> 'failed' and stored.is_current and not worker.is_import(given.run_id);
    return coalesce(shown, '{}');
end;
$$;
create function worker.end_with_pages(asked worker.sent_page[], kept worker.kept_page[]) returns jsonb
language plpgsql set search_path = '' as $$
declare
    finished jsonb;
    answers jsonb;
begin
    select jsonb_agg(jsonb_build_object(
        'run_id', given.run_id, 'lease_token', given.lease_token, 'site', given.site, 'account', stored.account,
        'ends_run', given.ends = 'run'))
    into finished
    from unnest(asked) as given join unnest(kept) as stored on stored.run_id = given.run_id
    where stored.is_end;
    if finished is not null then
        select jsonb_object_agg(ended.finished ->> 'run_id', ended.answer) into answers
        from rows from (
            jsonb_array_elements(finished), jsonb_array_elements(public.worker_finish_sites(finished))
        ) as ended (finished, answer);
    end if;
    return coalesce(answers, '{}');
end;
$$;
create or replace function public.worker_save_pages(pages jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    asked worker.sent_page[];
    states jsonb;
    held worker.sent_page[];
    kept worker.kept_page[];
    loaded worker.page_result[];
    shown jsonb;
    ended jsonb;
begin
    asked := worker.sent_pages(pages);
    states := worker.lock_pages(asked);
    held := array(select given from unnest(asked) as given where states ->> given.run_id::text in ('held', 'ended'));
    perform worker.insert_pages(held, pages);
    kept := worker.kept_pages(held);
    loaded := worker.load_pages(
        array(
            select row(given.place, stored.page_id, (given.raw).version, (given.raw).transform_ms, (given.raw).completeness,
                       given.errors)::worker.transformed_page
            from unnest(held) as given
            join unnest(kept) as stored on stored.run_id = given.run_id
            where stored.status = 'fetched'
            order by given.place),
        pages);
    shown := worker.record_pages(held, kept, loaded);
    ended := worker.end_with_pages(held, kept);

    return (
        select jsonb_agg(case
            when states ->> given.run_id::text not in ('held', 'ended') then
                jsonb_build_object('state', states -> given.run_id::text)
            when stored.page_id is null then jsonb_build_object(
                'state', 'refused',
                'message', format('site must be one that was started with worker_start_sites, not %L', given.site))
            else jsonb_build_object(
                    'state', 'done', 'status', coalesce(now.status, stored.status),
                    'results', coalesce(now.results, stored.results), 'new', coalesce(now.things, stored.things))
                || jsonb_strip_nulls(jsonb_build_object('shown_in_seconds', shown -> given.run_id::text))
                || case when ended ? given.run_id::text
                        then jsonb_build_object('end', ended -> given.run_id::text) else '{}' end
                -- A running search does not resume: it already has its cursor.
                || case when stored.site_status = 'pending' then jsonb_build_object('pending_site', (
                       select worker.site_to_search(searched) from public.search_run_sites as searched
                       where searched.run_id = given.run_id and searched.site = given.site)) else '{}' end
            end order by given.place)
        from unnest(asked) as given
        left join unnest(kept) as stored on stored.run_id = given.run_id
        left join unnest(loaded) as now on now.page_id = stored.page_id
    );
end;
$$;
comment on function public.worker_save_pages is
    'Saves pages of several runs: [{run_id, lease_token, site, attempt, page_number, raw, items, errors, progress, ends}], '
    'each run once. It loads their items and writes the runs'' progress, in one transaction. raw is {source, version, payload, '
    'response_ms, calls_used, account (that it was fetched through), cursor (where the next page begins), is_last, '
    'transform_ms, completeness}; items are as in worker.sent_item, errors {index, type, message, field, raw}. ends is '
    'site if the site has no more pages, run if the run has no more sites either. Returns for each {state, message, '
    'status, results, new, shown_in_seconds, pending_site, end}. state is done; lease_lost or cancelled; refused, with a message; '
    'busy: another transaction has locked the run, send it alone. status is completed, partial (some items were invalid) or failed (all '
    'were invalid, or they were not loaded). results is the number of results new to the run, new of things that no '
    'earlier run of the same search had. shown_in_seconds is there if the last change of the run is too recent to write '
    'its progress: after that time it can be written. pending_site is there while the site is pending, as it is for a '
    'page of an earlier attempt; it is as in worker.site_to_search. end is there if the site was ended, as worker_finish_sites '
    'returns it; without it, as for a run with followers, the site is still to be ended. Idempotent.';

create or replace function public.worker_load_page(
    page_id bigint, version integer, transform_ms integer, completeness jsonb, items jsonb, errors jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    page record;
    loaded worker.page_result;
begin
    perform worker.require_arrays(worker_load_page.items, worker_load_page.errors);
    select kept.run_id, kept.site into page
    from worker.raw_collections as kept join public.search_runs as run on run.id = kept.run_id
    where kept.id = worker_load_page.page_id;
    if not found then
        raise sqlstate 'PT404' using message = 'page_id must be the id of a stored page';
    end if;

    -- The run before its page, in the same order as worker_save_pages.
    perform from public.search_runs as run where run.id = page.run_id for no key update;
    perform from worker.raw_collections as kept where kept.id = worker_load_page.page_id for no key update;
    loaded := (worker.load_pages(
        array[row(1, worker_load_page.page_id, worker_load_page.version, worker_load_page.transform_ms,
                  worker_load_page.completeness, worker_load_page.errors)::worker.transformed_page],
        jsonb_build_array(jsonb_build_object('items', worker_load_page.items))))[1];
    if loaded.results > 0 then
        perform worker.recount_results(page.run_id, page.site);
    end if;
    return jsonb_build_object('status', loaded.status, 'results', loaded.results, 'new', loaded.things);
end;
$$;

create or replace function worker.merge_groups(
    item_ids uuid[], other_ids uuid[], similarities double precision[], have_one_address boolean
) returns integer
language plpgsql set search_path = '' as $$
declare
    merged integer := 0;
    merged_now integer;
    candidates integer;
begin
    -- Each group joins the most similar of the older groups that it may join, else the oldest. A group that others join
    -- is checked again in the next round.
    while cardinality(item_ids) > 0 loop
        with candidate as materialized (
            select * from worker.pair_groups(item_ids, other_ids, similarities)
        ), member as materialized (
            select root.id, root.id as root_id
            from (select younger_id from candidate union select older_id from candidate) as root (id)
            union all
            select item.id, item.duplicate_of
            from (select younger_id from candidate union select older_id from candidate) as root (id)
            join public.items as item on item.duplicate_of = root.id
        ), facts as materialized (
            select member.id as root_id, worker.group_facts(member.id, addresses_only => have_one_address) as of_group
            from member
            where member.id = member.root_id
        ), split as materialized (
            select member.root_id, other.root_id as other_root_id
            from member
            join worker.kept_apart as kept on kept.item_id = member.id
            join member as other on other.id = kept.other_id
        ), apart as materialized (
            select split.root_id, split.other_root_id from split
            union
            select split.other_root_id, split.root_id from split
            union
            select candidate.younger_id, candidate.older_id
            from candidate
            join facts as younger on younger.root_id = candidate.younger_id
            join facts as older on older.root_id = candidate.older_id
            where worker.groups_are_apart(younger.of_group, older.of_group)
        ), choice as materialized (
            select distinct on (candidate.younger_id) candidate.younger_id, candidate.older_id
            from candidate
            where not exists (
                select from apart
                where apart.root_id = candidate.younger_id and apart.other_root_id = candidate.older_id)
            order by candidate.younger_id, candidate.similarity desc nulls last, candidate.age
        ), joining as materialized (
            select choice.younger_id, choice.older_id
            from choice
            join facts as younger on younger.root_id = choice.younger_id
            where not exists (select from choice as moving where moving.younger_id = choice.older_id)
              -- Of two groups that are kept apart, only one may join the same group.
              and not exists (
                  select from choice as rival
                  join facts as others on others.root_id = rival.younger_id
                  left join apart on apart.root_id = rival.younger_id and apart.other_root_id = choice.younger_id
                  where rival.older_id = choice.older_id and rival.younger_id < choice.younger_id
                    and (apart.root_id is not null or worker.groups_are_apart(younger.of_group, others.of_group)))
        ), moved as (
            update public.items as item
            set duplicate_of = joining.older_id
            from joining join member on member.root_id = joining.younger_id
            where item.id = member.id
        )
        select (select count(*) from joining), (select count(*) from candidate) into merged_now, candidates;
        merged := merged + merged_now;
        exit when merged_now in (0, candidates);
    end loop;
    return merged;
end;
$$;

-- The sums of sites over kinds, sources and error codes: without them, admin_sites read all their combinations.
create table worker.site_totals (
    span text not null constraint site_totals_span check (span in ('hour', 'day')),
    begins_at timestamptz not null,
    site text not null,
    outcome text not null,
    runs bigint not null,
    errors jsonb not null,
    durations bigint[] not null,
    attempts bigint not null,
    pages bigint not null,
    requests bigint not null,
    items bigint not null,
    new_items bigint not null,
    valid_items bigint not null,
    invalid_items bigint not null,
    primary key (span, begins_at, site, outcome)
);
comment on table worker.site_totals is
    'Counts of the searches of each site by the runs that ended in each hour, and in each day (UTC), of all users: the sums '
    'of the rows of worker.run_stats with a site. The columns are the same.';
comment on column worker.site_totals.errors is 'Number of searches with each error code: {error_code: runs}.';

alter table worker.site_totals enable row level security;
revoke all on worker.site_totals from public, anon, authenticated, service_role;

-- No worker counts until the commit, which would be missing in the sums.
select from worker.housekeeping where task = 'run_counts' for update;
insert into worker.site_totals (
    span, begins_at, site, outcome, runs, errors, durations, attempts, pages, requests, items, new_items, valid_items,
    invalid_items)
with time as (
    select summed.span, summed.begins_at, summed.site, summed.outcome,
           array_agg(summed.runs order by summed.number) as durations
    from (
        select stats.span, stats.begins_at, stats.site, stats.outcome, bucket.number, sum(bucket.runs)::bigint as runs
        from worker.run_stats as stats
        cross join unnest(stats.durations) with ordinality as bucket (runs, number)
        where stats.site <> ''
        group by stats.span, stats.begins_at, stats.site, stats.outcome, bucket.number
    ) as summed
    group by summed.span, summed.begins_at, summed.site, summed.outcome
), by_code as (
    select stats.span, stats.begins_at, stats.site, stats.outcome, stats.error_code, sum(stats.runs) as runs,
           sum(stats.attempts) as attempts, sum(stats.pages) as pages, sum(stats.requests) as requests,
           sum(stats.items) as items, sum(stats.new_items) as new_items, sum(stats.valid_items) as valid_items,
           sum(stats.invalid_items) as invalid_items
    from worker.run_stats as stats
    where stats.site <> ''
    group by stats.span, stats.begins_at, stats.site, stats.outcome, stats.error_code
)
select by_code.span, by_code.begins_at, by_code.site, by_code.outcome, sum(by_code.runs),
       coalesce(jsonb_object_agg(by_code.error_code, by_code.runs) filter (where by_code.error_code <> ''), '{}'),
       time.durations, sum(by_code.attempts), sum(by_code.pages), sum(by_code.requests), sum(by_code.items),
       sum(by_code.new_items), sum(by_code.valid_items), sum(by_code.invalid_items)
from by_code
join time using (span, begins_at, site, outcome)
group by by_code.span, by_code.begins_at, by_code.site, by_code.outcome, time.durations;

create function worker.tally(texts text[]) returns jsonb
language sql immutable set search_path = ''
return (
    select coalesce(jsonb_object_agg(counted.text, counted.times), '{}')
    from (
        select given.text, count(*) as times from unnest(tally.texts) as given (text)
        where given.text <> ''
        group by given.text
    ) as counted
);
comment on function worker.tally is 'Returns how often there is each text, {text: times}. An empty text does not count.';

comment on function worker.add_fields is 'Returns the sum of two objects of counts, field by field.';

comment on function worker.first_whole_day is
    'Returns the begin of the first whole day (UTC) since a time. From then on, the rows of days are enough.';

comment on function worker.add_to_run_stats is
    'Adds ended runs to worker.run_stats, worker.run_totals and worker.site_totals.';

create or replace function worker.delete_old_stats(age interval, batch integer) returns void
language sql volatile set search_path = ''
begin atomic
    delete from worker.run_stats as known
    where known.ctid = any (array(
        select old.ctid from worker.run_stats as old
        where old.span in ('hour', 'day') and old.begins_at < worker.now() - age
        limit batch));
    delete from worker.run_totals as known
    where known.span in ('hour', 'day') and known.begins_at < worker.now() - age;
    delete from worker.site_totals as known
    where known.span in ('hour', 'day') and known.begins_at < worker.now() - age;
    delete from worker.page_stats as known where known.day < ((worker.now() - age) at time zone 'UTC')::date;
    delete from worker.exit_stats as known where known.day < ((worker.now() - age) at time zone 'UTC')::date;
    delete from worker.queue_samples as known where known.at < worker.now() - age;
end;

-- The rows are estimated low: because of a thousand, the planner reads all stored pages instead of theirs.
create or replace function worker.sites_to_count(run_ids uuid[]) returns setof public.search_run_sites
language sql stable rows 20 set search_path = ''
begin atomic
    select site.*
    from public.search_runs as run
    join public.search_run_sites as site on site.run_id = run.id
    -- A run that was answered at once has the sites of the run that answered it, if that was deleted.
    where run.id = any (sites_to_count.run_ids) and site.completed_at >= run.created_at;
end;

create or replace function worker.add_to_run_stats(run_ids uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    with counted as materialized (
        select * from worker.rows_to_count(add_to_run_stats.run_ids)
    ), total as (
        insert into worker.run_totals as known (
            span, begins_at, outcome, runs, durations, waits, pages, requests, items, new_items)
        select span.name, date_trunc(span.name, counted.completed_at, 'UTC'), counted.outcome, count(*),
               worker.histogram(array_agg(counted.duration)), worker.histogram(array_agg(counted.wait)),
               coalesce(sum(counted.pages), 0), coalesce(sum(counted.requests), 0), sum(counted.items),
               coalesce(sum(counted.new_items), 0)
        from counted
        cross join (values ('hour'), ('day')) as span (name)
        where counted.site = ''
        group by 1, 2, 3
        on conflict (span, begins_at, outcome) do update
        set runs = known.runs + excluded.runs,
            durations = worker.add_histograms(known.durations, excluded.durations),
            waits = worker.add_histograms(known.waits, excluded.waits),
            pages = known.pages + excluded.pages,
            requests = known.requests + excluded.requests,
            items = known.items + excluded.items,
            new_items = known.new_items + excluded.new_items
    ), site_total as (
        insert into worker.site_totals as known (
            span, begins_at, site, outcome, runs, errors, durations, attempts, pages, requests, items, new_items,
            valid_items, invalid_items)
        select span.name, date_trunc(span.name, counted.completed_at, 'UTC'), counted.site, counted.outcome, count(*),
               worker.tally(array_agg(counted.error_code)), worker.histogram(array_agg(counted.duration)),
               sum(counted.attempts), coalesce(sum(counted.pages), 0), coalesce(sum(counted.requests), 0),
               sum(counted.items), coalesce(sum(counted.new_items), 0), coalesce(sum(counted.valid_items), 0),
               coalesce(sum(counted.invalid_items), 0)
        from counted
        cross join (values ('hour'), ('day')) as span (name)
        where counted.site <> ''
        group by 1, 2, 3, 4
        on conflict (span, begins_at, site, outcome) do update
        set runs = known.runs + excluded.runs,
            errors = worker.add_fields(known.errors, excluded.errors),
            durations = worker.add_histograms(known.durations, excluded.durations),
            attempts = known.attempts + excluded.attempts,
            pages = known.pages + excluded.pages,
            requests = known.requests + excluded.requests,
            items = known.items + excluded.items,
            new_items = known.new_items + excluded.new_items,
            valid_items = known.valid_items + excluded.valid_items,
            invalid_items = known.invalid_items + excluded.invalid_items
    )
    insert into worker.run_stats as known (
        span, begins_at, site, kind, source, outcome, error_code, runs, durations, waits, attempts, pages, requests, items,
        new_items, valid_items, invalid_items)
    select span.name, date_trunc(span.name, counted.completed_at, 'UTC'), counted.site, counted.kind, counted.source,
           counted.outcome, counted.error_code, count(*), worker.histogram(array_agg(counted.duration)),
           worker.histogram(array_agg(counted.wait)), sum(counted.attempts), coalesce(sum(counted.pages), 0),
           coalesce(sum(counted.requests), 0), sum(counted.items), coalesce(sum(counted.new_items), 0),
           coalesce(sum(counted.valid_items), 0), coalesce(sum(counted.invalid_items), 0)
    from counted
    cross join (values ('hour'), ('day')) as span (name)
    group by 1, 2, 3, 4, 5, 6, 7
    on conflict (span, site, begins_at, kind, source, outcome, error_code) do update
    set runs = known.runs + excluded.runs,
        durations = worker.add_histograms(known.durations, excluded.durations),
        waits = worker.add_histograms(known.waits, excluded.waits),
        attempts = known.attempts + excluded.attempts,
        pages = known.pages + excluded.pages,
        requests = known.requests + excluded.requests,
        items = known.items + excluded.items,
        new_items = known.new_items + excluded.new_items,
        valid_items = known.valid_items + excluded.valid_items,
        invalid_items = known.invalid_items + excluded.invalid_items;
end;

create or replace function public.admin_sites(since timestamptz) returns table (
    site text, searches bigint, completed bigint, partial bigint, failed bigint, success_rate numeric, errors jsonb,
    attempts bigint, pages bigint, requests bigint, items bigint, new_items bigint, invalid_items bigint,
    invalid_share numeric, duration_p50 double precision, duration_p95 double precision, state text,
    paused_until timestamptz, last_error_code text, response_ms double precision, quotas jsonb, limits jsonb
)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
    first_hour timestamptz := date_trunc('hour', since, 'UTC');
    first_day timestamptz := worker.first_whole_day(date_trunc('hour', since, 'UTC'));
begin
    perform worker.check_admin(), worker.check_since(since);

    return query
    with searched as materialized (
        select total.* from worker.site_totals as total
        where total.span = 'hour' and total.begins_at >= first_hour and total.begins_at < first_day
          and total.outcome <> 'skipped'
        union all
        select total.* from worker.site_totals as total
        where total.span = 'day' and total.begins_at >= first_day and total.outcome <> 'skipped'
    ), time as (
        select summed.site, array_agg(summed.searches order by summed.number) as durations
        from (
            select searched.site, bucket.number, sum(bucket.searches)::bigint as searches
            from searched cross join lateral unnest(searched.durations) with ordinality as bucket (searches, number)
            where searched.outcome = 'completed'
            group by searched.site, bucket.number
        ) as summed
        group by summed.site
    ), error as (
        select failed.site, jsonb_object_agg(failed.error_code, failed.searches) as errors
        from (
            select searched.site, counted.error_code, sum(counted.searches::bigint) as searches
            from searched cross join lateral jsonb_each_text(searched.errors) as counted (error_code, searches)
            group by searched.site, counted.error_code
        ) as failed
        group by failed.site
    ), counted as (
        select searched.site, sum(searched.runs) as searches,
               coalesce(sum(searched.runs) filter (where searched.outcome = 'completed'), 0) as completed,
               coalesce(sum(searched.runs) filter (where searched.outcome = 'partial'), 0) as partial,
               coalesce(sum(searched.runs) filter (where searched.outcome = 'failed'), 0) as failed,
               sum(searched.attempts) as attempts, sum(searched.pages) as pages, sum(searched.requests) as requests,
               sum(searched.items) as items, sum(searched.new_items) as new_items,
               sum(searched.valid_items) as valid_items, sum(searched.invalid_items) as invalid_items
        from searched
        group by searched.site
    )
    select coalesce(counted.site, health.site), coalesce(counted.searches, 0)::bigint, coalesce(counted.completed, 0)::bigint,
           coalesce(counted.partial, 0)::bigint, coalesce(counted.failed, 0)::bigint,
           round(counted.completed / counted.searches, 4), coalesce(error.errors, '{}'),
           coalesce(counted.attempts, 0)::bigint, coalesce(counted.pages, 0)::bigint,
           coalesce(counted.requests, 0)::bigint, coalesce(counted.items, 0)::bigint,
           coalesce(counted.new_items, 0)::bigint, coalesce(counted.invalid_items, 0)::bigint,
           round(counted.invalid_items / nullif(counted.valid_items + counted.invalid_items, 0), 4),
           worker.quantile(time.durations, 0.5), worker.quantile(time.durations, 0.95),
           coalesce(health.state, 'closed'), health.paused_until, health.last_error_code, health.response_ms,
           coalesce(health.buckets, '[]'), coalesce(allowed.limits, '[]')
    from counted
    left join time on time.site = counted.site
    left join error on error.site = counted.site
    full join jsonb_to_recordset(public.worker_site_health()) as health (
        site text, state text, paused_until timestamptz, last_error_code text, response_ms double precision, buckets jsonb)
        on health.site = counted.site
    left join worker.limits_by_site() as allowed on allowed.site = coalesce(counted.site, health.site)
    order by 1;
end;
$$;

revoke all on all functions in schema worker from public, anon, authenticated, service_role;
