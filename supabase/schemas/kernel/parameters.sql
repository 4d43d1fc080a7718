-- What is the value of a run's parameter? What the user sent, otherwise the default of its rule. The run's sites and
-- the number of results that it wants follow from it, and what it does with boards that the user names.
-- Calls: nothing.

create function worker.parameter(kind text, parameters jsonb, name text) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
    return coalesce(
        nullif(parameters -> name, 'null'),
        (select rule.default_value from worker.parameter_rules as rule
         where rule.kind = parameter.kind and rule.name = parameter.name)
    );
end;
$$;
comment on function worker.parameter is 'Returns a parameter of a run, or its default.';

create function worker.sites_of(kind text, parameters jsonb, list text default 'sites')
returns table (site text, ordinal bigint)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select named.site, min(named.ordinal)
    from jsonb_array_elements_text(worker.parameter(kind, parameters, list))
        with ordinality as named (site, ordinal)
    group by named.site;
end;
$$;
comment on function worker.sites_of is
    'Returns the sites of a run, or with fallback_sites those of that list, each once, in the order in which the user '
    'named them.';

create function worker.results_wanted(kind text, parameters jsonb) returns integer
language plpgsql stable set search_path = '' as $$
begin
    return worker.parameter(kind, parameters, 'results_wanted')::integer;
end;
$$;
comment on function worker.results_wanted is 'Returns how many results a run wants from each site.';

create function worker.has_fallbacks(kind text, parameters jsonb) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return worker.parameter(kind, parameters, 'fallback_sites') is not null;
end;
$$;
comment on function worker.has_fallbacks is 'Returns whether a run names fallback sites.';

create function worker.is_named_board(kind text, site text) returns boolean
language sql stable set search_path = ''
return exists (
    select from worker.parameter_rules as rule
    where rule.kind = is_named_board.kind and rule.names_boards_of = is_named_board.site);
comment on function worker.is_named_board is 'Returns whether users name the boards of a site.';

create function worker.keeps_board_organizations(kind text, parameters jsonb) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return coalesce(worker.parameter(kind, parameters, 'board_organizations') = 'true', false);
end;
$$;
comment on function worker.keeps_board_organizations is
    'Returns whether the user of a run gets organizations of his own from the boards that he names.';
