-- Which version do the RPCs have, and which workers may take a run? Those that were made for this version or for the one
-- before it, because old and new workers run side by side while they are replaced.
-- Calls: nothing.

create function worker.schema_version() returns integer
language sql immutable set search_path = ''
return 8;
comment on function worker.schema_version is
    'Version of the RPCs. A migration that changes their arguments or results increases it, once in a release.';

create function worker.check_version(made_for integer) returns void
language plpgsql stable set search_path = '' as $$
begin
    if made_for > worker.schema_version() then
        raise sqlstate 'PT412' using message = format(
            'the database has version %s, and the worker is made for version %s: push the migrations of its release, '
            'then start it', worker.schema_version(), made_for);
    elsif made_for < worker.schema_version() - 1 then
        raise sqlstate 'PT412' using message = format(
            'the database has version %s, and the worker is made for version %s: replace it by one of the release '
            'whose migrations were pushed', worker.schema_version(), made_for);
    end if;
end;
$$;
comment on function worker.check_version is
    'Raises PT412 (HTTP 412) unless a worker that is made for this version may take runs. Null is not checked.';

create function worker.wait_for_earlier_transactions(at_most interval) returns void
language plpgsql set search_path = '' as $$
declare
    stops_at constant timestamptz := clock_timestamp() + at_most;
    -- Autovacuum has no user, and calls nothing.
    earlier constant text[] := array(
        select held.virtualtransaction from pg_locks as held join pg_stat_activity as session using (pid)
        where held.locktype = 'virtualxid' and held.granted and session.pid <> pg_backend_pid()
          and session.datname = current_database() and session.usename is not null);
begin
    while clock_timestamp() < stops_at and exists (
        select from pg_locks as held
        where held.locktype = 'virtualxid' and held.granted and held.virtualtransaction = any (earlier))
    loop
        perform pg_sleep(0.02);
    end loop;
end;
$$;
comment on function worker.wait_for_earlier_transactions is
    'Waits until the transactions that other sessions have begun are over, for a time at most. A migration calls it before '
    'it drops what a migration before it has replaced: calls that began before may still need it.';
