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
    'by claimed_until, is still valid. An embedding is an array of 256 numbers, or its text.';

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
