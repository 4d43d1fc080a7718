-- When is each alert rule broken? Each function measures one rule and returns a row for each subject: the value, and a
-- sentence. The rows of the period are read through an index, and at most 10,000 of them.
-- Calls: kernel/clock, sites/exits, alerts/queue.

create function worker.percent(share double precision) returns text
language sql immutable set search_path = ''
return round((100 * share)::numeric, 1)::float8 || ' %';
comment on function worker.percent is 'Returns a share for people: 0.125 is 12.5 %.';

create function worker.duration(seconds double precision) returns text
language sql immutable set search_path = ''
return case
    when seconds < 120 then floor(seconds) || ' s'
    when seconds < 7200 then floor(seconds / 60) || ' min'
    else round((seconds / 3600)::numeric, 1)::float8 || ' h' end;
comment on function worker.duration is 'Returns a duration for people: 90 s, 15 min or 2.5 h.';

create function worker.measured_failure_rate(period interval, least_count integer)
returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    with ended as materialized (
        select run.status, run.source, run.error_code
        from public.search_runs as run
        where run.completed_at > worker.now() - measured_failure_rate.period
        order by run.completed_at desc
        limit 10000
    ), counted as (
        select ended.status = 'failed' as has_failed, ended.error_code
        from ended
        where ended.status <> 'cancelled' and ended.source <> 'import'
          -- What the user can put right: a user could raise the alarm with a board that does not exist.
          and (ended.status <> 'failed' or ended.error_code not in ('invalid_parameters', 'not_found'))
    )
    select '', avg(counted.has_failed::integer)::double precision,
           format('%s of %s runs failed (%s), most often with %s.', count(*) filter (where counted.has_failed), count(*),
                  worker.percent(avg(counted.has_failed::integer)),
                  coalesce(mode() within group (order by counted.error_code) filter (where counted.has_failed), 'no error'))
    from counted
    having count(*) >= measured_failure_rate.least_count;
end;
comment on function worker.measured_failure_rate is
    'Measures failure_rate: the share of the ended runs that failed. Cancelled runs, imports, and runs that failed with '
    'invalid_parameters or not_found do not count.';

create function worker.measured_oldest_ready_run() returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select '', oldest.seconds, format('The oldest ready run has waited %s for a worker.', worker.duration(oldest.seconds))
    from worker.oldest_ready_seconds() as oldest (seconds);
end;
comment on function worker.measured_oldest_ready_run is
    'Measures oldest_ready_run: for how many seconds a ready run has waited for a worker.';

create function worker.measured_no_worker() returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select '', last.seconds, format('No worker was seen for %s.', worker.duration(last.seconds))
    from (select extract(epoch from worker.now() - max(known.seen_at))::double precision as seconds
          from worker.workers as known) as last
    where last.seconds is not null;
end;
comment on function worker.measured_no_worker is
    'Measures no_worker: the seconds since the last sign of any worker. Nothing if there was none within a day.';

create function worker.measured_late_slot() returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select '', oldest.seconds, format('A slot of a schedule has been due for %s.', worker.duration(oldest.seconds))
    from worker.oldest_due_slot_seconds() as oldest (seconds);
end;
comment on function worker.measured_late_slot is
    'Measures late_slot: for how many seconds the oldest slot that was not fired is due.';

create function worker.measured_site_paused(period interval)
returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    with health as (
        select known.site, known.account = '' as is_shared, known.paused_by, known.paused_until,
               case when known.paused_until > worker.now() - measured_site_paused.period then known.trips else 0 end as trips
        from worker.account_health() as known
        -- Accounts that were not used for a day say nothing about the site.
        where known.account = '' or exists (
            select from worker.site_health as used
            where used.site = known.site and used.account = known.account
              and used.updated_at > worker.now() - interval '1 day')
    )
    select health.site,
           greatest(coalesce(max(health.trips) filter (where health.is_shared), 0),
                    coalesce(min(health.trips) filter (where not health.is_shared), 0))::double precision,
           format('%s is paused until %s because of %s; pauses in a row: %s.', health.site,
                  worker.format_time(max(health.paused_until)), max(health.paused_by), max(health.trips))
    from health
    group by health.site;
