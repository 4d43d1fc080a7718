-- Is a run an import? The pages of an import come from a file: they say nothing about a site.
-- Calls: nothing.

create function worker.is_import(run_id uuid) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return (
    select exists (
        select from public.search_runs as run where run.id = is_import.run_id and run.source = 'import')
    );
end;
$$;
comment on function worker.is_import is 'Returns whether the results of a run come from a file.';
