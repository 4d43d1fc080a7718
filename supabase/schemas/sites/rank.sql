-- Which site first? Fallback sites last; then sites that are not paused, then by success rate and speed. A share of the runs uses a random order,
-- so that a site that was slow once gets another chance.
-- Calls: kernel/clock.

create function worker.rank_sites(run_id uuid, seed uuid) returns table (site text, rank integer)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select unfinished.site, row_number() over (
        order by
            unfinished.is_fallback,
            known.is_paused,
            case when chance.explores then hashtextextended(format('%s %s %s', seed, run_id, unfinished.site), 0) end,
            -- Rounded to tenths, so that speed decides between sites with nearly equal success.
            round(coalesce(known.success_rate, 1)::numeric, 1) desc,
            coalesce(known.response_ms, 0),
            unfinished.position
    )::integer
    from public.search_run_sites as unfinished
    cross join lateral (
        select coalesce(bool_and(coalesce(health.paused_until > worker.now(), false)), false) as is_paused,
               avg(health.success_rate) as success_rate, avg(health.response_ms) as response_ms
        from worker.site_health as health
        where health.site = unfinished.site
    ) as known
    cross join (
        select (hashtextextended(format('%s %s', seed, run_id), 0) & 2147483647) / 2147483648.0
               < settings.exploration as explores
        from worker.settings as settings
    ) as chance
    where unfinished.run_id = rank_sites.run_id and unfinished.completed_at is null;
end;
$$;
comment on function worker.rank_sites is
    'Returns the unfinished sites of a run, the best first: no fallbacks, not paused, then by recent success, '
    'then by speed; unknown sites first. A share of the runs gets a random order. The same seed gives the same order.';
