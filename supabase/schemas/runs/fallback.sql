-- When are the fallback sites of a run searched? Once one of its sites has failed for good, is paused, or is out of quota.
-- Then they belong to the run. They are skipped if the other sites complete before they could be searched.
-- Calls: kernel/clock, kernel/parameters, kernel/messages, kernel/run_sites, sites/accounts, sites/rank,
--   sites/exits, runs/resume.

create function worker.sites_to_replace(run_id uuid) returns table (site text, place smallint, reason text, message text)
language sql stable set search_path = ''
begin atomic
    select site.site, site.position, coalesce(wait.reason, site.error_code),
           case when wait.reason is null then site.error_message
                else worker.message_for_user(wait.reason, site.site, wait.due_at) end
    from public.search_run_sites as site
    join public.search_runs as run on run.id = site.run_id
    left join worker.site_waits as wait
        on wait.run_id = site.run_id and wait.site = site.site and site.completed_at is null
    where site.run_id = sites_to_replace.run_id and not site.is_fallback and case
        when site.completed_at is null then wait.reason in ('paused', 'quota')
        when site.status in ('partial', 'failed') then
            site.retryable is not true or run.attempts >= run.max_attempts or site.error_code = 'quota_exceeded' or exists (
                select from worker.account_health() as health
                where health.site = site.site and health.account = coalesce(worker.account_of(run.id, site.site), '')
                  and health.is_open)
        else false end;
end;
comment on function worker.sites_to_replace is
    'Returns the sites of a run that fallback sites are searched for: those that failed and are not searched again, are '
    'paused, or are out of quota.';

create function worker.add_fallbacks(run_id uuid) returns void
language sql volatile set search_path = ''
begin atomic
    with added as (
        insert into public.search_run_sites (run_id, site, position, is_fallback)
        select run.id, fallback.site, asked.last_position + row_number() over (order by fallback.ordinal), true
        from public.search_runs as run
        cross join lateral worker.sites_of(run.kind, run.parameters, 'fallback_sites') as fallback
        cross join lateral (
            select max(site.position) as last_position, bool_or(site.is_fallback) as has_fallbacks
            from public.search_run_sites as site where site.run_id = run.id
        ) as asked
        where run.id = add_fallbacks.run_id and not asked.has_fallbacks
          and exists (select from worker.sites_to_replace(run.id))
        returning search_run_sites.site, search_run_sites.position
    )
    insert into public.run_events (run_id, event, data, created_at)
    select add_fallbacks.run_id, 'fallback', jsonb_build_object(
        'sites', added.sites,
        'because', (
            select jsonb_agg(jsonb_build_object('site', failed.site, 'reason', failed.reason, 'message', failed.message)
                             order by failed.place)
            from worker.sites_to_replace(add_fallbacks.run_id) as failed)), worker.now()
    from (select jsonb_agg(added.site order by added.position) as sites from added) as added
    where added.sites is not null;
end;
comment on function worker.add_fallbacks is 'Adds the fallback sites of a run, with an event, once they are needed.';

create function worker.skip_fallbacks(run_id uuid) returns void
language sql volatile set search_path = ''
begin atomic
    update public.search_run_sites as site
    set status = 'skipped', progress = worker.with_step(site.progress, 'finished'), completed_at = worker.now(),
        jobs_found = (select count(*) from public.search_results as result
                      where result.run_id = site.run_id and result.site = site.site)
    where site.run_id = skip_fallbacks.run_id and site.is_fallback and site.completed_at is null and not exists (
        select from public.search_run_sites as asked
        where asked.run_id = skip_fallbacks.run_id and not asked.is_fallback and asked.status <> 'completed');
end;
comment on function worker.skip_fallbacks is
    'Skips the fallback sites of a run that have not ended, if all its other sites have completed.';

create function worker.fallbacks_to_search(run_id uuid, seed uuid) returns jsonb
language plpgsql set search_path = '' as $$
begin
    if not exists (
        select from public.search_runs as run
        where run.id = fallbacks_to_search.run_id and worker.has_fallbacks(run.kind, run.parameters)
    ) then
        return '[]'::jsonb;
    end if;
    perform worker.add_fallbacks(fallbacks_to_search.run_id), worker.skip_fallbacks(fallbacks_to_search.run_id);
    return (
        select coalesce(jsonb_agg(worker.site_to_search(fallback) order by ranked.rank), '[]')
        from public.search_run_sites as fallback
        join worker.rank_sites(array[fallbacks_to_search.run_id], array[seed]) as ranked on ranked.site = fallback.site
        where fallback.run_id = fallbacks_to_search.run_id and fallback.is_fallback and fallback.completed_at is null
          and not exists (
            select from worker.site_waits as wait where wait.run_id = fallback.run_id and wait.site = fallback.site)
    );
end;
$$;
comment on function worker.fallbacks_to_search is
    'Returns the fallback sites that a run needs now and that do not wait, for a worker, the best first. The other sites '
    'of the run have ended or wait.';
