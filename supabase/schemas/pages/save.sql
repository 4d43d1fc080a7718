-- Which pages are saved? Each page of an attempt once, in one transaction with its items and the run's progress.
-- Calls: kernel/clock, kernel/lease, sites/breaker, runs/progress, pages/load.

create function public.worker_save_page(
    run_id uuid, lease_token uuid, site text, attempt integer, page_number integer, raw jsonb, items jsonb, errors jsonb,
    progress jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    run record;
    page record;
    saved jsonb;
begin
    perform worker.require_arrays(worker_save_page.items, worker_save_page.errors);
    perform worker.lock_lease(worker_save_page.run_id, lease_token);
    select leased.id, leased.source, leased.parameters, leased.fingerprint into strict run
    from public.search_runs as leased where leased.id = worker_save_page.run_id;

    insert into worker.raw_collections (run_id, source, site, attempt, page_number, query, query_hash, payload,
                                        response_ms, calls_used, account, cursor, is_last, fetched_at, strategy)
    select run.id, raw ->> 'source', started.site, worker_save_page.attempt, worker_save_page.page_number,
           run.parameters, run.fingerprint, raw -> 'payload', (raw ->> 'response_ms')::integer,
           (raw ->> 'calls_used')::integer,
           coalesce(raw ->> 'account', ''), nullif(raw -> 'cursor', 'null'),
           coalesce((raw ->> 'is_last')::boolean, false), worker.now(),
           case run.source when 'cron' then 'scheduled' else 'manual' end
    from public.search_run_sites as started
    where started.run_id = run.id and started.site = worker_save_page.site and started.completed_at is null
      -- Also pages of an earlier attempt, which may have waited on a worker's disk.
      and worker_save_page.attempt between 1 and started.attempts
    on conflict on constraint raw_collections_page do nothing;

    select kept.id, kept.status, kept.account, kept.result_count, kept.new_count into page
    from worker.raw_collections as kept
    where kept.run_id = run.id and kept.site = worker_save_page.site and kept.attempt = worker_save_page.attempt
      and kept.page_number = worker_save_page.page_number
    for no key update;
    if not found then
        raise sqlstate '22023' using
            message = format('site must be one that was started with worker_start_site, not %L', site);
    end if;
    if page.status <> 'fetched' then
        return jsonb_build_object('status', page.status, 'results', page.result_count, 'new', page.new_count);
    end if;

    saved := worker.load_page(page.id, (raw ->> 'version')::integer, (raw ->> 'transform_ms')::integer,
                              raw -> 'completeness', worker_save_page.items, worker_save_page.errors);
    if worker.may_write_progress(run.id) then
        perform worker.write_progress(run.id, worker_save_page.progress);
    end if;
    -- A page that waited on a worker's disk says nothing about the current state of the site.
    if saved ->> 'status' <> 'failed' and exists (
        select from public.search_run_sites as searched
        where searched.run_id = run.id and searched.site = worker_save_page.site and searched.status = 'running'
          and searched.attempts = worker_save_page.attempt
    ) then
        perform worker.record_good_page(run.id, worker_save_page.site, page.account);
    end if;
    return saved;
end;
$$;
comment on function public.worker_save_page is
    'Saves a page, loads its items and writes the run''s progress, in one transaction. raw is {source, version, '
    'payload, response_ms, calls_used, account (that it was fetched through), cursor (where the next page begins), '
    'is_last, transform_ms, completeness}; items are as in worker.page_item, errors {index, type, message, field, '
    'raw}. Returns {status, results, new}: completed, partial (some items were invalid) or failed (all were '
    'invalid, or they were not loaded); the number of results new to the run; and of things that no earlier run of '
    'the same search had. Idempotent.';
