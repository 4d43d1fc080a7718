-- What can a user search for, where, and with which parameters? As the rules of the kinds say; a site can be searched if a
-- living worker has it.
-- Calls: kernel/clock, kernel/messages, sites/exits.

create function worker.site_pauses(user_id uuid) returns table (site text, paused_until timestamptz)
language sql stable set search_path = ''
begin atomic
    select pause.site, max(pause.paused_until)
    from (
        select health.site, health.account, health.paused_until from worker.account_health() as health
        union all
        -- Through all exits.
        select bucket.bucket, bucket.account,
               case when bool_and(coalesce(bucket.paused_until > worker.now(), false)) then min(bucket.paused_until) end
        from worker.site_buckets as bucket
        where bucket.exit <> '*'
        group by bucket.bucket, bucket.account
        union all
        select failed.site, failed.account, min(failed.failed_at + failed.pause)
        from worker.site_failures as failed
        where failed.user_id = site_pauses.user_id
          and not exists (
              select from worker.site_health as other
              where other.site = failed.site and other.account = failed.account and other.exit <> failed.exit)
        group by failed.site, failed.account
    ) as pause (site, account, paused_until)
    where pause.paused_until > worker.now()
      and (pause.account = '' or exists (
          select from worker.accounts as own
          where own.user_id = site_pauses.user_id and own.site = pause.site and own.account = pause.account))
    group by pause.site;
end;
comment on function worker.site_pauses is
    'Returns until when sites are paused for a user: for all users, for the user alone, or for an account of the user.';

create function public.search_options() returns jsonb
language sql stable security definer set search_path = ''
begin atomic
    with searchable as materialized (
        select distinct kind.key as kind, site.value as site
        from worker.workers as known
        cross join worker.settings as settings
        cross join lateral jsonb_each(known.sites) as kind
        cross join lateral jsonb_array_elements_text(kind.value) as site
        where known.seen_at > worker.now() - settings.worker_timeout
    ), paused as materialized (
        select pause.site, pause.paused_until from worker.site_pauses(auth.uid()) as pause
    ), offered as (
        select rule.kind, jsonb_agg(jsonb_build_object(
            'site', named.site, 'label', worker.site_label(named.site),
            'is_searchable', searchable.site is not null, 'paused_until', paused.paused_until) order by named.ordinal) as sites
        from worker.parameter_rules as rule
        cross join lateral unnest(rule.allowed) with ordinality as named (site, ordinal)
        left join searchable on searchable.kind = rule.kind and searchable.site = named.site
        left join paused on paused.site = named.site
        where rule.name = 'sites'
        group by rule.kind
    ), ruled as (
        select rule.kind, jsonb_agg(jsonb_build_object(
            'name', rule.name, 'type', rule.type, 'is_required', rule.is_required, 'minimum', rule.minimum,
            'maximum', rule.maximum, 'allowed', rule.allowed, 'default', rule.default_value,
            'names_boards_of', rule.names_boards_of) order by rule.is_required desc, rule.name) as parameters
        from worker.parameter_rules as rule
        group by rule.kind
    )
    select jsonb_build_object('kinds', coalesce(jsonb_agg(jsonb_build_object(
        'kind', known.kind, 'is_private', known.is_private, 'parameters', ruled.parameters,
        'sites', coalesce(offered.sites, '[]')) order by known.kind), '[]'))
    from worker.kinds as known
    join ruled on ruled.kind = known.kind
    left join offered on offered.kind = known.kind;
end;
comment on function public.search_options is
    'Returns what a form needs: {kinds: [{kind, is_private, parameters, sites}]}. parameters are {name, type, is_required, '
    'minimum, maximum, allowed, default, names_boards_of}, as in worker.parameter_rules. sites are {site, label, '
    'is_searchable, paused_until}: whether a living worker can search it, and until when it is paused for the caller.';
