with ready as (
    select id from bench.runs
    where status = 'pending' and run_after is null and leader_run_id is null and kind = any ('{jobs}')
    order by priority desc, position
    limit :slots
    for update skip locked
)
update bench.runs as run set status = 'running', attempts = attempts + 1, started_at = now()
from ready where run.id = ready.id
returning run.id;
update bench.runs set status = 'success', completed_at = now() where status = 'running';
