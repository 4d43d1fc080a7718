-- Which site first? Those that are not paused, then by success rate and speed. A share of the runs takes any order, so
-- that a site that was slow once gets another chance.
-- Calls: kernel/clock.

create function worker.rank_sites(run_id uuid, seed uuid) returns table (site text, rank integer)
language sql stable set search_path = ''
begin atomic
    select unfinished.site, row_number() over (
        order by
            known.is_paused,
            case when chance.explores then hashtextextended(format('%s %s %s', seed, run_id, unfinished.site), 0) end,
            -- To a tenth: a site that failed once, long ago, may still be the faster one.
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
comment on function worker.rank_sites is
    'Unfinished sites of a run, the best one first: not paused, then by success lately, then by speed; those that are '
    'not known yet before. Of some runs in any order. The same for the same seed, as long as the sites are.';
