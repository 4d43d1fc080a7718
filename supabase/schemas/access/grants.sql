-- Who may call which function, and write which column? Nothing depends on a project's default privileges, which differ
-- by its age. Only objects of this schema are named, because the project may have others.
-- Calls: nothing.

do $$
declare
    relation text;
begin
    foreach relation in array array['search_runs', 'search_run_sites', 'search_results', 'items', 'item_sources',
                                    'organizations', 'saved_searches', 'run_events', 'run_items', 'run_sites',
                                    'search_schedules', 'saved_search_states'] loop
        execute format('revoke all on public.%I from public, anon, authenticated, service_role', relation);
        execute format('grant select on public.%I to authenticated, service_role', relation);
    end loop;
    foreach relation in array array['search_runs', 'search_run_sites', 'search_results', 'items', 'item_sources',
                                    'organizations', 'saved_searches', 'search_schedules', 'run_events'] loop
        execute format('alter table public.%I enable row level security', relation);
    end loop;
    foreach relation in array array['leases', 'workers', 'deleted_runs', 'ended_leaders', 'accounts', 'raw_collections', 'processing_log', 'site_health',
                                    'settings', 'housekeeping', 'kinds', 'sites', 'messages', 'parameter_rules', 'kept_apart',
                                    'embedding_queue', 'breaker_rules', 'bucket_limits', 'site_buckets', 'site_searches',
                                    'site_waits', 'site_failures', 'site_shares', 'exit_stats', 'user_activity',
                                    'webhook_endpoints', 'webhook_messages', 'run_stats', 'run_totals', 'site_totals', 'page_stats',
                                    'queue_samples', 'counted_runs', 'alert_rules', 'incidents'] loop
        execute format('revoke all on worker.%I from public, anon, authenticated, service_role', relation);
        execute format('alter table worker.%I enable row level security', relation);
    end loop;
end;
$$;

revoke all on worker.data_quality, worker.item_facts from public, anon, authenticated, service_role;
revoke all on sequence public.item_sources_id_seq, public.run_events_id_seq
    from public, anon, authenticated, service_role;
revoke all on all sequences in schema worker from public, anon, authenticated, service_role;

grant insert (user_id, workspace_id, kind, parameters, client_context, saved_search_id, idempotency_key, fresh), update (cancel_requested_at), delete
    on public.search_runs to authenticated;
grant insert (user_id, workspace_id, kind, source, parameters, client_context, saved_search_id, idempotency_key, fresh, priority,
              max_attempts, run_after), delete
    on public.search_runs to service_role;
grant insert (user_id, workspace_id, name, kind, parameters), update (workspace_id, name, kind, parameters), delete
    on public.saved_searches to authenticated, service_role;
grant insert (saved_search_id, time_zone, times, weekdays, paused),
      update (saved_search_id, time_zone, times, weekdays, paused), delete
    on public.search_schedules to authenticated, service_role;

revoke all on all functions in schema worker from public, anon, authenticated, service_role;
do $$
declare
    rpc regprocedure;
begin
    for rpc in
        select routine.oid from pg_proc as routine
        where routine.pronamespace = 'public'::regnamespace
          and routine.proname in (
              'enqueue_search', 'rerun_search', 'cancel_search', 'delete_search', 'run_saved_search', 'mark_seen',
              'last_seen', 'new_results',
              'page_of_run_items', 'insights_of_run', 'usual_search_seconds', 'search_options', 'worker_claim_runs', 'worker_heartbeat',
              'worker_start_import', 'worker_start_sites', 'worker_save_pages', 'worker_write_progress', 'worker_write_alert',
              'worker_finish_sites', 'worker_finish_and_claim', 'worker_leave_exit', 'worker_set_account',
              'worker_release_runs', 'worker_delete_expired', 'worker_reprocess', 'worker_claim_pages',
              'worker_load_page', 'worker_merge_items', 'worker_split_item', 'worker_take_permit', 'worker_observe_limits',
              'worker_site_health', 'worker_status', 'worker_activity', 'worker_fire_schedules', 'worker_apply_collections',
              'worker_collections', 'worker_claim_webhooks', 'worker_save_webhooks', 'worker_add_webhook',
              'worker_remove_webhook', 'worker_webhooks', 'worker_dead_webhooks', 'worker_replay_webhooks',
              'worker_count_runs', 'admin_overview', 'admin_sites', 'admin_runs', 'admin_quality', 'admin_quotas',
              'admin_workers', 'admin_incidents', 'admin_webhooks', 'admin_replay_webhooks',
              'worker_check_alerts', 'worker_claim_notices', 'worker_save_notices', 'worker_alerts', 'worker_set_alert',
              'worker_health', 'search_health', 'worker_count_requests', 'worker_exits', 'admin_exits')
    loop
        execute format('revoke all on function %s from public, anon, authenticated, service_role', rpc);
        execute format('grant execute on function %s to %s', rpc,
                       case when rpc::text like '%worker\_%' then 'service_role'
                            when rpc::text like '%admin\_%' then 'authenticated, service_role'  -- see worker.check_admin
                            else 'authenticated' end);
    end loop;
end;
$$;
-- The view saved_search_states calls it.
grant execute on function public.last_seen() to service_role;
-- An uptime monitor calls it without a key of the operator.
grant execute on function public.search_health() to anon, service_role;
