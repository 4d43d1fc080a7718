-- How does a user repeat a saved search, and see how it goes?
-- Calls: nothing.

create function public.run_saved_search(saved_search_id uuid, fresh boolean default true) returns public.search_runs
language plpgsql security invoker set search_path = '' as $$
declare
    run public.search_runs;
begin
    insert into public.search_runs (workspace_id, kind, parameters, saved_search_id, fresh)
    select saved.workspace_id, saved.kind, saved.parameters, saved.id, run_saved_search.fresh
    from public.saved_searches as saved
    where saved.id = run_saved_search.saved_search_id
    returning * into run;
    if run.id is null then
        raise sqlstate 'PT404' using message = 'saved_search_id must be the id of one of your saved searches';
    end if;
    return run;
end;
$$;
comment on function public.run_saved_search is
    'Adds a saved search to the queue now, and returns the run. With fresh false, a recent equal run answers it.';
