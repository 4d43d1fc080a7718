-- What becomes of the items of a page? They are written as items, sightings and results. A field that the site does not
-- report keeps its value.
-- Calls: kernel/clock, pages/merge, pages/new_things, pages/read, pages/organizations.

create type worker.load_result as (page_id bigint, results integer, things integer);
comment on type worker.load_result is
    'Number of results that a page added to its run, and of things on it that no earlier run of the same search '
    'had.';

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
comment on function worker.insert_items is
    'Inserts the items of pages that are not known yet. Returns the inserted ones, and those of them with a key that '
    'finds duplicates.';

create type worker.page_sightings as (page_id bigint, item_ids uuid[], results integer);
comment on type worker.page_sightings is 'The items of a page, and how many of them are new to its run.';

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
comment on function worker.write_sightings is
    'Writes the items of pages, each of another run, as sightings of their sites and as results of their runs. Returns '
    'the sightings of each page with items.';

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
comment on function worker.update_items is
    'Updates the items of a page that were known before. A field that is not on the page keeps its value. What is derived '
    'from a field changes with it. A page older than the last sighting changes no field. Returns the items whose '
    'duplicate keys changed, whose text changed, and that were first seen earlier than known.';

create function worker.queue_embeddings(item_ids uuid[]) returns void
language plpgsql set search_path = '' as $$
begin
    -- The model is read now: setting one waits for the transactions that have written items, and queues their items.
    if (select embedding_model is not null from worker.settings) then
        insert into worker.embedding_queue as queued (item_id, due_at)
        select unembedded.id, worker.now() from unnest(item_ids) as unembedded (id) order by unembedded.id
        on conflict (item_id) do update set attempts = 0, due_at = excluded.due_at, error = null;
    end if;
end;
$$;
comment on function worker.queue_embeddings is 'Queues items to be embedded, if there is an embedding model.';

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
comment on function worker.load_items is
    'Writes the items of pages, each of another run, as items, sightings and results of their runs. sent as in '
    'worker.read_items. Idempotent.';
