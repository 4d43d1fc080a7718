-- What frontends see lives in `public`; what only the worker's RPCs touch lives in `worker`, which is not exposed.
create schema worker;
comment on schema worker is 'Private state of the search worker: leases, raw pages, settings. Not exposed through the API.';
revoke all on schema worker from public;

-- Tests move time by replacing this function; nothing else in the schema reads the clock. Not the time at which the
-- transaction began: one that waited for a run would write times before those of the one that it waited for. And
-- stable all the same, because an index is not searched with what is volatile.
create function worker.now() returns timestamptz
language sql stable set search_path = ''
return clock_timestamp();
comment on function worker.now() is 'The clock of every time-dependent rule.';

create type public.run_source as enum ('manual', 'cron', 'api');
create type public.run_status as enum ('pending', 'running', 'success', 'partial', 'failed', 'cancelled');
create type public.site_status as enum ('pending', 'running', 'completed', 'partial', 'failed', 'skipped');

create table worker.kinds (
    kind text primary key,
    is_private boolean not null default false
);
comment on table worker.kinds is 'What may be searched for. A new kind is a row here, and its rules in worker.parameter_rules.';
comment on column worker.kinds.is_private is
    'Whether what is found is its owner''s alone, as people found through an account of his; else it is everybody''s.';

create table public.search_runs (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    workspace_id uuid,
    kind text not null,
    source public.run_source not null default 'manual',
    parameters jsonb not null,
    client_context jsonb,
    status public.run_status not null default 'pending',
    jobs_found integer not null default 0,
    progress_current integer not null default 0,
    progress_total integer,
    progress jsonb not null default '{}',
    error_code text,
    error_message text,
    attempts smallint not null default 0,
    max_attempts smallint not null default 3,
    rescues smallint not null default 0,
    priority smallint not null,
    position bigint not null,
    fingerprint text not null,
    fresh boolean not null default false,
    newer_than timestamptz,
    -- Without foreign keys: who deletes a run would wait for everybody who follows it, or was answered with it, and who
    -- follows it for him. worker.ended_leaders has what they need until they are dealt with.
    leader_run_id uuid,
    shared_run_id uuid,
    idempotency_key text,
    run_after timestamptz,
    cancel_requested_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    started_at timestamptz,
    completed_at timestamptz,
    constraint search_runs_idempotency_key unique (user_id, idempotency_key),
    constraint search_runs_max_attempts check (max_attempts between 1 and 20),
    constraint search_runs_attempts check (attempts between 0 and max_attempts),
    -- Realtime compares a filter with the text of a value, as JSON: with a bare text in a published table, the filter of
    -- one subscriber makes it fail for all.
    constraint search_runs_objects check (
        jsonb_typeof(parameters) = 'object' and jsonb_typeof(client_context) = 'object' and jsonb_typeof(progress) = 'object'),
    constraint search_runs_completed_at
        check ((status in ('success', 'partial', 'failed', 'cancelled')) = (completed_at is not null))
);

-- Only claimable runs are in these, so that neither history, delayed runs nor followers make a claim slower.
create index search_runs_ready on public.search_runs (priority desc, position)
    where status = 'pending' and run_after is null and leader_run_id is null;
-- The position is negative so that the planner does not read search_runs_ready backwards instead, past everybody's runs.
create index search_runs_ready_of_user on public.search_runs (user_id, priority, (-position))
    where status = 'pending' and run_after is null and leader_run_id is null;
create index search_runs_pending_of_user on public.search_runs (user_id)
    where status = 'pending' and source <> 'cron';
create index search_runs_running on public.search_runs (user_id) where status = 'running';
create index search_runs_delayed on public.search_runs (run_after)
    where status = 'pending' and run_after is not null;
create index search_runs_user_id on public.search_runs (user_id, created_at desc);
create index search_runs_completed_at on public.search_runs (completed_at) where completed_at is not null;
-- Of equal searches one is active at a time; a second one only to ask for more than the first was told to.
create unique index search_runs_leader on public.search_runs (fingerprint, newer_than) nulls not distinct
    where completed_at is null and leader_run_id is null and (run_after is null or started_at is not null);
-- Only those that searched: thousands that they answered stand between them otherwise.
create index search_runs_fingerprint on public.search_runs (fingerprint, completed_at desc)
    where completed_at is not null and shared_run_id is null;
create index search_runs_fingerprint_of_user on public.search_runs (user_id, fingerprint, completed_at desc)
    where status in ('success', 'partial');
-- With the user: row level security looks for one's own among all that share a run.
create index search_runs_leader_run_id on public.search_runs (leader_run_id, user_id) where leader_run_id is not null;
create index search_runs_shared_run_id on public.search_runs (shared_run_id, user_id) where shared_run_id is not null;

comment on table public.search_runs is 'One row for each search that a user asked for. Published to Realtime.';
comment on column public.search_runs.user_id is 'Owner; by default the signed-in user.';
comment on column public.search_runs.workspace_id is
    'The frontend''s own grouping, which nobody checks. Decides which of the user''s accounts a site is searched through.';
comment on column public.search_runs.kind is 'What is searched for: a kind of worker.parameter_rules.';
comment on column public.search_runs.source is 'Who asked: a person, a schedule or a program. Decides the priority.';
comment on column public.search_runs.parameters is 'What to search for, checked against worker.parameter_rules.';
comment on column public.search_runs.client_context is 'An object with whatever the frontend wants back with the run; at most 16 kB.';
comment on column public.search_runs.status is 'pending, running, then success, partial, failed or cancelled, which are final.';
comment on column public.search_runs.jobs_found is 'Results so far: rows of search_results, written at most once a second while running.';
comment on column public.search_runs.progress_current is 'Results found or given up on, of progress_total. Never falls.';
comment on column public.search_runs.progress_total is 'Results wanted: results_wanted times the number of sites.';
comment on column public.search_runs.progress is
    'What happens now: {step, site, current, total, details}. step is queued, starting, searching, or the source''s own word '
    'for what it does at the site; site_finished, waiting (details.sites: [{site, until, reason, message}]), retrying, '
    'cancelled or finished.';
