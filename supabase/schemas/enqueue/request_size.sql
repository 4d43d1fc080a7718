-- How many rows may one request insert?
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
    'Counts the rows that a transaction inserts, before anything is done for them or locked, also for those that will be refused or '
    'are there already; raises 22023 (HTTP 400) beyond the limits of worker.settings.';
