-- When is old data deleted? At the ages in worker.settings, in small batches. Organizations go when nothing has them any
-- more.
-- Calls: kernel/clock, pages/merge, operators/run_counts.

create function worker.delete_unused_account_state(age interval) returns void
language sql volatile set search_path = ''
begin atomic
    delete from worker.site_health as health
    where health.account <> '' and health.updated_at < worker.now() - age
      and not exists (
          select from worker.accounts as known where known.site = health.site and known.account = health.account);

    delete from worker.site_health as health
    where health.exit <> '' and health.updated_at < worker.now() - age
      and not exists (select from worker.workers as living where health.exit = any (living.exits));

    delete from worker.site_buckets as bucket
    where bucket.exit not in ('', '*') and bucket.updated_at < worker.now() - age
      and not exists (select from worker.workers as living where bucket.exit = any (living.exits));

    delete from worker.site_buckets as bucket
    where bucket.account <> '' and bucket.updated_at < worker.now() - age
      and not exists (
          select from worker.accounts as known
          where known.site = split_part(bucket.bucket, ':', 1) and known.account = bucket.account);
end;
comment on function worker.delete_unused_account_state is
    'Deletes the state of sites for accounts and exits that no longer exist and were not used for this long.';

create function worker.delete_old_user_state(age interval) returns void
language sql volatile set search_path = ''
begin atomic
    delete from worker.site_failures as failed
    where failed.failed_at < worker.now() - age
       or not exists (select from auth.users as known where known.id = failed.user_id);

    delete from worker.site_shares as share
    where share.last_at < worker.now() - age
       or not exists (select from auth.users as known where known.id = share.user_id);
end;
comment on function worker.delete_old_user_state is
    'Deletes the failures and shares of users at sites that they did not search for this long, and of deleted '
    'users.';

create function worker.delete_old_stats(age interval, batch integer) returns void
language sql volatile set search_path = ''
begin atomic
    delete from worker.run_stats as known
    where known.ctid = any (array(
        select old.ctid from worker.run_stats as old
        where old.span in ('hour', 'day') and old.begins_at < worker.now() - age
        limit batch));
    delete from worker.run_totals as known
    where known.span in ('hour', 'day') and known.begins_at < worker.now() - age;
    delete from worker.site_totals as known
    where known.span in ('hour', 'day') and known.begins_at < worker.now() - age;
    delete from worker.page_stats as known where known.day < ((worker.now() - age) at time zone 'UTC')::date;
    delete from worker.exit_stats as known where known.day < ((worker.now() - age) at time zone 'UTC')::date;
    delete from worker.queue_samples as known where known.at < worker.now() - age;
end;
comment on function worker.delete_old_stats is
    'Deletes what was counted before this age. Of worker.run_stats, at most batch rows.';

create function worker.unused_organizations(ids uuid[]) returns uuid[]
language plpgsql stable set search_path = '' as $$
begin
    return array(
        select organization.id from public.organizations as organization
        where organization.id = any (ids)
          and case
              when organization.owner_id is null then not exists (
                  select from public.items as item where item.organization_id = organization.id)
              else not exists (
                  select from public.search_runs as run
                  where run.user_id = organization.owner_id
                    -- As worker.keeps_board_organizations says, but by an index: this is asked for each organization.
                    and run.parameters @> '{"board_organizations": true}')
          end);
end;
$$;
comment on function worker.unused_organizations is
    'Returns those of the organizations that no item has any more, or whose owner has no run that keeps organizations.';

create function worker.delete_unused_organizations(batch integer) returns void
language plpgsql set search_path = '' as $$
declare
    next_ids uuid[];
    unused uuid[];
begin
    next_ids := array(
        select next.id from public.organizations as next
        where next.id > (select task.after_id from worker.housekeeping as task where task.task = 'retention')
        order by next.id
        limit batch);
    update worker.housekeeping as task
    set after_id = case when cardinality(next_ids) < batch then '00000000-0000-0000-0000-000000000000'
                        else next_ids[batch] end
    where task.task = 'retention';

    unused := worker.unused_organizations(next_ids);
    if unused <> '{}' then
        -- A page that is being saved may have the first item of one of them: after this lock, it is visible.
        perform worker.lock_groups(public_kind.kind, null)
        from (select known.kind from worker.kinds as known where not known.is_private order by known.kind) as public_kind;
        delete from public.organizations as organization
        where organization.id = any (worker.unused_organizations(unused));
    end if;
end;
$$;
comment on function worker.delete_unused_organizations is
    'Looks at the next organizations, at most batch, and deletes those that are not used any more.';

create function worker.delete_old_incidents(age interval, batch integer) returns void
language sql volatile set search_path = ''
begin atomic
    delete from worker.incidents as incident
    where incident.id in (
        select oldest.id from worker.incidents as oldest
        where oldest.resolved_at < worker.now() - age
        order by oldest.resolved_at
        limit batch);
