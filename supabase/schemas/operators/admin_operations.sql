-- What do admins see of the workers, the incidents and the webhooks? And they may send dead messages again.
-- Calls: webhooks/endpoints, alerts/rules, operators/activity, operators/admins.

create function public.admin_workers() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
    perform worker.check_admin();
    return public.worker_activity(most => 100);
end;
$$;
comment on function public.admin_workers is
    'For admins: which workers live, which runs they search at this moment and what ended lately, as in worker_activity.';

create function public.admin_incidents() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
    perform worker.check_admin();
    return public.worker_alerts();
end;
$$;
comment on function public.admin_incidents is 'For admins: the alert rules and the incidents, as in worker_alerts.';

create function public.admin_webhooks() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
    perform worker.check_admin();
    return jsonb_build_object(
        'endpoints', (select coalesce(jsonb_agg(to_jsonb(endpoint) - 'url' order by endpoint.name), '[]')
                      from public.worker_webhooks() as endpoint),
        'dead', (select coalesce(jsonb_agg(to_jsonb(message) - 'data' order by message.created_at desc), '[]')
                 from public.worker_dead_webhooks() as message));
end;
$$;
comment on function public.admin_webhooks is
    'For admins: {endpoints, dead}: the webhook endpoints with the numbers of their messages, and the last 100 messages '
    'whose attempts have all failed. Without addresses, which may have tokens in them.';

create function public.admin_replay_webhooks(endpoint text, message_id uuid default null) returns integer
language plpgsql security definer set search_path = '' as $$
begin
    perform worker.check_admin();
    return public.worker_replay_webhooks(admin_replay_webhooks.endpoint, admin_replay_webhooks.message_id);
end;
$$;
comment on function public.admin_replay_webhooks is
    'For admins: sends dead messages of an endpoint again, or one message, as worker_replay_webhooks does. Returns how many.';
