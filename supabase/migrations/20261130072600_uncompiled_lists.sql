-- Lists in lists are not compiled, where PostgreSQL is built with a compiler.

create or replace function worker.collected_searches(namespace text, collections jsonb) returns table (
    collection text, name text, kind text, parameters jsonb, time_zone text, times time[], weekdays smallint[]
)
-- A list is planned as 100 elements, three lists as a million rows: that would be compiled, for half a second a call.
language sql stable set search_path = '' set jit = off
begin atomic
    select distinct on (named.collection, named.name)
           named.collection, named.name, given.kind,
           coalesce(given.parameters, '{}') || jsonb_strip_nulls(jsonb_build_object('sites', given.sites))
               || jsonb_build_object('search_term', term.text)
               || case when place.text is null then '{}'
                       when has_places.is_list then jsonb_build_object('locations', jsonb_build_array(place.text))
                       else jsonb_build_object('location', place.text) end,
           given.time_zone,
           array(select distinct daily.time from unnest(given.times) as daily (time) order by daily.time),
           array(select distinct weekly.day from unnest(given.weekdays) as weekly (day) order by weekly.day)
    from jsonb_to_recordset(collected_searches.collections) as given (
        name text, kind text, terms jsonb, places jsonb, sites jsonb, parameters jsonb, time_zone text, times time[],
        weekdays smallint[])
    cross join lateral (
        select coalesce(bool_and(rule.name = 'locations'), false) as is_list
        from worker.parameter_rules as rule
        where rule.kind = given.kind and rule.name in ('location', 'locations')
    ) as has_places
    cross join lateral jsonb_array_elements_text(given.terms) as term (text)
    left join lateral jsonb_array_elements_text(coalesce(given.places, '[]')) as place (text) on true
    cross join lateral (
        select collected_searches.namespace || '/' || given.name as collection,
               worker.collected_name(collected_searches.namespace || '/' || given.name, term.text, place.text) as name
    ) as named
    order by named.collection, named.name;
end;

create or replace function worker.limits_by_site() returns table (site text, limits jsonb)
-- As in worker.collected_searches: three objects in each other are planned as a million rows.
language sql stable set search_path = '' set jit = off
begin atomic
    with declared as (
        -- As the worker says that was seen last: an older one may have another version.
        select distinct on (bucket.key) bucket.key as bucket, bucket.value as limits
        from worker.workers as known
        cross join lateral jsonb_each(known.limits) as by_kind
        cross join lateral jsonb_each(by_kind.value) as by_site
        cross join lateral jsonb_each(by_site.value) as bucket
        order by bucket.key, known.seen_at desc
    ), every as (
        select coalesce(declared.bucket, own.bucket) as bucket, declared.limits
        from declared
        full join worker.bucket_limits as own on own.bucket = declared.bucket
    )
    select split_part(every.bucket, ':', 1),
           jsonb_agg(worker.known_limits(every.bucket, every.limits) order by every.bucket)
    from every
    group by split_part(every.bucket, ':', 1);
end;
