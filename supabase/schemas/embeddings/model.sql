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