end;
comment on function worker.measured_site_paused is
    'Measures site_paused for each site: how often in a row its circuit breaker has opened. Through accounts, a site '
    'counts if all of those are paused that were used within a day.';

create function worker.measured_quota() returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select bucket.bucket, spent.used / bucket.quota::double precision,
           format('%s of %s requests of the quota of %s are used (%s), until %s.', spent.used, bucket.quota, bucket.bucket,
                  worker.percent(spent.used / bucket.quota::double precision),
                  worker.format_time(bucket.quota_resets_at))
    from worker.site_buckets as bucket
    cross join lateral (select greatest(bucket.quota_used, bucket.quota - bucket.told_left) as used) as spent
    where bucket.account = '' and bucket.quota > 0 and bucket.quota_resets_at > worker.now();
end;
comment on function worker.measured_quota is
    'Measures quota for each bucket that all users share: which share is used. Accounts belong to their users.';

create function worker.measured_pages(period interval)
returns table (source text, site text, is_failed boolean, items integer, invalid_items integer)
language sql stable set search_path = ''
begin atomic
    select page.source, page.site, page.status = 'failed', coalesce(page.item_count, 0), coalesce(page.invalid_count, 0)
    from (
        select raw.source, raw.site, raw.status, raw.strategy, raw.item_count, raw.invalid_count
        from worker.raw_collections as raw
        where raw.fetched_at > worker.now() - measured_pages.period
        order by raw.fetched_at desc
        limit 10000
    ) as page
    where page.status <> 'fetched' and page.strategy <> 'import';
end;
comment on function worker.measured_pages is
    'Returns the pages of the period that were processed; not those of imported files.';

create function worker.measured_processing_errors(period interval, least_count integer)
returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select page.source, avg(page.is_failed::integer)::double precision,
           format('%s of %s pages of the source %s could not be processed (%s).', count(*) filter (where page.is_failed),
                  count(*), page.source, worker.percent(avg(page.is_failed::integer)))
    from worker.measured_pages(measured_processing_errors.period) as page
    group by page.source
    having count(*) >= measured_processing_errors.least_count;
end;
comment on function worker.measured_processing_errors is
    'Measures processing_errors for each source: the share of its pages that failed.';

create function worker.measured_waiting() returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select '', extract(epoch from worker.now() - min(waiting.waiting_since))::double precision,
           format('%s runs wait, the oldest for %s.', count(*),
                  worker.duration(extract(epoch from worker.now() - min(waiting.waiting_since))))
    from worker.waiting_runs() as waiting
    where waiting.waiting_since <= worker.now()
    having count(*) > 0;
end;
comment on function worker.measured_waiting is
    'Measures waiting: for how many seconds the oldest run waits in all: for a worker, for a retry or for its sites.';

create function worker.measured_invalid_items(period interval, least_count integer)
returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select page.site, sum(page.invalid_items)::double precision / sum(page.items + page.invalid_items),
           format('%s of %s items of %s were invalid (%s).', sum(page.invalid_items), sum(page.items + page.invalid_items),
                  page.site,
                  worker.percent(sum(page.invalid_items)::double precision / sum(page.items + page.invalid_items)))
    from worker.measured_pages(measured_invalid_items.period) as page
    group by page.site
    having sum(page.items + page.invalid_items) >= measured_invalid_items.least_count;
end;
comment on function worker.measured_invalid_items is
    'Measures invalid_items for each site: the share of the items on its pages that could not be read.';

