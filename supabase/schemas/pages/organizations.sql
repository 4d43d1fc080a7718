-- What becomes of what a page says about employers? Each field is written, unless it is known from a newer page. Private
-- items are left out, and so are boards that a user named, except for a user who asks for them.
-- Calls: kernel/parameters.

create function worker.newest_facts(known public.organizations, reported public.organizations) returns public.organizations
language sql stable set search_path = ''
return (
    select jsonb_populate_record(newest_facts.known, coalesce(
        jsonb_object_agg(fact.field, fact.value) || jsonb_build_object(
            'seen_at', (newest_facts.known).seen_at || jsonb_object_agg(fact.field, fact.seen_at)),
        '{}'))
    from (
        select given.key as field, given.value, former.fields -> given.key as known,
               (newest_facts.reported).seen_at -> given.key as seen_at,
               (newest_facts.known).seen_at -> given.key as known_at
        from jsonb_each(to_jsonb(newest_facts.reported)) as given, to_jsonb(newest_facts.known) as former (fields)
    ) as fact
    where fact.value <> fact.known
      and case when fact.known_at is null then fact.seen_at is not null
               else (fact.seen_at #>> '{}')::timestamptz >= (fact.known_at #>> '{}')::timestamptz end
);
comment on function worker.newest_facts is
    'Returns a known organization with the reported fields that differ and are as new. seen_at of reported names its '
    'fields.';

create function worker.write_organizations(pages worker.loaded_page[], page_ids bigint[], items worker.sent_item[])
returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
begin
    with page as materialized (
        select given.page_id, given.seen_at,
               case when given.is_named_board then run.user_id end as owner_id
        from unnest(write_organizations.pages) as given
        left join public.search_runs as run on run.id = given.run_id
        where given.owner_id is null
          and (not given.is_named_board or worker.keeps_board_organizations(run.kind, run.parameters))
    ), reported as materialized (
        -- The first item of a company that says anything: the others on the page say the same.
        select distinct on (page.owner_id, found.organization_key) page.owner_id, page.seen_at,
               found.organization_key as key,
               md5(coalesce(page.owner_id::text, '') || ' ' || found.organization_key)::uuid as id,
               jsonb_strip_nulls(coalesce(found.employer, '{}'))
                   || jsonb_build_object('name', found.organization) as facts
        from page
        join unnest(write_organizations.page_ids, write_organizations.items) as found (page_id)
            on found.page_id = page.page_id
        where found.organization_key is not null and found.organization is not null
        order by page.owner_id, found.organization_key, found.employer is null, page.seen_at desc,
                 found.position
    ), changed as (
        select reported.*, former.organization
        from reported
        -- The limit keeps the plan of a small table, which would read all of it, from a table that has grown.
        left join lateral (
            select known from public.organizations as known where known.id = reported.id limit 1
        ) as former (organization) on true
        where former.organization is null or not to_jsonb(former.organization) @> reported.facts
    )
    insert into public.organizations as known (
        key, owner_id, name, url, profile_url, logo_url, address, industry, employees, revenue, description, rating,
        review_count, seen_at)
    select changed.key, changed.owner_id, new.name, new.url, new.profile_url, new.logo_url, new.address, new.industry,
           new.employees, new.revenue, new.description, new.rating, new.review_count, new.seen_at
    from changed
    cross join lateral jsonb_populate_record(null::public.organizations, changed.facts || jsonb_build_object('seen_at', (
        select jsonb_object_agg(fact.field, changed.seen_at)
        from jsonb_object_keys(changed.facts) as fact (field)))) as new
    where changed.organization is null
       or worker.newest_facts(changed.organization, new) is distinct from changed.organization
    -- In one order, so that two calls with the same organizations do not deadlock.
    order by changed.id
    on conflict (id) do update set
        (name, url, profile_url, logo_url, address, industry, employees, revenue, description, rating, review_count,
         seen_at)
        = (select newest.name, newest.url, newest.profile_url, newest.logo_url, newest.address, newest.industry,
                  newest.employees, newest.revenue, newest.description, newest.rating, newest.review_count,
                  newest.seen_at
           from worker.newest_facts(known, excluded) as newest);
end;
$$;
comment on function worker.write_organizations is
    'Writes what the items of pages say about their employers. An organization that does not change is not written.';
