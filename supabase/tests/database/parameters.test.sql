-- What a run's parameters may hold. The error of a broken rule has the field's name and what is allowed.
begin;
\ir fixture.psql

-- The error of an insert, or null.
create function pg_temp.problem(kind text, parameters jsonb) returns text language plpgsql as $$
begin
    insert into public.search_runs (user_id, kind, parameters) values (pg_temp.ada(), kind, parameters);
    return null;
exception when others then
    return format('%s %s', sqlstate, sqlerrm);
end;
$$;

create temporary table cases (kind text default 'jobs', parameters jsonb, problem text);
insert into cases (parameters, problem) values
    ('{"search_term": "engineer"}', null),
    ('{"search_term": "engineer", "sites": null, "location": null}', null),
    ('{"search_term": "engineer", "sites": ["indeed", "linkedin", "indeed"], "location": "Berlin",
       "country": "germany", "distance_miles": 0, "is_remote": true, "job_type": "contract", "easy_apply": false,
       "hours_old": 8760, "results_wanted": 1000, "fetch_description": true,
       "linkedin_company_ids": [1, 2]}', null),
    ('{"search_term": "engineer", "results_wanted": 20.0}', null),

    ('{}', '22023 parameters.search_term is required: a text of 1 to 200 characters'),
    ('{"search_term": null}', '22023 parameters.search_term is required: a text of 1 to 200 characters'),
    ('{"search_term": ""}', '22023 parameters.search_term must be a text of 1 to 200 characters'),
    ('{"search_term": " \t\n "}', '22023 parameters.search_term must be a text of 1 to 200 characters'),
    ('{"search_term": 7}', '22023 parameters.search_term must be a text of 1 to 200 characters'),
    (jsonb_build_object('search_term', repeat('x', 201)),
        '22023 parameters.search_term must be a text of 1 to 200 characters'),
    ('{"search_term": "x", "sites": "indeed"}',
        '22023 parameters.sites must be a list of 1 to 20 of linkedin, indeed, glassdoor, zip_recruiter, bayt, naukri, '
        'bdjobs, hellowork, jsearch, greenhouse, ashby, lever, arbeitnow, remotive'),
    ('{"search_term": "x", "sites": []}',
        '22023 parameters.sites must be a list of 1 to 20 of linkedin, indeed, glassdoor, zip_recruiter, bayt, naukri, '
        'bdjobs, hellowork, jsearch, greenhouse, ashby, lever, arbeitnow, remotive'),
    ('{"search_term": "x", "sites": ["indeed", 1]}',
        '22023 parameters.sites must be a list of 1 to 20 of linkedin, indeed, glassdoor, zip_recruiter, bayt, naukri, '
        'bdjobs, hellowork, jsearch, greenhouse, ashby, lever, arbeitnow, remotive'),
    ('{"search_term": "x", "sites": ["google"]}',
        '22023 parameters.sites must be a list of 1 to 20 of linkedin, indeed, glassdoor, zip_recruiter, bayt, naukri, '
        'bdjobs, hellowork, jsearch, greenhouse, ashby, lever, arbeitnow, remotive'),
    ('{"search_term": "x", "fallback_sites": ["jsearch", "bayt", "bayt"]}', null),
    ('{"search_term": "x", "fallback_sites": ["google"]}',
        '22023 parameters.fallback_sites must be a list of 1 to 20 of linkedin, indeed, glassdoor, zip_recruiter, bayt, '
        'naukri, bdjobs, hellowork, jsearch, greenhouse, ashby, lever, arbeitnow, remotive'),
    ('{"search_term": "x", "fallback_sites": ["bayt", "indeed"]}',
        '22023 parameters.fallback_sites must not name a site of parameters.sites: indeed'),
    ('{"search_term": "x", "sites": ["bayt"], "fallback_sites": ["indeed", "bayt"]}',
        '22023 parameters.fallback_sites must not name a site of parameters.sites: bayt'),
    ('{"search_term": "x", "sites": ["bayt"], "fallback_sites": ["indeed", "linkedin"]}', null),
    ('{"search_term": "x", "location": ["Berlin"]}',
        '22023 parameters.location must be a text of 1 to 200 characters'),
    ('{"search_term": "x", "country": "x"}', '22023 parameters.country must be a text of 2 to 40 characters'),
    ('{"search_term": "x", "distance_miles": -1}', '22023 parameters.distance_miles must be an integer from 0 to 500'),
    ('{"search_term": "x", "is_remote": "yes"}', '22023 parameters.is_remote must be true or false'),
    ('{"search_term": "x", "job_type": "full-time"}',
        '22023 parameters.job_type must be one of fulltime, parttime, contract, temporary, internship, perdiem, other, '
        'volunteer'),
    ('{"search_term": "x", "easy_apply": 1}', '22023 parameters.easy_apply must be true or false'),
    ('{"search_term": "x", "hours_old": 0}', '22023 parameters.hours_old must be an integer from 1 to 8760'),
    ('{"search_term": "x", "hours_old": "24"}', '22023 parameters.hours_old must be an integer from 1 to 8760'),
    ('{"search_term": "x", "results_wanted": 1.5}',
        '22023 parameters.results_wanted must be an integer from 1 to 1000'),
    ('{"search_term": "x", "results_wanted": 1e100}',
        '22023 parameters.results_wanted must be an integer from 1 to 1000'),
    ('{"search_term": "x", "fetch_description": {}}', '22023 parameters.fetch_description must be true or false'),
    ('{"search_term": "x", "linkedin_company_ids": ["1"]}',
        '22023 parameters.linkedin_company_ids must be a list of 1 to 50 positive integers'),
    ('{"search_term": "x", "greenhouse_boards": []}',
        '22023 parameters.greenhouse_boards must be a list of 1 to 50 texts of 1 to 100 characters'),
    ('{"search_term": "x", "ashby_boards": "linear"}',
        '22023 parameters.ashby_boards must be a list of 1 to 50 texts of 1 to 100 characters'),
    ('{"search_term": "x", "lever_boards": [7]}',
        '22023 parameters.lever_boards must be a list of 1 to 50 texts of 1 to 100 characters'),
    ('{"search_term": "x", "board_organizations": "yes"}',
        '22023 parameters.board_organizations must be true or false'),
    ('{"search_term": "x", "easy_apply": null, "is_remote": 0}',
        '22023 parameters.is_remote must be true or false'),
    ('{"search_term": "x", "easy_apply": "true"}',
        '22023 parameters.easy_apply must be true or false'),
    ('[]', '22023 parameters must be an object'),
    ('"x"', '22023 parameters must be an object'),
    ('null', '22023 parameters must be an object'),
    (null, '22023 parameters must be an object'),
    (jsonb_build_object('search_term', repeat('x', 17000)), '22023 parameters must be at most 16384 bytes long');
