-- Which runs are counted, and as what? Each run once, after it has ended, in the hour and the day of its completed_at.
-- A run may appear late: its transaction commits late, or it ends with a leader that ended before. So the last two hours
-- are always looked at again. A run that is deleted before it is counted does not count, except by retention.
-- Calls: kernel/clock, schedules/slots.

create function worker.time_buckets() returns double precision[]
language sql immutable set search_path = ''
return array[1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21600]::double precision[];
comment on function worker.time_buckets is
    'Upper bounds of the buckets of durations and waits, in seconds. One more bucket has all that is longer.';

create function worker.histogram(seconds double precision[]) returns bigint[]
language sql immutable set search_path = ''
return array(
    select count(given.seconds)
    from generate_series(0, cardinality(worker.time_buckets())) as bucket (number)
    left join unnest(histogram.seconds) as given (seconds)
        on width_bucket(given.seconds, worker.time_buckets()) = bucket.number
    group by bucket.number
    order by bucket.number
);
comment on function worker.histogram is 'Returns how many times are in each bucket of worker.time_buckets. Nulls are in none.';

create function worker.add_histograms(one bigint[], other bigint[]) returns bigint[]
language sql immutable set search_path = ''
return array(
    select pair.one + pair.other
    from unnest(add_histograms.one, add_histograms.other) with ordinality as pair (one, other, number)
    order by pair.number
);
comment on function worker.add_histograms is 'Returns the sum of two histograms, bucket by bucket.';

create function worker.tally(texts text[]) returns jsonb
language sql immutable set search_path = ''
return (
    select coalesce(jsonb_object_agg(counted.text, counted.times), '{}')
    from (
        select given.text, count(*) as times from unnest(tally.texts) as given (text)
        where given.text <> ''
        group by given.text
    ) as counted
);
comment on function worker.tally is 'Returns how often there is each text, {text: times}. An empty text does not count.';

create function worker.add_fields(one jsonb, other jsonb) returns jsonb
language sql immutable set search_path = ''
begin atomic
    select coalesce(jsonb_object_agg(summed.name, summed.items), '{}')
    from (
        select field.name, sum(field.items::bigint) as items
        from (select * from jsonb_each_text(add_fields.one) union all select * from jsonb_each_text(add_fields.other))
            as field (name, items)
        group by field.name
    ) as summed;
end;
comment on function worker.add_fields is 'Returns the sum of two objects of counts, field by field.';

-- The rows are estimated low: because of a thousand, the planner reads all stored pages instead of theirs.
create function worker.sites_to_count(run_ids uuid[]) returns setof public.search_run_sites
language sql stable rows 20 set search_path = ''
begin atomic
    select site.*
    from public.search_runs as run
    join public.search_run_sites as site on site.run_id = run.id
    -- A run that was answered at once has the sites of the run that answered it, if that was deleted.
    where run.id = any (sites_to_count.run_ids) and site.completed_at >= run.created_at;
end;
comment on function worker.sites_to_count is 'Returns the sites that runs have searched.';

create function worker.pages_to_count(run_ids uuid[]) returns table (
    run_id uuid, site text, source text, day date, requests integer, is_failed boolean, is_of_last_search boolean,
    items integer, invalid_items integer, new_items integer, completeness jsonb
)
language sql stable set search_path = ''
begin atomic
    select page.run_id, page.site, page.source, (run.completed_at at time zone 'UTC')::date, page.calls_used,
           page.status = 'failed',
           page.attempt >= max(page.attempt) filter (where page.page_number = 1) over (partition by page.run_id, page.site),
           page.item_count, page.invalid_count, page.new_count, page.completeness
    from worker.sites_to_count(pages_to_count.run_ids) as site
    join public.search_runs as run on run.id = site.run_id
    join worker.raw_collections as page on page.run_id = site.run_id and page.site = site.site;
end;
comment on function worker.pages_to_count is
    'Returns the pages of the sites of runs. A search that began with the first page again found its items again.';

