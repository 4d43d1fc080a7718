-- How the sites of a run are created, how their progress changes with a new step, and why they failed.
-- Calls: kernel/parameters, kernel/messages.

create function worker.add_sites(run_ids uuid[]) returns void
language plpgsql set search_path = '' as $$
begin
    insert into public.search_run_sites (run_id, site, position)
    select run.id, site.site, row_number() over (partition by run.id order by site.ordinal)
    from public.search_runs as run, worker.sites_of(run.kind, run.parameters) as site
    where run.id = any (add_sites.run_ids)
    order by run.id, site.ordinal;
end;
$$;
comment on function worker.add_sites is 'Creates the sites of runs, as their parameters name them.';

create function worker.require_site(run_id uuid, site text) returns void
language plpgsql stable set search_path = '' as $$
begin
    if not exists (select from public.search_run_sites as known
                   where known.run_id = require_site.run_id and known.site = require_site.site) then
        raise sqlstate '22023' using message = format('site must be one of the sites of the run, not %L', site);
    end if;
end;
$$;
comment on function worker.require_site is 'Raises 22023 (HTTP 400) unless the site is one of the run''s.';

create function worker.with_step(progress jsonb, step text) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
    return progress - 'details' || pg_catalog.jsonb_build_object('step', step);
end;
$$;
comment on function worker.with_step is 'Returns the progress of a site with another step.';

create function worker.waiting_progress(former jsonb, site text, wait jsonb) returns jsonb
language sql stable set search_path = ''
return worker.with_step(former, 'waiting') || jsonb_build_object('details', jsonb_build_object(
    'until', wait -> 'until', 'reason', wait -> 'reason',
    'message', worker.message_for_user(wait ->> 'reason', site, (wait ->> 'until')::timestamptz)));
comment on function worker.waiting_progress is
    'Returns the progress of a site that has to wait, with the reason as a sentence for the user.';

create function worker.site_errors(run_id uuid, out error_code text, out error_message text)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    select (array_agg(site.error_code order by site.position))[1], string_agg(site.error_message, ' ' order by site.position)
    into error_code, error_message
    from public.search_run_sites as site
    where site.run_id = site_errors.run_id and site.error_code is not null and exists (
        select from public.search_run_sites as asked
        where asked.run_id = site_errors.run_id and asked.status <> 'completed' and not asked.is_fallback);
end;
$$;
comment on function worker.site_errors is
    'Returns the code of the first site of a run that failed, and the sentences of all of them. Those of fallback sites '
    'do not count if the others completed.';
