-- From insert to the queue.

create function worker.next_position(user_id uuid, priority smallint) returns bigint
language sql volatile set search_path = ''
return greatest(
    (select min(run.position) from public.search_runs as run
     where run.priority = next_position.priority
       and run.status = 'pending' and run.run_after is null and run.leader_run_id is null),
    (select 1 - min(-run.position) from public.search_runs as run
     where run.user_id = next_position.user_id and run.priority = next_position.priority
       and run.status = 'pending' and run.run_after is null and run.leader_run_id is null),
    0
);
comment on function worker.next_position is
    'Fair by construction: a user''s next run goes behind his own, not behind everybody else''s.';

create function worker.count_row() returns void
language plpgsql set search_path = '' as $$
declare
    invoker text := coalesce(nullif(current_setting('role'), 'none'), session_user);
    rows_sent integer := coalesce(nullif(current_setting('worker.rows_sent', true), ''), '0')::integer + 1;
    setting text := case invoker when 'service_role' then 'max_rows_per_service_request' else 'max_rows_per_request' end;
    most integer;
begin
    if invoker = current_user then  -- the owner
        return;
    end if;
    select case invoker when 'service_role' then settings.max_rows_per_service_request else settings.max_rows_per_request end
    into strict most from worker.settings as settings;
    if rows_sent > most then
        raise sqlstate '22023' using
            message = format('at most %s rows may be sent at a time', most),
            detail = jsonb_build_object('setting', setting, 'limit', most);
    end if;
    perform set_config('worker.rows_sent', rows_sent::text, true);
end;
$$;
comment on function worker.count_row is
    'Counts the rows that a transaction inserts, before anything is done for them or locked, also for those that will be refused or '
    'are there already; raises 22023 (HTTP 400) beyond the limits of worker.settings.';

create function worker.runs_beyond_quota(user_id uuid, more integer) returns table (
    quota text, most integer, what text, wait interval
)
language sql stable set search_path = ''
begin atomic
    select 'max_per_hour_per_user', settings.max_per_hour_per_user, 'started in an hour', (
        select run.created_at + interval '1 hour' - worker.now() from public.search_runs as run
        where run.user_id = runs_beyond_quota.user_id and run.source <> 'cron'
        order by run.created_at desc
        offset greatest(0, settings.max_per_hour_per_user - more) limit 1)
    from worker.settings as settings
    where settings.max_per_hour_per_user is not null and settings.max_per_hour_per_user < more + (
        select count(*) from public.search_runs as run
        where run.user_id = runs_beyond_quota.user_id and run.created_at > worker.now() - interval '1 hour'
          and run.source <> 'cron')
    union all
    -- As fast as runs of this user were taken up or answered lately, one place is free after:
    select 'max_pending_per_user', settings.max_pending_per_user, 'waiting', (
        select interval '10 minutes' / greatest(1, count(*)) from public.search_runs as run
        where run.user_id = runs_beyond_quota.user_id and run.created_at > worker.now() - interval '1 hour'
          and (run.started_at > worker.now() - interval '10 minutes'
               or (run.shared_run_id is not null and run.completed_at > worker.now() - interval '10 minutes')))
    from worker.settings as settings
    where settings.max_pending_per_user is not null and settings.max_pending_per_user < more + (
        select count(*) from public.search_runs as run
        where run.user_id = runs_beyond_quota.user_id and run.status = 'pending' and run.source <> 'cron');
end;
comment on function worker.runs_beyond_quota is
    'The quotas of worker.settings that a user exceeds with so many runs more than there are, and the time to wait. Those of '
    'source cron do not count.';

create function worker.will_be_refused(run public.search_runs) returns boolean
language sql stable set search_path = ''
begin atomic
    select exists (
        select from public.search_runs as known
        where known.user_id = will_be_refused.run.user_id and known.idempotency_key = will_be_refused.run.idempotency_key
    ) or (will_be_refused.run.source <> 'cron' and exists (
        select from worker.runs_beyond_quota(will_be_refused.run.user_id, 1)));
end;
comment on function worker.will_be_refused is
    'Whether a new run is there already, by its idempotency key, or exceeds a quota, as far as can be seen without a lock: '
    'then none is taken for it. worker.check_quotas and the key''s index have the last word.';

