-- How do the collections of an operator become saved searches? What is missing is added, what differs is changed, and
-- what is not among them any more is removed, in one transaction. Other namespaces are left alone.
-- Calls: enqueue/request_size, runs/import, collections/expand, collections/check.

create function worker.write_collected_searches(
    namespace text, owner_id uuid, collections jsonb, out added uuid[], out changed uuid[], out removed bigint
)
language sql volatile set search_path = ''
begin atomic
    with wanted as materialized (
        select * from worker.collected_searches(write_collected_searches.namespace, write_collected_searches.collections)
    ), removed as (
        delete from public.saved_searches as saved
        where split_part(saved.collection, '/', 1) = write_collected_searches.namespace
          and (saved.user_id <> write_collected_searches.owner_id
               or not exists (select from wanted where wanted.name = saved.name))
        returning saved.id
    ), changed as (
        update public.saved_searches as saved
        set kind = wanted.kind, parameters = wanted.parameters
        from wanted
        where split_part(saved.collection, '/', 1) = write_collected_searches.namespace
          and saved.user_id = write_collected_searches.owner_id and saved.name = wanted.name
          and (saved.kind, saved.parameters) is distinct from (wanted.kind, wanted.parameters)
        returning saved.id
    ), added as (
        insert into public.saved_searches as saved (user_id, name, kind, parameters, collection)
        select write_collected_searches.owner_id, wanted.name, wanted.kind, wanted.parameters, wanted.collection
        from wanted
        where not exists (
            select from public.saved_searches as known
            where known.user_id = write_collected_searches.owner_id and known.name = wanted.name)
        order by wanted.name
        returning saved.id
    )
    select array(select added.id from added), array(select changed.id from changed), (select count(*) from removed);
end;
comment on function worker.write_collected_searches is
    'Adds, changes and removes saved searches, so that those of a namespace are those of its collections.';

create function worker.write_collected_schedules(namespace text, owner_id uuid, collections jsonb) returns uuid[]
language sql volatile set search_path = ''
begin atomic
    with written as (
        insert into public.search_schedules as schedule (saved_search_id, time_zone, times, weekdays)
        select saved.id, wanted.time_zone, wanted.times, wanted.weekdays
        from worker.collected_searches(
            write_collected_schedules.namespace, write_collected_schedules.collections) as wanted
        join public.saved_searches as saved
            on saved.user_id = write_collected_schedules.owner_id and saved.name = wanted.name
        left join public.search_schedules as former on former.saved_search_id = saved.id
        where (former.time_zone, former.times, former.weekdays)
              is distinct from (wanted.time_zone, wanted.times, wanted.weekdays)
        order by saved.id
        on conflict (saved_search_id) do update
        set time_zone = excluded.time_zone, times = excluded.times, weekdays = excluded.weekdays
        returning schedule.saved_search_id
    )
    select array(select written.saved_search_id from written);
end;
comment on function worker.write_collected_schedules is
    'Schedules the saved searches of a namespace as its collections say. Returns those whose schedule is new or changed. '
    'A schedule that is paused by its user stays paused.';

create function public.worker_apply_collections(namespace text, owner text, collections jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    owner_id uuid;
    taken text;
    written record;
    scheduled uuid[];
begin
    perform worker.check_collections(namespace, collections);
    if not exists (select from auth.users as known
                   where known.id::text = lower(btrim(owner)) or lower(known.email) = lower(btrim(owner))) then
        raise sqlstate 'PT404' using message = format('there is no user %L', owner);
    end if;
    owner_id := worker.user_named(owner);
    -- One call for a namespace at a time.
    perform pg_advisory_xact_lock(hashtextextended('worker.apply_collections ' || namespace, 0));
    select saved.name into taken
    from worker.collected_searches(namespace, collections) as wanted
    join public.saved_searches as saved on saved.user_id = owner_id and saved.name = wanted.name
    where saved.collection is distinct from wanted.collection
    limit 1;
    if taken is not null then
        raise sqlstate '22023' using message = format('user %L has saved a search of the name %L', owner, taken);
    end if;
    perform worker.lift_request_limit();
    written := worker.write_collected_searches(namespace, owner_id, collections);
    scheduled := worker.write_collected_schedules(namespace, owner_id, collections);
    return jsonb_build_object(
        'added', cardinality(written.added),
        'changed', (
            select count(*) from (
                select unnest(written.changed || scheduled) as id except select unnest(written.added)) as differing),
        'removed', written.removed,
        'searches', (select count(*) from worker.collected_searches(namespace, collections)));
end;
$$;
comment on function public.worker_apply_collections is
    'Makes the saved searches of a namespace those of these collections: [{name, kind, terms, places, sites, parameters, '
    'time_zone, times, weekdays}], as searches of one user, who is named by id or e-mail address. Returns {searches, '
    'added, changed, removed}; what is unchanged is not written. Raises 22023 (HTTP 400) with what is wrong, and PT404 '
    '(HTTP 404) if there is no such user.';
