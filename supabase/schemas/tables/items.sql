-- What was found: items, where each was seen, which run found it, and which items are kept apart.
-- Calls: nothing.

create table public.items (
    id uuid primary key default gen_random_uuid(),
    kind text not null,
    owner_id uuid references auth.users (id) on delete cascade,
    title text not null,
    organization text,
    location text,
    is_remote boolean,
    posted_at timestamptz,
    salary_min numeric,
    salary_max numeric,
    salary_interval text
        constraint items_salary_interval check (salary_interval in ('yearly', 'monthly', 'weekly', 'daily', 'hourly')),
    currency text,
    url text not null,
    apply_url text,
    description text,
    city text,
    region text,
    country text constraint items_country check (country ~ '^[A-Z]{2}$'),
    places jsonb not null default '[]' constraint items_places check (jsonb_typeof(places) = 'array'),
    work_mode text constraint items_work_mode check (work_mode in ('remote', 'hybrid', 'onsite')),
    job_types text[] not null default '{}' constraint items_job_types check (
        job_types <@ '{fulltime,parttime,contract,temporary,internship,perdiem,volunteer,other}'
    ),
    salary_yearly_min numeric,
    salary_yearly_max numeric,
    skills text[] not null default '{}',
    experience_years smallint,
    data jsonb not null default '{}',
    canonical_key text not null,
    apply_key text,
    match_key text,
    organization_key text,
    -- As organizations.id. No foreign key: it would lock the row of a company for each of its items.
    organization_id uuid generated always as (
        case when owner_id is null and not from_named_board then md5(' ' || organization_key)::uuid end) stored,
    place_key text,
    text_signature bit(1024),
    duplicate_of uuid references public.items (id) on delete set null,
    from_named_board boolean not null default false,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    -- The key first, because no index can be used for `owner_id is not distinct from`.
    constraint items_canonical_key unique nulls not distinct (canonical_key, kind, owner_id)
-- Items are found again and again, and those of a page together: with free space, 91 % of the updates are HOT, without
-- it 12 %. Updates do not copy long texts, which are stored elsewhere.
) with (fillfactor = 50);
create index items_owner_id on public.items (owner_id) where owner_id is not null;
create index items_organization_id on public.items (organization_id) where organization_id is not null;
create index items_duplicate_of on public.items (duplicate_of) where duplicate_of is not null;
-- Hash indexes, because keys have any length and a B-tree entry has at most 2,704 bytes.
create index items_apply_key on public.items using hash (apply_key) where apply_key is not null;
create index items_match_key on public.items using hash (match_key) where match_key is not null;
comment on table public.items is 'Canonical items found, shared by all runs that found them.';
comment on column public.items.kind is 'The kind of the runs that found it.';
comment on column public.items.owner_id is 'Null for public items; otherwise the only user who may see it.';
comment on column public.items.organization is 'The employer of a job or a person.';
comment on column public.items.is_remote is 'Null if the site does not say.';
comment on column public.items.posted_at is 'When it was published, as the site says.';
comment on column public.items.salary_min is 'In currency, for each salary_interval.';
comment on column public.items.salary_max is 'In currency, for each salary_interval.';
comment on column public.items.salary_interval is 'yearly, monthly, weekly, daily or hourly.';
comment on column public.items.currency is 'ISO 4217 code of the salary.';
comment on column public.items.url is 'The item''s page on the site that found it.';
comment on column public.items.apply_url is 'Where to apply, if the site names another page.';
comment on column public.items.city is 'The city, if the location names one.';
comment on column public.items.region is 'The state or province, if the location names one.';
comment on column public.items.country is 'ISO 3166-1 alpha-2 code, if the location names a country.';
comment on column public.items.places is
    'All places, as objects with city, region, country, latitude and longitude; unknown parts are null. They are '
    'completed by a gazetteer, while city, region and country have only what the location and the site say, and only '
    'what all places share.';
comment on column public.items.work_mode is 'remote, hybrid or onsite; null if unknown.';
comment on column public.items.job_types is
    'Any of fulltime, parttime, contract, temporary, internship, perdiem, volunteer, other.';
