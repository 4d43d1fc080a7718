-- Which tables does Realtime publish?
-- Calls: nothing.

alter publication supabase_realtime add table public.search_runs, public.search_run_sites, public.search_results;
