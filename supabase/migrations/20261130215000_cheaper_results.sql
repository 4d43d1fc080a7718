-- Reading results looks up no other sighting of a thing for a field that the first one has.

create or replace view public.run_items with (security_invoker = true) as
select
    run.id as run_id,
    sighted.item_id,
    sighted.site,
    sighted.sites,
    sighted.page_number,
    sighted.position,
    sighted.found_at,
    case
        when sighted.last_completed_at is null
             or coalesce(oldest.first_seen_at, sighted.first_seen_at) > sighted.last_completed_at then true
        else not exists (
            select from (
                select sighted.item_id as id
                union all
                select duplicate.id from public.items as duplicate where duplicate.duplicate_of = sighted.item_id
            ) as sighting
            join public.search_results as shown on shown.item_id = sighting.id
            -- Not `= any (...)` alone: before PostgreSQL 17 it would search the index once for each run. And not a function
            -- that is not leakproof, such as array_position(): row level security would come first, and look up the run of
            -- each result of the thing, those of all users.
            where (shown.run_id = any (sighted.earlier_run_ids)) is true
        )
    end as is_new,
    sighted.kind,
    sighted.title,
    sighted.any_organization as organization,
    case when sighted.any_organization_id is null and sighted.from_named_board
         then (select own.id from public.organizations as own
               where own.key = sighted.organization_key and own.owner_id = run.user_id)
         else sighted.any_organization_id end as organization_id,
    coalesce(sighted.location, located.location) as location,
    case when sighted.location is null then located.city else sighted.city end as city,
    case when sighted.location is null then located.region else sighted.region end as region,
    case when sighted.location is null then located.country else sighted.country end as country,
    case when sighted.location is null then coalesce(located.places, '[]') else sighted.places end as places,
    sighted.any_is_remote as is_remote,
    sighted.any_work_mode as work_mode,
    case when sighted.job_types = '{}' then coalesce(typed.job_types, '{}') else sighted.job_types end as job_types,
    sighted.any_posted_at as posted_at,
    case when own.has_salary then sighted.salary_min else paid.salary_min end as salary_min,
    case when own.has_salary then sighted.salary_max else paid.salary_max end as salary_max,
    case when own.has_salary then sighted.salary_interval else paid.salary_interval end as salary_interval,
    case when own.has_salary then sighted.currency else paid.currency end as currency,
    case when own.has_salary then sighted.salary_yearly_min else paid.salary_yearly_min end as salary_yearly_min,
    case when own.has_salary then sighted.salary_yearly_max else paid.salary_yearly_max end as salary_yearly_max,
    sighted.url,
    sighted.any_apply_url as apply_url,
    coalesce(sighted.description, described.description) as description,
    case when sighted.description is null then coalesce(described.skills, '{}') else sighted.skills end as skills,
    case when sighted.description is null then described.experience_years else sighted.experience_years end
        as experience_years,
    sighted.data,
    sighted.any_first_seen_at as first_seen_at,
    sighted.any_last_seen_at as last_seen_at
from public.search_runs as run
cross join lateral (
    select max(earlier.completed_at) as last_completed_at,
           array_agg(case when earlier.shared_run_id is not null then earlier.shared_run_id else earlier.id end
                     order by earlier.completed_at desc) as earlier_run_ids
    from public.search_runs as earlier
    where earlier.user_id = run.user_id
      and earlier.fingerprint = run.fingerprint
      and earlier.status in ('success', 'partial')
      and earlier.completed_at <= run.created_at
      and earlier.id <> run.id
) as previous
cross join lateral (
    select
        -- Columns of the run, too, so that they are computed once, not for each thing.
        previous.*,
        case when sighting.duplicate_of is not null then sighting.duplicate_of else sighting.id end as item_id,
        sighting.*,
        result.site,
        result.page_number,
        result.position,
        result.created_at as found_at,
        jsonb_agg(jsonb_build_object(
            'site', result.site, 'url', sighting.url,
            'external_id', substr(sighting.canonical_key, length(result.site) + 2)
        )) over all_sightings as sites,
        (array_agg(sighting.organization) filter (where sighting.organization is not null) over all_sightings)[1]
            as any_organization,
        (array_agg(sighting.organization_id) filter (where sighting.organization_id is not null) over all_sightings)[1]
            as any_organization_id,
        (array_agg(sighting.is_remote) filter (where sighting.is_remote is not null) over all_sightings)[1]
            as any_is_remote,
        (array_agg(sighting.work_mode) filter (where sighting.work_mode is not null) over all_sightings)[1]
            as any_work_mode,
        (array_agg(sighting.posted_at) filter (where sighting.posted_at is not null) over all_sightings)[1]
            as any_posted_at,
        (array_agg(sighting.apply_url) filter (where sighting.apply_url is not null) over all_sightings)[1]
            as any_apply_url,
        min(sighting.first_seen_at) over all_sightings as any_first_seen_at,
        max(sighting.last_seen_at) over all_sightings as any_last_seen_at,
        -- Null where the first sighting has it, so that no other one is looked up. Not in the conditions of the joins,
        -- which are checked after the look-up.
        case when sighting.location is null then
            (array_agg(sighting.id) filter (where sighting.location is not null) over all_sightings)[1]
        end as located_id,
        case when sighting.job_types = '{}' then
            (array_agg(sighting.id) filter (where sighting.job_types <> '{}') over all_sightings)[1]
        end as typed_id,
        case when sighting.description is null then
            (array_agg(sighting.id) filter (where sighting.description is not null) over all_sightings)[1]
        end as described_id,
        case when coalesce(sighting.salary_min, sighting.salary_max) is null then
            (array_agg(sighting.id) filter (where coalesce(sighting.salary_min, sighting.salary_max) is not null)
                over all_sightings)[1]
        end as paid_id,
        row_number() over sightings as place
    from public.search_results as result
    join public.items as sighting on sighting.id = result.item_id
    -- Not coalesce(): it is not leakproof, so that row level security prevents the use of the index (6 s instead of 16
    -- ms for a run with 1,000 of 160,000 results).
    where result.run_id = case
        when run.shared_run_id is not null then run.shared_run_id
        when run.leader_run_id is not null then run.leader_run_id
        else run.id
    end
    window sightings as (
        partition by case when sighting.duplicate_of is not null then sighting.duplicate_of else sighting.id end
        order by result.created_at, result.position, result.item_id),
    all_sightings as (sightings rows between unbounded preceding and unbounded following)
) as sighted
cross join lateral (select coalesce(sighted.salary_min, sighted.salary_max) is not null as has_salary) as own
left join public.items as oldest on oldest.id = sighted.duplicate_of
left join public.items as located on located.id = sighted.located_id
left join public.items as typed on typed.id = sighted.typed_id
left join public.items as described on described.id = sighted.described_id
left join public.items as paid on paid.id = sighted.paid_id
where sighted.place = 1;
