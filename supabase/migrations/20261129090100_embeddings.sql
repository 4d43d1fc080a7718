-- Made from supabase/schemas by ./scripts/schema: edit the files there.

-- embeddings/extension
-- Which pgvector is required? 0.8 or newer, in the schema extensions.
-- Calls: nothing.

create extension if not exists vector with schema extensions;
do $$
declare
    version text;
    schema text;
begin
    select extension.extversion, namespace.nspname into strict version, schema
    from pg_extension as extension join pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector';
    -- halfvec needs 0.7; iterative index scans need 0.8.
    if string_to_array(version, '.')::integer[] < '{0,8}' then
        raise exception using
            message = format('pgvector must be 0.8 or newer, and %s is installed', version),
            hint = 'Update it: alter extension vector update. Where that is not enough, upgrade Postgres first.';
    end if;
    if schema <> 'extensions' then
        raise exception using
            message = format('pgvector must be in the schema extensions, and is in %s', schema),
            hint = 'Move it: alter extension vector set schema extensions.';
    end if;
end;
$$;

-- embeddings/tables
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

-- embeddings/model
-- Which model makes the embeddings? The first one that a worker uses. Another model is rejected until an operator
-- changes it.
-- Calls: nothing.

create function worker.change_embedding_model(model text) returns void
language plpgsql set search_path = '' as $$
begin
    -- Waits for transactions that have written items without seeing the model. Later ones see it.
    lock table public.items in share row exclusive mode;
    -- In the order in which the RPCs lock them: a queue, then the embeddings.
    truncate worker.embedding_queue, worker.near_duplicate_queue, worker.embedding_backfill, public.item_embeddings;
    update worker.settings set embedding_model = model where is_only_row;
    insert into worker.embedding_backfill (after_item)
    select '00000000-0000-0000-0000-000000000000' where model is not null;
end;
$$;
comment on function worker.change_embedding_model is
    'Deletes all embeddings, and has every item embedded with another model; null: until a worker embeds, none.';

create function worker.check_embedding_model(model text) returns void
language plpgsql set search_path = '' as $$
declare
    kept text := (select embedding_model from worker.settings);
begin
    if model is null or length(model) not between 1 and 200 then
        raise sqlstate '22023' using message = 'model must be 1 to 200 characters long';
    end if;
    if kept is null then
        lock table public.items in share row exclusive mode;
        -- Another worker may have stored a model first.
        kept := (select embedding_model from worker.settings);
    end if;
    if kept is null then
        perform worker.change_embedding_model(model);
    elsif kept <> model then
        raise sqlstate '22023' using
            message = format('model must be %1$L, whose embeddings are kept, not %2$L; to embed all items again: '
                             'select worker.change_embedding_model(%2$L)', kept, model);
    end if;
end;
$$;
comment on function worker.check_embedding_model is
    'Rejects another model than the one of the stored embeddings. The first model is stored.';

-- embeddings/queue
-- Which items are embedded next? Items whose text changed, then items from before the model.
-- Calls: kernel/clock, embeddings/model.

create function worker.continue_embedding_backfill(batch integer) returns void
language plpgsql set search_path = '' as $$
declare
    passed uuid;
    last_item uuid;
begin
    select backfill.after_item into passed from worker.embedding_backfill as backfill for update skip locked;
    if passed is null then
        return;
    end if;
    with existing as (
        select item.id from public.items as item where item.id > passed order by item.id limit batch
    ), queued as (
        insert into worker.embedding_queue (item_id, due_at) select existing.id, worker.now() from existing
        on conflict (item_id) do nothing
    )
    select existing.id into last_item from existing order by existing.id desc limit 1;
    if last_item is null then
        delete from worker.embedding_backfill as backfill where backfill.after_item = passed;
    else
        update worker.embedding_backfill as backfill set after_item = last_item where backfill.after_item = passed;
    end if;
end;
$$;
comment on function worker.continue_embedding_backfill is
    'Adds the next items that existed before the model to the queue, unless another worker is doing so.';

