-- The kinds of search that the library has, the parameters of each (types, bounds, allowed values and defaults), and the
-- names of the sites.
-- Calls: nothing.

insert into worker.kinds (kind, is_private) values ('jobs', false), ('people', true), ('creators', false);

insert into worker.parameter_rules (kind, name, type, is_required, minimum, maximum, allowed, default_value) values
    ('jobs', 'sites', 'texts', false, 1, 20,
     '{linkedin,indeed,glassdoor,zip_recruiter,bayt,naukri,bdjobs,hellowork,jsearch,greenhouse,ashby,lever,arbeitnow,remotive}',
     '["linkedin", "indeed"]'),
    ('jobs', 'fallback_sites', 'texts', false, 1, 20,
     '{linkedin,indeed,glassdoor,zip_recruiter,bayt,naukri,bdjobs,hellowork,jsearch,greenhouse,ashby,lever,arbeitnow,remotive}',
     null),
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
    ('jobs', 'board_organizations', 'boolean', false, null, null, null, 'false'),
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

insert into worker.sites (site, label) values
    ('linkedin', 'LinkedIn'), ('indeed', 'Indeed'), ('glassdoor', 'Glassdoor'), ('zip_recruiter', 'ZipRecruiter'),
    ('bayt', 'Bayt'), ('naukri', 'Naukri'), ('bdjobs', 'BDJobs'), ('hellowork', 'HelloWork'), ('jsearch', 'JSearch'),
    ('greenhouse', 'Greenhouse'), ('ashby', 'Ashby'), ('lever', 'Lever'), ('arbeitnow', 'Arbeitnow'),
    ('remotive', 'Remotive'), ('unipile', 'LinkedIn'), ('youtube', 'YouTube');
