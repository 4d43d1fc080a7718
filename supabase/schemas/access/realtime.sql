-- Which tables does Realtime publish? Only the runs. When a run changes, its viewers read its sites and its results.
-- Each change costs a policy check for each subscriber, and a run with hundreds of results would make hundreds of them.
-- Calls: nothing.

alter publication supabase_realtime add table public.search_runs;