comment on column public.search_runs.error_code is 'Why sites failed: the first failed site''s code, or worker_lost. Also while waiting to try them again.';
comment on column public.search_runs.error_message is 'One line naming each failed site and its reason.';
comment on column public.search_runs.attempts is 'Attempts started; a released, rescued or deferred run gets its attempt back.';
comment on column public.search_runs.max_attempts is 'Attempts allowed.';
comment on column public.search_runs.rescues is 'Times that a worker died with this run.';
comment on column public.search_runs.priority is 'Greater first: manual 20, api 10, cron 0.';
comment on column public.search_runs.position is 'Place in the queue within a priority; smaller first, users interleaved.';
comment on column public.search_runs.fingerprint is
    'SHA-256 of the kind, the canonical parameters and, where the kind is private, the owner and the workspace: equal for '
    'equal searches.';
comment on column public.search_runs.fresh is 'Whether a finished run must not answer this one, however young.';
comment on column public.search_runs.newer_than is
    'Sites are asked only for what is newer, where they can: of a scheduled repeat, since its last success. Null: everything.';
comment on column public.search_runs.leader_run_id is 'The active run that searches for this one.';
comment on column public.search_runs.shared_run_id is 'The finished run whose results answer this one.';
comment on column public.search_runs.idempotency_key is 'Unique for each user: the same key never makes a second run.';
comment on column public.search_runs.run_after is
    'Not before this time: of a search for later, of a failed one''s next attempt, or of one whose sites must wait. Null when '
    'ready.';
comment on column public.search_runs.cancel_requested_at is 'When the owner asked to cancel: setting it, to whatever time, cancels the run.';
comment on column public.search_runs.updated_at is 'Last change of this row.';
comment on column public.search_runs.started_at is 'First claim by a worker.';
comment on column public.search_runs.completed_at is 'When the status became final; null until then.';

create table public.search_run_sites (
    -- Realtime sends the primary key of a deleted row to everybody: it must say nothing.
    id uuid primary key default gen_random_uuid(),
    run_id uuid not null references public.search_runs (id) on delete cascade,
    site text not null,
    position smallint not null,
    status public.site_status not null default 'pending',
    jobs_found integer not null default 0,
    attempts smallint not null default 0,
    error_code text,
    error_message text,
    retryable boolean,
    progress jsonb not null default '{"step": "queued"}',
    started_at timestamptz,
    completed_at timestamptz,
    constraint search_run_sites_site unique (run_id, site),
    constraint search_run_sites_objects check (jsonb_typeof(progress) = 'object'),
    constraint search_run_sites_completed_at
        check ((status in ('completed', 'partial', 'failed', 'skipped')) = (completed_at is not null))
);
comment on table public.search_run_sites is 'Each site of a run, with its own status. Published to Realtime.';
comment on column public.search_run_sites.id is
    'Random: all that everybody who listens to Realtime hears of a deleted row.';
comment on column public.search_run_sites.site is 'One of the run''s parameters.sites.';
comment on column public.search_run_sites.status is
    'pending, running, then completed, failed, partial (failed, after some results) or skipped, which are final.';
comment on column public.search_run_sites.position is 'Place in the order in which the sites are searched, from 1.';
comment on column public.search_run_sites.jobs_found is 'Results of this site, written at most once a second while running.';
comment on column public.search_run_sites.attempts is
    'Times that the search of the site was started: by this run, or by the one that it took over from.';
comment on column public.search_run_sites.error_code is
    'invalid_parameters, unauthorized, blocked, rate_limited, quota_exceeded, timeout, network, not_found, unverified, '
    'upstream, internal or worker_lost.';
comment on column public.search_run_sites.error_message is 'The reason, in one line for the person who reads it.';
comment on column public.search_run_sites.retryable is 'Whether the same search may succeed later; null without an error.';
comment on column public.search_run_sites.progress is
    'How far it is: {step, current, total, details}, written at most once a second. step is queued, searching or the source''s '
    'own word, waiting (details: {until, reason, message}), retrying, cancelled or finished. Within a step current never falls.';
comment on column public.search_run_sites.started_at is 'Start of the last attempt.';
comment on column public.search_run_sites.completed_at is 'When the status became final; null until then.';