create function public.worker_claim_embeddings(model text, batch integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    backfill_batch constant integer := 5000;
    claimed_until timestamptz := worker.now() + interval '5 minutes';
    waiting integer;
    items jsonb;
    pause integer;
begin
    if batch is null or batch not between 1 and 2048 then
        raise sqlstate '22023' using message = 'batch must be an integer from 1 to 2048';
    end if;
    perform worker.check_embedding_model(model);

    select count(*) into waiting
    from (select from worker.embedding_queue as queued where queued.due_at <= worker.now() limit batch) as due;
    if waiting < batch then
        perform worker.continue_embedding_backfill(backfill_batch);
    end if;

    with due as (
        select queued.item_id from worker.embedding_queue as queued
        where queued.due_at <= worker.now()
        order by queued.due_at
        limit batch
        for update skip locked
    ), claimed as (
        update worker.embedding_queue as queued set due_at = claimed_until from due
        where queued.item_id = due.item_id
        returning queued.item_id
    )
    select jsonb_agg(jsonb_build_object(
               'item_id', item.id, 'title', item.title, 'organization', item.organization,
               'location', item.location, 'description', left(item.description, 6000)))
    into items
    from claimed join public.items as item on item.id = claimed.item_id;

    -- Items that are due and were not claimed are locked by another transaction.
    pause := case when items is null then 1 else 0 end;
    return jsonb_build_object(
        'items', coalesce(items, '[]'),
        'claimed_until', claimed_until,
        'due_in_seconds', case
            when exists (select from worker.embedding_backfill) then pause
            else (select greatest(pause, extract(epoch from queued.due_at - worker.now()))
                  from worker.embedding_queue as queued
                  where queued.due_at < 'infinity' and queued.due_at <> claimed_until
                  order by queued.due_at limit 1)
        end);
end;
$$;
comment on function public.worker_claim_embeddings is
    'Claims up to batch items that are to be embedded with model, for five minutes. Returns {items, claimed_until, '
    'due_in_seconds}: each item with the fields of its text, the claim''s mark, and the seconds until another item '
    'is due, or null. The first model is stored, and all items are embedded with it; another model is rejected.';

create function public.worker_save_embeddings(model text, claimed_until timestamptz, embeddings jsonb) returns integer
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    saved uuid[];
begin
    perform worker.check_embedding_model(model);
    -- In the order of the ids, like a page that changes texts, to avoid deadlocks.
    with held as materialized (
        select queued.item_id
        from worker.embedding_queue as queued
        join jsonb_to_recordset(worker_save_embeddings.embeddings) as given (item_id uuid)
            on given.item_id = queued.item_id
        -- Not items whose text has changed since, or whose claim expired and went to another worker.
        where queued.due_at = worker_save_embeddings.claimed_until
        order by queued.item_id
        for update of queued
    ), claimed as (
        delete from worker.embedding_queue as queued using held
        where queued.item_id = held.item_id
        returning queued.item_id
    ), written as (
        insert into public.item_embeddings as kept (item_id, owner_id, from_named_board, embedding, embedded_at)
        select item.id, item.owner_id, item.from_named_board, given.embedding, worker.now()
        from claimed
        join public.items as item on item.id = claimed.item_id
        join jsonb_to_recordset(worker_save_embeddings.embeddings)
            as given (item_id uuid, embedding extensions.halfvec(256)) on given.item_id = item.id
        order by item.id
        on conflict (item_id) do update set embedding = excluded.embedding, embedded_at = excluded.embedded_at
        returning kept.item_id
    )
    select array_agg(written.item_id) into saved from written;

    insert into worker.near_duplicate_queue as queued (item_id, due_at)
    select item.id, worker.now() from public.items as item
    where item.id = any (saved) and item.organization_key is not null
    on conflict (item_id) do update set due_at = excluded.due_at;
    return coalesce(cardinality(saved), 0);
end;
$$;
comment on function public.worker_save_embeddings is
    'Saves the embeddings [{item_id, embedding}] of claimed items. Returns how many: those whose claim, identified '
    'by claimed_until, is still valid. An embedding is an array of 256 numbers.';

create function public.worker_fail_embeddings(claimed_until timestamptz, failures jsonb) returns integer
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    max_attempts constant integer := 8;
    failed integer;
begin
    with held as materialized (
        select queued.item_id, given.message
        from worker.embedding_queue as queued
        join jsonb_to_recordset(worker_fail_embeddings.failures) as given (item_id uuid, message text)
            on given.item_id = queued.item_id
        where queued.due_at = worker_fail_embeddings.claimed_until
        order by queued.item_id
        for update of queued
    )
    update worker.embedding_queue as queued set
        attempts = queued.attempts + 1,
        error = held.message,
        due_at = case when queued.attempts + 1 >= max_attempts then 'infinity'
                      else worker.now() + interval '1 minute' * 4 ^ queued.attempts end
    from held
    where queued.item_id = held.item_id;
    get diagnostics failed = row_count;
    return failed;
end;
$$;
comment on function public.worker_fail_embeddings is
    'Puts claimed items that could not be embedded, [{item_id, message}], back into the queue: for a minute, and '
    'four times as long after each further failure. After the eighth failure, days later, they are given up: due_at '
    'is infinity.';

-- embeddings/near_duplicates
-- Which items may be near-duplicates? Items of one organization with similar embeddings.
-- Calls: kernel/clock, pages/facts.

create function worker.near_pairs(item_ids uuid[]) returns table (item_id uuid, other_id uuid)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select distinct least(item.id, nearest.id), greatest(item.id, nearest.id)
    from public.items as item
    join public.item_embeddings as embedded on embedded.item_id = item.id
    cross join lateral (
        select other.id
        from public.items as other
        join public.item_embeddings as other_embedded on other_embedded.item_id = other.id
        where left(other.organization_key, 100) = left(item.organization_key, 100)
          and other.organization_key = item.organization_key
          and coalesce(other.posted_at, other.first_seen_at)
              between coalesce(item.posted_at, item.first_seen_at) - interval '60 days'
                  and coalesce(item.posted_at, item.first_seen_at) + interval '60 days'
          and (coalesce(other.posted_at, other.first_seen_at)
                   between coalesce(item.posted_at, item.first_seen_at) - interval '7 days'
                       and coalesce(item.posted_at, item.first_seen_at) + interval '7 days'
               -- Published again with the same text.
               or worker.text_similarity(other.text_signature, item.text_signature) >= 0.8)
          and other.kind = item.kind
          and other.owner_id is not distinct from item.owner_id
          and coalesce(other.duplicate_of, other.id) <> coalesce(item.duplicate_of, item.id)
          and other_embedded.embedding operator(extensions.<=>) embedded.embedding < 0.05
          and not exists (
              select from worker.kept_apart as split
              where split.item_id = least(item.id, other.id) and split.other_id = greatest(item.id, other.id))
        -- The most likely pairs of a company's hundreds of jobs with the same template. The city is only a word or
        -- two of the text, so that the same job in other words is farther away than the same text with another
        -- city.
        order by lower(other.city) is distinct from lower(item.city),
                 other_embedded.embedding operator(extensions.<=>) embedded.embedding
        limit 20
    ) as nearest
    where item.id = any (item_ids);
end;
$$;
comment on function worker.near_pairs is
    'Returns pairs of each item with the items that may be the same thing, up to 20 for each: of the same kind, owner and '
    'organization, published within seven days, or within 60 with the same text, with a cosine similarity above 0.95, in '
    'another group and never split.';

create function public.worker_near_duplicates(batch integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    claimed_until timestamptz := worker.now() + interval '5 minutes';
    claimed uuid[];
    candidates jsonb;
    compared uuid[];
    items jsonb;
begin
    if batch is null or batch not between 1 and 100 then
        raise sqlstate '22023' using message = 'batch must be an integer from 1 to 100';
    end if;

    with due as (
        select queued.item_id from worker.near_duplicate_queue as queued
        where queued.due_at <= worker.now()
        order by queued.due_at
        limit batch
        for update skip locked
    ), leased as (
        update worker.near_duplicate_queue as queued set due_at = claimed_until from due
        where queued.item_id = due.item_id
        returning queued.item_id
    )
    select array_agg(leased.item_id) into claimed from leased;

    with pairs as materialized (
        select near.item_id, near.other_id from worker.near_pairs(claimed) as near
    ), compared_items as (
        select pairs.item_id as id from pairs union select pairs.other_id from pairs
    )
    select (select jsonb_agg(jsonb_build_array(pairs.item_id, pairs.other_id)) from pairs),
           array_agg(compared_items.id),
           jsonb_object_agg(compared_items.id, to_jsonb(item) - 'text_signature')
    into candidates, compared, items
    from compared_items join public.items as item on item.id = compared_items.id;

    delete from worker.near_duplicate_queue as queued
    where queued.item_id = any (claimed) and not queued.item_id = any (coalesce(compared, '{}'));

    return jsonb_build_object(
        'pairs', coalesce(candidates, '[]'),
        'items', coalesce(items, '{}'),
        'claimed_until', claimed_until,
        'due_in_seconds', (
            select greatest(case when claimed is null then 1 else 0 end, extract(epoch from queued.due_at - worker.now()))
            from worker.near_duplicate_queue as queued where queued.due_at <> claimed_until
            order by queued.due_at limit 1));
end;
$$;
comment on function public.worker_near_duplicates is
    'Claims up to batch embedded items, and looks for items that may be the same thing (worker.near_pairs). Returns '
    '{pairs, items, claimed_until, due_in_seconds}: pairs of ids, the items by id, and the rest as in '
    'worker_claim_embeddings. Items without a similar one are done; the others are due again unless '
    'worker_finish_near_duplicates is called.';

create function public.worker_finish_near_duplicates(claimed_until timestamptz, item_ids uuid[]) returns integer
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    finished integer;
begin
    delete from worker.near_duplicate_queue as queued
    where queued.item_id = any (worker_finish_near_duplicates.item_ids)
      and queued.due_at = worker_finish_near_duplicates.claimed_until;
    get diagnostics finished = row_count;
    return finished;
end;
$$;
comment on function public.worker_finish_near_duplicates is
    'Ends the comparison of claimed items; returns how many. Items that were embedded again since are not included.';

-- embeddings/similar
-- Which items are similar to a text or to an item?
-- Calls: nothing.

create function public.match_items(
    query_embedding text, kind text default null, max_distance double precision default 2,
    "limit" integer default 10
) returns setof public.matched_item
language plpgsql stable set search_path = ''
-- Filters apply after the index scan, which continues until enough rows have passed them (at most 20,000 rows).
set hnsw.iterative_scan = relaxed_order
set hnsw.ef_search = 100
-- The plan depends on the limit.
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    asked extensions.halfvec;
begin
    -- A text, because the input function of vectors raises errors without the name of the field, and HTTP 500 above
    -- 16,000 numbers.
    if length(query_embedding) - length(replace(query_embedding, ',', '')) is distinct from 255 then
        raise sqlstate '22023' using message = 'query_embedding must be an array of 256 numbers';
    end if;
    begin
        asked := query_embedding::extensions.halfvec;
    exception when data_exception then
        raise sqlstate '22023' using
            message = 'query_embedding must be an array of 256 numbers', detail = sqlerrm;
    end;
    if "limit" is null or "limit" not between 1 and 200 then
        raise sqlstate '22023' using message = 'limit must be an integer from 1 to 200';
    end if;
    return query
    with nearest as materialized (
        (select item.id, embedded.embedding operator(extensions.<=>) asked as distance
         from public.item_embeddings as embedded
         join public.items as item on item.id = embedded.item_id
         where embedded.owner_id is null and not embedded.from_named_board
           and item.duplicate_of is null
           and (match_items.kind is null or item.kind = match_items.kind)
         order by distance
         limit match_items."limit")
        union all
        (select item.id, embedded.embedding operator(extensions.<=>) asked as distance
         from public.item_embeddings as embedded
         join public.items as item on item.id = embedded.item_id
         where embedded.owner_id = (select auth.uid())
           and item.duplicate_of is null
           and (match_items.kind is null or item.kind = match_items.kind)
         order by distance
         limit match_items."limit")
        union all
        -- Row level security restricts search_results to the caller's own.
        (select item.id, embedded.embedding operator(extensions.<=>) asked as distance
         from public.item_embeddings as embedded
         join public.items as item on item.id = embedded.item_id
         where embedded.owner_id is null and embedded.from_named_board
           and exists (select from public.search_results as found where found.item_id = item.id)
           and item.duplicate_of is null
           and (match_items.kind is null or item.kind = match_items.kind)
         order by distance
         limit match_items."limit")
    )
    select item.id, 1 - nearest.distance, item.kind, item.title, item.organization, item.location, item.city,
           item.region, item.country, item.is_remote, item.work_mode, item.job_types, item.posted_at, item.salary_min,
           item.salary_max, item.salary_interval, item.currency, item.salary_yearly_min, item.salary_yearly_max,
           item.url, item.apply_url, item.description, item.skills, item.experience_years, item.data,
           item.first_seen_at, item.last_seen_at
    from nearest join public.items as item on item.id = nearest.id
    where nearest.distance <= max_distance
    order by nearest.distance, item.id
    limit match_items."limit";
end;
$$;
comment on function public.match_items is
    'Items, nearest first and each thing once: public items, the caller''s own, and those of user-named boards that '
    'a run of the caller found. query_embedding is an array of 256 numbers from the model of the embeddings; '
    'max_distance is from 0 (equal) to 2; limit is from 1 to 200.';

create function public.similar_items(item_id uuid, "limit" integer default 10) returns setof public.matched_item
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    item public.items;
begin
    if "limit" is null or "limit" not between 1 and 100 then
        raise sqlstate '22023' using message = 'limit must be an integer from 1 to 100';
    end if;
    select * into item from public.items as visible where visible.id = similar_items.item_id;
    if not found then
        raise sqlstate 'PT404' using message = 'item_id must be the id of an item that you may see';
    end if;
    return query
    select matched.*
    from public.item_embeddings as embedded
    cross join lateral public.match_items(embedded.embedding::text, item.kind, "limit" => similar_items."limit" + 1) as matched
    where embedded.item_id = similar_items.item_id
      and matched.item_id <> coalesce(item.duplicate_of, item.id)
    order by matched.similarity desc, matched.item_id
    limit similar_items."limit";
end;
$$;
comment on function public.similar_items is
    'Items of the same kind that the caller may see, most similar first: each thing once, without the thing itself. '
    'Empty until the item is embedded. limit is from 1 to 100.';

-- embeddings/access
-- Who may read embeddings and call their functions?
-- Calls: nothing.

revoke all on public.item_embeddings, worker.embedding_backfill, worker.near_duplicate_queue
    from public, anon, authenticated, service_role;
grant select on public.item_embeddings to authenticated, service_role;
alter table public.item_embeddings enable row level security;
alter table worker.embedding_backfill enable row level security;
alter table worker.near_duplicate_queue enable row level security;
create policy "Embeddings of public items and own items" on public.item_embeddings
    for select to authenticated using (owner_id is null or owner_id = (select auth.uid()));

revoke all on function
    worker.change_embedding_model(text), worker.check_embedding_model(text), worker.continue_embedding_backfill(integer),
    worker.near_pairs(uuid[]),
    public.worker_claim_embeddings(text, integer), public.worker_save_embeddings(text, timestamptz, jsonb),
    public.worker_fail_embeddings(timestamptz, jsonb), public.worker_near_duplicates(integer),
    public.worker_finish_near_duplicates(timestamptz, uuid[]), public.similar_items(uuid, integer),
    public.match_items(text, text, double precision, integer)
    from public, anon, authenticated, service_role;
grant execute on function
    public.worker_claim_embeddings(text, integer), public.worker_save_embeddings(text, timestamptz, jsonb),
    public.worker_fail_embeddings(timestamptz, jsonb), public.worker_near_duplicates(integer),
    public.worker_finish_near_duplicates(timestamptz, uuid[])
    to service_role;
grant execute on function
    public.similar_items(uuid, integer), public.match_items(text, text, double precision, integer)
    to authenticated;