end;
comment on function worker.delete_old_incidents is
    'Deletes the incidents that ended this long ago, at most batch. There are few.';

create function worker.delete_expired_rows() returns boolean
language plpgsql set search_path = '' as $$
declare
    settings worker.settings;
    expired uuid[];
    deleted integer;
    is_full boolean;
begin
    select * into strict settings from worker.settings;

    -- Ids increase with time, so that the oldest rows are found without an index on the time.
    with oldest as (
        select page.id, page.fetched_at from worker.raw_collections as page order by page.id limit settings.retention_batch
    )
    delete from worker.raw_collections as page using oldest
    where page.id = oldest.id and oldest.fetched_at < worker.now() - settings.keep_raw_pages;
    get diagnostics deleted = row_count;
    is_full := deleted >= settings.retention_batch;

    with oldest as (
        select event.id, event.created_at from public.run_events as event order by event.id limit settings.retention_batch
    )
    delete from public.run_events as event using oldest
    where event.id = oldest.id and oldest.created_at < worker.now() - settings.keep_events;
    get diagnostics deleted = row_count;
    is_full := is_full or deleted >= settings.retention_batch;

    with oldest as (
        select message.id, message.created_at from worker.webhook_messages as message
        order by message.created_at
        limit settings.retention_batch
    )
    delete from worker.webhook_messages as message using oldest
    where message.id = oldest.id and oldest.created_at < worker.now() - settings.keep_webhooks;
    get diagnostics deleted = row_count;
    is_full := is_full or deleted >= settings.retention_batch;

    -- Not runs that answer a younger run, or that are recent enough to answer one at this moment.
    select array_agg(locked.id) into expired
    from (
        select run.id from public.search_runs as run
        where run.completed_at < worker.now() - settings.keep_runs
          and run.completed_at < worker.now() - settings.freshness - interval '1 hour'
          and not exists (select from public.search_runs as answered where answered.shared_run_id = run.id)
        order by run.completed_at
        limit settings.retention_batch / 10
        for update skip locked
    ) as locked;
    -- Check again, now that the locks prevent that they get runs to answer from a deleted run.
    expired := worker.count_before_deletion(array(
        select locked.id from unnest(expired) as locked (id)
        where not exists (select from public.search_runs as answered where answered.shared_run_id = locked.id)));

    with results as (
        select result.run_id, result.item_id from public.search_results as result
        where result.run_id = any (expired)
        limit settings.retention_batch
    )
    delete from public.search_results as result using results
    where result.run_id = results.run_id and result.item_id = results.item_id;
    get diagnostics deleted = row_count;
    is_full := is_full or deleted >= settings.retention_batch;

    delete from public.search_runs as run
    where run.id = any (expired)
      and not exists (select from public.search_results as result where result.run_id = run.id);
    get diagnostics deleted = row_count;

    perform worker.delete_old_stats(settings.keep_run_stats, 10 * settings.retention_batch);
    perform worker.delete_unused_account_state(settings.keep_runs);
    perform worker.delete_old_user_state(settings.keep_runs);
    perform worker.delete_old_incidents(settings.keep_incidents, settings.retention_batch);
    delete from worker.deleted_runs as deleted where deleted.created_at < worker.now() - interval '1 hour';
    delete from worker.workers as known where known.seen_at < worker.now() - interval '1 day';
    -- Ten times as many as rows of other tables: most of them are only looked at, and none is broadcast.
    perform worker.delete_unused_organizations(10 * settings.retention_batch);
    return is_full or deleted >= settings.retention_batch / 10;
end;
$$;
comment on function worker.delete_expired_rows is
    'Deletes one batch of rows older than worker.settings allows. Returns whether a part of the batch was full.';

create function public.worker_delete_expired() returns integer
language plpgsql security definer set search_path = '' as $$
declare
    settings worker.settings;
    due_at timestamptz;
begin
    select * into strict settings from worker.settings;

    select task.next_at into due_at from worker.housekeeping as task
    where task.task = 'retention'
    for update skip locked;
    if not found then
        due_at := worker.now() + settings.retention_pause;  -- another worker is deleting
    elsif due_at <= worker.now() then
        due_at := worker.now() + case when worker.delete_expired_rows()
                                      then settings.retention_pause else settings.retention_interval end;
        update worker.housekeeping as task set next_at = due_at where task.task = 'retention';
    end if;
    return ceil(extract(epoch from due_at - worker.now()));
end;
$$;
comment on function public.worker_delete_expired is
    'Deletes a batch of rows older than worker.settings allows, unless another worker just did. Returns the seconds '
    'until another call is due.';
