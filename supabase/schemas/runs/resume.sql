-- Where does the search of a site continue? After its last saved page, if that page has a cursor for the same account
-- and no page is missing. Otherwise it begins with the first page.
-- Calls: kernel/pages, sites/accounts.

create function worker.resume_point(run_id uuid, site text)
returns table (cursor jsonb, next_page integer, is_fetched boolean)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select case when last.is_fetched then null else last.cursor end, last.page_number + 1, last.is_fetched
    from (
        select page.page_number, page.cursor, page.is_last as is_fetched,
               page.is_last or (page.cursor is not null
                   and page.account = coalesce(worker.account_of(resume_point.run_id, resume_point.site), '')) as is_resumable
        from worker.pages_of_search(resume_point.run_id, resume_point.site) as page
        order by page.page_number desc, page.attempt desc
        limit 1
    ) as last
    cross join lateral (
        select bool_or(page.status = 'failed') as is_unreadable, count(distinct page.page_number) as pages
        from worker.pages_of_search(resume_point.run_id, resume_point.site) as page
    ) as saved
    -- Not after a gap: a page that could not be read, was refused, or has been deleted by retention.
    where last.is_resumable and not saved.is_unreadable and saved.pages = last.page_number;
end;
$$;
comment on function worker.resume_point is
    'Returns where the search of a site continues: after its last saved page, or that all pages are there. No row: '
    'it begins with the first page. A cursor is valid only for the account that returned it.';

create function worker.site_to_search(site public.search_run_sites) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
    search worker.site_searches;
    point record;
begin
    if site.status = 'running' then
        select * into search from worker.site_searches as known
        where known.run_id = site_to_search.site.run_id and known.site = site_to_search.site.site;
        return jsonb_build_object(
            'site', site.site, 'attempt', site.attempts, 'is_started', true, 'exit', search.exit,
            'account', nullif(search.account, ''), 'cursor', null, 'next_page', 1, 'is_fetched', false);
    end if;
    -- Only of sites that have been searched before, which few claims have.
    select known.* into point from worker.resume_point(site.run_id, site.site) as known where site.attempts > 0;
    return jsonb_build_object(
        'site', site.site, 'attempt', site.attempts + 1, 'is_started', false, 'exit', null,
        'account', worker.account_of(site.run_id, site.site), 'cursor', point.cursor,
        'next_page', coalesce(point.next_page, 1), 'is_fetched', coalesce(point.is_fetched, false));
end;
$$;
comment on function worker.site_to_search is
    'Returns how the next search of an unfinished site starts: {site, attempt, is_started, exit, account, '
    'cursor, next_page, is_fetched}. If is_started, the claim has started its first search, through that exit.';
