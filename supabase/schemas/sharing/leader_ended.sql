-- What happens to followers when their leader ends? If it has an answer, they end with it. If it was cancelled, or failed
-- in a way that may succeed later, the first follower becomes the leader of the others and continues the search. Nobody
-- waits for rows that somebody else holds: the next claim does the rest.
-- Calls: kernel/clock, sharing/equal_searches, sharing/follow, sharing/answer, sharing/hand_over.

create function worker.has_answer(former public.search_runs, ended worker.ended_leaders) returns boolean
language sql stable set search_path = ''
return former.status in ('success', 'partial') or (former.status = 'failed' and not exists (
    select from worker.ended_leader_sites(ended) as site where site.retryable));
comment on function worker.has_answer is
    'Whether a run has ended in a way that is its followers'' end as well: what was cancelled, or failed in a way that may '
    'pass, says nothing to others.';

create function worker.has_dependents(run_id uuid, by_followers boolean default true, by_answered boolean default true)
returns boolean
language sql stable set search_path = ''
-- In an order, so that the index is searched, also where nearly all runs follow one.
return (by_followers and coalesce((
    select true from public.search_runs as run
    where run.leader_run_id = has_dependents.run_id
    order by run.leader_run_id, run.user_id
    limit 1), false))
or (by_answered and coalesce((
    select true from public.search_runs as run
    where run.shared_run_id = has_dependents.run_id
    order by run.shared_run_id, run.user_id
    limit 1), false));
comment on function worker.has_dependents is 'Whether runs follow a run, or were answered with it.';

create function worker.settle_leader(ended worker.ended_leaders) returns boolean
language plpgsql set search_path = '' as $$
declare
    is_deleted boolean := ended.former is not null;
    is_held boolean := worker.lock_fingerprint(ended.fingerprint, may_wait => false);
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
            perform worker.copy_progress_to_followers(former.id);
            return is_held;
        end if;
    end if;

    if worker.has_dependents(ended.run_id, by_answered => is_deleted) then
        followers := array(
            select follower.id from public.search_runs as follower
            where follower.leader_run_id = ended.run_id
            order by follower.priority desc, follower.position, follower.created_at, follower.id
            limit 1000
            for no key update skip locked);
        if worker.has_answer(former, ended) then
            perform worker.finish_followers(former, followers);
            if is_deleted then
                answered := array(
                    select run.id from public.search_runs as run
                    where run.shared_run_id = ended.run_id
                    order by run.created_at, run.id
                    limit 1000
                    for no key update skip locked);
                perform worker.transfer_answer(former, answered, ended);
            end if;
        elsif is_held then
            perform worker.promote_follower(former, followers, ended);
        end if;
    end if;

    -- Who is joining it now is not seen, but holds the search.
    if not is_held or worker.has_dependents(ended.run_id, by_answered => is_deleted) then
        return false;
    end if;
    if is_deleted then
        delete from worker.raw_collections as page where page.run_id = ended.run_id;
    end if;
    return true;
end;
$$;
comment on function worker.settle_leader is
    'Sees to those who need what a leader has found that ended or was deleted, a bounded number of them: ends its followers as it has '
    'ended, or lets them continue without it; and passes its results on. Passes over those that somebody holds; returns '
    'whether nothing is left to do.';

create function worker.settle_ended_leaders() returns void
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
        if worker.settle_leader(ended) then
            delete from worker.ended_leaders as known where known.id = ended.id;
        else
            update worker.ended_leaders as known set tried_at = worker.now() where known.id = ended.id;
        end if;
    end loop;
end;
$$;
comment on function worker.settle_ended_leaders is
    'Sees to what leaders that ended or were deleted have left, a bounded number at a time.';

create function worker.leader_ended() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    ended worker.ended_leaders;
begin
    ended.run_id := new.id;
    ended.fingerprint := new.fingerprint;
    -- A worker ends a run with an answer; without one, a user may, whom others are not to wait for.
    if not worker.has_answer(new, ended) or not worker.settle_leader(ended) then
        insert into worker.ended_leaders (run_id, fingerprint, tried_at) values (new.id, new.fingerprint, worker.now());
    end if;
    return null;
end;
$$;
comment on function worker.leader_ended is
    'Answers the followers of a run that has ended, but for those that somebody holds; these, and all of them where there is no '
    'answer, are left to the next claim.';

create trigger leader_ended after update on public.search_runs
    for each row
    when (old.completed_at is null and new.completed_at is not null and old.leader_run_id is null)
    execute function worker.leader_ended();
