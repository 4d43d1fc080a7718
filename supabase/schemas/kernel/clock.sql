-- The schema `worker`, and its clock. Every rule that depends on the time reads it here, so that tests can move it.
-- The clock may be set back: then stored times move with it, and nobody waits longer than before.
-- Calls: nothing.

-- What frontends see lives in `public`; what only the worker's RPCs touch lives in `worker`, which is not exposed.
create schema worker;
comment on schema worker is 'Private state of the search worker: leases, raw pages, settings. Not exposed through the API.';
revoke all on schema worker from public;

-- Tests move time by replacing this function; nothing else in the schema reads the clock. Not the time at which the
-- transaction began: one that waited for a run would write times before those of the one that it waited for. And
-- stable all the same, because an index is not searched with what is volatile.
create function worker.now() returns timestamptz
language sql stable set search_path = ''
return clock_timestamp();
comment on function worker.now() is 'The clock of every time-dependent rule.';

create function worker.clock_set_back_since(at timestamptz) returns interval
language sql stable set search_path = ''
-- In seconds: days are not always of the same length.
return pg_catalog.make_interval(secs => extract(epoch from at - worker.now())::double precision);
comment on function worker.clock_set_back_since is 'How far the clock was set back since then, at least; below zero if it was not.';

create function worker.format_time(at timestamptz) returns text
language sql stable set search_path = ''
return to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"');
comment on function worker.format_time is 'A time for people.';
