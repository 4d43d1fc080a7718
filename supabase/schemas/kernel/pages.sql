-- Which saved pages belong to the current search of a run's site? Those since the last first page.
-- Calls: nothing.

create function worker.pages_of_search(run_id uuid, site text) returns table (
    attempt smallint, page_number integer, status text, account text, cursor jsonb, is_last boolean, response_ms integer
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select page.attempt, page.page_number, page.status, page.account, page.cursor, page.is_last, page.response_ms
    from worker.raw_collections as page
    where page.run_id = pages_of_search.run_id and page.site = pages_of_search.site
      and page.attempt >= (
        select max(first.attempt) from worker.raw_collections as first
        where first.run_id = pages_of_search.run_id and first.site = pages_of_search.site and first.page_number = 1);
end;
$$;
comment on function worker.pages_of_search is
    'Returns the saved pages of a run''s site since its search last began with the first page.';
