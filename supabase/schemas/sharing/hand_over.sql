-- What do dependent runs get from a leader that has ended or was deleted? Its sites, results and pages go to one of
-- them, which becomes the leader of the others or answers them.
-- Calls: kernel/clock, kernel/parameters, kernel/run_sites, kernel/counts.

create function worker.ended_leader_sites(ended worker.ended_leaders) returns setof public.search_run_sites
language sql stable set search_path = ''
begin atomic
    select site.* from public.search_run_sites as site where site.run_id = ended.run_id and ended.former is null
    union all
    select kept.* from jsonb_populate_recordset(null::public.search_run_sites, ended.sites) as kept;
end;
comment on function worker.ended_leader_sites is 'Returns the sites of a leader that has ended or was deleted.';

create function worker.ended_leader_results(ended worker.ended_leaders) returns setof public.search_results
language sql stable set search_path = ''
begin atomic
    select result.* from public.search_results as result where result.run_id = ended.run_id and ended.former is null
    union all
    select kept.* from jsonb_populate_recordset(null::public.search_results, ended.results) as kept
    where exists (select from public.items as item where item.id = kept.item_id);
end;
comment on function worker.ended_leader_results is 'Returns the results of a leader that has ended or was deleted.';

create function worker.transfer_results(run_id uuid, ended worker.ended_leaders) returns void
language sql volatile set search_path = ''
begin atomic
    insert into public.search_results (run_id, item_id, site, page_number, position, created_at)
    select transfer_results.run_id, result.item_id, result.site, result.page_number, result.position, result.created_at
    from worker.ended_leader_results(transfer_results.ended) as result
    order by result.created_at, result.position;

    -- With the pages, the run can be reprocessed and the search can resume.
    update worker.raw_collections as page set run_id = transfer_results.run_id
    where page.run_id = (transfer_results.ended).run_id;
end;
comment on function worker.transfer_results is
    'Copies the results of a leader that has ended or was deleted to a run, and moves its pages there.';

create function worker.transfer_search(run_id uuid, ended worker.ended_leaders) returns void
language sql volatile set search_path = ''
begin atomic
    select worker.transfer_results(transfer_search.run_id, transfer_search.ended);

    insert into public.search_run_sites (
        run_id, site, position, is_fallback, status, error_code, error_message, retryable, jobs_found, attempts, progress, started_at,
        completed_at)
    select transfer_search.run_id, site.site, row_number() over (order by asked.ordinal, site.position),
           site.is_fallback,
           case when searched.is_over then site.status else 'pending' end,
           case when searched.is_over then site.error_code end, case when searched.is_over then site.error_message end,
           case when searched.is_over then site.retryable end,
           (select count(*) from public.search_results as result
            where result.run_id = transfer_search.run_id and result.site = site.site),
           -- The next attempt must have another number than those with saved pages.
           site.attempts,
           case when searched.is_over then site.progress else worker.with_step(site.progress, 'queued') end,
           case when searched.is_over then site.started_at end,
           case when searched.is_over then site.completed_at end
    from worker.ended_leader_sites(transfer_search.ended) as site
    join public.search_runs as run on run.id = transfer_search.run_id
    -- Equal searches may have the sites in another order.
    left join lateral worker.sites_of(run.kind, run.parameters) as asked on asked.site = site.site
    cross join lateral (
        select site.status in ('completed', 'partial', 'failed') and site.retryable is not true as is_over
    ) as searched
    order by asked.ordinal, site.position;
end;
comment on function worker.transfer_search is
    'Gives a follower the sites and results of its ended leader. A site that completed, or failed for good, stays as it '
    'is. The others become pending.';

create function worker.detach_followers(followers uuid[]) returns void
language sql volatile set search_path = ''
begin atomic
    update public.search_runs as run
    set status = 'pending', leader_run_id = null, run_after = worker.now(), started_at = null, error_code = null,
        error_message = null, progress = jsonb_build_object('step', 'queued'), jobs_found = 0, items_found = 0, new_items = 0
    where run.id = any (detach_followers.followers);
    select worker.add_sites(detach_followers.followers);
end;
comment on function worker.detach_followers is
    'Makes locked followers due without a leader, so that promote_due_runs decides again.';

create function worker.promote_follower(former public.search_runs, followers uuid[], ended worker.ended_leaders)
returns void
language plpgsql set search_path = '' as $$
declare
    new_leader uuid := followers[1];
begin
    if new_leader is null then
        return;
    end if;
    -- An equal run may have become a leader since then.
    if ended.is_handed_over or exists (
        select from public.search_runs as leader
        where leader.fingerprint = former.fingerprint and leader.newer_than is not distinct from former.newer_than
          and leader.completed_at is null and leader.leader_run_id is null
          and (leader.run_after is null or leader.started_at is not null)
    ) then
        perform worker.detach_followers(followers);
        return;
    end if;

    perform worker.transfer_search(new_leader, ended);
    update public.search_runs as run
    set status = 'pending', leader_run_id = null, error_code = null, error_message = null,
        progress = jsonb_build_object('step', 'queued'),
        -- The saved pages, and all followers, need the same newer_than.
        newer_than = former.newer_than,
        started_at = case
            when exists (select from worker.raw_collections as page where page.run_id = new_leader)
              or exists (select from public.search_run_sites as site
                         where site.run_id = new_leader and site.completed_at is not null)
            then former.started_at
        end,
        jobs_found = counts.jobs_found, progress_current = counts.progress_current,
        items_found = things.items_found, new_items = things.new_items
    from public.search_runs as following
    cross join lateral worker.run_counts(following) as counts
    cross join lateral worker.count_things(new_leader, worker.runs_shown_before(following)) as things
    where run.id = new_leader and following.id = run.id;
    update public.search_runs as follower
    set leader_run_id = new_leader, status = 'pending', error_code = null, error_message = null,
        progress = jsonb_build_object('step', 'queued')
    where follower.id = any (followers) and follower.id <> new_leader;
    update worker.ended_leaders as known set is_handed_over = true where known.id = ended.id;
end;
$$;
comment on function worker.promote_follower is
    'Makes the first of the locked followers the leader of the others. It continues where the former leader '
    'stopped.';

create function worker.transfer_answer(former public.search_runs, runs uuid[], ended worker.ended_leaders) returns void
language plpgsql set search_path = '' as $$
declare
    new_run_id uuid := runs[1];
begin
    if new_run_id is null then
        return;
    end if;
    perform worker.transfer_results(new_run_id, ended);
    insert into public.search_run_sites
    select (jsonb_populate_record(searched, jsonb_build_object('run_id', new_run_id, 'id', gen_random_uuid()))).*
    from worker.ended_leader_sites(ended) as searched;
    update public.search_runs as answered
    set shared_run_id = nullif(new_run_id, answered.id),
        -- Which runs it can answer depends on the search that found the results.
        newer_than = case when answered.id = new_run_id then former.newer_than else answered.newer_than end,
        started_at = case when answered.id = new_run_id then former.started_at else answered.started_at end
    where answered.id = any (runs);

    -- Followers that have just ended with it were counted without its results.
    update public.search_runs as answered
    set items_found = things.items_found, new_items = things.new_items
    from worker.things_found(array(
        select run.id from public.search_runs as run
        where run.id = any (runs) and run.items_found is distinct from former.items_found)) as things
    where answered.id = things.run_id;
end;
$$;
comment on function worker.transfer_answer is
    'Gives the results of a deleted run to the first of the locked runs that it answered, which then answers the '
    'others.';
