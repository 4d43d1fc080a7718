-- May this user start one more run? Not beyond the limits on pending runs and on runs per hour in worker.settings.
-- Scheduled runs and imports do not count.
-- Calls: kernel/clock.

create function worker.runs_of_last_hour(user_id uuid) returns table (at timestamptz)
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
comment on function worker.runs_of_last_hour is
    'Returns when a user started runs within the last hour, also those that were deleted since. Scheduled runs and '
    'imports do not count.';

create function worker.count_deleted_run() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if old.source in ('manual', 'api') and old.created_at > worker.now() - interval '1 hour' then
        insert into worker.deleted_runs (user_id, created_at) values (old.user_id, old.created_at);
    end if;
    return null;
end;
$$;
comment on function worker.count_deleted_run is
    'Notes a run that is deleted within an hour of its start, so that a deletion gives no user more runs.';

create trigger count_deleted_run after delete on public.search_runs
    for each row execute function worker.count_deleted_run();

create function worker.exceeded_quotas(user_id uuid, more integer) returns table (
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
comment on function worker.exceeded_quotas is
    'Returns the quotas of worker.settings that a user exceeds with a number of additional runs, and the time to '
    'wait. Scheduled runs and imports do not count.';

create function worker.will_be_refused(run public.search_runs) returns boolean
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
comment on function worker.will_be_refused is
    'Returns whether a new run already exists, by its idempotency key, or exceeds a quota, as far as visible '
    'without a lock. worker.check_quotas and the key''s index make the final decision.';

create function worker.check_quotas() returns trigger
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
comment on function worker.check_quotas is
    'Rejects runs beyond the quotas of worker.settings with PT429 (HTTP 429), the limit and the time to wait.';

create trigger check_quotas after insert on public.search_runs
    referencing new table as new_runs
    for each statement execute function worker.check_quotas();
