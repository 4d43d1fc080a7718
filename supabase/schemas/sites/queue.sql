-- Who is next at a site? Runs wait by priority. Within a priority, users take turns. Of one user, the run that has
-- waited longest is first.
-- Calls: kernel/clock.

create function worker.wait_state(
    run_id uuid, site text, out since timestamptz, out waited interval, out is_within_page boolean
)
language plpgsql stable set search_path = '' as $$
begin
    select least(coalesce(wait.waiting_since, search.waiting_since), worker.now()),
           -- Not coalesce() alone, because greatest() ignores nulls.
           case when wait.run_id is not null
                then greatest(wait.waited - greatest(wait.due_at - worker.now(), '0'), '0')
                else coalesce(search.waited, '0') end,
           coalesce(search.is_within_page, false)
    into since, waited, is_within_page
    from (select) as nothing
    left join worker.site_waits as wait on wait.run_id = wait_state.run_id and wait.site = wait_state.site
    left join worker.site_searches as search on search.run_id = wait_state.run_id and search.site = wait_state.site;
end;
$$;
comment on function worker.wait_state is
    'Returns since when a run waits for a site, how long it has waited, and whether it is in the middle of a page.';

create function worker.site_queue(
    bucket text, accounts text[], reasons text[], asking_run_id uuid default null, asking_since timestamptz default null,
    exit text default ''
) returns table (run_id uuid, place bigint, requests integer, due_at timestamptz)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    now timestamptz := worker.now();
    settings worker.settings;
begin
    select * into strict settings from worker.settings;
    return query
    with waiting as (
        select wait.run_id, wait.waiting_since as since, wait.requests, wait.due_at
        from worker.site_waits as wait
        -- The lower bound on the time skips runs that are late, and uses the index.
        where wait.bucket = site_queue.bucket
          and wait.due_at > now - settings.wait_grace and wait.due_at <= now + settings.max_site_wait
          and wait.account = any (site_queue.accounts) and wait.exit = site_queue.exit and wait.reason = any (site_queue.reasons)
          and wait.run_id is distinct from site_queue.asking_run_id
          and (not wait.lets_pass or wait.due_at <= now)
          -- No place is kept for a run that searches another site in the meantime.
          and (wait.reason <> 'searches' or wait.due_at <= now or exists (
              select from public.search_runs as run where run.id = wait.run_id and run.status = 'pending'))
        union all
        select site_queue.asking_run_id, site_queue.asking_since, 0, null where site_queue.asking_run_id is not null
    ), ranked as (
        select waiting.*, run.user_id,
               case when waiting.since <= now - settings.max_priority_wait then max(run.priority) over ()
                    else run.priority end as priority
        from waiting join public.search_runs as run on run.id = waiting.run_id
    ), numbered as (
        select ranked.*, case when share.last_at <= now then share.last_at else ranked.since end as turn,
               coalesce(under_way.searches, 0) + row_number() over (
                   partition by ranked.user_id, ranked.priority order by ranked.since, ranked.run_id) as nth
        from ranked
        left join lateral (
            select max(known.last_at) as last_at from worker.site_shares as known
            where known.bucket = site_queue.bucket and known.user_id = ranked.user_id
        ) as share on site_queue.accounts = '{""}'
        left join lateral (
            select count(*) as searches
            from worker.site_searches as search join public.search_runs as run on run.id = search.run_id
            where search.site = site_queue.bucket and run.user_id = ranked.user_id
        ) as under_way on site_queue.reasons = '{searches}'
    )
    select numbered.run_id,
           row_number() over (order by numbered.since = '-infinity' desc, numbered.priority desc, numbered.nth,
                                       numbered.turn, numbered.since, numbered.run_id),
           numbered.requests, numbered.due_at
    from numbered;
end;
$$;
comment on function worker.site_queue is
    'Returns the queue of the runs that wait for the same bucket and exit and are not late, and optionally a run that asks. '
    'First runs in the middle of a page; then by priority, which is the highest after max_priority_wait; then users '
    'take turns, each with one run, the one served longest ago first; then the run of a user that has waited '
    'longest.';

create function worker.queue_ahead(
    bucket text, account text, exit text, reasons text[], since timestamptz, run_id uuid,
    out waiters integer, out requests integer, out back_at timestamptz, out is_due boolean
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    now timestamptz := worker.now();
    grace interval := (select settings.wait_grace from worker.settings as settings);
begin
    waiters := 0;
    requests := 0;
    is_due := false;
    -- The usual case: nobody waits.
    if not exists (
        select from worker.site_waits as wait
        where wait.bucket = queue_ahead.bucket and wait.due_at > now - grace
          and wait.account = queue_ahead.account and wait.exit = queue_ahead.exit and wait.run_id <> queue_ahead.run_id
    ) then
        return;
    end if;
    with line as materialized (
        select known.* from worker.site_queue(queue_ahead.bucket, array[queue_ahead.account], queue_ahead.reasons,
                                        queue_ahead.run_id, coalesce(queue_ahead.since, now), queue_ahead.exit) as known
    )
    select count(*), coalesce(sum(line.requests), 0),
           max(line.due_at + case when line.due_at <= now then grace else '0' end),
           coalesce(bool_or(line.due_at <= now), false)
    into waiters, requests, back_at, is_due
    from line
    where line.place < (select own.place from line as own where own.run_id = queue_ahead.run_id);
end;
$$;
comment on function worker.queue_ahead is
    'Returns how many runs are ahead of a run in the queue of a bucket and exit, their number of requests, when the last of '
    'them is back or late, and whether any of them is due already.';
