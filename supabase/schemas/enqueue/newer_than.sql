-- Which results does a scheduled repeat ask for? Those since the last success of the same search.
-- Calls: nothing.

create function worker.last_success(user_id uuid, fingerprint text) returns timestamptz
language plpgsql stable set search_path = '' as $$
begin
    return (
    -- In whole hours, so that runs of different users with the same schedule are equal.
    select date_trunc('hour', searched.started_at, 'UTC')
    from public.search_runs as last
    join public.search_runs as searched on searched.id = coalesce(last.shared_run_id, last.id)
    where last.user_id = last_success.user_id and last.fingerprint = last_success.fingerprint
      and last.status = 'success'
    order by last.completed_at desc
    limit 1
    );
end;
$$;
comment on function worker.last_success is
    'Returns when the search began that last gave a user the results of all sites; null if there was none.';
