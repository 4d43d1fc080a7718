-- Which pages are saved? Each page of an attempt once, in one transaction with its items and the run's progress. The
-- last page of a site ends the site in the same transaction, and the run with its last site.
-- Calls: kernel/clock, kernel/imports, kernel/lease, sharing/leader_ended, sites/breaker, runs/progress, runs/resume,
--   runs/finish_sites, pages/load.

create function worker.insert_page(run_id uuid, site text, attempt integer, page_number integer, raw jsonb) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
begin
    insert into worker.raw_collections (run_id, source, site, attempt, page_number, query, query_hash, payload,
                                        response_ms, calls_used, account, cursor, is_last, fetched_at, strategy)
    select run.id, raw ->> 'source', started.site, insert_page.attempt, insert_page.page_number,
           run.parameters, run.fingerprint, raw -> 'payload', (raw ->> 'response_ms')::integer,
           (raw ->> 'calls_used')::integer,
           coalesce(raw ->> 'account', ''), nullif(raw -> 'cursor', 'null'),
           coalesce((raw ->> 'is_last')::boolean, false), worker.now(),
           case run.source when 'cron' then 'scheduled' when 'import' then 'import' else 'manual' end
    from public.search_runs as run join public.search_run_sites as started on started.run_id = run.id
    where run.id = insert_page.run_id and started.site = insert_page.site and started.completed_at is null
      -- Also pages of an earlier attempt, which may have waited on a worker's disk.
      and insert_page.attempt between 1 and started.attempts
    on conflict on constraint raw_collections_page do nothing;
end;
$$;
comment on function worker.insert_page is
    'Inserts a page of a site that was started and has not ended, unless it was saved before.';

create function public.worker_save_page(
    run_id uuid, lease_token uuid, site text, attempt integer, page_number integer, raw jsonb, items jsonb, errors jsonb,
    progress jsonb, ends text default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    page record;
    searched public.search_run_sites;
    saved jsonb;
    is_end boolean;
begin
    perform worker.require_arrays(worker_save_page.items, worker_save_page.errors);
    if ends not in ('site', 'run') then
        raise sqlstate '22023' using message = format('ends must be site, run or null, not %L', ends);
    end if;
    perform worker.lock_lease(worker_save_page.run_id, lease_token, or_ended => coalesce(ends = 'run', false));
    -- Its followers end with a run, which is too much to do under the locks of a page.
    is_end := ends is not null and not worker.has_dependents(worker_save_page.run_id, by_answered => false);
    perform worker.insert_page(worker_save_page.run_id, worker_save_page.site, worker_save_page.attempt,
                               worker_save_page.page_number, raw);

    select kept.id, kept.status, kept.account, kept.result_count, kept.new_count into page
    from worker.raw_collections as kept
    where kept.run_id = worker_save_page.run_id and kept.site = worker_save_page.site
      and kept.attempt = worker_save_page.attempt and kept.page_number = worker_save_page.page_number
    for no key update;
    if not found then
        raise sqlstate '22023' using
            message = format('site must be one that was started with worker_start_site, not %L', site);
    end if;
    select * into searched from public.search_run_sites as known
    where known.run_id = worker_save_page.run_id and known.site = worker_save_page.site;

    if page.status = 'fetched' then
        saved := worker.load_page(page.id, (raw ->> 'version')::integer, (raw ->> 'transform_ms')::integer,
                                  raw -> 'completeness', worker_save_page.items, worker_save_page.errors);
        if not is_end then
            saved := saved || jsonb_strip_nulls(jsonb_build_object(
                'shown_in_seconds', worker.show_progress(worker_save_page.run_id, worker_save_page.progress)));
        end if;
        -- A page from a file, or one that waited on a worker's disk, says nothing about the current state of the site.
        if not is_end and saved ->> 'status' <> 'failed' and searched.status = 'running'
           and searched.attempts = worker_save_page.attempt and not worker.is_import(worker_save_page.run_id) then
            perform worker.record_good_page(worker_save_page.run_id, worker_save_page.site, page.account);
        end if;
    else
        saved := jsonb_build_object('status', page.status, 'results', page.result_count, 'new', page.new_count);
    end if;

    -- A running search does not resume: it already has its cursor.
    if searched.status = 'pending' then
        saved := saved || jsonb_build_object('pending_site', worker.site_to_search(searched));
    end if;
    if is_end then
        saved := saved || jsonb_build_object('end', public.worker_finish_sites(jsonb_build_array(jsonb_build_object(
            'run_id', worker_save_page.run_id, 'lease_token', lease_token, 'site', worker_save_page.site,
            'account', raw -> 'account', 'ends_run', ends = 'run'))) -> 0);
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
    'the same search had. If the last change of the run is too recent to write its progress, also returns '
    'shown_in_seconds, after which it can be written. While the site is pending, as it is for a page of an earlier attempt, also returns '
    'pending_site, which is as in worker.site_to_search. ends is site if the site has no more pages, run if the run '
    'has no more sites either; then also returns end, as worker_finish_sites returns it. Without an end, as for a run with '
    'followers, the site is still to be ended. Idempotent.';
