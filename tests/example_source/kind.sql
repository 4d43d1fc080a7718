insert into worker.kinds (kind, is_private) values ('flats', false);
insert into worker.parameter_rules (kind, name, type, is_required, minimum, maximum, allowed, default_value) values
    ('flats', 'sites', 'texts', false, 1, 20, '{flatboard}', '["flatboard"]'),
    ('flats', 'search_term', 'text', true, 1, 200, null, null),
    ('flats', 'max_rent', 'integer', false, 0, 100000, null, null),
    ('flats', 'results_wanted', 'integer', false, 1, 500, null, '50');
