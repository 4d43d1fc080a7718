-- Where does a new run go in the queue? Users take turns: it goes behind the other runs of its user, not behind those
-- of all users.
-- Calls: nothing.

create function worker.next_position(user_id uuid, priority smallint) returns bigint
language plpgsql set search_path = '' as $$
begin
    return greatest(
        -- Not min(): before the table is first analyzed, PostgreSQL 15 would read all runs of the queue for it.
        (select run.position from public.search_runs as run
         where run.priority = next_position.priority
           and run.status = 'pending' and run.run_after is null and run.leader_run_id is null
         order by run.position limit 1),
        (select 1 + run.position from public.search_runs as run
         where run.user_id = next_position.user_id and run.priority = next_position.priority
           and run.status = 'pending' and run.run_after is null and run.leader_run_id is null
         order by -run.position limit 1),
        0
    );
end;
$$;
comment on function worker.next_position is
    'Returns the position of a user''s next run: behind the user''s own runs, not behind those of all users.';