create table public.items (
    id uuid primary key default gen_random_uuid(),
    kind text not null,
    owner_id uuid references auth.users (id) on delete cascade,
    title text not null,
    organization text,
    location text,
    is_remote boolean,
    posted_at timestamptz,
    salary_min numeric,
    salary_max numeric,
    salary_interval text
        constraint items_salary_interval check (salary_interval in ('yearly', 'monthly', 'weekly', 'daily', 'hourly')),
    currency text,
    url text not null,
    apply_url text,
    description text,
    city text,
    region text,
    country text constraint items_country check (country ~ '^[A-Z]{2}$'),
    work_mode text constraint items_work_mode check (work_mode in ('remote', 'hybrid', 'onsite')),
    job_types text[] not null default '{}' constraint items_job_types check (
        job_types <@ '{fulltime,parttime,contract,temporary,internship,perdiem,volunteer,other}'
    ),
    salary_yearly_min numeric,
    salary_yearly_max numeric,
    skills text[] not null default '{}',
    experience_years smallint,
    data jsonb not null default '{}',
    canonical_key text not null,
    apply_key text,
    match_key text,
    organization_key text,
    duplicate_of uuid references public.items (id) on delete set null,
    from_named_board boolean not null default false,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    -- The key first: no index is searched with `owner_id is not distinct from`.
    constraint items_canonical_key unique nulls not distinct (canonical_key, kind, owner_id)
-- Things are found again and again, those of a page together: with room for all of them 91 % of the updates are HOT,
-- without 12 %. Long texts are stored elsewhere, and copied by none.
) with (fillfactor = 50);
create index items_owner_id on public.items (owner_id) where owner_id is not null;
create index items_duplicate_of on public.items (duplicate_of) where duplicate_of is not null;
-- Hashes are small and take keys of any length: an entry of a B-tree has at most 2,704 bytes.
create index items_apply_key on public.items using hash (apply_key) where apply_key is not null;
create index items_match_key on public.items using hash (match_key) where match_key is not null;
comment on table public.items is 'Canonical things found, shared by every run that found them.';
comment on column public.items.kind is 'As the kind of the runs that found it.';
comment on column public.items.owner_id is 'Null for public things; else the one user who may see it.';
comment on column public.items.organization is 'The employer of a job or a person.';
comment on column public.items.is_remote is 'Null where the site does not tell.';
comment on column public.items.posted_at is 'When the site says that it was published.';
comment on column public.items.salary_min is 'In currency, for each salary_interval.';
comment on column public.items.salary_max is 'In currency, for each salary_interval.';
comment on column public.items.salary_interval is 'yearly, monthly, weekly, daily or hourly.';
comment on column public.items.currency is 'ISO 4217 code of the salary.';
comment on column public.items.url is 'The page of the thing on the site that found it.';
comment on column public.items.apply_url is 'Where to apply, when the site names another place.';
comment on column public.items.city is 'Where the location names one.';
comment on column public.items.region is 'State or province, where the location names one.';
comment on column public.items.country is 'ISO 3166-1 alpha-2 code, where the location names one.';
comment on column public.items.work_mode is 'remote, hybrid or onsite; null where nothing tells.';
comment on column public.items.job_types is
    'Of fulltime, parttime, contract, temporary, internship, perdiem, volunteer, other.';
comment on column public.items.salary_yearly_min is 'salary_min in a year of full work.';
comment on column public.items.salary_yearly_max is 'salary_max in a year of full work.';
comment on column public.items.skills is 'Skills that the description names.';
comment on column public.items.experience_years is 'Least years of experience that the description asks for.';
comment on column public.items.data is 'Everything else that the site told.';
comment on column public.items.canonical_key is 'The site and its own id of the thing.';
comment on column public.items.apply_key is 'Canonical form of an apply_url that names one job.';
comment on column public.items.match_key is 'Normalised title, organization and location.';
comment on column public.items.organization_key is 'Normalised organization.';
comment on column public.items.duplicate_of is
    'The oldest item of those that are the same thing, or the oldest that is not from_named_board: its id is the thing''s. '
    'Null for that one itself.';
comment on column public.items.from_named_board is
    'Whether it is from a board that a user named, which can say anything: nobody but who found it gets it as similar.';
comment on column public.items.first_seen_at is 'When any run found it first.';
comment on column public.items.last_seen_at is 'When any run found it last.';

create table public.item_sources (
    id bigint generated always as identity primary key,
    site text not null,
    external_id text not null,
    item_id uuid not null references public.items (id) on delete cascade,
    owner_id uuid references auth.users (id) on delete cascade,
    url text not null,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    -- Of one item for each kind and owner, as items_canonical_key says.
    constraint item_sources_external_id unique (site, external_id, item_id)
) with (fillfactor = 50);
create index item_sources_item_id on public.item_sources (item_id);
create index item_sources_owner_id on public.item_sources (owner_id) where owner_id is not null;
comment on table public.item_sources is 'Where each item was seen: a site''s own id of it.';
comment on column public.item_sources.external_id is 'The site''s own id of the item.';
comment on column public.item_sources.url is 'The page of the item on this site.';
comment on column public.item_sources.owner_id is 'As the item''s: two users may each own a private sighting of the same profile.';

create table public.search_results (
    id uuid primary key default gen_random_uuid(),
    run_id uuid not null references public.search_runs (id) on delete cascade,
    item_id uuid not null references public.items (id) on delete cascade,
    site text not null,
    page_number integer not null,
    position integer not null,
    created_at timestamptz not null,
    constraint search_results_item unique (run_id, item_id)
);
create index search_results_item_id on public.search_results (item_id);
comment on table public.search_results is 'Which run found which item. Thin, because it is published to Realtime.';
comment on column public.search_results.id is
    'Random: all that everybody who listens to Realtime hears of a deleted row.';
comment on column public.search_results.site is 'The site that had it first.';
comment on column public.search_results.page_number is 'The site''s page that it was on, from 1.';
comment on column public.search_results.position is 'Place on its page, from 1.';

create table public.saved_searches (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    workspace_id uuid,
    name text not null constraint saved_searches_name_length check (length(name) between 1 and 200),
    kind text not null,
    parameters jsonb not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint saved_searches_name unique (user_id, name)
);
comment on table public.saved_searches is 'Searches that a user keeps under a name.';
comment on column public.saved_searches.user_id is 'Owner; by default the signed-in user.';
comment on column public.saved_searches.workspace_id is 'The frontend''s own grouping.';
comment on column public.saved_searches.name is 'Unique for each user; 1 to 200 characters.';
comment on column public.saved_searches.parameters is 'As those of a run, and checked like them.';

