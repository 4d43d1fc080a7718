-- What becomes of the items of a page? They are written as items, sightings and results. A field that the site does not
-- report keeps its value.
-- Calls: kernel/clock, pages/merge.

create type worker.page_item as (
    external_id text, position integer, title text, organization text, location text, is_remote boolean,
    posted_at timestamptz, salary_min numeric, salary_max numeric, salary_interval text, currency text, url text,
    apply_url text, description text, city text, region text, country text, work_mode text, job_types text[],
    salary_yearly_min numeric, salary_yearly_max numeric, skills text[], experience_years smallint, data jsonb,
    apply_key text, match_key text, organization_key text
);
comment on type worker.page_item is
    'An item of a page, as the worker sends it. position is its position on the page, from 1.';

create type worker.load_result as (results integer, things integer);
comment on type worker.load_result is
    'Results that a page brought to its run; and things on it that no earlier run of the same search had.';

create function worker.load_items(
    run_id uuid, kind text, owner_id uuid, site text, page_number integer, seen_at timestamptz,
    fingerprint text, items jsonb
) returns worker.load_result
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    inserted uuid[];
    shown uuid[];
    results integer;
    unmatched uuid[];
    reworded uuid[];
    older uuid[];
    -- Whoever asks only for what is newer was shown what earlier runs had. Those since then were others'.
    known_before timestamptz := coalesce(
        (select run.newer_than + interval '1 hour' from public.search_runs as run where run.id = load_items.run_id),
        'infinity');
