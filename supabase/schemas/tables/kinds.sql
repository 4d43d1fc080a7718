-- What can be searched for, and what the parameters of each kind may hold. A new kind is a few rows, no new code.
-- Calls: nothing.

create table worker.kinds (
    kind text primary key,
    is_private boolean not null default false
);
comment on table worker.kinds is 'What may be searched for. A new kind is a row here, and its rules in worker.parameter_rules.';
comment on column worker.kinds.is_private is
    'Whether what is found is its owner''s alone, as people found through an account of his; else it is everybody''s.';

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
    'What search_runs.parameters may hold, for each kind. A new kind of search is a few rows here.';
comment on column worker.parameter_rules.type is 'texts and integers are lists of them.';
comment on column worker.parameter_rules.minimum is 'Least value of a number, length of a text, or length of a list.';
comment on column worker.parameter_rules.maximum is 'Greatest value of a number, length of a text, or length of a list.';
comment on column worker.parameter_rules.allowed is 'The only values allowed, for a text or for each element of a list.';
comment on column worker.parameter_rules.default_value is 'What holds when a run does not name the parameter.';
comment on column worker.parameter_rules.names_boards_of is
    'The site whose boards the user names with it. What they say is of that user''s choice: see items.from_named_board.';
