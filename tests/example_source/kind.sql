insert into worker.kinds (kind, is_private) values ('flats', false) on conflict do nothing;

insert into worker.parameter_rules
    (kind, name, type, is_required, minimum, maximum, allowed, default_value, names_boards_of) values
    ('flats', 'sites', 'texts', false, 1, 20, '{flatboard}', '["flatboard"]', null),
    ('flats', 'search_term', 'text', true, 1, 200, null, null, null),
    ('flats', 'max_rent', 'integer', false, 0, 100000, null, null, null),
    ('flats', 'results_wanted', 'integer', false, 1, 500, null, '50', null)
on conflict (kind, name) do update set
    type = excluded.type,
    is_required = excluded.is_required,
    minimum = excluded.minimum,
    maximum = excluded.maximum,
    allowed = excluded.allowed,
    default_value = excluded.default_value,
    names_boards_of = excluded.names_boards_of;
