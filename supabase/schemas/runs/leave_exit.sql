-- What happens if a site refuses an exit in the middle of a search? The exit is paused for all, and the search asks again
-- through another one: neither the site nor the run fails.
-- Calls: kernel/clock, kernel/messages, kernel/run_sites, kernel/lease, sites/breaker, sites/paused,
--   sites/exits, runs/progress.

create function worker.may_pause_exits(run_id uuid, site text, account text, rule worker.breaker_rules) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return rule.error_code = 'exit_failed'
        or (
            select count(*) <= rule.failures_per_user
            from worker.site_failures as failed
            join public.search_runs as run on run.user_id = failed.user_id
            where run.id = may_pause_exits.run_id and failed.site = may_pause_exits.site
              and failed.account = may_pause_exits.account
        )
        or exists (
            select from (
                select latest.id
                from public.search_runs as run
                join public.search_runs as latest on latest.user_id = run.user_id
                where run.id = may_pause_exits.run_id
                order by latest.created_at desc
                limit 20
            ) as recent
            join worker.raw_collections as page on page.run_id = recent.id
            where page.site = may_pause_exits.site and page.status <> 'failed'
              and page.fetched_at > worker.now() - interval '1 hour'
        );
end;
$$;
comment on function worker.may_pause_exits is
    'Returns whether a refusal says something about the exit: the site refuses the user at few exits, or has answered one '
    'of the user''s latest searches within an hour. Otherwise one user, whose searches are refused everywhere, would pause '
    'all exits.';

create function worker.record_refusal(
    health worker.site_health, via worker.exit, run_id uuid, error_code text, retry_after_seconds double precision
) returns void
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    rule worker.breaker_rules;
    is_counted boolean;
    may_reopen boolean;
begin
    select known.* into strict rule from worker.breaker_rules as known where known.error_code = record_refusal.error_code;
    if via.is_rotating then
        health := worker.note_outcome(health, 'f');
        is_counted := worker.fails_too_often(health);
        may_reopen := true;
    else
        select failure.is_counted, failure.may_reopen into is_counted, may_reopen
        from worker.count_failure(health.site, health.account, health.exit, run_id, rule) as failure;
        is_counted := is_counted and worker.may_pause_exits(run_id, health.site, health.account, rule);
    end if;
    -- There are others: nobody waits because of this one.
    rule.failures := 1;
    health := worker.after_failure(health, run_id, rule, health.consecutive_failures + is_counted::integer, is_counted,
                                   may_reopen, record_refusal.error_code, record_refusal.retry_after_seconds);
    update worker.site_health as known
    set last_failure_at = health.last_failure_at, last_error_code = health.last_error_code,
        consecutive_failures = health.consecutive_failures, paused_until = health.paused_until,
        paused_by = health.paused_by, trips = health.trips,
        -- It probes the exit no more, whether its refusal counts or not.
        prober_run_id = nullif(health.prober_run_id, record_refusal.run_id),
        latest_outcomes = health.latest_outcomes,
        success_rate = case when is_counted then coalesce(known.success_rate * 0.8, 0) else known.success_rate end,
        updated_at = worker.now()
    where known.site = health.site and known.account = health.account and known.exit = health.exit;
end;
$$;
comment on function worker.record_refusal is
    'Records that a site refused a locked exit, which has others beside it: the first refusal pauses it.';

create function public.worker_leave_exit(
    run_id uuid, lease_token uuid, site text, account text, exit text, error_code text, message text,
    retry_after_seconds double precision, exits jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    via text := coalesce(account, '');
    offered worker.exit[] := worker.read_exits(exits);
    used worker.exit;
    former text;
    chosen worker.exit_choice;
begin
    select each.* into used from unnest(offered) as each where each.name = worker_leave_exit.exit;
    if used.name is null then
        raise sqlstate '22023' using message = 'exit must be one of exits';
    end if;
    if error_code is null or error_code not in ('blocked', 'rate_limited', 'exit_failed') then
        raise sqlstate '22023' using message = 'error_code must be blocked, rate_limited or exit_failed';
    end if;
    perform worker.lock_lease(run_id, lease_token);
    perform worker.require_site(run_id, worker_leave_exit.site);
    select search.exit into former from worker.site_searches as search
    where search.run_id = worker_leave_exit.run_id and search.site = worker_leave_exit.site;
    -- A repeated call.
    if former is null then
        return worker.defer_until_exit(run_id, worker_leave_exit.site, via, offered);
    elsif former <> used.name then
        return jsonb_build_object('granted', true, 'wait_seconds', 0, 'exit', former);
    end if;

    perform worker.record_refusal(worker.lock_health(worker_leave_exit.site, via, used.name), used, run_id, error_code,
                                  retry_after_seconds);
    chosen := worker.choose_exit(
        run_id, worker_leave_exit.site, via,
        -- A rotating exit has other addresses.
        array(select each from unnest(offered) as each where each.name <> used.name or each.is_rotating), null, null);
    perform worker.change_exit(run_id, worker_leave_exit.site, used.name, chosen.via, error_code,
                               left(worker_leave_exit.message, 1000));
    if chosen.via is null then
        return worker.defer_until_exit(run_id, worker_leave_exit.site, via, offered);
    end if;
    perform worker.start_probe(chosen.health, run_id) where (chosen.health).site is not null;
    perform worker.show_progress(run_id, jsonb_build_object(
        'step', 'searching', 'site', worker_leave_exit.site,
        'details', jsonb_build_object('message', worker.message_for_user('another_way', worker_leave_exit.site))));
    return jsonb_build_object('granted', true, 'wait_seconds', 0, 'exit', chosen.via);
end;
$$;
comment on function public.worker_leave_exit is
    'Reports that a site refused an exit (blocked, rate_limited), or that the exit does not work (exit_failed), and chooses '
    'another one of those that the worker offers. Returns {granted, wait_seconds, exit}, to ask again at the same cursor; or, '
    'if all are paused, {granted, reason, message, retry_in_seconds, until} or {granted, error_code, message} as '
    'worker_take_permit does. Neither counts as an attempt.';
