-- How far is a run, and what has it found? Progress is what its sites have found, and what they have given up on for
-- good. A site that may be searched again, or in whose place fallback sites are searched, counts with what it has found.
-- The number of things follows from the results.
-- Calls: kernel/parameters.

create function worker.run_counts(run public.search_runs, out jobs_found integer, out progress_current integer)
language plpgsql stable set search_path = '' as $$
begin
    if (run_counts.run).status in ('success', 'partial', 'failed') and (run_counts.run).progress_total is not null then
        progress_current := (run_counts.run).progress_total;
        select coalesce(sum(site.jobs_found), 0) into jobs_found
        from public.search_run_sites as site where site.run_id = (run_counts.run).id;
        return;
    end if;
    select counted.jobs_found,
           greatest((run_counts.run).progress_current, least(
               counted.reached + greatest(counted.by_fallbacks, counted.given_up),
               case when (run_counts.run).completed_at is null then (run_counts.run).progress_total - 1 end))
    into jobs_found, progress_current
    from (
        select coalesce(sum(site.jobs_found), 0) as jobs_found,
               sum(case when site.status = 'completed' then coalesce(wanted.results, site.jobs_found) else share.found end)
                   filter (where not site.is_fallback) as reached,
               coalesce(sum(share.found) filter (where site.is_fallback), 0) as by_fallbacks,
               case when coalesce(
                   bool_and(site.completed_at is not null and site.retryable is not true) filter (where site.is_fallback),
                   not worker.has_fallbacks((run_counts.run).kind, (run_counts.run).parameters))
               then sum(wanted.results - share.found) filter (
                   where site.status in ('partial', 'failed') and site.retryable is not true and not site.is_fallback)
               end as given_up
        from (select worker.results_wanted((run_counts.run).kind, (run_counts.run).parameters) as results) as wanted
        left join public.search_run_sites as site on site.run_id = (run_counts.run).id
        cross join lateral (select least(site.jobs_found, wanted.results) as found) as share
    ) as counted;
end;
$$;
comment on function worker.run_counts is
    'Returns how many results the sites of a run have, and how far the run is: never less than before, and all of '
    'progress_total only once it has ended.';

create function worker.runs_shown_before(run public.search_runs) returns uuid[]
language plpgsql stable set search_path = '' as $$
begin
    return array(
        select distinct case when earlier.shared_run_id is not null then earlier.shared_run_id else earlier.id end
        from public.search_runs as earlier
        where earlier.user_id = (runs_shown_before.run).user_id
          and earlier.fingerprint = (runs_shown_before.run).fingerprint
          and earlier.status in ('success', 'partial')
          and earlier.completed_at <= (runs_shown_before.run).created_at
          and earlier.id <> (runs_shown_before.run).id
        order by 1);
end;
$$;
comment on function worker.runs_shown_before is
    'Returns the runs whose results the user of a run had seen before it: those of finished runs of the same search.';

create function worker.count_things(
    run_id uuid, shown_run_ids uuid[], out items_found integer, out new_items integer
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    with thing as materialized (
        select distinct case when item.duplicate_of is not null then item.duplicate_of else item.id end as id
        from public.search_results as result join public.items as item on item.id = result.item_id
        where result.run_id = count_things.run_id
    )
    select count(*), count(*) filter (where count_things.run_id <> all (shown_run_ids) and (
        shown_run_ids = '{}' or not exists (
            select from (
                select thing.id
                union all
                select duplicate.id from public.items as duplicate where duplicate.duplicate_of = thing.id
            ) as sighting
            join public.search_results as shown on shown.item_id = sighting.id
            -- Not any(), which would search the index once for each run.
            where array_position(shown_run_ids, shown.run_id) is not null)))
    into items_found, new_items
    from thing;
end;
$$;
comment on function worker.count_things is
    'Returns how many things the results of a run are, and how many of them are not among the results of other runs.';

create function worker.things_found(run_ids uuid[]) returns table (run_id uuid, items_found integer, new_items integer)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    -- Followers of one run are counted together if their users have seen the same.
    with asking as materialized (
        select run.id, case when run.shared_run_id is not null then run.shared_run_id
                            when run.leader_run_id is not null then run.leader_run_id
                            else run.id end as searched_run_id,
               worker.runs_shown_before(run) as shown_run_ids
        from public.search_runs as run
        where run.id = any (things_found.run_ids)
    ), counted as materialized (
        select search.searched_run_id, search.shown_run_ids, things.items_found, things.new_items
        from (select distinct asking.searched_run_id, asking.shown_run_ids from asking) as search
        cross join lateral worker.count_things(search.searched_run_id, search.shown_run_ids) as things
    )
    select asking.id, counted.items_found, counted.new_items
    from asking
    join counted on counted.searched_run_id = asking.searched_run_id and counted.shown_run_ids = asking.shown_run_ids;
end;
$$;
comment on function worker.things_found is
    'Returns for each run how many things it or the run that searches for it has found, and how many of them the user '
    'had not seen before: those with run_items.is_new.';

create function worker.settled_at_once(items_found integer) returns integer
language sql immutable set search_path = ''
return greatest(20, least(1000, 50000 / greatest(1, items_found)));
comment on function worker.settled_at_once is
    'Returns for how many runs the things of a run are counted in one transaction. If each user has seen other runs '
    'before, 1,000 things and 50 runs take 0.7 s.';
