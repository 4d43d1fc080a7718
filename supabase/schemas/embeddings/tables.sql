-- Items as vectors, and what is still to be compared. Only the folder embeddings needs pgvector.
-- Calls: nothing.

create table public.item_embeddings (
    item_id uuid primary key references public.items (id) on delete cascade,
    owner_id uuid references auth.users (id) on delete cascade,
    from_named_board boolean not null default false,
    embedding extensions.halfvec(256) not null,
    embedded_at timestamptz not null
);
-- Of public items alone: a user's own ones are few and compared one by one, and nobody's nearest neighbours are
-- crowded out by what he may not see, or by a board that somebody else named.
create index item_embeddings_public on public.item_embeddings
    using hnsw (embedding extensions.halfvec_cosine_ops) where owner_id is null and not from_named_board;
create index item_embeddings_from_named_board on public.item_embeddings
    using hnsw (embedding extensions.halfvec_cosine_ops) where owner_id is null and from_named_board;
create index item_embeddings_owner_id on public.item_embeddings (owner_id) where owner_id is not null;
comment on table public.item_embeddings is 'What items mean, as vectors of length 1: the nearer, the more alike.';
comment on column public.item_embeddings.owner_id is 'As the item''s.';
comment on column public.item_embeddings.from_named_board is 'As the item''s.';
comment on column public.item_embeddings.embedding is 'Of title, organization, location and description, by worker.settings.embedding_model.';
comment on column public.item_embeddings.embedded_at is 'When it was written last.';

create table worker.embedding_backfill (
    after_item uuid primary key
);
comment on table worker.embedding_backfill is
    'A row while items that were there before the model are still to be put into worker.embedding_queue.';
comment on column worker.embedding_backfill.after_item is 'Those up to this id have been.';

create table worker.near_duplicate_queue (
    item_id uuid primary key references public.item_embeddings (item_id) on delete cascade,
    due_at timestamptz not null
);
create index near_duplicate_queue_due_at on worker.near_duplicate_queue (due_at);
comment on table worker.near_duplicate_queue is 'Items whose embedding was not compared yet with those of the same organization.';
comment on column worker.near_duplicate_queue.due_at is 'Not before this time: until then a worker is at it.';

-- Of keys of any length: an entry of a B-tree has 2,704 bytes at most.
create index items_organization_posted on public.items (left(organization_key, 100), coalesce(posted_at, first_seen_at))
    where organization_key is not null;

create type public.matched_item as (
    item_id uuid,
    similarity double precision,
    kind text,
    title text,
    organization text,
    location text,
    city text,
    region text,
    country text,
    is_remote boolean,
    work_mode text,
    job_types text[],
    posted_at timestamptz,
    salary_min numeric,
    salary_max numeric,
    salary_interval text,
    currency text,
    salary_yearly_min numeric,
    salary_yearly_max numeric,
    url text,
    apply_url text,
    description text,
    skills text[],
    experience_years smallint,
    data jsonb,
    first_seen_at timestamptz,
    last_seen_at timestamptz
);
comment on type public.matched_item is 'An item that means something similar, with how similar it is.';
comment on column public.matched_item.similarity is 'Cosine of the angle between the two vectors: 1 for the same, 0 for nothing in common.';
