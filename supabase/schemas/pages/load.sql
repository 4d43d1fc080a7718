-- Was a page loaded? completed, partial if some items were invalid, failed if all items were invalid or the tables
-- rejected them.
-- Calls: kernel/clock, pages/alerts, pages/items.

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

create function worker.load_page(
    page_id bigint, version integer, transform_ms integer, completeness jsonb, items jsonb, errors jsonb
) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    page record;
    logged record;
    loaded worker.load_result := (0, 0);
    valid integer := jsonb_array_length(load_page.items);
    refusal text;
    refused_field text;
    outcome text;
begin
    select raw.id, raw.source, raw.site, raw.page_number, raw.fetched_at, raw.query_hash, run.id as run_id, run.kind,
           case when kind.is_private then run.user_id end as owner_id
    into page
    from worker.raw_collections as raw
    join public.search_runs as run on run.id = raw.run_id
    join worker.kinds as kind on kind.kind = run.kind
    where raw.id = load_page.page_id;
    if not found then
        -- Without its kind, it is unknown whether its items are private.
        raise sqlstate '22023' using message = 'page_id must be the id of a page whose kind is in worker.kinds';
    end if;

    logged := worker.log_errors(page.id, load_page.errors);
    begin
        loaded := worker.load_items(page.run_id, page.kind, page.owner_id, page.site, page.page_number, page.fetched_at,
                                    page.query_hash, load_page.items);
    exception when data_exception or integrity_constraint_violation or program_limit_exceeded then
        get stacked diagnostics refusal = message_text, refused_field = column_name;
        insert into worker.processing_log (raw_collection_id, error_type, message, field, created_at)
        values (page.id, 'load', refusal, nullif(refused_field, ''), worker.now());
    end;

    outcome := case when refusal is not null or logged.is_unreadable or (valid = 0 and logged.invalid > 0) then 'failed'
                    when logged.invalid > 0 then 'partial'
                    else 'completed' end;
    update worker.raw_collections as raw
    set status = outcome, version = load_page.version, item_count = valid, invalid_count = logged.invalid,
        result_count = coalesce(raw.result_count, 0) + loaded.results,
        new_count = loaded.things,
        completeness = load_page.completeness, transform_ms = load_page.transform_ms, transformed_at = worker.now(),
        claimed_until = null
    where raw.id = page.id;

    if refusal is not null then
        perform worker.write_alert(page.run_id, page.site, jsonb_build_object(
            'reason', 'load_failed', 'source', page.source, 'page_number', page.page_number, 'message', refusal));
    end if;
    if logged.is_unreadable
       or logged.invalid > (logged.invalid + valid) * (select max_invalid_share from worker.settings) then
        perform worker.write_alert(page.run_id, page.site, jsonb_build_object(
            'reason', 'invalid_items', 'source', page.source, 'page_number', page.page_number,
            'items', valid, 'invalid_items', logged.invalid, 'message', load_page.errors -> 0 -> 'message'));
    end if;
    return jsonb_build_object('status', outcome, 'results', loaded.results, 'new', loaded.things);
end;
$$;
comment on function worker.load_page is
    'Loads what a version of its source made of a page. Returns {status, results, new}. An error of the tables is '
    'logged, and the page fails. Temporary errors, such as a deadlock or a timeout, are raised.';
