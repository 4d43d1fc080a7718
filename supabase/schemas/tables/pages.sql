-- Pages as the sites sent them, and why items of a page are missing.
-- Calls: nothing.

create table worker.raw_collections (
    id bigint generated always as identity primary key,
    -- Without a foreign key: pages of a deleted run stay for the run that takes it over (worker.leader_deleted).
    run_id uuid not null,
    source text not null,
    site text not null,
    attempt smallint not null,
    page_number integer not null constraint raw_collections_page_number check (page_number >= 1),
    query jsonb not null,
    query_hash text not null,
    payload jsonb not null,
    response_ms integer not null,
    calls_used integer not null,
    account text not null default '',
    cursor jsonb,
    is_last boolean not null default false,
    fetched_at timestamptz not null,
    strategy text not null constraint raw_collections_strategy check (strategy in ('scheduled', 'manual', 'import', 'reprocess')),
    status text not null default 'fetched'
        constraint raw_collections_status check (status in ('fetched', 'completed', 'partial', 'failed')),
    version integer,
    item_count integer,
    invalid_count integer,
    result_count integer,
    new_count integer,
    completeness jsonb,
    transform_ms integer,
    transformed_at timestamptz,
    claimed_until timestamptz,
    constraint raw_collections_page unique (run_id, site, attempt, page_number)
);
comment on table worker.raw_collections is
    'Every page as the site sent it. Its key prevents a page from being saved twice.';
comment on column worker.raw_collections.source is 'The name of the source that fetched it.';
comment on column worker.raw_collections.attempt is 'The site''s attempt within the run.';
comment on column worker.raw_collections.query is 'The parameters of the search.';
comment on column worker.raw_collections.query_hash is 'The fingerprint of the run.';
comment on column worker.raw_collections.payload is
    'The response, unchanged. Of an import: {imported_records: [...]}, up to 100 records of the file.';
comment on column worker.raw_collections.response_ms is 'Response time of the site, in milliseconds.';
comment on column worker.raw_collections.strategy is
    'Why its items were last loaded: for a scheduled run, for another run, for an import, or to reprocess the page.';
comment on column worker.raw_collections.status is
    'fetched (to be transformed), completed, partial (some items were invalid) or failed (all were invalid, or it '
    'was not loaded).';
comment on column worker.raw_collections.version is 'Version of the source that transformed it.';
comment on column worker.raw_collections.item_count is 'Number of valid items.';
comment on column worker.raw_collections.invalid_count is
    'Number of items that could not be read; see worker.processing_log.';
comment on column worker.raw_collections.result_count is 'Number of results that it added to its run.';
comment on column worker.raw_collections.new_count is
    'Number of items that no earlier run of the same search had found. For an incremental run: no run that started '
    'before newer_than.';
comment on column worker.raw_collections.completeness is
    'Share of its items, from 0 to 1, that have each of the main fields.';
comment on column worker.raw_collections.transform_ms is 'Duration of the transform, in milliseconds.';
comment on column worker.raw_collections.transformed_at is 'When it was last loaded.';
comment on column worker.raw_collections.claimed_until is 'Until then, a worker is reprocessing it.';
comment on column worker.raw_collections.calls_used is 'Number of requests that it cost.';
comment on column worker.raw_collections.account is 'The account that it was fetched through; empty without one.';
comment on column worker.raw_collections.cursor is
    'Where the next page begins, in the source''s own format; null if the search cannot continue from here.';
comment on column worker.raw_collections.is_last is 'Whether it is the last page.';

create index raw_collections_fetched on worker.raw_collections (id) where status = 'fetched';
-- For the alert rules, which look at the last hour once a minute.
create index raw_collections_fetched_at on worker.raw_collections (fetched_at);

create table worker.processing_log (
    id bigint generated always as identity primary key,
    raw_collection_id bigint not null references worker.raw_collections (id) on delete cascade,
    item_index integer,
    error_type text not null,
    message text not null,
    field text,
    raw jsonb,
    created_at timestamptz not null
);
create index processing_log_raw_collection_id on worker.processing_log (raw_collection_id);
comment on table worker.processing_log is 'Why items of a page, or the whole page, could not be loaded.';
comment on column worker.processing_log.item_index is
    'Position of the item on the page, from 0; null for the whole page.';
comment on column worker.processing_log.field is 'The invalid field, if known.';
comment on column worker.processing_log.raw is 'The item as the site sent it.';
