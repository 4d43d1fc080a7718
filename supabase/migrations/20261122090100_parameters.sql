-- A run's parameters are checked here, whoever inserts it: data, not code, says what each kind allows.

insert into worker.kinds (kind, is_private) values ('jobs', false), ('people', true), ('creators', false);

insert into worker.parameter_rules (kind, name, type, is_required, minimum, maximum, allowed, default_value) values
    ('jobs', 'sites', 'texts', false, 1, 20,
     '{linkedin,indeed,glassdoor,zip_recruiter,bayt,naukri,bdjobs,hellowork,jsearch,greenhouse,ashby,lever,arbeitnow,remotive}',
     '["linkedin", "indeed"]'),
    ('jobs', 'search_term', 'text', true, 1, 200, null, null),
    ('jobs', 'location', 'text', false, 1, 200, null, null),
    ('jobs', 'country', 'text', false, 2, 40, null, null),
    ('jobs', 'distance_miles', 'integer', false, 0, 500, null, null),
    ('jobs', 'is_remote', 'boolean', false, null, null, null, 'false'),
    ('jobs', 'job_type', 'text', false, null, null,
     '{fulltime,parttime,contract,temporary,internship,perdiem,other,volunteer}', null),
    ('jobs', 'easy_apply', 'boolean', false, null, null, null, 'false'),
    ('jobs', 'hours_old', 'integer', false, 1, 8760, null, null),
    ('jobs', 'results_wanted', 'integer', false, 1, 1000, null, '20'),
    ('jobs', 'fetch_description', 'boolean', false, null, null, null, 'false'),
    ('jobs', 'linkedin_company_ids', 'integers', false, 1, 50, null, null),
    ('jobs', 'greenhouse_boards', 'texts', false, 1, 50, null, null),
    ('jobs', 'ashby_boards', 'texts', false, 1, 50, null, null),
    ('jobs', 'lever_boards', 'texts', false, 1, 50, null, null),
    ('people', 'sites', 'texts', false, 1, 20, '{unipile}', '["unipile"]'),
    ('people', 'search_term', 'text', true, 1, 200, null, null),
    ('people', 'api', 'text', false, null, null, '{classic,sales_navigator,recruiter}', '"classic"'),
    ('people', 'job_title', 'text', false, 1, 200, null, null),
    ('people', 'locations', 'texts', false, 1, 10, null, null),
    ('people', 'network_distance', 'integers', false, 1, 3, '{1,2,3}', null),
    ('people', 'results_wanted', 'integer', false, 50, 2500, null, '100'),
    ('creators', 'sites', 'texts', false, 1, 20, '{youtube}', '["youtube"]'),
    ('creators', 'search_term', 'text', true, 1, 200, null, null),
    ('creators', 'keywords', 'texts', false, 1, 20, null, null),
    ('creators', 'min_subscribers', 'integer', false, 0, 1000000000, null, null),
    ('creators', 'max_subscribers', 'integer', false, 0, 1000000000, null, null),
    ('creators', 'language', 'text', false, 2, 10, null, null),
    ('creators', 'active_within_days', 'integer', false, 1, 3650, null, null),
    ('creators', 'results_wanted', 'integer', false, 1, 500, null, '50');

update worker.parameter_rules set names_boards_of = left(name, -length('_boards'))
where name in ('greenhouse_boards', 'ashby_boards', 'lever_boards');

create function worker.describe_rule(rule worker.parameter_rules) returns text
language sql immutable set search_path = ''
return case rule.type
    when 'boolean' then 'true or false'
    when 'integer' then pg_catalog.format('an integer from %s to %s', rule.minimum, rule.maximum)
    when 'integers' then
        pg_catalog.format('a list of %s to %s ', rule.minimum, rule.maximum)
            || coalesce('of ' || pg_catalog.array_to_string(rule.allowed, ', '), 'positive integers')
    when 'texts' then
        pg_catalog.format('a list of %s to %s ', rule.minimum, rule.maximum)
            || coalesce('of ' || pg_catalog.array_to_string(rule.allowed, ', '), 'texts of 1 to 100 characters')
    when 'text' then
        coalesce('one of ' || pg_catalog.array_to_string(rule.allowed, ', '),
                 pg_catalog.format('a text of %s to %s characters', rule.minimum, rule.maximum))
