-- Which sites of several runs has a worker searched, and which of these runs have no more to search? Each run gets its
-- own answer. Fallback sites that are needed are searched before a run ends. The worker may claim other runs with the
-- same call.
-- Calls: kernel/parameters, kernel/lease, runs/progress, runs/fallback, runs/finish, runs/claim, runs/finish_site.

create type worker.finished_site as (
    run_id uuid, lease_token uuid, site text, account text, error_code text, error_message text, retryable boolean,
    retry_after_seconds double precision, ends_run boolean
);

create function worker.end_runs(run_ids uuid[], lease_tokens uuid[], out refused uuid[], out fallbacks jsonb)
language plpgsql set search_path = '' as $$
declare
    asked record;
    needed jsonb;
    ended uuid[] := array[]::uuid[];
begin
    refused := worker.unfinished_runs(run_ids);
    fallbacks := '{}';
    for asked in
        select given.run_id, given.lease_token, worker.has_fallbacks(run.kind, run.parameters) as has_fallbacks
        from unnest(run_ids, lease_tokens) as given (run_id, lease_token)
        join public.search_runs as run on run.id = given.run_id
        where given.run_id <> all (refused)
    loop
        needed := case when asked.has_fallbacks then worker.fallbacks_to_search(asked.run_id, asked.lease_token)
                       else '[]' end;
        if needed = '[]' then
            ended := ended || asked.run_id;
        else
            fallbacks := fallbacks || jsonb_build_object(asked.run_id, needed);
        end if;
    end loop;
    perform worker.end_attempts(ended);
end;
$$;
comment on function worker.end_runs is
    'Ends leased runs, or puts them back into the queue. refused are those with sites that have neither ended nor wait; '
    'fallbacks are the fallback sites that are to be searched first, by run.';

create function worker.finish_searches(finished jsonb, next worker.claim) returns jsonb
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    asked worker.finished_site[];
    states jsonb;
    ended worker.site_end[];
    runs record;
    answers jsonb;
begin
    if jsonb_typeof(finished) is distinct from 'array' or jsonb_array_length(finished) not between 1 and 100 then
        raise sqlstate '22023' using message = 'finished must be an array of 1 to 100 objects';
    end if;
    asked := array(select given from jsonb_populate_recordset(null::worker.finished_site, finished) as given);
    if (select count(distinct given.run_id) < count(*) from unnest(asked) as given) then
        raise sqlstate '22023' using message = 'finished must have a run_id in each object, and each run once';
    end if;

    select jsonb_object_agg(lease.run_id, lease.state) into states
    from worker.lock_leases(array(select given.run_id from unnest(asked) as given),
                            array(select given.lease_token from unnest(asked) as given)) as lease;
    -- A second statement, because a run may have ended while the first one waited for its lock.
    select jsonb_object_agg(given.run_id, case
        when state.name = 'lease_lost' and given.ends_run
             and worker.has_ended_attempt(given.run_id, given.lease_token) then 'ended'
        when state.name = 'held' and given.ends_run and given.error_code is not null then 'ends_too_soon'
        when state.name = 'held' and given.site is not null and not exists (
            select from public.search_run_sites as known
            where known.run_id = given.run_id and known.site = given.site) then 'unknown_site'
        else state.name end)
    into states
    from unnest(asked) as given
    cross join lateral (select states ->> given.run_id::text as name) as state;

    ended := worker.end_sites(array(
        select row(given.run_id, given.site, given.account, given.error_code, given.error_message, given.retryable,
                   given.retry_after_seconds, null, null, null)::worker.site_end
        from unnest(asked) as given
        where given.site is not null and states ->> given.run_id::text = 'held'));
    perform worker.show_progress(given.run_id, jsonb_build_object('step', 'site_finished', 'site', given.site))
    from unnest(asked) as given
    where not given.ends_run and (given.run_id, given.site) in (
        select site.run_id, site.site from unnest(ended) as site);

    runs := worker.end_runs(
        array(select given.run_id from unnest(asked) as given
              where given.ends_run and states ->> given.run_id::text = 'held'),
        array(select given.lease_token from unnest(asked) as given
              where given.ends_run and states ->> given.run_id::text = 'held'));
    -- The runs that have ended make room for others of their users.
    if next.claim_id is not null and not worker.is_claimed_again(next) then
        perform worker.start_ready_runs(next);
    end if;
    perform worker.record_ends(ended);
    answers := worker.ended_runs(
        array(select given.run_id from unnest(asked) as given
              where given.ends_run and states ->> given.run_id::text in ('held', 'ended')), runs.fallbacks);

    return (
        select jsonb_agg(case
            when given.run_id = any (runs.refused) then jsonb_build_object(
                'state', 'refused',
                'message', 'run_id must be the id of a run whose sites have all finished or wait')
            when state.name = 'ends_too_soon' then jsonb_build_object(
                'state', 'refused',
                'message', 'ends_run must be false with an error_code: the failure decides how the run ends')
            when state.name = 'unknown_site' then jsonb_build_object(
                'state', 'refused',
                'message', format('site must be one of the sites of the run, not %L', given.site))
            when state.name not in ('held', 'ended') then jsonb_build_object('state', state.name)
            when given.ends_run then jsonb_build_object(
                'state', 'done',
                'run', answers -> given.run_id::text)
            else '{"state": "done"}' end order by given.place)
        from unnest(asked) with ordinality as given (
            run_id, lease_token, site, account, error_code, error_message, retryable, retry_after_seconds, ends_run, place)
        cross join lateral (select states ->> given.run_id::text as name) as state
    );
