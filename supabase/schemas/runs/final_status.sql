-- What ends with a run? A final status never changes. It ends the lease and all waits for sites.
-- Calls: kernel/clock.

-- Fires after cancel_run: triggers fire in the order of their names.
create function worker.enforce_final_status() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if old.completed_at is not null and new.status <> old.status then
        raise sqlstate 'PT409' using
            message = 'run_finished',
            detail = format('Run %s is %s, which is final.', old.id, old.status);
    end if;
    if new.completed_at is not null then
        delete from worker.leases as lease where lease.run_id = new.id;
        delete from worker.site_waits as wait where wait.run_id = new.id;
    end if;
    new.updated_at := worker.now();
    return new;
end;
$$;
comment on function worker.enforce_final_status is
    'Keeps a final status. A final status ends the lease and all waits for sites.';

create trigger enforce_final_status before update on public.search_runs
    for each row execute function worker.enforce_final_status();
