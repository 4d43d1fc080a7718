-- How far is a run? Each write of a run that is searched derives its counts. Progress is written at most once per
-- progress_interval, and less often the more runs are searched.
-- Calls: kernel/clock, kernel/run_sites, kernel/counts, kernel/lease, sharing/follow.

create function worker.merge_site_progress(former jsonb, report jsonb) returns jsonb
language sql immutable set search_path = ''
return pg_catalog.jsonb_strip_nulls(
    report - 'site' || case
        when former ->> 'step' = report ->> 'step'
            then pg_catalog.jsonb_build_object(
                'current', greatest((former ->> 'current')::numeric, (report ->> 'current')::numeric),
                'total', coalesce(nullif(report -> 'total', 'null'), former -> 'total'))
        else '{}'
    end);
comment on function worker.merge_site_progress is
    'Returns a site''s progress after a report of its search: within a step, current never decreases, and total '
    'stays until another one is reported.';

create function worker.derive_counts() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    select counts.* into new.jobs_found, new.progress_current from worker.run_counts(new) as counts;
    new.items_found := 0;
    new.new_items := 0;
    if exists (select from public.search_results as result where result.run_id = new.id) then
        select things.* into new.items_found, new.new_items
        from worker.count_things(new.id, worker.runs_shown_before(new)) as things;
    end if;
    -- Realtime broadcasts every update: skip those without a change.
    return case when new is distinct from old then new end;
end;
$$;
comment on function worker.derive_counts is
    'Derives the counts of a run that is searched from its sites and results, at each write. The sites are written '
    'before. Skips a write that changes nothing.';

-- Fires after cancel_run, which ends the sites: triggers fire in the order of their names.
create trigger derive_counts before update on public.search_runs
    for each row when (
        (old.status = 'running' or new.completed_at is not null) and old.completed_at is null
        and old.leader_run_id is null and new.leader_run_id is null and new.shared_run_id is null)
    execute function worker.derive_counts();

create function worker.write_progress(run_id uuid, progress jsonb) returns void
language plpgsql set search_path = '' as $$
begin
    update public.search_run_sites as site
    set jobs_found = counted.jobs_found, progress = counted.progress
    from (
        select searched.site, coalesce(found.results, 0) as jobs_found,
               -- A site that has ended keeps its own progress.
               case when searched.site = write_progress.progress ->> 'site' and searched.completed_at is null
                    then worker.merge_site_progress(searched.progress, write_progress.progress)
                    else searched.progress end as progress
        from public.search_run_sites as searched
        left join (
            select result.site, count(*) as results
            from public.search_results as result
            where result.run_id = write_progress.run_id
            group by result.site
        ) as found on found.site = searched.site
        where searched.run_id = write_progress.run_id
    ) as counted
    where site.run_id = write_progress.run_id and site.site = counted.site
      and (site.jobs_found, site.progress) is distinct from (counted.jobs_found, counted.progress);

    update public.search_runs as run
    set progress = jsonb_strip_nulls(write_progress.progress)
    where run.id = write_progress.run_id;
end;
$$;
comment on function worker.write_progress is
    'Writes the progress {step, site, current, total, details} of a run and of its site, and the counts of all its '
    'sites.';

create function worker.seconds_until_progress(run_id uuid) returns double precision
language plpgsql stable set search_path = '' as $$
begin
    return (
    select extract(epoch from run.updated_at - worker.now() + settings.progress_interval * greatest(
        1, (select count(*) from worker.leases)::double precision
            * (1 + worker.live_followers(run.id)) / settings.max_changes_per_interval))
    from public.search_runs as run, worker.settings as settings
    where run.id = seconds_until_progress.run_id
    );
end;
$$;
comment on function worker.seconds_until_progress is
    'Returns the seconds until the progress of a run may be written again, so that all runs that are searched, with '
    'the followers of each, make at most max_changes_per_interval.';

create function worker.show_progress(run_id uuid, progress jsonb) returns double precision
language plpgsql set search_path = '' as $$
declare
    seconds double precision := worker.seconds_until_progress(show_progress.run_id);
begin
    if seconds > 0 then
        return seconds;
    end if;
    perform worker.write_progress(show_progress.run_id, show_progress.progress);
    if worker.live_followers(show_progress.run_id) > 0 then
        perform worker.update_followers(show_progress.run_id);
    end if;
    return null;
end;
$$;
comment on function worker.show_progress is
    'Writes the progress of a run and of its live followers, unless the last change is too recent. Returns the '
    'seconds until it can be written; null if it was.';

create function public.worker_write_progress(run_id uuid, lease_token uuid, progress jsonb) returns double precision
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
    if jsonb_typeof(worker_write_progress.progress -> 'step') is distinct from 'string' then
        raise sqlstate '22023' using message = 'progress must be an object with a step, which is a text';
    end if;
    if jsonb_typeof(worker_write_progress.progress -> 'current') not in ('number', 'null') then
        raise sqlstate '22023' using message = 'progress.current must be a number';
    end if;
    perform worker.lock_lease(worker_write_progress.run_id, lease_token);
    perform worker.require_site(worker_write_progress.run_id, worker_write_progress.progress ->> 'site');
    return worker.show_progress(worker_write_progress.run_id, worker_write_progress.progress);
end;
$$;
comment on function public.worker_write_progress is
    'Reports the progress of a site between two pages: {step, site, current, total, details}. Returns the seconds '
    'until it can be written, if the last change of the run is too recent; null if it was written.';