insert into cases values
    ('pgtap', '{"search_term": "x", "years": [2024, 2025]}', null),
    ('pgtap', '{"search_term": "x", "years": ["2024"]}', '22023 parameters.years must be a list of 1 to 3 positive integers'),
    ('pgtap', '{"search_term": "x", "years": [1.5]}', '22023 parameters.years must be a list of 1 to 3 positive integers'),
    ('pgtap', '{"search_term": "x", "serch_term": "y"}',
        '22023 parameters.serch_term is not known; kind pgtap knows fallback_sites, results_wanted, search_term, sites, years'),
    ('pgtap', '{"search_term": "x", "years": [1, 2, 3, 4]}', '22023 parameters.years must be a list of 1 to 3 positive integers');

create temporary table equal_searches (parameters jsonb, other jsonb);
insert into equal_searches values
    ('{"search_term": "Data  Engineer "}', '{"search_term": "data engineer"}'),
    ('{"search_term": "x", "sites": ["linkedin", "indeed", "linkedin"]}', '{"sites": ["indeed", "linkedin"], "search_term": "x"}'),
    ('{"search_term": "x"}', '{"search_term": "x", "results_wanted": 20, "is_remote": false, "sites": ["indeed", "linkedin"]}'),
    ('{"search_term": "x"}', '{"search_term": "x", "location": null}'),
    ('{"search_term": "x", "fallback_sites": ["bayt", "naukri"]}', '{"search_term": "x", "fallback_sites": ["naukri", "bayt"]}'),
    ('{"search_term": "x", "location": "Berlin"}', '{"search_term": "x", "location": " BERLIN"}'),
    ('{"search_term": "x", "results_wanted": 30}', '{"search_term": "x", "results_wanted": 30.0}'),
    ('{"search_term": "x", "linkedin_company_ids": [2, 1, 10]}', '{"search_term": "x", "linkedin_company_ids": [1.0, 10, 2e0]}');

