-- How do the collections of operators go?
-- Calls: kernel/parameters.

create function public.worker_collections() returns jsonb
language sql stable security definer set search_path = ''
return (
    select coalesce(jsonb_agg(to_jsonb(known) order by known.collection), '[]')
    from (
        select saved.collection,
               min(owner.email) as owner,
               count(*) as searches,
               count(schedule.paused) as paused,
               min(schedule.next_slot_at) as next_slot_at,
               count(*) filter (where last.completed_at is null and last.id is not null) as active,
               count(*) filter (where last.status = 'success') as succeeded,
               count(*) filter (where last.status = 'partial') as partial,
               count(*) filter (where last.status in ('failed', 'cancelled')) as failed,
               max(last.completed_at) as last_completed_at,
               coalesce(sum(last.items_found), 0) as items_found,
               coalesce(sum(last.new_items), 0) as new_items,
               (
                   select coalesce(jsonb_agg(distinct site.site), '[]')
                   from public.saved_searches as first
                   cross join lateral worker.sites_of(first.kind, first.parameters) as site
                   where first.id = min(saved.id::text)::uuid
               ) as sites
        from public.saved_searches as saved
        join auth.users as owner on owner.id = saved.user_id
        left join public.search_schedules as schedule on schedule.saved_search_id = saved.id
        left join lateral (
            select run.id, run.status, run.completed_at, run.items_found, run.new_items
            from public.search_runs as run
            where run.saved_search_id = saved.id
            order by run.created_at desc
            limit 1
        ) as last on true
        where saved.collection is not null
        group by saved.collection
    ) as known
);
comment on function public.worker_collections is
    'The collections of all namespaces: [{collection, owner, searches, paused, next_slot_at, sites, and of the last run '
    'of each search: active, succeeded, partial, failed, last_completed_at, items_found, new_items}].';
