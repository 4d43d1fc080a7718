-- From page to items: each page is kept raw and then loaded, in one transaction. A page that cannot be loaded is kept
-- all the same, and can be loaded again without asking its site.

create type worker.page_item as (
    external_id text, position integer, title text, organization text, location text, is_remote boolean,
    posted_at timestamptz, salary_min numeric, salary_max numeric, salary_interval text, currency text, url text,
    apply_url text, description text, city text, region text, country text, work_mode text, job_types text[],
    salary_yearly_min numeric, salary_yearly_max numeric, skills text[], experience_years smallint, data jsonb,
    apply_key text, match_key text, organization_key text
);
comment on type worker.page_item is
    'An item of a page, as the worker sends it: position is its place on the page, from 1.';

create type worker.load_result as (results integer, things integer);
comment on type worker.load_result is
    'Results that a page brought to its run; and things on it that no earlier run of the same search had.';

create function worker.load_items(
    run_id uuid, kind text, owner_id uuid, site text, page_number integer, seen_at timestamptz,
    fingerprint text, items jsonb
) returns worker.load_result
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    inserted uuid[];
    shown uuid[];
    results integer;
    unmatched uuid[];
    reworded uuid[];
    older uuid[];
    -- Whoever asks only for what is newer was shown what earlier runs had. Those since then were others'.
    known_before timestamptz := coalesce(
        (select run.newer_than + interval '1 hour' from public.search_runs as run where run.id = load_items.run_id),
        'infinity');