create table public.run_events (
    id bigint generated always as identity primary key,
    run_id uuid not null references public.search_runs (id) on delete cascade,
    event text not null constraint run_events_event check (
        event in ('created', 'claimed', 'site_started', 'site_finished', 'rescued', 'released', 'retried', 'deferred',
                  'cancelled', 'finished', 'alert')
    ),
    site text,
    data jsonb not null default '{}',
    created_at timestamptz not null
);
create index run_events_run_id on public.run_events (run_id, id);
comment on table public.run_events is 'What happened to a run, in order. Append-only.';
comment on column public.run_events.id is 'Grows with time: the order of a run''s events.';
comment on column public.run_events.event is
    'created, claimed, site_started, site_finished, rescued (its worker died), released (its worker stopped), '
    'retried (sites failed, and are searched again later), deferred (its sites must wait, and are searched later), '
    'cancelled, finished or alert (somebody should look: '
    'data.reason is invalid_items, load_failed or page_refused).';
comment on column public.run_events.site is 'The site of a site''s event.';
comment on column public.run_events.data is
    'What else is known: worker_id, attempt, status, error_code; of claimed, sites in the order in which they are searched ...';

-- Heartbeats must stay HOT: no index on the expiry (0 % HOT with one, 96.5 % without), and room on each page.
create table worker.leases (
    run_id uuid primary key references public.search_runs (id) on delete cascade,
    worker_id text not null,
    token uuid not null default gen_random_uuid(),
    claim_id uuid not null,
    duration interval not null,
    expires_at timestamptz not null,
    user_id uuid not null
) with (fillfactor = 50);
create index leases_user_id on worker.leases (user_id);
comment on table worker.leases is 'Who may write to a running run, proved by the token, until when.';
comment on column worker.leases.worker_id is 'The worker''s name, for people.';
comment on column worker.leases.token is 'Carried by every write; another one at every claim.';
comment on column worker.leases.claim_id is 'The claim that made the lease; the same claim again gets the same runs.';
comment on column worker.leases.duration is 'How far ahead of the clock a heartbeat sets expires_at.';
comment on column worker.leases.user_id is
    'For whose max_running_per_user it counts: the run''s owner, or one who follows it, and had room when its owner had not.';
comment on column worker.leases.expires_at is 'After this time the run is rescued, by the next claim of any worker.';

create table worker.ended_leaders (
    id bigint generated always as identity primary key,
    run_id uuid not null,
    fingerprint text not null,
    former jsonb,
    sites jsonb,
    results jsonb,
    is_handed_over boolean not null default false,
    tried_at timestamptz not null
);
create index ended_leaders_tried_at on worker.ended_leaders (tried_at);
comment on table worker.ended_leaders is
    'Leaders that ended or were deleted, while others may need what they have found, or were put off while somebody was joining them: '
    'the next claim sees to these others. Nobody who ends or deletes a run waits for them.';
comment on column worker.ended_leaders.run_id is 'What followers have as leader_run_id, and others as shared_run_id.';
comment on column worker.ended_leaders.former is 'The run, where it was deleted; null where it is still there.';
comment on column worker.ended_leaders.sites is 'Its sites, where it was deleted.';
comment on column worker.ended_leaders.results is 'Its results, where it was deleted.';
comment on column worker.ended_leaders.is_handed_over is 'Whether one of its followers has taken it over.';
comment on column worker.ended_leaders.tried_at is 'When it was last seen to: who waits longest comes first.';

create table worker.raw_collections (
    id bigint generated always as identity primary key,
    -- Without a foreign key: pages of a deleted run wait here for who takes it over (worker.bequeath).
    run_id uuid not null,
    source text not null,
    site text not null,
    attempt smallint not null,
    page_number integer not null constraint raw_collections_page_number check (page_number >= 1),
    query jsonb not null,
    query_hash text not null,
    payload jsonb not null,
    response_ms integer not null,
    calls_used integer not null,
    account text not null default '',
    cursor jsonb,
    is_last boolean not null default false,
    fetched_at timestamptz not null,
    strategy text not null constraint raw_collections_strategy check (strategy in ('scheduled', 'manual', 'reprocess')),
    status text not null default 'fetched'
        constraint raw_collections_status check (status in ('fetched', 'completed', 'partial', 'failed')),
    version integer,
    item_count integer,
    invalid_count integer,
    result_count integer,
    new_count integer,
    completeness jsonb,
    transform_ms integer,
    transformed_at timestamptz,
    claimed_until timestamptz,
    constraint raw_collections_page unique (run_id, site, attempt, page_number)
);
comment on table worker.raw_collections is 'Every page as the site sent it. Its key makes a page that is saved twice count once.';
comment on column worker.raw_collections.source is 'The code that fetched it: a source''s name.';
comment on column worker.raw_collections.attempt is 'The site''s attempt within the run.';
comment on column worker.raw_collections.query is 'The parameters that were searched for.';
comment on column worker.raw_collections.query_hash is 'The fingerprint of the run.';
comment on column worker.raw_collections.payload is 'The answer, unchanged.';
comment on column worker.raw_collections.response_ms is 'Time that the site took to answer, in milliseconds.';
comment on column worker.raw_collections.strategy is
    'What its items were last loaded for: a scheduled run, another run, or to process it again.';
comment on column worker.raw_collections.status is
    'fetched (to be transformed), completed, partial (some items were invalid) or failed (all were, or it was not loaded).';
