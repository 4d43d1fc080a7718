-- When are two searches equal? If their fingerprints are equal. Decisions about equal searches are made one at a time,
-- under a lock on the fingerprint.
-- Calls: kernel/parameters.

create function worker.canonical(value jsonb) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
    return case pg_catalog.jsonb_typeof(value)
        when 'string' then pg_catalog.to_jsonb(pg_catalog.lower(pg_catalog.btrim(
            pg_catalog.regexp_replace(value #>> '{}', '\s+', ' ', 'g'))))
        when 'number' then pg_catalog.to_jsonb(pg_catalog.trim_scale((value #>> '{}')::numeric))
        else value
    end;
end;
$$;
comment on function worker.canonical is 'Returns the canonical form of a text or number.';

create function worker.fingerprint(kind text, parameters jsonb, user_id uuid, workspace_id uuid) returns text
language plpgsql stable set search_path = '' as $$
begin
    return pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.concat_ws(' ',
        kind,
        (select pg_catalog.concat_ws(' ', fingerprint.user_id, fingerprint.workspace_id)
         from worker.kinds as known
         where known.kind = fingerprint.kind
           and (known.is_private or worker.keeps_board_organizations(fingerprint.kind, fingerprint.parameters))),
        (
            select pg_catalog.jsonb_object_agg(rule.name, case pg_catalog.jsonb_typeof(given.value)
                when 'array' then (
                    select pg_catalog.jsonb_agg(distinct worker.canonical(element.value))
                    from pg_catalog.jsonb_array_elements(given.value) as element)
                else worker.canonical(given.value)
            end)
            from worker.parameter_rules as rule,
                lateral (select coalesce(nullif(fingerprint.parameters -> rule.name, 'null'), rule.default_value) as value) as given
            where rule.kind = fingerprint.kind and given.value is not null
        )
    ), 'UTF8')), 'hex');
end;
$$;
comment on function worker.fingerprint is
    'Returns equal values for equal searches: order, case, whitespace and omitted defaults do not matter. Searches '
    'of a private kind are equal only for the same owner and workspace, because another account may see other '
    'results. The same holds for searches that keep organizations for their user.';

create function worker.lock_fingerprint(fingerprint text, may_wait boolean) returns boolean
-- Less than deadlock_timeout (1 s), after which PostgreSQL looks for deadlocks.
language plpgsql set search_path = '' set lock_timeout = '500ms' as $$
declare
    lock_key bigint := hashtextextended('worker.lock_fingerprint ' || fingerprint, 0);
begin
    if pg_try_advisory_xact_lock(lock_key) then
        return true;
    elsif may_wait then
        perform pg_advisory_xact_lock(lock_key);
    end if;
    return may_wait;
exception when lock_not_available then
    return false;
end;
$$;
comment on function worker.lock_fingerprint is
    'Locks the decisions about equal searches until the transaction ends. Returns whether it got the lock, at once '
    'or within half a second. Without the lock, two runs that see no leader would both lead, and a follower could '
    'join a leader that is being settled.';
