-- When does the operator get an alert about a run's site? Once for each problem.
-- Calls: kernel/clock, kernel/run_sites, kernel/lease.

create function worker.write_alert(run_id uuid, site text, data jsonb) returns void
language sql volatile set search_path = ''
begin atomic
    insert into public.run_events (run_id, event, site, data, created_at)
    select write_alert.run_id, 'alert', write_alert.site, write_alert.data, worker.now()
    where not exists (
        select from public.run_events as written
        where written.run_id = write_alert.run_id and written.event = 'alert' and written.site = write_alert.site
          and written.data = write_alert.data);
end;
comment on function worker.write_alert is 'Writes an alert for a run''s site, once.';

create function public.worker_write_alert(run_id uuid, lease_token uuid, site text, data jsonb) returns void
language plpgsql security definer set search_path = '' as $$
begin
    if jsonb_typeof(data -> 'reason') is distinct from 'string' then
        raise sqlstate '22023' using message = 'data must be an object with a reason';
    end if;
    perform worker.lock_lease(worker_write_alert.run_id, lease_token);
    perform worker.require_site(worker_write_alert.run_id, worker_write_alert.site);
    perform worker.write_alert(worker_write_alert.run_id, worker_write_alert.site, data);
end;
$$;
comment on function public.worker_write_alert is
    'Reports a problem of a run''s site to the operator: data is {reason, ...}. The same alert is written once.';
