-- How far is each site of a run? The rows of the run that searches say it: the run itself, its leader, or the run that
-- answered it.
-- Calls: nothing.

create view public.run_sites with (security_invoker = true) as
select
    run.id as run_id,
    searched.site,
    searched.position,
    searched.is_fallback,
    searched.status,
    searched.jobs_found,
    searched.attempts,
    searched.error_code,
    searched.error_message,
    searched.retryable,
    searched.progress,
    searched.started_at,
    searched.completed_at
from public.search_runs as run
join public.search_run_sites as searched
    -- Not coalesce(), as in run_items.
    on searched.run_id = case
        when run.shared_run_id is not null then run.shared_run_id
        when run.leader_run_id is not null then run.leader_run_id
        else run.id
    end;
comment on view public.run_sites is 'The sites of a run, also if another run searches for it.';
comment on column public.run_sites.run_id is 'The run. Always filter by it.';
comment on column public.run_sites.site is 'One of the run''s parameters.sites or fallback_sites.';
comment on column public.run_sites.position is
    'Place in the order in which the user of the run that searches named the sites, from 1.';
