-- What is on a page? An item that is on it twice counts at its first position.
-- Calls: nothing.

create type worker.sent_item as (
    external_id text, position integer, title text, organization text, location text, is_remote boolean,
    posted_at timestamptz, salary_min numeric, salary_max numeric, salary_interval text, currency text, url text,
    apply_url text, description text, city text, region text, country text, places jsonb, work_mode text,
    job_types text[], salary_yearly_min numeric, salary_yearly_max numeric, skills text[], experience_years smallint,
    data jsonb, apply_key text, match_key text, organization_key text, place_key text,
    text_signature bit(1024), employer jsonb
);
comment on type worker.sent_item is
    'An item of a page, as the worker sends it. position is its position on the page, from 1.';

create type worker.loaded_page as (
    place integer, page_id bigint, run_id uuid, kind text, owner_id uuid, site text, page_number integer,
    seen_at timestamptz, fingerprint text, is_named_board boolean
);
comment on type worker.loaded_page is 'A page whose items are loaded. place is that of its items in what the worker sent.';

-- Pages and items apart: descriptions are long, and a function that looks at pages alone should not copy them.
create function worker.read_items(
    pages worker.loaded_page[], sent jsonb, out page_ids bigint[], out items worker.sent_item[]
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    select coalesce(array_agg(first.page_id), '{}'), coalesce(array_agg(first.item), '{}')
    into page_ids, items
    from (
        select distinct on (page.page_id, item.external_id) page.page_id, item
        from unnest(read_items.pages) as page
        cross join lateral jsonb_populate_recordset(
            null::worker.sent_item, sent #> array[(page.place - 1)::text, 'items']) as item
        order by page.page_id, item.external_id, item.position
    ) as first;
end;
$$;
comment on function worker.read_items is
    'Returns the items of pages, and for each item its page. sent has the items of a page at its place: [{items}]. An item '
    'that is on a page twice counts at its first position.';
