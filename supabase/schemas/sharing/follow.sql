-- What does a new follower change for its leader, and what does a leader pass on to its followers? A pending leader
-- takes the higher priority and the earlier newer_than of its followers. Followers get the status, the counts and the
-- progress of their leader.
-- Calls: kernel/clock, kernel/counts.

create function worker.must_update_leader(run public.search_runs, leader public.search_runs) returns boolean
language sql immutable set search_path = ''
return leader.status = 'pending' and (
    (run.priority, -run.position) > (leader.priority, -leader.position)
    or coalesce(run.newer_than, '-infinity') < coalesce(leader.newer_than, '-infinity'));
comment on function worker.must_update_leader is
    'Returns whether a pending leader must change for a new follower: a higher place in the queue, or more results.';

create function worker.update_leaders(run_ids uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    with hurrying as materialized (
        select run.leader_run_id as id, max(run.priority) as priority,
               (array_agg(run.position order by run.priority desc, run.position))[1] as position,
               min(coalesce(run.newer_than, '-infinity')) as newer_than
        from public.search_runs as run
        join public.search_runs as leader on leader.id = run.leader_run_id
        where run.id = any (update_leaders.run_ids) and worker.must_update_leader(run, leader)
        group by run.leader_run_id
    ), held as materialized (
        -- worker.share has locked these leaders.
        select leader.id from public.search_runs as leader
        where leader.id = any (array(select hurrying.id from hurrying))
        for no key update skip locked
    )
    update public.search_runs as leader
    set priority = greatest(leader.priority, hurrying.priority),
        position = case when (hurrying.priority, -hurrying.position) > (leader.priority, -leader.position)
                        then hurrying.position else leader.position end,
        newer_than = nullif(least(coalesce(leader.newer_than, '-infinity'), hurrying.newer_than), '-infinity')
    from hurrying join held on held.id = hurrying.id
    where leader.id = held.id and leader.status = 'pending';
end;
comment on function worker.update_leaders is
    'Gives pending leaders the place in the queue of their new followers, if it is higher, and their newer_than, if '
    'it is earlier.';

create function worker.update_followers(run_id uuid, with_progress boolean default true) returns void
language plpgsql set search_path = '' as $$
begin
    -- Skip locked followers, which may stay locked for long: they are updated the next time.
    with unlocked as (
        select follower.id
        from public.search_runs as leader join public.search_runs as follower on follower.leader_run_id = leader.id
        where leader.id = update_followers.run_id and follower.leader_run_id = update_followers.run_id
          and (follower.status <> leader.status
               or (with_progress and (follower.progress, follower.jobs_found)
                                     is distinct from (leader.progress, leader.jobs_found)))
        -- Ordered, so that the planner uses the index even if nearly all runs follow one.
        order by follower.leader_run_id, follower.user_id
        limit (select worker.settled_at_once(known.items_found) from public.search_runs as known
               where known.id = update_followers.run_id)
        for no key update of follower skip locked
    )
    update public.search_runs as follower
    set status = leader.status, error_code = leader.error_code, error_message = leader.error_message,
        started_at = coalesce(follower.started_at, case leader.status when 'running' then worker.now() end),
        progress = leader.progress, progress_current = greatest(follower.progress_current, leader.progress_current),
        jobs_found = leader.jobs_found, items_found = things.items_found, new_items = things.new_items
    from public.search_runs as leader, worker.things_found(array(select unlocked.id from unlocked)) as things
    where follower.id = things.run_id and leader.id = update_followers.run_id;
end;
$$;
comment on function worker.update_followers is
    'Gives a batch of the followers of an active leader its status, its counts and its progress: those whose status is '
    'another one, or whose progress is.';

create function worker.live_followers(run_id uuid) returns integer
language plpgsql stable set search_path = '' as $$
begin
    return (
    select case when counted.followers <= settings.max_live_followers then counted.followers else 0 end
    from worker.settings as settings
    cross join lateral (
        select count(*) as followers
        from (
            -- Ordered, so that the planner uses the index even if nearly all runs follow one.
            select from public.search_runs as follower
            where follower.leader_run_id = live_followers.run_id
            order by follower.leader_run_id, follower.user_id
            limit settings.max_live_followers + 1
        ) as first
    ) as counted
    );
end;
$$;
comment on function worker.live_followers is
    'Returns how many followers get each progress of a run: none if it has more than max_live_followers.';