comment on column worker.raw_collections.version is 'Version of the source that transformed it.';
comment on column worker.raw_collections.item_count is 'Valid items on it.';
comment on column worker.raw_collections.invalid_count is 'Items on it that could not be read; see worker.processing_log.';
comment on column worker.raw_collections.result_count is 'Results that it brought to its run.';
comment on column worker.raw_collections.new_count is
    'Things on it that no earlier run of the same search had found: of an incremental run, none that began by newer_than.';
comment on column worker.raw_collections.completeness is 'Share of its items, from 0 to 1, that have each of the main fields.';
comment on column worker.raw_collections.transform_ms is 'Time that the transform took, in milliseconds.';
comment on column worker.raw_collections.transformed_at is 'When it was loaded last.';
comment on column worker.raw_collections.claimed_until is 'Until then a worker is processing it again.';
comment on column worker.raw_collections.calls_used is 'Requests that it cost.';
comment on column worker.raw_collections.account is 'The account that it was fetched through; empty without one.';
comment on column worker.raw_collections.cursor is
    'Where the next page begins, in the source''s own words; null where the search cannot be gone on with.';
comment on column worker.raw_collections.is_last is 'Whether the site had no more.';

create index raw_collections_fetched on worker.raw_collections (id) where status = 'fetched';

create table worker.processing_log (
    id bigint generated always as identity primary key,
    raw_collection_id bigint not null references worker.raw_collections (id) on delete cascade,
    item_index integer,
    error_type text not null,
    message text not null,
    field text,
    raw jsonb,
    created_at timestamptz not null
);
create index processing_log_raw_collection_id on worker.processing_log (raw_collection_id);
comment on table worker.processing_log is 'Why items of a page, or all of it, are not there.';
comment on column worker.processing_log.item_index is 'Place of the item on the page, from 0; null for the page as a whole.';
comment on column worker.processing_log.field is 'The field that was wrong, where one was.';
comment on column worker.processing_log.raw is 'The item as the site sent it.';

create table worker.kept_apart (
    item_id uuid not null references public.items (id) on delete cascade,
    other_id uuid not null references public.items (id) on delete cascade,
    primary key (item_id, other_id),
    constraint kept_apart_order check (item_id < other_id)
);
create index kept_apart_other_id on worker.kept_apart (other_id);
comment on table worker.kept_apart is 'Items that somebody has split: they are not taken for the same thing again.';

create table worker.embedding_queue (
    item_id uuid primary key references public.items (id) on delete cascade,
    attempts smallint not null default 0,
    due_at timestamptz not null,
    error text
);
create index embedding_queue_due_at on worker.embedding_queue (due_at);
comment on table worker.embedding_queue is 'Items whose text changed since it was embedded. Empty while nothing embeds.';
comment on column worker.embedding_queue.due_at is 'Not before this time; infinity for those that were given up.';
comment on column worker.embedding_queue.error is 'Why the last attempt failed.';

create table worker.accounts (
    user_id uuid not null references auth.users (id) on delete cascade,
    site text not null,
    workspace_id uuid,
    account text not null,
    constraint accounts_account unique nulls not distinct (user_id, site, workspace_id)
);
comment on table worker.accounts is 'The accounts through which sites are searched for their users; set with worker_set_account.';
comment on column worker.accounts.workspace_id is
    'Only for runs of this workspace; null: for all others of the user. Each user of a workspace has a row of his own, '
    'because nobody checks which workspace a run names.';
comment on column worker.accounts.account is 'The account''s id, in the words of the source that searches the site.';

create table worker.site_health (
    site text,
    account text default '',
    last_success_at timestamptz,
    last_failure_at timestamptz,
    last_error_code text,
    consecutive_failures integer not null default 0,
    success_rate real constraint site_health_success_rate check (success_rate between 0 and 1),
    response_ms real constraint site_health_response_ms check (response_ms >= 0),
    paused_until timestamptz,
    paused_by text,
    trips smallint not null default 0,
    prober_run_id uuid references worker.leases (run_id) on delete set null,
    updated_at timestamptz not null default worker.now(),
    primary key (site, account)
);
create index site_health_prober_run_id on worker.site_health (prober_run_id) where prober_run_id is not null;
comment on table worker.site_health is
    'How each site answers, through each account, over all workers; and its circuit breaker: closed without paused_until, '
    'open until then, and then half open: one run at a time tries the site.';
comment on column worker.site_health.account is 'The account that it is searched through; empty where there is none.';
comment on column worker.site_health.last_error_code is 'Code of the last failure; stays after a success.';
comment on column worker.site_health.consecutive_failures is
    'Runs that failed since the last success, as the breaker counts them: each once, and a few of each user.';
comment on column worker.site_health.success_rate is
    'Moving average, from 0 to 1: a fifth is the last search. Null before the first.';
comment on column worker.site_health.response_ms is
    'Moving average of the time that the site takes to answer, in milliseconds. Null before the first.';
comment on column worker.site_health.paused_until is
    'The breaker is open until then, and half open from then on; null when it is closed.';
comment on column worker.site_health.paused_by is 'Code of the failure that opened the breaker.';
comment on column worker.site_health.trips is 'Times that the breaker opened since it was closed: each pause doubles the last.';
comment on column worker.site_health.prober_run_id is 'The run that tries the site while the breaker is half open.';
comment on column worker.site_health.updated_at is
    'The clock at the last change. When it is ahead, the clock was set back, and the other times are set back with it.';

-- Without a reference to the user: the deletion of an account would wait for a worker that waits for it.
create table worker.site_failures (
    site text,
    account text,
    user_id uuid,
    run_ids uuid[] not null,
    failures integer not null default 1,
    failed_at timestamptz not null,
    pause interval,
    paused_by text,
    primary key (site, account, user_id)
);
comment on table worker.site_failures is
    'Runs of each user that failed at a site since anyone''s last success there: what its breaker counts. A user who alone '
    'has as many as would open it is paused alone.';
