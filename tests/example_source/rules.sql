update worker.parameter_rules set allowed = allowed || '{hireboard}'
where kind = 'jobs' and name in ('sites', 'fallback_sites') and not allowed @> '{hireboard}';

insert into worker.parameter_rules
    (kind, name, type, is_required, minimum, maximum, allowed, default_value, names_boards_of) values
    ('jobs', 'hireboard_team', 'text', false, 1, 50, null, null, null)
on conflict (kind, name) do update set
    type = excluded.type,
    is_required = excluded.is_required,
    minimum = excluded.minimum,
    maximum = excluded.maximum,
    allowed = excluded.allowed,
    default_value = excluded.default_value,
    names_boards_of = excluded.names_boards_of;
