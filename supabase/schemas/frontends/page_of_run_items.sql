-- Which results of a run belong on a page? Those that pass the filters, in a total order, so that no result is shown
-- twice or missing.
-- Calls: nothing.

-- Planned once for a connection: the plan is the same for each run, and takes longer than the query.
create function public.page_of_run_items(
    run_id uuid, page integer default 1, per_page integer default 50, filters jsonb default '{}', sort text default 'found'
) returns jsonb
language plpgsql stable security invoker set search_path = '' set plan_cache_mode = force_generic_plan as $$
declare
    words text[];
    wanted_skills text[];
    problem text;
    answer jsonb;
begin
    problem := coalesce(
        case when page between 1 and 1000000 is not true then 'page must be from 1 to 1000000'
             when per_page between 1 and 100 is not true then 'per_page must be from 1 to 100'
             when sort in ('found', 'posted', 'pay') is not true then 'sort must be found, posted or pay'
             when jsonb_typeof(filters) is distinct from 'object' then 'filters must be an object' end, (
        select 'filters.' || given.name || coalesce(' must be ' || rule.allowed,
                   ' is unknown; allowed: city, country, is_new, is_remote, pay_from, site, skills, words, work_mode')
        from jsonb_each(filters) as given (name, value)
        left join (values
            ('{city,country,site,words}', '$ like_regex "^.{0,200}$" flag "s"', 'a text of at most 200 characters'),
            ('{work_mode}', '$ == "remote" || $ == "hybrid" || $ == "onsite"', 'remote, hybrid or onsite'),
            ('{pay_from}', '$.type() == "number"', 'a number'),
            ('{is_new,is_remote}', '$.type() == "boolean"', 'true or false'),
            ('{skills}', '$.type() == "array" && $.size() <= 20 && !exists($[*] ? (@.type() != "string"))',
             'a list of at most 20 texts')
        ) as rule (names, is_valid, allowed) on given.name = any (rule.names::text[])
        where rule.names is null or (
            given.value <> 'null' and jsonb_path_match(given.value, rule.is_valid::jsonpath, silent => true) is not true)
        order by given.name
        limit 1));
    if problem is not null then
        raise sqlstate '22023' using message = problem;
    elsif not exists (select from public.search_runs as run where run.id = page_of_run_items.run_id) then
        raise sqlstate 'PT404' using message = 'run_id must be the id of one of your runs';
    end if;
    words := regexp_split_to_array(lower(nullif(btrim(filters ->> 'words'), '')), '\s+');
    wanted_skills := array(select lower(skill) from jsonb_array_elements_text(nullif(filters -> 'skills', 'null')) as skill);

    with chosen as materialized (
        select item.*
        from public.run_items as item
        where item.run_id = page_of_run_items.run_id
          and (filters ->> 'site' is null
               or item.sites @> jsonb_build_array(jsonb_build_object('site', filters ->> 'site')))
          and (filters ->> 'is_new' is null or item.is_new = (filters ->> 'is_new')::boolean)
          and (filters ->> 'is_remote' is null or item.is_remote = (filters ->> 'is_remote')::boolean)
          and (filters ->> 'work_mode' is null or item.work_mode = filters ->> 'work_mode')
          and (filters ->> 'pay_from' is null
               or coalesce(item.salary_yearly_max, item.salary_yearly_min) >= (filters ->> 'pay_from')::numeric)
          and (filters ->> 'country' is null or item.country = upper(filters ->> 'country')
               or item.places @> jsonb_build_array(jsonb_build_object('country', upper(filters ->> 'country'))))
          and (filters ->> 'city' is null or lower(filters ->> 'city') in (
              select lower(named.city) from jsonb_to_recordset(item.places) as named (city text)
              union all select lower(item.city)))
          and (wanted_skills = '{}' or wanted_skills <@ array(select lower(skill) from unnest(item.skills) as skill))
          and (words is null or not exists (
              select from unnest(words) as word
              where strpos(lower(concat_ws(' ', item.title, item.organization, item.location,
                                           array_to_string(item.skills, ' '))), word) = 0))
    ), listed as (
        select chosen.*, row_number() over (
            order by case sort when 'posted' then extract(epoch from chosen.posted_at)
                               when 'pay' then coalesce(chosen.salary_yearly_max, chosen.salary_yearly_min)
                     end desc nulls last,
                     chosen.found_at, chosen.page_number, chosen.position, chosen.site, chosen.item_id) as place
        from chosen
        order by place
        limit per_page offset (page - 1)::bigint * per_page
    )
    select jsonb_build_object(
        'items', (select coalesce(jsonb_agg(to_jsonb(listed) - '{description,place}'::text[] order by listed.place), '[]')
                  from listed),
        'page', page, 'per_page', per_page, 'total', counted.total,
        'total_pages', ceil(counted.total::numeric / per_page)::integer,
        'has_more', page::bigint * per_page < counted.total)
    into answer
    from (select count(*) as total from chosen) as counted;
    return answer;
end;
$$;
comment on function public.page_of_run_items is
    'Returns a page of a run''s results: {items, page, per_page, total, total_pages, has_more}. Items have the columns '
    'of run_items without description. Past the end, items is empty. sort: found (the order in which they were found), '
    'posted (newest first) or pay (by the year, highest first). filters: {site, is_new, is_remote, work_mode, pay_from, '
    'country, city, skills, words}.';