begin
    -- In key order, so that two pages with the same things never wait for each other in a circle.
    with found as (
        select distinct on (found.external_id) found.*, load_items.site || ':' || found.external_id as canonical_key
        from jsonb_populate_recordset(null::worker.page_item, load_items.items) as found
        order by found.external_id, found.position
    ), written as (
        insert into public.items (
            kind, owner_id, title, organization, location, is_remote, posted_at, salary_min, salary_max,
            salary_interval, currency, url, apply_url, description, city, region, country, work_mode, job_types,
            salary_yearly_min, salary_yearly_max, skills, experience_years, data, canonical_key, apply_key, match_key,
            organization_key, from_named_board, first_seen_at, last_seen_at)
        select load_items.kind, load_items.owner_id, found.title, found.organization, found.location, found.is_remote,
               found.posted_at, found.salary_min, found.salary_max, found.salary_interval, found.currency, found.url,
               found.apply_url, found.description, found.city, found.region, found.country, found.work_mode,
               coalesce(found.job_types, '{}'), found.salary_yearly_min, found.salary_yearly_max,
               coalesce(found.skills, '{}'), found.experience_years, coalesce(found.data, '{}'), found.canonical_key,
               found.apply_key, found.match_key, found.organization_key,
               exists (select from worker.parameter_rules as rule
                       where rule.kind = load_items.kind and rule.names_boards_of = load_items.site),
               load_items.seen_at, load_items.seen_at
        from found
        where not exists (
            select from public.items as known
            where known.canonical_key = found.canonical_key and known.kind = load_items.kind
              and known.owner_id is not distinct from load_items.owner_id)
        order by found.canonical_key
        on conflict on constraint items_canonical_key do nothing
        returning id, apply_key, match_key
    )
    select coalesce(array_agg(written.id), '{}'),
           array_agg(written.id) filter (where written.apply_key is not null or written.match_key is not null)
    into inserted, unmatched
    from written;

    with found as (
        select distinct on (found.external_id) item.id as item_id, found.*
        from jsonb_to_recordset(load_items.items) as found (external_id text, position integer, url text)
        join public.items as item
            on item.canonical_key = load_items.site || ':' || found.external_id and item.kind = load_items.kind
           and item.owner_id is not distinct from load_items.owner_id
        order by found.external_id, found.position
    ), sighted as (
        insert into public.item_sources as sighting (
            site, external_id, item_id, owner_id, url, first_seen_at, last_seen_at)
        select load_items.site, found.external_id, found.item_id, load_items.owner_id, found.url, load_items.seen_at,
               load_items.seen_at
        from found
        order by found.external_id
        on conflict on constraint item_sources_external_id do update set
            url = case when excluded.last_seen_at >= sighting.last_seen_at then excluded.url else sighting.url end,
            first_seen_at = least(excluded.first_seen_at, sighting.first_seen_at),
            last_seen_at = greatest(excluded.last_seen_at, sighting.last_seen_at)
    ), written as (
        insert into public.search_results (run_id, item_id, site, page_number, position, created_at)
        select load_items.run_id, found.item_id, load_items.site, load_items.page_number, found.position,
               load_items.seen_at
        from found
        order by found.position
        on conflict (run_id, item_id) do nothing
        returning item_id
    )
    select array_agg(found.item_id), (select count(*) from written) into shown, results from found;

    -- From here to the commit one page at a time: another would miss what this one writes, or wait for it in a circle.
    perform worker.lock_groups(load_items.kind, load_items.owner_id);

    -- A field that is not told keeps its value; what is derived from a field comes with it, or goes with it. An older
    -- sighting tells nothing that is not known better.
    if cardinality(inserted) < jsonb_array_length(load_items.items) then
        with found as (
            select distinct on (found.external_id) found.*, load_items.site || ':' || found.external_id as canonical_key
            from jsonb_populate_recordset(null::worker.page_item, load_items.items) as found
            order by found.external_id, found.position
        ), changed as (
            update public.items as item set
                title = coalesce(told.title, item.title),
                organization = coalesce(told.organization, item.organization),
                organization_key =
                    case when told.organization is null then item.organization_key else told.organization_key end,
                location = coalesce(told.location, item.location),
                city = case when told.location is null then item.city else told.city end,
                region = case when told.location is null then item.region else told.region end,
                country = case when told.location is null then item.country else told.country end,
                is_remote = coalesce(told.is_remote, item.is_remote),
                work_mode = case when told.description is null then coalesce(told.work_mode, item.work_mode)
                                 else told.work_mode end,
                job_types = case when told.job_types <> '{}' then told.job_types else item.job_types end,
                posted_at = coalesce(told.posted_at, item.posted_at),
                salary_min = case when told.has_salary then told.salary_min else item.salary_min end,
                salary_max = case when told.has_salary then told.salary_max else item.salary_max end,
                salary_interval = case when told.has_salary then told.salary_interval else item.salary_interval end,
                currency = case when told.has_salary then told.currency else item.currency end,
                salary_yearly_min =
                    case when told.has_salary then told.salary_yearly_min else item.salary_yearly_min end,
                salary_yearly_max =
                    case when told.has_salary then told.salary_yearly_max else item.salary_yearly_max end,
                url = coalesce(told.url, item.url),
                apply_url = coalesce(told.apply_url, item.apply_url),
                apply_key = case when told.apply_url is null then item.apply_key else told.apply_key end,
                -- Where nothing changes the stored value itself: a long one is neither compressed nor written again.
                description = case when told.description <> item.description or item.description is null
                                   then told.description else item.description end,
                skills = case when told.description is null then item.skills else coalesce(told.skills, '{}') end,
                experience_years =
                    case when told.description is null then item.experience_years else told.experience_years end,
                data = case when item.data || told.data <> item.data then item.data || told.data else item.data end,
                match_key = case
                    when told.match_key is not null then told.match_key
                    when coalesce(told.title, item.title) = item.title
                     and coalesce(told.organization, item.organization) is not distinct from item.organization
                     and coalesce(told.location, item.location) is not distinct from item.location then item.match_key
                end,
                first_seen_at = least(item.first_seen_at, load_items.seen_at),
                last_seen_at = greatest(item.last_seen_at, load_items.seen_at)
            from found
            join public.items as former
                on former.canonical_key = found.canonical_key and former.kind = load_items.kind
               and former.owner_id is not distinct from load_items.owner_id
            left join lateral (
                select found.*, coalesce(found.salary_min, found.salary_max) is not null as has_salary
                where load_items.seen_at >= former.last_seen_at
            ) as told on true
            where item.id = former.id and former.id <> all (inserted)
              and (load_items.seen_at >= former.last_seen_at or load_items.seen_at < former.first_seen_at)
            returning item.id,
                (item.apply_key, item.match_key) is distinct from (former.apply_key, former.match_key) as has_new_keys,
                (item.title, item.organization, item.location, item.description)
                    is distinct from (former.title, former.organization, former.location, former.description)
                    as has_new_text,
                item.first_seen_at < former.first_seen_at as is_older
        )
        select unmatched || array_agg(changed.id) filter (where changed.has_new_keys),
               array_agg(changed.id) filter (where changed.has_new_text),
               array_agg(changed.id) filter (where changed.is_older)
        into unmatched, reworded, older
        from changed;
    end if;

    -- Read now: whoever sets a model waits for those who have written items by then, and finds them.
    if (select embedding_model is not null from worker.settings) then
        insert into worker.embedding_queue as queued (item_id, due_at)
        select unembedded.id, worker.now() from unnest(inserted || reworded) as unembedded (id) order by unembedded.id
        on conflict (item_id) do update set attempts = 0, due_at = excluded.due_at, error = null;
    end if;

    perform worker.order_groups(older);
    perform worker.match_items(unmatched);

    return (results, (
        select count(*)
        from (
            select distinct case when item.duplicate_of is null then item.id else item.duplicate_of end as id
            from public.items as item
            where item.id = any (shown)
        ) as thing
        where not exists (
            select from public.items as item
            join public.search_results as result on result.item_id = item.id
            join public.search_runs as run on run.id = result.run_id
            where (item.id = thing.id or item.duplicate_of = thing.id)
              and run.id <> load_items.run_id and run.fingerprint = load_items.fingerprint
              -- One that was cancelled or failed may be gone on with by this one.
              and run.status = 'success' and run.started_at < known_before)
    ))::worker.load_result;
