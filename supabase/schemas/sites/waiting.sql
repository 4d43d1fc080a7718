-- How long does a run wait for a site? Until its turn, and no longer than max_site_wait in all: then the site fails.
-- Calls: kernel/clock, sites/queue.

create function worker.end_search(run_id uuid, site text, account text) returns void
language sql volatile set search_path = ''
begin atomic
    update worker.site_health as health set prober_run_id = null
    where health.prober_run_id = end_search.run_id
      and health.site = end_search.site and health.account = end_search.account;

    delete from worker.site_searches as search
    where search.run_id = end_search.run_id and search.site = end_search.site;
end;
comment on function worker.end_search is 'Frees a run''s place and probe at a site, for the next one.';

create function worker.put_off(
    run_id uuid, site text, account text, bucket text, requests integer, reason text, message text, error_code text,
    due_at timestamptz, is_guess boolean default false, lets_pass boolean default false
) returns jsonb
language plpgsql set search_path = '' as $$
declare
    now timestamptz := worker.now();
    waiting record := worker.waiting_of(put_off.run_id, put_off.site);
    left_to_wait interval := (select max_site_wait from worker.settings) - waiting.waited;
    waited interval;
begin
    -- It may be earlier: then nobody fails before having waited.
    if is_guess and left_to_wait > '0' then
        due_at := least(due_at, now + left_to_wait);
    end if;
    waited := waiting.waited + greatest(due_at - now, '0');
    perform worker.end_search(put_off.run_id, put_off.site, put_off.account);
    insert into worker.site_waits as wait (
        run_id, site, account, bucket, requests, waiting_since, due_at, waited, reason, message, lets_pass)
    values (put_off.run_id, put_off.site, put_off.account, put_off.bucket, put_off.requests,
            coalesce(waiting.since, now), put_off.due_at, waited, put_off.reason, put_off.message, put_off.lets_pass)
    on conflict on constraint site_waits_pkey do update set
        account = excluded.account, bucket = excluded.bucket, requests = excluded.requests,
        waiting_since = excluded.waiting_since, due_at = excluded.due_at, waited = excluded.waited,
        reason = excluded.reason, message = excluded.message, lets_pass = excluded.lets_pass;
    -- What was waited stays known until the site ends: asked again, the answer is the same.
    if waited > waiting.waited + left_to_wait then
        return jsonb_build_object('granted', false, 'error_code', error_code, 'message', message);
    end if;
    return jsonb_build_object(
        'granted', false, 'reason', reason, 'message', message, 'until', put_off.due_at,
        'retry_in_seconds', extract(epoch from greatest(put_off.due_at - now, '0')));
end;
$$;
comment on function worker.put_off is
    'Lets a run wait for a site until a time, which may be a guess; or, if that makes it longer than max_site_wait, tells that the site fails '
    'with the code. Returns the answer for the worker.';