create function worker.rows_to_count(run_ids uuid[]) returns table (
    site text, kind text, source public.run_source, outcome text, error_code text, completed_at timestamptz,
    duration double precision, wait double precision, attempts integer, pages bigint, requests bigint, items integer,
    new_items bigint, valid_items bigint, invalid_items bigint
)
language sql stable set search_path = ''
begin atomic
    with page as materialized (
        select found.run_id, found.site, count(*) as pages, sum(found.requests) as requests,
               sum(found.new_items) filter (where found.is_of_last_search) as new_items,
               sum(found.items) filter (where found.is_of_last_search) as valid_items,
               sum(found.invalid_items) filter (where found.is_of_last_search) as invalid_items
        from worker.pages_to_count(rows_to_count.run_ids) as found
        group by found.run_id, found.site
    ), run_page as (
        select page.run_id, sum(page.pages) as pages, sum(page.requests) as requests,
               sum(page.valid_items) as valid_items, sum(page.invalid_items) as invalid_items
        from page
        group by page.run_id
    )
    select '', run.kind, run.source, run.status::text, coalesce(run.error_code, ''), run.completed_at,
           -- A run that was answered with the results of a deleted one has started before it was inserted.
           case when run.started_at >= run.created_at then extract(epoch from run.completed_at - run.started_at) end,
           case when run.started_at >= run.created_at and run.source <> 'import' then extract(epoch from run.started_at
               - least(run.started_at, greatest(run.created_at, worker.jittered_slot(run.slot_at, run.fingerprint)))) end,
           run.attempts, page.pages, page.requests, run.items_found, run.new_items, page.valid_items, page.invalid_items
    from public.search_runs as run
    left join run_page as page on page.run_id = run.id
    where run.id = any (rows_to_count.run_ids)
    union all
    select site.site, run.kind, run.source, site.status::text, coalesce(site.error_code, ''), run.completed_at,
           extract(epoch from site.completed_at - site.started_at), null, site.attempts, page.pages, page.requests,
           site.jobs_found, page.new_items, page.valid_items, page.invalid_items
    from worker.sites_to_count(rows_to_count.run_ids) as site
    join public.search_runs as run on run.id = site.run_id
    left join page on page.run_id = site.run_id and page.site = site.site;
end;
comment on function worker.rows_to_count is
    'Returns what counts of ended runs: a row for each run, with an empty site, and one for each of its sites. Times are in '
    'seconds.';

