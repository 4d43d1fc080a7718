-- Is this search valid? The parameters of every run are checked against worker.parameter_rules. The size of a value is
-- checked first, before anything else reads it.
-- Calls: kernel/parameters.

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
comment on function worker.describe_rule is 'Describes the values that a rule allows.';

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
comment on function worker.obeys_rule is 'Returns whether a rule allows a parameter''s value.';

-- Must run before anything else reads a value from a user. Otherwise a rule or a fingerprint would convert `1e131071`
-- to a text of 131,072 digits.
create function worker.check_json(field text, value jsonb) returns void
language plpgsql immutable set search_path = '' as $$
declare
    problem text;
begin
    if jsonb_typeof(value) <> 'object' then
        raise sqlstate '22023' using message = format('%s must be an object', field);
    end if;
    -- The stored size: 16,384 bytes of text take at most four times as much, plus a header.
    if pg_column_size(value) > 4 * 16384 + 64 then
        raise sqlstate '22023' using message = format('%s must be at most 16384 bytes long', field);
    end if;

    -- All numbers of JavaScript are within these bounds. The check does not convert numbers to text.
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
    'Raises 22023 (HTTP 400) unless a value from a user is an object of at most 16 kB whose numbers fit the range '
    'of JavaScript. Takes little time and memory for any value. Accepts null.';

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

    if problem is null then
        select format('parameters.fallback_sites must not name a site of parameters.sites: %s', min(twice.site))
        into problem
        from worker.sites_of(check_parameters.kind, parameters) as twice
        join worker.sites_of(check_parameters.kind, parameters, 'fallback_sites') as fallback on fallback.site = twice.site
        having count(*) > 0;
    end if;
    if problem is not null then
        raise sqlstate '22023' using message = problem;
    end if;
end;
$$;
comment on function worker.check_parameters is
    'Raises 22023 (HTTP 400) with the first parameter that breaks a rule, and the values that the rule allows.';
