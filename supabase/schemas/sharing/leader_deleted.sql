-- What happens to followers and answered runs when their leader is deleted? What they need is kept, and the next claim
-- transfers it to them.
-- Calls: kernel/clock, sharing/leader_ended.

create function worker.leader_deleted() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    ended worker.ended_leaders;
begin
    if old.leader_run_id is not null or old.shared_run_id is not null or not (
        old.completed_at is null
        -- A run may be answered with it at this moment, because it is so recent; or one was.
        or old.completed_at > worker.now() - interval '1 hour' - (select freshness from worker.settings)
        or worker.has_dependents(old.id)
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
    -- Runs that it answers can get the results now. The next claim settles followers that need a new leader.
    if worker.has_answer(old, ended) and worker.settle_leader(ended) then
        delete from worker.ended_leaders as known where known.id = ended.id;
    end if;
    return null;
end;
$$;
comment on function worker.leader_deleted is
    'Keeps what other runs need of a deleted run: its results for the runs that it answered, its search for its '
    'followers. Does not wait for any of them.';

-- After the delete, because runs that the same statement deletes must get nothing. In upper case, because triggers fire
-- in the order of their names, and the triggers of foreign keys (RI_...) delete the sites and results.
create trigger "LEADER_DELETED" after delete on public.search_runs
    for each row execute function worker.leader_deleted();
