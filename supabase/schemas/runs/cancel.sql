-- What happens to a run that its owner cancels? It ends at once, with the results that it has found itself.
-- Calls: kernel/clock, kernel/run_sites.

create function worker.cancel_run() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if old.completed_at is not null then
        new.cancel_requested_at := old.cancel_requested_at;
    elsif new.cancel_requested_at is not null then
        new.leader_run_id := null;

        update public.search_run_sites as site
        set status = 'skipped', progress = worker.with_step(site.progress, 'cancelled'), completed_at = worker.now(),
            jobs_found = (select count(*) from public.search_results as result
                          where result.run_id = site.run_id and result.site = site.site)
        where site.run_id = old.id and site.completed_at is null;

        insert into public.run_events (run_id, event, data, created_at)
        values (old.id, 'cancelled', jsonb_build_object('status', old.status), worker.now());

        new.cancel_requested_at := worker.now();
        new.status := 'cancelled';
        new.completed_at := worker.now();
        new.run_after := null;
        new.progress := jsonb_build_object('step', 'cancelled');
        if old.leader_run_id is not null then
            new.jobs_found := 0;
            new.items_found := 0;
            new.new_items := 0;
        end if;
    end if;
    -- Realtime broadcasts every update: skip those without a change.
    return case when new is distinct from old then new end;
end;
$$;
comment on function worker.cancel_run is
    'Ends a run at its owner''s request, with the results that it has found itself: a follower with none. A '
    'finished run stays as it is.';

create trigger cancel_run before update of cancel_requested_at on public.search_runs
    for each row execute function worker.cancel_run();

create function worker.lock_own_runs() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    -- Two statements that change several runs lock them in different orders, and would wait for each other.
    if auth.uid() is not null then
        perform pg_advisory_xact_lock(hashtextextended('worker.lock_own_runs ' || auth.uid(), 0));
    end if;
    return null;
end;
$$;
comment on function worker.lock_own_runs is 'Lets the cancellations and deletions of a user follow each other.';

create trigger lock_own_runs before update of cancel_requested_at or delete on public.search_runs
    for each statement execute function worker.lock_own_runs();
