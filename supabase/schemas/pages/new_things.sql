-- Which things on a page are new? Those that no earlier successful run of the same search had.
-- Calls: nothing.

create function worker.count_new_things(run_id uuid, fingerprint text, item_ids uuid[]) returns integer
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    -- An incremental run's user has seen the results of runs that began by newer_than. Later runs were other users'.
    known_before timestamptz := coalesce(
        (select run.newer_than + interval '1 hour' from public.search_runs as run where run.id = count_new_things.run_id),
        'infinity');
begin
    return (
        with thing as materialized (
            select distinct case when item.duplicate_of is null then item.id else item.duplicate_of end as id
            from public.items as item
            where item.id = any (item_ids)
        ), earlier as materialized (
            -- By the index of runs that searched themselves: no other has results.
            select run.id from public.search_runs as run
            where run.fingerprint = count_new_things.fingerprint and run.completed_at is not null
              and run.shared_run_id is null and run.id <> count_new_things.run_id
              -- This run may continue one that was cancelled or failed.
              and run.status = 'success' and run.started_at < known_before
        ), found as materialized (
            -- From an index alone. The runs of all searches that have found a popular thing are not read.
            select thing.id, result.run_id
            from thing
            cross join lateral (
                select thing.id
                union all
                select duplicate.id from public.items as duplicate where duplicate.duplicate_of = thing.id
            ) as sighting
            join public.search_results as result on result.item_id = sighting.id
            where exists (select from earlier)
        )
        select count(*) from thing
        where not exists (select from found join earlier on earlier.id = found.run_id where found.id = thing.id)
    );
end;
$$;
comment on function worker.count_new_things is
    'Returns how many of the items'' things no earlier successful run of the same search had.';