end;
$$;
comment on function worker.finish_searches is
    'Ends sites and runs, as worker_finish_sites does, and claims others, if next is not null.';

-- Plans for any arguments: PostgreSQL would plan the statements again at each call, which takes longer than they do.
-- And with indexes: a connection that has planned for small tables would read the whole tables after they have grown.
-- Before PostgreSQL 18, plans without that choice look so dear that each would be compiled.
create function public.worker_finish_sites(finished jsonb) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off as $$
begin
    return worker.finish_searches(finished, null);
end;
$$;
comment on function public.worker_finish_sites is
    'Ends sites of several runs: [{run_id, lease_token, site, account, error_code, error_message, retryable, '
    'retry_after_seconds, ends_run}], each run once. A site is completed without an error, partial if it failed after '
    'some results, failed otherwise. A page that could not be read is the error unverified. error_message is for the '
    'operator and goes to the event; users read a sentence of worker.messages. retry_after_seconds is the pause that '
    'the site asked for. ends_run: the run has no more to search; without a site, only the run ends. A site with an error ends '
    'in a call before, because a pause that it causes decides when the run is retried. A run is a success if all sites completed, partial if '
    'some did, failed if none did. Instead, it is pending again from run_after on: while unfinished sites wait, which '
    'counts no attempt; or to retry sites, with attempts left. Returns for each {state, message, run}: done; lease_lost '
    'or cancelled; refused, with a message; busy: another transaction has locked the run, send it alone. run is there if '
    'the run was to end: {id, status, jobs_found, progress, run_after, updated_at, sites, fallbacks}. With fallbacks, '
    'it continues: search these, in the form of worker_claim_runs, and end it again. Idempotent.';

create function public.worker_finish_and_claim(finished jsonb, claim jsonb) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off as $$
declare
    next worker.claim := jsonb_populate_record(null::worker.claim, claim);
    answers jsonb;
begin
    if next.claim_id is null then
        raise sqlstate '22023' using message = 'claim must be an object with a claim_id';
    end if;
    perform worker.check_claim(next);
    answers := worker.finish_searches(finished, next);
    return jsonb_build_object(
        'finished', answers, 'is_claim_due', worker.is_claim_due(),
        'claimed', (select coalesce(jsonb_agg(run), '[]') from worker.claimed_runs(next.claim_id) as run));
end;
$$;
comment on function public.worker_finish_and_claim is
    'Ends sites of several runs as worker_finish_sites does, and claims ready runs in the same transaction: claim is '
    '{worker_id, kinds, slots, lease_seconds, claim_id, limits, exits, schema_version}, as worker_claim_runs takes them. '
    'Returns {finished, claimed, is_claim_due}: the first two as these functions do. If is_claim_due, claim next with '
    'worker_claim_runs, which also rescues runs of dead workers, settles followers and promotes delayed runs. Idempotent.';
