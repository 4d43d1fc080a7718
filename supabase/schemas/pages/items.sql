-- What becomes of the items of a page? They are written as items, sightings and results. A field that the site does not
-- report keeps its value.
-- Calls: kernel/clock, kernel/parameters, pages/merge, pages/new_things, pages/organizations.

create type worker.page_item as (
    external_id text, position integer, title text, organization text, location text, is_remote boolean,
    posted_at timestamptz, salary_min numeric, salary_max numeric, salary_interval text, currency text, url text,
    apply_url text, description text, city text, region text, country text, places jsonb, work_mode text,
    job_types text[], salary_yearly_min numeric, salary_yearly_max numeric, skills text[], experience_years smallint,
    data jsonb, apply_key text, match_key text, organization_key text, place_key text,
    text_signature bit(1024)
);
comment on type worker.page_item is
    'An item of a page, as the worker sends it. position is its position on the page, from 1.';

create type worker.load_result as (results integer, things integer);
comment on type worker.load_result is
    'Number of results that a page added to its run, and of things on it that no earlier run of the same search '
    'had.';

create function worker.read_items(items jsonb) returns worker.page_item[]
language sql stable set search_path = ''
return (
    select coalesce(array_agg(first.item order by first.external_id), '{}')
    from (
        select distinct on (item.external_id) item.external_id, item
        from jsonb_populate_recordset(null::worker.page_item, read_items.items) as item
        order by item.external_id, item.position
    ) as first
);
comment on function worker.read_items is
    'Returns the items of a page in the order of their ids. An item that is on the page twice counts at its first '
    'position.';

