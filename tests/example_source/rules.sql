-- The new site, among those that a search for jobs may name:
update worker.parameter_rules set allowed = array_append(allowed, 'hireboard') where kind = 'jobs' and name = 'sites';

-- The parameter that it alone reads:
insert into worker.parameter_rules (kind, name, type, is_required, minimum, maximum)
values ('jobs', 'hireboard_team', 'text', false, 1, 50);
