-- When is a saved search repeated, and when was its user last seen?
-- Calls: nothing.

create table public.search_schedules (
    saved_search_id uuid primary key references public.saved_searches (id) on delete cascade,
    time_zone text not null,
    times time[] not null,
    weekdays smallint[] not null default '{1,2,3,4,5,6,7}',
    paused text constraint search_schedules_paused check (paused in ('user', 'inactive', 'failing', 'invalid')),
    paused_reason text,
    active_since timestamptz not null default now(),
    next_slot_at timestamptz,
    last_slot_at timestamptz,
    last_run_id uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint search_schedules_next_slot_at check ((paused is null) = (next_slot_at is not null))
);
create index search_schedules_due on public.search_schedules (next_slot_at) where paused is null;
create index search_schedules_failing on public.search_schedules (updated_at) where paused = 'failing';
create index search_schedules_last_slot_at on public.search_schedules (last_slot_at);
create index search_schedules_inactive on public.search_schedules (saved_search_id) where paused = 'inactive';
comment on table public.search_schedules is 'When saved searches are repeated. A slot is one instant at which one is due.';
comment on column public.search_schedules.time_zone is 'IANA name, such as Europe/London.';
comment on column public.search_schedules.times is 'Times of day in the time zone, in whole minutes: 1 to 24.';
comment on column public.search_schedules.weekdays is 'ISO days of the week: 1 is Monday, 7 is Sunday.';
comment on column public.search_schedules.paused is
    'Null while it repeats. user: its user paused it; inactive: its user was not seen for a long time; failing: its '
    'last runs failed; invalid: its search is not valid any more.';
comment on column public.search_schedules.paused_reason is 'Why it is paused, as a sentence.';
comment on column public.search_schedules.active_since is 'Since when it repeats without a pause.';
comment on column public.search_schedules.next_slot_at is 'The next slot; null while it is paused.';
comment on column public.search_schedules.last_slot_at is 'The last slot that was decided: with a run, or skipped.';
comment on column public.search_schedules.last_run_id is 'The last run that a slot started.';

create table worker.user_activity (
    user_id uuid primary key references auth.users (id) on delete cascade,
    seen_at timestamptz not null
);
comment on table worker.user_activity is 'When users last called mark_seen.';