create function worker.measured_refused_pages(period interval)
returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select refused.site, count(*)::double precision,
           format('The database refused %s pages of %s: %s', count(*), refused.site,
                  -- It may have text of a site, and chat services read <...> as links and mentions.
                  left(translate((array_agg(refused.data ->> 'message' order by refused.created_at desc))[1], '<>', ''), 200))
    from (
        select event.site, event.data, event.created_at from public.run_events as event
        where event.event = 'alert' and event.created_at > worker.now() - measured_refused_pages.period
        order by event.created_at desc
        limit 10000
    ) as refused
    where refused.data ->> 'reason' in ('load_failed', 'page_refused')
    group by refused.site;
end;
comment on function worker.measured_refused_pages is
    'Measures refused_pages for each site: pages whose items the tables rejected, or that could not be saved at all.';

create function worker.measured_worker_lost(period interval)
returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    with rescued as (
        select event.run_id from public.run_events as event
        where event.event = 'rescued' and event.created_at > worker.now() - measured_worker_lost.period
        order by event.created_at desc
        limit 10000
    ), ended as (
        select run.id, run.error_code from public.search_runs as run
        where run.completed_at > worker.now() - measured_worker_lost.period
        order by run.completed_at desc
        limit 10000
    ), lost as (
        select ended.id from ended where ended.error_code = 'worker_lost'
    )
    select '', count(*)::double precision,
           format('A worker died with %s runs; %s of them failed because of it.', count(*),
                  (select count(*) from lost))
    from (select rescued.run_id from rescued union select lost.id from lost) as affected
    having count(*) > 0;
end;
comment on function worker.measured_worker_lost is
    'Measures worker_lost: the runs that were rescued from a dead worker, or failed with it.';

create function worker.measured_schedules_failing(period interval)
returns table (subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select '', count(*)::double precision,
           format('%s schedules were paused because their last runs failed.', count(*))
    from (
        select from public.search_schedules as schedule
        where schedule.paused = 'failing' and schedule.updated_at > worker.now() - measured_schedules_failing.period
        limit 10000
    ) as failing
    having count(*) > 0;
end;
comment on function worker.measured_schedules_failing is
    'Measures schedules_failing: the schedules that were paused as failing within the period.';

create function worker.broken_rules()
returns table (rule text, subject text, value double precision, detail text)
language sql stable set search_path = ''
begin atomic
    select known.rule, measured.subject, measured.value, measured.detail
    from worker.alert_rules as known
    cross join lateral (
        select of_rule.* from worker.measured_failure_rate(known.period, known.least_count) as of_rule
        where known.rule = 'failure_rate'
        union all
        select of_rule.* from worker.measured_oldest_ready_run() as of_rule where known.rule = 'oldest_ready_run'
        union all
        select of_rule.* from worker.measured_no_worker() as of_rule where known.rule = 'no_worker'
        union all
        select of_rule.* from worker.measured_late_slot() as of_rule where known.rule = 'late_slot'
        union all
        select of_rule.* from worker.measured_site_paused(known.period) as of_rule where known.rule = 'site_paused'
        union all
        select of_rule.* from worker.measured_quota() as of_rule where known.rule = 'quota'
        union all
        select of_rule.* from worker.measured_processing_errors(known.period, known.least_count) as of_rule
        where known.rule = 'processing_errors'
        union all
        select of_rule.* from worker.measured_waiting() as of_rule where known.rule = 'waiting'
        union all
        select of_rule.* from worker.measured_invalid_items(known.period, known.least_count) as of_rule
        where known.rule = 'invalid_items'
        union all
        select of_rule.* from worker.measured_refused_pages(known.period) as of_rule where known.rule = 'refused_pages'
        union all
        select of_rule.* from worker.measured_worker_lost(known.period) as of_rule where known.rule = 'worker_lost'
        union all
        select of_rule.* from worker.measured_schedules_failing(known.period) as of_rule
        where known.rule = 'schedules_failing'
    ) as measured
    where known.is_enabled and measured.value >= known.threshold;
end;
comment on function worker.broken_rules is
    'Measures the enabled rules; returns those whose value reaches the threshold, with each subject.';
