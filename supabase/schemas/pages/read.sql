-- What is on a page? An item that is on it twice counts at its first position.
-- Calls: nothing.

create type worker.page_item as (
    external_id text, position integer, title text, organization text, location text, is_remote boolean,
    posted_at timestamptz, salary_min numeric, salary_max numeric, salary_interval text, currency text, url text,
    apply_url text, description text, city text, region text, country text, places jsonb, work_mode text,
    job_types text[], salary_yearly_min numeric, salary_yearly_max numeric, skills text[], experience_years smallint,
    data jsonb, apply_key text, match_key text, organization_key text, place_key text,
    text_signature bit(1024)
);
comment on type worker.page_item is
    'An item of a page, as the worker sends it. position is its position on the page, from 1.';

create type worker.loading_page as (
    page_id bigint, run_id uuid, kind text, owner_id uuid, site text, page_number integer, seen_at timestamptz,
    fingerprint text, reported jsonb, items worker.page_item[]
);
comment on type worker.loading_page is
    'A page whose items are loaded: reported as the worker sends them, and items once worker.read_items has read them.';

create function worker.read_items(items jsonb) returns worker.page_item[]
language sql stable set search_path = ''
return (
    select coalesce(array_agg(first.item order by first.external_id), '{}')
    from (
        select distinct on (item.external_id) item.external_id, item
        from jsonb_populate_recordset(null::worker.page_item, read_items.items) as item
        order by item.external_id, item.position
    ) as first
);
comment on function worker.read_items is
    'Returns the items of a page in the order of their ids. An item that is on the page twice counts at its first '
    'position.';
