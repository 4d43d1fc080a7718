-- How many runs have ended, how long they took and what they found: counts by hour and by day, which stay when the runs
-- are deleted. And how long the queue was.
-- Calls: nothing.

create table worker.run_stats (
    span text not null constraint run_stats_span check (span in ('hour', 'day')),
    begins_at timestamptz not null,
    site text not null,
    kind text not null,
    source public.run_source not null,
    outcome text not null,
    error_code text not null,
    runs bigint not null,
    durations bigint[] not null,
    waits bigint[] not null,
    attempts bigint not null,
    pages bigint not null,
    requests bigint not null,
    items bigint not null,
    new_items bigint not null,
    valid_items bigint not null,
    invalid_items bigint not null,
    primary key (span, site, begins_at, kind, source, outcome, error_code)
);
create index run_stats_begins_at on worker.run_stats (span, begins_at);
-- The errors of admin_overview are read from the index alone.
create index run_stats_errors on worker.run_stats (span, begins_at, error_code) include (runs)
    where site = '' and error_code <> '';
comment on table worker.run_stats is
    'Counts of the runs that ended in each hour, and in each day (UTC), of all users. A run counts once, in the rows '
    'without a site; its sites count in rows of their own.';
comment on column worker.run_stats.span is 'hour or day. The rows of days have the sums of their hours, for long periods.';
comment on column worker.run_stats.begins_at is
    'Begin of the hour or day in which the runs ended: search_runs.completed_at decides.';
comment on column worker.run_stats.site is
    'Empty: the row counts runs. Otherwise it counts searches of this site, by the runs that searched it themselves.';
comment on column worker.run_stats.outcome is 'Final status of the runs, or of their sites.';
comment on column worker.run_stats.error_code is 'Error code of the runs, or of their sites; empty without an error.';
comment on column worker.run_stats.runs is 'Number of runs, or of sites of runs.';
comment on column worker.run_stats.durations is
    'How many took how long, from the first claim to the end, in the buckets of worker.time_buckets. Of a site, its last '
    'attempt. Runs that were never claimed are not in it.';
comment on column worker.run_stats.waits is
    'How many waited how long for their first claim, in the same buckets: since they were inserted, or since their slot. '
    'Imports are not in it, nor are sites.';
comment on column worker.run_stats.attempts is 'How often the runs, or the searches of the site, were started.';
comment on column worker.run_stats.pages is 'Pages that they saved, of all attempts.';
comment on column worker.run_stats.requests is 'Requests to sites that these pages cost.';
comment on column worker.run_stats.items is 'Things that the runs found; of a site, its results.';
comment on column worker.run_stats.new_items is
    'Things of items that their users had not seen before; of a site, those that no earlier run of the same search had.';
comment on column worker.run_stats.valid_items is 'Items that were read from the pages of the last search of each site.';
comment on column worker.run_stats.invalid_items is 'Items on these pages that could not be read.';

-- As worker.run_stats, without kinds, sources and error codes: of these, a busy project has a hundred combinations in
-- each hour, and admin_overview reads up to 400 days.
create table worker.run_totals (
    span text not null constraint run_totals_span check (span in ('hour', 'day')),
    begins_at timestamptz not null,
    outcome text not null,
    runs bigint not null,
    durations bigint[] not null,
    waits bigint[] not null,
    pages bigint not null,
    requests bigint not null,
    items bigint not null,
    new_items bigint not null,
    primary key (span, begins_at, outcome)
);
comment on table worker.run_totals is
    'Counts of the runs that ended in each hour, and in each day (UTC), of all users: the sums of the rows of '
    'worker.run_stats without a site. The columns are the same.';

-- The same for sites. Apart from the runs, so that these are together on few pages.
create table worker.site_totals (
    span text not null constraint site_totals_span check (span in ('hour', 'day')),
    begins_at timestamptz not null,
    site text not null,
    outcome text not null,
    runs bigint not null,
    errors jsonb not null,
    durations bigint[] not null,
    attempts bigint not null,
    pages bigint not null,
    requests bigint not null,
    items bigint not null,
    new_items bigint not null,
    valid_items bigint not null,
    invalid_items bigint not null,
    primary key (span, begins_at, site, outcome)
);
comment on table worker.site_totals is
    'Counts of the searches of each site by the runs that ended in each hour, and in each day (UTC), of all users: the sums '
    'of the rows of worker.run_stats with a site. The columns are the same.';
comment on column worker.site_totals.errors is 'Number of searches with each error code: {error_code: runs}.';

create table worker.page_stats (
    day date not null,
    site text not null,
    source text not null,
    pages bigint not null,
    failed_pages bigint not null,
    items bigint not null,
    invalid_items bigint not null,
    fields jsonb not null,
    primary key (day, site, source)
);
comment on table worker.page_stats is
    'What sources made of the pages of the runs that ended on each day (UTC): worker.data_quality, kept for longer.';
comment on column worker.page_stats.source is 'The source that fetched the pages.';
comment on column worker.page_stats.fields is 'How many of the items have each of the main fields: {name: items}.';

create table worker.queue_samples (
    at timestamptz primary key,
    ready integer not null,
    delayed integer not null,
    running integer not null
);
comment on table worker.queue_samples is 'How many runs were in the queue, at most every five minutes, while a worker lived.';
comment on column worker.queue_samples.ready is 'Runs that could start.';
comment on column worker.queue_samples.delayed is 'Runs that were not due yet.';
comment on column worker.queue_samples.running is 'Runs that were searched.';

create table worker.counted_runs (
    run_id uuid primary key,
    completed_at timestamptz not null
);
create index counted_runs_completed_at on worker.counted_runs (completed_at);
comment on table worker.counted_runs is
    'Runs in worker.run_stats that ended after worker.housekeeping.after_at: they are not counted again.';

insert into worker.housekeeping (task, next_at) values ('run_counts', '-infinity');
