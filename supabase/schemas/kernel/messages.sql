-- Which sentence does a user read when a site fails or has to wait? One for each code, in worker.messages. What the
-- operator needs is in the log and in the events.
-- Calls: kernel/clock.

insert into worker.messages (code, sentence) values
    ('invalid_parameters', '{site} cannot search for what was asked'),
    ('unauthorized', '{site} cannot be searched: its account or key is missing, or was refused'),
    ('blocked', '{site} is not answering at the moment'),
    ('rate_limited', '{site} takes no more requests for now'),
    ('quota_exceeded', 'The quota of requests to {site} is used up'),
    ('timeout', '{site} did not answer in time'),
    ('network', '{site} could not be reached'),
    ('not_found', '{site} does not know what was asked for'),
    ('unverified', '{site} gave no answer that could be read completely'),
    ('upstream', '{site} answered with an error'),
    ('internal', 'The search of {site} failed because of an error on our side'),
    ('worker_lost', 'The search of {site} was interrupted too often'),
    ('import_lost', 'The import of {site} was interrupted'),
    ('paused', '{site} is not answering at the moment'),
    ('rate', '{site} takes no more requests for now'),
    ('quota', 'The quota of requests to {site} is used up'),
    ('searches', '{site} is busy with other searches'),
    ('another_way', '{site} is not answering; trying another way');

create function worker.site_label(site text) returns text
language sql stable set search_path = ''
return coalesce(
    (select known.label from worker.sites as known where known.site = site_label.site),
    initcap(replace(site, '_', ' ')));
comment on function worker.site_label is 'Returns the name of a site for people.';

create function worker.time_for_user(at timestamptz) returns text
language sql stable set search_path = ''
return to_char(at at time zone 'UTC', case
    when (at at time zone 'UTC')::date = (worker.now() at time zone 'UTC')::date then 'HH24:MI "UTC"'
    else 'YYYY-MM-DD HH24:MI "UTC"' end);
comment on function worker.time_for_user is 'Formats a time for a sentence to a user: of today without the day.';

create function worker.message_for_user(
    code text, site text, retry_at timestamptz default null, reason text default null
) returns text
language sql stable set search_path = ''
return replace(
    coalesce((select known.sentence from worker.messages as known where known.code = message_for_user.code),
             'The search of {site} failed'),
    '{site}', worker.site_label(message_for_user.site))
|| case
    -- What the user can put right, in the words of the source, unless they are for the operator: variables, status codes,
    -- addresses.
    when code in ('invalid_parameters', 'not_found', 'unauthorized') and reason !~ '[A-Z]_[A-Z]|HTTP|[Pp]roxy|[Ss]tatus|://'
        then ': ' || rtrim(reason, '.')
    else '' end
|| coalesce('; it will be tried again at ' || worker.time_for_user(retry_at), '')
|| '.';
comment on function worker.message_for_user is
    'Returns the sentence of worker.messages for a failure or a wait of a site, with the time of the next attempt, and '
    'what the user can put right.';