end;
$$;
comment on function worker.load_items is
    'Writes the items of a page, which its run saw at a time, as items, sightings and results. Again changes nothing.';

create function worker.write_alert(run_id uuid, site text, data jsonb) returns void
language sql volatile set search_path = ''
begin atomic
    insert into public.run_events (run_id, event, site, data, created_at)
    select write_alert.run_id, 'alert', write_alert.site, write_alert.data, worker.now()
    where not exists (
        select from public.run_events as written
        where written.run_id = write_alert.run_id and written.event = 'alert' and written.site = write_alert.site
          and written.data = write_alert.data);
end;
comment on function worker.write_alert is 'Writes an alert of a run''s site, once.';

create function worker.require_lists(items jsonb, errors jsonb) returns void
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
comment on function worker.require_lists is 'Raises 22023 (HTTP 400) unless both are arrays.';

create function worker.load_page(
    page_id bigint, version integer, transform_ms integer, completeness jsonb, items jsonb, errors jsonb
) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    page record;
    loaded worker.load_result := (0, 0);
    valid integer := jsonb_array_length(load_page.items);
    invalid integer;
    is_unreadable boolean;
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
        -- Whether its items are private is not known any more.
        raise sqlstate '22023' using message = 'page_id must be of a page whose kind is in worker.kinds';
    end if;

    delete from worker.processing_log as problem where problem.raw_collection_id = page.id;
    with problem as (
        insert into worker.processing_log (raw_collection_id, item_index, error_type, message, field, raw, created_at)
        select page.id, problem.index, problem.type, problem.message, problem.field, problem.raw, worker.now()
        from jsonb_to_recordset(load_page.errors)
            as problem (index integer, type text, message text, field text, raw jsonb)
        returning item_index
    )
    select count(problem.item_index), coalesce(bool_or(problem.item_index is null), false)
    into invalid, is_unreadable
    from problem;

    begin
        loaded := worker.load_items(page.run_id, page.kind, page.owner_id, page.site, page.page_number, page.fetched_at,
                                    page.query_hash, load_page.items);
    exception when data_exception or integrity_constraint_violation or program_limit_exceeded then
        get stacked diagnostics refusal = message_text, refused_field = column_name;
        insert into worker.processing_log (raw_collection_id, error_type, message, field, created_at)
        values (page.id, 'load', refusal, nullif(refused_field, ''), worker.now());
    end;

    outcome := case when refusal is not null or is_unreadable or (valid = 0 and invalid > 0) then 'failed'
                    when invalid > 0 then 'partial'
                    else 'completed' end;
    update worker.raw_collections as raw
    set status = outcome, version = load_page.version, item_count = valid, invalid_count = invalid,
        result_count = coalesce(raw.result_count, 0) + loaded.results,
        new_count = loaded.things,
        completeness = load_page.completeness, transform_ms = load_page.transform_ms, transformed_at = worker.now(),
        claimed_until = null
    where raw.id = page.id;

    if refusal is not null then
        perform worker.write_alert(page.run_id, page.site, jsonb_build_object(
            'reason', 'load_failed', 'source', page.source, 'page_number', page.page_number, 'message', refusal));
    end if;
    if is_unreadable or invalid > (invalid + valid) * (select max_invalid_share from worker.settings) then
        perform worker.write_alert(page.run_id, page.site, jsonb_build_object(
            'reason', 'invalid_items', 'source', page.source, 'page_number', page.page_number,
            'items', valid, 'invalid_items', invalid, 'message', load_page.errors -> 0 -> 'message'));
    end if;
    return jsonb_build_object('status', outcome, 'results', loaded.results, 'new', loaded.things);
