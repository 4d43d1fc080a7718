-- How does a user enqueue, repeat, cancel and delete a search? With these functions.
-- Calls: nothing.

create function public.enqueue_search(
    kind text,
    parameters jsonb,
    client_context jsonb default null,
    idempotency_key text default null,
    fresh boolean default false
) returns public.search_runs
language plpgsql security invoker set search_path = '' as $$
#variable_conflict use_column
declare
    run public.search_runs;
begin
    insert into public.search_runs (kind, parameters, client_context, idempotency_key, fresh)
    values (enqueue_search.kind, enqueue_search.parameters, enqueue_search.client_context,
            enqueue_search.idempotency_key, enqueue_search.fresh)
    on conflict (user_id, idempotency_key) do nothing
    returning * into run;

    if run.id is null then
        select * into strict run from public.search_runs as existing
        where existing.user_id = (select auth.uid())
          and existing.idempotency_key = enqueue_search.idempotency_key;
    end if;
    return run;
end;
$$;
comment on function public.enqueue_search is
    'Adds a search of the signed-in user to the queue, or answers it at once with a recent equal one unless fresh '
    'is true. The same idempotency key returns the same run.';

create function public.rerun_search(run_id uuid) returns public.search_runs
language plpgsql security invoker set search_path = '' as $$
declare
    run public.search_runs;
begin
    if exists (select from public.search_runs as former
               where former.id = rerun_search.run_id and former.source = 'import') then
        raise sqlstate '22023' using message = 'run_id must be the id of a search: an import cannot be searched again';
    end if;
    insert into public.search_runs (workspace_id, kind, parameters, client_context, saved_search_id, fresh)
    select former.workspace_id, former.kind, former.parameters, former.client_context, former.saved_search_id, true
    from public.search_runs as former
    where former.id = rerun_search.run_id
    returning * into run;
    if run.id is null then
        raise sqlstate 'PT404' using message = 'run_id must be the id of one of your runs';
    end if;
    return run;
end;
$$;
comment on function public.rerun_search is
    'Adds the same search to the queue again, as a new run, and returns it. A run of a saved search, such as a scheduled '
    'one, gives its saved_search_id to the new run.';

create function public.cancel_search(run_id uuid) returns public.search_runs
language plpgsql security invoker set search_path = '' as $$
declare
    run public.search_runs;
begin
    update public.search_runs as asked
    set cancel_requested_at = now()
    where asked.id = cancel_search.run_id and asked.completed_at is null;

    select * into run from public.search_runs as ended where ended.id = cancel_search.run_id;
    if run.id is null then
        raise sqlstate 'PT404' using message = 'run_id must be the id of one of your runs';
    end if;
    return run;
end;
$$;
comment on function public.cancel_search is
    'Ends a pending or running run of the signed-in user at once, and returns it. A finished run stays as it is.';

create function public.delete_search(run_id uuid) returns public.search_runs
language plpgsql security invoker set search_path = '' as $$
declare
    run public.search_runs;
begin
    delete from public.search_runs as ended
    where ended.id = delete_search.run_id and ended.completed_at is not null
    returning * into run;
    if run.id is null and exists (select from public.search_runs as active where active.id = delete_search.run_id) then
        raise sqlstate 'PT409' using message = 'This search has not ended. Cancel it before you delete it.';
    elsif run.id is null then
        raise sqlstate 'PT404' using message = 'run_id must be the id of one of your runs';
    end if;
    return run;
end;
$$;
comment on function public.delete_search is
    'Deletes a finished run of the signed-in user with its results, and returns it. An active one raises PT409 (HTTP '
    '409). Other users keep what they share with it.';
