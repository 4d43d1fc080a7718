-- Equal searches share one. A run that finished a short while ago answers a new one at once; one that is active, the
-- leader, takes it as a follower; else it leads itself. So the cost grows with searches, not with users.
--
-- Nobody waits in a circle: an insert waits only while its transaction has enqueued nothing else, a user who cancels
-- waits for no other user's run, and a worker that ends one, or who deletes one, gives way.
--
-- What a follower costs at Realtime: its insert, an update for each site that its leader ends, one for its own end, and
-- one a minute at most while its leader is put off again and again. A run that is answered at once: its insert.

create function worker.serves(other public.search_runs, run public.search_runs) returns boolean
language sql stable set search_path = ''
return case
    when other.completed_at is null then
        other.leader_run_id is null and (other.run_after is null or other.started_at is not null)
        -- Or it can be told to ask for more, as long as there is no answer that it would go on after.
        and (coalesce(other.newer_than, '-infinity') <= coalesce(run.newer_than, '-infinity')
             or (other.status = 'pending'
                 and not exists (
                    select from public.search_run_sites as site
                    where site.run_id = other.id and site.completed_at is not null)
                 and not exists (select from worker.raw_collections as page where page.run_id = other.id)))
    else
        other.status = 'success' and other.shared_run_id is null and not run.fresh
        and other.completed_at > worker.now() - (select settings.freshness from worker.settings as settings)
        and coalesce(other.newer_than, '-infinity') <= coalesce(run.newer_than, '-infinity')
end;
comment on function worker.serves is
    'Whether another run of the same fingerprint answers a run at once, if it has finished, or can lead it.';

create function worker.share(run public.search_runs, may_wait boolean) returns public.search_runs
language plpgsql set search_path = '' as $$
declare
    lock_key bigint := hashtextextended('worker.share ' || run.fingerprint, 0);
    oldest_answer timestamptz := worker.now() - (select settings.freshness from worker.settings as settings);
    other_id uuid;
    other public.search_runs;
begin
    -- One decision at a time for equal searches: two that see no leader would both lead.
    if may_wait then
        perform pg_advisory_xact_lock(lock_key);
    elsif not pg_try_advisory_xact_lock(lock_key) then
        run.run_after := coalesce(run.run_after, worker.now());
        return run;
    end if;

    loop
        -- The conditions that indexes are for; worker.serves knows the others.
        select answer.id into other_id from public.search_runs as answer
        where answer.fingerprint = run.fingerprint and answer.completed_at > oldest_answer
          and answer.shared_run_id is null and worker.serves(answer, run)
        order by answer.completed_at desc
        limit 1;
        if not found then
            select leader.id into other_id from public.search_runs as leader
            where leader.fingerprint = run.fingerprint and leader.completed_at is null and leader.leader_run_id is null
              and (leader.run_after is null or leader.started_at is not null) and worker.serves(leader, run)
            -- Rather one that covers this run as it is, and of those the one with the least to do.
            order by coalesce(leader.newer_than, '-infinity') <= coalesce(run.newer_than, '-infinity') desc,
                     leader.newer_than desc nulls last
            limit 1;
        end if;
        if not found then
            run.run_after := null;
            return run;
        end if;

        if may_wait then
            select * into other from public.search_runs as held where held.id = other_id for no key update;
        else
            select * into other from public.search_runs as held where held.id = other_id for no key update skip locked;
            if not found then
                run.run_after := coalesce(run.run_after, worker.now());
                return run;
            end if;
        end if;
        -- Whoever held it may have ended, handed over or deleted it: then the next look sees what is instead.
        exit when other.id is not null and worker.serves(other, run);
    end loop;

    run.run_after := null;
    run.jobs_found := other.jobs_found;
    run.progress_current := other.progress_current;
    run.progress := other.progress;
    if other.completed_at is null then
        run.leader_run_id := other.id;
    else
        run.shared_run_id := other.id;
        run.status := other.status;
        run.completed_at := worker.now();
    end if;
    return run;
end;
$$;
comment on function worker.share is
    'Returns a run as it is to be written: answered, following, or ready to be searched. Unless it may wait for others '
    'that decide the same or that end the other run, it is due for promote_due_runs instead, which asks again.';

create function worker.last_success(user_id uuid, fingerprint text) returns timestamptz
language sql stable set search_path = ''
begin atomic
    -- In whole hours, so that users of one schedule still ask for the same.
    select date_trunc('hour', searched.started_at, 'UTC')
    from public.search_runs as last
    join public.search_runs as searched on searched.id = coalesce(last.shared_run_id, last.id)
    where last.user_id = last_success.user_id and last.fingerprint = last_success.fingerprint
      and last.status = 'success'
    order by last.completed_at desc
    limit 1;
end;
comment on function worker.last_success is
    'When the search began that gave a user all of the sites the last time; null if none did.';

