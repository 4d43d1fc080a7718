-- How does a run end that another run answers? With the status, counts and results of the run that answers it.
-- Calls: kernel/counts, webhooks/messages.

create function worker.write_answered_events(run_ids uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    insert into public.run_events (run_id, event, data, created_at)
    select run.id, 'finished', jsonb_build_object('status', run.status, 'shared_run_id', run.shared_run_id),
           run.completed_at
    from public.search_runs as run
    where run.id = any (write_answered_events.run_ids)
    order by run.id;

    select worker.announce_ended_runs(write_answered_events.run_ids);
end;
comment on function worker.write_answered_events is 'Writes the last event of runs that another run answers, and their webhook messages.';

create function worker.finish_followers(leader public.search_runs, followers uuid[]) returns void
language plpgsql set search_path = '' as $$
begin
    update public.search_runs as follower
    set leader_run_id = null, shared_run_id = leader.id, status = leader.status, jobs_found = leader.jobs_found,
        items_found = things.items_found, new_items = things.new_items,
        progress_current = leader.progress_current, progress = leader.progress, error_code = leader.error_code,
        error_message = leader.error_message, completed_at = leader.completed_at
    from worker.things_found(followers) as things
    where follower.id = things.run_id;
    perform worker.write_answered_events(followers);
end;
$$;
comment on function worker.finish_followers is 'Ends locked followers with the status and results of their leader.';
