-- Which waiting runs are due early? The next run when a search slot becomes free, or when a run begins to wait for one
-- that is free already; and the waiting runs when a pause ends.
-- Calls: kernel/clock, sites/queue.

create function worker.wake_next(site text, account text) returns void
language plpgsql set search_path = '' as $$
declare
    woken uuid;
begin
    -- The usual case: nobody waits.
    if not exists (
        select from worker.site_waits as wait
        where wait.bucket = wake_next.site and wait.reason = 'searches'
          and wait.due_at > worker.now() - (select settings.wait_grace from worker.settings as settings)
    ) then
        return;
    end if;
    -- Skip a locked run: it is being promoted, or ends.
    select wait.run_id into woken
    from worker.site_queue(wake_next.site, array[wake_next.account], '{searches}') as line
    join worker.site_waits as wait on wait.run_id = line.run_id and wait.site = wake_next.site
    join public.search_runs as run on run.id = wait.run_id
    where run.status = 'pending' and run.run_after > worker.now()
    order by line.place
    limit 1
    for no key update of run, wait skip locked;

    update public.search_runs as run set run_after = worker.now() where run.id = woken;
    update worker.site_waits as wait
    set waited = greatest(wait.waited - greatest(wait.due_at - worker.now(), '0'), '0'), due_at = worker.now()
    where wait.run_id = woken and wait.site = wake_next.site;
end;
$$;
comment on function worker.wake_next is
    'Makes the first run due that waits for a slot to search a site through an account, or without one for a slot of '
    'the site. The order is that of the admission, so that the run which is woken is admitted.';

create function worker.wake_at_idle_site(site text, account text) returns void
language plpgsql set search_path = '' as $$
begin
    -- While a search is under way, its end wakes the next run. A run that is due has been woken for the slot.
    if not exists (
        select from worker.site_searches as search
        where search.site = wake_at_idle_site.site and wake_at_idle_site.account in ('', search.account)
    ) and not exists (
        select from worker.site_waits as wait
        where wait.bucket = wake_at_idle_site.site and wait.account = wake_at_idle_site.account
          and wait.reason = 'searches' and wait.due_at <= worker.now()
          and wait.due_at > worker.now() - (select settings.wait_grace from worker.settings as settings)
    ) then
        perform worker.wake_next(wake_at_idle_site.site, wake_at_idle_site.account);
    end if;
end;
$$;
comment on function worker.wake_at_idle_site is
    'Wakes the next run that waits for a slot to search a site, if there is no search that would wake it at its end.';

create function worker.search_slot_freed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    perform worker.wake_next(old.site, '');
    perform worker.wake_next(old.site, old.account) where old.account <> '';
    return null;
end;
$$;
comment on function worker.search_slot_freed is
    'Wakes the next run that waits for the site, and the next one that waits for the account, when a search ends: '
    'also by a cancellation or a dead worker.';

create trigger search_slot_freed after delete on worker.site_searches
    for each row execute function worker.search_slot_freed();

create function worker.wake_paused_runs(site text, account text) returns void
language sql volatile set search_path = ''
begin atomic
    with woken as (
        select locked.run_id,
               worker.now() + least(row_number() over (order by locked.place) - 1, 60) * interval '1 second' as due_at
        from (
            select wait.run_id, line.place
            from worker.site_queue(wake_paused_runs.site, array[wake_paused_runs.account], '{paused}') as line
            join worker.site_waits as wait on wait.run_id = line.run_id and wait.site = wake_paused_runs.site
            join public.search_runs as run on run.id = wait.run_id
            where run.status = 'pending' and run.run_after > worker.now()
            for no key update of run, wait skip locked
        ) as locked
    ), waiting as (
        update worker.site_waits as wait
        set waited = greatest(wait.waited - (wait.due_at - woken.due_at), '0'), due_at = woken.due_at
        from woken
        where wait.run_id = woken.run_id and wait.site = wake_paused_runs.site and wait.due_at > woken.due_at
    )
    update public.search_runs as run
    set run_after = woken.due_at
    from woken
    where run.id = woken.run_id and run.run_after > woken.due_at;
end;
comment on function worker.wake_paused_runs is
    'Makes the runs due that wait for a site which may be searched again: one run per second.';

create function worker.breaker_closed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    perform worker.wake_paused_runs(new.site, new.account);
    return null;
end;
$$;
comment on function worker.breaker_closed is 'Wakes the runs that wait for a site when its breaker closes.';

create trigger breaker_closed after update of paused_until on worker.site_health
    for each row when (old.paused_until is not null and new.paused_until is null)
    execute function worker.breaker_closed();
