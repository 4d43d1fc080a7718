-- Where in the queue does a new run go? Users take turns: the next run of a user goes behind his own, not behind those of
-- everybody else.
-- Calls: nothing.

create function worker.next_position(user_id uuid, priority smallint) returns bigint
language sql volatile set search_path = ''
return greatest(
    (select min(run.position) from public.search_runs as run
     where run.priority = next_position.priority
       and run.status = 'pending' and run.run_after is null and run.leader_run_id is null),
    (select 1 - min(-run.position) from public.search_runs as run
     where run.user_id = next_position.user_id and run.priority = next_position.priority
       and run.status = 'pending' and run.run_after is null and run.leader_run_id is null),
    0
);
comment on function worker.next_position is
    'Fair by construction: a user''s next run goes behind his own, not behind everybody else''s.';
