-- Which run searches? If an equal run has finished recently, it answers the new run at once. If an equal run is active,
-- the new run follows it. Otherwise the new run searches itself.
-- Calls: kernel/clock, kernel/counts, sharing/equal_searches, sharing/follow.

create function worker.can_serve(other public.search_runs, run public.search_runs) returns boolean
language sql stable set search_path = ''
return case
    when other.completed_at is null then
        other.leader_run_id is null and (other.run_after is null or other.started_at is not null)
        -- Or its newer_than can still change, because no page has been saved that it would continue after.
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
comment on function worker.can_serve is
    'Returns whether another run of the same fingerprint answers a run at once, if it has finished, or can lead it, '
    'if it is active.';

create function worker.share(run public.search_runs, may_wait boolean) returns public.search_runs
language plpgsql set search_path = '' as $$
declare
    oldest_answer timestamptz := worker.now() - (select settings.freshness from worker.settings as settings);
    other public.search_runs;
begin
    if not worker.lock_fingerprint(run.fingerprint, may_wait) then
        run.run_after := coalesce(run.run_after, worker.now());
        return run;
    end if;

    -- The conditions that use indexes; worker.can_serve checks the others.
    select * into other from public.search_runs as answer
    where answer.fingerprint = run.fingerprint and answer.completed_at > oldest_answer
      and answer.shared_run_id is null and worker.can_serve(answer, run)
    order by answer.completed_at desc
    limit 1;
    if not found then
        select * into other from public.search_runs as leader
        where leader.fingerprint = run.fingerprint and leader.completed_at is null and leader.leader_run_id is null
          and (leader.run_after is null or leader.started_at is not null) and worker.can_serve(leader, run)
        -- Prefer a leader that covers this run without a change, and of those the one with the least work.
        order by coalesce(leader.newer_than, '-infinity') <= coalesce(run.newer_than, '-infinity') desc,
                 leader.newer_than desc nulls last
        limit 1;
    end if;
    if not found then
        run.run_after := null;
        return run;
    end if;

    if other.completed_at is null and worker.must_update_leader(run, other) then
        select * into other from public.search_runs as held where held.id = other.id for no key update skip locked;
        if not found or not worker.can_serve(other, run) then
            run.run_after := coalesce(run.run_after, worker.now());
            return run;
        end if;
    end if;

    run.run_after := null;
    run.jobs_found := other.jobs_found;
    select things.* into run.items_found, run.new_items
    from worker.count_things(other.id, worker.runs_shown_before(run)) as things;
    run.progress_current := greatest(run.progress_current, other.progress_current);
    run.progress := other.progress;
    if other.completed_at is null then
        run.leader_run_id := other.id;
        run.status := other.status;
        run.error_code := other.error_code;
        run.error_message := other.error_message;
        run.started_at := case other.status when 'running' then worker.now() end;
    else
        run.shared_run_id := other.id;
        run.status := other.status;
        run.completed_at := worker.now();
    end if;
    return run;
end;
$$;
comment on function worker.share is
    'Returns a run as it is to be written: answered, following, or ready to be searched. If the fingerprint or the '
    'leader is locked by others, run_after is set, and promote_due_runs decides later.';
