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
begin
    return (
        select jsonb_build_object(
            'site', site.site, 'attempt', site.attempts + case site.status when 'running' then 0 else 1 end,
            'is_started', site.status = 'running',
            'exit', case when site.status = 'running' then (
                select search.exit from worker.site_searches as search
                where search.run_id = site.run_id and search.site = site.site) end,
            'account', worker.account_of(site.run_id, site.site),
            'cursor', point.cursor, 'next_page', coalesce(point.next_page, 1),
            'is_fetched', coalesce(point.is_fetched, false))
        from (select) as nothing
        -- Only for sites that have been searched before, which few claims have. Without `offset 0`, the condition would
        -- belong to the join, which calls the function first.
        left join lateral (
            select known.* from worker.resume_point(site.run_id, site.site) as known
            where site.attempts > 0 and site.status <> 'running'
            offset 0
        ) as point on true
    );
end;
$$;
comment on function worker.site_to_search is
    'Returns how the next search of an unfinished site starts: {site, attempt, is_started, exit, account, '
    'cursor, next_page, is_fetched}. If is_started, the claim has started its first search, through that exit.';
