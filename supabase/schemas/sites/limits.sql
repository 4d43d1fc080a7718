-- How many requests does a site allow? What the operator sets in worker.bucket_limits, otherwise what the source
-- declares.
-- Calls: kernel/clock.

create function worker.effective_limits(bucket text, declared jsonb) returns worker.bucket_limits
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
    wrong record;
    allowed worker.bucket_limits;
begin
    if jsonb_typeof(declared) not in ('object', 'null') then
        raise sqlstate '22023' using message = 'limits must be an object';
    end if;
    select given.name, rule.expected into wrong
    from jsonb_each(case jsonb_typeof(declared) when 'object' then declared end) as given (name, value)
    left join (values
        ('requests', 'an integer from 1 to 1000000', '$ ? (@ >= 1 && @ <= 1000000 && @ == @.floor())'::jsonpath),
        ('period_seconds', 'a number above 0, of 2678400 at most', '$ ? (@ > 0 && @ <= 2678400)'),
        ('burst', 'an integer from 1 to 1000000', '$ ? (@ >= 1 && @ <= 1000000 && @ == @.floor())'),
        ('min_delay_seconds', 'a number from 0 to 2678400', '$ ? (@ >= 0 && @ <= 2678400)'),
        ('quota', 'an integer from 1 to 1000000000', '$ ? (@ >= 1 && @ <= 1000000000 && @ == @.floor())'),
        ('quota_period', 'day or month', '$ ? (@ == "day" || @ == "month")'),
        ('quota_timezone', 'the name of a time zone', '$ ? (@.type() == "string")'),
        ('searches', 'an integer from 1 to 1000000', '$ ? (@ >= 1 && @ <= 1000000 && @ == @.floor())'),
        ('searches_per_account', 'an integer from 1 to 1000000',
         '$ ? (@ >= 1 && @ <= 1000000 && @ == @.floor())'),
        ('per_exit', 'true or false', '$ ? (@.type() == "boolean")')
    ) as rule (name, expected, path) on rule.name = given.name
    where rule.name is null
       or (given.value <> 'null' and (jsonb_typeof(given.value) in ('array', 'object')
                                     or not jsonb_path_exists(given.value, rule.path, silent => true)))
    limit 1;
    if found then
        raise sqlstate '22023' using message = coalesce(
            'limits.' || wrong.name || ' must be ' || wrong.expected, format('limits.%s is not a limit', wrong.name));
    end if;

    select effective_limits.bucket,
           coalesce(own.requests, (declared ->> 'requests')::numeric::integer),
           coalesce(own.period_seconds, (declared ->> 'period_seconds')::double precision, 60),
           coalesce(own.burst, (declared ->> 'burst')::numeric::integer, 1),
           coalesce(own.min_delay_seconds, (declared ->> 'min_delay_seconds')::double precision),
           coalesce(own.quota, (declared ->> 'quota')::numeric::integer),
           coalesce(own.quota_period, declared ->> 'quota_period', 'day'),
           coalesce(own.quota_timezone, declared ->> 'quota_timezone', 'UTC'),
           coalesce(own.searches, (declared ->> 'searches')::numeric::integer),
           coalesce(own.searches_per_account, (declared ->> 'searches_per_account')::numeric::integer),
           own.total_requests
    into allowed
    from (select) as nothing
    left join worker.bucket_limits as own on own.bucket = effective_limits.bucket;

    allowed.burst := least(allowed.burst, allowed.requests);
    begin
        perform worker.next_quota_reset(allowed.quota_period, allowed.quota_timezone, worker.now());
    exception when invalid_parameter_value then
        raise sqlstate '22023' using
            message = format('limits.quota_timezone must be the name of a time zone, not %L', allowed.quota_timezone);
    end;
    return allowed;
end;
$$;
comment on function worker.effective_limits is
    'Returns the limits of a bucket: the operator''s, otherwise those that a source declares. Raises 22023 (HTTP '
    '400) for an invalid limit.';

create function worker.next_quota_reset(period text, timezone text, at timestamptz) returns timestamptz
language plpgsql stable set search_path = '' as $$
begin
    return (date_trunc(period, at at time zone timezone) + ('1 ' || period)::interval) at time zone timezone;
end;
$$;
comment on function worker.next_quota_reset is
    'Returns the first midnight of the next calendar day or month in a time zone.';

create function worker.request_interval(allowed worker.bucket_limits) returns interval
language sql stable set search_path = ''
-- A burst, then single requests at this interval, make at most `requests` within any period. Rounded up to be safe.
return (
    select make_interval(secs => ceil(
        (allowed.period_seconds + extract(epoch from settings.permit_slack)::double precision)
        / (allowed.requests - allowed.burst + 1) * 1000000) / 1000000)
    from worker.settings as settings
);
comment on function worker.request_interval is
    'Returns the time between two requests at the rate of a bucket; null without a rate limit.';

create function worker.min_delay(allowed worker.bucket_limits) returns interval
language sql stable set search_path = ''
return (
    select coalesce(make_interval(secs => nullif(allowed.min_delay_seconds, 0)) + settings.permit_slack, '0')
    from worker.settings as settings
);
comment on function worker.min_delay is 'Returns the least time between two requests of a bucket.';

create function worker.limits_of_rotating(allowed worker.bucket_limits, requests_per_minute integer)
returns worker.bucket_limits
language plpgsql immutable set search_path = '' as $$
begin
    allowed.requests := requests_per_minute;
    allowed.period_seconds := 60;
    allowed.burst := 1;
    allowed.min_delay_seconds := null;
    allowed.quota := null;
    return allowed;
end;
$$;
comment on function worker.limits_of_rotating is
    'Returns the limits of a bucket through a rotating exit: the pace that the operator has set for it, because each '
    'address behind it counts alone.';
