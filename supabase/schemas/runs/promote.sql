-- When does a delayed run become ready? When it is due, unless another run searches for it by then.
-- Calls: kernel/clock, sharing/follow, sharing/answer, sharing/share, enqueue/position.

create function worker.promote_due_runs() returns void
language plpgsql set search_path = '' as $$
declare
    due public.search_runs;
begin
    for due in
        select run.* from public.search_runs as run
        where run.status = 'pending' and run.run_after <= worker.now()
        order by run.run_after
        limit (select rescue_batch from worker.settings)
        for no key update skip locked
    loop
        due.position := worker.next_position(due.user_id, due.priority);
        -- A run that has started before is still the leader.
        if due.started_at is not null then
            due.run_after := null;
        else
            due := worker.share(due, may_wait => false);
        end if;
        continue when due.run_after is not null;

        update public.search_runs as run
        set run_after = null, position = due.position,
            leader_run_id = due.leader_run_id, shared_run_id = due.shared_run_id, status = due.status,
            error_code = due.error_code, error_message = due.error_message, started_at = due.started_at,
            jobs_found = due.jobs_found, items_found = due.items_found, new_items = due.new_items,
            progress_current = due.progress_current, progress = due.progress, completed_at = due.completed_at
        where run.id = due.id;
        if due.leader_run_id is not null or due.shared_run_id is not null then
            delete from public.search_run_sites as site where site.run_id = due.id;
        end if;
        if due.leader_run_id is not null then
            perform worker.update_leaders(array[due.id]);
        elsif due.shared_run_id is not null then
            perform worker.write_answered_events(array[due.id]);
        end if;
    end loop;
end;
$$;
comment on function worker.promote_due_runs is
    'Makes a batch of delayed runs ready once they are due, unless another run searches for them.';
