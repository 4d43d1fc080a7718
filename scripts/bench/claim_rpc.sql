select run_id from public.worker_claim_runs(
    worker_id => 'bench', kinds => '{jobs}', slots => :slots, lease_seconds => 60, claim_id => gen_random_uuid(), held => '[]'
);
-- Ended at once, without the worker's other calls: a running worker has no more leases than places.
update public.search_runs set status = 'success', completed_at = now() where id in (select run_id from worker.leases);
