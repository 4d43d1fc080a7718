-- What can a user read about a run while waiting for it? A summary of what it has found so far.
-- Calls: nothing.

create function public.usual_search_seconds(site text) returns real
language sql stable security definer set search_path = ''
begin atomic
    select avg(health.search_seconds)::real from worker.site_health as health
    where health.site = usual_search_seconds.site;
end;
comment on function public.usual_search_seconds is
    'Returns how long a search of a site usually takes, in seconds; null if that is unknown.';

create function public.insights_of_run(run_id uuid) returns jsonb
-- As page_of_run_items.
language plpgsql stable security invoker set search_path = '' set plan_cache_mode = force_generic_plan as $$
declare
    answer jsonb;
begin
    if not exists (select from public.search_runs as run where run.id = insights_of_run.run_id) then
        raise sqlstate 'PT404' using message = 'run_id must be the id of one of your runs';
    end if;

    with item as materialized (
        select found.organization, found.is_new, found.work_mode, found.skills, found.currency,
               -- The middle of the range, or the end that is known.
               (coalesce(found.salary_yearly_min, found.salary_yearly_max)
                + coalesce(found.salary_yearly_max, found.salary_yearly_min)) / 2 as yearly_pay
        from public.run_items as found
        where found.run_id = insights_of_run.run_id
    ), paid as (
        select item.currency, count(*) as items,
               percentile_cont(array[0.25, 0.5, 0.75]) within group (order by item.yearly_pay) as quartiles
        from item
        where item.yearly_pay is not null and item.currency is not null
        group by item.currency
    ), skill as (
        select named.skill, count(*) as items
        from item cross join unnest(item.skills) as named (skill)
        group by named.skill
        order by items desc, named.skill
        limit 10
    ), employer as (
        select item.organization, count(*) as items
        from item
        where item.organization is not null
        group by item.organization
        order by items desc, item.organization
        limit 10
    )
    select jsonb_build_object(
        'found', count(*),
        'new', count(*) filter (where item.is_new),
        'work_modes', jsonb_build_object(
            'remote', count(*) filter (where item.work_mode = 'remote'),
            'hybrid', count(*) filter (where item.work_mode = 'hybrid'),
            'onsite', count(*) filter (where item.work_mode = 'onsite')),
        'pay', (select coalesce(jsonb_agg(jsonb_build_object(
                    'currency', paid.currency, 'items', paid.items, 'low', round(paid.quartiles[1]),
                    'median', round(paid.quartiles[2]), 'high', round(paid.quartiles[3]))
                order by paid.items desc, paid.currency), '[]') from paid),
        'skills', (select coalesce(jsonb_agg(jsonb_build_object('skill', skill.skill, 'items', skill.items)
                                             order by skill.items desc, skill.skill), '[]') from skill),
        'organizations', (select coalesce(jsonb_agg(to_jsonb(employer)
                                                    order by employer.items desc, employer.organization), '[]') from employer),
        'sites', (select coalesce(jsonb_agg(jsonb_build_object(
                      'site', searched.site, 'usual_seconds', public.usual_search_seconds(searched.site))
                  order by searched.position), '[]')
                  from public.run_sites as searched
                  where searched.run_id = insights_of_run.run_id and searched.completed_at is null))
    into answer
    from item;
    return answer;
end;
$$;
comment on function public.insights_of_run is
    'Returns a summary of what a run has found so far: {found, new, work_modes {remote, hybrid, onsite}, pay '
    '[{currency, items, low, median, high}], skills [{skill, items}], organizations [{organization, items}], '
    'sites [{site, usual_seconds}]}. pay has '
    'the quartiles of the yearly pay; skills and organizations are the ten most frequent; sites '
    'are those that are still searched.';