create temporary table different_searches (parameters jsonb, other jsonb);
insert into different_searches values
    ('{"search_term": "data engineer"}', '{"search_term": "dataengineer"}'),
    ('{"search_term": "x"}', '{"search_term": "x", "location": "Berlin"}'),
    ('{"search_term": "x", "sites": ["indeed"]}', '{"search_term": "x", "sites": ["linkedin"]}'),
    ('{"search_term": "x"}', '{"search_term": "x", "is_remote": true}'),
    ('{"search_term": "x"}', '{"search_term": "x", "fallback_sites": ["bayt"]}'),
    ('{"search_term": "x", "fallback_sites": ["naukri"]}', '{"search_term": "x", "fallback_sites": ["bayt"]}'),
    ('{"search_term": "x", "results_wanted": 30}', '{"search_term": "x", "results_wanted": 31}');

select plan((
    (select count(*) from cases) + (select count(*) from equal_searches) + (select count(*) from different_searches)
    + (select count(*) from worker.parameter_rules where kind = 'jobs') + 9)::integer);

select is(pg_temp.problem(kind, parameters), problem,
          format('%s %s', kind, coalesce(left(parameters::text, 80), 'without parameters')))
from cases;

-- So that a new rule cannot go untested.
select isnt_empty(
    format('select from cases where kind = ''jobs'' and problem like ''22023 parameters.%s %%''', name),
    format('rule %s has a test that breaks it', name))
from worker.parameter_rules where kind = 'jobs';

select matches(pg_temp.problem('cars', '{}'), '^22023 kind must be one of .*jobs', 'an unknown kind');
select matches(pg_temp.problem(null, '{}'), '^22023 kind must be one of .*jobs', 'no kind');
select throws_ok(
    $$ insert into public.search_runs (kind, parameters) values ('jobs', '{"search_term": "x"}') $$,
    '22023', 'user_id is required', 'a run without an owner');
select throws_ok(
    $$ insert into public.search_runs (user_id, kind, parameters, client_context)
       values (pg_temp.ada(), 'jobs', '{"search_term": "x"}', jsonb_build_object('name', repeat('x', 17000))) $$,
    '22023', 'client_context must be at most 16384 bytes long',
    'a client context that is too large');
select throws_ok(
    $$ insert into public.search_runs (user_id, kind, parameters, idempotency_key)
       values (pg_temp.ada(), 'jobs', '{"search_term": "x"}', '') $$,
    '22023', 'idempotency_key must be 1 to 200 characters long',
    'an empty idempotency key');
select throws_ok(
    $$ insert into public.saved_searches (user_id, name, kind, parameters) values (pg_temp.ada(), 'mine', 'jobs', '{}') $$,
    '22023', 'parameters.search_term is required: a text of 1 to 200 characters',
    'a saved search that could not run');

select is(worker.fingerprint('jobs', parameters, pg_temp.ada(), null), worker.fingerprint('jobs', other, pg_temp.bob(), null),
    format('%s equals %s', parameters, other))
from equal_searches;
select isnt(worker.fingerprint('jobs', parameters, pg_temp.ada(), null), worker.fingerprint('jobs', other, pg_temp.ada(), null),
    format('%s is not %s', parameters, other))
from different_searches;

update worker.kinds set is_private = true where kind = 'pgtap';
select isnt(worker.fingerprint('pgtap', '{"search_term": "x"}', pg_temp.ada(), null),
            worker.fingerprint('pgtap', '{"search_term": "x"}', pg_temp.bob(), null), 'of a private kind, other owners'' are others');
select is(worker.fingerprint('pgtap', '{"search_term": "x"}', pg_temp.ada(), null),
          worker.fingerprint('pgtap', '{"search_term": " X "}', pg_temp.ada(), null), 'the same owner''s are equal');
select isnt(worker.fingerprint('pgtap', '{"search_term": "x"}', pg_temp.ada(), null),
            worker.fingerprint('pgtap', '{"search_term": "x"}', pg_temp.ada(), pg_temp.bob()), 'but for those of a workspace');

select * from finish();
rollback;
