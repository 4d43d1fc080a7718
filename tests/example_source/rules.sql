-- The new site, as an allowed value of `sites` of jobs:
update worker.parameter_rules set allowed = array_append(allowed, 'hireboard') where kind = 'jobs' and name = 'sites';

-- The parameter that only this site reads:
insert into worker.parameter_rules (kind, name, type, is_required, minimum, maximum)
values ('jobs', 'hireboard_team', 'text', false, 1, 50);
