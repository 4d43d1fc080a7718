-- Drops what the migrations before have replaced, once no call can need it that began before them.

create function worker.wait_for_earlier_transactions(at_most interval) returns void
language plpgsql set search_path = '' as $$
declare
    stops_at constant timestamptz := clock_timestamp() + at_most;
    -- Autovacuum has no user, and calls nothing.
    earlier constant text[] := array(
        select held.virtualtransaction from pg_locks as held join pg_stat_activity as session using (pid)
        where held.locktype = 'virtualxid' and held.granted and session.pid <> pg_backend_pid()
          and session.datname = current_database() and session.usename is not null);
begin
    while clock_timestamp() < stops_at and exists (
        select from pg_locks as held
        where held.locktype = 'virtualxid' and held.granted and held.virtualtransaction = any (earlier))
    loop
        perform pg_sleep(0.02);
    end loop;
end;
$$;
comment on function worker.wait_for_earlier_transactions is
    'Waits until the transactions that other sessions have begun are over, for a time at most. A migration calls it before '
    'it drops what a migration before it has replaced: calls that began before may still need it.';

revoke all on function worker.wait_for_earlier_transactions(interval) from public, anon, authenticated, service_role;

-- The longest call of a user or a worker may take 8 seconds.
select worker.wait_for_earlier_transactions('10 seconds');

drop function worker.rank_sites(uuid, uuid);
drop function worker.claimed_sites(uuid);
drop function worker.sites_to_search(uuid);
drop function worker.start_first_sites(uuid[], jsonb, jsonb);
drop function worker.start_runs(uuid[], uuid[], text, uuid, interval, jsonb, jsonb);
drop function worker.start_ready_runs(text, text[], integer, integer, uuid, jsonb, jsonb);
drop function worker.unreadable_pages(uuid, text);
drop function worker.asked_site(uuid, text, text);
drop function worker.site_outcomes(uuid);
drop function worker.has_unfinished_sites(uuid);
drop function worker.ended_run(uuid, jsonb);

drop function worker.load_items(worker.loading_page[]);
drop function worker.insert_items(worker.loading_page[]);
drop function worker.write_sightings(worker.loading_page[]);
drop function worker.update_items(text, uuid, text, timestamptz, worker.page_item[], uuid[]);
drop function worker.write_organizations(worker.loading_page[]);
drop function worker.read_items(jsonb);
drop function worker.pages_of(worker.page_to_load[]);
drop function worker.load_pages(worker.page_to_load[]);
drop function worker.asked_pages(jsonb);
drop function worker.lock_pages(worker.found_page[]);
drop function worker.insert_pages(worker.found_page[]);
drop function worker.kept_pages(worker.found_page[]);
drop function worker.record_pages(worker.found_page[], worker.kept_page[], worker.page_result[]);
drop function worker.end_with_pages(worker.found_page[], worker.kept_page[]);
drop type worker.loading_page;
drop type worker.page_item;
drop type worker.page_to_load;
drop type worker.found_page;

comment on function worker.read_items is
    'Returns the items of pages, and for each item its page. sent has the items of a page at its place: [{items}]. An item '
    'that is on a page twice counts at its first position.';

comment on function worker.write_organizations is
    'Writes what the items of pages say about their employers. An organization that does not change is not written.';

comment on function worker.insert_items is
    'Inserts the items of pages that are not known yet. Returns the inserted ones, and those of them with a key that '
    'finds duplicates.';

comment on function worker.write_sightings is
    'Writes the items of pages, each of another run, as sightings of their sites and as results of their runs. Returns '
    'the sightings of each page with items.';

comment on function worker.update_items is
    'Updates the items of a page that were known before. A field that is not on the page keeps its value. What is derived '
    'from a field changes with it. A page older than the last sighting changes no field. Returns the items whose '
    'duplicate keys changed, whose text changed, and that were first seen earlier than known.';

comment on function worker.load_items is
    'Writes the items of pages, each of another run, as items, sightings and results of their runs. sent as in '
    'worker.read_items. Idempotent.';

comment on function worker.pages_of is 'Returns what must be known of pages whose items are to be loaded.';

comment on function worker.load_pages is
    'Loads what versions of their sources made of pages, each of another run. sent as in worker.read_items. Returns what '
    'became of each. If the tables refuse a page, it fails, and the error is logged; refused together with others, the '
    'error is raised. Temporary errors, such as a deadlock or a timeout, are raised.';

comment on function worker.lock_pages is
    'Locks the runs of pages. Returns their states by id, as worker.lock_leases does; ended: with this page, before.';

comment on function worker.insert_pages is
    'Inserts pages of sites that were started and have not ended, unless they were saved before. sent is the argument of '
    'worker_save_pages, which has their payloads.';

comment on function worker.kept_pages is 'Returns the stored pages among those that are to be saved.';

comment on function worker.record_pages is
    'Shows the progress of runs whose pages were loaded, and records good pages for their sites. Returns for each run '
    'the seconds until its progress can be shown; null if it was.';

comment on function worker.end_with_pages is
    'Ends the sites whose last pages are saved, and the runs. Returns the answers of worker_finish_sites by run.';

comment on function worker.rank_sites is
    'Returns the unfinished sites of runs, the best of each first: no fallbacks, not paused, then by recent success, '
    'then by speed; unknown sites first. A share of the runs gets a random order. The same seed gives the same order.';

comment on function worker.sites_to_search is
    'Returns the unfinished sites of claimed runs for a worker, in the order of the claim.';

comment on function worker.start_ready_runs is 'Leases ready runs to a worker, as it asks for them.';

comment on function worker.start_runs is
    'Leases locked ready runs to a worker. Each counts for the max_running_per_user of its payer. Its followers are '
    'running as well, and count for nobody.';

comment on function worker.start_first_sites is
    'Starts the first search of claimed runs, at the sites that admit all runs. All others start with '
    'worker_start_sites. limits are those that the sources of the worker declare: {kind: {site: {bucket: limits}}}; exits '
    'are those that the worker offers, by site.';