create function worker.prepare_run() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    is_first boolean := current_setting('worker.has_enqueued', true) is distinct from 'true';
begin
    -- As the policy will, which is asked after the triggers: these count and look up for the user that is named. In the
    -- setting is the role that the policy applies to, though this function has its owner's rights.
    if current_setting('role') = 'authenticated' and new.user_id is distinct from (select auth.uid())
       and new.user_id is not null then
        raise sqlstate '42501' using message = 'new row violates row-level security policy for table "search_runs"';
    end if;
    perform worker.count_row();
    if new.user_id is null then
        raise sqlstate '22023' using
            message = 'user_id is required',
            hint = 'It is the signed-in user by default; a service role has to name it.';
    end if;
    perform worker.check_json('client_context', new.client_context);
    if length(new.idempotency_key) not between 1 and 200 then
        raise sqlstate '22023' using message = 'idempotency_key must be 1 to 200 characters long';
    end if;
    perform worker.check_parameters(new.kind, new.parameters);
    new.fingerprint := worker.fingerprint(new.kind, new.parameters, new.user_id, new.workspace_id);
    new.priority := coalesce(new.priority, case new.source when 'manual' then 20 when 'api' then 10 else 0 end);
    new.position := worker.next_position(new.user_id, new.priority);
    new.progress_total := worker.results_wanted(new.kind, new.parameters)
        * (select count(*) from worker.sites_of(new.kind, new.parameters));
    new.progress := jsonb_build_object('step', 'queued');
    new.created_at := worker.now();
    new.updated_at := new.created_at;
    if new.source = 'cron' then
        new.newer_than := worker.last_success(new.user_id, new.fingerprint);
    end if;
    if new.run_after is null and worker.will_be_refused(new) then
        new.run_after := new.created_at;  -- if not refused after all, promote_due_runs decides
    elsif new.run_after is null then
        new := worker.share(new, may_wait => is_first);
    end if;
    perform set_config('worker.has_enqueued', 'true', true);
    return new;
end;
$$;
comment on function worker.prepare_run is 'Counts and checks a new run, sets what the queue needs, and decides who searches for it.';

create trigger prepare_run before insert on public.search_runs
    for each row execute function worker.prepare_run();

