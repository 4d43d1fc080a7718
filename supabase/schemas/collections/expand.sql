-- Which searches is a collection? Each of its terms in each of its places, with its other parameters.
-- Calls: nothing.

create function worker.collected_name(collection text, term text, place text) returns text
language sql immutable set search_path = ''
begin atomic
    select case
        when length(plain.name) <= 200 and position(' in ' in term) = 0 and coalesce(position(' in ' in place), 0) = 0
            then plain.name
        -- Otherwise two searches could have one name.
        else left(plain.name, 189) || ' #' || left(
            encode(sha256(convert_to(jsonb_build_array(term, place)::text, 'UTF8')), 'hex'), 9)
    end
    from (select collection || ': ' || term || coalesce(' in ' || place, '') as name) as plain;
end;
comment on function worker.collected_name is
    'Returns the name of a search of a collection: namespace/collection: term in place. Unique for its term and place.';

create function worker.collected_searches(namespace text, collections jsonb) returns table (
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
comment on function worker.collected_searches is
    'Returns the searches of the collections of a namespace, and when they are repeated.';
