-- How does a file become a run? The run is inserted with a lease and with its sites started, in one transaction. It is
-- never pending, so that no worker searches for it. If the import is interrupted, the run fails.
-- Calls: kernel/clock, kernel/versions, kernel/run_sites, parameters/check, runs/rescue.

create function worker.user_named(name text) returns uuid
language plpgsql stable set search_path = '' as $$
declare
    named uuid[] := array(
        select known.id from auth.users as known
        where known.id::text = lower(btrim(name)) or lower(known.email) = lower(btrim(name))
        limit 2);
begin
    if cardinality(named) <> 1 then
        raise sqlstate '22023' using message = case cardinality(named)
            when 0 then format('there is no user %L; a user is named by id or e-mail address', name)
            else format('several users have the e-mail address %L: name one by id', name) end;
    end if;
    return named[1];
end;
$$;
comment on function worker.user_named is
    'Returns the id of a user who is named by id or e-mail address. Raises 22023 (HTTP 400) if there is none.';

create function worker.check_import(kind text, name text, sites text[], records integer, lease_seconds integer)
returns void
language plpgsql stable set search_path = '' as $$
declare
    rule worker.parameter_rules;
begin
    select known.* into rule from worker.parameter_rules as known
    where known.kind = check_import.kind and known.name = 'sites';
    if not found then
        raise sqlstate '22023' using message = format('kind must be a kind of worker.kinds, not %L', kind);
    end if;
    if worker.obeys_rule(rule, to_jsonb(sites)) is not true then
        raise sqlstate '22023' using message = format('sites must be %s', worker.describe_rule(rule));
    end if;
    if coalesce(length(name), 0) not between 1 and 200 then
        raise sqlstate '22023' using message = 'name must be a text of 1 to 200 characters';
    end if;
    if coalesce(records, 0) not between 1 and 10000000 then
        raise sqlstate '22023' using message = 'records must be an integer from 1 to 10000000';
    end if;
    if lease_seconds is null or lease_seconds not between 5 and 3600 then
        raise sqlstate '22023' using message = 'lease_seconds must be an integer from 5 to 3600';
    end if;
end;
$$;
comment on function worker.check_import is 'Raises 22023 (HTTP 400) unless an import can be started so.';

create function worker.insert_import(
    user_id uuid, kind text, parameters jsonb, idempotency_key text, worker_id text, claim_id uuid, duration interval
) returns public.search_runs
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    run public.search_runs;
begin
    insert into public.search_runs (
        user_id, kind, source, parameters, idempotency_key, status, attempts, max_attempts, started_at)
    values (insert_import.user_id, insert_import.kind, 'import', insert_import.parameters,
            insert_import.idempotency_key, 'running', 1, 1, worker.now())
    returning * into run;

    insert into worker.leases (run_id, worker_id, claim_id, duration, expires_at, user_id)
    values (run.id, insert_import.worker_id, insert_import.claim_id, insert_import.duration,
            worker.now() + insert_import.duration, run.user_id);

    update public.search_run_sites as site
    set status = 'running', attempts = 1, started_at = worker.now(),
        progress = worker.with_step(site.progress, 'importing')
    where site.run_id = run.id;

    insert into public.run_events (run_id, event, data, created_at)
    values (run.id, 'claimed', jsonb_build_object('worker_id', insert_import.worker_id, 'attempt', 1,
                                                  'sites', run.parameters -> 'sites'), worker.now());
    insert into public.run_events (run_id, event, site, data, created_at)
    select run.id, 'site_started', site.site, jsonb_build_object('attempt', 1), worker.now()
    from public.search_run_sites as site
    where site.run_id = run.id
    order by site.position;
    return run;
end;
$$;
comment on function worker.insert_import is 'Inserts the run of an import: running, with a lease and started sites.';

create function public.worker_start_import(
    owner text, kind text, name text, sites text[], records integer, idempotency_key text, worker_id text,
    lease_seconds integer, claim_id uuid, schema_version integer default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    owner_id uuid := worker.user_named(worker_start_import.owner);
    run public.search_runs;
begin
    perform worker.check_version(worker_start_import.schema_version);
    perform worker.check_import(worker_start_import.kind, worker_start_import.name, worker_start_import.sites,
                                worker_start_import.records, lease_seconds);
    -- The same import may start twice at the same time.
    perform pg_advisory_xact_lock(hashtextextended(
        format('worker.start_import %s %s', owner_id, worker_start_import.idempotency_key), 0));
    -- An interrupted import of the same file ends first.
    perform worker.rescue_expired_leases();

    select * into run from public.search_runs as known
    where known.user_id = owner_id and known.idempotency_key = worker_start_import.idempotency_key
    for no key update;
    if run.status in ('partial', 'failed', 'cancelled') then
        update public.search_runs as former set idempotency_key = null where former.id = run.id;
        run := null;
    end if;
    if run.id is null then
        run := worker.insert_import(
            owner_id, worker_start_import.kind,
            jsonb_build_object('search_term', worker_start_import.name, 'sites', worker_start_import.sites,
                               'results_wanted', worker_start_import.records),
            worker_start_import.idempotency_key, worker_start_import.worker_id, worker_start_import.claim_id,
            make_interval(secs => lease_seconds));
    end if;
    return jsonb_build_object('run_id', run.id, 'status', run.status, 'lease_token', (
        select lease.token from worker.leases as lease
        where lease.run_id = run.id and lease.claim_id = worker_start_import.claim_id));
end;
$$;
comment on function public.worker_start_import is
    'Starts to import a file as a run of a user, who is named by id or e-mail address. records is the greatest number '
    'of records of one site. Save the pages of its sites as attempt 1, then end the sites and the run. Returns {run_id, '
    'status, lease_token}. Without a lease_token, the run with this idempotency_key has succeeded, or is running. The '
    'same claim_id gets the same lease. schema_version as in worker_claim_runs.';
