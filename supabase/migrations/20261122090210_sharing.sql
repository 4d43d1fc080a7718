-- Equal searches share one. A run that finished a short while ago answers a new one at once; one that is active, the
-- leader, takes it as a follower; else it leads itself. So the cost grows with searches, not with users.
--
-- Nobody waits for another user's rows. One decision at a time is made for equal searches (worker.hold_search), and an insert
-- waits for it for a moment, and for nothing else; what cannot be decided then is due for promote_due_runs. A user who
-- cancels or deletes a run touches no other user's: worker.ended_leaders has what is to be done for them, and the next
-- claim does it. Who ends a run, or sees to its followers, passes over those that somebody holds: they come later.
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

create function worker.hold_search(fingerprint text, may_wait boolean) returns boolean
-- Less than the 1 s after which Postgres looks for deadlocks (deadlock_timeout).
language plpgsql set search_path = '' set lock_timeout = '500ms' as $$
declare
    lock_key bigint := hashtextextended('worker.hold_search ' || fingerprint, 0);
begin
    if pg_try_advisory_xact_lock(lock_key) then
        return true;
    elsif may_wait then
        perform pg_advisory_xact_lock(lock_key);
    end if;
    return may_wait;
exception when lock_not_available then
    return false;
end;
$$;
comment on function worker.hold_search is
    'Locks what is decided about equal searches until the transaction ends; returns whether it could, at once or within half a second. Two '
    'that see no leader would both lead; and who leaves a leader alone has to know that nobody is joining it.';

create function worker.comes_first(run public.search_runs, leader public.search_runs) returns boolean
language sql immutable set search_path = ''
return leader.status = 'pending' and (
    (run.priority, -run.position) > (leader.priority, -leader.position)
    or coalesce(run.newer_than, '-infinity') < coalesce(leader.newer_than, '-infinity'));
comment on function worker.comes_first is
    'Whether a pending leader has to be told of a new follower: to come earlier, or to ask for more.';

create function worker.share(run public.search_runs, may_wait boolean) returns public.search_runs
language plpgsql set search_path = '' as $$
declare
    oldest_answer timestamptz := worker.now() - (select settings.freshness from worker.settings as settings);
    other public.search_runs;
