-- How does a user repeat a saved search, and see how it goes?
-- Calls: nothing.

create function public.run_saved_search(saved_search_id uuid, fresh boolean default true) returns public.search_runs
language plpgsql security invoker set search_path = '' as $$
declare
    run public.search_runs;
begin
    insert into public.search_runs (workspace_id, kind, parameters, saved_search_id, fresh)
    select saved.workspace_id, saved.kind, saved.parameters, saved.id, run_saved_search.fresh
    from public.saved_searches as saved
    where saved.id = run_saved_search.saved_search_id
    returning * into run;
    if run.id is null then
        raise sqlstate 'PT404' using message = 'saved_search_id must be the id of one of your saved searches';
    end if;
    return run;
end;
$$;
comment on function public.run_saved_search is
    'Adds a saved search to the queue now, and returns the run. With fresh false, a recent equal run answers it.';

create function public.last_seen() returns timestamptz
language sql stable security definer set search_path = ''
begin atomic
    select activity.seen_at from worker.user_activity as activity where activity.user_id = (select auth.uid());
end;
comment on function public.last_seen is 'Returns when the signed-in user last called mark_seen; null for never.';

create function public.new_results(since timestamptz default null, max_items integer default 100) returns jsonb
language plpgsql stable security invoker set search_path = '' as $$
declare
    start timestamptz := coalesce(since, public.last_seen(), '-infinity');
    runs uuid[];
    answer jsonb;
begin
    if max_items between 1 and 500 is not true then
        raise sqlstate '22023' using message = 'max_items must be from 1 to 500';
    end if;
    runs := array(
        select run.id from public.search_runs as run
        where run.user_id = (select auth.uid()) and run.saved_search_id is not null
          and run.status in ('success', 'partial') and run.completed_at > start and run.new_items > 0
        order by run.completed_at desc
        limit 200);

    with shown as (
        select item.*, saved.id as saved_search_id, saved.name as saved_search
        from public.search_runs as run
        join public.run_items as item on item.run_id = run.id
        join public.saved_searches as saved on saved.id = run.saved_search_id
        where run.id = any (runs) and item.is_new
    ), thing as (
        select shown.item_id,
               (array_agg(to_jsonb(shown) - '{description,run_id,saved_search_id,saved_search}'::text[]
                          order by shown.found_at))[1] as item,
               jsonb_agg(distinct jsonb_build_object('id', shown.saved_search_id, 'name', shown.saved_search)) as searches,
               max(shown.posted_at) as posted_at, max(shown.found_at) as found_at
        from shown
        group by shown.item_id
    ), best as (
        select thing.*, row_number() over (
            order by jsonb_array_length(thing.searches) desc, coalesce(thing.posted_at, thing.found_at) desc, thing.item_id
        ) as place
        from thing
    )
    select jsonb_build_object(
        'since', nullif(start, '-infinity'), 'total', count(*),
        'items', coalesce(jsonb_agg(best.item || jsonb_build_object('saved_searches', best.searches) order by best.place)
                          filter (where best.place <= max_items), '[]'))
    into answer
    from best;
    return answer;
end;
$$;
comment on function public.new_results is
    'Returns what the signed-in user''s saved searches have found since an instant, by default since the last call of '
    'mark_seen: {since, total, items}. Each thing once, with saved_searches [{id, name}]: first what several searches '
    'found, then the newest. Looks at the last 200 runs.';

create view public.saved_search_states with (security_invoker = true) as
select
    saved.id,
    saved.name,
    saved.kind,
    saved.parameters,
    saved.workspace_id,
    saved.created_at,
    schedule.time_zone,
    schedule.times,
    schedule.weekdays,
    schedule.paused,
    schedule.paused_reason,
    schedule.next_slot_at,
    last.id as last_run_id,
    last.status as last_status,
    last.completed_at as last_completed_at,
    last.items_found as last_items_found,
    last.new_items as last_new_items,
    recent.new_items as new_items
from public.saved_searches as saved
left join public.search_schedules as schedule on schedule.saved_search_id = saved.id
left join lateral (
    select run.id, run.status, run.completed_at, run.items_found, run.new_items
    from public.search_runs as run
    where run.saved_search_id = saved.id
    order by run.created_at desc
    limit 1
) as last on true
cross join lateral (
    select coalesce(sum(run.new_items), 0)::integer as new_items
    from public.search_runs as run
    where run.saved_search_id = saved.id and run.status in ('success', 'partial')
      and run.completed_at > coalesce((select public.last_seen()), '-infinity')
) as recent;
comment on view public.saved_search_states is
    'The user''s saved searches, each with its schedule, its last run, and how many things it has found that are new '
    'since the user last called mark_seen.';
comment on column public.saved_search_states.new_items is 'New things of all runs since mark_seen was last called.';
