-- Which items may be near-duplicates? Items of one organization with similar embeddings.
-- Calls: kernel/clock, pages/facts, pages/merge.

create function worker.near_pairs(item_ids uuid[]) returns table (item_id uuid, other_id uuid)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select distinct least(item.id, nearest.id), greatest(item.id, nearest.id)
    from (
        select given.*, coalesce((given.facts).posted_at, given.first_seen_at) as appeared_at
        from worker.item_facts as given
    ) as item
    join public.item_embeddings as embedded on embedded.item_id = item.id
    cross join lateral (
        select near.id
        from (
            select other.id, other.facts,
                   -- The most likely pairs of a company's hundreds of jobs with the same template. The city is only a
                   -- word or two of the text, so that the same job in other words is farther away than the same text
                   -- without a city.
                   (other.facts).cities && (item.facts).cities is not true as is_elsewhere,
                   other_embedded.embedding operator(extensions.<=>) embedded.embedding as distance
            from (
                select given.*, coalesce((given.facts).posted_at, given.first_seen_at) as appeared_at
                from worker.item_facts as given
            ) as other
            join public.item_embeddings as other_embedded on other_embedded.item_id = other.id
            where left((other.facts).organization_key, 100) = left((item.facts).organization_key, 100)
              and (other.facts).organization_key = (item.facts).organization_key
              and other.appeared_at between item.appeared_at - interval '60 days' and item.appeared_at + interval '60 days'
              and (other.appeared_at between item.appeared_at - interval '7 days' and item.appeared_at + interval '7 days'
                   -- Published again with the same text.
                   or worker.text_similarity((other.facts).text_signature, (item.facts).text_signature) >= 0.8)
              and other.kind = item.kind
              and other.owner_id is not distinct from item.owner_id
              and coalesce(other.duplicate_of, other.id) <> coalesce(item.duplicate_of, item.id)
              and other_embedded.embedding operator(extensions.<=>) embedded.embedding < 0.05
              and not exists (
                  select from worker.kept_apart as split
                  where split.item_id = least(item.id, other.id) and split.other_id = greatest(item.id, other.id))
            order by is_elsewhere, distance
            -- The facts are compared last, because that takes longest, and only until there are enough.
            offset 0
        ) as near
        where worker.are_apart(item.facts, near.facts) is not true
        order by near.is_elsewhere, near.distance
        limit 20
    ) as nearest
    where item.id = any (item_ids);
end;
$$;
comment on function worker.near_pairs is
    'Returns pairs of each item with the items that may be the same thing, up to 20 for each: of the same kind, owner and '
    'organization, published within seven days, or within 60 with the same text, with a cosine similarity above 0.95, in '
    'another group, and neither split nor apart (worker.are_apart).';

