-- How many rows may one request insert? As many as worker.settings allows, counted before any lock is taken.
-- Calls: nothing.

create function worker.count_request_row() returns void
language plpgsql set search_path = '' as $$
declare
    invoker text := coalesce(nullif(current_setting('role'), 'none'), session_user);
    rows_sent integer := coalesce(nullif(current_setting('worker.rows_sent', true), ''), '0')::integer + 1;
    setting text := case invoker when 'service_role' then 'max_rows_per_service_request' else 'max_rows_per_request' end;
    most integer;
begin
    if invoker = current_user then  -- the owner
        return;
    end if;
    select case invoker when 'service_role' then settings.max_rows_per_service_request else settings.max_rows_per_request end
    into strict most from worker.settings as settings;
    if rows_sent > most then
        raise sqlstate '22023' using
            message = format('at most %s rows may be sent at a time', most),
            detail = jsonb_build_object('setting', setting, 'limit', most);
    end if;
    perform set_config('worker.rows_sent', rows_sent::text, true);
end;
$$;
comment on function worker.count_request_row is
    'Counts the rows that a transaction inserts, including rejected and duplicate ones, before any lock is taken. '
    'Raises 22023 (HTTP 400) beyond the limits of worker.settings.';

create function worker.lift_request_limit() returns void
language sql volatile set search_path = ''
begin atomic
    select set_config('worker.rows_sent', (-1000000)::text, true);
end;
comment on function worker.lift_request_limit is
    'Lets the rest of the transaction insert a million more rows: for functions that limit their rows themselves.';
