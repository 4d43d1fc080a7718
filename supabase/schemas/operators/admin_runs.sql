-- Which runs of all users match, and what happened to them? The newest first, with sites and events. A call looks at a
-- limited number of runs, so that no filter makes it slow; the next call continues.
-- Calls: operators/admins.

create function worker.check_run_filters(
    status text[], kind text, source text, error_code text, site text, before_at timestamptz, before_id uuid, most integer
) returns void
language plpgsql stable set search_path = '' as $$
declare
    problem text := case
        when not coalesce(status <@ enum_range(null::public.run_status)::text[], true) then
            'status must be a list of ' || array_to_string(enum_range(null::public.run_status), ', ')
        when kind is not null and not exists (select from worker.kinds as known where known.kind = check_run_filters.kind) then
            'kind must be one of ' || (select string_agg(known.kind, ', ' order by known.kind) from worker.kinds as known)
        when source <> all (enum_range(null::public.run_source)::text[]) then
            'source must be one of ' || array_to_string(enum_range(null::public.run_source), ', ')
        when length(error_code) not between 1 and 100 then 'error_code must be a text of 1 to 100 characters'
        when length(site) not between 1 and 100 then 'site must be a text of 1 to 100 characters'
        when (before_at is null) <> (before_id is null) then
            'before_at and before_id must be given together, as next of the page before has them'
        when most between 1 and 100 is not true then 'most must be from 1 to 100' end;
begin
    if problem is not null then
        raise sqlstate '22023' using message = problem;
    end if;
end;
$$;
comment on function worker.check_run_filters is 'Raises 22023 (HTTP 400) unless admin_runs can filter so.';

create function worker.run_for_admin(run public.search_runs) returns jsonb
language sql stable set search_path = ''
return to_jsonb(run) - '{fingerprint,position,idempotency_key,client_context,progress}'::text[] || jsonb_build_object(
    'email', (select owner.email from auth.users as owner where owner.id = (run).user_id),
    'sites', (
        select coalesce(jsonb_agg(jsonb_build_object(
            'site', searched.site, 'status', searched.status, 'is_fallback', searched.is_fallback,
            'jobs_found', searched.jobs_found, 'attempts', searched.attempts, 'error_code', searched.error_code,
            'error_message', searched.error_message, 'started_at', searched.started_at,
            'completed_at', searched.completed_at) order by searched.position), '[]')
        from public.search_run_sites as searched where searched.run_id = (run).id),
    'events', (
        select coalesce(jsonb_agg(jsonb_build_object(
            'at', latest.created_at, 'event', latest.event, 'site', latest.site, 'data', latest.data - 'lease_digest')
            order by latest.id), '[]')
        from (
            select happened.* from public.run_events as happened
            where happened.run_id = (run).id
            order by happened.id desc
            limit 200
        ) as latest));
comment on function worker.run_for_admin is
    'Returns a run with its sites and its last 200 events. Not what only its owner''s frontend needs.';

create function public.admin_runs(
    status text[] default null, kind text default null, source text default null, site text default null,
    error_code text default null, user_id uuid default null, since timestamptz default null,
    until timestamptz default null, before_at timestamptz default null, before_id uuid default null, most integer default 50
) returns jsonb
-- Otherwise PostgreSQL may plan without the given filters, and use no index for them.
language plpgsql stable security definer set search_path = '' set plan_cache_mode = force_custom_plan as $$
declare
    looked_at integer := case
        when admin_runs.status is null and coalesce(admin_runs.kind, admin_runs.source, admin_runs.site) is null then most
        else 2000 end;
    answer jsonb;
begin
    perform worker.check_admin(), worker.check_run_filters(
        admin_runs.status, admin_runs.kind, admin_runs.source, admin_runs.error_code, admin_runs.site, before_at, before_id,
        most);

    with candidate as (
        select run.id, run.created_at, run.status, run.kind, run.source
        from public.search_runs as run
        where (admin_runs.user_id is null or run.user_id = admin_runs.user_id)
          and (admin_runs.error_code is null or run.error_code = admin_runs.error_code)
          and (since is null or run.created_at >= since)
          and (until is null or run.created_at < until)
          and (before_at is null or (run.created_at, run.id) < (before_at, before_id))
        order by run.created_at desc, run.id desc
        limit looked_at
    ), numbered as (
        select candidate.*, row_number() over (order by candidate.created_at desc, candidate.id desc) as number
        from candidate
    ), chosen as materialized (
        select numbered.* from numbered
        where (admin_runs.status is null or numbered.status::text = any (admin_runs.status))
          and (admin_runs.kind is null or numbered.kind = admin_runs.kind)
          and (admin_runs.source is null or numbered.source::text = admin_runs.source)
          and (admin_runs.site is null or exists (
              select from public.search_run_sites as searched
              where searched.run_id = numbered.id and searched.site = admin_runs.site))
        order by numbered.number
        limit most
    ), last as (
        -- Where the next call continues: after a full page, or after all that this call has looked at.
        select case when (select count(*) from chosen) = most then (
            select jsonb_build_object('before_at', full_page.created_at, 'before_id', full_page.id)
            from chosen as full_page order by full_page.number desc limit 1)
        else (
            select jsonb_build_object('before_at', seen.created_at, 'before_id', seen.id)
            from numbered as seen where seen.number = looked_at) end as next
    )
    select jsonb_build_object(
        'runs', (select coalesce(jsonb_agg(worker.run_for_admin(run) order by chosen.number), '[]')
                 from chosen join public.search_runs as run on run.id = chosen.id),
        'next', last.next)
    into answer
    from last;
    return answer;
end;
$$;
comment on function public.admin_runs is
    'For admins: the runs of all users, the newest first: {runs, next}. All filters are optional: status is a list; site: '
    'they search it themselves; error_code; created since a time and until before another one. A call returns at most most '
    'runs (1 to 100), and looks at no more than 2,000: a page may be short or empty although more follow. next '
    '{before_at, before_id} has the arguments of the next call, and is null at the end. A run has the columns of '
    'search_runs, without some, and email, sites and events, its timeline: [{at, event, site, data}].';
