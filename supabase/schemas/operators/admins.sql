-- Who may see the runs of all users? Admins: users whose app_metadata.role is admin. Only the project's owner sets that,
-- unlike user_metadata. And the service role, for the commands.
-- Calls: kernel/clock, operators/run_counts.

create function worker.check_admin() returns void
language plpgsql stable set search_path = '' as $$
begin
    -- The setting has the role of the request, although the caller runs with its owner's rights.
    if current_setting('role') = 'service_role'
       or (current_setting('role') = 'authenticated' and auth.jwt() -> 'app_metadata' ->> 'role' = 'admin') then
        return;
    end if;
    raise sqlstate '42501' using
        message = 'only admins may call this function',
        hint = 'An admin is a user whose app_metadata.role is admin. A change counts once the token is refreshed.';
end;
$$;
comment on function worker.check_admin is
    'Raises 42501 (HTTP 403) unless the caller is an admin: the app_metadata.role of the token is admin; or the service role.';

create function worker.check_since(since timestamptz) returns void
language plpgsql stable set search_path = '' as $$
begin
    if since between worker.now() - interval '400 days' and worker.now() is not true then
        raise sqlstate '22023' using message = 'since must be a time of the last 400 days';
    end if;
end;
$$;
comment on function worker.check_since is 'Raises 22023 (HTTP 400) unless a time is in the past, at most 400 days ago.';

create function worker.first_whole_day(since timestamptz) returns timestamptz
language sql immutable set search_path = ''
-- In hours, because the days of a session's time zone differ in length.
return date_trunc('day', since - interval '1 microsecond' + interval '24 hours', 'UTC');
comment on function worker.first_whole_day is
    'Returns the begin of the first whole day (UTC) since a time. From then on, the rows of days are enough.';

create function worker.quantile(histogram bigint[], share double precision) returns double precision
language sql immutable set search_path = ''
begin atomic
    with bucket as (
        select counted.runs, sum(counted.runs) over (order by counted.number) as up_to,
               coalesce((worker.time_buckets())[counted.number - 1], 0) as low,
               (worker.time_buckets())[counted.number] as high
        from unnest(quantile.histogram) with ordinality as counted (runs, number)
    )
    select round((bucket.low + coalesce(
               (bucket.high - bucket.low) * (quantile.share * total.runs - bucket.up_to + bucket.runs) / bucket.runs, 0)
           )::numeric, 1)::double precision
    from bucket cross join (select sum(bucket.runs) as runs from bucket) as total
    where bucket.runs > 0 and bucket.up_to >= quantile.share * total.runs
    order by bucket.up_to
    limit 1;
end;
comment on function worker.quantile is
    'Returns a quantile of a histogram, in seconds, interpolated within its bucket; of the last bucket, its lower bound. '
    'Null without any.';

create function worker.quantiles(histogram bigint[]) returns jsonb
language sql immutable set search_path = ''
return jsonb_build_object('p50', worker.quantile(histogram, 0.5), 'p95', worker.quantile(histogram, 0.95));
comment on function worker.quantiles is 'Returns {p50, p95} of a histogram, in seconds.';
