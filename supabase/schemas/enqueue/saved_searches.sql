-- May this search be saved? It must be valid as a run, the user has no other one of its name, and the number of saved
-- searches of a user is limited.
-- Calls: kernel/clock, parameters/check, enqueue/request_size.

create function worker.check_saved_search() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if tg_op = 'INSERT' then
        perform worker.count_request_row();
    end if;
    if coalesce(length(new.name), 0) not between 1 and 200 then
        raise sqlstate '22023' using message = 'name must be a text of 1 to 200 characters';
    end if;
    perform worker.check_parameters(new.kind, new.parameters);
    -- The constraint decides when two requests come at once. Its own message names the constraint alone. The policy is
    -- checked later: a user must not learn the names of another one.
    if (current_setting('role') <> 'authenticated' or new.user_id = (select auth.uid())) and exists (
        select from public.saved_searches as other
        where other.user_id = new.user_id and other.name = new.name and other.id <> new.id
    ) then
        raise unique_violation using
            message = format('There is already a saved search with the name "%s". Choose another name.', new.name),
            constraint = 'saved_searches_name';
    end if;
    new.updated_at := worker.now();
    return new;
end;
$$;
comment on function worker.check_saved_search is 'Checks a saved search like a run.';

create trigger check_saved_search before insert or update on public.saved_searches
    for each row execute function worker.check_saved_search();

create function worker.count_saved_searches() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    most integer := (select settings.max_saved_searches_per_user from worker.settings as settings);
begin
    -- Serialize concurrent inserts of a user, as in worker.check_quotas.
    perform pg_advisory_xact_lock(hashtextextended('worker.count_saved_searches ' || saving.user_id, 0))
    from (select distinct saved.user_id from new_searches as saved order by saved.user_id) as saving;

    if exists (
        select from (select distinct saved.user_id from new_searches as saved where saved.collection is null) as saving
        where most < (select count(*) from public.saved_searches as saved
                      where saved.user_id = saving.user_id and saved.collection is null)
    ) then
        raise sqlstate 'PT429' using
            message = format('at most %s saved searches of a user are kept: delete some', most),
            detail = jsonb_build_object('quota', 'max_saved_searches_per_user', 'limit', most);
    end if;
    return null;
end;
$$;
comment on function worker.count_saved_searches is
    'Rejects saved searches beyond worker.settings.max_saved_searches_per_user with PT429 (HTTP 429).';

create trigger count_saved_searches after insert on public.saved_searches
    referencing new table as new_searches
    for each statement execute function worker.count_saved_searches();