-- For workers of 0.1.0: with all fields of the items.
create function public.worker_near_duplicates(batch integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    claimed_until timestamptz := worker.now() + interval '5 minutes';
    claimed uuid[];
    candidates jsonb;
    compared uuid[];
    items jsonb;
begin
    if batch is null or batch not between 1 and 100 then
        raise sqlstate '22023' using message = 'batch must be an integer from 1 to 100';
    end if;

    with due as (
        select queued.item_id from worker.near_duplicate_queue as queued
        where queued.due_at <= worker.now()
        order by queued.due_at
        limit batch
        for update skip locked
    ), leased as (
        update worker.near_duplicate_queue as queued set due_at = claimed_until from due
        where queued.item_id = due.item_id
        returning queued.item_id
    )
    select array_agg(leased.item_id) into claimed from leased;

    with pairs as materialized (
        select near.item_id, near.other_id from worker.near_pairs(claimed) as near
    ), compared_items as (
        select pairs.item_id as id from pairs union select pairs.other_id from pairs
    )
    select (select jsonb_agg(jsonb_build_array(pairs.item_id, pairs.other_id)) from pairs),
           array_agg(compared_items.id),
           jsonb_object_agg(compared_items.id, to_jsonb(item) - 'text_signature')
    into candidates, compared, items
    from compared_items join public.items as item on item.id = compared_items.id;

    delete from worker.near_duplicate_queue as queued
    where queued.item_id = any (claimed) and not queued.item_id = any (coalesce(compared, '{}'));

    return jsonb_build_object(
        'pairs', coalesce(candidates, '[]'),
        'items', coalesce(items, '{}'),
        'claimed_until', claimed_until,
        'due_in_seconds', (
            select greatest(case when claimed is null then 1 else 0 end, extract(epoch from queued.due_at - worker.now()))
            from worker.near_duplicate_queue as queued where queued.due_at <> claimed_until
            order by queued.due_at limit 1));
end;
$$;
comment on function public.worker_near_duplicates is
    'Claims up to batch embedded items, and looks for items that may be the same thing (worker.near_pairs). Returns '
    '{pairs, items, claimed_until, due_in_seconds}: pairs of ids, the items by id, and the rest as in '
    'worker_claim_embeddings. Items without a similar one are done; the others are due again unless '
    'worker_finish_near_duplicates is called.';

create function public.worker_finish_near_duplicates(claimed_until timestamptz, item_ids uuid[]) returns integer
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    finished integer;
begin
    with held as (
        select queued.item_id from worker.near_duplicate_queue as queued
        where queued.item_id = any (worker_finish_near_duplicates.item_ids)
          and queued.due_at = worker_finish_near_duplicates.claimed_until
        -- Not what another transaction deletes or queues again.
        for update skip locked
    )
    delete from worker.near_duplicate_queue as queued using held where queued.item_id = held.item_id;
    get diagnostics finished = row_count;
    return finished;
end;
$$;
comment on function public.worker_finish_near_duplicates is
    'Ends the comparison of claimed items; returns how many. Items that were embedded again since are not included.';

create function public.worker_claim_near_duplicates(batch integer) returns json
language plpgsql security definer set search_path = '' as $$
declare
    claimed_until timestamptz := worker.now() + interval '5 minutes';
    claimed uuid[];
    paired uuid[];
    pairs json;
    items json;
begin
    if batch is null or batch not between 1 and 100 then
        raise sqlstate '22023' using message = 'batch must be an integer from 1 to 100';
    end if;

    with due as (
        select queued.item_id from worker.near_duplicate_queue as queued
        where queued.due_at <= worker.now()
        order by queued.due_at
        limit batch
        for update skip locked
    ), leased as (
        update worker.near_duplicate_queue as queued set due_at = claimed_until from due
        where queued.item_id = due.item_id
        returning queued.item_id
    )
    select array_agg(leased.item_id) into claimed from leased;

    select array_agg(near.item_id) || array_agg(near.other_id),
           json_agg(json_build_array(near.item_id, near.other_id))
    into paired, pairs
    from worker.near_pairs(claimed) as near;

    select json_object_agg(item.id, json_build_object(
        'title', item.title, 'organization_key', item.organization_key, 'place_key', item.place_key,
        'work_mode', item.work_mode, 'location', item.location, 'city', item.city, 'region', item.region,
        'country', item.country))
    into items
    from public.items as item where item.id = any (paired);

    delete from worker.near_duplicate_queue as queued
    where queued.item_id = any (claimed) and not queued.item_id = any (coalesce(paired, '{}'));

    return json_build_object(
        'pairs', coalesce(pairs, '[]'),
        'items', coalesce(items, '{}'),
        'claimed_until', claimed_until,
        'due_in_seconds', (
            select greatest(case when claimed is null then 1 else 0 end, extract(epoch from queued.due_at - worker.now()))
            from worker.near_duplicate_queue as queued where queued.due_at <> claimed_until
            order by queued.due_at limit 1));
end;
$$;
comment on function public.worker_claim_near_duplicates is
    'Claims up to batch embedded items, and looks for items that may be the same thing (worker.near_pairs). Returns '
    '{pairs, items, claimed_until, due_in_seconds}: pairs of ids, of each item by id what is compared except for its text, and '
    'the rest as in worker_claim_embeddings. Items without a similar one are done; the others are due again unless '
    'worker_merge_near_duplicates is called.';

create function public.worker_near_duplicate_texts(item_ids uuid[], length integer) returns json
language plpgsql stable security definer set search_path = '' as $$
begin
    return coalesce(
        (select json_object_agg(item.id, left(item.description, worker_near_duplicate_texts.length))
         from public.items as item
         where item.id = any (worker_near_duplicate_texts.item_ids)),
        '{}');
end;
$$;
comment on function public.worker_near_duplicate_texts is
    'Returns the beginnings of the descriptions of items by id, up to length characters of each.';

create function public.worker_merge_near_duplicates(claimed_until timestamptz, item_ids uuid[], pairs jsonb)
returns integer
language plpgsql security definer set search_path = '' as $$
declare
    merged integer := public.worker_merge_items(pairs);
begin
    perform public.worker_finish_near_duplicates(claimed_until, item_ids);
    return merged;
end;
$$;
comment on function public.worker_merge_near_duplicates is
    'Merges the items of each pair as worker_merge_items, and ends the comparison of claimed items as '
    'worker_finish_near_duplicates, in one transaction. Returns by how many the things decreased. Idempotent.';
