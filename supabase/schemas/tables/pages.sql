-- Pages as the sites sent them, and why items of a page are missing.
-- Calls: nothing.

create table worker.raw_collections (
    id bigint generated always as identity primary key,
    -- Without a foreign key: pages of a deleted run wait here for who takes it over (worker.leader_deleted).
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
    strategy text not null constraint raw_collections_strategy check (strategy in ('scheduled', 'manual', 'reprocess')),
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
comment on table worker.raw_collections is 'Every page as the site sent it. Its key makes a page that is saved twice count once.';
comment on column worker.raw_collections.source is 'The code that fetched it: a source''s name.';
comment on column worker.raw_collections.attempt is 'The site''s attempt within the run.';
comment on column worker.raw_collections.query is 'The parameters that were searched for.';
comment on column worker.raw_collections.query_hash is 'The fingerprint of the run.';
comment on column worker.raw_collections.payload is 'The answer, unchanged.';
comment on column worker.raw_collections.response_ms is 'Time that the site took to answer, in milliseconds.';
comment on column worker.raw_collections.strategy is
    'What its items were last loaded for: a scheduled run, another run, or to process it again.';
comment on column worker.raw_collections.status is
    'fetched (to be transformed), completed, partial (some items were invalid) or failed (all were, or it was not loaded).';
comment on column worker.raw_collections.version is 'Version of the source that transformed it.';
comment on column worker.raw_collections.item_count is 'Valid items on it.';
comment on column worker.raw_collections.invalid_count is 'Items on it that could not be read; see worker.processing_log.';
comment on column worker.raw_collections.result_count is 'Results that it brought to its run.';
comment on column worker.raw_collections.new_count is
    'Things on it that no earlier run of the same search had found: of an incremental run, none that began by newer_than.';
comment on column worker.raw_collections.completeness is 'Share of its items, from 0 to 1, that have each of the main fields.';
comment on column worker.raw_collections.transform_ms is 'Time that the transform took, in milliseconds.';
comment on column worker.raw_collections.transformed_at is 'When it was loaded last.';
comment on column worker.raw_collections.claimed_until is 'Until then a worker is processing it again.';
comment on column worker.raw_collections.calls_used is 'Requests that it cost.';
comment on column worker.raw_collections.account is 'The account that it was fetched through; empty without one.';
comment on column worker.raw_collections.cursor is
    'Where the next page begins, in the source''s own words; null where the search cannot be gone on with.';
comment on column worker.raw_collections.is_last is 'Whether the site had no more.';

create index raw_collections_fetched on worker.raw_collections (id) where status = 'fetched';

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
comment on table worker.processing_log is 'Why items of a page, or all of it, are not there.';
comment on column worker.processing_log.item_index is 'Place of the item on the page, from 0; null for the page as a whole.';
comment on column worker.processing_log.field is 'The field that was wrong, where one was.';
comment on column worker.processing_log.raw is 'The item as the site sent it.';
