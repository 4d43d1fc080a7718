-- Who may do what. Nothing is left to a project's default privileges, which differ with its age; row level security
-- is on everywhere. Only our own objects are named: the project may have others.

create view public.run_items with (security_invoker = true) as
select
    run.id as run_id,
    result.item_id,
    result.site,
    result.page_number,
    result.position,
    result.created_at as found_at,
    item.first_seen_at > coalesce(previous.completed_at, '-infinity') as is_new,
    item.kind,
    item.title,
    item.organization,
    item.location,
    item.is_remote,
    item.posted_at,
    item.salary_min,
    item.salary_max,
    item.salary_interval,
    item.currency,
    item.url,
    item.apply_url,
    item.description,
    item.data,
    item.first_seen_at,
    item.last_seen_at
from public.search_runs as run
-- Not coalesce(): it is not leakproof, so that row level security would keep it out of the index (6 s against 16 ms
-- for a run of 1,000 results among 160,000).
join public.search_results as result on result.run_id = case
    when run.shared_run_id is not null then run.shared_run_id
    when run.leader_run_id is not null then run.leader_run_id
    else run.id
end
join public.items as item on item.id = result.item_id
left join lateral (
    select max(earlier.completed_at) as completed_at
    from public.search_runs as earlier
    where earlier.fingerprint = run.fingerprint
      and earlier.user_id = run.user_id
      and earlier.status in ('success', 'partial')
      and earlier.completed_at <= run.created_at
) as previous on true;
comment on view public.run_items is 'What a run found, one row for each item, also when another run searched for it.';
comment on column public.run_items.run_id is 'The run that asked: filter by it.';
comment on column public.run_items.site is 'The site that had it first.';
comment on column public.run_items.page_number is 'The site''s page that it was on, from 1.';
comment on column public.run_items.position is 'Place on its page, from 1.';
comment on column public.run_items.found_at is 'When this search found it.';
comment on column public.run_items.is_new is
    'First seen after this user''s previous finished run of the same search; true for everything on the first.';

do $$
declare
    relation text;
begin
    foreach relation in array array['search_runs', 'search_run_sites', 'search_results', 'items', 'item_sources',
                                    'saved_searches', 'run_events', 'run_items'] loop
        execute format('revoke all on public.%I from public, anon, authenticated, service_role', relation);
        execute format('grant select on public.%I to authenticated, service_role', relation);
    end loop;
    foreach relation in array array['search_runs', 'search_run_sites', 'search_results', 'items', 'item_sources',
                                    'saved_searches', 'run_events'] loop
        execute format('alter table public.%I enable row level security', relation);
    end loop;
    foreach relation in array array['leases', 'raw_collections', 'processing_log', 'site_health', 'settings',
                                    'housekeeping', 'parameter_rules'] loop
        execute format('revoke all on worker.%I from public, anon, authenticated, service_role', relation);
        execute format('alter table worker.%I enable row level security', relation);
    end loop;
end;
$$;

revoke all on sequence public.item_sources_id_seq, public.run_events_id_seq
    from public, anon, authenticated, service_role;
revoke all on all sequences in schema worker from public, anon, authenticated, service_role;

grant insert (user_id, workspace_id, kind, parameters, client_context, idempotency_key), update (cancel_requested_at)
    on public.search_runs to authenticated;
grant insert (user_id, workspace_id, kind, source, parameters, client_context, idempotency_key, priority, max_attempts,
              run_after), delete
    on public.search_runs to service_role;
grant insert (user_id, workspace_id, name, kind, parameters), update (workspace_id, name, kind, parameters), delete
    on public.saved_searches to authenticated, service_role;

create policy "Owners see their runs" on public.search_runs
    for select to authenticated using (user_id = (select auth.uid()));
create policy "Users start runs of their own" on public.search_runs
    for insert to authenticated with check (user_id = (select auth.uid()));
create policy "Owners cancel their runs" on public.search_runs
    for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));

-- Whoever sees a run sees its sites and results, also through a follower or a run that was answered with it.
create policy "Sites of visible runs" on public.search_run_sites
    for select to authenticated using (
        exists (select from public.search_runs as run where run.id = search_run_sites.run_id)
        or exists (select from public.search_runs as run where run.leader_run_id = search_run_sites.run_id)
        or exists (select from public.search_runs as run where run.shared_run_id = search_run_sites.run_id)
    );
create policy "Results of visible runs" on public.search_results
    for select to authenticated using (
        exists (select from public.search_runs as run where run.id = search_results.run_id)
        or exists (select from public.search_runs as run where run.leader_run_id = search_results.run_id)
        or exists (select from public.search_runs as run where run.shared_run_id = search_results.run_id)
    );
create policy "Events of visible runs" on public.run_events
    for select to authenticated using (
        exists (select from public.search_runs as run where run.id = run_events.run_id)
    );

create policy "Public items and own items" on public.items
    for select to authenticated using (owner_id is null or owner_id = (select auth.uid()));
create policy "Public sightings and own sightings" on public.item_sources
    for select to authenticated using (owner_id is null or owner_id = (select auth.uid()));

create policy "Owners see their saved searches" on public.saved_searches
    for select to authenticated using (user_id = (select auth.uid()));
create policy "Users save searches of their own" on public.saved_searches
    for insert to authenticated with check (user_id = (select auth.uid()));
create policy "Owners change their saved searches" on public.saved_searches
    for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy "Owners delete their saved searches" on public.saved_searches
    for delete to authenticated using (user_id = (select auth.uid()));

revoke all on all functions in schema worker from public, anon, authenticated, service_role;
do $$
declare
    rpc regprocedure;
begin
    for rpc in
        select routine.oid from pg_proc as routine
        where routine.pronamespace = 'public'::regnamespace
          and routine.proname in (
              'enqueue_search', 'rerun_search', 'cancel_search', 'worker_claim_runs', 'worker_heartbeat',
              'worker_start_site', 'worker_save_page', 'worker_finish_site', 'worker_finish_run', 'worker_release_runs',
              'worker_delete_expired')
    loop
        execute format('revoke all on function %s from public, anon, authenticated, service_role', rpc);
        execute format('grant execute on function %s to %s', rpc,
                       case when rpc::text like '%worker\_%' then 'service_role' else 'authenticated' end);
    end loop;
end;
$$;

alter publication supabase_realtime add table public.search_runs, public.search_run_sites, public.search_results;