create function worker.add_to_run_stats(run_ids uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    with counted as materialized (
        select * from worker.rows_to_count(add_to_run_stats.run_ids)
    ), total as (
        insert into worker.run_totals as known (
            span, begins_at, outcome, runs, durations, waits, pages, requests, items, new_items)
        select span.name, date_trunc(span.name, counted.completed_at, 'UTC'), counted.outcome, count(*),
               worker.histogram(array_agg(counted.duration)), worker.histogram(array_agg(counted.wait)),
               coalesce(sum(counted.pages), 0), coalesce(sum(counted.requests), 0), sum(counted.items),
               coalesce(sum(counted.new_items), 0)
        from counted
        cross join (values ('hour'), ('day')) as span (name)
        where counted.site = ''
        group by 1, 2, 3
        on conflict (span, begins_at, outcome) do update
        set runs = known.runs + excluded.runs,
            durations = worker.add_histograms(known.durations, excluded.durations),
            waits = worker.add_histograms(known.waits, excluded.waits),
            pages = known.pages + excluded.pages,
            requests = known.requests + excluded.requests,
            items = known.items + excluded.items,
            new_items = known.new_items + excluded.new_items
    ), site_total as (
        insert into worker.site_totals as known (
            span, begins_at, site, outcome, runs, errors, durations, attempts, pages, requests, items, new_items,
            valid_items, invalid_items)
        select span.name, date_trunc(span.name, counted.completed_at, 'UTC'), counted.site, counted.outcome, count(*),
               worker.tally(array_agg(counted.error_code)), worker.histogram(array_agg(counted.duration)),
               sum(counted.attempts), coalesce(sum(counted.pages), 0), coalesce(sum(counted.requests), 0),
               sum(counted.items), coalesce(sum(counted.new_items), 0), coalesce(sum(counted.valid_items), 0),
               coalesce(sum(counted.invalid_items), 0)
        from counted
        cross join (values ('hour'), ('day')) as span (name)
        where counted.site <> ''
        group by 1, 2, 3, 4
        on conflict (span, begins_at, site, outcome) do update
        set runs = known.runs + excluded.runs,
            errors = worker.add_fields(known.errors, excluded.errors),
            durations = worker.add_histograms(known.durations, excluded.durations),
            attempts = known.attempts + excluded.attempts,
            pages = known.pages + excluded.pages,
            requests = known.requests + excluded.requests,
            items = known.items + excluded.items,
            new_items = known.new_items + excluded.new_items,
            valid_items = known.valid_items + excluded.valid_items,
            invalid_items = known.invalid_items + excluded.invalid_items
    )
    insert into worker.run_stats as known (
        span, begins_at, site, kind, source, outcome, error_code, runs, durations, waits, attempts, pages, requests, items,
        new_items, valid_items, invalid_items)
    select span.name, date_trunc(span.name, counted.completed_at, 'UTC'), counted.site, counted.kind, counted.source,
           counted.outcome, counted.error_code, count(*), worker.histogram(array_agg(counted.duration)),
           worker.histogram(array_agg(counted.wait)), sum(counted.attempts), coalesce(sum(counted.pages), 0),
           coalesce(sum(counted.requests), 0), sum(counted.items), coalesce(sum(counted.new_items), 0),
           coalesce(sum(counted.valid_items), 0), coalesce(sum(counted.invalid_items), 0)
    from counted
    cross join (values ('hour'), ('day')) as span (name)
    group by 1, 2, 3, 4, 5, 6, 7
    on conflict (span, site, begins_at, kind, source, outcome, error_code) do update
    set runs = known.runs + excluded.runs,
        durations = worker.add_histograms(known.durations, excluded.durations),
        waits = worker.add_histograms(known.waits, excluded.waits),
        attempts = known.attempts + excluded.attempts,
        pages = known.pages + excluded.pages,
        requests = known.requests + excluded.requests,
        items = known.items + excluded.items,
        new_items = known.new_items + excluded.new_items,
        valid_items = known.valid_items + excluded.valid_items,
        invalid_items = known.invalid_items + excluded.invalid_items;
end;
comment on function worker.add_to_run_stats is
    'Adds ended runs to worker.run_stats, worker.run_totals and worker.site_totals.';

create function worker.add_to_page_stats(run_ids uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    with page as materialized (
        select found.* from worker.pages_to_count(add_to_page_stats.run_ids) as found
    ), field as (
        select summed.day, summed.site, summed.source, jsonb_object_agg(summed.name, summed.items) as fields
        from (
            select page.day, page.site, page.source, share.key as name,
                   round(sum(share.value::numeric * page.items)) as items
            from page cross join lateral jsonb_each_text(page.completeness) as share
            group by page.day, page.site, page.source, share.key
        ) as summed
        group by summed.day, summed.site, summed.source
    )
    insert into worker.page_stats as known (day, site, source, pages, failed_pages, items, invalid_items, fields)
    select page.day, page.site, page.source, count(*), count(*) filter (where page.is_failed),
           coalesce(sum(page.items), 0), coalesce(sum(page.invalid_items), 0), coalesce((
               select field.fields from field
               where (field.day, field.site, field.source) = (page.day, page.site, page.source)), '{}')
    from page
    group by page.day, page.site, page.source
    on conflict (day, site, source) do update
    set pages = known.pages + excluded.pages,
        failed_pages = known.failed_pages + excluded.failed_pages,
        items = known.items + excluded.items,
        invalid_items = known.invalid_items + excluded.invalid_items,
        fields = worker.add_fields(known.fields, excluded.fields);
end;
comment on function worker.add_to_page_stats is 'Adds the pages of ended runs to worker.page_stats.';

create function worker.count_runs(run_ids uuid[]) returns integer
language plpgsql set search_path = '' as $$
declare
    marked uuid[];
begin
    with mark as (
        insert into worker.counted_runs (run_id, completed_at)
        select run.id, run.completed_at
        from public.search_runs as run
        where run.id = any (run_ids)
          and run.completed_at >= (select task.after_at from worker.housekeeping as task where task.task = 'run_counts')
        on conflict (run_id) do nothing
        returning counted_runs.run_id
    )
    select array_agg(mark.run_id) into marked from mark;
    if marked is null then
        return 0;
    end if;
    perform worker.add_to_run_stats(marked);
    perform worker.add_to_page_stats(marked);
    return cardinality(marked);
end;
$$;
comment on function worker.count_runs is
    'Counts those of the given runs that have ended and are not counted yet, and returns how many. The caller has locked '
    'the task run_counts of worker.housekeeping.';

create function worker.count_before_deletion(run_ids uuid[]) returns uuid[]
language plpgsql set search_path = '' as $$
begin
    perform from worker.housekeeping as task where task.task = 'run_counts' for update skip locked;
    if not found then
        return array[]::uuid[];
    end if;
    perform worker.count_runs(run_ids);
    return run_ids;
end;
$$;
comment on function worker.count_before_deletion is
    'Counts the given runs, if they are not counted yet. Returns those that can be deleted: none while a worker is counting.';

create function worker.count_next_runs(after_at timestamptz, batch integer) returns boolean
language plpgsql set search_path = '' as $$
declare
    next_ids uuid[];
    last_at timestamptz;
begin
    select array_agg(next.id), max(next.completed_at) into next_ids, last_at
    from (
        select run.id, run.completed_at from public.search_runs as run
        where run.completed_at >= count_next_runs.after_at
          and not exists (select from worker.counted_runs as counted where counted.run_id = run.id)
          -- Its pages may be moved to another run, which then counts them.
          and not exists (select from worker.ended_leaders as ended where ended.run_id = run.id)
        order by run.completed_at
        limit batch
    ) as next;
    perform worker.count_runs(next_ids);

    update worker.housekeeping as task
    set after_at = greatest(task.after_at, least(
        worker.now() - interval '2 hours',
        case when cardinality(next_ids) = batch then last_at end,
        -- Its followers will end at the time at which it ended.
        (select min(coalesce(run.completed_at, (ended.former ->> 'completed_at')::timestamptz))
         from worker.ended_leaders as ended left join public.search_runs as run on run.id = ended.run_id)))
    where task.task = 'run_counts';
    delete from worker.counted_runs as counted
    where counted.completed_at < (select task.after_at from worker.housekeeping as task where task.task = 'run_counts');
    return coalesce(cardinality(next_ids) = batch, false);
end;
$$;
comment on function worker.count_next_runs is
    'Counts the next runs that ended since after_at, at most batch, and moves after_at. Returns whether more may be left.';

create function worker.sample_queue() returns void
language sql volatile set search_path = ''
begin atomic
    insert into worker.queue_samples (at, ready, delayed, running)
    select date_bin('5 minutes', worker.now(), '2000-01-01 00:00:00+00'),
           (select count(*) from public.search_runs as run
            where run.status = 'pending' and run.run_after is null and run.leader_run_id is null),
           (select count(*) from public.search_runs as run where run.status = 'pending' and run.run_after is not null),
           (select count(*) from worker.leases)
    on conflict (at) do nothing;
end;
comment on function worker.sample_queue is 'Writes a row of worker.queue_samples, unless the current five minutes have one.';

create function public.worker_count_runs() returns integer
language plpgsql security definer set search_path = '' as $$
declare
    settings worker.settings;
    task worker.housekeeping;
begin
    select * into strict settings from worker.settings;
    select known.* into task from worker.housekeeping as known where known.task = 'run_counts' for update skip locked;
    if not found then  -- another worker is counting
        task.next_at := worker.now() + settings.count_interval;
    elsif task.next_at <= worker.now() then
        if worker.count_next_runs(task.after_at, settings.count_batch) then
            task.next_at := worker.now();
        else
            perform worker.sample_queue();
            task.next_at := worker.now() + settings.count_interval;
        end if;
        update worker.housekeeping as known set next_at = task.next_at where known.task = 'run_counts';
    end if;
    return greatest(0, ceil(extract(epoch from task.next_at - worker.now())));
end;
$$;
comment on function public.worker_count_runs is
    'Counts a batch of the runs that have ended and samples the queue, unless another worker just did. Returns the seconds '
    'until another call is due; 0 while more are left.';
