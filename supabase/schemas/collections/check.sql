-- Are these collections valid? They are checked before anything is written, like what users send: each search as a run,
-- and each schedule. A message names the collection.
-- Calls: parameters/check, schedules/check, collections/expand.

create function worker.collection_problem(namespace text, collections jsonb) returns text
language sql stable set search_path = ''
begin atomic
    with given as (
        select named.name, named.time_zone, named.times, named.weekdays,
               coalesce(jsonb_array_length(named.terms), 0) as terms,
               coalesce(jsonb_array_length(named.places), 0) as places
        from jsonb_to_recordset(collection_problem.collections) as named (
            name text, terms jsonb, places jsonb, time_zone text, times time[], weekdays smallint[])
    ), total as (
        select coalesce(sum(given.terms::bigint * greatest(given.places, 1)), 0) as searches from given
    )
    select case
        when collection_problem.namespace ~ '^[a-z0-9][a-z0-9-]{0,49}$' is not true
            then 'namespace must be 1 to 50 small letters, digits and hyphens'
        when total.searches > settings.max_searches_per_namespace
            then format('at most %s searches may be in the collections of a namespace, not %s: use several namespaces',
                        settings.max_searches_per_namespace, total.searches)
        else (
            select format('collection %s: %s', coalesce(wrong.name, 'without a name'), wrong.problem)
            from (
                select given.name, case
                    when given.name ~ '^[a-z0-9][a-z0-9-]{0,49}$' is not true
                        then 'name must be 1 to 50 small letters, digits and hyphens'
                    when count(*) over (partition by given.name) > 1 then 'name must be unique in its namespace'
                    when given.terms = 0 then 'terms must be a list of at least one text'
                    else worker.schedule_problem(given.time_zone, given.times, given.weekdays)
                end as problem
                from given
            ) as wrong
            where wrong.problem is not null
            limit 1)
    end
    from total cross join worker.settings as settings;
end;
comment on function worker.collection_problem is
    'Returns what is wrong with the names, the size or the schedules of collections; null if nothing is.';

create function worker.check_collections(namespace text, collections jsonb) returns void
language plpgsql stable set search_path = '' as $$
declare
    problem text;
    checked text;
    search record;
begin
    if jsonb_typeof(collections) is distinct from 'array' then
        raise sqlstate '22023' using message = 'collections must be a list';
    end if;
    problem := worker.collection_problem(namespace, collections);
    if problem is not null then
        raise sqlstate '22023' using message = problem;
    end if;
    for search in
        select wanted.* from worker.collected_searches(namespace, collections) as wanted
        where not exists (
            select from public.saved_searches as saved
            where split_part(saved.collection, '/', 1) = check_collections.namespace and saved.name = wanted.name
              and saved.kind = wanted.kind and saved.parameters = wanted.parameters)
    loop
        checked := search.name;
        perform worker.check_parameters(search.kind, search.parameters);
    end loop;
exception when invalid_parameter_value then
    get stacked diagnostics problem = message_text;
    raise sqlstate '22023' using message = case when checked is null then problem
                                                else format('search %L: %s', checked, problem) end;
end;
$$;
comment on function worker.check_collections is
    'Raises 22023 (HTTP 400) with what is wrong with collections. Searches that are saved already are not checked again.';
