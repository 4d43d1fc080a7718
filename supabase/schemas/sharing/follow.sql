-- What does a new follower change for its leader, and what does a leader pass on to its followers? A pending leader
-- takes the higher priority and the earlier newer_than of its followers. Followers get the counts and the progress of
-- their leader.
-- Calls: kernel/counts.

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

create function worker.copy_progress_to_followers(run_id uuid) returns void
language sql volatile set search_path = ''
begin atomic
    -- Skip locked followers, which may stay locked for long: they get the progress at the next site.
    with unlocked as (
        select follower.id from public.search_runs as follower
        where follower.leader_run_id = copy_progress_to_followers.run_id
        for no key update skip locked
    )
    update public.search_runs as follower
    set jobs_found = leader.jobs_found, progress = leader.progress,
        progress_current = greatest(follower.progress_current, leader.progress_current),
        items_found = things.items_found, new_items = things.new_items
    from public.search_runs as leader, worker.things_found(array(select unlocked.id from unlocked)) as things
    where follower.id = things.run_id and leader.id = copy_progress_to_followers.run_id;
end;
comment on function worker.copy_progress_to_followers is
    'Copies the counts and the progress of a leader to its followers.';
