-- An insert plans its statements once for a connection, and asks for followers and answers only where there are some.

create or replace function worker.add_sites(run_ids uuid[]) returns void
language plpgsql set search_path = '' as $$
begin
    insert into public.search_run_sites (run_id, site, position)
    select run.id, site.site, row_number() over (partition by run.id order by site.ordinal)
    from public.search_runs as run, worker.sites_of(run.kind, run.parameters) as site
    where run.id = any (add_sites.run_ids)
    order by run.id, site.ordinal;
end;
$$;

create or replace function worker.runs_of_last_hour(user_id uuid) returns table (at timestamptz)
language plpgsql stable set search_path = '' as $$
begin
    return query
    select run.created_at from public.search_runs as run
    where run.user_id = runs_of_last_hour.user_id and run.created_at > worker.now() - interval '1 hour'
      and run.source in ('manual', 'api')
    union all
    select deleted.created_at from worker.deleted_runs as deleted
    where deleted.user_id = runs_of_last_hour.user_id and deleted.created_at > worker.now() - interval '1 hour';
end;
$$;

create or replace function worker.exceeded_quotas(user_id uuid, more integer) returns table (
    quota text, most integer, what text, wait interval
)
language plpgsql stable set search_path = '' as $$
begin
    return query
    select 'max_per_hour_per_user', settings.max_per_hour_per_user, 'started in an hour', (
        select started.at + interval '1 hour' - worker.now()
        from worker.runs_of_last_hour(exceeded_quotas.user_id) as started
        order by started.at desc
        offset greatest(0, settings.max_per_hour_per_user - more) limit 1)
    from worker.settings as settings
    where settings.max_per_hour_per_user is not null and settings.max_per_hour_per_user < more + (
        select count(*) from worker.runs_of_last_hour(exceeded_quotas.user_id))
    union all
    -- The estimate follows the rate at which this user's runs started or were answered in the last 10 minutes.
    select 'max_pending_per_user', settings.max_pending_per_user, 'waiting', (
        select interval '10 minutes' / greatest(1, count(*)) from public.search_runs as run
        where run.user_id = exceeded_quotas.user_id and run.created_at > worker.now() - interval '1 hour'
          and (run.started_at > worker.now() - interval '10 minutes'
               or (run.shared_run_id is not null and run.completed_at > worker.now() - interval '10 minutes')))
    from worker.settings as settings
    where settings.max_pending_per_user is not null and settings.max_pending_per_user < more + (
        select count(*) from public.search_runs as run
        where run.user_id = exceeded_quotas.user_id and run.status = 'pending' and run.source <> 'cron');
end;
$$;

create or replace function worker.will_be_refused(run public.search_runs) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    if run.idempotency_key is not null and exists (
        select from public.search_runs as known
        where known.user_id = will_be_refused.run.user_id and known.idempotency_key = will_be_refused.run.idempotency_key
    ) then
        return true;
    end if;
    return run.source in ('manual', 'api') and exists (select from worker.exceeded_quotas(run.user_id, 1));
end;
$$;

create or replace function worker.check_quotas() returns trigger
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off as $$
declare
    exceeded record;
begin
    -- Serialize concurrent inserts of a user, so that each one counts the others. In the order of the ids, to avoid
    -- deadlocks.
    perform pg_advisory_xact_lock(hashtextextended('worker.check_quotas ' || asking.user_id, 0))
    from (
        select distinct run.user_id from new_runs as run where run.source in ('manual', 'api') order by run.user_id
    ) as asking;

    select quota.* into exceeded
    from (select distinct run.user_id from new_runs as run where run.source in ('manual', 'api')) as asking
    cross join lateral worker.exceeded_quotas(asking.user_id, 0) as quota
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

create or replace function worker.next_position(user_id uuid, priority smallint) returns bigint
language plpgsql set search_path = '' as $$
begin
    return greatest(
        -- Not min(): before the table is first analyzed, PostgreSQL 15 would read all runs of the queue for it.
        (select run.position from public.search_runs as run
         where run.priority = next_position.priority
           and run.status = 'pending' and run.run_after is null and run.leader_run_id is null
         order by run.position limit 1),
        (select 1 + run.position from public.search_runs as run
         where run.user_id = next_position.user_id and run.priority = next_position.priority
           and run.status = 'pending' and run.run_after is null and run.leader_run_id is null
         order by -run.position limit 1),
        0
    );
end;
$$;

create or replace function worker.prepare_run() returns trigger
-- All that an insert looks up has an index: one plan is right for all runs. Without this, each insert plans again.
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off as $$
declare
    is_first boolean := current_setting('worker.has_enqueued', true) is distinct from 'true';
begin
    -- The policy is checked after the triggers, which already read and count for new.user_id. The setting has the role
    -- of the request, although this function runs with its owner's rights.
    if current_setting('role') = 'authenticated' and new.user_id is distinct from (select auth.uid())
       and new.user_id is not null then
        raise sqlstate '42501' using message = 'new row violates row-level security policy for table "search_runs"';
    end if;
    perform worker.count_request_row();
    if new.user_id is null then
        raise sqlstate '22023' using
            message = 'user_id is required',
            hint = 'It is the signed-in user by default; a service role has to name it.';
    end if;
    perform worker.check_json('client_context', new.client_context);
    if length(new.idempotency_key) not between 1 and 200 then
        raise sqlstate '22023' using message = 'idempotency_key must be 1 to 200 characters long';
    end if;
    if new.source = 'import' then  -- checked by worker_start_import, and equal to no search
        new.fingerprint := encode(sha256(convert_to('import ' || new.id, 'UTF8')), 'hex');
    else
        perform worker.check_parameters(new.kind, new.parameters);
        new.fingerprint := worker.fingerprint(new.kind, new.parameters, new.user_id, new.workspace_id);
    end if;
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
    if new.saved_search_id is not null and not exists (
        select from public.saved_searches as saved where saved.id = new.saved_search_id and saved.user_id = new.user_id
    ) then
        raise sqlstate '22023' using message = 'saved_search_id must be the id of one of the user''s saved searches';
    end if;
    if new.slot_at is not null then
        new.run_after := worker.start_of_slot(new.slot_at, new.fingerprint);
    end if;
    if new.run_after is null and worker.will_be_refused(new) then
        new.run_after := new.created_at;  -- if it is accepted after all, promote_due_runs decides
    elsif new.run_after is null then
        new := worker.share(new, may_wait => is_first);
    end if;
    perform set_config('worker.has_enqueued', 'true', true);
    return new;
end;
$$;

create or replace function worker.open_runs() returns trigger
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off as $$
declare
    following uuid[] := array(select run.id from new_runs as run where run.leader_run_id is not null);
    answered uuid[] := array(select run.id from new_runs as run where run.shared_run_id is not null);
begin
    perform worker.add_sites(array(
        select run.id from new_runs as run where run.leader_run_id is null and run.shared_run_id is null));

    insert into public.run_events (run_id, event, data, created_at)
    select run.id, 'created', jsonb_strip_nulls(jsonb_build_object('source', run.source, 'slot_at', run.slot_at)),
           run.created_at
    from new_runs as run;

    -- Most runs follow no other. Asking for their leaders takes a fifth of an insert.
    if following <> '{}' then
        perform worker.update_leaders(following);
    end if;
    if answered <> '{}' then
        perform worker.write_answered_events(answered);
    end if;
    return null;
end;
$$;