comment on column worker.site_failures.account is 'The account that it was searched through; empty where there is none.';
comment on column worker.site_failures.run_ids is 'The last twenty of them: each counts once, however often it tries.';
comment on column worker.site_failures.failures is 'How many runs in all.';
comment on column worker.site_failures.failed_at is 'When the last one of them failed first.';
comment on column worker.site_failures.pause is 'The user''s runs leave the site alone for so long from then on; null: not at all.';
comment on column worker.site_failures.paused_by is 'Code of the failure that paused the user.';

create table worker.breaker_rules (
    error_code text primary key,
    failures smallint not null constraint breaker_rules_failures check (failures >= 1),
    failures_per_user smallint not null constraint breaker_rules_failures_per_user check (failures_per_user >= 1),
    pause interval not null constraint breaker_rules_pause check (pause > '0'),
    max_pause interval not null,
    constraint breaker_rules_max_pause check (max_pause >= pause)
);
insert into worker.breaker_rules (error_code, failures, failures_per_user, pause, max_pause) values
    ('blocked', 3, 2, '10 minutes', '6 hours'),
    ('rate_limited', 2, 1, '1 minute', '1 hour'),
    ('unverified', 3, 2, '30 minutes', '6 hours'),
    ('upstream', 5, 3, '2 minutes', '30 minutes'),
    ('timeout', 5, 3, '2 minutes', '30 minutes'),
    ('network', 5, 3, '2 minutes', '30 minutes');
comment on table worker.breaker_rules is
    'Failures that say something of a site, and when they open its breaker. Other codes neither open nor close it.';
comment on column worker.breaker_rules.failures is
    'Runs that failed in a row, with whatever code, at which one with this code opens it.';
comment on column worker.breaker_rules.failures_per_user is
    'How many of one user count for that. Less than failures: one user alone opens no breaker. Through an account all count: '
    'it is its users'' own.';
comment on column worker.breaker_rules.pause is 'First pause; each further one is twice as long.';
comment on column worker.breaker_rules.max_pause is 'Longest pause, unless the site itself asks for more.';

create table worker.bucket_limits (
    bucket text primary key,
    requests integer constraint bucket_limits_requests check (requests between 1 and 1000000),
    period_seconds double precision
        constraint bucket_limits_period_seconds check (period_seconds > 0 and period_seconds <= 2678400),
    burst integer constraint bucket_limits_burst check (burst between 1 and 1000000),
    min_delay_seconds double precision
        constraint bucket_limits_min_delay_seconds check (min_delay_seconds between 0 and 2678400),
    quota integer constraint bucket_limits_quota check (quota between 1 and 1000000000),
    quota_period text constraint bucket_limits_quota_period check (quota_period in ('day', 'month')),
    quota_timezone text,
    searches integer constraint bucket_limits_searches check (searches between 1 and 1000000),
    searches_per_account integer
        constraint bucket_limits_searches_per_account check (searches_per_account between 1 and 1000000)
);
comment on table worker.bucket_limits is
    'The operator''s own limits. Each one that is not null holds instead of what the source declares and the site tells.';
comment on column worker.bucket_limits.bucket is 'What is counted together: a site, or site:name for what it counts apart.';
comment on column worker.bucket_limits.requests is 'Requests within any period_seconds.';
comment on column worker.bucket_limits.period_seconds is 'That time, in seconds.';
comment on column worker.bucket_limits.burst is 'How many of them may be sent at once.';
comment on column worker.bucket_limits.min_delay_seconds is 'Least time between two requests, in seconds.';
comment on column worker.bucket_limits.quota is 'Requests in each quota_period.';
comment on column worker.bucket_limits.quota_period is 'A calendar day or month.';
comment on column worker.bucket_limits.quota_timezone is 'The time zone (IANA) by whose midnight it begins.';
comment on column worker.bucket_limits.searches is 'Searches of the site at a time, through all accounts; of a site''s own bucket.';
comment on column worker.bucket_limits.searches_per_account is 'Searches at a time through one account; of a site''s own bucket.';

create table worker.site_buckets (
    bucket text,
    account text default '',
    next_at timestamptz,
    last_at timestamptz,
    paused_until timestamptz,
    quota integer,
    quota_used integer not null default 0,
    scheduled_used integer not null default 0,
    quota_resets_at timestamptz,
    quota_period integer not null default 0,
    told_quota integer,
    told_left integer,
    is_reset_told boolean not null default false,
    updated_at timestamptz not null default worker.now(),
    primary key (bucket, account)
-- One row takes all of a site's permits: updates stay HOT.
) with (fillfactor = 50);
comment on table worker.site_buckets is 'What was taken of each bucket of requests, through each account.';
comment on column worker.site_buckets.bucket is 'What is counted together: a site, or site:name for what it counts apart.';
comment on column worker.site_buckets.account is 'The account that is asked through; empty where there is none.';
comment on column worker.site_buckets.next_at is
    'When the requests granted so far are paid off at the bucket''s pace: the theoretical arrival time of GCRA.';