create function worker.follow(run_ids uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    update public.search_runs as leader
    set priority = greatest(leader.priority, asking.priority),
        position = case when asking.comes_first then asking.position else leader.position end,
        newer_than = nullif(least(coalesce(leader.newer_than, '-infinity'), asking.newer_than), '-infinity')
    from (
        select asked.id, first.*, (first.priority, -first.position) > (asked.priority, -asked.position) as comes_first
        from (
            select run.leader_run_id, max(run.priority) as priority,
                   (array_agg(run.position order by run.priority desc, run.position))[1] as position,
                   min(coalesce(run.newer_than, '-infinity')) as newer_than
            from public.search_runs as run
            where run.id = any (follow.run_ids)
            group by run.leader_run_id
        ) as first
        join public.search_runs as asked on asked.id = first.leader_run_id
    ) as asking
    where leader.id = asking.id and leader.status = 'pending'
      and (asking.comes_first or asking.newer_than < coalesce(leader.newer_than, '-infinity'));
end;
comment on function worker.follow is
    'Lets pending leaders wait no longer than their new followers would, and ask for as much as these do.';

create function worker.tell_answered(run_ids uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    insert into public.run_events (run_id, event, data, created_at)
    select run.id, 'finished', jsonb_build_object('status', run.status, 'shared_run_id', run.shared_run_id), run.completed_at
    from public.search_runs as run
    where run.id = any (tell_answered.run_ids)
    order by run.id;
end;
comment on function worker.tell_answered is 'Writes the last event of runs that another one answers.';

create function worker.tell_followers(run_id uuid) returns void
language sql volatile set search_path = ''
begin atomic
    -- Whoever holds a follower is about to end it, and may be waiting for this leader.
    with told as (
        select follower.id from public.search_runs as follower
        where follower.leader_run_id = tell_followers.run_id
        for no key update skip locked
    )
    update public.search_runs as follower
    set jobs_found = leader.jobs_found, progress = leader.progress,
        progress_current = greatest(follower.progress_current, leader.progress_current)
    from told, public.search_runs as leader
    where follower.id = told.id and leader.id = tell_followers.run_id;
end;
comment on function worker.tell_followers is 'Gives followers the counts and the progress of their leader.';

-- Less than the 1 s after which Postgres looks for deadlocks (deadlock_timeout): between a user who ends several runs at
-- a time and who ends or deletes one of their leaders, it is the latter that gives way; a worker calls again.
create function worker.hold_followers(run_id uuid) returns void
language plpgsql set search_path = '' set lock_timeout = '500ms' as $$
begin
    perform from public.search_runs as follower
    where follower.leader_run_id = hold_followers.run_id
    order by follower.id
    for no key update;
end;
$$;
comment on function worker.hold_followers is
    'Locks the followers of a run that its worker ends; raises 55P03 (HTTP 500) rather than wait for long.';

create function worker.answer_followers(leader public.search_runs) returns void
language plpgsql set search_path = '' as $$
declare
    answered uuid[];
begin
    with ended as (
        update public.search_runs as follower
        set leader_run_id = null, shared_run_id = leader.id, status = leader.status, jobs_found = leader.jobs_found,
            progress_current = leader.progress_current, progress = leader.progress, error_code = leader.error_code,
            error_message = leader.error_message, completed_at = leader.completed_at
        where follower.leader_run_id = leader.id
        returning follower.id
    )
    select array_agg(ended.id) into answered from ended;
    perform worker.tell_answered(answered);
end;
$$;
comment on function worker.answer_followers is 'Ends the followers of a run as it has ended.';

create function worker.take_over(run_id uuid, former_id uuid) returns void
language sql volatile set search_path = ''
begin atomic
    insert into public.search_run_sites (
        run_id, site, position, status, jobs_found, attempts, progress, started_at, completed_at)
    select take_over.run_id, site.site, row_number() over (order by asked.ordinal, site.position),
           case when searched.is_completed then 'completed' else 'pending' end::public.site_status,
           (select count(*) from public.search_results as result
            where result.run_id = site.run_id and result.site = site.site),
           -- The next one has to be told from those whose pages are there.
           site.attempts,
           case when searched.is_completed then site.progress else worker.with_step(site.progress, 'queued') end,
           case when searched.is_completed then site.started_at end,
           case when searched.is_completed then site.completed_at end
    from public.search_run_sites as site
    join public.search_runs as run on run.id = take_over.run_id
    -- Equal searches may name the sites in another order.
    left join lateral worker.sites_of(run.kind, run.parameters) as asked on asked.site = site.site
    cross join lateral (select site.status = 'completed' as is_completed) as searched
    where site.run_id = take_over.former_id
    order by asked.ordinal, site.position;

    insert into public.search_results (run_id, item_id, site, page_number, position, created_at)
    select take_over.run_id, result.item_id, result.site, result.page_number, result.position, result.created_at
    from public.search_results as result
    where result.run_id = take_over.former_id
    order by result.created_at, result.position;
end;
comment on function worker.take_over is
    'Gives a follower sites and results of its own, as its leader has them: what is not completed is pending.';

create function worker.hand_over(former public.search_runs, followers uuid[]) returns void
language plpgsql set search_path = '' as $$
declare
    heir uuid;
begin
    select follower.id into heir from public.search_runs as follower
    where follower.id = any (followers)
    order by follower.priority desc, follower.position, follower.created_at, follower.id
    limit 1;
    if heir is null then
        return;
    end if;

    perform worker.take_over(heir, former.id);
    -- With what it was made of, so that it can be made anew, and gone on with.
    update worker.raw_collections as page set run_id = heir where page.run_id = former.id;
    update public.search_runs as run
    set leader_run_id = null, progress = jsonb_build_object('step', 'queued'),
        -- As the sites were asked, and as all followers need it.
        newer_than = former.newer_than,
        started_at = case
            when exists (select from worker.raw_collections as page where page.run_id = heir)
              or exists (select from public.search_run_sites as site where site.run_id = heir and site.status = 'completed')
            then former.started_at
        end,
        jobs_found = (select count(*) from public.search_results as result where result.run_id = heir)
    where run.id = heir;
    update public.search_runs as follower set leader_run_id = heir where follower.id = any (followers) and follower.id <> heir;
end;
$$;
comment on function worker.hand_over is
    'Makes the first of a run''s followers, which are locked, the leader of the others; it goes on where the former stopped.';

create function worker.end_sharing() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    followers uuid[];
begin
    if new.status in ('success', 'partial') or (new.status = 'failed' and not exists (
        select from public.search_run_sites as site where site.run_id = new.id and site.retryable
    )) then
        perform worker.answer_followers(new);
    else
        -- Not those that somebody else holds: two users who cancel all of their runs may each hold a follower of the other.
        followers := array(
            select follower.id from public.search_runs as follower
            where follower.leader_run_id = new.id
            for no key update skip locked);
        perform worker.hand_over(new, followers);
        if exists (select from public.search_runs as follower where follower.leader_run_id = new.id) then
            insert into worker.ended_leaders (run_id) values (new.id);
        end if;
    end if;
    return null;
end;
$$;
comment on function worker.end_sharing is
    'Answers the followers of a run that has ended, or lets them go on without it: what was cancelled, or failed in a way '
    'that may pass, says nothing to others.';

create trigger end_sharing after update on public.search_runs
    for each row
    when (old.completed_at is null and new.completed_at is not null and old.leader_run_id is null)
    execute function worker.end_sharing();

create function worker.free(followers uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    update public.search_runs as run set leader_run_id = null, run_after = worker.now() where run.id = any (free.followers);
    select worker.add_sites(free.followers);
end;
comment on function worker.free is 'Lets promote_due_runs decide anew about followers, which are locked.';

create function worker.free_followers() returns void
language plpgsql set search_path = '' as $$
declare
    leader uuid;
begin
    for leader in
        select ended.run_id from worker.ended_leaders as ended
        limit (select rescue_batch from worker.settings)
        for update skip locked
    loop
        perform worker.free(array(
            select follower.id from public.search_runs as follower
            where follower.leader_run_id = leader
            for no key update skip locked));
        delete from worker.ended_leaders as ended
        where ended.run_id = leader
          and not exists (select from public.search_runs as follower where follower.leader_run_id = leader);
    end loop;
end;
$$;
comment on function worker.free_followers is
    'Frees followers that were not handed over, because somebody held them when their leader ended.';

-- Gives way as worker.hold_followers does.
create function worker.bequeath() returns trigger
language plpgsql security definer set search_path = '' set lock_timeout = '500ms' as $$
declare
    followers uuid[];
    heir uuid;
begin
    followers := array(
        select follower.id from public.search_runs as follower
        where follower.leader_run_id = old.id
        order by follower.id
        for no key update);
    if old.completed_at is null then
        perform worker.hand_over(old, followers);
        return null;
    end if;
    perform worker.free(followers);

    perform from public.search_runs as answered
    where answered.shared_run_id = old.id
    order by answered.id
    for no key update;

    select answered.id into heir from public.search_runs as answered
    where answered.shared_run_id = old.id
    order by answered.created_at, answered.id
    limit 1;
    if heir is null then
        return null;
    end if;

    update public.search_run_sites as site set run_id = heir where site.run_id = old.id;
    update public.search_results as result set run_id = heir where result.run_id = old.id;
    update worker.raw_collections as page set run_id = heir where page.run_id = old.id;
    update public.search_runs as answered
    set shared_run_id = nullif(heir, answered.id),
        -- What it answers to others, and how far back, depends on how it was searched for.
        newer_than = case when answered.id = heir then old.newer_than else answered.newer_than end,
        started_at = case when answered.id = heir then old.started_at else answered.started_at end
    where answered.shared_run_id = old.id;
    return null;
end;
$$;
comment on function worker.bequeath is
    'Passes on what others need of a deleted run: its search to its first follower, its results to the first run that '
    'was answered with them. Raises 55P03 (HTTP 500) rather than wait for them for long.';

-- After the delete, because runs that the same statement deletes inherit nothing. In upper case, because triggers fire in
-- the order of their names: those of the foreign keys (RI_...) delete what there is to inherit.
create trigger "BEQUEATH" after delete on public.search_runs
    for each row
    when (old.leader_run_id is null and old.shared_run_id is null)
    execute function worker.bequeath();
