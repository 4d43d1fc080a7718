-- Embeddings of items, and items that are still to be compared. Only the files in embeddings/ need pgvector.
-- Calls: nothing.

create table public.item_embeddings (
    item_id uuid primary key references public.items (id) on delete cascade,
    owner_id uuid references auth.users (id) on delete cascade,
    from_named_board boolean not null default false,
    embedding extensions.halfvec(256) not null,
    embedded_at timestamptz not null
);
-- Public items only: a user's own items are few and compared one by one. So items that a user may not see, or of boards
-- that another user named, do not fill up the nearest neighbours.
create index item_embeddings_public on public.item_embeddings
    using hnsw (embedding extensions.halfvec_cosine_ops) where owner_id is null and not from_named_board;
create index item_embeddings_from_named_board on public.item_embeddings
    using hnsw (embedding extensions.halfvec_cosine_ops) where owner_id is null and from_named_board;
create index item_embeddings_owner_id on public.item_embeddings (owner_id) where owner_id is not null;
comment on table public.item_embeddings is 'Embeddings of items, as vectors of length 1.';
comment on column public.item_embeddings.owner_id is 'The owner of the item.';
comment on column public.item_embeddings.from_named_board is 'The from_named_board of the item.';
comment on column public.item_embeddings.embedding is
    'Of title, organization, location and description, by worker.settings.embedding_model.';
comment on column public.item_embeddings.embedded_at is 'When it was last written.';

create table worker.embedding_backfill (
    after_item uuid primary key
);
comment on table worker.embedding_backfill is
    'A row while items that existed before the model still have to be added to worker.embedding_queue.';
comment on column worker.embedding_backfill.after_item is 'Items up to this id have been added.';

create table worker.near_duplicate_queue (
    item_id uuid primary key references public.item_embeddings (item_id) on delete cascade,
    due_at timestamptz not null
);
create index near_duplicate_queue_due_at on worker.near_duplicate_queue (due_at);
comment on table worker.near_duplicate_queue is
    'Items whose embedding has not been compared yet with those of the same organization.';
comment on column worker.near_duplicate_queue.due_at is 'Not before this time: until then, a worker has claimed it.';

-- Keys have any length, and a B-tree entry has at most 2,704 bytes.
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
comment on type public.matched_item is 'An item with a similar meaning, and its similarity.';
comment on column public.matched_item.similarity is
    'Cosine similarity of the two embeddings: 1 for equal, 0 for unrelated.';