comment on column worker.site_buckets.last_at is 'Time of the last request that was granted; it may be some seconds ahead.';
comment on column worker.site_buckets.paused_until is 'Until then the site asked to be left alone.';
comment on column worker.site_buckets.quota is 'The quota that held at the last permit; null: none.';
comment on column worker.site_buckets.quota_used is 'Requests granted, or used by others as the site tells, since the quota began.';
comment on column worker.site_buckets.scheduled_used is 'Those of them that scheduled runs took.';
comment on column worker.site_buckets.quota_resets_at is 'When the next quota begins.';
comment on column worker.site_buckets.quota_period is 'Number of the quota that is used now: one more at each reset.';
comment on column worker.site_buckets.told_quota is 'The quota that the site told.';
comment on column worker.site_buckets.told_left is 'What is left of the quota as the site told, less what was granted since.';
comment on column worker.site_buckets.is_reset_told is 'Whether quota_resets_at is what the site told; else it is the calendar''s.';
comment on column worker.site_buckets.updated_at is
    'The clock at the last change. When it is ahead, the clock was set back, and the other times are set back with it.';

-- Without a reference to the user, as worker.site_failures.
create table worker.site_shares (
    bucket text,
    user_id uuid,
    used integer not null,
    quota_period integer not null,
    last_at timestamptz not null,
    primary key (bucket, user_id)
) with (fillfactor = 50);
comment on table worker.site_shares is
    'What each user took of the buckets that all share, those without an account: for a quota''s fair use, and for whose turn it is.';
comment on column worker.site_shares.used is 'Requests granted in that period of the quota.';
comment on column worker.site_shares.quota_period is 'As that of worker.site_buckets; in another one nothing is used yet.';
comment on column worker.site_shares.last_at is 'When one was granted last: who was served longest ago is next.';

create table worker.site_searches (
    run_id uuid references worker.leases (run_id) on delete cascade,
    site text,
    account text not null,
    waiting_since timestamptz,
    waited interval not null default '0',
    is_within_page boolean not null default false,
    primary key (run_id, site)
);
create index site_searches_site on worker.site_searches (site);
comment on table worker.site_searches is
    'Searches under way, for the limits of searches at a time. One whose lease has expired does not count.';
comment on column worker.site_searches.account is 'The account that it is searched through; empty where there is none.';
comment on column worker.site_searches.waiting_since is
    'When it began to wait for its next page, or to ask for it: it keeps its place among those that wait until it has it.';
comment on column worker.site_searches.waited is 'How long it has waited since then.';
comment on column worker.site_searches.is_within_page is
    'Whether it had a permit since its last page: put off now, it would ask the same again.';

create table worker.site_waits (
    run_id uuid references public.search_runs (id) on delete cascade,
    site text,
    account text not null,
    bucket text not null,
    requests integer not null default 1,
    waiting_since timestamptz not null,
    due_at timestamptz not null,
    waited interval not null default '0',
    reason text not null constraint site_waits_reason check (reason in ('paused', 'rate', 'quota', 'searches')),
    message text not null,
    lets_pass boolean not null default false,
    primary key (run_id, site)
);
create index site_waits_due_at on worker.site_waits (bucket, due_at);
comment on table worker.site_waits is
    'Sites of runs that wait to be searched. worker.line says who is next, among those that come back when they are due.';
comment on column worker.site_waits.account is
    'The account that it waits for; empty where there is none, or for a place among all searches of the site.';
comment on column worker.site_waits.bucket is 'The bucket that it waits for; the site itself when it waits to be searched at all.';
comment on column worker.site_waits.requests is 'Requests that it waits for.';
comment on column worker.site_waits.waiting_since is
    'When it was refused, or granted a permit, first since its last page: the order of a user''s runs that wait.';
comment on column worker.site_waits.due_at is 'When it was told to come back.';
comment on column worker.site_waits.waited is 'How long it will have waited by then.';
comment on column worker.site_waits.reason is
    'paused (the site failed, or asked to be left alone), rate, quota or searches (as many as may search it at a time).';
comment on column worker.site_waits.message is 'The reason, in one line for the person who reads the run.';
comment on column worker.site_waits.lets_pass is
    'Whether others are served until it is due: it waits for its user''s share of a quota, or for the part of schedules.';

create table worker.settings (
    is_only_row boolean primary key default true check (is_only_row),
    max_rescues smallint not null default 3 check (max_rescues between 0 and 100),
    rescue_batch smallint not null default 100 check (rescue_batch between 1 and 1000),
    progress_interval interval not null default '1 second' check (progress_interval >= '0'),
    retry_delay interval not null default '30 seconds' check (retry_delay >= '0'),
    max_retry_delay interval not null default '15 minutes' check (max_retry_delay >= '0'),
    max_pending_per_user integer default 100 check (max_pending_per_user >= 1),
    max_per_hour_per_user integer default 300 check (max_per_hour_per_user >= 1),
    max_running_per_user integer default 5 check (max_running_per_user >= 1),
    max_saved_searches_per_user integer default 500 check (max_saved_searches_per_user >= 1),
    max_rows_per_request integer not null default 25 check (max_rows_per_request >= 1),
    max_rows_per_service_request integer not null default 500 check (max_rows_per_service_request >= 1),
    freshness interval not null default '15 minutes' check (freshness >= '0'),
    max_invalid_share real not null default 0.1 check (max_invalid_share between 0 and 1),
    inline_wait interval not null default '5 seconds' check (inline_wait between '0' and '1 minute'),
    max_site_wait interval not null default '1 hour' check (max_site_wait >= '0'),
    wait_grace interval not null default '10 seconds' check (wait_grace >= '0'),
    permit_slack interval not null default '100 milliseconds' check (permit_slack >= '0'),
    max_quota_share numeric not null default 0.25 check (max_quota_share > 0 and max_quota_share <= 1),
    manual_quota_reserve numeric not null default 0.2 check (manual_quota_reserve between 0 and 1),
    scheduled_quota_reserve numeric not null default 0.1 check (scheduled_quota_reserve between 0 and 1),
    max_priority_wait interval not null default '15 minutes' check (max_priority_wait >= '0'),
    exploration real not null default 0.1 check (exploration between 0 and 1),
    embedding_model text,
    keep_runs interval default '90 days' check (keep_runs >= '1 hour'),
    keep_events interval default '30 days' check (keep_events >= '1 hour'),
    keep_raw_pages interval default '14 days' check (keep_raw_pages >= '1 hour'),
    retention_batch smallint not null default 100 check (retention_batch between 10 and 10000),
    retention_pause interval not null default '5 seconds' check (retention_pause >= '0'),
    retention_interval interval not null default '1 hour' check (retention_interval > '0')
);
insert into worker.settings default values;
comment on table worker.settings is 'Settings that hold for all workers.';
comment on column worker.settings.max_rescues is 'Workers that may die with a run before it fails as worker_lost.';
comment on column worker.settings.rescue_batch is 'Expired leases rescued, and due runs promoted, in one claim at most.';
comment on column worker.settings.progress_interval is
    'Least time between two progress writes of a run: each costs an RLS check for every subscriber.';