end;
$$;
comment on function worker.load_page is
    'Loads what a version of its source made of a page; returns {status, results, new}. What the tables refuse is logged, '
    'and leaves the page failed; what may pass, as a deadlock or a timeout, is raised.';

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
    perform worker.require_lists(worker_save_page.items, worker_save_page.errors);
    perform worker.hold_lease(worker_save_page.run_id, lease_token);
    select leased.id, leased.source, leased.parameters, leased.fingerprint into strict run
    from public.search_runs as leased where leased.id = worker_save_page.run_id;

    insert into worker.raw_collections (run_id, source, site, attempt, page_number, query, query_hash, payload,
                                        response_ms, calls_used, account, cursor, is_last, fetched_at, strategy)
    select run.id, raw ->> 'source', started.site, worker_save_page.attempt, worker_save_page.page_number,
           run.parameters, run.fingerprint, raw -> 'payload', (raw ->> 'response_ms')::integer,
           (raw ->> 'calls_used')::integer,
           coalesce(raw ->> 'account', ''), nullif(raw -> 'cursor', 'null'),
           coalesce((raw ->> 'is_last')::boolean, false), worker.now(), case run.source when 'cron' then 'scheduled' else 'manual' end
    from public.search_run_sites as started
    where started.run_id = run.id and started.site = worker_save_page.site and started.completed_at is null
      -- Of a former attempt, too: a page may have waited on a worker's disk.
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
    -- One that waited on a worker's disk tells nothing of the site as it is now.
    if saved ->> 'status' <> 'failed' and exists (
        select from public.search_run_sites as searched
        where searched.run_id = run.id and searched.site = worker_save_page.site and searched.status = 'running'
          and searched.attempts = worker_save_page.attempt
    ) then
        perform worker.note_page(run.id, worker_save_page.site, page.account);
    end if;
    return saved;
end;
$$;
comment on function public.worker_save_page is
    'Keeps a page, loads its items and writes the run''s progress, in one transaction. raw is {source, version, payload, '
    'response_ms, calls_used, account (that it was fetched through), cursor (where the next page begins), is_last (there is none), transform_ms, completeness}; '
    'items are as worker.page_item, errors {index, type, message, field, raw}. Returns {status, results, new}: completed, partial (some items were invalid) or failed (all were, or '
    'they were not loaded); results new to the run; and things on it that no earlier run of the same search had. '
    'The same page again changes nothing and returns the same.';

create function public.worker_write_alert(run_id uuid, lease_token uuid, site text, data jsonb) returns void
language plpgsql security definer set search_path = '' as $$
begin
    if jsonb_typeof(data -> 'reason') is distinct from 'string' then
        raise sqlstate '22023' using message = 'data must be an object with a reason';
    end if;
    perform worker.hold_lease(worker_write_alert.run_id, lease_token);
    perform worker.require_site(worker_write_alert.run_id, worker_write_alert.site);
    perform worker.write_alert(worker_write_alert.run_id, worker_write_alert.site, data);