create function worker.insert_items(
    kind text, owner_id uuid, site text, seen_at timestamptz, items worker.page_item[],
    out inserted uuid[], out with_keys uuid[]
)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
begin
    -- In key order, so that two pages with the same items do not deadlock.
    with listed as (
        select item.*, insert_items.site || ':' || item.external_id as canonical_key
        from unnest(insert_items.items) as item
    ), written as (
        insert into public.items (
            kind, owner_id, title, organization, location, is_remote, posted_at, salary_min, salary_max,
            salary_interval, currency, url, apply_url, description, city, region, country, places, work_mode,
            job_types, salary_yearly_min, salary_yearly_max, skills, experience_years, data, canonical_key, apply_key,
            match_key, organization_key, place_key, text_signature, from_named_board, first_seen_at, last_seen_at)
        select insert_items.kind, insert_items.owner_id, listed.title, listed.organization, listed.location,
               listed.is_remote, listed.posted_at, listed.salary_min, listed.salary_max, listed.salary_interval,
               listed.currency, listed.url, listed.apply_url, listed.description, listed.city, listed.region,
               listed.country, coalesce(listed.places, '[]'), listed.work_mode, coalesce(listed.job_types, '{}'),
               listed.salary_yearly_min, listed.salary_yearly_max, coalesce(listed.skills, '{}'),
               listed.experience_years, coalesce(listed.data, '{}'), listed.canonical_key, listed.apply_key,
               listed.match_key, listed.organization_key, listed.place_key, listed.text_signature,
               (select worker.is_named_board(insert_items.kind, insert_items.site)),
               insert_items.seen_at, insert_items.seen_at
        from listed
        where not exists (
            select from public.items as known
            where known.canonical_key = listed.canonical_key and known.kind = insert_items.kind
              and known.owner_id is not distinct from insert_items.owner_id)
        order by listed.canonical_key
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
    'Inserts the items that are not known yet. Returns the inserted ones, and those of them with a key that finds '
    'duplicates.';

create function worker.write_sightings(
    run_id uuid, kind text, owner_id uuid, site text, page_number integer, seen_at timestamptz,
    items worker.page_item[], out item_ids uuid[], out results integer
)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
begin
    with listed as (
        select item.id as item_id, found.external_id, found.position, found.url
        from unnest(write_sightings.items) as found
        join public.items as item
            on item.canonical_key = write_sightings.site || ':' || found.external_id
           and item.kind = write_sightings.kind and item.owner_id is not distinct from write_sightings.owner_id
    ), sighted as (
        insert into public.item_sources as sighting (
            site, external_id, item_id, owner_id, url, first_seen_at, last_seen_at)
        select write_sightings.site, listed.external_id, listed.item_id, write_sightings.owner_id, listed.url,
               write_sightings.seen_at, write_sightings.seen_at
        from listed
        order by listed.external_id
        on conflict on constraint item_sources_external_id do update set
            url = case when excluded.last_seen_at >= sighting.last_seen_at then excluded.url else sighting.url end,
            first_seen_at = least(excluded.first_seen_at, sighting.first_seen_at),
            last_seen_at = greatest(excluded.last_seen_at, sighting.last_seen_at)
    ), written as (
        insert into public.search_results (run_id, item_id, site, page_number, position, created_at)
        select write_sightings.run_id, listed.item_id, write_sightings.site, write_sightings.page_number,
               listed.position, write_sightings.seen_at
        from listed
        order by listed.position
        on conflict (run_id, item_id) do nothing
        returning item_id
    )
    select array_agg(listed.item_id), (select count(*) from written) into item_ids, results from listed;
end;
$$;
comment on function worker.write_sightings is
    'Writes the items of a page as sightings of their site and as results of their run. Returns the ids of the '
    'items, and how many are new to the run.';

create function worker.update_items(
    kind text, owner_id uuid, site text, seen_at timestamptz, items worker.page_item[], inserted uuid[],
    out with_new_keys uuid[], out with_new_text uuid[], out with_earlier_start uuid[]
)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
begin
    if cardinality(inserted) = cardinality(items) then
        return;
    end if;
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
            first_seen_at = least(item.first_seen_at, update_items.seen_at),
            last_seen_at = greatest(item.last_seen_at, update_items.seen_at)
        from unnest(update_items.items) as found
        join public.items as former
            on former.canonical_key = update_items.site || ':' || found.external_id and former.kind = update_items.kind
           and former.owner_id is not distinct from update_items.owner_id
        left join lateral (
            select found.*, coalesce(found.salary_min, found.salary_max) is not null as has_salary
            where update_items.seen_at >= former.last_seen_at
        ) as page on true
        where item.id = former.id and former.id <> all (inserted)
          and (update_items.seen_at >= former.last_seen_at or update_items.seen_at < former.first_seen_at)
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
    'Updates the items that were known before. A field that is not on the page keeps its value. What is derived '
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

create function worker.load_items(
    run_id uuid, kind text, owner_id uuid, site text, page_number integer, seen_at timestamptz,
    fingerprint text, items jsonb
) returns worker.load_result
language plpgsql set search_path = '' as $$
declare
    page_items worker.page_item[] := worker.read_items(items);
    new_items record;
    sighted record;
    changed record;
begin
    new_items := worker.insert_items(kind, owner_id, site, seen_at, page_items);
    sighted := worker.write_sightings(run_id, kind, owner_id, site, page_number, seen_at, page_items);

    -- From here to the commit, one page at a time: a concurrent page would miss what this one writes, or deadlock.
    perform worker.lock_groups(kind, owner_id);
    changed := worker.update_items(kind, owner_id, site, seen_at, page_items, new_items.inserted);
    perform worker.queue_embeddings(new_items.inserted || changed.with_new_text);
    if changed.with_earlier_start is not null then
        perform worker.order_groups(changed.with_earlier_start);
    end if;
    perform worker.match_items(new_items.with_keys || changed.with_new_keys);
    perform worker.write_organizations(run_id, kind, owner_id, site, seen_at, items);

    return (sighted.results, worker.count_new_things(run_id, fingerprint, sighted.item_ids))::worker.load_result;
end;
$$;
comment on function worker.load_items is
    'Writes the items of a page as items, sightings and results of its run. Idempotent.';
