-- What does the operator want to be notified of, and which problems are there now? The addresses of the notices are in
-- the environment of the workers: they have passwords and tokens.
-- Calls: nothing.

create table worker.alert_rules (
    rule text primary key constraint alert_rules_rule check (rule in (
        'failure_rate', 'oldest_ready_run', 'no_worker', 'late_slot', 'site_paused', 'quota', 'processing_errors',
        'waiting', 'invalid_items', 'refused_pages', 'worker_lost', 'schedules_failing')),
    unit text not null constraint alert_rules_unit check (unit in ('share', 'seconds', 'count')),
    threshold double precision not null constraint alert_rules_threshold
        check (threshold > 0 and threshold < 'infinity' and (unit <> 'share' or threshold <= 1)),
    period interval not null default '1 hour'
        constraint alert_rules_period check (period between '1 minute' and '7 days'),
    least_count integer not null default 1
        constraint alert_rules_least_count check (least_count between 1 and 10000),
    opens_after interval not null default '2 minutes'
        constraint alert_rules_opens_after check (opens_after between '0' and '1 day'),
    resolves_after interval not null default '15 minutes'
        constraint alert_rules_resolves_after check (resolves_after between '0' and '1 day'),
    continues_within interval not null default '6 hours'
        constraint alert_rules_continues_within check (continues_within between '0' and '7 days'),
    remind_after interval default '1 day' constraint alert_rules_remind_after check (remind_after >= '1 day'),
    is_enabled boolean not null default true
);
insert into worker.alert_rules (rule, unit, threshold, period, least_count, opens_after) values
    ('failure_rate', 'share', 0.2, '1 hour', 20, '2 minutes'),
    ('oldest_ready_run', 'seconds', 600, default, default, '2 minutes'),
    ('no_worker', 'seconds', 300, default, default, '0'),
    ('late_slot', 'seconds', 600, default, default, '2 minutes'),
    ('site_paused', 'count', 1, '1 hour', default, '0'),
    ('quota', 'share', 0.8, default, default, '0'),
    ('processing_errors', 'share', 0.05, '1 hour', 20, '2 minutes'),
    ('waiting', 'seconds', 3600, default, default, '2 minutes'),
    ('invalid_items', 'share', 0.1, '1 hour', 50, '2 minutes'),
    ('refused_pages', 'count', 1, '1 hour', default, '0'),
    ('worker_lost', 'count', 1, '1 hour', default, '0'),
    ('schedules_failing', 'count', 1, '1 day', default, '0');
comment on table worker.alert_rules is
    'What is checked once a minute. A rule is broken while its value reaches the threshold.';
comment on column worker.alert_rules.rule is
    'failure_rate, oldest_ready_run, no_worker, late_slot, site_paused, quota, processing_errors, waiting, '
    'invalid_items, refused_pages, worker_lost or schedules_failing. docs/alerts.md explains each.';
comment on column worker.alert_rules.unit is 'Unit of the threshold: share (from 0 to 1), seconds or count.';
comment on column worker.alert_rules.threshold is 'The rule is broken while the value is at least this.';
comment on column worker.alert_rules.period is
    'What is measured: the last hour, for example. For site_paused: how long after its pause a site counts that no run '
    'has probed. No effect for rules that measure a state: oldest_ready_run, no_worker, late_slot, quota, waiting.';
comment on column worker.alert_rules.least_count is
    'Number of runs, pages or items from which a share means something. With fewer, the rule is not broken.';
comment on column worker.alert_rules.opens_after is
    'How long a rule must be broken, at each check, before an incident opens.';
comment on column worker.alert_rules.resolves_after is
    'How long a rule must be fine before its incident ends; twice as long each time that the incident continues, and '
    'at most a day.';
comment on column worker.alert_rules.continues_within is
    'An incident that is there again within this time after its end continues the former one.';
comment on column worker.alert_rules.remind_after is
    'Time between two reminders of an incident, at least a day; null for none.';

create table worker.incidents (
    id uuid primary key default gen_random_uuid(),
    rule text not null references worker.alert_rules (rule) on delete cascade,
    subject text not null,
    value double precision not null,
    detail text not null,
    broken_since timestamptz not null,
    broken_at timestamptz not null,
    opened_at timestamptz,
    openings smallint not null default 0,
    resolved_at timestamptz,
    notice text constraint incidents_notice check (notice in ('opened', 'reminder', 'resolved')),
    notice_at timestamptz,
    due_at timestamptz,
    attempts smallint not null default 0,
    delivered_to text[] not null default '{}',
    notified_at timestamptz,
    error text,
    constraint incidents_openings check ((opened_at is not null) = (openings > 0)),
    constraint incidents_resolved_at check (resolved_at is null or opened_at is not null),
    constraint incidents_notice_at check ((notice is not null) = (notice_at is not null)
                                          and (notice is not null) = (opened_at is not null)),
    constraint incidents_due_at check (due_at is null or notice is not null)
);
create unique index incidents_open on worker.incidents (rule, subject) where resolved_at is null;
create index incidents_resolved_at on worker.incidents (resolved_at) where resolved_at is not null;
create index incidents_due_at on worker.incidents (due_at) where due_at is not null;
comment on table worker.incidents is
    'Broken alert rules: at most one open incident of each rule and subject. Its notice is sent to the addresses of the '
    'workers.';
comment on column worker.incidents.subject is 'What the rule found, such as a site; empty if it is about the whole.';
comment on column worker.incidents.value is 'The value when the rule was last broken, in the unit of the rule.';
comment on column worker.incidents.detail is 'The same as a sentence.';
comment on column worker.incidents.broken_since is 'The first of the checks that found the rule broken without a gap.';
comment on column worker.incidents.broken_at is 'The last check that found the rule broken.';
comment on column worker.incidents.opened_at is
    'When it opened. Null while it is not certain: it opens after opens_after, and is deleted if the rule is fine before.';
comment on column worker.incidents.openings is 'How often it opened: more than once if it continued after its end.';
comment on column worker.incidents.resolved_at is 'When it ended; null until then.';
comment on column worker.incidents.notice is
    'The last notice: opened, reminder or resolved. A new one replaces one that could not be sent.';
comment on column worker.incidents.notice_at is 'When there was reason for this notice.';
comment on column worker.incidents.due_at is
    'When the next attempt to send the notice may begin; while a worker makes one, until when it has to report the '
    'result. Null once it is sent, or all attempts have failed.';
comment on column worker.incidents.attempts is 'Failed attempts to send the notice.';
comment on column worker.incidents.delivered_to is
    'Addresses that have the notice, each as a hash with the key of the workers: it is not sent to them again.';
comment on column worker.incidents.notified_at is 'When a notice was last sent to all addresses.';
comment on column worker.incidents.error is 'Why the last attempt failed, as a sentence; null after a success.';
