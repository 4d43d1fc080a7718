-- Are two items the same thing? Yes if their keys are equal, unless something keeps two items of their groups apart: an
-- operator who has split them, or what they say. The oldest item of a group stands for the group.
-- Calls: pages/facts.

create function worker.lock_groups(kind text, owner_id uuid) returns void
language sql volatile set search_path = ''
return pg_advisory_xact_lock(hashtextextended(
    'worker.lock_groups ' || lock_groups.kind || ' ' || coalesce(lock_groups.owner_id::text, ''), 0));
comment on function worker.lock_groups is
    'Locks the items of a kind and owner until the transaction ends. To avoid deadlocks, no visible item is locked '
    'before.';

create function worker.pair_groups(item_ids uuid[], other_ids uuid[], similarities double precision[])
returns table (younger_id uuid, older_id uuid, similarity double precision, age bigint)
language plpgsql stable rows 20 set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    with pair as (
        select case when item.duplicate_of is null then item.id else item.duplicate_of end as item_id,
               case when other.duplicate_of is null then other.id else other.duplicate_of end as other_id,
               given.similarity
        from unnest(item_ids, other_ids, similarities) as given (item_id, other_id, similarity)
        join public.items as item on item.id = given.item_id
        join public.items as other on other.id = given.other_id
    )
    select younger.id, older.id, max(given.similarity),
           rank() over (order by older.from_named_board, older.first_seen_at, older.id)
    from (table pair union all select pair.other_id, pair.item_id, pair.similarity from pair) as given
    join public.items as younger on younger.id = given.item_id
    join public.items as older on older.id = given.other_id
    where (older.from_named_board, older.first_seen_at, older.id)
        < (younger.from_named_board, younger.first_seen_at, younger.id)
    group by younger.id, older.id;
end;
$$;
comment on function worker.pair_groups is
    'Returns the groups of each item and its other item, as the younger and the older one. age is the rank of the older '
    'one, from 1 for the oldest.';

create function worker.merge_groups(
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
comment on function worker.merge_groups is
    'Merges the groups of each item and its other item, unless two of their items were split or show that they are two '
    'things (worker.are_apart). If the items of each pair have_one_address to apply at, only other addresses show that. '
    'Returns by how many the groups decreased.';

create function worker.match_items(item_ids uuid[]) returns void
language plpgsql set search_path = '' as $$
declare
    -- Thousands of jobs may share a key. Any of the items of a group leads to it.
    compared_items constant integer := 500;
    compared_groups constant integer := 20;
    matches record;
begin
    select array_agg(matched.item_id) as item_ids, array_agg(matched.other_id) as other_ids into matches
    from (
        -- Pairs with groups, not with each of their items: thousands may share a key, and a page may add a hundred.
        select distinct item.id as item_id,
                        case when other.duplicate_of is null then other.id else other.duplicate_of end as other_id
        from public.items as item
        join public.items as other
            on other.apply_key = item.apply_key and other.kind = item.kind and other.owner_id is not distinct from item.owner_id
        where item.id = any (match_items.item_ids) and other.id <> item.id
    ) as matched;
    perform worker.merge_groups(matches.item_ids, matches.other_ids, null, have_one_address => true);

    select array_agg(matched.item_id) as item_ids, array_agg(matched.other_id) as other_ids,
           array_agg(matched.similarity) as similarities
    into matches
    from (
        select alike.item_id, alike.other_id, max(alike.similarity) as similarity,
               row_number() over (
                   partition by alike.item_id order by max(alike.similarity) desc nulls last, alike.other_id) as rank
        from (
            select item.id as item_id,
                   case when other.duplicate_of is null then other.id else other.duplicate_of end as other_id,
                   worker.text_similarity((item.facts).text_signature, (other.facts).text_signature) as similarity
            from worker.item_facts as item
            cross join lateral (
                select known.* from worker.item_facts as known
                where known.match_key = item.match_key and known.kind = item.kind
                  and known.owner_id is not distinct from item.owner_id and known.id <> item.id
                limit compared_items
            ) as other
            where item.id = any (match_items.item_ids)
              and worker.are_alike(item.facts, other.facts) and worker.are_apart(item.facts, other.facts) is not true
        ) as alike
        group by alike.item_id, alike.other_id
    ) as matched
    where matched.rank <= compared_groups;
    perform worker.merge_groups(matches.item_ids, matches.other_ids, matches.similarities, have_one_address => false);
end;
$$;
comment on function worker.match_items is
    'Merges items into the groups with the same apply_key, then into those with the same match_key that are alike, '
    'within their kind and owner. A group stays together when its keys change.';

create function worker.order_groups(item_ids uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    with root as (
        select distinct case when item.duplicate_of is null then item.id else item.duplicate_of end as id
        from public.items as item
        where item.id = any (order_groups.item_ids)
    ), member as (
        select item.id, root.id as root_id, item.from_named_board, item.first_seen_at
        from root join public.items as item on item.id = root.id
        union all
        select item.id, root.id, item.from_named_board, item.first_seen_at
        from root join public.items as item on item.duplicate_of = root.id
    ), oldest as (
        select distinct on (member.root_id) member.root_id, member.id
        from member
        order by member.root_id, member.from_named_board, member.first_seen_at, member.id
    )
    update public.items as item
    set duplicate_of = nullif(oldest.id, item.id)
    from oldest join member on member.root_id = oldest.root_id
    where item.id = member.id and oldest.id <> oldest.root_id;
end;
comment on function worker.order_groups is
    'Makes the oldest item of each item''s group the one that the others point at.';

create function public.worker_merge_items(pairs jsonb) returns integer
language plpgsql security definer set search_path = '' as $$
declare
    given record;
begin
    select array_agg(item.id) as item_ids, array_agg(other.id) as other_ids,
           bool_and(item.kind = other.kind and item.owner_id is not distinct from other.owner_id) as are_comparable
    into given
    from jsonb_to_recordset(worker_merge_items.pairs) as pair (item_id uuid, other_id uuid)
    join public.items as item on item.id = pair.item_id
    join public.items as other on other.id = pair.other_id;
    if not given.are_comparable then
        raise sqlstate '22023' using message = 'both items of a pair must have the same kind and owner';
    end if;

    perform worker.lock_groups(locked.kind, locked.owner_id)
    from (
        select distinct item.kind, item.owner_id from public.items as item
        where item.id = any (given.item_ids)
        order by item.kind, item.owner_id
    ) as locked;
    return worker.merge_groups(given.item_ids, given.other_ids, null, have_one_address => false);
end;
$$;
comment on function public.worker_merge_items is
    'Merges the items of each pair {item_id, other_id} and their groups, unless two of them were split or show that '
    'they are two things (worker.are_apart). Returns by how many the things decreased. Idempotent.';
