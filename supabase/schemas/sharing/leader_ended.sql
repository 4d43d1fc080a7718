-- What happens to followers when their leader ends? If it finished, they finish with it. If it was cancelled, or failed
-- with a temporary error, the first follower becomes the leader of the others and continues the search. No
-- transaction waits for locked followers: the next claim settles the rest.
-- Calls: kernel/clock, kernel/counts, sharing/equal_searches, sharing/follow, sharing/answer, sharing/hand_over.

create function worker.has_answer(former public.search_runs, ended worker.ended_leaders) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return former.status in ('success', 'partial') or (former.status = 'failed' and not exists (
        select from worker.ended_leader_sites(ended) as site where site.retryable));
end;
$$;
comment on function worker.has_answer is
    'Returns whether the end of a run is also the end of its followers. A cancelled run, or one that failed and may '
    'succeed later, is no answer for other users.';

create function worker.has_dependents(run_id uuid, by_followers boolean default true, by_answered boolean default true)
returns boolean
language plpgsql stable set search_path = '' as $$
begin
    -- Ordered, so that the planner uses the index even if nearly all runs follow one.
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
end;
$$;
comment on function worker.has_dependents is 'Returns whether runs follow a run, or were answered with it.';

create function worker.settle_leader(ended worker.ended_leaders) returns boolean
language plpgsql set search_path = '' as $$
declare
    is_deleted boolean := ended.former is not null;
    is_held boolean := worker.lock_fingerprint(ended.fingerprint, may_wait => false);
    former public.search_runs;
    followers uuid[];
    answered uuid[];
begin
    -- The usual case. A run that is joining it now is not visible yet, but holds the lock on the fingerprint.
    if is_held and not is_deleted and not worker.has_dependents(ended.run_id, by_answered => false) then
        return true;
    end if;

    if is_deleted then
        former := jsonb_populate_record(null::public.search_runs, ended.former);
    else
        select * into former from public.search_runs as known where known.id = ended.run_id;
        if not found then  -- deleted since then: worker.leader_deleted has a row of its own
            return true;
        elsif former.completed_at is null then  -- deferred while a run was joining it
            perform worker.update_followers(former.id);
            return is_held;
        end if;
    end if;

    if worker.has_dependents(ended.run_id, by_answered => is_deleted) then
        followers := array(
            select follower.id from public.search_runs as follower
            where follower.leader_run_id = ended.run_id
            order by follower.priority desc, follower.position, follower.created_at, follower.id
            limit worker.settled_at_once(former.items_found)
            for no key update skip locked);
        if worker.has_answer(former, ended) then
            perform worker.finish_followers(former, followers);
            if is_deleted then
                answered := array(
                    select run.id from public.search_runs as run
                    where run.shared_run_id = ended.run_id
                    order by run.created_at, run.id
                    limit worker.settled_at_once(former.items_found)
                    for no key update skip locked);
                perform worker.transfer_answer(former, answered, ended);
            end if;
        elsif is_held then
            perform worker.promote_follower(former, followers, ended);
        end if;
    end if;

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
    'Settles a batch of the runs that depend on a leader that has ended or was deleted: ends its followers with it, or '
    'lets them continue without it, and transfers its results. Skips locked runs. Returns whether nothing is left '
    'to do.';

create function worker.settle_ended_leaders() returns void
language plpgsql set search_path = '' as $$
declare
    ended worker.ended_leaders;
    until timestamptz := clock_timestamp() + interval '1 second';
begin
    for ended in
        select known.* from worker.ended_leaders as known
        order by known.tried_at
        limit (select rescue_batch from worker.settings)
        for update skip locked
    loop
        exit when clock_timestamp() > until;
        if worker.settle_leader(ended) then
            delete from worker.ended_leaders as known where known.id = ended.id;
        else
            update worker.ended_leaders as known set tried_at = worker.now() where known.id = ended.id;
        end if;
    end loop;
end;
$$;
comment on function worker.settle_ended_leaders is 'Settles leaders in worker.ended_leaders, for about a second; the next claim continues.';

create function worker.leader_ended() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    ended worker.ended_leaders;
begin
    ended.run_id := new.id;
    ended.fingerprint := new.fingerprint;
    -- Without an answer, a user may have ended it, whose request must not wait for other users' rows. One call may end
    -- many leaders, and has at most eight seconds.
    if not worker.has_answer(new, ended) or clock_timestamp() > statement_timestamp() + interval '1 second'
       or not worker.settle_leader(ended) then
        insert into worker.ended_leaders (run_id, fingerprint, tried_at) values (new.id, new.fingerprint, worker.now());
    end if;
    return null;
end;
$$;
comment on function worker.leader_ended is
    'Ends the followers of a run that has ended. What cannot be done at once (locked followers, no answer, or after a '
    'second) is left to the next claim.';

create trigger leader_ended after update on public.search_runs
    for each row
    when (old.completed_at is null and new.completed_at is not null and old.leader_run_id is null)
    execute function worker.leader_ended();
