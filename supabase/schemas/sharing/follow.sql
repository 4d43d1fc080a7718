-- What changes for a leader that gets a follower, and for the followers when their leader moves on. A pending leader
-- takes the higher priority and the wider question of its followers. Followers get the counts and the progress of their
-- leader.
-- Calls: nothing.

create function worker.must_update_leader(run public.search_runs, leader public.search_runs) returns boolean
language sql immutable set search_path = ''
return leader.status = 'pending' and (
    (run.priority, -run.position) > (leader.priority, -leader.position)
    or coalesce(run.newer_than, '-infinity') < coalesce(leader.newer_than, '-infinity'));
comment on function worker.must_update_leader is
    'Whether a pending leader has to be told of a new follower: to come earlier, or to ask for more.';

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
        -- worker.share has locked them.
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
    'Lets pending leaders wait no longer than their new followers would, and ask for as much as these do.';

create function worker.copy_progress_to_followers(run_id uuid) returns void
language sql volatile set search_path = ''
begin atomic
    -- Not those that somebody holds, who may keep them for long: they are told at the next site.
    with told as (
        select follower.id from public.search_runs as follower
        where follower.leader_run_id = copy_progress_to_followers.run_id
        for no key update skip locked
    )
    update public.search_runs as follower
    set jobs_found = leader.jobs_found, progress = leader.progress,
        progress_current = greatest(follower.progress_current, leader.progress_current)
    from told, public.search_runs as leader
    where follower.id = told.id and leader.id = copy_progress_to_followers.run_id;
end;
comment on function worker.copy_progress_to_followers is 'Gives followers the counts and the progress of their leader.';