comment on column public.items.salary_yearly_min is 'salary_min for a year of full-time work.';
comment on column public.items.salary_yearly_max is 'salary_max for a year of full-time work.';
comment on column public.items.skills is 'Skills that the description names.';
comment on column public.items.experience_years is 'Minimum years of experience that the description asks for.';
comment on column public.items.data is 'Everything else that the site reported.';
comment on column public.items.canonical_key is 'The site and its own id of the item.';
comment on column public.items.apply_key is 'Canonical form of an apply_url that identifies one job.';
comment on column public.items.match_key is
    'Normalized title, first word of the organization, and cities: items that may be the same thing.';
comment on column public.items.organization_key is 'Normalized organization, without its legal form.';
comment on column public.items.organization_id is
    'The row of organizations. Null for private items and boards that a user named.';
comment on column public.items.place_key is 'Normalized cities, region and country, with | between them.';
comment on column public.items.text_signature is
    'The pairs of neighbouring words of the description, each of which sets one bit. See worker.text_similarity.';
comment on column public.items.duplicate_of is
    'The item that stands for the group of duplicates: the oldest one, if possible not from_named_board. Null for '
    'that item itself.';
comment on column public.items.from_named_board is
    'Whether it is from a board that a user named, whose content cannot be trusted: it is suggested as similar only '
    'to users who found it.';
comment on column public.items.first_seen_at is 'When a run first found it.';
comment on column public.items.last_seen_at is 'When a run last found it.';

create table public.item_sources (
    id bigint generated always as identity primary key,
    site text not null,
    external_id text not null,
    item_id uuid not null references public.items (id) on delete cascade,
    owner_id uuid references auth.users (id) on delete cascade,
    url text not null,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    -- One item for each kind and owner, as in items_canonical_key.
    constraint item_sources_external_id unique (site, external_id, item_id)
) with (fillfactor = 50);
create index item_sources_item_id on public.item_sources (item_id);
create index item_sources_owner_id on public.item_sources (owner_id) where owner_id is not null;
comment on table public.item_sources is 'Where each item was seen: one row for each sighting.';
comment on column public.item_sources.external_id is 'The site''s own id of the item.';
comment on column public.item_sources.url is 'The item''s page on this site.';
comment on column public.item_sources.owner_id is
    'The owner of the item. Two users may each own a private sighting of the same profile.';

create table public.search_results (
    id uuid primary key default gen_random_uuid(),
    run_id uuid not null references public.search_runs (id) on delete cascade,
    item_id uuid not null references public.items (id) on delete cascade,
    site text not null,
    page_number integer not null,
    position integer not null,
    created_at timestamptz not null,
    constraint search_results_item unique (run_id, item_id)
);
-- With the run, so that who has seen a thing is read from the index: a popular thing is in the results of many runs.
create index search_results_item_id on public.search_results (item_id, run_id);
comment on table public.search_results is
    'Which run found which item.';
comment on column public.search_results.id is
    'Random: if you publish the table, Realtime sends the key of a deleted row to everybody who listens.';
comment on column public.search_results.site is 'The site that returned it first.';
comment on column public.search_results.page_number is 'The site''s page with the item, from 1.';
comment on column public.search_results.position is 'Position on the page, from 1.';

create table worker.kept_apart (
    item_id uuid not null references public.items (id) on delete cascade,
    other_id uuid not null references public.items (id) on delete cascade,
    primary key (item_id, other_id),
    constraint kept_apart_order check (item_id < other_id)
);
create index kept_apart_other_id on worker.kept_apart (other_id);
comment on table worker.kept_apart is 'Items that an operator has split. They are not merged again.';

create table worker.embedding_queue (
    item_id uuid primary key references public.items (id) on delete cascade,
    attempts smallint not null default 0,
    due_at timestamptz not null,
    error text
);
create index embedding_queue_due_at on worker.embedding_queue (due_at);
comment on table worker.embedding_queue is
    'Items whose text changed since it was embedded. Empty while no worker embeds.';
comment on column worker.embedding_queue.due_at is 'Not before this time; infinity after the last attempt failed.';
comment on column worker.embedding_queue.error is 'Why the last attempt failed.';