comment on column worker.settings.retry_delay is
    'Delay before the second attempt; doubled for each further one, give or take a quarter.';
comment on column worker.settings.max_retry_delay is 'Longest delay before an attempt, before the quarter.';
comment on column worker.settings.max_pending_per_user is
    'Runs of a user that wait at a time, those of schedules apart; null for no limit.';
comment on column worker.settings.max_per_hour_per_user is
    'Runs that a user starts within any hour, those of schedules apart; null for no limit.';
comment on column worker.settings.max_running_per_user is
    'Runs of a user that are searched at a time, by all workers; the others wait. Null for no limit.';
comment on column worker.settings.max_saved_searches_per_user is 'Searches that a user keeps; null for no limit.';
comment on column worker.settings.max_rows_per_request is
    'Searches and saved searches that a user inserts in one transaction, with those that are refused or there already: others '
    'wait while they are looked at, a millisecond each.';
comment on column worker.settings.max_rows_per_service_request is
    'The same with the service key. Who owns the tables has no such limit.';
comment on column worker.settings.freshness is 'Age up to which a finished run answers an equal search at once.';
comment on column worker.settings.max_invalid_share is 'Share of invalid items on a page above which an alert is written.';
comment on column worker.settings.inline_wait is
    'How far ahead a request is granted: a worker waits so long in place; or a minute, with a page half asked for.';
comment on column worker.settings.max_site_wait is 'A run waits no longer than that for a site: the site fails instead.';
comment on column worker.settings.wait_grace is
    'Who waits and is so late to come back keeps nobody else waiting.';
comment on column worker.settings.permit_slack is
    'Requests take longer or shorter on their way: a site''s periods and delays are kept longer by so much.';
comment on column worker.settings.max_quota_share is
    'Share of a quota, from 0 to 1, that one user may take in its period, of buckets that all share: others may come.';
comment on column worker.settings.manual_quota_reserve is
    'Share of a quota that scheduled runs leave to all other runs.';
comment on column worker.settings.scheduled_quota_reserve is
    'Share of a quota that all other runs leave to scheduled ones.';
comment on column worker.settings.max_priority_wait is
    'Who has waited for a site so long waits as if it were of the highest priority: schedules do not starve.';
comment on column worker.settings.exploration is
    'Share of runs, from 0 to 1, whose sites are searched in any order: else what was slow or failing once stays last.';
comment on column worker.settings.embedding_model is 'The model whose vectors are kept; null until a worker embeds.';
comment on column worker.settings.keep_runs is
    'Finished runs are deleted at this age, with all that belongs to them, and what is known of sites through accounts '
    'that nobody has; null keeps them.';
comment on column worker.settings.keep_events is 'Events are deleted at this age; null keeps them as long as their runs.';
comment on column worker.settings.keep_raw_pages is 'Raw pages are deleted at this age; null keeps them as long as their runs.';
comment on column worker.settings.retention_batch is
    'Rows of each table deleted at a time (of runs, a tenth): on a published table each delete is broadcast.';
comment on column worker.settings.retention_pause is 'Least time between two batches.';
comment on column worker.settings.retention_interval is 'Time until the next look once nothing is left to delete.';

create table worker.housekeeping (
    task text primary key,
    next_at timestamptz not null
);
insert into worker.housekeeping (task, next_at) values ('retention', '-infinity');
comment on table worker.housekeeping is 'What one of the workers does from time to time, beside its searches.';
comment on column worker.housekeeping.next_at is 'Not before this time.';

create table worker.parameter_rules (
    kind text not null references worker.kinds (kind) on delete cascade,
    name text not null,
    type text not null check (type in ('text', 'integer', 'boolean', 'texts', 'integers')),
    is_required boolean not null default false,
    minimum integer,
    maximum integer,
    allowed text[],
    default_value jsonb,
    names_boards_of text,
    primary key (kind, name)
);
comment on table worker.parameter_rules is
    'What search_runs.parameters may hold, for each kind. A new kind of search is a few rows here.';
comment on column worker.parameter_rules.type is 'texts and integers are lists of them.';
comment on column worker.parameter_rules.minimum is 'Least value of a number, length of a text, or length of a list.';
comment on column worker.parameter_rules.maximum is 'Greatest value of a number, length of a text, or length of a list.';
comment on column worker.parameter_rules.allowed is 'The only values allowed, for a text or for each element of a list.';
comment on column worker.parameter_rules.default_value is 'What holds when a run does not name the parameter.';
comment on column worker.parameter_rules.names_boards_of is
    'The site whose boards the user names with it. What they say is of that user''s choice: see items.from_named_board.';
