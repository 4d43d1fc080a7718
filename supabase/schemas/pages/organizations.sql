-- What becomes of what a page says about employers? Each field is written, unless it is known from a newer page. Private
-- items are left out, and so are boards that a user named, except for a user who asks for them.
-- Calls: tables/organizations, kernel/parameters.

create type worker.employer as (
    url text, profile_url text, logo_url text, address text, industry text, employees text, revenue text,
    description text, rating numeric, review_count integer
);
comment on type worker.employer is 'What an item of a page says about its organization.';

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

create function worker.write_organizations(
    run_id uuid, kind text, owner_id uuid, site text, seen_at timestamptz, items jsonb
) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    organization_owner uuid;
begin
    if write_organizations.owner_id is not null then
        return;
    elsif worker.is_named_board(write_organizations.kind, write_organizations.site) then
        select run.user_id into organization_owner from public.search_runs as run
        where run.id = write_organizations.run_id and worker.keeps_organizations(run.kind, run.parameters);
        if not found then
            return;
        end if;
    end if;

    with reported as (
        select worker.organization_id(found.organization_key, organization_owner) as id, found.organization_key as key,
               -- The last of equal fields counts: that of the first item.
               jsonb_object_agg(fact.field, fact.value order by found.position desc) as facts,
               jsonb_object_agg(fact.field, write_organizations.seen_at) as seen_at
        from jsonb_to_recordset(write_organizations.items)
            as found (position integer, organization text, organization_key text, employer worker.employer)
        cross join lateral (
            select 'name', to_jsonb(found.organization)
            union all
            select given.key, given.value from jsonb_each(to_jsonb(found.employer)) as given
        ) as fact (field, value)
        where found.organization_key is not null and fact.value <> 'null'
        group by found.organization_key
    )
    insert into public.organizations as known (
        id, key, owner_id, name, url, profile_url, logo_url, address, industry, employees, revenue, description, rating,
        review_count, seen_at)
    select reported.id, reported.key, organization_owner, new.name, new.url, new.profile_url, new.logo_url, new.address,
           new.industry, new.employees, new.revenue, new.description, new.rating, new.review_count, new.seen_at
    from reported
    cross join lateral jsonb_populate_record(
        null::public.organizations, reported.facts || jsonb_build_object('seen_at', reported.seen_at)) as new
    -- The limit keeps the plan of a small table, which would read all of it, from a table that has grown.
    left join lateral (
        select known from public.organizations as known where known.id = reported.id limit 1
    ) as former (organization) on true
    where case when former.organization is null then true
               when to_jsonb(former.organization) @> reported.facts then false
               else worker.newest_facts(former.organization, new) is distinct from former.organization end
    -- In one order, so that two pages with the same organizations do not deadlock.
    order by reported.id
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
    'Writes what the items of a page say about their employers. For each field, the first item that has it counts. An '
    'organization that does not change is not written.';