begin
    -- In key order, so that two pages with the same things never wait for each other in a circle.
    with found as (
        select distinct on (found.external_id) found.*, load_items.site || ':' || found.external_id as canonical_key
        from jsonb_populate_recordset(null::worker.page_item, load_items.items) as found
        order by found.external_id, found.position
    ), written as (
        insert into public.items (
            kind, owner_id, title, organization, location, is_remote, posted_at, salary_min, salary_max,
            salary_interval, currency, url, apply_url, description, city, region, country, work_mode, job_types,
            salary_yearly_min, salary_yearly_max, skills, experience_years, data, canonical_key, apply_key, match_key,
            organization_key, from_named_board, first_seen_at, last_seen_at)
        select load_items.kind, load_items.owner_id, found.title, found.organization, found.location, found.is_remote,
               found.posted_at, found.salary_min, found.salary_max, found.salary_interval, found.currency, found.url,
               found.apply_url, found.description, found.city, found.region, found.country, found.work_mode,
               coalesce(found.job_types, '{}'), found.salary_yearly_min, found.salary_yearly_max,
               coalesce(found.skills, '{}'), found.experience_years, coalesce(found.data, '{}'), found.canonical_key,
               found.apply_key, found.match_key, found.organization_key,
               exists (select from worker.parameter_rules as rule
                       where rule.kind = load_items.kind and rule.names_boards_of = load_items.site),
               load_items.seen_at, load_items.seen_at
        from found
        where not exists (
            select from public.items as known
            where known.canonical_key = found.canonical_key and known.kind = load_items.kind
              and known.owner_id is not distinct from load_items.owner_id)
        order by found.canonical_key
        on conflict on constraint items_canonical_key do nothing
        returning id, apply_key, match_key
    )
    select coalesce(array_agg(written.id), '{}'),
           array_agg(written.id) filter (where written.apply_key is not null or written.match_key is not null)
    into inserted, unmatched
    from written;

    with found as (
        select distinct on (found.external_id) item.id as item_id, found.*
        from jsonb_to_recordset(load_items.items) as found (external_id text, position integer, url text)
        join public.items as item
            on item.canonical_key = load_items.site || ':' || found.external_id and item.kind = load_items.kind
           and item.owner_id is not distinct from load_items.owner_id
        order by found.external_id, found.position
    ), sighted as (
        insert into public.item_sources as sighting (
            site, external_id, item_id, owner_id, url, first_seen_at, last_seen_at)
        select load_items.site, found.external_id, found.item_id, load_items.owner_id, found.url, load_items.seen_at,
               load_items.seen_at
        from found
        order by found.external_id
        on conflict on constraint item_sources_external_id do update set
            url = case when excluded.last_seen_at >= sighting.last_seen_at then excluded.url else sighting.url end,
            first_seen_at = least(excluded.first_seen_at, sighting.first_seen_at),
            last_seen_at = greatest(excluded.last_seen_at, sighting.last_seen_at)
    ), written as (
        insert into public.search_results (run_id, item_id, site, page_number, position, created_at)
        select load_items.run_id, found.item_id, load_items.site, load_items.page_number, found.position,
               load_items.seen_at
        from found
        order by found.position
        on conflict (run_id, item_id) do nothing
        returning item_id
    )
    select array_agg(found.item_id), (select count(*) from written) into shown, results from found;

    -- From here to the commit one page at a time: another would miss what this one writes, or wait for it in a circle.
    perform worker.lock_groups(load_items.kind, load_items.owner_id);

    -- A field that is not told keeps its value; what is derived from a field comes with it, or goes with it. An older
    -- sighting tells nothing that is not known better.
    if cardinality(inserted) < jsonb_array_length(load_items.items) then
        with found as (
            select distinct on (found.external_id) found.*, load_items.site || ':' || found.external_id as canonical_key
            from jsonb_populate_recordset(null::worker.page_item, load_items.items) as found
            order by found.external_id, found.position
        ), changed as (
            update public.items as item set
                title = coalesce(told.title, item.title),
                organization = coalesce(told.organization, item.organization),
                organization_key =
                    case when told.organization is null then item.organization_key else told.organization_key end,
                location = coalesce(told.location, item.location),
                city = case when told.location is null then item.city else told.city end,
                region = case when told.location is null then item.region else told.region end,
                country = case when told.location is null then item.country else told.country end,
                is_remote = coalesce(told.is_remote, item.is_remote),
                work_mode = case when told.description is null then coalesce(told.work_mode, item.work_mode)
                                 else told.work_mode end,
                job_types = case when told.job_types <> '{}' then told.job_types else item.job_types end,
                posted_at = coalesce(told.posted_at, item.posted_at),
                salary_min = case when told.has_salary then told.salary_min else item.salary_min end,
                salary_max = case when told.has_salary then told.salary_max else item.salary_max end,
                salary_interval = case when told.has_salary then told.salary_interval else item.salary_interval end,
                currency = case when told.has_salary then told.currency else item.currency end,
                salary_yearly_min =
                    case when told.has_salary then told.salary_yearly_min else item.salary_yearly_min end,
                salary_yearly_max =
                    case when told.has_salary then told.salary_yearly_max else item.salary_yearly_max end,
                url = coalesce(told.url, item.url),
                apply_url = coalesce(told.apply_url, item.apply_url),
                apply_key = case when told.apply_url is null then item.apply_key else told.apply_key end,
                -- Where nothing changes the stored value itself: a long one is neither compressed nor written again.
                description = case when told.description <> item.description or item.description is null
                                   then told.description else item.description end,
                skills = case when told.description is null then item.skills else coalesce(told.skills, '{}') end,
                experience_years =
                    case when told.description is null then item.experience_years else told.experience_years end,
                data = case when item.data || told.data <> item.data then item.data || told.data else item.data end,
                match_key = case
                    when told.match_key is not null then told.match_key
                    when coalesce(told.title, item.title) = item.title
                     and coalesce(told.organization, item.organization) is not distinct from item.organization
                     and coalesce(told.location, item.location) is not distinct from item.location then item.match_key
                end,
                first_seen_at = least(item.first_seen_at, load_items.seen_at),
                last_seen_at = greatest(item.last_seen_at, load_items.seen_at)
            from found
            join public.items as former
                on former.canonical_key = found.canonical_key and former.kind = load_items.kind
               and former.owner_id is not distinct from load_items.owner_id
            left join lateral (
                select found.*, coalesce(found.salary_min, found.salary_max) is not null as has_salary
                where load_items.seen_at >= former.last_seen_at
            ) as told on true
            where item.id = former.id and former.id <> all (inserted)
              and (load_items.seen_at >= former.last_seen_at or load_items.seen_at < former.first_seen_at)
            returning item.id,
                (item.apply_key, item.match_key) is distinct from (former.apply_key, former.match_key) as has_new_keys,
                (item.title, item.organization, item.location, item.description)
                    is distinct from (former.title, former.organization, former.location, former.description)
                    as has_new_text,
                item.first_seen_at < former.first_seen_at as is_older
        )
        select unmatched || array_agg(changed.id) filter (where changed.has_new_keys),
               array_agg(changed.id) filter (where changed.has_new_text),
               array_agg(changed.id) filter (where changed.is_older)
        into unmatched, reworded, older
        from changed;
    end if;

    -- Read now: whoever sets a model waits for those who have written items by then, and finds them.
    if (select embedding_model is not null from worker.settings) then
        insert into worker.embedding_queue as queued (item_id, due_at)
        select unembedded.id, worker.now() from unnest(inserted || reworded) as unembedded (id) order by unembedded.id
        on conflict (item_id) do update set attempts = 0, due_at = excluded.due_at, error = null;
    end if;

    perform worker.order_groups(older);
    perform worker.match_items(unmatched);

    return (results, (
        select count(*)
        from (
            select distinct case when item.duplicate_of is null then item.id else item.duplicate_of end as id
            from public.items as item
            where item.id = any (shown)
        ) as thing
        where not exists (
            select from public.items as item
            join public.search_results as result on result.item_id = item.id
            join public.search_runs as run on run.id = result.run_id
            where (item.id = thing.id or item.duplicate_of = thing.id)
              and run.id <> load_items.run_id and run.fingerprint = load_items.fingerprint
              -- One that was cancelled or failed may be gone on with by this one.
              and run.status = 'success' and run.started_at < known_before)
    ))::worker.load_result;
end;
$$;
comment on function worker.load_items is
    'Writes the items of a page, which its run saw at a time, as items, sightings and results. Again changes nothing.';
