-- What sites say about employers: one row for each company, by the core of its name.
-- Calls: nothing.

create table public.organizations (
    -- From key and owner, so that items have it without a look at this table (items.organization_id).
    id uuid primary key generated always as (md5(coalesce(owner_id::text, '') || ' ' || key)::uuid) stored,
    key text not null,
    owner_id uuid references auth.users (id) on delete cascade,
    name text not null,
    url text,
    profile_url text,
    logo_url text,
    address text,
    industry text,
    employees text,
    employees_min integer generated always as (substring(employees from '^\d{1,9}')::integer) stored,
    employees_max integer generated always as (substring(employees from '\d{1,9}$')::integer) stored,
    revenue text,
    description text,
    rating numeric,
    review_count integer,
    seen_at jsonb not null
);
-- Not unique: the id follows from the two, and pages insert with one constraint alone as the arbiter of conflicts.
create index organizations_key on public.organizations (key, owner_id);
create index organizations_owner_id on public.organizations (owner_id) where owner_id is not null;
comment on table public.organizations is
    'Employers. Each field is the newest that a site reported. Boards that a user named do not count, because their '
    'content cannot be trusted. A user who sets board_organizations gets rows of his own from them.';
comment on column public.organizations.id is 'Follows from key and owner_id.';
comment on column public.organizations.key is 'Normalized name, without legal forms, as in items.organization_key.';
comment on column public.organizations.owner_id is
    'Null for what all users see; otherwise the user who named the boards that it is from, and the only one who may '
    'see it.';
comment on column public.organizations.name is 'The name, as a site spells it.';
comment on column public.organizations.url is 'Its own website.';
comment on column public.organizations.profile_url is 'The page of a site about it.';
comment on column public.organizations.address is 'Its main address.';
comment on column public.organizations.industry is 'In the words of a site.';
comment on column public.organizations.employees is 'Number of employees, such as 51-200, 10001+ or 120.';
comment on column public.organizations.employees_min is 'The least number of employees.';
comment on column public.organizations.employees_max is 'The greatest number of employees; null if there is none.';
comment on column public.organizations.revenue is 'In the words of a site.';
comment on column public.organizations.description is 'Markdown.';
comment on column public.organizations.rating is 'Average rating on a site, up to 5.';
comment on column public.organizations.review_count is 'Number of reviews on a site.';
comment on column public.organizations.seen_at is
    'For each known field, when its value was first seen: {name, url, ...}.';
