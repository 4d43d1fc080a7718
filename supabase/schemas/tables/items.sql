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
    duplicate_of uuid references public.items (id) on delete set null,
    from_named_board boolean not null default false,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    -- The key first: no index is searched with `owner_id is not distinct from`.
    constraint items_canonical_key unique nulls not distinct (canonical_key, kind, owner_id)
-- Things are found again and again, those of a page together: with room for all of them 91 % of the updates are HOT,
-- without 12 %. Long texts are stored elsewhere, and copied by none.
) with (fillfactor = 50);
create index items_owner_id on public.items (owner_id) where owner_id is not null;
create index items_duplicate_of on public.items (duplicate_of) where duplicate_of is not null;
-- Hashes are small and take keys of any length: an entry of a B-tree has at most 2,704 bytes.
create index items_apply_key on public.items using hash (apply_key) where apply_key is not null;
create index items_match_key on public.items using hash (match_key) where match_key is not null;
comment on table public.items is 'Canonical things found, shared by every run that found them.';
comment on column public.items.kind is 'As the kind of the runs that found it.';
comment on column public.items.owner_id is 'Null for public things; else the one user who may see it.';
comment on column public.items.organization is 'The employer of a job or a person.';
comment on column public.items.is_remote is 'Null where the site does not tell.';
comment on column public.items.posted_at is 'When the site says that it was published.';
comment on column public.items.salary_min is 'In currency, for each salary_interval.';
comment on column public.items.salary_max is 'In currency, for each salary_interval.';
comment on column public.items.salary_interval is 'yearly, monthly, weekly, daily or hourly.';
comment on column public.items.currency is 'ISO 4217 code of the salary.';
comment on column public.items.url is 'The page of the thing on the site that found it.';
comment on column public.items.apply_url is 'Where to apply, when the site names another place.';
comment on column public.items.city is 'Where the location names one.';
comment on column public.items.region is 'State or province, where the location names one.';
comment on column public.items.country is 'ISO 3166-1 alpha-2 code, where the location names one.';
comment on column public.items.work_mode is 'remote, hybrid or onsite; null where nothing tells.';
comment on column public.items.job_types is
    'Of fulltime, parttime, contract, temporary, internship, perdiem, volunteer, other.';
comment on column public.items.salary_yearly_min is 'salary_min in a year of full work.';
comment on column public.items.salary_yearly_max is 'salary_max in a year of full work.';
comment on column public.items.skills is 'Skills that the description names.';
comment on column public.items.experience_years is 'Least years of experience that the description asks for.';
comment on column public.items.data is 'Everything else that the site told.';
comment on column public.items.canonical_key is 'The site and its own id of the thing.';
comment on column public.items.apply_key is 'Canonical form of an apply_url that names one job.';
comment on column public.items.match_key is 'Normalised title, organization and location.';
comment on column public.items.organization_key is 'Normalised organization.';
comment on column public.items.duplicate_of is
    'The oldest item of those that are the same thing, or the oldest that is not from_named_board: its id is the thing''s. '
    'Null for that one itself.';
comment on column public.items.from_named_board is
    'Whether it is from a board that a user named, which can say anything: nobody but who found it gets it as similar.';
comment on column public.items.first_seen_at is 'When any run found it first.';
comment on column public.items.last_seen_at is 'When any run found it last.';

create table public.item_sources (
    id bigint generated always as identity primary key,
    site text not null,
    external_id text not null,
    item_id uuid not null references public.items (id) on delete cascade,
    owner_id uuid references auth.users (id) on delete cascade,
    url text not null,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    -- Of one item for each kind and owner, as items_canonical_key says.
    constraint item_sources_external_id unique (site, external_id, item_id)
) with (fillfactor = 50);
create index item_sources_item_id on public.item_sources (item_id);
create index item_sources_owner_id on public.item_sources (owner_id) where owner_id is not null;
comment on table public.item_sources is 'Where each item was seen: a site''s own id of it.';
comment on column public.item_sources.external_id is 'The site''s own id of the item.';
comment on column public.item_sources.url is 'The page of the item on this site.';
comment on column public.item_sources.owner_id is 'As the item''s: two users may each own a private sighting of the same profile.';

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
create index search_results_item_id on public.search_results (item_id);
comment on table public.search_results is 'Which run found which item. Thin, because it is published to Realtime.';
comment on column public.search_results.id is
    'Random: all that everybody who listens to Realtime hears of a deleted row.';
comment on column public.search_results.site is 'The site that had it first.';
comment on column public.search_results.page_number is 'The site''s page that it was on, from 1.';
comment on column public.search_results.position is 'Place on its page, from 1.';

create table worker.kept_apart (
    item_id uuid not null references public.items (id) on delete cascade,
    other_id uuid not null references public.items (id) on delete cascade,
    primary key (item_id, other_id),
    constraint kept_apart_order check (item_id < other_id)
);
create index kept_apart_other_id on worker.kept_apart (other_id);
comment on table worker.kept_apart is 'Items that somebody has split: they are not taken for the same thing again.';

create table worker.embedding_queue (
    item_id uuid primary key references public.items (id) on delete cascade,
    attempts smallint not null default 0,
    due_at timestamptz not null,
    error text
);
create index embedding_queue_due_at on worker.embedding_queue (due_at);
comment on table worker.embedding_queue is 'Items whose text changed since it was embedded. Empty while nothing embeds.';
comment on column worker.embedding_queue.due_at is 'Not before this time; infinity for those that were given up.';
comment on column worker.embedding_queue.error is 'Why the last attempt failed.';
