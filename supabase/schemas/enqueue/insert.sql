-- What happens when a run is inserted? It is counted and checked, gets its place in the queue, and then searches,
-- follows another run, or is answered at once.
-- Calls: kernel/clock, kernel/parameters, kernel/run_sites, parameters/check, sharing/equal_searches, sharing/follow,
--   sharing/answer, sharing/share, schedules/slots, enqueue/request_size, enqueue/user_quotas, enqueue/position, enqueue/newer_than.

create function worker.prepare_run() returns trigger
-- All that an insert looks up has an index: one plan is right for all runs. Without this, each insert plans again.
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off as $$
declare
    is_first boolean := current_setting('worker.has_enqueued', true) is distinct from 'true';
begin
    -- The policy is checked after the triggers, which already read and count for new.user_id. The setting has the role
    -- of the request, although this function runs with its owner's rights.
    if current_setting('role') = 'authenticated' and new.user_id is distinct from (select auth.uid())
       and new.user_id is not null then
        raise sqlstate '42501' using message = 'new row violates row-level security policy for table "search_runs"';
    end if;
    perform worker.count_request_row();
    if new.user_id is null then
        raise sqlstate '22023' using
            message = 'user_id is required',
            hint = 'It is the signed-in user by default; a service role has to name it.';
    end if;
    perform worker.check_json('client_context', new.client_context);
    if length(new.idempotency_key) not between 1 and 200 then
        raise sqlstate '22023' using message = 'idempotency_key must be 1 to 200 characters long';
    end if;
    if new.source = 'import' then  -- checked by worker_start_import, and equal to no search
        new.fingerprint := encode(sha256(convert_to('import ' || new.id, 'UTF8')), 'hex');
    else
        perform worker.check_parameters(new.kind, new.parameters);
        new.fingerprint := worker.fingerprint(new.kind, new.parameters, new.user_id, new.workspace_id);
    end if;
    new.priority := coalesce(new.priority, case new.source when 'manual' then 20 when 'api' then 10 else 0 end);
    new.position := worker.next_position(new.user_id, new.priority);
    new.progress_total := worker.results_wanted(new.kind, new.parameters)
        * (select count(*) from worker.sites_of(new.kind, new.parameters));
    new.progress := jsonb_build_object('step', 'queued');
    new.created_at := worker.now();
    new.updated_at := new.created_at;
    if new.source = 'cron' then
        new.newer_than := worker.last_success(new.user_id, new.fingerprint);
    end if;
    if new.saved_search_id is not null and not exists (
        select from public.saved_searches as saved where saved.id = new.saved_search_id and saved.user_id = new.user_id
    ) then
        raise sqlstate '22023' using message = 'saved_search_id must be the id of one of the user''s saved searches';
    end if;
    if new.slot_at is not null then
        new.run_after := worker.start_of_slot(new.slot_at, new.fingerprint);
    end if;
    if new.run_after is null and worker.will_be_refused(new) then
        new.run_after := new.created_at;  -- if it is accepted after all, promote_due_runs decides
    elsif new.run_after is null then
        new := worker.share(new, may_wait => is_first);
    end if;
    perform set_config('worker.has_enqueued', 'true', true);
    return new;
end;
$$;
comment on function worker.prepare_run is
    'Counts and checks a new run, sets its queue columns, and decides which run searches for it.';

create trigger prepare_run before insert on public.search_runs
    for each row execute function worker.prepare_run();

create function worker.open_runs() returns trigger
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off as $$
declare
    following uuid[] := array(select run.id from new_runs as run where run.leader_run_id is not null);
    answered uuid[] := array(select run.id from new_runs as run where run.shared_run_id is not null);
begin
    perform worker.add_sites(array(
        select run.id from new_runs as run where run.leader_run_id is null and run.shared_run_id is null));

    insert into public.run_events (run_id, event, data, created_at)
    select run.id, 'created', jsonb_strip_nulls(jsonb_build_object('source', run.source, 'slot_at', run.slot_at)),
           run.created_at
    from new_runs as run;

    -- Most runs follow no other. Asking for their leaders takes a fifth of an insert.
    if following <> '{}' then
        perform worker.update_leaders(following);
    end if;
    if answered <> '{}' then
        perform worker.write_answered_events(answered);
    end if;
    return null;
end;
$$;
comment on function worker.open_runs is
    'Writes the first event of new runs, and creates the sites of those that search.';

create trigger open_runs after insert on public.search_runs
    referencing new table as new_runs
    for each statement execute function worker.open_runs();
