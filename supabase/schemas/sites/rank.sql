-- Which site first? Fallback sites last; then sites that are not paused, then by success rate and speed. A share of the runs uses a random order,
-- so that a site that was slow once gets another chance.
-- Calls: kernel/clock.

create function worker.rank_sites(run_ids uuid[], seeds uuid[]) returns table (run_id uuid, site text, rank integer)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    with unfinished as materialized (
        select asked.run_id, known.site, known.is_fallback, known.position, asked.seed, (
                   hashtextextended(format('%s %s', asked.seed, asked.run_id), 0) & 2147483647) / 2147483648.0 as chance
        from unnest(rank_sites.run_ids, rank_sites.seeds) as asked (run_id, seed)
        join public.search_run_sites as known on known.run_id = asked.run_id
        where known.completed_at is null
    ), known as materialized (
        select health.site, bool_and(coalesce(health.paused_until > worker.now(), false)) as is_paused,
               avg(health.success_rate) as success_rate, avg(health.response_ms) as response_ms
        from worker.site_health as health
        where health.site = any (array(select unfinished.site from unfinished))
        group by health.site
    )
    select unfinished.run_id, unfinished.site, row_number() over (
        partition by unfinished.run_id
        order by
            unfinished.is_fallback,
            coalesce(known.is_paused, false),
            case when unfinished.chance < settings.exploration then
                hashtextextended(format('%s %s %s', unfinished.seed, unfinished.run_id, unfinished.site), 0) end,
            -- Rounded to tenths, so that speed decides between sites with nearly equal success.
            round(coalesce(known.success_rate, 1)::numeric, 1) desc,
            coalesce(known.response_ms, 0),
            unfinished.position
    )::integer
    from unfinished
    left join known on known.site = unfinished.site
    cross join worker.settings as settings;
end;
$$;
comment on function worker.rank_sites is
    'Returns the unfinished sites of runs, the best of each first: no fallbacks, not paused, then by recent success, '
    'then by speed; unknown sites first. A share of the runs gets a random order. The same seed gives the same order.';
