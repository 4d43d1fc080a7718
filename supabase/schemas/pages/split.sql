-- What happens when an operator splits an item from its group? It stands for itself, and is not merged with the others
-- of the group again.
-- Calls: pages/merge.

create function public.worker_split_item(item_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    item record;
begin
    select known.kind, known.owner_id into item from public.items as known where known.id = worker_split_item.item_id;
    if not found then
        raise sqlstate 'PT404' using message = 'item_id must be the id of an item';
    end if;
    perform worker.lock_groups(item.kind, item.owner_id);

    insert into worker.kept_apart (item_id, other_id)
    select least(other.id, worker_split_item.item_id), greatest(other.id, worker_split_item.item_id)
    from public.items as split
    join public.items as other on other.id = split.duplicate_of or other.duplicate_of in (split.id, split.duplicate_of)
    where split.id = worker_split_item.item_id and other.id <> split.id
    on conflict do nothing;

    update public.items as other
    set duplicate_of = nullif(oldest.id, other.id)
    from (
        select follower.id from public.items as follower
        where follower.duplicate_of = worker_split_item.item_id
        order by follower.from_named_board, follower.first_seen_at, follower.id
        limit 1
    ) as oldest
    where other.duplicate_of = worker_split_item.item_id;
    update public.items as split set duplicate_of = null
    where split.id = worker_split_item.item_id and split.duplicate_of is not null;
end;
$$;
comment on function public.worker_split_item is
    'Splits an item from its group, and keeps it apart from the others of the group. Idempotent.';
