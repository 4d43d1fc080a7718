-- How does pg_cron fire schedules and check the alert rules? The commands for the owner of the database. Nothing here needs the extension.
-- Calls: nothing.

create function worker.cron_commands() returns setof text
language plpgsql stable set search_path = '' as $$
declare
    jobs text[] := array[]::text[];
    table_of_jobs regclass := to_regclass('cron.job');
begin
    if table_of_jobs is null then
        if not exists (select from pg_available_extensions as extension where extension.name = 'pg_cron') then
            return next '-- This database has no pg_cron. Let a worker or a route of your frontend fire schedules.';
            return;
        end if;
        return next format('create extension %I;', 'pg_cron');
    else
        execute format('select array(select job.jobname from %s as job where job.active)', table_of_jobs) into jobs;
    end if;
    if 'fire-schedules' <> all (jobs) then
        return next 'select cron.schedule(''fire-schedules'', ''* * * * *'', '
            '''select public.worker_fire_schedules() from generate_series(1, 5)'');';
    end if;
    if 'check-alerts' <> all (jobs) then
        return next 'select cron.schedule(''check-alerts'', ''* * * * *'', ''select public.worker_check_alerts()'');';
    end if;
    if 'forget-fired-schedules' <> all (jobs) then
        return next 'select cron.schedule(''forget-fired-schedules'', ''30 3 * * *'', '
            '''delete from cron.job_run_details where end_time < now() - interval ''''7 days'''''');';
    end if;
end;
$$;
comment on function worker.cron_commands is
    'Returns the commands by which pg_cron fires schedules, up to 1,000 a minute, and checks the alert rules, which shows '
    'that no worker lives; without a history of more than a week. No command if it does already.';
