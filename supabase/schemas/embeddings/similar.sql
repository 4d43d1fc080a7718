-- Which items are similar to a text or to an item?
-- Calls: nothing.

create function public.match_items(
    query_embedding text, kind text default null, max_distance double precision default 2,
    "limit" integer default 10
) returns setof public.matched_item
language plpgsql stable set search_path = ''
-- Filters apply after the index scan, which continues until enough rows have passed them (at most 20,000 rows).
set hnsw.iterative_scan = relaxed_order
set hnsw.ef_search = 100
-- The plan depends on the limit.
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    asked extensions.halfvec;
begin
    -- A text, because the input function of vectors raises errors without the name of the field, and HTTP 500 above
    -- 16,000 numbers.
    if length(query_embedding) - length(replace(query_embedding, ',', '')) is distinct from 255 then
        raise sqlstate '22023' using message = 'query_embedding must be an array of 256 numbers';
    end if;
    begin
        asked := query_embedding::extensions.halfvec;
    exception when data_exception then
        raise sqlstate '22023' using
            message = 'query_embedding must be an array of 256 numbers', detail = sqlerrm;
    end;
    if "limit" is null or "limit" not between 1 and 200 then
        raise sqlstate '22023' using message = 'limit must be an integer from 1 to 200';
    end if;
    return query
    with nearest as materialized (
        (select item.id, embedded.embedding operator(extensions.<=>) asked as distance
         from public.item_embeddings as embedded
         join public.items as item on item.id = embedded.item_id
         where embedded.owner_id is null and not embedded.from_named_board
           and item.duplicate_of is null
           and (match_items.kind is null or item.kind = match_items.kind)
         order by distance
         limit match_items."limit")
        union all
        (select item.id, embedded.embedding operator(extensions.<=>) asked as distance
         from public.item_embeddings as embedded
         join public.items as item on item.id = embedded.item_id
         where embedded.owner_id = (select auth.uid())
           and item.duplicate_of is null
           and (match_items.kind is null or item.kind = match_items.kind)
         order by distance
         limit match_items."limit")
        union all
        -- Row level security restricts search_results to the caller's own.
        (select item.id, embedded.embedding operator(extensions.<=>) asked as distance
         from public.item_embeddings as embedded
         join public.items as item on item.id = embedded.item_id
         where embedded.owner_id is null and embedded.from_named_board
           and exists (select from public.search_results as found where found.item_id = item.id)
           and item.duplicate_of is null
           and (match_items.kind is null or item.kind = match_items.kind)
         order by distance
         limit match_items."limit")
    )
    select item.id, 1 - nearest.distance, item.kind, item.title, item.organization, item.location, item.city,
           item.region, item.country, item.is_remote, item.work_mode, item.job_types, item.posted_at, item.salary_min,
           item.salary_max, item.salary_interval, item.currency, item.salary_yearly_min, item.salary_yearly_max,
           item.url, item.apply_url, item.description, item.skills, item.experience_years, item.data,
           item.first_seen_at, item.last_seen_at
    from nearest join public.items as item on item.id = nearest.id
    where nearest.distance <= max_distance
    order by nearest.distance, item.id
    limit match_items."limit";
end;
$$;
comment on function public.match_items is
    'Items, nearest first and each thing once: public items, the caller''s own, and those of user-named boards that '
    'a run of the caller found. query_embedding is an array of 256 numbers from the model of the embeddings; '
    'max_distance is from 0 (equal) to 2; limit is from 1 to 200.';

create function public.similar_items(item_id uuid, "limit" integer default 10) returns setof public.matched_item
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    item public.items;
begin
    if "limit" is null or "limit" not between 1 and 100 then
        raise sqlstate '22023' using message = 'limit must be an integer from 1 to 100';
    end if;
    select * into item from public.items as visible where visible.id = similar_items.item_id;
    if not found then
        raise sqlstate 'PT404' using message = 'item_id must be the id of an item that you may see';
    end if;
    return query
    select matched.*
    from public.item_embeddings as embedded
    cross join lateral public.match_items(embedded.embedding::text, item.kind, "limit" => similar_items."limit" + 1) as matched
    where embedded.item_id = similar_items.item_id
      and matched.item_id <> coalesce(item.duplicate_of, item.id)
    order by matched.similarity desc, matched.item_id
    limit similar_items."limit";
end;
$$;
comment on function public.similar_items is
    'Items of the same kind that the caller may see, most similar first: each thing once, without the thing itself. '
    'Empty until the item is embedded. limit is from 1 to 100.';
