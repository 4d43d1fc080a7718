-- How long does a run wait for a site? Until it is due, and at most max_site_wait in total. Then the site fails.
-- Calls: kernel/clock, sites/queue.

create function worker.release_search_slots(run_ids uuid[], site text, account text) returns void
language plpgsql set search_path = '' as $$
begin
    update worker.site_health as health set prober_run_id = null
    where health.prober_run_id = any (run_ids)
      and health.site = release_search_slots.site and health.account = release_search_slots.account;

    delete from worker.site_searches as search
    where search.run_id = any (run_ids) and search.site = release_search_slots.site;
end;
$$;
comment on function worker.release_search_slots is 'Releases the slots and the probe of runs at a site.';

create function worker.defer_site(
    run_id uuid, site text, account text, bucket text, requests integer, reason text, message text, error_code text,
    due_at timestamptz, is_guess boolean default false, lets_pass boolean default false, exit text default ''
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    now timestamptz := worker.now();
    waiting record := worker.wait_state(defer_site.run_id, defer_site.site);
    left_to_wait interval := (select max_site_wait from worker.settings) - waiting.waited;
    waited interval;
begin
    -- An estimate may be shortened, so that no run fails before it has waited max_site_wait.
    if is_guess and left_to_wait > '0' then
        due_at := least(due_at, now + left_to_wait);
    end if;
    waited := waiting.waited + greatest(due_at - now, '0');
    perform worker.release_search_slots(array[defer_site.run_id], defer_site.site, defer_site.account);
    insert into worker.site_waits as wait (
        run_id, site, account, exit, bucket, requests, waiting_since, due_at, waited, reason, message, lets_pass)
    values (defer_site.run_id, defer_site.site, defer_site.account, defer_site.exit, defer_site.bucket, defer_site.requests,
            coalesce(waiting.since, now), defer_site.due_at, waited, defer_site.reason, defer_site.message,
            defer_site.lets_pass)
    on conflict on constraint site_waits_pkey do update set
        account = excluded.account, exit = excluded.exit, bucket = excluded.bucket, requests = excluded.requests,
        waiting_since = excluded.waiting_since, due_at = excluded.due_at, waited = excluded.waited,
        reason = excluded.reason, message = excluded.message, lets_pass = excluded.lets_pass;
    -- The waiting time stays stored until the site ends, so that a repeated call gets the same answer.
    if waited > waiting.waited + left_to_wait then
        return jsonb_build_object('granted', false, 'error_code', error_code, 'message', message);
    end if;
    return jsonb_build_object(
        'granted', false, 'reason', reason, 'message', message, 'until', defer_site.due_at,
        'retry_in_seconds', extract(epoch from greatest(defer_site.due_at - now, '0')));
end;
$$;
comment on function worker.defer_site is
    'Lets a run wait for a site until a time, which may be an estimate. Beyond max_site_wait, the site fails with '
    'the error code instead. Returns the answer for the worker.';