begin
    if not worker.hold_search(run.fingerprint, may_wait) then
        run.run_after := coalesce(run.run_after, worker.now());
        return run;
    end if;

    -- The conditions that indexes are for; worker.serves knows the others.
    select * into other from public.search_runs as answer
    where answer.fingerprint = run.fingerprint and answer.completed_at > oldest_answer
      and answer.shared_run_id is null and worker.serves(answer, run)
    order by answer.completed_at desc
    limit 1;
    if not found then
        select * into other from public.search_runs as leader
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

    if other.completed_at is null and worker.comes_first(run, other) then
        select * into other from public.search_runs as held where held.id = other.id for no key update skip locked;
        if not found or not worker.serves(other, run) then
            run.run_after := coalesce(run.run_after, worker.now());
            return run;
        end if;
    end if;

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
    'Returns a run as it is to be written: answered, following, or ready to be searched. While others decide the same, or hold a '
    'leader that would have to be told, it is due for promote_due_runs instead, which asks again.';

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
    with hurrying as materialized (
        select run.leader_run_id as id, max(run.priority) as priority,
               (array_agg(run.position order by run.priority desc, run.position))[1] as position,
               min(coalesce(run.newer_than, '-infinity')) as newer_than
        from public.search_runs as run
        join public.search_runs as leader on leader.id = run.leader_run_id
        where run.id = any (follow.run_ids) and worker.comes_first(run, leader)
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
    -- Not those that somebody holds, who may keep them for long: they are told at the next site.
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

create function worker.answer_followers(leader public.search_runs, followers uuid[]) returns void
language plpgsql set search_path = '' as $$
begin
    update public.search_runs as follower
    set leader_run_id = null, shared_run_id = leader.id, status = leader.status, jobs_found = leader.jobs_found,
        progress_current = leader.progress_current, progress = leader.progress, error_code = leader.error_code,
        error_message = leader.error_message, completed_at = leader.completed_at
    where follower.id = any (followers);
    perform worker.tell_answered(followers);
end;
$$;
comment on function worker.answer_followers is 'Ends followers of a run, which are locked, as it has ended.';

create function worker.is_needed(run_id uuid, by_followers boolean default true, by_answered boolean default true)
returns boolean
language sql stable set search_path = ''
-- In an order, so that the index is searched, also where nearly all runs follow one.
return (by_followers and coalesce((
    select true from public.search_runs as run
    where run.leader_run_id = is_needed.run_id
    order by run.leader_run_id, run.user_id
    limit 1), false))
or (by_answered and coalesce((
    select true from public.search_runs as run
    where run.shared_run_id = is_needed.run_id
    order by run.shared_run_id, run.user_id
    limit 1), false));
comment on function worker.is_needed is 'Whether runs follow a run, or were answered with it.';

create function worker.former_sites(ended worker.ended_leaders) returns setof public.search_run_sites
language sql stable set search_path = ''
begin atomic
    select site.* from public.search_run_sites as site where site.run_id = ended.run_id and ended.former is null
    union all
    select kept.* from jsonb_populate_recordset(null::public.search_run_sites, ended.sites) as kept;
end;
comment on function worker.former_sites is 'The sites of a leader that has ended, or was deleted.';

create function worker.former_results(ended worker.ended_leaders) returns setof public.search_results
language sql stable set search_path = ''
begin atomic
    select result.* from public.search_results as result where result.run_id = ended.run_id and ended.former is null
    union all
    select kept.* from jsonb_populate_recordset(null::public.search_results, ended.results) as kept
    where exists (select from public.items as item where item.id = kept.item_id);
end;
comment on function worker.former_results is 'The results of a leader that has ended, or was deleted.';

create function worker.inherit(heir uuid, ended worker.ended_leaders) returns void
language sql volatile set search_path = ''
begin atomic
    insert into public.search_results (run_id, item_id, site, page_number, position, created_at)
    select inherit.heir, result.item_id, result.site, result.page_number, result.position, result.created_at
    from worker.former_results(inherit.ended) as result
    order by result.created_at, result.position;

    -- With what it was made of, so that it can be read again, and the search resumed.
    update worker.raw_collections as page set run_id = inherit.heir where page.run_id = (inherit.ended).run_id;
end;
comment on function worker.inherit is 'Gives a run the results and the pages of a leader that has ended, or was deleted.';

create function worker.take_over(run_id uuid, ended worker.ended_leaders) returns void
language sql volatile set search_path = ''
begin atomic
    select worker.inherit(take_over.run_id, take_over.ended);

    insert into public.search_run_sites (
        run_id, site, position, status, jobs_found, attempts, progress, started_at, completed_at)
    select take_over.run_id, site.site, row_number() over (order by asked.ordinal, site.position),
           case when searched.is_completed then 'completed' else 'pending' end::public.site_status,
           (select count(*) from public.search_results as result
            where result.run_id = take_over.run_id and result.site = site.site),
           -- The next one has to be told from those whose pages are there.
           site.attempts,
           case when searched.is_completed then site.progress else worker.with_step(site.progress, 'queued') end,
           case when searched.is_completed then site.started_at end,
           case when searched.is_completed then site.completed_at end
    from worker.former_sites(take_over.ended) as site
    join public.search_runs as run on run.id = take_over.run_id
    -- Equal searches may name the sites in another order.
    left join lateral worker.sites_of(run.kind, run.parameters) as asked on asked.site = site.site
    cross join lateral (select site.status = 'completed' as is_completed) as searched
    order by asked.ordinal, site.position;
end;
comment on function worker.take_over is
    'Gives a follower the sites and results of its leader, which has ended: what is not completed is pending.';

create function worker.free(followers uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    update public.search_runs as run set leader_run_id = null, run_after = worker.now() where run.id = any (free.followers);
    select worker.add_sites(free.followers);
end;
comment on function worker.free is 'Lets promote_due_runs decide again about followers, which are locked.';

create function worker.hand_over(former public.search_runs, followers uuid[], ended worker.ended_leaders) returns void
language plpgsql set search_path = '' as $$
declare
    heir uuid := followers[1];
begin
    if heir is null then
        return;
    end if;
    -- Somebody may have begun to search for the same since then.
    if ended.is_handed_over or exists (
        select from public.search_runs as leader
        where leader.fingerprint = former.fingerprint and leader.newer_than is not distinct from former.newer_than
          and leader.completed_at is null and leader.leader_run_id is null
          and (leader.run_after is null or leader.started_at is not null)
    ) then
        perform worker.free(followers);
        return;
    end if;

    perform worker.take_over(heir, ended);
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
    update worker.ended_leaders as known set is_handed_over = true where known.id = ended.id;
end;
$$;
comment on function worker.hand_over is
    'Makes the first of a run''s followers, which are locked, the leader of the others; it continues where the former stopped.';

create function worker.bequeath_answer(former public.search_runs, runs uuid[], ended worker.ended_leaders) returns void
language plpgsql set search_path = '' as $$
declare
    heir uuid := runs[1];
begin
    if heir is null then
        return;
    end if;
    perform worker.inherit(heir, ended);
    insert into public.search_run_sites
    select (jsonb_populate_record(searched, jsonb_build_object('run_id', heir, 'id', gen_random_uuid()))).*
    from worker.former_sites(ended) as searched;
    update public.search_runs as answered
    set shared_run_id = nullif(heir, answered.id),
        -- What it answers to others, and how far back, depends on how it was searched for.
        newer_than = case when answered.id = heir then former.newer_than else answered.newer_than end,
        started_at = case when answered.id = heir then former.started_at else answered.started_at end
    where answered.id = any (runs);
end;
$$;
comment on function worker.bequeath_answer is
    'Gives the results of a deleted run to the first of those runs that were answered with it, which are locked.';

create function worker.is_answer(former public.search_runs, ended worker.ended_leaders) returns boolean
language sql stable set search_path = ''
return former.status in ('success', 'partial') or (former.status = 'failed' and not exists (
    select from worker.former_sites(ended) as site where site.retryable));
comment on function worker.is_answer is
    'Whether a run has ended in a way that is its followers'' end as well: what was cancelled, or failed in a way that may '
    'pass, says nothing to others.';

create function worker.settle(ended worker.ended_leaders) returns boolean
language plpgsql set search_path = '' as $$
declare
    is_deleted boolean := ended.former is not null;
    is_held boolean := worker.hold_search(ended.fingerprint, may_wait => false);
    former public.search_runs;
    followers uuid[];
    answered uuid[];
begin
    if is_deleted then
        former := jsonb_populate_record(null::public.search_runs, ended.former);
    else
        select * into former from public.search_runs as known where known.id = ended.run_id;
        if not found then  -- deleted since then, and noted as such
            return true;
        elsif former.completed_at is null then  -- put off, while somebody was joining it
            perform worker.tell_followers(former.id);
            return is_held;
        end if;
    end if;

    if worker.is_needed(ended.run_id, by_answered => is_deleted) then
        followers := array(
            select follower.id from public.search_runs as follower
            where follower.leader_run_id = ended.run_id
            order by follower.priority desc, follower.position, follower.created_at, follower.id
            limit 1000
            for no key update skip locked);
        if worker.is_answer(former, ended) then
            perform worker.answer_followers(former, followers);
            if is_deleted then
                answered := array(
                    select run.id from public.search_runs as run
                    where run.shared_run_id = ended.run_id
                    order by run.created_at, run.id
                    limit 1000
                    for no key update skip locked);
                perform worker.bequeath_answer(former, answered, ended);
            end if;
        elsif is_held then
            perform worker.hand_over(former, followers, ended);
        end if;
    end if;

    -- Who is joining it now is not seen, but holds the search.
    if not is_held or worker.is_needed(ended.run_id, by_answered => is_deleted) then
        return false;
    end if;
    if is_deleted then
        delete from worker.raw_collections as page where page.run_id = ended.run_id;
    end if;
    return true;
end;
$$;
comment on function worker.settle is
    'Sees to those who need what a leader has found that ended or was deleted, a bounded number of them: ends its followers as it has '
    'ended, or lets them continue without it; and passes its results on. Passes over those that somebody holds; returns '
    'whether nothing is left to do.';

create function worker.settle_followers() returns void
language plpgsql set search_path = '' as $$
declare
    ended worker.ended_leaders;
begin
    for ended in
        select known.* from worker.ended_leaders as known
        order by known.tried_at
        limit (select rescue_batch from worker.settings)
        for update skip locked
    loop
        if worker.settle(ended) then
            delete from worker.ended_leaders as known where known.id = ended.id;
        else
            update worker.ended_leaders as known set tried_at = worker.now() where known.id = ended.id;
        end if;
    end loop;
end;
$$;
comment on function worker.settle_followers is
    'Sees to what leaders that ended or were deleted have left, a bounded number at a time.';

create function worker.end_sharing() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    ended worker.ended_leaders;
begin
    ended.run_id := new.id;
    ended.fingerprint := new.fingerprint;
    -- A worker ends a run with an answer; without one, a user may, whom others are not to wait for.
    if not worker.is_answer(new, ended) or not worker.settle(ended) then
        insert into worker.ended_leaders (run_id, fingerprint, tried_at) values (new.id, new.fingerprint, worker.now());
    end if;
    return null;
end;
$$;
comment on function worker.end_sharing is
    'Answers the followers of a run that has ended, but for those that somebody holds; these, and all of them where there is no '
    'answer, are left to the next claim.';

create trigger end_sharing after update on public.search_runs
    for each row
    when (old.completed_at is null and new.completed_at is not null and old.leader_run_id is null)
    execute function worker.end_sharing();

create function worker.bequeath() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    ended worker.ended_leaders;
begin
    if old.leader_run_id is not null or old.shared_run_id is not null or not (
        old.completed_at is null
        -- So young that somebody may be answered with it at this moment; or somebody was.
        or old.completed_at > worker.now() - interval '1 hour' - (select freshness from worker.settings)
        or worker.is_needed(old.id)
    ) then
        delete from worker.raw_collections as page where page.run_id = old.id;
        return null;
    end if;

    insert into worker.ended_leaders (run_id, fingerprint, former, sites, results, tried_at)
    values (
        old.id, old.fingerprint, to_jsonb(old),
        (select jsonb_agg(to_jsonb(searched)) from public.search_run_sites as searched where searched.run_id = old.id),
        (select jsonb_agg(to_jsonb(result)) from public.search_results as result where result.run_id = old.id),
        worker.now())
    returning * into ended;
    -- Whose search has ended can be given its results now; who waits for it is seen to by the next claim.
    if worker.is_answer(old, ended) and worker.settle(ended) then
        delete from worker.ended_leaders as known where known.id = ended.id;
    end if;
    return null;
end;
$$;
comment on function worker.bequeath is
    'Keeps what others need of a deleted run: its results for those who were answered with them, its search for its followers. '
    'Waits for none of them.';

-- After the delete, because runs that the same statement deletes inherit nothing. In upper case, because triggers fire in
-- the order of their names: those of the foreign keys (RI_...) delete what there is to inherit.
create trigger "BEQUEATH" after delete on public.search_runs
    for each row execute function worker.bequeath();
