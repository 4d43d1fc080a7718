-- For which user may a ready run start? For its owner, otherwise for the owner of a follower, who has fewer than
-- max_running_per_user runs under way.
-- Calls: nothing.

create function worker.users_with_capacity(run_ids uuid[], full_users uuid[], may_wait boolean)
returns table (run_id uuid, user_id uuid, asked uuid[])
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    most integer := (select max_running_per_user from worker.settings);
    countable uuid[];
    charged uuid[] := array[]::uuid[];
    ready record;
    asking uuid;
begin
    if most is null then
        return query
        select run.id, run.user_id, array[run.user_id] from public.search_runs as run where run.id = any (run_ids);
        return;
    end if;
    -- Serialize claims that start runs of the same users, so that each one counts the others. In the order of the ids,
    -- and without waiting once a claim holds such locks, to avoid deadlocks.
    with ready as materialized (
        select distinct run.user_id, hashtextextended('worker.users_with_capacity ' || run.user_id, 0) as key
        from public.search_runs as run
        where run.id = any (run_ids)
        order by run.user_id
    )
    select coalesce(array_agg(ready.user_id), '{}') into countable from ready
    where case when may_wait then pg_advisory_xact_lock(ready.key) is not null
               else pg_try_advisory_xact_lock(ready.key) end;

    for ready in
        select run.id, run.user_id from public.search_runs as run
        where run.id = any (run_ids)
        order by run.priority desc, run.position
    loop
        run_id := ready.id;
        user_id := null;
        asked := array[ready.user_id];
        loop
            foreach asking in array asked loop
                if asking <> all (countable) and asking <> ready.user_id
                   and pg_try_advisory_xact_lock(hashtextextended('worker.users_with_capacity ' || asking, 0)) then
                    countable := countable || asking;
                end if;
                if asking = any (countable) and cardinality(array_positions(charged, asking)) + (
                    select count(*) from worker.leases as lease where lease.user_id = asking
                ) < most then
                    user_id := asking;
                    charged := charged || asking;
                    exit;
                end if;
            end loop;
            exit when user_id is not null or cardinality(asked) > 1;
            asked := asked || array(
                select distinct follower.user_id from public.search_runs as follower
                where follower.leader_run_id = ready.id and follower.user_id <> all (full_users || ready.user_id)
                order by follower.user_id
                limit 10);
            exit when cardinality(asked) = 1;
        end loop;
        return next;
    end loop;
end;
$$;
comment on function worker.users_with_capacity is
    'Returns for each ready run, in queue order, a user for whom it may start within max_running_per_user: its '
    'owner, otherwise one of its followers'' owners, up to ten at a time; null if there is none. asked are the '
    'users who were checked. If it may not wait, users whom another claim is counting have no capacity.';
