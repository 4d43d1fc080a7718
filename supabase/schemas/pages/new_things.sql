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
        select count(*)
        from (
            select distinct case when item.duplicate_of is null then item.id else item.duplicate_of end as id
            from public.items as item
            where item.id = any (item_ids)
        ) as thing
        where not exists (
            select from public.items as item
            join public.search_results as result on result.item_id = item.id
            join public.search_runs as run on run.id = result.run_id
            where (item.id = thing.id or item.duplicate_of = thing.id)
              and run.id <> count_new_things.run_id and run.fingerprint = count_new_things.fingerprint
              -- This run may continue one that was cancelled or failed.
              and run.status = 'success' and run.started_at < known_before)
    );
end;
$$;
comment on function worker.count_new_things is
    'Returns how many of the items'' things no earlier successful run of the same search had.';