create function worker.add_sites(run_ids uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    insert into public.search_run_sites (run_id, site, position)
    select run.id, site.site, row_number() over (partition by run.id order by site.ordinal)
    from public.search_runs as run, worker.sites_of(run.kind, run.parameters) as site
    where run.id = any (add_sites.run_ids)
    order by run.id, site.ordinal;
end;
comment on function worker.add_sites is 'Gives runs their sites, as their parameters name them.';

create function worker.open_runs() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    perform worker.add_sites(array(
        select run.id from new_runs as run where run.leader_run_id is null and run.shared_run_id is null));

    insert into public.run_events (run_id, event, data, created_at)
    select run.id, 'created', jsonb_build_object('source', run.source), run.created_at
    from new_runs as run;

    perform worker.follow(array(select run.id from new_runs as run where run.leader_run_id is not null)),
            worker.tell_answered(array(select run.id from new_runs as run where run.shared_run_id is not null));
    return null;
end;
$$;
comment on function worker.open_runs is 'Gives new runs their first event, and their sites to those that search.';

create trigger open_runs after insert on public.search_runs
    referencing new table as new_runs
    for each statement execute function worker.open_runs();

create function worker.check_quotas() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    exceeded record;
begin
    -- Counting is safe only while no other insert of the same user counts: one after another, in the order of the ids.
    perform pg_advisory_xact_lock(hashtextextended('worker.check_quotas ' || asking.user_id, 0))
    from (select distinct run.user_id from new_runs as run where run.source <> 'cron' order by run.user_id) as asking;

    select quota.* into exceeded
    from (select distinct run.user_id from new_runs as run where run.source <> 'cron') as asking
    cross join lateral worker.runs_beyond_quota(asking.user_id, 0) as quota
    order by quota.wait desc
    limit 1;

    if exceeded.quota is not null then
        raise sqlstate 'PT429' using
            message = format('at most %s searches of a user may be %s: try again in %s s',
                             exceeded.most, exceeded.what, ceil(extract(epoch from exceeded.wait))),
            detail = jsonb_build_object('quota', exceeded.quota, 'limit', exceeded.most,
                                        'retry_after_seconds', ceil(extract(epoch from exceeded.wait)));
    end if;
    return null;
end;
$$;
comment on function worker.check_quotas is
    'Refuses runs beyond the quotas of worker.settings with PT429 (HTTP 429): the limit, and the time to wait.';

create trigger check_quotas after insert on public.search_runs
    referencing new table as new_runs
    for each statement execute function worker.check_quotas();

create function worker.with_step(progress jsonb, step text) returns jsonb
language sql immutable set search_path = ''
return progress - 'details' || pg_catalog.jsonb_build_object('step', step);
comment on function worker.with_step is 'How far a site was, at another step.';

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
        new.jobs_found := (select count(*) from public.search_results as result where result.run_id = old.id);
    end if;
    -- Every update is told to all who watch, and to every worker: not what changes nothing.
    return case when new is distinct from old then new end;
end;
$$;
comment on function worker.cancel_run is
    'Ends a run whose owner asks for it, with what it has found itself until then: a follower with nothing. A finished one '
    'stays as it is.';

create trigger cancel_run before update of cancel_requested_at on public.search_runs
    for each row execute function worker.cancel_run();

-- After cancel_run: triggers fire in the order of their names.
create function worker.guard_run() returns trigger
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
comment on function worker.guard_run is 'A final status stays, and ends the lease and all waiting for sites, whoever sets it.';

create trigger guard_run before update on public.search_runs
    for each row execute function worker.guard_run();

create function worker.check_saved_search() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if tg_op = 'INSERT' then
        perform worker.count_row();
    end if;
    perform worker.check_parameters(new.kind, new.parameters);
    new.updated_at := worker.now();
    return new;
end;
$$;
comment on function worker.check_saved_search is 'A saved search must be one that could run.';

create trigger check_saved_search before insert or update on public.saved_searches
    for each row execute function worker.check_saved_search();

create function worker.count_saved_searches() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    most integer := (select settings.max_saved_searches_per_user from worker.settings as settings);
begin
    -- As in worker.check_quotas: one after another, in the order of the ids.
    perform pg_advisory_xact_lock(hashtextextended('worker.count_saved_searches ' || saving.user_id, 0))
    from (select distinct saved.user_id from new_searches as saved order by saved.user_id) as saving;

    if exists (
        select from (select distinct saved.user_id from new_searches as saved) as saving
        where most < (select count(*) from public.saved_searches as saved where saved.user_id = saving.user_id)
    ) then
        raise sqlstate 'PT429' using
            message = format('at most %s saved searches of a user are kept: delete some', most),
            detail = jsonb_build_object('quota', 'max_saved_searches_per_user', 'limit', most);
    end if;
    return null;
end;
$$;
comment on function worker.count_saved_searches is
    'Refuses saved searches beyond worker.settings.max_saved_searches_per_user with PT429 (HTTP 429).';

create trigger count_saved_searches after insert on public.saved_searches
    referencing new table as new_searches
    for each statement execute function worker.count_saved_searches();

create function public.enqueue_search(
    kind text,
    parameters jsonb,
    client_context jsonb default null,
    idempotency_key text default null,
    fresh boolean default false
) returns public.search_runs
language plpgsql security invoker set search_path = '' as $$
#variable_conflict use_column
declare
    run public.search_runs;
begin
    insert into public.search_runs (kind, parameters, client_context, idempotency_key, fresh)
    values (enqueue_search.kind, enqueue_search.parameters, enqueue_search.client_context,
            enqueue_search.idempotency_key, enqueue_search.fresh)
    on conflict (user_id, idempotency_key) do nothing
    returning * into run;

    if run.id is null then
        select * into strict run from public.search_runs as existing
        where existing.user_id = (select auth.uid())
          and existing.idempotency_key = enqueue_search.idempotency_key;
    end if;
    return run;
end;
$$;
comment on function public.enqueue_search is
    'Puts a search of the signed-in user into the queue, or answers it at once with a recent equal one unless it has to be '
    'fresh. The same idempotency key again returns the same run.';

create function public.rerun_search(run_id uuid) returns public.search_runs
language plpgsql security invoker set search_path = '' as $$
declare
    run public.search_runs;
begin
    insert into public.search_runs (workspace_id, kind, parameters, client_context, fresh)
    select former.workspace_id, former.kind, former.parameters, former.client_context, true
    from public.search_runs as former
    where former.id = rerun_search.run_id
    returning * into run;
    if run.id is null then
        raise sqlstate 'PT404' using message = 'run_id must be of a run of yours';
    end if;
    return run;
end;
$$;
comment on function public.rerun_search is 'Puts the same search into the queue once more, as a new run; returns it.';

create function public.cancel_search(run_id uuid) returns public.search_runs
language plpgsql security invoker set search_path = '' as $$
declare
    run public.search_runs;
begin
    update public.search_runs as asked
    set cancel_requested_at = now()
    where asked.id = cancel_search.run_id and asked.completed_at is null;

    select * into run from public.search_runs as ended where ended.id = cancel_search.run_id;
    if run.id is null then
        raise sqlstate 'PT404' using message = 'run_id must be of a run of yours';
    end if;
    return run;
end;
$$;
comment on function public.cancel_search is
    'Ends a run of the signed-in user at once, pending or running; returns it. One that has ended stays as it is.';
