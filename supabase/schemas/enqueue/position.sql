-- Where does a new run go in the queue? Users take turns: it goes behind the other runs of its user, not behind those
-- of all users.
-- Calls: nothing.

create function worker.next_position(user_id uuid, priority smallint) returns bigint
language plpgsql set search_path = '' as $$
begin
    return greatest(
        (select min(run.position) from public.search_runs as run
         where run.priority = next_position.priority
           and run.status = 'pending' and run.run_after is null and run.leader_run_id is null),
        (select 1 - min(-run.position) from public.search_runs as run
         where run.user_id = next_position.user_id and run.priority = next_position.priority
           and run.status = 'pending' and run.run_after is null and run.leader_run_id is null),
        0
    );
end;
$$;
comment on function worker.next_position is
    'Returns the position of a user''s next run: behind the user''s own runs, not behind those of all users.';
