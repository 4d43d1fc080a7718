-- Was a page loaded? completed, partial if some items were invalid, failed if all items were invalid or the tables
-- rejected them.
-- Calls: kernel/clock, kernel/parameters, pages/alerts, pages/items.

create function worker.require_arrays(items jsonb, errors jsonb) returns void
language plpgsql immutable set search_path = '' as $$
begin
    if jsonb_typeof(items) is distinct from 'array' then
        raise sqlstate '22023' using message = 'items must be an array';
    end if;
    if jsonb_typeof(errors) is distinct from 'array' then
        raise sqlstate '22023' using message = 'errors must be an array';
    end if;
end;
$$;
comment on function worker.require_arrays is 'Raises 22023 (HTTP 400) unless both are arrays.';

create function worker.log_errors(page_id bigint, errors jsonb, out invalid integer, out is_unreadable boolean)
language plpgsql set search_path = '' as $$
begin
    delete from worker.processing_log as problem where problem.raw_collection_id = page_id;
    with problem as (
        insert into worker.processing_log (raw_collection_id, item_index, error_type, message, field, raw, created_at)
        select page_id, problem.index, problem.type, problem.message, problem.field, problem.raw, worker.now()
        from jsonb_to_recordset(errors)
            as problem (index integer, type text, message text, field text, raw jsonb)
        returning item_index
    )
    select count(problem.item_index), coalesce(bool_or(problem.item_index is null), false)
    into invalid, is_unreadable
    from problem;
end;
$$;
comment on function worker.log_errors is
    'Replaces the log of a page by the errors of its transform. Returns how many items were invalid, and whether '
    'the whole page could not be read.';

create type worker.transformed_page as (
    place integer, page_id bigint, version integer, transform_ms integer, completeness jsonb, errors jsonb
);
comment on type worker.transformed_page is
    'What a version of its source made of a page. place is that of its items in what the worker sent.';

create type worker.page_result as (page_id bigint, status text, results integer, things integer);
comment on type worker.page_result is
    'Whether a page was loaded: completed, partial or failed; and what it added, as in worker.load_result.';

create function worker.pages_of(asked worker.transformed_page[]) returns worker.loaded_page[]
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    pages worker.loaded_page[];
begin
    pages := array(
        select row(given.place, raw.id, run.id, run.kind, case when kind.is_private then run.user_id end, raw.site,
                   raw.page_number, raw.fetched_at, raw.query_hash,
                   worker.is_named_board(run.kind, raw.site))::worker.loaded_page
        from unnest(asked) as given
        join worker.raw_collections as raw on raw.id = given.page_id
        join public.search_runs as run on run.id = raw.run_id
        join worker.kinds as kind on kind.kind = run.kind
        order by given.place);
    if cardinality(pages) < cardinality(asked) then
        -- Without its kind, it is unknown whether its items are private.
        raise sqlstate '22023' using message = 'page_id must be the id of a page whose kind is in worker.kinds';
    end if;
    return pages;
end;
$$;
comment on function worker.pages_of is 'Returns what must be known of pages whose items are to be loaded.';

create function worker.load_pages(asked worker.transformed_page[], sent jsonb) returns worker.page_result[]
-- A page has few items, the tables have many: so one plan is right for all calls, and it reads by indexes. Without this, a
-- third of the time of a small page is planning, and a plan from when the tables were empty reads all of them later. Before
-- PostgreSQL 18, a scan that is left costs so much that it would be compiled.
language plpgsql set search_path = '' set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
#variable_conflict use_column
declare
    pages worker.loaded_page[] := worker.pages_of(asked);
    loaded worker.load_result[];
    refusal text;
    refused_field text;
    results worker.page_result[];
begin
    if cardinality(asked) = 0 then
        return array[]::worker.page_result[];
    end if;
    begin
        loaded := worker.load_items(pages, sent);
    exception when data_exception or integrity_constraint_violation or program_limit_exceeded then
        if cardinality(asked) > 1 then
            raise;  -- each is to be sent alone
        end if;
        get stacked diagnostics refusal = message_text, refused_field = column_name;
    end;

    with given as materialized (
        select page.*, logged.invalid, logged.is_unreadable,
               jsonb_array_length(sent #> array[(page.place - 1)::text, 'items']) as valid
        from unnest(asked) as page
        cross join lateral worker.log_errors(page.page_id, page.errors) as logged
    ), refused as (
        insert into worker.processing_log (raw_collection_id, error_type, message, field, created_at)
        select given.page_id, 'load', refusal, nullif(refused_field, ''), worker.now()
        from given where refusal is not null
    ), written as (
        update worker.raw_collections as raw
        set status = case when refusal is not null or given.is_unreadable or (given.valid = 0 and given.invalid > 0)
                               then 'failed'
                          when given.invalid > 0 then 'partial'
                          else 'completed' end,
            version = given.version, item_count = given.valid, invalid_count = given.invalid,
            result_count = coalesce(raw.result_count, 0) + coalesce(known.results, 0),
            new_count = coalesce(known.things, 0),
            completeness = given.completeness, transform_ms = given.transform_ms, transformed_at = worker.now(),
            claimed_until = null
        from given left join unnest(loaded) as known on known.page_id = given.page_id
        where raw.id = given.page_id
        returning raw.id, raw.run_id, raw.site, raw.source, raw.page_number, raw.status,
                  coalesce(known.results, 0) as results, raw.new_count, given.valid, given.invalid,
                  given.is_unreadable, given.errors
    ), alerted as (
        select worker.write_alert(written.run_id, written.site, jsonb_build_object(
            'reason', 'load_failed', 'source', written.source, 'page_number', written.page_number, 'message', refusal))
        from written
        where refusal is not null
        union all
        select worker.write_alert(written.run_id, written.site, jsonb_build_object(
            'reason', 'invalid_items', 'source', written.source, 'page_number', written.page_number,
            'items', written.valid, 'invalid_items', written.invalid, 'message', written.errors -> 0 -> 'message'))
        from written, worker.settings as settings
        where written.is_unreadable or written.invalid > (written.invalid + written.valid) * settings.max_invalid_share
    )
    select array_agg(row(written.id, written.status, written.results, written.new_count)::worker.page_result)
    into results
    from written, (select count(*) from alerted) as alerts;
    return results;
end;
$$;
comment on function worker.load_pages is
    'Loads what versions of their sources made of pages, each of another run. sent as in worker.read_items. Returns what '
    'became of each. If the tables refuse a page, it fails, and the error is logged; refused together with others, the '
    'error is raised. Temporary errors, such as a deadlock or a timeout, are raised.';