end;
$$;
comment on function public.worker_write_alert is
    'Tells whoever looks after the worker what happened to a site of a run: data is {reason, ...}. The same again is '
    'written once.';

-- Again from raw -------------------------------------------------------------------------------------------------

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
    'Marks pages to be transformed and loaded again, by any worker: those fetched since a time, by a source, with a status '
    '(null: all). Returns how many.';

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
    'Leases up to `batch` pages of the given sources that are to be transformed and loaded again, for 5 minutes.';

create function worker.count_results(run_id uuid, site text) returns void
language sql volatile set search_path = ''
begin atomic
    update public.search_run_sites as searched
    set jobs_found = counted.results
    from (
        select count(*) as results from public.search_results as result
        where result.run_id = count_results.run_id and result.site = count_results.site
    ) as counted
    where searched.run_id = count_results.run_id and searched.site = count_results.site
      and searched.jobs_found <> counted.results;

    -- Of those, too, that it answered.
    update public.search_runs as run
    set jobs_found = counted.results
    from (
        select count(*) as results from public.search_results as result where result.run_id = count_results.run_id
    ) as counted
    where (run.id = count_results.run_id or run.shared_run_id = count_results.run_id)
      and run.jobs_found <> counted.results;
end;
comment on function worker.count_results is 'Counts the results of a run and of one of its sites again.';

create function public.worker_load_page(
    page_id bigint, version integer, transform_ms integer, completeness jsonb, items jsonb, errors jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    page record;
    loaded jsonb;
begin
    perform worker.require_lists(worker_load_page.items, worker_load_page.errors);
    select kept.run_id, kept.site into page
    from worker.raw_collections as kept join public.search_runs as run on run.id = kept.run_id
    where kept.id = worker_load_page.page_id;
    if not found then
        raise sqlstate 'PT404' using message = 'page_id must be of a page that is kept';
    end if;

    -- The run before its page, as a page is saved.
    perform from public.search_runs as run where run.id = page.run_id for no key update;
    perform from worker.raw_collections as kept where kept.id = worker_load_page.page_id for no key update;
    loaded := worker.load_page(worker_load_page.page_id, worker_load_page.version, worker_load_page.transform_ms,
                               worker_load_page.completeness, worker_load_page.items, worker_load_page.errors);
    if loaded -> 'results' <> '0' then
        perform worker.count_results(page.run_id, page.site);
    end if;
    return loaded;
end;
$$;
comment on function public.worker_load_page is
    'Loads a claimed page into its run''s results, which may have ended. Returns {status, results, new}, as '
    'worker_save_page. Again changes nothing.';

create view worker.data_quality with (security_invoker = true) as
with page as (
    select raw.id, raw.source, raw.site, (raw.fetched_at at time zone 'UTC')::date as day, raw.status, raw.item_count,
           raw.invalid_count, raw.completeness
    from worker.raw_collections as raw
), field as (
    select page.source, page.site, page.day, field.key as name,
           sum(field.value::numeric * page.item_count) / sum(page.item_count) as share
    from page, jsonb_each(page.completeness) as field
    where page.item_count > 0
    group by page.source, page.site, page.day, field.key
)
select
    page.source,
    page.site,
    page.day,
    count(*) as pages,
    count(*) filter (where page.status = 'failed') as failed_pages,
    coalesce(sum(page.item_count), 0) as items,
    coalesce(sum(page.invalid_count), 0) as invalid_items,
    round(sum(page.invalid_count)::numeric / nullif(sum(page.item_count + page.invalid_count), 0), 4) as invalid_share,
    (select jsonb_object_agg(field.name, round(field.share, 4)) from field
     where (field.source, field.site, field.day) = (page.source, page.site, page.day)) as completeness
from page
group by page.source, page.site, page.day;
comment on view worker.data_quality is
    'What each source made of each site''s pages, day by day (UTC), for as long as pages are kept.';
comment on column worker.data_quality.invalid_share is 'Of all items on the pages; null without any.';
comment on column worker.data_quality.completeness is
    'Share of the valid items, from 0 to 1, that have each of the main fields.';
