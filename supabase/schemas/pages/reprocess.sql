-- Which pages are loaded again, without a request to the site? Those that an operator marks.
-- Calls: kernel/clock, kernel/counts, pages/load.

create function public.worker_reprocess(
    since timestamptz default null, source text default null, status text default null
) returns integer
language plpgsql security definer set search_path = '' as $$
declare
    marked integer;
begin
    if worker_reprocess.status not in ('completed', 'partial', 'failed') then
        raise sqlstate '22023' using
            message = format('status must be completed, partial or failed, not %L', worker_reprocess.status);
    end if;
    update worker.raw_collections as page
    set status = 'fetched', strategy = 'reprocess', claimed_until = null
    where page.status <> 'fetched'
      and (worker_reprocess.since is null or page.fetched_at >= worker_reprocess.since)
      and (worker_reprocess.source is null or page.source = worker_reprocess.source)
      and (worker_reprocess.status is null or page.status = worker_reprocess.status);
    get diagnostics marked = row_count;
    return marked;
end;
$$;
comment on function public.worker_reprocess is
    'Marks pages for reprocessing by any worker: those fetched since a time, by a source, with a status (null: '
    'all). Returns how many.';

create function public.worker_claim_pages(sources text[], batch integer) returns table (
    page_id bigint, kind text, source text, site text, page_number integer, payload jsonb, response_ms integer,
    calls_used integer
)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
    if batch is null or batch not between 1 and 100 then
        raise sqlstate '22023' using message = 'batch must be an integer from 1 to 100';
    end if;
    return query
    with claimable as (
        select page.id
        from worker.raw_collections as page
        join public.search_runs as run on run.id = page.run_id
        join worker.kinds as kind on kind.kind = run.kind
        where page.status = 'fetched' and page.source = any (worker_claim_pages.sources)
          and (page.claimed_until is null or page.claimed_until < worker.now())
        order by page.id
        limit batch
        for update of page skip locked
    ), claimed as (
        update worker.raw_collections as page
        set claimed_until = worker.now() + interval '5 minutes'
        from claimable
        where page.id = claimable.id
        returning page.*
    )
    select claimed.id, run.kind, claimed.source, claimed.site, claimed.page_number, claimed.payload, claimed.response_ms,
           claimed.calls_used
    from claimed join public.search_runs as run on run.id = claimed.run_id
    order by claimed.id;
end;
$$;
comment on function public.worker_claim_pages is
    'Leases up to batch pages of the given sources that are marked for reprocessing, for 5 minutes.';

create function worker.recount_results(run_id uuid, site text) returns void
language sql volatile set search_path = ''
begin atomic
    update public.search_run_sites as searched
    set jobs_found = counted.results
    from (
        select count(*) as results from public.search_results as result
        where result.run_id = recount_results.run_id and result.site = recount_results.site
    ) as counted
    where searched.run_id = recount_results.run_id and searched.site = recount_results.site
      and searched.jobs_found <> counted.results;

    -- Also of the runs that it answered.
    update public.search_runs as run
    set jobs_found = counted.results, items_found = things.items_found, new_items = things.new_items
    from (
        select count(*) as results from public.search_results as result where result.run_id = recount_results.run_id
    ) as counted,
        worker.things_found(array(
            select known.id from public.search_runs as known
            where known.id = recount_results.run_id or known.shared_run_id = recount_results.run_id)) as things
    where run.id = things.run_id
      and (run.jobs_found, run.items_found, run.new_items)
          is distinct from (counted.results, things.items_found, things.new_items);
end;
comment on function worker.recount_results is 'Counts the results of a run and of one of its sites again.';

create function public.worker_load_page(
    page_id bigint, version integer, transform_ms integer, completeness jsonb, items jsonb, errors jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    page record;
    loaded worker.page_result;
begin
    perform worker.require_arrays(worker_load_page.items, worker_load_page.errors);
    select kept.run_id, kept.site into page
    from worker.raw_collections as kept join public.search_runs as run on run.id = kept.run_id
    where kept.id = worker_load_page.page_id;
    if not found then
        raise sqlstate 'PT404' using message = 'page_id must be the id of a stored page';
    end if;

    -- The run before its page, in the same order as worker_save_pages.
    perform from public.search_runs as run where run.id = page.run_id for no key update;
    perform from worker.raw_collections as kept where kept.id = worker_load_page.page_id for no key update;
    loaded := (worker.load_pages(
        array[row(1, worker_load_page.page_id, worker_load_page.version, worker_load_page.transform_ms,
                  worker_load_page.completeness, worker_load_page.errors)::worker.transformed_page],
        jsonb_build_array(jsonb_build_object('items', worker_load_page.items))))[1];
    if loaded.results > 0 then
        perform worker.recount_results(page.run_id, page.site);
    end if;
    return jsonb_build_object('status', loaded.status, 'results', loaded.results, 'new', loaded.things);
end;
$$;
comment on function public.worker_load_page is
    'Loads a claimed page into the results of its run, which may have ended. Returns {status, results, new} like '
    'worker_save_pages. Idempotent.';