end;
comment on function worker.describe_rule is 'What a rule allows, in words.';

create function worker.obeys_rule(rule worker.parameter_rules, value jsonb) returns boolean
language plpgsql immutable set search_path = '' as $$
begin
    case rule.type
        when 'boolean' then
            return jsonb_typeof(value) = 'boolean';
        when 'integer' then
            return jsonb_typeof(value) = 'number'
                and (value #>> '{}')::numeric % 1 = 0
                and (value #>> '{}')::numeric between rule.minimum and rule.maximum;
        when 'text' then
            return jsonb_typeof(value) = 'string'
                and case when rule.allowed is null
                    then length(regexp_replace(value #>> '{}', '^\s+|\s+$', '', 'g'))
                        between rule.minimum and rule.maximum
                    else (value #>> '{}') = any (rule.allowed)
                end;
        else
            return jsonb_typeof(value) = 'array'
                and jsonb_array_length(value) between rule.minimum and rule.maximum
                and not exists (
                    select from jsonb_array_elements(value) as element
                    where case rule.type
                        when 'texts' then
                            jsonb_typeof(element) <> 'string'
                            or case when rule.allowed is null
                                then length(regexp_replace(element #>> '{}', '^\s+|\s+$', '', 'g')) not between 1 and 100
                                else (element #>> '{}') <> all (rule.allowed)
                            end
                        else
                            jsonb_typeof(element) <> 'number'
                            or case when rule.allowed is null
                                then (element #>> '{}')::numeric % 1 <> 0
                                     or (element #>> '{}')::numeric not between 1 and 9007199254740992
                                else trim_scale((element #>> '{}')::numeric)::text <> all (rule.allowed)
                            end
                    end
                );
    end case;
end;
$$;
comment on function worker.obeys_rule is 'Whether a parameter''s value is what its rule allows.';

-- Nothing else looks at what a user sends before this has: neither the text of `1e131071`, with its 131,072 digits, nor a
-- rule or a fingerprint, which are made of texts, is ever made of what it refuses.
create function worker.check_json(field text, value jsonb) returns void
language plpgsql immutable set search_path = '' as $$
declare
    problem text;
begin
    if jsonb_typeof(value) <> 'object' then
        raise sqlstate '22023' using message = format('%s must be an object', field);
    end if;
    -- As it is stored: of 16,384 bytes of text no more than four times as much, and some bytes.
    if pg_column_size(value) > 4 * 16384 + 64 then
        raise sqlstate '22023' using message = format('%s must be at most 16384 bytes long', field);
    end if;

    -- Every number of JavaScript is within these bounds. To look at them makes no text.
    select format('%s.%s: numbers must be less than 1e309, with at most 340 decimals', field, left(entry.key, 100))
    into problem
    from jsonb_each(value) as entry,
        jsonb_path_query(entry.value, 'strict $.** ? (@.type() == "number")') as node (number)
    where abs(node.number::numeric) >= 1e309 or scale(node.number::numeric) > 340
    limit 1;
    if problem is not null then
        raise sqlstate '22023' using message = problem;
    end if;

    if octet_length(value::text) > 16384 then
        raise sqlstate '22023' using message = format('%s must be at most 16384 bytes long', field);
    end if;
end;
$$;
comment on function worker.check_json is
    'Raises 22023 (HTTP 400) unless a value that a user sent is an object of at most 16 kB, whose numbers are of a size that '
    'JavaScript knows. Takes little time and memory whatever the value is. Null passes.';

create function worker.check_parameters(kind text, parameters jsonb) returns void
language plpgsql stable set search_path = '' as $$
declare
    problem text;
begin
    if not exists (select from worker.parameter_rules as rule where rule.kind = check_parameters.kind) then
        raise sqlstate '22023' using
            message = format('kind must be one of %s', (
                select string_agg(distinct rule.kind, ', ') from worker.parameter_rules as rule)),
            detail = format('kind is %L', kind);
    end if;
    perform worker.check_json('parameters', coalesce(parameters, 'null'));

    select case
        when rule.name is null then
            format('parameters.%s is not known; kind %s knows %s', given.key, check_parameters.kind, (
                select string_agg(known.name, ', ' order by known.name)
                from worker.parameter_rules as known where known.kind = check_parameters.kind))
        when given.value is null then
            format('parameters.%s is required: %s', rule.name, worker.describe_rule(rule.row))
        else
            format('parameters.%s must be %s', rule.name, worker.describe_rule(rule.row))
        end
    into problem
    from (select r as row, r.name, r.is_required
          from worker.parameter_rules as r where r.kind = check_parameters.kind) as rule
    full join (select key, nullif(value, 'null') as value from jsonb_each(parameters)) as given
        on given.key = rule.name
    where case
        when rule.name is null then true
        when given.value is null then rule.is_required
        else not worker.obeys_rule(rule.row, given.value)
    end
    order by coalesce(rule.name, given.key)
    limit 1;

    if problem is not null then
        raise sqlstate '22023' using message = problem;
    end if;
end;
$$;
comment on function worker.check_parameters is
    'Raises 22023 (HTTP 400) with the first field that breaks a rule, and what is allowed.';

create function worker.parameter(kind text, parameters jsonb, name text) returns jsonb
language sql stable set search_path = ''
return coalesce(
    nullif(parameters -> name, 'null'),
    (select rule.default_value from worker.parameter_rules as rule
     where rule.kind = parameter.kind and rule.name = parameter.name)
);
comment on function worker.parameter is 'A parameter of a run, or its default.';

create function worker.sites_of(kind text, parameters jsonb) returns table (site text, ordinal bigint)
language sql stable set search_path = ''
begin atomic
    select named.site, min(named.ordinal)
    from jsonb_array_elements_text(worker.parameter(kind, parameters, 'sites'))
        with ordinality as named (site, ordinal)
    group by named.site;
end;
comment on function worker.sites_of is 'The sites of a run, each once, in the order in which the user named them.';

create function worker.results_wanted(kind text, parameters jsonb) returns integer
language sql stable set search_path = ''
return worker.parameter(kind, parameters, 'results_wanted')::integer;
comment on function worker.results_wanted is 'How many results a run wants from each site.';

create function worker.canonical(value jsonb) returns jsonb
language sql immutable set search_path = ''
return case pg_catalog.jsonb_typeof(value)
    when 'string' then pg_catalog.to_jsonb(pg_catalog.lower(pg_catalog.btrim(
        pg_catalog.regexp_replace(value #>> '{}', '\s+', ' ', 'g'))))
    when 'number' then pg_catalog.to_jsonb(pg_catalog.trim_scale((value #>> '{}')::numeric))
    else value
end;
comment on function worker.canonical is 'One form of a text or number that may be written in several.';

create function worker.fingerprint(kind text, parameters jsonb, user_id uuid, workspace_id uuid) returns text
language sql stable set search_path = ''
return pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.concat_ws(' ',
    kind,
    (select pg_catalog.concat_ws(' ', fingerprint.user_id, fingerprint.workspace_id)
     from worker.kinds as known where known.kind = fingerprint.kind and known.is_private),
    (
        select pg_catalog.jsonb_object_agg(rule.name, case pg_catalog.jsonb_typeof(given.value)
            when 'array' then (
                select pg_catalog.jsonb_agg(distinct worker.canonical(element.value))
                from pg_catalog.jsonb_array_elements(given.value) as element)
            else worker.canonical(given.value)
        end)
        from worker.parameter_rules as rule,
            lateral (select worker.parameter(fingerprint.kind, fingerprint.parameters, rule.name) as value) as given
        where rule.kind = fingerprint.kind and given.value is not null
    )
), 'UTF8')), 'hex');
comment on function worker.fingerprint is
    'Equal for equal searches: order, case, blanks and defaults do not matter. Those of a private kind are equal only to '
    'their owner''s in the same workspace, which may be searched through another account.';
