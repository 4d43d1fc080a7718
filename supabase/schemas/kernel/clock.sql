-- The schema `worker` and its clock. Every rule that depends on time reads this clock, so that tests can move it. If
-- the clock is set back, stored times are set back with it, so that nobody waits longer than before.
-- Calls: nothing.

-- Frontends see the schema `public`. Only the worker's RPCs use `worker`, which the API does not expose.
create schema worker;
comment on schema worker is
    'Private state of the search worker: leases, raw pages, settings. Not exposed through the API.';
revoke all on schema worker from public;

-- Tests move time by replacing this function. It does not return the start of the transaction: a transaction that
-- waited for a lock would write earlier times than the one that held the lock. It is stable nevertheless, because
-- PostgreSQL uses no index for a condition with a volatile function. Before PostgreSQL 18, each statement would plan a
-- function in SQL again: 8 us for each use, 1.5 us as plpgsql.
create function worker.now() returns timestamptz
language plpgsql stable set search_path = '' as $$
begin
    return clock_timestamp();
end;
$$;
comment on function worker.now() is 'The clock of every time-dependent rule.';

create function worker.clock_set_back_since(at timestamptz) returns interval
language plpgsql stable set search_path = '' as $$
begin
    -- In seconds, because days differ in length.
    return pg_catalog.make_interval(secs => extract(epoch from at - worker.now())::double precision);
end;
$$;
comment on function worker.clock_set_back_since is
    'How far the clock was set back since a time, at least; negative if it was not.';

create function worker.format_time(at timestamptz) returns text
language sql stable set search_path = ''
return to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"');
comment on function worker.format_time is 'Formats a time for a message to people, in UTC.';
