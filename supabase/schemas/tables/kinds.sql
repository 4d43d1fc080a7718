-- What can be searched for, which parameters each kind has, and how sites are called. A new kind is a few rows and no
-- new code.
-- Calls: nothing.

create table worker.kinds (
    kind text primary key,
    is_private boolean not null default false
);
comment on table worker.kinds is
    'The kinds of search. A new kind is a row here and its rules in worker.parameter_rules.';
comment on column worker.kinds.is_private is
    'Whether items belong to the user who found them, such as people found through an account; otherwise items are '
    'public.';

create table worker.parameter_rules (
    kind text not null references worker.kinds (kind) on delete cascade,
    name text not null,
    type text not null check (type in ('text', 'integer', 'boolean', 'texts', 'integers')),
    is_required boolean not null default false,
    minimum integer,
    maximum integer,
    allowed text[],
    default_value jsonb,
    names_boards_of text,
    primary key (kind, name)
);
comment on table worker.parameter_rules is
    'What search_runs.parameters may contain, for each kind. A new kind of search is a few rows here.';
comment on column worker.parameter_rules.type is 'texts and integers are lists of them.';
comment on column worker.parameter_rules.minimum is 'Smallest number, shortest text or shortest list.';
comment on column worker.parameter_rules.maximum is 'Largest number, longest text or longest list.';
comment on column worker.parameter_rules.allowed is
    'The only values allowed, for a text or for each element of a list.';
comment on column worker.parameter_rules.default_value is 'The value when a run does not have the parameter.';
comment on column worker.parameter_rules.names_boards_of is
    'The site whose boards the user names with this parameter. The user chooses their content: see '
    'items.from_named_board.';

create table worker.sites (
    site text primary key,
    label text not null
);
comment on table worker.sites is
    'The names of sites for people. A site without a row is called by its key: zip_recruiter would be Zip Recruiter.';

create table worker.messages (
    code text primary key,
    sentence text not null
);
comment on table worker.messages is
    'What users read when a site fails or has to wait: error_message, and progress.details.message. Change a row to '
    'use other words, or another language.';
comment on column worker.messages.code is 'An error code of a site, or a reason of worker.site_waits.';
comment on column worker.messages.sentence is
    'Without its full stop. {site} is replaced by the label of the site.';
